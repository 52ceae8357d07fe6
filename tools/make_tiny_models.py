"""Tiny random MLX models of every supported family, saved as mlx-lm saves them, with float32 reference logits.
usage: make_tiny_models.py OUTDIR [CASE...]

Each case becomes OUTDIR/<case>/: config.json, model.safetensors (or shards), model.safetensors.index.json where the
case asks for it, and expected.json = {"ids": the prompt, "positions": [..], "logits": one row a position, "greedy":
the 12 argmax tokens that follow the prompt, "margin": the smallest lead of one of them, "seed", "mlx", "mlx_lm"}."""
import json
import shutil
import sys
import zlib
from importlib.metadata import version
from pathlib import Path

import mlx.core as mx
import numpy as np
from bpe_trainer import train_bpe
from mlx.utils import tree_flatten, tree_unflatten
from mlx_lm import utils
from reference import dense, shorten
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

PROMPT_LENGTH = 36

# Small enough to check in: about 20 000 parameters.
BASE = dict(hidden_size=32, num_hidden_layers=2, intermediate_size=32, num_attention_heads=4, num_key_value_heads=2,
            rms_norm_eps=1e-5, vocab_size=64, max_position_embeddings=256, rope_theta=10000.0)
# Quantised: every input size divides by 64.
WIDE = dict(BASE, hidden_size=64, intermediate_size=64)
# The square root of 40 or 96 loses the most in bfloat16, where mlx-lm rounds gemma3's embedding scale.
# Groups of 128: 8 heads of 16 make 128 inputs of o_proj.
WIDE128 = dict(BASE, hidden_size=128, intermediate_size=128, num_attention_heads=8, num_key_value_heads=1,
               num_hidden_layers=1, head_dim=16)
# Eight bits, groups of 128: o_proj and down_proj (32 inputs) do not divide and stay unquantised.
NARROW128 = dict(WIDE128, num_attention_heads=2, intermediate_size=32)

LLAMA3_ROPE = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                   original_max_position_embeddings=64)
YARN = dict(type="yarn", factor=4.0, original_max_position_embeddings=64, beta_fast=32, beta_slow=1)
GEMMA2 = dict(head_dim=16, query_pre_attn_scalar=24, attn_logit_softcapping=5.0, final_logit_softcapping=3.0,
              sliding_window=8, rms_norm_eps=1e-6, hidden_activation="gelu_pytorch_tanh")
GEMMA3 = dict(head_dim=8, query_pre_attn_scalar=12, sliding_window=8, sliding_window_pattern=3, num_hidden_layers=4,
              rope_theta=1000000.0, rope_local_base_freq=10000.0, hidden_size=40, intermediate_size=16,
              rms_norm_eps=1e-6,
              hidden_activation="gelu_pytorch_tanh")
GRANITE = dict(attention_multiplier=0.2, embedding_multiplier=6.0, residual_multiplier=0.3, logits_scaling=4.0,
               attention_bias=False, mlp_bias=False)


def longrope(half, kind="longrope"):
    return dict(type=kind, short_factor=[1.0 + 0.05 * i for i in range(half)],
                long_factor=[1.0 + 0.6 * i for i in range(half)])


def q(bits, group, **more):
    """Quantisation of a case. layers: path -> bits, dict or False, each recorded in the config;
    silent: path -> dict, stored so but not recorded (mlx-lm infers it from the shapes);
    legacy: the config of an older mlx-lm, without "mode" and without the copy named quantization_config."""
    return dict(bits=bits, group=group, **more)


