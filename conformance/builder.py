"""Turns a case written down in a few words (table.py) into numbers: inputs, the mask pair by pair, expected results."""
import numpy as np

import cases as file
import oracle

NO_SPREAD = 1e-30
TEETH = 0.05  # a tolerance must stay below this share of the spread of the visible values, or the case says `loose`


# ---- Random numbers: splitmix64 of a counter, so that number i of a seed is the same everywhere and for ever.

def seed_of(text):
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = ((value ^ byte) * 0x100000001B3) % 2**64
    return value


def bits64(seed, n):
    x = np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def uniform(seed_text, shape):
    """f32 in [-1, 1), 24 bits."""
    n = int(np.prod(shape))
    whole = (bits64(seed_of(seed_text), n) >> np.uint64(40)).astype(np.int64) - 2**23
    return (whole / 2.0**23).astype(np.float32).reshape(shape)


def coin(seed_text, shape, share=0.5):
    n = int(np.prod(shape))
    return ((bits64(seed_of(seed_text), n) >> np.uint64(40)).astype(np.int64) < share * 2**24).reshape(shape)


def below(seed_text, shape, limit):
    n = int(np.prod(shape))
    return ((bits64(seed_of(seed_text), n) >> np.uint64(33)).astype(np.int64) % limit).reshape(shape)


def rounded(x, dtype):
    x = np.asarray(x, np.float32)
    if dtype == "f16":
        return x.astype(np.float16).astype(np.float32)
    if dtype == "bf16":
        bits = np.ascontiguousarray(x).view(np.uint32).astype(np.uint64)
        bits = (bits + np.uint64(0x7FFF) + ((bits >> np.uint64(16)) & np.uint64(1))) >> np.uint64(16) << np.uint64(16)
        return bits.astype(np.uint32).view(np.float32)
    return x


CODES = {"f32": file.F32, "f16": file.F16, "bf16": file.BF16}


# ---- The mask, pair by pair, from its definition (README.md).

