#include "engine/tokenizer/pre_tokenizer.h"

#include "engine/tokenizer/scanners.h"

namespace rowmax::engine {
namespace {

constexpr NextPiece kGpt2[] = {scan_gpt2};
constexpr NextPiece kDigitsGpt2[] = {scan_number, scan_gpt2};
constexpr NextPiece kLlama3[] = {scan_llama3};
constexpr NextPiece kQwen2[] = {scan_qwen2};
constexpr NextPiece kQwen35[] = {scan_qwen35};
constexpr NextPiece kGpt4o[] = {scan_gpt4o};
constexpr NextPiece kTekken[] = {scan_tekken};
constexpr NextPiece kDeepseekLlm[] = {
    scan_newline, scan_deepseek_letters, scan_deepseek_punctuation, scan_trailing_space, scan_cjk, scan_number_run};
constexpr NextPiece kDeepseekCoder[] = {scan_newline, scan_letters, scan_punctuation, scan_cjk, scan_number};
constexpr NextPiece kDeepseek3[] = {scan_three_numbers, scan_han_kana, scan_deepseek3};
constexpr NextPiece kFalcon[] = {scan_falcon_punctuation, scan_gpt2, scan_three_digits};
constexpr NextPiece kDefault[] = {scan_default_punctuation, scan_gpt2, scan_number_run, scan_three_digits};

// Names as converters write them; several names share one expression.
constexpr PreTokenizer kPreTokenizers[] = {
    {"gpt-2", kGpt2, false, false},
    {"phi-2", kGpt2, false, false},
    {"mpt", kGpt2, false, false},
    {"olmo", kGpt2, false, false},
    {"gpt-neox", kGpt2, false, false},
    {"jais", kGpt2, false, false},
    {"modern-bert", kGpt2, false, false},
    {"exaone4", kGpt2, false, false},
    {"llama-bpe", kLlama3, true, true},
    {"llama3", kLlama3, true, true},
    {"llama-v3", kLlama3, true, true},
    {"falcon3", kLlama3, true, true},
    {"falcon-h1", kLlama3, true, true},
    {"pixtral", kLlama3, true, true},
    {"midm-2.0", kLlama3, true, true},
    {"lfm2", kLlama3, true, true},
    {"smaug-bpe", kLlama3, false, false},
    {"dbrx", kLlama3, false, false},
    {"glm4", kLlama3, false, false},
    {"chatglm-bpe", kLlama3, false, false},
    {"qwen2", kQwen2, false, false},
    {"deepseek-r1-qwen", kQwen2, false, false},
    {"megrez", kQwen2, false, false},
    {"stablelm2", kQwen2, false, false},
    {"hunyuan", kQwen2, false, false},
    {"qwen35", kQwen35, false, false},
    {"gpt-4o", kGpt4o, false, false},
    {"llama4", kGpt4o, false, false},
    {"tekken", kTekken, true, true},
    {"smollm", kDigitsGpt2, false, false},
    {"starcoder", kDigitsGpt2, false, false},
    {"refact", kDigitsGpt2, false, false},
    {"command-r", kDigitsGpt2, false, false},
    {"codeshell", kDigitsGpt2, false, false},
    {"exaone", kDigitsGpt2, false, false},
    {"minerva-7b", kDigitsGpt2, false, false},
    {"deepseek-llm", kDeepseekLlm, false, false},
    {"deepseek-coder", kDeepseekCoder, false, false},
    {"deepseek-v3", kDeepseek3, false, false},
    {"hunyuan-dense", kDeepseek3, false, false},
    {"falcon", kFalcon, false, false},
    {"default", kDefault, false, false},
};

}  // namespace

const PreTokenizer* find_pre_tokenizer(std::string_view name) noexcept {
  for (const PreTokenizer& entry : kPreTokenizers) {
    if (entry.name == name) return &entry;
  }
  return nullptr;
}

std::span<const PreTokenizer> pre_tokenizers() noexcept { return kPreTokenizers; }

}  // namespace rowmax::engine
