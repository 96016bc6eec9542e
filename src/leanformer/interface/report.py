"""`leanformer.report`: writes the report of a run or a comparison from its records."""

import os
from collections.abc import Sequence
from pathlib import Path

from leanformer.reporting import write_report


def report(directory: str | os.PathLike[str], *, formats: str | Sequence[str] = ()) -> Path:
    """Write results.json, report.md and report.html into the directory; returns the path of report.html.

    `formats` is "latex", "csv" or both: they write the tables to the folder tables, too. Another study than a run or a
    comparison has only its tables written, and their folder is returned. PyTorch is not needed.
    """
    place = Path(directory)
    kind = write_report(place, [formats] if isinstance(formats, str) else formats).get("kind")
    return place / ("tables" if kind else "report.html")
