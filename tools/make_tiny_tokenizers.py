"""Small tokenizers, one feature each, with what the Hugging Face tokenizers library makes of them.
usage: make_tiny_tokenizers.py OUTDIR [--precompiled SENTENCEPIECE_WORKDIR]

OUTDIR/<case>.json: {"tokenizer": a whole tokenizer.json, "cases": [{"text", "ids": with special tokens,
"decoded": all of ids, "decoded_skip": without special tokens, absent where it is the same}]}; a case without "text"
starts from ids. The single features run on a WordLevel model whose vocabulary is the pieces themselves, so that ids
show every boundary; the composites imitate the tokenizers of known models. --precompiled also makes the cases with a
Precompiled normaliser, which needs the sentencepiece package and a folder for its files."""
import json
import random
import sys
from pathlib import Path

from bpe_trainer import train_bpe
from tokenizer_corpus import CODE, SENTENCES, lines
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

TEXTS = ["", " ", "hello world", "Hello,  World!", "  lead and trail  ", "don't stop; I'LL go", "naïve café É ßẞ İ", "日本語 テスト中文 한국어",
         "a\tb\nc\r\nd\n\n", "12 345.67 x2y ٣٤½²", "🙂👩‍👩‍👧 ok 🇩🇪", "ＡＢＣ ﬁ ﾊﾞ ㎞", "e\u0301 q\u0323\u0307 a\u0308\u0301 \u0344", "мир Мир ΑΒΓς ωΣ",
         "a_b-c.d/e (f) [g] «h» ¿i?", "\u00a0nbsp\u3000wide\u200bzero\u2028line\u2009", "مُرحَبا שָׁלוֹם हिन्दी ไทย", "ab\x00c\x7fd\u00ade\ufeff\ufffd",
         "\uac01\uac00 \u1100\u1161\u11a8 \uac00\u11a8 \u212b\u2126 \u1e9b\u0323", "aaa--bbb--", "--", "▁a▁ ▁▁b", "x 1a2 B3"]
UNSEEN = ["never seen", "🫠", "zzz 9"]
GPT2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
          r"\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
TEKKEN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|"
          r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|"
          r"\s*[\r\n]+|\s+(?!\S)|\s+")
N, P, D, R = normalizers, pre_tokenizers, decoders, processors
CASES = {}


def words_of(tokenizer, texts, cuts):
    """Every piece that the normaliser and pre-tokeniser make of the texts, whole and cut at added tokens."""
    segments = list(texts)
    for cut in cuts:
        segments += [part for text in texts for part in text.split(cut)]
    pieces = {}
    for text in segments:
        if tokenizer.normalizer:
            text = tokenizer.normalizer.normalize_str(text)
        found = tokenizer.pre_tokenizer.pre_tokenize_str(text) if tokenizer.pre_tokenizer else [(text, None)]
        pieces.update({piece: None for piece, _ in found if piece})
    return list(pieces)


def word_level(name, normalizer=None, pre=None, decoder=None, post=None, added=(), texts=TEXTS, extra_ids=(), edit=None):
    tokenizer = Tokenizer(models.WordLevel({}, unk_token="[UNK]"))
    if normalizer:
        tokenizer.normalizer = normalizer
    if pre:
        tokenizer.pre_tokenizer = pre
    vocab = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2}
    for word in words_of(tokenizer, texts, [str(a.content) for a in added]):
        vocab.setdefault(word, len(vocab))
    tokenizer.model = models.WordLevel(vocab, unk_token="[UNK]")
    finish(name, tokenizer, decoder, post, added, list(texts) + UNSEEN, extra_ids, edit)


