"""Settings under their old names: every committed record says what it said."""

import json
from pathlib import Path

import pytest

from leanformer.records.reading import Record, read
from leanformer.records.renamed import SETTINGS
from leanformer.settings import settings_from

RESULTS = Path(__file__).parents[2] / "docs" / "results"
RECORDS = [*RESULTS.rglob("run.json"), *RESULTS.rglob("comparison.json")]
ADJECTIVES = {"position_tables": "table", "tied_projections": "tied", "phases": "phase", "muon": "muon"}


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: str(path.relative_to(RESULTS)))
def test_committed_records_are_read_under_the_new_names(path, capsys):
    old = json.loads(path.read_text())["settings"]["training"]
    training = settings_from({"training": read(path, Record, "")["settings"]["training"]}).training
    defaults = {name: renamed.default for name, renamed in SETTINGS.items()}
    for group, word in ADJECTIVES.items():
        before = old.get(f"{word}_rate", defaults[f"training.{word}_rate"])
        assert training.lr_multipliers.get(group, defaults[f"training.{word}_rate"]) == before
    for key in old.keys() & {"batch_size", "learning_rate", "optimizer", "seed", "schedule"}:
        assert getattr(training, key) == old[key]
    assert not capsys.readouterr().err
