// What comes before the probes: which APIs there are, how long a prompt may be, and what everything is compared with.
#include "apps/audit/run.h"

#include <algorithm>
#include <limits>

#include "apps/store/listener.h"
#include "rowmax/try.h"

namespace rowmax::audit {
namespace {

constexpr int kShort = 6, kLong = 2, kParts = 5;
constexpr int kMaxTokens = 24;

std::string base_of(std::string url) {
  while (url.ends_with('/')) url.pop_back();
  if (url.ends_with("/v1")) url.resize(url.size() - 3);
  while (url.ends_with('/')) url.pop_back();
  return url;
}

Probe probe(const char* name, const char* what, bool possible_anywhere = true) {
  Probe out;
  out.name = name;
  out.what = what;
  out.possible_anywhere = possible_anywhere;
  return out;
}

}  // namespace

Run::Run(const Options& options)
    : options_(options),
      client_({base_of(options.url), options.key, options.model, options.timeout_seconds, 3 * options.seconds,
               options.cancelled}),
      questions_(options.seed),
      repeated_(probe("cache", "the same request again, its prompt in the cache")),
      order_(probe("order", "the same requests alone, in another order")),
      same_(probe("same at once", "one request many times at once")),
      at_once_(probe("at once", "different requests at once, short and long")),
      list_(probe("list", "several prompts in one request", false)),
      beside_(probe("beside", "beside answers that are being written")),
      pieces_(probe("pieces", "a prompt that the cache has in pieces, and at once")),
      evicted_(probe("anew", "its prompt computed anew, behind other prompts", false)),
      sampled_(probe("seed", "sampled with a seed: again, and at once")),
      against_(probe("restart", "the answers of an earlier run (--against)", false)) {}

void Run::note(const std::string& text) const {
  if (options_.on_note) options_.on_note(text);
}

std::vector<Api> Run::apis() const {
  std::vector<Api> out;
  if (report_.completions) out.push_back(Api::kCompletions);
  if (report_.chat) out.push_back(Api::kChat);
  return out;
}

Question Run::short_question(Api api, std::uint64_t number) const {
  Question out;
  out.api = api;
  out.parts = {questions_.text(number, 8 + static_cast<int>(number % 5) * 6)};
  out.max_tokens = report_.max_tokens;
  out.logprobs = api == Api::kChat ? report_.chat_logprobs : report_.completions_logprobs;
  return out;
}

Question Run::long_question(Api api, std::uint64_t number) const {
  Question out = short_question(api, number);
  out.parts.clear();
  for (int i = 0; i < kParts; ++i) {
    out.parts.push_back(questions_.text(number * kParts + static_cast<std::uint64_t>(i) + 1000000, long_words_));
  }
  return out;
}

Status Run::find_model() {
  report_.model = options_.model;
  if (report_.model.empty()) {
    const auto model = client_.first_model();
    if (!model.ok() && model.error().code == ErrorCode::kCancelled) return model.error();
    // Many servers take any name; one that does not says so when it is asked.
    report_.model = model.ok() ? *model : "default";
  }
  client_.use_model(report_.model);
  return {};
}

// Whether the server has it; the error of one that cannot be spoken with.
Result<bool> Run::try_api(Api api, bool& logprobs) {
  Question question = short_question(api, fresh());
  question.logprobs = true;
  auto answer = client_.ask(question);
  if (!answer.ok() && answer.error().code == ErrorCode::kInvalidArgument) {
    question.logprobs = false;
    answer = client_.ask(question);
  }
  if (answer.ok()) {
    report_.fingerprint = answer->fingerprint;
    logprobs = !answer->tokens.empty();
    return true;
  }
  if (answer.error().code != ErrorCode::kNotFound && answer.error().code != ErrorCode::kInvalidArgument) {
    return answer.error();
  }
  note(answer.error().message);
  return false;
}

Status Run::find_apis() {
  std::optional<Error> error;
  for (const Api api : {Api::kCompletions, Api::kChat}) {
    bool& there = api == Api::kChat ? report_.chat : report_.completions;
    const auto found = try_api(api, api == Api::kChat ? report_.chat_logprobs : report_.completions_logprobs);
    if (found.ok()) {
      there = *found;
    } else {
      // Silence is not waited for twice.
      if (found.error().code != ErrorCode::kCorrupt) return found.error();
      if (!error) error = found.error();
    }
  }
  if (report_.chat || report_.completions) return {};
  if (error) return *error;
  return Error::not_found(client_.settings().url +
                          ": answers neither /v1/completions nor /v1/chat/completions for the model \"" +
                          report_.model + "\"");
}

// The longest of some lengths that the server's context takes.
Status Run::find_length() {
  if (saved_) {
    long_words_ = saved_->long_words;
    return {};
  }
  for (; long_words_ >= 2; long_words_ /= 2) {
    const auto answer = client_.ask(long_question(apis().back(), fresh()));
    if (answer.ok()) return {};
    if (answer.error().code != ErrorCode::kInvalidArgument) return answer.error();
  }
  long_words_ = 2;
  return {};
}

Status Run::ask_alone() {
  const std::vector<Api> all = apis();
  for (std::size_t i = 0; i < kShort + kLong; ++i) {
    const Api api = all[i % all.size()];
    asked_.push_back({i < kShort ? short_question(api, i) : long_question(api, i), {}, i});
  }
  Question neutral = short_question(all[0], 500);
  neutral.max_tokens = 1;
  std::optional<Error> error;
  Saved saved{options_.seed, long_words_, report_.max_tokens, {}};
  for (Asked& asked : asked_) {
    static_cast<void>(client_.ask(neutral));  // each is asked behind the same one
    auto answer = client_.ask(asked.question);
    if (stopped()) return store::interrupted_error();
    saved.answers.push_back({asked.question.api, answer.ok() ? *answer : Answer()});
    if (!answer.ok()) {
      if (!error) error = answer.error();
      ++repeated_.n_failed;
      repeated_.remark = answer.error().message;
      continue;
    }
    const std::int64_t n = answer->prompt_tokens;
    if (n >= 0) {
      report_.shortest = report_.shortest < 0 ? n : std::min(report_.shortest, n);
      report_.longest = std::max(report_.longest, n);
    }
    asked.alone.push_back(std::move(*answer));
    repeated(asked);
  }
  std::erase_if(asked_, [](const Asked& asked) { return asked.alone.empty(); });
  if (asked_.empty()) return *error;
  report_.n_question = static_cast<std::int64_t>(asked_.size());
  if (!saved_) report_.saved = to_json(saved);
  return {};
}

Result<Report> Run::all() {
  if (options_.against) {
    ROWMAX_TRY(saved, read_saved(*options_.against, "--against"));
    options_.seed = saved.seed;
    questions_ = Questions(saved.seed);
    report_.saved = to_json(saved);
    saved_ = std::move(saved);
  }
  report_.url = client_.settings().url;
  report_.seed = options_.seed;
  report_.max_tokens = saved_ ? saved_->max_tokens : kMaxTokens;
  const auto begun = std::chrono::steady_clock::now();
  ROWMAX_RETURN_IF_ERROR(find_model());
  ROWMAX_RETURN_IF_ERROR(find_apis());
  ROWMAX_RETURN_IF_ERROR(find_length());
  note("asking " + report_.url + " alone, to compare with");
  ROWMAX_RETURN_IF_ERROR(ask_alone());
  against();
  using Step = void (Run::*)(int);
  for (int pass = 0;; ++pass) {
    for (const Step step : {&Run::order, &Run::same_at_once, &Run::at_once, &Run::list, &Run::beside, &Run::pieces,
                            &Run::evicted, &Run::sampled}) {
      const std::chrono::duration<double> used = std::chrono::steady_clock::now() - begun;
      if (pass > 0 && (used.count() >= options_.seconds || pass == options_.rounds)) {
        report_.probes = {repeated_, order_, same_, at_once_, list_, beside_, pieces_, evicted_, sampled_, against_};
        return std::move(report_);
      }
      (this->*step)(pass);
      if (stopped()) return store::interrupted_error();
    }
  }
}

const char* verdict_name(Verdict verdict) {
  switch (verdict) {
    case Verdict::kPass: return "pass";
    case Verdict::kFail: return "fail";
    case Verdict::kInconclusive: return "inconclusive";
  }
  return "";
}

Verdict Probe::verdict() const {
  return n_differing > 0 ? Verdict::kFail : n_compared > 0 ? Verdict::kPass : Verdict::kInconclusive;
}

Verdict Report::verdict() const {
  Verdict out = Verdict::kPass;
  for (const Probe& each : probes) {
    if (each.verdict() == Verdict::kFail) return Verdict::kFail;
    if (each.verdict() == Verdict::kInconclusive && each.possible_anywhere) out = Verdict::kInconclusive;
  }
  return out;
}

Result<Report> audit(const Options& options) {
  if (!options.url.starts_with("http://") && !options.url.starts_with("https://")) {
    return Error::invalid_argument("expected an address that begins with http:// or https://, found " + options.url);
  }
  for (const char c : options.key) {
    if (c <= ' ' || c > '~') return Error::invalid_argument("a key has visible ASCII characters alone");
  }
  return Run(options).all();
}

}  // namespace rowmax::audit
