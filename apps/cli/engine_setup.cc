#include "apps/cli/engine_setup.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <system_error>
#include <utility>

#include "apps/cli/embedded_model.h"
#include "apps/cli/interrupt.h"
#include "apps/cli/layout_memory.h"
#include "apps/cli/nearest.h"
#include "apps/cli/sequence_memory.h"
#include "rowmax/engine/edits.h"
#include "rowmax/try.h"

namespace rowmax::cli {
namespace {

constexpr std::size_t kMaxTextBytes = std::size_t{256} << 20;

Error file_error(const std::string& path, int code) {
  const ErrorCode kind = code == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo;
  return {kind, (path == "-" ? "standard input" : path) + ": " + std::strerror(code)};
}

Result<std::string> read_stream(const std::string& path, std::FILE* stream) {
  std::string text;
  char block[1 << 16];
  for (;;) {
    errno = 0;
    const std::size_t n = std::fread(block, 1, sizeof block, stream);
    text.append(block, n);
    if (text.size() > kMaxTextBytes) {
      return Error{ErrorCode::kLimit, path + ": more than " + std::to_string(kMaxTextBytes >> 20) + " MiB of text"};
    }
    if (n < sizeof block) break;
  }
  if (interrupted()) return Error{ErrorCode::kCancelled, "interrupted"};
  if (std::ferror(stream) != 0) return file_error(path, errno != 0 ? errno : EIO);
  return text;
}

}  // namespace

Result<TokenizerSetup> open_tokenizer(const EngineFlags& flags) {
  engine::GgufOptions gguf{flags.formats};
  engine::TokenizerOptions options;
  options.pre_override = flags.pre;
  ROWMAX_TRY(overrides, key_overrides(flags));
  options.overrides = std::move(overrides);
  options.ignored_keys = flags.ignored_keys;
  ROWMAX_TRY(edits, conventions(flags));
  ROWMAX_RETURN_IF_ERROR(engine::edit_options(edits, gguf, options));
  ROWMAX_TRY(file, open_model(flags.model, gguf));
  return TokenizerSetup{std::move(file), std::move(options)};
}

Result<engine::ModelOptions> model_options(const EngineFlags& flags) {
  engine::ModelOptions options;
  ROWMAX_TRY(kernels, kernels_to_use(flags));
  options.isa = kernels.isa;
  options.kernels = std::move(kernels.choice);
  options.activations = flags.activations == "f32" ? engine::Activations::kF32 : engine::Activations::kInt8;
  options.tokenizer.pre_override = flags.pre;
  options.gguf.formats = flags.formats;
  ROWMAX_TRY(overrides, key_overrides(flags));
  options.overrides = std::move(overrides);
  options.ignored_keys = flags.ignored_keys;
  ROWMAX_TRY(edits, conventions(flags));
  options.edits = std::move(edits);
  options.check_memory = !flags.no_memory_check;
  return options;
}

std::vector<std::string> idle_conventions(const engine::GgufFile& file, const engine::ModelOptions& options) {
  if (options.edits.empty()) return {};
  const auto after = engine::editable_facts(file, options, nullptr);
  if (!after.ok()) return {};  // who reads the model says why
  const auto value_in = [](const std::vector<engine::EditableFact>& facts, std::string_view name) {
    const auto found = std::ranges::find(facts, name, &engine::EditableFact::name);
    return found == facts.end() ? std::string() : found->value;
  };
  std::vector<std::string> lines;
  for (const engine::EditInfo& info : engine::edit_table()) {
    if (info.scope == engine::EditScope::kTokens || info.name == "tensor_layout") continue;
    engine::ModelOptions without = options;  // others may have changed it, too
    if (std::erase_if(without.edits, [&](const auto& edit) { return edit.first == info.name; }) == 0) continue;
    const auto before = engine::editable_facts(file, without, nullptr);
    const std::string value = value_in(*after, info.name);
    if (!before.ok() || value != value_in(*before, info.name)) continue;
    lines.push_back(file.name() + ": --convention " + std::string(info.name) + " changes nothing: it is " + value +
                    " already");
  }
  return lines;
}

Error with_nearest_architecture(Error error, std::string_view architecture) {
  // An architecture that is known and lacks something here has other words behind its name.
  if (architecture.empty() || !error.message.ends_with("found '" + std::string(architecture) + "'")) return error;
  error.message += did_you_mean(architecture, engine::supported_architectures());
  return error;
}

std::string architecture_of(const engine::GgufFile& file) {
  return std::string(file.find_string("general.architecture").value_or(""));
}

Result<Engine> load_engine(const EngineFlags& flags, const std::optional<engine::SessionOptions>& session,
                           const engine::LookAtPlan& look) {
  ROWMAX_TRY(options, model_options(flags));
  engine::GgufOptions gguf = options.gguf;
  engine::TokenizerOptions checked;
  ROWMAX_RETURN_IF_ERROR(engine::edit_options(options.edits, gguf, checked));
  ROWMAX_TRY(file, open_model(flags.model, gguf));
  ROWMAX_TRY(executor, make_thread_pool(flags.threads));
  const std::string architecture = architecture_of(file);
  auto model = engine::Model::load(std::move(file), options, *executor, [&](const engine::LoadPlan& plan) -> Status {
    if (look) ROWMAX_RETURN_IF_ERROR(look(plan));
    return flags.no_memory_check ? Status() : check_room(plan, session);
  });
  if (!model.ok()) return with_nearest_architecture(std::move(model).error(), architecture);
  Engine engine{std::move(executor), std::make_unique<engine::Model>(std::move(model).value()), {}};
  if (!flags.quiet) {
    engine.notices = engine.model->description().notices;
    for (std::string& line : idle_conventions(engine.model->file(), options)) engine.notices.push_back(std::move(line));
    if (!flags.no_layout_check && flags.model != kStoriesName) {  // whose layout is known
      const auto open = [&](const engine::GgufOptions& other) { return open_model(flags.model, other); };
      ROWMAX_TRY(check, remembered_layout_check(*engine.model, open, *engine.executor));
      const std::string warning = layout_warning(check);
      if (!warning.empty()) engine.notices.push_back(engine.model->file().name() + ": " + warning);
    }
  }
  return engine;
}

Result<std::string> chat_template_source(const engine::Model& model, const TemplateFlags& flags) {
  if (flags.chat_template.empty()) return std::string(model.chat_template());
  std::error_code ignored;
  if (std::filesystem::is_regular_file(flags.chat_template, ignored)) return read_text(flags.chat_template);
  if (flags.chat_template.find("{{") != std::string::npos || flags.chat_template.find("{%") != std::string::npos) {
    return flags.chat_template;
  }
  return Error{ErrorCode::kNotFound,
               "--chat-template: " + flags.chat_template + " is neither a file nor Jinja text (no {{ or {% in it)"};
}

Result<std::unique_ptr<engine::ChatTemplate>> find_chat_template(const engine::Model& model,
                                                                 const TemplateFlags& flags) {
  ROWMAX_TRY(source, chat_template_source(model, flags));
  if (source.empty()) return std::unique_ptr<engine::ChatTemplate>();
  auto parsed = engine::ChatTemplate::parse(source);
  if (!parsed.ok()) {
    const bool own = flags.chat_template.empty();
    return Error{parsed.error().code,
                 std::string(own ? "the model's chat template: " : "--chat-template: ") + parsed.error().message +
                     (own ? " (--raw completes plain text, --chat-template FILE replaces it)" : "")};
  }
  return std::make_unique<engine::ChatTemplate>(std::move(parsed).value());
}

std::vector<engine::ChatMessage> first_messages(const TemplateFlags& flags) {
  std::vector<engine::ChatMessage> messages;
  if (!flags.system.empty()) messages.push_back({"system", flags.system});
  return messages;
}

Error with_file(Error error, const engine::Model& model) {
  const std::string name = model.file().name();
  if (error.message.find(name) == std::string::npos) error.message = name + ": " + error.message;
  return error;
}

Result<engine::Session> open_session(const engine::Model& model, const engine::SessionOptions& options,
                                     Executor& executor, std::string_view context_flags) {
  auto session = engine::Session::create(model, options, executor);
  if (session.ok()) return session;
  Error error = with_file(std::move(session).error(), model);
  const auto is_of = [&](const char* option) { return error.message.find(option) != std::string::npos; };
  if (is_of(": kv_type ")) error.message += "; --kv-type f16 and f32 take any";
  if (is_of(": context: ")) error.message += " (" + std::string(context_flags) + ")";
  return error;
}

Result<engine::GenerateResult> generate(engine::Session& session, engine::SequenceId sequence,
                                        std::span<const engine::TokenId> prompt, const engine::GenerateOptions& options,
                                        const engine::TextSink& sink) {
  if (static_cast<std::int64_t>(prompt.size()) > session.context()) {
    const std::int64_t most = session.model().shape().context_length;
    return with_file(
        {ErrorCode::kLimit, "the prompt of " + std::to_string(prompt.size()) + " tokens does not fit the context of " +
                                std::to_string(session.context()) + "; -c sets its size, the model allows " +
                                std::to_string(most)},
        session.model());
  }
  if (Status room = check_room(session, std::ssize(prompt)); !room.ok()) {
    return with_file({room.error().code, "the prompt's " + room.error().message}, session.model());
  }
  auto generation = engine::generate(session, sequence, prompt, options, sink);
  if (!generation.ok()) return with_file(std::move(generation).error(), session.model());
  return generation;
}

std::int64_t now_seconds() { return static_cast<std::int64_t>(std::time(nullptr)); }

Result<std::string> read_text(const std::string& path) {
  std::FILE* file = path == "-" ? stdin : std::fopen(path.c_str(), "rb");
  if (file == nullptr) return file_error(path, errno);
  auto text = read_stream(path, file);
  if (file != stdin) std::fclose(file);
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (text.ok() && text->starts_with(kByteOrderMark)) text->erase(0, kByteOrderMark.size());
  return text;
}

Result<std::string> read_prompt(const std::string& path, bool keep_newline) {
  ROWMAX_TRY(text, read_text(path));
  if (!keep_newline && text.ends_with('\n')) text.resize(text.size() - (text.ends_with("\r\n") ? 2 : 1));
  return text;
}

void add_keep_newline(Flags& table, bool& keep_newline) {
  table.add_switch("--keep-newline", keep_newline,
                   "keep the line end behind the last line of -f FILE or of piped text");
}

}  // namespace rowmax::cli
