"""The rest of the table: numbers that hurt, score changes, shapes, and groups of cases that must agree bit for bit."""
import numpy as np

from builder import coin, make, uniform

INF, NAN = np.float32(np.inf), np.float32(np.nan)
FLOAT_MIN = np.float32(-3.4028234663852886e38)  # finfo(float32).min
POISON = {"nan": NAN, "inf": INF, "minus_inf": -INF, "1e38": np.float32(1e38)}


def causal_bias(n, value=-np.inf):
    return np.where(np.arange(n)[None, :] <= np.arange(n)[:, None], 0.0, value).astype(np.float32)


def poison():
    g = "poison in masked keys and values"
    n, d = 6, 4
    holes = np.array([[1, 0, 1, 1, 0, 1], [0, 0, 1, 0, 0, 1], [1, 0, 0, 1, 0, 0]], bool)
    kinds = {  # the mask, and the keys that no query sees
        "padding": (dict(valid=(1, 5)), [0, 5]),
        "causal": (dict(causal=True), [3, 4, 5]),
        "bitmap": (dict(bitmap=holes), [1, 4]),
        "bias": (dict(bias=np.where(holes, 0.25, -np.inf)), [1, 4]),
        "window": (dict(causal=True, left=1, q_pos=3), [0, 1]),
    }
    issue = {"k": "pytorch #101967, FlashInfer #941", "v": "pytorch #101967, flash-attention #2374"}
    for kind, (mask, hidden) in kinds.items():
        data = {x: uniform(f"poison.{x}", (1, 2, size, d)) for x, size in (("q", 3), ("k", n), ("v", n))}
        yield make(f"poison_{kind}_none", g, "the clean twin of the poisoned cases", h=2, nq=3, nk=n, dk=d, bits=[f"poison_{kind}"], **data, **mask)
        for side in "kv":
            for label, value in POISON.items():
                bad = {x: array.copy() for x, array in data.items()}
                bad[side][:, :, hidden] = value
                yield make(f"poison_{kind}_{side}_{label}", g, f"{label} in the {'keys' if side == 'k' else 'values'} that a {kind} mask hides "
                           "changes no bit of the result", issue[side], h=2, nq=3, nk=n, dk=d, bits=[f"poison_{kind}"], **bad, **mask)
    data = {x: uniform(f"poison2.{x}", (1, 1, 8, d)) for x in "qkv"}
    for side in "kv":
        bad = {x: array.copy() for x, array in data.items()}
        bad[side][0, 0, 5] = NAN
        yield make(f"poison_seen_later_{side}", g, "key 5 is NaN: rows 0..4 of a causal mask do not see it and are right, rows 5..7 are NaN",
                   "flash-attention #1974", nq=8, nk=8, dk=d, causal=True, **bad)
    bad = {x: array.copy() for x, array in data.items()}
    bad["v"][0, 0, 6] = INF
    yield make("poison_inf_value_seen_later", g, "an infinite value reaches only rows that see it", nq=8, nk=8, dk=d, causal=True, **bad)
    bad = {x: array.copy() for x, array in data.items()}
    bad["k"][0, 0, 0], bad["v"][0, 0, 0] = NAN, NAN
    yield make("poison_left_window", g, "an old NaN key that slid out of the window: row 0 and 1 NaN, later rows clean", nq=8, nk=8, dk=d, causal=True, left=1, **bad)
    long = {x: uniform(f"poison3.{x}", (1, 1, size, 2)) for x, size in (("q", 2), ("k", 200), ("v", 200))}
    long["v"][0, 0, 70:140] = NAN
    long["k"][0, 0, 70:140] = NAN
    yield make("poison_stale_cache", g, "stale cache slots hold NaN between two valid stretches", "vLLM #47305", nq=2, nk=200, dk=2,
               bitmap=(np.arange(200) < 70) | (np.arange(200) >= 140), **long)
    pad = {x: uniform(f"poison4.{x}", (2, 2, 5, d)) for x in "qkv"}
    for x in "qkv":
        pad[x][1, :, :3] = NAN
    yield make("poison_padding_rows", g, "padding tokens are NaN in q, k and v: their own rows are empty (0), real rows are clean, the other entry too",
               "transformers #46765", b=2, h=2, nq=5, nk=5, dk=d, causal=True, valid=[(0, 5), (3, 5)], **pad)


