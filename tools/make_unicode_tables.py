#!/usr/bin/env python3
"""Writes src/text/unicode_tables.c: the character sets as the Hugging Face tokenizers library sees them.

Its parts follow different versions of Unicode (the regular expressions 16, the punctuation test 8, ...), so the sets
are asked of the library itself, one code point at a time, and written down as ranges. Needs: tokenizers.
usage: make_unicode_tables.py > src/text/unicode_tables.c
"""
import unicodedata

from tokenizers import Regex, normalizers, pre_tokenizers

CODE_POINTS = [c for c in range(1, 0x110000) if not 0xD800 <= c < 0xE000]
BLOCK = 4096


def ranges(codes):
    out = []
    for c in sorted(codes):
        if out and (out[-1][1] == c - 1 or (out[-1][1] == 0xD7FF and c == 0xE000)):
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def removed_by(pre_tokenizer):
    """The characters that the pre-tokenizer drops."""
    found = set()
    for i in range(0, len(CODE_POINTS), BLOCK):
        block = CODE_POINTS[i : i + BLOCK]
        kept = set()
        for piece, _ in pre_tokenizer.pre_tokenize_str("".join(map(chr, block))):
            kept.update(piece)
        found.update(c for c in block if chr(c) not in kept)
    return found


def property_set(name):
    return removed_by(pre_tokenizers.Split(Regex(r"\p{%s}" % name), "removed"))


def splits(pre_tokenizer, text):
    return len(pre_tokenizer.pre_tokenize_str(text)) > 1


def print_ranges(name, codes, comment):
    table = ranges(codes)
    print(f"\n// {comment}")
    print(f"const unicode_range {name}[] = {{")
    for i in range(0, len(table), 6):
        print("    " + " ".join("{0x%X, 0x%X}," % tuple(r) for r in table[i : i + 6]))
    print(f"}};\nconst size_t {name}_count = sizeof {name} / sizeof *{name};")


def newer_than_unicode_14():
    """Code points that the library's regular expressions know and Unicode 14 (PCRE2 10.42) does not, by property."""
    rows = []
    for category in "Lu Ll Lm Lo Mn Mc Nd No Pd Po Sm So Cf".split():
        new = property_set(category) - {c for c in CODE_POINTS if unicodedata.category(chr(c)) == category}
        rows += [(category, *r) for r in ranges(new)]
    old = {c for c in CODE_POINTS if unicodedata.category(chr(c)) == "Cn"}
    for script in "Han Hiragana Katakana Latin Cyrillic Arabic Devanagari".split():
        rows += [(script, *r) for r in ranges(property_set(script) & old)]
    rows += [("Emoji", *r) for r in ranges(property_set("Emoji") & old)]
    rows += [("Alphabetic", *r) for r in ranges((property_set("Alphabetic") & old) | EXTRA_ALPHABETIC)]
    return rows


EXTRA_ALPHABETIC = {*range(0x363, 0x370), 0xC04, 0xF82, 0xF83, *range(0x1DD3, 0x1DE7)}


def lower_pairs():
    """Lower case that differs from utf8proc 2.8 (Unicode 15): (first, last, difference)."""
    lower = normalizers.Lowercase()
    rows = []
    for c in CODE_POINTS:
        text = lower.normalize_str(chr(c))
        if len(text) != 1 or unicodedata.category(chr(c)) != "Cn" and c not in (0xA7D2, 0xA7D4) or text == chr(c):
            continue
        if rows and rows[-1][1] == c - 1 and rows[-1][2] == ord(text) - c:
            rows[-1][1] = c
        else:
            rows.append([c, c, ord(text) - c])
    return rows


def script_ranges():
    scripts = pre_tokenizers.UnicodeScripts()
    classes = []  # one character of each script seen
    rows = []
    for c in CODE_POINTS:
        if not splits(scripts, "a" + chr(c)) and not splits(scripts, "\u0431" + chr(c)):
            continue  # belongs to any script
        number = rows[-1][2] if rows and not splits(scripts, chr(classes[rows[-1][2] - 1]) + chr(c)) else 0
        if not number:
            number = next((i + 1 for i, other in enumerate(classes) if not splits(scripts, chr(other) + chr(c))), 0)
        if not number:
            classes.append(c)
            number = len(classes)
        if rows and rows[-1][1] == c - 1 and rows[-1][2] == number:
            rows[-1][1] = c
        else:
            rows.append([c, c, number])
    return rows


