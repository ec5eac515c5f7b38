"""Two hundred requests of many kinds, and what of an answer must be the same whatever else the server does.

Used by replay_test.py, which asks them of the story model, and by bench/server/replay.py, which asks them of any.
"""
import hashlib
import http.client
import json
import os
import socket
import threading

from server import Answer

TEMPLATE = ("{% for m in messages %}{{ m.role }}: {{ m.content }}{% for c in m.tool_calls or [] %}<tool_call>\n"
            "{\"name\": \"{{ c.function.name }}\", \"arguments\": {{ c.function.arguments | tojson }}}\n</tool_call>{% endfor %}\n{% endfor %}"
            "{% if tools %}tools: {{ tools | tojson }}\n{% endif %}{% if add_generation_prompt %}assistant:{% endif %}")
FLAGS = ("--pooling", "mean", "--chat-template", TEMPLATE, "--queue", 1000)

WHO = ("a fox", "a dog named Tim", "an old tree", "two birds", "a girl", "the moon", "a red ball", "a king", "a small fish", "the rain")
SYSTEM = "You tell stories to children. " + " ".join(f"Rule {i}: be kind to {who}." for i, who in enumerate(WHO * 2))
COLOUR = {"type": "object", "additionalProperties": False, "required": ["colour", "size", "name"], "properties": {
    "colour": {"enum": ["red", "green", "blue"]}, "size": {"type": "integer", "minimum": 1, "maximum": 99},
    "name": {"type": "string", "maxLength": 6}}}
LIST = {"type": "array", "minItems": 1, "maxItems": 3, "items": {"anyOf": [{"type": "boolean"}, {"type": "string", "maxLength": 4}]}}
DATE = {"type": "object", "additionalProperties": False, "required": ["day"], "properties": {"day": {"type": "string", "format": "date"}}}
GRAMMAR = 'root ::= "It was " ("red" | "green") [.!] (" " [a-z]{1,5}){0,3}'
EMPTY = {"type": "object", "additionalProperties": False, "required": [], "properties": {}}


def chat(i, system=None, **more):
    messages = [{"role": "user", "content": f"a story about {WHO[i % len(WHO)]}"}]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    if i % 3 == 2:  # a conversation
        messages += [{"role": "assistant", "content": "Once upon a time there was one."}, {"role": "user", "content": "And then?"}]
    return "/v1/chat/completions", {"messages": messages, "max_tokens": 12 + i % 5 * 4, **more}


def completion(i, **more):
    prompts = (f"Once upon a time there was {WHO[i % len(WHO)]}", [3 + (7 * i + k * k) % 200 for k in range(5 + i * 9)],
               [f"{who} went home" for who in WHO[:2 + i % 3]], " ".join(f"word {k}" for k in range(4 + 6 * i)))
    return "/v1/completions", {"prompt": prompts[i % 4], "max_tokens": 10 + i % 4 * 5, **more}


def functions(form):
    both = (("paint", COLOUR), ("now", EMPTY))
    if form == "messages":
        return [{"name": name, "input_schema": schema} for name, schema in both]
    if form == "responses":
        return [{"type": "function", "name": name, "parameters": schema} for name, schema in both]
    return [{"type": "function", "function": {"name": name, "parameters": schema, "strict": True}} for name, schema in both]


def sampled(i):
    return ({"temperature": 0}, {"temperature": 1.1, "seed": 7 * i}, {"temperature": 0.7, "top_k": 5 + i, "seed": i},
            {"temperature": 1.5, "top_p": 0.7, "min_p": 0.02, "seed": -i})[i % 4]


