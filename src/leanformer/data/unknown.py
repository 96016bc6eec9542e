"""The fraction of unknown tokens in a text: [UNK] tokens / tokens of the text, without [CLS] and [SEP].

A model learns nothing about text that is [UNK], and its loss does not show this, since it is low there.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from leanformer.data.integrity import mapped
from leanformer.data.store import split_files
from leanformer.data.vocabulary import Vocabulary

WARNED, REFUSED = 0.01, 0.5
BLOCK = 1 << 22
LONGEST = 10_000
"""Characters of a text in a sample of texts."""


def unknown_shares(directory: Path, dtype: np.dtype, vocabulary: Vocabulary, stores: Sequence[str]) -> dict[str, float]:
    """Returns the fraction in each of the token files; reads them once, a part at a time."""
    return {store: _share(split_files(directory, store)[0], dtype, vocabulary) for store in stores}


def _share(file: Path, dtype: np.dtype, vocabulary: Vocabulary) -> float:
    if vocabulary.unk_id is None:
        return 0.0
    tokens = mapped(file, dtype)
    counts = np.zeros(vocabulary.size, np.int64)
    for start in range(0, len(tokens), BLOCK):
        counts += np.bincount(tokens[start : start + BLOCK], minlength=vocabulary.size)
    text = counts.sum() - counts[vocabulary.cls_id] - counts[vocabulary.sep_id]
    return float(counts[vocabulary.unk_id] / text) if text else 0.0


def unknown_share(tokenizer: Any, texts: Iterable[str]) -> float:
    """Returns the fraction of the tokens of these texts; of a long text that of its beginning."""
    ids = [
        one.ids
        for one in tokenizer.backend_tokenizer.encode_batch([t[:LONGEST] for t in texts], add_special_tokens=False)
    ]
    tokens = sum(map(len, ids))
    return sum(row.count(tokenizer.unk_token_id) for row in ids) / tokens if tokens else 0.0


def unknown_notes(shares: dict[str, float], *, trained: bool) -> list[str]:
    """Returns a note on splits of more than 1 % [UNK]; raises ValueError for one of more than 50 %.

    `trained` is whether the tokenizer was trained on this text, on which the remedy depends.
    """
    remedy = (
        "train with --algorithm bpe, which knows every character, or with a larger --vocab-size"
        if trained
        else "give another --tokenizer, or none, so that one is trained on this text"
    )
    many = [(split, share) for split, share in shares.items() if share > WARNED]
    for split, share in many:
        if share > REFUSED:
            raise ValueError(f"the tokenizer does not know {share:.0%} of the tokens of {split} ([UNK]): {remedy}")
    if not many:
        return []
    named = ", ".join(f"{share:.1%} of the tokens of {split}" for split, share in many)
    return [f"the tokenizer does not know {named} ([UNK]): {remedy}"]
