// The facts of RoPE: of every one of the model's.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/math/f64.h"
#include "engine/model/fact_values.h"
#include "engine/model/spec_edits.h"
#include "engine/model/spec_facts.h"

namespace rowmax::engine {
namespace {

constexpr Words<RopePairing, 2> kPairings{{{"halves", RopePairing::kHalves}, {"adjacent", RopePairing::kAdjacent}}};
constexpr Words<bool, 2> kRopeLayers{{{"as_configured", false}, {"exchanged", true}}};
constexpr Words<bool, 2> kYarnRamps{{{"whole_pairs", true}, {"exact", false}}};

template <class Get>
Values of_ropes(const ModelSpec& spec, Get get) {
  Values out;
  for (const RopeSpec& rope : spec.ropes) out.insert(get(rope));
  return out;
}

template <auto kField>
constexpr SpecFact rope_number(std::string_view name, std::string_view values) {
  return {
      {name, values, EditScope::kSession},
      [](const ModelSpec& spec) { return of_ropes(spec, [](const RopeSpec& rope) { return text_of(rope.*kField); }); },
      [](ModelSpec& spec, const std::string& text) {
        double value = 0;
        if (!parse(text, value) || value <= 0) return false;
        for (RopeSpec& rope : spec.ropes) rope.*kField = value;
        return true;
      }};
}

Values get_pairing(const ModelSpec& spec) {
  return of_ropes(spec, [](const RopeSpec& rope) { return kPairings.name(rope.pairing); });
}
bool set_pairing(ModelSpec& spec, const std::string& text) {
  const RopePairing* value = kPairings.find(text);
  if (value == nullptr) return false;
  for (RopeSpec& rope : spec.ropes) rope.pairing = *value;
  return true;
}

// What can turn in every layer that attends.
std::int64_t least_may_turn(const ModelSpec& spec) {
  return least_of(spec, attends, [](const LayerSpec& layer) { return layer.attention.may_turn(); }) / 2 * 2;
}
std::string values_of_rope_dimensions(const ModelSpec& spec) {
  const bool factors = std::ranges::any_of(spec.layers, [&](const LayerSpec& layer) {
    const int rope = attends(layer) ? spec.rope_of(layer.attention) : -1;
    return rope >= 0 && !spec.ropes[static_cast<std::size_t>(rope)].divisors.empty();
  });
  return "an even number from 2 to " + std::to_string(least_may_turn(spec)) +
         (factors ? ", with rope_factors=none beside it" : "");
}
Values get_rope_dimensions(const ModelSpec& spec) {
  return of_ropes(spec, [](const RopeSpec& rope) { return text_of(rope.n_rot); });
}
bool set_rope_dimensions(ModelSpec& spec, const std::string& text) {
  std::int64_t value = 0;
  if (!parse_count(text, 2, static_cast<double>(least_may_turn(spec)), value) || value % 2 != 0) return false;
  for (RopeSpec& rope : spec.ropes) {
    rope.n_rot = value;
  }
  return true;
}

Values get_rope_scaling(const ModelSpec& spec) {
  return of_ropes(spec, [](const RopeSpec& rope) {
    return std::string(rope.yarn                ? "yarn"
                       : rope.long_rope         ? "longrope"
                       : !rope.divisors.empty() ? "llama3"
                       : rope.scale != 1        ? "linear"
                                                : "none");
  });
}
bool set_rope_scaling(ModelSpec& spec, const std::string& text) {
  if (text != "none") return false;
  for (RopeSpec& rope : spec.ropes) {
    rope.scale = 1;
    rope.divisors.clear();
    rope.divisors_edit.clear();
    rope.yarn.reset();
    rope.long_rope.reset();
  }
  return true;
}

// "a,b,c,d" as that many numbers above 0; else none.
std::vector<double> parse_numbers(const std::string& text, std::size_t n) {
  std::vector<double> out;
  for (std::size_t at = 0; at <= text.size() && out.size() <= n;) {
    const std::size_t end = std::min(text.find(',', at), text.size());
    double value = 0;
    if (!parse(text.substr(at, end - at), value) || value <= 0) return {};
    out.push_back(value);
    at = end + 1;
  }
  return out.size() == n ? out : std::vector<double>();
}

// llama3's: wavelengths beyond original / low are stretched by the factor, those within original / high not, between them
// in part (engine/convert makes a file's rope_freqs.weight by the same rule).
std::vector<float> llama3_divisors(const RopeSpec& rope, double factor, double low, double high, double original) {
  constexpr double kTwoPi = 6.283185307179586476925;
  std::vector<float> out;
  for (std::int64_t i = 0; i < rope.n_rot / 2; ++i) {
    const double wavelength =
        kTwoPi * base::pow_f64(rope.base, 2.0 * static_cast<double>(i) / rope.exponent_denominator());
    const double share = std::clamp((original / wavelength - low) / (high - low), 0.0, 1.0);  // that is not stretched
    out.push_back(static_cast<float>(1 / ((1 - share) / factor + share)));
  }
  return out;
}

bool has_two_sets(const RopeSpec& rope) { return rope.long_rope && !rope.long_rope->long_divisors.empty(); }
Values get_rope_factors(const ModelSpec& spec) {
  return of_ropes(spec, [](const RopeSpec& rope) {
    if (!rope.divisors_edit.empty()) return rope.divisors_edit;
    return std::string(has_two_sets(rope) ? "by_context" : rope.divisors.empty() ? "none" : "file");
  });
}
std::string values_of_rope_factors(const ModelSpec& spec) {
  const bool any = std::ranges::any_of(spec.ropes, [](const RopeSpec& rope) { return !rope.divisors.empty(); });
  const bool two_sets = std::ranges::all_of(spec.ropes, has_two_sets);
  return std::string("none") + (any ? ", inverse, first_is_one (divided by the first)" : "") +
         (two_sets ? ", short, long (in place of by_context)" : "") +
         ", or those of llama3, FACTOR,LOW,HIGH,CONTEXT: 8,1,4,8192";
}
// Of two sets the one that an edit names counts for every context.
bool choose_rope_factors(ModelSpec& spec, const std::string& text) {
  if (!std::ranges::all_of(spec.ropes, has_two_sets)) return false;
  for (RopeSpec& rope : spec.ropes) {
    if (text == "long") rope.divisors = rope.long_rope->long_divisors;
    rope.long_rope->long_divisors.clear();
    rope.divisors_edit = text;
  }
  return true;
}
bool set_rope_factors(ModelSpec& spec, const std::string& text) {
  if (text == "short" || text == "long") return choose_rope_factors(spec, text);
  const bool none = text == "none", inverse = text == "inverse", first = text == "first_is_one";
  const std::vector<double> llama3 = parse_numbers(text, 4);
  if (!none && !inverse && !first && (llama3.empty() || llama3[0] < 1 || !(llama3[1] < llama3[2]))) return false;
  const bool any = std::ranges::any_of(spec.ropes, [](const RopeSpec& rope) { return !rope.divisors.empty(); });
  if ((inverse || first) && !any) return false;
  const auto change = [&](std::vector<float>& divisors) {
    const float fastest = divisors.empty() ? 1 : divisors.front();
    for (float& divisor : divisors) divisor = inverse ? 1 / divisor : divisor / fastest;
    if (none) divisors.clear();
  };
  for (RopeSpec& rope : spec.ropes) {
    change(rope.divisors);
    if (rope.long_rope) change(rope.long_rope->long_divisors);
    if (!llama3.empty()) {
      rope.divisors = llama3_divisors(rope, llama3[0], llama3[1], llama3[2], llama3[3]);
      if (rope.long_rope) rope.long_rope->long_divisors.clear();
    }
    rope.divisors_edit = none ? "" : text;
  }
  return true;
}

// Of RoPEs that have one beside their frequencies.
Values get_rope_magnitude(const ModelSpec& spec) {
  Values out;
  for (const RopeSpec& rope : spec.ropes) {
    if (rope.yarn) out.insert(text_of(static_cast<float>(rope.yarn->magnitude)));
    if (rope.long_rope) out.insert(text_of(static_cast<float>(rope.long_rope->magnitude)));
  }
  return out;
}
bool set_rope_magnitude(ModelSpec& spec, const std::string& text) {
  float value = 0;
  if (!parse_from(text, Low::kAboveZero, value)) return false;
  for (RopeSpec& rope : spec.ropes) {
    if (rope.yarn) rope.yarn->magnitude = static_cast<double>(value);
    if (rope.long_rope) rope.long_rope->magnitude = static_cast<double>(value);
  }
  return true;
}

// Of layers without a window, where others have one and turn by another RoPE; -1: none.
int global_rope(const ModelSpec& spec) {
  int global = -1, local = -1;
  for (const LayerSpec& layer : spec.layers) {
    if (attends(layer)) (layer.attention.window == 0 ? global : local) = spec.rope_of(layer.attention);
  }
  return local >= 0 && global != local ? global : -1;
}
Values get_global_scale(const ModelSpec& spec) {
  const int rope = global_rope(spec);
  return rope < 0 ? Values{} : Values{text_of(spec.ropes[static_cast<std::size_t>(rope)].scale)};
}
bool set_global_scale(ModelSpec& spec, const std::string& text) {
  double value = 0;
  if (!parse(text, value) || value <= 0) return false;
  spec.ropes[static_cast<std::size_t>(global_rope(spec))].scale = value;
  return true;
}

Values get_yarn_ramp(const ModelSpec& spec) {
  Values out;
  for (const RopeSpec& rope : spec.ropes) {
    if (rope.yarn) out.insert(kYarnRamps.name(rope.yarn->whole_pairs));
  }
  return out;
}
bool set_yarn_ramp(ModelSpec& spec, const std::string& text) {
  const bool* value = kYarnRamps.find(text);
  if (value == nullptr) return false;
  for (RopeSpec& rope : spec.ropes) {
    if (rope.yarn) rope.yarn->whole_pairs = *value;
  }
  return true;
}

// The size of the heads that turn by a RoPE; 0: none, or of several sizes.
std::int64_t head_dim_of(const ModelSpec& spec, std::size_t rope) {
  std::int64_t size = -1;
  for (const LayerSpec& layer : spec.layers) {
    if (!attends(layer) || spec.rope_of(layer.attention) != static_cast<int>(rope)) continue;
    size = size < 0 || size == layer.attention.may_turn() ? layer.attention.may_turn() : 0;
  }
  return std::max<std::int64_t>(size, 0);
}
// Where heads turn in part.
bool has_denominator(const ModelSpec& spec, std::size_t i) { return head_dim_of(spec, i) > spec.ropes[i].n_rot; }
Values get_rope_denominator(const ModelSpec& spec) {
  Values out;
  for (std::size_t i = 0; i < spec.ropes.size(); ++i) {
    if (has_denominator(spec, i)) out.insert(spec.ropes[i].denominator == 0 ? "rotary" : "head");
  }
  return out;
}
bool set_rope_denominator(ModelSpec& spec, const std::string& text) {
  if (text != "rotary" && text != "head") return false;
  for (std::size_t i = 0; i < spec.ropes.size(); ++i) {
    if (has_denominator(spec, i)) spec.ropes[i].denominator = text == "head" ? head_dim_of(spec, i) : 0;
  }
  return true;
}

Values get_rope_layers(const ModelSpec& spec) {
  ModelSpec other = spec;
  other.ropes_exchanged = !spec.ropes_exchanged;
  const bool two = spec.ropes.size() == 2 && std::ranges::any_of(spec.layers, [](const LayerSpec& layer) {
                     return attends(layer) && layer.attention.rope >= 0;
                   });
  return two && check_turns(other).ok() ? Values{kRopeLayers.name(spec.ropes_exchanged)} : Values{};
}
bool set_rope_layers(ModelSpec& spec, const std::string& text) {
  const bool* value = kRopeLayers.find(text);
  if (value == nullptr) return false;
  for (const LayerSpec& layer : spec.layers) {
    if (!attends(layer) || layer.attention.rope < 0) continue;
    const int rope = *value ? 1 - layer.attention.rope : layer.attention.rope;
    if (spec.ropes[static_cast<std::size_t>(rope)].n_rot > layer.attention.may_turn()) return false;
  }
  spec.ropes_exchanged = *value;
  return true;
}

constexpr EditScope kSession = EditScope::kSession;
constexpr std::string_view kPositive = "a number above 0";

constexpr SpecFact kFacts[] = {
    {{"rope_pairing", "halves or adjacent", kSession}, get_pairing, set_pairing},
    rope_number<&RopeSpec::base>("rope_base", kPositive),
    rope_number<&RopeSpec::scale>("rope_scale", "a number above 0, which positions are multiplied by"),
    {{"rope_scaling", "none (no linear scale, llama3 factors, LongRoPE or YaRN)", kSession},
     get_rope_scaling,
     set_rope_scaling},
    {{"rope_scale_global", "a number above 0: rope_scale of the layers without a window, where others have one",
      kSession},
     get_global_scale,
     set_global_scale},
    {{"yarn_ramp", "whole_pairs (its ends are rounded outwards) or exact", kSession}, get_yarn_ramp, set_yarn_ramp},
    {{"rope_dimensions", "an even number, at most what can turn of a head", kSession},
     get_rope_dimensions,
     set_rope_dimensions,
     values_of_rope_dimensions},
    {{"rope_denominator", "rotary or head: of 2i in the exponent of the base", kSession},
     get_rope_denominator,
     set_rope_denominator},
    {{"rope_factors",
      "none, or of llama3: FACTOR,LOW,HIGH,CONTEXT; where the file has them inverse, or first_is_one (divided by the "
      "first); of two sets short or long, in place of by_context",
      kSession},
     get_rope_factors,
     set_rope_factors,
     values_of_rope_factors},
    {{"rope_magnitude", "a number above 0, which YaRN or LongRoPE multiplies cos and sin by", kSession},
     get_rope_magnitude,
     set_rope_magnitude},
    {{"rope_layers", "as_configured or exchanged: which layers turn by which of two", kSession},
     get_rope_layers,
     set_rope_layers},
};

}  // namespace

std::span<const SpecFact> rope_facts() noexcept { return kFacts; }

Status check_turns(const ModelSpec& spec) {
  for (const LayerSpec& layer : spec.layers) {
    const int number = layer.attends() ? spec.rope_of(layer.attention) : -1;
    if (number < 0) continue;
    const RopeSpec& rope = spec.ropes[static_cast<std::size_t>(number)];
    const std::int64_t n_factor = std::ssize(rope.divisors);
    if (rope.n_rot > layer.attention.may_turn()) {
      return no_such_fact("rope_dimensions", std::to_string(rope.n_rot) + " dimensions turn, and heads have " +
                                                 std::to_string(layer.attention.may_turn()));
    }
    if (n_factor > 0 && 2 * n_factor != rope.n_rot) {
      return no_such_fact("rope_factors", "there are " + std::to_string(n_factor) + ", and " +
                                              std::to_string(rope.n_rot / 2) + " pairs turn; none leaves them out");
    }
  }
  return {};
}

}  // namespace rowmax::engine
