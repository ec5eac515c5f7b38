"""rowmax.attention and rowmax.sdpa."""

from __future__ import annotations

import enum
import math
import sys
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

import numpy as np

from . import _core
from . import mask as _mask
from ._arrays import (BF16, DTYPES, F16, F32, F64, adopt, causal_bias, dtype_name, empty_like_kind, expand, exportable,
                      float32_vector, float_code, host, is_torch, strides, swap)
from ._backend import Backend, resolve


class RowStatus(enum.IntEnum):
    """What became of a row (query and head)."""

    OK = 0
    EMPTY = 1  # no visible key
    NON_FINITE = 2  # NaN came in through q, a visible key or value, or the bias; the result is NaN
    OVERFLOW = 3  # a visible score or an output left the arithmetic's range


_EMPTY_ROWS = {"zero": 0, "nan": 1, "uniform": 2}
_OUT_TYPES = (F32, F16, BF16, F64)


def _check_shapes(q: Any, k: Any, v: Any) -> None:
    """Of [batch, head, n, dim] arrays."""
    shapes = f"q {tuple(q.shape)}, k {tuple(k.shape)}, v {tuple(v.shape)}"
    if k.shape[0] != q.shape[0] or v.shape[0] != q.shape[0]:
        raise ValueError(f"batch sizes differ: {shapes}")
    if k.shape[1] != v.shape[1]:
        raise ValueError(f"k and v have different numbers of heads: {shapes}")
    if k.shape[2] != v.shape[2]:
        raise ValueError(f"k and v have different numbers of keys: {shapes}")
    if q.shape[3] != k.shape[3]:
        raise ValueError(f"q and k have different head sizes: {shapes}")
    if q.shape[1] % k.shape[1] if k.shape[1] else q.shape[1]:
        raise ValueError(f"the query heads are no multiple of the key heads: {shapes}")


def _allocate(q: Any, columns: int, dtype: Optional[str] = None) -> Any:
    """[batch, head, n, columns], laid out in memory as q is: head or n first."""
    batch, n_head, n_q, _ = q.shape
    step = strides(q)
    if n_head > 1 and n_q > 1 and step[1] < step[2]:
        return swap(empty_like_kind(q, (batch, n_q, n_head, columns), dtype), 1, 2)
    return empty_like_kind(q, (batch, n_head, n_q, columns), dtype)


def _zero_column(x: Any) -> Any:
    """In place of an array without columns, of which the library computes nothing."""
    x = empty_like_kind(x, (*x.shape[:-1], 1))
    x[...] = 0
    return x


class _Options:
    """What a call may ask for besides q, k, v and the mask; checked."""

    def __init__(self) -> None:
        self.bias: Any = None
        self.check_bias = self.check_weights = False
        self.scale: Optional[float] = None
        self.softcap = 0.0
        self.sinks: Optional[np.ndarray] = None
        self.alibi: Optional[np.ndarray] = None
        self.table: Optional[np.ndarray] = None
        self.min_distance = 0
        self.empty_rows = "zero"
        self.arithmetic = "auto"
        self.threads, self.isa = resolve(None, None)
        self.kv_len: Any = None
        self.lse = self.weights = self.status = False
        self.rows: List[Tuple[int, int, int]] = []  # to be probed