def main():
    print("// Character sets as the Hugging Face tokenizers library has them. Written by tools/make_unicode_tables.py; do not edit.")
    print('#include "text/unicode_tables.h"')
    digits, words = pre_tokenizers.Digits(True), pre_tokenizers.Whitespace()
    clean = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    accents = normalizers.BertNormalizer(clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=False)
    marks = normalizers.StripAccents()
    forms = {name: getattr(normalizers, name)() for name in ("NFD", "NFKD")}
    text = {c: chr(c) for c in CODE_POINTS}
    print_ranges("unicode_numeric", [c for c in CODE_POINTS if splits(digits, "x" + text[c])], "Rust's char::is_numeric")
    print_ranges("unicode_word", [c for c in CODE_POINTS if not splits(words, "x" + text[c] + "x")], "\\w of Rust's regex")
    print_ranges("unicode_punctuation", removed_by(pre_tokenizers.Punctuation("removed")), "the Punctuation pre-tokenizer")
    print_ranges("unicode_control", [c for c in CODE_POINTS if clean.normalize_str("a" + text[c] + "b") == "ab"],
                 "what BertNormalizer's clean_text drops")
    print_ranges("unicode_nonspacing", [c for c in CODE_POINTS if accents.normalize_str("a" + text[c]) == "a"],
                 "what BertNormalizer's strip_accents drops")
    print_ranges("unicode_combining", [c for c in CODE_POINTS if marks.normalize_str("a" + text[c]) == "a"],
                 "what StripAccents drops")
    newer = [c for c in CODE_POINTS if any(f.normalize_str(text[c]) == text[c] and unicodedata.normalize(n, text[c]) != text[c]
                                           for n, f in forms.items())]
    unassigned = property_set("Cn")
    newer += [c for c in CODE_POINTS if unicodedata.category(text[c]) == "Cn" and c not in unassigned]
    newer = set(newer)
    print_ranges("unicode_undecomposed", newer, "characters whose decomposition the library does not know")
    def is_ordered(c):
        """Does the library move this mark to its canonical place?"""
        pair = (text[c] + "\u0334") if unicodedata.combining(text[c]) > 1 else ("\u0301" + text[c])
        return forms["NFD"].normalize_str("a" + pair) != "a" + pair

    print_ranges("unicode_unordered", [c for c in CODE_POINTS if unicodedata.combining(text[c]) and not is_ordered(c)
                                       or c in newer and unicodedata.category(text[c]) == "Cn"],
                 "marks whose combining class the library does not know")
    composing = {ord(d[-1]) for d in (unicodedata.normalize("NFD", text[c]) for c in CODE_POINTS) if len(d) > 1}
    print_ranges("unicode_nfc_relevant",
                 [c for c in CODE_POINTS if c in composing or unicodedata.combining(text[c])
                  or unicodedata.normalize("NFC", text[c]) != text[c] or 0x1161 <= c <= 0x11FF or 0x10D69 <= c <= 0x10D6D],
                 "all that NFC can change, or that changes what is before it")
    print("\n// Assigned after Unicode 14, by property: what older regular expression libraries lack")
    print("const unicode_addition unicode_additions[] = {")
    rows = newer_than_unicode_14()
    for i in range(0, len(rows), 4):
        print("    " + " ".join('{"%s", 0x%X, 0x%X},' % r for r in rows[i : i + 4]))
    print("};\nconst size_t unicode_additions_count = sizeof unicode_additions / sizeof *unicode_additions;")
    print("\n// Lower case that utf8proc may not know yet: first, last, what to add")
    print("const unicode_offset unicode_lower_offsets[] = {")
    rows = lower_pairs()
    for i in range(0, len(rows), 5):
        print("    " + " ".join("{0x%X, 0x%X, %d}," % tuple(r) for r in rows[i : i + 5]))
    print("};\nconst size_t unicode_lower_offsets_count = sizeof unicode_lower_offsets / sizeof *unicode_lower_offsets;")
    print("\n// The UnicodeScripts pre-tokenizer: first, last, number of the script; the rest goes with any script")
    print("const unicode_offset unicode_scripts[] = {")
    rows = script_ranges()
    for i in range(0, len(rows), 5):
        print("    " + " ".join("{0x%X, 0x%X, %d}," % tuple(r) for r in rows[i : i + 5]))
    print("};\nconst size_t unicode_scripts_count = sizeof unicode_scripts / sizeof *unicode_scripts;")


main()
