"""Requests that cannot be answered: each is refused with the field that is wrong, and the server goes on."""
import json
import unittest

from server import ServerTest

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
MESSAGES = [{"role": "user", "content": "hi"}]

# (field, values that it must not have); of both generation routes.
FIELDS = [
    ("temperature", [-1, 101, "1", True, [], {}, 1e300]),
    ("top_p", [-0.1, 1.1, "x"]),
    ("top_k", [-2, 1.5, 1e12, "5", 2 ** 63]),
    ("min_p", [-0.1, 2]),
    ("seed", [1.5, "7", 2 ** 64, -2 ** 64, {}]),
    ("n", [0, -1, 10 ** 9, 1.5, "2", 129, 129.0, 0.0]),
    ("max_tokens", [-2, 1.5, "10", 10 ** 12, -2 ** 63]),
    ("stop", ["", [""], [1], 5, {}, ["a"] * 65, ["a" * 2000], ["x"] * 10 ** 5]),
    ("frequency_penalty", [-101, 101, "0"]),
    ("presence_penalty", [-101, 101, []]),
    ("repetition_penalty", [0, -1, "1"]),
    ("logit_bias", [[], "x", {"a": 1}, {"99999999": 1}, {"-1": 1}]),
    ("stream", ["true", 1, "yes"]),
    ("stream_options", ["x", 1, []]),
    ("response_format", ["json", {}, {"type": "xml"}, {"type": "json_schema"}, {"type": "json_schema", "json_schema": {}},
                         {"type": "json_schema", "json_schema": {"schema": {"type": "strange"}}}]),
    ("grammar", ["root ::= 'a'", 1]),
    ("json_schema", ["x", {"not": {}}]),
    ("regex", ["(?<=a)b", "(", 1]),
    ("ignore_eos", ["x", 0]),
]
CHAT_FIELDS = [
    ("messages", [None, "hi", [], 5, {}]),
    ("tools", ["x", {}, 5]),
    ("tool_choice", ["always", 5, "required", {"type": "function", "function": {"name": "f"}}]),
    ("logprobs", [1, "x"]),
    ("top_logprobs", [-1, 21, "x", 5]),  # 5: without logprobs
    ("chat_template_kwargs", ["x", [], {"other_token": "x"}]),
    ("reasoning_effort", [5]),
    ("max_completion_tokens", [-2, "x"]),
]
TEXT_FIELDS = [
    ("prompt", [None, 5, {}, [None], [{}], [[]], [], [-1], [10 ** 9], [1.5], ["a", 1], [[1], "a", {}], ["a"] * 129, [2 ** 62]]),
    ("logprobs", [-1, 21, True, "5"]),
    ("echo", ["x", 1]),
    ("suffix", ["x", 5]),
    ("best_of", [0, 5]),
]
NESTED = [
    (CHAT, {"messages": [123]}, "messages[0]"),
    (CHAT, {"messages": [{}]}, "messages[0].role"),
    (CHAT, {"messages": MESSAGES + [{"role": "user", "content": None}]}, "messages[1].content"),
    (CHAT, {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0].type"),
    (CHAT, {"messages": MESSAGES, "tools": [5]}, "tools[0]"),
    (CHAT, {"messages": MESSAGES, "stream_options": {"include_usage": "x"}}, "stream_options.include_usage"),
    (CHAT, {"messages": MESSAGES, "logit_bias": {"1": "x"}}, "logit_bias.1"),
    (CHAT, {"messages": [{"role": "user", "content": "word " * 20000}]}, "messages"),
    (TEXT, {"prompt": "word " * 20000}, "prompt"),
    ("/tokenize", {}, "content"),
    ("/tokenize", {"content": 5}, "content"),
    ("/detokenize", {"tokens": "x"}, "tokens"),
    ("/detokenize", {"tokens": [10 ** 9]}, "tokens"),
    ("/detokenize", {"tokens": [-1]}, "tokens"),
    ("/v1/responses", {"input": "a", "conversation": "c1"}, "conversation"),
    ("/v1/embeddings", {}, "input"),
    ("/v1/embeddings", {"input": {}}, "input"),
    ("/v1/embeddings", {"input": ["a", 5]}, "input"),
    ("/v1/embeddings", {"input": []}, "input"),
    ("/v1/embeddings", {"input": "a", "encoding_format": "int8"}, "encoding_format"),
    ("/v1/embeddings", {"input": "a", "dimensions": 3}, "dimensions"),
]
NOT_JSON = [
    b"", b"{", b"nonsense", b"[]x", b'{"a": 1} trailing', b'{"a": 1, "a": 2}', b'{"prompt": "\xff\xfe"}', b'{"prompt": "\\ud800"}',
    b'{"temperature": NaN}', b'{"temperature": Infinity}', b"{'a': 1}", b'{"a": 1e999}', b"[" * 3000 + b"]" * 3000,
    b'{"a":' * (7 * 10 ** 5), b"[" * 10 ** 6, b'{"prompt": "\x00"}', b"\xef\xbb\xbf", b'{"a": ' + b"1" * 100000 + b".}",
]


class BadRequests(ServerTest):
    FLAGS = ("--pooling", "last", "--max-body", 4)

    def tearDown(self):
        self.assertEqual(self.server.get("/health").status, 200)
        self.assertIsNone(self.server.process.poll())

    def check(self, path, body, param):
        error = self.refused(self.server.post(path, body), 400, param)
        self.assertIn(param.split(".")[0].split("[")[0], error["message"], body)

    def test_fields(self):
        for path, fields in ((CHAT, FIELDS + CHAT_FIELDS), (TEXT, FIELDS + TEXT_FIELDS)):
            good = {"messages": MESSAGES} if path == CHAT else {"prompt": "hi"}
            for field, values in fields:
                for value in values:
                    with self.subTest(path=path, field=field, value=repr(value)[:60]):
                        answer = self.server.post(path, {**good, "max_tokens": 1, field: value})
                        error = self.refused(answer, 400)
                        self.assertTrue(error["param"].startswith(field), error)

    def test_images_are_not_left_out_in_silence(self):
        for path, body, name in (("/api/chat", {"messages": [{"role": "user", "content": "a", "images": ["x"]}]}, "messages[0].images"),
                                 ("/api/generate", {"prompt": "a", "images": ["x"]}, "images")):
            answer = self.server.post(path, body)
            self.assertEqual(answer.status, 400)
            self.assertTrue(answer.json["error"].startswith(name + ": "), answer.body)
            self.assertEqual(self.server.post(path, {**body, "options": {"num_predict": 1}, "images": [],
                                                     "messages": MESSAGES}).status, 200)

    def test_nested(self):
        for path, body, param in NESTED:
            with self.subTest(path=path, body=repr(body)[:80]):
                self.check(path, body, param)

    def test_too_long_is_named(self):
        error = self.refused(self.server.post(TEXT, {"prompt": "word " * 20000}), 400, "prompt")
        self.assertEqual(error["code"], "context_length_exceeded")

    def test_what_is_not_supported_is_named(self):
        tools = [{"type": "function", "function": {"name": "f"}}]
        for body in ({"json_schema": {"not": {}}}, {"tool_choice": "required", "tools": tools}):
            error = self.refused(self.server.post(CHAT, {"messages": MESSAGES, **body}), 400, list(body)[0])
            self.assertEqual(error["code"], "not_supported")

    def test_bodies_that_are_no_json(self):
        for body in NOT_JSON:
            for path in (CHAT, TEXT, "/tokenize"):
                with self.subTest(body=body[:60], path=path):
                    answer = self.server.post(path, body)
                    error = self.refused(answer, 400)
                    self.assertEqual(error["type"], "invalid_request_error")
        for body in (b"5", b'"x"', b"null", b"[]", b"true"):
            self.refused(self.server.post(TEXT, body), 400, says="expected an object")

    def test_null_is_absent(self):
        nulls = {field: None for field, _ in FIELDS + CHAT_FIELDS + TEXT_FIELDS if field not in ("messages", "prompt")}
        self.good(self.server.post(CHAT, {"messages": MESSAGES, **nulls, "max_tokens": 1}))
        self.good(self.server.post(TEXT, {"prompt": "hi", **nulls, "max_tokens": 1}))

    def test_odd_but_fine(self):
        for messages in ([{"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}],
                         [{"role": "user", "content": ""}], [{"role": "tool", "content": "x", "tool_call_id": "1"}],
                         [{"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": "{broken"}}]},
                          {"role": "user", "content": "é\U0001f600\u0000\u202e"}]):
            self.good(self.server.post(CHAT, {"messages": messages, "max_tokens": 1}))
        self.good(self.server.post(TEXT, {"prompt": "", "max_tokens": 1}))  # BOS alone
        self.assertEqual(self.good(self.server.post(TEXT, {"prompt": "hi", "max_tokens": 0}))["choices"][0]["text"], "")

    def test_large_bodies(self):
        self.refused(self.server.post(TEXT, b'{"prompt": "' + b"a" * (5 << 20) + b'"}'), 413)
        answer = self.server.post(TEXT, b"[" + b"0," * (1 << 20) + b"0]")
        self.refused(answer, 400, says="more than")
        self.refused(self.server.post(TEXT, {"prompt": "a" * (3 << 20)}), 400, "prompt")

    def test_methods_and_paths(self):
        answer = self.server.get(TEXT)
        self.refused(answer, 405)
        self.assertEqual(answer.headers["Allow"], "POST")
        self.refused(self.server.post("/v1/models", {}), 405)
        self.refused(self.server.request("DELETE", "/health"), 405)
        for path in ("/pages", "/v1", "/v2/models", "/v1/chat/completions/", "/v1/models/", "/../etc/passwd", "/v1/%2e%2e/x", "/tokenize/x"):
            self.refused(self.server.get(path), 404)
        self.assertEqual(self.server.get("/health?x=1").status, 200)

    def test_content_types(self):
        body = json.dumps({"prompt": "hi", "max_tokens": 1})
        for good in ("application/json", "application/json; charset=UTF-8", "application/x-www-form-urlencoded", "application/ld+json",
                     'application/json;charset="utf-8"'):
            self.assertEqual(self.server.post(TEXT, body, headers={"Content-Type": good}).status, 200, good)
        for bad in ("text/plain", "multipart/form-data; boundary=x", "application/json; charset=latin1", "image/png"):
            self.refused(self.server.post(TEXT, body, headers={"Content-Type": bad}), 415, "Content-Type")
        self.refused(self.server.post(TEXT, body, headers={"Content-Encoding": "gzip"}), 415, "Content-Encoding")


if __name__ == "__main__":
    unittest.main()