def _run(q: Any, k: Any, v: Any, rules: _mask.Mask, options: _Options) -> Dict[str, Any]:
    """Arrays [batch, head, n, dim] in, the results by name out."""
    _check_shapes(q, k, v)
    q_code, k_code, v_code = float_code(q, "q"), float_code(k, "k"), float_code(v, "v")
    if k_code != v_code:
        raise TypeError(f"k and v have different element types: {dtype_name(k)} and {dtype_name(v)}")
    if q_code not in _OUT_TYPES:
        raise TypeError(f"q has elements of type {dtype_name(q)}; keys and values alone can have it")
    bias, bias_code = options.bias, F32
    if bias is not None:
        bias_code = float_code(bias, "bias")
        want = (*q.shape[:3], k.shape[2])
        shape = tuple(bias.shape)
        if len(shape) > 4 or any(n not in (1, w) for n, w in zip(reversed(shape), reversed(want))):
            raise ValueError(f"bias: shape {shape} does not broadcast to [batch, head, n_q, n_kv] = {tuple(want)}")
    if options.arithmetic not in ("auto", "f32", "f64"):
        raise ValueError(f"arithmetic: expected 'auto', 'f32' or 'f64', found {options.arithmetic!r}")
    if options.empty_rows not in _EMPTY_ROWS:
        raise ValueError(f"empty_rows: expected one of {', '.join(_EMPTY_ROWS)}, found {options.empty_rows!r}")
    f64 = options.arithmetic == "f64" or (options.arithmetic == "auto" and F64 in (q_code, k_code))
    batch, n_head, n_q, dim = q.shape
    n_kv_head, n_kv, v_dim = v.shape[1:]
    if dim == 0:  # every score is 0
        q, k = _zero_column(q), _zero_column(k)
    if v_dim == 0:
        v = _zero_column(v)
    call_mask = rules._lower(batch, n_head, n_kv_head, n_q, n_kv, options.kv_len)
    result = {"out": _allocate(q, v_dim or 1)}
    if options.lse:
        result["lse"] = _allocate(q, 1, "float32")
    if options.weights:
        result["weights"] = _allocate(q, n_kv, "float32")
    if options.status:
        result["status"] = _allocate(q, 1, "uint8")
    if batch * n_head * n_q > 0:
        scale = options.scale if options.scale is not None else 1 / math.sqrt(dim) if dim else 1.0
        report = _core.attend(
            exportable(q, q_code), exportable(k, k_code), exportable(v, v_code), exportable(result["out"], q_code),
            call_mask, q_code, k_code, q_code, f64, float(scale), float(options.softcap),
            None if bias is None else exportable(bias, bias_code), bias_code, options.check_bias, options.check_weights,
            options.alibi, options.table, options.min_distance, options.sinks, _EMPTY_ROWS[options.empty_rows],
            result.get("lse"), result.get("weights"), result.get("status"), options.threads, options.isa,
            options.rows)
        result["rows"] = report["rows"]
    if v_dim == 0:
        result["out"] = result["out"][..., :0]
    for name in ("lse", "status"):
        if name in result:
            result[name] = result[name][..., 0]
    return result


def _causal_rules(bias: Any, n_q: int, n_kv: int) -> _mask.Mask:
    """Of a CausalBias of torch, which says of itself what lengths it was made for."""
    if (bias.seq_len_q, bias.seq_len_kv) != (n_q, n_kv):
        raise RuntimeError(f"the CausalBias is for {bias.seq_len_q} queries and {bias.seq_len_kv} keys; the call has "
                           f"{n_q} and {n_kv}")
    return _mask.causal(causal_bias(bias))


def _rules_of(mask: Any, causal: Union[bool, str], window: Any, n_q: int, n_kv: int) -> _mask.Mask:
    if mask is None:
        rules = _mask.none()
    elif isinstance(mask, _mask.Mask):
        rules = mask
    elif causal_bias(mask) is not None:
        rules = _causal_rules(mask, n_q, n_kv)
    elif dtype_name(mask) in ("bool", "bool_") if hasattr(mask, "dtype") else False:
        rules = _mask.bitmap(mask)
    else:
        raise TypeError("mask: expected a rowmax.mask or an array of booleans (numbers that are added are `bias`)")
    if causal:
        rules = rules & _mask.causal(None if causal is True else causal)
    if window is not None:
        if isinstance(window, (int, np.integer)):
            if window < 1:
                raise ValueError(f"window: {window} keys; expected 1 or more, or (left, right)")
            rules = rules & _mask.window(int(window) - 1, 0)
        else:
            left, right = window
            rules = rules & _mask.window(left, right)
    return rules


def _relative(table: Any, n_head: int) -> Tuple[np.ndarray, int]:
    try:
        numbers, min_distance = table
    except (TypeError, ValueError):
        raise TypeError("relative_bias: expected (table, min_distance)") from None
    numbers = host(numbers, "relative_bias")
    numbers = np.atleast_2d(np.ascontiguousarray(numbers, dtype=np.float32))
    if numbers.ndim != 2 or numbers.shape[0] not in (1, n_head) or numbers.shape[1] == 0:
        raise ValueError(f"relative_bias: expected a table [distances] or [{n_head}, distances], found {numbers.shape}")
    return numbers, int(min_distance)


