// facts_of_layers: what each layer does, as the model's spec has it there, after the edits.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/runtime/model_impl.h"
#include "rowmax/engine/edits.h"
#include "tools/make_model/synthetic/synthetic_model.h"

namespace rowmax::engine::layer_facts_test {
namespace {

Result<Model> load(const std::vector<std::byte>& bytes, const Edits& edits) {
  auto file = GgufFile::parse(bytes, "m.gguf");
  if (!file.ok()) return file.error();
  SerialExecutor executor;
  ModelOptions options;
  options.edits = edits;
  return Model::load(std::move(file).value(), options, executor);
}

TEST(LayerFacts, AreThoseOfEach) {
  for (const char* arch : {"llama", "gemma3", "gemma4", "qwen35", "gpt-oss"}) {
    const auto bytes = tools::synthetic_model_bytes(tools::odd_spec(arch));
    ASSERT_TRUE(bytes.ok()) << bytes.error().message;
    for (const Edits& edits : {Edits{}, Edits{{"rms_norm_eps", "0.25"}}, Edits{{"rope_layers", "exchanged"}}}) {
      const bool exchanged = !edits.empty() && edits[0].first == "rope_layers";
      if (exchanged && arch != std::string_view("gemma3")) continue;
      auto loaded = load(*bytes, edits);
      ASSERT_TRUE(loaded.ok()) << loaded.error().message;
      const Model& model = *loaded;
      const auto layers = facts_of_layers(model.file(), model.options());
      ASSERT_TRUE(layers.ok()) << layers.error().message;
      const ModelSpec& spec = model.impl().spec;
      ASSERT_EQ(layers->size(), spec.layers.size());
      for (std::size_t i = 0; i < layers->size(); ++i) {
        const auto value = [&](std::string_view name) {
          const auto found = std::ranges::find((*layers)[i], name, &EditableFact::name);
          return found == (*layers)[i].end() ? std::string() : found->value;
        };
        const LayerSpec& layer = spec.layers[i];
        const bool attends = layer.mixer == MixerKind::kAttention;
        EXPECT_EQ(value("sliding_window"), attends ? std::to_string(layer.attention.window) : "") << arch << i;
        if (attends) {
          const RopeSpec& own = spec.ropes[static_cast<std::size_t>(layer.attention.rope)];
          const RopeSpec& other = spec.ropes[spec.ropes.size() - 1 - static_cast<std::size_t>(layer.attention.rope)];
          EXPECT_EQ(std::stod(value("rope_base")), (exchanged ? other : own).base) << arch << i;
        } else {
          EXPECT_EQ(value("rope_base"), "") << arch << i;
        }
        EXPECT_EQ(static_cast<float>(std::stod(value("rms_norm_eps"))), spec.rms_norm_eps) << arch << i;
        EXPECT_EQ(value("embedding_scale"), *edit_value(model, "embedding_scale")) << arch << i;
        EXPECT_EQ(value("add_bos") + value("tensor_layout"), "") << arch << i;
      }
    }
  }
}

}  // namespace
}  // namespace rowmax::engine::layer_facts_test
