#include "apps/cli/options.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace rowmax::cli {
namespace {

TEST(Options, TheFirstLongNameGivesTheVariable) {
  EXPECT_EQ(environment_name("-c,--ctx,--ctx-size"), "ROWMAX_CTX");
  EXPECT_EQ(environment_name("--top-k"), "ROWMAX_TOP_K");
}

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

void parse(CLI::App& app, const std::string& arguments) { app.parse(arguments, false); }

TEST(Options, FlagsBeatTheEnvironment) {
  EngineFlags engine;
  setenv("ROWMAX_THREADS", "3", 1);
  {
    CLI::App app;
    add_engine_flags(app, engine);
    parse(app, "");
    EXPECT_EQ(engine.threads, 3);
  }
  {
    CLI::App app;
    add_engine_flags(app, engine);
    parse(app, "-t 2");
    EXPECT_EQ(engine.threads, 2);
  }
  unsetenv("ROWMAX_THREADS");
}

TEST(Options, SwitchesReadTheEnvironmentToo) {
  setenv("ROWMAX_GREEDY", "1", 1);
  CLI::App app;
  SamplingFlags flags;
  add_sampling_flags(app, flags);
  parse(app, "");
  EXPECT_TRUE(flags.greedy);
  unsetenv("ROWMAX_GREEDY");
}

TEST(Options, NumbersOutsideTheirTypeAreRefused) {
  for (const char* bad : {"-t -1", "-t 1025", "-t many", "-n -2", "-n 1e3", "-c -1", "--kv-type q8",
                          "--activations f64", "--seed -1", "--top-k 99999999999", "--temp hot"}) {
    CLI::App app;
    EngineFlags engine;
    SessionFlags session;
    GenerationFlags generation;
    add_engine_flags(app, engine);
    add_session_flags(app, session);
    add_generation_flags(app, generation);
    EXPECT_THROW(parse(app, bad), CLI::ParseError) << bad;
  }
}

TEST(Options, StopStringsRepeatAndDoNotSwallowTheRest) {
  CLI::App app;
  GenerationFlags flags;
  std::string prompt;
  add_generation_flags(app, flags);
  app.add_option("prompt", prompt);
  parse(app, "--stop a --stop b hello");
  EXPECT_EQ(flags.stop, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(prompt, "hello");
}

}  // namespace
}  // namespace rowmax::cli