# name -> (model type, config, weight type, more)
CASES = {
    # llama
    "llama-tied": ("llama", dict(BASE), "bfloat16", dict(index=True)),  # tie_word_embeddings absent: mlx-lm ties
    "llama-untied-mqa": ("llama", dict(BASE, num_key_value_heads=1, tie_word_embeddings=False), "float16", {}),
    "llama-mha-sharded": ("llama", dict(BASE, num_key_value_heads=None, num_hidden_layers=2), "bfloat16",
                          dict(shards=3)),
    "llama-rope-llama3": ("llama", dict(BASE, head_dim=16, num_attention_heads=2, num_key_value_heads=1,
                                        num_hidden_layers=1, rope_scaling=LLAMA3_ROPE, tie_word_embeddings=True),
                          "float32", {}),
    "llama-rope-linear": ("llama", dict(BASE, num_hidden_layers=1, rope_scaling=dict(type="linear", factor=4.0)),
                          "bfloat16", {}),
    "llama-rope-yarn": ("llama", dict(BASE, head_dim=16, rope_scaling=dict(YARN, mscale=1.0, mscale_all_dim=0.5)),
                        "bfloat16", {}),
    "llama-rope-traditional": ("llama", dict(BASE, rope_traditional=True), "bfloat16", {}),
    "llama-biases": ("llama", dict(BASE, attention_bias=True, mlp_bias=True, tie_word_embeddings=False),
                     "bfloat16", {}),
    "llama-head-dim": ("llama", dict(BASE, head_dim=12, tie_word_embeddings=False), "bfloat16", {}),
    "llama-layer-types": ("llama", dict(BASE, num_hidden_layers=3, sliding_window=8, layer_types=[
        "sliding_attention", "full_attention", "sliding_attention"]), "bfloat16", {}),
    # mistral is llama to mlx-lm; without layer_types its sliding_window is not used
    "mistral": ("mistral", dict(BASE, sliding_window=8, head_dim=8, tie_word_embeddings=False,
                                rope_theta=1000000.0), "bfloat16", {}),
    # qwen
    "qwen2-tied": ("qwen2", dict(BASE, rope_theta=1000000.0, tie_word_embeddings=True, use_sliding_window=False,
                                 sliding_window=8), "bfloat16", {}),
    "qwen2-untied": ("qwen2", dict(BASE, num_hidden_layers=1, rope_theta=None, tie_word_embeddings=False),
                     "float16", {}),
    "qwen3-tied": ("qwen3", dict(BASE, head_dim=16, rope_theta=1000000.0, tie_word_embeddings=True),
                   "bfloat16", {}),
    "qwen3-untied-v5-config": ("qwen3", dict(BASE, head_dim=8, rope_theta=None, tie_word_embeddings=False,
                                             rope_parameters=dict(rope_theta=500000.0, rope_type="default")),
                               "bfloat16", {}),
    "qwen3-yarn": ("qwen3", dict(BASE, head_dim=16, tie_word_embeddings=True,
                                 rope_scaling=dict(rope_type="yarn", factor=4.0,
                                                   original_max_position_embeddings=64)), "float16", {}),
    # gemma
    "gemma2": ("gemma2", dict(BASE, **GEMMA2), "bfloat16", {}),
    "gemma2-mha": ("gemma2", dict(BASE, **dict(GEMMA2, head_dim=8, query_pre_attn_scalar=8),
                                  num_hidden_layers=1) | dict(num_key_value_heads=4), "float32", {}),
    "gemma3-text": ("gemma3_text", BASE | GEMMA3, "bfloat16", {}),
    "gemma3-text-untied-linear": ("gemma3_text", BASE | GEMMA3 | dict(
        sliding_window_pattern=2, sliding_window=5, num_key_value_heads=1,
        rope_scaling=dict(rope_type="linear", factor=8.0)), "float16", dict(head=True)),
    "gemma3-text-global-only": ("gemma3_text", BASE | GEMMA3 | dict(sliding_window_pattern=1,
                                                                   num_hidden_layers=2), "bfloat16", {}),
    "gemma3-wrapper": ("gemma3", BASE | GEMMA3 | dict(num_hidden_layers=3), "bfloat16", {}),
    # phi3
    "phi3": ("phi3", dict(BASE, num_hidden_layers=1, num_key_value_heads=4, sliding_window=8), "bfloat16", {}),
    "phi3-partial-gqa-tied": ("phi3", dict(BASE, partial_rotary_factor=0.5, tie_word_embeddings=True,
                                           num_attention_heads=2, num_key_value_heads=1), "bfloat16", {}),
    "phi3-longrope": ("phi3", dict(BASE, num_hidden_layers=1, rope_scaling=longrope(4),
                                   original_max_position_embeddings=64),
                      "bfloat16", {}),
    "phi3-su-partial": ("phi3", dict(BASE, num_attention_heads=2, num_key_value_heads=1,
                                     partial_rotary_factor=0.75, rope_scaling=longrope(6, "su"),
                                     original_max_position_embeddings=16, max_position_embeddings=512),
                        "float16", {}),
    "phi3-linear": ("phi3", dict(BASE, num_hidden_layers=1, rope_scaling=dict(type="linear", factor=2.0,
                                                                           long_factor=[1.0] * 4)),
                    "bfloat16", {}),
    # smollm3
    "smollm3": ("smollm3", dict(BASE, num_hidden_layers=4, intermediate_size=24, rope_theta=5000000.0,
                                tie_word_embeddings=True), "bfloat16", {}),
    "smollm3-list": ("smollm3", dict(BASE, num_hidden_layers=3, no_rope_layers=[1, 0, 1],
                                     tie_word_embeddings=False), "bfloat16", {}),
    # granite, olmo2
    "granite": ("granite", dict(BASE, **GRANITE, tie_word_embeddings=True), "bfloat16", {}),
    "granite-untied-biases": ("granite", dict(BASE, num_hidden_layers=1,
                                              **dict(GRANITE, attention_bias=True, mlp_bias=True),
                                              tie_word_embeddings=False), "bfloat16", {}),
    "olmo2": ("olmo2", dict(BASE, tie_word_embeddings=False), "bfloat16", {}),
    "olmo2-head-dim": ("olmo2", dict(BASE, head_dim=16, num_attention_heads=3, num_key_value_heads=3,
                                     num_hidden_layers=1, tie_word_embeddings=True, attention_bias=True), "float32", {}),
    # quantised: every width and group size, over the families
    "llama-q2-g32": ("llama", dict(WIDE, tie_word_embeddings=True), "bfloat16", dict(quant=q(2, 32))),
    "qwen2-q2-g64": ("qwen2", dict(WIDE, tie_word_embeddings=False), "bfloat16", dict(quant=q(2, 64))),
    "qwen3-q2-g128": ("qwen3", dict(WIDE128, tie_word_embeddings=True), "bfloat16", dict(quant=q(2, 128))),
    "smollm3-q3-g32": ("smollm3", dict(WIDE, no_rope_layer_interval=2, tie_word_embeddings=True), "float16",
                       dict(quant=q(3, 32))),
    "llama-q3-g64": ("llama", dict(WIDE, tie_word_embeddings=False), "bfloat16", dict(quant=q(3, 64))),
    "olmo2-q3-g128": ("olmo2", dict(WIDE128, tie_word_embeddings=False), "bfloat16", dict(quant=q(3, 128))),
    "gemma3-text-q4-g32": ("gemma3_text", WIDE | dict(GEMMA3, head_dim=16, hidden_size=96, num_hidden_layers=2,
                                                      sliding_window_pattern=2, intermediate_size=32),
                           "bfloat16", dict(quant=q(4, 32))),
    "llama-q4-g64": ("llama", dict(WIDE, tie_word_embeddings=True), "bfloat16", dict(quant=q(4, 64))),
    "llama-q4-g64-f32": ("llama", dict(WIDE, num_hidden_layers=1, attention_bias=True, tie_word_embeddings=False),
                         "float32", dict(quant=q(4, 64, legacy=True))),
    "phi3-q4-g128": ("phi3", dict(NARROW128, num_attention_heads=8, hidden_size=128, intermediate_size=32),
                     "bfloat16", dict(quant=q(4, 128))),
    "qwen3-q5-g32": ("qwen3", dict(WIDE, head_dim=16, num_hidden_layers=1, tie_word_embeddings=False), "float16",
                     dict(quant=q(5, 32))),
    "gemma2-q5-g64": ("gemma2", WIDE | dict(GEMMA2, num_hidden_layers=1), "bfloat16", dict(quant=q(5, 64))),
    "llama-q5-g128": ("llama", dict(NARROW128, tie_word_embeddings=True), "bfloat16", dict(quant=q(5, 128))),
    "qwen2-q6-g32": ("qwen2", dict(WIDE, num_hidden_layers=1, tie_word_embeddings=True), "bfloat16",
                     dict(quant=q(6, 32))),
    "gemma3-wrapper-q6-g64": ("gemma3", WIDE | dict(GEMMA3, hidden_size=64, head_dim=16, num_hidden_layers=2,
                                                    sliding_window_pattern=2, intermediate_size=64,
                                                    num_attention_heads=4, num_key_value_heads=1),
                              "bfloat16", dict(quant=q(6, 64))),
    "llama-q6-g128": ("llama", dict(NARROW128, tie_word_embeddings=False), "bfloat16", dict(quant=q(6, 128))),
    "llama-q8-g32": ("llama", dict(WIDE, num_hidden_layers=1, tie_word_embeddings=True), "bfloat16",
                     dict(quant=q(8, 32))),
    "phi3-q8-g64": ("phi3", dict(WIDE, num_hidden_layers=1, tie_word_embeddings=False), "bfloat16",
                    dict(quant=q(8, 64))),
    "qwen3-q8-g128": ("qwen3", dict(NARROW128, tie_word_embeddings=True), "bfloat16", dict(quant=q(8, 128))),
    # granite's own predicate: o_proj, down_proj and lm_head at 8 bits, recorded a path each
    "granite-q4-g64": ("granite", dict(WIDE, **GRANITE, num_hidden_layers=1, tie_word_embeddings=False),
                       "bfloat16", dict(quant=q(4, 64))),
    "llama-q-mixed": ("llama", dict(WIDE, tie_word_embeddings=False), "bfloat16", dict(quant=q(4, 64, layers={
        "model.embed_tokens": 6, "model.layers.0.self_attn.v_proj": dict(bits=8, group_size=32),
        "model.layers.1.mlp.down_proj": dict(bits=3, group_size=64), "model.layers.1.self_attn.o_proj": False,
        "lm_head": 8}))),
    # the config says 4 bits, groups of 64; two layers are stored otherwise and nothing records it
    "qwen3-q-inferred": ("qwen3", dict(WIDE, head_dim=16, tie_word_embeddings=True), "bfloat16", dict(quant=q(
        4, 64, silent={"model.embed_tokens": dict(bits=8, group_size=64),
                       "model.layers.0.mlp.up_proj": dict(bits=2, group_size=32)}))),
}


