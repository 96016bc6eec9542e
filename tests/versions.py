"""The tests at both ends of what pyproject.toml allows, recorded in docs/install.md (make test-versions).

    python tests/versions.py [--bounds lowest,newest] [--pythons 3.11,3.13] [--keep] [pytest's arguments: no record]

An environment for each bound and Python is made by uv in build/versions, some 5 GB each where PyTorch's build is for
CUDA, and removed afterwards. The lowest versions are those that the bounds of pyproject.toml name, all at once; of what
these need in turn, the newest. An interpreter that uv does not find is left out, and said so.
"""

import argparse
import os
import platform
import shutil
import subprocess
import sys
import xml.etree.ElementTree as xml
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "install.md"
MARK = "<!-- versions -->\n"
RESOLUTIONS = {"lowest": "lowest-direct", "newest": "highest"}
SHOWN = (
    "torch",
    "transformers",
    "tokenizers",
    "datasets",
    "accelerate",
    "numpy",
    "scipy",
    "scikit-learn",
    "matplotlib",
)
HEAD = ("bounds", "Python", "of these", "passed", "failed", "skipped")
WHEELS = ("--only-binary", ":all:", "--no-binary", "rouge-score")  # which has none


def uv(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "uv", *map(str, arguments)], cwd=ROOT, check=True)


def environment(bounds: str, version: str) -> Path:
    """Its Python, with leanformer and the extra `test`."""
    home = ROOT / "build" / "versions" / f"{bounds}-{version}"
    python, needed = home / "bin" / "python", home / "requirements.txt"
    uv("venv", "--quiet", "--clear", "--python", version, home)
    resolution = ("--resolution", RESOLUTIONS[bounds], "--python", python)
    uv("pip", "compile", "--quiet", *resolution, *WHEELS, "--extra", "test", "pyproject.toml", "-o", needed)
    uv("pip", "install", "--quiet", "--python", python, *WHEELS, "--no-deps", "-r", needed)
    uv("pip", "install", "--quiet", "--python", python, "--no-deps", "-e", ".")
    return python


def outcome(python: Path, arguments: list[str]) -> tuple[str, ...]:
    """(Python, versions, passed, failed, skipped)"""
    report = python.parents[1] / "report.xml"
    command = [str(python), "-m", "pytest", "-p", "no:cacheprovider", f"--junit-xml={report}", *arguments]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"})
    suite = next(xml.parse(report).iter("testsuite"))
    total, failed, errors, skipped = (int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped"))
    code = f"import platform, importlib.metadata as m; print(platform.python_version(), *map(m.version, {SHOWN}))"
    there, *versions = subprocess.check_output([python, "-c", code], text=True).split()
    told = ", ".join(f"{name} {version}" for name, version in zip(SHOWN, versions, strict=True))
    return there, told, str(total - failed - errors - skipped), str(failed + errors), str(skipped)


def record(bounds: str, row: tuple[str, ...], page: str) -> str:
    """The page with this row in its table, in place of that of the same bounds and Python."""
    before, _, table = page.partition(MARK)
    rows = [
        tuple(cell.strip() for cell in line.strip("| ").split("|"))
        for line in table.strip().splitlines()
        if line.startswith("|")
    ][2:]
    rows = sorted([*(one for one in rows if one[:2] != (bounds, row[0])), (bounds, *row)])
    lines = [f"| {' | '.join(cells)} |" for cells in (HEAD, ("---",) * 3 + ("---:",) * 3, *rows)]
    return before + MARK + "\n" + "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bounds", default="lowest,newest")
    parser.add_argument("--pythons", default=".".join(platform.python_version_tuple()[:2]))
    parser.add_argument("--keep", action="store_true", help="leave the environments")
    known, arguments = parser.parse_known_args()
    failed = 0
    for version in known.pythons.split(","):
        found = subprocess.run([sys.executable, "-m", "uv", "python", "find", version], capture_output=True, text=True)
        if found.returncode:
            print(f"Python {version}: there is none here, left out")
            continue
        for bounds in known.bounds.split(","):
            python = environment(bounds, version)
            row = outcome(python, arguments or ["-m", "not peer and not slow and not cluster", "-n", "2"])
            if not arguments:  # some of the tests are no record
                PAGE.write_text(record(bounds, row, PAGE.read_text(encoding="utf-8")), encoding="utf-8")
            failed += int(row[3])
            print(f"{bounds}, Python {row[0]}: {row[2]} passed, {row[3]} failed, {row[4]} skipped", flush=True)
            if not known.keep:
                shutil.rmtree(python.parents[1])
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
