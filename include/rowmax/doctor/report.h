// What a diagnosis says: checks, each with what was measured and how much was compared, and causes, most likely first.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rowmax::doctor {

enum class Verdict : std::uint8_t {
  kPass,          // numbers were compared and agree
  kFail,          // they do not
  kInconclusive,  // nothing could be compared, or not enough
  kSkipped,       // was not asked for, or there was no time; `reason` says which
};
const char* verdict_name(Verdict verdict) noexcept;  // "pass", "fail", "inconclusive", "skipped"

// Where something was seen; -1 and "" where that has no meaning.
struct Place {
  std::int64_t layer = -1, head = -1, position = -1;
  std::string tensor = {};  // "blk.3.attn_q.weight"
  std::string key = {};     // of the file's metadata
  std::string stage = {};   // of the forward pass (rowmax/engine/trace.h)

  bool empty() const noexcept {
    return layer < 0 && head < 0 && position < 0 && tensor.empty() && key.empty() && stage.empty();
  }
};

// A root cause. Ids are fixed words (cause_ids()): "rope_pairing", "norm_eps", ...
struct Cause {
  std::string id = {};
  Place place = {};
  std::string text = {};  // a sentence for people: what is wrong, and what to do
  // Names and values of what was measured: {"configured_nll", "6.93"}, {"nll", "2.31"}, {"edit", "rope_pairing=adjacent"}.
  std::vector<std::pair<std::string, std::string>> evidence = {};
  std::string command = {};  // that shows it; "" where none does
  double confidence = 0;     // 0 to 1; causes are sorted by it
};

struct CheckResult {
  std::string id;  // of check_table()
  Verdict verdict = Verdict::kInconclusive;
  std::string reason;  // a sentence: why it failed, was skipped or says nothing; what a pass compared
  // The figure that decides, its bound, and what both count ("nat", "of the range"); NaN where there is none.
  double measured = std::numeric_limits<double>::quiet_NaN();
  double threshold = std::numeric_limits<double>::quiet_NaN();
  std::string unit;
  std::int64_t n_compared = 0;  // numbers, rows, tensors, ...; a pass has more than 0
  Place place;                  // of the worst
  std::vector<Cause> causes;    // that this check alone suggests
  double seconds = 0;
  // All that was tried or seen, for who wants to look: columns' names, then rows.
  std::vector<std::string> columns;
  std::vector<std::vector<std::string>> rows;

  // A pass with nothing compared is no pass.
  static CheckResult pass(std::string_view id, std::int64_t n_compared, std::string reason = {});
  static CheckResult fail(std::string_view id, std::int64_t n_compared, std::string reason);
  static CheckResult inconclusive(std::string_view id, std::string reason);
  static CheckResult skipped(std::string_view id, std::string reason);
};

// Every id a Cause may have, with what it says in a few words.
struct CauseInfo {
  std::string_view id, words;
};
const std::vector<CauseInfo>& cause_table();

}  // namespace rowmax::doctor
