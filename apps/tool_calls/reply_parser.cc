#include "apps/tool_calls/reply_parser.h"

#include <algorithm>
#include <utility>

#include "apps/tool_calls/json_object_reader.h"

namespace rowmax::tool_calls {

using Kind = ReplyPiece::Kind;

ReplyParser::ReplyParser(std::shared_ptr<const ReplyOptions> options) : options_(std::move(options)) {
  if (options_->reasoning.open == kChannelMarks.open) {
    place_ = Place::kHeader;
  } else if (!options_->reasoning) {
    place_ = Place::kText;
  } else if (options_->reasoning_open) {
    place_ = Place::kReasoning;
  }
}

std::vector<ReplyPiece> ReplyParser::push(std::string_view bytes) {
  for (const char c : bytes) {
    ++n_bytes_;
    byte(c);
  }
  return std::exchange(pieces_, {});
}

std::vector<ReplyPiece> ReplyParser::finish() {
  if (place_ == Place::kMessage) {
    add_to_message(std::exchange(held_, {}));
    end_message();
  } else if (place_ == Place::kHeader) {
    if (!wrote_) add(Kind::kText, held_);  // else what follows was never begun
  } else if (place_ == Place::kCalls) {
    if (begun_) {  // cut: what there is of it was handed on
      add(Kind::kCallEnd, "");
      not_understood_ = "the text ends inside of a call";
    } else if (!reader_->resting()) {
      not_a_call("the text ends inside of a call");
    }
  } else if (place_ == Place::kReasoning) {
    if (!held_.empty()) add(Kind::kReasoning, space_ + held_);
  } else {
    const bool form = after_call_ && held_.empty();
    if (!form) add(Kind::kText, space_ + held_);
  }
  return std::exchange(pieces_, {});
}

void ReplyParser::byte(char c) {
  switch (place_) {
    case Place::kBegin: return begin_byte(c);
    case Place::kReasoning: return reasoning_byte(c);
    case Place::kText: return text_byte(c);
    case Place::kCalls: return call_byte(c);
    case Place::kHeader: return header_byte(c);
    case Place::kMessage: return message_byte(c);
  }
}

// What is in front of a message: <|start|>assistant, <|channel|> and its name, to=functions.NAME, in any order.
void ReplyParser::header_byte(char c) {
  constexpr std::size_t kMaxHeader = 512;
  constexpr std::string_view kEnd = "<|message|>";
  held_ += c;
  bool may_be = wrote_;
  for (const std::string_view begin : {"<|channel|>", "<|start|>", " to="}) {
    may_be = may_be || begin.starts_with(std::string_view(held_).substr(0, begin.size()));
  }
  if (held_.ends_with(kEnd)) {
    header_ = std::exchange(held_, {});
    begin_message(std::string_view(header_).substr(0, header_.size() - kEnd.size()));
  } else if (!may_be || held_.size() > kMaxHeader) {  // not what such models write
    place_ = Place::kText;
    add(Kind::kText, std::exchange(held_, {}));
  }
}

void ReplyParser::begin_message(std::string_view header) {
  constexpr std::string_view kTo = "to=functions.";
  place_ = Place::kMessage;
  channel_ = header.find("<|channel|>analysis") != std::string_view::npos ? Channel::kReasoning : Channel::kText;
  const std::size_t to = header.find(kTo);
  if (to == std::string_view::npos || options_->format == nullptr) return;
  recipient_ = header.substr(to + kTo.size());
  recipient_.resize(std::min(recipient_.find_first_of(" <\n"), recipient_.size()));
  if (!recipient_.empty() && recipient_.size() <= kMaxNameBytes) channel_ = Channel::kCall;
}

void ReplyParser::message_byte(char c) {
  constexpr std::string_view kMarks[] = {"<|end|>", "<|start|>", "<|call|>", "<|return|>"};
  held_ += c;
  if (std::ranges::find(kMarks, std::string_view(held_)) != std::end(kMarks)) {
    end_message();
    if (held_ != "<|start|>") held_.clear();
    place_ = Place::kHeader;
    wrote_ = true;
    return;
  }
  if (std::ranges::any_of(kMarks, [&](std::string_view mark) { return mark.starts_with(held_); })) return;
  add_to_message(std::string_view(held_).substr(0, 1));
  for (const char each : std::exchange(held_, {}).substr(1)) byte(each);
}

void ReplyParser::add_to_message(std::string_view text) {
  if (channel_ == Channel::kCall) {
    raw_ += text;
  } else {
    add(channel_ == Channel::kText ? Kind::kText : Kind::kReasoning, text);
  }
}

void ReplyParser::end_message() {
  if (channel_ != Channel::kCall) return;
  const std::string arguments = std::exchange(raw_, {});
  const bool too_many = n_calls_ >= options_->max_calls;
  if (too_many || !is_json_object(arguments)) {
    if (not_understood_.empty()) {
      not_understood_ = too_many ? "more calls than were asked for" : "a call's arguments are no JSON object";
    }
    return add(Kind::kText, header_ + arguments);
  }
  ++n_calls_;
  pieces_.push_back({Kind::kCallBegin, recipient_});
  add(Kind::kArguments, arguments);
  add(Kind::kCallEnd, "");
}

// Thoughts are at the beginning or nowhere.
void ReplyParser::begin_byte(char c) {
  if (held_.empty() && is_space(c)) {
    space_ += c;
    return;
  }
  held_ += c;
  if (held_ == options_->reasoning.open) {
    held_.clear();
    space_.clear();
    place_ = Place::kReasoning;
  } else if (!options_->reasoning.open.starts_with(held_)) {
    place_ = Place::kText;
    for (const char each : std::exchange(held_, {})) byte(each);
  }
}

void ReplyParser::reasoning_byte(char c) {
  if (held_.empty() && is_space(c)) {
    if (wrote_) space_ += c;
    return;
  }
  held_ += c;
  const ReasoningMarks& marks = options_->reasoning;
  if (held_ == marks.close) {
    reasoning_end_ = n_bytes_ - held_.size();
    held_.clear();
    space_.clear();
    place_ = Place::kText;
    wrote_ = false;
    skip_space_ = true;
    return;
  }
  // A model may open what its prompt has opened already.
  const bool opens_again = !wrote_ && marks.open.starts_with(held_);
  if (opens_again && held_ == marks.open) held_.clear();
  if (opens_again || marks.close.starts_with(held_)) return;
  add(Kind::kReasoning, std::exchange(space_, {}) + held_[0]);
  for (const char each : std::exchange(held_, {}).substr(1)) byte(each);
}

void ReplyParser::text_byte(char c) {
  if (held_.empty() && is_space(c)) {
    if (!skip_space_) space_ += c;
    return;
  }
  const ToolFormat* format = options_->format;
  if (format != nullptr) {
    if (format->bare && !wrote_ && held_.empty() && c == '{') {
      begin_calls("");
      return call_byte(c);
    }
    held_ += c;
    const auto mark = std::ranges::find(format->marks, std::string_view(held_));
    if (mark != format->marks.end()) return begin_calls(*mark);
    if (std::ranges::any_of(format->marks, [&](std::string_view each) { return each.starts_with(held_); })) return;
  } else {
    held_ += c;
  }
  add(Kind::kText, std::exchange(space_, {}) + held_[0]);
  for (const char each : std::exchange(held_, {}).substr(1)) byte(each);
}

void ReplyParser::begin_calls(std::string_view mark) {
  if (first_mark_ == std::string::npos && !mark.empty()) first_mark_ = n_bytes_ - mark.size();
  raw_ = std::exchange(space_, {}) + std::string(mark);
  held_.clear();
  reader_ = make_call_reader(*options_->format, mark, options_->functions);
  place_ = Place::kCalls;
  sent_ = n_region_calls_ = 0;
  bare_ = mark.empty();
  const std::string_view form = options_->format->call;
  const bool id_is_behind = form.find("%i") != std::string_view::npos && form.find("%i") > form.find("%j");
  hands_on_early_ = options_->constrained && !id_is_behind;
  begun_ = false;
}

void ReplyParser::call_byte(char c) {
  const CallReader::Step step = reader_->push(c);
  if (step != CallReader::Step::kOver) raw_ += c;
  if (reader_->complete()) {
    take_call();
    if (place_ != Place::kCalls) return;
  } else if (hands_on_early_ && reader_->named()) {
    hand_on_call(false);
  }
  if (step == CallReader::Step::kGoing) return;
  if (begun_) {  // cannot be in a text that is held to the form
    add(Kind::kCallEnd, "");
    begun_ = false;
  }
  const bool done = step == CallReader::Step::kDone;
  if (n_region_calls_ == 0 || (!done && !reader_->resting())) {
    not_a_call("a call's mark is followed by what is no call");
  }
  reader_.reset();
  place_ = Place::kText;
  const std::string rest = std::exchange(raw_, {});  // the beginning of an end that did not come
  if (done) return;
  for (const char each : rest) byte(each);
  byte(c);
}

// A whole call; without one that is what its form says, the text stays text.
void ReplyParser::take_call() {
  const ToolCall& call = reader_->call();
  const bool meant = !bare_ || find_function(options_->functions, call.name) != nullptr;
  const bool too_many = n_calls_ >= options_->max_calls;
  if (!begun_ && (!meant || too_many || !is_json_object(call.arguments))) {
    not_a_call(too_many ? "more calls than were asked for" : "a call's arguments are no JSON object");
    reader_.reset();
    return;
  }
  hand_on_call(true);
  ++n_calls_;
  ++n_region_calls_;
  raw_.clear();
  reader_->next();
}

void ReplyParser::hand_on_call(bool whole) {
  const ToolCall& call = reader_->call();
  if (!begun_) {
    pieces_.push_back({Kind::kCallBegin, call.name, call.id});
    begun_ = true;
    sent_ = 0;
  }
  const std::string_view arguments = call.arguments;
  if (arguments.size() > sent_) add(Kind::kArguments, arguments.substr(sent_));
  sent_ = arguments.size();
  wrote_ = after_call_ = true;
  skip_space_ = false;
  if (!whole) return;
  add(Kind::kCallEnd, "");
  begun_ = false;
}

void ReplyParser::not_a_call(std::string_view why) {
  if (!bare_ && not_understood_.empty()) not_understood_ = why;  // JSON without a mark may be just that
  place_ = Place::kText;
  add(Kind::kText, std::exchange(raw_, {}));
}

void ReplyParser::add(Kind kind, std::string_view text) {
  if (kind != Kind::kCallEnd && text.empty()) return;
  if (kind == Kind::kText || kind == Kind::kReasoning) wrote_ = true;
  if (kind == Kind::kText) after_call_ = skip_space_ = false;
  if (kind != Kind::kCallEnd && !pieces_.empty() && pieces_.back().kind == kind) {
    pieces_.back().text += text;
  } else {
    pieces_.push_back({kind, std::string(text)});
  }
}

}  // namespace rowmax::tool_calls
