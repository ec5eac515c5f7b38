// The model that a server answers with, and what its command line says of it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "apps/server/cache_report.h"
#include "apps/server/constraint_input.h"
#include "apps/server/normalise.h"
#include "apps/server/sampling_input.h"
#include "apps/tool_calls/tool_format.h"
#include "rowmax/engine/chat_template.h"
#include "rowmax/engine/embed.h"
#include "rowmax/engine/model.h"
#include "rowmax/engine/rank.h"
#include "rowmax/engine/scheduler.h"

namespace rowmax::server {

struct ServedModel {
  const engine::Model* model = nullptr;
  engine::Scheduler* scheduler = nullptr;
  const engine::ChatTemplate* chat_template = nullptr;  // null: there is none
  std::string template_text;
  const tool_calls::ToolFormat* tool_format =
      nullptr;                               // of its calls; null: it writes none, or in a form that is not known
  tool_calls::ReasoningMarks reasoning;      // around its thoughts
  std::vector<engine::TokenId> text_tokens;  // control tokens that are marks of either
  std::string name;                          // as /v1/models shows it
  std::string fingerprint;                   // begins with "b"; another one may mean other numbers
  std::int64_t context = 0;
  std::int64_t created = 0;      // seconds since the epoch
  std::int64_t max_tokens = -1;  // where a request names none; -1: until the context is full
  int max_choices = 128;         // of one request
  bool keeps_places = false;     // it has recurrent layers or windows: from where a prompt can be gone on with matters
  std::int64_t queue = 256;      // requests that may wait
  bool ignores_tools = false;    // its chat template: the model is shown none
  SamplingDefaults sampling;
  std::vector<NormaliseRule> normalise;    // of system messages
  engine::DraftFunction draft;             // empty: no speculation
  std::optional<engine::Pooling> pooling;  // of embeddings; none: see no_pooling
  std::string no_pooling;
  std::optional<engine::RankHead> rank;  // judges documents; none: see no_rank
  std::string no_rank;
  std::shared_ptr<ConstraintVocabulary> vocabulary = std::make_shared<ConstraintVocabulary>();
  std::shared_ptr<PromptHistory> history = std::make_shared<PromptHistory>();

  const engine::Tokenizer& tokenizer() const { return model->tokenizer(); }
};

// Whether the template renders a chat with tools as it does without them. False for one that renders neither.
bool ignores_tools(const ServedModel& served);

// What its template writes of calls and thoughts; `format` (may be null) in place of the calls' form.
void find_reply_form(ServedModel& served, const tool_calls::ToolFormat* format);

// "b", the version, and a hash of what decides the numbers: the file's facts, the beginnings of its tensors, edits, the
// types of activations and of keys and values, the template, what of prompts is normalised.
std::string fingerprint_of(const engine::Model& model, const engine::SessionOptions& session,
                           std::string_view template_text, const std::vector<NormaliseRule>& rules,
                           std::string_view version);

}  // namespace rowmax::server
