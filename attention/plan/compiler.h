// The steps of one MaskPlan::compile(): check.cc refuses what makes no sense, compile.cc turns the rest into
// PlanSequences. Two passes over the sequences: count what must be stored, then fill it in.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "attention/plan/plan.h"

namespace rowmax {

struct MaskCompiler {
  const MaskSpec& spec;
  const Geometry& geometry;
  MaskPlan::Impl& plan;

  // Everything that compile() refuses, but for memory and anchors.
  Status check() const;
  Status run();

 private:
  struct Sizes {
    std::int64_t sequences = 0, positions = 0, bits = 0, words = 0;
  };
  // Where the next PlanBits and words go.
  struct Store {
    attention::PlanBits* bits;
    std::uint64_t* words;
  };

  template <class T>
  static const T& pick(std::span<const T> values, std::int64_t s) noexcept {
    return values.size() == 1 ? values[0] : values[static_cast<std::size_t>(s)];
  }
  const Sequence& sequence(std::int64_t s) const noexcept { return geometry.sequences[static_cast<std::size_t>(s)]; }
  static std::int64_t words_of(std::int64_t n) noexcept { return (n + 63) / 64; }

  // check.cc
  template <class T>
  Status check_count(std::span<const T> values, const char* what) const;
  Status check_terms() const;
  Status check_counts() const;
  Status check_sequence(std::int64_t s) const;
  Status check_spans(std::int64_t s) const;
  Status check_bits(std::int64_t s) const;
  Status check_strides(std::int64_t s, const char* what, std::int64_t n_row, std::int64_t row_stride,
                       std::int64_t head_stride) const;
  Status check_tree(std::int64_t s) const;

  // compile.cc
  bool ordered_segments(std::int64_t s) const noexcept;
  bool same_document(std::int64_t s, std::int64_t i, std::int64_t j) const noexcept;
  std::int64_t document_end(std::int64_t s, std::int64_t first, std::int64_t n_q) const noexcept;
  bool count(Sizes* sizes) const noexcept;
  attention::PlanSequence lower(std::int64_t s, KeySpan* valid) const noexcept;
  void take_document(attention::PlanSequence* p, std::int64_t s, std::int64_t first, std::int64_t end) const noexcept;
  void add_bits(attention::PlanSequence* p, bool segments_as_bits, Store* store) const noexcept;
  void add_segment_bits(std::int64_t s, Store* store) const noexcept;
  void add_tree(std::int64_t s, Store* store) const noexcept;
};

namespace attention {

inline std::string at_sequence(std::int64_t sequence) { return "sequence " + std::to_string(sequence) + ": "; }

}  // namespace attention
}  // namespace rowmax
