// Counts nesting for as long as it lives.
#pragma once

namespace rowmax::engine::jinja {

class Nested {
 public:
  explicit Nested(int* counter) : counter_(counter) { ++*counter_; }
  ~Nested() { --*counter_; }
  Nested(const Nested&) = delete;
  Nested& operator=(const Nested&) = delete;

 private:
  int* counter_;
};

}  // namespace rowmax::engine::jinja
