// An architecture as data: everything the one forward pass needs to know. engine/arch fills it from a file's metadata;
// nothing behind it asks for an architecture's name.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "rowmax/engine/types.h"

namespace rowmax::engine {

enum class RopePairing : std::uint8_t {
  kHalves,    // dimension i turns with i + n_rot/2 ("NEOX")
  kAdjacent,  // dimension 2i turns with 2i + 1 ("NORM"; converters permute q and k for it)
};

// YaRN (Peng et al. 2023): slow pairs are interpolated by 1/factor, fast ones left alone, a ramp between them.
struct YarnSpec {
  double factor = 1;
  double original_context = 0;           // positions the model was trained with
  double beta_fast = 32, beta_slow = 1;  // turns within the original context where the ramp begins and ends
  double magnitude = 1;                  // cos and sin are multiplied by it; by default 0.1 ln(factor) + 1
  bool whole_pairs = true;               // the ramp's ends are rounded outwards to whole pairs
};

// Whether the file's rope_freqs.weight is of a RoPE.
enum class RopeFactors : std::uint8_t { kOptional, kRequired, kNever };
// LongRoPE (Ding et al. 2024, arXiv 2402.13753): two sets of divisors. Which one counts follows from the session's
// context alone, never from how far a sequence is: keys that were turned before must fit those that follow.
struct LongRopeSpec {
  std::int64_t original_context = 0;  // sessions of more positions take the long ones
  std::vector<float> long_divisors;   // empty: all sessions take RopeSpec::divisors
  double magnitude = 1;               // cos and sin are multiplied by it, whichever counts
};

struct RopeSpec {
  RopePairing pairing = RopePairing::kHalves;
  std::int64_t n_rot = 0;        // leading dimensions of a head that turn; even
  double base = 0;               // inverse frequency i: base^(-2i / denominator)
  std::int64_t denominator = 0;  // 0: n_rot
  double scale = 1;              // positions are multiplied by this (1 / linear scaling factor)
  RopeFactors factors = RopeFactors::kOptional;
  std::vector<float> divisors;  // empty, or n_rot/2: inverse frequencies are divided by them (llama3 factors)
  std::string divisors_edit;    // what an edit said they are; empty: they are the file's
  std::optional<YarnSpec> yarn;
  std::optional<LongRopeSpec> long_rope;  // `divisors` are the short ones

  const std::vector<float>& divisors_for(std::int64_t context) const noexcept {
    const bool longer = long_rope && context > long_rope->original_context && !long_rope->long_divisors.empty();
    return longer ? long_rope->long_divisors : divisors;
  }
  double exponent_denominator() const noexcept { return static_cast<double>(denominator > 0 ? denominator : n_rot); }
};

// x / sqrt(mean(x^2) + eps), or the same of x less its mean. Both times weights, without a bias.
enum class NormKind : std::uint8_t { kRms, kLayer };
// Of the mixer and of the FFN: whether their input norms are of what they see or, as an edit, of what they give.
enum class NormPlace : std::uint8_t { kInput, kOutput };

// The norm of q and of k: over each head, or over all heads of a token together.
enum class QkNorm : std::uint8_t { kNone, kHead, kWidth };

// Later queries weigh sharper: q is multiplied by 1 + scale * ln(1 + floor((position + offset) / length)).
struct TemperatureSpec {
  double scale = 0;  // 0: none
  double offset = 0, length = 1;
};

// Softmax attention over keys and values that the sequence remembers.
struct AttentionSpec {
  std::int64_t n_head = 0, n_kv_head = 0, head_dim = 0;
  bool heads_interleaved = false;  // query head h reads K/V head h mod n_kv_head; else h / (n_head / n_kv_head)
  std::int64_t window = 0;         // 0: every earlier key; else the query sees itself and window - 1 keys before it
  float scale = 0;                 // of the scores
  int rope = 0;                    // index into ModelSpec::ropes; negative: positions show in the mask alone
  std::int64_t rope_first = 0;     // the first dimension of a head that turns
  QkNorm qk_norm = QkNorm::kNone;
  bool norm_after_rope = false;  // the norm of q and k; else it comes first
  TemperatureSpec temperature;
  // Above 0: values are the first so many numbers of the keys, which are all that is remembered.
  std::int64_t v_in_k = 0;
  // No keys and values of its own: those of this earlier layer, which has as many K/V heads of the same size, and its
  // own. -1: its own.
  int kv_layer = -1;
  // K/V head h is the products' head h + kv_shift (mod n_kv_head), or, reversed, the last but h.
  std::int64_t kv_shift = 0;
  bool kv_reversed = false;
  bool kv_exchanged = false;  // k is the product (scale, bias) that is v's elsewhere, and the other way round
  bool v_is_k = false;        // no product for v: it is that for k, as it is before norm and RoPE
  bool v_norm = false;        // RMSNorm without weights over each head of v
  bool sinks = false;         // one more logit a head, of a key without value
  // The product for q gives, head by head, q and a gate as wide, or all of q and then all gates; the head's output is
  // multiplied by sigmoid(gate).
  bool output_gate = false, gate_flat = false;
  bool gate_unused = false;  // an edit: the gate is computed and left out
  bool sub_norm = false;     // norm of the heads' outputs, before the product that follows
  bool qkv_bias_required = false, output_bias_required = false;
  bool biases = true;  // those that the file has are added

