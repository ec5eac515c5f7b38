// Facts of a model's tensors and tokenizer: a variant of a loaded model computes what a load of a file that says so
// computes, to the bit, and shares everything else.

#include "rowmax/engine/edits.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "engine/runtime/test_edits.h"

namespace rowmax::engine::edits_test {
namespace {

TEST(TensorEdits, AModelOwnsWhatItPacked) {
  const Bytes bytes = model_bytes("llama");
  const Model model = loaded(bytes);
  EXPECT_EQ(model.own_weight_bytes(), model.weight_bytes());
  const Model other = variant(model, {});
  expect_shared(model, other, {});
  EXPECT_TRUE(same(logits(model), logits(other)));
  EXPECT_EQ(&model.tokenizer(), &other.tokenizer());
}

TEST(TensorEdits, ATiedHeadIsThatOfAFileWithoutItsOwn) {
  const Bytes bytes = model_bytes("llama", [](tools::SyntheticSpec& spec) { spec.untied = true; });
  const Bytes without =
      rewritten(bytes, [](const GgufTensor& tensor, Bytes&) { return tensor.name != "output.weight"; });
  const Model model = loaded(bytes);
  EXPECT_EQ(*edit_value(model, "tied_head"), "no");
  const Model tied = variant(model, {{"tied_head", "yes"}});
  EXPECT_EQ(*edit_value(tied, "tied_head"), "yes");
  expect_shared(model, tied, {"output"});
  const std::vector<float> got = logits(tied);
  EXPECT_TRUE(same(got, logits(loaded(without))));
  EXPECT_TRUE(same(got, logits(loaded(bytes, {{"tied_head", "yes"}}))));
  EXPECT_FALSE(same(got, logits(model)));
  EXPECT_TRUE(same(logits(variant(tied, {{"tied_head", "no"}})), logits(model)));
  expect_refused(model, "tied_head", "perhaps", {"tied_head", "yes or no", "perhaps"});
  expect_refused(loaded(without), "tied_head", "no", {"yes", "no output.weight"});
}

// What llama.cpp's converter does, in its own terms: reshape(heads, 2, dim / 2, cols).swapaxes(1, 2).
Bytes permuted(const Bytes& bytes, std::int64_t run, std::int64_t dim, std::int64_t row_bytes) {
  Bytes out = bytes;
  const auto rows = static_cast<std::int64_t>(bytes.size()) / row_bytes;
  std::int64_t to = 0;
  for (std::int64_t head = 0; head < rows; head += run) {
    to = head;
    for (std::int64_t i = 0; i < dim / 2; ++i) {
      for (std::int64_t j = 0; j < 2; ++j) {
        std::memcpy(out.data() + to++ * row_bytes, bytes.data() + (head + j * (dim / 2) + i) * row_bytes,
                    static_cast<std::size_t>(row_bytes));
      }
    }
  }
  return out;
}

struct QkCase {
  const char* arch;
  const char* type;
  bool biases;
};
class QkPermutation : public testing::TestWithParam<QkCase> {};

TEST_P(QkPermutation, IsDoneAndUndone) {
  const QkCase& c = GetParam();
  const Bytes straight = model_bytes(c.arch, [&](tools::SyntheticSpec& spec) {
    spec.type = c.type;
    spec.biases = c.biases;
    spec.embd = 256;
    spec.heads = 4;
    spec.kv_heads = 2;
    spec.head_dim = 64;
  });
  const Model first = loaded(straight);
  const bool adjacent = *edit_value(first, "qk_permutation") == "llama";
  EXPECT_EQ(adjacent, *edit_value(first, "rope_pairing") == "adjacent");
  const ModelSpec& spec = first.impl().spec;
  const Bytes turned = rewritten(straight, [&](const GgufTensor& tensor, Bytes& bytes) {
    for (const char* part : {".attn_q.", ".attn_k."}) {
      if (tensor.name.find(part) == std::string_view::npos) continue;
      const AttentionSpec& attention = spec.layers[static_cast<std::size_t>(tensor.name[4] - '0')].attention;
      const bool gated = attention.output_gate && std::string(part) == ".attn_q.";
      const std::int64_t rows = tensor.shape.back();
      bytes = permuted(bytes, attention.head_dim * (gated ? 2 : 1), attention.head_dim,
                       static_cast<std::int64_t>(bytes.size()) / rows);
    }
    return true;
  });
  // For adjacent pairs a file is as it should be when it is permuted; for halves, when it is not.
  const Bytes& plain = straight;
  const std::string wrong = adjacent ? "none" : "llama";
  const Model good = loaded(adjacent ? turned : plain), bad = loaded(adjacent ? plain : turned);
  const Model repaired = variant(bad, {{"qk_permutation", wrong}});
  const std::vector<float> want = logits(good);
  EXPECT_TRUE(same(logits(repaired), want));
  EXPECT_TRUE(same(logits(loaded(adjacent ? plain : turned, {{"qk_permutation", wrong}})), want));
  EXPECT_FALSE(same(logits(bad), want));
  expect_shared(bad, repaired, {"attn_q.weight", "attn_k.weight"});
  EXPECT_EQ(*edit_value(repaired, "qk_permutation"), wrong);
  EXPECT_TRUE(same(logits(variant(repaired, {{"qk_permutation", adjacent ? "llama" : "none"}})), logits(bad)));
  expect_refused(bad, "qk_permutation", "yes", {"qk_permutation", "none or llama", "yes"});
  // Rows for adjacent pairs that turn in adjacent pairs are rows for halves that turn in halves, but for the order in
  // which a head's products add up; heads that turn whole, for others keep what does not turn in its place.
  if (spec.ropes[0].n_rot == spec.layers[0].attention.head_dim && spec.layers[0].attention.qk_norm == QkNorm::kNone) {
    EXPECT_LT(distance(logits(bad, {{"rope_pairing", adjacent ? "halves" : "adjacent"}}), want), 2e-3);
    EXPECT_GT(distance(logits(bad), want), 1e-2);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, QkPermutation,
                         testing::Values(QkCase{"llama", "F32", true}, QkCase{"llama", "Q4_0", false},
                                         QkCase{"llama", "TQ2_0", false}, QkCase{"qwen2", "Q8_0", false},
                                         QkCase{"qwen3", "F16", false}, QkCase{"qwen35", "Q8_0", false}),
                         [](const auto& info) { return std::string(info.param.arch) + "_" + info.param.type; });

// H is symmetric and its own inverse up to the normalisation, so what the keys say is all that differs: without them the
// file holds other weights.
TEST(TensorEdits, HadamardOffIsAFileWithoutItsKeys) {
  const auto add_keys = [](GgufWriter& writer) {
    writer.set_uint32("prism.hadamard.version", 1);
    writer.set_uint32("prism.hadamard.block_size", 8);
    writer.set_string("prism.hadamard.transform", "normalized-sylvester-walsh-hadamard");
    writer.set_string("prism.hadamard.axis", "input-last-dimension");
    writer.set_string("prism.hadamard.sign_mode", "identity");
    writer.set_strings("prism.hadamard.weight_names",
                       {"blk.0.attn_q.weight", "blk.1.ffn_down.weight", "token_embd.weight"});
    writer.set_strings("prism.hadamard.inverse_weight_names", {"token_embd.weight"});
  };
  const Bytes plain = model_bytes("llama");
  const Bytes turned = rewritten(
      plain, [](const GgufTensor&, Bytes&) { return true; }, add_keys);
  const Model model = loaded(turned);
  EXPECT_EQ(*edit_value(model, "hadamard"), "yes");
  const Model off = variant(model, {{"hadamard", "no"}});
  EXPECT_EQ(*edit_value(off, "hadamard"), "no");
  expect_shared(model, off, {});
  EXPECT_TRUE(same(logits(off), logits(loaded(plain))));
  EXPECT_FALSE(same(logits(off), logits(model)));
  EXPECT_TRUE(same(logits(variant(off, {{"hadamard", "yes"}})), logits(model)));
  expect_refused(model, "hadamard", "perhaps", {"hadamard", "no", "perhaps"});
  expect_refused(loaded(plain), "hadamard", "yes", {"hadamard", "no", "yes"});
}

void ternary(tools::SyntheticSpec& spec) {
  spec.type = "I2_S";
  spec.head_type = "F16";
  spec.values = "ternary";
  spec.embd = 256;
  spec.ff = 512;
  spec.head_dim = 64;
  spec.heads = 4;
  spec.kv_heads = 2;
}

TEST(TensorEdits, ALayoutIsThatOfTheOption) {
  const Bytes bytes = model_bytes("bitnet-b1.58", ternary);
  const Model model = loaded(bytes);
  EXPECT_EQ(*edit_value(model, "tensor_layout"), "I2_S");
  const Model other = variant(model, {{"tensor_layout", "I2_S_64"}});
  EXPECT_EQ(*edit_value(other, "tensor_layout"), "I2_S_64");
  const std::vector<float> want = logits(loaded(bytes, {}, {{"I2_S_64"}}));
  EXPECT_TRUE(same(logits(other), want));
  EXPECT_TRUE(same(logits(loaded(bytes, {{"tensor_layout", "I2_S_64"}})), want));
  EXPECT_FALSE(same(logits(model), want));
  expect_shared(model, other, {"blk."});
  EXPECT_TRUE(same(logits(variant(other, {{"tensor_layout", "I2_S"}})), logits(model)));
  expect_refused(model, "tensor_layout", "Q4_0", {"tensor_layout", "I2_S_64", "Q4_0"});
  expect_refused(loaded(model_bytes("llama")), "tensor_layout", "I2_S_64", {"no tensor of this file"});
}

// Numbers of a tensor in a copy of its bytes.
std::span<float> floats(Bytes& bytes) { return {reinterpret_cast<float*>(bytes.data()), bytes.size() / 4}; }

// What an edit makes of a file is what another file holds, to the bit; nothing but `changed` is packed again.
void expect_is(const Bytes& file, const Edits& edits, const Bytes& other, const std::vector<std::string>& changed) {
  const Model model = loaded(file);
  const Model edited = variant(model, edits);
  for (const auto& [name, value] : edits) EXPECT_EQ(*edit_value(edited, name), value);
  const std::vector<float> want = logits(loaded(other));
  EXPECT_TRUE(same(logits(edited), want)) << edits[0].first << "=" << edits[0].second;
  EXPECT_TRUE(same(logits(loaded(file, edits)), want));
  EXPECT_FALSE(same(logits(model), want)) << edits[0].first << " changed nothing";
  expect_shared(model, edited, changed);
  EXPECT_TRUE(same(logits(variant(edited, {{edits[0].first, *edit_value(model, edits[0].first)}})), logits(model)));
}

TEST(TensorEdits, NormWeightsAreThoseOfAFileThatHoldsOneMoreOrLess) {
  for (const char* arch : {"llama", "gemma3", "bitnet-b1.58", "qwen35"}) {
    const Bytes bytes = model_bytes(arch);
    for (const auto& [value, shift] : {std::pair{"plus_one", 1.0f}, std::pair{"minus_one", -1.0f}}) {
      const Bytes other = rewritten(bytes, [shift = shift](const GgufTensor& tensor, Bytes& of_tensor) {
        const bool delta = tensor.name.find("ssm_norm") != std::string_view::npos;
        if (tensor.name.find("norm") == std::string_view::npos || delta) return true;
        for (float& weight : floats(of_tensor)) weight += shift;
        return true;
      });
      expect_is(bytes, {{"norm_weights", value}}, other, {});
    }
  }
  expect_refused(loaded(model_bytes("llama")), "norm_weights", "two", {"norm_weights", "plus_one", "two"});
}

TEST(TensorEdits, ConvTapsAreThoseOfAFileThatHoldsThemBackwards) {
  for (const char* arch : {"qwen35", "lfm2"}) {
    const Bytes bytes = model_bytes(arch);
    const Bytes other = rewritten(bytes, [](const GgufTensor& tensor, Bytes& of_tensor) {
      if (!tensor.name.ends_with("ssm_conv1d.weight") && !tensor.name.ends_with("shortconv.conv.weight")) return true;
      const std::span<float> all = floats(of_tensor);
      const auto taps = static_cast<std::size_t>(tensor.shape[0]);
      for (std::size_t at = 0; at < all.size(); at += taps) std::ranges::reverse(all.subspan(at, taps));
      return true;
    });
    expect_is(bytes, {{"conv_taps", "reversed"}}, other, {});
    expect_refused(loaded(bytes), "conv_taps", "no", {"conv_taps", "forward or reversed"});
  }
  expect_refused(loaded(model_bytes("llama")), "conv_taps", "reversed", {"no tensor of this model has it"});
}

// The file's matrices as they are, with the keys that say that they are stored turned.
TEST(TensorEdits, AHadamardBlockIsAFileWithItsKeys) {
  for (const char* arch : {"llama", "qwen35", "qwen3moe"}) {
    for (const bool untied : {false, true}) {
      const Bytes plain = model_bytes(arch, [&](tools::SyntheticSpec& spec) { spec.untied = untied; });
      std::vector<std::string> names;
      const GgufFile file = std::move(GgufFile::parse(plain, "m.gguf")).value();
      for (const GgufTensor& tensor : file.tensors()) {
        const WeightInfo* info = find_layer_weight(tensor.name);
        if ((info != nullptr && info->hadamard) || tensor.name == "output.weight") names.emplace_back(tensor.name);
      }
      const Bytes turned = rewritten(
          plain, [](const GgufTensor&, Bytes&) { return true; },
          [&](GgufWriter& writer) {
            writer.set_uint32("prism.hadamard.version", 1);
            writer.set_uint32("prism.hadamard.block_size", 8);
            writer.set_string("prism.hadamard.transform", "normalized-sylvester-walsh-hadamard");
            writer.set_string("prism.hadamard.axis", "input-last-dimension");
            writer.set_string("prism.hadamard.sign_mode", "identity");
            writer.set_strings("prism.hadamard.weight_names", names);
            if (untied) writer.set_strings("prism.hadamard.inverse_weight_names", {"token_embd.weight"});
          });
      expect_is(plain, {{"hadamard", "8"}}, turned, {});
    }
  }
  const Bytes bytes = model_bytes("llama");
  const Model model = loaded(bytes);
  for (const char* block : {"3", "1", "-8", "8x"}) expect_refused(model, "hadamard", block, {"power of two", block});
  expect_refused(model, "hadamard", "4096", {"divides", "columns of 'blk.0."});
}

TEST(TensorEdits, TernaryValuesAreThoseOfOtherCodes) {
  const Bytes bytes = model_bytes("bitnet-b1.58", ternary);
  const std::pair<const char*, std::array<unsigned, 4>> cases[] = {
      {"1,0,-1", {2, 1, 0, 3}}, {"0,1,-1", {1, 2, 0, 3}}, {"-1,1,0", {0, 2, 1, 3}}};
  for (const auto& [value, codes] : cases) {
    const Bytes other = rewritten(bytes, [&codes = codes](const GgufTensor& tensor, Bytes& of_tensor) {
      if (tensor.format->tail_bytes == 0) return true;
      for (std::size_t i = 0; i < of_tensor.size() - 32; ++i) {
        const auto byte = std::to_integer<unsigned>(of_tensor[i]);
        of_tensor[i] = static_cast<std::byte>(codes[byte >> 6] << 6 | codes[byte >> 4 & 3] << 4 |
                                              codes[byte >> 2 & 3] << 2 | codes[byte & 3]);
      }
      return true;
    });
    expect_is(bytes, {{"ternary_values", value}}, other, {"blk."});
  }
  for (const char* value : {"1,0", "1,0,0", "1,0,-1,0", "-1,0,2"}) {
    expect_refused(loaded(bytes), "ternary_values", value, {"ternary_values", value});
  }
  expect_refused(loaded(model_bytes("llama")), "ternary_values", "1,0,-1", {"no tensor of this model has it"});
}

TEST(TensorEdits, LowBitsFirstIsAFileWithEachByteTheOtherWayRound) {
  const Bytes bytes = model_bytes("bitnet-b1.58", ternary);
  const Bytes other = rewritten(bytes, [](const GgufTensor& tensor, Bytes& of_tensor) {
    if (tensor.format->tail_bytes == 0) return true;
    for (std::size_t i = 0; i < of_tensor.size() - 32; ++i) {
      const auto byte = std::to_integer<unsigned>(of_tensor[i]);
      of_tensor[i] = static_cast<std::byte>((byte & 3) << 6 | (byte >> 2 & 3) << 4 | (byte >> 4 & 3) << 2 | byte >> 6);
    }
    return true;
  });
  expect_is(bytes, {{"ternary_bits", "low_first"}}, other, {"blk."});
  expect_is(bytes, {{"ternary_bits", "low_first"}, {"ternary_values", "-1,0,1"}}, other, {"blk."});
  expect_refused(loaded(bytes), "ternary_bits", "little", {"ternary_bits", "low_first", "little"});
  expect_refused(loaded(model_bytes("llama")), "ternary_bits", "low_first", {"no tensor of this model has it"});
}

TEST(TensorEdits, TernaryScalesAreThoseOfAnotherTail) {
  const Bytes bytes = model_bytes("bitnet-b1.58", ternary);
  const Model model = loaded(bytes);
  EXPECT_EQ(*edit_value(model, "ternary_scale"), "file");
  for (const std::string value : {"none", "reciprocal", "0.25"}) {
    const Bytes other = rewritten(bytes, [&](const GgufTensor& tensor, Bytes& of_tensor) {
      if (tensor.format->tail_bytes == 0) return true;
      float& scale = floats(of_tensor)[of_tensor.size() / 4 - 8];
      scale = value == "none" ? 1.0f : value == "0.25" ? 0.25f : 1.0f / scale;
      return true;
    });
    const Model edited = variant(model, {{"ternary_scale", value}});
    expect_shared(model, edited, {});
    EXPECT_EQ(*edit_value(edited, "ternary_scale"), value);
    const std::vector<float> got = logits(edited), want = logits(loaded(other));
    EXPECT_TRUE(same(got, logits(loaded(bytes, {{"ternary_scale", value}}))));
    std::printf("%s: %.1e from a file that says so, %.1e from this one\n", value.c_str(), distance(got, want),
                distance(got, logits(model)));
    EXPECT_LT(distance(got, want), 1e-2 * distance(got, logits(model)));
  }
  for (const char* value : {"half", "0", "-1", "nan", "2x"}) {
    expect_refused(model, "ternary_scale", value, {"ternary_scale", "reciprocal"});
  }
}

// A matrix of f32 numbers: the number in row i, column j is the j-th of i's column before, as `transpose` reads it.
void write_columns_as_rows(const GgufTensor& tensor, Bytes& of_tensor) {
  const std::span<float> values = floats(of_tensor);
  const std::vector<float> before(values.begin(), values.end());
  const auto n_col = static_cast<std::size_t>(tensor.shape[0]), n_row = static_cast<std::size_t>(tensor.shape[1]);
  for (std::size_t i = 0; i < n_row; ++i) {
    for (std::size_t j = 0; j < n_col; ++j) values[i * n_col + j] = before[j * n_row + i];
  }
}

TEST(TensorEdits, ATransposedMatrixIsThatOfAFileWithItsColumnsAsRows) {
  const Bytes bytes = model_bytes("llama", [](tools::SyntheticSpec& spec) {
    spec.embd = 96;
    spec.heads = 3;
    spec.kv_heads = 1;
    spec.head_dim = 32;
  });
  const Bytes other = rewritten(bytes, [](const GgufTensor& tensor, Bytes& of_tensor) {
    const bool wanted = tensor.name == "blk.1.attn_q.weight" || tensor.name == "blk.0.ffn_down.weight";
    if (wanted) write_columns_as_rows(tensor, of_tensor);
    return true;
  });
  expect_is(bytes, {{"transpose", "blk.1.attn_q.weight,blk.0.ffn_down.weight"}}, other,
            {"blk.1.attn_q.weight", "blk.0.ffn_down.weight"});
  const Model model = loaded(bytes);
  for (const char* name :
       {"token_embd.weight,token_embd.weight", "blk.0.attn_norm.weight", "blk.0.attn_q.weight,blk.0.attn_q.weight"}) {
    expect_refused(model, "transpose", name, {"transpose", "matrices, each once"});
  }
  expect_refused(model, "transpose", "blk.7.attn_q.weight", {"transpose", "'blk.7.attn_q.weight'"});
}

// Tied, it is the head as well.
TEST(TensorEdits, ATransposedEmbeddingIsThatOfAFileWithItsColumnsAsRows) {
  for (const bool untied : {false, true}) {
    const Bytes bytes = model_bytes("llama", [&](tools::SyntheticSpec& spec) { spec.untied = untied; });
    const Bytes other = rewritten(bytes, [](const GgufTensor& tensor, Bytes& of_tensor) {
      if (tensor.name == "token_embd.weight") write_columns_as_rows(tensor, of_tensor);
      return true;
    });
    expect_is(bytes, {{"transpose", "token_embd.weight"}}, other,
              untied ? std::vector<std::string>() : std::vector<std::string>{"output"});
  }
}

// In a format of blocks its numbers are the same, and so are the logits but for how inputs are rounded.
TEST(TensorEdits, AMatrixOfBlocksIsTransposedByItsNumbers) {
  const auto square = [](tools::SyntheticSpec& spec) {
    spec.embd = 96;
    spec.heads = 3;
    spec.kv_heads = 1;
    spec.head_dim = 32;
    spec.type = "Q8_0";
  };
  const Bytes bytes = model_bytes("llama", square);
  const Model model = loaded(bytes);
  const Model edited = variant(model, {{"transpose", "blk.0.attn_q.weight"}});
  const GgufTensor* tensor = model.file().find_tensor("blk.0.attn_q.weight");
  const PackedMatrix& matrix = edited.impl().weights.layers[0].matrix(W::kAttnQ).matrix;
  EXPECT_STREQ(matrix.format()->name, "F32");
  std::vector<float> before(96), unit(96, 0.0f), column(96);
  SerialExecutor executor;
  for (std::int64_t row = 0; row < 96; row += 19) {
    decode_row(*tensor->format, tensor->data, row, 96, before.data());
    std::ranges::fill(unit, 0.0f);
    unit[static_cast<std::size_t>(row)] = 1;
    const MatmulTerm term{&matrix, column.data(), 96};
    base::Buffer workspace = std::move(base::Buffer::allocate(matmul_workspace_bytes(1, 96))).value();
    matmul({&term, 1}, unit.data(), 96, 1, Activations::kF32, {workspace.data(), workspace.size()},
           panel::choose_table({}, supported_isas().back()).value()->kernels(), executor);
    EXPECT_EQ(column, before) << row;
  }
}

TEST(TensorEdits, ExchangedTensorsAreThoseOfAFileThatHoldsThemSo) {
  const Bytes bytes = model_bytes("llama");
  const std::map<std::string_view, std::string_view> with = {{"blk.0.ffn_gate.weight", "blk.0.ffn_up.weight"},
                                                             {"blk.0.ffn_up.weight", "blk.0.ffn_gate.weight"},
                                                             {"blk.0.attn_norm.weight", "output_norm.weight"},
                                                             {"output_norm.weight", "blk.0.attn_norm.weight"}};
  const GgufFile file = std::move(GgufFile::parse(bytes, "m.gguf")).value();
  const Bytes other = rewritten(bytes, [&](const GgufTensor& tensor, Bytes& of_tensor) {
    if (!with.contains(tensor.name)) return true;
    const auto from = file.find_tensor(with.at(tensor.name))->data;
    of_tensor.assign(from.begin(), from.end());
    return true;
  });
  expect_is(bytes,
            {{"exchange", "blk.0.ffn_gate.weight:blk.0.ffn_up.weight,blk.0.attn_norm.weight:output_norm.weight"}},
            other, {"blk.0.ffn_gate.weight", "blk.0.ffn_up.weight"});
  const Model model = loaded(bytes);
  expect_refused(model, "exchange", "blk.0.ffn_gate.weight", {"exchange", "A:B"});
  expect_refused(model, "exchange", "blk.0.ffn_gate.weight:blk.0.ffn_down.weight", {"exchange", "one shape"});
  expect_refused(model, "exchange", "blk.0.ffn_gate.weight:x", {"exchange", "'x'"});
}

TEST(TensorEdits, AFactorIsThatOfAFileWithOtherNumbers) {
  const auto times = [](const Bytes& bytes, const std::map<std::string_view, float>& factors) {
    return rewritten(bytes, [&](const GgufTensor& tensor, Bytes& of_tensor) {
      if (!factors.contains(tensor.name)) return true;
      for (float& value : floats(of_tensor)) value *= factors.at(tensor.name);
      return true;
    });
  };
  const Bytes llama = model_bytes("llama");
  expect_is(llama, {{"tensor_factor", "blk.0.ffn_up.weight:0.5,blk.1.attn_norm.weight:2,token_embd.weight:-4"}},
            times(llama, {{"blk.0.ffn_up.weight", 0.5f}, {"blk.1.attn_norm.weight", 2}, {"token_embd.weight", -4}}),
            {});
  const Bytes experts = model_bytes("qwen35moe");
  expect_is(
      experts,
      {{"tensor_factor", "blk.0.ffn_up_exps.weight:8,blk.1.ffn_down_exps.weight:0.125,blk.0.ssm_conv1d.weight:2"}},
      times(experts,
            {{"blk.0.ffn_up_exps.weight", 8}, {"blk.1.ffn_down_exps.weight", 0.125f}, {"blk.0.ssm_conv1d.weight", 2}}),
      {});
  const Model model = loaded(llama);
  for (const char* value : {"blk.0.ffn_up.weight", "blk.0.ffn_up.weight:", "blk.0.ffn_up.weight:1e99", ":2:3"}) {
    expect_refused(model, "tensor_factor", value, {"tensor_factor", "NAME:NUMBER"});
  }
  expect_refused(model, "tensor_factor", "rope_freqs.weight:2", {"tensor_factor", "'rope_freqs.weight'"});
}

TEST(TensorEdits, SeveralAtOnceAndOneAfterAnother) {
  const Bytes bytes = model_bytes("llama", [](tools::SyntheticSpec& spec) { spec.untied = true; });
  const Edits edits = {{"tied_head", "yes"}, {"rope_base", "77"}, {"qk_permutation", "none"}, {"add_bos", "false"}};
  const std::vector<float> want = logits(loaded(bytes, edits));
  std::optional<Model> model(loaded(bytes));
  EXPECT_FALSE(same(logits(*model), want));
  for (const auto& edit : edits) {
    Model next = variant(*model, {edit});
    model.emplace(std::move(next));  // what it shares with the one before stays
  }
  EXPECT_TRUE(same(logits(*model), want));
  EXPECT_FALSE(model->tokenizer().add_bos());
  EXPECT_EQ(model->options().edits, edits);
  // A session's facts go after the model's.
  EXPECT_TRUE(same(logits(*model, {{"rope_base", "10000"}}), logits(variant(*model, {{"rope_base", "10000"}}))));
  SerialExecutor executor;
  SessionOptions options;
  options.edits = {{"tied_head", "no"}};
  const auto refused = Session::create(*model, options, executor);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message.find("Model::with_edits"), std::string::npos);
  expect_refused(*model, "tied_heads", "yes", {"tied_heads", "tied_head, qk_permutation"});
}

TEST(TensorEdits, AVariantCanBeCancelledWhileItIsPacked) {
  const Bytes bytes = model_bytes("llama");
  const Model model = loaded(bytes);
  const std::vector<float> want = logits(model);
  SerialExecutor executor;
  const Edits edits = {{"qk_permutation", "none"}};
  int n_asked = 0;
  ASSERT_TRUE(model.with_edits(edits, executor, [&] { return ++n_asked > 0; }).ok());
  EXPECT_GE(n_asked, 2 * model.shape().n_layer);  // q and k of each layer
  for (int n = 0; n < n_asked; ++n) {
    int left = n;
    const auto cancelled = model.with_edits(edits, executor, [&] { return left-- > 0; });
    ASSERT_FALSE(cancelled.ok());
    EXPECT_EQ(cancelled.error().code, ErrorCode::kCancelled);
    EXPECT_EQ(left, -1);
  }
  EXPECT_TRUE(same(logits(model), want));
}

TEST(TensorEdits, MemoryThatNoModelUsesIsGivenBack) {
  const Bytes bytes = model_bytes("llama", [](tools::SyntheticSpec& spec) { spec.untied = true; });
  std::optional<Model> model(loaded(bytes));
  const std::weak_ptr<const base::Buffer> block = model->impl().weights.memory[0];
  Model tied = variant(*model, {{"tied_head", "yes"}});
  const std::weak_ptr<const base::Buffer> head = tied.impl().weights.memory[0];
  model.reset();
  EXPECT_FALSE(block.expired());
  Model back = variant(tied, {{"tied_head", "no"}});
  EXPECT_EQ(back.impl().weights.memory.size(), 2u) << "its own head, and the layers";
  tied = variant(back, {});
  EXPECT_TRUE(head.expired());
  EXPECT_FALSE(block.expired());
}

// A session's facts are the same wherever they are given.
TEST(SessionEdits, OfAModelAreThoseOfItsSessions) {
  const Bytes bytes = model_bytes("gemma3");
  const Model model = loaded(bytes);
  for (const Edits& edits : {Edits{{"rope_pairing", "adjacent"}}, Edits{{"sliding_window", "2"}}}) {
    const Model other = variant(model, edits);
    expect_shared(model, other, {});
    EXPECT_TRUE(same(logits(other), logits(model, edits)));
    EXPECT_FALSE(same(logits(other), logits(model)));
    EXPECT_EQ(*edit_value(other, edits[0].first), edits[0].second);
  }
  EXPECT_EQ(variant(model, {{"sliding_window", "2"}}).description().memory.groups.size(), 1u);
}

TEST(TokenEdits, ActOnTheTokenizerAlone) {
  const Bytes bytes = model_bytes("llama");
  const Model model = loaded(bytes);
  const std::string text = "It's  12 o'clock,\n\n  said\tthe   with";
  const auto ids = [&](const Model& of) { return *of.tokenizer().encode(text, false); };
  ASSERT_EQ(*edit_value(model, "pre_tokenizer"), "smollm");
  SerialExecutor executor;
  int n_different = 0;
  for (const std::string_view name : Tokenizer::pre_tokenizer_names()) {
    const Model other = variant(model, {{"pre_tokenizer", std::string(name)}});
    EXPECT_EQ(*edit_value(other, "pre_tokenizer"), name);
    expect_shared(model, other, {});
    EXPECT_TRUE(same(logits(other), logits(model)));
    ModelOptions with_flag;
    with_flag.tokenizer.pre_override = name;
    const Model flagged =
        std::move(Model::load(std::move(GgufFile::parse(bytes, "m.gguf")).value(), with_flag, executor)).value();
    EXPECT_EQ(ids(other), ids(flagged)) << name;
    if (ids(other) != ids(model)) ++n_different;
  }
  EXPECT_GE(n_different, 1);
  expect_refused(model, "pre_tokenizer", "sideways", {"pre_tokenizer", "llama-bpe", "qwen2", "sideways"});

  const bool bos = model.tokenizer().add_bos();
  const Model turned = variant(model, {{"add_bos", bos ? "false" : "true"}});
  EXPECT_EQ(*edit_value(turned, "add_bos"), bos ? "false" : "true");
  EXPECT_NE(turned.tokenizer().add_bos(), bos);
  EXPECT_EQ(ids(turned), ids(model));
  expect_shared(model, turned, {});
  expect_refused(model, "add_bos", "1", {"add_bos", "true or false", "'1'"});
}

// editable_facts tells of a file what edit_value tells of the model, and every value that it names can be given.
TEST(EditableFacts, AreThoseOfTheModel) {
  for (const char* arch : {"llama", "gemma3", "bitnet-b1.58", "qwen3moe", "qwen35", "qwen35moe", "gpt-oss", "gemma4",
                           "gemma4_moe", "deepseek2", "lfm2", "lfm2moe"}) {
    const Bytes bytes = model_bytes(arch);
    const Model model = loaded(bytes, {{"rms_norm_eps", "0.25"}});
    const auto facts = editable_facts(model.file(), model.options(), &model.tokenizer());
    ASSERT_TRUE(facts.ok()) << facts.error().message;
    std::set<std::string_view> names;
    for (const EditableFact& fact : *facts) {
      names.insert(fact.name);
      EXPECT_EQ(fact.value, *edit_value(model, fact.name));
      EXPECT_FALSE(fact.values.empty());
      EXPECT_TRUE(fact.name != "rms_norm_eps" || fact.value == "0.25") << fact.value;
      if (fact.value.find(',') == std::string::npos && fact.value != "yes") {
        expect_shared(model, variant(model, {{std::string(fact.name), fact.value}}), {});
      }
    }
    for (const EditInfo& info : edit_table()) {
      EXPECT_EQ(names.contains(info.name), !edit_value(model, info.name)->empty()) << info.name;
    }
    const auto without = editable_facts(model.file(), {}, nullptr);
    ASSERT_TRUE(without.ok());
    EXPECT_EQ(facts->size(), without->size() + (model.tokenizer().model() == "gpt2" ? 2u : 1u));
  }
  EXPECT_FALSE(edit_value(loaded(model_bytes("llama")), "rope").ok());
}

// A model in a mapped file: the map stays with whoever uses it.
TEST(TensorEdits, AFileStaysMappedForTheVariant) {
  const std::string path = testing::TempDir() + "rowmax_edits_" + std::to_string(::getpid()) + ".gguf";
  const Bytes bytes = model_bytes("llama", [](tools::SyntheticSpec& spec) { spec.untied = true; });
  {
    std::unique_ptr<std::FILE, int (*)(std::FILE*)> out(std::fopen(path.c_str(), "wb"), std::fclose);
    ASSERT_EQ(std::fwrite(bytes.data(), 1, bytes.size(), out.get()), bytes.size());
  }
  SerialExecutor executor;
  ModelOptions options;
  options.isa = supported_isas().back();
  std::optional<Model> model(std::move(Model::load(path, options, executor)).value());
  const Model tied = variant(*model, {{"tied_head", "yes"}});
  const std::byte* map = model->file().tensors()[0].data.data();
  model.reset();
  std::remove(path.c_str());
  EXPECT_EQ(tied.file().tensors()[0].data.data(), map);
  EXPECT_EQ(tied.file().paths().size(), 1u);
  EXPECT_TRUE(same(logits(tied), logits(loaded(bytes, {{"tied_head", "yes"}}))));
}

}  // namespace
}  // namespace rowmax::engine::edits_test
