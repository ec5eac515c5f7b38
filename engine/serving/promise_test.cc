// The promise: what a request is given depends on the request alone. Some sixty requests of all kinds are computed
// alone, by plain loops on sessions of their own; then together, in other orders and under all kinds of pressure, and
// every byte is compared.

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/serving/test_folder.h"
#include "engine/serving/test_requests.h"

namespace rowmax::engine {
namespace {

constexpr int kRequests = 60;

struct Recorded {
  std::vector<RecordedRequest> requests;
  std::vector<Given> truths;
};

const Model& model_named(const std::string& name) {
  if (name != "stories") return test_model(name);
  static const Model model = [] {
    ModelOptions options;
    options.isa = supported_isas().back();
    return std::move(Model::load(std::string(ROWMAX_SOURCE_DIR) + "/models/stories.gguf", options, test_executor()))
        .value();
  }();
  return model;
}

const Recorded& recorded(const std::string& name) {
  static std::map<std::string, Recorded> all;
  Recorded& own = all[name];
  if (own.requests.empty()) {
    own.requests = recorded_requests(model_named(name), kRequests);
    for (const RecordedRequest& request : own.requests) own.truths.push_back(alone(model_named(name), request));
  }
  return own;
}

// A small generator of our own: the same choices on every machine.
struct Random {
  std::uint64_t state;
  std::uint64_t operator()(std::uint64_t n) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (state >> 33) % n;
  }
};

struct Load {
  int at_once = kRequests;
  int order = 0;  // 0: as recorded
  int threads = 1;
  std::int64_t budget_requests = 0;  // 0: the default; else room for so many hundredths of the largest request
  bool reuse = true;
  bool cancels = false;
  bool pauses = false;
  int max_sequences = 16;
  SchedulerOptions options = {};
  std::string disk = {};  // a folder
};

class Promise : public testing::TestWithParam<const char*> {
 protected:
  const Model& model_ = model_named(GetParam());
  const Recorded& recorded_ = recorded(GetParam());
  std::vector<Heard> heard_;
  SchedulerStatistics figures_;
  std::int64_t most_paused_ = 0;

  SessionOptions session_options(const Load& load) const {
    SessionOptions options;
    options.max_sequences = load.max_sequences;
    options.reuse_prefixes = load.reuse;
    if (load.budget_requests > 0) {
      options.kv_budget_bytes =
          sequence_cost(model_.description(), 250, options)->kv_peak_bytes * load.budget_requests / 100;
    }
    return options;
  }

  Session session(const Load& load, Executor& executor) const {
    auto made = Session::create(model_, session_options(load), executor);
    EXPECT_TRUE(made.ok()) << made.error().message;
    return std::move(made).value();
  }

  void run(const Load& load) {
    const auto pool = std::move(make_thread_pool(load.threads)).value();
    Session own = session(load, *pool);
    SchedulerOptions options = load.options;
    std::optional<DiskCache> disk;
    if (!load.disk.empty()) {
      auto opened = DiskCache::open({.folder = load.disk, .bytes = std::int64_t{1} << 30, .version = "test"}, own,
                                    session_options(load));
      ASSERT_TRUE(opened.ok()) << opened.error().message;
      disk = std::move(opened).value();
      options.disk = &*disk;
    }
    auto scheduler = Scheduler::create(own, options);
    ASSERT_TRUE(scheduler.ok()) << scheduler.error().message;
    std::vector<std::size_t> order(kRequests);
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    Random random{static_cast<std::uint64_t>(load.order)};
    for (std::size_t i = order.size(); load.order > 0 && i > 1; --i) std::swap(order[i - 1], order[random(i)]);
    heard_ = std::vector<Heard>(kRequests);
    int flying = 0;
    std::size_t next = 0, steps = 0;
    std::vector<RequestId> ids;
    const auto submit_more = [&] {
      for (; next < order.size() && flying < load.at_once; ++next, ++flying) {
        const RecordedRequest& request = recorded_.requests[order[next]];
        auto recorder = std::make_unique<Recorder>(heard_[order[next]], request.choices(), std::function<void()>(),
                                                   [&] { --flying; });
        const auto id = scheduler->submit(request_of(request, std::move(recorder)));
        ASSERT_TRUE(id.ok()) << id.error().message;
        ids.push_back(*id);
      }
    };
    for (submit_more(); scheduler->step() || next < order.size(); submit_more()) {
      if (load.cancels && random(3) == 0) (void)scheduler->cancel(ids[random(ids.size())]);
      if (load.pauses) {
        const RequestId id = ids[random(ids.size())];
        (void)(random(5) < 3 ? scheduler->pause(id) : scheduler->resume(id));
        most_paused_ = std::max(most_paused_, scheduler->statistics().paused);
      }
      ASSERT_LT(++steps, 100000u) << "there is no progress";
    }
    figures_ = scheduler->statistics();
    EXPECT_EQ(figures_.waiting + figures_.running + figures_.preempted + figures_.paused, 0);
    EXPECT_EQ(figures_.memory.kv_held_bytes, 0);
    EXPECT_EQ(figures_.submitted, kRequests);
    EXPECT_EQ(figures_.succeeded + figures_.cancelled, kRequests);
    compare(load);
  }

