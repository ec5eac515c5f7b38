#include "doctor/search/search.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "base/math/f64.h"
#include "rowmax/try.h"

namespace rowmax::doctor {
namespace {

using engine::EditableFact;

// A model that knows something of a text stays below this share of chance (trained ones have 0.2 to 0.7); what does not is no
// win, however bad it was before, and a loss above it says nothing about a model that may be untrained.
constexpr double kKnowing = 0.9;
constexpr std::int64_t kMostTokens = 160, kFewestTokens = 40;  // of a part
constexpr std::size_t kPairedSingles = 3;
constexpr std::size_t kRepaired = 2;  // layers
// The best of so many variants is lucky, too: some of them are measured again, on text that is new to them.
constexpr std::size_t kConfirmed = 10;
constexpr double kWorthALook = 0.02;  // nats a token
constexpr double kBeyondLuck = 0.5;   // of what has no time to be confirmed
// A factor on all logits makes any garbage less sure of itself, and so cheaper: it is the cause only where the model knows
// what comes next and is wrong in how sure it is of it.
constexpr double kKnowsNext = 0.3;

class Search {
 public:
  Search(Patient& patient, const SearchOptions& options) : patient_(patient), options_(options) {}

  Result<SearchResult> run() {
    ROWMAX_TRY(model, patient_.model());
    ROWMAX_TRY(text, patient_.text());
    model_ = model;
    result_.chance = base::log_f64(static_cast<double>(model->shape().n_vocab));
    ROWMAX_TRY(facts, facts_of(model->options()));
    facts_ = std::move(facts);
    engine::ModelOptions plain = model->options();
    const engine::Edits asked = std::exchange(plain.edits, {});
    ROWMAX_TRY(file_facts, facts_of(plain));
    std::vector<Variant> conventions = convention_variants(facts_, file_facts, asked, *model);
    std::vector<Variant> layers;
    if (options_.layers) {
      layers = stem_variants(facts_, model->file(), model->shape().n_layer);
      const std::vector<Variant> single = layer_variants(facts_, model->shape().n_layer);
      layers.insert(layers.end(), single.begin(), single.end());
    }
    n_planned_ = static_cast<std::int64_t>(conventions.size() + layers.size());
    ROWMAX_RETURN_IF_ERROR(choose_length(*text));
    ROWMAX_RETURN_IF_ERROR(try_all(conventions));
    ROWMAX_RETURN_IF_ERROR(refine());
    ROWMAX_RETURN_IF_ERROR(try_all(layers));
    if (options_.layers) {
      ROWMAX_RETURN_IF_ERROR(look_into_layers());
      ROWMAX_RETURN_IF_ERROR(repair());
    }
    if (const Tried* leader = best(); leader == nullptr || leader->nll > 0.6 * result_.chance) {
      ROWMAX_RETURN_IF_ERROR(try_pairs(conventions));
    }
    ROWMAX_RETURN_IF_ERROR(confirm(*text));
    collect_wins();
    result_.seconds = seconds();
    return std::move(result_);
  }

 private:
  Result<std::vector<EditableFact>> facts_of(const engine::ModelOptions& options) const {
    return engine::editable_facts(model_->file(), options, &model_->tokenizer());
  }
  double fraction() const {
    const double tried = static_cast<double>(result_.tried.size()) / static_cast<double>(n_planned_);
    return std::min(1.0, std::max(seconds() / options_.budget_seconds, tried));
  }
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

