// No memory, in the doctor: as out_of_memory_test.cc has it of the engine.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include "rowmax/doctor/compare.h"
#include "rowmax/doctor/doctor.h"
#include "rowmax/doctor/portrait.h"
#include "tests/memory/test_failing_memory.h"
#include "tools/make_model/synthetic/synthetic_model.h"

namespace rowmax::memory_test {
namespace {

const std::vector<engine::TokenId> kTokens = {1, 20, 30, 4};

class DoctorOutOfMemory : public testing::Test {
 protected:
  DoctorOutOfMemory() {
    tools::SyntheticSpec spec;
    spec.type = "Q4_1";
    spec.layers = 1;
    bytes_ = std::move(tools::synthetic_model_bytes(spec)).value();
    options_.model.isa = supported_isas().back();
  }

  engine::Model model() {
    return std::move(engine::Model::load(std::move(open_({})).value(), options_.model, executor_)).value();
  }
  doctor::Reference reference(const engine::Model& model, const engine::Edits& edits) {
    engine::SessionOptions options;
    options.edits = edits;
    options.activations = engine::Activations::kF32;
    options.kv_type = engine::KvType::kF32;
    auto made = doctor::run_reference(model, options, kTokens, executor_);
    EXPECT_TRUE(made.ok()) << made.error().message;
    made->metadata = {{"activations", "f32"}, {"kv_type", "f32"}, {"facts", "{\"rope_base\":\"77\"}"}};
    return std::move(*made);
  }
  void diagnose(const char* name, Effort effort) {
    EXPECT_TRUE(doctor::diagnose(open_, options_, executor_).ok());  // tables that are made once
    fail_each_allocation(
        name,
        [&](Fault& fault) -> Result<std::string> {
          const auto report = fault.during([&] { return doctor::diagnose(open_, options_, executor_); });
          if (!report.ok()) return report.error();
          std::string text = report->diagnosis;
          for (const doctor::CheckResult& check : report->checks) {
            text += check.id + doctor::verdict_name(check.verdict) + std::to_string(check.n_compared) + check.reason;
          }
          return text;
        },
        {}, effort);
  }

  std::vector<std::byte> bytes_;
  doctor::DoctorOptions options_;
  SerialExecutor executor_;
  doctor::OpenFile open_ = [this](const engine::GgufOptions& gguf) {
    return engine::GgufFile::parse(bytes_, "m.gguf", gguf);
  };
};

TEST_F(DoctorOutOfMemory, LookingAtAFile) {
  options_.depth = doctor::Depth::kFile;
  diagnose("diagnose", {.each = 4000});
}

// The checks that compute, each by itself and with few faults; the search as far as a moment goes.
TEST_F(DoctorOutOfMemory, ComputingWithAModel) {
  options_.budget_seconds = 1e-3;
  for (const doctor::CheckInfo& info : doctor::check_table()) {
    if (info.depth == doctor::Depth::kFile) continue;
    options_.only = {std::string(info.id)};
    diagnose(options_.only[0].c_str(), {.each = 8, .part = 3});
  }
}

TEST_F(DoctorOutOfMemory, Portraying) {
  const engine::Model loaded = model();
  fail_each_allocation("portray",
                       [&](Fault& fault) -> Result<std::string> {
                         const auto made = fault.during([&] {
                           return doctor::portray(loaded, "abc abc", {.max_tokens = 4, .max_maps = 1}, executor_);
                         });
                         if (!made.ok()) return made.error();
                         return std::to_string(made->nll[0]) + std::to_string(made->layers.size());
                       },
                       {}, {.each = 60, .part = 16});
}

TEST_F(DoctorOutOfMemory, Comparing) {
  const engine::Model loaded = model();
  doctor::Reference theirs = reference(loaded, {{"rope_pairing", "halves"}});
  doctor::CompareOptions options;
  EXPECT_TRUE(doctor::compare(loaded, theirs, options, executor_).ok());  // tables that are made once
  fail_each_allocation("compare",
                       [&](Fault& fault) -> Result<std::string> {
                         const auto found =
                             fault.during([&] { return doctor::compare(loaded, theirs, options, executor_); });
                         if (!found.ok()) return found.error();
                         return found->summary;
                       },
                       {}, {.each = 300, .part = 64});
  const doctor::Reference ours = reference(loaded, {});
  fail_each_allocation("compare_references", [&](Fault& fault) -> Result<std::string> {
    const auto found = fault.during([&] { return doctor::compare_references(ours, theirs, 1e-4); });
    if (!found.ok()) return found.error();
    return found->summary;
  });
  fail_each_allocation("run_reference",
                       [&](Fault& fault) -> Result<std::string> {
                         const auto made =
                             fault.during([&] { return doctor::run_reference(loaded, {}, kTokens, executor_); });
                         if (!made.ok()) return made.error();
                         return std::to_string(made->stages.size());
                       },
                       {}, {.each = 60, .part = 16});
}

TEST_F(DoctorOutOfMemory, ReadingReferences) {
  const auto path =
      std::filesystem::temp_directory_path() / ("rowmax_memory_" + std::to_string(::getpid()) + ".safetensors");
  const std::string header =
      R"({"__metadata__":{"tokens":"[1,20]"},"blk.0.q":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}})";
  std::ofstream out(path, std::ios::binary);
  const std::uint64_t size = header.size();
  const float numbers[] = {1, 2, 3, 4};
  out.write(reinterpret_cast<const char*>(&size), sizeof size) << header;
  out.write(reinterpret_cast<const char*>(numbers), sizeof numbers);
  out.close();
  const std::vector<engine::TokenId> given = {1, 2, 3};
  for (const auto& [name, tokens] :
       {std::pair{path.string(), std::vector<engine::TokenId>{}},
        std::pair{std::string(ROWMAX_SOURCE_DIR "/engine/io/testdata/by_numpy.npz"), given}}) {
    fail_each_allocation("read_reference", [&, file = name, ids = tokens](Fault& fault) -> Result<std::string> {
      const auto read = fault.during([&] { return doctor::read_reference(file, ids); });
      if (!read.ok()) return read.error();
      EXPECT_GE(read->stages.size(), 1u);
      return std::to_string(read->stages.size()) + std::to_string(read->tokens.size());
    });
  }
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace rowmax::memory_test
