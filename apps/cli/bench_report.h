// What `rowmax bench` measured, as a markdown table and as JSON.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "apps/cli/json_output.h"
#include "rowmax/engine/model.h"

namespace rowmax::cli {

struct BenchRow {
  const char* kind = "";                         // "pp": prompt, "tg": generation
  std::int64_t n = 0, depth = 0, sequences = 1;  // n and depth of each sequence
  int threads = 0;
  std::vector<double> samples;            // tokens per second, of all sequences together
  std::vector<double> processor_seconds;  // of each sample, all threads together
};

struct BenchMachine {
  int threads = 0;
  double read_gb_per_s = 0;  // measured on this machine with so many threads
};

struct BenchReport {
  std::string model, architecture, isa, kernels, activations, kv_type, cpu;
  std::int64_t bytes_per_token = 0, weights_per_token = 0;
  std::vector<BenchMachine> machines;
  std::vector<BenchRow> rows;
};

// As "tg128@4096 x8": generation in eight sequences, each behind 4096 tokens.
std::string test_name(const BenchRow& row);
// Fills in everything but the measurements.
void describe(const engine::Model& model, const std::string& kv_type, BenchReport& report);
std::string bench_markdown(const BenchReport& report);
Json bench_json(const BenchReport& report);

}  // namespace rowmax::cli