def make_config(kind, values):
    values = {k: v for k, v in values.items() if v is not None}
    if kind != "gemma3":
        return dict(values, model_type=kind)
    vocab = values.pop("vocab_size")
    return dict(model_type="gemma3", vocab_size=vocab, text_config=dict(values, model_type="gemma3_text"))


def random_weight(rng, path, shape, gemma):
    noise = rng.standard_normal(shape).astype(np.float32)
    if path.endswith("model.norm.weight"):  # both signs, so that a tied head does not only repeat its input
        return np.sign(noise) * (1.0 + 0.3 * abs(noise)) - (1.0 if gemma else 0.0)
    if "norm" in path:
        return 0.3 * noise + (0.0 if gemma else 1.0)
    if path.endswith(".bias"):
        return 0.3 * noise
    if "embed_tokens" in path:
        return 0.5 * noise
    gain = 2.0 if "q_proj" in path or "k_proj" in path or "qkv_proj" in path else 1.2
    return gain * noise / np.sqrt(shape[-1])


def build(kind, config, dtype, rng, with_head):
    model_class, args_class = utils._get_classes(config)
    model = model_class(args_class.from_dict(json.loads(json.dumps(config))))
    gemma = kind.startswith("gemma")
    weights = [(path, mx.array(random_weight(rng, path, value.shape, gemma)).astype(getattr(mx, dtype)))
               for path, value in tree_flatten(model.parameters())]
    if gemma and not with_head:
        weights = [(path, value) for path, value in weights if "lm_head" not in path]
    if hasattr(model, "sanitize"):  # gemma3 ties the head here
        weights = list(model.sanitize(dict(weights)).items())
    model.load_weights(weights)
    return model


