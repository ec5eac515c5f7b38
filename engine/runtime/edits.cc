#include "engine/runtime/edits.h"

#include <algorithm>
#include <utility>

#include "base/guarded.h"
#include "engine/model/memory_shape.h"
#include "engine/model/spec_edits.h"
#include "engine/runtime/model_impl.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

constexpr std::string_view kLayout = "tensor_layout", kPre = "pre_tokenizer", kAddBos = "add_bos";
constexpr const char* kAddBosKey = "tokenizer.ggml.add_bos_token";

template <class Names>
std::string list(const Names& names) {
  std::string out;
  for (std::size_t i = 0; i < names.size(); ++i) {
    out += (i == 0 ? "" : i + 1 == names.size() ? " or " : ", ") + std::string(names[i]);
  }
  return out;
}

bool is_source_edit(std::string_view name) {
  return std::ranges::find(source_edit_table(), name, &EditInfo::name) != source_edit_table().end();
}

// What the file's ambiguous type ids are taken for, and could be.
struct Layouts {
  std::vector<std::string_view> taken, names;
};
Result<Layouts> layouts_of(const GgufFile& file) {
  ROWMAX_TRY(choices, gguf_layout_choices(file));
  Layouts out;
  for (const GgufLayoutChoice& choice : choices) {
    out.taken.push_back(choice.taken);
    out.names.insert(out.names.end(), choice.names.begin(), choice.names.end());
  }
  return out;
}

Status check_layouts(const GgufFile& file, const Edits& edits) {
  for (const auto& [name, value] : edits) {
    if (name != kLayout) continue;
    ROWMAX_TRY(layouts, layouts_of(file));
    if (layouts.names.empty()) {
      return Error{ErrorCode::kInvalidArgument,
                   "convention 'tensor_layout': no tensor of this file has a type that stands for several layouts"};
    }
    if (std::ranges::find(layouts.names, value) == layouts.names.end()) {
      return wrong_edit(name, list(layouts.names), value);
    }
  }
  return {};
}

std::string with_commas(const std::vector<std::string_view>& names) {
  std::string out;
  for (const std::string_view name : names) out += (out.empty() ? "" : ",") + std::string(name);
  return out;
}

// The fact's value and what it may be; both empty where the model has no such thing.
Result<EditableFact> fact_of(const EditInfo& info, const ModelSpec& spec, const WeightSources& sources,
                             const GgufFile& file, const Tokenizer* tokenizer) {
  EditableFact fact{info.name, "", std::string(info.values), info.scope};
  if (info.name == kLayout) {
    ROWMAX_TRY(layouts, layouts_of(file));
    fact.value = with_commas(layouts.taken);
    fact.values = list(layouts.names);
  } else if (info.scope == EditScope::kTensor) {
    fact.value = edit_value(sources, info.name);
  } else if (info.scope == EditScope::kSession) {
    ROWMAX_TRY(value, edit_value(spec, info.name));
    fact.value = std::move(value);
    if (fact.value.empty()) return fact;
    ROWMAX_TRY(values, edit_values(spec, info.name));
    fact.values = std::move(values);
  } else if (tokenizer != nullptr && info.name == kAddBos) {
    fact.value = tokenizer->add_bos() ? "true" : "false";
  } else if (tokenizer != nullptr && tokenizer->model() == "gpt2") {
    fact.value = tokenizer->pre();
    fact.values = list(Tokenizer::pre_tokenizer_names());
  }
  return fact;
}

}  // namespace

Result<Edits> last_edits(const Edits& edits) {
  Edits out;
  for (const auto& edit : edits) {
    ROWMAX_RETURN_IF_ERROR(find_edit(edit.first));
    const auto before = std::ranges::find(out, edit.first, &Edits::value_type::first);
    before != out.end() ? void(*before = edit) : out.push_back(edit);
  }
  return out;
}

Status of_file(const GgufFile& file, Status status) {
  if (status.ok() || status.error().code != ErrorCode::kInvalidArgument) return status;
  return Error{status.error().code, file.name() + ": " + status.error().message};
}

Status edit_layouts(GgufFile& file, const Edits& edits) {
  ROWMAX_RETURN_IF_ERROR(check_layouts(file, edits));
  for (const auto& [name, value] : edits) {
    if (name != kLayout) continue;
    if (std::ranges::find(file.options().formats, value) != file.options().formats.end()) continue;
    ROWMAX_TRY(again, file.reopen({{value}}));
    file = std::move(again);
  }
  return {};
}

Status edit_read_model(ReadModel& model, const Edits& edits) {
  for (const auto& [name, value] : edits) {
    if (is_source_edit(name)) ROWMAX_RETURN_IF_ERROR(apply_edit(model.spec, model.sources, name, value));
  }
  Edits of_session;
  for (const auto& edit : edits) {
    ROWMAX_TRY(info, find_edit(edit.first));
    if (info->scope == EditScope::kSession) of_session.push_back(edit);
  }
  ROWMAX_RETURN_IF_ERROR(apply_edits(model.spec, of_session));
  model.description.memory = memory_shape(model.spec);
  return {};
}

