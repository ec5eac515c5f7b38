#include "apps/cli/drafts.h"

#include <algorithm>
#include <utility>

#include "apps/cli/embedded_model.h"
#include "rowmax/try.h"

namespace rowmax::cli {

void add_draft_flags(Flags& table, DraftFlags& flags) {
  table
      .add("--draft-model", flags.model,
           "a smaller model with the same vocabulary guesses ahead: the same text, sooner where it is often right")
      .type("FILE")
      .not_empty();
  table.add_switch("--ngram-drafts", flags.ngrams, "guess ahead what occurred before: the same text, sooner");
}

Result<Drafts> load_drafts(const DraftFlags& flags, const EngineFlags& engine_flags, const Engine& engine,
                           const engine::SessionOptions& session, std::int64_t context) {
  Drafts drafts;
  if (flags.ngrams && !flags.model.empty()) {
    return Error::invalid_argument("--draft-model and --ngram-drafts: expected one of them, found both");
  }
  if (flags.ngrams) {
    ROWMAX_TRY(function, engine::ngram_drafts());
    drafts.function = std::move(function);
  }
  if (flags.model.empty()) return drafts;
  // What the command line says of the file that answers is nothing that this one would have to be.
  EngineFlags own = engine_flags;
  own.pre.clear();
  for (auto* list : {&own.formats, &own.overrides, &own.ignored_keys, &own.conventions}) list->clear();
  ROWMAX_TRY(options, model_options(own));
  ROWMAX_TRY(file, open_model(flags.model, options.gguf));
  ROWMAX_TRY(model, engine::Model::load(std::move(file), options, *engine.executor));
  drafts.model = std::make_unique<engine::Model>(std::move(model));
  if (Status same = engine::check_same_vocabulary(*engine.model, *drafts.model); !same.ok()) {
    return Error{same.error().code, "--draft-model: " + same.error().message};
  }
  engine::SessionOptions of_drafts;
  of_drafts.kv_type = session.kv_type;
  // One more for the fork on which a model guesses that cannot go back everywhere.
  of_drafts.max_sequences = session.max_sequences + 1;
  of_drafts.context = std::min(context, drafts.model->shape().context_length);
  ROWMAX_TRY(opened, open_session(*drafts.model, of_drafts, *engine.executor, "--draft-model, -c"));
  drafts.session = std::make_unique<engine::Session>(std::move(opened));
  ROWMAX_TRY(function, engine::model_drafts(*drafts.session));
  drafts.function = std::move(function);
  return drafts;
}

}  // namespace rowmax::cli
