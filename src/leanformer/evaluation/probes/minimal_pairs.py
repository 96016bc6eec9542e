"""Zero-shot grammar: does a model find the good sentence of a pair likelier than the bad one?

A pair differs in what is asked and in little else (Warstadt et al., 2020, "BLiMP: The Benchmark of Linguistic Minimal
Pairs for English"). Data are a folder with a file a paradigm (or one such file), rows with `sentence_good` and
`sentence_bad`, and, where the source has them, `linguistics_term`, the phenomenon, and `field`.

    accuracy = share of pairs with log p(good) > log p(bad)        a tie is no preference and counts as wrong
    chance   = 1/2, the accuracy of a preference that does not read the pair

Intervals are Wilson's, 95 %, of a share of so many pairs. Pairs come from templates and share words, so they are less
independent than that assumes; and they say nothing of other seeds. Sentences are scored whole, not by the token.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from leanformer import files
from leanformer.data import tables
from leanformer.data.decoding import kind
from leanformer.data.order import permutation
from leanformer.evaluation import pretrained
from leanformer.evaluation.probes.likelihood import log_likelihoods
from leanformer.models import saved

CHANCE = 0.5
SEED = 0
"""Of the pairs that `limit` chooses: the same for every model."""
GOOD, BAD = "sentence_good", "sentence_bad"


class Paradigm(NamedTuple):
    name: str
    phenomenon: str
    field: str | None
    rows: NDArray[np.int64]
    """Of the file, from 0."""
    pairs: list[tuple[str, str]]
    """Good and bad."""


def minimal_pairs(
    run: Path, data: str | Path, *, limit: int | None = None, within_word: bool | None = None, out: Path | None = None
) -> dict[str, Any]:
    """Accuracy by paradigm, phenomenon and field; of `limit` pairs a paradigm (None: all), always the same ones.

    `out` is a file to make, a line of JSON a pair: paradigm, row and both log-likelihoods, for tests that pair models.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"--limit {limit}: must be at least 1")
    folder = saved.locate(run)
    tokenizer, kind = pretrained.load_tokenizer(folder), pretrained.objective(folder)
    paradigms, skipped = read(Path(data), limit)
    model = pretrained.load_evaluated(folder, kind)

    texts = [text for paradigm in paradigms for pair in paradigm.pairs for text in pair]
    scores = log_likelihoods(model, kind, tokenizer, texts, within_word=bool(within_word)).reshape(-1, 2)
    if not np.isfinite(scores).all():
        raise ArithmeticError(f"{folder} answers with numbers that are not finite: its training has failed")
    ends = np.cumsum([len(paradigm.pairs) for paradigm in paradigms])[:-1]
    by_paradigm = np.split(scores, ends)
    if out is not None:
        _write(out, paradigms, by_paradigm)
    rows = [
        {"paradigm": p.name, "phenomenon": p.phenomenon, "field": p.field} | accuracy(s)
        for p, s in zip(paradigms, by_paradigm, strict=True)
    ]
    return {
        "objective": kind,
        "scored": "pseudo-log-likelihood" if kind == "masked_lm" else "log-likelihood",
        "within_word": bool(within_word),
        "limit": limit,
        "chance": CHANCE,
        **accuracy(scores),
        "mean_of_paradigms": float(np.mean([row["accuracy"] for row in rows])),
        "skipped": skipped,
        "fields": _pooled("field", paradigms, by_paradigm),
        "phenomena": _pooled("phenomenon", paradigms, by_paradigm),
        "paradigms": rows,
    }


def accuracy(scores: NDArray[np.float64]) -> dict[str, Any]:
    """Of log-likelihoods (N, 2), good and bad."""
    correct, pairs = int((scores[:, 0] > scores[:, 1]).sum()), len(scores)
    interval = binomtest(correct, pairs).proportion_ci(0.95, method="wilson")
    ties = int((scores[:, 0] == scores[:, 1]).sum())
    return {
        "pairs": pairs,
        "accuracy": correct / pairs,
        "low": float(interval.low),
        "high": float(interval.high),
        "ties": ties,
    }


def read(path: Path, limit: int | None) -> tuple[list[Paradigm], list[str]]:
    """The paradigms in the order of their names, and the files that hold no such pairs."""
    found = [path] if path.is_file() else sorted(file for file in path.glob("*") if kind(file) == ".jsonl")
    if not found:
        raise FileNotFoundError(f"{path}: no file of minimal pairs; a folder of .jsonl or .jsonl.xz is expected")
    paradigms, skipped = [], []
    for file in found:
        rows = list(tables.read(file))
        if not rows or not {GOOD, BAD} <= (first := rows[0][1]).keys():
            skipped.append(file.name)
            continue
        chosen = np.sort(permutation(np.arange(min(limit or len(rows), len(rows))), len(rows), SEED, epoch=0))
        pairs = [_pair(*rows[i]) for i in chosen]
        name = first.get("UID") or file.name.partition(".")[0]
        phenomenon = first.get("linguistics_term") or name
        area = first.get("field")  # one file of BLiMP's writes syntax/semantics
        paradigms.append(Paradigm(name, phenomenon, area and area.replace("/", "_"), chosen, pairs))
    if not paradigms:
        raise ValueError(f"{path}: no file has the columns {GOOD} and {BAD}: give a folder of minimal pairs")
    return paradigms, skipped


def _pair(place: str, row: dict[str, Any]) -> tuple[str, str]:
    for column in (GOOD, BAD):
        if not isinstance(row.get(column), str) or not row[column].strip():
            raise ValueError(f"{place}: {column} is no text: mend the row, or leave the file out")
    return row[GOOD], row[BAD]


def _pooled(group: str, paradigms: Sequence[Paradigm], scores: Sequence[NDArray[np.float64]]) -> list[dict[str, Any]]:
    """A row for every value of `field` or `phenomenon`, by its name."""
    values = [getattr(paradigm, group) for paradigm in paradigms]
    rows = []
    for value in sorted({value for value in values if value is not None}):
        members = [s for s, of in zip(scores, values, strict=True) if of == value]
        rows.append({group: value, "paradigms": len(members)} | accuracy(np.concatenate(members)))
    return rows


def _write(out: Path, paradigms: Sequence[Paradigm], scores: Sequence[NDArray[np.float64]]) -> None:
    lines = (
        {"paradigm": paradigm.name, "row": int(row), "good": good, "bad": bad}
        for paradigm, of in zip(paradigms, scores, strict=True)
        for row, (good, bad) in zip(paradigm.rows, of.tolist(), strict=True)
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    files.write_json_lines(out, lines)
