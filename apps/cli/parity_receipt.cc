// rowmax receipt: what greedy decoding and attention do with a model, each against a reference that is named.
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <system_error>

#include "apps/cli/command.h"
#include "apps/cli/interrupt.h"
#include "apps/cli/kernel_list.h"
#include "apps/cli/receipt.h"
#include "apps/cli/terminal.h"
#include "engine/io/json.h"
#include "rowmax/attention.h"
#include "rowmax/engine/sampler.h"
#include "rowmax/engine/trace.h"
#include "rowmax/probe.h"
#include "rowmax/try.h"

namespace rowmax::cli {
namespace {

constexpr const char* kParityReceiptExamples = R"(
Examples:
  rowmax receipt -m model.gguf -o receipts
  rowmax receipt -m model.gguf -p "The capital of France is" --reference llama_cpp.json --reference-name llama.cpp -o receipts
Writes receipt.json, attention_stability.json and decode_parity.json, 32 greedy steps as [{"step": 0, "token": 17}, ...];
--reference is a file of the same form that another engine wrote. Exit code 0: everything was compared and agrees, 10:
something differs, 11: something has no reference (without --reference the decoded tokens).
)";

constexpr std::size_t kMaxBytes = std::size_t{16} << 20;
constexpr std::int64_t kParitySteps = 32, kLongSteps = 100;

struct ReceiptFlags {
  EngineFlags engine;
  SessionFlags session;
  std::string prompt, tokens, reference, reference_name, folder;
  bool force = false, json = false;
};

// Greedy decoding, token by token.
struct Decoded {
  std::vector<engine::TokenId> prompt, tokens;
  std::vector<std::vector<float>> logits;  // of each step
  std::string fault;                       // what ended it early
};

Result<Decoded> decode(engine::Session& session, std::vector<engine::TokenId> prompt) {
  Decoded decoded{.prompt = std::move(prompt), .tokens = {}, .logits = {}, .fault = {}};
  ROWMAX_TRY(sequence, session.open());
  std::vector<engine::TokenId> next = decoded.prompt;
  const std::int64_t room = session.context() - std::ssize(next) + 1;
  while (std::ssize(decoded.tokens) < std::min(kLongSteps, room)) {
    if (interrupted()) return Error{ErrorCode::kCancelled, "interrupted; nothing was written"};
    const engine::BatchItem item{sequence, next, engine::LogitsFor::kLast};
    if (const Status computed = session.forward({&item, 1}); !computed.ok()) {
      if (computed.error().code != ErrorCode::kNumericFault) return computed.error();
      decoded.fault =
          "generation failed at step " + std::to_string(decoded.tokens.size()) + ": " + computed.error().message;
      break;
    }
    const auto row = session.logits(0);
    ROWMAX_TRY(token, engine::argmax(row));
    decoded.tokens.push_back(token);
    decoded.logits.emplace_back(row.begin(), row.end());
    next = {token};
  }
  session.close(sequence);
  return decoded;
}

// Steps of another engine; empty where there is none.
struct Reference {
  std::string name = "none";
  std::map<std::int64_t, std::int64_t> steps;  // ids as they stand there, of any size
  std::vector<std::int64_t> prompt;            // empty: the file does not say
};

Result<std::vector<std::int64_t>> ids_of(engine::Json list, const std::string& file) {
  std::vector<std::int64_t> ids;
  for (const engine::Json item : list.elements()) {
    const auto id = item.as_int();
    if (!id) return Error{ErrorCode::kCorrupt, file + ": expected token ids, found " + item.text()};
    ids.push_back(*id);
  }
  return ids;
}

Result<Reference> read_reference(const ReceiptFlags& flags) {
  Reference reference;
  if (flags.reference.empty()) return reference;
  ROWMAX_TRY(document, engine::read_json_file(flags.reference, kMaxBytes));
  const engine::Json root = document.root();
  const engine::Json list = root.is_object() ? root.find("steps") : root;
  const std::string form =
      flags.reference + R"(: expected [{"step": 0, "token": 17}, ...], or an object with it as "steps")";
  if (!list.is_array()) return Error{ErrorCode::kCorrupt, form + ", found " + root.text()};
  for (const engine::Json row : list.elements()) {
    const auto step = row.find("step").as_int(), token = row.find("token").as_int();
    if (!step || !token) return Error{ErrorCode::kCorrupt, form + ", found " + row.text()};
    if (!reference.steps.emplace(*step, *token).second) {
      return Error{ErrorCode::kCorrupt, flags.reference + ": step " + std::to_string(*step) + " is there twice"};
    }
  }
  ROWMAX_TRY(prompt, ids_of(root.find("prompt_tokens"), flags.reference));
  reference.prompt = std::move(prompt);
  if (const engine::Json engine = root.find("engine");
      engine.is_string() && !flags.reference_name.empty() && engine.as_string() != flags.reference_name) {
    return Error{ErrorCode::kInvalidArgument, "--reference-name " + flags.reference_name + ": " + flags.reference +
                                                  " says that it is of " + engine.text()};
  }
  reference.name = root.find("engine").is_string() ? std::string(root.find("engine").as_string())
                   : flags.reference_name.empty()  ? flags.reference
                                                   : flags.reference_name;
  return reference;
}

Comparison decode_parity(const Decoded& decoded, const Reference& reference) {
  Comparison result{.name = "decode_parity", .reference = reference.name};
  if (!decoded.fault.empty() && std::ssize(decoded.tokens) < kParitySteps) {
    result.agrees = false;
    result.detail = decoded.fault;
    return result;
  }
  if (!reference.prompt.empty() && !std::ranges::equal(reference.prompt, decoded.prompt)) {
    result.detail = "the reference is of another prompt";
    return result;
  }
  result.n_for_a_pass = std::min(kParitySteps, std::ssize(decoded.tokens));
  for (std::int64_t step = 0; step < result.n_for_a_pass; ++step) {
    const auto theirs = reference.steps.find(step);
    if (theirs == reference.steps.end()) continue;
    ++result.n_compared;
    const engine::TokenId ours = decoded.tokens[static_cast<std::size_t>(step)];
    if (theirs->second == ours) continue;
    result.agrees = false;
    result.detail = "step " + std::to_string(step) + ": token " + std::to_string(theirs->second) +
                    " in the reference, " + std::to_string(ours) + " here";
    return result;
  }
  if (reference.name == "none") {
    result.detail = "no reference: nothing was compared";
  } else if (reference.steps.empty()) {
    result.detail = "the reference is empty: nothing was compared";
  } else if (result.n_compared < result.n_for_a_pass) {
    result.detail = std::to_string(result.n_compared) + " of " + std::to_string(result.n_for_a_pass) +
                    " steps compared: the reference has no others";
  }
  return result;
}

// Every step's logits against those of one pass over the same tokens.
Result<Comparison> long_sequence(engine::Session& session, const Decoded& decoded) {
  Comparison result{.name = "long_sequence_100_tokens", .reference = "rowmax, all tokens in one pass, bit for bit"};
  if (!decoded.fault.empty()) {
    result.agrees = false;
    result.detail = decoded.fault;
    return result;
  }
  if (std::ssize(decoded.tokens) < kLongSteps) {
    result.detail = "the context has room for " + std::to_string(decoded.tokens.size()) + " of 100 tokens";
    return result;
  }
  ROWMAX_TRY(sequence, session.open());
  std::vector<engine::TokenId> all = decoded.prompt;
  all.insert(all.end(), decoded.tokens.begin(), decoded.tokens.end() - 1);
  const std::span<const engine::TokenId> tokens(all);
  const std::size_t first = decoded.prompt.size() - 1;
  const engine::BatchItem head{sequence, tokens.first(first), engine::LogitsFor::kNone};
  if (first > 0) ROWMAX_RETURN_IF_ERROR(session.forward({&head, 1}));
  const engine::BatchItem rest{sequence, tokens.subspan(first), engine::LogitsFor::kAll};
  ROWMAX_RETURN_IF_ERROR(session.forward({&rest, 1}));
  for (std::size_t step = 0; step < decoded.logits.size(); ++step) {
    const auto row = session.logits(static_cast<std::int64_t>(step));
    ++result.n_compared;
    if (std::memcmp(row.data(), decoded.logits[step].data(), row.size_bytes()) == 0) continue;
    result.agrees = false;
    result.detail = "step " + std::to_string(step) + ": other logits than token by token";
    break;
  }
  session.close(sequence);
  return result;
}

// Every row of attention over a prompt of one token.
class SingleKey final : public engine::TraceObserver {
 public:
  bool wants(engine::Stage, std::int64_t) override { return false; }
  void see(const engine::TraceView&) override {}
  bool probes(std::int64_t) override { return true; }
  void see_row(std::int64_t layer, const ProbeRow& row) noexcept override {
    const ProbeVerdict verdict = judge(row);
    n_rows += verdict.weights_sum_to_one == Gate::kPass && row.n_visible == 1 ? 1 : 0;
    if (bad_layer < 0 && (verdict.failed() || row.n_visible != 1)) bad_layer = layer, bad_head = row.head;
  }
  std::int64_t n_rows = 0, bad_layer = -1, bad_head = -1;
};

Result<Comparison> one_token_prompt(engine::Session& session, engine::TokenId token) {
  Comparison result{.name = "one_token_prompt", .reference = "definition: a single visible key has all the weight"};
  SingleKey rows;
  ROWMAX_TRY(sequence, session.open());
  session.set_observer(&rows);
  const engine::BatchItem item{sequence, {&token, 1}, engine::LogitsFor::kLast};
  const Status computed = session.forward({&item, 1});
  session.set_observer(nullptr);
  session.close(sequence);
  if (!computed.ok() && computed.error().code != ErrorCode::kNumericFault) return computed.error();
  result.n_compared = rows.n_rows;
  result.agrees = computed.ok() && rows.bad_layer < 0;
  if (!computed.ok()) {
    result.detail = "generation failed at step 0: " + computed.error().message;
  } else if (rows.bad_layer >= 0) {
    result.detail = "layer " + std::to_string(rows.bad_layer) + ", head " + std::to_string(rows.bad_head);
  } else if (rows.n_rows == 0) {
    result.detail = "the model has no attention";
  }
  return result;
}

// Queries behind padding on the left, of the model's shape: those that see nothing give +0, whatever lies under the
// padding, and the others what they give without it.
Result<Comparison> fully_masked_row(const Engine& engine, const engine::Session& session) {
  constexpr std::int64_t kPad = 3, kReal = 4, kAll = kPad + kReal;
  Comparison result{.name = "fully_masked_row",
                    .reference = "definition: +0 where no key is visible; else the bits without padding"};
  const engine::ModelShape& shape = engine.model->shape();
  const std::int64_t d = shape.head_dim, n_q = shape.n_head * d, n_kv = shape.n_kv_head * d;
  const auto numbers = [](std::int64_t n, float step) {
    std::vector<float> values(static_cast<std::size_t>(n));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 17) * step - 8 * step;
    return values;
  };
  const std::vector<float> q = numbers(kAll * n_q, 0.125f);
  std::vector<float> k = numbers(kAll * n_kv, 0.25f), v = numbers(kAll * n_kv, 0.5f);
  std::fill_n(k.begin(), kPad * n_kv, std::numeric_limits<float>::quiet_NaN());
  std::fill_n(v.begin(), kPad * n_kv, std::numeric_limits<float>::quiet_NaN());
  SerialExecutor serial;
  ROWMAX_TRY(backend, cpu_backend(serial, session.kernels().isa));
  // From row `skip` on, with the keys from there on.
  const auto compute = [&](std::int64_t skip) -> Result<std::vector<float>> {
    const std::int64_t n = kAll - skip;
    const Sequence rows{.q_begin = 0, .n_q = n, .q_pos = 0, .n_kv = n};
    const KeySpan valid{kPad - skip, n};
    MaskPlan plan;
    ROWMAX_RETURN_IF_ERROR(plan.compile(
        MaskSpec().causal().valid({&valid, 1}),
        {{&rows, 1}, static_cast<std::int32_t>(shape.n_head), static_cast<std::int32_t>(shape.n_kv_head)}));
    std::vector<float> out(static_cast<std::size_t>(n * n_q), std::numeric_limits<float>::quiet_NaN());
    const KvSequence kv{k.data() + skip * n_kv, v.data() + skip * n_kv, nullptr, nullptr};
    AttendArgs args;
    args.q = packed_heads(q.data() + skip * n_q, n, shape.n_head, d);
    args.kv = packed_kv(DType::kF32, shape.n_kv_head, d, d);
    args.sequences = {&kv, 1};
    args.scale = 1 / std::sqrt(static_cast<double>(d));
    args.out = packed_heads(out.data(), n, shape.n_head, d);
    std::vector<std::byte> memory(attend_workspace_bytes(args, plan, backend) + 64);
    void* start = memory.data();
    std::size_t size = memory.size();
    std::align(64, size - 64, start, size);
    const auto report = attend(args, plan, {start, size}, backend);
    if (!report.ok()) return report.error();
    return out;
  };
  ROWMAX_TRY(padded, compute(0));
  ROWMAX_TRY(alone, compute(kPad));
  const std::vector<float> zeros(static_cast<std::size_t>(kPad * n_q), 0.0f);
  result.n_compared = kAll * n_q;
  if (std::memcmp(padded.data(), zeros.data(), zeros.size() * sizeof(float)) != 0) {
    result.agrees = false;
    result.detail = "a row without visible keys is not +0";
  } else if (std::memcmp(padded.data() + kPad * n_q, alone.data(), alone.size() * sizeof(float)) != 0) {
    result.agrees = false;
    result.detail = "padding changes the rows behind it";
  }
  return result;
}

