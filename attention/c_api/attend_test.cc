// The C interface: the same bits as the C++ one, sized structs, errors in the caller's buffer.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "rowmax/attention.h"
#include "rowmax/rowmax.h"

namespace rowmax {
namespace {

constexpr std::int64_t kHeads = 4, kKvHeads = 2, kDim = 24, kQueries = 7, kKeys = 150;

std::vector<float> numbers(std::int64_t n, std::uint64_t seed) {
  std::vector<float> result(static_cast<std::size_t>(n));
  for (float& x : result) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    x = static_cast<float>(static_cast<std::int32_t>(seed >> 32)) * 0x1p-31f;
  }
  return result;
}

struct Message {
  char text[256] = "";
  rowmax_error error = rowmax_error_default();
  Message() {
    error.message = text;
    error.message_capacity = sizeof text;
  }
};

struct Destroy {
  void operator()(rowmax_plan* plan) const { rowmax_plan_destroy(plan); }
  void operator()(rowmax_executor* executor) const { rowmax_executor_destroy(executor); }
  void operator()(void* memory) const { std::free(memory); }
};

// Two sequences (the second shorter), causal, with a bias on the first one.
struct Problem {
  std::vector<float> q = numbers(2 * kQueries * kHeads * kDim, 1);
  std::vector<float> k = numbers(2 * kKeys * kKvHeads * kDim, 2);
  std::vector<float> v = numbers(2 * kKeys * kKvHeads * kDim, 3);
  std::vector<float> bias = numbers(kQueries * kKeys, 4);
  std::vector<float> out = std::vector<float>(q.size(), -1.0f), lse = std::vector<float>(2 * kQueries * kHeads);
  std::vector<std::uint8_t> status = std::vector<std::uint8_t>(2 * kQueries * kHeads, 9);

  rowmax_sequence sequences[2] = {rowmax_sequence_default(), rowmax_sequence_default()};
  rowmax_kv_sequence kv_sequences[2] = {rowmax_kv_sequence_default(), rowmax_kv_sequence_default()};
  rowmax_mask mask = rowmax_mask_default();
  rowmax_geometry geometry = rowmax_geometry_default();
  rowmax_const_heads q_view = rowmax_const_heads_default();
  rowmax_heads out_view = rowmax_heads_default();
  rowmax_kv kv = rowmax_kv_default();
  rowmax_attend_args args = rowmax_attend_args_default();
  std::unique_ptr<rowmax_plan, Destroy> plan;
  std::unique_ptr<void, Destroy> memory;
  std::size_t bytes = 0;
  Message message;

  Problem() {
    for (int s = 0; s < 2; ++s) {
      sequences[s].q_begin = s * kQueries;
      sequences[s].n_q = kQueries;
      sequences[s].n_kv = kKeys - 60 * s;
      sequences[s].q_pos = sequences[s].n_kv - kQueries;
      kv_sequences[s].k = k.data() + s * kKeys * kKvHeads * kDim;
      kv_sequences[s].v = v.data() + s * kKeys * kKvHeads * kDim;
    }
    kv_sequences[0].bias = bias.data();
    mask.right = 0;
    geometry.sequences = sequences;
    geometry.n_sequences = 2;
    geometry.n_head = kHeads;
    geometry.n_kv_head = kKvHeads;
    q_view.data = q.data();
    out_view.data = out.data();
    q_view.n_row = out_view.n_row = 2 * kQueries;
    q_view.n_head = out_view.n_head = kHeads;
    q_view.n_dim = out_view.n_dim = kDim;
    q_view.row_stride = out_view.row_stride = kHeads * kDim;
    q_view.head_stride = out_view.head_stride = kDim;
    kv.n_kv_head = kKvHeads;
    kv.k_dim = kv.v_dim = kDim;
    kv.k_key_stride = kv.v_key_stride = kKvHeads * kDim;
    kv.k_head_stride = kv.v_head_stride = kDim;
    args.q = &q_view;
    args.kv = &kv;
    args.sequences = kv_sequences;
    args.n_sequences = 2;
    args.out = &out_view;
    args.scale = 1 / std::sqrt(static_cast<double>(kDim));
    args.bias_row_stride = kKeys;
    args.bias_key_stride = 1;
    args.lse = lse.data();
    args.lse_row_stride = kHeads;
    args.row_status = status.data();
    args.status_row_stride = kHeads;
  }

