#include "rowmax/engine/scheduler.h"

#include <list>
#include <string>
#include <utility>

#include "base/guarded.h"
#include "engine/serving/intake.h"
#include "engine/serving/runner.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

constexpr int kMostChoices = 1024;

Status check_range(const char* name, std::int64_t found, std::int64_t least, std::int64_t most) {
  if (found >= least && found <= most) return {};
  return Error::invalid_argument(std::string(name) + ": expected " + std::to_string(least) + " to " +
                                 std::to_string(most) + ", found " + std::to_string(found));
}

Status check_work(const GenerationRequest& request, std::int64_t n_vocab) {
  ROWMAX_RETURN_IF_ERROR(validate(request.options, n_vocab));
  ROWMAX_RETURN_IF_ERROR(check_range("choices", request.choices, 1, kMostChoices));
  return check_range("prompt_top_log_probabilities", request.prompt_top_log_probabilities, 0, n_vocab);
}

Status check_work(const EmbedOptions& options, std::int64_t /*n_vocab*/) {
  if (options.pooling == Pooling::kMean || options.pooling == Pooling::kCls || options.pooling == Pooling::kLast) {
    return {};
  }
  return Error::invalid_argument("pooling: expected kMean, kCls or kLast, found " +
                                 std::to_string(static_cast<int>(options.pooling)));
}

Status check_work(const ObserveRequest& request, std::int64_t /*n_vocab*/) {
  return request.observer ? Status() : Error::invalid_argument("observer: expected one, found null");
}

}  // namespace

struct Scheduler::Impl {
  Session* session;
  std::int64_t kv_budget;
  Intake intake;
  Runner runner;

  Impl(Session& owner, const SchedulerOptions& options)
      : session(&owner),
        kv_budget(owner.memory().kv_budget_bytes),
        intake(options.max_waiting),
        runner(owner, options, intake) {}

  // Looks at what of the session never changes, since it may be computing.
  Status check(const Request& request) const {
    const std::int64_t n_vocab = session->model().shape().n_vocab, n = std::ssize(request.prompt);
    if (n == 0) return Error::invalid_argument("prompt: expected at least one token, found none");
    for (const TokenId token : request.prompt) {
      if (token >= 0 && token < n_vocab) continue;
      return Error::invalid_argument("prompt: expected token ids 0 to " + std::to_string(n_vocab - 1) + ", found " +
                                     std::to_string(token));
    }
    ROWMAX_RETURN_IF_ERROR(std::visit([&](const auto& work) { return check_work(work, n_vocab); }, request.work));
    if (n > session->context()) {
      return Error::limit("prompt of " + std::to_string(n) + " tokens does not fit the context of " +
                          std::to_string(session->context()));
    }
    ROWMAX_TRY(cost, session->cost(n));
    if (cost.kv_peak_bytes > kv_budget) {
      return Error::limit("prompt of " + std::to_string(n) + " tokens: its keys and values need " +
                          std::to_string(cost.kv_peak_bytes) + " bytes, kv_budget_bytes is " +
                          std::to_string(kv_budget));
    }
    return {};
  }

  Result<RequestId> submit(Request request) {
    ROWMAX_RETURN_IF_ERROR(check(request));
    std::list<Job> jobs(1);
    Job& job = jobs.front();
    job.submitted = Clock::now();
    job.prompt = std::move(request.prompt);
    job.owner = request.owner;
    job.listener = request.listener ? std::move(request.listener) : std::make_unique<RequestListener>();
    if (auto* work = std::get_if<GenerationRequest>(&request.work)) {
      job.tasks_left = work->choices;
      job.generation = std::move(*work);
    } else if (auto* look = std::get_if<ObserveRequest>(&request.work)) {
      job.observer = std::move(look->observer);
    } else {
      job.embedding = std::get<EmbedOptions>(request.work);
    }
    std::list<Task> tasks;
    for (int choice = 0; choice < job.tasks_left; ++choice) tasks.emplace_back(job, choice);
    return intake.add(jobs, tasks);
  }
};

Scheduler::Scheduler(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Scheduler::Scheduler(Scheduler&&) noexcept = default;
Scheduler& Scheduler::operator=(Scheduler&& other) noexcept {
  if (this != &other) {
    if (impl_) impl_->runner.cancel_all();
    impl_ = std::move(other.impl_);
  }
  return *this;
}
Scheduler::~Scheduler() {
  if (!impl_) return;
  impl_->intake.close(true);
  impl_->runner.cancel_all();
}

Result<Scheduler> Scheduler::create(Session& session, const SchedulerOptions& options) {
  return base::guarded([&]() -> Result<Scheduler> {
    ROWMAX_RETURN_IF_ERROR(check_range("step_rows", options.step_rows, 1, 65536));
    ROWMAX_RETURN_IF_ERROR(check_range("max_running", options.max_running, 0, 4096));
    ROWMAX_RETURN_IF_ERROR(check_range("max_waiting", options.max_waiting, 1, std::int64_t{1} << 32));
    ROWMAX_RETURN_IF_ERROR(check_range("headroom_tokens", options.headroom_tokens, 0, std::int64_t{1} << 32));
    return Scheduler(std::make_unique<Impl>(session, options));
  });
}

Result<RequestId> Scheduler::submit(Request request) {
  return base::guarded([&] { return impl_->submit(std::move(request)); });
}
Status Scheduler::cancel(RequestId id) {
  return base::guarded([&] { return impl_->intake.cancel(id); });
}
Status Scheduler::pause(RequestId id) {
  return base::guarded([&] { return impl_->intake.pause(id, true); });
}
Status Scheduler::resume(RequestId id) {
  return base::guarded([&] { return impl_->intake.pause(id, false); });
}
void Scheduler::drain() { impl_->intake.close(false); }
void Scheduler::stop() { impl_->intake.close(true); }
SchedulerStatistics Scheduler::statistics() const { return impl_->intake.statistics(); }

bool Scheduler::step() { return impl_->runner.step(); }
void Scheduler::run() {
  do {
    while (impl_->runner.step()) {
      if (impl_->runner.all_paused()) impl_->intake.wait_for_news();
    }
  } while (impl_->intake.wait());
}

}  // namespace rowmax::engine
