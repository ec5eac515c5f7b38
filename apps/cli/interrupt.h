// Ctrl-C as a flag that loops look at. A second one, before the first was seen to, ends the program as usual.
// Signals that end the program remove its unfinished output files first.
#pragma once

namespace rowmax::cli {

void catch_interrupts();
bool interrupted() noexcept;
void clear_interrupt() noexcept;

}  // namespace rowmax::cli
