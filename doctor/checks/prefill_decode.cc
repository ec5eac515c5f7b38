// Check 8: the logits of a text do not depend on how it came: at once, in pieces, token by token, after going back, from
// a prefix that was kept, in a fork. Bit for bit, as this engine promises.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>

#include "doctor/check.h"
#include "doctor/checks/forward.h"
#include "engine/io/text.h"
#include "rowmax/try.h"

namespace rowmax::doctor {
namespace {

using engine::SequenceId;
using engine::Session;
using engine::TokenId;
using Tokens = std::span<const TokenId>;
using Logits = std::vector<std::vector<float>>;

constexpr std::string_view kId = "prefill_decode";
constexpr std::int64_t kTokens = 68;  // a page and the next, pieces of 33 and 2

struct Difference {
  std::string way;
  std::int64_t position = -1;
  double largest = 0;
};

class Comparison {
 public:
  Comparison(const Logits& base) : base_(base) {}
  // rows: of positions from `first` on.
  void add(const std::string& way, const Logits& rows, std::size_t first) {
    for (std::size_t i = 0; i < rows.size() && first + i < base_.size(); ++i) {
      ++n_rows;
      const std::vector<float>&a = base_[first + i], &b = rows[i];
      if (a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0) continue;
      double largest = 0;
      for (std::size_t v = 0; v < std::min(a.size(), b.size()); ++v) {
        largest = std::max(largest, std::fabs(static_cast<double>(a[v]) - static_cast<double>(b[v])));
      }
      if (n_different++ == 0) first_difference = {way, static_cast<std::int64_t>(first + i), largest};
      worst = std::max(worst, largest);
    }
  }

  std::int64_t n_rows = 0, n_different = 0;
  double worst = 0;
  Difference first_difference;

 private:
  const Logits& base_;
};

Status append(Session& session, SequenceId sequence, Tokens tokens, std::size_t piece, Logits& rows) {
  for (std::size_t at = 0; at < tokens.size(); at += piece) {
    ROWMAX_RETURN_IF_ERROR(
        forward_logits(session, sequence, tokens.subspan(at, std::min(piece, tokens.size() - at)), rows));
  }
  return {};
}

Status in_pieces(Session& session, Tokens tokens, std::size_t piece, Comparison& comparison) {
  ROWMAX_TRY(sequence, session.open());
  Logits rows;
  ROWMAX_RETURN_IF_ERROR(append(session, sequence, tokens, piece, rows));
  comparison.add("pieces of " + std::to_string(piece), rows, 0);
  session.close(sequence);
  return {};
}

// Goes back to the middle after having gone on with something else.
Status after_truncate(Session& session, Tokens tokens, Comparison& comparison) {
  ROWMAX_TRY(sequence, session.open());
  const std::size_t half = tokens.size() / 2;
  Logits rows;
  ROWMAX_RETURN_IF_ERROR(append(session, sequence, tokens.first(half), half, rows));
  ROWMAX_RETURN_IF_ERROR(append(session, sequence, tokens.first(tokens.size() - half), tokens.size(), rows));
  ROWMAX_TRY(left, session.truncate(sequence, static_cast<std::int64_t>(half)));
  rows.clear();
  const auto first = static_cast<std::size_t>(left);
  ROWMAX_RETURN_IF_ERROR(append(session, sequence, tokens.subspan(first), tokens.size(), rows));
  comparison.add("after truncate", rows, first);
  session.close(sequence);
  return {};
}

Status after_reuse(Session& session, Tokens tokens, Comparison& comparison) {
  ROWMAX_TRY(sequence, session.open());
  ROWMAX_TRY(kept, session.reuse(sequence, tokens));
  Logits rows;
  const auto first = static_cast<std::size_t>(kept);
  ROWMAX_RETURN_IF_ERROR(append(session, sequence, tokens.subspan(first), tokens.size(), rows));
  comparison.add("a prefix of " + std::to_string(kept) + " reused", rows, first);
  session.close(sequence);
  return {};
}

// Two sequences go on from one, turn by turn, one of them with other tokens.
Status after_fork(Session& session, Tokens tokens, Comparison& comparison) {
  ROWMAX_TRY(sequence, session.open());
  const std::size_t half = tokens.size() / 2;
  Logits rows, others;
  ROWMAX_RETURN_IF_ERROR(append(session, sequence, tokens.first(half), half, rows));
  ROWMAX_TRY(other, session.fork(sequence));
  rows.clear();
  const Tokens rest = tokens.subspan(half);
  for (std::size_t at = 0; at < rest.size(); at += 8) {
    const std::size_t n = std::min<std::size_t>(8, rest.size() - at);
    ROWMAX_RETURN_IF_ERROR(append(session, other, tokens.subspan(at, n), n, others));
    ROWMAX_RETURN_IF_ERROR(append(session, sequence, rest.subspan(at, n), n, rows));
  }
  comparison.add("beside a fork", rows, half);
  session.close(other);
  session.close(sequence);
  return {};
}

Result<CheckResult> run(Patient& patient) {
  ROWMAX_TRY(tokens, text_tokens(patient, kTokens));
  ROWMAX_TRY(session, open_session(patient, std::ssize(tokens), 2));
  Logits base;
  ROWMAX_TRY(first, session.open());
  ROWMAX_RETURN_IF_ERROR(append(session, first, tokens, tokens.size(), base));
  session.close(first);
  Comparison comparison(base);
  std::vector<std::function<Status()>> ways;
  ways.emplace_back([&] { return after_reuse(session, tokens, comparison); });
  for (const std::size_t piece : {1u, 2u, 7u, 32u, 33u}) {
    ways.emplace_back([&, piece] { return in_pieces(session, tokens, piece, comparison); });
  }
  ways.emplace_back([&] { return after_truncate(session, tokens, comparison); });
  ways.emplace_back([&] { return after_fork(session, tokens, comparison); });
  double done = 1;
  for (const auto& way : ways) {
    ROWMAX_RETURN_IF_ERROR(way());
    ROWMAX_RETURN_IF_ERROR(patient.step(done++ / static_cast<double>(ways.size() + 1)));
  }
  CheckResult result = CheckResult::pass(kId, comparison.n_rows,
                                         std::to_string(comparison.n_rows) + " rows of logits of a text of " +
                                             std::to_string(tokens.size()) +
                                             " tokens, computed in eight ways, have the bits of one batch");
  if (comparison.n_different > 0) {
    const Difference& at = comparison.first_difference;
    result = CheckResult::fail(kId, comparison.n_rows,
                               std::to_string(comparison.n_different) +
                                   " rows of logits differ from those of one batch; the first: " + at.way +
                                   ", position " + std::to_string(at.position));
    Cause cause;
    cause.id = "kv_cache";
    cause.place.position = at.position;
    cause.text = "The same text gives other logits when it is computed in another way (" + at.way +
                 "): what is remembered of earlier tokens, or where, depends on how they came.";
    cause.evidence = {{"way", at.way}, {"largest_difference", engine::number_text(at.largest)}};
    cause.command = trace_command(patient, "--gates");
    cause.confidence = 0.85;
    result.causes.push_back(std::move(cause));
    result.place.position = at.position;
    result.place.stage = "logits";
  }
  result.measured = comparison.worst;
  result.threshold = 0;
  result.unit = "logit";
  return result;
}

}  // namespace

Result<CheckResult> check_prefill_decode(Patient& patient) { return concluded(kId, run(patient)); }

}  // namespace rowmax::doctor
