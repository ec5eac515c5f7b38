"""A reference for `rowmax compare`: the form of `rowmax dump`, a safetensors file of f32 tensors blk.N.STAGE (embedding,
output_norm and logits without blk.N), [tokens, width], with the token ids under `tokens` of its metadata. Standard library
alone."""
import array
import json
import struct
import sys


class Reference:
    def __init__(self, tokens, **metadata):
        self.tokens = [int(t) for t in tokens]
        self.metadata = {k: v for k, v in metadata.items() if v}
        self.stages = {}

    def add(self, stage, layer, values):
        """values: an array of floats, a row for each token; a copy is kept. A stage that comes twice: the first stays."""
        name = stage if layer is None else f"blk.{layer}.{stage}"
        values = values if isinstance(values, array.array) else array.array("f", values)
        if len(values) % len(self.tokens):
            raise SystemExit(f"{name}: {len(values)} numbers are no rows of {len(self.tokens)} tokens")
        self.stages.setdefault(name, array.array("f", values))

    def save(self, path):
        header = {"__metadata__": {"tokens": json.dumps(self.tokens), **self.metadata}}
        at = 0
        for name, values in self.stages.items():
            size = 4 * len(values)
            header[name] = {"dtype": "F32", "shape": [len(self.tokens), len(values) // len(self.tokens)],
                            "data_offsets": [at, at + size]}
            at += size
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        with open(path, "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            for values in self.stages.values():
                if sys.byteorder == "big":
                    values.byteswap()
                file.write(values.tobytes())
        print(f"{path}: {len(self.stages)} stages of {len(self.tokens)} tokens")


def read_safetensors(path):
    """{name: (shape, array of floats or ints)} of a file with F32, F16, BF16, F64, I32 or I64 tensors."""
    with open(path, "rb") as file:
        data = file.read()
    (length,) = struct.unpack_from("<Q", data)
    out = {}
    for name, entry in json.loads(data[8:8 + length]).items():
        if name == "__metadata__":
            continue
        begin, end = (8 + length + x for x in entry["data_offsets"])
        raw, kind = data[begin:end], entry["dtype"]
        if kind == "BF16":
            values = array.array("f")
            bits = array.array("H", raw)
            values.frombytes(b"".join(struct.pack("<I", b << 16) for b in bits))
        elif kind == "F16":
            values = array.array("f", struct.unpack(f"<{len(raw) // 2}e", raw))
        else:
            values = array.array({"F32": "f", "F64": "d", "I32": "i", "I64": "q"}[kind], raw)
        out[name] = (entry["shape"], values)
    return out


def adjacent_pairs(values, n_token, head_dim):
    """Rows of heads [2, head_dim / 2] as [head_dim / 2, 2]: what converters do to q and k of the architecture llama."""
    width = len(values) // n_token
    out = array.array("f", values)
    half = head_dim // 2
    for head in range(0, n_token * width, head_dim):
        out[head:head + head_dim:2] = values[head:head + half]
        out[head + 1:head + head_dim:2] = values[head + half:head + head_dim]
    return out
