#include "engine/ops/matmul/kernel_tables.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>
#include <string>

#include "base/cpu_features.h"

namespace rowmax::engine::kernel_tables_test {
namespace {

const KernelVariant* find(const std::vector<KernelVariant>& variants, std::string_view name) {
  const auto at = std::ranges::find(variants, name, &KernelVariant::name);
  return at == variants.end() ? nullptr : &*at;
}

std::string name_of(const KernelChoice& choice, Isa isa) {
  const Result<KernelVariant> chosen = choose_kernels(choice, isa);
  return chosen.ok() ? std::string(chosen->name) : chosen.error().message;
}

// Names are the programs' business: they never change.
TEST(Kernels, NamesAndInstructionSets) {
  const std::vector<KernelVariant> variants = kernel_variants();
  const std::map<std::string, Isa> expected = {
      {"scalar", Isa::kScalar}, {"avx2", Isa::kAvx2},    {"avxvnni", Isa::kAvx2},
      {"avx512", Isa::kAvx512}, {"amx", Isa::kAvx512},   {"avx512vbmi", Isa::kAvx512},
      {"neon", Isa::kNeon},     {"dotprod", Isa::kNeon}, {"i8mm", Isa::kNeon}};
  ASSERT_EQ(variants.size(), expected.size());
  for (const auto& [name, isa] : expected) {
    const KernelVariant* variant = find(variants, name);
    ASSERT_NE(variant, nullptr) << name;
    EXPECT_EQ(variant->isa, isa) << name;
  }
}

TEST(Kernels, SupportedIsWhatTheCpuHas) {
  const std::map<std::string, bool> here = {{"scalar", true},
                                            {"avx2", isa_supported(Isa::kAvx2)},
                                            {"avxvnni", base::has_avx_vnni()},
                                            {"avx512", isa_supported(Isa::kAvx512)},
                                            {"avx512vbmi", base::has_avx512_vbmi()},
                                            {"amx", base::has_amx()},
                                            {"neon", isa_supported(Isa::kNeon)},
                                            {"dotprod", base::has_neon_dotprod()},
                                            {"i8mm", base::has_neon_i8mm()}};
  for (const KernelVariant& variant : kernel_variants()) {
    EXPECT_EQ(variant.supported(), here.at(std::string(variant.name))) << variant.name;
  }
  const std::span<const panel::KernelTable> tables = panel::kernel_tables();
  std::set<const panel::Kernels*> different;
  for (const panel::KernelTable& table : tables) {
    EXPECT_EQ(find(kernel_variants(), table.name)->supported(), table.supported());
    if (!table.supported()) continue;
    ASSERT_NE(table.kernels, nullptr) << table.name;
    EXPECT_TRUE(isa_supported(table.isa));
    EXPECT_TRUE(different.insert(&table.kernels()).second) << table.name;
  }
}

TEST(Kernels, TheFastestOfAnInstructionSetIsTheLastSupportedOne) {
  EXPECT_EQ(name_of({}, Isa::kScalar), "scalar");
  if (isa_supported(Isa::kAvx2)) {
    EXPECT_EQ(name_of({}, Isa::kAvx2), base::has_avx_vnni() ? "avxvnni" : "avx2");
  }
  if (isa_supported(Isa::kAvx512)) {
    EXPECT_EQ(name_of({}, Isa::kAvx512), base::has_amx() ? "amx" : base::has_avx512_vbmi() ? "avx512vbmi" : "avx512");
  }
  if (isa_supported(Isa::kNeon)) {
    EXPECT_EQ(name_of({}, Isa::kNeon), base::has_neon_i8mm() ? "i8mm" : base::has_neon_dotprod() ? "dotprod" : "neon");
  }
  for (const Isa isa : supported_isas()) EXPECT_EQ(choose_kernels({}, isa)->isa, isa);
}

// One after another, from the top to the last one, then nothing.
TEST(Kernels, ForbiddingOneMovesToTheNext) {
  std::vector<std::string> supported;
  for (const KernelVariant& variant : kernel_variants()) {
    if (variant.supported()) supported.emplace_back(variant.name);
  }
  KernelChoice choice;
  const Isa highest = supported_isas().back();
  for (; !supported.empty(); supported.pop_back()) {
    EXPECT_EQ(name_of(choice, highest), supported.back());
    choice.forbid.push_back(supported.back());
  }
  const Result<KernelVariant> none = choose_kernels(choice, highest);
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(none.error().message.find("no kernels are left"), std::string::npos);
}

TEST(Kernels, ForcedOnesAreTakenOrRefused) {
  for (const KernelVariant& variant : kernel_variants()) {
    const std::string name(variant.name);
    const Result<KernelVariant> chosen = choose_kernels({name, {}}, Isa::kScalar);
    ASSERT_EQ(chosen.ok(), variant.supported()) << name;
    if (chosen.ok()) {
      EXPECT_EQ(chosen->name, name);
      EXPECT_EQ(chosen->isa, variant.isa);
      EXPECT_EQ(choose_kernels({name, {name}}, Isa::kScalar).error().code, ErrorCode::kInvalidArgument);
      continue;
    }
    EXPECT_EQ(chosen.error().code, ErrorCode::kUnsupported);
    EXPECT_NE(chosen.error().message.find("'" + name + "' cannot run here: "), std::string::npos);
    EXPECT_NE(chosen.error().message.find(variant.missing), std::string::npos);
    EXPECT_NE(chosen.error().message.find("supported: scalar"), std::string::npos);
  }
  for (const KernelChoice& choice : {KernelChoice{"mmx", {}}, KernelChoice{"", {"scalar", "mmx"}}}) {
    const Result<KernelVariant> unknown = choose_kernels(choice, Isa::kScalar);
    ASSERT_FALSE(unknown.ok());
    EXPECT_EQ(unknown.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(unknown.error().message.find("'mmx'; known: scalar, avx2"), std::string::npos);
  }
  for (const Isa isa : {Isa::kAvx2, Isa::kAvx512, Isa::kNeon}) {
    if (isa_supported(isa)) continue;
    EXPECT_EQ(choose_kernels({}, isa).error().code, ErrorCode::kUnsupported);
  }
}

}  // namespace
}  // namespace rowmax::engine::kernel_tables_test
