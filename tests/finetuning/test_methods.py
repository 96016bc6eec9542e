"""Ways of fine-tuning through the one door: what they leave behind, and what they refuse."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from leanformer.data.tasks import task
from leanformer.evaluation import pretrained
from leanformer.finetuning.classifier import load_classifier
from leanformer.finetuning.finetune import finetune
from leanformer.settings import FinetuningSettings, read_settings

Quick = Callable[..., Any]


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def tables(**changes: Any) -> dict[str, Any]:
    """Changes of settings with tables in them."""
    updated = FinetuningSettings.of(changes)
    return {key: getattr(updated, key) for key in changes}


@pytest.mark.parametrize("method", ["pst", "magnitude"])
def test_a_sparse_model_is_saved_plain_and_answers_alike(
    method: str, run: Path, glue: Path, quick: Quick, tmp_path: Path
) -> None:
    settings = quick(epochs=1, **tables(method=method, sparse={"sparsity": 0.8}))
    results = finetune(run, "sst2", glue, tmp_path / "out", settings, quiet=True)["results"]
    before, after = (load_file(folder / "model" / "model.safetensors") for folder in (run, tmp_path / "out"))
    sizes = {name: before[name].shape for name in before if ".layers." in name and before[name].ndim == 2}
    assert len(sizes) == 2 * 6
    assert {name: int((after[name] == 0).sum()) for name in sizes} == {
        name: int(0.8 * o * i + 1e-6) for name, (o, i) in sizes.items()
    }
    learned = {name for name in before.keys() & after.keys() if not after[name].equal(before[name])}
    head = 2 * 22 + 2 + 22 * 22 + 22
    if method == "pst":
        assert learned == sizes.keys()
        assert results["sparse"]["trainable"] == sum(17 * (o + i) for o, i in sizes.values()) + head
    else:
        assert learned > sizes.keys()
    assert (results["sparse"]["maps"], results["sparse"]["head"]) == (12, head)

    material = read(tmp_path / "out" / "predictions.jsonl")
    model = pretrained.load_as_saved(tmp_path / "out" / "model")
    tokenizer = pretrained.load_tokenizer(tmp_path / "out" / "model")
    texts = [row["sentence"] for row in read(glue / "sst2" / "validation.jsonl")][:7]
    with torch.no_grad():
        answers = [model(**tokenizer(text, return_tensors="pt")).logits[0] for text in texts]
    expected = torch.tensor([line["scores"] for line in material[:7]])
    torch.testing.assert_close(torch.stack(answers), expected, rtol=1e-4, atol=2e-6)


def test_corrections_are_written_and_bounds_hold(run: Path, glue: Path, quick: Quick, tmp_path: Path) -> None:
    regsl = {"correct_from": 1, "correct_above": 0.6, "reweight_from": 1, "distance": 0.5, "growth": 1.5}
    settings = quick(epochs=3, **tables(regsl=regsl | {"head_distance": 1}))
    record = finetune(run, "sst2", glue, tmp_path / "out", settings, quiet=True)
    corrections = read(tmp_path / "out" / "corrections.jsonl")
    assert record["results"]["corrected_labels"] == len(corrections)
    labels = [row["label"] for row in read(glue / "sst2" / "train.jsonl")]
    assert all(line["given"] == labels[line["row"]] == 1 - line["label"] for line in corrections)
    start = load_classifier(run / "model", task("sst2"), seed=1).state_dict()
    end = pretrained.load_as_saved(tmp_path / "out" / "model").state_dict()
    assert end["classifier.weight"].norm() <= 1 + 1e-5
    for name, tensor in start.items():
        if tensor.ndim > 1 and name != "classifier.weight":
            layer = 2 if "pooler" in name else 1 if ".layers.1." in name else 0
            assert (end[name] - tensor).norm() <= 0.5 * 1.5**layer * (1 + 1e-5), name


@pytest.mark.parametrize(("name", "temperature"), [("sst2", 2), ("stsb", 20)])
def test_absgd_learns_the_task(
    name: str, temperature: float, run: Path, glue: Path, quick: Quick, tmp_path: Path
) -> None:
    settings = quick(**tables(loss="absgd", absgd={"temperature": temperature, "warmup_epochs": 0.5}))
    results = finetune(run, name, glue, tmp_path / "out", settings, keep_model=False, quiet=True)["results"]
    assert results["score"] > 0.8


def test_a_run_from_before_there_were_ways_is_kept(
    run: Path, glue: Path, quick: Quick, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finetune(run, "sst2", glue, tmp_path, quick(epochs=0.1), keep_model=False, quiet=True)
    record = json.loads((tmp_path / "run.json").read_text())
    assert not {"loss", "method", "absgd", "regsl", "sparse"} & record["settings"]["finetuning"].keys()
    finetune(run, "sst2", glue, tmp_path, quick(epochs=0.1))
    assert "finished already: kept" in capsys.readouterr().out
    with pytest.raises(FileExistsError, match="another finetuning.method"):
        finetune(run, "sst2", glue, tmp_path, quick(epochs=0.1, method="pst"))
    finetune(run, "sst2", glue, tmp_path / "pst", quick(epochs=0.1, method="pst"), keep_model=False, quiet=True)
    record = json.loads((tmp_path / "pst" / "run.json").read_text())
    assert record["settings"]["finetuning"]["sparse"]["sparsity"] == 0.9
    with pytest.raises(FileExistsError, match="another finetuning.method"):
        finetune(run, "sst2", glue, tmp_path / "pst", quick(epochs=0.1), quiet=True)


def test_what_does_not_fit_task_or_model_is_refused_before_anything_is_made(
    run: Path, make_model: Callable[..., Path], glue: Path, quick: Quick, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="correct_from: stsb has no labels to correct"):
        finetune(run, "stsb", glue, tmp_path / "out", quick(**tables(regsl={"correct_from": 1})), quiet=True)
    shared = {"tie": "qk", "blocks": [list(range(11)), list(range(11))]}
    banks = make_model(tmp_path / "banks", shared_heads=shared)
    with pytest.raises(ValueError, match="method = 'pst': heads of this model share maps"):
        finetune(banks, "sst2", glue, tmp_path / "out", quick(method="pst"), quiet=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["method=pst", "sparse.sparsity=1"], "finetuning.sparse.sparsity = 1.0: is a share, from 0 to less than 1"),
        (["method=pst", "sparse.sparsity=-0.1"], "finetuning.sparse.sparsity = -0.1"),
        (["method=pts"], "finetuning.method = 'pts': did you mean 'pst'?"),
        (["method=pst", "sparse.score_rang=1"], "finetuning.sparse.score_rang: did you mean 'score_rank'?"),
        (["method=pst", "sparse=1"], "finetuning.sparse = 1: it is a table"),
        (["sparse.sparsity=0.5"], "no effect on finetuning.method = 'dense'"),
        (["method=magnitude", "sparse.update_rank=4"], "of method magnitude only sparsity"),
        (["method=pst", "regsl.distance=1"], "distances are for dense"),
        (["loss=absgd", "absgd.temperature=0"], "finetuning.absgd.temperature = 0.0: must not be 0"),
        (["loss=absgd", "absgd.rate=1.5"], "finetuning.absgd.rate = 1.5: is a share"),
        (["absgd.temperature=3"], "set that to absgd"),
        (["loss=absgd", "regsl.reweight_from=1"], "choose one"),
        (["regsl.distance=0"], "finetuning.regsl.distance = 0.0: must be positive"),
        (["regsl.growth=2"], "no effect without finetuning.regsl.distance"),
        (["regsl.correct_from=1", "regsl.correct_above=1.1"], "finetuning.regsl.correct_above = 1.1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(ValueError) as error:
        read_settings(None, [f"finetuning.{each}" for each in overrides])
    assert message in str(error.value) and "\n" not in str(error.value)


def test_tables_of_a_task_win_key_by_key(tmp_path: Path) -> None:
    both = ["method=pst", "sparse.sparsity=0.5", "rte.sparse.score_rank=4"]
    settings = read_settings(None, [f"finetuning.{each}" for each in both])
    assert settings.finetuning_for("rte").sparse.score_rank == 4
    assert settings.finetuning_for("rte").sparse.sparsity == settings.finetuning.sparse.sparsity == 0.5
    (tmp_path / "settings.json").write_text(json.dumps(settings.to_dict()))
    assert read_settings(tmp_path / "settings.json") == settings
