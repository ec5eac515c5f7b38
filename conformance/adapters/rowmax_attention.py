"""rowmax: the structured mask as rowmax.mask values, with lse and row status."""
import numpy as np
import rowmax

NAME = f"rowmax {getattr(rowmax, '__version__', '')}, rowmax.attention, masks as rules".replace("rowmax ,", "rowmax,")


def rules(case):
    m, mask = case.mask, rowmax.mask
    result = mask.none()
    distances = (m.left, m.right, m.alibi, m.relative)
    needs_positions = m.causal or m.chunk or any(x is not None for x in distances)
    if m.positions is not None:
        result = result & mask.positions(m.positions)
    elif needs_positions and not m.causal:
        result = result & mask.positions(m.q_pos[:, None] + np.arange(case.n_q))
    if m.causal:
        result = result & mask.causal(m.q_pos if m.positions is None else None)
    if m.left is not None or m.right is not None:
        result = result & mask.window(m.left, m.right, negative=True)
    if m.valid is not None:
        result = result & mask.valid(m.valid[:, 0], m.valid[:, 1])
    if m.q_segments is not None:
        result = result & mask.segments(m.q_segments, m.k_segments)
    if m.chunk:
        result = result & mask.chunk(m.chunk)
    if m.prefix is not None:
        result = result & mask.prefix(m.prefix)
    if m.keep_first:
        result = result & mask.keep_first(m.keep_first)
    if m.bitmap is not None:
        result = result & mask.bitmap(m.bitmap)
    if m.blocks is not None:
        result = result & mask.blocks(m.blocks, m.q_block, m.k_block)
    if m.tree is not None:
        result = result & mask.tree(m.tree)
    return result


def attention(case):
    m = case.mask
    relative = None if m.relative is None else (m.relative, -(m.relative.shape[1] // 2))
    out, lse, status = rowmax.attention(case.q, case.k, case.v, rules(case), bias=m.bias, scale=case.scale,
                                        softcap=case.softcap, sinks=case.sinks, alibi=m.alibi, relative_bias=relative,
                                        return_lse=True, return_status=True)
    return {"out": out, "lse": lse, "status": status}
