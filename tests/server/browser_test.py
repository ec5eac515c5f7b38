"""The web page in Chromium: what a person does with mouse and keyboard, judged by the server's own API; and hostile text.

PICTURES=FOLDER keeps pictures of the page there."""
import json
import math
import os
import re
import sys
import unittest
from pathlib import Path

from browser import Browser, Tab, find_browser
from server import SLOW_MODEL, Server

HOSTILE = """<img src=x onerror=alert(1)> [a](javascript:alert(1)) ![p](http://192.0.2.1/p.png) <script>alert(2)</script>"""
MORE_HOSTILE = [
    HOSTILE, "[x](JaVaScRiPt:alert(1))", "[x](data:text/html,<script>alert(1)</script>)", "[x](vbscript:x) [y](file:///etc/passwd)",
    "<svg/onload=alert(1)>", "`<img src=x onerror=alert(1)>`", "```html\n<script>alert(1)</script>\n```", "<iframe srcdoc='<script>alert(1)</script>'>",
    "[<img src=x onerror=alert(1)>](http://192.0.2.1/)", "| <b onmouseover=alert(1)>x</b> |\n|-|\n| <img src=x onerror=alert(1)> |",
    "[a](\"onmouseover=alert(1))", "<a href='javascript:alert(1)'>x</a>", "<style>*{display:none}</style><base href=//192.0.2.1>",
    "**<object data=x>**", "# <math><mtext></mtext><script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt; &#60;img&#62;",
    "http://192.0.2.1/\"onmouseover=\"alert(1)", "[x](http://192.0.2.1/?a=<script>)", "javascript:alert(1)", "\u202e<img src=x onerror=alert(1)>\u0000",
]
# Requests of the page, with more in them: so the model must write what a test wants.
FORCE = """
const plain = window.fetch;
window.forced = {};
window.fetch = (path, options) => {
  if (options?.body && /completions/.test(path)) options.body = JSON.stringify({...JSON.parse(options.body), ...window.forced});
  return plain(path, options);
};"""
DONE = "document.getElementById('stop').hidden && document.querySelector('.message.last .figures')?.textContent.includes('tokens/s')"
PICTURES = os.environ.get("PICTURES")


def skip(why):
    print(f"skipped: {why}")
    sys.exit(77)


class PageTest(unittest.TestCase):
    FLAGS = ("--seed", 5)
    TEMPLATE = True

    @classmethod
    def setUpClass(cls):
        cls.server = Server(*cls.FLAGS, template=cls.TEMPLATE)

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.server.forget()

    def open(self, **how):
        self.tab = Tab(browser, self.server.addresses[0] + "/", **how)
        return self.tab

    def tearDown(self):
        """No test leaves an error behind, or anything that was asked of anybody else."""
        if not hasattr(self, "tab"):
            return
        for thrown in self.tab.events("Runtime.exceptionThrown"):
            self.fail(json.dumps(thrown)[:600])
        for entry in self.tab.events("Log.entryAdded"):
            # Answers that are errors are shown as such by the page; the browser says so, too.
            self.assertEqual(entry["entry"]["source"], "network", entry)
        for request in self.tab.events("Network.requestWillBeSent"):
            if request["request"]["url"] != "about:blank":
                self.assertTrue(request["request"]["url"].startswith(self.server.addresses[0] + "/"), request["request"]["url"])
        self.assertEqual(self.tab.events("Page.javascriptDialogOpening"), [])

    def ask(self, text, wait=True):
        self.tab.value("document.getElementById('input').focus()")
        self.tab.type(text)
        self.tab.key("Enter")
        if wait:
            self.tab.wait(DONE)

    def set(self, name, value):
        """As if it were typed."""
        self.tab.value(f"(() => {{ const e = document.getElementById('set-{name}'); e.value = {json.dumps(str(value))};"
                       " e.dispatchEvent(new Event('input', {bubbles: true})); })()")

    def last_text(self):
        return self.tab.value("document.querySelector('.message.last > .text').textContent")

    def answer(self, messages, **more):
        reply = self.server.post("/v1/chat/completions", {"messages": messages, **more})
        self.assertEqual(reply.status, 200, reply.body)
        return reply.json["choices"][0]

    def picture(self, name):
        if PICTURES:
            self.tab.picture(Path(PICTURES) / (name + ".png"))


def squeezed(text):
    """Without spaces: paragraphs have none between them."""
    return re.sub(r"\s+", "", text)


def escaped(text):
    return re.sub(r"([.^$*+?()\[\]{}|\\/])", r"\\\1", text)