def finish(name, tokenizer, decoder=None, post=None, added=(), texts=TEXTS, extra_ids=(), edit=None):
    """Add the rest, write the JSON, load it again and record what it does."""
    if decoder:
        tokenizer.decoder = decoder
    if post:
        tokenizer.post_processor = post
    tokenizer.add_special_tokens([a for a in added if a.special])
    tokenizer.add_tokens([a for a in added if not a.special])
    content = json.loads(tokenizer.to_str())
    if edit:
        edit(content)
    tokenizer = Tokenizer.from_str(json.dumps(content))
    size = tokenizer.get_vocab_size()
    cases = []
    for text in texts:
        cases.append(dict(text=text, ids=tokenizer.encode(text).ids))
    cases += [dict(ids=ids) for ids in extra_ids if max(ids) < size]
    for case in cases:
        case["decoded"] = tokenizer.decode(case["ids"], skip_special_tokens=False)
        skipped = tokenizer.decode(case["ids"], skip_special_tokens=True)
        if skipped != case["decoded"]:
            case["decoded_skip"] = skipped
    CASES[name] = dict(tokenizer=content, cases=cases)


def special(content, **flags):
    return AddedToken(content, special=True, **{"normalized": False, **flags})


def plain(content, **flags):
    return AddedToken(content, special=False, **flags)


def make_normalizers():
    for kind in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Nmt"):
        word_level(f"norm-{kind.lower()}", getattr(N, kind)())
    word_level("norm-strip", N.Strip())
    word_level("norm-strip-left", N.Strip(left=True, right=False))
    word_level("norm-strip-right", N.Strip(left=False, right=True))
    word_level("norm-strip-accents", N.Sequence([N.NFD(), N.StripAccents()]))
    word_level("norm-strip-accents-alone", N.StripAccents())
    word_level("norm-replace-string", N.Sequence([N.Replace(" ", "▁"), N.Replace("--", "-")]))
    word_level("norm-replace-regex", N.Sequence([N.Replace(Regex(r"\s+"), " "), N.Replace(Regex(r"(\d)"), "#")]))
    word_level("norm-prepend", N.Prepend("▁"))
    word_level("norm-sequence", N.Sequence([N.NFKC(), N.Lowercase(), N.Strip()]))
    word_level("norm-bytelevel", N.ByteLevel(), decoder=D.ByteLevel())
    word_level("norm-bert", N.BertNormalizer())
    word_level("norm-bert-cased", N.BertNormalizer(lowercase=False))
    word_level("norm-bert-keep-accents", N.BertNormalizer(strip_accents=False))
    word_level("norm-bert-strip-cased", N.BertNormalizer(strip_accents=True, lowercase=False))
    word_level("norm-bert-no-clean", N.BertNormalizer(clean_text=False, handle_chinese_chars=False))


