// --debug: one line on standard error for each event of the forward pass (debug_observer.h).
#pragma once

#include <memory>
#include <string>

#include "apps/cli/flags.h"
#include "rowmax/engine/session.h"
#include "rowmax/engine/trace.h"
#include "rowmax/result.h"

namespace rowmax::cli {

struct DebugFlags {
  std::string kinds, layers, tokens;
};
void add_debug_flags(Flags& table, DebugFlags& flags);
// Null where nothing is asked for. It looks at the session, which must outlive it. kInvalidArgument for a kind that is
// none, and for layers and tokens that the session does not have.
Result<std::unique_ptr<engine::TraceObserver>> debug_observer(const DebugFlags& flags, const engine::Session& session);

// One after the other; the second may be null.
class TwoObservers final : public engine::TraceObserver {
 public:
  TwoObservers(engine::TraceObserver& first, engine::TraceObserver* second) : first_(first), second_(second) {}
  bool wants(engine::Stage stage, std::int64_t layer) override;
  void see(const engine::TraceView& view) override;
  bool wants_norms() override;
  void see_norm(const engine::NormView& view) override;
  bool probes(std::int64_t layer) override;
  bool probes_row(std::int64_t layer, const engine::TraceRow& token, std::int64_t head) noexcept override;
  void see_row(std::int64_t layer, const ProbeRow& row) noexcept override;

 private:
  engine::TraceObserver& first_;
  engine::TraceObserver* second_;
};

}  // namespace rowmax::cli
