// rowmax score: perplexity of a text, in the windows of llama.cpp's perplexity tool; or the losses of many texts.
#include <cmath>
#include <cstdio>
#include <memory>

#include "apps/cli/command.h"
#include "apps/cli/debug.h"
#include "apps/cli/engine_setup.h"
#include "apps/cli/interrupt.h"
#include "apps/cli/json_output.h"
#include "apps/cli/kernel_list.h"
#include "apps/cli/npz_writer.h"
#include "apps/cli/options.h"
#include "apps/cli/score_texts.h"
#include "apps/cli/terminal.h"
#include "apps/cli/token_ids.h"
#include "rowmax/engine/output_file.h"
#include "rowmax/try.h"

namespace rowmax::cli {
namespace {

constexpr const char* kScoreExamples = R"(
Examples:
  rowmax score -m model.gguf -f text.txt --ctx 512
  rowmax score -m model.gguf --token-ids ids.json --activations f32 --kv-type f32 --json
  rowmax score -m model.gguf --jsonl texts.jsonl --batch 8 --padding left       a line of JSON a text
  rowmax score -m model.gguf -f text.txt --logprobs out.npz       arrays "tokens" and "logprobs" (natural log)
The text is cut into whole windows of --ctx tokens; the first token of each is replaced by BOS where the model adds one;
the predictions of the later half of each window count (tokens ctx/2+1 to ctx-1).
)";

constexpr std::int64_t kMaxBatch = 4096;
constexpr std::int64_t kMaxWindow = std::int64_t{1} << 24;

struct ScoreFlags {
  EngineFlags engine;
  std::string file, token_ids, logprobs;
  bool force = false;
  std::int64_t window = 0;
  ScoreTextsFlags texts;
  DebugFlags debug;
  std::string kv_type = "f16";
  bool json = false, keep_newline = false;

  std::int64_t tokens_a_window() const { return window == 0 ? 512 : window; }
};

Result<std::vector<engine::TokenId>> read_tokens(const ScoreFlags& flags, const engine::Model& model) {
  if (!flags.token_ids.empty()) return read_token_ids(flags.token_ids, model.shape().n_vocab);
  ROWMAX_TRY(text, read_prompt(flags.file, flags.keep_newline));
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

Result<ExitCode> score_windows(const ScoreFlags& flags) {
  const engine::SessionOptions window = session_options({flags.tokens_a_window(), flags.kv_type});
  ROWMAX_TRY(engine, load_engine(flags.engine, window));
  for (const std::string& notice : engine.notices) note(notice);
  const engine::OutputOptions output{.overwrite = flags.force,
                                     .inputs = {engine.model->file().name(), flags.file, flags.token_ids}};
  if (!flags.logprobs.empty()) ROWMAX_RETURN_IF_ERROR(engine::check_output(flags.logprobs, output));
  ROWMAX_TRY(tokens, read_tokens(flags, *engine.model));
  ROWMAX_TRY(session, open_session(*engine.model, window, *engine.executor, "--ctx"));
  ROWMAX_TRY(debug, debug_observer(flags.debug, session));
  session.set_observer(debug.get());

  engine::ScoreOptions options;
  options.window = flags.tokens_a_window();
  ProgressBar bar("scoring", static_cast<double>(tokens.size()) / static_cast<double>(options.window), false);
  options.progress = [&](std::int64_t done, std::int64_t) {
    if (!flags.engine.quiet) bar.update(static_cast<double>(done));
    return !interrupted();
  };
  auto result = engine::score(session, tokens, options);
  bar.finish();
  if (!result.ok()) return with_file(std::move(result).error(), *engine.model);
  if (!flags.logprobs.empty()) {
    NpzWriter npz;
    npz.add("tokens", std::span<const std::int32_t>(result->tokens));
    npz.add("logprobs", std::span<const double>(result->log_probs));
    ROWMAX_RETURN_IF_ERROR(npz.write(flags.logprobs, output));
  }
  ROWMAX_RETURN_IF_ERROR(print_score(flags, *result));
  return ExitCode::kOk;
}

Result<ExitCode> score(ScoreFlags flags) {
  if (!flags.file.empty() + !flags.token_ids.empty() + !flags.texts.file.empty() != 1) {
    return Error{ErrorCode::kInvalidArgument, "give one of -f FILE, --token-ids FILE.json and --jsonl FILE"};
  }
  if (flags.texts.file.empty()) return score_windows(flags);
  if (flags.texts.padding.empty()) flags.texts.padding = "none";
  const engine::SessionOptions window = session_options({flags.window, flags.kv_type});
  ROWMAX_TRY(engine, load_engine(flags.engine, window));
  for (const std::string& notice : engine.notices) note(notice);
  ROWMAX_RETURN_IF_ERROR(score_texts(engine, flags.texts, window, flags.debug));
  return ExitCode::kOk;
}

}  // namespace

CommandBody declare_score(Flags& table) {
  auto flags = std::make_shared<ScoreFlags>();
  table.add("-f,--file", flags->file, "the text; - is standard input").type("FILE");
  add_keep_newline(table, flags->keep_newline);
  table.add("--token-ids", flags->token_ids, "JSON list of token ids in place of a text").type("FILE");
  table
      .add("--jsonl", flags->texts.file,
           "many texts, each scored by itself: {\"text\": \"...\"} or {\"tokens\": [1, 2]} a line")
      .type("FILE");
  table.add("--batch", flags->texts.batch, "of --jsonl: texts computed together").within(1, kMaxBatch);
  table
      .add("--padding", flags->texts.padding,
           "of --jsonl: batches are rectangles, padded left or right, or none; no bit of a loss changes with it")
      .one_of({"left", "right", "none"})
      .shows("none");
  table
      .add("-c,--ctx,--ctx-size", flags->window,
           "tokens a window; of --jsonl: most tokens a text (the model's own, at most 4096)")
      .within(4, kMaxWindow)
      .shows("512");
  table.add("--logprobs", flags->logprobs, "write the scored tokens and their log probabilities (.npz)")
      .type("FILE")
      .not_empty();
  table.add_switch("--force", flags->force, "replace an existing --logprobs file");
  add_engine_flags(table, flags->engine);
  add_kv_type_flag(table, flags->kv_type);
  add_debug_flags(table, flags->debug);
  table.choose_one({{"--token-ids"}, {"--jsonl"}, {"--file"}});
  for (const char* of_texts : {"--batch", "--padding"}) table.only_with(of_texts, {"--jsonl"});
  table.apart("--keep-newline", {"--token-ids", "--jsonl"});
  table.apart("--jsonl", {"--logprobs"});
  table.only_with("--force", {"--logprobs"});
  table.add_switch("--json", flags->json, "print one JSON object; of --jsonl one a text, as without it");
  table.set_examples(kScoreExamples);
  return [flags] { return lists_kernels(flags->engine) ? list_kernels(flags->json) : score(*flags); };
}

}  // namespace rowmax::cli
