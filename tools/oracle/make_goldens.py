#!/usr/bin/env python3
"""Tiny models of every architecture with the logits that Hugging Face transformers computes from the same weights.

    make_goldens.py OUT_DIR [--only NAME]

For each case: random float32 weights (numpy generator, fixed seed) are loaded into the transformers model class of the
architecture, its logits for a fixed token sequence are taken in f32 with eager attention, and the weights are written
as an F32 GGUF by the PyPI package `gguf` the way llama.cpp's converter would lay them out (q and k rows of llama
permuted to neighbouring pairs, norms of gemma and qwen35 stored plus one, llama3 RoPE as `rope_freqs.weight`, a qwen35
layer's value heads in the order that lets key heads repeat as a whole, -exp(A_log)). The sequences run past the sliding
windows and past the original context. Every case is also run through forward.py (fp64, from the definition); the
largest difference must stay below 2e-5 of the logit range, and no choice of experts may be near a tie, or nothing is
written.

NAME.golden, little-endian: char[8] "RMGOLD1\\0"; u32 n_tokens, n_rows, n_vocab, 0; i32 tokens[n_tokens];
u32 rows[n_rows] (positions, ascending); f32 logits[n_rows][n_vocab].
Packages: numpy, gguf, torch, transformers.
"""
import argparse
import json
import math
import os
import struct
import sys

import numpy as np

from golden_cases import CASES

N_VOCAB = 288
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGE_SOURCE = ("the and ing of to in is that for was on are with as his they be at one have this from or had by "
                "hot word but what some we can out other were all there when up use your how said an each she")
N_CTX, N_TOKENS = 512, 160
ADJACENT = ("llama", "smollm3", "granite", "mistral3", "minicpm")  # q and k permuted to neighbouring pairs

MIN_ROUTER_MARGIN = 3e-3  # logits; rounding in f32 is a hundred times finer
MIN_CHOICE_MARGIN = 6e-4  # the same of probabilities, by which deepseek2 chooses


