// rowmax serve: answers over HTTP.
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <thread>

#include "apps/cli/command.h"
#include "apps/cli/drafts.h"
#include "apps/cli/embedded_model.h"
#include "apps/cli/engine_setup.h"
#include "apps/cli/interrupt.h"
#include "apps/cli/json_output.h"
#include "apps/cli/kernel_list.h"
#include "apps/cli/log_writer.h"
#include "apps/cli/options.h"
#include "apps/cli/pull.h"
#include "apps/cli/terminal.h"
#include "rowmax/try.h"

#ifdef ROWMAX_WITH_SERVER
#include "apps/server/http_server.h"
#include "apps/server/sandbox.h"
#include "apps/server/service.h"
#include "apps/server/tls.h"
#include "apps/tool_calls/tool_format.h"
#endif

namespace rowmax::cli {
namespace {

constexpr const char* kServeExamples = R"(
Examples:
  rowmax serve                                   the model in the program, on http://127.0.0.1:8080
  rowmax serve -m smollm2 --pull --port 9000
  rowmax serve -m model.gguf --host 0.0.0.0 --api-key-file keys.txt
  rowmax serve -m model.gguf --host 0.0.0.0 --api-key-file keys.txt --tls-cert server.pem --tls-key key.pem
  rowmax serve -m model.gguf --sandbox           what has a hole can open no file and start no program
  rowmax serve -m model.gguf --cache-dir ~/.cache/rowmax-prefixes --cache-disk 4096
  rowmax serve -m model.gguf --normalise date --normalise 'id:/request-id: [0-9a-f]+/request-id: 0/'
  rowmax serve -m model.gguf --tool-format hermes   where the chat template does not show how calls are written
  rowmax serve -m model.gguf --unix /run/user/1000/rowmax.sock --host ""
  curl http://127.0.0.1:8080/v1/completions -H 'Content-Type: application/json' \
       -d '{"prompt": "Once upon a time", "max_tokens": 40}'
The address is printed when the model is ready; a browser finds a page to chat on there, programs OpenAI's chat completions,
completions and embeddings and more: docs/server.md lists routes, fields and limits. One JSON object a request goes to
standard error (not with -q). SIGTERM finishes what runs.
The same request has the same answer, whatever else the server does: a request that names no seed has that of --seed.
)";

struct ServeFlags {
  EngineFlags engine;
  SessionFlags session;
  SamplingFlags sampling;
  TemplateFlags chat;
  DraftFlags drafts;
  std::string host = "127.0.0.1", unix_path, key_file, alias, pooling, tool_format, tls_certificate, tls_key;
  std::vector<std::string> keys, origins, normalise;
  std::string cache_dir;
  std::int64_t cache_disk = 8192;
  int port = 8080, parallel = 8;
  std::int64_t queue = 256, max_tokens = -1, max_body = 16, drain = 30, max_connections = 2048, stream_wait = 300;
  bool allow_public = false, log_prompts = false, pull = false, no_web = false, sandbox = false;
};

#ifdef ROWMAX_WITH_SERVER

constexpr std::size_t kFewestKeyBytes = 8;
constexpr auto kLastWork = std::chrono::seconds(1);  // of a request that is being read when the server has ended
constexpr std::size_t kLogBytes = 1 << 20;           // that wait for who reads the log

Result<std::vector<std::string>> read_keys(const ServeFlags& flags) {
  std::vector<std::string> keys = flags.keys;
  if (!flags.key_file.empty()) {
    ROWMAX_TRY(content, read_text(flags.key_file));
    std::size_t begin = 0;
    while (begin < content.size()) {
      const std::size_t end = std::min(content.find('\n', begin), content.size());
      std::string line = content.substr(begin, end - begin);
      while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
      if (!line.empty() && line[0] != '#') keys.push_back(std::move(line));
      begin = end + 1;
    }
    if (keys.empty()) return Error::invalid_argument("--api-key-file: expected a key a line, found none");
  }
  for (const std::string& key : keys) {
    const bool printable = std::ranges::all_of(key, [](char c) { return c > ' ' && c < 0x7F; });
    if (key.size() >= kFewestKeyBytes && printable) continue;
    return Error::invalid_argument("--api-key: expected at least 8 characters of ASCII without spaces in each key");
  }
  return keys;
}

Result<std::vector<server::Listener>> open_sockets(const ServeFlags& flags, bool has_keys) {
  auto listeners = server::listen_on({.host = flags.host,
                                      .port = flags.port,
                                      .unix_path = flags.unix_path,
                                      .allow_public = has_keys || flags.allow_public,
                                      .tls = !flags.tls_certificate.empty()});
  if (!listeners.ok() && listeners.error().message.ends_with("is reached from other machines")) {
    return Error::invalid_argument(listeners.error().message +
                                   ": give --api-key or --api-key-file, or --allow-public-without-key");
  }
  if (listeners.ok() && listeners->empty())
    return Error::invalid_argument("--host: expected an address, or --unix PATH");
  return listeners;
}

// nullptr without the flags. What clients will say of the certificate is noted.
Result<std::shared_ptr<const server::TlsContext>> read_tls(const ServeFlags& flags) {
  if (flags.tls_certificate.empty() != flags.tls_key.empty()) {
    return Error::invalid_argument("--tls-cert and --tls-key: expected both, found only " +
                                   std::string(flags.tls_key.empty() ? "--tls-cert" : "--tls-key"));
  }
  if (flags.tls_certificate.empty()) return std::shared_ptr<const server::TlsContext>();
  std::vector<std::string> warnings;
  ROWMAX_TRY(context, server::TlsContext::create({flags.tls_certificate, flags.tls_key}, warnings));
  for (const std::string& warning : warnings) note(warning);
  return context;
}

// Requests' bodies in the log are longer than its other lines.
std::size_t most_log_bytes(const ServeFlags& flags) {
  return kLogBytes + (flags.log_prompts ? static_cast<std::size_t>(flags.max_body) << 22 : 0);
}

// The log must outlive the service.
server::ServiceOptions service_options(const ServeFlags& flags, std::vector<std::string> keys, LogWriter& log) {
  server::ServiceOptions options;
  options.access = {.keys = std::move(keys),
                    .allowed_origins = flags.origins,
                    .host = flags.host,
                    .any_host = flags.allow_public,
                    .strangers = flags.allow_public};
  options.log_prompts = flags.log_prompts;
  options.page = !flags.no_web;
  if (!flags.engine.quiet) options.log = [&log](const Json& line) { log.add(line.dump() + "\n"); };
  return options;
}

std::string model_name(const ServeFlags& flags) {
  if (!flags.alias.empty()) return flags.alias;
  std::string name = std::filesystem::path(flags.engine.model).filename().string();
  if (name.ends_with(".gguf")) name.resize(name.size() - 5);
  return name;
}

// Everything that answers, in the order in which it is made; what is below goes first.
struct Engines {
  Engine engine;
  Drafts drafts;
  std::unique_ptr<engine::ChatTemplate> chat_template;
  std::optional<engine::Session> session;
  std::optional<engine::DiskCache> disk;
  std::optional<engine::Scheduler> scheduler;
  server::ServedModel served;
};

// The thread that waits for sockets; however it is left, it ends.
class NetworkThread {
 public:
  explicit NetworkThread(server::HttpServer& network) : network_(network), thread_([&network] { network.run(); }) {}
  NetworkThread(const NetworkThread&) = delete;
  NetworkThread& operator=(const NetworkThread&) = delete;
  ~NetworkThread() {
    if (!thread_.joinable()) return;
    network_.stop();
    thread_.join();
  }
  void join() { thread_.join(); }

