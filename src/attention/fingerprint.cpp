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

fingerprint fingerprint_of(const attention_config& config, const std::vector<named_tensor>& weights) {
  std::vector<const named_tensor*> sorted;
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
