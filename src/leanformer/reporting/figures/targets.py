"""The cost of targets relative to the baseline: the ratio over the targets, one panel per resource."""

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter

from leanformer.reporting.analysis.comparison import Findings
from leanformer.reporting.analysis.ratios import RESOURCES, Ratio
from leanformer.reporting.figures.frame import Frame, digits, label_ends, label_width, numbered, paint
from leanformer.reporting.numbers.quantities import fixed, percent
from leanformer.reporting.numbers.target import FRACTION, FRACTIONS
from leanformer.reporting.records.study import Study
from leanformer.reporting.render.style import MUTED, PAPER, Picture, series

WORDS = {"tokens": "Tokens", "steps": "Steps", "flops": "Training FLOPs", "seconds": "Seconds of wall clock"}
LEAST, FAINT = 1.3, 4
"""The smallest factor that a panel spans, and the number of mechanisms above which bands are drawn fainter."""
BELOW = (0.03, 0.06, 0.12, 0.25, 0.33, 0.5, 0.6, 0.7, 0.8, 0.9)
TICKS = (*BELOW, 1.0, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 8.0, 16.0, 32.0)


def picture(findings: Findings) -> Picture | None:
    panels = _panels(findings.ratio_curve)
    if not panels:
        return None
    study = findings.study
    caption = (
        f"What it takes to reach a validation loss for the first time, divided by what {study.baseline} takes (ratio, "
        "logarithmic scale; below 1: less than the baseline), over the loss to be reached, harder to the right. Line: "
        "geometric mean over the seeds' pairs; band: its 95 % t interval (not corrected for the number of mechanisms "
        "and targets; a very wide one leaves the picture). Open triangles: in some pair a run never arrives within the "
        "budget, so the mean ratio is at least (upward) or at most (downward) what is drawn, and there is no interval; "
        "no mark: it is not bounded either way. Crossings are interpolated linearly between validations; targets that "
        "a run had reached at its first validation are left out."
    )
    title = "Ratio of the cost of a target to the baseline's, by target"
    return paint("targets", title, caption, lambda frame: _draw(findings, panels, frame))


def _panels(curve: Sequence[Ratio]) -> dict[str, list[Ratio]]:
    """Returns title -> ratios; tokens and steps share a panel if a step has the same tokens in every run."""
    by_resource = {resource: [r for r in curve if r.resource == resource] for resource in RESOURCES}
    by_resource = {
        resource: family
        for resource, family in by_resource.items()
        if any(math.isfinite(_height(r) or 0) for r in family)
    }
    if "steps" in by_resource and all(map(Ratio.same, by_resource.get("tokens", []), by_resource["steps"])):
        del by_resource["steps"]
    both = "tokens" in by_resource and "steps" not in by_resource and any(r.resource == "steps" for r in curve)
    return {
        "Tokens, and steps" if both and name == "tokens" else WORDS[name]: family
        for name, family in by_resource.items()
    }


def _height(ratio: Ratio) -> float | None:
    """Returns log2 of the ratio or of its only bound; None if there is neither."""
    least, most = ratio.bounds
    value = ratio.ratio or (least if least > 0 else most)
    return math.log2(value) if 0 < value < math.inf else None


