"""Adapters trained by mlx-lm on the tiny golden models, with the float32 logits that mlx-lm computes.
usage: make_adapter_golden.py MODELS OUTDIR [CASE...]         MODELS: tests/golden/models
       make_adapter_golden.py --check LLMLOCAL MODELS ADAPTERS    fuses each with llmlocal and loads that in mlx-lm

OUTDIR/<case>/ has adapter_config.json and adapters.safetensors as mlx_lm.lora leaves them, and expected.json = {"base": the
model, "ids", "positions", "logits": one row a position of the model with the adapter, "merged", "dequantized": of the
model whose weights have the adapter in them, quantised anew or not, each layer rounded once to the model's type}."""
import contextlib
import io
import json
import shutil
import subprocess
import sys
import tempfile
import types
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx_lm import lora, utils
from mlx_lm.tuner.utils import load_adapters
from reference import dense, shorten

# case: base model, adapter type, last layers, lora_parameters
ATTENTION = ["self_attn.q_proj", "self_attn.v_proj"]
CASES = {
    "llama-lora": ("llama-tied", "lora", -1, dict(rank=4, scale=10.0)),
    "llama-lora-last": ("llama-q4-g64", "lora", 1, dict(rank=4, scale=20.0, keys=ATTENTION)),
    "llama-dora": ("llama-q4-g64", "dora", 2, dict(rank=2, scale=5.0)),
    "llama-lora-head": ("llama-biases", "lora", 1, dict(rank=3, scale=4.0, keys=["mlp.down_proj", "lm_head"])),
    "qwen2-dora-biases": ("qwen2-untied", "dora", -1, dict(rank=4, scale=8.0)),
    "qwen3-lora-wide": ("qwen3-q8-g128", "lora", 1, dict(rank=20, scale=2.0, keys=["self_attn.o_proj", "mlp.up_proj"])),
    "phi3-lora-fused": ("phi3", "lora", -1, dict(rank=4, scale=10.0)),
    "phi3-dora-fused": ("phi3-partial-gqa-tied", "dora", 1, dict(rank=4, scale=6.0)),
    "gemma2-lora": ("gemma2", "lora", 1, dict(rank=2, scale=10.0)),
    "gemma3-lora-wrapper": ("gemma3-wrapper", "lora", 2, dict(rank=2, scale=10.0)),
    "smollm3-lora": ("smollm3-q3-g32", "lora", 1, dict(rank=2, scale=10.0, keys=ATTENTION)),
    "granite-dora": ("granite-q4-g64", "dora", -1, dict(rank=2, scale=10.0, keys=["self_attn.q_proj", "mlp.gate_proj"])),
    "olmo2-lora": ("olmo2-head-dim", "lora", -1, dict(rank=2, scale=10.0)),
    "mixed-lora": ("llama-q-mixed", "lora", -1, dict(rank=2, scale=10.0,
                                                     keys=["self_attn.v_proj", "self_attn.o_proj", "mlp.down_proj"])),
    "chat-lora": ("chat", "lora", -1, dict(rank=4, scale=20.0)),
    "chat-dora": ("chat", "dora", 1, dict(rank=2, scale=10.0)),
}


class Tokens:
    """Random sequences as a data set."""

    def __init__(self, rng, vocab_size):
        self.items = [(rng.integers(0, vocab_size, 24).tolist(), 0) for _ in range(8)]

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]

    def process(self, item):
        return item

    def itemlen(self, i):
        return len(self.items[i][0])


def train(name, base, folder):
    _, kind, layers, parameters = CASES[name]
    rng = np.random.default_rng(sum(name.encode()))
    model, config = utils.load_model(base)
    model = dense(model)  # training in bfloat16 leaves too little of so small a model
    vocab = config.get("vocab_size") or config["text_config"]["vocab_size"]
    values = dict(lora.CONFIG_DEFAULTS, fine_tune_type=kind, num_layers=layers, batch_size=2, iters=12, val_batches=0,
                  learning_rate=1e-2, steps_per_report=100, steps_per_eval=100, save_every=100, max_seq_length=32,
                  lora_parameters=dict(parameters, dropout=0.0), adapter_path=str(folder), seed=3)
    data = Tokens(rng, vocab)
    np.random.seed(3)  # batches are drawn from it
    with contextlib.redirect_stdout(io.StringIO()):
        lora.train_model(types.SimpleNamespace(**values), model, data, data)
    # The paths of this machine and the optimizers' tables are nobody's business.
    path = folder / "adapter_config.json"
    config = {k: v for k, v in json.loads(path.read_text()).items() if k in
              ("fine_tune_type", "num_layers", "lora_parameters", "batch_size", "iters", "learning_rate", "seed", "optimizer")}
    path.write_text(json.dumps(config, indent=1) + "\n")
    for extra in folder.glob("0*_adapters.safetensors"):
        extra.unlink()


