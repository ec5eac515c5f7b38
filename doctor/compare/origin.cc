#include "doctor/compare/origin.h"

#include <algorithm>

#include "engine/io/json.h"
#include "rowmax/try.h"

namespace rowmax::doctor {
namespace {

using engine::Stage;

std::string text_of(const Reference& reference, const char* key) {
  const auto found = reference.metadata.find(key);
  return found == reference.metadata.end() ? "" : found->second;
}

Status compare_facts(const engine::Model& model, const Reference& reference, ReferenceOrigin& origin) {
  const auto parsed = engine::parse_json(text_of(reference, "facts"), reference.name);
  if (!parsed.ok() && parsed.error().code == ErrorCode::kOutOfMemory) return Error(parsed.error());
  if (!parsed.ok()) return {};  // it says nothing, or nothing that is known
  for (const engine::ModelFact& ours : model.description().facts) {
    const engine::Json theirs = parsed->root().find(ours.name);
    if (!theirs.is_string() || theirs.as_string() == ours.value) continue;
    origin.differences.push_back(ours.name + ": " + std::string(theirs.as_string()) + " there, " + ours.value +
                                 " here");
  }
  return {};
}

// What no engine can have made of this model.
void compare_shapes(const engine::Model& model, const Reference& reference, ReferenceOrigin& origin) {
  const engine::ModelShape& shape = model.shape();
  const auto compare = [&](const char* name, std::int64_t theirs, std::int64_t ours) {
    if (theirs == ours) return;
    origin.differences.push_back(std::string(name) + ": " + std::to_string(theirs) + " there, " + std::to_string(ours) +
                                 " here");
  };
  if (const StageValues* logits = reference.find(Stage::kLogits, -1))
    compare("vocabulary", logits->width, shape.n_vocab);
  const auto of_stream = std::ranges::find_if(reference.stages, [](const StageValues& stage) {
    return stage.stage == Stage::kResidual || stage.stage == Stage::kEmbedding || stage.stage == Stage::kOutputNorm;
  });
  if (of_stream != reference.stages.end()) compare("width of the stream", of_stream->width, shape.n_embd);
  std::int64_t n_layer = 0;
  for (const StageValues& stage : reference.stages) n_layer = std::max(n_layer, stage.layer + 1);
  if (n_layer > shape.n_layer) compare("layers", n_layer, shape.n_layer);
}

}  // namespace

Result<ReferenceOrigin> origin_of(const engine::Model& model, const Reference& reference) {
  ReferenceOrigin origin;
  origin.model = text_of(reference, "model");
  ROWMAX_RETURN_IF_ERROR(compare_facts(model, reference, origin));
  compare_shapes(model, reference, origin);
  return origin;
}

}  // namespace rowmax::doctor
