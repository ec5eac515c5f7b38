// rowmax run: one prompt, one answer.
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <limits>
#include <memory>

#include "apps/cli/command.h"
#include "apps/cli/constraint.h"
#include "apps/cli/debug.h"
#include "apps/cli/drafts.h"
#include "apps/cli/embedded_model.h"
#include "apps/cli/engine_setup.h"
#include "apps/cli/interrupt.h"
#include "apps/cli/json_output.h"
#include "apps/cli/kernel_list.h"
#include "apps/cli/options.h"
#include "apps/cli/pull.h"
#include "apps/cli/receipt.h"
#include "apps/cli/terminal.h"
#include "apps/cli/timings.h"
#include "rowmax/try.h"

namespace rowmax::cli {
namespace {

constexpr const char* kRunExamples = R"(
Examples:
  rowmax run                                               a short story, from the model in the program
  rowmax run "a story about a fox and a kite" --seed 7     another one
  rowmax run -m smollm2 "Why is the sky blue?" --pull      an answer, from a model that is fetched once
  rowmax run -m model.gguf -f question.txt -n 200 --greedy
  rowmax run -m smollm2 "Ada is 36. As JSON:" --json-schema '{"type": "object", "properties": {"name": {"type": "string"}}}'
  git diff | rowmax run -m model.gguf "Say in one sentence what this changes:"
  rowmax run -m gemma3 --raw -p "The capital of France is" -n 16
  rowmax run -p Hi --seed 7 --temp 0.7 --json | jq -r .text
The prompt is text for the model's chat template; without a template, or with --raw, plain text to go on with.
)";

constexpr const char* kStoriesNote =
    "the built-in model only tells short stories; for answers: rowmax run -m smollm2 --pull \"...\" (fetches 98 MB "
    "once)";

constexpr int kPipeSilenceMs = 2000;

struct RunFlags {
  EngineFlags engine;
  SessionFlags session;
  GenerationFlags generation;
  ConstraintFlags constraint;
  TemplateFlags chat;
  DebugFlags debug;
  DraftFlags drafts;
  std::string prompt, file, tokens, receipt;
  std::vector<std::string> words;
  bool prompt_named = false, raw = false, json = false, pull = false, ignore_eos = false, keep_newline = false,
       force = false;
};

// What the model is to go on from: token ids, or text.
struct PromptSource {
  std::string text, tokens;
  bool shown = false;  // a text of ours: shown before what the model makes of it
};

// Whether something is piped in: a pipe or a file, not the terminal, /dev/null or the closed input of a service.
bool has_piped_text() {
  struct stat info = {};
  return fstat(STDIN_FILENO, &info) == 0 && (S_ISFIFO(info.st_mode) || S_ISREG(info.st_mode) || S_ISSOCK(info.st_mode));
}

// Piped text goes behind the question that the flags or words ask about it.
Result<std::string> with_piped_text(const RunFlags& flags, std::string text) {
  if (!has_piped_text()) return text;
  if (!text.empty() && !flags.engine.quiet) {
    pollfd input = {STDIN_FILENO, POLLIN, 0};
    if (poll(&input, 1, kPipeSilenceMs) == 0) {
      note("waiting for the text that is piped in, which goes behind the prompt (</dev/null: there is none)");
    }
  }
  ROWMAX_TRY(piped, read_prompt("-", flags.keep_newline));
  if (!text.empty() && !piped.empty()) text += '\n';
  return text + piped;
}

Result<PromptSource> find_prompt(const RunFlags& flags) {
  std::string words;
  for (const std::string& word : flags.words) words += (words.empty() ? "" : " ") + word;
  const int given = !flags.prompt.empty() + !words.empty() + !flags.file.empty() + !flags.tokens.empty();
  if (given > 1) {
    return Error{ErrorCode::kInvalidArgument, "give one prompt: -p TEXT, -f FILE, --tokens IDS or plain words"};
  }
  PromptSource source;
  source.tokens = flags.tokens;
  source.text = flags.prompt + words;
  if (!flags.file.empty()) {
    ROWMAX_TRY(text, read_prompt(flags.file, flags.keep_newline));
    source.text = std::move(text);
  } else if (flags.tokens.empty()) {
    ROWMAX_TRY(text, with_piped_text(flags, std::move(source.text)));
    source.text = std::move(text);
  }
  // An empty -p is a script's empty variable, and no wish for a story.
  if (source.text.empty() && source.tokens.empty() && flags.engine.model == kStoriesName && !flags.prompt_named) {
    source.text = kStoriesPrompt;
    source.shown = true;
  }
  if (source.text.empty() && source.tokens.empty()) {
    return Error{ErrorCode::kInvalidArgument, "no prompt: give -p TEXT, -f FILE, --tokens IDS or plain words"};
  }
  return source;
}

Result<std::vector<engine::TokenId>> encode(const engine::Model& model, const RunFlags& flags,
                                            const PromptSource& source) {
  if (!source.tokens.empty()) {
    ROWMAX_TRY(ids, parse_integers(source.tokens, "--tokens", 0, model.shape().n_vocab - 1));
    return std::vector<engine::TokenId>(ids.begin(), ids.end());
  }
  std::unique_ptr<engine::ChatTemplate> chat_template;
  if (!flags.raw) {
    ROWMAX_TRY(found, find_chat_template(model, flags.chat));
    chat_template = std::move(found);
  }
  if (chat_template != nullptr) {
    std::vector<engine::ChatMessage> messages = first_messages(flags.chat);
    messages.push_back({"user", source.text});
    return engine::encode_chat(model, *chat_template, messages, true, now_seconds(), nullptr);
  }
  if (!flags.chat.system.empty()) {
    return Error{ErrorCode::kInvalidArgument,
                 "--system needs a chat template: the model has none; give --chat-template"};
  }
  if (!flags.raw && !flags.engine.quiet) note("the model has no chat template: going on with plain text");
  return engine::encode_prompt(model, source.text, false);
}

engine::OutputOptions receipt_output(const RunFlags& flags, const engine::Model& model) {
  engine::OutputOptions output{.overwrite = flags.force, .inputs = {flags.file, flags.chat.chat_template}};
  output.inputs.insert(output.inputs.end(), model.file().paths().begin(), model.file().paths().end());
  return output;
}

Status print_result(const RunFlags& flags, std::span<const engine::TokenId> prompt,
                    const engine::GenerateResult& generation) {
  if (flags.json) {
    return print_json({{"prompt_tokens", prompt},
                       {"tokens", generation.tokens},
                       {"text", generation.text},
                       {"stop", stop_name(generation)},
                       {"timings", timings_json(generation.timings)}});
  }
  if (!generation.text.ends_with('\n')) std::fputc('\n', stdout);
  ROWMAX_RETURN_IF_ERROR(flush_output());
  if (!flags.engine.quiet) {
    std::fprintf(stderr, "%s\n", dim(timings_line(generation, flags.session.kv_budget), STDERR_FILENO).c_str());
  }
  return {};
}

// What made tokens of the prompt's text.
Result<Json> template_of(const engine::Model& model, const RunFlags& flags, const PromptSource& source) {
  if (flags.raw || !source.tokens.empty()) return template_json("none", "");
  ROWMAX_TRY(text, chat_template_source(model, flags.chat));
  return template_json(text.empty() ? "none" : flags.chat.chat_template.empty() ? "model" : "--chat-template", text);
}

Status write_receipt(const RunFlags& flags, const Engine& engine, const engine::Session& session,
                     const PromptSource& source, std::span<const engine::TokenId> prompt,
                     const engine::GenerateOptions& options, const engine::GenerateResult& generation) {
  ROWMAX_TRY(receipt, receipt_head("generation", engine, flags.engine, flags.session, session));
  ROWMAX_TRY(chat_template, template_of(*engine.model, flags, source));
  receipt.append("template", std::move(chat_template));
  ROWMAX_TRY(rest, generation_json(prompt, options, generation, stop_name(generation)));
  receipt.update(rest);
  const Comparison none{.name = "generation", .detail = "rowmax verify-receipt computes it again"};
  Json comparisons = Json::array();
  comparisons.push_back(none.json());
  receipt.append("comparisons", std::move(comparisons));
  receipt.append("verdict", none.verdict());
  return write_json(flags.receipt, receipt_output(flags, *engine.model), receipt);
}

Result<ExitCode> run(const RunFlags& flags) {
  if (flags.raw && (!flags.chat.system.empty() || !flags.chat.chat_template.empty())) {
    return Error{ErrorCode::kInvalidArgument, "--raw means no chat template: leave out --system and --chat-template"};
  }
  ROWMAX_TRY(source, find_prompt(flags));
  ROWMAX_TRY(sampling, sampling_params(flags.generation.sampling));
  ROWMAX_TRY(grammar, constraint_grammar(flags.constraint));
  if (flags.pull) ROWMAX_RETURN_IF_ERROR(pull_if_missing(flags.engine.model, flags.engine.quiet));
  ROWMAX_TRY(engine, load_engine(flags.engine, session_options(flags.session)));
  for (const std::string& notice : engine.notices) note(notice);
  if (flags.engine.model == kStoriesName && !flags.engine.quiet) note(kStoriesNote);
  ROWMAX_RETURN_IF_ERROR(engine::validate(sampling, engine.model->shape().n_vocab));
  auto encoded = encode(*engine.model, flags, source);
  if (!encoded.ok()) return with_file(std::move(encoded).error(), *engine.model);
  const std::vector<engine::TokenId> prompt = std::move(encoded).value();

  ROWMAX_TRY(session, open_session(*engine.model, session_options(flags.session), *engine.executor));
  ROWMAX_TRY(debug, debug_observer(flags.debug, session));
  session.set_observer(debug.get());
  ROWMAX_TRY(sequence, session.open());

  engine::GenerateOptions options;
  options.max_tokens = flags.generation.max_tokens;
  options.sampling = std::move(sampling);
  options.stop = flags.generation.stop;
  options.ignore_eos = flags.ignore_eos;
  options.cancelled = interrupted;
  ROWMAX_TRY(drafts,
             load_drafts(flags.drafts, flags.engine, engine, session_options(flags.session), session.context()));
  options.draft = drafts.function;
  if (grammar) {
    ROWMAX_TRY(mask, constraint_mask(*grammar, *engine.model));
    options.token_mask = std::move(mask);
  }
  if (!flags.receipt.empty()) {
    ROWMAX_RETURN_IF_ERROR(engine::check_output(flags.receipt, receipt_output(flags, *engine.model)));
    ask_for_margins(options);
  }
  const engine::TextSink sink = [&](std::string_view text) {
    if (!flags.json) {
      const std::string visible = shown(text, STDOUT_FILENO);
      std::fwrite(visible.data(), 1, visible.size(), stdout);
      std::fflush(stdout);
    }
    return !interrupted();
  };
  if (source.shown) sink(source.text);
  ROWMAX_TRY(generation, cli::generate(session, sequence, prompt, options, sink));
  ROWMAX_RETURN_IF_ERROR(print_result(flags, prompt, generation));
  if (!flags.receipt.empty()) {
    ROWMAX_RETURN_IF_ERROR(write_receipt(flags, engine, session, source, prompt, options, generation));
  }
  return generation.reason == engine::StopReason::kCancelled ? ExitCode::kInterrupted : ExitCode::kOk;
}

}  // namespace

