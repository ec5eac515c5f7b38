// Does a server's answer depend on anything but the request? The same greedy requests alone, then in every other situation.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "apps/audit/answer.h"
#include "apps/text/json.h"
#include "rowmax/result.h"

namespace rowmax::audit {

struct Options {
  std::string url;            // http or https, with or without /v1
  std::string key;            // may be empty
  std::string model;          // empty: the first that the server lists
  double seconds = 60;        // probes go round until it is over; after three times as long nothing more is asked
  int timeout_seconds = 120;  // of one request
  int at_once = 16;           // most requests at a time
  std::uint64_t seed = 0;     // of the questions; a new one asks what no cache holds
  int rounds = 0;             // most of them; 0: as many as there is time for
  std::optional<std::string> against;  // answers of an earlier run (Report::saved), whose questions are asked again
  std::function<bool()> cancelled;
  std::function<void(std::string_view)> on_note;
};

enum class Verdict { kPass, kFail, kInconclusive };
const char* verdict_name(Verdict verdict);

struct Example {
  Difference difference;
  std::string situation;     // "8 at once"
  std::string alone, other;  // the texts
  std::string curl;          // the request; what stood around it says the situation
};

struct Probe {
  std::string name, what;
  bool possible_anywhere = true;  // false: hangs on what the server or the caller offers
  std::int64_t n_compared = 0, n_differing = 0, n_other_text = 0, n_failed = 0;
  std::string remark;  // what the verdict does not say: why nothing was compared, what was cached
  std::optional<Example> example;

  Verdict verdict() const;
};

struct Report {
  std::string url, model, fingerprint;
  std::uint64_t seed = 0;
  bool chat = false, completions = false;
  bool chat_logprobs = false, completions_logprobs = false;
  std::int64_t n_question = 0, shortest = -1, longest = -1;  // prompts' tokens; -1: the server does not say
  int max_tokens = 0;
  std::vector<Probe> probes;
  text::Json saved;  // one object, whose text Options::against takes

  // kFail where a probe failed; kInconclusive where one that is possible anywhere compared nothing.
  Verdict verdict() const;
};

// Errors: kInvalidArgument for options, kCorrupt for `against` or a server whose answers are none, kIo where it cannot be
// reached or is silent, kNotFound where it has neither API, kUnsupported in a build without libcurl, kCancelled.
Result<Report> audit(const Options& options);

}  // namespace rowmax::audit
