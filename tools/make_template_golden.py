"""Chat templates rendered by Jinja2, in the environment that transformers builds.
usage: make_template_golden.py [--few] TEMPLATES_DIR OUTDIR

Each TEMPLATES_DIR/<name>.jinja becomes OUTDIR/<name>.json:
  {"now": what strftime_now reports, "template": text,
   "cases": [{"name", "context": every variable the template sees, "output"} or {.., "error": message, "kind": class}]}
OUTDIR/features.json is a list of such objects with a "name": the templates of template_features.py.
A message of raise_exception has kind "TemplateError". --few: fewer conversations, for the files that are checked in."""
import copy
import datetime
import json
import re
import sys
from pathlib import Path

from template_features import CONTEXT, FEATURES
from transformers.utils import chat_template_utils

NOW = datetime.datetime(2026, 1, 2, 3, 4, 5)
FEW = {"plain", "tools-called", "reasoning", "unicode", "parts", "same-role"}
SKIP_WITH_FEW = {"gemma4_unified"}  # the same text as gemma4

WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "Weather of a place, now.",
    "parameters": {"type": "object", "properties": {
        "place": {"type": "string", "description": "City & country, \"quoted\""},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
        "days": {"type": "integer", "description": "How many", "default": 1}}, "required": ["place"]}}}
STORE = {"type": "function", "function": {
    "name": "store_notes", "description": "Keep notes (größer als 1).",
    "parameters": {"type": "object", "required": ["notes", "owner"], "properties": {
        "notes": {"type": "array", "items": {"type": "string"}, "description": "The notes"},
        "owner": {"type": "object", "properties": {"id": {"type": "integer"}, "tag": {"type": ["string", "null"]}},
                  "required": ["id"]},
        "urgent": {"type": "boolean", "nullable": True}}},
    "return": {"type": "string"}}}
NO_ARGUMENTS = {"type": "function", "function": {"name": "ping", "description": "", "parameters":
                                                 {"type": "object", "properties": {}}}}


def say(role, content=None, **more):
    return dict({"role": role}, **({} if content is None else {"content": content}), **more)


def call(name, arguments, call_id=None):
    return dict({"id": call_id} if call_id else {}, type="function", function={"name": name, "arguments": arguments})


SYSTEM = say("system", "You are terse.")
CALLS = [SYSTEM, say("user", "Weather in Oslo, and ping."),
         say("assistant", "", tool_calls=[call("get_weather", {"place": "Oslo", "days": 2}, "call00001"),
                                          call("ping", {}, "call00002")]),
         say("tool", "{\"sky\": \"clear\", \"t\": -3.5}", name="get_weather", tool_call_id="call00001"),
         say("tool", "pong", name="ping", tool_call_id="call00002")]
