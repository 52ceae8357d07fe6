"""Answers with reasoning and tool calls, and what is to be read from them.
usage: make_reply_golden.py > tests/golden/replies.json

An answer is put together from text, reasoning and sections of calls. What a section holds is what mlx-lm's own parser of that
format reads from it, where it has one; the others are written out here. {"template": a text by which the format is chosen,
"prompt": the end of the prompt, "answer", "events": [["text", …], ["reasoning", …], ["call", name, arguments], ["rejected", why]]}"""
import importlib
import json

TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "description": "Weather.", "parameters": {
        "type": "object", "properties": {
            "city": {"type": "string"}, "days": {"type": "integer"}, "metric": {"type": "boolean"},
            "share": {"type": "number"}, "tags": {"type": "array", "items": {"type": "string"}},
            "where": {"type": "object"}, "unit": {"enum": ["C", "F"]}}, "required": ["city"]}}},
    {"type": "function", "function": {"name": "now", "description": "", "parameters": {"type": "object", "properties": {}}}},
    {"type": "function", "function": {"name": "files.read", "description": "", "parameters": {
        "type": "object", "properties": {"path": {"type": "string"}}, "additionalProperties": False}}},
]


class Section:
    """open + body + close; `calls` None: mlx-lm's parser says."""

    def __init__(self, open, body, close="", parser=None, calls=None, rejected=None):
        self.text, self.events = open + body + close, []
        if parser:
            read = importlib.import_module("mlx_lm.tool_parsers." + parser).parse_tool_call(body, TOOLS)
            calls = [(c["name"], c["arguments"]) for c in (read if isinstance(read, list) else [read])]
        self.events += [["call", name, arguments] for name, arguments in calls or []]
        if rejected:
            self.events.append(["rejected", rejected])


class Reasoning:
    def __init__(self, open, text, close):
        self.text, self.events = open + text + close, [["reasoning", text.strip()]]


cases = []


def case(name, template, *parts, prompt="", events=None):
    """Text is a string; white space around it at tags is not part of it."""
    answer, found = "", []
    for part in parts:
        answer += part if isinstance(part, str) else part.text
        if not isinstance(part, str):
            found += part.events
        elif found and found[-1][0] == "text":
            found[-1][1] += part
        elif part.strip():
            found.append(["text", part])
    for i, event in enumerate(found):
        if event[0] == "text":
            text = event[1]
            if i + 1 < len(found):
                text = text.rstrip()
            if i > 0:
                text = text.lstrip()
            found[i] = ["text", text]
    cases.append(dict(name=name, template=template, prompt=prompt, answer=answer, events=found if events is None else events))


WEATHER = {"city": "Paris", "days": 2}


def hermes(body, **more):
    return Section("<tool_call>", body, "</tool_call>", "json_tools" if not more else None, **more)