def quantise(model, config, quant):
    layers = {path: dict(group_size=quant["group"], bits=value) if type(value) is int else value
              for path, value in quant.get("layers", {}).items()}
    silent = quant.get("silent", {})
    own = getattr(model, "quant_predicate", None)

    def predicate(path, module):
        if path in layers or path in silent:
            return layers.get(path, silent.get(path))
        return own(path, module) if own else True

    model, config = utils.quantize_model(model, config, quant["group"], quant["bits"], quant_predicate=predicate)
    for path in silent:
        del config["quantization"][path]
    config["quantization"].update({path: False for path, value in layers.items() if value is False})
    if quant.get("legacy"):
        del config["quantization"]["mode"]
    return model, config


def split_in(count):
    def shards(weights):
        items = list(weights.items())
        size = -(-len(items) // count)
        return [dict(items[i:i + size]) for i in range(0, len(items), size)]
    return shards


def reference(model, ids, count=12):
    """Logits of every position of ids, the greedy tokens that follow and the smallest lead of one of these."""
    logits = np.array(model(mx.array([ids]))[0])
    greedy, sequence, margin = [], list(ids), np.inf
    for _ in range(count):
        last = np.array(model(mx.array([sequence]))[0, -1])
        best, second = np.argsort(-last)[:2]
        margin = min(margin, float(last[best] - last[second]))
        greedy.append(int(best))
        sequence.append(int(best))
    return logits, greedy, margin


# A complete directory, to run sessions on: byte-level BPE, ChatML template, two end-of-turn tokens.
CHAT = dict(BASE, vocab_size=320, tie_word_embeddings=True, bos_token_id=1, eos_token_id=2)
CHAT_TEMPLATE = ("{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
                 "{{ '<|im_start|>system\nYou are small.<|im_end|>\n' }}{% endif %}"
                 "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
                 "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")
CHAT_WORDS = ("the small model says little and the little it says is small: a word, another word, "
              "then the system and the user and the assistant take turns. ") * 4


def save_chat_tokenizer(folder):
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    pre = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words = [piece for piece, _ in pre.pre_tokenize_str(CHAT_WORDS)]
    found, merges = train_bpe(words, CHAT["vocab_size"] - len(special), pre.alphabet())
    vocab = {token: i for i, token in enumerate([*special, *found])}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    tokenizer.pre_tokenizer = pre
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<|im_start|>", eos_token="<|im_end|>",
                                   pad_token="<|im_end|>", clean_up_tokenization_spaces=False)
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(folder)
    (folder / "generation_config.json").write_text(json.dumps(dict(bos_token_id=1, eos_token_id=[2, 0])) + "\n")
    return fast


