// The products of a forward pass are those of the kernels that it was given. All true kernels give the same bits, so one
// that spoils a number has to show it.
#include <gtest/gtest.h>

#include "engine/model/forward.h"
#include "engine/runtime/kv_cache.h"
#include "engine/runtime/model_impl.h"
#include "rowmax/engine/session.h"
#include "tools/make_model/synthetic/synthetic_model.h"

namespace rowmax::engine::forward_kernels_test {
namespace {

int g_layout = 0;  // of the head's matrix

void spoil(const panel::Job& job) noexcept {
  panel::kernels_scalar().panels[g_layout].f32(job);
  job.y[job.token_begin * job.ldy + job.panel_begin * panel::kRows] += 1.0f;
}
const panel::Kernels& spoiled() noexcept {
  static const panel::Kernels kernels = [] {
    panel::Kernels copy = panel::kernels_scalar();
    copy.panels[g_layout].f32 = &spoil;
    return copy;
  }();
  return kernels;
}

std::vector<float> logits(const Model& model, const panel::KernelTable& table) {
  const Model::Impl& impl = model.impl();
  SerialExecutor executor;
  KvCache::Shape shape;
  shape.context = 64;
  for (const LayerSpec& layer : impl.spec.layers) {
    shape.layers.push_back({layer.attention.n_kv_head, layer.attention.head_dim});
  }
  KvCache cache = std::move(KvCache::create(shape)).value();
  KvLayers layers;
  for (std::int64_t i = 0; i < std::ssize(shape.layers); ++i) {
    layers.views.push_back(cache.view(i));
    layers.keys.push_back(cache.layer_keys(i));
    layers.values.push_back(cache.layer_values(i));
    layers.group_of_layer.push_back(0);
  }
  layers.n_group = 1;
  const std::vector<TokenId> tokens = {1, 2, 3};
  const SequenceId id = *cache.open();
  cache.begin_batch();
  EXPECT_TRUE(cache.append(id, tokens).ok());
  EXPECT_TRUE(cache.prepare(id, 0, 3).ok());
  OpsOptions options{.max_rows = 3, .max_context = 64, .activations = Activations::kF32, .kernels = &table};
  auto forward = Forward::create(impl.spec, impl.weights, options, *cpu_backend(executor, table.isa));
  EXPECT_TRUE(forward.ok());
  const std::int32_t* pages[] = {cache.sequence(id).tables[0].pages.data()};
  const ForwardSequence sequence{0, 3, 0, pages, id, nullptr};
  const std::vector<std::int32_t> rows = {2};
  std::vector<float> out(static_cast<std::size_t>(model.shape().n_vocab));
  EXPECT_TRUE(forward->run({tokens, {&sequence, 1}, rows}, layers, out.data()).ok());
  return out;
}

TEST(ForwardKernels, AreTheOnesGiven) {
  tools::SyntheticSpec spec = tools::odd_spec("llama");
  spec.type = "Q4_0";
  const auto bytes = tools::synthetic_model_bytes(spec);
  ASSERT_TRUE(bytes.ok()) << bytes.error().message;
  SerialExecutor executor;
  auto model = Model::load(std::move(GgufFile::parse(*bytes, "synthetic")).value(), {}, executor);
  ASSERT_TRUE(model.ok()) << model.error().message;
  g_layout = model->impl().weights.output.matrix.layout();
  const panel::KernelTable broken{"broken", Isa::kScalar, "", &spoiled, +[]() noexcept { return true; }};
  const std::vector<float> want = logits(*model, panel::kernel_tables()[0]);
  EXPECT_NE(logits(*model, broken), want);
  for (const panel::KernelTable& table : panel::kernel_tables()) {
    if (!table.supported()) continue;
    EXPECT_EQ(logits(*model, table), want) << table.name;
  }
}

}  // namespace
}  // namespace rowmax::engine::forward_kernels_test
