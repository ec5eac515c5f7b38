// rowmax bench: speed of prompts and of generation at given sizes, depths and thread counts.
#include <time.h>

#include <chrono>
#include <cstdio>
#include <memory>

#include "apps/cli/bench_report.h"
#include "apps/cli/command.h"
#include "apps/cli/engine_setup.h"
#include "apps/cli/interrupt.h"
#include "apps/cli/kernel_list.h"
#include "apps/cli/memory_bandwidth.h"
#include "apps/cli/options.h"
#include "apps/cli/terminal.h"
#include "apps/store/model_catalog.h"
#include "rowmax/try.h"

namespace rowmax::cli {
namespace {

constexpr const char* kBenchExamples = R"(
Examples:
  rowmax bench -m model.gguf
  rowmax bench -m model.gguf -p 512 -n 128 -d 0,4096 -t 1,2 -r 5 --json
  rowmax bench -m model.gguf -p 128 -n 32 -s 1,8,64
ppN: N prompt tokens at once. tgN: N tokens one after another. @D: behind D tokens that are in the cache already.
xS: in each of S sequences that are computed together, the tokens of all of them counted.
GB/s of tg is the weights read per token; beside it what this machine reads at most (its own measurement).
)";

constexpr std::int64_t kMaxTokens = std::int64_t{1} << 24;
constexpr std::int64_t kMaxSequences = 2048;  // a session's 4096: each has a copy that goes on from its depth
constexpr std::int64_t kPageTokens = 64;      // of keys and values, the smallest part that is shared
constexpr std::size_t kProbeBytes = std::size_t{512} << 20;  // far beyond any cache

using Clock = std::chrono::steady_clock;

// Of all threads of this process.
double processor_seconds() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

struct BenchFlags {
  EngineFlags engine;
  std::string prompts = "512", generations = "128", depths = "0", sequences = "1", threads = "0", kv_type = "f16";
  int repetitions = 5;
  bool json = false;
};

struct BenchPlan {
  std::vector<std::int64_t> prompts, generations, depths, sequences, threads;
  std::int64_t context = 0;  // what the longest case needs
  std::int64_t most_sequences = 1;
};

Result<BenchPlan> make_plan(const BenchFlags& flags) {
  BenchPlan plan;
  ROWMAX_TRY(prompts, parse_integers(flags.prompts, "--n-prompt (ROWMAX_N_PROMPT)", 0, kMaxTokens));
  ROWMAX_TRY(generations, parse_integers(flags.generations, "--n-gen (ROWMAX_N_GEN)", 0, kMaxTokens));
  ROWMAX_TRY(depths, parse_integers(flags.depths, "--depth (ROWMAX_DEPTH)", 0, kMaxTokens));
  ROWMAX_TRY(sequences, parse_integers(flags.sequences, "--sequences (ROWMAX_SEQUENCES)", 1, kMaxSequences));
  ROWMAX_TRY(threads, parse_integers(flags.threads, "--threads (ROWMAX_THREADS)", 0, 1024));
  std::erase(prompts, 0);
  std::erase(generations, 0);
  std::int64_t longest = 1, deepest = 0;
  for (const std::int64_t n : prompts) longest = std::max(longest, n);
  for (const std::int64_t n : generations) longest = std::max(longest, n);
  for (const std::int64_t n : depths) deepest = std::max(deepest, n);
  plan = {std::move(prompts),   std::move(generations), std::move(depths),
          std::move(sequences), std::move(threads),     longest + deepest};
  for (const std::int64_t n : plan.sequences) plan.most_sequences = std::max(plan.most_sequences, n);
  return plan;
}

// The same ids every time, from anywhere in the vocabulary.
std::vector<engine::TokenId> made_up_tokens(std::int64_t n, std::int64_t n_vocab) {
  std::vector<engine::TokenId> ids(static_cast<std::size_t>(n));
  std::uint64_t state = 1;
  for (engine::TokenId& id : ids) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    id = static_cast<engine::TokenId>((state >> 33) % static_cast<std::uint64_t>(n_vocab));
  }
  return ids;
}

