// Values as text: Python's str() and repr(), and json.dumps as Hugging Face's tojson calls it.
#pragma once

#include "engine/template/value.h"
#include "rowmax/result.h"

namespace rowmax::engine::jinja {

class Interpreter;

// A Text under construction that stops growing at the meter's size limit; take() then fails with kLimit.
class Builder {
 public:
  explicit Builder(Meter* meter) : meter_(meter) {}
  void add(std::string_view text, bool tainted = false) {
    if (fits(text.size())) text_.append(text, tainted);
  }
  void add(const Text& text) { add_slice(text, 0, text.bytes.size()); }
  void add_slice(const Text& text, std::size_t begin, std::size_t end) {
    if (fits(end - begin)) text_.append_slice(text, begin, end);
  }
  bool full() const { return full_; }
  std::size_t size() const { return text_.bytes.size(); }
  Result<Text> take();

 private:
  Meter* meter_;
  Text text_;
  bool full_ = false;
  unsigned n_pieces_ = 0;

  bool fits(std::size_t n) {
    // A step for each four pieces, however short they are.
    if ((++n_pieces_ & 3) == 0) full_ = !meter_->charge(1).ok() || full_;
    full_ = full_ || !meter_->check_size(text_.heap_bytes() / 2 + n).ok() || !meter_->check_size(size() + n).ok();
    return !full_;
  }
};

Status print_str(Interpreter& in, const Value& value, Builder* out);
Status print_repr(Interpreter& in, const Value& value, Builder* out, int depth = 0);

struct JsonStyle {
  int indent = -1;  // spaces of one level; below 0 everything stands on one line
  bool ensure_ascii = false;
  bool sort_keys = false;
  Text item_separator;
  Text key_separator;
};
Status print_json(Interpreter& in, const Value& value, const JsonStyle& style, Builder* out, int level = 0);

}  // namespace rowmax::engine::jinja
