"""`pretrain` as a function: what it records, what it refuses, what it leaves behind."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from leanformer.locks import claimed
from leanformer.settings import settings_from
from leanformer.training.machine import peak
from leanformer.training.pretrain import pretrain
from leanformer.training.run.checkpoint import Checkpoints
from leanformer.training.run.record import RunDirectory

Tables = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, corpus: Path, settings: Tables) -> Path:
    out = tmp_path_factory.mktemp("finished") / "run"
    pretrain(settings_from(settings(max_steps=8, checkpoint_every=3)), corpus, out, quiet=True)
    return out


@pytest.fixture
def killed(finished: Path, tmp_path: Path, interrupted: Callable[[Path, Path], Path]) -> Path:
    """As if killed after its second checkpoint, at step 6."""
    return interrupted(finished, tmp_path / "run")


def test_the_record_says_everything(finished: Path, corpus: Path) -> None:
    record = json.loads((finished / "run.json").read_text())
    assert (record["schema"], record["kind"], record["status"]) == (1, "pretrain", "finished")
    assert (record["attention"], record["attention_options"], record["seed"]) == ("dot_product", {}, 1)
    assert record["settings"]["model"]["hidden_size"] == 14 and record["settings"]["model"]["vocab_size"] == 23
    assert record["settings"]["training"]["max_steps"] == 8
    assert record["versions"].keys() >= {"leanformer", "commit", "python", "torch", "transformers"}
    assert record["hardware"].keys() == {"device", "gpu", "cpu", "cores", "threads", "processes", "precision"}
    assert record["data"]["path"] == str(corpus) and record["data"]["train_tokens"] == 3001
    assert 0 < record["floor"]["context_free"] < record["floor"]["unigram"]
    results = record["results"]
    assert (results["steps"], results["tokens"]) == (8, 8 * 22 * 13)
    assert results["validations"] == [[8 * 22 * 13, results["final_loss"]]]
    flops = record["ledger"]["flops_per_token"]["training"]
    assert results["flops_per_second"] == pytest.approx(flops * results["tokens_per_second"])
    assert results["matrix_peak_flops_per_second"] is results["mfu"] is None, "too short a run"
    assert results.keys() >= {"energy_joules", "energy_source"} and results["energy_source"]
    from safetensors.torch import load_file

    parameters = sum(tensor.numel() for tensor in load_file(finished / "model/model.safetensors").values())
    assert record["ledger"]["parameters"]["total"] == parameters


def test_the_model_lies_beside_its_tokenizer(finished: Path, corpus: Path) -> None:
    names = {p.name for p in (finished / "model").iterdir()}
    assert names == {"SHA256SUMS", "config.json", "model.safetensors", "tokenizer.json"}
    config = json.loads((finished / "model/config.json").read_text())
    assert (config["vocab_size"], config["pad_token_id"]) == (23, 0)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"model": {"hiden_size": 8}}, "^unknown setting model.hiden_size.* did you mean 'hidden_size'"),
        ({"model": {"attention": "pairwize"}}, "did you mean 'pairwise'"),
        ({"model": {"hidden_size": 15}}, "hidden_size = 15: is not divisible by num_attention_heads = 7"),
        ({"model": {"hidden_size": 21}}, "needs an even head size"),
        ({"model": {"vocab_size": 7}}, r"^model.vocab_size = 7: .* has 23 tokens; leave it out$"),
        ({"training": {"sequence_length": 14}}, "^training.sequence_length = 14 is longer than the model: lower it"),
        ({"training": {"batch_size": 2000}}, r"3,001 training tokens, not enough for 2000 x 13"),
        ({"training": {"log_with": "tensorbord"}}, "^training.log_with = 'tensorbord': "),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_written(
    tables: dict[str, Any], message: str, corpus: Path, settings: Tables, tmp_path: Path
) -> None:
    right = settings()
    wrong = {name: right[name] | tables.get(name, {}) for name in right}
    with pytest.raises(ValueError, match=message) as caught:
        pretrain(settings_from(wrong), corpus, tmp_path / "out/run", quiet=True)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


MIXED: dict[str, dict[str, Any]] = {
    "fourier": {"mixer": "fourier"},
    "linear": {"mixer": "linear"},
    "gmlp": {
        "mixer": "gmlp",
        "mixer_options": {"inner_size": 22, "tiny_attention": 5},
        "block": "mixing_only",
        "norm": "pre",
    },
    "simplified": {"mixer": "shaped", "block": "simplified", "norm": "pre"},
    "simplified_parallel": {"mixer": "shaped", "attention": "pairwise", "block": "simplified_parallel", "norm": "pre"},
}


@pytest.mark.parametrize("name", MIXED)
def test_other_mixers_train_and_a_killed_run_resumes_to_the_same_bits(
    name: str, corpus: Path, settings: Tables, tmp_path: Path, interrupted: Any, curve: Any
) -> None:
    optimizer = "muon" if name in ("gmlp", "simplified") else "adamw"
    tables = settings({"positions": "learned"} | MIXED[name], max_steps=8, checkpoint_every=3, optimizer=optimizer)
    pretrain(settings_from(tables), corpus, tmp_path / "whole", quiet=True)
    again = interrupted(tmp_path / "whole", tmp_path / "again")
    pretrain(None, None, again, resume=True, quiet=True)
    assert curve(again) == curve(tmp_path / "whole")
    files = [run / "model/model.safetensors" for run in (tmp_path / "whole", again)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_no_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such data directory; make one with: leanformer prepare"):
        pretrain(None, tmp_path / "nowhere", tmp_path / "run", quiet=True)


def test_a_place_that_cannot_be_written_is_refused(corpus: Path, settings: Tables, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"^cannot write to .*file/run \(Not a directory\): choose another --out$"):
        pretrain(settings_from(settings()), corpus, tmp_path / "file/run", quiet=True)


def test_a_run_does_not_hide_a_saved_model(corpus: Path, settings: Tables, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FileExistsError, match="holds a saved model, which a run would hide: choose another --out$"):
        pretrain(settings_from(settings()), corpus, tmp_path, quiet=True)


def test_a_directory_with_a_run_is_refused(finished: Path, killed: Path, corpus: Path, settings: Tables) -> None:
    with pytest.raises(FileExistsError, match=r"already holds a run \(status finished\): choose another --out$"):
        pretrain(settings_from(settings()), corpus, finished, quiet=True)
    with pytest.raises(
        FileExistsError, match=r"\(status running\): continue it with --resume, or choose another --out$"
    ):
        pretrain(settings_from(settings()), corpus, killed, quiet=True)
    (killed / "run.json").unlink()
    with pytest.raises(FileExistsError, match=r"curve.jsonl already exists, but belongs to no run"):
        pretrain(settings_from(settings()), corpus, killed, quiet=True)


def test_a_directory_with_other_files_is_not(corpus: Path, settings: Tables, tmp_path: Path) -> None:
    (tmp_path / "log.txt").touch()
    pretrain(settings_from(settings(max_steps=1)), corpus, tmp_path, quiet=True)
    assert (tmp_path / "model").is_dir()


def test_a_run_in_progress_is_not_disturbed(killed: Path) -> None:
    with claimed(killed), pytest.raises(FileExistsError, match="is in use by process .*: wait for it or stop it"):
        pretrain(None, None, killed, resume=True, quiet=True)


def test_resume_without_a_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"^no run in .* \(it has no run.json\): leave out --resume"):
        pretrain(None, None, tmp_path / "run", resume=True, quiet=True)
    assert not (tmp_path / "run").exists()


def test_the_mfu_is_the_run_s_rate_over_the_machine_s(
    finished: Path, corpus: Path, settings: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, curve: Any
) -> None:
    monkeypatch.setattr(peak, "LEAST", 1e-9)
    monkeypatch.setattr(peak, "SQUARE", {"cpu": 64})
    out = tmp_path / "run"
    results = pretrain(settings_from(settings(max_steps=8, checkpoint_every=3)), corpus, out, quiet=True)["results"]
    assert results["matrix_peak_flops_per_second"] > 0
    assert results["mfu"] == results["flops_per_second"] / results["matrix_peak_flops_per_second"]
    assert curve(out) == curve(finished)
    weights = [(run / "model/model.safetensors").read_bytes() for run in (out, finished)]
    assert weights[0] == weights[1]


def test_a_run_of_two_machines_has_no_share_of_one(killed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peak, "LEAST", 1e-9)
    run = RunDirectory(killed)
    run.update(hardware=run.read()["hardware"] | {"cpu": "another"})
    assert pretrain(None, None, killed, resume=True, quiet=True)["results"]["mfu"] is None


class Counting:
    """A meter that counts 3 J at each reading, on top of what was."""

    source = "a test"

    def __init__(self, device: torch.device, *, packages: bool, before: float | None, source: str) -> None:
        assert packages and source in ("", self.source)
        self.joules = before

    def tick(self) -> None:
        pass

    def read(self) -> float:
        self.joules += 3.0
        return self.joules


def test_joules_add_up_over_a_resume(
    corpus: Path, settings: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read at the checkpoints of steps 3 and 6 and at the end; what came after a checkpoint and was lost is not in."""
    monkeypatch.setattr("leanformer.training.loop.Meter", Counting)
    out = tmp_path / "run"
    record = pretrain(settings_from(settings(max_steps=8, checkpoint_every=3)), corpus, out, quiet=True)
    assert record["results"]["energy_joules"] == 9 and record["results"]["energy_source"] == "a test"
    shutil.rmtree(out / "model")
    RunDirectory(out).update(status="running", results=None)
    assert pretrain(None, None, out, resume=True, quiet=True)["results"]["energy_joules"] == 6 + 3