def hf_config(c):
    import transformers

    rope = {"rope_type": "default", "rope_theta": c["base"]}
    common = dict(vocab_size=N_VOCAB, hidden_size=c["n_embd"], num_hidden_layers=c["n_layer"],
                  num_attention_heads=c["n_head"], num_key_value_heads=c["n_kv_head"],
                  max_position_embeddings=N_CTX, rms_norm_eps=c["eps"], tie_word_embeddings=c.get("tied", False),
                  bos_token_id=1, eos_token_id=2, pad_token_id=0, attn_implementation="eager")
    if "n_ff" in c:
        common["intermediate_size"] = c["n_ff"]
    if "llama3" in c:
        r = c["llama3"]
        rope |= dict(rope_type="llama3", factor=r["factor"], low_freq_factor=r["low"], high_freq_factor=r["high"],
                     original_max_position_embeddings=r["original"])
    if "yarn" in c:
        rope |= dict(rope_type="yarn", factor=c["yarn"]["factor"],
                     original_max_position_embeddings=c["yarn"]["original"])
        rope |= {k: c["yarn"][k] for k in ("beta_fast", "beta_slow") if k in c["yarn"]}
    if c["arch"] == "deepseek2":
        return deepseek_config(c, common, rope)
    if c["arch"] == "mistral3":
        rope |= dict(mscale=1.0, mscale_all_dim=c["yarn"]["all_dim"], llama_4_scaling_beta=c["yarn"]["temperature"])
        return transformers.Ministral3Config(**common, head_dim=c["head_dim"], rope_parameters=rope)
    if c["arch"] == "gpt-oss":
        return transformers.GptOssConfig(**common, head_dim=c["head_dim"], sliding_window=c["window"],
                                         num_local_experts=c["experts"]["E"], num_experts_per_tok=c["experts"]["used"],
                                         rope_parameters=rope | dict(truncate=False))
    if "longrope" in c:
        rope |= dict(rope_type="longrope", partial_rotary_factor=c["rotary"], long_factor=longrope_factors(c, 30.0),
                     short_factor=longrope_factors(c, 3.0),
                     original_max_position_embeddings=c["longrope"]["original"])
    if c["arch"].startswith("lfm2"):
        return lfm2_config(c, common, rope)
    if c["arch"] == "phi3":
        return transformers.Phi3Config(**common, sliding_window=c.get("window"), rope_parameters=rope,
                                       original_max_position_embeddings=c["longrope"]["original"])
    if c["arch"] == "bitnet-b1.58":
        return transformers.BitNetConfig(**common, hidden_act="relu2", rope_parameters=rope)
    if c["arch"] == "llama":
        return transformers.LlamaConfig(**common, head_dim=c["head_dim"], attention_bias=bool(c.get("bias")),
                                        rope_parameters=rope)
    if c["arch"] == "smollm3":
        return transformers.SmolLM3Config(**common, attention_bias=bool(c.get("bias")), rope_parameters=rope,
                                          no_rope_layers=c.get("turns"))
    if c["arch"] == "olmo2":
        return transformers.Olmo2Config(**common, attention_bias=bool(c.get("bias")), rope_parameters=rope)
    if c["arch"] == "hunyuan-dense":
        rope |= dict(rope_type="dynamic", alpha=c["alpha"], factor=1.0) if "alpha" in c else {}
        return transformers.HunYuanDenseV1Config(**common, head_dim=c["head_dim"], rope_parameters=rope,
                                                 attention_bias=bool(c.get("bias")))
    if c["arch"] in ("granite", "minicpm"):
        s = c["scales"]
        return transformers.GraniteConfig(**common, attention_bias=bool(c.get("bias")), rope_parameters=rope,
                                          attention_multiplier=s["attention"], embedding_multiplier=s["embedding"],
                                          residual_multiplier=s["residual"], logits_scaling=s["logits"])
    if c["arch"] == "qwen2":
        return transformers.Qwen2Config(**common, rope_parameters=rope)
    if c["arch"] == "qwen3":
        return transformers.Qwen3Config(**common, head_dim=c["head_dim"], rope_parameters=rope)
    if c["arch"] in ("qwen3moe", "qwen35", "qwen35moe"):
        return qwen_config(c, common, rope)
    if c["arch"] == "gemma4":
        rope = {"full_attention": dict(rope, rope_type="proportional", partial_rotary_factor=c["rotary"]),
                "sliding_attention": {"rope_type": "default", "rope_theta": c["local_base"]}}
        kv = dict(attention_k_eq_v=True, num_global_key_value_heads=c["global_kv"]) if "global_kv" in c else {}
        if "experts" in c:
            e = c["experts"]
            kv |= dict(enable_moe_block=True, num_experts=e["E"], top_k_experts=e["used"], moe_intermediate_size=e["ff"])
        return transformers.Gemma4TextConfig(
            **common, **kv, head_dim=c["head_dim"], global_head_dim=c["global_dim"], sliding_window=c["window"],
            layer_types=["sliding_attention" if local == "1" else "full_attention" for local in c["local"]],
            num_kv_shared_layers=c.get("shared", 0), use_double_wide_mlp=c.get("wide", False),
            hidden_size_per_layer_input=c.get("side", 0), vocab_size_per_layer_input=N_VOCAB,
            final_logit_softcapping=c.get("final_softcap"), rope_parameters=rope)
    gemma = dict(head_dim=c["head_dim"], query_pre_attn_scalar=c["head_dim"], sliding_window=c["window"])
    if c["arch"] == "gemma2":
        return transformers.Gemma2Config(**common, **gemma, attn_logit_softcapping=c["attn_softcap"],
                                         final_logit_softcapping=c["final_softcap"], rope_parameters=rope)
    rope |= dict(rope_type="linear", factor=c["linear"])
    return transformers.Gemma3TextConfig(**common, **gemma, rope_parameters={
        "full_attention": rope, "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}})


def deepseek_config(c, common, rope):
    import transformers

    e = c["experts"]
    if "yarn" in c:
        rope |= dict(mscale=c["yarn"]["mscale"], mscale_all_dim=c["yarn"]["mscale"])
    common |= dict(rope_parameters=rope, q_lora_rank=c.get("q_rank"), kv_lora_rank=c["rank"], qk_nope_head_dim=c["nope"],
                   qk_rope_head_dim=c["head_dim"], v_head_dim=c["v_dim"], n_routed_experts=e["E"], n_shared_experts=e["shared"],
                   num_experts_per_tok=e["used"], moe_intermediate_size=e["ff"], routed_scaling_factor=e["scale"],
                   n_group=e["groups"], topk_group=e["best"])
    if c["cls"] == "DeepseekV2":
        return transformers.DeepseekV2Config(**common, first_k_dense_replace=e["dense"], norm_topk_prob=False,
                                             topk_method="group_limited_greedy")
    if c["cls"] == "DeepseekV3":
        return transformers.DeepseekV3Config(**common, first_k_dense_replace=e["dense"], norm_topk_prob=True)
    return transformers.Glm4MoeLiteConfig(**common, norm_topk_prob=True)


def qwen_config(c, common, rope):
    import transformers

    common |= dict(head_dim=c["head_dim"])
    if "experts" in c:
        e = c["experts"]
        common |= dict(num_experts=e["E"], num_experts_per_tok=e["used"], moe_intermediate_size=e["ff"])
    if c["arch"] == "qwen3moe":
        return transformers.Qwen3MoeConfig(**common, norm_topk_prob=True, rope_parameters=rope)
    d = c["delta"]
    common |= dict(linear_num_key_heads=d["n_k"], linear_num_value_heads=d["n_v"], linear_key_head_dim=d["d_k"],
                   linear_value_head_dim=d["d_v"], linear_conv_kernel_dim=d["kernel"],
                   layer_types=["linear_attention" if r else "full_attention" for r in recurrent_layers(c)])
    rope |= dict(partial_rotary_factor=c["rotary"], mrope_section=list(c["sections"]), mrope_interleaved=True)
    if c["arch"] == "qwen35":
        return transformers.Qwen3_5TextConfig(**common, rope_parameters=rope)
    return transformers.Qwen3_5MoeTextConfig(**common, rope_parameters=rope,
                                             shared_expert_intermediate_size=c["experts"]["shared"])


def lfm2_config(c, common, rope):
    import transformers

    common |= dict(norm_eps=common.pop("rms_norm_eps"), conv_L_cache=c["taps"], rope_parameters=rope,
                   layer_types=["conv" if kind == "c" else "full_attention" for kind in c["layers"]])
    if c["arch"] == "lfm2":  # the width as it is, or what the configuration makes of another
        said = c.get("said", dict(block_auto_adjust_ff_dim=False))
        return transformers.Lfm2Config(**(common | said))
    e = c["experts"]
    return transformers.Lfm2MoeConfig(**common, num_dense_layers=c["dense"], num_experts=e["E"],
                                      num_experts_per_tok=e["used"], moe_intermediate_size=e["ff"],
                                      norm_topk_prob=e.get("normed", True), routed_scaling_factor=e.get("scale", 1.0))


def recurrent_layers(c):
    """One truth value a layer: from `layers` (r or a each), else every `interval`th (4th) layer is attention."""
    if "layers" in c:
        assert len(c["layers"]) == c["n_layer"]
        return [kind == "r" for kind in c["layers"]]
    return [(i + 1) % c.get("interval", 4) != 0 for i in range(c["n_layer"])]


def mtp_shapes(c, shapes):
    """The tensors of a block that predicts a further token, beside those of a whole attention layer."""
    if c["arch"] == "deepseek2":
        last, ahead = (f"model.layers.{c['n_layer'] + i}." for i in (-1, 0))
        block = {ahead + k[len(last):]: v for k, v in shapes.items() if k.startswith(last)}
        norms = {f"{ahead}{k}.weight": (c["n_embd"],) for k in ("enorm", "hnorm", "shared_head.norm")}
        rows = {f"{ahead}{k}.weight": (N_VOCAB, c["n_embd"]) for k in ("embed_tokens", "shared_head.head")}
        return block | norms | rows | {f"{ahead}eh_proj.weight": (c["n_embd"], 2 * c["n_embd"])}
    layer = f"model.layers.{recurrent_layers(c).index(False)}."
    block = {f"mtp.layers.0.{k[len(layer):]}": v for k, v in shapes.items() if k.startswith(layer)}
    norms = {f"mtp.{k}.weight": (c["n_embd"],) for k in ("norm", "pre_fc_norm_embedding", "pre_fc_norm_hidden")}
    return block | norms | {"mtp.fc.weight": (c["n_embd"], 2 * c["n_embd"])}


def centered_norms(arch):
    """Whether the model multiplies by one plus a norm's weight."""
    return arch.startswith(("gemma2", "gemma3", "qwen35"))


def is_centered(name, arch):
    return centered_norms(arch) and "norm" in name and "linear_attn.norm" not in name and "_proj.norm" not in name


def norm_products(model, eps):
    """Every product with a norm of its own in front, as the layers of BitNet's embedding models: x becomes
    W (LlamaRMSNorm(x)). (They also round x and W, which the exact path does not.)"""
    import torch
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    class Normed(torch.nn.Linear):
        def forward(self, x):
            return super().forward(self.norm(x))

    for module in model.modules():
        for name, child in list(module.named_children()):
            if name.endswith("_proj"):
                normed = Normed(child.in_features, child.out_features, bias=False)
                normed.norm = LlamaRMSNorm(child.in_features, eps=eps)
                setattr(module, name, normed)


def random_weights(shapes, arch, seed):
    """float32 arrays by transformers name. Large enough that softmax, softcaps and activations leave their linear
    part; norm weights that the model adds one to are w with 1 + w exact in float32. Decays of the delta rule are
    between a few tokens and the whole sequence."""
    rng = np.random.default_rng(seed)
    out = {}
    for name, shape in sorted(shapes.items()):
        x = rng.standard_normal(shape)
        if arch == "gemma4" and name.endswith(("layer_scalar", "q_norm.weight", "k_norm.weight")):
            x = np.clip(0.6 + 0.15 * x, 0.3, 0.9)  # scores have no other scale; what is behind is that of the whole stream
        elif name.endswith("router.scale"):  # over the root of the width: of the size that tells experts apart
            x = math.sqrt(shape[0]) * np.clip(1.2 + 0.3 * x, 0.5, 2.0)
        elif name.endswith("router.per_expert_scale"):
            x = np.clip(1.0 + 0.4 * x, 0.3, 2.0)
        elif "norm" in name:
            x = np.clip(1.0 + 0.2 * x, 0.5, 2.0).astype(np.float32) - np.float32(is_centered(name, arch))
            x = x.astype(np.float16).astype(np.float32) if "_proj.norm" in name else x  # what the file keeps
        elif name.endswith(("sinks", "proj_bias")) or arch == "gpt-oss" and name.endswith(".bias"):
            x = 1.5 * x  # of logits; and so that gates and ups meet their limit
        elif arch == "gpt-oss" and ".experts.gate_up_proj" in name:
            x = x * (2.5 / math.sqrt(shape[-2]))
        elif name.endswith(".expert_bias"):
            x = 0.3 * x
        elif name.endswith((".bias", ".dt_bias")):
            x = 0.5 * x
        elif name.endswith("e_score_correction_bias"):
            x = 0.2 * x
        elif name.endswith(".A_log"):
            x = 1.2 * x - 2.0
        elif "embed_tokens" in name:
            x = 0.7 * x
        else:
            x = x * (1.3 / math.sqrt(shape[-1]))
        out[name] = np.ascontiguousarray(x, dtype=np.float32)
    return out


def hf_logits(c, tokens):
    import torch
    import transformers

    torch.set_num_threads(1)
    config = hf_config(c)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager")
    if c.get("product_norms"):
        norm_products(model, c["eps"])
    model.eval()
    state = model.state_dict()
    shapes = {k: tuple(v.shape) for k, v in state.items() if not (c.get("tied") and k == "lm_head.weight")}
    weights = random_weights(shapes, c["arch"], c["seed"])
    if c.get("bias") == "qkvo":
        assert any(k.endswith("o_proj.bias") for k in weights)
    missing, unexpected = model.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()}, strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)
    model.tie_weights()
    with torch.no_grad():
        logits = model(torch.tensor([tokens])).logits[0].numpy()
        if c.get("product_norms"):
            c["states"] = model.model(torch.tensor([tokens])).last_hidden_state[0].numpy()
    if c.get("mtp"):
        weights |= random_weights(mtp_shapes(c, shapes), c["arch"], 1000 + c["seed"])
    return weights, logits