  std::int64_t q_width() const noexcept { return n_head * head_dim; }
  std::int64_t kv_width() const noexcept { return n_kv_head * head_dim; }
  std::int64_t v_dim() const noexcept { return v_in_k > 0 ? v_in_k : head_dim; }
  // Numbers of one token that the sequence remembers.
  std::int64_t remembered() const noexcept { return (v_in_k > 0 ? 1 : 2) * kv_width(); }
  // Dimensions of a head from rope_first on.
  std::int64_t may_turn() const noexcept { return head_dim - rope_first; }
  bool has_kv() const noexcept { return kv_layer < 0; }
};

// Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434): one latent a token, normed, and a part that turns, which
// all heads share, are the key; the latent is the value. Each head's q without positions goes through a matrix of its
// own into the latent's space, and what it gives through another out of it. AttentionSpec says the rest: one K/V head
// of rank + rope_dim numbers, v_in_k and rope_first = rank.
struct LatentSpec {
  std::int64_t rank = 0;                               // of the latent
  std::int64_t q_rank = 0;                             // q is two products with a norm of so many between; 0: one
  std::int64_t nope_dim = 0, rope_dim = 0, v_dim = 0;  // of a head: what does not turn, what does, its output

  std::int64_t qk_dim() const noexcept { return nope_dim + rope_dim; }
};

// What a delta net's state is rounded to behind each token.
enum class StateType : std::uint8_t { kF32, kF16, kBf16 };

// Gated delta rule (Yang et al. 2024, arXiv 2412.06464) behind a causal convolution of q, k and v; what the sequence
// remembers is one matrix [key_dim, value_dim] a value head and the convolution's last inputs.
struct DeltaNetSpec {
  std::int64_t n_key_head = 0, n_value_head = 0;  // a multiple of the other
  std::int64_t key_dim = 0, value_dim = 0;        // of a head
  std::int64_t conv_width = 0;                    // tokens the convolution sees
  // Value head j goes with key head j mod n_key_head; or, grouped, those of a key head lie together, n_value_head /
  // n_key_head of them. The output product's columns may be grouped where the rest is not.
  bool grouped = false, output_grouped = false;
  bool conv_silu = true;  // SiLU of the convolution's outputs
  // The parts of the channels (0: q, 1: k, 2: v) in the order in which the convolution's weights are stored.
  std::array<std::uint8_t, 3> conv_order = {0, 1, 2};
  bool gate_sigmoid = false;  // heads are multiplied by sigmoid(gate), else by silu(gate)
  StateType state = StateType::kF32;

