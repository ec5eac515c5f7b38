"""rowmax run --json-schema, --grammar and --regex: what comes out is what was asked for, and errors name flag and place."""
import json
import re
import unittest

from command import MODEL, CommandTest

PERSON = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer", "minimum": 1, "maximum": 99},
                                           "pets": {"type": "array", "items": {"enum": ["cat", "dog"]}, "maxItems": 3}},
          "required": ["name", "age", "pets"], "additionalProperties": False}


class Constraint(CommandTest):
    def text(self, *flags, model="stories"):
        result = self.json("run", "-m", model, "--raw", "-p", "Once", "-n", 300, *flags)
        self.assertEqual(result["stop"], "eos", result)
        return result["text"]

    def check_person(self, text):
        person = json.loads(text)
        self.assertEqual(list(person), ["name", "age", "pets"])
        self.assertLessEqual(len(person["name"]), 12)
        self.assertIsInstance(person["age"], int)
        self.assertTrue(1 <= person["age"] <= 99)
        self.assertTrue(len(person["pets"]) <= 3 and set(person["pets"]) <= {"cat", "dog"})

    def test_json_schema_as_text_and_as_file(self):
        file = self.home / "schema.json"
        file.write_text("\ufeff" + json.dumps(PERSON, indent=2))
        for model in ("stories", MODEL):
            for seed in range(4):
                self.check_person(self.text("--json-schema", json.dumps(PERSON), "--seed", seed, model=model))
            self.check_person(self.text("--json-schema", file, "--greedy", model=model))
        self.assertEqual(self.text("--json-schema", file, "--seed", 3), self.text("--json-schema", json.dumps(PERSON), "--seed", 3))
        self.assertIn(self.text("--json-schema", '{"type": "boolean"}'), ("true", "false"))

    def test_grammar_and_regex(self):
        grammar = self.home / "grammar.gbnf"
        grammar.write_text('root ::= line{2,3} "end"\nline ::= [a-z]{1,8} " -> " [0-9]+ "\\n"\n')
        for seed in range(3):
            self.assertRegex(self.text("--grammar", grammar, "--seed", seed, "--logit-bias", "0=0"),
                             r"\A([a-z]{1,8} -> [0-9]+\n){2,3}end\Z")
            self.assertTrue(re.fullmatch(r"(yes|no), \d{2}:\d{2}", self.text("--regex", r"(yes|no), \d{2}:\d{2}", "--seed", seed)))

    def test_the_variable_and_the_flag(self):
        result = self.json("run", "-p", "Once", "-n", 20, env={"ROWMAX_REGEX": "abc|xyz"})
        self.assertIn(result["text"], ("abc", "xyz"))
        result = self.json("run", "-p", "Once", "-n", 20, "--regex", "q{3}", env={"ROWMAX_REGEX": "abc", "ROWMAX_JSON_SCHEMA": "{}"})
        self.assertEqual(result["text"], "qqq")

    def test_what_is_cut_off_says_so(self):
        result = self.json("run", "-p", "Once", "-n", 5, "--regex", "a{50}")
        self.assertEqual(result["stop"], "length")

    def test_errors_name_flag_and_place(self):
        self.fails(4, "run", "-p", "x", "--json-schema", '{"type": "object", "properties": {"a": {"not": {}}}}',
                   says="--json-schema: JSON schema, #/properties/a/not: the keyword is not supported")
        self.fails(4, "run", "-p", "x", "--regex", "a(?=b)", says="--regex: regular expression, byte 3: look-around")
        grammar = self.home / "bad.gbnf"
        grammar.write_text('root ::= "a"\nx ::= nothing\n')
        self.fails(3, "run", "-p", "x", "--grammar", grammar, says=f"--grammar {grammar}: grammar, line 2, column 7: rule 'nothing' is not defined")
        self.fails(8, "run", "-p", "x", "--grammar", self.home / "none.gbnf", says="--grammar: ")
        self.fails(8, "run", "-p", "x", "--json-schema", "none.json", says="--json-schema: ")
        self.fails(2, "run", "-p", "x", "--json-schema", "{}", "--regex", "a", says="--regex")
        self.fails(2, "run", "-p", "x", "--regex", "a", "--receipt", self.home / "r.json", says="--regex")
        self.fails(2, "run", "-p", "x", "--regex", "a", "--ignore-eos", says="--ignore-eos")


if __name__ == "__main__":
    unittest.main()
