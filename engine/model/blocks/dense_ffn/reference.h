// down(activation(gate(x)) * up(x)) in f64.
#pragma once

#include <cstddef>
#include <utility>

#include "engine/model/blocks/reference.h"

namespace rowmax::engine::reference {

inline Vector dense_ffn(const Layer& l, const Vector& x) {
  const FfnSpec& f = l.layer.ffn;
  Vector gate = l.linear(W::kFfnGate, W::kFfnGateScale, W::kCount, x);
  Vector up = l.linear(W::kFfnUp, W::kFfnUpScale, W::kCount, x);
  if (f.up_gates) std::swap(gate, up);
  for (std::size_t i = 0; i < gate.size(); ++i) gate[i] = gated(f, gate[i], up[i]);
  if (f.sub_norm) gate = l.normed(gate, l.weight(W::kFfnSubNorm), gate.size());
  return l.linear(W::kFfnDown, W::kFfnDownScale, W::kCount, gate);
}

}  // namespace rowmax::engine::reference
