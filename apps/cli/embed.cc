// rowmax embed: texts to vectors.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "apps/cli/command.h"
#include "apps/cli/engine_setup.h"
#include "apps/cli/interrupt.h"
#include "apps/cli/json_output.h"
#include "apps/cli/jsonl_texts.h"
#include "apps/cli/kernel_list.h"
#include "apps/cli/options.h"
#include "apps/cli/terminal.h"
#include "rowmax/engine/embed.h"
#include "rowmax/try.h"

namespace rowmax::cli {
namespace {

constexpr const char* kEmbedExamples = R"(
Examples:
  rowmax embed -m bitnet-embedding-0.6b.gguf "query: What is BitNet?" "Ternary weights."
  rowmax embed -m model.gguf -f document.txt --pooling mean
  rowmax embed -m model.gguf --jsonl texts.jsonl --batch 16 > vectors.jsonl
  printf '%s\n' '{"text": "a"}' '{"text": "b"}' | rowmax embed -m model.gguf --jsonl - --json
Prints a line of JSON a text, {"index", "n_tokens", "embedding"}; with --json one object, those under "embeddings". Numbers
read back as the same 32-bit floats. --pooling: which tokens' states count, where the file names none or another one is
meant. A text's vector has the same bits alone and in any batch.
)";

constexpr std::int64_t kMaxBatch = 4096;

struct EmbedFlags {
  EngineFlags engine;
  SessionFlags session;
  std::vector<std::string> texts;
  std::string file, jsonl, pooling, normalize = "l2";
  std::int64_t batch = 8;
  bool json = false, keep_newline = false;
};

Result<std::vector<TokenText>> read_texts(const EmbedFlags& flags, const engine::Model& model) {
  std::vector<TokenText> texts;
  std::vector<std::string> whole = flags.texts;
  if (!flags.file.empty()) {
    ROWMAX_TRY(content, read_prompt(flags.file, flags.keep_newline));
    whole = {std::move(content)};
  }
  for (const std::string& text : whole) {
    ROWMAX_TRY(tokens, engine::encode_for_embedding(model, text));
    const std::string name = flags.file.empty() ? "text " + std::to_string(texts.size()) : flags.file;
    texts.push_back({name, std::move(tokens)});
  }
  if (flags.jsonl.empty()) return texts;
  return read_jsonl_texts(flags.jsonl, model,
                          [&](std::string_view text) { return engine::encode_for_embedding(model, text); });
}

Result<engine::Pooling> choose_pooling(const EmbedFlags& flags, const engine::LoadPlan& plan) {
  for (const engine::Pooling pooling : {engine::Pooling::kLast, engine::Pooling::kMean, engine::Pooling::kCls}) {
    if (flags.pooling == engine::pooling_name(pooling)) return pooling;
  }
  auto pooling = engine::pooling_of(plan.file, plan.description);
  if (!pooling.ok()) {  // the file is there, and has no say
    const ErrorCode code = pooling.error().code;
    return Error{code == ErrorCode::kNotFound ? ErrorCode::kUnsupported : code,
                 pooling.error().message + "; --pooling last, mean or cls says it"};
  }
  // The converter of BitNet's embedding models writes mean where it finds no other, and they were trained with last.
  const auto& facts = plan.description.facts;
  const bool bitnet = std::ranges::any_of(facts, [](const auto& fact) { return fact.name == "product_norms"; });
  if (bitnet && *pooling == engine::Pooling::kMean && !flags.engine.quiet) {
    note("the file names mean pooling; BitNet's embedding models are published for --pooling last");
  }
  return pooling;
}

Json line_of(std::size_t index, const TokenText& text, const engine::TextEmbedding& embedding) {
  Json values = Json::array();
  for (const float value : embedding.values) values.push_back(text::shortest(value));
  return {{"index", index}, {"n_tokens", text.tokens.size()}, {"embedding", std::move(values)}};
}

Result<ExitCode> embed(const EmbedFlags& flags) {
  if (!flags.texts.empty() + !flags.file.empty() + !flags.jsonl.empty() != 1) {
    return Error{ErrorCode::kInvalidArgument, "give texts, or one of -f FILE and --jsonl FILE"};
  }
  engine::SessionOptions options = session_options(flags.session);
  engine::Pooling pooling{};
  const auto look = [&](const engine::LoadPlan& plan) -> Status {
    ROWMAX_TRY(chosen, choose_pooling(flags, plan));
    pooling = chosen;
    return {};
  };
  ROWMAX_TRY(engine, load_engine(flags.engine, options, look));
  for (const std::string& notice : engine.notices) note(notice);
  ROWMAX_TRY(texts, read_texts(flags, *engine.model));
  options.max_sequences = static_cast<int>(std::clamp<std::int64_t>(std::ssize(texts), 1, flags.batch));
  options.reuse_prefixes = false;
  options.checkpoint_bytes = 0;
  ROWMAX_TRY(session, open_session(*engine.model, options, *engine.executor));
  for (const TokenText& text : texts) {  // before anything is printed
    if (text.tokens.empty()) {
      return Error{ErrorCode::kInvalidArgument, text.name + ": expected at least one token, found none"};
    }
    if (std::ssize(text.tokens) <= session.context()) continue;
    return Error{ErrorCode::kLimit, text.name + ": " + std::to_string(text.tokens.size()) + " tokens, the context is " +
                                        std::to_string(session.context()) + " (-c)"};
  }
  const engine::EmbedOptions how{.pooling = pooling, .normalize = flags.normalize == "l2"};
  Json all = Json::array();
  for (std::size_t first = 0; first < texts.size(); first += static_cast<std::size_t>(flags.batch)) {
    if (interrupted()) return Error{ErrorCode::kCancelled, "interrupted"};
    const auto part =
        std::span(texts).subspan(first, std::min(static_cast<std::size_t>(flags.batch), texts.size() - first));
    std::vector<std::span<const engine::TokenId>> views;
    for (const TokenText& text : part) views.emplace_back(text.tokens);
    auto embeddings = engine::embed(session, views, how);
    if (!embeddings.ok()) return with_file(std::move(embeddings).error(), *engine.model);
    for (std::size_t i = 0; i < part.size(); ++i) {
      const Status& status = (*embeddings)[i].status;
      if (!status.ok()) return Error{status.error().code, part[i].name + ": " + status.error().message};
      Json line = line_of(first + i, part[i], (*embeddings)[i]);
      if (!flags.json) {
        ROWMAX_RETURN_IF_ERROR(print_json(line));
      } else {
        all.push_back(std::move(line));
      }
    }
  }
  if (flags.json) {
    ROWMAX_RETURN_IF_ERROR(print_json({{"n_embd", engine.model->shape().n_embd},
                                       {"pooling", engine::pooling_name(pooling)},
                                       {"normalize", flags.normalize},
                                       {"embeddings", std::move(all)}}));
  }
  return ExitCode::kOk;
}

}  // namespace

