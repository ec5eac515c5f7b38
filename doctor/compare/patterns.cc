#include "doctor/compare/patterns.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <optional>
#include <span>
#include <vector>

#include "base/half.h"
#include "doctor/numbers.h"

namespace rowmax::doctor {
namespace {

// |a - b| / |b| over all numbers.
double distance(std::span<const float> a, std::span<const float> b) {
  double difference = 0, length = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    const double d = static_cast<double>(a[i]) - b[i];
    difference += d * d;
    length += static_cast<double>(b[i]) * b[i];
  }
  return length > 0 ? std::sqrt(difference / length) : difference > 0 ? 1 : 0;
}

using Values = std::vector<float>;
using Permutation = std::vector<std::int64_t>;  // theirs[i] = ours[permutation[i]]

struct Case {
  const StageValues& ours;
  const StageValues& theirs;
  std::int64_t n_head, n_row, width;
  double before;  // the difference as it is

  Values changed(auto&& value) const {  // value(row, column)
    Values out(theirs.values.size());
    for (std::int64_t r = 0; r < n_row; ++r) {
      for (std::int64_t c = 0; c < width; ++c) out[static_cast<std::size_t>(r * width + c)] = value(r, c);
    }
    return out;
  }
  float our(std::int64_t r, std::int64_t c) const { return ours.values[static_cast<std::size_t>(r * width + c)]; }
  float their(std::int64_t r, std::int64_t c) const { return theirs.values[static_cast<std::size_t>(r * width + c)]; }
};

std::optional<Pattern> scaled(const Case& c, double most) {
  double ot = 0, oo = 0;
  for (std::size_t i = 0; i < c.ours.values.size(); ++i) {
    ot += static_cast<double>(c.ours.values[i]) * c.theirs.values[i];
    oo += static_cast<double>(c.ours.values[i]) * c.ours.values[i];
  }
  if (oo == 0 || ot == 0) return std::nullopt;
  const double factor = ot / oo;
  const Values made = c.changed([&](auto r, auto k) { return static_cast<float>(factor * c.our(r, k)); });
  const double left = distance(made, c.theirs.values);
  if (left > most) return std::nullopt;
  const bool sign = std::abs(factor + 1) < 1e-3;
  return Pattern{sign ? "the sign: theirs = -ours" : "scaled: theirs = ours * " + four_digits(factor), true, factor,
                 left};
}

std::optional<Pattern> scaled_by_row(const Case& c, double most) {
  double low = INFINITY, high = -INFINITY;
  Values made;
  for (std::int64_t r = 0; r < c.n_row; ++r) {
    double ot = 0, oo = 0;
    for (std::int64_t k = 0; k < c.width; ++k) {
      ot += static_cast<double>(c.our(r, k)) * c.their(r, k);
      oo += static_cast<double>(c.our(r, k)) * c.our(r, k);
    }
    const double factor = oo > 0 ? ot / oo : 1;
    low = std::min(low, factor);
    high = std::max(high, factor);
    for (std::int64_t k = 0; k < c.width; ++k) made.push_back(static_cast<float>(factor * c.our(r, k)));
  }
  const double left = distance(made, c.theirs.values);
  if (left > most) return std::nullopt;
  return Pattern{"scaled, each token by its own factor (" + four_digits(low) + " to " + four_digits(high) + ")", true,
                 0, left};
}

std::optional<Pattern> signs(const Case& c, double most) {
  std::int64_t n_other = 0;
  const Values made = c.changed([&](auto r, auto k) {
    const bool other = (c.our(r, k) < 0) != (c.their(r, k) < 0);
    n_other += other;
    return other ? -c.our(r, k) : c.our(r, k);
  });
  const double left = distance(made, c.theirs.values);
  if (left > most || n_other == 0) return std::nullopt;
  return Pattern{"the sign of " + std::to_string(n_other) + " of " + std::to_string(c.n_row * c.width) + " numbers",
                 true, 0, left};
}

std::optional<Pattern> bias(const Case& c, double most) {
  if (c.n_row < 2) return std::nullopt;
  std::vector<double> mean(static_cast<std::size_t>(c.width), 0.0);
  for (std::int64_t r = 0; r < c.n_row; ++r) {
    for (std::int64_t k = 0; k < c.width; ++k) {
      mean[static_cast<std::size_t>(k)] +=
          (static_cast<double>(c.their(r, k)) - c.our(r, k)) / static_cast<double>(c.n_row);
    }
  }
  const Values made =
      c.changed([&](auto r, auto k) { return static_cast<float>(c.our(r, k) + mean[static_cast<std::size_t>(k)]); });
  const double left = distance(made, c.theirs.values);
  if (left > most) return std::nullopt;
  double length = 0;
  for (const double value : mean) length += value * value;
  return Pattern{
      "a bias: theirs = ours + the same vector for every token (length " + four_digits(std::sqrt(length)) + ")", true,
      0, left};
}

std::optional<Pattern> rounded(const Case& c) {
  const auto all = [&](auto&& keeps) { return std::ranges::all_of(c.theirs.values, keeps); };
  const bool bf16 = all([](float x) { return base::bf16_to_f32(base::f32_to_bf16(x)) == x; });
  const bool f16 = all([](float x) { return base::f16_to_f32(base::f32_to_f16(x)) == x; });
  if ((!bf16 && !f16) || c.before > (bf16 ? 1e-2 : 2e-3)) return std::nullopt;
  return Pattern{bf16 ? "rounded: theirs are bf16 numbers" : "rounded: theirs are f16 numbers", true, 0, c.before};
}

std::optional<Pattern> shifted(const Case& c, double most) {
  for (const std::int64_t by : {1, -1}) {
    Values from, to;
    for (std::int64_t r = 0; r < c.n_row; ++r) {
      if (r - by < 0 || r - by >= c.n_row) continue;
      for (std::int64_t k = 0; k < c.width; ++k) {
        from.push_back(c.our(r - by, k));
        to.push_back(c.their(r, k));
      }
    }
    if (to.empty()) continue;
    const double left = distance(from, to);
    if (left > most) continue;
    return Pattern{by == 1 ? "shifted: theirs of a token = ours of the token before"
                           : "shifted: theirs of a token = ours of the next token",
                   true, 0, left};
  }
  return std::nullopt;
}

struct NamedPermutation {
  const char* name;
  Permutation of;  // within a run of n
};

// Within runs of n numbers.
std::vector<NamedPermutation> permutations_of(std::int64_t n) {
  std::vector<NamedPermutation> out;
  const auto add = [&](const char* name, auto&& place) {
    Permutation p(static_cast<std::size_t>(n));
    for (std::int64_t i = 0; i < n; ++i) p[static_cast<std::size_t>(i)] = place(i);
    out.push_back({name, std::move(p)});
  };
  add("reversed", [&](std::int64_t i) { return n - 1 - i; });
  add("shifted by one number", [&](std::int64_t i) { return (i + n - 1) % n; });
  add("shifted back by one number", [&](std::int64_t i) { return (i + 1) % n; });
  if (n % 2 == 0) {
    add("halves swapped", [&](std::int64_t i) { return (i + n / 2) % n; });
    add("halves interleaved (i, i + n/2 are adjacent in theirs)",
        [&](std::int64_t i) { return i % 2 * (n / 2) + i / 2; });
    add("adjacent pairs taken apart into halves", [&](std::int64_t i) { return i % (n / 2) * 2 + i / (n / 2); });
    add("neighbours swapped", [&](std::int64_t i) { return i ^ 1; });
  }
  return out;
}

std::optional<Pattern> permuted(const Case& c, double most) {
  const auto attempt = [&](auto&& place, const std::string& text) -> std::optional<Pattern> {
    const Values made = c.changed([&](auto r, auto k) { return c.our(r, place(k)); });
    const double left = distance(made, c.theirs.values);
    if (left > most) return std::nullopt;
    return Pattern{"permuted: " + text, true, 0, left};
  };
  const std::int64_t heads = c.n_head, dim = c.width / heads;
  for (const auto& [name, p] : permutations_of(dim)) {
    const auto place = [&](std::int64_t k) { return k / dim * dim + p[static_cast<std::size_t>(k % dim)]; };
    if (auto found = attempt(place, std::string(name) + (heads > 1 ? ", in every head" : ""))) return found;
  }
  if (heads > 1) {
    for (const auto& [name, p] : permutations_of(heads)) {
      const auto place = [&](std::int64_t k) { return p[static_cast<std::size_t>(k / dim)] * dim + k % dim; };
      if (auto found = attempt(place, std::string("heads, ") + name)) return found;
    }
    const auto turned = [&](std::int64_t k) { return k % heads * dim + k / heads; };
    if (auto found = attempt(turned, "transposed: [head, dimension] as [dimension, head]")) return found;
    const auto back = [&](std::int64_t k) { return k % dim * heads + k / dim; };
    if (auto found = attempt(back, "transposed: [dimension, head] as [head, dimension]")) return found;
  }
  return std::nullopt;
}

std::optional<Pattern> transposed(const Case& c, double most) {
  Values made(c.theirs.values.size());
  for (std::int64_t r = 0; r < c.n_row; ++r) {
    for (std::int64_t k = 0; k < c.width; ++k) {
      made[static_cast<std::size_t>(r * c.width + k)] = c.ours.values[static_cast<std::size_t>(k * c.n_row + r)];
    }
  }
  // [width, tokens] that was called [tokens, width]; and the other way round.
  Values back(c.theirs.values.size());
  for (std::int64_t r = 0; r < c.n_row; ++r) {
    for (std::int64_t k = 0; k < c.width; ++k) {
      back[static_cast<std::size_t>(k * c.n_row + r)] = c.our(r, k);
    }
  }
  for (const Values& values : {made, back}) {
    const double left = distance(values, c.theirs.values);
    if (c.n_row > 1 && left <= most) return Pattern{"transposed: [tokens, width] as [width, tokens]", true, 0, left};
  }
  return std::nullopt;
}

// The same numbers of each token in another order: one order for all tokens, or not.
std::optional<Pattern> reordered(const Case& c, double most) {
  const auto sorted = [&](const StageValues& values) {
    Values out = values.values;
    for (std::int64_t r = 0; r < c.n_row; ++r) std::sort(out.begin() + r * c.width, out.begin() + (r + 1) * c.width);
    return out;
  };
  const double left = distance(sorted(c.ours), sorted(c.theirs));
  // Any two bell-shaped rows look alike when sorted; only equal numbers are taken for a new order.
  if (left > std::min(most, 1e-4)) return std::nullopt;
  return Pattern{"permuted: each token's numbers in another order, which is none of the usual ones", true, 0, left};
}

std::optional<Pattern> part_only(const Case& c, double tolerance) {
  const std::int64_t dim = c.width / c.n_head;
  std::vector<std::int64_t> other;
  for (std::int64_t h = 0; h < c.n_head; ++h) {
    double difference = 0, length = 0;
    for (std::int64_t r = 0; r < c.n_row; ++r) {
      for (std::int64_t k = h * dim; k < (h + 1) * dim; ++k) {
        const double d = static_cast<double>(c.our(r, k)) - c.their(r, k);
        difference += d * d;
        length += static_cast<double>(c.their(r, k)) * c.their(r, k);
      }
    }
    if (std::sqrt(difference) > tolerance * std::sqrt(length)) other.push_back(h);
  }
  if (other.empty() || std::ssize(other) == c.n_head) return std::nullopt;
  std::string list;
  for (std::size_t i = 0; i < std::min<std::size_t>(other.size(), 8); ++i) {
    list += (i == 0 ? "" : ", ") + std::to_string(other[i]);
  }
  return Pattern{
      "only heads " + list + (other.size() > 8 ? ", ..." : "") + " of " + std::to_string(c.n_head) + " differ", false,
      0, c.before};
}

double cosine(std::span<const float> a, std::span<const float> b) {
  double ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ab += static_cast<double>(a[i]) * b[i];
    aa += static_cast<double>(a[i]) * a[i];
    bb += static_cast<double>(b[i]) * b[i];
  }
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : 0;
}

}  // namespace

