// rowmax tokenize: text to token ids. Reads the tokenizer alone, so that files without weights work too.
#include <unistd.h>

#include <cstdio>
#include <memory>

#include "apps/cli/command.h"
#include "apps/cli/embedded_model.h"
#include "apps/cli/engine_setup.h"
#include "apps/cli/json_output.h"
#include "apps/cli/options.h"
#include "apps/cli/terminal.h"
#include "rowmax/engine/tokenizer.h"
#include "rowmax/try.h"

namespace rowmax::cli {
namespace {

constexpr const char* kTokenizeExamples = R"(
Examples:
  rowmax tokenize -m model.gguf -p "Hello world"
  rowmax tokenize -m model.gguf -f text.txt --json
  rowmax tokenize -m model.gguf -p "<|im_start|>user" --special     control tokens are parsed
No BOS is added unless --bos asks for it.
)";

struct TokenizeFlags {
  EngineFlags engine;
  std::string prompt, file;
  bool special = false, bos = false, json = false, keep_newline = false;
};

Result<ExitCode> tokenize(const TokenizeFlags& flags) {
  if (flags.prompt.empty() == flags.file.empty()) {
    return Error{ErrorCode::kInvalidArgument, "give either -p TEXT or -f FILE"};
  }
  std::string text = flags.prompt;
  if (!flags.file.empty()) {
    ROWMAX_TRY(content, read_prompt(flags.file, flags.keep_newline));
    text = std::move(content);
  }
  ROWMAX_TRY(setup, open_tokenizer(flags.engine));
  auto& [file, options] = setup;
  // A file may hold a vocabulary alone: then no architecture has a say.
  if (auto description = engine::describe_model(file); description.ok()) options.default_pre = description->default_pre;
  ROWMAX_TRY(tokenizer, engine::Tokenizer::from_gguf(file, options));
  if (!flags.engine.quiet) {
    for (const std::string& notice : tokenizer.notices()) note(notice);
  }
  ROWMAX_TRY(ids, tokenizer.encode(text, flags.special));
  if (flags.bos) {
    if (tokenizer.bos() < 0) return Error{ErrorCode::kUnsupported, "--bos: the model's tokenizer has no BOS token"};
    ids.insert(ids.begin(), tokenizer.bos());
  }
  std::vector<std::string> pieces;
  pieces.reserve(ids.size());
  for (const engine::TokenId id : ids) {
    ROWMAX_TRY(piece, tokenizer.piece(id, true));
    pieces.push_back(std::move(piece));
  }
  if (flags.json) {
    ROWMAX_RETURN_IF_ERROR(print_json({{"tokens", ids}, {"pieces", pieces}}));
    return ExitCode::kOk;
  }
  for (std::size_t i = 0; i < ids.size(); ++i) {
    // As JSON strings, so that spaces and line ends can be seen.
    const std::string quoted = Json(pieces[i]).dump();
    std::printf("%8d  %s\n", ids[i], shown(quoted, STDOUT_FILENO).c_str());
  }
  return ExitCode::kOk;
}

}  // namespace

CommandBody declare_tokenize(Flags& table) {
  auto flags = std::make_shared<TokenizeFlags>();
  table.add("-p,--prompt", flags->prompt, "the text").type("TEXT");
  table.add("-f,--file", flags->file, "file with the text; - is standard input").type("FILE");
  add_keep_newline(table, flags->keep_newline);
  table.choose_one({{"--file"}, {"--prompt"}});
  table.apart("--keep-newline", {"--prompt"});
  table.add_switch("--special", flags->special, "the texts of control tokens become those tokens");
  table.add_switch("--bos", flags->bos, "put the model's BOS token first");
  add_model_flag(table, flags->engine);
  table.add_switch("--json", flags->json, "print one JSON object");
  table.set_examples(kTokenizeExamples);
  return [flags] { return tokenize(*flags); };
}

}  // namespace rowmax::cli
