"""The planted faults: one row a fault, each the only thing wrong with its file or its engine.

A fault of kind "file" is planted into a copy of the file (`plant`, on what the file says; `raw`, on its bytes). One of kind
"graph" is what an engine has wrong: the doctor is told to compute with `edits` (--convention), and must find the way back.
`causes` are the ids that name the fault; the first is the usual one, others say the same of what was planted. `place` is a
tensor, layer or key that must be named, "" where the whole model is hit. `source` says who had it.

A third, chosen by the checksum of the id, is held out: nobody tunes on those, and they are reported apart.
"""

import zlib
from dataclasses import dataclass, field

from plant import *


@dataclass
class Fault:
    id: str
    base: str
    causes: list
    plant: object = None
    raw: object = None
    edits: list = field(default_factory=list)
    place: str = ""
    source: str = ""
    formats: list = field(default_factory=list)  # --format: the engine's belief about a layout

    @property
    def kind(self):
        return "graph" if self.edits or self.formats else "file"

    @property
    def held_out(self):
        return zlib.crc32(self.id.encode()) % 3 == 0


FAULTS = []


def fault(id, base, causes, plant=None, **more):
    FAULTS.append(Fault(id, base, causes.split(), plant, **more))


def graph(id, base, causes, *edits, **more):
    FAULTS.append(Fault(id, base, causes.split(), edits=list(edits), **more))


# Position. Heads have 32 dimensions in all trained bases, 64 in stories.
graph("rope_pairing.qwen2", "qwen2", "rope_pairing", "rope_pairing=adjacent", source="worker-orcd: the unfound bug")
graph("rope_pairing.llama", "llama", "rope_pairing", "rope_pairing=halves", source="candle#3410")
graph("rope_pairing.qwen35", "qwen35", "rope_pairing", "rope_pairing=adjacent", source="meganeura#38")
graph("rope_pairing.qwen3moe", "qwen3moe", "rope_pairing", "rope_pairing=adjacent")
graph("rope_pairing.gemma3", "gemma3", "rope_pairing", "rope_pairing=adjacent")
graph("rope_pairing.stories", "stories", "rope_pairing", "rope_pairing=adjacent")
fault("rope_rows_not_turned.llama", "llama", "rope_pairing", reorder("attn_q.weight attn_k.weight", lambda n: to_halves(n, 32)),
      source="converters without the permutation of q and k")
fault("rope_rows_turned.qwen2", "qwen2", "rope_pairing",
      reorder("attn_q.weight attn_k.weight attn_q.bias attn_k.bias", lambda n: to_adjacent(n, 32)))
fault("rope_rows_turned.stories", "stories", "rope_pairing",
      all_of(each("attn_q.weight attn_k.weight", lambda t: t.set_codes(bytearray(
          c for r in to_adjacent(t.rows, 64) for c in t.codes()[r * t.cols:(r + 1) * t.cols])))))
fault("architecture_alias.qwen2_llama", "qwen2", "rope_pairing", rename_architecture("llama"), source="wrong arch alias")
fault("rope_base_key.qwen2", "qwen2", "rope_base", set_key(".rope.freq_base", 1e6), place="qwen2.rope.freq_base")
fault("rope_base_low.qwen2", "qwen2", "rope_base", set_key(".rope.freq_base", 20.0), place="qwen2.rope.freq_base")
fault("rope_base_lost.qwen3moe", "qwen3moe", "rope_base", drop_key(".rope.freq_base"))
fault("rope_base_key.qwen35", "qwen35", "rope_base", set_key(".rope.freq_base", 1e7))
fault("rope_base_local.gemma3", "gemma3", "rope_base", set_key(".rope.local.freq_base", 1e6),
      source="one base for all layers")
graph("rope_base.stories", "stories", "rope_base", "rope_base=500000")
graph("rope_base_of_another.llama", "llama", "rope_base", "rope_base=500")
fault("rope_factors_lost.llama", "llama", "rope_scaling", drop("rope_freqs.weight"), source="mlx-vlm#1709")
fault("rope_factors_scaled.llama", "llama", "rope_scaling", scale("rope_freqs.weight", 178.0),
      source="neuronx#106: denominator 178x", place="rope_freqs.weight")
fault("rope_scaling_lost.gemma3", "gemma3", "rope_scaling", drop_key(".rope.scaling.type", ".rope.scaling.factor"),
      source="mlx-vlm#1709: ignored on global layers")
fault("rope_scaling_added.qwen2", "qwen2", "rope_scaling",
      all_of(set_key(".rope.scaling.type", "linear", STRING), set_key(".rope.scaling.factor", 4.0, F32)))
