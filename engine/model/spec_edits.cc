#include "engine/model/spec_edits.h"

#include <algorithm>
#include <vector>

#include "engine/model/spec_facts.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

// Of the file and the tokenizer (engine/runtime/edits.cc).
constexpr EditInfo kOutside[] = {
    {"tensor_layout", "a layout that a type id of the file may stand for", EditScope::kTensor},
    {"pre_tokenizer", "the name of a pre-tokenizer", EditScope::kTokens},
    {"add_bos", "true or false", EditScope::kTokens},
};

Result<const SpecFact*> spec_fact_named(std::string_view name) {
  const auto found = std::ranges::find(spec_facts(), name, [](const SpecFact& fact) { return fact.info.name; });
  if (found != spec_facts().end()) return &*found;
  ROWMAX_RETURN_IF_ERROR(find_edit(name));
  return Error{ErrorCode::kInvalidArgument,
               "convention '" + std::string(name) + "' is no session's: it belongs to the model (Model::with_edits)"};
}

std::string values_of(const SpecFact& fact, const ModelSpec& spec) {
  return fact.values != nullptr ? fact.values(spec) : std::string(fact.info.values);
}

}  // namespace

const char* edit_scope_name(EditScope scope) noexcept {
  return scope == EditScope::kSession ? "session" : scope == EditScope::kTensor ? "tensor" : "tokens";
}

std::span<const EditInfo> edit_table() noexcept {
  static const std::vector<EditInfo> table = [] {
    std::vector<EditInfo> out;
    for (const SpecFact& fact : spec_facts()) out.push_back(fact.info);
    for (const EditInfo& info : source_edit_table()) out.push_back(info);
    for (const EditInfo& info : kOutside) out.push_back(info);
    return out;
  }();
  return table;
}

Result<const EditInfo*> find_edit(std::string_view name) {
  const std::span<const EditInfo> table = edit_table();
  const auto found = std::ranges::find(table, name, &EditInfo::name);
  if (found != table.end()) return &*found;
  std::string known;
  for (const EditInfo& info : table) known += (known.empty() ? "" : ", ") + std::string(info.name);
  return Error{ErrorCode::kInvalidArgument,
               "convention: expected one of " + known + ", found '" + std::string(name) + "'"};
}

Error wrong_edit(std::string_view name, std::string_view expected, std::string_view found) {
  return {ErrorCode::kInvalidArgument, "convention '" + std::string(name) + "': expected " + std::string(expected) +
                                           ", found '" + std::string(found) + "'"};
}

Error no_such_fact(std::string_view name, std::string_view why) {
  return {ErrorCode::kInvalidArgument, "convention '" + std::string(name) + "': " + std::string(why)};
}

Status apply_edit(ModelSpec& spec, std::string_view name, const std::string& value) {
  ROWMAX_TRY(fact, spec_fact_named(name));
  if (fact->get(spec) == std::set{value}) return {};
  if (fact->get(spec).empty()) {
    return no_such_fact(name, "no layer of this model has it");
  }
  return fact->set(spec, value) ? Status() : Status(wrong_edit(name, values_of(*fact, spec), value));
}

Status apply_edits(ModelSpec& spec, const Edits& edits) {
  for (const auto& [name, value] : edits) ROWMAX_RETURN_IF_ERROR(spec_fact_named(name));
  for (const SpecFact& fact : spec_facts()) {
    const auto last = std::ranges::find(edits.rbegin(), edits.rend(), fact.info.name,
                                        [](const auto& edit) { return std::string_view(edit.first); });
    if (last != edits.rend()) ROWMAX_RETURN_IF_ERROR(apply_edit(spec, fact.info.name, last->second));
  }
  return edits.empty() ? Status() : check_turns(spec);
}

Result<std::string> edit_value(const ModelSpec& spec, std::string_view name) {
  ROWMAX_TRY(fact, spec_fact_named(name));
  std::string text;
  for (const std::string& value : fact->get(spec)) text += (text.empty() ? "" : ",") + value;
  return text;
}

Result<std::string> edit_values(const ModelSpec& spec, std::string_view name) {
  ROWMAX_TRY(fact, spec_fact_named(name));
  return values_of(*fact, spec);
}

}  // namespace rowmax::engine
