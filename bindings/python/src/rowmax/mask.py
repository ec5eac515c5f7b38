"""Masks as values: which query may see which key.

A mask is a set of rules that must all hold; ``a & b`` joins them, in any order. Nothing is expanded to a matrix: the
library finds the keys that each query sees from the rules, and skips the rest.

    >>> import rowmax
    >>> m = rowmax.mask.causal() & rowmax.mask.left_padding([3, 0])
    >>> m
    causal() & left_padding([3, 0])
    >>> m.materialise(batch=2, n_head=1, n_q=4, n_kv=4)[0, 0].astype(int)
    array([[0, 0, 0, 0],
           [0, 0, 0, 0],
           [0, 0, 0, 0],
           [0, 0, 0, 1]])

Positions. Key j has position j. Query i has position ``offset + i``; where no rule says otherwise the queries are the
last ones ("bottom_right": offset = n_kv - n_q, or kv_len - n_q for each batch entry when kv_len is given), which is
what generation with a cache needs. PyTorch's is_causal is "top_left" (offset 0). Both are the same where n_q = n_kv.

The whole, for a query at position p and key j::

    valid AND segments AND chunk AND bitmap AND blocks AND tree AND
        (prefix OR (j <= p + right AND (j >= p - left OR keep_first)))

A query that sees no key is legal: its result is 0.
"""

from __future__ import annotations

import sys
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np

from . import _core
from ._arrays import DTYPES, adopt, exportable, float_code, to_numpy

__all__ = [
    "Mask", "none", "causal", "window", "valid", "left_padding", "right_padding", "segments", "chunk", "prefix",
    "keep_first", "bitmap", "blocks", "tree", "positions", "Explanation", "FromAdditive", "FromKeep", "from_additive",
    "from_keep_mask",
]

Ints = Union[int, Sequence[int], np.ndarray, Any]
Offset = Union[None, str, int, Sequence[int], np.ndarray, Any]

_MAX_TERMS = 4  # segments, bitmaps and blocks in one mask
_ONCE = ("chunk", "prefix", "keep_first", "tree")


def _show(value: Any) -> str:
    if not isinstance(value, np.ndarray):
        return repr(value)
    if value.ndim == 1 and value.size <= 8:
        return repr(value.tolist())
    return f"<{'x'.join(map(str, value.shape))} {value.dtype.name}>"


class _Rule:
    """One condition: its name, its arguments as the user wrote them, and the data it was made from."""

    __slots__ = ("name", "shown", "data")

    def __init__(self, name: str, shown: Dict[str, Any], **data: Any) -> None:
        self.name = name
        self.shown = shown
        self.data = data

    def __repr__(self) -> str:
        words = [f"{key}={_show(v)}" if not key.startswith("_") else _show(v) for key, v in self.shown.items()]
        return f"{self.name}({', '.join(words)})"


def _frozen(x: np.ndarray) -> np.ndarray:
    x = np.array(x)  # a copy: a mask does not change with the array it was made from
    x.flags.writeable = False
    return x


def _per_entry(x: Ints, name: str) -> np.ndarray:
    """[1] or [batch] whole numbers."""
    array = to_numpy(x, name, "iu").astype(np.int64)
    if array.ndim > 1:
        raise ValueError(f"{name}: expected one number or one for each batch entry, found shape {array.shape}")
    return _frozen(array.reshape(-1))


def _spread(x: np.ndarray, batch: int, name: str) -> np.ndarray:
    if x.shape[0] not in (1, batch):
        raise ValueError(f"{name}: {x.shape[0]} entries for a batch of {batch}")
    return np.ascontiguousarray(np.broadcast_to(x, (batch,) + x.shape[1:]))


def _pack(bits: np.ndarray) -> np.ndarray:
    """[..., n] booleans as [..., ceil(n / 64)] words, lowest bit first."""
    packed = np.packbits(bits, axis=-1, bitorder="little")
    missing = -packed.shape[-1] % 8
    if missing:
        packed = np.concatenate([packed, np.zeros(packed.shape[:-1] + (missing,), np.uint8)], axis=-1)
    return np.ascontiguousarray(packed).view("<u8")