def _as_long(q: Any, k: Any) -> bool:
    """Whether there are as many queries as keys: then both corners that causal masks start from are one."""
    one, two = getattr(q, "shape", ()), getattr(k, "shape", ())
    return len(one) > 2 and len(two) > 2 and one[-2] == two[-2]


def attention(q: Any, k: Any, v: Any, mask: Any = None, *, bias: Any = None, scale: Optional[float] = None,
              causal: Union[bool, str] = False, window: Union[None, int, Tuple[Optional[int], Optional[int]]] = None,
              kv_len: Any = None, softcap: float = 0.0, sinks: Any = None, alibi: Any = None,
              relative_bias: Optional[Tuple[Any, int]] = None, empty_rows: str = "zero", arithmetic: str = "auto",
              threads: Optional[int] = None, backend: Optional[Backend] = None, check_bias: bool = False, check_weights: bool = False,
              return_lse: bool = False, return_weights: bool = False, return_status: bool = False) -> Any:
    """softmax(bias + softcap(scale * q kT), over the visible keys) v.

    q [batch, head, n_q, d], k [batch, kv_head, n_kv, d], v [batch, kv_head, n_kv, v_d]; without batch: [head, n, d];
    or [n, d]. NumPy arrays or torch tensors on the CPU (or other DLPack arrays, which give NumPy results) of float32,
    float16, bfloat16 or float64, with any strides; nothing is copied. kv_head divides head: query head h reads key head
    h // (head // kv_head).

    mask: a rowmax.mask, or booleans that broadcast to [batch, head, n_q, n_kv], True = visible.
    bias: numbers that broadcast to the same shape, added after scale and softcap; -inf hides. check_bias=True refuses
        NaN and +inf there.
    scale: default 1 / sqrt(d).
    causal: True or "bottom_right" (the last query sees the last key), or "top_left" (as torch's is_causal).
    window: w, the last w keys including the own one; or (left, right) around the own position, None = unbounded.
    kv_len: one number or [batch]: keys from there on do not exist (a cache longer than its contents). The queries are
        then the last of the existing keys: position kv_len - n_q + i. A right-padded prompt batch, where query i
        belongs to key i, is causal="top_left" or rowmax.mask.right_padding instead.
    softcap: score = softcap * tanh(score / softcap), before bias and mask; 0: none.
    sinks: [head], one more logit in each row's sum, without value.
    alibi: [head] slopes, -slope * |p - j| is added.
    relative_bias: (table, min_distance): table[..., clamp(j - p)] is added, [distances] or [head, distances].
    empty_rows: what a query without keys gives: "zero", "nan" or "uniform" (the mean of the valid values).
    arithmetic: "f32", "f64", or "auto": f64 where an input is f64. f64 is slow, and good as a reference.
    check_weights: look for non-finite weights after the softmax; RuntimeError names batch entry, head, query and key.
    threads: default rowmax.get_num_threads(); 0: all physical cores. Short for backend=rowmax.cpu(threads=...).
    backend: where the call runs, with the instruction set: rowmax.cpu(...); not together with threads. The result's bits
        do not depend on either. Calls of little work stay on the calling thread.

    Returns out [batch, head, n_q, v_d] of q's kind and type, or a tuple (out, lse, weights, status) of those asked for:
    lse [batch, head, n_q] f32, the natural log of the sum of exponentials; weights [batch, head, n_q, n_kv] f32,
    exactly 0 where hidden; status [batch, head, n_q] u8, see rowmax.RowStatus.

    Raises ValueError (shapes, values), TypeError (element types), NotImplementedError (what this version cannot do),
    RuntimeError; the sentence names the argument. For inference: gradients are not computed.

    >>> q = np.ones((1, 2, 3, 8), np.float32)  # 3 queries, 2 heads
    >>> k = v = np.ones((1, 1, 5, 8), np.float32)  # 5 keys, shared by both heads
    >>> rowmax.attention(q, k, v, causal=True).shape
    (1, 2, 3, 8)
    """
    where = resolve(backend, threads)
    # Plain calls take the short way of sdpa, with the same bits; what is not plain after all comes back as None.
    if (mask is None and bias is None and window is None and kv_len is None and softcap == 0 and sinks is None
            and alibi is None and relative_bias is None and empty_rows == "zero" and arithmetic == "auto"
            and not (check_bias or check_weights or return_lse or return_weights or return_status)):
        top_left = isinstance(causal, str) and causal == "top_left" or causal is True and _as_long(q, k)
        if causal is False or top_left:
            out = _core.sdpa(q, k, v, None, bool(top_left), scale, True, *where)
            if out is not None:
                return out
    options = _Options()
    options.empty_rows, options.arithmetic = empty_rows, arithmetic
    options.threads, options.isa = where
    options.check_bias, options.check_weights = check_bias, check_weights
    options.lse, options.weights, options.status = return_lse, return_weights, return_status
    result, front = _prepare_and_run(q, k, v, (mask, causal, window), options, bias=bias, scale=scale,
                                     kv_len=kv_len, softcap=softcap, sinks=sinks, alibi=alibi,
                                     relative_bias=relative_bias)
    parts: List[Any] = [result[name] for name in ("out", "lse", "weights", "status") if name in result]
    parts = [part[(0,) * front] for part in parts] if front else parts
    return parts[0] if len(parts) == 1 else tuple(parts)


