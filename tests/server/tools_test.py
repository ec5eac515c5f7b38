"""Calls of tools and thoughts, in every API's words, whole and streamed; forced calls are what their functions' schemas say.

A model that was never trained on tools writes any reply when a grammar holds it to that text, so replies of all forms come from
the same file as the parser's test has them from."""
import json
import unittest
from pathlib import Path

from server import Server, ServerTest, together
from apis_test import named_events

REPLIES = json.loads((Path(__file__).resolve().parents[2] / "apps/tool_calls/testdata/replies.json").read_text())
MESSAGES = [{"role": "user", "content": "a story about a fox"}]
WEATHER = {"type": "object", "additionalProperties": False, "required": ["city", "days", "unit"],
           "properties": {"city": {"type": "string", "maxLength": 8}, "days": {"type": "integer", "minimum": 1, "maximum": 9},
                          "unit": {"type": "string", "enum": ["celsius", "kelvin"]}}}
EMPTY = {"type": "object", "additionalProperties": False, "required": [], "properties": {}}
SCHEMAS = {"get_weather": WEATHER, "now": EMPTY}
TEMPLATE = ("{% for m in messages %}{{ m.role }}: {{ m.content }}{% for c in m.tool_calls or [] %}<tool_call>\n"
            "{\"name\": \"{{ c.function.name }}\", \"arguments\": {{ c.function.arguments | tojson }}}\n</tool_call>{% endfor %}\n{% endfor %}"
            "{% if add_generation_prompt %}assistant:{% if thinks %}<think>{% endif %}{% endif %}{# </think> #}")


def tool(name, schema, **more):
    return {"type": "function", "function": {"name": name, "parameters": schema, **more}}


TOOLS = [tool(name, schema) for name, schema in SCHEMAS.items()]


def literal(text):
    """The grammar whose one text this is."""
    return "root ::= " + json.dumps(text, ensure_ascii=False)


def merged(events):
    """What a stream of chat completions says, put together as clients do it."""
    message, reason, note = {"content": "", "reasoning_content": "", "tool_calls": []}, None, None
    for event in events:
        if event == "[DONE]" or not event["choices"]:
            continue
        choice = event["choices"][0]
        delta, reason = choice["delta"], choice["finish_reason"] or reason
        note = event.get("rowmax", {}).get("tool_calls", note)
        for key in ("content", "reasoning_content"):
            message[key] += delta.get(key) or ""
        for call in delta.get("tool_calls", []):
            if call["index"] == len(message["tool_calls"]):
                message["tool_calls"].append({"id": call["id"], "type": call["type"], "function": {"name": call["function"]["name"], "arguments": ""}})
            message["tool_calls"][call["index"]]["function"]["arguments"] += call["function"]["arguments"]
    return message, reason, note


class Forms(unittest.TestCase):
    def test_replies_of_every_form(self):
        tools = [tool(t["name"], t["parameters"]) for t in REPLIES["tools"]]
        for form in sorted({reply["format"] for reply in REPLIES["replies"]}):
            replies = [r for r in REPLIES["replies"] if r["format"] == form and not r.get("open")]
            with Server("--tool-format", form, "--chat-template", TEMPLATE, template=False) as server:
                for reply in replies:
                    if reply.get("marks", ["<think>"])[0] != "<think>":
                        continue
                    if not reply.get("marks") and reply["text"].lstrip().startswith("<think>"):
                        continue
                    with self.subTest(form=form, name=reply["name"]):
                        self.check(server, tools, reply)

    def check(self, server, tools, reply):
        body = {"messages": MESSAGES, "tools": tools, "grammar": literal(reply["text"]), "max_tokens": 1000}
        answer = server.post("/v1/chat/completions", body)
        self.assertEqual(answer.status, 200, answer.body)
        choice = answer.json["choices"][0]
        message = choice["message"]
        calls = [{"name": c["function"]["name"], "arguments": json.loads(c["function"]["arguments"])} for c in message.get("tool_calls", [])]
        self.assertEqual(calls, [{"name": c["name"], "arguments": c["arguments"]} for c in reply["calls"]])
        self.assertEqual(message["content"] or "", reply["content"])
        self.assertEqual(message.get("reasoning_content", ""), reply["reasoning"])
        self.assertEqual(choice["finish_reason"], "tool_calls" if calls else "stop")
        ids = [c["id"] for c in message.get("tool_calls", [])]
        self.assertEqual(len(set(ids)), len(ids))
        for made, given in zip(ids, reply["calls"]):
            self.assertEqual(made, given.get("id", made))
        if reply.get("not_understood"):
            self.assertIn("call", choice["rowmax"]["tool_calls"])
        streamed, reason, note = merged(server.post("/v1/chat/completions", {**body, "stream": True}).events)
        self.assertEqual(reason, choice["finish_reason"])
        self.assertEqual(note, choice.get("rowmax", {}).get("tool_calls"))
        self.assertEqual(streamed["content"], message["content"] or "")
        self.assertEqual(streamed["reasoning_content"], message.get("reasoning_content", ""))
        self.assertEqual([c["function"] for c in streamed["tool_calls"]], [c["function"] for c in message.get("tool_calls", [])])


