// Some type ids stand for several layouts of the same size (I2_S): a file does not say which one it holds, and a wrong
// one permutes the weights, which no histogram of them shows. What the model makes of a plain English text does.
#pragma once

#include <functional>
#include <string>

#include "rowmax/engine/model.h"
#include "rowmax/executor.h"
#include "rowmax/result.h"

namespace rowmax::engine {

struct LayoutCheck {
  std::string taken;  // the format of the tensors in question; empty: the file leaves no doubt, nothing was computed
  double chance = 0;  // ln(n_vocab), in nats a token: the loss of a guess that knows nothing
  double loss = 0;    // mean over a short text, in nats a token; infinite where a logit is not finite
  // A layout in which the model makes much more of the text than in the one taken; empty where there is none: as taken
  // the loss is good, or it is bad in every layout (random weights, another language).
  std::string better;
  double better_loss = 0;
};

// Opens the file that a model was loaded from.
using OpenFile = std::function<Result<GgufFile>(const GgufOptions& options)>;

// `open` is called only when the loss is bad: the model is given up then, so that no two are in memory at once, the
// other layouts are loaded, one after the other, and the model again. kOutOfMemory, or what `open` and Model::load say;
// the model cannot be used after an error.
Result<LayoutCheck> check_layout(Model& model, const OpenFile& open, Executor& executor);

}  // namespace rowmax::engine
