// Files on disk, round trips through the writer, and a file that the PyPI package gguf wrote.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "engine/io/gguf_test_bytes.h"
#include "engine/io/mapped_file.h"
#include "engine/io/text.h"
#include "rowmax/engine/output_file.h"

namespace rowmax::engine {
namespace {

namespace fs = std::filesystem;

class GgufDisk : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "rowmax_gguf_XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string path(std::string_view name) const { return (folder_ / name).string(); }
  void save(std::string_view name, const std::vector<std::byte>& bytes) const {
    std::ofstream(path(name), std::ios::binary).write(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  static void expect_refused(const std::string& path, ErrorCode code, std::string_view text) {
    const auto file = GgufFile::open(path);
    ASSERT_FALSE(file.ok());
    EXPECT_EQ(file.error().code, code) << file.error().message;
    EXPECT_NE(file.error().message.find(path), std::string::npos) << file.error().message;
    EXPECT_NE(file.error().message.find(text), std::string::npos) << file.error().message;
  }
  fs::path folder_;
};

std::vector<std::byte> to_bytes(const std::vector<float>& values) {
  const auto bytes = std::as_bytes(std::span(values));
  return {bytes.begin(), bytes.end()};
}

GgufWriter sample() {
  GgufWriter writer;
  writer.set_string("general.architecture", "llama");
  writer.set_uint32("a.u32", 0xFFFFFFFF);
  writer.set_uint64("a.u64", std::uint64_t{1} << 63);
  writer.set_float32("a.f32", -0.125f);
  writer.set_bool("a.bool", true);
  writer.set_bools("a.bools", {true, false, true});
  writer.set_strings("a.strings", {"", "one", std::string("t\0o", 3)});
  writer.set_int32s("a.ints", {-1, 0, 2147483647});
  writer.set_float32s("a.floats", {1.5f, -2.5f});
  writer.set_float32s("a.nothing", {});
  writer.add_tensor("odd", 0, {3}, to_bytes({1, 2, 3}));
  writer.add_tensor("matrix", 0, {2, 3, 1, 1}, to_bytes({1, 2, 3, 4, 5, 6}));
  return writer;
}

void expect_sample(const GgufFile& file) {
  EXPECT_EQ(file.version(), 3u);
  EXPECT_TRUE(file.notices().empty());
  EXPECT_EQ(file.metadata().size(), 10u);
  EXPECT_EQ(file.metadata()[0].first, "general.architecture");
  EXPECT_EQ(*file.get_string("general.architecture"), "llama");
  EXPECT_EQ(*file.get_uint("a.u32"), 0xFFFFFFFFu);
  EXPECT_EQ(*file.get_uint("a.u64"), std::uint64_t{1} << 63);
  EXPECT_EQ(*file.get_float("a.f32"), -0.125);
  EXPECT_TRUE(*file.get_bool("a.bool"));
  const GgufArray* bools = *file.get_array("a.bools", GgufType::kBool);
  EXPECT_EQ(bools->size, 3u);
  EXPECT_EQ(bools->as_int(1), 0);
  const GgufArray* strings = *file.get_array("a.strings", GgufType::kString);
  EXPECT_EQ(strings->strings, (std::vector<std::string_view>{"", "one", std::string_view("t\0o", 3)}));
  EXPECT_EQ((*file.get_array("a.ints", GgufType::kI32))->as_int(2), 2147483647);
  EXPECT_EQ((*file.get_array("a.floats", GgufType::kF32))->as_double(1), -2.5);
  EXPECT_EQ((*file.get_array("a.nothing", GgufType::kF32))->size, 0u);
  ASSERT_EQ(file.tensors().size(), 2u);
  const GgufTensor* matrix = file.find_tensor("matrix");
  ASSERT_NE(matrix, nullptr);
  EXPECT_EQ(matrix->shape, (std::vector<std::int64_t>{2, 3, 1, 1}));
  EXPECT_EQ(std::vector<std::byte>(matrix->data.begin(), matrix->data.end()), to_bytes({1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(file.find_tensor("none"), nullptr);
}

TEST_F(GgufDisk, WriterToReaderInMemoryAndOnDisk) {
  const auto bytes = sample().bytes();
  ASSERT_TRUE(bytes.ok()) << bytes.error().message;
  const auto parsed = GgufFile::parse(*bytes, "memory");
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  expect_sample(*parsed);

  ASSERT_TRUE(sample().write(path("m.gguf")).ok());
  auto opened = GgufFile::open(path("m.gguf"));
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  expect_sample(*opened);
  EXPECT_EQ(opened->file_bytes(), bytes->size());
  for (const GgufTensor& tensor : opened->tensors()) opened->drop_pages(tensor.data);
  expect_sample(*opened);  // the pages come back from the disk
  // Written atomically: no temporary file stays, and a map of the old file survives a new one.
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()), 1);
  GgufWriter other;
  other.set_bool("x", false);
  ASSERT_TRUE(other.write(path("m.gguf")).ok());
  expect_sample(*opened);
  const GgufFile moved = std::move(opened).value();
  expect_sample(moved);
}

TEST_F(GgufDisk, WriterBytesAreThoseOfTheFormat) {
  GgufWriter writer;
  writer.set_uint32("k", 7);
  writer.set_strings("s", {"ab"});
  writer.add_tensor("t", 0, {2}, to_bytes({1, 2}));
  writer.add_tensor("u", 0, {1}, to_bytes({3}));
  GgufBytes expected = GgufBytes::header(2, 2);
  expected.key("k", 4).u32(7).key("s", 9).u32(8).u64(1).str("ab");
  expected.tensor("t", {2}, 0, 0).tensor("u", {1}, 0, 32).pad().put(1.f).put(2.f).pad().put(3.f).pad();
  EXPECT_EQ(*writer.bytes(), expected.bytes());
  ASSERT_TRUE(writer.write(path("w.gguf")).ok());
  std::ifstream in(path("w.gguf"), std::ios::binary);
  const std::string written((std::istreambuf_iterator<char>(in)), {});
  ASSERT_EQ(written.size(), expected.size());
  EXPECT_EQ(std::memcmp(written.data(), expected.bytes().data(), written.size()), 0);
}

TEST_F(GgufDisk, WriterRefuses) {
  const auto refused = [](const GgufWriter& writer, std::string_view text) {
    const auto bytes = writer.bytes();
    ASSERT_FALSE(bytes.ok());
    EXPECT_EQ(bytes.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(bytes.error().message.find(text), std::string::npos) << bytes.error().message;
  };
  GgufWriter twice = sample();
  twice.set_bool("a.bool", false);
  refused(twice, "key 'a.bool' was given twice");
  GgufWriter same = sample();
  same.add_tensor("odd", 0, {1}, to_bytes({1}));
  refused(same, "tensor 'odd' was given twice");
  GgufWriter size = sample();
  size.add_tensor("x", 0, {4}, to_bytes({1}));
  refused(size, "tensor 'x' expected 16 bytes, found 4");
  GgufWriter type = sample();
  type.add_tensor("x", 999, {4}, to_bytes({1}));
  refused(type, "tensor 'x' has the unknown type 999");
  GgufWriter name = sample();
  name.add_tensor(std::string(64, 'n'), 0, {1}, to_bytes({1}));
  refused(name, "longer than 63 bytes");
  GgufWriter shape = sample();
  shape.add_tensor("x", 0, {1, 1, 1, 1, 1}, to_bytes({1}));
  refused(shape, "tensor 'x' has 5 dimensions");
  GgufWriter alignment = sample();
  alignment.set_uint32("general.alignment", 12);
  refused(alignment, "general.alignment");

  const Status nowhere = sample().write(path("no/such/folder/m.gguf"));
  ASSERT_FALSE(nowhere.ok());
  EXPECT_EQ(nowhere.error().code, ErrorCode::kIo);
}

TEST_F(GgufDisk, WriterAlignment) {
  GgufWriter writer = sample();
  writer.set_uint32("general.alignment", 4096);
  const auto bytes = writer.bytes();
  ASSERT_TRUE(bytes.ok());
  const auto file = GgufFile::parse(*bytes, "memory");
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_EQ(file->alignment(), 4096u);
  EXPECT_EQ(file->find_tensor("matrix")->offset, 4096u);
}

TEST_F(GgufDisk, PathsThatAreNoRegularFiles) {
  expect_refused(path("absent.gguf"), ErrorCode::kNotFound, "No such file");
  expect_refused(folder_.string(), ErrorCode::kInvalidArgument, "found a directory");
  expect_refused("/dev/zero", ErrorCode::kInvalidArgument, "found a character device");
  ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0600), 0);
  expect_refused(path("fifo"), ErrorCode::kInvalidArgument, "found a FIFO");
  fs::create_symlink(path("fifo"), path("link"));
  expect_refused(path("link"), ErrorCode::kInvalidArgument, "found a FIFO");
  fs::create_symlink(path("loop_b"), path("loop_a"));
  fs::create_symlink(path("loop_a"), path("loop_b"));
  expect_refused(path("loop_a"), ErrorCode::kIo, "symbolic links");
  save("empty.gguf", {});
  expect_refused(path("empty.gguf"), ErrorCode::kCorrupt, "the file is empty");
  EXPECT_FALSE(GgufFile::open(std::string("a\0b", 3)).ok());

  const int socket = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  path("socket").copy(address.sun_path, sizeof(address.sun_path) - 1);
  ASSERT_EQ(::bind(socket, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  expect_refused(path("socket"), ErrorCode::kInvalidArgument, "found a socket");
  ::close(socket);
}

TEST_F(GgufDisk, ALinkToAModelIsFollowed) {
  ASSERT_TRUE(sample().write(path("m.gguf")).ok());
  fs::create_symlink(path("m.gguf"), path("link.gguf"));
  const auto file = GgufFile::open(path("link.gguf"));
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_EQ(file->name(), path("link.gguf"));
}

TEST_F(GgufDisk, AChangeOfSizeIsSeen) {
  ASSERT_TRUE(sample().write(path("m.gguf")).ok());
  const auto map = MappedFile::open(path("m.gguf"));
  ASSERT_TRUE(map.ok());
  EXPECT_TRUE(map->check_size().ok());
  fs::resize_file(path("m.gguf"), map->bytes().size() + 1);
  const Status changed = map->check_size();
  ASSERT_FALSE(changed.ok());
  EXPECT_NE(changed.error().message.find("still being written?"), std::string::npos) << changed.error().message;
}

TEST_F(GgufDisk, AnUnfinishedAtomicFileLeavesNothing) {
  {
    auto file = OutputFile::create(path("x"), {});
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE(file->append(to_bytes({1, 2})).ok());
  }
  EXPECT_TRUE(fs::is_empty(folder_));
}

// testdata/by_gguf_py.gguf was written by tools/make_gguf_py_sample.py with the PyPI package gguf; the values here are
// those of that script.
TEST(GgufPython, AFileByThePythonPackage) {
  const auto file = GgufFile::open(ROWMAX_SOURCE_DIR "/engine/io/testdata/by_gguf_py.gguf");
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_EQ(file->version(), 3u);
  EXPECT_EQ(file->alignment(), 64u);
  EXPECT_TRUE(file->notices().empty()) << file->notices()[0];
  EXPECT_EQ(*file->get_string("general.architecture"), "llama");
  EXPECT_EQ(*file->get_uint("t.u8"), 250u);
  EXPECT_EQ(file->find("t.u8")->type, GgufType::kU8);
  EXPECT_EQ(std::get<std::int64_t>(file->find("t.i8")->value), -7);
  EXPECT_EQ(*file->get_uint("t.u16"), 65000u);
  EXPECT_EQ(std::get<std::int64_t>(file->find("t.i16")->value), -32000);
  EXPECT_EQ(*file->get_uint("t.u32"), 4000000000u);
  EXPECT_EQ(std::get<std::int64_t>(file->find("t.i32")->value), -2000000000);
  EXPECT_EQ(*file->get_uint("t.u64"), 18446744073709551615ull);
  EXPECT_EQ(std::get<std::int64_t>(file->find("t.i64")->value), INT64_MIN);
  EXPECT_EQ(*file->get_float("t.f32"), 1e-5f);
  EXPECT_EQ(*file->get_float("t.f64"), 0.1);
  EXPECT_FALSE(*file->get_bool("t.bool"));
  EXPECT_EQ(*file->get_string("t.string"), "\xe2\x96\x81na\xc3\xafve \xf0\x9f\x98\x80");
  EXPECT_EQ((*file->get_array("t.strings", GgufType::kString))->strings, (std::vector<std::string_view>{"a", "",
                                                                                                        "\xc4\xa0"
                                                                                                        "b"}));
  const GgufArray* ints = *file->get_int_array("t.ints");
  ASSERT_EQ(ints->size, 3u);
  EXPECT_EQ(ints->as_int(1), -2);
  const GgufArray* floats = *file->get_array("t.floats", GgufType::kF32);
  EXPECT_EQ(floats->as_double(2), 2.25);

  ASSERT_EQ(file->tensors().size(), 3u);
  const GgufTensor* f32 = file->find_tensor("f32.weight");
  EXPECT_EQ(f32->shape, (std::vector<std::int64_t>{3, 2}));  // numpy shape (2, 3)
  float values[6];
  std::memcpy(values, f32->data.data(), sizeof(values));
  for (int i = 0; i < 6; ++i) EXPECT_EQ(values[i], 0.5f * static_cast<float>(i) - 1.0f);
  const GgufTensor* f16 = file->find_tensor("f16.weight");
  EXPECT_EQ(f16->type, 1u);
  std::uint16_t halves[4];
  std::memcpy(halves, f16->data.data(), sizeof(halves));
  EXPECT_EQ(halves[1], 0x3C00);  // 1.0
  EXPECT_EQ(halves[3], 0x4200);  // 3.0
  const GgufTensor* q8 = file->find_tensor("q8.weight");
  EXPECT_EQ(q8->type, 8u);
  EXPECT_EQ(q8->shape, (std::vector<std::int64_t>{64, 3}));
  EXPECT_EQ(q8->data.size(), 6u * 34u);
  EXPECT_EQ(std::to_integer<int>(q8->data[2 + 31]), 127);  // the largest of the first block, 31, quantises to 127
}

TEST(GgufText, Quoting) {
  EXPECT_EQ(quote("plain"), "'plain'");
  EXPECT_EQ(quote("a\tb\xff"), "'a\\x09b\\xff'");
  EXPECT_EQ(quote("\xf0\x9f\x98\x80"), "'\xf0\x9f\x98\x80'");
  EXPECT_EQ(quote(std::string(200, 'x')), "'" + std::string(100, 'x') + "...'");
  EXPECT_FALSE(is_utf8("\xf4\x90\x80\x80"));  // above U+10FFFF
  EXPECT_FALSE(is_utf8("\xe2\x96"));          // cut
  EXPECT_FALSE(is_utf8("\x80"));
  EXPECT_TRUE(is_utf8(""));
}

}  // namespace
}  // namespace rowmax::engine
