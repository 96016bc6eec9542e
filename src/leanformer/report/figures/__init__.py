"""The pictures of a report, drawn from its findings; each twice, for a page and for a phone.

Every picture of final losses holds the no-context baseline as a line.
"""

from leanformer.report.analysis.comparison import Findings
from leanformer.report.figures import curves, differences, finetuning, parameters, pareto, sweep, targets
from leanformer.report.render.style import Picture


def figures(findings: Findings) -> dict[str, Picture]:
    """By name, and only those that the study has data for."""
    modules = (curves, parameters, pareto, differences, targets, finetuning, sweep)
    drawn = [module.picture(findings) for module in modules]
    return {picture.name: picture for picture in drawn if picture is not None}
