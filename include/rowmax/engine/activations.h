#pragma once

namespace rowmax::engine {

// How products with quantised weights treat their input.
enum class Activations : int {
  kInt8 = 0,  // blocks of 32, each number rounded to two int8 (15 bits): integer dot products, the fast default
  kF32 = 1,   // kept in f32: the exact path
};

}  // namespace rowmax::engine
