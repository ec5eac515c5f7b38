// A scheduler runs the requests of many on one session: generations, embeddings and scored prompts share batches, in
// continuous batching. What a request is given (tokens, texts, log-probabilities, vectors) depends on the request
// alone, bit for bit: not on its company, the order, preemption, drafts, or what the cache held. Times and the number
// of cached tokens do.
//
//   auto scheduler = Scheduler::create(session, {});
//   std::thread engine([&] { scheduler->run(); });
//   scheduler->submit({.prompt = ids, .work = GenerationRequest{}, .listener = std::make_unique<Mine>()});
//   ...
//   scheduler->drain();
//   engine.join();
//
// A step gives each generation that runs its next token. What that leaves of step_rows, an eighth of them at least, is
// for prompts: one half for the oldest, the other for the others in equal parts. Of the rows that no prompt wants,
// drafts are computed. So a prompt of r tokens among p others that run is read in at most ceil(r / max(1, room / (2
// p))) steps, room being what prompts get: a long prompt keeps no short one waiting, and no prompt a generation for
// more than one step. Requests start in the order in which they came. One whose prompt begins like another that is
// being computed lets that one go first, and those behind it pass: what both begin with is computed once. It waits for
// 8 rows at most for each of the tokens that it hopes to find.
//
// Where kv_budget_bytes has no room for a step, those that are paused give their pages back, then the youngest request,
// which waits in front of the queue and is computed again later. The oldest one never does as long as there is another, so there is progress.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "rowmax/engine/disk_cache.h"
#include "rowmax/engine/drafts.h"
#include "rowmax/engine/embed.h"
#include "rowmax/engine/generation.h"
#include "rowmax/engine/session.h"
#include "rowmax/engine/trace.h"
#include "rowmax/result.h"

