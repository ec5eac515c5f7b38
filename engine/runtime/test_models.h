// Synthetic models that stay loaded for all tests of a program.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "rowmax/engine/session.h"
#include "tools/make_model/synthetic/synthetic_model.h"

namespace rowmax::engine {

inline SerialExecutor& test_executor() {
  static SerialExecutor executor;
  return executor;
}

// gemma3 with a window of 37 tokens; qwen35 with recurrent layers; ...
inline const Model& test_model(const std::string& arch) {
  static std::map<std::string, std::pair<std::vector<std::byte>, std::unique_ptr<Model>>> all;
  auto& [bytes, model] = all[arch];
  if (model == nullptr) {
    bytes = std::move(tools::synthetic_model_bytes(tools::odd_spec(arch))).value();
    ModelOptions options;
    options.isa = supported_isas().back();
    auto file = std::move(GgufFile::parse(bytes, "synthetic")).value();
    model = std::make_unique<Model>(std::move(Model::load(std::move(file), options, test_executor())).value());
  }
  return *model;
}

inline Session test_session(const std::string& arch, std::int64_t context, int max_sequences,
                            std::int64_t kv_budget = 0) {
  SessionOptions options;
  options.context = context;
  options.max_sequences = max_sequences;
  options.kv_budget_bytes = kv_budget;
  return std::move(Session::create(test_model(arch), options, test_executor())).value();
}

}  // namespace rowmax::engine
