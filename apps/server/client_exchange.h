// The exchange of one request, between whoever answers it, in any thread, and its connection, in the network's.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "apps/server/http.h"

namespace rowmax::server {

class ClientExchange;

// The way into the network's thread. Exchanges may outlive it: what they post then is dropped.
struct Postbox {
  std::mutex mutex;
  std::function<void(std::function<void()>)> deliver;

  void post(std::function<void()> call) {
    const std::lock_guard lock(mutex);
    if (deliver) deliver(std::move(call));
  }
};

// A connection as its exchanges see it; in the network's thread. `from`: an exchange that is no longer its own is not heard.
class ClientSide {
 public:
  virtual ~ClientSide() = default;
  virtual void send(const ClientExchange* from, const HttpAnswer& answer) = 0;
  virtual void begin(const ClientExchange* from, const HttpAnswer& head, std::string ping) = 0;
  virtual void stream(const ClientExchange* from, std::string_view piece) = 0;
  virtual void end_stream(const ClientExchange* from) = 0;
  virtual void abandon(const ClientExchange* from) = 0;
  virtual void close() = 0;
};

class ClientExchange final : public Exchange, public std::enable_shared_from_this<ClientExchange> {
 public:
  ClientExchange(std::shared_ptr<Postbox> postbox, std::weak_ptr<ClientSide> connection, std::size_t unread_bytes)
      : postbox_(std::move(postbox)), connection_(std::move(connection)), most_unread_(unread_bytes) {}
  // Who lets go of it before the answer is complete has failed.
  ~ClientExchange() override;

  void send(HttpAnswer answer) override;
  void begin(HttpAnswer head, std::string ping) override;
  bool write(std::string_view piece) override;
  void end() override;
  bool gone() const noexcept override { return gone_; }
  void when_gone(std::function<void()> call) override;
  void when_behind(std::function<void(bool behind)> call) override;

  // From the connection:
  void mark_gone();
  void tell_behind(bool behind);
  // The answer is complete: nobody needs to hear of the client any more.
  void forget_caller();
  void arrived(std::size_t bytes) { underway_ -= bytes; }

 private:
  template <class Call>
  void to_connection(Call call) {
    postbox_->post([self = shared_from_this(), call = std::move(call)] {
      if (const auto connection = self->connection_.lock()) call(*connection, self.get());
    });
  }

  const std::shared_ptr<Postbox> postbox_;
  const std::weak_ptr<ClientSide> connection_;
  const std::size_t most_unread_;
  std::atomic<bool> started_ = false, complete_ = false, gone_ = false;
  std::atomic<std::size_t> underway_ = 0;
  std::mutex mutex_;
  std::function<void()> when_gone_;
  std::function<void(bool)> when_behind_;
  bool behind_ = false;
};

}  // namespace rowmax::server
