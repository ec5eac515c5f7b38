"""A server on this machine that plays Hugging Face's hub and its storage host, with the faults of both."""
import gzip
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def cut(self):
        """Ends the connection in the middle of an answer."""
        self.wfile.flush()
        self.close_connection = True

    def do_GET(self):
        server = self.server.owner
        path = unquote(urlsplit(self.path).path)
        request = {"path": path, "url": self.path, "server": self.server.role,
                   **{name.lower(): value for name, value in self.headers.items()}}
        server.requests.append(request)
        fault = server.next_fault(path)
        if fault is not None and fault(self) is not False:
            return
        if path.startswith("/api/models/"):
            self.list_files(server, path)
        elif "/resolve/" in path:
            self.resolve(server, path)
        elif path.startswith("/storage/"):
            self.send_file(server, path[len("/storage/"):])
        else:
            self.answer(404, b"nothing here")

    def list_files(self, server, path):
        match = re.fullmatch(r"/api/models/([^/]+/[^/]+)/revision/(.+)", path)
        if not match or match[1] != server.repository:
            return self.answer(401, b"{}", X_Error_Code="RepoNotFound", X_Error_Message="Repository not found")
        if match[2] not in ("main", "v1.0", "refs/pr/7", COMMIT):
            return self.answer(404, b"{}", X_Error_Code="RevisionNotFound", X_Error_Message="Invalid rev id")
        self.answer(200, json.dumps(server.listing()).encode(), Content_Type="application/json")

    def resolve(self, server, path):
        match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        name = match[3] if match and match[1] == server.repository else None
        if name not in server.files:
            return self.answer(404, b"Entry not found", X_Error_Code="EntryNotFound", X_Error_Message="Entry not found")
        self.answer(302, b"Found. Redirecting", Location=f"{server.storage_url}/storage/{name}?Signature=secret",
                    X_Linked_Etag=f'"{server.digest(name)}"', X_Linked_Size=str(len(server.files[name])),
                    X_Repo_Commit=COMMIT)

    def send_file(self, server, name):
        data, etag = server.files[name], server.etag(name)
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(wanted[1]) if wanted and self.headers.get("If-Range", etag) == etag else 0
        if wanted and start >= len(data):
            return self.answer(416, b"", Content_Range=f"bytes */{len(data)}")
        headers = {"ETag": etag, "Accept_Ranges": "bytes"}
        if start:
            headers["Content_Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self.answer(206 if start else 200, data[start:], **headers)


class Hub:
    """`hub` answers like huggingface.co, `storage` like the host that it sends the client to."""

    def __init__(self, repository="test/tiny"):
        self.repository = repository
        self.files, self.digests, self.etags = {}, {}, {}
        self.requests, self.faults = [], []
        self.servers = []
        self.url = self.start("hub", "127.0.0.1")
        self.storage_url = self.start("storage", "localhost")

    def start(self, role, host):
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        server.owner, server.role = self, role
        server.handle_error = lambda *_: None  # clients that hang up are part of the play
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.servers.append(server)
        return f"http://{host}:{server.server_port}"

    def close(self):
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def digest(self, name):
        return self.digests.get(name) or sha256(self.files[name])

    def etag(self, name):
        return self.etags.get(name) or f'"{sha256(self.files[name])[:16]}"'

    def listing(self):
        siblings = [{"rfilename": ".gitattributes", "size": 5, "blobId": "a" * 40}]
        for name, data in self.files.items():
            siblings.append({"rfilename": name, "size": len(data), "blobId": "b" * 40,
                             "lfs": {"sha256": self.digest(name), "size": len(data), "pointerSize": 134}})
        return {"id": self.repository, "sha": COMMIT, "gated": False, "siblings": siblings}

    def fail(self, pattern, *faults):
        """The next requests whose path matches meet these faults, one each; None lets one pass."""
        self.faults += [(pattern, fault) for fault in faults]

    def next_fault(self, path):
        for i, (pattern, fault) in enumerate(self.faults):
            if re.search(pattern, path):
                del self.faults[i]
                return fault
        return None

    def paths(self, part):
        return [r["path"] for r in self.requests if part in r["path"]]


# Faults: functions of the handler that answer in its place, or return False to let it answer itself.

def status(code, body=b"{}", **headers):
    return lambda handler: handler.answer(code, body, **headers)


def cut_after(n, honest_range=True):
    """Announces the whole rest of the file and breaks off after n bytes of it."""
    def fault(handler):
        server = handler.server.owner
        name = unquote(urlsplit(handler.path).path)[len("/storage/"):]
        data, etag = server.files[name], server.etag(name)
        wanted = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        start = int(wanted[1]) if wanted and honest_range else 0
        handler.send_response(206 if start else 200)
        handler.send_header("ETag", etag)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        handler.send_header("Content-Length", str(len(data) - start))
        handler.end_headers()
        handler.wfile.write(data[start:start + n])
        handler.cut()
    return fault


def whole(data, encoding=None, chunked=False, end_early=False, **headers):
    """200 with these bytes whatever was asked for."""
    def fault(handler):
        body = gzip.compress(data) if encoding == "gzip" else data
        handler.send_response(200)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        if encoding:
            handler.send_header("Content-Encoding", encoding)
        if chunked:
            handler.send_header("Transfer-Encoding", "chunked")
        elif "Content_Length" not in headers:
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if not chunked:
            handler.wfile.write(body[:len(body) // 2] if end_early else body)
        else:
            for i in range(0, len(body), 50_000):
                piece = body[i:i + 50_000]
                handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                if end_early:
                    break
            else:
                handler.wfile.write(b"0\r\n\r\n")
        if end_early:
            handler.cut()
    return fault