class Chatting(PageTest):
    def test_an_answer_is_the_servers(self):
        self.open()
        self.set("max_tokens", 40)
        self.set("temperature", 0.7)
        self.ask("a story about a fox")
        asked = {"max_tokens": 40, "temperature": 0.7, "seed": 5}
        first = [{"role": "user", "content": "a story about a fox"}]
        want = self.answer(first, **asked)["message"]["content"]
        self.assertEqual(squeezed(self.last_text()), squeezed(want))
        figures = self.tab.value("document.querySelector('.message.last .figures').textContent")
        self.assertRegex(figures, r"\d+ prompt tokens \(\d+ from the cache, \d+ computed\) · 40 written · [\d.]+ tokens/s · first after .+ · cut .+ · seed 5")
        # What the server does by itself is shown where nothing was set.
        self.assertEqual(self.tab.value("document.getElementById('set-top_p').placeholder"), "0.95")
        # Again: the next seed.
        self.tab.click(".message.last .actions button", 2)
        self.tab.wait("document.querySelector('.message.last .figures').textContent.includes('seed 6')")
        self.tab.wait(DONE)
        again = self.answer(first, **{**asked, "seed": 6})["message"]["content"]
        self.assertEqual(squeezed(self.last_text()), squeezed(again))
        self.assertNotEqual(again, want)
        # A second question goes with what was said before.
        self.ask("and a dog")
        both = [*first, {"role": "assistant", "content": again}, {"role": "user", "content": "and a dog"}]
        self.assertEqual(squeezed(self.last_text()), squeezed(self.answer(both, **asked)["message"]["content"]))
        # The first message is edited: what came behind it is gone.
        self.tab.click(".message .actions button", 1)
        self.tab.value("document.querySelector('.edit textarea').select()")
        self.tab.type("a story about a bear")
        self.tab.key("Enter", modifiers=2)
        self.tab.wait("document.querySelectorAll('.message').length === 2 && " + DONE)
        bear = [{"role": "user", "content": "a story about a bear"}]
        self.assertEqual(squeezed(self.last_text()), squeezed(self.answer(bear, **asked)["message"]["content"]))
        # A system prompt is a message in front.
        self.set("system", "Be kind.")
        self.tab.click("#new")
        self.ask("a cow")
        kind = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "a cow"}]
        self.assertEqual(squeezed(self.last_text()), squeezed(self.answer(kind, **asked)["message"]["content"]))

    def test_tokens_and_their_alternatives(self):
        self.open()
        self.set("max_tokens", 20)
        self.ask("a story about a fox")
        want = self.answer([{"role": "user", "content": "a story about a fox"}], max_tokens=20, seed=5, logprobs=True, top_logprobs=5)
        tokens = want["logprobs"]["content"]
        self.tab.click(".message.last .actions button", 3)
        self.assertEqual(self.tab.value("document.querySelector('.message.last .tokens').textContent"),
                         want["message"]["content"].replace("\n", "↵\n"))
        self.assertEqual(self.tab.value("document.querySelectorAll('.message.last .token').length"), len(tokens))
        for at in (0, 7, 19):
            self.tab.hover(".message.last .token", at)
            self.tab.wait("!document.getElementById('popup').hidden")
            shown = self.tab.value("[...document.querySelectorAll('#popup .alternative')].map((e) => [e.className, e.children[0].textContent, e.children[2].textContent])")
            chosen = [row for row in shown if "chosen" in row[0]]
            self.assertEqual(len(chosen), 1)
            share = 100 * math.exp(tokens[at]["logprob"])
            self.assertAlmostEqual(float(chosen[0][2].split()[-2]), share, delta=0.06)
            others = {t["token"] for t in tokens[at]["top_logprobs"]} | {tokens[at]["token"]}
            self.assertEqual({row[1] for row in shown}, {"“" + t.replace(" ", "·").replace("\n", "↵") + "”" for t in others})
        self.picture("tokens")
        # With the keyboard.
        self.tab.value("document.querySelector('.message.last .tokens').focus()")
        self.tab.key("Home")
        self.tab.key("ArrowRight")
        self.assertEqual(self.tab.value("[...document.querySelectorAll('.message.last .token')].findIndex((e) => e.classList.contains('active'))"), 1)
        self.tab.key("Enter")
        self.tab.wait("document.querySelectorAll('#attention-list li').length > 0")

    def test_stop_and_colours_and_narrow_screens(self):
        self.open(width=390, height=760)
        for _ in range(3):
            for panel in (None, "settings", "attention"):
                self.tab.value(f"for (const p of ['settings', 'attention']) document.getElementById(p).hidden = p !== {json.dumps(panel)}")
                self.assertLessEqual(self.tab.value("document.documentElement.scrollWidth"), 390, panel)
            self.tab.value("for (const p of ['settings', 'attention']) document.getElementById(p).hidden = true")
            self.tab.click("#theme")
        back = "getComputedStyle(document.body).backgroundColor"
        light = self.tab.value(back)
        self.tab.prefer(True)
        dark = self.tab.value(back)
        self.assertNotEqual(light, dark)
        self.tab.click("#theme")  # light, whatever the system says
        self.assertEqual(self.tab.value(back), light)
        self.tab.click("#theme")
        self.assertEqual(self.tab.value(back), dark)
        # Settings are there again after a reload, and open and close with the keyboard.
        self.set("temperature", 0.25)
        self.tab.call("Page.reload")
        self.tab.wait("document.readyState === 'complete' && document.getElementById('set-temperature')?.value === '0.25'")
        self.assertEqual(self.tab.value(back), dark)
        self.tab.value("document.getElementById('settings-button').focus()")
        self.tab.key("Enter")
        self.tab.wait("!document.getElementById('settings').hidden")
        self.picture("settings_narrow_dark")
        self.tab.key("Escape")
        self.tab.wait("document.getElementById('settings').hidden && document.activeElement.id === 'settings-button'")

    def test_stop(self):
        with Server("--ctx", 2048, model=SLOW_MODEL) as slow:
            self.tab = Tab(browser, slow.addresses[0] + "/")
            keep, self.server = self.server, slow
            try:
                self.ask("hello", wait=False)
                self.tab.wait("document.querySelector('.message.last.running') && !document.getElementById('stop').hidden")
                self.tab.wait("document.querySelector('.message.last .figures').textContent.includes('a second')")
                self.tab.key("Escape")
                self.tab.wait("document.getElementById('stop').hidden")
                self.assertIn("stopped", self.tab.value("document.querySelector('.message.last .figures').textContent"))
                slow.wait_for(lambda: slow.metric("requests_cancelled_total") == 1, 60)
                self.tearDown()
            finally:
                self.server = keep
                del self.tab


