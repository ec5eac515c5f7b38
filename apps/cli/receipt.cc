#include "apps/cli/receipt.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <system_error>

#include "apps/cli/embedded_model.h"
#include "apps/cli/terminal.h"
#include "apps/store/digest.h"
#include "rowmax/cpu.h"
#include "rowmax/try.h"

namespace rowmax::cli {
namespace {

std::string utc_time() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32];
  return {text, std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

#if defined(__clang__)
constexpr const char* kCompiler = "clang " __clang_version__;
#else
constexpr const char* kCompiler = "gcc " __VERSION__;
#endif
#if defined(__x86_64__)
constexpr const char* kArchitecture = "x86_64";
#elif defined(__aarch64__)
constexpr const char* kArchitecture = "aarch64";
#else
constexpr const char* kArchitecture = "other";
#endif

Json pairs_json(const std::vector<std::pair<std::string, std::string>>& pairs) {
  Json list = Json::array();
  for (const auto& [name, value] : pairs) list.push_back(name + "=" + value);
  return list;
}

const engine::ModelFact* find_fact(const engine::Model& model, std::string_view name) {
  for (const engine::ModelFact& fact : model.description().facts) {
    if (fact.name == name) return &fact;
  }
  return nullptr;
}

// Every norm's eps is the model's; a convention goes before the file.
Result<Json> norms_json(const engine::Model& model) {
  ROWMAX_TRY(text, engine::edit_value(model, "rms_norm_eps"));
  double eps = 0;
  std::from_chars(text.data(), text.data() + text.size(), eps);
  const engine::ModelFact* fact = find_fact(model, "rms_norm_eps");
  std::string source = fact != nullptr ? fact->source : "unknown";
  for (const auto& [name, value] : model.options().edits) {
    if (name == "rms_norm_eps") source = "convention " + name + "=" + value;
  }
  Json list = Json::array();
  for (const engine::GgufTensor& tensor : model.file().tensors()) {
    if (tensor.shape.size() != 1 || tensor.name.find("norm") == std::string_view::npos) continue;
    list.push_back({{"tensor", tensor.name}, {"eps", eps}, {"source", source}});
  }
  return list;
}

Json scales_json(const engine::Model& model) {
  Json list = Json::array();
  for (const engine::GgufTensor& tensor : model.file().tensors()) {
    const auto scales = engine::ternary_scales(tensor);
    if (!scales) continue;
    list.push_back({{"tensor", tensor.name},
                    {"type", engine::gguf_tensor_format_name(tensor)},
                    {"n", scales->n},
                    {"zero", scales->n_zero},
                    {"subnormal", scales->n_subnormal},
                    {"negative", scales->n_negative},
                    {"non_finite", scales->n_non_finite},
                    {"clamped", 0},
                    {"min", scales->min},
                    {"max", scales->max}});
  }
  return list;
}

Json sampling_json(const engine::SamplingParams& p) {
  Json bias = Json::array();
  for (const auto& [token, value] : p.logit_bias) bias.push_back({{"token", token}, {"value", value}});
  return {{"temperature", p.temperature},
          {"top_k", p.top_k},
          {"top_p", p.top_p},
          {"min_p", p.min_p},
          {"repetition_penalty", p.repetition_penalty},
          {"frequency_penalty", p.frequency_penalty},
          {"presence_penalty", p.presence_penalty},
          {"penalty_window", p.penalty_window},
          {"logit_bias", bias},
          {"seed", std::to_string(p.seed)}};
}

}  // namespace

Json Comparison::json() const {
  return {
      {"name", name}, {"reference", reference}, {"verdict", verdict()}, {"n_compared", n_compared}, {"detail", detail}};
}

std::string_view verdict_of(std::span<const Comparison> comparisons) {
  const auto any = [&](std::string_view verdict) {
    return std::ranges::any_of(comparisons, [&](const Comparison& one) { return one.verdict() == verdict; });
  };
  return any("fail") ? "fail" : comparisons.empty() || any("inconclusive") ? "inconclusive" : "pass";
}

ExitCode exit_code_of(std::string_view verdict) {
  return verdict == "pass" ? ExitCode::kOk : verdict == "fail" ? ExitCode::kFaulty : ExitCode::kInconclusive;
}

void print_comparisons(std::span<const Comparison> comparisons) {
  for (const Comparison& one : comparisons) {
    std::printf("%s: %s, %lld compared%s%s\n", one.name.c_str(), std::string(one.verdict()).c_str(),
                static_cast<long long>(one.n_compared), one.detail.empty() ? "" : "; ",
                shown(one.detail, STDOUT_FILENO).c_str());
  }
}

Result<std::vector<HashedFile>> hash_model(const engine::GgufFile& file) {
  std::vector<HashedFile> files;
  if (file.paths().empty()) {
    ROWMAX_TRY(digest, store::bytes_digest(stories_bytes()));
    files.push_back({std::string(kStoriesName), stories_bytes().size(), std::move(digest)});
  }
  for (const std::string& path : file.paths()) {
    ROWMAX_TRY(digest, store::file_digest(path, store::DigestKind::kSha256));
    std::error_code code;
    const auto bytes = std::filesystem::file_size(path, code);
    if (code) return Error{ErrorCode::kIo, path + ": " + code.message()};
    files.push_back({path, bytes, std::move(digest)});
  }
  return files;
}

Result<std::string> hash_tokens(std::span<const engine::TokenId> tokens) {
  std::vector<std::byte> bytes;
  for (const engine::TokenId token : tokens) {
    for (int shift = 0; shift < 32; shift += 8) {
      bytes.push_back(static_cast<std::byte>(static_cast<std::uint32_t>(token) >> shift));
    }
  }
  return store::bytes_digest(bytes);
}

Result<Json> model_json(const engine::Model& model) {
  Json facts = Json::array();
  for (const engine::ModelFact& fact : model.description().facts) {
    facts.push_back({{"name", fact.name}, {"value", fact.value}, {"source", fact.source}});
  }
  ROWMAX_TRY(norms, norms_json(model));
  return Json{{"facts", facts}, {"norms", norms}, {"ternary_scales", scales_json(model)}};
}

Result<Json> receipt_head(std::string_view kind, const Engine& engine, const EngineFlags& flags,
                          const SessionFlags& session_flags, const engine::Session& session) {
  const engine::Model& model = *engine.model;
  ROWMAX_TRY(hashed, hash_model(model.file()));
  Json files = Json::array();
  for (const HashedFile& file : hashed) {
    files.push_back({{"path", file.path}, {"bytes", file.bytes}, {"sha256", file.sha256}});
  }
  const engine::KernelVariant kernels = session.kernels();
  Json head{{"schema", kReceiptSchema},
            {"schema_version", kReceiptVersion},
            {"kind", kind},
            {"created", utc_time()},
            {"build", {{"version", ROWMAX_VERSION}, {"compiler", kCompiler}, {"architecture", kArchitecture}}},
            {"machine",
             {{"cpu", cpu_name()},
              {"isa", isa_name(kernels.isa)},
              {"kernels", kernels.name},
              {"threads", engine.executor->concurrency()}}},
            {"model", {{"name", flags.model}, {"files", files}}},
            {"computation",
             {{"activations", flags.activations},
              {"kv_type", session_flags.kv_type},
              {"context", session.context()},
              {"pre", flags.pre},
              {"format", flags.formats},
              {"set", flags.overrides},
              {"ignore_key", flags.ignored_keys},
              {"convention", pairs_json(model.options().edits)}}}};
  ROWMAX_TRY(rest, model_json(model));
  head.update(rest);
  return head;
}

Result<Json> template_json(std::string_view source, const std::string& text) {
  if (source == "none") return Json{{"source", source}, {"sha256", Json()}};
  ROWMAX_TRY(digest, store::bytes_digest(std::as_bytes(std::span(text))));
  return Json{{"source", source}, {"sha256", digest}};
}

void ask_for_margins(engine::GenerateOptions& options) {
  options.log_probability = true;
  options.top_log_probabilities = 2;
}

Json tokens_json(const engine::GenerateResult& generation) {
  std::vector<engine::TokenId> sampled = generation.tokens;
  if (generation.end_token) sampled.push_back(*generation.end_token);
  Json list = Json::array();
  for (std::size_t i = 0; i < std::min(sampled.size(), generation.log_probabilities.size()); ++i) {
    const double log_prob = generation.log_probabilities[i];
    Json row{{"token", sampled[i]}, {"log_prob", log_prob}, {"runner_up", Json()}, {"margin", Json()}};
    for (const engine::TokenLogProbability& other : generation.top_log_probabilities[i]) {
      if (other.token == sampled[i]) continue;
      row["runner_up"] = Json(other.token);
      row["margin"] = Json(log_prob - other.value);
      break;
    }
    list.push_back(std::move(row));
  }
  return list;
}

Result<Json> generation_json(std::span<const engine::TokenId> prompt, const engine::GenerateOptions& options,
                             const engine::GenerateResult& generation, std::string_view stop) {
  ROWMAX_TRY(prompt_digest, hash_tokens(prompt));
  ROWMAX_TRY(tokens_digest, hash_tokens(generation.tokens));
  return Json{{"sampling", sampling_json(options.sampling)},
              {"max_tokens", options.max_tokens},
              {"stop_texts", options.stop},
              {"ignore_eos", options.ignore_eos},
              {"prompt", {{"tokens", prompt}, {"sha256", prompt_digest}}},
              {"steps", tokens_json(generation)},
              {"tokens", {{"tokens", generation.tokens}, {"sha256", tokens_digest}}},
              {"stop", stop}};
}

Status write_json(const std::string& path, const engine::OutputOptions& options, const Json& json) {
  ROWMAX_TRY(file, engine::OutputFile::create(path, options));
  const std::string text = json.dump() + "\n";
  ROWMAX_RETURN_IF_ERROR(file.append(std::as_bytes(std::span(text))));
  return file.commit();
}

}  // namespace rowmax::cli
