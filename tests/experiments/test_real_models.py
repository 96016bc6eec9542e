"""The study of real models on a record of our own: what its page says, and what its plan may hold."""

from pathlib import Path
from typing import Any

import pytest

from experiments.real_models.command import main
from experiments.real_models.page import document
from experiments.real_models.plan import read
from leanformer.files import write_json
from leanformer.reporting.render.markdown import markdown

PLAN = Path(__file__).parents[2] / "docs/results/real-models/plan.toml"


def measured(spearman: float, parameters: int = 20_000_000, qkv: int = 2_000_000) -> dict[str, Any]:
    scores = {"spearman": spearman, "mrr@10": 0.9, "recall@1": 0.8}
    less = {"spearman": spearman - 0.01, "mrr@10": 0.9, "recall@1": 0.8}
    quality = {"fp32": {"stsb": scores}, "int8": {"stsb": less}}
    return {"parameters": parameters, "attention_qkv": qkv, "layers": 6, "quality": quality}


def target(start: float, end: float | None, aims: tuple[float | None, float | None]) -> dict[str, Any]:
    row: dict[str, Any] = {"aims": list(aims), "start": measured(start, 19_000_000, 1_500_000)}
    if end is not None:
        row |= {"end": measured(end, 19_000_000, 1_500_000), "recovery": {"seconds": 90.0}}
    return row


@pytest.fixture
def found() -> dict[str, Any]:
    targets = {
        "good": target(0.7, 0.86, (None, 0.85)),
        "bad": target(0.6, 0.7, (0.65, 0.8)),
        "open": target(0.5, None, (0.4, 0.9)),
    }
    speed = {"median": 1.5, "low": 1.25, "high": 1.75}
    return {
        "schema": 1,
        "kind": "real-models",
        "main": "stsb",
        "pairs": {"stsb": 1500},
        "hardware": {"device": "cpu", "cpu": "a processor"},
        "original": measured(0.8671) | {"name": "the model"},
        "targets": targets,
        "speed": [{"model": "good", "form": "onnx", "speed": speed, "per_second": 12.4}],
        "bytes": {"good": {"fp32": 80_000_000, "model.onnx": 90_500_000}},
    }


def test_the_page_says_what_the_record_holds(found: dict[str, Any]) -> None:
    page = markdown(document(found))
    assert (
        "The original reaches 0.8671. Aims after conversion are reached by open. Aims after conversion are missed by "
        in page
    )
    assert "missed by bad. Aims after recovery are reached by good. Aims after recovery are missed by bad." in page
    assert "| good | 19.0 M | 25 % | 0.7000 | — | 0.8600 | 0.850 | 2 min |" in page
    assert "| open | 19.0 M | 25 % | 0.5000 | 0.400 | — | 0.900 | — |" in page
    assert "| bad, recovered | 0.7000 | — | -0.0100 |" in page
    assert "| good | onnx | 90.5 MB | 1.50 (1.25 to 1.75) | 12 |" in page


def test_the_report_is_made_from_the_record_alone(found: dict[str, Any], tmp_path: Path) -> None:
    write_json(tmp_path / "real-models.json", found)
    assert main(["--out", str(tmp_path), "--report"]) == 0
    assert (tmp_path / "report.html").is_file() and (tmp_path / "figures/quality.svg").is_file()


def test_the_plan_of_the_study_is_readable(tmp_path: Path) -> None:
    plan = read(PLAN)
    assert len({each.name for each in plan.target}) == len(plan.target)
    assert plan.settings(plan.target[0])["distillation"]["method"] == "vectors"
    (tmp_path / "plan.toml").write_text(PLAN.read_text() + "\naims = 3\n")
    with pytest.raises(TypeError, match="aims"):
        read(tmp_path / "plan.toml")


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--plan, --texts and --pairs are needed"):
        main(["MODEL", "--out", str(tmp_path)])
    how = ["MODEL", "--plan", str(PLAN), "--texts", "t", "--out", str(tmp_path)]
    with pytest.raises(ValueError, match="write NAME=FILE"):
        main([*how, "--pairs", "file.csv"])
