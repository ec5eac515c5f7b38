// matmul_groups(): the bits of matmul() with each group alone. What those bits are is matmul_test.cc's business.
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "engine/ops/matmul/kernel_tables.h"
#include "engine/ops/matmul/matmul_test_util.h"

namespace rowmax::engine::matmul_groups_test {
namespace {

constexpr std::uint32_t kPoison = 0x7FA12345;  // a NaN that no computation gives
constexpr std::int64_t kPad = 3;               // columns of y behind a row, which stay what they are

Executor& serial() {
  static SerialExecutor executor;
  return executor;
}

std::vector<panel::KernelTable> supported_tables() {
  std::vector<panel::KernelTable> tables;
  for (const panel::KernelTable& table : panel::kernel_tables()) {
    if (table.supported()) tables.push_back(table);
  }
  return tables;
}

PackedMatrix random_matrix(const FormatInfo& format, std::int64_t rows, std::int64_t cols, int seed) {
  rows = (rows + format.row_group - 1) / format.row_group * format.row_group;
  auto result = pack(format, matmul_test::random_tensor(format, rows, cols, seed), rows, cols, serial());
  EXPECT_TRUE(result.ok()) << result.error().message;
  return std::move(result).value();
}

// What a test multiplies: groups of matrices (of the same cols) and a number of tokens.
struct Group {
  std::vector<const PackedMatrix*> matrices;
  std::int64_t n_tok;
};

// Owns inputs and outputs of some groups.
struct Work {
  std::vector<std::vector<float>> x;
  std::vector<std::vector<std::uint32_t>> y;  // one a term
  std::vector<std::vector<MatmulTerm>> terms;
  std::vector<MatmulGroup> groups;
  std::int64_t n_rows = 0, max_cols = 0;

  explicit Work(const std::vector<Group>& of) {
    int seed = 100;
    for (const Group& group : of) {
      const std::int64_t cols = group.matrices.empty() ? 0 : group.matrices[0]->cols(), ldx = cols + 5;
      x.push_back(matmul_test::random_input(group.n_tok * ldx, seed++));
      terms.emplace_back();
      for (const PackedMatrix* matrix : group.matrices) {
        const std::int64_t ldy = matrix->rows() + kPad;
        y.emplace_back(static_cast<std::size_t>(group.n_tok * ldy), kPoison);
        terms.back().push_back({matrix, reinterpret_cast<float*>(y.back().data()), ldy});
      }
      groups.push_back({terms.back(), x.back().data(), ldx, group.n_tok});
      n_rows += group.n_tok;
      max_cols = std::max(max_cols, cols);
    }
  }
};

// Memory of exactly the bytes asked for, with a mark behind that a call must leave alone.
class Workspace {
 public:
  explicit Workspace(std::size_t n_bytes)
      : n_bytes_(n_bytes), buffer_(base::Buffer::allocate(n_bytes + kMark).value()) {
    std::memset(buffer_.data(), 0xA5, n_bytes + kMark);
  }
  ~Workspace() {
    for (std::size_t i = 0; i < kMark; ++i) EXPECT_EQ(buffer_.data()[n_bytes_ + i], std::byte(0xA5)) << "beyond";
  }
  std::span<std::byte> span() { return {buffer_.data(), n_bytes_}; }

