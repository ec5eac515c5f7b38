// A file that appears whole or not at all, and never in the place of what it was made from.
//
// It is written under a temporary name beside its place (NAME.rowmax-HASH-PID-N.tmp, NAME cut where it is long, HASH
// that of the name; locked while somebody writes it) and renamed when it is complete. What an ended process left there
// (a KILL, a power cut) is removed by the next one that writes the same file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "rowmax/result.h"

namespace rowmax::engine {

struct OutputOptions {
  bool overwrite = false;           // replace an existing file
  std::vector<std::string> inputs;  // files that must stay as they are
};

// Whether `path` may be written: a new name, or, with overwrite, a regular file that is none of the inputs under
// another name (symbolic or hard link). A symbolic link to a file stands for that file; one that leads nowhere, a
// folder, a device, a pipe and "-" are refused. kInvalidArgument says why.
Status check_output(const std::string& path, const OutputOptions& options);

class OutputFile {
 public:
  // Errors as check_output's; kIo for what the operating system says.
  static Result<OutputFile> create(const std::string& path, const OutputOptions& options);
  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&&) = delete;
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;
  ~OutputFile();  // without commit(): nothing is left

  Status append(std::span<const std::byte> bytes);
  // The same as appending so many zeros, as a hole.
  Status skip(std::uint64_t n_bytes);
  // Whether what was written is still there under its temporary name: kIo where somebody removed it or its folder.
  Status check_there() const;
  // Flushes to the disk, then gives the file its name. An existing file is replaced with overwrite alone, also one that
  // came meanwhile, and keeps its permissions. Nothing may follow.
  Status commit();
  // The same for several files that belong together: all get their names or none. The first one is the last to get it,
  // and where it replaces a file, that one goes first: a process that ends in between leaves no mixture of old and new
  // files that begins with the first.
  static Status commit_all(std::span<OutputFile* const> files);

  // The name that the bytes have until then.
  const std::string& temporary() const noexcept { return temporary_; }

 private:
  OutputFile() = default;
  Status open_temporary();
  int rename_to(const std::string& target) const noexcept;

  std::string path_;  // links followed
  std::string temporary_;
  OutputOptions options_;
  int descriptor_ = -1;
  void* registered_ = nullptr;
};

// Removes the temporary files of all OutputFiles that are open in this process. For handlers of signals that end it:
// async-signal-safe. The files cannot be committed afterwards.
void remove_unfinished_outputs() noexcept;

}  // namespace rowmax::engine
