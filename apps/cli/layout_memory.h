// The check of layouts that a file does not settle (rowmax/engine/layout_check.h), once for each file.
#pragma once

#include <string>

#include "rowmax/engine/layout_check.h"

namespace rowmax::cli {

// Remembers its answer in ${XDG_CACHE_HOME:-~/.cache}/rowmax/layouts, under the file's content hash; where that cannot
// be read or written the check is made again. Arguments as check_layout.
Result<engine::LayoutCheck> remembered_layout_check(engine::Model& model, const engine::OpenFile& open,
                                                    Executor& executor);
// One line that names the flag; empty when there is nothing to warn of.
std::string layout_warning(const engine::LayoutCheck& check);

}  // namespace rowmax::cli
