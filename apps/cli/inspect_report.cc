#include "apps/cli/inspect_report.h"

#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "apps/cli/engine_setup.h"
#include "apps/cli/metadata_value.h"
#include "apps/cli/sequence_memory.h"
#include "apps/cli/tensor_tree.h"
#include "apps/cli/terminal.h"
#include "rowmax/try.h"

namespace rowmax::cli {
namespace {

constexpr std::size_t kShownItems = 6;
constexpr std::size_t kShownBytes = 70;
constexpr std::size_t kJsonItems = 64;

std::string heading(std::string_view text) { return "\n" + bold(text, STDOUT_FILENO) + "\n"; }

std::string padded(std::string text, std::size_t width) {
  if (text.size() < width) text.append(width - text.size(), ' ');
  return text;
}

std::string facts_text(const engine::ModelDescription& description) {
  std::size_t name_width = 0, value_width = 0;
  for (const engine::ModelFact& fact : description.facts) {
    name_width = std::max(name_width, fact.name.size());
    value_width = std::max(value_width, fact.value.size());
  }
  std::string out;
  for (const engine::ModelFact& fact : description.facts) {
    out += padded(fact.name, name_width) + "  " + padded(shown(fact.value, STDOUT_FILENO), value_width) + "  " +
           dim(shown(fact.source, STDOUT_FILENO), STDOUT_FILENO) + "\n";
  }
  return out;
}

std::string token_text(const engine::Tokenizer& tokenizer, engine::TokenId id) {
  if (id < 0) return "none";
  return std::to_string(id) + " " + shown(tokenizer.text(id), STDOUT_FILENO);
}

std::string tokenizer_text(const engine::Tokenizer& tokenizer) {
  std::string out = shown(tokenizer.model(), STDOUT_FILENO) + ", pre-tokenizer " +
                    shown(tokenizer.pre(), STDOUT_FILENO) + ", " + std::to_string(tokenizer.size()) + " tokens\n";
  out +=
      "bos " + token_text(tokenizer, tokenizer.bos()) + (tokenizer.add_bos() ? " (put first)\n" : " (not put first)\n");
  out += "eos " + token_text(tokenizer, tokenizer.eos()) + "\nstops at";
  for (const engine::TokenId id : tokenizer.end_of_generation()) out += "  " + token_text(tokenizer, id);
  return out + "\n";
}

Json tokenizer_json(const engine::Tokenizer& tokenizer) {
  return {{"model", tokenizer.model()},
          {"pre", tokenizer.pre()},
          {"size", tokenizer.size()},
          {"bos", tokenizer.bos()},
          {"eos", tokenizer.eos()},
          {"add_bos", tokenizer.add_bos()},
          {"end_of_generation", tokenizer.end_of_generation()}};
}

Json error_json(const Error& error) {
  return {{"error", {{"code", error_code_name(error.code)}, {"message", error.message}}}};
}

Json description_json(const engine::ModelDescription& description) {
  const engine::ModelShape& shape = description.shape;
  Json facts = Json::array();
  for (const engine::ModelFact& fact : description.facts) {
    facts.push_back({{"name", fact.name}, {"value", fact.value}, {"source", fact.source}});
  }
  return {{"architecture", description.architecture},
          {"shape",
           {{"n_layer", shape.n_layer},
            {"n_embd", shape.n_embd},
            {"n_head", shape.n_head},
            {"n_kv_head", shape.n_kv_head},
            {"head_dim", shape.head_dim},
            {"n_ff", shape.n_ff},
            {"n_vocab", shape.n_vocab},
            {"context_length", shape.context_length}}},
          {"facts", facts},
          {"sequence_memory", memory_json(description)},
          {"notices", description.notices}};
}

std::string conventions_text(const std::vector<engine::EditableFact>& facts, bool all) {
  std::size_t name_width = 0, value_width = 0;
  for (const engine::EditableFact& fact : facts) {
    name_width = std::max(name_width, fact.name.size());
    value_width = std::max(value_width, fact.value.size());
  }
  std::string out;
  for (const engine::EditableFact& fact : facts) {
    const bool cut = !all && fact.values.size() > kShownBytes;
    out += padded(std::string(fact.name), name_width) + "  " + padded(shown(fact.value, STDOUT_FILENO), value_width) +
           "  " + dim(cut ? fact.values.substr(0, kShownBytes) + "..." : fact.values, STDOUT_FILENO) + "\n";
  }
  return out;
}

Json conventions_json(const std::vector<engine::EditableFact>& facts) {
  Json out = Json::array();
  for (const engine::EditableFact& fact : facts) {
    out.push_back({{"name", fact.name},
                   {"value", fact.value},
                   {"values", fact.values},
                   {"scope", engine::edit_scope_name(fact.scope)}});
  }
  return out;
}

// Behind a key that is not read: what becomes of it, and why.
std::string key_mark(const Inspection& inspection, std::string_view key) {
  for (const engine::KeyReport& report : inspection.keys) {
    if (report.key != key || report.use == engine::KeyUse::kRead) continue;
    return "  " + dim(std::string(engine::key_use_name(report.use)) + ": " + std::string(report.why), STDOUT_FILENO);
  }
  return "";
}

std::string metadata_section(const Inspection& inspection, bool all) {
  const engine::GgufFile& file = inspection.file;
  std::size_t width = 0;
  for (const auto& [key, value] : file.metadata()) width = std::max(width, key.size());
  const std::size_t most = static_cast<std::size_t>(-1);
  std::string out;
  for (const auto& [key, value] : file.metadata()) {
    out += padded(shown(key, STDOUT_FILENO), width) + "  " + padded(metadata_type(value), 6) + "  " +
           shown(metadata_text(value, all ? most : kShownItems, all ? most : kShownBytes), STDOUT_FILENO) +
           key_mark(inspection, key) + "\n";
  }
  return out;
}

std::string kernels_text(const Result<engine::KernelVariant>& kernels) {
  if (!kernels.ok()) return "no kernels: " + shown(kernels.error().message, STDOUT_FILENO) + "\n";
  return "computed here with the kernels " + std::string(kernels->name) + " (instruction set " +
         std::string(isa_name(kernels->isa)) + ")\n";
}

Json kernels_json(const Result<engine::KernelVariant>& kernels) {
  if (!kernels.ok()) return error_json(kernels.error());
  return {{"name", kernels->name}, {"isa", isa_name(kernels->isa)}};
}

std::vector<std::string> all_notices(const Inspection& inspection) {
  std::vector<std::string> notices(inspection.file.notices().begin(), inspection.file.notices().end());
  const auto add = [&](const auto& more) {
    for (const std::string& notice : more) {
      if (std::find(notices.begin(), notices.end(), notice) == notices.end()) notices.push_back(notice);
    }
  };
  if (inspection.description.ok()) add(inspection.description->notices);
  if (inspection.tokenizer.ok()) add(inspection.tokenizer->notices());
  if (inspection.tokenizer.ok()) add(inspection.tokenizer->remarks());
  return notices;
}

}  // namespace

const Error* Inspection::first_error() const {
  if (!description.ok()) return &description.error();
  if (!tokenizer.ok()) return &tokenizer.error();
  if (!conventions.ok()) return &conventions.error();
  return kernels.ok() ? nullptr : &kernels.error();
}

Result<Inspection> inspect_file(const engine::GgufFile& file, const engine::TokenizerOptions& options,
                                const engine::Edits& edits, Result<engine::KernelVariant> kernels) {
  ROWMAX_TRY(keys, engine::report_keys(file, options.overrides, options.ignored_keys));
  auto description = engine::describe_model(file, options.overrides, options.ignored_keys);
  if (!description.ok()) {
    description = with_nearest_architecture(std::move(description).error(), architecture_of(file));
  }
  engine::TokenizerOptions known = options;
  if (description.ok() && known.default_pre.empty()) known.default_pre = description->default_pre;
  auto tokenizer = engine::Tokenizer::from_gguf(file, known);
  engine::ModelOptions of_model;
  of_model.overrides = options.overrides;
  of_model.ignored_keys = options.ignored_keys;
  of_model.edits = edits;
  if (description.ok()) {
    std::ranges::move(idle_conventions(file, of_model), std::back_inserter(description->notices));
  }
  auto conventions = engine::editable_facts(file, of_model, tokenizer.ok() ? &*tokenizer : nullptr);
  Inspection inspection{.file = file,
                        .description = std::move(description),
                        .tokenizer = std::move(tokenizer),
                        .chat_template = "",
                        .template_error = {},
                        .kernels = std::move(kernels),
                        .keys = std::move(keys),
                        .conventions = std::move(conventions)};
  if (const engine::GgufValue* value = file.find("tokenizer.chat_template")) {
    if (const auto* text = std::get_if<std::string_view>(&value->value)) inspection.chat_template = *text;
  }
  if (!inspection.chat_template.empty()) {
    auto parsed = engine::ChatTemplate::parse(inspection.chat_template);
    if (!parsed.ok()) inspection.template_error = std::move(parsed).error();
  }
  return inspection;
}

std::string inspection_text(const Inspection& inspection, bool all) {
  const engine::GgufFile& file = inspection.file;
  std::string out = bold(shown(file.name(), STDOUT_FILENO), STDOUT_FILENO) + "\nGGUF version " +
                    std::to_string(file.version()) + ", " + human_bytes(static_cast<double>(file.file_bytes())) + ", " +
                    std::to_string(file.metadata().size()) + " keys, " + std::to_string(file.tensors().size()) +
                    " tensors\n";
  out += heading("Model");
  out += inspection.description.ok()
             ? facts_text(*inspection.description) + kernels_text(inspection.kernels)
             : "cannot be run: " + shown(inspection.description.error().message, STDOUT_FILENO) + "\n";
  if (inspection.description.ok()) {
    out += heading("Memory of a sequence") + memory_text(*inspection.description);
  }
  out += heading("Tokenizer");
  out += inspection.tokenizer.ok()
             ? tokenizer_text(*inspection.tokenizer)
             : "cannot be used: " + shown(inspection.tokenizer.error().message, STDOUT_FILENO) + "\n";
  out += heading("Chat template");
  if (inspection.chat_template.empty()) {
    out += "none: `rowmax run` goes on with plain text, `rowmax chat` refuses\n";
  } else if (inspection.template_error) {
    out += "cannot be used: " + shown(inspection.template_error->message, STDOUT_FILENO) + "\n";
  } else {
    out += std::to_string(inspection.chat_template.size()) + " bytes, can be used\n";
  }
  if (inspection.conventions.ok()) {
    out += heading("What --convention NAME=VALUE can change") + conventions_text(*inspection.conventions, all);
  }
  out += heading("Keys") + metadata_section(inspection, all);
  out += heading("Tensors") + tensor_tree(file.tensors(), !all) + "\n" + tensor_types(file.tensors());
  const std::vector<std::string> notices = all_notices(inspection);
  if (!notices.empty()) out += heading("Notes");
  for (const std::string& notice : notices) out += shown(notice, STDOUT_FILENO) + "\n";
  return out;
}

Json inspection_json(const Inspection& inspection) {
  const engine::GgufFile& file = inspection.file;
  Json metadata = Json::object(), tensors = Json::array(), keys = Json::array();
  for (const engine::KeyReport& report : inspection.keys) {
    keys.push_back({{"key", report.key}, {"use", engine::key_use_name(report.use)}, {"why", report.why}});
  }
  for (const auto& [key, value] : file.metadata()) metadata.append(key, metadata_json(value, kJsonItems));
  for (const engine::GgufTensor& tensor : file.tensors()) {
    tensors.push_back({{"name", tensor.name},
                       {"type", engine::gguf_tensor_type_name(tensor.type)},
                       {"shape", tensor.shape},
                       {"offset", tensor.offset},
                       {"bytes", tensor.data.size()}});
  }
  Json chat_template = {{"present", !inspection.chat_template.empty()}};
  if (inspection.template_error) chat_template.update(error_json(*inspection.template_error));
  return {{"file",
           {{"path", file.name()},
            {"version", file.version()},
            {"bytes", file.file_bytes()},
            {"alignment", file.alignment()}}},
          {"model", inspection.description.ok() ? description_json(*inspection.description)
                                                : error_json(inspection.description.error())},
          {"kernels", kernels_json(inspection.kernels)},
          {"tokenizer", inspection.tokenizer.ok() ? tokenizer_json(*inspection.tokenizer)
                                                  : error_json(inspection.tokenizer.error())},
          {"chat_template", chat_template},
          {"conventions", inspection.conventions.ok() ? conventions_json(*inspection.conventions)
                                                      : error_json(inspection.conventions.error())},
          {"metadata", metadata},
          {"keys", keys},
          {"tensors", tensors},
          {"notices", all_notices(inspection)}};
}

}  // namespace rowmax::cli
