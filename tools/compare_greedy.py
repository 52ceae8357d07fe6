#!/usr/bin/env python3
"""Greedy answers of llmlocal on the MLX engine and of mlx-lm, both in the model's own types on the same device:
    compare_greedy.py LLMLOCAL MODEL_FOLDER [TOKENS]
Says how many tokens agree, and by how much mlx-lm preferred its own token where the first one differs."""
import json
import subprocess
import sys

import mlx.core as mx
from mlx_lm.models.cache import make_prompt_cache
from mlx_lm.utils import load

PROMPTS = ("The history of the city begins with a river crossing. In the", "def fibonacci(n):\n", "Les oiseaux migrateurs")


def answer(model, ids, count):
    cache, tokens, out, margins = make_prompt_cache(model), mx.array([ids]), [], []
    for _ in range(count):
        row = model(tokens, cache=cache)[0, -1].astype(mx.float32)
        best = int(mx.argmax(row).item())
        two = mx.sort(row)[-2:].tolist()
        out.append(best)
        margins.append(two[1] - two[0])
        tokens = mx.array([[best]])
    return out, margins


def main():
    command, directory, count = sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 200
    model, tokenizer = load(directory)
    for prompt in PROMPTS:
        ours = json.loads(subprocess.run(
            [command, "run", "--engine", "mlx", "--raw", "--json", "--temperature", "0", "--ignore-end", "--max-tokens", str(count), directory,
             prompt], check=True, capture_output=True, text=True).stdout)["ids"]
        theirs, margins = answer(model, tokenizer.encode(prompt), count)
        same = next((i for i in range(count) if i >= len(ours) or ours[i] != theirs[i]), count)
        rest = "" if same == count else f"; there mlx-lm's two best logits are {margins[same]:.4f} apart"
        print(f"{prompt[:30]!r}: {same} of {count} tokens are the same{rest}")


if __name__ == "__main__":
    main()
