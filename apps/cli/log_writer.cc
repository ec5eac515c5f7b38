#include "apps/cli/log_writer.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string_view>
#include <utility>

namespace rowmax::cli {
namespace {

constexpr auto kLastTime = std::chrono::seconds(1);

struct Entry {
  std::string text;
  std::uint64_t n_lines = 1;  // that it tells of: its own and those that were dropped before it
};

// False: a reader who is gone, or a full disk.
bool write_all(int descriptor, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(descriptor, text.data(), text.size());
    if (n >= 0) {
      text.remove_prefix(static_cast<std::size_t>(n));
    } else if (errno == EAGAIN) {  // whoever shares the descriptor made it so
      pollfd writable = {.fd = descriptor, .events = POLLOUT, .revents = 0};
      ::poll(&writable, 1, -1);
    } else if (errno != EINTR) {
      return false;
    }
  }
  return true;
}

}  // namespace

struct LogWriter::State {
  int descriptor;
  std::size_t most_bytes;
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Entry> waiting;
  std::size_t n_bytes = 0;  // of what waits, with what is being written
  std::uint64_t n_dropped = 0;
  bool ended = false, done = false;

  void run() {
    std::unique_lock lock(mutex);
    for (;;) {
      changed.wait(lock, [this] { return ended || !waiting.empty(); });
      if (waiting.empty()) break;
      const Entry entry = std::move(waiting.front());
      waiting.pop_front();
      lock.unlock();
      const bool written = write_all(descriptor, entry.text);
      lock.lock();
      n_bytes -= entry.text.size();
      if (!written) n_dropped += entry.n_lines;
    }
    done = true;
    changed.notify_all();
  }
};

LogWriter::LogWriter(int descriptor, std::size_t most_bytes) : state_(std::make_shared<State>()) {
  state_->descriptor = descriptor;
  state_->most_bytes = most_bytes;
  thread_ = std::thread([state = state_] { state->run(); });
}

LogWriter::~LogWriter() {
  finish();
  bool done = false;
  {
    const std::lock_guard lock(state_->mutex);
    done = state_->done;
  }
  // One that waits for a reader ends with the process.
  done ? thread_.join() : thread_.detach();
}

void LogWriter::finish() {
  std::unique_lock lock(state_->mutex);
  state_->ended = true;
  state_->changed.notify_all();
  state_->changed.wait_for(lock, kLastTime, [this] { return state_->done; });
}

void LogWriter::add(std::string line) {
  const std::lock_guard lock(state_->mutex);
  if (state_->ended) return;
  Entry entry{std::move(line)};
  if (state_->n_dropped > 0) {
    entry.text.insert(0, "{\"event\":\"dropped\",\"lines\":" + std::to_string(state_->n_dropped) + "}\n");
    entry.n_lines += state_->n_dropped;
  }
  const std::size_t size = entry.text.size();
  if (state_->n_bytes > 0 && (size > state_->most_bytes || state_->n_bytes > state_->most_bytes - size)) {
    ++state_->n_dropped;
    return;
  }
  state_->n_dropped = 0;
  state_->n_bytes += size;
  state_->waiting.push_back(std::move(entry));
  state_->changed.notify_all();
}

}  // namespace rowmax::cli
