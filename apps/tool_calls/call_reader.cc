#include "apps/tool_calls/call_reader.h"

namespace rowmax::tool_calls {

std::unique_ptr<CallReader> make_call_reader(const ToolFormat& format, std::string_view mark,
                                             const std::vector<ToolFunction>& functions) {
  switch (format.layout) {
    case CallLayout::kTags: return make_tag_reader(format, mark, functions);
    case CallLayout::kPattern: return make_pattern_reader(format);
    case CallLayout::kBraces: return make_brace_reader(format);
    case CallLayout::kPython: return make_python_reader(format);
    case CallLayout::kChannels:  // has no marks
    case CallLayout::kJson: break;
  }
  // "]</TOOLCALL>": the list's bracket is JSON.
  const std::string_view end = format.end.starts_with(']') ? format.end.substr(1) : format.end;
  return make_json_reader(format, end);
}

}  // namespace rowmax::tool_calls
