// What a model's last states, those that the head reads, tell apart: the token that comes next, or the one that is there.
#pragma once

#include <cstdint>

#include "doctor/patient.h"

namespace rowmax::doctor {

// Mean cosines of pairs of states of the fixed text, less the mean state: of those with one next token behind different
// ones, and of those behind one token with different next ones. A model that has learned a text turns the second into the
// first, layer by layer; of one that has not, or whose layers are broken, states tell what went in.
struct LastStates {
  std::int64_t n_same_next = 0, n_same_token = 0;  // pairs
  double same_next = 0, same_token = 0;

  bool tell_the_next() const noexcept;
};
// Errors: as the forward pass.
Result<LastStates> look_at_last_states(Patient& patient);

}  // namespace rowmax::doctor