  void compare(const Load& load) {
    int whole = 0;
    for (std::size_t i = 0; i < heard_.size(); ++i) {
      const Heard& heard = heard_[i];
      const RecordedRequest& request = recorded_.requests[i];
      EXPECT_EQ(heard.faults, std::vector<std::string>()) << request.name;
      EXPECT_EQ(heard.n_ended, 1) << request.name;
      EXPECT_TRUE(heard.destroyed) << request.name;
      if (load.cancels && heard.given.error == "cancelled") {
        expect_beginning(heard.given, recorded_.truths[i], request.name);
        continue;
      }
      ++whole;
      EXPECT_EQ(text_of(heard.given), text_of(recorded_.truths[i])) << request.name;
      if (HasFailure()) return;
    }
    EXPECT_GE(whole, load.cancels ? 5 : kRequests);
    EXPECT_LE(whole, load.cancels ? kRequests - 5 : kRequests);
  }

  // What a cancelled request was given is the beginning of what it would have been.
  static void expect_beginning(const Given& got, const Given& want, const std::string& name) {
    for (std::size_t c = 0; c < got.choices.size(); ++c) {
      const GivenChoice &a = got.choices[c], &b = want.choices[c];
      ASSERT_LE(a.sampled.size(), b.sampled.size()) << name;
      EXPECT_TRUE(std::equal(a.sampled.begin(), a.sampled.end(), b.sampled.begin())) << name;
      EXPECT_EQ(b.text.substr(0, a.text.size()), a.text) << name;
    }
  }
};
INSTANTIATE_TEST_SUITE_P(Models, Promise, testing::Values("llama", "qwen35", "gemma2", "stories"),
                         [](const auto& info) { return std::string(info.param); });

TEST_P(Promise, TheRecordedRequestsSayEnough) {
  std::map<std::string, int> seen;
  for (const Given& given : recorded_.truths) {
    for (const GivenChoice& choice : given.choices) {
      seen[stop_reason_name(*choice.reason)] += 1;
      seen["stop string"] += !choice.stop_string.empty();
      seen["tokens"] += static_cast<int>(choice.sampled.size());
    }
    seen["scores"] += static_cast<int>(given.scores.tokens.size());
    seen["embedding"] += !given.embedding.empty();
  }
  EXPECT_GT(seen["length"], 20);
  EXPECT_GT(seen["stop string"], 0);
  EXPECT_GT(seen["stop"], seen["stop string"]);
  EXPECT_GT(seen["tokens"], 500);
  EXPECT_GT(seen["scores"], 100);
  EXPECT_EQ(seen["embedding"], 6);
}

TEST_P(Promise, SixtyAtOnce) {
  run({});
  EXPECT_EQ(figures_.preemptions, 0);
  EXPECT_GT(figures_.cached_tokens, 500);
  EXPECT_GT(figures_.accepted_draft_tokens, 10);
  EXPECT_GT(figures_.draft_tokens, figures_.accepted_draft_tokens);
}
TEST_P(Promise, SixtySequences) { run({.order = 1, .max_sequences = 90}); }
TEST_P(Promise, SixteenAtOnceInAnotherOrder) { run({.at_once = 16, .order = 2}); }
TEST_P(Promise, FourAtOnceOnTwoSequences) { run({.at_once = 4, .order = 3, .max_sequences = 2}); }
TEST_P(Promise, FewRowsAStep) {
  run({.order = 4, .options = {.step_rows = 1}});
  run({.order = 5, .options = {.step_rows = 9}});
}
TEST_P(Promise, MoreThreads) {
  run({.order = 6, .threads = 2});
  run({.order = 6, .threads = 3});
}
TEST_P(Promise, WithoutCachedPrefixes) {
  run({.order = 7, .reuse = false, .options = {.step_rows = 31}});
  EXPECT_GT(figures_.rows, 0);
}
TEST_P(Promise, LittleMemory) {
  std::int64_t preemptions = 0;
  for (const std::int64_t hundredths : {100, 250}) {
    run({.order = 8, .budget_requests = hundredths, .options = {.headroom_tokens = 0}});
    preemptions += figures_.preemptions;
    run({.at_once = 16,
         .order = 9,
         .budget_requests = hundredths,
         .reuse = false,
         .options = {.step_rows = 40, .headroom_tokens = 1}});
    preemptions += figures_.preemptions;
    if (HasFailure()) return;
  }
  EXPECT_GT(preemptions, 20);
}
// A session each: what the next ones find was on the disk.
TEST_P(Promise, PrefixesFromTheDisk) {
  const TemporaryFolder folder;
  run({.order = 12, .disk = folder.path() + "/pages"});
  EXPECT_EQ(figures_.disk_tokens, 0);
  run({.order = 13, .disk = folder.path() + "/pages"});
  EXPECT_GT(figures_.disk_tokens, 500);
  run({.at_once = 4, .order = 14, .max_sequences = 2, .disk = folder.path() + "/pages"});
  run({.order = 15, .budget_requests = 150, .options = {.headroom_tokens = 0}, .disk = folder.path() + "/pages"});
  EXPECT_GT(figures_.disk_tokens, 500);
}
TEST_P(Promise, OthersAreCancelled) {
  run({.order = 10, .cancels = true});
  run({.at_once = 16,
       .order = 11,
       .budget_requests = 200,
       .cancels = true,
       .options = {.step_rows = 50, .headroom_tokens = 0}});
}

// Their sequences are taken by others, and their pages.
TEST_P(Promise, SomeArePausedAgainAndAgain) {
  run({.order = 16, .pauses = true, .max_sequences = 90});
  EXPECT_GT(most_paused_, 10);
  run({.at_once = 16, .order = 17, .pauses = true, .max_sequences = 3, .options = {.step_rows = 40}});
  run({.order = 18, .budget_requests = 150, .pauses = true, .options = {.headroom_tokens = 0}});
  run({.order = 19, .reuse = false, .cancels = true, .pauses = true, .max_sequences = 4});
}

}  // namespace
}  // namespace rowmax::engine
