// A few threads that read requests (templates, tokenizers), so that the network's thread need not.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace rowmax::server {

class Workers {
 public:
  explicit Workers(int n_threads);
  ~Workers();  // what waits is dropped, what runs is waited for
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  void add(std::function<void()> work);  // in the order in which they come; must not throw

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> waiting_;
  bool ended_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace rowmax::server
