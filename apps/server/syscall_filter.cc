#include "apps/server/syscall_filter.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <utility>

namespace rowmax::server {
namespace {

#if defined(__x86_64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__) && defined(__AARCH64EL__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#else
constexpr std::uint32_t kArchitecture = 0;
#endif

// Programs are small: a call is a comparison and what it is answered, and nothing jumps further than over its own part.
class Program {
 public:
  void load(std::size_t offset) { add(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(offset)); }
  void answer(std::uint32_t action) { add(BPF_RET | BPF_K, action); }
  void answer_if(std::uint16_t comparison, std::uint32_t value, std::uint32_t action) {
    jump(comparison, value, 0, 1);
    answer(action);
  }

  // A call, whatever its arguments are.
  void allow(long number) { answer_if(BPF_JEQ, static_cast<std::uint32_t>(number), SECCOMP_RET_ALLOW); }
  void allow(std::initializer_list<long> numbers) {
    for (const long number : numbers) allow(number);
  }
  // A call whose arguments pass the tests, which `write_tests` makes: each answers kDenied, or goes on.
  template <class Tests>
  void allow_if(long number, Tests write_tests) {
    const std::size_t begin = code_.size();
    jump(BPF_JEQ, static_cast<std::uint32_t>(number), 0, 0);
    write_tests();
    answer(SECCOMP_RET_ALLOW);
    code_[begin].jf = static_cast<std::uint8_t>(code_.size() - begin - 1);
  }
  // The lower half of an argument: all that the kernel looks at in flags and descriptors.
  void argument(int index) { load(offsetof(seccomp_data, args) + 8 * static_cast<std::size_t>(index)); }
  void upper_half(int index) { load(offsetof(seccomp_data, args) + 8 * static_cast<std::size_t>(index) + 4); }
  void deny_if_any(std::uint32_t bits) { answer_if(BPF_JSET, bits, kDenied); }
  void deny_unless(std::initializer_list<std::uint32_t> values) {
    auto left = static_cast<std::uint8_t>(values.size());
    for (const std::uint32_t value : values) jump(BPF_JEQ, value, left--, 0);
    answer(kDenied);
  }
  void deny_unless_any(std::uint32_t bits) {
    jump(BPF_JSET, bits, 1, 0);
    answer(kDenied);
  }

  void end_unless(std::uint32_t value) {
    jump(BPF_JEQ, value, 1, 0);
    answer(SECCOMP_RET_KILL_PROCESS);
  }

  static constexpr std::uint32_t kDenied = SECCOMP_RET_ERRNO | EPERM;
  std::vector<sock_filter> take() { return std::move(code_); }

 private:
  void add(std::uint16_t code, std::uint32_t value) { code_.push_back({code, 0, 0, value}); }
  void jump(std::uint16_t comparison, std::uint32_t value, std::uint8_t if_so, std::uint8_t if_not) {
    code_.push_back({static_cast<std::uint16_t>(BPF_JMP | BPF_K | comparison), if_so, if_not, value});
  }