LAYER_NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.qkv_proj": "attn_qkv", "mlp.gate_up_proj": "ffn_up", "self_attn.o_proj": "attn_output", "self_attn.query_layernorm": "attn_q_norm",
    "self_attn.key_layernorm": "attn_k_norm", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "per_layer_input_gate": "inp_gate", "per_layer_projection": "proj", "post_per_layer_input_norm": "post_norm",
    "input_layernorm": "attn_norm", "self_attn.attn_sub_norm": "attn_sub_norm", "mlp.ffn_sub_norm": "ffn_sub_norm",
    "pre_feedforward_layernorm_2": "pre_ffw_norm_2", "post_feedforward_layernorm_1": "post_ffw_norm_1",
    "post_feedforward_layernorm_2": "post_ffw_norm_2", "router.proj": "ffn_gate_inp",
    "mlp.router": "ffn_gate_inp", "mlp.gate": "ffn_gate_inp", "mlp.shared_expert_gate": "ffn_gate_inp_shexp",
    "mlp.shared_expert.gate_proj": "ffn_gate_shexp", "mlp.shared_expert.up_proj": "ffn_up_shexp",
    "mlp.shared_expert.down_proj": "ffn_down_shexp", "mlp.shared_experts.gate_proj": "ffn_gate_shexp",
    "mlp.shared_experts.up_proj": "ffn_up_shexp", "mlp.shared_experts.down_proj": "ffn_down_shexp",
    "self_attn.q_a_proj": "attn_q_a", "self_attn.q_a_layernorm": "attn_q_a_norm", "self_attn.q_b_proj": "attn_q_b",
    "self_attn.kv_a_proj_with_mqa": "attn_kv_a_mqa", "self_attn.kv_a_layernorm": "attn_kv_a_norm",
    "self_attn.kv_b_proj": "attn_kv_b", "eh_proj": "nextn.eh_proj", "enorm": "nextn.enorm", "hnorm": "nextn.hnorm",
    "shared_head.norm": "nextn.shared_head_norm", "shared_head.head": "nextn.shared_head_head",
    "embed_tokens": "nextn.embed_tokens",
    "linear_attn.in_proj_qkv": "attn_qkv", "linear_attn.in_proj_z": "attn_gate", "linear_attn.in_proj_a": "ssm_alpha",
    "linear_attn.in_proj_b": "ssm_beta", "linear_attn.conv1d": "ssm_conv1d", "linear_attn.norm": "ssm_norm",
    "linear_attn.out_proj": "ssm_out",
    "operator_norm": "attn_norm", "ffn_norm": "ffn_norm", "self_attn.out_proj": "attn_output",
    "self_attn.q_layernorm": "attn_q_norm", "self_attn.k_layernorm": "attn_k_norm", "conv.in_proj": "shortconv.in_proj",
    "conv.conv": "shortconv.conv", "conv.out_proj": "shortconv.out_proj", "feed_forward.w1": "ffn_gate",
    "feed_forward.w3": "ffn_up", "feed_forward.w2": "ffn_down", "feed_forward.gate": "ffn_gate_inp"}
