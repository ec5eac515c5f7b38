#!/usr/bin/env python3
"""Writes engine/io/testdata/by_gguf_py.gguf with the PyPI package gguf (0.19.0), for the loader's cross-check.

    python tools/make_gguf_py_sample.py engine/io/testdata/by_gguf_py.gguf
"""

import sys

import gguf
import numpy as np


def main() -> None:
    writer = gguf.GGUFWriter(sys.argv[1], "llama")
    writer.add_custom_alignment(64)
    writer.add_uint8("t.u8", 250)
    writer.add_int8("t.i8", -7)
    writer.add_uint16("t.u16", 65000)
    writer.add_int16("t.i16", -32000)
    writer.add_uint32("t.u32", 4000000000)
    writer.add_int32("t.i32", -2000000000)
    writer.add_uint64("t.u64", 2**64 - 1)
    writer.add_int64("t.i64", -(2**63))
    writer.add_float32("t.f32", 1e-5)
    writer.add_float64("t.f64", 0.1)
    writer.add_bool("t.bool", False)
    writer.add_string("t.string", "▁naïve 😀")
    writer.add_array("t.strings", ["a", "", "Ġb"])
    writer.add_array("t.ints", [1, -2, 3])
    writer.add_array("t.floats", [0.5, -1.0, 2.25])
    writer.add_tensor("f32.weight", (0.5 * np.arange(6) - 1.0).astype(np.float32).reshape(2, 3))
    writer.add_tensor("f16.weight", np.arange(4).astype(np.float16))
    q8 = gguf.quants.quantize(np.arange(192).astype(np.float32).reshape(3, 64), gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("q8.weight", q8, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
