// What `quantize` and `convert` share: flags, progress, the table of what was written.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "apps/cli/exit_code.h"
#include "apps/cli/options.h"
#include "rowmax/engine/convert.h"
#include "rowmax/result.h"

namespace rowmax::cli {

struct ConvertFlags {
  std::string input, output, type;
  std::vector<std::string> overrides;  // REGEX=TYPE
  std::vector<std::string> formats;    // layouts of the input
  std::vector<std::string> ignored_fields;
  std::string output_type, embedding_type, pre, split_max_size;
  std::int64_t hadamard_block = 0;
  int threads = 0;
  bool force = false, master_weights = false, json = false, quiet = false, table = false;
};
// All but the positional arguments.
void add_convert_flags(Flags& table, ConvertFlags& flags);
// The flags as the engine takes them; kInvalidArgument for an override without '='.
Result<engine::ConvertOptions> convert_options(const ConvertFlags& flags);

using Converter = Result<engine::ConvertReport> (*)(const std::string&, const std::string&,
                                                    const engine::ConvertOptions&, Executor&);
// Runs it with a progress bar, then prints notices and the table or the JSON object.
Result<ExitCode> run_converter(const ConvertFlags& flags, Converter converter);

}  // namespace rowmax::cli
