"""Scores of documents: those that the states of `rowmax embed` give by the definition, in Jina's and Cohere's words."""
import json
import math
import struct
import sys
import tempfile
import unittest
from pathlib import Path

from server import PLAIN_MODEL, Server, ServerTest, run_command, together

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "cli"))
from gguf_bytes import Reader  # noqa: E402

WIDTH, QUERY = 40, "said each"
PAIR = "that {query} with {document} how"
DOCUMENTS = ["the other word", "a", "how said an each she", "{query}", "the " * 40, "a"]
ROWS = [[math.sin(7 * label + i * i % 97) * 0.7 for i in range(WIDTH)] for label in range(2)]


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def with_head(source, target):
    """The embedding model as a reranker: another pooling, two keys and a tensor more."""
    data = source.read_bytes()
    reader = Reader(data)
    reader.take("I"), reader.take("I")
    n_tensor, n_key, keys = reader.take("Q"), reader.take("Q"), b""
    for _ in range(n_key):
        begin, name = reader.at, reader.string()
        reader.skip(reader.take("I"))
        keys += data[begin:reader.at] if name != "qwen3.pooling_type" else text(name) + struct.pack("<II", 4, 4)
    keys += text("qwen3.classifier.output_labels") + struct.pack("<IIQ", 9, 8, 2) + text("yes") + text("no")
    keys += text("tokenizer.chat_template.rerank") + struct.pack("<I", 8) + text(PAIR)
    begin = reader.at
    for _ in range(n_tensor):
        reader.string()
        for _ in range(reader.take("I")):
            reader.take("Q")
        reader.take("I"), reader.take("Q")
    tensors, content = data[begin:reader.at], data[(reader.at + 31) // 32 * 32:]
    content += bytes(-len(content) % 32)
    tensors += text("cls.output.weight") + struct.pack("<IQQIQ", 2, WIDTH, 2, 0, len(content))
    content += struct.pack(f"<{2 * WIDTH}f", *ROWS[0], *ROWS[1])
    head = data[:8] + struct.pack("<QQ", n_tensor + 1, n_key + 2) + keys + tensors
    target.write_bytes(head + bytes(-len(head) % 32) + content)


class Rerank(ServerTest):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.MODEL = Path(cls.folder.name) / "rank.gguf"
        with_head(Path(PLAIN_MODEL).with_name("bitnet_embed_qwen3.gguf"), cls.MODEL)
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.folder.cleanup()

    def wanted(self, document):
        rendered = PAIR.replace("{document}", "\0").replace("{query}", QUERY).replace("\0", document)
        state = json.loads(run_command("embed", "-q", "-m", self.MODEL, "--pooling", "last", "--normalize", "none", rendered))["embedding"]
        # The numbers of both are floats.
        state, *rows = [struct.unpack(f"<{WIDTH}f", struct.pack(f"<{WIDTH}f", *row)) for row in (state, *ROWS)]
        yes, no = (math.fsum(w * x for w, x in zip(row, state)) for row in rows)
        return 1 / (1 + math.exp(no - yes))

    def rerank(self, **more):
        return self.server.post("/v1/rerank", {"model": "x", "query": QUERY, "documents": DOCUMENTS, **more})

    def test_scores_are_the_states_by_definition(self):
        got = self.good(self.rerank())
        scores = {result["index"]: result["relevance_score"] for result in got["results"]}
        for i, document in enumerate(DOCUMENTS):
            self.assertAlmostEqual(scores[i], self.wanted(document), delta=1e-12, msg=document)
        self.assertGreater(max(scores.values()) - min(scores.values()), 0.01)
        order = sorted(range(len(DOCUMENTS)), key=lambda i: (-scores[i], i))
        self.assertEqual([result["index"] for result in got["results"]], order)
        self.assertEqual(scores[1], scores[5])
        self.assertEqual(set(got["results"][0]), {"index", "relevance_score"})
        tokens = sum(len(self.good(self.server.post("/tokenize", {"content": PAIR.replace("{document}", document).replace("{query}", QUERY)
                     if "{" not in document else f"that {QUERY} with {document} how"}))["tokens"]) for document in DOCUMENTS)
        self.assertEqual(got["usage"], {"prompt_tokens": tokens, "total_tokens": tokens})
        self.assertEqual(got["meta"]["tokens"]["input_tokens"], tokens)

    def test_the_forms_of_requests(self):
        whole = self.good(self.rerank())["results"]
        got = self.good(self.rerank(documents=[{"text": d} for d in DOCUMENTS], top_n=2, return_documents=True))["results"]
        self.assertEqual([{k: r[k] for k in ("index", "relevance_score")} for r in got], whole[:2])
        self.assertEqual([r["document"] for r in got], [{"text": DOCUMENTS[r["index"]]} for r in got])
        self.assertEqual(self.good(self.rerank(top_n=100))["results"], whole)
        self.assertEqual(self.good(self.server.post("/rerank", {"query": QUERY, "documents": DOCUMENTS}))["results"], whole)
        self.refused(self.rerank(documents=["the " * 9000]), 400, "documents[0]")

    def test_the_same_alone_and_among_others(self):
        alone = [self.good(self.rerank(documents=[d]))["results"][0]["relevance_score"] for d in DOCUMENTS]
        for answer in together([self.rerank] * 6):
            for result in self.good(answer)["results"]:
                self.assertEqual(result["relevance_score"], alone[result["index"]])

    def test_other_models_have_no_scores(self):
        with Server() as server:
            error = self.refused(server.post("/v1/rerank", {"query": "a", "documents": ["b"]}), 501, "model", "cls.output.weight")
            self.assertEqual(error["code"], "not_supported")


if __name__ == "__main__":
    unittest.main()
