#include "apps/cli/options.h"

#include <gtest/gtest.h>

#include <iterator>
#include <sstream>

#include "apps/cli/command_line.h"

namespace rowmax::cli {
namespace {

TEST(Options, IntegerListsNameTheFlagAndTheBadPart) {
  const auto good = parse_integers("0, 4096,-1", "--depth", -1, 5000);
  ASSERT_TRUE(good.ok());
  EXPECT_EQ(*good, (std::vector<std::int64_t>{0, 4096, -1}));
  for (const char* bad : {"", ",", "1,", "x", "1;2", "1.5", "5001", "-2", "99999999999999999999", "0x10"}) {
    const auto result = parse_integers(bad, "--depth", -1, 5000);
    ASSERT_FALSE(result.ok()) << bad;
    EXPECT_EQ(result.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(result.error().message.find("--depth"), std::string::npos);
  }
}

TEST(Options, LogitBiasIsAListOfPairs) {
  SamplingFlags flags;
  flags.logit_bias = "5=-2.5,7=1e1";
  const auto params = sampling_params(flags);
  ASSERT_TRUE(params.ok());
  ASSERT_EQ(params->logit_bias.size(), 2u);
  EXPECT_EQ(params->logit_bias[0], std::make_pair(engine::TokenId{5}, -2.5f));
  EXPECT_EQ(params->logit_bias[1], std::make_pair(engine::TokenId{7}, 10.0f));
  for (const char* bad : {"5", "=1", "5=", "a=1", "5=1,", "5=1=2"}) {
    flags.logit_bias = bad;
    EXPECT_FALSE(sampling_params(flags).ok()) << bad;
  }
}

TEST(Options, SetIsKeyAndValue) {
  EngineFlags flags;
  flags.overrides = {"a.b=1=2", "c="};
  const auto overrides = key_overrides(flags);
  ASSERT_TRUE(overrides.ok());
  EXPECT_EQ(*overrides, (engine::KeyOverrides{{"a.b", "1=2"}, {"c", ""}}));
  for (const char* bad : {"", "x", "=1"}) {
    flags.overrides = {bad};
    EXPECT_FALSE(key_overrides(flags).ok()) << bad;
  }
}

TEST(Options, GreedyOverridesTheTemperature) {
  SamplingFlags flags;
  flags.params.temperature = 1.5f;
  flags.greedy = true;
  EXPECT_EQ(sampling_params(flags)->temperature, 0.0f);
}

Status parse(CommandLine& line, const std::string& arguments) {
  std::istringstream in("x " + arguments);
  std::vector<std::string> words{std::istream_iterator<std::string>(in), {}};
  const auto parsed = line.parse(words);
  return parsed.ok() ? Status() : Status(parsed.error());
}

TEST(Options, NumbersOutsideTheirTypeAreRefused) {
  for (const char* bad :
       {"-t -1", "-t 1025", "-t many", "-n -2", "-n 1e3", "-c -1", "-c 1.5", "--kv-type q8", "--activations f64",
        "--seed -1", "--seed 18446744073709551616", "--seed 1.0", "--top-k 99999999999", "--temp hot", "--temp 1e99"}) {
    CommandLine line("", "");
    Flags& table = line.add_command("x", "");
    EngineFlags engine;
    SessionFlags session;
    GenerationFlags generation;
    add_engine_flags(table, engine);
    add_session_flags(table, session);
    add_generation_flags(table, generation);
    const Status status = parse(line, bad);
    ASSERT_FALSE(status.ok()) << bad;
    EXPECT_EQ(status.error().code, ErrorCode::kInvalidArgument);
    const std::string value(std::string_view(bad).substr(std::string_view(bad).find(' ') + 1));
    EXPECT_NE(status.error().message.find("found \"" + value + "\""), std::string::npos) << status.error().message;
    EXPECT_NE(status.error().message.find("; see rowmax x --help"), std::string::npos) << status.error().message;
    EXPECT_EQ(generation.sampling.params.seed, GenerationFlags().sampling.params.seed);
  }
}

TEST(Options, StopStringsRepeatAndDoNotSwallowTheRest) {
  CommandLine line("", "");
  Flags& table = line.add_command("x", "");
  GenerationFlags flags;
  std::vector<std::string> words;
  add_generation_flags(table, flags);
  table.add_words("prompt", words, "");
  ASSERT_TRUE(parse(line, "--stop a one --seed 18446744073709551615 two --stop b three").ok());
  EXPECT_EQ(flags.stop, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(words, (std::vector<std::string>{"one", "two", "three"}));
  EXPECT_EQ(flags.sampling.params.seed, 18446744073709551615u);
}

}  // namespace
}  // namespace rowmax::cli
