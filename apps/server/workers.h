// A few threads that read requests (templates, tokenizers), so that the network's thread need not.
#pragma once

#include <chrono>
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
  ~Workers();  // what waits is dropped, what runs is waited for, however long
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  // In the order in which they come. Work of which nobody wants the outcome any more by the time it would be begun is
  // dropped, and so it is when other work comes, so that none of it is held behind work that takes long. Neither may throw.
  void add(std::function<void()> work, std::function<bool()> unwanted);
  // What waits is dropped, and nothing may be added any more. What runs is waited for as long as this; how many threads
  // run something then, which cannot be stopped. Where it is more than none, whoever does not want to wait ends the process.
  int end(std::chrono::milliseconds most);

 private:
  struct Waiting {
    std::function<void()> work;
    std::function<bool()> unwanted;
  };
  void run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Waiting> waiting_;
  bool ended_ = false;
  int n_running_ = 0;
  std::vector<std::thread> threads_;
};

}  // namespace rowmax::server
