// What a model looks like from inside while it reads a text: for a page to look at, not for a verdict.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "rowmax/engine/model.h"
#include "rowmax/executor.h"
#include "rowmax/result.h"

namespace rowmax::doctor {

// The softmax weights of one head, [n][n]; 0 behind the diagonal.
struct AttentionMap {
  std::int64_t layer = 0, head = 0;
  std::int64_t n = 0;
  std::vector<float> weights;
};

struct LayerPortrait {
  std::int64_t layer = 0;
  bool attends = false;
  double residual_rms = 0, residual_max = 0;  // of the stream behind the layer
  double mixer_rms = 0, ffn_rms = 0;          // of what the mixer and the FFN added
  double norm_rms = 0;                        // of what the mixer sees
  double score_min = 0, score_max = 0;  // of the scores behind the mask, all heads and rows; 0 where it does not attend
  double entropy_min = 0, entropy_mean = 0, entropy_max = 0;  // of its heads' rows, in nats; 0 where it does not attend
};

struct Portrait {
  std::vector<std::string> tokens;        // the text's pieces
  std::vector<double> nll, top, entropy;  // of each position's prediction: nats of the next token (0 for the last), the
                                          // largest probability, entropy in nats
  std::vector<LayerPortrait> layers;
  std::vector<AttentionMap> maps;  // at most max_maps, spread over layers and heads
};

struct PortraitOptions {
  std::int64_t max_tokens = 48;
  std::int64_t max_maps = 24;
};

// A forward pass over the beginning of `text`. kNumericFault where a logit is not finite; errors as Session has them.
Result<Portrait> portray(const engine::Model& model, std::string_view text, const PortraitOptions& options,
                         Executor& executor);

}  // namespace rowmax::doctor
