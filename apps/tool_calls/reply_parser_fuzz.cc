// libFuzzer: any bytes as a reply of any form, in any pieces, give what they give as a whole: no byte of text is made up,
// arguments are JSON objects, and calls that were begun are ended.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

#include "apps/tool_calls/json_object_reader.h"
#include "apps/tool_calls/reply_parser.h"

namespace {

using namespace rowmax::tool_calls;
using Kind = ReplyPiece::Kind;

struct Told {
  std::string text;
  std::string all;  // everything, with what is what
  std::size_t n_calls = 0;

  void take(const std::vector<ReplyPiece>& pieces) {
    for (const ReplyPiece& piece : pieces) {
      if (piece.kind == Kind::kText || piece.kind == Kind::kReasoning) text += piece.text;
      if (piece.kind == Kind::kCallBegin) ++n_calls, arguments_.clear();
      if (piece.kind == Kind::kArguments) arguments_ += piece.text;
      if (piece.kind == Kind::kCallEnd && !is_json_object(arguments_)) std::abort();
      if (piece.kind != last_) all += static_cast<char>('A' + static_cast<int>(piece.kind));
      last_ = piece.kind;
      all += piece.text + piece.id;
    }
  }

 private:
  Kind last_ = Kind::kCallEnd;
  std::string arguments_;
};

}  // namespace

// The first byte chooses the form, the second the size of the pieces.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const auto formats = tool_formats();
  const std::string_view text(reinterpret_cast<const char*>(data) + 2, size - 2);
  ReplyOptions options{.format = &formats[data[0] % formats.size()]};
  if ((data[1] & 1) != 0) options.reasoning = {"<think>", "</think>"};
  if (options.format->layout == CallLayout::kChannels) options.reasoning = kChannelMarks;
  options.reasoning_open = (data[1] & 2) != 0;
  options.functions = {{"f", "", false, {{"a", kString}, {"b", kNumber | kNull}}}};
  const auto shared = std::make_shared<const ReplyOptions>(options);
  const std::size_t step = 1 + (data[1] >> 2);
  Told whole, parts;
  ReplyParser one(shared), other(shared);
  whole.take(one.push(text));
  whole.take(one.finish());
  for (std::size_t i = 0; i < text.size(); i += step) parts.take(other.push(text.substr(i, step)));
  parts.take(other.finish());
  if (whole.all != parts.all || one.not_understood() != other.not_understood()) std::abort();
  // Without a call the text has every byte but those of the thoughts' marks and the white space at them.
  std::size_t at = 0;
  for (const char byte : whole.text) {
    at = text.find(byte, at);
    if (at++ == std::string_view::npos) std::abort();
  }
  if (whole.n_calls == 0 && !options.reasoning && whole.text != text) std::abort();
  return 0;
}
