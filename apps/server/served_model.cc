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

void find_reply_form(ServedModel& served, const tool_calls::ToolFormat* format) {
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
