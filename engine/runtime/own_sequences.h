// Sequences that are closed again however the work ends.
#pragma once

#include <cstddef>
#include <vector>

#include "rowmax/engine/session.h"

namespace rowmax::engine {

class OwnSequences {
 public:
  explicit OwnSequences(Session& session) noexcept : session_(session) {}
  OwnSequences(const OwnSequences&) = delete;
  OwnSequences& operator=(const OwnSequences&) = delete;
  ~OwnSequences() {
    for (const SequenceId id : ids_) session_.close(id);
  }
  // n, or as many as there are if these are `least` and more; else the error of the first that was not to be had.
  Status open(std::size_t n, std::size_t least) {
    ids_.reserve(n);
    while (ids_.size() < n) {
      const auto id = session_.open();
      if (!id.ok()) return ids_.size() < least ? Status(id.error()) : Status();
      ids_.push_back(*id);
    }
    return {};
  }
  std::size_t size() const noexcept { return ids_.size(); }
  SequenceId operator[](std::size_t i) const { return ids_[i]; }

 private:
  Session& session_;
  std::vector<SequenceId> ids_;
};

}  // namespace rowmax::engine
