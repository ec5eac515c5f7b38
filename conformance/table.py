"""The table of cases: mask x corner. Each line says what it would catch; the numbers follow from builder.py."""
import numpy as np

import table_more
from builder import below, coin, make, uniform

INF, NAN = np.float32(np.inf), np.float32(np.nan)
FLOAT_MIN = np.float32(-3.4028234663852886e38)  # finfo(float32).min


def cycle_of_nine(n):
    """[n, n] bool: the pattern of PyTorch's test_fully_masked_out_rows: every fourth row empty, else i % 5 == j % 5."""
    i, j = np.arange(n)[:, None], np.arange(n)[None, :]
    return (i % 4 != 0) & (i % 5 == j % 5)


def empty_rows():
    g = "empty rows"
    rows = np.ones((3, 3), bool)
    rows[1] = False
    yield make("empty_middle_row", g, "a query without visible keys gives exactly 0 (not NaN, not the mean) and lse -inf; "
               "its neighbours are right", "pytorch #103963", h=2, nq=3, nk=3, bitmap=rows)
    yield make("empty_all_rows", g, "every query empty: all zeros", "pytorch #41508", h=2, nq=4, nk=5, bitmap=np.zeros((4, 5), bool))
    yield make("empty_first_rows", g, "rows of left-padding queries are 0; rows after them do not see the padding",
               "pytorch #103749", b=2, h=2, nq=9, nk=9, causal=True, valid=[(3, 9), (0, 9)])
    yield make("empty_batch_entry", g, "a batch entry of length 0 is all zeros and does not disturb the others",
               "FlashInfer #353", b=3, h=2, nq=4, nk=6, valid=[(0, 6), (0, 0), (0, 3)])
    yield make("empty_every_fourth", g, "empty rows scattered among sparse ones", "pytorch #131863", h=2, nq=20, nk=20,
               bitmap=cycle_of_nine(20))
    yield make("empty_one_head", g, "the mask of head 1 hides everything, head 0 is whole", h=2, nq=3, nk=4,
               bitmap=np.array([[[True]], [[False]]]) & np.ones((1, 3, 4), bool))
    yield make("empty_by_minus_inf_bias", g, "a row of -inf in an additive mask is an empty row", "pytorch #55056", h=2,
               nq=3, nk=5, bias=np.where(np.arange(3)[:, None] == 1, -INF, 0) + np.zeros((3, 5)))
    yield make("empty_many_tiles", g, "an empty row longer than any key tile", h=1, nq=3, nk=1100, dk=2, dtype="f16",
               bitmap=np.array([[True], [False], [True]]) & np.ones((3, 1100), bool))
    yield make("empty_with_huge_scores", g, "empty rows whose hidden scores are 1e30", nq=3, nk=4, dk=4, h=2,
               q=np.full((3, 4), 1e15), k=np.full((4, 4), 1e15), exact=True, bitmap=[[1, 0, 1, 0], [0, 0, 0, 0], [0, 1, 0, 0]])
    yield make("empty_with_nan_query", g, "a NaN query that sees no key: 0, not NaN", nq=3, nk=4, dk=4,
               q=np.array([[.5, .1, -.3, .2], [NAN, 1, 1, 1], [.4, -.2, .1, .6]]), bitmap=[[1, 1, 0, 0], [0, 0, 0, 0], [0, 1, 1, 1]])
    yield make("empty_gqa", g, "empty rows with grouped heads", h=4, hk=2, nq=4, nk=6, bitmap=coin("empty_gqa.m", (4, 4, 6), .3) & (np.arange(4) != 2)[None, :, None])
    yield make("empty_negative_offset", g, "queries before the first key (causal, more queries than keys): the first rows are empty",
               "FlashInfer #4452", h=2, nq=9, nk=5, causal=True, q_pos="end")