CommandBody declare_run(Flags& table) {
  auto flags = std::make_shared<RunFlags>();
  table.add_words("words", flags->words, "the prompt, as one argument or several words").type("PROMPT");
  table.add("-p,--prompt", flags->prompt, "the prompt; piped text goes behind it")
      .type("TEXT")
      .tells(flags->prompt_named);
  table.add("-f,--file", flags->file, "file with the prompt; - is standard input").type("FILE");
  table.add("--tokens", flags->tokens, "the prompt as token ids, 1,2,3").type("IDS");
  add_keep_newline(table, flags->keep_newline);
  table.add_switch("--raw", flags->raw, "no chat template: go on with the text as it is");
  add_template_flags(table, flags->chat);
  add_generation_flags(table, flags->generation);
  add_constraint_flags(table, flags->constraint);
  add_draft_flags(table, flags->drafts);
  table.add_switch("--ignore-eos", flags->ignore_eos, "do not stop where the model says that it is done");
  add_engine_flags(table, flags->engine);
  add_session_flags(table, flags->session);
  add_debug_flags(table, flags->debug);
  table.add_switch("--pull", flags->pull, "fetch a model that -m names and that is not here yet");
  table.add("--receipt", flags->receipt, "write what was computed, from what and by what (docs/receipts.md)")
      .type("FILE")
      .not_empty();
  table.add_switch("--force", flags->force, "replace an existing --receipt file");
  table.add_switch("--json", flags->json, "print one JSON object when done");
  table.choose_one({{"words"}, {"--file"}, {"--tokens"}, {"--prompt"}});
  table.only_with("--force", {"--receipt"});
  // What a receipt says must be what anybody can compute again from it, and the end of such a text is its own.
  for (const char* flag : {"--receipt", "--ignore-eos"}) table.apart(flag, {"--json-schema", "--grammar", "--regex"});
  table.apart("--tokens", {"--system", "--chat-template", "--keep-newline"});
  table.set_examples(kRunExamples);
  return [flags] { return lists_kernels(flags->engine) ? list_kernels(flags->json) : run(*flags); };
}

}  // namespace rowmax::cli