graph("rope_scale.stories", "stories", "rope_scaling", "rope_scale=0.25")
fault("rope_dimension_full.qwen35", "qwen35", "rope_dimension",
      all_of(set_key(".rope.dimension_count", 32), set_key(".rope.dimension_sections", (I32, [6, 5, 5, 0]))),
      source="kekzl/imp#1273: partial RoPE")
fault("rope_dimension_half.qwen35", "qwen35", "rope_dimension", all_of(
    set_key(".rope.dimension_count", 8), set_key(".rope.dimension_sections", (I32, [2, 1, 1, 0]))))
graph("rope_dimension.stories", "stories", "rope_dimension", "rope_dimensions=32")
graph("rope_dimension.gemma3", "gemma3", "rope_dimension", "rope_dimensions=16")

# Norms.
fault("norm_eps_large.qwen2", "qwen2", "norm_eps", set_key(".attention.layer_norm_rms_epsilon", 1.0))
fault("norm_eps_tenth.qwen35", "qwen35", "norm_eps", set_key(".attention.layer_norm_rms_epsilon", 0.1))
graph("norm_eps.stories", "stories", "norm_eps", "rms_norm_eps=10")
graph("norm_eps.gemma3", "gemma3", "norm_eps", "rms_norm_eps=1")
NORMS = "attn_norm.weight ffn_norm.weight post_attention_norm.weight post_ffw_norm.weight attn_q_norm.weight attn_k_norm.weight"
fault("norm_plus_one_forgotten.gemma3", "gemma3", "norm_weight", add(NORMS + " output_norm.weight", -1.0),
      source="Gemma's 1 + w")
fault("norm_plus_one_twice.gemma3", "gemma3", "norm_weight", add(NORMS + " output_norm.weight", 1.0))
fault("norm_plus_one_forgotten.qwen35", "qwen35", "norm_weight",
      add("attn_norm.weight post_attention_norm.weight attn_q_norm.weight attn_k_norm.weight output_norm.weight", -1.0))
fault("norm_plus_one_of_state.qwen35", "qwen35", "norm_weight", add("ssm_norm.weight", 1.0))
fault("norms_one.qwen2", "qwen2", "norm_weight", fill("attn_norm.weight ffn_norm.weight", 1.0),
      source="kekzl/imp#65: norms dropped")
fault("norm_reversed.llama", "llama", "norm_weight", reorder("blk.1.ffn_norm.weight", reverse), place="blk.1")
fault("norm_missing.qwen2", "qwen2", "norm_weight", drop("blk.1.ffn_norm.weight"), place="blk.1.ffn_norm.weight")
fault("output_norm_one.qwen3moe", "qwen3moe", "norm_weight", fill("output_norm.weight", 1.0))
fault("norm_place.gemma3", "gemma3", "norm_place weight_swapped norm_weight", swap("post_attention_norm.weight", "ffn_norm.weight"),
      source="norm before or after")
fault("norm_place.gemma2", "gemma2", "norm_place weight_swapped norm_weight", swap("ffn_norm.weight", "post_ffw_norm.weight"))
fault("norm_place_one_layer.llama", "llama", "weight_swapped norm_place norm_weight", swap("blk.1.attn_norm.weight", "blk.1.ffn_norm.weight"),
      place="blk.1")
graph("qk_norm_off.qwen3moe", "qwen3moe", "qk_norm", "qk_norm=no")
graph("qk_norm_off.gemma3", "gemma3", "qk_norm", "qk_norm=no")
graph("qk_norm_off.qwen35", "qwen35", "qk_norm", "qk_norm=no")
fault("qk_norm_swapped.qwen3moe", "qwen3moe", "qk_norm weight_swapped", swap("attn_q_norm.weight", "attn_k_norm.weight"))
fault("qk_norm_missing.qwen3moe", "qwen3moe", "qk_norm", drop("attn_q_norm.weight attn_k_norm.weight"))
graph("sub_norms_off.stories", "stories", "sub_norm", "sub_norms=no", source="BitNet-rs: sub-norms never applied")
fault("sub_norm_one.stories", "stories", "sub_norm norm_weight", fill("attn_sub_norm.weight", 1.0))
fault("sub_norm_missing.stories", "stories", "sub_norm", drop("ffn_sub_norm.weight"))

# Biases.
fault("biases_zero.qwen2", "qwen2", "missing_bias weight_zero", zero("attn_q.bias attn_k.bias attn_v.bias"),
      source="worker-orcd: the loader overwrites biases with zeros")
fault("biases_missing.qwen2", "qwen2", "missing_bias", drop("attn_q.bias attn_k.bias attn_v.bias"),
      source="worker-orcd: QKV bias pointers null")