def causal():
    g = "causal"
    yield make("causal_1x1", g, "one token sees itself: out = v", h=2, nq=1, nk=1, causal=True)
    yield make("causal_square", g, "the plain triangle", h=2, nq=12, nk=12, causal=True)
    yield make("causal_top_left", g, "5 queries, 9 keys, aligned top left: query 0 sees key 0 alone", "pytorch #103082",
               h=2, nq=5, nk=9, causal=True)
    yield make("causal_bottom_right", g, "5 queries, 9 keys, aligned bottom right: the last query sees all",
               "pytorch #144858, onnxruntime #29020", h=2, nq=5, nk=9, causal=True, q_pos="end")
    yield make("causal_top_left_long_q", g, "more queries than keys, top left: late queries see all keys", "MLX #2967",
               h=2, nq=9, nk=5, causal=True)
    yield make("causal_decode", g, "one query at the end of a cache sees all of it; top-left alignment would show one key",
               "pytorch #144858", h=2, nq=1, nk=37, causal=True, q_pos="end")
    yield make("causal_decode_three", g, "three new tokens behind 30 old ones", h=2, nq=3, nk=33, causal=True, q_pos=30)
    yield make("causal_cache_with_room", g, "a cache of 64 slots, 37 filled: slots behind the length stay invisible",
               "JAX #23349", h=2, nq=1, nk=64, causal=True, q_pos=36, valid=(0, 37))
    yield make("causal_offset_per_entry", g, "every batch entry has its own number of past tokens", "ONNX #8068", b=4,
               h=2, nq=3, nk=20, causal=True, q_pos=[0, 5, 17, 9], valid=[(0, 3), (0, 8), (0, 20), (0, 12)])
    yield make("causal_positions", g, "explicit positions, the same for keys and queries", b=2, h=2, nq=4, nk=16,
               causal=True, positions=[[0, 3, 4, 15], [2, 2, 7, 8]])
    yield make("causal_positions_falling", g, "positions in any order", h=2, nq=5, nk=16, causal=True, positions=[[15, 0, 7, 3, 8]])
    yield make("causal_130", g, "a triangle across tile edges (64, 128)", nq=130, nk=130, dk=4, dtype="f16", causal=True)
    yield make("causal_bottom_right_65x129", g, "bottom right across tile edges", nq=65, nk=129, dk=4, dtype="f16", causal=True, q_pos="end")
    yield make("causal_513_last_rows", g, "the diagonal crosses key 512", h=1, nq=6, nk=516, dk=2, dtype="f16", causal=True, q_pos="end")
    yield make("strictly_causal", g, "earlier keys alone (right = -1): the first row is empty", h=2, nq=6, nk=6, right=-1)


def padding():
    g = "padding"
    why = "a batch of different lengths"
    yield make("right_padding", g, why + ", padded right", "JAX #23349", b=4, h=2, nq=7, nk=7, valid=[(0, 7), (0, 1), (0, 4), (0, 6)])
    yield make("left_padding", g, why + ", padded left", b=4, h=2, nq=7, nk=7, valid=[(0, 7), (6, 7), (3, 7), (1, 7)])
    yield make("both_padding", g, "padding on both sides", b=3, h=2, nq=7, nk=9, valid=[(2, 7), (4, 5), (0, 8)])
    yield make("right_padding_causal", g, "causal and right padding together", b=3, h=2, nq=7, nk=7, causal=True, valid=[(0, 7), (0, 2), (0, 5)])
    yield make("left_padding_causal", g, "causal and left padding together: the batch of every text generator; both masks must hold",
               "transformers #41966, pytorch #187801", b=3, h=2, nq=7, nk=7, causal=True, valid=[(0, 7), (5, 7), (2, 7)])
    yield make("both_padding_causal", g, "causal and padding on both sides", b=3, h=2, nq=9, nk=9, causal=True, valid=[(2, 7), (4, 5), (0, 9)])
    yield make("left_padding_decode", g, "one new token, left-padded cache", "transformers #22707", b=3, h=2, nq=1, nk=12, causal=True, q_pos="end", valid=[(0, 12), (11, 12), (5, 12)])
    yield make("right_padding_bottom_right", g, "bottom right of the padded length is not bottom right of each sequence: positions per entry",
               "ONNX #8068", b=3, h=2, nq=2, nk=10, causal=True, q_pos=[8, 1, 4], valid=[(0, 10), (0, 3), (0, 6)])
    edges = [1, 2, 63, 64, 65, 127, 128, 129]
    yield make("lengths_at_tile_edges", g, "lengths around 64 and 128", b=8, nq=2, nk=130, dk=2, dtype="f16", valid=[(0, n) for n in edges])
    yield make("left_padding_at_tile_edges", g, "left padding around 64 and 128", b=8, nq=2, nk=130, dk=2, dtype="f16", valid=[(n, 130) for n in edges])
    yield make("padding_with_holes", g, "a keep mask over keys with holes", b=2, h=2, nq=4, nk=9,
               bitmap=np.array([[1, 1, 0, 1, 1, 0, 0, 1, 0], [0, 0, 1, 0, 1, 1, 1, 1, 1]])[:, None, None, :])
    yield make("bos_only", g, "a prompt of one token among longer ones, left-padded", b=2, h=2, nq=6, nk=6, causal=True, valid=[(5, 6), (0, 6)])


