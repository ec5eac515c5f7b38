#include "engine/convert/encode.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/fp_env.h"
#include "engine/io/text.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

constexpr std::int64_t kPieceElements = std::int64_t{1} << 23;  // 32 MiB of floats in flight
constexpr std::int64_t kTaskElements = std::int64_t{1} << 16;

struct RowError {
  double difference = 0, size = 0;  // sums of squares
  double max_difference = 0, max_size = 0;
  bool finite_in = true, finite_out = true;
};

RowError compare(const float* in, const float* out, std::int64_t n) {
  RowError error;
  for (std::int64_t i = 0; i < n; ++i) {
    const double x = static_cast<double>(in[i]), difference = x - static_cast<double>(out[i]);
    error.size += x * x;
    error.difference += difference * difference;
    error.max_size = std::max(error.max_size, std::fabs(x));
    error.max_difference = std::max(error.max_difference, std::fabs(difference));
    error.finite_in = error.finite_in && std::isfinite(in[i]);
    error.finite_out = error.finite_out && std::isfinite(out[i]);
  }
  return error;
}

// Tasks over rows; a task takes whole groups of rows.
struct RowTasks {
  std::int64_t rows, rows_per_task;
  RowTasks(std::int64_t n_rows, std::int64_t cols, std::int64_t group) : rows(n_rows) {
    const std::int64_t wanted = std::max<std::int64_t>(1, kTaskElements / cols);
    rows_per_task = (wanted + group - 1) / group * group;
  }
  std::int64_t count() const { return (rows + rows_per_task - 1) / rows_per_task; }
  std::int64_t begin(std::int64_t task) const { return task * rows_per_task; }
  std::int64_t size(std::int64_t task) const { return std::min(rows_per_task, rows - begin(task)); }
};

// For formats with one scale a tensor: its value. The largest weight of each piece stands for the piece, which is right
// for the weights that such formats are for (-m, 0 or m).
float find_tensor_scale(const TensorRows& tensor, const FormatInfo& format, Executor& executor) {
  const RowTasks tasks(tensor.rows(), tensor.cols(), 1);
  std::vector<float> largest(static_cast<std::size_t>(tasks.count()));
  std::vector<std::vector<float>> buffers(static_cast<std::size_t>(executor.concurrency()));
  for (auto& buffer : buffers) buffer.resize(static_cast<std::size_t>(tasks.rows_per_task * tensor.cols()));
  parallel_for(executor, tasks.count(), [&](std::int64_t task, int worker) {
    const base::ScopedFpEnv fp_env;
    float* values = buffers[static_cast<std::size_t>(worker)].data();
    tensor.read(tasks.begin(task), tasks.size(task), values);
    float most = 0.0f;
    for (std::int64_t i = 0; i < tasks.size(task) * tensor.cols(); ++i) most = std::max(most, std::fabs(values[i]));
    largest[static_cast<std::size_t>(task)] = most;
  });
  return format.tensor_scale(largest.data(), std::ssize(largest));
}

class Encoder {
 public:
  Encoder(const TensorRows& tensor, const FormatInfo& format, Executor& executor)
      : tensor_(tensor), format_(format), executor_(executor), cols_(tensor.cols()), errors_(tensor.rows()) {
    // Formats with a tail are addressed as whole tensors; of the others any rows are a tensor of their own.
    const std::int64_t group = format.row_group;
    const std::int64_t wanted = std::max<std::int64_t>(1, kPieceElements / cols_);
    rows_per_piece_ =
        format.tail_bytes > 0 ? tensor.rows() : std::min(tensor.rows(), (wanted + group - 1) / group * group);
    const RowTasks tasks(rows_per_piece_, cols_, group);
    const auto n = static_cast<std::size_t>(std::min(tasks.rows_per_task, rows_per_piece_) * cols_);
    for (int i = 0; i < executor.concurrency(); ++i) buffers_.push_back({std::vector<float>(n), std::vector<float>(n)});
    piece_.resize(static_cast<std::size_t>(format_tensor_bytes(format, rows_per_piece_, cols_)));
    if (format.tensor_scale != nullptr) scale_ = find_tensor_scale(tensor, format, executor);
  }

  Result<EncodingError> run(const EncodedSink& sink) {
    for (std::int64_t row = 0; row < tensor_.rows(); row += rows_per_piece_) {
      const std::int64_t n_rows = std::min(rows_per_piece_, tensor_.rows() - row);
      encode_piece(row, n_rows);
      ROWMAX_RETURN_IF_ERROR(check(row, n_rows));
      const auto n_bytes = static_cast<std::size_t>(format_tensor_bytes(format_, n_rows, cols_));
      ROWMAX_RETURN_IF_ERROR(sink(std::span(piece_).first(n_bytes), n_rows));
    }
    return total();
  }