def test_resume_of_a_finished_run_says_so(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {p: p.stat().st_mtime_ns for p in finished.rglob("*")}
    record = pretrain(None, None, finished, resume=True)
    assert record["status"] == "finished"
    assert capsys.readouterr().out == f"{finished} is already finished\n"
    assert {p: p.stat().st_mtime_ns for p in finished.rglob("*")} == before


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"training": {"learning_rate": 0.5}}, r"run.json was made with training.learning_rate = 0.003, not 0.5: "),
        (
            {"model": {"attention": "pairwise"}},
            r"run.json was made with model.attention = 'dot_product', not 'pairwise'",
        ),
    ],
)
def test_resume_with_other_settings_names_the_difference(
    tables: dict[str, Any], message: str, killed: Path, settings: Tables
) -> None:
    right = settings(max_steps=8, checkpoint_every=3)
    other = {name: right[name] | tables.get(name, {}) for name in right}
    with pytest.raises(ValueError, match=message):
        pretrain(settings_from(other), None, killed, resume=True, quiet=True)


def test_multipliers_that_are_the_defaults_make_no_difference(
    killed: Path, settings: Tables, finished: Path, curve: Any
) -> None:
    tables = settings(max_steps=8, checkpoint_every=3)
    tables["training"]["lr_multipliers"] = {"phases": 30.0, "position_tables": 1.0, "muon": 1.0}
    pretrain(settings_from(tables), None, killed, resume=True, quiet=True)
    assert curve(killed) == curve(finished)
    tables["training"]["lr_multipliers"]["phases"] = 3.0
    with pytest.raises(ValueError, match=r"made with training.lr_multipliers = {}, not {'phases': 3.0}"):
        pretrain(settings_from(tables), None, killed, resume=True, quiet=True)


