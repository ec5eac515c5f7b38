// The parts of the check "head" that its test needs: both ends of the model, as they were seen, against the file's bytes.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "doctor/check.h"

namespace rowmax::doctor {

// How a matrix is stored turned (engine/io/hadamard_keys.h): W' = W diag(signs) H, H in blocks along the columns.
struct Turn {
  std::int64_t block = 0;     // 0: it is stored as it is
  std::vector<double> signs;  // one a column
};

// What a session showed of some tokens of one sequence.
struct HeadSeen {
  std::vector<engine::TokenId> tokens;
  std::int64_t n_embd = 0, n_vocab = 0;
  std::vector<float> embedding;                              // [n_tokens, n_embd], as stage "embedding" shows it
  std::vector<float> output_norm;                            // [n_tokens, n_embd]
  std::vector<float> logits;                                 // [n_tokens, n_vocab]
  double embedding_scale = 1, logit_scale = 1, softcap = 0;  // that the model says; 0: no cap
  engine::Activations activations = engine::Activations::kInt8;
  const engine::GgufTensor* embeddings = nullptr;  // token_embd.weight
  const engine::GgufTensor* head = nullptr;        // what logits are products with
  const engine::GgufTensor* other = nullptr;       // the matrix that would be the head if tying were decided otherwise
  Turn turned_embeddings, turned_head;
};
CheckResult judge_head(const HeadSeen& seen);

}  // namespace rowmax::doctor
