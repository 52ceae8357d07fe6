"""Golden data for the tests of formats and conversion, into tests/golden/formats/:

  affine.json       what mx.quantize and mx.dequantize give for rows with every kind of edge (hashes of the bits)
  quants.gguf/json  a tiny Llama with a tensor of every GGUF type, and gguf-py's dequantisation of each (hashes)
  <case>.gguf       models of tests/golden/models written as llama.cpp's converter writes them
  spm*.gguf/json    SentencePiece vocabularies, the tokenizer.json expected; checked here against sentencepiece itself
  bpe.gguf/json     a byte-level one, likewise from the tokenizers library
  convert_hf.json   what mlx-lm's quantize_model makes of some models (hashes of every tensor)

and small seeds for the fuzz targets, into tests/fuzz/corpus.

Run with a Python that has mlx, mlx-lm, gguf, sentencepiece and tokenizers. Everything is seeded: two runs agree."""
import io
import json
import math
import sys
from pathlib import Path

import gguf
import mlx.core as mx
import numpy as np
from gguf.quants import dequantize, quantize

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT / "tests/golden/models"
OUT = ROOT / "tests/golden/formats"
TYPES = gguf.GGMLQuantizationType


def fnv(data):
    """64-bit FNV-1a over 32-bit little-endian words (the last padded with zeros), as hex."""
    data = bytes(data)
    data += b"\0" * (-len(data) % 4)
    state = 0xCBF29CE484222325
    for word in np.frombuffer(data, "<u4").tolist():
        state = ((state ^ word) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{state:016x}"


def bits_of(array):
    """The bytes of an mlx array."""
    if array.dtype in (mx.bfloat16, mx.float16):
        array = array.view(mx.uint16)
    return np.array(array).tobytes()


# --- affine -----------------------------------------------------------------------------------------------------


def edge_rows(columns):
    rng = np.random.default_rng(7)
    rows = [rng.standard_normal(columns), rng.standard_normal(columns) * 1e-6, np.zeros(columns),
            np.full(columns, 0.37), np.full(columns, -2.5), -np.abs(rng.standard_normal(columns)) - 1,
            np.abs(rng.standard_normal(columns)) + 1, rng.standard_normal(columns) * 1000,
            np.round(rng.standard_normal(columns) * 4) / 4, rng.standard_normal(columns) * 3e-8,
            np.where(rng.random(columns) < 0.02, 50, 0.01) * rng.standard_normal(columns), np.full(columns, -0.0)]
    return np.array(rows, dtype=np.float32)


def make_affine():
    rows = edge_rows(128)
    result = {"columns": 128, "rows": len(rows), "input": rows.tobytes().hex(), "cases": []}
    for name, kind in (("F32", mx.float32), ("F16", mx.float16), ("BF16", mx.bfloat16)):
        source = mx.array(rows).astype(kind)
        for bits in (2, 3, 4, 5, 6, 8):
            for group in (32, 64, 128):
                w, s, b = mx.quantize(source, group, bits)
                back = mx.dequantize(w, s.astype(mx.float32), b.astype(mx.float32), group, bits)
                result["cases"].append({"type": name, "bits": bits, "group_size": group, "weight": fnv(bits_of(w)),
                                        "scales": fnv(bits_of(s)), "biases": fnv(bits_of(b)),
                                        "values": fnv(bits_of(back))})
    # One row spelled out, so that a packing that is wrong can be read.
    w, s, b = mx.quantize(mx.array(rows[:1]), 32, 3)
    result["three_bits"] = bits_of(w).hex()
    (OUT / "affine.json").write_text(json.dumps(result, indent=1) + "\n")


# --- tokenizers -------------------------------------------------------------------------------------------------

TEXT = ("The quick brown fox jumps over the lazy dog. Pack my box with five dozen liquor jugs! 1234567890 "
        "How vexingly quick daft zebras jump; sphinx of black quartz, judge my vow. In the beginning there was "
        "the word, and the words were many: walking, talking, singing, thinking. Größe, café, naïve, 你好 世界. "
        "It's, we'll, don't, they've -- x = f(y) + 3.14; \n\n def main(): return 0\n")
PROBES = ["The quick brown fox", "  two  spaces", "Größe café 你好 🚀", "thinking 12 345\n\n\tdon't", "", " ", "zzz\r\nq",
          "x=f(y)+3.14", "the the the words", "naïve 世界!"]


def small_vocabulary(writer, count=40):
    """A byte-level vocabulary just to have one."""
    tokens = [chr(ord("a") + i) for i in range(26)] + ["th", "the", "in", "ing"]
    while len(tokens) < count - 2:
        tokens.append(f"[PAD{len(tokens)}]")
    tokens += ["<s>", "</s>"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([1] * 30 + [5] * (count - 32) + [3, 3])
    writer.add_token_merges(["t h", "th e", "i n", "in g"])
    writer.add_bos_token_id(count - 2)
    writer.add_eos_token_id(count - 1)
    writer.add_chat_template("{{ messages[0]['content'] }}</s>")


def tiny_llama(writer, vocab, hidden=32, inner=32, heads=2, seed=1):
    """Hyperparameters of a one-layer Llama and its tensors as float32, by GGUF's names."""
    writer.add_context_length(64)
    writer.add_embedding_length(hidden)
    writer.add_block_count(1)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_head_count_kv(1)
    writer.add_key_length(16)
    writer.add_value_length(16)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(16)
    rng = np.random.default_rng(seed)
    shapes = {"token_embd": (vocab, hidden), "output_norm": (hidden,), "blk.0.attn_norm": (hidden,),
              "blk.0.attn_q": (16 * heads, hidden), "blk.0.attn_k": (16, hidden), "blk.0.attn_v": (16, hidden),
              "blk.0.attn_output": (hidden, 16 * heads), "blk.0.ffn_norm": (hidden,), "blk.0.ffn_gate": (inner, hidden),
              "blk.0.ffn_up": (inner, hidden), "blk.0.ffn_down": (hidden, inner)}
    return {name + ".weight": rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_plain(writer, tensors):
    for name, value in tensors.items():
        if value.ndim == 1:
            writer.add_tensor(name, value)
        else:
            writer.add_tensor(name, quantize(value, TYPES.BF16), raw_dtype=TYPES.BF16)


def make_spm(name, prefix):
    import sentencepiece as spm
    from tokenizers import Tokenizer, decoders, models, normalizers, processors

    model = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT.split(". ") * 3), model_writer=model, vocab_size=420, model_type="bpe",
        byte_fallback=True, add_dummy_prefix=prefix, normalization_rule_name="identity",
        remove_extra_whitespaces=False, minloglevel=2, hard_vocab_limit=True)
    sp = spm.SentencePieceProcessor(model_proto=model.getvalue())
    count = sp.vocab_size()
    pieces = [sp.id_to_piece(i) for i in range(count)]
    kinds = [2 if sp.is_unknown(i) else 3 if sp.is_control(i) else 6 if sp.is_byte(i) else 1 for i in range(count)]

    writer = gguf.GGUFWriter(OUT / f"{name}.gguf", "llama")
    tensors = tiny_llama(writer, count)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(pieces)
    writer.add_token_scores([sp.get_score(i) for i in range(count)])
    writer.add_token_types(kinds)
    if not prefix:
        writer.add_add_space_prefix(False)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    write_plain(writer, tensors)
    finish(writer)

    vocab = {p: i for i, p in enumerate(pieces)}
    merges = []
    for i, piece in enumerate(pieces):
        if kinds[i] == 1:
            merges += [(-sp.get_score(i), i, vocab[piece[:k]], vocab[piece[k:]], piece[:k], piece[k:])
                       for k in range(1, len(piece)) if piece[:k] in vocab and piece[k:] in vocab]
    merges.sort()
    tk = Tokenizer(models.BPE(vocab=vocab, merges=[m[4:] for m in merges], byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    replace = normalizers.Replace(" ", "▁")
    tk.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), replace]) if prefix else replace
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    tk.decoder = decoders.Sequence(steps + ([decoders.Strip(" ", 1, 0)] if prefix else []))
    tk.add_special_tokens(["<s>", "</s>"])
    tk.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)])
    for probe in PROBES:
        got, wanted = tk.encode(probe, add_special_tokens=False).ids, sp.encode(probe)
        assert got == wanted, (name, probe, got, wanted)
    tk.save(str(OUT / f"{name}.json"), pretty=False)


