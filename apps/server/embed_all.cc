#include "apps/server/embed_all.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "apps/server/answering.h"

namespace rowmax::server {
namespace {

class Embedding : public std::enable_shared_from_this<Embedding> {
 public:
  Embedding(const ServedModel& served, std::shared_ptr<Exchange> exchange,
            std::vector<std::vector<engine::TokenId>> inputs, const engine::EmbedOptions& how, AnswerOfVectors answer)
      : served_(served),
        exchange_(std::move(exchange)),
        how_(how),
        answer_(std::move(answer)),
        inputs_(std::move(inputs)),
        vectors_(inputs_.size()),
        ids_(inputs_.size(), 0),
        left_(inputs_.size()) {}

  void start() {
    const std::lock_guard lock(mutex_);
    const auto at_once = static_cast<std::size_t>(std::min<std::int64_t>(kAtOnce, served_.queue));
    for (std::size_t i = 0; i < at_once; ++i) submit_next();
  }

  void ended(std::size_t index, engine::RequestEnd end) {
    const std::lock_guard lock(mutex_);
    --left_;
    if (!end.status.ok()) fail(api_error(end.status.error()));
    vectors_[index] = std::move(end.embedding);
    n_tokens_ += end.prompt_tokens;
    if (exchange_->gone()) failed_ = true;
    if (failed_) return;
    submit_next();
    if (left_ == 0 && !failed_) send();
  }

 private:
  static constexpr std::size_t kAtOnce = 16;

  class Listener final : public engine::RequestListener {
   public:
    Listener(std::shared_ptr<Embedding> embedding, std::size_t index)
        : embedding_(std::move(embedding)), index_(index) {}
    void ended(engine::RequestId, engine::RequestEnd end) override { embedding_->ended(index_, std::move(end)); }

   private:
    const std::shared_ptr<Embedding> embedding_;
    const std::size_t index_;
  };

  void submit_next() {
    if (failed_ || next_ == inputs_.size()) return;
    const std::size_t index = next_++;
    const auto id = served_.scheduler->submit(
        {std::move(inputs_[index]), how_, std::make_unique<Listener>(shared_from_this(), index)});
    if (!id.ok()) return fail(submit_error(id.error()));
    ids_[index] = *id;
  }

  void send() { exchange_->send({.body = answer_(vectors_, n_tokens_).dump()}); }

  void fail(const ApiError& error) {
    if (std::exchange(failed_, true)) return;
    exchange_->send(error_answer(error, ErrorStyle::kOpenAi));
    for (const engine::RequestId id : ids_) {
      if (id != 0) (void)served_.scheduler->cancel(id);
    }
  }

  const ServedModel& served_;
  const std::shared_ptr<Exchange> exchange_;
  const engine::EmbedOptions how_;
  const AnswerOfVectors answer_;
  std::mutex mutex_;
  std::vector<std::vector<engine::TokenId>> inputs_;
  std::vector<std::vector<float>> vectors_;
  std::vector<engine::RequestId> ids_;
  std::size_t next_ = 0, left_;
  std::int64_t n_tokens_ = 0;
  bool failed_ = false;
};

}  // namespace

void embed_all(const ServedModel& served, std::shared_ptr<Exchange> exchange,
               std::vector<std::vector<engine::TokenId>> inputs, const engine::EmbedOptions& how,
               AnswerOfVectors answer) {
  std::make_shared<Embedding>(served, std::move(exchange), std::move(inputs), how, std::move(answer))->start();
}

}  // namespace rowmax::server