def merged_weight(module, stored):
    """The float32 weight with the adapter in it, rounded once to the stored type."""
    weight = module.linear.weight + (module.scale * module.lora_b.T) @ module.lora_a.T
    if "m" in module:
        weight = (module.m / mx.linalg.norm(weight, axis=1))[:, None] * weight
    kind = stored.scales.dtype if isinstance(stored, nn.QuantizedLinear) else stored.weight.dtype
    return weight.astype(kind)


def merge(base, adapter, quantised):
    """The model with merged weights, in float32."""
    stored = dict(utils.load_model(base)[0].named_modules())
    model = load_adapters(dense(utils.load_model(base)[0]), adapter)
    plain = dense(utils.load_model(base)[0])
    modules = dict(plain.named_modules())
    for path, module in model.named_modules():
        if "lora_a" not in module:
            continue
        weight, form = merged_weight(module, stored[path]), stored[path]
        if quantised and isinstance(form, nn.QuantizedLinear):
            packed = mx.quantize(weight, form.group_size, form.bits)
            weight = mx.dequantize(packed[0], packed[1].astype(mx.float32), packed[2].astype(mx.float32), form.group_size, form.bits)
        modules[path].weight = weight.astype(mx.float32)
    for path, form in stored.items():  # every weight is written in the model's type
        if not quantised and isinstance(form, (nn.QuantizedLinear, nn.QuantizedEmbedding)):
            modules[path].weight = modules[path].weight.astype(form.scales.dtype).astype(mx.float32)
    return plain


def rows(model, ids, positions):
    logits = np.array(model(mx.array([ids]))[0].astype(mx.float32))
    return [[shorten(x) for x in logits[p]] for p in positions], logits


def make_case(models, out, name):
    base, folder = models / CASES[name][0], out / name
    shutil.rmtree(folder, ignore_errors=True)
    train(name, base, folder)
    known = json.loads((base / "expected.json").read_text())
    ids = (known["cases"][0] if "cases" in known else known)["ids"][:24]
    positions = [0, 9, len(ids) - 1]
    expected = dict(base=CASES[name][0], ids=ids, positions=positions)
    expected["logits"], adapted = rows(load_adapters(dense(utils.load_model(base)[0]), folder), ids, positions)
    plain = rows(dense(utils.load_model(base)[0]), ids, positions)[1]
    expected["merged"] = rows(merge(base, folder, True), ids, positions)[0]
    expected["dequantized"] = rows(merge(base, folder, False), ids, positions)[0]
    (folder / "expected.json").write_text(json.dumps(expected, separators=(",", ":")) + "\n")
    size = sum(f.stat().st_size for f in folder.iterdir())
    print(f"{name:22} {size:6d} bytes  changes logits by {abs(adapted - plain).max() / abs(plain).max():.3f}", flush=True)


def difference(a, b):
    return float(abs(np.array(a) - np.array(b)).max() / abs(np.array(b)).max())


def check(command, models, adapters):
    """Fused directories, loaded by mlx-lm, must have the expected logits."""
    worst = 0
    for folder in sorted(f for f in adapters.iterdir() if f.is_dir()):
        expected = json.loads((folder / "expected.json").read_text())
        for key, flags in (("merged", []), ("dequantized", ["--dequantize"])):
            if key not in expected:
                continue
            with tempfile.TemporaryDirectory() as temporary:
                target = Path(temporary) / "fused"
                subprocess.run([command, "fuse", str(models / expected["base"]), "--adapter", str(folder), str(target), *flags],
                               check=True)
                got = rows(dense(utils.load_model(target)[0]), expected["ids"], expected["positions"])[0]
            error = difference(got, expected[key])
            worst = max(worst, error)
            print(f"{folder.name:22} {key:12} {error:.1e}")
    print(f"largest difference: {worst:.1e}")
    return worst <= 1e-3


if __name__ == "__main__":
    if sys.argv[1] == "--check":
        sys.exit(not check(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4])))
    for case in sys.argv[3:] or CASES:
        make_case(Path(sys.argv[1]), Path(sys.argv[2]), case)