class Apis(ServerTest):
    FLAGS = ("--chat-template", TEMPLATE)
    TEMPLATE = False
    REPLY = ("<think>\nHm, 世界\n</think>\n\nWell.\n<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>\n<tool_call>\n"
             "{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Rôme\", \"days\": 2}}\n</tool_call>")
    CALLS = [("now", {}), ("get_weather", {"city": "Rôme", "days": 2})]

    @classmethod
    def setUpClass(cls):
        cls.server = Server(*cls.FLAGS, template=False)

    def test_messages(self):
        tools = [{"name": name, "input_schema": schema} for name, schema in SCHEMAS.items()]
        body = {"messages": MESSAGES, "max_tokens": 500, "tools": tools, "grammar": literal(self.REPLY)}
        got = self.good(self.server.post("/v1/messages", body))
        self.assertEqual([b["type"] for b in got["content"]], ["thinking", "text", "tool_use", "tool_use"])
        self.assertEqual((got["content"][0]["thinking"], got["content"][1]["text"]), ("Hm, 世界", "Well."))
        self.assertEqual([(b["name"], b["input"]) for b in got["content"][2:]], self.CALLS)
        self.assertEqual(got["stop_reason"], "tool_use")
        blocks, json_texts, reason = [], {}, None
        for name, data in named_events(self.server.post("/v1/messages", {**body, "stream": True})):
            if name == "content_block_start":
                self.assertEqual(data["index"], len(blocks))
                blocks.append(data["content_block"])
            elif name == "content_block_delta":
                delta = data["delta"]
                if delta["type"] == "input_json_delta":
                    json_texts[data["index"]] = json_texts.get(data["index"], "") + delta["partial_json"]
                else:
                    blocks[data["index"]][delta["type"][:-6]] += delta[delta["type"][:-6]]
            elif name == "message_delta":
                reason = data["delta"]["stop_reason"]
        for index, text in json_texts.items():
            blocks[index]["input"] = json.loads(text)
        for block, want in zip(blocks, got["content"]):
            self.assertEqual({**block, "id": 0}, {**want, "id": 0})
        self.assertEqual((len(blocks), reason), (4, "tool_use"))
        # What came goes back as it is.
        turns = [*MESSAGES, {"role": "assistant", "content": got["content"]},
                 {"role": "user", "content": [{"type": "tool_result", "tool_use_id": b["id"], "content": "ok"} for b in got["content"][2:]]}]
        self.good(self.server.post("/v1/messages/count_tokens", {"messages": turns, "tools": tools}))

    def test_responses(self):
        tools = [{"type": "function", "name": name, "parameters": schema} for name, schema in SCHEMAS.items()]
        body = {"input": "a fox", "max_output_tokens": 500, "tools": tools, "grammar": literal(self.REPLY)}
        got = self.good(self.server.post("/v1/responses", body))
        self.assertEqual([i["type"] for i in got["output"]], ["reasoning", "message", "function_call", "function_call"])
        self.assertEqual(got["output"][0]["content"][0]["text"], "Hm, 世界")
        self.assertEqual(got["output"][1]["content"][0]["text"], "Well.")
        self.assertEqual([(i["name"], json.loads(i["arguments"])) for i in got["output"][2:]], self.CALLS)
        self.assertEqual([t["name"] for t in got["tools"]], list(SCHEMAS))
        self.assertGreater(got["usage"]["output_tokens_details"]["reasoning_tokens"], 3)
        events = named_events(self.server.post("/v1/responses", {**body, "stream": True}))
        self.assertEqual([d["sequence_number"] for _, d in events], list(range(len(events))))
        texts, done = {}, []
        for name, data in events:
            if name.endswith(".delta"):
                texts[data["output_index"]] = texts.get(data["output_index"], "") + data["delta"]
            if name == "response.output_item.done":
                done.append(data["item"])
        self.assertEqual(events[-1][0], "response.completed")
        self.assertEqual([{**i, "id": 0, "call_id": 0} for i in done], [{**i, "id": 0, "call_id": 0} for i in events[-1][1]["response"]["output"]])
        self.assertEqual([texts[i] for i in range(4)], ["Hm, 世界", "Well."] + [i["arguments"] for i in done[2:]])
        self.assertEqual([{**i, "id": 0, "call_id": 0} for i in done], [{**i, "id": 0, "call_id": 0} for i in got["output"]])

    def test_ollama(self):
        body = {"messages": MESSAGES, "tools": TOOLS, "options": {"num_predict": 500, "grammar": literal(self.REPLY)}}
        got = self.good(self.server.post("/api/chat", {**body, "stream": False}))
        message = got["message"]
        self.assertEqual((message["content"], message["thinking"]), ("Well.", "Hm, 世界"))
        self.assertEqual([(c["function"]["name"], c["function"]["arguments"]) for c in message["tool_calls"]], self.CALLS)
        lines = [json.loads(line) for line in self.server.post("/api/chat", body).body.decode().splitlines()]
        self.assertEqual("".join(line["message"]["content"] for line in lines), "Well.")
        self.assertEqual("".join(line["message"].get("thinking", "") for line in lines), "Hm, 世界")
        self.assertEqual([c for line in lines for c in line["message"].get("tool_calls", [])], message["tool_calls"])
        self.assertIn("thinking", self.good(self.server.post("/api/show", {}))["capabilities"])

    def test_thoughts_that_the_prompt_opened(self):
        body = {"messages": MESSAGES, "max_tokens": 100, "chat_template_kwargs": {"thinks": True}, "grammar": literal("Hm.\n</think>\n\nYes.")}
        got = self.good(self.server.post("/v1/chat/completions", body))["choices"][0]["message"]
        self.assertEqual((got["content"], got["reasoning_content"]), ("Yes.", "Hm."))

    def test_without_tools_marks_are_text(self):
        for more in ({}, {"tools": TOOLS, "tool_choice": "none"}):
            body = {"messages": MESSAGES, "max_tokens": 500, "grammar": literal(self.REPLY), **more}
            got = self.good(self.server.post("/v1/chat/completions", body))["choices"][0]
            self.assertEqual(got["message"]["content"], self.REPLY.split("</think>\n\n")[1])
            self.assertNotIn("rowmax", got)


