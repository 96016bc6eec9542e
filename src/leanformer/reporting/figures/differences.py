"""The paired differences in final loss: every seed, the mean and its 95 % interval."""

from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from matplotlib.transforms import blended_transform_factory

from leanformer.reporting.analysis.comparison import LOSS, Comparison, Findings
from leanformer.reporting.figures.frame import Frame, digits, label_width, numbered, paint, short_names
from leanformer.reporting.numbers.margins import margin_of
from leanformer.reporting.numbers.quantities import p_value, signed
from leanformer.reporting.records.study import Study
from leanformer.reporting.render.style import MUTED, PAPER, Picture, series


def picture(findings: Findings) -> Picture | None:
    study = findings.study
    family = [c for c in findings.of(LOSS) if c.values]
    if not family:
        return None
    caption = (
        f"Final loss minus that of {study.baseline} with the same seed. Small: single seeds; large: their "
        "mean with its 95 % interval (not corrected for the number of mechanisms; the verdicts are). Shaded: within "
        f"the margin of {margin_of(study.plan):g} nats. p is that of the "
        "verdict, which is the p of equivalence where the verdict is equivalent."
    )
    return paint("differences", "Paired differences in final loss", caption, lambda frame: _draw(study, family, frame))


def _draw(study: Study, family: list[Comparison], frame: Frame) -> Figure:
    row = 0.62 if frame.narrow else 0.46
    height = 0.95 + row * len(family)
    figure = frame.figure(height)
    names = short_names(study.attention, frame)
    before = 0.2 if frame.narrow else label_width([c.attention for c in family], frame)
    after = 0.2 if frame.narrow else 2.5
    left, width = before / frame.width, (frame.width - before - after) / frame.width
    axes = figure.add_axes((left, 0.55 / height, width, row * len(family) / height))
    axes.set_ylim(len(family) - 0.5, -0.5)
    aside = blended_transform_factory(axes.transAxes, axes.transData)
    shift = 0.12 if frame.narrow else 0.0
    for y, c in enumerate(family):
        look, d = series(numbered(study)[c.attention]), c.difference
        axes.axhline(y + 0.5, color=MUTED, linewidth=0.3)
        seeds = [ours - theirs for ours, theirs in c.values]
        axes.plot(seeds, [y + shift + 0.22] * len(seeds), "|", markersize=5, color=look["color"], alpha=0.8)
        if d.ci95:
            axes.plot(d.ci95, [y + shift] * 2, color=look["color"], linewidth=1.8, solid_capstyle="butt")
        if d.mean is not None:
            large = {"color": look["color"], "markersize": 7.5, "markeredgecolor": PAPER}
            axes.plot(d.mean, y + shift, look["marker"], **large)
        p = d.p_equivalence_holm if c.verdict == "equivalent" else d.p_value_holm
        said = c.verdict if p is None else f"{c.verdict}, Holm p {p_value(p)}"
        name: dict[str, Any] = {"color": look["color"], "fontweight": "bold", "transform": aside, "va": "center"}
        if frame.narrow:
            cover = {"facecolor": PAPER, "edgecolor": "none", "pad": 1.5}
            axes.text(0, y - 0.27, names[c.attention], bbox=cover, **name)
            axes.text(1, y - 0.27, said, transform=aside, ha="right", va="center")
        else:
            axes.text(-0.015, y, names[c.attention], ha="right", **name)
            axes.text(1.02, y, said, transform=aside, va="center")
    axes.axvline(0, color=series(0)["color"], linewidth=1)
    margin = margin_of(study.plan)
    axes.axvspan(-margin, margin, color=MUTED, alpha=0.12, linewidth=0, zorder=0)
    axes.margins(x=0.06)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, -0.15 * (high - low)), max(high, 0.15 * (high - low)))
    low, high = axes.get_xlim()
    zero = -low / (high - low)
    place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "color": MUTED}
    axes.annotate("\N{LEFTWARDS ARROW} better", (zero, 1), xytext=(-4, 5), ha="right", **place)
    axes.annotate("worse \N{RIGHTWARDS ARROW}", (zero, 1), xytext=(4, 5), ha="left", **place)
    axes.set_xlabel(f"final loss minus {names[study.baseline or '']}'s (nats)")
    axes.xaxis.set_major_locator(frame.ticks(width * frame.width))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: signed(x, digits(high - low))))
    return figure