  std::int64_t key_width() const noexcept { return n_key_head * key_dim; }
  std::int64_t value_width() const noexcept { return n_value_head * value_dim; }
  std::int64_t key_head(std::int64_t value_head) const noexcept {
    return grouped ? value_head / (n_value_head / n_key_head) : value_head % n_key_head;
  }
  std::int64_t conv_channels() const noexcept { return 2 * key_width() + value_width(); }  // q, k, v
  std::int64_t conv_part(int part) const noexcept { return part == 2 ? value_width() : key_width(); }
};

// Gated short convolution (LFM2, arXiv 2511.23404): a product gives runs b, c and x of n_channel numbers; c is multiplied by
// the causal convolution of b x, each channel's by itself. What the sequence remembers is the convolution's last inputs.
struct ShortConvSpec {
  std::int64_t n_channel = 0;
  std::int64_t conv_width = 0;  // tokens the convolution sees
  std::uint8_t gate_run = 1;    // which of the runs is c; the others are multiplied with each other

  std::int64_t product_width() const noexcept { return 3 * n_channel; }
};

// The last four are for files that are taken for something else than they are (rowmax/engine/edits.h).
enum class FfnActivation : std::uint8_t {
  kSilu,
  kGeluTanh,
  kReluSquared,
  kGeluErf,    // x Phi(x)
  kGeluQuick,  // x sigmoid(1.702 x)
  kRelu,
  kSigmoid,
  kIdentity,
};
enum class FfnKind : std::uint8_t { kDense, kExperts };
// How the router's logits become probabilities: over all experts, or each by itself.
enum class ExpertGate : std::uint8_t { kSoftmax, kSigmoid };

struct FfnSpec {
  FfnKind kind = FfnKind::kDense;
  FfnActivation activation = FfnActivation::kSilu;
  std::int64_t n_ff = 0;  // of the dense FFN, of one expert
  bool up_gates = false;  // act(up) * gate, else act(gate) * up
  // Before the activation the gate is cut off above gate_limit and up beyond +-gate_limit (0: neither is); then up_offset
  // is added to up.
  float gate_limit = 0, up_offset = 0;
  bool sub_norm = false;  // norm of the gated rows, before the product that follows; dense only
  // Experts: the n_used of largest probability; ties go to the lower number.
  std::int64_t n_expert = 0, n_used = 0;
  ExpertGate expert_gate = ExpertGate::kSoftmax;
  bool choice_bias = false;  // added to the probabilities for choosing alone
  bool biases = false;       // of the router's logits and of the experts' products
  // Experts lie in n_group groups of equal size, and only those of the n_group_used best groups can be chosen. What
  // counts is the sum of a group's n_group_best largest, one (DeepSeek-V2, arXiv 2405.04434) or two (DeepSeek-V3, arXiv
  // 2412.19437).
  std::int64_t n_group = 1, n_group_used = 1, n_group_best = 2;
  bool renormalise = false;       // the chosen ones' probabilities are divided by their sum
  float sum_offset = 1e-20f;      // what is added to it first
  float expert_scale = 1;         // what they are multiplied by last
  std::int64_t expert_shift = 0;  // the router's expert e is the tensors' (e + shift) mod n_expert
  // An expert's weight is multiplied by a number of its own, behind the sum.
  bool expert_factors = false;
  std::int64_t n_shared = 0;  // width of an expert that every row passes; 0: none
  bool shared_gate = true;    // it counts sigmoid(gate), else 1
  // The shared one is a dense FFN, by its tensors' names too, and the experts lie beside it: they see the stream through a
  // norm of their own. Without shared_gate alone.
  bool beside = false;
  bool branch_norms = false;  // of what the dense FFN gives and of what the experts give, before they are added up
  bool router_norm =
      false;  // the router sees norm(stream) / sqrt(n_embd), with weights of its own; else what experts see
};

enum class MixerKind : std::uint8_t { kAttention, kLatent, kDeltaNet, kShortConv };

// What may differ from layer to layer.
struct LayerSpec {
  MixerKind mixer = MixerKind::kAttention;
  AttentionSpec attention;  // of kLatent, too
  LatentSpec latent;
  DeltaNetSpec delta;
  ShortConvSpec short_conv;
  FfnSpec ffn;
  bool input_norms = true;                    // norm of what the mixer and the FFN see (see NormPlace)
  bool post_norms = false;                    // norm of the mixer's and the FFN's output, before the residual
  bool skip_mixer = false, skip_ffn = false;  // computed, and not added to the stream
  // Of what a token brings for this layer alone (blocks/layer_embedding); 0: nothing. The same in all layers that have it.
  std::int64_t n_layer_embd = 0;
  bool output_scale = false;   // the stream behind the layer is multiplied by a number of its own
  bool matrix_scales = false;  // a product may have one factor of its own (tensor "<name>.scale")
  bool product_norms = false;  // every product of attention and dense FFN norms its input by itself
  bool fused = false;          // weights may lie in one tensor together (fused_weights())

