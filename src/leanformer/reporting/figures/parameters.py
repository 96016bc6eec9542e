"""Parameters against final loss, which shows the cost of each saving; `pareto.py` draws it for many arms."""

from matplotlib.figure import Figure

from leanformer.reporting.analysis.comparison import Findings
from leanformer.reporting.figures.frame import Frame, in_one_unit, label_ends, label_width, loss_axes, numbered, paint
from leanformer.reporting.figures.pareto import MANY
from leanformer.reporting.records.study import Study
from leanformer.reporting.render.style import PAPER, Picture, series


def picture(findings: Findings) -> Picture | None:
    study = findings.study
    names = [
        name
        for name in study.attention
        if study.spread(name, "parameters").mean is not None and study.spread(name, "final_loss").mean is not None
    ]
    if not 2 <= len(names) < MANY:
        return None
    caption = (
        "Final loss against parameters (left and down is better). Large: mean over seeds, bar: ± 1 standard "
        "deviation; small: single seeds. Bars hold what the seeds have in common, so bars that overlap do not make a "
        "paired difference chance: the next picture shows those."
    )
    title = "Parameters against final loss"
    return paint("parameters", title, caption, lambda frame: _draw(study, names, frame))


def _draw(study: Study, names: list[str], frame: Frame) -> Figure:
    height = max(3.9, 1.2 + 0.17 * len(names))
    figure = frame.figure(height)
    left, right = 0.62 / frame.width, 1 - label_width(names, frame) / frame.width
    spreads = {name: study.spread(name, "final_loss") for name in names}
    reach = [value for spread in spreads.values() if spread.mean is not None for value in _reach(spread)]
    axes, lowest = loss_axes(figure, (left, 0.55 / height, right - left, (height - 0.9) / height), reach, study.floor)
    ends = {}
    for name in names:
        spread, look = spreads[name], series(numbered(study)[name])
        x = study.spread(name, "parameters").mean
        assert x is not None and spread.mean is not None
        single = [run.final_loss for run in study.at(name) if run.final_loss is not None]
        axes.plot([x] * len(single), single, look["marker"], color=look["color"], markersize=2.5, alpha=0.55)
        large = {"color": look["color"], "marker": look["marker"], "markersize": 7, "markeredgecolor": PAPER}
        axes.errorbar(x, spread.mean, spread.sd, capsize=3, zorder=3, **large)
        ends[name] = (x, spread.mean)
    figure.text(0.15 / frame.width, 1 - 0.18 / height, "Final loss (nats)", fontweight="bold", va="center")
    lowest.set_xlabel("parameters")
    axes.xaxis.set_major_locator(frame.ticks((right - left) * frame.width))
    axes.xaxis.set_major_formatter(in_one_unit(axes))
    label_ends(axes, ends, study, frame)
    return figure


def _reach(of) -> list[float]:
    return [of.least, of.greatest, of.mean - (of.sd or 0), of.mean + (of.sd or 0)]