def request(kind, i):
    stream = {"stream": True, "stream_options": {"include_usage": i % 2 == 0}} if i % 2 else {}
    whom = f"a story about {WHO[i]}"
    if kind == "chat":
        return chat(i, **sampled(i))
    if kind == "chat streamed":
        return chat(i, stream=True, stream_options={"include_usage": i % 2 == 0}, **sampled(i + 1))
    if kind == "long chat":  # all begin alike, beyond whole pages of the cache
        return chat(i, system=SYSTEM if i < 7 else SYSTEM.replace("Rule 9", "Rule nine"), **sampled(i), **stream)
    if kind == "completion":
        return completion(i, **sampled(i), **stream)
    if kind == "scored":
        return completion(i, **{"echo": True, "logprobs": i % 6, "max_tokens": i % 3, "temperature": 0})
    if kind == "logprobs":
        return chat(i, logprobs=True, top_logprobs=i % 6, **sampled(i), **stream)
    if kind == "choices":
        path, body = (chat if i % 2 else completion)(i, n=2 + i % 4, temperature=1, seed=i, **(stream if i % 4 == 1 else {}))
        return path, body
    if kind == "penalties":
        return chat(i, repetition_penalty=1 + i / 20, frequency_penalty=i / 10, presence_penalty=(i % 3) / 4, repeat_last_n=8 * i,
                    logit_bias={str(20 + i): 4, "31": -100}, **sampled(i))
    if kind == "stop":
        return chat(i, stop=[[" the"], ["."], ["never to be found", ","], "a"][i % 4], **{**sampled(i), **stream, "max_tokens": 60})
    if kind == "schema":
        schema = (COLOUR, LIST, DATE)[i % 3]
        return chat(i, response_format={"type": "json_schema", "json_schema": {"name": "answer", "strict": schema is not LIST, "schema": schema}},
                    **{**sampled(i), **stream, "max_tokens": 60})
    if kind == "json object":
        return chat(i, response_format={"type": "json_object"}, **{**sampled(i), **stream, "max_tokens": 30})
    if kind == "grammar":
        held = {"grammar": GRAMMAR} if i % 2 else {"regex": "[A-Z][a-z]{2,9}( [a-z]{1,6}){1,4}\\."}
        return (chat if i % 3 else completion)(i, **{**held, **sampled(i), "max_tokens": 40})
    if kind == "tools":
        choice = ("required", {"type": "function", "function": {"name": "paint"}}, "auto", "none")[i % 4]
        return chat(i, tools=functions("chat"), tool_choice=choice, **{**sampled(i), **stream, "max_tokens": 90})
    if kind == "responses":
        more = ({}, {"text": {"format": {"type": "json_schema", "name": "c", "strict": False, "schema": COLOUR}}},
                {"tools": functions("responses"), "tool_choice": "required"})[i % 3]
        return "/v1/responses", {"input": whom, "max_output_tokens": 24 if i % 3 == 0 else 90, "stream": i % 2 == 1, **sampled(i), **more}
    if kind == "messages":
        more = ({}, {"stop_sequences": [" the"]}, {"tools": functions("messages"), "tool_choice": {"type": "any"}})[i % 3]
        return "/v1/messages", {"messages": [{"role": "user", "content": whom}], "system": "Be brief.", "max_tokens": 24 if i % 3 < 2 else 90,
                                "stream": i % 2 == 1, **sampled(i), **more}
    if kind == "ollama":
        options = {"num_predict": 20, "seed": i, "temperature": 0.9}
        if i % 2:
            return "/api/chat", {"messages": [{"role": "user", "content": whom}], "stream": i % 4 == 1, "options": options}
        return "/api/generate", {"prompt": whom, "stream": i % 4 == 0, "options": options, **({"format": COLOUR} if i % 3 == 0 else {})}
    if kind == "embeddings":
        given = whom if i % 2 else [whom, "the rain " * (20 * i + 1), "x"]
        return "/v1/embeddings", {"input": given, "encoding_format": "base64" if i % 3 else "float"}
    if kind == "tokens":
        return (("/tokenize", {"content": SYSTEM[:40 * i + 9], "with_pieces": i % 4 == 0}), ("/detokenize", {"tokens": [3 + k for k in range(9 * i + 1)]}),
                ("/apply-template", {"messages": [{"role": "user", "content": whom}]}),
                ("/v1/messages/count_tokens", {"messages": [{"role": "user", "content": whom}]}))[i % 4]
    if kind == "attention":
        return "/rowmax/attention", {"prompt": SYSTEM[:100 * i + 30], "layers": [i % 2], "position": -1 - i, **({"reduce": "mean"} if i % 2 else {})}
    assert kind == "refused"
    return (chat(i, n=0), chat(i, temperature="hot"), completion(i, stop=[5]), chat(i, response_format={"type": "json_schema", "json_schema": {
        "name": "x", "schema": {"type": "strange"}}}), completion(i, grammar="root ::= missing"), ("/v1/responses", {"input": 5}),
            ("/v1/messages", {"messages": []}), ("/v1/nothing", {}), ("/v1/embeddings", {"input": []}), chat(i, logit_bias={"a": 1}))[i]


