"""What the cache had of a prompt, as answers and the log say it."""
import json
import time
import unittest

from server import TEMPLATE, Server, ServerTest, together

KEYS = ("first-key-of-two", "second-key-of-two")
LONG = " ".join(f"word {i} of a long text" for i in range(18))


def chat(system, user="Tell me a story.", **more):
    return {"messages": [{"role": "system", "content": system}, {"role": "user", "content": user}], "max_tokens": 3, **more}


def bearing(key):
    return {"headers": {"Authorization": f"Bearer {key}"}}


class Report(ServerTest):
    def cache(self, path, body):
        return self.good(self.server.post(path, body))["rowmax"]["cache"]

    def test_what_differs(self):
        first = self.cache("/v1/chat/completions", chat(f"differs {LONG} cch=a1 {LONG}"))
        self.assertLess(first["reused_tokens"], 16)  # what all prompts of the template begin with
        body = chat(f"differs {LONG} cch=b2 {LONG}")
        got = self.cache("/v1/chat/completions", body)
        text = self.good(self.server.post("/apply-template", body))["prompt"]
        byte = text.index("b2")
        self.assertEqual(got["cause"], "differs")
        self.assertGreaterEqual(got["reused_tokens"], 64)
        differs = got["differs"]
        self.assertEqual((differs["byte"], differs["where"], differs["message"], differs["role"]), (byte, "message", 0, "system"))
        self.assertEqual((differs["cached"], differs["now"]), ("cch=a1", "cch=b2"))
        self.assertEqual(differs["token"], got["reused_tokens"])
        self.assertIn(f"miss from byte {byte} of the rendered prompt, message 0 (system): cached \"cch=a1\", now \"cch=b2\"", got["report"])

    def test_every_api_says_it(self):
        system, user = f"apis {LONG}", "Hello"
        turns = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        calls = [("/v1/chat/completions", {"messages": turns, "max_tokens": 2}),
                 ("/v1/completions", {"prompt": f"system: {system}\nuser: {user}\nassistant:", "max_tokens": 2}),
                 ("/v1/responses", {"instructions": system, "input": user, "max_output_tokens": 2}),
                 ("/v1/messages", {"system": system, "messages": turns[1:], "max_tokens": 2}),
                 ("/api/chat", {"messages": turns, "stream": False, "options": {"num_predict": 2}}),
                 ("/api/generate", {"system": system, "prompt": user, "stream": False, "options": {"num_predict": 2}})]
        for path, body in calls:
            self.cache(path, body)
        for path, body in calls:
            got = self.cache(path, body)
            self.assertEqual((got["cause"], got["computed_tokens"]), ("complete", 1), (path, got))

    def test_streams_say_it_first(self):
        events = self.server.post("/v1/chat/completions", chat(f"stream {LONG}", stream=True)).events
        self.assertIn("cause", events[0]["rowmax"]["cache"])
        lines = self.server.post("/api/chat", {"messages": [{"role": "user", "content": "Hi"}], "options": {"num_predict": 2}}).body
        self.assertEqual(json.loads(lines.splitlines()[-1])["rowmax"]["cache"]["disk_tokens"], 0)

    def test_an_answer_that_comes_back_is_reused(self):
        body = {"prompt": f"turns {LONG}", "max_tokens": 100, "ignore_eos": True}
        first = self.good(self.server.post("/v1/completions", body))
        text = body["prompt"] + first["choices"][0]["text"]
        got = self.cache("/v1/completions", {"prompt": text + LONG, "max_tokens": 1})
        self.assertIn(got["cause"], ("continues", "differs"))
        if got["cause"] == "differs":
            self.assertEqual(got["differs"]["where"], "tokens")

    def test_a_conversation_of_tokens_computes_what_is_new(self):
        """As an agent asks: each turn has all that was said before, and what was sampled last was not computed yet."""
        said = self.good(self.server.post("/tokenize", {"content": f"an agent {LONG}"}))["tokens"]
        new, more = len(said), []
        for turn in range(5):
            body = {"prompt": said, "max_tokens": 9, "ignore_eos": True, "logprobs": 1}
            got = self.good(self.server.post("/v1/completions", body))
            cache = got["rowmax"]["cache"]
            if turn:
                self.assertEqual(cache["computed_tokens"], new, cache)
                self.assertEqual(got["usage"]["prompt_tokens_details"]["cached_tokens"], len(said) - new)
                self.assertEqual(cache["differs"]["token"], len(said) - len(more))
                self.assertEqual(cache["differs"]["where"], "end")
            more = [20 + turn] * (3 + 11 * turn)
            # What was sampled, as ids.
            said = said + got["choices"][0]["logprobs"]["token_ids"] + more
            new = len(more) + 1

    def test_scored_prompts_are_computed(self):
        got = self.cache("/v1/completions", {"prompt": LONG, "echo": True, "logprobs": 1, "max_tokens": 1})
        self.assertEqual((got["cause"], got["reused_tokens"]), ("scored", 0))

    def test_the_log_has_no_texts(self):
        self.cache("/v1/chat/completions", chat(f"{LONG} hidden=a1 {LONG}"))
        self.cache("/v1/chat/completions", chat(f"{LONG} hidden=b2 {LONG}"))
        log = self.server.log_text()
        self.assertNotIn("hidden=", log)
        lines = [e for e in self.server.log_events() if e["event"] == "cache" and e["cause"] == "differs"]
        self.assertTrue(lines)
        self.assertEqual(lines[-1]["differs"]["role"], "system")
        self.assertIn("miss from byte", lines[-1]["report"])


