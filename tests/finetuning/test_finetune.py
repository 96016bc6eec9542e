"""Fine-tuning: it learns, it repeats bit by bit, it is paired, it keeps what is finished, and it refuses nonsense."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score
from transformers import pipeline

from leanformer.data.tasks import task
from leanformer.evaluation import pretrained
from leanformer.finetuning import objective
from leanformer.finetuning.classifier import NEW, load_classifier
from leanformer.finetuning.finetune import finetune
from leanformer.training.run.interrupts import Stopped
from leanformer.training.run.record import RunDirectory

Quick = Callable[..., Any]


def predictions(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]


def curve(out: Path) -> list[tuple[int, float]]:
    lines = [json.loads(line) for line in (out / "curve.jsonl").read_text().splitlines()]
    return [(line["step"], line["loss"]) for line in lines]


@pytest.fixture(scope="module")
def tuned(run: Path, glue: Path, quick: Quick, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished fine-tuning on sst2."""
    out = tmp_path_factory.mktemp("tuned") / "sst2"
    finetune(run, "sst2", glue, out, quick(), quiet=True)
    return out


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[torch.Tensor]]:
    """The ids of every training batch."""
    seen: list[torch.Tensor] = []
    original = objective.TaskObjective.loss_sum

    def spy(self: Any, model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        seen.append(batch["input_ids"])
        return original(self, model, batch)

    monkeypatch.setattr(objective.TaskObjective, "loss_sum", spy)
    yield seen


# --- what it promises


def test_a_separable_task_is_learned(tuned: Path):
    record = json.loads((tuned / "run.json").read_text())
    results = record["results"]
    assert results["score"] == results["metrics"]["accuracy"] > 0.9
    assert results["collapsed"] is False
    assert results["steps"] == np.ceil(6 * 331 / 17)
    assert results["validation_loss"] < 0.35
    assert (record["kind"], record["status"], record["task"], record["seed"]) == ("finetune", "finished", "sst2", 1)
    assert record["settings"]["finetuning"]["learning_rate"] == 1e-2
    assert record["data"]["examples"] == {"train": 331, "validation": 101}


def test_every_example_is_predicted_and_the_score_follows(tuned: Path, glue: Path):
    lines = predictions(tuned)
    labels = [json.loads(line)["label"] for line in (glue / "sst2" / "validation.jsonl").read_text().splitlines()]
    assert [line["index"] for line in lines] == list(range(101))
    assert [line["label"] for line in lines] == labels
    assert [int(np.argmax(line["scores"])) for line in lines] == [line["prediction"] for line in lines]
    results = json.loads((tuned / "run.json").read_text())["results"]
    assert results["score"] == accuracy_score(labels, [line["prediction"] for line in lines])
    logits = torch.tensor([line["scores"] for line in lines])
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor(labels))
    assert results["validation_loss"] == pytest.approx(loss.item(), abs=1e-5)


def test_the_model_is_saved_and_answers_alike(tuned: Path, glue: Path):
    """One text at a time, unpadded, through the ordinary pipeline: padding and batching had no say."""
    answers = pipeline("text-classification", model=str(tuned / "model"), device="cpu")
    rows = (glue / "sst2" / "validation.jsonl").read_text().splitlines()
    for row, line in list(zip(rows, predictions(tuned), strict=True))[:7]:
        (best,) = answers(json.loads(row)["sentence"])
        assert best["label"] == ("negative", "positive")[line["prediction"]]
        assert best["score"] == pytest.approx(torch.tensor(line["scores"]).softmax(0).max().item(), abs=1e-5)


def test_a_repeated_run_is_equal_bit_by_bit(run: Path, tuned: Path, glue: Path, quick: Quick, tmp_path: Path):
    torch.manual_seed(99)
    torch.rand(7)
    finetune(run, "sst2", glue, tmp_path / "again", quick(), keep_model=False, quiet=True)
    assert curve(tmp_path / "again") == curve(tuned)
    assert (tmp_path / "again" / "predictions.jsonl").read_bytes() == (tuned / "predictions.jsonl").read_bytes()
    assert not (tmp_path / "again" / "model").exists()


