#!/usr/bin/env python3
"""Published clients, unmodified, against a `rowmax serve` that this starts: plain chat, streams, structured output, calls of tools.

    python3 -m venv V && V/bin/pip install openai anthropic litellm langchain-openai langchain-anthropic instructor pydantic-ai \\
        llm smolagents openai-agents mini-swe-agent openai-codex
    V/bin/python bench/clients/run.py PROGRAM [-m smollm2] [--only NAME,...] [--url http://HOST:PORT]

aider-chat and 'lm-eval[api]' want environments of their own; minefield is github.com/Blackwellboy/model-serving-minefield. Each client runs in a process of its own, so that one that hangs or takes others' modules away is told of alone. One that is not
installed is skipped, with the reason. The model needs a chat template. Exits with 1 where a check failed.
"""
import argparse
import importlib.metadata
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import programs

MESSAGES = [{"role": "user", "content": "Name a colour of the sky."}]
QUESTION = MESSAGES[0]["content"]
KEY = "sk-nothing"


def colour_model():
    """What structured answers must be; every value is one of a few, so that a small model comes to an end."""
    from typing import Literal

    from pydantic import BaseModel, ConfigDict

    class Colour(BaseModel):
        model_config = ConfigDict(extra="forbid")  # as strict mode wants it, here as at OpenAI
        colour: Literal["red", "green", "blue"]
        bright: bool

    return Colour


# One call is asked for: a model as small as this one goes on calling until its tokens are spent.
# A tool whose calls come to an end, whatever writes them.
TOOL = {"type": "function", "function": {"name": "paint", "description": "Paints the wall.", "strict": True, "parameters": {
    "type": "object", "properties": {"colour": {"type": "string", "enum": ["red", "green", "blue"]}}, "required": ["colour"],
    "additionalProperties": False}}}


def is_paint(name, arguments):
    given = json.loads(arguments) if isinstance(arguments, str) else arguments
    return name == "paint" and given.get("colour") in ("red", "green", "blue") and len(given) == 1


def openai_and_anthropic(url, check):
    code = subprocess.run([sys.executable, str(Path(__file__).with_name("openai_client.py")), url]).returncode
    check("bench/clients/openai_client.py", code == 0, code)


def openai_parse(url, check):
    from openai import OpenAI
    Colour, client = colour_model(), OpenAI(base_url=url + "/v1", api_key=KEY)
    parsed = client.chat.completions.parse(model="any", messages=MESSAGES, response_format=Colour).choices[0].message.parsed
    check("chat.completions.parse", isinstance(parsed, Colour), parsed)
    parsed = client.responses.parse(model="any", input=QUESTION, text_format=Colour).output_parsed
    check("responses.parse", isinstance(parsed, Colour), parsed)
    same = dict(model="any", messages=MESSAGES, tools=[TOOL], tool_choice="required", max_tokens=100, parallel_tool_calls=False)
    call = client.chat.completions.create(**same).choices[0].message.tool_calls[0].function
    check("tool call", is_paint(call.name, call.arguments), call)
    with client.chat.completions.stream(**same) as stream:
        streamed = stream.get_final_completion().choices[0].message.tool_calls[0].function
    check("tool call, streamed", (streamed.name, streamed.arguments) == (call.name, call.arguments), streamed)


def litellm(url, check):
    import litellm
    same = dict(model="openai/any", api_base=url + "/v1", api_key=KEY, messages=MESSAGES, max_tokens=20)
    text = litellm.completion(**same).choices[0].message.content
    check("completion", bool(text), text)
    parts = [c.choices[0].delta.content or "" for c in litellm.completion(**same, stream=True) if c.choices]
    check("completion, stream", "".join(parts) == text, parts)
    got = litellm.completion(**{**same, "max_tokens": 60}, response_format=colour_model()).choices[0].message.content
    check("completion, response_format", set(json.loads(got)) == {"colour", "bright"}, got)
    got = litellm.completion(**{**same, "model": "anthropic/any", "api_base": url}).choices[0].message.content
    check("completion by /v1/messages", got == text, got)
    for name, model, base in (("chat", "openai/any", url + "/v1"), ("messages", "anthropic/any", url)):
        call = litellm.completion(model=model, api_base=base, api_key=KEY, messages=MESSAGES, tools=[TOOL], tool_choice="required",
                                  max_tokens=100, parallel_tool_calls=False).choices[0].message.tool_calls[0].function
        check(f"tool call, {name}", is_paint(call.name, call.arguments), call)
    got = litellm.text_completion(model="text-completion-openai/any", prompt=QUESTION, api_base=url + "/v1", api_key=KEY, max_tokens=8)
    check("text_completion", bool(got.choices[0].text), got)


