"""A deterministic mixed corpus that is hard on tokenizers: languages, code, emoji, controls, spaces, marks, random text.
usage: tokenizer_corpus.py OUTDIR    writes corpus.jsonl (one JSON string a line) and corpus.txt (the same, plain)"""
import json
import random
import sys
from pathlib import Path

SENTENCES = """
The kettle clicked off before anyone had found the cups, so we drank from jars. She'll say it wasn't hers; they'd've asked.
It's 7:45 a.m., and Dr. O'Neil's train—late again—hasn't left. "Why not?" he said. I'M SURE WE'RE FINE, aren't we?
Der Igel überquerte nachts die Straße und fraß süße Äpfel. Größenwahn hilft beim Schlüsselsuchen selten, sagte Frau Weiß.
Le garçon qui vendait des œufs à Noël n'a jamais su pourquoi l'été, là-bas, durait si longtemps. « Ça va ? » — « Oui. »
El pingüino soñó con un camión lleno de limones. ¿Quién dejó la mañana abierta? ¡Qué ruido!
A avó não lê jornais à noite; põe o pão no fogão e ouve a chuva. Coração, ação, maçã.
Perché il gatto è già sul tetto? Più tardi scenderà, città permettendo.
Zażółć gęślą jaźń, potem odpocznij. Źrebię śpi, łąka szumi, ćma krąży.
Příliš žluťoučký kůň úpěl, ale řeka tekla dál. Dvě stě třicet korun stačí.
Işıklar sönünce İstanbul'da ılık bir rüzgâr esti. Öğretmen şaşkın, çocuk güler.
Một con mèo nhỏ ngồi trên mái nhà và đếm những giọt mưa. Tiếng Việt có nhiều dấu.
Ёж быстро перебежал дорогу, и никто этого не заметил. Съешь ещё этих булок, объяснил съездом подъём.
Її їжак з'їв яблуко біля ґанку, а потім заснув. Щастя, ґудзик, єнот.
Η γάτα κοιμάται στον ήλιο, ενώ ο άνεμος φυσά. Τι ώρα είναι; Ξεσκεπάζω την ψυχοφθόρα.
חתול קטן ישב על הגג וספר טיפות גשם. שָׁלוֹם לכולם, מה השעה?
جلس القط على السطح وعدّ قطرات المطر. كم الساعة الآن؟ مُحَمَّدٌ كَتَبَ ٣٤٥ سطرًا.
گربه روی بام نشست و باران را شمرد. می‌خواهم کتاب‌ها را ببینم؛ ۱۲۳ صفحه.
छोटी बिल्ली छत पर बैठकर बारिश की बूँदें गिनती रही। क्या समय हुआ है? क्षत्रिय ज्ञान १२३।
ছোট বিড়াল ছাদে বসে বৃষ্টির ফোঁটা গুনছিল। এখন কটা বাজে?
சிறிய பூனை கூரையில் அமர்ந்து மழைத்துளிகளை எண்ணியது. மணி என்ன?
แมวตัวเล็กนั่งนับหยดฝนอยู่บนหลังคา ตอนนี้กี่โมงแล้ว น้ำใจ กำลัง
小猫坐在屋顶上数雨滴。现在几点了？“三点半,”他说。龍與鳳，簡體和繁體。
小さな猫が屋根の上で雨粒を数えていた。いま何時ですか？「三時半です」とカタカナで答えた。ﾊﾝｶｸｶﾅ。がぎぐげご、ヴァイオリン。
작은 고양이가 지붕 위에서 빗방울을 세고 있었다. 지금 몇 시예요? 뷁뚫흙값없읽.
პატარა კატა სახურავზე იჯდა და წვიმის წვეთებს ითვლიდა.
Փոքրիկ կատուն նստել էր տանիքին և հաշվում էր կաթիլները։
ትንሹ ድመት ጣሪያው ላይ ተቀምጦ የዝናብ ጠብታዎችን ቆጠረ።
ငယ်သော ကြောင်သည် ခေါင်မိုးပေါ်တွင် ထိုင်သည်။
Kissa istui katolla ja laski sadepisaroita; hääyöaieuutinen, kuusi palaa.
Kötturinn sat á þakinu og taldi dropana. Það er ðe, Þór!
Pisica stătea pe acoperiș și număra picăturile. Țară, înger, mâine.
""".strip().splitlines()

