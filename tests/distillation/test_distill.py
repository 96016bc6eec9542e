"""Runs with a teacher, and runs that go on from a saved model: the record, the exact resume, what is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch.testing import assert_close

from leanformer.conversion.attention.head_sharing import match_heads, post_share_penalty
from leanformer.data.corpus import Corpus
from leanformer.distillation.batch_size import default_batch_size
from leanformer.distillation.distill import distill
from leanformer.models import LeanformerForMaskedLM, LeanformerModel
from leanformer.models.initialisation import initialise
from leanformer.models.saved import config_of, load_weights
from leanformer.models.sentence_parts import sentence_parts
from leanformer.models.sentence_pooling import sentence_pooling
from leanformer.settings import TrainingSettings, settings_from
from leanformer.training.pretrain import pretrain
from leanformer.training.run.saved_model import SavedModel
from leanformer.verification import verify

Tables = Callable[..., dict[str, Any]]
LEARNED = {"positions": "learned"}
GRADUAL = {"method": "minilm2", "relation_heads": 2, "anneal": 0.6}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory, corpus: Path, settings: Tables) -> Path:
    out = tmp_path_factory.mktemp("teacher") / "run"
    pretrain(settings_from(settings(LEARNED, max_steps=40, checkpoint_every=0)), corpus, out, quiet=True)
    return out


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory, corpus: Path, settings: Tables) -> Path:
    """A student of another mechanism, as `leanformer convert` leaves one."""
    out = tmp_path_factory.mktemp("converted") / "run"
    model = LEARNED | {"attention": "symmetric"}
    pretrain(settings_from(settings(model, max_steps=3, checkpoint_every=0)), corpus, out, quiet=True)
    return out / "model"


@pytest.fixture(scope="module")
def healing(settings: Tables) -> Callable[..., Any]:
    def make(model: dict[str, Any] | None = None, *, distillation: dict[str, Any] | None = None, **training: Any):
        tables = settings(**{"max_steps": 8, "checkpoint_every": 3} | training)
        return settings_from(tables | {"model": model or {}, "distillation": distillation or {}})

    return make


def weights(run: Path) -> bytes:
    return (run / "model/model.safetensors").read_bytes()


@pytest.mark.parametrize("distillation", [{}, {"method": "minilm"}, GRADUAL], ids=["logits", "minilm", "gradual"])
def test_a_killed_student_resumes_exactly(
    distillation: dict[str, Any],
    teacher: Path,
    converted: Path,
    corpus: Path,
    healing: Any,
    curve: Any,
    interrupted: Any,
    tmp_path: Path,
) -> None:
    out = tmp_path / "run"
    told = {"teacher": teacher, "student": converted, "quiet": True}
    record = distill(healing(distillation=distillation), corpus, out, **told)
    assert record["kind"] == "pretrain" and record["attention"] == "symmetric"
    assert record["start"]["path"] == str(converted) and record["teacher"]["path"] == str(teacher / "model")
    assert record["teacher"]["attention"] == "dot_product" and record["teacher"]["forward_flops_per_token"] > 0
    assert record["settings"]["distillation"]["method"] == distillation.get("method", "logits")
    config = json.loads((out / "model/config.json").read_text())
    assert config["attention"] == "symmetric" and config["positions"] == "learned"

    again = interrupted(out, tmp_path / "again")
    distill(None, None, again, resume=True, **told)
    assert curve(again) == curve(out) and weights(again) == weights(out)


def test_going_on_alone_is_the_control(
    teacher: Path, converted: Path, corpus: Path, healing: Any, curve: Any, interrupted: Any, tmp_path: Path
) -> None:
    """`pretrain --init`: the same data and validation, no teacher; all of the budget on masked words is the same."""
    alone, out = tmp_path / "alone", tmp_path / "run"
    record = pretrain(healing(), corpus, alone, init=converted, quiet=True)
    assert record["start"]["path"] == str(converted) and "teacher" not in record
    plan = healing(distillation={"masked_lm_weight": 1.0})
    distill(plan, corpus, out, teacher=teacher, student=converted, quiet=True)
    assert curve(out) == curve(alone) and weights(out) == weights(alone)

    again = interrupted(alone, tmp_path / "again")
    pretrain(None, None, again, resume=True, quiet=True)
    assert curve(again) == curve(alone) and weights(again) == weights(alone)


def test_a_saved_model_begins_where_it_was(teacher: Path, corpus: Path, healing: Any, tmp_path: Path) -> None:
    before = json.loads((teacher / "run.json").read_text())["results"]["final_loss"]
    plan = healing({"hidden_dropout_prob": 0.0}, max_steps=1, learning_rate=1e-12)
    record = pretrain(plan, corpus, tmp_path / "run", init=teacher, quiet=True)
    assert_close(record["results"]["final_loss"], before, rtol=1e-5, atol=0)
    assert record["settings"]["model"]["hidden_dropout_prob"] == 0.0


def test_a_student_keeps_the_parts_of_sentence_transformers(
    teacher: Path, converted: Path, corpus: Path, healing: Any, tmp_path: Path
) -> None:
    student, kinds = tmp_path / "student", ("Transformer", "Pooling")
    shutil.copytree(converted, student)
    rows = [
        {"path": path, "type": f"sentence_transformers.models.{kind}"}
        for path, kind in zip(("", "P"), kinds, strict=True)
    ]
    (student / "modules.json").write_text(json.dumps(rows))
    (student / "sentence_bert_config.json").write_text('{"max_seq_length": 7}')
    (student / "P").mkdir()
    (student / "P" / "config.json").write_text('{"pooling_mode": "max"}')
    distill(healing(max_steps=1), corpus, tmp_path / "run", teacher=teacher, student=student, quiet=True)
    kept = sentence_parts(tmp_path / "run" / "model")
    assert kept is not None and kept.names == "Pooling" and kept.max_length(100) == 7
    assert sentence_pooling(kept, 30).modes == ("max",)
    assert verify(tmp_path / "run").faults == []


@pytest.mark.parametrize(
    ("budget", "batch"),
    [
        ({"max_tokens": 65_536}, 8),  # BERT's 256 sequences of 128 would be two steps
        ({"max_tokens": 500 * 64 * 128}, 64),
        ({"max_tokens": 500 * 64 * 128 - 1}, 32),
        ({"max_tokens": 10**9}, 256),
        ({"max_tokens": 500 * 64 * 128, "sequence_length": 512}, 16),
        ({"max_steps": 10}, 256),
        ({"max_seconds": 60.0}, 32),
    ],
)
def test_the_batch_follows_from_the_budget(budget: dict[str, Any], batch: int) -> None:
    assert default_batch_size(TrainingSettings(**budget)) == batch


def test_a_fresh_and_smaller_student(
    teacher: Path, corpus: Path, settings: Tables, healing: Any, tmp_path: Path
) -> None:
    model = settings({"attention": "random", "hidden_size": 10, "num_attention_heads": 5, "num_hidden_layers": 1})
    plan = healing(model["model"], distillation={"method": "minilm2", "relation_heads": 2, "teacher_layer": 1})
    record = distill(plan, corpus, tmp_path / "run", teacher=teacher, quiet=True)
    assert record["start"] is None and record["ledger"]["parameters"]["total"] < record["teacher"]["parameters"]


def test_an_encoder_alone_is_taught_under_a_new_head(
    teacher: Path, converted: Path, corpus: Path, healing: Any, tmp_path: Path
) -> None:
    """What converting an ELECTRA discriminator leaves. Relations are the encoder's; words need a head."""
    encoder = shutil.copytree(teacher / "model", tmp_path / "encoder", ignore=shutil.ignore_patterns("SHA256SUMS"))
    load_weights(LeanformerModel, encoder, config_of(encoder))[0].save_pretrained(encoder)
    saved = SavedModel.open(encoder, Corpus.open(corpus))
    model, fresh = saved.load(LeanformerForMaskedLM, head=5), LeanformerForMaskedLM(saved.config)
    initialise(fresh, 5)
    assert_close(model.head.transform.weight, fresh.head.transform.weight, rtol=0, atol=0)
    expected = SavedModel.open(teacher, Corpus.open(corpus)).load(LeanformerForMaskedLM).encoder.state_dict()
    assert_close(model.encoder.state_dict(), expected, rtol=0, atol=0)

    plan = healing(max_steps=2, distillation={"method": "minilm2", "relation_heads": 2})
    record = distill(plan, corpus, tmp_path / "run", teacher=encoder, student=encoder, quiet=True)
    assert record["status"] == "finished"
    plan = healing(max_steps=1, distillation={"masked_lm_weight": 1.0, "share_heads": 0.3})
    distill(plan, corpus, tmp_path / "shared", teacher=encoder, student=encoder, quiet=True)
    with pytest.raises(ValueError, match="the teacher is a LeanformerModel, which scores no words; choose minilm2$"):
        distill(healing(max_steps=2), corpus, tmp_path / "words", teacher=encoder, student=converted, quiet=True)


