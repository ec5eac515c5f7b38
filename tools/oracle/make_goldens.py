#!/usr/bin/env python3
"""Tiny models of every architecture with the logits that Hugging Face transformers computes from the same weights.

    make_goldens.py OUT_DIR [--only NAME]

For each case: random float32 weights (numpy generator, fixed seed) are loaded into the transformers model class of the
architecture, its logits for a fixed token sequence are taken in f32 with eager attention, and the weights are written
as an F32 GGUF by the PyPI package `gguf` the way llama.cpp's converter would lay them out (q and k rows of llama
permuted to neighbouring pairs, gemma norms stored plus one, llama3 RoPE as `rope_freqs.weight`). The sequences run past
the sliding windows and past the original context. Every case is also run through forward.py (fp64, from the
definition); the largest difference must stay below 2e-5 of the logit range, or nothing is written.

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

N_VOCAB = 288
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGE_SOURCE = ("the and ing of to in is that for was on are with as his they be at one have this from or had by "
                "hot word but what some we can out other were all there when up use your how said an each she")
N_CTX, N_TOKENS = 512, 160

# The sizes are odd on purpose: widths that no vector length divides, heads whose size is not width / heads.
CASES = {
    "llama3rope": dict(arch="llama", seed=11, n_embd=48, n_layer=2, n_head=3, n_kv_head=1, head_dim=16, n_ff=56,
                       eps=1e-5, base=100.0, llama3=dict(factor=8.0, low=1.0, high=4.0, original=64)),
    "llama_bias": dict(arch="llama", seed=12, n_embd=40, n_layer=2, n_head=4, n_kv_head=2, head_dim=10, n_ff=72,
                       eps=1e-5, base=10000.0, bias="qkvo", tied=True),
    "qwen2": dict(arch="qwen2", seed=13, n_embd=48, n_layer=2, n_head=4, n_kv_head=2, head_dim=12, n_ff=72, eps=1e-6,
                  base=1000000.0, bias="qkv", tied=True),
    "qwen3": dict(arch="qwen3", seed=14, n_embd=40, n_layer=2, n_head=3, n_kv_head=1, head_dim=32, n_ff=72, eps=1e-6,
                  base=1000000.0, qk_norm=True, tied=True),
    "gemma2": dict(arch="gemma2", seed=15, n_embd=40, n_layer=3, n_head=4, n_kv_head=2, head_dim=16, n_ff=56, eps=1e-6,
                   base=10000.0, window=24, attn_softcap=8.0, final_softcap=10.0, tied=True),
    "gemma3": dict(arch="gemma3", seed=16, n_embd=32, n_layer=7, n_head=2, n_kv_head=1, head_dim=24, n_ff=40, eps=1e-6,
                   base=1000000.0, window=24, qk_norm=True, linear=8.0, tied=True),
    "qwen3_yarn": dict(arch="qwen3", seed=17, n_embd=40, n_layer=2, n_head=3, n_kv_head=1, head_dim=32, n_ff=72,
                       eps=1e-6, base=10000.0, qk_norm=True, tied=True, yarn=dict(factor=4.0, original=64)),
    "bitnet": dict(arch="bitnet-b1.58", seed=18, n_embd=48, n_layer=3, n_head=4, n_kv_head=2, head_dim=12, n_ff=72,
                   eps=1e-5, base=500000.0, tied=True),
}


def hf_config(c):
    import transformers

    rope = {"rope_type": "default", "rope_theta": c["base"]}
    common = dict(vocab_size=N_VOCAB, hidden_size=c["n_embd"], intermediate_size=c["n_ff"],
                  num_hidden_layers=c["n_layer"], num_attention_heads=c["n_head"], num_key_value_heads=c["n_kv_head"],
                  max_position_embeddings=N_CTX, rms_norm_eps=c["eps"], tie_word_embeddings=c.get("tied", False),
                  bos_token_id=1, eos_token_id=2, pad_token_id=0, attn_implementation="eager")
    if "llama3" in c:
        r = c["llama3"]
        rope |= dict(rope_type="llama3", factor=r["factor"], low_freq_factor=r["low"], high_freq_factor=r["high"],
                     original_max_position_embeddings=r["original"])
    if "yarn" in c:
        rope |= dict(rope_type="yarn", factor=c["yarn"]["factor"],
                     original_max_position_embeddings=c["yarn"]["original"])
    if c["arch"] == "bitnet-b1.58":
        return transformers.BitNetConfig(**common, hidden_act="relu2", rope_parameters=rope)
    if c["arch"] == "llama":
        return transformers.LlamaConfig(**common, head_dim=c["head_dim"], attention_bias=bool(c.get("bias")),
                                        rope_parameters=rope)
    if c["arch"] == "qwen2":
        return transformers.Qwen2Config(**common, rope_parameters=rope)
    if c["arch"] == "qwen3":
        return transformers.Qwen3Config(**common, head_dim=c["head_dim"], rope_parameters=rope)
    gemma = dict(head_dim=c["head_dim"], query_pre_attn_scalar=c["head_dim"], sliding_window=c["window"])
    if c["arch"] == "gemma2":
        return transformers.Gemma2Config(**common, **gemma, attn_logit_softcapping=c["attn_softcap"],
                                         final_logit_softcapping=c["final_softcap"], rope_parameters=rope)
    rope |= dict(rope_type="linear", factor=c["linear"])
    return transformers.Gemma3TextConfig(**common, **gemma, rope_parameters={
        "full_attention": rope, "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}})


def random_weights(shapes, gemma, seed):
    """float32 arrays by transformers name. Large enough that softmax, softcaps and activations leave their linear
    part; gemma norm weights are w with 1 + w exact in float32."""
    rng = np.random.default_rng(seed)
    out = {}
    for name, shape in sorted(shapes.items()):
        x = rng.standard_normal(shape)
        if "norm" in name:
            x = np.clip(1.0 + 0.2 * x, 0.5, 2.0).astype(np.float32) - np.float32(1.0 if gemma else 0.0)
        elif name.endswith(".bias"):
            x = 0.5 * x
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
    model.eval()
    state = model.state_dict()
    shapes = {k: tuple(v.shape) for k, v in state.items() if not (c.get("tied") and k == "lm_head.weight")}
    weights = random_weights(shapes, c["arch"].startswith("gemma"), c["seed"])
    if c.get("bias") == "qkvo":
        assert any(k.endswith("o_proj.bias") for k in weights)
    missing, unexpected = model.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()}, strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)
    model.tie_weights()
    with torch.no_grad():
        return weights, model(torch.tensor([tokens])).logits[0].numpy()


LAYER_NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm", "self_attn.attn_sub_norm": "attn_sub_norm", "mlp.ffn_sub_norm": "ffn_sub_norm"}
PRE_NORM = {"post_attention_layernorm": "ffn_norm"}
SANDWICH = {"post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm",
            "post_feedforward_layernorm": "post_ffw_norm"}
TOP_NAMES = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
             "lm_head.weight": "output.weight"}


def gguf_name(name, gemma):
    if name in TOP_NAMES:
        return TOP_NAMES[name]
    _, _, layer, rest = name.split(".", 3)
    part, suffix = rest.rsplit(".", 1)
    return f"blk.{layer}.{(LAYER_NAMES | (SANDWICH if gemma else PRE_NORM))[part]}.{suffix}"


def gguf_tensor(name, x, c):
    if c["arch"].startswith("gemma") and "norm" in name:
        return x + np.float32(1.0)
    if c["arch"] == "llama" and ("q_proj" in name or "k_proj" in name):
        heads = c["n_head"] if "q_proj" in name else c["n_kv_head"]
        return x.reshape(heads, 2, c["head_dim"] // 2, -1).swapaxes(1, 2).reshape(x.shape)
    return x


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


def write_gguf(path, name, c, weights):
    import gguf

    w = gguf.GGUFWriter(path, c["arch"])
    w.add_name(f"rowmax tiny {name}")
    w.add_context_length(N_CTX)
    w.add_embedding_length(c["n_embd"])
    w.add_block_count(c["n_layer"])
    w.add_feed_forward_length(c["n_ff"])
    w.add_head_count(c["n_head"])
    w.add_head_count_kv(c["n_kv_head"])
    w.add_layer_norm_rms_eps(c["eps"])
    w.add_vocab_size(N_VOCAB)
    if c["arch"] != "gemma2":  # real gemma2 files carry no base: the architecture's own 10000 holds
        w.add_rope_freq_base(c["base"])
    if c["arch"] in ("qwen3", "gemma2", "gemma3"):
        w.add_key_length(c["head_dim"])
        w.add_value_length(c["head_dim"])
    if c["arch"] == "llama":
        w.add_rope_dimension_count(c["head_dim"])
    if "yarn" in c:
        w.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        w.add_rope_scaling_factor(c["yarn"]["factor"])
        w.add_rope_scaling_orig_ctx_len(c["yarn"]["original"])
    if "linear" in c:
        w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        w.add_rope_scaling_factor(c["linear"])
    if "window" in c:
        w.add_sliding_window(c["window"])
    if "attn_softcap" in c:
        w.add_attn_logit_softcapping(c["attn_softcap"])
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
    if "llama3" in c:
        w.add_tensor("rope_freqs.weight", llama3_factors(c))
    for key, x in weights.items():
        w.add_tensor(gguf_name(key, c["arch"].startswith("gemma")), np.ascontiguousarray(gguf_tensor(key, x, c)))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


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
    own = forward.Model(path).forward(tokens)
    delta = float(np.abs(own - logits).max() / np.ptp(own))
    if not delta < 2e-5:
        os.remove(path)
        raise SystemExit(f"{name}: transformers and forward.py differ by {delta:.3g} of the logit range")
    write_golden(os.path.join(out_dir, name + ".golden"), tokens, rows, logits)
    print(json.dumps({"case": name, "max_rel_delta_to_fp64": delta, "logit_range": float(np.ptp(own)),
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