Pattern find_pattern(const StageValues& ours, const StageValues& theirs, std::int64_t n_head, double tolerance) {
  if (ours.values.size() != theirs.values.size() || ours.values.empty()) return {"of another shape", false, 0, 1};
  const bool whole_heads = n_head > 0 && theirs.width % n_head == 0;
  const Case c{ours,
               theirs,
               whole_heads ? n_head : 1,
               std::ssize(theirs.positions),
               theirs.width,
               distance(ours.values, theirs.values)};
  const double most = std::min(tolerance * 10, c.before * 0.1);
  if (std::ranges::all_of(theirs.values, [](float value) { return value == 0; })) {
    return {"theirs are all zero", true, 0, 0};
  }
  if (auto found = scaled(c, most)) return *found;
  if (auto found = rounded(c)) return *found;
  if (auto found = shifted(c, most)) return *found;
  if (auto found = permuted(c, most)) return *found;
  if (auto found = transposed(c, most)) return *found;
  if (auto found = bias(c, most)) return *found;
  if (auto found = signs(c, most)) return *found;
  if (auto found = scaled_by_row(c, most)) return *found;
  if (auto found = reordered(c, most)) return *found;
  if (auto found = part_only(c, tolerance)) return *found;
  return {"no simple pattern (cosine " + four_digits(cosine(ours.values, theirs.values)) + ")", false, 0, c.before};
}

}  // namespace rowmax::doctor