using Sequences = std::vector<engine::SequenceId>;

class Bench {
 public:
  Bench(const BenchFlags& flags, const BenchPlan& plan, const engine::Model& model)
      : flags_(flags),
        plan_(plan),
        model_(model),
        tokens_(made_up_tokens(plan.context + plan.most_sequences - 1, model.shape().n_vocab)) {}

  Result<BenchReport> run() {
    for (const std::int64_t threads : plan_.threads) {
      ROWMAX_TRY(executor, make_thread_pool(static_cast<int>(threads)));
      ROWMAX_RETURN_IF_ERROR(run_threads(*executor));
    }
    return std::move(report_);
  }

 private:
  Status run_threads(Executor& executor) {
    engine::SessionOptions options = session_options({plan_.context, flags_.kv_type});
    options.reuse_prefixes = false;
    // What lies at a depth is computed once: each measurement goes on from a copy, which shares its pages and takes new
    // ones for what comes behind and for the one that was partly filled.
    options.max_sequences = static_cast<int>(2 * plan_.most_sequences);
    const auto cost = engine::sequence_cost(model_.description(), plan_.context + kPageTokens, options);
    if (cost.ok() && __builtin_mul_overflow(cost->kv_budget_bytes, plan_.most_sequences, &options.kv_budget_bytes)) {
      return Error{ErrorCode::kLimit, "-s: the sequences' keys and values are larger than the address space"};
    }  // where there is no cost, open_session() says why
    ROWMAX_TRY(session, open_session(model_, options, executor, "the longest of -p and -n behind the deepest of -d"));
    ROWMAX_TRY(bandwidth, read_bandwidth(executor, kProbeBytes));  // takes seconds: nothing is refused behind it
    report_.machines.push_back({executor.concurrency(), bandwidth / 1e9});
    for (const std::int64_t depth : plan_.depths) {
      Sequences prefixes;
      for (std::int64_t s = 0; s < plan_.most_sequences; ++s) {
        ROWMAX_TRY(prefix, session.open());
        prefixes.push_back(prefix);
      }
      if (depth > 0) ROWMAX_RETURN_IF_ERROR(forward(session, prefixes, 0, depth));
      for (const std::int64_t n_sequence : plan_.sequences) {
        const auto some = std::span(prefixes).first(static_cast<std::size_t>(n_sequence));
        for (const std::int64_t n : plan_.prompts) {
          ROWMAX_RETURN_IF_ERROR(
              measure({"pp", n, depth, n_sequence, executor.concurrency(), {}, {}}, session, some, n));
        }
        for (const std::int64_t n : plan_.generations) {
          ROWMAX_RETURN_IF_ERROR(
              measure({"tg", n, depth, n_sequence, executor.concurrency(), {}, {}}, session, some, 1));
        }
      }
      for (const engine::SequenceId prefix : prefixes) session.close(prefix);
    }
    return {};
  }

  // Appends the tokens of positions [begin, begin + n) to all of them in one call; to each others, as if different users
  // had sent them.
  Status forward(engine::Session& session, std::span<const engine::SequenceId> sequences, std::int64_t begin,
                 std::int64_t n) {
    items_.clear();
    for (std::size_t s = 0; s < sequences.size(); ++s) {
      const auto first = static_cast<std::size_t>(begin) + s;
      items_.push_back(
          {sequences[s], std::span(tokens_).subspan(first, static_cast<std::size_t>(n)), engine::LogitsFor::kLast});
    }
    ROWMAX_RETURN_IF_ERROR(session.forward(items_));
    return {};
  }

