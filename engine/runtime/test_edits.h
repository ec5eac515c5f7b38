// Synthetic models, files made of theirs, and variants of loaded models (rowmax/engine/edits.h).
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "engine/runtime/model_impl.h"
#include "rowmax/engine/edits.h"
#include "rowmax/engine/session.h"
#include "tools/make_model/synthetic/synthetic_model.h"

namespace rowmax::engine {

using Bytes = std::vector<std::byte>;

inline const std::vector<TokenId> kTokens = {5, 17, 99, 17, 230, 8, 1, 64, 33};

inline Bytes model_bytes(const std::string& arch, const std::function<void(tools::SyntheticSpec&)>& change = {}) {
  tools::SyntheticSpec spec = tools::odd_spec(arch);
  if (change) change(spec);
  auto bytes = tools::synthetic_model_bytes(spec);
  EXPECT_TRUE(bytes.ok()) << bytes.error().message;
  return std::move(bytes).value();
}

// The file again; `tensor` may change a tensor's bytes or say false to leave it away.
using ChangeTensor = std::function<bool(const GgufTensor& tensor, Bytes& bytes)>;
inline Bytes rewritten(const Bytes& file_bytes, const ChangeTensor& change,
                       const std::function<void(GgufWriter&)>& set_keys = {}) {
  const GgufFile file = std::move(GgufFile::parse(file_bytes, "before.gguf")).value();
  GgufWriter writer;
  for (const auto& [key, value] : file.metadata()) writer.set_value(std::string(key), value);
  if (set_keys) set_keys(writer);
  for (const GgufTensor& tensor : file.tensors()) {
    Bytes bytes(tensor.data.begin(), tensor.data.end());
    if (change(tensor, bytes)) writer.add_tensor(std::string(tensor.name), tensor.type, tensor.shape, std::move(bytes));
  }
  return std::move(writer.bytes()).value();
}

inline Result<Model> load(const Bytes& bytes, const Edits& edits = {}, const GgufOptions& gguf = {}) {
  static SerialExecutor executor;
  ModelOptions options;
  options.isa = supported_isas().back();
  options.edits = edits;
  auto file = GgufFile::parse(bytes, "m.gguf", gguf);
  if (!file.ok()) return file.error();
  return Model::load(std::move(file).value(), options, executor);
}

inline Model loaded(const Bytes& bytes, const Edits& edits = {}, const GgufOptions& gguf = {}) {
  auto model = load(bytes, edits, gguf);
  EXPECT_TRUE(model.ok()) << model.error().message;
  return std::move(model).value();
}

inline Result<Model> try_variant(const Model& model, const Edits& edits) {
  SerialExecutor executor;
  return model.with_edits(edits, executor);
}
inline Model variant(const Model& model, const Edits& edits) {
  auto made = try_variant(model, edits);
  EXPECT_TRUE(made.ok()) << made.error().message;
  return std::move(made).value();
}

inline std::vector<float> logits(const Model& model, const Edits& session_edits = {}) {
  SerialExecutor executor;
  SessionOptions options;
  options.edits = session_edits;
  auto session = Session::create(model, options, executor);
  EXPECT_TRUE(session.ok()) << session.error().message;
  const SequenceId sequence = *session->open();
  const BatchItem item{sequence, kTokens, LogitsFor::kAll};
  const Status status = session->forward({&item, 1});
  EXPECT_TRUE(status.ok()) << status.error().message;
  std::vector<float> all;
  for (std::int64_t row = 0; row < session->n_logit_rows(); ++row) {
    all.insert(all.end(), session->logits(row).begin(), session->logits(row).end());
  }
  return all;
}

inline bool same(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}
inline double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::fabs(static_cast<double>(a[i] - b[i])));
  return worst;
}

// The matrices of a model by their tensors, as addresses of what is packed.
inline std::map<std::string, std::pair<const std::byte*, std::size_t>> matrices(const Model& model) {
  std::map<std::string, std::pair<const std::byte*, std::size_t>> out;
  const ModelWeights& weights = model.impl().weights;
  out["output"] = {weights.output.matrix.panel(0), weights.output.matrix.bytes()};
  if (weights.sources.layer_projection.present()) {
    out["per_layer_model_proj.weight"] = {weights.layer_projection.matrix.panel(0),
                                          weights.layer_projection.matrix.bytes()};
  }
  for (std::size_t i = 0; i < weights.layers.size(); ++i) {
    for (const WeightInfo& info : weight_table()) {
      std::size_t n = 0;
      for (const Linear& linear : weights.layers[i].experts(info.id)) {
        out[info.tensor(static_cast<std::int64_t>(i)) + "/" + std::to_string(n++)] = {linear.matrix.panel(0),
                                                                                      linear.matrix.bytes()};
      }
    }
  }
  return out;
}

// Those and only those whose names hold one of `changed` were packed again, and are counted.
inline void expect_shared(const Model& model, const Model& other, const std::vector<std::string>& changed) {
  const auto before = matrices(model), after = matrices(other);
  ASSERT_EQ(before.size(), after.size());
  std::size_t own = 0, all = 0;
  for (const auto& [name, place] : after) {
    const bool named = std::ranges::any_of(changed, [&name = name](const std::string& part) {
      return name == part || name.starts_with(part) || name.find("." + part) != std::string::npos;
    });
    EXPECT_EQ(before.at(name).first != place.first, named) << name;
    own += named ? place.second : 0;
    all += place.second;
  }
  EXPECT_EQ(other.own_weight_bytes(), static_cast<std::int64_t>(own));
  EXPECT_EQ(other.weight_bytes(), static_cast<std::int64_t>(all));
}

inline void expect_refused(const Model& model, const std::string& name, const std::string& value,
                           const std::vector<std::string>& says) {
  const auto refused = try_variant(model, {{name, value}});
  ASSERT_FALSE(refused.ok()) << name << "=" << value;
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument);
  for (const std::string& text : says) {
    EXPECT_NE(refused.error().message.find(text), std::string::npos) << refused.error().message;
  }
}

}  // namespace rowmax::engine