def _prepare_and_run(q: Any, k: Any, v: Any, rules: Tuple[Any, Any, Any], options: _Options, *, bias: Any,
                     scale: Optional[float], kv_len: Any, softcap: float, sinks: Any, alibi: Any,
                     relative_bias: Any) -> Tuple[Dict[str, Any], int]:
    """The results by name, and how many dimensions were put in front."""
    q, k, v = adopt(q, "q"), adopt(k, "k"), adopt(v, "v")
    n_dim = len(q.shape)
    if not 2 <= n_dim <= 4 or len(k.shape) != n_dim or len(v.shape) != n_dim:
        raise ValueError(f"expected q, k and v of 2, 3 or 4 dimensions alike, found {n_dim}, {len(k.shape)} and "
                         f"{len(v.shape)}")
    if n_dim < 4:
        front = (None,) * (4 - n_dim)
        q, k, v = q[front], k[front], v[front]
    options.scale, options.softcap, options.kv_len = scale, softcap, kv_len
    options.bias = None if bias is None else adopt(bias, "bias")
    if sinks is not None:
        options.sinks = float32_vector(sinks, "sinks", q.shape[1])
    if alibi is not None:
        options.alibi = float32_vector(alibi, "alibi", q.shape[1])
    if relative_bias is not None:
        options.table, options.min_distance = _relative(relative_bias, q.shape[1])
    return _run(q, k, v, _rules_of(*rules, q.shape[2], k.shape[2]), options), 4 - n_dim


def probe(q: Any, k: Any, v: Any, mask: Any = None, *, rows: Sequence[Tuple[int, int, int]], bias: Any = None,
          scale: Optional[float] = None, causal: Union[bool, str] = False, window: Any = None, kv_len: Any = None,
          softcap: float = 0.0, sinks: Any = None, alibi: Any = None,
          relative_bias: Optional[Tuple[Any, int]] = None, threads: Optional[int] = None,
          backend: Optional[Backend] = None) -> List[Dict[str, Any]]:
    """What becomes of single rows between q kT and the result, for people who hunt wrong numbers: one dict for each of
    `rows` (batch entry, head, query), in ascending order, each row once. Other arguments are those of rowmax.attention,
    in f32 arithmetic.

    Of a row: the scale applied and the scale measured, the range of scores before and after the mask, n_visible,
    row_max, largest_exp, sum, weights_sum, lse, status, the largest difference from the row in fp64 and its bound, the
    first and last eight dot products, scores and weights; "gates" (scale_once, mask_applied, exp_in_range,
    weights_sum_to_one, parity: "pass", "fail" or "inconclusive"), "ok" (all passed), "failed" (one did not: what to
    look for in a scan, as an empty row has gates that are inconclusive) and "text".

    >>> x = np.ones((1, 1, 3, 8), np.float32)
    >>> row = rowmax.probe(x, x, x, rows=[(0, 0, 1)], causal=True)[0]
    >>> row["n_visible"], row["weights_sum"], row["ok"]
    (2, 1.0, True)
    """
    options = _Options()
    options.arithmetic = "f32"
    options.threads, options.isa = resolve(backend, threads)
    options.rows = [(int(b), int(h), int(i)) for b, h, i in rows]
    q = adopt(q, "q")
    shape = (1,) * (4 - len(q.shape)) + tuple(q.shape)
    for row in options.rows:
        if any(n < 0 or n >= size for n, size in zip(row, shape)):
            raise ValueError(f"probe: there is no row {row} in q {tuple(q.shape)}")
    result, _ = _prepare_and_run(q, k, v, (mask, causal, window), options, bias=bias, scale=scale,
                                 kv_len=kv_len, softcap=softcap, sinks=sinks, alibi=alibi, relative_bias=relative_bias)
    return result.get("rows", [])


