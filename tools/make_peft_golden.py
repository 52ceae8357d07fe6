"""Adapters made by PEFT on the tiny golden models, with the float32 logits that transformers and PEFT compute.
usage: make_peft_golden.py MODELS OUTDIR [CASE...]          MODELS: tests/golden/models; needs torch, transformers, peft

OUTDIR/<case>/ has adapter_config.json and adapter_model.safetensors as PEFT saves them, and expected.json as
make_adapter_golden.py writes it, ("merged": after PEFT's merge_and_unload, each weight rounded once to the model's type; these models are not quantised)."""
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from safetensors import safe_open
from transformers import AutoModelForCausalLM

QKVO = ["q_proj", "k_proj", "v_proj", "o_proj"]
CASES = {
    "peft-lora": ("llama-untied-mqa", dict(r=4, lora_alpha=12, target_modules=["q_proj", "v_proj", "down_proj"])),
    "peft-rslora-patterns": ("llama-biases", dict(
        r=4, lora_alpha=8, use_rslora=True, target_modules=[*QKVO, "gate_proj"],
        rank_pattern={"layers.1.self_attn.q_proj": 2, "gate_proj": 6}, alpha_pattern={"o_proj": 20, "model.layers.0.mlp.gate_proj": 3})),
    "peft-dora": ("qwen2-tied", dict(r=2, lora_alpha=6, use_dora=True, target_modules="all-linear")),
    "peft-transposed": ("llama-untied-mqa", dict(r=3, lora_alpha=6, fan_in_fan_out=True, target_modules=["up_proj", "o_proj"])),
    "peft-dora-fused": ("phi3-partial-gqa-tied", dict(r=4, lora_alpha=8, use_dora=True, target_modules=["qkv_proj", "gate_up_proj"])),
    "peft-head": ("llama-head-dim", dict(r=2, lora_alpha=4, target_modules=["lm_head", "q_proj"])),
    "peft-lora-float32": ("llama-rope-llama3", dict(r=2, lora_alpha=4, target_modules=[*QKVO, "up_proj"])),
    "peft-tied": ("qwen3-tied", dict(r=2, lora_alpha=4, layers_to_transform=[1], target_modules=QKVO)),
}


def shorten(value):
    return float(f"{float(value):.6g}")


def rows(model, ids, positions):
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0].float().numpy()
    return [[shorten(x) for x in logits[p]] for p in positions], logits


def make_case(models, out, name):
    base, settings = CASES[name]
    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    torch.manual_seed(5)
    model = AutoModelForCausalLM.from_pretrained(models / base, dtype=torch.float32, pad_token_id=0)
    with safe_open(models / base / "model.safetensors", "pt") as file:
        stored = str(file.get_tensor("model.embed_tokens.weight").dtype).removeprefix("torch.")
    known = json.loads((models / base / "expected.json").read_text())
    plain = rows(model, known["ids"], known["positions"])[1]
    off = abs(plain[known["positions"]] - np.array(known["logits"])).max() / abs(plain).max()
    assert off < 1e-3, f"{base}: transformers and mlx-lm differ by {off}"
    model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.1, **settings))
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=3e-2)
    for _ in range(12):
        ids = torch.randint(0, plain.shape[1], (2, 24))
        model(ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    config = json.loads((folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = base
    # PEFT sets it to False when it finds linear layers; files that were written without looking have it.
    config["fan_in_fan_out"] = settings.get("fan_in_fan_out", False)
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    ids = known["ids"][:24]
    positions = [0, 9, len(ids) - 1]
    expected = dict(base=base, ids=ids, positions=positions)
    expected["logits"], adapted = rows(model, ids, positions)
    merged, dtype = model.merge_and_unload(), getattr(torch, stored)
    for parameter in merged.parameters():
        parameter.data = parameter.data.to(dtype).float()
    expected["merged"] = rows(merged, ids, positions)[0]
    (folder / "expected.json").write_text(json.dumps(expected, separators=(",", ":")) + "\n")
    size = sum(f.stat().st_size for f in folder.iterdir())
    print(f"{name:22} {size:6d} bytes  base differs by {off:.1e}  changes logits by "
          f"{abs(adapted - plain[:len(ids)]).max() / abs(plain).max():.3f}", flush=True)


if __name__ == "__main__":
    for case in sys.argv[3:] or CASES:
        make_case(Path(sys.argv[1]), Path(sys.argv[2]), case)
