#!/usr/bin/env python3
"""Forward pass of a GGUF language model in fp64 numpy, written from the definition.

It shares nothing with the engine it judges: the file is read and dequantised by the PyPI package `gguf`, every
product, norm, rotation and softmax is plain numpy in float64, and attention materialises the full score matrix.
Architectures: smollm3, granite, mistral3, minicpm, hunyuan-dense, olmo2, llama (with `rope_freqs.weight` factors and optional biases), qwen2, qwen3, qwen3moe, qwen35, qwen35moe,
gemma2, gemma3, gemma4, gpt-oss, bitnet-b1.58, phi3, lfm2, lfm2moe, deepseek2 (attention over latents in its plain form: keys
and values of every head). The gated delta rule of qwen35 runs token by token, experts one by one; blocks of
multi-token prediction are passed over. Matrices stored turned (prism.hadamard, version 1): x, and rows that are looked
up, are turned as the keys say. RoPE scaling: linear, YaRN, LongRoPE (the long divisors for
sequences that are longer than the original context, as transformers has it). Activations are real numbers; --int8 rounds the input of
every matrix but the head as BitNet b1.58 models were trained: per token s = 127 / max(1e-5, max|x|),
q = round half to even(x s) in -128 .. 127, y = W q / s.
A tensor of the file that no step used, or an unknown RoPE scaling, is an error, so a wrong guess cannot pass.

    forward.py MODEL.gguf --tokens 1,2,3 --out logits.npz [--taps] [--rows all|last|a:b] [--int8]

The output holds `tokens` int64[n], `rows` int64[r] (the positions), `logits` float64[r, n_vocab], and with --taps
`residual` float64[n_layer + 1, n, n_embd] (the stream after the embedding and after each layer).
"""
import argparse
import json
import math
import re

import numpy as np

NORM_LAST = ("hunyuan-dense",)  # q and k turn before they are normed
HYBRIDS = ("qwen35", "qwen35moe")
LFM2 = ("lfm2", "lfm2moe")
ADJACENT = ("llama", "smollm3", "granite", "mistral3", "minicpm", "deepseek2")
ARCHITECTURES = (*ADJACENT, *NORM_LAST, "olmo2", "qwen2", "qwen3", "qwen3moe", *HYBRIDS, "gemma2", "gemma3", "bitnet-b1.58", "gpt-oss", "gemma4", "phi3", *LFM2)
L2_EPS = 1e-6  # of the delta rule's queries and keys; a constant of the model classes, no key


def silu(x):
    return x / (1.0 + np.exp(-x))


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def gelu_tanh(x):
    return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


def relu_squared(x):
    return np.maximum(x, 0.0) ** 2


def rounded_by_token(x):
    s = 127.0 / np.maximum(1e-5, np.abs(x).max(axis=-1, keepdims=True))
    return np.clip(np.rint(x * s), -128, 127) / s


def rms_norm(x, weight, eps):
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps) * weight


def l2_norm(x):
    return x / np.sqrt(np.sum(x * x, axis=-1, keepdims=True) + L2_EPS)


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


class GgufFile:
    """Metadata and dequantised tensors of one file; remembers which tensors were asked for."""

    def __init__(self, path):
        import gguf

        self._gguf = gguf
        self._reader = gguf.GGUFReader(path)
        self._tensors = {t.name: t for t in self._reader.tensors}
        self.used = set()
        self.arch = self.get("general.architecture")
        if self.arch not in ARCHITECTURES:
            raise ValueError(f"architecture {self.arch!r} is not one of {ARCHITECTURES}")

    def get(self, key, default=None):
        field = self._reader.fields.get(key)
        return default if field is None else field.contents()

    def key(self, suffix, default=None):
        return self.get(f"{self.arch}.{suffix}", default)

    def need(self, suffix):
        value = self.key(suffix)
        if value is None:
            raise KeyError(f"{self.arch}.{suffix} is missing")
        return value

    def has(self, name):
        return name in self._tensors

    def tensor(self, name, dtype=np.float64):
        """The dequantised tensor in numpy shape (slowest dimension first); KeyError when absent."""
        t = self._tensors[name]
        self.used.add(name)
        shape = tuple(int(d) for d in reversed(t.shape))
        return self._gguf.dequantize(t.data, t.tensor_type).reshape(shape).astype(dtype)

    def check_all_used(self, n_layer):
        """Past n_layer there are only blocks that predict further tokens."""
        ahead = {t for t in self._tensors if t.startswith("blk.") and int(t.split(".")[1]) >= n_layer}
        # Published files hold k and v of layers that read those of others.
        shared = n_layer - (self.key("attention.shared_kv_layers", 0) if self.arch == "gemma4" else 0)
        ahead |= {t for t in self._tensors if t.startswith("blk.") and int(t.split(".")[1]) >= shared
                  and t.split(".")[2] in ("attn_k", "attn_v", "attn_k_norm")}
        left = sorted(set(self._tensors) - self.used - ahead)
        if left:
            raise ValueError(f"tensors that no step used: {left}")


