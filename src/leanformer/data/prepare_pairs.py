"""Preparation of a data directory of pairs (`pairs.py`) from a generation task, with one tokenizer for both sides."""

import json
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers

from leanformer.data import tokenizer_files
from leanformer.data.encoding import encoder
from leanformer.data.generation_tasks import Example, generation_task
from leanformer.data.pair_texts import TRAIN, VALID, read_pairs
from leanformer.data.pairs import SIDES
from leanformer.data.sampling import few_notes, sample
from leanformer.data.store import SplitWriter, describe, write_record
from leanformer.data.tokenizer import train
from leanformer.data.unknown import unknown_notes, unknown_shares
from leanformer.data.vocabulary import Vocabulary
from leanformer.files import new_directory
from leanformer.version import __version__

BATCH = 1000
"""The number of pairs that are encoded in one call."""


def prepare_pairs(
    task: str,
    task_data: str | Path,
    out: str | Path,
    *,
    vocab_size: int = 8000,
    algorithm: str = "bpe",
    cased: bool = True,
    tokenizer_megabytes: float = 32,
    tokenizer: str | Path | None = None,
) -> dict[str, Any]:
    """Write the data directory `out` from the folder `task_data` of a generation task; returns its record.

    Unless a tokenizer is given, one is trained on both sides of the training split. For training, an example gives one
    pair per reference; an evaluation split keeps the references together, and its loss is on the first one.

    The same texts and settings give the same bytes. An error is one line, and leaves no files behind.
    """
    entry = generation_task(task)
    splits, made = read_pairs(entry, task_data)
    training = [(example.source, reference) for example in splits[TRAIN] for reference in example.references]
    settings: dict[str, Any] = {"task_data": str(task_data)}
    notes: list[str] = []
    with new_directory(Path(out), replace=False) as directory:
        if tokenizer is None:
            settings |= {"algorithm": algorithm, "vocab_size": vocab_size, "cased": cased}
            settings |= {"tokenizer_megabytes": tokenizer_megabytes}
            chosen = sample(chain.from_iterable(training), int(tokenizer_megabytes * 1e6))
            wrapped = tokenizer_files.wrap(train(chosen, algorithm, vocab_size, cased=cased, warn=notes.append))
        else:
            settings |= {"tokenizer": str(tokenizer)}
            wrapped = tokenizer_files.load(tokenizer)
        wrapped.model_input_names = ["input_ids", "attention_mask"]  # the two sides are never in one text
        tokenizer_files.save(wrapped, directory)

        vocabulary = tokenizer_files.vocabulary(wrapped)
        dtype = np.dtype(np.uint16 if vocabulary.size <= 1 << 16 else np.uint32)
        encode = encoder(wrapped.backend_tokenizer, dtype)
        for split, examples in splits.items():
            pairs = training if split == TRAIN else [(e.source, e.references[0]) for e in examples]
            _write(directory, split, pairs, encode, vocabulary, dtype)
            if split != TRAIN:
                (directory / f"{split}.jsonl").write_text("".join(_lines(examples)), encoding="utf-8")
        stores = [f"{split}.{side}" for split in splits for side in SIDES]
        record = describe(directory, dtype, vocabulary, stores, kind="pairs", task=entry.name, task_kind=entry.kind)
        unknown = unknown_shares(directory, dtype, vocabulary, stores)
        notes += unknown_notes(unknown, trained=tokenizer is None)
        notes += few_notes(len(splits[VALID]), "pairs of the split valid", "give more pairs")
        record |= {
            "unknown": unknown,
            "notes": notes,
            "split": made,
            "settings": settings,
            "versions": {"leanformer": __version__, "tokenizers": tokenizers.__version__},
        }
        record |= {"note": entry.note} if entry.note else {}
        write_record(directory, record)
    return record


def _write(
    directory: Path, split: str, pairs: Sequence[tuple[str, str]], encode: Any, vocabulary: Vocabulary, dtype: np.dtype
) -> None:
    first, last = (dtype.type(number).tobytes() for number in (vocabulary.cls_id, vocabulary.sep_id))
    for side, texts in zip(SIDES, zip(*pairs, strict=True), strict=True):
        with SplitWriter(directory, f"{split}.{side}", dtype) as writer:
            for start in range(0, len(texts), BATCH):
                for ids in encode(texts[start : start + BATCH]):
                    writer.add(first + ids + last)


def _lines(examples: Sequence[Example]) -> Iterator[str]:
    for example in examples:
        yield json.dumps({"source": example.source, "references": example.references}, ensure_ascii=False) + "\n"
