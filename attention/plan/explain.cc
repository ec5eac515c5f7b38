// MaskPlan::explain: every condition looked at by itself, as the formula at the top of mask.h has them.
#include <string>

#include "attention/plan/plan.h"

namespace rowmax {

using attention::bits_word;
using attention::divided;
using attention::PlanBits;
using attention::PlanSequence;
using attention::query_position;

namespace {

std::string text(std::int64_t number) { return std::to_string(number); }
std::string range(std::int64_t begin, std::int64_t end) { return "[" + text(begin) + ", " + text(end) + ")"; }
// "10 + 3"; a negative b turns the sign.
std::string shifted(std::int64_t a, char sign, std::int64_t b) {
  const char turned = b < 0 ? (sign == '+' ? '-' : '+') : sign;
  return text(a) + " " + turned + " " + text(b < 0 ? -b : b);
}

// Collects the rules that hide the pair.
class Reasons {
 public:
  void add(MaskRule rule, const std::string& why) {
    text_ += (bits_ == 0 ? "" : "; ") + std::string(mask_rule_name(rule)) + ": " + why;
    bits_ |= static_cast<std::uint32_t>(rule);
  }
  std::uint32_t bits() const noexcept { return bits_; }
  const std::string& text() const noexcept { return text_; }

 private:
  std::uint32_t bits_ = 0;
  std::string text_;
};

struct Pair {
  const PlanSequence& p;
  KeySpan valid;
  std::int64_t head;
  std::int64_t query;  // of the source
  std::int64_t key;
  std::int64_t position;
};

void look_at_chunk(const Pair& x, Reasons* reasons) {
  const std::int64_t size = x.p.chunk;
  if (size == 0) return;
  const auto index = [&](std::int64_t at) {
    const std::int64_t offset = at - x.p.chunk_origin;
    return offset >= 0 ? offset / size : -((size - 1 - offset) / size);
  };
  const std::int64_t own = index(x.position);
  const std::int64_t other = index(x.key);
  if (own == other) return;
  reasons->add(MaskRule::kChunk, "key " + text(x.key) + " is in chunk " + text(other) + ", position " +
                                     text(x.position) + " in chunk " + text(own) + " (of " + text(size) + " from key " +
                                     text(x.p.chunk_origin) + ")");
}

std::string why_hidden(const Pair& x, const PlanBits& bits) {
  switch (bits.rule) {
    case MaskRule::kBlocks:
      return "block (" + text(divided(x.query, bits.q_block, bits.q_shift)) + ", " +
             text(divided(x.key, bits.k_block, bits.k_shift)) + ") of " + text(bits.q_block) + " queries by " +
             text(bits.k_block) + " keys is 0";
    case MaskRule::kTree: {
      const std::int64_t node = x.key - bits.key_begin;
      if (node >= bits.n_key) {
        return "key " + text(x.key) + " lies after the tree's keys " +
               range(bits.key_begin, bits.key_begin + bits.n_key);
      }
      return "key " + text(x.key) + " is node " + text(node) + ", no ancestor of node " + text(x.query);
    }
    case MaskRule::kSegments: return "key " + text(x.key) + " has another id than query " + text(x.query);
    default: return "bit " + text(x.key) + " of row " + text(x.query) + " is 0";
  }
}

void look_at_bits(const Pair& x, MaskRule rule, Reasons* reasons) {
  for (int b = 0; b < x.p.n_bitmaps; ++b) {
    const PlanBits& bits = x.p.bitmaps[b];
    if (bits.rule != rule || (bits_word(bits, x.query, x.head, x.key) & 1) != 0) continue;
    reasons->add(rule, why_hidden(x, bits));
    return;
  }
}

void look_at_bounds(const Pair& x, Reasons* reasons) {
  const PlanSequence& p = x.p;
  if (x.key < p.prefix_end) return;
  const std::string prefix = p.prefix_end > 0 ? ", and not in the prefix " + range(0, p.prefix_end) : std::string();
  if (p.right != kUnbounded && x.key > x.position + p.right) {
    reasons->add(MaskRule::kRightBound,
                 "key " + text(x.key) + " > position " + shifted(x.position, '+', p.right) + prefix);
  }
  const bool kept_in_front = x.key >= x.valid.begin && x.key < p.keep_end;
  if (p.left != kUnbounded && x.key < x.position - p.left && !kept_in_front) {
    const std::string kept =
        p.keep_end > 0 ? ", and not kept in front " + range(x.valid.begin, p.keep_end) : std::string();
    reasons->add(MaskRule::kLeftBound,
                 "key " + text(x.key) + " < position " + shifted(x.position, '-', p.left) + kept + prefix);
  }
}

}  // namespace

Result<MaskExplanation> MaskPlan::explain(std::int64_t s, std::int64_t h, std::int64_t i, std::int64_t j) const {
  const PlanSequence* p = n_sequence() > 0 && h >= 0 && h < n_head() ? impl_->find(s, i) : nullptr;
  if (p == nullptr || j < 0 || j >= p->n_kv) {
    return Error::invalid_argument("explain: no such pair: sequence " + text(s) + " of " + text(n_sequence()) +
                                   ", head " + text(h) + " of " + text(n_head()) + ", query " + text(i) + " of " +
                                   text(n_query(s)) + ", key " + text(j) + " of " + text(n_key(s)));
  }
  const Pair x{*p, impl_->sources[s].valid, h, i, j, query_position(*p, i - p->q_first)};
  Reasons reasons;
  if (j < x.valid.begin || j >= x.valid.end) {
    reasons.add(MaskRule::kValid, x.valid.begin < x.valid.end ? "key " + text(j) + " is outside the valid keys " +
                                                                    range(x.valid.begin, x.valid.end)
                                                              : "no key is valid");
  }
  if (j < p->document.begin || j >= p->document.end) {
    reasons.add(MaskRule::kSegments,
                "key " + text(j) + " is outside the document's keys " + range(p->document.begin, p->document.end));
  }
  look_at_bits(x, MaskRule::kSegments, &reasons);
  look_at_chunk(x, &reasons);
  look_at_bits(x, MaskRule::kBitmap, &reasons);
  look_at_bits(x, MaskRule::kBlocks, &reasons);
  look_at_bits(x, MaskRule::kTree, &reasons);
  look_at_bounds(x, &reasons);
  MaskExplanation e;
  e.sequence = s;
  e.head = h;
  e.query = i;
  e.key = j;
  e.position = x.position;
  e.hidden_by = reasons.bits();
  e.text = "sequence " + text(s) + ", head " + text(h) + ", query " + text(i) + " (position " + text(x.position) +
           "): key " + text(j) + (e.visible() ? " is visible" : " is hidden by " + reasons.text());
  return e;
}

}  // namespace rowmax
