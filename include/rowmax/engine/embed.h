// Embeddings of texts: what the layers and the final norm make of a text's tokens, as one vector.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "rowmax/engine/session.h"
#include "rowmax/engine/types.h"
#include "rowmax/result.h"

namespace rowmax::engine {

// Of which tokens a vector is made. The numbers are those of GGUF's <architecture>.pooling_type.
enum class Pooling : std::uint8_t {
  kMean = 1,  // the mean of all
  kCls = 2,   // the first
  kLast = 3,  // the last
};
const char* pooling_name(Pooling pooling) noexcept;  // "mean", "cls", "last"

// The pooling that the model's file (or an override) names. kNotFound where it names none (the key is missing, or 0),
// kUnsupported for another one (4: a head that judges texts, rowmax/engine/rank.h).
Result<Pooling> pooling_of(const Model& model);
Result<Pooling> pooling_of(const GgufFile& file, const ModelDescription& description);  // before its weights are loaded

// The ids of a text to embed: BOS in front and EOS behind where the model's tokenizer says so (each once: a text that
// ends in EOS gets no second one). Control tokens in `text` stay plain text. kOutOfMemory.
Result<std::vector<TokenId>> encode_for_embedding(const Model& model, std::string_view text);

struct EmbedOptions {
  Pooling pooling = Pooling::kLast;
  bool normalize = true;  // the vector is divided by its length (L2); one of length 0 stays
};

// The states of the tokens that count, as one vector: their mean, divided by its length where it is to be normalised.
// Sums over tokens and of squares run in f64, in the order of add().
class PooledStates {
 public:
  explicit PooledStates(std::int64_t n_embd) : sum_(static_cast<std::size_t>(n_embd)) {}
  void add(std::span<const float> state) noexcept;  // [n_embd]
  std::vector<float> vector(bool normalize) const;  // [n_embd], of one state or more

 private:
  std::vector<double> sum_;
  std::int64_t n_ = 0;
};

struct TextEmbedding {
  Status
      status;  // why there is none: kLimit past the context or without room, kNumericFault, kInvalidArgument for no token
  std::vector<float> values;  // [n_embd]
};

// One for each text, in their order. Texts are computed together, as many as the session has sequences, and what a text
// gets has the same bits alone, in any company, chunk and at any number of threads.
// Opens sequences of the session and closes them again; kLimit where none is free. An error of the call means that no text
// has a result.
Result<std::vector<TextEmbedding>> embed(Session& session, std::span<const std::span<const TokenId>> texts,
                                         const EmbedOptions& options = {});

}  // namespace rowmax::engine
