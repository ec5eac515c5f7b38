// libFuzzer: any bytes as masks, shapes, options and numbers of a small call. Whatever compile() accepts must agree
// with the definition pair by pair, in everything a plan says (masks_fuzz.h); attend() must agree with fp64, give
// the same bits on every ISA, for every number of threads and however the mask was worded, exact zeros for hidden pairs
// and rows that see nothing, and take nothing from what is hidden: hidden keys, values and bias hold NaN.
#include "attention/numbers_fuzz.h"
#include "base/buffer.h"
#include "rowmax/probe.h"

namespace {

using namespace rowmax;
using namespace rowmax::attention::fuzz;
using attention::reference::Row;

// As many workers as asked for, one after the other, last task first.
class Backwards final : public Executor {
 public:
  explicit Backwards(int concurrency) : concurrency_(concurrency) {}
  int concurrency() const noexcept override { return concurrency_; }
  void run(std::int64_t n_tasks, TaskFn fn, void* context) noexcept override {
    for (std::int64_t task = n_tasks; task-- > 0;) fn(context, task, static_cast<int>(task % concurrency_));
  }

 private:
  int concurrency_;
};

struct Results {
  std::vector<float> out, lse, weights;  // [row][head] of v_dim, 1, widest
  std::vector<RowStatus> status;
};

bool same_floats(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}
bool same_bits(const Results& a, const Results& b) {
  return same_floats(a.out, b.out) && same_floats(a.lse, b.lse) && same_floats(a.weights, b.weights) &&
         a.status == b.status;
}

AttendReport call(const AttendArgs& args, const MaskPlan& plan, Executor& executor, Isa isa) {
  const Result<Backend> backend = cpu_backend(executor, isa);
  const std::size_t size = attend_workspace_bytes(args, plan, *backend);
  auto memory = base::Buffer::allocate(size + 1);
  require(memory.ok());
  std::memset(memory->data(), 0xFF, size);  // stale scratch is NaN
  const Result<AttendReport> report = attend(args, plan, {memory->data(), size}, *backend);
  require_ok(report);
  return *report;
}

// Everything that attend() gives; weights +77 past a sequence's own keys.
Results everything(const Problem& p, const MaskPlan& plan, int threads, Isa isa, const Probe* probe = nullptr) {
  Results x;
  const std::int64_t n = p.n_row * p.n_head;
  x.out.assign(static_cast<std::size_t>(n * p.v_dim), 77);
  x.lse.assign(static_cast<std::size_t>(n), 77);
  x.weights.assign(static_cast<std::size_t>(n * p.widest), 77);
  x.status.assign(static_cast<std::size_t>(n), RowStatus::kOk);
  AttendArgs args = p.arguments();
  args.out = packed_heads(x.out.data(), p.n_row, p.n_head, p.v_dim);
  args.lse = x.lse.data();
  args.lse_row_stride = args.status_row_stride = p.n_head;
  args.row_status = x.status.data();
  if (!x.weights.empty()) args.weights = {x.weights.data(), p.n_head * p.widest, p.widest};
  args.probe = probe;
  // Numbers are finite, so the checks must not complain; weights of kNaN are NaN on purpose.
  args.check_bias = true;
  args.check_weights = p.empty_rows == EmptyRows::kNaN ? WeightCheck::kOff : WeightCheck::kOn;
  Backwards executor(threads);
  const AttendReport report = call(args, plan, executor, isa);
  std::int64_t n_empty = 0;
  for (const RowStatus status : x.status) n_empty += status == RowStatus::kEmpty;
  require(report.n_rows == n && report.n_empty == n_empty && report.n_non_finite == 0 && report.n_overflow == 0);
  return x;
}

template <class Fn>
void for_each_row(const Problem& p, Fn&& fn) {
  std::int64_t row = 0;
  for (std::size_t s = 0; s < p.cases.size(); ++s) {
    for (std::int64_t i = 0; i < p.cases[s].n_q; ++i, ++row) {
      for (std::int64_t h = 0; h < p.n_head; ++h) fn(s, h, i, static_cast<std::size_t>(row * p.n_head + h));
    }
  }
}

bool is_plus_zero(float x) { return std::bit_cast<std::uint32_t>(x) == 0; }

void check_empty_row(const Problem& p, std::size_t s, const Row& exact, const float* out, float lse, RowStatus status,
                     std::int64_t kv_head) {
  require(status == RowStatus::kEmpty && lse == static_cast<float>(exact.lse));
  const KeySpan valid = valid_span(p.cases[s]);
  const std::int64_t n = valid.end - valid.begin;
  for (std::int64_t d = 0; d < p.v_dim; ++d) {
    if (p.empty_rows == EmptyRows::kNaN) {
      require(std::isnan(out[d]));
    } else if (p.empty_rows == EmptyRows::kZero || n == 0) {
      require(is_plus_zero(out[d]));
    } else if (p.cases[s].segments.empty()) {  // documents have spans of their own
      double sum = 0, size = 0;
      for (std::int64_t j = valid.begin; j < valid.end; ++j) {
        const double v = p.kv[s].v_plain[static_cast<std::size_t>((j * p.n_kv_head + kv_head) * p.v_dim + d)];
        sum += v;
        size += std::fabs(v);
      }
      const double count = static_cast<double>(n);
      require(std::fabs(out[d] - sum / count) <= (count + 8) * 0x1p-23 * size / count + (count + 8) * 0x1p-149);
    }
  }
}

// Exactly 0 where hidden; elsewhere within what scores, exponential and sum allow.
void check_weights(const Problem& p, std::size_t s, std::int64_t h, std::int64_t i, const Row& exact,
                   const float* weights) {
  const std::int64_t n_kv = p.cases[s].n_kv;
  for (std::int64_t j = n_kv; j < p.widest; ++j) require(weights[j] == 77);
  if (exact.n_visible == 0 && p.empty_rows != EmptyRows::kZero) return;
  const double splits = static_cast<double>(n_kv / 64 + n_kv / 512 + 4);
  const double relative = (4 * exact.score_error + 16 + 5 * splits) * 0x1p-24;
  for (std::int64_t j = 0; j < n_kv; ++j) {
    if (!p.visible[s](h, i, j)) require(is_plus_zero(weights[j]));
    const double want = exact.weights[static_cast<std::size_t>(j)];
    require(weights[j] >= 0 && weights[j] <= 1.0001f);
    require(relative > 0.5 || std::fabs(weights[j] - want) <= relative * want + 3e-38);
  }
}

// Against fp64, row by row. `slack`: in units of the derived bound.
void check_results(const Problem& p, const Results& x, bool with_sink, double slack) {
  for_each_row(p, [&](std::size_t s, std::int64_t h, std::int64_t i, std::size_t at) {
    const Row exact = p.expected(s, h, i, with_sink);
    const float* out = x.out.data() + at * static_cast<std::size_t>(p.v_dim);
    const std::int64_t n_kv = p.cases[s].n_kv;
    if (!x.weights.empty()) {
      check_weights(p, s, h, i, exact, x.weights.data() + at * static_cast<std::size_t>(p.widest));
    }
    if (exact.n_visible == 0) {
      return check_empty_row(p, s, exact, out, x.lse[at], x.status[at], h / (p.n_head / p.n_kv_head));
    }
    require(x.status[at] == RowStatus::kOk);
    const double bound = slack * attention::reference::error_bound(exact, n_kv);
    for (std::int64_t d = 0; d < p.v_dim; ++d) {
      require(std::isfinite(out[d]) && std::fabs(out[d] - exact.out[static_cast<std::size_t>(d)]) <= bound);
    }
    const double lse_bound = slack * (attention::reference::lse_bound(exact, n_kv) + exact.score_error * 0x1p-24);
    require(std::isfinite(x.lse[at]) && std::fabs(x.lse[at] - exact.lse) <= lse_bound);
  });
}

// f64 arithmetic: the f32 bound with u = 2^-53, generously.
void check_f64(const Problem& p, const MaskPlan& plan) {
  const std::int64_t n = p.n_row * p.n_head;
  std::vector<double> out(static_cast<std::size_t>(n * p.v_dim), 77);
  std::vector<float> weights(static_cast<std::size_t>(n * p.widest), 77);
  std::vector<RowStatus> status(static_cast<std::size_t>(n));
  AttendArgs args = p.arguments();
  args.arithmetic = Arithmetic::kF64;
  args.check_weights = WeightCheck::kOff;
  args.out = {out.data(), DType::kF64, MemorySpace::kHost, p.n_row, p.n_head, p.v_dim, p.n_head * p.v_dim, p.v_dim, 1};
  args.row_status = status.data();
  args.status_row_stride = p.n_head;
  if (!weights.empty()) args.weights = {weights.data(), p.n_head * p.widest, p.widest};
  Backwards executor(1);
  call(args, plan, executor, Isa::kScalar);
  for_each_row(p, [&](std::size_t s, std::int64_t h, std::int64_t i, std::size_t at) {
    const Row exact = p.expected(s, h, i);
    const attention::reference::Roundings r(exact, p.cases[s].n_kv);
    const double relative = (r.weights + r.numerator + r.denominator + 1) * 0x1p-48;
    require(status[at] == (exact.n_visible == 0 ? RowStatus::kEmpty : RowStatus::kOk));
    if (!weights.empty()) check_weights(p, s, h, i, exact, weights.data() + at * static_cast<std::size_t>(p.widest));
    for (std::int64_t d = 0; d < p.v_dim; ++d) {
      const double x = out[at * static_cast<std::size_t>(p.v_dim) + static_cast<std::size_t>(d)];
      if (exact.n_visible == 0 && p.empty_rows == EmptyRows::kUniform) {
        require(std::isfinite(x));
      } else if (exact.n_visible == 0) {
        require(p.empty_rows == EmptyRows::kNaN ? std::isnan(x) : std::bit_cast<std::uint64_t>(x) == 0);
      } else {
        require(std::isfinite(x));
        require(std::fabs(x - exact.out[static_cast<std::size_t>(d)]) <= std::min(relative, 2.01) * exact.value_max);
      }
    }
  });
}

struct Partial {
  std::vector<float> o, m, l;
  std::vector<RowStatus> status;
  PartialView view;
};

Partial partial(const Problem& p, const MaskPlan& plan, Isa isa) {
  Partial x;
  const std::int64_t n = p.n_row * p.n_head;
  x.o.assign(static_cast<std::size_t>(n * p.v_dim), 77);
  x.m.assign(static_cast<std::size_t>(n), 77);
  x.l = x.m;
  x.status.resize(x.m.size());
  x.view = {x.o.data(), p.n_head * p.v_dim, p.v_dim, x.m.data(), x.l.data(), x.status.data(), p.n_head, 1};
  AttendArgs args = p.arguments();
  args.sinks = nullptr;
  args.empty_rows = EmptyRows::kZero;
  args.partial = x.view;
  Backwards executor(2);
  call(args, plan, executor, isa);
  return x;
}

Results merged(const Problem& p, std::span<const PartialView> parts, Isa isa) {
  Results x;
  const std::int64_t n = p.n_row * p.n_head;
  x.out.assign(static_cast<std::size_t>(n * p.v_dim), 77);
  x.lse.assign(static_cast<std::size_t>(n), 77);
  x.status.resize(x.lse.size());
  MergeArgs args;
  args.parts = parts;
  args.n_row = p.n_row;
  args.n_head = p.n_head;
  args.v_dim = p.v_dim;
  if (p.has_sinks) args.sinks = p.sinks.data();
  args.out = packed_heads(x.out.data(), p.n_row, p.n_head, p.v_dim);
  args.lse = x.lse.data();
  args.lse_row_stride = args.status_row_stride = p.n_head;
  args.row_status = x.status.data();
  Backwards executor(1);
  require(merge_partials(args, *cpu_backend(executor, isa)).ok());
  return x;
}

// The mask as bits, cut at a key of each sequence: [begin, end) of the valid span.
struct AsBitmap {
  AsBitmap(const Problem& p, const std::vector<KeySpan>& spans) : spans(spans) {
    std::int64_t row = 0;
    words.resize(p.cases.size());
    for (std::size_t s = 0; s < p.cases.size(); ++s) {
      const attention::test::CaseBitmap bitmap(p.cases[s]);
      words[s] = bitmap.words;
      views.push_back({words[s].data(), bitmap.view.row_stride, bitmap.view.head_stride});
      sequences.push_back(p.cases[s].sequence());
      sequences.back().q_begin = row;
      row += p.cases[s].n_q;
    }
    require(plan.compile(MaskSpec().bitmap(views).valid(this->spans),
                         {sequences, static_cast<std::int32_t>(p.n_head), static_cast<std::int32_t>(p.n_kv_head)})
                .ok());
  }
  std::vector<std::vector<std::uint64_t>> words;
  std::vector<BitmapView> views;
  std::vector<KeySpan> spans;
  std::vector<Sequence> sequences;
  MaskPlan plan;
};

// Parts of the keys, merged: one part gives the bits of the whole, two agree within their bounds.
void check_merge(Input& in, const Problem& p, const MaskPlan& plan, const Results& whole, Isa isa) {
  if (p.empty_rows != EmptyRows::kZero) return;
  const Partial all = partial(p, plan, isa);
  Results one = merged(p, {&all.view, 1}, isa);
  one.weights = whole.weights;
  require(same_bits(one, whole));
  std::vector<KeySpan> low, high;
  for (const auto& c : p.cases) {
    if (c.anchor > 0) return;  // a grid may not start past the keys
    const KeySpan valid = valid_span(c);
    const std::int64_t cut = valid.begin + in.byte() * 5 % (valid.end - valid.begin + 1);
    low.push_back({valid.begin, cut});
    high.push_back({cut, valid.end});
  }
  const AsBitmap first(p, low), second(p, high);
  const Partial a = partial(p, first.plan, isa), b = partial(p, second.plan, isa);
  const PartialView parts[] = {a.view, b.view};
  check_results(p, merged(p, parts, isa), true, 2);
}

// The same mask as bits on the same tile grid gives the same bits (guarantee G4).
void check_wording(const Problem& p, const Results& x, Isa isa) {
  std::vector<KeySpan> spans;
  for (const auto& c : p.cases) {
    if (!c.segments.empty()) return;  // documents in order have grids of their own
    spans.push_back(valid_span(c));
  }
  const AsBitmap bitmap(p, spans);
  require(same_bits(everything(p, bitmap.plan, 1, isa), x));
}

class Rows final : public Probe {
 public:
  bool wants(std::int64_t, std::int64_t, std::int64_t) const noexcept override { return true; }
  void row(const ProbeRow& row) const noexcept override { rows.push_back(row); }
  mutable std::vector<ProbeRow> rows;
};

// The probe changes nothing, and no gate fails.
void check_probe(const Problem& p, const MaskPlan& plan, const Results& x, Isa isa) {
  const Rows probe;
  require(same_bits(everything(p, plan, 1, isa, &probe), x));
  require(probe.rows.size() == x.lse.size());
  for (const ProbeRow& row : probe.rows) {
    const std::size_t s = static_cast<std::size_t>(row.sequence);
    const std::size_t at = static_cast<std::size_t>(row.row * p.n_head + row.head);
    require(row.n_visible == p.visible[s].count(row.head, row.query) && row.status == x.status[at]);
    require(std::memcmp(&row.lse, &x.lse[at], sizeof row.lse) == 0 && row.n_hidden_weighted == 0);
    require(!judge(row).failed() && !probe_text(row).empty() && probe_json(row).front() == '{');
  }
}

// One NaN in a key or value reaches exactly the rows that see it (guarantee G13).
void check_one_nan(Input& in, Problem& p, const MaskPlan& plan, const Results& x, Isa isa) {
  const std::size_t s = static_cast<std::size_t>(in.below(static_cast<std::int64_t>(p.cases.size())));
  const bool value = in.one_in(2);
  const std::int64_t n_kv = p.cases[s].n_kv, kv_head = in.below(p.n_kv_head);
  if (n_kv == 0 || p.empty_rows != EmptyRows::kZero) return;
  const std::int64_t j = in.byte() * 5 % n_kv, d = in.below(value ? p.v_dim : p.k_dim);
  if (!p.seen(s, kv_head, j)) return;
  const std::int64_t at = p.place(value ? p.view.v : p.view.k, s, j, kv_head, d) / dtype_bytes(p.view.dtype, 1);
  std::vector<std::uint8_t>& memory = value ? p.kv[s].v : p.kv[s].k;
  store(p.view.dtype, memory.data(), at, NAN);
  Results y = x;
  AttendArgs args = p.arguments();
  args.check_weights = WeightCheck::kOff;
  args.out = packed_heads(y.out.data(), p.n_row, p.n_head, p.v_dim);
  args.row_status = y.status.data();
  args.status_row_stride = p.n_head;
  Backwards executor(1);
  call(args, plan, executor, isa);
  for_each_row(p, [&](std::size_t t, std::int64_t h, std::int64_t i, std::size_t row) {
    const bool hit = t == s && h / (p.n_head / p.n_kv_head) == kv_head && p.visible[s](h, i, j);
    require(hit ? y.status[row] == RowStatus::kNonFinite : y.status[row] == x.status[row]);
    for (std::int64_t e = 0; e < p.v_dim; ++e) {
      const std::size_t place = row * static_cast<std::size_t>(p.v_dim) + static_cast<std::size_t>(e);
      const bool nan = hit && (!value || e == d);
      require(nan ? std::isnan(y.out[place]) : std::memcmp(&y.out[place], &x.out[place], sizeof(float)) == 0);
    }
  });
  const std::size_t plain = static_cast<std::size_t>((j * p.n_kv_head + kv_head) * (value ? p.v_dim : p.k_dim) + d);
  store(p.view.dtype, memory.data(), at, static_cast<float>((value ? p.kv[s].v_plain : p.kv[s].k_plain)[plain]));
}

void check_attend(Input& in, const std::vector<MaskCase>& cases, const MaskPlan& plan, std::vector<Visible> visible,
                  std::int64_t n_kv_head) {
  Problem p(in, cases, std::move(visible), n_kv_head);
  if (p.n_row == 0) return;
  const std::uint8_t checks = in.byte();
  const Results x = everything(p, plan, 1, Isa::kScalar);
  check_results(p, x, true, 1);
  for (const Isa isa : supported_isas()) {
    require(same_bits(everything(p, plan, 1 + static_cast<int>(in.below(5)), isa), x));
  }
  const Isa best = supported_isas().back();
  if (checks & 1) check_merge(in, p, plan, x, best);
  if (checks & 2) check_wording(p, x, best);
  if (checks & 4) check_probe(p, plan, x, best);
  if (checks & 8) check_one_nan(in, p, plan, x, best);
  if (checks & 16) check_f64(p, plan);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input in(data, size);
  const std::vector<MaskCase> cases = read_masks(in);
  const std::uint8_t checks = in.byte();
  CasesSpec spec(cases);
  const std::int32_t n_kv_head = in.one_in(2) ? 1 : spec.n_head;
  MaskPlan plan;
  if (!plan.compile(spec.spec, {spec.sequences, spec.n_head, n_kv_head}).ok()) return 0;
  std::vector<Visible> visible;
  for (const MaskCase& c : cases) visible.emplace_back(c);
  for (std::size_t s = 0; s < cases.size(); ++s) {
    const std::int64_t at = static_cast<std::int64_t>(s);
    check_pairs(in, cases[s], plan, at, visible[s]);
    check_kind(cases[s], plan.kind(at), visible[s]);
    if (checks % 4 == 0) check_conversions(in, cases[s], plan, at, visible[s]);
  }
  check_stats(cases, plan, visible);
  if (checks / 4 % 4 == 0) check_keep_mask(in);
  if (checks / 16 % 4 == 0) check_advance(in, spec, cases, n_kv_head);
  check_attend(in, cases, plan, std::move(visible), n_kv_head);
  if (checks / 64 % 4 == 0) check_refused(in, spec, &plan);
  return 0;
}
