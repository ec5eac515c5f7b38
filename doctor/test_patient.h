// Patients for tests: the trained story model, random ones, and files changed on purpose.
#pragma once

#include <cstddef>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "doctor/patient.h"
#include "rowmax/engine/gguf.h"
#include "tools/make_model/synthetic/synthetic_model.h"

namespace rowmax::doctor {

using Bytes = std::vector<std::byte>;

inline Bytes file_bytes(const std::string& path_in_source) {
  std::ifstream file(std::string(ROWMAX_SOURCE_DIR) + "/" + path_in_source, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  const auto* first = reinterpret_cast<const std::byte*>(text.data());
  return {first, first + text.size()};
}

inline Bytes stories_bytes() { return file_bytes("models/stories.gguf"); }

inline Bytes random_bytes(const std::string& architecture, std::uint64_t seed) {
  tools::SyntheticSpec spec = tools::odd_spec(architecture);
  spec.seed = seed;
  return tools::synthetic_model_bytes(spec).value();
}

struct TestPatient {
  explicit TestPatient(Bytes file, DoctorOptions with = {})
      : bytes(std::move(file)), options(std::move(with)), patient(open, options, executor) {
    options.model.isa = supported_isas().back();
  }

  Bytes bytes;
  SerialExecutor executor;
  DoctorOptions options;
  OpenFile open = [this](const engine::GgufOptions& gguf) { return engine::GgufFile::parse(bytes, "test.gguf", gguf); };
  Patient patient;
};

}  // namespace rowmax::doctor
