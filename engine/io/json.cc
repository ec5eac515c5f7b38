#include "engine/io/json.h"

#include <utility>
#include <vector>

#include "base/try.h"
#include "engine/io/mapped_file.h"
#include "engine/io/text.h"

namespace rowmax::engine {
namespace {

// Builds the value from the parser's events. Returning false ends the parsing.
class Builder final : public nlohmann::json_sax<Json> {
 public:
  explicit Builder(int max_depth) : max_depth_(max_depth) {}

  Json take() { return std::move(root_); }
  const std::string& problem() const { return problem_; }

  bool null() override { return add(Json(nullptr)); }
  bool boolean(bool value) override { return add(Json(value)); }
  bool number_integer(number_integer_t value) override { return add(Json(value)); }
  bool number_unsigned(number_unsigned_t value) override { return add(Json(value)); }
  bool number_float(number_float_t value, const string_t& /*text*/) override { return add(Json(value)); }
  bool string(string_t& value) override { return add(Json(std::move(value))); }
  bool binary(binary_t& /*value*/) override { return false; }
  bool start_object(std::size_t /*n*/) override { return open(Json::object()); }
  bool start_array(std::size_t /*n*/) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(string_t& name) override {
    const auto [place, is_new] = open_.back()->get_ref<Json::object_t&>().emplace(name, Json());
    if (!is_new) problem_ = concat("key ", quote(name), " was given twice");
    slot_ = &place->second;
    return is_new;
  }
  bool parse_error(std::size_t position, const std::string& /*token*/, const Json::exception& /*error*/) override {
    problem_ = concat("malformed JSON at byte ", position);
    return false;
  }

 private:
  Json* place(Json value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    if (open_.back()->is_array()) {
      auto& items = open_.back()->get_ref<Json::array_t&>();
      items.push_back(std::move(value));
      return &items.back();
    }
    *slot_ = std::move(value);
    return slot_;
  }
  bool add(Json value) {
    place(std::move(value));
    return true;
  }
  bool open(Json value) {
    if (static_cast<int>(open_.size()) >= max_depth_) {
      problem_ = concat("JSON values nested deeper than ", max_depth_);
      return false;
    }
    // A pointer into an array stays good: nothing is added to the array before the value in it is closed.
    open_.push_back(place(std::move(value)));
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  int max_depth_;
  Json root_;
  std::vector<Json*> open_;
  Json* slot_ = nullptr;  // the value of the key just read
  std::string problem_;
};

}  // namespace

Result<Json> parse_json(std::string_view text, const std::string& name, int max_depth) {
  Builder builder(max_depth);
  if (Json::sax_parse(text.begin(), text.end(), &builder)) return builder.take();
  return Error{ErrorCode::kCorrupt, concat(name, ": ", builder.problem())};
}

Result<Json> read_json_file(const std::string& path, std::size_t max_bytes) {
  ROWMAX_TRY(file, MappedFile::open(path));
  const auto bytes = file.bytes();
  if (bytes.size() > max_bytes) {
    return Error{ErrorCode::kLimit, concat(path, ": ", bytes.size(), " bytes of JSON, at most ", max_bytes)};
  }
  return parse_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path);
}

}  // namespace rowmax::engine
