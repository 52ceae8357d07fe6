#!/usr/bin/env python3
"""Greedy continuations by mlx-lm on the processor, token by token, with parameters cast to float32:
    make_greedy_golden.py TESTS_MODELS_FOLDER >tests/golden/greedy.json
Slow: MLX computes one to five tokens a second there. Needs mlx, mlx-cpu and mlx-lm (0.32)."""
import json
import os
import sys

os.environ["MLX_DISABLE_COMPILE"] = "1"
import mlx.core as mx
from mlx_lm.models.cache import make_prompt_cache
from mlx_lm.utils import load

PROMPT = "The history of the city begins with a river crossing. In the"
TOKENS = 200


def continuation(directory):
    mx.set_default_device(mx.cpu)
    model, tokenizer = load(directory)
    model.set_dtype(mx.float32)
    ids = tokenizer.encode(PROMPT)
    cache = make_prompt_cache(model)
    tokens, answer = mx.array([ids]), []
    for _ in range(TOKENS):
        best = int(mx.argmax(model(tokens, cache=cache)[:, -1, :], -1).item())
        answer.append(best)
        tokens = mx.array([[best]])
    return {"ids": ids, "greedy": answer}


if __name__ == "__main__":
    models = ("smollm2-4bit", "gemma3-4bit")
    json.dump({name: continuation(os.path.join(sys.argv[1], name)) for name in models}, sys.stdout, separators=(",", ":"))
    print()
