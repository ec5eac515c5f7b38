// One small program over the C interface that llama.cpp and its descendants share, built once against each of them
// (llama_driver.sh), so that all peers are asked for the same things in the same way. It is no part of rowmax's build.
//
//   llama_driver logits MODEL IDS OUT.npy                 teacher-forced logits of all positions, f32 [n, n_vocab]
//   llama_driver greedy MODEL IDS STEPS                   JSON: ids of a greedy continuation, best two logits a step
//   llama_driver bench  MODEL PROMPT GENERATED REPEATS    JSON: tokens a second, load times, memory
//   options behind them: -t THREADS  --kv f16|f32  --flash  --repack (ik_llama.cpp: repack weights while loading)
//                        --step N (logits: N tokens a call; 1 takes the path of generation)
// IDS: a file of token ids, any text between them. Compile with -DPEER_BITNET for bitnet.cpp, -DPEER_IK for
// ik_llama.cpp, neither for llama.cpp.
#include <sys/resource.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <llama.h>

namespace {

struct Options {
  int threads = 2;
  int step = 0;  // 0: all tokens in one call
  bool kv_f32 = false, flash = false, repack = false;
};

[[noreturn]] void die(const std::string& text) {
  std::fprintf(stderr, "llama_driver: %s\n", text.c_str());
  std::exit(1);
}

double seconds() {
  using Clock = std::chrono::steady_clock;
  return std::chrono::duration<double>(Clock::now().time_since_epoch()).count();
}

void keep_errors(ggml_log_level level, const char* text, void*) {
  if (level == GGML_LOG_LEVEL_ERROR) std::fputs(text, stderr);
}

// Model and context of one sequence.
class Peer {
 public:
  Peer(const char* path, int n_context, const Options& options) {
    llama_log_set(keep_errors, nullptr);
    llama_backend_init();
    llama_model_params model_params = llama_model_default_params();
    model_params.n_gpu_layers = 0;
#if defined(PEER_IK)
    model_params.repack_tensors = options.repack;
    if (options.repack) model_params.use_mmap = false;
    model_params.flash_attn = options.flash;
#endif
#if defined(PEER_BITNET)
    model_ = llama_load_model_from_file(path, model_params);
#else
    model_ = llama_model_load_from_file(path, model_params);
#endif
    if (model_ == nullptr) die(std::string("cannot load ") + path);
    llama_context_params params = llama_context_default_params();
    params.n_ctx = static_cast<std::uint32_t>(n_context);
    params.n_batch = params.n_ctx;
    params.n_ubatch = 512;
    params.n_threads = params.n_threads_batch = options.threads;
    params.type_k = params.type_v = options.kv_f32 ? GGML_TYPE_F32 : GGML_TYPE_F16;
#if defined(PEER_BITNET)
    params.flash_attn = options.flash;
    context_ = llama_new_context_with_model(model_, params);
    n_vocab_ = llama_n_vocab(model_);
#elif defined(PEER_IK)
    params.flash_attn = options.flash;
    context_ = llama_init_from_model(model_, params);
    n_vocab_ = llama_n_vocab(model_);
#else
    params.flash_attn_type = options.flash ? LLAMA_FLASH_ATTN_TYPE_ENABLED : LLAMA_FLASH_ATTN_TYPE_DISABLED;
    context_ = llama_init_from_model(model_, params);
    n_vocab_ = llama_vocab_n_tokens(llama_model_get_vocab(model_));
#endif
    if (context_ == nullptr) die("cannot make a context");
    batch_ = llama_batch_init(n_context, 0, 1);
  }

  int n_vocab() const { return n_vocab_; }

  void clear() {
#if defined(PEER_BITNET) || defined(PEER_IK)
    llama_kv_cache_clear(context_);
#else
    llama_memory_clear(llama_get_memory(context_), true);
#endif
  }

  // Feeds ids at positions begin ...; the logits asked for are those of the last token, or of all.
  void decode(const llama_token* ids, int n, int begin, bool all) {
    batch_.n_tokens = n;
    for (int i = 0; i < n; ++i) {
      batch_.token[i] = ids[i];
      batch_.pos[i] = begin + i;
      batch_.n_seq_id[i] = 1;
      batch_.seq_id[i][0] = 0;
      batch_.logits[i] = static_cast<std::int8_t>(all || i + 1 == n);
    }
    if (llama_decode(context_, batch_) != 0) die("llama_decode failed");
  }
  const float* logits(int i) const { return llama_get_logits_ith(context_, i); }

