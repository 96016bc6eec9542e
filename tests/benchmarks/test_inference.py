"""The benchmark of sentence encoders: every candidate computes the same vectors, and the record says how fast."""

import pytest

pytest.importorskip("sentence_transformers")
from sentence_transformers.sentence_transformer import modules

from benchmarks import inference

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
TEXTS = ["The old house by the river", "years " * 11, "nobody", "we went home again . , by the river"]
EXACT = ["leanformer torch fp32", "leanformer onnx fp32", "sentence-transformers file", "pipeline", "pipeline 32"]


def test_candidates_compute_the_same_and_the_record_has_every_round(sentence_model, capsys, monkeypatch):
    def missing(*_: object) -> None:
        raise ModuleNotFoundError("No module named 'fastembed'")

    monkeypatch.setattr(inference, "fastembed", missing)
    source = sentence_model(modules.Pooling(30, "mean"), modules.Normalize(), max_length=13)
    record = inference.compare(source, TEXTS, 2, [*EXACT, "fastembed"], 1)
    assert record["left_out"] == {"fastembed": "ModuleNotFoundError: No module named 'fastembed'"}
    assert set(record["candidates"]) == {"sentence-transformers", *EXACT}
    for name, row in record["candidates"].items():
        assert len(row["seconds"]) == len(row["process_seconds"]) == 2
        assert row["largest_difference"] < 1e-5 and row["smallest_cosine"] > 1 - 1e-5, name
        assert row["speed_to_reference"]["low"] <= row["speed_to_reference"]["median"]
    reference = record["candidates"]["sentence-transformers"]
    assert reference["speed_to_reference"] == {"median": 1.0, "low": 1.0, "high": 1.0}
    assert record["tokens"]["largest"] == 13
    assert len(inference.table(record).splitlines()) == 2 + len(record["candidates"])
