// Synthetic models without some of their tensors, or with other keys.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "engine/arch/architecture.h"
#include "tools/make_model/synthetic/synthetic_model.h"

namespace rowmax::engine {

using WriterChange = std::function<void(GgufWriter&)>;

inline Result<ReadModel> read_changed(
    const std::string& arch, const std::vector<std::string>& without = {},
    const WriterChange& change = [](GgufWriter&) {}) {
  tools::SyntheticSpec spec;
  spec.arch = arch;
  const auto whole = tools::synthetic_model_bytes(spec);
  EXPECT_TRUE(whole.ok()) << whole.error().message;
  const auto file = GgufFile::parse(*whole, "whole.gguf");
  EXPECT_TRUE(file.ok()) << file.error().message;
  GgufWriter writer;
  for (const auto& [key, value] : file->metadata()) writer.set_value(std::string(key), value);
  for (const GgufTensor& tensor : file->tensors()) {
    if (std::ranges::find(without, tensor.name) != without.end()) continue;
    writer.add_tensor(std::string(tensor.name), tensor.type, tensor.shape,
                      std::vector<std::byte>(tensor.data.begin(), tensor.data.end()));
  }
  change(writer);
  static std::vector<std::byte> bytes;  // what the model looks at
  bytes = std::move(writer.bytes()).value();
  const auto changed = GgufFile::parse(bytes, "m.gguf");
  EXPECT_TRUE(changed.ok()) << changed.error().message;
  return read_model(*changed, {}, {});
}

inline void expect_refused(
    const std::string& arch, ErrorCode code, std::initializer_list<const char*> texts,
    const std::vector<std::string>& without, const WriterChange& change = [](GgufWriter&) {}) {
  const auto model = read_changed(arch, without, change);
  ASSERT_FALSE(model.ok()) << *texts.begin();
  EXPECT_EQ(model.error().code, code) << model.error().message;
  const std::string& message = model.error().message;
  for (const char* text : texts) EXPECT_NE(message.find(text), std::string::npos) << text << ": " << message;
  // What says what was expected says what was found.
  EXPECT_TRUE(message.find("': expected") == std::string::npos || message.find("found") != std::string::npos)
      << message;
}

}  // namespace rowmax::engine
