"""PyTorch FlexAttention on the CPU, not compiled: mask and bias as functions of the indices. With lse."""
import torch
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from unsupported import Unsupported

torch._dynamo.config.specialize_float = True  # the soft cap is a constant of the function, not an input
NAME = f"PyTorch {torch.__version__.split('+')[0]}, FlexAttention, not compiled"


def attention(case):
    if case.sinks is not None:
        raise Unsupported("sinks")
    q, k, v = (torch.from_numpy(x) for x in (case.q, case.k, case.v))
    keep = torch.from_numpy(case.keep())
    bias = case.value_bias()
    bias = None if bias is None else torch.from_numpy(bias)
    cap = case.softcap

    def score(s, b, h, i, j):
        if cap:
            s = cap * torch.tanh(s / cap)
        return s if bias is None else s + bias[b, h, i, j]

    block_mask = None
    if case.has_mask():
        block_mask = create_block_mask(lambda b, h, i, j: keep[b, h, i, j], case.batch, case.n_head, case.n_q, case.n_kv, device="cpu")
    out, lse = flex_attention(q, k, v, score_mod=score if cap or bias is not None else None, block_mask=block_mask, scale=case.scale,
                              enable_gqa=case.n_head != case.n_kv_head, return_lse=True)
    return {"out": out.numpy(), "lse": None if lse is None else lse.numpy()}
