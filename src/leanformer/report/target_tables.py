"""What a target costs: the tokens of every mechanism and the baseline, and the ratios of all resources."""

import math

from leanformer.report.comparison import Findings
from leanformer.report.document import Table
from leanformer.report.quantities import NONE, fixed, percent, scaled
from leanformer.report.ratios import RESOURCES, Ratio
from leanformer.report.tables import judged, signed_tokens
from leanformer.report.target import Target

WORDS = {"tokens": "Tokens", "steps": "Steps", "flops": "FLOPs", "seconds": "Seconds"}


def tokens_to_target(findings: Findings) -> Table:
    rows = []
    for c in findings.sensitivity:
        assert c.target is not None
        means = [
            scaled(sum(v[side] for v in c.values) / len(c.values)) if c.values and not c.censored else NONE
            for side in (0, 1)
        ]
        arrived = f"{c.arrived} of {len(c.seeds)}, {c.baseline_arrived} of {len(c.seeds)}"
        rows.append([c.attention, _goal(c.target), arrived, *means, *judged(c, signed_tokens)])
    header = [
        "Attention",
        "Target",
        "Runs that arrive",
        "Tokens",
        "Baseline's",
        "Difference [95 % CI]",
        "Holm p",
        "Verdict",
    ]
    caption = (
        "Target: the loss at which so much of the baseline's final lead over the context-free floor is reached. "
        "Tokens: at the first crossing, interpolated linearly. Runs that arrive: mechanism's, baseline's. A row "
        "with a run that never arrives is censored and has no mean and no p-value."
    )
    return Table(header, rows, "llrrrrrl", caption)


def ratios(findings: Findings) -> Table:
    cells: dict[tuple[str, float], dict[str, Ratio]] = {}
    for ratio in findings.ratios:
        cells.setdefault((ratio.attention, ratio.target.fraction), {})[ratio.resource] = ratio
    together = all(of["tokens"].same(of["steps"]) for of in cells.values() if "steps" in of)
    shown = [(resource, WORDS[resource]) for resource in RESOURCES if not (together and resource == "steps")]
    judgements = {(c.attention, c.target): judged(c, signed_tokens)[1:] for c in findings.sensitivity}
    rows = []
    for (name, _), of in cells.items():
        one = next(iter(of.values()))
        arrived = ", ".join(f"{n} of {len(one.seeds)}" for n in one.arrived)
        each = [ratio_cell(of[resource]) if resource in of else NONE for resource, _ in shown]
        rows.append([name, _goal(one.target), arrived, *each, *judgements[name, one.target]])
    header = ["Attention", "Target", "Arrive", *(word for _, word in shown), "Holm p", "Verdict"]
    header = [f"{word}, steps" if together and word == WORDS["tokens"] else word for word in header]
    caption = (
        "Target: the loss at which so much of the baseline's final lead over the context-free floor is reached; "
        "arrive: the mechanism's runs, the baseline's. Then ratios, mechanism to baseline, paired by seed: geometric "
        "mean and its 95 % t interval, that of the mean log ratio; below 1 is less than the baseline needs. Where a "
        "run never arrives only a bound is known: > more than this, < less, unknown where runs of both do not. "
        "FLOPs: tokens times the exact training FLOPs a token. Seconds: wall clock, validation and whatever else the "
        "machine did included. p and verdict are of the difference in tokens, listed with every run below."
    )
    return Table(header, rows, "llr" + "r" * len(shown) + "rl", caption)


def ratio_cell(ratio: Ratio) -> str:
    """ "0.87 [0.80, 0.95]", "> 1.25", "< 0.98" or "unknown"."""
    least, most = ratio.bounds
    if ratio.ratio is not None:
        ci = ratio.ci95
        return f"{fixed(ratio.ratio, 2)} " + (f"[{fixed(ci[0], 2)}, {fixed(ci[1], 2)}]" if ci else "(no interval)")
    if least > 0:
        return f"> {fixed(least, 2)}"
    return f"< {fixed(most, 2)}" if math.isfinite(most) else "unknown"


def _goal(target: Target) -> str:
    return f"{percent(target.fraction, 0)}: {fixed(target.loss, 3)} nats"
