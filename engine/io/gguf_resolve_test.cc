// Type ids that stand for several layouts, or for different things in different files.
#include <string>
#include <vector>

#include "engine/io/gguf_test_bytes.h"
#include "engine/quant/format.h"
#include "rowmax/engine/gguf.h"

namespace rowmax::engine {
namespace {

constexpr std::uint32_t kI2S = 36, kQ20 = 42;

struct Entry {
  std::vector<std::int64_t> shape;
  std::uint32_t type;
  std::size_t n_bytes;  // that the file has for it, before padding
};

// Tensors t0, t1, ... one after the other; `cut` bytes missing at the end, no padding after the last one.
GgufBytes file_of(const std::vector<Entry>& entries, std::size_t cut = 0) {
  GgufBytes file = GgufBytes::header(entries.size(), 0);
  std::uint64_t offset = 0;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    file.str("t" + std::to_string(i)).u32(static_cast<std::uint32_t>(entries[i].shape.size()));
    for (const std::int64_t dim : entries[i].shape) file.put(dim);
    file.u32(entries[i].type).u64(offset);
    offset += (entries[i].n_bytes + 31) / 32 * 32;
  }
  file.pad();
  for (std::size_t i = 0; i < entries.size(); ++i) {
    file.zeros(entries[i].n_bytes - (i + 1 == entries.size() ? cut : 0));
    if (i + 1 < entries.size()) file.pad();
  }
  return file;
}

// The formats of the tensors, or the error.
std::string formats_in(const GgufBytes& file, const std::vector<std::string>& named = {},
                       std::vector<std::string>* notices = nullptr) {
  const auto parsed = GgufFile::parse(file.bytes(), "m.gguf", {named});
  if (!parsed.ok()) return parsed.error().message;
  std::string text;
  for (const GgufTensor& tensor : parsed->tensors()) {
    text += (text.empty() ? "" : " ") + std::string(gguf_tensor_format_name(tensor));
    EXPECT_EQ(static_cast<std::int64_t>(tensor.data.size()),
              format_tensor_bytes(*tensor.format, tensor.n_elements() / tensor.shape[0], tensor.shape[0]));
  }
  if (notices != nullptr) notices->assign(parsed->notices().begin(), parsed->notices().end());
  return text;
}

void expect_part(const std::string& text, std::string_view part) {
  EXPECT_NE(text.find(part), std::string::npos) << "expected \"" << part << "\" in: " << text;
}

TEST(GgufResolve, I2SHasAQuarterAndATail) {
  std::vector<std::string> notices;
  EXPECT_EQ(formats_in(file_of({{{256, 3}, kI2S, 192 + 32}, {{8}, kF32, 32}}), {}, &notices), "I2_S F32");
  EXPECT_TRUE(notices.empty()) << notices[0];
  EXPECT_EQ(formats_in(file_of({{{8}, kF32, 32}, {{128, 2}, kI2S, 64 + 32}})), "F32 I2_S");
}

TEST(GgufResolve, I2SOfAnotherSizeIsRefused) {
  // 18 bytes for 32 weights: the 4-bit type that once had this number.
  expect_part(formats_in(file_of({{{256, 4}, kI2S, 576}, {{8}, kF32, 32}})),
              "m.gguf: tensor 't0' has type 36, expected 288 (I2_S) bytes, found room for 576: another type");
  // 32 bytes for each of two threads.
  expect_part(formats_in(file_of({{{256, 4}, kI2S, 256 + 64}, {{8}, kF32, 32}})), "found room for 320");
  // Without the tail.
  expect_part(formats_in(file_of({{{256, 4}, kI2S, 256}, {{8}, kF32, 32}})), "found room for 256");
  expect_part(formats_in(file_of({{{64, 4}, kI2S, 96}, {{8}, kF32, 32}})),
              "tensor 't0' has rows of 64 elements, which are not whole blocks of 128 (type I2_S)");
  expect_part(formats_in(file_of({{{256, 4}, kI2S, 288}}, 7)), "the file is 7 bytes short: tensor 't0'");
}

TEST(GgufResolve, OtherLayoutsOfI2SOnlyByName) {
  std::vector<std::string> notices;
  const GgufBytes file = file_of({{{256, 4}, kI2S, 288}, {{8}, kF32, 32}});
  EXPECT_EQ(formats_in(file), "I2_S F32");
  EXPECT_EQ(formats_in(file, {"I2_S_64"}, &notices), "I2_S_64 F32");
  ASSERT_EQ(notices.size(), 1u);
  EXPECT_EQ(notices[0], "m.gguf: type 36 is taken for I2_S_64 (64 weights in 16 bytes), as asked");
  EXPECT_EQ(formats_in(file, {"Q2_0_128", "I2_S_ROW4"}), "I2_S_ROW4 F32");
  expect_part(formats_in(file_of({{{256, 3}, kI2S, 224}, {{8}, kF32, 32}}), {"I2_S_ROW4"}),
              "tensor 't0' has 3 rows, which are not whole groups of 4 (type I2_S_ROW4)");
  expect_part(formats_in(file, {"I2_S_ARM"}),
              "m.gguf: unknown format 'I2_S_ARM', expected I2_S or I2_S_64 or I2_S_ROW4");
  expect_part(formats_in(file, {"I2_S_64", "I2_S"}), "formats I2_S_64 and I2_S cannot both stand for type 36");
}

TEST(GgufResolve, SizesTellTheLayoutsOfQ20) {
  std::vector<std::string> notices;
  EXPECT_EQ(formats_in(file_of({{{512, 4}, kQ20, 512 * 4 / 64 * 18}, {{8}, kF32, 32}}), {}, &notices), "Q2_0 F32");
  ASSERT_EQ(notices.size(), 1u);
  EXPECT_EQ(notices[0], "m.gguf: type 42 is taken for Q2_0 (64 weights in 18 bytes), as the sizes of its tensors say");
  EXPECT_EQ(formats_in(file_of({{{512, 4}, kQ20, 512 * 4 / 128 * 34}, {{8}, kF32, 32}}), {}, &notices), "Q2_0_128 F32");
  ASSERT_EQ(notices.size(), 1u);
  EXPECT_EQ(notices[0],
            "m.gguf: type 42 is taken for Q2_0_128 (128 weights in 34 bytes), as the sizes of its tensors say");
  // The last tensor, by the file's end.
  EXPECT_EQ(formats_in(file_of({{{8}, kF32, 32}, {{512, 4}, kQ20, 544}})), "F32 Q2_0_128");
  EXPECT_EQ(formats_in(file_of({{{8}, kF32, 32}, {{512, 4}, kQ20, 576}})), "F32 Q2_0");
  // Rows of 192 can only be blocks of 64.
  EXPECT_EQ(formats_in(file_of({{{192, 1}, kQ20, 54}})), "Q2_0");
}

TEST(GgufResolve, SizesThatDoNotSettleItAreRefused) {
  // 36 or 34 bytes, padded to 64.
  const GgufBytes small = file_of({{{128, 1}, kQ20, 36}, {{8}, kF32, 32}});
  expect_part(formats_in(small),
              "type 42 stands for several layouts and the sizes of its tensors fit Q2_0 or Q2_0_128; "
              "choose one with --format NAME");
  EXPECT_EQ(formats_in(small, {"Q2_0"}), "Q2_0 F32");
  EXPECT_EQ(formats_in(small, {"Q2_0_128"}), "Q2_0_128 F32");
  // A larger tensor of the same file settles it for all.
  EXPECT_EQ(formats_in(file_of({{{128, 1}, kQ20, 34}, {{512, 4}, kQ20, 544}, {{8}, kF32, 32}})),
            "Q2_0_128 Q2_0_128 F32");
  expect_part(formats_in(file_of({{{512, 4}, kQ20, 576}, {{512, 4}, kQ20, 544}, {{8}, kF32, 32}})),
              "no layout of type 42 (Q2_0 or Q2_0_128 or STQ1_0_42) fits the sizes of all its tensors");
  expect_part(formats_in(file_of({{{512, 4}, kQ20, 608}, {{8}, kF32, 32}})),
              "tensor 't0' has type 42, expected 576 (Q2_0) or 544 (Q2_0_128) or 336 (STQ1_0_42) bytes, found room for "
              "608");
  expect_part(formats_in(file_of({{{512, 4}, kQ20, 576}, {{8}, kF32, 32}}), {"Q2_0_128"}),
              "expected 544 (Q2_0_128) bytes, found room for 576");
  // Cut short, with and without another tensor that settles it.
  expect_part(formats_in(file_of({{{512, 4}, kQ20, 544}, {{512, 4}, kQ20, 544}}, 100)), "the file is 100 bytes short");
}

TEST(GgufResolve, Tl1AndTl2AreRefusedWithAWayOut) {
  expect_refused(file_of({{{256, 4}, 38, 288}}), ErrorCode::kUnsupported,
                 {"tensor 't0' has type 38 (TL1 of bitnet.cpp", "kernel_config.ini", "convert the model anew"});
  // MXFP4 takes 544 bytes.
  expect_refused(file_of({{{256, 4}, 39, 288}, {{8}, kF32, 32}}), ErrorCode::kUnsupported,
                 {"tensor 't0' has type 39 (MXFP4, or TL2 in files of bitnet.cpp)", "kernel_config.ini"});
  EXPECT_EQ(formats_in(file_of({{{256, 4}, 39, 544}, {{8}, kF32, 32}})), "MXFP4 F32");
}

TEST(GgufResolve, WriterTakesAnyLayoutOfAType) {
  for (const std::size_t n_bytes : {std::size_t{576}, std::size_t{544}, std::size_t{336}}) {
    GgufWriter writer;
    writer.add_tensor("t0", kQ20, {512, 4}, std::vector<std::byte>(n_bytes));
    const auto bytes = writer.bytes();
    ASSERT_TRUE(bytes.ok()) << bytes.error().message;
    const auto parsed = GgufFile::parse(*bytes, "m.gguf");
    ASSERT_TRUE(parsed.ok()) << parsed.error().message;
    EXPECT_EQ(gguf_tensor_format_name(parsed->tensors()[0]), n_bytes == 576   ? "Q2_0"
                                                             : n_bytes == 544 ? "Q2_0_128"
                                                                              : "STQ1_0_42");
  }
  GgufWriter writer;
  writer.add_tensor("t0", kQ20, {512, 4}, std::vector<std::byte>(560));
  const auto bytes = writer.bytes();
  ASSERT_FALSE(bytes.ok());
  EXPECT_EQ(bytes.error().message, "cannot write GGUF: tensor 't0' expected 576 or 544 or 336 bytes, found 560");
}

}  // namespace
}  // namespace rowmax::engine
