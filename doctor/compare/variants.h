// The known-wrong variants that a replay tries: every fact that can be changed, at the values that engines get wrong.
#pragma once

#include <vector>

#include "doctor/compare/forced_run.h"

namespace rowmax::doctor {

// Those of whole passes. A stage that diverges comes first: what can change it is tried before what cannot. pattern_scale:
// the factor between ours and theirs there, where that is what the difference looks like (else 0).
Result<std::vector<Trial>> pass_trials(const engine::Model& model, engine::Stage stage, double pattern_scale);

// Whether a fact says how the stage is made.
bool changes_stage(std::string_view fact, engine::Stage stage);

// A variant of the one operation that makes a stage, computed from the reference's own input.
struct OpVariant {
  std::string name;     // "weight + 1", "product with blk.2.ffn_down.weight, format Q4_1: without the block minimum"
  double residual = 0;  // relative L2 with the reference
};

// Stages: norms (attn_norm, ffn_norm, output_norm) and products (q_raw, k_raw, v, mixer_out, gate, up, block_out, logits) of a
// plain transformer layer. Empty where the reference has not the operation's input, or where ours (what rowmax computed from
// the same input; nullptr: not looked at) does not come out of the plain operation: then the layer does more. The best
// one first. Of a product at most 256 columns are looked at.
std::vector<OpVariant> op_variants(const engine::Model& model, const Reference& reference, const StageValues& theirs,
                                   const StageValues* ours);

// How far a product is from the reference's when its input is first rounded to 8 bits in blocks, as other engines multiply
// quantised weights: the closest of their kinds of blocks. Infinite for other stages and where the input is not there.
OpVariant with_rounded_input(const engine::Model& model, const Reference& reference, const StageValues& theirs);

}  // namespace rowmax::doctor
