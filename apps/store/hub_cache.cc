#include "apps/store/hub_cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <thread>
#include <vector>

#include "apps/store/digest.h"
#include "apps/store/file_list.h"
#include "base/guarded.h"
#include "rowmax/try.h"

namespace rowmax::store {
namespace {

namespace fs = std::filesystem;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

bool is_on(std::string value) {
  std::transform(value.begin(), value.end(), value.begin(), [](unsigned char c) { return std::tolower(c); });
  return value == "1" || value == "on" || value == "yes" || value == "true";
}

std::string trimmed(std::string text) {
  const auto space = [](unsigned char c) { return std::isspace(c) != 0; };
  text.erase(std::find_if_not(text.rbegin(), text.rend(), space).base(), text.end());
  text.erase(text.begin(), std::find_if_not(text.begin(), text.end(), space));
  return text;
}

// "~" is the home folder; relative paths count from the current folder, as for Hugging Face's tools.
std::string absolute_path(const std::string& path) {
  std::string expanded = path;
  if (path == "~" || path.starts_with("~/")) expanded = variable("HOME") + path.substr(1);
  std::error_code code;
  const fs::path absolute = fs::absolute(expanded, code);
  return code ? expanded : absolute.lexically_normal().string();
}

// Hugging Face's folder; empty where nothing says where it is.
std::string hub_home() {
  if (const std::string home = variable("HF_HOME"); !home.empty()) return absolute_path(home);
  if (const std::string cache = variable("XDG_CACHE_HOME"); cache.starts_with('/')) return cache + "/huggingface";
  if (const std::string home = variable("HOME"); home.starts_with('/')) return home + "/.cache/huggingface";
  return {};
}

std::string first_words(const std::string& path, std::size_t limit) {
  std::ifstream file(path, std::ios::binary);
  std::string text(limit, '\0');
  file.read(text.data(), static_cast<std::streamsize>(limit));
  text.resize(static_cast<std::size_t>(std::max<std::streamsize>(file.gcount(), 0)));
  return trimmed(std::move(text));
}

Result<std::string> find_token(const std::string& home) {
  std::string token = trimmed(variable("HF_TOKEN"));
  std::string source = "HF_TOKEN";
  if (token.empty()) {
    const std::string path = variable("HF_TOKEN_PATH");
    source = path.empty() ? home + "/token" : absolute_path(path);
    if (path.empty() && (home.empty() || is_on(variable("HF_HUB_DISABLE_IMPLICIT_TOKEN")))) return token;
    token = first_words(source, 4096);
  }
  // It becomes part of a header line.
  const auto odd = [](unsigned char c) { return c <= 0x20 || c >= 0x7F; };
  if (std::any_of(token.begin(), token.end(), odd)) {
    return Error{ErrorCode::kInvalidArgument, source + " does not hold a token: it has blanks or control characters"};
  }
  return token;
}

Status make_folder_of(const std::string& path) {
  std::error_code code;
  fs::create_directories(fs::path(path).parent_path(), code);
  if (code) return Error{ErrorCode::kIo, fs::path(path).parent_path().string() + " cannot be made: " + code.message()};
  return {};
}

std::vector<std::string> gguf_files(const std::string& snapshot) {
  std::vector<std::string> files;
  for (const std::string& name : files_below(snapshot)) {
    if (is_gguf(name) && shard_name(name, 1) == name) files.push_back(name.substr(snapshot.size() + 1));
  }
  std::sort(files.begin(), files.end());
  return files;
}

// Written beside and renamed, so that no reader sees half of it.
Status write_ref(const std::string& path, const std::string& commit) {
  ROWMAX_RETURN_IF_ERROR(make_folder_of(path));
  const std::string temporary = path + "." + std::to_string(getpid());
  const bool written = static_cast<bool>(std::ofstream(temporary, std::ios::binary) << commit << std::flush);
  std::error_code code;
  fs::rename(temporary, path, code);
  if (!written || code) return Error{ErrorCode::kIo, path + " cannot be written: " + code.message()};
  return {};
}

}  // namespace

Result<std::string> hub_cache_folder() {
  return base::guarded([&]() -> Result<std::string> {
    for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"}) {
      if (const std::string folder = variable(name); !folder.empty()) return absolute_path(folder);
    }
    const std::string home = hub_home();
    if (!home.empty()) return home + "/hub";
    return Error{ErrorCode::kNotFound, "no folder for models: set HF_HOME, or HOME to an absolute path"};
  });
}

Result<HubSettings> hub_settings() {
  return base::guarded([&]() -> Result<HubSettings> {
    HubSettings settings;
    settings.endpoint = variable("HF_ENDPOINT");
    if (settings.endpoint.empty()) settings.endpoint = "https://huggingface.co";
    while (settings.endpoint.ends_with('/')) settings.endpoint.pop_back();
    if (!settings.endpoint.starts_with("https://") && !settings.endpoint.starts_with("http://")) {
      return Error{ErrorCode::kInvalidArgument,
                   "HF_ENDPOINT: expected an address that starts with https://, found \"" + settings.endpoint + "\""};
    }
    ROWMAX_TRY(cache, hub_cache_folder());
    settings.cache = std::move(cache);
    settings.offline = is_on(variable("HF_HUB_OFFLINE"));
    ROWMAX_TRY(token, find_token(hub_home()));
    settings.token = std::move(token);
    return settings;
  });
}

