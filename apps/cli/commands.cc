// The commands, in the order of the help.
#include "apps/cli/command.h"

namespace rowmax::cli {
namespace {

constexpr Command kCommands[] = {
    {"run", "Write text from a prompt", declare_run},
    {"chat", "Talk with a model", declare_chat},
    {"serve", "Answer over HTTP", declare_serve},
    {"audit", "Find out what a server's answers depend on", declare_audit},
    {"pull", "Fetch a model and check it", declare_pull},
    {"inspect", "Show what is in a model file and what rowmax makes of it", declare_inspect},
    {"doctor", "Find out what is wrong with a model that writes garbage", declare_doctor},
    {"tokenize", "Turn text into token ids", declare_tokenize},
    {"score", "Perplexity of a text", declare_score},
    {"embed", "Turn texts into vectors", declare_embed},
    {"convert", "Make a GGUF file from a Hugging Face folder", declare_convert},
    {"quantize", "Write a GGUF file's matrices in other types", declare_quantize},
    {"trace", "Show what each stage of the forward pass computes", declare_trace},
    {"dump", "Write what each stage computes to a file", declare_dump},
    {"receipt", "Write what greedy decoding and attention do, against references", declare_receipt},
    {"verify-receipt", "Compute again what a receipt says", declare_verify_receipt},
    {"compare", "Find where another engine's numbers part from ours, and why", declare_compare},
    {"bench", "Measure prompt and generation speed", declare_bench},
};

}  // namespace

std::span<const Command> all_commands() { return kCommands; }

}  // namespace rowmax::cli