def make_pre_tokenizers():
    for prefix in (False, True):
        for regex in (False, True):
            word_level(f"pre-bytelevel-prefix{prefix:d}-regex{regex:d}",
                       pre=P.ByteLevel(add_prefix_space=prefix, use_regex=regex), decoder=D.ByteLevel())
    behaviours = ("removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous")
    for behaviour in behaviours:
        word_level(f"pre-split-string-{behaviour}", pre=P.Split("-", behaviour))
        word_level(f"pre-split-regex-{behaviour}", pre=P.Split(Regex(r"\s|[.,]"), behaviour))
        word_level(f"pre-split-invert-{behaviour}", pre=P.Split(Regex(r"\p{L}+|\d"), behaviour, invert=True))
        word_level(f"pre-punctuation-{behaviour}", pre=P.Punctuation(behaviour))
    for name, pattern in (("gpt2", GPT2), ("llama3", LLAMA3), ("qwen2", QWEN2), ("tekken", TEKKEN)):
        word_level(f"pre-split-{name}", pre=P.Split(Regex(pattern), "isolated"))
    sep = [special("<sep>"), plain("<w>", normalized=True)]
    around = ["a<sep>b c<w> d", "<sep> a", " <sep>", "<w><sep>x y", "▁a b", "a<w>"]
    for scheme in ("always", "first", "never"):
        for split in (True, False):
            word_level(f"pre-metaspace-{scheme}-split{split:d}", pre=P.Metaspace(prepend_scheme=scheme, split=split),
                       decoder=D.Metaspace(prepend_scheme=scheme, split=split), added=sep, texts=TEXTS + around)
    word_level("pre-metaspace-other", pre=P.Metaspace(replacement="_"), decoder=D.Metaspace(replacement="_"))

    def old_metaspace(content):
        for part in ("pre_tokenizer", "decoder"):
            content[part] = {"type": "Metaspace", "replacement": "▁", "add_prefix_space": True}
    word_level("legacy-metaspace", pre=P.Metaspace(), decoder=D.Metaspace(), edit=old_metaspace)
    word_level("pre-digits", pre=P.Digits(individual_digits=False))
    word_level("pre-digits-individual", pre=P.Digits(individual_digits=True))
    word_level("pre-whitespace", pre=P.Whitespace())
    word_level("pre-whitespace-split", pre=P.WhitespaceSplit())
    word_level("pre-char-delimiter", pre=P.CharDelimiterSplit("-"))
    word_level("pre-unicode-scripts", pre=P.UnicodeScripts())
    word_level("pre-fixed-length", pre=P.FixedLength(length=3))
    word_level("pre-bert", pre=P.BertPreTokenizer())
    word_level("pre-sequence", pre=P.Sequence([P.WhitespaceSplit(), P.Punctuation(), P.Digits(individual_digits=True)]))
    word_level("pre-sequence-bytelevel", pre=P.Sequence([P.Split(Regex(LLAMA3), "isolated"),
                                                         P.ByteLevel(add_prefix_space=False, use_regex=False)]),
               decoder=D.ByteLevel())


def make_post_processors():
    base = dict(pre=P.WhitespaceSplit(), texts=TEXTS[:7] + ["[CLS] hello [SEP]"], added=[special("[CLS]"), special("[SEP]")])
    word_level("post-template", post=R.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
                                                          special_tokens=[("[CLS]", 1), ("[SEP]", 2)]), **base)
    word_level("post-template-tail", post=R.TemplateProcessing(single="$A [SEP] [SEP]",
                                                               special_tokens=[("[SEP]", 2)]), **base)
    word_level("post-bert", post=R.BertProcessing(("[SEP]", 2), ("[CLS]", 1)), **base)
    word_level("post-roberta", post=R.RobertaProcessing(("[SEP]", 2), ("[CLS]", 1)), **base)
    word_level("post-bytelevel", post=R.ByteLevel(trim_offsets=True), pre=P.ByteLevel(), decoder=D.ByteLevel(),
               texts=TEXTS[:7])
    word_level("post-sequence", post=R.Sequence([R.ByteLevel(), R.TemplateProcessing(
        single="[CLS] $0", special_tokens=[("[CLS]", 1)])]), **base)


def decode_vocab(tokens, unk="[UNK]"):
    return models.WordLevel({token: i for i, token in enumerate([unk] + tokens)}, unk_token=unk)


