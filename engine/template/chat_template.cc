#include "rowmax/engine/chat_template.h"

#include "base/guarded.h"
#include "engine/template/interpreter.h"
#include "engine/template/parser.h"
#include "rowmax/try.h"

namespace rowmax::engine {

TemplateValue::TemplateValue() = default;
TemplateValue::TemplateValue(const TemplateValue&) = default;
TemplateValue::TemplateValue(TemplateValue&&) noexcept = default;
TemplateValue& TemplateValue::operator=(const TemplateValue&) = default;
TemplateValue& TemplateValue::operator=(TemplateValue&&) noexcept = default;
TemplateValue::~TemplateValue() = default;

TemplateValue TemplateValue::of(bool value) {
  TemplateValue v;
  v.kind = Kind::kBool;
  v.boolean = value;
  return v;
}

TemplateValue TemplateValue::of(std::int64_t value) {
  TemplateValue v;
  v.kind = Kind::kInt;
  v.integer = value;
  return v;
}

TemplateValue TemplateValue::of(double value) {
  TemplateValue v;
  v.kind = Kind::kFloat;
  v.number = value;
  return v;
}

TemplateValue TemplateValue::of(std::string value) {
  TemplateValue v;
  v.kind = Kind::kString;
  v.string = std::move(value);
  return v;
}

TemplateValue TemplateValue::make_list(std::vector<TemplateValue> items) {
  TemplateValue v;
  v.kind = Kind::kList;
  v.list = std::move(items);
  return v;
}

TemplateValue TemplateValue::make_dict(std::vector<std::pair<std::string, TemplateValue>> items) {
  TemplateValue v;
  v.kind = Kind::kDict;
  v.dict = std::move(items);
  return v;
}

struct ChatTemplate::Impl {
  jinja::NodePtr root;
  TemplateLimits limits;
};

ChatTemplate::ChatTemplate(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;

Result<ChatTemplate> ChatTemplate::parse(std::string_view source, const TemplateLimits& limits) {
  return base::guarded([&]() -> Result<ChatTemplate> {
    ROWMAX_TRY(root, jinja::parse_template(source, limits));
    return ChatTemplate(std::make_unique<Impl>(Impl{std::move(root), limits}));
  });
}

static Result<jinja::Text> render_text(const jinja::Node& root, const TemplateLimits& limits,
                                       const TemplateValue& globals, std::int64_t now) {
  jinja::Interpreter interpreter(limits, now);
  return interpreter.render(root, globals);
}

Result<std::vector<TemplatePiece>> ChatTemplate::render_pieces(const TemplateValue& globals, std::int64_t now) const {
  return base::guarded([&]() -> Result<std::vector<TemplatePiece>> {
    ROWMAX_TRY(text, render_text(*impl_->root, impl_->limits, globals, now));
    std::vector<TemplatePiece> pieces;
    std::size_t begin = 0;
    for (const jinja::TextRun& run : text.runs) {
      pieces.push_back({text.bytes.substr(begin, run.end - begin), run.tainted});
      begin = run.end;
    }
    return pieces;
  });
}

Result<std::string> ChatTemplate::render(const TemplateValue& globals, std::int64_t now) const {
  return base::guarded([&]() -> Result<std::string> {
    ROWMAX_TRY(text, render_text(*impl_->root, impl_->limits, globals, now));
    return std::move(text.bytes);
  });
}

}  // namespace rowmax::engine
