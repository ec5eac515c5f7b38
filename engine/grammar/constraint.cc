// GrammarConstraint: the machine of a grammar, the masks of a vocabulary, and the places of those who ask for them.
#include <algorithm>
#include <mutex>

#include "base/guarded.h"
#include "engine/grammar/grammar_impl.h"
#include "engine/grammar/machine.h"
#include "engine/grammar/mask_maker.h"
#include "engine/grammar/vocabulary.h"
#include "engine/io/text.h"
#include "rowmax/try.h"

namespace rowmax::engine {

using grammar::Machine;
using grammar::StateId;

struct GrammarConstraint::Impl {
  Impl(std::shared_ptr<const Grammar::Impl> of_grammar, std::shared_ptr<const GrammarVocabulary::Impl> of_vocabulary)
      : grammar(std::move(of_grammar)),
        vocabulary(std::move(of_vocabulary)),
        machine(grammar->automaton, grammar->limits),
        masks(machine, *vocabulary),
        steps_left(grammar->limits.max_mask_steps) {}

  // States behind tokens 0, 1, ... of a text, as long as `age` is the machine's.
  struct Place {
    std::uint64_t age = 0;
    std::vector<TokenId> tokens;
    std::vector<StateId> states;
    bool ended = false;  // the last token ended the text
  };

  bool is_end(TokenId id) const { return std::ranges::find(end_tokens, id) != end_tokens.end(); }

  // What is too much, and what a call that ran out of memory left half done. Masks alone are found again more easily than
  // states, for which all of a text has to be followed.
  void forget_if_needed() {
    const std::size_t most = grammar->limits.max_cache_bytes;
    if (!half_done && machine.bytes() + masks.bytes() <= most) return;
    masks.forget();
    if (!half_done && machine.bytes() <= most / 2) return;
    ++age;
    machine.forget();
  }

  // The next mask's steps. Each one adds its share to what those before left over.
  void begin_work() {
    const GrammarLimits& limits = grammar->limits;
    steps_left =
        std::min(limits.max_mask_steps, steps_left + std::min(limits.sustained_mask_steps, limits.max_mask_steps));
    machine.begin_work(steps_left);
  }

  Error refuse(std::span<const TokenId> generated, std::size_t i) const {
    const TokenId id = generated[i];
    const bool known = id >= 0 && static_cast<std::size_t>(id) < vocabulary->size();
    return Error::invalid_argument(concat("token mask: token ", i, " of the generation, ", id,
                                          known ? concat(" (", quote(vocabulary->piece(id)), ")") : "",
                                          ", is none that the grammar allows there"));
  }

  // Brings the place to the tokens: back to where they part from those it knows, and on from there.
  Status follow(Place& place, std::span<const TokenId> generated) {
    if (place.age != age || place.states.empty()) {
      place = {.age = age, .tokens = {}, .states = {machine.start()}, .ended = false};
    }
    const auto same =
        static_cast<std::size_t>(std::ranges::mismatch(place.tokens, generated).in1 - place.tokens.begin());
    place.tokens.resize(same);
    place.states.resize(same + 1);
    place.ended = same > 0 && is_end(place.tokens.back());
    for (std::size_t i = same; i < generated.size(); ++i) {
      const TokenId id = generated[i];
      if (id < 0 || static_cast<std::size_t>(id) >= vocabulary->size()) return refuse(generated, i);
      StateId next = place.states.back();
      if (is_end(id)) {
        if (!machine.accepts(next)) return refuse(generated, i);
        place.ended = true;
      } else {
        const std::string_view piece = vocabulary->piece(id);
        next = piece.empty() || place.ended ? Machine::kDead : machine.steps(next, piece);
        ROWMAX_RETURN_IF_ERROR(machine.failure());
        if (next == Machine::kDead) return refuse(generated, i);
      }
      place.tokens.push_back(id);
      place.states.push_back(next);
    }
    return {};
  }

  Status mask(Place& place, std::span<const TokenId> generated, std::span<std::uint64_t> allowed) {
    const std::scoped_lock lock(mutex);
    if (allowed.size() < (vocabulary->size() + 63) / 64) {
      return Error::invalid_argument(concat("token mask: expected ", (vocabulary->size() + 63) / 64, " words for ",
                                            vocabulary->size(), " tokens, found ", allowed.size()));
    }
    forget_if_needed();
    half_done = true;
    begin_work();
    Status status = follow(place, generated);
    if (status.ok()) {
      const StateId state = place.states.back();
      if (!place.ended) masks.add_tokens(state, allowed);
      status = machine.failure();
      // One that is a token of the vocabulary with bytes is no text here.
      const bool may_end = machine.accepts(state);
      for (const TokenId id : end_tokens) {
        const std::uint64_t bit = std::uint64_t{1} << (id % 64);
        std::uint64_t& word = allowed[static_cast<std::size_t>(id) / 64];
        word = may_end ? word | bit : word & ~bit;
      }
    }
    total_steps += machine.steps_used();
    steps_left -= std::min(steps_left, machine.steps_used());
    if (!status.ok()) place = {};
    half_done = false;
    return status;
  }

  std::shared_ptr<const Grammar::Impl> grammar;
  std::shared_ptr<const GrammarVocabulary::Impl> vocabulary;
  std::vector<TokenId> end_tokens;

  std::mutex mutex;
  Machine machine;
  grammar::MaskMaker masks;
  std::uint64_t age = 1;
  bool half_done = false;
  std::int64_t total_steps = 0;
  std::int64_t steps_left;  // of those before the next mask
};

GrammarConstraint::GrammarConstraint(std::shared_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}

Result<GrammarConstraint> GrammarConstraint::create(const Grammar& grammar, const GrammarVocabulary& vocabulary,
                                                    std::span<const TokenId> end_tokens) {
  return base::guarded([&]() -> Result<GrammarConstraint> {
    auto impl = std::make_shared<Impl>(grammar.impl_, vocabulary.impl_);
    impl->end_tokens = vocabulary.impl_->end_tokens;
    for (const TokenId id : end_tokens) {
      if (id < 0 || id >= vocabulary.size()) {
        return Error::invalid_argument(
            concat("end_tokens: expected token ids 0 to ", vocabulary.size() - 1, ", found ", id));
      }
      impl->end_tokens.push_back(id);
    }
    if (impl->end_tokens.empty()) {
      return Error::invalid_argument(
          "end_tokens: expected a token that ends a text, found none, nor one of the vocabulary");
    }
    return GrammarConstraint(std::move(impl));
  });
}

Result<TokenMask> GrammarConstraint::token_mask() const {
  return base::guarded([&]() -> Result<TokenMask> {
    return TokenMask([impl = impl_, place = Impl::Place()](std::span<const TokenId> generated,
                                                           std::span<std::uint64_t> allowed) mutable -> Status {
      return base::guarded([&] { return impl->mask(place, generated, allowed); });
    });
  });
}

std::int64_t GrammarConstraint::steps() const noexcept {
  const std::scoped_lock lock(impl_->mutex);
  return impl_->total_steps;
}

}  // namespace rowmax::engine
