#include "engine/io/json.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/guarded.h"
#include "engine/io/mapped_file.h"
#include "engine/io/text.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

constexpr std::size_t kMessageBytes = 60;

// What a text holds, seen without parsing it: never less than what parsing makes of it.
struct Census {
  std::size_t values = 1, string_bytes = 0;
};

// kLimit where the text exceeds the limits. Malformed text is counted somehow; the parser refuses it.
class Counter {
 public:
  Counter(std::string_view text, const std::string& name, const JsonLimits& limits)
      : text_(text), name_(name), limits_(limits) {}

  Result<Census> run() {
    Census census;
    int depth = 0;
    for (std::size_t at = 0; at < text_.size(); ++at) {
      switch (text_[at]) {
        case '"': {
          const std::size_t size = string_size(at + 1);
          if (size > limits_.string_bytes) return too_much("bytes in one string", limits_.string_bytes, at);
          census.string_bytes += size;
          at += size + 1;
          break;
        }
        case '{':
        case '[':
          if (++depth > limits_.depth) {
            return Error{ErrorCode::kCorrupt,
                         concat(name_, ": JSON values nested deeper than ", limits_.depth, " at byte ", at + 1)};
          }
          ++census.values;
          break;
        case '}':
        case ']': --depth; break;
        // Behind each comma a value, behind each colon one whose key is counted with what stands before it.
        case ',':
        case ':': ++census.values; break;
        default: break;
      }
      if (census.values > limits_.values) return too_much("values", limits_.values, at);
    }
    return census;
  }

 private:
  std::size_t string_size(std::size_t begin) const {
    std::size_t at = begin;
    while (at < text_.size() && text_[at] != '"') at += text_[at] == '\\' ? 2 : 1;
    return std::min(at, text_.size()) - begin;
  }
  Error too_much(std::string_view what, std::size_t limit, std::size_t at) const {
    return Error{ErrorCode::kLimit, concat(name_, ": JSON with more than ", limit, " ", what, " at byte ", at + 1)};
  }

  std::string_view text_;
  const std::string& name_;
  const JsonLimits& limits_;
};

}  // namespace

// Builds the array from the parser's events. Returning false ends the parsing.
class JsonBuilder final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit JsonBuilder(const Census& census) : storage_(std::make_unique<Json::Storage>()) {
    storage_->nodes.reserve(census.values);
    storage_->strings.reserve(census.string_bytes);
  }

  JsonDocument take() {
    JsonDocument document;
    document.storage_ = std::move(storage_);
    return document;
  }
  const std::string& problem() const { return problem_; }

  bool null() override { return add(Json::Kind::kNull, 0); }
  bool boolean(bool value) override { return add(Json::Kind::kBool, value ? 1 : 0); }
  bool number_integer(number_integer_t value) override {
    return add(value < 0 ? Json::Kind::kNegative : Json::Kind::kUnsigned, static_cast<std::uint64_t>(value));
  }
  bool number_unsigned(number_unsigned_t value) override { return add(Json::Kind::kUnsigned, value); }
  bool number_float(number_float_t value, const string_t& /*text*/) override {
    return add(Json::Kind::kFloat, std::bit_cast<std::uint64_t>(value));
  }
  bool string(string_t& value) override { return add_string(value); }
  bool binary(binary_t& /*value*/) override { return false; }
  bool start_object(std::size_t /*n*/) override { return open(Json::Kind::kObject); }
  bool start_array(std::size_t /*n*/) override { return open(Json::Kind::kArray); }
  bool key(string_t& name) override {
    const bool added = add_string(name);
    --storage_->nodes[open_.back()].size;  // the value counts
    return added;
  }
  bool end_array() override { return close(); }
  bool end_object() override {
    const std::size_t index = open_.back();
    close();
    return keys_differ(Json(storage_.get(), index));
  }
  bool parse_error(std::size_t position, const std::string& /*token*/,
                   const nlohmann::json::exception& /*error*/) override {
    problem_ = concat("malformed JSON at byte ", position);
    return false;
  }

 private:
  bool add(Json::Kind kind, std::uint64_t payload, std::uint32_t size = 0) {
    if (!open_.empty()) ++storage_->nodes[open_.back()].size;
    storage_->nodes.push_back({kind, size, payload});
    return true;
  }
  bool add_string(const std::string& text) {
    add(Json::Kind::kString, storage_->strings.size(), static_cast<std::uint32_t>(text.size()));
    storage_->strings += text;
    return true;
  }
  bool open(Json::Kind kind) {
    add(kind, 0);
    open_.push_back(storage_->nodes.size() - 1);
    return true;
  }
  bool close() {
    storage_->nodes[open_.back()].payload = storage_->nodes.size();
    open_.pop_back();
    return true;
  }

  // By sorting: no order of keys makes this slow, as keys chosen for it do with a hash table.
  bool keys_differ(const Json& object) {
    std::vector<std::string_view> keys;
    keys.reserve(object.size());
    for (const auto& [name, value] : object.members()) keys.push_back(name);
    std::ranges::sort(keys);
    const auto twice = std::ranges::adjacent_find(keys);
    if (twice != keys.end()) problem_ = concat("key ", quote(*twice), " was given twice");
    return twice == keys.end();
  }

  std::unique_ptr<Json::Storage> storage_;
  std::vector<std::size_t> open_;
  std::string problem_;
};

