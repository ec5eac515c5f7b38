#include "rowmax/result.h"

#include <gtest/gtest.h>

#include <string>

namespace rowmax {
namespace {

TEST(Error, NamedConstructorsCarryTheCodeOfTheirNameAndTheMessage) {
  for (const Error& error :
       {Error::invalid_argument("invalid_argument"), Error::unsupported("unsupported"), Error::not_found("not_found"),
        Error::io("io"), Error::corrupt("corrupt"), Error::numeric_fault("numeric_fault"), Error::limit("limit")}) {
    EXPECT_EQ(error.message, error_code_name(error.code));
  }
}

}  // namespace
}  // namespace rowmax