HubPaths hub_paths(const std::string& cache, const std::string& repository, const std::string& commit,
                   const std::string& file, const std::string& digest) {
  std::string name = "models--" + repository;
  name.replace(name.find('/'), 1, "--");
  HubPaths paths;
  paths.folder = cache + "/" + name;
  if (!digest.empty()) {
    paths.blob = paths.folder + "/blobs/" + digest;
    paths.lock = cache + "/.locks/" + name + "/" + digest + ".lock";
  }
  paths.snapshot = paths.folder + "/snapshots/" + commit + (file.empty() ? "" : "/" + file);
  return paths;
}

Result<std::string> cached_commit(const std::string& cache, const HubName& name) {
  return base::guarded([&]() -> Result<std::string> {
    if (is_commit(name.revision)) return name.revision;
    const std::string folder = hub_paths(cache, name.repository, "", "", "").folder;
    std::string commit = first_words(folder + "/refs/" + name.revision, 100);
    if (is_commit(commit)) return commit;
    return Error{ErrorCode::kNotFound, "no commit of " + name.repository + " is known for " + name.revision};
  });
}

Result<std::string> cached_hub_file(const std::string& cache, const HubName& name) {
  return base::guarded([&]() -> Result<std::string> {
    const Error missing{ErrorCode::kNotFound, to_string(name) + " is not here yet: run `rowmax pull " +
                                                  to_string(name) + "`, or give a GGUF file with -m PATH"};
    const auto commit = cached_commit(cache, name);
    if (!commit.ok()) return commit.error().code == ErrorCode::kNotFound ? missing : commit.error();
    std::string file = name.file;
    if (file.empty()) {
      const std::vector<std::string> files = gguf_files(hub_paths(cache, name.repository, *commit, "", "").snapshot);
      if (files.empty()) return missing;
      if (files.size() > 1) {
        std::string list;
        for (const std::string& each : files) list += "\n  " + to_string({name.repository, name.revision, each});
        return Error{ErrorCode::kInvalidArgument, to_string(name) + " has several GGUF files here; name one:" + list};
      }
      file = files.front();
    }
    std::string path = hub_paths(cache, name.repository, *commit, file, "").snapshot;
    std::error_code ignored;
    for (int i = 1, n = shard_count(path); i <= n; ++i) {
      if (!fs::exists(shard_name(path, i), ignored)) return missing;
    }
    return shard_name(path, 1);
  });
}

Result<std::string> linked_digest(const std::string& snapshot) {
  return base::guarded([&]() -> Result<std::string> {
    std::error_code code;
    const fs::path target = fs::read_symlink(snapshot, code);
    std::string name = code ? "" : target.filename().string();
    const auto kind = digest_kind(name);
    if (!kind.ok() && kind.error().code == ErrorCode::kOutOfMemory) return kind.error();
    if (code || !kind.ok()) {
      return Error{ErrorCode::kNotFound, snapshot + " does not say its checksum: it is no link to a blob"};
    }
    return name;
  });
}

Status link_snapshot(const HubPaths& paths, const HubName& name, const std::string& commit) {
  return base::guarded([&]() -> Status {
    ROWMAX_RETURN_IF_ERROR(make_folder_of(paths.snapshot));
    const fs::path target = fs::path(paths.blob).lexically_relative(fs::path(paths.snapshot).parent_path());
    const std::string temporary = paths.snapshot + "." + std::to_string(getpid());
    std::error_code code;
    fs::remove(temporary, code);
    fs::create_symlink(target, temporary, code);
    if (!code) fs::rename(temporary, paths.snapshot, code);
    if (code) return Error{ErrorCode::kIo, paths.snapshot + " cannot be written: " + code.message()};
    if (name.revision == commit) return {};
    return write_ref(paths.folder + "/refs/" + name.revision, commit);
  });
}

Result<FileLock> FileLock::take(const std::string& path, const Listener& listener) {
  return base::guarded([&]() -> Result<FileLock> {
    ROWMAX_RETURN_IF_ERROR(make_folder_of(path));
    const int descriptor = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (descriptor < 0) return Error{ErrorCode::kIo, path + ": " + std::strerror(errno)};
    FileLock lock(descriptor);
    for (bool said = false; flock(descriptor, LOCK_EX | LOCK_NB) != 0; said = true) {
      if (errno != EWOULDBLOCK && errno != EINTR) return Error{ErrorCode::kIo, path + ": " + std::strerror(errno)};
      if (listener.stopped()) return interrupted_error();
      if (!said) listener.note("another program is fetching the same file; waiting for it");
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    return lock;
  });
}

FileLock::FileLock(FileLock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}

FileLock::~FileLock() {
  if (descriptor_ >= 0) close(descriptor_);
}

}  // namespace rowmax::store