 private:
  llama_model* model_ = nullptr;
  llama_context* context_ = nullptr;
  llama_batch batch_{};
  int n_vocab_ = 0;
};

std::vector<llama_token> read_ids(const char* path) {
  std::ifstream file(path);
  if (!file) die(std::string(path) + ": cannot be read");
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  std::vector<llama_token> ids;
  for (std::size_t i = 0; i < text.size();) {
    std::size_t end = i;
    while (end < text.size() && std::isdigit(static_cast<unsigned char>(text[end])) != 0) ++end;
    if (end > i) ids.push_back(static_cast<llama_token>(std::atol(text.substr(i, end - i).c_str())));
    i = end > i ? end : i + 1;
  }
  return ids;
}

void write_npy(const char* path, const std::vector<float>& values, std::size_t columns) {
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + std::to_string(values.size() / columns) +
                       ", " + std::to_string(columns) + "), }";
  while ((10 + header.size() + 1) % 64 != 0) header += ' ';
  header += '\n';
  std::ofstream file(path, std::ios::binary);
  const char magic[8] = {'\x93', 'N', 'U', 'M', 'P', 'Y', 1, 0};
  file.write(magic, sizeof magic);
  file.put(static_cast<char>(header.size() & 255)).put(static_cast<char>(header.size() >> 8));
  file << header;
  file.write(reinterpret_cast<const char*>(values.data()), static_cast<std::streamsize>(values.size() * sizeof(float)));
  if (!file) die(std::string(path) + ": cannot be written");
}

void run_logits(const char* model, const char* ids_path, const char* out, const Options& options) {
  const std::vector<llama_token> ids = read_ids(ids_path);
  const int n = static_cast<int>(ids.size()), step = options.step > 0 ? options.step : n;
  Peer peer(model, std::max(64, n), options);
  std::vector<float> all;
  for (int begin = 0; begin < n; begin += step) {
    const int count = std::min(step, n - begin);
    peer.decode(ids.data() + begin, count, begin, true);
    for (int i = 0; i < count; ++i) {
      const float* row = peer.logits(i);
      all.insert(all.end(), row, row + peer.n_vocab());
    }
  }
  write_npy(out, all, static_cast<std::size_t>(peer.n_vocab()));
}

void run_greedy(const char* model, const char* ids_path, int steps, const Options& options) {
  const std::vector<llama_token> ids = read_ids(ids_path);
  Peer peer(model, static_cast<int>(ids.size()) + steps + 8, options);
  peer.decode(ids.data(), static_cast<int>(ids.size()), 0, false);
  int at = static_cast<int>(ids.size()) - 1;
  std::printf("{\"steps\": [");
  for (int step = 0; step < steps; ++step) {
    const float* row = peer.logits(at);
    int best = 0, second = 1;  // ties to the lowest id
    for (int i = 1; i < peer.n_vocab(); ++i) {
      if (row[i] > row[best]) {
        second = best;
        best = i;
      } else if (i != best && (second == best || row[i] > row[second])) {
        second = i;
      }
    }
    std::printf("%s[[%d, %.7g], [%d, %.7g]]", step == 0 ? "" : ", ", best, static_cast<double>(row[best]), second,
                static_cast<double>(row[second]));
    const llama_token token = best;
    if (step + 1 < steps) peer.decode(&token, 1, static_cast<int>(ids.size()) + step, false);
    at = 0;
  }
  std::printf("]}\n");
}

void print_list(const char* name, const std::vector<double>& values) {
  std::printf("\"%s\": [", name);
  for (std::size_t i = 0; i < values.size(); ++i) std::printf("%s%.4f", i == 0 ? "" : ", ", values[i]);
  std::printf("]");
}

void run_bench(const char* model, int n_prompt, int n_generated, int repeats, const Options& options) {
  const double start = seconds();
  Peer peer(model, std::max(n_prompt, n_generated) + 8, options);
  const double loaded = seconds();
  std::vector<llama_token> ids(static_cast<std::size_t>(std::max(n_prompt, n_generated)));
  std::uint64_t state = 1;
  for (llama_token& id : ids) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    id = static_cast<llama_token>((state >> 33) % static_cast<std::uint64_t>(peer.n_vocab()));
  }
  peer.decode(ids.data(), 1, 0, false);
  const double first = seconds();
  std::vector<double> prompt_speed, generation_speed;
  for (int r = 0; r < repeats; ++r) {
    if (n_prompt > 0) {
      peer.clear();
      const double begin = seconds();
      peer.decode(ids.data(), n_prompt, 0, false);
      prompt_speed.push_back(n_prompt / (seconds() - begin));
    }
    if (n_generated > 0) {
      peer.clear();
      peer.decode(ids.data(), 1, 0, false);
      const double begin = seconds();
      for (int i = 1; i <= n_generated; ++i) peer.decode(ids.data() + i % n_generated, 1, i, false);
      generation_speed.push_back(n_generated / (seconds() - begin));
    }
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  std::printf("{");
  print_list("prompt", prompt_speed);
  std::printf(", ");
  print_list("generation", generation_speed);
  std::printf(", \"load_s\": %.3f, \"first_token_s\": %.3f, \"peak_rss_bytes\": %ld}\n", loaded - start, first - start,
              usage.ru_maxrss * 1024L);
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  std::vector<const char*> args;
  for (int i = 1; i < argc; ++i) {
    const auto is = [&](const char* name) { return std::strcmp(argv[i], name) == 0; };
    const bool more = i + 1 < argc;
    if (is("-t") && more) {
      options.threads = std::atoi(argv[++i]);
    } else if (is("--step") && more) {
      options.step = std::atoi(argv[++i]);
    } else if (is("--kv") && more) {
      options.kv_f32 = std::strcmp(argv[++i], "f32") == 0;
    } else if (is("--flash")) {
      options.flash = true;
    } else if (is("--repack")) {
      options.repack = true;
    } else {
      args.push_back(argv[i]);
    }
  }
  const std::string command = args.empty() ? "" : args[0];
  if (command == "logits" && args.size() == 4) {
    run_logits(args[1], args[2], args[3], options);
  } else if (command == "greedy" && args.size() == 4) {
    run_greedy(args[1], args[2], std::atoi(args[3]), options);
  } else if (command == "bench" && args.size() == 5) {
    run_bench(args[1], std::atoi(args[2]), std::atoi(args[3]), std::atoi(args[4]), options);
  } else {
    die("usage: llama_driver logits MODEL IDS OUT.npy | greedy MODEL IDS STEPS | bench MODEL PROMPT GENERATED REPEATS");
  }
  return 0;
}
