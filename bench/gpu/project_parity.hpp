// What projections give for fixed problems: part of bench/gpu/parity.cu.
#pragma once
#include <bench/gpu/probes.hpp>
#include <kernels/project_hopper.hpp>

namespace rapt_bench {

struct projection_case {
  int rows, in, out;
};
inline constexpr projection_case projection_cases[] = {{1, 4096, 40}, {3, 776, 33}, {16, 2104, 24}, {70, 1000, 70}, {300, 520, 200}};

/// run(projection) launches it.
template <class T, class Run>
std::vector<std::uint32_t> projected(const projection_case& c, Run run) {
  generator random(static_cast<std::uint64_t>(c.rows * c.in));
  const auto matrix = [&](int rows, int columns) {
    std::vector<T> x(static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns));
    for (T& element : x) element = T(random.normal());
    return x;
  };
  std::vector<float> b(static_cast<std::size_t>(c.out));
  for (float& element : b) element = random.normal();
  device_array<T> x(matrix(c.rows, c.in)), w(matrix(c.out, c.in)), residual(matrix(c.rows, c.out));
  device_array<float> bias(b), y(static_cast<std::size_t>(c.rows * c.out));
  rapt::kernels::projection<T, float> p;
  p.x = x.data(), p.w = w.data(), p.bias = bias.data(), p.residual = residual.data(), p.y = y.data();
  p.x_stride = p.w_stride = c.in, p.residual_stride = c.out, p.y_stride = c.out;
  p.rows = c.rows, p.in = c.in, p.out = c.out;
  run(p);
  std::vector<std::uint32_t> words;
  for (const float element : y.download()) words.push_back(bits(element));
  return words;
}

/// Every kernel that takes so many rows.
template <class T>
void project_all(records& all, const char* type) {
  using rapt::kernels::project_kernel;
  const std::pair<project_kernel, const char*> named[] = {
      {project_kernel::few_rows_8, "few rows, 8 columns"}, {project_kernel::few_rows_32, "few rows, 32 columns"},
      {project_kernel::narrow_tiles, "narrow tiles"},      {project_kernel::small_tiles, "small tiles"},
      {project_kernel::medium_tiles, "medium tiles"},      {project_kernel::large_tiles, "large tiles"},
      {project_kernel::any_alignment, "any alignment"}};
  for (const projection_case& c : projection_cases) {
    const auto record = [&](const char* name, auto run) {
      all[std::string(type) + " projection " + std::to_string(c.rows) + " " + std::to_string(c.in) + " " + std::to_string(c.out) + " " + name] =
          projected<T>(c, run);
    };
    for (const auto& [kernel, name] : named) {
      if (kernel == project_kernel::few_rows_8 && c.rows > 8) continue;
      if (kernel == project_kernel::few_rows_32 && c.rows > 16) continue;
      record(name, [k = kernel](const auto& p) { rapt::kernels::project_with(k, p, nullptr); });
    }
#if !defined(__CUDACC__) || defined(RAPT_SM_90A)
    if (c.rows <= 64) continue;
    record("wgmma, wide tiles", [](const auto& p) { rapt::kernels::project_hopper(p, 1, nullptr); });
    record("wgmma, narrow tiles", [](const auto& p) { rapt::kernels::project_hopper(p, 1'000, nullptr); });
#endif
  }
}

}  // namespace rapt_bench
