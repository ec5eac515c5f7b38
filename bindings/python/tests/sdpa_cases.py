"""Calls of scaled_dot_product_attention, as data: tools/make_sdpa_vectors.py runs PyTorch over them and stores what it
gives in sdpa_torch.npz; test_sdpa.py holds rowmax.sdpa against that."""

from typing import Any, Dict, Iterator, NamedTuple, Optional, Tuple

import numpy as np


class Case(NamedTuple):
    name: str
    shapes: Tuple[Tuple[int, ...], ...]  # query, key, value
    dtype: str = "float32"
    mask: Optional[Tuple[str, Tuple[int, ...], str]] = None  # kind, shape, dtype
    options: Dict[str, Any] = {}
    layout: str = "plain"

    def numbers(self):
        """query, key, value, mask: float64 or bool arrays of numbers that every dtype holds exactly."""
        arrays = [_numbers(shape, seed) for seed, shape in enumerate(self.shapes)]
        return (*arrays, None if self.mask is None else _mask(self.mask[0], self.mask[1]))


def _hash(shape: Tuple[int, ...], seed: int) -> np.ndarray:
    """Whole numbers of 0 to 65535."""
    with np.errstate(over="ignore"):
        x = (np.arange(int(np.prod(shape)), dtype=np.uint32) + np.uint32(7919 * seed + 1)) * np.uint32(2654435761)
        x = (x ^ (x >> np.uint32(15))) * np.uint32(2246822519)
    return (x >> np.uint32(16)).reshape(shape)


def _numbers(shape: Tuple[int, ...], seed: int) -> np.ndarray:
    """Multiples of 1/64 in [-2, 2)."""
    return (_hash(shape, seed) % 256 - 128.0) / 64


