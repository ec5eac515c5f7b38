// What the rows of engine/model/weight_table.h are called in Hugging Face folders, and how their numbers differ there.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "engine/model/weight_table.h"

namespace rowmax::engine {

enum class HfForm : std::uint8_t {
  kPlain,
  kNorm,   // the model may multiply by 1 + weight
  kQuery,  // rows (of biases: numbers) may be in another order (HfArchitecture::adjacent_rope)
  kKey,    // the same with as many heads as there are keys
  kDecay,  // the file has -exp of it
  kConv,   // [channels, 1, width]
  // Experts in one tensor whose columns are rows: [n, cols, parts * rows], of which every parts-th is this one's from the
  // `part`-th on; or its rows packed, _blocks [n, parts * rows, cols / 32, 16] of MXFP4 and their _scales. Biases: [n,
  // parts * cols].
  kColumns,
  // Of latents: of each head the rows of k's matrix, which are the file's columns, in front of v's.
  kHeadColumns,
  kHeadRows,
};

// Value heads of a delta net: in folders those of one key head lie together, in files value head j goes with key head
// j mod n_key_head.
enum class HfValueHeads : std::uint8_t {
  kNone,
  kNumbers,   // one row a head (of vectors: one number)
  kRows,      // value_dim rows a head
  kChannels,  // the same behind the rows of q and k
  kColumns,   // value_dim columns a head
};

struct HfWeight {
  W id;
  std::string_view name;  // behind "model.layers.<layer>."; '*' is the number of an expert
  HfForm form = HfForm::kPlain;
  HfValueHeads heads = HfValueHeads::kNone;
  // Experts may be in one tensor, in which the rows of each are `parts` such matrices, this one the `part`-th.
  std::string_view fused = {};
  int part = 0, parts = 1;
  bool (*when)(const LayerSpec& layer) = nullptr;  // of names that mean different weights
};

// In the order in which files are written. Several rows with one id are names of which a folder has one. lfm2: of Liquid AI's
// models, which have names of their own throughout.
std::span<const HfWeight> hf_weights(bool lfm2) noexcept;

// What holds this weight and those fused with it, behind "model.layers.<layer>."; id: the first of them.
std::string_view hf_fused_name(W id) noexcept;

// Of the layer that guesses a token ahead, beside those of every layer: its tensors behind "mtp." and behind
// "blk.<layer>.nextn.".
struct HfDraftWeight {
  std::string_view name, gguf;
  bool norm;  // else a matrix [n_embd, 2 * n_embd]
};
std::span<const HfDraftWeight> hf_draft_weights() noexcept;

}  // namespace rowmax::engine
