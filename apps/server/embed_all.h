// Vectors of the texts of one request, for embeddings and for scores that are made of them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "apps/server/http.h"
#include "apps/server/served_model.h"
#include "apps/text/json.h"

namespace rowmax::server {

// What is answered; from the engine's thread.
using AnswerOfVectors =
    std::function<text::Json(const std::vector<std::vector<float>>& vectors, std::int64_t n_tokens)>;

// All texts of one request, so many at a time that they leave room in the queue; the answer goes out with the last one, an
// error with the first that fails. The served model must live until the scheduler has ended.
void embed_all(const ServedModel& served, std::shared_ptr<Exchange> exchange,
               std::vector<std::vector<engine::TokenId>> inputs, const engine::EmbedOptions& how,
               AnswerOfVectors answer);

}  // namespace rowmax::server
