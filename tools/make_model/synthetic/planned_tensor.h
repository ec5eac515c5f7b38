// What a synthetic file's tensors are made of, and their bytes, made piece by piece.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/quant/format.h"
#include "rowmax/engine/gguf.h"
#include "rowmax/result.h"

namespace rowmax::tools {

// By name, as in FormatInfo (F32, F16, Q4_1, ...). kInvalidArgument for an unknown one.
Result<const engine::FormatInfo*> find_matrix_type(std::string_view name);

enum class Values { kGiven, kNormal, kTernary, kBinary };

struct PlannedTensor {
  std::string name;
  const engine::FormatInfo* type = nullptr;
  std::vector<std::int64_t> shape;  // [columns, rows], [columns, rows, experts] or [n]
  Values values = Values::kGiven;
  float scale = 1.0f;        // random values: their standard deviation, or the magnitude m
  bool repeat = false;       // the first piece again and again, which takes no time
  std::vector<float> given;  // kGiven

  std::int64_t columns() const { return shape[0]; }
  std::int64_t rows() const { return (shape.size() > 1 ? shape[1] : 1) * (shape.size() > 2 ? shape[2] : 1); }
};

// A matrix [rows, columns] of random values with standard deviation `deviation`. Its type is F16 where rows are no
// whole blocks of `type`; the magnitude of ternary and binary values is rounded to a half.
PlannedTensor plan_matrix(std::string name, const engine::FormatInfo& type, std::int64_t columns, std::int64_t rows,
                          Values values, float deviation);
PlannedTensor plan_vector(std::string name, std::vector<float> values);

engine::GgufTensorPlan file_plan(const PlannedTensor& tensor);

using Sink = std::function<Status(std::span<const std::byte>)>;
// The tensor's bytes, in order, in pieces of a few megabytes.
Status emit(const PlannedTensor& tensor, std::uint64_t seed, const Sink& sink);

}  // namespace rowmax::tools