class Looking(PageTest):
    def test_attention(self):
        self.open()
        self.set("max_tokens", 30)
        self.ask("a story about a fox")
        self.tab.click(".message.last .actions button", 4)
        self.tab.wait("document.querySelectorAll('#attention-list li').length > 0")
        # The context as the page shows it, and the row of its last token, are what the API says.
        messages = [{"role": "user", "content": "a story about a fox"}]
        prompt = self.server.post("/apply-template", {"messages": messages}).json["tokens"]
        written = [t["id"] for t in self.answer(messages, max_tokens=30, seed=5, logprobs=True)["logprobs"]["content"]]
        ids = prompt + written

        def compare(position, layer, **heads):
            want = self.server.post("/rowmax/attention", {"tokens": ids, "position": position, "layers": [layer], **heads}).json
            weights = want["layers"][0]["weights"][0]
            self.tab.wait(f"[...document.querySelectorAll('#attention-tokens .token')].findIndex((e) => e.classList.contains('query')) === {position}"
                          " && !document.getElementById('attention').classList.contains('busy')")
            self.assertEqual(self.tab.value("document.querySelectorAll('#attention-tokens .token').length"), len(ids))
            shades = self.tab.value("[...document.querySelectorAll('#attention-tokens .token')].map((e) => Number(e.style.getPropertyValue('--weight')))")
            for shade, weight in zip(shades, weights + [0] * (len(ids) - len(weights))):
                self.assertAlmostEqual(shade, math.sqrt(weight / max(weights)), delta=0.0006)
            return weights

        n_layer = self.tab.value("document.getElementById('attention-layer').options.length")
        layer = n_layer // 2
        compare(len(ids) - 1, layer, reduce="mean")
        self.picture("attention")
        # Another head, layer and token, with keyboard and mouse.
        self.tab.value("(() => { const e = document.getElementById('attention-head'); e.value = '2'; e.dispatchEvent(new Event('change')); })()")
        self.tab.wait("!document.getElementById('attention').classList.contains('busy')")
        compare(len(ids) - 1, layer, heads=[2])
        self.tab.value("document.getElementById('attention-map').focus()")
        self.tab.key("ArrowDown")
        self.tab.wait(f"document.getElementById('attention-layer').value === '{layer + 1}' && !document.getElementById('attention').classList.contains('busy')")
        compare(len(ids) - 1, layer + 1, heads=[2])
        self.tab.click("#attention-tokens .token", 9)
        weights = compare(9, layer + 1, heads=[2])
        first = self.tab.value("document.querySelector('#attention-list li .piece').textContent")
        self.assertTrue(first.startswith(f"{weights.index(max(weights))} “"), first)
        self.tab.hover("#attention-tokens .token", 3)
        self.assertIn("Token 3", self.tab.value("document.getElementById('attention-readout').textContent"))
        self.tab.hover("#attention-map")
        self.assertIn("Layer", self.tab.value("document.getElementById('attention-map-readout').textContent"))
        # Who is looked at: the map shows its weight in all heads.
        self.tab.value("(() => { const e = document.getElementById('attention-click'); e.value = 'key'; e.dispatchEvent(new Event('change')); })()")
        self.tab.click("#attention-tokens .token", 4)
        self.tab.wait("document.querySelectorAll('#attention-tokens .token')[4].classList.contains('key')")
        self.tab.hover("#attention-map")
        self.tab.wait("document.getElementById('attention-map-readout').textContent.includes('on token 4')")
        # It says what the server refuses.
        self.tab.key("Escape")
        self.tab.wait("document.getElementById('attention').hidden")