 private:
  server::HttpServer& network_;
  std::thread thread_;
};

// The thread that computes.
class EngineThread {
 public:
  explicit EngineThread(engine::Scheduler& scheduler) : scheduler_(scheduler), thread_([&] { scheduler_.run(); }) {}
  EngineThread(const EngineThread&) = delete;
  EngineThread& operator=(const EngineThread&) = delete;
  ~EngineThread() {
    scheduler_.stop();
    thread_.join();
  }

 private:
  engine::Scheduler& scheduler_;
  std::thread thread_;
};

struct ServiceCloser {
  server::Service& service;
  ~ServiceCloser() { service.close(); }
};

Status choose_pooling(const ServeFlags& flags, server::ServedModel& served) {
  for (const engine::Pooling pooling : {engine::Pooling::kLast, engine::Pooling::kMean, engine::Pooling::kCls}) {
    if (flags.pooling == engine::pooling_name(pooling)) served.pooling = pooling;
  }
  if (served.pooling) return {};
  const auto named = engine::pooling_of(*served.model);
  if (named.ok()) {
    served.pooling = *named;
  } else {
    served.no_pooling = "this model is not made for embeddings: " + named.error().message +
                        " (--pooling last, mean or cls makes it give them)";
  }
  return {};
}

// What is enforced, for the log; null without --sandbox.
Result<Json> enter_sandbox(const ServeFlags& flags) {
  if (!flags.sandbox) return Json();
  ROWMAX_TRY(report, server::enter_sandbox({.directory = flags.cache_dir, .socket_path = flags.unix_path}));
  return Json{{"landlock", report.landlock}, {"enforced", report.enforced}};
}

const char* event_name(engine::DiskCacheEvent::Kind kind) {
  switch (kind) {
    case engine::DiskCacheEvent::Kind::kDamaged: return "damaged";
    case engine::DiskCacheEvent::Kind::kWriteFailed: return "write_failed";
    case engine::DiskCacheEvent::Kind::kWritesAgain: return "writes_again";
  }
  return "";
}

Status open_disk(const ServeFlags& flags, const engine::SessionOptions& session, Engines& all,
                 server::Service& service) {
  engine::DiskCacheOptions options;
  options.folder = flags.cache_dir;
  options.bytes = flags.cache_disk << 20;
  options.version = ROWMAX_VERSION;
  options.listener = [&service](const engine::DiskCacheEvent& event) {
    service.log("cache_disk", {{"what", event_name(event.kind)}, {"file", event.file}, {"why", event.what}});
  };
  const std::int64_t page = engine::page_file_bytes(*all.session);
  if (page > options.bytes) {
    return Error::invalid_argument("--cache-disk: expected " + std::to_string((page + (1 << 20) - 1) >> 20) +
                                   " MiB or more, room for a page of 64 tokens of this model, found " +
                                   std::to_string(flags.cache_disk));
  }
  auto opened = engine::DiskCache::open(options, *all.session, session);
  if (!opened.ok()) return Error{opened.error().code, "--cache-dir: " + opened.error().message};
  all.disk = std::move(opened).value();
  const engine::DiskCacheStatistics found = all.disk->statistics();
  service.log("cache_disk", {{"what", "opened"},
                             {"pages", found.files - found.foreign_files},
                             {"pages_of_others", found.foreign_files},
                             {"bytes", found.bytes},
                             {"most_bytes", options.bytes}});
  return {};
}

Status load(const ServeFlags& flags, const engine::SamplingParams& sampling, Engines& all, server::Service& service) {
  engine::SessionOptions options = session_options(flags.session);
  options.max_sequences = flags.parallel;
  if (flags.pull) ROWMAX_RETURN_IF_ERROR(pull_if_missing(flags.engine.model, flags.engine.quiet));
  ROWMAX_TRY(loaded, load_engine(flags.engine, options));
  all.engine = std::move(loaded);
  const engine::Model& model = *all.engine.model;
  ROWMAX_RETURN_IF_ERROR(engine::validate(sampling, model.shape().n_vocab));
  ROWMAX_TRY(chat_template, find_chat_template(model, flags.chat));
  all.chat_template = std::move(chat_template);
  ROWMAX_TRY(session, open_session(model, options, *all.engine.executor));
  all.session = std::move(session);
  if (!flags.cache_dir.empty()) ROWMAX_RETURN_IF_ERROR(open_disk(flags, options, all, service));
  engine::DiskCache* disk = all.disk ? &*all.disk : nullptr;
  ROWMAX_TRY(scheduler, engine::Scheduler::create(*all.session, {.max_waiting = flags.queue, .disk = disk}));
  all.scheduler = std::move(scheduler);
  ROWMAX_TRY(template_text, chat_template_source(model, flags.chat));
  server::ServedModel& served = all.served;
  served.model = &model;
  served.scheduler = &*all.scheduler;
  served.chat_template = all.chat_template.get();
  served.fingerprint =
      server::fingerprint_of(model, options, template_text + flags.tool_format, served.normalise, ROWMAX_VERSION);
  served.template_text = std::move(template_text);
  server::find_reply_form(served, tool_calls::find_tool_format(flags.tool_format));
  served.name = model_name(flags);
  served.context = all.session->context();
  const engine::PageLayout layout = all.session->page_layout();
  served.keeps_places =
      layout.state_bytes > 0 || std::ranges::any_of(layout.groups, &engine::PageLayout::Group::window);
  served.created = now_seconds();
  served.history = std::make_shared<server::PromptHistory>(&model.tokenizer());
  served.max_tokens = flags.max_tokens;
  served.queue = flags.queue;
  if (!flags.tool_format.empty() && served.chat_template == nullptr) {
    all.engine.notices.push_back("--tool-format: this model has no chat template, so nothing shows it tools");
  } else if (!flags.tool_format.empty() && served.ignores_tools) {
    all.engine.notices.push_back("--tool-format: the chat template ignores tools, so the model is shown none of them");
  }
  served.sampling = server::sampling_defaults(sampling);
  ROWMAX_TRY(drafts, load_drafts(flags.drafts, flags.engine, all.engine, options, served.context));
  all.drafts = std::move(drafts);
  served.draft = all.drafts.function;
  auto head = engine::RankHead::of(model);
  if (head.ok()) served.rank = std::move(head).value();
  if (!head.ok()) served.no_rank = "this model does not score documents: " + head.error().message;
  return choose_pooling(flags, served);
}

Result<ExitCode> serve(const ServeFlags& flags) {
  std::signal(SIGPIPE, SIG_IGN);  // who reads the log may go before the server
  std::signal(SIGXFSZ, SIG_IGN);  // a file that may not grow is a write that fails
  ROWMAX_TRY(sampling, sampling_params(flags.sampling));
  ROWMAX_TRY(keys, read_keys(flags));
  if (!flags.tool_format.empty() && tool_calls::find_tool_format(flags.tool_format) == nullptr) {
    return Error::invalid_argument("--tool-format: expected one of " + tool_calls::tool_format_names() + ", found \"" +
                                   flags.tool_format + "\"");
  }
  ROWMAX_TRY(tls, read_tls(flags));
  std::vector<server::NormaliseRule> rules;
  for (const std::string& source : flags.normalise) {
    ROWMAX_TRY(rule, server::NormaliseRule::parse(source));
    rules.push_back(std::move(rule));
  }
  ROWMAX_TRY(listeners, open_sockets(flags, !keys.empty()));
  std::vector<std::string> addresses;
  for (const server::Listener& listener : listeners) addresses.push_back(listener.address);
  // Ends in the opposite order: the network, the service's workers, the scheduler (whose last events the service hears).
  // Last of all the log, whose thread is there before a sandbox forbids new ones.
  LogWriter log(STDERR_FILENO, most_log_bytes(flags));
  server::Service service(service_options(flags, std::move(keys), log));
  Engines all;
  all.served.normalise = std::move(rules);
  const ServiceCloser closer{service};
  server::HttpServerOptions options;
  options.limits.body_bytes = static_cast<std::uint64_t>(flags.max_body) << 20;
  options.max_connections = static_cast<std::size_t>(flags.max_connections);
  options.drain_time = std::chrono::seconds(flags.drain);
  options.stream_time = std::chrono::seconds(flags.stream_wait);
  options.tls = std::move(tls);
  ROWMAX_TRY(network, server::HttpServer::create(options, std::move(listeners), service));
  service.log("listening", {{"addresses", addresses}});

  // Who asks while the model is being loaded is told so; signals end the process until it is.
  NetworkThread network_thread(*network);
  ROWMAX_RETURN_IF_ERROR(load(flags, sampling, all, service));
  if (interrupted()) return Error{ErrorCode::kCancelled, "interrupted"};
  for (const std::string& notice : all.engine.notices) note(notice);
  {
    const EngineThread engine_thread(*all.scheduler);
    network->catch_signals();
    ROWMAX_TRY(sandbox, enter_sandbox(flags));  // all threads are there; nothing was answered yet
    service.open(all.served);
    service.log(
        "ready",
        {{"model", all.served.name}, {"system_fingerprint", all.served.fingerprint}, {"sandbox", std::move(sandbox)}});
    for (const std::string& address : addresses) std::printf("%s\n", address.c_str());
    ROWMAX_RETURN_IF_ERROR(flush_output());
    network_thread.join();
  }
  // Nobody waits for what the workers still do, and none of it is to be kept.
  const int abandoned = service.end(kLastWork);
  if (abandoned == 0) {
    service.log("stopped");
    return ExitCode::kOk;
  }
  if (all.disk) all.disk->flush();
  service.log("stopped", {{"abandoned", abandoned}});
  log.finish();
  std::quick_exit(static_cast<int>(ExitCode::kOk));
}

#else

Result<ExitCode> serve(const ServeFlags&) {
  return Error::unsupported("this rowmax was built without its server (ROWMAX_SERVER; it needs Boost's headers)");
}

#endif

}  // namespace