H = "<tool_call> tool_call.name"
one = '\n{"name": "get_weather", "arguments": {"city": "Paris", "days": 2}}\n'
case("hermes", H, "Let me see.\n", hermes(one))
case("hermes: text behind", H, hermes(one), "\nDone. <b> & </tool_call")
case("hermes: two", H, hermes(one), "\n", hermes('{"name":"now","arguments":{}}'))
case("hermes: tag in a string", H, hermes('{"name": "get_weather", "arguments": {"city": "a </tool_call> \\" b"}}'), "x")
case("hermes: escapes", H, hermes('{"name": "get_weather", "arguments": {"city": "\\u00fcber \\ud83d\\ude00 \\n\\t\\\\"}}'))
case("hermes: nested", H, hermes('{"name": "get_weather", "arguments": {"city": "x", "where": {"a": [1, 2.5, -3e2, true, null, {"b": []}]}}}'))
case("hermes: no tag after all", H, "a <tool_ca b < <to", "ol_callx> <tool_call")
case("hermes: unknown", H, hermes('{"name": "nope", "arguments": {}}', rejected="unknown tool"))
case("hermes: missing", H, hermes('{"name": "get_weather", "arguments": {}}', rejected="bad arguments"))
case("hermes: wrong type", H, hermes('{"name": "get_weather", "arguments": {"city": 5}}', rejected="bad arguments"))
case("hermes: wrong item", H, hermes('{"name": "get_weather", "arguments": {"city": "x", "tags": ["a", 1]}}', rejected="bad arguments"))
case("hermes: not in the enum", H, hermes('{"name": "get_weather", "arguments": {"city": "x", "unit": "K"}}', rejected="bad arguments"))
case("hermes: not declared", H, hermes('{"name": "files.read", "arguments": {"path": "x", "mode": 1}}', rejected="bad arguments"))
case("hermes: no object", H, hermes('{"name": "now", "arguments": [1]}', rejected="bad arguments"))
case("hermes: malformed", H, hermes('{"name": get_weather}', rejected="malformed"), " and on")
case("hermes: empty", H, hermes(" ", rejected="malformed"))
case("hermes: quote left open", H, hermes('{"name": "now}', rejected="malformed"), " and ", hermes('{"name":"now","arguments":{}}'))
case("hermes: incomplete", H, "x ", Section("<tool_call>", '{"name": "get_weather", "arguments": {"ci', rejected="incomplete"))
case("hermes: closed by the end", H, Section("<tool_call>", '{"name": "now", "arguments": {}}', calls=[("now", {})]))
case("hermes: arguments as text", H, hermes('{"name": "get_weather", "arguments": "{\\"city\\": \\"x\\"}"}', calls=[("get_weather", {"city": "x"})]))
case("hermes: parameters", H, hermes('{"name": "get_weather", "parameters": {"city": "x"}}', calls=[("get_weather", {"city": "x"})]))
case("hermes: Python's quotes", H, hermes("{'name': 'get_weather', 'arguments': {'city': \"it's\", 'metric': True,}}",
                                         calls=[("get_weather", {"city": "it's", "metric": True})]))
case("hermes: reasoning first", H + " <think></think>", Reasoning("<think>", "\nHm, <tool_call> or </thin?\n", "</think>"), "\n\n", hermes(one))

Q = "<tool_call>\n<function= <parameter="
coder = lambda body: Section("<tool_call>", body, "</tool_call>", "qwen3_coder")
case("qwen3-coder", Q, "Now.\n", coder("\n<function=get_weather>\n<parameter=city>\nParis\nFrance\n</parameter>\n<parameter=days>\n2\n</parameter>\n"
     "<parameter=metric>\ntrue\n</parameter>\n<parameter=share>\n0.5\n</parameter>\n<parameter=tags>\n[\"a\", \"b\"]\n</parameter>\n"
     "<parameter=where>\n{\"x\": 1}\n</parameter>\n</function>\n"))
case("qwen3-coder: text that is a number", Q, coder("<function=get_weather><parameter=city>75001</parameter></function>"))
case("qwen3-coder: none", Q, coder("\n<function=now>\n</function>\n"), "\n", coder("\n<function=now>\n</function>\n"))
case("qwen3-coder: no outer tag", Q, Section("", "<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n</function>", "", "qwen3_coder"), "")
case("qwen3-coder: wrong type", Q, Section("<tool_call>", "<function=get_weather><parameter=city>x</parameter><parameter=days>soon</parameter></function>",
                                         "</tool_call>", rejected="bad arguments"))
case("qwen3-coder: cut", Q, Section("<tool_call>", "<function=get_weather>\n<parameter=city>\nPar", rejected="incomplete"))

G = "<arg_key>"
glm = lambda body: Section("<tool_call>", body, "</tool_call>", "glm47")
case("glm", G, "Looking.", glm("get_weather\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>\n<arg_key>days</arg_key>\n<arg_value>2</arg_value>\n"
     "<arg_key>tags</arg_key><arg_value>[\"a\"]</arg_value>"), glm("get_weather<arg_key>city</arg_key><arg_value>5</arg_value>"))
case("glm: none", G, glm("now"))
case("glm: cut", G, Section("<tool_call>", "get_weather\n<arg_key>city</arg_key>\n<arg_val", rejected="incomplete"))
case("longcat", "<longcat_tool_call>", Section("<longcat_tool_call>", "get_weather\n<longcat_arg_key>city</longcat_arg_key>\n"
     "<longcat_arg_value>Rome</longcat_arg_value>\n<longcat_arg_key>days</longcat_arg_key>\n<longcat_arg_value>3</longcat_arg_value>\n",
     "</longcat_tool_call>", "longcat"))

