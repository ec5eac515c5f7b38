"""Clients that are programs rather than libraries: each is started as a person would start it. Used by run.py."""
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

KEY = "sk-nothing"
QUESTION = "Name a colour of the sky."


def post(url, path, body):
    request = urllib.request.Request(url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request, timeout=300))


def run(command, folder, seconds=300, **more):
    done = subprocess.run([str(part) for part in command], cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=seconds,
                          env={**os.environ, "HOME": str(folder), "OPENAI_API_KEY": KEY, **more})
    return done.returncode, done.stdout + done.stderr


def program(name):
    """A program of the environment that runs this."""
    return Path(sys.executable).parent / name


def mini_swe_agent(url, check):
    # Its commands are run on this machine, so a grammar leaves the model a choice between harmless ones.
    call = r'root ::= "<tool_call>\n{\"name\": \"bash\", \"arguments\": {\"command\": \"" ("ls" | "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT") "\"}}\n</tool_call>"'
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "file").write_text("1\n")
        Path(folder, "more.yaml").write_text(json.dumps({
            "agent": {"step_limit": 4, "mode": "yolo", "confirm_exit": False},
            "model": {"model_name": "openai/any", "cost_tracking": "ignore_errors", "model_kwargs": {
                "api_base": url + "/v1", "api_key": KEY, "max_tokens": 60, "extra_body": {"grammar": call}}}}))
        code, text = run([program("mini"), "-c", "mini.yaml", "-c", "more.yaml", "-t", QUESTION, "-y", "--exit-immediately", "-o", "out.json"], folder,
                         MSWEA_CONFIGURED="true", MSWEA_GLOBAL_CONFIG_DIR=folder)
        check("mini ends", code == 0, text[-400:])
        messages = json.loads(Path(folder, "out.json").read_text())["messages"]
        commands = [json.loads(c["function"]["arguments"])["command"] for m in messages for c in m.get("tool_calls") or []]
        outputs = [m["content"] for m in messages if m["role"] == "tool"]
        check("calls of bash came and were run", commands and len(outputs) >= len(commands) - 1, commands)
        check("its end", messages[-1]["extra"]["exit_status"] in ("Submitted", "LimitsExceeded"), messages[-1])


def aider(url, check):
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "a.py").write_text("def f():\n    return 1\n")
        same = [program("aider"), "--model", "openai/any", "--openai-api-base", url + "/v1", "--no-git", "--yes-always", "--no-show-model-warnings",
                "--no-check-update", "--analytics-disable", "--no-pretty", "--no-auto-lint", "--no-show-release-notes", "--no-detect-urls"]
        answers = {}
        for stream in ("--stream", "--no-stream"):
            log = Path(folder, stream[2:])
            code, text = run([*same, stream, "--edit-format", "ask", "--llm-history-file", log, "--message", QUESTION, "a.py"], folder)
            answers[stream] = re.findall(r"^ASSISTANT (.*)", log.read_text(), re.M) if log.exists() else []
            check(f"ask {stream}", code == 0 and answers[stream] and not re.search(r"litellm\.\w+Error", text), text[-400:])
        check("a stream is the whole answer", answers["--stream"] == answers["--no-stream"], answers)
        for form in ("whole", "diff"):  # whether a small model edits the file well is not what is asked
            log = Path(folder, form)
            code, text = run([*same, "--edit-format", form, "--llm-history-file", log, "--message", "Let f return 2.", "a.py"], folder)
            check(f"code, {form}", code == 0 and log.exists() and "ASSISTANT" in log.read_text() and not re.search(r"litellm\.\w+Error", text), text[-400:])


COLOURS = [("The sky is", [" blue", " seven", " soup"], 0), ("Grass is", [" quickly", " green"], 1), ("Two and two are", [" four", " blue", " cats"], 0),
           ("A cat is an", [" animal", " hour"], 0), ("Snow is", [" white", " Tuesday"], 0), ("Water is", [" a number", " wet"], 1)]