def visible_nan():
    g = "visible NaN"
    n, d = 5, 4
    def data(**bad):
        x = {name: uniform(f"visible_nan.{name}", (1, 1, n, d)) for name in "qkv"}
        for name, (row, dim, value) in bad.items():
            x[name][0, 0, row, dim] = value
        return x
    why = "a NaN that is visible must be seen: NaN in exactly these rows, never a plain number"
    yield make("nan_in_query", g, why, "pytorch #141128", nq=n, nk=n, dk=d, **data(q=(2, 1, NAN)))
    yield make("nan_in_key", g, why, "FlashInfer #4401", nq=n, nk=n, dk=d, causal=True, **data(k=(2, 3, NAN)))
    yield make("nan_in_value", g, why + " (that element; the others may be right)", nq=n, nk=n, dk=d, causal=True, **data(v=(2, 0, NAN)))
    yield make("nan_in_bias", g, why, nq=n, nk=n, dk=d, causal=True, bias=np.where(np.eye(n)[::-1] > 0, NAN, 0), **data())
    yield make("inf_in_value", g, "an infinite visible value gives an infinite result, not a plain number", nq=n, nk=n, dk=d, causal=True, **data(v=(1, 2, INF)))
    yield make("inf_in_query", g, "scores of +-inf: no plain number may come out", nq=n, nk=n, dk=d, **data(q=(3, 1, INF)))
    yield make("nan_beside_empty_row", g, "a NaN row beside an empty row: each is what it is", nq=n, nk=n, dk=d,
               bitmap=np.arange(n)[:, None] * np.ones((1, n)) != 3, **data(q=(2, 1, NAN)))
    big = {x: uniform(f"nan_late.{x}", (1, 1, size, 2)) for x, size in (("q", 1), ("k", 300), ("v", 300))}
    big["k"][0, 0, 290, 0] = NAN
    yield make("nan_in_last_tile", g, "a NaN among the last of 300 keys", nq=1, nk=300, dk=2, **big)
    big = {x: array.copy() for x, array in big.items()}
    big["k"][0, 0, 290, 0], big["k"][0, 0, 3, 0] = 0.5, NAN
    yield make("nan_in_first_tile", g, "a NaN among the first keys must survive the running maximum", nq=1, nk=300, dk=2, **big)


def one_dim(name, g, why, issue="", scores=None, values=None, mask=None, **more):
    """One query of 1, head_dim 1, scale 1: the keys are the scores."""
    scores = np.asarray(scores, np.float32)
    values = np.arange(1, len(scores) + 1) if values is None else values
    more = {"q": [[1]], "k": scores[:, None], "v": np.asarray(values, np.float32)[:, None], **more}
    return make(name, g, why, issue, nq=len(more["q"]), nk=len(scores), dk=1, scale=1, bitmap=mask, **more)