fault("bias_zero_one_layer.qwen2", "qwen2", "missing_bias weight_zero", zero("blk.1.attn_k.bias"), place="blk.1.attn_k.bias")
fault("bias_missing_one.qwen2", "qwen2", "missing_bias", drop("blk.2.attn_v.bias"), place="blk.2.attn_v.bias")
fault("bias_of_another_layer.qwen2", "qwen2", "weight_swapped missing_bias", swap("blk.0.attn_q.bias", "blk.2.attn_q.bias"))

# Matrices in wrong places and shapes.
fault("transposed_q.qwen2", "qwen2", "weight_transposed", transpose("blk.1.attn_q.weight"), place="blk.1.attn_q.weight",
      source="worker-orcd: GEMM transpose wrong in 8 matmuls")
fault("transposed_output_all.llama", "llama", "weight_transposed", transpose("attn_output.weight"))
fault("transposed_output.qwen3moe", "qwen3moe", "weight_transposed", transpose("blk.0.attn_output.weight"), place="blk.0.attn_output.weight")
fault("transposed_down.qwen2", "qwen2", "weight_transposed", transpose("blk.1.ffn_down.weight"), place="blk.1.ffn_down.weight")
fault("transposed_embedding.qwen2", "qwen2", "weight_transposed", transpose("token_embd.weight"), place="token_embd.weight",
      source="worker-orcd: fp32 lookup left transposed")
fault("transposed_head.llama", "llama", "weight_transposed", transpose("output.weight"), place="output.weight")
fault("k_v_swapped.qwen2", "qwen2", "weight_swapped", swap("blk.1.attn_k.weight", "blk.1.attn_v.weight"), place="blk.1")
fault("k_v_swapped_all.llama", "llama", "weight_swapped", swap("attn_k.weight", "attn_v.weight"))
fault("up_of_another_layer.gemma3", "gemma3", "weight_swapped", swap("blk.0.ffn_up.weight", "blk.3.ffn_up.weight"))
fault("q_output_swapped.llama", "llama", "weight_swapped", swap("blk.2.attn_q.weight", "blk.2.attn_output.weight"), place="blk.2")
fault("alpha_beta_swapped.qwen35", "qwen35", "weight_swapped state", swap("ssm_alpha.weight", "ssm_beta.weight"))
fault("layers_swapped.qwen2", "qwen2", "layer_order", swap_layers(0, 2))
fault("layers_rotated.llama", "llama", "layer_order", rotate_layers)
fault("layers_swapped.stories", "stories", "layer_order", swap_layers(1, 2))
fault("layers_swapped.qwen35", "qwen35", "layer_order", swap_layers(0, 1))
fault("gate_up_swapped.qwen2", "qwen2", "gate_order weight_swapped", swap("ffn_gate.weight", "ffn_up.weight"))
fault("gate_up_swapped.qwen3moe", "qwen3moe", "gate_order weight_swapped", swap("ffn_gate_exps.weight", "ffn_up_exps.weight"))
fault("gate_up_swapped_one.stories", "stories", "gate_order weight_swapped", swap("blk.2.ffn_gate.weight", "blk.2.ffn_up.weight"),
      place="blk.2")
fault("q_gate_flat.qwen35", "qwen35", "gate_order head_mapping", reorder("attn_q.weight", lambda n: flat_gates(n, 32)),
      source="llmman#16: q, gate flat instead of per head")
graph("output_gate_off.qwen35", "qwen35", "gate_order", "attention_output_gate=no")

# Magnitudes.
fault("scaled_output.qwen2", "qwen2", "weight_scaled", scale("blk.1.attn_output.weight", 8.0), place="blk.1.attn_output.weight")
fault("scaled_down.llama", "llama", "weight_scaled", scale("blk.0.ffn_down.weight", 16.0), place="blk.0.ffn_down.weight",
      source="dequant formula")
fault("scaled_small.gemma3", "gemma3", "weight_scaled", scale("blk.2.attn_q_norm.weight", 0.1), place="blk.2")
fault("negated.qwen2", "qwen2", "weight_scaled", scale("blk.1.ffn_down.weight", -1.0), place="blk.1")  # or up: the same function
fault("scaled_gate.qwen35", "qwen35", "weight_scaled", scale("blk.2.attn_gate.weight", 10.0), place="blk.2.attn_gate.weight")
fault("branches_scaled.llama", "llama", "residual_scale weight_scaled", scale("attn_output.weight ffn_down.weight", 0.25),
      source="quant.cpp#96: layer output scale on the branch")
fault("embedding_scaled.llama", "llama", "embedding_scale weight_scaled", scale("token_embd.weight", 0.02))
graph("embedding_scale_off.gemma3", "gemma3", "embedding_scale", "embedding_scale=1")
graph("embedding_scale_on.llama", "llama", "embedding_scale", "embedding_scale=11.3137")
fault("embedding_scale_key.gemma2", "gemma2", "embedding_scale", set_key(".embedding_scale", 1.0, F32))
fault("zero_down.qwen2", "qwen2", "weight_zero", zero("blk.1.ffn_down.weight"), place="blk.1.ffn_down.weight",
      source="worker-orcd: unsupported types loaded as zeros")
