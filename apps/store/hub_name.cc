#include "apps/store/hub_name.h"

#include <algorithm>
#include <cctype>

#include "base/guarded.h"
#include "rowmax/try.h"

namespace rowmax::store {
namespace {

constexpr std::string_view kPrefix = "hf:";
constexpr std::size_t kMaxPart = 96;  // of an owner's and a repository's name, as Hugging Face has it
constexpr std::size_t kMaxPath = 1000;

bool is_name_character(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '_' || c == '-';
}

// "--" separates owner and repository in the cache's folder names.
bool is_repository_part(std::string_view text) {
  return !text.empty() && text.size() <= kMaxPart && text.front() != '.' && text.front() != '-' &&
         text.find("--") == std::string_view::npos && std::all_of(text.begin(), text.end(), is_name_character);
}

// Takes what comes before the next slash, and the slash.
std::string_view take_part(std::string_view& text) {
  const std::size_t end = std::min(text.find('/'), text.size());
  const std::string_view part = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return part;
}

bool all_digits(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

bool is_hub_name(std::string_view text) noexcept { return text.starts_with(kPrefix); }

bool is_commit(std::string_view revision) noexcept {
  return revision.size() == 40 && revision.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

bool is_safe_path(std::string_view path) noexcept {
  if (path.empty() || path.size() > kMaxPath || path.back() == '/') return false;
  const auto odd = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F || c == '\\'; };
  if (std::any_of(path.begin(), path.end(), odd)) return false;
  while (!path.empty()) {
    const std::string_view part = take_part(path);
    if (part.empty() || part == "." || part == "..") return false;
  }
  return true;
}

bool is_gguf(std::string_view path) noexcept {
  constexpr std::string_view kEnd = ".gguf";
  if (path.size() <= kEnd.size()) return false;
  return std::equal(kEnd.begin(), kEnd.end(), path.end() - kEnd.size(),
                    [](char a, char b) { return a == std::tolower(static_cast<unsigned char>(b)); });
}

bool is_shard(std::string_view path) noexcept {
  constexpr std::string_view kForm = "-00000-of-00000.gguf";
  if (!is_gguf(path) || path.size() <= kForm.size()) return false;
  const std::string_view end = path.substr(path.size() - kForm.size());
  return end[0] == '-' && all_digits(end.substr(1, 5)) && end.substr(6, 4) == "-of-" && all_digits(end.substr(10, 5));
}

int shard_count(std::string_view path) noexcept {
  if (!is_shard(path)) return 1;
  int count = 0;
  for (const char digit : path.substr(path.size() - std::string_view("00000.gguf").size(), 5)) {
    count = 10 * count + (digit - '0');
  }
  return count;
}

std::string shard_name(std::string_view path, int number) {
  std::string name(path);
  if (!is_shard(path)) return name;
  const std::string digits = std::to_string(100000 + number).substr(1);
  return name.replace(name.size() - std::string_view("00000-of-00000.gguf").size(), 5, digits);
}

Result<HubName> parse_hub_name(std::string_view text) {
  return base::guarded([&]() -> Result<HubName> {
    const Error error{ErrorCode::kInvalidArgument,
                      "expected hf:OWNER/REPO, hf:OWNER/REPO/FILE or hf:OWNER/REPO@REVISION/FILE, found \"" +
                          std::string(text) + "\""};
    if (!is_hub_name(text) || text.ends_with('/')) return error;
    text.remove_prefix(kPrefix.size());
    HubName name;
    const std::string_view owner = take_part(text);
    std::string_view repository = take_part(text);
    if (const std::size_t at = repository.find('@'); at != std::string_view::npos) {
      name.revision = repository.substr(at + 1);
      repository = repository.substr(0, at);
      if (name.revision == "refs") {  // refs/pr/5 and the like: the only ones with slashes
        for (int parts = 0; parts < 2; ++parts) name.revision += "/" + std::string(take_part(text));
      }
      if (!is_safe_path(name.revision)) return error;
    }
    name.file = text;
    if (!is_repository_part(owner) || !is_repository_part(repository)) return error;
    if (!name.file.empty() && !is_safe_path(name.file)) return error;
    name.repository = std::string(owner) + "/" + std::string(repository);
    return name;
  });
}

std::string to_string(const HubName& name) {
  return std::string(kPrefix) + name.repository + (name.revision == "main" ? "" : "@" + name.revision) +
         (name.file.empty() ? "" : "/" + name.file);
}

}  // namespace rowmax::store
