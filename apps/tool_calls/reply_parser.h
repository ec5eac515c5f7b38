// A model's reply taken apart: its thoughts, its text and its calls of tools, as they come.
//
// What the parser does is a function of the text alone, not of the pieces it comes in. No byte is lost: what begins like a
// call and is none stays text, and not_understood() says so. What belongs to the form alone is left out: marks, and the
// white space around thoughts and in front of calls.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "apps/tool_calls/call_reader.h"
#include "apps/tool_calls/tool_format.h"

namespace rowmax::tool_calls {

struct ReplyOptions {
  const ToolFormat* format = nullptr;  // null: calls are text
  ReasoningMarks reasoning = {};       // none: thoughts are text
  bool reasoning_open = false;         // the prompt ends inside of thoughts
  std::vector<ToolFunction> functions = {};
  // The text is held to the form (call_grammar.h): calls are handed on while they are written. Otherwise only whole ones
  // are, since one that turns out to be none is text.
  bool constrained = false;
  std::size_t max_calls = 1024;  // further ones stay text
};

struct ReplyPiece {
  enum class Kind {
    kText,
    kReasoning,
    kCallBegin,  // text: the function's name; id: the model's own, or empty
    kArguments,  // text: a piece of JSON; those of a call together are an object
    kCallEnd,
  };
  Kind kind = Kind::kText;
  std::string text;
  std::string id = {};
};

class ReplyParser {
 public:
  explicit ReplyParser(std::shared_ptr<const ReplyOptions> options);

  // What became certain with these bytes.
  std::vector<ReplyPiece> push(std::string_view bytes);
  // The text ends here.
  std::vector<ReplyPiece> finish();

  std::size_t n_calls() const { return n_calls_; }
  bool in_reasoning() const {
    return place_ == Place::kReasoning || (place_ == Place::kMessage && channel_ == Channel::kReasoning);
  }
  // Where in the bytes the first mark of calls began, and the mark behind the thoughts; npos: not yet. Not of a call that
  // needs no mark.
  std::size_t first_mark() const { return first_mark_; }
  std::size_t reasoning_end() const { return reasoning_end_; }
  // Why a text that begins like a call is none; empty: there is no such text.
  const std::string& not_understood() const { return not_understood_; }

 private:
  enum class Place { kBegin, kReasoning, kText, kCalls, kHeader, kMessage };
  enum class Channel { kText, kReasoning, kCall };

  void byte(char c);
  void begin_byte(char c);
  void reasoning_byte(char c);
  void text_byte(char c);
  void call_byte(char c);
  void header_byte(char c);
  void message_byte(char c);
  void begin_message(std::string_view header);
  void add_to_message(std::string_view text);
  void end_message();
  void begin_calls(std::string_view mark);
  void take_call();
  void hand_on_call(bool whole);
  void not_a_call(std::string_view why);
  void add(ReplyPiece::Kind kind, std::string_view text);

  std::shared_ptr<const ReplyOptions> options_;
  Place place_ = Place::kBegin;
  std::vector<ReplyPiece> pieces_;
  std::string space_;  // in front of what comes, until it is certain whether it belongs to it
  std::string held_;   // that may be the beginning of a mark
  std::string raw_;    // of calls, since the last whole one
  std::unique_ptr<CallReader> reader_;
  Channel channel_ = Channel::kText;  // of the message that is being read
  std::string recipient_;             // the function that it calls
  std::string header_;                // what was in front of it
  std::size_t sent_ = 0;              // bytes of the arguments of the call that is being handed on
  bool begun_ = false;                // it was
  bool hands_on_early_ = false;
  bool bare_ = false;   // the calls began without a mark
  bool wrote_ = false;  // text, thoughts or a call
  bool after_call_ = false;
  bool skip_space_ = false;  // behind thoughts
  std::size_t n_bytes_ = 0, first_mark_ = std::string::npos, reasoning_end_ = std::string::npos;
  std::size_t n_calls_ = 0, n_region_calls_ = 0;
  std::string not_understood_;
};

}  // namespace rowmax::tool_calls
