"""The paper's curves above our own: losses over the share of the budget, for what a plateau and a lead look like."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from leanformer.reporting.figures.curves import on_one_grid
from leanformer.reporting.figures.frame import Frame, label_ends, label_width, numbered, paint
from leanformer.reporting.numbers.quantities import scaled
from leanformer.reporting.records.study import Study
from leanformer.reporting.render.style import Picture, series
from leanformer.reproduction.published import Curves

Lines = dict[str, tuple[np.ndarray, np.ndarray]]
"""Mechanism -> share of the budget (T,), losses (runs, T)."""


def picture(curves: Curves, study: Study) -> Picture | None:
    ours = _ours(curves, study)
    if not ours:
        return None
    end = curves.steps[-1]
    theirs = {
        name: (np.array(curves.steps) / end, np.array([losses]))
        for name, losses in curves.losses.items()
        if name in ours
    }
    steps = max((run.steps or 0 for name in ours for run in study.at(name)), default=0)
    titles = (f"Published: {curves.title}, {scaled(end, 1)} steps", f"Measured here: {scaled(steps)} steps")
    caption = (
        "Validation loss in nats over the share of the budget. Line: mean over seeds, one seed where there is no band; "
        "band: least to greatest of them. The two panels differ in model, text and budget: compare shapes, not losses."
    )
    return paint(
        "curves", "Published and measured curves", caption, lambda frame: _draw(study, theirs, ours, titles, frame)
    )


def _ours(curves: Curves, study: Study) -> Lines:
    lines = {}
    for name in curves.losses:
        grid = on_one_grid([run.curve for run in study.at(name)]) if name in study.attention else None
        if grid is not None:
            lines[name] = grid[0] / grid[0][-1], grid[1]
    return lines


def _draw(study: Study, theirs: Lines, ours: Lines, titles: tuple[str, str], frame: Frame) -> Figure:
    panel, title, bottom = 2.6, 0.65, 0.5
    height = 2 * (panel + title) + bottom
    figure = frame.figure(height)
    left, right = 0.62 / frame.width, 1 - label_width(list(ours), frame) / frame.width
    for place, (name, lines) in enumerate(zip(titles, (theirs, ours), strict=True)):
        low = bottom + (1 - place) * (panel + title)
        axes = figure.add_axes((left, low / height, right - left, panel / height))
        axes.set_title(f"{name}, loss (nats)", pad=9, x=-0.45 / (frame.width * (right - left)))
        _plot(axes, study, lines, frame)
    axes.set_xlabel("share of the budget")
    return figure


def _plot(axes: Axes, study: Study, lines: Lines, frame: Frame) -> None:
    numbers = numbered(study)
    values = np.concatenate([losses[:, losses.shape[1] // 20 :].ravel() for _, losses in lines.values()])
    air = 0.08 * (values.max() - values.min())
    axes.set_ylim(values.min() - air, values.max() + air)
    axes.set_xlim(0, 1)
    axes.grid(axis="y")
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    for name, (share, losses) in lines.items():
        look = series(numbers[name])
        if len(losses) > 1:
            axes.fill_between(share, losses.min(0), losses.max(0), color=look["color"], alpha=0.18, linewidth=0)
        axes.plot(share, losses.mean(0), color=look["color"], linestyle=look["linestyle"], linewidth=1.6)
    label_ends(axes, {name: (share[-1], losses[:, -1].mean()) for name, (share, losses) in lines.items()}, study, frame)