def make_bpe():
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tk = Tokenizer(models.BPE(ignore_merges=True))
    pattern = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
               r"\s*[\r\n]+|\s+(?!\S)|\s+")
    tk.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"),
                                                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tk.decoder = decoders.ByteLevel()
    tk.train_from_iterator([TEXT] * 3, trainers.BpeTrainer(
        vocab_size=340, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    tk.add_special_tokens([AddedToken("<|begin_of_text|>", normalized=False, special=True),
                           AddedToken("<|eot_id|>", normalized=False, special=True)])
    tk.add_tokens([AddedToken("<think>", normalized=False)])
    data = json.loads(tk.to_str())
    tokens = {i: t for t, i in data["model"]["vocab"].items()} | {t["id"]: t["content"] for t in data["added_tokens"]}
    tokens = [tokens[i] for i in range(len(tokens))]
    kinds = [{"<|begin_of_text|>": 3, "<|eot_id|>": 3, "<think>": 4}.get(t, 1) for t in tokens]
    writer = gguf.GGUFWriter(OUT / "bpe.gguf", "llama")
    tensors = tiny_llama(writer, len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(m) for m in data["model"]["merges"]])
    writer.add_bos_token_id(tokens.index("<|begin_of_text|>"))
    writer.add_eos_token_id(tokens.index("<|eot_id|>"))
    writer.add_chat_template("{{ bos_token }}{% for m in messages %}{{ m['content'] }}<|eot_id|>{% endfor %}")
    write_plain(writer, tensors)
    finish(writer)
    # llama.cpp keeps added tokens in the vocabulary; so does the converted file.
    data["model"]["vocab"] = {t: i for i, t in enumerate(tokens)}
    (OUT / "bpe.json").write_text(json.dumps(data, ensure_ascii=False))


# --- GGUF types -------------------------------------------------------------------------------------------------


def random_blocks(kind, rows, columns, rng):
    """Blocks of a type that gguf-py cannot quantise to: any bytes will do, with scales of a sensible size."""
    block, size = gguf.GGML_QUANT_SIZES[kind]
    data = rng.integers(0, 256, (rows * columns // block, size), dtype=np.uint8)
    scale = (rng.random(len(data)) * 0.002 + 1e-4).astype(np.float16).view(np.uint8).reshape(-1, 2)
    if kind == TYPES.Q6_K:
        data[:, 208:210] = scale
    else:
        data[:, 0:2] = scale
        data[:, 2:4] = scale[::-1]
    return data.reshape(rows, -1)


def make_quants():
    kinds = {"token_embd": TYPES.Q6_K, "blk.0.attn_q": TYPES.Q4_K, "blk.0.attn_k": TYPES.Q5_K, "blk.0.attn_v": TYPES.Q8_0,
             "blk.0.attn_output": TYPES.Q4_0, "blk.0.ffn_gate": TYPES.Q4_1, "blk.0.ffn_up": TYPES.Q5_0,
             "blk.0.ffn_down": TYPES.Q5_1, "output": TYPES.F16}
    writer = gguf.GGUFWriter(OUT / "quants.gguf", "llama")
    tensors = tiny_llama(writer, 40, hidden=256, inner=32)
    rng = np.random.default_rng(5)
    tensors["output.weight"] = rng.standard_normal((40, 256)).astype(np.float16).astype(np.float32)
    small_vocabulary(writer)
    hashes = {}
    for name, value in tensors.items():
        kind = kinds.get(name.removesuffix(".weight"), TYPES.F32)
        if value.ndim == 1:  # a norm as a real one is: bfloat16 values in float32
            value = dequantize(quantize(value, TYPES.BF16), TYPES.BF16)
        if kind in (TYPES.Q4_K, TYPES.Q5_K, TYPES.Q6_K):
            data = random_blocks(kind, *value.shape, rng)
        else:
            data = quantize(value, kind)
        hashes[name] = fnv(dequantize(data, kind).astype(np.float32).tobytes())
        writer.add_tensor(name, data, raw_dtype=kind)
    finish(writer)
    (OUT / "quants.json").write_text(json.dumps(hashes, indent=1) + "\n")


# --- families ---------------------------------------------------------------------------------------------------

NAMES = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
BLOCK = {"input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.qkv_proj": "attn_qkv", "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
         "self_attn.k_norm": "attn_k_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.gate_up_proj": "ffn_up",
         "mlp.down_proj": "ffn_down", "post_attention_layernorm": "ffn_norm"}
FOUR_NORMS = {"post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm",
              "post_feedforward_layernorm": "post_ffw_norm"}
FAMILIES = {"llama-untied-mqa": "llama", "llama-biases": "llama", "llama-rope-llama3": "llama", "llama-rope-linear": "llama",
            "qwen2-tied": "qwen2", "qwen3-yarn": "qwen3", "gemma2": "gemma2", "gemma3-text": "gemma3",
            "phi3-longrope": "phi3", "phi3-partial-gqa-tied": "phi3", "smollm3": "smollm3", "granite": "granite", "olmo2": "olmo2"}


def gguf_name(name, arch):
    module, suffix = name.rsplit(".", 1)
    if module in NAMES:
        return f"{NAMES[module]}.{suffix}"
    _, _, layer, part = module.split(".", 3)
    block = BLOCK | FOUR_NORMS if arch in ("gemma2", "gemma3", "olmo2") else BLOCK
    return f"blk.{layer}.{block[part]}.{suffix}"


def permute(w, heads):
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def llama3_factors(scaling, base, dim):
    factors = []
    for freq in 1.0 / (base ** (np.arange(0, dim, 2, dtype=np.float32) / dim)):
        length = 2 * math.pi / freq
        low, high, old = scaling["low_freq_factor"], scaling["high_freq_factor"], scaling["original_max_position_embeddings"]
        if length < old / high:
            factors.append(1)
        elif length > old / low:
            factors.append(scaling["factor"])
        else:
            smooth = (old / length - low) / (high - low)
            factors.append(1 / ((1 - smooth) / scaling["factor"] + smooth))
    return np.array(factors, dtype=np.float32)


def add_rope(w, arch, config, head_dim):
    """What llama.cpp's converter writes for the rotation of each family."""
    scaling = config.get("rope_scaling") or {}
    kind = scaling.get("rope_type", scaling.get("type"))
    w.add_rope_freq_base(config.get("rope_theta", 10000.0))
    if kind == "linear":
        w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        w.add_rope_scaling_factor(scaling["factor"])
    elif kind == "yarn":
        w.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        w.add_rope_scaling_factor(scaling["factor"])
        w.add_rope_scaling_orig_ctx_len(scaling["original_max_position_embeddings"])
    elif kind == "llama3":
        w.add_tensor("rope_freqs.weight", llama3_factors(scaling, config["rope_theta"], head_dim))
    if arch == "phi3":
        w.add_rope_scaling_orig_ctx_len(config.get("original_max_position_embeddings", config["max_position_embeddings"]))
        w.add_sliding_window(config.get("sliding_window") or 0)
        if "long_factor" in scaling:
            w.add_rope_scaling_attn_factors(1.19)
            w.add_tensor("rope_factors_long.weight", np.array(scaling["long_factor"], dtype=np.float32))
            w.add_tensor("rope_factors_short.weight", np.array(scaling["short_factor"], dtype=np.float32))


def make_family(case, arch):
    config = json.loads((MODELS / case / "config.json").read_text())
    weights = mx.load(str(MODELS / case / "model.safetensors"))
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    head_dim = config.get("head_dim", config["hidden_size"] // heads)
    w = gguf.GGUFWriter(OUT / f"{case}.gguf", arch)
    w.add_context_length(config["max_position_embeddings"])
    w.add_embedding_length(config["hidden_size"])
    w.add_block_count(config["num_hidden_layers"])
    w.add_feed_forward_length(config["intermediate_size"])
    w.add_head_count(heads)
    w.add_head_count_kv(kv_heads)
    w.add_layer_norm_rms_eps(config["rms_norm_eps"])
    if "head_dim" in config:
        w.add_key_length(head_dim)
        w.add_value_length(head_dim)
    if arch in ("llama", "smollm3", "granite"):
        w.add_vocab_size(config["vocab_size"])
        w.add_rope_dimension_count(head_dim)
    if arch == "phi3":
        w.add_rope_dimension_count(int(config.get("partial_rotary_factor", 1.0) * config["hidden_size"]) // heads)
    add_rope(w, arch, config, head_dim)
    if arch == "granite":
        w.add_attention_scale(config["attention_multiplier"])
        w.add_embedding_scale(config["embedding_multiplier"])
        w.add_residual_scale(config["residual_multiplier"])
        w.add_logit_scale(config["logits_scaling"])
    if arch == "gemma2":
        w.add_attn_logit_softcapping(config["attn_logit_softcapping"])
        w.add_final_logit_softcapping(config["final_logit_softcapping"])
    if arch in ("gemma2", "gemma3"):
        w.add_sliding_window(config["sliding_window"])
    if arch == "gemma3":
        w.add_uint32("gemma3.attention.sliding_window_pattern", config["sliding_window_pattern"])
    small_vocabulary(w)
    kinds = {mx.bfloat16: TYPES.BF16, mx.float16: TYPES.F16, mx.float32: TYPES.F32}
    for name in sorted(weights):
        kind = kinds[weights[name].dtype]
        value = np.array(weights[name].astype(mx.float32))
        if arch in ("llama", "smollm3", "granite") and ".q_proj." in name:
            value = permute(value, heads)
        if arch in ("llama", "smollm3", "granite") and ".k_proj." in name:
            value = permute(value, kv_heads)
        if arch in ("gemma2", "gemma3") and name.endswith("norm.weight"):
            value = value + np.float32(1)
        if value.ndim == 1:
            w.add_tensor(gguf_name(name, arch), value)
        else:
            w.add_tensor(gguf_name(name, arch), quantize(value, kind), raw_dtype=kind)
    finish(w)


# --- seeds for fuzzing ------------------------------------------------------------------------------------------


def seed(path, kind, scores):
    """A complete model in a few kilobytes."""
    hidden, heads = 32, 2
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(16)
    writer.add_embedding_length(hidden)
    writer.add_block_count(1)
    writer.add_feed_forward_length(32)
    writer.add_head_count(heads)
    writer.add_layer_norm_rms_eps(1e-5)
    tokens = ["<unk>", "<s>", "</s>", "a", "b", "ab", "\u2581", "abab"]
    if scores:
        writer.add_tokenizer_model("llama")
        writer.add_token_list(tokens)
        writer.add_token_scores([0.0, 0.0, 0.0, -3.0, -3.0, -1.0, -3.0, -2.0])
    else:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("llama-bpe")
        writer.add_token_list(tokens)
        writer.add_token_merges(["a b", "ab ab"])
        writer.add_chat_template("{{ x }}")
    writer.add_token_types([2, 3, 3, 1, 1, 1, 4, 1])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    rng = np.random.default_rng(3)
    for name, shape in (("token_embd", (8, hidden)), ("output_norm", (hidden,)), ("blk.0.attn_norm", (hidden,)),
                        ("blk.0.attn_q", (hidden, hidden)), ("blk.0.attn_k", (hidden, hidden)), ("blk.0.attn_v", (hidden, hidden)),
                        ("blk.0.attn_output", (hidden, hidden)), ("blk.0.ffn_norm", (hidden,)), ("blk.0.ffn_gate", (32, hidden)),
                        ("blk.0.ffn_up", (32, hidden)), ("blk.0.ffn_down", (hidden, 32))):
        value = rng.standard_normal(shape).astype(np.float32)
        chosen = TYPES.F32 if value.ndim == 1 else kind
        writer.add_tensor(name + ".weight", quantize(value, chosen), raw_dtype=chosen)
    finish(writer)


def make_seeds():
    corpus = ROOT / "tests/fuzz/corpus"
    for subject in ("gguf", "convert"):
        (corpus / subject).mkdir(parents=True, exist_ok=True)
        seed(corpus / subject / "byte-level.gguf", TYPES.Q4_0, False)
        seed(corpus / subject / "sentencepiece.gguf", TYPES.Q5_1, True)
    (corpus / "safetensors").mkdir(parents=True, exist_ok=True)
    arrays = {"a.weight": mx.array([[1.0, 2.0]]), "a.scales": mx.array([1.0]).astype(mx.bfloat16), "n": mx.array(3)}
    mx.save_safetensors(str(corpus / "safetensors/three.safetensors"), arrays, {"format": "mlx"})


# --- Hugging Face -----------------------------------------------------------------------------------------------


def make_convert_hf():
    from mlx.utils import tree_flatten
    from mlx_lm import utils

    result = []
    for case, bits, group in (("llama-untied-mqa", 4, 32), ("llama-mha-sharded", 3, 32), ("gemma3-wrapper", 6, 32),
                              ("phi3", 8, 32), ("smollm3", 2, 32), ("olmo2", 5, 32)):
        model, config = utils.load_model(MODELS / case, lazy=True)
        model, config = utils.quantize_model(model, config, group, bits)
        tensors = {name: [list(value.shape), fnv(bits_of(value))] for name, value in tree_flatten(model.parameters())}
        config.pop("vision_config", None)
        result.append({"case": case, "bits": bits, "group_size": group, "parameters": utils.get_total_parameters(model),
                       "config": config, "tensors": tensors})
    (OUT / "convert_hf.json").write_text(json.dumps(result, indent=1) + "\n")


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    make_affine()
    make_quants()
    make_spm("spm", True)
    make_spm("spm-no-prefix", False)
    make_bpe()
    for case, arch in FAMILIES.items():
        make_family(case, arch)
    make_convert_hf()
    make_seeds()
    print(sum(f.stat().st_size for f in OUT.iterdir()), "bytes in", OUT)


if __name__ == "__main__":
    sys.exit(main())
