"""A whole study with tiny models: what it writes, that pairs read the same, that it goes on, and that it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest

from leanformer.data.examples import Examples
from leanformer.data.tasks import Task
from leanformer.robustness.training_data import few_settings
from leanformer.robustness.trials import relabelled
from leanformer.settings import FinetuningSettings, read_settings
from leanformer.training.pretrain import pretrain

SETTINGS = ["epochs=1", "batch_size=8", "max_length=32", "threads=1", "precision=fp32"]


@pytest.fixture(scope="module")
def runs(data, tiny, tmp_path_factory) -> list[Path]:
    """Two mechanisms, two seeds each."""
    folder = tmp_path_factory.mktemp("runs")
    made = []
    for name in ("dot_product", "shared"):
        for seed in (1, 2):
            own = [*tiny[1::2], f"model.attention={name}", f"training.seed={seed}"]
            made.append(folder / f"{name}-{seed}")
            pretrain(read_settings(None, own), data, made[-1], quiet=True)
    return made


@pytest.fixture(scope="module")
def task_data(tmp_path_factory) -> Path:
    """sst2 and imdb alike: good or bad, among other words."""
    folder = tmp_path_factory.mktemp("tasks")
    random = np.random.default_rng(5)

    def write(task: str, column: str, split: str, size: int) -> None:
        (folder / task).mkdir(exist_ok=True)
        words = ["of", "the", "a", "film", "plot", "that", "and"]
        rows = []
        for label in random.integers(0, 2, size).tolist():
            text = " ".join([*random.permutation(words)[:4], ("bad", "good")[label]])
            rows.append(json.dumps({column: text, "label": label}) + "\n")
        (folder / task / f"{split}.jsonl").write_text("".join(rows))

    write("sst2", "sentence", "train", 61)
    write("sst2", "sentence", "validation", 23)
    write("imdb", "text", "train", 9)
    write("imdb", "text", "test", 13)
    return folder


@pytest.fixture(scope="module")
def arguments(runs, task_data, tmp_path_factory) -> list[object]:
    """The study, but for its noises."""
    out = tmp_path_factory.mktemp("study") / "out"
    own = [word for setting in SETTINGS for word in ("--set", f"finetuning.{setting}")]
    own += ["--task", "sst2", "--task-data", task_data, "--out", out, "--transfer", "imdb"]
    return ["robustness", *runs, *own, "--label-noise", "0.4", "--train-sizes", "10,1000", "--seeds", "2"]


def test_a_study(command, arguments, runs):
    out = Path(str(arguments[arguments.index("--out") + 1]))

    status, shown, _ = command(*arguments, "--noise", "typos,drop", "--levels", "0,0.5", "--dry-run")
    assert status == 0 and "24 runs to go" in shown and not out.exists()

    status, shown, error = command(*arguments, "--noise", "typos,drop", "--levels", "0,0.5")
    assert (status, error) == (0, "")
    assert "note: sst2 has 61 training examples: --train-sizes 1000 is left out" in " ".join(shown.split())
    found = json.loads((out / "results.json").read_text())
    assert (found["baseline"], found["seeds"], len(found["scores"])) == ("dot_product", [1, 2], 4)
    for one in found["scores"]:
        places = [(point["axis"], point["at"]) for point in one["points"]]
        expected = {
            ("typos", 0.5),
            ("drop", 0.5),
            ("transfer", "imdb"),
            ("label noise", 0.4),
            ("training examples", 10),
        }
        assert set(places) == expected and len(one["clean"]) == 2
        assert all(len(point["scores"]) == 2 for point in one["points"])
    assert "dot_product seed 1, sst2, fine-tuning seed 1" in shown and (out / "report.html").is_file()
    assert (out / "figures" / "robustness-sst2.svg").read_text().startswith("<svg")

    _differences_follow_from_the_scores(found)
    _pairs_read_the_same(out)
    _poor_data_are_poor(out)

    before = {file: file.stat().st_mtime_ns for file in out.rglob("run.json")}
    assert len(before) == 24
    status, shown, _ = command(*arguments, "--noise", "typos,swap", "--levels", "0.5,1")
    assert status == 0 and "8 runs to go" in shown
    assert {file: file.stat().st_mtime_ns for file in out.rglob("run.json")} == before
    again = json.loads((out / "results.json").read_text())
    assert {p["axis"] for p in again["scores"][0]["points"]} >= {"typos", "swap"}
    assert _at(again, "typos", 0.5) == _at(found, "typos", 0.5)
    status, shown, _ = command(*arguments, "--noise", "typos,swap", "--levels", "0.5,1")
    assert status == 0 and "to go" not in shown

    status, _, error = command(*arguments, "--set", "finetuning.epochs=2")
    assert status == 2 and "made with finetuning.epochs = 1.0" in error and error.count("\n") == 1


def _at(found: dict, axis: str, at: float) -> list[dict]:
    return [p["scores"] for one in found["scores"] for p in one["points"] if (p["axis"], p["at"]) == (axis, at)]


def _differences_follow_from_the_scores(found: dict) -> None:
    """By hand, of the drop under typos: shared minus dot_product, means over the fine-tuning seeds, paired by seed."""
    drop = {}
    for one in found["scores"]:
        (typos,) = [p["scores"] for p in one["points"] if p["axis"] == "typos"]
        drop[one["attention"], one["seed"]] = np.mean([one["clean"][s] - typos[s] for s in ("1", "2")])
    pairs = [drop["shared", seed] - drop["dot_product", seed] for seed in (1, 2)]
    (effect,) = [e for e in found["comparisons"] if (e["axis"], e["at"], e["measure"]) == ("typos", None, "drop")]
    assert effect["n"] == 2 and effect["seeds"] == [1, 2]
    assert effect["mean_difference"] == pytest.approx(np.mean(pairs), abs=1e-12)


def _pairs_read_the_same(out: Path) -> None:
    texts = {}
    for file in out.rglob("tests.json"):
        mechanism, *rest = file.relative_to(out / "runs").parts
        texts.setdefault(tuple(rest), []).append(
            {(t["axis"], t["at"]): t["hash"] for t in json.loads(file.read_text())["tests"]}
        )
    assert len(texts) == 4 and all(ours == theirs for ours, theirs in texts.values())
    noisy = [json.dumps(of["typos", 0.5]) for of, _ in texts.values()]
    assert len(set(noisy)) == 4


def _poor_data_are_poor(out: Path) -> None:
    def record(condition: str, seed: int = 1, mechanism: str = "shared") -> dict:
        return json.loads((out / "runs" / mechanism / f"seed-{seed}/sst2/{condition}/seed-1/run.json").read_text())

    clean, wrong, few = record("clean"), record("label-noise-0.4"), record("training-examples-10")
    assert clean["data"]["examples"]["train"] == wrong["data"]["examples"]["train"] == 61
    assert few["data"]["examples"] == {"train": 10, "validation": 23}
    hashes = [r["data"]["hash"]["train"] for r in (clean, wrong, few, record("training-examples-10", 2))]
    assert len(set(hashes)) == 4
    assert few["data"]["hash"] == record("training-examples-10", mechanism="dot_product")["data"]["hash"]
    assert few["results"]["steps"] == clean["results"]["steps"] == 8
    models = sorted({model.parts[-3] for model in out.rglob("model")})
    assert models == ["clean"]


@pytest.mark.parametrize(
    "own, error",
    [
        (["--noise", "typoes"], "unknown noise 'typoes': did you mean 'typos'?"),
        (["--levels", "0.1,1.2"], "--levels 1.2 is not a share"),
        (["--label-noise", "-1"], "--label-noise -1 is not a share"),
        (["--train-sizes", "0"], "--train-sizes 0: at least one example"),
        (["--transfer", "rte"], "--transfer rte: its labels are not those of sst2"),
        (["--noise", "misspellings"], "give --misspellings FILE"),
        (["--noise", "misspellings", "--misspellings", "nowhere.txt"], "nowhere.txt: no such file"),
        (["--misspellings", "nowhere.txt"], "it is for --noise misspellings"),
        (["--noise", "", "--transfer", ""], "nothing to test"),
        (["--task", "squad"], "noise would move the answers"),
        (["--task", "stsb", "--transfer", "", "--label-noise", "0.1"], "stsb is a regression"),
        (["--seeds", "0"], "at least one is needed"),
    ],
)
def test_what_makes_no_sense_is_one_line(command, arguments, own, error):
    plain = arguments[: arguments.index("--label-noise")]
    status, _, said = command(*plain, *own)
    assert status == 2 and error in said and said.count("\n") == 1


def test_sources_that_cannot_be_compared(command, arguments, runs, tmp_path):
    rest = arguments[1 + len(runs) :]
    for sources, error in (
        ([tmp_path, runs[0]], "holds no run"),
        ([runs[0], runs[0]], "once more"),
        ([tmp_path], "holds neither"),
    ):
        status, _, said = command("robustness", *sources, *rest)
        assert status == 2 and error in said and said.count("\n") == 1


def test_labels_of_another_task_are_matched_by_name():
    rte, wnli = (Task(name, ("text",), labels) for name, labels in (("a", ("yes", "no")), ("b", ("no", "yes"))))
    examples = Examples([("x",)] * 3, np.array([0, 1, 1]))
    assert relabelled(examples, rte, wnli).labels.tolist() == [1, 0, 0]


def test_few_examples_are_read_more_often():
    settings = FinetuningSettings(epochs=3, batch_size=32)
    assert few_settings(settings, 100, 10_000).epochs == 32  # 100 steps
    assert few_settings(settings, 5_000, 10_000).epochs == 3
    assert few_settings(settings, 10, 320).epochs == pytest.approx(30 * 32 / 10)  # as many steps as all the data