def sentinels():
    g = "finite sentinels"
    yield make("sentinel_lattice", g, "a visible logit of -20000 beside a masked one of 0: a sentinel of -1e4 gives 100, right is 1",
               "lattice #361", nq=1, nk=2, dk=1, scale=1, q=[[-20000]], k=[[1], [0]], v=[[1], [100]], bitmap=[[1, 0]])
    for text, low in (("1e4", -1e4), ("5e4", -5e4), ("245000", -2.45e5), ("1e9", -1e9), ("1e30", -1e30), ("1e38", -1e38)):
        scores = np.array([1.5, 2.0, 1.1, 0, 1.25]) * low
        scores[3] = 0
        yield one_dim(f"sentinel_logits_below_{text}", g, f"all visible logits lie below -{text}, the masked one is 0",
                      "FlashInfer #4267, #4450", scores, [1, 2, 3, 1000, 5], [[1, 1, 1, 0, 1]])
        yield one_dim(f"low_logits_{text}", g, f"all logits below -{text}, nothing masked: the highest wins", "FlashInfer #4267", scores[[0, 1, 2, 4]], [1, 2, 3, 5])
    yield one_dim("sentinel_masked_1e30", g, "the masked logit is +1e30", scores=[0.5, 1e30, 1.5], values=[1, 100, 2], mask=[[1, 0, 1]])
    yield one_dim("sentinel_masked_equals", g, "visible logits are exactly -1e9, -1e4 and finfo.min / 2; masked ones too",
                  scores=[-1e9, -1e4, FLOAT_MIN / 4, -1e4], values=[1, 2, 3, 400], mask=[[1, 1, 1, 0]])
    # Finite numbers added to hide: as long as a visible key remains, the definition hides them.
    keep = np.array([[1, 0, 1, 1, 0], [0, 1, 1, 0, 1], [1, 1, 1, 1, 1], [0, 0, 0, 1, 0]], bool)
    for text, fill in (("minus_1e9", -1e9), ("minus_65504", -65504.0), ("finfo_min", FLOAT_MIN), ("minus_10000", -1e4)):
        yield make(f"additive_{text}", g, f"an additive mask of {fill:g} (finite; every row keeps a key)", "pytorch #110213", h=2, nq=4, nk=5, bias=np.where(keep, 0, fill))
    empty = keep & (np.arange(4) != 1)[:, None]
    for text, fill in (("minus_1e9", -1e9), ("finfo_min", FLOAT_MIN)):
        yield make(f"additive_{text}_whole_row", g, f"a row of nothing but {fill:g}: no definition is natural; the result is between the smallest and largest value, or 0",
                   "pytorch #110213, NeMo #2658", h=2, nq=4, nk=5, bias=np.where(empty, 0, fill), bounded=(np.arange(4) == 1), loose=True)
    two = np.where(np.arange(6)[None, :] <= np.arange(6)[:, None], 0.0, FLOAT_MIN).astype(np.float64) + np.where(np.arange(6) < 2, FLOAT_MIN, 0.0)
    two = np.where(two < FLOAT_MIN, -np.inf, two)
    yield make("additive_two_planes", g, "causal and padding, each finfo.min, added: -inf where both hide; rows 0 and 1 hold -inf and finfo.min alone: no NaN",
               "transformers #17306, NeMo #2658", h=2, nq=6, nk=6, bias=two, bounded=(np.arange(6) < 2), loose=True)


