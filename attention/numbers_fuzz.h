// Test support: numbers for a fuzzed mask, as small, large or equal as guarantee G1 allows, in memory as attend() reads
// them and as plain arrays for the fp64 reference. What no query sees holds NaN.
#pragma once

#include <cmath>
#include <cstring>
#include <vector>

#include "attention/masks_fuzz.h"
#include "attention/reference.h"
#include "base/half.h"
#include "rowmax/attention.h"

namespace rowmax::attention::fuzz {

// Stores a number and gives it back as the type has it.
inline float store(DType dtype, std::uint8_t* base, std::int64_t index, float x) {
  const auto put = [&](auto value) {
    std::memcpy(base + index * static_cast<std::int64_t>(sizeof value), &value, sizeof value);
  };
  switch (dtype) {
    case DType::kF16: {
      const std::uint16_t half = base::f32_to_f16(x);
      put(half);
      return base::f16_to_f32(half);
    }
    case DType::kBF16: {
      const std::uint16_t half = base::f32_to_bf16(x);
      put(half);
      return base::bf16_to_f32(half);
    }
    default: put(x); return x;
  }
}

struct Kv {
  std::vector<std::uint8_t> k, v;        // as attend() reads them
  std::vector<double> k_plain, v_plain;  // [key][kv head][dim]
  std::vector<std::int32_t> pages;
};

class Problem {
 public:
  Problem(Input& in, const std::vector<MaskCase>& cases, std::vector<Visible> visible, std::int64_t n_kv_head)
      : cases(cases), visible(std::move(visible)), n_head(cases[0].n_head), n_kv_head(n_kv_head) {
    constexpr std::int64_t dims[] = {1, 3, 5, 8, 16, 17, 33, 64};
    k_dim = in.one_of(dims);
    v_dim = in.one_of(dims);
    read_options(in);
    for (const MaskCase& c : cases) n_row += c.n_q, widest = std::max(widest, c.n_kv);
    for (std::int64_t at = 0; at < n_row * n_head * k_dim; ++at) q.push_back(number(in, qk_size));
    for (std::size_t s = 0; s < cases.size(); ++s) read_bias(in, s);
    kv.resize(cases.size());
    for (std::size_t s = 0; s < cases.size(); ++s) read_kv(in, s);
  }

  // Of pair (i, j) of sequence s, beside the dense bias.
  double distance_bias(std::size_t s, std::int64_t h, std::int64_t i, std::int64_t j) const {
    const test::Wide distance = test::Wide{j} - cases[s].position(i);
    double sum = 0;
    if (has_alibi)
      sum -= static_cast<double>(slopes[static_cast<std::size_t>(h)]) * std::fabs(static_cast<double>(distance));
    if (has_relative) {
      const std::int64_t step =
          static_cast<std::int64_t>(std::min<test::Wide>(std::max<test::Wide>(distance, -3), 4)) + 3;
      sum += static_cast<double>(table[static_cast<std::size_t>(h * 8 + step)]);
    }
    return sum;
  }
  double dense_bias(std::size_t s, std::int64_t h, std::int64_t i, std::int64_t j) const {
    return has_bias ? bias_plain[s][static_cast<std::size_t>((i * n_head + h) * widest + j)] : 0.0;
  }
  bool any_bias() const { return has_bias || has_alibi || has_relative; }

  reference::Row expected(std::size_t s, std::int64_t h, std::int64_t i, bool with_sink = true) const {
    const MaskCase& c = cases[s];
    std::int64_t row = i;
    for (std::size_t before = 0; before < s; ++before) row += cases[before].n_q;
    const auto first = q.begin() + (row * n_head + h) * k_dim;
    const std::int64_t kv_head = h / (n_head / n_kv_head);
    reference::Params params{scale, softcap};
    if (has_sinks && with_sink) params.sink = sinks[static_cast<std::size_t>(h)];
    for (std::int64_t j = 0; j < c.n_kv; ++j) {  // four roundings of what is at most that large
      if (!visible[s](h, i, j)) continue;
      const double size =
          std::fabs(dense_bias(s, h, i, j)) + std::fabs(distance_bias(s, h, i, j)) + (has_relative ? 8 : 0);
      params.bias_error = std::max(params.bias_error, 4 * size);
    }
    std::function<double(std::int64_t)> bias;
    if (any_bias()) bias = [&](std::int64_t j) { return dense_bias(s, h, i, j) + distance_bias(s, h, i, j); };
    return reference::attend_row(
        std::vector<double>(first, first + k_dim), c.n_kv, v_dim, params,
        [&](std::int64_t j) { return visible[s](h, i, j); },
        [&](std::int64_t j) { return &kv[s].k_plain[static_cast<std::size_t>((j * n_kv_head + kv_head) * k_dim)]; },
        [&](std::int64_t j) { return &kv[s].v_plain[static_cast<std::size_t>((j * n_kv_head + kv_head) * v_dim)]; },
        bias);
  }

