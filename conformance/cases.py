"""Reading and writing the file of cases, and what an adapter sees of a case. The format is described in README.md."""
import struct
from pathlib import Path
from types import SimpleNamespace

import numpy as np

MAGIC = b"ATTNCASE"
VERSION = 1
DEFAULT_FILE = Path(__file__).parent / "cases.bin"
INT, FLOAT, TEXT, TENSOR = 1, 2, 3, 4
F32, F16, BF16, F64, I64, BITS, U8 = range(7)
DTYPES = {F32: "<f4", F16: "<f2", BF16: "<u2", F64: "<f8", I64: "<i8", U8: "u1"}


def _tensor_bytes(values, code):
    if code == BITS:
        return np.packbits(np.asarray(values, bool).reshape(-1), bitorder="little").tobytes()
    if code in (F32, F16, BF16, F64):
        values = np.where(np.isnan(values), np.nan, values)  # one NaN: the sign of a computed one differs between machines
    if code == BF16:
        return (np.ascontiguousarray(values, "<f4").view("<u4") >> 16).astype("<u2").tobytes()
    return np.ascontiguousarray(values).astype(DTYPES[code]).tobytes()


def _field_bytes(key, value):
    head = struct.pack("<B", len(key)) + key.encode()
    if isinstance(value, tuple):  # (array, element type)
        array, code = np.asarray(value[0]), value[1]
        shape = struct.pack(f"<BB{array.ndim}I", code, array.ndim, *array.shape)
        return head + struct.pack("<B", TENSOR) + shape + _tensor_bytes(array, code)
    if isinstance(value, str):
        return head + struct.pack("<BI", TEXT, len(value.encode())) + value.encode()
    if isinstance(value, float):
        return head + struct.pack("<Bd", FLOAT, value)
    return head + struct.pack("<Bq", INT, value)


def write(path, cases):
    """cases: dicts key -> int, float, str or (array, element type)."""
    blob = MAGIC + struct.pack("<II", VERSION, len(cases))
    for case in cases:
        blob += struct.pack("<I", len(case)) + b"".join(_field_bytes(k, v) for k, v in case.items())
    Path(path).write_bytes(blob)
    return len(blob)


class _Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, layout):
        values = struct.unpack_from("<" + layout, self.data, self.at)
        self.at += struct.calcsize("<" + layout)
        return values

    def bytes(self, n):
        self.at += n
        return self.data[self.at - n:self.at]

    def tensor(self):
        code, rank = self.take("BB")
        shape = self.take(f"{rank}I")
        n = int(np.prod(shape, dtype=np.int64))
        if code == BITS:
            bits = np.frombuffer(self.bytes((n + 7) // 8), "u1")
            return np.unpackbits(bits, count=n, bitorder="little").astype(bool).reshape(shape)
        array = np.frombuffer(self.bytes(n * np.dtype(DTYPES[code]).itemsize), DTYPES[code]).reshape(shape)
        if code == BF16:
            return (array.astype("<u4") << 16).view("<f4")
        return array.astype("<f4") if code == F16 else array

    def field(self):
        key = self.bytes(self.take("B")[0]).decode()
        kind = self.take("B")[0]
        if kind == TENSOR:
            return key, self.tensor()
        if kind == TEXT:
            return key, self.bytes(self.take("I")[0]).decode()
        return key, self.take("d" if kind == FLOAT else "q")[0]


class Case:
    """One case. Shapes: q [batch, head, n_q, k_dim], k [batch, kv_head, n_kv, k_dim], v [batch, kv_head, n_kv, v_dim].

    name, group, why, issue     text
    q, k, v                     float32
    dtype                       "f32", "f16" or "bf16": a type that holds k and v exactly (arithmetic is meant in f32)
    scale, softcap              floats; softcap 0: none
    sinks                       [head] or None
    mask                        the structured mask, see README.md; absent parts are None
    keep(), value_bias()        the same mask materialised: bool and float32 [batch, head, n_q, n_kv], or None
    additive(masked)            both in one float array: the bias where visible, `masked` (default -inf) elsewhere
    """

    MASK = ("causal", "left", "right", "q_pos", "positions", "valid", "q_segments", "k_segments", "chunk", "prefix",
            "keep_first", "bitmap", "blocks", "q_block", "k_block", "tree", "bias", "alibi", "relative")

    def __init__(self, fields):
        self.fields = fields
        for key in ("name", "group", "why", "issue", "dtype", "scale", "softcap"):
            setattr(self, key, fields[key])
        self.sinks = fields.get("sinks")
        self.mask = SimpleNamespace(**{key: fields.get(key) for key in self.MASK})
        batch = fields["batch"]
        self.q, self.k, self.v = (
            np.array(np.broadcast_to(fields[x], (batch, *fields[x].shape[1:])), np.float32) for x in "qkv")
        self.n_head, self.n_kv_head = self.q.shape[1], self.k.shape[1]
        self.n_q, self.n_kv, self.batch = self.q.shape[2], self.k.shape[2], batch
        rows = (batch, self.n_head, self.n_q)
        self.out = np.broadcast_to(fields["out"], (*rows, self.v.shape[3]))
        self.lse, self.kind, self.out_tol, self.lse_tol = (
            np.broadcast_to(fields[x], rows) for x in ("lse", "kind", "out_tol", "lse_tol"))
        self.bits, self.bit_rows = fields.get("bits", ""), fields.get("bit_rows")

    def _full(self, array):
        return np.array(np.broadcast_to(array, (self.batch, self.n_head, self.n_q, self.n_kv)))

    def keep(self):
        return self._full(self.fields["keep"])

    def value_bias(self):
        return self._full(self.fields["value_bias"]) if "value_bias" in self.fields else None

    def additive(self, masked=-np.inf):
        bias = self.value_bias()
        return np.where(self.keep(), 0.0 if bias is None else bias, masked).astype(np.float32)

    def repeated(self, x):
        """k or v with every kv head repeated for its query heads."""
        return np.repeat(x, self.n_head // self.n_kv_head, axis=1)

    def has_mask(self):
        return not self.keep().all()


def read(path=DEFAULT_FILE):
    reader = _Reader(Path(path).read_bytes())
    if reader.bytes(8) != MAGIC:
        raise ValueError(f"{path} is not a file of cases")
    version, n = reader.take("II")
    if version != VERSION:
        raise ValueError(f"{path} has version {version}, not {VERSION}")
    cases = []
    for _ in range(n):
        cases.append(Case(dict(reader.field() for _ in range(reader.take("I")[0]))))
    return cases
