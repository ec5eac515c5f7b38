// Gated short convolution.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <vector>

#include "engine/model/cpu_ops.h"
#include "engine/model/for_rows.h"
#include "engine/model/recurrent_layout.h"
#include "engine/ops/delta/delta_kernels.h"

namespace rowmax::engine {

void CpuOps::short_convolve(std::size_t layer, const ShortConvSpec& spec, const std::vector<float>& weight, Rows bcx,
                            Rows out) {
  // So few rows at a time that the two products and the convolution between them find one another's numbers in the cache.
  constexpr std::int64_t kRowsAtOnce = 16;
  const DeltaKernels& kernels = delta_kernels(backend_.isa());
  const std::int64_t n = spec.n_channel;
  // Where c lies, and the two others.
  const std::int64_t gate = spec.gate_run * n;
  const std::int64_t first = (spec.gate_run + 1) % 3 * n, second = (spec.gate_run + 2) % 3 * n;
  const auto run_piece = [&](std::size_t number, std::int64_t begin, std::int64_t end) {
    const ForwardSequence& sequence = batch_->sequences[number];
    const std::int64_t width = end - begin;
    float* state = sequence.state + layout_.conv_offset(layer);
    const auto run_rows = [&](std::int64_t from, std::int64_t to) {
      for (std::int64_t row = from; row < to; ++row) {
        float* x = data(bcx, row) + second + begin;
        kernels_->multiply(x, data(bcx, row) + first + begin, width, x);
      }
      const ConvInputs in{.weights = weight.data(),
                          .n_taps = static_cast<int>(spec.conv_width),
                          .n_channel = n,
                          .begin = begin,
                          .end = end,
                          .x = data(bcx, from) + second,
                          .x_stride = bcx.width};
      kernels.conv(state, in, to - from, data(out, from), out.width);
      for (std::int64_t row = from; row < to; ++row) {
        float* y = data(out, row) + begin;
        kernels_->multiply(y, data(bcx, row) + gate + begin, width, y);
      }
    };
    const auto run = [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t from = first; from < last; from += kRowsAtOnce) {
        run_rows(sequence.begin + from, sequence.begin + std::min(from + kRowsAtOnce, last));
      }
    };
    run_between_copies(sequence, run, [&](float* to) {
      copy_conv_state(state, spec.conv_width - 1, n, begin, end, to + layout_.conv_offset(layer));
    });
  };
  for_channels(backend_.executor(), std::ssize(batch_->sequences), n, run_piece);
  if (wanted(Stage::kState, layer)) show_states(layer, spec);
}

}  // namespace rowmax::engine
