import itertools
import os
import resource
import threading
import time
import tracemalloc

import numpy as np
import pytest
import reference
import rowmax
from reference import problem

TOLERANCE = {"float32": 2e-6, "float16": 2e-3}


def close(found, expected, tolerance=2e-6):
    assert np.abs(np.asarray(found, np.float64) - expected).max(initial=0) <= tolerance


def same_bits(a, b):
    assert a.shape == b.shape and a.dtype == b.dtype
    assert np.array_equal(np.ascontiguousarray(a).view(np.uint8), np.ascontiguousarray(b).view(np.uint8))


@pytest.mark.parametrize("n_q, n_kv", [(1, 1), (1, 130), (5, 7), (7, 5), (64, 64), (3, 0)])
@pytest.mark.parametrize("n_head, n_kv_head", [(4, 4), (4, 2), (3, 1)])
def test_agrees_with_fp64(n_q, n_kv, n_head, n_kv_head):
    q, k, v = problem(n_q=n_q, n_kv=n_kv, n_head=n_head, n_kv_head=n_kv_head)
    out, lse, status = rowmax.attention(q, k, v, return_lse=True, return_status=True)
    expected, expected_lse, _ = reference.attention(q, k, v)
    close(out, expected)
    assert out.dtype == np.float32 and lse.shape == status.shape == q.shape[:3]
    if n_kv:
        close(lse, expected_lse)
        assert (status == rowmax.RowStatus.OK).all()
    else:
        assert (out == 0).all() and (lse == -np.inf).all() and (status == rowmax.RowStatus.EMPTY).all()


def test_scale_softcap_and_bias():
    q, k, v = problem()
    bias = np.random.default_rng(1).standard_normal((1, 4, 5, 7)).astype(np.float32)
    bias[0, 1, 2] = -np.inf
    out = rowmax.attention(q, k, v, bias=bias, scale=0.7, softcap=2.5)
    close(out, reference.attention(q, k, v, bias=bias, scale=0.7, softcap=2.5)[0])
    assert (out[:, 1, 2] == 0).all()
    for shape in ((7,), (5, 1), (4, 1, 7), (2, 1, 1, 7)):
        part = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
        close(rowmax.attention(q, k, v, bias=part), reference.attention(q, k, v, bias=part)[0])


def test_sinks_alibi_and_relative_bias():
    q, k, v = problem()
    sinks = np.array([0.5, -2, 3, -np.inf])
    out, lse = rowmax.attention(q, k, v, sinks=sinks, return_lse=True)
    expected, expected_lse, _ = reference.attention(q, k, v, sinks=sinks)
    close(out, expected)
    close(lse, expected_lse)
    distance = np.arange(7) - (np.arange(5)[:, None] + 2)
    slopes = np.array([0.5, 0.25, 0.125, 1])
    alibi = -slopes[:, None, None] * np.abs(distance)
    close(rowmax.attention(q, k, v, alibi=slopes), reference.attention(q, k, v, bias=alibi)[0])
    table = np.random.default_rng(4).standard_normal((4, 6)).astype(np.float32)
    near = np.clip(distance, -3, 2) + 3
    close(rowmax.attention(q, k, v, relative_bias=(table, -3)), reference.attention(q, k, v, bias=table[:, near])[0])
    close(rowmax.attention(q, k, v, relative_bias=(table[0], -3)), reference.attention(q, k, v, bias=table[0][near])[0])
    with pytest.raises(ValueError, match="relative_bias"):
        rowmax.attention(q, k, v, relative_bias=(table[:3], -3))
    with pytest.raises(TypeError, match="relative_bias"):
        rowmax.attention(q, k, v, relative_bias=3)


