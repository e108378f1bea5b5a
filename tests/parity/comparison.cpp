#include <parity/comparison.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

namespace parity {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// max|peer - expected| over finite entries, or nothing where the peer is of no use: absent, another size, or not finite where the truth is.
std::optional<double> error_of_peer(const tensor& expected, const tensor* peer) {
  if (!peer || peer->values.size() != expected.values.size()) return std::nullopt;
  double error = 0;
  for (std::size_t i = 0; i < expected.values.size(); ++i) {
    if (!std::isfinite(expected.values[i])) continue;
    if (!std::isfinite(peer->values[i])) return std::nullopt;
    error = std::max(error, std::abs(peer->values[i] - expected.values[i]));
  }
  return error;
}

double error_of_entry(double got, double expected) {
  if (std::isnan(expected)) return std::isnan(got) ? 0 : infinity;
  if (std::isinf(expected)) return got == expected ? 0 : infinity;
  return std::isfinite(got) ? std::abs(got - expected) : infinity;
}

std::string number(const char* format, double x) {
  char text[64];
  std::snprintf(text, sizeof text, format, x);
  return text;
}

}  // namespace

dtype coarser(dtype a, dtype b) {
  const auto rank = [](dtype type) { return type == dtype::f64 ? 0 : type == dtype::f32 ? 1 : type == dtype::f16 ? 2 : 3; };
  return rank(a) >= rank(b) ? a : b;
}

double epsilon_of(dtype type) {
  switch (type) {
    case dtype::f64:
      return std::ldexp(1.0, -52);
    case dtype::f32:
      return std::ldexp(1.0, -23);
    case dtype::f16:
      return std::ldexp(1.0, -10);
    default:
      return std::ldexp(1.0, -7);
  }
}

std::optional<double> comparison::ratio() const {
  if (!peer_error || *peer_error == 0) return std::nullopt;
  return max_error / *peer_error;
}

std::string comparison::describe() const {
  std::string index;
  std::size_t rest = worst;
  for (std::size_t i = shape.size(); i-- > 0;) {
    const auto extent = static_cast<std::size_t>(std::max<index_t>(1, shape[i]));
    index = std::to_string(rest % extent) + (index.empty() ? "" : ", ") + index;
    rest /= extent;
  }
  return tensor_name + "[" + index + "]: got " + number("%.17g", got) + ", expected " + number("%.17g", expected) + ", error " +
         number("%.3e", max_error) + ", bound " + number("%.3e", bound);
}

comparison compare(const std::string& expectation, std::span<const double> got, const tensor& expected, const tensor* peer, dtype t, dtype c) {
  comparison result;
  result.tensor_name = expectation;
  result.shape = expected.shape;
  if (got.size() != expected.values.size())
    throw refusal("expected." + expectation + " has " + std::to_string(expected.values.size()) + " entries; the call gives " +
                  std::to_string(got.size()));
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (std::isfinite(expected.values[i])) result.max_expected = std::max(result.max_expected, std::abs(expected.values[i]));
    const double error = error_of_entry(got[i], expected.values[i]);
    if (error > result.max_error || i == 0) result.max_error = error, result.worst = i, result.got = got[i], result.expected = expected.values[i];
  }
  const dtype d = coarser(t, c);
  result.peer_error = error_of_peer(expected, peer);
  if (d == dtype::f64)
    result.bound = 1e-12 * std::max(1.0, result.max_expected);
  else if (result.peer_error)
    result.bound = 2 * *result.peer_error + 4 * epsilon_of(d) * result.max_expected;
  else
    result.bound = 64 * epsilon_of(d) * result.max_expected;
  result.passed = result.max_error <= result.bound;
  return result;
}

}  // namespace parity
