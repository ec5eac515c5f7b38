#include "apps/store/digest.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>

namespace rowmax::store {
namespace {

class Digest : public testing::Test {
 protected:
  void SetUp() override {
    if (!can_download()) GTEST_SKIP() << "built without OpenSSL";
  }
  void TearDown() override { std::remove(path_.c_str()); }
  std::string of(const std::string& text, DigestKind kind) {
    std::ofstream(path_, std::ios::binary) << text;
    const auto digest = file_digest(path_, kind);
    return digest.ok() ? *digest : digest.error().message;
  }
  // Each test is a process of its own, and several may run at once.
  std::string path_ = testing::TempDir() + "/rowmax_digest_test." + std::to_string(getpid());
};

// FIPS 180-2, appendix B, and its example of a million letters.
TEST_F(Digest, Sha256) {
  EXPECT_EQ(of("abc", DigestKind::kSha256), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", DigestKind::kSha256),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(of(std::string(1'000'000, 'a'), DigestKind::kSha256),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

// By `git hash-object`.
TEST_F(Digest, GitBlob) {
  EXPECT_EQ(of("", DigestKind::kGitBlob), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
  EXPECT_EQ(of("small file", DigestKind::kGitBlob), "3b0fe338fd2cd71b48732336440ee29a8f8e10dc");
}

TEST_F(Digest, SaysWhatCannotBeRead) {
  EXPECT_EQ(file_digest("/no/such/file", DigestKind::kSha256).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(file_digest("/", DigestKind::kSha256).error().code, ErrorCode::kIo);
}

TEST(DigestKind, IsToldByItsForm) {
  EXPECT_EQ(*digest_kind(std::string(64, 'a')), DigestKind::kSha256);
  EXPECT_EQ(*digest_kind(std::string(40, '0')), DigestKind::kGitBlob);
  for (const std::string& other : {std::string(), std::string(64, 'A'), std::string(63, 'a'), std::string(40, '/')}) {
    EXPECT_EQ(digest_kind(other).error().code, ErrorCode::kCorrupt) << other;
  }
}

}  // namespace
}  // namespace rowmax::store
