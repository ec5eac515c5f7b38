#include "apps/server/served_model.h"

#include <algorithm>
#include <cstdio>
#include <string_view>

#include "apps/tool_calls/call_mask.h"

namespace rowmax::server {
namespace {

// FNV-1a over everything that decides an answer: what the file says, a bit of each tensor, and how it is computed.
class Hash {
 public:
  void add(std::string_view bytes) {
    for (const char byte : bytes) value_ = (value_ ^ static_cast<unsigned char>(byte)) * 0x100000001B3ull;
    value_ = (value_ ^ bytes.size()) * 0x100000001B3ull;
  }
  void add(std::int64_t number) { add(std::to_string(number)); }
  std::uint64_t value() const { return value_; }

 private:
  std::uint64_t value_ = 0xCBF29CE484222325ull;
};

constexpr std::size_t kBytesOfTensor = 256;

}  // namespace

bool ignores_tools(const ServedModel& served) {
  if (served.chat_template == nullptr) return false;
  using engine::TemplateValue;
  const auto dict = [](std::vector<std::pair<std::string, TemplateValue>> members) {
    return TemplateValue::make_dict(std::move(members));
  };
  const TemplateValue schema = dict({{"type", TemplateValue::of("object")}, {"properties", dict({})}});
  const TemplateValue function = dict({{"name", TemplateValue::of("a_tool_that_is_looked_for")},
                                       {"description", TemplateValue::of("none")},
                                       {"parameters", schema}});
  // Some show tools beside a system message alone.
  for (const bool with_system : {false, true}) {
    engine::ChatInput input;
    std::vector<TemplateValue> turns;
    const auto turn = [&](const char* role) {
      turns.push_back(dict({{"role", TemplateValue::of(role)}, {"content", TemplateValue::of("text")}}));
    };
    if (with_system) turn("system");
    turn("user");
    input.messages = TemplateValue::make_list(std::move(turns));
    std::string without, with;
    const bool rendered = engine::encode_chat(*served.model, *served.chat_template, input, &without).ok();
    input.tools = TemplateValue::make_list({dict({{"type", TemplateValue::of("function")}, {"function", function}})});
    if (!engine::encode_chat(*served.model, *served.chat_template, input, &with).ok()) return false;
    if (!rendered || without != with) return false;
  }
  return true;
}

void find_reply_form(ServedModel& served, const tool_calls::ToolFormat* format) {
  served.ignores_tools = ignores_tools(served);
  served.tool_format = format != nullptr ? format : tool_calls::detect_tool_format(served.template_text);
  const bool channels = format != nullptr && format->layout == tool_calls::CallLayout::kChannels;
  served.reasoning = channels ? tool_calls::kChannelMarks : tool_calls::detect_reasoning_marks(served.template_text);
  served.text_tokens = tool_calls::text_tokens_of(served.tool_format, served.reasoning, served.tokenizer());
}

std::string fingerprint_of(const engine::Model& model, const engine::SessionOptions& session,
                           std::string_view template_text, const std::vector<NormaliseRule>& rules,
                           std::string_view version) {
  Hash hash;
  hash.add(model.description().architecture);
  for (const engine::ModelFact& fact : model.description().facts) {
    hash.add(fact.name);
    hash.add(fact.value);
  }
  const engine::ModelOptions& options = model.options();
  for (const auto* pairs : {&options.edits, &options.overrides, &options.tokenizer.overrides}) {
    for (const auto& [name, value] : *pairs) hash.add(name + "=" + value);
  }
  for (const std::string& key : options.ignored_keys) hash.add(key);
  hash.add(options.tokenizer.pre_override);
  hash.add(static_cast<std::int64_t>(options.activations));
  hash.add(static_cast<std::int64_t>(session.kv_type));
  hash.add(static_cast<std::int64_t>(model.file().file_bytes()));
  for (const engine::GgufTensor& tensor : model.file().tensors()) {
    hash.add(tensor.name);
    hash.add(gguf_tensor_format_name(tensor));
    const auto* bytes = reinterpret_cast<const char*>(tensor.data.data());
    hash.add({bytes, std::min(tensor.data.size(), kBytesOfTensor)});
  }
  hash.add(template_text);
  for (const NormaliseRule& rule : rules) hash.add(rule.source);
  char digits[20];
  std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(hash.value()));
  return "b" + std::string(version) + "-" + digits;
}

}  // namespace rowmax::server
