// rowmax chat: a conversation in the terminal.
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <optional>

#include "apps/cli/command.h"
#include "apps/cli/debug.h"
#include "apps/cli/engine_setup.h"
#include "apps/cli/interrupt.h"
#include "apps/cli/json_output.h"
#include "apps/cli/kernel_list.h"
#include "apps/cli/line_editor.h"
#include "apps/cli/options.h"
#include "apps/cli/terminal.h"
#include "apps/cli/timings.h"
#include "rowmax/try.h"

namespace rowmax::cli {
namespace {

constexpr const char* kChatExamples = R"(
Examples:
  rowmax chat                       with smollm2, once pulled (the built-in model only tells stories)
  rowmax chat -m model.gguf --system "Answer in one sentence." --temp 0.7
  printf 'Hi\nAnd now in French\n' | rowmax chat -m model.gguf --greedy
Inside: /help lists the commands. A line that ends in \ goes on; """ opens and closes a block of lines.
Ctrl-C stops the answer, Ctrl-D ends the chat.
)";

constexpr const char* kHelp =
    "/help           this text\n"
    "/clear          forget the conversation, keep the system message\n"
    "/system TEXT    a new system message, and a new conversation; without TEXT: none\n"
    "/exit           end (as Ctrl-D)\n"
    "A line that ends in \\ goes on; \"\"\" opens and closes a block of lines. Ctrl-C stops the answer.\n";

struct ChatFlags {
  EngineFlags engine;
  SessionFlags session;
  GenerationFlags generation;
  TemplateFlags chat;
  DebugFlags debug;
  bool no_history = false;
};

class Conversation {
 public:
  Conversation(const ChatFlags& flags, engine::SamplingParams sampling, const engine::ChatTemplate& chat_template,
               engine::Session& session, engine::SequenceId sequence)
      : flags_(flags), chat_template_(chat_template), session_(session), sequence_(sequence), system_(flags.chat) {
    options_.max_tokens = flags.generation.max_tokens;
    options_.sampling = std::move(sampling);
    options_.stop = flags.generation.stop;
    options_.cancelled = interrupted;
    clear();
  }

  void clear() { messages_ = first_messages(system_); }
  void set_system(std::string text) {
    system_.system = std::move(text);
    clear();
  }

  // Answers `text`, streaming; the turn is forgotten where it failed. An error that ends only this turn (no room for
  // the prompt, the template refuses the messages) is shown; others end the chat.
  Status answer(const std::string& text) {
    const std::size_t before = messages_.size();
    messages_.push_back({"user", text});
    auto generation = generate();
    std::fputc('\n', stdout);
    ROWMAX_RETURN_IF_ERROR(flush_output());
    if (!generation.ok()) {
      messages_.resize(before);
      const ErrorCode code = generation.error().code;
      if (code == ErrorCode::kLimit || code == ErrorCode::kInvalidArgument) {
        error(generation.error().message + " (/clear starts anew)");
        if (first_refusal_ == ExitCode::kOk) first_refusal_ = exit_code(code);
        return {};
      }
      return std::move(generation).error();
    }
    messages_.push_back({"assistant", generation->text});
    if (!flags_.engine.quiet) {
      std::fprintf(stderr, "%s\n", dim(timings_line(*generation, flags_.session.kv_budget), STDERR_FILENO).c_str());
    }
    return {};
  }

  // Of the first turn that was refused; kOk where none was.
  ExitCode first_refusal() const { return first_refusal_; }

 private:
  Result<engine::GenerateResult> generate() {
    // The next turn begins like this one: generate() computes only what the cache does not hold yet.
    auto prompt = engine::encode_chat(session_.model(), chat_template_, messages_, true, now_seconds(), nullptr);
    if (!prompt.ok()) return with_file(std::move(prompt).error(), session_.model());
    return cli::generate(session_, sequence_, *prompt, options_, [&](std::string_view text) {
      const std::string visible = shown(text, STDOUT_FILENO);
      std::fwrite(visible.data(), 1, visible.size(), stdout);
      std::fflush(stdout);
      return !interrupted();
    });
  }

  const ChatFlags& flags_;
  const engine::ChatTemplate& chat_template_;
  engine::Session& session_;
  engine::SequenceId sequence_;
  TemplateFlags system_;
  engine::GenerateOptions options_;
  std::vector<engine::ChatMessage> messages_;
  ExitCode first_refusal_ = ExitCode::kOk;
};

// Returns false for /exit.
bool obey(const std::string& command, Conversation& conversation, bool quiet) {
  const std::size_t space = command.find(' ');
  const std::string name = command.substr(0, space);
  if (name == "/exit" || name == "/quit" || name == "/bye") return false;
  if (name == "/help") {
    std::fputs(kHelp, stderr);
  } else if (name == "/clear") {
    conversation.clear();
    if (!quiet) note("a new conversation");
  } else if (name == "/system") {
    const std::string text = space == std::string::npos ? "" : command.substr(space + 1);
    conversation.set_system(text);
    if (!quiet) note(text.empty() ? "no system message; a new conversation" : "new system message; a new conversation");
  } else {
    error("no command " + name + "; /help lists them");
  }
  return true;
}

// A person has seen what was refused; a script learns it from the exit code.
Result<ExitCode> converse(const ChatFlags& flags, Conversation& conversation) {
  const bool keyboard = is_terminal(STDIN_FILENO);
  LineEditor editor(flags.no_history || !keyboard ? "" : default_history_file());
  if (keyboard && !flags.engine.quiet) note("/help lists the commands; Ctrl-D ends the chat");
  std::string input;
  for (;;) {
    const LineEditor::Outcome outcome = read_input(editor, input);
    if (outcome == LineEditor::Outcome::kInterrupted) {
      if (!keyboard) return Error{ErrorCode::kCancelled, "interrupted"};
      std::fputs("\n", stderr);
      if (!flags.engine.quiet) note("Ctrl-D or /exit ends the chat");
      continue;
    }
    if (outcome == LineEditor::Outcome::kEnd) {
      if (keyboard) std::fputc('\n', stderr);
      break;
    }
    if (input.empty()) continue;
    if (input.starts_with('/') && input.find('\n') == std::string::npos) {
      if (!obey(input, conversation, flags.engine.quiet)) break;
      continue;
    }
    ROWMAX_RETURN_IF_ERROR(conversation.answer(input));
  }
  return keyboard ? ExitCode::kOk : conversation.first_refusal();
}

Result<ExitCode> chat(const ChatFlags& flags) {
  ROWMAX_TRY(sampling, sampling_params(flags.generation.sampling));
  ROWMAX_TRY(engine, load_engine(flags.engine, session_options(flags.session)));
  for (const std::string& notice : engine.notices) note(notice);
  ROWMAX_RETURN_IF_ERROR(engine::validate(sampling, engine.model->shape().n_vocab));
  ROWMAX_TRY(chat_template, find_chat_template(*engine.model, flags.chat));
  if (chat_template == nullptr) {
    return Error{ErrorCode::kUnsupported,
                 engine.model->file().name() +
                     " has no chat template, so it cannot be talked with: `rowmax run` goes on with plain text, "
                     "--chat-template FILE brings a template"};
  }
  engine::SessionOptions options = session_options(flags.session);
  ROWMAX_TRY(session, open_session(*engine.model, options, *engine.executor));
  ROWMAX_TRY(debug, debug_observer(flags.debug, session));
  session.set_observer(debug.get());
  ROWMAX_TRY(sequence, session.open());
  Conversation conversation(flags, std::move(sampling), *chat_template, session, sequence);
  return converse(flags, conversation);
}

}  // namespace

CommandBody declare_chat(Flags& table) {
  auto flags = std::make_shared<ChatFlags>();
  flags->engine.model = "smollm2";  // the story model cannot talk
  add_template_flags(table, flags->chat);
  add_generation_flags(table, flags->generation);
  add_engine_flags(table, flags->engine);
  add_session_flags(table, flags->session);
  add_debug_flags(table, flags->debug);
  table.add_switch("--no-history", flags->no_history, "neither read nor keep the history of inputs");
  table.set_examples(kChatExamples);
  return [flags] { return lists_kernels(flags->engine) ? list_kernels(false) : chat(*flags); };
}

}  // namespace rowmax::cli
