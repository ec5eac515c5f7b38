"""What can be done wrong to a model file: verbs that faults.py's table is written in.

Each verb takes what it is to hit and returns a function of the Gguf that plants it. Nothing here depends on chance: noise
comes from a generator seeded by the tensor's name.
"""

import random
from array import array

from gguf_edit import ARRAY, BOOL, F32, I32, STRING, TYPES, U32


def all_of(*steps):
    def plant(g):
        for step in steps:
            step(g)
    return plant


# Metadata.
def set_key(key, value, kind=None):
    return lambda g: g.set(key, value, kind)


def drop_key(*keys):
    return all_of(*(lambda g, key=key: g.drop(key) for key in keys))


def rename_architecture(name):
    return lambda g: g.rename_architecture(name)


def drop_hadamard_keys(g):
    found = [k for k in g.keys if k.startswith("prism.hadamard.")]
    assert found
    for key in found:
        del g.keys[key]


# Whole tensors. `where` is a name, or a name without "blk.N." for all layers that have it.
def hit(g, where):
    found = [t for t in g.tensors if t.name == where] or g.layers(where)
    assert found, where
    return found


def each(where, change):
    """change(tensor) of each; several names with spaces between them."""
    def plant(g):
        for name in where.split():
            for tensor in hit(g, name):
                change(tensor)
    return plant


def swap(one, other):
    def plant(g):
        if one.startswith("blk."):
            return g.swap(one, other)
        for tensor in g.layers(one):
            layer = tensor.name.rsplit(one, 1)[0]
            g.swap(tensor.name, layer + other)
    return plant


def drop(where):
    return lambda g: g.drop_tensors([t.name for name in where.split() for t in hit(g, name)])


def swap_layers(one, other):
    """All tensors of two layers of one kind."""
    def plant(g):
        for name in [t.name for t in g.tensors if t.name.startswith(f"blk.{one}.")]:
            g.swap(name, name.replace(f"blk.{one}.", f"blk.{other}.", 1))
    return plant


def rotate_layers(g):
    """Layer i holds what belongs to layer i + 1, the last one the first's."""
    for i in range(int(g.get(".block_count")) - 1):
        swap_layers(i, i + 1)(g)


def set_type(where, kind):
    def change(tensor):
        tensor.type = kind
    return each(where, change)


# Numbers.
def scale(where, factor):
    def change(tensor):
        if tensor.type == TYPES["I2_S"]:
            tensor.scale = tensor.scale * factor
        else:
            tensor.map(lambda r, c, v: v * factor)
    return each(where, change)


def add(where, number):
    return each(where, lambda t: t.map(lambda r, c, v: v + number))


def fill(where, number):
    return each(where, lambda t: t.map(lambda r, c, v: number))


def zero(where, begin=0.0, end=1.0):
    """The bytes of that part of the tensor."""
    def change(tensor):
        n = len(tensor.data) - (32 if tensor.type == TYPES["I2_S"] else 0)
        a, b = int(n * begin), int(n * end)
        tensor.data = tensor.data[:a] + bytes(b - a) + tensor.data[b:]
    return each(where, change)


def noise(where, begin=0.0, end=1.0):
    """Random bytes in that part of the tensor."""
    def change(tensor):
        n = len(tensor.data) - (32 if tensor.type == TYPES["I2_S"] else 0)
        a, b = int(n * begin), int(n * end)
        tensor.data = tensor.data[:a] + random.Random(tensor.name).randbytes(b - a) + tensor.data[b:]
    return each(where, change)


def gaussian(where):
    """Numbers as an untrained matrix has them, as wide as those that were there."""
    def change(tensor):
        values, rng = tensor.values(), random.Random(tensor.name)
        width = (sum(v * v for v in values) / len(values)) ** 0.5
        tensor.set_values(array("f", (rng.gauss(0, width) for _ in values)))
    return each(where, change)


def shift_bytes(where, n):
    """The numbers begin n bytes late, as behind a wrong offset."""
    def change(tensor):
        tensor.data = tensor.data[n:] + tensor.data[:n]
    return each(where, change)


def poke(where, index, number):
    """One number of it; of Q8_0 the scale of one block."""
    import struct

    def change(tensor):
        form, size = {TYPES["F32"]: ("<f", 4), TYPES["F16"]: ("<e", 2), TYPES["Q8_0"]: ("<e", 34)}[tensor.type]
        tensor.data = tensor.data[:index * size] + struct.pack(form, number) + tensor.data[index * size + struct.calcsize(form):]
    return each(where, change)


# Orders.
def ordered(tensor, order, along):
    """new[i] = old[order[i]] along "rows" or "cols"; of a vector its numbers."""
    if len(tensor.shape) == 1 or along == "cols":
        cols, values = tensor.cols, tensor.values()
        assert len(order) == cols
        out = array("f")
        for at in range(0, len(values), cols):
            out.extend(values[at + i] for i in order)
        tensor.set_values(out)
    else:
        rows = tensor.row_list()
        assert len(order) == len(rows)
        tensor.set_rows([rows[i] for i in order])


