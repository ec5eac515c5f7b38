// Chat templates: the Jinja subset that model files carry in tokenizer.chat_template, in a bounded interpreter of our
// own. A template is part of a hostile file: steps, nesting and output are limited, and there are no host objects.
//
// Meaning follows Python's jinja2 ImmutableSandboxedEnvironment with trim_blocks and lstrip_blocks on, as Hugging Face
// transformers runs it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rowmax/result.h"

namespace rowmax::engine {

// A JSON-like value handed to a template. Dicts keep their insertion order.
struct TemplateValue {
  enum class Kind : std::uint8_t { kUndefined, kNone, kBool, kInt, kFloat, kString, kList, kDict };
  Kind kind = Kind::kNone;
  bool boolean = false;
  std::int64_t integer = 0;
  double number = 0;
  std::string string;
  std::vector<TemplateValue> list;
  std::vector<std::pair<std::string, TemplateValue>> dict;

  TemplateValue();
  TemplateValue(const TemplateValue&);
  TemplateValue(TemplateValue&&) noexcept;
  TemplateValue& operator=(const TemplateValue&);
  TemplateValue& operator=(TemplateValue&&) noexcept;
  ~TemplateValue();

  static TemplateValue of(bool value);
  static TemplateValue of(std::int64_t value);
  static TemplateValue of(double value);
  static TemplateValue of(std::string value);
  static TemplateValue of(const char* value) { return of(std::string(value)); }
  static TemplateValue make_list(std::vector<TemplateValue> items);
  static TemplateValue make_dict(std::vector<std::pair<std::string, TemplateValue>> items);
};

struct TemplateLimits {
  std::int64_t max_source_bytes = 1 << 20;
  // Expressions and statements evaluated, and one for each 128 bytes of text, four pieces of text and eight elements
  // that one of them works on: the worst templates known take about a second.
  std::int64_t max_steps = 2'000'000;
  std::int64_t max_output_bytes = 16 << 20;  // also bounds every string or list built on the way; 4 x all alive at once
  int max_depth = 200;                       // nesting of source constructs and of macro calls (5 x both together)
};

// A piece of rendered text; neighbours differ in from_user and all together are what render() gives. from_user is kept
// exactly, byte by byte, through every operation (docs/chat_templates.md); every string of the globals counts as the
// user's, keys of dicts too, except top-level ones named *_token. Numbers and booleans count as the template's.
// from_user pieces came from the caller's values (message contents, ...): control tokens are
// parsed only in the others, so that text inside a message can never become a control token.
struct TemplatePiece {
  std::string text;
  bool from_user = false;
};

class ChatTemplate {
 public:
  // kCorrupt with line and column for a template that does not parse, kUnsupported for a construct outside the subset.
  static Result<ChatTemplate> parse(std::string_view source, const TemplateLimits& limits = {});
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  // globals: a dict, by convention messages, add_generation_prompt, bos_token, eos_token, tools, ...; undefined names
  // behave as in jinja2. kInvalidArgument carries the text of raise_exception(); kLimit names the exceeded limit.
  // now: seconds since the epoch (UTC) for strftime_now, so that rendering is a function of its inputs.
  Result<std::vector<TemplatePiece>> render_pieces(const TemplateValue& globals, std::int64_t now) const;
  Result<std::string> render(const TemplateValue& globals, std::int64_t now) const;

 private:
  struct Impl;
  explicit ChatTemplate(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rowmax::engine
