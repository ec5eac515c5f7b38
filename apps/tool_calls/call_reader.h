// Reads the calls that a model wrote behind a mark, byte by byte: whatever pieces the text comes in, the same is found.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "apps/tool_calls/tool_format.h"
#include "apps/tool_calls/tool_function.h"

namespace rowmax::tool_calls {

struct ToolCall {
  std::string name;
  std::string id;         // where the model gave one
  std::string arguments;  // JSON, an object
};

class CallReader {
 public:
  enum class Step {
    kGoing,
    kDone,  // this byte was the last of the calls
    kOver,  // the calls ended before this byte, or this is none: the byte belongs to what follows
  };

  virtual ~CallReader() = default;
  virtual Step push(char byte) = 0;

  // Set by push() when `call` has just become whole; who takes it calls next().
  bool complete() const { return complete_; }
  const ToolCall& call() const { return call_; }
  // The name is certain, and what there is of the arguments stays so as long as the call is well-formed.
  bool named() const { return named_; }
  void next() { call_ = {}, complete_ = named_ = false, started(); }
  // Between calls or behind the last one, with nothing but their form since.
  virtual bool resting() const = 0;

 protected:
  virtual void started() {}
  ToolCall call_;
  bool complete_ = false, named_ = false;
};

inline bool is_space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }
inline constexpr std::size_t kMaxNameBytes = 256;

// What reads the calls of a format behind `mark`, one of its marks. functions must outlive it.
std::unique_ptr<CallReader> make_call_reader(const ToolFormat& format, std::string_view mark,
                                             const std::vector<ToolFunction>& functions);

std::unique_ptr<CallReader> make_json_reader(const ToolFormat& format, std::string_view end_mark);
std::unique_ptr<CallReader> make_tag_reader(const ToolFormat& format, std::string_view mark,
                                            const std::vector<ToolFunction>& functions);
std::unique_ptr<CallReader> make_pattern_reader(const ToolFormat& format);
std::unique_ptr<CallReader> make_brace_reader(const ToolFormat& format);
std::unique_ptr<CallReader> make_python_reader(const ToolFormat& format);

}  // namespace rowmax::tool_calls