def make_decoders():
    """Decoders over tokens chosen for them; the cases start from ids. (Strip at both ends panics in tokenizers 0.23
    on a token that is all space.)"""
    tokens = ["▁he", "llo", "▁", "▁wor", "ld", "<0xE6>", "<0x97>", "<0xA5>", "<0xFF>", "<0x0A>", "Ġhi", "Ã©", "æĹ", "¥", "##ing",
              "un", "##s", "low</w>", "er", "new</w>", "<pad>", "|", "a", "b", " ", "  x ", ".", ",", "n't", "'s", "don", "do", "not",
              " ", "日", "▁▁▁", "!", "?", "Ċ", "ï¼", "č"]
    tokens = list(dict.fromkeys(tokens))
    at = {token: i + 1 for i, token in enumerate(tokens)}
    names = [["▁he", "llo", "▁wor", "ld"], ["llo", "▁", "▁he"], ["▁", "<0xE6>", "<0x97>", "<0xA5>", "ld"],
             ["<0xE6>", "<0x97>", "a"], ["<0xFF>", "<0xFF>", "<0x0A>", "b"], ["<0xE6>", "a", "<0x97>", "<0xA5>"], ["<0x97>"],
             ["Ġhi", "Ã©", "Ġhi"], ["æĹ", "¥", "a"], ["æĹ", "Ġhi"], ["ï¼", "Ċ", "č"], ["日", "Ġhi", "é" if "é" in at else "a"],
             ["un", "##ing", "##s", "a", "##s"], ["##ing", "a"], ["low</w>", "er", "new</w>"], ["er", "low</w>"],
             ["<pad>", "a", "a", "<pad>", "a", "|", "b", "b", "<pad>"], ["a", "a", "|", "|", "b"],
             ["  x ", " ", "a", "  x "], [" ", " "], ["a", ".", "b", ",", "do", "n't", "don", "'s", "!", "?"],
             ["do", "not", "."], ["▁▁▁", "a", "▁▁▁"], ["▁▁▁"], ["▁"], ["!", "a", " ", "?"]]
    ids = [[at[t] for t in row] for row in names] + [[0, at["a"], 0], [at["a"], at["▁he"]], [at["▁he"]]]
    table = {
        "none": None, "bytelevel": D.ByteLevel(), "bytefallback": D.ByteFallback(), "fuse": D.Fuse(),
        "strip-right": D.Strip(" ", 0, 1), "strip-left": D.Strip("▁", 2, 0), "replace": D.Replace("▁", " "),
        "replace-regex": D.Replace(Regex("[ab]+"), "_"), "metaspace": D.Metaspace(),
        "metaspace-never": D.Metaspace(prepend_scheme="never"), "metaspace-first": D.Metaspace(prepend_scheme="first"),
        "wordpiece": D.WordPiece(), "wordpiece-plain": D.WordPiece(prefix="##", cleanup=False),
        "bpe": D.BPEDecoder(), "bpe-suffix": D.BPEDecoder(suffix="ld"), "ctc": D.CTC(),
        "ctc-plain": D.CTC(pad_token="<pad>", word_delimiter_token="|", cleanup=False),
        "llama2": D.Sequence([D.Replace("▁", " "), D.ByteFallback(), D.Fuse(), D.Strip(" ", 1, 0)]),
        "gemma": D.Sequence([D.Replace("▁", " "), D.ByteFallback(), D.Fuse()]),
        "sequence-order": D.Sequence([D.Fuse(), D.Strip(" ", 1, 0), D.Replace("▁", "-")])}
    for name, decoder in table.items():
        finish(f"decode-{name}", Tokenizer(decode_vocab(tokens)), decoder, texts=[], extra_ids=ids,
               added=[special("<pad>")] if "ctc" not in name else [])


def make_added_tokens():
    texts = ["a<x>b", "a <x> b", "a  <x>  b", "<x><x>", " <x>", "<x> ", "a<X>b", "say <x>word", "w <x> w", "_<x>_", "1<x>2", "<x", "x>",
             "<<x>>", "a\t<x>\n b", "<x>\u00a0b", "<xy>", "é<x>é", "<x>."]
    for name, flags in {"default": {}, "lstrip": dict(lstrip=True), "rstrip": dict(rstrip=True),
                        "both": dict(lstrip=True, rstrip=True), "single-word": dict(single_word=True)}.items():
        word_level(f"added-{name}", pre=P.Split(" ", "isolated"), added=[special("<x>", **flags)], texts=texts)
    word_level("added-not-special", N.Lowercase(), P.WhitespaceSplit(), added=[plain("<x>", normalized=False)], texts=texts)
    word_level("added-normalized", N.Lowercase(), P.WhitespaceSplit(), added=[plain("<X>", normalized=True)], texts=texts)
    word_level("added-normalized-prepend", N.Sequence([N.Prepend("▁"), N.Replace(" ", "▁")]), added=[
        plain("<x>", normalized=True), special("<s>")], texts=texts + ["<s>a b", "a<s> b<x> c"])
    word_level("added-single-word-letters", pre=P.WhitespaceSplit(), added=[plain("ab", single_word=True, normalized=False)],
               texts=["ab", "abab", "ab ab", "xab", "ab1", "_ab", "ab-ab", "éab", "ab.", "日ab", "a b ab"])
    overlap = ["<a>", "<a><b>", "<b>", "<a", "ab", "abc", "bcd", "\n\n", "\n\n\n", "▁▁", "two words"]
    word_level("added-overlap", pre=P.WhitespaceSplit(), added=[plain(t, normalized=False) for t in overlap], texts=[
        "<a><b>", "<b><a>", "<a <a>", "abcd", "xabcd", "ab bcd", "a\n\n\n\n\nb", "\n\n", "▁▁▁", "two words two  words", "abcabc"])
    word_level("added-mixed", N.Lowercase(), P.WhitespaceSplit(), added=[
        special("<S>"), plain("<n>", normalized=True), plain("Mixed", normalized=True), special("Keep", normalized=False)],
        texts=["<S>A<N>b", "mixed MIXED Mixed", "Keep keep KEEP", "<s> <n>", "a<S><n>"])