def langchain_openai(url, check):
    from langchain_openai import ChatOpenAI
    chat = ChatOpenAI(base_url=url + "/v1", api_key=KEY, model="any", max_tokens=40)
    text = chat.invoke(QUESTION)
    check("invoke", bool(text.content) and text.usage_metadata["output_tokens"] > 0, text)
    check("stream", "".join(c.content for c in chat.stream(QUESTION)) == text.content)
    Colour = colour_model()
    got = chat.with_structured_output(Colour, method="json_schema").invoke(QUESTION)
    check("with_structured_output", isinstance(got, Colour), got)
    got = ChatOpenAI(base_url=url + "/v1", api_key=KEY, model="any", max_tokens=40, use_responses_api=True).invoke(QUESTION)
    check("invoke by /v1/responses", got.text == text.content if isinstance(got.text, str) else got.text() == text.content, got)
    call = ChatOpenAI(base_url=url + "/v1", api_key=KEY, model="any", max_tokens=200).bind_tools([TOOL], tool_choice="required", parallel_tool_calls=False).invoke(QUESTION).tool_calls[0]
    check("bind_tools", is_paint(call["name"], call["args"]), call)
    got = ChatOpenAI(base_url=url + "/v1", api_key=KEY, model="any", max_tokens=200).with_structured_output(Colour, method="function_calling").invoke(QUESTION)
    check("with_structured_output, function_calling", isinstance(got, Colour), got)
    check("batch", all(m.content == text.content for m in chat.batch([QUESTION] * 3)))


def langchain_anthropic(url, check):
    from langchain_anthropic import ChatAnthropic
    chat = ChatAnthropic(base_url=url, api_key=KEY, model="any", max_tokens=20)
    text = chat.invoke(QUESTION)
    check("invoke", bool(text.content) and text.usage_metadata["output_tokens"] > 0, text)
    tool = {"name": "paint", "description": "Paints the wall.", "input_schema": TOOL["function"]["parameters"]}
    call = ChatAnthropic(base_url=url, api_key=KEY, model="any", max_tokens=100).bind_tools([tool], tool_choice="any").invoke(QUESTION).tool_calls[0]
    check("bind_tools", is_paint(call["name"], call["args"]), call)
    parts = [c.content for c in chat.stream(QUESTION)]
    parts = "".join(p if isinstance(p, str) else "".join(b.get("text", "") for b in p) for p in parts)
    check("stream", parts == text.content, parts)


def instructor(url, check):
    import instructor
    from openai import OpenAI
    Colour = colour_model()
    client = instructor.from_openai(OpenAI(base_url=url + "/v1", api_key=KEY), mode=instructor.Mode.JSON_SCHEMA)
    got = client.chat.completions.create(model="any", response_model=Colour, messages=MESSAGES, max_tokens=60)
    check("JSON_SCHEMA", isinstance(got, Colour), got)
    client = instructor.from_openai(OpenAI(base_url=url + "/v1", api_key=KEY), mode=instructor.Mode.TOOLS)
    got = client.chat.completions.create(model="any", response_model=Colour, messages=MESSAGES, max_tokens=200, parallel_tool_calls=False)
    check("TOOLS", isinstance(got, Colour), got)


