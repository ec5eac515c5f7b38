// Archives as numpy writes them (their bytes put together here from the formats' definitions), and broken ones. Archives of
// Python's zipfile are read in tests/cli/compare_test.py.
#include "engine/io/npz.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "engine/io/mapped_file.h"

namespace rowmax::engine {
namespace {

void put(std::string& out, std::uint64_t value, int n_bytes) {
  for (int i = 0; i < n_bytes; ++i) out += static_cast<char>(value >> (8 * i));
}

std::uint32_t crc_of(const std::string& bytes) {
  std::uint32_t crc = 0xFFFFFFFFu;
  for (const char c : bytes) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xEDB88320u : 0u);
  }
  return ~crc;
}

std::string npy(const std::string& header, const std::string& data) {
  std::string out("\x93NUMPY\x01\x00", 8);
  put(out, header.size(), 2);
  return out + header + data;
}

struct Member {
  std::string name, bytes;
  int method = 0;
};

std::string zip(const std::vector<Member>& members) {
  std::string out, directory;
  for (const Member& member : members) {
    const std::size_t offset = out.size();
    std::string common;
    put(common, 20, 2);
    put(common, 0, 2);
    put(common, static_cast<std::uint64_t>(member.method), 2);
    put(common, 0, 4);
    put(common, crc_of(member.bytes), 4);
    put(common, member.bytes.size(), 4);
    put(common, member.bytes.size(), 4);
    put(common, member.name.size(), 2);
    put(out, 0x04034b50, 4);
    out += common;
    put(out, 4, 2);  // an extra field, as numpy's force_zip64 leaves one
    out += member.name + "\x01\x02\x03\x04" + member.bytes;
    put(directory, 0x02014b50, 4);
    put(directory, 20, 2);
    directory += common;
    put(directory, 0, 2);
    put(directory, 0, 2);
    put(directory, 0, 4);
    put(directory, 0, 4);
    put(directory, offset, 4);
    directory += member.name;
  }
  const std::size_t at = out.size();
  out += directory;
  put(out, 0x06054b50, 4);
  put(out, 0, 4);
  put(out, members.size(), 2);
  put(out, members.size(), 2);
  put(out, directory.size(), 4);
  put(out, at, 4);
  put(out, 0, 2);
  return out;
}

std::string floats(std::initializer_list<float> values) {
  std::string out;
  for (const float value : values) out.append(reinterpret_cast<const char*>(&value), sizeof value);
  return out;
}

const std::string kHeader = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n";
const std::string kData = floats({1, 2, 3, 4, 5, 6});

Result<std::vector<NpyArray>> read(const std::string& bytes) {
  return read_npz(std::as_bytes(std::span(bytes.data(), bytes.size())), "a.npz");
}
std::string refusal(const std::string& bytes) {
  const auto found = read(bytes);
  return found.ok() ? "" : found.error().message;
}

TEST(Npz, ReadsWhatNumpyWrites) {
  const std::string bytes =
      zip({{"blk.0.q.npy", npy(kHeader, kData)},
           {"tokens.npy", npy("{'descr': '<i8', 'fortran_order': False, 'shape': (2,), }\n", std::string(16, '\1'))}});
  const auto found = read(bytes);
  ASSERT_TRUE(found.ok()) << found.error().message;
  ASSERT_EQ(found->size(), 2u);
  EXPECT_EQ((*found)[0].name, "blk.0.q");
  EXPECT_EQ((*found)[0].dtype, "<f4");
  EXPECT_EQ((*found)[0].shape, (std::vector<std::int64_t>{2, 3}));
  ASSERT_EQ((*found)[0].data.size(), kData.size());
  EXPECT_EQ(std::memcmp((*found)[0].data.data(), kData.data(), kData.size()), 0);
  EXPECT_EQ((*found)[1].shape, (std::vector<std::int64_t>{2}));
}

// testdata/by_numpy.npz: numpy.savez of tokens = int64 1, 2, 3, blk.0.q = f32 0 to 5 as [3, 2], logits = f16 ones, [1, 3, 2].
TEST(Npz, ReadsAFileOfNumpy) {
  const auto file = MappedFile::open(ROWMAX_SOURCE_DIR "/engine/io/testdata/by_numpy.npz");
  ASSERT_TRUE(file.ok());
  const auto found = read_npz(file->bytes(), "by_numpy.npz");
  ASSERT_TRUE(found.ok()) << found.error().message;
  ASSERT_EQ(found->size(), 3u);
  const std::vector<NpyArray>& arrays = *found;
  EXPECT_EQ(arrays[0].name + arrays[1].name + arrays[2].name, "tokensblk.0.qlogits");
  EXPECT_EQ(arrays[0].dtype + arrays[1].dtype + arrays[2].dtype, "<i8<f4<f2");
  const std::int64_t tokens[] = {1, 2, 3};
  const float numbers[] = {0, 1, 2, 3, 4, 5};
  ASSERT_EQ(arrays[0].data.size(), sizeof tokens);
  EXPECT_EQ(std::memcmp(arrays[0].data.data(), tokens, sizeof tokens), 0);
  ASSERT_EQ(arrays[1].data.size(), sizeof numbers);
  EXPECT_EQ(std::memcmp(arrays[1].data.data(), numbers, sizeof numbers), 0);
  EXPECT_EQ(arrays[2].shape, (std::vector<std::int64_t>{1, 3, 2}));
}

TEST(Npz, RefusesByName) {
  const auto header = [](const char* text) { return zip({{"q.npy", npy(text, kData)}}); };
  EXPECT_NE(refusal(zip({{"q.npy", npy(kHeader, kData), 8}})).find("compressed"), std::string::npos);
  EXPECT_NE(refusal(zip({{"q.txt", "x"}})).find("q.txt"), std::string::npos);
  EXPECT_NE(refusal(header("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }\n")).find("Fortran"),
            std::string::npos);
  EXPECT_NE(refusal(header("{'descr': '>f4', 'fortran_order': False, 'shape': (2, 3), }\n")).find(">f4"),
            std::string::npos);
  EXPECT_NE(refusal(header("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 4), }\n")).find("32 bytes"),
            std::string::npos);
  EXPECT_NE(refusal(header("{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296, 4), }\n"))
                .find("impossible"),
            std::string::npos);
  EXPECT_FALSE(refusal("no zip").empty());
  std::string spoiled = zip({{"q.npy", npy(kHeader, kData)}});
  spoiled[spoiled.find(kData)] ^= 1;
  EXPECT_NE(refusal(spoiled).find("checksum"), std::string::npos);
}

// Whatever is cut off or turned over, it is an error or the same arrays; never a read beyond the end (asan sees that).
TEST(Npz, BrokenBytesAreErrors) {
  const std::string bytes = zip({{"q.npy", npy(kHeader, kData)}});
  for (std::size_t n = 0; n < bytes.size(); ++n) EXPECT_FALSE(read(bytes.substr(0, n)).ok()) << n;
  for (std::size_t i = 0; i < bytes.size() * 8; ++i) {
    std::string other = bytes;
    other[i / 8] = static_cast<char>(other[i / 8] ^ (1 << i % 8));
    const auto found = read(other);
    if (!found.ok() || found->empty()) continue;
    EXPECT_LE((*found)[0].data.size(), bytes.size());
  }
}

}  // namespace
}  // namespace rowmax::engine