class Hostile(PageTest):
    def test_what_a_model_writes_stays_text(self):
        """The server's own grammar makes the model write it."""
        self.open(before=FORCE)
        self.tab.value(f"window.forced = {{regex: {json.dumps(escaped(HOSTILE))}}}")
        self.set("max_tokens", 200)
        self.ask(HOSTILE)
        for index in (0, 1):
            shown = self.tab.value(f"document.querySelectorAll('.message > .text')[{index}].textContent")
            if index == 0:
                self.assertEqual(shown, HOSTILE)
            self.assertIn("<img src=x onerror=alert(1)>", shown)
            self.assertIn("<script>alert(2)</script>", shown)
        self.assertEqual(self.tab.value("document.querySelectorAll('.messages :is(img, script, iframe, object, svg, style, base, link)').length"), 0)
        self.assertEqual(self.tab.value("[...document.querySelectorAll('.messages a')].map((e) => e.href)"), ["http://192.0.2.1/p.png"])
        self.tab.click(".message.last .actions button", 3)  # as tokens
        self.assertEqual(self.tab.value("document.querySelector('.message.last .tokens').textContent"), HOSTILE)
        self.tab.click(".message.last .actions button", 4)
        self.tab.wait("document.querySelectorAll('#attention-list li').length > 0")
        self.assertEqual(self.tab.value("document.querySelectorAll('.columns :is(img, script, iframe, object, svg)').length"), 0)

    def test_markdown_makes_no_markup_of_text(self):
        self.open()
        for text in MORE_HOSTILE:
            found = self.tab.value(
                f"import('/page/markdown.js').then(({{render}}) => {{ const box = document.createElement('div'); box.append(render({json.dumps(text)}));"
                " document.getElementById('messages').append(box); return {text: box.textContent,"
                " bad: box.querySelectorAll('img, script, iframe, object, svg, style, base, math, b').length,"
                " addresses: [...box.querySelectorAll('a')].map((e) => e.protocol),"
                " handlers: [...box.querySelectorAll('*')].flatMap((e) => e.getAttributeNames()).filter((n) => n.startsWith('on') || n === 'style')}; })")
            self.assertEqual(found["bad"], 0, text)
            self.assertEqual(found["handlers"], [], text)
            self.assertLessEqual(set(found["addresses"]), {"http:", "https:", "mailto:"}, text)
        self.tab.value("new Promise((resolve) => setTimeout(resolve, 300))")  # for what would load or run by itself

    def test_markup_from_text_is_refused_by_the_browser_itself(self):
        """The second wall: even a script with the mistake could not make it."""
        self.open()
        self.assertEqual(self.tab.value("(() => { try { document.createElement('div').innerHTML = '<b>x</b>'; return 'made'; } catch (e) { return e.name; } })()"), "TypeError")
        self.assertEqual(self.tab.value("(() => { try { return eval('1 + 1'); } catch (e) { return e.name; } })()",
                                        allowUnsafeEvalBlockedByCSP=False), "EvalError")
        browser.events.clear()  # it says so, rightly

    def test_markdown_is_what_people_mean(self):
        self.open()
        text = ("# Title\n\nSome **bold** and *soft* `code <b>`, snake_case_name.\n\n- one\n- two\n  - inner\n\n1. first\n2. second\n\n"
                "| a | b |\n|---|--:|\n| 1 | 2 |\n\n> said\n\n```python\nprint(1 < 2)\n```\n\n[link](https://example.org/a_b_c)")
        html = self.tab.value(f"import('/page/markdown.js').then(({{render}}) => {{ const box = document.createElement('div'); box.append(render({json.dumps(text)})); return box.innerHTML; }})")
        for part in ("<h3>Title</h3>", "<strong>bold</strong>", "<em>soft</em>", "<code>code &lt;b&gt;</code>", "snake_case_name.",
                     "<li>one</li>", "<ul><li>inner</li></ul>", "<ol start=\"1\"><li>first</li><li>second</li></ol>", "<th>a</th>",
                     "<td class=\"to-right\">2</td>", "<blockquote><p>said</p></blockquote>", "<code>print(1 &lt; 2)</code>", "<span>python</span>",
                     "href=\"https://example.org/a_b_c\""):
            self.assertIn(part, html)
        # Time grows with the text, whatever is in it.
        took = self.tab.value("import('/page/markdown.js').then(({render}) => { const times = [];"
                              " for (const part of ['*a ', '[', '`a``b```', '_a', '**a*', '[a](', '*_~~', '#', '|-', 'http://!'])"
                              " { const from = performance.now(); render(part.repeat(20000)); times.push(performance.now() - from); } return Math.max(...times); })")
        self.assertLess(took, 20000)

    def test_reasoning_is_folded(self):
        self.open(before=FORCE)
        self.tab.value("window.forced = {regex: '<think>a secret thought</think>An answer'}")
        self.ask("why")
        self.assertEqual(self.last_text().strip(), "An answer")
        self.assertEqual(self.tab.value("document.querySelector('.message.last details').open"), False)
        self.assertEqual(self.tab.value("document.querySelector('.message.last details .text').textContent"), "a secret thought")
        # It is no part of what is said next.
        self.tab.value("window.forced = {regex: 'Yes'}")
        self.ask("sure?")
        sent = [json.loads(r["request"]["postData"]) for r in self.tab.events("Network.requestWillBeSent") if "postData" in r["request"]]
        self.assertEqual(sent[-1]["messages"][1]["content"], "An answer")


