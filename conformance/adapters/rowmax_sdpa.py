"""rowmax.sdpa, which has the signature of PyTorch's function, called as torch_sdpa.py calls PyTorch."""
import rowmax

from unsupported import Unsupported

NAME = "rowmax, rowmax.sdpa with the arguments that torch_sdpa gives PyTorch"


def only_causal(case):
    m = case.mask
    others = (m.left, m.right, m.positions, m.valid, m.q_segments, m.chunk, m.prefix, m.bitmap, m.blocks, m.tree, m.bias, m.alibi, m.relative)
    return bool(m.causal) and not m.q_pos.any() and all(x is None for x in others)


def attention(case):
    if case.sinks is not None:
        raise Unsupported("sinks")
    if case.softcap:
        raise Unsupported("soft cap")
    mask = None
    if case.value_bias() is not None:
        mask = case.additive()
    elif case.has_mask() and not only_causal(case):
        mask = case.keep()
    return {"out": rowmax.sdpa(case.q, case.k, case.v, attn_mask=mask, is_causal=only_causal(case), scale=case.scale,
                               enable_gqa=case.n_head != case.n_kv_head)}