# name -> (messages, the other variables). tools and documents are none where a conversation has none, as in transformers.
CONVERSATIONS = {
    "plain": ([SYSTEM, say("user", "Hi there!"), say("assistant", "Hello."), say("user", "  How are you?\n")],
              dict(add_generation_prompt=True)),
    "no-system": ([say("user", "One"), say("assistant", "Two"), say("user", "Three")],
                  dict(add_generation_prompt=True)),
    "no-prompt": ([say("user", "One"), say("assistant", " Two \n")], dict(add_generation_prompt=False)),
    "tools": ([SYSTEM, say("user", "Weather in Oslo?")],
              dict(add_generation_prompt=True, tools=[WEATHER, STORE, NO_ARGUMENTS])),
    "tools-no-system": ([say("user", "Weather?")], dict(add_generation_prompt=True, tools=[WEATHER])),
    "tools-called": (CALLS, dict(add_generation_prompt=True, tools=[WEATHER, NO_ARGUMENTS])),
    "tools-answered": (CALLS + [say("assistant", "Clear, -3.5."), say("user", "Thanks")],
                       dict(add_generation_prompt=True, tools=[WEATHER])),
    "tool-call-text-arguments": ([say("user", "Go"), say("assistant", tool_calls=[call("get_weather",
                                  "{\"place\": \"Rome\"}", "abcdefghi")]), say("tool", "warm", tool_call_id="abcdefghi")],
                                 dict(add_generation_prompt=True, tools=[WEATHER])),
    "reasoning": ([say("user", "1+1?"), say("assistant", "2", reasoning_content="One and one."), say("user", "2+2?"),
                   say("assistant", "<think>\nTwo and two.\n</think>\n\n4"), say("user", "3+3?")],
                  dict(add_generation_prompt=True, enable_thinking=False)),
    "thinking": ([SYSTEM, say("user", "1+1?"), say("assistant", "2", reasoning_content="Easy.")],
                 dict(add_generation_prompt=False, enable_thinking=True)),
    "thinking-prompt": ([say("user", "1+1?")], dict(add_generation_prompt=True, enable_thinking=True)),
    "unicode": ([say("system", "Sé útil 🙂"), say("user", "日本語 <b>\"quotes\" & 'más'</b>\n\ttab \\ back\u200d👩‍👩‍👧"),
                 say("assistant", "Привет\r\nмир"), say("user", "{{ not a template }} {% raw %} <|im_end|>")],
                dict(add_generation_prompt=True)),
    "parts": ([say("system", [{"type": "text", "text": "Be brief."}]),
               say("user", [{"type": "image"}, {"type": "text", "text": "What is "}, {"type": "text", "text": "this?"}]),
               say("assistant", [{"type": "text", "text": "A cat."}]), say("user", [{"type": "text", "text": "Sure?"}])],
              dict(add_generation_prompt=True)),
    "empty": ([say("system", ""), say("user", ""), say("assistant", "   "), say("user", "\n")],
              dict(add_generation_prompt=True)),
    "same-role": ([say("user", "First."), say("user", "Second."), say("assistant", "Yes."), say("assistant", "And no.")],
                  dict(add_generation_prompt=True)),
    "odd-roles": ([say("developer", "Rules."), say("user", "Hi"), say("critic", "Bad")],
                  dict(add_generation_prompt=True)),
    "system-only": ([SYSTEM], dict(add_generation_prompt=True)),
    "assistant-first": ([say("assistant", "Welcome"), say("user", "Hi")], dict(add_generation_prompt=True)),
    "no-content": ([say("user", "Hi"), say("assistant"), say("user", "Still there?")],
                   dict(add_generation_prompt=True)),
    "documents": ([say("user", "What do they say?")],
                  dict(add_generation_prompt=True, documents=[{"title": "One", "text": "First text."},
                                                              {"title": "Zwei", "text": "Zweiter Text."}])),
    "options": ([SYSTEM, say("user", "Hi"), say("assistant", "Yo"), say("user", "Date?")],
                dict(add_generation_prompt=True, date_string="01 Jan 2020", tools=[WEATHER], reasoning_effort="low",
                     tools_in_user_message=False, preserve_thinking=True)),
    "no-tokens": ([say("user", "Hi")], dict(bos_token=None, eos_token=None)),
}


class FixedClock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


def context_of(messages, more):
    """What a template sees: transformers drops null fields and copies reasoning_content to thinking."""
    messages = chat_template_utils._normalize_chat_messages(copy.deepcopy(messages))
    messages = chat_template_utils._alias_reasoning_fields(messages)
    context = dict(messages=messages, tools=None, documents=None, bos_token="<s>", eos_token="</s>")
    context.update(copy.deepcopy(more))
    if context["bos_token"] is None:
        del context["bos_token"], context["eos_token"]
    return context


def render(template, context):
    try:
        return dict(output=chat_template_utils._compile_jinja_template(template).render(**copy.deepcopy(context)))
    except Exception as error:  # the kind is part of the golden
        return dict(error=str(error), kind=type(error).__name__)


def write(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")


def main():
    few = "--few" in sys.argv
    source, out = [Path(a) for a in sys.argv[1:] if a != "--few"]
    out.mkdir(parents=True, exist_ok=True)
    chat_template_utils.datetime = FixedClock
    now = NOW.isoformat()
    for path in sorted(source.glob("*.jinja")):
        if few and path.stem in SKIP_WITH_FEW:
            continue
        template = path.read_bytes().decode("utf-8")
        cases = []
        for name, (messages, more) in CONVERSATIONS.items():
            if few and name not in FEW:
                continue
            context = context_of(messages, more)
            cases.append(dict(name=name, context=context, **render(template, context)))
        write(out / f"{path.stem}.json", dict(now=now, template=template, cases=cases))
    features = []
    for name, template, more in FEATURES:
        used = {k: v for k, v in CONTEXT.items() if re.search(rf"\b{k}\b", template)}
        context = dict(used, **more)
        result = render(template, context)
        if ("error" in result) != name.startswith("error-"):
            print("unexpected:", name, result)
        features.append(dict(name=name, now=now, template=template, cases=[dict(context=context, **result)]))
    write(out / "features.json", features)


if __name__ == "__main__":
    main()
