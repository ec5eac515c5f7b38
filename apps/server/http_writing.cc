#include "apps/server/http_writing.h"

#include <cstdio>

namespace rowmax::server {

std::string answer_head(const HttpAnswer& answer, const AnswerFraming& framing, std::span<const HttpHeader> headers) {
  std::string head = "HTTP/1.1 " + std::to_string(answer.status) + " " + reason_phrase(answer.status) + "\r\n";
  const auto add = [&](std::string_view name, std::string_view value) {
    head.append(name).append(": ").append(value).append("\r\n");
  };
  if (!answer.content_type.empty()) add("Content-Type", answer.content_type);
  if (framing.length && answer.status != 204) add("Content-Length", std::to_string(*framing.length));
  if (framing.chunked) add("Transfer-Encoding", "chunked");
  add("Connection", framing.keep_alive ? "keep-alive" : "close");
  for (const HttpHeader& header : headers) add(header.name, header.value);
  for (const HttpHeader& header : answer.headers) add(header.name, header.value);
  return head += "\r\n";
}

std::string chunk_of(std::string_view piece) {
  char size[20];
  std::string chunk(size, static_cast<std::size_t>(std::snprintf(size, sizeof size, "%zx\r\n", piece.size())));
  chunk += piece;
  chunk += "\r\n";
  return chunk;
}

}  // namespace rowmax::server