def window():
    g = "window"
    # Values of one key outside are far away: one key too many moves every number.
    far = lambda name, n, d=4: uniform(name + ".v", (1, 1, n, d)) + 10 * (np.arange(n) % 3)[None, None, :, None]
    def case(name, why, issue="", n=12, **more):
        more = {"h": 2, "nq": n, "nk": n, "dk": 4, **more}
        return make(name, g, why, issue, v=far(name, more["nk"]), **more)
    yield case("window_3_keys", "p - 2 .. p, both inclusive: exactly 3 keys; exclusive edges see 2, an off-by-one sees 4",
               "transformers #39408, vllm #3385", causal=True, left=2)
    yield case("window_self_only", "left 0, right 0: every token sees itself", causal=True, left=0)
    yield case("window_symmetric", "two keys on each side", left=2, right=2)
    yield case("window_lookahead", "unbounded to the left, one key ahead", right=1)
    yield case("window_left_only", "bounded to the left, unbounded to the right", left=3)
    yield case("window_behind", "keys p - 4 .. p - 2: the own token is outside; first rows empty", left=4, right=-2)
    yield case("window_wider_than_all", "a window wider than the sequence is plain causal", causal=True, left=100)
    yield case("window_offset", "window and cache offset", causal=True, left=3, nq=3, nk=12, q_pos="end")
    yield case("window_left_padding", "window and left padding: rows whose window lies in the padding are empty",
               b=2, causal=True, left=2, valid=[(5, 12), (0, 12)])
    yield case("window_right_padding", "window and right padding: rows past the end see a shrinking rest, then nothing", b=2, causal=True, left=3, valid=[(0, 4), (0, 12)])
    yield case("window_symmetric_padding", "two-sided window and both paddings", b=2, left=2, right=1, valid=[(3, 9), (1, 12)])
    yield case("window_queries_past_keys", "queries far behind the last key see nothing", causal=True, left=2, nq=4, nk=6, q_pos=5)
    for width in (63, 64, 65):
        yield case(f"window_{width}_keys", "window as wide as a tile, or one off", "mistral-inference #60", causal=True,
                   left=width - 1, h=1, nq=8, nk=140, q_pos=132, dtype="f16")
    yield case("window_per_row_positions", "window around explicit positions", left=2, right=1, nq=4, positions=[[0, 11, 5, 6]])


def chunk_prefix_first():
    g = "chunk, prefix, keep-first"
    yield make("chunk_causal", g, "chunked attention: a token sees its own chunk up to itself", h=2, nq=11, nk=11, causal=True, chunk=4)
    yield make("chunk_bidirectional", g, "all of the own chunk", h=2, nq=11, nk=11, chunk=4)
    yield make("chunk_left_padding", g, "chunks count from the first real token, not from the padding", b=2, h=2, nq=11, nk=11, causal=True, chunk=4, valid=[(3, 11), (0, 11)])
    yield make("chunk_one", g, "chunks of one token", h=2, nq=5, nk=5, chunk=1)
    yield make("chunk_decode", g, "decode inside the third chunk", h=2, nq=2, nk=11, causal=True, chunk=4, q_pos="end")
    yield make("chunk_window", g, "chunk and window both hold", h=2, nq=11, nk=11, causal=True, chunk=5, left=1)
    yield make("chunk_queries_before_padding", g, "padding queries lie in chunks before the first: empty", h=2, nq=8, nk=8, chunk=3, valid=(4, 8))
    yield make("prefix_lm", g, "a bidirectional prompt, then causal; per batch entry", b=3, h=2, nq=9, nk=9, causal=True, prefix=[4, 0, 9])
    yield make("prefix_window", g, "the prefix stays visible past the window", h=2, nq=10, nk=10, causal=True, left=1, prefix=[3])
    yield make("prefix_left_padding", g, "padding inside the prefix stays invisible", b=2, h=2, nq=9, nk=9, causal=True, prefix=[5, 5], valid=[(2, 9), (0, 9)])
    yield make("prefix_decode", g, "a query behind the prefix", h=2, nq=2, nk=9, causal=True, q_pos="end", left=2, prefix=[2])
    yield make("keep_first", g, "streaming sinks: 2 first keys and a window of 3", h=2, nq=12, nk=12, causal=True, left=2, keep_first=2)
    yield make("keep_first_decode", g, "the same, one query far behind", nq=1, nk=200, h=2, dk=4, dtype="f16", causal=True, left=15, keep_first=4, q_pos="end")
    yield make("keep_first_left_padding", g, "the first keys are the first real ones", b=2, h=2, nq=12, nk=12, causal=True, left=2, keep_first=2, valid=[(4, 12), (0, 12)])
    yield make("keep_first_never_future", g, "keep-first does not show the future: row 0 sees key 0 alone", h=2, nq=6, nk=6, causal=True, left=0, keep_first=4)
    yield make("keep_first_more_than_keys", g, "more first keys than there are", h=2, nq=5, nk=5, causal=True, left=1, keep_first=50)


