"""rowmax compare from outside: references that agree, differ or are none; two of them; ours with ours; servers."""
import http.server
import json
import math
import struct
import threading
import unittest
import zipfile

from command import GOLDEN, CommandTest

MODEL = GOLDEN / "llama_bias.gguf"
IDS = [5, 17, 99, 17, 130, 8, 1, 64]
TOKENS = ("--tokens", ",".join(map(str, IDS)))
EXACT = ("--activations", "f32", "--kv-type", "f32")


def read_safetensors(path):
    data = path.read_bytes()
    (n,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8:8 + n])
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        tensors[name] = [entry["shape"], list(struct.unpack(f"<{(end - begin) // 4}f", data[8 + n + begin:8 + n + end]))]
    return metadata, tensors


def write_safetensors(path, metadata, tensors):
    header, at, blob = {"__metadata__": metadata}, 0, b""
    for name, (shape, values) in tensors.items():
        raw = struct.pack(f"<{len(values)}f", *values)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + len(raw)]}
        at += len(raw)
        blob += raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + blob)


def npy(descr, shape, raw):
    """numpy.lib.format, version 1.0."""
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': ({', '.join(map(str, shape))},), }}".encode()
    text += b" " * (63 - (10 + len(text)) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + raw


class Dumps(CommandTest):
    def dump(self, name, *more, stages="all"):
        file = self.home / name
        self.output("dump", "-m", MODEL, *TOKENS, "--stages", stages, *EXACT, *more, file)
        return file

    def compare(self, code, *arguments):
        got, out, err = self.run_command("compare", "-m", MODEL, *arguments, "--json")
        self.assertEqual(got, code, f"{arguments}: {out[:500]} {err}")
        self.assertEqual(out.count("\n"), 1)
        return json.loads(out)


class CompareTest(Dumps):
    def test_the_same_numbers_agree(self):
        found = self.compare(0, "--reference", self.dump("a.safetensors"))
        self.assertEqual(found["verdict"], "pass")
        self.assertIsNone(found["first_divergence"])
        self.assertIsNone(found["replay"])
        self.assertGreater(found["n_compared"], 1000)

    def test_a_convention_is_named(self):
        for edit, stage in (("rope_base=500000", "q"), ("rope_pairing=halves", "q"), ("ffn_activation=gelu_tanh", "act"),
                            ("attention_scale=1", "scores"), ("rms_norm_eps=0.001", "attn_norm")):
            file = self.dump(edit + ".safetensors", "--convention", edit)
            found = self.compare(10, "--reference", file)
            self.assertEqual(found["first_divergence"]["stage"], stage, edit)
            self.assertEqual(found["replay"]["edit"], edit)
            self.assertLess(found["replay"]["residual"], 1e-5)
            self.assertGreater(found["n_compared"], 1000)
        for edit in ("attention_scale=0.2", "rope_base=23456"):  # on no list of known mistakes
            found = self.compare(10, "--reference", self.dump(edit + ".safetensors", "--convention", edit))
            self.assertEqual(found["replay"]["edit"], edit)
        code, out, _ = self.run_command("compare", "-m", MODEL, "--reference", file)
        self.assertEqual(code, 10)
        self.assertIn("theirs = ours with rms_norm_eps=0.001 in layers 0-", out)
        found = self.compare(10, "--reference", file, "--no-replay")
        self.assertIsNone(found["replay"])

    def test_npz(self):
        metadata, tensors = read_safetensors(self.dump("a.safetensors"))
        for method, code in ((zipfile.ZIP_STORED, 0), (zipfile.ZIP_DEFLATED, 4)):
            file = self.home / f"{code}.npz"
            with zipfile.ZipFile(file, "w", method) as archive:
                archive.writestr("tokens.npy", npy("<i8", [len(IDS)], struct.pack(f"<{len(IDS)}q", *IDS)))
                for name, (shape, values) in tensors.items():
                    archive.writestr(name + ".npy", npy("<f8", [1, *shape], struct.pack(f"<{len(values)}d", *values)))
            got, out, err = self.run_command("compare", "-m", MODEL, "--reference", file)
            self.assertEqual(got, code, out + err)
        self.assertIn("savez", err)

    def test_refusals(self):
        file = self.dump("a.safetensors")
        metadata, tensors = read_safetensors(file)
        bad = self.home / "bad.safetensors"
        self.fails(2, "compare", "-m", MODEL, "--reference", file, "--tokens", "5,17,98", says="the first difference is token 2")
        self.fails(2, "compare", "-m", MODEL, says="give one thing")
        self.fails(2, "compare", "-m", MODEL, "--reference", file, "--other-threads", 1, says="give one thing")
        self.fails(8, "compare", "-m", MODEL, "--reference", self.home / "none.safetensors")
        self.fails(2, "compare", "-m", MODEL, "--server", "http://localhost:1", *TOKENS, says="--plain-http")

        spoiled = {name: [shape, list(values)] for name, (shape, values) in tensors.items()}
        width = spoiled["blk.1.v"][0][1]
        spoiled["blk.1.v"][1][3 * width + 2] = math.nan
        write_safetensors(bad, metadata, spoiled)
        self.fails(6, "compare", "-m", MODEL, "--reference", bad, says="blk.1.v: number 2 of token 3 is NaN")

        again = dict(tensors)
        again["blk.0.residual"] = again["blk.1.residual"]
        write_safetensors(bad, metadata, again)
        self.fails(3, "compare", "-m", MODEL, "--reference", bad,
                   says="blk.0.residual and blk.1.residual hold the same bits")

        write_safetensors(bad, {k: v for k, v in metadata.items() if k != "tokens"}, tensors)
        self.fails(2, "compare", "-m", MODEL, "--reference", bad, says="token ids")
        self.output("compare", "-m", MODEL, "--reference", bad, *TOKENS)

        write_safetensors(bad, metadata, {"blk.0.residual": [[3, 8], [0.5] * 24]})
        self.fails(3, "compare", "-m", MODEL, "--reference", bad, says="a row for each of the 8 tokens")

    def test_nothing_to_compare_is_no_pass(self):
        file = self.home / "none.safetensors"
        write_safetensors(file, {"tokens": json.dumps(IDS)}, {"blk.0.residual": [[len(IDS), 3], [0.5] * 3 * len(IDS)]})
        found = self.compare(11, "--reference", file)
        self.assertEqual(found["n_compared"], 0)
        self.assertEqual(found["verdict"], "inconclusive")
        write_safetensors(file, {"tokens": json.dumps(IDS)}, {})
        self.assertEqual(self.compare(11, "--reference", file)["n_compared"], 0)

    def test_another_models_dump_is_warned_of(self):
        file = self.home / "other.safetensors"
        self.output("dump", "-m", GOLDEN / "llama3rope.gguf", *TOKENS, *EXACT, file)
        code, out, err = self.run_command("compare", "-m", MODEL, "--reference", file)
        self.assertIn(code, (10, 11))
        self.assertIn("another model file", err)
        # Before any figure: which model it says that it is of, and what differs.
        lines = out.splitlines()
        self.assertIn("other.safetensors", lines[0])
        self.assertIn("llama3rope.gguf", lines[1])
        head = lines[2:next(i for i, line in enumerate(lines) if not line.startswith("  ") and i > 1)]
        self.assertTrue(any("SHA-256" in line for line in head), out)
        theirs, ours = ({f["name"]: f["value"] for f in self.json("inspect", "-m", GOLDEN / f"{name}.gguf")["model"]["facts"]}
                        for name in ("llama3rope", "llama_bias"))
        for name in sorted(theirs.keys() & ours.keys()):
            line = f"  {name}: {theirs[name]} there, {ours[name]} here"
            self.assertEqual(line in head, theirs[name] != ours[name], line)
        found = self.compare(code, "--reference", file)
        self.assertIn("llama3rope", found["reference_model"])
        self.assertEqual(len(found["model_differences"]), len(head))
        self.assertEqual(self.compare(0, "--reference", self.dump("own.safetensors"))["model_differences"], [])

    def test_two_oracles(self):
        good, bad = self.dump("good.safetensors"), self.dump("bad.safetensors", "--convention", "rope_base=500000")
        found = self.compare(10, "--reference", good, "--reference", bad)
        self.assertEqual(found["verdict"], "pass")
        self.assertEqual(found["other"]["replay"]["edit"], "rope_base=500000")
        between = found["between_references"]
        self.assertEqual(between["first_divergence"]["stage"], "q")
        self.assertIn("good.safetensors agrees with ours there", between["text"])
        self.assertIn("bad.safetensors does not agree", between["text"])
        found = self.compare(0, "--reference", good, "--reference", good)
        self.assertIn("agree with each other", found["between_references"]["text"])

    def test_ours_with_ours(self):
        self.compare(0, *TOKENS, "--other-isa", "scalar", "-t", 2, "--other-threads", 1)
        found = self.compare(10, *TOKENS, "--other-convention", "rope_base=500000")
        self.assertEqual(found["first_divergence"]["stage"], "q")
        self.compare(0, *TOKENS, "--other-activations", "f32")  # its weights are floats
        self.compare(0, *TOKENS, "--other-model", MODEL)
        self.assertIn(self.run_command("compare", "-m", MODEL, *TOKENS, "--other-model", GOLDEN / "llama3rope.gguf")[0], (10, 11))


class Server:
    """Answers as llama.cpp does (/completion) or as OpenAI does (/v1/completions), with the logits of a dump."""

    def __init__(self, logits, n_vocab, api, echo=True):
        rows = [logits[i:i + n_vocab] for i in range(0, len(logits), n_vocab)]
        self.questions = []
        outer = self

        def logprobs(row):
            top = max(row)
            total = top + math.log(sum(math.exp(x - top) for x in row))
            return [x - total for x in row]

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.questions.append((self.path, question))
                answer = self.answer(question)
                self.send_response(200 if answer else 404)
                body = json.dumps(answer or {"error": "no such path"}).encode()
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def answer(self, question):
                prompt = question["prompt"]
                assert prompt == IDS[:len(prompt)]
                here = logprobs(rows[len(prompt) - 1])
                best = sorted(range(n_vocab), key=lambda i: -here[i])
                if self.path == "/completion" and api == "llama":
                    top = [{"id": i, "token": "?", "logprob": here[i]} for i in best[:question["n_probs"]]]
                    return {"completion_probabilities": [{"id": best[0], "logprob": here[best[0]], "top_logprobs": top}]}
                if self.path == "/v1/completions" and api == "openai":
                    if question.get("echo") and not echo:
                        return None
                    chain = [None] + [logprobs(rows[i - 1])[prompt[i]] for i in range(1, len(prompt))] + [here[best[0]]]
                    return {"choices": [{"text": "?", "logprobs": {"token_logprobs": chain}}]}
                return None

            def log_message(self, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class ServerTest(Dumps):
    def served(self, api, *more):
        _, tensors = read_safetensors(self.dump(f"{api}{len(more)}.safetensors", *more, stages="logits"))
        shape, logits = tensors["logits"]
        return Server(logits, shape[1], api)

    def test_servers(self):
        for api in ("llama", "openai"):
            with self.served(api) as server:
                found = self.compare(0, *TOKENS, "--server", server.url, "--plain-http", "--tolerance", "0.001")
                self.assertGreaterEqual(found["n_compared"], len(IDS) - 1, api)
                self.assertEqual(server.questions[-1][1]["prompt"], IDS)
            with self.served(api, "--convention", "rope_pairing=halves") as server:
                found = self.compare(10, *TOKENS, "--server", server.url, "--plain-http", "--tolerance", "0.001")
                self.assertEqual(found["replay"]["edit"], "rope_pairing=halves", api)
                self.assertEqual(found["first_divergence"]["stage"], "logits")
        self.fails(7, "compare", "-m", MODEL, *TOKENS, "--server", server.url, "--plain-http", says="127.0.0.1")


if __name__ == "__main__":
    unittest.main()