  // As much of the text as the budget has time for, with all variants.
  Status choose_length(const std::vector<TextPiece>& all) {
    std::vector<TextPiece> text;  // the first piece of each kind
    for (const TextPiece& piece : all) {
      if (text.empty() || text.back().kind != piece.kind) text.push_back(piece);
    }
    std::int64_t n = kMostTokens;
    for (int round = 0; round < 2; ++round) {
      meter_.emplace(*model_, text, n, patient_.executor(), step_);
      first_pieces_ = text;
      const double before = seconds();
      ROWMAX_TRY(loss, meter_->of({}));
      base_ = std::move(loss);
      seconds_of_base_ = seconds() - before;
      length_ = n;
      const double planned = seconds_of_base_ * static_cast<double>(n_planned_);
      if (planned <= options_.budget_seconds || n == kFewestTokens) break;
      n = std::max(kFewestTokens,
                   static_cast<std::int64_t>(static_cast<double>(n) * options_.budget_seconds / planned));
    }
    result_.nll = base_.best();
    result_.n_tokens = meter_->n_tokens();
    if (base_.parts.empty()) return {};
    result_.part = text[std::min(base_.best_part(), text.size() - 1)].kind;
    kinds_.clear();
    for (const TextPiece& piece : text) kinds_.push_back(piece.kind);
    base_hits_ = base_.hits[base_.best_part()];
    return {};
  }

  // meter: of the model and these pieces. to_beat: LossMeter::of.
  Result<TextLoss> measure(const LossMeter& meter, const Variant& variant, const std::vector<TextPiece>& pieces,
                           std::int64_t max_tokens, double to_beat = std::numeric_limits<double>::infinity()) {
    auto loss = meter.of(variant.edits, to_beat);
    if (loss.ok() || !variant.takes_back || loss.error().code == ErrorCode::kCancelled) return loss;
    const std::string& name = variant.edits.front().first;
    if (name_of_other_ != name) {
      other_.reset();
      engine::ModelOptions options = model_->options();
      std::erase_if(options.edits, [&](const auto& edit) { return edit.first == name; });
      ROWMAX_TRY(file, model_->file().reopen());
      ROWMAX_TRY(other, engine::Model::load(std::move(file), options, patient_.executor()));
      other_.emplace(std::move(other));
      name_of_other_ = name;
    }
    const engine::Edits rest(variant.edits.begin() + 1, variant.edits.end());
    return LossMeter(*other_, pieces, max_tokens, patient_.executor(), step_).of(rest, to_beat);
  }

  Result<bool> try_one(const Variant& variant) {
    // Neighbours of neighbours come back.
    if (std::ranges::any_of(result_.tried, [&](const Tried& t) { return t.variant.edits == variant.edits; }))
      return false;
    if (seconds() > options_.budget_seconds) {
      ++result_.n_left_out;
      return false;
    }
    // Most variants are worse, and soon so much that the rest of the text is not needed.
    auto loss = measure(*meter_, variant, first_pieces_, length_, base_.best());
    if (!loss.ok()) {
      if (loss.error().code == ErrorCode::kOutOfMemory || loss.error().code == ErrorCode::kCancelled) {
        return std::move(loss).error();
      }
      ++result_.n_impossible;
      return false;
    }
    result_.tried.push_back({variant, loss->best(), gain_of(base_, *loss)});
    return true;
  }
  Status try_all(const std::vector<Variant>& variants) {
    for (const Variant& variant : variants) {
      const bool known =
          std::ranges::any_of(result_.tried, [&](const Tried& tried) { return tried.variant.edits == variant.edits; });
      if (known) continue;
      ROWMAX_TRY(done, try_one(variant));
      static_cast<void>(done);
    }
    return {};
  }

  // A variant that only makes the model less sure, or surer, of everything.
  static bool scales_logits(const Variant& variant) {
    const auto& [name, value] = variant.edits.front();
    return variant.edits.size() == 1 && (name == "final_softcap" || name == "logit_scale" ||
                                         (name == "tensor_factor" && value.starts_with("output")));
  }
  bool possible(const Tried& tried) const {
    if (!(tried.nll < kKnowing * result_.chance)) return false;
    return !scales_logits(tried.variant) || base_hits_ > kKnowsNext;
  }
  double least_gain(const Tried& tried) const {
    if (!tried.confirmed) return kBeyondLuck;
    return only_damps(tried.variant) ? 2 * options_.least_gain : options_.least_gain;
  }
  bool wins(const Tried& tried) const {
    if (!possible(tried) || tried.gain.sigmas < options_.least_sigmas) return false;
    return tried.gain.nats >= least_gain(tried);
  }
  const Tried* best() const {
    const Tried* found = nullptr;
    for (const Tried& tried : result_.tried) {
      if (possible(tried) && (found == nullptr || tried.gain.nats > found->gain.nats)) found = &tried;
    }
    return found;
  }