struct Files {
  std::vector<Comparison> comparisons;
  Json receipt, stability, parity;
};

Result<std::string_view> make_files(const ReceiptFlags& flags, const Engine& engine, Files& files) {
  ROWMAX_TRY(reference, read_reference(flags));
  std::vector<engine::TokenId> prompt;
  if (flags.tokens.empty()) {
    ROWMAX_TRY(encoded, engine::encode_prompt(*engine.model, flags.prompt, false));
    prompt = std::move(encoded);
  } else {
    ROWMAX_TRY(ids, parse_integers(flags.tokens, "--tokens", 0, engine.model->shape().n_vocab - 1));
    prompt.assign(ids.begin(), ids.end());
  }
  if (prompt.empty()) return Error{ErrorCode::kInvalidArgument, "the prompt has no tokens"};
  engine::SessionOptions options = session_options(flags.session);
  options.reuse_prefixes = false;  // what is compared is computed twice
  ROWMAX_TRY(session, open_session(*engine.model, options, *engine.executor));
  if (std::ssize(prompt) + kParitySteps - 1 > session.context()) {
    return Error{ErrorCode::kLimit, "the prompt of " + std::to_string(prompt.size()) +
                                        " tokens and 32 more do not fit the context of " +
                                        std::to_string(session.context()) + " (-c)"};
  }
  ROWMAX_TRY(decoded, decode(session, std::move(prompt)));
  ROWMAX_TRY(masked, fully_masked_row(engine, session));
  ROWMAX_TRY(single, one_token_prompt(session, decoded.prompt[0]));
  ROWMAX_TRY(longer, long_sequence(session, decoded));
  files.comparisons = {masked, single, longer, decode_parity(decoded, reference)};
  files.stability = Json::array();
  files.parity = Json::array();
  for (const Comparison& one : files.comparisons) files.stability.push_back(one.json());
  for (std::int64_t step = 0; step < std::min(kParitySteps, std::ssize(decoded.tokens)); ++step) {
    files.parity.push_back({{"step", step}, {"token", decoded.tokens[static_cast<std::size_t>(step)]}});
  }
  ROWMAX_TRY(receipt, receipt_head("parity", engine, flags.engine, flags.session, session));
  ROWMAX_TRY(prompt_digest, hash_tokens(decoded.prompt));
  ROWMAX_TRY(tokens_digest, hash_tokens(decoded.tokens));
  const std::string_view verdict = verdict_of(files.comparisons);
  receipt.append("prompt", {{"tokens", decoded.prompt}, {"sha256", prompt_digest}});
  receipt.append("tokens", {{"tokens", decoded.tokens}, {"sha256", tokens_digest}});
  receipt.append("comparisons", files.stability);
  receipt.append("verdict", verdict);
  files.receipt = std::move(receipt);
  return verdict;
}

