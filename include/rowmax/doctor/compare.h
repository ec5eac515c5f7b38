// Comparison with another engine: what it computed at each stage, at the same token ids, beside what rowmax computes; where
// both part first, and which known-wrong variant of that one operation gives the other's numbers.
//
// Every stage is judged by itself: rowmax computes it from the reference's own numbers of the stages before, so that a
// fault shows where it is and not behind it, and several faults show each by itself.
//
// Functions here may be called from any thread, each with an executor of its own.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rowmax/doctor/report.h"
#include "rowmax/engine/model.h"
#include "rowmax/engine/session.h"
#include "rowmax/engine/trace.h"
#include "rowmax/executor.h"
#include "rowmax/result.h"

namespace rowmax::doctor {

// One stage of one layer: [positions.size()][width].
struct StageValues {
  engine::Stage stage = engine::Stage::kCount;
  std::int64_t layer = -1;              // -1: none (embedding, output_norm, logits)
  std::vector<std::int64_t> positions;  // of the rows' tokens, ascending
  std::int64_t width = 0;               // of a row, all heads behind each other
  std::vector<float> values;

  std::span<const float> row(std::size_t i) const {
    return std::span(values).subspan(i * static_cast<std::size_t>(width), static_cast<std::size_t>(width));
  }
};
std::string stage_text(engine::Stage stage, std::int64_t layer);  // "blk.3.q", "logits"

// What an engine computed for a sequence of tokens.
struct Reference {
  std::string name;  // for messages: the file
  std::vector<engine::TokenId> tokens;
  std::vector<StageValues> stages;              // by layer, stages in the order of engine::Stage; embedding first
  std::map<std::string, std::string> metadata;  // other than the tokens
  std::vector<std::string> notices;             // tensors of the file that are no stage

  const StageValues* find(engine::Stage stage, std::int64_t layer) const;  // nullptr: not there
};

// A file in the form of `rowmax dump` (docs/cli.md): safetensors, or .npz with members blk.N.STAGE.npy and tokens.npy;
// f64, f32, f16 or bf16; [tokens, width], more dims behind the first one, and 1s in front, are taken as one width; one row
// alone is that of the last token. Errors: kNotFound, kIo; kCorrupt for what breaks its format, for two stages
// that hold the same bits where no computation gives that (a dump of buffers that were used again), for a wrong number of rows;
// kNumericFault naming tensor, token and number for a NaN or infinity; kUnsupported for compressed members where this
// build cannot read them; kInvalidArgument where the file has no tokens and `tokens` is empty, or has others.
Result<Reference> read_reference(const std::string& path, std::span<const engine::TokenId> tokens = {});
// What read_reference refuses in values, for references from elsewhere; sorts the stages.
Status check_reference(Reference& reference);

// What rowmax itself computes; kLimit past 4 GiB of it.
Result<Reference> run_reference(const engine::Model& model, const engine::SessionOptions& options,
                                std::span<const engine::TokenId> tokens, Executor& executor);

// How far one stage of one layer is from the reference.
struct StageDifference {
  engine::Stage stage = engine::Stage::kCount;
  std::int64_t layer = -1;
  double relative_l2 = 0;   // |ours - theirs| / |theirs|, of the worst row
  double cosine = 1;        // of the same row
  double max_abs = 0;       // of all rows
  double tolerance = 0;     // of relative_l2; a cosine below 0.9999 is a divergence, too
  std::int64_t token = -1;  // the first that is beyond it; -1: none
  std::int64_t n_compared = 0;
  bool rounded_input = false;  // a product that is theirs once its input is rounded to 8 bits: no divergence

  bool diverges() const { return token >= 0; }
};

// Of the next token's probabilities.
struct LogitsDifference {
  double kl = 0;                  // mean of KL(theirs || ours) over rows, nat
  std::int64_t n_row = 0;         // 0: the reference has no logits
  std::int64_t n_same_first = 0;  // rows whose likeliest token is the same
};

// One known-wrong variant that gives the reference's numbers.
struct Explanation {
  std::string edit;     // "rope_pairing=adjacent", or words: "attn_norm: weight + 1"
  std::string text;     // a sentence: "theirs = ours with rope_pairing=adjacent in layers 0-27, residual 3e-07"
  double residual = 0;  // relative L2 with it, of the worst of the stages that it explains
  std::vector<std::int64_t> layers;
};

struct CompareOptions {
  double tolerance = 0;         // of relative L2; 0: from what the reference says of itself, or from the measured noise
  bool replay = true;           // try variants
  double budget_seconds = 300;  // of them
  // Called some times a second; false cancels (kCancelled).
  std::function<bool(std::string_view doing)> progress;
};

// Which model a reference comes from, as it says itself (the metadata of `rowmax dump`: model, facts) and shows by its shapes.
struct ReferenceOrigin {
  std::string model;                     // "" where it does not say
  std::vector<std::string> differences;  // from the model here: "architecture: gemma3 there, llama here"
};

struct Comparison {
  ReferenceOrigin origin;                    // to be read before the verdict; empty of comparisons of two references
  Verdict verdict = Verdict::kInconclusive;  // kPass: they agree; kFail: they do not; kInconclusive: nothing to compare
  std::vector<StageDifference> stages;       // each from the reference's own inputs, in the order of the computation
  // The first of them that diverges; nullptr where none does.
  const StageDifference* first() const;
  std::string pattern;                    // what the difference at the first divergence looks like; "" without one
  std::vector<Explanation> explanations;  // of the first divergence, then of others; empty: no known variant
  LogitsDifference logits;                // of whole passes, each with its own numbers
  double whole_relative_l2 = 0;           // of whole passes: the worst row of the last stage that both have
  double noise_products = 0, noise_attention = 0, noise_rest = 0;  // median relative L2 of stages, by kind
  std::int64_t n_compared = 0;                                     // numbers
  std::int64_t n_rounded_input = 0;       // products whose input they round, as engines do for quantised weights
  std::vector<std::string> not_compared;  // stages that this model does not have, or that have another width
  std::string summary;                    // in plain words
};

// Ours against theirs. The model computes with f32 activations and f32 keys and values, whatever its options say. Errors:
// kInvalidArgument for tokens outside the vocabulary, kLimit for more than its context, kOutOfMemory, kCancelled.
Result<Comparison> compare(const engine::Model& model, const Reference& reference, const CompareOptions& options,
                           Executor& executor);

// Two references, or two runs of ours, number by number as they stand. tolerance 0: the same bits.
Result<Comparison> compare_references(const Reference& ours, const Reference& theirs, double tolerance);

// What a server says of the next token: ln p of `id` behind tokens[0 .. position].
struct ServedLogprob {
  std::int64_t position = 0;
  engine::TokenId id = 0;
  double logprob = 0;
};
struct ServedLogprobs {
  std::string name;  // for messages: the address
  std::vector<engine::TokenId> tokens;
  std::vector<ServedLogprob> values;
};
// The same for these: one stage, logits, whose max_abs is the largest difference of a log-probability in nat; tolerance 0
// stands for 0.25 nat, what quantised activations may cost. Log-probabilities below -20, theirs and ours, do not
// count.
Result<Comparison> compare_logprobs(const engine::Model& model, const ServedLogprobs& served,
                                    const CompareOptions& options, Executor& executor);

}  // namespace rowmax::doctor
