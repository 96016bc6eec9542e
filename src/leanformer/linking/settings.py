"""Settings of `leanformer link`: a TOML file's table [linking], then `--set linking.key=value`, checked and frozen.

A sub-table named after a kind of encoder, [linking.rescnn] or [linking.transformer], overrides how that kind is
trained; what is asked of all of them cannot differ.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from leanformer.settings import overridden, read_tables
from leanformer.settings.table import Table
from leanformer.spelling import suggest

KINDS = ("rescnn", "transformer")
PROTOCOL = ("composites", "missing", "join", "train_on")
OBJECTIVES: dict[str, dict[str, Any]] = {
    "rescnn": {"epochs": 100.0, "learning_rate": 1e-3, "weight_decay": 0.0},
    "transformer": {"epochs": 10.0, "learning_rate": 5e-5},
}
"""Where the kinds differ, unless they are told otherwise; the residual CNN's are its paper's."""


@dataclass(frozen=True, kw_only=True)
class LinkingSettings(Table):
    """What is asked, and how an encoder is trained to answer."""

    composites: Literal["any", "each", "skip"] = "any"
    """A mention of several parts or several concepts is right if every part finds any of them; if besides each concept
    is found by a part; or it is left out."""
    missing: Literal["refuse", "wrong", "skip"] = "refuse"
    """A mention of which no concept is in the dictionary: an error, always wrong, or left out."""
    join: bool = True
    """The mentions of training join the dictionary's names."""
    train_on: Literal["earlier", "train"] = "earlier"
    """All splits before the scored one, or the training split alone."""

    epochs: float = 10.0
    """0: as it is."""
    batch_size: int = 256
    """Mentions; as many names join them."""
    max_length: int = 25
    """Tokens of a name."""
    learning_rate: float = 5e-5
    weight_decay: float = 0.01
    warmup: float = 0.1
    clip_norm: float | None = 1.0
    pooling: Literal["mean", "cls"] = "mean"
    """Of a transformer's states."""
    alpha: float = 2.0
    beta: float = 50.0
    base: float = 0.5
    epsilon: float = 0.2
    """Of the multi-similarity loss."""
    width: int = 256
    """Of the residual CNN's own word-piece embeddings, where no model lends it any."""
    vocab_size: int = 4096
    """Of its own word pieces, at most."""
    checkpoint_every: int = 200
    """Steps between checkpoints."""
    precision: Literal["auto", "bf16", "fp32"] = "fp32"
    threads: int | None = None

    def __post_init__(self) -> None:
        for key in ("max_length", "learning_rate", "alpha", "beta", "width", "vocab_size"):
            self._require(key, getattr(self, key) > 0, "must be positive")
        for key in ("clip_norm", "threads"):
            self._require(key, getattr(self, key) is None or getattr(self, key) > 0, "must be positive")
        for key in ("epochs", "weight_decay", "epsilon", "checkpoint_every"):
            self._require(key, getattr(self, key) >= 0, "must not be negative")
        self._require("batch_size", self.batch_size > 1, "must be at least 2: one mention has nothing to differ from")
        self._require("warmup", 0 <= self.warmup <= 1, "is a fraction of the budget, from 0 to 1")


@dataclass(frozen=True, kw_only=True)
class Linking:
    """What all encoders share, and what is said of single kinds."""

    given: dict[str, Any] = field(default_factory=dict)
    kinds: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _ = self.protocol
        for kind, values in self.kinds.items():
            if kind not in KINDS:
                raise ValueError(f"unknown table [linking.{kind}]: {suggest(kind, KINDS)}")
            for key in values:
                if key in PROTOCOL:
                    raise ValueError(f"linking.{kind}.{key}: all encoders are asked the same; set linking.{key}")
            _ = self.of(kind)

    @property
    def protocol(self) -> LinkingSettings:
        return LinkingSettings.of(self.given)

    @property
    def untrained(self) -> LinkingSettings:
        """Returns the settings of an encoder that learns nothing: what is asked, and no more."""
        return LinkingSettings.of({key: self.given[key] for key in (*PROTOCOL, "threads") if key in self.given})

    def of(self, kind: str) -> LinkingSettings:
        return LinkingSettings.of(OBJECTIVES[kind] | self.given | self.kinds.get(kind, {}))


def read_linking(path: Path | None = None, overrides: Iterable[str] = ()) -> Linking:
    """The file at `path`, if any, then the overrides in order."""
    tables = overridden({} if path is None else read_tables(Path(path)), overrides)
    for name in tables:
        if name != "linking":
            raise ValueError(f"unknown table of settings [{name}]: {suggest(name, ['linking'])}")
    table = tables.get("linking", {})
    if not isinstance(table, dict):
        raise ValueError("setting linking must be a table, such as [linking] in TOML or --set linking.key=value")
    kinds = {key: dict(value) for key, value in table.items() if isinstance(value, dict)}
    return Linking(given={key: value for key, value in table.items() if key not in kinds}, kinds=kinds)
