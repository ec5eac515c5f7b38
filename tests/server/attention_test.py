"""POST /rowmax/attention: weights are what the definition says (fp64, here), bit for bit those of `rowmax dump`, and bounded."""
import json
import math
import os
import socket
import struct
import subprocess
import tempfile
import unittest
from pathlib import Path

from server import PLAIN_MODEL, PROGRAM, SLOW_MODEL, Server, ServerTest, environment, run_command, together

GOLDEN = Path(PLAIN_MODEL).parent
MOST_WEIGHTS = 1 << 17


def dump(model, ids, stages):
    """{name: [rows of floats]} of `rowmax dump`."""
    with tempfile.TemporaryDirectory() as home:
        file = os.path.join(home, "out.safetensors")
        subprocess.run([PROGRAM, "dump", "-q", "-m", model, "--tokens", ",".join(map(str, ids)), "--stages", stages, file],
                       check=True, capture_output=True, env=environment(home), stdin=subprocess.DEVNULL)
        data = Path(file).read_bytes()
    n = struct.unpack("<Q", data[:8])[0]
    header, data = json.loads(data[8:8 + n]), data[8 + n:]
    rows = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        values = struct.unpack(f"<{(end - begin) // 4}f", data[begin:end])
        width = entry["shape"][1]
        rows[name] = [values[at:at + width] for at in range(0, len(values), width)]
    return rows


def stored(value):
    """As the cache holds keys."""
    return struct.unpack("<e", struct.pack("<e", value))[0]


