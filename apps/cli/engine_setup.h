// From flags to a model that is ready to compute.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "apps/cli/options.h"
#include "rowmax/engine/generate.h"
#include "rowmax/executor.h"
#include "rowmax/result.h"

namespace rowmax::cli {

struct Engine {
  std::unique_ptr<Executor> executor;
  std::unique_ptr<engine::Model> model;
  std::vector<std::string> notices;  // what the user should hear of the model; none with --quiet
};

// Loads the model and, unless --quiet or --no-layout-check, checks a layout that its file leaves open. Unless
// --no-memory-check, memory must have room for it and for a session of these options, where there is to be one. look: as
// Model::load has it.
Result<Engine> load_engine(const EngineFlags& flags, const std::optional<engine::SessionOptions>& session = {},
                           const engine::LookAtPlan& look = {});
Result<engine::ModelOptions> model_options(const EngineFlags& flags);
// A line for each of options' edits that a file's model had already: it changes nothing. Not of the tokenizer, nor of a
// layout: the file and its tokenizer are made with these.
std::vector<std::string> idle_conventions(const engine::GgufFile& file, const engine::ModelOptions& options);
// Of a file whose architecture is not known, with the name that is nearest to it.
Error with_nearest_architecture(Error error, std::string_view architecture);
std::string architecture_of(const engine::GgufFile& file);  // empty: the file names none
// Of commands that load no model: the file and what its tokenizer is made with, as all flags say.
struct TokenizerSetup {
  engine::GgufFile file;
  engine::TokenizerOptions options;
};
Result<TokenizerSetup> open_tokenizer(const EngineFlags& flags);

// The text of the template that find_chat_template() parses; empty where there is none.
Result<std::string> chat_template_source(const engine::Model& model, const TemplateFlags& flags);
// The template that --chat-template names (a file, or Jinja text), else the model's own; null when there is neither.
Result<std::unique_ptr<engine::ChatTemplate>> find_chat_template(const engine::Model& model,
                                                                 const TemplateFlags& flags);
// A system message (where there is one) and what follows, in the form that encode_chat takes.
std::vector<engine::ChatMessage> first_messages(const TemplateFlags& flags);
// The error with the model's file in front, where the message does not name it.
Error with_file(Error error, const engine::Model& model);
// Session::create; errors name the file, and the flag that asked for what it refuses. context_flags: from which
// options.context follows.
Result<engine::Session> open_session(const engine::Model& model, const engine::SessionOptions& options,
                                     Executor& executor, std::string_view context_flags = "-c");
// engine::generate; its errors name the file, and those of a prompt too long for the context or the memory the way out.
Result<engine::GenerateResult> generate(engine::Session& session, engine::SequenceId sequence,
                                        std::span<const engine::TokenId> prompt, const engine::GenerateOptions& options,
                                        const engine::TextSink& sink);
// Seconds since the epoch, for templates that print the date.
std::int64_t now_seconds();

// The whole of a file, or of standard input for "-", without a UTF-8 byte order mark in front. kNotFound, kIo; kLimit above
// 256 MiB.
Result<std::string> read_text(const std::string& path);
// The same for what a model reads: unless keep_newline, without the line end behind the last line, which editors and echo
// put there and which is a token of its own to a model.
Result<std::string> read_prompt(const std::string& path, bool keep_newline);
// The switch --keep-newline of the commands that read one.
void add_keep_newline(Flags& table, bool& keep_newline);

}  // namespace rowmax::cli
