#include "apps/server/cache_report.h"

#include <algorithm>
#include <utility>

#include "rowmax/kv.h"

namespace rowmax::server {

using engine::TokenId;
using text::Json;

namespace {

constexpr std::size_t kBytesBefore = 24, kBytesBehind = 40;  // of an excerpt
// Tokens are no longer than this: where texts are the same for longer behind tokens that differ, they were cut otherwise.
constexpr std::size_t kLongestToken = 256;

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
bool continues_character(char c) { return (c & 0xC0) == 0x80; }

// The word at the byte, in whole characters.
std::string excerpt(std::string_view text, std::size_t at) {
  std::size_t begin = at, end = at;
  while (begin > 0 && at - begin < kBytesBefore && !is_space(text[begin - 1])) --begin;
  while (begin > 0 && begin < text.size() && continues_character(text[begin])) --begin;
  while (end < text.size() && is_space(text[end]) && end - at < kBytesBehind) ++end;
  while (end < text.size() && !is_space(text[end]) && end - at < kBytesBehind) ++end;
  while (end < text.size() && continues_character(text[end])) ++end;
  return std::string(text.substr(begin, end - begin));
}

const char* name_of(PromptPart::Kind kind) {
  switch (kind) {
    case PromptPart::Kind::kText: return "text";
    case PromptPart::Kind::kTemplate: return "template";
    case PromptPart::Kind::kMessage: return "message";
    case PromptPart::Kind::kTools: return "tools";
    case PromptPart::Kind::kAnswer: return "answer";
  }
  return "text";
}

template <class A, class B>
std::size_t common_length(const A& a, const B& b) {
  return static_cast<std::size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
}

std::string cause_of(const engine::RequestStart& start, const NearestPrompt& nearest, bool scored) {
  using Limit = engine::PrefixReuse::Limit;
  const std::int64_t reused = start.cached_tokens, most = start.prompt_tokens - 1;
  if (scored) return "scored";
  if (most == 0) return "short";
  if (reused >= most) return "complete";
  if (start.damaged_pages > 0) return "damaged";
  if (start.disk_tokens > 0 && reused >= most / kKeyTile * kKeyTile) return "complete";  // the disk has whole pages
  if (reused < start.reuse.found_tokens && start.reuse.limit == Limit::kCheckpoint) return "checkpoint";
  if (reused < start.reuse.found_tokens && start.reuse.limit == Limit::kWindow) return "window";
  if (reused < std::min(most, nearest.computed_tokens)) return "evicted";
  // What was sampled last was not computed, and is nobody's fault.
  if (reused < std::min(most, nearest.shared_tokens - 1)) return "not_computed";
  if (!nearest.exists) return "first";
  return nearest.difference && nearest.difference->where != "end" ? "differs" : "continues";
}

// A role is a text of the caller's, too.
bool is_known_role(std::string_view role) {
  return role == "system" || role == "user" || role == "assistant" || role == "tool";
}

std::string place_of(const PromptDifference& difference, bool with_texts) {
  if (difference.where != "message") return difference.where;
  const bool shown = with_texts || is_known_role(difference.role);
  return "message " + std::to_string(difference.message) + (shown ? " (" + difference.role + ")" : "");
}

}  // namespace

CacheReport cache_report(const engine::RequestStart& start, const NearestPrompt& nearest, bool scored) {
  CacheReport report;
  report.prompt_tokens = start.prompt_tokens;
  report.reused_tokens = start.cached_tokens;
  report.disk_tokens = start.disk_tokens;
  report.cause = cause_of(start, nearest, scored);
  report.difference = nearest.difference;
  return report;
}

Json CacheReport::json(bool with_texts) const {
  Json json = {{"reused_tokens", reused_tokens},
               {"disk_tokens", disk_tokens},
               {"computed_tokens", prompt_tokens - reused_tokens},
               {"cause", cause},
               {"report", sentence(with_texts)}};
  if (!difference) return json;
  const PromptDifference& d = *difference;
  Json where = {{"token", d.token}, {"byte", d.byte ? Json(*d.byte) : Json()}, {"where", d.where}};
  if (d.message >= 0) {
    where.update({{"message", d.message}, {"role", with_texts || is_known_role(d.role) ? Json(d.role) : Json()}});
  }
  if (with_texts) where.update({{"cached", d.cached}, {"now", d.now}});
  json.append("differs", std::move(where));
  return json;
}

std::string CacheReport::sentence(bool with_texts) const {
  std::string text = std::to_string(reused_tokens) + " of " + std::to_string(prompt_tokens) + " tokens reused";
  if (disk_tokens > 0) text += " (" + std::to_string(disk_tokens) + " from the disk)";
  if (cause == "scored") return text + ": the prompt's own probabilities were asked for";
  if (cause == "short") return text + ": it has one alone";
  if (cause == "complete" && prompt_tokens - reused_tokens > 1) return text + ": all whole pages of it";
  if (cause == "complete") return text + ": all but its last one";
  if (cause == "damaged") return text + ": a page of it was damaged on the disk, and was removed";
  if (cause == "first") return text + ": no request before it is known";
  if (cause == "evicted") text += ": what was computed behind them had to make room";
  if (cause == "not_computed") text += ": the request that begins like it was not computed that far";
  if (cause == "checkpoint") text += ": the last state of the recurrent layers that was kept is there";
  if (cause == "window") text += ": keys of layers with a sliding window had to make room";
  if (!difference) return text;
  const PromptDifference& d = *difference;
  if (d.where == "end") return text + "; the nearest request ends at token " + std::to_string(d.token);
  text += cause == "differs" ? "; miss from " : "; it differs from ";
  text += d.byte ? "byte " + std::to_string(*d.byte) + " of the rendered prompt" : "token " + std::to_string(d.token);
  if (d.where == "tokens") return text + ": the same text was cut into other tokens";
  text += ", " + place_of(d, with_texts);
  if (with_texts) text += ": cached \"" + d.cached + "\", now \"" + d.now + "\"";
  return text;
}

std::size_t PromptHistory::Prompt::bytes() const {
  std::size_t roles = 0;
  for (const PromptPart& part : text.parts) roles += part.role.size();
  return sizeof(Prompt) + tokens.size() * sizeof(TokenId) + text.text.size() + text.input_bytes + roles +
         text.parts.size() * sizeof(PromptPart);
}

PromptDifference PromptHistory::difference(const Prompt& before, const Prompt& now, std::int64_t common) const {
  const std::string &a = before.text.text, &b = now.text.text;
  std::size_t byte = common_length(a, b);
  PromptDifference found;
  found.token = common;
  if (tokenizer_ != nullptr && common < std::min(std::ssize(before.tokens), std::ssize(now.tokens))) {
    const auto decoded = tokenizer_->decode(std::span(now.tokens).first(static_cast<std::size_t>(common)), true);
    const std::size_t bytes = decoded.ok() ? decoded->size() : byte;
    if (byte > bytes + kLongestToken || (byte == a.size() && byte == b.size())) {
      found.where = "tokens";
      if (bytes < b.size()) found.byte = bytes;
      return found;
    }
  }
  while (byte > 0 && byte < b.size() && continues_character(b[byte])) --byte;
  found.byte = byte;
  if (byte == a.size() || byte == b.size()) {
    found.where = "end";
    return found;
  }
  found.cached = excerpt(a, byte);
  found.now = excerpt(b, byte);
  const PromptPart *was = part_at(before.text, byte), *is = part_at(now.text, byte);
  if (was == nullptr || is == nullptr) return found;
  // An answer that comes back as a message is that message.
  found.where = name_of(is->kind);
  found.message = is->message;
  found.role = is->role;
  const bool of_template = was->kind == PromptPart::Kind::kTemplate && is->kind == PromptPart::Kind::kTemplate;
  if (of_template && now.text.at_another_time && before.text.now != now.text.now &&
      common_length(now.text.at_another_time(before.text.now), a) > byte) {
    found.where = "date";
  }
  return found;
}

PromptHistory::Entry PromptHistory::add(PromptOwner owner, const std::vector<TokenId>& tokens, PromptText text) {
  auto prompt = std::make_shared<Prompt>();
  prompt->owner = owner;
  prompt->tokens = tokens;
  prompt->text = std::move(text);
  Entry entry;
  Shared nearest_own, nearest_any;
  std::vector<Shared> before;
  {
    const std::lock_guard lock(mutex_);
    before.assign(prompts_.begin(), prompts_.end());
    entry.number = prompt->number = ++last_number_;
  }
  for (const Shared& each : before) {
    const auto common = static_cast<std::int64_t>(common_length(tokens, each->tokens));
    const bool same_owner = owner.is_one && each->owner.is_one && each->owner.key == owner.key;
    const std::int64_t unit = same_owner ? 1 : kKeyTile;
    const std::int64_t shared = common / unit * unit;
    const std::int64_t computed = std::min(common, each->computed_tokens) / unit * unit;
    prompt->computed_tokens = std::max(prompt->computed_tokens, computed);
    const auto look = [&](NearestPrompt& nearest, Shared& which) {
      nearest.computed_tokens = std::max(nearest.computed_tokens, computed);
      if (nearest.exists && common <= nearest.common_tokens) return;
      nearest.exists = true;
      nearest.common_tokens = common;
      nearest.shared_tokens = shared;
      which = each;
    };
    look(entry.any, nearest_any);
    if (same_owner) look(entry.own, nearest_own);
  }
  if (nearest_any) entry.any.difference = difference(*nearest_any, *prompt, entry.any.common_tokens);
  if (nearest_own == nearest_any) {
    entry.own.difference = entry.any.difference;
  } else if (nearest_own) {
    entry.own.difference = difference(*nearest_own, *prompt, entry.own.common_tokens);
  }
  keep(std::move(prompt));
  return entry;
}

std::uint64_t PromptHistory::number() {
  const std::lock_guard lock(mutex_);
  return ++last_number_;
}

void PromptHistory::computed(const Entry& entry, const std::vector<TokenId>& answer, std::int64_t n_computed,
                             const std::string& text) {
  Shared old;
  {
    const std::lock_guard lock(mutex_);
    const auto found = std::ranges::find(prompts_, entry.number, &Prompt::number);
    if (found == prompts_.end()) return;
    old = *found;
  }
  auto prompt = std::make_shared<Prompt>(*old);
  prompt->computed_tokens = std::ssize(prompt->tokens) + std::min(n_computed, std::ssize(answer));
  prompt->tokens.insert(prompt->tokens.end(), answer.begin(), answer.end());
  const std::size_t begin = prompt->text.text.size();
  prompt->text.text += text;
  if (!text.empty()) {
    prompt->text.parts.push_back({begin, prompt->text.text.size(), PromptPart::Kind::kAnswer, -1, {}});
  }
  keep(std::move(prompt));
}

// In the place of those that it begins with, or that it is.
void PromptHistory::keep(Shared prompt) {
  const std::lock_guard lock(mutex_);
  for (auto next = prompts_.begin(); next != prompts_.end();) {
    const auto each = next++;
    const Prompt& old = **each;
    const bool same_owner = old.owner.key == prompt->owner.key && old.owner.is_one && prompt->owner.is_one;
    const bool is_within = same_owner && old.tokens.size() <= prompt->tokens.size() &&
                           common_length(old.tokens, prompt->tokens) == old.tokens.size();
    if (old.number != prompt->number && !is_within) continue;
    bytes_ -= old.bytes();
    prompts_.erase(each);
  }
  if (prompt->bytes() > most_bytes_ / 2) return;
  bytes_ += prompt->bytes();
  prompts_.push_front(std::move(prompt));
  while (bytes_ > most_bytes_ || prompts_.size() > kMostPrompts) {
    bytes_ -= prompts_.back()->bytes();
    prompts_.pop_back();
  }
}

std::size_t PromptHistory::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

}  // namespace rowmax::server
