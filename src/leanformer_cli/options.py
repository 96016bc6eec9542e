"""Options that several verbs have, what their texts mean, and how a result is shown."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors and the result.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="TABLE.KEY=VALUE", help="Override a setting; may be repeated.")
]
Config = Annotated[Path | None, typer.Argument(metavar="[CONFIG.toml]", help="Settings; see `docs/settings.md`.")]
Data = Annotated[Path, typer.Option("--data", metavar="DATA", help="A directory made by `leanformer prepare`.")]
Plugin = Annotated[
    Path | None, typer.Option("--plugin", metavar="FILE.py", help="A Python file that registers mechanisms or tasks.")
]
Device = Annotated[str, typer.Option(help="auto (a GPU if there is one), cpu or cuda.")]
Compile = Annotated[bool, typer.Option("--compile", help="torch.compile every contestant.")]
Threads = Annotated[int | None, typer.Option(help="CPU threads; default: all cores.")]
Results = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="Write results.json, report.md and pictures there.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def load(plugin: Path | None) -> None:
    if plugin is not None:
        from leanformer.attention import load_plugin

        load_plugin(plugin)


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


def show(result: dict[str, Any], as_json: bool, quiet: bool) -> None:
    if as_json:
        print(json.dumps(result, indent=2))
    elif not quiet:
        for key, value in result.items():
            if isinstance(value, str | int | float):
                print(
                    f"{key.replace('_', ' ')}: {value:.6g}"
                    if isinstance(value, float)
                    else f"{key.replace('_', ' ')}: {value}"
                )
