// rapt's own files: what the writer promises, and that the reader holds every file of ours to it.
#include <rapt/state/safetensors.hpp>
#include <support/reseal.hpp>
#include <support/safetensors_bytes.hpp>
#include <support/unchanged.hpp>

#include <cstdlib>

namespace {

using namespace rapt_test;
namespace safetensors = rapt::safetensors;
using rapt::dtype;
#define EXPECT_SAYS(message, part) EXPECT_NE((message).find(part), std::string::npos) << (message)

const std::vector<float> three = {1.5f, -2.25f, 3.125f};
const std::vector<std::uint8_t> odd = {1, 2, 3, 4, 5, 6, 7};
const std::vector<std::int64_t> seventeen = [] {
  std::vector<std::int64_t> v(17);
  for (std::size_t i = 0; i < v.size(); ++i) v[i] = static_cast<std::int64_t>(i) * 0x0102030405060708;
  return v;
}();

safetensors::writer sample() {
  safetensors::writer w;
  w.add("b", dtype::f32, {3}, std::as_bytes(std::span(three)));
  w.add("a.k", dtype::u8, {7, 1}, [](std::span<std::byte> to) { std::memcpy(to.data(), odd.data(), to.size()); });
  w.add("c", dtype::i64, {17}, std::as_bytes(std::span(seventeen)));
  w.add("empty", dtype::bf16, {0, 5}, std::span<const std::byte>());
  w.add_metadata("rapt.config", "{\"head_dim\":\"\xc3\xa9\"}");
  return w;
}
std::string text_of(const std::vector<std::byte>& bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }
std::string sample_text() { return text_of(sample().to_bytes()); }

template <class Error = rapt::format_error>
std::string expect_file_refused(const std::string& bytes) {
  return expect_refused<Error>({.input_bytes = bytes.size()}, [&] { safetensors::parse(bytes_of(bytes)); });
}

TEST(safetensors_writer, what_was_written_is_read) {
  const std::vector<std::byte> bytes = sample().to_bytes();
  const auto file = safetensors::parse(bytes);
  EXPECT_TRUE(file.is_rapt_state());
  EXPECT_EQ(file.at("b").copy<float>(), three);
  EXPECT_EQ(file.at("a.k").copy<std::uint8_t>(), odd);
  EXPECT_EQ(file.at("a.k").describe(), "U8 [7, 1]");
  EXPECT_EQ(file.at("c").copy<std::int64_t>(), seventeen);
  EXPECT_EQ(file.at("empty").describe(), "BF16 [0, 5]");
  EXPECT_EQ(file.find_metadata("rapt.config"), "{\"head_dim\":\"\xc3\xa9\"}");
  EXPECT_EQ(file.find_metadata("rapt.version"), "1.0");
  EXPECT_EQ(file.find_metadata("rapt.confi"), std::nullopt);
}

TEST(safetensors_writer, functions_fill_tensors_of_any_length) {
  for (const std::size_t length : {0u, 1u, 2u, 100u}) {
    std::vector<std::size_t> asked;
    safetensors::writer w;
    w.add("a", dtype::u8, {static_cast<rapt::index_t>(length)}, [&](std::span<std::byte> to) {
      asked.push_back(to.size());
      std::fill(to.begin(), to.end(), std::byte{7});
    });
    const std::vector<std::byte> bytes = w.to_bytes();
    EXPECT_EQ(safetensors::parse(bytes).at("a").copy<std::uint8_t>(), std::vector<std::uint8_t>(length, 7));
    EXPECT_EQ(asked, std::vector<std::size_t>{length});
  }
}

TEST(safetensors_writer, every_tensor_lies_on_64_bytes_of_the_file_in_the_order_of_the_names) {
  const std::string bytes = sample_text();
  EXPECT_EQ(header_end(bytes) % 64, 0u);
  std::string names;
  for (const auto& tensor : safetensors::parse(bytes_of(bytes))) {
    names += std::string(tensor.name) + " ";
    if (!tensor.name.starts_with("pad.")) { EXPECT_EQ((tensor.bytes.data() - bytes_of(bytes).data()) % 64, 0) << tensor.name; }
  }
  EXPECT_EQ(names, "a.k pad.0 b pad.1 c pad.2 empty ");
}

TEST(safetensors_writer, the_same_contents_give_the_same_bytes_in_memory_and_in_a_file) {
  safetensors::writer other;
  other.add_metadata("rapt.config", "{\"head_dim\":\"\xc3\xa9\"}");
  other.add("empty", dtype::bf16, {0, 5}, std::span<const std::byte>());
  other.add("c", dtype::i64, {17}, std::as_bytes(std::span(seventeen)));
  other.add("a.k", dtype::u8, {7, 1}, std::as_bytes(std::span(odd)));
  other.add("b", dtype::f32, {3}, std::as_bytes(std::span(three)));
  EXPECT_EQ(text_of(other.to_bytes()), sample_text());
  const temporary_directory directory;
  sample().to_file(directory / "state");
  EXPECT_EQ(read_file(directory / "state"), sample_text());
  EXPECT_EQ(contents_of(directory.path()).size(), 1u);
}

TEST(safetensors_writer, checksums_are_xxh3_of_the_data) {
  const std::string bytes = sample_text();
  const auto file = safetensors::parse(bytes_of(bytes));
  EXPECT_EQ(file.find_metadata("xxh3.b"), hex16(XXH3_64bits(three.data(), 12)));
  EXPECT_EQ(file.find_metadata("xxh3.empty"), hex16(XXH3_64bits("", 0)));
  EXPECT_EQ(resealed(bytes), bytes);
}

TEST(safetensors_writer, refuses_what_could_not_be_read_back) {
  safetensors::writer w = sample();
  const auto refuse = [&]<class Error>(Error*, auto call) { EXPECT_THROW(call(), Error); };
  const std::span<const std::byte> none;
  refuse((rapt::config_error*){}, [&] { w.add("b", dtype::f32, {0}, none); });
  refuse((rapt::config_error*){}, [&] { w.add("pad.0", dtype::u8, {0}, none); });
  refuse((rapt::config_error*){}, [&] { w.add("__metadata__", dtype::u8, {0}, none); });
  refuse((rapt::config_error*){}, [&] { w.add("f", dtype::u8, {0}, safetensors::writer::fill_function()); });
  refuse((rapt::config_error*){}, [&] { w.add_metadata("rapt.config", ""); });
  refuse((rapt::config_error*){}, [&] { w.add_metadata("rapt.version", "2.0"); });
  refuse((rapt::config_error*){}, [&] { w.add_metadata("xxh3.q", ""); });
  refuse((rapt::shape_error*){}, [&] { w.add("d", dtype::f32, {3}, std::as_bytes(std::span(odd))); });
  refuse((rapt::shape_error*){}, [&] { w.add("d", dtype::f32, {-1}, none); });
  refuse((rapt::shape_error*){}, [&] { w.add("d", dtype::f32, {1, 1, 1, 1, 1, 1, 1, 1, 0}, none); });
  refuse((rapt::shape_error*){}, [&] { w.add("d", dtype::f64, {rapt::index_t{1} << 62}, none); });
  EXPECT_EQ(text_of(w.to_bytes()), sample_text());
  EXPECT_THROW(safetensors::writer().to_bytes(), rapt::config_error);
  w.add("\xff", dtype::u8, {0}, none);
  EXPECT_THROW(w.to_bytes(), rapt::config_error);
}

/// A state that no reader would take is not saved.
TEST(safetensors_writer, hostile_11_more_entries_than_could_be_read_back) {
  const std::byte one_byte[1] = {};
  const temporary_directory directory;
  {
    safetensors::writer w;  // half of these are padding
    for (int i = 0; i <= 500'000; ++i) w.add(std::to_string(i), dtype::u8, {1}, one_byte);
    EXPECT_THROW(w.to_file(directory / "state"), rapt::capacity_error);
  }
  safetensors::writer w;
  w.add("a", dtype::u8, {1}, one_byte);
  for (int i = 0; i < 999'996; ++i) w.add_metadata(std::to_string(i), "");
  EXPECT_EQ(safetensors::parse(w.to_bytes()).num_metadata(), 1'000'000);
  w.add_metadata("last", "");
  EXPECT_THROW(w.to_file(directory / "state"), rapt::capacity_error);
  EXPECT_TRUE(contents_of(directory.path()).empty());
}

/// Names and values of any text that is accepted come back; what is not UTF-8 is refused before anything is written.
TEST(safetensors_writer, text_that_was_accepted_is_read_back) {
  const std::string texts[] = {"",
                               std::string("\0", 1),
                               "\x1f\x7f",
                               "\"\\/\b\f\n\r\t",
                               "\xc2\x80",
                               "\xef\xbf\xbf",
                               "\xf4\x8f\xbf\xbf",
                               "\xef\xbb\xbf",
                               "\xe2\x80\xa8",
                               "\xed\xa0\x80",
                               "\xf4\x90\x80\x80",
                               "\xc0\x80",
                               "\xe0\x80\xaf",
                               "\x80",
                               "\xf0\x9f\x98",
                               "rapt.header_xxh3\":\"0123456789abcdef",
                               ",\"rapt.header_xxh3\":\"0123456789abcdef\"",
                               "xxh3.a",
                               "__metadata__"};
  int accepted = 0;
  for (const std::string& text : texts) {
    safetensors::writer w = sample();
    std::vector<std::byte> bytes;
    try {
      w.add("n" + text, dtype::u8, {7}, std::as_bytes(std::span(odd)));
      w.add_metadata("k" + text, text);
      bytes = w.to_bytes();
    } catch (const rapt::config_error&) { continue; }
    ++accepted;
    const auto file = safetensors::parse(bytes);
    EXPECT_EQ(file.at("n" + text).copy<std::uint8_t>(), odd) << text;
    EXPECT_EQ(file.find_metadata("k" + text), text);
  }
  EXPECT_EQ(accepted, 13);
}

/// The largest finite number is finite; infinities and the least and the largest NaN are not; the first one is named, wherever it stands.
TEST(validate_finite, hostile_18_in_every_format) {
  const auto check = []<class Bits>(dtype type, Bits infinity, const std::string& name) {
    constexpr Bits sign = static_cast<Bits>(Bits{1} << (8 * sizeof(Bits) - 1));
    const auto says = [&](std::vector<Bits> bits) {
      safetensors::writer w;
      w.add("a", type, {static_cast<rapt::index_t>(bits.size())}, std::as_bytes(std::span(bits)));
      return safetensors::validate_finite(safetensors::parse(w.to_bytes())).message;
    };
    const auto largest = static_cast<Bits>(infinity - 1), all_ones = static_cast<Bits>(~Bits{});
    EXPECT_EQ(says({0, 1, sign, largest, static_cast<Bits>(largest | sign)}), "") << name;
    for (const Bits bad : {infinity, static_cast<Bits>(infinity | sign), static_cast<Bits>(infinity + 1), all_ones})
      for (std::size_t at = 0; at < 3; ++at) {
        std::vector<Bits> bits(3, largest);
        bits[at] = bad;
        EXPECT_SAYS(says(bits), "'a': element " + std::to_string(at) + " of " + name + " [3] is NaN or infinite");
      }
  };
  check(dtype::f64, std::uint64_t{0x7ff0000000000000u}, "F64");
  check(dtype::f32, std::uint32_t{0x7f800000u}, "F32");
  check(dtype::bf16, std::uint16_t{0x7f80u}, "BF16");
  check(dtype::f16, std::uint16_t{0x7c00u}, "F16");
  const std::vector<std::int64_t> ones = {-1};
  safetensors::writer w;
  w.add("integers", dtype::i64, {1}, std::as_bytes(std::span(ones)));
  EXPECT_FALSE(safetensors::validate_finite(safetensors::parse(w.to_bytes())));
}

TEST(safetensors_writer, hostile_05_our_file_truncated_at_every_byte) {
  const std::string whole = sample_text();
  expect_all_refused<rapt::format_error>({.input_bytes = whole.size()}, whole.size(),
                                         [&](std::size_t n) { safetensors::parse(bytes_of(whole).first(n)); });
}

/// A file of 64 KiB: 524,288 bits, each of them with RAPT_EXHAUSTIVE; else all of the header, and every 37th of the data, which is odd to bytes.
TEST(safetensors_writer, hostile_06_every_bit_flip_is_rejected) {
  const auto with_filler = [](std::size_t size) {
    std::vector<std::uint8_t> filler(size);
    for (std::size_t i = 0; i < size; ++i) filler[i] = static_cast<std::uint8_t>(i * i >> 3);
    safetensors::writer w = sample();
    w.add("filler", dtype::u8, {static_cast<rapt::index_t>(size)}, std::as_bytes(std::span(filler)));
    return text_of(w.to_bytes());
  };
  constexpr std::size_t some = 60'032;
  std::string bytes = with_filler(some + 65'536 - with_filler(some).size());
  ASSERT_EQ(bytes.size(), 65'536u);
  std::vector<std::size_t> bits;
  const std::size_t stride = std::getenv("RAPT_EXHAUSTIVE") != nullptr ? 1 : 37;
  for (std::size_t bit = 0; bit < 8 * bytes.size(); bit += bit < 8 * header_end(bytes) ? 1 : stride) bits.push_back(bit);
  expect_all_refused<rapt::checksum_error, rapt::format_error>({.input_bytes = bytes.size()}, bits.size(), [&](std::size_t i) {
    char& byte = bytes[bits[i] / 8];
    const auto flip = static_cast<char>(1u << bits[i] % 8);
    byte = static_cast<char>(byte ^ flip);
    struct restore {
      char& at;
      char flip;
      ~restore() { at = static_cast<char>(at ^ flip); }
    } const after{byte, flip};
    safetensors::parse(bytes_of(bytes));
  });
  EXPECT_NO_THROW(safetensors::parse(bytes_of(bytes)));
}

TEST(safetensors_writer, hostile_04_our_file_without_tensors) {
  const std::string meta = "{\"__metadata__\":{\"rapt.format\":\"state\",\"rapt.header_xxh3\":\"0000000000000000\",\"rapt.version\":\"1.0\"}}";
  std::string head = meta;
  while ((8 + head.size()) % 64 != 0) head += ' ';
  EXPECT_SAYS(expect_file_refused(resealed(file_bytes(head))), "without tensors");
}

TEST(safetensors_writer, hostile_19_pad_that_is_not_zero) {
  std::string bytes = sample_text();
  const auto file = safetensors::parse(bytes_of(bytes));
  const auto at = static_cast<std::size_t>(file.at("pad.1").bytes.data() - bytes_of(bytes).data());
  bytes[at + file.at("pad.1").bytes.size() - 1] = 1;
  EXPECT_SAYS(expect_file_refused(bytes), "'pad.1': a pad must be zero");
}

TEST(safetensors_writer, hostile_20_versions) {
  const std::string v1 = "\"rapt.version\":\"1.0\"";
  const auto versioned = [&](const std::string& version) { return edited(sample_text(), v1, "\"rapt.version\":\"" + version + "\""); };
  EXPECT_SAYS(expect_file_refused<rapt::version_error>(versioned("2.0")), "2.0");
  EXPECT_SAYS(expect_file_refused<rapt::version_error>(versioned("0.9")), "0.9");
  for (const char* text : {"1", "1.", ".0", "x.y", "1.0.0", "01.0", "+1.0", "1.0 ", "", "99999999999999999999.0"})
    EXPECT_SAYS(expect_file_refused(versioned(text)), "rapt.version");
  const std::string newer = edited(sample_text(), v1, "\"rapt.unknown\":\"x\",\"rapt.version\":\"1.7\"");
  EXPECT_EQ(safetensors::parse(bytes_of(newer)).find_metadata("rapt.unknown"), "x");
  EXPECT_SAYS(expect_file_refused<rapt::version_error>(edited(sample_text(), v1, "\"rapt.req.x\":\"1\",\"rapt.version\":\"1.7\"")), "'rapt.req.x'");
  expect_file_refused(edited(sample_text(), v1, "\"rapt.versio_\":\"1.0\""));
}

TEST(safetensors_writer, hostile_our_tensor_that_is_not_aligned) {
  const std::string data = "12345678", digits_a = hex16(XXH3_64bits("1234", 4)), digits_b = hex16(XXH3_64bits("5678", 4));
  std::string head = "{\"__metadata__\":{\"rapt.format\":\"state\",\"rapt.header_xxh3\":\"0000000000000000\",\"rapt.version\":\"1.0\",\"xxh3.a\":\"" +
                     digits_a + "\",\"xxh3.b\":\"" + digits_b + "\"},\"a\":" + tensor_text("F32", "1", "0,4") +
                     ",\"b\":" + tensor_text("F32", "1", "4,8") + "}";
  while ((8 + head.size()) % 64 != 0) head += ' ';
  EXPECT_SAYS(expect_file_refused(resealed(file_bytes(head, data))), "'b': its data begins at byte 4, which is no multiple of 64");
}

/// Sorting is the writer's habit; a reader finds the header's checksum wherever its key stands.
TEST(safetensors_writer, the_checksum_of_the_header_may_be_the_first_key) {
  std::string bytes = sample_text();
  const std::string key = "\"rapt.header_xxh3\":\"", begin = "{\"__metadata__\":{";
  const std::size_t at = bytes.find(key), length = key.size() + 16 + 2;
  const std::string entry = bytes.substr(at, length);
  ASSERT_EQ(entry.back(), ',');
  bytes.erase(at, length).insert(bytes.find(begin) + begin.size(), entry);
  EXPECT_EQ(safetensors::parse(bytes_of(resealed(bytes))).at("b").copy<float>(), three);
}

TEST(safetensors_writer, hostile_our_header_with_a_rule_broken) {
  const std::string good = sample_text();
  const std::string checksum_of_b = "\"xxh3.b\":\"" + hex16(XXH3_64bits(three.data(), 12)) + "\"";
  EXPECT_SAYS(expect_file_refused(edited(good, "\"state\"", "\"State\"")), "rapt.format");
  EXPECT_SAYS(expect_file_refused(edited(good, checksum_of_b + ",", "")), "'b': its checksum is missing");
  EXPECT_SAYS(expect_file_refused(edited(good, checksum_of_b, "\"xxh3.b\":\"12345\"")), "'b': its checksum is missing");
  EXPECT_SAYS(expect_file_refused(edited(good, checksum_of_b, checksum_of_b + ",\"xxh3.bb\":\"0000000000000000\"")),
              "5 checksums in the metadata for 4 tensors");
  EXPECT_SAYS(expect_file_refused(edited(good, "\"pad.1\":", "\"pad.2\":")), "comes twice");
  EXPECT_SAYS(expect_file_refused(edited(edited(good, "\"pad.2\":", "\"pad.3\":"), "\"pad.1\":", "\"pad.2\":")), "pad.1 was needed");
  EXPECT_SAYS(expect_file_refused<rapt::checksum_error>(edited(good, checksum_of_b, "\"xxh3.b\":\"0123456789abcdef\"")), "'b' has changed");
  EXPECT_SAYS(expect_file_refused(edited(good, "\"dtype\":\"U8\",\"shape\":[57]", "\"dtype\":\"U8\",\"shape\":[57,1]")), "rank 1");
  // A data section that is not aligned in the file: one space more.
  std::string shifted = good;
  shifted.insert(header_end(shifted), 1, ' ');
  shifted[0] = static_cast<char>(shifted[0] + 1);
  EXPECT_SAYS(expect_file_refused(resealed(shifted)), "no multiple of 64");
  // The header checksum itself missing, or hidden from a plain search.
  EXPECT_SAYS(expect_file_refused(edited(good, "\"rapt.format\":\"state\",", "")), "without rapt.format");
  std::string escaped = good;
  const std::string key = "rapt.header_xxh3";
  escaped.replace(escaped.find(key), 1, "\\u0072");
  ASSERT_EQ(escaped.substr(header_end(good), 5), "     ");
  escaped.erase(header_end(good), 5);  // spaces behind the header make room
  EXPECT_SAYS(expect_file_refused(escaped), "rapt.header_xxh3 is missing");
}

}  // namespace