# Names without a suffix, and what they become in full.
WHOLE_NAMES = {"mlp.gate.e_score_correction_bias": "exp_probs_b.bias", "linear_attn.A_log": "ssm_a", "linear_attn.dt_bias": "ssm_dt.bias",
               "mlp.experts.down_proj": "ffn_down_exps.weight", "mlp.experts.down_proj_bias": "ffn_down_exps.bias",
               "feed_forward.experts.down_proj": "ffn_down_exps.weight", "feed_forward.expert_bias": "exp_probs_b.bias",
               "router.scale": "ffn_gate_inp.scale", "router.per_expert_scale": "ffn_down_exps.scale",
               "experts.gate_up_proj": "ffn_gate_up_exps.weight", "experts.down_proj": "ffn_down_exps.weight",
               "self_attn.sinks": "attn_sinks.weight", "layer_scalar": "layer_output_scale.weight"}
MTP_NAMES = {"mtp.fc": "nextn.eh_proj", "mtp.norm": "nextn.shared_head_norm", "mtp.pre_fc_norm_embedding": "nextn.enorm",
             "mtp.pre_fc_norm_hidden": "nextn.hnorm"}
QWEN35_NORM = {"post_attention_layernorm": "post_attention_norm"}
PRE_NORM = {"post_attention_layernorm": "ffn_norm"}
SANDWICH = {"post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm",
            "post_feedforward_layernorm": "post_ffw_norm"}