def softmax(scores: Any, keep: Any = None, *, bias: Any = None, scale: float = 1.0, softcap: float = 0.0,
            sinks: Any = None, empty_rows: str = "zero", threads: Optional[int] = None, backend: Optional[Backend] = None,
            return_lse: bool = False, return_status: bool = False) -> Any:
    """Masked softmax over the last dimension of scores [..., n_key], float32, with attention's arithmetic: weights are
    exactly 0 where hidden, rows without visible keys are 0.

    keep: booleans that broadcast to the scores' shape, True = visible. bias: float32 numbers that do, added after scale
    and softcap; -inf hides. sinks: one more logit for each row, broadcast to [...]. Returns weights, or (weights, lse,
    status) with those asked for; arrays of the scores' kind. threads, backend: as in rowmax.attention.

    >>> rowmax.softmax(np.array([0, 0, 7], np.float32), np.array([True, True, False]))
    array([0.5, 0.5, 0. ], dtype=float32)
    """
    where = resolve(backend, threads)
    given = adopt(scores, "scores")
    if float_code(given, "scores") != F32 or not given.shape:
        raise TypeError(f"softmax: expected float32 scores of 1 or more dimensions, found {dtype_name(given)}")
    if empty_rows not in _EMPTY_ROWS:
        raise ValueError(f"empty_rows: expected one of {', '.join(_EMPTY_ROWS)}, found {empty_rows!r}")
    shape = tuple(given.shape)
    n_row, n_key = math.prod(shape[:-1]), shape[-1]
    flat = np.ascontiguousarray(given.numpy() if is_torch(given) else given).reshape(n_row, n_key)
    bits = biases = sink = None
    if keep is not None:
        visible = np.broadcast_to(_mask.to_numpy(keep, "keep", "b"), shape).reshape(n_row, n_key)
        bits = _mask._pack(visible)
    if bias is not None:
        biases = host(bias, "bias")
        if biases.dtype != np.float32:
            raise TypeError(f"bias has elements of type {biases.dtype.name}; expected float32")
        biases = np.ascontiguousarray(np.broadcast_to(biases, shape)).reshape(n_row, n_key)
    if sinks is not None:
        numbers = host(sinks, "sinks")
        sink = np.ascontiguousarray(np.broadcast_to(numbers.astype(np.float32), shape[:-1])).reshape(n_row)
    results = [np.empty((n_row, n_key), np.float32), np.empty(n_row, np.float32), np.empty(n_row, np.uint8)]
    if n_row and n_key:
        _core.softmax(flat, bits, biases, sink, float(scale), float(softcap), _EMPTY_ROWS[empty_rows], *results,
                      *where)
    else:
        results[1].fill(-np.inf)
        results[2].fill(RowStatus.EMPTY)
    results[0] = results[0].reshape(shape)
    results[1:] = [x.reshape(shape[:-1]) for x in results[1:]]
    wanted = [x for x, want in zip(results, (True, return_lse, return_status)) if want]
    if is_torch(given):
        wanted = [sys.modules["torch"].from_numpy(x) for x in wanted]
    return wanted[0] if len(wanted) == 1 else tuple(wanted)


def _broadcast(shapes: List[Tuple[int, ...]], what: str) -> Tuple[int, ...]:
    try:
        return tuple(np.broadcast_shapes(*shapes))
    except ValueError:
        raise RuntimeError(f"sdpa: the {what} dimensions do not broadcast: {', '.join(map(str, shapes))}") from None