bool Json::as_bool() const noexcept { return is_bool() && node().payload != 0; }

double Json::as_double() const noexcept {
  switch (kind()) {
    case Kind::kUnsigned: return static_cast<double>(node().payload);
    case Kind::kNegative: return static_cast<double>(static_cast<std::int64_t>(node().payload));
    case Kind::kFloat: return std::bit_cast<double>(node().payload);
    default: return 0;
  }
}

std::optional<std::uint64_t> Json::as_uint() const noexcept {
  return kind() == Kind::kUnsigned ? std::optional(node().payload) : std::nullopt;
}

std::optional<std::int64_t> Json::as_int() const noexcept {
  if (!is_integer()) return std::nullopt;
  if (kind() == Kind::kUnsigned && node().payload > static_cast<std::uint64_t>(INT64_MAX)) return std::nullopt;
  return static_cast<std::int64_t>(node().payload);
}

std::string_view Json::as_string() const noexcept {
  return is_string() ? std::string_view(storage_->strings).substr(node().payload, node().size) : std::string_view();
}

std::size_t Json::size() const noexcept { return is_array() || is_object() ? node().size : 0; }

std::size_t Json::end() const noexcept { return is_array() || is_object() ? node().payload : index_ + 1; }

Json Json::at(std::size_t i) const noexcept {
  for (const auto& [name, value] : members()) {
    if (i-- == 0) return value;
  }
  for (const Json& value : elements()) {
    if (i-- == 0) return value;
  }
  return {};
}

Json Json::find(std::string_view key) const noexcept {
  for (const auto& [name, value] : members()) {
    if (name == key) return value;
  }
  return {};
}

Json::Range<Json> Json::elements() const noexcept {
  return is_array() ? Range<Json>(storage_, index_ + 1, end()) : Range<Json>(nullptr, 0, 0);
}
Json::Range<Json::Member> Json::members() const noexcept {
  return is_object() ? Range<Member>(storage_, index_ + 1, end()) : Range<Member>(nullptr, 0, 0);
}

void Json::append_text(std::string& out, std::size_t limit) const {
  if (out.size() > limit) return;
  const auto append_number = [&](auto value) {
    char digits[40];
    out.append(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
  };
  switch (kind()) {
    case Kind::kNull: out += "null"; break;
    case Kind::kBool: out += as_bool() ? "true" : "false"; break;
    case Kind::kUnsigned: append_number(node().payload); break;
    case Kind::kNegative: append_number(static_cast<std::int64_t>(node().payload)); break;
    case Kind::kFloat: append_number(as_double()); break;
    case Kind::kString: out += concat("\"", as_string().substr(0, limit), "\""); break;
    case Kind::kArray: {
      const char* between = "[";
      for (const Json& value : elements()) {
        out += std::exchange(between, ",");
        value.append_text(out, limit);
        if (out.size() > limit) return;
      }
      out += size() == 0 ? "[]" : "]";
      break;
    }
    case Kind::kObject: {
      const char* between = "{";
      for (const auto& [key, value] : members()) {
        out += concat(std::exchange(between, ","), "\"", key.substr(0, limit), "\":");
        value.append_text(out, limit);
        if (out.size() > limit) return;
      }
      out += size() == 0 ? "{}" : "}";
      break;
    }
  }
}

std::string Json::text() const {
  std::string out;
  append_text(out, kMessageBytes);
  if (out.size() > kMessageBytes) {
    std::size_t end = kMessageBytes - 3;
    while ((static_cast<unsigned char>(out[end]) & 0xC0) == 0x80) --end;  // not inside a character
    out = out.substr(0, end) + "...";
  }
  // A file's text must not steer the terminal that shows a message.
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
  }
  return out;
}

JsonDocument::JsonDocument() = default;
JsonDocument::JsonDocument(JsonDocument&&) noexcept = default;
JsonDocument& JsonDocument::operator=(JsonDocument&&) noexcept = default;
JsonDocument::~JsonDocument() = default;

Result<JsonDocument> parse_json(std::string_view text, const std::string& name, const JsonLimits& limits) {
  return base::guarded([&]() -> Result<JsonDocument> {
    ROWMAX_TRY(census, Counter(text, name, limits).run());
    // The parser takes a NUL byte for the end of the text.
    if (const std::size_t nul = text.find('\0'); nul != std::string_view::npos) {
      return Error{ErrorCode::kCorrupt, concat(name, ": malformed JSON: a NUL byte at ", nul)};
    }
    JsonBuilder builder(census);
    if (nlohmann::json::sax_parse(text.begin(), text.end(), &builder)) return builder.take();
    return Error{ErrorCode::kCorrupt, concat(name, ": ", builder.problem())};
  });
}

Result<JsonDocument> read_json_file(const std::string& path, std::size_t max_bytes, const JsonLimits& limits) {
  ROWMAX_TRY(file, MappedFile::open(path));
  const auto bytes = file.bytes();
  if (bytes.size() > max_bytes) {
    return Error{ErrorCode::kLimit, concat(path, ": ", bytes.size(), " bytes of JSON, at most ", max_bytes)};
  }
  return parse_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path, limits);
}

}  // namespace rowmax::engine
