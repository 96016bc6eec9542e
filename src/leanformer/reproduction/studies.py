"""The studies of a paper at a scale: a TOML file each, settings like those of any comparison under a [study] table.

    kind         comparison (pre-training, and tasks), robustness (of the models of the study `of`) or speed
    attention    mechanisms, as of `leanformer compare --attention`, controls among them
    seeds        of a comparison
    text         options of `leanformer prepare` for the text, the shipped novels unless another is given
    needs        the text that must be given, where the novels would not do
    pairs        the generation task whose pairs are read from --task-data, and options of `leanformer prepare`
    tasks        what is fine-tuned on, from --task-data, `task_seeds` times
    serves       the names of other studies, in the paper's tables, that this one stands for

The remaining keys are options of `leanformer robustness` or `leanformer bench mechanisms`.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from leanformer.reproduction.published import FOLDER
from leanformer.settings import Settings, overridden, settings_from
from leanformer.spelling import suggest

SCALES = ("cpu-minutes", "cpu-hours", "gpu-minutes", "paper")
Kind = Literal["comparison", "robustness", "speed"]


@dataclass(frozen=True)
class Planned:
    """A study to be made; `options` are those of its kind."""

    name: str
    kind: Kind
    settings: Settings
    options: dict[str, Any]
    text: dict[str, Any]
    pairs: dict[str, Any] | None
    needs: str | None
    serves: list[str]

    @property
    def needs_tasks(self) -> bool:
        """Whether nothing of it can be made without --task-data."""
        return self.pairs is not None or self.kind == "robustness" or bool(self.options.get("tasks"))


def read_studies(paper: str, scale: str, overrides: tuple[str, ...] = ()) -> list[Planned]:
    """Returns the studies in the order in which they are made: what others rest on first."""
    if scale not in SCALES:
        raise ValueError(f"--scale {scale}: {suggest(scale, SCALES)}")
    folder = FOLDER / paper / scale
    found = [read_study(file, overrides) for file in sorted(folder.glob("*.toml"))]
    if not found:
        raise ValueError(f"--scale {scale}: {paper} has no studies at this scale")
    return sorted(found, key=lambda study: "of" in study.options)


def read_study(file: Path, overrides: tuple[str, ...] = ()) -> Planned:
    tables = tomllib.loads(file.read_text(encoding="utf-8"))
    study = tables.pop("study")
    settings = settings_from(overridden(tables, overrides))
    return Planned(
        file.stem,
        study.pop("kind"),
        settings,
        text=study.pop("text", {}),
        pairs=study.pop("pairs", None),
        needs=study.pop("needs", None),
        serves=study.pop("serves", []),
        options=study,
    )
