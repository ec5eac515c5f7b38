#include "apps/cli/convert_report.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <string_view>

#include "apps/cli/interrupt.h"
#include "apps/cli/json_output.h"
#include "apps/cli/nearest.h"
#include "apps/cli/terminal.h"
#include "rowmax/try.h"

namespace rowmax::cli {
namespace {

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text;
  for (const std::int64_t dim : shape) text += (text.empty() ? "" : " x ") + std::to_string(dim);
  return text;
}

std::string error_text(double error) {
  if (error == 0) return "0";
  char text[32];
  std::snprintf(text, sizeof text, "%.2e", error);
  return text;
}

void print_table(const engine::ConvertReport& report) {
  std::size_t name_width = 6, shape_width = 5;
  for (const auto& tensor : report.tensors) {
    name_width = std::max(name_width, shown(tensor.name, STDOUT_FILENO).size());
    shape_width = std::max(shape_width, shape_text(tensor.shape).size());
  }
  const int name = static_cast<int>(name_width), shape = static_cast<int>(shape_width);
  std::printf("%-*s  %-*s  %-9s  %-9s  %9s  %9s\n", name, "tensor", shape, "shape", "from", "to", "rms error",
              "max error");
  for (const auto& tensor : report.tensors) {
    std::printf("%-*s  %-*s  %-9s  %-9s  %9s  %9s\n", name, shown(tensor.name, STDOUT_FILENO).c_str(), shape,
                shape_text(tensor.shape).c_str(), tensor.from.c_str(), tensor.to.c_str(),
                error_text(tensor.rms_error).c_str(), error_text(tensor.max_error).c_str());
  }
}

// A line for each pair of types: how many tensors, and the worst errors.
void print_summary(const engine::ConvertReport& report) {
  struct Row {
    std::string from, to;
    std::size_t count = 0;
    std::uint64_t bytes = 0;
    const engine::ConvertedTensor *rms = nullptr, *max = nullptr;
  };
  std::vector<Row> rows;
  for (const auto& tensor : report.tensors) {
    auto row = std::find_if(rows.begin(), rows.end(),
                            [&](const Row& each) { return each.from == tensor.from && each.to == tensor.to; });
    if (row == rows.end()) row = rows.insert(rows.end(), Row{tensor.from, tensor.to, 0, 0, &tensor, &tensor});
    ++row->count;
    row->bytes += tensor.bytes;
    if (tensor.rms_error > row->rms->rms_error) row->rms = &tensor;
    if (tensor.max_error > row->max->max_error) row->max = &tensor;
  }
  std::printf("%-9s  %-9s  %7s  %9s  %9s  %9s  %s\n", "from", "to", "tensors", "size", "rms error", "max error",
              "the worst");
  for (const Row& row : rows) {
    const bool lossy = row.rms->rms_error > 0;
    std::printf("%-9s  %-9s  %7zu  %9s  %9s  %9s%s%s\n", row.from.c_str(), row.to.c_str(), row.count,
                human_bytes(static_cast<double>(row.bytes)).c_str(), error_text(row.rms->rms_error).c_str(),
                error_text(row.max->max_error).c_str(), lossy ? "  " : "",
                lossy ? shown(row.rms->name, STDOUT_FILENO).c_str() : "");
  }
}

Json report_json(const engine::ConvertReport& report, const ConvertFlags& flags, double seconds) {
  Json tensors = Json::array();
  for (const auto& tensor : report.tensors) {
    tensors.push_back({{"name", tensor.name},
                       {"shape", tensor.shape},
                       {"from", tensor.from},
                       {"to", tensor.to},
                       {"bytes", tensor.bytes},
                       {"rms_error", tensor.rms_error},
                       {"max_error", tensor.max_error}});
  }
  return {{"output", flags.output},      {"files", report.files},
          {"bytes_in", report.bytes_in}, {"bytes_out", report.bytes_out},
          {"seconds", seconds},          {"notices", report.notices},
          {"tensors", tensors}};
}

// Nothing where the type is known, or unlike all that are: the engine then lists them, or says why it is not written.
Status check_type(const std::string& type, const std::string& flag) {
  const std::vector<std::string_view> read_alone = engine::types_read_alone();
  if (std::find(read_alone.begin(), read_alone.end(), type) != read_alone.end()) return {};
  const std::vector<std::string_view> known = engine::writable_types();
  if (std::find(known.begin(), known.end(), type) != known.end() || nearest(type, known).empty()) return {};
  return Error{ErrorCode::kInvalidArgument, flag + ": no type " + type + did_you_mean(type, known)};
}

// "500M", "2G", "4096": bytes, more than none.
Result<std::uint64_t> parse_size(const std::string& text) {
  std::uint64_t value = 0, unit = 1, bytes = 0;
  const auto [stop, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string_view rest(stop, static_cast<std::size_t>(text.data() + text.size() - stop));
  bool known = code == std::errc();
  if (rest == "K") {
    unit = 1000;
  } else if (rest == "M") {
    unit = 1000 * 1000;
  } else if (rest == "G") {
    unit = 1000 * 1000 * 1000;
  } else {
    known = known && rest.empty();
  }
  if (known && value > 0 && !__builtin_mul_overflow(value, unit, &bytes)) return bytes;
  return Error{ErrorCode::kInvalidArgument,
               "--split-max-size: expected a number of bytes above 0, as 500M or 2G (K, M, G), found \"" + text + "\""};
}

}  // namespace

void add_convert_flags(Flags& table, ConvertFlags& flags) {
  table
      .add("--tensor", flags.overrides,
           "type of the matrices whose name the expression finds; may be given several times, the last that fits wins")
      .type("REGEX=TYPE");
  table.add("--output-type", flags.output_type, "type of the head; default: at least Q6_K").type("TYPE");
  table.add("--embedding-type", flags.embedding_type, "type of the token embedding").type("TYPE");
  table
      .add("--format", flags.formats,
           "layout of a type id of the input that stands for several: I2_S_64, I2_S_ROW4, Q2_0_128, ...; may be given "
           "several times")
      .type("NAME");
  table
      .add("--split-max-size", flags.split_max_size,
           "write parts OUT-00001-of-0000N.gguf of at most this many bytes (K, M, G: decimal), as gguf-split does")
      .type("SIZE");
  table.add("-t,--threads", flags.threads, "threads; 0: physical cores").within(0, 1024);
  table.add_switch("--force", flags.force,
                   "replace the output, and write ternary types for weights that are not ternary");
  table.add_switch("--table", flags.table, "print a line for each tensor, not for each type");
  table.add_switch("--json", flags.json, "print one JSON object");
  table.add_switch("-q,--quiet", flags.quiet, "no notes on standard error");
}

Result<engine::ConvertOptions> convert_options(const ConvertFlags& flags) {
  ROWMAX_RETURN_IF_ERROR(check_type(flags.type, "type"));
  ROWMAX_RETURN_IF_ERROR(check_type(flags.output_type, "--output-type"));
  ROWMAX_RETURN_IF_ERROR(check_type(flags.embedding_type, "--embedding-type"));
  engine::ConvertOptions options;
  options.types.type = flags.type;
  options.types.output_type = flags.output_type;
  options.types.embedding_type = flags.embedding_type;
  options.types.lossy = flags.force;
  options.overwrite = flags.force;
  options.pre = flags.pre;
  options.master_weights = flags.master_weights;
  options.ignored_fields = flags.ignored_fields;
  options.hadamard_block = flags.hadamard_block;
  options.input.formats = flags.formats;
  if (!flags.split_max_size.empty()) {
    ROWMAX_TRY(bytes, parse_size(flags.split_max_size));
    options.split_max_bytes = bytes;
  }
  for (const std::string& text : flags.overrides) {
    const std::size_t equals = text.rfind('=');
    if (equals == std::string::npos || equals == 0) {
      return Error{ErrorCode::kInvalidArgument, "--tensor: expected REGEX=TYPE, found \"" + text + "\""};
    }
    ROWMAX_RETURN_IF_ERROR(check_type(text.substr(equals + 1), "--tensor"));
    options.types.overrides.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
  return options;
}

Result<ExitCode> run_converter(const ConvertFlags& flags, Converter converter) {
  ROWMAX_TRY(options, convert_options(flags));
  ROWMAX_TRY(executor, make_thread_pool(flags.threads));
  ProgressBar bar("writing", 1, false);
  options.progress = [&](const engine::ConvertProgress& at) {
    if (!flags.quiet)
      bar.update(at.total > 0 ? static_cast<double>(at.done) / static_cast<double>(at.total) : 1, at.tensor);
    return !interrupted();
  };
  const auto start = std::chrono::steady_clock::now();
  auto report = converter(flags.input, flags.output, options, *executor);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  bar.finish();
  if (!report.ok()) return std::move(report).error();
  if (flags.json) {
    ROWMAX_RETURN_IF_ERROR(print_json(report_json(*report, flags, seconds)));
    return ExitCode::kOk;
  }
  if (!flags.quiet) {
    for (const std::string& notice : report->notices) note(notice);
  }
  flags.table ? print_table(*report) : print_summary(*report);
  std::string written = report->files.front();
  if (report->files.size() > 1) written += " and " + std::to_string(report->files.size() - 1) + " more";
  std::printf("%s: %s of weights from %s, %s s\n", shown(written, STDOUT_FILENO).c_str(),
              human_bytes(static_cast<double>(report->bytes_out)).c_str(),
              human_bytes(static_cast<double>(report->bytes_in)).c_str(), short_number(seconds).c_str());
  return ExitCode::kOk;
}

}  // namespace rowmax::cli
