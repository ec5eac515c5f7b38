// One JSON object that is a call, byte by byte: {"name": ..., "arguments": {...}}.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "apps/tool_calls/call_reader.h"

namespace rowmax::tool_calls {

// Where an object of JSON ends, without a look at what is in it.
class JsonExtent {
 public:
  enum class Step { kGoing, kEnd, kBad };
  Step push(char byte);
  bool begun() const { return depth_ > 0 || ended_; }
  bool in_string() const { return in_string_; }
  int depth() const { return depth_; }

 private:
  int depth_ = 0;
  bool in_string_ = false, escaped_ = false, ended_ = false;
};

class JsonObjectReader {
 public:
  JsonExtent::Step push(char byte);
  bool begun() const { return extent_.begun(); }
  const std::string& text() const { return text_; }
  // While it is read: the name where it is known, and the arguments so far, as they stand there.
  bool named() const { return name_end_ > 0 && arguments_begin_ > 0; }
  std::string name() const;
  std::string_view arguments_so_far() const;
  // Of a whole object: false where it is no call.
  bool take(ToolCall& call) const;

 private:
  enum class Place { kKey, kColon, kValue, kComma };
  bool fits(char byte, bool was_in_string) const;
  bool names_arguments() const;
  void member_byte(char byte, std::size_t at, bool was_in_string);

  JsonExtent extent_;
  std::string text_;
  Place place_ = Place::kKey;
  std::size_t string_begin_ = 0, value_begin_ = 0;
  std::string key_;
  std::size_t name_begin_ = 0, name_end_ = 0;  // with its quotes
  std::size_t arguments_begin_ = 0, arguments_end_ = 0;
  bool has_arguments_ = false;  // by that name
  std::size_t function_begin_ = 0, function_end_ = 0;
};

// Whether a text is one JSON object within the usual limits.
bool is_json_object(std::string_view text);

}  // namespace rowmax::tool_calls
