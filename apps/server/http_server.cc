#include "apps/server/http_server.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <csignal>
#include <future>
#include <mutex>
#include <new>
#include <set>
#include <utility>

#include "apps/server/client_exchange.h"
#include "apps/server/http_writing.h"
#include "apps/server/process_resources.h"
#include "apps/server/wire.h"

namespace rowmax::server {
namespace {

namespace asio = boost::asio;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using Socket = asio::posix::basic_stream_descriptor<asio::io_context::executor_type>;
using Timer = asio::basic_waitable_timer<Clock, asio::wait_traits<Clock>, asio::io_context::executor_type>;
using boost::system::error_code;

constexpr auto kTick = milliseconds(200);
constexpr auto kLingerTime = milliseconds(2'000);
constexpr auto kLastIdleTime = milliseconds(300);  // of connections while draining
constexpr auto kAcceptPause = milliseconds(100);
constexpr std::size_t kReadBytes = 64 << 10;
// What a client may send behind a request that is being answered, before nothing more is read.
constexpr std::size_t kPipelinedBytes = 64 << 10;
constexpr std::size_t kSlowestBytesPerSecond = 16 << 10;
// What no common bound counts: so much of each connection there is room for, whatever the others hold.
constexpr std::size_t kSmallBytes = 64 << 10;
// Of a stream: with more unread nothing more is made for now, with less it goes on.
constexpr std::size_t kPausedBytes = 32 << 10, kResumedBytes = 16 << 10;
// An answer after which the allocator is told to give back what nobody holds: making it took several times as much.
constexpr std::size_t kLargeAnswerBytes = 4 << 20;
constexpr int kAcceptsAtOnce = 64;
constexpr auto kNever = Clock::time_point::max();

class Connection;

}  // namespace

struct HttpServer::Impl {
  Impl(const HttpServerOptions& given, HttpHandler& handler_, std::vector<Listener> listeners_)
      : options(given), handler(handler_), listeners(std::move(listeners_)), timer(io), signals(io) {
    postbox->deliver = [this](std::function<void()> call) { asio::post(io, std::move(call)); };
  }
  ~Impl() { close_listeners(listeners); }

  void run();
  void accept_from(std::size_t index);
  void accept_all(std::size_t index);
  void take(int descriptor, bool unix_socket);
  void tick();
  void arm_timer();
  void wait_for_signal();
  void begin_drain();
  void end();
  void forget(const std::shared_ptr<Connection>& connection);

  HttpServerOptions options;
  HttpHandler& handler;
  std::shared_ptr<Postbox> postbox = std::make_shared<Postbox>();
  std::size_t body_bytes = 0;    // of all requests that are being read, without small ones
  std::size_t answer_bytes = 0;  // in memory, of all answers that are being written
  std::uint64_t n_requests = 0;
  asio::io_context io{1};
  std::vector<Listener> listeners;
  std::vector<std::unique_ptr<Socket>> acceptors;
  std::set<std::shared_ptr<Connection>> connections;
  Timer timer;
  bool timer_armed = false, large_answer_ended = false, draining = false, ended = false;
  Clock::time_point drain_end = kNever;
  asio::basic_signal_set<asio::io_context::executor_type> signals;
  char block[kReadBytes];
};

namespace {

// One client. Everything happens in the network's thread.
class Connection final : public ClientSide, public std::enable_shared_from_this<Connection> {
 public:
  // tls: nullptr for one that speaks plain text.
  Connection(HttpServer::Impl& server, int descriptor, bool unix_socket, std::unique_ptr<TlsStream> tls)
      : server_(server),
        socket_(server.io, descriptor),
        from_unix_socket_(unix_socket),
        wire_(descriptor, std::move(tls)) {}
  ~Connection() override {
    release_body();
    server_.answer_bytes -= counted_answer_;
  }

  void start() {
    become_idle();
    last_written_ = Clock::now();
    if (wire_.encrypted()) deadline_ = Clock::now() + server_.options.head_time;  // for the handshake
    wait_readable();
  }
  // Answers with a refusal and closes.
  void turn_away(int status, std::string_view message) {
    if (wire_.encrypted()) return close();  // a handshake is more than such a client is worth
    refuse(status, message);
    wait_readable();
  }
  void tick(Clock::time_point now);
  void close() override;
  bool busy() const { return phase_ == Phase::kHead || phase_ == Phase::kBody || phase_ == Phase::kAnswering; }
  bool answering() const { return phase_ == Phase::kAnswering; }
  // A request that is on its way is still answered.
  void end_soon() {
    keep_alive_ = false;
    if (phase_ == Phase::kIdle) deadline_ = std::min(deadline_, Clock::now() + kLastIdleTime);
  }