def _runs(bits: np.ndarray) -> Optional[np.ndarray]:
    """[batch, n] booleans as spans [batch, 2], if the ones of every row stand together."""
    n = bits.shape[-1]
    count = bits.sum(axis=-1)
    if n == 0:
        return np.zeros((bits.shape[0], 2), np.int64)
    first = np.where(count > 0, bits.argmax(axis=-1), 0)
    end = np.where(count > 0, n - bits[:, ::-1].argmax(axis=-1), 0)
    if not np.array_equal(end - first, count):
        return None
    return np.stack([first, end], axis=-1).astype(np.int64)


class Explanation(NamedTuple):
    """Why a pair is visible or hidden."""

    visible: bool
    hidden_by: Tuple[str, ...]  # names of the rules, all of them
    text: str


class Mask:
    """A set of rules; immutable. Made by the functions of this module and joined with ``&``."""

    __slots__ = ("_rules", "_offset")

    def __init__(self, rules: Tuple[_Rule, ...] = (), offset: Any = None) -> None:
        self._rules = rules
        self._offset = offset  # None, "top_left", "bottom_right", int64 [1 or batch], or ("positions", [.., n_q])

    def __and__(self, other: Any) -> "Mask":
        if not isinstance(other, Mask):
            return NotImplemented
        offset = self._offset
        if offset is None:
            offset = other._offset
        elif other._offset is not None and not _same_offset(offset, other._offset):
            raise ValueError(f"{self!r} and {other!r} place the queries differently")
        rules = self._rules + other._rules
        for name in _ONCE:
            if sum(rule.name == name for rule in rules) > 1:
                raise ValueError(f"{name} is given twice")
        for name in ("segments", "bitmap", "blocks"):
            if sum(rule.name == name for rule in rules) > _MAX_TERMS:
                raise ValueError(f"more than {_MAX_TERMS} {name} rules in one mask")
        return Mask(rules, offset)

    def __repr__(self) -> str:
        return " & ".join(map(repr, self._rules)) or "none()"

    def materialise(self, batch: int, n_head: int, n_q: int, n_kv: int, kv_len: Optional[Ints] = None) -> np.ndarray:
        """The mask as booleans [batch, n_head, n_q, n_kv], True where the query sees the key.

        >>> rowmax.mask.window(1, 0).materialise(1, 1, 3, 3)[0, 0].astype(int)
        array([[1, 0, 0],
               [1, 1, 0],
               [0, 1, 1]])
        """
        out = np.empty((batch, n_head, n_q, n_kv), np.uint8)
        self._lower(batch, n_head, 1, n_q, n_kv, kv_len).materialise(out)
        return out.view(np.bool_)

    def explain(self, b: int, h: int, i: int, j: int, *, n_q: int, n_kv: int, batch: Optional[int] = None,
                n_head: Optional[int] = None, kv_len: Optional[Ints] = None) -> "Explanation":
        """Which rules hide key j from query i of batch entry b, head h.

        >>> rowmax.mask.causal().explain(0, 0, 1, 3, n_q=4, n_kv=4).hidden_by
        ('right_bound',)
        """
        call = self._lower(b + 1 if batch is None else batch, h + 1 if n_head is None else n_head, 1, n_q, n_kv, kv_len)
        return Explanation(*call.explain(b, h, i, j))

    def kind(self, batch: int, n_head: int, n_q: int, n_kv: int, kv_len: Optional[Ints] = None) -> List[str]:
        """What the mask of each batch entry is: "full", "empty", "padding", "causal", "prefix", "sliding_window",
        "two_spans", "chunked", "documents" or "arbitrary"; found from what rows see, not from how the mask was made.

        >>> (rowmax.mask.causal() & rowmax.mask.window(None, 3)).kind(1, 1, 8, 8)
        ['causal']
        """
        call = self._lower(batch, n_head, 1, n_q, n_kv, kv_len)
        return [call.kind(b) for b in range(batch)]

    def to_additive(self, batch: int, n_head: int, n_q: int, n_kv: int, dtype: Any = "float32", fill: str = "-inf",
                    kv_len: Optional[Ints] = None) -> Any:
        """The mask as numbers to add, [batch, n_head, n_q, n_kv] of float16, float32 or float64: 0 where visible, else
        -inf, or with fill="min" the type's lowest finite number. A dtype of torch (bfloat16 too) gives a torch tensor.

        >>> rowmax.mask.causal().to_additive(1, 1, 2, 2)[0, 0]
        array([[  0., -inf],
               [  0.,   0.]], dtype=float32)
        """
        if fill not in ("-inf", "min"):
            raise ValueError(f"fill: expected '-inf' or 'min', found {fill!r}")
        torch = sys.modules.get("torch")
        name = str(dtype)[6:] if torch is not None and isinstance(dtype, torch.dtype) else None
        if name is None:
            if str(dtype) == "bfloat16":
                raise TypeError("to_additive: NumPy has no bfloat16; torch.bfloat16 as dtype gives a torch tensor")
            name = np.dtype(dtype).name
            torch = None
        if name not in ("float16", "bfloat16", "float32", "float64"):
            raise TypeError(f"to_additive: expected float16, bfloat16 (of torch), float32 or float64, found {name}")
        numbers = np.empty((batch, n_head, n_q, n_kv), np.uint16 if name == "bfloat16" else name)
        call = self._lower(batch, n_head, 1, n_q, n_kv, kv_len)
        _core.to_additive(call, DTYPES[name], fill == "min", numbers)
        if torch is None:
            return numbers
        return torch.from_numpy(numbers.view(np.int16) if name == "bfloat16" else numbers).view(dtype)

    def stats(self, batch: int, n_head: int, n_q: int, n_kv: int, kv_len: Optional[Ints] = None) -> Dict[str, int]:
        """What is left to compute: visible pairs, rows without keys, and tiles (one query by 64 keys) by kind."""
        return self._lower(batch, n_head, 1, n_q, n_kv, kv_len).stats()

    def _lower(self, batch: int, n_head: int, n_kv_head: int, n_q: int, n_kv: int,
               kv_len: Optional[Ints] = None) -> "_core.CallMask":
        """The mask of a call of these shapes."""
        low = _Lowering(batch, n_head, n_q, n_kv)
        length = np.full(batch, n_kv, np.int64)
        if kv_len is not None:
            length = _spread(_per_entry(kv_len, "kv_len"), batch, "kv_len")
            low.span("kv_len", np.zeros(1, np.int64), length)
        low.place(self._offset, length)
        for rule in self._rules:
            getattr(low, rule.name)(**rule.data)
        return _core.CallMask(batch, n_head, n_kv_head, n_q, n_kv, low.rules())


