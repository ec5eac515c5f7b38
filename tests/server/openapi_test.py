"""GET /openapi.json: each route of the server is in it, each field that the sources read, and what it says holds."""
import re
import unittest
from pathlib import Path

from server import ServerTest

SOURCES = Path(__file__).resolve().parents[2] / "apps" / "server"
READ = re.compile(r'\b(?:boolean|integer|number|string|array|object|any|needed_string|needed_array)\(\s*(?:SamplingField::\w+,\s*)?"(\w+)"')
ROUTE = re.compile(r'^\s*\{"(GET|POST)", "(/[^"]*)", \w+(?:, true)?\},', re.M)


def property_names(value):
    """All names under "properties", wherever they stand."""
    if isinstance(value, list):
        return {name for each in value for name in property_names(each)}
    if not isinstance(value, dict):
        return set()
    found = set(value["properties"]) if isinstance(value.get("properties"), dict) else set()
    return found | {name for each in value.values() for name in property_names(each)}


class OpenApi(ServerTest):
    FLAGS = ("--pooling", "last")

    def setUp(self):
        self.document = self.good(self.server.get("/openapi.json"))

    def test_routes(self):
        written = {(method.upper(), path.replace("{id}", "*")) for path, item in self.document["paths"].items() for method in item}
        routes = set(ROUTE.findall((SOURCES / "routes.cc").read_text()))
        self.assertGreater(len(routes), 15)
        self.assertEqual(written, routes | {("GET", "/health"), ("GET", "/ready"), ("GET", "/metrics")})
        for method, path in written:
            answer = self.server.request(method, path.replace("*", "stories"), {} if method == "POST" else None)
            self.assertIn(answer.status, (200,) if method == "GET" else (200, 400, 501), path)
            self.assertIn(answer.headers["Content-Type"].split(";")[0],
                          [*self.operation(method, path)["responses"]["200"]["content"], "application/json"], path)

    def operation(self, method, path):
        return self.document["paths"][path.replace("*", "{id}")][method.lower()]

    def test_fields(self):
        read = {}
        for source in SOURCES.glob("*.cc"):
            if not source.name.endswith(("_test.cc", "_fuzz.cc", "fields.cc")):
                read.update({name: source.name for name in READ.findall(source.read_text())})
        self.assertGreater(len(read), 60)
        missing = {name: source for name, source in read.items() if name not in property_names(self.document)}
        self.assertEqual(missing, {})

    def test_types_and_ranges(self):
        """A value of another type than the document says, or beyond its range, is a 400 that names the field."""
        good = {"/v1/completions": {"prompt": "a", "max_tokens": 1}, "/tokenize": {"content": "a"}, "/detokenize": {"tokens": [1]},
                "/v1/chat/completions": {"messages": [{"role": "user", "content": "a"}], "max_tokens": 1}, "/v1/embeddings": {"input": "a"}}
        n = 0
        for path, body in good.items():
            schema = self.operation("POST", path)["requestBody"]["content"]["application/json"]["schema"]
            self.good(self.server.post(path, body))
            for name, field in schema["properties"].items():
                if name not in schema.get("required", []) and field:
                    self.good(self.server.post(path, {**body, name: None}) if name not in body else self.server.post(path, body))
                    self.assertEqual(field["anyOf"][1], {"type": "null"}, name)
                    field = field["anyOf"][0]
                wrong = []
                if field.get("type") in ("integer", "number"):
                    wrong += ["a", [], True]
                    wrong += [field["minimum"] - 1] if "minimum" in field else []
                    wrong += [field["maximum"] + 1] if "maximum" in field else []
                elif field.get("type") in ("string", "boolean", "object", "array"):
                    wrong += [17]
                for value in wrong:
                    answer = self.server.post(path, {**body, name: value})
                    self.assertEqual(answer.status, 400, (path, name, value, answer.body[:200]))
                    self.assertIn(name, answer.json["error"]["message"])
                    n += 1
            for name in schema.get("required", []):
                answer = self.server.post(path, {k: v for k, v in body.items() if k != name})
                self.assertEqual(answer.status, 400, (path, name))
        self.assertGreater(n, 60)

    def test_rerank(self):
        """No score is made up."""
        body = {"query": "a", "documents": ["b", {"text": "c"}], "top_n": 1}
        for path in ("/v1/rerank", "/rerank"):
            self.assertIn("cls.output.weight", self.refused(self.server.post(path, body), 501)["message"])
        self.refused(self.server.post("/rerank", {"documents": ["b"]}), 400, says="query")
        self.refused(self.server.post("/rerank", {**body, "documents": []}), 400, says="documents")
        self.refused(self.server.post("/rerank", {**body, "documents": [1]}), 400, says="documents")
        self.refused(self.server.post("/rerank", {**body, "top_n": 0}), 400, says="top_n")


if __name__ == "__main__":
    unittest.main()
