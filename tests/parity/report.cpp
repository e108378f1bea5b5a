#include <parity/report.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iomanip>
#include <map>

namespace parity {
namespace {

std::string scientific(double x) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2e", x);
  return text;
}
std::string fixed(std::optional<double> x) {
  if (!x) return "-";
  char text[32];
  std::snprintf(text, sizeof text, "%.3f", *x);
  return text;
}

/// Over the tensors of all rows of one pair of dtypes.
struct statistics {
  std::vector<double> ratios;
  std::string worst_case;
  double worst_scaled_error = 0;  ///< error / max(1, max|expected|)
  index_t num_tensors = 0;

  void add(const row& r, const comparison& c) {
    ++num_tensors;
    worst_scaled_error = std::max(worst_scaled_error, c.max_error / std::max(1.0, c.max_expected));
    const std::optional<double> ratio = c.ratio();
    if (!ratio) return;
    if (ratios.empty() || *ratio > *std::max_element(ratios.begin(), ratios.end())) worst_case = r.case_name + " " + c.tensor_name;
    ratios.push_back(*ratio);
  }
  std::optional<double> worst() const { return ratios.empty() ? std::nullopt : std::optional(*std::max_element(ratios.begin(), ratios.end())); }
  std::optional<double> median() const {
    if (ratios.empty()) return std::nullopt;
    std::vector<double> sorted = ratios;
    std::sort(sorted.begin(), sorted.end());
    const std::size_t n = sorted.size();
    return (sorted[(n - 1) / 2] + sorted[n / 2]) / 2;
  }
};

std::map<std::string, statistics> statistics_of(const std::vector<row>& rows) {
  std::map<std::string, statistics> all;
  for (const row& r : rows)
    for (const comparison& c : r.result.comparisons) all[r.dtypes()].add(r, c);
  return all;
}

}  // namespace

std::string row::dtypes() const {
  std::string text(rapt::name_of(activations));
  if (kv_dtype != activations) text += " kv " + std::string(rapt::name_of(kv_dtype));
  return text;
}

const comparison* row::tightest() const {
  const comparison* tightest = nullptr;
  const auto share = [](const comparison& c) { return c.max_error == 0 ? 0 : c.max_error / c.bound; };
  for (const comparison& c : result.comparisons)
    if (!tightest || share(c) > share(*tightest)) tightest = &c;
  return tightest;
}

void report::add(row r) {
  if (!quiet_ || !r.passed()) {
    if (!std::exchange(has_heading_, true))
      out_ << std::left << std::setw(static_cast<int>(name_width_)) << "case" << std::setw(13) << "dtype" << std::setw(9) << "isa" << std::setw(8)
           << "threads" << std::setw(10) << "tensor" << std::right << std::setw(10) << "max error" << std::setw(10) << "bound" << std::setw(12)
           << "ratio"
           << "\n";
    out_ << std::left << std::setw(static_cast<int>(name_width_)) << r.case_name << " ";
    if (!r.refused) {
      const comparison* c = r.tightest();
      out_ << std::setw(13) << r.dtypes() << std::setw(9) << r.isa << std::setw(8) << r.num_threads << std::setw(10) << (c ? c->tensor_name : "-")
           << std::right << std::setw(10) << (c ? scientific(c->max_error) : "-") << std::setw(10) << (c ? scientific(c->bound) : "-")
           << std::setw(12) << fixed(c ? c->ratio() : std::nullopt) << "  ";
    }
    out_ << (r.passed() ? "PASS" : "FAIL") << "\n";
    for (const std::string& failure : r.result.failures) out_ << "    " << r.case_name << ", " << failure << "\n";
  }
  rows_.push_back(std::move(r));
}

int report::finish(index_t num_files) {
  out_ << "\n" << num_files << " cases; errors as a ratio to PyTorch's own, over all tensors that it has an error in:\n";
  for (const auto& [dtypes, s] : statistics_of(rows_)) {
    out_ << "  " << std::left << std::setw(13) << dtypes << std::right << std::setw(7) << s.num_tensors << " tensors";
    if (s.worst())
      out_ << ", median " << fixed(s.median()) << ", worst " << fixed(s.worst()) << " (" << s.worst_case << "), of " << s.ratios.size();
    else
      out_ << ", worst error / max(1, max|expected|) " << scientific(s.worst_scaled_error);
    out_ << "\n";
  }
  const auto passed = std::count_if(rows_.begin(), rows_.end(), [](const row& r) { return r.passed(); });
  const auto failed = static_cast<std::ptrdiff_t>(rows_.size()) - passed;
  if (rows_.empty()) out_ << "no cases were found\n";
  out_ << passed << " passed, " << failed << " failed" << std::endl;
  return failed == 0 && passed > 0 ? 0 : 1;
}

void report::write_json(const std::string& path) const {
  using json = nlohmann::json;
  // JSON has no infinities: an error that is not finite is null.
  const auto number = [](std::optional<double> x) { return x && std::isfinite(*x) ? json(*x) : json(); };
  json rows = json::array(), summary = json::object();
  for (const row& r : rows_) {
    json tensors = json::array();
    for (const comparison& c : r.result.comparisons)
      tensors.push_back({{"tensor", c.tensor_name},
                         {"max_error", number(c.max_error)},
                         {"bound", c.bound},
                         {"peer_error", number(c.peer_error)},
                         {"ratio", number(c.ratio())},
                         {"max_expected", c.max_expected},
                         {"passed", c.passed}});
    json out = {{"case", r.case_name}, {"passed", r.passed()}, {"failures", r.result.failures}};
    if (!r.refused)
      out.update({{"dtype", rapt::name_of(r.activations)},
                  {"kv_dtype", rapt::name_of(r.kv_dtype)},
                  {"isa", r.isa},
                  {"threads", r.num_threads},
                  {"tensors", tensors}});
    rows.push_back(std::move(out));
  }
  for (const auto& [dtypes, s] : statistics_of(rows_))
    summary[dtypes] = {{"tensors", s.num_tensors},         {"ratios", s.ratios.size()},  {"median_ratio", number(s.median())},
                       {"worst_ratio", number(s.worst())}, {"worst_case", s.worst_case}, {"worst_scaled_error", number(s.worst_scaled_error)}};
  std::ofstream file(path);
  file << json{{"rows", rows}, {"summary", summary}}.dump(1) << "\n";
  if (!file.flush()) throw std::runtime_error("could not write " + path);
}

}  // namespace parity
