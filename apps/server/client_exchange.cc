#include "apps/server/client_exchange.h"

#include <utility>

namespace rowmax::server {

ClientExchange::~ClientExchange() {
  if (complete_ || gone()) return;
  postbox_->post([connection = connection_, self = this] {
    if (const auto target = connection.lock()) target->abandon(self);
  });
}

void ClientExchange::send(HttpAnswer answer) {
  if (started_.exchange(true) || gone()) return;
  complete_ = true;
  to_connection([answer = std::move(answer)](ClientSide& connection, const ClientExchange* self) {
    connection.send(self, answer);
  });
}

void ClientExchange::begin(HttpAnswer head, std::string ping) {
  if (started_.exchange(true) || gone()) return;
  to_connection([head = std::move(head), ping = std::move(ping)](ClientSide& connection, const ClientExchange* self) {
    connection.begin(self, head, ping);
  });
}

bool ClientExchange::write(std::string_view piece) {
  if (gone() || piece.empty()) return !gone();
  // On the way to the connection, which bounds what it holds itself.
  if (underway_.fetch_add(piece.size()) + piece.size() > most_unread_) {
    mark_gone();
    to_connection([](ClientSide& connection, const ClientExchange*) { connection.close(); });
    return false;
  }
  to_connection([piece = std::string(piece)](ClientSide& connection, const ClientExchange* self) {
    connection.stream(self, piece);
  });
  return true;
}

void ClientExchange::end() {
  complete_ = true;
  if (gone()) return;
  to_connection([](ClientSide& connection, const ClientExchange* self) { connection.end_stream(self); });
}

void ClientExchange::when_gone(std::function<void()> call) {
  {
    const std::lock_guard lock(mutex_);
    if (!gone_) {
      when_gone_ = std::move(call);
      return;
    }
  }
  call();
}

// Called under the lock, so that the last call says what is so.
void ClientExchange::when_behind(std::function<void(bool)> call) {
  const std::lock_guard lock(mutex_);
  if (gone_) return;
  when_behind_ = std::move(call);
  if (behind_) when_behind_(true);
}

void ClientExchange::tell_behind(bool behind) {
  const std::lock_guard lock(mutex_);
  behind_ = behind;
  if (when_behind_) when_behind_(behind);
}

void ClientExchange::mark_gone() {
  std::function<void()> call;
  {
    const std::lock_guard lock(mutex_);
    if (gone_.exchange(true)) return;
    when_behind_ = nullptr;
    call = std::exchange(when_gone_, nullptr);
  }
  if (call) call();
}

void ClientExchange::forget_caller() {
  const std::lock_guard lock(mutex_);
  when_gone_ = nullptr;
  when_behind_ = nullptr;
}

}  // namespace rowmax::server