def test_weights():
    q, k, v = problem()
    mask = rowmax.mask.causal() & rowmax.mask.left_padding([4, 0])
    keep = np.broadcast_to(mask.materialise(2, 4, 5, 7), (2, 4, 5, 7))
    out, weights = rowmax.attention(q, k, v, mask, return_weights=True)
    close(weights, reference.attention(q, k, v, keep)[2])
    assert (weights[~keep] == 0).all() and weights.dtype == np.float32
    same_bits(out, rowmax.attention(q, k, v, mask))
    parts = rowmax.attention(q.swapaxes(1, 2).copy().swapaxes(1, 2), k, v, mask, return_weights=True, return_lse=True,
                             return_status=True)
    assert [part.shape for part in parts] == [(2, 4, 5, 12), (2, 4, 5), (2, 4, 5, 7), (2, 4, 5)]
    same_bits(parts[2], weights)


def test_probe():
    q, k, v = problem()
    mask = rowmax.mask.causal() & rowmax.mask.left_padding([4, 0])
    rows = rowmax.probe(q, k, v, mask, rows=[(0, 1, 4), (1, 3, 0), (0, 0, 0)], scale=0.5)
    assert [(row["batch"], row["head"], row["query"]) for row in rows] == [(0, 0, 0), (0, 1, 4), (1, 3, 0)]
    keep = mask.materialise(2, 4, 5, 7)
    _, lse, weights = reference.attention(q, k, v, keep, scale=0.5)
    for row in rows:
        where = row["batch"], row["head"], row["query"]
        assert row["n_visible"] == keep[where].sum() and row["scale"] == 0.5
        assert np.allclose(row["first_weights"], weights[where], atol=1e-6)
        if row["n_visible"]:
            assert row["ok"] and abs(row["lse"] - lse[where]) < 1e-5 and abs(row["measured_scale"] - 0.5) < 1e-4
        else:
            assert row["status"] == rowmax.RowStatus.EMPTY and not row["ok"] and not row["failed"]
        assert "fail" not in row["gates"].values() and row["text"]
        assert row["gates"]["parity"] == "pass" and row["out_error"] <= row["out_bound"] < 1e-4
    # Layouts that need a call for each batch entry number their rows alike.
    again = rowmax.probe(np.ascontiguousarray(q.transpose(2, 1, 0, 3)).transpose(2, 1, 0, 3), k, v, mask,
                         rows=[(1, 3, 0)], scale=0.5)
    assert again[0]["first_weights"] == rows[2]["first_weights"] and again[0]["batch"] == 1
    with pytest.raises(ValueError, match="probe"):
        rowmax.probe(q, k, v, rows=[(0, 4, 0)])


def test_softmax():
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((2, 3, 70)).astype(np.float32) * 4
    keep = rng.random((3, 70)) < 0.5
    keep[1] = False
    bias = rng.standard_normal((2, 1, 70)).astype(np.float32)
    sinks = np.array([0.5, 1, -1], np.float32)
    weights, lse, status = rowmax.softmax(scores, keep, bias=bias, scale=0.7, sinks=sinks, return_lse=True,
                                          return_status=True)
    s = np.where(keep, scores.astype(np.float64) * np.float32(0.7) + bias, -np.inf)
    total = np.exp(s).sum(-1) + np.exp(sinks)
    close(weights, np.exp(s) / total[..., None])
    close(lse, np.log(total))
    assert (weights[:, 1] == 0).all() and (status[:, 1] == rowmax.RowStatus.EMPTY).all()
    q, k, v = problem()
    raw = np.einsum("bhid,bhjd->bhij", q, np.repeat(k, 2, axis=1)).astype(np.float32)
    close(rowmax.softmax(raw, scale=0.25), rowmax.attention(q, k, v, scale=0.25, return_weights=True)[1])
    assert rowmax.softmax(np.empty((0, 5), np.float32)).shape == (0, 5)
    assert rowmax.softmax(np.empty((4, 0), np.float32), return_lse=True)[1].tolist() == [-np.inf] * 4
    with pytest.raises(TypeError, match="float32"):
        rowmax.softmax(scores.astype(np.float64))


