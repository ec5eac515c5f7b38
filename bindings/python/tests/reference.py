"""Attention in fp64, written from its definition; shares nothing with the library."""

import numpy as np


def attention(q, k, v, keep=None, *, scale=None, bias=None, softcap=0.0, sinks=None):
    """[batch, head, n, d] arrays; keep and bias broadcast to [batch, head, n_q, n_kv]. Returns out, lse, weights."""
    q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
    group = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, group, axis=1), np.repeat(v, group, axis=1)
    scores = np.einsum("bhid,bhjd->bhij", q, k) * (1 / np.sqrt(q.shape[-1]) if scale is None else scale)
    if softcap:
        scores = softcap * np.tanh(scores / softcap)
    if bias is not None:
        scores = scores + np.asarray(bias, np.float64)
    keep = np.ones(scores.shape, bool) if keep is None else np.broadcast_to(keep, scores.shape)
    scores = np.where(keep, scores, -np.inf)
    top = scores.max(axis=-1, initial=-np.inf, keepdims=True)
    if sinks is not None:
        sink = np.asarray(sinks, np.float64)[None, :, None, None]
        top = np.maximum(top, sink)
    base = np.where(np.isfinite(top), top, 0)
    exps = np.exp(scores - base)
    total = exps.sum(axis=-1, keepdims=True)
    if sinks is not None:
        total = total + np.exp(sink - base)
    weights = exps / np.where(total > 0, total, 1)
    with np.errstate(divide="ignore"):
        lse = (np.log(total) + base)[..., 0]
    return np.einsum("bhij,bhjd->bhid", weights, v), lse, weights


def problem(batch=2, n_head=4, n_kv_head=2, n_q=5, n_kv=7, dim=16, v_dim=12, seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    shapes = ((batch, n_head, n_q, dim), (batch, n_kv_head, n_kv, dim), (batch, n_kv_head, n_kv, v_dim))
    return tuple(rng.standard_normal(shape).astype(dtype) for shape in shapes)
