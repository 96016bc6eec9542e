"""Preparation of a data directory from raw text: tokenizer, tokens, two held-out parts, and their record.

The text is streamed, twice if a tokenizer is trained: once for a sample to train it on, and once to encode the text.
The directory is written beside its place, and moved there when it is complete.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from leanformer.cores import cores
from leanformer.data import tokenizer_files
from leanformer.data.encoding import Encoding
from leanformer.data.in_memory import InMemory
from leanformer.data.mixing import Mixture
from leanformer.data.readers import Source, documents, files
from leanformer.data.sampling import HoldOut, few_notes, sample
from leanformer.data.shards import Shards
from leanformer.data.store import SplitWriter, describe, move_tail, write_record
from leanformer.data.tokenizer import train
from leanformer.data.unknown import unknown_notes, unknown_shares
from leanformer.files import new_directory, remove_directory
from leanformer.progress import bars, console
from leanformer.version import __version__


def prepare(
    texts: Source | Sequence[Source] | Mapping[str, Source | Sequence[Source]],
    out: str | Path,
    *,
    vocab_size: int = 30522,
    algorithm: str = "wordpiece",
    cased: bool = False,
    keep_accents: bool = False,
    tokenizer_megabytes: float = 32,
    tokenizer: str | Path | None = None,
    valid: Source | Sequence[Source] | None = None,
    valid_fraction: float = 0.01,
    test: Source | Sequence[Source] | None = None,
    test_fraction: float = 0.02,
    test_on: Mapping[str, Source | Sequence[Source]] | None = None,
    sequence_length: int = 128,
    field: str = "text",
    documents: str = "blank-lines",
    mix: Mapping[str, float] | None = None,
    workers: int | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Write the data directory `out` and return its record, the content of data.json.

    texts                the texts in order (`readers.py`); `field` is the column of a table that holds the text
    documents            the separator of documents in plain text: "blank-lines" or "lines" (one document per line)
    cased, keep_accents  whether a trained tokenizer keeps capitals and accents, or only accents
    tokenizer            the tokenizer to use (`tokenizer_files.load`); by default `algorithm` is trained
                         (`tokenizer.py`) on `tokenizer_megabytes` million characters from the whole text
    valid                validation text; by default about `valid_fraction` of the text is held out for it (`HoldOut`)
    test                 test text, likewise with `test_fraction`; 0 leaves this part out
    test_on              further test texts, each a part of its own with this name
    sequence_length      each part must hold at least one sequence of this length
    mix                  the shares of the texts, which then are named, in the characters of train and of what is held
                         out of it (`mixing.py`)
    workers              the processes that encode a text of more than one shard (`shards.py`), by default one a core

    In the record, `unknown` holds the fraction of [UNK] in each part, and `notes` holds notes to the user: much [UNK],
    characters that do not fit into the vocabulary, a small held-out part. More than half [UNK] is an error.

    The same texts and settings give the same bytes, whatever the number of workers. An error is one line, and leaves no
    files behind but the shards of a large text, in .NAME.shards beside `out`, with which the same call goes on.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"--workers {workers}: must be at least 1")
    mixture = None if mix is None else Mixture(mix, texts)
    if mixture is None and isinstance(texts, Mapping):
        raise ValueError("texts are named, which only a mixture needs: give its weights with --mix, or leave names out")
    texts = list(mixture.sources) if mixture else _several(texts)  # type: ignore[arg-type]
    out = Path(out)
    given = {"valid": _several(valid or ()), "test": _several(test or ())}
    for name, source in (test_on or {}).items():
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name) or name in ("train", *given):
            raise ValueError(
                f"test_on {name!r}: a part's name is of small letters, digits, - and _, and none of train, valid, test"
            )
        given[name] = _several(source)
    if not texts:
        raise ValueError("no text to prepare: name at least one file, folder or data set")
    if not 0 < valid_fraction < 1:
        raise ValueError(f"valid_fraction = {valid_fraction}: must lie between 0 and 1")
    if not 0 <= test_fraction < 1 - valid_fraction:
        raise ValueError(f"test_fraction = {test_fraction}: must lie between 0 and 1 - valid_fraction")
    for source in chain(texts, *given.values()):
        files(source)  # raises if there is nothing

    fractions = {"valid": valid_fraction, "test": test_fraction}
    fractions = {part: fraction for part, fraction in fractions.items() if fraction and not given[part]}
    parts = [part for part in given if given[part] or part in fractions]
    settings: dict[str, Any] = {"field": field, "documents": documents, "sequence_length": sequence_length}
    settings |= {part: [str(source) for source in sources] for part, sources in given.items() if sources}
    settings |= {f"{part}_fraction": fraction for part, fraction in fractions.items()}
    if mixture:
        settings |= {"mix": dict(mixture.weights)}
    notes: list[str] = []
    folder = out.parent / f".{out.name}.shards"
    with new_directory(out, replace=False) as directory, _kept(folder), _progress(quiet) as progress:
        read = partial(_read, field=field, separator=documents, progress=progress)
        whole = partial(mixture.documents, read) if mixture else partial(read, texts)
        if tokenizer is None:
            how: dict[str, Any] = {"cased": cased, "keep_accents": keep_accents}
            settings |= {"algorithm": algorithm, "vocab_size": vocab_size, **how}
            settings |= {"tokenizer_megabytes": tokenizer_megabytes}
            chosen = sample(whole("choosing text for the tokenizer"), int(tokenizer_megabytes * 1e6))
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
        tokenize = Shards(Encoding.of(wrapped.backend_tokenizer, vocabulary, dtype), folder, workers or cores())
        hold_out = HoldOut(fractions)
        with ExitStack() as stack:
            splits = {part: stack.enter_context(SplitWriter(directory, part, dtype)) for part in ("train", *parts)}
            for ids in tokenize("train", whole("tokenizing")):
                splits[hold_out(len(ids))].add(ids)
            for part, sources in given.items():
                for ids in tokenize(part, read(sources, f"tokenizing the text of {part}")):
                    splits[part].add(ids)
        held_out = "documents by a hash of their number" if fractions else "nothing: the held-out text was given"
        sizes = {part: split.tokens for part, split in splits.items()}
        for part, fraction in fractions.items():
            lacking = _lacking(sizes["train"], sizes[part], fraction * sum(sizes.values()), sequence_length)
            if lacking:
                moved = move_tail(directory, dtype, part, lacking, keep=sequence_length)
                sizes["train"] -= moved
                sizes[part] += moved
                held_out += f", and the last {moved} tokens of train for {part}"

        stores = ("train", *parts)
        record = describe(directory, dtype, vocabulary, stores)
        for part in stores:
            _require(record["splits"][part]["tokens"], sequence_length, part, given.get(part) or texts)
        unknown = unknown_shares(directory, dtype, vocabulary, stores)
        notes += unknown_notes(unknown, trained=tokenizer is None)
        for part in parts:
            sequences = record["splits"][part]["tokens"] // sequence_length
            remedy = f"give more --{part}" if given[part] else f"hold out more of the text (--{part}-fraction)"
            what = f"sequences of {sequence_length} tokens held out for {part}"
            notes += few_notes(sequences, what, f"{remedy}, or give more text")
        record |= {
            "unknown": unknown,
            "notes": notes,
            "sources": [str(source) for source in texts],
            "settings": settings,
            "held_out": held_out,
            **({"mixture": mixture.taken} if mixture else {}),
            "versions": {"leanformer": __version__, "tokenizers": tokenizers.__version__},
        }
        write_record(directory, record)
    return record


@contextmanager
def _kept(folder: Path) -> Iterator[None]:
    """Removes the shards when all went well; otherwise they stay, and the user is told, if there are any."""
    try:
        yield
    except BaseException:
        if folder.is_dir() and any(folder.glob("*.shard")):
            console(stderr=True).print(f"note: {folder} keeps what is encoded; the same command goes on from there")
        elif folder.is_dir():
            remove_directory(folder)
        raise
    if folder.is_dir():
        remove_directory(folder)


def _several(sources: Source | Sequence[Source]) -> list[Source]:
    return [sources] if isinstance(sources, str | Path | InMemory) else list(sources)


def _read(sources: Sequence[Source], title: str, *, field: str, separator: str, progress: Progress) -> Iterator[str]:
    """Yields the documents of all sources, with a progress bar over the bytes of files (a data set's are unknown)."""
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
    return bars(*columns, on=console(stderr=True), quiet=quiet)


def _lacking(train: int, held: int, share: float, least: int) -> int:
    """The number of tokens that a held-out part of `held` tokens needs from the end of train.

    It is 0 if the part has half its share and `least` tokens, or if train has too few.
    """
    lacking = 0 if held >= max(share / 2, least) else int(max(share, least)) - held
    return lacking if train - lacking >= least else 0


def _require(tokens: int, least: int, split: str, sources: Sequence[Source]) -> None:
    if tokens < least:
        use = {"train": "train", "valid": "validate"}.get(split, "test")
        remedy = ", or hold out none to test on (--test-fraction 0)" if split == "test" else ""
        raise ValueError(
            f"{', '.join(map(str, sources))}: too little text, {tokens} tokens to {use} on where one sequence takes "
            f"{least}; give more text{remedy}"
        )