def test_empty_rows():
    q, k, v = problem()
    keep = np.ones((5, 7), bool)
    keep[3] = False
    for policy, expected in (("zero", 0), ("nan", np.nan), ("uniform", None)):
        out, lse, weights, status = rowmax.attention(q, k, v, keep, empty_rows=policy, return_lse=True,
                                                     return_weights=True, return_status=True)
        row = np.repeat(v.mean(axis=2), 2, axis=1) if policy == "uniform" else np.full(out[:, :, 3].shape, expected)
        assert np.allclose(out[:, :, 3], row, atol=1e-6, equal_nan=True)
        assert np.allclose(weights[:, :, 3], 1 / 7 if policy == "uniform" else expected, equal_nan=True)
        assert (lse[:, :, 3] == -np.inf).all() and (status[:, :, 3] == rowmax.RowStatus.EMPTY).all()
        close(np.delete(out, 3, axis=2), np.delete(reference.attention(q, k, v, keep)[0], 3, axis=2))


@pytest.mark.parametrize("arithmetic", ["auto", "f64"])
def test_f64(arithmetic):
    q, k, v = problem(n_q=20, n_kv=200, dtype=np.float64 if arithmetic == "auto" else np.float32)
    out = rowmax.attention(q, k, v, causal=True, arithmetic=arithmetic)
    keep = rowmax.mask.causal().materialise(1, 1, 20, 200)
    assert out.dtype == q.dtype
    close(out, reference.attention(q, k, v, keep)[0], 1e-14 if arithmetic == "auto" else 1e-7)


def test_f64_weights_and_empty_rows():
    q, k, v = problem(n_q=6, n_kv=600, dtype=np.float64)
    keep = np.broadcast_to(np.arange(6)[:, None] != 2, (6, 600))
    expected, _, expected_weights = reference.attention(q, k, v, keep)
    for policy in ("zero", "nan", "uniform"):
        out, weights = rowmax.attention(q, k, v, keep, empty_rows=policy, return_weights=True, check_weights=True)
        mean = np.repeat(v.mean(axis=2), 2, axis=1)
        empty = {"zero": 0 * mean, "nan": np.nan * mean, "uniform": mean}[policy]
        assert np.allclose(out[:, :, 2], empty, rtol=0, atol=1e-14, equal_nan=True)
        assert weights.dtype == np.float32
        want = np.float32({"zero": 0, "nan": np.nan, "uniform": 1 / 600}[policy])
        assert np.array_equal(weights[:, :, 2], np.full((2, 4, 600), want), equal_nan=True)
        close(np.delete(out, 2, axis=2), np.delete(expected, 2, axis=2), 1e-14)
        close(np.delete(weights, 2, axis=2), np.delete(expected_weights, 2, axis=2), 3e-8)


def test_check_bias():
    q, k, v = problem()
    bias = np.zeros((5, 7), np.float32)
    bias[2, 3] = np.nan
    with pytest.raises(RuntimeError, match="key 3"):
        rowmax.attention(q, k, v, bias=bias, check_bias=True)
    assert (rowmax.attention(q, k, v, bias=bias, return_status=True)[1][:, :, 2] == rowmax.RowStatus.NON_FINITE).all()


def test_causal_alignment():
    q, k, v = problem(n_q=3, n_kv=7)
    i, j = np.arange(3)[:, None], np.arange(7)
    bottom_right = reference.attention(q, k, v, j <= i + 4)[0]
    close(rowmax.attention(q, k, v, causal=True), bottom_right)
    close(rowmax.attention(q, k, v, causal="bottom_right"), bottom_right)
    close(rowmax.attention(q, k, v, causal="top_left"), reference.attention(q, k, v, j <= i)[0])
    with pytest.raises(ValueError, match="offset"):
        rowmax.attention(q, k, v, causal="left")


