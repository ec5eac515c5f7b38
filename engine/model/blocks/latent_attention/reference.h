// Latent attention in f64 by its definition (DeepSeek-V2, arXiv 2405.04434, equations 9 to 19, and transformers'
// modeling_deepseek_v2.py): every head's keys and values are made from the latents of all tokens. The block does not
// compute it so.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/model/blocks/attention/reference.h"

namespace rowmax::engine::reference {

// Rows [n_row] of head h's matrix, times x; or, turned, its columns.
inline Vector head_times(const Vector& matrices, std::size_t h, std::size_t n_row, const Vector& x, bool turned) {
  const std::size_t n_col = turned ? n_row : x.size(), rows = turned ? x.size() : n_row;
  Vector y(n_row);
  for (std::size_t i = 0; i < n_row; ++i) {
    for (std::size_t j = 0; j < x.size(); ++j) {
      y[i] += matrices[(h * rows + (turned ? j : i)) * n_col + (turned ? i : j)] * x[j];
    }
  }
  return y;
}

// memory.keys: what is remembered, the latent and behind it what turned.
inline Vector latent_attention(const Layer& l, std::int64_t position, const Vector& x, KvMemory& memory) {
  const AttentionSpec& a = l.layer.attention;
  const LatentSpec& s = l.layer.latent;
  const auto rank = static_cast<std::size_t>(s.rank), n_head = static_cast<std::size_t>(a.n_head),
             nope = static_cast<std::size_t>(s.nope_dim), turn = static_cast<std::size_t>(s.rope_dim),
             d_v = static_cast<std::size_t>(s.v_dim);
  AttentionSpec turned = a;  // of the parts that turn alone
  turned.rope_first = 0;
  turned.head_dim = s.rope_dim;
  Vector q = s.q_rank > 0
                 ? times(l.weight(W::kLatentQB), l.normed(times(l.weight(W::kLatentQA), x), l.weight(W::kLatentQNorm),
                                                          static_cast<std::size_t>(s.q_rank)))
                 : times(l.weight(W::kAttnQ), x);
  const Vector kv = times(l.weight(W::kLatentKv), x);
  const auto end = kv.begin() + static_cast<std::ptrdiff_t>(rank);
  Vector remembered = l.normed(Vector(kv.begin(), end), l.weight(W::kLatentNorm), rank), k_turned(end, kv.end());
  rope(l.spec, turned, position, k_turned);
  remembered.insert(remembered.end(), k_turned.begin(), k_turned.end());
  memory.keys.push_back(remembered);
  const TemperatureSpec& t = a.temperature;
  const double steps = std::floor((static_cast<double>(position) + t.offset) / t.length);
  Vector out;
  for (std::size_t h = 0; h < n_head; ++h) {
    const auto first = q.begin() + static_cast<std::ptrdiff_t>(h * (nope + turn));
    const Vector q_nope(first, first + static_cast<std::ptrdiff_t>(nope));
    Vector q_turned(first + static_cast<std::ptrdiff_t>(nope), first + static_cast<std::ptrdiff_t>(nope + turn));
    rope(l.spec, turned, position, q_turned);
    Vector weights, mixed(d_v);
    double sum = 0;
    for (std::int64_t j = 0; j <= position; ++j) {
      const Vector& row = memory.keys[static_cast<std::size_t>(j)];
      const Vector latent(row.begin(), row.begin() + static_cast<std::ptrdiff_t>(rank));
      const Vector k = head_times(l.weight(W::kLatentK), h, nope, latent, true);
      double score = 0;
      for (std::size_t i = 0; i < nope; ++i) score += q_nope[i] * k[i];
      for (std::size_t i = 0; i < turn; ++i) score += q_turned[i] * row[rank + i];
      score *= static_cast<double>(a.scale) * (1 + t.scale * std::log(1 + steps));
      const double cap = static_cast<double>(l.spec.attention_softcap);
      if (cap > 0) score = cap * std::tanh(score / cap);
      weights.push_back(a.window == 0 || position - j < a.window ? std::exp(score) : 0);
      sum += weights.back();
    }
    for (std::size_t j = 0; j < weights.size(); ++j) {
      const Vector& row = memory.keys[j];
      const Vector latent(row.begin(), row.begin() + static_cast<std::ptrdiff_t>(rank));
      const Vector v = head_times(l.weight(W::kLatentV), h, d_v, latent, false);
      for (std::size_t i = 0; i < d_v; ++i) mixed[i] += weights[j] / sum * v[i];
    }
    out.insert(out.end(), mixed.begin(), mixed.end());
  }
  return times(l.weight(W::kAttnOutput), out);
}

}  // namespace rowmax::engine::reference
