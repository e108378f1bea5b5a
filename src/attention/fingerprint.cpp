#include <rapt/attention/config_json.hpp>
#include <rapt/attention/fingerprint.hpp>

#include <algorithm>

#include <core/hash.hpp>

namespace rapt {
inline namespace v0 {

namespace {
template <class T>
std::string_view as_text(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}
}  // namespace

std::string fingerprint::hex() const { return detail::hex(high) + detail::hex(low); }

std::string merged_numerics(const std::string& ids, const std::string& more) {
  constexpr std::string_view plus = " + ";
  const auto has = [&](const std::string& all, std::string_view id) {
    return (std::string(plus) + all + std::string(plus)).find(std::string(plus) + std::string(id) + std::string(plus)) != std::string::npos;
  };
  std::string all = ids;
  for (std::size_t begin = 0; begin < more.size();) {
    const std::size_t end = std::min(more.find(plus, begin), more.size());
    if (const std::string id = more.substr(begin, end - begin); !has(all, id)) all += (all.empty() ? "" : std::string(plus)) + id;
    begin = end + plus.size();
  }
  return all;
}

fingerprint fingerprint_of(const attention_config& config, const std::vector<named_tensor>& weights) {
  std::vector<const named_tensor*> sorted;
  sorted.reserve(weights.size());
  for (const named_tensor& w : weights) sorted.push_back(&w);
  std::sort(sorted.begin(), sorted.end(), [](const named_tensor* a, const named_tensor* b) { return a->name < b->name; });

  detail::hasher_128 hash;
  hash.add(to_json(config));
  for (const named_tensor* w : sorted) {
    hash.add(w->name);
    hash.add(name_of(w->type));
    hash.add(as_text(w->shape));
    hash.add(as_text(w->bytes));
  }
  const detail::hash_128 digest = hash.digest();
  return {digest.high, digest.low};
}

}  // namespace v0
}  // namespace rapt
