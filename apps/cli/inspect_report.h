// What `rowmax inspect` knows of a file, as text and as JSON.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "apps/cli/json_output.h"
#include "rowmax/engine/chat_template.h"
#include "rowmax/engine/model.h"
#include "rowmax/engine/tokenizer.h"

namespace rowmax::cli {

struct Inspection {
  const engine::GgufFile& file;
  // What the engine would do with it, its tokenizer, its chat template: each with the error that stands in its way.
  Result<engine::ModelDescription> description;
  Result<engine::Tokenizer> tokenizer;
  std::string chat_template;                              // empty: the file has none
  std::optional<Error> template_error;                    // why it cannot be used
  Result<engine::KernelVariant> kernels;                  // that would run here
  std::vector<engine::KeyReport> keys;                    // what becomes of those of the architecture and the tokenizer
  Result<std::vector<engine::EditableFact>> conventions;  // what --convention can change, as it is with that

  // Why the model cannot be run; nullptr where it can.
  const Error* first_error() const;
};

// options: with the overrides and ignored keys of the model too. File and options are those of the edits. kernels: what
// would run here, or why nothing can.
Result<Inspection> inspect_file(const engine::GgufFile& file, const engine::TokenizerOptions& options,
                                const engine::Edits& edits, Result<engine::KernelVariant> kernels);

// all: every tensor and the whole of long lists, where the default folds layers that are alike and cuts lists.
std::string inspection_text(const Inspection& inspection, bool all);
Json inspection_json(const Inspection& inspection);

}  // namespace rowmax::cli
