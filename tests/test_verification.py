"""`verify` finds what was changed, wherever it is; and what reads a run, data or a model finds it first."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from leanformer import files
from leanformer.conversion.convert import convert
from leanformer.data.prepare import prepare
from leanformer.exporting.export import export
from leanformer.inference.embedding import embed
from leanformer.records import reading
from leanformer.settings import settings_from
from leanformer.training.pretrain import pretrain
from leanformer.training.run.record import RunDirectory
from leanformer.verification import verify

SETTINGS = {
    "model": {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12}
    | {"max_position_embeddings": 16},
    "training": {"max_steps": 4, "batch_size": 4, "sequence_length": 16, "threads": 1, "checkpoint_every": 1}
    | {"score_at": [128], "log_every": 1, "validation_sequences": 2, "precision": "fp32"},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verify")
    (folder / "text.txt").write_text("\n\n".join(f"Anna likes tea and Ben hates fish {i % 7}." * 5 for i in range(90)))
    prepare(folder / "text.txt", folder / "data", vocab_size=60, sequence_length=16, valid_fraction=0.1, quiet=True)
    pretrain(settings_from(SETTINGS), folder / "data", folder / "run", quiet=True)
    return folder


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "copy")


@pytest.fixture
def stopped(copy: Path) -> Path:
    """The run as if stopped after its last checkpoint, of step 3."""
    run = RunDirectory(copy / "run")
    shutil.rmtree(run.model)
    run.update(status="stopped", results=None)
    return run.path


def flip(file: Path, byte: int = -1) -> None:
    data = bytearray(file.read_bytes())
    data[byte] ^= 1
    file.write_bytes(data)


def resume(run: Path) -> dict[str, Any]:
    return pretrain(None, run.parent / "data", run, resume=True, quiet=True)


def test_what_is_whole_has_no_faults(made: Path) -> None:
    checked, faults = verify(made)
    assert not faults
    assert checked == {"data": 1, "run": 1, "lines": 1, "checkpoint": 2, "model": 1}


FILES = [
    "data/data.json",
    "data/train.bin",
    "data/valid.bin",
    "data/test.bin",
    "data/train.documents.bin",
    "data/tokenizer.json",
    "run/run.json",
    "run/scores/test.npz",
    "run/scores/valid.npz",
    "run/scores/step-00000002/test.npz",
    "run/scores/step-00000002/valid.npz",
    "run/checkpoint/step-00000002/state.json",
    "run/checkpoint/step-00000003/model.safetensors",
    "run/checkpoint/step-00000003/optimizer.safetensors",
    "run/checkpoint/step-00000003/SHA256SUMS",
    "run/model/model.safetensors",
    "run/model/config.json",
    "run/model/tokenizer.json",
    "run/model/SHA256SUMS",
]


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_found_in_every_file(copy: Path, name: str) -> None:
    flip(copy / name, len((copy / name).read_bytes()) // 2)
    faults = verify(copy).faults
    assert faults and all("\n" not in fault for fault in faults)
    assert any(Path(name).parent.name in fault for fault in faults)


def test_every_file_that_has_a_sum_is_tried(made: Path) -> None:
    here = {str(file.relative_to(made)) for file in made.rglob("*") if file.is_file()}
    older = {name for name in here if "step-00000002" in name}
    free = {"text.txt", "data/.verified.json", "run/curve.jsonl", "data/valid.documents.bin", "data/test.documents.bin"}
    assert here - older - free - set(FILES) <= {name for name in here if name.endswith(("_config.json", "state.json"))}


def test_there_is_something_to_verify(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds neither data nor a run"):
        verify(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such directory"):
        verify(tmp_path / "nowhere")


def test_weights_that_are_no_numbers_are_found(copy: Path, tmp_path: Path) -> None:
    weights = copy / "run/model/model.safetensors"
    tensors = load_file(weights)
    tensors["encoder.embeddings.norm.weight"][1] = torch.nan
    save_file(tensors, weights, {"format": "pt"})
    files.write_sums(weights.parent)
    shutil.copytree(weights.parent, tmp_path / "alone")
    assert any("no finite numbers" in fault for fault in verify(tmp_path / "alone").faults)
    with pytest.raises(ValueError, match="embeddings.norm.weight holds values that are no finite numbers"):
        convert(tmp_path / "alone", tmp_path / "converted")


def asked(run: Path) -> None:
    embed(run, [str(run.parent / "text.txt")], run.parent / "vectors.npy")


def converted(run: Path) -> None:
    convert(run, run.parent / "converted")


def exported(run: Path) -> None:
    export(run, run.parent / "exported")


@pytest.mark.parametrize("use", [asked, converted, exported])
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_model_with_a_flipped_bit_is_not_used(copy: Path, use: Callable[[Path], None], name: str) -> None:
    flip(copy / "run/model" / name, len((copy / "run/model" / name).read_bytes()) - 20)
    with pytest.raises(ValueError, match=rf"{name} is damaged, its sha256 is not the one in SHA256SUMS"):
        use(copy / "run")


def test_a_model_of_other_weights_is_not_the_run_s(copy: Path) -> None:
    """Whole in itself, by its sums, but not what the run trained."""
    flip(copy / "run/model/model.safetensors")
    files.write_sums(copy / "run/model")
    with pytest.raises(ValueError, match=r"model.safetensors is not the model that .*run.json says was trained"):
        asked(copy / "run")
    with pytest.raises(ValueError, match="says was trained"):
        resume(copy / "run")


def test_a_model_without_sums_is_taken_as_it_is(copy: Path, tmp_path: Path) -> None:
    shutil.copytree(copy / "run/model", tmp_path / "model")
    (tmp_path / "model/SHA256SUMS").unlink()
    convert(tmp_path / "model", tmp_path / "converted")
    assert not verify(tmp_path / "converted").faults


def test_sums_of_somebody_else_s_other_folders_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    other = f"{'0' * 64} *sub/b.txt\n"
    (tmp_path / files.SUMS).write_text(f"{files.sha256(tmp_path / 'a.txt')} *./a.txt\n{other}")
    files.check_sums(tmp_path, "restore it")
    flip(tmp_path / "a.txt")
    os.utime(tmp_path / "a.txt", ns=(0, 0))
    with pytest.raises(ValueError, match="a.txt is damaged"):
        files.check_sums(tmp_path, "restore it")


# --- a stopped run


def edit(run: Path, change: Callable[[dict[str, Any]], Any], seal: bool) -> None:
    record = RunDirectory(run).read()
    change(record)
    (run / "run.json").write_text(json.dumps(reading.sealed(record) if seal else record))


@pytest.mark.parametrize("seal", [True, False])
@pytest.mark.parametrize(
    ("key", "value"), [("learning_rate", 0.5), ("seed", 2), ("batch_size", 8), ("mask_rate", 0.5), ("max_steps", 9)]
)
def test_a_setting_that_was_edited_since_the_checkpoint_is_named(
    stopped: Path, key: str, value: Any, seal: bool
) -> None:
    edit(stopped, lambda record: record["settings"]["training"].update({key: value}), seal)
    with pytest.raises(
        ValueError, match=rf"run.json says training.{key} = {value}, and .*step-00000003 was written with"
    ):
        resume(stopped)


def test_a_status_that_was_edited_is_no_finished_run(stopped: Path) -> None:
    edit(stopped, lambda record: record.update(status="finished"), seal=True)
    with pytest.raises(FileNotFoundError, match=r"model is missing"):
        resume(stopped)


def test_an_unsealed_edit_is_refused_as_it_is_read(stopped: Path) -> None:
    text = (stopped / "run.json").read_text()
    (stopped / "run.json").write_text(text.replace('"seed": 1', '"seed": 3', 1))
    with pytest.raises(ValueError, match="by its checksum"):
        resume(stopped)


def test_a_curve_that_was_edited_before_the_checkpoint_is_refused(stopped: Path) -> None:
    curve = stopped / "curve.jsonl"
    curve.write_text(curve.read_text().replace('"step": 2', '"step": 7'))
    with pytest.raises(ValueError, match=r"curve.jsonl was edited or damaged since the checkpoint: restore it"):
        resume(stopped)


@pytest.mark.parametrize("step", [-1, 2, 10**12, 2.5, "3", None])
def test_a_state_of_another_step_is_refused_though_its_sum_is_right(stopped: Path, step: Any) -> None:
    folder = stopped / "checkpoint/step-00000003"
    state = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps(state | {"step": step}))
    files.write_sums(folder)
    with pytest.raises(ValueError, match=r"state.json is damaged \(step = "):
        resume(stopped)


def test_a_checkpoint_beyond_the_run_s_end_is_refused(stopped: Path) -> None:
    folder = (stopped / "checkpoint/step-00000003").rename(stopped / "checkpoint/step-00000400")
    state = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps(state | {"step": 400}))
    files.write_sums(folder)
    with pytest.raises(ValueError, match="step-00000400 is beyond the 4 steps of"):
        resume(stopped)


def test_a_whole_run_goes_on_to_the_same_bits(stopped: Path, made: Path) -> None:
    resume(stopped)
    ours, theirs = (load_file(run / "model/model.safetensors") for run in (stopped, made / "run"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


# --- plug-ins

PLUGIN = """import dataclasses
from leanformer.attention import mechanism, register
register(dataclasses.replace(mechanism("symmetric"), name="mine_to_verify"))
"""


def test_a_changed_plug_in_is_refused_before_it_runs(made: Path, tmp_path: Path, own_registry: None) -> None:
    plugin, run = tmp_path / "mine.py", tmp_path / "run"
    plugin.write_text(PLUGIN)
    settings = {**SETTINGS, "model": SETTINGS["model"] | {"attention": "mine_to_verify"}}
    pretrain(settings_from(settings), made / "data", run, plugin=plugin, quiet=True)
    other = tmp_path / "other.py"  # another place, since a process loads a file once
    other.write_text(PLUGIN + f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    edit(run, lambda record: record["plugin"].update(path=str(other)), seal=True)
    with pytest.raises(ValueError, match="was made with plugin.sha256 = .* restore it, or choose another --out"):
        resume(run)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "end", ["sys.exit(0)", "raise SystemExit", "raise GeneratorExit", "class E(BaseException): ...\nraise E"]
)
def test_a_plug_in_does_not_end_the_command(tmp_path: Path, end: str, own_registry: None) -> None:
    from leanformer.attention import load_plugin

    (tmp_path / "mine.py").write_text(f"import sys\n{end}\n")
    with pytest.raises(ValueError, match="plug-in .*mine.py failed to load: "):
        load_plugin(tmp_path / "mine.py")