def test_window():
    q, k, v = problem(n_q=9, n_kv=9)
    i, j = np.arange(9)[:, None], np.arange(9)
    close(rowmax.attention(q, k, v, window=3), reference.attention(q, k, v, (j <= i) & (j > i - 3))[0])
    close(rowmax.attention(q, k, v, window=(2, 1)), reference.attention(q, k, v, (j <= i + 1) & (j >= i - 2))[0])
    close(rowmax.attention(q, k, v, window=(None, 1)), reference.attention(q, k, v, j <= i + 1)[0])
    close(rowmax.attention(q, k, v, causal=True, window=(2, 4)), reference.attention(q, k, v, (j <= i) & (j >= i - 2))[0])
    for wrong in (0, -1, (-1, 0), (3, -1)):
        with pytest.raises(ValueError, match="window"):
            rowmax.attention(q, k, v, window=wrong)


def test_kv_len_places_queries_at_the_end_of_what_exists():
    q, k, v = problem(n_q=2, n_kv=9)
    k[0, :, 5:] = v[0, :, 5:] = np.nan  # a cache longer than its contents
    keep = np.zeros((2, 1, 2, 9), bool)
    keep[0, 0, 0, :4] = keep[0, 0, 1, :5] = True
    keep[1, 0, 0, :8] = keep[1, 0, 1, :9] = True
    clean = reference.attention(q, np.nan_to_num(k), np.nan_to_num(v), keep)[0]
    close(rowmax.attention(q, k, v, causal=True, kv_len=[5, 9]), clean)
    close(rowmax.attention(q, k, v, causal=True, kv_len=np.array([5, 9], np.int32)), clean)
    with pytest.raises(ValueError, match="kv_len"):
        rowmax.attention(q, k, v, kv_len=10)
    with pytest.raises(ValueError, match="kv_len"):
        rowmax.attention(q, k, v, kv_len=[1, 2, 3])


@pytest.mark.parametrize("dims", [2, 3])
def test_without_batch_or_head(dims):
    q, k, v = (x[(0,) * (4 - dims)] for x in problem(n_head=4, n_kv_head=4))
    whole = rowmax.attention(*(x[(None,) * (4 - dims)] for x in (q, k, v)), causal=True, return_lse=True)
    out, lse = rowmax.attention(q, k, v, causal=True, return_lse=True)
    assert out.shape == (*q.shape[:-1], v.shape[-1]) and lse.shape == q.shape[:-1]
    same_bits(out, whole[0][(0,) * (4 - dims)])
    same_bits(lse, whole[1][(0,) * (4 - dims)])


def layouts(x):
    """The same numbers in different memory."""
    yield "head first", np.ascontiguousarray(x)
    yield "position first", np.ascontiguousarray(x.swapaxes(1, 2)).swapaxes(1, 2)
    yield "dimension first", np.ascontiguousarray(x.swapaxes(2, 3)).swapaxes(2, 3)
    yield "batch inside", np.ascontiguousarray(x.transpose(2, 1, 0, 3)).transpose(2, 1, 0, 3)
    wide = np.full((*x.shape[:3], 2 * x.shape[3] + 3), np.nan, x.dtype)
    wide[..., 1:-2:2] = x
    yield "every other", wide[..., 1:-2:2]
    yield "reversed", np.ascontiguousarray(x[::-1, ::-1, ::-1, ::-1])[::-1, ::-1, ::-1, ::-1]


@pytest.mark.parametrize("n_q", [1, 5])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_layouts_give_the_same_bits(dtype, n_q):
    q, k, v = problem(n_q=n_q, dtype=dtype)
    mask = rowmax.mask.causal() & rowmax.mask.left_padding([3, 0])
    expected = rowmax.attention(q, k, v, mask, return_lse=True, return_status=True)
    keep = mask.materialise(2, 4, n_q, 7)
    close(expected[0], reference.attention(q, k, v, keep)[0], TOLERANCE[dtype])
    for _, kk in layouts(k):
        for _, vv in layouts(v):
            same_bits(rowmax.attention(q, kk, vv, mask), expected[0])
    for _, qq in layouts(q):
        for found, want in zip(rowmax.attention(qq, k, v, mask, return_lse=True, return_status=True), expected):
            same_bits(found, want)


