// The convention search: which single change of what the model is computed with makes plain text likelier.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "doctor/search/menu.h"
#include "doctor/search/text_loss.h"

namespace rowmax::doctor {

struct Tried {
  Variant variant;
  double nll = 0;
  Gain gain;
  bool confirmed = false;  // gain is that on text which the search has not seen before
};

struct SearchOptions {
  double budget_seconds = 60;
  bool layers = true;  // layers and single tensors, too; else what the whole model agrees on
  // What counts as a win, on text that did not choose it: nats a token, and standard errors.
  double least_gain = 0.03, least_sigmas = 5;
  std::function<Status(double fraction)> step;
};

struct SearchResult {
  double chance = 0;  // ln(n_vocab)
  double nll = 0;     // as configured
  std::string part;   // the kind of text on which that was measured
  std::int64_t n_tokens = 0;
  std::vector<Tried> tried;       // in the order in which they were
  std::vector<Tried> wins;        // best first
  double nearest = 0;             // the largest gain that could be a win, in shares of what it would need
  std::int64_t n_left_out = 0;    // variants for which there was no time
  std::int64_t n_impossible = 0;  // that this model cannot have
  double seconds = 0;
};

// Errors: of the configured model alone (kNumericFault is none: its loss is infinite), what step says, kOutOfMemory.
Result<SearchResult> search_conventions(Patient& patient, const SearchOptions& options);

}  // namespace rowmax::doctor
