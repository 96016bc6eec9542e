"""The findings in plain sentences, each with its interval, its number of seeds and its p-value, or why it has none."""

from collections.abc import Callable

from leanformer.reporting.analysis.comparison import LOSS, Comparison, Findings
from leanformer.reporting.comparison.target_text import tokens_sentence
from leanformer.reporting.numbers.quantities import (
    decimals,
    fixed,
    listed,
    p_value,
    percent,
    scaled,
    seconds,
    several,
    tokens,
)
from leanformer.reporting.numbers.statistics import DECIDED, POWER, sd_factor
from leanformer.reporting.numbers.target import FRACTION
from leanformer.reporting.records.study import LEARNED, Study

Shown = Callable[[float], str]
NOTHING = "says nothing about attention"
REMEDY = "To get below it, train longer, on more text or with a smaller vocabulary."
"""Advice on runs that are no better than the no-context baseline."""


def answers(findings: Findings) -> list[str]:
    """Returns one paragraph per mechanism, then the tasks."""
    out = []
    for name in findings.study.challengers:
        sentences = [loss_sentence(c, findings.study) for c in findings.of(LOSS) if c.attention == name]
        sentences.append(cost_sentence(name, findings.study))
        sentences += [
            tokens_sentence(ratio, findings.study)
            for ratio in findings.ratios
            if (ratio.attention, ratio.resource, ratio.target.fraction) == (name, "tokens", FRACTION)
        ]
        out.append(" ".join(filter(None, sentences)))
    return out


def named(c: Comparison) -> str:
    return f"{c.attention} (exploratory)" if c.exploratory else c.attention


def budget(study: Study) -> str:
    """Returns the budget of every run: "8.02 M tokens", or a range of tokens with the seconds of the budget."""
    runs = [run for name in study.attention for run in study.at(name)]
    counts = sorted(run.tokens for run in runs if run.tokens is not None)
    limit = next((s for run in runs if (s := run.settings.get("training.max_seconds"))), None)
    if not counts:
        return "an unknown budget"
    read = tokens(counts[0]) if counts[0] == counts[-1] else f"{scaled(counts[0])} to {tokens(counts[-1])}"
    return f"{seconds(limit)} ({read})" if limit else read


def loss_sentence(c: Comparison, study: Study) -> str:
    """ "pairwise is 0.031 nats better than dot_product after 8 M tokens, 95 % CI 0.012 to 0.050, 5 seeds (...)" """
    mean, name, where = c.difference.mean, named(c), f" after {budget(study)}"
    if mean is None:
        return f"{name} is not compared with {study.baseline}{where}: {c.note}."
    if not c.informative:
        return _learned_nothing(c, study)

    def shown(value: float) -> str:
        return fixed(value, places(c))

    size = f"{shown(abs(mean))} nats {c.direction}"
    if c.verdict == "not tested":
        seeds = "one seed" if c.difference.n == 1 else several(c.difference.n, "seed")
        amount = f"{size} than {study.baseline} with {seeds}, and " if mean else ""
        return f"{name} cannot be judged{where}: {amount}{c.note}."
    if c.verdict == "equivalent":
        within = f"equivalent to {study.baseline} within {c.difference.margin:g} nats{where}"
        return f"{name} is {within}{though(c)}: {size} on average, {evidence(c, shown)}."
    if c.verdict == "undecided":
        return f"{name} against {study.baseline} is undecided{where}: {size} on average, {evidence(c, shown)}."
    return f"{name} is {size} than {study.baseline}{where}, {evidence(c, shown)}."


def though(c: Comparison) -> str:
    return f", though measurably {c.direction}" if c.difference.differs else ""


def _learned_nothing(c: Comparison, study: Study) -> str:
    names = (c.attention, study.baseline or "")
    nothing = [name for name in names if study.without_context(name)]
    runs = [
        name
        if len(study.without_context(name)) == len(study.at(name))
        else f"{_count_without_context(study, name)} of {name}"
        for name in nothing
    ]
    whose = "their losses say" if len(nothing) == 2 else f"comparing the losses of {listed(list(names))} says"
    return f"{listed(runs)} learned nothing from context, so {whose} nothing about attention."


def _count_without_context(study: Study, name: str) -> str:
    return f"{len(study.without_context(name))} of {several(len(study.at(name)), 'run')}"


