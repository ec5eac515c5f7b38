#include "apps/cli/debug.h"

#include <cstdio>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "apps/cli/debug_observer.h"
#include "apps/cli/nearest.h"
#include "apps/cli/options.h"
#include "rowmax/try.h"

namespace rowmax::cli {
namespace {

std::vector<std::string_view> kind_names() {
  std::vector<std::string_view> names;
  for (int i = 0; i < static_cast<int>(DebugKind::kCount); ++i) {
    names.push_back(debug_kind_name(static_cast<DebugKind>(i)));
  }
  return names;
}

Result<std::set<DebugKind>> parse_kinds(std::string_view text) {
  const std::vector<std::string_view> names = kind_names();
  std::set<DebugKind> kinds;
  for (bool more = true; more;) {
    const std::size_t comma = text.find(',');
    const std::string_view part = text.substr(0, comma);
    more = comma != std::string_view::npos;
    if (more) text.remove_prefix(comma + 1);
    bool known = part == "all";
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (part != "all" && part != names[i]) continue;
      kinds.insert(static_cast<DebugKind>(i));
      known = true;
    }
    if (known) continue;
    std::string list;
    for (const std::string_view name : names) list += std::string(name) + ", ";
    return Error{ErrorCode::kInvalidArgument, "--debug: expected some of " + list + "or all, found \"" +
                                                  std::string(part) + "\"" + did_you_mean(part, names)};
  }
  return kinds;
}

}  // namespace

void add_debug_flags(Flags& table, DebugFlags& flags) {
  std::string names;
  for (const std::string_view name : kind_names()) names += " " + std::string(name);
  table.add("--debug", flags.kinds, "a line of each event on standard error, with commas, or all:" + names)
      .type("KINDS");
  table.add("--debug-layers", flags.layers, "of which layers: 0,3-5").shows("all");
  table.add("--debug-tokens", flags.tokens, "of which tokens, by their positions: 0,3-5").shows("all");
  table.only_with("--debug-layers", {"--debug"});
  table.only_with("--debug-tokens", {"--debug"});
}

Result<std::unique_ptr<engine::TraceObserver>> debug_observer(const DebugFlags& flags, const engine::Session& session) {
  if (flags.kinds.empty()) {
    if (flags.layers.empty() && flags.tokens.empty()) return std::unique_ptr<engine::TraceObserver>();
    return Error{ErrorCode::kInvalidArgument, "--debug-layers and --debug-tokens are for --debug KINDS"};
  }
  DebugChoice choice;
  ROWMAX_TRY(kinds, parse_kinds(flags.kinds));
  choice.kinds = std::move(kinds);
  ROWMAX_TRY(layers, parse_ranges(flags.layers, "--debug-layers", session.model().shape().n_layer));
  if (!flags.layers.empty()) choice.layers.emplace(layers.begin(), layers.end());
  ROWMAX_TRY(tokens, parse_ranges(flags.tokens, "--debug-tokens", session.context()));
  if (!flags.tokens.empty()) choice.tokens.emplace(tokens.begin(), tokens.end());
  return std::unique_ptr<engine::TraceObserver>(std::make_unique<DebugObserver>(
      std::move(choice), session, [](const std::string& line) { std::fprintf(stderr, "%s\n", line.c_str()); }));
}

bool TwoObservers::wants(engine::Stage stage, std::int64_t layer) {
  return first_.wants(stage, layer) || (second_ != nullptr && second_->wants(stage, layer));
}
void TwoObservers::see(const engine::TraceView& view) {
  if (first_.wants(view.stage, view.layer)) first_.see(view);
  if (second_ != nullptr && second_->wants(view.stage, view.layer)) second_->see(view);
}
bool TwoObservers::wants_norms() { return first_.wants_norms() || (second_ != nullptr && second_->wants_norms()); }
void TwoObservers::see_norm(const engine::NormView& view) {
  if (first_.wants_norms()) first_.see_norm(view);
  if (second_ != nullptr && second_->wants_norms()) second_->see_norm(view);
}
bool TwoObservers::probes(std::int64_t layer) {
  return first_.probes(layer) || (second_ != nullptr && second_->probes(layer));
}
bool TwoObservers::probes_row(std::int64_t layer, const engine::TraceRow& token, std::int64_t head) noexcept {
  return (first_.probes(layer) && first_.probes_row(layer, token, head)) ||
         (second_ != nullptr && second_->probes(layer) && second_->probes_row(layer, token, head));
}
void TwoObservers::see_row(std::int64_t layer, const ProbeRow& row) noexcept {
  const engine::TraceRow token{static_cast<engine::SequenceId>(row.sequence), row.position};
  if (first_.probes(layer) && first_.probes_row(layer, token, row.head)) first_.see_row(layer, row);
  if (second_ != nullptr && second_->probes(layer) && second_->probes_row(layer, token, row.head)) {
    second_->see_row(layer, row);
  }
}

}  // namespace rowmax::cli
