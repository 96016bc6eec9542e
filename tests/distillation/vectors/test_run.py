"""Runs that distil sentence vectors: what is learned, the exact resume, the record, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import leanformer as lf
from leanformer.distillation.vectors import texts as texts_module
from leanformer.settings import settings_from
from leanformer.training.pretrain import pretrain

HOW = {"batch_size": 8, "sequence_length": 16, "learning_rate": 3e-3, "max_steps": 12, "checkpoint_every": 4}
HOW |= {"threads": 1, "validation_sequences": 16, "log_every": 1}


MODEL = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 32}
MODEL |= {"max_position_embeddings": 32, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def pretrained(out: Path, data: Path, attention: str, steps: int) -> Path:
    training = {"max_steps": steps, "batch_size": 8, "sequence_length": 32, "learning_rate": 3e-3, "threads": 1}
    training |= {"score_targets": 0, "validation_sequences": 8}
    pretrain(settings_from({"model": MODEL | {"attention": attention}, "training": training}), data, out, quiet=True)
    return out


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    return pretrained(tmp_path_factory.mktemp("teacher") / "run", data, "dot_product", 20)


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    return pretrained(tmp_path_factory.mktemp("student") / "run", data, "symmetric", 2)


@pytest.fixture(scope="module")
def sentences(text: str) -> list[str]:
    return [sentence.strip() for sentence in text.replace("\n", " ").split(".") if len(sentence) > 20][:120]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory, sentences: list[str]) -> Path:
    """Every sentence with its first half, which belongs to it, and with another one, which does not."""
    file = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    rows = [{"sentence1": s, "sentence2": s[: len(s) // 2], "score": 5} for s in sentences[:20]]
    rows += [
        {"sentence1": s, "sentence2": o, "score": 0} for s, o in zip(sentences[:20], sentences[20:40], strict=True)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).mean())


def test_a_student_learns_its_teachers_vectors(
    teacher: Path, student: Path, sentences: list[str], pairs: Path, tmp_path: Path
) -> None:
    how = HOW | {"max_steps": 40}
    run = lf.distill(student, teacher=teacher, data=sentences, out=tmp_path / "run", pairs=pairs, quiet=True, **how)
    results = run.record["results"]
    assert results["end"]["cosine"] > results["start"]["cosine"]
    assert 1 - results["end"]["cosine"] < (1 - results["start"]["cosine"]) / 2
    # What the record says is what the saved model does: the held-out texts are those that training never saw.
    held = texts_module.read([Path(_file(tmp_path, sentences))], "text", 16).valid
    ours, theirs = (lf.embed(model, held, max_length=16) for model in (run.path, teacher))
    assert results["end"]["cosine"] == pytest.approx(cosine(ours, theirs), abs=1e-5)
    steps = [row["step"] for row in results["pairs"]]
    assert steps == [0, 8, 16, 24, 32, 40] and {"spearman", "mrr@10", "recall@1"} <= results["pairs"][0].keys()
    assert results["teacher_pairs"]["spearman"] > 0
    lf.export(run, out=tmp_path / "hub")
    card = (tmp_path / "hub" / "README.md").read_text()
    assert "| kind | distilled by the vectors of texts |" in card and "| taught by | its vectors of texts; " in card
    assert (
        f"{run.record['data']['texts']} texts, " in card
        and f"{results['end']['cosine']:.4f}" in card
        and str(tmp_path) not in card
    )


def _file(folder: Path, sentences: list[str]) -> Path:
    file = folder / "sentences.txt"
    file.write_text("\n".join(sentences), encoding="utf-8")
    return file


def test_a_killed_run_resumes_exactly(
    teacher: Path, student: Path, sentences: list[str], pairs: Path, curve: Any, interrupted: Any, tmp_path: Path
) -> None:
    file, out = _file(tmp_path, sentences), tmp_path / "run"
    how: dict[str, Any] = {"teacher": teacher, "data": file, "quiet": True, "pairs": pairs}
    lf.distill(student, out=out, **how, **HOW)
    again = interrupted(out, tmp_path / "again")
    lf.distill(student, out=again, resume=True, **how)
    assert curve(again) == curve(out)
    assert (again / "model/model.safetensors").read_bytes() == (out / "model/model.safetensors").read_bytes()
    records = [json.loads((place / "run.json").read_text())["results"] for place in (out, again)]
    assert records[0]["pairs"] == records[1]["pairs"] and records[0]["end"] == records[1]["end"]
    with pytest.raises(ValueError, match=r"was made with .*learning_rate"):
        lf.distill(student, out=out, resume=True, **how, **HOW | {"learning_rate": 1e-4})
    assert lf.distill(out=again, resume=True, **how).path == again  # its own student
    with pytest.raises(ValueError, match="with other --pairs, or without any: repeat them"):
        lf.distill(out=again, resume=True, **how | {"pairs": None})
    with pytest.raises(ValueError, match=r"was made with .*data\.hash"):
        lf.distill(student, out=out, resume=True, **how | {"data": sentences[:100]}, **HOW)


def test_a_fresh_student_of_another_width_learns_similarities(
    teacher: Path, sentences: list[str], tmp_path: Path
) -> None:
    model = {"hidden_size": 12, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 16}
    losses = {"cosine": 0.0, "similarity": 1.0}
    how: dict[str, Any] = {"teacher": teacher, "data": sentences, "quiet": True, **HOW, **model}
    run = lf.distill(out=tmp_path / "run", attention="random", vector_losses=losses, **how | {"max_steps": 30})
    results = run.record["results"]
    assert "cosine" not in results["end"] and results["end"]["similarities"] > results["start"]["similarities"]
    assert run.record["start"] is None and lf.embed(run, sentences[:3]).shape == (3, 12)
    with pytest.raises(
        ValueError, match=r"vector_losses\.cosine: the teacher's vectors have \d+ numbers, the student's 12"
    ):
        lf.distill(out=tmp_path / "wrong", **how)


def test_the_budget_is_one_epoch_unless_it_is_given(
    teacher: Path, student: Path, sentences: list[str], tmp_path: Path
) -> None:
    how = {key: value for key, value in HOW.items() if key != "max_steps"}
    run = lf.distill(
        student, teacher=teacher, data=[*sentences, " ", sentences[0]], out=tmp_path / "run", quiet=True, **how
    )
    data, results = run.record["data"], run.record["results"]
    assert data["texts"] + data["held_out"] == len(sentences) and data["held_out"] == 12
    assert results["steps"] == -(-data["texts"] // 8)
    assert data["notes"][-1] == "1 texts occur more than once, and are read once"


def test_what_is_refused(teacher: Path, student: Path, data: Path, sentences: list[str], tmp_path: Path) -> None:
    how: dict[str, Any] = {"teacher": teacher, "out": tmp_path / "run", "quiet": True}
    for message, given in {
        r"method = 'logits' learns from prepared data": {"data": sentences, "method": "logits"},
        r"method = 'vectors' learns from texts": {"data": data, "method": "vectors"},
        r"--pairs measures vectors": {"data": data, "pairs": tmp_path / "pairs.csv"},
        r"training.micro_batch_size = 4: texts are read whole": {"data": sentences, "micro_batch_size": 4},
        r"3 different texts are too few": {"data": sentences[:3]},
        r"vector_losses\.cosin": {"data": sentences, "vector_losses": {"cosin": 1.0}},
        r"has no weight above 0": {"data": sentences, "vector_losses": {"cosine": 0.0}},
        r"vector_losses = .* has no effect on distillation.method = 'logits'": {
            "data": data,
            "vector_losses": {"mse": 1.0},
        },
        r"batch_size = 500: there are 108 texts": {"data": sentences, "batch_size": 500},
    }.items():
        with pytest.raises(ValueError, match=message):
            lf.distill(student, **how, **given)


def test_a_run_is_resumed_with_the_kind_of_data_that_it_has(
    teacher: Path, student: Path, data: Path, sentences: list[str], tmp_path: Path
) -> None:
    how: dict[str, Any] = {"teacher": teacher, "quiet": True}
    lf.distill(student, data=sentences, out=tmp_path / "run", **how, **HOW | {"max_steps": 1})
    with pytest.raises(ValueError, match="method = 'vectors' learns from texts, and .* is prepared: give the texts"):
        lf.distill(student, data=data, out=tmp_path / "run", resume=True, **how)
    tokens: dict[str, Any] = {"max_steps": 1, "batch_size": 2, "sequence_length": 32, "threads": 1}
    lf.distill(student, data=data, out=tmp_path / "tokens", **how, **tokens, method="minilm2")
    with pytest.raises(ValueError, match="method = 'minilm2' learns from prepared data"):
        lf.distill(student, data=sentences, out=tmp_path / "tokens", resume=True, **how)
