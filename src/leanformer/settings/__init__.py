"""Settings from TOML files and `--set`, checked and frozen."""

from leanformer.settings.distillation import DistillationSettings
from leanformer.settings.finetuning import FinetuningSettings
from leanformer.settings.training import (
    BUDGETS,
    Settings,
    TrainingSettings,
    overridden,
    parse_override,
    read_settings,
    read_tables,
    settings_from,
)

__all__ = [
    "BUDGETS",
    "DistillationSettings",
    "FinetuningSettings",
    "Settings",
    "TrainingSettings",
    "overridden",
    "parse_override",
    "read_settings",
    "read_tables",
    "settings_from",
]
