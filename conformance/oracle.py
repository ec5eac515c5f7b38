"""Masked attention from its definition, in fp64, with a bound on what an honest f32 implementation may differ by.

Nothing here is shared with any attention library: every pair is scored, masked pairs are dropped, one softmax over what
is left. No tiles, no running maximum. Only additions, multiplications and divisions in a fixed order are used (exp, log
and tanh are series below), so that the numbers do not depend on the version of numpy or of a maths library.
"""
import numpy as np

U = 2.0**-24  # unit roundoff of f32
F32_MAX = float(np.finfo(np.float32).max)
LN2_HI, LN2_LO = 6.93147180369123816490e-01, 1.90821492927058770002e-10  # ln 2 = HI + LO; k * HI is exact for |k| < 2^20

# What is expected of a row (batch, head, query).
NUMBER = 0     # out and lse within their tolerances
EMPTY = 1      # no visible key: out exactly 0; lse -inf, or the sink where there is one
NAN = 2        # a visible score is NaN: out and lse are NaN
POISONED = 3   # a visible value is NaN or inf: NaN where the definition gives NaN, not finite where it gives inf;
               # other elements right, or NaN
RANGE = 4      # a score or a sum leaves f32: the fp64 answer, or no finite number at all; never a wrong number
BOUNDED = 5    # finite sentinels added to every score: the result is between the smallest and largest value,
               # or 0 (taken for an empty row)


def exp(x):
    x = np.asarray(x, np.float64)
    clipped = np.clip(np.nan_to_num(x, nan=0.0, posinf=709.0, neginf=-2000.0), -2000.0, 709.0)
    k = np.rint(clipped * (1.0 / (LN2_HI + LN2_LO)))
    r = (clipped - k * LN2_HI) - k * LN2_LO
    series = np.ones_like(r)
    for n in range(15, 0, -1):
        series = 1.0 + series * r / n
    return np.ldexp(series, k.astype(np.int64))


def log(x):
    m, e = np.frexp(np.asarray(x, np.float64))
    low = m < 0.7071067811865476
    m, e = np.where(low, m * 2.0, m), e - low
    t = (m - 1.0) / (m + 1.0)
    series = np.zeros_like(t)
    for n in range(25, 0, -2):
        series = series * (t * t) + 1.0 / n
    return e * LN2_HI + (2.0 * t * series + e * LN2_LO)


def tanh(x):
    a = np.abs(x)
    s = a * a
    small = a * (1.0 - s * (1 / 3 - s * (2 / 15 - s * (17 / 315 - s * (62 / 2835 - s * (1382 / 155925))))))
    large = 1.0 - 2.0 / (exp(2.0 * np.minimum(a, 300.0)) + 1.0)
    return np.copysign(np.where(a < 0.03, small, large), x)


def ordered_sum(x):
    """Sum over the last axis, first to last."""
    total = np.zeros(x.shape[:-1])
    for j in range(x.shape[-1]):
        total = total + x[..., j]
    return total


def attend(q, k, v, keep, bias, scale, softcap, sinks, bounded_rows, exact_scores=False):
    """q [b,h,nq,dk], k [b,h,nk,dk], v [b,h,nk,dv] (heads already repeated), keep bool and bias f32 or None [b,h,nq,nk],
    sinks [h] or None, bounded_rows bool [b,h,nq]; exact_scores: e below is 0. Returns out, lse, kind, out_tol, lse_tol (per row).

    The bound. With S = |scale| * sum|q k|, s the score as softmax sees it, m the largest s of the row, d = head_dim:
        e = u * ((d + 4) S                    products and sums in any order, scale on q, on k, on both or on the product
                 + 10 |s'| (softcap only)     division, tanh (4 ulp), product; |s'| the capped score
                 + 2 (|s'| + |b|) (bias only) one addition, and one rounding in making the bias (ALiBi: a product)
                 + 4 (|s| + |m|))             the maximum subtracted, possibly in base 2 and with a fused multiply-add
    so the true score lies in [s - e, s + e] of what was computed. Each softmax weight then lies between the two values
    that the definition gives when its own score moves by e one way and all others by theirs the other way (dw: the
    larger distance). With n the number of visible keys:
        |out - exact| <= sum dw |v - exact|  +  (2 n + 96) u sum w|v|  +  n 2^-126 max|v|  +  (n + 4) 2^-149
    2 n: two chains of n additions (and at most as many rescalings); 96: exp at 8 ulp in numerator and denominator, the
    division, a rescaled merge; 2^-126: weights that are flushed to zero; 2^-149: a denormal result.
        |lse - exact| <= the same interval for log-sum-exp + (2 n + 96) u + 8 u |lse|
    """
    q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
    with np.errstate(all="ignore"):
        return _attend(q, k, v, keep, bias, float(scale), float(softcap), sinks, bounded_rows, exact_scores)


