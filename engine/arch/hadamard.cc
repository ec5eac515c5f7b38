#include "engine/arch/hadamard.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "engine/io/hadamard_keys.h"
#include "engine/io/key_rules.h"
#include "engine/io/text.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

constexpr std::string_view kKeys[] = {
    "version",      "block_size",           "transform",    "axis", "sign_mode", "sign_widths", "sign_values",
    "weight_names", "inverse_weight_names", "gdn_v_grouped"};

bool is_number(GgufType type) {
  return type != GgufType::kString && type != GgufType::kBool && type != GgufType::kArray;
}

class Reader {
 public:
  Reader(const GgufFile& file, WeightSources& sources) : file_(file), sources_(sources) {}

  Status run(ModelSpec& spec, std::vector<ModelFact>& facts) {
    ROWMAX_RETURN_IF_ERROR(check_keys());
    ROWMAX_RETURN_IF_ERROR(expect_int("version", kHadamardVersion));
    ROWMAX_RETURN_IF_ERROR(expect_text("transform", kHadamardTransform));
    ROWMAX_RETURN_IF_ERROR(expect_text("axis", kHadamardAxis));
    ROWMAX_RETURN_IF_ERROR(read_block());
    ROWMAX_RETURN_IF_ERROR(read_signs());
    ROWMAX_TRY(products, mark("weight_names", products_by_name()));
    ROWMAX_TRY(lookups, mark("inverse_weight_names", {{"token_embd.weight", &sources_.token_embedding}}));
    if (products + lookups == 0) return wrong(ErrorCode::kCorrupt, "weight_names", "expected names, found none");
    ROWMAX_RETURN_IF_ERROR(check_tied());
    ROWMAX_RETURN_IF_ERROR(mark_grouped(spec));
    facts.push_back({"hadamard",
                     concat(products + lookups, " matrices, blocks of ", block_, ", ",
                            signs_.empty() ? "no signs" : "explicit signs"),
                     "keys prism.hadamard.*"});
    return {};
  }

 private:
  using ByName = std::multimap<std::string_view, WeightSource*>;  // of a tensor all parts

  static std::string full(std::string_view key) { return concat(kHadamardPrefix, key); }
  Error wrong(ErrorCode code, std::string_view key, std::string_view text) const {
    return Error{code, concat(file_.name(), ": key ", quote(full(key)), ": ", text)};
  }

  Status check_keys() {
    for (const auto& [key, value] : file_.metadata()) {
      if (!key.starts_with(kHadamardPrefix)) continue;
      const std::string_view name = key.substr(kHadamardPrefix.size());
      if (std::ranges::find(kKeys, name) == std::end(kKeys)) {
        return wrong(ErrorCode::kUnsupported, name, "is not part of version 1");
      }
    }
    for (const char* needed : {"version", "block_size", "transform", "axis", "sign_mode", "weight_names"}) {
      if (file_.find(full(needed)) == nullptr) {
        return wrong(ErrorCode::kCorrupt, needed, "is missing beside other keys prism.hadamard.*");
      }
    }
    if (file_.find(full("gdn_v_grouped")) == nullptr) return {};
    ROWMAX_TRY(grouped, file_.get_bool(full("gdn_v_grouped")));
    grouped_ = grouped;
    return {};
  }

  // The columns of the delta nets' output products may have been left in the order of the model's own value heads.
  Status mark_grouped(ModelSpec& spec) const {
    if (!grouped_) return {};
    bool any = false;
    for (std::size_t i = 0; i < spec.layers.size(); ++i) {
      if (sources_.layers[i][W::kDeltaOutput].hadamard == nullptr) continue;
      spec.layers[i].delta.output_grouped = any = true;
    }
    if (any) return {};
    return wrong(ErrorCode::kUnsupported, "gdn_v_grouped",
                 "expected false (no delta net's output is turned), found true");
  }

  Status expect_int(std::string_view key, std::uint64_t expected) const {
    ROWMAX_TRY(found, file_.get_uint(full(key)));
    if (found == expected) return {};
    return wrong(ErrorCode::kUnsupported, key, concat("expected ", expected, ", found ", found));
  }
  Status expect_text(std::string_view key, std::string_view expected) const {
    ROWMAX_TRY(found, file_.get_string(full(key)));
    if (found == expected) return {};
    return wrong(ErrorCode::kUnsupported, key, concat("expected ", quote(expected), ", found ", quote(found)));
  }

  Status read_block() {
    ROWMAX_TRY(block, file_.get_uint(full("block_size")));
    if (block > static_cast<std::uint64_t>(kHadamardMaxBlock) || !is_hadamard_block(static_cast<std::int64_t>(block))) {
      return wrong(ErrorCode::kCorrupt, "block_size", concat("expected a power of two up to 2^20, found ", block));
    }
    block_ = static_cast<std::int64_t>(block);
    return {};
  }

