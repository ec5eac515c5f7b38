// The engine's border: what the standard library throws for want of memory becomes an Error.
#pragma once

#include <new>
#include <stdexcept>
#include <utility>

#include "rowmax/result.h"

namespace rowmax::base {

// fn's Result or Status, or kOutOfMemory where an allocation failed or a size passed what a container can hold.
template <class Fn>
auto guarded(Fn&& fn) -> decltype(std::forward<Fn>(fn)()) {
  try {
    return std::forward<Fn>(fn)();
  } catch (const std::bad_alloc&) {
    return Error::out_of_memory();
  } catch (const std::length_error&) {
    return Error::out_of_memory();
  }
}

}  // namespace rowmax::base
