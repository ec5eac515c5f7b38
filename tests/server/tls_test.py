"""TLS: the same bytes as without it, from clients that know nothing of the server; and what is refused, by name."""
import json
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import unittest
import warnings
from pathlib import Path

from server import PROGRAM, Server, environment, http_head, read_all, together

GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
BODY = {"prompt": "Once upon a time", "max_tokens": 12, "seed": 7, "temperature": 0.8}

# Valid in the year 2000 alone, with its key, which opens nothing (openssl ca -selfsign -startdate 20000101000000Z -enddate 20010101000000Z).
EXPIRED = """-----BEGIN CERTIFICATE-----
MIIBEDCBtgIBATAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwHhcN
MDAwMTAxMDAwMDAwWhcNMDEwMTAxMDAwMDAwWjAUMRIwEAYDVQQDDAlsb2NhbGhv
c3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAATu2/CBm+Dq1qSlv4ogQd64ZThE
WzuffskDILhm2Ck+//sSz6QeSYBBjMWBUpySeNXoCePSTGkPUHlGAOXx+4EdMAoG
CCqGSM49BAMCA0kAMEYCIQDGRBvdOafV2tljYyle3tNfSw5Er20EWoZHJzwJlbSY
FwIhALMDt4jb8zV/LI8q1PiT1JmpjnjjZEy+yGJkrK9z1wK1
-----END CERTIFICATE-----
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgaD8N2Kps63FvfWTd
8PdnYh7Vf9F1MXTFgxKCC62FjFahRANCAATu2/CBm+Dq1qSlv4ogQd64ZThEWzuf
fskDILhm2Ck+//sSz6QeSYBBjMWBUpySeNXoCePSTGkPUHlGAOXx+4Ed
-----END PRIVATE KEY-----
"""


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def make_certificate(folder, name, *how):
    """A certificate that signs itself, and its key."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    how = how or ("ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
    openssl("req", "-x509", "-newkey", *how, "-nodes", "-keyout", key, "-out", certificate, "-days", 2, "-subj", "/CN=localhost",
            "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    return certificate, key


def deterministic(answer):
    """An answer without what differs from one time to the next."""
    return {k: v for k, v in answer.json.items() if k not in ("id", "created", "timings")}


def setUpModule():
    global FOLDER, CERTIFICATE, KEY, folder
    if shutil.which("openssl") is None:
        print("skipped: no openssl program to make a certificate with", file=sys.stderr)
        sys.exit(77)
    folder = tempfile.TemporaryDirectory()
    FOLDER = Path(folder.name)
    CERTIFICATE, KEY = make_certificate(FOLDER, "server")
    refused = subprocess.run([PROGRAM, "serve", "--port", "0", "--tls-cert", FOLDER / "none", "--tls-key", KEY], capture_output=True, timeout=60,
                             env=environment(FOLDER))
    if b"built without TLS" in refused.stderr:
        print("skipped: this rowmax was built without TLS", file=sys.stderr)
        sys.exit(77)


def tearDownModule():
    folder.cleanup()


def client_context(certificate=None):
    return ssl.create_default_context(cafile=str(certificate or CERTIFICATE))


class Encrypted(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server("--tls-cert", CERTIFICATE, "--tls-key", KEY, context=client_context())

    @classmethod
    def tearDownClass(cls):
        code = cls.server.stop()
        cls.server.forget()
        assert code == 0, code

    def tearDown(self):
        self.assertEqual(self.server.get("/health").status, 200)

    def connect(self, context=None, timeout=20):
        plain = socket.create_connection((self.server.host, self.server.port), timeout=timeout)
        self.addCleanup(plain.close)
        secure = (context or client_context()).wrap_socket(plain, server_hostname="localhost")
        self.addCleanup(secure.close)
        return secure

    def test_the_same_bytes(self):
        """Sixteen at once, whole and as streams, and long ones that are many records, as without TLS."""
        bodies = [{**BODY, "seed": seed, "stream": seed % 4 == 3} for seed in range(15)]
        bodies.append({"prompt": "Once", "max_tokens": 150, "n": 8, "logprobs": 20})
        def ask(server):
            answers = together([lambda body=body: server.post("/v1/completions", body) for body in bodies])
            self.assertEqual([a.status for a in answers], [200] * 16)
            self.assertGreater(len(answers[15].body), 4 * 16384)
            texts = [[{k: v for k, v in e.items() if k not in ("id", "created", "timings")} for e in a.events[:-1]] if body.get("stream")
                     else deterministic(a) for a, body in zip(answers, bodies)]
            for text in texts:
                for each in text if isinstance(text, list) else [text]:
                    each.pop("usage", None)  # which of them found the prompt in the cache
                    each.get("rowmax", {}).pop("cache", None)
            return texts
        encrypted = ask(self.server)
        with Server() as plain:
            self.assertEqual(encrypted, ask(plain))

    def test_versions(self):
        """1.2 and 1.3, and nothing before; http/1.1 where the client asks, no other protocol."""
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = client_context()
            context.minimum_version = context.maximum_version = version
            context.set_alpn_protocols(["h2", "http/1.1"])
            client = self.connect(context)
            self.assertEqual(client.version(), "TLSv1.2" if version == ssl.TLSVersion.TLSv1_2 else "TLSv1.3")
            self.assertEqual(client.selected_alpn_protocol(), "http/1.1")
            client.sendall(GET)
            self.assertTrue(client.recv(4096).startswith(b"HTTP/1.1 200"))
        old = client_context()
        old.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        with self.assertRaisesRegex(ssl.SSLError, "(?i)alert.protocol.version"):
            self.connect(old)
        other = client_context()
        other.set_alpn_protocols(["h2"])
        with self.assertRaisesRegex(ssl.SSLError, "(?i)no.application.protocol"):
            self.connect(other)

    def test_curl(self):
        curl = shutil.which("curl")
        if curl is None:
            self.skipTest("no curl")
        url = f"https://localhost:{self.server.port}"
        result = subprocess.run([curl, "-sS", "--cacert", CERTIFICATE, "--resolve", f"localhost:{self.server.port}:127.0.0.1",
                                 f"{url}/v1/completions", "-H", "Content-Type: application/json", "-d", json.dumps(BODY)],
                                capture_output=True, timeout=60)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(json.loads(result.stdout)["choices"], self.server.post("/v1/completions", BODY).json["choices"])

    def test_keep_alive_and_pipelining(self):
        client = self.connect()
        for _ in range(3):
            client.sendall(GET)
            self.assertTrue(client.recv(4096).startswith(b"HTTP/1.1 200"))
        client.sendall(GET * 3 + GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        self.assertEqual(len(re.findall(rb"HTTP/1\.1 200", read_all(client))), 4)

    def test_the_end_is_said(self):
        """A stream of HTTP/1.0 ends with the connection: the client can tell that from one that was cut."""
        client = self.connect()
        body = json.dumps({**BODY, "stream": True}).encode()
        client.sendall(b"POST /v1/completions HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        got = b""
        while part := client.recv(4096):  # raises where the end is not said (suppress_ragged_eofs is for read())
            got += part
        self.assertTrue(got.endswith(b"data: [DONE]\n\n"))
        strict = socket.create_connection((self.server.host, self.server.port), timeout=20)
        self.addCleanup(strict.close)
        secure = client_context().wrap_socket(strict, server_hostname="localhost", suppress_ragged_eofs=False)
        self.addCleanup(secure.close)
        secure.sendall(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        while secure.recv(4096):
            pass

    def test_plain_text(self):
        """Who forgets the s is told, in words that it can read."""
        with socket.create_connection((self.server.host, self.server.port), timeout=20) as client:
            client.sendall(GET)
            got = read_all(client)
        self.assertTrue(got.startswith(b"HTTP/1.1 400 "), got[:100])
        self.assertIn(b"https://", got)
        self.assertNotIn(b'"status"', got)

    def test_broken_handshakes(self):
        for data in (b"\x16", b"\x16\x03\x01\x00\x05hello", b"\x16\x03\x01\xff\xff" + b"a" * 70000, b"\x16\x03\x01\x00\x00" * 100,
                     b"\x15\x03\x01\x00\x02\x02\x28", b"\x16" + bytes(range(256)) * 8):
            for shut in (False, True):
                if data == b"\x16" and not shut:
                    continue  # waits for the rest
                with socket.create_connection((self.server.host, self.server.port), timeout=20) as client:
                    try:
                        client.sendall(data)
                        if shut:
                            client.shutdown(socket.SHUT_WR)
                        while client.recv(4096):
                            pass
                    except OSError:
                        pass  # the server was quicker
                self.assertEqual(self.server.get("/health").status, 200)
        # What comes behind a good handshake and is no record.
        client = self.connect()
        client.sendall(GET)
        self.assertTrue(client.recv(4096).startswith(b"HTTP/1.1 200"))
        raw = socket.socket(fileno=client.detach())
        raw.settimeout(20)  # the descriptor stays as the other object had it, which waits for nothing
        self.addCleanup(raw.close)
        try:
            raw.sendall(b"nothing that was encrypted" * 10)
            while raw.recv(4096):
                pass
        except (ConnectionResetError, BrokenPipeError):
            pass

    def test_half_closed(self):
        """Who ends its side of TLS is answered what it has asked, is told the end, and is not computed for."""
        client = self.connect()
        client.sendall(GET)
        self.assertTrue(client.recv(4096).startswith(b"HTTP/1.1 200"))
        client.unwrap()  # waits for the server's own end
        before = self.server.metric("requests_cancelled_total")
        for ends in ("tls", "socket"):
            client = self.connect()
            body = json.dumps({"prompt": "Once", "max_tokens": 4000, "ignore_eos": True, "stream": True, "n": 4}).encode()
            client.sendall(http_head("/v1/completions", length=len(body)) + body)
            self.server.wait_for(lambda: self.server.metric("requests_running") > 0)
            if ends == "tls":
                client.setblocking(False)
                try:
                    client.unwrap()
                except (ssl.SSLError, OSError):
                    pass
            else:
                client.close()
            before += 1
            self.server.wait_for(lambda: self.server.metric("requests_cancelled_total") == before, 20)
            self.server.wait_for(lambda: self.server.metric("requests_running") == 0, 20)

    def test_slow_reader(self):
        """Records that nobody reads are bounded like plain text: the request is paused, and given up after a time."""
        with Server("--tls-cert", CERTIFICATE, "--tls-key", KEY, "--stream-wait", 2, context=client_context()) as server:
            plain = socket.socket()
            self.addCleanup(plain.close)
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            plain.connect((server.host, server.port))
            client = client_context().wrap_socket(plain, server_hostname="localhost")
            self.addCleanup(client.close)
            body = json.dumps({"prompt": "Once", "max_tokens": 4000, "ignore_eos": True, "stream": True, "n": 32, "logprobs": 20}).encode()
            client.sendall(http_head("/v1/completions", length=len(body)) + body)
            server.wait_for(lambda: server.metric("http_abandoned_total") == 1, 60)
            server.wait_for(lambda: server.metric("requests_running") + server.metric("requests_paused") == 0, 20)

    def test_slow_handshakes(self):
        """A handshake has the ten seconds of a head, however its bytes drip, and keeps nobody waiting."""
        begin = time.time()
        hello = self.client_hello()
        silent = socket.create_connection((self.server.host, self.server.port), timeout=60)
        self.addCleanup(silent.close)
        with socket.create_connection((self.server.host, self.server.port), timeout=1) as client:
            ended = False
            for byte in hello[:-1]:
                try:
                    client.sendall(bytes([byte]))
                    if client.recv(4096) == b"":
                        ended = True
                except socket.timeout:
                    pass
                except (ConnectionResetError, BrokenPipeError):
                    ended = True
                if ended or time.time() - begin > 60:
                    break
                self.assertEqual(self.server.get("/health").status, 200)
        self.assertTrue(ended)
        self.assertGreater(time.time() - begin, 9)
        self.assertEqual(silent.recv(1), b"")

    @staticmethod
    def client_hello():
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = client_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
        try:
            client.do_handshake()
        except ssl.SSLWantReadError:
            pass
        return outgoing.read()


class Files(unittest.TestCase):
    def refused(self, code, says, *flags):
        result = subprocess.run([PROGRAM, "serve", "--port", "0", *map(str, flags)], capture_output=True, timeout=60, env=environment(FOLDER))
        self.assertEqual(result.returncode, code, result.stderr)
        text = result.stderr.decode()
        for each in says:
            self.assertIn(str(each), text)
        self.assertEqual(result.stdout, b"")

    def test_what_is_refused(self):
        other_certificate, other_key = make_certificate(FOLDER, "other")
        locked = FOLDER / "locked.key"
        openssl("pkey", "-in", KEY, "-aes256", "-passout", "pass:secret", "-out", locked)
        text = FOLDER / "text"
        text.write_text("no certificate\n")
        broken = FOLDER / "broken.pem"
        broken.write_text(CERTIFICATE.read_text().replace("\nM", "\n!M", 1))
        self.refused(2, ["--tls-cert and --tls-key", "found only --tls-cert"], "--tls-cert", CERTIFICATE)
        self.refused(2, ["--tls-cert and --tls-key", "found only --tls-key"], "--tls-key", KEY)
        self.refused(8, [FOLDER / "none", "No such file"], "--tls-cert", FOLDER / "none", "--tls-key", KEY)
        self.refused(8, [FOLDER / "none", "No such file"], "--tls-cert", CERTIFICATE, "--tls-key", FOLDER / "none")
        self.refused(3, [text, "found none"], "--tls-cert", text, "--tls-key", KEY)
        self.refused(3, [broken, "certificate"], "--tls-cert", broken, "--tls-key", KEY)
        self.refused(3, [text, "private key", "found none"], "--tls-cert", CERTIFICATE, "--tls-key", text)
        self.refused(3, [CERTIFICATE, "private key", "found none"], "--tls-cert", CERTIFICATE, "--tls-key", CERTIFICATE)
        self.refused(2, [other_key, CERTIFICATE, "found another"], "--tls-cert", CERTIFICATE, "--tls-key", other_key)
        self.refused(2, [locked, "passphrase"], "--tls-cert", CERTIFICATE, "--tls-key", locked)
        # TLS is no key: an address that others reach still needs one.
        self.refused(2, ["is reached from other machines"], "--tls-cert", CERTIFICATE, "--tls-key", KEY, "--host", "0.0.0.0")

    def test_expired(self):
        """Answers, says so, and a client that looks refuses it."""
        both = FOLDER / "expired.pem"
        both.write_text(EXPIRED)
        context = ssl.create_default_context(cafile=str(both))
        blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
        with Server("--tls-cert", both, "--tls-key", both, context=blind) as server:
            self.assertEqual(server.get("/health").status, 200)
            self.assertIn(f"{both}: the certificate expired at Jan  1 00:00:00 2001 GMT", server.log_text())
            with self.assertRaises(ssl.SSLCertVerificationError):
                with socket.create_connection((server.host, server.port), timeout=20) as client:
                    context.wrap_socket(client, server_hostname="localhost")

    def test_rsa_and_unix(self):
        """Another kind of key. A Unix socket beside it stays plain."""
        certificate, key = make_certificate(FOLDER, "rsa", "rsa:2048")
        path = FOLDER / "s.sock"
        with Server("--tls-cert", certificate, "--tls-key", key, "--unix", path, "--drain", 1, context=client_context(certificate)) as server:
            self.assertEqual(server.get("/health").status, 200)
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(20)
                client.connect(str(path))
                client.sendall(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
                self.assertTrue(read_all(client).startswith(b"HTTP/1.1 200"))
            self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    unittest.main()
