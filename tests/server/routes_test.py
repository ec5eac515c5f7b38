"""Every route: its form, streams equal to whole answers, and texts equal to those of `rowmax run`."""
import base64
import json
import struct
import unittest

from server import PLAIN_MODEL, TEMPLATE, Server, ServerTest, run_command, together

PROMPT = "Once upon a time"


def run_text(prompt, *flags):
    return json.loads(run_command("run", "-q", "--json", "-p", prompt, *flags))["text"]


def stream_text(events, key="text"):
    if key == "text":
        return "".join(choice["text"] for e in events if e != "[DONE]" for choice in e["choices"])
    return "".join(choice["delta"].get("content") or "" for e in events if e != "[DONE]" for choice in e["choices"])


class Completions(ServerTest):
    def test_text_is_that_of_run(self):
        for body, flags in [({}, []), ({"seed": 7}, ["--seed", 7]), ({"temperature": 0}, ["--greedy"]),
                            ({"seed": 3, "top_k": 5, "top_p": 0.5, "min_p": 0.1, "temperature": 1.5},
                             ["--seed", 3, "--top-k", 5, "--top-p", 0.5, "--min-p", 0.1, "--temp", 1.5]),
                            ({"repetition_penalty": 1.3, "frequency_penalty": 0.5, "presence_penalty": 0.25},
                             ["--repeat-penalty", 1.3, "--frequency-penalty", 0.5, "--presence-penalty", 0.25]),
                            ({"logit_bias": {"300": -5, "301": 3}}, ["--logit-bias", "300=-5,301=3"]),
                            ({"stop": "."}, ["--stop", "."]), ({"stop": ["zzz", "Anna"]}, ["--stop", "Anna"])]:
            got = self.good(self.server.post("/v1/completions", {"prompt": PROMPT, "max_tokens": 40, **body}))
            self.assertEqual(got["choices"][0]["text"], run_text(PROMPT, "--raw", "-n", 40, *flags), body)

    def test_form(self):
        got = self.good(self.server.post("/v1/completions", {"prompt": PROMPT, "max_tokens": 5, "model": "whatever",
                                                             "user": None, "unknown": {"a": 1}, "max_completion_tokens": None}))
        self.assertEqual(got["object"], "text_completion")
        self.assertTrue(got["id"].startswith("cmpl-"))
        self.assertTrue(got["system_fingerprint"].startswith("b"))
        self.assertEqual(got["model"], "stories")
        choice = got["choices"][0]
        self.assertEqual((choice["index"], choice["finish_reason"], choice["logprobs"]), (0, "length", None))
        usage = got["usage"]
        self.assertEqual(usage["completion_tokens"], 5)
        self.assertEqual(usage["total_tokens"], usage["prompt_tokens"] + 5)
        self.assertIn("cached_tokens", usage["prompt_tokens_details"])

    def test_sampling_in_effect(self):
        got = self.good(self.server.post("/v1/completions", {"prompt": PROMPT, "max_tokens": 1, "temperature": 0.25, "top_p": None}))
        sampling = got["rowmax"]["sampling"]
        self.assertEqual(sampling["temperature"], {"value": 0.25, "source": "request"})
        self.assertEqual(sampling["top_p"], {"value": 0.95, "source": "default"})
        self.assertEqual(sampling["seed"], {"value": 0, "source": "default"})

    def test_ends_where_the_model_says(self):
        got = self.good(self.server.post("/v1/completions", {"prompt": PROMPT}))
        self.assertEqual(got["choices"][0]["finish_reason"], "stop")
        self.assertEqual(got["choices"][0]["text"], run_text(PROMPT, "--raw"))
        got = self.good(self.server.post("/v1/completions", {"prompt": PROMPT, "max_tokens": 40, "stop": ["zzz", "Anna"]}))
        self.assertEqual((got["choices"][0]["finish_reason"], got["choices"][0]["stop_reason"]), ("stop", "Anna"))

    def test_stream_is_the_whole(self):
        for body in ({}, {"n": 3, "seed": 5}, {"logprobs": 2}, {"echo": True, "logprobs": 1}, {"stop": "Anna"}, {"max_tokens": 1}):
            body = {"prompt": PROMPT, "max_tokens": 30, **body}
            whole = self.good(self.server.post("/v1/completions", body))
            reply = self.server.post("/v1/completions", {**body, "stream": True, "stream_options": {"include_usage": True}})
            self.assertEqual(reply.headers["Content-Type"], "text/event-stream")
            events = reply.events
            self.assertEqual(events[-1], "[DONE]")
            self.assertEqual(len({e["id"] for e in events[:-1]}), 1)
            self.assertEqual(events[-2]["choices"], [])
            for detail in ("prompt_tokens", "completion_tokens", "total_tokens"):
                self.assertEqual(events[-2]["usage"][detail], whole["usage"][detail])
            for choice in whole["choices"]:
                mine = [c for e in events[:-2] for c in e["choices"] if c["index"] == choice["index"]]
                self.assertEqual("".join(c["text"] for c in mine), choice["text"], body)
                self.assertEqual([c["finish_reason"] for c in mine if c["finish_reason"]], [choice["finish_reason"]])
                if "logprobs" in body:
                    for key, values in choice["logprobs"].items():
                        streamed = [v for c in mine if c["logprobs"] for v in c["logprobs"][key]]
                        self.assertEqual(streamed, values, key)

    def test_integers_as_other_programs_write_them(self):
        """A seed is 64 bits, with a sign or without; 2.0 is 2."""
        body = {"prompt": PROMPT, "max_tokens": 20, "temperature": 1.5}
        texts = [self.good(self.server.post("/v1/completions", {**body, "seed": seed}))
                 for seed in (2 ** 64 - 5, -5, 2 ** 63, -2 ** 63, 2 ** 63 + 1)]
        self.assertEqual(texts[0]["rowmax"]["sampling"]["seed"]["value"], 2 ** 64 - 5)
        texts = [text["choices"][0]["text"] for text in texts]
        self.assertEqual((texts[0], texts[2]), (texts[1], texts[3]))
        self.assertEqual(len(set(texts)), 3)
        self.assertEqual(run_text(PROMPT, "-n", 20, "--temp", 1.5, "--seed", 2 ** 63 + 1, "--raw"), texts[4])
        got = self.good(self.server.post("/v1/completions", {**body, "n": 2.0, "max_tokens": 2e1, "seed": 7.0, "top_k": 5.0}))
        same = self.good(self.server.post("/v1/completions", {**body, "n": 2, "seed": 7, "top_k": 5}))
        self.assertEqual(got["choices"], same["choices"])

    def test_choices_are_the_next_seeds(self):
        got = self.good(self.server.post("/v1/completions", {"prompt": PROMPT, "max_tokens": 20, "n": 4, "seed": 11}))
        for i, choice in enumerate(got["choices"]):
            alone = self.good(self.server.post("/v1/completions", {"prompt": PROMPT, "max_tokens": 20, "seed": 11 + i}))
            self.assertEqual(choice["text"], alone["choices"][0]["text"])
        self.assertGreater(len({c["text"] for c in got["choices"]}), 1)

    def test_many_prompts(self):
        prompts = [PROMPT, "The cat", "A dog"]
        got = self.good(self.server.post("/v1/completions", {"prompt": prompts, "max_tokens": 10, "n": 2, "echo": True}))
        self.assertEqual([c["index"] for c in got["choices"]], list(range(6)))
        for i, prompt in enumerate(prompts):
            for k in range(2):
                text = got["choices"][2 * i + k]["text"]
                self.assertEqual(text, prompt + run_text(prompt, "--raw", "-n", 10, "--seed", k))
        ids = self.good(self.server.post("/tokenize", {"content": PROMPT, "add_special": True}))["tokens"]
        by_ids = self.good(self.server.post("/v1/completions", {"prompt": ids, "max_tokens": 10}))
        self.assertEqual(by_ids["choices"][0]["text"], run_text(PROMPT, "--raw", "-n", 10))
        self.assertEqual(len(self.good(self.server.post("/v1/completions", {"prompt": [ids, ids], "max_tokens": 3}))["choices"]), 2)

    def test_log_probabilities(self):
        body = {"prompt": PROMPT, "max_tokens": 6, "temperature": 0, "logprobs": 3}
        logprobs = self.good(self.server.post("/v1/completions", body))["choices"][0]["logprobs"]
        for token, value, top in zip(logprobs["tokens"], logprobs["token_logprobs"], logprobs["top_logprobs"]):
            self.assertLessEqual(value, 0)
            self.assertEqual(max(top.values()), value)  # greedy
            self.assertIn(token, top)
        text = self.good(self.server.post("/v1/completions", body))["choices"][0]["text"]
        self.assertEqual("".join(logprobs["tokens"]), text)
        # The token that ends an answer is no part of it.
        ended = self.good(self.server.post("/v1/completions", {"prompt": PROMPT, "logprobs": 0}))
        self.assertEqual(ended["choices"][0]["finish_reason"], "stop")
        self.assertEqual("".join(ended["choices"][0]["logprobs"]["tokens"]), ended["choices"][0]["text"])
        self.assertEqual(len(ended["choices"][0]["logprobs"]["tokens"]), ended["usage"]["completion_tokens"])
        for token, offset in zip(logprobs["tokens"], logprobs["text_offset"]):
            self.assertTrue(text[offset:].startswith(token))

    def test_echo_scores_the_prompt(self):
        """What lm-eval asks for: the prompt's own logarithms, the same as if each of its tokens had been generated."""
        whole = PROMPT + " there was a"
        got = self.good(self.server.post("/v1/completions", {"prompt": whole, "max_tokens": 1, "echo": True, "logprobs": 1, "temperature": 0}))
        logprobs = got["choices"][0]["logprobs"]
        self.assertIsNone(logprobs["token_logprobs"][0])
        ids = self.good(self.server.post("/tokenize", {"content": whole, "add_special": True}))["tokens"]
        self.assertEqual(len(logprobs["tokens"]), len(ids) + 1)
        for i in range(1, len(ids)):
            # The likeliest after the first i tokens, as the server gives it for them alone.
            alone = self.good(self.server.post("/v1/completions", {"prompt": ids[:i], "max_tokens": 1, "temperature": 0, "logprobs": 1}))
            top = alone["choices"][0]["logprobs"]["top_logprobs"][0]
            self.assertEqual(logprobs["top_logprobs"][i], top)

    def test_together_and_alone(self):
        bodies = [{"prompt": PROMPT + " " * (i % 3) + str(i % 5), "max_tokens": 12 + i, "seed": i, "n": 1 + i % 2} for i in range(16)]
        alone = [[c["text"] for c in self.good(self.server.post("/v1/completions", b))["choices"]] for b in bodies]
        got = together([lambda b=b: self.server.post("/v1/completions", b) for b in reversed(bodies)])
        self.assertEqual([[c["text"] for c in self.good(g)["choices"]] for g in reversed(got)], alone)
        streamed = together([lambda b=b: self.server.post("/v1/completions", {**b, "stream": True}) for b in bodies])
        for events, texts in zip((s.events for s in streamed), alone):
            for i, text in enumerate(texts):
                self.assertEqual("".join(c["text"] for e in events[:-1] for c in e["choices"] if c["index"] == i), text)

    def test_guesses_change_no_text(self):
        prompt = "one two three one two three one two three one two"
        body = {"prompt": prompt, "max_tokens": 60, "temperature": 0.3}
        plain = self.good(self.server.post("/v1/completions", body))["choices"][0]["text"]
        with Server("--ngram-drafts") as server:
            guessed = self.good(server.post("/v1/completions", body))
            self.assertEqual(guessed["choices"][0]["text"], plain)
            details = guessed["usage"]["completion_tokens_details"]
            self.assertGreater(details["accepted_prediction_tokens"] + details["rejected_prediction_tokens"], 0)

    def test_cached_tokens(self):
        body = {"prompt": PROMPT + " there was a princess who lived in a castle. " * 20, "max_tokens": 2}
        first = self.good(self.server.post("/v1/completions", body))
        second = self.good(self.server.post("/v1/completions", body))
        self.assertEqual(first["choices"][0]["text"], second["choices"][0]["text"])
        self.assertGreaterEqual(second["usage"]["prompt_tokens_details"]["cached_tokens"], 64)

    def test_whole_characters(self):
        """Tokens of single bytes, drawn at random: each event holds whole characters, all of them the whole text."""
        lone = [i for i in range(400) if self.good(self.server.post("/detokenize", {"tokens": [i]}))["content"] == "\ufffd"]
        self.assertGreater(len(lone), 100)
        body = {"prompt": PROMPT, "max_tokens": 80, "logit_bias": {str(i): 50 for i in lone}, "temperature": 10, "top_k": 0, "top_p": 1}
        whole = self.good(self.server.post("/v1/completions", body))["choices"][0]["text"]
        reply = self.server.post("/v1/completions", {**body, "stream": True})
        self.assertEqual(stream_text(reply.events), whole)
        reply.body.decode()  # strictly