def bpe_of(texts, size, alphabet=(), pre=None, **affixes):
    pre = pre or P.WhitespaceSplit()
    return train_bpe([piece for text in texts for piece, _ in pre.pre_tokenize_str(text)], size, alphabet, **affixes)


PLAIN = ["lower lowest newer newest wider hello hello world low new slow slower", "the cat sat on the mat, the hat"] * 3


def make_models():
    texts = ["lower newest", "lowest hello", "xyz", "", " ", "hello world!", "slow  new", "the-mat", "日本", "é low é", "qlowq", "newestlowest",
             "wwwww", "low\nnew", "<unk>"]
    vocab, merges = bpe_of(PLAIN, 70)
    with_unk = dict(vocab, **{"<unk>": len(vocab)})
    for name, options in {"bpe-no-unk": {}, "bpe-unk": dict(unk_token="<unk>"),
                          "bpe-fuse-unk": dict(unk_token="<unk>", fuse_unk=True)}.items():
        tokenizer = Tokenizer(models.BPE(vocab=with_unk, merges=merges, **options))
        tokenizer.pre_tokenizer = P.WhitespaceSplit()
        finish(f"model-{name}", tokenizer, texts=texts)

    def old_merges(content):
        content["model"]["merges"] = [" ".join(pair) for pair in content["model"]["merges"]]
    tokenizer = Tokenizer(models.BPE(vocab=with_unk, merges=merges, unk_token="<unk>"))
    tokenizer.pre_tokenizer = P.WhitespaceSplit()
    finish("legacy-merges", tokenizer, texts=texts, edit=old_merges)
    finish("legacy-no-model-type", tokenizer, texts=texts, edit=lambda content: content["model"].pop("type"))

    whole = dict(with_unk, **{"newestlowest": len(with_unk), "qlowq": len(with_unk) + 1, "www": len(with_unk) + 2})
    for ignore in (False, True):
        tokenizer = Tokenizer(models.BPE(vocab=whole, merges=merges, unk_token="<unk>", ignore_merges=ignore))
        tokenizer.pre_tokenizer = P.WhitespaceSplit()
        finish(f"model-bpe-ignore-merges{ignore:d}", tokenizer, texts=texts)
    for name, affix, options, decoder in (
            ("prefix", dict(prefix="##"), dict(continuing_subword_prefix="##"), D.WordPiece()),
            ("suffix", dict(suffix="</w>"), dict(end_of_word_suffix="</w>"), D.BPEDecoder())):
        vocab2, merges2 = bpe_of(PLAIN, 80, **affix)
        tokenizer = Tokenizer(models.BPE(vocab=dict(vocab2, **{"<unk>": len(vocab2)}), merges=merges2, unk_token="<unk>",
                                         **options))
        tokenizer.pre_tokenizer = P.WhitespaceSplit()
        finish(f"model-bpe-{name}", tokenizer, decoder, texts=texts)

    tie = {t: i for i, t in enumerate(["a", "b", "c", "ab", "bc", "abc", "aa", "aaa", "aaaa", "ca"])}
    tokenizer = Tokenizer(models.BPE(vocab=tie, merges=[("b", "c"), ("a", "a"), ("aa", "a"), ("aa", "aa"), ("a", "b"),
                                                        ("a", "bc"), ("c", "a")]))
    finish("model-bpe-merge-order", tokenizer, texts=["abc", "aaa", "aaaaa", "aaaaaaaa", "aabc", "bcabc", "cabca", "abcabcab"])

    pieces = [("<unk>", 0.0), ("▁", -3.0), ("▁the", -2.0), ("▁c", -4.0), ("at", -2.5), ("▁cat", -5.0), ("s", -3.5), ("e", -3.9), ("t", -4.1),
              ("h", -4.5), ("a", -4.0), ("c", -5.0), ("▁s", -3.3), ("he", -3.0), ("th", -3.2), ("▁t", -4.2), ("sat", -6.0), ("日本", -7.0),
              ("日", -6.0), ("aa", -8.0)]
    texts = ["the cat sat", "cats", "", " ", "thethe", "xyz the", "日本日", "a x y a", "aaaa", "hat  hat", "éa", "🙂", "<unk>", "the\ncat"]
    for name, fallback in (("unigram", False), ("unigram-bytes", True)):
        table = list(pieces)
        if fallback:
            table[1:1] = [(f"<0x{i:02X}>", -10.0) for i in range(256)]
        tokenizer = Tokenizer(models.Unigram(table, unk_id=0, byte_fallback=fallback))
        tokenizer.pre_tokenizer = P.Metaspace()
        decoder = D.Sequence([D.Replace("▁", " "), D.ByteFallback(), D.Fuse(), D.Strip(" ", 1, 0)])
        finish(f"model-{name}", tokenizer, decoder if fallback else D.Metaspace(), texts=texts)
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=False))
    tokenizer.pre_tokenizer = P.Metaspace(split=False)
    finish("model-unigram-nosplit", tokenizer, D.Metaspace(split=False), texts=texts)

    vocab = {t: i for i, t in enumerate(["[UNK]", "un", "##aff", "##able", "want", "##ed", "runn", "##ing", "run", "##n", "##i", "##ng", "a",
                                         "##a", "日", "本", ",", "[MASK]", "aff", "able"])}
    texts = ["unaffable wanted running", "runn run runs", "a aa aaa", "日本語", "x", "", "wanted,", "UNAFFABLE", "[MASK] a", "a" * 12, "affable unwanted"]
    for name, options in (("wordpiece", {}), ("wordpiece-short", dict(max_input_chars_per_word=8))):
        tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]", **options))
        tokenizer.normalizer = N.BertNormalizer()
        tokenizer.pre_tokenizer = P.BertPreTokenizer()
        finish(f"model-{name}", tokenizer, D.WordPiece(), added=[special("[MASK]")], texts=texts)


