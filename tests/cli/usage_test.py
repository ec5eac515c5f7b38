"""Flags, variables, help and exit codes."""
import json
import os
import pty
import re
import resource
import subprocess
import unittest

from command import GOLDEN, MODEL, PROGRAM, CommandTest


class Usage(CommandTest):
    def test_help_of_everything(self):
        out = self.output("--help")
        for command in ("run", "chat", "inspect", "tokenize", "score", "bench", "pull", "convert", "quantize"):
            self.assertIn(command, out)
            text = self.output(command, "--help")
            self.assertIn("Examples:", text)
        self.assertIn("Exit codes: 0 done", out)

    def test_exit_codes_in_help_and_docs_agree(self):
        words = " ".join(self.output("--help").split())
        listed = words[words.index("Exit codes:"):words.index("130 interrupted")]
        docs = (os.path.dirname(__file__) + "/../../docs/cli.md")
        with open(docs) as file:
            table = file.read()
        for code in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9):
            self.assertIn(f" {code} ", listed)
            self.assertIn(f"| {code} |", table)

    def test_bad_flags_and_values(self):
        for arguments in (["--no-such-flag"], ["fly"], ["run", "--no-such-flag"], ["run", "-t", "-1"], ["run", "-n", "x"],
                          ["run", "-n", "-2", "-p", "a"], ["run", "--seed", "-1"], ["run", "--kv-type", "q8"], ["run", "-t"],
                          ["run", "-m", MODEL, "-p", "a", "--tokens", "1"], ["run", "-m", MODEL, "--tokens", "1,x"],
                          ["run", "-m", MODEL, "--tokens", "99999999"], ["run", "-m", MODEL, "--tokens=-1"],
                          ["run", "-m", MODEL, "-p", "a", "--temp", "nan"], ["run", "-m", MODEL, "-p", "a", "--top-p", "2"],
                          ["run", "-m", MODEL, "-p", "a", "--logit-bias", "x=1"], ["run", "-m", MODEL, "-p", "a", "--isa", "mmx"],
                          ["run", "-m", MODEL, "-p", "a", "--raw", "--system", "b"], ["run", "-m", MODEL],
                          ["score", "-m", MODEL], ["score", "-m", MODEL, "-f", "a", "--ctx", "1"],
                          ["bench", "-m", MODEL, "-p", "1,,2"], ["bench", "-m", MODEL, "-p", "0", "-n", "0"],
                          ["tokenize", "-m", MODEL], ["pull"]):
            with self.subTest(arguments):
                self.fails(2, *arguments)

    def test_no_command_shows_help(self):
        code, out, err = self.run_command()
        self.assertEqual((code, out), (2, ""))
        self.assertIn("rowmax pull smollm2", err)

    def test_missing_files_and_models(self):
        self.fails(8, "run", "-m", "/no/such/file.gguf", "-p", "a", says="/no/such/file.gguf")
        self.fails(8, "run", "-m", "smollm2", "-p", "a", says="rowmax pull smollm2")
        self.fails(8, "run", "-m", MODEL, "-f", "/no/such/prompt", says="/no/such/prompt")
        self.fails(8, "pull", "llama9", says="smollm2")

    def test_broken_model(self):
        path = self.home / "broken.gguf"
        with open(MODEL, "rb") as model:
            path.write_bytes(model.read(1000))
        self.fails(3, "run", "-m", path, "-p", "a", says="broken.gguf")
        path.write_bytes(b"PK\x03\x04" + bytes(2000))
        self.fails(3, "inspect", "-m", path, says="broken.gguf")

    def test_unknown_instruction_set(self):
        for command in (["--version"], ["run", "-m", MODEL, "-p", "a"]):
            code, _, err = self.run_command(*command, env={"ROWMAX_ISA": "unknown"})
            self.assertEqual(code, 2)
            self.assertIn("unknown", err)
            self.assertIn("scalar", err)  # what there is

    def test_variables(self):
        tokens = ["run", "-m", MODEL, "--tokens", "1,2,3", "--greedy", "--ignore-eos"]
        self.assertEqual(len(self.json(*tokens, env={"ROWMAX_N_PREDICT": "3"})["tokens"]), 3)
        self.assertEqual(len(self.json(*tokens, "-n", 2, env={"ROWMAX_N_PREDICT": "3"})["tokens"]), 2)
        self.assertEqual(len(self.json(*tokens, "-n", 2, "-n", 5)["tokens"]), 5)  # the later one wins
        self.fails(2, *tokens, env={"ROWMAX_N_PREDICT": "three"})
        # A variable that another command reads as a list does no harm.
        self.output("tokenize", "-m", MODEL, "-p", "a", env={"ROWMAX_THREADS": "1,2"})

    def test_a_variable_of_several_values_has_one_a_line(self):
        """Each flag that may be given several times, and docs/cli.md has its variable in the table."""
        with open(os.path.dirname(__file__) + "/../../docs/cli.md") as file:
            rows = file.read().split("| variable with one value a line")[1].split("\n\n")[0]
        found = set()
        for command in self.COMMANDS:
            found |= set(re.findall(r"may be given several times[^(]*\(Env:(\w+)\)", " ".join(self.output(command, "--help").split())))
        self.assertEqual(found, set(re.findall(r"ROWMAX_\w+", rows)))
        values = "llama.rope.freq_base=12345\n\nllama.attention.layer_norm_rms_epsilon=0.25\n"
        facts = {f["value"] for f in self.json("inspect", MODEL, env={"ROWMAX_SET": values})["model"]["facts"]}
        for value in (12345, 0.25):
            self.assertTrue(any(text.replace(".", "").isdigit() and float(text) == value for text in facts), facts)
        self.fails(2, "inspect", MODEL, env={"ROWMAX_SET": values + "nonsense"}, says="nonsense")

    COMMANDS = ("run", "chat", "serve", "inspect", "tokenize", "score", "bench", "pull", "convert", "quantize", "receipt", "verify-receipt")

    def test_every_flag_has_a_variable(self):
        """As the footer of `rowmax --help` says. A flag's variable is in its help, and is read: nonsense is refused."""
        walked = 0
        for command in self.COMMANDS:
            lines = self.output(command, "--help").splitlines()
            heads = [line.strip() for line in lines if re.match(r"\s+(-\w,)?--[\w-]+", line)]
            for index, head in enumerate(heads):
                long_name = re.search(r"--([\w-]+)", head)[1]
                if long_name == "help":
                    continue
                # The whole entry: its line and the lines that go on.
                start = next(i for i, line in enumerate(lines) if line.strip() == head)
                entry = head
                for line in lines[start + 1:]:
                    if not line.strip() or re.match(r"\s+(-\w,)?--[\w-]+", line):
                        break
                    entry += " " + line.strip()
                variable = "ROWMAX_" + long_name.upper().replace("-", "_")
                self.assertIn(f"(Env:{variable})", entry, f"{command} --{long_name}")
                walked += 1
        self.assertGreater(walked, 100)

    # Command lines that would work, and per flag a value that is refused, or changes the exit code, when it is read.
    LINES = {
        "run": ["-m", MODEL, "-n", "1", "--greedy", "--raw"],
        "chat": ["-n", "1", "--greedy"],
        "score": ["-c", "4"],
        "bench": ["-n", "1", "-r", "1"],
        "tokenize": ["-m", MODEL],
        "inspect": ["-m", MODEL],
    }
    NONSENSE = {
        "threads": "many", "isa": "mmx", "kernels": "mmx", "activations": "f8", "kv-type": "q8", "kv-budget": "x", "ctx": "wide", "seed": "18446744073709551616",
        "temp": "hot", "top-k": "x", "top-p": "x", "min-p": "x", "repeat-penalty": "x", "repeat-last-n": "x",
        "frequency-penalty": "x", "presence-penalty": "x", "logit-bias": "x", "set": "x", "format": "x", "pre": "bogus",
        "n-predict": "x", "file": "/no/such/file", "tokens": "x", "token-ids": "/no/such/file", "n-prompt": "x", "n-gen": "x",
        "depth": "x", "sequences": "0", "repetitions": "x", "greedy": "perhaps", "json": "perhaps", "quiet": "perhaps", "raw": "perhaps",
        "ignore-eos": "perhaps", "ignore-key": "no.such.key", "convention": "x", "no-layout-check": "perhaps",
     "no-memory-check": "perhaps", "keep-newline": "perhaps",
        "force": "perhaps", "special": "perhaps", "bos": "perhaps", "all": "perhaps", "pull": "perhaps", "model": "/no/such/file",
        "chat-template": "/no/such/file", "no-history": "perhaps", "debug": "x", "debug-layers": "x", "debug-tokens": "x",
        "jsonl": "/no/such/file", "batch": "x", "padding": "x", "receipt": MODEL, "json-schema": "/no/such/file",
        "grammar": "/no/such/file", "regex": "(", "draft-model": "/no/such/file", "ngram-drafts": "x",
    }
    # Values that nothing can be wrong with, each with a test of its own.
    FREE = {"prompt", "stop", "system", "logprobs"}

    def test_every_variable_is_read(self):
        for command, line in self.LINES.items():
            lines = self.output(command, "--help").splitlines()
            names = [re.search(r"--([\w-]+)", line)[1] for line in lines if re.match(r"\s+(-\w,)?--[\w-]+", line)]
            for name in names:
                if name == "help" or name in self.FREE:
                    continue
                with self.subTest(command=command, flag=name):
                    self.assertIn(name, self.NONSENSE, "a flag that this test does not know")
                    value = self.NONSENSE[name]
                    given = {"run": ["--tokens", "1,2"], "tokenize": ["-p", "a"], "score": ["--token-ids", str(self.ids())]}
                    rest = [] if name in ("file", "tokens", "token-ids", "jsonl") else given.get(command, [])
                    line_here = line
                    if name == "model":
                        line_here = [word for word in line if word not in ("-m", MODEL)]
                    elif "-m" not in line and command != "chat":
                        line_here = ["-m", MODEL, *line]
                    elif command == "chat":
                        line_here = ["-m", MODEL, *line] + ([] if name == "chat-template" else ["--chat-template", "{{ 1 }}"])
                    for flag in ("-n", "-r", "-c", "--greedy", "--raw"):  # the flag would win over its variable
                        own = {"-n": ("n-predict", "n-gen"), "-r": ("repetitions",), "-c": ("ctx",), "--greedy": ("greedy",),
                               "--raw": ("raw",)}[flag]
                        if name in own and flag in line_here:
                            at = line_here.index(flag)
                            line_here = line_here[:at] + line_here[at + (1 if flag.startswith("--") else 2):]
                    if name == "chat-template" and command == "run":
                        line_here, rest = [word for word in line_here if word != "--raw"], ["-p", "a"]
                    variable = "ROWMAX_" + name.upper().replace("-", "_")
                    code, _, err = self.run_command(command, *line_here, *rest, env={variable: value})
                    self.assertIn(code, (2, 3, 4, 7, 8), f"{variable}={value}: {err}")

    def ids(self):
        path = self.home / "ids.json"
        path.write_text(json.dumps([1 + i % 50 for i in range(16)]))
        return path

    def prompt_of(self, *arguments, **more):
        return self.json("run", "-m", MODEL, "--raw", "-n", "1", *arguments, **more)["prompt_tokens"]

    def test_line_ends_and_marks_of_editors_are_no_part_of_a_prompt(self):
        plain = self.prompt_of("-p", "abc")
        path = self.home / "prompt.txt"
        for content in (b"abc", b"abc\n", b"abc\r\n", b"\xef\xbb\xbfabc\n"):
            path.write_bytes(content)
            self.assertEqual(self.prompt_of("-f", path), plain, content)
        for text in ("abc", "abc\n", "abc\r\n", "\ufeffabc\n"):
            self.assertEqual(self.prompt_of(stdin=text), plain, text)
        # One line end, not more, and none where it is asked for.
        self.assertEqual(self.prompt_of(stdin="abc\n\n"), self.prompt_of("-p", "abc\n"))
        self.assertEqual(self.prompt_of("--keep-newline", stdin="abc\n"), self.prompt_of("-p", "abc\n"))
        path.write_bytes(b"abc\n")
        self.assertEqual(self.prompt_of("--keep-newline", "-f", path), self.prompt_of("-p", "abc\n"))

    # The same rules for every command that reads a text.
    def test_line_ends_and_marks_of_editors_in_texts(self):
        path = self.home / "text.txt"

        def tokenize(*arguments, **more):
            return self.json("tokenize", "-m", MODEL, *arguments, **more)["tokens"]

        def score(content, *arguments):
            path.write_bytes(content)
            result = self.json("score", "-m", MODEL, "-c", 8, "-f", path, *arguments)
            return result["n_tokens"], result["nll"]

        body = "the other\r\nword is how and that said the and of to in"
        plain = tokenize("-p", body)
        self.assertIn("\r", body)  # a line end inside is text
        self.assertNotEqual(plain, tokenize("-p", body.replace("\r\n", "\n")))
        for text in (body, body + "\n", body + "\r\n", "\ufeff" + body, "\ufeff" + body + "\r\n"):
            content = text.encode()
            path.write_bytes(content)
            self.assertEqual(tokenize("-f", path), plain, content)
            self.assertEqual(tokenize("-f", "-", stdin=text), plain, content)
            self.assertEqual(self.prompt_of("-f", path), self.prompt_of("-p", body), content)
            self.assertEqual(score(content), score(body.encode()), content)
        path.write_bytes(body.encode() + b"\n\n")
        self.assertEqual(tokenize("-f", path), tokenize("-p", body + "\n"))
        path.write_bytes(b"\xef\xbb\xbf" + body.encode() + b"\n")
        self.assertEqual(tokenize("-f", path, "--keep-newline"), tokenize("-p", body + "\n"))
        self.assertEqual(score(body.encode() + b"\n", "--keep-newline"), score(body.encode() + b"\n\n"))
        self.assertEqual(score(body.encode() + b"\n", "--keep-newline")[0], score(body.encode())[0] + 1)
        # What the flag gives is the text, whole.
        self.assertEqual(tokenize("-p", "abc\n"), tokenize("-p", "abc") + tokenize("-p", "\n"))

    def test_a_mark_in_front_of_a_template_or_a_list(self):
        template = "{% for m in messages %}<{{ m['content'] }}>{% endfor %}"
        path = self.home / "template.jinja"
        path.write_bytes(b"\xef\xbb\xbf" + template.encode() + b"\n")
        run = ("run", "-m", MODEL, "-n", 1, "-p", "abc", "--chat-template")
        self.assertEqual(self.json(*run, path)["prompt_tokens"], self.json(*run, template)["prompt_tokens"])
        ids = self.ids()
        plain = self.json("score", "-m", MODEL, "-c", 8, "--token-ids", ids)
        ids.write_bytes(b"\xef\xbb\xbf" + ids.read_bytes() + b"\r\n")
        self.assertEqual(self.json("score", "-m", MODEL, "-c", 8, "--token-ids", ids), plain)

    def test_piped_text_goes_behind_the_prompt(self):
        both = self.prompt_of("-p", "abc\ndef")
        self.assertEqual(self.prompt_of("-p", "abc", stdin="def\n"), both)
        self.assertEqual(self.prompt_of("abc", stdin="def\n"), both)
        self.assertEqual(self.prompt_of(stdin="def\n", env={"ROWMAX_PROMPT": "abc"}), both)
        self.assertEqual(self.prompt_of(env={"ROWMAX_PROMPT": "abc"}, stdin_file="/dev/null"), self.prompt_of("-p", "abc"))
        path = self.home / "prompt.txt"
        path.write_text("def\n")
        self.assertEqual(self.prompt_of(env={"ROWMAX_FILE": str(path)}, stdin_file="/dev/null"), self.prompt_of("-p", "def"))
        self.assertEqual(self.prompt_of("a", "b c", "d", stdin_file="/dev/null"), self.prompt_of("-p", "a b c d"))

    def test_an_empty_value_is_empty(self):
        """--prompt= (a script's empty variable) does not take the next flag for its value."""
        result = self.json("run", "-m", MODEL, "--tokens", "1,2", "--prompt=", "-n", "2")
        self.assertEqual(result["prompt_tokens"], [1, 2])
        self.fails(2, "run", "-m", MODEL, "--prompt=", "--raw", "-n", "1", says="no prompt")
        self.fails(2, "run", "-m", MODEL, "--tokens", "1", "--set=", "-q", says="KEY=VALUE")
        self.fails(2, "run", "-m", MODEL, "--tokens", "1", "--threads=", "-q", says='found ""')
        for empty in (["--logprobs", ""], ["--logprobs="]):
            self.fails(2, "score", "-m", MODEL, "--token-ids", self.ids(), "-c", 4, *empty, says='--logprobs: expected FILE, found ""')
        self.output("score", "-m", MODEL, "--token-ids", self.ids(), "-c", 4, env={"ROWMAX_LOGPROBS": ""})

    def test_flags_that_would_do_nothing_are_refused(self):
        out, ids, reference = self.home / "out", self.ids(), self.home / "reference.json"
        reference.write_text('{"engine": "another", "steps": []}')
        trace, compare = ("trace", "-m", MODEL, "--tokens", "1,2"), ("compare", "-m", MODEL, "--tokens", "1,2")
        run, score = ("run", "-m", MODEL, "--tokens", "1,2", "-n", 1), ("score", "-m", MODEL, "-c", 4)
        receipt = ("receipt", "-m", MODEL, "-o", out)
        for line, first, second in (
                (("doctor", MODEL, "-m", MODEL), "path", "--model"), (("inspect", MODEL, "-m", MODEL), "path", "--model"),
                (("doctor", MODEL, "--quick", "--budget", 5), "--quick", "--budget"),
                (("doctor", MODEL, "--quick", "--reference", ids), "--quick", "--reference"),
                (("doctor", MODEL, "--quick", "--only", "masks"), "masks", "the file alone"),
                (("doctor", MODEL, "--only", "bytes", "--budget", 5), "--only", "--budget"),
                (("doctor", MODEL, "--only", "bytes", "--reference", ids), "--only", "--reference"),
                (("doctor", MODEL, "--quick", "--force"), "--force", "--html"),
                ((*trace, "--gates", "--stages", "q"), "--gates", "--stages"), ((*trace, "--gates", "--debug", "max"), "--gates", "--debug"),
                ((*trace, "--debug-layers", 0), "--debug-layers", "--debug KINDS"),
                (("dump", *trace[1:], "--debug-tokens", 0, out), "--debug-tokens", "--debug KINDS"),
                ((*compare, "--reference", ids, "--activations", "f32"), "--activations", "--reference"),
                ((*compare, "--reference", ids, "--kv-type", "f32"), "--kv-type", "--reference"),
                ((*compare, "--reference", ids, "--no-replay", "--budget", 1), "--no-replay", "--budget"),
                ((*compare, "--other-threads", 1, "--no-replay"), "--no-replay", "--reference"),
                ((*compare, "--other-threads", 1, "--plain-http"), "--plain-http", "--server"),
                ((*compare, "--server", "https://x", "--server-model", "a", "--server-api", "llama"), "--server-model", "--server-api=llama"),
                ((*receipt, "--reference-name", "x"), "--reference-name", "--reference FILE"),
                ((*receipt, "--reference", reference, "--reference-name", "x"), "--reference-name", "another"),
                ((*score, "--token-ids", ids, "--batch", 2), "--batch", "--jsonl FILE"),
                ((*score, "--token-ids", ids, "--keep-newline"), "--keep-newline", "--token-ids"),
                ((*score, "--token-ids", ids, "--force"), "--force", "--logprobs"),
                ((*run, "--force"), "--force", "--receipt"), ((*run, "--system", "a"), "--tokens", "--system")):
            with self.subTest(line=line):
                self.assertIn(first, self.fails(2, *line, says=second))
        self.assertFalse(out.exists())
        # A variable is a standing wish.
        env = {"ROWMAX_STAGES": "q", "ROWMAX_BUDGET": "5", "ROWMAX_MODEL": MODEL, "ROWMAX_FORCE": "1"}
        self.output(*trace, "--gates", env=env)
        self.output("inspect", GOLDEN / "qwen2.gguf", env=env)
        self.output(*run, env=env)
        # What stays: a token that is named is shown by the gates, too.
        self.assertGreater(len(self.json(*trace, "--gates", "--token", 1)["rows"]), 0)
        self.assertEqual(self.json(*trace, "--gates")["rows"], [])

    def test_an_empty_prompt_is_none(self):
        out = self.home / "out"
        for line in (("receipt", "-m", MODEL, "-o", out), ("trace", "-m", MODEL), ("dump", "-m", MODEL, out),
                     ("compare", "-m", MODEL, "--other-threads", 1)):
            for flag, kind in (("--prompt", "TEXT"), ("--tokens", "IDS")):
                self.fails(2, *line, flag, "", says=f'{flag}: expected {kind}, found ""', env={"ROWMAX_TOKENS": "1,2"})
        # The story model has a text of its own for whoever gives none, and not for a script whose variable is empty.
        self.fails(2, "run", "-p", "", "-n", 1, "--receipt", out, says="no prompt", stdin_file="/dev/null")
        self.output("run", "-n", 1, "--receipt", out, stdin_file="/dev/null")

    def test_a_template_is_no_value_to_set(self):
        self.fails(2, "run", "-m", MODEL, "-p", "a", "--set", "tokenizer.chat_template={{ 1 }}", says="--chat-template FILE")

    def test_seed_is_a_whole_64_bit_number(self):
        run = ["run", "-m", MODEL, "--tokens", "1", "-n", "1"]
        self.output(*run, "--seed", "18446744073709551615")
        for seed in ("18446744073709551616", "-1", "1.5", "x", ""):
            if seed:
                self.fails(2, *run, "--seed=" + seed, says="whole number from 0 to 18446744073709551615")

    def test_help_is_a_command(self):
        self.assertEqual(self.output("help"), self.output("--help"))
        self.assertEqual(self.output("help", "run"), self.output("run", "--help"))
        self.assertEqual(self.output("help", "help"), self.output("--help"))
        self.fails(2, "help", "rnu", says="did you mean run?")

    def test_the_nearest_name(self):
        self.fails(2, "quantise", says="did you mean quantize?")
        self.fails(8, "run", "-m", "smolm2", "-p", "a", says="did you mean smollm2?")
        self.fails(8, "pull", "gema3", says="did you mean gemma3?")
        for name, meant in (("q8_0", "Q8_0"), ("Q4_K_M", "Q4_K"), ("q4-0", "Q4_0")):
            out = self.home / "x.gguf"
            self.fails(2, "quantize", MODEL, out, name, says=f"did you mean {meant}?")
            for flag in ("--tensor=ffn=", "--output-type=", "--embedding-type="):
                self.fails(2, "quantize", MODEL, out, "Q8_0", flag + name, says=f"did you mean {meant}?")
            self.assertFalse(out.exists())

    def test_a_prompt_that_is_too_long_says_what_to_do(self):
        err = self.fails(5, "run", "-m", MODEL, "--tokens", "1,2,3,4,5", "-c", "4", says="-c sets its size, the model allows")
        self.assertIn("llama_bias.gguf", err)

    def test_errors_of_templates_and_generation_name_the_file(self):
        for template in ("{{ raise_exception('no') }}", "{% for a in 1 %}{% endfor %}", "{{ messages[0].content + 1 }}"):
            self.fails(2, "run", "-m", MODEL, "-p", "a", "--chat-template", template, says=MODEL)

    def test_names_and_errors_cannot_steer_a_terminal(self):
        name = str(self.home / "a\x1b[2J\u009bm\u202efugg").encode() + b"\xff.gguf"
        command = [PROGRAM, "inspect", "-m", name]
        # Results are bytes in a pipe; messages are for people, in a log too.
        piped = subprocess.run(command, env=self.environment(), capture_output=True)
        self.assertIn(rb"a^[[2J\x9Bm\u{202E}fugg\xFF.gguf", piped.stderr)
        with open(MODEL, "rb") as model, open(name, "wb") as copy:
            copy.write(model.read())
        self.assertIn(name, subprocess.run(command, env=self.environment(), capture_output=True).stdout)
        shown = rb"a^[[2J\x9Bm\u{202E}fugg\xFF.gguf"
        for stream in ("stdout", "stderr"):  # the report; the error of a file that is gone
            master, slave = pty.openpty()
            other = "stderr" if stream == "stdout" else "stdout"
            child = subprocess.Popen(command, env=self.environment(NO_COLOR="1"), stdin=subprocess.DEVNULL,
                                     **{stream: slave, other: subprocess.DEVNULL})
            os.close(slave)
            text = b""
            try:
                while block := os.read(master, 4096):
                    text += block
            except OSError:  # how Linux tells the end
                pass
            os.close(master)
            child.wait()
            self.assertIn(shown, text)
            self.assertNotIn(b"\x1b[2J", text)
            if stream == "stdout":
                os.unlink(name)

    def test_a_broken_model_from_the_cache_is_fetched_again_by(self):
        folder = self.home / ".cache/rowmax/models"
        folder.mkdir(parents=True)
        listed = self.json("pull", "--list")["models"]
        path = next(model["path"] for model in listed if model["name"] == "smollm2")
        with open(MODEL, "rb") as model, open(path, "wb") as cut:
            cut.write(model.read(1000))
        self.fails(3, "run", "-m", "smollm2", "-p", "a", says="rowmax pull smollm2")

    def test_what_a_command_does_not_take(self):
        err = self.fails(2, "inspect", "-m", MODEL, "-t", "1", says="inspect has no flag -t; it is one of run, chat, ")
        self.assertIn("inspect takes PATH|NAME, -m, --pre, ", err)
        self.fails(2, "run", "--thread", "2", "-p", "a", says="run has no flag --thread (did you mean --threads?)")
        self.fails(2, "inspect", "-m", MODEL, "--kv-type=f32", says="inspect has no flag --kv-type; it is one of run, ")
        self.fails(2, "inspect", MODEL, "b", says='inspect has no place for one more word, found "b"')

    def test_what_the_cache_does_not_take_names_file_and_flag(self):
        err = self.fails(4, "run", "-m", MODEL, "-p", "a", "--kv-type", "q8_0", says="--kv-type f16 and f32 take any")
        self.assertIn("llama_bias.gguf: kv_type q8_0: layer 0 has heads of 10, expected multiples of 32", err)
        latents = GOLDEN / "deepseek2_v3.gguf"
        for command in (("run", "-p", "a"), ("score", "-f", __file__, "--ctx", "32"), ("bench",), ("trace", "-p", "a")):
            err = self.fails(4, command[0], "-m", latents, *command[1:], "--kv-type", "q8_0", says="--kv-type")
            self.assertIn("deepseek2_v3.gguf: kv_type q8_0: layer 0 remembers a latent of 20 numbers and 8 that turn", err)
        err = self.fails(5, "run", "-m", MODEL, "-p", "a", "-c", "513", says="found 513 (-c)")
        self.assertIn("llama_bias.gguf: context: expected 1 to the 512 tokens", err)
        self.fails(2, "run", "-m", latents, "-p", "a", "--convention", "rope_dimensions=28",
                   says="deepseek2_v3.gguf: convention 'rope_dimensions': expected an even number from 2 to 8, found '28'")
        self.fails(2, "run", "-m", latents, "-p", "a", "--convention", "expert_used_count=5",
                   says="'expert_used_count': expected a number from 1 to 4, in the groups that are used, found '5'")
        self.output("run", "-m", latents, "-p", "a", "-n", 1, "--convention", "expert_used_count=4",
                    "--convention", "rope_dimensions=4")

    def test_bench_refuses_before_it_measures_memory(self):
        limit = 480 << 20  # below what the measurement takes

        def bench(*arguments):
            result = subprocess.run([PROGRAM, "bench", "-m", MODEL, "-t", "1", "--isa", "scalar", *arguments],
                                    capture_output=True, env=self.environment(MALLOC_ARENA_MAX="1"),
                                    preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)))
            return result.returncode, result.stderr.decode()
        code, err = bench("-p", "4", "-n", "0", "-r", "1")
        if code not in (0, 9):
            self.skipTest(f"does not start with so little memory: {err}")
        self.assertEqual(code, 9, err)
        code, err = bench("-p", "4", "-n", "0", "--kv-type", "q8_0")
        self.assertEqual(code, 4, err)
        code, err = bench("-p", "4", "-n", "0", "-d", "512")
        self.assertEqual(code, 5, err)
        self.assertIn("found 516 (the longest of -p and -n behind the deepest of -d)", err)

    def test_bench_threads_variable(self):
        result = self.json("bench", "-m", MODEL, "-p", "4", "-n", "0", "-r", "1", env={"ROWMAX_THREADS": "1,2"})
        self.assertEqual(sorted({entry["threads"] for entry in result["results"]}), [1, 2])

    def test_no_colour_outside_a_terminal(self):
        _, out, err = self.run_command("run", "-m", MODEL, "--tokens", "1,2", "-n", 2)
        self.assertNotIn("\x1b", out + err)
        self.assertIn("tok/s", err)
        self.assertNotIn("tok/s", self.run_command("run", "-m", MODEL, "--tokens", "1,2", "-n", 2, "-q")[2])

    def test_full_disk(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("no /dev/full")
        with open("/dev/full", "w") as full:
            result = subprocess.run([PROGRAM, "tokenize", "-m", MODEL, "-p", "abc", "--json"], stdout=full,
                                    stderr=subprocess.PIPE, env=self.environment())
        self.assertEqual(result.returncode, 7)


if __name__ == "__main__":
    unittest.main()