KINDS = ("chat", "chat streamed", "long chat", "completion", "scored", "logprobs", "choices", "penalties", "stop", "schema", "json object", "grammar",
         "tools", "responses", "messages", "ollama", "embeddings", "tokens", "attention", "refused")


def requests():
    """(name, path, body as it is sent) of all two hundred."""
    return [(f"{kind} {i}", path, json.dumps(body).encode()) for i in range(10) for kind in KINDS for path, body in [request(kind, i)]]


# docs/server.md, "What answers depend on": no part of the promise. Of the usage, what the cache had and what guesses were right.
TIMES = {"created", "created_at", "completed_at", "timings", "total_duration", "load_duration", "prompt_eval_duration", "eval_duration", "prompt_ms"}
COUNTS = {"cached_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "accepted_prediction_tokens",
          "rejected_prediction_tokens"}
IDS = {"id", "call_id", "item_id"}  # those that are texts: a token's id is a number


def kept(value, inside=None):
    if isinstance(value, list):
        return [kept(v, inside) for v in value]
    if not isinstance(value, dict):
        return value
    out = {}
    for key, member in value.items():
        if key in TIMES or key in COUNTS or (inside == "rowmax" and key == "cache"):
            continue
        if key in IDS and isinstance(member, str):
            continue
        if key == "input_tokens" and "cache_read_input_tokens" in value:  # Anthropic's: what was not cached
            member += value["cache_read_input_tokens"]
        out[key] = kept(member, key)
    return out


def essence(answer):
    """What must be the same, as bytes. Of several choices in one stream the order between them is chance; each one's is not."""
    kind = answer.headers.get("Content-Type", "")
    if "event-stream" in kind or "ndjson" in kind:
        lines = [line for line in answer.body.decode().split("\n") if line and not line.startswith(":")]
        events, by_choice = [], {}
        for line in lines:
            text = line[6:] if line.startswith("data: ") else line
            if not text.startswith("{"):
                events.append(text)
                continue
            event = kept(json.loads(text))
            choices = event.get("choices")
            if choices and len(choices) == 1 and "index" in choices[0]:
                by_choice.setdefault(choices[0]["index"], []).append(event)
            else:
                events.append(event)
        value = [answer.status, by_choice, events]
    else:
        value = [answer.status, kept(answer.json)]
    return json.dumps(value, ensure_ascii=False).encode()


class Asker:
    """Asks requests of a server, some at a time, in an order; some clients hang up in the middle."""

    def __init__(self, host, port, seconds=300):
        self.host, self.port, self.seconds = host, port, seconds

    def ask(self, path, body, hang_up=False):
        """The answer's essence; nothing from a client that hung up."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=self.seconds)
        try:
            connection.request("POST", path, body=body, headers={"Content-Type": "application/json"})
            if hang_up:  # after the first bytes or before any
                if len(body) % 2:
                    connection.sock.recv(1)
                connection.sock.shutdown(socket.SHUT_RDWR)
                return None
            reply = connection.getresponse()
            return essence(Answer(reply.status, dict(reply.getheaders()), reply.read()))
        finally:
            connection.close()

    def replay(self, recorded, at_once=1, order=None, hang_up=lambda number: False):
        """What each request was given, by its number. order: numbers; all of them without it."""
        given, left, lock, errors = {}, list(order if order is not None else range(len(recorded))), threading.Lock(), []
        left.reverse()

        def work():
            while True:
                with lock:
                    if not left or errors:
                        return
                    number = left.pop()
                try:
                    found = self.ask(*recorded[number][1:], hang_up=hang_up(number))
                except Exception as error:  # told by the thread that waits for all
                    errors.append((recorded[number][0], error))
                    return
                if found is not None:
                    given[number] = found

        threads = [threading.Thread(target=work) for _ in range(at_once)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise AssertionError(f"{errors[0][0]}: {errors[0][1]!r}")
        return given


def shuffled(n, seed):
    """The same order on every machine."""
    return sorted(range(n), key=lambda i: hashlib.sha256(f"{seed} {i}".encode()).digest())


def differing(recorded, truth, given):
    """A sentence for each request whose answer is another one."""
    found = []
    for number, bytes_ in sorted(given.items()):
        if bytes_ != truth[number]:
            at = len(os.path.commonprefix([bytes_, truth[number]]))
            found.append(f"{recorded[number][0]}: {bytes_[max(0, at - 80):at + 80]!r} for {truth[number][max(0, at - 80):at + 80]!r}")
    return found
