#include "apps/cli/sequence_memory.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <optional>

#include "apps/cli/terminal.h"
#include "rowmax/try.h"

namespace rowmax::cli {
namespace {

std::string bytes_text(std::int64_t n) { return human_bytes(static_cast<double>(n)); }

// Rounded up: what exceeds a budget of whole MiB is seen to.
std::string mib_text(std::int64_t n) {
  constexpr std::int64_t kMib = std::int64_t{1} << 20;
  if (n % kMib == 0) return std::to_string(n / kMib) + " MiB";
  char text[32];
  std::snprintf(text, sizeof text, "%.2f MiB", std::ceil(static_cast<double>(n) / kMib * 100) / 100);
  return text;
}

std::string left_padded(std::string text, std::size_t width) {
  return text.size() < width ? std::string(width - text.size(), ' ') + text : text;
}

std::string group_name(const engine::SequenceCost::Group& group) {
  return std::to_string(group.n_layer) + (group.n_layer == 1 ? " layer" : " layers") +
         (group.window > 0 ? " of window " + std::to_string(group.window) : " without a window");
}

// What a session of the model's whole context may have in memory for n tokens: pages that are kept take what room its
// budget leaves.
std::int64_t most_bytes(const engine::SequenceCost& cost, std::int64_t budget) {
  return cost.total_bytes() +
         std::max<std::int64_t>(0, std::min(cost.kv_bytes + cost.kv_kept_bytes, budget) - cost.kv_peak_bytes);
}

}  // namespace

std::vector<std::int64_t> shown_lengths(std::int64_t context) {
  std::vector<std::int64_t> lengths;
  for (std::int64_t n = 1024; n < context; n *= 8) lengths.push_back(n);
  lengths.push_back(context);
  return lengths;
}

std::string memory_text(const engine::ModelDescription& model) {
  constexpr std::size_t kColumn = 12;
  std::string out = left_padded("tokens", 9);
  const auto one = engine::sequence_cost(model, 1), all = engine::sequence_cost(model, model.shape.context_length);
  if (!one.ok()) return one.error().message + "\n";
  std::vector<std::string> names;
  for (const engine::SequenceCost::Group& group : one->groups) names.push_back(group_name(group));
  if (one->state_bytes > 0) names.insert(names.end(), {"state", "checkpoints"});
  names.insert(names.end(), {"together", "at most"});
  for (const std::string& name : names) out += "  " + left_padded(name, kColumn);
  out += "\n";
  for (const std::int64_t n : shown_lengths(model.shape.context_length)) {
    const auto cost = engine::sequence_cost(model, n);
    if (!cost.ok()) continue;
    std::vector<std::int64_t> row;
    for (const engine::SequenceCost::Group& group : cost->groups) row.push_back(group.bytes);
    if (one->state_bytes > 0) row.insert(row.end(), {cost->state_bytes, cost->checkpoint_bytes});
    row.push_back(cost->kv_bytes + cost->state_bytes + cost->checkpoint_bytes);
    row.push_back(most_bytes(*cost, all.ok() ? all->kv_budget_bytes : 0));
    out += left_padded(std::to_string(n), 9);
    for (std::size_t i = 0; i < row.size(); ++i) {
      out += "  " + left_padded(bytes_text(row[i]), std::max(kColumn, names[i].size()));
    }
    out += "\n";
  }
  out +=
      "f16 keys and values; at most: while a prompt of that length is computed, with pages kept for prompts to come\n";
  return out;
}

Json memory_json(const engine::ModelDescription& model) {
  Json out = Json::array();
  const auto all = engine::sequence_cost(model, model.shape.context_length);
  for (const std::int64_t n : shown_lengths(model.shape.context_length)) {
    const auto cost = engine::sequence_cost(model, n);
    if (!cost.ok()) continue;
    Json groups = Json::array();
    for (const engine::SequenceCost::Group& group : cost->groups) {
      groups.push_back({{"window", group.window},
                        {"n_layer", group.n_layer},
                        {"bytes", group.bytes},
                        {"peak_bytes", group.peak_bytes},
                        {"kept_bytes", group.kept_bytes}});
    }
    out.push_back({{"n_tokens", n},
                   {"kv_bytes", cost->kv_bytes},
                   {"kv_peak_bytes", cost->kv_peak_bytes},
                   {"kv_kept_bytes", cost->kv_kept_bytes},
                   {"kv_budget_bytes", cost->kv_budget_bytes},
                   {"state_bytes", cost->state_bytes},
                   {"checkpoint_bytes", cost->checkpoint_bytes},
                   {"total_bytes", cost->total_bytes()},
                   {"most_bytes", most_bytes(*cost, all.ok() ? all->kv_budget_bytes : 0)},
                   {"groups", groups}});
  }
  return out;
}

Status check_room(const engine::LoadPlan& plan, const std::optional<engine::SessionOptions>& session) {
  const std::optional<std::int64_t> available = engine::available_memory();
  if (!available) return {};
  std::int64_t needed = plan.weight_bytes;
  std::string parts = bytes_text(plan.weight_bytes) + " of weights", smaller;
  if (session) {
    const std::int64_t most = plan.description.shape.context_length;
    const std::int64_t context = std::min(session->context > 0 ? session->context : engine::kDefaultContext, most);
    const auto cost = engine::sequence_cost(plan.description, context, *session);
    if (!cost.ok()) return {};  // open_session() says why
    const std::int64_t n = session->max_sequences;
    const std::int64_t all_pages = n * cost->kv_peak_bytes;
    const std::int64_t pages = session->kv_budget_bytes > 0 ? std::min(all_pages, session->kv_budget_bytes) : all_pages;
    const std::int64_t sequences = pages + n * cost->state_bytes + cost->checkpoint_bytes;
    const std::int64_t buffers = std::min(session->max_batch, n * context) * plan.row_bytes +
                                 plan.description.shape.n_vocab * static_cast<std::int64_t>(sizeof(float));
    needed += sequences + buffers;
    parts += ", " + bytes_text(sequences) + " for " +
             (n == 1 ? "a context" : std::to_string(n) + " sequences with a context") + " of " +
             std::to_string(context) + " tokens, " + bytes_text(buffers) + " of buffers";
    if (plan.weight_bytes < *available) {
      smaller = n == 1 ? "A smaller context, " : "Fewer sequences, a smaller context, ";
      if (session->kv_type != engine::KvType::kQ80) smaller += "--kv-type q8_0 or ";
    }
  }
  if (needed <= *available) return {};
  return Error::limit(plan.file.name() + ": needs " + std::to_string(needed) + " bytes of memory (" + parts + "), " +
                      std::to_string(*available) + " are available. " +
                      (smaller.empty() ? "Weights" : smaller + "weights") +
                      " of fewer bits (rowmax quantize) would take less; --no-memory-check loads it all the same");
}

Status check_room(const engine::Session& session, std::int64_t n_tokens) {
  ROWMAX_TRY(cost, session.cost(n_tokens));
  const engine::Session::Memory memory = session.memory();
  const bool in_budget = cost.kv_peak_bytes <= memory.kv_budget_bytes;
  std::string parts;
  for (const engine::SequenceCost::Group& group : cost.groups) {
    parts += (parts.empty() ? "" : ", ") + group_name(group) + " " +
             (in_budget ? bytes_text(group.peak_bytes) : mib_text(group.peak_bytes));
  }
  const std::string take = std::to_string(n_tokens) + " tokens take ";
  if (!in_budget) {
    return Error::limit(take + mib_text(cost.kv_peak_bytes) + " of keys and values (" + parts + "); there are " +
                        mib_text(memory.kv_budget_bytes) + " for them, --kv-budget sets it");
  }
  const std::int64_t states = cost.state_bytes + cost.checkpoint_bytes;
  if (states > 0) parts += (parts.empty() ? "states " : ", states ") + bytes_text(states);
  const std::int64_t taken = memory.kv_held_bytes + memory.kv_kept_bytes + memory.checkpoint_bytes;
  const std::optional<std::int64_t> available = engine::available_memory();
  if (available && cost.total_bytes() - taken > *available) {
    return Error::limit(take + bytes_text(cost.total_bytes()) + " (" + parts + "); this machine has " +
                        bytes_text(*available) + " of memory free");
  }
  return {};
}

}  // namespace rowmax::cli
