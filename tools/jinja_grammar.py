"""Random Jinja templates from a grammar: expressions with every filter, test and method; statements with few names, so
that scopes collide; formats and text that is hard on string functions. Used by compare_jinja.py."""
import random

CONTEXT = {
    "a": 1, "b": 2, "n": -3, "z": 0, "big": 9007199254740993, "f": 2.5, "g": -0.1, "h": 1e20, "t": True, "fl": False,
    "no": None, "s": "hello World", "e": "", "u": "héllo ß ǅ Σ ΑΣ 日本 😀", "sp": "  a b\tc\n d  ",
    "q": "it's \"q\" <b>&</b>", "num": "42", "fs": "3.14", "m": "line1\nline2\r\nline3\n\nx", "l": [1, 2, 3], "le": [],
    "ls": ["b", "A", "c", "a"], "lm": [3, "x", None, 2.5, [1], {"k": 1}], "ll": [[1, 2], [3, 4], [5, 6]],
    "lf": [1.5, 0.1, -2.0], "d": {"k": "v", "items": [1], "n": None, "A": 1, "b": [1, 2]}, "de": {},
    "dd": {"x": {"y": {"z": [10, 20]}}},
    "users": [{"name": "Bob", "age": 30, "on": True}, {"name": "alice", "age": 25, "on": False},
              {"name": "Bob", "age": 2, "tags": ["x"]}],
    "messages": [{"role": "system", "content": "Be nice."}, {"role": "user", "content": "Hi <x> é"},
                 {"role": "assistant", "content": "Yo",
                  "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]}],
}
NAMES = list(CONTEXT) + ["undef", "missing2"]
STRINGS = ["'a'", "''", "'x y'", "\"q'\"", "'A'", "','", "' '", "'b'", "'é'", "'%s'", "'%d|%5.2f'", "'{} {a}'", "'name'",
           "'role'", "'k'", "'items'", "'3'", "'\\n'", "'0'", "'tags.0'", "'<&>'", "'aXbX'", "'ß'", "'age'", "'1_0'",
           "'-7'", "'1e3'", "'nan'"]
NUMBERS = [0, 1, 2, 3, 5, 10, -1, 7, 100, 2**40, 2**53 + 1]
FLOATS = ["1.5", "0.1", "1e3", "2.0", "1e-7", "123456.789", "1e16", "0.5", "2.5", "1_000", "0x1F", "0b11"]

# Arguments: S string, I integer, B boolean, X anything, F a filter, T a test; ? optional.
FILTERS = {
    "abs": "", "attr": "S", "batch": "I X?", "capitalize": "", "center": "I?", "count": "", "d": "X? B?",
    "default": "X? B?", "dictsort": "B? 'value'? B?", "e": "", "escape": "", "filesizeformat": "B?", "first": "",
    "float": "X?", "forceescape": "", "format": "X? X?", "groupby": "S X?", "indent": "I? B? B?", "int": "X? I?",
    "join": "S? S?", "last": "", "length": "", "list": "", "lower": "", "items": "", "map": "F", "min": "", "max": "",
    "reject": "T", "rejectattr": "S T?", "replace": "S S I?", "reverse": "", "round": "I? 'floor'?", "safe": "",
    "select": "T", "selectattr": "S T?", "slice": "I X?", "sort": "B?", "string": "", "striptags": "", "sum": "",
    "title": "", "trim": "S?", "truncate": "I? B? S? I?", "unique": "", "upper": "", "urlencode": "", "wordcount": "",
    "wordwrap": "I?", "xmlattr": "", "tojson": "", "pprint": "",
}
TESTS = {name: 0 for name in "odd even defined undefined filter test none boolean false true integer float lower upper "
         "string mapping number sequence iterable callable escaped".split()}
TESTS.update({name: 1 for name in "divisibleby in eq equalto ne gt greaterthan ge lt lessthan le".split()})
KEYWORDS = ("attribute case_sensitive reverse default_value boolean indent sort_keys ensure_ascii width separators d count "
            "start bogus precision method first blank killwords end leeway fill_with by").split()
METHODS = """upper() lower() title() capitalize() swapcase() strip() strip(S) lstrip(S) rstrip() split() split(S) split(S,I)
split(none,I) rsplit(S,I) rsplit() rsplit(none,I) splitlines() splitlines(true) startswith(S) endswith(S) startswith((S,S))
startswith(S,I) endswith(S,I,I) replace(S,S) replace(S,S,I) join(X) find(S) find(S,I) rfind(S) index(S) count(S)
count(S,I,I) isdigit() isalpha() isalnum() isspace() isupper() islower() istitle() isidentifier() isnumeric() isdecimal()
isascii() isprintable() zfill(I) ljust(I) rjust(I,S) center(I) center(I,S) partition(S) rpartition(S) removeprefix(S)
removesuffix(S) format(X,X) format(X,a=X) expandtabs(I) casefold() get(S) get(S,X) items() keys() values() copy()
append(X) index(X) count(X) pop() update(X) insert(I,X) name role k items x.y.z bogus bogus() __class__ _x real
bit_length() is_integer() split(sep=S) split(maxsplit=I) strip(I) upper(I) get() join(S,S) replace(S)""".split()
OPERATORS = "+ - * / // % ~ == != < <= > >= in not|in and or".split()
GLOBALS = """range(X) range(2,7) range(10,0,-3) dict(X) dict(a=X) namespace(x=X).x joiner()() cycler(1,2).next()
raise_exception(X) range(5)|list dict(d,z=1) N(X) [1,2,3]|map('string')|join('-') users|map(attribute='name')|list
users|groupby('name')|list users|sort(attribute='age')|map(attribute='age')|list ls|sort|join d|dictsort|list
d.items()|list dict([('a',1)])""".split()
TEXT = ["x", "\n", "  ", "\n  ", "a\n", "{", "}", "%", "<p>", "\t", "é\n\n", "  b  ", "\r\n", "{ %", "#}", "'"]
LOOP = """loop.index loop.index0 loop.revindex loop.first loop.last loop.length loop.previtem loop.nextitem
loop.cycle('o','e') loop.changed(i) loop.depth loop.bogus loop""".split()
CODE_POINTS = [0x41, 0x61, 0x30, 0x20, 0x5F, 0x2D, 0xDF, 0x130, 0x131, 0x149, 0x1C4, 0x1C5, 0x1F0, 0x345, 0x390, 0x3A3, 0x3C2,
               0x3C3, 0x391, 0x2E, 0x27, 0x301, 0xFB01, 0x1F80, 0x1E9E, 0x2160, 0x24D0, 0xB2, 0xBD, 0x660, 0x4E00, 0x3042,
               0x1F600, 0x10400, 0x10428, 0x85, 0xA0, 0x2028, 0x2003, 0x200B, 0xAD, 0xFEFF, 0x7F, 0x1C, 0x0B, 0x0C, 0x0D,
               0x0A, 0x09, 0x1D, 0x600, 0xE000, 0x378, 0x2170, 0xAA, 0x1D7CE, 0xE9, 0x10A0, 0x10D0, 0x13A0, 0xAB70]
TEXT_FILTERS = """title capitalize upper lower trim wordcount urlencode tojson tojson(ensure_ascii=true) e striptags
indent(2,true) indent(1,false,true) list reverse int float length truncate(3) truncate(2,true,'') wordwrap(3)
wordwrap(5,false) string center(11) first last unique|list min max sort replace('','.') batch(2)|list slice(3)|list
int(0,16) int(7,0) int(5,2) round""".split()


class Grammar:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def pick(self, *items):
        return self.random.choice(items)

    def one(self, items):
        return self.random.choice(items)

    def chance(self, p):
        return self.random.random() < p

    # ---- expressions ----

    def literal(self):
        kind = self.random.randrange(12)
        if kind < 4:
            return self.one(STRINGS)
        if kind < 7:
            return str(self.one(NUMBERS))
        if kind == 7:
            return self.one(FLOATS)
        if kind == 8:
            return self.pick("true", "false", "none", "True", "False", "None")
        if kind == 9:
            return "[" + ", ".join(self.expression(1) for _ in range(self.random.randrange(4))) + "]"
        if kind == 10:
            return "(" + ", ".join(self.expression(1) for _ in range(self.random.randrange(2, 4))) + ")"
        return "{" + ", ".join(self.one(STRINGS + ["1"]) + ": " + self.expression(1)
                               for _ in range(self.random.randrange(3))) + "}"

    def argument(self, spec):
        if self.chance(.1):
            return self.expression(1)
        if spec == "S":
            return self.one(STRINGS)
        if spec == "I":
            return str(self.pick(0, 1, 2, 3, 5, 20, -1))
        if spec == "B":
            return self.pick("true", "false")
        if spec == "X":
            return self.expression(1)
        if spec == "F":
            if self.chance(.6):
                return "'" + self.one([f for f in FILTERS if f != "map"]) + "'"
            return "attribute=" + self.one(STRINGS) + (", default=" + self.one(STRINGS) if self.chance(.3) else "")
        if spec == "T":
            name = self.one(list(TESTS) + ["==", "<", "!=", ">="])
            return "'" + name + "'" + (", " + self.expression(1) if TESTS.get(name, 1) else "")
        return spec

    def filter(self, value):
        name, arguments = self.one(list(FILTERS)), []
        for spec in FILTERS[name].split():
            if spec.endswith("?") and self.chance(.5):
                break
            arguments.append(self.argument(spec.rstrip("?")))
        if self.chance(.12):
            arguments.append(self.one(KEYWORDS) + "=" + (self.one(STRINGS) if self.chance(.4) else self.expression(1)))
        elif name == "tojson" and self.chance(.4):
            arguments.append(self.pick("indent=2", "indent=0", "indent='\\t'", "sort_keys=true", "ensure_ascii=true",
                                       "separators=(',',':')", "indent=none"))
        elif name in ("sort", "min", "max", "unique", "sum", "join") and self.chance(.4):
            arguments.append("attribute=" + self.pick("'age'", "'name'", "0", "'tags.0'", "'name,age'", "'x'"))
        return value + "|" + name + ("(" + ", ".join(arguments) + ")" if arguments else "")

    def method(self):
        return "".join(self.one(STRINGS) if c == "S" else str(self.pick(0, 1, 2, 3, 6, -1, -2)) if c == "I" else
                       self.expression(1) if c == "X" else c for c in self.one(METHODS))

    def slice(self):
        def bound():
            return "" if self.chance(.4) else str(self.pick(0, 1, 2, -1, -2, 5)) if self.chance(.9) else self.expression(1)
        return "[" + bound() + ":" + bound() + (":" + bound() if self.chance(.4) else "") + "]"

    def expression(self, depth=3):
        if depth <= 0:
            return self.one(NAMES) if self.chance(.6) else self.literal()
        kind, less = self.random.randrange(20), depth - 1
        if kind < 4:
            return self.one(NAMES)
        if kind < 6:
            return self.literal()
        if kind < 9:
            joined = self.expression(less) + " " + self.one(OPERATORS).replace("|", " ") + " " + self.expression(less)
            return "(" + joined + ")" if self.chance(.6) else joined
        if kind == 9:
            return self.pick("not ", "-", "+", "- -") + self.atom(less)
        if kind < 13:
            return self.filter(self.atom(less))
        if kind == 13:
            test = self.one(list(TESTS))
            return self.atom(less) + " is " + self.pick("", "", "not ") + test + \
                ("(" + self.expression(less) + ")" if TESTS[test] else "")
        if kind < 16:
            return self.atom(less) + "." + self.method()
        if kind == 16:
            return self.atom(less) + "[" + self.expression(less) + "]"
        if kind == 17:
            return self.atom(less) + self.slice()
        if kind == 18:
            return "(" + self.expression(less) + " if " + self.expression(less) + \
                (" else " + self.expression(less) if self.chance(.7) else "") + ")"
        return self.one(GLOBALS).replace("X", self.expression(1)).replace("N(", self.one(NAMES) + "(")

    def atom(self, depth):
        value = self.expression(depth)
        return value if value.isidentifier() else "(" + value + ")"

    # ---- statements ----

    def tag(self, content):
        return "{%" + self.pick("", "", "", "-", "+") + " " + content + " " + self.pick("", "", "", "-", "+") + "%}"

    def output(self, content):
        return "{{" + self.pick("", "", "", "-") + " " + content + " " + self.pick("", "", "", "-") + "}}"

    def text(self):
        return "".join(self.one(TEXT) for _ in range(self.random.randrange(3)))

    def body(self, depth, loop=False):
        return "".join(self.statement(depth, loop) for _ in range(self.random.randrange(1, 4)))

    def loop(self, depth, in_loop):
        target = self.pick("i", "i", "i", "a", "i, j", "k, v", "(i, j), v")
        source = self.pick("l", "ls", "ll", "d", "d.items()", "users", "messages", "range(3)", "le", "lm", "u", "undef",
                           self.expression(2), "users|map(attribute='name')", "[1,2,3,4]|batch(2)", "ll|reverse")
        head = "for " + target + " in " + source + (" if " + self.expression(2) if self.chance(.25) else "")
        body, recursive = self.body(depth - 1, True), self.chance(.1)
        if self.chance(.5):
            body += self.output(self.one(LOOP))
        if self.chance(.15):
            body += self.tag("if " + self.expression(1)) + self.tag(self.pick("break", "continue")) + self.tag("endif")
        if recursive:
            body += self.tag("if loop.depth < 3") + self.output("loop(l)") + self.tag("endif")
        otherwise = self.tag("else") + self.body(depth - 1, in_loop) if self.chance(.3) else ""
        return self.tag(head + (" recursive" if recursive else "")) + body + otherwise + self.tag("endfor")

    def macro(self, depth):
        name = self.pick("m1", "m2")
        body = self.body(depth - 1) + self.pick("", "{{ varargs }}", "{{ kwargs }}", "{{ caller() }}", "{{ caller }}", "{{ p }}")
        call = self.pick("()", "(1)", "(1,2)", "(1,2,3)", "(p=1)", "(q=3, p=2)", "(zz=1)", "(*l)", "(**de)")
        whole = self.tag("macro " + name + "(" + self.pick("", "p", "p, q=2", "p, q=p", "p=1, q=v") + ")") + body + \
            self.tag("endmacro")
        if self.chance(.3):
            return whole + self.tag("call" + self.pick("", "(i)") + " " + name + call) + self.body(depth - 1) + \
                self.tag("endcall")
        return whole + self.output(name + call)

    def statement(self, depth, loop=False):
        kind = self.random.randrange(22)
        if depth <= 0 or kind < 5:
            value = self.expression(2) if self.chance(.5) else self.pick("v", "w", "a", "s", "i", "ns", "users")
            return self.text() + self.output(value) + self.text()
        if kind < 8:
            return self.text()
        if kind < 11:
            branches = "".join(self.tag(head) + self.body(depth - 1, loop)
                               for head in ["elif " + self.expression(2)] * self.chance(.3) + ["else"] * self.chance(.5))
            return self.tag("if " + self.expression(2)) + self.body(depth - 1, loop) + branches + self.tag("endif")
        if kind < 14:
            return self.loop(depth, loop)
        if kind == 14:
            return self.tag("set " + self.pick("v", "w", "a", "s", "i") + " = " + self.expression(2))
        if kind == 15:
            return self.tag("set ns = namespace(x=1)") + self.tag("set ns." + self.pick("x", "y") + " = " + self.expression(2)) + \
                self.output("ns")
        if kind == 16:
            return self.tag("set v" + self.pick("", " | upper", " | trim | length")) + self.body(depth - 1, loop) + \
                self.tag("endset")
        if kind == 17:
            return self.tag("with " + self.pick("v=1", "v=" + self.expression(1) + ", w=v")) + self.body(depth - 1, loop) + \
                self.tag("endwith")
        if kind == 18:
            return self.macro(depth)
        if kind == 19:
            return self.tag("filter " + self.pick("upper", "lower|title", "replace('a','b')", "trim", "indent(2)")) + \
                self.body(depth - 1, loop) + self.tag("endfilter")
        if kind == 20:
            return self.pick("{#" + self.pick("", "-", "+") + " c\n " + self.pick("", "-", "+") + "#}",
                             self.tag("generation") + self.body(depth - 1) + self.tag("endgeneration"),
                             "{% raw %}{{ x }}" + self.text() + self.tag("endraw"))
        return self.tag("set " + self.pick("v, w", "(v, w)", "v") + " = " + self.pick("1, 2", "(1,2)", "l", "'ab'", "users[0], 3"))

    # ---- scopes: few names, every statement ----

    def small(self):
        kind = self.random.randrange(14)
        if kind < 6:
            return self.pick("a", "b", "c", "x", "loop", "caller", "m", "l", "ns", "self", "varargs", "kwargs")
        if kind == 6:
            return str(self.random.randrange(4))
        if kind == 7:
            return self.pick("ns.a", "ns.b", "d.a", "loop.index", "loop.last", "loop.nextitem", "loop.previtem", "loop.length",
                             "loop.first", "self.x", "m.name", "caller.name", "m.arguments")
        if kind == 8:
            return self.pick("m()", "m(1)", "m(a)", "m(a=2)", "caller()", "caller(3)", "x()", "loop(l)", "self.blk()",
                             "c(a, b)", "m(b=m(1))")
        if kind == 9:
            return "(" + self.small() + " ~ " + self.small() + ")"
        if kind == 10:
            return "[" + self.small() + ", " + self.small() + "]"
        if kind == 11:
            return self.small() + " is defined"
        if kind == 12:
            return self.small() + "|default('-')"
        return self.pick("'<p>'", "'&'|safe", "l|join('<')", "a|e", "'q'")

    def scope(self, depth, loop=False):
        kind = self.random.randrange(26)
        if depth <= 0 or kind < 5:
            return "{{ " + self.small() + " }}" + self.pick("", "|", "\n")

        def body(in_loop=loop):
            return "".join(self.scope(depth - 1, in_loop) for _ in range(self.random.randrange(1, 4)))
        if kind < 9:
            return "{% set " + self.pick("a", "b", "c", "x", "a, b", "ns.a", "ns.b", "m", "loop", "caller", "_p") + " = " + \
                self.pick(self.small(), self.small(), "1, 2", "namespace(a=1)", "a", "l") + " %}"
        if kind < 11:
            return "{% set ns = namespace(a=" + self.small() + ") %}"
        if kind < 13:
            return "{% if " + self.small() + " %}" + body() + self.pick("", "{% else %}" + body(), "{% elif " + self.small() +
                                                                      " %}" + body() + "{% else %}" + body()) + "{% endif %}"
        if kind < 17:
            leave = "{% if " + self.small() + " %}{% " + self.pick("break", "continue") + " %}{% endif %}"
            return "{% for " + self.pick("a", "b", "x", "c", "a, b") + " in " + \
                self.pick("l", "ll", "d", "d.items()", "range(2)", self.small(), "[]", "[[1,2],[3,4]]") + \
                self.pick("", "", " if " + self.small(), " recursive") + " %}" + body(True) + leave * self.chance(.2) + \
                self.pick("", "", "{% else %}" + body()) + "{% endfor %}"
        if kind < 20:
            return "{% macro " + self.pick("m", "m", "x") + "(" + \
                self.pick("", "a", "a, b=2", "a=1, b=a", "x, c=x", "a=b, b=1", "caller=1", "varargs", "a, kwargs=3") + ") %}" + \
                body(False) + "{% endmacro %}"
        if kind == 20:
            return "{% call" + self.pick("", "", "(a)", "(a, b=a)") + " " + self.pick("m()", "m(1)", "x()", "m(a, b)", "caller()") + \
                " %}" + body(False) + "{% endcall %}"
        if kind == 21:
            return "{% with " + self.pick("a=b", "a=1, b=a", "x=a", "") + " %}" + body() + "{% endwith %}"
        if kind == 22:
            return "{% filter " + self.pick("upper", "trim", "replace('1', a)", "default(b)") + " %}" + body() + "{% endfilter %}"
        if kind == 23:
            return "{% set " + self.pick("a", "b", "c") + self.pick("", " | upper", " | replace(a, b)") + " %}" + body() + \
                "{% endset %}"
        if kind == 24:
            return "{% generation %}" + body(False) + "{% endgeneration %}"
        return self.pick("{% block blk" + self.pick("", "2", "3") + self.pick("", "", " scoped") + " %}" + body(False) + "{% endblock %}",
                         "{% autoescape " + self.pick("true", "false") + " %}" + body() + "{% endautoescape %}",
                         "{% print a, b %}", "{% include 'x' %}" if self.chance(.2) else "{{ a }}")

    # ---- formats, numbers and characters ----

    def number(self):
        return repr(self.pick(self.pick(0, 1, -1, 10, 255, 10**6, 123456789, -5, 2**31), self.random.uniform(-10, 10),
                              self.pick(0.0, 1.0, 0.5, 1.5, 2.5, 1e16, 1e15, 1e22, 1e-5, 1e-4, 5e-324, 1 / 3),
                              self.random.randrange(-1000, 1000), round(self.random.uniform(-1000, 1000), 2),
                              self.random.uniform(0, 1) * 10.0**self.random.randrange(-20, 20)))

    def string(self, longest):
        return "'" + "".join("\\U%08x" % (self.one(CODE_POINTS) if self.chance(.8) else self.random.randrange(1, 0x3000))
                             for _ in range(self.random.randrange(longest))) + "'"

    def percent(self):
        return "%" + self.pick("", "", "-", "+", " ", "0", "#", "-0", "+0") + self.pick("", "", "5", "12", "1") + \
            self.pick("", "", ".0", ".2", ".5", ".10") + self.one("dddiufFeEgGxXosrc%")

    def braces(self):
        spec = self.pick("", "<", "^", ">", "*^", "=", "0=") + self.pick("", "+", " ", "-") + self.pick("", "#") + self.pick("", "0") + \
            self.pick("", "8", "3", "12") + self.pick("", ",", "_") + self.pick("", ".2", ".0", ".5", ".10") + \
            self.one(["", "d", "f", "e", "g", "x", "X", "b", "o", "s", "%", "G", "n", "c"])
        return "{" + self.pick("", "0") + self.pick("", "", "!r", "!s") + self.pick("", ":" + spec) + "}"

    def detail(self):
        number, other = self.number(), self.number()
        word = self.pick("foo", "bar-baz", "a--b", "well-known-fact", "x", "--", "e.g.", "3-4", "super-long-hyphenated-word")
        return "{{ " + self.pick(
            repr(self.percent()) + " % " + self.pick(number, "s", "l", "(" + number + ",)", "undef", "true"),
            repr(self.braces()) + ".format(" + self.pick(number, number, "s", "true", "l") + ")",
            "[" + number + self.pick(" + ", " - ", " * ", " / ", " // ", " % ", " == ", " < ") + other + ", " + number + "]",
            number + "|round(" + str(self.random.randrange(-4, 8)) + self.pick("", ", 'floor'", ", 'ceil'") + ")",
            self.string(8) + "." + self.pick("upper()", "lower()", "title()", "capitalize()", "swapcase()", "strip()", "split()",
                                             "splitlines()", "isdigit()", "isalpha()", "isupper()", "istitle()", "center(9)",
                                             "rsplit(none,1)", "split(none,1)", "partition(' ')", "isidentifier()"),
            self.string(8) + "|" + self.one(TEXT_FILTERS),
            "[" + self.string(6) + ", {" + self.string(3) + ": " + number + "}]" + self.pick("", "|tojson", "|tojson(indent=1)"),
            "'" + " ".join(word if self.chance(.5) else "foo" for _ in range(self.random.randrange(8))) + "'|wordwrap(" +
            str(self.random.randrange(1, 15)) + self.pick("", ", false", ", true, '~'", ", true, none, false") + ")") + " }}"

    # ---- whole templates ----

    def mutated(self, template):
        i = self.random.randrange(len(template) + 1)
        j = min(len(template), i + self.random.randrange(1, 4))
        return self.pick(template[:i] + template[j:], template[:i] + template[i:j] + template[i:],
                         template[:i] + self.one("{}%#()[]|.,:~+-*/'\" \n=<>!ae0_\\") + template[i:],
                         template[:i] + self.pick("{%", "%}", "{{", "}}", "{#", "-%}", "endif", "else", "if", "in") + template[j:])

    def template(self):
        kind = self.random.randrange(10)
        if kind < 4:
            template = self.output(self.expression(self.pick(1, 2, 3)))
        elif kind < 6:
            template = self.body(self.pick(1, 2, 3))
        elif kind < 8:
            template = "".join(self.scope(self.random.randrange(1, 5)) for _ in range(self.random.randrange(1, 6)))
        else:
            template = self.detail()
        return self.mutated(template) if self.chance(.05) else template