def evidence(c: Comparison, shown: Shown, apart: str = "") -> str:
    """Returns "95 % CI 0.012 to 0.050, 5 seeds (Holm p = 0.010)", or why there is none."""
    d = c.difference
    seeds = f"{d.n} of {several(c.planned, 'seed')}" if d.n < c.planned else several(d.n, "seed")
    if d.p_value_holm is None or d.ci95 is None:
        return f"{seeds} ({d.note})"
    p = f"Holm p {p_value(d.p_value_holm)}"
    if c.verdict == "equivalent" and d.p_equivalence_holm is not None:
        p = f"Holm p of equivalence {p_value(d.p_equivalence_holm)}, of a difference {p_value(d.p_value_holm)}"
    return f"95 % CI {_interval(c, shown)}, {seeds}" + (f"{apart}{p}" if apart else f" ({p})")


def _interval(c: Comparison, shown: Shown) -> str:
    """Returns the interval's ends in the direction of the mean, each with its own word if it includes zero."""
    assert c.difference.ci95 is not None
    good = 1 if c.higher_is_better else -1
    ends = sorted((good * end for end in c.difference.ci95), reverse=True)
    parts = [f"{shown(abs(end))} {'better' if end >= 0 else 'worse'}" for end in ends]
    if ends[0] * ends[1] > 0:
        near, far = sorted(map(abs, ends))
        return f"{shown(near)} to {shown(far)}" + (f" {c.direction}" if c.verdict not in DECIDED else "")
    return " to ".join(parts)


def places(c: Comparison) -> int:
    ci = c.difference.ci95
    return decimals((ci[1] - ci[0]) / 2 if ci else None)


def cost_sentence(name: str, study: Study) -> str:
    parts = []
    for quantity, noun in (("parameters", "parameters"), ("flops_per_token", "training FLOPs per token")):
        ours, theirs = study.spread(name, quantity).mean, study.spread(study.baseline or "", quantity).mean
        if ours is not None and theirs:
            if ours == theirs:
                parts.append(f"as many {noun}")
            else:
                parts.append(f"{percent(abs(ours / theirs - 1))} {'fewer' if ours < theirs else 'more'} {noun}")
    return f"It has {listed(parts)}." if parts else ""


def names_without_context(study: Study) -> list[str]:
    return [name for name in study.attention if study.without_context(name)]


def nothing_sentences(study: Study) -> list[str]:
    """Returns the sentence about the runs that learned nothing from context, if there are any."""
    if study.floor is None or not (nothing := names_without_context(study)):
        return []
    each = [_runs_without_context(study, name) for name in nothing]
    return [
        f"These runs did not end {percent(LEARNED, 0)} or more below the no-context baseline of "
        f"{fixed(study.floor, 3)} nats: {listed(each)}. They learned nothing from context, and a comparison with them "
        f"{NOTHING}; at most it shows which mechanism leaves the plateau first. {REMEDY}"
    ]


def learned_sentences(study: Study) -> list[str]:
    """Returns the sentence about the mechanisms that learned from context, or why that is unknown."""
    if study.floor is None:
        return ["The records hold no no-context baseline, so it is unknown whether any run learned from context."]
    nothing = names_without_context(study)
    free = [
        f"{n} by {percent(b)}" for n in study.attention if n not in nothing and (b := study.below_floor(n)) is not None
    ]
    if not free:
        return []
    return [
        f"Below the no-context baseline of {fixed(study.floor, 3)} nats: {listed(free)}. These have learned from "
        f"context. The baseline is the loss of the best predictor that {study.wording.floor}."
    ]


def _runs_without_context(study: Study, name: str) -> str:
    nothing, total = study.without_context(name), len(study.at(name))
    if len(nothing) == total:
        return f"{name} ({'all ' * (total > 1)}{several(total, 'run')})"
    seeds = listed([str(run.seed) for run in nothing])
    return f"{name} ({len(nothing)} of {total} runs: seed{'s' * (len(nothing) > 1)} {seeds})"


def power_sentence(findings: Findings) -> str:
    if findings.detectable is None or findings.detectable_alone is None:
        return "How small a difference would have been found cannot be said: no mechanism has two pairs that differ."
    d = [c.difference for c in findings.of(LOSS) if c.difference.p_value_holm is not None]
    n, df = min(x.n for x in d), min(x.df or 0.0 for x in d)
    miss, alone, corrected = percent(1 - POWER, 0), fixed(findings.detectable_alone, 3), fixed(findings.detectable, 3)
    limit = f"{alone} nats" if len(d) == 1 else f"{corrected} nats (without Holm's correction: {alone})"
    return (
        f"What would be missed: with {several(n, 'seed')} and the spread seen here, a true difference below {limit} in "
        f"final loss goes unnoticed at least {miss} of the time. So few seeds determine that spread only roughly: the "
        f"true one may be up to {sd_factor(df):.1f} times as large, and this limit with it."
    )
