#include "apps/server/sandbox.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "apps/server/landlock.h"
#include "apps/server/syscall_filter.h"
#include "rowmax/try.h"

namespace rowmax::server {
namespace {

Error no_filters(const std::string& why) {
  return Error::unsupported("a sandbox needs seccomp filters, which this machine does not give: " + why);
}

// That the kernel has what is needed is asked before anything is given up.
Status ask_for_filters() {
  const std::uint32_t action = SECCOMP_RET_KILL_PROCESS;
  if (::syscall(__NR_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0) return {};
  return no_filters(std::strerror(errno));
}

Status install(std::vector<sock_filter>& filter) {
  sock_fprog program = {};
  program.len = static_cast<unsigned short>(filter.size());
  program.filter = filter.data();
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return no_filters(std::strerror(errno));
  const long code = ::syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
  if (code > 0)
    return Error::io("a sandbox for all threads: thread " + std::to_string(code) + " has a filter of its own");
  return code == 0 ? Status() : no_filters(std::strerror(errno));
}

}  // namespace

Result<SandboxReport> enter_sandbox(const SandboxOptions& options) {
  SandboxReport report;
  report.landlock = landlock_version();
  if (!options.directory.empty() && report.landlock == 0) {
    return Error::unsupported(options.directory +
                              ": a sandbox with a directory needs Landlock, which this kernel does not give");
  }
  SyscallFilterOptions calls;
  calls.files = !options.directory.empty();
  calls.removes = !options.socket_path.empty() && report.landlock > 0;
  calls.process = ::getpid();
  std::vector<sock_filter> filter = syscall_filter(calls);
  if (filter.empty()) return no_filters("no system calls are known here for this processor");
  ROWMAX_RETURN_IF_ERROR(ask_for_filters());
  if (report.landlock > 0) {
    std::filesystem::path folder;
    if (calls.removes) folder = std::filesystem::absolute(options.socket_path).parent_path();
    ROWMAX_RETURN_IF_ERROR(restrict_paths(options.directory, folder.string()));
  }
  ROWMAX_RETURN_IF_ERROR(install(filter));
  report.enforced = {"no_new_programs", "no_new_threads", "no_new_connections", "no_new_code"};
  report.enforced.emplace_back(calls.files ? "files_below_the_directory" : "no_files");
  if (calls.removes) report.enforced.emplace_back("removes_beside_the_socket");
  return report;
}

}  // namespace rowmax::server
