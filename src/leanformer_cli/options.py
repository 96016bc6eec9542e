"""Options of several verbs, the parsing of their values, and the printing of a result."""

import json
import re
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer


def model_there(path: Path | None) -> Path | None:
    """Raises the error of a misspelt model before PyTorch is imported, which takes seconds; a callback of typer."""
    if path is not None and not path.exists():
        raise FileNotFoundError(
            f"{path} is neither a run directory nor a model saved by save_pretrained: check the path"
        )
    return path


def data_there(path: Path) -> Path:
    """The same of a data directory."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such data directory; make one with: leanformer prepare TEXT --out DATA")
    return path


def file_there(path: Path | None) -> Path | None:
    """The same of a file."""
    if path is not None and not path.exists():
        raise FileNotFoundError(f"{path}: no such file: check the path")
    return path


Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors and the result.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="TABLE.KEY=VALUE", help="Override a setting; may be repeated.")
]
Config = Annotated[
    Path | None,
    typer.Argument(metavar="[CONFIG.toml]", callback=file_there, help="A settings file; see `docs/settings.md`."),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="CONFIG.toml", callback=file_there, help="A settings file; see `docs/settings.md`."
    ),
]
Model = Annotated[Path, typer.Argument(metavar="MODEL", callback=model_there, help="A run, or a saved model.")]
Texts = Annotated[
    list[str],
    typer.Argument(
        metavar="TEXT...",
        help="Files with one text per line, or .jsonl, .json, .csv, .tsv, .parquet (.xz, .gz, .bz2), hf:NAME, or - for "
        "standard input.",
    ),
]
MaxLength = Annotated[int | None, typer.Option(help="Most tokens of a text; default: the model's length.")]
Recipe = Annotated[
    str | None, typer.Option("--recipe", metavar="NAME", help="A recipe in place of CONFIG.toml: `leanformer recipes`.")
]
Hours = Annotated[float | None, typer.Option("--hours", help="Plan each run for so many hours on this machine.")]
Minutes = Annotated[float | None, typer.Option("--minutes", help="The same in minutes.")]
Tokens = Annotated[int | None, typer.Option("--tokens", help="Plan each run for so many tokens.")]
Data = Annotated[
    Path,
    typer.Option("--data", metavar="DATA", callback=data_there, help="A directory made by `leanformer prepare`."),
]
RunOut = Annotated[Path, typer.Option("--out", metavar="RUN", help="The run directory to create or resume.")]
Resume = Annotated[bool, typer.Option("--resume", help="Resume the run or comparison in --out.")]
AutoResume = Annotated[
    bool, typer.Option("--autoresume", help="Resume the run in --out, or start one if there is none.")
]
Executor = Annotated[
    str, typer.Option("--executor", help="Where the runs go: local (this machine), slurm or ray; see docs/cluster.md.")
]
Jobs = Annotated[
    int | None,
    typer.Option(
        help="Runs at the same time on one machine; default: one per GPU, or per CPU core without one. On a cluster: "
        "in one allocation of Slurm, or per GPU of Ray."
    ),
]
Parallel = Annotated[
    int | None, typer.Option("--parallel", metavar="N", help="Allocations or tasks of a cluster at the same time.")
]
Slurm = Annotated[
    list[str] | None,
    typer.Option(
        "--slurm",
        metavar="KEY=VALUE",
        help="An option of sbatch, such as partition=gpu or time=4:00:00, or a TOML file of them; may be repeated.",
    ),
]
ShardOf = Annotated[
    str | None,
    typer.Option("--shard", metavar="I/N", help="Only every N-th run from the I-th on; N commands share a directory."),
]
Plugin = Annotated[
    Path | None,
    typer.Option(
        "--plugin", metavar="FILE.py", help="A Python file that registers mechanisms, mixers, blocks or tasks."
    ),
]
Device = Annotated[str, typer.Option(help="Device: auto (a GPU if there is one), cpu or cuda.")]
Compile = Annotated[bool, typer.Option("--compile", help="Compile every candidate with torch.compile.")]
Threads = Annotated[int | None, typer.Option(help="Number of CPU threads; default: all cores.")]
Backend = Annotated[
    str, typer.Option(help="torch, onnx (ONNX Runtime, whose graph is kept beside the model) or auto (onnx for int8).")
]
Precision = Annotated[
    str, typer.Option(help="fp32, bf16 (torch, where the hardware multiplies it natively) or int8 (approximate).")
]
Results = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="Directory for results.json, report.md and pictures.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def load(plugin: Path | None) -> None:
    if plugin is not None:
        from leanformer.attention import load_plugin

        load_plugin(plugin)


def settings_of(config: Path | None, overrides: list[str] | None) -> Any:
    from leanformer.settings import read_settings

    return read_settings(config, overrides or ())


def tables_of(config: Path | None, overrides: list[str] | None, recipe: str | None = None) -> dict[str, Any] | None:
    """Returns the tables of a settings file and of --set, None without both."""
    from leanformer.settings import overridden, read_tables

    if recipe is not None and config is not None:
        raise ValueError(f"--recipe {recipe} and {config} are both settings: leave one of them out")
    if config is None and not overrides:
        return None
    return overridden({} if config is None else read_tables(config), overrides or ())


def repeated() -> str:
    """Returns the command line that repeats this one from nothing: without the options that go on with a directory."""
    return shlex.join(["leanformer", *(each for each in sys.argv[1:] if each not in ("--resume", "--autoresume"))])


def floats(text: str | None, option: str) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"{option} {text!r}: write numbers separated by commas, for example 3e-4,1e-3") from None


def words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def whole(text: str, option: str) -> list[int]:
    try:
        return [int(word) for word in words(text)]
    except ValueError:
        raise ValueError(f"{option} {text!r}: write whole numbers separated by commas, for example 128,512") from None


MOST_SEEDS = 500
"""The largest count; a larger number is taken for the number of one seed, given where a count is read."""


def seeds_of(text: str | None, option: str, first: int = 1) -> list[int] | None:
    """ "3" -> three seeds from `first` on; "11-13" or "1,4,7-9" -> these numbers."""
    if text is None:
        return None
    parts = [re.fullmatch(r"(\d+)(?:-(\d+))?", word) for word in words(text)]
    if not parts or None in parts:
        raise ValueError(f"{option} {text!r}: write how many, or which: 3, 11-25 or 1,4,7-9")
    if len(parts) == 1 and parts[0] and parts[0][2] is None:
        if int(text) > MOST_SEEDS:
            raise ValueError(f"{option} {text}: that is {text} seeds; write {text}-{text} for the seed {text} alone")
        numbers = list(range(first, first + int(text)))
    else:
        numbers = [n for part in parts if part for n in range(int(part[1]), int(part[2] or part[1]) + 1)]
    if not numbers or len(set(numbers)) < len(numbers):
        raise ValueError(
            f"{option} {text!r}: {'a seed stands there twice' if numbers else 'no seed'}; give at least one"
        )
    return numbers


def show(result: dict[str, Any], as_json: bool, quiet: bool) -> None:
    """Print numbers and words, one per line, and lists of rows as tables; or everything as JSON."""
    if as_json:
        print(json.dumps(result, indent=2))
    elif not quiet:
        for key, value in result.items():
            if isinstance(value, str | int | float):
                print(f"{key.replace('_', ' ')}: {_cell(value, 6)}")
            elif isinstance(value, list) and value and isinstance(value[0], dict):
                _table(value)


def int8_cost(cost: dict[str, Any]) -> str:
    """Returns in one line how far the outputs of an 8-bit graph are from those of the float32 one."""
    asked = "random tokens" if cost["input"] == "random" else "text"
    mean, largest, sd = (f"{cost[name]:.2g}" for name in ("mean_difference", "largest_difference", "sd_of_outputs"))
    return f"outputs on {asked} differ by {mean} in the mean and {largest} at most, their sd is {sd}"


def _table(rows: list[dict[str, Any]]) -> None:
    keys = dict.fromkeys(key for row in rows for key in row)  # a note is in the rows that need one
    titles = [key for key in keys if any(isinstance(row.get(key), str | int | float) for row in rows)]
    table = [[key.replace("_", " ") for key in titles], *([_cell(row.get(key), 4) for key in titles] for row in rows)]
    widths = [max(len(line[i]) for line in table) for i in range(len(titles))]
    left = [any(isinstance(row.get(key), str) for row in rows) for key in titles]
    print()
    for line in table:
        cells = zip(line, widths, left, strict=True)
        print("  ".join(cell.ljust(width) if words else cell.rjust(width) for cell, width, words in cells).rstrip())


def _cell(value: Any, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}g}" if isinstance(value, float) else str(value)