 private:
  static constexpr std::size_t kMark = 64;
  std::size_t n_bytes_;
  base::Buffer buffer_;
};

void expect_bits_of_each_alone(const std::vector<Group>& groups, const panel::KernelTable& table,
                               Activations activations, Executor& executor) {
  Work alone(groups), together(groups);
  for (const MatmulGroup& group : alone.groups) {
    if (group.terms.empty() || group.n_tok == 0) continue;
    Workspace workspace(matmul_workspace_bytes(group.n_tok, group.terms[0].weights->cols()));
    matmul(group.terms, group.x, group.ldx, group.n_tok, activations, workspace.span(), table.kernels(), serial());
  }
  {
    Workspace workspace(
        matmul_groups_workspace_bytes(static_cast<std::int64_t>(groups.size()), together.n_rows, together.max_cols));
    matmul_groups(together.groups, activations, workspace.span(), table.kernels(), executor);
  }
  for (std::size_t i = 0; i < alone.y.size(); ++i) {
    ASSERT_EQ(std::memcmp(alone.y[i].data(), together.y[i].data(), alone.y[i].size() * 4), 0)
        << table.name << ", term " << i << ", int8 " << (activations == Activations::kInt8);
  }
}

class EveryGroupedFormat : public testing::TestWithParam<const FormatInfo*> {};
INSTANTIATE_TEST_SUITE_P(Formats, EveryGroupedFormat, testing::ValuesIn([] {
                           std::vector<const FormatInfo*> all;
                           for (const FormatInfo& format : formats()) all.push_back(&format);
                           return all;
                         }()),
                         [](const auto& info) { return std::string(info.param->name); });

TEST_P(EveryGroupedFormat, HasTheBitsOfEachGroupAlone) {
  const FormatInfo& format = *GetParam();
  const std::int64_t cols = format.block_elements >= 128 ? 512 : format.block_elements == 1 ? 301 : 320;
  std::vector<PackedMatrix> experts;
  for (int i = 0; i < 6; ++i) experts.push_back(random_matrix(format, 19 + 16 * i, cols, i));
  const auto expert = [&](std::int64_t i) { return &experts[static_cast<std::size_t>(i) % experts.size()]; };
  auto pool = make_thread_pool(3);
  ASSERT_TRUE(pool.ok());
  std::vector<std::vector<Group>> cases(3);
  for (int i = 0; i < 8; ++i) cases[0].push_back({{expert(i)}, 1});  // generation
  for (std::int64_t n_tok = 1; n_tok <= 9; ++n_tok) {                // a prompt, with experts that got nothing
    cases[1].push_back({{expert(n_tok), expert(n_tok + 1)}, n_tok});
    cases[1].push_back({{expert(n_tok)}, 0});
  }
  cases[1].push_back({{}, 4});
  cases[2] = {{{expert(0)}, 1}, {{expert(1), expert(2)}, 45}, {{expert(3)}, 2}};
  for (const panel::KernelTable& table : supported_tables()) {
    if (table.isa == Isa::kScalar && matmul_test::emulated()) continue;  // plain C++, as everywhere
    for (const Activations activations : {Activations::kInt8, Activations::kF32}) {
      for (const std::vector<Group>& groups : cases) {
        if (!matmul_test::emulated()) expect_bits_of_each_alone(groups, table, activations, serial());
        expect_bits_of_each_alone(groups, table, activations, **pool);
      }
    }
  }
}

// A shared expert of other cols and format, more tokens than a task takes, and one table's kernels for few tokens.
TEST(MatmulGroups, OfDifferentColsFormatsAndSizes) {
  const auto make = [](const char* format, std::int64_t rows, std::int64_t cols) {
    return random_matrix(*find_format(std::string_view(format)), rows, cols, static_cast<int>(rows + cols));
  };
  const PackedMatrix q4k = make("Q4_K", 70, 512), q6k = make("Q6_K", 33, 512), q8 = make("Q8_0", 40, 96);
  const PackedMatrix i2s = make("I2_S", 48, 256), f16 = make("F16", 21, 77), q2 = make("Q2_0", 50, 192);
  const std::vector<Group> groups = {{{&q8}, 1},      {{&q4k, &q6k}, 251}, {{&f16}, 3},       {{&i2s}, 2},
                                     {{&q2, &q2}, 4}, {{&q2}, 1},          {{&q8}, 0},        {{&i2s}, 7},
                                     {{&q4k}, 1},     {{&q2}, 30},         {{&q6k, &q4k}, 16}};
  auto pool = make_thread_pool(4);
  ASSERT_TRUE(pool.ok());
  for (const panel::KernelTable& table : supported_tables()) {
    for (const Activations activations : {Activations::kInt8, Activations::kF32}) {
      expect_bits_of_each_alone(groups, table, activations, **pool);
    }
  }
}

// Against plain fp64, so that it is not our own code alone that says which group's y is whose. Exact path: 256 + 1
// roundings of a sum of magnitudes (matmul_test.cc).
TEST(MatmulGroups, IsCloseToTheFp64Product) {
  const FormatInfo& format = *find_format("F32");
  const std::int64_t rows = 21, cols = 200;
  std::vector<std::vector<std::byte>> tensors;
  std::vector<PackedMatrix> experts;
  std::vector<Group> groups;
  for (int i = 0; i < 5; ++i) {
    tensors.push_back(matmul_test::random_tensor(format, rows, cols, i));
    experts.push_back(random_matrix(format, rows, cols, i));
  }
  for (const PackedMatrix& expert : experts)
    groups.push_back({{&expert}, 1 + static_cast<std::int64_t>(groups.size())});
  for (const panel::KernelTable& table : supported_tables()) {
    Work work(groups);
    Workspace workspace(matmul_groups_workspace_bytes(5, work.n_rows, cols));
    matmul_groups(work.groups, Activations::kF32, workspace.span(), table.kernels(), serial());
    for (std::size_t g = 0; g < groups.size(); ++g) {
      for (std::int64_t t = 0; t < groups[g].n_tok; ++t) {
        for (std::int64_t r = 0; r < rows; ++r) {
          double product = 0, size = 0;
          for (std::int64_t k = 0; k < cols; ++k) {
            float w;
            std::memcpy(&w, tensors[g].data() + (r * cols + k) * 4, 4);
            const double term =
                static_cast<double>(w) * static_cast<double>(work.groups[g].x[t * work.groups[g].ldx + k]);
            product += term;
            size += std::fabs(term);
          }
          const MatmulTerm& term = work.terms[g][0];
          ASSERT_NEAR(term.y[t * term.ldy + r], product, 257 * 0x1p-24 * size) << table.name;
        }
      }
    }
  }
}

TEST(MatmulGroups, NothingToDo) {
  matmul_groups({}, Activations::kInt8, {}, panel::kernels_scalar(), serial());
  EXPECT_EQ(matmul_groups_workspace_bytes(0, 1, 64), 0u);
  EXPECT_EQ(matmul_groups_workspace_bytes(1, 0, 64), 0u);
  const MatmulGroup empty{};
  Workspace workspace(matmul_groups_workspace_bytes(1, 1, 32));
  matmul_groups({&empty, 1}, Activations::kInt8, workspace.span(), panel::kernels_scalar(), serial());
}

// Enough for every way to cut n_rows into groups, as far as each alone says what it needs.
TEST(MatmulGroups, WorkspaceIsEnoughForAnyCut) {
  std::uint64_t seed = 7;
  for (int round = 0; round < 20000; ++round) {
    const auto random = [&](std::uint64_t below) {
      seed = seed * 6364136223846793005ull + 1442695040888963407ull;
      return static_cast<std::int64_t>((seed >> 33) % below);
    };
    const std::int64_t cols = 1 + random(700), n_groups = 1 + random(40);
    const auto most = static_cast<std::uint64_t>(1 + random(9));
    std::size_t sum = 0;
    std::int64_t n_rows = 0;
    for (std::int64_t g = 0; g < n_groups; ++g) {
      const std::int64_t n_tok = random(most + 1);
      n_rows += n_tok;
      sum += matmul_workspace_bytes(n_tok, cols);
    }
    const std::size_t enough = matmul_groups_workspace_bytes(n_groups, n_rows, cols);
    ASSERT_TRUE(n_rows == 0 || enough > sum) << n_groups << " groups of " << n_rows << " rows, " << cols << " cols";
    ASSERT_LE(enough, matmul_groups_workspace_bytes(n_groups + 1, n_rows, cols));
    ASSERT_LE(enough, matmul_groups_workspace_bytes(n_groups, n_rows + 1, cols));
    ASSERT_LE(enough, matmul_groups_workspace_bytes(n_groups, n_rows, cols + 1));
  }
}

}  // namespace
}  // namespace rowmax::engine::matmul_groups_test