def _heads(q: Any, k: Any, v: Any, enable_gqa: bool) -> Tuple[Any, Any, Any]:
    """q, k, v [..., head, n, d] with head counts as the library reads them: q's a multiple of k's, k's equal to v's."""
    n_q_head, n_k_head, n_v_head = (x.shape[-3] if len(x.shape) > 2 else 1 for x in (q, k, v))
    if enable_gqa:
        if any(n_q_head % n if n else n_q_head for n in (n_k_head, n_v_head)):
            raise RuntimeError("sdpa: Number of heads in key and value must divide the number of heads in query, but found "
                               f"{n_k_head}, {n_v_head} and {n_q_head}")
        n_head = n_q_head
    else:
        n_head = _broadcast([(n_q_head,), (n_k_head,), (n_v_head,)], "head")[0]
        if n_q_head != n_head:
            q = expand(q, (*q.shape[:-3], n_head, *q.shape[-2:]))
    if n_k_head == n_v_head and (enable_gqa or n_head == 0 or n_k_head in (1, n_head)):
        return q, k, v
    if enable_gqa and 1 not in (n_k_head, n_v_head):  # rare: spread both by hand
        index = np.arange(n_head)
        return q, k[..., index // (n_head // n_k_head), :, :], v[..., index // (n_head // n_v_head), :, :]
    common = max(n_k_head, n_v_head)
    k = expand(k, (*k.shape[:-3], common, *k.shape[-2:]))
    return q, k, expand(v, (*v.shape[:-3], common, *v.shape[-2:]))


def _four(x: Any, batch: Tuple[int, ...]) -> Any:
    """[..., head, n, d] as [batch, head, n, d], with the leading dimensions broadcast and made one."""
    x = expand(x, (*batch, *x.shape[-3:])) if tuple(x.shape[:-3]) != batch else x
    return x.reshape((math.prod(batch), *x.shape[-3:])) if len(batch) != 1 else x


def _check_sdpa(query: Any, key: Any, value: Any, attn_mask: Any) -> None:
    arrays = {"query": query, "key": key, "value": value}
    for name, x in arrays.items():
        if len(x.shape) < 2:
            raise RuntimeError("sdpa: Expected query, key, and value to all be  at least 2 dimensional, but found "
                               f"{name} of shape {tuple(x.shape)}")
    names = [dtype_name(x) for x in arrays.values()]
    if len(set(names)) != 1:
        raise RuntimeError("sdpa: Expected query, key, and value to have the same dtype, but found " + ", ".join(names))
    if names[0] not in DTYPES or DTYPES[names[0]] not in _OUT_TYPES:
        raise RuntimeError(f"sdpa: expected query, key and value of a floating point dtype, found {names[0]}")
    if key.shape[-2] != value.shape[-2] or query.shape[-1] != key.shape[-1]:
        raise RuntimeError(f"sdpa: query {tuple(query.shape)}, key {tuple(key.shape)} and value {tuple(value.shape)} "
                           "do not fit together: [..., n_q, d], [..., n_kv, d] and [..., n_kv, v_d] are expected")
    if attn_mask is None:
        return
    if len(attn_mask.shape) < 1:
        raise RuntimeError("sdpa: expected an attn_mask of at least 1 dimension")
    if dtype_name(attn_mask) not in ("bool", "float32", names[0]):
        raise RuntimeError("sdpa: Expected attn_mask dtype to be bool or float or to match query dtype, but found "
                           f"{dtype_name(attn_mask)} for query {names[0]}")


def _sdpa_mask(attn_mask: Any, batch: Tuple[int, ...], pairs: Tuple[int, ...]) -> Any:
    """attn_mask as something that broadcasts to [batch, head, n_q, n_kv]; pairs = (*batch, head, n_q, n_kv)."""
    shape = tuple(attn_mask.shape)
    extra = max(0, len(shape) - len(pairs))
    if any(n != 1 for n in shape[:extra]) or any(n not in (1, w) for n, w in zip(reversed(shape), reversed(pairs))):
        raise RuntimeError(f"sdpa: attn_mask of shape {shape} does not broadcast to {pairs}")
    mask = attn_mask[(0,) * extra] if extra else attn_mask
    if len(mask.shape) < 3:
        mask = mask[(None,) * (3 - len(mask.shape))]
    if len(mask.shape) > 3 and math.prod(mask.shape[:-3]) > 1:
        return _four(mask, batch)
    return mask[(0,) * (len(mask.shape) - 4)] if len(mask.shape) > 4 else mask


def sdpa(query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0, is_causal: bool = False, *,
         scale: Optional[float] = None, enable_gqa: bool = False, threads: Optional[int] = None,
         backend: Optional[Backend] = None) -> Any:
    """torch.nn.functional.scaled_dot_product_attention, for inference; on NumPy arrays as well.

    query [..., head, n_q, d], key [..., head, n_kv, d], value [..., head, n_kv, v_d]; leading dimensions (and head)
    broadcast. attn_mask: booleans (True = visible) or numbers that are added (of query's dtype or float32), broadcast
    to [..., head, n_q, n_kv]. is_causal is aligned top left: query i sees keys 0 to i, whatever n_q and n_kv are; not
    together with attn_mask. scale: default 1 / sqrt(d). enable_gqa: key and value may have fewer heads, which divide
    query's. A torch.nn.attention.bias.CausalBias is taken as the rule it stands for. threads, backend: as in
    rowmax.attention.

    A row without visible keys is 0, whether booleans or -inf in a float mask hide them. torch gives 0 there since 2.5,
    NaN before. Hidden keys and values are never used: NaN in them cannot reach a result; in torch it can. Finite
    sentinels in a float mask (-1e9, finfo.min) are ordinary numbers here, as they are in torch: a row of nothing else
    becomes a mean. rowmax.mask.from_additive reads them as what was meant.

    Sums are cut into tiles from key 0 under a matrix; so the last bits of a left-padded row can depend on its padding.
    They do not where the mask is [batch, 1, 1, n_kv] booleans, nor with rowmax.mask.left_padding in rowmax.attention.

    Errors are those of torch where torch has them (RuntimeError); dropout_p other than 0 is refused with ValueError.

    >>> x = np.ones((2, 4, 3, 8), np.float32)
    >>> rowmax.sdpa(x, x, x, is_causal=True).shape
    (2, 4, 3, 8)
    """
    if dropout_p != 0.0:
        raise ValueError(f"sdpa: dropout_p is {dropout_p}; rowmax is for inference, 0 is expected")
    n_threads, isa = resolve(backend, threads)
    out = _core.sdpa(query, key, value, attn_mask, is_causal, scale, enable_gqa, n_threads, isa)
    if out is not None:
        return out
    bias = None
    if causal_bias(attn_mask) is not None:
        if is_causal:
            raise ValueError("sdpa: CausalBias should not be used with causal=True")
        bias, attn_mask = attn_mask, None
    if attn_mask is not None and is_causal:
        raise RuntimeError("sdpa: Explicit attn_mask should not be set when is_causal=True")
    query, key, value = adopt(query, "query"), adopt(key, "key"), adopt(value, "value")
    attn_mask = None if attn_mask is None else adopt(attn_mask, "attn_mask")
    _check_sdpa(query, key, value, attn_mask)
    n_dim = max(len(x.shape) for x in (query, key, value))
    # Three dimensions are [batch, n, d] in torch's words, with every entry a head of its own here.
    query, key, value = (x[(None,) * (3 - len(x.shape))] if len(x.shape) < 3 else x for x in (query, key, value))
    query, key, value = _heads(query, key, value, enable_gqa)
    batch = _broadcast([tuple(x.shape[:-3]) for x in (query, key, value)], "batch")
    options = _Options()
    options.scale, options.threads, options.isa = scale, n_threads, isa
    rules = _mask.causal("top_left") if is_causal else _mask.none()
    if bias is not None:
        rules = _causal_rules(bias, query.shape[-2], key.shape[-2])
    if attn_mask is not None:
        mask = _sdpa_mask(attn_mask, batch, (*batch, query.shape[-3], query.shape[-2], key.shape[-2]))
        if dtype_name(mask) == "bool":
            rules = rules & _mask.bitmap(mask)
        else:
            options.bias = mask
    out = _run(_four(query, batch), _four(key, batch), _four(value, batch), rules, options)["out"]
    if len(batch) != 1:
        out = out.reshape((*batch, *out.shape[1:]))
    return out[0] if n_dim == 2 else out
