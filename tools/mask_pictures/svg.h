// One mask as a picture: queries down, keys across.
#pragma once

#include <string>

#include "rowmax/mask.h"

struct Picture {
  std::string name;    // of the file, without .svg
  std::string title;   // one line
  std::string code;    // the call that makes it
  bool tiles = false;  // a long sequence: small cells, and the lines at which tiles begin
};

// The mask of sequence 0, head 0.
std::string draw(const Picture& picture, const rowmax::MaskPlan& plan);
