"""Does the gap between attention mechanisms grow with size? Comparisons of several sizes become one page.

    python -m experiments size DIR DIR ... --out OUT [--part test]

Each DIR is a comparison (`leanformer compare`) of one size, trained with training.score_at. OUT gets report.md,
report.html, results.json and figures/. `--part` names the held-out text; the default is the test part.
"""

import argparse
from pathlib import Path

from experiments.size.findings import find, results
from experiments.size.page import document
from experiments.size.records import read
from leanformer.reporting.write import write_document


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m experiments size", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directories", type=Path, nargs="+", metavar="DIR")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--part", default="test")
    options = parser.parse_args(arguments)
    findings = find(read(options.directories, options.part))
    options.out.mkdir(parents=True, exist_ok=True)
    write_document(document(findings), results(findings), options.out)
    print(f"report: {options.out / 'report.md'}")
    return 0