  // `prefixes` hold the tokens of the row's depth.
  Status measure(BenchRow row, engine::Session& session, std::span<const engine::SequenceId> prefixes,
                 std::int64_t step) {
    if (is_terminal(STDERR_FILENO) && !flags_.engine.quiet) {
      std::fprintf(stderr, "\r\x1b[K%s, %d threads", test_name(row).c_str(), row.threads);
    }
    for (int repetition = -1; repetition < flags_.repetitions; ++repetition) {  // the first one warms up
      Sequences sequences;
      for (const engine::SequenceId prefix : prefixes) {
        ROWMAX_TRY(sequence, session.fork(prefix));
        sequences.push_back(sequence);
      }
      const auto start = Clock::now();
      const double processor_start = processor_seconds();
      for (std::int64_t done = 0; done < row.n; done += step) {
        if (interrupted()) return Error{ErrorCode::kCancelled, "interrupted"};
        ROWMAX_RETURN_IF_ERROR(forward(session, sequences, row.depth + done, step));
      }
      const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
      if (repetition >= 0) {
        row.samples.push_back(static_cast<double>(row.n * row.sequences) / seconds);
        row.processor_seconds.push_back(processor_seconds() - processor_start);
      }
      for (const engine::SequenceId sequence : sequences) session.close(sequence);
    }
    if (is_terminal(STDERR_FILENO) && !flags_.engine.quiet) std::fputs("\r\x1b[K", stderr);
    report_.rows.push_back(std::move(row));
    return {};
  }

  const BenchFlags& flags_;
  const BenchPlan& plan_;
  const engine::Model& model_;
  std::vector<engine::TokenId> tokens_;
  std::vector<engine::BatchItem> items_;
  BenchReport report_;
};

Result<ExitCode> bench(const BenchFlags& flags) {
  ROWMAX_TRY(plan, make_plan(flags));
  if (plan.prompts.empty() && plan.generations.empty()) {
    return Error{ErrorCode::kInvalidArgument, "nothing to measure: -p and -n are both 0"};
  }
  EngineFlags loading = flags.engine;
  loading.no_layout_check = true;  // says nothing about speed
  engine::SessionOptions sessions = session_options({plan.context, flags.kv_type});
  sessions.max_sequences = static_cast<int>(plan.most_sequences);  // their copies take little of their own
  ROWMAX_TRY(engine, load_engine(loading, sessions));
  for (const std::string& notice : engine.notices) note(notice);
  auto measured = Bench(flags, plan, *engine.model).run();
  if (!measured.ok()) return with_file(std::move(measured).error(), *engine.model);
  BenchReport report = std::move(measured).value();
  describe(*engine.model, flags.kv_type, report);
  if (flags.json) {
    ROWMAX_RETURN_IF_ERROR(print_json(bench_json(report)));
  } else {
    std::fputs(bench_markdown(report).c_str(), stdout);
  }
  return ExitCode::kOk;
}

}  // namespace

CommandBody declare_bench(Flags& table) {
  auto flags = std::make_shared<BenchFlags>();
  add_model_flag(table, flags->engine);
  const auto list = [&](const std::string& names, std::string& value, const std::string& help) {
    table.add(names, value, help).type("LIST").shows(value);
  };
  list("-p,--n-prompt", flags->prompts, "prompt sizes, with commas between; 0: none");
  list("-n,--n-gen", flags->generations, "generation sizes; 0: none");
  list("-d,--depth", flags->depths, "tokens in the cache before");
  list("-s,--sequences", flags->sequences, "sequences computed together, at most " + std::to_string(kMaxSequences));
  list("-t,--threads", flags->threads, "thread counts; 0: physical cores");
  table.add("-r,--repetitions", flags->repetitions, "measurements of each, after one that does not count")
      .within(1, 1000);
  add_memory_flag(table, flags->engine);
  add_kernel_flags(table, flags->engine);
  table.add("--activations", flags->engine.activations, "int8 or f32").one_of({"int8", "f32"}).shows("int8");
  add_kv_type_flag(table, flags->kv_type);
  table.add_switch("--json", flags->json, "print one JSON object in place of a markdown table");
  table.set_examples(kBenchExamples);
  return [flags] { return lists_kernels(flags->engine) ? list_kernels(flags->json) : bench(*flags); };
}

}  // namespace rowmax::cli