def test_resume_with_other_data_is_refused(killed: Path, make_corpus: Callable[..., Path], tmp_path: Path) -> None:
    other = make_corpus(tmp_path / "other", seed=1)
    with pytest.raises(ValueError, match="was made with data.hash = "):
        pretrain(None, other, killed, resume=True, quiet=True)


def test_what_does_not_change_the_curve_may_change(killed: Path, settings: Tables, finished: Path, curve: Any) -> None:
    other = settings_from(settings(max_steps=8, checkpoint_every=1, keep_checkpoints=1))
    pretrain(other, None, killed, resume=True, quiet=True)
    assert curve(killed) == curve(finished)
    assert [p.name for p in (killed / "checkpoint").iterdir()] == ["step-00000007"]


def test_a_checkpoint_too_many_is_removed(killed: Path) -> None:
    """A run killed between a new checkpoint and the removal of an old one leaves one."""
    shutil.copytree(killed / "checkpoint/step-00000003", killed / "checkpoint/step-00000001")
    pretrain(None, None, killed, resume=True, quiet=True)
    assert sorted(p.name for p in (killed / "checkpoint").iterdir()) == ["step-00000003", "step-00000006"]


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_works(killed: Path, finished: Path, curve: Any) -> None:
    newest = Checkpoints(killed / "checkpoint").path(6)
    (newest / "optimizer.safetensors").write_bytes(b"short")
    with pytest.raises(ValueError, match=rf"remove {newest} to resume from step-00000003, the one before it$"):
        pretrain(None, None, killed, resume=True, quiet=True)
    assert json.loads((killed / "run.json").read_text())["status"] == "failed"
    shutil.rmtree(newest)
    pretrain(None, None, killed, resume=True, quiet=True)
    assert curve(killed) == curve(finished)