class Rotation:
    """prism.hadamard, version 1: W' = W diag(s) H along the columns, blocks of a Sylvester-Walsh-Hadamard matrix over
    the square root of its size."""

    def __init__(self, f):
        get = lambda key, default=None: f.get("prism.hadamard." + key, default)
        self.products, self.lookups = set(get("weight_names", [])), set(get("inverse_weight_names", []))
        self.grouped = bool(get("gdn_v_grouped", False))
        if not self.products and not self.lookups:
            return
        kind = (get("version"), get("transform"), get("axis"))
        if kind != (1, "normalized-sylvester-walsh-hadamard", "input-last-dimension"):
            raise ValueError("another kind of prism.hadamard")
        self.h = np.ones((1, 1))
        while len(self.h) < get("block_size"):
            self.h = np.block([[self.h, self.h], [self.h, -self.h]])
        self.h /= math.sqrt(len(self.h))
        widths, values = get("sign_widths", []), np.asarray(get("sign_values", []), np.float64)
        self.signs = dict(zip(widths, np.split(values, np.cumsum(widths)[:-1]))) if widths else {}

    def blocks(self, x):
        return (x.reshape(*x.shape[:-1], -1, len(self.h)) @ self.h).reshape(x.shape)

    def sign(self, x):
        return x * self.signs.get(x.shape[-1], 1.0)

    def of_product(self, x):
        return self.blocks(self.sign(x))

    def of_row(self, x):
        return self.sign(self.blocks(x))


