#include "apps/tool_calls/tool_format.h"

#include <algorithm>

namespace rowmax::tool_calls {
namespace {

constexpr std::string_view kNameAndArguments = R"({"name": "%n", "arguments": %j})";

const std::vector<ToolFormat>& table() {
  static const auto* formats = new std::vector<ToolFormat>{
      {.name = "hermes",
       .layout = CallLayout::kTags,
       .call = "<tool_call>\n{\"name\": \"%n\", \"arguments\": %j}\n</tool_call>",
       .between = "\n",
       .marks = {"<tool_call>"},
       .control = {"<tool_call>", "</tool_call>"}},
      {.name = "qwen3-coder",
       .layout = CallLayout::kTags,
       .call = "<tool_call>\n<function=%n>\n%p</function>\n</tool_call>",
       .parameter = "<parameter=%k>\n%v\n</parameter>\n",
       .between = "\n",
       .marks = {"<tool_call>", "<function="},
       .control = {"<tool_call>", "</tool_call>"}},
      {.name = "seed",
       .layout = CallLayout::kTags,
       .call = "<seed:tool_call>\n<function=%n>\n%p</function>\n</seed:tool_call>",
       .parameter = "<parameter=%k>%v</parameter>\n",
       .between = "\n",
       .marks = {"<seed:tool_call>"},
       .control = {"<seed:tool_call>", "</seed:tool_call>"}},
      {.name = "glm",
       .layout = CallLayout::kTags,
       .call = "<tool_call>%n\n%p</tool_call>",
       .parameter = "<arg_key>%k</arg_key>\n<arg_value>%v</arg_value>\n",
       .between = "\n",
       .marks = {"<tool_call>"},
       .control = {"<tool_call>", "</tool_call>", "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"}},
      {.name = "llama3",
       .call = R"({"name": "%n", "parameters": %j})",
       .many = false,
       .bare = true,
       .marks = {"<|python_tag|>"},
       .control = {"<|python_tag|>"}},
      {.name = "mistral",
       .begin = "[TOOL_CALLS][",
       .call = R"({"name": "%n", "arguments": %j, "id": "%i"})",
       .between = ", ",
       .end = "]",
       .marks = {"[TOOL_CALLS]"},
       .control = {"[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"}},
      {.name = "mistral-args",
       .layout = CallLayout::kPattern,
       .call = "[TOOL_CALLS]%n[ARGS]%j",
       .marks = {"[TOOL_CALLS]"},
       .control = {"[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"}},
      {.name = "granite",
       .begin = "<|tool_call|>[",
       .call = kNameAndArguments,
       .between = ", ",
       .end = "]",
       .marks = {"<|tool_call|>"},
       .control = {"<|tool_call|>"}},
      {.name = "phi4-mini",
       .begin = "<|tool_call|>[",
       .call = kNameAndArguments,
       .between = ", ",
       .end = "]<|/tool_call|>",
       .marks = {"<|tool_call|>"},
       .control = {"<|tool_call|>", "<|/tool_call|>"}},
      {.name = "nemotron",
       .begin = "<TOOLCALL>[",
       .call = kNameAndArguments,
       .between = ", ",
       .end = "]</TOOLCALL>",
       .marks = {"<TOOLCALL>"},
       .control = {"<TOOLCALL>", "</TOOLCALL>"}},
      {.name = "deepseek-v3.1",
       .layout = CallLayout::kPattern,
       .begin = "<｜tool▁calls▁begin｜>",
       .call = "<｜tool▁call▁begin｜>%n<｜tool▁sep｜>%j<｜tool▁call▁end｜>",
       .end = "<｜tool▁calls▁end｜>",
       .marks = {"<｜tool▁calls▁begin｜>"},
       .control = {"<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "<｜tool▁call▁end｜>",
                   "<｜tool▁calls▁end｜>"}},
      {.name = "deepseek-r1",
       .layout = CallLayout::kPattern,
       .begin = "<｜tool▁calls▁begin｜>",
       .call = "<｜tool▁call▁begin｜>function<｜tool▁sep｜>%n\n```json\n%j\n```<｜tool▁call▁end｜>",
       .between = "\n",
       .end = "<｜tool▁calls▁end｜>",
       .marks = {"<｜tool▁calls▁begin｜>"},
       .control = {"<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "<｜tool▁call▁end｜>",
                   "<｜tool▁calls▁end｜>"}},
      {.name = "kimi-k2",
       .layout = CallLayout::kPattern,
       .begin = "<|tool_calls_section_begin|>",
       .call = "<|tool_call_begin|>functions.%n:%i<|tool_call_argument_begin|>%j<|tool_call_end|>",
       .end = "<|tool_calls_section_end|>",
       .marks = {"<|tool_calls_section_begin|>"},
       .control = {"<|tool_calls_section_begin|>", "<|tool_call_begin|>", "<|tool_call_argument_begin|>",
                   "<|tool_call_end|>", "<|tool_calls_section_end|>"}},
      {.name = "gemma4",
       .layout = CallLayout::kBraces,
       .marks = {"<|tool_call>"},
       .quote = "<|\"|>",
       .control = {"<|tool_call>", "<tool_call|>", "<|\"|>"}},
      {.name = "functiongemma",
       .layout = CallLayout::kBraces,
       .marks = {"<start_function_call>"},
       .quote = "<escape>",
       .control = {"<start_function_call>", "<end_function_call>", "<escape>"}},
      {.name = "lfm2",
       .layout = CallLayout::kPython,
       .marks = {"<|tool_call_start|>"},
       .control = {"<|tool_call_start|>", "<|tool_call_end|>"}},
      {.name = "gpt-oss",
       .layout = CallLayout::kChannels,
       .control = {"<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|constrain|>"}},
  };
  return *formats;
}

// What the source of a template has where it writes such calls; the first row whose texts are all there.
struct Sign {
  std::string_view format;
  std::vector<std::string_view> texts;
};

const std::vector<Sign>& signs() {
  static const auto* all = new std::vector<Sign>{
      {"gpt-oss", {"<|channel|>", "<|message|>", "to=functions."}},
      {"kimi-k2", {"<|tool_calls_section_begin|>", "<|tool_call_argument_begin|>"}},
      {"deepseek-r1", {"<｜tool▁calls▁begin｜>", "```json"}},
      {"deepseek-v3.1", {"<｜tool▁calls▁begin｜>"}},
      {"mistral-args", {"[TOOL_CALLS]", "[ARGS]"}},
      {"mistral", {"[TOOL_CALLS]"}},
      {"gemma4", {"<|tool_call>", "call:"}},
      {"functiongemma", {"<start_function_call>", "<escape>"}},
      {"lfm2", {"<|tool_call_start|>"}},
      {"lfm2", {"<|tool_list_start|>"}},
      {"seed", {"<seed:tool_call>"}},
      {"glm", {"<tool_call>", "<arg_key>"}},
      {"qwen3-coder", {"<tool_call>", "<function=", "<parameter="}},
      {"hermes", {"<tool_call>", "</tool_call>"}},
      {"nemotron", {"<TOOLCALL>"}},
      {"granite", {"<|tool_call|>"}},
      {"phi4-mini", {"<|tool|>", "<|/tool|>"}},
      {"llama3", {"<|python_tag|>", "\"parameters\""}},
      {"llama3", {"{\"name\": ", "\"parameters\": ", "ipython"}},
  };
  return *all;
}

}  // namespace

std::span<const ToolFormat> tool_formats() { return table(); }

const ToolFormat* find_tool_format(std::string_view name) {
  const auto found = std::ranges::find(table(), name, &ToolFormat::name);
  return found == table().end() ? nullptr : &*found;
}

std::string tool_format_names() {
  std::string names;
  for (const ToolFormat& format : table()) names += (names.empty() ? "" : ", ") + std::string(format.name);
  return names;
}

const ToolFormat* detect_tool_format(std::string_view template_source) {
  for (const Sign& sign : signs()) {
    const auto has = [&](std::string_view text) { return template_source.find(text) != std::string_view::npos; };
    if (std::ranges::all_of(sign.texts, has)) return find_tool_format(sign.format);
  }
  return nullptr;
}

ReasoningMarks detect_reasoning_marks(std::string_view template_source) {
  constexpr ReasoningMarks kKnown[] = {{"<think>", "</think>"},
                                       {"<seed:think>", "</seed:think>"},
                                       {"[THINK]", "[/THINK]"},
                                       {"<|channel>thought\n", "<channel|>"}};
  const bool channels = template_source.find("<|channel|>") != std::string_view::npos &&
                        template_source.find("<|message|>") != std::string_view::npos;
  if (channels) return kChannelMarks;
  for (const ReasoningMarks& marks : kKnown) {
    // In a template's source a line end is written as \n, or stands there.
    const std::string_view open = marks.open.substr(0, marks.open.find('\n'));
    const bool both = template_source.find(open) != std::string_view::npos &&
                      template_source.find(marks.close) != std::string_view::npos;
    if (both) return marks;
  }
  return {};
}

bool opens_reasoning(const ReasoningMarks& marks, std::string_view prompt) {
  if (!marks) return false;
  const auto trimmed = [](std::string_view text) { return text.substr(0, text.find_last_not_of(" \t\r\n") + 1); };
  return trimmed(prompt).ends_with(trimmed(marks.open));
}

}  // namespace rowmax::tool_calls
