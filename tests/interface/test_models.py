"""What is done with a trained model: vectors, predictions, conversion, distillation, export."""

import json

import numpy as np
import pytest

import leanformer as lf
from leanformer.inference import embed, predict

TEXTS = ["the king", "a [MASK] of the house", "the [MASK]"]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("texts") / "lines.txt"
    path.write_text("\n".join(TEXTS) + "\n")
    return path


def test_vectors_are_those_of_the_command(run, file, tmp_path):
    found = lf.embed(run, TEXTS)
    assert found.shape == (3, 16) and found.dtype == np.float32
    embed(run.path, [file], tmp_path / "v.npy")
    np.testing.assert_array_equal(found, np.load(tmp_path / "v.npy"))
    np.testing.assert_array_equal(found, lf.embed(str(run.path), file))
    assert lf.embed(run, TEXTS, pooling="cls").shape == (3, 16)


def test_predictions_are_those_of_the_command(run, file, tmp_path, command):
    pytest.importorskip("pandas")
    (tmp_path / "masks.txt").write_text("\n".join(TEXTS[1:]) + "\n")
    found = lf.predict(run, TEXTS[1:], top=2)
    assert isinstance(found, lf.Predictions) and list(found) == list(predict(run.path, [tmp_path / "masks.txt"], top=2))
    assert len(found) == 2 and len(found[:1]) == 1 and found[-1]["text"] == "the [MASK]"
    assert list(found.frame.columns) == ["text", "masks", "filled"] and "<table" in found._repr_html_()
    status, out, _ = command("predict", run.path, tmp_path / "masks.txt", "--top", 2)
    assert status == 0 and [json.loads(line) for line in out.splitlines()] == list(found)


def test_probabilities_have_columns():
    pytest.importorskip("pandas")
    rows = [{"text": "t", "label": "good", "probabilities": {"bad": 0.25, "good": 0.75}}] * 21
    found = lf.Predictions(rows)
    assert list(found.frame.columns) == ["text", "label", "probability[bad]", "probability[good]"]
    assert found._repr_html_().endswith("<p>21 in all</p>") and repr(lf.Predictions([])) == "Predictions: 0"


@pytest.mark.parametrize(
    "texts, arguments, message",
    [
        ("the king", {}, "a single string names a file"),
        ([], {}, "texts is empty"),
        (TEXTS, {"pooling": "sum"}, "--pooling sum"),
        (TEXTS, {"max_length": 2}, "--max-length 2"),
    ],
)
def test_vectors_that_cannot_be_are_refused(run, texts, arguments, message):
    with pytest.raises((ValueError, OSError), match=message):
        lf.embed(run, texts, **arguments)


def test_a_text_without_a_mask_is_named(run):
    with pytest.raises(ValueError, match="3 texts in memory, number 1: no .MASK. among"):
        lf.predict(run, TEXTS)


def test_convert_distill_and_export_follow_each_other(run, data, small, tmp_path):
    model = lf.convert(run, out=tmp_path / "converted", attention="symmetric")
    assert model.record["attention"] == "symmetric" and lf.Model(model).record == model.record
    assert type(model.model()).__name__ == "LeanformerForMaskedLM"
    training = {
        key: value for key, value in small.items() if key in ("max_steps", "batch_size", "sequence_length", "threads")
    }
    student = lf.distill(
        model, teacher=run, data=data, out=tmp_path / "student", temperature=2.0, quiet=True, **training
    )
    assert student.record["settings"]["distillation"]["temperature"] == 2.0
    assert student.record["attention"] == "symmetric" and student.record["status"] == "finished"
    few = {key: value for key, value in training.items() if key not in ("batch_size", "max_steps")}
    short = lf.distill(model, teacher=run, data=data, out=tmp_path / "short", max_tokens=1000, quiet=True, **few)
    assert short.record["settings"]["training"]["batch_size"] == 8
    checked = lf.export(student, out=tmp_path / "exported")
    assert checked["difference"] <= 1e-6 and (tmp_path / "exported" / "model.safetensors").is_file()
    with pytest.raises(FileExistsError):
        lf.convert(run, out=tmp_path / "converted", attention="symmetric")
    with pytest.raises(FileNotFoundError):
        lf.Run(tmp_path / "exported").record  # noqa: B018


def test_finetune_learns_a_file_of_labels(run, tmp_path):
    rows = [("good day", "good"), ("a bad day", "bad")] * 20
    (tmp_path / "rows.csv").write_text(
        "review,label\n" + "".join(f"{text} {i},{label}\n" for i, (text, label) in enumerate(rows))
    )
    how = {"epochs": 1, "batch_size": 4, "max_length": 24, "threads": 1, "quiet": True}
    tuned = lf.finetune(run, tmp_path / "rows.csv", out=tmp_path / "tuned", text="review", label="label", **how)
    assert tuned.record["settings"]["finetuning"]["epochs"] == 1 and 0 <= tuned.record["results"]["score"] <= 1
    answers = lf.predict(tuned, ["good day"])
    assert answers[0]["label"] in ("good", "bad")
    with pytest.raises(ValueError, match="what to learn is missing"):
        lf.finetune(run, out=tmp_path / "other")
    with pytest.raises(ValueError, match="unknown setting hidden_size"):
        lf.finetune(run, tmp_path / "rows.csv", out=tmp_path / "other", hidden_size=3)