fault("zero_v.gemma3", "gemma3", "weight_zero", zero("blk.3.attn_v.weight"), place="blk.3.attn_v.weight")
fault("zero_half.llama", "llama", "weight_zero weight_corrupt", zero("blk.1.ffn_up.weight", 0.5), place="blk.1.ffn_up.weight",
      source="BitNet: I2_S quantised by several threads")
fault("zero_embedding_rows.qwen2", "qwen2", "weight_zero weight_corrupt", zero("token_embd.weight", 0.45, 0.75), place="token_embd.weight")
fault("missing_down.llama", "llama", "weight_zero truncation", drop("blk.1.ffn_down.weight"), place="blk.1.ffn_down.weight",
      source="worker-orcd: ffn_down never loaded")
fault("noise_up.qwen2", "qwen2", "weight_corrupt weight_nonfinite", noise("blk.1.ffn_up.weight"), place="blk.1.ffn_up.weight")
fault("noise_page.llama", "llama", "weight_corrupt weight_nonfinite", noise("blk.2.attn_output.weight", 0.25, 0.5), place="blk.2.attn_output.weight")
fault("gaussian_q.qwen3moe", "qwen3moe", "weight_corrupt", gaussian("blk.1.attn_q.weight"), place="blk.1.attn_q.weight",
      source="a matrix that was initialised, not loaded")
fault("constant_v.qwen2", "qwen2", "weight_corrupt weight_zero", fill("blk.0.attn_v.weight", 0.02), place="blk.0.attn_v.weight")
fault("offset_by_two.qwen2", "qwen2", "weight_corrupt weight_nonfinite", shift_bytes("blk.1.ffn_gate.weight", 2), place="blk.1.ffn_gate.weight",
      source="a wrong offset")
fault("outlier_scale.llama", "llama", "weight_corrupt weight_scaled", poke("blk.0.ffn_down.weight", 100, 6000.0), place="blk.0.ffn_down.weight",
      source="one bit of an exponent")
fault("nan_norm.qwen2", "qwen2", "weight_nonfinite", poke("blk.1.attn_norm.weight", 5, float("nan")), place="blk.1.attn_norm.weight")
fault("inf_scale.gemma3", "gemma3", "weight_nonfinite", poke("blk.2.ffn_up.weight", 7, float("inf")), place="blk.2.ffn_up.weight")
fault("nan_state.qwen35", "qwen35", "weight_nonfinite", poke("blk.0.ssm_a", 1, float("nan")), place="blk.0.ssm_a")
fault("type_mislabelled.qwen2", "qwen2", "weight_corrupt format_kernel truncation", set_type("blk.1.ffn_up.weight", 0), place="blk.1.ffn_up.weight",
      source="an unknown type id read as another")
fault("type_unknown.stories", "stories", "format_kernel ternary_layout weight_corrupt", set_type("blk.0.ffn_up.weight", 39),
      source="BitNet-rs: type 39 for I2_S")

# Heads.
fault("q_heads_by_modulo.qwen2", "qwen2", "head_mapping", all_of(
    reorder("attn_q.weight attn_q.bias", blocks([0, 2, 1, 3], 32)), reorder("attn_output.weight", blocks([0, 2, 1, 3], 32), "cols")),
    source="h mod n in place of h / group")
fault("q_heads_by_modulo.llama", "llama", "head_mapping", all_of(
    reorder("attn_q.weight", blocks([0, 2, 1, 3], 32)), reorder("attn_output.weight", blocks([0, 2, 1, 3], 32), "cols")))
fault("kv_heads_swapped.qwen2", "qwen2", "head_mapping", reorder("attn_k.weight attn_k.bias attn_v.weight attn_v.bias", blocks([1, 0], 32)))
fault("output_heads.qwen3moe", "qwen3moe", "head_mapping", reorder("attn_output.weight", blocks([0, 2, 1, 3], 32), "cols"))
fault("head_count.qwen2", "qwen2", "head_mapping", all_of(
    set_key(".attention.head_count", 2), set_key(".attention.head_count_kv", 1)), source="head_dim from other numbers")
fault("value_heads_grouped.qwen35", "qwen35", "value_head_order head_mapping", value_heads([0, 2, 1, 3]), source="qwen35 v-head grouped or tiled")
graph("value_heads_grouped_engine.qwen35", "qwen35", "value_head_order head_mapping", "delta_head_order=grouped")

