// rowmax dump: stages of the forward pass as a safetensors file.
#include <cstdio>
#include <memory>

#include "apps/cli/command.h"
#include "apps/cli/json_output.h"
#include "apps/cli/kernel_list.h"
#include "apps/cli/safetensors_writer.h"
#include "apps/cli/terminal.h"
#include "apps/cli/traced_run.h"
#include "apps/store/digest.h"
#include "rowmax/engine/edits.h"
#include "rowmax/try.h"

namespace rowmax::cli {
namespace {

constexpr const char* kDumpExamples = R"(
Examples:
  rowmax dump -m model.gguf -p "Once upon" --stages all out.safetensors
  rowmax dump -m model.gguf --tokens 1,2,3 --stages q,k,scores --layers 0,5-7 out.safetensors
  rowmax dump -m model.gguf -p Hi --stages residual --convention rope_pairing=adjacent other.safetensors
A tensor is blk.N.STAGE (embedding, output_norm and logits have no blk.N), f32, [tokens, width], heads and experts
behind each other; metadata has the tokens, the model's SHA-256 and the facts it was computed with.
)";

struct DumpFlags {
  TraceFlags trace;
  std::string output;
  bool force = false, json = false;
};

Result<ExitCode> dump(const DumpFlags& flags) {
  ROWMAX_TRY(engine, load_engine(flags.trace.engine));
  for (const std::string& notice : engine.notices) note(notice);
  const engine::Model& model = *engine.model;
  const engine::OutputOptions output{.overwrite = flags.force,
                                     .inputs = {model.file().paths().begin(), model.file().paths().end()}};
  ROWMAX_RETURN_IF_ERROR(engine::check_output(flags.output, output));
  auto run = run_traced(engine, flags.trace);
  if (!run.ok()) return with_file(std::move(run).error(), model);

  // Whole or not at all: a fault in a later piece of the prompt leaves rows out.
  if (run->fault && std::ssize(run->tokens) > run->n_seen) return with_file(*run->fault, model);

  std::vector<std::pair<std::string, std::string>> metadata;
  metadata.emplace_back("tokens", Json(run->tokens).dump());
  metadata.emplace_back("model", model.file().name());
  for (const std::string& path : model.file().paths()) {
    const auto digest = store::file_digest(path, store::DigestKind::kSha256);
    if (digest.ok()) metadata.emplace_back("sha256:" + path, *digest);  // a model in the program has no file
  }
  Json facts = Json::object();
  for (const engine::ModelFact& fact : model.description().facts) facts.append(fact.name, Json(fact.value));
  metadata.emplace_back("facts", facts.dump());
  Json edits = Json::object();
  for (const auto& [name, value] : engine.model->options().edits) edits.append(name, Json(value));
  metadata.emplace_back("edits", edits.dump());
  metadata.emplace_back("activations", flags.trace.engine.activations);
  metadata.emplace_back("kv_type", flags.trace.session.kv_type);

  std::vector<F32Tensor> tensors;
  std::size_t n_values = 0;
  for (const StageRows& rows : run->stages) {
    tensors.push_back({rows.name(), {std::ssize(rows.positions), rows.row_width()}, rows.values});
    n_values += rows.values.size();
  }
  ROWMAX_RETURN_IF_ERROR(write_safetensors(flags.output, output, metadata, tensors));
  if (flags.json) {
    ROWMAX_RETURN_IF_ERROR(print_json({{"output", flags.output},
                                       {"tokens", run->tokens},
                                       {"n_tensors", tensors.size()},
                                       {"n_bytes", n_values * sizeof(float)}}));
  } else {
    std::printf("%s: %zu tensors of %zu tokens, %.1f MB\n", flags.output.c_str(), tensors.size(), run->tokens.size(),
                static_cast<double>(n_values) * sizeof(float) / 1e6);
  }
  if (run->fault) return with_file(*run->fault, model);  // the file is there: it shows where they begin
  return ExitCode::kOk;
}

}  // namespace

CommandBody declare_dump(Flags& table) {
  auto flags = std::make_shared<DumpFlags>();
  table.add_word("output", flags->output, "file to write (.safetensors)").must_be_given();
  add_trace_flags(table, flags->trace);
  table.add_switch("--force", flags->force, "replace an existing file");
  table.add_switch("--json", flags->json, "print one JSON object");
  table.set_examples(kDumpExamples);
  return [flags] { return lists_kernels(flags->trace.engine) ? list_kernels(flags->json) : dump(*flags); };
}

}  // namespace rowmax::cli
