#include "apps/cli/subprocess.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <string_view>
#include <thread>

#include "apps/cli/interrupt.h"

namespace rowmax::cli {
namespace {

constexpr auto kPollInterval = std::chrono::milliseconds(20);
constexpr int kPollsPerTick = 5;

std::vector<std::string> child_environment(const ChildOptions& options) {
  std::vector<std::string> variables;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    bool replaced = false;
    for (const auto& [name, value] : options.variables) {
      replaced = replaced || (text.starts_with(name) && text.substr(name.size()).starts_with('='));
    }
    if (!replaced) variables.emplace_back(text);
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

Result<int> wait_for(pid_t child, const std::function<void()>& tick) {
  for (int polls = 0;; ++polls) {
    int status = 0;
    const pid_t ended = waitpid(child, &status, WNOHANG);
    if (ended == child) {
      if (interrupted()) return Error{ErrorCode::kCancelled, "interrupted"};
      return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    if (interrupted()) {
      kill(child, SIGTERM);
      waitpid(child, &status, 0);
      return Error{ErrorCode::kCancelled, "interrupted"};
    }
    if (tick && polls % kPollsPerTick == 0) tick();
    std::this_thread::sleep_for(kPollInterval);
  }
}

}  // namespace

Result<int> run_child(const ChildOptions& options) {
  std::vector<std::string> arguments = options.arguments;
  std::vector<std::string> environment = child_environment(options);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, options.log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  pid_t child = 0;
  const int code = posix_spawnp(&child, arguments[0].c_str(), &actions, nullptr, pointers(arguments).data(),
                                pointers(environment).data());
  posix_spawn_file_actions_destroy(&actions);
  if (code == ENOENT) return Error{ErrorCode::kNotFound, "there is no program " + arguments[0]};
  if (code != 0) return Error{ErrorCode::kIo, arguments[0] + " cannot be started: " + std::strerror(code)};
  return wait_for(child, options.tick);
}

}  // namespace rowmax::cli
