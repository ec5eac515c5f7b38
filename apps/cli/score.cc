// rowmax score: perplexity of a text, in the windows of llama.cpp's perplexity tool.
#include <cmath>
#include <cstdio>
#include <memory>

#include "apps/cli/command.h"
#include "apps/cli/engine_setup.h"
#include "apps/cli/interrupt.h"
#include "apps/cli/json_output.h"
#include "apps/cli/npz_writer.h"
#include "apps/cli/options.h"
#include "apps/cli/terminal.h"
#include "base/try.h"
#include "rowmax/engine/output_file.h"

namespace rowmax::cli {
namespace {

constexpr const char* kExamples = R"(
Examples:
  rowmax score -m model.gguf -f text.txt --ctx 512
  rowmax score -m model.gguf --token-ids ids.json --activations f32 --kv-type f32 --json
  rowmax score -m model.gguf -f text.txt --logprobs out.npz       arrays "tokens" and "logprobs" (natural log)
The text is cut into whole windows of --ctx tokens; the first token of each is replaced by BOS where the model adds one;
the predictions of the later half of each window count (tokens ctx/2+1 to ctx-1).
)";

constexpr std::int64_t kMaxWindow = std::int64_t{1} << 24;

struct ScoreFlags {
  EngineFlags engine;
  std::string file, token_ids, logprobs;
  bool force = false;
  std::int64_t window = 512;
  std::string kv_type = "f16";
  bool json = false;
};

Error bad_ids(const std::string& path, const std::string& what) {
  return {ErrorCode::kCorrupt, path + ": expected a JSON list of token ids, found " + what};
}

// [1, 2, 3], or an object with such a list under "tokens".
Result<std::vector<engine::TokenId>> read_token_ids(const std::string& path, std::int64_t n_vocab) {
  ROWMAX_TRY(text, read_text(path));
  constexpr int kMaxDepth = 8;
  bool too_deep = false;
  const Json parsed = Json::parse(
      text,
      [&](int depth, Json::parse_event_t, Json&) {
        too_deep = too_deep || depth > kMaxDepth;
        return !too_deep;
      },
      false);
  if (parsed.is_discarded() || too_deep) return bad_ids(path, "text that is not JSON, or nested too deeply");
  const Json* list = parsed.is_object() && parsed.contains("tokens") ? &parsed["tokens"] : &parsed;
  if (!list->is_array()) return bad_ids(path, std::string("a ") + list->type_name());
  std::vector<engine::TokenId> ids;
  ids.reserve(list->size());
  for (const Json& item : *list) {
    const bool whole = item.is_number_integer() && !(item.is_number_unsigned() && item.get<std::uint64_t>() >> 31 != 0);
    const std::int64_t id = whole ? item.get<std::int64_t>() : -1;
    if (id < 0 || id >= n_vocab) {
      return bad_ids(path, item.dump(-1, ' ', false, Json::error_handler_t::replace).substr(0, 40) + " as element " +
                               std::to_string(ids.size()) + " (ids are 0 to " + std::to_string(n_vocab - 1) + ")");
    }
    ids.push_back(static_cast<engine::TokenId>(id));
  }
  return ids;
}

Result<std::vector<engine::TokenId>> read_tokens(const ScoreFlags& flags, const engine::Model& model) {
  if (!flags.token_ids.empty()) return read_token_ids(flags.token_ids, model.shape().n_vocab);
  ROWMAX_TRY(text, read_text(flags.file));
  return engine::encode_prompt(model, text, false);
}

Status print_score(const ScoreFlags& flags, const engine::Score& score) {
  const double perplexity = std::exp(score.nll);
  if (flags.json) {
    return print_json(
        {{"n_tokens", score.n_tokens}, {"n_scored", score.n_scored}, {"nll", score.nll}, {"perplexity", perplexity}});
  }
  std::printf("perplexity %.4f (mean negative log-likelihood %.6f, %lld of %lld tokens scored)\n", perplexity,
              score.nll, static_cast<long long>(score.n_scored), static_cast<long long>(score.n_tokens));
  return {};
}

Result<ExitCode> score(const ScoreFlags& flags) {
  if (flags.file.empty() == flags.token_ids.empty()) {
    return Error{ErrorCode::kInvalidArgument, "give either -f FILE or --token-ids FILE.json"};
  }
  ROWMAX_TRY(engine, load_engine(flags.engine));
  const engine::OutputOptions output{.overwrite = flags.force,
                                     .inputs = {engine.model->file().name(), flags.file, flags.token_ids}};
  if (!flags.logprobs.empty()) ROWMAX_RETURN_IF_ERROR(engine::check_output(flags.logprobs, output));
  ROWMAX_TRY(tokens, read_tokens(flags, *engine.model));
  engine::SessionOptions session_options;
  session_options.context = flags.window;
  session_options.kv_type = flags.kv_type == "f32" ? engine::KvType::kF32 : engine::KvType::kF16;
  ROWMAX_TRY(session, engine::Session::create(*engine.model, session_options, *engine.executor));

  engine::ScoreOptions options;
  options.window = flags.window;
  ProgressBar bar("scoring", static_cast<double>(tokens.size()) / static_cast<double>(flags.window), false);
  options.progress = [&](std::int64_t done, std::int64_t) {
    if (!flags.engine.quiet) bar.update(static_cast<double>(done));
    return !interrupted();
  };
  auto result = engine::score(session, tokens, options);
  bar.finish();
  if (!result.ok()) return std::move(result).error();
  if (!flags.logprobs.empty()) {
    NpzWriter npz;
    npz.add("tokens", std::span<const std::int32_t>(result->tokens));
    npz.add("logprobs", std::span<const double>(result->log_probs));
    ROWMAX_RETURN_IF_ERROR(npz.write(flags.logprobs, output));
  }
  ROWMAX_RETURN_IF_ERROR(print_score(flags, *result));
  return ExitCode::kOk;
}

}  // namespace

CommandBody declare_score(CLI::App& app) {
  auto flags = std::make_shared<ScoreFlags>();
  app.add_option("-f,--file", flags->file, "the text; - is standard input")->type_name("FILE");
  app.add_option("--token-ids", flags->token_ids, "JSON list of token ids in place of a text")->type_name("FILE");
  add_value(app, "-c,--ctx,--ctx-size", flags->window, "tokens a window")
      ->check(CLI::Range(std::int64_t{4}, kMaxWindow));
  add_value(app, "--logprobs", flags->logprobs, "write the scored tokens and their log probabilities (.npz)")
      ->type_name("FILE");
  add_switch(app, "--force", flags->force, "replace an existing --logprobs file");
  add_engine_flags(app, flags->engine);
  add_value(app, "--kv-type", flags->kv_type, "f16 or f32 keys and values in the cache")
      ->check(CLI::IsMember({"f16", "f32"}))
      ->default_str("f16")
      ->type_name("TYPE");
  add_switch(app, "--json", flags->json, "print one JSON object");
  app.footer(kExamples);
  return [flags] { return score(*flags); };
}

}  // namespace rowmax::cli
