"""Random templates rendered by Jinja2, as transformers configures it, and compared or written down.
usage: compare_jinja.py COMMAND SECONDS [SEED]     differences between Jinja2 and COMMAND (see jinja_lines.c)
       compare_jinja.py --golden OUT.json COMMAND  what can be compared at all: {"context", "cases": [[template, output] or [template, null, error]]}"""
import json
import re
import resource
import signal
import subprocess
import sys
import time

import warnings

import jinja2
from jinja_grammar import CONTEXT, Grammar
from transformers.utils import chat_template_utils

warnings.simplefilter("ignore")
ENVIRONMENT = chat_template_utils._cached_compile_jinja_template("").environment
# What need not be the same: addresses, where Python has no text of its own, and what is said to be unsupported.
INCOMPARABLE = re.compile(r"0x[0-9a-f]{6,}|AT 0X|<generator|<built-in|<function|object at|<bound|<class|Markup\.|'nan'|"
                          r"name 'inf'|sequence item|recursion|not subscriptable|type: 'slice'|slice indices must")
UNSUPPORTED = re.compile(r"(is|are) not supported|64 bits|out of range|need more than|steps")


# Templates may ask for more memory and time than there is: both are failures that need not be the same.
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))


class TooMuch(BaseException):
    pass


def out_of_time(*_):
    raise TooMuch()


signal.signal(signal.SIGALRM, out_of_time)


def render(template):
    signal.alarm(3)
    try:
        return render_now(template)
    except (TooMuch, MemoryError, RecursionError):
        return None, "recursion"
    finally:
        signal.alarm(0)


def render_now(template):
    try:
        return ENVIRONMENT.from_string(template).render(**CONTEXT), None
    except jinja2.TemplateSyntaxError as error:
        return None, "line %d: %s" % (error.lineno, error.message)
    except SyntaxError as error:
        return None, error.msg
    except (MemoryError, RecursionError):
        raise
    except Exception as error:
        return None, str(error)


def same(expected, got):
    """None: it cannot be told"""
    text, error = expected
    if "error" in got and UNSUPPORTED.search(got["error"]):
        return None
    for value in (text, error, got.get("output"), got.get("error")):
        if value is not None and INCOMPARABLE.search(value):
            return None
    if error is None:
        return got.get("output") == text
    message = got.get("error", "")
    return message[:490] == error[:490] or re.sub(r"^line \d+: ", "", message)[:480] == error[:480]


class Other:
    def __init__(self, command):
        self.process = subprocess.Popen([command], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def render(self, template):
        self.process.stdin.write(json.dumps({"template": template, "context": CONTEXT}).encode() + b"\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def compare(command, seconds, seed):
    grammar, other, end, count, differences = Grammar(seed), Other(command), time.time() + seconds, 0, 0
    while time.time() < end:
        template = grammar.template()
        expected, got = render(template), other.render(template)
        count += 1
        if same(expected, got) is False:
            differences += 1
            print(repr(template)[:1000], "\n  gives", repr(got)[:300], "\n  not  ", repr(expected)[:300])
    print(count, "templates,", differences, "differences, seed", seed)


def golden(path, command):
    grammar, other, cases, size = Grammar(7), Other(command), [], 0
    while size < 120000:
        template = grammar.template()
        output, error = render(template)
        if len(template) > 300 or len(output or error or "") > 200 or INCOMPARABLE.search(output or error or ""):
            continue
        if UNSUPPORTED.search(error or "") or any(ord(c) > 0xFFFF or 0xD800 <= ord(c) < 0xE000 for c in output or ""):
            continue
        if error and grammar.chance(.5):
            continue
        if same((output, error), other.render(template)) is None or "wordcount" in template:
            continue
        cases.append([template, output] if error is None else [template, None, error])
        size += len(json.dumps(cases[-1], ensure_ascii=False).encode()) + 1
    with open(path, "w") as out:
        out.write('{"context": %s,\n"cases": [\n' % json.dumps(CONTEXT, ensure_ascii=False))
        out.write(",\n".join(json.dumps(case, ensure_ascii=False) for case in cases) + "\n]}\n")
    print(len(cases), "cases,", sum(len(case) == 3 for case in cases), "errors")


if sys.argv[1] == "--golden":
    golden(sys.argv[2], sys.argv[3])
else:
    compare(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else int(time.time()))
