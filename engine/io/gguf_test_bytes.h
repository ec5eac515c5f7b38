// For tests: GGUF files written byte by byte from the format's description, independent of GgufWriter.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "rowmax/engine/gguf.h"

namespace rowmax::engine {

constexpr auto kCorrupt = ErrorCode::kCorrupt;
constexpr auto kUnsupported = ErrorCode::kUnsupported;
constexpr std::uint32_t kF32 = 0;  // a type id

class GgufBytes {
 public:
  // magic "GGUF", version, tensor count, key count.
  static GgufBytes header(std::uint64_t n_tensors, std::uint64_t n_keys, std::uint32_t version = 3) {
    return GgufBytes().raw("GGUF").put(version).put(n_tensors).put(n_keys);
  }
  template <class T>
  requires std::is_arithmetic_v<T> GgufBytes& put(T value) {
    for (std::size_t i = 0; i < sizeof(T); ++i) {  // little-endian, whatever the machine
      std::uint64_t bits = 0;
      std::memcpy(&bits, &value, sizeof(T));
      bytes_.push_back(static_cast<std::byte>(bits >> (8 * i) & 0xFF));
    }
    return *this;
  }
  GgufBytes& u8(std::uint8_t v) { return put(v); }
  GgufBytes& u32(std::uint32_t v) { return put(v); }
  GgufBytes& i32(std::int32_t v) { return put(v); }
  GgufBytes& u64(std::uint64_t v) { return put(v); }
  GgufBytes& raw(std::string_view text) {
    for (const char c : text) bytes_.push_back(static_cast<std::byte>(c));
    return *this;
  }
  GgufBytes& str(std::string_view text) { return u64(text.size()).raw(text); }
  GgufBytes& key(std::string_view name, std::uint32_t type) { return str(name).u32(type); }
  GgufBytes& tensor(std::string_view name, std::initializer_list<std::int64_t> dims, std::uint32_t type,
                    std::uint64_t offset) {
    str(name).u32(static_cast<std::uint32_t>(dims.size()));
    for (const std::int64_t dim : dims) put(dim);
    return u32(type).u64(offset);
  }
  GgufBytes& zeros(std::size_t count) {
    bytes_.resize(bytes_.size() + count);
    return *this;
  }
  GgufBytes& pad(std::size_t alignment = 32) { return zeros((alignment - bytes_.size() % alignment) % alignment); }

  const std::vector<std::byte>& bytes() const { return bytes_; }
  std::size_t size() const { return bytes_.size(); }

 private:
  std::vector<std::byte> bytes_;
};

// The file must be refused with this code, in one sentence that holds every one of the texts.
inline void expect_refused(const GgufBytes& file, ErrorCode code, std::initializer_list<std::string_view> texts) {
  const auto result = GgufFile::parse(file.bytes(), "model.gguf");
  ASSERT_FALSE(result.ok()) << "accepted";
  const std::string& message = result.error().message;
  EXPECT_EQ(result.error().code, code) << message;
  EXPECT_EQ(message.find("model.gguf: "), 0u) << message;
  for (const std::string_view text : texts) {
    EXPECT_NE(message.find(text), std::string::npos) << "expected \"" << text << "\" in: " << message;
  }
}

}  // namespace rowmax::engine
