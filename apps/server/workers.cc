#include "apps/server/workers.h"

#include <utility>

namespace rowmax::server {

Workers::Workers(int n_threads) {
  for (int i = 0; i < n_threads; ++i) threads_.emplace_back([this] { run(); });
}

Workers::~Workers() {
  end(std::chrono::milliseconds(0));
  for (std::thread& thread : threads_) thread.join();
}

int Workers::end(std::chrono::milliseconds most) {
  std::unique_lock lock(mutex_);
  ended_ = true;
  waiting_.clear();
  changed_.notify_all();
  changed_.wait_for(lock, most, [this] { return n_running_ == 0; });
  return n_running_;
}

void Workers::add(std::function<void()> work, std::function<bool()> unwanted) {
  {
    const std::lock_guard lock(mutex_);
    if (ended_) return;
    std::erase_if(waiting_, [](const Waiting& each) { return each.unwanted(); });
    waiting_.push_back({std::move(work), std::move(unwanted)});
  }
  changed_.notify_one();
}

void Workers::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return ended_ || !waiting_.empty(); });
    if (ended_) return;
    Waiting next = std::move(waiting_.front());
    waiting_.pop_front();
    ++n_running_;
    lock.unlock();
    if (!next.unwanted()) next.work();
    next = {};  // what it holds goes before it counts as done
    lock.lock();
    --n_running_;
    if (ended_) changed_.notify_all();
  }
}

}  // namespace rowmax::server
