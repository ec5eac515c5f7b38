// A JSON schema as a document whose places have names: JSON pointers (RFC 6901), written as fragments (#/properties/a).
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "engine/io/json.h"
#include "rowmax/result.h"

namespace rowmax::engine::grammar {

struct SchemaPlace {
  std::string pointer;  // "#" for the root
  Json value;
  SchemaPlace at(std::string_view key, Json inside) const;
  SchemaPlace at(std::size_t index, Json inside) const;
};

class SchemaDocument {
 public:
  // kLimit for nesting beyond max_depth, with the byte; kCorrupt for malformed JSON.
  static Result<SchemaDocument> parse(std::string_view source, int max_depth);

  SchemaPlace root() const { return {"#", document_.root()}; }
  // A member of an object, found without looking at all others each time; null where there is none.
  Json find(const SchemaPlace& object, std::string_view key);
  // Where a $ref leads; kUnsupported for one that leaves the document, kNotFound for one that leads nowhere.
  Result<SchemaPlace> follow(std::string_view reference);

 private:
  struct Index {
    std::map<std::string_view, Json> members;
    std::vector<Json> elements;
  };
  const Index& index(const SchemaPlace& place);

  JsonDocument document_;
  std::map<std::string, Index> indices_;  // by pointer, of objects and arrays that were looked into
};

}  // namespace rowmax::engine::grammar