  // The best variant of each fact that helps, were it a quarter of what the best of all does: a coarse number of the right
  // fact may be behind a fine one of another.
  std::vector<Variant> leaders() const {
    std::vector<const Tried*> of_facts;
    const Tried* leader = best();
    if (leader == nullptr || leader->gain.nats < kWorthALook) return {};
    for (const Tried& tried : result_.tried) {
      if (!possible(tried) || tried.variant.edits.size() != 1 || !(tried.gain.nats >= leader->gain.nats / 4)) continue;
      const auto same = std::ranges::find_if(of_facts, [&](const Tried* other) {
        return other->variant.edits.front().first == tried.variant.edits.front().first;
      });
      if (same == of_facts.end()) {
        of_facts.push_back(&tried);
      } else if ((*same)->gain.nats < tried.gain.nats) {
        *same = &tried;
      }
    }
    std::vector<Variant> out;
    for (const Tried* tried : of_facts) out.push_back(tried->variant);
    return out;
  }

  // A number that helps may be near to one that helps more.
  Status refine() {
    for (double step = 1.8; step > 1.05; step = std::sqrt(step)) {
      for (const Variant& leader : leaders()) ROWMAX_RETURN_IF_ERROR(try_all(finer_variants(leader, step)));
    }
    return {};
  }

  // Single tensors: first of layers without whose mixer or FFN the model is better, then, while there is time, of all others.
  Status look_into_layers() {
    std::vector<std::pair<double, std::int64_t>> order;
    for (std::int64_t layer = 0; layer < model_->shape().n_layer; ++layer) {
      double gain = -std::numeric_limits<double>::infinity();
      for (const Tried& tried : result_.tried) {
        const std::string& name = tried.variant.edits.front().first;
        if ((name != "skip_ffn" && name != "skip_mixer") || tried.variant.place.layer != layer) continue;
        gain = std::max(gain, tried.gain.nats);
      }
      order.emplace_back(-gain, layer);
    }
    std::ranges::sort(order);
    const double until_now = seconds();
    for (const auto& [loss, layer] : order) {
      // A layer that the model needs is looked into only where that is cheap.
      if (-loss < kWorthALook && seconds() > std::max(2 * until_now, options_.budget_seconds / 4)) break;
      ROWMAX_RETURN_IF_ERROR(try_all(tensor_variants(facts_, model_->file(), layer)));
    }
    return {};
  }

  // What helps with a part of one layer points at that layer, if less than its repair does.
  Status repair() {
    std::vector<Tried> pointing = result_.tried;
    std::erase_if(pointing, [&](const Tried& tried) {
      return tried.variant.place.layer < 0 || tried.gain.nats < kWorthALook || !possible(tried);
    });
    std::ranges::stable_sort(pointing, [](const Tried& a, const Tried& b) { return a.gain.nats > b.gain.nats; });
    std::vector<std::int64_t> layers;
    for (const Tried& tried : pointing) {
      const std::int64_t layer = tried.variant.place.layer;
      if (layers.size() == kRepaired || std::ranges::find(layers, layer) != layers.end()) continue;
      layers.push_back(layer);
      ROWMAX_RETURN_IF_ERROR(try_all(repair_variants(facts_, model_->file(), layer, model_->shape().n_layer)));
    }
    return {};
  }