  // Byte offset of an element in kv[s].k or .v.
  std::int64_t place(const KvStrides& strides, std::size_t s, std::int64_t j, std::int64_t h, std::int64_t d) const {
    const std::int64_t page = view.page_size;
    const std::int64_t at = page == 0 ? j * strides.key_stride
                                      : kv[s].pages[static_cast<std::size_t>(j / page)] * strides.page_stride +
                                            j % page * strides.key_stride;
    return dtype_bytes(view.dtype, at + h * strides.head_stride + d * strides.dim_stride);
  }
  bool seen(std::size_t s, std::int64_t kv_head, std::int64_t j) const {
    const std::int64_t group = n_head / n_kv_head;
    for (std::int64_t h = kv_head * group; h < (kv_head + 1) * group; ++h) {
      for (std::int64_t i = 0; i < cases[s].n_q; ++i) {
        if (visible[s](h, i, j)) return true;
      }
    }
    return false;
  }

  // All that is asked for but results.
  AttendArgs arguments() const {
    AttendArgs args;
    args.q = packed_heads(q.data(), n_row, n_head, k_dim);
    args.kv = view;
    args.sequences = sequences;
    args.scale = scale;
    args.softcap = softcap;
    args.bias = {bias_dtype, bias_row, bias_head, 1};
    if (has_alibi) args.alibi_slopes = slopes.data();
    if (has_relative) args.relative_bias = {table.data(), -3, 4, 8};
    if (has_sinks) args.sinks = sinks.data();
    args.empty_rows = empty_rows;
    return args;
  }

  const std::vector<MaskCase>& cases;
  std::vector<Visible> visible;  // -inf in the bias hides too
  std::int64_t n_head, n_kv_head, k_dim = 1, v_dim = 1, n_row = 0, widest = 0;
  float scale = 1, softcap = 0, qk_size = 1, v_size = 1;
  bool has_sinks = false, has_bias = false, has_alibi = false, has_relative = false, broadcast = false;
  EmptyRows empty_rows = EmptyRows::kZero;
  KvView view;
  DType bias_dtype = DType::kF32;
  std::int64_t bias_row = 0, bias_head = 0;
  std::vector<float> q, slopes, table, sinks;
  std::vector<std::vector<std::uint8_t>> bias;
  std::vector<std::vector<double>> bias_plain;  // [query][head][widest]
  std::vector<Kv> kv;
  std::vector<KvSequence> sequences;

 private:
  static float number(Input& in, float size) { return static_cast<float>(in.byte() - 128) / 64 * size; }

  void read_options(Input& in) {
    const std::uint8_t extras = in.byte();
    constexpr DType types[] = {DType::kF32, DType::kF32, DType::kF16, DType::kBF16};
    const DType dtype = in.one_of(types);
    constexpr float scales[] = {0.5f, 0.125f, 1.0f, 8.0f, -0.3f, 0.0f};
    scale = in.one_of(scales);
    softcap = extras & 1 ? 0.75f * static_cast<float>(1 + in.byte()) : 0.0f;
    has_sinks = extras & 2;
    has_bias = extras & 4;
    has_alibi = extras & 8;
    has_relative = extras & 16;
    constexpr EmptyRows customs[] = {EmptyRows::kZero, EmptyRows::kZero, EmptyRows::kZero, EmptyRows::kNaN,
                                     EmptyRows::kUniform};
    empty_rows = in.one_of(customs);
    // Sums of products stay finite times any scale, and sums of values (guarantee G1).
    constexpr float qk_sizes[] = {1, 1, 1, 0x1p57f, 0x1p-70f, 30, 0x1p-140f};
    constexpr float v_sizes[] = {1, 1, 0x1p110f, 0x1p-140f};
    const bool half = dtype == DType::kF16;
    qk_size = half ? 1 : in.one_of(qk_sizes);
    v_size = half ? 1 : in.one_of(v_sizes);
    for (std::int64_t h = 0; h < n_head; ++h) {
      sinks.push_back(in.one_in(5) ? -INFINITY : number(in, 4));
      slopes.push_back(number(in, 0.25f));
      for (int d = 0; d < 8; ++d) table.push_back(number(in, 4));
    }
    read_layout(in, dtype);
  }

