#include "engine/convert/type_choice.h"

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <map>
#include <optional>
#include <regex>
#include <utility>

#include "engine/convert/encode.h"
#include "engine/io/text.h"
#include "engine/model/weight_table.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

constexpr std::string_view kEmbedding = "token_embd.weight";
constexpr std::string_view kHead = "output.weight";

// What takes the place of a type whose blocks do not divide the rows; F16 behind the end of a chain.
struct Substitute {
  std::string_view type, instead;
};
constexpr Substitute kSubstitutes[] = {
    {"Q2_0C", "Q2_K"},  {"Q2_K", "Q4_0"},     {"Q3_K", "Q4_0"},    {"Q4_K", "Q5_0"},      {"Q5_K", "Q5_1"},
    {"Q6_K", "Q8_0"},   {"IQ4_XS", "IQ4_NL"}, {"I2_S", "Q2_0"},    {"TQ1_0", "PTQ1_0"},   {"PTQ1_0", "Q2_0"},
    {"TQ2_0", "PQ2_0"}, {"PQ2_0", "Q2_0"},    {"I2_S_64", "Q2_0"}, {"I2_S_ROW4", "Q2_0"},
};

// Of tensors that are no weights of a layer, by their form.
WeightStorage storage_of(const TensorRows& tensor) {
  if (const WeightInfo* info = find_layer_weight(tensor.name)) return info->storage();
  const bool matrix = tensor.shape.size() >= 2 && tensor.name.ends_with(".weight");
  return matrix ? WeightStorage::kAny : WeightStorage::kF32;
}

// Matrices of experts are stored one behind the other, each by itself.
bool is_stacked(const TensorRows& tensor) { return tensor.shape.size() > 2 && tensor.shape[2] > 1; }

bool fits(const TensorRows& tensor, const FormatInfo& format) {
  const std::int64_t rows = is_stacked(tensor) ? tensor.shape[1] : tensor.rows();
  const bool whole = format.tail_bytes > 0 && is_stacked(tensor);
  return tensor.cols() % format.block_elements == 0 && rows % format.row_group == 0 && !whole;
}

double bits_per_weight(const FormatInfo& format) {
  return 8.0 * static_cast<double>(format.block_bytes) / static_cast<double>(format.block_elements);
}

std::string percent(double share) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g %%", 100 * share);
  return text;
}

class Chooser {
 public:
  Chooser(std::span<const TensorRows> tensors, const TypeRules& rules, Executor& executor,
          std::vector<std::string>& notices)
      : tensors_(tensors), rules_(rules), executor_(executor), notices_(notices) {}

  Result<std::vector<const FormatInfo*>> run() {
    ROWMAX_RETURN_IF_ERROR(read_rules());
    std::vector<const FormatInfo*> chosen;
    for (const TensorRows& tensor : tensors_) {
      ROWMAX_TRY(format, choose(tensor));
      chosen.push_back(format);
    }
    for (std::size_t i = 0; i < overrides_.size(); ++i) {
      if (overrides_[i].used) continue;
      return Error{ErrorCode::kInvalidArgument,
                   concat("--tensor ", quote(rules_.overrides[i].first), ": found in no matrix's name")};
    }
    ROWMAX_RETURN_IF_ERROR(check_ids(chosen));
    if (head_notice_) notices_.push_back(*head_notice_);
    for (const auto& [types, count] : substitutes_) {
      notices_.push_back(
          concat(count, " tensors have rows that are no whole blocks of ", types.first,
                 find_format(types.first)->tail_bytes > 0 ? " or experts that each need a scale of their own" : "",
                 ": ", types.second, " in its place"));
    }
    return chosen;
  }

 private:
  struct Override {
    std::regex expression;
    const FormatInfo* format;
    bool used = false;
  };
  struct Choice {
    const FormatInfo* format;
    bool asked_for_this_tensor;  // by name, not as one of all
  };

