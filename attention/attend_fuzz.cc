// libFuzzer: any bytes as masks, shapes and numbers of a small call. Whatever compile() accepts must agree with the
// definition pair by pair, and attend() must give the same bits on every ISA, exact zeros for rows that see nothing,
// and nothing of what is hidden: hidden keys and values hold NaN.
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "rowmax/attention.h"

namespace {

using namespace rowmax;

void require(bool condition) {
  if (!condition) std::abort();
}

// Numbers out of the input; once it is used up, noise that depends on it, so that short inputs say much.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}
  std::uint8_t byte() {
    if (at_ < size_) {
      noise_ = noise_ * 31 + data_[at_];
      return data_[at_++];
    }
    noise_ = noise_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<std::uint8_t>(noise_ >> 56);
  }
  std::int64_t below(std::int64_t n) { return byte() % n; }
  // Mostly small, sometimes an extreme.
  std::int64_t number() {
    const std::uint8_t kind = byte();
    if (kind < 200) return static_cast<std::int64_t>(kind % 40) - 8;
    if (kind < 220) return static_cast<std::int64_t>(byte()) * 3 - 100;
    constexpr std::int64_t extremes[] = {INT64_MAX,
                                         INT64_MAX - 1,
                                         INT64_MIN,
                                         INT64_MIN + 1,
                                         std::int64_t{1} << 60,
                                         -(std::int64_t{1} << 60),
                                         std::int64_t{1} << 31,
                                         -1};
    return extremes[kind % 8];
  }

 private:
  const std::uint8_t* data_;
  std::size_t size_;
  std::size_t at_ = 0;
  std::uint64_t noise_ = 1;
};

constexpr int kSequences = 2;
constexpr std::int64_t kHeads = 2;
constexpr std::int64_t kDim = 5;

// One problem: the mask as data, from which both the spec and the definition are made.
struct Problem {
  std::vector<Sequence> sequences;
  std::vector<std::vector<std::int64_t>> positions;
  std::int64_t left = kUnbounded, right = kUnbounded, chunk = 0, keep_first = 0;
  bool has_valid = false, has_segments = false, has_bitmap = false, has_prefix = false;
  std::vector<KeySpan> valid;
  std::vector<std::vector<std::int32_t>> q_ids, k_ids;
  std::vector<SegmentIds> segments;
  std::vector<std::vector<std::uint64_t>> words;
  std::vector<BitmapView> bitmaps;
  std::vector<std::int64_t> prefix;
};

void read_sequences(Input& in, Problem* p) {
  std::int64_t row = 0;
  p->positions.resize(kSequences);
  for (int s = 0; s < kSequences; ++s) {
    Sequence q;
    q.q_begin = row;
    q.n_q = in.below(5);
    q.n_kv = in.byte() % 150;
    q.q_pos = in.number();
    if (in.byte() % 8 == 0) {
      for (std::int64_t i = 0; i < q.n_q; ++i) p->positions[static_cast<std::size_t>(s)].push_back(in.number());
      q.positions = p->positions[static_cast<std::size_t>(s)].data();
    }
    row += q.n_q;
    p->sequences.push_back(q);
  }
}

void read_arrays(Input& in, Problem* p) {
  p->q_ids.resize(kSequences);
  p->k_ids.resize(kSequences);
  p->words.resize(kSequences);
  for (std::size_t s = 0; s < kSequences; ++s) {
    const Sequence& q = p->sequences[s];
    const std::int64_t begin = in.number();
    p->valid.push_back({begin, in.byte() % 4 == 0 ? in.number() : in.byte()});
    for (std::int64_t i = 0; i < q.n_q; ++i) p->q_ids[s].push_back(static_cast<std::int32_t>(in.below(3)));
    const std::uint8_t step = in.byte();
    for (std::int64_t j = 0; j < q.n_kv; ++j) {
      const bool ordered = step % 2 == 0;
      p->k_ids[s].push_back(static_cast<std::int32_t>(ordered ? j * 3 / (q.n_kv + 1) : (j + step) % 3));
    }
    p->segments.push_back({p->q_ids[s].data(), p->k_ids[s].data()});
    const std::int64_t stride = (q.n_kv + 63) / 64;
    for (std::int64_t w = 0; w < stride * q.n_q * kHeads; ++w) {
      std::uint64_t word = 0;
      for (int b = 0; b < 8; ++b) word = word << 8 | in.byte();
      p->words[s].push_back(word);
    }
    p->bitmaps.push_back({p->words[s].data(), stride, stride * q.n_q});
    p->prefix.push_back(in.number());
  }
}

MaskSpec read_spec(Input& in, Problem* p) {
  MaskSpec spec;
  const std::uint8_t conditions = in.byte();
  if (conditions & 1) {
    p->left = in.number();
    p->right = in.number();
    spec.window(p->left, p->right);
  }
  if (conditions & 2) spec.chunk(p->chunk = in.number());
  if (conditions & 4) spec.keep_first(p->keep_first = in.number());
  if (conditions & 8) p->has_valid = true, spec.valid(p->valid);
  if (conditions & 16) p->has_segments = true, spec.segments(p->segments);
  if (conditions & 32) p->has_bitmap = true, spec.bitmap(p->bitmaps);
  if (conditions & 64) p->has_prefix = true, spec.prefix(p->prefix);
  return spec;
}

