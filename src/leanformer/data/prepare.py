"""From raw text to a data directory: tokenizer, tokens, a held-out part, and the record of how they came about.

The text is streamed, twice if a tokenizer is to be trained: once for a sample to train it on, once to encode. The
directory is made beside its place and moved there when it is whole.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from leanformer.data import tokenizer_files
from leanformer.data.encoding import encoded
from leanformer.data.readers import documents, files
from leanformer.data.sampling import HoldOut, few_notes, sample
from leanformer.data.store import SplitWriter, describe, move_tail, write_record
from leanformer.data.tokenizer import train
from leanformer.data.unknown import unknown_notes, unknown_shares
from leanformer.files import new_directory
from leanformer.version import __version__

Source = str | Path


def prepare(
    texts: Source | Sequence[Source],
    out: Source,
    *,
    vocab_size: int = 30522,
    algorithm: str = "wordpiece",
    cased: bool = False,
    keep_accents: bool = False,
    tokenizer_megabytes: float = 32,
    tokenizer: Source | None = None,
    valid: Source | Sequence[Source] | None = None,
    valid_fraction: float = 0.01,
    sequence_length: int = 128,
    field: str = "text",
    documents: str = "blank-lines",
    quiet: bool = False,
) -> dict[str, Any]:
    """Write the data directory `out` and return its record, the content of data.json.

    texts                what to read, in this order (`readers.py`); `field` is the column that holds a table's text
    documents            what separates documents in plain text: "blank-lines" or "lines" (one document per line)
    cased, keep_accents  what training a tokenizer does not drop: capitals and accents, or accents alone
    tokenizer            the one to take (`tokenizer_files.load`); otherwise `algorithm` is trained (`tokenizer.py`) on
                         `tokenizer_megabytes` million characters from all over the texts
    valid                text to validate on; otherwise about `valid_fraction` of the text is held out (`HoldOut`)
    sequence_length      each part must hold at least one sequence of this length

    `unknown` in the record holds the share of [UNK] in each part; `notes` what a user must know of the data: much that
    is [UNK], characters that the vocabulary has no room for, a small held-out part. More than half [UNK] is an error.

    The same texts and settings give the same bytes. An error is one line, and leaves nothing behind.
    """
    texts, valid, out = _several(texts), _several(valid or ()), Path(out)
    if not texts:
        raise ValueError("no text to prepare: name at least one file, folder or data set")
    if not 0 < valid_fraction < 1:
        raise ValueError(f"valid_fraction = {valid_fraction}: must lie between 0 and 1")
    for source in (*texts, *valid):
        files(source)  # raises if there is nothing

    settings: dict[str, Any] = {"field": field, "documents": documents, "sequence_length": sequence_length}
    settings |= {"valid": [str(source) for source in valid]} if valid else {"valid_fraction": valid_fraction}
    notes: list[str] = []
    with new_directory(out, replace=False) as directory, _progress(quiet) as progress:
        read = partial(_read, field=field, separator=documents, progress=progress)
        if tokenizer is None:
            how: dict[str, Any] = {"cased": cased, "keep_accents": keep_accents}
            settings |= {"algorithm": algorithm, "vocab_size": vocab_size, **how}
            settings |= {"tokenizer_megabytes": tokenizer_megabytes}
            chosen = sample(read(texts, "choosing text for the tokenizer"), int(tokenizer_megabytes * 1e6))
            task = progress.add_task("training the tokenizer", total=None)
            wrapped = tokenizer_files.wrap(train(chosen, algorithm, vocab_size, **how, warn=notes.append))
            progress.update(task, total=1, completed=1)
            del chosen
        else:
            settings |= {"tokenizer": str(tokenizer)}
            wrapped = tokenizer_files.load(tokenizer)
        tokenizer_files.save(wrapped, directory)

        vocabulary = tokenizer_files.vocabulary(wrapped)
        dtype = np.dtype(np.uint16 if vocabulary.size <= 1 << 16 else np.uint32)
        tokenize = partial(encoded, tokenizer=wrapped.backend_tokenizer, vocabulary=vocabulary, dtype=dtype)
        hold_out = HoldOut(0 if valid else valid_fraction)
        with SplitWriter(directory, "train", dtype) as training, SplitWriter(directory, "valid", dtype) as validation:
            for ids in tokenize(read(texts, "tokenizing")):
                (validation if hold_out(len(ids)) else training).add(ids)
            for ids in tokenize(read(valid, "tokenizing the validation text")):
                validation.add(ids)
        held_out = "nothing: the validation text was given" if valid else "documents by a hash of their number"
        lacking = 0 if valid else _lacking(training.tokens, validation.tokens, valid_fraction, sequence_length)
        if lacking:
            held_out += f", and the last {move_tail(directory, dtype, lacking, keep=sequence_length)} tokens"

        record = describe(directory, dtype, vocabulary)
        for split, sources in (("train", texts), ("valid", valid or texts)):
            _require(record["splits"][split]["tokens"], sequence_length, split, sources)
        unknown = unknown_shares(directory, dtype, vocabulary)
        notes += unknown_notes(unknown, trained=tokenizer is None)
        sequences = record["splits"]["valid"]["tokens"] // sequence_length
        remedy = "hold out more of the text (--valid-fraction)" if not valid else "give more --valid"
        notes += few_notes(sequences, f"held-out sequences of {sequence_length} tokens", f"{remedy}, or give more text")
        record |= {
            "unknown": unknown,
            "notes": notes,
            "sources": [str(source) for source in texts],
            "settings": settings,
            "held_out": held_out,
            "versions": {"leanformer": __version__, "tokenizers": tokenizers.__version__},
        }
        write_record(directory, record)
    return record


def _several(sources: Source | Sequence[Source]) -> list[Source]:
    return [sources] if isinstance(sources, str | Path) else list(sources)


def _read(sources: Sequence[Source], title: str, *, field: str, separator: str, progress: Progress) -> Iterator[str]:
    """The documents of all sources, one bar for the bytes of their files; a data set's size is not known beforehand."""
    if not sources:
        return
    found = [files(source) for source in sources]
    sizes = [path.stat().st_size for paths in found for path in paths or ()]
    task = progress.add_task(title, total=None if None in found else sum(sizes))
    for source in sources:
        yield from documents(source, field, partial(progress.advance, task), separator)
    progress.update(task, total=1, completed=1)


def _progress(quiet: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), disable=quiet)


def _lacking(train: int, valid: int, fraction: float, least: int) -> int:
    """Tokens valid needs from the end of train: none if it has half its share and `least`, or train has too few."""
    share = fraction * (train + valid)
    lacking = 0 if valid >= max(share / 2, least) else int(max(share, least)) - valid
    return lacking if train - lacking >= least else 0


def _require(tokens: int, least: int, split: str, sources: Sequence[Source]) -> None:
    if tokens < least:
        use = {"train": "train", "valid": "validate"}[split]
        raise ValueError(
            f"{', '.join(map(str, sources))}: too little text, {tokens} tokens to {use} on where one sequence takes "
            f"{least}; give more text"
        )
