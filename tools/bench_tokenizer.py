#!/usr/bin/env python3
"""The Hugging Face tokenizers library over a text, beside bench-tokenizer: same ids, and how fast.

usage: bench_tokenizer.py BENCH_PROGRAM TEXT_FILE TOKENIZER... (needs: tokenizers)
Times are processor time of one thread (medians of 5), so that other work on the machine counts less.
"""
import array
import os
import statistics
import subprocess
import sys
import tempfile
import time

os.environ["RAYON_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
from tokenizers import Tokenizer


def timed(function, repeat=5):
    times = []
    for _ in range(repeat):
        before = time.process_time()
        result = function()
        times.append(time.process_time() - before)
    return statistics.median(times), result


def chunks_of(text, size):
    """Cut as bench-tokenizer --chunk does: at the first line end after `size` bytes."""
    data, start, out = text.encode(), 0, []
    while start < len(data):
        end = data.find(b"\n", start + size) + 1 if len(data) - start > size else len(data)
        out.append(data[start : end or len(data)].decode())
        start = end or len(data)
    return out


def main():
    program, text_file = sys.argv[1:3]
    text = open(text_file, newline="", encoding="utf-8").read()
    size = len(text.encode()) / 1e6
    for path in sys.argv[3:]:
        file = os.path.join(path, "tokenizer.json") if os.path.isdir(path) else path
        load_time, tokenizer = timed(lambda: Tokenizer.from_file(file), 3)
        tokenizer.no_truncation()
        tokenizer.no_padding()
        print(f"== {path}\nlibrary: load {load_time * 1e3:.0f} ms")
        for chunk in (0, 2000):
            parts = chunks_of(text, chunk) if chunk else [text]
            # encode_batch_fast leaves out offsets, as ours does
            single, ids = timed(lambda: [i for p in parts for i in tokenizer.encode(p, add_special_tokens=False).ids])
            batch, _ = timed(lambda: tokenizer.encode_batch_fast(parts, add_special_tokens=False))
            decode, _ = timed(lambda: tokenizer.decode(ids, skip_special_tokens=False))
            print(f"library, {len(parts)} texts: encode {size / single:.1f}, batch (no offsets) {size / batch:.1f}, decode {size / decode:.1f} MB/s")
            with tempfile.NamedTemporaryFile() as out:
                run = [program, file, text_file, "--ids", out.name] + (["--chunk", str(chunk)] if chunk else [])
                print("ours:    " + ", ".join(subprocess.run(run, check=True, capture_output=True, text=True).stdout.splitlines()))
                ours = array.array("i", out.read())
            print("ids: " + ("identical" if list(ours) == ids else "DIFFERENT"))


main()