class Chat(ServerTest):
    FLAGS = ("--seed", 5)
    MESSAGES = [{"role": "user", "content": "a story about a fox"}]

    def ask(self, **body):
        return self.server.post("/v1/chat/completions", {"messages": self.MESSAGES, "max_tokens": 25, **body})

    def test_text_is_that_of_run(self):
        for body, flags in [({}, ["--seed", 5]), ({"seed": 9, "temperature": 1}, ["--seed", 9, "--temp", 1])]:
            want = run_text("a story about a fox", "--chat-template", TEMPLATE, "-n", 25, *flags)
            self.assertEqual(self.good(self.ask(**body))["choices"][0]["message"]["content"], want)
        parts = [{"role": "user", "content": [{"type": "text", "text": "a story about a fox"}]}]
        self.assertEqual(self.good(self.ask(messages=parts))["choices"][0]["message"]["content"],
                         self.good(self.ask())["choices"][0]["message"]["content"])

    def test_form(self):
        for path in ("/v1/chat/completions", "/chat/completions"):
            got = self.good(self.server.post(path, {"messages": self.MESSAGES, "max_completion_tokens": 3, "max_tokens": 99,
                                                    "tools": None, "stop": None, "response_format": {"type": "text"}}))
            self.assertEqual(got["object"], "chat.completion")
            self.assertTrue(got["id"].startswith("chatcmpl-"))
            self.assertEqual(got["choices"][0]["message"]["role"], "assistant")
            self.assertIsNone(got["choices"][0]["message"]["refusal"])
            self.assertEqual(got["usage"]["completion_tokens"], 3)
        self.assertEqual(got["rowmax"]["sampling"]["seed"], {"value": 5, "source": "command line"})

    def test_stream_is_the_whole(self):
        for body in ({}, {"n": 2}, {"logprobs": True, "top_logprobs": 2}):
            whole = self.good(self.ask(**body))
            events = self.ask(stream=True, **body).events
            self.assertEqual(events[-1], "[DONE]")
            self.assertEqual({e["object"] for e in events[:-1]}, {"chat.completion.chunk"})
            for choice in whole["choices"]:
                mine = [c for e in events[:-1] for c in e["choices"] if c["index"] == choice["index"]]
                self.assertEqual(mine[0]["delta"], {"role": "assistant", "content": None})
                self.assertNotIn("role", mine[1]["delta"])
                self.assertEqual(mine[-1]["delta"], {})
                self.assertEqual(mine[-1]["finish_reason"], choice["finish_reason"])
                self.assertEqual("".join(c["delta"].get("content") or "" for c in mine), choice["message"]["content"])
                if choice["logprobs"]:
                    self.assertEqual([t for c in mine if c["logprobs"] for t in c["logprobs"]["content"]],
                                     choice["logprobs"]["content"])
        self.assertNotIn("usage", events[0])
        events = self.ask(stream=True, stream_options={"include_usage": True}).events
        self.assertEqual(events[-2]["choices"], [])
        self.assertEqual(events[-2]["usage"]["completion_tokens"], 25)
        self.assertIsNone(events[0]["usage"])

    def test_log_probabilities(self):
        choice = self.good(self.ask(logprobs=True, top_logprobs=3, temperature=0))["choices"][0]
        content = choice["logprobs"]["content"]
        self.assertEqual("".join(t["token"] for t in content), choice["message"]["content"])
        for token in content:
            self.assertLessEqual(token["logprob"], 0)
            self.assertEqual(bytes(token["bytes"]).decode(), token["token"])
            self.assertEqual(len(token["top_logprobs"]), 3)
            self.assertEqual(token["top_logprobs"][0]["token"], token["token"])

    def test_words_of_a_user_stay_words(self):
        """Text of a message is never a control token."""
        special = self.good(self.server.post("/apply-template", {"messages": [{"role": "user", "content": "<s></s><|endoftext|>"}]}))
        plain = self.good(self.server.post("/tokenize", {"content": special["prompt"], "add_special": True, "parse_special": False}))
        self.assertEqual(special["tokens"], plain["tokens"])

    def test_template_gets_what_it_asks_for(self):
        with Server("--chat-template", "{{ tools | tojson }}|{{ flag }}|{{ messages[0].content }}", template=False) as server:
            body = {"messages": self.MESSAGES, "tools": [{"type": "function", "function": {"name": "f"}}],
                    "chat_template_kwargs": {"flag": "on"}}
            got = server.post("/apply-template", body).json["prompt"]
            self.assertEqual(got, '[{"type": "function", "function": {"name": "f"}}]|on|a story about a fox')
            got = server.post("/apply-template", {**body, "tool_choice": "none"}).json["prompt"]
            self.assertEqual(got, "null|on|a story about a fox")

    def test_without_a_template(self):
        with Server(model=PLAIN_MODEL, template=False) as server:
            self.refused(server.post("/v1/chat/completions", {"messages": self.MESSAGES}), 400, "messages", "--chat-template")
            self.assertEqual(server.post("/v1/completions", {"prompt": [1], "max_tokens": 1}).status, 200)

    def test_template_that_raises(self):
        with Server("--chat-template", "{{ raise_exception('only one turn') }}", template=False) as server:
            self.refused(server.post("/v1/chat/completions", {"messages": self.MESSAGES}), 400, "messages", "only one turn")