  // Two wrong things at once hide each other: the three best of all, each with all others.
  Status try_pairs(const std::vector<Variant>& conventions) {
    std::vector<Tried> singles = result_.tried;
    std::ranges::stable_sort(singles, [](const Tried& a, const Tried& b) { return a.gain.nats > b.gain.nats; });
    if (singles.size() > kPairedSingles) singles.resize(kPairedSingles);
    for (const Tried& single : singles) {
      for (const Variant& other : conventions) {
        if (other.edits.front().first == single.variant.edits.front().first) continue;
        Variant both = single.variant;
        both.edits.push_back(other.edits.front());
        ROWMAX_TRY(done, try_one(both));
        static_cast<void>(done);
      }
    }
    return {};
  }

  // The best variants again, on other pieces of the kind that the first of them knows best.
  Status confirm(const std::vector<TextPiece>& text) {
    std::vector<Tried*> candidates;
    for (Tried& tried : result_.tried) {
      if (possible(tried) && tried.gain.nats >= kWorthALook) candidates.push_back(&tried);
    }
    std::ranges::stable_sort(candidates, [](const Tried* a, const Tried* b) { return a->gain.nats > b->gain.nats; });
    if (candidates.size() > kConfirmed) candidates.resize(kConfirmed);
    if (candidates.empty()) return {};
    ROWMAX_TRY(first, measure(*meter_, candidates.front()->variant, first_pieces_, length_));
    const std::string_view kind = kinds_[std::min(first.best_part(), kinds_.size() - 1)];
    const double per_token = seconds_of_base_ / static_cast<double>(std::max<std::int64_t>(1, meter_->n_tokens()));
    const double left = std::max(0.25 * options_.budget_seconds, options_.budget_seconds - seconds());
    auto n = static_cast<std::int64_t>(left / per_token / static_cast<double>(candidates.size() + 1));
    std::vector<TextPiece> fresh;
    bool seen = false;  // the first of its kind
    for (const TextPiece& piece : text) {
      if (piece.kind != kind || !std::exchange(seen, true) || n < kFewestTokens) continue;
      n -= std::min<std::int64_t>(std::ssize(piece.tokens), 2 * kMostTokens);
      fresh.push_back(piece);
    }
    const LossMeter again(*model_, fresh, 2 * kMostTokens, patient_.executor(), step_);
    if (again.empty()) return {};
    ROWMAX_TRY(base, again.of({}));
    for (Tried* tried : candidates) {
      ROWMAX_TRY(loss, measure(again, tried->variant, fresh, 2 * kMostTokens));
      tried->gain = gain_of(base, loss);
      tried->nll = loss.best();
      tried->confirmed = true;
    }
    result_.nll = base.best();
    result_.part = kind;
    result_.n_tokens += again.n_tokens();
    return {};
  }

  void collect_wins() {
    for (const Tried& tried : result_.tried) {
      if (wins(tried)) result_.wins.push_back(tried);
      if (possible(tried) && tried.gain.sigmas >= options_.least_sigmas) {
        result_.nearest = std::max(result_.nearest, tried.gain.nats / least_gain(tried));
      }
    }
    std::ranges::stable_sort(result_.wins, [](const Tried& a, const Tried& b) { return a.gain.nats > b.gain.nats; });
  }

  Patient& patient_;
  const SearchOptions& options_;
  const engine::Model* model_ = nullptr;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::vector<EditableFact> facts_;
  std::optional<LossMeter> meter_;
  TextLoss base_;
  const std::function<Status()> step_ = [this] { return options_.step ? options_.step(fraction()) : Status(); };
  std::int64_t n_planned_ = 1, length_ = kMostTokens;
  std::vector<TextPiece> first_pieces_;  // the meter's
  std::string name_of_other_;            // the edit that it is loaded without
  std::optional<engine::Model> other_;
  std::vector<std::string_view> kinds_;  // of the meter's parts
  double seconds_of_base_ = 0, base_hits_ = 0;
  SearchResult result_;
};

}  // namespace

Result<SearchResult> search_conventions(Patient& patient, const SearchOptions& options) {
  return Search(patient, options).run();
}

}  // namespace rowmax::doctor
