"""`leanformer.prepare`: turns texts into tokens on disk."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from leanformer.attention import load_plugin
from leanformer.data.prepare import prepare as prepare_texts
from leanformer.data.prepare_pairs import prepare_pairs
from leanformer.interface.data import Data
from leanformer.interface.texts import sources


def prepare(
    texts: Any = None,
    *,
    out: str | Path,
    text: str = "text",
    vocab_size: int | None = None,
    algorithm: str | None = None,
    tokenizer: str | Path | None = None,
    cased: bool = False,
    keep_accents: bool = False,
    tokenizer_megabytes: float = 32,
    valid: Any = None,
    valid_fraction: float = 0.01,
    test: Any = None,
    test_fraction: float = 0.02,
    test_on: Mapping[str, Any] | None = None,
    documents: str = "blank-lines",
    mix: Mapping[str, float] | None = None,
    workers: int | None = None,
    task: str | None = None,
    task_data: str | Path | None = None,
    plugin: str | Path | None = None,
    quiet: bool = False,
) -> Data:
    """Write the new directory `out` with the tokenizer, the tokens and the held-out parts; returns it as `Data`.

    texts           a list of documents; a path or a list of paths, `hf:NAME` or `shipped:novels`; a Dataset; a column
                    or a table of pandas. `text` is the column that holds the text. `valid` and `test` are alike
    vocab_size      the size of the vocabulary; by default 30,522, and 8,000 for the pairs of a task
    algorithm       wordpiece, bpe or characters; by default wordpiece, and bpe for a task
    tokenizer       the tokenizer to use instead of training one: a tokenizer.json, a folder with one, or `hf:NAME`
    valid, test     held-out texts; by default `valid_fraction` and `test_fraction` of the text are held out
    test_on         further test texts by name
    documents       what separates documents in plain text: "blank-lines" or "lines"
    mix             the shares of several texts, {"web": 0.7, "books": 0.3}; `texts` maps the same names to texts
    workers         the processes that encode a large text; by default one a core
    task            prepare the pairs of this task from the folder `task_data` instead of `texts`

    The remaining arguments are those of `leanformer.data.prepare.prepare`. Raises ValueError or OSError, and then
    leaves no files behind.
    """
    load_plugin(plugin)
    _require_trained(tokenizer, task, cased=cased, keep_accents=keep_accents)
    trained: dict[str, Any] = {"tokenizer": tokenizer, "tokenizer_megabytes": tokenizer_megabytes}
    trained |= {"vocab_size": vocab_size} if vocab_size is not None else {}
    trained |= {"algorithm": algorithm} if algorithm is not None else {}
    if task is not None:
        if task_data is None or any(each is not None for each in (texts, valid, test, test_on)):
            raise ValueError(f"--task {task} needs --task-data DIR, and neither TEXT, --valid, --test nor --test-on")
        if mix is not None or workers is not None:
            raise ValueError("--mix and --workers are for text, and a task has pairs: leave them out")
        prepare_pairs(task, task_data, out, **trained)
        return Data(out)
    if texts is None:
        raise ValueError("no text to prepare: name at least one file, folder or data set")
    prepare_texts(
        _named(texts) if mix is not None and isinstance(texts, Mapping) else sources(texts),
        out,
        cased=cased,
        keep_accents=keep_accents,
        valid=None if valid is None else sources(valid, "valid"),
        valid_fraction=valid_fraction,
        test=None if test is None else sources(test, "test"),
        test_fraction=test_fraction,
        test_on={name: sources(each, f"test_on[{name!r}]") for name, each in (test_on or {}).items()},
        field=text,
        documents=documents,
        mix=mix,
        workers=workers,
        quiet=quiet,
        **trained,
    )
    return Data(out)


def _named(texts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: sources(each, f"texts[{name!r}]") for name, each in texts.items()}


def _require_trained(tokenizer: str | Path | None, task: str | None, **options: bool) -> None:
    """Raises ValueError for an option of a trained tokenizer that would have no effect."""
    for name, given in options.items():
        if given and (tokenizer is not None or task is not None):
            why = f"--tokenizer {tokenizer} is as it was trained" if tokenizer is not None else "a task is always cased"
            raise ValueError(f"--{name.replace('_', '-')}: {why}; leave it out")