CommandBody declare_embed(Flags& table) {
  auto flags = std::make_shared<EmbedFlags>();
  table.add_words("text", flags->texts, "the texts").type("TEXT");
  table.add("-f,--file", flags->file, "file with one text; - is standard input").type("FILE");
  add_keep_newline(table, flags->keep_newline);
  table
      .add("--jsonl", flags->jsonl,
           "many texts: {\"text\": \"...\"} or {\"tokens\": [1, 2]} a line; - is standard input")
      .type("FILE");
  table.add("--pooling", flags->pooling, "last, mean or cls (the first): of which tokens; default: as the file says")
      .one_of({"last", "mean", "cls"});
  table.add("--normalize", flags->normalize, "l2 (vectors of length 1) or none").one_of({"l2", "none"});
  table.add("--batch", flags->batch, "texts computed together").within(1, kMaxBatch);
  add_engine_flags(table, flags->engine);
  add_session_flags(table, flags->session);
  table.choose_one({{"text"}, {"--jsonl"}, {"--file"}});
  table.apart("--keep-newline", {"text", "--jsonl"});
  table.add_switch("--json", flags->json, "print one JSON object in place of a line a text");
  table.set_examples(kEmbedExamples);
  return [flags] { return lists_kernels(flags->engine) ? list_kernels(flags->json) : embed(*flags); };
}

}  // namespace rowmax::cli
