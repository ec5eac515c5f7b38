// A model that was split over several files, PREFIX-00001-of-00003.gguf and so on (llama.cpp's gguf-split): the first
// part has the metadata, all have tensors, and each says which it is (split.no, from 0), of how many (split.count), and
// how many tensors all of them hold (split.tensors.count).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/io/gguf_parse.h"
#include "rowmax/result.h"

namespace rowmax::engine {

struct GgufSplit {
  std::uint64_t no = 0;
  std::uint64_t count = 1;      // 1: a whole model
  std::uint64_t n_tensors = 0;  // of all parts
};
// From the keys. kCorrupt where split.count is more than 1 and a key is missing or does not fit.
Result<GgufSplit> read_split(const GgufContent& content);

inline constexpr std::string_view kGgufSuffix = ".gguf";

// The files of a split model, in order, from the name of any one of them; nothing where the name is not that of a part
// of `count` files.
std::optional<std::vector<std::string>> split_paths(std::string_view path, std::uint64_t count);

// The numbers in a name that ends in -00002-of-00005.gguf, whatever they are; nothing for another name.
struct PartNumbers {
  std::uint64_t part = 0, count = 0;  // part from 1 on
};
std::optional<PartNumbers> part_numbers(std::string_view path);

// A number as it stands in such a name.
std::string five_digits(std::uint64_t number);

// One content of all parts: the metadata of the first, the tensors of all. parts is not empty and in the order of the
// names. kCorrupt, naming the file, for parts that are not those of one model: another number, count or architecture,
// a tensor that stands in two of them, another total.
Result<GgufContent> join_parts(std::vector<GgufContent> parts);

}  // namespace rowmax::engine
