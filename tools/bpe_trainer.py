"""A plain BPE trainer whose ties are broken by text, so that the small tokenizers come out the same every time
(the trainer of the tokenizers library breaks them by hash order)."""
from collections import Counter


def train_bpe(words, size, alphabet=(), prefix="", suffix=""):
    """words: pre-tokenised pieces. Returns (vocab, merges) of at most `size` tokens. prefix stands before every symbol
    of a word but the first, suffix after its last, as in WordPiece and in the first BPE models."""
    counts = Counter(tuple((prefix if i else "") + c + (suffix if i == len(word) - 1 else "")
                           for i, c in enumerate(word)) for word in words if word)
    vocab = {token: i for i, token in enumerate(sorted({*alphabet, *(s for word in counts for s in word)}))}
    merges = []
    while len(vocab) < size:
        pairs = Counter()
        for word, count in counts.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += count
        if not pairs:
            break
        (left, right), count = min(pairs.items(), key=lambda item: (-item[1], item[0]))
        if count < 2:
            break
        merged = left + right.removeprefix(prefix)
        merges.append((left, right))
        vocab.setdefault(merged, len(vocab))
        joined = Counter()
        for word, count in counts.items():
            out = []
            for symbol in word:
                if out and out[-1] == left and symbol == right:
                    out[-1] = merged
                else:
                    out.append(symbol)
            joined[tuple(out)] += count
        counts = joined
    return vocab, merges
