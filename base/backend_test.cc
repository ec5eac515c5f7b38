#include "rowmax/backend.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

namespace rowmax {
namespace {

TEST(Backend, IsWhatItWasMadeOf) {
  SerialExecutor executor;
  for (const Isa isa : supported_isas()) {
    const Result<Backend> backend = cpu_backend(executor, isa);
    ASSERT_TRUE(backend.ok());
    EXPECT_EQ(backend->kind(), BackendKind::kCpu);
    EXPECT_EQ(backend->isa(), isa);
    EXPECT_EQ(&backend->executor(), &executor);
    EXPECT_EQ(backend->name(), "cpu " + std::string(isa_name(isa)) + ", 1 thread");
    const Backend copy = *backend;
    EXPECT_EQ(copy, *backend);
  }
  const auto pool = make_thread_pool(3);
  const Result<Backend> three = cpu_backend(**pool, Isa::kScalar);
  EXPECT_EQ(three->name(), "cpu scalar, 3 threads");
  EXPECT_FALSE(*three == *cpu_backend(executor, Isa::kScalar));
  if (supported_isas().size() > 1) {
    EXPECT_FALSE(*cpu_backend(executor, supported_isas().back()) == *cpu_backend(executor, Isa::kScalar));
  }
}

TEST(Backend, RefusesWhatTheMachineCannotRun) {
  SerialExecutor executor;
  for (const Isa isa : {Isa::kAvx2, Isa::kAvx512, Isa::kNeon}) {
    const Result<Backend> backend = cpu_backend(executor, isa);
    ASSERT_EQ(backend.ok(), isa_supported(isa));
    if (backend.ok()) continue;
    EXPECT_EQ(backend.error().code, ErrorCode::kUnsupported);
    EXPECT_NE(backend.error().message.find(isa_name(isa)), std::string::npos);
    EXPECT_NE(backend.error().message.find("supported: scalar"), std::string::npos);
  }
  EXPECT_FALSE(cpu_backend(executor, static_cast<Isa>(99)).ok());
}

TEST(Backend, TheVariableDecidesTheDefault) {
  SerialExecutor executor;
  EXPECT_EQ(cpu_backend(executor)->isa(), *default_isa());
  setenv("ROWMAX_ISA", "scalar", 1);
  EXPECT_EQ(cpu_backend(executor)->isa(), Isa::kScalar);
  setenv("ROWMAX_ISA", "nonsense", 1);
  EXPECT_FALSE(cpu_backend(executor).ok());
  unsetenv("ROWMAX_ISA");
}

}  // namespace
}  // namespace rowmax
