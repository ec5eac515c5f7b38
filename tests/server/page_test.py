"""The web page as it is served: its files, headers, and that its parts fit each other. What a browser makes of it is browser_test.py's."""
import html.parser
import re
import unittest

from server import Server, ServerTest

SCRIPTS = ("page", "api", "chat", "markdown", "tokens", "attention")
FILES = {"/": "text/html", "/page/page.css": "text/css", "/page/icon.svg": "image/svg+xml",
         **{f"/page/{name}.js": "text/javascript" for name in SCRIPTS}}


class Page(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.ids, self.elements, self.text_in_scripts = [], [], ""
        self.inside = None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.ids += [value for name, value in attributes if name == "id"]
        self.inside = tag

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, data):
        if self.inside in ("script", "style"):
            self.text_in_scripts += data


def policy_of(answer):
    parts = [part.split() for part in answer.headers["Content-Security-Policy"].split(";") if part.strip()]
    return {name: values for name, *values in parts}


class Served(ServerTest):
    def text(self, path):
        answer = self.server.get(path)
        self.assertEqual(answer.status, 200, path)
        return answer.body.decode()

    def test_files_and_headers(self):
        for path, kind in FILES.items():
            answer = self.server.get(path)
            self.assertEqual(answer.status, 200, path)
            self.assertEqual(answer.headers["Content-Type"].split(";")[0], kind)
            self.assertEqual(answer.headers["X-Content-Type-Options"], "nosniff")
            self.assertEqual(answer.headers["X-Frame-Options"], "DENY")
            self.assertEqual(answer.headers["Referrer-Policy"], "no-referrer")
            policy = policy_of(answer)
            self.assertEqual(policy["default-src"], ["'none'"])
            for name in ("script-src", "style-src", "img-src", "connect-src"):
                self.assertEqual(policy[name], ["'self'"], "nothing inline, nothing from elsewhere")
            for name in ("frame-ancestors", "base-uri", "form-action", "trusted-types"):
                self.assertEqual(policy[name], ["'none'"])
            self.assertEqual(policy["require-trusted-types-for"], ["'script'"])
            head = self.server.request("HEAD", path)
            self.assertEqual((head.status, head.body), (200, b""))
            self.assertEqual(int(head.headers["Content-Length"]), len(answer.body))
        self.refused(self.server.get("/page/other.js"), 404)
        self.refused(self.server.get("/page/../page.js"), 404)
        refused = self.server.post("/", {})
        self.refused(refused, 405)
        self.assertEqual(refused.headers["Allow"], "GET, HEAD")

    def test_every_id_that_a_script_asks_for_is_there(self):
        page = Page(self.text("/"))
        self.assertEqual(len(page.ids), len(set(page.ids)), "ids are there once")
        asked = set()
        for name in SCRIPTS:
            script = self.text(f"/page/{name}.js")
            asked |= set(re.findall(r"(?:find|getElementById)\(\"([\w-]+)\"\)", script))
            for listed in re.findall(r"const k(?:Numbers|Texts) = \[([^\]]*)\]", script):
                asked |= {"set-" + field for field in re.findall(r'"(\w+)"', listed)}
        self.assertGreater(len(asked), 30)
        self.assertEqual(asked - set(page.ids), set())
        for tag, attributes in page.elements:
            for name in ("for", "aria-controls", "aria-labelledby"):
                if name in attributes:
                    self.assertIn(attributes[name], page.ids)
            if tag in ("input", "select", "textarea", "button"):
                self.assertTrue("id" in attributes or "value" in attributes, attributes)

    def test_nothing_inline_and_nothing_from_elsewhere(self):
        page = Page(self.text("/"))
        self.assertEqual(page.text_in_scripts.strip(), "")
        for tag, attributes in page.elements:
            for name, value in attributes.items():
                self.assertFalse(name == "style" or name.startswith("on"), (tag, name))
                if name in ("src", "href"):
                    self.assertTrue(value in FILES or value.startswith("#"), value)
        for path in FILES:
            text = self.text(path).replace('xmlns="http://www.w3.org/2000/svg"', "")
            self.assertNotRegex(text, r"https?://[a-z]", path)
            self.assertNotRegex(text, r"@import|url\(", path)
        for name in SCRIPTS:
            script = self.text(f"/page/{name}.js")
            self.assertNotRegex(script, r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|srcdoc|\beval\(|new Function|"
                                        r"setAttribute\(\"(?:style|on)", name)
            for imported in re.findall(r'from "([^"]+)"', script):
                self.assertIn(imported.replace("./", "/page/"), FILES)

    def test_size(self):
        self.assertLess(sum(len(self.server.get(path).body) for path in FILES), 96 << 10, "a small page")


class Access(unittest.TestCase):
    def test_the_page_asks_for_the_key_itself(self):
        with Server("--api-key", "a-good-key") as server:
            for path in FILES:
                self.assertEqual(server.get(path).status, 200, path)
            self.assertEqual(server.get("/v1/models").status, 401)
            self.assertEqual(server.post("/rowmax/attention", {"prompt": "a"}).status, 401)

    def test_foreign_names_are_refused_here_too(self):
        with Server() as server:
            self.assertEqual(server.get("/", headers={"Host": "evil.example.org"}).status, 403)
            self.assertEqual(server.get("/", headers={"Origin": "http://evil.example.org"}).status, 403)

    def test_it_can_be_left_out(self):
        with Server("--no-web") as server:
            for path in FILES:
                self.assertEqual(server.get(path).status, 404, path)
            self.assertEqual(server.get("/v1/models").status, 200)


if __name__ == "__main__":
    unittest.main()
