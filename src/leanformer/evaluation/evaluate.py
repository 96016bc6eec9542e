"""A trained model on data it has not seen: the function behind `leanformer evaluate`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from leanformer.evaluation.generation import generation
from leanformer.evaluation.perplexity import perplexity
from leanformer.spelling import suggest


class Suite(NamedTuple):
    measure: Callable[..., dict[str, Any]]
    """(run, data, **options) to results."""
    options: frozenset[str] = frozenset()


SUITES = {
    "perplexity": Suite(perplexity, frozenset({"precision"})),
    "generation": Suite(generation, frozenset({"split", "beams", "max_length", "limit", "out"})),
}


def evaluate(run: str | Path, suite: str, data: str | Path, **options: Any) -> dict[str, Any]:
    """Results of the model of `run` in a suite. ValueError for an unknown one, and for an option that it does not have
    (None is no option)."""
    if suite not in SUITES:
        raise ValueError(f"unknown suite {suite!r}: {suggest(suite, SUITES)}")
    given = {name: value for name, value in options.items() if value is not None}
    for name in sorted(given.keys() - SUITES[suite].options):
        having = [known for known, of in SUITES.items() if name in of.options]
        raise ValueError(f"--{name.replace('_', '-')} is no option of the suite {suite}, but of {', '.join(having)}")
    measured = SUITES[suite].measure(Path(run), data, **given)
    return {"schema": 1, "kind": "evaluation", "suite": suite, "run": str(run), "data": str(data)} | measured
