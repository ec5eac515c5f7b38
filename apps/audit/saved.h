// Answers of one run, kept for another: after a restart, with other settings, on another machine.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "apps/audit/answer.h"
#include "apps/audit/question.h"
#include "apps/text/json.h"
#include "rowmax/result.h"

namespace rowmax::audit {

struct SavedAnswer {
  Api api = Api::kCompletions;
  Answer answer;
};

struct Saved {
  std::uint64_t seed = 0;
  int long_words = 0;  // of the questions, so that the same are asked
  int max_tokens = 0;
  std::vector<SavedAnswer> answers;
};

text::Json to_json(const Saved& saved);
// kCorrupt for what to_json does not write.
Result<Saved> read_saved(std::string_view text, const std::string& name);

}  // namespace rowmax::audit
