// One audit while it runs: what was asked alone, and the situations that it is asked in again.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "apps/audit/audit.h"
#include "apps/audit/client.h"
#include "apps/audit/question.h"
#include "apps/audit/saved.h"

namespace rowmax::audit {

// A question with what it was answered alone. Where a cold and a warm cache answer differently both count as right for
// the other probes: each is to name its own cause.
struct Asked {
  Question question;
  std::vector<Answer> alone;
  std::size_t index = 0;  // among the questions of a run, all of which have the same ones by a seed
};

class Run {
 public:
  explicit Run(const Options& options);
  Result<Report> all();

 private:
  // Before the probes.
  Status find_model();
  Status find_apis();
  Result<bool> try_api(Api api, bool& logprobs);
  Status find_length();
  Status ask_alone();

  // The probes, in the order of the report. `pass` counts from 0.
  void repeated(Asked& asked);
  void order(int pass);
  void same_at_once(int pass);
  void at_once(int pass);
  void list(int pass);
  void beside(int pass);
  void pieces(int pass);
  void evicted(int pass);
  void sampled(int pass);
  void against();

  Question short_question(Api api, std::uint64_t number) const;
  Question long_question(Api api, std::uint64_t number) const;
  std::vector<Api> apis() const;
  std::uint64_t fresh() { return next_number_++; }

  // Compares with the answers that are known, and counts.
  void judge(Probe& probe, std::span<const Answer> known, const Result<Answer>& answer, const std::string& situation,
             const std::function<std::string()>& curl);
  void judge(Probe& probe, const Asked& asked, const Result<Answer>& answer, const std::string& situation);
  void judge_list(Probe& probe, std::span<const std::size_t> indices);
  void fill_cache();
  // Where the server says it: whether the answer's prompt was computed, and not taken from the cache.
  static std::optional<bool> computed_anew(const Answer& answer);
  bool stopped() const { return options_.cancelled && options_.cancelled(); }
  void note(const std::string& text) const;

  Options options_;
  Client client_;
  Questions questions_;
  Report report_;
  std::optional<Saved> saved_;
  std::vector<Asked> asked_;
  int long_words_ = 110;
  std::uint64_t next_number_ = 1000;  // of questions that are asked in one probe alone
  std::int64_t most_cached_ = -1;
  Probe repeated_, order_, same_, at_once_, list_, beside_, pieces_, evicted_, sampled_, against_;
};

}  // namespace rowmax::audit
