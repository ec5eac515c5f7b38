// Lines for a reader who may be slow, or not read at all: a thread of its own writes them, so that nobody else waits.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <thread>

namespace rowmax::cli {

class LogWriter {
 public:
  // Writes to the descriptor, which stays its caller's. Of lines that wait no more than most_bytes are kept, or one that
  // is longer; what comes beyond is dropped and counted, and the next line that is kept has {"event":"dropped","lines":N}
  // before it.
  LogWriter(int descriptor, std::size_t most_bytes);
  ~LogWriter();  // after finish()
  LogWriter(const LogWriter&) = delete;
  LogWriter& operator=(const LogWriter&) = delete;

  // Waits at most a second for what was not written yet. What is added later is dropped.
  void finish();
  void add(std::string line);  // with its line end; from any thread; never waits for the reader

 private:
  struct State;
  std::shared_ptr<State> state_;  // the thread's, too, which may outlive this while it waits for the reader
  std::thread thread_;
};

}  // namespace rowmax::cli
