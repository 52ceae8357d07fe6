"""Rotary frequencies as mlx-lm computes them for the configurations of real models.
usage: make_rope_golden.py OUTFILE

Writes {"cases": [{"name", "config": a whole config.json, "inv_freq": of the first rope, "scale"}]}."""
import json
import sys

import mlx.core as mx
import numpy as np
from mlx_lm.models.rope_utils import SuScaledRoPE, initialize_rope

SIZES = dict(hidden_size=256, num_hidden_layers=1, intermediate_size=32, num_attention_heads=2, num_key_value_heads=1,
             rms_norm_eps=1e-5, vocab_size=32, tie_word_embeddings=True)
LONG = [1.0 + 0.02 * i * i for i in range(48)]
CASES = {
    "default": dict(model_type="llama", rope_theta=10000.0, max_position_embeddings=2048),
    "linear": dict(model_type="llama", rope_theta=1000000.0, max_position_embeddings=2048,
                   rope_scaling=dict(rope_type="linear", factor=8.0)),
    "llama-3.1": dict(model_type="llama", rope_theta=500000.0, max_position_embeddings=131072, rope_scaling=dict(
        rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=8192)),
    "llama-3.2": dict(model_type="llama", rope_theta=500000.0, max_position_embeddings=131072, rope_scaling=dict(
        rope_type="llama3", factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=8192)),
    "qwen-yarn": dict(model_type="qwen3", head_dim=128, rope_theta=1000000.0, max_position_embeddings=131072,
                      rope_scaling=dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=32768)),
    "yarn-all": dict(model_type="llama", rope_theta=10000.0, max_position_embeddings=65536, rope_scaling=dict(
        type="yarn", factor=16.0, original_max_position_embeddings=4096, beta_fast=24, beta_slow=2, mscale=1.2,
        mscale_all_dim=0.8)),
    "phi-longrope": dict(model_type="phi3", partial_rotary_factor=0.75, rope_theta=10000.0,
                         max_position_embeddings=131072, original_max_position_embeddings=4096,
                         rope_scaling=dict(type="longrope", short_factor=[1.0] * 48, long_factor=LONG)),
    "llama-longrope": dict(model_type="llama", head_dim=96, rope_theta=10000.0, max_position_embeddings=131072,
                           rope_scaling=dict(type="longrope", original_max_position_embeddings=8192,
                                             short_factor=[1.0] * 48, long_factor=LONG)),
}


def frequencies(c):
    dims, scaling, longest = c.get("head_dim", 128), c.get("rope_scaling"), c["max_position_embeddings"]
    if c["model_type"] == "phi3":
        rope = SuScaledRoPE(int(dims * c["partial_rotary_factor"]), c["rope_theta"], longest,
                            c["original_max_position_embeddings"], scaling["short_factor"], scaling["long_factor"])
    else:
        rope = initialize_rope(dims, c["rope_theta"], False, scaling, longest)
    if hasattr(rope, "_freqs"):
        return 1.0 / np.array(rope._freqs).astype(np.float64), getattr(rope, "_scale", getattr(rope, "mscale", 1.0))
    return rope.scale / rope.base ** (np.arange(0, dims, 2) / dims), 1.0


cases = []
for name, config in CASES.items():
    inv_freq, scale = frequencies(config)
    cases.append(dict(name=name, config=dict(SIZES, **config), inv_freq=[float(f"{v:.7g}") for v in inv_freq],
                      scale=float(f"{scale:.7g}")))
with open(sys.argv[1], "w") as f:
    f.write('{"cases": [\n' + ",\n".join(json.dumps(case) for case in cases) + "\n]}\n")