  Status read_rules() {
    ROWMAX_TRY(type, format_named(rules_.type, "type"));
    type_ = type;
    for (const auto& [expression, name] : rules_.overrides) {
      ROWMAX_TRY(format, format_named(name, "--tensor"));
      try {
        overrides_.push_back({std::regex(expression, std::regex::ECMAScript), format});
      } catch (const std::regex_error& error) {
        return Error{ErrorCode::kInvalidArgument,
                     concat("--tensor ", quote(expression), ": no regular expression: ", error.what())};
      }
    }
    if (!rules_.output_type.empty()) {
      ROWMAX_TRY(format, format_named(rules_.output_type, "--output-type"));
      output_type_ = format;
    }
    if (!rules_.embedding_type.empty()) {
      ROWMAX_TRY(format, format_named(rules_.embedding_type, "--embedding-type"));
      embedding_type_ = format;
    }
    tied_ = std::ranges::find(tensors_, kHead, &TensorRows::name) == tensors_.end();
    if (tied_ && output_type_ != nullptr && embedding_type_ != nullptr && output_type_ != embedding_type_) {
      return Error{ErrorCode::kInvalidArgument,
                   concat("--output-type ", output_type_->name, " and --embedding-type ", embedding_type_->name,
                          ": the model has one matrix for both (", kEmbedding, ")")};
    }
    return {};
  }

  // Some type ids stand for several layouts; a file can hold one of them.
  Status check_ids(const std::vector<const FormatInfo*>& chosen) const {
    std::map<std::uint32_t, const FormatInfo*> by_id;
    for (std::size_t i = 0; i < chosen.size(); ++i) {
      const FormatInfo* first = by_id.emplace(chosen[i]->id, chosen[i]).first->second;
      if (first == chosen[i]) continue;
      return Error{ErrorCode::kInvalidArgument,
                   concat("tensor ", quote(tensors_[i].name), ": ", chosen[i]->name, " beside ", first->name,
                          ": both are type ", chosen[i]->id, ", and one file can hold one of them")};
    }
    return {};
  }

  bool is_head(const TensorRows& tensor) const { return tensor.name == (tied_ ? kEmbedding : kHead); }

  Choice asked_for(const TensorRows& tensor) {
    for (std::size_t i = overrides_.size(); i-- > 0;) {
      if (!std::regex_search(tensor.name, overrides_[i].expression)) continue;
      for (std::size_t j = 0; j <= i; ++j) {  // earlier ones count as used where a later one wins
        overrides_[j].used = overrides_[j].used || std::regex_search(tensor.name, overrides_[j].expression);
      }
      return {overrides_[i].format, true};
    }
    if (is_head(tensor) && output_type_ != nullptr) return {output_type_, true};
    if (tensor.name == kEmbedding && embedding_type_ != nullptr) return {embedding_type_, true};
    return {type_, false};
  }

  Result<const FormatInfo*> choose(const TensorRows& tensor) {
    const FormatInfo* f32 = find_format("F32");
    const WeightStorage storage = storage_of(tensor);
    if (storage == WeightStorage::kF32) return f32;
    const Choice choice = asked_for(tensor);
    if (storage == WeightStorage::kFloat && choice.format->block_elements > 1 && !choice.asked_for_this_tensor) {
      const FormatInfo* stored = find_format(tensor.from);
      return stored != nullptr ? stored : f32;
    }
    if (!is_ternary_format(*choice.format)) {
      const FormatInfo* format = choice.format;
      if (is_head(tensor) && !choice.asked_for_this_tensor) format = head_type(tensor, *format);
      return substituted(tensor, *format);
    }
    return choose_ternary(tensor, choice);
  }