L = "<|tool_list_start|>"
lfm = lambda body: Section("<|tool_call_start|>", body, "<|tool_call_end|>", "pythonic")
case("lfm2", L, "a", lfm('[get_weather(city="Paris", days=2, metric=True, tags=[\'a\', "b"], where={"x": None})]'), "b")
case("lfm2: two", L, lfm("[get_weather(city='it\\'s'), now()]"))
case("lfm2: dotted", L, lfm("[files.read(path='/tmp/x')]"))
case("lfm2: positional", L, Section("<|tool_call_start|>", "[get_weather('Paris')]", "<|tool_call_end|>", rejected="malformed"))
case("lfm2: cut", L, Section("<|tool_call_start|>", "[get_weather(city='Par", rejected="incomplete"))

M = "[TOOL_CALLS]"
case("mistral: array", M, "Well.", Section("[TOOL_CALLS]", ' [{"name": "get_weather", "arguments": {"city": "Paris"}, "id": "abcdefghi"}, {"name": "now", "arguments": {}}]', "", "mistral"))
case("mistral: named", M, Section("[TOOL_CALLS]", 'get_weather[ARGS]{"city": "Paris", "days": 2}', "", "mistral"))
case("mistral: named twice", M, Section("[TOOL_CALLS]", 'get_weather[ARGS]{"city": "[TOOL_CALLS]"}[TOOL_CALLS]now[ARGS]{}', "",
                                        calls=[("get_weather", {"city": "[TOOL_CALLS]"}), ("now", {})]))
case("mistral: call id", M, Section("[TOOL_CALLS]", 'now[CALL_ID]abcdefghi[ARGS]{}', "", calls=[("now", {})]))
case("mistral: cut", M, Section("[TOOL_CALLS]", 'get_weather[ARGS]{"city": "Par', rejected="incomplete"))
case("magistral", M + "[THINK][/THINK]", Reasoning("[THINK]", "So, [TOOL_CALLS] it is.", "[/THINK]"), "Yes.", Section("[TOOL_CALLS]", "now[ARGS]{}", "", "mistral"))

case("gemma 4", "<|tool_call> <tool_call|>", Section("<|tool_call>", 'call:get_weather{city:<|"|>Par{i}s, "x"<|"|>,days:2,where:{a:[1,<|"|>b<|"|>]},metric:true}', "<tool_call|>", "gemma4"))
case("gemma 4: two", "<|tool_call> <tool_call|>", Section("<|tool_call>", "call:now{}", "<tool_call|>", "gemma4"), Section("<|tool_call>", 'call:get_weather{city:<|"|>x<|"|>}', "<tool_call|>", "gemma4"))
case("gemma 4: thought", "<|tool_call> <tool_call|> <|channel>thought <channel|>", Reasoning("<|channel>thought\n", "Aha.", "\n<channel|>"), "Hello.")
case("functiongemma", "<start_function_call>", Section("<start_function_call>", "call:get_weather{city:<escape>Paris, {x}<escape>,days:2}", "<end_function_call>",
                                                      calls=[("get_weather", {"city": "Paris, {x}", "days": 2})]))
case("functiongemma: plain", "<start_function_call>", Section("<start_function_call>", "call:get_weather{city:<escape>Paris<escape>,days:2}", "<end_function_call>", "function_gemma"))

K = "<|tool_calls_section_begin|>"
case("kimi", K, "I look.", Section(K, '<|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>{"city": "Paris"}<|tool_call_end|>'
                                  '<|tool_call_begin|>functions.now:1<|tool_call_argument_begin|>{}<|tool_call_end|>', "<|tool_calls_section_end|>", "kimi_k2"))
X = "<minimax:tool_call>"
case("minimax", X, Section(X, '\n<invoke name="get_weather">\n<parameter name="city">Paris</parameter>\n<parameter name="days">2</parameter>\n'
                              '<parameter name="tags">["a"]</parameter>\n</invoke>\n<invoke name="now">\n</invoke>\n', "</minimax:tool_call>", "minimax_m2"))