bool same_tokenizer(const Edits& a, const Edits& b) {
  return std::ranges::all_of(edit_table(), [&](const EditInfo& info) {
    if (info.scope != EditScope::kTokens) return true;
    const auto one = std::ranges::find(a, info.name, &Edits::value_type::first);
    const auto other = std::ranges::find(b, info.name, &Edits::value_type::first);
    return one == a.end() || other == b.end() ? one == a.end() && other == b.end() : one->second == other->second;
  });
}

Status edit_options(const Edits& edits, GgufOptions& gguf, TokenizerOptions& tokenizer) {
  return base::guarded([&]() -> Status {
    ROWMAX_TRY(last, last_edits(edits));
    for (const auto& [name, value] : last) {
      if (name == kLayout) gguf.formats.push_back(value);
      if (name == kPre) {
        const auto names = Tokenizer::pre_tokenizer_names();
        if (std::ranges::find(names, value) == names.end()) return wrong_edit(name, list(names), value);
        tokenizer.pre_override = value;
      }
      if (name == kAddBos) {
        if (value != "true" && value != "false") return wrong_edit(name, "true or false", value);
        tokenizer.overrides.emplace_back(kAddBosKey, value);
      }
    }
    return {};
  });
}

Result<std::string> edit_value(const Model& model, std::string_view name) {
  return base::guarded([&]() -> Result<std::string> {
    ROWMAX_TRY(info, find_edit(name));
    const Model::Impl& m = model.impl();
    ROWMAX_TRY(fact, fact_of(*info, m.spec, m.weights.sources, m.file, m.tokenizer.get()));
    return std::move(fact.value);
  });
}

namespace {

// The model as if it had this layer and what it turns by alone.
ModelSpec one_layer(const ModelSpec& whole, std::size_t layer) {
  ModelSpec one = whole;
  one.layers = {whole.layers[layer]};
  one.ropes.clear();
  one.ropes_exchanged = false;
  AttentionSpec& attention = one.layers[0].attention;
  if (one.layers[0].attends() && attention.rope >= 0) {
    one.ropes.push_back(whole.ropes[static_cast<std::size_t>(whole.rope_of(attention))]);
    attention.rope = 0;
  }
  return one;
}

// What editable_facts read.
Result<ReadModel> read_edited(const GgufFile& file, const ModelOptions& options) {
  ROWMAX_TRY(edits, last_edits(options.edits));
  ROWMAX_RETURN_IF_ERROR(of_file(file, check_layouts(file, edits)));
  ROWMAX_TRY(read, read_model(file, options.overrides, options.ignored_keys));
  ROWMAX_RETURN_IF_ERROR(of_file(file, edit_read_model(read, edits)));
  return read;
}

}  // namespace

Result<std::string> edit_value(const Model& model, std::string_view name, std::int64_t layer) {
  return base::guarded([&]() -> Result<std::string> {
    const ModelSpec& whole = model.impl().spec;
    if (layer < 0 || layer >= std::ssize(whole.layers)) {
      return Error::invalid_argument("layer: expected 0 to " + std::to_string(std::ssize(whole.layers) - 1) +
                                     ", found " + std::to_string(layer));
    }
    return edit_value(one_layer(whole, static_cast<std::size_t>(layer)), name);
  });
}

Result<std::vector<EditableFact>> editable_facts(const GgufFile& file, const ModelOptions& options,
                                                 const Tokenizer* tokenizer) {
  return base::guarded([&]() -> Result<std::vector<EditableFact>> {
    ROWMAX_TRY(read, read_edited(file, options));
    std::vector<EditableFact> facts;
    for (const EditInfo& info : edit_table()) {
      ROWMAX_TRY(fact, fact_of(info, read.spec, read.sources, file, tokenizer));
      if (!fact.value.empty()) facts.push_back(std::move(fact));
    }
    return facts;
  });
}

Result<std::vector<std::vector<EditableFact>>> facts_of_layers(const GgufFile& file, const ModelOptions& options) {
  return base::guarded([&]() -> Result<std::vector<std::vector<EditableFact>>> {
    ROWMAX_TRY(read, read_edited(file, options));
    std::vector<std::vector<EditableFact>> layers(read.spec.layers.size());
    for (std::size_t i = 0; i < layers.size(); ++i) {
      const ModelSpec one = one_layer(read.spec, i);
      for (const EditInfo& info : edit_table()) {
        if (info.scope != EditScope::kSession) continue;
        ROWMAX_TRY(fact, fact_of(info, one, read.sources, file, nullptr));
        if (!fact.value.empty()) layers[i].push_back(std::move(fact));
      }
    }
    return layers;
  });
}

}  // namespace rowmax::engine