  // The head decides every token: few bits there cost more than anywhere else.
  const FormatInfo* head_type(const TensorRows& tensor, const FormatInfo& type) {
    const FormatInfo* better = find_format("Q6_K");
    if (bits_per_weight(type) >= bits_per_weight(*better)) return &type;
    if (!fits(tensor, *better)) better = find_format("Q8_0");
    if (!fits(tensor, *better)) better = find_format("F16");
    head_notice_ =
        concat(tensor.name, " is the head: ", better->name, " in place of ", type.name, " (--output-type changes it)");
    return better;
  }

  const FormatInfo* substituted(const TensorRows& tensor, const FormatInfo& asked) {
    const FormatInfo* format = &asked;
    while (!fits(tensor, *format)) {
      const auto* row = std::ranges::find(kSubstitutes, std::string_view(format->name), &Substitute::type);
      format = row == std::end(kSubstitutes) ? nullptr : find_format(row->instead);
      if (format == nullptr) format = find_format("F16");
    }
    if (format != &asked) ++substitutes_[{asked.name, format->name}];
    return format;
  }

  Result<const FormatInfo*> choose_ternary(const TensorRows& tensor, const Choice& choice) {
    const FormatInfo* format = substituted(tensor, *choice.format);
    if (!is_ternary_format(*format)) return format;  // F16: no ternary type has blocks that short
    if (tensor.format == format) return format;      // copied
    const auto drop = [&](std::span<const std::byte>, std::int64_t) {
      tensor.drop();
      return Status();
    };
    ROWMAX_TRY(error, encode_rows(tensor, *format, executor_, drop));
    if (error.max <= kTernaryLoss) return format;
    const bool kept = (tensor.name == kEmbedding || is_head(tensor)) && !choice.asked_for_this_tensor;
    if (kept) {
      notices_.push_back(
          concat(tensor.name, " is not ternary and stays F16 (--output-type and --embedding-type change it)"));
      return find_format("F16");
    }
    const std::string loss = concat("rms error ", percent(error.rms), ", largest ", percent(error.max));
    if (rules_.lossy) {
      notices_.push_back(concat(tensor.name, " is not ternary: ", format->name, " loses ", loss));
      return format;
    }
    return Error{ErrorCode::kUnsupported,
                 concat("tensor ", quote(tensor.name), ": expected weights -s, 0 or s with one s for each ",
                        format->tail_bytes > 0       ? "tensor"
                        : format->row_head_bytes > 0 ? "row"
                                                     : "block",
                        " of ", format->name, ", found others (", loss,
                        "); --force writes them anyway, and the model will hardly work")};
  }

  std::span<const TensorRows> tensors_;
  const TypeRules& rules_;
  Executor& executor_;
  std::vector<std::string>& notices_;
  const FormatInfo* type_ = nullptr;
  const FormatInfo* output_type_ = nullptr;
  const FormatInfo* embedding_type_ = nullptr;
  std::vector<Override> overrides_;
  bool tied_ = false;
  std::optional<std::string> head_notice_;
  std::map<std::pair<std::string_view, std::string_view>, int> substitutes_;
};

}  // namespace

Result<const FormatInfo*> format_named(std::string_view name, std::string_view flag) {
  const FormatInfo* format = find_format(name);
  if (format != nullptr && format->needs_importance) {
    return Error{ErrorCode::kUnsupported,
                 concat(flag, ": ", name,
                        " needs to know how much each weight matters (an importance matrix), and rowmax "
                        "has no quantiser that does; it reads such files. Q2_K, Q3_K and IQ4_XS do without")};
  }
  if (format != nullptr) return format;
  std::string known;
  for (const std::string_view type : writable_types()) known += concat(known.empty() ? "" : ", ", type);
  return Error{ErrorCode::kInvalidArgument, concat(flag, ": expected one of ", known, ", found ", quote(name))};
}

Result<std::vector<const FormatInfo*>> choose_types(std::span<const TensorRows> tensors, const TypeRules& rules,
                                                    Executor& executor, std::vector<std::string>& notices) {
  return Chooser(tensors, rules, executor, notices).run();
}

}  // namespace rowmax::engine
