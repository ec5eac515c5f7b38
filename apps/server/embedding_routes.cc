// POST /v1/embeddings
#include <bit>

#include "apps/server/embed_all.h"
#include "apps/server/openai_parts.h"
#include "apps/server/routes.h"

namespace rowmax::server {

using text::Json;

namespace {

constexpr std::size_t kMaxInputs = 2048;

// The bytes of the floats, little-endian.
std::string base64_of(const std::vector<float>& values) {
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  for (const float value : values) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>(bits >> shift & 0xFF);
  }
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    unsigned group = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      group = group << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    }
    for (int shift = 18; shift >= 0; shift -= 6) out += kDigits[group >> shift & 0x3F];
  }
  const std::size_t rest = bytes.size() % 3;
  if (rest != 0) out.replace(out.size() - (3 - rest), 3 - rest, 3 - rest, '=');
  return out;
}

Json values_json(const std::vector<float>& values, bool base64) {
  if (base64) return base64_of(values);
  Json list = Json::array();
  for (const float value : values) list.push_back(text::shortest(value));
  return list;
}

// One input: a text, or its token ids as they are.
void add_input(Fields& fields, const ServedModel& served, engine::Json value,
               std::vector<std::vector<engine::TokenId>>& inputs) {
  std::vector<engine::TokenId> ids;
  if (value.is_string()) {
    auto encoded = engine::encode_for_embedding(*served.model, value.as_string());
    if (!encoded.ok()) return fields.fail(api_error(encoded.error()));
    ids = std::move(encoded).value();
  } else if (value.is_array()) {
    const std::int64_t n_vocab = served.model->shape().n_vocab;
    for (const engine::Json each : value.elements()) {
      const auto id = each.as_int();
      if (!id || *id < 0 || *id >= n_vocab) {
        return fields.fail("input", "token ids 0 to " + std::to_string(n_vocab - 1), each);
      }
      ids.push_back(static_cast<engine::TokenId>(*id));
    }
  } else {
    return fields.fail("input", "a text, token ids, or an array of them", value);
  }
  if (fits_context(fields, served, ids, "input")) inputs.push_back(std::move(ids));
}

std::vector<std::vector<engine::TokenId>> read_inputs(Fields& fields, const ServedModel& served) {
  std::vector<std::vector<engine::TokenId>> inputs;
  const engine::Json value = fields.any("input");
  if (value.is_null()) fields.fail_missing("input", "a text, token ids, or an array of them");
  const bool many = value.is_array() && value.size() > 0 && !value.at(0).is_number();
  if (many && value.size() > kMaxInputs) fields.fail("input", "at most 2048 texts", value);
  if (!fields.ok()) return inputs;
  if (!many) {
    add_input(fields, served, value, inputs);
    return inputs;
  }
  for (const engine::Json each : value.elements()) {
    if (fields.ok()) add_input(fields, served, each, inputs);
  }
  return inputs;
}

}  // namespace

void embeddings(Call& call) {
  Fields& fields = call.fields;
  const ServedModel& served = call.served;
  if (!served.pooling) fields.fail({501, served.no_pooling, "model", "not_supported"});
  const auto format = fields.string("encoding_format").value_or("float");
  if (format != "float" && format != "base64") {
    fields.fail("encoding_format", "\"float\" or \"base64\"", fields.any("encoding_format"));
  }
  const std::int64_t n_embd = served.model->shape().n_embd;
  const auto dimensions = fields.integer("dimensions", 1, std::int64_t{1} << 30);
  if (dimensions && *dimensions != n_embd) {
    fields.fail_unsupported("dimensions", "the model's vectors have " + std::to_string(n_embd));
  }
  auto inputs = fields.ok() ? read_inputs(fields, served) : std::vector<std::vector<engine::TokenId>>();
  if (!fields.ok()) return call.refuse();
  const bool base64 = format == "base64";
  embed_all(served, call.exchange, std::move(inputs), {.pooling = *served.pooling, .normalize = true},
            [&served, base64](const std::vector<std::vector<float>>& vectors, std::int64_t n_tokens) -> Json {
              Json list = Json::array();
              for (std::size_t i = 0; i < vectors.size(); ++i) {
                list.push_back({{"object", "embedding"}, {"index", i}, {"embedding", values_json(vectors[i], base64)}});
              }
              return {{"object", "list"},
                      {"data", std::move(list)},
                      {"model", served.name},
                      {"usage", {{"prompt_tokens", n_tokens}, {"total_tokens", n_tokens}}}};
            });
}

}  // namespace rowmax::server