def rounded(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def weights_by_definition(q, keys, head_dim, n_head, n_kv_head, head, window):
    """softmax(q k / sqrt(d)) over the keys that a window (0: none) leaves, in fp64; and a bound of what f32 may make of it."""
    position = len(keys) - 1
    query = q[head * head_dim:(head + 1) * head_dim]
    group = head // (n_head // n_kv_head) * head_dim
    scores, size = [], 0.0
    for key in keys:
        products = [a * stored(b) for a, b in zip(query, key[group:group + head_dim])]
        scores.append(sum(products) / math.sqrt(head_dim))
        size = max(size, sum(map(abs, products)) / math.sqrt(head_dim))
    seen = [i for i in range(len(keys)) if window == 0 or position - i < window]
    largest = max(scores[i] for i in seen)
    shares = {i: math.exp(scores[i] - largest) for i in seen}
    total = sum(shares.values())
    return [shares.get(i, 0.0) / total for i in range(len(keys))], 2e-6 + 2.0 ** -23 * (head_dim + 8) * size


class Attention(ServerTest):
    def ask(self, server=None, **body):
        return (server or self.server).post("/rowmax/attention", body)

    def test_weights_are_those_of_the_definition(self):
        text = "Once upon a time there was a girl named Lily. She had a red ball and a small dog."
        ids = self.good(self.server.post("/tokenize", {"content": text, "add_special": True}))["tokens"]
        shape = json.loads(run_command("inspect", "-m", "stories", "--json"))["model"]["shape"]
        n_head, n_kv_head, head_dim = (shape[name] for name in ("n_head", "n_kv_head", "head_dim"))
        rows = dump("stories", ids, "q,k")
        compared = 0
        for position in (0, 1, len(ids) // 2, len(ids) - 1):
            answer = self.good(self.ask(tokens=ids, position=position))
            self.assertEqual(answer["position"], position)
            for layer in answer["layers"]:
                self.assertEqual(layer["heads"], list(range(n_head)))
                self.assertEqual(len(layer["weights"]), n_head)
                for head, weights in enumerate(layer["weights"]):
                    self.assertEqual(len(weights), position + 1)
                    self.assertAlmostEqual(sum(weights), 1, delta=1e-5)
                    want, bound = weights_by_definition(rows[f"blk.{layer['layer']}.q"][position],
                                                        rows[f"blk.{layer['layer']}.k"][:position + 1],
                                                        head_dim, n_head, n_kv_head, head, 0)
                    for got, right in zip(weights, want):
                        self.assertAlmostEqual(got, right, delta=bound)
                        compared += 1
            self.assertEqual(len(answer["layers"]), shape["n_layer"])
        self.assertGreater(compared, 500)

    def test_windows_sinks_and_layers_without_attention(self):
        """Bit for bit what `rowmax dump` writes, which has its own tests; after the cache was filled, too."""
        ids = [3 + i % 90 for i in range(100)]
        for name, sums in (("gemma3", True), ("qwen35", True), ("gptoss", False), ("deepseek2_v3", True)):
            model = str(GOLDEN / (name + ".gguf"))
            rows = {key: value for key, value in dump(model, ids, "scores").items() if key.endswith(".scores")}
            with Server(model=model, template=False) as server:
                for position in (len(ids) - 1, 70, 70, 0):
                    answer = self.good(self.ask(server, tokens=ids, position=position))
                    self.assertEqual({f"blk.{layer['layer']}.scores" for layer in answer["layers"]}, set(rows), name)
                    for layer in answer["layers"]:
                        row = rows[f"blk.{layer['layer']}.scores"][position]
                        for head, weights in enumerate(layer["weights"]):
                            want = row[head * len(ids):head * len(ids) + position + 1]
                            self.assertEqual([rounded(w) for w in weights], list(want), (name, layer["layer"], head))
                            if sums:
                                self.assertAlmostEqual(sum(weights), 1, delta=1e-5)
                            else:
                                self.assertLess(sum(weights), 1)
                with_none = next((i for i in range(99) if f"blk.{i}.scores" not in rows), None)
                if name == "qwen35":
                    self.refused(self.ask(server, tokens=ids, layers=[with_none]), 400, "layers", "with attention (3")

    def test_reductions_and_the_overview(self):
        ids = self.good(self.server.post("/tokenize", {"content": "A cat sat on the mat.", "add_special": True}))["tokens"]
        whole = self.good(self.ask(tokens=ids, key=2))
        n = len(ids)
        self.assertEqual(whole["position"], n - 1)
        self.assertEqual(len(whole["overview"]), len(whole["layers"]))
        for layer, overview in zip(whole["layers"], whole["overview"]):
            self.assertEqual(layer["layer"], overview["layer"])
            for head, weights in enumerate(layer["weights"]):
                self.assertEqual(overview["largest"][head], max(weights))
                self.assertEqual(overview["largest_at"][head], weights.index(max(weights)))
                self.assertEqual(overview["key"][head], weights[2])
                self.assertAlmostEqual(overview["effective"][head], sum(weights) ** 2 / sum(w * w for w in weights), 5)
            heads = [2, 0]
            for how, make in (("mean", lambda w: sum(w) / len(w)), ("max", max)):
                reduced = self.good(self.ask(tokens=ids, layers=[layer["layer"]], heads=heads, reduce=how))["layers"]
                self.assertEqual([(r["layer"], r["heads"]) for r in reduced], [(layer["layer"], heads)])
                want = [make([layer["weights"][h][i] for h in heads]) for i in range(n)]
                for got, right in zip(reduced[0]["weights"][0], want):
                    self.assertAlmostEqual(got, right, delta=1e-7)
            picked = self.good(self.ask(tokens=ids, layers=[layer["layer"]], heads=heads))["layers"][0]
            self.assertEqual(picked["weights"], [layer["weights"][h] for h in heads])
        none = self.good(self.ask(tokens=ids, layers=[]))
        self.assertEqual((none["layers"], len(none["overview"])), ([], len(whole["overview"])))
        self.assertNotIn("key", none["overview"][0])

    def test_where_tokens_come_from(self):
        text = "A dog ran."
        ids = self.good(self.server.post("/tokenize", {"content": text, "add_special": True}))["tokens"]
        messages = [{"role": "user", "content": text}]
        chat = self.good(self.server.post("/apply-template", {"messages": messages, "with_pieces": True}))
        for body, want in (({"prompt": text}, ids), ({"tokens": ids}, ids),
                           ({"messages": messages}, [token["id"] for token in chat["tokens"]])):
            answer = self.good(self.ask(**body))
            self.assertEqual(answer["tokens"], want)
            self.assertEqual(len(answer["pieces"]), len(want))
        self.assertEqual(answer["pieces"], [token["piece"] for token in chat["tokens"]])
        # Negative positions count from the end; what lies behind the position does not matter.
        early = self.good(self.ask(tokens=ids, position=2))
        self.assertEqual(self.good(self.ask(tokens=ids[:3]))["layers"], early["layers"])
        self.assertEqual(self.good(self.ask(tokens=ids, position=2 - len(ids)))["layers"], early["layers"])

    def test_tokens_of_answers_have_their_ids(self):
        """So that a client can look at what was written, not at what its text would be cut into again."""
        body = {"prompt": "Once upon a time", "max_tokens": 8, "temperature": 0, "logprobs": 1}
        logprobs = self.good(self.server.post("/v1/completions", body))["choices"][0]["logprobs"]
        self.assertEqual(self.good(self.server.post("/detokenize", {"tokens": logprobs["token_ids"]}))["content"].strip(),
                         "".join(logprobs["tokens"]).strip())
        chat = {"messages": [{"role": "user", "content": "a fox"}], "max_tokens": 8, "logprobs": True, "top_logprobs": 2}
        tokens = self.good(self.server.post("/v1/chat/completions", chat))["choices"][0]["logprobs"]["content"]
        for token in tokens:
            for each in (token, *token["top_logprobs"]):
                both = self.good(self.server.post("/detokenize", {"tokens": [tokens[0]["id"], each["id"]]}))["content"]
                self.assertEqual(both, (bytes(tokens[0]["bytes"]) + bytes(each["bytes"])).decode(errors="replace"))

    def test_bounds(self):
        n_vocab = self.good(self.server.get("/v1/models"))["data"][0]["meta"]["n_vocab"]
        for body, param, says in [
                ({}, "tokens", "found 0"), ({"tokens": [1], "prompt": "a"}, "tokens", "found 2"),
                ({"tokens": []}, "tokens", "at least one"), ({"tokens": [n_vocab]}, "tokens", "found"),
                ({"tokens": [-1]}, "tokens", "token ids 0 to"), ({"tokens": "1"}, "tokens", "an array"),
                ({"tokens": [1, 2], "position": 2}, "position", "from -2 to 1"),
                ({"tokens": [1, 2], "position": -3}, "position", "from -2 to 1"),
                ({"tokens": [1, 2], "position": 0.5}, "position", "found"),
                ({"tokens": [1, 2], "position": 0, "key": 1}, "key", "from 0 to 0"),
                ({"tokens": [1], "layers": [999]}, "layers", "999"), ({"tokens": [1], "layers": [0, 0]}, "layers", ", found 0 twice"),
                ({"tokens": [1], "heads": [1, 0, 1]}, "heads", ", found 1 twice"),
                ({"tokens": [1], "layers": 3}, "layers", "an array"), ({"tokens": [1], "heads": [999]}, "heads", "999"),
                ({"tokens": [1], "heads": []}, "heads", "found"), ({"tokens": [1], "heads": [-1]}, "heads", "found"),
                ({"tokens": [1], "reduce": "sum"}, "reduce", "\"mean\""), ({"tokens": [1], "reduce": 1}, "reduce", "a string"),
                ({"messages": []}, "messages", ""), ({"prompt": 3}, "prompt", "a string")]:
            self.refused(self.ask(**body), 400, param, says)
        self.assertEqual(self.server.get("/rowmax/attention").status, 405)
        context = self.good(self.server.get("/v1/models"))["data"][0]["max_model_len"]
        self.refused(self.ask(tokens=[5] * (context + 1)), 400, "tokens", "does not fit")

    def test_an_answer_has_so_many_weights_and_no_more(self):
        """What can be counted beforehand is not computed (a prompt of this length would take a while)."""
        with Server("--ctx", 40000, model=SLOW_MODEL, template=False) as server:
            body = {"tokens": [5] * (MOST_WEIGHTS // 8 + 1), "layers": [0, 1, 2, 3], "heads": [0, 1]}
            self.refused(self.ask(server, **body), 400, "layers", f"at most {MOST_WEIGHTS} weights, found {MOST_WEIGHTS + 8}")
            self.assertEqual(server.metric("requests_submitted_total"), 0)

    def test_beside_generations(self):
        """Answers are the same with looks beside them, and looks with answers beside them."""
        prompt = "Once upon a time there was a little boat."
        look = self.good(self.ask(prompt=prompt))["layers"]
        body = {"prompt": prompt, "max_tokens": 30}
        text = self.good(self.server.post("/v1/completions", body))["choices"][0]["text"]
        calls = [lambda i=i: self.server.post("/v1/completions", body) if i % 2 else self.ask(prompt=prompt) for i in range(16)]
        for i, answer in enumerate(together(calls)):
            if i % 2:
                self.assertEqual(self.good(answer)["choices"][0]["text"], text)
            else:
                self.assertEqual(self.good(answer)["layers"], look)

    def test_who_goes_is_not_waited_for(self):
        with Server("--ctx", 4096, model=SLOW_MODEL, template=False) as server:
            body = json.dumps({"tokens": [5] * 4000}).encode()
            with socket.create_connection((server.host, server.port)) as client:
                client.sendall(b"POST /rowmax/attention HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                server.wait_for(lambda: server.metric("requests_running") == 1, 60)
            server.wait_for(lambda: server.metric("requests_cancelled_total") == 1, 60)
            self.assertEqual(server.metric("requests_running"), 0)


if __name__ == "__main__":
    unittest.main()