CommandBody declare_serve(Flags& table) {
  auto flags = std::make_shared<ServeFlags>();
  table.add("--host", flags->host, "address or name to listen on; empty: none").type("HOST").shows(flags->host);
  table.add("--port", flags->port, "0: any that is free").within(0, 65535);
  table.add("--unix", flags->unix_path, "listen on a Unix socket, too").type("PATH");
  table.add("--api-key", flags->keys, "a key that requests must bear; may be given several times").type("KEY");
  table.add("--api-key-file", flags->key_file, "file with a key a line").type("FILE");
  table.add("--tls-cert", flags->tls_certificate, "certificates in PEM, the server's own first: answers by https://")
      .type("FILE");
  table.add("--tls-key", flags->tls_key, "the certificate's private key in PEM, without a passphrase").type("FILE");
  table.add_switch("--sandbox", flags->sandbox,
                   "once the model is loaded: no more files, programs or outgoing connections (Linux)");
  table.add("--allow-origin", flags->origins, "a web page's origin that may ask; * for all; may be given several times")
      .type("URL");
  table.add_switch("--allow-public-without-key", flags->allow_public,
                   "listen on an address that other machines reach, without a key");
  table.add("--parallel", flags->parallel, "sequences computed together").within(1, 1024);
  table.add("--queue", flags->queue, "requests that may wait; more are refused (429)").within(1, 1 << 20);
  table
      .add("-n,--n-predict,--predict", flags->max_tokens,
           "most tokens to write where a request does not say; -1: until the context is full")
      .within(-1, std::int64_t{1} << 31);
  add_sampling_flags(table, flags->sampling);
  table
      .add("--chat-template", flags->chat.chat_template,
           "in place of the model's own: a file, or the Jinja text itself")
      .type("FILE|TEXT");
  table
      .add("--tool-format", flags->tool_format,
           "how the model writes calls of tools, as docs/tool_calls.md names it; default: as its chat template shows")
      .type("NAME");
  table.add("--alias", flags->alias, "the model's name in answers; default: the file's").type("NAME");
  table.add("--pooling", flags->pooling, "of embeddings: last, mean or cls; default: as the file says")
      .one_of({"last", "mean", "cls"});
  add_draft_flags(table, flags->drafts);
  table.add_switch("--no-web", flags->no_web, "answer no web page under /");
  table.add("--max-body", flags->max_body, "most MiB of a request").within(1, 1024);
  table.add("--max-connections", flags->max_connections, "more are turned away").within(1, 65536);
  table
      .add("--stream-wait", flags->stream_wait,
           "seconds that a stream's reader may take nothing; its request is paused")
      .within(1, 86400);
  table.add("--drain", flags->drain, "seconds that SIGTERM gives what runs").within(0, 86400);
  table.add("--cache-dir", flags->cache_dir, "keep prefixes of prompts in this folder, beyond the server's end")
      .type("DIR");
  table.add("--cache-disk", flags->cache_disk, "most MiB in --cache-dir").within(1, std::int64_t{1} << 30);
  table.only_with("--cache-disk", {"--cache-dir"});
  table
      .add("--normalise", flags->normalise,
           "replace what changes in system messages: date, time, timestamp, uuid or NAME:/PATTERN/TEXT/; may be given "
           "several times")
      .type("RULE");
  table.add_switch("--log-prompts", flags->log_prompts, "write requests' bodies to the log");
  add_engine_flags(table, flags->engine);
  add_session_flags(table, flags->session);
  table.add_switch("--pull", flags->pull, "fetch a model that -m names and that is not here yet");
  table.set_examples(kServeExamples);
  return [flags] { return lists_kernels(flags->engine) ? list_kernels(false) : serve(*flags); };
}

}  // namespace rowmax::cli
