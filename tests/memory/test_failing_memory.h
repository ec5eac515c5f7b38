// Memory that fails when a test says so.
//
// Whoever links test_failing_memory.cc gets its operator new and its aligned_alloc, strdup and mmap of anonymous memory (what
// the engine takes memory with besides), which all count, and of which the one with a chosen number fails.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "rowmax/result.h"

namespace rowmax::memory_test {

// One allocation that is to fail: the n-th one inside during(), of all threads, from 1 on; 0: none.
class Fault {
 public:
  explicit Fault(std::int64_t n) : n_(n) {}

  // What fn returns; fn is the call under test and nothing else. An exception that leaves it fails the test.
  template <class Fn>
  auto during(Fn&& fn) -> decltype(fn()) {
    const Armed armed(*this);
    try {
      return fn();
    } catch (...) {
      escaped_ = true;
    }
    return Error{ErrorCode::kOutOfMemory, ""};
  }

  bool fired() const noexcept { return fired_; }          // the call came to its n-th allocation
  bool optional() const noexcept { return optional_; }    // it was one that says nullptr: the caller may do without
  bool escaped() const noexcept { return escaped_; }      // an exception came out
  std::int64_t count() const noexcept { return count_; }  // allocations until the call ended

 private:
  class Armed {
   public:
    explicit Armed(Fault& fault) noexcept;
    ~Armed();

   private:
    Fault& fault_;
  };

  std::int64_t n_, count_ = 0;
  bool fired_ = false, optional_ = false, escaped_ = false;
};

// Blocks of operator new that nobody has given back.
std::int64_t live_blocks() noexcept;
// Of this process.
std::int64_t open_files();

// How many of a call's allocations are made to fail: each of the first ones, then one in a step that is a part of the
// way so far.
struct Effort {
  std::int64_t each = 300, part = 64;
};

// Makes one trial after the other, in which another allocation fails, until a trial comes to its end before the fault.
// A trial gives a text for what was computed, and uses its fault around the calls under test; it makes everything else
// itself, anew.
//  - A trial whose fault came must say kOutOfMemory (or, where the failing function may say nullptr, go on and be
//    right).
//  - Nothing leaves the calls as an exception; no block and no open file is left.
//  - Trials without fault in between give one and the same text.
// `unchanged`, asked after every trial: whether what lies outside (files) is as it was; it adds failures itself.
void fail_each_allocation(const char* name, const std::function<Result<std::string>(Fault&)>& trial,
                          const std::function<void()>& unchanged = {}, Effort effort = {});

}  // namespace rowmax::memory_test
