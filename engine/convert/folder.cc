// Hugging Face folder to GGUF.
#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/guarded.h"
#include "engine/arch/read_spec.h"
#include "engine/convert/checkpoint.h"
#include "engine/convert/folder_fields.h"
#include "engine/convert/hf_model.h"
#include "engine/convert/hf_pooling.h"
#include "engine/convert/hf_tensors.h"
#include "engine/convert/hf_tokenizer.h"
#include "engine/convert/write_model.h"
#include "engine/io/text.h"
#include "rowmax/engine/convert.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

namespace fs = std::filesystem;
constexpr std::size_t kMaxConfigBytes = std::size_t{16} << 20;

std::string name_of(const std::string& folder) {
  std::error_code ignored;
  const std::string name = fs::weakly_canonical(folder, ignored).filename().string();
  return is_printable_name(name) ? name : std::string("model");
}

// The type of the embedding, as the model was published.
std::string usual_type(const HfTensors& mapped, const HfModel& model) {
  if (mapped.packed || model.ternarise) return "I2_S";
  for (const TensorRows& tensor : mapped.tensors) {
    if (tensor.name == "token_embd.weight") return tensor.from;
  }
  return "F16";
}

// What the loader will make of the keys that the configuration gave.
Result<ModelSpec> spec_of(const GgufWriter& keys, const std::string& path, bool global_v_is_k) {
  ROWMAX_TRY(bytes, keys.bytes());
  ROWMAX_TRY(file, GgufFile::parse(bytes, "what it becomes"));
  auto spec = read_spec(file);
  if (spec.ok()) {
    spec->for_layers([&](LayerSpec& layer) {
      AttentionSpec& attention = layer.attention;
      attention.v_is_k = attention.v_is_k || (global_v_is_k && attention.window == 0);  // which no key says
    });
    return spec;
  }
  return Error{spec.error().code, concat(path, ": rowmax could not run it: ", spec.error().message)};
}

Result<ConvertReport> convert(const std::string& folder, const std::string& output, const ConvertOptions& options,
                              Executor& executor) {
  const std::string config_path = folder + "/config.json";
  std::error_code ignored;
  if (!fs::exists(config_path, ignored)) {
    return Error{ErrorCode::kNotFound, concat(folder, ": config.json is missing")};
  }
  ModelSource source{.name = folder, .inputs = {}};
  for (const char* name :
       {"config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json", "special_tokens_map.json",
        "chat_template.jinja", "model.safetensors.index.json", "modules.json"}) {
    source.inputs.push_back(concat(folder, "/", name));
  }
  ROWMAX_RETURN_IF_ERROR(check_target(output, options, source.inputs));
  ROWMAX_TRY(config, read_json_file(config_path, kMaxConfigBytes));
  GgufWriter keys;
  ROWMAX_TRY(checkpoint, Checkpoint::open(folder));
  ROWMAX_TRY(model, read_hf_config(config.root(), config_path, look_at(checkpoint), options.master_weights, keys));
  ROWMAX_TRY(spec, spec_of(keys, config_path, model.global_v_is_k));
  spec.for_layers([&](LayerSpec& layer) {
    layer.product_norms = model.product_norms;
    // No key says it, the tensors do.
    const bool biased =
        model.architecture->experts == HfExperts::kBySigmoid || model.architecture->experts == HfExperts::kBiased;
    layer.ffn.choice_bias = biased && layer.ffn.kind == FfnKind::kExperts;
  });
  ROWMAX_RETURN_IF_ERROR(write_pooling(folder, model, keys));
  keys.set_string("general.name", name_of(folder));
  ROWMAX_TRY(files, read_tokenizer_files(folder));
  ROWMAX_TRY(notices, write_tokenizer(files, model.text, model.vocab_size, options.pre, keys));
  const FolderJson all{.folder = folder,
                       .config = config.root(),
                       .tokenizer = files.tokenizer.root(),
                       .tokenizer_config = files.config.root(),
                       .generation_config = files.generation.root(),
                       .special_tokens_map = files.special_tokens.root()};
  ROWMAX_TRY(unread, check_folder_fields(all, options.ignored_fields));
  files = {};
  for (const std::string& path : checkpoint.paths()) source.inputs.push_back(path);
  ROWMAX_RETURN_IF_ERROR(check_target(output, options, source.inputs));
  ROWMAX_TRY(mapped, map_hf_tensors(checkpoint, model, spec, executor));
  TypeRules rules = options.types;
  if (rules.type.empty()) {
    rules.type = usual_type(mapped, model);
    // Experts that are packed already stay as they are, unless a flag says otherwise.
    const auto packed = [](const TensorRows& tensor) { return tensor.from == "MXFP4"; };
    if (std::ranges::any_of(mapped.tensors, packed))
      rules.overrides.insert(rules.overrides.begin(), {"_exps", "MXFP4"});
  }
  ROWMAX_TRY(written,
             write_model(source, output, std::move(keys), std::move(mapped.tensors), rules, options, executor));
  for (const std::vector<std::string>* more :
       {&std::as_const(mapped.notices), &checkpoint.notices(), &std::as_const(notices), &std::as_const(model.notices),
        &std::as_const(unread)}) {
    written.report.notices.insert(written.report.notices.begin(), more->begin(), more->end());
  }
  return std::move(written).commit();
}

}  // namespace

Result<ConvertReport> convert_folder(const std::string& folder, const std::string& output,
                                     const ConvertOptions& options, Executor& executor) {
  return base::guarded([&]() -> Result<ConvertReport> { return convert(folder, output, options, executor); });
}

}  // namespace rowmax::engine
