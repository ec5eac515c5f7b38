// Sockets that listen: for addresses of the network, and for a path.
#pragma once

#include <string>
#include <vector>

#include "rowmax/result.h"

namespace rowmax::server {

struct Listener {
  int descriptor = -1;
  std::string address;  // "http://127.0.0.1:8080", "https://...", "unix:/run/rowmax.sock"
  std::string path;     // of a Unix socket, to be removed at the end
};

struct ListenOptions {
  std::string host = "127.0.0.1";  // empty: none
  int port = 8080;                 // 0: any that is free
  std::string unix_path;           // empty: none
  bool allow_public = false;       // addresses that other machines reach
  bool tls = false;                // what is written in the addresses of the network: https
};

// Non-blocking sockets on every address of the host, all on one port, and on the path. A socket that nobody listens on any
// more is replaced, only its owner may connect to the new one. kInvalidArgument for a public address without
// allow_public, a path that is too long, and a file there that is no socket; kNotFound for a host that is not known; kIo.
Result<std::vector<Listener>> listen_on(const ListenOptions& options);
void close_listeners(std::vector<Listener>& listeners) noexcept;

}  // namespace rowmax::server