class Model:
    """Hyperparameters resolved from the metadata, and the forward pass."""

    def __init__(self, path, int8=False, jitter=None):
        """jitter: a random generator that disturbs the inputs of products by an f32 rounding (with int8), to see how
        far rounding alone takes the logits."""
        f = self.file = GgufFile(path)
        self.int8, self.jitter = int8, jitter
        self.arch = f.arch
        self.gemma4 = self.arch == "gemma4"
        gemma = self.arch in ("gemma2", "gemma3", "gemma4")
        self.hybrid = self.arch in HYBRIDS
        self.rotation = Rotation(f)
        self.n_layer = f.need("block_count") - f.key("nextn_predict_layers", 0)
        self.n_embd = f.need("embedding_length")
        self.n_head = f.need("attention.head_count")
        self.n_kv_head = f.key("attention.head_count_kv", self.n_head)
        self.head_dim = f.key("attention.key_length", self.n_embd // self.n_head)
        self.eps = f.need("attention.layer_norm_rms_epsilon")
        self.rope_base = f.key("rope.freq_base", 10000.0)
        self.n_rot = f.key("rope.dimension_count", self.head_dim)
        self.latent = self.arch == "deepseek2"
        if self.latent:  # what turns is a part of its own
            newer = f.key("attention.key_length_mla") is not None
            self.qk_dim = f.key("attention.key_length_mla") if newer else self.head_dim
            self.head_dim = self.n_rot
        if self.n_rot != self.head_dim and not self.hybrid and self.arch != "phi3":
            raise ValueError("partial rotation is not covered")
        scaling = f.key("rope.scaling.type", "linear" if f.key("rope.scaling.factor") else "none")
        if scaling not in ("none", "linear", "yarn", "longrope"):
            raise ValueError(f"rope scaling {scaling!r} is not covered")
        self.yarn = scaling == "yarn"
        self.rope_scale = f.key("rope.scaling.factor", 1.0) if scaling == "linear" else 1.0
        # SmolLM3's layers without RoPE: every fourth, or as the file lists.
        turns = f.key("attention.rope_pattern", [(i + 1) % 4 != 0 for i in range(self.n_layer)])
        self.turns = turns if self.arch == "smollm3" else [True] * self.n_layer
        self.oss = self.arch == "gpt-oss"
        windows = gemma or self.oss or self.arch == "phi3"
        self.window = f.key("attention.sliding_window", 4096 if self.arch == "gemma2" else 0) if windows else 0
        # One global layer closes each group of 2 (gemma2, gpt-oss) or 6 (gemma3); phi3 has none.
        self.long_rope = f.has("rope_factors_long.weight")
        self.window_period = {"gemma2": 2, "gemma3": 6, "gpt-oss": 2}.get(self.arch, 0)
        self.attn_softcap = f.key("attn_logit_softcapping", 50.0) if self.arch == "gemma2" else 0.0
        self.final_softcap = f.key("final_logit_softcapping", 30.0 if self.arch == "gemma2" else 0.0) if gemma else 0.0
        self.embed_scale = math.sqrt(self.n_embd) if gemma else 1.0
        usual = {"minicpm": (12.0, 1.4 / math.sqrt(self.n_layer), self.n_embd / 256)}.get(self.arch, (1.0, 1.0, 1.0))
        scale = lambda i, key: f.key(key, usual[i]) if self.arch in ("granite", "minicpm") else 1.0
        self.embed_scale *= scale(0, "embedding_scale")
        self.residual_scale, self.logit_divisor = scale(1, "residual_scale"), scale(2, "logit_scale")
        self.activation = gelu_tanh if gemma else relu_squared if self.arch == "bitnet-b1.58" else silu
        # The 27B Gemmas scale by their width, not by the key length.
        by_width = (self.arch, self.n_layer) in (("gemma2", 46), ("gemma3", 62))
        self.attn_scale = 1.0 / math.sqrt(self.n_embd // self.n_head if by_width else self.head_dim)
        self.attn_scale = f.key("attention.scale", self.attn_scale)
        if self.latent:  # YaRN's magnitude is the scores'; files have a tenth of mscale_all_dim
            magnitude = f.key("rope.scaling.yarn_log_multiplier", 0.0) * math.log(f.key("rope.scaling.factor", 1.0)) + 1.0
            self.attn_scale = magnitude**2 / math.sqrt(self.qk_dim)
        if self.arch == "granite" and not f.key("rope.scaling.finetuned", True):
            self.turns = [False] * self.n_layer
        if self.gemma4:
            self.attn_scale = 1.0
            self.local = f.need("attention.sliding_window_pattern")
            self.n_shared = f.key("attention.shared_kv_layers", 0)
            self.n_side = f.key("embedding_length_per_layer_input", 0)
        self.rope_factors = f.tensor("rope_freqs.weight") if f.has("rope_freqs.weight") else np.ones(self.n_rot // 2)
        self.n_experts_used = f.key("expert_used_count", 0)
        # The least distance between an expert that was taken and one that was not, in logits of the router: a rounding
        # of that size gives other logits.
        self.router_margin = np.inf
        self.n_limited = np.zeros(2, int)  # gates and ups that gpt-oss's limit changed
        self.recurrent = [False] * self.n_layer
        self.lfm2 = self.arch in LFM2
        if self.lfm2:  # layers without heads of keys are short convolutions
            heads = self.n_kv_head if isinstance(self.n_kv_head, list) else [self.n_kv_head] * self.n_layer
            self.recurrent = [n == 0 for n in heads]
        if self.hybrid:
            interval = f.key("full_attention_interval", 4)
            self.recurrent = f.key("attention.recurrent_layers", [(i + 1) % interval != 0 for i in range(self.n_layer)])
            self.n_key_heads, self.n_value_heads = f.need("ssm.group_count"), f.need("ssm.time_step_rank")
            self.key_dim, self.value_dim = f.need("ssm.state_size"), f.need("ssm.inner_size") // self.n_value_heads

    def is_local(self, layer):
        if self.gemma4:
            return bool(self.local[layer])
        return bool(self.window) and (self.window_period == 0 or (layer + 1) % self.window_period != 0)

    def linear(self, x, name):
        if name + ".weight" in self.rotation.products:
            if self.rotation.grouped and name.endswith(".ssm_out"):
                # The columns stayed by key head: a key head's value heads, then those of the next.
                x = x.reshape(len(x), -1, self.n_key_heads, self.value_dim).swapaxes(1, 2).reshape(x.shape)
            x = self.rotation.of_product(x)
        if self.file.has(name + "_norm_in.weight"):  # BitNet embeddings: of each product by itself
            x = self.norm(x, name + "_norm_in")
        if self.jitter is not None:
            x = x * (1.0 + 2.0**-24 * self.jitter.standard_normal(x.shape))
        if self.int8:
            x = rounded_by_token(x)
        y = x @ self.file.tensor(name + ".weight").T
        return y + self.file.tensor(name + ".bias") if self.file.has(name + ".bias") else y

    def norm(self, x, name):
        return rms_norm(x, self.file.tensor(name + ".weight"), self.eps)

    def optional_norm(self, x, name):
        return self.norm(x, name) if self.file.has(name + ".weight") else x

    def rotate(self, x, positions, local):
        """x[n, heads, head_dim]; llama turns neighbours (2i, 2i+1), the others the halves (i, i + d/2). Only the first
        n_rot values of a head turn. (The sections of qwen35's RoPE share out pairs among the coordinates of a picture;
        in text those are all the position.)"""
        # gemma3's and gemma4's local layers have their own base, unscaled
        local = local and self.arch in ("gemma3", "gemma4")
        base, scale = (self.file.key("rope.freq_base_swa", 10000.0), 1.0) if local else (self.rope_base, self.rope_scale)
        d, factors = self.n_rot, self.rope_factors
        if local and self.gemma4:
            d, factors = self.file.need("rope.dimension_count_swa"), 1.0
        inv_freq = base ** (-np.arange(0, d, 2, dtype=np.float64) / d) / factors / scale
        magnitude = 1.0
        if self.long_rope:
            long = len(positions) > self.file.need("rope.scaling.original_context_length")
            sets = {name: self.file.tensor(f"rope_factors_{name}.weight") for name in ("short", "long")}
            inv_freq, magnitude = inv_freq / sets["long" if long else "short"], self.file.need("rope.scaling.attn_factor")
        if self.yarn:
            inv_freq, magnitude = self.yarn_frequencies(inv_freq)
        angle = positions[:, None].astype(np.float64) * inv_freq
        cos, sin = magnitude * np.cos(angle)[:, None, :], magnitude * np.sin(angle)[:, None, :]
        first, second = (slice(0, d, 2), slice(1, d, 2)) if self.arch in ADJACENT else (slice(0, d // 2), slice(d // 2, d))
        out = x.copy()
        out[..., first] = x[..., first] * cos - x[..., second] * sin
        out[..., second] = x[..., second] * cos + x[..., first] * sin
        return out

    def yarn_frequencies(self, inv_freq):
        """Peng et al. 2023, section 3.4: pairs that turn less than beta_slow times within the original context are
        interpolated, those that turn more than beta_fast times are left alone."""
        f = self.file
        factor, original = f.need("rope.scaling.factor"), f.need("rope.scaling.original_context_length")
        fast, slow = f.key("rope.scaling.yarn_beta_fast", 32.0), f.key("rope.scaling.yarn_beta_slow", 1.0)
        pair = lambda turns: self.head_dim * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(self.rope_base))
        low, high = pair(fast), pair(slow)
        if not self.oss:  # whose ramp is not rounded to whole pairs
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, self.head_dim - 1)
        kept = 1.0 - np.clip((np.arange(self.head_dim // 2) - low) / max(high - low, 0.001), 0.0, 1.0)
        magnitude = f.key("rope.scaling.attn_factor", 1.0) * (0.1 * math.log(factor) + 1.0)
        multiplier = f.key("rope.scaling.yarn_log_multiplier", 0.0)
        if self.latent:  # of cos and sin: m(mscale) / m(mscale_all_dim), which are the same where there are any
            magnitude = f.key("rope.scaling.attn_factor", 1.0) if multiplier else magnitude
        else:
            magnitude /= 0.1 * multiplier * math.log(factor) + 1.0
        return inv_freq / factor * (1.0 - kept) + inv_freq * kept, magnitude

    def attention(self, x, layer, positions):
        n, blk = len(x), f"blk.{layer}."
        local = self.is_local(layer)
        if self.arch == "phi3":  # q, k and v in one matrix
            sizes = np.cumsum([self.n_head * self.head_dim, self.n_kv_head * self.head_dim])
            q, k, v = np.split(self.linear(x, blk + "attn_qkv"), sizes, axis=-1)
        else:
            q = self.linear(x, blk + "attn_q")
        q = q.reshape(n, self.n_head, -1)
        q, gate = np.split(q, 2, axis=-1) if self.hybrid else (q, None)  # a head's query, then its gate
        def turned(x, name):  # normed in front of RoPE or behind it, OLMo 2's over all heads together
            weight = blk + name
            if self.arch == "olmo2":
                x = self.norm(x.reshape(n, -1), weight).reshape(x.shape)
            elif self.arch not in NORM_LAST:
                x = self.optional_norm(x, weight)
            x = self.rotate(x, positions, local) if self.turns[layer] else x
            return self.optional_norm(x, weight) if self.arch in NORM_LAST else x

        q = turned(q, "attn_q_norm")
        if beta := self.file.key("attention.temperature_scale", 0.0):  # of Llama 4 and Ministral 3
            fits = np.floor(positions / self.file.need("rope.scaling.original_context_length"))
            q = q * (1.0 + beta * np.log(1.0 + fits))[:, None, None]
        n_kv_head = self.n_kv_head[layer] if isinstance(self.n_kv_head, list) else self.n_kv_head
        if self.gemma4 and layer >= self.n_layer - self.n_shared:  # those of the last layer of its kind that has any
            own = range(self.n_layer - self.n_shared)
            k, v = self.kv[max(i for i in own if self.is_local(i) == local)]
        else:
            if self.arch != "phi3":
                k = self.linear(x, blk + "attn_k")
                v = k if self.gemma4 and not self.file.has(blk + "attn_v.weight") else self.linear(x, blk + "attn_v")
            k = k.reshape(n, n_kv_head, -1)
            v = v.reshape(n, n_kv_head, -1)
            if self.gemma4:
                v = rms_norm(v, 1.0, self.eps)
            k = turned(k, "attn_k_norm")
            self.kv[layer] = k, v
        distance = positions[:, None] - positions[None, :]
        visible = distance >= 0
        if local:
            visible &= distance < self.window
        out = np.empty((n, self.n_head, v.shape[-1]))
        for h in range(self.n_head):
            g = h // (self.n_head // n_kv_head)
            s = q[:, h] @ k[:, g].T * self.attn_scale
            if self.attn_softcap:
                s = self.attn_softcap * np.tanh(s / self.attn_softcap)
            s = np.where(visible, s, -np.inf)
            if self.oss:  # a logit of a key without value
                sink = np.full((n, 1), self.file.tensor(blk + "attn_sinks.weight")[h])
                out[:, h] = softmax(np.concatenate([s, sink], axis=-1))[:, :-1] @ v[:, g]
            else:
                out[:, h] = softmax(s) @ v[:, g]
        if gate is not None:
            out = out * sigmoid(gate)
        return self.linear(self.optional_norm(out.reshape(n, -1), blk + "attn_sub_norm"), blk + "attn_output")

    def latent_attention(self, x, layer, positions):
        """DeepSeek-V2, arXiv 2405.04434, section 2.1: k and v of every head from one normed latent a token, and a part of
        k that turns and is all heads'."""
        n, blk, h = len(x), f"blk.{layer}.", self.n_head
        rank, turns = self.file.need("attention.kv_lora_rank"), self.n_rot
        nope = self.qk_dim - turns
        if self.file.has(blk + "attn_q_a.weight"):
            q = self.linear(self.norm(self.linear(x, blk + "attn_q_a"), blk + "attn_q_a_norm"), blk + "attn_q_b")
        else:
            q = self.linear(x, blk + "attn_q")
        q = q.reshape(n, h, self.qk_dim)
        kv = self.linear(x, blk + "attn_kv_a_mqa")
        latent = self.norm(kv[:, :rank], blk + "attn_kv_a_norm")
        if self.file.has(blk + "attn_kv_b.weight"):
            w = self.file.tensor(blk + "attn_kv_b.weight").reshape(h, -1, rank)
            w_k, w_v = w[:, :nope], w[:, nope:]
        else:
            w_k, w_v = self.file.tensor(blk + "attn_k_b.weight").swapaxes(1, 2), self.file.tensor(blk + "attn_v_b.weight")
        k = np.einsum("hdr,tr->thd", w_k, latent)
        v = np.einsum("hdr,tr->thd", w_v, latent)
        k_turned = self.rotate(kv[:, None, rank:], positions, False)
        q_turned = self.rotate(q[..., nope:], positions, False)
        scores = np.einsum("thd,shd->hts", q[..., :nope], k) + np.einsum("thd,sd->hts", q_turned, k_turned[:, 0])
        scores = np.where(positions[:, None] >= positions[None, :], scores * self.attn_scale, -np.inf)
        out = np.einsum("hts,shd->thd", softmax(scores), v)
        return self.linear(out.reshape(n, -1), blk + "attn_output")

    def delta_net(self, x, layer):
        """Yang et al. 2025, "Gated Delta Networks", as Qwen3.5 has it: value head j of the file reads key head
        j mod n_key_heads."""
        n, blk = len(x), f"blk.{layer}."
        n_k, n_v, d_k, d_v = self.n_key_heads, self.n_value_heads, self.key_dim, self.value_dim
        kernel = self.file.tensor(blk + "ssm_conv1d.weight")  # [channel, tap]; the last tap meets the current token
        taps = kernel.shape[1]
        qkv = np.concatenate([np.zeros((taps - 1, len(kernel))), self.linear(x, blk + "attn_qkv")])
        qkv = silu(sum(qkv[j : j + n] * kernel[:, j] for j in range(taps)))
        q, k, v = np.split(qkv, [n_k * d_k, 2 * n_k * d_k], axis=-1)
        key_head = np.arange(n_v) % n_k
        q = l2_norm(q.reshape(n, n_k, d_k))[:, key_head] / math.sqrt(d_k)
        k = l2_norm(k.reshape(n, n_k, d_k))[:, key_head]
        v = v.reshape(n, n_v, d_v)
        beta = sigmoid(self.linear(x, blk + "ssm_beta"))
        step = np.logaddexp(0.0, self.linear(x, blk + "ssm_alpha") + self.file.tensor(blk + "ssm_dt.bias"))
        decay = np.exp(self.file.tensor(blk + "ssm_a") * step)
        state, out = np.zeros((n_v, d_k, d_v)), np.empty((n, n_v, d_v))
        for t in range(n):
            state *= decay[t, :, None, None]
            wrong = (v[t] - np.einsum("hk,hkv->hv", k[t], state)) * beta[t, :, None]
            state += k[t, :, :, None] * wrong[:, None, :]
            out[t] = np.einsum("hk,hkv->hv", q[t], state)
        z = self.linear(x, blk + "attn_gate").reshape(n, n_v, d_v)
        out = self.norm(out, blk + "ssm_norm") * silu(z)
        return self.linear(out.reshape(n, -1), blk + "ssm_out")

    def short_conv(self, x, layer):
        """LFM2's: c * conv(b * x) of a product's thirds, the convolution over this token and those before it."""
        blk = f"blk.{layer}.shortconv."
        kernel = self.file.tensor(blk + "conv.weight")  # [channel, tap]; the last tap meets the current token
        if kernel.shape[1] != self.file.need("shortconv.l_cache"):
            raise ValueError("shortconv.l_cache is not the kernel's width")
        b, c, x = np.split(self.linear(x, blk + "in_proj"), 3, axis=-1)
        padded = np.concatenate([np.zeros((kernel.shape[1] - 1, len(kernel))), b * x])
        y = sum(padded[j : j + len(x)] * kernel[:, j] for j in range(kernel.shape[1]))
        return self.linear(c * y, blk + "out_proj")

    def feed_forward(self, x, layer, stream):
        """x: what the layer's norm gives of the stream."""
        blk = f"blk.{layer}."
        if self.gemma4 and self.file.has(blk + "ffn_gate_inp.weight"):
            return self.experts_beside(x, stream, blk)
        if self.file.has(blk + "ffn_gate_inp.weight"):
            return self.experts(x, blk)
        return self.dense(x, blk)

    def experts_beside(self, x, stream, blk):
        """gemma4: a dense FFN and experts, each behind a norm of its own of the stream, and so the router, whose norm has no
        weights but a scale, over the root of the width. Both are normed before they are added up."""
        route = rms_norm(stream, self.file.tensor(blk + "ffn_gate_inp.scale"), self.eps) / math.sqrt(self.n_embd)
        routed = self.experts(self.norm(stream, blk + "pre_ffw_norm_2"), blk, route)
        return self.norm(self.dense(x, blk), blk + "post_ffw_norm_1") + self.norm(routed, blk + "post_ffw_norm_2")

    def dense(self, x, blk):
        if self.arch == "phi3":  # gate, then up
            gate, up = np.split(self.linear(x, blk + "ffn_up"), 2, axis=-1)
        else:
            gate, up = self.linear(x, blk + "ffn_gate"), self.linear(x, blk + "ffn_up")
        hidden = self.activation(gate) * up
        return self.linear(self.optional_norm(hidden, blk + "ffn_sub_norm"), blk + "ffn_down")

    def experts(self, x, blk, route=None):
        """Softmax over all experts, the best few, whose weights are then made to sum to one (and, gemma4, multiplied by a
        number of each). LFM2: sigmoids, and the best with a bias that does not count otherwise. route: what the router sees,
        where that is not x."""
        if self.latent:
            return self.grouped_experts(x, blk)
        if any(name.startswith(blk) and "_exps" in name for name in self.rotation.products):
            raise ValueError("turned experts are not covered")
        router = self.linear(x if route is None else route, blk + "ffn_gate_inp")
        scores = sigmoid(router) + self.file.tensor(blk + "exp_probs_b.bias") if self.lfm2 else router
        order = np.argsort(-scores, axis=-1, kind="stable")
        taken = order[:, : self.n_experts_used]
        if self.n_experts_used < router.shape[1]:
            ends = np.take_along_axis(scores, order[:, self.n_experts_used - 1 : self.n_experts_used + 1], axis=-1)
            steepest = 0.25 if self.lfm2 else 1.0  # what a sigmoid changes by for a logit, at most
            self.router_margin = min(self.router_margin, float((ends[:, 0] - ends[:, 1]).min()) / steepest)
        weight = np.take_along_axis(sigmoid(router) if self.lfm2 else softmax(router), taken, axis=-1)
        if self.file.key("expert_weights_norm", True):
            weight /= weight.sum(axis=-1, keepdims=True) + (1e-6 if self.lfm2 else 0.0)
        weight *= self.file.key("expert_weights_scale", 1.0) if self.lfm2 else 1.0
        if self.file.has(blk + "ffn_down_exps.scale"):
            weight = weight * self.file.tensor(blk + "ffn_down_exps.scale")[taken]
        down = self.file.tensor(blk + "ffn_down_exps.weight")
        if self.file.has(blk + "ffn_gate_up_exps.weight"):  # of each expert gate, then up
            gate, up = np.split(self.file.tensor(blk + "ffn_gate_up_exps.weight"), 2, axis=1)
        else:
            gate, up = (self.file.tensor(f"{blk}ffn_{part}_exps.weight") for part in ("gate", "up"))
        if self.oss:  # softmax over the chosen ones is the same as over all, made to sum to one
            return self.limited_experts(x, blk, taken, weight, gate, up, down)
        out = np.zeros_like(x)
        for e in range(len(gate)):
            token, place = np.nonzero(taken == e)
            y = (self.activation(x[token] @ gate[e].T) * (x[token] @ up[e].T)) @ down[e].T
            out[token] += weight[token, place][:, None] * y
        if self.file.has(blk + "ffn_gate_shexp.weight"):
            shared = silu(self.linear(x, blk + "ffn_gate_shexp")) * self.linear(x, blk + "ffn_up_shexp")
            share = sigmoid(x @ self.file.tensor(blk + "ffn_gate_inp_shexp.weight").reshape(-1, 1))
            out = out + share * self.linear(shared, blk + "ffn_down_shexp")
        return out

    def grouped_experts(self, x, blk):
        """DeepSeek: softmax (V2) or sigmoid (V3), chosen with a bias among those of the best groups: by their best expert
        (V2) or their two best (V3)."""
        f = self.file
        logits = self.linear(x, blk + "ffn_gate_inp")
        has_bias = f.has(blk + "exp_probs_b.bias")
        by_sigmoid = f.key("expert_gating_func", 2 if has_bias else 1) == 2
        p = sigmoid(logits) if by_sigmoid else softmax(logits)
        choice = p + (f.tensor(blk + "exp_probs_b.bias") if has_bias else 0.0)
        n, n_expert = p.shape
        n_group, n_best = f.key("expert_group_count", 1), f.key("expert_group_used_count", 1)

        def best(scores, count):
            order = np.argsort(-scores, axis=-1, kind="stable")
            if count < scores.shape[1]:
                ends = np.take_along_axis(scores, order[:, count - 1 : count + 1], axis=-1)
                self.router_margin = min(self.router_margin, float((ends[:, 0] - ends[:, 1]).min()))
            return order[:, :count]

        if n_group > 1:
            groups = np.sort(choice.reshape(n, n_group, -1), axis=-1)[..., -(2 if by_sigmoid else 1) :].sum(axis=-1)
            is_open = np.zeros((n, n_group), bool)
            np.put_along_axis(is_open, best(groups, n_best), True, axis=-1)
            choice = np.where(np.repeat(is_open, n_expert // n_group, axis=-1), choice, -np.inf)
        taken = best(choice, self.n_experts_used)
        weight = np.take_along_axis(p, taken, axis=-1)
        if f.key("expert_weights_norm", False):
            weight = weight / weight.sum(axis=-1, keepdims=True)
        weight = weight * f.key("expert_weights_scale", 1.0)
        gate, up, down = (f.tensor(f"{blk}ffn_{part}_exps.weight") for part in ("gate", "up", "down"))
        out = np.zeros_like(x)
        for e in range(n_expert):
            token, place = np.nonzero(taken == e)
            y = (silu(x[token] @ gate[e].T) * (x[token] @ up[e].T)) @ down[e].T
            out[token] += weight[token, place][:, None] * y
        shared = silu(self.linear(x, blk + "ffn_gate_shexp")) * self.linear(x, blk + "ffn_up_shexp")
        return out + self.linear(shared, blk + "ffn_down_shexp")

    def layer_embeddings(self, x, tokens):
        """gemma4: what each token brings for each layer, [n, n_layer, n_side]."""
        own = self.file.tensor("per_layer_token_embd.weight", np.float32)[tokens].astype(np.float64)
        y = self.linear(x, "per_layer_model_proj") / math.sqrt(self.n_embd)
        y = self.norm(y.reshape(len(x), self.n_layer, -1), "per_layer_proj_norm")
        return (y + own.reshape(y.shape) * math.sqrt(self.n_side)) / math.sqrt(2.0)

    def limited_experts(self, x, blk, taken, weight, gate, up, down):
        """gpt-oss: biases, min(gate, 7) and up within 7, gate * sigmoid(1.702 gate) * (up + 1)."""
        bias = {part: self.file.tensor(f"{blk}ffn_{part}_exps.bias") for part in ("gate", "up", "down")}
        out = np.zeros_like(x)
        for e in range(len(gate)):
            token, place = np.nonzero(taken == e)
            g = np.minimum(x[token] @ gate[e].T + bias["gate"][e], 7.0)
            u = np.clip(x[token] @ up[e].T + bias["up"][e], -7.0, 7.0)
            self.n_limited += int((g == 7.0).sum()), int((np.abs(u) == 7.0).sum())
            y = (g * sigmoid(1.702 * g) * (u + 1.0)) @ down[e].T + bias["down"][e]
            out[token] += weight[token, place][:, None] * y
        return out

    def forward(self, tokens, rows=None, taps=None):
        """Logits float64[len(rows), n_vocab] of the given positions (default all) of one sequence."""
        tokens = np.asarray(tokens, dtype=np.int64)
        positions = np.arange(len(tokens))
        embedding = self.file.tensor("token_embd.weight", np.float32)
        x = embedding[tokens].astype(np.float64)
        x = (self.rotation.of_row(x) if "token_embd.weight" in self.rotation.lookups else x) * self.embed_scale
        if taps is not None:
            taps.append(x)
        self.kv, side = {}, self.layer_embeddings(x, tokens) if self.gemma4 and self.n_side else None
        for layer in range(self.n_layer):
            blk = f"blk.{layer}."
            y = self.optional_norm(x, blk + "attn_norm")
            recurrent = self.short_conv if self.lfm2 else self.delta_net
            mix = self.latent_attention if self.latent else self.attention
            y = recurrent(y, layer) if self.recurrent[layer] else mix(y, layer, positions)
            # The one name for two places: behind attention (gemma), before the feed-forward network (qwen35, gpt-oss).
            other = self.hybrid or self.oss
            x = x + (y if other else self.optional_norm(y, blk + "post_attention_norm")) * self.residual_scale
            normed = self.optional_norm(x, blk + ("post_attention_norm" if other else "ffn_norm"))
            y = self.feed_forward(normed, layer, x)
            x = x + self.optional_norm(y, blk + "post_ffw_norm") * self.residual_scale
            if side is not None:
                y = gelu_tanh(self.linear(x, blk + "inp_gate")) * side[:, layer]
                x = x + self.norm(self.linear(y, blk + "proj"), blk + "post_norm")
            if self.gemma4:
                x = x * self.file.tensor(blk + "layer_output_scale.weight")
            if taps is not None:
                taps.append(x)
        x = self.norm(x, "token_embd_norm" if self.lfm2 else "output_norm")
        x = x if rows is None else x[np.asarray(rows)]
        head_name = "output.weight" if self.file.has("output.weight") else "token_embd.weight"
        head = self.file.tensor(head_name, np.float32)
        x = self.rotation.of_product(x) if head_name in self.rotation.products else x
        logits = np.empty((len(x), len(head)))
        for at in range(0, len(head), 8192):  # in slices: a 262144-row head in fp64 would take gigabytes
            logits[:, at : at + 8192] = x @ head[at : at + 8192].astype(np.float64).T
        self.file.check_all_used(self.n_layer)
        logits /= self.logit_divisor
        if self.final_softcap:
            logits = self.final_softcap * np.tanh(logits / self.final_softcap)
        return logits


def parse_tokens(text):
    """`1,2,3`, or `@file.json` with a list (or an object with the list under "tokens"), `@file.json[a:b]` a part."""
    if not text.startswith("@"):
        return [int(t) for t in text.split(",")]
    path, begin, end = re.fullmatch(r"@(.+?)(?:\[(\d*):(\d*)\])?", text).groups()
    with open(path, encoding="utf-8") as f:
        data = json.load(f)
    data = data["tokens"] if isinstance(data, dict) else data
    return data[int(begin) if begin else 0 : int(end) if end else None]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("--tokens", required=True, help="1,2,3 or @ids.json or @ids.json[0:64]")
    p.add_argument("--out", required=True)
    p.add_argument("--rows", default="all", help="all, last, or a:b: the positions whose logits are stored")
    p.add_argument("--taps", action="store_true", help="also store the residual stream after every layer")
    p.add_argument("--int8", action="store_true", help="one signed byte an activation, as BitNet models have it")
    args = p.parse_args()
    tokens = parse_tokens(args.tokens)
    part = {"all": slice(None), "last": slice(-1, None)}.get(args.rows)
    rows = list(range(len(tokens)))[part or slice(*(int(v) if v else None for v in args.rows.split(":")))]
    taps = [] if args.taps else None
    logits = Model(args.model, args.int8).forward(tokens, rows, taps)
    arrays = {"tokens": np.asarray(tokens), "rows": np.asarray(rows), "logits": logits}
    if taps is not None:
        arrays["residual"] = np.stack(taps)
    np.savez(args.out, **arrays)
    top = np.argsort(-logits[-1], kind="stable")[:5]
    print(json.dumps({"n_tokens": len(tokens), "last_top5": [[int(t), float(logits[-1, t])] for t in top]}))


if __name__ == "__main__":
    main()
