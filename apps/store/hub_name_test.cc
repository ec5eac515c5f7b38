#include "apps/store/hub_name.h"

#include <gtest/gtest.h>

namespace rowmax::store {
namespace {

TEST(HubName, Parts) {
  struct Case {
    const char *text, *repository, *revision, *file;
  };
  for (const Case& each :
       {Case{"hf:a/b", "a/b", "main", ""}, Case{"hf:a/b/c.gguf", "a/b", "main", "c.gguf"},
        Case{"hf:a/b/c/d.gguf", "a/b", "main", "c/d.gguf"}, Case{"hf:a/b.C_1-2@v1.0", "a/b.C_1-2", "v1.0", ""},
        Case{"hf:a/b@refs/pr/12/c.gguf", "a/b", "refs/pr/12", "c.gguf"},
        Case{"hf:a/b@v2/c@d.gguf", "a/b", "v2", "c@d.gguf"}}) {
    const auto name = parse_hub_name(each.text);
    ASSERT_TRUE(name.ok()) << name.error().message;
    EXPECT_EQ(name->repository, each.repository);
    EXPECT_EQ(name->revision, each.revision);
    EXPECT_EQ(name->file, each.file);
    EXPECT_EQ(to_string(*name), each.text);
  }
}

TEST(HubName, RefusesWhatIsNone) {
  for (const char* text : {"",          "hf",          "a/b",       "hf:",         "hf:a",        "hf:a/",
                           "hf:/b",     "hf:a/b/",     "hf:a/b//c", "hf:a/b/../c", "hf:./b",      "hf:a/..",
                           "hf:a/b--c", "hf:-a/b",     "hf:a/b@",   "hf:a/b@..",   "hf:a/b@refs", "hf:a/b@refs/pr",
                           "hf:a/b\n",  "hf:a/b/c\td", "hf:a b/c",  "hf:a/b/c\\d"}) {
    const auto name = parse_hub_name(text);
    ASSERT_FALSE(name.ok()) << text;
    EXPECT_EQ(name.error().code, ErrorCode::kInvalidArgument) << text;
  }
}

TEST(HubName, SafePaths) {
  for (const char* path : {"a", "a/b", "..a", "a..", "a b", ".a/b.c", "ü"}) EXPECT_TRUE(is_safe_path(path)) << path;
  for (const char* path : {"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/..", "a/./b", "a\nb", "a\\b", "\x7F"}) {
    EXPECT_FALSE(is_safe_path(path)) << path;
  }
  EXPECT_FALSE(is_safe_path(std::string(1001, 'a')));
}

TEST(HubName, KindsOfFiles) {
  EXPECT_TRUE(is_gguf("a.gguf"));
  EXPECT_TRUE(is_gguf("a.GGUF"));
  EXPECT_FALSE(is_gguf(".gguf"));
  EXPECT_FALSE(is_gguf("a.gguf.part"));
  EXPECT_TRUE(is_shard("a/b-00001-of-00003.gguf"));
  EXPECT_EQ(shard_count("a/b-00001-of-00123.gguf"), 123);
  EXPECT_EQ(shard_count("a/b.gguf"), 1);
  EXPECT_EQ(shard_name("a/b-00001-of-00123.gguf", 45), "a/b-00045-of-00123.gguf");
  EXPECT_EQ(shard_name("a/b.gguf", 1), "a/b.gguf");
  EXPECT_FALSE(is_shard("b-0001-of-00003.gguf"));
  EXPECT_FALSE(is_shard("b-00001-of-0000x.gguf"));
  EXPECT_TRUE(is_commit(std::string(40, 'f')));
  EXPECT_FALSE(is_commit(std::string(40, 'F')));
}

}  // namespace
}  // namespace rowmax::store