class WithoutTemplate(PageTest):
    TEMPLATE = False

    def test_it_goes_on_with_the_text(self):
        self.open()
        self.set("max_tokens", 20)
        self.ask("Once upon a time")
        want = self.server.post("/v1/completions", {"prompt": "Once upon a time", "max_tokens": 20, "seed": 5, "logprobs": 2}).json["choices"][0]
        self.assertEqual(squeezed(self.last_text()), squeezed(want["text"]))
        self.tab.click(".message.last .actions button", 4)
        self.tab.wait("document.querySelectorAll('#attention-list li').length > 0")
        n = len(self.server.post("/tokenize", {"content": "Once upon a time", "add_special": True}).json["tokens"])
        self.assertEqual(self.tab.value("document.querySelectorAll('#attention-tokens .token').length"), n + len(want["logprobs"]["tokens"]))


class Keys(PageTest):
    FLAGS = ("--api-key", "the-right-key")

    def test_the_key_is_asked_for_and_kept_in_the_tab_alone(self):
        self.open()
        self.assertTrue(self.tab.value("document.getElementById('key-dialog').open"))
        self.tab.type("a-wrong-key")
        self.tab.key("Enter")
        self.tab.wait("document.getElementById('key-title').textContent.includes('not a key') && document.getElementById('key-dialog').open")
        self.tab.type("the-right-key")
        self.tab.key("Enter")
        self.tab.wait("document.getElementById('model').textContent !== ''")
        self.assertEqual(self.tab.value("Object.values(sessionStorage).join()"), "the-right-key")
        self.assertNotIn("the-right-key", self.tab.value("JSON.stringify(localStorage) + document.cookie + location.href + document.documentElement.outerHTML"))
        self.set("max_tokens", 5)
        self.tab.wait("!document.getElementById('key-dialog').open")
        self.tab.value("document.getElementById('input').focus()")
        self.tab.type("hello")
        self.tab.key("Enter")
        self.tab.wait("document.querySelector('.message.last > .text').textContent !== '' || document.querySelector('.error:not(:empty)')")


if __name__ == "__main__":
    if find_browser() is None:
        skip("there is no Chromium (apt-get install chromium)")
    try:
        browser = Browser(find_browser())
        browser.call("Browser.getVersion")
    except (OSError, AssertionError) as problem:
        skip(f"{find_browser()} does not start here: {problem}")
    with browser:
        unittest.main()
