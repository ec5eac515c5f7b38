#include "apps/cli/layout_memory.h"

#include <unistd.h>

#include <cinttypes>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>
#include <system_error>

#include "apps/cli/terminal.h"
#include "apps/store/model_catalog.h"
#include "rowmax/try.h"

namespace rowmax::cli {
namespace {

namespace fs = std::filesystem;

// Of the text, the rule and this form of file: another number makes the old answers forgotten.
constexpr int kVersion = 1;
constexpr const char* kNone = "-";

std::optional<fs::path> memory_path(const engine::GgufFile& file) {
  auto cache = store::cache_folder();
  if (!cache.ok()) return std::nullopt;
  char name[32];
  std::snprintf(name, sizeof name, "%016" PRIx64, engine::gguf_content_hash(file));
  return fs::path(*cache) / "layouts" / name;
}

// Also nullopt for what another version wrote, or nobody.
std::optional<engine::LayoutCheck> recall(const fs::path& path, std::string_view taken) {
  std::ifstream file(path);
  engine::LayoutCheck check;
  int version = 0;
  if (!(file >> version) || version != kVersion) return std::nullopt;
  if (!(file >> check.taken >> check.chance >> check.loss >> check.better >> check.better_loss)) return std::nullopt;
  if (check.taken != taken) return std::nullopt;
  if (check.better == kNone) check.better.clear();
  return check;
}

// Whole or not at all; a memory that cannot be written is none.
void remember(const fs::path& path, const engine::LayoutCheck& check) {
  std::error_code failed;
  fs::create_directories(path.parent_path(), failed);
  if (failed) return;
  fs::path draft = path;
  draft += "." + std::to_string(::getpid());
  {
    std::ofstream file(draft);
    file << kVersion << ' ' << check.taken << ' ' << check.chance << ' ' << check.loss << ' '
         << (check.better.empty() ? kNone : check.better) << ' ' << check.better_loss << '\n';
    if (!file.flush()) failed = std::make_error_code(std::errc::io_error);
  }
  if (!failed) fs::rename(draft, path, failed);
  if (failed) fs::remove(draft, failed);
}

}  // namespace

Result<engine::LayoutCheck> remembered_layout_check(engine::Model& model, const engine::OpenFile& open,
                                                    Executor& executor) {
  ROWMAX_TRY(doubts, engine::gguf_layout_doubts(model.file()));
  if (doubts.empty()) return engine::LayoutCheck{};
  const std::optional<fs::path> memory = memory_path(model.file());
  if (memory) {
    if (auto known = recall(*memory, doubts.front().taken)) return *known;
  }
  ROWMAX_TRY(check, engine::check_layout(model, open, executor));
  if (memory && std::isfinite(check.loss)) remember(*memory, check);
  return check;
}

std::string layout_warning(const engine::LayoutCheck& check) {
  if (check.better.empty()) return {};
  return "the weights make no sense as " + check.taken + " (loss " + short_number(check.loss) + " a token; chance is " +
         short_number(check.chance) + ") but do as " + check.better + " (" + short_number(check.better_loss) +
         "): add --format " + check.better;
}

}  // namespace rowmax::cli