def _attend(q, k, v, keep, bias, scale, softcap, sinks, bounded_rows, exact_scores):
    b, h, nq, dk = q.shape
    nk, dv = v.shape[2], v.shape[3]
    dot = np.zeros((b, h, nq, nk))
    size = np.zeros((b, h, nq, nk))
    for d in range(dk):
        product = q[:, :, :, None, d] * k[:, :, None, :, d]
        dot = dot + product
        size = size + np.abs(product)
    out = np.zeros((b, h, nq, dv))
    lse = np.full((b, h, nq), -np.inf)
    kind = np.zeros((b, h, nq), np.uint8)
    out_tol = np.zeros((b, h, nq))
    lse_tol = np.zeros((b, h, nq))
    for at in np.ndindex(b, h, nq):
        seen = np.flatnonzero(keep[at])
        sink = None if sinks is None else float(sinks[at[1]])
        if sink == -np.inf:
            sink = None
        row_bias = None if bias is None else bias[at][seen].astype(np.float64)
        row = _row(dot[at][seen], size[at][seen], v[at[0], at[1]][seen], row_bias, dk, scale, softcap, sink, exact_scores)
        out[at], lse[at], kind[at], out_tol[at], lse_tol[at] = row
        if bounded_rows[at] and kind[at] == NUMBER:
            kind[at] = BOUNDED
    return out, lse, kind, out_tol, lse_tol


def _row(dot, size, v, bias, dk, scale, softcap, sink, exact_scores):
    n = len(dot)
    if n == 0:
        lse = -np.inf if sink is None else sink
        return np.zeros(v.shape[1]), lse, EMPTY, 0.0, 0.0 if sink is None else 4 * U * abs(sink)
    s = dot * scale
    error = (dk + 4) * size * abs(scale)
    reach = size * max(1.0, abs(scale))
    sums = reach
    if softcap > 0:
        s = softcap * tanh(s / softcap)
        error = error + 10 * np.abs(s)
    if bias is not None:
        error = error + 2 * (np.abs(s) + np.abs(bias))
        reach = reach + np.maximum(bias, 0.0)
        sums = sums + np.abs(bias)  # -finfo.max plus a small score stays finite
        s = s + bias
    if np.isnan(s).any():
        return np.full(v.shape[1], np.nan), np.nan, NAN, 0.0, 0.0
    in_range = bool((reach < 0.99 * F32_MAX).all() and (sums < F32_MAX + 2.0**102).all())
    terms = s if sink is None else np.append(s, sink)  # a sink is one more term of the sum, with value 0
    highest = terms.max()
    weights = exp(terms - highest)
    total = ordered_sum(weights)
    w = weights[:n] / total
    out = np.zeros(v.shape[1])
    for j in range(n):
        out = out + w[j] * v[j]
    lse = highest + float(log(total))
    if not np.isfinite(highest):  # +inf among the scores, or nothing but -inf: inf - inf
        return np.full(v.shape[1], np.nan), np.nan, RANGE, 0.0, 0.0
    error = U * (error + 4 * (np.abs(s) + abs(highest)))
    error = error if sink is None else np.append(error, U * 4 * (abs(sink) + abs(highest)))
    if exact_scores:
        error = np.zeros_like(error)
    dw, up, down = _interval(terms, np.where(np.isfinite(terms), error, 0.0), weights / total, lse)
    if not np.isfinite(v).all():
        clean = np.where(np.isfinite(v).all(axis=1), np.arange(n), -1)
        usable = v * (clean >= 0)[:, None] if (clean >= 0).any() else np.zeros_like(v)
        usable = np.nan_to_num(usable, nan=0.0, posinf=0.0, neginf=0.0)
        tol = _out_tolerance(n, w, dw[:n], usable, np.nan_to_num(out, nan=0.0, posinf=0.0, neginf=0.0))
        # An element is finite where this dimension holds finite values alone; the row's tolerance covers those.
        return out, lse, POISONED, tol, max(up, down) + _lse_roundoff(n, lse)
    if not in_range or n * np.abs(v).max(initial=0.0) >= 0.99 * F32_MAX:
        tol = _out_tolerance(n, w, dw[:n], v, out)
        return out, lse, RANGE, tol, 0.0
    return out, lse, NUMBER, _out_tolerance(n, w, dw[:n], v, out), max(up, down) + _lse_roundoff(n, lse)


def _interval(s, e, w, lse):
    """Largest distance of each weight from w, and of lse upwards and downwards, when every score may move by its e."""
    low, high = s - e, s + e
    low_max, high_max = low.max(), high.max()
    low_terms, high_terms = exp(low - low_max), exp(high - high_max)
    low_sum, high_sum = ordered_sum(low_terms), ordered_sum(high_terms)
    mine_up = exp(np.minimum(high - low_max, 700.0))
    mine_down = exp(low - high_max)
    w_high = mine_up / (mine_up + np.maximum(low_sum - low_terms, 0.0))
    w_low = mine_down / (mine_down + np.maximum(high_sum - high_terms, 0.0))
    w_low = np.nan_to_num(w_low, nan=0.0)
    up = high_max + float(log(high_sum)) - lse
    down = lse - (low_max + float(log(low_sum)))
    return np.maximum(w_high - w, w - w_low), up, down


def _out_tolerance(n, w, dw, v, out):
    tol = np.zeros(v.shape[1])
    mass = np.zeros(v.shape[1])
    for j in range(n):
        tol = tol + dw[j] * np.abs(v[j] - out)
        mass = mass + np.minimum(w[j] + dw[j], 1.0) * np.abs(v[j])
    tol = tol + (2 * n + 96) * U * mass
    return float(tol.max(initial=0.0)) + n * 2.0**-126 * float(np.abs(v).max(initial=0.0)) + (n + 4) * 2.0**-149


def _lse_roundoff(n, lse):
    return (2 * n + 96) * U + 8 * U * abs(lse)
