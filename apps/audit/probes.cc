// The situations that questions are asked in again.
#include <algorithm>
#include <thread>

#include "apps/audit/run.h"

namespace rowmax::audit {
namespace {

constexpr int kFillers = 12;

std::string count(std::size_t n, const char* what) { return std::to_string(n) + " " + what; }

std::string quoted_tokens(std::int64_t n, std::int64_t of) {
  return std::to_string(n) + (of < 0 ? "" : " of " + std::to_string(of)) + " tokens";
}

}  // namespace

void Run::judge(Probe& probe, std::span<const Answer> known, const Result<Answer>& answer, const std::string& situation,
                const std::function<std::string()>& curl) {
  if (!answer.ok()) {
    if (probe.n_failed++ == 0) probe.remark = answer.error().message;
    return;
  }
  // Two answers without a word agree in nothing.
  if (answer->empty() && known[0].empty()) return;
  ++probe.n_compared;
  for (const Answer& each : known) {
    if (!difference(each, *answer)) return;
  }
  const Difference found = *difference(known[0], *answer);
  ++probe.n_differing;
  probe.n_other_text += found.text_differs;
  Example example{found, situation, known[0].text, answer->text, curl()};
  const auto rank = [](const Example& e) { return std::pair(!e.difference.text_differs, e.curl.size()); };
  if (!probe.example || rank(example) < rank(*probe.example)) probe.example = std::move(example);
}

void Run::judge(Probe& probe, const Asked& asked, const Result<Answer>& answer, const std::string& situation) {
  judge(probe, asked.alone, answer, situation, [&] { return client_.curl_line(asked.question); });
}

std::optional<bool> Run::computed_anew(const Answer& answer) {
  if (answer.cached_tokens < 0) return std::nullopt;
  // What all prompts begin with (a template's system message) is always there.
  return answer.prompt_tokens < 0 ? answer.cached_tokens == 0 : 2 * answer.cached_tokens < answer.prompt_tokens;
}

void Run::repeated(Asked& asked) {
  auto answer = client_.ask(asked.question);
  judge(repeated_, asked, answer, "again, alone");
  if (!answer.ok()) return;
  if (answer->cached_tokens > most_cached_) {
    most_cached_ = answer->cached_tokens;
    repeated_.remark = "cached: " + quoted_tokens(most_cached_, answer->prompt_tokens);
  }
  if (most_cached_ < 0) repeated_.remark = "the server does not say what was cached";
  if (difference(asked.alone[0], *answer)) asked.alone.push_back(std::move(*answer));
}

void Run::order(int pass) {
  const std::size_t n = asked_.size();
  for (std::size_t i = 0; i < n; ++i) {
    // Backwards first; then in steps that have no divisor in common with the number, or backwards from elsewhere.
    const std::size_t k = pass % 2 == 0 ? (n - 1 - i + static_cast<std::size_t>(pass)) % n
                                        : (i * (n % 3 == 0 ? 1 : 3) + static_cast<std::size_t>(pass)) % n;
    judge(order_, asked_[k], client_.ask(asked_[k].question), "alone, in another order");
    if (stopped()) return;
  }
}

void Run::same_at_once(int pass) {
  const auto width = static_cast<std::size_t>(options_.at_once);
  // One of the short ones, and one of the long ones, which are last.
  for (const auto& [k, n] : {std::pair(static_cast<std::size_t>(pass) % asked_.size(), width),
                             std::pair(asked_.size() - 1 - static_cast<std::size_t>(pass) % 2 % asked_.size(),
                                       std::max<std::size_t>(2, width / 4))}) {
    const std::vector<Question> same(n, asked_[k].question);
    for (const auto& answer : client_.ask_at_once(same)) {
      judge(same_, asked_[k], answer, count(n, "times at once"));
    }
    if (stopped()) return;
  }
}

void Run::at_once(int pass) {
  const auto most = static_cast<std::size_t>(options_.at_once);
  for (const std::size_t width : {std::size_t{2}, std::max<std::size_t>(2, most / 2), most}) {
    std::vector<Question> questions;
    std::vector<const Asked*> of;
    for (std::size_t i = 0; i < width; ++i) {
      // Two at once are a short one and a long one.
      const std::size_t k = (width == 2 ? i * (asked_.size() - 1) : i) + static_cast<std::size_t>(pass);
      of.push_back(&asked_[k % asked_.size()]);
      questions.push_back(of.back()->question);
    }
    const auto answers = client_.ask_at_once(questions);
    for (std::size_t i = 0; i < width; ++i) judge(at_once_, *of[i], answers[i], count(width, "different ones at once"));
    if (stopped()) return;
  }
}

void Run::judge_list(Probe& probe, std::span<const std::size_t> indices) {
  std::vector<Question> questions;
  for (const std::size_t k : indices) questions.push_back(asked_[k].question);
  auto answers = client_.ask_list(questions);
  if (!answers.ok()) {
    if (probe.n_failed++ == 0) probe.remark = answers.error().message;
    return;
  }
  for (std::size_t i = 0; i < indices.size(); ++i) {
    judge(probe, asked_[indices[i]].alone, std::move((*answers)[i]),
          "number " + std::to_string(i + 1) + " of " + count(indices.size(), "prompts in one request"),
          [&] { return client_.curl_line(questions); });
  }
}

void Run::list(int pass) {
  std::vector<std::size_t> indices;
  for (std::size_t k = 0; k < asked_.size(); ++k) {
    if (asked_[k].question.api == Api::kCompletions) indices.push_back(k);
  }
  if (indices.empty()) {
    list_.remark = "the server has no /v1/completions";
    return;
  }
  std::rotate(indices.begin(), indices.begin() + pass % static_cast<std::ptrdiff_t>(indices.size()), indices.end());
  judge_list(list_, indices);
  while (indices.size() < static_cast<std::size_t>(options_.at_once)) indices.push_back(indices[indices.size() / 2]);
  if (!stopped()) judge_list(list_, indices);
}

void Run::beside(int pass) {
  Question question = short_question(apis()[0], fresh());
  question.max_tokens = 400;
  question.logprobs = false;
  for (std::size_t i = 0; i < asked_.size(); ++i) {
    const Asked& asked = asked_[(i + static_cast<std::size_t>(pass)) % asked_.size()];
    Client::Background background;
    std::optional<Result<Answer>> answer;
    {
      const std::jthread writer([&] { client_.generate(question, background); });
      while (!background.started && !background.ended) std::this_thread::sleep_for(std::chrono::milliseconds(2));
      if (!background.ended) answer.emplace(client_.ask(asked.question));
      background.stop = true;
    }
    if (answer) {
      judge(beside_, asked, *answer, "beside an answer that was being written");
    } else if (beside_.n_compared + beside_.n_failed == 0) {
      beside_.remark = "a long answer was over before anything could be asked beside it";
    }
    if (stopped()) return;
  }
}

void Run::pieces(int pass) {
  const std::vector<Api> all = apis();
  const Question whole = long_question(all[static_cast<std::size_t>(pass) % all.size()], fresh());
  for (const std::size_t n_part : {std::size_t{1}, std::size_t{3}}) {
    static_cast<void>(client_.ask(beginning(whole, n_part)));
  }
  const auto curl = [&] { return client_.curl_line(whole); };
  auto grown = client_.ask(whole);
  if (!grown.ok()) {
    if (pieces_.n_failed++ == 0) pieces_.remark = grown.error().message;
    return;
  }
  const std::vector<Answer> known = {*grown};
  if (grown->cached_tokens >= 0) {
    pieces_.remark = "cached when it was asked: " + quoted_tokens(grown->cached_tokens, grown->prompt_tokens);
  }
  judge(pieces_, known, client_.ask(whole), "again, alone; first behind its own beginnings", curl);
  judge(pieces_, known, client_.ask(whole, true), "computed anew; first behind its own beginnings", curl);
}

void Run::fill_cache() {
  std::vector<Question> fillers;
  for (int i = 0; i < kFillers; ++i) {
    fillers.push_back(long_question(apis()[static_cast<std::size_t>(i) % apis().size()], fresh()));
    fillers.back().max_tokens = 1;
  }
  static_cast<void>(client_.ask_at_once(fillers));
}

void Run::evicted(int pass) {
  bool filled = false, unsaid = false;
  std::int64_t n_cached = 0;
  for (const Asked& asked : asked_) {
    auto answer = client_.ask(asked.question, true);
    if (answer.ok() && computed_anew(*answer) == false) {
      // The fields mean nothing to this server: other prompts may take the place of this one.
      if (!filled && pass == 0) fill_cache();
      filled = true;
      answer = client_.ask(asked.question);
    }
    if (stopped()) return;
    if (answer.ok() && computed_anew(*answer) == false) {
      ++n_cached;
      continue;
    }
    unsaid = unsaid || (answer.ok() && answer->cached_tokens < 0);
    judge(evicted_, asked, answer, "computed anew, behind other prompts");
  }
  if (n_cached > 0) {
    evicted_.remark = std::to_string(n_cached) + " of " + count(asked_.size(), "prompts") + " stayed in its cache";
  } else if (unsaid) {
    evicted_.remark = "the server does not say what was cached";
  }
}

void Run::sampled(int pass) {
  if (pass % 4 != 0) return;
  std::vector<Asked> all;
  for (const Api api : apis()) {
    Question question = short_question(api, fresh());
    question.sampled = true;
    question.seed = 42 + pass;
    // Cold and warm: what those two do to each other another probe says.
    for (int i = 0; i < 2; ++i) {
      auto answer = client_.ask(question);
      if (!answer.ok()) {
        if (sampled_.n_failed++ == 0) sampled_.remark = answer.error().message;
        break;
      }
      if (i == 0) all.push_back({question, {}, 0});
      all.back().alone.push_back(std::move(*answer));
    }
  }
  std::vector<Question> together;
  std::vector<const Asked*> of;
  for (const Asked& asked : all) {
    judge(sampled_, asked, client_.ask(asked.question), "again, alone");
    for (int i = 0; i < std::max(1, options_.at_once / 4); ++i) {
      together.push_back(asked.question);
      of.push_back(&asked);
    }
  }
  const auto answers = client_.ask_at_once(together);
  for (std::size_t i = 0; i < answers.size(); ++i) {
    judge(sampled_, *of[i], answers[i], count(answers.size(), "sampled ones at once"));
  }
}

void Run::against() {
  if (!saved_) {
    against_.remark = "not asked for (--save FILE, then --against FILE)";
    return;
  }
  for (const Asked& asked : asked_) {
    if (asked.index >= saved_->answers.size() || saved_->answers[asked.index].api != asked.question.api) continue;
    const std::vector<Answer> known = {saved_->answers[asked.index].answer};
    judge(against_, known, asked.alone[0], "now; the earlier run's answer is the first",
          [&] { return client_.curl_line(asked.question); });
  }
}

}  // namespace rowmax::audit
