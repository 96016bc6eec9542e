"""Quality against parameters, before recovery and after it, one mark per target."""

from typing import Any

from matplotlib.figure import Figure

from experiments.real_models.quality import FULL
from leanformer.reporting.figures.frame import Frame, paint
from leanformer.reporting.render.style import MUTED, Picture, series

HEIGHT, LEFT, BOTTOM, TOP = 3.4, 0.72, 0.5, 0.35
"""Inches."""


def picture(found: dict[str, Any]) -> Picture:
    caption = (
        "Spearman correlation against millions of parameters of the encoder (left and up is better). Open mark: after "
        "conversion; filled mark: after recovery; dotted line: the original."
    )
    return paint("quality", "Quality against parameters", caption, lambda frame: _draw(found, frame))


def _draw(found: dict[str, Any], frame: Frame) -> Figure:
    figure = frame.figure(HEIGHT)
    width = 1 - (LEFT + 0.2) / frame.width
    axes = figure.add_axes((LEFT / frame.width, BOTTOM / HEIGHT, width, 1 - (BOTTOM + TOP) / HEIGHT))
    main, original = found["main"], found["original"]
    best = original["quality"][FULL][main]["spearman"]
    axes.axhline(best, color=MUTED, linewidth=0.8, linestyle=(0, (1, 2)))
    axes.plot(original["parameters"] / 1e6, best, "o", color=series(0)["color"], label="original", linestyle="none")
    for number, (name, row) in enumerate(found["targets"].items(), 1):
        look, x = series(number), row["start"]["parameters"] / 1e6
        ends = [row[when]["quality"][FULL][main]["spearman"] for when in ("start", "end") if when in row]
        axes.plot([x] * len(ends), ends, color=look["color"], linewidth=0.8)
        axes.plot(x, ends[0], look["marker"], color=look["color"], markerfacecolor="none", markersize=6)
        if ends[1:]:
            axes.plot(x, ends[1], look["marker"], color=look["color"], markersize=6, label=name, linestyle="none")
    axes.set_title("Spearman correlation", x=-0.5 / frame.width)
    axes.set_xlabel("millions of parameters")
    axes.legend(loc="lower right", frameon=False, ncols=1 if frame.narrow else 2)
    axes.grid(axis="y")
    return figure