 private:
  struct Buffers {
    std::vector<float> in, out;
  };

  void encode_piece(std::int64_t first_row, std::int64_t n_rows) {
    const RowTasks tasks(n_rows, cols_, format_.row_group);
    const TensorTarget target{piece_.data(), n_rows, cols_, scale_};
    // The call for row 0 writes the tail, which the others' decoding reads.
    const auto encode_task = [&](std::int64_t task, int worker) {
      const base::ScopedFpEnv fp_env;
      Buffers& buffer = buffers_[static_cast<std::size_t>(worker)];
      tensor_.read(first_row + tasks.begin(task), tasks.size(task), buffer.in.data());
      format_.encode(buffer.in.data(), target, tasks.begin(task), tasks.size(task));
      format_.decode({piece_.data(), n_rows, cols_}, tasks.begin(task), tasks.size(task), buffer.out.data());
      for (std::int64_t i = 0; i < tasks.size(task); ++i) {
        errors_[static_cast<std::size_t>(first_row + tasks.begin(task) + i)] =
            compare(buffer.in.data() + i * cols_, buffer.out.data() + i * cols_, cols_);
      }
    };
    encode_task(0, 0);
    parallel_for(executor_, tasks.count() - 1, [&](std::int64_t task, int worker) { encode_task(task + 1, worker); });
  }

  Status check(std::int64_t first_row, std::int64_t n_rows) const {
    for (std::int64_t row = first_row; row < first_row + n_rows; ++row) {
      const RowError& error = errors_[static_cast<std::size_t>(row)];
      if (error.finite_in && error.finite_out) continue;
      return Error{ErrorCode::kNumericFault, error.finite_in
                                                 ? concat("tensor ", quote(tensor_.name), " row ", row,
                                                          ": a weight is too large for ", format_.name)
                                                 : concat("tensor ", quote(tensor_.name), " row ", row,
                                                          ": expected finite weights, found NaN or infinity")};
    }
    return {};
  }

  EncodingError total() const {
    RowError sum;
    for (const RowError& row : errors_) {
      sum.difference += row.difference;
      sum.size += row.size;
      sum.max_difference = std::max(sum.max_difference, row.max_difference);
      sum.max_size = std::max(sum.max_size, row.max_size);
    }
    if (!(sum.size > 0)) return {};
    return {std::sqrt(sum.difference / sum.size), sum.max_difference / sum.max_size};
  }

  const TensorRows& tensor_;
  const FormatInfo& format_;
  Executor& executor_;
  std::int64_t cols_;
  std::int64_t rows_per_piece_ = 0;
  float scale_ = 0.0f;
  std::vector<RowError> errors_;  // by row, so that their sum has one order
  std::vector<Buffers> buffers_;  // by worker
  std::vector<std::byte> piece_;
};

}  // namespace

Result<EncodingError> encode_rows(const TensorRows& tensor, const FormatInfo& format, Executor& executor,
                                  const EncodedSink& sink) {
  ROWMAX_CHECK(tensor.cols() % format.block_elements == 0 && tensor.rows() % format.row_group == 0,
               "encode_rows: not whole blocks");
  return Encoder(tensor, format, executor).run(sink);
}

bool is_ternary_format(const FormatInfo& format) {
  // Four rows of 256 weights, or of a block that is longer. Each run of 64 has the same largest magnitude, so the same
  // scale where there is one for 64 or more, while runs of 16 differ: formats with more values than three, or shorter
  // scales, show more than three.
  constexpr std::int64_t kRows = 4;
  const std::int64_t cols = std::max<std::int64_t>(256, format.block_elements);
  std::vector<float> values(static_cast<std::size_t>(kRows * cols)), back(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    const int run = static_cast<int>(i / 16 % 4), step = static_cast<int>(i % 16);
    values[i] = static_cast<float>((run + 1) * (step - 8)) / 32.0f;
  }
  std::vector<std::byte> bytes(static_cast<std::size_t>(format_tensor_bytes(format, kRows, cols)));
  const base::ScopedFpEnv fp_env;
  encode_tensor(format, values.data(), kRows, cols, bytes.data());
  format.decode({bytes.data(), kRows, cols}, 0, kRows, back.data());
  return std::set<float>(back.begin(), back.end()).size() <= 3;
}

}  // namespace rowmax::engine
