"""A headless Chromium, spoken to through its DevTools protocol over a pair of pipes; the standard library is enough."""
import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
KEYS = {"Enter": (13, "\r"), "Escape": (27, ""), "Tab": (9, ""), "ArrowRight": (39, ""), "ArrowLeft": (37, ""),
        "ArrowDown": (40, ""), "ArrowUp": (38, ""), "Home": (36, ""), "End": (35, "")}


def find_browser():
    return next((path for path in map(shutil.which, NAMES) if path), None)


class Browser:
    def __init__(self, program):
        self.home = tempfile.TemporaryDirectory()
        to_browser, self.write_end = os.pipe()
        self.read_end, from_browser = os.pipe()
        # The pipes must be its descriptors 3 and 4. Its own sandbox needs rights that a test may not have.
        flags = ["--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                 "--no-first-run", "--disable-extensions", "--disable-background-networking", "--force-device-scale-factor=1",
                 "--hide-scrollbars", f"--user-data-dir={self.home.name}", "about:blank"]
        command = f'exec "$0" "$@" 3<&{to_browser} 4>&{from_browser}'
        self.process = subprocess.Popen(["bash", "-c", command, program, *flags], pass_fds=(to_browser, from_browser),
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        env={**os.environ, "HOME": self.home.name})
        os.close(to_browser)
        os.close(from_browser)
        self.count, self.rest, self.events = 0, b"", []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.call("Browser.close")
        except (OSError, AssertionError):
            self.process.kill()
        self.process.wait(60)
        os.close(self.write_end)
        os.close(self.read_end)
        for _ in range(100):  # its helpers may still be at their files
            try:
                self.home.cleanup()
                return
            except OSError:
                time.sleep(0.1)

    def receive(self, seconds):
        """One message, or None."""
        while b"\0" not in self.rest:
            if not select.select([self.read_end], [], [], seconds)[0]:
                return None
            part = os.read(self.read_end, 1 << 16)
            if not part:
                raise AssertionError("the browser is gone")
            self.rest += part
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, session=None, **parameters):
        self.count += 1
        request = {"id": self.count, "method": method, "params": parameters}
        if session:
            request["sessionId"] = session
        data = json.dumps(request).encode() + b"\0"
        while data:
            data = data[os.write(self.write_end, data):]
        number = self.count
        while True:
            message = self.receive(120)
            if message is None:
                raise AssertionError(f"the browser does not answer {method}")
            if message.get("id") == number:
                if "error" in message:
                    raise AssertionError(f"{method}: {message['error']}")
                return message["result"]
            if "method" in message:
                self.events.append(message)


class Tab:
    """A page of its own profile: what one keeps no other one sees."""

    def __init__(self, browser, address, width=1200, height=800, dark=False, before=""):
        self.browser = browser
        context = browser.call("Target.createBrowserContext")["browserContextId"]
        target = browser.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        self.session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(domain + ".enable")
        self.resize(width, height)
        self.prefer(dark)
        if before:
            self.call("Page.addScriptToEvaluateOnNewDocument", source=before)
        self.call("Page.navigate", url=address)
        self.wait("document.readyState === 'complete' && document.getElementById('model')?.textContent !== ''"
                  " || document.getElementById('key-dialog')?.open")

    def call(self, method, **parameters):
        return self.browser.call(method, session=self.session, **parameters)

    def resize(self, width, height):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def prefer(self, dark):
        self.call("Emulation.setEmulatedMedia",
                  features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def value(self, expression, **more):
        """Of an expression, awaited; what it throws is raised."""
        reply = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, **more)
        if "exceptionDetails" in reply:
            raise AssertionError(f"{expression}: {reply['exceptionDetails'].get('exception', {}).get('description')}")
        return reply["result"].get("value")

    def wait(self, expression, seconds=60):
        end = time.time() + seconds
        while not self.value(expression):
            if time.time() > end:
                raise AssertionError(f"waited in vain for {expression}")
            time.sleep(0.05)

    def type(self, text):
        self.call("Input.insertText", text=text)

    def key(self, name, modifiers=0):
        code, text = KEYS[name]
        key = {"key": name, "code": name, "windowsVirtualKeyCode": code, "modifiers": modifiers}
        self.call("Input.dispatchKeyEvent", type="keyDown", **key, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **key)

    def point(self, selector, index=0):
        """The middle of an element, scrolled into view."""
        box = self.value(f"(() => {{ const e = document.querySelectorAll({json.dumps(selector)})[{index}];"
                         " e.scrollIntoView({block: 'center'}); const r = e.getClientRects()[0];"
                         " return [r.left + r.width / 2, r.top + r.height / 2]; })()")
        return {"x": box[0], "y": box[1]}

    def hover(self, selector, index=0):
        self.call("Input.dispatchMouseEvent", type="mouseMoved", **self.point(selector, index))

    def click(self, selector, index=0):
        at = self.point(selector, index)
        self.call("Input.dispatchMouseEvent", type="mouseMoved", **at)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **at)

    def picture(self, path):
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def events(self, method):
        self.value("0")  # what has happened until now
        return [event["params"] for event in self.browser.events
                if event["method"] == method and event.get("sessionId") == self.session]
