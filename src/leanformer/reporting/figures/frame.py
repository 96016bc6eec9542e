"""The base of the pictures: widths, short names, labels that do not overlap, axes with the no-context baseline."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from matplotlib.transforms import blended_transform_factory

from leanformer.markup import visible
from leanformer.reporting.analysis.pairing import MATCHES
from leanformer.reporting.numbers.quantities import fixed, unit
from leanformer.reporting.records.study import Study
from leanformer.reporting.render.style import MUTED, NARROW, SIZE, WIDE, Picture, drawing, pdf, series, spaced, svg

CHARACTER = 0.075
"""Inches per character of a label, with room for a reader's sans-serif type that is wider than ours."""


@dataclass(frozen=True)
class Frame:
    """The width of a page or of a phone, in inches."""

    width: float

    @property
    def narrow(self) -> bool:
        return self.width < WIDE

    @property
    def longest(self) -> int:
        """The largest number of characters of a label."""
        return 18 if self.narrow else 31

    def ticks(self, inches: float) -> MaxNLocator:
        """Returns a locator with as many ticks as an axis of this length has room for."""
        return MaxNLocator(max(2, min(8, int(inches / 0.65))))

    def figure(self, height: float) -> Figure:
        return Figure(figsize=(self.width, height))


def paint(name: str, title: str, caption: str, draw: Callable[[Frame], Figure]) -> Picture:
    with drawing():
        wide, narrow = (svg(draw(Frame(width)), f"{name}-{width}") for width in (WIDE, NARROW))

    def for_paper() -> bytes:
        with drawing():
            return pdf(draw(Frame(WIDE)))

    return Picture(re.sub(r"\W+", "-", name), title, caption, wide, narrow, for_paper)


OWN = {
    name: number
    for number, name in enumerate(
        ("symmetric", "pairwise", "shared", "phased", "random", "dense", "random+dot_product"), start=1
    )
}
"""Mechanisms with the same colour in every report; other arms get the remaining colours."""


def numbered(study: Study) -> dict[str, int]:
    """Returns mechanism -> number of its colour and marker; the baseline's is 0."""
    others = [name for name in study.attention if name != study.baseline]
    fixed = {name: OWN[name] for name in others if name in OWN}
    free = (number for number in count(1) if number not in fixed.values())
    given = {name: fixed[name] if name in fixed else next(free) for name in others}
    return {study.baseline: 0, **given} if study.baseline else given


def short_names(names: Sequence[str], frame: Frame) -> dict[str, str]:
    """Returns labels that fit, with only the values of options: pairwise[coefficients_init=identity] becomes
    pairwise[identity]. An option that equals an arm in a quantity keeps its name: shared[flops=dot_product].
    """
    short: dict[str, str] = {}
    for name in names:
        label = visible(name)
        if len(label) > frame.longest:
            label = re.sub(rf"([\[,])(?!(?:{'|'.join(MATCHES)})=)[^=,\[\]]*=", r"\1", label)
        label = label if len(label) <= frame.longest else label[: frame.longest - 1] + "\N{HORIZONTAL ELLIPSIS}"
        while label in short.values():
            label += "'"
        short[name] = label
    return short


def label_width(names: Sequence[str], frame: Frame) -> float:
    """Returns the inches for the longest label, with its distance from the line that it names."""
    return CHARACTER * max(len(label) for label in short_names(names, frame).values()) + 0.3


def label_ends(axes: Axes, ends: Mapping[str, tuple[float, float]], study: Study, frame: Frame) -> None:
    """Write each name in its colour to the right of the axes, as near to its end point's height as the others allow."""
    names, numbers = short_names(study.attention, frame), numbered(study)
    low, high = axes.get_ylim()
    gap = line_height(axes)
    heights = [min(max(y, low), high) for _, y in ends.values()]
    places = spaced(heights, gap, low, max(high, low + gap * len(heights)))
    to_right = blended_transform_factory(axes.transAxes, axes.transData)
    right = axes.get_xlim()[1]
    axes.set_xlim(axes.get_xlim())
    for (name, (x, y)), place in zip(ends.items(), places, strict=True):
        colour = series(numbers[name])["color"]
        thin = {"color": colour, "linewidth": 0.6, "alpha": 0.5, "zorder": 0.5}
        axes.plot([x, right], [y, y], linestyle=(0, (2, 2)), **thin)
        axes.plot([1, 1.025], [y, place], transform=to_right, clip_on=False, **thin)
        axes.text(1.032, place, names[name], transform=to_right, color=colour, fontweight="bold", va="center")


def in_one_unit(axes: Axes) -> FuncFormatter:
    """Returns ticks such as 0.96 M, 1.00 M: every tick has the unit of the axis' end."""
    divisor, letter, _ = unit(axes.get_xlim()[1])

    def shown(value: float, _: int | None) -> str:
        return f"{round(value / divisor, 6):g} {letter}".rstrip() if value else "0"

    return FuncFormatter(shown)


def line_height(axes: Axes) -> float:
    """Returns the height of a line of type in the axes' data units (linear axis)."""
    low, high = axes.get_ylim()
    points = axes.figure.get_figheight() * 72 * axes.get_position().height  # type: ignore[union-attr]
    return 1.35 * SIZE * (high - low) / points


def loss_axes(
    figure: Figure, box: tuple[float, float, float, float], losses: Sequence[float], floor: float | None
) -> tuple[Axes, Axes]:
    """Returns axes for `losses` in the box (left, bottom, width, height, as fractions), with the no-context baseline.

    If the baseline `floor` is so far away that it would flatten everything else, it gets a strip of its own beyond a
    broken axis. The second axes returned are the lowest, which carry the horizontal labels.
    """
    left, bottom, width, height = box
    low, high = min(losses), max(losses)
    span = max(high - low, 1e-3 * abs(high))
    if floor is None or low - span / 2 <= floor <= high + span / 2:
        main = lower = figure.add_axes(box)
        if floor is not None:
            _draw_floor(main, floor)
            low, high = min(low, floor), max(high, floor)
    else:
        above = floor > high
        main = figure.add_axes((left, bottom if above else bottom + 0.16 * height, width, 0.84 * height))
        strip = figure.add_axes((left, bottom + 0.88 * height if above else bottom, width, 0.12 * height), sharex=main)
        strip.set_ylim(floor - 1, floor + 2.4)
        strip.set_yticks([floor], [f"{floor:.2f}"])
        _draw_floor(strip, floor)
        upper, lower = (strip, main) if above else (main, strip)
        upper.spines["bottom"].set_visible(False)
        upper.tick_params(bottom=False, labelbottom=False)
        for axes, y in ((upper, 0), (lower, 1)):
            slash: dict[str, Any] = {"marker": [(-1, -0.6), (1, 0.6)], "markersize": 8, "color": MUTED}
            axes.plot([0], [y], transform=axes.transAxes, clip_on=False, **slash)
    main.set_ylim(low - 0.12 * span, high + 0.15 * span)
    main.margins(x=0.08)
    return main, lower


def digits(span: float) -> int:
    """The number of decimals of the ticks on an axis of this length: 0.3 -> 2."""
    return max(1, 1 - math.floor(math.log10(span)))


def _draw_floor(axes: Axes, floor: float) -> None:
    axes.axhline(floor, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    axes.annotate(
        f"no-context baseline, {fixed(floor, 2)} nats",
        (0.012, floor),
        xycoords=("axes fraction", "data"),
        xytext=(0, 3),
        textcoords="offset points",
        color=MUTED,
        va="bottom",
    )
