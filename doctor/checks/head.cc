// Both ends of the model: a token's embedding is its row of the file, and a logit is the product of the last norm's
// output with the token's row of the output matrix, whichever that is, capped where the model says so.
#include "doctor/checks/head.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <set>
#include <string>
#include <utility>
#include <variant>

#include "base/math/f64.h"
#include "doctor/checks/products.h"
#include "engine/io/hadamard_keys.h"
#include "rowmax/engine/session.h"
#include "rowmax/engine/trace.h"
#include "rowmax/try.h"

namespace rowmax::doctor {
namespace {

using engine::GgufTensor;
using engine::Stage;
using engine::TokenId;

constexpr std::string_view kId = "head";
constexpr std::int64_t kTokens = 32, kLogitsOfAToken = 64;

double tanh_f64(double x) {
  const double e = base::exp_f64(-2 * std::fabs(x));
  const double t = (1 - e) / (1 + e);
  return x < 0 ? -t : t;
}
double capped(double x, double cap) { return cap > 0 ? cap * tanh_f64(x / cap) : x; }

std::vector<float> row_of(const GgufTensor& tensor, std::int64_t row) {
  std::vector<float> out(static_cast<std::size_t>(tensor.shape[0]));
  engine::decode_row(*tensor.format, tensor.data, row, tensor.shape[0], out.data());
  return out;
}

// H x in blocks: the normalised Walsh-Hadamard transform in natural order.
void turn(std::vector<double>& x, std::int64_t block) {
  const auto size = static_cast<std::size_t>(block);
  const double factor = 1 / std::sqrt(static_cast<double>(block));
  for (std::size_t from = 0; from + size <= x.size(); from += size) {
    for (std::size_t half = 1; half < size; half *= 2) {
      for (std::size_t i = 0; i < size; ++i) {
        if ((i & half) != 0) continue;
        double &a = x[from + i], &b = x[from + i + half];
        const double sum = a + b, difference = a - b;
        a = sum;
        b = difference;
      }
    }
    for (std::size_t i = 0; i < size; ++i) x[from + i] *= factor;
  }
}
// Roundings to f32 of a transform in the engine, at most: of the numbers' common size (a block has up to 2^20 of them).
constexpr double kTurnRounding = 32 * 0x1p-24;

double norm(std::span<const double> x) {
  double squares = 0;
  for (const double value : x) squares += value * value;
  return std::sqrt(squares);
}

struct Worst {
  double part = 0;  // of the bound
  std::string where;
  std::int64_t position = -1, n = 0;
  void see(double error, double bound, std::int64_t at, const std::string& text) {
    ++n;
    const double found = std::isnan(error) ? std::numeric_limits<double>::infinity() : error / bound;
    if (!(found > part)) return;
    part = found;
    position = at;
    where = text;
  }
};

// The row that a token stands for: s * (H z) where z is stored turned.
std::vector<double> embedding_of(const HeadSeen& seen, TokenId token) {
  const std::vector<float> stored = row_of(*seen.embeddings, token);
  std::vector<double> row(stored.begin(), stored.end());
  const Turn& turned = seen.turned_embeddings;
  if (turned.block > 0) {
    turn(row, turned.block);
    for (std::size_t k = 0; k < row.size(); ++k) row[k] *= turned.signs[k];
  }
  return row;
}

// Rounded products of the row with the scale: two roundings at most, and a third where the scale was rounded.
Worst compare_embeddings(const HeadSeen& seen) {
  Worst worst;
  for (std::size_t t = 0; t < seen.tokens.size(); ++t) {
    const std::vector<double> row = embedding_of(seen, seen.tokens[t]);
    const double turned = seen.turned_embeddings.block > 0 ? kTurnRounding * norm(row) * seen.embedding_scale : 0;
    for (std::size_t k = 0; k < row.size(); ++k) {
      const double expected = row[k] * seen.embedding_scale;
      const double found = static_cast<double>(seen.embedding[t * row.size() + k]);
      worst.see(std::fabs(found - expected), 4 * 0x1p-24 * std::fabs(expected) + turned + 1e-40,
                static_cast<std::int64_t>(t),
                "token " + std::to_string(seen.tokens[t]) + ", dimension " + std::to_string(k) + ": expected " +
                    std::to_string(expected) + ", found " + std::to_string(found));
    }
  }
  return worst;
}

// The rows that logits are looked at: spread over the vocabulary, first and last among them.
std::vector<std::int64_t> sampled_rows(std::int64_t n_vocab, std::int64_t token) {
  std::vector<std::int64_t> rows;
  const std::int64_t n = std::min(n_vocab, kLogitsOfAToken);
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int64_t step = n == 1 ? 0 : i * (n_vocab - 1) / (n - 1);
    rows.push_back((step + (i == 0 || i + 1 == n ? 0 : token)) % n_vocab);
  }
  return rows;
}

// What a matrix is multiplied with: H (s * x) where it is stored turned, and how far the engine's own may be from it in
// each number: the transform's roundings, and a code that falls to the other side of a half.
struct HeadInput {
  std::vector<float> x;
  double slack = 0;
};
HeadInput input_of(std::span<const float> normed, const Turn& turned, const engine::FormatInfo& format,
                   engine::Activations activations) {
  if (turned.block == 0) return {{normed.begin(), normed.end()}, 0};
  std::vector<double> x(normed.begin(), normed.end());
  for (std::size_t k = 0; k < x.size(); ++k) x[k] *= turned.signs[k];
  turn(x, turned.block);
  double largest = 0;
  for (const double value : x) largest = std::max(largest, std::fabs(value));
  const bool rounded = activations == engine::Activations::kInt8 && !always_f32(format);
  const bool by_token = format.row_head_bytes > 0 || format.tail_bytes > 0;
  const double step = !rounded ? 0 : 1.01 * largest / (by_token ? 127 : 16256);
  return {{x.begin(), x.end()}, step + kTurnRounding * norm(x)};
}

Worst compare_logits(const HeadSeen& seen, const GgufTensor& head, const Turn& turned, double cap) {
  Worst worst;
  const auto n_embd = static_cast<std::size_t>(seen.n_embd);
  for (std::size_t t = 0; t < seen.tokens.size(); ++t) {
    const HeadInput input =
        input_of(std::span(seen.output_norm).subspan(t * n_embd, n_embd), turned, *head.format, seen.activations);
    for (const std::int64_t v : sampled_rows(seen.n_vocab, static_cast<std::int64_t>(t))) {
      const std::vector<float> row = row_of(head, v);
      const ExpectedProduct product = expected_product(*head.format, row, input.x, seen.activations);
      double sizes = 0;
      for (const float w : row) sizes += std::fabs(static_cast<double>(w));
      const double expected = capped(product.value * seen.logit_scale, cap);
      const auto found =
          static_cast<double>(seen.logits[t * static_cast<std::size_t>(seen.n_vocab) + static_cast<std::size_t>(v)]);
      // A scale rounds once more; a cap never stretches; its own arithmetic in f32 is good to some roundings of the cap.
      const double rounding = seen.logit_scale == 1 ? 0 : 2 * 0x1p-24 * std::fabs(product.value);
      const double bound =
          (product.bound + input.slack * sizes + rounding) * seen.logit_scale + 64 * 0x1p-24 * (cap > 0 ? cap : 0);
      worst.see(std::fabs(found - expected), bound, static_cast<std::int64_t>(t),
                "logit of token " + std::to_string(v) + " at position " + std::to_string(t) + ": expected " +
                    std::to_string(expected) + " within " + std::to_string(bound) + ", found " + std::to_string(found));
    }
  }
  return worst;
}

// The factor that embeddings have beside the rows of the file; 0 where it is not one factor.
double embedding_factor(const HeadSeen& seen) {
  double factor = 0;
  for (std::size_t t = 0; t < seen.tokens.size(); ++t) {
    const std::vector<double> row = embedding_of(seen, seen.tokens[t]);
    double with = 0, own = 0, size = 0;
    for (std::size_t k = 0; k < row.size(); ++k) {
      const double found = static_cast<double>(seen.embedding[t * row.size() + k]);
      with += found * row[k];
      own += row[k] * row[k];
      size += found * found;
    }
    if (own == 0) continue;
    const double here = with / own;
    if (here * here * own < 0.999 * size) return 0;  // not along the row
    if (factor != 0 && std::fabs(here / factor - 1) > 0.01) return 0;
    factor = here;
  }
  return factor;
}

Cause cause_of(std::string_view id, std::string text, double confidence, std::string tensor, std::string command) {
  Cause cause;
  cause.id = id;
  cause.text = std::move(text);
  cause.confidence = confidence;
  cause.place.tensor = std::move(tensor);
  cause.command = std::move(command);
  return cause;
}

CheckResult wrong_embeddings(const HeadSeen& seen, const Worst& worst) {
  CheckResult result = CheckResult::fail(kId, worst.n, "embeddings are not the file's rows: " + worst.where);
  result.place.stage = "embedding";
  const std::string command = "rowmax trace MODEL --stage embedding";
  const double factor = embedding_factor(seen);
  if (factor != 0) {
    Cause cause = cause_of("embedding_scale",
                           "Embeddings are multiplied by " + std::to_string(factor) + ", and the model says " +
                               std::to_string(seen.embedding_scale) + ".",
                           0.95, "token_embd.weight", command);
    cause.evidence = {{"factor", std::to_string(factor)}, {"configured", std::to_string(seen.embedding_scale)}};
    result.causes.push_back(std::move(cause));
  } else {
    result.causes.push_back(cause_of("format_kernel",
                                     "Rows of token_embd.weight are looked up or decoded wrongly: " + worst.where + ".",
                                     0.8, "token_embd.weight", command));
  }
  return result;
}

CheckResult wrong_logits(const HeadSeen& seen, const Worst& worst) {
  CheckResult result = CheckResult::fail(kId, worst.n, "a logit is not the product it should be: " + worst.where);
  result.place.stage = "logits";
  const std::string tensor(seen.head->name), command = "rowmax trace MODEL --stage logits";
  HeadSeen unscaled = seen;
  unscaled.logit_scale = 1;
  if (seen.softcap > 0 && compare_logits(seen, *seen.head, seen.turned_head, 0).part <= 1) {
    result.causes.push_back(cause_of(
        "softcap", "Logits are not capped, and the model says they are at " + std::to_string(seen.softcap) + ".", 0.95,
        tensor, command));
  } else if (seen.logit_scale != 1 && compare_logits(unscaled, *seen.head, seen.turned_head, seen.softcap).part <= 1) {
    result.causes.push_back(
        cause_of("logit_scale",
                 "Logits are not multiplied, and the model says they are by " + std::to_string(seen.logit_scale) + ".",
                 0.95, tensor, command));
  } else if (seen.other != nullptr && compare_logits(seen, *seen.other, Turn{}, seen.softcap).part <= 1) {
    result.causes.push_back(
        cause_of("tied_head",
                 "Logits are products with " + std::string(seen.other->name) + ", and should be with " + tensor + ".",
                 0.95, tensor, command));
  } else {
    result.causes.push_back(cause_of("format_kernel",
                                     "The product with " + tensor + " is computed wrongly: " + worst.where + ".", 0.7,
                                     tensor, command));
  }
  return result;
}

// Logits that are the same whatever was read before: nothing of the text arrives at the end.
bool constant_logits(const HeadSeen& seen) {
  const auto n = static_cast<std::size_t>(seen.n_vocab);
  for (std::size_t i = n; i < seen.logits.size(); ++i) {
    if (seen.logits[i] != seen.logits[i % n]) return false;
  }
  return seen.logits.size() > n;
}

// What is odd and no fault by itself. Random weights and untrained models are so, too.
std::string hints(const HeadSeen& seen) {
  const auto n = static_cast<std::size_t>(seen.n_vocab);
  std::set<std::size_t> best;
  double low = std::numeric_limits<double>::infinity(), high = 0;
  for (std::size_t from = 0; from + n <= seen.logits.size(); from += n) {
    const auto row = std::span(seen.logits).subspan(from, n);
    best.insert(static_cast<std::size_t>(std::ranges::max_element(row) - row.begin()));
    double sum = 0, squares = 0;
    for (const float logit : row) {
      sum += static_cast<double>(logit);
      squares += static_cast<double>(logit) * static_cast<double>(logit);
    }
    const double mean = sum / static_cast<double>(n);
    const double deviation = std::sqrt(std::max(0.0, squares / static_cast<double>(n) - mean * mean));
    low = std::min(low, deviation);
    high = std::max(high, deviation);
  }
  std::string out;
  // 0.5 to 10 nat: what trained models of all sizes keep to (SmolLM2 135M: 2 to 6).
  if (low < 0.5 || high > 10) {
    out += "; worth knowing: logits deviate by " + std::to_string(low) + " to " + std::to_string(high) +
           " nat, where models that were trained deviate by 0.5 to 10";
  }
  if (best.size() == 1 && seen.tokens.size() > 8) {
    out += "; worth knowing: token " + std::to_string(*best.begin()) + " is the likeliest at every position";
  }
  return out;
}

}  // namespace