def _mask(kind: str, shape: Tuple[int, ...]) -> np.ndarray:
    keep = _hash(shape, 11) % 5 < 3
    if kind == "none visible":
        keep = np.zeros(shape, bool)
    elif kind.endswith("empty rows"):
        keep = np.broadcast_to(np.arange(shape[-2])[:, None] % 2 == 1, shape)
    elif kind == "padding":
        keep = np.broadcast_to(np.arange(shape[-1]) >= shape[-1] // 2, shape)
    if kind == "numbers":
        return _numbers(shape, 12)
    if kind.startswith("-inf"):
        return np.where(keep, _numbers(shape, 13), -np.inf)
    if kind == "-1e4":
        return np.where(keep, 0.0, -1e4)
    return keep.copy()


def arranged(x: np.ndarray, layout: str) -> np.ndarray:
    """The same numbers in different memory."""
    if layout == "heads inside" and x.ndim > 2:
        return np.ascontiguousarray(x.swapaxes(-2, -3)).swapaxes(-2, -3)
    if layout == "dimension first":
        return np.ascontiguousarray(x.swapaxes(-1, -2)).swapaxes(-1, -2)
    if layout == "every other":
        return np.stack([x, x + x.dtype.type(1)], axis=-1)[..., 0]
    return np.ascontiguousarray(x)


SIZES = [(3, 5), (5, 3), (1, 7), (4, 4), (7, 70)]  # n_q, n_kv
KINDS = [("random", "bool"), ("padding", "bool"), ("empty rows", "bool"), ("none visible", "bool"), ("numbers", "f"),
         ("-inf", "f"), ("-inf empty rows", "f"), ("-1e4", "f")]


def _four(n_q: int, n_kv: int, heads=(4, 4, 4), batch=2, d=8, v_d=6):
    return ((batch, heads[0], n_q, d), (batch, heads[1], n_kv, d), (batch, heads[2], n_kv, v_d))


def _grid() -> Iterator[Case]:
    for n_q, n_kv in SIZES:
        for dtype in ("float32", "float64", "float16", "bfloat16"):
            size = f"{n_q}x{n_kv} {dtype}"
            shapes = _four(n_q, n_kv)
            yield Case(f"{size} no mask", shapes, dtype)
            yield Case(f"{size} causal", shapes, dtype, options={"is_causal": True})
            for i, (kind, of) in enumerate(KINDS):
                if dtype == "float32" or (i + n_q) % 2 == 0:
                    yield Case(f"{size} {kind} {of}", shapes, dtype, (kind, (n_q, n_kv), dtype if of == "f" else of))
        yield Case(f"{n_q}x{n_kv} scale", _four(n_q, n_kv), options={"scale": -0.75})
    for dtype in ("float16", "bfloat16"):
        yield Case(f"{dtype}, mask of float32", _four(3, 5), dtype, ("-inf", (4, 3, 5), "float32"))


def _masks() -> Iterator[Case]:
    for kind, of in (("random", "bool"), ("-inf", "float32")):
        for shape in ((3, 5), (1, 5), (3, 1), (2, 1, 1, 5), (1, 4, 3, 5), (2, 1, 3, 1), (4, 3, 5), (2, 4, 3, 5), (1, 1)):
            yield Case(f"{kind} {of} of {shape}", _four(3, 5), mask=(kind, shape, of))
        for layout in ("heads inside", "dimension first", "every other"):
            yield Case(f"{kind} {of}, {layout}", _four(5, 3), mask=(kind, (2, 4, 5, 3), of), layout=layout)
        five = tuple((3, *shape) for shape in _four(3, 5))
        for shape in ((3, 5), (4, 3, 5), (2, 1, 3, 5), (3, 1, 1, 3, 5), (3, 2, 4, 3, 5), (1, 2, 1, 1, 5)):
            yield Case(f"5 dimensions, {kind} {of} of {shape}", five, mask=(kind, shape, of))
        three = tuple(shape[1:] for shape in _four(3, 5))
        for shape in ((3, 5), (1, 3, 5), (4, 3, 5), (4, 1, 5)):
            yield Case(f"3 dimensions, {kind} {of} of {shape}", three, mask=(kind, shape, of))
        yield Case(f"2 dimensions, {kind} {of}", tuple(shape[2:] for shape in _four(3, 5)), mask=(kind, (3, 5), of))


def _shapes() -> Iterator[Case]:
    for n_dim in (2, 3, 4):
        for n_q, n_kv in SIZES[:3]:
            shapes = tuple(shape[4 - n_dim:] for shape in _four(n_q, n_kv))
            yield Case(f"{n_dim} dimensions {n_q}x{n_kv}", shapes)
            yield Case(f"{n_dim} dimensions {n_q}x{n_kv} causal", shapes, options={"is_causal": True})
    five = tuple((3, *shape) for shape in _four(5, 3))
    yield Case("5 dimensions causal", five, options={"is_causal": True})
    for heads in ((4, 2, 2), (4, 1, 1), (6, 3, 2), (4, 2, 4), (4, 4, 4)):
        for n_q, n_kv in SIZES[:3]:
            shapes = _four(n_q, n_kv, heads)
            yield Case(f"heads {heads} {n_q}x{n_kv}", shapes, options={"enable_gqa": True})
            yield Case(f"heads {heads} {n_q}x{n_kv} causal", shapes, options={"enable_gqa": True, "is_causal": True})
            yield Case(f"heads {heads} {n_q}x{n_kv} masked", shapes, mask=("-inf", (heads[0], n_q, n_kv), "float32"),
                       options={"enable_gqa": True})
    yield Case("5 dimensions, grouped heads", tuple((2, *shape) for shape in _four(3, 5, (4, 2, 2))),
               options={"enable_gqa": True})
    for layout in ("heads inside", "dimension first", "every other"):
        for dtype in ("float32", "float16", "float64"):
            yield Case(f"{layout} {dtype}", _four(3, 5), dtype, options={"is_causal": True}, layout=layout)
    yield Case("one key and value for all heads", ((2, 4, 3, 8), (2, 1, 5, 8), (2, 1, 5, 6)))
    yield Case("one query for all heads", ((2, 1, 3, 8), (2, 4, 5, 8), (2, 4, 5, 6)))
    yield Case("one key for the batch", ((2, 4, 3, 8), (1, 4, 5, 8), (2, 4, 5, 6)))
    yield Case("keys without batch", ((2, 4, 3, 8), (4, 5, 8), (4, 5, 6)))
    yield Case("head size 1", ((2, 4, 3, 1), (2, 4, 5, 1), (2, 4, 5, 1)), options={"is_causal": True})


def _refused() -> Iterator[Case]:
    plain = _four(3, 5)
    yield Case("refused: mask and is_causal", plain, mask=("random", (3, 5), "bool"), options={"is_causal": True})
    yield Case("refused: heads differ", _four(3, 5, (4, 2, 2)))
    yield Case("refused: heads do not divide", _four(3, 5, (4, 3, 3)), options={"enable_gqa": True})
    yield Case("refused: mask of float16", plain, mask=("numbers", (3, 5), "float16"))
    yield Case("refused: mask of float64", plain, mask=("numbers", (3, 5), "float64"))
    yield Case("refused: mask of int32", plain, mask=("numbers", (3, 5), "int32"))
    yield Case("refused: mask of another shape", plain, mask=("random", (4, 5), "bool"))
    yield Case("refused: mask of too many entries", plain, mask=("random", (3, 1, 1, 5), "bool"))
    yield Case("refused: mask of more dimensions", plain, mask=("random", (2, 2, 4, 3, 5), "bool"))
    yield Case("refused: head sizes differ", ((2, 4, 3, 7), *plain[1:]))
    yield Case("refused: batches differ", ((3, 4, 3, 8), *plain[1:]))
    yield Case("refused: one dimension", ((8,), *plain[1:]))
    yield Case("refused: whole numbers", plain, "int32")


def cases() -> Iterator[Case]:
    for part in (_grid, _masks, _shapes, _refused):
        yield from part()
