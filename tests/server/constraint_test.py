"""Constrained output: JSON of a schema, grammars, regular expressions, in every API's words; the text is that of `rowmax run`."""
import json
import re
import subprocess
import unittest

from server import PROGRAM, Server, ServerTest, environment, together

MESSAGES = [{"role": "user", "content": "a story about a fox"}]
SCHEMA = {"type": "object", "additionalProperties": False, "required": ["name", "legs", "tame"],
          "properties": {"name": {"type": "string", "maxLength": 12}, "legs": {"type": "integer", "minimum": 0, "maximum": 99},
                         "tame": {"type": "boolean"}}}
FORMAT = {"type": "json_schema", "json_schema": {"name": "animal", "strict": True, "schema": SCHEMA}}


class Constraints(ServerTest):
    def chat(self, **more):
        got = self.good(self.server.post("/v1/chat/completions", {"messages": MESSAGES, "max_tokens": 200, **more}))
        return got["choices"][0]["message"]["content"], got["choices"][0]["finish_reason"]

    def check_animal(self, text):
        value = json.loads(text)
        self.assertEqual(list(value), ["name", "legs", "tame"], text)
        self.assertTrue(isinstance(value["name"], str) and len(value["name"]) <= 12, text)
        self.assertTrue(type(value["legs"]) is int and 0 <= value["legs"] <= 99, text)
        self.assertIsInstance(value["tame"], bool, text)

    def test_a_schema_in_every_api(self):
        for seed in range(4):
            text, reason = self.chat(response_format=FORMAT, seed=seed)
            self.check_animal(text)
            self.assertEqual(reason, "stop")
            self.assertEqual(self.chat(json_schema=SCHEMA, seed=seed)[0], text)
        text, _ = self.chat(response_format=FORMAT)
        got = self.good(self.server.post("/v1/responses", {"input": "a story about a fox", "max_output_tokens": 200, "text": {
            "format": {"type": "json_schema", "name": "animal", "schema": SCHEMA}}}))
        self.assertEqual(got["output"][0]["content"][0]["text"], text)
        self.assertEqual(got["text"]["format"]["schema"], SCHEMA)
        got = self.good(self.server.post("/api/chat", {"messages": MESSAGES, "format": SCHEMA, "stream": False, "options": {"num_predict": 200}}))
        self.assertEqual(got["message"]["content"], text)

    def test_a_stream_and_choices_at_once(self):
        answer = self.server.post("/v1/chat/completions", {"messages": MESSAGES, "max_tokens": 200, "response_format": FORMAT, "stream": True})
        pieces = [event["choices"][0]["delta"].get("content") or "" for event in answer.events if event != "[DONE]" and event["choices"]]
        self.assertEqual("".join(pieces), self.chat(response_format=FORMAT)[0])
        got = self.good(self.server.post("/v1/chat/completions", {"messages": MESSAGES, "max_tokens": 200, "response_format": FORMAT, "n": 6}))
        for choice in got["choices"]:
            self.assertEqual(choice["message"]["content"], self.chat(response_format=FORMAT, seed=choice["index"])[0])

    def test_as_the_command_writes_it(self):
        for flag, value, body in (("--json-schema", json.dumps(SCHEMA), {"json_schema": SCHEMA}), ("--regex", "(fox|owl) [0-9]{3}", {"regex": "(fox|owl) [0-9]{3}"})):
            run = subprocess.run([PROGRAM, "run", "-m", "stories", "-p", "Once", flag, value, "-n", "200", "--seed", "3", "-q"],
                                 capture_output=True, text=True, check=True, env=environment(self.server.home.name))
            got = self.good(self.server.post("/v1/completions", {"prompt": "Once", "max_tokens": 200, "seed": 3, **body}))
            self.assertIn(got["choices"][0]["text"], run.stdout)

    def test_grammars_and_expressions(self):
        text, _ = self.chat(grammar='root ::= ("yes" | "no") "!"')
        self.assertIn(text, ("yes!", "no!"))
        self.assertTrue(re.fullmatch("[a-c]{5}", self.chat(regex="[a-c]{5}")[0]))
        self.assertEqual(self.chat(response_format={"type": "text"}), self.chat())

    def test_an_object_begins_as_one(self):
        self.assertEqual(self.chat(response_format={"type": "json_object"}, max_tokens=1)[0][:1], "{")
        got = self.good(self.server.post("/api/generate", {"prompt": "a fox", "format": "json", "stream": False, "options": {"num_predict": 1}}))
        self.assertEqual(got["response"][:1], "{")

    def test_a_grammar_that_takes_too_much_work_ends_its_request_alone(self):
        """Counted in steps, so that it ends at the same token on every machine; the others' answers are what they are."""
        many = "((a{0,500}|[ab]{0,500}|[a-c]{0,500}){0,500}){0,500}c"
        body = {"prompt": "Once", "max_tokens": 60, "seed": 3}
        expected = self.good(self.server.post("/v1/completions", body))["choices"]
        hard, *others = together([lambda: self.server.post("/v1/completions", {**body, "max_tokens": 400, "regex": many})] +
                                 [lambda: self.server.post("/v1/completions", body)] * 3)
        error = self.refused(hard, 400)
        self.assertEqual(error["code"], "limit")
        self.assertRegex(error["message"], r"regex: the grammar needs more than (max|sustained)_mask_steps = [0-9]+ steps")
        for other in others:
            self.assertEqual(self.good(other)["choices"], expected)
        # An ambiguous one is none of these.
        got = self.good(self.server.post("/v1/completions", {**body, "max_tokens": 100, "grammar":
                                                             "root ::= s\ns ::= [a-z ] (s (s (s s?)?)?)?"}))
        self.assertRegex(got["choices"][0]["text"], "^[a-z ]+$")

    def test_what_cannot_be_obeyed_is_refused(self):
        for body, param in [({"response_format": FORMAT, "regex": "a"}, "regex"), ({"regex": "a", "ignore_eos": True}, "ignore_eos"),
                            ({"json_schema": {"type": "object", "properties": {"a": {"not": {}}}}}, "json_schema"),
                            ({"response_format": {"type": "json_schema", "json_schema": {"strict": True, "schema": {"type": "object"}}}},
                             "response_format.json_schema.schema")]:
            error = self.refused(self.server.post("/v1/chat/completions", {"messages": MESSAGES, **body}), 400, param)
        error = self.refused(self.server.post("/v1/completions", {"prompt": "a", "json_schema": {"properties": {"a": {"not": {}}}}}), 400, "json_schema")
        self.assertIn("/properties/a", error["message"])


if __name__ == "__main__":
    unittest.main()
