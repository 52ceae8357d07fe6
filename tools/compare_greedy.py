#!/usr/bin/env python3
"""Greedy answers of llmlocal on the MLX engine and of mlx-lm, both in the model's own types on the same device:
    compare_greedy.py LLMLOCAL MODEL_FOLDER [--tokens N] [--prompts N] [--adapter FOLDER]
mlx-lm is made to go on with llmlocal's tokens, so that one difference does not hide what follows it. Where it would have
chosen another token, the distance between the two is printed, in its logits and in what it chooses by: log-probabilities
that it rounds to the model's type. A distance of 0 is a tie."""
import argparse
import json
import subprocess
import time

import mlx.core as mx
from mlx_lm.generate import generate_step
from mlx_lm.utils import load

PROMPTS = ("The history of the city begins with a river crossing. In the", "def fibonacci(n):\n", "Les oiseaux migrateurs")


def ours(args, prompt):
    adapter = ["--adapter", args.adapter] if args.adapter else []
    done = subprocess.run([args.llmlocal, "run", "--engine", "mlx", "--raw", "--json", "--temperature", "0", "--ignore-end", "--max-tokens",
                           str(args.tokens), *adapter, args.model, prompt], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)["ids"]


def differences(model, prompt, answer):
    """(step, distance in logits, distance in log-probabilities) wherever mlx-lm would have chosen another token."""
    found, rows = [], []

    def keep_logits(_, logits):
        rows.append(logits)
        return logits

    def choose(logprobs):
        step = len(rows) - 1
        if step < len(answer):
            best, logits = int(mx.argmax(logprobs[0]).item()), rows[step][0].astype(mx.float32)
            if best != answer[step]:
                scores = logprobs[0].astype(mx.float32)
                found.append((step, *((row[best] - row[answer[step]]).item() for row in (logits, scores))))
            rows[step] = None
        return mx.array([answer[min(step, len(answer) - 1)]])

    for _ in generate_step(mx.array(prompt), model, max_tokens=len(answer), sampler=choose, logits_processors=[keep_logits]):
        pass
    return found


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("llmlocal")
    parser.add_argument("model")
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--prompts", type=int, default=len(PROMPTS))
    parser.add_argument("--adapter")
    args = parser.parse_args()
    model, tokenizer = load(args.model, adapter_path=args.adapter)
    for prompt in PROMPTS[:args.prompts]:
        begin = time.monotonic()
        answer = ours(args, prompt)
        middle = time.monotonic()
        found = differences(model, tokenizer.encode(prompt), answer)
        print(f"{prompt[:30]!r}: mlx-lm chooses {len(answer) - len(found)} of llmlocal's {len(answer)} tokens, the first "
              f"{found[0][0] if found else len(answer)} of them in a row ({middle - begin:.0f} s, {time.monotonic() - middle:.0f} s)", flush=True)
        for step, logits, scores in found:
            print(f"    token {step}: mlx-lm's logits are {logits:.6f} apart, its rounded log-probabilities {scores:.6f}", flush=True)


if __name__ == "__main__":
    main()