CheckResult judge_head(const HeadSeen& seen) {
  const Worst embeddings = compare_embeddings(seen);
  const Worst logits = compare_logits(seen, *seen.head, seen.turned_head, seen.softcap);
  CheckResult result;
  if (embeddings.part > 1) {
    result = wrong_embeddings(seen, embeddings);
  } else if (logits.part > 1) {
    result = wrong_logits(seen, logits);
  } else if (constant_logits(seen)) {
    result = CheckResult::fail(kId, static_cast<std::int64_t>(seen.logits.size()),
                               "all positions have the same logits, whatever was read before");
    result.place.stage = "logits";
    result.causes.push_back(cause_of("norm_weight",
                                     "Nothing that is read arrives at the logits: a norm or matrix on the "
                                     "way is constant or zero.",
                                     0.3, "output_norm.weight", "rowmax trace MODEL --stage residual"));
  } else {
    const std::string which =
        "embeddings are the file's rows and logits products with rows of " + std::string(seen.head->name);
    result = CheckResult::pass(kId, embeddings.n + logits.n, which + hints(seen));
  }
  // Both bounds are proved from the definitions of decoding and products, so the threshold is the bound itself.
  result.measured = std::max(embeddings.part, logits.part);
  result.threshold = 1;
  result.unit = "of the bound";
  const Worst& worst = embeddings.part >= logits.part ? embeddings : logits;
  if (result.verdict == Verdict::kFail) result.place.position = worst.position;
  return result;
}