TOP_NAMES = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
             "model.embedding_norm.weight": "token_embd_norm.weight",
             "lm_head.weight": "output.weight", "model.embed_tokens_per_layer.weight": "per_layer_token_embd.weight",
             "model.per_layer_model_projection.weight": "per_layer_model_proj.weight",
             "model.per_layer_projection_norm.weight": "per_layer_proj_norm.weight"}


def gguf_name(name, c):
    if name in TOP_NAMES:
        return TOP_NAMES[name]
    part, _, suffix = name.rpartition(".")
    if part in MTP_NAMES:
        return f"blk.{c['n_layer']}.{MTP_NAMES[part]}.{suffix}"
    if name.startswith("mtp.layers."):
        name = f"model.layers.{c['n_layer']}.{name.split('.', 3)[3]}"
    _, _, layer, rest = name.split(".", 3)
    if rest in WHOLE_NAMES:
        return f"blk.{layer}.{WHOLE_NAMES[rest]}"
    part, suffix = rest.rsplit(".", 1)
    if part.endswith("_proj.norm"):
        return f"blk.{layer}.{LAYER_NAMES[part.removesuffix('.norm')]}_norm_in.{suffix}"
    norms = PRE_NORM
    if c["arch"].startswith(("gemma", "olmo2")):
        norms = SANDWICH
    elif c["arch"].startswith(("qwen35", "gpt-oss")):
        norms = QWEN35_NORM
    return f"blk.{layer}.{(LAYER_NAMES | norms)[part]}.{suffix}"