CODE = ["int main(int argc, char **argv) {\n\tfor (size_t i = 0; i < n; ++i)\n\t\tsum += a[i] * 0x1Fu;\n\treturn 0;\n}\n",
        "#include <stdio.h>\n#define MAX(a, b) ((a) > (b) ? (a) : (b))\n/* comment */ // TODO: fix\n",
        "def area(r: float) -> float:\n    \"\"\"Area.\"\"\"\n    return 3.14159 * r ** 2  # r != None\n\n\nprint(f\"{area(2):.2f}\")\n",
        "class Foo(Bar):\n    def __init__(self, *args, **kwargs):\n        super().__init__()\n        self._x = {k: v for k, v in kwargs.items()}\n",
        "SELECT u.id, COUNT(*) AS n FROM users u LEFT JOIN t ON t.uid = u.id WHERE name LIKE '%o\\_k%' GROUP BY 1;\n",
        "<div class=\"box\" id='a1'>\n  <a href=\"https://example.org/?q=1&amp;r=%20\">link</a><br/>\n</div>\n",
        "{\"name\": \"x\", \"list\": [1, 2.5e-3, null, true], \"nested\": {\"é\": \"\\u00e9\\n\"}}\n",
        "for f in *.txt; do echo \"${f%.txt}\" >> out && sed -i 's/a\\/b/c/g' \"$f\" || exit 1; done\n",
        "fn main() -> Result<(), Box<dyn Error>> { let v: Vec<_> = (0..10).map(|x| x * x).collect(); println!(\"{:?}\", v); Ok(()) }\n",
        "$$\\int_0^\\infty e^{-x^2}\\,dx = \\frac{\\sqrt{\\pi}}{2}$$ \\begin{align} a &= b \\\\ \\end{align}\n",
        "| a | b |\n|---|:-:|\n| 1 | **x** |\n\n- [ ] todo\n  1. `code`\n> quote\n```c\nx;\n```\n"]

EMOJI = ["🙂", "👩‍👩‍👧‍👦", "👨🏽‍💻", "🏳️‍🌈", "🇩🇪🇯🇵", "🇺", "1️⃣", "❤️", "❤", "👍🏿", "🤷🏻‍♀️", "🧑🏼‍🤝‍🧑🏿", "☕︎", "🫠",
         "🏴󠁧󠁢󠁳󠁣󠁴󠁿", "⛄", "✔️", "©️", "〰️", "🀄", "🃏", "🪿"]
SPACES = [" ", "  ", "   ", "    ", "\t", "\n", "\r\n", "\r", "\v", "\f", "\x1c", "\x1f", "\x85", "\u00a0", "\u1680", "\u2000",
          "\u2003", "\u2009", "\u200a", "\u200b", "\u200c", "\u200d", "\u2028", "\u2029", "\u202f", "\u205f", "\u2060",
          "\u3000", "\ufeff", "\u180e"]
MARKS = ["\u0301", "\u0300", "\u0308", "\u0327", "\u0323", "\u0302", "\u0345", "\u05b0", "\u064b", "\u0651", "\u094d",
         "\u0e31", "\u3099", "\u309a", "\u20dd", "\ufe0f", "\u1ab0", "\u0338", "\u035c"]
COMPAT = ["ﬁ", "ﬃ", "①", "½", "ＡＢＣ", "ｶﾞ", "²", "™", "Ⅷ", "㎞", "\u212b", "\u2126", "\u212a", "\uac00", "\u1100\u1161\u11a8", "\uac00\u11a8", "\u0915\u093c",
          "a\u0328\u0301", "q\u0323\u0307", "ﷺ",
          "…", "‥", "ǆ", "ŉ", "ſ", "ẞ", "İ", "ı", "ς", "\u0344", "\u0958", "\u2adc", "\ufb1d", "𝐀𝒷𝔠", "𝟘𝟙", "豈", "丽"]
SPECIAL = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<bos>", "<eos>", "<pad>", "<unk>", "<start_of_turn>",
           "<end_of_turn>", "<unused0>", "<unused99>", "<mask>", "<s>", "</s>", "[INST]", "[/INST]", "<think>", "</think>",
           "<tool_call>", "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>", "<file_sep>",
           "<repo_name>", "<reponame>", "<|im_start", "<|im_sta", "im_end|>", "<0x0A>", "<0xFF>", "▁", "▁▁", "Ġ", "Ċ", "[CLS]",
           "##ing", "\n\n\n", "<h1>", "</table>", "[multimodal]", "<jupyter_code>", "<gh_stars>", "<｜tool▁calls▁begin｜>"]
PUNCTUATION = list("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~") + ["...", "--", "—", "–", "“", "”", "’", "«", "»", "¿", "、", "。", "！",
                                                            "·", "•", "†", "§", "¶", "€", "£", "¥", "₹", "±", "×", "÷", "≠", "→", "∑", "√", "∞"]


def random_text(rng, count, low=0, high=0x110000):
    out = []
    while len(out) < count:
        code = rng.randrange(low, high)
        if not 0xD800 <= code < 0xE000:
            out.append(chr(code))
    return "".join(out)


