// Rectangular batches as other frameworks hand them over (input_ids and attention_mask), and the scores of the texts in
// them.
//
// A session computes tokens, not rectangles: a position that the mask hides is one that its sequence does not hold. So
// no pad is ever computed, attended to or walked over by a recurrence, positions count from the first token of the text,
// and a text has the bits that it has alone, whatever it is padded with and on whichever side. (That attention itself
// hides keys that do lie in memory, whatever they hold, is the attention library's promise: attention/guarantees.)
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "rowmax/engine/session.h"
#include "rowmax/result.h"

namespace rowmax::engine {

struct PaddedBatch {
  std::span<const TokenId> ids;  // [n_text, width], row after row; what stands under a 0 of the mask is not looked at
  std::span<const std::uint8_t> mask;  // [n_text, width]: 1 where a token belongs to the text, 0 where it is padding
  std::int64_t width = 0;
};

// One item a row, in order, with the tokens of its text as views of batch.ids; a row that is all padding has an item
// without tokens (and so without logits). sequences: [n_text]. kInvalidArgument, naming row and column, for a mask with
// a hole (0 between two 1s) or another value than 0 and 1; for sizes that do not fit each other.
Result<std::vector<BatchItem>> unpad(const PaddedBatch& batch, std::span<const SequenceId> sequences,
                                     LogitsFor logits = LogitsFor::kLast);

struct TextScore {
  Status status;  // of this text alone: kNumericFault, or kLimit for memory; the numbers below say nothing then
  std::int64_t n_tokens = 0, n_scored = 0;
  double nll = std::numeric_limits<double>::quiet_NaN();  // mean, natural logarithm; NaN where nothing was scored
  std::vector<double> log_probs;                          // of the tokens behind the first, in order
};
// The log probability of every token of a text but its first, all texts in one batch, column by column. Opens as many
// sequences as there are texts (kLimit when the session has fewer) and closes them. kLimit for a text that is longer
// than the context, naming it; else errors as forward() has them for the whole batch. Memory: the logits of some 64
// tokens, or of one of each text.
Result<std::vector<TextScore>> score_padded(Session& session, const PaddedBatch& batch);
// The same for texts without a rectangle; the same bits.
Result<std::vector<TextScore>> score_texts(Session& session, std::span<const std::span<const TokenId>> texts);

}  // namespace rowmax::engine
