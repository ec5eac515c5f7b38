#!/usr/bin/env python3
"""Open WebUI, unmodified, in Chromium, in front of a `rowmax serve` that this starts: a chat of two turns, its title, tags and suggestions.

    python3 -m venv V && V/bin/pip install open-webui          (7 GB)
    open_webui.py PROGRAM V/bin/open-webui [-m smollm2] [--picture FILE]

Its sign-in and retrieval are switched off, its data lie in a folder that is removed. Needs Chromium. What the page shows must be what
the same messages are answered by /v1/chat/completions, and the server must have refused nothing.
"""
import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "server"))
from browser import Browser, Tab, find_browser  # noqa: E402

QUESTIONS = ("Name a colour of the sky.", "And of grass?")
SETTINGS = {"OFFLINE_MODE": "true", "HF_HUB_OFFLINE": "1", "WEBUI_AUTH": "False", "ENABLE_OLLAMA_API": "False", "OPENAI_API_KEY": "sk-none",
            "BYPASS_EMBEDDING_AND_RETRIEVAL": "True", "RAG_EMBEDDING_ENGINE": "openai", "RAG_OPENAI_API_KEY": "none", "WEBUI_SECRET_KEY": "none",
            "ANONYMIZED_TELEMETRY": "False", "ENABLE_VERSION_UPDATE_CHECK": "False"}


class Page(Tab):
    def wait(self, expression, seconds=180):
        own = "key-dialog" in expression  # what the tests' own page has
        super().wait("document.readyState === 'complete'" if own else expression, seconds)


def answer(url, messages):
    body = json.dumps({"messages": messages}).encode()
    request = urllib.request.Request(url + "/v1/chat/completions", body, {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request, timeout=300))["choices"][0]["message"]["content"]


def counted(url, name):
    for line in urllib.request.urlopen(url + "/metrics", timeout=60).read().decode().splitlines():
        if line.startswith(f"rowmax_{name} "):
            return float(line.split()[-1])
    raise SystemExit(f"no metric {name}")


def chat(url, address, picture):
    failed = 0
    with Browser(find_browser()) as browser:
        page = Page(browser, address)
        for _ in range(5):  # a page that was asked for too early stays as it is
            try:
                page.wait("!!document.querySelector('#chat-input')", 40)
                break
            except AssertionError:
                page.call("Page.reload")
        else:
            raise SystemExit(f"there is no chat: {page.value('document.body.innerText')[:500]!r}")
        time.sleep(3)  # its news, which a key closes
        page.key("Escape")
        messages = []
        for question in QUESTIONS:
            messages.append({"role": "user", "content": question})
            wanted = answer(url, messages)
            messages.append({"role": "assistant", "content": wanted})
            page.click("#chat-input")
            page.type(question)
            page.key("Enter")
            words = json.dumps(" ".join(wanted.split()))
            try:
                page.wait(f"document.body.innerText.replace(/\\s+/g, ' ').includes({words})", 120)
                print(f"ok     {question} {wanted!r}")
            except AssertionError:
                failed += 1
                print(f"FAILED {question} {wanted!r} is not what the page shows: {page.value('document.body.innerText')[-400:]!r}")
            time.sleep(2)
        time.sleep(10)  # the title and its like
        if picture:
            page.picture(Path(picture))
    return failed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("open_webui")
    parser.add_argument("-m", "--model", default="smollm2")
    parser.add_argument("--port", type=int, default=18400)
    parser.add_argument("--picture")
    args = parser.parse_args()
    failed = 1
    served = subprocess.Popen([args.program, "serve", "-m", args.model, "--port", "0", "-q", "-n", "200"], stdout=subprocess.PIPE)
    url = served.stdout.readline().decode().strip()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        environment = {**os.environ, **SETTINGS, "HOME": folder, "DATA_DIR": folder, "OPENAI_API_BASE_URL": url + "/v1", "RAG_OPENAI_API_BASE_URL": url + "/v1"}
        with open(Path(folder, "log"), "w") as log:
            other = subprocess.Popen([args.open_webui, "serve", "--host", "127.0.0.1", "--port", str(args.port)], stdout=log, stderr=log, env=environment)
        try:
            address = f"http://127.0.0.1:{args.port}"
            for _ in range(600):
                try:
                    urllib.request.urlopen(address + "/health", timeout=5)
                    break
                except OSError:
                    time.sleep(0.5)
            failed = chat(url, address, args.picture)
            n, bad = counted(url, "requests_succeeded_total"), counted(url, "requests_failed_total")
            print(f"{n:.0f} generations, of them {len(QUESTIONS)} asked by this; {bad:.0f} failed")
            failed += bad > 0 or n < 3 * len(QUESTIONS)
        finally:
            other.send_signal(signal.SIGTERM)
            try:
                other.wait(20)
            except subprocess.TimeoutExpired:
                other.kill()
                other.wait()
            served.send_signal(signal.SIGTERM)
            failed = failed if served.wait(60) == 0 else 1
    return 1 if failed else 0


sys.exit(main())
