#include "engine/serving/page_file.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace rowmax::engine {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr std::string_view kMagic = "rowmaxPG";
constexpr std::uint32_t kFormat = 1;

std::uint64_t sum_of(std::span<const std::byte> file) noexcept {
  return base::xxh64(file.first(file.size() - PageFile::kSumBytes), kFormat);
}

}  // namespace

base::Sha256::Digest numbers_digest(const Session& session, const SessionOptions& options, std::string_view version) {
  const Model& model = session.model();
  base::Sha256 hash;
  hash.add_field(kMagic);
  hash.add_number(kFormat);
  hash.add_field(version);
  hash.add_field(model.description().architecture);
  for (const ModelFact& fact : model.description().facts) {
    hash.add_field(fact.name);
    hash.add_field(fact.value);
  }
  const ModelOptions& said = model.options();
  for (const auto* pairs : {&said.edits, &said.overrides, &options.edits}) {
    hash.add_number(pairs->size());
    for (const auto& [name, value] : *pairs) {
      hash.add_field(name);
      hash.add_field(value);
    }
  }
  hash.add_number(said.ignored_keys.size());
  for (const std::string& key : said.ignored_keys) hash.add_field(key);
  hash.add_number(static_cast<std::uint64_t>(options.activations.value_or(said.activations)));
  hash.add_number(static_cast<std::uint64_t>(options.kv_type));
  const PageLayout layout = session.page_layout();
  hash.add_number(static_cast<std::uint64_t>(kPrefixPageTokens));
  for (const PageLayout::Group& group : layout.groups) {
    for (const std::int64_t number : {group.window, group.n_layer, group.bytes}) {
      hash.add_number(static_cast<std::uint64_t>(number));
    }
  }
  hash.add_number(static_cast<std::uint64_t>(layout.state_bytes));
  for (const GgufTensor& tensor : model.file().tensors()) {
    hash.add_field(tensor.name);
    hash.add_field(gguf_tensor_format_name(tensor));
    for (const std::int64_t n : tensor.shape) hash.add_number(static_cast<std::uint64_t>(n));
    hash.add_number(tensor.data.size());
    const auto* bytes = reinterpret_cast<const std::byte*>(tensor.data.data());
    hash.add_number(base::xxh64({bytes, tensor.data.size()}));
  }
  return hash.digest();
}

PageKey first_key(const base::Sha256::Digest& numbers) noexcept {
  PageKey key;
  std::ranges::copy(std::span(numbers).first(key.size()), key.begin());
  return key;
}

PageKey next_key(const PageKey& before, std::span<const TokenId> tokens) noexcept {
  base::Sha256 hash;
  hash.add(std::as_bytes(std::span(before)));
  hash.add(std::as_bytes(tokens));
  return first_key(hash.digest());
}

void PageFile::write_head(std::span<std::byte> file, const base::Sha256::Digest& numbers, const PageName& name,
                          std::span<const TokenId> tokens) noexcept {
  std::byte* at = file.data();
  const auto put = [&at](const void* from, std::size_t n) {
    std::memcpy(at, from, n);
    at += n;
  };
  const std::uint64_t payload_bytes = file.size() - kHeadBytes - kSumBytes;
  put(kMagic.data(), kMagic.size());
  put(&kFormat, sizeof kFormat);
  put(&name.parts, sizeof name.parts);
  put(numbers.data(), numbers.size());
  put(name.key.data(), name.key.size());
  put(&payload_bytes, sizeof payload_bytes);
  put(tokens.data(), tokens.size_bytes());
}

void PageFile::write_sum(std::span<std::byte> file) noexcept {
  const std::uint64_t sum = sum_of(file);
  std::memcpy(file.data() + file.size() - kSumBytes, &sum, sizeof sum);
}

const char* PageFile::fault(std::span<const std::byte> file, const base::Sha256::Digest& numbers, const PageName& name,
                            std::span<const TokenId> tokens) noexcept {
  if (file.size() < kHeadBytes + kSumBytes) return "it is too short";
  std::uint64_t sum = 0;
  std::memcpy(&sum, file.data() + file.size() - kSumBytes, sizeof sum);
  if (sum != sum_of(file)) return "its sum is not that of its bytes";
  std::array<std::byte, kHeadBytes + kSumBytes> expected;
  write_head(expected, numbers, name, tokens);
  // The size of what follows stands in the head, too.
  const std::uint64_t payload_bytes = file.size() - kHeadBytes - kSumBytes;
  std::memcpy(expected.data() + kHeadBytes - tokens.size_bytes() - 8, &payload_bytes, sizeof payload_bytes);
  if (std::memcmp(file.data(), expected.data(), kHeadBytes) != 0) return "it is another page";
  return nullptr;
}

}  // namespace rowmax::engine
