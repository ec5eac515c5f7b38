// Experts as files hold them: gate and up in one tensor or in two, and, as an edit, in another order. All of it to the bit.
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "engine/runtime/test_edits.h"

namespace rowmax::engine::experts_test {
namespace {

// Of each expert gate, then up, in one tensor: the logits of a file that holds them apart, in types with blocks of all kinds.
TEST(Experts, GateAndUpInOneTensorAreThoseApart) {
  for (const char* type : {"F32", "BF16", "Q4_0", "Q6_K", "IQ4_XS", "MXFP4", "TQ2_0", "IQ2_BN_R4"}) {
    SCOPED_TRACE(type);
    const Bytes whole = model_bytes("gemma4_moe", [&](tools::SyntheticSpec& spec) {
      spec.embd = 256;
      spec.ff = spec.expert_ff = 128;
      spec.layers = 2;
      spec.type = type;
      if (spec.type.starts_with("TQ") || spec.type.starts_with("IQ2")) spec.values = "ternary";
    });
    const GgufFile file = std::move(GgufFile::parse(whole, "whole.gguf")).value();
    std::size_t n_split = 0;
    const Bytes apart = rewritten(
        whole, [](const GgufTensor& tensor, Bytes&) { return !tensor.name.ends_with("gate_up_exps.weight"); },
        [&](GgufWriter& writer) {
          for (const GgufTensor& tensor : file.tensors()) {
            if (!tensor.name.ends_with("gate_up_exps.weight")) continue;
            const auto n = static_cast<std::size_t>(tensor.shape[2]);
            const std::size_t half = tensor.data.size() / n / 2;
            const std::string layer(tensor.name.substr(0, tensor.name.find("gate_up")));
            for (const std::size_t part : {0, 1}) {
              Bytes bytes;
              for (std::size_t e = 0; e < n; ++e) {
                const auto expert = tensor.data.subspan((2 * e + part) * half, half);
                bytes.insert(bytes.end(), expert.begin(), expert.end());
              }
              writer.add_tensor(layer + (part == 0 ? "gate_exps.weight" : "up_exps.weight"), tensor.type,
                                {tensor.shape[0], tensor.shape[1] / 2, tensor.shape[2]}, std::move(bytes));
            }
            ++n_split;
          }
        });
    EXPECT_EQ(n_split, 2u);
    EXPECT_TRUE(same(logits(loaded(whole)), logits(loaded(apart))));
  }
}

// Nothing is packed again: experts stand in each other's places.
TEST(TensorEdits, AnOrderOfExpertsIsThatOfAFileThatHoldsThemSo) {
  const Bytes bytes = model_bytes("qwen35moe");
  const Model model = loaded(bytes);
  EXPECT_EQ(*edit_value(model, "expert_order"), "stored");
  using Order = std::function<std::size_t(std::size_t e, std::size_t n)>;
  const Order third = [](std::size_t e, std::size_t n) { return (e + 3) % n; };
  const Order reversed = [](std::size_t e, std::size_t n) { return n - 1 - e; };
  const Order pairs = [](std::size_t e, std::size_t n) { return (e ^ 1) < n ? e ^ 1 : e; };
  const std::tuple<const char*, const char*, Order> cases[] = {
      {"ffn_down_exps.weight:3", ".ffn_down_exps.weight", third},
      {"blk.1.ffn_up_exps.weight:reversed", "blk.1.ffn_up_exps.weight", reversed},
      {"ffn_gate_exps.weight:pairs", ".ffn_gate_exps.weight", pairs}};
  for (const auto& [value, hit, order] : cases) {
    const Bytes other = rewritten(bytes, [&hit = hit, &order = order](const GgufTensor& tensor, Bytes& of_tensor) {
      if (tensor.name.find(hit) == std::string_view::npos) return true;
      const Bytes before = of_tensor;
      const auto n = static_cast<std::size_t>(tensor.shape[2]);
      const std::size_t size = before.size() / n;
      for (std::size_t e = 0; e < n; ++e) {
        std::memcpy(of_tensor.data() + e * size, before.data() + order(e, n) * size, size);
      }
      return true;
    });
    const Model edited = variant(model, {{"expert_order", value}});
    EXPECT_EQ(*edit_value(edited, "expert_order"), value);
    EXPECT_EQ(edited.own_weight_bytes(), 0);
    const std::vector<float> want = logits(loaded(other));
    EXPECT_TRUE(same(logits(edited), want)) << value;
    EXPECT_TRUE(same(logits(loaded(bytes, {{"expert_order", value}})), want)) << value;
    EXPECT_FALSE(same(logits(model), want)) << value;
    // From one order to another, and back.
    const Model again = variant(edited, {{"expert_order", "ffn_down_exps.weight:1"}});
    EXPECT_TRUE(same(logits(again), logits(variant(model, {{"expert_order", "ffn_down_exps.weight:1"}})))) << value;
    EXPECT_TRUE(same(logits(variant(edited, {{"expert_order", "stored"}})), logits(model))) << value;
  }
  // All three with the router: expert_shift.
  EXPECT_TRUE(same(
      logits(variant(model, {{"expert_order", "ffn_gate_exps.weight:2,ffn_up_exps.weight:2,ffn_down_exps.weight:2"}})),
      logits(model, {{"expert_shift", "2"}})));
  for (const char* value : {"ffn_down_exps.weight", "ffn_down_exps.weight:64", "ffn_down_exps.weight:-1",
                            "ffn_down_exps.weight:sorted", "ffn_down.weight:1", "blk.0.attn_norm.weight:1"}) {
    expect_refused(model, "expert_order", value, {"expert_order", "expert"});
  }
  expect_refused(loaded(model_bytes("llama")), "expert_order", "ffn_down_exps.weight:1",
                 {"no tensor of this model has it"});
}

// Biases and factors of experts lie in the order of their matrices; gate and up may lie in one tensor.
TEST(TensorEdits, AnOrderOfExpertsIsThatOfTheirNumbersToo) {
  struct Case {
    const char* arch;
    const char* order;
    std::vector<std::string_view> moved;  // by three
  };
  const Case cases[] = {
      {"gpt-oss", "ffn_gate_exps.weight:3", {".ffn_gate_exps.weight", ".ffn_gate_exps.bias"}},
      {"gpt-oss", "ffn_up_exps.weight:3", {".ffn_up_exps.weight", ".ffn_up_exps.bias"}},
      {"gpt-oss", "blk.1.ffn_down_exps.weight:3", {"blk.1.ffn_down_exps.weight", "blk.1.ffn_down_exps.bias"}},
      {"gemma4_moe", "ffn_gate_up_exps.weight:3", {".ffn_gate_up_exps.weight"}},
      {"gemma4_moe", "ffn_down_exps.weight:3", {".ffn_down_exps.weight", ".ffn_down_exps.scale"}}};
  for (const Case& one : cases) {
    const Bytes bytes = model_bytes(one.arch);
    const Model model = loaded(bytes);
    std::size_t n_moved = 0;
    const Bytes other = rewritten(bytes, [&](const GgufTensor& tensor, Bytes& of_tensor) {
      const auto is = [&](std::string_view part) { return tensor.name.find(part) != std::string_view::npos; };
      if (std::ranges::none_of(one.moved, is)) return true;
      ++n_moved;
      const Bytes before = of_tensor;
      const auto n = static_cast<std::size_t>(tensor.shape.back());
      const std::size_t size = before.size() / n;
      for (std::size_t e = 0; e < n; ++e) {
        std::memcpy(of_tensor.data() + e * size, before.data() + (e + 3) % n * size, size);
      }
      return true;
    });
    EXPECT_GE(n_moved, one.moved.size());
    const std::vector<float> want = logits(loaded(other));
    const Model edited = variant(model, {{"expert_order", one.order}});
    EXPECT_EQ(edited.own_weight_bytes(), 0);
    EXPECT_TRUE(same(logits(edited), want)) << one.order;
    EXPECT_FALSE(same(logits(model), want)) << one.order;
    EXPECT_TRUE(same(logits(variant(edited, {{"expert_order", "stored"}})), logits(model))) << one.order;
  }
  // All of them with the router: expert_shift.
  const std::pair<const char*, const char*> all[] = {
      {"gpt-oss", "ffn_gate_exps.weight:2,ffn_up_exps.weight:2,ffn_down_exps.weight:2"},
      {"gemma4_moe", "ffn_gate_up_exps.weight:2,ffn_down_exps.weight:2"}};
  for (const auto& [arch, orders] : all) {
    const Bytes bytes = model_bytes(arch);
    const Model model = loaded(bytes);
    EXPECT_TRUE(same(logits(variant(model, {{"expert_order", orders}})), logits(model, {{"expert_shift", "2"}})))
        << arch;
  }
}

}  // namespace
}  // namespace rowmax::engine::experts_test
