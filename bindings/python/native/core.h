// What the parts of the extension module share: arrays as the library sees them, errors as exceptions, thread pools.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "rowmax/attention.h"
#include "rowmax/probe.h"

namespace rowmax::python {

namespace nb = nanobind;

// Any element type, up to four dimensions; the Python side names the type, as NumPy has no word for bfloat16.
using Input = nb::ndarray<nb::ro, nb::device::cpu>;
using Output = nb::ndarray<nb::device::cpu>;

// A [batch][head][row][column] array; strides in elements.
struct Array {
  void* data = nullptr;
  std::int64_t shape[4] = {1, 1, 1, 1};
  std::int64_t stride[4] = {};
};

// Trailing dimensions are aligned; missing ones and those of extent 1 get stride 0 where `broadcast` is set.
template <class NdArray>
Array array_of(const NdArray& array, bool broadcast) {
  if (array.ndim() > 4) throw nb::value_error("more than four dimensions");
  Array result;
  result.data = const_cast<void*>(static_cast<const void*>(array.data()));
  for (std::size_t i = 0; i < array.ndim(); ++i) {
    const std::size_t to = 4 - array.ndim() + i;
    result.shape[to] = static_cast<std::int64_t>(array.shape(i));
    result.stride[to] = broadcast && array.shape(i) == 1 ? 0 : array.stride(i);
  }
  return result;
}

// Raises the Python exception that fits: ValueError, MemoryError, NotImplementedError or RuntimeError.
[[noreturn]] void raise(const Error& error);
inline void check(const Status& status) {
  if (!status.ok()) raise(status.error());
}
template <class T>
T checked(Result<T> result) {
  if (!result.ok()) raise(result.error());
  return std::move(*result);
}

// The default one for "".
Isa isa_of(const std::string& name);

// A thread pool and its scratch memory, for one call at a time.
struct Pool {
  int n_threads = 0;
  std::unique_ptr<Executor> executor;
  std::unique_ptr<void, void (*)(void*)> memory{nullptr, std::free};
  std::size_t memory_bytes = 0;

  // At least `bytes`, aligned to 64.
  Workspace workspace(std::size_t bytes);
};

// Borrows an idle pool of that many threads (0: all physical cores), or makes one; gives it back at the end.
class PoolLoan {
 public:
  explicit PoolLoan(int n_threads);
  ~PoolLoan();
  PoolLoan(const PoolLoan&) = delete;
  PoolLoan& operator=(const PoolLoan&) = delete;
  Pool& operator*() noexcept { return *pool_; }
  Pool* operator->() noexcept { return pool_.get(); }

 private:
  std::unique_ptr<Pool> pool_;
};
// In the child of a fork the threads are gone: idle pools are forgotten, without being destroyed.
void forget_pools() noexcept;

// A mask and the shapes of a call, with all arrays that the specification points to.
class CallMask {
 public:
  CallMask(std::int64_t batch, std::int32_t n_head, std::int32_t n_kv_head, std::int64_t n_q, std::int64_t n_kv,
           const nb::dict& rules);
  // No rules: every query sees every key. The queries are the last positions.
  CallMask(std::int64_t batch, std::int32_t n_head, std::int32_t n_kv_head, std::int64_t n_q, std::int64_t n_kv);
  // Query i sees keys 0 to i.
  void causal_top_left();
  // One span for each batch entry, or one for all.
  void valid(std::vector<KeySpan> spans);
  // Words [batch or 1][head or 1][row or 1][word].
  void bitmap(std::vector<std::uint64_t> words, const std::array<std::int64_t, 4>& shape);
  // Sequences [first, first + n) as sequences of a call whose row of query i of the k-th is k * rows + i.
  MaskPlan compile(std::int64_t first, std::int64_t n, std::int64_t rows) const;
  MaskPlan compile() const { return compile(0, batch_, n_q_); }
  std::int64_t batch() const noexcept { return batch_; }
  std::int64_t n_head() const noexcept { return n_head_; }
  std::int64_t n_kv_head() const noexcept { return n_kv_head_; }
  std::int64_t n_q() const noexcept { return n_q_; }
  std::int64_t n_kv() const noexcept { return n_kv_; }

 private:
  template <class T>
  const T* keep(nb::handle object, std::int64_t* n);
  BitmapView keep_words(nb::handle object, std::int64_t b);

  std::int64_t batch_, n_q_, n_kv_;
  std::int32_t n_head_, n_kv_head_;
  std::int64_t left_ = kUnbounded, right_ = kUnbounded, chunk_ = 0, keep_first_ = -1;
  std::vector<std::int64_t> q_pos_;
  const std::int64_t* positions_ = nullptr;
  std::vector<KeySpan> valid_;
  std::vector<std::vector<SegmentIds>> segments_;
  std::vector<std::vector<BitmapView>> bitmaps_;
  std::vector<std::vector<BlockMaskView>> blocks_;
  std::vector<TreeView> trees_;
  std::vector<std::int64_t> prefix_;
  std::vector<std::uint64_t> words_;
  std::vector<nb::object> owned_;  // what the pointers above point into
};

// Collects what a probe shows of chosen rows (batch entry, head, query).
class RowCollector final : public Probe {
 public:
  std::vector<std::array<std::int64_t, 3>> wanted;
  std::int64_t first = 0;  // the batch entry of sequence 0
  mutable std::vector<ProbeRow> found;

  bool wants(std::int64_t sequence, std::int64_t head, std::int64_t query) const noexcept override {
    return std::find(wanted.begin(), wanted.end(), std::array<std::int64_t, 3>{first + sequence, head, query}) !=
           wanted.end();
  }
  void row(const ProbeRow& row) const noexcept override {
    found.push_back(row);
    found.back().sequence += first;
  }
  nb::list rows() const;  // as dicts
};

// A call of attention whose arguments have been checked and brought into shape.
struct Call {
  Array q, k, v, out, bias, lse, weights, status;
  bool has_bias = false, has_lse = false, has_weights = false, has_status = false;
  AttendArgs args;
  Isa isa = Isa::kScalar;

  // Element types, shapes and strides of q, k, v and out, which are set before.
  void set_arrays(DType q_dtype, DType kv_dtype, DType out_dtype);
  void set_bias(const Array& array, DType dtype);
};
// Computes it, without the interpreter's lock. probe may be nullptr.
AttendReport run(const Call& call, const CallMask& mask, int n_threads, RowCollector* probe);

void bind_mask(nb::module_& module);
void bind_probe(nb::module_& module);
void bind_convert(nb::module_& module);
void bind_attend(nb::module_& module);
void bind_sdpa(nb::module_& module);

}  // namespace rowmax::python
