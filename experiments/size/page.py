"""The page of a study of sizes: gaps, their slopes and predictions, the laws, one picture."""

from experiments.size.figure import picture
from experiments.size.findings import BERT_BASE, Findings, verdict
from leanformer.reporting.figures.frame import numbered
from leanformer.reporting.numbers.quantities import NONE, fixed, listed, scaled, signed
from leanformer.reporting.numbers.statistics import Interval, Spread, spread
from leanformer.reporting.render.document import Block, Document, Paragraph, Section, Table


def document(findings: Findings) -> Document:
    sizes = findings.sizes
    widths = sorted({point.size for point in sizes.points})
    facts = [
        ("Sizes", listed([scaled(size) for size in widths])),
        ("Tokens", listed([scaled(number) for number in sizes.tokens])),
        ("Scored on", sizes.part),
    ]
    sections = [
        Section("The gap over size", [picture(findings), _gaps(findings)]),
        Section("Does it grow?", [_slopes(findings), Paragraph(PREDICTION)]),
        Section("Loss over size and tokens", _laws(findings)),
    ]
    return Document("The gap over size", headline(findings), facts, sections, numbered(sizes.study))


PREDICTION = (
    "Size counts the parameters of the layers, without embeddings and head. The column of "
    f"{scaled(BERT_BASE)}, the layers of BERT-base, is a prediction by a straight line in the logarithm of the size: "
    "no model of that size was trained, and the interval is of the seeds alone, not of the line."
)


def headline(findings: Findings) -> str:
    """The verdicts at the largest number of tokens."""
    last = findings.sizes.tokens[-1]
    said = [f"{arm}: {verdict(line.slope)}" for (arm, number), line in findings.lines.items() if number == last]
    return (
        f"Gap to {findings.sizes.baseline} over size at {scaled(last)} tokens: {listed(said) if said else 'no pairs'}."
    )


def _gaps(findings: Findings) -> Table:
    sizes = findings.sizes
    rows = []
    for point in sizes.points:
        for arm in sizes.arms:
            gap = spread(list(point.gaps[arm].values()))
            rows.append([scaled(point.score_at), scaled(point.size), arm, str(gap.n), _nats(gap)])
    caption = f"Loss minus that of {sizes.baseline} in nats, paired by seed, mean [95 % t interval over seeds]."
    return Table(["Tokens", "Size", "Attention", "Seeds", "Gap [95 % CI]"], rows, "rrlrr", caption)


def _slopes(findings: Findings) -> Table:
    rows = [
        [scaled(number), arm, str(line.slope.n), _nats(line.slope), verdict(line.slope), _nats(line.at(BERT_BASE))]
        for (arm, number), line in sorted(findings.lines.items(), key=lambda each: each[0][1])
    ]
    caption = (
        "Least squares of the gap on the logarithm of the size, one line per seed. Slope: nats for ten times the size. "
        "The gap grows (the arm falls behind, or its lead shrinks) where the interval lies above zero."
    )
    header = [
        "Tokens",
        "Attention",
        "Seeds",
        "Slope [95 % CI]",
        "The gap",
        f"Predicted at {scaled(BERT_BASE)} [95 % CI]",
    ]
    return Table(header, rows, "rlrrlr", caption)


def _laws(findings: Findings) -> list[Block]:
    rows = []
    for arm, law in findings.laws.items():
        shown = [_number(law.values[name], law.intervals[name]) for name in ("E", "a", "b")]
        rows.append([arm, *shown, fixed(law.residual, 4), law.problem or "identified"])
    caption = (
        "L(N, D) = E + A N^-a + B D^-b, least squares on means over seeds; N: parameters of the arm's layers, D: "
        "tokens. In brackets: the central 95 % of all resamples of the seeds. Residual: root mean square in nats. "
        "Where the last column names a problem, the points do not determine the numbers, and they must not be used."
    )
    header = ["Attention", "E (nats)", "a", "b", "Residual", "The fit"]
    return [Table(header, rows, "lrrrrw", caption)] if rows else []


def _nats(of: Spread) -> str:
    if of.mean is None:
        return NONE
    between = "" if of.ci95 is None else f" [{signed(of.ci95[0], 3)}, {signed(of.ci95[1], 3)}]"
    return signed(of.mean, 3) + between


def _number(value: float, interval: Interval) -> str:
    return f"{fixed(value, 3)} [{fixed(interval[0], 3)}, {fixed(interval[1], 3)}]"
