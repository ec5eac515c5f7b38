// What a person sees of a download.
#pragma once

#include "apps/store/listener.h"

namespace rowmax::cli {

// Notes; a bar for each step on a terminal, elsewhere a line for each tenth of it, not more than one in ten seconds.
// quiet: neither. Stops after Ctrl-C. The bar is wiped with the last copy of the listener.
store::Listener terminal_listener(bool quiet);

}  // namespace rowmax::cli
