// Gated short convolution.
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <utility>
#include <vector>

#include "engine/model/cpu_ops.h"
#include "engine/model/for_rows.h"
#include "engine/ops/delta/delta_kernels.h"

namespace rowmax::engine {

// The two products lie around the convolution in one task, while its channels are in the cache.
void CpuOps::short_convolve(std::size_t layer, const ShortConvSpec& spec, const std::vector<float>& weight, Rows bcx,
                            Rows out) {
  const DeltaKernels& kernels = delta_kernels(backend_.isa());
  const std::int64_t n = spec.n_channel;
  // Where c lies, and the two others.
  const std::int64_t gate = spec.gate_run * n, first = (spec.gate_run + 1) % 3 * n,
                     second = (spec.gate_run + 2) % 3 * n;
  for_channels(backend_.executor(), std::ssize(batch_->sequences), n,
               [&](std::size_t number, std::int64_t begin, std::int64_t end) {
                 const ForwardSequence& sequence = batch_->sequences[number];
                 const auto run = [&](std::int64_t start, std::int64_t row) { return data(bcx, row) + start + begin; };
                 const std::int64_t last = sequence.begin + sequence.n_row, width = end - begin;
                 for (std::int64_t row = sequence.begin; row < last; ++row) {
                   kernels_->multiply(run(second, row), run(first, row), width, run(second, row));
                 }
                 kernels.conv(sequence.state + layout_.conv_offset(layer),
                              {.weights = weight.data(),
                               .n_taps = static_cast<int>(spec.conv_width),
                               .n_channel = n,
                               .begin = begin,
                               .end = end,
                               .x = data(bcx, sequence.begin) + second,
                               .x_stride = bcx.width},
                              sequence.n_row, data(out, sequence.begin), out.width);
                 for (std::int64_t row = sequence.begin; row < last; ++row) {
                   float* y = data(out, row) + begin;
                   kernels_->multiply(y, run(gate, row), width, y);
                 }
               });
  if (wanted(Stage::kState, layer)) show_states(layer, spec);
}

}  // namespace rowmax::engine
