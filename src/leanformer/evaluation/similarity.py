"""How well sentence vectors order pairs of texts by their similarity, and find the text that belongs to a query.

For pairs (a_i, b_i) with scores y_i, and c the cosine of two vectors,

    spearman    the rank correlation of c(a_i, b_i) with y_i
    mrr@10      the mean over queries of 1 / (rank of the first relevant text), 0 if that is beyond rank 10
    recall@1    the share of queries whose nearest text is relevant

The queries are the different texts a of relevant pairs, and all different texts b are searched, except one that equals
the query. A pair is relevant if its score lies in the upper fifth of the scores' range (4 to 5 in STS-B); without
scores every pair is, and there is no `spearman`. N pairs, D width.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leanformer.data import tables
from leanformer.data.own import files, kinds
from leanformer.evaluation.metrics import METRICS
from leanformer.evaluation.sentence_encoder import SentenceEncoder

LAYOUTS = (("sentence1", "sentence2"), ("text1", "text2"), ("text_a", "text_b"), ("question", "context"))
"""The two columns of text that are found if none are named."""
SCORES = ("score", "label", "similarity")
UPPER = 0.8
RANKS = 10
TIE = 1e-9
"""Wrong texts whose cosine is so near count as nearer: an encoder that tells no texts apart finds nothing."""
MOST = 2_000
"""The most texts of which all pairs are compared, evenly spread over all."""


@dataclass(frozen=True)
class Pairs:
    first: list[str]
    second: list[str]
    scores: NDArray[np.float64] | None = None

    @property
    def sha256(self) -> str:
        scores = None if self.scores is None else self.scores.tolist()
        return hashlib.sha256(json.dumps([self.first, self.second, scores]).encode()).hexdigest()

    @property
    def relevant(self) -> NDArray[np.bool_]:
        if self.scores is None:
            return np.ones(len(self.first), bool)
        low, high = self.scores.min(), self.scores.max()
        return self.scores >= low + UPPER * (high - low)


def read_pairs(path: str | Path, columns: Sequence[str] = ()) -> Pairs:
    """Returns the pairs of a table; `columns` names two texts and, if there is one, the score.

    Raises ValueError or FileNotFoundError of one line for a file that holds no pairs.
    """
    rows = files.read(Path(path))
    names = list(rows[0][1])
    columns = tuple(columns) or _found(Path(path), names)
    if len(columns) not in (2, 3) or len(set(columns)) < len(columns):
        raise ValueError(
            f"{path}: {','.join(columns)}: name two columns of text and, if there is one, that of the score"
        )
    for name in columns:
        if name not in names:
            raise ValueError(f"{path} has no column {name!r}; it has: {', '.join(names)}")
    first, second, scores = [], [], []
    for place, row in rows:
        values = [tables.value(row, column, place) for column in columns]
        try:
            first.append(tables.as_text(values[0], columns[0]))
            second.append(tables.as_text(values[1], columns[1]))
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from None
        if columns[2:]:
            score = kinds.number(values[2])
            if score is None:
                raise ValueError(f"{place}: {columns[2]} = {values[2]!r} is no number: correct the row")
            scores.append(score)
    if len(set(scores)) == 1:
        raise ValueError(f"{path}: all scores are {scores[0]:g}, which order no pairs: leave the column of scores out")
    return Pairs(first, second, np.array(scores) if columns[2:] else None)


def _found(path: Path, names: Sequence[str]) -> tuple[str, ...]:
    texts = next((pair for pair in LAYOUTS if set(pair) <= set(names)), None)
    if texts is None:
        raise ValueError(f"{path}: which columns hold the two texts? Name them (A,B,SCORE); it has: {', '.join(names)}")
    return (*texts, *[name for name in SCORES if name in names][:1])


def measure(pairs: Pairs, vectors: Callable[[list[str]], NDArray[np.float32]]) -> dict[str, float]:
    """Returns the three numbers for the encoder `vectors`, which turns N texts into (N, D)."""
    texts = list(dict.fromkeys([*pairs.first, *pairs.second]))
    unit_ND = _unit(vectors(texts).astype(np.float64))
    row = {text: number for number, text in enumerate(texts)}
    first, second = (np.array([row[text] for text in side]) for side in (pairs.first, pairs.second))
    result = {}
    if pairs.scores is not None:
        cosines_N = (unit_ND[first] * unit_ND[second]).sum(1)
        result["spearman"] = float(METRICS["spearman"](pairs.scores, cosines_N))
    return result | _retrieval(unit_ND, first, second, pairs.relevant)


def _retrieval(
    unit_ND: NDArray[np.float64], first: NDArray[np.int64], second: NDArray[np.int64], relevant: NDArray[np.bool_]
) -> dict[str, float]:
    wanted: dict[int, set[int]] = {}
    for query, text in zip(first[relevant].tolist(), second[relevant].tolist(), strict=True):
        wanted.setdefault(query, set()).add(text)
    searched = np.unique(second)
    ranks = []
    for query, texts in wanted.items():
        others = searched[searched != query]
        right = np.isin(others, list(texts - {query}))
        if right.any():
            scores = unit_ND[others] @ unit_ND[query]
            ranks.append(1 + int((scores[~right] >= scores[right].max() - TIE).sum()))
    if not ranks:
        return {}
    places = np.array(ranks)
    return {
        f"mrr@{RANKS}": float(np.where(places <= RANKS, 1 / places, 0.0).mean()),
        "recall@1": float((places == 1).mean()),
        "queries": len(ranks),
    }


def similarity(run: str | Path, data: str | Path, columns: Sequence[str] = ()) -> dict[str, Any]:
    """Returns what `measure` finds of the vectors of a run or saved model on the pairs of a table."""
    pairs, encoder = read_pairs(data, columns), SentenceEncoder.open(run)
    return {"pairs": len(pairs.first), **measure(pairs, encoder.vectors)}


def agreement(student_ND: NDArray[np.float32], teacher_ND: NDArray[np.float32]) -> dict[str, float]:
    """Returns how far the vectors of one encoder agree with another's of the same texts.

    cosine          the mean cosine of both vectors of a text, if they are equally wide
    similarities    the rank correlation of the cosines of all pairs of texts, if there are three texts
    """
    units = [_unit(vectors.astype(np.float64)) for vectors in (student_ND, teacher_ND)]
    found = {}
    if student_ND.shape == teacher_ND.shape:
        found["cosine"] = float((units[0] * units[1]).sum(1).mean())
    number = min(MOST, len(student_ND))
    if number < 3:
        return found
    chosen, upper = np.arange(number) * len(student_ND) // number, np.triu_indices(number, 1)
    cosines = [(unit_ND[chosen] @ unit_ND[chosen].T)[upper] for unit_ND in units]
    return found | {"similarities": float(METRICS["spearman"](cosines[1], cosines[0]))}


def _unit(vectors_ND: NDArray[np.float64]) -> NDArray[np.float64]:
    return vectors_ND / np.linalg.norm(vectors_ND, axis=1, keepdims=True).clip(min=1e-12)