  rowmax_status compile() {
    rowmax_plan* made = nullptr;
    const rowmax_status created = rowmax_plan_create(&made, &message.error);
    plan.reset(made);
    return created != ROWMAX_OK ? created : rowmax_plan_compile(made, &mask, &geometry, &message.error);
  }
  rowmax_status reserve(const rowmax_backend* backend = nullptr) {
    const rowmax_status status = rowmax_attend_workspace_bytes(&args, plan.get(), backend, &bytes, &message.error);
    memory.reset(std::aligned_alloc(64, (bytes + 63) / 64 * 64));
    return status;
  }
  rowmax_status attend(const rowmax_backend* backend, rowmax_report* report) {
    return rowmax_attend(&args, plan.get(), memory.get(), bytes, backend, report, &message.error);
  }
  rowmax_status run(const rowmax_backend* backend, rowmax_report* report) {
    rowmax_status status = compile();
    if (status == ROWMAX_OK) status = reserve(backend);
    return status == ROWMAX_OK ? attend(backend, report) : status;
  }
};

// The same call through attention.h.
std::vector<float> expected(Problem& p, std::vector<float>* lse) {
  Sequence sequences[2];
  KvSequence kv_sequences[2];
  for (int s = 0; s < 2; ++s) {
    sequences[s].q_begin = s * kQueries;
    sequences[s].n_q = kQueries;
    sequences[s].n_kv = kKeys - 60 * s;
    sequences[s].q_pos = sequences[s].n_kv - kQueries;
    kv_sequences[s].k = p.k.data() + s * kKeys * kKvHeads * kDim;
    kv_sequences[s].v = p.v.data() + s * kKeys * kKvHeads * kDim;
  }
  kv_sequences[0].bias = p.bias.data();
  MaskPlan plan;
  EXPECT_TRUE(plan.compile(MaskSpec().causal(), {sequences, kHeads, kKvHeads}).ok());
  std::vector<float> out(p.q.size());
  lse->resize(2 * kQueries * kHeads);
  AttendArgs args;
  args.q = packed_heads(p.q.data(), 2 * kQueries, kHeads, kDim);
  args.kv = packed_kv(DType::kF32, kKvHeads, kDim, kDim);
  args.sequences = kv_sequences;
  args.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(kDim)));
  args.bias = {DType::kF32, kKeys, 0, 1};
  args.out = packed_heads(out.data(), 2 * kQueries, kHeads, kDim);
  args.lse = lse->data();
  args.lse_row_stride = kHeads;
  SerialExecutor executor;
  const Backend backend = *cpu_backend(executor);
  const std::size_t bytes = (attend_workspace_bytes(args, plan, backend) + 63) / 64 * 64;
  std::unique_ptr<void, Destroy> memory(std::aligned_alloc(64, bytes));
  EXPECT_TRUE(attend(args, plan, {memory.get(), bytes}, backend).ok());
  return out;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

TEST(CApi, GivesTheBitsOfTheCppInterface) {
  Problem p;
  std::vector<float> lse;
  const std::vector<float> want = expected(p, &lse);
  rowmax_report report = rowmax_report_default();
  ASSERT_EQ(p.run(nullptr, &report), ROWMAX_OK) << p.message.text;
  EXPECT_TRUE(same_bits(p.out, want));
  EXPECT_TRUE(same_bits(p.lse, lse));
  EXPECT_EQ(report.n_rows, 2 * kQueries * kHeads);
  EXPECT_EQ(report.n_empty + report.n_non_finite + report.n_overflow, 0);
  EXPECT_EQ(report.fault_row, -1);
  EXPECT_EQ(p.status, std::vector<std::uint8_t>(p.status.size(), ROWMAX_ROW_OK));
  EXPECT_STREQ(p.message.text, "");
}