# Scores.
graph("attention_scale_twice.qwen2", "qwen2", "attention_scale", "attention_scale=0.03125", source="scaled twice")
graph("attention_scale_none.llama", "llama", "attention_scale", "attention_scale=1")
graph("attention_scale_none.stories", "stories", "attention_scale", "attention_scale=1")
fault("attention_scale_key.gemma3", "gemma3", "attention_scale", set_key(".attention.scale", 1.0, F32), source="ferrox#65: attention scale of 27B")
fault("q_scaled.qwen2", "qwen2", "attention_scale weight_scaled", scale("attn_q.weight attn_q.bias", 5.65685))
graph("attention_softcap_off.gemma2", "gemma2", "softcap", "attention_softcap=0")
graph("final_softcap_off.gemma2", "gemma2", "softcap", "final_softcap=0")
fault("final_softcap_small.gemma2", "gemma2", "softcap", set_key(".final_logit_softcapping", 2.0))
fault("final_softcap_added.gemma3", "gemma3", "softcap", set_key(".final_logit_softcapping", 2.0, F32))
fault("window_small.gemma3", "gemma3", "window", set_key(".attention.sliding_window", 3))
fault("window_pattern.gemma3", "gemma3", "window", set_key(".attention.sliding_window_pattern", 2, U32))
graph("window_ignored.gemma3", "gemma3", "window", "sliding_window=0", source="candle#3698")
graph("window_added.qwen2", "qwen2", "window", "sliding_window=8")
fault("window_added.llama", "llama", "window", set_key(".attention.sliding_window", 8, U32))

# Activations.
graph("activation_gelu.qwen2", "qwen2", "activation", "ffn_activation=gelu_tanh")
graph("activation_relu2.llama", "llama", "activation", "ffn_activation=relu_squared")
graph("activation_silu.stories", "stories", "activation", "ffn_activation=silu", source="BitNet-rs: SiLU for squared ReLU")
graph("activation_silu.gemma3", "gemma3", "activation", "ffn_activation=silu")
graph("activation_relu2.qwen3moe", "qwen3moe", "activation", "ffn_activation=relu_squared")

# Recurrent state.
fault("conv_reversed.qwen35", "qwen35", "conv", reorder("ssm_conv1d.weight", reverse, "cols"))
fault("conv_channels.qwen35", "qwen35", "conv", reorder("ssm_conv1d.weight", blocks([2, 3, 0, 1], 64)), source="channels v, q, k")
fault("decay_not_negated.qwen35", "qwen35", "state", each("ssm_a", lambda t: t.map(lambda r, c, v: __import__("math").log(-v))),
      source="A_log in place of -exp(A_log)")
fault("decay_bias_zero.qwen35", "qwen35", "state weight_zero", zero("ssm_dt.bias"))
fault("decay_missing.qwen35", "qwen35", "state", drop("ssm_dt.bias"))
fault("decay_scaled.qwen35", "qwen35", "state weight_scaled", scale("ssm_a", 30.0))

# Experts.
graph("experts_used.qwen3moe", "qwen3moe", "router", "expert_used_count=1")
graph("experts_not_renormalised.qwen3moe", "qwen3moe", "router", "expert_renormalise=no")
fault("experts_used_key.qwen3moe", "qwen3moe", "router", set_key(".expert_used_count", 8))
fault("experts_norm_key.qwen3moe", "qwen3moe", "router", set_key(".expert_weights_norm", False, BOOL))
fault("router_zero.qwen3moe", "qwen3moe", "router weight_zero", zero("blk.1.ffn_gate_inp.weight"), place="blk.1.ffn_gate_inp.weight")
fault("router_rotated.qwen3moe", "qwen3moe", "expert_order router", reorder("ffn_gate_inp.weight", lambda n: [(i + 1) % n for i in range(n)]),
      source="Anthropic 2025-09: misrouting")
fault("experts_reversed.qwen3moe", "qwen3moe", "expert_order router", experts("ffn_gate_exps.weight ffn_up_exps.weight ffn_down_exps.weight", list(range(8))[::-1]))
fault("down_experts_shifted.qwen3moe", "qwen3moe", "expert_order", experts("ffn_down_exps.weight", [1, 2, 3, 4, 5, 6, 7, 0]))
fault("down_experts_one_layer.qwen3moe", "qwen3moe", "expert_order", experts("blk.1.ffn_down_exps.weight", [1, 0, 3, 2, 5, 4, 7, 6]), place="blk.1")

