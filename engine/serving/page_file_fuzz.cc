// libFuzzer: any bytes as a page's name and file: none is taken but the one that was written.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <vector>

#include "engine/serving/page_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace rowmax::engine;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto name = PageName::parse(text); name && name->text() != text) std::abort();
  const std::vector<TokenId> tokens(kPrefixPageTokens, 7);
  const PageName name;
  std::vector<std::byte> file(PageFile::bytes(40));
  PageFile::write_head(file, {}, name, tokens);
  PageFile::write_sum(file);
  if (PageFile::fault(file, {}, name, tokens) != nullptr) std::abort();
  // The bytes as they are, and behind a head that is right.
  std::vector<std::byte> other(size);
  if (size > 0) std::memcpy(other.data(), data, size);
  const bool is_same = other == file;
  if ((PageFile::fault(other, {}, name, tokens) == nullptr) != is_same) std::abort();
  return 0;
}
