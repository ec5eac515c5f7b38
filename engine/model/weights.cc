#include "engine/model/weights.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "engine/ops/matmul/kernel_check.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

Error in_tensor(std::string_view file_name, const WeightSource& source, Error error) {
  error.message = std::string(file_name) + ": tensor '" + std::string(source.name) + "': " + error.message;
  return error;
}

}  // namespace

struct WeightLoader {
  std::string_view file_name;
  Executor& executor;
  const std::function<Status(std::span<const std::byte>)>& done_with;
  std::span<std::byte> memory{};  // left for matrices
  std::int64_t own_bytes = 0;

  Status vector(const WeightSource& source, std::vector<float>& out) const {
    if (!source.present()) return {};
    out.resize(static_cast<std::size_t>(source.cols * source.rows));
    for (std::int64_t row = 0; row < source.rows; ++row) {
      decode_row(*source.format, source.bytes, row, source.cols, out.data() + row * source.cols);
    }
    for (std::size_t i = 0; i < out.size(); ++i) {
      if (std::isfinite(out[i])) continue;
      return in_tensor(file_name, source,
                       {ErrorCode::kCorrupt,
                        "expected finite values, found " + std::to_string(out[i]) + " at " + std::to_string(i)});
    }
    if (source.shift != 0 || source.factor != 1) {
      for (float& value : out) value = (value + source.shift) * source.factor;
    }
    if (source.order.run == 0 && source.experts.empty()) return {};
    const std::vector<float> stored = out;
    const std::size_t width = source.experts.empty() ? 1 : out.size() / source.experts.size();  // of an expert
    for (std::size_t i = 0; i < out.size(); ++i) {
      const auto at = static_cast<std::int64_t>(i / width);
      const std::int64_t from = source.experts.empty() ? source.order.stored(at) : source.stored_expert(at);
      out[i] = stored[static_cast<std::size_t>(from) * width + i % width];
    }
    return {};
  }

  // Calls use(row_begin, row_end) -> Status on pieces of a matrix, and gives each piece's memory back: no more than a
  // piece of the file is ever in memory beside what was made of it.
  template <class Use>
  Status in_pieces(const WeightSource& source, Use use) const {
    constexpr std::int64_t kPieceBytes = std::int64_t{8} << 20, kRowStep = 4 * kPanelRows;
    const std::int64_t row_bytes = format_row_bytes(*source.format, source.cols);
    const std::int64_t step = std::max<std::int64_t>(1, kPieceBytes / row_bytes / kRowStep) * kRowStep;
    for (std::int64_t begin = 0; begin < source.rows; begin += step) {
      const std::int64_t end = std::min(begin + step, source.rows);
      ROWMAX_RETURN_IF_ERROR(use(begin, end));
      ROWMAX_RETURN_IF_ERROR(done_with(source.bytes.subspan(static_cast<std::size_t>(begin * row_bytes),
                                                            static_cast<std::size_t>((end - begin) * row_bytes))));
    }
    return {};
  }

  // A NaN or infinity in one scale would spread to every logit; a damaged file is told from a bad prompt here. found: of
  // pieces of the tensor, in order.
  Status refuse_first(const WeightSource& source, std::span<const InvalidWeight> found) const {
    for (const InvalidWeight& invalid : found) {
      if (invalid.row < 0) continue;
      const std::string block = invalid.block < 0 ? "" : " block " + std::to_string(invalid.block);
      return in_tensor(file_name, source,
                       {ErrorCode::kCorrupt, std::string("expected ") + invalid.expected + ", found " + invalid.found +
                                                 " in " + source.format->name + block + " (row " +
                                                 std::to_string(invalid.row) + "); the file is damaged"});
    }
    return {};
  }

  static InvalidWeight find_invalid(const WeightSource& source, std::int64_t row, std::int64_t n_rows) noexcept {
    return source.format->find_invalid({source.bytes.data(), source.rows, source.cols}, row, n_rows);
  }

  Status check_sound(const WeightSource& source, std::int64_t row_begin, std::int64_t row_end) const {
    constexpr std::int64_t kRowsATask = 64;
    std::vector<InvalidWeight> found(static_cast<std::size_t>((row_end - row_begin + kRowsATask - 1) / kRowsATask));
    parallel_for(executor, static_cast<std::int64_t>(found.size()), [&](std::int64_t task, int) {
      const std::int64_t first = row_begin + task * kRowsATask;
      found[static_cast<std::size_t>(task)] = find_invalid(source, first, std::min(kRowsATask, row_end - first));
    });
    return refuse_first(source, found);
  }

