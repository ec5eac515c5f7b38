// Check 15: how a token is drawn from real logits: the highest one where it is to be, else with the probabilities of the
// definition, computed here in fp64; the same one again with the same seed, and whatever the number of threads.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <numeric>
#include <optional>

#include "base/math/f64.h"
#include "doctor/check.h"
#include "doctor/checks/forward.h"
#include "rowmax/engine/generate.h"
#include "rowmax/try.h"

namespace rowmax::doctor {
namespace {

using engine::SamplingParams;
using engine::TokenId;
using Logits = std::vector<float>;

constexpr std::string_view kId = "sampler";
constexpr std::int64_t kTokens = 24;
constexpr int kDraws = 400;

// Nothing but temperature.
SamplingParams plain() {
  SamplingParams params;
  params.temperature = 1;
  params.top_k = 0;
  params.top_p = 1;
  params.seed = 20;
  return params;
}

struct Setting {
  const char* words;
  float temperature;
  int top_k;
  float top_p;
};
constexpr Setting kSettings[] = {
    {"temperature 1", 1, 0, 1},
    {"top_k 5", 1, 5, 1},
    {"top_p 0.7", 1, 0, 0.7f},
    {"temperature 0.5, top_k 20, top_p 0.8", 0.5f, 20, 0.8f},
};

struct Probability {
  TokenId token;
  double value;
};

// Temperature, top_k, softmax, top_p, in this order; likeliest first, ties to the lower id.
std::vector<Probability> probabilities(const Logits& logits, const Setting& setting) {
  std::vector<Probability> all;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    all.push_back({static_cast<TokenId>(i), static_cast<double>(logits[i]) / static_cast<double>(setting.temperature)});
  }
  const auto before = [](const Probability& a, const Probability& b) {
    return a.value != b.value ? a.value > b.value : a.token < b.token;
  };
  std::ranges::sort(all, before);
  if (setting.top_k > 0) all.resize(std::min(all.size(), static_cast<std::size_t>(setting.top_k)));
  const auto normalise = [&] {
    double sum = 0;
    for (const Probability& p : all) sum += p.value;
    for (Probability& p : all) p.value /= sum;
  };
  const double highest = all.front().value;
  for (Probability& p : all) p.value = base::exp_f64(p.value - highest);
  normalise();
  double sum = 0;
  std::size_t n = 0;
  while (n < all.size() && (n == 0 || sum < static_cast<double>(setting.top_p) - 1e-6)) sum += all[n++].value;
  if (setting.top_p < 1) all.resize(n);
  normalise();
  return all;
}

// How far counts are from what probabilities let expect, in standard deviations of chi-square.
double deviation(const std::vector<Probability>& wanted, const std::vector<int>& drawn, std::int64_t* n_outside) {
  double chi_square = 0, rest = 1;
  int n_bins = 0, n_rest = kDraws;
  std::vector<char> in_bin(drawn.size(), 0);
  for (const Probability& p : wanted) {
    in_bin[static_cast<std::size_t>(p.token)] = 1;
    const double expected = p.value * kDraws;
    if (expected < 5) continue;
    const int count = drawn[static_cast<std::size_t>(p.token)];
    chi_square += (count - expected) * (count - expected) / expected;
    rest -= p.value;
    n_rest -= count;
    ++n_bins;
  }
  if (rest * kDraws >= 5) {
    chi_square += (n_rest - rest * kDraws) * (n_rest - rest * kDraws) / (rest * kDraws);
    ++n_bins;
  }
  for (std::size_t i = 0; i < drawn.size(); ++i) *n_outside += in_bin[i] == 0 ? drawn[i] : 0;
  if (n_bins < 2) return 0;
  return (chi_square - (n_bins - 1)) / std::sqrt(2.0 * (n_bins - 1));
}

constexpr double kMostDeviation = 8;  // chance gives it less often than once in a million texts

struct Finding {
  std::string what;
  double measured = 0, threshold = 0;
  const char* cause = "sampler";
};
struct Progress {
  std::int64_t n_compared = 0;
  double worst = 0;
  std::optional<Finding> finding;
  void fail(Finding found) {
    if (!finding) finding = std::move(found);
  }
};

Status greedy(const std::vector<Logits>& rows, Progress& progress) {
  SamplingParams params = plain();
  params.temperature = 0;
  for (const Logits& row : rows) {
    ROWMAX_TRY(sampler, engine::Sampler::create(params, std::ssize(row)));
    ROWMAX_TRY(token, sampler.sample(row));
    ++progress.n_compared;
    const auto highest = std::ranges::max_element(row) - row.begin();
    if (token != highest) {
      progress.fail({"at temperature 0 token " + std::to_string(token) + " is drawn, and " + std::to_string(highest) +
                         " has the highest logit",
                     static_cast<double>(token), static_cast<double>(highest)});
    }
  }
  return {};
}

Status distribution(const Logits& logits, const Setting& setting, Progress& progress) {
  SamplingParams params = plain();
  params.temperature = setting.temperature;
  params.top_k = setting.top_k;
  params.top_p = setting.top_p;
  const std::vector<Probability> wanted = probabilities(logits, setting);
  std::vector<int> drawn(logits.size(), 0);
  ROWMAX_TRY(sampler, engine::Sampler::create(params, std::ssize(logits)));
  for (int i = 0; i < kDraws; ++i) {
    ROWMAX_TRY(token, sampler.sample(logits));
    ++drawn[static_cast<std::size_t>(token)];
  }
  progress.n_compared += kDraws;
  std::int64_t n_outside = 0;
  const double off = deviation(wanted, drawn, &n_outside);
  progress.worst = std::max(progress.worst, off);
  // The last token of top_p's set may differ by the rounding of sums.
  const std::int64_t tolerated = setting.top_p < 1 ? kDraws / 100 : 0;
  if (n_outside > tolerated) {
    progress.fail({std::string(setting.words) + ": " + std::to_string(n_outside) + " of " + std::to_string(kDraws) +
                       " draws lie outside the set of " + std::to_string(wanted.size()) + " tokens",
                   static_cast<double>(n_outside), static_cast<double>(tolerated)});
  }
  if (off > kMostDeviation) {
    progress.fail(
        {std::string(setting.words) + ": draws do not have the probabilities of the definition", off, kMostDeviation});
  }
  return {};
}

// Logits and draws of three runs, each with another number of threads.
Status repeats(Patient& patient, std::span<const TokenId> tokens, const std::vector<Logits>& rows, Progress& progress) {
  ROWMAX_TRY(model, patient.model());
  std::vector<TokenId> first;
  for (const int threads : {1, 2, 3}) {
    ROWMAX_TRY(pool, make_thread_pool(threads));
    engine::SessionOptions options;
    options.context = std::ssize(tokens);
    ROWMAX_TRY(session, engine::Session::create(*model, options, *pool));
    ROWMAX_TRY(sequence, session.open());
    std::vector<Logits> again;
    ROWMAX_RETURN_IF_ERROR(forward_logits(session, sequence, tokens, again));
    for (std::size_t i = 0; i < rows.size(); ++i) {
      ++progress.n_compared;
      if (std::memcmp(rows[i].data(), again[i].data(), rows[i].size() * sizeof(float)) == 0) continue;
      progress.fail({"logits differ from run to run with " + std::to_string(threads) + " threads, at position " +
                         std::to_string(i),
                     1, 0, "format_kernel"});
    }
    ROWMAX_TRY(sampler, engine::Sampler::create(plain(), std::ssize(rows.back())));
    for (std::size_t i = 0; i < 8; ++i) {
      ROWMAX_TRY(token, sampler.sample(again.back()));
      if (threads == 1) first.push_back(token);
      if (token != first[i]) progress.fail({"one seed draws different tokens", static_cast<double>(token), 0});
      ++progress.n_compared;
    }
  }
  return {};
}

// A prompt that ends like a finished text is gone on with all the same.
Status after_the_end(Patient& patient, std::span<const TokenId> tokens, Progress& progress) {
  ROWMAX_TRY(model, patient.model());
  const TokenId eos = model->tokenizer().eos();
  if (eos < 0) return {};
  std::vector<TokenId> prompt(tokens.begin(), tokens.end() - 3);
  prompt.push_back(eos);
  ROWMAX_TRY(session, open_session(patient, std::ssize(tokens)));
  ROWMAX_TRY(sequence, session.open());
  engine::GenerateOptions options;
  options.max_tokens = 2;
  options.ignore_eos = true;
  options.sampling.temperature = 0;
  ROWMAX_TRY(result, engine::generate(session, sequence, prompt, options));
  ++progress.n_compared;
  if (result.tokens.size() != 2) {
    progress.fail({"a prompt that ends in EOS gives " + std::to_string(result.tokens.size()) + " of 2 tokens",
                   static_cast<double>(result.tokens.size()), 2, "stop_ids"});
  }
  return {};
}

Result<CheckResult> run(Patient& patient) {
  ROWMAX_TRY(tokens, text_tokens(patient, kTokens));
  ROWMAX_TRY(session, open_session(patient, std::ssize(tokens)));
  ROWMAX_TRY(sequence, session.open());
  std::vector<Logits> rows;
  ROWMAX_RETURN_IF_ERROR(forward_logits(session, sequence, tokens, rows));
  Progress progress;
  ROWMAX_RETURN_IF_ERROR(greedy(rows, progress));
  for (const Setting& setting : kSettings) {
    ROWMAX_RETURN_IF_ERROR(distribution(rows.back(), setting, progress));
    ROWMAX_RETURN_IF_ERROR(patient.step(0.5));
  }
  ROWMAX_RETURN_IF_ERROR(repeats(patient, tokens, rows, progress));
  ROWMAX_RETURN_IF_ERROR(after_the_end(patient, tokens, progress));
  if (!progress.finding) {
    CheckResult result = CheckResult::pass(
        kId, progress.n_compared,
        "the highest logit is drawn where it must be, others as often as fp64 says (" + std::to_string(kDraws) +
            " draws in each of four settings), the same with 1, 2 and 3 threads");
    result.measured = progress.worst;
    result.threshold = kMostDeviation;
    result.unit = "standard deviations";
    return result;
  }
  const Finding& finding = *progress.finding;
  CheckResult result = CheckResult::fail(kId, progress.n_compared, finding.what);
  result.measured = finding.measured;
  result.threshold = finding.threshold;
  Cause cause;
  cause.id = finding.cause;
  cause.text = "Drawing a token: " + finding.what + ".";
  cause.command = trace_command(patient, "--stages logits");
  cause.confidence = 0.8;
  result.causes.push_back(std::move(cause));
  return result;
}

}  // namespace

Result<CheckResult> check_sampler(Patient& patient) { return concluded(kId, run(patient)); }

}  // namespace rowmax::doctor