def sample_texts(count, longest):
    rng = random.Random(7)
    return rng.sample([t for t in dict.fromkeys(lines()) if len(t) <= longest], count)


def make_composites():
    texts = TEXTS + SENTENCES[:1] + CODE[:1] + sample_texts(34, 60)
    training = SENTENCES + CODE
    alphabet = P.ByteLevel.alphabet()
    chat = [special("<|im_start|>"), special("<|im_end|>"), special("<|endoftext|>")]

    def byte_level(name, pre, normalizer=None, added=chat, post=None, **options):
        vocab, merges = bpe_of([normalizer.normalize_str(t) for t in training] if normalizer else training, 460, alphabet, pre)
        tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, **options))
        if normalizer:
            tokenizer.normalizer = normalizer
        tokenizer.pre_tokenizer = pre
        finish(name, tokenizer, D.ByteLevel(), post, added, texts)

    def bytes_only():
        return P.ByteLevel(add_prefix_space=False, use_regex=False)
    byte_level("like-gpt2", P.ByteLevel(add_prefix_space=False), post=R.ByteLevel(trim_offsets=False))
    byte_level("like-smollm2", P.Sequence([P.Digits(individual_digits=True), P.ByteLevel(add_prefix_space=False)]))
    byte_level("like-llama3", P.Sequence([P.Split(Regex(LLAMA3), "isolated"), bytes_only()]), ignore_merges=True,
               added=[special("<|begin_of_text|>"), special("<|eot_id|>")],
               post=R.Sequence([R.ByteLevel(), R.TemplateProcessing(single="<|begin_of_text|> $A",
                                                                    special_tokens=[("<|begin_of_text|>", 460)])]))
    byte_level("like-qwen2", P.Sequence([P.Split(Regex(QWEN2), "isolated"), bytes_only()]), N.NFC(),
               added=chat + [plain("<think>", normalized=False), plain("</think>", normalized=False)])
    byte_level("like-tekken", P.Sequence([P.Split(Regex(TEKKEN), "isolated"), bytes_only()]), added=[special("[INST]")])
    byte_level("like-deepseek", P.Sequence([
        P.Split(Regex(r"\p{N}{1,3}"), "isolated"), P.Split(Regex("[一-龥぀-ゟ゠-ヿ]+"), "isolated"),
        P.Split(Regex(r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|"
                      r" ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"), "isolated"), bytes_only()]),
        added=[special("<｜begin▁of▁sentence｜>"), plain("<｜User｜>", normalized=False)])

    bytes_first = {"<unk>": 0, "<s>": 1, "</s>": 2, **{f"<0x{i:02X}>": i + 3 for i in range(256)}}
    vocab, merges = bpe_of([s.replace(" ", "▁") for s in training], 330, "▁", P.Metaspace(prepend_scheme="never"))
    table = dict(bytes_first)
    for token in vocab:
        table.setdefault(token, len(table))
    llama2 = models.BPE(vocab=table, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    bos = R.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    spm = D.Sequence([D.Replace("▁", " "), D.ByteFallback(), D.Fuse(), D.Strip(" ", 1, 0)])
    base = [special("<unk>"), special("<s>"), special("</s>")]
    tokenizer = Tokenizer(llama2)
    tokenizer.normalizer = N.Sequence([N.Prepend("▁"), N.Replace(" ", "▁")])
    finish("like-llama2", tokenizer, spm, bos, base, texts)
    tokenizer = Tokenizer(llama2)
    tokenizer.normalizer = N.Sequence([N.Prepend("▁"), N.Replace(" ", "▁")])
    finish("like-phi3", tokenizer, spm, None, base + [special("<|user|>", rstrip=True), special("<|end|>", rstrip=True),
                                                      special("<|assistant|>", rstrip=True)],
           texts[:24] + ["<|user|>\nHi <|end|>\n<|assistant|>\n", "<|user|> a<|end|>b", "x <|end|>  y"])
    tokenizer = Tokenizer(llama2)
    tokenizer.pre_tokenizer = P.Metaspace(prepend_scheme="first", split=False)
    finish("like-mistral-metaspace", tokenizer, spm, bos, base, texts)
    tokenizer = Tokenizer(llama2)
    tokenizer.normalizer = N.Replace(" ", "▁")
    tokenizer.pre_tokenizer = P.Split(" ", "merged_with_previous")
    finish("like-gemma", tokenizer, D.Sequence([D.Replace("▁", " "), D.ByteFallback(), D.Fuse()]), bos,
           base + [plain("\n\n", normalized=False), plain("▁▁", normalized=False), special("<start_of_turn>")], texts)

    found, _ = bpe_of([N.BertNormalizer().normalize_str(t) for t in training], 560, pre=P.BertPreTokenizer(), prefix="##")
    vocab = {token: i for i, token in enumerate(dict.fromkeys(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *found]))}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.normalizer = N.BertNormalizer()
    tokenizer.pre_tokenizer = P.BertPreTokenizer()
    finish("like-bert", tokenizer, D.WordPiece(), R.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[
        ("[CLS]", vocab["[CLS]"]), ("[SEP]", vocab["[SEP]"])]), [special("[CLS]"), special("[SEP]"), special("[UNK]")], texts)
    unigram_like("like-t5", texts, N.Sequence([N.NFKC(), N.Strip(left=False, right=True),
                                               N.Replace(Regex(" {2,}"), "▁")]))


