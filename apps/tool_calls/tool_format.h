// How models write calls of tools. One row a form; a chat template shows which one its model was trained on by what it
// writes itself, never by a name of a model.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rowmax::tool_calls {

// How a call is read (call_reader.h).
enum class CallLayout : std::uint8_t {
  kTags,      // <tool_call>, and inside JSON, <function=...> tags or <arg_key> tags: told apart by what is there
  kJson,      // a JSON object, or an array of them
  kPattern,   // as `call` says
  kBraces,    // call:NAME{key:value}, strings between marks
  kPython,    // [name(key=value)]
  kChannels,  // messages with a channel and a recipient; read by the parser itself
};

// `call` and `parameter` are patterns: %n the function's name, %i an id, %j its arguments as JSON, %p its parameters, each as
// `parameter` has them with %k (its name) and %v (its value: a string as it is, anything else as JSON). The text is what
// the template writes; a constrained call is exactly that.
struct ToolFormat {
  std::string_view name;
  CallLayout layout = CallLayout::kJson;
  std::string_view begin = {};      // in front of all calls; with nothing in front the first call's own beginning
  std::string_view call = {};       // empty: such calls can be read, and cannot be constrained
  std::string_view parameter = {};  // of tags
  std::string_view between = {};    // two calls
  std::string_view end = {};        // behind the last one
  bool many = true;                 // several calls in one turn
  bool bare = false;                // a reply that begins with { may be a call
  // What begins calls in a text: more than `begin` where models leave something out. End marks may be missing.
  std::vector<std::string_view> marks = {};
  std::string_view quote = {};  // kBraces: around strings
  // Every mark that a tokenizer may have as a control token, so that the text has it.
  std::vector<std::string_view> control = {};
};

std::span<const ToolFormat> tool_formats();
const ToolFormat* find_tool_format(std::string_view name);  // nullptr: none
// "hermes, qwen3-coder, ...".
std::string tool_format_names();
// What a template writes, by its source; nullptr where it writes no calls, or none that is known.
const ToolFormat* detect_tool_format(std::string_view template_source);

// What is around a model's thoughts. Empty: it has none, or does not mark them.
struct ReasoningMarks {
  std::string_view open, close;
  explicit operator bool() const { return !open.empty(); }
};
ReasoningMarks detect_reasoning_marks(std::string_view template_source);
// Those of gpt-oss, whose whole reply is messages: <|channel|>CHANNEL<|message|>TEXT<|end|><|start|>assistant...
inline constexpr ReasoningMarks kChannelMarks = {"<|channel|>analysis<|message|>", "<|end|>"};
// Whether the prompt ends inside of thoughts that it opened itself.
bool opens_reasoning(const ReasoningMarks& marks, std::string_view prompt);

}  // namespace rowmax::tool_calls
