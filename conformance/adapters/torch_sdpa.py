"""PyTorch on the CPU, as its documentation says: is_causal where the mask is nothing but a top-left triangle, else a boolean
attn_mask, or a float one where there is a bias. PyTorch chooses the backend (flash for most calls)."""
import torch
import torch.nn.functional as F

from unsupported import Unsupported

NAME = f"PyTorch {torch.__version__.split('+')[0]}, scaled_dot_product_attention, boolean mask"


def inputs(case):
    if case.sinks is not None:
        raise Unsupported("sinks")
    if case.softcap:
        raise Unsupported("soft cap")
    return [torch.from_numpy(x) for x in (case.q, case.k, case.v)]


def only_causal(case):
    m = case.mask
    others = (m.left, m.right, m.positions, m.valid, m.q_segments, m.chunk, m.prefix, m.bitmap, m.blocks, m.tree, m.bias, m.alibi, m.relative)
    return bool(m.causal) and not m.q_pos.any() and all(x is None for x in others)


def call(case, mask, is_causal=False):
    q, k, v = inputs(case)
    gqa = {} if case.n_head == case.n_kv_head else {"enable_gqa": True}
    mask = None if mask is None else torch.from_numpy(mask)
    return {"out": F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=is_causal, scale=case.scale, **gqa).numpy()}


def attention(case):
    if only_causal(case):
        return call(case, None, is_causal=True)
    if case.value_bias() is not None:
        return call(case, case.additive())
    return call(case, case.keep() if case.has_mask() else None)
