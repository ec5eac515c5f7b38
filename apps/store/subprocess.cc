#include "apps/store/subprocess.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <thread>

#include "apps/store/listener.h"
#include "rowmax/try.h"

namespace rowmax::store {
namespace {

constexpr auto kPollInterval = std::chrono::milliseconds(20);
constexpr int kPollsPerTick = 5;
constexpr auto kGrace = std::chrono::seconds(2);  // from the request to end to the end

std::vector<std::string> child_environment(const ChildOptions& options) {
  std::vector<std::string> variables;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const std::string_view name = text.substr(0, text.find('='));
    bool kept = !options.inherits || options.inherits(name);
    for (const auto& [replaced, value] : options.variables) kept = kept && name != replaced;
    if (kept) variables.emplace_back(text);
  }
  for (const auto& [name, value] : options.variables) variables.push_back(name + "=" + value);
  return variables;
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> list;
  for (std::string& text : strings) list.push_back(text.data());
  list.push_back(nullptr);
  return list;
}

// All that the child needs between fork and exec, where nothing may be allocated.
struct Start {
  const char* program;
  char* const* arguments;
  char* const* environment;
  const char* folder;
  const char* log;
  int report;  // gets errno where it does not come to the program
  pid_t parent;
};

bool put_in_place(int descriptor, int place) {
  return descriptor >= 0 && (descriptor == place || dup2(descriptor, place) == place);
}

[[noreturn]] void become(const Start& start) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != start.parent) _exit(127);  // it ended before it could be asked about
  const int log = open(start.log, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (log >= 0 && chdir(start.folder) == 0 && put_in_place(open("/dev/null", O_RDONLY | O_CLOEXEC), STDIN_FILENO) &&
      put_in_place(log, STDOUT_FILENO) && put_in_place(log, STDERR_FILENO)) {
    execve(start.program, start.arguments, start.environment);
  }
  const int code = errno;
  const ssize_t written = write(start.report, &code, sizeof code);
  _exit(written == sizeof code ? 127 : 126);
}

// Whether it ended; what it started itself is ended with it.
bool has_ended(pid_t child) {
  siginfo_t facts = {};
  if (waitid(P_PID, static_cast<id_t>(child), &facts, WEXITED | WNOHANG | WNOWAIT) != 0 || facts.si_pid != child) {
    return false;
  }
  kill(-child, SIGKILL);
  return true;
}

int reap(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

Error stop(pid_t child) {
  const auto end = std::chrono::steady_clock::now() + kGrace;
  kill(-child, SIGTERM);
  while (!has_ended(child) && std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(kPollInterval);
  kill(-child, SIGKILL);
  reap(child);
  return interrupted_error();
}

Result<int> wait_for(pid_t child, const std::function<bool()>& tick) {
  for (int polls = 0;; ++polls) {
    if (has_ended(child)) return reap(child);
    if (tick && polls % kPollsPerTick == 0 && !tick()) return stop(child);
    std::this_thread::sleep_for(kPollInterval);
  }
}

}  // namespace

Result<std::string> find_program(const std::string& name) {
  const char* variable = std::getenv("PATH");
  std::string_view list = variable != nullptr ? variable : "/usr/local/bin:/usr/bin:/bin";
  while (!list.empty()) {
    const std::string_view folder = list.substr(0, list.find(':'));
    list.remove_prefix(std::min(folder.size() + 1, list.size()));
    if (!folder.starts_with('/')) continue;
    std::string path = std::string(folder) + "/" + name;
    std::error_code ignored;
    if (access(path.c_str(), X_OK) == 0 && std::filesystem::is_regular_file(path, ignored)) return path;
  }
  return Error{ErrorCode::kNotFound, "there is no program " + name + " in a folder that PATH names in full"};
}

Result<int> run_child(const ChildOptions& options) {
  ROWMAX_TRY(program, find_program(options.arguments.at(0)));
  std::vector<std::string> arguments = options.arguments;
  std::vector<std::string> environment = child_environment(options);
  const std::vector<char*> argument_list = pointers(arguments), variable_list = pointers(environment);
  int report[2];
  if (pipe2(report, O_CLOEXEC) != 0) return Error{ErrorCode::kIo, std::string("pipe: ") + std::strerror(errno)};
  const Start start = {program.c_str(),
                       argument_list.data(),
                       variable_list.data(),
                       options.folder.c_str(),
                       options.log.c_str(),
                       report[1],
                       getpid()};
  const pid_t child = fork();
  if (child == 0) become(start);
  const int fork_code = errno;
  close(report[1]);
  int code = 0;
  if (child < 0) {
    code = fork_code;
  } else {
    setpgid(child, child);  // as the child does: whoever comes first
    ssize_t got = 0;
    while ((got = read(report[0], &code, sizeof code)) < 0 && errno == EINTR) {
    }
    if (got != sizeof code) code = 0;
    if (code != 0) reap(child);
  }
  close(report[0]);
  if (code != 0) return Error{ErrorCode::kIo, program + " cannot be started: " + std::strerror(code)};
  return wait_for(child, options.tick);
}

}  // namespace rowmax::store
