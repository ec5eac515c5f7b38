"""What the suite asks for, in plain numpy: f32, row by row, over the visible keys alone, in their order. Slow; passes
everything. bite.py breaks it in one place at a time."""
import numpy as np

NAME = "numpy, row by row over the visible keys"
F = np.float32


class Attention:
    """The methods are the places where implementations go wrong."""

    def position(self, case, b, i):
        m = case.mask
        return int(m.q_pos[b] + i if m.positions is None else m.positions[b, i])

    def span(self, case, b):
        m = case.mask
        return (0, case.n_kv) if m.valid is None else (int(m.valid[b, 0]), int(m.valid[b, 1]))

    def chunk_origin(self, begin):
        return begin

    def keep_first_begin(self, begin):
        return begin

    def causal_limit(self, case, p):
        return p if case.mask.causal else None

    def left_edge(self, p, left):
        return p - left

    def right_edge(self, p, right):
        return p + right

    def in_reach(self, case, p, j, begin):
        m = case.mask
        reach = np.ones(len(j), bool)
        limit = self.causal_limit(case, p)
        if limit is not None:
            reach &= j <= limit
        if m.right is not None:
            reach &= j <= self.right_edge(p, m.right)
        if m.left is not None:
            first = self.keep_first_begin(begin)
            kept = (j >= first) & (j < first + (m.keep_first or 0))
            reach &= (j >= self.left_edge(p, m.left)) | kept
        return reach

    def prefix(self, case, b, j):
        return np.zeros(len(j), bool) if case.mask.prefix is None else j < case.mask.prefix[b]

    def bits(self, array, b, h, i):
        b, h, i = (0 if n == 1 else x for n, x in zip(array.shape, (b, h, i)))
        return array[b, h, i]

    def block_bits(self, case, b, h, i, j):
        m = case.mask
        return self.bits(m.blocks, b, h, i // m.q_block)[j // m.k_block]

    def tree(self, case, i, j):
        first, node, seen = case.n_kv - case.n_q, i, j < case.n_kv - case.n_q
        while node >= 0:
            seen = seen | (j == first + node)
            node = int(case.mask.tree[node])
        return seen

    def segments(self, case, b, i):
        return case.mask.q_segments[b, i] == case.mask.k_segments[b]

    def visible(self, case, b, h, i):
        m, j = case.mask, np.arange(case.n_kv)
        p, (begin, end) = self.position(case, b, i), self.span(case, b)
        keep = (j >= begin) & (j < end)
        if m.q_segments is not None:
            keep = keep & self.segments(case, b, i)
        if m.chunk:
            origin = self.chunk_origin(begin)
            keep = keep & ((j - origin) // m.chunk == (p - origin) // m.chunk)
        if m.bitmap is not None:
            keep = keep & self.bits(m.bitmap, b, h, i)
        if m.blocks is not None:
            keep = keep & self.block_bits(case, b, h, i, j)
        if m.tree is not None:
            keep = keep & self.tree(case, i, j)
        return self.joined(keep, self.in_reach(case, p, j, begin), self.prefix(case, b, j))

    def joined(self, keep, reach, prefix):
        return keep & (reach | prefix)

    def kv_head(self, case, h):
        return h // (case.n_head // case.n_kv_head)

    def alibi(self, case, h, p, j):
        return -(case.mask.alibi[h] * np.abs(p - j).astype(F))

    def relative(self, case, h, p, j):
        table = case.mask.relative[h]
        half = len(table) // 2
        return table[np.clip(j - p, -half, half) + half]

    def dense_bias(self, case, b, h, i):
        return np.broadcast_to(self.bits(case.mask.bias, b, h, i), (case.n_kv,))

    def bias(self, case, b, h, i):
        m, j, p = case.mask, np.arange(case.n_kv), self.position(case, b, i)
        terms = [] if m.bias is None else [self.dense_bias(case, b, h, i)]
        terms += [] if m.alibi is None else [self.alibi(case, h, p, j)]
        terms += [] if m.relative is None else [self.relative(case, h, p, j)]
        return sum(terms[1:], terms[0]) if terms else None

    def scale(self, case):
        return F(case.scale)

    def dot(self, q, k):
        total = np.zeros(len(k), F)
        for d in range(k.shape[1]):
            total = total + q[d] * k[:, d]
        return total

    def cap(self, s, softcap):
        return F(softcap) * np.tanh(s / F(softcap)) if softcap else s

    def scores(self, case, q, k, bias):
        s = self.cap(self.dot(q, k) * self.scale(case), case.softcap)
        return s if bias is None else s + bias

    def mask(self, s, k, v, keep):
        """Scores and values of what is left."""
        return s[keep], v[keep]

    def highest(self, s):
        return s.max()

    def empty(self, case, v, sink):
        return np.zeros(v.shape[1], F), -np.inf if sink is None else sink

    def total(self, weights):
        return np.add.accumulate(weights)[-1]

    def mix(self, weights, v):
        return np.add.accumulate(weights[:, None] * v, axis=0)[-1]

    def lse(self, highest, total):
        return highest + np.log(total)

    def sink(self, case, h):
        return None if case.sinks is None or case.sinks[h] == -np.inf else case.sinks[h]

    def finish(self, out, lse):
        return out, lse

    def row(self, case, b, h, i):
        kv = self.kv_head(case, h)
        k, v, bias = case.k[b, kv], case.v[b, kv], self.bias(case, b, h, i)
        keep, sink = self.visible(case, b, h, i), self.sink(case, h)
        if case.mask.bias is not None:
            keep = keep & ~np.isneginf(bias)
        s, values = self.mask(self.scores(case, case.q[b, h, i], k, bias), k, v, keep)
        if len(s) == 0:
            return self.empty(case, v, sink)
        highest = self.highest(s) if sink is None else np.maximum(self.highest(s), sink)
        weights = np.exp(s - highest)
        total = self.total(weights) + (0 if sink is None else np.exp(sink - highest))
        return self.finish(self.mix(weights, values) / total, self.lse(highest, total))

    def __call__(self, case):
        out, lse = np.zeros(case.out.shape, F), np.zeros(case.lse.shape, F)
        with np.errstate(all="ignore"):
            for b, h, i in np.ndindex(*lse.shape):
                out[b, h, i], lse[b, h, i] = self.row(case, b, h, i)
        return {"out": out, "lse": lse}


attention = Attention()
