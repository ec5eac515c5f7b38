// How much a document has to do with a query, as a model says that was trained to judge it (Qwen3-Reranker): the last
// token's state, times a row for each label, gives the probability of "yes".
//
//   Result<RankHead> head = RankHead::of(model);
//   ids = *head->encode(query, document);
//   state = (*embed(session, {{ids}}, {.pooling = Pooling::kLast, .normalize = false}))[0].values;
//   double score = head->score(state);
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rowmax/engine/model.h"
#include "rowmax/result.h"

namespace rowmax::engine {

// Of a file with <architecture>.pooling_type = 4, tensor cls.output.weight, key <architecture>.classifier.output_labels
// and the text of a pair in tokenizer.chat_template.rerank, as llama.cpp's converter writes it. A view of the model, which
// must outlive it. Any number of threads may use one.
class RankHead {
 public:
  // kNotFound for a model that has none of it; kCorrupt or kUnsupported naming what is missing or another thing.
  static Result<RankHead> of(const Model& model);

  // The ids of the file's text with a query in the place of {query} and a document in that of {document}. Only what is the
  // text's own can be a control token, and what stands in a query or document is never a place.
  Result<std::vector<TokenId>> encode(std::string_view query, std::string_view document) const;

  // Of the last token's state [n_embd]: the probability of the label "yes" among all labels, from 0 to 1. Sums run in f64,
  // in the order of the numbers: the same bits everywhere.
  double score(std::span<const float> state) const noexcept;

 private:
  struct Part {
    enum class Kind { kText, kQuery, kDocument };
    Kind kind = Kind::kText;
    std::string_view text;
  };
  RankHead() = default;

  const Model* model_ = nullptr;
  std::span<const float> rows_;  // [labels, n_embd]
  std::size_t n_label_ = 0, yes_ = 0;
  std::vector<Part> parts_;
};

}  // namespace rowmax::engine
