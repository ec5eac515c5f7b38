// Plain values that every part of the engine speaks of.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace rowmax::engine {

using TokenId = std::int32_t;
using SequenceId = int;  // of a session

// How products with quantised weights treat their input.
enum class Activations : int {
  kInt8 = 0,  // blocks of 32, each number rounded to two int8 (15 bits): integer dot products, the fast default
  kF32 = 1,   // kept in f32: the exact path
};

// Values that stand in for metadata keys of the file (missing or wrong ones), as text: {"llama.rope.freq_base",
// "500000"}.
using KeyOverrides = std::vector<std::pair<std::string, std::string>>;

// Keys of the file that are not to count although nothing reads them and they would change what the model computes.
using IgnoredKeys = std::vector<std::string>;

// One thing the engine will do because of the file, and where it learned it.
struct ModelFact {
  std::string name;    // e.g. "rms_norm_eps"
  std::string value;   // e.g. "1e-05"
  std::string source;  // e.g. "key llama.attention.layer_norm_rms_epsilon", "default of architecture llama"
};

struct ModelShape {
  std::int64_t n_layer = 0, n_embd = 0, n_head = 0, n_kv_head = 0, head_dim = 0, n_ff = 0, n_vocab = 0;
  std::int64_t context_length = 0;  // as the file was trained for
};

// What a sequence remembers: keys and values, of layers grouped by their sliding window, and a recurrent state.
struct MemoryShape {
  struct Group {
    std::int64_t window = 0;  // tokens that a token sees, itself among them; 0: all before it
    std::int64_t n_layer = 0;
    std::int64_t kv_width = 0;  // numbers of one token in all these layers, keys and values
  };
  std::vector<Group> groups;  // by their first layers
  std::int64_t state_floats = 0;
};

// What the engine would do with a file, without its weights: architecture, effective constants, every tensor claimed.
struct ModelDescription {
  std::string architecture;
  ModelShape shape;
  MemoryShape memory;  // with the model's edits; a session's may change it
  std::vector<ModelFact> facts;
  std::vector<std::string> notices;
  std::string default_pre;        // TokenizerOptions::default_pre of this architecture
  std::int64_t pooling_type = 0;  // <architecture>.pooling_type, whatever it is (rowmax/engine/embed.h); 0: none
  // Of the file's, that are known and that nothing uses: of layers that guess tokens ahead, and keys and values of layers
  // that read those of others.
  std::int64_t n_unused_tensors = 0;
};

}  // namespace rowmax::engine