def packed():
    g = "packed documents"
    ids = [0, 0, 0, 1, 2, 2, 2, 2, 3, 3]
    yield make("documents_causal", g, "documents packed into one row do not see each other", "torch flex document mask", h=2, nq=10, nk=10, causal=True, q_segments=ids, k_segments=ids)
    yield make("documents_bidirectional", g, "encoder documents", h=2, nq=10, nk=10, q_segments=ids, k_segments=ids)
    yield make("documents_unordered", g, "ids in any order", h=2, nq=10, nk=10, q_segments=[3, 0, 1, 0, 2, 2, 1, 3, 0, 0], k_segments=[3, 0, 1, 0, 2, 2, 1, 3, 0, 0])
    yield make("documents_without_keys", g, "a query whose document has no key is empty", h=2, nq=5, nk=6, q_segments=[0, 1, 7, 2, 2], k_segments=[0, 0, 1, 2, 2, 2])
    yield make("documents_padded", g, "documents and right padding", b=2, h=2, nq=10, nk=10, causal=True, q_segments=[ids, ids[::-1]], k_segments=[ids, ids[::-1]], valid=[(0, 7), (0, 10)])
    yield make("documents_window", g, "documents and window", h=2, nq=10, nk=10, causal=True, left=1, q_segments=ids, k_segments=ids)
    long_ids = np.repeat(np.arange(5), [1, 70, 3, 64, 32])
    yield make("documents_long", g, "documents across tile edges", nq=170, nk=170, dk=2, dtype="f16", causal=True, q_segments=long_ids, k_segments=long_ids)
    yield make("cross_documents", g, "queries and keys of different lengths per document", h=2, nq=4, nk=9, q_segments=[0, 0, 1, 2], k_segments=[0, 0, 0, 0, 1, 1, 2, 2, 2])


