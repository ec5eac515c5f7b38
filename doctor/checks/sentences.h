// What the loader's own sentences are about: they name a tensor or a key in quotes, and both say which part of a model
// is concerned.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "rowmax/doctor/report.h"

namespace rowmax::doctor {

// A check that fails because the reader or the engine refuses the file; reason: what is said of it, message: its own words,
// which name the place.
CheckResult refusal(std::string_view id, std::int64_t n_compared, std::string reason, std::string_view message);

// The tensor and key that a message of the engine names ("" where it names none), and the tensor's layer.
Place place_in(std::string_view message);

// The layer of "blk.<layer>.<name>", and its name; -1 and the whole for others.
struct TensorName {
  std::int64_t layer = -1;
  std::string_view kind;
};
TensorName split_tensor_name(std::string_view tensor);

// Which cause a wrong or missing tensor (by its kind), or key (without the architecture's prefix), points to.
std::string_view cause_of_tensor(std::string_view kind);
std::string_view cause_of_key(std::string_view key);

}  // namespace rowmax::doctor