def test_position_first_stays_so():
    q, k, v = (np.ascontiguousarray(x.swapaxes(1, 2)).swapaxes(1, 2) for x in problem())
    out = rowmax.attention(q, k, v)
    assert out.swapaxes(1, 2).flags.c_contiguous


def test_nothing_is_copied():
    # 512 GiB of keys and values and 64 GiB of bias, all of them the same row in memory.
    q, k, v = problem(batch=1, n_head=1, n_kv_head=1, n_kv=1, n_q=2)
    many_k, many_v = (np.broadcast_to(x, (1, 1, 2**33, x.shape[-1])) for x in (k, v))
    bias = np.broadcast_to(np.float32([[0.5], [1]]), (2, 2**33))
    out = rowmax.attention(q, many_k, many_v, kv_len=100, bias=bias)
    close(out, np.broadcast_to(v, out.shape))


@pytest.mark.parametrize("foreign", [False, True], ids=["NumPy", "DLPack"])
def test_what_the_library_reads_is_what_was_given(foreign, monkeypatch):
    seen = []

    def attend(*arguments):
        seen.append(arguments)
        return core_attend(*arguments)

    core_attend = rowmax._core.attend
    monkeypatch.setattr(rowmax._core, "attend", attend)
    arrays = dict(zip("qkv", problem(dtype=np.float16)), bias=np.zeros((4, 5, 7), np.float16))
    arrays = {name: x.swapaxes(-1, -2).copy().swapaxes(-1, -2) for name, x in arrays.items()}
    given = {name: Foreign(x) if foreign else x for name, x in arrays.items()}
    results = rowmax.attention(**given, return_lse=True, return_weights=True, return_status=True)
    read = dict(zip(("q", "k", "v", "out"), seen[0]), bias=seen[0][11])
    for name, x in arrays.items():
        assert read[name].ctypes.data == x.ctypes.data and read[name].strides == x.strides, name
    assert read["out"].ctypes.data == results[0].ctypes.data
    for result, written in zip(results[1:], (seen[0][-6], seen[0][-5], seen[0][-4])):
        assert np.shares_memory(result, written)


def test_a_call_takes_no_memory_but_its_result():
    q, k, v = problem(batch=1, n_head=8, n_kv_head=8, n_q=700, n_kv=700, dim=512, v_dim=1)  # 11 MB each of q and k
    rowmax.attention(q, k, v, causal=True)  # the pool and its scratch memory
    tracemalloc.start()
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rowmax.attention(q, k, v, causal=True, sinks=np.zeros(8))
    python_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert python_bytes < 0.1 * q.nbytes
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident < 0.5 * q.nbytes / 1024


def test_read_only_inputs():
    arrays = problem()
    expected = rowmax.attention(*arrays)
    for x in arrays:
        x.flags.writeable = False
    same_bits(rowmax.attention(*arrays), expected)


def test_threads_and_isa_do_not_change_bits():
    q, k, v = problem(n_q=70, n_kv=700)
    expected = rowmax.attention(q, k, v, causal=True, threads=1)
    for isa in rowmax.supported_isas():
        for threads in (0, 1, 2, 3):
            same_bits(rowmax.attention(q, k, v, causal=True, backend=rowmax.cpu(threads, isa)), expected)


def test_batch_and_padding_do_not_change_bits():
    q, k, v = problem(batch=3, n_q=6, n_kv=80)
    mask = rowmax.mask.causal() & rowmax.mask.left_padding([7, 0, 66])
    batched = rowmax.attention(q, k, v, mask)
    for b, pad in enumerate((7, 0, 66)):
        alone = rowmax.attention(q[b, None], k[b, None, :, pad:], v[b, None, :, pad:], causal=True)
        same_bits(batched[b, None], alone)


