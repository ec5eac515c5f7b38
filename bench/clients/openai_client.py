#!/usr/bin/env python3
"""The official openai and anthropic clients, unmodified, against a running `rowmax serve`.

    python3 -m venv V && V/bin/pip install openai anthropic
    rowmax serve -m smollm2 --port 8080 &
    V/bin/python bench/clients/openai_client.py http://127.0.0.1:8080 [--key KEY]

The model needs a chat template; calls of tools are asked for where it writes them in a form that the server knows (or with
--tool-format hermes). Prints a line a check and exits with 1 where one failed; a client that is not installed is
named as skipped.
"""
import argparse
import json
import sys

PROMPT = "Once upon a time"
MESSAGES = [{"role": "user", "content": "Name three colours."}]
SCHEMA = {"type": "object", "additionalProperties": False, "required": ["city", "days"],
          "properties": {"city": {"type": "string", "maxLength": 12}, "days": {"type": "integer", "minimum": 1, "maximum": 9}}}
TOOL = {"type": "function", "function": {"name": "get_weather", "description": "Weather of a city", "parameters": SCHEMA, "strict": True}}
ASKED = [{"role": "user", "content": "What is the weather in Paris?"}]
failed = 0


def check(name, fine, found=""):
    global failed
    failed += not fine
    print(("ok    " if fine else "FAILED"), name, "" if fine else repr(found)[:300])


def raises(kind, call):
    try:
        call()
    except kind as error:
        return error
    return None


def chat(client):
    whole = client.chat.completions.create(model="any", messages=MESSAGES, max_tokens=24, seed=3)
    text = whole.choices[0].message.content
    check("chat.completions.create", whole.object == "chat.completion" and whole.usage.completion_tokens > 0, whole)
    stream = client.chat.completions.create(model="any", messages=MESSAGES, max_tokens=24, seed=3, stream=True,
                                            stream_options={"include_usage": True})
    chunks = list(stream)
    streamed = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    check("its stream is the same text", streamed == text, (streamed, text))
    check("usage is in the last chunk", chunks[-1].usage.completion_tokens == whole.usage.completion_tokens, chunks[-1])
    logprobs = client.chat.completions.create(model="any", messages=MESSAGES, max_tokens=8, logprobs=True, top_logprobs=2)
    content = logprobs.choices[0].logprobs.content
    check("logprobs", "".join(t.token for t in content) == logprobs.choices[0].message.content
          and all(len(t.top_logprobs) == 2 for t in content), logprobs)
    many = client.chat.completions.create(model="any", messages=MESSAGES, max_tokens=8, n=3)
    check("n=3", [c.index for c in many.choices] == [0, 1, 2], many)
    # This helper takes an answer that was cut for an error, so it is let go to its end.
    with client.chat.completions.stream(model="any", messages=MESSAGES, seed=3) as stream:
        final = stream.get_final_completion()
    check("chat.completions.stream helper", final.choices[0].message.content.startswith(text), final)
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
    check("tools", client.chat.completions.create(model="any", messages=MESSAGES, max_tokens=4, tools=tools).choices, "")


def fits(arguments):
    return list(arguments) == ["city", "days"] and len(arguments["city"]) <= 12 and 1 <= arguments["days"] <= 9


