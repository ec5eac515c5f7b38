#include "engine/tokenizer/key_rules.h"

namespace rowmax::engine {
namespace {

constexpr std::string_view kRead[] = {
    "tokenizer.ggml.model",         "tokenizer.ggml.pre",
    "tokenizer.ggml.tokens",        "tokenizer.ggml.scores",
    "tokenizer.ggml.token_type",    "tokenizer.ggml.merges",
    "tokenizer.ggml.bos_token_id",  "tokenizer.ggml.eos_token_id",
    "tokenizer.ggml.eos_token_ids", "tokenizer.ggml.eot_token_id",
    "tokenizer.ggml.eom_token_id",  "tokenizer.ggml.unknown_token_id",
    "tokenizer.ggml.add_bos_token", "tokenizer.ggml.add_space_prefix",
    "tokenizer.ggml.add_eos_token", "tokenizer.chat_template",
};

constexpr std::string_view kEncoders = "only encoders (BERT, T5) use it";
constexpr std::string_view kInfill = "only filling in the middle uses it";
constexpr std::string_view kCopy = "another form of the vocabulary";

const KeyRule kRules[] = {
    {"tokenizer.ggml.add_sep_token", {"false"}, "a separator is put behind every text"},
    {"tokenizer.ggml.add_seperator_token", {"false"}, "a separator is put behind every text"},
    {"tokenizer.ggml.add_cls_token", {"false"}, "a token for the class is put in front of every text"},
    {"tokenizer.ggml.add_padding_token", {}, "batches are not padded"},
    {"tokenizer.ggml.add_unknown_token", {}, "no text has it added"},
    {"tokenizer.ggml.add_mask_token", {}, kEncoders},
    {"tokenizer.ggml.remove_extra_whitespaces", {"false"}, "runs of white space become one space"},
    {"tokenizer.ggml.escape_whitespaces", {"true"}, "spaces stay spaces in the vocabulary"},
    {"tokenizer.ggml.precompiled_charsmap", {"0"}, "characters are replaced before a text is split"},
    {"tokenizer.ggml.normalizer.lowercase", {"false"}, "texts become lower case"},
    {"tokenizer.ggml.normalizer.strip_accents", {"false"}, "accents are taken off"},
    {"tokenizer.ggml.suppress_tokens", {"-1"}, "some tokens are never drawn"},
    {"tokenizer.ggml.added_tokens", {}, "the list of types says the same"},
    {"tokenizer.ggml.token_type_count", {}, kEncoders},
    {"tokenizer.ggml.cls_token_id", {}, kEncoders},
    {"tokenizer.ggml.mask_token_id", {}, kEncoders},
    {"tokenizer.ggml.seperator_token_id", {}, kEncoders},
    {"tokenizer.ggml.separator_token_id", {}, kEncoders},
    {"tokenizer.ggml.padding_token_id", {}, "batches are not padded"},
    {"tokenizer.ggml.fim_*", {}, kInfill},
    {"tokenizer.ggml.prefix_token_id", {}, kInfill},
    {"tokenizer.ggml.suffix_token_id", {}, kInfill},
    {"tokenizer.ggml.middle_token_id", {}, kInfill},
    {"tokenizer.ggml.fsep_token_id", {}, kInfill},
    {"tokenizer.chat_template.*", {}, "other templates, for other tasks: tokenizer.chat_template is the one of chats"},
    {"tokenizer.chat_templates", {}, "the names of the other templates"},
    {"tokenizer.huggingface.json", {}, kCopy},
    {"tokenizer.rwkv.world", {}, kCopy},
};

}  // namespace

std::span<const std::string_view> read_tokenizer_keys() noexcept { return kRead; }
std::span<const KeyRule> unread_tokenizer_rules() noexcept { return kRules; }

}  // namespace rowmax::engine