def hard_scores():
    g = "hard scores"
    yield make("all_equal", g, "equal scores: the mean of the visible values", h=2, nq=4, nk=7, q=np.ones((4, 8)), k=np.ones((7, 8)), causal=True, q_pos="end")
    yield make("zero_query", g, "a zero query: the mean", h=2, nq=3, nk=9, q=np.zeros((3, 8)))
    yield make("zero_scale", g, "scale 0: the mean of the visible values", h=2, nq=5, nk=5, scale=0, causal=True)
    yield make("negative_scale", g, "a negative scale turns the order", h=2, nq=5, nk=5, scale=-.5)
    for text, size in (("1e4", 1e4), ("1e9", 1e9), ("1e30", 1e30), ("1e38", 1e38)):
        yield one_dim(f"scores_{text}", g, f"scores of +-{text}: the highest takes all, nothing overflows", "pytorch #121558", np.array([.5, -1, 1, .25, -.5]) * size)
        yield one_dim(f"scores_equal_{text}", g, f"all scores {text}: exactly the mean; max * scale rounded apart from score * scale would not be 0", "pytorch #121558", np.ones(5) * size, exact=True)
    yield make("scores_bf16_133120", g, "bf16 inputs of 133120: fused multiply-add against a separately rounded maximum gives inf or NaN", "pytorch #121558",
               nq=2, nk=3, dk=2, dtype="bf16", q=np.full((2, 2), 133120.0), k=np.full((3, 2), 133120.0), v=[[1, 2], [4, 8], [7, 3]], exact=True)
    ramp = np.arange(80) * 4.0
    yield one_dim("scores_rising", g, "every key is the new maximum", scores=ramp, values=uniform("ramp.v", (80,)))
    yield one_dim("scores_falling", g, "the first key is the maximum", scores=-ramp, values=uniform("ramp.v", (80,)))
    yield one_dim("scores_rising_slowly", g, "the maximum rises tile by tile", scores=np.arange(300) / 32, values=uniform("slow.v", (300,)))
    yield one_dim("scores_at_underflow", g, "distances of 80 .. 110 from the maximum: weights are denormal or 0, never NaN", scores=-np.array([0, 80, 87, 87.4, 88, 103, 103.9, 104, 110.0]))
    huge = uniform("one_huge.k", (600, 2)) * .5
    huge[577] = 200
    yield make("one_huge_key", g, "one key far above 599 others, in a late tile", nq=2, nk=600, dk=2, q=np.ones((2, 2)), k=huge, dtype="f16")
    huge = huge.copy()
    huge[577] = -200
    yield make("one_tiny_key", g, "one key far below", nq=2, nk=600, dk=2, q=np.ones((2, 2)), k=huge, dtype="f16")
    yield make("cancelling_products", g, "large products that cancel: bounded by the sum of their sizes", nq=2, nk=3, dk=4, scale=1,
               q=[[100, 100, 1, 1], [-100, 100, .5, 2]], k=[[10, -10, 1, 0], [10, 10, .5, 1], [-10, -10, 1, 1]])
    yield make("constant_values", g, "equal values: out is that value", h=2, nq=4, nk=70, v=np.full((70, 8), 3.25), dk=8, dtype="f16")
    yield make("values_1e37", g, "values of 1e37 beside 1e-37", nq=3, nk=4, dk=2, v=[[1e37, 1e37], [-1e37, 1e-37], [1e37, 3], [0, 5e36]])
    yield make("negative_zero_values", g, "values of -0", nq=1, nk=3, dk=2, v=np.full((3, 2), -0.0))
    yield make("overflow_scores", g, "scores of 1e40 and 2e40 leave f32: the right answer or no number, never a wrong one", nq=1, nk=3, dk=1, scale=1,
               q=[[1e20]], k=[[1e20], [2e20], [-1e20]], v=[[1], [2], [3]])
    yield make("overflow_scores_below", g, "every visible score overflows to -inf: that is not an empty row", nq=1, nk=3, dk=1, scale=1,
               q=[[1e20]], k=[[-1e20], [-2e20], [-3e20]], v=[[1], [2], [3]])
    yield make("overflow_one_score_below", g, "one of three visible scores overflows to -inf: its weight is 0 either way", nq=1, nk=3, dk=1, scale=1,
               q=[[1e20]], k=[[-1e20], [1e-20], [2e-20]], v=[[1], [2], [3]])
    yield make("overflow_values", g, "values near the largest float: the sum may leave f32, a wrong number may not come out", nq=1, nk=3, dk=1, v=np.full((3, 1), 3.4e38))
    # Gradual underflow.
    tiny = np.float32(2.0 ** -140)
    yield make("denormal_values", g, "denormal values are numbers: not flushed to 0", nq=2, nk=3, dk=2, v=np.array([[64, 32], [96, -64], [16, 640]]) * tiny)
    yield make("denormal_keys", g, "denormal keys times a huge query are ordinary scores", nq=1, nk=3, dk=1, scale=1, q=[[1e38]], k=np.array([[1], [2], [-1]]) * np.float32(1e-38) * .5, v=[[1], [2], [4]])


