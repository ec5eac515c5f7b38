// Replies whose forms are those of published templates and documents (testdata/replies.json), and what jinja2 rendered of
// calls (engine/template/testdata/templates.json), taken apart in whatever pieces.
#include "apps/tool_calls/reply_parser.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "engine/io/json.h"

namespace rowmax::tool_calls {
namespace {

using engine::Json;
using Kind = ReplyPiece::Kind;

engine::JsonDocument read(const std::string& path) {
  auto document = engine::read_json_file(std::string(ROWMAX_SOURCE_DIR) + "/" + path, std::size_t{8} << 20);
  EXPECT_TRUE(document.ok()) << path;
  return std::move(document).value();
}

// JSON with its members sorted, so that texts can be compared.
std::string sorted_text(Json value) {
  if (value.is_string()) return json_string(value.as_string());
  std::string text;
  if (value.is_array()) {
    for (const Json each : value.elements()) text += sorted_text(each) + ",";
    return "[" + text + "]";
  }
  if (!value.is_object()) return value.is_number() ? std::to_string(value.as_double()) : value.text();
  std::map<std::string, std::string> members;
  for (const auto& [key, member] : value.members()) members[std::string(key)] = sorted_text(member);
  for (const auto& [key, member] : members) text += json_string(key) + ":" + member + ",";
  return "{" + text + "}";
}
std::string sorted_text(const std::string& json) {
  const auto parsed = engine::parse_json(json, "test");
  return parsed.ok() ? sorted_text(parsed->root()) : "no JSON: " + json;
}

std::vector<ToolFunction> functions_of(Json tools) {
  std::vector<ToolFunction> functions;
  for (const Json tool : tools.elements()) {
    const Json function = tool.find("function") ? tool.find("function") : tool;
    functions.push_back(
        tool_function(std::string(function.find("name").as_string()), function.find("parameters"), "", false));
  }
  return functions;
}

// All that came, as one text.
std::string shown(const std::vector<ReplyPiece>& pieces) {
  std::string text, reasoning, calls;
  std::string arguments;
  bool open = false;
  for (const ReplyPiece& piece : pieces) {
    if (piece.kind == Kind::kText) text += piece.text;
    if (piece.kind == Kind::kReasoning) reasoning += piece.text;
    if (piece.kind == Kind::kCallBegin) {
      calls += (open ? "[not ended]" : "") + ("\ncall " + piece.text + " " + piece.id + " ");
      open = true;
      arguments.clear();
    }
    if (piece.kind == Kind::kArguments) arguments += piece.text;
    if (piece.kind == Kind::kCallEnd) {
      calls += sorted_text(arguments);
      open = false;
    }
  }
  return "reasoning: " + reasoning + "\ntext: " + text + calls + (open ? "[not ended]" : "");
}

struct Parsed {
  std::string shown;
  bool understood = true;
  bool operator==(const Parsed&) const = default;
};

Parsed parse(const std::shared_ptr<const ReplyOptions>& options, std::initializer_list<std::string_view> parts) {
  ReplyParser parser(options);
  std::vector<ReplyPiece> pieces;
  const auto take = [&](std::vector<ReplyPiece> more) { std::ranges::move(more, std::back_inserter(pieces)); };
  for (const std::string_view part : parts) take(parser.push(part));
  take(parser.finish());
  return {shown(pieces), parser.not_understood().empty()};
}
Parsed parse_bytes(const std::shared_ptr<const ReplyOptions>& options, std::string_view text) {
  ReplyParser parser(options);
  std::vector<ReplyPiece> pieces;
  const auto take = [&](std::vector<ReplyPiece> more) { std::ranges::move(more, std::back_inserter(pieces)); };
  for (std::size_t i = 0; i < text.size(); ++i) take(parser.push(text.substr(i, 1)));
  take(parser.finish());
  return {shown(pieces), parser.not_understood().empty()};
}

std::string wanted(Json reply) {
  std::string text = "reasoning: " + std::string(reply.find("reasoning").as_string()) +
                     "\ntext: " + std::string(reply.find("content").as_string());
  for (const Json call : reply.find("calls").elements()) {
    text += "\ncall " + std::string(call.find("name").as_string()) + " " + std::string(call.find("id").as_string()) +
            " " + sorted_text(call.find("arguments"));
  }
  return text;
}

TEST(ReplyParser, RepliesOfEveryFormInEveryTwoPiecesAndInBytes) {
  const auto document = read("apps/tool_calls/testdata/replies.json");
  std::vector<std::string_view> seen;
  for (const Json reply : document.root().find("replies").elements()) {
    const std::string name =
        std::string(reply.find("format").as_string()) + ": " + std::string(reply.find("name").as_string());
    ReplyOptions options;
    options.format = find_tool_format(reply.find("format").as_string());
    ASSERT_NE(options.format, nullptr) << name;
    seen.push_back(options.format->name);
    if (const Json marks = reply.find("marks")) options.reasoning = {marks.at(0).as_string(), marks.at(1).as_string()};
    options.reasoning_open = reply.find("open").as_bool();
    options.functions = functions_of(document.root().find("tools"));
    const auto shared = std::make_shared<const ReplyOptions>(options);
    const std::string_view text = reply.find("text").as_string();
    const Parsed whole = parse(shared, {text});
    EXPECT_EQ(whole.shown, wanted(reply)) << name;
    EXPECT_EQ(whole.understood, !reply.find("not_understood").as_bool()) << name;
    EXPECT_EQ(parse_bytes(shared, text), whole) << name;
    for (std::size_t i = 1; i < text.size(); ++i) {
      ASSERT_EQ(parse(shared, {text.substr(0, i), text.substr(i)}), whole) << name << " cut at " << i;
    }
    // Text that is held to the form is handed on as it comes, and is the same.
    if (!whole.understood) continue;
    options.constrained = true;
    EXPECT_EQ(parse_bytes(std::make_shared<const ReplyOptions>(options), text).shown, whole.shown) << name;
  }
  for (const ToolFormat& format : tool_formats()) {
    EXPECT_NE(std::ranges::find(seen, format.name), seen.end()) << "no reply of the form " << format.name;
  }
}

// A call's text does not come before it is certain to be no call, and no byte of a mark is text.
TEST(ReplyParser, HoldsBackWhatMayBeAMarkAndNoMore) {
  const auto options = std::make_shared<const ReplyOptions>(ReplyOptions{.format = find_tool_format("hermes")});
  ReplyParser parser(options);
  const auto text = [&](std::string_view bytes) {
    std::string out;
    for (const ReplyPiece& piece : parser.push(bytes)) out += piece.text;
    return out;
  };
  EXPECT_EQ(text("a <"), "a");
  EXPECT_EQ(text("tool"), "");
  EXPECT_EQ(text("s> b"), " <tools> b");
  EXPECT_EQ(text(" \n<tool_call"), "");
  EXPECT_EQ(text(">{"), "");
  EXPECT_EQ(text("x"), " \n<tool_call>{x");
}

TEST(ReplyParser, AConstrainedCallIsHandedOnAsItIsWritten) {
  const auto options =
      std::make_shared<const ReplyOptions>(ReplyOptions{.format = find_tool_format("hermes"), .constrained = true});
  ReplyParser parser(options);
  EXPECT_TRUE(parser.push("<tool_call>\n{\"name\": \"f\", \"arguments\": ").empty());
  const auto begin = parser.push("{\"a\": \"x");
  ASSERT_EQ(begin.size(), 2u);
  EXPECT_EQ(begin[0].kind, Kind::kCallBegin);
  EXPECT_EQ(begin[0].text, "f");
  EXPECT_EQ(begin[1].text, "{\"a\": \"x");
  const auto more = parser.push("y\"}}\n</tool_");
  ASSERT_EQ(more.size(), 2u);
  EXPECT_EQ(more[0].text, "y\"}");
  EXPECT_EQ(more[1].kind, Kind::kCallEnd);
  EXPECT_TRUE(parser.finish().empty());
}

TEST(ReplyParser, MoreCallsThanWereAskedForStayText) {
  const auto options =
      std::make_shared<const ReplyOptions>(ReplyOptions{.format = find_tool_format("hermes"), .max_calls = 1});
  const std::string call = "<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>";
  const Parsed parsed = parse(options, {call + "\n" + call});
  EXPECT_EQ(parsed.shown, "reasoning: \ntext: \n" + call + "\ncall f  {}");
  EXPECT_FALSE(parsed.understood);
}

TEST(ReplyParser, SaysWhereTheFirstMarkBegan) {
  const auto options = std::make_shared<const ReplyOptions>(
      ReplyOptions{.format = find_tool_format("hermes"), .reasoning = {"<think>", "</think>"}});
  ReplyParser parser(options);
  parser.push("<think>a<tool_call></think> <<tool_call");
  EXPECT_EQ(parser.reasoning_end(), 19u);
  EXPECT_EQ(parser.first_mark(), std::string::npos);
  parser.push(">{");
  EXPECT_EQ(parser.first_mark(), 29u);
}

// The turn of the assistant with the calls, as jinja2 rendered it from them.
std::string_view rendered_calls(std::string_view output, const ToolFormat& format) {
  const std::string_view mark = format.marks.front();
  const std::size_t turn =
      output.find("Rome?") != std::string_view::npos ? output.find("Rome?") : output.find("Search it");
  const std::size_t begin = output.find(mark, turn);
  if (begin == std::string_view::npos) return {};
  std::size_t end = output.size();
  for (const char* next : {"<|im_end|>", "<seed:eos>", "<|observation|>", "</s>", "<｜end▁of▁sentence｜>"}) {
    end = std::min(end, output.find(next, begin));
  }
  return output.substr(begin, end - begin);
}

// jinja2 is the judge: the text that it wrote of calls gives these calls again.
TEST(ReplyParser, CallsThatTemplatesWroteComeBack) {
  const auto document = read("engine/template/testdata/templates.json");
  const Json conversations = document.root().find("conversations");
  std::map<std::string_view, int> n_compared;
  for (const Json each : document.root().find("templates").elements()) {
    const ToolFormat* format = detect_tool_format(each.find("source").as_string());
    if (format == nullptr || format->layout == CallLayout::kChannels) continue;
    for (std::size_t i = 0; i < conversations.size(); ++i) {
      const std::string_view name = conversations.at(i).find("name").as_string();
      if (name != "tool calls" && name != "one tool call, null content") continue;
      const Json output = each.find("outputs").at(i).find("text");
      const std::string_view text = output ? rendered_calls(output.as_string(), *format) : "";
      if (text.empty()) continue;
      ReplyOptions options{.format = format};
      const Json globals = conversations.at(i).find("globals");
      options.functions = functions_of(globals.find("tools"));
      std::string want = "reasoning: \ntext: ";
      for (const Json message : globals.find("messages").elements()) {
        for (const Json call : message.find("tool_calls").elements()) {
          const bool has_id = text.find(call.find("id").as_string()) != std::string_view::npos;
          const Json function = call.find("function");
          std::string arguments = sorted_text(function.find("arguments"));
          // Without quotes null is a word where the schema has a text.
          for (const std::string word : {"None", "null"}) {
            const std::size_t at = arguments.find("\"unit\":null");
            const bool bare = format->layout == CallLayout::kTags && text.find(">" + word) != std::string_view::npos;
            const bool on_a_line = text.find("=unit>\n" + word) != std::string_view::npos;
            if (at != std::string::npos && (bare || on_a_line)) arguments.replace(at, 11, "\"unit\":\"" + word + "\"");
          }
          want += "\ncall " + std::string(function.find("name").as_string()) + " " +
                  (has_id ? std::string(call.find("id").as_string()) : "") + " " + arguments;
        }
      }
      EXPECT_EQ(parse(std::make_shared<const ReplyOptions>(options), {text}).shown, want)
          << each.find("name").as_string();
      ++n_compared[each.find("name").as_string()];
    }
  }
  EXPECT_GE(n_compared.size(), 10u);
}

}  // namespace
}  // namespace rowmax::tool_calls
