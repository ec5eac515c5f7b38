#include "apps/tool_calls/json_object_reader.h"

#include "engine/io/json.h"

namespace rowmax::tool_calls {
namespace {

constexpr int kMaxDepth = 64;

}  // namespace

JsonExtent::Step JsonExtent::push(char byte) {
  if (in_string_) {
    if (escaped_) {
      escaped_ = false;
    } else if (byte == '\\') {
      escaped_ = true;
    } else if (byte == '"') {
      in_string_ = false;
    }
    return Step::kGoing;
  }
  if (depth_ == 0 && (byte != '{' || ended_)) return Step::kBad;
  if (byte == '"') {
    in_string_ = true;
  } else if (byte == '{' || byte == '[') {
    if (++depth_ > kMaxDepth) return Step::kBad;
  } else if ((byte == '}' || byte == ']') && --depth_ == 0) {
    ended_ = true;
    return Step::kEnd;
  }
  return Step::kGoing;
}

bool is_json_object(std::string_view text) {
  const auto parsed = engine::parse_json(text, "arguments", {.depth = kMaxDepth});
  return parsed.ok() && parsed->root().is_object();
}

JsonExtent::Step JsonObjectReader::push(char byte) {
  const bool was_in_string = extent_.in_string();
  const int depth = extent_.depth();
  const JsonExtent::Step step = extent_.push(byte);
  if (step == JsonExtent::Step::kBad) return step;
  text_ += byte;
  const std::size_t at = text_.size() - 1;
  const bool at_members = depth == 1 || (depth == 2 && extent_.depth() == 1);
  if (at_members && !fits(byte, was_in_string)) return JsonExtent::Step::kBad;
  if (at_members) member_byte(byte, at, was_in_string);
  return step;
}

// Around members: what is no JSON is seen at once, and not at the end alone.
bool JsonObjectReader::fits(char byte, bool was_in_string) const {
  if (was_in_string || is_space(byte) || text_.size() == 1) return true;
  if (place_ == Place::kKey) return byte == '"' || byte == '}';
  return place_ != Place::kColon || byte == ':';
}

bool JsonObjectReader::names_arguments() const {
  return key_ == "arguments" || (key_ == "parameters" && !has_arguments_);
}

// A byte that lies directly in the object, or the bracket that ends a value of it.
void JsonObjectReader::member_byte(char byte, std::size_t at, bool was_in_string) {
  if (place_ == Place::kValue && value_begin_ == 0 && !is_space(byte)) {
    value_begin_ = at;
    if (names_arguments() && byte == '{') arguments_begin_ = at;
  }
  if (was_in_string) {
    if (extent_.in_string() || place_ != Place::kKey) return;
    const auto key = engine::parse_json(std::string_view(text_).substr(string_begin_), "key");
    key_ = key.ok() ? std::string(key->root().as_string()) : std::string();
    place_ = Place::kColon;
  } else if (byte == '"' && place_ == Place::kKey) {
    string_begin_ = at;
  } else if (byte == ':' && place_ == Place::kColon) {
    place_ = Place::kValue;
    value_begin_ = 0;
  } else if ((byte == ',' || byte == '}') && place_ == Place::kValue && extent_.depth() <= 1) {
    const bool closes_value = byte == '}' && extent_.depth() == 1;  // of a value that is an object
    std::size_t end = closes_value ? at + 1 : at;
    while (end > value_begin_ && is_space(text_[end - 1])) --end;
    if (key_ == "name") name_begin_ = value_begin_, name_end_ = end;
    if (names_arguments()) arguments_begin_ = value_begin_, arguments_end_ = end, has_arguments_ = key_ == "arguments";
    if (key_ == "function") function_begin_ = value_begin_, function_end_ = end;
    if (byte == ',') place_ = Place::kKey;
  }
}

std::string JsonObjectReader::name() const {
  const auto value = engine::parse_json(std::string_view(text_).substr(name_begin_, name_end_ - name_begin_), "name");
  return value.ok() ? std::string(value->root().as_string()) : std::string();
}

std::string_view JsonObjectReader::arguments_so_far() const {
  const std::size_t end = arguments_end_ > 0 ? arguments_end_ : text_.size();
  return std::string_view(text_).substr(arguments_begin_, end - arguments_begin_);
}

bool JsonObjectReader::take(ToolCall& call) const {
  const auto parsed = engine::parse_json(text_, "call", {.depth = kMaxDepth});
  if (!parsed.ok()) return false;
  const engine::Json root = parsed->root();
  if (const engine::Json function = root.find("function"); function.is_object() && root.find("name").is_null()) {
    JsonObjectReader inner;
    for (const char byte : std::string_view(text_).substr(function_begin_, function_end_ - function_begin_)) {
      inner.push(byte);
    }
    if (!inner.take(call)) return false;
  } else {
    call.name = root.find("name").as_string();
    const engine::Json named = root.find("arguments");
    const engine::Json arguments = named ? named : root.find("parameters");
    if (arguments.is_object()) {
      call.arguments = std::string_view(text_).substr(arguments_begin_, arguments_end_ - arguments_begin_);
    } else if (arguments.is_string()) {  // JSON in JSON
      call.arguments = arguments.as_string();
      if (!is_json_object(call.arguments)) return false;
    } else if (arguments.is_null()) {
      call.arguments = "{}";
    } else {
      return false;
    }
  }
  if (root.find("id").is_string()) call.id = root.find("id").as_string();
  return !call.name.empty() && call.name.size() <= kMaxNameBytes;
}

}  // namespace rowmax::tool_calls
