// POST /v1/rerank: how much documents have to do with a query, as Jina's and Cohere's APIs ask for it.
#include "apps/server/routes.h"

namespace rowmax::server {
namespace {

constexpr std::size_t kMaxDocuments = 2048;

// A text, or an object that has it.
bool is_document(engine::Json value) {
  if (value.is_string()) return true;
  return value.is_object() && Fields(value).string("text").has_value();
}

}  // namespace

// The scores are those of a head that was trained for it: what embeddings have in common is another number, and none is
// made up here. No architecture of the engine has such a head yet.
void rerank(Call& call) {
  Fields& fields = call.fields;
  (void)fields.needed_string("query");
  const engine::Json documents = fields.needed_array("documents");
  (void)fields.integer("top_n", 1, std::int64_t{1} << 30);
  (void)fields.boolean("return_documents");
  if (fields.ok() && (documents.size() == 0 || documents.size() > kMaxDocuments)) {
    fields.fail("documents", "1 to 2048 texts", documents);
  }
  if (fields.ok()) {
    for (const engine::Json each : documents.elements()) {
      if (!is_document(each)) fields.fail("documents", "texts, or objects with a text", each);
    }
  }
  if (!fields.ok()) return call.refuse();
  call.refuse({501,
               "this model has no head that scores documents (pooling_type 4, rank, with cls.* tensors), and rowmax "
               "reads none yet; "
               "/v1/embeddings gives vectors to compare",
               "model", "not_supported"});
}

}  // namespace rowmax::server
