// The forward pass over pages that were given back (-1 in a table): refused where a row would see one, never touched
// where no row does.

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "engine/model/forward.h"
#include "engine/runtime/kv_cache.h"
#include "engine/runtime/model_impl.h"
#include "tools/make_model/synthetic/synthetic_model.h"

namespace rowmax::engine::released_page_test {
namespace {

TEST(ReleasedPage, IsRefusedWhereItWouldBeSeenAndUntouchedElsewhere) {
  tools::SyntheticSpec spec = tools::odd_spec("llama");
  spec.context = 512;
  const std::vector<std::byte> bytes = std::move(tools::synthetic_model_bytes(spec)).value();
  SerialExecutor executor;
  ModelOptions options;
  options.overrides = {{"llama.attention.sliding_window", "100"}};
  const auto model = Model::load(std::move(GgufFile::parse(bytes, "synthetic")).value(), options, executor);
  ASSERT_TRUE(model.ok()) << model.error().message;
  const ModelSpec& m = model->impl().spec;
  const AttentionSpec& a = m.layers[0].attention;
  KvCache::Shape shape{.layers = {}, .context = 512, .share = false, .rows_at_once = 512};
  for (std::size_t i = 0; i < m.layers.size(); ++i) shape.layers.push_back({a.n_kv_head, a.head_dim, a.window});
  auto cache = KvCache::create(shape);
  ASSERT_TRUE(cache.ok());
  KvLayers layers;
  for (std::int64_t i = 0; i < std::ssize(m.layers); ++i) {
    layers.views.push_back(cache->view(i));
    layers.keys.push_back(cache->layer_keys(i));
    layers.values.push_back(cache->layer_values(i));
    layers.group_of_layer.push_back(0);
  }
  layers.n_group = 1;
  auto forward =
      Forward::create(m, model->impl().weights,
                      {.max_rows = 512, .max_context = 512, .kernels = panel::choose_table({}, Isa::kScalar).value()},
                      *cpu_backend(executor, Isa::kScalar));
  ASSERT_TRUE(forward.ok());
  const SequenceId id = *cache->open();
  const std::vector<TokenId> tokens(400, 7);
  cache->begin_batch();
  ASSERT_TRUE(cache->append(id, tokens).ok());
  ASSERT_TRUE(cache->prepare(id, 0, 400).ok());
  std::vector<std::int32_t> pages = cache->sequence(id).tables[0].pages;
  ASSERT_EQ(pages.size(), 7u);
  const std::int32_t logit_rows[] = {0};
  std::vector<float> logits(static_cast<std::size_t>(m.shape.n_vocab));
  const auto run = [&](std::int64_t position, std::int64_t n) {
    const std::int32_t* tables[] = {pages.data()};
    const ForwardSequence rows{
        .begin = 0, .n_row = n, .position = position, .pages = tables, .id = id, .state = nullptr};
    return forward->run({std::span(tokens).first(static_cast<std::size_t>(n)), {&rows, 1}, logit_rows}, layers,
                        logits.data());
  };
  ASSERT_TRUE(run(0, 399).ok());
  ASSERT_TRUE(run(399, 1).ok());
  const std::vector<float> want = logits;
  // Position 399 sees from 300 on: page 4, with 256 to 319, is the first.
  for (std::size_t page = 0; page < 4; ++page) pages[page] = -1;
  ASSERT_TRUE(run(399, 1).ok());
  EXPECT_EQ(std::memcmp(logits.data(), want.data(), want.size() * sizeof(float)), 0);
  for (const std::size_t page : {4u, 5u, 6u}) {
    const std::int32_t kept = std::exchange(pages[page], -1);
    const Status status = run(399, 1);
    ASSERT_FALSE(status.ok()) << page;
    EXPECT_EQ(status.error().code, ErrorCode::kInvalidArgument);
    const char* const says = page == 6 ? "position 399 has no page" : "holds visible keys but its number is -1";
    EXPECT_NE(status.error().message.find(says), std::string::npos) << status.error().message;
    pages[page] = kept;
  }
  EXPECT_TRUE(run(355, 1).ok());   // sees from 256 on
  EXPECT_FALSE(run(354, 2).ok());  // its first row sees 255
}

}  // namespace
}  // namespace rowmax::engine::released_page_test
