// Each test gives up its rights in a process of its own, tries what an attacker would, and says how that went.
#include "apps/server/sandbox.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <mutex>
#include <thread>

#include "apps/server/landlock.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ROWMAX_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define ROWMAX_SANITIZED 1
#endif
#endif

namespace rowmax::server {
namespace {

// What was tried, one line each, "name: what came of it": "done" or the error.
using Attempts = std::function<void(std::string& said)>;

void tell(std::string& said, const char* name, bool done) {
  said += std::string(name) + ": " + (done ? "done" : std::strerror(errno)) + "\n";
}

int open_file(const std::string& path, int how) { return ::open(path.c_str(), how | O_CLOEXEC, 0600); }

// In a child that has entered the sandbox: by the thread that entered it, or by one that was there before.
std::string in_sandbox(const SandboxOptions& options, bool by_other_thread, const Attempts& attempts) {
  int ends[2];
  EXPECT_EQ(::pipe(ends), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(60);  // rather than to keep the others waiting
    std::mutex mutex;
    std::condition_variable changed;
    bool entered = false, finished = false;
    std::string said;
    std::thread other([&] {
      std::unique_lock lock(mutex);
      changed.wait(lock, [&] { return entered; });
      if (by_other_thread) attempts(said);
      finished = true;
      changed.notify_all();
    });
    const auto report = enter_sandbox(options);
    {
      std::unique_lock lock(mutex);
      if (!report.ok()) said = error_code_name(report.error().code) + (": " + report.error().message);
      if (report.ok() && !by_other_thread) attempts(said);
      entered = true;
      changed.notify_all();
      if (report.ok()) changed.wait(lock, [&] { return finished; });
    }
    (void)!::write(ends[1], said.data(), said.size());
    ::_exit(0);
  }
  ::close(ends[1]);
  std::string said;
  char block[4096];
  for (ssize_t n = 0; (n = ::read(ends[0], block, sizeof block)) > 0;) said.append(block, static_cast<std::size_t>(n));
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << said << status;
  return said;
}

// The same lines, whichever thread tries.
std::string in_sandbox(const SandboxOptions& options, const Attempts& attempts) {
  const std::string first = in_sandbox(options, false, attempts);
  EXPECT_EQ(first, in_sandbox(options, true, attempts));
  return first;
}

bool refuses_to_begin(const std::string& said) { return said.starts_with("unsupported: "); }

class SandboxTest : public testing::Test {
 protected:
  void SetUp() override {
#ifdef ROWMAX_SANITIZED
    GTEST_SKIP() << "sanitizers make calls of their own";
#endif
    const std::string said = in_sandbox({}, false, [](std::string&) {});
    if (refuses_to_begin(said)) GTEST_SKIP() << said;
    ASSERT_EQ(said, "");
    folder_ = testing::TempDir() + "rowmax_sandbox_" + std::to_string(::getpid());
    std::filesystem::create_directories(folder_ + "/allowed");
    std::filesystem::create_directories(folder_ + "/other");
    std::ofstream(folder_ + "/allowed/file") << "allowed";
    std::ofstream(folder_ + "/other/file") << "other";
    std::filesystem::create_symlink(folder_ + "/other/file", folder_ + "/allowed/link");
    std::filesystem::copy("/bin/true", folder_ + "/allowed/program");
  }
  void TearDown() override {
    std::error_code ignored;
    if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
  }

