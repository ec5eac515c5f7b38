// Arrays of an .npz file: a zip of .npy files, as numpy.savez writes it. Formats: numpy.lib.format versions 1 to 3;
// PKWARE APPNOTE 6.3. Compressed members (numpy.savez_compressed) are refused by name.
//
// A file is hostile until checked: every place and every product of a shape is bounded by the bytes that are there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "rowmax/result.h"

namespace rowmax::engine {

struct NpyArray {
  std::string name;                 // without ".npy"
  std::string dtype;                // "<f4"
  std::vector<std::int64_t> shape;  // slowest first
  std::span<const std::byte> data;  // exactly of the shape's size; perhaps unaligned
};

// bytes must outlive what is returned; name stands in messages. kCorrupt, kUnsupported (compressed members, zip64, arrays in
// Fortran's order, other numbers than f2, f4, f8, i4 and i8 of little endian).
Result<std::vector<NpyArray>> read_npz(std::span<const std::byte> bytes, const std::string& name);

}  // namespace rowmax::engine
