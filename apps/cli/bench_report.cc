#include "apps/cli/bench_report.h"

#include <unistd.h>

#include <cstdio>
#include <filesystem>

#include "apps/cli/statistics.h"
#include "apps/cli/terminal.h"
#include "rowmax/cpu.h"

namespace rowmax::cli {
namespace {

double bandwidth_with(const BenchReport& report, int threads) {
  for (const BenchMachine& machine : report.machines) {
    if (machine.threads == threads) return machine.read_gb_per_s;
  }
  return 0;
}

// Whether each of its tokens reads the weights once.
bool reads_weights(const BenchRow& row) { return row.kind[0] == 't' && row.sequences == 1; }

double weights_gb_per_s(const BenchReport& report, double tokens_per_second) {
  return static_cast<double>(report.bytes_per_token) * tokens_per_second / 1e9;
}

}  // namespace

std::string test_name(const BenchRow& row) {
  std::string name = row.kind + std::to_string(row.n);
  if (row.depth > 0) name += "@" + std::to_string(row.depth);
  if (row.sequences > 1) name += " x" + std::to_string(row.sequences);
  return name;
}

void describe(const engine::Model& model, const std::string& kv_type, BenchReport& report) {
  report.model = std::filesystem::path(model.file().name()).filename().string();
  report.architecture = model.description().architecture;
  report.isa = isa_name(model.kernels().isa);
  report.kernels = model.kernels().name;
  report.activations = model.options().activations == engine::Activations::kF32 ? "f32" : "int8";
  report.kv_type = kv_type;
  report.cpu = cpu_name();
  report.bytes_per_token = model.bytes_per_token();
  report.weights_per_token = model.weights_per_token();
}

std::string bench_markdown(const BenchReport& report) {
  std::string out = report.model + " (" + report.architecture + "), kernels " + report.kernels + ", activations " +
                    report.activations + ", cache " + report.kv_type + ", " + report.cpu + "\n\n";
  out += "| test | threads | tok/s (median) | smallest - largest | weights GB/s | machine reads GB/s |\n";
  out += "|---|---:|---:|---:|---:|---:|\n";
  for (const BenchRow& row : report.rows) {
    const Spread spread = spread_of(row.samples);
    const bool reads = reads_weights(row);
    char line[256];
    std::snprintf(line, sizeof line, "| %s | %d | %s | %s - %s | %s | %s |\n", test_name(row).c_str(), row.threads,
                  short_number(spread.median).c_str(), short_number(spread.low).c_str(),
                  short_number(spread.high).c_str(),
                  reads ? short_number(weights_gb_per_s(report, spread.median)).c_str() : "",
                  reads ? short_number(bandwidth_with(report, row.threads)).c_str() : "");
    out += line;
  }
  return shown(out, STDOUT_FILENO);
}

Json bench_json(const BenchReport& report) {
  Json machines = Json::array(), results = Json::array();
  for (const BenchMachine& machine : report.machines) {
    machines.push_back({{"threads", machine.threads}, {"read_gb_per_s", machine.read_gb_per_s}});
  }
  for (const BenchRow& row : report.rows) {
    const Spread spread = spread_of(row.samples);
    Json result = {{"test", row.kind},
                   {"n", row.n},
                   {"depth", row.depth},
                   {"sequences", row.sequences},
                   {"threads", row.threads},
                   {"tokens_per_second", {{"median", spread.median}, {"min", spread.low}, {"max", spread.high}}},
                   {"samples", row.samples},
                   {"processor_seconds", row.processor_seconds}};
    if (reads_weights(row)) result["weights_gb_per_s"] = weights_gb_per_s(report, spread.median);
    results.push_back(std::move(result));
  }
  return {{"model", report.model},
          {"architecture", report.architecture},
          {"isa", report.isa},
          {"kernels", report.kernels},
          {"activations", report.activations},
          {"kv_type", report.kv_type},
          {"cpu", report.cpu},
          {"bytes_per_token", report.bytes_per_token},
          {"weights_per_token", report.weights_per_token},
          {"machine", machines},
          {"results", results}};
}

}  // namespace rowmax::cli
