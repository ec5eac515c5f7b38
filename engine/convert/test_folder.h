// For tests: a folder of one's own, and the stored Hugging Face folders put into it.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/fp_env.h"
#include "engine/quant/format.h"
#include "rowmax/engine/convert.h"
#include "rowmax/engine/session.h"

namespace rowmax::engine {

class FolderTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "rowmax_convert_XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string path(std::string_view name) const { return (folder_ / name).string(); }
  // testdata/NAME with the tokenizer beside it, as a copy that may be changed.
  std::string hf_folder(const std::string& name) const {
    namespace fs = std::filesystem;
    const fs::path source = fs::path(ROWMAX_SOURCE_DIR) / "engine/convert/testdata";
    fs::copy(source / name, folder_ / name, fs::copy_options::recursive);
    fs::copy(source / "tokenizer.json", folder_ / name / "tokenizer.json");
    return path(name);
  }
  static std::string content(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  static void save(const std::string& path, std::string_view text) { std::ofstream(path, std::ios::binary) << text; }
  // Every `from` in the file becomes `to`.
  static void replace_in(const std::string& path, std::string_view from, std::string_view to) {
    std::string text = content(path);
    ASSERT_NE(text.find(from), std::string::npos) << path << " has no " << from;
    for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
      text.replace(at, from.size(), to);
    }
    save(path, text);
  }
  // The logits of all rows, in f32.
  std::vector<float> logits_of(const std::string& model_path, const std::vector<TokenId>& tokens) {
    ModelOptions options;
    options.isa = supported_isas().back();
    options.activations = Activations::kF32;
    auto model = Model::load(model_path, options, serial_);
    if (!model.ok()) {
      ADD_FAILURE() << model.error().message;
      return {};
    }
    SessionOptions session_options;
    session_options.kv_type = KvType::kF32;
    session_options.context = std::ssize(tokens);
    auto session = Session::create(*model, session_options, serial_);
    const BatchItem item{*session->open(), tokens, LogitsFor::kAll};
    EXPECT_TRUE(session->forward({&item, 1}).ok());
    std::vector<float> logits;
    for (std::uint32_t row = 0; row < tokens.size(); ++row) {
      logits.insert(logits.end(), session->logits(row).begin(), session->logits(row).end());
    }
    return logits;
  }
  // The largest difference, over the largest magnitude of the first.
  static double distance(std::span<const float> a, std::span<const float> b) {
    if (a.size() != b.size() || a.empty()) return HUGE_VAL;
    double most = 0, difference = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
      most = std::max(most, std::fabs(static_cast<double>(a[i])));
      difference = std::max(difference, std::fabs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
    }
    return difference / most;
  }
  // A safetensors file's tensors, in a form that can be changed.
  struct Stored {
    std::string dtype;
    std::vector<std::int64_t> shape;
    std::string bytes;
  };
  using Tensors = std::map<std::string, Stored>;
  static void edit_tensors(const std::string& path, const std::function<void(Tensors&)>& change) {
    const std::string file = content(path);
    std::uint64_t n_header = 0;
    std::memcpy(&n_header, file.data(), sizeof n_header);
    const auto header = nlohmann::json::parse(file.substr(8, n_header));
    Tensors tensors;
    for (const auto& [name, of] : header.items()) {
      if (name == "__metadata__") continue;
      const std::size_t begin = of["data_offsets"][0], end = of["data_offsets"][1];
      tensors[name] = {of["dtype"], of["shape"], file.substr(8 + n_header + begin, end - begin)};
    }
    change(tensors);
    nlohmann::json out;
    std::string data;
    for (const auto& [name, of] : tensors) {
      const std::size_t begin = data.size();
      data += of.bytes;
      out[name] = {{"dtype", of.dtype}, {"shape", of.shape}, {"data_offsets", {begin, data.size()}}};
    }
    const std::string text = out.dump();
    n_header = text.size();
    std::string start(8, '\0');
    std::memcpy(start.data(), &n_header, sizeof n_header);
    save(path, start + text + data);
  }
  template <class T>
  static void expect_error(const Result<T>& result, ErrorCode code, std::initializer_list<std::string_view> texts) {
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(error_code_name(result.error().code), std::string_view(error_code_name(code))) << result.error().message;
    for (const std::string_view text : texts) {
      EXPECT_NE(result.error().message.find(text), std::string::npos) << result.error().message << "\nhas no " << text;
    }
  }
  // What a tensor's bytes stand for.
  static std::vector<float> values_of(const GgufTensor& tensor) {
    const std::int64_t cols = tensor.shape[0], rows = tensor.n_elements() / cols;
    std::vector<float> values(static_cast<std::size_t>(tensor.n_elements()));
    const base::ScopedFpEnv fp_env;
    tensor.format->decode({tensor.data.data(), rows, cols}, 0, rows, values.data());
    return values;
  }
  static bool has_notice(const ConvertReport& report, std::string_view text) {
    for (const std::string& notice : report.notices) {
      if (notice.find(text) != std::string::npos) return true;
    }
    return false;
  }

  std::filesystem::path folder_;
  SerialExecutor serial_;
};

}  // namespace rowmax::engine