  void read_layout(Input& in, DType dtype) {
    switch (in.below(4)) {
      case 0: view = paged_kv(dtype, n_kv_head, k_dim, v_dim); break;
      case 1:
        view = packed_kv(dtype, n_kv_head, k_dim, v_dim);
        view.page_size = 1 + in.below(9);
        view.k.page_stride = view.page_size * view.k.key_stride;
        view.v.page_stride = view.page_size * view.v.key_stride;
        break;
      default: view = packed_kv(dtype, n_kv_head, k_dim, v_dim);
    }
  }

  void read_bias(Input& in, std::size_t s) {
    const MaskCase& c = cases[s];
    if (s == 0) {
      constexpr DType types[] = {DType::kF32, DType::kF16, DType::kBF16};
      bias_dtype = in.one_of(types);
      broadcast = in.one_in(4);
      bias_head = widest;
      bias_row = broadcast ? 0 : n_head * widest;
    }
    bias.emplace_back();
    bias_plain.emplace_back();
    if (!has_bias) return;
    const std::int64_t n_stored = broadcast ? std::min<std::int64_t>(c.n_q, 1) : c.n_q;
    bias[s].resize(static_cast<std::size_t>(dtype_bytes(bias_dtype, n_stored * n_head * widest)));
    bias_plain[s].resize(static_cast<std::size_t>(c.n_q * n_head * widest));
    for (std::int64_t i = 0; i < c.n_q; ++i) {
      for (std::int64_t h = 0; h < n_head; ++h) {
        for (std::int64_t j = 0; j < c.n_kv; ++j) {
          double& plain = bias_plain[s][static_cast<std::size_t>((i * n_head + h) * widest + j)];
          if (broadcast && i > 0) {
            plain = bias_plain[s][static_cast<std::size_t>(h * widest + j)];
          } else {
            const bool hidden = !broadcast && !visible[s](h, i, j);
            const float x = hidden ? NAN : in.byte() < 30 ? -INFINITY : number(in, 4);
            plain = static_cast<double>(store(bias_dtype, bias[s].data(), i * bias_row + h * bias_head + j, x));
          }
          if (plain == -INFINITY) visible[s].hide(h, i, j);
        }
      }
    }
  }

  void read_kv(Input& in, std::size_t s) {
    const MaskCase& c = cases[s];
    const std::int64_t page = view.page_size;
    const std::int64_t n_pages = page == 0 ? 0 : (c.n_kv + page - 1) / page;
    for (std::int64_t p = 0; p < n_pages; ++p) kv[s].pages.push_back(static_cast<std::int32_t>(n_pages - 1 - p));
    const std::int64_t n_keys = page == 0 ? c.n_kv : n_pages * page;
    const bool equal = in.one_in(8);
    for (const bool values : {false, true}) {
      const std::int64_t dim = values ? v_dim : k_dim;
      std::vector<std::uint8_t>& memory = values ? kv[s].v : kv[s].k;
      std::vector<double>& plain = values ? kv[s].v_plain : kv[s].k_plain;
      memory.resize(static_cast<std::size_t>(dtype_bytes(view.dtype, n_keys * n_kv_head * dim)));
      for (std::int64_t at = 0; at < n_keys * n_kv_head * dim; ++at) store(view.dtype, memory.data(), at, NAN);
      for (std::int64_t j = 0; j < c.n_kv; ++j) {
        for (std::int64_t h = 0; h < n_kv_head; ++h) {
          // The mean of a row that sees nothing reads values that nobody sees.
          const bool readable = seen(s, h, j) || (values && empty_rows == EmptyRows::kUniform);
          for (std::int64_t d = 0; d < dim; ++d) {
            const float x = equal ? values ? v_size : qk_size : number(in, values ? v_size : qk_size);
            const std::int64_t at = place(values ? view.v : view.k, s, j, h, d) / dtype_bytes(view.dtype, 1);
            plain.push_back(static_cast<double>(store(view.dtype, memory.data(), at, readable ? x : NAN)));
          }
        }
      }
    }
    drop_unseen_pages(s);
    const bool paged = page != 0;
    sequences.push_back(
        {kv[s].k.data(), kv[s].v.data(), paged ? kv[s].pages.data() : nullptr, has_bias ? bias[s].data() : nullptr});
  }

  void drop_unseen_pages(std::size_t s) {
    if (empty_rows == EmptyRows::kUniform) return;
    for (std::size_t p = 0; p < kv[s].pages.size(); ++p) {
      const std::int64_t begin = static_cast<std::int64_t>(p) * view.page_size;
      bool used = false;
      for (std::int64_t j = begin; j < std::min(begin + view.page_size, cases[s].n_kv); ++j) {
        for (std::int64_t h = 0; h < n_kv_head; ++h) used = used || seen(s, h, j);
      }
      if (!used) kv[s].pages[p] = -1;
    }
  }
};

}  // namespace rowmax::attention::fuzz
