"""Reads a GGUF file whole, lets everything in it be changed, and writes it again. Standard library alone.

What is not changed comes out byte for byte as it was: Gguf.load(path).write(path) is the identity on files whose tensors
lie in the order of their list, as all writers here leave them.
"""

import struct
from array import array
from dataclasses import dataclass, field

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
SCALARS = {U8: "<B", I8: "<b", U16: "<H", I16: "<h", U32: "<I", I32: "<i", F32: "<f", BOOL: "<?", U64: "<Q", I64: "<q",
           F64: "<d"}
# Tensor types that faults are planted in: elements and bytes of a block.
TYPES = {"F32": 0, "F16": 1, "Q8_0": 8, "I2_S": 36, "Q2_0": 42}
BLOCKS = {0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 10: (256, 84),
          11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 30: (1, 2), 34: (256, 54), 35: (256, 66),
          42: (64, 18), 142: (128, 34), 143: (128, 28)}


@dataclass
class Tensor:
    name: str
    shape: list[int]  # fastest first
    type: int
    data: bytes

    @property
    def cols(self):
        return self.shape[0]

    @property
    def rows(self):
        """Of all experts together."""
        n = 1
        for size in self.shape[1:]:
            n *= size
        return n

    def row_list(self):
        """The rows as bytes; a type with one scale a tensor (I2_S) has no such thing."""
        size = len(self.data) // self.rows
        assert self.type != TYPES["I2_S"] and size * self.rows == len(self.data)
        return [self.data[i * size:(i + 1) * size] for i in range(self.rows)]

    def set_rows(self, rows):
        self.data = b"".join(rows)

    def values(self):
        """array('f'), row after row."""
        if self.type == TYPES["F32"]:
            return array("f", self.data)
        if self.type == TYPES["F16"]:
            return array("f", struct.unpack(f"<{len(self.data) // 2}e", self.data))
        assert self.type == TYPES["Q8_0"], self
        out = array("f")
        for at in range(0, len(self.data), 34):
            scale, *codes = struct.unpack_from("<e32b", self.data, at)
            out.extend(scale * code for code in codes)
        return out

    def set_values(self, values):
        if self.type == TYPES["F32"]:
            self.data = array("f", values).tobytes()
        elif self.type == TYPES["F16"]:
            self.data = struct.pack(f"<{len(values)}e", *values)
        else:
            assert self.type == TYPES["Q8_0"], self
            out = []
            for at in range(0, len(values), 32):
                block = values[at:at + 32]
                scale = max(map(abs, block)) / 127
                codes = [round(v / scale) if scale else 0 for v in block]
                out.append(struct.pack("<e32b", scale, *(max(-127, min(127, c)) for c in codes)))
            self.data = b"".join(out)

    def map(self, change):
        """change(row, column, value) of every number."""
        cols = self.cols
        self.set_values(array("f", (change(i // cols, i % cols, v) for i, v in enumerate(self.values()))))

    # I2_S, in the layout of 128: codes 0, 1, 2 for -1, 0, 1, and one scale behind them.
    def codes(self):
        assert self.type == TYPES["I2_S"]
        out = bytearray(self.rows * self.cols)
        for block in range(len(out) // 128):
            for p, byte in enumerate(self.data[32 * block:32 * block + 32]):
                at = 128 * block + p
                out[at], out[at + 32], out[at + 64], out[at + 96] = byte >> 6, byte >> 4 & 3, byte >> 2 & 3, byte & 3
        return out

    def set_codes(self, codes, quarter=32):
        """In blocks of 4 * quarter codes: 32 is the usual layout, 16 that of quantisers built for ARM."""
        out = bytearray(len(codes) // 4)
        for at in range(0, len(codes), 4 * quarter):
            for p in range(quarter):
                a, b, c, d = (codes[at + p + n * quarter] for n in range(4))
                out[at // 4 + p] = a << 6 | b << 4 | c << 2 | d
        self.data = bytes(out) + self.data[len(out):]

    def set_codes_of_four_rows(self, codes):
        """The third layout: byte c of a group holds column c of its four rows."""
        cols, out = self.cols, bytearray(len(codes) // 4)
        for group in range(self.rows // 4):
            for c in range(cols):
                a, b, d, e = (codes[(4 * group + n) * cols + c] for n in range(4))
                out[group * cols + c] = a << 6 | b << 4 | d << 2 | e
        self.data = bytes(out) + self.data[len(out):]

    @property
    def scale(self):
        return struct.unpack_from("<f", self.data, self.rows * self.cols // 4)[0]

    @scale.setter
    def scale(self, value):
        at = self.rows * self.cols // 4
        self.data = self.data[:at] + struct.pack("<f", value) + self.data[at + 4:]


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def number(self, form):
        value = struct.unpack_from(form, self.data, self.at)[0]
        self.at += struct.calcsize(form)
        return value

    def text(self):
        n = self.number("<Q")
        self.at += n
        return bytes(self.data[self.at - n:self.at])

    def value(self, kind):
        if kind == STRING:
            return self.text()
        if kind == ARRAY:
            element, n = self.number("<I"), self.number("<Q")
            return element, [self.value(element) for _ in range(n)]
        return self.number(SCALARS[kind])


def pack_text(data):
    return struct.pack("<Q", len(data)) + data


def pack_value(kind, value):
    if kind == STRING:
        return pack_text(value)
    if kind == ARRAY:
        element, values = value
        return struct.pack("<IQ", element, len(values)) + b"".join(pack_value(element, v) for v in values)
    return struct.pack(SCALARS[kind], value)


@dataclass
class Gguf:
    version: int = 3
    keys: dict = field(default_factory=dict)     # name -> (kind, value); texts are bytes, an array is (kind, list)
    tensors: list = field(default_factory=list)

    @staticmethod
    def load(path):
        with open(path, "rb") as file:
            data = file.read()
        reader = Reader(data)
        assert reader.data[:4] == b"GGUF"
        reader.at = 4
        version, n_tensor, n_key = reader.number("<I"), reader.number("<Q"), reader.number("<Q")
        out = Gguf(version)
        for _ in range(n_key):
            name, kind = reader.text().decode(), reader.number("<I")
            out.keys[name] = (kind, reader.value(kind))
        infos = []
        for _ in range(n_tensor):
            name = reader.text().decode()
            shape = [reader.number("<Q") for _ in range(reader.number("<I"))]
            infos.append((name, shape, reader.number("<I"), reader.number("<Q")))
        start = out.padded(reader.at)
        ends = sorted({info[3] for info in infos} | {len(data) - start})
        for name, shape, kind, offset in infos:
            room = ends[ends.index(offset) + 1] - offset
            out.tensors.append(Tensor(name, shape, kind, data[start + offset:start + offset + out.size_of(shape, kind, room)]))
        return out

    @property
    def alignment(self):
        return self.keys.get("general.alignment", (U32, 32))[1]

    def padded(self, n):
        return n + -n % self.alignment

    def size_of(self, shape, kind, room):
        n = 1
        for size in shape:
            n *= size
        if kind == TYPES["I2_S"]:
            return n // 4 + 32
        if kind not in BLOCKS:
            return room
        elements, size = BLOCKS[kind]
        if kind == TYPES["Q2_0"] and self.padded(n // 128 * 34) == room:
            elements, size = 128, 34
        return n // elements * size

    def bytes(self):
        infos, offset = [], 0
        for t in self.tensors:
            infos.append(pack_text(t.name.encode()) +
                         struct.pack(f"<I{len(t.shape)}QIQ", len(t.shape), *t.shape, t.type, offset))
            offset = self.padded(offset + len(t.data))
        head = b"GGUF" + struct.pack("<IQQ", self.version, len(self.tensors), len(self.keys))
        head += b"".join(pack_text(n.encode()) + struct.pack("<I", k) + pack_value(k, v) for n, (k, v) in self.keys.items())
        head += b"".join(infos)
        parts = [head, bytes(self.padded(len(head)) - len(head))]
        for t in self.tensors:
            parts += [t.data, bytes(self.padded(len(t.data)) - len(t.data))]
        return b"".join(parts)

    def write(self, path):
        with open(path, "wb") as file:
            file.write(self.bytes())

    # What faults are written in.
    @property
    def architecture(self):
        return self.keys["general.architecture"][1].decode()

    def full(self, key):
        """'.eps' is the architecture's key."""
        return self.architecture + key if key.startswith(".") else key

    def get(self, key):
        value = self.keys[self.full(key)][1]
        return value.decode() if isinstance(value, bytes) else value

    def set(self, key, value, kind=None):
        """The kind that the key has, or `kind` for one that is new."""
        name = self.full(key)
        kind = self.keys[name][0] if kind is None else kind
        self.keys[name] = (kind, value.encode() if isinstance(value, str) else value)

    def drop(self, key):
        del self.keys[self.full(key)]

    def tensor(self, name):
        return next(t for t in self.tensors if t.name == name)

    def has(self, name):
        return any(t.name == name for t in self.tensors)

    def layers(self, name):
        """The tensors of that name in all layers that have it, first layer first."""
        found = [t for t in self.tensors if t.name.startswith("blk.") and t.name.split(".", 2)[2] == name]
        return sorted(found, key=lambda t: int(t.name.split(".")[1]))

    def drop_tensors(self, names):
        names = set(names)
        assert all(self.has(n) for n in names)
        self.tensors = [t for t in self.tensors if t.name not in names]

    def swap(self, one, other):
        """The numbers of two tensors of one shape, each under the other's name."""
        a, b = self.tensor(one), self.tensor(other)
        assert a.shape == b.shape
        a.data, b.data, a.type, b.type = b.data, a.data, b.type, a.type

    def rename_architecture(self, name):
        old = self.architecture
        self.keys = {name + k[len(old):] if k.startswith(old + ".") else k: v for k, v in self.keys.items()}
        self.set("general.architecture", name)
