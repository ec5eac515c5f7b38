#include "rowmax/engine/rank.h"

#include <algorithm>

#include "base/fp_env.h"
#include "base/guarded.h"
#include "base/math/f64.h"
#include "engine/runtime/model_impl.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

constexpr std::int64_t kRankPooling = 4;
constexpr const char* kTemplateKey = "tokenizer.chat_template.rerank";

}  // namespace

Result<RankHead> RankHead::of(const Model& model) {
  return base::guarded([&]() -> Result<RankHead> {
    const GgufFile& file = model.file();
    const ModelWeights& weights = model.impl().weights;
    const std::string& architecture = model.description().architecture;
    const std::string pooling_key = architecture + ".pooling_type",
                      labels_key = architecture + ".classifier.output_labels";
    if (weights.labels.empty()) {
      return Error::not_found(file.name() + ": tensor 'cls.output.weight' is missing: no head judges texts");
    }
    const std::int64_t pooling = model.description().pooling_type;
    if (pooling != kRankPooling) {
      return Error::unsupported(file.name() + ": key '" + pooling_key +
                                "': expected 4 (rank) beside cls.output.weight, found " + std::to_string(pooling));
    }
    RankHead head;
    head.model_ = &model;
    head.rows_ = weights.labels;
    head.n_label_ = weights.labels.size() / static_cast<std::size_t>(model.shape().n_embd);
    ROWMAX_TRY(labels, file.get_array(labels_key, GgufType::kString));
    if (labels->size != head.n_label_) {
      return Error{ErrorCode::kCorrupt, file.name() + ": key '" + labels_key + "' has " + std::to_string(labels->size) +
                                            " labels, cls.output.weight rows of " + std::to_string(head.n_label_)};
    }
    const auto yes = std::ranges::find(labels->strings, "yes");
    if (yes == labels->strings.end() || head.n_label_ < 2) {
      return Error::unsupported(file.name() + ": key '" + labels_key +
                                "': expected two labels or more, one of them \"yes\"");
    }
    head.yes_ = static_cast<std::size_t>(yes - labels->strings.begin());
    ROWMAX_TRY(text, file.get_string(kTemplateKey));
    constexpr std::string_view kQuery = "{query}", kDocument = "{document}";
    while (!text.empty()) {
      const std::size_t query = text.find(kQuery), document = text.find(kDocument);
      const std::size_t at = std::min(query, document);
      if (at > 0) head.parts_.push_back({Part::Kind::kText, text.substr(0, at)});
      if (at == std::string_view::npos) break;
      head.parts_.push_back({at == query ? Part::Kind::kQuery : Part::Kind::kDocument, {}});
      text.remove_prefix(at + (at == query ? kQuery : kDocument).size());
    }
    for (const auto& [kind, name] : {std::pair(Part::Kind::kQuery, kQuery), {Part::Kind::kDocument, kDocument}}) {
      if (std::ranges::find(head.parts_, kind, &Part::kind) != head.parts_.end()) continue;
      return Error::unsupported(file.name() + ": key '" + kTemplateKey + "': expected a text with " +
                                std::string(name));
    }
    return head;
  });
}

Result<std::vector<TokenId>> RankHead::encode(std::string_view query, std::string_view document) const {
  return base::guarded([&]() -> Result<std::vector<TokenId>> {
    std::vector<TextPart> parts;
    for (const Part& part : parts_) {
      const bool own = part.kind == Part::Kind::kText;
      parts.push_back({own ? part.text : part.kind == Part::Kind::kQuery ? query : document, own});
    }
    return model_->tokenizer().encode(parts);
  });
}

double RankHead::score(std::span<const float> state) const noexcept {
  const base::ScopedFpEnv environment;
  const auto logit = [&](std::size_t label) {
    double sum = 0;
    for (std::size_t i = 0; i < state.size(); ++i) {
      sum += static_cast<double>(rows_[label * state.size() + i]) * static_cast<double>(state[i]);
    }
    return sum;
  };
  // 1 / sum of exp(logit - yes): the softmax's share of it.
  const double yes = logit(yes_);
  double sum = 0;
  for (std::size_t label = 0; label < n_label_; ++label) sum += label == yes_ ? 1 : base::exp_f64(logit(label) - yes);
  return 1 / sum;
}

}  // namespace rowmax::engine