def test_mechanisms_read_the_same_batches_from_the_same_head(
    make_model: Callable, glue: Path, quick: Quick, batches: list, tmp_path: Path
):
    heads = {}
    seen = {}
    for name in ("dot_product", "pairwise", "shared"):
        run = make_model(tmp_path / name, attention=name)
        model = load_classifier(run / "model", task("sst2"), seed=5)
        heads[name] = {k: v for k, v in model.state_dict().items() if k.startswith(NEW)}
        batches.clear()
        finetune(run, "sst2", glue, tmp_path / f"{name}-out", quick(epochs=0.5, seed=5), quiet=True)
        seen[name] = list(batches)
    assert len(heads["shared"]) == 4 and len(seen["shared"]) == 10
    for name in ("pairwise", "shared"):
        torch.testing.assert_close(heads[name], heads["dot_product"], rtol=0, atol=0)
        torch.testing.assert_close(seen[name], seen["dot_product"], rtol=0, atol=0)


def test_another_seed_is_another_order_and_another_head(run: Path, glue: Path, quick: Quick, batches: list, tmp_path):
    heads = [load_classifier(run / "model", task("sst2"), seed).classifier.weight for seed in (1, 2)]
    assert (heads[0] != heads[1]).all()
    assert load_classifier(run / "model", task("sst2"), 1).classifier.bias.abs().sum() == 0
    for seed in (1, 2):
        finetune(run, "sst2", glue, tmp_path / str(seed), quick(epochs=0.1, seed=seed), keep_model=False, quiet=True)
    assert len(batches) == 4
    assert batches[0].shape != batches[2].shape or (batches[0] != batches[2]).any()


def test_the_encoder_is_the_pretrained_one(run: Path):
    before = pretrained.load(run / "model", "masked_lm").encoder.state_dict()
    after = load_classifier(run / "model", task("rte"), seed=1).encoder.state_dict()
    assert {name for name in after if name not in before} == {"pooler.dense.weight", "pooler.dense.bias"}
    torch.testing.assert_close({name: after[name] for name in before}, before, rtol=0, atol=0)


def test_a_regression_is_learned(run: Path, glue: Path, quick: Quick, tmp_path: Path):
    results = finetune(run, "stsb", glue, tmp_path / "out", quick(), keep_model=False, quiet=True)["results"]
    assert results["metrics"]["pearson"] > 0.8
    assert results["score"] == pytest.approx((results["metrics"]["pearson"] + results["metrics"]["spearman"]) / 2)
    line = predictions(tmp_path / "out")[0]
    assert isinstance(line["prediction"], float) and len(line["scores"]) == 1
    assert line["prediction"] == pytest.approx(line["scores"][0], abs=1e-5)


def test_two_validation_splits_are_scored_apart_and_together(run: Path, glue: Path, quick: Quick, tmp_path: Path):
    results = finetune(run, "mnli", glue, tmp_path, quick(epochs=1), keep_model=False, quiet=True)["results"]
    assert set(results["metrics"]) == {"accuracy_matched", "accuracy_mismatched"}
    lines = predictions(tmp_path)
    assert [line["index"] for line in lines] == list(range(46))
    assert [line["split"] for line in lines] == ["validation_matched"] * 23 + ["validation_mismatched"] * 23


def test_a_real_task_runs(run: Path, quick: Quick, tmp_path: Path):
    """WNLI as shipped with the tests; its words are unknown to the tiny tokenizer, so the majority is all there is."""
    settings = quick(epochs=1, max_train_examples=101)
    data = Path(__file__).parents[1] / "data" / "glue"
    record = finetune(run, "wnli", data, tmp_path / "out", settings, keep_model=False, quiet=True)
    assert record["data"]["examples"] == {"train": 101, "validation": 71}
    assert record["data"]["truncated"]["validation"] > 0
    assert 0.3 < record["results"]["score"] < 0.7


