"""`leanformer report DIR`: writes report.html, report.md, results.json and figures/ from the records in a directory."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from leanformer.files import new_file
from leanformer.records.reading import Record
from leanformer.reporting.analysis.comparison import find
from leanformer.reporting.comparison.contents import contents
from leanformer.reporting.comparison.results import results
from leanformer.reporting.records.record_files import read_record
from leanformer.reporting.records.study import read_study
from leanformer.reporting.render.document import Document
from leanformer.reporting.render.html import html
from leanformer.reporting.render.markdown import markdown
from leanformer.reporting.render.style import Picture
from leanformer.reporting.render.table_files import check_formats, csv_files, latex_files

RESULTS = "results.json"


def write_report(
    directory: Path | str,
    formats: Sequence[str] = (),
    *,
    baseline: str | None = None,
    aliases: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Write the report of a comparison, finished or not, or of one pre-training run; returns results.json's content.

    `formats`: also write the tables as files of their own, `latex` or `csv`, or the figures as `pdf`. Any other study
    has its report from its own verb, and only its results are written, as `csv`.
    `baseline`: the arm that all others are compared with, instead of the planned one; then every contrast is
    exploratory. `aliases`: arm -> its name in this report; the records keep theirs.
    Raises `ValueError` or `OSError` of one line for a record that cannot be read or makes no sense, and then writes
    nothing.
    """
    directory = Path(directory)
    check_formats(formats)
    compared = (directory / "comparison.json").is_file() and (directory / "runs").is_dir()
    if not compared and not (directory / "run.json").is_file() and (directory / RESULTS).is_file():
        # Of another study, or of a comparison without its runs, from which its results could not be made again.
        if baseline or aliases:
            raise ValueError(f"{directory} holds results without runs: leave out --baseline and --alias")
        return _tables_alone(directory, formats)
    findings = find(read_study(directory, baseline, aliases))
    found = results(findings)
    write_document(contents(findings), found, directory, formats)
    return found


def _tables_alone(directory: Path, formats: Sequence[str]) -> dict[str, Any]:
    """Write the results of a study that another verb reports as CSV."""
    found = read_record(directory / RESULTS, Record)
    if list(formats) != ["csv"]:
        kind = found.get("kind", "comparison")
        raise ValueError(
            f"{directory} holds the results of a study ({kind}) without its runs: give --format csv for its tables"
        )
    _write_files(directory, csv_files(found))
    return found


def write_document(document: Document, found: dict[str, Any], directory: Path, formats: Sequence[str] = ()) -> None:
    """Write report.html, report.md, results.json and figures/ to the directory, and what `formats` adds."""
    files: dict[str, str | bytes] = {
        "report.html": html(document),
        "report.md": markdown(document),
        RESULTS: json.dumps(found, indent=1, allow_nan=False) + "\n",
    }
    pictures = [block for section in document.sections for block in section.blocks if isinstance(block, Picture)]
    files |= {f"figures/{picture.name}.svg": picture.wide for picture in pictures}
    files |= {f"figures/{picture.name}.pdf": picture.pdf() for picture in pictures} if "pdf" in formats else {}
    files |= latex_files(document) if "latex" in formats else {}
    files |= csv_files(found) if "csv" in formats else {}
    _write_files(directory, files)


def _write_files(directory: Path, files: Mapping[str, str | bytes]) -> None:
    for name, content in files.items():
        (directory / name).parent.mkdir(exist_ok=True)
        with new_file(directory / name) as file:
            file.write_bytes(content.encode() if isinstance(content, str) else content)
