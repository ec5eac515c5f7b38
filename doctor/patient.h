// What the checks look at: one file, read and computed with as far as that goes. Everything is made when it is first asked
// for, and made once.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "rowmax/doctor/doctor.h"
#include "rowmax/engine/session.h"

namespace rowmax::doctor {

// A piece of the fixed text: a few hundred bytes that stand alone. Pieces of one kind (prose, story, code) follow one another.
struct TextPiece {
  std::string_view kind, text;
  std::vector<engine::TokenId> tokens;  // with BOS where the model adds one
};
// Pieces without tokens.
std::span<const TextPiece> fixed_text() noexcept;

class Patient {
 public:
  Patient(const OpenFile& open, const DoctorOptions& options, Executor& executor)
      : open_(open), options_(options), executor_(executor) {}

  const DoctorOptions& options() const noexcept { return options_; }
  Executor& executor() noexcept { return executor_; }

  // The file, header and all; its error where it is no GGUF file.
  Result<const engine::GgufFile*> file();
  // Opened once more with the layouts that its sizes suggest, whatever options say of them.
  Result<engine::GgufFile> file_as_sizes_suggest() const;
  // What the file describes, without its tensors' numbers.
  Result<const engine::ModelDescription*> description();
  // What the file says of each layer, with the options' overrides and edits: its architecture's conventions.
  Result<const std::vector<std::vector<engine::EditableFact>>*> conventions();
  Result<const engine::Tokenizer*> tokenizer();
  // Loaded with the options' edits; its error where the engine refuses it.
  Result<const engine::Model*> model();
  // The fixed text that losses are measured on, as this model's tokens.
  Result<const std::vector<TextPiece>*> text();

  // progress of the check that runs; kCancelled where the caller wants no more.
  Status step(double fraction);
  // kOutOfMemory where that is why something could not be made: no verdict on the model.
  Status memory() const;

 private:
  friend Result<Report> diagnose(const OpenFile& open, const DoctorOptions& options, Executor& executor);
  const OpenFile& open_;
  const DoctorOptions& options_;
  Executor& executor_;
  std::string_view check_;  // that runs
  std::optional<Result<engine::GgufFile>> file_;
  std::optional<Result<engine::ModelDescription>> description_;
  std::optional<Result<std::vector<std::vector<engine::EditableFact>>>> conventions_;
  std::optional<Result<engine::Tokenizer>> tokenizer_;
  std::optional<Result<engine::Model>> model_;
  std::optional<Result<std::vector<TextPiece>>> text_;
};

}  // namespace rowmax::doctor