def chat_tools(client, openai):
    asked = {"model": "any", "messages": ASKED, "tools": [TOOL], "tool_choice": "required", "parallel_tool_calls": False, "seed": 1}
    try:
        whole = client.chat.completions.create(**asked)
    except openai.BadRequestError as error:
        print("skipped: calls of tools:", error.code)
        return False
    call = whole.choices[0].message.tool_calls[0]
    check("tool_choice=required", whole.choices[0].finish_reason == "tool_calls" and fits(json.loads(call.function.arguments)), whole)
    with client.chat.completions.stream(**asked) as stream:
        events = list(stream)
        final = stream.get_final_completion()
    got = final.choices[0].message.tool_calls[0].function
    check("its stream has the same call", (got.name, got.arguments) == (call.function.name, call.function.arguments), got)
    check("in pieces", sum(e.type == "tool_calls.function.arguments.delta" for e in events) > 2, [e.type for e in events])
    named = client.chat.completions.create(**{**asked, "tool_choice": {"type": "function", "function": {"name": "get_weather"}}})
    check("a named function", named.choices[0].message.tool_calls[0].function.name == "get_weather", named)
    turns = [*ASKED, whole.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
    again = client.chat.completions.create(model="any", messages=turns, tools=[TOOL], max_tokens=8)
    check("its result goes back", again.usage.completion_tokens > 0, again)
    return True


def responses_tools(client):
    flat = {"type": "function", **TOOL["function"]}
    asked = {"model": "any", "input": "What is the weather in Paris?", "tools": [flat], "tool_choice": "required", "parallel_tool_calls": False}
    whole = client.responses.create(**asked)
    calls = [item for item in whole.output if item.type == "function_call"]
    check("responses: a function_call", len(calls) == 1 and fits(json.loads(calls[0].arguments)), whole)
    with client.responses.stream(**asked) as stream:
        events = list(stream)
        final = stream.get_final_response()
    got = [item for item in final.output if item.type == "function_call"]
    check("its stream has the same call", got[0].arguments == calls[0].arguments, got)
    check("in pieces", sum(e.type == "response.function_call_arguments.delta" for e in events) > 2, [e.type for e in events])
    turns = [{"role": "user", "content": "Weather?"}, calls[0].model_dump(), {"type": "function_call_output", "call_id": calls[0].call_id, "output": "sunny"}]
    check("its result goes back", client.responses.create(model="any", input=turns, tools=[flat], max_output_tokens=8).usage.output_tokens > 0)


def anthropic_tools(client):
    tools = [{"name": "get_weather", "description": "Weather of a city", "input_schema": SCHEMA}]
    asked = {"model": "any", "max_tokens": 300, "messages": ASKED, "tools": tools, "tool_choice": {"type": "any", "disable_parallel_tool_use": True}}
    whole = client.messages.create(**asked)
    block = whole.content[-1]
    check("anthropic: a tool_use block", whole.stop_reason == "tool_use" and block.type == "tool_use" and fits(block.input), whole)
    with client.messages.stream(**asked) as stream:
        events = list(stream)
        final = stream.get_final_message()
    check("its stream has the same call", final.content[-1].input == block.input and final.stop_reason == "tool_use", final)
    check("in pieces", sum(e.type == "input_json" for e in events) > 2, [e.type for e in events])
    turns = [*ASKED, {"role": "assistant", "content": whole.content},
             {"role": "user", "content": [{"type": "tool_result", "tool_use_id": block.id, "content": "sunny"}]}]
    check("its result goes back", client.messages.create(model="any", max_tokens=8, messages=turns, tools=tools).usage.output_tokens > 0)


def others(client, openai):
    models = client.models.list()
    check("models.list", len(models.data) == 1, models)
    check("models.retrieve", client.models.retrieve(models.data[0].id).id == models.data[0].id)
    got = client.completions.create(model="any", prompt=PROMPT, max_tokens=8, echo=True, logprobs=1)
    check("completions with echo and logprobs", got.choices[0].text.startswith(PROMPT)
          and got.choices[0].logprobs.token_logprobs[0] is None, got)
    streamed = "".join(c.choices[0].text for c in client.completions.create(model="any", prompt=PROMPT, max_tokens=8, stream=True) if c.choices)
    check("completions stream", got.choices[0].text == PROMPT + streamed, streamed)
    error = raises(openai.BadRequestError, lambda: client.chat.completions.create(model="any", messages=MESSAGES, temperature=-1))
    check("a wrong field is a BadRequestError that names it", error is not None and error.param == "temperature", error)
    error = raises(openai.NotFoundError, lambda: client.models.retrieve("other"))
    check("an unknown model is a NotFoundError", error is not None and error.code == "model_not_found", error)
    try:
        vectors = client.embeddings.create(model="any", input=["a", "b"])
        check("embeddings (base64, as the client asks)", len(vectors.data) == 2 and isinstance(vectors.data[0].embedding[0], float))
    except openai.APIStatusError as error:
        check("no embeddings: 501", error.status_code == 501, error)


def responses(client):
    whole = client.responses.create(model="any", input="Name three colours.", max_output_tokens=16)
    check("responses.create", whole.output_text and whole.usage.output_tokens > 0, whole)
    events = list(client.responses.create(model="any", input="Name three colours.", max_output_tokens=16, stream=True))
    check("its stream is the same text", "".join(e.delta for e in events if e.type == "response.output_text.delta") == whole.output_text, events[-1])
    with client.responses.stream(model="any", input="Name three colours.") as stream:
        final = stream.get_final_response()
    check("responses.stream helper", final.output_text.startswith(whole.output_text), final)


def anthropic_client(url, key, tools):
    try:
        import anthropic
    except ImportError:
        print("skipped: anthropic is not installed")
        return
    client = anthropic.Anthropic(base_url=url, api_key=key)
    whole = client.messages.create(model="any", max_tokens=16, system="Be brief.", messages=MESSAGES)
    check("anthropic messages.create", whole.content[0].text and whole.stop_reason in ("end_turn", "max_tokens"), whole)
    with client.messages.stream(model="any", max_tokens=16, system="Be brief.", messages=MESSAGES) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    check("its stream is the same text", text == whole.content[0].text == final.content[0].text, text)
    count = client.messages.count_tokens(model="any", system="Be brief.", messages=MESSAGES)
    check("count_tokens", count.input_tokens == whole.usage.input_tokens + whole.usage.cache_read_input_tokens, count)
    if tools:
        anthropic_tools(client)
    error = raises(anthropic.BadRequestError, lambda: client.messages.create(model="any", max_tokens=4, messages=[]))
    check("an empty conversation is a BadRequestError", error is not None, error)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--key", default="none")
    arguments = parser.parse_args()
    tools = False
    try:
        import openai
    except ImportError:
        print("skipped: openai is not installed")
    else:
        client = openai.OpenAI(base_url=arguments.url + "/v1", api_key=arguments.key)
        chat(client)
        others(client, openai)
        responses(client)
        tools = chat_tools(client, openai)
        if tools:
            responses_tools(client)
    anthropic_client(arguments.url, arguments.key, tools)
    return 1 if failed else 0


sys.exit(main())