def pydantic_ai(url, check):
    from pydantic_ai import Agent, NativeOutput
    from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
    from pydantic_ai.providers.openai import OpenAIProvider
    provider, Colour = OpenAIProvider(base_url=url + "/v1", api_key=KEY), colour_model()
    for name, kind in (("chat", OpenAIChatModel), ("responses", OpenAIResponsesModel)):
        model = kind("any", provider=provider)
        text = Agent(model, model_settings={"max_tokens": 20}).run_sync(QUESTION).output
        check(f"run_sync, {name}", bool(text), text)
        got = Agent(model, output_type=NativeOutput(Colour)).run_sync(QUESTION).output
        check(f"NativeOutput, {name}", isinstance(got, Colour), got)
        got = Agent(model, output_type=Colour, model_settings={"max_tokens": 200, "parallel_tool_calls": False}).run_sync(QUESTION).output
        check(f"output by a tool call, {name}", isinstance(got, Colour), got)

    async def streamed():
        async with Agent(OpenAIChatModel("any", provider=provider), model_settings={"max_tokens": 20}).run_stream(QUESTION) as result:
            return await result.get_output()

    import asyncio
    check("run_stream", bool(asyncio.run(streamed())))


def llm(url, check):
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "extra-openai-models.yaml").write_text(
            f"- model_id: served\n  model_name: any\n  api_base: {url}/v1\n  supports_schema: true\n")
        Path(folder, "keys.json").write_text(json.dumps({"openai": KEY}))
        program = [sys.executable, "-m", "llm", "-m", "served", "-o", "max_tokens", "40"]

        def ask(*more):
            done = subprocess.run([*program, *more], env={**os.environ, "LLM_USER_PATH": folder}, capture_output=True, text=True,
                                  stdin=subprocess.DEVNULL, timeout=120)
            return done.stdout.strip() if done.returncode == 0 else f"FAILED {done.stderr[-300:]}"

        text = ask("--no-stream", QUESTION)
        check("prompt", text and not text.startswith("FAILED"), text)
        check("prompt, streamed", ask(QUESTION) == text, text)
        got = ask("--schema", json.dumps({"type": "object", "properties": {"colour": {"enum": ["red", "blue"]}}, "required": ["colour"],
                                          "additionalProperties": False}), QUESTION)
        check("--schema", got.startswith("{") and set(json.loads(got)) == {"colour"}, got)


def smolagents(url, check):
    from smolagents import OpenAIServerModel
    from smolagents.models import ChatMessage, MessageRole
    model = OpenAIServerModel(model_id="any", api_base=url + "/v1", api_key=KEY, max_tokens=20)
    messages = [ChatMessage(role=MessageRole.USER, content=[{"type": "text", "text": QUESTION}])]
    text = model.generate(messages).content
    check("generate", bool(text), text)
    check("generate_stream", "".join(d.content or "" for d in model.generate_stream(messages)) == text)
    schema = {"type": "json_schema", "json_schema": {"name": "Colour", "strict": True, "schema": colour_model().model_json_schema()}}
    got = OpenAIServerModel(model_id="any", api_base=url + "/v1", api_key=KEY).generate(messages, response_format=schema).content
    from smolagents import tool

    @tool
    def paint(colour: str) -> str:
        """Paints the wall.

        Args:
            colour: red, green or blue
        """
        return colour

    calls = OpenAIServerModel(model_id="any", api_base=url + "/v1", api_key=KEY, max_tokens=300).generate(messages, tools_to_call_from=[paint]).tool_calls
    check("generate, tools_to_call_from", bool(calls) and calls[0].function.name == "paint", calls)
    check("generate, response_format", set(json.loads(got)) == {"colour", "bright"}, got)


def openai_agents(url, check):
    from agents import Agent, ModelSettings, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner, set_tracing_disabled
    from openai import AsyncOpenAI
    import asyncio
    from typing import Literal

    from agents import function_tool
    set_tracing_disabled(True)

    @function_tool
    def paint(colour: Literal["red", "green", "blue"]) -> str:
        """Paints the wall."""
        return "painted " + colour

    async def all_of_it():
        client, Colour = AsyncOpenAI(base_url=url + "/v1", api_key=KEY), colour_model()
        for name, kind in (("chat", OpenAIChatCompletionsModel), ("responses", OpenAIResponsesModel)):
            model = kind(model="any", openai_client=client)
            agent = Agent(name="a", instructions="Be brief.", model=model, model_settings=ModelSettings(max_tokens=500))
            # To its end: this client takes a stream of /v1/responses that was cut for an error.
            text = (await Runner.run(agent, QUESTION)).final_output
            check(f"Runner.run, {name}", bool(text), text)
            streamed = Runner.run_streamed(agent, QUESTION)
            async for _ in streamed.stream_events():
                pass
            check(f"Runner.run_streamed, {name}", streamed.final_output == text, streamed.final_output)
            got = (await Runner.run(Agent(name="b", model=model, output_type=Colour), QUESTION)).final_output
            check(f"output_type, {name}", isinstance(got, Colour), got)
            painter = Agent(name="c", model=model, tools=[paint], model_settings=ModelSettings(tool_choice="required", parallel_tool_calls=False),
                            tool_use_behavior="stop_on_first_tool")
            got = (await Runner.run(painter, QUESTION)).final_output
            check(f"function_tool, {name}", got in ("painted red", "painted green", "painted blue"), got)

    asyncio.run(all_of_it())


