"""The provenance of a pre-training run: its record before the first step, and the check before it is continued."""

from collections.abc import Container, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from leanformer import files
from leanformer.data.corpus import Prepared
from leanformer.models.config import LeanformerConfig
from leanformer.models.cost import ledger
from leanformer.records.difference import Difference, difference
from leanformer.settings import DistillationSettings, TrainingSettings
from leanformer.training.machine.hardware import autocast_dtype, describe
from leanformer.training.objectives.protocol import PretrainingObjective
from leanformer.training.optimizers.parameter_groups import changed_multipliers
from leanformer.training.run.record import versions
from leanformer.training.run.saved_model import SavedModel

PLAN = ("max_steps", "max_tokens", "warmup")
"""Settings that change when a run is extended."""
DEFAULTS = {
    f"{table.title()}.{key}": value
    for table in (TrainingSettings, DistillationSettings)
    for key, value in asdict(table()).items()
}
"""The values of settings that an older record lacks."""
FREE = (
    *("checkpoint_every", "keep_checkpoints", "keep_every", "log_with", "threads"),
    *("sharding", "activation_checkpointing"),
)
"""Settings that may change when a run is resumed. Its curve does not depend on them, except for rounding (threads,
sharding)."""


def new_record(
    training: TrainingSettings,
    config: LeanformerConfig,
    corpus: Prepared,
    objective: PretrainingObjective,
    accelerator: Accelerator,
    plugin: str | Path | None,
    start: SavedModel | None = None,
) -> dict[str, Any]:
    """Returns run.json of a run before its first step; `floor` is added later, since it reads all tokens."""
    device, known = accelerator.device, experiment(training, config, corpus, plugin)
    return {
        "kind": "pretrain",
        "status": "running",
        "attention": config.attention,
        "attention_options": config.attention_options,
        "seed": training.seed,
        "settings": known["settings"],
        "start": start and start.record,
        "plugin": known["plugin"],
        "versions": versions(),
        "hardware": describe(device, accelerator.num_processes, autocast_dtype(training.precision, device)),
        "ledger": ledger(config, training.sequence_length, objective.scored, training.objective),
        "data": known["data"] | {"vocab_size": corpus.vocab_size, **objective.data},
        "floor": None,
        "results": None,
    }


def experiment(
    training: TrainingSettings, config: LeanformerConfig, corpus: Prepared, plugin: str | Path | None
) -> dict[str, Any]:
    """Returns the part of a run's record that is available before anything is loaded: settings, plug-in and data."""
    model = {name: getattr(config, name) for name in LeanformerConfig.__annotations__}
    return {
        "settings": {"model": model, "training": asdict(training)},
        "plugin": plugin and {"path": str(Path(plugin).resolve()), "sha256": files.sha256(Path(plugin))},
        "data": {"path": str(corpus.path.resolve()), "hash": corpus.hash, "tokenizer_hash": corpus.tokenizer_hash},
    }


def run_difference(before: Mapping[str, Any], now: Mapping[str, Any], free: Container[str] = ()) -> Difference | None:
    """Returns the first setting or hash, except the `free` ones, in which a run and its continuation differ.

    A learning-rate multiplier that is its group's default anyway makes no difference, nor does a default that the
    version of leanformer before did not have as a setting.
    """
    old, new = identity(before), identity(now)
    old = {key: value for key, value in DEFAULTS.items() if key in new} | old
    for named in (old, new):
        named["training.lr_multipliers"] = changed_multipliers(named.get("training.lr_multipliers") or {})
    return difference(old, dict(sorted(new.items())), free)


def plan_at(record: Mapping[str, Any], step: int) -> dict[str, Any]:
    """Returns the settings of a checkpoint of this step that are no longer the run's, since it was extended later."""
    first = next((entry for entry in record.get("extended", []) if step <= entry["from_step"]), None)
    return {} if first is None else {f"training.{key}": first[key] for key in PLAN}


def identity(record: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values on which the curve of a run depends, by name."""
    named = {
        f"{table}.{key}": value
        for table, keys in (record.get("settings") or {}).items()
        if isinstance(keys, Mapping)
        for key, value in keys.items()
        if key not in FREE
    }
    named |= {f"data.{key}": (record.get("data") or {}).get(key) for key in ("hash", "tokenizer_hash")}
    for what in ("plugin", "start", "teacher"):
        named[f"{what}.sha256"] = (record.get(what) or {}).get("sha256")
    return named


def continued(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Returns the record of the resumed run: new hardware or packages are noted, and the precision stays."""
    now["hardware"]["precision"] = before["hardware"]["precision"]
    where = {"versions": now["versions"], "hardware": now["hardware"]}
    legs = before.get("resumed", [])
    last = legs[-1] if legs else {key: before[key] for key in where}
    before = {key: value for key, value in before.items() if key != "error"}
    return before | {"status": "running", "resumed": legs if last == where else [*legs, where]}


def moved(record: Mapping[str, Any]) -> bool:
    """Whether parts of the run were trained on different hardware."""
    return any(leg["hardware"] != record["hardware"] for leg in record.get("resumed", []))