def _same_offset(a: Any, b: Any) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, str):
        return a == b
    if isinstance(a, tuple):
        return np.array_equal(a[1], b[1])
    return np.array_equal(a, b)


class _Lowering:
    """Rules brought into arrays of a call's shapes, as _core.CallMask reads them."""

    def __init__(self, batch: int, n_head: int, n_q: int, n_kv: int) -> None:
        self.batch, self.n_head, self.n_q, self.n_kv = batch, n_head, n_q, n_kv
        self.result: Dict[str, Any] = {"segments": [], "bitmaps": [], "blocks": []}
        self.begin: Optional[np.ndarray] = None
        self.end: Optional[np.ndarray] = None

    def rules(self) -> Dict[str, Any]:
        if self.begin is not None and self.end is not None:
            empty = self.begin >= self.end
            spans = np.stack(np.broadcast_arrays(np.where(empty, 0, self.begin), np.where(empty, 0, self.end)), axis=-1)
            self.result["valid"] = np.ascontiguousarray(spans)
        return self.result

    def place(self, offset: Any, length: np.ndarray) -> None:
        if isinstance(offset, tuple):
            array = offset[1]
            if array.shape[-1] != self.n_q:
                raise ValueError(f"positions: {array.shape[-1]} for {self.n_q} queries")
            self.result["positions"] = _spread(array, self.batch, "positions")
            q_pos = np.zeros(self.batch, np.int64)
        elif isinstance(offset, np.ndarray):
            q_pos = _spread(offset, self.batch, "offset")
        elif offset == "top_left":
            q_pos = np.zeros(self.batch, np.int64)
        else:
            q_pos = length - self.n_q
        self.result["q_pos"] = np.ascontiguousarray(q_pos)

    def span(self, name: str, begin: np.ndarray, end: np.ndarray) -> None:
        if np.any(begin < 0) or np.any(end > self.n_kv) or np.any(begin > end):
            raise ValueError(f"{name}: keys from {_show(begin)} to {_show(end)} are no spans within the {self.n_kv} keys")
        begin, end = _spread(begin, self.batch, name), _spread(end, self.batch, name)
        self.begin = begin if self.begin is None else np.maximum(self.begin, begin)
        self.end = end if self.end is None else np.minimum(self.end, end)

    def causal(self) -> None:
        self.window(None, 0)

    def positions(self) -> None:
        pass

    def window(self, left: Optional[int], right: Optional[int]) -> None:
        for side, bound in (("left", left), ("right", right)):
            if bound is not None:
                self.result[side] = min(bound, self.result.get(side, bound))

    def valid(self, begin: np.ndarray, end: np.ndarray) -> None:
        self.span("valid", begin, end)

    def left_padding(self, counts: np.ndarray) -> None:
        self.span("left_padding", counts, np.full(1, self.n_kv, np.int64))

    def right_padding(self, lengths: np.ndarray) -> None:
        self.span("right_padding", np.zeros(1, np.int64), lengths)

    def segments(self, q_ids: np.ndarray, k_ids: np.ndarray) -> None:
        if q_ids.shape[-1] != self.n_q or k_ids.shape[-1] != self.n_kv:
            raise ValueError(f"segments: {q_ids.shape[-1]} and {k_ids.shape[-1]} ids for {self.n_q} queries and "
                             f"{self.n_kv} keys")
        self.result["segments"].append((_spread(q_ids, self.batch, "segments"), _spread(k_ids, self.batch, "segments")))

    def chunk(self, size: int) -> None:
        self.result["chunk"] = size

    def prefix(self, ends: np.ndarray) -> None:
        self.result["prefix"] = _spread(ends, self.batch, "prefix")

    def keep_first(self, n: int) -> None:
        self.result["keep_first"] = n

    def tree(self, parents: np.ndarray, first_key: int) -> None:
        if parents.shape[-1] != self.n_q:
            raise ValueError(f"tree: {parents.shape[-1]} parents for {self.n_q} queries")
        self.result["tree"] = _spread(parents, self.batch, "tree")
        self.result["tree_first_key"] = first_key

    def bitmap(self, keep: np.ndarray) -> None:
        want = (self.batch, self.n_head, self.n_q, self.n_kv)
        if any(n not in (1, w) for n, w in zip(keep.shape, want)):
            raise ValueError(f"bitmap: shape {keep.shape} does not broadcast to [batch, head, n_q, n_kv] = {want}")
        if keep.shape[3] != self.n_kv:
            keep = np.broadcast_to(keep, keep.shape[:3] + (self.n_kv,))
        if keep.shape[1] == 1 and keep.shape[2] == 1:  # padding: spans let the library skip it
            spans = _runs(keep[:, 0, 0])
            if spans is not None:
                self.span("bitmap", spans[:, 0], spans[:, 1])
                return
        self.result["bitmaps"].append(_pack(keep))

    def blocks(self, keep: np.ndarray, q_block: int, k_block: int) -> None:
        want = (self.batch, self.n_head, -(-self.n_q // q_block), -(-self.n_kv // k_block))
        if any(n not in (1, w) for n, w in zip(keep.shape[:2], want)) or keep.shape[2:] != want[2:]:
            raise ValueError(f"blocks: shape {keep.shape} does not broadcast to [batch, head, q blocks, key blocks] = "
                             f"{want}")
        self.result["blocks"].append((_pack(keep), q_block, k_block))


def _one(name: str, shown: Dict[str, Any], **data: Any) -> Mask:
    return Mask((_Rule(name, shown, **data),))


def none() -> Mask:
    """Every query sees every key.

    >>> rowmax.mask.none() & rowmax.mask.causal()
    causal()
    """
    return Mask()


def causal(offset: Offset = None) -> Mask:
    """Keys up to the query's own position.

    offset: position of the first query: "bottom_right" (the default: the last query sees the last key), "top_left" (0,
    as torch's is_causal), a number, or one for each batch entry (the number of keys before the queries).

    >>> rowmax.mask.causal().materialise(1, 1, 2, 4)[0, 0].astype(int)
    array([[1, 1, 1, 0],
           [1, 1, 1, 1]])
    >>> rowmax.mask.causal("top_left").materialise(1, 1, 2, 4)[0, 0].astype(int)
    array([[1, 0, 0, 0],
           [1, 1, 0, 0]])
    """
    shown: Dict[str, Any] = {}
    if isinstance(offset, str):
        if offset not in ("top_left", "bottom_right"):
            raise ValueError(f"offset: expected 'top_left', 'bottom_right' or numbers, found {offset!r}")
        shown = {"_offset": offset}
    elif offset is not None:
        offset = _per_entry(offset, "offset")
        shown = {"offset": int(offset[0]) if offset.size == 1 else offset}
    return Mask((_Rule("causal", shown),), offset)


def window(left: Optional[int], right: Optional[int] = 0, *, negative: bool = False) -> Mask:
    """Keys from position p - left to p + right, both inclusive; None: unbounded.

    A causal window of w keys, the own one included, is window(w - 1). Negative bounds are refused, as -1 means unbounded
    elsewhere; negative=True takes them at their word (right=-1: keys before the own one alone).

    >>> rowmax.mask.window(1, 1).materialise(1, 1, 4, 4)[0, 0].astype(int)
    array([[1, 1, 0, 0],
           [1, 1, 1, 0],
           [0, 1, 1, 1],
           [0, 0, 1, 1]])
    """
    for side, bound in (("left", left), ("right", right)):
        if bound is not None and int(bound) < 0 and not negative:
            raise ValueError(f"window: {side} is {bound}; None means unbounded (not -1); negative=True allows it")
    left, right = (None if bound is None else int(bound) for bound in (left, right))
    return _one("window", {"left": left, "right": right}, left=left, right=right)


def valid(begin: Ints, end: Ints) -> Mask:
    """Keys [begin, end), one span or one for each batch entry. Nothing outside is ever read."""
    first, last = _per_entry(begin, "begin"), _per_entry(end, "end")
    return _one("valid", {"_begin": first, "_end": last}, begin=first, end=last)


def left_padding(counts: Ints) -> Mask:
    """The first counts[b] keys of batch entry b are padding.

    >>> rowmax.mask.left_padding([1, 0]).materialise(2, 1, 1, 3)[:, 0, 0].astype(int)
    array([[0, 1, 1],
           [1, 1, 1]])
    """
    array = _per_entry(counts, "counts")
    return _one("left_padding", {"_counts": array}, counts=array)


def right_padding(lengths: Ints) -> Mask:
    """Only the first lengths[b] keys of batch entry b are no padding. Positions do not move: see kv_len of
    rowmax.attention for caches that are longer than their contents.

    >>> rowmax.mask.right_padding([1, 3]).materialise(2, 1, 1, 3)[:, 0, 0].astype(int)
    array([[1, 0, 0],
           [1, 1, 1]])
    """
    array = _per_entry(lengths, "lengths")
    return _one("right_padding", {"_lengths": array}, lengths=array)


def _ids(x: Any, name: str) -> np.ndarray:
    array = to_numpy(x, name, "iu")
    if array.ndim not in (1, 2):
        raise ValueError(f"{name}: expected [n] or [batch, n], found shape {array.shape}")
    if array.size and (array.min() < -(2**31) or array.max() >= 2**31):
        raise ValueError(f"{name}: a number does not fit 32 bits")
    return _frozen(array.astype(np.int32).reshape(-1, array.shape[-1]))


def segments(q_ids: Any, k_ids: Any = None) -> Mask:
    """Packed documents: a query sees the keys of its own document. Ids [n] or [batch, n]; k_ids None: the same as q_ids.

    >>> rowmax.mask.segments([0, 0, 1]).materialise(1, 1, 3, 3)[0, 0].astype(int)
    array([[1, 1, 0],
           [1, 1, 0],
           [0, 0, 1]])
    """
    queries = _ids(q_ids, "q_ids")
    keys = queries if k_ids is None else _ids(k_ids, "k_ids")
    shown = {"_q_ids": queries[0] if len(queries) == 1 else queries}
    if k_ids is not None:
        shown["_k_ids"] = keys[0] if len(keys) == 1 else keys
    return _one("segments", shown, q_ids=queries, k_ids=keys)


def chunk(size: int) -> Mask:
    """Chunked (local) attention: query and key lie in the same run of `size` positions, counted from the first valid
    key.

    >>> (rowmax.mask.chunk(2) & rowmax.mask.causal()).materialise(1, 1, 4, 4)[0, 0].astype(int)
    array([[1, 0, 0, 0],
           [1, 1, 0, 0],
           [0, 0, 1, 0],
           [0, 0, 1, 1]])
    """
    if int(size) < 1:
        raise ValueError(f"chunk: size is {size}, expected 1 or more")
    return _one("chunk", {"_size": int(size)}, size=int(size))


def prefix(ends: Ints) -> Mask:
    """The first ends[b] keys are visible to every query, whatever causal() and window() say (prefix-LM).

    >>> (rowmax.mask.causal() & rowmax.mask.prefix(2)).materialise(1, 1, 3, 3)[0, 0].astype(int)
    array([[1, 1, 0],
           [1, 1, 0],
           [1, 1, 1]])
    """
    array = _per_entry(ends, "ends")
    return _one("prefix", {"_ends": int(array[0]) if array.size == 1 else array}, ends=array)


def keep_first(n: int) -> Mask:
    """The first n valid keys stay visible past the window (streaming "sinks"), never against causality.

    >>> (rowmax.mask.window(1) & rowmax.mask.keep_first(1)).materialise(1, 1, 4, 4)[0, 0].astype(int)
    array([[1, 0, 0, 0],
           [1, 1, 0, 0],
           [1, 1, 1, 0],
           [1, 0, 1, 1]])
    """
    if int(n) < 0:
        raise ValueError(f"keep_first: n is {n}, expected 0 or more")
    return _one("keep_first", {"_n": int(n)}, n=int(n))


def _booleans(x: Any, name: str) -> np.ndarray:
    array = to_numpy(x, name, "b")
    if array.ndim > 4 or array.ndim < 1:
        raise ValueError(f"{name}: expected 1 to 4 dimensions, found {array.ndim}")
    array = array.reshape((1,) * (4 - array.ndim) + array.shape)
    # What was broadcast before is taken once.
    return _frozen(array[tuple(slice(0, 1) if s == 0 and n > 1 else slice(None)
                               for s, n in zip(array.strides, array.shape))])


def bitmap(keep: Any) -> Mask:
    """Any mask: booleans that broadcast to [batch, head, n_q, n_kv], True where the query sees the key.

    >>> rowmax.mask.bitmap(np.eye(2, dtype=bool)).materialise(1, 1, 2, 2)[0, 0].astype(int)
    array([[1, 0],
           [0, 1]])
    """
    array = _booleans(keep, "bitmap")
    return _one("bitmap", {"_keep": array}, keep=array)


def blocks(keep: Any, q_block: int, k_block: int) -> Mask:
    """Block-sparse: one boolean for each q_block queries by k_block keys, broadcast over batch and heads.

    >>> rowmax.mask.blocks(np.eye(2, dtype=bool), 1, 2).materialise(1, 1, 2, 4)[0, 0].astype(int)
    array([[1, 1, 0, 0],
           [0, 0, 1, 1]])
    """
    if int(q_block) < 1 or int(k_block) < 1:
        raise ValueError(f"blocks: of {q_block} queries by {k_block} keys; expected 1 or more")
    array = _booleans(keep, "blocks")
    return _one("blocks", {"_keep": array, "q_block": int(q_block), "k_block": int(k_block)}, keep=array,
                q_block=int(q_block), k_block=int(k_block))


def tree(parents: Any, first_key: Optional[int] = None) -> Mask:
    """Candidates of speculative decoding: queries are nodes, parents[i] < i (or -1 for a root), [n_q] or [batch, n_q].
    The key of node i is first_key + i (default n_kv - n_q + i). A query sees all keys before first_key, itself and its
    ancestors.

    >>> rowmax.mask.tree([-1, 0, 0]).materialise(1, 1, 3, 4)[0, 0].astype(int)
    array([[1, 1, 0, 0],
           [1, 1, 1, 0],
           [1, 1, 0, 1]])
    """
    array = _ids(parents, "parents")
    first = -1 if first_key is None else int(first_key)
    return _one("tree", {"_parents": array[0] if len(array) == 1 else array}, parents=array, first_key=first)


def positions(array: Any) -> Mask:
    """Places the queries: position of each, [n_q] or [batch, n_q]. Hides nothing by itself.

    >>> (rowmax.mask.causal() & rowmax.mask.positions([2, 0])).materialise(1, 1, 2, 3)[0, 0].astype(int)
    array([[1, 1, 1],
           [1, 0, 0]])
    """
    numbers = to_numpy(array, "positions", "iu").astype(np.int64)
    if numbers.ndim not in (1, 2):
        raise ValueError(f"positions: expected [n_q] or [batch, n_q], found shape {numbers.shape}")
    numbers = _frozen(numbers.reshape(-1, numbers.shape[-1]))
    shown = {"_array": numbers[0] if len(numbers) == 1 else numbers}
    return Mask((_Rule("positions", shown),), ("positions", numbers))


class FromAdditive(NamedTuple):
    """What from_additive() found."""

    mask: Mask
    bias: Any  # the array itself where some visible pair has another number than 0, else None
    sentinel: str  # "none", "minus_infinity", "lowest_finite", "lowest_narrower", "minus_1e9", "minus_1e4", ... "mixed"
    value: float  # the number that hides most pairs
    text: str


def _recognised(found: List[Dict[str, Any]], shape: Tuple[int, ...]) -> Optional[Mask]:
    """One mask of spans for all batch entries, if that is what all matrices are."""
    first = found[0]
    same = all(one["kind"] != "arbitrary" and (one["left"], one["right"]) == (first["left"], first["right"])
               and one["q_pos"] == first["q_pos"] for one in found)
    if shape[1] != 1 or not same:
        return None
    mask = Mask()
    if first["left"] is not None or first["right"] is not None:
        left, right = first["left"], first["right"]
        mask = mask & causal(first["q_pos"]) if (left, right) == (None, 0) else mask & Mask(
            (_Rule("window", {"left": left, "right": right, "offset": first["q_pos"]}, left=left, right=right),),
            np.array([first["q_pos"]], np.int64))
    begins, ends = (np.array([one[name] for one in found]) for name in ("begin", "end"))
    if (begins > 0).any() or (ends < shape[3]).any():
        mask = mask & valid(begins, ends)
    return mask


def from_additive(array: Any, threshold: float = -9000.0) -> FromAdditive:
    """The mask in numbers that another framework adds to scores, [..., n_q, n_kv] (up to [batch, head, n_q, n_kv]).

    Hidden is -inf, and every number at or below `threshold`: masks of -1e9, -65504 or finfo.min hide here what they were
    meant to hide, also in rows of which nothing is left. Where visible pairs have numbers other than 0, pass the array as
    `bias` as well. RuntimeError for NaN and +inf.

    >>> found = rowmax.mask.from_additive(np.array([[0, -1e9], [0, 0]], np.float32))
    >>> found.mask, found.sentinel
    (causal(offset=0), 'minus_1e9')
    """
    values = adopt(array, "array")
    code = float_code(values, "array")
    if not 2 <= len(values.shape) <= 4:
        raise ValueError(f"from_additive: expected [..., n_q, n_kv] of 2 to 4 dimensions, found {tuple(values.shape)}")
    shape = (1,) * (4 - len(values.shape)) + tuple(values.shape)
    keep = np.empty(shape, np.uint8)
    if keep.size == 0:
        raise ValueError(f"from_additive: no numbers in {tuple(values.shape)}")
    found = _core.from_additive(exportable(values, code), code, float(threshold), keep)
    mask = _recognised(found, shape)
    hiding = [one for one in found if one["sentinel"] != "none"] or found[:1]
    names = {one["sentinel"] for one in hiding}
    text = hiding[0]["text"] if len(found) == 1 else f"{len(found)} matrices, the first that hides: {hiding[0]['text']}"
    return FromAdditive(bitmap(keep.view(np.bool_)) if mask is None else mask,
                        array if any(one["has_bias"] for one in found) else None,
                        names.pop() if len(names) == 1 else "mixed", hiding[0]["value"], text)


class FromKeep(NamedTuple):
    """What from_keep_mask() found."""

    mask: Mask
    sides: Tuple[str, ...]  # of each batch entry: "none", "left", "right", "both" or "holes"


def from_keep_mask(tokens: Any) -> FromKeep:
    """The padding mask of a tokenizer, [batch, n_kv] of booleans or integers (0 = padding). Where the tokens of each
    entry stand together, which is the rule, the mask is valid spans; padding then leaves no trace in the bits.

    >>> rowmax.mask.from_keep_mask(np.array([[0, 0, 1, 1], [1, 1, 1, 1]]))
    FromKeep(mask=valid([2, 0], [4, 4]), sides=('left', 'none'))
    """
    array = to_numpy(tokens, "tokens", "biu")
    if array.ndim != 2:
        raise ValueError(f"from_keep_mask: expected [batch, n_kv], found shape {array.shape}")
    keep = np.ascontiguousarray(array != 0)
    found = _core.from_keep_mask(keep.view(np.uint8))
    mask = valid([one[0] for one in found], [one[1] for one in found]) if found else none()
    sides = tuple(one[2] for one in found)
    if "holes" in sides:
        mask = mask & bitmap(keep[:, None, None, :])
    return FromKeep(mask, sides)
