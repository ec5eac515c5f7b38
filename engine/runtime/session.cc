#include "rowmax/engine/session.h"

#include <algorithm>
#include <string>
#include <tuple>
#include <utility>

#include "base/fp_env.h"
#include "base/guarded.h"
#include "engine/model/forward.h"
#include "engine/model/memory_shape.h"
#include "engine/model/recurrent_layout.h"
#include "engine/model/spec_edits.h"
#include "engine/ops/rows/row_kernels.h"
#include "engine/runtime/checkpoints.h"
#include "engine/runtime/kv_cache.h"
#include "engine/runtime/model_impl.h"
#include "engine/runtime/sequence_cost.h"
#include "rowmax/try.h"

namespace rowmax::engine {

struct Session::Impl {
  const Model* model;
  std::unique_ptr<const ModelSpec> spec;  // with the session's edits
  Backend backend;
  const panel::KernelTable* kernels;
  SessionOptions options;
  KvCache cache;
  KvLayers layers;
  Forward forward;
  std::vector<float> logits, states;
  std::int64_t n_logit_rows = 0, n_state_rows = 0;
  std::vector<Status> item_status;
  // Of the batch in hand.
  std::vector<TokenId> tokens;
  std::vector<ForwardSequence> sequences;
  std::vector<SequenceId> ids;              // theirs
  std::vector<const std::int32_t*> tables;  // theirs, by group
  std::vector<std::int32_t> logit_rows, state_rows;
  struct Keeping {  // a recurrent state
    SequenceId id = 0;
    std::int64_t position = 0;
    bool is_likely = true;
    base::Buffer state = {};
  };
  std::vector<Keeping> keeping;
  std::vector<StateCopy> copies;       // into these
  std::vector<std::size_t> n_copies;   // of each sequence
  std::vector<KeptPlace> places = {};  // of one item

