// A model: the file, what it says about itself, its tokenizer and its weights made ready for the CPU.
//
// Immutable after load; any number of sessions and threads may use one.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rowmax/cpu.h"
#include "rowmax/engine/edits.h"
#include "rowmax/engine/gguf.h"
#include "rowmax/engine/kernels.h"
#include "rowmax/engine/tokenizer.h"
#include "rowmax/engine/types.h"
#include "rowmax/executor.h"
#include "rowmax/result.h"

namespace rowmax::engine {

struct ModelOptions {
  Isa isa = Isa::kScalar;  // see fastest_isa()
  KernelChoice kernels;    // default: the fastest of `isa`
  Activations activations = Activations::kInt8;
  TokenizerOptions tokenizer;
  KeyOverrides overrides;  // of the tokenizer's keys too
  IgnoredKeys ignored_keys;
  GgufOptions gguf;          // of Model::load(path)
  Edits edits;               // of every scope; ModelDescription::facts stay the file's
  bool check_memory = true;  // refuse weights for which there is no memory (kLimit) before any is packed
};

// What Model::load is about to do, before it reads any weight.
struct LoadPlan {
  const GgufFile& file;
  const ModelDescription& description;
  std::int64_t weight_bytes = 0;  // of what will be packed
  std::int64_t row_bytes = 0;     // of a session's buffers, for each row that it computes at once; about
};
// Its error ends the load.
using LookAtPlan = std::function<Status(const LoadPlan&)>;

// Bytes that this process can still take without swapping, as machine and control groups say; nullopt where they do not.
std::optional<std::int64_t> available_memory();

// The supported instruction set that multiplies fastest on this machine with the kernels that `choice` leaves, found by
// trying (a few milliseconds): the widest is not the fastest everywhere, and all give the same bits. That of forced
// kernels; else ROWMAX_ISA= decides where it is set. Errors as default_isa() and choose_kernels().
Result<Isa> fastest_isa(const KernelChoice& choice = {});

// The same checks as Model::load, except those that read tensor data.
Result<ModelDescription> describe_model(const GgufFile& file, const KeyOverrides& overrides = {},
                                        const IgnoredKeys& ignored = {});

// What becomes of each key under the architecture's prefix and of each key of the tokenizer.
// In the file's order; empty for an architecture that is not known. For a file that cannot be loaded it says what was
// found until then; kOutOfMemory is its only error.
Result<std::vector<KeyReport>> report_keys(const GgufFile& file, const KeyOverrides& overrides = {},
                                           const IgnoredKeys& ignored = {});
// The names of the architectures that can be loaded.
std::vector<std::string_view> supported_architectures();

class Model {
 public:
  // Errors name file, tensor or key, what was expected and found. Repacks the weights on the executor's threads;
  // the file's pages are given back to the system afterwards.
  static Result<Model> load(const std::string& path, const ModelOptions& options, Executor& executor);
  // The same for a file that is already open (or lives in memory).
  static Result<Model> load(GgufFile file, const ModelOptions& options, Executor& executor,
                            const LookAtPlan& look = {});
  // The same model with edits of any scope, after those that it has. Matrices that an edit does not name are shared, and
  // so is the tokenizer where no edit names it; vectors are read again. Either model may go first: memory, and the map
  // of the file, stay as long as one that uses them. Gives the bits of a load with all these edits, and its errors.
  // going: asked whenever some MiB were packed; false: kCancelled.
  Result<Model> with_edits(const Edits& edits, Executor& executor, const std::function<bool()>& going = {}) const;
  Model(Model&&) noexcept;
  Model& operator=(Model&&) noexcept;
  ~Model();

  const GgufFile& file() const noexcept;
  const Tokenizer& tokenizer() const noexcept;
  const ModelDescription& description() const noexcept;
  const ModelShape& shape() const noexcept;
  const ModelOptions& options() const noexcept;
  // The file's chat template, empty when it has none.
  std::string_view chat_template() const noexcept;
  // Bytes of weights that one generated token must read (a tied embedding once).
  std::int64_t bytes_per_token() const noexcept;
  // How many weights of matrices one generated token is multiplied with: two operations each.
  std::int64_t weights_per_token() const noexcept;
  // What its sessions run where they say nothing else.
  KernelVariant kernels() const;
  // Bytes of the repacked weights, and how many of them were packed for this model; others share the rest with it.
  std::int64_t weight_bytes() const noexcept;
  std::int64_t own_weight_bytes() const noexcept;

  struct Impl;  // engine/runtime
  const Impl& impl() const noexcept { return *impl_; }

 private:
  explicit Model(std::unique_ptr<Impl> impl) noexcept;
  // packed: the same file, loaded before, to share with; nullptr: none.
  static Result<Model> load_unguarded(GgufFile file, const ModelOptions& options, Executor& executor,
                                      const Impl* packed, const std::function<bool()>& going, const LookAtPlan& look);
  std::unique_ptr<Impl> impl_;
};

}  // namespace rowmax::engine
