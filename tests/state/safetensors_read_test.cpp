// Third-party files: what is read, and what is refused as hostile. The files are written here by hand.
#include <rapt/state/safetensors.hpp>
#include <support/safetensors_bytes.hpp>
#include <support/unchanged.hpp>

#include <pthread.h>

#include <ctime>

namespace {

using namespace rapt_test;
namespace safetensors = rapt::safetensors;

/// Refused both from memory and from a file, with the same reason.
template <class Error = rapt::format_error>
std::string expect_file_refused(const std::string& bytes) {
  const std::string message = expect_refused<Error>({.input_bytes = bytes.size()}, [&] { safetensors::parse(bytes_of(bytes)); });
  const temporary_directory directory;
  const std::string path = directory / "hostile.safetensors";
  write_file(path, bytes);
  for (const bool mmap : {false, true}) {
    const std::string other =
        expect_refused<Error>({.directory = directory.path(), .input_bytes = bytes.size()}, [&] { safetensors::open(path, {.mmap = mmap}); });
    EXPECT_EQ(other.substr(other.find(": ", other.find(": ") + 2)), message.substr(message.find(": ", message.find(": ") + 2)));
  }
  return message;
}
std::string expect_header_refused(const std::string& header, const std::string& data = {}) { return expect_file_refused(file_bytes(header, data)); }

const std::string four = tensor_text("F32", "1", "0,4");
#define EXPECT_SAYS(message, part) EXPECT_NE((message).find(part), std::string::npos) << (message)

TEST(safetensors, hostile_01_empty_and_shorter_than_the_length) {
  for (std::size_t n = 0; n < 8; ++n) EXPECT_SAYS(expect_file_refused(std::string(n, '\0')), "truncated: " + std::to_string(n) + " bytes");
}

TEST(safetensors, hostile_02_header_length_lies) {
  for (const std::uint64_t length : {std::uint64_t{12}, std::uint64_t{99'999'999}})
    EXPECT_SAYS(expect_file_refused(file_bytes(length, "{}         ")), "truncated");
  for (const std::uint64_t length : {std::uint64_t{100'000'001}, ~std::uint64_t{0}, std::uint64_t{1} << 63})
    EXPECT_SAYS(expect_file_refused(file_bytes(length, "{}")), "100000000 is the most");
  EXPECT_SAYS(expect_file_refused(file_bytes(12, "")), "the header claims 12 bytes, the file has 0 after the length");
  // Nothing is taken for what the length claims.
  const std::string claims = file_bytes(99'999'999, "{}");
  EXPECT_LT(peak_bytes_of([&] { EXPECT_THROW(safetensors::parse(bytes_of(claims)), rapt::format_error); }), 4'096u);
}

TEST(safetensors, a_long_header_takes_no_more_memory_than_it_is_long) {
  for (const std::size_t num_entries : {50u, 70u, 90u, 110u, 130u}) {
    std::string entries;
    for (std::size_t i = 0; i < num_entries; ++i)
      entries += (i > 0 ? ",\"" : "\"") + std::to_string(1000 + i) + std::string(130, 'k') + "\":\"" + std::string(20'000, 'v') + '"';
    const std::string bytes = file_bytes("{\"__metadata__\":{" + entries + "}}");
    EXPECT_LT(peak_bytes_of([&] { safetensors::parse(bytes_of(bytes)); }), 2 * bytes.size()) << num_entries;
  }
}

TEST(safetensors, hostile_03_header_is_no_object) {
  for (const char* header : {"[]", "null", "5", "\"a\"", "\xef\xbb\xbf{}", " {}", "{} {}", "{}x", "{", "{\"a\":}", "{,}", "{'a':1}", "{/**/}"})
    expect_header_refused(header);
  expect_header_refused(std::string("{}\0\0", 4));
  expect_header_refused(std::string("{\0}", 3));
  expect_header_refused("{\"\xff\":" + four + "}", "1234");
  expect_header_refused("{\"\xc0\xaf\":" + four + "}", "1234");
  expect_header_refused("{\"\\ud800\":" + four + "}", "1234");
  expect_header_refused("{\"a\nb\":" + four + "}", "1234");
  EXPECT_SAYS(expect_file_refused(file_bytes("")), "empty");
}

TEST(safetensors, hostile_04_no_tensors_is_an_empty_file) {
  const std::string bytes = file_bytes("{}");
  EXPECT_EQ(safetensors::parse(bytes_of(bytes)).size(), 0);
  const std::string with_metadata = file_bytes("{\"__metadata__\":{\"format\":\"pt\"}}  ");
  const auto file = safetensors::parse(bytes_of(with_metadata));
  EXPECT_EQ(file.size(), 0);
  EXPECT_EQ(file.find_metadata("format"), "pt");
  const std::string no_metadata = file_bytes("{\"__metadata__\":null}");
  EXPECT_EQ(safetensors::parse(bytes_of(no_metadata)).num_metadata(), 0);
}

TEST(safetensors, hostile_05_truncated_at_every_byte) {
  const std::string whole = file_bytes("{\"a\":" + four + ",\"b\":" + tensor_text("U8", "3", "4,7") + "}  ", "1234567");
  EXPECT_EQ(safetensors::parse(bytes_of(whole)).size(), 2);
  expect_all_refused<rapt::format_error>({.input_bytes = whole.size()}, whole.size(),
                                         [&](std::size_t n) { safetensors::parse(bytes_of(whole).first(n)); });
}

TEST(safetensors, hostile_07_bytes_after_the_end) {
  EXPECT_SAYS(expect_header_refused("{\"a\":" + four + "}", "12345"), "bytes after the last tensor");
  expect_header_refused("{\"a\":" + four + "}", "1234PK\3\4 an archive");
}

TEST(safetensors, hostile_08_offsets) {
  const auto two = [](const char* first, const char* second) {
    return "{\"a\":" + tensor_text("F32", "1", first) + ",\"b\":" + tensor_text("F32", "1", second) + "}";
  };
  const std::string good = file_bytes(two("0,4", "4,8"), "12345678");
  EXPECT_EQ(safetensors::parse(bytes_of(good)).size(), 2);
  EXPECT_SAYS(expect_header_refused(two("0,4", "8,12"), "123456789012"), "must begin at byte 4");  // a hole
  expect_header_refused(two("0,4", "2,6"), "123456");                                              // an overlap
  expect_header_refused(two("0,4", "0,4"), "1234");
  expect_header_refused(two("4,0", "4,8"), "12345678");
  expect_header_refused(two("1,5", "5,9"), "123456789");
  EXPECT_SAYS(expect_header_refused(two("0,4,4", "4,8"), "12345678"), "more than two");
  expect_header_refused(two("0,4", "4"), "12345678");
  expect_header_refused(two("0,4", ""), "1234");
  expect_header_refused(two("0,4", "4,18446744073709551615"), "12345678");
  expect_header_refused(two("0,4", "18446744073709551612,0"), "1234");
  expect_header_refused("{\"a\":" + tensor_text("F32", "2", "0,4") + "}", "1234");
  expect_header_refused("{\"a\":" + tensor_text("F32", "0", "2,2") + ",\"b\":" + four + "}", "1234");  // empty, but inside another
  EXPECT_SAYS(expect_header_refused("{\"a\":[\"F32\",[1],[0,4]]}", "1234"), "an array came");
}

TEST(safetensors, hostile_09_duplicates) {
  EXPECT_SAYS(expect_header_refused("{\"a\":" + four + ",\"a\":" + four + "}", "1234"), "'a' comes twice");
  EXPECT_SAYS(expect_header_refused("{\"a\":" + four + ",\"\\u0061\":" + tensor_text("F32", "1", "4,8") + "}", "12345678"), "'a' comes twice");
  EXPECT_SAYS(expect_header_refused("{\"__metadata__\":{\"k\":\"1\",\"\\u006b\":\"2\"}}"), "'k' comes twice");
  EXPECT_SAYS(expect_header_refused("{\"__metadata__\":{},\"__metadata__\":{}}"), "comes twice");
  EXPECT_SAYS(expect_header_refused("{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", "1234"),
              "dtype comes twice");
}

TEST(safetensors, hostile_10_nesting) {
  const std::clock_t start = std::clock();
  expect_header_refused("{\"a\":" + std::string(100'000, '['));
  const auto within = [](std::size_t depth) {
    return file_bytes(
        "{\"a\":{\"x\":" + std::string(depth, '[') + std::string(depth, ']') + ",\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", "1");
  };
  EXPECT_SAYS(expect_file_refused(within(100'000)), "nested more than 127 deep");
  expect_file_refused(within(126));
  const std::string allowed = within(125);  // the reference implementation's limit
  EXPECT_EQ(safetensors::parse(bytes_of(allowed)).size(), 1);
  EXPECT_THROW(safetensors::parse(bytes_of(file_bytes(std::string(90'000'000, '[')))), rapt::format_error);
  EXPECT_THROW(safetensors::parse(bytes_of(file_bytes("{\"a\":{\"x\":" + std::string(90'000'000, '[') + "}"))), rapt::format_error);
  EXPECT_LT((std::clock() - start) / CLOCKS_PER_SEC, 5);  // of the processor, for all of them, on any machine
}

TEST(safetensors, hostile_10_nesting_takes_no_stack) {
  const std::string bytes = file_bytes("{\"a\":{\"x\":" + std::string(1'000'000, '[') + "}");
  struct {
    const std::string& bytes;
    bool refused = false;
  } work{bytes};
  pthread_attr_t attributes;
  pthread_t thread;
  ASSERT_EQ(pthread_attr_init(&attributes), 0);
  ASSERT_EQ(pthread_attr_setstacksize(&attributes, 256 << 10), 0);
  const auto body = [](void* argument) -> void* {
    auto& w = *static_cast<decltype(work)*>(argument);
    try {
      safetensors::parse(bytes_of(w.bytes));
    } catch (const rapt::format_error&) { w.refused = true; }
    return nullptr;
  };
  ASSERT_EQ(pthread_create(&thread, &attributes, body, &work), 0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
  EXPECT_TRUE(work.refused);
}

TEST(safetensors, hostile_11_too_many_tensors) {
  std::string header = "{";
  for (int i = 0; i <= 1'000'000; ++i) header += (i > 0 ? ",\"" : "\"") + std::to_string(i) + "\":" + tensor_text("U8", "0", "0,0");
  const std::string bytes = file_bytes(header + "}");
  EXPECT_SAYS(expect_refused<rapt::format_error>({.input_bytes = bytes.size()}, [&] { safetensors::parse(bytes_of(bytes)); }),
              "more than 1000000 tensors");
}

TEST(safetensors, hostile_12_extents_that_are_no_extents) {
  for (const char* shape : {"-4", "4.0", "1e3", "18446744073709551616", "9223372036854775808", "\"4\"", "null", "true", "[4]", "{}", "-0"})
    EXPECT_SAYS(expect_header_refused("{\"a\":" + tensor_text("U8", shape, "0,4") + "}", "1234"), "'a': ");
  std::string rank = "1";
  for (int i = 1; i < 1000; ++i) rank += ",1";
  EXPECT_SAYS(expect_header_refused("{\"a\":" + tensor_text("U8", rank, "0,1") + "}", "1"), "rank exceeds 8");
  expect_header_refused("{\"a\":" + tensor_text("U8", "1,1,1,1,1,1,1,1,1", "0,1") + "}", "1");
  const std::string eight = file_bytes("{\"a\":" + tensor_text("U8", "1,1,1,1,1,1,1,1", "0,1") + "}", "1");
  EXPECT_EQ(safetensors::parse(bytes_of(eight))[0].rank, 8);
  EXPECT_SAYS(expect_header_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":4,\"data_offsets\":[0,4]}}", "1234"),
              "shape must be an array; a number came");
  EXPECT_SAYS(expect_header_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":\"x\"}}", "1234"),
              "data_offsets must be an array; a string came");
  expect_header_refused("{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,4]}}", "1234");
  EXPECT_SAYS(expect_header_refused("{\"a\":{\"dtype\":5,\"shape\":[4],\"data_offsets\":[0,4]}}", "1234"), "dtype must be a string; a number came");
  expect_header_refused("{\"a\":{}}");
  expect_header_refused("{\"a\":4}", "1234");
}

TEST(safetensors, hostile_13_products_that_overflow_in_any_order) {
  for (const char* shape : {"9223372036854775807,2,0", "0,9223372036854775807,2", "2,0,9223372036854775807", "4611686018427387904,2,0",
                            "4294967296,4294967296", "4294967296,2147483648", "16,1152921504606846976"})
    EXPECT_SAYS(expect_header_refused("{\"a\":" + tensor_text("U8", shape, "0,0") + "}"), "exceeds 2^63 - 1");
  EXPECT_SAYS(expect_header_refused("{\"a\":" + tensor_text("F64", "2305843009213693952", "0,0") + "}"), "exceeds 2^63 - 1");
  const std::string zero = file_bytes("{\"a\":" + tensor_text("F64", "1152921504606846975,0", "0,0") + "}");
  EXPECT_TRUE(safetensors::parse(bytes_of(zero))[0].bytes.empty());
}

TEST(safetensors, hostile_15_dtypes_that_can_not_be_read) {
  for (const char* dtype : {"f32", "F128", "", "F32 ", "F4", "F6_E2M3", "F6_E3M2", "I4", "float32"})
    EXPECT_SAYS(expect_header_refused("{\"a\":" + tensor_text(dtype, "8", "0,8") + "}", "12345678"), "dtype");
}

TEST(safetensors, hostile_metadata_that_is_no_text) {
  expect_header_refused("{\"__metadata__\":{\"a\":1}}");
  expect_header_refused("{\"__metadata__\":{\"a\":null}}");
  expect_header_refused("{\"__metadata__\":{\"a\":{}}}");
  expect_header_refused("{\"__metadata__\":[]}");
  expect_header_refused("{\"__metadata__\":\"a\"}");
}

TEST(safetensors, hostile_metadata_of_rapt_without_its_format_key) {
  for (const char* key : {"rapt.version", "rapt.", "xxh3.a", "rapt.formau"})
    EXPECT_SAYS(expect_header_refused("{\"__metadata__\":{\"" + std::string(key) + "\":\"x\"},\"a\":" + four + "}", "1234"), "without rapt.format");
}

TEST(safetensors, opens_types_that_it_does_not_compute_with) {
  struct {
    const char* name;
    int bytes;
  } const types[] = {{"I8", 1}, {"I16", 2}, {"U16", 2}, {"I32", 4}, {"U32", 4}, {"U64", 8}, {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"C64", 8}};
  for (const auto& [name, bytes] : types) {
    const std::string size = std::to_string(3 * bytes);
    const std::string text = file_bytes("{\"a\":" + tensor_text(name, "3", "0," + size) + "}", std::string(static_cast<std::size_t>(3 * bytes), 'x'));
    const auto file = safetensors::parse(bytes_of(text));
    EXPECT_EQ(file[0].type, std::nullopt);
    EXPECT_EQ(file[0].type_name, name);
    EXPECT_EQ(file[0].bytes.size(), static_cast<std::size_t>(3 * bytes));
    EXPECT_THROW(file[0].copy<float>(), rapt::shape_error);
  }
}

/// The shape of a published file: an I64 tensor first, data 8-byte aligned, spaces behind the header.
TEST(safetensors, reads_a_file_as_sentence_transformers_publish_it) {
  std::string header = "{\"__metadata__\":{\"format\":\"pt\"},\"embeddings.position_ids\":" + tensor_text("I64", "1,4", "0,32") +
                       ",\"z.weight\":" + tensor_text("F32", "2,3", "32,56") + ",\"a.bias\":" + tensor_text("F32", "3", "56,68") + "}";
  while (header.size() % 16 != 8) header += ' ';
  std::string data;
  for (std::int64_t i = 0; i < 4; ++i) data.append(reinterpret_cast<const char*>(&i), 8);
  for (int i = 0; i < 9; ++i) {
    const float x = 0.5f + static_cast<float>(i);
    data.append(reinterpret_cast<const char*>(&x), 4);
  }
  const temporary_directory directory;
  write_file(directory / "model.safetensors", file_bytes(header, data));
  for (const bool mmap : {false, true}) {
    const auto file = safetensors::open(directory / "model.safetensors", {.mmap = mmap});
    EXPECT_FALSE(file.is_rapt_state());
    std::string names;
    for (const auto& tensor : file) names += std::string(tensor.name) + " ";
    EXPECT_EQ(names, "embeddings.position_ids z.weight a.bias ");
    const auto z = file.at("z.weight").view<float, 2>();
    EXPECT_EQ(z.extent(1), 3);
    EXPECT_EQ(z(1, 2), 5.5f);
    EXPECT_EQ(file.at("a.bias").copy<float>(), (std::vector<float>{6.5f, 7.5f, 8.5f}));
    EXPECT_EQ((file.at("embeddings.position_ids").view<std::int64_t, 2>()(0, 3)), 3);
    EXPECT_SAYS(expect_refused<rapt::shape_error>({}, [&] { file.at("z.weight").view<float, 1>(); }), "F32 [2, 3]");
    EXPECT_SAYS(expect_refused<rapt::shape_error>({}, [&] { file.at("z.weight").view<double, 2>(); }), "F64 of rank 2 was asked for");
    EXPECT_SAYS(expect_refused<rapt::format_error>({}, [&] { file.at("weight"); }), "no tensor 'weight'");
    EXPECT_THROW(file[3], rapt::range_error);
    EXPECT_THROW(file[-1], rapt::range_error);
  }
}

TEST(safetensors, elements_at_odd_bytes_are_copied_but_not_viewed) {
  const std::string bytes =
      file_bytes("{\"a\":" + tensor_text("U8", "1", "0,1") + ",\"b\":" + tensor_text("F32", "1", "1,5") + "}", std::string("x\0\0\x80\x3f", 5));
  const temporary_directory directory;
  write_file(directory / "odd", bytes);
  const auto file = safetensors::open(directory / "odd");
  EXPECT_EQ(file.at("b").copy<float>().at(0), 1.0f);
  EXPECT_SAYS(expect_refused<rapt::shape_error>({}, [&] { file.at("b").view<float, 1>(); }), "not aligned");
}

TEST(safetensors, tensors_come_in_the_order_of_their_data_whatever_the_header_says) {
  const std::string bytes =
      file_bytes("{\"b\":" + tensor_text("F32", "1", "4,8") + ",\"e\":" + tensor_text("F32", "0", "4,4") + ",\"a\":" + four + "}", "12345678");
  const auto file = safetensors::parse(bytes_of(bytes));
  EXPECT_EQ(file[0].name, "a");
  EXPECT_EQ(file[1].name, "e");
  EXPECT_EQ(file[2].name, "b");
}

TEST(safetensors, unknown_fields_of_a_tensor_are_skipped) {
  const std::string bytes = file_bytes(
      "{\"a\":{\"note\":\"U8\",\"dtype\":\"F32\",\"x\":{\"dtype\":\"U8\",\"shape\":[7]},\"shape\":[1],\"y\":[3,null,-1.5,true],\"data_offsets\":[0,4]"
      ","
      "\"last\":\"F64\",\"shapes\":5}}",
      "1234");
  EXPECT_EQ(safetensors::parse(bytes_of(bytes))[0].describe(), "F32 [1]");
}

TEST(safetensors, names_of_any_text) {
  const std::string bytes = file_bytes(
      "{\"\\u0000\":" + four + ",\"\":" + tensor_text("F32", "1", "4,8") + ",\"\xc3\xa9 \\ud83d\\ude00\":" + tensor_text("F32", "1", "8,12") + "}",
      "123456789012");
  const auto file = safetensors::parse(bytes_of(bytes));
  EXPECT_TRUE(file.contains(std::string_view("\0", 1)));
  EXPECT_TRUE(file.contains(""));
  EXPECT_TRUE(file.contains("\xc3\xa9 \xf0\x9f\x98\x80"));
}

TEST(safetensors, messages_shorten_long_names_and_hide_control_characters) {
  const std::string bytes = file_bytes("{}");
  const auto file = safetensors::parse(bytes_of(bytes));
  const auto message = [&](const std::string& name) { return expect_refused<rapt::format_error>({}, [&] { file.at(name); }); };
  EXPECT_SAYS(message(std::string(120, 'n')), "'" + std::string(120, 'n') + "'");
  EXPECT_SAYS(message(std::string(121, 'n')), "'" + std::string(120, 'n') + "...'");
  EXPECT_SAYS(message("a\x1f\x7f\n b"), "'a??? b'");
}

TEST(safetensors, hostile_45_use_after_move_is_a_state_error) {
  const std::string bytes = file_bytes("{}");
  auto file = safetensors::parse(bytes_of(bytes));
  const auto taken = std::move(file);
  EXPECT_THROW(file.size(), rapt::state_error);  // NOLINT(bugprone-use-after-move): the subject
  EXPECT_THROW(file.find("a"), rapt::state_error);
  EXPECT_THROW(file.source(), rapt::state_error);
  EXPECT_EQ(taken.size(), 0);
}

}  // namespace
