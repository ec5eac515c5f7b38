// What conversion does to the weights of a Hugging Face folder. Each changes what `read` gives, for any rows and on any
// thread, and the weights are then no longer those of the stored bytes.
#pragma once

#include <functional>

#include "engine/convert/tensor_rows.h"
#include "rowmax/executor.h"

namespace rowmax::engine {

// Row (or column) i becomes what was row (column) source(i).
using Source = std::function<std::int64_t(std::int64_t)>;
void take_rows(TensorRows& tensor, Source source);
void take_columns(TensorRows& tensor, Source source);

void add_one(TensorRows& tensor);
void multiply(TensorRows& tensor, float factor);
// x becomes -exp(x), computed in fp64 and rounded once.
void negate_exp(TensorRows& tensor);

// The rule of BitNet b1.58: s = mean |w| of the matrix (at least 1e-5), each weight the nearest of -s, 0 and s, by
// w * (1 / s) rounded half to even. Source: transformers, integrations/bitnet.py (WeightQuant).
void ternarise(TensorRows& tensor, Executor& executor);

}  // namespace rowmax::engine