  Status read_signs() {
    ROWMAX_TRY(mode, file_.get_string(full("sign_mode")));
    if (mode == "identity") {
      for (const char* key : {"sign_widths", "sign_values"}) {
        const GgufValue* found = file_.find(full(key));
        if (found == nullptr) continue;
        return wrong(ErrorCode::kCorrupt, key,
                     concat("expected none, as sign_mode is 'identity', found ", key_value_text(*found)));
      }
      return {};
    }
    if (mode != "explicit") {
      return wrong(ErrorCode::kUnsupported, "sign_mode",
                   concat("expected 'identity' or 'explicit', found ", quote(mode)));
    }
    for (const char* key : {"sign_widths", "sign_values"}) {
      if (file_.find(full(key)) == nullptr)
        return wrong(ErrorCode::kCorrupt, key, "is missing, as sign_mode is 'explicit'");
    }
    ROWMAX_TRY(widths, file_.get_int_array(full("sign_widths")));
    const GgufValue& found = *file_.find(full("sign_values"));
    const auto* values = std::get_if<GgufArray>(&found.value);
    if (values == nullptr || !is_number(values->element_type)) {
      return wrong(ErrorCode::kCorrupt, "sign_values",
                   concat("expected an array of numbers, found ", key_value_text(found)));
    }
    std::size_t at = 0;
    for (std::size_t i = 0; i < widths->size; ++i) {
      const std::int64_t width = widths->as_int(i);
      if (width < 1 || static_cast<std::uint64_t>(width) > values->size - at) {
        return wrong(
            ErrorCode::kCorrupt, "sign_widths",
            concat("expected widths whose sum is the ", values->size, " sign_values, found ", width, " at ", i));
      }
      std::vector<float> signs(static_cast<std::size_t>(width));
      for (float& sign : signs) {
        const double value = values->as_double(at);
        if (value != 1 && value != -1) {
          return wrong(ErrorCode::kCorrupt, "sign_values",
                       concat("expected 1 and -1 alone, found ", number_text(value), " at ", at));
        }
        sign = static_cast<float>(value);
        ++at;
      }
      if (!signs_.emplace(width, std::move(signs)).second) {
        return wrong(ErrorCode::kCorrupt, "sign_widths", concat("expected each width once, found ", width, " twice"));
      }
    }
    if (signs_.empty()) return wrong(ErrorCode::kCorrupt, "sign_widths", "expected widths, found none");
    if (at == values->size) return {};
    return wrong(ErrorCode::kCorrupt, "sign_values", concat("expected ", at, " (sign_widths), found ", values->size));
  }

  ByName products_by_name() {
    ByName out{{sources_.output.name, &sources_.output}};
    for (LayerSources& layer : sources_.layers) {
      for (const WeightInfo& info : weight_table()) {
        if (layer[info.id].present() && is_matrix(info.kind)) {
          out.emplace(layer[info.id].name, &layer[info.id]);
        }
      }
    }
    return out;
  }

  // How many matrices the key lists.
  Result<std::size_t> mark(std::string_view key, const ByName& known) {
    if (file_.find(full(key)) == nullptr) return std::size_t{0};
    ROWMAX_TRY(names, file_.get_array(full(key), GgufType::kString));
    std::set<std::string_view> seen;
    for (const std::string_view name : names->strings) {
      const auto [first, last] = known.equal_range(name);
      if (first == last) {
        return wrong(ErrorCode::kUnsupported, key,
                     concat(quote(name), " is no matrix that this model ",
                            key == "weight_names" ? "multiplies with" : "looks rows up in"));
      }
      if (!seen.insert(name).second) return wrong(ErrorCode::kCorrupt, key, concat(quote(name), " is listed twice"));
      if (std::ranges::any_of(first, last, [](const auto& part) { return part.second->columns; })) {
        return wrong(ErrorCode::kUnsupported, key, concat(quote(name), " is multiplied with by its columns"));
      }
      ROWMAX_TRY(hadamard, hadamard_for(key, *first->second));
      for (auto part = first; part != last; ++part) part->second->hadamard = hadamard;
    }
    return seen.size();
  }

  Result<const Hadamard*> hadamard_for(std::string_view key, const WeightSource& source) {
    const Hadamard*& hadamard = by_width_[source.cols];
    if (hadamard != nullptr) return hadamard;
    if (source.cols % block_ != 0) {
      return wrong(ErrorCode::kCorrupt, "block_size",
                   concat("expected a divisor of the ", source.cols, " columns of ", quote(source.name), " (",
                          full(key), "), found ", block_));
    }
    auto made = std::make_unique<Hadamard>();
    made->block = block_;
    if (!signs_.empty()) {
      const auto signs = signs_.find(source.cols);
      if (signs == signs_.end()) {
        return wrong(ErrorCode::kCorrupt, "sign_widths",
                     concat("expected the ", source.cols, " columns of ", quote(source.name), ", found no such width"));
      }
      made->signs = signs->second;
    }
    hadamard = made.get();
    sources_.hadamards.push_back(std::move(made));
    return hadamard;
  }

  // One matrix with two uses is stored once, so both are turned or none.
  Status check_tied() const {
    if (!sources_.tied || sources_.output.hadamard == sources_.token_embedding.hadamard) return {};
    const bool looked_up = sources_.token_embedding.hadamard != nullptr;
    return wrong(ErrorCode::kCorrupt, looked_up ? "weight_names" : "inverse_weight_names",
                 concat(quote(sources_.output.name), " is embedding and head of this model, but ",
                        looked_up ? "inverse_weight_names" : "weight_names", " alone lists it"));
  }

  const GgufFile& file_;
  WeightSources& sources_;
  std::int64_t block_ = 0;
  bool grouped_ = false;
  std::map<std::int64_t, std::vector<float>> signs_;
  std::map<std::int64_t, const Hadamard*> by_width_;
};

}  // namespace

Status apply_hadamard(const GgufFile& file, ModelSpec& spec, WeightSources& sources, std::vector<ModelFact>& facts) {
  const bool any =
      std::ranges::any_of(file.metadata(), [](const auto& entry) { return entry.first.starts_with(kHadamardPrefix); });
  return any ? Reader(file, sources).run(spec, facts) : Status();
}

}  // namespace rowmax::engine
