// Speculation, as `run` and `serve` take it from the command line: guesses by a smaller model, or by what occurred before.
#pragma once

#include <memory>
#include <string>

#include "apps/cli/engine_setup.h"
#include "apps/cli/options.h"
#include "rowmax/engine/drafts.h"

namespace rowmax::cli {

struct DraftFlags {
  std::string model;
  bool ngrams = false;
};
void add_draft_flags(Flags& table, DraftFlags& flags);

// function uses the session, and that the model: they must outlive what it is given to.
struct Drafts {
  std::unique_ptr<engine::Model> model;
  std::unique_ptr<engine::Session> session;
  engine::DraftFunction function;  // empty: neither flag was given
};
// For so many texts at once of `context` tokens. The draft model is computed by the engine's threads, as --isa, --kernels,
// --activations and --kv-type say. kInvalidArgument for both flags at once, and for a model whose vocabulary differs,
// naming the first token that does.
Result<Drafts> load_drafts(const DraftFlags& flags, const EngineFlags& engine_flags, const Engine& engine,
                           const engine::SessionOptions& session, std::int64_t context);

}  // namespace rowmax::cli
