"""Labels for rows that have none: what fine-tuning said of the same rows, for every kind of task."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import softmax

from leanformer import LeanformerForMaskedLM, LeanformerForQuestionAnswering, LeanformerForSequenceClassification
from leanformer.conversion.convert import convert
from leanformer.data import tokenizer_files
from leanformer.data.tasks import task
from leanformer.data.tokenizer import train
from leanformer.evaluation import pretrained
from leanformer.finetuning.finetune import finetune
from leanformer.inference import predict, prediction
from leanformer.models import saved


def said(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def tuned(run: Path, glue: Path, quick: Callable, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A run fine-tuned for a moment on one of the tasks."""
    folder = tmp_path_factory.mktemp("tuned")

    def make(name: str) -> Path:
        if not (folder / name).exists():
            finetune(run, name, glue, folder / name, quick(epochs=0.2), quiet=True)
        return folder / name

    return make


@pytest.mark.parametrize("name", ["sst2", "mnli"])
def test_labels_are_those_of_the_evaluation(tuned, glue, name, monkeypatch):
    monkeypatch.setattr(prediction, "CHUNK", 17)
    of = task(name)
    files = [glue / name / f"{split}.jsonl" for split in of.validation]
    answers, expected = list(predict(tuned(name), files)), said(tuned(name))
    assert [a["label"] for a in answers] == [of.labels[line["prediction"]] for line in expected]
    for answer, line in zip(answers, expected, strict=True):
        assert answer.keys() - {"truncated"} == {*of.columns, "label", "probabilities"}
        np.testing.assert_allclose(list(answer["probabilities"].values()), softmax(line["scores"]), atol=1e-5)


def test_numbers_are_those_of_the_evaluation(tuned, glue):
    answers = predict(tuned("stsb"), [glue / "stsb" / "validation.jsonl"])
    expected = [line["prediction"] for line in said(tuned("stsb"))]
    np.testing.assert_allclose([answer["prediction"] for answer in answers], expected, atol=1e-5)


def test_choices_and_spans(run, quick, tmp_path):
    rows = [{"premise": "w5 w6", "question": "cause", "choice1": "w1", "choice2": f"w{i}", "label": 0} for i in (2, 3)]
    spans = [{"question": "w3", "context": "w4 w1 w2 w5", "answers": {"text": ["w1 w2"], "answer_start": [3]}}] * 3
    for name, table in (("copa", rows), ("squad", spans)):
        (tmp_path / name).mkdir()
        for split in ("train", "validation"):
            (tmp_path / name / f"{split}.jsonl").write_text("\n".join(map(json.dumps, table)))
        finetune(run, name, tmp_path, tmp_path / f"{name}-run", quick(epochs=1), quiet=True)
        answers = list(predict(tmp_path / f"{name}-run", [tmp_path / name / "validation.jsonl"]))
        expected = [line["prediction"] for line in said(tmp_path / f"{name}-run")]
        if name == "copa":
            assert [answer["label"] for answer in answers] == [f"choice{1 + i}" for i in expected]
        else:
            assert [answer["answer"] for answer in answers] == expected
            assert all(np.isfinite(answer["score"]) and "truncated" not in answer for answer in answers)


def test_the_command_prints_a_line_a_row(tuned, tmp_path, command, monkeypatch):
    source = tmp_path / "pairs.txt"
    source.write_text("w1 w2\tw3\nw4\tw5 w6\n")
    status, out, _ = command("predict", tuned("mnli"), source, "--threads", 1)
    printed = [json.loads(line) for line in out.splitlines()]
    assert status == 0 and [row["premise"] for row in printed] == ["w1 w2", "w4"]
    (tmp_path / "renamed.csv").write_text("b,a\nw3,w1 w2\nw5 w6,w4\n")
    again = list(predict(tuned("mnli"), [tmp_path / "renamed.csv"], columns=["a", "b"]))
    assert [row["label"] for row in again] == [row["label"] for row in printed]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"w1\nw0\n")))
    assert command("predict", tuned("sst2"), "-", "--out", tmp_path / "new" / "labels.jsonl", "--threads", 1)[0] == 0
    rows = [json.loads(line) for line in (tmp_path / "new" / "labels.jsonl").read_text().splitlines()]
    assert [row["sentence"] for row in rows] == ["w1", "w0"]


def test_masks_are_filled_with_the_likeliest_words(run, tmp_path):
    source = tmp_path / "masked.txt"
    source.write_text("w3 [MASK] w4\nw1 w2 w3 [MASK] w5 [MASK]\n")
    one, two = predict(run, [source], top=3)
    folder = run / "model"
    tokenizer, model = pretrained.load_tokenizer(folder), pretrained.load(folder, "masked_lm").eval()
    with torch.no_grad():
        ids = tokenizer("w1 w2 w3 [MASK] w5 [MASK]", split_special_tokens=False)["input_ids"]
        (scores,) = model(torch.tensor([ids])).logits.softmax(-1)
    assert [len(one["masks"]), len(two["masks"])] == [1, 2]
    for place, options in zip((4, 6), two["masks"], strict=True):
        best = scores[place].topk(3)
        assert [option["word"] for option in options] == tokenizer.convert_ids_to_tokens(best.indices)
        assert [option["probability"] for option in options] == pytest.approx(best.values.tolist(), abs=1e-5)
    words = [options[0]["word"] for options in two["masks"]]
    assert two["filled"] == f"w1 w2 w3 {words[0]} w5 {words[1]}"


