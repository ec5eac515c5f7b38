// What edits of a model do as it is loaded, step by step.
#pragma once

#include "engine/arch/architecture.h"
#include "rowmax/engine/edits.h"
#include "rowmax/engine/gguf.h"

namespace rowmax::engine {

// Each name once, with its last value. kInvalidArgument for a name that is not known.
Result<Edits> last_edits(const Edits& edits);
// Opens the file again where an edit of tensor_layout says something else than it was opened with.
Status edit_layouts(GgufFile& file, const Edits& edits);
// Everything that the metadata and the tensor list gave.
Status edit_read_model(ReadModel& model, const Edits& edits);
// The same, with the file's name in front of what an edit has wrong.
Status of_file(const GgufFile& file, Status status);
bool same_tokenizer(const Edits& a, const Edits& b);

}  // namespace rowmax::engine
