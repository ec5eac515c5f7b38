// The smallest set of facts that rules of the form "head, if all of the body" ask for, in time that grows with the rules'
// length alone.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace rowmax::engine::grammar {

class Horn {
 public:
  void add(std::uint32_t head, std::span<const std::uint32_t> body) {
    heads_.push_back(head);
    missing_.push_back(static_cast<std::uint32_t>(body.size()));
    bodies_.insert(bodies_.end(), body.begin(), body.end());
  }

  // Which of the facts 0 to n_facts - 1 hold. Once.
  std::vector<bool> solve(std::size_t n_facts);

 private:
  std::vector<std::uint32_t> heads_, missing_, bodies_;
};

}  // namespace rowmax::engine::grammar
