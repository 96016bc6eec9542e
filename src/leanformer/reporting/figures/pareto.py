"""Parameters and training FLOPs against final loss for many arms, with the Pareto front.

The Pareto front holds the arms whose loss is below that of every arm with at most as many parameters, or FLOPs. It
compares means over seeds; the picture of differences shows which of them differ significantly.
"""

from collections.abc import Callable
from typing import Any

from matplotlib.figure import Figure

from leanformer.reporting.analysis.comparison import Findings
from leanformer.reporting.figures.frame import Frame, in_one_unit, label_ends, label_width, loss_axes, numbered, paint
from leanformer.reporting.numbers.quantities import listed
from leanformer.reporting.records.study import Study
from leanformer.reporting.render.style import MUTED, PAPER, Picture, series

MANY = 5
"""The smallest number of arms for this picture; fewer are drawn by `parameters.py`."""
Points = dict[str, tuple[float, float]]
"""Arm -> (cost, loss), both means over seeds."""


def picture(findings: Findings) -> Picture | None:
    study = findings.study
    panels = {"parameters": points(study, parameters), "training FLOPs": points(study, training_flops)}
    if min(map(len, panels.values())) < MANY:
        return None
    fronts = [f"by {axis}, {listed(front(points))}" for axis, points in panels.items()]
    caption = (
        "Mean final loss over seeds against what a run costs (left and down is better); bar: ± 1 standard "
        f"deviation. The line is the Pareto front, the arms that nothing as cheap beats: {'; '.join(fronts)}."
    )
    title = "Parameters and training FLOPs against final loss"
    return paint("pareto", title, caption, lambda frame: _draw(study, panels, frame))


def parameters(study: Study, name: str) -> float | None:
    return study.spread(name, "parameters").mean


def training_flops(study: Study, name: str) -> float | None:
    """Returns the training FLOPs of a whole run, since an arm may be trained longer than another."""
    per_token, tokens = study.spread(name, "flops_per_token").mean, study.spread(name, "tokens").mean
    return None if per_token is None or tokens is None else per_token * tokens


def points(study: Study, cost: Callable[[Study, str], float | None]) -> Points:
    both = {name: (cost(study, name), study.spread(name, "final_loss").mean) for name in study.attention}
    return {name: (x, y) for name, (x, y) in both.items() if x is not None and y is not None}


def front(points: Points) -> list[str]:
    """Returns the Pareto front from the cheapest arm on; if two arms are equal in both, the first of them."""
    kept: list[str] = []
    for name in sorted(points, key=lambda name: points[name]):
        if not kept or points[name][1] < points[kept[-1]][1]:
            kept.append(name)
    return kept


def _draw(study: Study, panels: dict[str, Points], frame: Frame) -> Figure:
    """Draw the panels side by side on a page, with one column of names, or one above the other on a phone."""
    names = list(next(iter(panels.values())))
    panel = max(3.9, 1.2 + 0.17 * len(names))
    rows = len(panels) if frame.narrow else 1
    height = rows * panel
    figure = frame.figure(height)
    left, room = 0.62, frame.width - 0.62 - label_width(names, frame)
    width = room if frame.narrow else (room - 0.75) / 2
    for number, (axis, points) in enumerate(panels.items()):
        x, bottom = (left, (rows - 1 - number) * panel) if frame.narrow else (left + number * (width + 0.75), 0.0)
        place = (x / frame.width, (bottom + 0.55) / height, width / frame.width, (panel - 0.9) / height)
        _panel(figure, place, axis, points, study, frame, named=frame.narrow or number == len(panels) - 1)
    figure.text(0.15 / frame.width, 1 - 0.18 / height, "Final loss (nats)", fontweight="bold", va="center")
    return figure


def _panel(
    figure: Figure,
    place: tuple[float, float, float, float],
    axis: str,
    points: Points,
    study: Study,
    frame: Frame,
    *,
    named: bool,
) -> None:
    spreads = {name: study.spread(name, "final_loss").sd or 0.0 for name in points}
    reach = [y + sign * spreads[name] for name, (_, y) in points.items() for sign in (-1, 1)]
    axes, lowest = loss_axes(figure, place, reach, study.floor)
    best = [points[name] for name in front(points)]
    line: dict[str, Any] = {"color": MUTED, "linewidth": 1.2, "zorder": 1.5}
    axes.plot([x for x, _ in best], [y for _, y in best], drawstyle="steps-post", **line)
    for name, (x, y) in points.items():
        look = series(numbered(study)[name])
        mark = {"color": look["color"], "marker": look["marker"], "markersize": 7, "markeredgecolor": PAPER}
        axes.errorbar(x, y, spreads[name] or None, capsize=3, zorder=3, **mark)
    lowest.set_xlabel(f"{axis} of a run" if axis != "parameters" else axis)
    axes.xaxis.set_major_locator(frame.ticks(place[2] * frame.width))
    axes.xaxis.set_major_formatter(in_one_unit(axes))
    if named:
        label_ends(axes, points, study, frame)