// The meaning at the top of mask.h, in 128 bits so that nothing overflows.
bool defined_visible(const Problem& p, std::size_t s, std::int64_t h, std::int64_t i, std::int64_t j) {
  using Wide = __int128;
  const Sequence& q = p.sequences[s];
  std::int64_t first = 0, end = q.n_kv;
  if (p.has_valid) {
    first = std::max(first, p.valid[s].begin);
    end = std::min(end, p.valid[s].end);
  }
  if (j < first || j >= end) return false;
  const Wide position = q.positions != nullptr ? Wide{q.positions[i]} : Wide{q.q_pos} + i;
  if (p.has_segments && p.q_ids[s][static_cast<std::size_t>(i)] != p.k_ids[s][static_cast<std::size_t>(j)])
    return false;
  if (p.chunk > 0) {
    // The chunk counts from the first valid key of the sequence.
    const auto index = [&](Wide x) {
      const Wide d = x - first;
      return d >= 0 ? d / p.chunk : -((p.chunk - 1 - d) / p.chunk);
    };
    if (index(j) != index(position)) return false;
  }
  if (p.has_bitmap) {
    const BitmapView& map = p.bitmaps[s];
    if ((map.words[h * map.head_stride + i * map.row_stride + j / 64] >> (j % 64) & 1) == 0) return false;
  }
  if (p.has_prefix && j < p.prefix[s]) return true;
  if (p.right != kUnbounded && Wide{j} > position + p.right) return false;
  return p.left == kUnbounded || Wide{j} >= position - p.left || Wide{j} < Wide{first} + p.keep_first;
}

struct Numbers {
  std::vector<float> q, out, lse;
  std::vector<std::vector<float>> k, v;
  std::vector<KvSequence> kv;
};

float small(std::int64_t n) { return static_cast<float>((n * 37 + 11) % 64 - 32) / 16; }

// Keys that no query sees hold NaN, values too.
Numbers make_numbers(const Problem& p, const MaskPlan& plan, std::int64_t n_row) {
  Numbers x;
  for (std::int64_t i = 0; i < n_row * kHeads * kDim; ++i) x.q.push_back(small(i));
  x.k.resize(kSequences);
  x.v.resize(kSequences);
  for (std::size_t s = 0; s < kSequences; ++s) {
    for (std::int64_t j = 0; j < p.sequences[s].n_kv; ++j) {
      bool seen = false;
      for (std::int64_t i = 0; i < p.sequences[s].n_q; ++i) {
        for (std::int64_t h = 0; h < kHeads; ++h) {
          const bool visible = plan.visible(static_cast<std::int64_t>(s), h, i, j);
          require(visible == defined_visible(p, s, h, i, j));
          seen = seen || visible;
        }
      }
      for (std::int64_t d = 0; d < kDim; ++d) {
        x.k[s].push_back(seen ? small(j * kDim + d + 3) : NAN);
        x.v[s].push_back(seen ? small(j * 7 + d) : NAN);
      }
    }
    x.kv.push_back({x.k[s].data(), x.v[s].data(), nullptr, nullptr});
  }
  return x;
}

void attend_on(const Problem& p, const MaskPlan& plan, Numbers& x, std::int64_t n_row, Isa isa) {
  x.out.assign(x.q.size(), 1.0f);
  x.lse.assign(static_cast<std::size_t>(n_row * kHeads), 1.0f);
  AttendArgs args;
  args.q = packed_heads(static_cast<const float*>(x.q.data()), n_row, kHeads, kDim);
  args.kv = packed_kv(DType::kF32, 1, kDim, kDim);
  args.sequences = x.kv;
  args.scale = 0.5f;
  args.out = packed_heads(x.out.data(), n_row, kHeads, kDim);
  args.lse = x.lse.data();
  args.lse_row_stride = kHeads;
  SerialExecutor executor;
  const std::size_t size = (attend_workspace_bytes(args, plan, 1) + 63) / 64 * 64;
  void* memory = std::aligned_alloc(64, size + 64);
  const auto report = attend(args, plan, {memory, size}, executor, isa);
  std::free(memory);
  require(report.ok());
  require(report->n_non_finite == 0 && report->n_overflow == 0);
  for (std::size_t s = 0; s < kSequences; ++s) {
    const Sequence& q = p.sequences[s];
    for (std::int64_t i = 0; i < q.n_q; ++i) {
      for (std::int64_t h = 0; h < kHeads; ++h) {
        bool empty = true;
        for (std::int64_t j = 0; j < q.n_kv; ++j) empty = empty && !plan.visible(static_cast<std::int64_t>(s), h, i, j);
        const std::size_t row = static_cast<std::size_t>((q.q_begin + i) * kHeads + h);
        require(empty == (x.lse[row] == -INFINITY));
        for (std::size_t d = 0; d < kDim; ++d) {
          const float value = x.out[row * kDim + d];
          require(empty ? value == 0 && !std::signbit(value) : std::isfinite(value));
        }
      }
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input in(data, size);
  Problem problem;
  read_sequences(in, &problem);
  read_arrays(in, &problem);
  const MaskSpec spec = read_spec(in, &problem);
  MaskPlan plan;
  if (!plan.compile(spec, {problem.sequences, kHeads, 1}).ok()) return 0;
  const std::int64_t n_row = problem.sequences.back().q_begin + problem.sequences.back().n_q;
  if (n_row == 0) return 0;
  Numbers x = make_numbers(problem, plan, n_row);
  attend_on(problem, plan, x, n_row, Isa::kScalar);
  const std::vector<float> scalar = x.out;
  for (const Isa isa : supported_isas()) {
    attend_on(problem, plan, x, n_row, isa);
    require(std::memcmp(scalar.data(), x.out.data(), scalar.size() * sizeof(float)) == 0);
  }
  return 0;
}
