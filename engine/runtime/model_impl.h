#pragma once

#include <memory>

#include "engine/arch/architecture.h"
#include "engine/model/weights.h"
#include "rowmax/engine/model.h"

namespace rowmax::engine {

struct Model::Impl {
  GgufFile file;
  ModelOptions options;
  const panel::KernelTable* kernels;
  ModelSpec spec;
  ModelDescription description;
  std::shared_ptr<const Tokenizer> tokenizer;
  ModelWeights weights;
  std::string_view chat_template;
};

}  // namespace rowmax::engine
