#include "apps/store/part_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>

#include "rowmax/try.h"

namespace rowmax::store {
namespace {

constexpr std::size_t kMaxEtag = 300;

Error file_error(const std::string& path, int code) { return Error{ErrorCode::kIo, path + ": " + std::strerror(code)}; }

std::string etag_path(const std::string& path) { return path + ".etag"; }

// An etag that says "the same bytes": If-Range takes no other (RFC 9110, 13.1.5).
bool is_strong(const std::string& etag) {
  return etag.size() > 2 && etag.size() <= kMaxEtag && etag.front() == '"' && etag.back() == '"';
}

bool take_number(std::string_view& text, std::int64_t& value) {
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc()) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return true;
}

// "bytes 100-999/1000"
bool parse_content_range(std::string_view text, std::int64_t& first, std::int64_t& last, std::int64_t& total) {
  if (!text.starts_with("bytes ")) return false;
  text.remove_prefix(6);
  if (!take_number(text, first) || !text.starts_with('-')) return false;
  text.remove_prefix(1);
  if (!take_number(text, last) || !text.starts_with('/')) return false;
  text.remove_prefix(1);
  return take_number(text, total) && text.empty();
}

bool is_encoded(const HttpHead& head) { return !head.content_encoding.empty() && head.content_encoding != "identity"; }

}  // namespace

Result<PartFile> PartFile::open(const std::string& path, std::int64_t whole) {
  PartFile part(path, whole);
  part.descriptor_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
  if (part.descriptor_ < 0) return file_error(path, errno);
  struct stat facts = {};
  if (fstat(part.descriptor_, &facts) != 0) return file_error(path, errno);
  part.have_ = facts.st_size;
  std::ifstream(etag_path(path)) >> part.etag_;
  if (!is_strong(part.etag_) || part.have_ > whole) ROWMAX_RETURN_IF_ERROR(part.restart());
  if (lseek(part.descriptor_, 0, SEEK_END) < 0) return file_error(path, errno);
  return part;
}

PartFile::PartFile(PartFile&& other) noexcept
    : path_(std::move(other.path_)),
      whole_(other.whole_),
      descriptor_(std::exchange(other.descriptor_, -1)),
      have_(other.have_),
      etag_(std::move(other.etag_)) {}

PartFile::~PartFile() {
  if (descriptor_ >= 0) close(descriptor_);
}

std::vector<std::string> PartFile::headers() const {
  if (have_ == 0 || etag_.empty()) return {};
  return {"Range: bytes=" + std::to_string(have_) + "-", "If-Range: " + etag_};
}

Status PartFile::begin(const HttpHead& head) {
  if (head.status == 206) return begin_rest(head);
  if (head.status != 200) {
    return Error{ErrorCode::kIo, head.url + " answers with status " + std::to_string(head.status) + " to a download"};
  }
  const bool encoded = is_encoded(head);
  if (!encoded && head.content_length >= 0 && head.content_length != whole_) {
    return Error{ErrorCode::kCorrupt, head.url + " announces " + std::to_string(head.content_length) +
                                          " bytes; the file should have " + std::to_string(whole_)};
  }
  ROWMAX_RETURN_IF_ERROR(restart());
  // A range counts encoded bytes, which are not what is kept here.
  return save_etag(!encoded && is_strong(head.etag) ? head.etag : "");
}

Status PartFile::begin_rest(const HttpHead& head) {
  std::int64_t first = -1, last = -1, total = -1;
  const bool parsed = parse_content_range(head.content_range, first, last, total);
  const bool same = head.etag.empty() || head.etag == etag_;
  if (parsed && same && have_ > 0 && first == have_ && last == whole_ - 1 && total == whole_) return {};
  const std::string found = head.content_range.substr(0, 100) + " of version " + head.etag.substr(0, 100);
  const std::string wanted = "bytes " + std::to_string(have_) + "-" + std::to_string(whole_ - 1) + "/" +
                             std::to_string(whole_) + " of version " + etag_;
  ROWMAX_RETURN_IF_ERROR(restart());
  return Error{ErrorCode::kIo, head.url + " sends " + found + " where " + wanted + " was asked for"};
}

Status PartFile::append(std::string_view bytes) {
  if (static_cast<std::int64_t>(bytes.size()) > whole_ - have_) {
    return Error{ErrorCode::kCorrupt, "more arrives than the " + std::to_string(whole_) + " bytes of the file"};
  }
  while (!bytes.empty()) {
    const ssize_t n = write(descriptor_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return file_error(path_, errno);
    bytes.remove_prefix(static_cast<std::size_t>(n));
    have_ += n;
  }
  return {};
}

Status PartFile::restart() {
  if (ftruncate(descriptor_, 0) != 0 || lseek(descriptor_, 0, SEEK_SET) != 0) return file_error(path_, errno);
  have_ = 0;
  return save_etag("");
}

Status PartFile::save_etag(const std::string& etag) {
  etag_ = etag;
  std::error_code code;
  if (etag.empty()) {
    std::filesystem::remove(etag_path(path_), code);
    return {};
  }
  if (std::ofstream(etag_path(path_)) << etag << std::flush) return {};
  return Error{ErrorCode::kIo, etag_path(path_) + " cannot be written"};
}

Status PartFile::sync() {
  if (fsync(descriptor_) != 0) return file_error(path_, errno);
  return {};
}

void PartFile::remove() {
  std::error_code ignored;
  std::filesystem::remove(path_, ignored);
  std::filesystem::remove(etag_path(path_), ignored);
}

}  // namespace rowmax::store