def visible_pairs(c):
    """bool [batch, head, n_q, n_kv]."""
    b, h, nq, nk = c["batch"], c["head"], c["nq"], c["nk"]
    j = np.arange(nk)[None, None, None, :]
    if c["positions"] is not None:
        p = np.asarray(c["positions"])[:, None, :, None]
    else:
        p = np.asarray(c["q_pos"])[:, None, None, None] + np.arange(nq)[None, None, :, None]
    valid = np.tile([[0, nk]], (b, 1)) if c["valid"] is None else np.asarray(c["valid"])
    begin, end = valid[:, 0, None, None, None], valid[:, 1, None, None, None]
    keep = (j >= begin) & (j < end)
    if c["q_segments"] is not None:
        keep = keep & (np.asarray(c["q_segments"])[:, None, :, None] == np.asarray(c["k_segments"])[:, None, None, :])
    if c["chunk"]:
        keep = keep & ((j - begin) // c["chunk"] == (p - begin) // c["chunk"])
    if c["bitmap"] is not None:
        keep = keep & c["bitmap"]
    if c["blocks"] is not None:
        blocks = np.repeat(np.repeat(c["blocks"], c["q_block"], axis=2), c["k_block"], axis=3)
        keep = keep & blocks[:, :, :nq, :nk]
    if c["tree"] is not None:
        keep = keep & tree_pairs(c["tree"], nk)[None, None]
    right = 0 if c["causal"] else None
    if c["right"] is not None:
        right = c["right"] if right is None else min(right, c["right"])
    in_reach = np.ones((b, 1, nq, nk), bool) if right is None else j <= p + right
    if c["left"] is not None:
        kept = (j >= begin) & (j < begin + c["keep_first"])
        in_reach = in_reach & ((j >= p - c["left"]) | kept)
    if c["prefix"] is not None:
        in_reach = in_reach | (j < np.asarray(c["prefix"])[:, None, None, None])
    keep = np.broadcast_to(keep & in_reach, (b, h, nq, nk))
    if c["bias"] is not None:
        keep = keep & ~np.isneginf(np.broadcast_to(c["bias"], (b, h, nq, nk)))
    return np.ascontiguousarray(keep), np.broadcast_to(p, (b, 1, nq, 1)), j


def tree_pairs(parents, nk):
    nq = len(parents)
    first = nk - nq
    keep = np.zeros((nq, nk), bool)
    keep[:, :first] = True
    for i in range(nq):
        node = i
        while node >= 0:
            keep[i, first + node] = True
            node = int(parents[node])
    return keep


def summed_bias(c, p, j):
    """f32 [batch, head, n_q, n_kv] or None: dense, then ALiBi, then relative, each addition rounded to f32."""
    terms = []
    if c["bias"] is not None:
        terms.append(np.asarray(c["bias"], np.float32))
    if c["alibi"] is not None:
        slopes = np.asarray(c["alibi"], np.float32)[None, :, None, None]
        terms.append(-(slopes * np.abs(p - j).astype(np.float32)))
    if c["relative"] is not None:
        half = c["relative"].shape[1] // 2
        distance = np.clip(j - p, -half, half) + half
        terms.append(np.stack([c["relative"][head][distance[:, 0]] for head in range(c["head"])], axis=1))
    if not terms:
        return None
    total = terms[0]
    for term in terms[1:]:
        total = (total + term).astype(np.float32)
    return np.array(np.broadcast_to(total, (c["batch"], c["head"], c["nq"], c["nk"])), np.float32)


# ---- A whole case.

DEFAULTS = dict(b=1, h=1, hk=None, nq=None, nk=None, dk=8, dv=None, dtype="f32", size=1.5, q=None, k=None, v=None,
                scale=None, softcap=0.0, sinks=None, causal=False, left=None, right=None, q_pos=None, positions=None,
                valid=None, q_segments=None, k_segments=None, chunk=0, prefix=None, keep_first=0, bitmap=None,
                blocks=None, q_block=0, k_block=0, tree=None, bias=None, alibi=None, relative=None, seed=None, bits=(),
                bounded=None, loose=False, exact=False)


def make(name, group, why, issue="", **given):
    """One case as the fields of the file. Arguments as in DEFAULTS; q_pos: one number or one per batch entry, "end" for
    bottom-right; valid: (begin, end) or one per entry; bits: names, or (name, [(batch, q_begin, q_end), ...]); exact: no step from q and k to the score rounds (or all
    visible scores are equal, and rounded alike)."""
    unknown = set(given) - set(DEFAULTS)
    assert not unknown, unknown
    c = {**DEFAULTS, **given}
    c["hk"] = c["hk"] or c["h"]
    c["dv"] = c["dv"] or c["dk"]
    b, h, nq, nk, dtype = c["b"], c["h"], c["nq"], c["nk"], c["dtype"]
    seed = c["seed"] or name
    shapes = {"q": (b, h, nq, c["dk"]), "k": (b, c["hk"], nk, c["dk"]), "v": (b, c["hk"], nk, c["dv"])}
    for x, shape in shapes.items():
        values = uniform(f"{seed}.{x}", shape) * np.float32(c["size"]) if c[x] is None else np.asarray(c[x], np.float32)
        if c[x] is not None and values.ndim < 4:
            values = values.reshape((1,) * (4 - values.ndim) + values.shape)
        assert values.shape[2:] == shape[2:], (name, x, values.shape, shape)
        values = np.broadcast_to(values, (values.shape[0], *shape[1:]))
        assert values.shape[0] in (1, b), name
        c[x] = rounded(values, dtype)
    c["scale"] = float(np.float32(c["dk"] ** -0.5 if c["scale"] is None else c["scale"]))
    c["batch"], c["head"] = b, h
    pos = nk - nq if c["q_pos"] == "end" else 0 if c["q_pos"] is None else c["q_pos"]
    c["q_pos"] = np.broadcast_to(np.asarray(pos, np.int64), (b,))
    for key, width in (("valid", 2), ("positions", nq), ("q_segments", nq), ("k_segments", nk)):
        if c[key] is not None:
            c[key] = np.array(np.broadcast_to(np.asarray(c[key], np.int64), (b, width)))
    if c["prefix"] is not None:
        c["prefix"] = np.array(np.broadcast_to(np.asarray(c["prefix"], np.int64), (b,)))
    for key in ("bitmap", "blocks", "bias"):
        if c[key] is not None:
            array = np.asarray(c[key], np.float32 if key == "bias" else bool)
            c[key] = array.reshape((1,) * (4 - array.ndim) + array.shape)
    return fields_of(name, group, why, issue, c)


def fields_of(name, group, why, issue, c):
    keep, p, j = visible_pairs(c)
    bias = summed_bias(c, p, j)
    b, h, nq = c["batch"], c["head"], c["nq"]
    heads = h // c["hk"]
    q, k, v = (np.broadcast_to(c[x], (b, *c[x].shape[1:])) for x in "qkv")
    k, v = np.repeat(k, heads, axis=1), np.repeat(v, heads, axis=1)
    bounded = np.zeros((b, h, nq), bool) if c["bounded"] is None else np.broadcast_to(c["bounded"], (b, h, nq))
    out, lse, kind, out_tol, lse_tol = oracle.attend(q, k, v, keep, bias, c["scale"], c["softcap"], c["sinks"], bounded,
                                                  c["exact"])
    if not c["loose"]:
        check_teeth(name, keep, v, kind, out_tol)
    fields = {"name": name, "group": group, "why": why, "issue": issue, "dtype": c["dtype"], "batch": b,
              "scale": c["scale"], "softcap": float(c["softcap"])}
    for x in "qkv":
        fields[x] = (c[x], CODES[c["dtype"]])
    for key in ("causal", "left", "right", "chunk", "keep_first", "q_block", "k_block"):
        if c[key] not in (None, False, 0) or (key in ("left", "right") and c[key] is not None):
            fields[key] = int(c[key])
    for key in ("q_pos", "positions", "valid", "q_segments", "k_segments", "prefix", "tree"):
        if c[key] is not None:
            fields[key] = (np.asarray(c[key], np.int64), file.I64)
    for key, code in (("bitmap", file.BITS), ("blocks", file.BITS), ("bias", file.F32), ("alibi", file.F32),
                      ("relative", file.F32), ("sinks", file.F32)):
        if c[key] is not None:
            fields[key] = (np.asarray(c[key]), code)
    fields["keep"] = (squeezed(keep), file.BITS)
    if bias is not None:
        fields["value_bias"] = (squeezed(bias), file.F32)
    fields["out"], fields["lse"] = (squeezed(out), file.F64), (squeezed(lse), file.F64)
    fields["kind"] = (squeezed(kind), file.U8)
    fields["out_tol"] = (squeezed(rounded_up(out_tol)), file.F32)
    fields["lse_tol"] = (squeezed(rounded_up(lse_tol)), file.F32)
    fields["bits"] = "|".join(x if isinstance(x, str) else x[0] for x in c["bits"])
    for n, x in enumerate(c["bits"]):
        rows = [(entry, 0, nq) for entry in range(b)] if isinstance(x, str) else x[1]
        fields[f"bit_rows_{n}"] = (np.asarray(rows, np.int64), file.I64)
    return fields


def squeezed(x):
    """Axes along which nothing changes become 1 long (the reader broadcasts them back)."""
    for axis in range(min(x.ndim, 3)):
        if x.shape[axis] > 1:
            first = np.take(x, [0], axis=axis)
            if np.ascontiguousarray(np.broadcast_to(first, x.shape)).tobytes() == np.ascontiguousarray(x).tobytes():
                x = first
    return np.ascontiguousarray(x)


def rounded_up(x):
    return np.nextafter(np.asarray(x, np.float32), np.float32(np.inf)) * (np.asarray(x) > 0)


def check_teeth(name, keep, v, kind, out_tol):
    """A tolerance that anything would pass tests nothing: refuse the case."""
    for at in np.argwhere(kind == oracle.NUMBER):
        seen = v[at[0], at[1]][keep[tuple(at)]].astype(np.float64)
        spread = (seen.max(axis=0) - seen.min(axis=0)).max(initial=0.0)
        if spread > NO_SPREAD and out_tol[tuple(at)] > TEETH * spread:
            raise ValueError(f"{name}: row {at.tolist()} may be {out_tol[tuple(at)]:.3g} off; its values spread {spread:.3g}")
