// Patients for the tests of checks: files in memory, sound or spoilt.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "doctor/check.h"
#include "engine/quant/format.h"
#include "tools/make_model/synthetic/synthetic_model.h"

namespace rowmax::doctor::testing_util {

using Bytes = std::vector<std::byte>;

inline tools::SyntheticSpec spec_of(const std::string& arch, std::uint64_t seed = 1) {
  tools::SyntheticSpec spec;
  spec.arch = arch;
  spec.seed = seed;
  return spec;
}

// A model of one format, and what its type id, which may stand for several, is to be taken for.
inline std::pair<tools::SyntheticSpec, DoctorOptions> spec_of(const engine::FormatInfo& format) {
  tools::SyntheticSpec spec;
  spec.embd = 256;
  spec.heads = 4;
  spec.ff = 512;
  spec.layers = 2;
  spec.type = format.name;
  spec.values =
      format.block_bytes * 4 <= format.block_elements + 8 && format.block_elements >= 32 ? "ternary" : "normal";
  DoctorOptions options;
  if (format.only_by_name || engine::formats_of(format.id).size() > 1) options.model.gguf.formats = {format.name};
  return {spec, options};
}

inline Bytes model_bytes(const tools::SyntheticSpec& spec) {
  auto bytes = tools::synthetic_model_bytes(spec);
  EXPECT_TRUE(bytes.ok()) << bytes.error().message;
  return bytes.ok() ? std::move(bytes).value() : Bytes();
}

// Where a tensor's bytes lie in those of its file.
inline std::span<std::byte> tensor_bytes(Bytes& bytes, const std::string& name) {
  const auto file = engine::GgufFile::parse(bytes, "m.gguf");
  EXPECT_TRUE(file.ok()) << file.error().message;
  const engine::GgufTensor* tensor = file->find_tensor(name);
  EXPECT_NE(tensor, nullptr) << name;
  return {bytes.data() + (tensor->data.data() - bytes.data()), tensor->data.size()};
}

// The same file without some of its tensors and keys, or with others in their place.
struct Rewrite {
  std::function<bool(std::string_view tensor)> drop_tensor = [](std::string_view) { return false; };
  std::function<bool(std::string_view key)> drop_key = [](std::string_view) { return false; };
  std::function<void(engine::GgufWriter& writer)> add = [](engine::GgufWriter&) {};
};
inline Bytes rewritten(const Bytes& bytes, const Rewrite& rewrite) {
  const auto file = engine::GgufFile::parse(bytes, "m.gguf");
  EXPECT_TRUE(file.ok()) << file.error().message;
  engine::GgufWriter writer;
  for (const auto& [key, value] : file->metadata()) {
    if (!rewrite.drop_key(key)) writer.set_value(std::string(key), value);
  }
  for (const engine::GgufTensor& tensor : file->tensors()) {
    if (rewrite.drop_tensor(tensor.name)) continue;
    writer.add_tensor(std::string(tensor.name), tensor.type, tensor.shape, {tensor.data.begin(), tensor.data.end()});
  }
  rewrite.add(writer);
  auto out = writer.bytes();
  EXPECT_TRUE(out.ok()) << out.error().message;
  return out.ok() ? std::move(out).value() : Bytes();
}

// What one check says of a file in memory.
inline CheckResult examine(Result<CheckResult> (*check)(Patient&), const Bytes& bytes, DoctorOptions options = {}) {
  SerialExecutor executor;
  const OpenFile open = [&](const engine::GgufOptions& gguf) { return engine::GgufFile::parse(bytes, "m.gguf", gguf); };
  options.model.isa = supported_isas().back();
  Patient patient(open, options, executor);
  auto result = check(patient);
  EXPECT_TRUE(result.ok()) << result.error().message;
  return result.ok() ? std::move(result).value() : CheckResult{};
}

inline bool names(const CheckResult& result, std::string_view cause) {
  for (const Cause& found : result.causes) {
    if (found.id == cause) return true;
  }
  return false;
}

// The first cause, for messages and comparisons.
inline std::string first_cause(const CheckResult& result) {
  return result.causes.empty() ? "" : result.causes.front().id;
}

}  // namespace rowmax::doctor::testing_util