CHAT_SEED = 74  # found by trial: the first answer ends by itself, the others run on


def make_chat(out, name="chat", seed=CHAT_SEED):
    config = make_config("llama", CHAT)
    model = build("llama", config, "bfloat16", np.random.default_rng(seed), False)
    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    utils.save_model(folder, model)
    utils.save_config(config, folder / "config.json")
    tokenizer = save_chat_tokenizer(folder)

    model = dense(utils.load_model(folder)[0])
    turns = [[dict(role="user", content=text)] for text in ("Say a word.", "Who says what?", "naïve 日本 🙂")]
    cases = []
    for messages in turns:
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        ids = tokenizer.encode(text, add_special_tokens=False)
        logits, greedy, margin = reference(model, ids, 32)
        cases.append(dict(messages=messages, prompt=text, ids=ids, positions=[len(ids) - 1],
                          logits=[[shorten(x) for x in logits[-1]]], greedy=greedy, margin=shorten(margin, 3),
                          greedy_text=tokenizer.decode(greedy)))
    (folder / "expected.json").write_text(json.dumps(dict(cases=cases, seed=seed), separators=(",", ":")) + "\n")
    print(f"{name:28} {sum(f.stat().st_size for f in folder.iterdir()):7d} bytes", [c["greedy"] for c in cases])
    return cases


def make_case(out, name):
    if name == "chat":
        return make_chat(out)
    kind, values, dtype, more = CASES[name]
    seed = zlib.crc32(name.encode())
    rng = np.random.default_rng(seed)
    config = make_config(kind, values)
    model = build(kind, config, dtype, rng, more.get("head", False))
    if "quant" in more:
        model, config = quantise(model, config, more["quant"])
    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    whole = utils.make_shards
    if "shards" in more:
        utils.make_shards = split_in(more["shards"])
    utils.save_model(folder, model)
    utils.make_shards = whole
    utils.save_config(config, folder / "config.json")
    if more.get("quant", {}).get("legacy"):
        config = json.loads((folder / "config.json").read_text())
        del config["quantization_config"]
        (folder / "config.json").write_text(json.dumps(config, indent=4))

    if not more.get("index") and "shards" not in more:
        (folder / "model.safetensors.index.json").unlink()

    model = dense(utils.load_model(folder)[0])
    margin = 0.0
    while margin < 0.01:  # greedy text must not hang on a near tie
        ids = rng.integers(0, values["vocab_size"], PROMPT_LENGTH).tolist()
        logits, greedy, margin = reference(model, ids)
    window = values.get("sliding_window") or 8
    positions = sorted({0, window - 1, window, 2 * window + 1, PROMPT_LENGTH - 1})
    expected = dict(ids=ids, positions=positions,
                    logits=[[shorten(x) for x in logits[p]] for p in positions], greedy=greedy,
                    margin=shorten(margin, 3), seed=seed, mlx=version("mlx"), mlx_lm=version("mlx-lm"))
    (folder / "expected.json").write_text(json.dumps(expected, separators=(",", ":")) + "\n")
    size = sum(f.stat().st_size for f in folder.iterdir())
    print(f"{name:28} {size:7d} bytes  logits sd {logits.std():.3f}  max {abs(logits).max():.2f}  "
          f"greedy {greedy}", flush=True)


if __name__ == "__main__":
    target = Path(sys.argv[1])
    for case in sys.argv[2:] or [*CASES, "chat"]:
        make_case(target, case)
