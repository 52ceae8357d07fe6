#!/usr/bin/env python3
"""Golden cases for regular expressions and for merges across U+2581, from the Hugging Face tokenizers library.

The expressions are those of real models, and small ones for each piece of Oniguruma's syntax that means something else
in PCRE2. The model is a WordLevel one whose vocabulary holds every piece, so that the ids show where a text is split.
usage: make_pattern_golden.py OUT   (needs: tokenizers)
"""
import json
import os
import sys

from tokenizers import Regex, Tokenizer, models, pre_tokenizers

ENDINGS = r"'s|'t|'re|'ve|'m|'ll|'d"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}"
PATTERNS = {
    "cl100k": rf"(?i:{ENDINGS})|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "cl100k-possessive": r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
    "qwen3.5": rf"(?i:{ENDINGS})|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "o200k": rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}]*{LOWER}]+(?i:{ENDINGS})?|[^\r\n\p{{L}}\p{{N}}]?{UPPER}]+{LOWER}]*(?i:{ENDINGS})?"
             r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "kimi": rf"[\p{{Han}}]+|[^\r\n\p{{L}}\p{{N}}]?{UPPER}&&[^\p{{Han}}]]*{LOWER}&&[^\p{{Han}}]]+(?i:{ENDINGS})?"
            r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "bloom": " ?[^(\\s|[.,!?…。，、।۔،])]+",
    "deepseek-coder": r"\s?\p{L}+|\s?\p{P}+|[一-龥ࠀ-一가-퟿]+|\p{N}",
    "words": r"\b\w+\b|[^\w\s]+", "not-words": r"[^\W\d_]+|\d+", "not-boundary": r"\B.", "spaces": r"[^\S\n]+|\S+",
    "negated-property": r"[^\P{L}a-z]+|\p{^N}", "nested": r"[a-c[x-z]&&[^y]]+|[[:alpha:]_-]+", "empty-set": r"[a&&b]|c",
    "posix": r"[[:alpha:]]+|[[:digit:]]+|[[:space:]]|[[:punct:]]+|[[:^cntrl:]]", "posix-case": r"[[:upper:]]+|[[:lower:]]+",
    "posix-rest": r"[[:alnum:]]+|[[:blank:]]|[[:word:]]|[[:ascii:]]|[[:xdigit:]]",
    "hexadecimal": r"\h+|\p{Alnum}+|\H", "options": r"a(?i)b|the|x", "option-group": r"(a(?i)B|C)d|(?m:.)", "intervals": r"o{2}?|l{1,2}+|a{,3}|t{2,}",
    "anchors": r"^.|.$|\A\w|\w\z|\w\Z", "lookbehind": r"(?<=\s)\p{L}+|(?<![a-z])\d", "properties": r"\p{Emoji}+|\p{Latin}+|\p{Greek}+|\p{Letter}|\p{Punct}",
    "characters": r"\u0041|\x41|\t|\x{3042}|[\x{4e00}-\x{9fff}\b\v]|\e|\{|{|a{x", "repeated": r"\s++(?=\n)|x?+|a**|(?>b+)|(?#comment)\O",
    "backreference": r"(?<c>.)\k<c>", "backreference-number": r"([lo])\1", "keep": r"a\Kb|\R|\N", "newer": r"\p{Lu}+|\p{Lo}+|\p{Nd}+|\p{So}|\p{Mn}",
}
TEXTS = [
    "Hello world, don't WE'LL I'VE it's ABC's", "  two  spaces\t\ttabs \n\n lines\r\n\r\nend  ", "x=1234567; y=3.14e10 // ok...", "aabbcc xyz axby llama oo ooo tttt {3} a{x",
    "naïve Straße ſ'ſ ﬁ İstanbul ΣΑΣ é e\u0301", "日本語テキスト、中文。한국어 हिन्दी ไทย العربية", "😀👍🏽 👨‍👩‍👧 ½ ² Ⅷ １２３ \u00a0\u3000\u180e\u200b",
    "CamelCaseHTMLParser foo_bar-baz a.b@c.d", "ab aB AB aC ad Cd the THE\nthe", "\U00031350\U0002ebf0\U0001c8a9\U00010d50\U00010d70\U00011f50\U0001fa89\u0897\u1c89\ua7dc",
    "\x00\x07\x0b\x1b\x7f\x85", "",
]


def write(folder, name, tokenizer, texts):
    cases = [dict(text=t, ids=tokenizer.encode(t).ids) for t in texts]
    with open(os.path.join(folder, name + ".json"), "w", encoding="utf-8") as file:
        json.dump(dict(tokenizer=json.loads(tokenizer.to_str()), cases=cases), file, ensure_ascii=False, separators=(",", ":"))
        file.write("\n")


def main():
    folder = sys.argv[1]
    for name, source in PATTERNS.items():
        split = pre_tokenizers.Split(Regex(source), "isolated")
        pieces = dict.fromkeys(piece for text in TEXTS for piece, _ in split.pre_tokenize_str(text))
        vocab = {"[UNK]": 0, **{piece: i + 1 for i, piece in enumerate(pieces)}}
        tokenizer = Tokenizer(models.WordLevel(vocab=vocab, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = split
        write(folder, "regex-" + name, tokenizer, TEXTS)
    # Merges that reach across the mark after '>' and after 'b' only: the text may be cut before other marks.
    tokens = "<unk> ▁ a b > < ▁a ▁▁ >▁ >▁< ab b▁ ▁▁▁▁ aa".split(" ")
    merges = [("▁", "a"), ("▁", "▁"), (">", "▁"), (">▁", "<"), ("a", "b"), ("b", "▁"), ("▁▁", "▁▁"), ("a", "a")]
    texts = ["a▁a>▁<a▁▁▁▁▁b▁ab▁▁", "x▁y▁a", ">▁▁<b▁a▁", "▁", "ab▁x", "aa▁aa▁aaaa", "é▁сa▁"]
    for fuse in (True, False):
        model = models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges, unk_token="<unk>", fuse_unk=fuse)
        write(folder, f"model-bpe-marks{int(fuse)}", Tokenizer(model), texts)


main()