def tiled_heads(x, c, axis, unit):
    """Value heads in the order of the file: the first of each key head's group, then the second ones, ..."""
    n_k, n_v = c["delta"]["n_k"], c["delta"]["n_v"]
    heads = np.arange(n_v).reshape(n_k, n_v // n_k).T.ravel()
    return np.take(x, (heads[:, None] * unit + np.arange(unit)).ravel(), axis=axis)


def delta_tensor(name, x, c):
    """A tensor of a recurrent layer of qwen35."""
    d_v, split = c["delta"]["d_v"], 2 * c["delta"]["n_k"] * c["delta"]["d_k"]
    part = name.split("linear_attn.")[1].removesuffix(".weight")
    if part in ("in_proj_qkv", "conv1d"):
        x = x.reshape(len(x), -1)
        return np.concatenate([x[:split], tiled_heads(x[split:], c, 0, d_v)])
    if part == "in_proj_z":
        return tiled_heads(x, c, 0, d_v)
    if part == "out_proj":
        return x if "hadamard" in c else tiled_heads(x, c, 1, d_v)
    if part == "A_log":
        x = -np.exp(x.astype(np.float64)).astype(np.float32)
    return x if part == "norm" else tiled_heads(x, c, 0, 1)


def gguf_tensor(name, x, c):
    if is_centered(name, c["arch"]):
        return x + np.float32(1.0)
    if c["arch"] in ADJACENT and ("q_proj" in name or "k_proj" in name) and "_proj.norm" not in name:
        heads = c["n_head"] if "q_proj" in name else c["n_kv_head"]
        return x.reshape(heads, 2, c["head_dim"] // 2, -1).swapaxes(1, 2).reshape(x.shape)
    if name.endswith("conv.conv.weight"):
        return x.reshape(len(x), -1)
    return delta_tensor(name, x, c) if "linear_attn." in name else x


def gpt_oss_experts(name, x, c):
    """Matrices [in, out] of transformers, gate and up in turns, as [out, in]."""
    x = x if name.endswith("_bias") else np.swapaxes(x, 1, 2)
    if "gate_up" not in name:
        yield gguf_name(name, c), np.ascontiguousarray(x)
        return
    whole = gguf_name(name.replace("gate_up_proj", "down_proj"), c)
    for i, part in enumerate(("gate", "up")):
        yield whole.replace("down", part), np.ascontiguousarray(x[:, i::2])


def gguf_tensors(weights, c):
    """(name, array) of the file for transformers' weights. An expert's gate and up projections part, but gemma4's."""
    for name, x in weights.items():
        if name.endswith("kv_b_proj.weight") and not c.get("together"):
            heads, whole = x.reshape(c["n_head"], c["nope"] + c["v_dim"], -1), gguf_name(name, c)
            yield whole.replace("kv_b", "k_b"), np.ascontiguousarray(heads[:, : c["nope"]].swapaxes(1, 2))
            yield whole.replace("kv_b", "v_b"), np.ascontiguousarray(heads[:, c["nope"] :])
        elif c["arch"] == "gpt-oss" and "experts." in name:
            yield from gpt_oss_experts(name, x, c)
        elif name.endswith("mlp.experts.gate_up_proj"):
            blk = gguf_name(name.replace("gate_up_proj", "down_proj"), c).removesuffix("down_exps.weight")
            half = x.shape[1] // 2
            yield blk + "gate_exps.weight", np.ascontiguousarray(x[:, :half])
            yield blk + "up_exps.weight", np.ascontiguousarray(x[:, half:])
        else:
            yield gguf_name(name, c), np.ascontiguousarray(gguf_tensor(name, x, c))


NOT_TURNED = ("ssm_alpha", "ssm_beta", "ssm_conv1d")  # as in Bonsai 2


def turned(tensors, c):
    """(tensors, keys) with W diag(s) H in place of each matrix W: H from blocks of the Sylvester-Walsh-Hadamard matrix
    over the square root of its size, signs s for each number of columns."""
    block, rng = c["hadamard"], np.random.default_rng(2000 + c["seed"])
    h = np.ones((1, 1))
    while len(h) < block:
        h = np.block([[h, h], [h, -h]])
    signs, names, out = {}, [], []
    for name, x in tensors:
        if x.ndim == 2 and not any(part in name for part in NOT_TURNED):
            width = x.shape[1]
            if width not in signs:
                signs[width] = rng.choice([-1, 1], width)
            rows = (x.astype(np.float64) * signs[width]).reshape(len(x), -1, block) @ (h / math.sqrt(block))
            x = rows.reshape(x.shape).astype(np.float32)
            names.append(name)
        out.append((name, x))
    keys = {"block_size": block, "transform": "normalized-sylvester-walsh-hadamard", "axis": "input-last-dimension",
            "sign_mode": "explicit", "sign_widths": list(signs),
            "sign_values": [int(v) for s in signs.values() for v in s],
            "weight_names": [n for n in names if n != "token_embd.weight"],
            "inverse_weight_names": ["token_embd.weight"], "gdn_v_grouped": True, "version": 1}
    return out, keys


def longrope_factors(c, most):
    n = int(c["head_dim"] * c["rotary"]) // 2
    return [float(np.float32(most ** (i / (n - 1)))) for i in range(n)]


def llama3_factors(c):
    r, d = c["llama3"], c["head_dim"]
    wavelength = 2 * math.pi * c["base"] ** (np.arange(0, d, 2) / d)
    smooth = (r["original"] / wavelength - r["low"]) / (r["high"] - r["low"])
    middle = 1.0 / ((1.0 - smooth) / r["factor"] + smooth)
    factors = np.where(wavelength < r["original"] / r["high"], 1.0,
                       np.where(wavelength > r["original"] / r["low"], r["factor"], middle))
    assert len(set(np.round(factors, 6))) >= 4, "all three bands must be met"
    return factors.astype(np.float32)


def byte_alphabet():
    """GPT-2's printable character for each byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    extra = iter(range(256, 512))
    return [chr(b) if b in plain else chr(next(extra)) for b in range(256)]


def tokenizer():
    """Specials, the 256 bytes, and as many merges of frequent English pairs as fit the vocabulary."""
    tokens, merges = SPECIALS + byte_alphabet(), []
    for word in MERGE_SOURCE.split():
        left = "Ġ"
        for ch in word:
            if len(tokens) < N_VOCAB and left + ch not in tokens:
                tokens.append(left + ch)
                merges.append(f"{left} {ch}")
            left += ch
    assert len(tokens) == N_VOCAB
    return tokens, merges


def gemma4_keys(w, c):
    """As llama.cpp's converter writes them."""
    local, n_own = [kind == "1" for kind in c["local"]], c["n_layer"] - c.get("shared", 0)
    w.add_feed_forward_length([c["n_ff"] * (2 if i >= n_own else 1) for i in range(c["n_layer"])] if c.get("wide") else c["n_ff"])
    w.add_head_count_kv([c["n_kv_head"] if each else c["global_kv"] for each in local] if "global_kv" in c else c["n_kv_head"])
    w.add_shared_kv_layers(c.get("shared", 0))
    w.add_embedding_length_per_layer_input(c.get("side", 0))
    w.add_sliding_window_pattern(local)
    w.add_key_length(c["global_dim"])
    w.add_value_length(c["global_dim"])
    w.add_key_length_swa(c["head_dim"])
    w.add_value_length_swa(c["head_dim"])
    w.add_rope_dimension_count(c["global_dim"])
    w.add_rope_dimension_count_swa(c["head_dim"])
    w.add_rope_freq_base_swa(c["local_base"])


def deepseek_keys(w, c):
    import gguf

    e, rope = c["experts"], c["head_dim"]
    w.add_head_count_kv(c["n_head"] if c.get("together") else 1)
    w.add_kv_lora_rank(c["rank"])
    if "q_rank" in c:
        w.add_q_lora_rank(c["q_rank"])
    if c.get("together"):
        w.add_key_length(c["nope"] + rope)
        w.add_value_length(c["v_dim"])
    else:
        w.add_key_length(c["rank"] + rope)
        w.add_value_length(c["rank"])
        w.add_key_length_mla(c["nope"] + rope)
        w.add_value_length_mla(c["v_dim"])
    w.add_rope_dimension_count(rope)
    w.add_leading_dense_block_count(e["dense"])
    w.add_expert_shared_count(e["shared"])
    w.add_expert_weights_scale(e["scale"])
    sigmoid = c["cls"] != "DeepseekV2"
    if sigmoid:
        w.add_expert_weights_norm(True)
    if not c.get("silent"):
        w.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID if sigmoid else gguf.ExpertGatingFuncType.SOFTMAX)
    if not c.get("greedy"):
        w.add_expert_group_count(e["groups"])
        w.add_expert_group_used_count(e["best"])
    if c.get("mtp"):
        w.add_nextn_predict_layers(1)
    if "yarn" in c:
        w.add_rope_scaling_yarn_log_mul(0.1 * c["yarn"]["mscale"])


def unused_kv(c):
    """Published checkpoints hold k and v of layers that read those of others, and so do the files."""
    rng = np.random.default_rng(3000 + c["seed"])
    for i in range(c["n_layer"] - c.get("shared", 0), c["n_layer"]):
        dim = c["head_dim"] if c["local"][i] == "1" else c["global_dim"]
        yield f"blk.{i}.attn_k_norm.weight", rng.standard_normal(dim).astype(np.float32)
        for part in "kv":
            x = rng.standard_normal((c["n_kv_head"] * dim, c["n_embd"]))
            yield f"blk.{i}.attn_{part}.weight", x.astype(np.float32)


def write_gguf(path, name, c, weights):
    import gguf

    w = gguf.GGUFWriter(path, c["arch"])
    w.add_name(f"rowmax tiny {name.replace('phi3', 'fused')}")  # readers look for Phi 3's own tokens by the name
    w.add_context_length(N_CTX)
    w.add_embedding_length(c["n_embd"])
    w.add_block_count(c["n_layer"] + c.get("mtp", False))
    if c["arch"] == "gemma4":
        gemma4_keys(w, c)
    elif c["arch"] == "deepseek2":
        w.add_feed_forward_length(c["n_ff"])
        deepseek_keys(w, c)
    else:
        w.add_feed_forward_length(c["n_ff"]) if "n_ff" in c else None
        lfm2 = c["arch"].startswith("lfm2")
        w.add_head_count_kv([c["n_kv_head"] * (kind == "a") for kind in c["layers"]] if lfm2 else c["n_kv_head"])
    w.add_head_count(c["n_head"])
    w.add_layer_norm_rms_eps(c["eps"])
    w.add_vocab_size(N_VOCAB)
    if c["arch"] != "gemma2":  # real gemma2 files carry no base: the architecture's own 10000 holds
        d = c["head_dim"]
        w.add_rope_freq_base(c["base"] * c.get("alpha", 1.0) ** (d / (d - 2)))
    if c["arch"].startswith(("qwen3", "gemma2", "gemma3", "gpt-oss", "mistral3", "hunyuan")):
        w.add_key_length(c["head_dim"])
        w.add_value_length(c["head_dim"])
    if "scales" in c and c.get("scales_written", True):
        if c["arch"] == "granite":
            w.add_attention_scale(c["scales"]["attention"])
        w.add_embedding_scale(c["scales"]["embedding"])
        w.add_residual_scale(c["scales"]["residual"])
        w.add_logit_scale(c["scales"]["logits"])
    if "turns" in c:
        w.add_array(f"{c['arch']}.attention.rope_pattern", [bool(t) for t in c["turns"]])
    if c["arch"] in ADJACENT:
        w.add_rope_dimension_count(c["head_dim"])
    if "experts" in c:
        e = c["experts"]
        w.add_expert_count(e["E"])
        w.add_expert_used_count(e["used"])
        w.add_expert_feed_forward_length(e["ff"])
        if "shared" in e and c["arch"] != "deepseek2":
            w.add_expert_shared_feed_forward_length(e["shared"])
    if "taps" in c:
        w.add_shortconv_l_cache(c["taps"])
    if "dense" in c:
        w.add_leading_dense_block_count(c["dense"])
        w.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)
        if not e.get("normed", True):
            w.add_expert_weights_norm(False)
        if "scale" in e:
            w.add_expert_weights_scale(e["scale"])
    if "delta" in c:
        d = c["delta"]
        w.add_rope_dimension_count(int(c["head_dim"] * c["rotary"]))
        w.add_rope_dimension_sections([*c["sections"], 0])
        w.add_ssm_conv_kernel(d["kernel"])
        w.add_ssm_state_size(d["d_k"])
        w.add_ssm_group_count(d["n_k"])
        w.add_ssm_time_step_rank(d["n_v"])
        w.add_ssm_inner_size(d["n_v"] * d["d_v"])
        if not c.get("interval_only"):  # files of the first converters have the interval alone
            w.add_array(f"{c['arch']}.attention.recurrent_layers", recurrent_layers(c) + [False] * c.get("mtp", False))
        w.add_full_attention_interval(c.get("interval", 4))
        if c.get("mtp"):
            w.add_nextn_predict_layers(1)
    if "yarn" in c:
        w.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        w.add_rope_scaling_factor(c["yarn"]["factor"])
        w.add_rope_scaling_orig_ctx_len(c["yarn"]["original"])
        for key, add in (("beta_fast", w.add_rope_scaling_yarn_beta_fast), ("beta_slow", w.add_rope_scaling_yarn_beta_slow)):
            if key in c["yarn"]:
                add(c["yarn"][key])
        if "all_dim" in c["yarn"]:
            w.add_rope_scaling_yarn_log_mul(c["yarn"]["all_dim"])
            w.add_attn_temperature_scale(c["yarn"]["temperature"])
    if "pooling" in c:
        w.add_pooling_type(gguf.PoolingType(c["pooling"]))
    if "linear" in c:
        w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        w.add_rope_scaling_factor(c["linear"])
    if "longrope" in c:
        original = c["longrope"]["original"]
        if c["arch"] == "phi3":
            w.add_rope_dimension_count(int(c["head_dim"] * c["rotary"]))
        else:
            w.add_rope_scaling_type(gguf.RopeScalingType.LONGROPE)
        w.add_rope_scaling_orig_ctx_len(original)
        w.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(N_CTX / original) / math.log(original)))
        if c["arch"] == "phi3":
            w.add_sliding_window(c.get("window", 0))
    elif "window" in c:
        w.add_sliding_window(c["window"])
    if "attn_softcap" in c:
        w.add_attn_logit_softcapping(c["attn_softcap"])
    if "final_softcap" in c:
        w.add_final_logit_softcapping(c["final_softcap"])
    w.add_file_type(gguf.LlamaFileType.ALL_F32)
    tokens, merges = tokenizer()
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("smollm")
    w.add_token_list(tokens)
    w.add_token_types([gguf.TokenType.CONTROL] * len(SPECIALS)
                      + [gguf.TokenType.NORMAL] * (N_VOCAB - len(SPECIALS)))
    w.add_token_merges(merges)
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    w.add_pad_token_id(0)
    w.add_add_bos_token(False)
    if "longrope" in c:
        w.add_tensor("rope_factors_long.weight", np.asarray(longrope_factors(c, 30.0), np.float32))
        w.add_tensor("rope_factors_short.weight", np.asarray(longrope_factors(c, 3.0), np.float32))
    if "llama3" in c:
        w.add_tensor("rope_freqs.weight", llama3_factors(c))
    tensors = list(gguf_tensors(weights, c))
    if c["arch"] == "gemma4":
        n_turned = int(c["global_dim"] * c["rotary"] / 2)
        factors = [1.0] * n_turned + [1e30] * (c["global_dim"] // 2 - n_turned)
        w.add_tensor("rope_freqs.weight", np.asarray(factors, np.float32))
        tensors += unused_kv(c) if c.get("unused", True) else []
    if "hadamard" in c:
        tensors, keys = turned(tensors, c)
        for key, value in keys.items():
            add = {int: w.add_uint32, str: w.add_string, bool: w.add_bool, list: w.add_array}[type(value)]
            add("prism.hadamard." + key, value)
    for key, x in tensors:
        w.add_tensor(key, np.float16(x) if key.endswith("_norm_in.weight") else x)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def least_margin(c):
    return MIN_CHOICE_MARGIN if c["arch"] == "deepseek2" else MIN_ROUTER_MARGIN


def write_golden(path, tokens, rows, logits):
    with open(path, "wb") as f:
        f.write(b"RMGOLD1\0" + struct.pack("<4I", len(tokens), len(rows), logits.shape[1], 0))
        f.write(np.asarray(tokens, "<i4").tobytes() + np.asarray(rows, "<u4").tobytes())
        f.write(np.asarray(logits[rows], "<f4").tobytes())


def make(name, out_dir):
    import forward

    c = CASES[name]
    rng = np.random.default_rng(1000 + c["seed"])
    tokens = [int(t) for t in rng.integers(len(SPECIALS), N_VOCAB, N_TOKENS)]
    # The first rows, both sides of the windows' and the original context's edges, then every eighth, and the last.
    rows = sorted({0, 1, 2, 3, 22, 23, 24, 25, 26, 62, 63, 64, 65, *range(7, N_TOKENS, 16), N_TOKENS - 1})
    weights, logits = hf_logits(c, tokens)
    path = os.path.join(out_dir, name + ".gguf")
    write_gguf(path, name, c, weights)
    model = forward.Model(path)
    own = model.forward(tokens)
    delta = float(np.abs(own - logits).max() / np.ptp(own))
    if not delta < 2e-5:
        os.remove(path)
        raise SystemExit(f"{name}: transformers and forward.py differ by {delta:.3g} of the logit range")
    if model.router_margin < least_margin(c):
        os.remove(path)
        raise SystemExit(f"{name}: a choice of experts is {model.router_margin:.3g} from another; take another seed")
    write_golden(os.path.join(out_dir, name + ".golden"), tokens, rows, logits)
    if "states" in c:
        write_golden(os.path.join(out_dir, name + ".states.golden"), tokens, list(range(N_TOKENS)), c["states"])
    margin = {"router_margin": model.router_margin} if "experts" in c else {}
    if c["arch"] == "gpt-oss":
        margin |= {"limited": model.n_limited.tolist()}
    print(json.dumps(margin | {"case": name, "max_rel_delta_to_fp64": delta, "logit_range": float(np.ptp(own)),
                      "gguf_bytes": os.path.getsize(path), "rows": len(rows)}))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out_dir")
    p.add_argument("--only", choices=CASES)
    args = p.parse_args()
    import transformers

    transformers.utils.logging.set_verbosity_error()
    os.makedirs(args.out_dir, exist_ok=True)
    for name in [args.only] if args.only else CASES:
        make(name, args.out_dir)
    versions = {m: sys.modules[m].__version__ for m in ("numpy", "torch", "transformers")}
    print(json.dumps({"versions": versions}))


if __name__ == "__main__":
    main()