def lm_eval(url, check):
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        rows = [{"question": q, "choices": c, "label": n, "text": q + c[n] + ". " + q + c[n] + "."} for q, c, n in COLOURS]
        (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        data = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(folder / "data.jsonl")}}, "test_split": "test"}
        tasks = {
            "choose": {"output_type": "multiple_choice", "doc_to_text": "{{question}}", "doc_to_choice": "{{choices}}", "doc_to_target": "{{label}}",
                       "target_delimiter": "", "metric_list": [{"metric": "acc"}]},
            "write": {"output_type": "generate_until", "doc_to_text": "{{question}}", "doc_to_target": "{{choices[label]}}",
                      "generation_kwargs": {"until": ["\n", "."], "max_gen_toks": 12}, "metric_list": [{"metric": "exact_match"}]},
            "roll": {"output_type": "loglikelihood_rolling", "doc_to_text": "", "doc_to_target": "{{text}}", "metric_list": [{"metric": "bits_per_byte"}]}}
        for name, task in tasks.items():
            (folder / f"{name}.yaml").write_text(json.dumps({"task": name, **data, **task}))

        def evaluate(kind, path, names, *more):
            out = folder / kind
            arguments = f"model=any,base_url={url}{path},num_concurrent=4,max_retries=1"
            code, text = run([program("lm_eval"), "run", "--model", kind, "--model_args", arguments, "--include_path", folder, "--tasks", names, "--output_path",
                              out, "--log_samples", *more], folder, HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")
            check(f"{kind}: {names}", code == 0, text[-900:])
            found = {}
            for file in out.rglob("samples_*.jsonl"):
                found[file.name.split("_")[1]] = [json.loads(line) for line in file.read_text().splitlines()]
            return found

        def ids(text):
            return post(url, "/tokenize", {"content": text})["tokens"]

        def log_probability(context, text):
            """By one request of our own: what of the echo stands behind the context."""
            first, whole = ids(context), ids(context + text)
            values = post(url, "/v1/completions", {"prompt": whole, "max_tokens": 1, "echo": True, "logprobs": 1})["choices"][0]["logprobs"]["token_logprobs"]
            return sum(values[len(first):len(whole)])

        found = evaluate("local-completions", "/v1/completions", "choose,write,roll", "--batch_size", "4")
        for sample in found.get("choose", []):
            doc = sample["doc"]
            wanted = [log_probability(doc["question"], c) for c in doc["choices"]]
            given = [float(r[0][0] if isinstance(r[0], list) else r[0]) for r in sample["resps"]]
            check(f"log-probabilities of {doc['question']!r}", all(math.isclose(a, b, abs_tol=1e-4) for a, b in zip(wanted, given, strict=True)), (wanted, given))
        check("texts were written", len(found.get("write", [])) == len(COLOURS) and all(s["resps"][0][0] for s in found["write"]), found.get("write"))
        check("texts were scored", len(found.get("roll", [])) == len(COLOURS) and all(float(s["resps"][0][0]) < 0 for s in found["roll"]), found.get("roll"))
        found = evaluate("local-chat-completions", "/v1/chat/completions", "write", "--apply_chat_template")
        check("chats were written", len(found.get("write", [])) == len(COLOURS) and any(s["resps"][0][0] for s in found["write"]), found.get("write"))


def codex(url, check):
    import codex_cli_bin
    binary = Path(codex_cli_bin.__file__).parent / "bin" / "codex"
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "config.toml").write_text(
            'model = "any"\nmodel_provider = "served"\napproval_policy = "never"\nsandbox_mode = "read-only"\n[analytics]\nenabled = false\n'
            f'[model_providers.served]\nname = "served"\nbase_url = "{url}/v1"\nwire_api = "responses"\n')

        def ask(*more):
            code, text = run([binary, "exec", "--skip-git-repo-check", "--json", *more], folder, CODEX_HOME=folder)
            events = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
            said = [e["item"]["text"] for e in events if e.get("type") == "item.completed" and e["item"].get("type") == "agent_message"]
            usage = [e["usage"] for e in events if e.get("type") == "turn.completed"]
            return code, said, usage, text

        code, said, usage, text = ask(QUESTION)
        check("exec", code == 0 and said and said[0], text[-400:])
        check("its usage", usage and usage[0]["input_tokens"] > 1000 and usage[0]["output_tokens"] > 0, usage)
        first = usage[0]["input_tokens"] if usage else 0
        code, again, usage, text = ask("resume", "--last", "And of grass?")
        check("exec resume", code == 0 and again and again[0], text[-400:])
        # What it tells is of both turns together; whole pages of 64 tokens are taken up.
        check("the second turn goes on from the first", usage and usage[0]["cached_input_tokens"] > first - 64, usage)


def minefield(url, check):
    with tempfile.TemporaryDirectory() as folder:
        code, text = run([sys.executable, "-m", "minefield", "quick", "--base-url", url + "/v1"], folder)
        check("quick ends", code in (0, 1) and "COVERAGE" in text, text[-400:])
        problems = re.findall(r"^  ! (.*)", text.split("== CHECKED")[0], re.M)
        # Fields that nobody knows are let pass, as at OpenAI's own: its trap 77.
        check("problems", all("the request surface is unvalidated" in p for p in problems), problems)
        check("checked and clean", int((re.search(r"CHECKED AND CLEAN \((\d+)\)", text) or [0, 0])[1]) >= 5, text[:600])
