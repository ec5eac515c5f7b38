import doctest

import numpy as np
import pytest
import rowmax
from rowmax import mask as m


def keep(mask, n_q=6, n_kv=6, batch=1, n_head=1, **options):
    return mask.materialise(batch, n_head, n_q, n_kv, **options)


I, J = np.arange(6)[:, None], np.arange(6)
BITS = np.random.default_rng(0).random((6, 6)) < 0.6
IDS = np.array([0, 0, 1, 1, 1, 2])
RULES = {
    "none": (m.none(), np.ones((6, 6), bool)),
    "causal": (m.causal(), J <= I),
    "causal_offset": (m.causal(2), J <= I + 2),
    "window": (m.window(2, 1), (J >= I - 2) & (J <= I + 1)),
    "window_open": (m.window(None, 1), J <= I + 1),
    "earlier": (m.window(None, -1, negative=True), J < I),
    "valid": (m.valid(1, 5), (J >= 1) & (J < 5) | (I < 0)),
    "left_padding": (m.left_padding(2), (J >= 2) | (I < 0)),
    "right_padding": (m.right_padding([4]), (J < 4) | (I < 0)),
    "segments": (m.segments(IDS), IDS[:, None] == IDS),
    "unordered_segments": (m.segments(IDS[::-1], IDS), IDS[::-1][:, None] == IDS),
    "chunk": (m.chunk(4), I // 4 == J // 4),
    "prefix": (m.prefix(3) & m.causal(), (J <= I) | (J < 3)),
    "keep_first": (m.keep_first(1) & m.window(1), (J <= I) & ((J >= I - 1) | (J < 1))),
    "bitmap": (m.bitmap(BITS), BITS),
    "blocks": (m.blocks(BITS[:3, :2], 2, 3), BITS[I // 2, J // 3]),
    "tree": (m.tree([-1, 0, 0, 1, -1, 4], 0), np.array([[1, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0], [1, 0, 1, 0, 0, 0],
                                                        [1, 1, 0, 1, 0, 0], [0, 0, 0, 0, 1, 0], [0, 0, 0, 0, 1, 1]], bool)),
    "positions": (m.positions([5, 3, 3, 0, 1, 2]) & m.causal(), J <= np.array([5, 3, 3, 0, 1, 2])[:, None]),
}


@pytest.mark.parametrize("name", RULES)
def test_each_rule(name):
    mask, expected = RULES[name]
    assert np.array_equal(keep(mask)[0, 0], np.broadcast_to(expected, (6, 6)))


@pytest.mark.parametrize("a", ["causal", "window", "left_padding", "segments", "bitmap", "valid"])
@pytest.mark.parametrize("b", ["right_padding", "segments", "bitmap", "window", "chunk", "blocks", "tree"])
def test_and(a, b):
    (mask_a, bits_a), (mask_b, bits_b) = RULES[a], RULES[b]
    if "chunk" in (a, b) and a in ("left_padding", "valid"):
        bits_b = (I - I.min() >= 0) & ((J - {"left_padding": 2, "valid": 1}[a]) // 4 == (I - {"left_padding": 2, "valid": 1}[a]) // 4)
    expected = np.broadcast_to(bits_a & bits_b, (6, 6))
    assert np.array_equal(keep(mask_a & mask_b)[0, 0], expected)
    assert np.array_equal(keep(mask_b & mask_a)[0, 0], expected)


def test_per_batch_and_head():
    bits = np.random.default_rng(1).random((2, 3, 4, 70)) < 0.5
    assert np.array_equal(keep(m.bitmap(bits), 4, 70, 2, 3), bits)
    for shape in ((2, 1, 4, 70), (1, 3, 1, 70), (4, 1), (3, 1, 1), (70,)):
        part = np.random.default_rng(2).random(shape) < 0.5
        assert np.array_equal(keep(m.bitmap(part), 4, 70, 2, 3), np.broadcast_to(part, (2, 3, 4, 70)))
    padded = keep(m.left_padding([1, 3]) & m.causal([0, 2]), 2, 4, 2)
    assert padded[0, 0].tolist() == [[False] * 4, [False, True, False, False]]
    assert padded[1, 0].tolist() == [[False] * 4, [False, False, False, True]]


def test_padding_bitmaps_become_spans():
    # A [batch, 1, 1, n_kv] mask without holes: padding, so its amount leaves no trace in the bits.
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((1, 2, n, 16)).astype(np.float32) for n in (3, 90, 90))
    mask = np.arange(90) >= 13
    alone = rowmax.attention(q, k[:, :, 13:], v[:, :, 13:])
    assert np.array_equal(rowmax.attention(q, k, v, mask[None, None, None]), alone)


def test_kv_len():
    assert keep(m.causal(), 2, 5, 2, kv_len=[3, 5])[:, 0].astype(int).tolist() == [
        [[1, 1, 0, 0, 0], [1, 1, 1, 0, 0]], [[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]]


def test_masks_are_values():
    ids = np.array([0, 0, 1])
    mask = m.segments(ids)
    before = keep(mask, 3, 3)
    ids[:] = 7
    ids[0] = 1
    assert np.array_equal(keep(mask, 3, 3), before)
    bits = BITS.copy()
    mask = m.bitmap(bits)
    bits[:] = True
    assert np.array_equal(keep(mask)[0, 0], BITS)
    base = m.causal()
    both = base & m.left_padding([1])
    assert repr(base) == "causal()" and repr(both) == "causal() & left_padding([1])"
    with pytest.raises(AttributeError):
        base.extra = 1


def test_repr():
    mask = m.causal("top_left") & m.window(3, None) & m.bitmap(BITS) & m.prefix(2) & m.segments(np.arange(20))
    assert repr(mask) == ("causal('top_left') & window(left=3, right=None) & bitmap(<1x1x6x6 bool>) & prefix(2) & "
                          "segments(<20 int32>)")
    assert repr(m.none()) == "none()"


def test_stats():
    counts = m.causal().stats(2, 3, 4, 4)
    assert counts["visible_pairs"] == 2 * 3 * 10 and counts["empty_rows"] == 0
    assert m.left_padding(4).stats(1, 1, 4, 4)["empty_rows"] == 4


def test_explain_and_kind():
    mask = m.causal() & m.left_padding([2, 0])
    why = mask.explain(0, 0, 1, 5, n_q=6, n_kv=6, batch=2)
    assert not why.visible and why.hidden_by == ("right_bound",) and "right_bound" in why.text
    assert mask.explain(1, 0, 3, 3, n_q=6, n_kv=6).visible
    both = (mask & m.segments(IDS)).explain(0, 0, 0, 3, n_q=6, n_kv=6, batch=2)
    assert set(both.hidden_by) == {"right_bound", "segments"}
    with pytest.raises(ValueError):
        mask.explain(0, 0, 9, 0, n_q=6, n_kv=6, batch=2)
    assert mask.kind(2, 1, 6, 6) == ["causal", "causal"] and m.none().kind(1, 1, 3, 3) == ["full"]
    assert m.bitmap(BITS).kind(1, 1, 6, 6) == ["arbitrary"] and m.window(2).kind(1, 1, 6, 6) == ["sliding_window"]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("fill", ["-inf", "min"])
@pytest.mark.parametrize("name", [name for name in RULES if name != "none"])
def test_additive_out_and_in(name, fill, dtype):
    mask = RULES[name][0]
    expected = keep(mask)
    numbers = mask.to_additive(1, 1, 6, 6, dtype, fill)
    hidden = -np.inf if fill == "-inf" else np.finfo(dtype).min
    assert numbers.dtype == dtype and np.array_equal(numbers, np.where(expected, 0, hidden))
    found = m.from_additive(numbers)
    assert np.array_equal(keep(found.mask), expected) and found.bias is None
    assert found.sentinel == ("minus_infinity" if fill == "-inf" else "lowest_finite")
    if name == "causal":
        assert repr(found.mask) == "causal(offset=0)" and "causal" in found.text


def test_additive_of_other_frameworks():
    rng = np.random.default_rng(3)
    bits = np.stack([J >= 3 + 0 * I, J >= 0 * I])[:, None] & (J <= I)  # causal, left padding, as a matrix for each entry
    found = m.from_additive(np.where(bits, 0, -1e9).astype(np.float32))
    assert found.sentinel == "minus_1e9" and found.value == -1e9
    assert np.array_equal(keep(found.mask, batch=2), bits)
    assert repr(found.mask) == "causal(offset=0) & valid([3, 0], [6, 6])"
    bias = np.where(BITS, rng.standard_normal((6, 6)), -65504).astype(np.float32)
    found = m.from_additive(bias)
    assert found.bias is bias and found.sentinel == "lowest_narrower" and np.array_equal(keep(found.mask)[0, 0], BITS)
    assert m.from_additive(np.zeros((6, 6), np.float32)).mask.kind(1, 1, 6, 6) == ["full"]
    with pytest.raises(RuntimeError, match="NaN"):
        m.from_additive(np.full((2, 2), np.nan))
    with pytest.raises(ValueError, match="dimensions"):
        m.from_additive(np.zeros(3))
    with pytest.raises(ValueError, match="threshold"):
        m.from_additive(np.zeros((2, 2)), threshold=1.0)


def test_keep_mask_of_a_tokenizer():
    tokens = np.array([[0, 0, 1, 1], [1, 1, 1, 0], [1, 1, 1, 1], [0, 1, 1, 0], [0, 0, 0, 0]])
    mask, sides = m.from_keep_mask(tokens)
    assert sides == ("left", "right", "none", "both", "right")
    assert repr(mask) == "valid([2, 0, 0, 1, 0], [4, 3, 4, 3, 0])"
    assert np.array_equal(keep(mask, 1, 4, 5)[:, 0, 0], tokens.astype(bool))
    holes = np.array([[1, 0, 1, 1], [0, 1, 1, 1]], bool)
    mask, sides = m.from_keep_mask(holes)
    assert sides == ("holes", "left") and np.array_equal(keep(mask, 1, 4, 2)[:, 0, 0], holes)
    with pytest.raises(ValueError, match="from_keep_mask"):
        m.from_keep_mask([1, 0])


def test_torch_bits():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    bits = torch.from_numpy(BITS)
    assert np.array_equal(keep(m.bitmap(bits))[0, 0], BITS)
    assert np.array_equal(keep(m.left_padding(torch.tensor([2])))[0, 0], keep(m.left_padding(2))[0, 0])


def test_errors():
    cases = [
        ("place the queries differently", lambda: m.causal(1) & m.causal("top_left")),
        ("chunk is given twice", lambda: m.chunk(2) & m.chunk(3)),
        ("more than 4 bitmap", lambda: m.bitmap(BITS) & m.bitmap(BITS) & m.bitmap(BITS) & m.bitmap(BITS) & m.bitmap(BITS)),
        ("not -1", lambda: m.window(-1, 0)),
        ("chunk", lambda: m.chunk(0)),
        ("keep_first", lambda: m.keep_first(-1)),
        ("offset", lambda: m.causal("middle")),
        ("left_padding", lambda: keep(m.left_padding(7))),
        ("left_padding", lambda: keep(m.left_padding([1, 2, 3]))),
        ("valid", lambda: keep(m.valid(4, 2))),
        ("segments", lambda: keep(m.segments([0, 1]))),
        ("bitmap", lambda: keep(m.bitmap(np.ones((5, 6), bool)))),
        ("positions", lambda: keep(m.positions([1, 2]))),
        ("blocks", lambda: m.blocks(BITS, 0, 1)),
    ]
    for words, make in cases:
        with pytest.raises(ValueError, match=words):
            make()
    for words, make in [("booleans", lambda: m.bitmap(np.ones((6, 6)))), ("integers", lambda: m.left_padding([0.5])),
                        ("&", lambda: m.causal() & True)]:
        with pytest.raises(TypeError, match=words):
            make()


@pytest.mark.parametrize("module", [rowmax, rowmax.mask, rowmax._attention])
def test_examples(module):
    result = doctest.testmod(module, extraglobs={"rowmax": rowmax, "np": np})
    assert result.attempted > 0 and result.failed == 0
