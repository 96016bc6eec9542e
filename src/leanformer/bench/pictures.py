"""The pictures of a record: ratios as dots with their range, and the cost per token over lengths or widths."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from leanformer.bench.tables import best_peer, growth
from leanformer.reporting.figures.frame import CHARACTER, Frame, label_width, paint, short_names
from leanformer.reporting.render.style import MUTED, PAPER, Picture, series, spaced

Record = dict[str, Any]


@dataclass(frozen=True)
class Dot:
    label: str
    spread: dict[str, float]
    expected: float | None
    """The value of the closed form."""
    number: int
    """The number of its colour."""


def pictures(record: Record) -> list[Picture]:
    if record["kind"] == "peers":
        return [_race(record)]
    if record["kind"] == "inference":
        return [_precisions(record)]
    rows = record["rows"]
    lengths, widths = {row["length"] for row in rows}, {row["width"] for row in rows}
    found = [_speed(record, kind) for kind in ("training", "inference")]
    return found + (
        [_cost(record, "length" if len(lengths) > 1 else "width")] if len(lengths) > 1 or len(widths) > 1 else []
    )


def _race(record: Record) -> Picture:
    candidates = record["candidates"]
    first, even = candidates[0]["name"], {"median": 1.0, "low": 1.0, "high": 1.0}
    dots, number = [], 0
    for candidate in candidates:
        number += not candidate["peer"]
        dots.append(
            Dot(candidate["name"], candidate["speed"].get(first, even), None, 0 if candidate["peer"] else number)
        )
    caption = (
        f"Tokens per second of pre-training, divided by those of {first} in the same round: median and range over the "
        f"rounds. Peers in grey; the fastest of them is {best_peer(record)}."
    )
    return paint("peers", f"Tokens per second, relative to {first}", caption, lambda frame: _dots(dots, frame))


def _precisions(record: Record) -> Picture:
    rows = [row for row in record["rows"] if row["precision"] != "fp32"]
    numbers = {name: i for i, name in enumerate(dict.fromkeys(row["precision"] for row in rows))}
    dots = [
        Dot(
            f"{row['attention']} {row['size']}, {row['length']:,} {row['precision']}",
            row["speed"],
            None,
            numbers[row["precision"]],
        )
        for row in rows
    ]
    caption = "Speed of inference relative to float32, in the same round: median and range over the rounds."
    return paint("precisions", "Speed of inference, relative to float32", caption, lambda frame: _dots(dots, frame))


def _speed(record: Record, kind: str) -> Picture:
    rows, numbers = record["rows"], _numbers(record)
    several = len({(row["size"], row["length"]) for row in rows}) > 1
    dots = []
    for row in rows:
        where = f" {row['size']}, {row['length']:,}" if several else ""
        label, spread = row["attention"] + where, row[kind]["speed"]
        dots.append(Dot(label, spread, row[kind]["speed_by_flops"], numbers[row["attention"]]))
    base = rows[0]["attention"]
    caption = (
        f"Speed of {kind} relative to {base} of the same size and length, in the same round: median and range over the "
        "rounds. Upright stroke: the ratio of the FLOPs."
    )
    return paint(kind, f"Speed of {kind}, relative to {base}", caption, lambda frame: _dots(dots, frame))


def _dots(dots: Sequence[Dot], frame: Frame) -> Figure:
    height = 0.85 + 0.26 * len(dots)
    figure = frame.figure(height)
    left = min(CHARACTER * max(len(dot.label) for dot in dots) + 0.3, 0.55 * frame.width)
    axes = figure.add_axes((left / frame.width, 0.5 / height, 1 - (left + 0.25) / frame.width, (height - 0.7) / height))
    axes.set_ylim(len(dots) - 0.5, -0.5)
    axes.axvline(1, color=MUTED, linewidth=1)
    for y, dot in enumerate(dots):
        look = series(dot.number)
        axes.plot([dot.spread["low"], dot.spread["high"]], [y, y], color=look["color"], linewidth=1.6)
        axes.plot(dot.spread["median"], y, look["marker"], color=look["color"], markersize=6, markeredgecolor=PAPER)
        if dot.expected is not None:
            axes.plot(dot.expected, y, "|", color=look["color"], markersize=11, markeredgewidth=1.2)
    axes.set_yticks(range(len(dots)), [dot.label for dot in dots])
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(min(0.0, axes.get_xlim()[0]) if axes.get_xlim()[1] > 2 else None)
    axes.grid(axis="x")
    axes.xaxis.set_major_locator(frame.ticks(frame.width - left - 0.25))
    axes.set_xlabel("times as fast")
    return figure


def _cost(record: Record, over: str) -> Picture:
    """Returns one panel per size over lengths, or one panel over widths."""
    rows, base = record["rows"], record["rows"][0]["attention"]
    panels = list(dict.fromkeys(row["size"] for row in rows)) if over == "length" else [""]
    where = f"{rows[0]['size']}, length {rows[0]['length']:,}"
    caption = (
        f"What a token costs in training, relative to {base} at {where}: time (line, marks) and FLOPs (dotted). "
        f"Logarithmic axes; the {over} grows to the right."
    )

    def draw(frame: Frame) -> Figure:
        height = 0.4 + 2.9 * len(panels)
        figure = frame.figure(height)
        every = list(_numbers(record))
        names, label = short_names(every, frame), label_width(every, frame)
        for i, panel in enumerate(panels):
            bottom = height - 2.9 * (i + 1) + 0.15
            axes = figure.add_axes((0.6 / frame.width, bottom / height, 1 - (0.6 + label) / frame.width, 2.25 / height))
            chosen = [row for row in rows if over == "width" or row["size"] == panel]
            _panel(axes, record, chosen, over, names)
            axes.set_title(f"Cost of a token{', size ' + panel if panel else ''}", x=0, pad=8)
        return figure

    return paint("cost", f"Cost of a token over the {over}", caption, draw)


def _panel(axes: Axes, record: Record, rows: list[Record], over: str, names: dict[str, str]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    numbers, ends = _numbers(record), {}
    for name in dict.fromkeys(row["attention"] for row in rows):
        own, look = [row for row in rows if row["attention"] == name], series(numbers[name])
        xs, pairs = [row[over] for row in own], [growth(record, row) for row in own]
        times, flops = zip(*pairs, strict=True)
        axes.plot(
            xs, times, marker=look["marker"], color=look["color"], linewidth=1.4, markersize=5, markeredgecolor=PAPER
        )
        axes.plot(xs, flops, color=look["color"], linewidth=1, linestyle=(0, (1, 1.5)))
        ends[name] = (times[-1], look["color"])
    ticks = sorted({row[over] for row in rows})
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FixedFormatter([f"{tick:,}" for tick in ticks]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter("{x:g}")
    axes.grid(axis="y")
    axes.set_xlabel(over)
    low, high = axes.transData.transform([[ticks[0], y] for y in axes.get_ylim()])[:, 1]
    wanted = [axes.transData.transform((ticks[-1], y))[1] for y, _ in ends.values()]
    gap = 1.35 * 9.0 * axes.figure.dpi / 72
    for (name, (_, colour)), place in zip(
        ends.items(), spaced(wanted, gap, low, max(high, low + gap * len(ends))), strict=True
    ):
        height = (place - low) / (high - low)
        axes.text(1.03, height, names[name], transform=axes.transAxes, color=colour, fontweight="bold", va="center")


def _numbers(record: Record) -> dict[str, int]:
    return {name: i for i, name in enumerate(dict.fromkeys(row["attention"] for row in record["rows"]))}
