#include "rowmax/engine/model.h"

#include <string>
#include <utility>

#include "base/guarded.h"
#include "base/memory_room.h"
#include "engine/model/forward.h"
#include "engine/runtime/edits.h"
#include "engine/runtime/model_impl.h"
#include "rowmax/try.h"

namespace rowmax::engine {

Model::Model(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Model::Model(Model&&) noexcept = default;
Model& Model::operator=(Model&&) noexcept = default;
Model::~Model() = default;

const GgufFile& Model::file() const noexcept { return impl_->file; }
const Tokenizer& Model::tokenizer() const noexcept { return *impl_->tokenizer; }
const ModelDescription& Model::description() const noexcept { return impl_->description; }
const ModelShape& Model::shape() const noexcept { return impl_->spec.shape; }
const ModelOptions& Model::options() const noexcept { return impl_->options; }
KernelVariant Model::kernels() const { return panel::variant_of(*impl_->kernels); }
std::string_view Model::chat_template() const noexcept { return impl_->chat_template; }
std::int64_t Model::weight_bytes() const noexcept { return impl_->weights.packed_bytes(); }
std::int64_t Model::own_weight_bytes() const noexcept { return impl_->weights.own_bytes; }
std::int64_t Model::bytes_per_token() const noexcept { return impl_->weights.token_cost(impl_->spec).bytes; }
std::int64_t Model::weights_per_token() const noexcept { return impl_->weights.token_cost(impl_->spec).weights; }

Result<std::vector<KeyReport>> report_keys(const GgufFile& file, const KeyOverrides& overrides,
                                           const IgnoredKeys& ignored) {
  return base::guarded([&]() -> Result<std::vector<KeyReport>> {
    std::vector<KeyReport> parts = report_model_keys(file, overrides, ignored);
    ROWMAX_TRY(tokenizer, Tokenizer::report_keys(file, ignored));
    parts.insert(parts.end(), tokenizer.begin(), tokenizer.end());
    std::vector<KeyReport> out;
    for (const auto& [key, value] : file.metadata()) {
      for (const KeyReport& entry : parts) {
        if (entry.key == key) out.push_back(entry);
      }
    }
    return out;
  });
}

namespace {

Result<GgufFile> open_edited(const std::string& path, const ModelOptions& options) {
  GgufOptions gguf = options.gguf;
  TokenizerOptions ignored;
  ROWMAX_RETURN_IF_ERROR(edit_options(options.edits, gguf, ignored));
  return GgufFile::open(path, gguf);
}

Result<std::shared_ptr<const Tokenizer>> make_tokenizer(const GgufFile& file, const ModelOptions& options,
                                                        const std::string& default_pre) {
  TokenizerOptions chosen = options.tokenizer;
  chosen.overrides = options.overrides;
  chosen.ignored_keys = options.ignored_keys;
  if (chosen.default_pre.empty()) chosen.default_pre = default_pre;
  GgufOptions ignored;
  ROWMAX_RETURN_IF_ERROR(edit_options(options.edits, ignored, chosen));
  ROWMAX_TRY(tokenizer, Tokenizer::from_gguf(file, chosen));
  return std::make_shared<const Tokenizer>(std::move(tokenizer));
}

Status check_room(const GgufFile& file, std::int64_t weight_bytes) {
  const std::optional<std::int64_t> available = available_memory();
  if (!available || weight_bytes <= *available) return {};
  return Error::limit(file.name() + ": the weights take " + std::to_string(weight_bytes) + " bytes of memory, " +
                      std::to_string(*available) + " are available");
}

}  // namespace

std::optional<std::int64_t> available_memory() { return base::memory_room(); }

Result<Model> Model::load(const std::string& path, const ModelOptions& options, Executor& executor) {
  return base::guarded([&]() -> Result<Model> {
    ROWMAX_TRY(file, open_edited(path, options));
    return load_unguarded(std::move(file), options, executor, nullptr, {}, {});
  });
}

Result<Model> Model::load(GgufFile file, const ModelOptions& options, Executor& executor, const LookAtPlan& look) {
  return base::guarded([&] { return load_unguarded(std::move(file), options, executor, nullptr, {}, look); });
}

Result<Model> Model::with_edits(const Edits& edits, Executor& executor, const std::function<bool()>& going) const {
  return base::guarded([&]() -> Result<Model> {
    ModelOptions options = impl_->options;
    options.edits.insert(options.edits.end(), edits.begin(), edits.end());
    ROWMAX_TRY(file, impl_->file.reopen());
    return load_unguarded(std::move(file), options, executor, impl_.get(), going, {});
  });
}

Result<Model> Model::load_unguarded(GgufFile file, const ModelOptions& options, Executor& executor, const Impl* packed,
                                    const std::function<bool()>& going, const LookAtPlan& look) {
  ROWMAX_TRY(edits, last_edits(options.edits));
  ROWMAX_RETURN_IF_ERROR(of_file(file, edit_layouts(file, edits)));
  ROWMAX_TRY(kernels, panel::choose_table(options.kernels, options.isa));
  ROWMAX_TRY(tokenizer_keys, Tokenizer::report_keys(file, options.ignored_keys));
  ROWMAX_TRY(read, read_model(file, options.overrides, options.ignored_keys, tokenizer_keys));
  ROWMAX_RETURN_IF_ERROR(of_file(file, edit_read_model(read, edits)));
  ModelOptions chosen = options;
  chosen.edits = std::move(edits);
  std::shared_ptr<const Tokenizer> tokenizer;
  if (packed != nullptr && same_tokenizer(chosen.edits, packed->options.edits)) {
    tokenizer = packed->tokenizer;
  } else {
    ROWMAX_TRY(made, make_tokenizer(file, chosen, read.spec.default_pre));
    tokenizer = std::move(made);
  }
  if (tokenizer->size() != read.spec.shape.n_vocab) {
    return Error{ErrorCode::kCorrupt, file.name() + ": the tokenizer has " + std::to_string(tokenizer->size()) +
                                          " tokens, tensor 'token_embd.weight' " +
                                          std::to_string(read.spec.shape.n_vocab) + " rows"};
  }
  std::string_view chat_template;
  if (file.find("tokenizer.chat_template") != nullptr) {
    ROWMAX_TRY(text, file.get_string("tokenizer.chat_template"));
    chat_template = text;
  }
  const ModelWeights* packed_weights = packed != nullptr ? &packed->weights : nullptr;
  ROWMAX_TRY(weight_bytes, bytes_to_pack(read.sources, file.name(), packed_weights));
  if (look) ROWMAX_RETURN_IF_ERROR(look({file, read.description, weight_bytes, Forward::row_bytes(read.spec)}));
  if (options.check_memory) ROWMAX_RETURN_IF_ERROR(check_room(file, weight_bytes));
  auto loaded = load_weights(
      std::move(read.sources), file.name(), *kernels, executor,
      [&](std::span<const std::byte> bytes) -> Status {
        file.drop_pages(bytes);
        if (!going || going()) return {};
        return Error{ErrorCode::kCancelled, "cancelled"};
      },
      packed_weights);
  ROWMAX_RETURN_IF_ERROR(file.check_intact());  // rather than what is said of zeros in place of weights
  ROWMAX_TRY(weights, std::move(loaded));
  for (const std::string& text : tokenizer->notices()) read.description.notices.push_back(text);
  return Model(std::unique_ptr<Impl>(new Impl{std::move(file), std::move(chosen), kernels, std::move(read.spec),
                                              std::move(read.description), std::move(tokenizer), std::move(weights),
                                              chat_template}));
}

}  // namespace rowmax::engine