def test_masked_nan_does_not_leak():
    q, k, v = problem()
    mask = rowmax.mask.bitmap(np.random.default_rng(3).random((2, 1, 1, 7)) < 0.5)
    expected = rowmax.attention(q, k, v, mask)
    hidden = ~mask.materialise(2, 1, 1, 7)[:, 0, 0]
    k.swapaxes(1, 2)[hidden] = np.nan
    v.swapaxes(1, 2)[hidden] = np.inf
    same_bits(rowmax.attention(q, k, v, mask), expected)


def test_visible_nan_is_reported():
    q, k, v = problem(batch=1)
    q[0, 1, 2, 0] = np.nan
    out, status = rowmax.attention(q, k, v, return_status=True)
    assert status[0, 1, 2] == rowmax.RowStatus.NON_FINITE and (status != 0).sum() == 1
    with pytest.raises(RuntimeError, match="head 1, query 2"):
        rowmax.attention(q, k, v, check_weights=True)
    assert np.isnan(out[0, 1, 2]).all() and np.isfinite(np.delete(out[0, 1], 2, axis=0)).all()


@pytest.mark.parametrize("shape", [(0, 4, 5), (2, 4, 0)])
def test_no_rows(shape):
    batch, n_head, n_q = shape
    q, k, v = problem(batch=batch, n_head=n_head, n_q=n_q)
    out, lse = rowmax.attention(q, k, v, causal=True, return_lse=True)
    assert out.shape == (*shape, 12) and lse.shape == shape


