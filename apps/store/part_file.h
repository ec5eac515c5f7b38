// A download that is not whole yet: its bytes in FILE.part, and beside them, in FILE.part.etag, which version of the
// server's file they are the beginning of.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "apps/store/http.h"
#include "rowmax/result.h"

namespace rowmax::store {

class PartFile {
 public:
  // Opens what an earlier download left, or makes an empty file. What has no etag beside it is not gone on with.
  static Result<PartFile> open(const std::string& path, std::int64_t whole);
  PartFile(PartFile&& other) noexcept;
  PartFile& operator=(PartFile&&) = delete;
  ~PartFile();

  const std::string& path() const { return path_; }
  std::int64_t have() const { return have_; }
  // "Range" and "If-Range" for the rest, or nothing where everything is to come.
  std::vector<std::string> headers() const;

  // A 2xx answer has begun: where do its bytes go? Starts from 0 for a whole file. kCorrupt where its length is not the
  // one that was listed; kIo where it is no answer to the request, and the next one starts from 0.
  Status begin(const HttpHead& head);
  // kCorrupt beyond the listed length, kIo where the disk does not take it.
  Status append(std::string_view bytes);
  Status restart();
  Status sync();
  void remove();

 private:
  PartFile(std::string path, std::int64_t whole) : path_(std::move(path)), whole_(whole) {}
  Status begin_rest(const HttpHead& head);
  Status save_etag(const std::string& etag);

  std::string path_;
  std::int64_t whole_;
  int descriptor_ = -1;
  std::int64_t have_ = 0;
  std::string etag_;  // as the server wrote it; empty: not to be resumed
};

}  // namespace rowmax::store
