#include "engine/grammar/horn.h"

#include <cstddef>

namespace rowmax::engine::grammar {

std::vector<bool> Horn::solve(std::size_t n_facts) {
  // Where each fact stands in a body: as lists one behind the other.
  std::vector<std::uint32_t> first(n_facts + 1), clauses(bodies_.size());
  for (const std::uint32_t fact : bodies_) ++first[fact];
  std::uint32_t total = 0;
  for (std::uint32_t& count : first) {
    total += count;
    count = total;
  }
  std::vector<bool> known(n_facts);
  std::vector<std::uint32_t> news;
  const auto learn = [&](std::uint32_t clause) {
    const std::uint32_t head = heads_[clause];
    if (!known[head]) {
      known[head] = true;
      news.push_back(head);
    }
  };
  std::size_t at = 0;
  for (std::uint32_t clause = 0; clause < heads_.size(); ++clause) {
    const std::size_t end = at + missing_[clause];
    if (at == end) learn(clause);
    for (; at < end; ++at) clauses[--first[bodies_[at]]] = clause;
  }
  while (!news.empty()) {
    const std::uint32_t fact = news.back();
    news.pop_back();
    for (std::uint32_t i = first[fact]; i < first[fact + 1]; ++i) {
      if (--missing_[clauses[i]] == 0) learn(clauses[i]);
    }
  }
  return known;
}

}  // namespace rowmax::engine::grammar