class Others(ServerTest):
    FLAGS = ("--pooling", "last")

    def test_health_and_models(self):
        for path in ("/health", "/v1/health", "/ready"):
            self.assertEqual(self.good(self.server.get(path)), {"status": "ok"})
        for path in ("/v1/models", "/models"):
            got = self.good(self.server.get(path))
            self.assertEqual(got["object"], "list")
            self.assertEqual(got["data"][0]["id"], "stories")
        self.assertEqual(self.good(self.server.get("/v1/models/stories"))["id"], "stories")
        self.refused(self.server.get("/v1/models/other"), 404, "model")
        head = self.server.request("HEAD", "/v1/models")
        self.assertEqual((head.status, head.body), (200, b""))
        self.assertGreater(int(head.headers["Content-Length"]), 10)

    def test_metrics(self):
        before = self.server.metric("tokens_predicted_total")
        self.good(self.server.post("/v1/completions", {"prompt": PROMPT, "max_tokens": 7}))
        # Counted when the step is done, which the answer does not wait for.
        self.server.wait_for(lambda: self.server.metric("tokens_predicted_total") == before + 7, 5)
        page = self.server.get("/metrics")
        self.assertTrue(page.headers["Content-Type"].startswith("text/plain"))
        for line in page.body.decode().splitlines():
            self.assertRegex(line, r'^(# (HELP|TYPE) rowmax_[a-z_]+ .+|rowmax_[a-z_]+(\{[a-z]+="[^"]*"\})? [-+0-9.e]+)$')

    def test_tokens(self):
        for path in ("/tokenize",):
            got = self.good(self.server.post(path, {"content": PROMPT}))
            want = json.loads(run_command("tokenize", "-p", PROMPT, "--json"))
            self.assertEqual(got["tokens"], want["tokens"])
        pieces = self.good(self.server.post("/tokenize", {"content": PROMPT, "with_pieces": True}))["tokens"]
        self.assertEqual([p["piece"] for p in pieces], want["pieces"])
        self.assertEqual(self.good(self.server.post("/detokenize", {"tokens": want["tokens"]}))["content"], PROMPT)
        self.assertEqual(self.good(self.server.post("/detokenize", {"tokens": []}))["content"], "")

    def test_too_many_tokens_for_one_answer(self):
        """Each of these characters is a token: no answer grows without bound, least one that has their pieces."""
        for with_pieces, most in ((True, 1 << 18), (False, 1 << 22)):
            for field in ("content", "prompt"):
                error = self.refused(self.server.post("/tokenize", {field: "~" * (most + 1), "with_pieces": with_pieces}), 400, field)
                self.assertIn(f"at most {most} tokens", error["message"])
        self.refused(self.server.post("/apply-template", {"messages": [{"role": "user", "content": "~" * (1 << 18)}],
                                                          "with_pieces": True}), 400, "messages")
        for with_pieces in (True, False):
            got = self.good(self.server.post("/tokenize", {"content": "~" * (1 << 18), "with_pieces": with_pieces}))
            self.assertEqual((got["count"], len(got["tokens"])), (1 << 18, 1 << 18))

    def test_what_a_tokenizer_elsewhere_needs(self):
        """What lm-eval asks (its RemoteTokenizer, made for vLLM)."""
        info = self.good(self.server.get("/tokenizer_info"))
        self.assertEqual((info["chat_template"], info["model_max_length"]), (TEMPLATE, self.good(self.server.get("/v1/models"))["data"][0]["max_model_len"]))
        begun = self.good(self.server.post("/tokenize", {"prompt": "a", "add_special_tokens": True}))["tokens"]
        plain = self.good(self.server.post("/tokenize", {"prompt": "a", "add_special_tokens": False}))["tokens"]
        self.assertEqual(begun[1:], plain)
        self.assertEqual(self.good(self.server.post("/tokenize", {"prompt": info["bos_token"], "add_special_tokens": False}))["tokens"], begun[:1])
        self.assertEqual(len(self.good(self.server.post("/tokenize", {"prompt": info["eos_token"], "add_special_tokens": False}))["tokens"]), 1)
        with Server(model=PLAIN_MODEL, template=False) as server:
            self.assertIsNone(server.get("/tokenizer_info").json["chat_template"])

    def test_embeddings(self):
        texts = ["a cat", "a dog and a bone"]
        want = json.loads(run_command("embed", "--pooling", "last", "--json", *texts))["embeddings"]
        got = self.good(self.server.post("/v1/embeddings", {"input": texts}))
        self.assertEqual([e["embedding"] for e in got["data"]], [e["embedding"] for e in want])
        self.assertEqual(got["usage"]["prompt_tokens"], sum(e["n_tokens"] for e in want))
        got = self.good(self.server.post("/v1/embeddings", {"input": texts[1], "encoding_format": "base64"}))
        raw = base64.b64decode(got["data"][0]["embedding"], validate=True)
        floats = list(struct.unpack(f"<{len(raw) // 4}f", raw))
        self.assertEqual(floats, [struct.unpack("<f", struct.pack("<f", v))[0] for v in want[1]["embedding"]])
        many = self.good(self.server.post("/v1/embeddings", {"input": [f"text {i}" for i in range(300)]}))
        self.assertEqual([e["index"] for e in many["data"]], list(range(300)))
        alone = self.good(self.server.post("/v1/embeddings", {"input": "text 299"}))
        self.assertEqual(many["data"][299]["embedding"], alone["data"][0]["embedding"])

    def test_no_embeddings_where_the_model_names_no_pooling(self):
        with Server() as server:
            self.refused(server.post("/v1/embeddings", {"input": "a"}), 501, "model", "--pooling")


if __name__ == "__main__":
    unittest.main()
