#!/usr/bin/env python3
"""The logits of each golden model at the last of its tokens, as mlx-lm computes them in the model's own types on the
processor, all tokens in one pass of 32 at most:
    make_own_types_golden.py tests/golden/models >tests/golden/own_types.json
Needs mlx, mlx-cpu and mlx-lm (0.32)."""
import json
import os
import sys
from pathlib import Path

os.environ["MLX_DISABLE_COMPILE"] = "1"
import mlx.core as mx
from mlx_lm.utils import load_model

TOKENS = 32  # what the engine puts through the layers together on a processor


def logits(directory):
    expected = json.loads((directory / "expected.json").read_text())
    model, _ = load_model(directory)
    ids = (expected["ids"] + expected["greedy"])[:TOKENS]
    row = model(mx.array([ids]))[0, -1].astype(mx.float32)
    return [float(f"{value:.6g}") for value in row.tolist()]


if __name__ == "__main__":
    mx.set_default_device(mx.cpu)
    folders = sorted(path for path in Path(sys.argv[1]).iterdir() if path.name != "chat")
    json.dump({path.name: logits(path) for path in folders}, sys.stdout, separators=(",", ":"))
    print()
