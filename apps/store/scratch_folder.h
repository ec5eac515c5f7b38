// A private folder for the time of a download.
#pragma once

#include <string>
#include <string_view>

#include "rowmax/result.h"

namespace rowmax::store {

// Gone, with all in it, when this object is. One that outlived its process, which was killed, is removed by the next
// create() in the same parent.
class ScratchFolder {
 public:
  // Makes PARENT (where it is not there) and PARENT/.pull-XXXXXX, which nobody else can enter. kIo.
  static Result<ScratchFolder> create(const std::string& parent);
  ScratchFolder(ScratchFolder&& other) noexcept;
  ScratchFolder& operator=(ScratchFolder&&) = delete;
  ~ScratchFolder();

  const std::string& path() const { return path_; }
  std::string file(std::string_view name) const { return path_ + "/" + std::string(name); }
  // An empty folder inside.
  Result<std::string> make_folder(std::string_view name) const;

 private:
  explicit ScratchFolder(std::string path) : path_(std::move(path)) {}
  Status lock();
  std::string path_;
  int lock_ = -1;  // held while the process lives
};

}  // namespace rowmax::store