// Sinks, weights and unfinished rows reach the library: the two halves of the keys, joined, are one call over all.
TEST(CApi, PartsJoinedAreTheWhole) {
  constexpr std::int64_t kMany = 1000, kCut = 512, kRows = 3;
  const std::vector<float> q = numbers(kRows * kDim, 5), k = numbers(kMany * kDim, 6), v = numbers(kMany * kDim, 7);
  const float sink = 0.25f;
  std::vector<float> whole(kRows * kDim), joined(kRows * kDim), lse(kRows), joined_lse(kRows), weights(kRows * kMany);
  std::vector<float> o(2 * kRows * kDim), m(2 * kRows), l(2 * kRows);
  std::vector<std::uint8_t> part_status(2 * kRows);
  rowmax_partial parts[2];
  Problem p;
  p.geometry.n_sequences = 1;
  p.geometry.n_head = p.geometry.n_kv_head = 1;
  p.sequences[0] = rowmax_sequence_default();
  p.sequences[0].n_q = kRows;
  p.sequences[0].n_kv = kMany;
  p.sequences[0].anchor = 0;
  p.mask = rowmax_mask_default();
  p.kv_sequences[0].k = k.data();
  p.kv_sequences[0].v = v.data();
  p.kv_sequences[0].bias = nullptr;
  p.q_view.data = q.data();
  p.out_view.data = whole.data();
  p.q_view.n_row = p.out_view.n_row = kRows;
  p.q_view.n_head = p.out_view.n_head = p.kv.n_kv_head = 1;
  p.q_view.row_stride = p.out_view.row_stride = p.kv.k_key_stride = p.kv.v_key_stride = kDim;
  p.args.n_sequences = 1;
  p.args.row_status = nullptr;
  p.args.lse = lse.data();
  p.args.lse_row_stride = 1;
  p.args.sinks = &sink;
  p.args.weights = weights.data();
  p.args.weights_row_stride = kMany;
  rowmax_report report = rowmax_report_default();
  ASSERT_EQ(p.run(nullptr, &report), ROWMAX_OK) << p.message.text;
  for (std::int64_t i = 0; i < kRows; ++i) {
    double sum = std::exp(static_cast<double>(sink - lse[i]));
    for (std::int64_t j = 0; j < kMany; ++j) sum += static_cast<double>(weights[i * kMany + j]);
    EXPECT_NEAR(sum, 1, 1e-5);
  }
  p.args.sinks = nullptr;
  p.args.weights = nullptr;
  p.args.lse = nullptr;
  p.args.out = nullptr;
  for (int half = 0; half < 2; ++half) {
    const std::int64_t span[2] = {half * kCut, half == 0 ? kCut : kMany};
    p.mask.valid = span;
    p.mask.n_valid = 1;
    parts[half] = rowmax_partial_default();
    parts[half].o = o.data() + half * kRows * kDim;
    parts[half].m = m.data() + half * kRows;
    parts[half].l = l.data() + half * kRows;
    parts[half].status = part_status.data() + half * kRows;
    parts[half].o_row_stride = kDim;
    parts[half].row_stride = 1;
    p.args.partial = &parts[half];
    ASSERT_EQ(p.run(nullptr, nullptr), ROWMAX_OK) << p.message.text;
  }
  rowmax_merge_args merge = rowmax_merge_args_default();
  merge.parts = parts;
  merge.n_parts = 2;
  merge.n_row = kRows;
  merge.n_head = 1;
  merge.v_dim = kDim;
  merge.sinks = &sink;
  merge.out = &p.out_view;
  merge.lse = joined_lse.data();
  merge.lse_row_stride = 1;
  p.out_view.data = joined.data();
  ASSERT_EQ(rowmax_merge(&merge, nullptr, &report, &p.message.error), ROWMAX_OK) << p.message.text;
  EXPECT_TRUE(same_bits(joined, whole));
  EXPECT_TRUE(same_bits(joined_lse, lse));
  EXPECT_EQ(report.n_rows, kRows);
  merge.n_parts = -1;
  EXPECT_EQ(rowmax_merge(&merge, nullptr, &report, &p.message.error), ROWMAX_INVALID_ARGUMENT);
  merge.parts = nullptr;
  merge.n_parts = 2;
  EXPECT_EQ(rowmax_merge(&merge, nullptr, &report, &p.message.error), ROWMAX_INVALID_ARGUMENT);
}