class Places(ServerTest):
    """A template that prints the time, tools, and a content as the template likes it."""
    TEXT = ("{{ strftime_now('%d %B %Y %H:%M:%S') if clock else 'no clock' }} {% for t in tools or [] %}<{{ t.function.name }}>{% endfor %} |\n"
            "{% for m in messages %}[{{ m.role }}] {{ m.content | trim }}\n{% endfor %}")

    @classmethod
    def setUpClass(cls):
        cls.server = Server("--chat-template", cls.TEXT, template=False)

    def differs(self, *bodies):
        for body in bodies:
            got = self.good(self.server.post("/v1/chat/completions", {"max_tokens": 1, **body}))["rowmax"]["cache"]
        return got["differs"]

    def test_tools(self):
        tool = lambda name: {"type": "function", "function": {"name": name, "parameters": {}}}
        turns = [{"role": "system", "content": f"tools {LONG}"}, {"role": "user", "content": "Hello"}]
        got = self.differs({"messages": turns, "tools": [tool("first")]}, {"messages": turns, "tools": [tool("second")]})
        self.assertEqual((got["where"], got["cached"], got["now"]), ("tools", "<first>", "<second>"))
        got = self.differs({"messages": turns, "tools": [tool("third"), tool("fourth")]}, {"messages": turns, "tools": [tool("third")]})
        self.assertEqual((got["where"], got["now"]), ("template", "<third> |"))

    def test_messages(self):
        turns = lambda last: [{"role": "system", "content": "messages"}, {"role": "user", "content": "Hello"},
                              {"role": "assistant", "content": "  Hi\n"}, {"role": "user", "content": last}]
        got = self.differs({"messages": turns(f"one {LONG}")}, {"messages": turns(f"two {LONG}")})
        self.assertEqual((got["where"], got["message"], got["role"]), ("message", 3, "user"))
        got = self.differs({"messages": turns("one")}, {"messages": [{"role": "system", "content": "messages"}, {"role": "critic", "content": "Hello"}]})
        self.assertEqual((got["where"], got["message"], got["role"]), ("message", 1, "critic"))
        self.assertNotIn("critic", self.server.log_text())

    def test_the_date(self):
        turns = [{"role": "user", "content": f"date {LONG}"}]
        body = {"messages": turns, "chat_template_kwargs": {"clock": True}}
        second = int(time.time())
        self.differs(body, body)
        while int(time.time()) < second + 2:
            time.sleep(0.05)
        self.assertEqual(self.differs(body)["where"], "date")


class Keys(unittest.TestCase):
    def test_keys_do_not_see_each_other(self):
        with Server("--api-key", KEYS[0], "--api-key", KEYS[1], "--log-prompts") as server:
            server.post("/v1/chat/completions", chat(f"{LONG} secret=one {LONG}"), **bearing(KEYS[0]))
            got = server.post("/v1/chat/completions", chat(f"{LONG} secret=two {LONG}"), **bearing(KEYS[1]))
            report = got.json["rowmax"]["cache"]
            self.assertNotIn("secret", json.dumps(report))
            self.assertNotIn("differs", report)
            self.assertEqual(report["cause"], "first")
            own = server.post("/v1/chat/completions", chat(f"{LONG} secret=three {LONG}"), **bearing(KEYS[0])).json
            self.assertEqual(own["rowmax"]["cache"]["differs"]["cached"], "secret=one")
            # The operator asked for prompts in the log.
            lines = [e for e in server.log_events() if e["event"] == "cache"]
            self.assertEqual(lines[1]["differs"]["cached"], "secret=one")

    def test_strangers_do_not_see_each_other(self):
        with Server("--host", "127.0.0.1", "--allow-public-without-key") as server:
            for word in ("one", "two"):
                report = server.post("/v1/chat/completions", chat(f"{LONG} secret={word} {LONG}")).json["rowmax"]["cache"]
                self.assertNotIn("differs", report)


class Pressure(unittest.TestCase):
    def test_evicted_is_said(self):
        # Room for two prompts: the first has left when it comes again.
        with Server("--parallel", 1, "-c", 512) as server:
            prompts = [f"{i} {LONG}" for i in range(6)]
            for prompt in prompts:
                server.post("/v1/completions", {"prompt": prompt, "max_tokens": 1})
            got = server.post("/v1/completions", {"prompt": prompts[0], "max_tokens": 1}).json["rowmax"]["cache"]
            self.assertEqual(got["cause"], "evicted")
            self.assertIn("make room", got["report"])


if __name__ == "__main__":
    unittest.main()
