#include "doctor/patient.h"

#include "rowmax/engine/chat.h"
#include "rowmax/try.h"

namespace rowmax::doctor {
namespace {

// A pointer into what was made, or why it was not.
template <class T>
Result<const T*> made(const std::optional<Result<T>>& result) {
  if (!result->ok()) return Error(result->error());
  return &result->value();
}

}  // namespace

Result<const engine::GgufFile*> Patient::file() {
  if (!file_) {
    engine::GgufOptions gguf = options_.model.gguf;
    engine::TokenizerOptions tokenizer;
    const Status edited = engine::edit_options(options_.model.edits, gguf, tokenizer);
    file_ = edited.ok() ? open_(gguf) : Result<engine::GgufFile>(Error(edited.error()));
  }
  return made(file_);
}

Result<engine::GgufFile> Patient::file_as_sizes_suggest() const {
  engine::GgufOptions gguf = options_.model.gguf;
  gguf.formats.clear();
  return open_(gguf);
}

Result<const engine::ModelDescription*> Patient::description() {
  if (!description_) {
    const auto opened = file();
    description_ = opened.ok() ? engine::describe_model(**opened, options_.model.overrides, options_.model.ignored_keys)
                               : Result<engine::ModelDescription>(Error(opened.error()));
  }
  return made(description_);
}

Result<const std::vector<std::vector<engine::EditableFact>>*> Patient::conventions() {
  if (!conventions_) {
    conventions_ = [&]() -> Result<std::vector<std::vector<engine::EditableFact>>> {
      ROWMAX_TRY(opened, file());
      return engine::facts_of_layers(*opened, options_.model);
    }();
  }
  return made(conventions_);
}

Result<const engine::Tokenizer*> Patient::tokenizer() {
  if (model_ && model_->ok()) return &model_->value().tokenizer();
  if (!tokenizer_) {
    tokenizer_ = [&]() -> Result<engine::Tokenizer> {
      ROWMAX_TRY(opened, file());
      engine::TokenizerOptions tokenizer = options_.model.tokenizer;
      tokenizer.overrides = options_.model.overrides;
      tokenizer.ignored_keys = options_.model.ignored_keys;
      if (const auto described = description(); described.ok()) tokenizer.default_pre = (*described)->default_pre;
      engine::GgufOptions gguf;
      ROWMAX_RETURN_IF_ERROR(engine::edit_options(options_.model.edits, gguf, tokenizer));
      return engine::Tokenizer::from_gguf(*opened, tokenizer);
    }();
  }
  return made(tokenizer_);
}

Result<const engine::Model*> Patient::model() {
  if (!model_) {
    model_ = [&]() -> Result<engine::Model> {
      ROWMAX_TRY(opened, file());
      ROWMAX_TRY(own, opened->reopen());
      return engine::Model::load(std::move(own), options_.model, executor_);
    }();
  }
  return made(model_);
}

Result<const std::vector<TextPiece>*> Patient::text() {
  if (!text_) {
    text_ = [&]() -> Result<std::vector<TextPiece>> {
      ROWMAX_TRY(loaded, model());
      std::vector<TextPiece> pieces;
      for (const TextPiece& piece : fixed_text()) {
        ROWMAX_TRY(tokens, engine::encode_prompt(*loaded, piece.text, false));
        pieces.push_back({piece.kind, piece.text, std::move(tokens)});
      }
      return pieces;
    }();
  }
  return made(text_);
}

Status Patient::memory() const {
  Status out;
  const auto look = [&](const auto& result) {
    if (result && !result->ok() && result->error().code == ErrorCode::kOutOfMemory) out = Error(result->error());
  };
  look(file_);
  look(description_);
  look(conventions_);
  look(tokenizer_);
  look(model_);
  look(text_);
  return out;
}

Status Patient::step(double fraction) {
  if (!options_.progress || options_.progress(check_, fraction)) return {};
  return Error{ErrorCode::kCancelled, "cancelled"};
}

}  // namespace rowmax::doctor
