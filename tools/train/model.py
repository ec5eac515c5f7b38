"""The BitNet b1.58 graph in PyTorch: training form (bfloat16 products, straight-through) and exact form.

x = E[token]. A layer: a = RMSNorm(x); q, k, v = BitLinear(a); half-split RoPE; causal attention (grouped heads);
x += BitLinear(RMSNorm(heads)); f = RMSNorm(x); u = ReLU(BitLinear(f))^2 * BitLinear(f); x += BitLinear(RMSNorm(u)).
Logits: E . RMSNorm(x), the embedding in F16 precision, its input not quantised.

BitLinear: s = 127 / max(1e-5, max|z|) a token, q = clamp(round_half_even(z s), -128, 127), W = scale * t with
scale = mean|W|, t = clamp(round(W / scale), -1, 1); y = (t . q) * scale / s.
"""

from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass
class Config:
    vocab: int = 2048
    width: int = 256
    layers: int = 4
    heads: int = 4
    kv_heads: int = 2
    ffn: int = 640
    context: int = 512
    rope_base: float = 10000.0
    eps: float = 1e-5

    @property
    def head_dim(self):
        return self.width // self.heads

    def to_dict(self):
        return asdict(self)


def ternary(weight):
    """-> (t in {-1, 0, 1}, scale): the absmean rule."""
    scale = weight.abs().mean().clamp_min(1e-5)
    return (weight / scale).round().clamp(-1, 1), scale


class TernaryProduct(torch.autograd.Function):
    """y = BitLinear(x) with products in bfloat16: int8 values and ternary weights are exact in it."""

    @staticmethod
    def forward(ctx, x, weight):
        step = x.abs().amax(-1, keepdim=True).clamp_min(1e-5) / 127
        q = (x / step).round().clamp(-128, 127).to(torch.bfloat16)
        t, scale = ternary(weight)
        t = t.to(torch.bfloat16)
        ctx.save_for_backward(q, t, step, scale)
        return (q @ t.t()).float() * (step * scale)

    @staticmethod
    def backward(ctx, grad):
        q, t, step, scale = ctx.saved_tensors
        grad_x = ((grad * scale).to(torch.bfloat16) @ t).float()
        grad_w = ((grad * step).to(torch.bfloat16).t() @ q).float()
        return grad_x, grad_w


class FloatProduct(torch.autograd.Function):
    """y = x W^T in bfloat16: the warm start before the weights become ternary."""

    @staticmethod
    def forward(ctx, x, weight):
        x, weight = x.to(torch.bfloat16), weight.to(torch.bfloat16)
        ctx.save_for_backward(x, weight)
        return (x @ weight.t()).float()

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        grad = grad.to(torch.bfloat16)
        return (grad @ weight).float(), (grad.t() @ x).float()


class CausalAttention(torch.autograd.Function):
    """Softmax attention in bfloat16: PyTorch's fused kernel forward; its gradient as plain products, twice as fast."""

    @staticmethod
    def forward(ctx, q, k, v):
        o, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, True)
        ctx.save_for_backward(q, k, v, o, lse)
        return o

    @staticmethod
    def backward(ctx, grad):
        q, k, v, o, lse = ctx.saved_tensors
        grad = grad.to(torch.bfloat16)
        n, scale = q.shape[-2], q.shape[-1] ** -0.5
        past = torch.arange(n)[:, None] >= torch.arange(n)
        p = torch.where(past, ((q @ k.transpose(-1, -2)).float() * scale - lse.float().unsqueeze(-1)).exp(), 0.0)
        inner = (grad.float() * o.float()).sum(-1, keepdim=True)
        ds = (p * ((grad @ v.transpose(-1, -2)).float() - inner) * scale).to(torch.bfloat16)
        p = p.to(torch.bfloat16)
        return ds @ k, ds.transpose(-1, -2) @ q, p.transpose(-1, -2) @ grad