  std::string folder_;
};

void try_to_leave(std::string& said) {
  char* arguments[] = {const_cast<char*>("true"), nullptr};
  tell(said, "execve", ::execve("/bin/true", arguments, nullptr) == 0);
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  tell(said, "fork", child > 0);
  tell(said, "kill", ::kill(::getppid(), 0) == 0);
  tell(said, "socket", ::socket(AF_INET, SOCK_STREAM, 0) >= 0);
  tell(said, "code", ::mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
  void* const memory = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  tell(said, "memory", memory != MAP_FAILED);
  tell(said, "memory to code", ::mprotect(memory, 4096, PROT_READ | PROT_EXEC) == 0);
  tell(said, "memory to read", ::mprotect(memory, 4096, PROT_READ) == 0);
}

constexpr const char* kNobodyLeaves =
    "execve: Operation not permitted\nfork: Operation not permitted\n"
    "kill: Operation not permitted\nsocket: Operation not permitted\ncode: Operation not permitted\nmemory: done\n"
    "memory to code: Operation not permitted\nmemory to read: done\n";

TEST_F(SandboxTest, ProgramsConnectionsAndCodeAreGivenUp) { EXPECT_EQ(in_sandbox({}, try_to_leave), kNobodyLeaves); }

TEST_F(SandboxTest, FilesAreGivenUp) {
  const std::string said = in_sandbox({}, [&](std::string& text) {
    tell(text, "read", open_file(folder_ + "/allowed/file", O_RDONLY) >= 0);
    tell(text, "folder", open_file(folder_, O_RDONLY | O_DIRECTORY) >= 0);
    tell(text, "make", open_file(folder_ + "/new", O_WRONLY | O_CREAT) >= 0);
    tell(text, "remove", ::unlink((folder_ + "/allowed/file").c_str()) == 0);
    tell(text, "rename", ::rename((folder_ + "/allowed/file").c_str(), (folder_ + "/moved").c_str()) == 0);
    tell(text, "mkdir", ::mkdir((folder_ + "/made").c_str(), 0700) == 0);
    struct stat found = {};
    tell(text, "look up", ::stat((folder_ + "/allowed/file").c_str(), &found) == 0);
    tell(text, "look at what is open", ::fstat(STDIN_FILENO, &found) == 0);  // is the mapped model whole?
  });
  EXPECT_EQ(said,
            "read: Operation not permitted\nfolder: Operation not permitted\nmake: Operation not permitted\n"
            "remove: Operation not permitted\nrename: Operation not permitted\nmkdir: Operation not permitted\n"
            "look up: Operation not permitted\nlook at what is open: done\n");
  EXPECT_TRUE(std::filesystem::exists(folder_ + "/allowed/file"));
}

TEST_F(SandboxTest, SocketsThatAreThereTalkToTheirClientsAlone) {
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int idle = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int datagrams = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const auto* where = reinterpret_cast<const sockaddr*>(&address);
  ASSERT_EQ(::bind(listener, where, sizeof address), 0);
  ASSERT_EQ(::listen(listener, 8), 0);
  socklen_t size = sizeof address;
  ASSERT_EQ(::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size), 0);
  const int client = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_EQ(::connect(client, where, sizeof address), 0);
  const std::string said = in_sandbox({}, false, [&](std::string& text) {
    const int accepted = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    tell(text, "accept", accepted >= 0);
    tell(text, "send", ::send(accepted, "hello", 5, MSG_NOSIGNAL) == 5);
    tell(text, "connect", ::connect(idle, where, sizeof address) == 0);
    tell(text, "bind", ::bind(idle, where, sizeof address) == 0);
    tell(text, "fast open", ::sendto(idle, "a", 1, MSG_FASTOPEN, where, sizeof address) == 1);
    tell(text, "send to", ::sendto(datagrams, "a", 1, 0, where, sizeof address) == 1);
  });
  EXPECT_EQ(said,
            "accept: done\nsend: done\nconnect: Operation not permitted\nbind: Operation not permitted\n"
            "fast open: Operation not permitted\nsend to: Operation not permitted\n");
  char got[8] = {};
  EXPECT_EQ(::recv(client, got, sizeof got, 0), 5);
  EXPECT_STREQ(got, "hello");
  for (const int each : {listener, idle, datagrams, client}) ::close(each);
}

TEST_F(SandboxTest, OneDirectoryMayStay) {
  if (landlock_version() == 0) GTEST_SKIP() << "no Landlock";
  const std::string allowed = folder_ + "/allowed", other = folder_ + "/other";
  const std::string said = in_sandbox({.directory = allowed}, [&](std::string& text) {
    tell(text, "read", open_file(allowed + "/file", O_RDONLY) >= 0);
    tell(text, "write", open_file(allowed + "/new", O_WRONLY | O_CREAT | O_TRUNC) >= 0);
    tell(text, "rename", ::rename((allowed + "/new").c_str(), (allowed + "/newer").c_str()) == 0);
    tell(text, "remove", ::unlink((allowed + "/newer").c_str()) == 0);
    tell(text, "read outside", open_file(other + "/file", O_RDONLY) >= 0);
    tell(text, "by ..", open_file(allowed + "/../other/file", O_RDONLY) >= 0);
    tell(text, "by a link", open_file(allowed + "/link", O_RDONLY) >= 0);
    tell(text, "write outside", open_file(other + "/new", O_WRONLY | O_CREAT) >= 0);
    tell(text, "remove outside", ::unlink((other + "/file").c_str()) == 0);
    tell(text, "move outside", ::rename((allowed + "/file").c_str(), (other + "/moved").c_str()) == 0);
    tell(text, "links", ::symlink("/etc/passwd", (allowed + "/mine").c_str()) == 0);
    const int program = open_file(allowed + "/program", O_RDONLY);
    tell(text, "code of a file", ::mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, program, 0) != MAP_FAILED);
    tell(text, "a file's bytes", ::mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE, program, 0) != MAP_FAILED);
  });
  EXPECT_EQ(said,
            "read: done\nwrite: done\nrename: done\nremove: done\nread outside: Permission denied\n"
            "by ..: Permission denied\nby a link: Permission denied\nwrite outside: Permission denied\n"
            "remove outside: Permission denied\nmove outside: Permission denied\nlinks: Operation not permitted\n"
            "code of a file: Operation not permitted\na file's bytes: done\n");
  EXPECT_EQ(in_sandbox({.directory = allowed}, try_to_leave), kNobodyLeaves);
}

TEST_F(SandboxTest, ASocketsPathIsRemovedAtTheEnd) {
  if (landlock_version() == 0) GTEST_SKIP() << "no Landlock";
  const std::string socket = folder_ + "/other/file", allowed = folder_ + "/allowed/file";
  const std::string said = in_sandbox({.socket_path = socket}, false, [&](std::string& text) {
    tell(text, "another", ::unlink(allowed.c_str()) == 0);
    tell(text, "read", open_file(socket, O_RDONLY) >= 0);
    tell(text, "socket", ::unlink(socket.c_str()) == 0);
  });
  EXPECT_EQ(said, "another: Permission denied\nread: Operation not permitted\nsocket: done\n");
}

TEST_F(SandboxTest, ADirectoryThatIsNotThereIsNamed) {
  if (landlock_version() == 0) GTEST_SKIP() << "no Landlock";
  const std::string none = folder_ + "/none";
  const std::string said = in_sandbox({.directory = none}, false, [](std::string&) {});
  EXPECT_EQ(said, "io: Landlock: " + none + ": No such file or directory");
}

}  // namespace
}  // namespace rowmax::server
