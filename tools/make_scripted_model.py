"""A tiny MLX model that answers from a script, for tests of reasoning and tool calls.
usage: make_scripted_model.py OUTDIR

Attention and feed-forward add nothing, so that each token decides the next one. A prompt of the script is one token, the
chat template puts it behind the generation prompt, and from there a chain of tokens leads through the answer to the end
token. All other prompts get the same short answer."""
import json
import sys
from pathlib import Path

import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

HIDDEN, END = 64, "<|im_end|>"
OTHER = ["Hello", " there."]
CALL = ["\n{\"name\": \"add\", \"argum", "ents\": {\"a\": 1, ", "\"b\": 2}}\n"]

# Prompt or tool result -> answer, token by token; a token may stand in one place only.
SCRIPT = {
    'call add {"a":1,"b":2}': ["<think>", "\nI will", " add them.\n", "</think>", "\n\nLet me", " see.\n", "<tool_call>",
                               *CALL, "</tool_call>", END],
    "call nope {}": ["<tool", "_call>{\"name\": \"no", "pe\", \"arguments\": {}}</tool", "_call>", END],
    'call add {"a":1}': ["<tool_", "call>{\"name\": \"add\",", " \"arguments\": {\"a\": 1}}</tool_", "call>", END],
    "call add {oops": ["<tool_c", "all>{\"name\": \"add\", oo", "ps</tool_c", "all>", END],
    "call without end": ["<tool_ca", "ll>{\"name\": \"add\", \"argu", "ments\": {\"a", END],
    "two calls": ["One", " and two:", "\n<tool_ca", "ll>\n{\"name\": \"add\", \"arguments\": {\"a\": 1, \"b\": 1}}\n</to",
                  "ol_call>\n<tool_cal", "l>\n{\"name\": \"add\", \"arguments\": {\"a\": 2, \"b\": 2}}\n</tool_cal", "l>\nThat",
                  " is all.", END],
    "think of ships": ["<thi", "nk>of ", "ships</thi", "nk>\nShips", " sail.", END],
    "think without end": ["<thin", "k>on", " and on", END],
    "go on": ["la", " li", " lo", "la"],
    "3": ["The sum", " is 3.", END],
    "again": ["<tool_cal", "l>{\"name\": \"add\", \"arguments\": {\"a\": 3, \"b\": 3}}</tool_ca", "ll>", END],
    'error: unknown tool: "nope"': ["<tool_call", ">{\"name\": \"add\", \"arguments\": {\"a\": 5, \"b\": 5}}</tool_call", ">", END],
    "error: it broke": ["It did", " not work.", END],
}

TEMPLATE = """{%- set scripts = SCRIPTS -%}
{%- if tools %}{{ '<|im_start|>system
' + (tools | tojson) + '<|im_end|>
' }}{% endif -%}
{%- for message in messages -%}
{{ '<|im_start|>' + message.role + '
' }}{% if message.reasoning_content and loop.index0 >= messages | length - 2 %}{{ '<think>' + message.reasoning_content + '</think>' }}{% endif -%}
{{ message.content }}
{%- for call in message.tool_calls or [] %}{{ '<tool_call>' + (call.function | tojson) + '</tool_call>' }}{% endfor -%}
{{ '<|im_end|>
' }}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant
' + (messages[-1].content if messages[-1].content in scripts else '') }}{% endif -%}"""


def make_tokenizer():
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(letters)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|im_start|>", END, "<think>", "</think>", "<tool_call>", "</tool_call>"]
    tokenizer.add_special_tokens([AddedToken(text, normalized=False) for text in special])
    pieces = [*SCRIPT, *OTHER, *(piece for chain in SCRIPT.values() for piece in chain)]
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in dict.fromkeys(pieces)])
    return tokenizer


def successors(tokenizer):
    """Token -> the one that follows it."""
    follows = {}
    for prompt, chain in [*SCRIPT.items(), ("\u010a", [*OTHER, END])]:  # the line feed that ends other prompts
        for before, after in zip([prompt, *chain], chain):
            ids = tokenizer.token_to_id(before), tokenizer.token_to_id(after)
            assert follows.setdefault(*ids) == ids[1], (before, after)
    return follows


def save_safetensors(path, tensors):
    header, data = {}, b""
    for name, array in tensors.items():
        raw = array.astype("<f2").tobytes()
        header[name] = dict(dtype="F16", shape=list(array.shape), data_offsets=[len(data), len(data) + len(raw)])
        data += raw
    text = json.dumps({"__metadata__": {"format": "mlx"}, **header}).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def make_weights(size, follows):
    """Random signs as embeddings; the head's row of a token is the sum of those before it. The first seed that keeps them apart."""
    for seed in range(10000):
        embedding = np.random.default_rng(seed).choice([-1.0, 1.0], (size, HIDDEN))
        head = np.zeros((size, HIDDEN))
        for before, after in follows.items():
            head[after] += embedding[before] * 0.25
        best = np.sort(embedding @ head.T)
        if all((head @ embedding[b]).argmax() == a and best[b][-1] - best[b][-2] > 2 for b, a in follows.items()):
            return embedding, head
    raise SystemExit("no seed will do")


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    size, follows = tokenizer.get_vocab_size(), successors(tokenizer)
    embedding, head = make_weights(size, follows)
    layer = "model.layers.0."
    tensors = {"model.embed_tokens.weight": embedding, "lm_head.weight": head, "model.norm.weight": np.ones(HIDDEN),
               layer + "input_layernorm.weight": np.ones(HIDDEN), layer + "post_attention_layernorm.weight": np.ones(HIDDEN)}
    for name, shape in {"self_attn.q_proj": (32, HIDDEN), "self_attn.k_proj": (16, HIDDEN), "self_attn.v_proj": (16, HIDDEN),
                        "self_attn.o_proj": (HIDDEN, 32), "mlp.gate_proj": (16, HIDDEN), "mlp.up_proj": (16, HIDDEN),
                        "mlp.down_proj": (HIDDEN, 16)}.items():
        tensors[layer + name + ".weight"] = np.zeros(shape)
    save_safetensors(folder / "model.safetensors", tensors)
    config = dict(model_type="llama", hidden_size=HIDDEN, num_hidden_layers=1, intermediate_size=16, num_attention_heads=2,
                  num_key_value_heads=1, head_dim=16, rms_norm_eps=1e-6, vocab_size=size, max_position_embeddings=4096,
                  rope_theta=10000.0, tie_word_embeddings=False, eos_token_id=tokenizer.token_to_id(END))
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps(dict(eos_token=END, tokenizer_class="PreTrainedTokenizerFast"), indent=1) + "\n")
    scripts = "[" + ", ".join("'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'" for text in SCRIPT) + "]"
    (folder / "chat_template.jinja").write_text(TEMPLATE.replace("SCRIPTS", scripts))


main()
