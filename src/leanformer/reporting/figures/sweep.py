"""The final loss over the learning rates of the sweep."""

from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from leanformer.reporting.analysis.comparison import Findings
from leanformer.reporting.figures.frame import Frame, label_ends, label_width, loss_axes, numbered, paint
from leanformer.reporting.records.study import Study
from leanformer.reporting.render.style import PAPER, Picture, series

NUDGE = 1.03
"""The factor by which mechanisms are shifted at a rate, so that their bars do not hide each other."""


def picture(findings: Findings) -> Picture | None:
    study = findings.study
    if not study.swept or not any(rate.loss.n for rates in study.sweep.values() for rate in rates):
        return None
    caption = (
        "Final validation loss at every learning rate tried (logarithmic scale; mechanisms drawn a little apart). "
        f"Mark: mean, bar: least to greatest of the {'tuning seeds' if study.tuned else 'seeds'}; filled: the rate at "
        "which the mechanism is compared."
    )
    return paint("sweep", "Learning-rate sweep", caption, lambda frame: _draw(study, frame))


def _draw(study: Study, frame: Frame) -> Figure:
    height = max(3.6, 1.2 + 0.17 * len(study.attention))
    figure = frame.figure(height)
    names = [name for name in study.attention if any(rate.loss.n for rate in study.sweep[name])]
    left, right = 0.62 / frame.width, 1 - label_width(names, frame) / frame.width
    values = [v for name in names for r in study.sweep[name] for v in (r.loss.least, r.loss.greatest) if v is not None]
    axes, lowest = loss_axes(figure, (left, 0.55 / height, right - left, (height - 0.9) / height), values, study.floor)
    axes.set_xscale("log")
    ends, tried = {}, set()
    for place, name in enumerate(names):
        look, rates = series(numbered(study)[name]), [r for r in study.sweep[name] if r.loss.mean is not None]
        nudge = NUDGE ** (place - (len(names) - 1) / 2)
        xs = [(rate.learning_rate or 1.0) * nudge for rate in rates]
        means = [rate.loss.mean or 0.0 for rate in rates]
        tried |= {rate.learning_rate or 1.0 for rate in rates}
        axes.plot(xs, means, color=look["color"], linewidth=1.1)
        for x, rate, mean in zip(xs, rates, means, strict=True):
            axes.plot([x, x], [min(rate.losses), max(rate.losses)], color=look["color"], linewidth=1.1)
            face = look["color"] if rate.chosen else PAPER
            axes.plot(x, mean, look["marker"], markersize=6.5, color=look["color"], markerfacecolor=face)
        ends[name] = (xs[-1], means[-1])
    axes.xaxis.set_major_locator(FixedLocator(sorted(tried)))
    axes.xaxis.set_major_formatter(FixedFormatter([f"{rate:g}" for rate in sorted(tried)]))
    axes.xaxis.set_minor_locator(NullLocator())
    figure.text(0.15 / frame.width, 1 - 0.18 / height, "Final validation loss (nats)", fontweight="bold", va="center")
    lowest.set_xlabel("learning rate")
    label_ends(axes, ends, study, frame)
    return figure
