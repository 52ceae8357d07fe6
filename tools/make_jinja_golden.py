"""Single Jinja expressions rendered by Jinja2 in transformers' environment: breadth where make_template_golden.py has
whole templates.   usage: make_jinja_golden.py OUT.json
OUT is {"context": {...}, "cases": [[template, output] or [template, null, error]]}"""
import json
import sys

from make_template_golden import FixedClock, render
from transformers.utils import chat_template_utils

TEXT = "The quick brown fox jumps over the lazy dog. It isn't a-typical; naïve café, 日本語のテキスト!"
CONTEXT = {"t": TEXT, "n": 42, "f": 3.14159, "neg": -7, "z": 0, "e": "", "none": None, "yes": True, "l": [3, 1, 2],
           "words": ["b", "A", "c", "B"], "html": "<a href=\"x\">b & 'c'</a> <!-- no --> d", "big": 1234567890123,
           "rows": [{"k": "x", "v": 2}, {"k": "y", "v": 1}, {"k": "x", "v": 3}], "d": {"b": 1, "a": [1, {"q": None}], "C": "ü"},
           "lines": "one\ntwo\n\n  three\r\nfour", "tiny": 1e-7, "huge": 1e22}
EXPRESSIONS = """
t|wordwrap(20) | t|wordwrap(10, true, '~') | t|wordwrap(8, false) | t|wordwrap(30, break_on_hyphens=false) | lines|wordwrap(4)
t|truncate(20) | t|truncate(20, true) | t|truncate(20, true, '…') | t|truncate(20, false, '...', 0) | 'abc'|truncate(2)
t|truncate(88) | lines|indent | lines|indent(2, true) | lines|indent(2, false, true) | lines|indent('> ', first=true)
'x'|center(9) | 'xy'|center(7) | t|wordcount | 'hello wOrld a-b'|title | "they're bill's"|title | 'hELLO'|capitalize
html|striptags | html|escape | html|e|safe | html|forceescape | t|urlencode | {'a b':'ü&','c':1}|urlencode | '/a b/'|urlencode
'%s is %d and %5.2f|%-5s|%05d|%x|%o|%e|%g|%c|%r|%%'|format('a', 3, f, 'l', 42, 255, 8, 12345.678, 0.0001, 'z', 'q')
'%(a)s-%(b)03d' % {'a': 'x', 'b': 7} | '%+d % d %i' % (5, 5, 5) | '%10.3s|' % 'abcdef' | '%X %#x' % (255, 255) | '%.3g' % 1234.5 | '%s' % none
'%d' % 'x' | '%s %s' % 'a' | '%s' % ('a', 'b') | '%q' % 1 | '{} {}'.format(1, 'a') | '{0}-{1}-{0}'.format('x', 'y') | '{a}'.format(a=3)
'{:>5}|{:<5}|{:^5}|'.format('a', 'b', 'c') | '{:05d}|{:+.2f}|{:x}|{:,}'.format(42, 3.14159, 255, 1234567) | '{!r}'.format('q') | '{{}}'.format() | '{'.format()
'a-b-c'.split('-') | ' a  b '.split() | 'a-b-c'.split('-', 1) | 'a-b-c'.rsplit('-', 1) | lines.splitlines() | lines.splitlines(true) | 'a,b'.partition(',') | 'a,b,c'.rpartition(',')
'abc'.partition('x') | '  xx '.strip() | 'xxaxx'.strip('x') | 'xxaxx'.lstrip('x') | 'xxaxx'.rstrip('x') | 'abc'.startswith('ab') | 'abc'.startswith(('x', 'a')) | 'abc'.endswith('bc') | 'abcab'.find('b', 2)
'abcab'.rfind('ab') | 'abc'.find('z') | 'abc'.index('z') | 'banana'.count('an') | 'banana'.count('a', 2) | 'banana'.replace('a', 'o', 2) | 'banana'.replace('', '-') | 'x'.join(['a', 'b']) | '-'.join('abc')
'x'.join([1]) | 'aBc'.swapcase() | 'straße'.upper() | 'ÀÉ'.lower() | 'ß'.title() | 'abc'.isalpha() | 'ab1'.isalnum() | '12'.isdigit() | ' '.isspace() | 'AB'.isupper() | 'ab'.islower() | '²'.isdigit() | 'Ab Cd'.istitle()
'7'.zfill(3) | '-7'.zfill(4) | 'a'.ljust(3, '.') | 'a'.rjust(3) | 'a'.center(4, '*') | 'abc'.removeprefix('a') | 'abc'.removesuffix('bc') | 'a\\tb'.expandtabs(4) | 'abc'.isnumeric() | 'abc'.isidentifier() | 'aß'.casefold()
[1,2,3].index(2) | [1,2,1].count(1) | [1].append(2) | {'a':1}.update({'b':2}) | {'a':1}.items()|list | d.keys()|list | d.values()|list | d.get('x', 9) | d.get('b') | (1,2).index(2) | [3,1].sort() | [1].pop() | {'a':1}.pop('a')
d|dictsort | d|dictsort(true) | d|dictsort(by='value') | {'b':1,'a':2}|dictsort(false, 'value', true) | d|tojson | d|tojson(indent=2) | l|tojson | t|tojson | none|tojson | f|tojson | [yes, none, 1.5, 'é\\n']|tojson | d|pprint
huge | tiny | 1e16 | 1e15 | 123456789012345680.0 | 0.1 + 0.2 | 1/3 | 2**10 | 2**-1 | 2**0.5 | 7//2 | -7//2 | 7%3 | -7%3 | 7.5//2 | -7.5%2 | 1/0 | 1//0 | 1%0 | 10**18 | f|round | f|round(2) | f|round(2, 'ceil') | f|round(1, 'floor') | 2.5|round | n|round(-1)
'3'|int | '3.7'|int | 'x'|int | 'x'|int(5) | '0x1f'|int(0, 16) | '3.5'|float | 'x'|float | 'x'|float(1.5) | n|string | f|int | yes|int | none|int | big|filesizeformat | 1000|filesizeformat | 1|filesizeformat | big|filesizeformat(true) | neg|abs
l|sort | l|sort(reverse=true) | words|sort | words|sort(case_sensitive=true) | rows|sort(attribute='v')|map(attribute='k')|list | rows|sort(attribute='k,v')|map(attribute='v')|list | l|sum | rows|sum(attribute='v') | rows|sum(attribute='v', start=10) | l|max | l|min | words|min | rows|max(attribute='v') | []|max
rows|groupby('k') | rows|groupby('k')|map(attribute='grouper')|list | rows|map(attribute='z', default='-')|list | words|map('lower')|list | words|map('replace', 'b', 'q')|list | words|unique|list | words|unique(true)|list | rows|unique(attribute='k')|map(attribute='v')|list
l|select('odd')|list | l|reject('odd')|list | l|select('gt', 1)|list | rows|selectattr('v', 'gt', 1)|list | rows|selectattr('k', 'equalto', 'x')|map(attribute='v')|list | rows|rejectattr('v', 'in', [1, 2])|list | rows|selectattr('k')|list|length | [0, 1, '']|select|list
l|batch(2)|list | l|batch(2, 'x')|list | l|slice(2)|list | l|slice(2, 'x')|list | l|join(', ') | rows|join('+', attribute='k') | l|first | l|last | []|first | 'abc'|first | l|reverse|list | 'abc'|reverse | l|length | d|length | n|length | l|list | 'abc'|list | d|list | n|list
e|default('x') | e|default('x', true) | missing|default('x') | missing|d(1) | missing | missing.x | missing() | d.nothing | d.nothing.x | d['b'] | d['zz'] | l[0] | l[-1] | l[9] | 'abc'[1] | 'abc'[9] | t[4:9] | t[::-1] | l[1:] | l[::2] | l[:-1] | l['a'] | n.x | none.x | l.x
html|xmlattr | {'a':1,'b':none,'c':'<'}|xmlattr | {'a b':1}|xmlattr | {'a':1}|xmlattr(false) | d|attr('b') | t|upper | t|lower | 'x'|nosuch | t|trim | ' x '|trim | 'xax'|trim('x')
1 is odd | 2 is even | 6 is divisibleby 3 | n is number | f is float | n is integer | yes is boolean | t is string | l is sequence | d is mapping | l is iterable | n is iterable | none is none | missing is undefined | missing is defined | 'a' is lower | 'A' is upper | yes is true | yes is false
1 is sameas 1 | 2 is in [1, 2] | 1 is eq 1 | 1 is ne 2 | 1 is lt 2 | 1 is le 1 | 2 is gt 1 | 2 is ge 3 | t is callable | range is callable | 'x' is filter | 'upper' is filter | 'odd' is test | html is escaped | 1 is nosuch
1 < 2 < 3 | 3 > 2 > 2 | 1 == 1.0 | 1 == true | 'a' == 1 | none == none | 'a' < 'b' | 'a' < 1 | [1] == [1] | [1, 2] < [1, 3] | {'a':1} == {'a':1.0} | 1 in l | 9 not in l | 'q' in t | 'b' in d | 1 in n | not e | e or 'x' | n and 0 | 1 if e else 2 | 1 if e
'a' ~ 1 ~ none ~ 1.5 | 'a' + 1 | 1 + 'a' | 'a' * 3 | 3 * 'a' | [1] * 2 | [1] + [2] | (1,) + (2,) | 1 + none | none + 1 | -'a' | +n | -n | - f | not n | l + 1 | {} + 1 | 'a' - 'b' | 1 - true | true + true
range(3)|list | range(5, 1, -2)|list | range(0)|list | range(1, 2, 0) | range(200000) | range('a') | dict(a=1, b=2) | dict([('x', 1)]) | namespace(a=1).a | cycler('a', 'b').next() | joiner(',')() | raise_exception('no: ' ~ n)
strftime_now('%Y-%m-%d %H:%M:%S %j %a %A %b %B %p %I %y %%') | strftime_now('%d %b %Y') | strftime_now('%e|%U|%w|%Z|%z|%c|%x|%X|%D|%F|%T|%R|%n|%t|%G|%V|%u|%C|%h|%s' ) is string | [1, 'a', none, yes, 1.5, (1,), {'k': 'v'}] | ('a',) | () | {} | 'it\\'s "q"' ~ ['it\\'s', "q\\"", 'a\\n\\u00e9\\x00\\u200b']
""".replace("%c|%x|%X|", "")
STATEMENTS = [
    "{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.depth }}{{ loop.depth0 }}{{ loop.cycle('a', 'b') }}{{ loop.changed(x) }};{% endfor %}",
    "{% for x in l if x > 1 %}{{ x }}{% else %}none{% endfor %}{% for x in [] %}{% else %}none{% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{% for a, b in [(1, 2), (3, 4)] %}{{ a + b }}{% endfor %}",
    "{% for x in [1, [2, [3]]] recursive %}{{ loop.depth }}{% if x is iterable %}({{ loop(x) }}){% else %}{{ x }}{% endif %}{% endfor %}",
    "{% for a, b in [(1, 2, 3)] %}{% endfor %}", "{% for a, b in [1] %}{% endfor %}", "{% for x in n %}{% endfor %}", "{% for x in missing %}x{% endfor %}",
    "{% for x in none %}x{% endfor %}", "{% for x in missing.y %}x{% endfor %}", "{% for c in 'añ' %}{{ c }},{% endfor %}", "{% for k in d %}{{ k }}{% endfor %}",
    "{% for x in range(9) %}{% if x == 2 %}{% continue %}{% elif x == 5 %}{% break %}{% endif %}{{ x }}{% endfor %}",
    "{% macro m(a, b=2, *args, **kw) %}{{ a }}{{ b }}{{ varargs }}{{ kwargs }}{{ caller is defined }}{% endmacro %}{{ m(1) }}",
    "{% macro m(a, b=2) %}{{ a }}-{{ b }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1) }}{{ m(1, 3, 4, q=5) }}{{ m(b=1) }}{{ m.name }}{{ m.arguments }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(z=2) }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, a=2) }}",
    "{% macro box() %}[{{ caller('x') }}]{% endmacro %}{% call(v) box() %}{{ v }}!{% endcall %}", "{% filter upper %}a{{ t[:3] }}{% endfilter %}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set c %}x{{ a }}{% endset %}{{ c }}{% set q | upper %}abc{% endset %}{{ q }}", "{% set ns = namespace(x=1) %}{% for i in l %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}{{ ns.y }}",
    "{% set d.x = 1 %}", "{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{{ a }}", "{% raw %}{{ x }}{% if %}{% endraw %}", "a {#- c -#} b {# d #}\nc", "  {%- if yes %}\n x \n{%- endif -%}  y", "{% if yes %}\na\n{% endif %}\nb\n",
    "{{ 1 }}\n{{ 2 }}\n", "{%+ if yes %}x{% endif %}", "   {% if yes +%}\nx{% endif %}", "{{- 'a' -}}  b", "{% generation %}x{{ n }}{% endgeneration %}", "{% if n == 1 %}a{% elif n == 42 %}b{% else %}c{% endif %}",
    "{{ cycler('a', 'b') }}"[:0] + "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.current }}{{ c.next() }}{{ c.next() }}{{ c.reset() }}{{ c.next() }}", "{% set j = joiner('; ') %}{% for x in l %}{{ j() }}{{ x }}{% endfor %}",
    "{{ 'a' if yes }}{{ 'b' if z }}", "{{ (1, 2)[1] }}{{ [1, 2,][0] }}{{ {'a': 1,}['a'] }}", "{{ t.upper()[:3] }}{{ d.a[1].q }}{{ d['a'][1]['q'] }}", "{{ 0x1F }}{{ 0b101 }}{{ 0o17 }}{{ 1_000 }}{{ 1e3 }}{{ 1.5e-3 }}",
    "{% if %}", "{% endif %}", "{% for x %}", "{{ }}", "{{ 1 + }}", "{{ 'abc }}", "{% nosuch %}", "{{ a b }}", "{% set 1 = 2 %}", "{% macro %}", "{{ [1, 2 }}", "{% if yes %}", "{% for x in l %}", "{{ x|}}", "{{ x is }}", "{% block a %}x{% endblock %}", "{% extends 'x' %}", "{% raw %}x",
    "{{ '\\u12' }}", "{{ 1.2.3 }}", "{{ x.1 }}", "{{ x..y }}", "{{ ? }}", "{% set x %}", "{# open", "{{ loop.index }}", "{{ self }}"[:0] + "{{ caller }}", "{{ super }}", "{% call m() %}{% endcall %}", "{% filter nosuch %}x{% endfilter %}", "{% import 'x' as y %}",
]


def main():
    chat_template_utils.datetime = FixedClock
    cases = []
    templates = ["{{ %s }}" % e.strip() for line in EXPRESSIONS.strip().split("\n") for e in line.split(" | ") if e.strip()] + STATEMENTS
    for template in dict.fromkeys(templates):
        got = render(template, CONTEXT)
        if "error" in got:
            cases.append([template, None, got["error"]])
        else:
            cases.append([template, got["output"]])
    with open(sys.argv[1], "w") as out:
        json.dump({"context": CONTEXT, "cases": cases}, out, ensure_ascii=False, indent=0)
    print(len(cases), "cases,", sum(len(c) == 3 for c in cases), "errors")


main()