case("minicpm", '<function name=" <param name="', Section("", '<function name="get_weather"><param name="city"><![CDATA[a < b\n]]></param><param name="days">2</param></function>', "", "minicpm5"))
D = "<｜tool▁calls▁begin｜>"
case("deepseek v3", D, "Gut.", Section(D, '<｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n{"city": "Köln"}\n```<｜tool▁call▁end｜>\n'
                                      '<｜tool▁call▁begin｜>function<｜tool▁sep｜>now\n```json\n{}\n```<｜tool▁call▁end｜>', "<｜tool▁calls▁end｜>", calls=[("get_weather", {"city": "Köln"}), ("now", {})]))
case("deepseek v3.1", D, Section(D, '<｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{"city": "x"}<｜tool▁call▁end｜>', "<｜tool▁calls▁end｜>", calls=[("get_weather", {"city": "x"})]))
case("deepseek v3.2", "｜DSML｜", Section("<｜DSML｜function_calls>", '\n<｜DSML｜invoke name="get_weather">\n<｜DSML｜parameter name="city" string="true">x</｜DSML｜parameter>\n'
     '<｜DSML｜parameter name="days" string="false">2</｜DSML｜parameter>\n</｜DSML｜invoke>\n', "</｜DSML｜function_calls>", calls=[("get_weather", {"city": "x", "days": 2})]))
case("cohere", "<|START_ACTION|> <|START_THINKING|> <|END_THINKING|>", Reasoning("<|START_THINKING|>", "I will look.", "<|END_THINKING|>"),
     Section("<|START_ACTION|>", '[\n    {"tool_call_id": "0", "tool_name": "get_weather", "parameters": {"city": "x"}}\n]', "<|END_ACTION|>", calls=[("get_weather", {"city": "x"})]))
case("cohere: response", "<|START_ACTION|> <|START_THINKING|> <|END_THINKING|>", "<|START_RESPONSE|>Hello.<|END_RESPONSE|>", events=[["text", "Hello."]])
case("jamba", "<tool_calls>", Section("<tool_calls>", '[\n{"name": "get_weather", "arguments": {"city": "x"}},{"name": "now", "arguments": {}}\n]', "</tool_calls>", calls=[("get_weather", {"city": "x"}), ("now", {})]))
case("nemotron", "<TOOLCALL>", Section("<TOOLCALL>", '[{"name": "now", "arguments": {}}]', "</TOOLCALL>", calls=[("now", {})]))
case("apertus", "<|tools_prefix|>", Section("<|tools_prefix|>", '[{"get_weather": {"city": "x"}}, {"now": {}}]', "<|tools_suffix|>", calls=[("get_weather", {"city": "x"}), ("now", {})]))
case("granite", "<|tool_call|>", Section("<|tool_call|>", '[{"name": "get_weather", "arguments": {"city": "x"}}]', calls=[("get_weather", {"city": "x"})]))
case("granite 4", "<|tool_call|>", Section("<tool_call>", '\n{"name": "now", "arguments": {}}\n', "</tool_call>", calls=[("now", {})]), "x")
case("phi 4 mini", "<|/tool|>", Section("<|tool_call|>", '[{"name": "now", "arguments": {}}]', "<|/tool_call|>", calls=[("now", {})]))
case("seed", "<seed:tool_call> </seed:think>", Reasoning("<seed:think>", "Hm.", "</seed:think>"), Section("<seed:tool_call>", "\n<function=get_weather>\n<parameter=city>x</parameter>\n</function>\n", "</seed:tool_call>", calls=[("get_weather", {"city": "x"})]))
case("functionary", "<function=", Section("", '<function=get_weather>{"city": "x"}</function>', calls=[("get_weather", {"city": "x"})]), "more")
case("gemma 3", "```tool_code", "So:\n", Section("```tool_code", '\nget_weather(city="x")\n', "```", calls=[("get_weather", {"city": "x"})]))