# name: (check, the packages whose versions are told, the module that must be there)
CLIENTS = {
    "openai, anthropic": (openai_and_anthropic, ["openai", "anthropic"], "openai"),
    "openai parse": (openai_parse, ["openai"], "openai"),
    "litellm": (litellm, ["litellm"], "litellm"),
    "langchain-openai": (langchain_openai, ["langchain-openai"], "langchain_openai"),
    "langchain-anthropic": (langchain_anthropic, ["langchain-anthropic"], "langchain_anthropic"),
    "instructor": (instructor, ["instructor"], "instructor"),
    "pydantic-ai": (pydantic_ai, ["pydantic-ai", "pydantic-ai-slim"], "pydantic_ai"),
    "llm": (llm, ["llm"], "llm"),
    "smolagents": (smolagents, ["smolagents"], "smolagents"),
    "openai-agents": (openai_agents, ["openai-agents"], "agents"),
    "mini-swe-agent": (programs.mini_swe_agent, ["mini-swe-agent"], "minisweagent"),
    "aider": (programs.aider, ["aider-chat"], "aider"),
    "lm-eval": (programs.lm_eval, ["lm-eval"], "lm_eval"),
    "codex": (programs.codex, ["openai-codex-cli-bin"], "codex_cli_bin"),
    "minefield": (programs.minefield, ["model-serving-minefield"], "minefield"),
}


def versions(packages):
    found = []
    for package in packages:
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            pass
    return ", ".join(found)


def one(name, url):
    failed = 0

    def check(what, fine, found=""):
        nonlocal failed
        failed += not fine
        print(("ok     " if fine else "FAILED ") + f"{name}: {what}" + ("" if fine else f": {found!r}"[:500]), flush=True)

    try:
        CLIENTS[name][0](url, check)
    except Exception as error:  # a client's own words are what is to be told
        check("ended with " + type(error).__name__, False, str(error))
    return 1 if failed else 0


def start(args):
    home = tempfile.TemporaryDirectory()
    process = subprocess.Popen([args.program, "serve", "-m", args.model, "--port", "0", "-q", "-c", "8192", "-n", "1000", "--tool-format", "hermes"], stdout=subprocess.PIPE)
    line = process.stdout.readline().decode().strip()
    if not line.startswith("http://"):
        raise SystemExit("the server does not start")
    return process, line, home


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("-m", "--model", default="smollm2")
    parser.add_argument("--only", default="")
    parser.add_argument("--url", help="a server that runs already")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        return one(args.one, args.url)
    process, url = None, args.url
    if url is None:
        process, url, _ = start(args)
    results = {}
    try:
        for name, (_, packages, module) in CLIENTS.items():
            if args.only and name not in args.only.split(","):
                continue
            if importlib.util.find_spec(module) is None:
                results[name] = f"skipped: {packages[0]} is not installed"
                continue
            try:
                code = subprocess.run([sys.executable, __file__, args.program, "--one", name, "--url", url], timeout=600,
                                      env={**os.environ, "OPENAI_API_KEY": KEY, "ANTHROPIC_API_KEY": KEY}).returncode
                results[name] = f"{'ok' if code == 0 else 'FAILED'} ({versions(packages)})"
            except subprocess.TimeoutExpired:
                results[name] = "FAILED: no end in ten minutes"
    finally:
        if process is not None:
            process.send_signal(signal.SIGTERM)
            if process.wait(60) != 0:
                results["the server"] = f"FAILED: exit code {process.returncode}"
    print()
    for name, result in results.items():
        print(f"{name:22} {result}")
    return 1 if any(r.startswith("FAILED") for r in results.values()) else 0


sys.exit(main())
