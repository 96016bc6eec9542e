"""Score against noise: a panel an axis, a line a mechanism; on the left what the models score that saw no harm."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from leanformer.markup import visible
from leanformer.reporting.figures.frame import Frame, label_width, numbered, paint, short_names
from leanformer.reporting.render.style import LINE, MUTED, PAPER, Picture, series
from leanformer.robustness.findings import Findings
from leanformer.robustness.plan import LABELS, SIZES, TRANSFER, Point

LABELLED = {LABELS: "share of wrong training labels", SIZES: "training examples", TRANSFER: "tested on"}
PANEL, TITLE, TICKS, GAP, LEFT = 1.75, 0.3, 0.62, 0.3, 0.45
"""Inches."""


def picture(findings: Findings, task: str) -> Picture | None:
    axes = findings.axes(task)
    if not axes:
        return None
    caption = (
        f"Score x 100 of models fine-tuned on {task}. Mark: mean over the pre-training seeds, bar: ± 1 standard "
        "deviation, marks drawn a little apart; the leftmost marks are the same models on clean text (trained on all "
        "the data with the right labels); dashed: the best constant answer. Bars hold what the seeds have in common, "
        "so bars that overlap do not make a paired difference chance: the table shows those."
    )
    name = f"robustness-{task}"
    return paint(name, f"{task}: score against noise", caption, lambda frame: _draw(findings, task, axes, frame))


def _draw(findings: Findings, task: str, axes: dict[str, list[Point]], frame: Frame) -> Figure:
    columns = min(len(axes), 2 if frame.narrow else 4)
    rows = math.ceil(len(axes) / columns)
    legend = _legend_rows(findings, frame)
    height = 0.24 * len(legend) + rows * (TITLE + PANEL + TICKS)
    figure = frame.figure(height)
    _legend(figure, findings, legend, frame, height)
    low, high = _limits(findings, task, axes)
    width = (frame.width - LEFT - 0.1 - GAP * (columns - 1)) / columns
    for i, (axis, points) in enumerate(axes.items()):
        row, column = divmod(i, columns)
        bottom = height - 0.24 * len(legend) - row * (TITLE + PANEL + TICKS) - TITLE - PANEL
        left = LEFT + column * (width + GAP)
        panel = figure.add_axes((left / frame.width, bottom / height, width / frame.width, PANEL / height))
        panel.set_ylim(low, high)
        panel.set_title(visible(axis))
        if (constant := findings.constant.get(task)) is not None and axis != TRANSFER:
            panel.axhline(100 * constant, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
        if column:
            panel.tick_params(labelleft=False)
        _panel(panel, findings, task, axis, points)
    return figure


def _panel(panel: Axes, findings: Findings, task: str, axis: str, points: list[Point]) -> None:
    """Draws levels on a scale of numbers; tasks and sizes, which are far apart, side by side."""
    study, numbers = findings.study, numbered(findings.study)
    groups: list[list[Point]] = [[], *([point] for point in points)]
    if axis == SIZES:
        groups = [*groups[1:], []]
    places = [float(i) for i in range(len(groups))]
    if axis in (SIZES, TRANSFER):
        panel.set_xticks(places, [_tick(axis, group, task) for group in groups])
    else:
        places = [float(group[0].at) if group else 0.0 for group in groups]
        panel.set_xticks(places, [f"{place:g}" for place in places])
        _thin(panel, places)
    step = 0.02 * (max(places) - min(places))
    panel.yaxis.set_major_locator(MaxNLocator(5))
    panel.grid(axis="y", color=LINE, linewidth=0.5)
    for rank, name in enumerate(study.attention):
        look = series(numbers[name])
        places_of = [(x, findings.spread(task, name, group)) for x, group in zip(places, groups, strict=True)]
        shift = (rank - (len(study.attention) - 1) / 2) * step
        at = [(x + shift, 100 * of.mean, 100 * (of.sd or 0)) for x, of in places_of if of.mean is not None]
        if not at:
            continue
        xs, means, deviations = zip(*at, strict=True)
        line = {"linestyle": look["linestyle"] if axis != TRANSFER else "none", "color": look["color"]}
        panel.errorbar(
            xs, means, deviations, marker=look["marker"], markersize=5, markeredgecolor=PAPER, markeredgewidth=0.5,
            linewidth=1.3, elinewidth=0.9, **line,
        )  # fmt: skip
    panel.margins(x=0.08)
    panel.set_xlabel(LABELLED.get(axis, "probability that a word is chosen"), color=MUTED)


def _tick(axis: str, group: list[Point], task: str) -> str:
    if group:
        return visible(str(group[0].at)) if axis == TRANSFER else f"{group[0].at:,}"
    return visible(task) if axis == TRANSFER else "all"


def _thin(panel: Axes, places: list[float]) -> None:
    """A number whose neighbour on the left is too near goes, but for the last."""
    span, last = max(places) - min(places), -math.inf
    labels = [label.get_text() for label in panel.get_xticklabels()]
    for i, place in enumerate(places):
        if place - last < 0.14 * span or (i < len(places) - 1 and places[-1] - place < 0.14 * span):
            labels[i] = ""
        else:
            last = place
    panel.set_xticks(places, labels)


def _limits(findings: Findings, task: str, axes: dict[str, list[Point]]) -> tuple[float, float]:
    """Returns the limits of all panels, which have one scale, or the eye would compare slopes that do not compare."""
    groups: list[Sequence[Point]] = [[], *([point] for points in axes.values() for point in points)]
    constant = findings.constant.get(task)
    ends = [] if constant is None else [100 * constant]
    for name in findings.study.attention:
        for group in groups:
            of = findings.spread(task, name, group)
            if of.mean is not None:
                ends += [100 * (of.mean - (of.sd or 0)), 100 * (of.mean + (of.sd or 0))]
    margin = 0.06 * max(max(ends) - min(ends), 1)
    return min(ends) - margin, max(ends) + margin


def _legend_rows(findings: Findings, frame: Frame) -> list[list[str]]:
    """The mechanisms in as many lines as they need."""
    lines: list[list[str]] = [[]]
    used = 0.0
    for name in findings.study.attention:
        width = label_width([name], frame) + 0.25
        if lines[-1] and used + width > frame.width - LEFT:
            lines, used = [*lines, []], 0.0
        lines[-1].append(name)
        used += width
    return lines


def _legend(figure: Figure, findings: Findings, lines: list[list[str]], frame: Frame, height: float) -> None:
    numbers, names = numbered(findings.study), short_names(findings.study.attention, frame)
    canvas = figure.add_axes((0, 0, 1, 1), frameon=False)
    canvas.set(xlim=(0, frame.width), ylim=(0, height), xticks=[], yticks=[])
    for row, line in enumerate(lines):
        x, y = LEFT, height - 0.12 - 0.24 * row
        for name in line:
            look = series(numbers[name])
            canvas.plot([x, x + 0.12, x + 0.24], [y] * 3, markevery=[1], markersize=5, linewidth=1.3, **look)
            canvas.text(x + 0.32, y, names[name], color=look["color"], fontweight="bold", va="center_baseline")
            x += label_width([name], frame) + 0.25