def test_words_are_written_as_people_write_them(run, tmp_path):
    """Not as a byte-level tokenizer does, which has \u0120 for a space."""
    config = saved.config_of(run / "model")
    tokenizer = tokenizer_files.wrap(train(["a tired été " * 20], "bpe", 270))
    config.vocab_size = len(tokenizer)
    with saved.quiet():
        LeanformerForMaskedLM(config).save_pretrained(tmp_path / "model")
        tokenizer.save_pretrained(tmp_path / "model")
    source = tmp_path / "masked.txt"
    source.write_text("a [MASK]\n")
    (answer,) = predict(tmp_path / "model", [source], top=len(tokenizer))
    words = {option["word"] for option in answer["masks"][0]}
    assert "été" in words and not any("\u0120" in word for word in words)


def test_a_saved_model_without_a_run_says_what_it_is_for(run, tmp_path):
    config = saved.config_of(run / "model")
    config.id2label = {0: "bad", 1: "middling", 2: "good"}
    source = tmp_path / "texts.txt"
    source.write_text("w1 w2\tw3\n")
    for model, columns in (
        (LeanformerForSequenceClassification(config), ["a", "b"]),
        (LeanformerForQuestionAnswering(config), None),
    ):
        folder = tmp_path / type(model).__name__
        model.save_pretrained(folder)
        pretrained.load_tokenizer(run / "model").save_pretrained(folder)
        (answer,) = predict(folder, [source], columns=columns)
        if columns:
            assert answer["label"] in ("bad", "middling", "good")
            with pytest.raises(ValueError, match="line 1: a tab in it, .* --columns A,B for a model of pairs"):
                list(predict(folder, [source]))
        else:
            assert answer["answer"] == "w3"


def test_a_fine_tuned_model_with_another_attention_still_answers(tuned, tmp_path):
    source = tmp_path / "texts.txt"
    source.write_text("w1 w2 w3 w4 w5 w6\n" * 30)
    report = convert(tuned("sst2"), tmp_path / "converted", attention="pairwise", text=source)
    finetuned = json.loads((tuned("sst2") / "run.json").read_text())["settings"]["finetuning"]
    assert report["sequence_length"] == finetuned["max_length"]
    answers = zip(predict(tmp_path / "converted", [source]), predict(tuned("sst2"), [source]), strict=True)
    for new, old in answers:
        assert new["probabilities"].keys() == old["probabilities"].keys() and new["text"] == old["sentence"]


def test_mistakes_are_one_line(run, tuned, make_model, tmp_path):
    source, empty = tmp_path / "texts.txt", tmp_path / "empty.txt"
    source.write_text("w1\n")
    empty.touch()
    pairs, table, lists = tmp_path / "pairs.txt", tmp_path / "table.csv", tmp_path / "lists.json"
    pairs.write_text("w1\tw2\n")
    table.write_text("text\nw1\n")
    lists.write_text('[\n{"sentence": "w1"},\n{"sentence": ["w1", "w2"]}]')
    nothing = tmp_path / "encoder"
    from leanformer import LeanformerModel

    LeanformerModel(saved.config_of(run / "model")).save_pretrained(nothing)
    cases = [
        ((nothing, [source]), {}, "a LeanformerModel, which predicts no label: give a run of leanformer finetune"),
        ((run, [source]), {}, r"texts.txt, line 1: no \[MASK\] among the first 19 tokens"),
        ((run, [source]), {"top": 0}, "--top 0"),
        ((tuned("sst2"), [empty]), {}, "empty.txt: nothing in it"),
        ((tuned("sst2"), [source]), {"columns": ["a", "b"]}, "1 are read here: sentence"),
        ((tuned("mnli"), [source]), {}, "line 1: 1 texts, not premise TAB hypothesis: separate them by tabs"),
        ((tuned("mnli") / "model", [pairs]), {}, "line 1: a tab in it, but one text per line is read .text.: give"),
        ((tuned("sst2"), [pairs]), {}, "line 1: a tab in it, but one text per line is read .sentence.: give"),
        ((tuned("mnli"), [pairs]), {"columns": ["a", "a"]}, "--columns a,a: 2 are read here: premise, hypothesis"),
        ((tuned("sst2"), [table]), {}, "table.csv, line 2: no column 'sentence'; it has: text: name .* --columns"),
        ((tuned("sst2"), [lists]), {}, "lists.json, line 3: sentence is list, not text: name another column"),
        ((tmp_path / "nowhere", [source]), {}, "neither a run directory nor a model"),
    ]
    for arguments, options, message in cases:
        with pytest.raises((ValueError, OSError), match=message) as caught:
            list(predict(*arguments, **options))
        assert "\n" not in str(caught.value)


def test_of_the_special_tokens_only_the_mask_is_one_where_words_are_asked_for(run, tmp_path):
    """The tokenizer of the fixture knows neither brackets nor SEP, so "[SEP]" as text is [UNK] three times."""
    tokenizer = pretrained.load_tokenizer(run / "model")
    asked = tokenizer_files.filling(tokenizer)
    assert asked("w1 [SEP] [MASK]")["input_ids"][1:-1] == [6, 1, 1, 1, tokenizer.mask_token_id]
    assert tokenizer("w1 [SEP] [MASK]")["input_ids"][1:-1] == [6, 1, 1, 1, 1, 1, 1]


def test_a_classifier_refuses_a_file_of_words_and_tags(tuned, tmp_path):
    file = tmp_path / "names.conll"
    file.write_text("w5 B-A\nw6 O\n\n")
    with pytest.raises(ValueError, match=r"names.conll: a CoNLL file holds words, .* texts are read here \(sentence\)"):
        list(predict(tuned("sst2"), [file]))
