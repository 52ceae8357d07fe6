#!/usr/bin/env python3
"""The logits of each golden model, and of those with an adapter of mlx-lm, at the last of its tokens, as mlx-lm computes
them in the model's own types on the processor, all tokens in one pass of 32 at most:
    make_own_types_golden.py tests/golden/models tests/golden/adapters >tests/golden/own_types.json
Needs mlx, mlx-cpu and mlx-lm (0.32)."""
import json
import os
import sys
from pathlib import Path

os.environ["MLX_DISABLE_COMPILE"] = "1"
import mlx.core as mx
from mlx_lm.tuner.utils import load_adapters
from mlx_lm.utils import load_model

TOKENS = 32  # what the engine puts through the layers together on a processor


def last_row(model, ids):
    row = model(mx.array([ids]))[0, -1].astype(mx.float32)
    return [float(f"{value:.6g}") for value in row.tolist()]


def of_model(directory):
    expected = json.loads((directory / "expected.json").read_text())
    return last_row(load_model(directory)[0], (expected["ids"] + expected["greedy"])[:TOKENS])


def of_adapter(models, directory):
    expected = json.loads((directory / "expected.json").read_text())
    return last_row(load_adapters(load_model(models / expected["base"])[0], directory), expected["ids"][:TOKENS])


if __name__ == "__main__":
    mx.set_default_device(mx.cpu)
    models, adapters = Path(sys.argv[1]), Path(sys.argv[2])
    result = {path.name: of_model(path) for path in sorted(models.iterdir()) if path.name not in ("chat", "scripted")}
    result |= {path.name: of_adapter(models, path) for path in sorted(adapters.iterdir()) if not path.name.startswith("peft-")}
    json.dump(result, sys.stdout, separators=(",", ":"))
    print()