def sparse():
    g = "tree, blocks, bitmaps"
    parents = [-1, 0, 0, 1, 1, 2, 5]
    yield make("tree_behind_cache", g, "speculation tree: all of the cache, then ancestors and self; siblings stay invisible",
               "flash-attention #1576", h=2, nq=7, nk=20, tree=parents)
    yield make("tree_alone", g, "a tree without a cache, with two roots", h=2, nq=6, nk=6, tree=[-1, -1, 0, 1, 2, 2])
    yield make("tree_deep", g, "a tree across a tile edge", h=1, nq=70, nk=130, dk=2, dtype="f16", tree=[i - 1 if i % 3 else max(-1, i - 5) for i in range(70)])
    blocks = [[1, 0, 1], [0, 0, 0], [0, 1, 1]]
    yield make("blocks_4x4", g, "block-sparse, one block row empty, ragged ends", "DeepSpeed-style layouts", h=2, nq=11, nk=10, blocks=blocks, q_block=4, k_block=4)
    yield make("blocks_causal", g, "blocks and causal both hold", h=2, nq=12, nk=12, causal=True, blocks=[[1, 0, 0], [1, 1, 0], [1, 0, 1]], q_block=4, k_block=4)
    yield make("blocks_64", g, "blocks as large as a tile", nq=8, nk=200, dk=2, dtype="f16", blocks=[[1, 0, 1, 1], [0, 1, 0, 1]], q_block=4, k_block=64)
    yield make("blocks_per_head", g, "another layout for every head", h=2, nq=8, nk=12, blocks=[[[1, 0, 1], [0, 1, 0]], [[0, 1, 1], [1, 1, 0]]], q_block=4, k_block=5)
    m = lambda name, shape, share=.5: coin(name + ".m", shape, share)
    yield make("bitmap_random", g, "any mask", h=2, nq=10, nk=13, bitmap=m("bitmap_random", (10, 13)))
    yield make("bitmap_per_head", g, "another mask for every head: head strides", "FlashInfer #1290", h=3, nq=6, nk=9, bitmap=m("bitmap_per_head", (3, 6, 9)))
    yield make("bitmap_per_batch", g, "another mask for every batch entry, the same for all heads", b=3, h=2, nq=6, nk=9, bitmap=m("bitmap_per_batch", (3, 1, 6, 9)))
    yield make("bitmap_full", g, "batch and head", b=2, h=2, nq=5, nk=7, bitmap=m("bitmap_full", (2, 2, 5, 7)))
    yield make("bitmap_row", g, "one row for all queries", h=2, nq=6, nk=9, bitmap=m("bitmap_row", (1, 9)))
    yield make("bitmap_one_key_each", g, "every query sees one key: out = that value, exactly", h=2, nq=9, nk=9, bitmap=np.eye(9, dtype=bool)[::-1])
    yield make("bitmap_last_key", g, "only the last key is visible", h=2, nq=3, nk=67, dk=4, bitmap=np.arange(67)[None] + np.zeros((3, 1)) == 66)
    yield make("bitmap_checkerboard", g, "dilated attention", h=2, nq=10, nk=10, bitmap=(np.arange(10)[:, None] + np.arange(10)) % 2 == 0)
    yield make("bitmap_1_percent", g, "few keys of many", nq=6, nk=700, dk=2, dtype="f16", bitmap=m("bitmap_1_percent", (6, 700), .01))
    yield make("bitmap_causal_padding", g, "bitmap, causal and padding all hold", b=2, h=2, nq=9, nk=9, causal=True, valid=[(2, 9), (0, 6)], bitmap=m("bitmap_causal_padding", (9, 9), .7))
    yield make("bitmap_gqa", g, "masks per query head with shared keys", h=4, hk=2, nq=5, nk=8, bitmap=m("bitmap_gqa", (4, 5, 8)))
    yield make("bitmap_long_rows", g, "130 keys, random", h=2, nq=5, nk=130, dk=2, dtype="f16", bitmap=m("bitmap_long_rows", (2, 5, 130)))


def exhaustive():
    g = "exhaustive"
    for nq in (1, 2, 3):
        for nk in (1, 2, 3):
            n = 2 ** (nq * nk)
            masks = (np.arange(n)[:, None] >> np.arange(nq * nk) & 1).astype(bool).reshape(n, 1, nq, nk)
            name = f"all_masks_{nq}x{nk}"
            data = {x: uniform(f"exhaustive.{x}", (1, 1, size, 2)) * 2 for x, size in (("q", nq), ("k", nk), ("v", nk))}
            yield make(name, g, f"every mask of {nq} queries and {nk} keys", b=n, nq=nq, nk=nk, dk=2, bitmap=masks, **data)
    masks = (np.arange(512)[:, None] >> np.arange(9) & 1).astype(bool).reshape(512, 1, 3, 3)
    data = {x: uniform(f"exhaustive.{x}", (1, 1, 3, 2)) * 2 for x in "qkv"}
    yield make("all_masks_3x3_additive", g, "the same, as -inf in an additive mask", b=512, nq=3, nk=3, dk=2, bias=np.where(masks, 0, -INF), **data)
    yield make("all_masks_3x3_huge", g, "the same with scores of +-1e30", b=512, nq=3, nk=3, dk=1, scale=1, bitmap=masks,
               q=[[1e15], [-1e15], [1e15]], k=[[1e15], [-5e14], [-1e15]], v=data["v"][..., :1])
    yield make("all_masks_3x3_and_causal", g, "the same and causal", b=512, nq=3, nk=3, dk=2, causal=True, bitmap=masks, **data)


def all_cases():
    for part in (empty_rows, causal, padding, window, chunk_prefix_first, packed, sparse, exhaustive, *table_more.PARTS):
        yield from part()