def test_a_curve_shorter_than_its_checkpoint_is_refused(killed: Path) -> None:
    (killed / "curve.jsonl").write_text("")
    with pytest.raises(ValueError, match=r"curve.jsonl has 0 bytes, not the checkpoint's \d+: restore it"):
        pretrain(None, None, killed, resume=True, quiet=True)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 2}'])
def test_a_damaged_record_is_refused(text: str, killed: Path) -> None:
    (killed / "run.json").write_text(text)
    with pytest.raises(ValueError, match=r"run.json (is damaged|has schema 2)"):
        pretrain(None, None, killed, resume=True, quiet=True)


def test_a_plug_in_is_recorded_and_must_not_change(
    corpus: Path, settings: Tables, tmp_path: Path, own_registry: None
) -> None:
    plugin, out = tmp_path / "mine.py", tmp_path / "run"
    plugin.write_text(
        "from leanformer.attention import Mechanism, mechanism, register\n"
        "import dataclasses\n"
        "register(dataclasses.replace(mechanism('symmetric'), name='mine_for_training'))\n"
    )
    tables = settings({"attention": "mine_for_training"}, max_steps=1)
    record = pretrain(settings_from(tables), corpus, out, plugin=plugin, quiet=True)
    assert record["plugin"]["path"] == str(plugin) and record["attention"] == "mine_for_training"
    plugin.write_text(plugin.read_text() + "# changed\n")
    with pytest.raises(ValueError, match="was made with plugin.sha256 = "):
        pretrain(None, None, out, resume=True, quiet=True)


def test_tensorboard_forgets_what_a_killed_run_logged_beyond_its_checkpoint(
    corpus: Path, settings: Tables, tmp_path: Path, curve: Any
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    out = tmp_path / "run"
    tables = settings(max_steps=8, checkpoint_every=3, log_every=1, log_with="tensorboard")
    pretrain(settings_from(tables), corpus, out, quiet=True)
    shutil.rmtree(out / "model")
    RunDirectory(out).update(status="running")
    pretrain(None, None, out, resume=True, quiet=True)
    events = EventAccumulator(str(out / "tensorboard")).Reload().Scalars("loss")
    assert [event.step for event in events] == list(range(1, 9))
    assert [event.value for event in events] == pytest.approx([line["loss"] for line in curve(out)])