def test_seeds_have_a_folder_each_and_a_summary(run: Path, glue: Path, quick: Quick, tmp_path: Path):
    summary = finetune(run, "sst2", glue, tmp_path, quick(epochs=0.5), seeds=3, keep_model=False, quiet=True)
    records = [json.loads((tmp_path / f"seed-{seed}" / "run.json").read_text()) for seed in (1, 2, 3)]
    scores = [record["results"]["score"] for record in records]
    assert [record["seed"] for record in records] == summary["seeds"] == [1, 2, 3]
    assert summary["scores"] == scores
    assert summary["score"] == pytest.approx(np.mean(scores))
    assert summary["sd"] == pytest.approx(np.std(scores, ddof=1))
    assert summary["metrics"]["accuracy"] == {"mean": summary["score"], "sd": summary["sd"]}
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    one = finetune(run, "sst2", glue, tmp_path, quick(epochs=0.5), seeds=1, keep_model=False, quiet=True)
    assert (one["score"], one["sd"]) == (scores[0], None)


def test_settings_of_the_task_win(run: Path, glue: Path, quick: Quick, tmp_path: Path):
    settings = replace(quick(), tasks={"sst2": {"epochs": 0.1}, "rte": {"epochs": 7}})
    record = finetune(run, "sst2", glue, tmp_path, settings, keep_model=False, quiet=True)
    assert record["settings"]["finetuning"]["epochs"] == 0.1
    assert record["results"]["steps"] == 2


def test_a_collapsed_run_says_so(run: Path, quick: Quick, tmp_path: Path):
    """Where training knows one label only, the model learns to say nothing else."""
    (tmp_path / "cola").mkdir()
    for split, labels in (("train", [1] * 40), ("validation", [0, 1] * 10)):
        rows = [json.dumps({"sentence": f"w{i % 20} w7", "label": label}) for i, label in enumerate(labels)]
        (tmp_path / "cola" / f"{split}.jsonl").write_text("\n".join(rows))
    results = finetune(run, "cola", tmp_path, tmp_path / "out", quick(epochs=20), keep_model=False, quiet=True)[
        "results"
    ]
    assert {line["prediction"] for line in predictions(tmp_path / "out")} == {1}
    assert (results["collapsed"], results["score"], results["metrics"]) == (True, 0.0, {"matthews": 0.0})


# --- what is there already


def test_a_finished_run_is_kept_and_said_so(run: Path, tuned: Path, glue: Path, quick: Quick, capsys):
    before = {path: path.stat().st_mtime_ns for path in tuned.rglob("*")}
    record = finetune(run, "sst2", glue, tuned, quick(threads=2))
    assert "is finished already: kept" in capsys.readouterr().out
    assert record["results"]["score"] > 0.9
    assert {path: path.stat().st_mtime_ns for path in tuned.rglob("*")} == before


@pytest.mark.parametrize(("changes", "what"), [({"learning_rate": 1e-3}, "learning_rate"), ({"seed": 2}, "seed")])
def test_another_finished_run_is_never_lost(
    run: Path, tuned: Path, glue: Path, quick: Quick, changes: dict[str, Any], what: str
):
    with pytest.raises(
        FileExistsError, match=f"holds a finished run with another finetuning.{what}: choose another --out"
    ):
        finetune(run, "sst2", glue, tuned, quick(**changes), quiet=True)
    assert json.loads((tuned / "run.json").read_text())["status"] == "finished"


def test_another_model_task_or_data_set_is_another_run(
    make_model: Callable, run: Path, tuned: Path, glue: Path, quick: Quick, tmp_path: Path
):
    other = make_model(tmp_path / "other", attention="symmetric")
    with pytest.raises(FileExistsError, match="another pretrained_hash"):
        finetune(other, "sst2", glue, tuned, quick(), quiet=True)
    with pytest.raises(FileExistsError, match="another task"):
        finetune(run, "stsb", glue, tuned, quick(), quiet=True)
    (tmp_path / "sst2").mkdir()
    for split in ("train", "validation"):
        lines = (glue / "sst2" / f"{split}.jsonl").read_text().splitlines()[1:]
        (tmp_path / "sst2" / f"{split}.jsonl").write_text("\n".join(lines))
    with pytest.raises(FileExistsError, match="another data.hash of train"):
        finetune(run, "sst2", tmp_path, tuned, quick(), quiet=True)


