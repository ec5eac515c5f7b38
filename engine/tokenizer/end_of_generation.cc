#include "engine/tokenizer/end_of_generation.h"

#include <algorithm>
#include <string_view>

namespace rowmax::engine {
namespace {

// Nothing but the end of a turn or of a document is ever written like this.
constexpr std::string_view kUnmistakable[] = {
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<end_of_turn>",
    "<turn|>",
    "<|tool_response>",
    "<|endoftext|>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<|EOT|>",
    "<\xEF\xBD\x9C"
    "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>",
};

// These end a turn where the file marks them as control tokens. The second row begins or pads another document in the
// fill-in-the-middle layout: a model that writes one has finished its answer.
constexpr std::string_view kWhenControl[] = {
    "</s>",      "<eos>",     "<EOT>",        "_<EOT>",        "[EOT]",      "[EOS]",      "<|fim_pad|>",
    "<fim-pad>", "<fim_pad>", "<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<reponame>", "<|file_sep|>",
};

}  // namespace

std::vector<TokenId> end_of_generation_ids(std::vector<TokenId> ids, Vocabulary& vocabulary,
                                           std::vector<std::string>& notices, std::vector<std::string>& remarks) {
  const auto label = [&](TokenId id) {
    return "token " + std::to_string(id) + " '" + std::string(vocabulary.text(id)) + "'";
  };
  for (const std::string_view text : kUnmistakable) {
    const TokenId id = vocabulary.find(text);
    if (id < 0) continue;
    ids.push_back(id);
    if (vocabulary.kind(id) == TokenKind::kControl) continue;
    vocabulary.set_kind(id, TokenKind::kControl);
    notices.push_back(label(id) + " is not marked as a control token in the file; it is taken as one");
  }
  for (const std::string_view text : kWhenControl) {
    const TokenId id = vocabulary.find(text);
    if (id < 0) continue;
    if (vocabulary.kind(id) == TokenKind::kControl) {
      ids.push_back(id);
    } else if (std::find(ids.begin(), ids.end(), id) == ids.end()) {
      remarks.push_back(label(id) +
                        " is not marked as a control token in the file; it is ordinary text and ends nothing");
    }
  }
  // In the layout that has <|return|> and <|call|>, <|end|> closes one message of a turn that goes on.
  if (vocabulary.find("<|return|>") >= 0 && vocabulary.find("<|call|>") >= 0) {
    std::erase(ids, vocabulary.find("<|end|>"));
  }
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

}  // namespace rowmax::engine