  // Packs the rows of `stored` that have the numbers of the source's and checks the latter: of rows that are refused it
  // does not matter what they are packed to.
  Status pack_sound(const WeightSource& source, std::span<const std::byte> stored, PackedMatrix& packed,
                    std::int64_t row_begin, std::int64_t row_end) const {
    std::vector<InvalidWeight> found(static_cast<std::size_t>((row_end - row_begin + kPanelRows - 1) / kPanelRows));
    pack_rows(packed, stored, row_begin, row_end, executor, [&](std::int64_t first, std::int64_t n_rows) {
      found[static_cast<std::size_t>((first - row_begin) / kPanelRows)] = find_invalid(source, first, n_rows);
    });
    return refuse_first(source, found);
  }

  // A tensor as it is packed: the file's bytes, or a copy that was changed.
  struct Stored {
    const FormatInfo* format;
    std::span<const std::byte> bytes;
    base::Buffer copy{};

    void take(base::Buffer changed) {
      copy = std::move(changed);
      bytes = {copy.data(), copy.size()};
    }
  };

  static Status change_codes(const WeightSource& source, Stored& stored) {
    ROWMAX_TRY(copy, base::Buffer::allocate(stored.bytes.size()));
    std::memcpy(copy.data(), stored.bytes.data(), stored.bytes.size());
    std::array<std::byte, 256> other{};
    for (unsigned byte = 0; byte < 256; ++byte) {
      unsigned codes = 0;
      for (unsigned at = 0; at < 8; at += 2) {
        const unsigned code = byte >> at & 3, to = source.low_bits_first ? 6 - at : at;
        codes |= (code == 3 ? code : static_cast<unsigned>(source.code_values[code] + 1)) << to;
      }
      other[byte] = static_cast<std::byte>(codes);
    }
    const std::int64_t n = source.rows * format_row_bytes(*source.format, source.cols);
    for (std::int64_t i = 0; i < n; ++i) copy.data()[i] = other[std::to_integer<std::size_t>(copy.data()[i])];
    stored.take(std::move(copy));
    return {};
  }

  // The numbers as they follow one another are those of the matrix column by column.
  Status transpose(const WeightSource& source, Stored& stored) const {
    const auto n_row = static_cast<std::size_t>(source.rows), n_col = static_cast<std::size_t>(source.cols);
    ROWMAX_TRY(copy, base::Buffer::allocate(n_row * n_col * sizeof(float)));
    std::vector<float> values(n_row * n_col);
    parallel_for(executor, source.rows, [&](std::int64_t row, int) {
      decode_row(*stored.format, stored.bytes, row, source.cols, values.data() + row * source.cols);
    });
    for (std::size_t row = 0; row < n_row; ++row) {
      for (std::size_t col = 0; col < n_col; ++col) copy.as<float>()[row * n_col + col] = values[col * n_row + row];
    }
    stored.take(std::move(copy));
    stored.format = &source.packed_format();
    return {};
  }

  // Rows that are columns.
  Status turn_columns(const WeightSource& source, Stored& stored) const {
    const auto n_row = static_cast<std::size_t>(source.rows), n_col = static_cast<std::size_t>(source.cols);
    ROWMAX_TRY(copy, base::Buffer::allocate(n_row * n_col * sizeof(float)));
    std::vector<float> column(n_row);
    for (std::size_t col = 0; col < n_col; ++col) {
      decode_row(*stored.format, stored.bytes, static_cast<std::int64_t>(col), source.rows, column.data());
      for (std::size_t row = 0; row < n_row; ++row) copy.as<float>()[row * n_col + col] = column[row];
    }
    stored.take(std::move(copy));
    stored.format = &source.packed_format();
    return {};
  }

  Status reorder(const WeightSource& source, Stored& stored) const {
    if (stored.format->row_group > 1) {
      return in_tensor(
          file_name, source,
          {ErrorCode::kUnsupported, std::string("rows of ") + stored.format->name + " cannot be reordered"});
    }
    ROWMAX_TRY(copy, base::Buffer::allocate(stored.bytes.size()));
    std::memcpy(copy.data(), stored.bytes.data(), stored.bytes.size());
    const auto row_bytes = static_cast<std::size_t>(format_row_bytes(*stored.format, source.cols));
    for (std::int64_t row = 0; row < source.rows; ++row) {
      std::memcpy(copy.data() + static_cast<std::size_t>(row) * row_bytes,
                  stored.bytes.data() + static_cast<std::size_t>(source.order.stored(row)) * row_bytes, row_bytes);
    }
    stored.take(std::move(copy));
    return {};
  }