# Ternary.
fault("i2s_64.stories", "stories", "ternary_layout", all_ternary(quarters), source="I2_S written for ARM")
fault("i2s_row4.stories", "stories", "ternary_layout", all_ternary(rows_of_four), source="I2_S without ACT_PARALLEL")
fault("i2s_low_bits_first.stories", "stories", "ternary_layout weight_corrupt", all_ternary(low_bits_first), source="BitNet#600")
graph("i2s_layout_engine.stories", "stories", "ternary_layout", "tensor_layout=I2_S_64")
fault("i2s_scale_lost.stories", "stories", "ternary_scale", all_ternary(scale_of(lambda s: 1.0)), source="BitNet#468: to_float without scale")
fault("i2s_scale_inverted.stories", "stories", "ternary_scale", all_ternary(scale_of(lambda s: 1.0 / s)), source="divide or multiply")
fault("i2s_scale_one_tensor.stories", "stories", "ternary_scale weight_scaled", scale("blk.1.attn_output.weight", 40.0), place="blk.1.attn_output.weight")
fault("i2s_scale_zero.stories", "stories", "ternary_scale weight_zero", scale("blk.2.ffn_down.weight", 0.0), place="blk.2.ffn_down.weight")
fault("i2s_scale_nan.stories", "stories", "ternary_scale weight_nonfinite", scale("blk.2.attn_q.weight", float("nan")), place="blk.2.attn_q.weight")
fault("i2s_signs.stories", "stories", "ternary_layout ternary_scale weight_scaled", all_ternary(codes_table([2, 1, 0])), source="sign of the codes")
fault("i2s_code_table.stories", "stories", "ternary_layout weight_corrupt ternary_scale", all_ternary(codes_table([0, 2, 3])), source="BitNet-rs: table -2, -1, 1, 2")
fault("i2s_not_written.stories", "stories", "weight_zero weight_corrupt ternary_layout", zero("blk.1.ffn_up.weight", 0.25), place="blk.1.ffn_up.weight",
      source="several threads quantise, one writes")
fault("i2s_noise.stories", "stories", "weight_corrupt ternary_layout ternary_scale", noise("blk.3.attn_q.weight"), place="blk.3.attn_q.weight")
FAULTS.append(Fault("q2_0_group.stories_q2_0", "stories_q2_0", ["ternary_layout"], formats=["Q2_0_128"],
                    source="type 42 read with groups of 128"))

# Turned matrices.
fault("hadamard_keys_lost.qwen2_turned", "qwen2_turned", "rotation", drop_hadamard_keys, source="PrismML#242")
graph("hadamard_off.qwen2_turned", "qwen2_turned", "rotation", "hadamard=no")
fault("hadamard_block.qwen2_turned", "qwen2_turned", "rotation", set_key("prism.hadamard.block_size", 64))
fault("hadamard_signs.qwen2_turned", "qwen2_turned", "rotation", lambda g: (
    g.set("prism.hadamard.sign_values", (g.get("prism.hadamard.sign_values")[0], [1 for _ in g.get("prism.hadamard.sign_values")[1]]))))

# The head.
fault("head_lost.llama", "llama", "tied_head", drop("output.weight"), source="tied by absence")
fault("head_is_embedding.llama", "llama", "tied_head", lambda g: setattr(g.tensor("output.weight"), "data", g.tensor("token_embd.weight").data))
graph("head_tied_engine.llama", "llama", "tied_head", "tied_head=yes")

# Tokens.
graph("bos_off.llama", "llama", "bos", "add_bos=false")
graph("bos_off.gemma3", "gemma3", "bos", "add_bos=false")
fault("bos_key.stories", "stories", "bos", set_key("tokenizer.ggml.add_bos_token", False))
fault("bos_id.gemma3", "gemma3", "bos special_tokens", set_key("tokenizer.ggml.bos_token_id", 700))
fault("bos_id_out_of_range.llama", "llama", "bos special_tokens", set_key("tokenizer.ggml.bos_token_id", 70000))
fault("pre_lost.qwen2", "qwen2", "pre_tokenizer", drop_key("tokenizer.ggml.pre"), source="missing pre")
fault("pre_unknown.llama", "llama", "pre_tokenizer", set_key("tokenizer.ggml.pre", "my-own-bpe"))
fault("pre_other.qwen2", "qwen2", "pre_tokenizer", set_key("tokenizer.ggml.pre", "gpt-2"))
graph("pre_other.gemma3", "gemma3", "pre_tokenizer", "pre_tokenizer=llama-bpe")
fault("specials_normal.qwen2", "qwen2", "special_tokens", all_of(token_type("<|im_start|>", 1), token_type("<|im_end|>", 1)),
      source="worker-orcd: special tokens split by BPE")
