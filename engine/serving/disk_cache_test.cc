#include "rowmax/engine/disk_cache.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "engine/serving/test_folder.h"
#include "engine/serving/test_requests.h"

namespace rowmax::engine::disk_cache_test {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kBytes = std::int64_t{64} << 20;

RecordedRequest generation(std::vector<TokenId> prompt, std::int64_t max_tokens) {
  GenerationRequest work;
  work.options.max_tokens = max_tokens;
  work.options.ignore_eos = true;
  work.options.sampling.temperature = 1;
  work.options.log_probability = true;
  return {"", std::move(prompt), work};
}

std::string content(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_content(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

// A server's life: a session, its disk cache and its scheduler.
class Life {
 public:
  Life(const Model& model, const std::string& folder, std::int64_t bytes = kBytes, SessionOptions options = {},
       std::string version = "test", std::int64_t step_rows = 240)
      : session_(std::move(Session::create(model, sized(options), test_executor())).value()),
        disk_(std::move(DiskCache::open({.folder = folder,
                                         .bytes = bytes,
                                         .version = std::move(version),
                                         .retry_after = std::chrono::milliseconds(0),
                                         .listener = [this](const DiskCacheEvent& event) { events.push_back(event); }},
                                        session_, sized(options)))
                  .value()),
        scheduler_(std::move(Scheduler::create(session_, {.step_rows = step_rows, .disk = &disk_})).value()) {}

  Heard run(const RecordedRequest& request) {
    Heard heard;
    EXPECT_TRUE(scheduler_.submit(request_of(request, std::make_unique<Recorder>(heard, request.choices()))).ok());
    while (scheduler_.step()) {
    }
    return heard;
  }
  DiskCache& disk() { return disk_; }
  const Session& session() const { return session_; }

  std::vector<DiskCacheEvent> events;

 private:
  static SessionOptions sized(SessionOptions options) {
    options.context = 512;
    options.max_sequences = 2;
    return options;
  }
  Session session_;
  DiskCache disk_;
  Scheduler scheduler_;
};

class Disk : public testing::TestWithParam<const char*> {
 protected:
  const Model& model_ = test_model(GetParam());
  const TemporaryFolder parent_;
  const std::string folder_ = parent_.path() + "/pages";
  const RecordedRequest request_ = generation(test_prompt(200, 1), 8);
  const std::string truth_ = text_of(alone(model_, request_));
  static constexpr std::int64_t kWhole = 192;  // what the request can find of its prompt

  void fill() {
    Life life(model_, folder_);
    const Heard heard = life.run(request_);
    EXPECT_EQ(text_of(heard.given), truth_);
    EXPECT_EQ(heard.start.cached_tokens, 0);
  }
  std::vector<fs::path> files() const {
    std::vector<fs::path> all;
    for (const auto& each : fs::directory_iterator(folder_)) all.push_back(each.path());
    std::ranges::sort(all);
    return all;
  }
  // Another life, whatever lies in the folder: the answer is the same.
  std::int64_t disk_tokens(std::vector<DiskCacheEvent>* events = nullptr, std::int64_t damaged = -1) {
    Life life(model_, folder_);
    const Heard heard = life.run(request_);
    EXPECT_EQ(text_of(heard.given), truth_);
    if (events != nullptr) *events = life.events;
    if (damaged >= 0) {
      EXPECT_EQ(heard.start.damaged_pages, damaged);
    }
    return heard.start.disk_tokens;
  }
};
// Dense, with windows of 37 tokens, with windows and without, recurrent, latent attention.
INSTANTIATE_TEST_SUITE_P(Models, Disk, testing::Values("llama", "gemma2", "gemma3", "qwen35", "deepseek2"),
                         [](const auto& info) { return std::string(info.param); });

TEST_P(Disk, ARestartReadsWhatWasWritten) {
  fill();
  EXPECT_EQ(files().size(), 3u);  // 200 tokens, and 7 of the answer
  EXPECT_EQ(disk_tokens(), kWhole);
  // A prompt that begins alike goes on from where it can; its own pages are kept, too.
  std::vector<TokenId> prompt = test_prompt(200, 1);
  prompt.resize(150);
  for (TokenId i = 0; i < 90; ++i) prompt.push_back(20 + i);
  const RecordedRequest other = generation(prompt, 5);
  const std::string truth = text_of(alone(model_, other));
  for (const std::int64_t most : {128, 192}) {
    Life life(model_, folder_);
    const Heard heard = life.run(other);
    EXPECT_EQ(text_of(heard.given), truth);
    EXPECT_LE(heard.start.disk_tokens, most);
    EXPECT_TRUE(most == 128 || heard.start.disk_tokens == 192);
  }
  EXPECT_EQ(disk_tokens(), kWhole);
}

// A prompt in pieces leaves a state behind each; of these the last one is kept.
TEST_P(Disk, OneStateAPrompt) {
  fill();
  std::vector<std::uintmax_t> sizes;
  for (const fs::path& path : files()) sizes.push_back(fs::file_size(path));
  const std::uintmax_t least = *std::ranges::min_element(sizes);
  const bool has_state = std::string(GetParam()) == "qwen35";
  EXPECT_EQ(std::ranges::count_if(sizes, [&](std::uintmax_t size) { return size > least; }), has_state ? 1 : 0);
  fs::remove_all(folder_);
  {
    Life life(model_, folder_, kBytes, {}, "test", 70);
    EXPECT_EQ(text_of(life.run(request_).given), truth_);
  }
  std::vector<std::uintmax_t> in_pieces;
  for (const fs::path& path : files()) in_pieces.push_back(fs::file_size(path));
  EXPECT_EQ(in_pieces, sizes);
  EXPECT_EQ(disk_tokens(), kWhole);
}

TEST_P(Disk, MemoryComesBeforeTheDisk) {
  fill();
  Life life(model_, folder_);
  EXPECT_EQ(life.run(request_).start.disk_tokens, kWhole);
  const Heard again = life.run(request_);
  EXPECT_EQ(again.start.disk_tokens, 0);
  EXPECT_EQ(again.start.cached_tokens, std::ssize(request_.prompt) - 1);
  EXPECT_EQ(text_of(again.given), truth_);
  EXPECT_EQ(life.disk().statistics().saved_pages, 0);
}

// A page that is begun in memory gives way to the whole ones that the disk has, of which it is the beginning.
TEST_P(Disk, APageThatIsBegunInMemoryGivesWay) {
  fill();
  for (const int common : {1, 30, 64, 100}) {
    Life life(model_, folder_);
    std::vector<TokenId> prompt(request_.prompt.begin(), request_.prompt.begin() + common);
    prompt.push_back(199);
    life.run(generation(prompt, 3));
    const Heard heard = life.run(request_);
    EXPECT_EQ(heard.start.cached_tokens, kWhole) << common;
    EXPECT_LE(heard.start.disk_tokens, kWhole) << common;
    EXPECT_GE(heard.start.disk_tokens, kWhole - common / 64 * 64) << common;
    EXPECT_EQ(text_of(heard.given), truth_) << common;
  }
}

TEST_P(Disk, EachRegionOfAFileIsChecked) {
  fill();
  const std::vector<fs::path> all = files();
  for (const fs::path& path : all) {
    const std::string good = content(path);
    // Magic, format, parts, digest, key, size, tokens, the parts' bytes, the sum.
    for (const std::size_t at : {std::size_t{0}, std::size_t{8}, std::size_t{12}, std::size_t{16}, std::size_t{50},
                                 std::size_t{74}, std::size_t{80}, std::size_t{335}, std::size_t{336}, good.size() / 2,
                                 good.size() - 9, good.size() - 8, good.size() - 1}) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ 0x10);
      write_content(path, bad);
      std::vector<DiskCacheEvent> events;
      EXPECT_LT(disk_tokens(&events, 1), kWhole) << at;
      ASSERT_EQ(events.size(), 1u) << at;
      EXPECT_EQ(events[0].kind, DiskCacheEvent::Kind::kDamaged);
      EXPECT_EQ(events[0].file, path.filename());
      EXPECT_EQ(content(path), good) << at;  // computed again, the same bytes
    }
    for (const std::size_t size : {std::size_t{0}, std::size_t{7}, std::size_t{336}, good.size() - 1}) {
      write_content(path, good.substr(0, size));
      EXPECT_LT(disk_tokens(), kWhole);
      EXPECT_EQ(content(path), good);
    }
    write_content(path, good + "x");
    EXPECT_LT(disk_tokens(), kWhole);
    fs::remove(path);
    EXPECT_LT(disk_tokens(), kWhole);
    EXPECT_EQ(content(path), good);
  }
  EXPECT_EQ(disk_tokens(), kWhole);
}

// One request heals all of its prompt, not the first page alone.
TEST_P(Disk, WhatLiesBehindDamageIsWrittenAgain) {
  fill();
  std::vector<std::pair<fs::path, std::string>> good;
  for (const fs::path& path : files()) {
    good.emplace_back(path, content(path));
    write_content(path, good.back().second.substr(0, 100));
  }
  EXPECT_LT(disk_tokens(), kWhole);
  for (const auto& [path, bytes] : good) EXPECT_EQ(content(path), bytes);
  EXPECT_EQ(disk_tokens(), kWhole);
}

TEST_P(Disk, AFileOfAnotherNameIsNotTaken) {
  fill();
  const std::vector<fs::path> all = files();
  const std::string first = content(all[0]), last = content(all[2]);
  fs::remove(all[2]);
  fs::rename(all[0], all[2]);
  write_content(all[0], last);
  EXPECT_LT(disk_tokens(), kWhole);
  // Links, folders and pipes under a page's name.
  for (int kind = 0; kind < 3; ++kind) {
    fs::rename(all[1], parent_.path() + "/aside");
    if (kind == 0) fs::create_symlink(parent_.path() + "/aside", all[1]);
    if (kind == 1) fs::create_directory(all[1]);
    if (kind == 2) {
      ASSERT_EQ(::mkfifo(all[1].c_str(), 0600), 0);
    }
    EXPECT_LT(disk_tokens(), kWhole);
    fs::remove_all(all[1]);
    fs::rename(parent_.path() + "/aside", all[1]);
  }
}

TEST_P(Disk, OtherNumbersAreOtherFiles) {
  fill();
  const auto found = [&](Life life) {
    const DiskCacheStatistics before = life.disk().statistics();
    EXPECT_EQ(before.foreign_files, before.files);
    EXPECT_GT(before.foreign_files, 0);
    return life.run(request_).start.disk_tokens;
  };
  SessionOptions floats;
  floats.kv_type = KvType::kF32;
  EXPECT_EQ(found(Life(model_, folder_, kBytes, floats)), 0);
  SessionOptions exact;
  exact.activations = Activations::kF32;
  SessionOptions quantised;
  quantised.activations = Activations::kInt8;
  EXPECT_EQ(found(Life(model_, folder_, kBytes, model_.options().activations == Activations::kF32 ? quantised : exact)),
            0);
  EXPECT_EQ(found(Life(model_, folder_, kBytes, {}, "another version")), 0);
}

TEST_P(Disk, TheFolderIsClosedAndBounded) {
  fill();
  struct stat facts = {};
  ASSERT_EQ(::stat(folder_.c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 0777, 0700u);
  std::int64_t page = 0;
  for (const fs::path& path : files()) {
    ASSERT_EQ(::stat(path.c_str(), &facts), 0);
    EXPECT_EQ(facts.st_mode & 0777, 0600u);
    page = std::max<std::int64_t>(page, facts.st_size);
  }
  EXPECT_EQ(page, page_file_bytes(Life(model_, folder_).session()));
  // Room for some pages: the least recently used ones go, and what was there too many goes at once.
  const std::int64_t bytes = std::max<std::int64_t>(4 * page, 1 << 16);
  for (int i = 2; i < 7; ++i) {
    Life life(model_, folder_, bytes);
    const RecordedRequest other = generation(test_prompt(200, i), 2);
    EXPECT_EQ(text_of(life.run(other).given), text_of(alone(model_, other)));
    life.disk().flush();
    std::int64_t total = 0;
    for (const fs::path& path : files()) total += static_cast<std::int64_t>(fs::file_size(path));
    EXPECT_LE(total, bytes);
    EXPECT_EQ(life.disk().statistics().bytes, total);
  }
  EXPECT_EQ(disk_tokens(), 0);
}

TEST_P(Disk, AFullDiskIsToldOnceAndSurvived) {
  Life life(model_, folder_);
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before = {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit little = before;
  little.rlim_cur = 1000;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &little), 0);
  const Heard heard = life.run(request_);
  life.disk().flush();
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_EQ(text_of(heard.given), truth_);
  EXPECT_EQ(life.disk().statistics().failed_writes, 3);
  EXPECT_EQ(files().size(), 0u);  // nothing unfinished is left
  ASSERT_EQ(life.events.size(), 1u);
  EXPECT_EQ(life.events[0].kind, DiskCacheEvent::Kind::kWriteFailed);
  EXPECT_EQ(text_of(life.run(request_).given), truth_);
  life.disk().flush();
  EXPECT_EQ(files().size(), 3u);
  ASSERT_EQ(life.events.size(), 2u);
  EXPECT_EQ(life.events[1].kind, DiskCacheEvent::Kind::kWritesAgain);
}

TEST_P(Disk, TwoLivesOnOneFolder) {
  std::vector<std::string> truths;
  for (int i = 0; i < 6; ++i) truths.push_back(text_of(alone(model_, generation(test_prompt(140, i % 3), 4))));
  const auto live = [&](int first) {
    Life life(model_, folder_, 1 << 18);  // little room: they take files from each other
    for (int turn = 0; turn < 12; ++turn) {
      const int i = (first + turn) % 6;
      EXPECT_EQ(text_of(life.run(generation(test_prompt(140, i % 3), 4)).given), truths[static_cast<std::size_t>(i)]);
    }
  };
  for (int round = 0; round < 2; ++round) {
    std::thread one([&] { live(0); }), two([&] { live(1); });
    one.join();
    two.join();
  }
}

TEST(DiskFolder, OthersMustNotLookInside) {
  const TemporaryFolder parent;
  const std::string folder = parent.path() + "/open";
  ASSERT_EQ(::mkdir(folder.c_str(), 0755), 0);
  SessionOptions options;
  options.context = 128;
  Session session = std::move(Session::create(test_model("llama"), options, test_executor())).value();
  const auto open = [&](const std::string& path, std::int64_t bytes = kBytes) {
    const auto opened = DiskCache::open({.folder = path, .bytes = bytes, .version = "test"}, session, options);
    return opened.ok() ? std::string() : opened.error().message;
  };
  EXPECT_NE(open(folder).find("chmod 700"), std::string::npos) << open(folder);
  ASSERT_EQ(::chmod(folder.c_str(), 0700), 0);
  EXPECT_EQ(open(folder), "");
  const std::int64_t page = page_file_bytes(session);
  EXPECT_EQ(open(folder, page), "");
  EXPECT_EQ(open(folder, page - 1), "expected room for a page of this model, " + std::to_string(page) +
                                        " bytes, found " + std::to_string(page - 1));
  write_content(parent.path() + "/file", "");
  EXPECT_NE(open(parent.path() + "/file"), "");
  EXPECT_NE(open(parent.path() + "/not/there"), "");
}

TEST(DiskFolder, WhatEndedProcessesLeftGoes) {
  const TemporaryFolder parent;
  ASSERT_EQ(::chmod(parent.path().c_str(), 0700), 0);
  write_content(parent.path() + "/.rowmax-1-2.tmp", "unfinished");
  write_content(parent.path() + "/notes.txt", "mine");
  write_content(parent.path() + "/0123.page", "no name of a page");
  SessionOptions options;
  options.context = 128;
  Session session = std::move(Session::create(test_model("llama"), options, test_executor())).value();
  ASSERT_TRUE(DiskCache::open({.folder = parent.path(), .bytes = kBytes, .version = "test"}, session, options).ok());
  EXPECT_FALSE(fs::exists(parent.path() + "/.rowmax-1-2.tmp"));
  EXPECT_TRUE(fs::exists(parent.path() + "/notes.txt"));
  EXPECT_TRUE(fs::exists(parent.path() + "/0123.page"));
}

}  // namespace
}  // namespace rowmax::engine::disk_cache_test