namespace {

class Ends final : public engine::TraceObserver {
 public:
  explicit Ends(HeadSeen& seen) : seen_(seen) {}
  bool wants(Stage stage, std::int64_t) override { return stage == Stage::kEmbedding || stage == Stage::kOutputNorm; }
  void see(const engine::TraceView& view) override {
    std::vector<float>& to = view.stage == Stage::kEmbedding ? seen_.embedding : seen_.output_norm;
    for (std::size_t i = 0; i < view.rows.size(); ++i) {
      const float* row = view.data + static_cast<std::int64_t>(i) * view.row_stride;
      to.insert(to.end(), row, row + view.width);
    }
  }

 private:
  HeadSeen& seen_;
};

// Some of every kind of token: special ones first, then spread over the vocabulary.
std::vector<TokenId> some_tokens(const engine::Model& model, std::int64_t most) {
  const engine::Tokenizer& tokenizer = model.tokenizer();
  std::vector<TokenId> out;
  const auto add = [&](TokenId id) {
    if (id >= 0 && id < model.shape().n_vocab && std::ssize(out) < most) out.push_back(id);
  };
  add(tokenizer.bos());
  add(tokenizer.eos());
  for (const TokenId id :
       tokenizer.end_of_generation().first(std::min<std::size_t>(4, tokenizer.end_of_generation().size())))
    add(id);
  const std::int64_t n = most - std::ssize(out), vocab = model.shape().n_vocab;
  for (std::int64_t i = 0; i < n; ++i) add(static_cast<TokenId>(n == 1 ? 0 : i * (vocab - 1) / (n - 1)));
  return out;
}

// How a matrix is stored, where one of the two lists of names has it. The loader has checked the keys.
Turn turn_of(const engine::GgufFile& file, const engine::ModelOptions& options, std::string_view list,
             const GgufTensor& tensor) {
  const auto key = [](std::string_view name) { return std::string(engine::kHadamardPrefix) + std::string(name); };
  for (const auto& [name, value] : options.edits) {
    if (name == "hadamard" && value == "no") return {};
  }
  const engine::GgufArray* names = file.find_array(key(list), engine::GgufType::kString);
  const auto block = file.find_uint(key("block_size"));
  if (names == nullptr || !block) return {};
  if (std::ranges::find(names->strings, tensor.name) == names->strings.end()) return {};
  Turn out{static_cast<std::int64_t>(*block), std::vector<double>(static_cast<std::size_t>(tensor.shape[0]), 1.0)};
  const engine::GgufArray* widths = file.find_int_array(key("sign_widths"));
  const engine::GgufValue* found = file.find(key("sign_values"));
  const auto* values = found != nullptr ? std::get_if<engine::GgufArray>(&found->value) : nullptr;
  if (widths == nullptr || values == nullptr) return out;
  std::size_t at = 0;
  for (std::size_t i = 0; i < widths->size; ++i) {
    const auto width = static_cast<std::size_t>(widths->as_int(i));
    if (width == out.signs.size()) {
      for (std::size_t k = 0; k < width; ++k) out.signs[k] = values->as_double(at + k);
    }
    at += width;
  }
  return out;
}

Result<double> number_of(const engine::Model& model, std::string_view name, double fallback) {
  ROWMAX_TRY(text, engine::edit_value(model, name));
  double value = fallback;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

Status compute(const engine::Model& model, Executor& executor, HeadSeen& seen) {
  engine::SessionOptions options;
  options.context = std::min<std::int64_t>(model.shape().context_length, kTokens);
  ROWMAX_TRY(session, engine::Session::create(model, options, executor));
  seen.tokens = some_tokens(model, options.context);
  Ends ends(seen);
  session.set_observer(&ends);
  ROWMAX_TRY(sequence, session.open());
  const engine::BatchItem item{sequence, seen.tokens, engine::LogitsFor::kAll};
  ROWMAX_RETURN_IF_ERROR(session.forward({&item, 1}));
  for (std::int64_t row = 0; row < session.n_logit_rows(); ++row) {
    const auto logits = session.logits(row);
    seen.logits.insert(seen.logits.end(), logits.begin(), logits.end());
  }
  return {};
}

}  // namespace

namespace {

// Words of plain English without an embedding: rows that were not written. Tokens that no text has may have none.
Result<std::vector<TokenId>> words_without_embedding(Patient& patient, const GgufTensor& embeddings) {
  ROWMAX_TRY(text, patient.text());
  ROWMAX_TRY(tokenizer, patient.tokenizer());
  std::set<TokenId> tokens;
  for (const TextPiece& piece : *text) tokens.insert(piece.tokens.begin(), piece.tokens.end());
  std::vector<TokenId> empty;
  for (const TokenId token : tokens) {
    if (token >= embeddings.shape[1] || tokenizer->kind(token) != engine::TokenKind::kNormal) continue;
    if (std::ranges::all_of(row_of(embeddings, token), [](float value) { return value == 0; })) empty.push_back(token);
  }
  return empty;
}

CheckResult without_embedding(const std::vector<TokenId>& empty) {
  CheckResult result =
      CheckResult::fail(kId, std::ssize(empty),
                        std::to_string(empty.size()) + " tokens of plain text, id " + std::to_string(empty.front()) +
                            " among them, have embeddings of zeros in token_embd.weight");
  result.place.tensor = "token_embd.weight";
  Cause cause;
  cause.id = "weight_zero";
  cause.place = result.place;
  cause.text = "Rows of token_embd.weight are zero for tokens of plain text (id " + std::to_string(empty.front()) +
               " is the first of " + std::to_string(empty.size()) + "): they were not written, or lost.";
  cause.evidence = {{"tokens", std::to_string(empty.size())}, {"first", std::to_string(empty.front())}};
  cause.command = "rowmax trace -m MODEL --stages embedding --tokens " + std::to_string(empty.front());
  cause.confidence = 0.9;
  result.causes.push_back(std::move(cause));
  return result;
}

}  // namespace

Result<CheckResult> check_head(Patient& patient) {
  const auto model = patient.model();
  if (!model.ok()) {
    if (model.error().code == ErrorCode::kOutOfMemory) return Error(model.error());
    return CheckResult::inconclusive(kId, "the model cannot be loaded: " + model.error().message);
  }
  HeadSeen seen;
  const engine::GgufFile& file = (*model)->file();
  seen.n_embd = (*model)->shape().n_embd;
  seen.n_vocab = (*model)->shape().n_vocab;
  seen.activations = (*model)->options().activations;
  ROWMAX_TRY(scale, number_of(**model, "embedding_scale", 1));
  ROWMAX_TRY(logit_scale, number_of(**model, "logit_scale", 1));
  ROWMAX_TRY(softcap, number_of(**model, "final_softcap", 0));
  seen.embedding_scale = scale;
  seen.logit_scale = logit_scale;
  seen.softcap = softcap;
  seen.embeddings = file.find_tensor("token_embd.weight");
  const GgufTensor* output = file.find_tensor("output.weight");
  ROWMAX_TRY(tied, engine::edit_value(**model, "tied_head"));
  const bool is_tied = tied == "yes";
  seen.head = is_tied ? seen.embeddings : output;
  seen.other = is_tied ? output : seen.embeddings;
  if (const Status computed = compute(**model, patient.executor(), seen); !computed.ok()) {
    if (computed.error().code == ErrorCode::kOutOfMemory) return Error(computed.error());
    return CheckResult::inconclusive(kId, "the model computes no logits: " + computed.error().message);
  }
  ROWMAX_TRY(empty, words_without_embedding(patient, *seen.embeddings));
  if (!empty.empty()) return without_embedding(empty);
  seen.turned_embeddings = turn_of(file, (*model)->options(), "inverse_weight_names", *seen.embeddings);
  seen.turned_head = turn_of(file, (*model)->options(), "weight_names", *seen.head);
  if (seen.turned_head.block > 0) seen.other = nullptr;  // it may be turned in another way
  return judge_head(seen);
}

}  // namespace rowmax::doctor