fault("vocabulary_shifted.qwen2", "qwen2", "special_tokens", tokens(lambda t: t[:4] + t[5:] + t[4:5]), source="ids off by one")
fault("tokens_swapped.llama", "llama", "special_tokens weight_corrupt", tokens(lambda t: t[:300] + t[300:][::-1]))
fault("merges_reversed.qwen2", "qwen2", "pre_tokenizer special_tokens", merges(lambda m: m[::-1]))
fault("merges_cut.llama", "llama", "pre_tokenizer special_tokens", merges(lambda m: m[:len(m) // 3]))
fault("token_count.qwen2", "qwen2", "special_tokens", all_of(
    tokens(lambda t: t[:-8]), lambda g: g.set("tokenizer.ggml.token_type", (I32, g.get("tokenizer.ggml.token_type")[1][:-8]))))
fault("eos_lost.qwen2", "qwen2", "stop_ids", all_of(*(lambda g, k=k: g.keys.pop(k, None) for k in (
    "tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "rowmax.tokenizer.eos_token_ids"))))
fault("eos_is_a_word.llama", "llama", "stop_ids special_tokens", set_key("tokenizer.ggml.eos_token_id", 400))
fault("eos_out_of_range.qwen3moe", "qwen3moe", "stop_ids special_tokens", set_key("tokenizer.ggml.eos_token_id", 9999))
LLAMA3 = ("{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' + m['content'] + "
          "'<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}")
fault("template_of_another.qwen2", "qwen2", "template", template(LLAMA3), source="BitNet-rs: template llama3-chat")
fault("template_broken.qwen2", "qwen2", "template", template("{% for m in messages %}{{ m['content'] "))
fault("template_bos_twice.gemma3", "gemma3", "template bos", template(
    "{{ bos_token }}{{ bos_token }}{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"), source="double BOS")
fault("template_ignores_prompt.qwen35", "qwen35", "template", template(
    "<|im_start|>system\nYou are helpful.<|im_end|>\n<|im_start|>assistant\n"), source="worker-orcd: hard-coded system prompt")
fault("template_no_answer.qwen3moe", "qwen3moe", "template", template(
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"))

# Files that are not whole.
def cut(share):
    return lambda data: data[:int(len(data) * share)]


fault("cut_half.qwen2", "qwen2", "truncation", raw=cut(0.5))
fault("cut_end.llama", "llama", "truncation", raw=lambda data: data[:-100])
fault("cut_header.gemma3", "gemma3", "truncation", raw=lambda data: data[:3000])
fault("cut_third.stories", "stories", "truncation", raw=cut(0.33))
fault("tail_not_fetched.qwen3moe", "qwen3moe", "truncation weight_zero", raw=lambda data: data[:len(data) * 6 // 10] + bytes(len(data) - len(data) * 6 // 10),
      source="space was set aside, the download ended early")
fault("hole.llama", "llama", "weight_zero weight_corrupt truncation", raw=lambda data: data[:300000] + bytes(65536) + data[365536:])
fault("text_mode.qwen2", "qwen2", "truncation weight_corrupt", raw=lambda data: data.replace(b"\n", b"\r\n"), source="a copy in text mode")

# A model of real texts, where MODELS has it as smollm2.gguf (rowmax pull smollm2).
graph("rope_pairing.smollm2", "smollm2", "rope_pairing", "rope_pairing=halves")
graph("activation_gelu.smollm2", "smollm2", "activation", "ffn_activation=relu_squared")
fault("rope_base_low.smollm2", "smollm2", "rope_base", set_key(".rope.freq_base", 300.0))
fault("specials_normal.smollm2", "smollm2", "special_tokens", all_of(token_type("<|im_start|>", 1), token_type("<|im_end|>", 1)))
fault("layers_swapped.smollm2", "smollm2", "layer_order", swap_layers(3, 20))

# Families whose models are not stored (small_models.py --only, run.py --more): what only they have.
graph("rope_pairing.smollm3", "smollm3", "rope_pairing", "rope_pairing=halves")
graph("nope_layers_none.smollm3", "smollm3", "rope_dimension", "nope_layers=none", source="SmolLM3 with RoPE everywhere")
graph("embedding_scale_off.granite", "granite", "embedding_scale", "embedding_scale=1")
graph("residual_scale_off.granite", "granite", "residual_scale", "residual_scale=1")
fault("residual_scale_key.granite", "granite", "residual_scale", set_key(".residual_scale", 1.0))
fault("logit_scale_key.granite", "granite", "logit_scale", set_key(".logit_scale", 1.0))
graph("attention_scale_of_heads.granite", "granite", "attention_scale", "attention_scale=0.17677669")
graph("attention_temperature_off.mistral3", "mistral3", "attention_scale", "attention_temperature=0")
graph("rope_scaling_off.mistral3", "mistral3", "rope_scaling", "rope_scaling=none")
graph("rope_magnitude.mistral3", "mistral3", "rope_scaling", "rope_magnitude=2")
graph("embedding_scale_off.minicpm", "minicpm", "embedding_scale", "embedding_scale=1")
graph("logit_scale_off.minicpm", "minicpm", "logit_scale", "logit_scale=1")
fault("scales_lost.minicpm", "minicpm", "embedding_scale residual_scale logit_scale",
      drop_key(".embedding_scale", ".residual_scale", ".logit_scale"), source="files without them mean MiniCPM 1's")
graph("qk_norm_before_rope.hunyuan", "hunyuan", "qk_norm", "qk_norm_place=before_rope", source="Hunyuan turns first")
fault("qk_norm_swapped.hunyuan", "hunyuan", "qk_norm weight_swapped", swap("attn_q_norm.weight", "attn_k_norm.weight"))
fault("rope_alpha_lost.hunyuan", "hunyuan", "rope_base", set_key(".rope.freq_base", 100.0), source="base without alpha")
graph("qk_norm_off.olmo2", "olmo2", "qk_norm", "qk_norm=no")
graph("post_norms_off.olmo2", "olmo2", "norm_place", "post_norms=no")
fault("norm_place.olmo2", "olmo2", "weight_swapped norm_place norm_weight", swap("post_attention_norm.weight", "post_ffw_norm.weight"))
fault("k_v_swapped.phi3", "phi3", "weight_swapped", reorder("attn_qkv.weight", lambda n: blocks([0, 1, 2, 3, 6, 7, 4, 5], n // 8)),
      source="q, v, k in the fused product")
fault("gate_up_swapped.phi3", "phi3", "gate_order weight_swapped", reorder("ffn_up.weight", lambda n: blocks([1, 0], n // 2)),
      source="up, gate in the fused product")
graph("rope_factors_long.phi3", "phi3", "rope_scaling", "rope_factors=long", source="the set of the other context")
graph("sinks_off.gptoss", "gptoss", "sinks", "sinks=no")
fault("sinks_zero.gptoss", "gptoss", "sinks weight_zero", zero("attn_sinks.weight"))
graph("up_offset_off.gptoss", "gptoss", "activation", "ffn_up_offset=0", source="up in place of up + 1")
graph("expert_biases_off.gptoss", "gptoss", "missing_bias", "expert_biases=no")
graph("window_ignored.gptoss", "gptoss", "window", "sliding_window=0")
graph("v_norm_off.gemma4", "gemma4", "qk_norm", "v_norm=no")
graph("layer_embeddings_off.gemma4", "gemma4", "residual_scale", "layer_embeddings=no")
graph("layer_output_scale_off.gemma4", "gemma4", "residual_scale", "layer_output_scale=no")
graph("window_ignored.gemma4", "gemma4", "window", "sliding_window=0")
fault("rope_factors_lost.gemma4", "gemma4", "rope_scaling rope_dimension", drop("rope_freqs.weight"), source="all of a global head turned")

# What is no fault and must not be called one: the same function, or the same one quantised.
HEALTHY = {
    "heads_in_other_order.qwen2": ("qwen2", all_of(
        reorder("attn_q.weight attn_q.bias", blocks([1, 0, 3, 2], 32)), reorder("attn_output.weight", blocks([1, 0, 3, 2], 32), "cols"))),
    "groups_in_other_order.llama": ("llama", all_of(
        reorder("attn_q.weight", blocks([2, 3, 0, 1], 32)), reorder("attn_output.weight", blocks([2, 3, 0, 1], 32), "cols"),
        reorder("attn_k.weight attn_v.weight", blocks([1, 0], 32)))),
    "neurons_in_other_order.qwen2": ("qwen2", all_of(
        reorder("ffn_gate.weight ffn_up.weight", reverse), reorder("ffn_down.weight", reverse, "cols"))),
    "experts_in_other_order.qwen3moe": ("qwen3moe", all_of(
        experts("ffn_gate_exps.weight ffn_up_exps.weight ffn_down_exps.weight", list(range(8))[::-1]),
        reorder("ffn_gate_inp.weight", reverse))),
    "no_template.qwen2": ("qwen2", drop_key("tokenizer.chat_template")),
    "no_names.llama": ("llama", lambda g: [g.keys.pop(k) for k in list(g.keys) if k.startswith("general.") and k != "general.architecture"]),
    "tied_head_written_out.qwen2": ("qwen2", lambda g: g.tensors.append(type(g.tensors[0])(
        "output.weight", list(g.tensor("token_embd.weight").shape), g.tensor("token_embd.weight").type, g.tensor("token_embd.weight").data))),
    "norm_moved.llama": ("llama", all_of(  # twice the norm, half the products
        scale("attn_norm.weight", 2.0), scale("attn_q.weight attn_k.weight attn_v.weight", 0.5))),
    "values_scaled.qwen2": ("qwen2", all_of(scale("attn_v.weight attn_v.bias", 4.0), scale("attn_output.weight", 0.25))),
}