struct Pool {
  int n_runs = 0;
};
void run_on_three(void* user, std::int64_t n_tasks, rowmax_task_fn fn, void* context) {
  ++static_cast<Pool*>(user)->n_runs;
  std::vector<std::thread> threads;
  for (int worker = 0; worker < 3; ++worker) {
    threads.emplace_back([=] {
      for (std::int64_t task = worker; task < n_tasks; task += 3) fn(context, task, worker);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(CApi, ExecutorsDoNotChangeTheBits) {
  Problem p;
  std::vector<float> lse;
  const std::vector<float> want = expected(p, &lse);
  Pool pool;
  rowmax_executor_callbacks callbacks = rowmax_executor_callbacks_default();
  callbacks.concurrency = 3;
  callbacks.run = run_on_three;
  callbacks.user = &pool;
  rowmax_executor *own = nullptr, *threads = nullptr;
  ASSERT_EQ(rowmax_executor_create(&callbacks, &own, &p.message.error), ROWMAX_OK) << p.message.text;
  ASSERT_EQ(rowmax_thread_pool_create(2, &threads, &p.message.error), ROWMAX_OK) << p.message.text;
  EXPECT_EQ(rowmax_executor_concurrency(own), 3);
  EXPECT_EQ(rowmax_executor_concurrency(threads), 2);
  EXPECT_EQ(rowmax_executor_concurrency(nullptr), 1);
  for (rowmax_executor* executor : {own, threads}) {
    rowmax_backend backend = rowmax_backend_default();
    backend.executor = executor;
    std::fill(p.out.begin(), p.out.end(), -1.0f);
    EXPECT_EQ(p.run(&backend, nullptr), ROWMAX_OK) << p.message.text;
    EXPECT_TRUE(same_bits(p.out, want));
    rowmax_executor_destroy(executor);
  }
  EXPECT_GT(pool.n_runs, 0);
  rowmax_executor_destroy(nullptr);
  rowmax_plan_destroy(nullptr);
}

// A program built with an older header has shorter structs: what it lacks has its default.
TEST(CApi, ShorterStructsAreReadWithDefaults) {
  Problem p;
  p.args.row_status = nullptr;
  p.args.lse = nullptr;
  std::vector<float> lse;
  const std::vector<float> want = expected(p, &lse);
  std::memset(reinterpret_cast<char*>(&p.args) + offsetof(rowmax_attend_args, lse), 0xEE,
              sizeof p.args - offsetof(rowmax_attend_args, lse));
  p.args.struct_size = offsetof(rowmax_attend_args, lse);
  std::memset(reinterpret_cast<char*>(&p.kv) + offsetof(rowmax_kv, ring_keys), 0xEE,
              sizeof p.kv - offsetof(rowmax_kv, ring_keys));
  p.kv.struct_size = offsetof(rowmax_kv, ring_keys);
  std::memset(reinterpret_cast<char*>(&p.mask) + offsetof(rowmax_mask, valid), 0xEE,
              sizeof p.mask - offsetof(rowmax_mask, valid));
  p.mask.struct_size = offsetof(rowmax_mask, valid);
  rowmax_report report = rowmax_report_default();
  report.struct_size = offsetof(rowmax_report, n_overflow);
  report.fault_row = 77;
  ASSERT_EQ(p.run(nullptr, &report), ROWMAX_OK) << p.message.text;
  EXPECT_TRUE(same_bits(p.out, want));
  EXPECT_EQ(report.n_rows, 2 * kQueries * kHeads);
  EXPECT_EQ(report.struct_size, offsetof(rowmax_report, n_overflow));
  EXPECT_EQ(report.fault_row, 77);  // past the end that the caller told of
}

// Elements of an older program stand closer together.
TEST(CApi, ArraysAreSteppedByTheCallersSize) {
  Problem p;
  std::vector<float> lse;
  const std::vector<float> want = expected(p, &lse);
  constexpr std::uint32_t kOld = offsetof(rowmax_sequence, positions);
  alignas(8) char old[2 * kOld];
  for (int s = 0; s < 2; ++s) {
    p.sequences[s].struct_size = kOld;
    std::memcpy(old + s * kOld, &p.sequences[s], kOld);
  }
  p.geometry.sequences = reinterpret_cast<const rowmax_sequence*>(old);
  ASSERT_EQ(p.run(nullptr, nullptr), ROWMAX_OK) << p.message.text;
  EXPECT_TRUE(same_bits(p.out, want));
}

void expect_error(Problem& p, rowmax_status status, const char* words) {
  p.message.text[0] = '\0';
  p.message.error.code = -5;
  EXPECT_EQ(p.run(nullptr, nullptr), status) << words;
  EXPECT_EQ(p.message.error.code, status) << words;
  EXPECT_NE(std::string(p.message.text).find(words), std::string::npos) << p.message.text;
}

TEST(CApi, NewerAndForeignStructsAreRefusedByName) {
  Problem p;
  p.args.struct_size = sizeof p.args + 8;
  expect_error(p, ROWMAX_UNSUPPORTED, "rowmax_attend_args: struct_size");
  p.args.struct_size = 0;
  expect_error(p, ROWMAX_INVALID_ARGUMENT, "rowmax_attend_args_default()");
  p.args.struct_size = sizeof p.args - 4;
  expect_error(p, ROWMAX_INVALID_ARGUMENT, "rowmax_attend_args");
  p.args.struct_size = sizeof p.args;
  p.kv.struct_size = 4096;
  expect_error(p, ROWMAX_UNSUPPORTED, "rowmax_kv: ");
  p.kv.struct_size = sizeof p.kv;
  p.kv_sequences[1].struct_size -= 8;
  expect_error(p, ROWMAX_INVALID_ARGUMENT, "rowmax_kv_sequence 1");
  p.kv_sequences[1].struct_size += 8;
  p.mask.struct_size = 1 << 20;
  expect_error(p, ROWMAX_UNSUPPORTED, "rowmax_mask: ");
}

TEST(CApi, WrongCallsAreErrorsWithASentence) {
  Problem p;
  p.args.arithmetic = 7;
  expect_error(p, ROWMAX_INVALID_ARGUMENT, "arithmetic: expected 0 to 1, found 7");
  p.args.arithmetic = 0;
  p.args.empty_rows = -1;
  expect_error(p, ROWMAX_INVALID_ARGUMENT, "empty_rows");
  p.args.empty_rows = 0;
  p.args.q = nullptr;
  expect_error(p, ROWMAX_INVALID_ARGUMENT, "rowmax_const_heads is NULL");
  p.args.q = &p.q_view;
  p.q_view.dtype = 300;
  expect_error(p, ROWMAX_UNSUPPORTED, "type");
  p.q_view.dtype = ROWMAX_F32;
  p.q_view.space = ROWMAX_CUDA;
  expect_error(p, ROWMAX_UNSUPPORTED, "host");
  p.q_view.space = ROWMAX_HOST;
  p.args.n_sequences = 1;
  expect_error(p, ROWMAX_INVALID_ARGUMENT, "n_sequences: expected 2");
  p.args.n_sequences = 2;
  p.args.sequences = nullptr;
  expect_error(p, ROWMAX_INVALID_ARGUMENT, "rowmax_kv_sequence is NULL");
  p.args.sequences = p.kv_sequences;
  p.mask.n_bitmaps = 1;
  expect_error(p, ROWMAX_INVALID_ARGUMENT, "rowmax_bitmap is NULL");
  p.mask.n_bitmaps = -1;
  expect_error(p, ROWMAX_INVALID_ARGUMENT, "n_bitmaps is negative");
  p.mask.n_bitmaps = 0;
  const std::int64_t spans[6] = {0, 10, 0, 10, 0, 10};
  p.mask.valid = spans;
  p.mask.n_valid = 3;
  p.mask.n_valid_terms = 2;
  expect_error(p, ROWMAX_INVALID_ARGUMENT, "n_valid_terms");
  p.mask.n_valid = 0;
  p.geometry.n_sequences = -1;
  expect_error(p, ROWMAX_INVALID_ARGUMENT, "n_sequences is negative");
}

TEST(CApi, WorkspaceAndHandlesAreChecked) {
  Problem p;
  ASSERT_EQ(p.compile(), ROWMAX_OK);
  ASSERT_EQ(p.reserve(), ROWMAX_OK);
  rowmax_error* error = &p.message.error;
  EXPECT_EQ(rowmax_attend(&p.args, p.plan.get(), p.memory.get(), p.bytes - 1, nullptr, nullptr, error),
            ROWMAX_INVALID_ARGUMENT);
  EXPECT_NE(std::string(p.message.text).find("expected " + std::to_string(p.bytes)), std::string::npos);
  EXPECT_EQ(rowmax_attend(&p.args, p.plan.get(), nullptr, p.bytes, nullptr, nullptr, error), ROWMAX_INVALID_ARGUMENT);
  EXPECT_EQ(
      rowmax_attend(&p.args, p.plan.get(), static_cast<char*>(p.memory.get()) + 8, p.bytes, nullptr, nullptr, error),
      ROWMAX_INVALID_ARGUMENT);
  EXPECT_EQ(rowmax_attend(&p.args, nullptr, p.memory.get(), p.bytes, nullptr, nullptr, error), ROWMAX_INVALID_ARGUMENT);
  EXPECT_EQ(rowmax_attend(&p.args, p.plan.get(), p.memory.get(), p.bytes, nullptr, nullptr, nullptr), ROWMAX_OK);
  // A bound for these shapes suffices.
  rowmax_attend_bounds bounds = rowmax_attend_bounds_default();
  bounds.max_sequences = 2;
  bounds.max_n_kv = kKeys;
  bounds.n_head = kHeads;
  bounds.n_kv_head = kKvHeads;
  bounds.k_dim = bounds.v_dim = kDim;
  std::size_t bound = 0;
  ASSERT_EQ(rowmax_attend_workspace_bound(&bounds, nullptr, &bound, error), ROWMAX_OK) << p.message.text;
  EXPECT_GE(bound, p.bytes);
  bounds.n_head = 0;
  EXPECT_EQ(rowmax_attend_workspace_bound(&bounds, nullptr, &bound, error), ROWMAX_INVALID_ARGUMENT);
}

TEST(CApi, BackendsAreChecked) {
  Problem p;
  std::vector<float> lse;
  const std::vector<float> want = expected(p, &lse);
  const auto text_of = [&](const rowmax_backend* backend) {
    char text[64] = "";
    EXPECT_EQ(rowmax_backend_text(backend, text, sizeof text, &p.message.error), ROWMAX_OK) << p.message.text;
    return std::string(text);
  };
  EXPECT_EQ(text_of(nullptr), "cpu " + std::string(isa_name(*default_isa())) + ", 1 thread");
  for (const Isa isa : {Isa::kScalar, Isa::kAvx2, Isa::kAvx512, Isa::kNeon}) {
    rowmax_backend backend = rowmax_backend_default();
    backend.isa = static_cast<std::int32_t>(isa);
    std::fill(p.out.begin(), p.out.end(), -1.0f);
    const rowmax_status status = p.run(&backend, nullptr);
    EXPECT_EQ(status, isa_supported(isa) ? ROWMAX_OK : ROWMAX_UNSUPPORTED);
    if (status != ROWMAX_OK) continue;
    EXPECT_TRUE(same_bits(p.out, want)) << isa_name(isa);
    EXPECT_EQ(text_of(&backend), "cpu " + std::string(isa_name(isa)) + ", 1 thread");
  }
  rowmax_merge_args merge = rowmax_merge_args_default();
  rowmax_softmax_args softmax = rowmax_softmax_args_default();
  std::size_t bytes = 0;
  const auto every_call = [&](const rowmax_backend& backend, rowmax_status status, const char* words) {
    rowmax_error* error = &p.message.error;
    const rowmax_attend_bounds bounds = rowmax_attend_bounds_default();
    const rowmax_status found[] = {
        rowmax_attend_workspace_bytes(&p.args, p.plan.get(), &backend, &bytes, error),
        rowmax_attend_workspace_bound(&bounds, &backend, &bytes, error),
        rowmax_attend(&p.args, p.plan.get(), p.memory.get(), p.bytes, &backend, nullptr, error),
        rowmax_merge(&merge, &backend, nullptr, error), rowmax_softmax(&softmax, &backend, nullptr, error)};
    for (const rowmax_status each : found) EXPECT_EQ(each, status);
    EXPECT_NE(std::string(p.message.text).find(words), std::string::npos) << p.message.text;
  };
  rowmax_backend backend = rowmax_backend_default();
  backend.isa = 99;
  every_call(backend, ROWMAX_INVALID_ARGUMENT, "rowmax_backend.isa: 99 is the number of no instruction set");
  backend = rowmax_backend_default();
  backend.kind = 1;
  every_call(backend, ROWMAX_UNSUPPORTED, "rowmax_backend.kind: expected ROWMAX_BACKEND_CPU, found 1");
  backend = rowmax_backend_default();
  backend.struct_size += 8;
  every_call(backend, ROWMAX_UNSUPPORTED, "newer rowmax.h");
  backend.struct_size = 0;
  every_call(backend, ROWMAX_INVALID_ARGUMENT, "rowmax_backend_default()");
}

TEST(CApi, MessagesAreCutToTheBuffer) {
  char text[12];
  std::memset(text, '#', sizeof text);
  rowmax_error error = rowmax_error_default();
  error.message = text;
  error.message_capacity = 8;
  std::int32_t isa = 0;
  EXPECT_EQ(rowmax_isa_find("mmx", &isa, &error), ROWMAX_INVALID_ARGUMENT);
  EXPECT_EQ(std::strlen(text), 7u);
  EXPECT_EQ(std::string(text + 8, 4), "####");
  error.message = nullptr;
  EXPECT_EQ(rowmax_isa_find("mmx", &isa, &error), ROWMAX_INVALID_ARGUMENT);
  EXPECT_STREQ(rowmax_status_name(error.code), "invalid_argument");
  EXPECT_STREQ(rowmax_status_name(ROWMAX_OK), "ok");
}

TEST(CApi, InstructionSets) {
  std::int32_t isas[8];
  const std::int32_t n = rowmax_supported_isas(isas, 8);
  ASSERT_GE(n, 1);
  EXPECT_EQ(rowmax_supported_isas(nullptr, 0), n);
  for (std::int32_t i = 0; i < n; ++i) {
    std::int32_t found = -1;
    EXPECT_EQ(rowmax_isa_find(rowmax_isa_name(isas[i]), &found, nullptr), ROWMAX_OK);
    EXPECT_EQ(found, isas[i]);
  }
  for (const Isa isa : {Isa::kScalar, Isa::kAvx2, Isa::kAvx512, Isa::kNeon}) {
    EXPECT_EQ(rowmax_isa_name(static_cast<std::int32_t>(isa)), isa_name(isa));
  }
  EXPECT_EQ(rowmax_isa_name(-1), nullptr);
  EXPECT_EQ(rowmax_isa_name(4), nullptr);
  EXPECT_EQ(rowmax_abi_version(), static_cast<std::uint32_t>(ROWMAX_ABI_VERSION));
}

TEST(CApi, ExecutorsAreChecked) {
  rowmax_executor* executor = nullptr;
  Message message;
  EXPECT_EQ(rowmax_thread_pool_create(5000, &executor, &message.error), ROWMAX_LIMIT);
  EXPECT_EQ(executor, nullptr);
  rowmax_executor_callbacks callbacks = rowmax_executor_callbacks_default();
  EXPECT_EQ(rowmax_executor_create(&callbacks, &executor, &message.error), ROWMAX_INVALID_ARGUMENT);
  callbacks.run = run_on_three;
  callbacks.concurrency = 0;
  EXPECT_EQ(rowmax_executor_create(&callbacks, &executor, &message.error), ROWMAX_INVALID_ARGUMENT);
  EXPECT_EQ(rowmax_executor_create(&callbacks, nullptr, &message.error), ROWMAX_INVALID_ARGUMENT);
}

}  // namespace
}  // namespace rowmax
