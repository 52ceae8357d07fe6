#!/usr/bin/env python3
"""Writes src/text/jinja_unicode_tables.h: what Python knows of characters beyond utf8proc's categories and
one-to-one case mappings. Run with the Python whose behaviour is wanted (3.11: Unicode 14)."""
import sys, unicodedata

CHARS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def ranges(chars):
    out = []
    for c in chars:
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def range_table(name, chars):
    items = ", ".join(f"{{0x{a:X}, 0x{b:X}}}" for a, b in ranges(chars))
    return f"static const char_range {name}[] = {{{items}}};\n"


def mapping_table(name, mapping):
    rows = []
    for c in CHARS:
        s = mapping(chr(c))
        if len(s) > 1:
            rows.append("{0x%X, {%s}}" % (c, ", ".join(f"0x{ord(x):X}" for x in s)))
    return f"static const char_mapping {name}[] = {{{', '.join(rows)}}};\n"


def category(c):
    return unicodedata.category(chr(c))


out = f"""// Made by tools/make_jinja_unicode_tables.py from Python {sys.version.split()[0]} (Unicode {unicodedata.unidata_version}): do not edit.
// clang-format off
"""
out += range_table("digits_beyond_decimal", [c for c in CHARS if chr(c).isdigit() and not chr(c).isdecimal()])
out += range_table("numeric_letters", [c for c in CHARS if chr(c).isnumeric() and category(c)[0] != "N"])
out += range_table("other_upper", [c for c in CHARS if chr(c).isupper() and category(c) != "Lu"])
out += range_table("other_lower", [c for c in CHARS if chr(c).islower() and category(c) != "Ll"])
out += mapping_table("long_upper", str.upper)
out += mapping_table("long_title", str.title)
out += "// clang-format on\n"
open("src/text/jinja_unicode_tables.h", "w").write(out)
