"""The scores of every run on every task; a cross marks collapsed runs."""

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from leanformer.markup import visible
from leanformer.reporting.analysis.comparison import Findings
from leanformer.reporting.figures.frame import Frame, label_width, numbered, paint, short_names
from leanformer.reporting.records.study import Study
from leanformer.reporting.render.style import INK, LINE, Picture, series


def picture(findings: Findings) -> Picture | None:
    study = findings.study
    tasks = [task for task in study.tasks if any(_scores(study, name, task) for name in study.attention)]
    if not tasks:
        return None
    caption = (
        f"Score x 100 {study.wording.scored} (right is better; every task has its own scale). Each mark is one "
        f"{study.wording.task}, the bar their mean; a cross is a collapsed run, kept in the mean."
    )
    return paint("finetuning", f"{study.wording.section} scores", caption, lambda frame: _draw(study, tasks, frame))


def _scores(study: Study, name: str, task: str) -> list[tuple[float, bool]]:
    tunings = [t for run in study.at(name) for t in run.finetunings if t.task == task]
    return [(100 * t.score, t.collapsed) for t in tunings if t.score is not None]


def _draw(study: Study, tasks: list[str], frame: Frame) -> Figure:
    columns = 1 if frame.narrow else 2 if len(tasks) in (2, 4) else min(3, len(tasks))
    rows = math.ceil(len(tasks) / columns)
    panel, title, ticks = 0.24 * len(study.attention) + 0.1, 0.32, 0.42
    height = rows * (panel + title + ticks)
    figure = frame.figure(height)
    before, gap = label_width(study.attention, frame), 0.35
    width = (frame.width - before - 0.2 - gap * (columns - 1)) / columns
    for i, task in enumerate(tasks):
        row, column = divmod(i, columns)
        bottom = height - (row + 1) * (panel + title + ticks) + ticks
        left = before + column * (width + gap)
        axes = figure.add_axes((left / frame.width, bottom / height, width / frame.width, panel / height))
        _panel(axes, study, task, short_names(study.attention, frame) if column == 0 else {})
    return figure


def _panel(axes: Axes, study: Study, task: str, names: dict[str, str]) -> None:
    numbers = numbered(study)
    axes.set_title(visible(task))
    axes.set_ylim(len(study.attention) - 0.5, -0.5)
    for y, name in enumerate(study.attention):
        look, scores = series(numbers[name]), _scores(study, name, task)
        axes.axhline(y, color=LINE, linewidth=0.6, zorder=0)
        sound = [value for value, collapsed in scores if not collapsed]
        failed = [value for value, collapsed in scores if collapsed]
        axes.plot(sound, [y] * len(sound), look["marker"], markersize=4, color=look["color"], alpha=0.6, clip_on=False)
        axes.plot(
            failed, [y] * len(failed), "x", markersize=5.5, markeredgewidth=1.6, color=look["color"], clip_on=False
        )
        if scores:
            mean = sum(value for value, _ in scores) / len(scores)
            axes.plot([mean, mean], [y - 0.33, y + 0.33], color=INK, linewidth=1.8, solid_capstyle="butt")
    axes.margins(x=0.08)
    axes.spines["left"].set_visible(False)
    axes.set_yticks(range(len(study.attention)), [names.get(name, "") for name in study.attention])
    axes.tick_params(left=False)
    for label, name in zip(axes.get_yticklabels(), study.attention, strict=True):
        label.set(color=series(numbers[name])["color"], fontweight="bold")
    axes.xaxis.set_major_locator(MaxNLocator(4, min_n_ticks=2))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{round(x, 6):g}"))