namespace rowmax::engine {

using RequestId = std::uint64_t;  // from 1 on, in the order of submit()

struct RequestStart {
  std::int64_t prompt_tokens = 0;
  std::int64_t cached_tokens = 0;  // of the prompt, that need not be computed
  PrefixReuse reuse;               // what was found in memory, and why not more of it was taken up
  std::int64_t disk_tokens = 0;    // of the cached ones, that were read from the disk
  std::int64_t damaged_pages = 0;  // that the disk had of it, and were removed
};

// Of the prompt's own tokens behind its first, which nothing predicts: [prompt - 1], as in GenerationOptions.
struct PromptLogProbabilities {
  std::vector<TokenLogProbability> tokens;
  std::vector<std::vector<TokenLogProbability>> top;  // likeliest first; empty unless asked for
};

struct ChoiceEnd {
  StopReason reason = StopReason::kEos;
  // Text that was held back and came with no step: where the budget was used up.
  std::string text;
  std::string stop_string;           // for kStop by a text
  std::optional<TokenId> end_token;  // that ended it without being part of it (kEos, a stop token)
  bool budget_used_up = false;       // for kContext: kv_budget_bytes was used up before the context was
  std::int64_t generated_tokens = 0;
};

struct RequestEnd {
  // kCancelled by cancel() or stop(); kNumericFault, an error of the token mask, ...: what failed. Then choices that
  // did not end have no ChoiceEnd.
  Status status;
  std::vector<float> embedding;  // [n_embd], of an embedding that succeeded
  std::int64_t prompt_tokens = 0, cached_tokens = 0;
  std::int64_t generated_tokens = 0;  // of all choices
  std::int64_t draft_tokens = 0, accepted_draft_tokens = 0;
  std::int64_t preemptions = 0;
  double queued_ms = 0;       // until it started
  double prompt_ms = 0;       // from there until the prompt was computed
  double first_token_ms = 0;  // from submit() until the first token was sampled
  double generation_ms = 0;   // from then to the end
};

// Hears of one request, in the engine's thread (that of run() or step()): started, prompt_scored, steps and ends of
// choices, ended. Throws nothing. A request that is cancelled before it starts has ended() alone. Nothing comes after
// ended(); the listener is destroyed then. It may call submit() and cancel(), stop() and drain(); while it works,
// nothing is computed.
class RequestListener {
 public:
  virtual ~RequestListener() = default;
  virtual void started(RequestId /*id*/, const RequestStart& /*start*/) {}
  virtual void prompt_scored(RequestId /*id*/, PromptLogProbabilities /*scores*/) {}
  virtual void stepped(RequestId /*id*/, int /*choice*/, const GenerationStep& /*step*/) {}
  virtual void choice_ended(RequestId /*id*/, int /*choice*/, const ChoiceEnd& /*end*/) {}
  virtual void ended(RequestId /*id*/, RequestEnd /*end*/) {}
};

struct GenerationRequest {
  GenerationOptions options;
  // Of the same prompt, with the seeds options.sampling.seed, seed + 1, ... A token_mask is asked for each in turn.
  int choices = 1;
  // The prompt's own tokens, too (prompt_scored()); nothing of it is taken from the cache then.
  bool prompt_log_probability = false;
  int prompt_top_log_probabilities = 0;
  // Empty: no speculation. Is asked less where few guesses are right.
  DraftFunction draft;
  // Behind how many of the prompt's tokens other prompts are likely to go on, beside its end and the answer's, which are
  // known: the next turn of a conversation whose template writes an answer otherwise than the model did, another one that
  // begins like it. Recurrent states are kept there (BatchItem::keep).
  std::vector<std::int64_t> places;
};

// A look at a prompt's last token, which is computed by itself: `observer` sees the stages that it wants (trace.h) of that
// one row, in the engine's thread, and may replace none. What it is shown depends on the prompt alone. A step computes one
// such token at most.
struct ObserveRequest {
  std::shared_ptr<TraceObserver> observer;  // not null; used no more when the request ended
};

struct Request {
  std::vector<TokenId> prompt;  // the ids as they are; for an embedding those of encode_for_embedding
  std::variant<GenerationRequest, EmbedOptions, ObserveRequest> work;
  std::unique_ptr<RequestListener> listener;  // nullptr: nobody listens
  std::uint64_t owner = 0;                    // as for Session::set_owner()
};

struct SchedulerOptions {
  std::int64_t step_rows = 240;  // 1 or more; a step has more where more generations run
  // Most choices and embeddings at once, besides the session's sequences; 0: as many as these.
  int max_running = 0;
  std::int64_t max_waiting = 256;  // requests that were not started; 1 or more
  // A request starts where those that run have room for so many tokens more beside it. With less, more start, and are
  // sent back.
  std::int64_t headroom_tokens = 64;
  // Prefixes are looked for there, too, and kept there; must outlive the scheduler. nullptr: in memory alone.
  DiskCache* disk = nullptr;
};

struct SchedulerStatistics {
  std::int64_t waiting = 0;    // requests that were not started
  std::int64_t running = 0;    // choices and embeddings in batches
  std::int64_t preempted = 0;  // those that wait to be computed again
  std::int64_t paused = 0;     // those of requests that are paused
  // Since create():
  std::int64_t submitted = 0, refused = 0;  // refused: by a full queue
  std::int64_t succeeded = 0, cancelled = 0, failed = 0;
  std::int64_t steps = 0, rows = 0;  // rows: tokens computed, drafts and those computed again among them
  std::int64_t prompt_tokens = 0;    // of requests that started
  std::int64_t cached_tokens = 0;    // of these, that were not computed
  std::int64_t disk_tokens = 0;      // of these, that were read from the disk
  std::int64_t generated_tokens = 0;
  std::int64_t draft_tokens = 0, accepted_draft_tokens = 0;
  std::int64_t preemptions = 0;
  Session::Memory memory;  // after the last step
};

class Scheduler {
 public:
  // The session must outlive the scheduler, stay where it is, and be used by nobody else. Requests have all of its
  // sequences that are not open. kInvalidArgument naming the option.
  static Result<Scheduler> create(Session& session, const SchedulerOptions& options);
  Scheduler(Scheduler&&) noexcept;
  Scheduler& operator=(Scheduler&&) noexcept;
  ~Scheduler();  // cancels what is left, in this thread; after run() has returned

  // From any thread:

  // kInvalidArgument for what can never be computed (an option, a token id, an empty prompt); kLimit for a prompt that
  // does not fit the context or kv_budget_bytes (with the bytes needed and there); kBusy for a full queue (with the number
  // of requests that wait); kCancelled after drain() or stop(). The listener is destroyed, unheard, where there is an
  // error.
  Result<RequestId> submit(Request request);
  // The request is in no later step. kNotFound where it ended, or is none.
  Status cancel(RequestId id);
  // The request's choices are in no step, from the next one on, until resume(): for a reader that takes nothing more for
  // now. What they remember stays while there is room, and is computed again where others took it. What has no text to be
  // read (an embedding, scores of a prompt) goes on. drain() waits for it. kNotFound as cancel().
  Status pause(RequestId id);
  Status resume(RequestId id);
  // No more requests are taken; run() returns when the last one ended.
  void drain();
  // The same, and all are cancelled.
  void stop();
  SchedulerStatistics statistics() const;

  // From one thread, the engine's:

  // Steps until drain() or stop(), sleeping while there is nothing to do. An error of a whole batch (kIo, kCorrupt of a
  // model file, kOutOfMemory) ends the requests in it, and nothing else.
  void run();
  // One step of what was submitted. False when nothing is left to be done; what is paused is left.
  bool step();

  struct Impl;

 private:
  explicit Scheduler(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rowmax::engine
