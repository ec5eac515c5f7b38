#include "doctor/search/last_states.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>
#include <vector>

#include "doctor/checks/forward.h"
#include "rowmax/try.h"

namespace rowmax::doctor {
namespace {

constexpr std::int64_t kMostStates = 1500, kMostOfPiece = 160;

struct State {
  engine::TokenId token, next;
  std::vector<float> values;
};

Result<std::vector<State>> states_of(Patient& patient) {
  ROWMAX_TRY(text, patient.text());
  ROWMAX_TRY(session, open_session(patient, kMostOfPiece));
  ROWMAX_TRY(sequence, session.open());
  std::vector<State> states;
  for (const TextPiece& piece : *text) {
    const auto n = static_cast<std::size_t>(std::min<std::int64_t>(std::ssize(piece.tokens), kMostOfPiece));
    if (n < 2 || std::ssize(states) + static_cast<std::int64_t>(n) > kMostStates) continue;
    ROWMAX_TRY(emptied, session.truncate(sequence, 0));
    static_cast<void>(emptied);
    StageKeeper keeper([](engine::Stage stage, std::int64_t) { return stage == engine::Stage::kOutputNorm; });
    session.set_observer(&keeper);
    const std::span<const engine::TokenId> tokens(piece.tokens.data(), n);
    const engine::BatchItem item{sequence, tokens, engine::LogitsFor::kAll};
    const Status status = session.forward({&item, 1});
    session.set_observer(nullptr);
    if (!status.ok()) return Error(status.error());
    for (const KeptRow& row : keeper.rows(engine::Stage::kOutputNorm, -1)) {
      const auto at = static_cast<std::size_t>(row.position);
      if (at + 1 < n) states.push_back({tokens[at], tokens[at + 1], row.values});
    }
  }
  return states;
}

// Less the mean, of length 1.
void centre(std::vector<State>& states) {
  if (states.empty()) return;
  std::vector<double> mean(states.front().values.size());
  for (const State& state : states) {
    for (std::size_t k = 0; k < mean.size(); ++k) mean[k] += static_cast<double>(state.values[k]);
  }
  for (State& state : states) {
    double square = 0;
    for (std::size_t k = 0; k < mean.size(); ++k) {
      state.values[k] -= static_cast<float>(mean[k] / static_cast<double>(states.size()));
      square += static_cast<double>(state.values[k]) * static_cast<double>(state.values[k]);
    }
    const auto size = static_cast<float>(std::sqrt(square));
    for (float& value : state.values) value = size > 0 ? value / size : 0;
  }
}

}  // namespace

Result<LastStates> look_at_last_states(Patient& patient) {
  ROWMAX_TRY(states, states_of(patient));
  centre(states);
  LastStates out;
  for (std::size_t i = 0; i < states.size(); ++i) {
    for (std::size_t j = i + 1; j < states.size(); ++j) {
      if (states[i].next != states[j].next || states[i].token == states[j].token) continue;
      ++out.n_pairs;
      out.alike += dot_of(states[i].values, states[j].values);
    }
  }
  if (out.n_pairs > 0) out.alike /= static_cast<double>(out.n_pairs);
  return out;
}

}  // namespace rowmax::doctor
