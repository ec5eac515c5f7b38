// Losses of many texts, in batches: what `score --jsonl` prints.
#pragma once

#include <cstdint>
#include <string>

#include "apps/cli/debug.h"
#include "apps/cli/engine_setup.h"
#include "rowmax/engine/session.h"

namespace rowmax::cli {

struct ScoreTextsFlags {
  std::string file;        // a JSON object a line, {"text": "..."} or {"tokens": [1, 2]}; - is standard input
  std::int64_t batch = 8;  // texts at once
  std::string padding;     // left, right: batches are rectangles with pads; none: they are not
};

// One line of JSON a text, in order: {"index", "n_scored", "nll"}. options: the context is the most tokens of a text.
// kCorrupt and kLimit name the line of the file, before anything is computed.
Status score_texts(const Engine& engine, const ScoreTextsFlags& flags, engine::SessionOptions options,
                   const DebugFlags& debug_flags);

}  // namespace rowmax::cli
