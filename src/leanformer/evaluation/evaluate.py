"""Evaluation of a trained model on data it has not seen: the function behind `leanformer evaluate`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from leanformer.evaluation.generation import generation
from leanformer.evaluation.labelled import labelled
from leanformer.evaluation.perplexity import perplexity
from leanformer.evaluation.probes.attention_maps import attention
from leanformer.evaluation.probes.induction import induction
from leanformer.evaluation.probes.minimal_pairs import minimal_pairs
from leanformer.evaluation.similarity import similarity
from leanformer.spelling import suggest


class Suite(NamedTuple):
    measure: Callable[..., dict[str, Any]]
    """(run, data, **options) to results; without data, (run, **options)."""
    options: frozenset[str] = frozenset()
    data: bool = True
    """Whether the suite reads data."""


PAIRS = Suite(minimal_pairs, frozenset({"limit", "within_word", "out"}))
SUITES = {
    "perplexity": Suite(perplexity, frozenset({"precision"})),
    "generation": Suite(generation, frozenset({"split", "beams", "max_length", "limit", "out"})),
    "blimp": PAIRS,
    "blimp_supplement": PAIRS,
    "attention": Suite(attention, frozenset({"limit"})),
    "labels": Suite(labelled),
    "similarity": Suite(similarity, frozenset({"columns"})),
    "induction": Suite(induction, frozenset({"limit", "gaps"}), data=False),
}


def evaluate(
    run: str | Path, suite: str, data: str | Path | Sequence[str | Path] | None = None, **options: Any
) -> dict[str, Any]:
    """Returns the results of the model of `run` in a suite.

    Raises ValueError for an unknown suite, for data that it does not read or that are missing, and for an option that
    it does not have (None is no option).

    For several `data`, which only perplexity takes, `domains` has one row per entry, in their order.
    """
    if suite not in SUITES:
        raise ValueError(f"unknown suite {suite!r}: {suggest(suite, SUITES)}")
    chosen = SUITES[suite]
    sources = [] if data is None else [data] if isinstance(data, str | Path) else list(data)
    given = {name: value for name, value in options.items() if value is not None}
    for name in sorted(given.keys() - chosen.options):
        having = [known for known, entry in SUITES.items() if name in entry.options]
        raise ValueError(f"--{name.replace('_', '-')} is no option of the suite {suite}, but of {', '.join(having)}")
    if bool(sources) != chosen.data:
        raise ValueError(
            f"the suite {suite} {'needs --data PATH' if chosen.data else 'makes its own data: leave --data out'}"
        )
    if len(sources) > 1 and suite != "perplexity":
        raise ValueError(f"the suite {suite} reads one --data, not {len(sources)}: only perplexity takes several")
    head = {"schema": 1, "kind": "evaluation", "suite": suite, "run": str(run)}
    if len(sources) > 1:
        return head | {"domains": [{"data": str(each)} | chosen.measure(Path(run), each, **given) for each in sources]}
    named = {"data": str(sources[0])} if sources else {}
    return head | named | chosen.measure(Path(run), *sources, **given)