def _draw(findings: Findings, panels: dict[str, list[Ratio]], frame: Frame) -> Figure:
    study = findings.study
    each, title, bottom, top = max(1.75, 0.19 * len(study.challengers)), 0.42, 0.5, 0.12
    height = bottom + top + len(panels) * (each + title)
    figure = frame.figure(height)
    left, right = 0.62 / frame.width, 1 - label_width(study.challengers, frame) / frame.width
    losses = [ratio.target.loss for ratio in findings.ratio_curve]
    span = max(losses) - min(losses) or 1.0
    for place, (name, family) in enumerate(panels.items()):
        low = bottom + (len(panels) - 1 - place) * (each + title)
        axes = figure.add_axes((left, low / height, right - left, each / height))
        shift = -0.45 / (frame.width * (right - left))
        axes.set_title(f"{name} to target, ratio to the baseline's", pad=14, x=shift)
        axes.set_xlim(max(losses) + 0.02 * span, min(losses) - 0.02 * span)
        axes.set_ylim(*_limits(family))
        axes.grid(axis="y")
        axes.axhline(0, color=series(0)["color"], linewidth=1)
        _marks(axes, findings, FRACTIONS[:0] if place else (FRACTION,) if frame.narrow else FRACTIONS)
        label_ends(axes, _plot(axes, study, family), study, frame)
        axes.yaxis.set_major_locator(FixedLocator(_ticks(*axes.get_ylim())))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{2**y:.2f}"))
        axes.xaxis.set_major_locator(frame.ticks((right - left) * frame.width))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: fixed(x, digits(span))))
        axes.tick_params(labelbottom=place == len(panels) - 1)
    axes.set_xlabel("validation loss to be reached (nats)")
    return figure


def _plot(axes: Axes, study: Study, family: list[Ratio]) -> dict[str, tuple[float, float]]:
    """Draw every mechanism; returns the end point of each."""
    ends, alpha = {}, 0.16 if len(study.challengers) <= FAINT else 0.06
    for name, number in numbered(study).items():
        style, ratios = series(number), [r for r in family if r.attention == name]
        drawn = [(r, y) for r in ratios if (y := _height(r)) is not None]
        sure = [(r.target.loss, math.log2(r.ratio)) for r in ratios if r.ratio is not None]
        band = [(r.target.loss, *map(math.log2, r.ci95)) for r in ratios if r.ci95 is not None]
        if band:
            at, low, high = zip(*band, strict=True)
            axes.fill_between(at, low, high, color=style["color"], alpha=alpha, linewidth=0)
        if sure:
            axes.plot(*zip(*sure, strict=True), color=style["color"], linestyle=style["linestyle"], linewidth=1.6)
        for marker, least in (("^", True), ("v", False)):
            bound = [(r.target.loss, y) for r, y in drawn if not r.known and (r.bounds[0] > 0) == least]
            open_ = {"color": style["color"], "markerfacecolor": PAPER, "markersize": 4, "linestyle": "none"}
            axes.plot(*(zip(*bound, strict=True) if bound else ([], [])), marker=marker, markeredgewidth=0.9, **open_)
        if drawn:
            ends[name] = (drawn[-1][0].target.loss, drawn[-1][1])
    return ends


def _limits(family: list[Ratio]) -> tuple[float, float]:
    """Returns limits with room for the lines and as much again for the bands; bands of three seeds may be wider."""
    heights = [0.0, *(y for r in family if (y := _height(r)) is not None)]
    bands = [0.0, *(math.log2(end) for r in family if r.ci95 for end in r.ci95)]
    low, high = min(heights), max(heights)
    room = 0.7 * max(high - low, math.log2(LEAST))
    low, high = max(min(bands + heights), low - room), min(max(bands + heights), high + room)
    air = 0.08 * max(high - low, 0.2)
    return low - air, high + air


def _ticks(low: float, high: float) -> list[float]:
    """Returns at most six of TICKS, with 1 among them."""
    within = [math.log2(t) for t in TICKS if low <= math.log2(t) <= high]
    step = math.ceil(len(within) / 6)
    zero = within.index(0.0)
    return within[zero % step :: step]


def _marks(axes: Axes, findings: Findings, named: Sequence[float]) -> None:
    """Mark the targets of the table, those in `named` with their names."""
    for fraction, loss in dict.fromkeys((r.target.fraction, r.target.loss) for r in findings.ratios):
        axes.axvline(loss, color=MUTED, linewidth=0.8, linestyle=(0, (1, 2)), zorder=0)
        if fraction in named:
            place: dict[str, Any] = {
                "xycoords": ("data", "axes fraction"),
                "textcoords": "offset points",
                "color": MUTED,
            }
            axes.annotate(percent(fraction, 0), (loss, 1), xytext=(0, 1), ha="center", va="bottom", fontsize=8, **place)