  Result<Stored> as_wanted(const WeightSource& source) const {
    Stored stored{source.format, source.bytes};
    if (source.code_values != WeightSource().code_values || source.low_bits_first) {
      ROWMAX_RETURN_IF_ERROR(change_codes(source, stored));
    }
    if (source.columns) ROWMAX_RETURN_IF_ERROR(turn_columns(source, stored));
    if (source.transposed) ROWMAX_RETURN_IF_ERROR(transpose(source, stored));
    if (source.order.run != 0) ROWMAX_RETURN_IF_ERROR(reorder(source, stored));
    return stored;
  }

  Status matrix(const WeightSource& source, Linear& out) {
    ROWMAX_TRY(n_bytes, packed_bytes(source.packed_format(), source.rows, source.cols));
    ROWMAX_TRY(stored, as_wanted(source));
    auto packed = begin_pack(*stored.format, stored.bytes, source.rows, source.cols, memory.first(n_bytes));
    if (!packed.ok()) return in_tensor(file_name, source, std::move(packed).error());
    if (source.columns) {
      WeightSource turned = source;
      turned.format = stored.format;
      turned.bytes = stored.bytes;
      ROWMAX_RETURN_IF_ERROR(pack_sound(turned, stored.bytes, *packed, 0, source.rows));
      ROWMAX_RETURN_IF_ERROR(done_with(source.bytes));
    } else {
      ROWMAX_RETURN_IF_ERROR(in_pieces(source, [&](std::int64_t begin, std::int64_t end) {
        return pack_sound(source, stored.bytes, *packed, begin, end);
      }));
    }
    memory = memory.subspan(n_bytes);
    own_bytes += static_cast<std::int64_t>(n_bytes);
    out = {std::move(packed).value(), source.hadamard, source.factor};
    return {};
  }

  // A matrix, or one for each expert. packed: those of other weights, from packed_from; empty where they would differ.
  Status matrices(const WeightSource& source, const WeightSource* packed_from, std::span<const Linear> packed,
                  std::vector<Linear>& out) {
    out.resize(static_cast<std::size_t>(source.n));
    std::vector<std::size_t> packed_at(packed.size());  // of each that is stored
    for (std::size_t i = 0; i < packed.size(); ++i) {
      packed_at[static_cast<std::size_t>(packed_from->stored_expert(static_cast<std::int64_t>(i)))] = i;
    }
    for (std::size_t i = 0; i < out.size(); ++i) {
      const auto stored = static_cast<std::size_t>(source.stored_expert(static_cast<std::int64_t>(i)));
      if (!packed.empty()) {
        out[i] = {packed[packed_at[stored]].matrix.view(), source.hadamard, source.factor};
        continue;
      }
      WeightSource one = source;
      one.n = 1;
      one.stride = 0;
      one.experts.clear();
      one.bytes = source.bytes_of(static_cast<std::int64_t>(stored));
      if (source.columns || source.first_row > 0) {
        const std::int64_t row_bytes = format_row_bytes(*source.format, source.stored_cols());
        one.bytes = one.bytes.subspan(static_cast<std::size_t>(source.first_row * row_bytes),
                                      static_cast<std::size_t>(source.stored_rows() * row_bytes));
        one.first_row = 0;
      }
      ROWMAX_RETURN_IF_ERROR(matrix(one, out[i]));
    }
    return {};
  }

  // [rows, cols] to [cols][rows].
  Status transposed(const WeightSource& source, std::vector<float>& out) const {
    std::vector<float> stored;
    ROWMAX_RETURN_IF_ERROR(vector(source, stored));
    out.resize(stored.size());
    for (std::int64_t row = 0; row < source.rows; ++row) {
      for (std::int64_t col = 0; col < source.cols; ++col) {
        const std::int64_t from = source.reversed ? source.cols - 1 - col : col;
        out[static_cast<std::size_t>(col * source.rows + row)] =
            stored[static_cast<std::size_t>(row * source.cols + from)];
      }
    }
    return {};
  }

