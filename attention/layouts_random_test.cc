// Random types, strides, pages, rings, masks and shapes: whatever numbers are stored as, and wherever they lie, the
// bits are those of the same numbers in f32 (f64 with Arithmetic::kF64), densely packed, on the scalar ISA. Memory ends
// at pages that may not be touched; keys that no query sees hold NaN in every type; numbers of pages without visible
// keys are nonsense; what lies between results stays as it was.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

#include "attention/layout_checks.h"
#include "attention/test_problem.h"
#include "attention/test_types.h"

namespace rowmax::attention::test::layouts_random_test {
namespace {

constexpr std::byte kUntouched{0xA5};

// Elements between two pages that cannot be touched, flush with one of them.
class Fenced {
 public:
  Fenced(DType dtype, std::int64_t n, bool at_end, std::byte fill)
      : size_(static_cast<std::size_t>(dtype_bytes(dtype, n))) {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const std::size_t inner = (size_ + page - 1) / page * page;
    mapped_ = inner + 2 * page;
    base_ = static_cast<std::byte*>(mmap(nullptr, mapped_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(base_ + page, inner, PROT_READ | PROT_WRITE);
    data_ = base_ + page + (at_end ? inner - size_ : 0);
    std::memset(base_ + page, static_cast<int>(fill), inner);
  }
  ~Fenced() { munmap(base_, mapped_); }
  Fenced(const Fenced&) = delete;
  std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  std::size_t size_, mapped_;
  std::byte *base_, *data_;
};

// Where an array of some axes lies in memory: axes in any order, with gaps, forwards or backwards.
struct Axes {
  std::vector<std::int64_t> strides;
  std::int64_t origin = 0;  // of element 0
  std::int64_t size = 1;    // elements from the lowest to the highest
};

Axes random_axes(Random& random, const std::vector<std::int64_t>& sizes, bool blocks, bool may_reverse = true) {
  Axes axes;
  std::vector<std::size_t> order(sizes.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  for (std::size_t i = order.size(); i > 1; --i) {
    std::swap(order[i - 1], order[static_cast<std::size_t>(random.below(static_cast<std::int64_t>(i)))]);
  }
  if (blocks) {  // the last axis is the innermost, dense
    order.erase(std::find(order.begin(), order.end(), sizes.size() - 1));
    order.insert(order.begin(), sizes.size() - 1);
  }
  axes.strides.resize(sizes.size());
  const bool dense = random.below(3) == 0;
  std::int64_t stride = 1;
  for (const std::size_t axis : order) {
    const bool innermost = blocks && axis == sizes.size() - 1;
    if (!dense && !innermost) stride += random.below(3) * (blocks ? 32 : 1);
    axes.strides[axis] = stride;
    axes.size += (sizes[axis] - 1) * stride;
    if (may_reverse && !innermost && random.below(4) == 0) {
      axes.origin += (sizes[axis] - 1) * stride;
      axes.strides[axis] = -stride;
    }
    stride *= std::max<std::int64_t>(sizes[axis], 1);
  }
  return axes;
}

// Stores a random number as element `at`; returns what it stands for (f64 numbers need not be f32).
double store_random(Random& random, DType dtype, std::byte* data, std::int64_t at, float scale) {
  const double x = static_cast<double>(random.uniform()) + static_cast<double>(random.uniform()) * 0x1p-25;
  if (dtype == DType::kF64) {
    std::memcpy(data + 8 * at, &x, 8);
    return x;
  }
  if (dtype == DType::kF8E4M3) {
    const unsigned code = random.bits() & 0xBFu;
    data[at] = static_cast<std::byte>(code);
    return static_cast<double>(static_cast<float>(f8_by_definition(code)) * scale);
  }
  if (dtype == DType::kQ8_0) {
    std::byte* block = data + at / 32 * 34;
    const auto half = static_cast<std::uint16_t>(at / 32 % 50 == 7 ? 0x0123 : 0x1C00 + at / 32 % 777);  // or subnormal
    std::memcpy(block, &half, 2);
    const auto q = static_cast<std::int8_t>(random.bits());
    block[2 + at % 32] = static_cast<std::byte>(q);
    return static_cast<double>(base::f16_to_f32(half) * static_cast<float>(q));
  }
  const float rounded = rounded_to(dtype, static_cast<float>(x));
  store_as(dtype, data, at, rounded);
  return static_cast<double>(rounded);
}

void store_minus_infinity(DType dtype, std::byte* data, std::int64_t at) {
  const double x = -INFINITY;
  if (dtype == DType::kF64) {
    std::memcpy(data + 8 * at, &x, 8);
  } else {
    store_as(dtype, data, at, -INFINITY);
  }
}

template <class T>
T pick(Random& random, std::initializer_list<T> values) {
  return values.begin()[random.below(static_cast<std::int64_t>(values.size()))];
}

struct Case {
  Shape shape;
  bool f64 = false;
  DType q_type{}, kv_type{}, bias_type{}, out_type{};
  std::vector<Sequence> sequences;
  std::int64_t n_row = 0, max_kv = 0;
  std::vector<KeySpan> valid;
  std::vector<std::vector<std::uint64_t>> words;
  std::vector<BitmapView> bitmaps;
  MaskSpec spec;
  MaskPlan plan;
  float softcap = 0;
};

void make_mask(Random& random, Case* c) {
  const bool has_valid = random.below(3) == 0, has_bits = random.below(3) == 0;
  for (const Sequence& s : c->sequences) {
    const std::int64_t begin = random.below(s.n_kv);
    c->valid.push_back({begin, begin + 1 + random.below(s.n_kv - begin)});
    const std::int64_t row = (s.n_kv + 63) / 64;
    std::vector<std::uint64_t> words(static_cast<std::size_t>(row * s.n_q * c->shape.n_head));
    for (auto& word : words) word = std::uint64_t{random.bits()} << 32 | random.bits();
    c->words.push_back(words);
    c->bitmaps.push_back({nullptr, row, row * s.n_q});
  }
  for (std::size_t s = 0; s < c->words.size(); ++s) c->bitmaps[s].words = c->words[s].data();
  if (random.below(2) == 0) c->spec.causal();
  if (random.below(2) == 0) c->spec.window(random.below(150), 0);
  if (random.below(4) == 0) c->spec.keep_first(random.below(4));
  if (has_valid) c->spec.valid(c->valid);
  if (has_bits) c->spec.bitmap(c->bitmaps);
  if (!has_valid) {
    for (std::size_t s = 0; s < c->sequences.size(); ++s) c->valid[s] = {0, c->sequences[s].n_kv};
  }
}

void make_case(Random& random, Case* c) {
  c->f64 = random.below(4) == 0;
  c->kv_type = static_cast<DType>(random.below(kDTypeCount));
  if (c->kv_type == DType::kF64 && !c->f64) c->kv_type = DType::kF8E4M3;
  c->q_type = static_cast<DType>(random.below(c->f64 ? 4 : 3));
  c->bias_type = static_cast<DType>(random.below(c->f64 ? 4 : 3));
  c->out_type = static_cast<DType>(random.below(4));
  c->shape.n_kv_head = pick<std::int64_t>(random, {1, 2, 3});
  c->shape.n_head = c->shape.n_kv_head * pick<std::int64_t>(random, {1, 2, 4, 7});
  const auto dim = [&] {
    if (c->kv_type == DType::kQ8_0) return 32 * (1 + random.below(3));
    return random.below(2) == 0 ? 1 + random.below(50) : pick<std::int64_t>(random, {16, 32, 64, 72, 128});
  };
  c->shape.k_dim = dim();
  c->shape.v_dim = dim();
  for (std::int64_t s = 0, n = 1 + random.below(3); s < n; ++s) {
    const std::int64_t n_kv = 1 + (random.below(3) == 0 ? random.below(700) : random.below(150));
    const std::int64_t n_q = std::min<std::int64_t>(n_kv, pick<std::int64_t>(random, {1, 2, 5, 20}));
    c->sequences.push_back({c->n_row, n_q, n_kv - n_q, n_kv});
    c->n_row += n_q;
    c->max_kv = std::max(c->max_kv, n_kv);
  }
  c->softcap = random.below(4) == 0 ? 2.5f : 0;
  make_mask(random, c);
  const Status compiled = c->plan.compile(c->spec, {c->sequences, static_cast<std::int32_t>(c->shape.n_head),
                                                    static_cast<std::int32_t>(c->shape.n_kv_head)});
  ASSERT_TRUE(compiled.ok()) << compiled.error().message;
}

// Whether some query sees key j of sequence s through kv head h.
bool seen_by_any(const Case& c, std::size_t s, std::int64_t kv_head, std::int64_t j) {
  const std::int64_t group = c.shape.group();
  for (std::int64_t i = 0; i < c.sequences[s].n_q; ++i) {
    for (std::int64_t h = kv_head * group; h < (kv_head + 1) * group; ++h) {
      if (c.plan.visible(static_cast<std::int64_t>(s), h, i, j)) return true;
    }
  }
  return false;
}

using Memories = std::vector<std::unique_ptr<Fenced>>;

// Everything of one call twice: as drawn, and dense in f32 or f64.
struct Stored {
  AttendArgs args, dense;
  std::vector<KvSequence> kv, dense_kv;
  std::vector<std::vector<std::int32_t>> pages;
  std::vector<float> k_scales, v_scales;
  Memories memories;
  std::vector<std::vector<double>> wide;
  std::vector<std::vector<float>> narrow;

  // Dense numbers in the arithmetic's type.
  const void* keep(const std::vector<double>& numbers, bool f64) {
    if (f64) return wide.emplace_back(numbers).data();
    return narrow.emplace_back(numbers.begin(), numbers.end()).data();
  }
};

void store_queries(Random& random, const Case& c, Stored* x) {
  const Axes axes = random_axes(random, {c.n_row, c.shape.n_head, c.shape.k_dim}, false);
  x->memories.push_back(std::make_unique<Fenced>(c.q_type, axes.size, random.below(2) == 0, std::byte{0xFF}));
  std::byte* data = x->memories.back()->data();
  std::vector<double> numbers;
  for (std::int64_t i = 0; i < c.n_row; ++i) {
    for (std::int64_t h = 0; h < c.shape.n_head; ++h) {
      for (std::int64_t d = 0; d < c.shape.k_dim; ++d) {
        const std::int64_t at = axes.origin + i * axes.strides[0] + h * axes.strides[1] + d * axes.strides[2];
        numbers.push_back(store_random(random, c.q_type, data, at, 1));
      }
    }
  }
  x->args.q = {data + dtype_bytes(c.q_type, axes.origin),
               c.q_type,
               MemorySpace::kHost,
               c.n_row,
               c.shape.n_head,
               c.shape.k_dim,
               axes.strides[0],
               axes.strides[1],
               axes.strides[2]};
  x->dense.q = packed_heads(static_cast<const float*>(nullptr), c.n_row, c.shape.n_head, c.shape.k_dim);
  x->dense.q.dtype = c.f64 ? DType::kF64 : DType::kF32;
  x->dense.q.data = x->keep(numbers, c.f64);
}

// Pages or none, ring or none: where key j lies, in slots.
struct Slots {
  std::int64_t page_size = 0, ring = 0, n_slots = 0;
};

Slots random_slots(Random& random, const Case& c) {
  Slots slots;
  if (random.below(2) == 0) slots.page_size = pick<std::int64_t>(random, {1, 5, 8, 16, 64, 96, 128});
  slots.n_slots = c.max_kv;
  if (random.below(3) != 0) return slots;
  std::int64_t needed = 1;  // keys back from the end that are seen
  for (std::size_t s = 0; s < c.sequences.size(); ++s) {
    std::int64_t first = c.sequences[s].n_kv;
    for (std::int64_t h = 0; h < c.shape.n_kv_head; ++h) {
      for (std::int64_t j = 0; j < first; ++j) {
        if (seen_by_any(c, s, h, j)) first = j;
      }
    }
    needed = std::max(needed, c.sequences[s].n_kv - first);
  }
  slots.ring = needed + random.below(20);
  if (slots.page_size > 0) slots.ring = (slots.ring + slots.page_size - 1) / slots.page_size * slots.page_size;
  slots.n_slots = slots.ring;
  return slots;
}

// Keys or values of all sequences.
void store_side(Random& random, const Case& c, const Slots& slots, bool keys, Stored* x) {
  const std::int64_t n_dim = keys ? c.shape.k_dim : c.shape.v_dim, heads = c.shape.n_kv_head;
  const std::int64_t n_pages = slots.page_size > 0 ? (slots.n_slots + slots.page_size - 1) / slots.page_size : 0;
  const std::int64_t in_page = slots.page_size > 0 ? slots.page_size : slots.n_slots;
  const auto n_sequences = static_cast<std::int64_t>(c.sequences.size());
  // All sequences' pages lie in one pool; without pages a memory each.
  const std::int64_t pool = slots.page_size > 0 ? n_pages * n_sequences : 1;
  const Axes axes = random_axes(random, {pool, in_page, heads, n_dim}, c.kv_type == DType::kQ8_0);
  KvStrides& strides = keys ? x->args.kv.k : x->args.kv.v;
  strides = {axes.strides[0], axes.strides[1], axes.strides[2], axes.strides[3]};
  std::byte* data = nullptr;
  for (std::size_t s = 0; s < c.sequences.size(); ++s) {
    if (s == 0 || slots.page_size == 0) {
      x->memories.push_back(std::make_unique<Fenced>(c.kv_type,
                                                     c.kv_type == DType::kQ8_0 ? (axes.size + 31) / 32 * 32 : axes.size,
                                                     random.below(2) == 0, std::byte{0xFF}));
      data = x->memories.back()->data();
    }
    const std::int64_t n_kv = c.sequences[s].n_kv;
    std::vector<double> numbers(static_cast<std::size_t>(n_kv * heads * n_dim));
    for (std::int64_t j = 0; j < n_kv; ++j) {
      for (std::int64_t h = 0; h < heads; ++h) {
        if (!seen_by_any(c, s, h, j)) continue;
        const std::int64_t slot = slots.ring > 0 ? j % slots.ring : j;
        std::int64_t at = axes.origin + slot * axes.strides[1] + h * axes.strides[2];
        if (slots.page_size > 0) {
          at = axes.origin + x->pages[s][static_cast<std::size_t>(slot / slots.page_size)] * axes.strides[0] +
               slot % slots.page_size * axes.strides[1] + h * axes.strides[2];
        }
        const float scale = (keys ? x->k_scales : x->v_scales)[static_cast<std::size_t>(h)];
        for (std::int64_t d = 0; d < n_dim; ++d) {
          numbers[static_cast<std::size_t>((j * heads + h) * n_dim + d)] =
              store_random(random, c.kv_type, data, at + d * axes.strides[3], scale);
        }
      }
    }
    // q8_0: the origin is a whole number of blocks.
    (keys ? x->kv[s].k : x->kv[s].v) = data + dtype_bytes(c.kv_type, axes.origin);
    (keys ? x->dense_kv[s].k : x->dense_kv[s].v) = x->keep(numbers, c.f64);
  }
}

void store_keys_and_values(Random& random, const Case& c, Stored* x) {
  const Slots slots = random_slots(random, c);
  x->kv.resize(c.sequences.size());
  x->dense_kv.resize(c.sequences.size());
  x->args.kv = x->dense.kv = packed_kv(c.kv_type, c.shape.n_kv_head, c.shape.k_dim, c.shape.v_dim);
  x->dense.kv.dtype = c.f64 ? DType::kF64 : DType::kF32;
  x->args.kv.page_size = slots.page_size;
  x->args.kv.ring_keys = slots.ring;
  for (std::int64_t h = 0; h < c.shape.n_kv_head; ++h) {
    const bool scaled = c.kv_type == DType::kF8E4M3 && c.max_kv % 2 == 0;
    x->k_scales.push_back(scaled ? 0.8f + random.uniform() / 3 : 1);
    x->v_scales.push_back(scaled ? -1.1f + random.uniform() / 3 : 1);
  }
  if (c.kv_type == DType::kF8E4M3 && c.max_kv % 2 == 0) {
    x->args.kv.k_scales = x->k_scales.data();
    x->args.kv.v_scales = x->v_scales.data();
  }
  if (slots.page_size > 0) {
    const std::int64_t n_pages = (slots.n_slots + slots.page_size - 1) / slots.page_size;
    std::vector<std::int32_t> order(static_cast<std::size_t>(n_pages) * c.sequences.size());
    std::iota(order.begin(), order.end(), 0);
    for (std::size_t i = order.size(); i > 1; --i) {
      std::swap(order[i - 1], order[static_cast<std::size_t>(random.below(static_cast<std::int64_t>(i)))]);
    }
    for (std::size_t s = 0; s < c.sequences.size(); ++s) {
      x->pages.emplace_back(order.begin() + static_cast<std::int64_t>(s) * n_pages,
                            order.begin() + static_cast<std::int64_t>(s + 1) * n_pages);
    }
  }
  store_side(random, c, slots, true, x);
  store_side(random, c, slots, false, x);
  for (std::size_t s = 0; s < x->pages.size(); ++s) {
    std::vector<bool> used(x->pages[s].size());
    for (std::int64_t j = 0; j < c.sequences[s].n_kv; ++j) {
      bool seen = false;
      for (std::int64_t h = 0; h < c.shape.n_kv_head; ++h) seen = seen || seen_by_any(c, s, h, j);
      const std::int64_t slot = slots.ring > 0 ? j % slots.ring : j;
      if (seen) used[static_cast<std::size_t>(slot / slots.page_size)] = true;
    }
    for (std::size_t p = 0; p < used.size(); ++p) {
      if (!used[p]) x->pages[s][p] = pick<std::int32_t>(random, {-1, INT32_MIN, INT32_MAX});
    }
    x->kv[s].pages = x->pages[s].data();
  }
}

void store_bias(Random& random, const Case& c, Stored* x) {
  if (random.below(2) == 0) return;
  std::int64_t max_q = 0;
  for (const Sequence& s : c.sequences) max_q = std::max(max_q, s.n_q);
  Axes axes = random_axes(random, {max_q, c.shape.n_head, c.max_kv}, false);
  for (std::size_t axis = 0; axis < 2; ++axis) {
    if (axes.strides[axis] > 0 && random.below(4) == 0) axes.strides[axis] = 0;  // the same for all
  }
  x->args.bias = {c.bias_type, axes.strides[0], axes.strides[1], axes.strides[2]};
  x->dense.bias = {c.f64 ? DType::kF64 : DType::kF32, c.shape.n_head * c.max_kv, c.max_kv, 1};
  for (std::size_t s = 0; s < c.sequences.size(); ++s) {
    x->memories.push_back(std::make_unique<Fenced>(c.bias_type, axes.size, random.below(2) == 0, std::byte{0}));
    std::byte* data = x->memories.back()->data();
    for (std::int64_t i = 0; i < axes.size; ++i) {
      store_random(random, c.bias_type, data, i, 1);
      if (random.below(9) == 0) store_minus_infinity(c.bias_type, data, i);
    }
    x->kv[s].bias = data + dtype_bytes(c.bias_type, axes.origin);
    std::vector<double> numbers;
    for (std::int64_t i = 0; i < max_q; ++i) {
      for (std::int64_t h = 0; h < c.shape.n_head; ++h) {
        for (std::int64_t j = 0; j < c.max_kv; ++j) {
          numbers.push_back(
              bias_at(x->args, x->kv[s], i * axes.strides[0] + h * axes.strides[1] + j * axes.strides[2]));
        }
      }
    }
    x->dense_kv[s].bias = x->keep(numbers, c.f64);
  }
}

struct Sums {
  std::vector<float> lse;
  std::vector<RowStatus> status;
};

void ask_for_sums(const Case& c, Sums* sums, AttendArgs* args) {
  sums->lse.resize(static_cast<std::size_t>(c.n_row * c.shape.n_head));
  sums->status.resize(sums->lse.size());
  args->lse = sums->lse.data();
  args->row_status = sums->status.data();
  args->lse_row_stride = args->status_row_stride = c.shape.n_head;
}

// Element `at` of a result has the bits that x rounds to.
bool is_rounded(DType dtype, const std::byte* data, std::int64_t at, double x) {
  const std::byte* element = data + at * dtype_bytes(dtype, 1);
  if (dtype == DType::kF64) return std::memcmp(element, &x, 8) == 0;
  const auto single = static_cast<float>(x);
  if (dtype == DType::kF32) return std::memcmp(element, &single, 4) == 0;
  const std::uint16_t narrow = nearest_narrow(x, dtype == DType::kF16);
  return std::memcmp(element, &narrow, 2) == 0;
}

void run_case(std::uint64_t seed) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  Random random(seed);
  Case c;
  make_case(random, &c);
  Stored x;
  store_queries(random, c, &x);
  store_keys_and_values(random, c, &x);
  store_bias(random, c, &x);
  x.args.sequences = x.kv;
  x.dense.sequences = x.dense_kv;
  const std::int64_t heads = c.shape.n_head, v_dim = c.shape.v_dim;
  for (AttendArgs* args : {&x.args, &x.dense}) {
    args->arithmetic = c.f64 ? Arithmetic::kF64 : Arithmetic::kF32;
    args->scale = 0.4f;
    args->softcap = c.softcap;
  }
  std::vector<double> expected(static_cast<std::size_t>(c.n_row * heads * v_dim));
  x.dense.out = {expected.data(), DType::kF64, MemorySpace::kHost, c.n_row, heads, v_dim, heads * v_dim, v_dim, 1};
  Sums dense_sums;
  ask_for_sums(c, &dense_sums, &x.dense);
  const auto reference = attend_exact(x.dense, c.plan, pool(1), Isa::kScalar);
  ASSERT_TRUE(reference.ok()) << reference.error().message;
  ASSERT_EQ(reference->n_non_finite + reference->n_overflow, 0);

  const Axes axes = random_axes(random, {c.n_row, heads, v_dim}, false);
  Fenced out(c.out_type, axes.size, random.below(2) == 0, kUntouched);
  x.args.out = {out.data() + dtype_bytes(c.out_type, axes.origin),
                c.out_type,
                MemorySpace::kHost,
                c.n_row,
                heads,
                v_dim,
                axes.strides[0],
                axes.strides[1],
                axes.strides[2]};
  for (const Isa isa : {supported_isas()[static_cast<std::size_t>(seed % supported_isas().size())], best_isa()}) {
    std::memset(out.data(), static_cast<int>(kUntouched), out.size());
    Sums sums;
    ask_for_sums(c, &sums, &x.args);
    const auto report = attend_exact(x.args, c.plan, pool(1 + static_cast<int>(seed % 3)), isa);
    ASSERT_TRUE(report.ok()) << report.error().message;
    ASSERT_EQ(sums.status, dense_sums.status);
    ASSERT_EQ(std::memcmp(sums.lse.data(), dense_sums.lse.data(), sums.lse.size() * sizeof(float)), 0);
    std::vector<bool> written(static_cast<std::size_t>(axes.size));
    for (std::int64_t i = 0; i < c.n_row * heads * v_dim; ++i) {
      const std::int64_t at = axes.origin + i / (heads * v_dim) * axes.strides[0] +
                              i / v_dim % heads * axes.strides[1] + i % v_dim * axes.strides[2];
      written[static_cast<std::size_t>(at)] = true;
      ASSERT_TRUE(is_rounded(c.out_type, out.data(), at, expected[static_cast<std::size_t>(i)]))
          << isa_name(isa) << " K/V " << dtype_name(c.kv_type) << " out " << dtype_name(c.out_type) << " page "
          << x.args.kv.page_size << " ring " << x.args.kv.ring_keys << " element " << i;
    }
    const std::int64_t width = dtype_bytes(c.out_type, 1);
    for (std::int64_t b = 0; b < axes.size * width; ++b) {
      if (written[static_cast<std::size_t>(b / width)]) continue;
      ASSERT_EQ(out.data()[b], kUntouched) << "between results";
    }
  }
}

void run_seeds(std::uint64_t first, std::uint64_t last) {
  for (std::uint64_t seed = first; seed < last && !testing::Test::HasFatalFailure(); ++seed) run_case(seed);
}

TEST(Layouts, RandomOnesGiveTheBitsOfDenseNumbers) { run_seeds(1, 150); }
TEST(Full_Layouts, RandomOnesGiveTheBitsOfDenseNumbers) { run_seeds(150, 6000); }

}  // namespace
}  // namespace rowmax::attention::test::layouts_random_test
