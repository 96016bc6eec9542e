"""The pictures of a report, drawn from its findings, each in two widths: for a page and for a phone.

Every picture of final losses shows the no-context baseline as a line.
"""

from leanformer.reporting.analysis.comparison import Findings
from leanformer.reporting.figures import curves, differences, finetuning, parameters, pareto, sweep, targets
from leanformer.reporting.render.style import Picture


def figures(findings: Findings) -> dict[str, Picture]:
    """Returns the pictures by name, only those for which the study has data."""
    modules = (curves, parameters, pareto, differences, targets, finetuning, sweep)
    drawn = [module.picture(findings) for module in modules]
    return {picture.name: picture for picture in drawn if picture is not None}
