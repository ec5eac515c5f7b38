#include "apps/store/hub_pull.h"

#include <filesystem>
#include <system_error>

#include "apps/store/amounts.h"
#include "apps/store/digest.h"
#include "apps/store/part_file.h"
#include "base/guarded.h"
#include "rowmax/try.h"

namespace rowmax::store {
namespace {

namespace fs = std::filesystem;

// So much in one try shows that the connection works: the count of failures starts anew.
constexpr std::int64_t kProgressBytes = 64 * 1024;

struct Job {
  const HubSettings& settings;
  HubName name;  // with the file
  std::string commit;
  HubFile file;
  HubPaths paths;
  std::int64_t before = 0, all = file.bytes;  // bytes of the parts before, and of all
  std::string base_name() const { return fs::path(file.path).filename().string(); }
};

bool has_size(const std::string& path, std::int64_t bytes) {
  std::error_code code;
  const auto size = fs::file_size(path, code);
  return !code && static_cast<std::int64_t>(size) == bytes;
}

Result<bool> has_digest(const Listener& listener, const std::string& path, const HubFile& file) {
  ROWMAX_TRY(kind, digest_kind(file.digest));
  const std::string step = "checking " + fs::path(file.path).filename().string();
  ROWMAX_TRY(found, file_digest(path, kind, [&](std::int64_t done) {
               listener.progress({step, done, file.bytes, 0});
               return !listener.stopped();
             }));
  return found == file.digest;
}

Status check_space(const Job& job, std::int64_t already) {
  const double needed = static_cast<double>(job.file.bytes) - static_cast<double>(already);
  std::error_code code;
  const fs::space_info space = fs::space(job.settings.cache, code);
  if (code || static_cast<double>(space.available) >= needed) return {};
  return Error{ErrorCode::kIo, job.settings.cache + " has " + human_bytes(static_cast<double>(space.available)) +
                                   " free; " + job.base_name() + " needs " + human_bytes(needed) +
                                   " (HF_HOME chooses another place)"};
}

// One request for what is missing.
HttpAttempt attempt(const Job& job, const HttpRequest& basis, PartFile& part, Progress& progress) {
  HttpRequest request = basis;
  request.headers = part.headers();
  std::int64_t arrived = 0;
  bool odd_range = false;
  HttpHandlers handlers;
  handlers.head = [&](const HttpHead& head) -> Status {
    if (head.linked_etag.size() == 64 && job.file.digest.size() == 64 && head.linked_etag != job.file.digest) {
      return Error{ErrorCode::kCorrupt, request.url + " leads to another file: expected sha256 " + job.file.digest +
                                            ", announced " + head.linked_etag};
    }
    const bool resumed = !request.headers.empty();
    Status begun = part.begin(head);
    odd_range = !begun.ok() && begun.error().code == ErrorCode::kIo && head.status == 206;
    if (begun.ok() && resumed && part.have() == 0) {
      job.settings.listener.note("the server does not go on with " + job.base_name() +
                                 " where it broke off: starting again");
    }
    return begun;
  };
  handlers.body = [&](std::string_view bytes) {
    arrived += static_cast<std::int64_t>(bytes.size());
    return part.append(bytes);
  };
  handlers.tick = [&] {
    progress.done = job.before + part.have();
    job.settings.listener.progress(progress);
    return !job.settings.listener.stopped();
  };

  HttpAttempt result{http_get(request, handlers), arrived >= kProgressBytes};
  HttpOutcome& outcome = result.outcome;
  const bool beyond = outcome.head.status == 416 && part.have() > 0;
  if (beyond || odd_range) outcome.transient = true;
  if (beyond) {
    const Status restarted = part.restart();
    if (!restarted.ok()) return {HttpOutcome::failed(restarted.error()), false};
  }
  if (outcome.status.ok() && part.have() < job.file.bytes) {
    outcome.status = Error{ErrorCode::kIo, outcome.head.url + " ends after " + std::to_string(part.have()) + " of " +
                                               std::to_string(job.file.bytes) + " bytes"};
    outcome.transient = true;
  }
  return result;
}

// Fills the part file.
Status download(const Job& job, PartFile& part) {
  if (part.have() == job.file.bytes && job.file.bytes > 0) return {};
  ROWMAX_RETURN_IF_ERROR(check_space(job, part.have()));
  HttpRequest request;
  request.url = job.settings.endpoint + "/" + job.name.repository + "/resolve/" + url_encoded(job.commit, false) + "/" +
                url_encoded(job.file.path, true);
  request.token = job.settings.token;
  request.stall_seconds = job.settings.timeout_seconds;
  job.settings.listener.note((part.have() > 0 ? "going on with " : "fetching ") + job.base_name() + " of " +
                             job.name.repository + ", " +
                             (part.have() > 0 ? human_bytes(static_cast<double>(part.have())) + " of " : "") +
                             human_bytes(static_cast<double>(job.file.bytes)) + (part.have() > 0 ? " are here" : ""));
  const std::int64_t already = job.before + part.have();
  Progress progress{"fetching " + fs::path(shard_name(job.file.path, 1)).filename().string(), already, job.all,
                    already};
  HttpOutcome outcome =
      with_retries(job.settings.retries, job.settings.listener, [&] { return attempt(job, request, part, progress); });
  if (outcome.status.ok()) return part.sync();
  if (outcome.status.error().code == ErrorCode::kCorrupt) part.remove();
  if (outcome.status.error().code == ErrorCode::kCancelled && part.have() > 0) {
    return Error{ErrorCode::kCancelled, "interrupted; what arrived is kept, and the same command goes on from there"};
  }
  return hub_error(outcome, job.settings, job.name);
}

Status fetch_blob(const Job& job) {
  const std::string path = job.paths.blob + ".part";
  std::error_code code;
  fs::create_directories(fs::path(path).parent_path(), code);
  if (code) return Error{ErrorCode::kIo, fs::path(path).parent_path().string() + " cannot be made: " + code.message()};
  for (;;) {
    ROWMAX_TRY(part, PartFile::open(path, job.file.bytes));
    const bool resumed = part.have() > 0;
    ROWMAX_RETURN_IF_ERROR(download(job, part));
    ROWMAX_TRY(right, has_digest(job.settings.listener, path, job.file));
    if (right) {
      fs::rename(path, job.paths.blob, code);
      if (code) return Error{ErrorCode::kIo, job.paths.blob + " cannot be written: " + code.message()};
      part.remove();  // the etag beside it
      return {};
    }
    part.remove();
    if (!resumed) {
      return Error{ErrorCode::kCorrupt, "what " + job.settings.endpoint + " sends for " + to_string(job.name) +
                                            " is not the file that was listed: its checksum is not " + job.file.digest};
    }
    job.settings.listener.note("what an earlier try left of " + job.base_name() + " does not fit: starting again");
  }
}

Result<HubPull> pull(const Job& job) {
  HubPull result{job.paths.snapshot, job.commit, job.file, {}, false};
  ROWMAX_TRY(lock, FileLock::take(job.paths.lock, job.settings.listener));
  bool whole = has_size(job.paths.blob, job.file.bytes);
  if (whole) {
    ROWMAX_TRY(right, has_digest(job.settings.listener, job.paths.blob, job.file));
    whole = right;
  }
  if (!whole) {
    if (job.settings.offline) {
      return Error{ErrorCode::kNotFound,
                   to_string(job.name) + " is not whole in " + job.settings.cache + ", and HF_HUB_OFFLINE is set"};
    }
    ROWMAX_RETURN_IF_ERROR(fetch_blob(job));
    result.fetched = true;
  }
  ROWMAX_RETURN_IF_ERROR(link_snapshot(job.paths, job.name, job.commit));
  return result;
}

Job make_job(const HubSettings& settings, HubName name, const std::string& commit, const HubFile& file) {
  name.file = file.path;
  HubPaths paths = hub_paths(settings.cache, name.repository, commit, file.path, file.digest);
  return Job{settings, std::move(name), commit, file, std::move(paths)};
}

// What is still to come; a part that broke off counts as not there.
std::int64_t missing_bytes(const HubSettings& settings, const HubName& name, const std::string& commit,
                           const std::vector<HubFile>& files) {
  std::int64_t sum = 0;
  for (const HubFile& file : files) {
    const Job job = make_job(settings, name, commit, file);
    if (!has_size(job.paths.blob, file.bytes) && file.bytes <= INT64_MAX - sum) sum += file.bytes;
  }
  return sum;
}

Result<HubPull> pull_all(const HubSettings& settings, const HubName& name, const std::string& commit,
                         const std::vector<HubFile>& files) {
  if (files.size() == 1) return pull(make_job(settings, name, commit, files.front()));
  const std::int64_t all = missing_bytes(settings, name, commit, files);
  if (all > 0) {
    settings.listener.note(files.front().path + " of " + name.repository + " and the " +
                           std::to_string(files.size() - 1) +
                           " parts after it: " + human_bytes(static_cast<double>(all)) + " to fetch");
    Job whole = make_job(settings, name, commit, files.front());
    whole.file.bytes = all;
    if (!settings.offline) ROWMAX_RETURN_IF_ERROR(check_space(whole, 0));
  }
  HubPull result;
  std::int64_t before = 0;
  for (const HubFile& file : files) {
    Job job = make_job(settings, name, commit, file);
    job.before = before;
    job.all = all;
    ROWMAX_TRY(pulled, pull(job));
    if (pulled.fetched) before += file.bytes;
    pulled.fetched = pulled.fetched || result.fetched;
    if (&file == &files.front()) {
      result = std::move(pulled);
    } else {
      result.fetched = pulled.fetched;
    }
  }
  result.parts = files;
  return result;
}

// What the cache alone says of the file.
Result<HubPull> pull_offline(const HubSettings& settings, const HubName& name) {
  const auto path = cached_hub_file(settings.cache, name);
  if (!path.ok() && path.error().code == ErrorCode::kInvalidArgument) return path.error();
  if (!path.ok()) {
    return Error{ErrorCode::kNotFound,
                 to_string(name) + " is not in " + settings.cache + ", and HF_HUB_OFFLINE is set"};
  }
  ROWMAX_TRY(commit, cached_commit(settings.cache, name));
  const std::string snapshot = hub_paths(settings.cache, name.repository, commit, "", "").snapshot;
  std::vector<HubFile> files;
  for (int i = 1, n = shard_count(*path); i <= n; ++i) {
    const std::string part = shard_name(*path, i);
    ROWMAX_TRY(digest, linked_digest(part));
    std::error_code code;
    const auto bytes = fs::file_size(part, code);
    if (code) return Error{ErrorCode::kIo, part + ": " + code.message()};
    files.push_back({fs::path(part).lexically_relative(snapshot).string(), static_cast<std::int64_t>(bytes), digest});
  }
  return pull_all(settings, name, commit, files);
}

}  // namespace

Result<HubPull> pull_from_hub(const HubSettings& settings, const HubName& name) {
  return base::guarded([&]() -> Result<HubPull> {
    if (!can_download()) return cannot_download();
    if (settings.offline) return pull_offline(settings, name);
    ROWMAX_TRY(listing, list_repository(settings, name));
    ROWMAX_TRY(files, choose_files(listing, name));
    return pull_all(settings, name, listing.commit, files);
  });
}

Result<HubPull> pull_known_file(const HubSettings& settings, const HubName& name, const HubFile& file) {
  return base::guarded([&]() -> Result<HubPull> {
    if (!can_download()) return cannot_download();
    return pull(make_job(settings, name, name.revision, file));
  });
}

}  // namespace rowmax::store
