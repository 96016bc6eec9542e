"""The gap against size: one panel per number of tokens, one line with its band per arm, up to BERT-base's size."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from experiments.size.findings import BERT_BASE, Findings
from leanformer.reporting.figures.frame import Frame, label_ends, label_width, numbered, paint
from leanformer.reporting.numbers.quantities import scaled, signed
from leanformer.reporting.numbers.statistics import spread
from leanformer.reporting.render.style import MUTED, Picture, series

PANEL, TITLE, BOTTOM, TOP = 1.9, 0.42, 0.5, 0.12
"""Inches."""


def picture(findings: Findings) -> Picture:
    caption = (
        f"Loss minus that of {findings.sizes.baseline} in nats, over the parameters of the layers (logarithmic scale). "
        "Mark: mean over seeds; line and band: mean of the seeds' lines with its 95 % t interval. Right of the dotted "
        f"line there is no measurement: the lines are continued to {scaled(BERT_BASE)}, the layers of BERT-base. A "
        "very wide band leaves the picture."
    )
    return paint("gap", "The gap over size", caption, lambda frame: _draw(findings, frame))


def _draw(findings: Findings, frame: Frame) -> Figure:
    sizes, study = findings.sizes, findings.sizes.study
    numbers = sizes.tokens
    height = BOTTOM + TOP + len(numbers) * (PANEL + TITLE)
    figure = frame.figure(height)
    left, right = 0.72 / frame.width, 1 - label_width(sizes.arms or [sizes.baseline], frame) / frame.width
    largest = max(point.size for point in sizes.points)
    grid = np.geomspace(min(point.size for point in sizes.points), BERT_BASE, 60)
    for place, number in enumerate(numbers):
        low = BOTTOM + (len(numbers) - 1 - place) * (PANEL + TITLE)
        axes = figure.add_axes((left, low / height, right - left, PANEL / height))
        axes.set_title(f"Gap to {sizes.baseline} at {scaled(number)} tokens (nats)", x=-0.5 / frame.width)
        axes.set_xscale("log")
        axes.axhline(0, color=series(0)["color"], linewidth=1)
        axes.axvline(largest, color=MUTED, linewidth=0.8, linestyle=(0, (1, 2)))
        ends, heights = {}, [0.0]
        for arm in sizes.arms:
            look = series(numbered(study)[arm])
            marks = [(p.size, float(np.mean(list(p.gaps[arm].values())))) for p in sizes.at(number)]
            axes.plot(*zip(*marks, strict=True), look["marker"], color=look["color"], markersize=5)
            heights += [gap for _, gap in marks]
            if (line := findings.lines.get((arm, number))) is None:
                continue
            along = [line.at(size) for size in grid]
            means = [of.mean or 0.0 for of in along]
            axes.plot(grid, means, color=look["color"], linestyle=look["linestyle"], linewidth=1.4)
            if bands := [(size, *of.ci95) for size, of in zip(grid, along, strict=True) if of.ci95]:
                axes.fill_between(*zip(*bands, strict=True), color=look["color"], alpha=0.12, linewidth=0)
            ends[arm] = (BERT_BASE, means[-1])
            heights.append(means[-1])
        of = spread(heights)
        assert of.least is not None and of.greatest is not None
        room = max(of.greatest - of.least, 0.01)
        axes.set_ylim(of.least - room / 2, of.greatest + room / 2)
        axes.set_xlim(grid[0] * 0.9, BERT_BASE * 1.05)
        label_ends(axes, ends, study, frame)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: signed(y, 2)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: scaled(x, 1)))
        axes.tick_params(labelbottom=place == len(numbers) - 1)
        axes.grid(axis="y")
    axes.set_xlabel("parameters of the layers")
    return figure