  static Result<Session> create(const Model& model, const SessionOptions& options, Executor& executor);
  Status forward_batch(std::span<const BatchItem> items);
  Status check_open(SequenceId sequence) const;
  Status check(std::span<const BatchItem> items) const;
  Status check_tokens(const std::string& where, std::span<const TokenId> ids) const;
  void find_places(const BatchItem& item, std::int64_t position, std::int64_t end, std::int64_t n);
  void take_copies(const BatchItem& item, std::int64_t position, std::int64_t offset, std::int64_t n);
  void keep_copies();
  Status compute(std::span<const BatchItem> items, std::span<const std::int64_t> starts,
                 std::span<const Status> statuses);
  Status add_rows(const BatchItem& item, std::int64_t position, std::int64_t offset, std::int64_t n);
  Status check_finite(const BatchItem& item, std::int64_t start, std::int64_t first_row) const;
};

Session::Session(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;
Session::~Session() = default;

Result<Session> Session::create(const Model& model, const SessionOptions& options, Executor& executor) {
  return base::guarded([&] { return Impl::create(model, options, executor); });
}

Result<Session> Session::Impl::create(const Model& model, const SessionOptions& options, Executor& executor) {
  const Model::Impl& m = model.impl();
  SessionOptions chosen = options;
  if (chosen.context == 0) chosen.context = std::min(m.spec.shape.context_length, kDefaultContext);
  if (chosen.context < 1 || chosen.context > m.spec.shape.context_length) {
    return Error{ErrorCode::kLimit, m.file.name() + ": context: expected 1 to the " +
                                        std::to_string(m.spec.shape.context_length) +
                                        " tokens the model was trained for, found " + std::to_string(chosen.context)};
  }
  if (chosen.max_sequences < 1 || chosen.max_sequences > 4096) {
    return Error{ErrorCode::kLimit, "max_sequences: expected 1 to 4096, found " + std::to_string(chosen.max_sequences)};
  }
  if (chosen.max_batch < 1 || chosen.max_batch > 65536) {
    return Error{ErrorCode::kLimit, "max_batch: expected 1 to 65536, found " + std::to_string(chosen.max_batch)};
  }
  chosen.max_batch = std::min(chosen.max_batch, chosen.context * chosen.max_sequences);
  for (const auto& [name, bytes] :
       {std::pair{"kv_budget_bytes", chosen.kv_budget_bytes}, std::pair{"checkpoint_bytes", chosen.checkpoint_bytes}}) {
    if (bytes >= 0) continue;
    return Error::invalid_argument(std::string(name) + ": expected 0 or more, found " + std::to_string(bytes));
  }
  if (std::ranges::find(kKvTypes, chosen.kv_type) == std::end(kKvTypes)) {
    return Error::invalid_argument("kv_type: expected kF16, kF32 or kQ80, found " +
                                   std::to_string(static_cast<int>(chosen.kv_type)));
  }
  auto spec = std::make_unique<ModelSpec>(m.spec);
  ROWMAX_RETURN_IF_ERROR(apply_edits(*spec, chosen.edits));
  KernelChoice choice = chosen.kernels.value_or(m.options.kernels);
  if (chosen.isa && !chosen.kernels) choice.force.clear();  // the session's own word goes before the model's
  ROWMAX_TRY(kernels, panel::choose_table(choice, chosen.isa.value_or(m.options.isa)));
  if (kernels != m.kernels) ROWMAX_RETURN_IF_ERROR(check_kernels(m.weights, *kernels));
  ROWMAX_TRY(backend, cpu_backend(executor, kernels->isa));
  const ModelShape& s = spec->shape;
  std::vector<KvCache::Layer> kv_layers;
  for (std::size_t i = 0; i < spec->layers.size(); ++i) {
    const AttentionSpec& a = spec->layers[i].attention;
    const bool has_kv = spec->layers[i].attends() && a.has_kv();
    if (const std::int64_t block = dtype_info(dtype_of(chosen.kv_type)).block_elements;
        has_kv && (a.head_dim % block != 0 || a.v_in_k % block != 0)) {
      const std::string found = a.v_in_k > 0 ? "remembers a latent of " + std::to_string(a.v_in_k) + " numbers and " +
                                                   std::to_string(a.head_dim - a.v_in_k) + " that turn"
                                             : "has heads of " + std::to_string(a.head_dim);
      return Error{ErrorCode::kUnsupported, m.file.name() + ": kv_type " + dtype_name(dtype_of(chosen.kv_type)) +
                                                ": layer " + std::to_string(i) + " " + found +
                                                ", expected multiples of " + std::to_string(block)};
    }
    kv_layers.push_back(has_kv ? KvCache::Layer{a.n_kv_head, a.head_dim, spec->kv_window(i), a.v_in_k}
                               : KvCache::Layer{});
  }
  ROWMAX_TRY(cache, KvCache::create({.layers = std::move(kv_layers),
                                     .type = chosen.kv_type,
                                     .context = chosen.context,
                                     .max_sequences = chosen.max_sequences,
                                     .share = chosen.reuse_prefixes,
                                     .state_floats = RecurrentLayout(*spec).n_floats(),
                                     .checkpoint_bytes = chosen.checkpoint_bytes,
                                     .rows_at_once = chosen.max_batch,
                                     .kv_budget_bytes = chosen.kv_budget_bytes}));
  ROWMAX_TRY(forward, Forward::create(*spec, m.weights,
                                      {.max_rows = chosen.max_batch,
                                       .max_context = chosen.context,
                                       .max_sequences = chosen.max_sequences,
                                       .activations = chosen.activations.value_or(m.options.activations),
                                       .kernels = kernels},
                                      backend));
  KvLayers layers;
  for (std::int64_t layer = 0; layer < s.n_layer; ++layer) {
    layers.views.push_back(cache.view(layer));
    layers.keys.push_back(cache.layer_keys(layer));
    layers.values.push_back(cache.layer_values(layer));
    layers.group_of_layer.push_back(cache.group_of(static_cast<std::size_t>(layer)));
  }
  layers.n_group = cache.groups().size();
  return Session(std::unique_ptr<Impl>(new Impl{&model,
                                                std::move(spec),
                                                backend,
                                                kernels,
                                                chosen,
                                                std::move(cache),
                                                std::move(layers),
                                                std::move(forward),
                                                {},
                                                {},
                                                0,
                                                0,
                                                {},
                                                {},
                                                {},
                                                {},
                                                {},
                                                {},
                                                {},
                                                {},
                                                {},
                                                {},
                                                {}}));
}

Result<SequenceCost> Session::cost(std::int64_t n_tokens) const {
  return base::guarded(
      [&]() -> Result<SequenceCost> { return sequence_cost(memory_shape(*impl_->spec), n_tokens, impl_->options); });
}
Session::Memory Session::memory() const noexcept {
  const KvCache& cache = impl_->cache;
  const std::int64_t state_bytes = cache.shape().state_floats * static_cast<std::int64_t>(sizeof(float));
  return {.kv_budget_bytes = cache.pool().budget_bytes(),
          .kv_held_bytes = cache.in_use_bytes(),
          .kv_kept_bytes = cache.pool().used_bytes() - cache.in_use_bytes(),
          .state_bytes = state_bytes * cache.shape().max_sequences,
          .checkpoint_bytes = state_bytes * cache.n_checkpoints()};
}

Result<SequenceId> Session::open() {
  return base::guarded([&] { return impl_->cache.open(); });
}
void Session::close(SequenceId sequence) {
  if (impl_->cache.is_open(sequence)) impl_->cache.close(sequence);
}
Result<SequenceId> Session::fork(SequenceId sequence) {
  return base::guarded([&]() -> Result<SequenceId> {
    ROWMAX_RETURN_IF_ERROR(impl_->check_open(sequence));
    return impl_->cache.fork(sequence);
  });
}
Status Session::swap(SequenceId a, SequenceId b) {
  return base::guarded([&]() -> Status {
    ROWMAX_RETURN_IF_ERROR(impl_->check_open(a));
    ROWMAX_RETURN_IF_ERROR(impl_->check_open(b));
    impl_->cache.swap(a, b);
    return {};
  });
}

Status Session::set_owner(SequenceId sequence, std::uint64_t owner) {
  return base::guarded([&]() -> Status {
    ROWMAX_RETURN_IF_ERROR(impl_->check_open(sequence));
    impl_->cache.set_owner(sequence, owner);
    return {};
  });
}

Result<std::int64_t> Session::reuse(SequenceId sequence, std::span<const TokenId> tokens) {
  return base::guarded([&]() -> Result<std::int64_t> {
    ROWMAX_RETURN_IF_ERROR(impl_->check_open(sequence));
    if (tokens.empty()) return Error{ErrorCode::kInvalidArgument, "reuse: expected at least one token, found none"};
    ROWMAX_RETURN_IF_ERROR(impl_->check_tokens("reuse", tokens));
    return impl_->cache.reuse(sequence, tokens);
  });
}

Status Session::keep_state(SequenceId sequence, bool is_likely) {
  return base::guarded([&]() -> Status {
    ROWMAX_RETURN_IF_ERROR(impl_->check_open(sequence));
    const KvCache::SequenceState& state = impl_->cache.sequence(sequence);
    if (state.confirmed == std::ssize(state.tokens)) {
      impl_->cache.save_checkpoint(sequence, state.confirmed, is_likely);
      impl_->cache.publish(sequence);
    }
    return {};
  });
}

std::int64_t page_bytes(const PageLayout& layout, PageParts parts) noexcept {
  std::int64_t total = (parts & kStatePart) != 0 ? layout.state_bytes : 0;
  for (std::size_t g = 0; g < layout.groups.size(); ++g) total += (parts >> g & 1) != 0 ? layout.groups[g].bytes : 0;
  return total;
}
PageLayout Session::page_layout() const { return impl_->cache.page_layout(); }
PageParts Session::page_parts(SequenceId sequence, std::int64_t page) const noexcept {
  return impl_->cache.is_open(sequence) ? impl_->cache.page_parts(sequence, page) : 0;
}
void Session::copy_page(SequenceId sequence, std::int64_t page, PageParts parts,
                        std::span<std::byte> out) const noexcept {
  impl_->cache.copy_page(sequence, page, parts, out);
}
Result<std::int64_t> Session::append_pages(SequenceId sequence, std::span<const TokenId> tokens,
                                           std::span<const PageParts> parts, const PageReader& reader) {
  return base::guarded([&]() -> Result<std::int64_t> {
    ROWMAX_RETURN_IF_ERROR(impl_->check_open(sequence));
    ROWMAX_RETURN_IF_ERROR(impl_->check_tokens("append_pages", tokens));
    return impl_->cache.append_pages(sequence, tokens, parts, reader);
  });
}

PrefixReuse Session::last_reuse() const noexcept { return impl_->cache.last_reuse(); }

Result<std::int64_t> Session::truncate(SequenceId sequence, std::int64_t n) {
  return base::guarded([&]() -> Result<std::int64_t> {
    ROWMAX_RETURN_IF_ERROR(impl_->check_open(sequence));
    if (n < 0) {
      return Error{ErrorCode::kInvalidArgument, "truncate: expected 0 tokens or more, found " + std::to_string(n)};
    }
    return impl_->cache.truncate(sequence, n);
  });
}

Status Session::confirm(SequenceId sequence, std::int64_t n) {
  return base::guarded([&]() -> Status {
    ROWMAX_RETURN_IF_ERROR(impl_->check_open(sequence));
    const auto size = static_cast<std::int64_t>(tokens(sequence).size());
    if (n < 0 || n > size) {
      return Error{ErrorCode::kInvalidArgument, "confirm: expected 0 to the " + std::to_string(size) +
                                                    " tokens of the sequence, found " + std::to_string(n)};
    }
    impl_->cache.confirm(sequence, n);
    impl_->cache.publish(sequence);
    impl_->cache.settle(sequence);
    return {};
  });
}

std::span<const TokenId> Session::tokens(SequenceId sequence) const noexcept {
  if (!impl_->cache.is_open(sequence)) return {};
  return impl_->cache.sequence(sequence).tokens;
}

std::span<const Status> Session::item_status() const noexcept { return impl_->item_status; }
std::int64_t Session::n_logit_rows() const noexcept { return impl_->n_logit_rows; }
std::span<const float> Session::logits(std::int64_t row) const noexcept {
  const std::size_t n_vocab = static_cast<std::size_t>(impl_->model->shape().n_vocab);
  return {impl_->logits.data() + static_cast<std::size_t>(row) * n_vocab, n_vocab};
}
std::int64_t Session::n_state_rows() const noexcept { return impl_->n_state_rows; }
std::span<const float> Session::states(std::int64_t row) const noexcept {
  const std::size_t n_embd = static_cast<std::size_t>(impl_->model->shape().n_embd);
  return {impl_->states.data() + static_cast<std::size_t>(row) * n_embd, n_embd};
}
void Session::set_observer(TraceObserver* observer) noexcept { impl_->forward.set_observer(observer); }
std::int64_t Session::context() const noexcept { return impl_->options.context; }
bool Session::reuses_prefixes() const noexcept { return impl_->options.reuse_prefixes; }
std::int64_t Session::kv_bytes_per_token() const noexcept { return impl_->cache.bytes_per_token(); }
KernelVariant Session::kernels() const { return panel::variant_of(*impl_->kernels); }
const Model& Session::model() const noexcept { return *impl_->model; }

Status Session::Impl::check_open(SequenceId sequence) const {
  if (cache.is_open(sequence)) return {};
  return Error{ErrorCode::kInvalidArgument, "sequence " + std::to_string(sequence) + " is not open"};
}

Status Session::Impl::check_tokens(const std::string& where, std::span<const TokenId> ids) const {
  for (const TokenId token : ids) {
    if (token >= 0 && token < model->shape().n_vocab) continue;
    return Error{ErrorCode::kInvalidArgument, where + ": expected token ids 0 to " +
                                                  std::to_string(model->shape().n_vocab - 1) + ", found " +
                                                  std::to_string(token)};
  }
  return {};
}

Status Session::Impl::check(std::span<const BatchItem> items) const {
  for (std::size_t i = 0; i < items.size(); ++i) {
    const BatchItem& item = items[i];
    const std::string where = "sequence " + std::to_string(item.sequence);
    ROWMAX_RETURN_IF_ERROR(check_open(item.sequence));
    for (std::size_t j = 0; j < i; ++j) {
      if (items[j].sequence == item.sequence)
        return Error{ErrorCode::kInvalidArgument, where + " occurs twice in one batch"};
    }
    if (item.n_draft < 0 || item.n_draft > static_cast<std::int64_t>(item.tokens.size())) {
      return Error{ErrorCode::kInvalidArgument, where + ": n_draft: expected 0 to the item's " +
                                                    std::to_string(item.tokens.size()) + " tokens, found " +
                                                    std::to_string(item.n_draft)};
    }
    const std::size_t total = cache.sequence(item.sequence).tokens.size() + item.tokens.size();
    if (static_cast<std::int64_t>(total) > options.context) {
      return Error{ErrorCode::kLimit, where + " would hold " + std::to_string(total) + " tokens; the context is " +
                                          std::to_string(options.context)};
    }
    ROWMAX_RETURN_IF_ERROR(check_tokens(where, item.tokens));
  }
  return {};
}

// Batches end before the last token that is no draft: where drafts are taken back, the sequence goes on from the state that
// it has there.
std::int64_t mark_offset(const BatchItem& item) {
  return std::max<std::int64_t>(0, static_cast<std::int64_t>(item.tokens.size()) - item.n_draft - 1);
}

// How many tokens of an item from `offset` on share a batch.
std::int64_t until_mark(const BatchItem& item, std::int64_t offset, bool has_state) {
  const std::int64_t size = std::ssize(item.tokens), mark = mark_offset(item);
  return (has_state && item.n_draft > 0 && offset < mark ? mark : size) - offset;
}

// Where states are kept (checkpoints.h) of the n tokens behind `position`, of an item whose tokens without drafts end at `end`.
void Session::Impl::find_places(const BatchItem& item, std::int64_t position, std::int64_t end, std::int64_t n) {
  constexpr std::int64_t kPage = KvCache::kPageTokens;
  places.clear();
  const auto add = [&](KeptPlace place) {
    if (place.position <= position || place.position > std::min(end, position + n)) return;
    const auto same = std::ranges::find(places, place.position, &KeptPlace::position);
    if (same == places.end()) {
      places.push_back(place);
    } else {
      same->is_likely = same->is_likely || place.is_likely;
    }
  };
  for (std::int64_t p = position / kCheckpointTokens + 1; p * kCheckpointTokens <= position + n; ++p) {
    add({p * kCheckpointTokens});
  }
  add({end / kPage * kPage, false});
  for (const KeptPlace& place : item.keep) add(place);
  std::ranges::sort(places, {}, &KeptPlace::position);
}

// Memory for the states that are kept of the n tokens of an item from `offset` on, which are taken into the batch.
void Session::Impl::take_copies(const BatchItem& item, std::int64_t position, std::int64_t offset, std::int64_t n) {
  n_copies.push_back(0);
  for (const KeptPlace& place : item.keep) {
    if (place.position > position && place.position <= position + n)
      cache.expect_others_at(item.sequence, place.position);
  }
  if (cache.shape().state_floats == 0) return;
  find_places(item, position, position - offset + std::ssize(item.tokens) - item.n_draft, n);
  for (const KeptPlace& place : places) {
    if (cache.has_checkpoint(item.sequence, place.position)) continue;
    base::Buffer state = cache.take_checkpoint(keeping.size(), place.is_likely);
    if (state.size() == 0) continue;
    copies.push_back({place.position - position, state.as<float>()});
    keeping.push_back({item.sequence, place.position, place.is_likely, std::move(state)});
    ++n_copies.back();
  }
}

void Session::Impl::keep_copies() {
  for (Keeping& each : keeping) cache.keep_checkpoint(each.id, each.position, std::move(each.state), each.is_likely);
  keeping.clear();
}

// Takes the n tokens of an item from `offset` on, at `position` of its sequence, into the batch in hand.
Status Session::Impl::add_rows(const BatchItem& item, std::int64_t position, std::int64_t offset, std::int64_t n) {
  if (item.n_draft > 0 && offset == mark_offset(item)) cache.save_mark(item.sequence, position);
  // What an item leaves behind itself while it is computed is kept for others, too.
  if (offset > 0 && cache.has_windows()) cache.publish(item.sequence, position);
  ROWMAX_RETURN_IF_ERROR(cache.prepare(item.sequence, position, position + n));
  sequences.push_back({.begin = std::ssize(tokens),
                       .n_row = n,
                       .position = position,
                       .pages = {},
                       .id = item.sequence,
                       .state = cache.state(item.sequence)});
  ids.push_back(item.sequence);
  for (const KvCache::Table& table : cache.sequence(item.sequence).tables) tables.push_back(table.pages.data());
  take_copies(item, position, offset, n);
  const auto part = item.tokens.subspan(static_cast<std::size_t>(offset), static_cast<std::size_t>(n));
  tokens.insert(tokens.end(), part.begin(), part.end());
  return {};
}

// All tokens of items that were not refused are in the cache's books already; computes them in batches of at most
// max_batch rows. Rows of logits of the others stay as they are.
Status Session::Impl::compute(std::span<const BatchItem> items, std::span<const std::int64_t> starts,
                              std::span<const Status> statuses) {
  std::int64_t done_logits = 0, done_states = 0;
  std::size_t item = 0;
  std::int64_t offset = 0;  // within the item
  while (item < items.size()) {
    tokens.clear();
    sequences.clear();
    ids.clear();
    tables.clear();
    logit_rows.clear();
    state_rows.clear();
    keeping.clear();
    copies.clear();
    n_copies.clear();
    for (; item < items.size() && !statuses[item].ok(); ++item) {
      done_logits += rowmax::engine::n_logit_rows(items[item]);
      done_states += rowmax::engine::n_state_rows(items[item]);
    }
    while (item < items.size() && statuses[item].ok() && std::ssize(tokens) < options.max_batch) {
      const BatchItem& from = items[item];
      const std::int64_t size = static_cast<std::int64_t>(from.tokens.size());
      const std::int64_t begin = static_cast<std::int64_t>(tokens.size());
      const std::int64_t position = starts[item] + offset;
      const std::int64_t n =
          std::min(options.max_batch - begin, until_mark(from, offset, cache.shape().state_floats > 0));
      if (n > 0) ROWMAX_RETURN_IF_ERROR(add_rows(from, position, offset, n));
      for (std::int64_t row = 0; row < n; ++row) {
        if (offset + row >= size - n_wanted_rows(from)) {
          (from.states ? state_rows : logit_rows).push_back(static_cast<std::int32_t>(begin + row));
        }
      }
      offset += n;
      if (offset < size) break;  // the rest of it comes in another batch
      ++item;
      offset = 0;
    }
    if (tokens.empty()) continue;
    std::size_t first_copy = 0;
    for (std::size_t i = 0; i < sequences.size(); ++i) {
      sequences[i].pages = std::span(tables).subspan(i * cache.groups().size(), cache.groups().size());
      sequences[i].copies = std::span(copies).subspan(first_copy, n_copies[i]);
      first_copy += n_copies[i];
    }
    float* out = logits.data() + static_cast<std::size_t>(done_logits * model->shape().n_vocab);
    float* states_out = states.data() + static_cast<std::size_t>(done_states * model->shape().n_embd);
    Status computed = forward.run({tokens, sequences, logit_rows, state_rows}, layers, out, states_out);
    // Rows of the embedding are read from the file as they are needed.
    ROWMAX_RETURN_IF_ERROR(model->file().check_intact());
    ROWMAX_RETURN_IF_ERROR(std::move(computed));
    keep_copies();
    done_logits += static_cast<std::int64_t>(logit_rows.size());
    done_states += static_cast<std::int64_t>(state_rows.size());
  }
  return {};
}

// The engine's last line: a logit that is not a number must never reach a sampler.
Status Session::Impl::check_finite(const BatchItem& item, std::int64_t start, std::int64_t first_row) const {
  const RowKernels& kernels = row_kernels(backend.isa());
  const std::int64_t width = item.states ? model->shape().n_embd : model->shape().n_vocab;
  const float* rows = item.states ? states.data() : logits.data();
  const std::int64_t n = n_wanted_rows(item);
  const base::ScopedFpEnv environment;
  for (std::int64_t k = 0; k < n - item.n_draft; ++k) {
    if (kernels.all_finite(rows + (first_row + k) * width, width)) continue;
    return Error{ErrorCode::kNumericFault,
                 std::string(item.states ? "a state" : "a logit") + " is not finite: sequence " +
                     std::to_string(item.sequence) + ", position " +
                     std::to_string(start + static_cast<std::int64_t>(item.tokens.size()) - n + k)};
  }
  return {};
}

namespace {

// Takes the tokens of a batch out of the cache's books again, unless the batch came to its end.
class Appended {
 public:
  Appended(KvCache& cache, std::span<const BatchItem> items) : cache_(cache), items_(items) {
    starts_.reserve(items.size());
  }
  Appended(const Appended&) = delete;
  Appended& operator=(const Appended&) = delete;
  ~Appended() {
    for (std::size_t i = 0; i < starts_.size(); ++i) cache_.truncate(items_[i].sequence, starts_[i]);
  }

  // One for each item: whether there is room for it.
  std::vector<Status> append() {
    std::vector<Status> statuses;
    statuses.reserve(items_.size());
    cache_.begin_batch();
    for (const BatchItem& item : items_) {
      starts_.push_back(static_cast<std::int64_t>(cache_.sequence(item.sequence).tokens.size()));
      statuses.push_back(cache_.append(item.sequence, item.tokens, item.n_draft));
    }
    return statuses;
  }
  std::span<const std::int64_t> starts() const noexcept { return starts_; }
  void keep() noexcept { starts_.clear(); }

 private:
  KvCache& cache_;
  std::span<const BatchItem> items_;
  std::vector<std::int64_t> starts_;  // tokens that each sequence held before
};

}  // namespace

Status Session::Impl::forward_batch(std::span<const BatchItem> items) {
  item_status.clear();
  ROWMAX_RETURN_IF_ERROR(check(items));
  std::int64_t n_rows = 0, n_state = 0;
  for (const BatchItem& item : items) {
    n_rows += rowmax::engine::n_logit_rows(item);
    n_state += rowmax::engine::n_state_rows(item);
  }
  n_logit_rows = n_state_rows = 0;
  for (const auto& [rows, width, memory] :
       {std::tuple{n_rows, model->shape().n_vocab, &logits}, std::tuple{n_state, model->shape().n_embd, &states}}) {
    std::size_t n_floats = 0;
    if (!base::checked_mul(static_cast<std::size_t>(rows), static_cast<std::size_t>(width), &n_floats)) {
      return Error::out_of_memory();
    }
    if (memory->size() < n_floats) memory->resize(n_floats);
  }
  Appended appended(cache, items);
  std::vector<Status> statuses = appended.append();
  ROWMAX_RETURN_IF_ERROR(compute(items, appended.starts(), statuses));
  std::int64_t row = 0, state_row = 0;
  for (std::size_t i = 0; i < items.size(); ++i) {
    std::int64_t& first = items[i].states ? state_row : row;
    if (statuses[i].ok()) statuses[i] = check_finite(items[i], appended.starts()[i], first);
    first += n_wanted_rows(items[i]);
  }
  Status status;
  bool any = items.empty();
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (statuses[i].ok()) {
      cache.publish(items[i].sequence);
      cache.settle(items[i].sequence);
      any = true;
    } else {
      cache.truncate(items[i].sequence, appended.starts()[i]);
      if (status.ok()) status = statuses[i].error();
    }
  }
  appended.keep();
  item_status = std::move(statuses);
  if (any) {
    n_logit_rows = n_rows;
    n_state_rows = n_state;
  }
  return status;
}

Status Session::check_room(std::span<const BatchItem> items) {
  return base::guarded([&]() -> Status {
    ROWMAX_RETURN_IF_ERROR(impl_->check(items));
    KvCache& cache = impl_->cache;
    cache.begin_batch();
    for (const BatchItem& item : items) {
      const std::int64_t total = std::ssize(tokens(item.sequence)) + std::ssize(item.tokens);
      ROWMAX_RETURN_IF_ERROR(cache.admit(item.sequence, total, item.n_draft));
    }
    return {};
  });
}

Status Session::forward(std::span<const BatchItem> items) {
  return base::guarded([&] { return impl_->forward_batch(items); });
}

}  // namespace rowmax::engine
