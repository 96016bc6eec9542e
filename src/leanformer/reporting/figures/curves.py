"""Validation loss over tokens, and below it the difference to the baseline, which shows how it changes in training."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from leanformer.markup import visible
from leanformer.reporting.analysis.comparison import Findings
from leanformer.reporting.figures.frame import Frame, digits, in_one_unit, label_ends, label_width, numbered, paint
from leanformer.reporting.numbers.quantities import fixed, signed
from leanformer.reporting.records.runs import Run
from leanformer.reporting.records.study import Study
from leanformer.reporting.render.style import INK, MUTED, Picture, series

Curves = dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]
"""Mechanism -> tokens (T,), values (runs, T)."""
POINTS = 400
"""The number of points of a line: one per two pixels of the picture."""


def picture(findings: Findings) -> Picture | None:
    study = findings.study
    losses = {name: grid for name in study.attention if (grid := on_one_grid([run.curve for run in study.at(name)]))}
    if not losses:
        return None
    differences = {name: grid for name, pairs in findings.pairs.items() if (grid := _differences(pairs.pairs))}
    several = len(study.seeds) > 1
    band = "Line: mean over seeds; band: least to greatest of them." if several else "One seed, so no band."
    caption = f"Validation loss {study.wording.validation}, in nats. {band} Losses above the picture are cut off."
    if differences:
        caption += (
            " Below: mechanism minus baseline within each seed (below zero: better than the baseline), which takes out "
            "what the seeds have in common; its first fifth may leave the picture."
        )
    title = "Validation loss over training tokens, by attention"
    return paint("curves", title, caption, lambda frame: _draw(study, losses, differences, frame))


def on_one_grid(curves: Sequence[Sequence[tuple[float, float]]]) -> tuple[NDArray, NDArray] | None:
    """Returns (T,) tokens and (runs, T) losses, T <= POINTS.

    Runs that were validated at other tokens, or more often than can be seen, are interpolated to those of the first.
    """
    arrays = [np.array(curve, dtype=float) for curve in curves if len(curve) > 1]
    if not arrays:
        return None
    start, end = max(a[0, 0] for a in arrays), min(a[-1, 0] for a in arrays)
    tokens = arrays[0][:, 0]
    tokens = tokens[(tokens >= start) & (tokens <= end)]
    if len(tokens) > POINTS:
        tokens = tokens[np.linspace(0, len(tokens) - 1, POINTS).round().astype(int)]
    return (tokens, np.stack([np.interp(tokens, a[:, 0], a[:, 1]) for a in arrays])) if len(tokens) > 1 else None


def _differences(pairs: Sequence[tuple[Run, Run]]) -> tuple[NDArray, NDArray] | None:
    able = [(run.curve, other.curve) for run, other in pairs if len(run.curve) > 1 and len(other.curve) > 1]
    both = on_one_grid([curve for pair in able for curve in pair])
    return (both[0], both[1][0::2] - both[1][1::2]) if both else None


def _draw(study: Study, losses: Curves, differences: Curves, frame: Frame) -> Figure:
    upper, lower = max(3.1, 0.18 * len(losses)), max(1.25, 0.18 * (1 + len(differences))) if differences else 0.0
    bottom, between, top = 0.55, 0.5 if differences else 0.0, 0.3
    height = bottom + lower + between + upper + top
    figure = frame.figure(height)
    low, high = _range(differences, 0.2) if differences else (0.0, 1.0)
    places = digits(high - low)
    left, right = max(0.62, 0.32 + 0.1 * places) / frame.width, 1 - label_width(list(losses), frame) / frame.width
    end = max(tokens[-1] for tokens, _ in losses.values())

    axes = figure.add_axes((left, (bottom + lower + between) / height, right - left, upper / height))
    axes.set_title("Validation loss (nats)", pad=9, x=-0.45 / (frame.width * (right - left)))
    axes.set_xlim(0, end)
    _limit(axes, study, losses)
    _plot(axes, study, losses)
    _lines(axes, study)
    label_ends(
        axes, {name: (tokens[-1], values[:, -1].mean()) for name, (tokens, values) in losses.items()}, study, frame
    )
    last = axes
    if differences:
        last = figure.add_axes((left, bottom / height, right - left, lower / height), sharex=axes)
        last.set_title(
            f"Difference to {visible(study.baseline or '')} (nats)", pad=9, x=-0.45 / (frame.width * (right - left))
        )
        last.set_ylim(low, high)
        last.grid(axis="y")
        last.axhline(0, color=series(0)["color"], linewidth=1)
        _plot(last, study, differences)
        ends = {name: (tokens[-1], values[:, -1].mean()) for name, (tokens, values) in differences.items()}
        label_ends(last, ends, study, frame)
        last.yaxis.set_major_locator(MaxNLocator(4))
        last.yaxis.set_major_formatter(FuncFormatter(lambda y, _: signed(y, places)))
        axes.tick_params(labelbottom=False)
    last.set_xlabel("training tokens")
    last.xaxis.set_major_locator(frame.ticks((right - left) * frame.width))
    last.xaxis.set_major_formatter(in_one_unit(last))
    return figure


def _plot(axes: Axes, study: Study, curves: Curves) -> None:
    numbers = numbered(study)
    for name, (tokens, values) in curves.items():
        look = series(numbers[name])
        if len(values) > 1:
            axes.fill_between(tokens, values.min(0), values.max(0), color=look["color"], alpha=0.18, linewidth=0)
        axes.plot(tokens, values.mean(0), color=look["color"], linestyle=look["linestyle"], linewidth=1.6)


def _limit(axes: Axes, study: Study, losses: Curves) -> None:
    low, high = _range(losses, 0.05)
    marks = [mark for mark in (study.curve_floor, study.curve_unigram) if mark is not None]
    if marks:
        late = [values[:, values.shape[1] // 2 :].max() for _, values in losses.values()]
        low, high = min(low, *marks), max(*marks, *late)
        low, high = low - 0.08 * (high - low), high + 0.1 * (high - low)
    axes.set_ylim(low, high)
    axes.grid(axis="y")


def _range(curves: Curves, skip: float) -> tuple[float, float]:
    """Returns the range of the values after the fraction `skip` of the tokens; signed values include zero."""
    parts = [values[:, tokens >= skip * tokens[-1]] for tokens, values in curves.values()]
    low, high = min(float(p.min()) for p in parts), max(float(p.max()) for p in parts)
    low, high = (min(low, 0.0), max(high, 0.0)) if low < 0 or skip > 0.1 else (low, high)
    air = 0.08 * max(high - low, 1e-6)
    return low - air, high + air


def _lines(axes: Axes, study: Study) -> None:
    """Draw the no-context baseline and the unigram entropy, with names below and above that never overlap."""
    for mark, name, dashes, side in (
        (study.curve_floor, "no-context baseline", (0, (4, 3)), "top"),
        (study.curve_unigram, "unigram entropy", (0, (1, 2)), "bottom"),
    ):
        if mark is None:
            continue
        axes.axhline(mark, color=MUTED, linewidth=1, linestyle=dashes, zorder=1)
        axes.annotate(
            f"{name} {fixed(mark, 2)}",
            (0.995, mark),
            xycoords=("axes fraction", "data"),
            xytext=(0, -2.5 if side == "top" else 2.5),
            textcoords="offset points",
            color=INK if name.startswith("context") else MUTED,
            ha="right",
            va=side,
        )