def test_a_pretraining_run_is_never_overwritten(run: Path, glue: Path, quick: Quick, tmp_path: Path):
    (tmp_path / "run.json").write_text(
        json.dumps({"schema": 1, "kind": "pretrain", "status": "running", "settings": {}})
    )
    with pytest.raises(FileExistsError, match="another kind"):
        finetune(run, "sst2", glue, tmp_path, quick(), quiet=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "curve.jsonl").write_text("")
    with pytest.raises(FileExistsError, match=r"curve\.jsonl already exists"):
        finetune(run, "sst2", glue, tmp_path / "other", quick(), quiet=True)


def test_an_interrupted_run_leaves_cleanly_and_starts_over(
    run: Path, glue: Path, quick: Quick, batches: list, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    settings = quick(epochs=0.5)
    finetune(run, "sst2", glue, tmp_path / "whole", settings, keep_model=False, quiet=True)
    spy = objective.TaskObjective.loss_sum

    def interrupt(self: Any, model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        if len(batches) == 13:  # the third of the second run
            os.kill(os.getpid(), signal.SIGTERM)
        return spy(self, model, batch)

    monkeypatch.setattr(objective.TaskObjective, "loss_sum", interrupt)
    with pytest.raises(Stopped) as stopped:
        finetune(run, "sst2", glue, tmp_path / "cut", settings, keep_model=False, quiet=True)
    assert stopped.value.code == 128 + signal.SIGTERM
    assert json.loads((tmp_path / "cut" / "run.json").read_text())["status"] == "stopped"
    assert [path.name for path in (tmp_path / "cut").iterdir()] == ["run.json"]

    finetune(run, "sst2", glue, tmp_path / "cut", settings, keep_model=False, quiet=True)
    assert curve(tmp_path / "cut") == curve(tmp_path / "whole")
    assert predictions(tmp_path / "cut") == predictions(tmp_path / "whole")


def test_what_a_killed_run_left_is_replaced(run: Path, tuned: Path, glue: Path, quick: Quick, tmp_path: Path):
    record = RunDirectory(tuned).read() | {"status": "running", "results": None}
    RunDirectory(tmp_path).write(record)
    (tmp_path / "curve.jsonl").write_text('{"step": 999, "loss": 1.0')
    (tmp_path / "predictions.jsonl").write_text("torn")
    (tmp_path / "checkpoint" / "step-00000002").mkdir(parents=True)
    (tmp_path / "notes.txt").write_text("mine")
    finetune(run, "sst2", glue, tmp_path, quick(), keep_model=False, quiet=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "curve.jsonl",
        "notes.txt",
        "predictions.jsonl",
        "run.json",
    ]
    assert curve(tmp_path) == curve(tuned)
    assert predictions(tmp_path) == predictions(tuned)


def test_a_finetuned_model_can_be_finetuned_again(tuned: Path, glue: Path, quick: Quick, tmp_path: Path):
    """Its pooler stays, its head of two labels makes room for one of three."""
    model = load_classifier(tuned / "model", task("mnli"), seed=1)
    old = load_classifier(tuned / "model", task("sst2"), seed=1)
    assert model.classifier.out_features == 3
    torch.testing.assert_close(model.encoder.state_dict(), old.encoder.state_dict(), rtol=0, atol=0)
    fresh = load_classifier(tuned / "model", task("sst2"), seed=2)
    assert (fresh.classifier.weight != old.classifier.weight).all()
    finetune(tuned, "mnli", glue, tmp_path, quick(epochs=0.1), keep_model=False, quiet=True)


# --- bad input


def test_nothing_is_made_when_the_input_is_wrong(run: Path, glue: Path, quick: Quick, tmp_path: Path):
    out = tmp_path / "out"
    for name, settings, message in (
        ("sst3", quick(), "unknown task 'sst3': did you mean 'sst2'"),
        ("cola", quick(), "no file .*cola/train"),
        ("sst2", quick(max_length=20), "finetuning.max_length = 20: the model in .* reads at most 19 tokens"),
        ("sst2", quick(max_length=2), "max_length = 2: 2 special tokens leave no room for text"),
        ("stsb", quick(max_length=3), "max_length = 3: 3 special tokens"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            finetune(run, name, glue, out, settings, quiet=True)
    with pytest.raises(ValueError, match="0 seeds"):
        finetune(run, "sst2", glue, out, quick(), seeds=0, quiet=True)
    assert not out.exists()


def test_a_folder_without_a_model_says_what_is_there(glue: Path, quick: Quick, tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="neither a run directory nor a model"):
        finetune(tmp_path, "sst2", glue, tmp_path / "out", quick(), quiet=True)
    (tmp_path / "run.json").write_text('{"schema": 1, "status": "running"}')
    with pytest.raises(FileNotFoundError, match="its run is not finished: run leanformer pretrain --resume"):
        finetune(tmp_path, "sst2", glue, tmp_path / "out", quick(), quiet=True)


def damaged(make_model: Callable, folder: Path, file: str, change: Callable[[bytes], bytes]) -> Path:
    path = make_model(folder) / "model" / file
    path.write_bytes(change(path.read_bytes()))
    return folder


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("model.safetensors", lambda whole: whole[: len(whole) // 2], "model.safetensors is damaged"),
        ("model.safetensors", lambda whole: b"", "model.safetensors is damaged"),
        ("tokenizer.json", lambda whole: whole[:100], "cannot be read as a tokenizer"),
        ("config.json", lambda whole: whole[:-9], r"config\.json is damaged"),
        ("config.json", lambda whole: whole.replace(b'"leanformer"', b'"bert"'), "leanformer convert"),
        ("config.json", lambda whole: whole.replace(b'"leanformer"', b'"t5"'), "type 't5', not leanformer"),
        ("config.json", lambda whole: whole.replace(b'"dot_product"', b'"dotproduct"'), "did you mean 'dot_product'"),
        (
            "config.json",
            lambda whole: whole.replace(b'hidden_size": 22', b'hidden_size": "x"'),
            r"config\.json is damaged .*integer",
        ),
        ("config.json", lambda whole: whole.replace(b'_size": 37', b'_size": 41'), "does not have the shape"),
        ("config.json", lambda whole: whole.replace(b'_layers": 2', b'_layers": 3'), "lacks weights of its encoder"),
        ("config.json", lambda whole: whole.replace(b'_size": 29', b'_size": 28'), "a tokenizer of 29 tokens"),
        ("config.json", lambda whole: whole.replace(b"MaskedLM", b"CausalLM"), "CausalLM, which is no encoder: give"),
    ],
)
def test_a_damaged_model_is_named(
    make_model: Callable, glue: Path, quick: Quick, tmp_path: Path, file: str, change: Callable, message: str
):
    run = damaged(make_model, tmp_path / "run", file, change)
    with pytest.raises(ValueError, match=message) as error:
        finetune(run, "sst2", glue, tmp_path / "out", quick(), quiet=True)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_missing_weights_and_tokenizers_are_named(make_model: Callable, glue: Path, quick: Quick, tmp_path: Path):
    run = make_model(tmp_path / "run")
    (run / "model" / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors is missing"):
        finetune(run, "sst2", glue, tmp_path / "out", quick(), quiet=True)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (run / "model" / file).unlink()
    with pytest.raises((ValueError, OSError), match="tokenizer"):
        finetune(run, "sst2", glue, tmp_path / "out", quick(), quiet=True)


def test_a_diverging_run_fails_and_names_the_rate(run: Path, glue: Path, quick: Quick, tmp_path: Path):
    with pytest.raises(ArithmeticError, match=r"finetuning\.learning_rate"):
        finetune(run, "sst2", glue, tmp_path / "out", quick(learning_rate=1e30, clip_norm=None), quiet=True)
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["status"] == "failed"


def test_an_output_that_cannot_be_written_is_named(run: Path, glue: Path, quick: Quick, tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"cannot write to .*file/out .*choose another --out"):
        finetune(run, "sst2", glue, tmp_path / "file" / "out", quick(), quiet=True)


def test_seeds_do_not_go_into_a_single_run(run: Path, tuned: Path, glue: Path, quick: Quick):
    with pytest.raises(FileExistsError, match="holds a single run"):
        finetune(run, "sst2", glue, tuned, quick(), seeds=2, quiet=True)
