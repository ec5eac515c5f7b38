// JSON text from a file that nobody vouches for.
//
// A document is read once and never changed: its values lie one behind the other in one array of 16 bytes each, its
// strings in one buffer. Both are counted and bounded before memory is taken for them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "rowmax/result.h"

namespace rowmax::engine {

// What a text may hold at most. The defaults have room for the largest tokenizer.json (a million tokens, as many
// merges) several times over.
struct JsonLimits {
  int depth = 64;
  std::size_t values = std::size_t{1} << 23;         // a key counts as one
  std::size_t string_bytes = std::size_t{16} << 20;  // of one string
};

// A value of a document: a view, good as long as the document. One that was looked for and is not there is null.
class Json {
 public:
  Json() = default;

  bool is_null() const noexcept { return kind() == Kind::kNull; }
  bool is_bool() const noexcept { return kind() == Kind::kBool; }
  bool is_number() const noexcept { return is_integer() || kind() == Kind::kFloat; }
  bool is_integer() const noexcept { return kind() == Kind::kUnsigned || kind() == Kind::kNegative; }
  bool is_string() const noexcept { return kind() == Kind::kString; }
  bool is_array() const noexcept { return kind() == Kind::kArray; }
  bool is_object() const noexcept { return kind() == Kind::kObject; }
  explicit operator bool() const noexcept { return !is_null(); }

  // Of another kind: false, 0, no text. as_int, as_uint: nothing for what is no integer or does not fit.
  bool as_bool() const noexcept;
  double as_double() const noexcept;
  std::optional<std::int64_t> as_int() const noexcept;
  std::optional<std::uint64_t> as_uint() const noexcept;
  std::string_view as_string() const noexcept;
  bool is(std::string_view text) const noexcept { return is_string() && as_string() == text; }

  std::size_t size() const noexcept;  // elements or members; 0 for other kinds
  // The first element or member's value, ...; null beyond the end. Time: the values before it.
  Json at(std::size_t i) const noexcept;
  // The member's value; null for none and for what is no object. Time: the values before it.
  Json find(std::string_view key) const noexcept;

  struct Member;
  template <class Item>
  class Range;
  Range<Json> elements() const noexcept;   // none for what is no array
  Range<Member> members() const noexcept;  // none for what is no object; in the text's order, each key once

  // As a message shows it: on one line, cut after about 60 bytes.
  std::string text() const;

 private:
  friend class JsonBuilder;
  friend class JsonDocument;

  enum class Kind : std::uint8_t { kNull, kBool, kUnsigned, kNegative, kFloat, kString, kArray, kObject };
  struct Node {
    Kind kind = Kind::kNull;
    std::uint32_t size = 0;     // of a string in bytes, of an array or object in elements or members
    std::uint64_t payload = 0;  // a number's bits, a string's place, the index behind a container's last value
  };
  struct Storage {
    std::vector<Node> nodes;  // a container's values follow it; a member is its key and its value
    std::string strings;
  };

  Json(const Storage* storage, std::size_t index) noexcept : storage_(storage), index_(index) {}
  const Node& node() const noexcept { return storage_->nodes[index_]; }
  Kind kind() const noexcept { return storage_ == nullptr ? Kind::kNull : node().kind; }
  std::size_t end() const noexcept;  // the index behind this value
  void append_text(std::string& out, std::size_t limit) const;

  const Storage* storage_ = nullptr;
  std::size_t index_ = 0;
};

struct Json::Member {
  std::string_view key;
  Json value;
};

template <class Item>
class Json::Range {
 public:
  class Iterator {
   public:
    using value_type = Item;
    using difference_type = std::ptrdiff_t;
    Iterator() = default;
    Iterator(const Storage* storage, std::size_t index) noexcept : storage_(storage), index_(index) {}
    Item operator*() const noexcept {
      if constexpr (kMembers) {
        return {Json(storage_, index_).as_string(), Json(storage_, index_ + 1)};
      } else {
        return Json(storage_, index_);
      }
    }
    Iterator& operator++() noexcept {
      index_ = Json(storage_, kMembers ? index_ + 1 : index_).end();
      return *this;
    }
    Iterator operator++(int) noexcept {
      const Iterator before = *this;
      ++*this;
      return before;
    }
    bool operator==(const Iterator& other) const noexcept { return index_ == other.index_; }

   private:
    const Storage* storage_ = nullptr;
    std::size_t index_ = 0;
  };

  Range(const Storage* storage, std::size_t begin, std::size_t end) noexcept
      : begin_(storage, begin), end_(storage, end) {}
  Iterator begin() const noexcept { return begin_; }
  Iterator end() const noexcept { return end_; }

 private:
  static constexpr bool kMembers = !std::is_same_v<Item, Json>;
  Iterator begin_, end_;
};

// Owns what was read. Movable; values stay good.
class JsonDocument {
 public:
  JsonDocument();  // null
  JsonDocument(JsonDocument&&) noexcept;
  JsonDocument& operator=(JsonDocument&&) noexcept;
  ~JsonDocument();

  Json root() const noexcept { return Json(storage_.get(), 0); }

 private:
  friend class JsonBuilder;
  std::unique_ptr<Json::Storage> storage_;
};

// The value that is all of the text. With `name` in front: kLimit for more values or longer strings, before any memory
// is taken (all with the byte, from 1 on, where that was seen); kCorrupt for malformed text, deeper nesting and a key given twice in one object (readers differ in which
// one they take); kOutOfMemory.
Result<JsonDocument> parse_json(std::string_view text, const std::string& name, const JsonLimits& limits = {});

// The whole file, at most max_bytes (kLimit); errors as MappedFile::open's.
Result<JsonDocument> read_json_file(const std::string& path, std::size_t max_bytes, const JsonLimits& limits = {});

}  // namespace rowmax::engine