// All three or none.
Status write_files(const ReceiptFlags& flags, const engine::GgufFile& model, const Files& files) {
  std::error_code code;
  std::filesystem::create_directories(flags.folder, code);
  if (code) return Error{ErrorCode::kIo, flags.folder + ": " + code.message()};
  engine::OutputOptions options{.overwrite = flags.force, .inputs = {flags.reference}};
  options.inputs.insert(options.inputs.end(), model.paths().begin(), model.paths().end());
  std::vector<engine::OutputFile> open;
  open.reserve(3);
  for (const auto& [name, json] :
       {std::pair{"receipt.json", &files.receipt}, std::pair{"attention_stability.json", &files.stability},
        std::pair{"decode_parity.json", &files.parity}}) {
    ROWMAX_TRY(file, engine::OutputFile::create(flags.folder + "/" + name, options));
    open.push_back(std::move(file));
    const std::string text = json->dump() + "\n";
    ROWMAX_RETURN_IF_ERROR(open.back().append(std::as_bytes(std::span(text))));
  }
  std::vector<engine::OutputFile*> all;
  for (engine::OutputFile& file : open) all.push_back(&file);
  return engine::OutputFile::commit_all(all);
}

Result<ExitCode> receipt(ReceiptFlags flags) {
  if (!flags.prompt.empty() && !flags.tokens.empty()) {
    return Error{ErrorCode::kInvalidArgument, "give one prompt: -p TEXT or --tokens IDS"};
  }
  if (flags.prompt.empty() && flags.tokens.empty()) flags.prompt = "The capital of France is";
  if (flags.folder.empty()) return Error{ErrorCode::kInvalidArgument, "give the folder to write to: -o DIR"};
  ROWMAX_TRY(engine, load_engine(flags.engine));
  for (const std::string& notice : engine.notices) note(notice);
  Files files;
  auto verdict = make_files(flags, engine, files);
  if (!verdict.ok()) return with_file(std::move(verdict).error(), *engine.model);
  ROWMAX_RETURN_IF_ERROR(write_files(flags, engine.model->file(), files));
  if (flags.json) {
    ROWMAX_RETURN_IF_ERROR(
        print_json({{"output", flags.folder}, {"verdict", *verdict}, {"comparisons", files.stability}}));
  } else {
    print_comparisons(files.comparisons);
    std::printf("%s: %s\n", shown(flags.folder, STDOUT_FILENO).c_str(), std::string(*verdict).c_str());
  }
  return exit_code_of(*verdict);
}

}  // namespace

CommandBody declare_receipt(Flags& table) {
  auto flags = std::make_shared<ReceiptFlags>();
  table.add("-o,--output", flags->folder, "folder for the files; it is made where it is not there").type("DIR");
  table.add("-p,--prompt", flags->prompt, "the prompt, taken as it is")
      .type("TEXT")
      .not_empty()
      .shows("The capital of France is");
  table.add("--tokens", flags->tokens, "its token ids, 1,2,3, in place of a text").type("IDS").not_empty();
  table.choose_one({{"--tokens"}, {"--prompt"}});
  table.add("--reference", flags->reference, "decode_parity.json of another engine, for the same prompt").type("FILE");
  table.add("--reference-name", flags->reference_name, "who wrote it: transformers, llama.cpp, ...").type("NAME");
  table.only_with("--reference-name", {"--reference"});
  add_engine_flags(table, flags->engine);
  add_session_flags(table, flags->session);
  table.add_switch("--force", flags->force, "replace existing files");
  table.add_switch("--json", flags->json, "print one JSON object");
  table.set_examples(kParityReceiptExamples);
  return [flags] { return lists_kernels(flags->engine) ? list_kernels(flags->json) : receipt(*flags); };
}

}  // namespace rowmax::cli
