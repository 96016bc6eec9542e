"""The tables of targets: the tokens of every mechanism and the baseline, and the ratios of all resources."""

import math

from leanformer.reporting.analysis.comparison import Findings
from leanformer.reporting.analysis.ratios import RESOURCES, Ratio
from leanformer.reporting.comparison.tables import bare_p
from leanformer.reporting.numbers.quantities import NONE, fixed, percent, scaled
from leanformer.reporting.numbers.target import Target
from leanformer.reporting.render.document import Table

WORDS = {"tokens": "Tokens", "steps": "Steps", "flops": "FLOPs", "seconds": "Seconds"}


def tokens_to_target(findings: Findings) -> Table:
    rows = []
    for ratio in (ratio for ratio in findings.ratios if ratio.resource == "tokens"):
        means = [
            scaled(sum(pair[side][0] for pair in ratio.costs) / len(ratio.costs)) if ratio.known else NONE
            for side in (0, 1)
        ]
        judged = [ratio_cell(ratio), bare_p(ratio.log.p_value_holm), ratio.verdict]
        rows.append([ratio.attention, _goal(ratio.target), _arrived(ratio), *means, *judged])
    header = ["Attention", "Target", "Runs that arrive", "Tokens", "Baseline's", "Ratio [95 % CI]", "Holm p", "Verdict"]
    caption = (
        "Target: the loss at which so much of the baseline's final lead over the no-context baseline is reached. "
        "Tokens: at the first crossing, interpolated linearly, mean over seeds. Runs that arrive: mechanism's, "
        "baseline's. Ratio: of tokens, as above. A row with a run that never arrives is censored and has no p-value."
    )
    return Table(header, rows, "llrrrrrl", caption)


def ratios(findings: Findings) -> Table:
    cells: dict[tuple[str, float], dict[str, Ratio]] = {}
    for ratio in findings.ratios:
        cells.setdefault((ratio.attention, ratio.target.fraction), {})[ratio.resource] = ratio
    together = all(ratios["tokens"].same(ratios["steps"]) for ratios in cells.values() if "steps" in ratios)
    shown = [(resource, WORDS[resource]) for resource in RESOURCES if not (together and resource == "steps")]
    rows = []
    for (name, _), ratios in cells.items():
        one = next(iter(ratios.values()))
        each = [_tested_cell(ratios[resource]) if resource in ratios else NONE for resource, _ in shown]
        rows.append([name, _goal(one.target), _arrived(one), *each, ratios["tokens"].verdict])
    header = ["Attention", "Target", "Arrive", *(word for _, word in shown), "Verdict on tokens"]
    header = [f"{word}, steps" if together and word == WORDS["tokens"] else word for word in header]
    caption = (
        "Target: the loss at which so much of the baseline's final lead over the no-context baseline is reached; "
        "arrive: the mechanism's runs, the baseline's. Then ratios, mechanism to baseline, paired by seed: geometric "
        "mean, its 95 % t interval and Holm p, all of the mean log ratio, corrected over all ratios of this table; "
        "below 1 is less than the baseline needs. Where a run never arrives only a bound is known: > more than this, < "
        "less, unknown where runs of both do not. FLOPs: tokens times the exact training FLOPs a token. Seconds: wall "
        "clock, validation and whatever else the machine did included."
    )
    return Table(header, rows, "llr" + "r" * len(shown) + "l", caption)


def _tested_cell(ratio: Ratio) -> str:
    p = ratio.log.p_value_holm
    return ratio_cell(ratio) + ("" if p is None else f", p {bare_p(p)}")


def _arrived(ratio: Ratio) -> str:
    return ", ".join(f"{n} of {len(ratio.seeds)}" for n in ratio.arrived)


def ratio_cell(ratio: Ratio) -> str:
    """Returns "0.87 [0.80, 0.95]", "> 1.25", "< 0.98" or "unknown"."""
    least, most = ratio.bounds
    if ratio.ratio is not None:
        ci = ratio.ci95
        return f"{fixed(ratio.ratio, 2)} " + (f"[{fixed(ci[0], 2)}, {fixed(ci[1], 2)}]" if ci else "(no interval)")
    if least > 0:
        return f"> {fixed(least, 2)}"
    return f"< {fixed(most, 2)}" if math.isfinite(most) else "unknown"


def _goal(target: Target) -> str:
    return f"{percent(target.fraction, 0)}: {fixed(target.loss, 3)} nats"