  // From the exchange.
  void send(const ClientExchange* from, const HttpAnswer& answer) override;
  void begin(const ClientExchange* from, const HttpAnswer& head, std::string ping) override;
  void stream(const ClientExchange* from, std::string_view piece) override;
  void end_stream(const ClientExchange* from) override;
  void abandon(const ClientExchange* from) override;

 private:
  enum class Phase { kIdle, kHead, kBody, kAnswering, kLingering, kClosed };

  void wait_readable();
  void read();
  void client_ended();
  void process();
  bool advance();
  std::optional<HttpAnswer> head_arrived();
  bool body_fits();
  void release_body();
  void dispatch();
  void refuse(int status, std::string_view message);
  std::string begin_answer(const HttpAnswer& answer, std::optional<std::size_t> length);
  void write_whole(const HttpAnswer& answer);
  bool answer_fits(std::size_t n_bytes) const;
  void count_answer();
  bool too_slow(Clock::time_point now) const;
  void append(std::string_view bytes);
  void write();
  void tell_unread();
  bool unsent() const { return out_begin_ < out_.size() || wire_.unsent(); }
  void wait_writable();
  void written();
  void finish_writing();
  void answer_known();
  void answer_complete();
  void become_idle() {
    phase_ = Phase::kIdle;
    deadline_ = Clock::now() + (server_.draining ? milliseconds(kLastIdleTime) : server_.options.idle_time);
  }
  void report(bool complete);

  HttpServer::Impl& server_;
  Socket socket_;
  const bool from_unix_socket_;
  Wire wire_;
  Phase phase_ = Phase::kIdle;
  std::string in_;
  std::size_t in_begin_ = 0;
  std::unique_ptr<HttpParser> parser_;
  std::size_t counted_body_ = 0;  // of this request, in server_.body_bytes
  Clock::time_point deadline_ = kNever, began_, last_written_;
  bool waits_readable_ = false, waits_writable_ = false;