def number(rng):
    value = rng.choice([rng.randrange(10), rng.randrange(1000), rng.randrange(10 ** 9), rng.randrange(10 ** 25)])
    return rng.choice([str(value), f"{value:,}", f"-{value}", f"{value / 100:.2f}", hex(value), f"1e{value % 300}",
                       f"{value % 24}:{value % 60:02d}", f"00{value}", f"{value}th", f"v{value % 9}.{value % 7}-rc",
                       "".join(rng.choice("٠١٢٣٤٥٦٧٨٩०१२३४५६७८९０１２３") for _ in range(4)), f"+49 30 {value % 10**6}"])


def mixed(rng, words):
    parts = []
    for _ in range(rng.randrange(3, 40)):
        kind = rng.random()
        if kind < 0.45:
            word = rng.choice(words)
            parts.append(rng.choice([word, word, word.upper(), word.title(), word + rng.choice(words)]))
        elif kind < 0.60:
            parts.append(rng.choice(PUNCTUATION) * rng.choice([1, 1, 1, 2, 3, 7]))
        elif kind < 0.68:
            parts.append(number(rng))
        elif kind < 0.74:
            parts.append(rng.choice(EMOJI) * rng.choice([1, 1, 2]))
        elif kind < 0.80:
            parts.append(rng.choice(SPECIAL))
        elif kind < 0.86:
            parts.append(rng.choice(words)[:3] + "".join(rng.choices(MARKS, k=rng.randrange(1, 4))))
        elif kind < 0.92:
            parts.append(rng.choice(COMPAT))
        else:
            parts.append(random_text(rng, rng.randrange(1, 4), 0, rng.choice([0x80, 0x300, 0x3000, 0x110000])))
        if rng.random() < 0.75:
            parts.append(rng.choice(SPACES[:6] if rng.random() < 0.8 else SPACES) * rng.choice([1, 1, 1, 1, 2, 5]))
    return "".join(parts)


def lines():
    rng = random.Random(20260102)
    words = [w for s in SENTENCES for w in s.split()]
    out = ["", " ", "  ", "\n", "\t", "\n\n", " \n", "\n ", "a", " a", "a ", " a ", "\u00e9", "e\u0301", "\x00", "a\x00b", "▁", "▁a", " ▁a"]
    out += SENTENCES + CODE + EMOJI + SPACES + MARKS + COMPAT + SPECIAL + PUNCTUATION
    out += [s.strip() + t + s.strip() for s in SPECIAL for t in ("", " ", "x", "\n")]
    out += [chr(c) for c in range(0x250)] + ["x" + chr(c) + "y" for c in range(0xA1)]
    out += [a + b + "z" for a in SPACES for b in SPACES[:12]]
    out += [p + "can" + q + s for q in "'’`" for s in ("t", "T", "re", "VE", "ll", "s x", "d1", "m,") for p in ("", " ")]
    out += ["a" * n for n in (2, 7, 31, 64, 257, 1000, 5000)] + ["ab" * 1500, "9" * 300, "=" * 200, "-" * 77, " " * 333,
                                                                  "\n" * 50, "\t" * 40, " \n" * 60, "é" * 700, "日" * 700,
                                                                  "🙂" * 200, "e\u0301" * 300, "a" + "\u0301" * 100, "x\u200d" * 90]
    out += ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=n)) for n in (20, 100, 600, 3000)]
    out += ["".join(rng.choices(words, k=n)) for n in (3, 30, 300)]
    for _ in range(400):  # paragraphs
        out.append(rng.choice([" ", "\n", "  "]).join(rng.choices(SENTENCES, k=rng.randrange(2, 9))))
    for _ in range(120):  # code
        out.append("".join(("    " * rng.randrange(3) + line + "\n") for line in "".join(rng.choices(CODE, k=4)).split("\n")))
    for _ in range(2700):
        out.append(mixed(rng, words))
    for _ in range(120):
        out.append(random_text(rng, rng.randrange(1, 120)))
        out.append(random_text(rng, rng.randrange(1, 200), 0, 0x80))
        out.append(random_text(rng, rng.randrange(1, 120), 0, 0x600))
        out.append(random_text(rng, rng.randrange(1, 60), 0x0, 0x10000))
    for _ in range(80):
        out.append(" ".join(number(rng) for _ in range(rng.randrange(2, 30))))
        out.append("".join(rng.choices(EMOJI + SPACES[:3], k=rng.randrange(2, 30))))
        out.append("".join(rng.choice("aeocnкиあ가") + "".join(rng.choices(MARKS, k=rng.randrange(4))) for _ in range(20)))
    return out


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    texts = lines()
    (folder / "corpus.jsonl").write_text("".join(json.dumps(t, ensure_ascii=False) + "\n" for t in texts),
                                         encoding="utf-8", newline="")
    (folder / "corpus.txt").write_text("\n".join(texts), encoding="utf-8", newline="")
    print(len(texts), "texts,", sum(len(t.encode()) for t in texts), "bytes")
