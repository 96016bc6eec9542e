"""`leanformer.report`: writes the report of a run or a comparison from its records."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from leanformer.reporting.write import write_report


def report(
    directory: str | os.PathLike[str],
    *,
    formats: str | Sequence[str] = (),
    baseline: str | None = None,
    aliases: Mapping[str, str] | None = None,
) -> Path:
    """Write results.json, report.md and report.html into the directory; returns the path of report.html.

    `formats` are of "latex", "csv" and "pdf": they write the tables to the folder tables, and the figures as PDF, too.
    `baseline` is the arm that all others are compared with instead of the planned one, and `aliases` name arms in this
    report: arm -> short name. Another study than a run or a comparison has only its tables written, and their folder is
    returned. PyTorch is not needed.
    """
    place = Path(directory)
    listed = [formats] if isinstance(formats, str) else formats
    kind = write_report(place, listed, baseline=baseline, aliases=aliases).get("kind")
    return place / ("tables" if kind else "report.html")
