// What may be wrong with a model's conventions, as edits to try: every fact that the engine can change, with the values
// that other models, converters and engines use.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rowmax/doctor/report.h"
#include "rowmax/engine/edits.h"
#include "rowmax/engine/model.h"

namespace rowmax::doctor {

struct Variant {
  engine::Edits edits;
  std::string_view cause;  // what is wrong with the model if this variant is right
  Place place = {};
  // Takes back an edit that the model was loaded with: where no edit can do that, by a load without it.
  bool takes_back = false;
};
// Whether a variant makes whatever a model computes weaker or stronger: one that does helps any broken model a little.
bool only_damps(const Variant& variant);
// The metadata key that says a fact in files of an architecture; "" where none does.
std::string key_of_fact(std::string_view architecture, std::string_view fact);
// The cause that a fact of the menu stands for; "" for others.
std::string_view cause_of_fact(std::string_view fact) noexcept;
std::string edits_text(const engine::Edits& edits);  // "rope_pairing=adjacent", several with spaces

// Single changes of what the whole model agrees on, the likeliest first. asked: edits the model was loaded with, each of
// which is taken back as well, to what the file says. facts: as they are in effect; file_facts: without `asked`.
std::vector<Variant> convention_variants(std::span<const engine::EditableFact> facts,
                                         std::span<const engine::EditableFact> file_facts, const engine::Edits& asked,
                                         const engine::Model& model);
// Nearer and nearer values around that of a variant of one number; empty for others.
std::vector<Variant> finer_variants(const Variant& variant, double step);
// Where in the layers something is wrong: a mixer or an FFN left out, neighbours exchanged.
std::vector<Variant> layer_variants(std::span<const engine::EditableFact> facts, std::int64_t n_layer);
// What may be wrong with the tensors of one layer.
std::vector<Variant> tensor_variants(std::span<const engine::EditableFact> facts, const engine::GgufFile& file,
                                     std::int64_t layer);
// What else may be wrong with one of that layer's tensors: it is that of any other layer.
std::vector<Variant> repair_variants(std::span<const engine::EditableFact> facts, const engine::GgufFile& file,
                                     std::int64_t layer, std::int64_t n_layer);
// What may be wrong with tensors of no layer, and with one kind of tensor in all layers.
std::vector<Variant> stem_variants(std::span<const engine::EditableFact> facts, const engine::GgufFile& file,
                                   std::int64_t n_layer);

}  // namespace rowmax::doctor