class Foreign:
    """An array of nobody in particular."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **kwargs):
        return self.array.__dlpack__(**kwargs)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def test_other_dlpack_arrays():
    arrays = problem()
    out = rowmax.attention(*(Foreign(x) for x in arrays))
    assert isinstance(out, np.ndarray)
    same_bits(out, rowmax.attention(*arrays))


def test_any_set_of_results():
    q, k, v = problem()
    names = ("return_lse", "return_weights", "return_status")
    everything = rowmax.attention(q, k, v, causal=True, **dict.fromkeys(names, True))
    for wanted in itertools.product((False, True), repeat=3):
        found = rowmax.attention(q, k, v, causal=True, **dict(zip(names, wanted)))
        found = found if any(wanted) else (found,)
        expected = [x for x, want in zip(everything, (True, *wanted)) if want]
        assert len(found) == len(expected)
        for a, b in zip(found, expected):
            same_bits(a, b)


def test_everything_at_once():
    """Masks joined with &, and every argument that adds something, in one call."""
    q, k, v = problem(n_q=6, n_kv=40)
    rng = np.random.default_rng(9)
    bits = rng.random((2, 4, 6, 40)) < 0.8
    bias = rng.standard_normal((4, 1, 40)).astype(np.float32)
    sinks, slopes = np.float32([0.5, -1, 2, 0]), np.float32([0.5, 0.25, 0.125, 0.0625])
    table = rng.standard_normal((4, 9)).astype(np.float32)
    mask = rowmax.mask.left_padding([5, 0]) & rowmax.mask.bitmap(bits) & rowmax.mask.keep_first(2)
    out, lse, weights, status = rowmax.attention(
        q, k, v, mask, bias=bias, scale=0.3, causal=True, window=12, kv_len=[31, 40], softcap=3.0, sinks=sinks,
        alibi=slopes, relative_bias=(table, -6), return_lse=True, return_weights=True, return_status=True)
    length, first = np.array([31, 40])[:, None, None, None], np.array([5, 0])[:, None, None, None]
    p, j = length - 6 + np.arange(6)[:, None], np.arange(40)
    keep = bits & (j >= first) & (j < length) & (j <= p) & ((j > p - 12) | (j < first + 2))
    added = bias - slopes[:, None, None] * np.abs(p - j)
    added = added + table[np.arange(4)[:, None, None], np.clip(j - p, -6, 2) + 6]
    expected = reference.attention(q, k, v, keep, bias=added, scale=0.3, softcap=3.0, sinks=sinks)
    for found, want in zip((out, lse, weights), expected):
        close(found, want, 4e-6)
    assert (status == np.where(keep.any(axis=-1), rowmax.RowStatus.OK, rowmax.RowStatus.EMPTY)).all()


def test_bfloat16_of_ml_dtypes():
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes (NumPy's bfloat16) is not installed")
    q, k, v = problem(dtype=ml_dtypes.bfloat16)
    out = rowmax.attention(q, k, v, causal=True)
    assert out.dtype == ml_dtypes.bfloat16
    keep = rowmax.mask.causal().materialise(1, 1, 5, 7)
    close(out, reference.attention(q, k, v, keep)[0], 2e-2)


def test_errors_name_the_argument():
    q, k, v = problem()
    cases = [
        (ValueError, "heads", (q, k, v[:, :1]), {}),
        (ValueError, "multiple", (q[:, :3], k, v), {}),
        (ValueError, "batch", (q[:1], k, v), {}),
        (ValueError, "head sizes", (q[..., :4], k, v), {}),
        (ValueError, "numbers of keys", (q, k, v[:, :, :3]), {}),
        (ValueError, "dimensions", (q[0], k, v), {}),
        (TypeError, "backend: expected rowmax.cpu", (q, k, v), {"backend": "cpu"}),
        (ValueError, "threads: the backend says", (q, k, v), {"backend": rowmax.cpu(), "threads": 2}),
        (RuntimeError, "threads", (q, k, v), {"threads": -1}),
        (ValueError, "bias", (q, k, v), {"bias": np.zeros((3, 7), np.float32)}),
        (ValueError, "bitmap", (q, k, v), {"mask": np.ones((5, 6), bool)}),
        (TypeError, "mask", (q, k, v), {"mask": np.zeros((5, 7), np.float32)}),
        (TypeError, "int64", (q.astype(np.int64), k, v), {}),
        (TypeError, "k and v", (q, k, v.astype(np.float16)), {}),
        (TypeError, "found list", (q.tolist(), k, v), {}),
        (TypeError, "byte order", (q.astype(">f4"), k, v), {}),
        (ValueError, "scale", (q, k, v), {"scale": float("inf")}),
        (ValueError, "softcap", (q, k, v), {"softcap": -1.0}),
        (ValueError, "arithmetic", (q, k, v), {"arithmetic": "f16"}),
        (ValueError, "empty_rows", (q, k, v), {"empty_rows": "one"}),
        (ValueError, "sinks", (q, k, v), {"sinks": np.zeros(3)}),
        (TypeError, "unexpected keyword", (q, k, v), {"is_causal": True}),
    ]
    for error, words, arrays, options in cases:
        with pytest.raises(error, match=words):
            rowmax.attention(*arrays, **options)


class Caller(threading.Thread):
    """Runs fn; finish() raises what fn raised, and fails instead of waiting for ever."""

    def __init__(self, fn):
        super().__init__(daemon=True)
        self.fn = fn
        self.error = None
        self.start()

    def run(self):
        try:
            self.fn()
        except BaseException as error:
            self.error = error

    def finish(self, seconds=60):
        self.join(seconds)
        if self.error is not None:
            raise self.error
        assert not self.is_alive(), f"not done after {seconds} seconds"


def test_the_interpreter_runs_on_during_a_call():
    q, k, v = problem(batch=1, n_head=1, n_kv_head=1, n_q=500, n_kv=3000, dim=64, v_dim=64)
    begin, end = [], []

    def work():
        begin.append(time.monotonic())
        rowmax.attention(q, k, v, backend=rowmax.cpu(threads=1, isa="scalar"))
        end.append(time.monotonic())

    caller = Caller(work)
    turns = []
    while caller.is_alive() and len(turns) < 60000:
        turns.append(time.monotonic())
        time.sleep(0.001)
    caller.finish()
    assert sum(begin[0] < turn < end[0] for turn in turns) >= 5


def test_many_callers():
    q, k, v = problem(n_q=40, n_kv=300)
    expected = rowmax.attention(q, k, v, causal=True)
    results = [None] * 8

    def work(n):
        for _ in range(10):
            results[n] = rowmax.attention(q, k, v, causal=True, threads=1 + n % 2)

    callers = [Caller(lambda n=n: work(n)) for n in range(8)]
    for caller in callers:
        caller.finish()
    for result in results:
        same_bits(result, expected)


def test_a_caller_that_raises_is_no_hang():
    q, k, v = problem()
    with pytest.raises(ValueError, match="empty_rows"):
        Caller(lambda: rowmax.attention(q, k, v, empty_rows="sse9")).finish()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_after_a_fork():
    q, k, v = problem(n_q=40, n_kv=300)
    expected = rowmax.attention(q, k, v, threads=2)
    child = os.fork()
    if child == 0:
        same = np.array_equal(rowmax.attention(q, k, v, threads=2), expected)
        os._exit(0 if same else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_backends_are_values():
    assert rowmax.cpu().isa in rowmax.supported_isas() and rowmax.supported_isas()[0] == "scalar"
    assert rowmax.cpu().threads == rowmax.get_num_threads() and rowmax.cpu().kind == "cpu"
    scalar = rowmax.cpu(threads=2, isa="scalar")
    assert (scalar.threads, scalar.isa) == (2, "scalar") and eval(repr(scalar)) == scalar
    assert scalar == rowmax.cpu(2, "scalar") and len({scalar, rowmax.cpu(2, "scalar")}) == 1
    assert scalar != rowmax.cpu(threads=3, isa="scalar") and scalar != "cpu"
    with pytest.raises(AttributeError):
        scalar.threads = 3
    with pytest.raises(ValueError, match="unknown instruction set 'mmx'; known"):
        rowmax.cpu(isa="mmx")
    with pytest.raises(TypeError, match="isa: expected the name of an instruction set, found int"):
        rowmax.cpu(isa=3)
    with pytest.raises(ValueError, match="kind: expected 'cpu', found 'gpu'"):
        rowmax.Backend("gpu", 1, "scalar")
    for isa in {"avx2", "avx512", "neon"} - set(rowmax.supported_isas()):
        with pytest.raises(NotImplementedError, match=f"'{isa}' is not supported by this CPU; supported: scalar"):
            rowmax.cpu(isa=isa)
    for wrong, error in ((-1, ValueError), (1025, ValueError), ("2", TypeError)):
        with pytest.raises(error, match="threads"):
            rowmax.cpu(threads=wrong)


def test_every_function_takes_a_backend(monkeypatch):
    q, k, v = problem()
    seen = []
    for name in ("attend", "softmax", "sdpa"):
        def spy(*arguments, call=getattr(rowmax._core, name)):
            seen.append([x for x in arguments if type(x) in (int, str) and x in (77, "scalar")])
            return call(*arguments)
        monkeypatch.setattr(rowmax._core, name, spy)
    scalar = rowmax.cpu(threads=77, isa="scalar")
    same_bits(rowmax.attention(q, k, v, backend=scalar), rowmax.attention(q, k, v))
    rowmax.probe(q, k, v, rows=[(0, 0, 0)], backend=scalar)
    same_bits(rowmax.softmax(q, backend=rowmax.cpu(2, "scalar")), rowmax.softmax(q))
    same_bits(rowmax.sdpa(q, k, v, enable_gqa=True, backend=scalar), rowmax.sdpa(q, k, v, enable_gqa=True))
    same_bits(rowmax.sdpa(q, k, v[..., ::-1], enable_gqa=True, backend=scalar, scale=np.float32(1)),  # not a plain call
              rowmax.sdpa(q, k, v[..., ::-1], enable_gqa=True, scale=np.float32(1)))
    assert seen == [[77, "scalar"], [], [77, "scalar"], ["scalar"], [], [77, "scalar"], [], [77, "scalar"],
                    [77, "scalar"], [], []]


def test_versions():
    assert rowmax.__version__.count(".") == 2 and rowmax.cpu_name()