  std::vector<sock_filter> code_;
};

void allow_computing(Program& program, const SyscallFilterOptions& options) {
  program.allow({__NR_futex,
                 __NR_sched_yield,
                 __NR_clock_gettime,
                 __NR_clock_nanosleep,
                 __NR_nanosleep,
                 __NR_munmap,
                 __NR_mremap,
                 __NR_madvise,
                 __NR_brk,
                 __NR_getrandom,
                 __NR_getpid,
                 __NR_gettid,
                 __NR_sched_getaffinity,
                 __NR_getcpu,
                 __NR_rt_sigaction,
                 __NR_rt_sigprocmask,
                 __NR_rt_sigreturn,
                 __NR_sigaltstack,
                 __NR_restart_syscall,
                 __NR_exit,
                 __NR_exit_group,
                 __NR_gettimeofday,
                 __NR_getrusage,
                 __NR_membarrier});
  // Memory, but no code, and nothing of files.
  program.allow_if(__NR_mmap, [&] {
    program.argument(2);
    program.deny_if_any(PROT_EXEC);
    if (options.files) return;
    program.argument(3);
    program.deny_unless_any(MAP_ANONYMOUS);
  });
  program.allow_if(__NR_mprotect, [&] {
    program.argument(2);
    program.deny_if_any(PROT_EXEC);
  });
  // Signals to itself alone (abort).
  program.allow_if(__NR_tgkill, [&] {
    program.argument(0);
    program.deny_unless({static_cast<std::uint32_t>(options.process)});
  });
}

void allow_clients(Program& program) {
  program.allow({__NR_read, __NR_write, __NR_readv, __NR_writev, __NR_recvfrom, __NR_accept4, __NR_shutdown, __NR_close,
                 __NR_epoll_ctl, __NR_epoll_pwait, __NR_ppoll, __NR_fstat, __NR_timerfd_settime, __NR_timerfd_gettime});
#ifdef __NR_epoll_wait
  program.allow({__NR_epoll_wait, __NR_poll, __NR_time});  // of x86-64 alone
#endif
  // To whom it is connected with: neither an address nor TCP's Fast Open, which would connect.
  program.allow_if(__NR_sendto, [&] {
    program.argument(3);
    program.deny_if_any(MSG_FASTOPEN);
    program.argument(4);
    program.deny_unless({0});
    program.upper_half(4);
    program.deny_unless({0});
  });
  program.allow_if(__NR_setsockopt, [&] {
    program.argument(1);
    program.deny_unless({IPPROTO_TCP});
    program.argument(2);
    program.deny_unless({TCP_NODELAY});
  });
  program.allow_if(__NR_ioctl, [&] {
    program.argument(1);
    program.deny_unless({FIONBIO, FIONREAD});
  });
  program.allow_if(__NR_fcntl, [&] {
    program.argument(1);
    program.deny_unless({F_GETFL, F_SETFL, F_GETFD, F_SETFD});
  });
}

void allow_removing(Program& program) {
  program.allow(__NR_unlinkat);
#ifdef __NR_unlink
  program.allow(__NR_unlink);
#endif
}

void allow_files(Program& program) {
  program.allow({__NR_openat, __NR_newfstatat, __NR_statx, __NR_lseek, __NR_pread64, __NR_pwrite64, __NR_fsync,
                 __NR_fdatasync, __NR_fallocate, __NR_ftruncate, __NR_mkdirat, __NR_renameat2, __NR_getdents64,
                 __NR_flock, __NR_fstatfs, __NR_msync, __NR_utimensat});
#ifdef __NR_open
  program.allow({__NR_open, __NR_stat, __NR_lstat, __NR_mkdir, __NR_rename, __NR_rmdir});
#endif
#ifdef __NR_renameat
  program.allow(__NR_renameat);
#endif
}

}  // namespace

std::vector<sock_filter> syscall_filter(const SyscallFilterOptions& options) {
  Program program;
  if (kArchitecture == 0) return program.take();
  program.load(offsetof(seccomp_data, arch));
  program.end_unless(kArchitecture);
  program.load(offsetof(seccomp_data, nr));
#ifdef __x86_64__
  program.answer_if(BPF_JGE, 0x40000000, SECCOMP_RET_KILL_PROCESS);  // the numbers of x32
#endif
  allow_computing(program, options);
  allow_clients(program);
  if (options.files || options.removes) allow_removing(program);
  if (options.files) {
    allow_files(program);
  } else {
    // fstat(), by which a mapped model is seen to be cut, is this call in the C library. A path could be asked for, too:
    // no filter can see that it is empty. It tells sizes and times, and opens nothing.
    program.allow_if(__NR_newfstatat, [&] {
      program.argument(3);
      program.deny_unless({AT_EMPTY_PATH});
    });
  }
  program.answer(Program::kDenied);
  return program.take();
}

}  // namespace rowmax::server
