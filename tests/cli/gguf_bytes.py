"""Where the bytes of a GGUF file's tensors lie (version 3), for tests that plant a fault in one of them."""
import struct

SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
STRING, ARRAY = 8, 9


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        values = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return values[0]

    def string(self):
        n = self.take("Q")
        self.at += n
        return self.data[self.at - n:self.at].decode()

    def skip(self, kind):
        if kind == STRING:
            self.string()
        elif kind == ARRAY:
            item, n = self.take("I"), self.take("Q")
            for _ in range(n):
                self.skip(item)
        else:
            self.at += SIZES[kind]


def tensors(data):
    """{name: (shape, type, place of its first byte)}"""
    reader = Reader(data)
    assert reader.take("I") == 0x46554747 and reader.take("I") == 3
    n_tensor, n_key = reader.take("Q"), reader.take("Q")
    for _ in range(n_key):
        reader.string()
        reader.skip(reader.take("I"))
    rows = {}
    for _ in range(n_tensor):
        name, n_dim = reader.string(), reader.take("I")
        shape = [reader.take("Q") for _ in range(n_dim)]
        rows[name] = (shape, reader.take("I"), reader.take("Q"))
    start = (reader.at + 31) // 32 * 32
    return {name: (shape, kind, start + at) for name, (shape, kind, at) in rows.items()}


def with_f32(source, target, tensor, index, value):
    """Writes the file with one number of an F32 tensor changed; returns what it was."""
    data = bytearray(source.read_bytes())
    _, kind, at = tensors(data)[tensor]
    assert kind == 0, tensor
    (old,) = struct.unpack_from("<f", data, at + 4 * index)
    struct.pack_into("<f", data, at + 4 * index, value)
    target.write_bytes(data)
    return old