class Forced(ServerTest):
    """Calls that must be: whatever the model would have written."""

    @classmethod
    def setUpClass(cls):
        cls.server = Server("--chat-template", TEMPLATE, template=False)

    def calls(self, body, path="/v1/chat/completions"):
        return self.good(self.server.post(path, {"messages": MESSAGES, "max_tokens": 400, "tools": TOOLS, **body}))

    def check(self, name, arguments):
        self.assertIn(name, SCHEMAS)
        if name == "get_weather":
            self.assertEqual(list(arguments), ["city", "days", "unit"])
            self.assertLessEqual(len(arguments["city"]), 8)
            self.assertTrue(type(arguments["days"]) is int and 1 <= arguments["days"] <= 9)
            self.assertIn(arguments["unit"], ("celsius", "kelvin"))
        else:
            self.assertEqual(arguments, {})

    def test_required_and_named_functions(self):
        named = {"type": "function", "function": {"name": "get_weather"}}
        allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [named]}}
        seen = set()
        for seed in range(6):
            for choice in ("required", named, allowed):
                got = self.calls({"tool_choice": choice, "seed": seed, "temperature": 2.0, "top_k": 0, "top_p": 1})["choices"][0]
                calls = got["message"]["tool_calls"]
                self.assertEqual((got["finish_reason"], got["message"]["content"]), ("tool_calls", None))
                for call in calls:
                    self.check(call["function"]["name"], json.loads(call["function"]["arguments"]))
                    seen.add(call["function"]["name"])
                if choice != "required":
                    self.assertEqual({c["function"]["name"] for c in calls}, {"get_weather"})
                if choice is named:
                    self.assertEqual(len(calls), 1)
        self.assertEqual(seen, set(SCHEMAS))

    def test_one_call_alone(self):
        for seed in range(8):
            got = self.calls({"tool_choice": "required", "parallel_tool_calls": False, "seed": seed, "temperature": 2.0, "top_k": 0})
            self.assertEqual(len(got["choices"][0]["message"]["tool_calls"]), 1)

    def test_a_stream_is_the_same_and_comes_in_pieces(self):
        body = {"messages": MESSAGES, "max_tokens": 400, "tools": TOOLS, "seed": 3,
                "tool_choice": {"type": "function", "function": {"name": "get_weather"}}}
        whole = self.calls(body)["choices"][0]["message"]["tool_calls"]
        events = self.server.post("/v1/chat/completions", {**body, "stream": True}).events
        message, reason, _ = merged(events)
        self.assertEqual([c["function"] for c in message["tool_calls"]], [c["function"] for c in whole])
        self.assertEqual((reason, message["content"]), ("tool_calls", ""))
        pieces = [e for e in events if e != "[DONE]" and e["choices"] and e["choices"][0]["delta"].get("tool_calls")]
        self.assertGreater(len(pieces), 5)

    def test_the_same_alone_and_among_others(self):
        bodies = [{"tool_choice": "required", "seed": seed, "temperature": 1.5} for seed in range(16)]
        alone = [self.calls(body)["choices"][0]["message"] for body in bodies]
        at_once = together([lambda body=body: self.calls(body)["choices"][0]["message"] for body in bodies])
        strip = lambda m: {**m, "tool_calls": [c["function"] for c in m["tool_calls"]]}
        self.assertEqual([strip(m) for m in alone], [strip(m) for m in at_once])

    def test_after_thoughts_that_the_prompt_opened(self):
        for seed in range(4):
            got = self.calls({"tool_choice": "required", "chat_template_kwargs": {"thinks": True}, "max_tokens": 60, "seed": seed})["choices"][0]
            if got["finish_reason"] == "tool_calls":
                self.check(*[(c["function"]["name"], json.loads(c["function"]["arguments"])) for c in got["message"]["tool_calls"]][0])
            else:  # its thoughts went on until it was cut
                self.assertEqual(got["finish_reason"], "length")
                self.assertTrue(got["message"]["reasoning_content"])

    def test_other_apis(self):
        anthropic = [{"name": name, "input_schema": schema} for name, schema in SCHEMAS.items()]
        for choice in ({"type": "any"}, {"type": "tool", "name": "get_weather"}, {"type": "any", "disable_parallel_tool_use": True}):
            got = self.calls({"tools": anthropic, "tool_choice": choice}, "/v1/messages")
            self.assertEqual(got["stop_reason"], "tool_use")
            for block in got["content"]:
                self.check(block["name"], block["input"])
        flat = [{"type": "function", "name": name, "parameters": schema, "strict": True} for name, schema in SCHEMAS.items()]
        for choice in ("required", {"type": "function", "name": "get_weather"},
                       {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "now"}]}):
            got = self.calls({"input": "a fox", "tools": flat, "tool_choice": choice}, "/v1/responses")
            for item in got["output"]:
                self.assertEqual(item["type"], "function_call")
                self.check(item["name"], json.loads(item["arguments"]))
            self.assertEqual(got["tool_choice"], choice)

    def test_a_call_that_is_cut(self):
        got = self.calls({"tool_choice": {"type": "function", "function": {"name": "get_weather"}}, "max_tokens": 24})["choices"][0]
        self.assertEqual(got["finish_reason"], "length")
        self.assertIn("ends inside", got["rowmax"]["tool_calls"])

    def test_forms_with_tags(self):
        for form in ("qwen3-coder", "glm", "llama3", "mistral", "deepseek-r1", "kimi-k2"):
            with Server("--tool-format", form, template=True) as server:
                for seed in range(3):
                    answer = server.post("/v1/chat/completions", {"messages": MESSAGES, "max_tokens": 400, "tools": TOOLS, "tool_choice": "required",
                                                                  "parallel_tool_calls": False, "seed": seed, "temperature": 1.5, "top_k": 0})
                    got = self.good(answer)["choices"][0]
                    self.assertEqual(got["finish_reason"], "tool_calls", (form, got))
                    for call in got["message"]["tool_calls"]:
                        self.check(call["function"]["name"], json.loads(call["function"]["arguments"]))

    def test_what_cannot_be_obeyed_is_refused(self):
        look = {"type": "object", "properties": {"a": {"type": "string", "pattern": "(?=x)"}}}
        for body, param in [({"tool_choice": "required", "tools": []}, "tool_choice"),
                            ({"tools": [tool("f", {"type": "array"})]}, "tools[0].function.parameters"),
                            ({"tool_choice": {"type": "function", "function": {"name": "other"}}}, "tool_choice"),
                            ({"tool_choice": {"type": "custom"}}, "tool_choice"), ({"tool_choice": 5}, "tool_choice"),
                            ({"tool_choice": "required", "regex": "a"}, "tool_choice"),
                            ({"tool_choice": "required", "ignore_eos": True}, "ignore_eos"),
                            ({"tools": [tool("f", {"type": "object"}, strict=True)]}, "tools[0].function.parameters"),
                            ({"tools": [tool("f", look)], "tool_choice": "required"}, "tools[0].function.parameters"),
                            ({"tools": [{"type": "function", "function": {"parameters": {}}}]}, "tools[0].function.name"),
                            ({"tools": [tool("f", 5)]}, "tools[0].function.parameters"),
                            ({"tools": [tool("a", {}), tool("a b", {})], "tool_choice": "required"}, "tools[1].function.name"),
                            ({"tools": [tool("f", {})] * 1025}, "tools"),
                            ({"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}}, "tool_choice")]:
            with self.subTest(body=body):
                self.refused(self.server.post("/v1/chat/completions", {"messages": MESSAGES, "max_tokens": 5, "tools": TOOLS, **body}), 400, param)

    def test_errors_of_the_whole_grammar_name_the_function(self):
        # Each is small enough alone.
        number = {"type": "integer", "minimum": -123456789012345, "maximum": 987654321012345}
        wide = {"type": "object", "properties": {f"p{i}": number for i in range(200)}}
        body = {"messages": MESSAGES, "max_tokens": 5, "tools": [tool(f"f{i}", wide) for i in range(15)], "tool_choice": "required"}
        error = self.refused(self.server.post("/v1/chat/completions", body), 400, says=" (with the functions before it)")
        self.assertRegex(error["param"], r"^tools\[[1-9][0-9]*\]\.function\.parameters$")
        self.assertTrue(error["message"].startswith(error["param"] + ": JSON schema, "), error)

    def test_too_many_functions_are_counted(self):
        body = {"messages": MESSAGES, "max_tokens": 5, "tools": [tool("f", {})] * 1025}
        self.refused(self.server.post("/v1/chat/completions", body), 400, "tools", "tools: expected at most 1024 functions, found 1025 or more")

    def test_a_template_that_writes_no_calls_says_so(self):
        with Server() as server:
            body = {"messages": MESSAGES, "max_tokens": 5, "tools": TOOLS}
            got = self.good(server.post("/v1/chat/completions", body))
            self.assertIn("writes no calls", got["choices"][0]["rowmax"]["tool_calls"])
            error = self.refused(server.post("/v1/chat/completions", {**body, "tool_choice": "required"}), 400, "tool_choice")
            self.assertEqual(error["code"], "not_supported")


    def test_a_template_that_ignores_tools_says_so(self):
        """At the start, where a form was named, and in each answer to a request with tools, forced calls among them."""
        body = {"messages": MESSAGES, "max_tokens": 60, "tools": TOOLS, "tool_choice": "required"}
        for shows in (False, True):
            template = ("{% if tools %}{{ tools | tojson }}{% endif %}" if shows else "") + TEMPLATE
            with Server("--tool-format", "hermes", "--chat-template", template, template=False) as server:
                self.assertEqual("--tool-format: the chat template ignores tools" in server.log_text(), not shows)
                for stream in (False, True):
                    answer = server.post("/v1/chat/completions", {**body, "stream": stream})
                    said = (answer.events[0] if stream else self.good(answer))["rowmax"]
                    self.assertEqual(said.get("tools"), None if shows else "the chat template ignores tools: the model is shown none of them")
                self.assertNotIn("tools", self.good(server.post("/v1/chat/completions", {"messages": MESSAGES, "max_tokens": 1}))["rowmax"])


class Bounds(unittest.TestCase):
    """A short body must not become much: the peak of the server's memory is the judge."""

    def growth(self, server, body):
        """Of the peak, in MiB, by this request; and its answer."""
        # A request of the same kind, first: what a server sets up once is not counted.
        self.assertEqual(server.post("/v1/chat/completions", {**body, "tools": TOOLS, "tool_choice": "required"}).status, 200)

        def mebibytes(name):
            status = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
            return next(int(line.split()[1]) for line in status if line.startswith(name + ":")) // 1024
        before = mebibytes("VmHWM")
        answer = server.post("/v1/chat/completions", body)
        # The address sanitizer, which reserves terabytes, keeps what is freed: there the answers alone are judged.
        return 0 if mebibytes("VmSize") > 1 << 20 else mebibytes("VmHWM") - before, answer

    def test_an_allowed_tool_that_is_named_often(self):
        named = {"type": "function", "function": {"name": "f"}}
        body = {"messages": MESSAGES, "max_tokens": 1, "tools": [tool("f", {"type": "object", "description": "d" * 300_000}), tool("g", {})],
                "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [named] * 2000}}}
        with Server("--chat-template", TEMPLATE, template=False) as server:
            growth, answer = self.growth(server, body)
            self.assertEqual(answer.status, 200, answer.body[:500])
            self.assertLess(growth, 64)
            body["tool_choice"]["allowed_tools"]["tools"] = [named] * 2000 + [{"type": "function", "function": {"name": "h"}}]
            answer = server.post("/v1/chat/completions", body)
            self.assertEqual((answer.status, answer.json["error"]["param"]), (400, "tool_choice"))
            self.assertIn('found "h"', answer.json["error"]["message"])

    def test_definitions_that_many_properties_could_use(self):
        schema = lambda property: {"type": "object", "properties": {f"p{i}": property for i in range(1000)},
                                   "$defs": {"x": {"type": "integer", "description": "d" * 200_000}}}
        body = lambda property: {"messages": MESSAGES, "max_tokens": 1, "tools": [tool("f", schema(property))], "tool_choice": "required"}
        for form in ("qwen3-coder", "glm"):
            with self.subTest(form=form), Server("--tool-format", form) as server:
                growth, answer = self.growth(server, body({"type": "integer"}))
                self.assertEqual(answer.status, 200, answer.body[:500])
                self.assertLess(growth, 64)
                growth, answer = self.growth(server, body({"$ref": "#/$defs/x"}))
                self.assertEqual((answer.status, answer.json["error"]["param"]), (400, "tools[0].function.parameters"))
                self.assertIn("expected at most 67108864 bytes", answer.json["error"]["message"])
                self.assertLess(growth, 256)


if __name__ == "__main__":
    unittest.main()