  std::weak_ptr<ClientExchange> exchange_;   // whoever answers owns it
  const ClientExchange* current_ = nullptr;  // the same, to be compared with
  std::string method_, target_;              // for the log
  std::vector<HttpHeader> headers_;          // of every answer to this request
  std::uint64_t number_ = 0;
  int status_ = 0;
  bool keep_alive_ = true, chunked_ = false, head_only_ = false, complete_ = false, streaming_ = false;
  bool is_stream_ = false;  // until its last byte is taken
  bool behind_ = false;     // its client, so that nothing more is made for it
  std::string out_, ping_;
  std::size_t out_begin_ = 0, counted_answer_ = 0;  // the latter of out_, in server_.answer_bytes
  std::size_t n_taken_ = 0;                         // of the answer, since it is known to its end
  Clock::time_point finishing_began_ = kNever;
};

void Connection::close() {
  if (phase_ == Phase::kClosed) return;
  const auto self = shared_from_this();
  const bool answering = phase_ == Phase::kAnswering;
  phase_ = Phase::kClosed;
  release_body();
  if (answering) report(false);
  current_ = nullptr;
  if (const auto exchange = std::exchange(exchange_, {}).lock()) exchange->mark_gone();
  out_.clear();
  out_.shrink_to_fit();
  out_begin_ = 0;
  count_answer();
  error_code ignored;
  socket_.close(ignored);
  server_.forget(self);
}

void Connection::report(bool complete) {
  const double ms = std::chrono::duration<double, std::milli>(Clock::now() - began_).count();
  server_.handler.finished({number_, method_, target_, status_, ms, complete});
}

void Connection::tick(Clock::time_point now) {
  if (phase_ == Phase::kClosed) return;
  if (unsent() && too_slow(now)) return close();
  if (streaming_ && !ping_.empty() && out_.empty() && now - last_written_ > server_.options.ping_time) {
    append(chunked_ ? chunk_of(ping_) : ping_);
  }
  if (now < deadline_) return;
  if (phase_ == Phase::kHead || phase_ == Phase::kBody) return refuse(408, "the request took too long to arrive");
  close();
}

// Who takes nothing, or of an answer that is complete less than so much a second.
bool Connection::too_slow(Clock::time_point now) const {
  const HttpServerOptions& options = server_.options;
  const milliseconds longest = is_stream_ ? options.stream_time : options.write_time;
  if (now - last_written_ > longest) return true;
  return complete_ && finishing_began_ != kNever &&
         now - finishing_began_ > longest + milliseconds(1000 * (n_taken_ / options.slowest_answer_bytes));
}

void Connection::wait_readable() {
  if (waits_readable_ || phase_ == Phase::kClosed) return;
  if (phase_ == Phase::kAnswering && in_.size() - in_begin_ > kPipelinedBytes) return;
  waits_readable_ = true;
  socket_.async_wait(Socket::wait_read, [self = shared_from_this()](error_code code) {
    self->waits_readable_ = false;
    if (!code) self->read();
  });
}

void Connection::read() {
  if (phase_ == Phase::kClosed) return;
  const bool handshaking = wire_.handshaking();
  const Wire::Came came = wire_.read(server_.block, in_);
  if (wire_.unsent() && !waits_writable_) write();  // handshakes answer, and so do alerts
  if (phase_ == Phase::kClosed) return;
  if (handshaking && came == Wire::Came::kSome && !wire_.handshaking()) become_idle();
  switch (came) {
    case Wire::Came::kBroken: return close();
    case Wire::Came::kEnd: return client_ended();
    case Wire::Came::kPlainText: refuse(400, "expected TLS: this port speaks https://"); break;
    case Wire::Came::kNothing: break;
    case Wire::Came::kSome:
      if (phase_ == Phase::kLingering) {
        in_.clear();
      } else {
        process();
      }
  }
  wait_readable();
}

// A client that closes its side before its answer is there does not wait for it.
void Connection::client_ended() {
  if (wire_.encrypted()) {  // its last bytes and its end may have come together
    process();
    if (phase_ == Phase::kClosed) return;
    if (phase_ != Phase::kAnswering && !waits_writable_ && wire_.end()) write();
  }
  if (phase_ != Phase::kAnswering || !complete_) return close();
  keep_alive_ = false;  // and nothing more is to be read
}

void Connection::process() {
  while (phase_ != Phase::kClosed && advance()) {
  }
  if (in_begin_ == in_.size()) {
    in_.clear();
    in_begin_ = 0;
  } else if (in_begin_ > kReadBytes) {
    in_.erase(0, in_begin_);
    in_begin_ = 0;
  }
}

// One step of reading; false when there is nothing to go on with.
bool Connection::advance() {
  const bool reads = phase_ == Phase::kIdle || phase_ == Phase::kHead || phase_ == Phase::kBody;
  if (!reads || in_begin_ == in_.size()) return false;
  if (phase_ == Phase::kIdle) {
    parser_ = std::make_unique<HttpParser>(server_.options.limits);
    phase_ = Phase::kHead;
    began_ = Clock::now();
    deadline_ = began_ + server_.options.head_time;
  }
  const HttpParser::State before = parser_->state();
  const std::size_t n = parser_->take(std::string_view(in_).substr(in_begin_));
  in_begin_ += n;
  const HttpParser::State state = parser_->state();
  if (state == HttpParser::State::kBad) {
    refuse(parser_->problem().status, parser_->problem().message);
    return false;
  }
  if (before == HttpParser::State::kHead && state != before) {
    if (const auto answer = head_arrived()) {
      // A body that nobody reads would be taken for the next request.
      keep_alive_ = keep_alive_ && state == HttpParser::State::kDone;
      write_whole(*answer);
      return false;
    }
    if (state == HttpParser::State::kBody && parser_->expects_continue()) append("HTTP/1.1 100 Continue\r\n\r\n");
  }
  if (phase_ == Phase::kBody && !body_fits()) return false;
  if (state == HttpParser::State::kDone) {
    dispatch();
    return false;
  }
  return n > 0;
}

std::optional<HttpAnswer> Connection::head_arrived() {
  const HttpRequest& request = parser_->request();
  number_ = ++server_.n_requests;
  parser_->note(number_, from_unix_socket_);
  headers_ = server_.handler.headers_for(request);
  method_ = request.method;
  target_ = std::string(request.path());
  keep_alive_ = parser_->keep_alive() && !server_.draining;
  head_only_ = request.method == "HEAD";
  phase_ = Phase::kBody;
  deadline_ = Clock::now() + server_.options.body_time;
  return server_.handler.look_at_head(request);
}

// Counts what the body holds, unless it is small; false where it was refused.
bool Connection::body_fits() {
  const std::size_t size = parser_->request().body.size();
  const std::size_t counted = size > kSmallBytes ? size : 0;
  server_.body_bytes += counted - counted_body_;
  counted_body_ = counted;
  deadline_ =
      std::max(deadline_, began_ + server_.options.body_time + milliseconds(1000 * (size / kSlowestBytesPerSecond)));
  if (counted == 0 || server_.body_bytes <= server_.options.all_bodies_bytes) return true;
  refuse(503, "too many large requests are being read");
  return false;
}

void Connection::release_body() {
  server_.body_bytes -= counted_body_;
  counted_body_ = 0;
}

void Connection::dispatch() {
  phase_ = Phase::kAnswering;
  deadline_ = kNever;
  complete_ = streaming_ = is_stream_ = behind_ = false;
  status_ = 0;
  auto exchange = std::make_shared<ClientExchange>(server_.postbox, weak_from_this(), server_.options.unread_bytes);
  exchange_ = exchange;
  current_ = exchange.get();
  server_.handler.answer(parser_->take_request(), std::move(exchange));
}

void Connection::refuse(int status, std::string_view message) {
  if (phase_ != Phase::kBody) {
    method_.clear();
    target_.clear();
    headers_.clear();
    number_ = 0;
    head_only_ = false;
    if (phase_ != Phase::kHead) began_ = Clock::now();
  }
  keep_alive_ = false;
  write_whole(server_.handler.refuse(status, message, target_));
}

// The head that is to be written.
std::string Connection::begin_answer(const HttpAnswer& answer, std::optional<std::size_t> length) {
  phase_ = Phase::kAnswering;
  deadline_ = finishing_began_ = kNever;
  status_ = answer.status;
  release_body();
  return answer_head(answer, {.length = length, .chunked = chunked_, .keep_alive = keep_alive_}, headers_);
}

void Connection::write_whole(const HttpAnswer& answer) {
  if (!head_only_ && !answer_fits(answer.body.size())) {
    return write_whole(server_.handler.refuse(503, "too many large answers are being read", target_));
  }
  chunked_ = streaming_ = is_stream_ = false;
  answer_known();
  std::string bytes = begin_answer(answer, answer.body.size());
  if (!head_only_ && answer.status != 204) bytes += answer.body;
  append(bytes);
  finish_writing();
}

// The whole answer is in out_: from here on what was taken of it says how long it may take.
void Connection::finish_writing() {
  if (out_.empty()) return written();
  finishing_began_ = Clock::now();
  n_taken_ = 0;
}

bool Connection::answer_fits(std::size_t n_bytes) const {
  return n_bytes <= kSmallBytes || server_.answer_bytes + n_bytes <= server_.options.all_answers_bytes;
}

void Connection::count_answer() {
  if (out_.empty() && counted_answer_ > kLargeAnswerBytes) {
    server_.large_answer_ended = true;
    server_.arm_timer();
  }
  server_.answer_bytes += out_.size() - counted_answer_;
  counted_answer_ = out_.size();
}

void Connection::answer_known() {
  complete_ = true;
  if (const auto exchange = exchange_.lock()) exchange->forget_caller();
}

void Connection::abandon(const ClientExchange* from) {
  if (from == current_) close();
}

void Connection::send(const ClientExchange* from, const HttpAnswer& answer) {
  if (from == current_ && phase_ == Phase::kAnswering) write_whole(answer);
}

void Connection::begin(const ClientExchange* from, const HttpAnswer& head, std::string ping) {
  if (from != current_ || phase_ != Phase::kAnswering) return;
  chunked_ = parser_->http_1_1();
  keep_alive_ = keep_alive_ && chunked_;
  streaming_ = is_stream_ = true;
  ping_ = std::move(ping);
  append(begin_answer(head, std::nullopt));
}

void Connection::stream(const ClientExchange* from, std::string_view piece) {
  if (from != current_ || !streaming_) return;
  if (const auto exchange = exchange_.lock()) exchange->arrived(piece.size());
  append(chunked_ ? chunk_of(piece) : std::string(piece));
  const bool all_full = server_.answer_bytes > server_.options.all_answers_bytes;
  if (out_.size() - out_begin_ > (all_full ? kSmallBytes : server_.options.unread_bytes)) close();
}

void Connection::end_stream(const ClientExchange* from) {
  if (from != current_ || !streaming_) return;
  streaming_ = false;
  answer_known();
  if (chunked_) append("0\r\n\r\n");
  finish_writing();
}

void Connection::append(std::string_view bytes) {
  if (phase_ == Phase::kClosed) return;
  if (out_.empty()) last_written_ = Clock::now();
  if (out_begin_ > kReadBytes) {
    out_.erase(0, out_begin_);
    out_begin_ = 0;
  }
  out_ += bytes;
  count_answer();
  if (!waits_writable_) write();
  tell_unread();
}

// Who makes the stream hears when its client falls behind, and when it has caught up.
void Connection::tell_unread() {
  const std::size_t unread = out_.size() - out_begin_;
  if (!streaming_ || (behind_ ? unread > kResumedBytes : unread <= kPausedBytes)) return;
  behind_ = !behind_;
  if (const auto exchange = exchange_.lock()) exchange->tell_behind(behind_);
}

void Connection::write() {
  bool some = false;
  const std::size_t before = out_begin_;
  const Wire::Went went = wire_.write(out_, out_begin_, some);
  n_taken_ += out_begin_ - before;
  if (some) last_written_ = Clock::now();
  if (went == Wire::Went::kFull) return wait_writable();
  if (went == Wire::Went::kBroken) return close();
  out_.clear();
  if (out_.capacity() > kReadBytes) out_.shrink_to_fit();
  out_begin_ = 0;
  count_answer();
}

void Connection::wait_writable() {
  waits_writable_ = true;
  socket_.async_wait(Socket::wait_write, [self = shared_from_this()](error_code code) {
    self->waits_writable_ = false;
    if (code || self->phase_ == Phase::kClosed) return;
    self->write();
    self->tell_unread();
    if (self->phase_ != Phase::kClosed && !self->unsent()) self->written();
  });
}

// Nothing is left to be written.
void Connection::written() {
  if (phase_ == Phase::kAnswering && complete_) answer_complete();
}

void Connection::answer_complete() {
  const bool stays = keep_alive_ && !server_.draining;
  if (!stays && wire_.end()) {
    write();
    if (phase_ == Phase::kClosed || unsent()) return;  // written() comes here again
  }
  report(true);
  exchange_.reset();
  current_ = nullptr;
  parser_ = nullptr;
  complete_ = false;
  release_body();
  if (stays) {
    become_idle();
    // Not from here: one answer may lead to the next, as long as the client has sent requests.
    asio::post(server_.io, [self = shared_from_this()] {
      self->process();
      self->wait_readable();
    });
    return;
  }
  // What the client still sends is read for a moment: closing at once would take the answer from it.
  phase_ = Phase::kLingering;
  deadline_ = Clock::now() + kLingerTime;
  in_.clear();
  in_begin_ = 0;
  ::shutdown(socket_.native_handle(), SHUT_WR);
  wait_readable();
}

}  // namespace

void HttpServer::Impl::run() {
  for (std::size_t i = 0; i < listeners.size(); ++i) {
    acceptors.push_back(std::make_unique<Socket>(io, ::dup(listeners[i].descriptor)));
    accept_from(i);
  }
  const auto work = asio::make_work_guard(io);
  while (!ended) {
    try {
      io.run();
    } catch (const std::exception&) {  // no memory for one connection; the others go on
    }
  }
  {
    const std::lock_guard lock(postbox->mutex);
    postbox->deliver = nullptr;
  }
  io.restart();
  io.poll();  // what was posted until then holds exchanges
}

void HttpServer::Impl::accept_from(std::size_t index) {
  acceptors[index]->async_wait(Socket::wait_read, [this, index](error_code code) {
    if (!code && !ended) accept_all(index);
  });
}

void HttpServer::Impl::accept_all(std::size_t index) {
  for (int i = 0; i < kAcceptsAtOnce; ++i) {
    const int descriptor = ::accept4(acceptors[index]->native_handle(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (descriptor >= 0) {
      take(descriptor, !listeners[index].path.empty());
      continue;
    }
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      // Those that wait are taken when others have gone.
      auto pause = std::make_shared<Timer>(io, kAcceptPause);
      pause->async_wait([this, index, pause](error_code code) {
        if (!code && !ended) accept_from(index);
      });
      return;
    }
    break;
  }
  accept_from(index);
}

void HttpServer::Impl::take(int descriptor, bool unix_socket) {
  const int on = 1;
  if (!unix_socket) ::setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  std::shared_ptr<Connection> connection;
  try {
    std::unique_ptr<TlsStream> tls;
    if (options.tls && !unix_socket) tls = std::make_unique<TlsStream>(options.tls);
    connection = std::make_shared<Connection>(*this, descriptor, unix_socket, std::move(tls));
  } catch (const std::exception&) {  // no memory, or no room in the system's list of sockets to wait for
    ::close(descriptor);
    return;
  }
  connections.insert(connection);
  arm_timer();
  if (connections.size() > options.max_connections) return connection->turn_away(503, "too many connections");
  connection->start();
}

void HttpServer::Impl::forget(const std::shared_ptr<Connection>& connection) {
  connections.erase(connection);
  if (draining && connections.empty()) end();
}

void HttpServer::Impl::arm_timer() {
  if (timer_armed) return;
  timer_armed = true;
  timer.expires_after(kTick);
  timer.async_wait([this](error_code code) {
    timer_armed = false;
    if (!code && !ended) tick();
  });
}

void HttpServer::Impl::tick() {
  const auto now = Clock::now();
  const std::vector<std::shared_ptr<Connection>> all(connections.begin(), connections.end());
  for (const auto& connection : all) connection->tick(now);
  if (std::exchange(large_answer_ended, false)) give_memory_back();
  if (draining && now > drain_end) return end();
  if (!connections.empty() || draining) arm_timer();
}

void HttpServer::Impl::wait_for_signal() {
  signals.async_wait([this](error_code code, int /*signal*/) {
    if (code) return;
    if (draining) return end();
    begin_drain();
    if (!ended) wait_for_signal();
  });
}

void HttpServer::Impl::begin_drain() {
  if (draining || ended) return;
  draining = true;
  drain_end = Clock::now() + options.drain_time;
  handler.draining();
  const std::vector<std::shared_ptr<Connection>> all(connections.begin(), connections.end());
  for (const auto& connection : all) connection->end_soon();
  if (connections.empty()) return end();
  arm_timer();
}

void HttpServer::Impl::end() {
  if (ended) return;
  ended = true;
  draining = false;  // so that the last connection does not come here again
  const std::vector<std::shared_ptr<Connection>> all(connections.begin(), connections.end());
  for (const auto& connection : all) connection->close();
  error_code ignored;
  for (const auto& acceptor : acceptors) acceptor->close(ignored);
  signals.cancel(ignored);
  timer.cancel();
  close_listeners(listeners);
  io.stop();
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
HttpServer::~HttpServer() = default;

Result<std::unique_ptr<HttpServer>> HttpServer::create(const HttpServerOptions& options,
                                                       std::vector<Listener> listeners, HttpHandler& handler) {
  try {
    HttpServerOptions bounded = options;
    // A few files are the model's and the listeners'.
    bounded.max_connections = std::min(options.max_connections, std::max<std::size_t>(raise_file_limit(), 64) - 32);
    return std::unique_ptr<HttpServer>(new HttpServer(std::make_unique<Impl>(bounded, handler, std::move(listeners))));
  } catch (const std::bad_alloc&) {
    return Error::out_of_memory();
  } catch (const std::exception& problem) {
    return Error::io(std::string("cannot wait for sockets: ") + problem.what());
  }
}

void HttpServer::run() { impl_->run(); }

void HttpServer::catch_signals() {
  std::promise<void> caught;
  impl_->postbox->post([impl = impl_.get(), &caught] {
    for (const int signal : {SIGTERM, SIGINT, SIGHUP}) {
      struct sigaction now = {};
      if (::sigaction(signal, nullptr, &now) != 0 || now.sa_handler == SIG_IGN) continue;
      error_code ignored;
      impl->signals.add(signal, ignored);
    }
    impl->wait_for_signal();
    caught.set_value();
  });
  caught.get_future().wait();
}

void HttpServer::drain() {
  impl_->postbox->post([impl = impl_.get()] { impl->begin_drain(); });
}

void HttpServer::stop() {
  impl_->postbox->post([impl = impl_.get()] { impl->end(); });
}

}  // namespace rowmax::server
