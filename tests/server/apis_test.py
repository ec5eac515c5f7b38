"""The other APIs: the same text as /v1/chat/completions gives, in their forms, whole and streamed."""
import json
import unittest

from server import TEMPLATE, Server, ServerTest

MESSAGES = [{"role": "user", "content": "a story about a fox"}]
# Shows what a template was given.
SHOW = "{% for m in messages %}[{{ m.role }}|{{ m.content }}{% if m.tool_calls %}|{{ m.tool_calls | tojson }}{% endif %}]{% endfor %}{% if tools %}{{ tools | tojson }}{% endif %}"


def named_events(answer):
    events = []
    for block in answer.body.decode().split("\n\n"):
        lines = [line for line in block.split("\n") if line and not line.startswith(":")]
        if lines:
            name, data = lines[0], lines[1]
            assert name.startswith("event: ") and data.startswith("data: "), block
            events.append((name[7:], json.loads(data[6:])))
    return events


class Apis(ServerTest):
    def wanted(self, **more):
        got = self.good(self.server.post("/v1/chat/completions", {"messages": MESSAGES, "max_tokens": 20, **more}))
        return got["choices"][0]["message"]["content"], got["usage"]

    def test_responses(self):
        text, usage = self.wanted()
        for given in ("a story about a fox", [{"role": "user", "content": "a story about a fox"}],
                      [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a story about a fox"}]}],
                      [{"type": "reasoning", "summary": []}, {"role": "user", "content": "a story about a fox"}, {"type": "item_reference", "id": "x"}]):
            got = self.good(self.server.post("/v1/responses", {"input": given, "max_output_tokens": 20,
                                                               "tools": [{"type": "web_search"}, {"type": "unknown"}]}))
            self.assertEqual(got["output"][0]["content"][0]["text"], text)
        self.assertEqual((got["object"], got["status"]), ("response", "incomplete"))
        self.assertEqual(got["incomplete_details"], {"reason": "max_output_tokens"})
        self.assertEqual(set(got["usage"]), {"input_tokens", "input_tokens_details", "output_tokens", "output_tokens_details", "total_tokens"})
        self.assertEqual(got["usage"]["input_tokens"], usage["prompt_tokens"])
        events = named_events(self.server.post("/v1/responses", {"input": "a story about a fox", "max_output_tokens": 20, "stream": True}))
        self.assertEqual([name for name, _ in events if name != "response.output_text.delta"],
                         ["response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
                          "response.output_text.done", "response.content_part.done", "response.output_item.done", "response.incomplete"])
        self.assertEqual("".join(data["delta"] for name, data in events if name == "response.output_text.delta"), text)
        self.assertEqual([data["sequence_number"] for _, data in events], list(range(len(events))))
        self.assertTrue(all(data["type"] == name for name, data in events))
        self.assertEqual(events[-1][1]["response"]["output"][0]["content"][0]["text"], text)

    def test_responses_refuses(self):
        for body, param in [({}, "input"), ({"input": 5}, "input"), ({"input": []}, "input"), ({"input": [5]}, "input[0]"),
                            ({"input": [{"content": "x"}]}, "input[0].role"), ({"input": "a", "previous_response_id": "resp_1"}, "previous_response_id"),
                            ({"input": "a", "text": {"format": {"type": "json_schema"}}}, "text.format.schema"), ({"input": "a", "tools": [5]}, "tools[0]"),
                            ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0].type")]:
            self.refused(self.server.post("/v1/responses", body), 400, param)
        self.assertEqual(self.server.post("/v1/responses", {"input": "a", "max_output_tokens": 1}).status, 200)

    def test_messages(self):
        text, usage = self.wanted()
        for content in ("a story about a fox", [{"type": "text", "text": "a story about a fox"}]):
            got = self.good(self.server.post("/v1/messages", {"messages": [{"role": "user", "content": content}], "max_tokens": 20}))
            self.assertEqual(got["content"], [{"type": "text", "text": text}])
        self.assertEqual((got["type"], got["role"], got["stop_reason"], got["stop_sequence"]), ("message", "assistant", "max_tokens", None))
        self.assertEqual(got["usage"]["input_tokens"] + got["usage"]["cache_read_input_tokens"], usage["prompt_tokens"])
        stopped = self.good(self.server.post("/v1/messages", {"messages": MESSAGES, "max_tokens": 500, "stop_sequences": ["."]}))
        self.assertEqual((stopped["stop_reason"], stopped["stop_sequence"]), ("stop_sequence", "."))
        count = self.good(self.server.post("/v1/messages/count_tokens", {"messages": MESSAGES}))
        self.assertEqual(count, {"input_tokens": usage["prompt_tokens"]})
        events = named_events(self.server.post("/v1/messages", {"messages": MESSAGES, "max_tokens": 20, "stream": True}))
        names = [name for name, _ in events if name not in ("content_block_delta", "ping")]
        self.assertEqual(names, ["message_start", "content_block_start", "content_block_stop", "message_delta", "message_stop"])
        start = events[0][1]["message"]
        self.assertEqual(start["usage"]["input_tokens"] + start["usage"]["cache_read_input_tokens"], usage["prompt_tokens"])
        self.assertEqual("".join(data["delta"]["text"] for name, data in events if name == "content_block_delta"), text)
        self.assertEqual(events[-2][1]["usage"]["output_tokens"], 20)

    def test_messages_refuses(self):
        for body, param in [({"messages": MESSAGES}, "max_tokens"), ({"max_tokens": 5}, "messages"), ({"max_tokens": 5, "messages": []}, "messages"),
                            ({"max_tokens": 5, "messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
                            ({"max_tokens": 5, "messages": [{"role": "user"}]}, "messages[0].content"),
                            ({"max_tokens": 5, "messages": [{"role": "user", "content": [{"type": "image"}]}]}, "messages[0].content[0].type"),
                            ({"max_tokens": 5, "messages": MESSAGES, "tool_choice": {"type": "any"}}, "tool_choice"),
                            ({"max_tokens": 5, "messages": MESSAGES, "tools": [{}]}, "tools[0].name"),
                            ({"max_tokens": 5, "messages": MESSAGES, "system": 5}, "system")]:
            answer = self.server.post("/v1/messages", body)
            self.assertEqual(answer.status, 400, answer.body)
            self.assertEqual(answer.json["type"], "error")
            self.assertEqual(answer.json["error"]["type"], "invalid_request_error")
            self.assertEqual(answer.json["error"]["param"], param)

    def test_what_templates_get(self):
        with Server("--chat-template", SHOW, template=False) as server:
            def shown(path, body):
                answer = server.post(path, {**body, "stream": False})
                self.assertEqual(answer.status, 200, answer.body)
                return answer.json
            tool = {"name": "f", "description": "d", "parameters": {"type": "object"}}
            want = server.post("/apply-template", {"messages": [
                {"role": "system", "content": "be brief"}, {"role": "user", "content": "a\nb"},
                {"role": "assistant", "content": "", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{\"x\": 1}"}}]},
                {"role": "tool", "tool_call_id": "1", "content": "ok"}], "tools": [{"type": "function", "function": tool}]}).json
            self.assertIn('"arguments": {"x": 1}', want["prompt"])
            anthropic = {"system": [{"type": "text", "text": "be brief"}], "messages": [
                {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
                {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"}, {"type": "tool_use", "id": "1", "name": "f", "input": {"x": 1}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": "ok"}]}]}],
                "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object"}}]}
            self.assertEqual(shown("/v1/messages/count_tokens", anthropic), {"input_tokens": len(want["tokens"])})
            responses = {"instructions": "be brief", "max_output_tokens": 1, "input": [
                {"role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]},
                {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{\"x\": 1}"},
                {"type": "function_call_output", "call_id": "1", "output": "ok"}], "tools": [{"type": "function", **tool}, {"type": "mcp"}]}
            self.assertEqual(shown("/v1/responses", responses)["usage"]["input_tokens"], len(want["tokens"]))

    def test_ollama(self):
        text, usage = self.wanted(seed=4)
        body = {"model": "x", "messages": MESSAGES, "options": {"num_predict": 20, "seed": 4, "num_ctx": 9}, "keep_alive": "5m"}
        got = self.good(self.server.post("/api/chat", {**body, "stream": False}))
        self.assertEqual(got["message"], {"role": "assistant", "content": text})
        self.assertEqual((got["done"], got["done_reason"], got["eval_count"]), (True, "length", 20))
        self.assertEqual(got["prompt_eval_count"], usage["prompt_tokens"])
        answer = self.server.post("/api/chat", body)  # streams unless told otherwise
        self.assertEqual(answer.headers["Content-Type"], "application/x-ndjson")
        lines = [json.loads(line) for line in answer.body.decode().splitlines()]
        self.assertEqual("".join(line["message"]["content"] for line in lines), text)
        self.assertEqual([line["done"] for line in lines], [False] * (len(lines) - 1) + [True])
        got = self.good(self.server.post("/api/generate", {"prompt": "a story about a fox", "stream": False, "options": body["options"]}))
        self.assertEqual(got["response"], text)
        raw = self.good(self.server.post("/api/generate", {"prompt": "Once upon a time", "raw": True, "stream": False, "options": {"num_predict": 5}}))
        same = self.good(self.server.post("/v1/completions", {"prompt": "Once upon a time", "max_tokens": 5}))
        self.assertEqual(raw["response"], same["choices"][0]["text"])
        tags = self.good(self.server.get("/api/tags"))["models"][0]
        self.assertEqual(tags["name"], "stories")
        self.assertEqual(tags["details"]["format"], "gguf")
        show = self.good(self.server.post("/api/show", {"model": "stories"}))
        self.assertEqual(show["template"], TEMPLATE)
        self.assertIn("completion", show["capabilities"])
        self.assertIn("version", self.good(self.server.get("/api/version")))
        for path, said in (("/api/generate", {"response": ""}), ("/api/chat", {"message": {"role": "assistant", "content": ""}})):
            for keep in (None, 0, -1, 300, 2.5, "5m", "1h30m", "-1s", "0", "10\u00b5s"):
                got = self.server.post(path, {"model": "stories", "keep_alive": keep})
                self.assertEqual(got.headers["Content-Type"], "application/json")
                got = self.good(got)
                self.assertEqual((got["done"], got["done_reason"]), (True, "load"))
                self.assertEqual({**got, **said}, got)
            for keep in ("soon", "5", "m", "", "1.2.3s", ".s", True, {}):
                answer = self.server.post(path, {"model": "stories", "keep_alive": keep})
                self.assertEqual(answer.status, 400, keep)
                self.assertIn("keep_alive: expected", answer.json["error"])
        self.assertEqual(self.good(self.server.post("/api/generate", {"prompt": ""}))["done_reason"], "load")
        for bad in ({"messages": 5}, {**body, "format": 5}, {**body, "options": {"temperature": "x"}}):
            answer = self.server.post("/api/chat", bad)
            self.assertEqual(answer.status, 400)
            self.assertEqual(set(answer.json), {"error"})


if __name__ == "__main__":
    unittest.main()