def unigram_like(name, texts, normalizer):
    """Pieces of a BPE training, with scores by frequency and length."""
    vocab, _ = bpe_of(SENTENCES + CODE, 420, pre=P.Metaspace())
    text = "▁".join(" ".join(SENTENCES + CODE).split())
    table = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    for token in vocab:
        table.append((token, round(-10.0 + 1.5 * (text.count(token) + 1) ** 0.25 + 0.9 * (len(token) - 1), 4)))
    tokenizer = Tokenizer(models.Unigram(table, unk_id=2, byte_fallback=False))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = P.Metaspace(prepend_scheme="always")
    finish(name, tokenizer, D.Metaspace(prepend_scheme="always"), R.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]), [special("<pad>"), special("</s>"), special("<unk>")], texts)


def make_precompiled(folder):
    """A small character map made by sentencepiece from rules of our own."""
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2
    folder.mkdir(parents=True, exist_ok=True)
    rules = {"Ａ": "A", "Ｂ": "B", "Ｃ": "C", "ﬁ": "fi", "½": "1/2", "²": "2", "\u3000": " ", "\u00a0": " ", "\u200b": "", "\u00ad": "",
             "\t": " ", "\n": " ", "e\u0301": "é", "a\u0308\u0301": "ä́", "ﾊﾞ": "バ", "ﾊ": "ハ", "㎞": "km", "\u1100\u1161": "\uac00", "ß": "ss", "İ": "i",
             "\ufeff": "", "\x7f": "", "--": "—"}
    lines_of_rules = [" ".join(f"{ord(c):X}" for c in key) + "\t" + " ".join(f"{ord(c):X}" for c in value) + "\n"
                      for key, value in rules.items()]
    (folder / "rules.tsv").write_text("".join(lines_of_rules))
    (folder / "text.txt").write_text("\n".join(SENTENCES) + "\n", encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "text.txt"), model_prefix=str(folder / "tiny"), vocab_size=700, minloglevel=2,
        normalization_rule_tsv=str(folder / "rules.tsv"), num_threads=1)
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString((folder / "tiny.model").read_bytes())
    charsmap = proto.normalizer_spec.precompiled_charsmap
    extra = ["ＡＢＣＤ", "ﬁn ﬂy", "e\u0301e", "a\u0308\u0301b", "a\u0308", "----", "ﾊﾞﾊﾟ", "\u1100\u1161a", "x\u200by"]
    word_level("norm-precompiled", N.Precompiled(charsmap), texts=TEXTS + extra)
    unigram_like("like-xlnet-precompiled", TEXTS + extra, N.Sequence([N.Precompiled(charsmap), N.Replace(Regex(" {2,}"), " ")]))


def main():
    arguments = sys.argv[1:]
    out = Path(arguments[0])
    out.mkdir(parents=True, exist_ok=True)
    for make in (make_normalizers, make_pre_tokenizers, make_post_processors, make_decoders, make_added_tokens, make_models,
                 make_composites):
        make()
    if "--precompiled" in arguments:
        make_precompiled(Path(arguments[2]))
    for name, case in CASES.items():
        (out / f"{name}.json").write_text(json.dumps(case, ensure_ascii=False, separators=(",", ":")) + "\n",
                                          encoding="utf-8", newline="")
    print(len(CASES), "tokenizers", sum((out / f"{n}.json").stat().st_size for n in CASES), "bytes")


main()