class RmsNorm(nn.Module):
    def __init__(self, width, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.weight


class BitLinear(nn.Module):
    """mode: "float" or "ternary" in training, "exact" for evaluation in the dtype of x."""

    def __init__(self, inputs, outputs, gain=1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) * gain * inputs**-0.5)
        self.mode = "float"

    def forward(self, x):
        if self.mode == "ternary":
            return TernaryProduct.apply(x, self.weight)
        if self.mode == "float":
            return FloatProduct.apply(x, self.weight)
        inverse = 127 / x.abs().amax(-1, keepdim=True).clamp_min(1e-5)
        q = (x * inverse).round().clamp(-128, 127)
        t, scale = ternary(self.weight.float())
        return (q @ t.to(x.dtype).t()) * scale.to(x.dtype) / inverse


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.config = c
        self.attn_norm = RmsNorm(c.width, c.eps)
        self.attn_q = BitLinear(c.width, c.width)
        self.attn_k = BitLinear(c.width, c.kv_heads * c.head_dim)
        self.attn_v = BitLinear(c.width, c.kv_heads * c.head_dim)
        self.attn_sub_norm = RmsNorm(c.width, c.eps)
        self.attn_output = BitLinear(c.width, c.width, 0.1)
        self.ffn_norm = RmsNorm(c.width, c.eps)
        self.ffn_gate = BitLinear(c.width, c.ffn)
        self.ffn_up = BitLinear(c.width, c.ffn)
        self.ffn_sub_norm = RmsNorm(c.ffn, c.eps)
        self.ffn_down = BitLinear(c.ffn, c.width, 0.1)

    def forward(self, x, rope, rows):
        c = self.config
        length = x.shape[0] // rows
        a = self.attn_norm(x)
        q, k, v = (m(a).view(rows, length, -1, c.head_dim).transpose(1, 2) for m in (self.attn_q, self.attn_k, self.attn_v))
        q, k = rotate(q, rope), rotate(k, rope)
        group = c.heads // c.kv_heads
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        if self.attn_q.mode == "exact":
            o = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            o = CausalAttention.apply(q.to(torch.bfloat16), k.to(torch.bfloat16), v.to(torch.bfloat16))
        o = o.transpose(1, 2).reshape(rows * length, c.width).to(x.dtype)
        x = x + self.attn_output(self.attn_sub_norm(o))
        f = self.ffn_norm(x)
        u = self.ffn_gate(f).relu().square() * self.ffn_up(f)
        return x + self.ffn_down(self.ffn_sub_norm(u))


def rope_table(c, length, dtype=torch.float64):
    """-> cos, sin of [length, head_dim / 2], computed in fp64."""
    half = c.head_dim // 2
    frequency = c.rope_base ** (-torch.arange(half, dtype=torch.float64) / half)
    angle = torch.arange(length, dtype=torch.float64)[:, None] * frequency
    return angle.cos().to(dtype), angle.sin().to(dtype)


def rotate(x, rope):
    """Half-split pairs (j, j + head_dim / 2)."""
    cos, sin = rope
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


class Stories(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.config = c
        # As large as what the layers add, so that a token's identity survives in the residual stream.
        self.token_embd = nn.Parameter(torch.randn(c.vocab, c.width) * 0.5)
        self.blk = nn.ModuleList(Layer(c) for _ in range(c.layers))
        self.output_norm = RmsNorm(c.width, c.eps)
        self.output_norm.weight.data.fill_(0.1)
        self.rope = rope_table(c, c.context, torch.float32)

    def set_mode(self, mode):
        for module in self.modules():
            if isinstance(module, BitLinear):
                module.mode = mode

    def hidden(self, tokens):
        """tokens [rows, length] -> normalised [rows * length, width]."""
        rope = tuple(t[: tokens.shape[1]] for t in self.rope)
        x = F.embedding(tokens, self.token_embd).view(-1, self.config.width)
        for layer in self.blk:
            x = layer(x, rope, tokens.shape[0])
        return self.output_norm(x)

    def loss(self, tokens, targets):
        """Sum of cross entropies (nats) over targets >= 0."""
        h = self.hidden(tokens)
        logits = FloatProduct.apply(h, self.token_embd)
        return F.cross_entropy(logits, targets.view(-1), ignore_index=-1, reduction="sum")


class Exact:
    """The forward pass that an engine must reproduce: F16 embedding, ternary weights, int8 activations, no bfloat16."""

    def __init__(self, model, dtype=torch.float32):
        c = model.config
        self.model = Stories(c).to(dtype)
        self.model.load_state_dict({k: v.to(dtype) for k, v in model.state_dict().items()})
        self.model.set_mode("exact")
        # Ternarise in f32 as the exporter does, whatever the dtype of the rest.
        self.model.token_embd.data = model.token_embd.data.half().to(dtype)
        self.model.rope = rope_table(c, c.context, dtype)
        self.dtype = dtype

    @torch.no_grad()
    def logits(self, tokens):
        """tokens [rows, length] -> [rows, length, vocab]."""
        rows, length = tokens.shape
        h = self.model.hidden(tokens)
        return (h @ self.model.token_embd.t()).view(rows, length, -1)