  Status layer(const LayerSources& from, const LayerSources* packed_from, const LayerWeights* packed,
               LayerWeights& to) {
    for (const WeightInfo& info : weight_table()) {
      const WeightSource& source = from[info.id];
      if (!source.present()) continue;
      const auto at = static_cast<std::size_t>(info.id);
      const WeightSource* other = packed != nullptr ? &(*packed_from)[info.id] : nullptr;
      const bool shared = other != nullptr && source.packs_like(*other);
      const std::span<const Linear> same = shared ? packed->experts(info.id) : std::span<const Linear>();
      ROWMAX_RETURN_IF_ERROR(is_matrix(info.kind)                   ? matrices(source, other, same, to.matrices_[at])
                             : info.kind == WeightKind::kTransposed ? transposed(source, to.vectors_[at])
                                                                    : vector(source, to.vectors_[at]));
    }
    return {};
  }
};

namespace {

// Without those that are packed already.
std::vector<const WeightSource*> all_matrices(const WeightSources& sources, const WeightSources* packed) {
  std::vector<const WeightSource*> matrices;
  const auto add = [&](const WeightSource& source, const WeightSource* other) {
    if (other == nullptr || !source.packs_like(*other)) matrices.push_back(&source);
  };
  add(sources.output, packed != nullptr ? &packed->output : nullptr);
  if (sources.layer_projection.present()) {
    add(sources.layer_projection, packed != nullptr ? &packed->layer_projection : nullptr);
  }
  for (std::size_t i = 0; i < sources.layers.size(); ++i) {
    for (const WeightInfo& info : weight_table()) {
      const WeightSource& source = sources.layers[i][info.id];
      if (!is_matrix(info.kind) || !source.present()) continue;
      add(source, packed != nullptr ? &packed->layers[i][info.id] : nullptr);
    }
  }
  return matrices;
}

bool holds(const base::Buffer& block, const PackedMatrix& matrix) {
  return matrix.panel(0) >= block.data() && matrix.panel(0) < block.data() + block.size();
}

bool uses(const ModelWeights& weights, const base::Buffer& block) {
  if (holds(block, weights.output.matrix)) return true;
  if (weights.sources.layer_projection.present() && holds(block, weights.layer_projection.matrix)) return true;
  return std::ranges::any_of(weights.layers, [&](const LayerWeights& layer) {
    return std::ranges::any_of(weight_table(), [&](const WeightInfo& info) {
      return std::ranges::any_of(layer.experts(info.id),
                                 [&](const Linear& linear) { return holds(block, linear.matrix); });
    });
  });
}

// Every format that the model multiplies with, once.
Status check_formats(std::vector<const FormatInfo*> formats, const panel::KernelTable& table) {
  std::ranges::sort(formats);
  formats.erase(std::unique(formats.begin(), formats.end()), formats.end());
  for (const FormatInfo* format : formats) {
    ROWMAX_RETURN_IF_ERROR(panel::check_kernels(*format, table.kernels(), table.name));
  }
  return {};
}

}  // namespace

std::int64_t ModelWeights::packed_bytes() const noexcept {
  std::size_t total = output.matrix.bytes() + layer_projection.matrix.bytes();
  for (const LayerWeights& layer : layers) {
    for (const WeightInfo& info : weight_table()) {
      for (const Linear& linear : layer.experts(info.id)) total += linear.matrix.bytes();
    }
  }
  return static_cast<std::int64_t>(total);
}

TokenCost ModelWeights::token_cost(const ModelSpec& spec) const noexcept {
  TokenCost total;
  const auto add = [&](const PackedMatrix& matrix) {
    total.bytes += static_cast<std::int64_t>(matrix.bytes());
    total.weights += matrix.rows() * matrix.cols();
  };
  add(output.matrix);
  add(layer_projection.matrix);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    for (const WeightInfo& info : weight_table()) {
      const std::span<const Linear> all = layers[i].experts(info.id);
      const std::size_t used =
          info.kind == WeightKind::kExperts ? static_cast<std::size_t>(spec.layers[i].ffn.n_used) : all.size();
      for (const Linear& linear : all.first(std::min(used, all.size()))) add(linear.matrix);
    }
  }
  return total;
}

Status check_kernels(const ModelWeights& weights, const panel::KernelTable& kernels) {
  std::vector<const FormatInfo*> formats{weights.output.matrix.format()};
  if (weights.sources.layer_projection.present()) formats.push_back(weights.layer_projection.matrix.format());
  for (const LayerWeights& layer : weights.layers) {
    for (const WeightInfo& info : weight_table()) {
      if (const auto all = layer.experts(info.id); !all.empty()) formats.push_back(all[0].matrix.format());
    }
  }
  return check_formats(std::move(formats), kernels);
}

