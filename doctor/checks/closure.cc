// Whether file and architecture fit each other: the loader's own rule (every tensor claimed once, none missing, every
// shape as its keys say, no key that nobody reads), then values that no model has, and tensors that are there and do
// nothing.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "doctor/check.h"
#include "doctor/checks/sentences.h"
#include "engine/io/text.h"
#include "engine/quant/format.h"
#include "rowmax/try.h"

namespace rowmax::doctor {
namespace {

using engine::GgufFile;
using engine::GgufTensor;
using engine::ModelDescription;

constexpr std::string_view kId = "closure";
constexpr const char* kInspect = "rowmax inspect MODEL";

Cause cause_of(std::string_view id, Place place, std::string text, double confidence) {
  Cause cause;
  cause.id = id;
  cause.place = std::move(place);
  cause.text = std::move(text);
  cause.command = kInspect;
  cause.confidence = confidence;
  return cause;
}

std::string without_prefix(const GgufFile& file, const std::string& key) {
  const auto arch = file.find_string("general.architecture");
  const std::string prefix = arch ? std::string(*arch) + "." : "";
  return !prefix.empty() && key.starts_with(prefix) ? key.substr(prefix.size()) : key;
}

// "expected shape [a, b], found [b, a]" of a matrix.
bool is_transposed(std::string_view message) {
  const auto numbers = [&](std::string_view word) {
    std::vector<std::string> out;
    const std::size_t at = message.find(std::string(word) + "[");
    if (at == std::string_view::npos) return out;
    std::string text;
    for (std::size_t i = at + word.size() + 1; i < message.size() && message[i] != ']'; ++i) {
      if (message[i] == ',') {
        out.push_back(std::exchange(text, ""));
      } else if (message[i] != ' ') {
        text += message[i];
      }
    }
    out.push_back(text);
    return out;
  };
  auto expected = numbers("expected shape ");
  const auto found = numbers("found ");
  std::ranges::reverse(expected);
  return expected.size() == 2 && expected == found;
}

// The loader refuses: its sentence, and what it points to.
// Where the number of layers that the file says is not that of the layers it has tensors of: what is wrong, else "".
std::string wrong_layer_count(const GgufFile& file, std::string& key) {
  const auto arch = file.find_string("general.architecture");
  if (!arch) return "";
  key = std::string(*arch) + ".block_count";
  const auto said = file.find_uint(key);
  if (!said) return "";
  std::int64_t n = 0;
  for (const engine::GgufTensor& tensor : file.tensors()) n = std::max(n, split_tensor_name(tensor.name).layer + 1);
  if (n == 0 || static_cast<std::uint64_t>(n) == *said) return "";
  return key + " is " + std::to_string(*said) + ", and the file has tensors of " + std::to_string(n) +
         " layers: one of them is wrong, or layers are missing.";
}

CheckResult refused(const GgufFile& file, const Error& error) {
  CheckResult result = refusal(kId, static_cast<std::int64_t>(file.tensors().size()),
                               "the engine refuses the file: " + error.message, error.message);
  const std::string_view message = error.message;
  const auto says = [&](std::string_view words) { return message.find(words) != std::string_view::npos; };
  const std::string_view kind = split_tensor_name(result.place.tensor).kind;
  const auto add = [&](std::string_view id, const std::string& text, double confidence) {
    if (!id.empty()) result.causes.push_back(cause_of(id, result.place, text + " " + error.message + ".", confidence));
  };
  std::string key;
  if (const std::string layers = wrong_layer_count(file, key); !layers.empty()) {
    result.place = {};
    result.place.key = key;
    add("truncation", layers, 0.9);
    return result;
  }
  if (says("tokenizer.ggml.tokens' lists")) {
    add("special_tokens", "The vocabulary and the embedding have different sizes: one was changed without the other.",
        0.7);
  } else if (says("expected shape") && is_transposed(message)) {
    add("weight_transposed", "The matrix is stored with rows and columns exchanged.", 0.9);
  } else if (says("expected shape") && kind.starts_with("attn_")) {
    add("head_mapping", "The shape says other numbers or sizes of heads than the keys.", 0.6);
  } else if (!result.place.tensor.empty() && says("' is missing")) {
    const std::string_view id = cause_of_tensor(kind);
    add(id,
        id == "truncation" ? "A tensor is missing: the conversion was not complete."
                           : "A tensor that the architecture needs is missing.",
        id == "truncation" ? 0.6 : 0.85);
  } else if (!result.place.tensor.empty() && says("is not used")) {
    add(cause_of_tensor(kind) == "truncation" ? "" : cause_of_tensor(kind),
        "The file has a tensor that its architecture does not use: the architecture's name is wrong, or the engine "
        "lacks "
        "this step.",
        0.6);
  } else if (!result.place.tensor.empty()) {
    add(cause_of_tensor(kind), "A tensor does not fit.", 0.5);
  } else if (!result.place.key.empty()) {
    add(cause_of_key(without_prefix(file, result.place.key)), "A key is missing, or says what cannot be.", 0.8);
  }
  return result;
}

struct Findings {
  std::vector<Cause> causes;
  std::vector<std::string> notes;  // worth knowing, no fault
  std::int64_t n_compared = 0;
};

double number(const std::string& text) {
  double value = std::nan("");
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

// Values outside these ranges are of no model that was ever published; the ranges are wide around those that are. RMS
// eps: 1e-12 (BERT) to 1e-5, 1e-3 at most; RoPE: 1e4 to 1e8, smallest 500 to be safe; scores: 1/head_dim (Granite,
// 0.0078) to 1 (Gemma 3n, 4); caps: 30 and 50 (Gemma 2), Grok 30; embeddings: up to sqrt(5376) (Gemma 3 27B).
struct Range {
  std::string_view fact, cause;
  double low, high;
  const char* usual;
};
constexpr Range kRanges[] = {
    {"rms_norm_eps", "norm_eps", 1e-15, 0.1, "1e-5 or 1e-6"},
    {"rope_base", "rope_base", 10, 1e12, "10000 to 10000000"},
    {"rope_base_local", "rope_base", 10, 1e12, "10000"},
    {"attention_scale", "attention_scale", 1e-3, 2, "1/sqrt(head_dim)"},
    {"attention_softcap", "softcap", 2, 1e4, "50"},
    {"final_softcap", "softcap", 2, 1e4, "30"},
    {"embedding_scale", "embedding_scale", 1e-3, 1e3, "sqrt(embedding_length)"},
    {"residual_scale", "residual_scale", 1e-2, 10, "0.1 to 1"},
    {"logit_scale", "logit_scale", 1e-4, 10, "0.01 to 1"},
    {"rope_scaling_factor", "rope_scaling", 1, 1e3, "2 to 64"},
};

std::string key_of(const std::string& source) { return source.starts_with("key ") ? source.substr(4) : ""; }

void check_ranges(const ModelDescription& model, Findings& findings) {
  for (const engine::ModelFact& fact : model.facts) {
    const auto* range = std::ranges::find(kRanges, fact.name, &Range::fact);
    if (range == std::end(kRanges)) continue;
    const double value = number(fact.value);
    ++findings.n_compared;
    if (std::isnan(value) || (value >= range->low && value <= range->high)) continue;
    Place place;
    place.key = key_of(fact.source);
    Cause cause = cause_of(
        range->cause, place,
        fact.name + " is " + fact.value + " (" + fact.source + "), which no model has: " + range->usual + " is usual.",
        0.6);
    cause.evidence = {{fact.name, fact.value},
                      {"least", engine::number_text(range->low)},
                      {"most", engine::number_text(range->high)}};
    findings.causes.push_back(std::move(cause));
  }
}

// What the files of an architecture always say; a default in its place is another model.
struct Known {
  std::string_view arch, fact, cause, key;
  double usual;
};
constexpr Known kKnown[] = {
    {"qwen2", "rope_base", "rope_base", "rope.freq_base", 1e6},
    {"qwen3", "rope_base", "rope_base", "rope.freq_base", 1e6},
    {"qwen3moe", "rope_base", "rope_base", "rope.freq_base", 1e6},
    {"qwen35", "rope_base", "rope_base", "rope.freq_base", 1e7},
    {"qwen35moe", "rope_base", "rope_base", "rope.freq_base", 1e7},
    {"gemma3", "rope_base", "rope_base", "rope.freq_base", 1e6},
    {"gemma4", "rope_base", "rope_base", "rope.freq_base", 1e6},
    {"gpt-oss", "rope_base", "rope_base", "rope.freq_base", 1.5e5},
    {"lfm2", "rope_base", "rope_base", "rope.freq_base", 1e6},
    {"lfm2moe", "rope_base", "rope_base", "rope.freq_base", 1e6},
    {"bitnet-b1.58", "rope_base", "rope_base", "rope.freq_base", 5e5},
    {"bitnet-25", "rope_base", "rope_base", "rope.freq_base", 5e5},
};
// Values that differ from the published ones are legal: fine-tunes stretch the base, families differ.
struct Usual {
  std::string_view arch, fact;
  double low, high;
};
constexpr Usual kUsual[] = {
    {"qwen2", "rms_norm_eps", 1e-6, 1e-6},
    {"qwen3", "rms_norm_eps", 1e-6, 1e-6},
    {"gemma2", "rms_norm_eps", 1e-6, 1e-6},
    {"gemma3", "rms_norm_eps", 1e-6, 1e-6},
    {"gemma2", "attention_softcap", 50, 50},
    {"gemma2", "final_softcap", 30, 30},
    {"gemma3", "rope_base", 1e6, 1e6},
    {"gemma3", "rope_base_local", 1e4, 1e4},
    {"bitnet-b1.58", "rms_norm_eps", 1e-5, 1e-5},
};

void check_known_values(const ModelDescription& model, Findings& findings) {
  for (const engine::ModelFact& fact : model.facts) {
    for (const Known& known : kKnown) {
      if (known.arch != model.architecture || known.fact != fact.name) continue;
      ++findings.n_compared;
      if (!fact.source.starts_with("default")) continue;
      Place place;
      place.key = model.architecture + "." + std::string(known.key);
      findings.causes.push_back(cause_of(known.cause, place,
                                         "The key " + place.key + " is missing, and " + fact.value +
                                             " was taken; models of this architecture have " +
                                             engine::number_text(known.usual) + ". Try --set " + place.key + "=" +
                                             engine::number_text(known.usual) + ".",
                                         0.4));
    }
    for (const Usual& usual : kUsual) {
      if (usual.arch != model.architecture || usual.fact != fact.name) continue;
      ++findings.n_compared;
      const double value = number(fact.value);
      if (value < usual.low * 0.999 || value > usual.high * 1.001) {
        findings.notes.push_back(fact.name + " is " + fact.value + " where published models of " + model.architecture +
                                 " have " + engine::number_text(usual.low));
      }
    }
  }
}

// No key says whether a router has a bias of the choice, and every published model whose router is a sigmoid has one.
void check_choice_bias(const ModelDescription& model, Findings& findings) {
  const auto is = [&](std::string_view name, std::string_view value) {
    return std::ranges::any_of(model.facts, [&](const auto& fact) { return fact.name == name && fact.value == value; });
  };
  if (!is("expert_choice_bias", "no") || !is("expert_gate", "sigmoid")) return;
  const auto fact = std::ranges::find(model.facts, "expert_choice_bias", &engine::ModelFact::name);
  constexpr std::string_view kNone = "no tensor ";
  Place place;
  if (fact->source.starts_with(kNone)) place.tensor = fact->source.substr(kNone.size());
  findings.causes.push_back(cause_of("missing_bias", place,
                                     "The router is a sigmoid and no layer has a bias of the choice (" + place.tensor +
                                         "), which published models of this kind have: it was lost.",
                                     0.5));
}

// Of one kind of small tensor: the layers where all numbers are 0, and where all are exactly 1.
struct Kind {
  std::vector<std::int64_t> zero, one, other;
  std::int64_t n_negative = 0, n = 0;
};

std::map<std::string, Kind, std::less<>> vectors_by_kind(const GgufFile& file) {
  std::map<std::string, Kind, std::less<>> out;
  for (const GgufTensor& tensor : file.tensors()) {
    const TensorName name = split_tensor_name(tensor.name);
    const bool vector = tensor.n_elements() == tensor.shape[0];
    if (!vector || !(name.kind.ends_with(".bias") || name.kind.find("norm.weight") != std::string_view::npos)) continue;
    std::vector<float> values(static_cast<std::size_t>(tensor.shape[0]));
    engine::decode_row(*tensor.format, tensor.data, 0, tensor.shape[0], values.data());
    Kind& kind = out[std::string(name.kind)];
    const auto all = [&](float value) { return std::ranges::all_of(values, [&](float x) { return x == value; }); };
    (all(0) ? kind.zero : all(1) && values.size() > 1 ? kind.one : kind.other).push_back(name.layer);
    kind.n += std::ssize(values);
    kind.n_negative += std::ranges::count_if(values, [](float x) { return x < 0; });
  }
  return out;
}

Place place_of(const std::string& kind, std::int64_t layer) {
  Place place;
  place.layer = layer;
  place.tensor = layer < 0 ? kind : "blk." + std::to_string(layer) + "." + kind;
  return place;
}

// A loader or converter that does not know a tensor writes zeros or ones in its place, and everything goes on.
void check_vectors(const GgufFile& file, const ModelDescription& model, Findings& findings) {
  const auto kinds = vectors_by_kind(file);
  bool any_norm_lives = false;  // a model that was never trained has norms of exactly 1, and no fault
  for (const auto& [name, kind] : kinds)
    any_norm_lives |= name.find("norm") != std::string::npos && !kind.other.empty();
  const bool needs_bias = std::ranges::any_of(model.facts, [](const auto& fact) { return fact.name == "qkv_bias"; });
  for (const auto& [name, kind] : kinds) {
    findings.n_compared += std::ssize(kind.zero) + std::ssize(kind.one) + std::ssize(kind.other);
    const bool norm = name.find("norm") != std::string::npos;
    // The bias of the step decides how fast a state forgets, and none that was trained is zero in all heads.
    if (name == "ssm_dt.bias" && !kind.zero.empty()) {
      findings.causes.push_back(
          cause_of("state", place_of(name, kind.zero.front()),
                   "All numbers of " + place_of(name, kind.zero.front()).tensor + " are zero: they were lost.", 0.8));
    }
    if (name.ends_with(".bias") && name.starts_with("attn_") && !kind.zero.empty()) {
      const bool everywhere = kind.other.empty();
      const std::string where =
          everywhere ? "in every layer" : "in layer " + std::to_string(kind.zero.front()) + " and not in others";
      // Llama files may carry biases that never were trained; qwen2's always are.
      if (everywhere && !needs_bias) {
        findings.notes.push_back(name + " is all zero " + where);
      } else {
        findings.causes.push_back(
            cause_of("missing_bias", place_of(name, kind.zero.front()),
                     name + " is all zero " + where + ": a converter or loader put zeros in its place.",
                     everywhere ? 0.85 : 0.7));
      }
    }
    if (norm && name.ends_with(".weight") && !kind.zero.empty()) {
      findings.causes.push_back(cause_of(
          "norm_weight", place_of(name, kind.zero.front()),
          "All weights of " + place_of(name, kind.zero.front()).tensor + " are zero: nothing passes it.", 0.95));
    }
    if (norm && !kind.one.empty()) {
      const bool everywhere = kind.other.empty();
      if (everywhere && !any_norm_lives) {
        findings.notes.push_back("all weights of " + name + " are exactly 1, as in a model that was not trained");
      } else {
        findings.causes.push_back(cause_of(cause_of_tensor(name), place_of(name, kind.one.front()),
                                           "All weights of " + place_of(name, kind.one.front()).tensor +
                                               " are exactly 1, and those of other norms are not: they were lost.",
                                           0.6));
      }
    }
    // Gemma's norms multiply by 1 + w, and files hold 1 + w: above zero nearly everywhere.
    if (norm && name == "output_norm.weight" && model.architecture.starts_with("gemma") &&
        kind.n_negative * 10 > kind.n * 3) {
      findings.causes.push_back(cause_of(
          "norm_weight", place_of(name, -1),
          "Weights of norms are around 0 and not around 1: the converter did not add the 1 of Gemma's norms.", 0.5));
    }
  }
}

std::vector<float> numbers_of(const GgufTensor& tensor) {
  const std::int64_t cols = tensor.shape[0];
  std::vector<float> values(static_cast<std::size_t>(tensor.n_elements()));
  for (std::int64_t row = 0; row * cols < tensor.n_elements(); ++row) {
    engine::decode_row(*tensor.format, tensor.data, row, cols, values.data() + row * cols);
  }
  return values;
}

// What numbers of some tensors can be by what they are for.
void check_meanings(const GgufFile& file, Findings& findings) {
  const auto add = [&](std::string_view id, const GgufTensor& tensor, float found, std::string text,
                       double confidence) {
    Place place;
    place.tensor = tensor.name;
    place.layer = split_tensor_name(tensor.name).layer;
    Cause cause = cause_of(id, place, std::string(tensor.name) + std::move(text), confidence);
    cause.evidence = {{"number", engine::number_text(found)}};
    findings.causes.push_back(std::move(cause));
  };
  bool decays = true;  // the first layer's speaks for all
  for (const GgufTensor& tensor : file.tensors()) {
    const std::string_view kind = split_tensor_name(tensor.name).kind;
    if (kind == "ssm_a" && decays) {
      const std::vector<float> values = numbers_of(tensor);
      const float most = *std::ranges::max_element(values);
      findings.n_compared += std::ssize(values);
      decays = !(most > 0);
      if (!decays) {
        add("state", tensor, most,
            " holds " + engine::number_text(most) +
                ", and a state decays by exp(a dt) with a below zero: -exp(A_log) was not taken of A_log.",
            0.97);
      }
    }
    if (kind == "rope_freqs.weight") {
      // llama3's factors: 1 of the fastest pairs, up to 64 of slow ones, rising.
      const std::vector<float> values = numbers_of(tensor);
      const auto [least, most] = std::ranges::minmax(values);
      findings.n_compared += std::ssize(values);
      if (most < 1 || (least < 1 && most <= 1)) {
        add("rope_scaling", tensor, least,
            ": its factors are " + engine::number_text(least) + " to " + engine::number_text(most) +
                ", and frequencies are divided by factors of at least 1: they are inverse.",
            0.85);
      } else if (least > 1.5F) {
        add("rope_scaling", tensor, least,
            ": its smallest factor is " + engine::number_text(least) +
                ", and that of the fastest pair is 1: all of them are too large.",
            0.85);
      }
    }
  }
}

// LongRoPE: the longer a context, the more frequencies are divided.
void check_long_factors(const GgufFile& file, Findings& findings) {
  const GgufTensor* short_ones = file.find_tensor("rope_factors_short.weight");
  const GgufTensor* long_ones = file.find_tensor("rope_factors_long.weight");
  if (short_ones == nullptr || long_ones == nullptr) return;
  const float most_short = std::ranges::max(numbers_of(*short_ones)),
              most_long = std::ranges::max(numbers_of(*long_ones));
  ++findings.n_compared;
  if (most_short <= most_long) return;
  Place place;
  place.tensor = long_ones->name;
  Cause cause = cause_of("rope_scaling", place,
                         std::string(long_ones->name) + ": its largest factor is " + engine::number_text(most_long) +
                             ", that of the short ones " + engine::number_text(most_short) + ": they are exchanged.",
                         0.85);
  cause.evidence = {{"number", engine::number_text(most_long)}};
  findings.causes.push_back(std::move(cause));
}

// Bonsai 2 and its like are stored turned; a file of their types without the keys is either of another model or wrong.
void check_rotation(const GgufFile& file, Findings& findings) {
  const bool keys = std::ranges::any_of(file.metadata(),
                                        [](const auto& entry) { return entry.first.starts_with("prism.hadamard."); });
  for (const GgufTensor& tensor : file.tensors()) {
    if ((tensor.type != 142 && tensor.type != 143) || keys) continue;
    findings.notes.push_back(std::string(tensor.format->name) +
                             " weights without prism.hadamard keys: right unless the model was stored turned");
    return;
  }
}

}  // namespace

Result<CheckResult> check_closure(Patient& patient) {
  const auto file = patient.file();
  if (!file.ok()) return CheckResult::inconclusive(kId, "the file cannot be read: " + file.error().message);
  const auto model = patient.description();
  if (!model.ok()) {
    if (model.error().code == ErrorCode::kOutOfMemory) return Error(model.error());
    return refused(**file, model.error());
  }
  Findings findings;
  findings.n_compared = static_cast<std::int64_t>((*file)->tensors().size());
  check_ranges(**model, findings);
  check_known_values(**model, findings);
  check_choice_bias(**model, findings);
  check_vectors(**file, **model, findings);
  check_meanings(**file, findings);
  check_long_factors(**file, findings);
  check_rotation(**file, findings);
  const std::int64_t n_unused = (*model)->n_unused_tensors, n_used = std::ssize((*file)->tensors()) - n_unused;
  std::string reason = "every one of " + std::to_string(n_used) +
                       " tensors is used once, none is missing, shapes fit the keys" +
                       (n_unused > 0 ? "; " + std::to_string(n_unused) + " more are known and not used" : "");
  CheckResult result = CheckResult::pass(kId, findings.n_compared);
  if (!findings.causes.empty()) {
    std::ranges::stable_sort(findings.causes,
                             [](const Cause& a, const Cause& b) { return a.confidence > b.confidence; });
    result = CheckResult::fail(kId, findings.n_compared, findings.causes.front().text);
    result.place = findings.causes.front().place;
    reason.clear();
  }
  // Every finding is one too many; a note is none.
  result.measured = static_cast<double>(findings.causes.size());
  result.threshold = 0;
  result.unit = "findings";
  for (const std::string& note : findings.notes) reason += "; worth knowing: " + note;
  result.reason += reason;
  result.causes = std::move(findings.causes);
  return result;
}

}  // namespace rowmax::doctor