def whole_tiles():
    g = "whole tiles hidden"
    why = "runs of hidden keys that fill whole tiles of any size up to 512"
    nk, d = 1100, 2
    data = {x: uniform(f"tiles.{x}", (1, 1, size, d)) for x, size in (("q", 2), ("k", nk), ("v", nk))}
    j = np.arange(nk)
    spans = {"first_512": j >= 512, "first_513": j >= 513, "first_64": j >= 64, "middle": (j < 300) | (j >= 900), "last_512": j < 588,
             "all_but_last": j == nk - 1, "all_but_first": j == 0, "every_other_64": j // 64 % 2 == 1}
    for text, keep in spans.items():
        yield make(f"tile_{text}_bias", g, why + ", by -inf in an additive mask", "pytorch #127055", nq=2, nk=nk, dk=d, dtype="bf16", bias=np.where(keep, 0, -np.inf)[None], **data)
        if text in ("first_512", "middle", "every_other_64"):
            yield make(f"tile_{text}_bitmap", g, why + ", by a bitmap", "pytorch #127055", nq=2, nk=nk, dk=d, dtype="bf16", bitmap=keep[None], **data)


def score_changes():
    g = "softcap"
    yield make("softcap_50", g, "50 tanh(s / 50)", h=2, nq=6, nk=6, causal=True, softcap=50, scale=1, size=3)
    yield make("softcap_before_mask", g, "the cap comes before the mask: tanh(-inf) = -1 would make masked keys visible", "ONNX #7867, FlashInfer #350",
               nq=3, nk=4, dk=2, softcap=1, scale=1, v=[[1, 1], [2, 2], [1000, 1000], [-500, 700]], bitmap=[[1, 1, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0]])
    yield make("softcap_before_bias", g, "the bias is added after the cap", h=2, nq=5, nk=5, softcap=2, scale=1, bias=uniform("softcap_before_bias.b", (5, 5)) * 8)
    yield make("softcap_minus_inf_bias", g, "-inf in the bias hides, cap or not", h=2, nq=5, nk=5, softcap=5, causal=True, bias=causal_bias(5))
    yield make("softcap_huge_scores", g, "scores of 1e30 become the cap", nq=1, nk=3, dk=1, softcap=30, scale=1, q=[[1e15]], k=[[1e15], [-1e15], [.9e15]], v=[[1], [2], [3]], exact=True)
    yield make("softcap_empty_rows", g, "cap and empty rows", h=2, nq=4, nk=4, softcap=10, bitmap=(np.arange(4) != 2)[:, None] & np.ones((1, 4), bool))
    g = "attention sinks"
    sink = np.array([0.5, -2], np.float32)
    yield make("sinks_causal", g, "one more logit in the sum, none in the values; per head", h=2, nq=6, nk=6, causal=True, sinks=sink)
    yield make("sinks_empty_rows", g, "an empty row with a sink: out 0, lse = the sink", "flash-attention CuTe test", h=2, nq=4, nk=4, sinks=sink, bitmap=(np.arange(4) != 2)[:, None] & np.ones((1, 4), bool))
    yield make("sinks_window", g, "sinks and a sliding window (gpt-oss)", h=2, nq=10, nk=10, causal=True, left=2, sinks=sink)
    yield make("sinks_dominant", g, "a sink of 1e4 takes everything: out about 0, lse = the sink", h=2, nq=2, nk=3, sinks=np.array([1e4, 80], np.float32))
    yield make("sinks_negligible", g, "a sink of -1e4 and of -inf: no sink", h=2, nq=2, nk=3, sinks=np.array([-1e4, -np.inf], np.float32))
    yield make("sinks_gqa_decode", g, "sinks per query head, shared keys", h=4, hk=2, nq=1, nk=20, causal=True, q_pos="end", sinks=np.array([0, 1, 2, -1], np.float32))
    yield make("sinks_left_padding", g, "sinks and left padding", b=2, h=2, nq=5, nk=5, causal=True, valid=[(2, 5), (0, 5)], sinks=sink)
    yield make("sinks_softcap", g, "the sink is not capped", h=2, nq=4, nk=4, softcap=1, sinks=np.array([3, 5], np.float32))
    g = "bias"
    slopes = (2.0 ** -np.arange(1, 5)).astype(np.float32)
    b = lambda name, shape: uniform(name + ".b", shape) * 3
    yield make("alibi_causal", g, "ALiBi: -slope (p - j), per head", h=4, nq=9, nk=9, causal=True, alibi=slopes)
    yield make("alibi_decode", g, "ALiBi of a late query: distances count from its position", h=4, nq=2, nk=40, causal=True, q_pos="end", alibi=slopes)
    yield make("alibi_left_padding", g, "ALiBi with left padding: distances do not change", b=2, h=4, nq=8, nk=8, causal=True, valid=[(3, 8), (0, 8)], alibi=slopes)
    yield make("alibi_gqa", g, "slopes belong to query heads", h=4, hk=1, nq=5, nk=5, causal=True, alibi=slopes)
    yield make("alibi_bidirectional", g, "ALiBi is symmetric without causal: -slope |p - j|", h=4, nq=6, nk=6, alibi=slopes)
    yield make("relative_bias", g, "a table by clipped distance, per head", h=2, nq=12, nk=12, relative=b("relative_bias", (2, 9)))
    yield make("relative_bias_causal_decode", g, "the same for late queries", h=2, nq=3, nk=30, causal=True, q_pos="end", relative=b("relative_bias_decode", (2, 17)))
    yield make("bias_full", g, "[batch, head, q, k]", b=2, h=2, nq=4, nk=6, bias=b("bias_full", (2, 2, 4, 6)))
    yield make("bias_broadcast_batch", g, "[1, head, q, k]", b=2, h=2, nq=4, nk=6, bias=b("bias_broadcast_batch", (1, 2, 4, 6)))
    yield make("bias_broadcast_head", g, "[batch, 1, q, k]", "JAX #28974", b=2, h=2, nq=4, nk=6, bias=b("bias_broadcast_head", (2, 1, 4, 6)))
    yield make("bias_broadcast_query", g, "[batch, 1, 1, k]", b=2, h=2, nq=4, nk=6, bias=b("bias_broadcast_query", (2, 1, 1, 6)))
    yield make("bias_per_query", g, "one number per query: out unchanged, lse moves", b=1, h=2, nq=4, nk=6, bias=b("bias_per_query", (1, 1, 4, 1)))
    yield make("bias_and_causal", g, "bias and causal both count", "pytorch #187801", h=2, nq=7, nk=7, causal=True, bias=b("bias_and_causal", (7, 7)))
    yield make("bias_not_binary", g, "an additive mask with numbers besides 0 and -inf is not a yes/no mask", "ik_llama.cpp AVX-512", h=2, nq=6, nk=6, bias=np.where(coin("bias_not_binary.m", (6, 6), .7) | np.eye(6, dtype=bool), b("bias_not_binary", (6, 6)), -np.inf))
    yield make("bias_after_scale", g, "the bias is not scaled", h=2, nq=4, nk=4, scale=.125, bias=b("bias_after_scale", (4, 4)))
    yield make("bias_large", g, "a bias of 1e4", h=2, nq=3, nk=3, bias=[[1e4, 0, 0], [0, -1e4, 0], [0, 0, 0]])
    yield make("bias_alibi_padding", g, "dense bias, ALiBi, causal and padding", b=2, h=4, nq=6, nk=6, causal=True, valid=[(1, 6), (0, 5)], alibi=slopes, bias=b("bias_alibi_padding", (6, 6)))
    g = "scale"
    yield make("scale_default", g, "1 / sqrt(head_dim)", h=2, nq=4, nk=6, dk=16)
    yield make("scale_once", g, "a given scale replaces the default and counts once", h=2, nq=4, nk=6, dk=16, scale=.5)
    yield make("scale_one", g, "no scale", h=2, nq=4, nk=6, dk=4, scale=1)
    yield make("scale_small", g, "scale 1e-3: nearly the mean", h=2, nq=4, nk=6, dk=16, scale=1e-3)
    yield make("scale_not_power_of_two", g, "scale 0.3", h=2, nq=4, nk=6, dk=5, scale=.3, causal=True)


def shapes():
    g = "shapes"
    for d in (1, 3, 40, 80, 96, 128, 192, 256):
        yield make(f"head_dim_{d}", g, f"head_dim {d}", nq=3, nk=5, dk=d, dtype="f16" if d > 8 else "f32", causal=True, q_pos="end")
    yield make("head_dim_576_512", g, "the sizes of compressed (MLA) attention", nq=1, nk=4, dk=576, dv=512, dtype="bf16")
    yield make("v_dim_smaller", g, "values narrower than keys", h=2, nq=3, nk=6, dk=12, dv=8, causal=True, q_pos="end")
    yield make("v_dim_larger", g, "values wider than keys", h=2, nq=3, nk=6, dk=4, dv=20)
    yield make("v_dim_one", g, "one value", h=2, nq=3, nk=6, dk=8, dv=1)
    yield make("no_keys", g, "n_kv 0: every row is empty", "FlashInfer #363, #440", b=2, h=2, nq=3, nk=0)
    yield make("no_keys_causal", g, "n_kv 0 and causal", "FlashInfer #3251", h=2, nq=1, nk=0, causal=True)
    yield make("no_queries", g, "n_q 0: an empty result of the right shape", h=2, nq=0, nk=5)
    yield make("one_token", g, "a prompt of one token, 4 heads", h=4, nq=1, nk=1, causal=True)
    yield make("two_tokens", g, "a prompt of two tokens", h=4, nq=2, nk=2, causal=True)
    for n in (15, 16, 17, 31, 33, 63, 64, 65):
        yield make(f"keys_{n}", g, f"{n} keys: vector and tile tails", h=1, nq=2, nk=n, dk=4, dtype="f16")
    for n in (5, 17, 33):
        yield make(f"queries_{n}", g, f"{n} queries: row tails", h=1, nq=n, nk=6, dk=4, dtype="f16")
    yield make("keys_8192", g, "8192 keys", nq=2, nk=8192, dk=2, dtype="bf16")
    yield make("keys_8192_window", g, "a window at the end of 8192 keys", nq=1, nk=8192, dk=2, dtype="bf16", causal=True, left=700, q_pos="end", seed="keys_8192")
    yield make("batch_5_heads_3", g, "batch and head strides", b=5, h=3, nq=2, nk=4, dk=4)
    g = "grouped heads"
    for h, hk in ((4, 2), (8, 1), (6, 3)):
        yield make(f"gqa_{h}_{hk}", g, f"{h} query heads share {hk} key heads: head h reads h / {h // hk}", h=h, hk=hk, nq=4, nk=6, dk=4, causal=True, q_pos="end")
    yield make("gqa_decode", g, "decode with 8 query heads on one", h=8, hk=1, nq=1, nk=40, dk=4, causal=True, q_pos="end")
    yield make("gqa_padding", g, "groups and left padding", b=2, h=4, hk=2, nq=5, nk=5, dk=4, causal=True, valid=[(2, 5), (0, 5)])


def same_bits():
    g = "same bits"
    n, d = 100, 4
    x = {name: uniform(f"same.{name}", (1, h, n, d)) * 2 for name, h in (("q", 2), ("k", 1), ("v", 1))}
    base = dict(h=2, hk=1, dk=d, dv=d)
    part = lambda lo, hi, keys: {"q": x["q"][:, :, lo:hi], "k": x["k"][:, :, :keys], "v": x["v"][:, :, :keys]}
    why = "a query's result depends on what it sees, not on how the call was made: "
    yield make("same_whole", g, why + "100 causal rows in one call", "llama.cpp #12396", nq=n, nk=n, causal=True, **base, **x,
               bits=["padding", "forms", "repeated heads", ("first 64 rows", [(0, 0, 64)]), ("last 36 rows", [(0, 64, 100)]), ("last row", [(0, 99, 100)])])
    yield make("same_chunk_1", g, why + "rows 0 .. 63 alone", "llama.cpp #7052", nq=64, nk=64, causal=True, **base, **part(0, 64, 64), bits=["first 64 rows"])
    yield make("same_chunk_2", g, why + "rows 64 .. 99 with all keys", "llama.cpp #12396", nq=36, nk=n, causal=True, q_pos="end", **base, **part(64, 100, n), bits=["last 36 rows"])
    yield make("same_decode", g, why + "the last row alone, as decoding does", "sglang #25790", nq=1, nk=n, causal=True, q_pos="end", **base, **part(99, 100, n), bits=["last row"])
    yield make("same_decode_no_mask", g, why + "the last row alone, without a mask", nq=1, nk=n, **base, **part(99, 100, n), bits=["last row"])
    yield make("same_decode_in_cache", g, why + "the last row alone, in a cache with room", "JAX #23349", nq=1, nk=n + 28, causal=True, q_pos=99, valid=(0, n), **base,
               q=part(99, 100, n)["q"], k=np.pad(x["k"], ((0, 0), (0, 0), (0, 28), (0, 0)), constant_values=1e30), v=np.pad(x["v"], ((0, 0), (0, 0), (0, 28), (0, 0)), constant_values=-7), bits=["last row"])
    yield make("same_bitmap", g, why + "the causal mask as a bitmap", nq=n, nk=n, bitmap=causal_bias(n) == 0, **base, **x, bits=["forms"])
    yield make("same_bias", g, why + "the causal mask as -inf added", nq=n, nk=n, bias=causal_bias(n), **base, **x, bits=["forms"])
    heads = {name: np.repeat(array, 2 if name != "q" else 1, axis=1) for name, array in x.items()}
    yield make("same_repeated_heads", g, why + "the shared key head repeated", nq=n, nk=n, causal=True, h=2, dk=d, **heads, bits=["repeated heads"])
    for left, right in ((1, 0), (30, 0), (64, 3), (0, 40)):
        pads = {name: np.pad(array, ((0, 0), (0, 0), (left, right), (0, 0)), constant_values=.5) for name, array in x.items()}
        total = n + left + right
        yield make(f"same_padded_{left}_{right}", g, why + f"{left} padding keys in front, {right} behind", "transformers #22707, #29029", nq=total, nk=total, causal=True,
                   valid=(left, left + n), **base, **pads, bits=[("padding", [(0, left, left + n)])])
    lengths = [100, 17, 64]
    rows = {name: np.concatenate([array, uniform(f"same.mix.{name}", array.shape), uniform(f"same.mix2.{name}", array.shape)]) for name, array in x.items()}
    yield make("same_batch_of_three", g, why + "the same row in a batch with others", "flash-attention #1897, vLLM #27433", b=3, nq=1, nk=n, causal=True,
               q_pos=[m - 1 for m in lengths], valid=[(0, m) for m in lengths], **base, q=rows["q"][:, :, 99:100], k=rows["k"], v=rows["v"], bits=[("last row", [(0, 0, 1)])])
    ids = np.repeat([0, 1, 2], [20, n, 11])
    packed = {name: np.concatenate([uniform(f"same.pre.{name}", (1, array.shape[1], 20, d)), array, uniform(f"same.post.{name}", (1, array.shape[1], 11, d))], axis=2) for name, array in x.items()}
    yield make("same_packed", g, why + "as the middle one of three packed documents", nq=n + 31, nk=n + 31, causal=True, q_segments=ids, k_segments=ids, **base, **packed,
               bits=[("padding", [(0, 20, 20 + n)])])
    # A window and two spellings of it.
    w = dict(nq=20, nk=20, **base, q=x["q"][:, :, :20], k=x["k"][:, :, :20], v=x["v"][:, :, :20])
    i, j = np.arange(20)[:, None], np.arange(20)[None, :]
    yield make("same_window", g, why + "a window of 5", causal=True, left=4, bits=["window forms"], **w)
    yield make("same_window_bitmap", g, why + "the same window as a bitmap", bitmap=(j <= i) & (j >= i - 4), bits=["window forms"], **w)
    yield make("same_window_bias", g, why + "the same window as -inf added", bias=np.where((j <= i) & (j >= i - 4), 0, -np.inf), bits=["window forms"], **w)
    yield make("same_full", g, why + "no mask at all", bits=["full forms"], **w)
    yield make("same_full_bitmap", g, why + "a bitmap of ones", bitmap=np.ones((20, 20), bool), bits=["full forms"], **w)
    yield make("same_full_zero_bias", g, why + "a bias of zeros", bias=np.zeros((20, 20)), bits=["full forms"], **w)
    yield make("same_full_window", g, why + "a window wider than everything", left=1000, right=1000, bits=["full forms"], **w)
    yield make("same_scale_2", g, why + "scale 0.5", scale=.5, causal=True, bits=["scale or query"], **w)
    yield make("same_query_2", g, why + "scale 1 and a query half as large: a power of two moves no bit", scale=1, causal=True, bits=["scale or query"], **{**w, "q": w["q"] / 2})


PARTS = (poison, visible_nan, sentinels, hard_scores, whole_tiles, score_changes, shapes, same_bits)