Result<std::int64_t> bytes_to_pack(const WeightSources& sources, std::string_view file_name,
                                   const ModelWeights* packed) {
  std::int64_t total = 0;
  for (const WeightSource* matrix : all_matrices(sources, packed != nullptr ? &packed->sources : nullptr)) {
    auto n_bytes = packed_bytes(matrix->packed_format(), matrix->rows, matrix->cols);
    if (!n_bytes.ok()) return in_tensor(file_name, *matrix, std::move(n_bytes).error());
    std::int64_t of_all = 0;
    if (__builtin_mul_overflow(*n_bytes, matrix->n, &of_all) || __builtin_add_overflow(total, of_all, &total)) {
      return Error::out_of_memory();
    }
  }
  return total;
}

Result<ModelWeights> load_weights(WeightSources sources, std::string_view file_name, const panel::KernelTable& kernels,
                                  Executor& executor,
                                  const std::function<Status(std::span<const std::byte>)>& done_with,
                                  const ModelWeights* packed) {
  const WeightSources* packed_from = packed != nullptr ? &packed->sources : nullptr;
  const std::vector<const WeightSource*> matrices = all_matrices(sources, packed_from);
  std::vector<const FormatInfo*> formats;
  for (const WeightSource* matrix : matrices) formats.push_back(&matrix->packed_format());
  ROWMAX_RETURN_IF_ERROR(check_formats(std::move(formats), kernels));
  ModelWeights weights;
  ROWMAX_TRY(n_bytes, bytes_to_pack(sources, file_name, packed));
  ROWMAX_TRY(memory, base::Buffer::allocate(static_cast<std::size_t>(n_bytes)));
  WeightLoader load{file_name, executor, done_with, {memory.data(), memory.size()}};
  // Whose rows are looked up.
  const auto look_at = [&](WeightSource WeightSources::*table) -> Status {
    const WeightSource& source = sources.*table;
    if (!source.present() || (packed != nullptr && source.packs_like(packed_from->*table))) return {};
    return load.in_pieces(source,
                          [&](std::int64_t begin, std::int64_t end) { return load.check_sound(source, begin, end); });
  };
  if (!sources.tied) ROWMAX_RETURN_IF_ERROR(look_at(&WeightSources::token_embedding));
  ROWMAX_RETURN_IF_ERROR(look_at(&WeightSources::layer_embedding));
  const auto pack = [&](WeightSource WeightSources::*matrix, Linear ModelWeights::*to) -> Status {
    const WeightSource& source = sources.*matrix;
    if (!source.present()) return {};
    if (packed == nullptr || !source.packs_like(packed_from->*matrix)) return load.matrix(source, weights.*to);
    weights.*to = {(packed->*to).matrix.view(), source.hadamard, source.factor};
    return {};
  };
  ROWMAX_RETURN_IF_ERROR(pack(&WeightSources::output, &ModelWeights::output));
  ROWMAX_RETURN_IF_ERROR(pack(&WeightSources::layer_projection, &ModelWeights::layer_projection));
  weights.layers.resize(sources.layers.size());
  for (std::size_t i = 0; i < sources.layers.size(); ++i) {
    ROWMAX_RETURN_IF_ERROR(load.layer(sources.layers[i], packed != nullptr ? &packed_from->layers[i] : nullptr,
                                      packed != nullptr ? &packed->layers[i] : nullptr, weights.layers[i]));
  }
  ROWMAX_RETURN_IF_ERROR(load.vector(sources.output_norm, weights.output_norm));
  ROWMAX_RETURN_IF_ERROR(load.vector(sources.labels, weights.labels));
  ROWMAX_RETURN_IF_ERROR(load.vector(sources.layer_projection_norm, weights.layer_projection_norm));
  if (memory.size() != 0) weights.memory.push_back(std::make_shared<const base::Buffer>(std::move(memory)));
  weights.own_bytes = load.own_bytes;
  weights.sources = std::move(sources);
  for (std::size_t i = 0; packed != nullptr && i < packed->memory.size(); ++i) {
    if (uses(weights, *packed->memory[i])) weights.memory.push_back(packed->memory[i]);
  }
  return weights;
}

}  // namespace rowmax::engine