P = "<|python_tag|>"
case("llama 3: JSON", P, Section("", '{"name": "get_weather", "parameters": {"city": "Paris"}}', calls=[("get_weather", {"city": "Paris"})]))
case("llama 3: two", P, Section("", '{"name": "get_weather", "parameters": {"city": "x"}}; {"name": "now", "parameters": {}}', calls=[("get_weather", {"city": "x"}), ("now", {})]))
case("llama 3: tag", P, Section(P, '{"name": "now", "parameters": {}}', calls=[("now", {})]))
case("llama 3: pythonic", P, Section("", '[get_weather(city="x"), now()]', calls=[("get_weather", {"city": "x"}), ("now", {})]))
case("llama 3: JSON that is no call", P, '{"name": "Ada", "age": 36}')
case("llama 3: other JSON", P, '{"age": 36} is [it](x).')
case("llama 3: a link", P, "[get](x) it")
case("llama 3: cut", P, Section("", '{"name": "get_weather", "parameters": {"city": "Par', rejected="incomplete"))
case("llama 3: text, then JSON", P, 'Here: {"name": "now", "parameters": {}}')

C = "<|channel|> <|message|>"
case("gpt-oss", C, events=[["reasoning", "Need weather."], ["text", "Looking."], ["call", "get_weather", {"city": "x"}]], prompt="<|start|>assistant",
     *["<|channel|>analysis<|message|>Need weather.<|end|><|start|>assistant<|channel|>commentary<|message|>Looking.<|end|>"
       '<|start|>assistant<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{"city": "x"}<|call|>'])
case("gpt-oss: final", C, "<|channel|>final<|message|>It is < 3.<|return|>", events=[["text", "It is < 3."]], prompt="<|start|>assistant")
case("gpt-oss: recipient first", C, " to=functions.now<|channel|>commentary json<|message|>{}", events=[["call", "now", {}]], prompt="<|start|>assistant")
case("gpt-oss: header in the prompt", C, "Yes.", events=[["text", "Yes."]], prompt="<|start|>assistant<|channel|>final<|message|>")
case("gpt-oss: cut", C, '<|channel|>commentary to=functions.now<|message|>{"a', events=[["rejected", "incomplete"]], prompt="<|start|>assistant")
case("gpt-oss: malformed", C, "<|channel|>commentary to=functions.now<|message|>{]<|call|>", events=[["rejected", "malformed"]], prompt="<|start|>assistant")
case("gpt-oss: unknown", C, "<|channel|>commentary to=browser.open<|message|>{}<|call|>", events=[["rejected", "unknown tool"]], prompt="<|start|>assistant")
case("gpt-oss: no header", C, "Just text.", events=[["text", "Just text."]], prompt="<|start|>assistant")

T = "<think> </think>"
case("think", T, Reasoning("<think>", "\nOne.\n\nTwo.\n", "</think>"), "\n\nThree.\n")
case("think: opened by the prompt", T, "On and on.\n</think>\n\nDone.", events=[["reasoning", "On and on."], ["text", "Done."]], prompt="assistant\n<think>\n")
case("think: closed by the prompt", T, "Done.", prompt="assistant\n<think>\n\n</think>\n\n")
case("think: never closed", T, "<think>On and </thin", events=[["reasoning", "On and </thin"]])
case("think: empty", T, "<think>\n\n</think>\n\nDone.", events=[["text", "Done."]])
case("think: spoken of", T, "The tag <think> opens, </think> closes.")
case("think: text only", T, " \n a \n\n")
for open, close in [("<|begin_of_thought|>", "<|end_of_thought|>"), ("<longcat_think>", "</longcat_think>"), ("<|think:start|>", "<|think:end|>"),
                    ("<|inner_prefix|>", "<|inner_suffix|>"), ("◁think▷", "◁/think▷"), ("<reasoning>", "</reasoning>"), ("<thinking>", "</thinking>"),
                    ("<thought>", "</thought>"), ("Here is my thought process:", "Here is my response:")]:
    case("reasoning in " + open, open + close, Reasoning(open, " Hm < 3. ", close), " Yes.")
case("begin_of_solution", "<|begin_of_thought|> <|end_of_thought|>", Reasoning("<|begin_of_thought|>", "Hm.", "<|end_of_thought|>"),
     "<|begin_of_solution|>Yes.<|end_of_solution|>", events=[["reasoning", "Hm."], ["text", "Yes."]])
case("nothing", "", "<think>a</think> <tool_call>{}</tool_call>")

print(json.dumps(dict(tools=TOOLS, cases=cases), ensure_ascii=False, indent=0))
