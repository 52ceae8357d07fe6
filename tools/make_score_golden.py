"""Reference scores of an MLX model directory: weights dequantised to float32, float32 arithmetic.
usage: make_score_golden.py MODEL OUT.json TEXTFILE...
       make_score_golden.py --reduce N FULL.json OUT.json

OUT: {"model", "mlx", "cases": [{"name", "text", "ids", "positions": [{"at", "top": the ten best [token, log
probability], "next": log probability of the token that follows, or null}], "sum_next": the sum over every position,
"greedy": the 24 tokens that follow the text, "margins": the lead of each over the second best}]}.
--reduce keeps every N-th position and the last one, and leaves the text out: its file has it."""
import json
import sys
import time
from pathlib import Path

import mlx.core as mx
import numpy as np
from mlx_lm import load
from mlx_lm.models.cache import make_prompt_cache
from reference import dense

CHUNK = 128  # tokens a forward pass: bounds the memory of the logits
GREEDY = 24


def log_probs(model, cache, ids):
    logits = model(mx.array([ids]), cache=cache)[0]
    return np.array(logits - mx.logsumexp(logits, -1, keepdims=True), dtype=np.float32)


def score(model, ids):
    cache = make_prompt_cache(model)
    positions, total = [], 0.0
    for start in range(0, len(ids), CHUNK):
        rows = log_probs(model, cache, ids[start:start + CHUNK])
        for offset, row in enumerate(rows):
            at = start + offset
            follow = float(row[ids[at + 1]]) if at + 1 < len(ids) else None
            total += follow or 0.0
            best = np.argsort(-row, kind="stable")[:10]
            positions.append(dict(at=at, top=[[int(k), round(float(row[k]), 5)] for k in best],
                                  next=None if follow is None else round(follow, 5)))
    greedy, margins, last = [], [], rows[-1]
    for _ in range(GREEDY):
        best, second = np.argsort(-last, kind="stable")[:2]
        greedy.append(int(best))
        margins.append(round(float(last[best] - last[second]), 5))
        last = log_probs(model, cache, [int(best)])[-1]
    return dict(positions=positions, sum_next=round(total, 4), greedy=greedy, margins=margins)


def write(path, result):
    Path(path).write_text(json.dumps(result, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")


def reduce(every, full, out):
    result = json.loads(Path(full).read_text(encoding="utf-8"))
    for case in result["cases"]:
        del case["text"]
        case["positions"] = [p for p in case["positions"] if p["at"] % every == 0 or p["at"] + 1 == len(case["ids"])]
    write(out, result)


def main(folder, out, *paths):
    model, tokenizer = load(folder)
    dense(model)
    cases = []
    for path in paths:
        text = Path(path).read_text(encoding="utf-8")
        ids = tokenizer.encode(text)
        begin = time.time()
        case = dict(name=Path(path).stem, text=text, ids=ids, **score(model, ids))
        cases.append(case)
        print(f"{case['name']:16} {len(ids):5d} tokens  {-case['sum_next'] / max(len(ids) - 1, 1):.3f} nats a token  "
              f"{time.time() - begin:.1f} s  {tokenizer.decode(case['greedy'])!r}", flush=True)
    write(out, dict(model=Path(folder).name, mlx=mx.__version__, cases=cases))


if sys.argv[1] == "--reduce":
    reduce(int(sys.argv[2]), *sys.argv[3:])
else:
    main(*sys.argv[1:])
