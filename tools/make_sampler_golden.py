"""What mlx-lm's logits processors and filters do to given logits.
usage: make_sampler_golden.py OUTFILE

Writes {"cases": [{"name", "options", "history", "logits", "logprobs": after the processors, "kept": the tokens that may be
drawn, "probs": with what probability}]}."""
import json
import sys

import mlx.core as mx
import numpy as np
from mlx_lm import sample_utils

VOCAB = 40
CASES = {
    "plain": {},
    "temperature": dict(temperature=0.7),
    "hot": dict(temperature=3.0),
    "top-p": dict(top_p=0.9),
    "top-p-small": dict(top_p=0.05),
    "top-p-cool": dict(top_p=0.8, temperature=0.5),
    "top-p-nearly-all": dict(top_p=0.9999),
    "min-p": dict(min_p=0.1),
    "min-p-all-of-it": dict(min_p=1.0),
    "top-k": dict(top_k=5),
    "top-k-one": dict(top_k=1),
    "all-filters": dict(top_p=0.95, min_p=0.03, top_k=8, temperature=0.8),
    "top-k-decides": dict(top_p=0.99, min_p=0.001, top_k=3),
    "min-p-decides": dict(top_p=0.99, min_p=0.4, top_k=30),
    "bias": dict(logit_bias={"3": 4.0, "7": -100.0, "8": 2.5}),
    "repetition": dict(repetition_penalty=1.3),
    "repetition-short": dict(repetition_penalty=1.5, repetition_context=4),
    "repetition-below-one": dict(repetition_penalty=0.8),
    "presence": dict(presence_penalty=1.5),
    "presence-short": dict(presence_penalty=-1.5, presence_context=3),
    "frequency": dict(frequency_penalty=0.6),
    "frequency-all": dict(frequency_penalty=0.6, frequency_context=0),
    "everything": dict(logit_bias={"1": 3.0}, repetition_penalty=1.2, presence_penalty=0.4, frequency_penalty=0.3,
                       top_p=0.9, min_p=0.02, top_k=12, temperature=0.9),
}


def kept_by(options, logprobs):
    """The sampler's filters without its draw: categorical_sampling is asked what it was given."""
    seen = []
    draw = sample_utils.categorical_sampling
    sample_utils.categorical_sampling = lambda x, temp: seen.append(np.array(x)[0] / temp) or mx.array([0])
    sampler = sample_utils.make_sampler(temp=options.get("temperature", 1.0), top_p=options.get("top_p", 0.0),
                                        min_p=options.get("min_p", 0.0), top_k=options.get("top_k", 0))
    sampler(logprobs)
    sample_utils.categorical_sampling = draw
    scores = seen[0].astype(np.float64)
    weights = np.exp(scores - scores.max())
    return weights / weights.sum()


def make(name, options, rng):
    logits = np.round(rng.standard_normal(VOCAB) * 2.5, 3).astype(np.float32)
    history = [int(t) for t in rng.integers(0, VOCAB, 30)]
    history += history[-6:-2] + history[-3:]  # repeats within the context of 20
    processors = sample_utils.make_logits_processors(
        logit_bias={int(k): v for k, v in options.get("logit_bias", {}).items()} or None,
        repetition_penalty=options.get("repetition_penalty"),
        repetition_context_size=options.get("repetition_context", 20),
        presence_penalty=options.get("presence_penalty"), presence_context_size=options.get("presence_context", 20),
        frequency_penalty=options.get("frequency_penalty"), frequency_context_size=options.get("frequency_context", 20))
    x = mx.array(logits)[None]
    for processor in processors:
        x = processor(mx.array(history), x)
    logprobs = x - mx.logsumexp(x, keepdims=True)
    probs = kept_by(options, logprobs)
    kept = [int(i) for i in np.nonzero(probs)[0]]
    return dict(name=name, options=options, history=history, logits=[float(f"{v:.3f}") for v in logits],
                logprobs=[float(f"{v:.6g}") for v in np.array(logprobs)[0]], kept=kept,
                probs=[float(f"{probs[i]:.6g}") for i in kept])


rng = np.random.default_rng(7)
cases = [make(name, options, rng) for name, options in CASES.items()]
with open(sys.argv[1], "w") as f:
    f.write('{"cases": [\n' + ",\n".join(json.dumps(case) for case in cases) + "\n]}\n")
