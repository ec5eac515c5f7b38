#include "attention/test_problem.h"

#include <algorithm>
#include <cmath>

#include "base/buffer.h"

namespace rowmax::attention::test {

Numbers random_numbers(Random& random, const Shape& shape, std::int64_t n_q, std::int64_t n_kv, DType dtype,
                       float size) {
  Numbers x;
  x.n_q = n_q;
  x.n_kv = n_kv;
  const auto fill = [&](std::vector<float>* values, std::int64_t n, bool round) {
    values->resize(static_cast<std::size_t>(n));
    for (float& value : *values) value = round ? rounded_to(dtype, random.uniform() * size) : random.uniform() * size;
  };
  fill(&x.q, n_q * shape.n_head * shape.k_dim, false);
  fill(&x.k, n_kv * shape.n_kv_head * shape.k_dim, true);
  fill(&x.v, n_kv * shape.n_kv_head * shape.v_dim, true);
  return x;
}

KvMemory::KvMemory(const Shape& shape, const std::vector<Numbers>& numbers, DType dtype, Layout layout) {
  view_ = view_of(shape, dtype, layout);
  const std::int64_t page = view_.page_size;
  std::int64_t n_pages = 0;
  for (const Numbers& x : numbers) n_pages += page == 0 ? 0 : (x.n_kv + page - 1) / page;
  std::vector<std::int32_t> order(static_cast<std::size_t>(n_pages));
  std::iota(order.begin(), order.end(), 0);
  Random random(7);
  for (std::size_t i = order.size(); i > 1; --i)
    std::swap(order[i - 1], order[static_cast<std::size_t>(random.below(static_cast<std::int64_t>(i)))]);
  tables_.resize(numbers.size());
  std::int64_t next_page = 0;
  sequences_.resize(numbers.size());
  if (page != 0)
    allocate(n_pages * page_elements(shape.k_dim, layout, page, shape),
             n_pages * page_elements(shape.v_dim, layout, page, shape), dtype);
  for (std::size_t s = 0; s < numbers.size(); ++s) {
    const Numbers& x = numbers[s];
    KvStrides k = view_.k, v = view_.v;
    if (page != 0) {
      for (std::int64_t p = 0; p < (x.n_kv + page - 1) / page; ++p)
        tables_[s].push_back(order[static_cast<std::size_t>(next_page++)]);
      sequences_[s].pages = tables_[s].data();
    } else {
      const std::int64_t n = x.n_kv + 1;
      allocate(n * shape.n_kv_head * shape.k_dim * 4, n * shape.n_kv_head * shape.v_dim * 4, dtype);
      // Contiguous layouts whose strides depend on the number of keys need the same number for all sequences.
    }
    sequences_[s].k = k_memory_.back().data();
    sequences_[s].v = v_memory_.back().data();
    for (std::int64_t j = 0; j < x.n_kv; ++j) {
      for (std::int64_t h = 0; h < shape.n_kv_head; ++h) {
        for (std::int64_t d = 0; d < shape.k_dim; ++d) {
          store_as(dtype, k_memory_.back().data(), index(k, s, j) + h * k.head_stride + d * k.dim_stride,
                   x.k[static_cast<std::size_t>((j * shape.n_kv_head + h) * shape.k_dim + d)]);
        }
        for (std::int64_t d = 0; d < shape.v_dim; ++d) {
          store_as(dtype, v_memory_.back().data(), index(v, s, j) + h * v.head_stride + d * v.dim_stride,
                   x.v[static_cast<std::size_t>((j * shape.n_kv_head + h) * shape.v_dim + d)]);
        }
      }
    }
  }
}

KvView KvMemory::view_of(const Shape& shape, DType dtype, Layout layout) {
  KvView view = packed_kv(dtype, shape.n_kv_head, shape.k_dim, shape.v_dim);
  const std::int64_t h = shape.n_kv_head, dk = shape.k_dim, dv = shape.v_dim;
  switch (layout) {
    case Layout::kKeyHeadDim: break;
    case Layout::kHeadKeyDim:
      view.k = {0, dk, dk * kMostKeys, 1};
      view.v = {0, dv, dv * kMostKeys, 1};
      break;
    case Layout::kTransposed:
      view.k = {0, 1, dk * kMostKeys, kMostKeys};
      view.v = {0, dv, dv * kMostKeys, 1};
      break;
    case Layout::kPagedFast: return paged_kv(dtype, h, dk, dv);
    case Layout::kPagedSmall:
      view.page_size = 5;
      view.k = {h * dk * 5, h * dk, dk, 1};
      view.v = {h * dv * 5, h * dv, dv, 1};
      break;
    case Layout::kPagedOdd:
      view.page_size = 96;
      view.k = {h * dk * 96, 1, dk * 96, 96};
      view.v = {h * dv * 96, dv, dv * 96, 1};
      break;
    case Layout::kWide:
      view.k = {0, h * dk * 3, 2, 2 * h};
      view.v = {0, h * dv * 3, 3, 3 * h};
      break;
  }
  return view;
}

void KvMemory::allocate(std::int64_t n_k, std::int64_t n_v, DType dtype) {
  if (view_.page_size == 0 && view_.k.head_stride >= view_.k_dim * kMostKeys) {
    n_k = view_.n_kv_head * view_.k.head_stride;
    n_v = view_.n_kv_head * view_.v.head_stride;
  }
  for (auto [memory, n] : {std::pair{&k_memory_, n_k}, std::pair{&v_memory_, n_v}}) {
    memory->emplace_back(static_cast<std::size_t>(dtype_bytes(dtype, n)));
    for (std::int64_t i = 0; i < n; ++i) store_as(dtype, memory->back().data(), i, NAN);
  }
}

Executor& pool(int threads) {
  static std::vector<std::unique_ptr<Executor>> pools(64);
  std::unique_ptr<Executor>& pool = pools[static_cast<std::size_t>(threads)];
  if (pool == nullptr) pool = std::move(make_thread_pool(threads)).value();
  return *pool;
}

Result<AttendReport> attend_exact(const AttendArgs& args, const MaskPlan& plan, Executor& executor, Isa isa) {
  const Result<Backend> backend = cpu_backend(executor, isa);
  const std::size_t size = attend_workspace_bytes(args, plan, *backend);
  auto buffer = base::Buffer::allocate(size + 64);
  std::memset(buffer->data(), 0xFF, size + 64);  // stale scratch is NaN
  Result<AttendReport> report = attend(args, plan, {buffer->data(), size}, *backend);
  for (std::size_t i = size; i < size + 64; ++i) EXPECT_EQ(buffer->data()[i], std::byte{0xFF}) << "past the workspace";
  return report;
}

Output run(const Shape& shape, const std::vector<Numbers>& numbers, const std::vector<Sequence>& sequences,
           const MaskSpec& spec, const RunOptions& options, KvMemory* memory) {
  std::unique_ptr<KvMemory> own;
  if (memory == nullptr) {
    own = std::make_unique<KvMemory>(shape, numbers, options.dtype, options.layout);
    memory = own.get();
  }
  std::int64_t n_row = 0;
  for (const Sequence& s : sequences) n_row = std::max(n_row, s.q_begin + s.n_q);
  std::vector<float> q(static_cast<std::size_t>(n_row * shape.n_head * shape.k_dim), NAN);
  for (std::size_t s = 0; s < numbers.size(); ++s) {
    std::copy(numbers[s].q.begin(), numbers[s].q.end(), q.begin() + sequences[s].q_begin * shape.n_head * shape.k_dim);
    memory->sequences()[s].bias = numbers[s].bias.empty() ? nullptr : numbers[s].bias.data();
  }
  Output output;
  output.out.assign(static_cast<std::size_t>(n_row * shape.n_head * shape.v_dim), -77.0f);
  output.lse.assign(static_cast<std::size_t>(n_row * shape.n_head), -77.0f);
  output.status.assign(static_cast<std::size_t>(n_row * shape.n_head), RowStatus::kOk);
  Result<MaskPlan> plan =
      compile(spec, {sequences, static_cast<std::int32_t>(shape.n_head), static_cast<std::int32_t>(shape.n_kv_head)});
  EXPECT_TRUE(plan.ok()) << (plan.ok() ? "" : plan.error().message);
  if (!plan.ok()) return output;
  AttendArgs args;
  args.q = packed_heads(static_cast<const float*>(q.data()), n_row, shape.n_head, shape.k_dim);
  args.kv = memory->view();
  args.sequences = memory->sequences();
  // Biased sequences of a test have the same n_kv.
  args.bias = {DType::kF32, shape.n_head * numbers[0].n_kv, numbers[0].n_kv, 1};
  args.scale = options.scale;
  args.softcap = options.softcap;
  args.check_weights = WeightCheck::kOff;  // tests of bad numbers want the report
  args.out = packed_heads(output.out.data(), n_row, shape.n_head, shape.v_dim);
  args.lse = output.lse.data();
  args.lse_row_stride = shape.n_head;
  args.row_status = output.status.data();
  args.status_row_stride = shape.n_head;
  if (options.adjust) options.adjust(&args);
  Result<AttendReport> report = attend_exact(args, *plan, pool(options.threads), options.isa);
  EXPECT_TRUE(report.ok()) << (report.ok() ? "" : report.error().message);
  if (report.ok()) output.report = *report;
  return output;
}

reference::Params params_of(const RunOptions& options, std::int64_t h) {
  reference::Params params{static_cast<double>(options.scale), static_cast<double>(options.softcap)};
  if (!options.sinks.empty()) params.sink = static_cast<double>(options.sinks[static_cast<std::size_t>(h)]);
  params.bias_error = options.bias_error;
  return params;
}

std::function<double(std::int64_t)> bias_of(const Shape& shape, const Numbers& x, const RunOptions& options,
                                            std::int64_t h, std::int64_t i) {
  if (x.bias.empty() && !options.added_bias) return {};
  return [&shape, &x, &options, h, i](std::int64_t j) {
    double bias = 0;
    if (!x.bias.empty()) bias = x.bias[static_cast<std::size_t>((i * shape.n_head + h) * x.n_kv + j)];
    return options.added_bias ? bias + options.added_bias(h, i, j) : bias;
  };
}

reference::Row reference_row(const Shape& shape, const Numbers& x, const RunOptions& options, std::int64_t h,
                             std::int64_t i,
                             const std::function<bool(std::int64_t, std::int64_t, std::int64_t)>& visible) {
  const std::int64_t kv_head = h / shape.group();
  const auto first = x.q.begin() + (i * shape.n_head + h) * shape.k_dim;
  const std::vector<double> q(first, first + shape.k_dim);
  std::vector<double> k(static_cast<std::size_t>(shape.k_dim)), v(static_cast<std::size_t>(shape.v_dim));
  return reference::attend_row(
      q, x.n_kv, shape.v_dim, params_of(options, h), [&](std::int64_t j) { return visible(h, i, j); },
      [&](std::int64_t j) {
        std::copy_n(x.k.begin() + (j * shape.n_kv_head + kv_head) * shape.k_dim, shape.k_dim, k.begin());
        return k.data();
      },
      [&](std::int64_t j) {
        std::copy_n(x.v.begin() + (j * shape.n_kv_head + kv_head) * shape.v_dim, shape.v_dim, v.begin());
        return v.data();
      },
      bias_of(shape, x, options, h, i));
}

double worst_error(const Shape& shape, const Numbers& x, const Output& output, std::int64_t q_begin,
                   const RunOptions& options,
                   const std::function<bool(std::int64_t, std::int64_t, std::int64_t)>& visible) {
  double worst = 0;
  for (std::int64_t i = 0; i < x.n_q; ++i) {
    for (std::int64_t h = 0; h < shape.n_head; ++h) {
      const reference::Row row = reference_row(shape, x, options, h, i, visible);
      const std::size_t at = static_cast<std::size_t>((q_begin + i) * shape.n_head + h);
      const float lse = output.lse[at];
      if (row.n_visible == 0) {
        EXPECT_EQ(output.status[at], RowStatus::kEmpty) << "query " << i << " head " << h;
        EXPECT_EQ(lse, options.sinks.empty() ? -INFINITY : options.sinks[static_cast<std::size_t>(h)]);
        for (std::int64_t d = 0; d < shape.v_dim; ++d) {
          std::uint32_t bits;
          std::memcpy(&bits, &output.out[at * static_cast<std::size_t>(shape.v_dim) + static_cast<std::size_t>(d)], 4);
          EXPECT_EQ(bits, 0u) << "empty row is not +0";
        }
        continue;
      }
      EXPECT_EQ(output.status[at], RowStatus::kOk) << "query " << i << " head " << h;
      const double bound = reference::error_bound(row, x.n_kv);
      for (std::int64_t d = 0; d < shape.v_dim; ++d) {
        const double error =
            std::fabs(output.out[at * static_cast<std::size_t>(shape.v_dim) + static_cast<std::size_t>(d)] -
                      row.out[static_cast<std::size_t>(d)]);
        worst = std::max(worst, std::isnan(error) ? INFINITY : error / bound);
      }
      worst =
          std::max(worst, std::isnan(lse) ? INFINITY : std::fabs(lse - row.lse) / reference::lse_bound(row, x.n_kv));
    }
  }
  return worst;
}

}  // namespace rowmax::attention::test