  // Over keys and values that the sequence remembers.
  bool attends() const noexcept { return mixer == MixerKind::kAttention || mixer == MixerKind::kLatent; }
};

struct ModelSpec {
  std::string architecture;
  ModelShape shape;
  float rms_norm_eps = 0;
  NormKind norm_kind = NormKind::kRms;  // of all norms with weights but the delta nets' own
  NormPlace norm_place = NormPlace::kInput;
  float embedding_scale = 1;
  float residual_scale = 1;     // what a block gives is multiplied by it before it is added to the stream
  float attention_softcap = 0;  // 0: none
  float final_softcap = 0;      // 0: none
  float logit_scale = 1;        // logits are multiplied by it, before they are capped
  bool may_tie = true;          // a file without a head means the embedding; else it has lost it
  bool may_rank = false;        // a file may have a head that judges texts, cls.output.weight
  // The pre-tokenizer of files of this architecture that name none; "": such files are refused.
  std::string default_pre;
  std::string output_norm_name;  // how files of this architecture may call output_norm.weight; "": only so
  // Tensors of layers behind the last one, for guessing tokens ahead: known, checked by name alone, not used.
  std::int64_t n_draft_layer = 0;
  std::vector<RopeSpec> ropes;
  bool ropes_exchanged = false;  // of two: layers turn with the other one than their spec names
  std::vector<LayerSpec> layers;
  // All layers in the order in which they run, each with its own weights, keys and values; empty: ascending.
  std::vector<std::size_t> layer_order;

  int rope_of(const AttentionSpec& attention) const noexcept {
    return ropes_exchanged && attention.rope >= 0 ? 1 - attention.rope : attention.rope;
  }

  std::int64_t layer_embd() const noexcept {
    std::int64_t n = 0;
    for (const LayerSpec& layer : layers) n = std::max(n, layer.n_layer_embd);
    return n;
  }

  // The window of the keys and values that layer i has: the widest of all layers that read them. 0: none.
  std::int64_t kv_window(std::size_t i) const noexcept {
    std::int64_t widest = layers[i].attention.window;
    for (const LayerSpec& layer : layers) {
      if (!layer.attends() || layer.attention.kv_layer != static_cast<int>(i)) continue;
      const std::int64_t window = layer.attention.window;
      widest = widest == 0 || window == 0 ? 0 : std::max(widest, window);
    }
    return widest;
  }

  // Lets `change` see every layer.
  template <class Change>
  void for_layers(Change change) {
    for (LayerSpec& layer : layers) change(layer);
  }
};

}  // namespace rowmax::engine
