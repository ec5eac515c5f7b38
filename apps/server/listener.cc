#include "apps/server/listener.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "apps/server/descriptor.h"
#include "rowmax/try.h"

namespace rowmax::server {
namespace {

constexpr int kBacklog = 1024;

Error system_error(const std::string& what) { return Error::io(what + ": " + std::strerror(errno)); }

bool is_loopback(const sockaddr* address) {
  if (address->sa_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(address);
    return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
  }
  const auto* v6 = reinterpret_cast<const sockaddr_in6*>(address);
  return address->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

std::string url_of(const sockaddr_storage& address, bool tls) {
  const std::string scheme = tls ? "https://" : "http://";
  char text[INET6_ADDRSTRLEN] = {};
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
    return scheme + text + ":" + std::to_string(ntohs(v4.sin_port));
  }
  const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
  inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
  return scheme + "[" + text + "]:" + std::to_string(ntohs(v6.sin6_port));
}

int port_of(const sockaddr_storage& address) {
  return ntohs(address.ss_family == AF_INET ? reinterpret_cast<const sockaddr_in&>(address).sin_port
                                            : reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
}

void set_port(sockaddr_storage& address, int port) {
  const auto value = htons(static_cast<std::uint16_t>(port));
  if (address.ss_family == AF_INET) reinterpret_cast<sockaddr_in&>(address).sin_port = value;
  if (address.ss_family == AF_INET6) reinterpret_cast<sockaddr_in6&>(address).sin6_port = value;
}

Result<Listener> listen_at(sockaddr_storage address, socklen_t size, bool tls) {
  const std::string name = url_of(address, tls);
  Descriptor socket(::socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (socket.get() < 0) return system_error(name);
  const int on = 1;
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0 ||
      ::listen(socket.get(), kBacklog) != 0) {
    return system_error("cannot listen on " + name);
  }
  if (::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) return system_error(name);
  return Listener{socket.release(), url_of(address, tls), ""};
}

Status listen_on_host(const ListenOptions& options, std::vector<Listener>& listeners) {
  addrinfo wanted = {};
  wanted.ai_socktype = SOCK_STREAM;
  wanted.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const int code = ::getaddrinfo(options.host.c_str(), nullptr, &wanted, &found);
  if (code != 0) return Error::not_found("host " + options.host + ": " + ::gai_strerror(code));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> all(found, ::freeaddrinfo);
  int port = options.port;
  for (const addrinfo* each = found; each != nullptr; each = each->ai_next) {
    if (each->ai_family != AF_INET && each->ai_family != AF_INET6) continue;
    if (!options.allow_public && !is_loopback(each->ai_addr)) {
      return Error::invalid_argument("host " + options.host + " is reached from other machines");
    }
    sockaddr_storage address = {};
    std::memcpy(&address, each->ai_addr, each->ai_addrlen);
    set_port(address, port);
    auto listener = listen_at(address, each->ai_addrlen, options.tls);
    // localhost may name an address of a family that the machine does not have.
    if (!listener.ok() && errno == EADDRNOTAVAIL && each->ai_next != nullptr) continue;
    if (!listener.ok()) return std::move(listener).error();
    listeners.push_back(std::move(listener).value());
    socklen_t size = sizeof address;
    ::getsockname(listeners.back().descriptor, reinterpret_cast<sockaddr*>(&address), &size);
    port = port_of(address);
  }
  if (listeners.empty()) return Error::not_found("host " + options.host + ": no address to listen on");
  return {};
}

// Makes room where a process that is gone left its socket.
Status clear_path(const std::string& path, const sockaddr_un& address) {
  struct stat info = {};
  if (::lstat(path.c_str(), &info) != 0) return {};
  if (!S_ISSOCK(info.st_mode)) return Error::invalid_argument(path + ": expected a socket or nothing, found a file");
  const Descriptor probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (probe.get() < 0) return system_error(path);
  if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    return Error::io(path + ": another process listens there");
  }
  if (errno != ECONNREFUSED || ::unlink(path.c_str()) != 0) return system_error(path);
  return {};
}

Status listen_on_path(const std::string& path, std::vector<Listener>& listeners) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return Error::invalid_argument(path + ": expected at most " + std::to_string(sizeof address.sun_path - 1) +
                                   " bytes, found " + std::to_string(path.size()));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  ROWMAX_RETURN_IF_ERROR(clear_path(path, address));
  Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (socket.get() < 0) return system_error(path);
  const mode_t before = ::umask(0177);
  const int bound = ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  ::umask(before);
  if (bound != 0 || ::listen(socket.get(), kBacklog) != 0) return system_error("cannot listen on " + path);
  listeners.push_back({socket.release(), "unix:" + path, path});
  return {};
}

}  // namespace

Result<std::vector<Listener>> listen_on(const ListenOptions& options) {
  std::vector<Listener> listeners;
  Status status = options.host.empty() ? Status() : listen_on_host(options, listeners);
  if (status.ok() && !options.unix_path.empty()) status = listen_on_path(options.unix_path, listeners);
  if (status.ok()) return listeners;
  close_listeners(listeners);
  return std::move(status).error();
}

void close_listeners(std::vector<Listener>& listeners) noexcept {
  for (Listener& listener : listeners) {
    if (listener.descriptor >= 0) ::close(listener.descriptor);
    if (!listener.path.empty()) ::unlink(listener.path.c_str());
  }
  listeners.clear();
}

}  // namespace rowmax::server