@pytest.mark.parametrize(
    ("model", "tables", "message"),
    [
        (
            {"hidden_size": 28},
            {},
            r"^model.hidden_size = 28: the model in .* has 14; leave it out, only hidden_dropout",
        ),
        ({"hiden_size": 28}, {}, "^unknown setting model.hiden_size; did you mean 'hidden_size'"),
        (
            {},
            {"method": "minilm2", "relation_heads": 3},
            "relation_heads = 3 does not divide the teacher's width of 14",
        ),
        ({}, {"method": "minilm", "teacher_layer": 3}, "^distillation.teacher_layer = 3: the teacher has 2 layers$"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    model: Any, tables: Any, message: str, teacher: Path, converted: Path, corpus: Path, healing: Any, tmp_path: Path
) -> None:
    plan = healing(model, distillation=tables)
    with pytest.raises(ValueError, match=message):
        distill(plan, corpus, tmp_path / "run", teacher=teacher, student=converted, quiet=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("training", "tables", "message"),
    [
        ({"max_steps": None, "max_seconds": 5.0}, {"anneal": 0.5}, "^distillation.anneal needs a budget in steps or"),
        ({"compile": True}, {}, "^training.compile: what a teacher watches by hooks is not compiled; leave it out$"),
        ({"objective": "causal_lm"}, {}, "^training.objective = 'causal_lm': a teacher teaches masked_lm$"),
    ],
)
def test_training_that_a_teacher_cannot_follow_is_refused(
    training: Any, tables: Any, message: str, teacher: Path, corpus: Path, settings: Tables, tmp_path: Path
) -> None:
    plan = settings_from(settings(LEARNED, **training) | {"distillation": tables})
    with pytest.raises(ValueError, match=message):
        distill(plan, corpus, tmp_path / "run", teacher=teacher, quiet=True)


def test_heads_are_drawn_to_those_they_will_be_shared_with(
    teacher: Path, corpus: Path, healing: Any, curve: Any, interrupted: Any, tmp_path: Path
) -> None:
    """PostShare: the mean distance of the pairs falls to less than half, and hardly without the penalty."""
    before = LeanformerForMaskedLM.from_pretrained(teacher / "model")
    pairs = match_heads(before)[:4]  # 0.3 of 14
    distances = [float(post_share_penalty(before, pairs).detach())]
    told = {"teacher": teacher, "student": teacher, "quiet": True}
    shared = {"masked_lm_weight": 1.0, "share_heads": 0.3}
    for name, distillation in (("drawn", shared), ("free", {"masked_lm_weight": 1.0})):
        plan = healing(distillation=distillation, max_steps=40, checkpoint_every=6)
        distill(plan, corpus, tmp_path / name, **told)
        after = LeanformerForMaskedLM.from_pretrained(tmp_path / name / "model")
        distances.append(float(post_share_penalty(after, pairs).detach()))
    assert distances[1] < 0.5 * distances[0] < 0.9 * distances[2]

    again = interrupted(tmp_path / "drawn", tmp_path / "again")
    distill(None, None, again, resume=True, **told)
    assert curve(again) == curve(tmp_path / "drawn") and weights(again) == weights(tmp_path / "drawn")


@pytest.mark.parametrize(
    ("rho", "saved", "message"),
    [
        (0.3, False, "^distillation.share_heads = 0.3: heads of a fresh student are like nothing; leave it out$"),
        (0.05, True, "^distillation.share_heads = 0.05 is less than one head: raise it"),
        (0.7, True, "^share_heads = 0.7: from 0 to 0.5, since the first layer's heads have no partner$"),
    ],
)
def test_heads_that_cannot_be_shared_are_refused(
    rho: float, saved: bool, message: str, teacher: Path, corpus: Path, settings: Tables, healing: Any, tmp_path: Path
) -> None:
    plan = healing(None if saved else settings(LEARNED)["model"], distillation={"share_heads": rho})
    with pytest.raises(ValueError, match=message):
        distill(plan, corpus, tmp_path / "run", teacher=teacher, student=teacher if saved else None, quiet=True)
    assert not (tmp_path / "run").exists()


def test_heads_that_do_not_match_need_minilm2(
    teacher: Path, corpus: Path, settings: Tables, healing: Any, tmp_path: Path
) -> None:
    model = settings(LEARNED | {"num_attention_heads": 2})["model"]
    with pytest.raises(ValueError, match="compares head with head: the teacher has 7, the student 2; choose minilm2$"):
        distill(healing(model, distillation={"method": "minilm"}), corpus, tmp_path / "run", teacher=teacher)


@pytest.mark.parametrize(
    ("mixing", "method", "message"),
    [
        (
            {"mixer": "clusters"},
            "minilm2",
            "the student's mixer 'clusters' has no heads that compare tokens, .*; choose logits$",
        ),
        (
            {"mixer": "fourier"},
            "minilm2",
            "the student's mixer 'fourier' has no heads that compare tokens, .*; choose logits$",
        ),
        ({"mixer": "convolution"}, "minilm", "the teacher has 7, the student 3; choose minilm2$"),
        ({"mixer": "convolution"}, "minilm2", "relation_heads = 7 does not divide the student's width of 9"),
    ],
)
def test_relations_are_those_of_the_heads_that_attend(
    mixing: Any, method: str, message: str, teacher: Path, corpus: Path, settings: Tables, healing: Any, tmp_path: Path
) -> None:
    sizes = {"hidden_size": 18, "num_attention_heads": 6}
    model = settings(LEARNED | mixing | sizes)["model"]
    with pytest.raises(ValueError, match=message):
        distill(healing(model, distillation={"method": method}), corpus, tmp_path / "run", teacher=teacher)
    assert not (tmp_path / "run").exists()


def test_data_in_other_tokens_are_refused(
    teacher: Path, make_corpus: Callable[..., Path], data: Path, healing: Any, tmp_path: Path
) -> None:
    other = shutil.copytree(teacher / "model", tmp_path / "other", ignore=shutil.ignore_patterns("SHA256SUMS"))
    (other / "tokenizer.json").unlink()
    with pytest.raises(FileNotFoundError, match="tokenizer.json is missing, so .* may be in other tokens: copy"):
        pretrain(healing(), data, tmp_path / "run", init=other, quiet=True)
    tokenizer = json.loads((data / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    first, second = list(vocabulary)[-2:]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(ValueError, match="was prepared with another tokenizer than .*: leanformer prepare --tokenizer"):
        pretrain(healing(), data, tmp_path / "run", init=other, quiet=True)


def test_an_encoder_becomes_no_decoder_nor_a_decoder_an_encoder(
    corpus: Path, settings: Tables, healing: Any, tmp_path: Path
) -> None:
    once = {"max_steps": 1, "checkpoint_every": 0}
    pretrain(settings_from(settings(LEARNED | {"embedding_size": 7}, **once)), corpus, tmp_path / "narrow", quiet=True)
    writing = settings({}, objective="causal_lm", **once)
    pretrain(settings_from(writing), corpus, tmp_path / "writer", quiet=True)
    for start, objective, wanted in (("narrow", "causal_lm", "CausalLM"), ("writer", "masked_lm", "MaskedLM")):
        with pytest.raises(ValueError, match=f"cannot become a LeanformerFor{wanted}: .* or the training.objective it"):
            pretrain(healing(objective=objective), corpus, tmp_path / "run", init=tmp_path / start, quiet=True)
        assert not (tmp_path / "run").exists()


def test_a_student_is_not_continued_without_its_teacher(
    teacher: Path, converted: Path, corpus: Path, healing: Any, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    distill(healing(max_steps=1), corpus, out, teacher=teacher, student=converted, quiet=True)
    with pytest.raises(ValueError, match="is of a student: continue it with leanformer distill"):
        pretrain(None, None, out, resume=True, quiet=True)
    with pytest.raises(ValueError, match="was made with teacher.sha256 = "):
        distill(None, None, out, teacher=converted, student=converted, resume=True, quiet=True)


def test_two_processes_draw_the_curve_of_one(
    teacher: Path, converted: Path, fork_server: Any, settings: Tables, curve: Any, tmp_path: Path
) -> None:
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    tables = settings(max_steps=8, micro_batch_size=None) | {"model": still, "distillation": GRADUAL}
    told = {"teacher": str(teacher), "student": str(converted)}
    assert fork_server.run(tmp_path / "one", tables, distill=told) == 0
    assert fork_server.run_two(tmp_path / "two", tables, distill=told) == [0, 0]
    one, two = curve(tmp_path / "one"), curve(tmp_path / "two")
    assert len(two) == len(one) > 2
    for line, other in zip(two, one, strict=True):
        assert_close(line, other, rtol=1e-6, atol=1e-6)


def test_the_verb(teacher: Path, converted: Path, corpus: Path, command: Any, tmp_path: Path) -> None:
    sizes = ["training.sequence_length=13", "training.batch_size=4", "training.max_steps=2", "training.threads=1"]
    told = [argument for setting in sizes for argument in ("--set", setting)]
    where = ["--teacher", teacher, "--data", corpus, "--out", tmp_path / "run", "--json"]
    status, out, err = command("distill", converted, *where, *told, "--set", "distillation.method=minilm2")
    assert status == 0, err
    assert json.loads(out)["settings"]["distillation"]["method"] == "minilm2"
    status, out, _ = command("distill", converted, *where, "--resume")
    assert status == 0 and json.loads(out)["status"] == "finished"
    status, _, err = command("distill", converted, *where, "--set", "distillation.metod=logits")
    assert status == 2 and "unknown setting distillation.metod: did you mean 'method'?" in err
    student = tmp_path / "student.toml"
    student.write_text('[model]\nattention = "random"\nhidden_size = 14\nnum_attention_heads = 7\n')
    where[5] = tmp_path / "fresh"
    status, out, err = command("distill", student, *where, *told, "--set", "model.num_hidden_layers=1")
    assert status == 0 and json.loads(out)["start"] is None, err
