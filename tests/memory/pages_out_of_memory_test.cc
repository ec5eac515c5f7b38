// No memory for pages that are taken back from elsewhere: each allocation of append_pages() fails once. The sequence then
// holds what it held, and what is computed is what it always is.
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "rowmax/engine/session.h"
#include "tests/memory/test_failing_memory.h"
#include "tools/make_model/synthetic/synthetic_model.h"

namespace rowmax::memory_test {
namespace {

using namespace engine;

constexpr std::int64_t kPages = 4;

std::string logits_of(Session& session, SequenceId sequence, std::span<const TokenId> tokens) {
  const BatchItem item{.sequence = sequence, .tokens = tokens};
  EXPECT_TRUE(session.forward({&item, 1}).ok());
  const auto row = session.logits(0);
  return {reinterpret_cast<const char*>(row.data()), row.size_bytes()};
}

TEST(PagesOutOfMemory, Appending) {
  SerialExecutor executor;
  std::vector<TokenId> tokens;
  for (TokenId i = 0; i < kPages * kPrefixPageTokens + 5; ++i) tokens.push_back(10 + (i * 37) % 40);
  for (const char* arch : {"llama", "gemma2", "qwen35"}) {
    const std::vector<std::byte> bytes = std::move(tools::synthetic_model_bytes(tools::odd_spec(arch))).value();
    ModelOptions options;
    options.isa = supported_isas().back();
    const Model model =
        std::move(Model::load(std::move(GgufFile::parse(bytes, "synthetic")).value(), options, executor)).value();
    SessionOptions session_options;
    session_options.max_sequences = 2;
    const auto open = [&] { return std::move(Session::create(model, session_options, executor)).value(); };
    Session from = open();
    const SequenceId computed = *from.open();
    const std::string want = logits_of(from, computed, tokens);
    std::vector<PageParts> parts;
    std::vector<std::vector<std::byte>> pages;
    for (std::int64_t page = 0; page < kPages; ++page) {
      parts.push_back(from.page_parts(computed, page));
      pages.emplace_back(static_cast<std::size_t>(page_bytes(from.page_layout(), parts.back())));
      from.copy_page(computed, page, parts.back(), pages.back());
    }
    std::int64_t state_bytes = 0;
    for (const PageParts each : parts) state_bytes += page_bytes(from.page_layout(), each & kStatePart);
    const PageReader reader = [&](std::size_t page, std::span<std::byte> out) {
      std::memcpy(out.data(), pages[page].data(), out.size());
      return true;
    };
    const auto whole = std::span(tokens).first(static_cast<std::size_t>(kPages * kPrefixPageTokens));
    fail_each_allocation(arch, [&](Fault& fault) -> Result<std::string> {
      Session session = open();
      const SequenceId sequence = *session.open();
      const auto held = fault.during([&] { return session.append_pages(sequence, whole, parts, reader); });
      // A state that could not be kept for others is missing there, and nowhere else.
      const bool lacks_states = session.memory().checkpoint_bytes < state_bytes;
      EXPECT_EQ(std::ssize(session.tokens(sequence)), held.ok() ? kPages * kPrefixPageTokens : 0);
      const auto left = session.tokens(sequence).size();
      const std::string got = logits_of(session, sequence, std::span(tokens).subspan(left));
      EXPECT_EQ(got, want);
      const SequenceId other = *session.open();
      const auto found = static_cast<std::size_t>(*session.reuse(other, tokens));
      EXPECT_EQ(logits_of(session, other, std::span(tokens).subspan(found)), want);
      if (!held.ok()) return held.error();
      if (lacks_states) return Error::out_of_memory();
      return got;
    });
  }
}

}  // namespace
}  // namespace rowmax::memory_test
