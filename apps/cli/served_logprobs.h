// What a server says of the next token behind prefixes of a prompt, asked by token ids: llama.cpp's /completion with n_probs,
// or OpenAI's /v1/completions with logprobs (with echo where the server has it).
#pragma once

#include <span>
#include <string>

#include "rowmax/doctor/compare.h"
#include "rowmax/engine/model.h"
#include "rowmax/result.h"

namespace rowmax::cli {

struct ServerFlags {
  std::string url;          // "https://host:port"
  std::string api;          // "llama", "openai"; empty: the first of them that answers
  std::string model;        // what OpenAI's form calls the model
  bool plain_http = false;  // http:// is allowed
};

// At most 16 prefixes, the whole prompt among them. kInvalidArgument for http:// that is not allowed; kIo, kNotFound and
// kCorrupt name the server.
Result<doctor::ServedLogprobs> ask_server(const ServerFlags& flags, const engine::Model& model,
                                          std::span<const engine::TokenId> tokens);

}  // namespace rowmax::cli
