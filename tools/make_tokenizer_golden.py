"""Token ids and decoded texts of the mixed corpus, by the Hugging Face tokenizers library.
usage: make_tokenizer_golden.py TOKENIZER_JSON OUT.jsonl

OUT has one line a text of tokenizer_corpus.py, in its order: {"ids": with special tokens, "decoded": all of them back
to text, "decoded_skip": the same without special tokens, or absent where it equals "decoded"}."""
import json
import sys

from tokenizer_corpus import lines
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file(sys.argv[1])
with open(sys.argv[2], "w", encoding="utf-8") as out:
    for text in lines():
        ids = tokenizer.encode(text).ids
        row = dict(ids=ids, decoded=tokenizer.decode(ids, skip_special_tokens=False))
        skipped = tokenizer.decode(ids, skip_special_tokens=True)
        if skipped != row["decoded"]:
            row["decoded_skip"] = skipped
        out.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n")