def blocks(order, size):
    """The order of items where blocks of `size` of them change places."""
    return [size * block + i for block in order for i in range(size)]


def reorder(where, order, along="rows"):
    """order: a list, or a function of the length."""
    def change(tensor):
        n = tensor.cols if along == "cols" or len(tensor.shape) == 1 else tensor.rows
        ordered(tensor, order(n) if callable(order) else order, along)
    return each(where, change)


def reverse(n):
    return list(range(n))[::-1]


def transpose(where):
    """What the tensor's place holds is its transpose, row after row, under the old shape."""
    def change(tensor):
        cols, rows, values = tensor.cols, tensor.rows, tensor.values()
        tensor.set_values(array("f", (values[r * cols + c] for c in range(cols) for r in range(rows))))
    return each(where, change)


def to_adjacent(n, head):
    """Rows as converters to adjacent pairs leave them: 2 i + half from i + half * head / 2."""
    return [head * h + half * (head // 2) + i for h in range(n // head) for i in range(head // 2) for half in (0, 1)]


def to_halves(n, head):
    return [head * h + 2 * i + half for h in range(n // head) for half in (0, 1) for i in range(head // 2)]


def flat_gates(n, head):
    """q and gate of all heads, one after the other, where the file should have them head by head."""
    heads = n // (2 * head)
    return [2 * head * h + half * head + i for half in (0, 1) for h in range(heads) for i in range(head)]


def value_heads(order):
    """The value heads of delta nets in another order, everywhere that they show."""
    def plant(g):
        key, heads = g.get(".ssm.state_size"), g.get(".ssm.time_step_rank")
        width = g.get(".ssm.inner_size") // heads
        front = list(range(2 * key * g.get(".ssm.group_count")))
        by_row = blocks(order, width)
        channels = front + [len(front) + i for i in by_row]
        for name, list_, along in [("attn_qkv.weight", channels, "rows"), ("ssm_conv1d.weight", channels, "rows"),
                                   ("attn_gate.weight", by_row, "rows"), ("ssm_out.weight", by_row, "cols"),
                                   ("ssm_alpha.weight", order, "rows"), ("ssm_beta.weight", order, "rows"),
                                   ("ssm_a", order, "rows"), ("ssm_dt.bias", order, "rows")]:
            reorder(name, list_, along)(g)
    return plant


def experts(where, order):
    """Stacked experts in another order."""
    def change(tensor):
        rows = tensor.row_list()
        n = len(rows) // len(order)
        tensor.set_rows([row for e in order for row in rows[n * e:n * e + n]])
    return each(where, change)


# Ternary codes.
def all_ternary(change):
    """change(tensor) of each I2_S tensor."""
    def plant(g):
        found = [t for t in g.tensors if t.type == TYPES["I2_S"]]
        assert found
        for tensor in found:
            change(tensor)
    return plant


def quarters(tensor):
    tensor.set_codes(tensor.codes(), quarter=16)


def rows_of_four(tensor):
    tensor.set_codes_of_four_rows(tensor.codes())


def low_bits_first(tensor):
    """Each byte's four codes the other way round."""
    n = tensor.rows * tensor.cols // 4
    turned = bytes((b & 3) << 6 | (b >> 2 & 3) << 4 | (b >> 4 & 3) << 2 | b >> 6 for b in range(256))
    tensor.data = tensor.data[:n].translate(turned) + tensor.data[n:]


def codes_table(table):
    """Each code stands for another: table[code]."""
    def change(tensor):
        tensor.set_codes(bytearray(table[c] for c in tensor.codes()))
    return change


def scale_of(change):
    """change(scale) of a ternary tensor."""
    def plant(tensor):
        tensor.scale = change(tensor.scale)
    return plant


# Tokenizer and template.
def tokens(change):
    """change(list of the tokens' texts)."""
    return lambda g: g.set("tokenizer.ggml.tokens", (STRING, change(list(g.get("tokenizer.ggml.tokens")[1]))))


def merges(change):
    return lambda g: g.set("tokenizer.ggml.merges", (STRING, change(list(g.get("tokenizer.ggml.merges")[1]))))


def token_type(text, kind):
    """1 normal, 3 control."""
    def plant(g):
        at = g.get("tokenizer.ggml.tokens")[1].index(text.encode())
        kinds = list(g.get("tokenizer.ggml.token_type")[1])
        assert kinds[at] != kind
        kinds[at] = kind
        g.set("tokenizer.ggml.token_type", (I32, kinds))
    return plant


def replace_token(text, new):
    return tokens(lambda list_: [new.encode() if t == text.encode() else t for t in list_])


def template(text):
    return set_key("tokenizer.chat_template", text, STRING)


__all__ = [name for name in dir() if not name.startswith("_") and name != "random" and name != "array"] + ["array"]
