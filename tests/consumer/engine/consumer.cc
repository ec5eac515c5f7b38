// The engine from outside: loads a model and generates twice, the second time from the cache; the answers agree.
#include <cstdio>
#include <vector>

#include "rowmax/engine/generate.h"
#include "rowmax/executor.h"

namespace {

using namespace rowmax::engine;

rowmax::Result<std::vector<TokenId>> generate_twice(const char* path) {
  rowmax::SerialExecutor executor;
  auto isa = rowmax::default_isa();
  if (!isa.ok()) return std::move(isa).error();
  ModelOptions model_options;
  model_options.isa = *isa;
  auto model = Model::load(path, model_options, executor);
  if (!model.ok()) return std::move(model).error();
  auto session = Session::create(*model, {}, executor);
  if (!session.ok()) return std::move(session).error();
  auto sequence = session->open();
  if (!sequence.ok()) return std::move(sequence).error();
  GenerateOptions options;
  options.max_tokens = 8;
  options.sampling.temperature = 0;
  options.ignore_eos = true;
  const std::vector<TokenId> prompt = {1, 2, 3, 4, 5};
  auto first = generate(*session, *sequence, prompt, options);
  if (!first.ok()) return std::move(first).error();
  auto second = generate(*session, *sequence, prompt, options);
  if (!second.ok()) return std::move(second).error();
  if (first->tokens != second->tokens || first->tokens.size() != 8) {
    return rowmax::Error{rowmax::ErrorCode::kNumericFault, "two runs differ, or are too short"};
  }
  return std::move(first->tokens);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const auto tokens = generate_twice(argv[1]);
  if (!tokens.ok()) {
    std::printf("%s: %s\n", rowmax::error_code_name(tokens.error().code), tokens.error().message.c_str());
    return 1;
  }
  std::printf("engine:");
  for (const TokenId token : *tokens) std::printf(" %d", token);
  std::printf("\n");
  return 0;
}
