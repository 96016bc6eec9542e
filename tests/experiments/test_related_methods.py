"""The protocol of the neighbouring systems at a size of seconds: tiny models, and made-up answers of what clocks."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import finetuning
from experiments.related_methods import page, plan, statistics, tuned
from experiments.related_methods.command import RelatedMethods, main
from experiments.rows import by_seed
from leanformer.reporting.numbers.statistics import paired_difference, with_holm
from leanformer.settings import read_settings
from tests.experiments.in_process import InProcess

DOCS = Path(__file__).parents[2] / "docs/results"
CONFIG = """
[model]
hidden_size = 16
num_hidden_layers = 1
num_attention_heads = 2
intermediate_size = 32
max_position_embeddings = 64
positions = "rotary"

[training]
max_steps = 7
batch_size = 4
sequence_length = 32
precision = "fp32"
validation_sequences = 8
checkpoint_every = 0
"""
LINE = {"model": {"num_hidden_layers": 4, "hidden_size": 256}, "training": {}}
HEAD = {"schema": 1, "kind": "related_methods", "seeds": 3, "jobs": 2, "settings": LINE, "data": {"vocab_size": 8192},
        "encoders": [], "hardware": {"cpu": "a CPU"}, "missing": [], "tried": {}, "pieces": [],
        "versions": {"leanformer": "1", "commit": None, "torch": "2"}}  # fmt: skip


def compared(arms: list[str], seeds: int) -> dict[str, Any]:
    """Mixers learn more in the same time, other parts nothing."""
    runs = [
        {"attention": arm, "seed": seed, "status": "finished", "parameters": 1000 - 100 * ("groups" in arm),
         "tokens": 10, "seconds": 5.0, "final_loss": 3 + 0.01 * seed + 0.001 * len(arm) * seed % 3 / 100
         - 0.5 * (plan.CONV in arm), "learned_from_context": True}
        for arm in arms
        for seed in range(1, seeds + 1)
    ]  # fmt: skip
    return {"floor": {"context_free": 6.0}, "runs": runs}


def benched(arms: list[str], lengths: list[int]) -> dict[str, Any]:
    """Clusters train half as fast, and faster from the last length on."""
    rows = []
    for length in lengths:
        for arm in ["dot_product", *arms]:
            speed = 1.0 if arm == "dot_product" else 2.0 if length == max(lengths) else 0.5
            step = {"seconds": {"median": 1 / speed}, "speed": {"median": speed, "low": speed, "high": speed}}
            rows.append({"attention": arm, "length": length, "batch": 1, "parameters": 10, "peak_bytes": 2**20,
                         "training": step, "inference": step})  # fmt: skip
    return {"rows": rows}


class Runner(InProcess):
    """What clocks and compares is made up."""

    def run(self, job: Any) -> None:
        given = dict(zip(job.arguments, job.arguments[1:], strict=False))
        if job.arguments[0] in ("compare", "bench"):
            arms = [variant.label for variant in plan_variants(given["--attention"])]
            lengths = [int(length) for length in given.get("--lengths", "1").split(",")]
            bench = job.arguments[0] == "bench"
            made = benched(arms, lengths) if bench else compared(arms, int(given["--seeds"]))
            Path(given["--out"]).mkdir(parents=True, exist_ok=True)
            (Path(given["--out"]) / "results.json").write_text(json.dumps(made))
        elif job.program == plan.GRID:
            finetuning.main()
        else:
            super().run(job)


def plan_variants(text: str) -> list[Any]:
    from leanformer.comparison.variants import parse_variants

    return parse_variants(text)


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory, data: Path) -> list[str]:
    folder = tmp_path_factory.mktemp("related_methods")
    (folder / "fast.toml").write_text(CONFIG)
    random = np.random.default_rng(5)
    for task, column in (("sst2", "sentence"), ("cr", "text")):
        (folder / task).mkdir()
        for split, size in (("train", 64), ("validation", 40)):
            words = [("good" if label else "bad", int(label)) for label in random.integers(0, 2, size)]
            rows = [json.dumps({column: f"a {word} film {i}", "label": label}) for i, (word, label) in enumerate(words)]
            (folder / task / f"{split}.jsonl").write_text("\n".join(rows) + "\n")
    names = [f"{place} {kind}" for place in ("renal", "dermal", "hepatic") for kind in ("failure", "tumor", "atrophy")]
    rows = [{"id": f"M{i}", "names": [name, name[::-1]]} for i, name in enumerate(names)]
    (folder / "made").mkdir()
    (folder / "dictionary.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for split in ("train", "validation", "test"):
        rows = [{"mention": f"{name} {split[0]}", "gold": [f"M{i}"]} for i, name in enumerate(names)]
        (folder / "made" / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = ["--data", data, "--task-data", folder, "--linking-data", folder, "--config", folder / "fast.toml"]
    told += ["--glue", "sst2", "--texts", "cr", "--corpora", "made", "--seeds", 2, "--jobs", 1, "--scale", 1e-6]
    return [str(argument) for argument in [*told, "--out", folder / "out"]]


@pytest.fixture(scope="module")
def out(arguments: list[str]) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        for name, least in {"base_tokens": 256, "examples": 32, "noisy_examples": 32}.items():
            patch.setitem(plan.PLAN["least"], name, least)
        for group, conditions in {"regsl": [(0.0, 1), (0.4, 1)], "rare": [(0.0, 10)], "noise": [(0.4, 1)]}.items():
            patch.setitem(plan.PLAN["groups"][group], "conditions", conditions)
        runner = Runner()
        assert main(arguments, runner) == 0
        assert {command[0] for command in runner.ran} >= {"pretrain", "compare", "bench", "link"}
        again = Runner()
        assert main(arguments, again) == 0 and not again.ran
    return Path(arguments[-1])


def record(out: Path, study: str) -> dict[str, Any]:
    return json.loads((out / "records" / f"{study}.json").read_text())


def test_every_study_has_its_rows(out: Path) -> None:
    assert {file.stem for file in (out / "records").iterdir()} == set(plan.STUDIES)
    assert all(record(out, study)["missing"] == [] for study in plan.STUDIES)
    ways = {(row["way"], row["seed"]) for row in record(out, "pst")["rows"]}
    assert ways == {(name, seed) for name in plan.PLAN["methods"]["pst"] for seed in (1, 2)}
    zeros = {row["way"]: row["sparse"]["zeros"] / row["sparse"]["weights"] for row in record(out, "pst")["rows"]
             if row.get("sparse")}  # fmt: skip
    assert zeros["pst"] == pytest.approx(0.9, abs=0.01) and zeros["magnitude-half"] == pytest.approx(0.5, abs=0.01)
    noisy = {(row["way"], row["label_noise"]) for row in record(out, "regsl")["rows"]}
    assert noisy == {(name, noise) for name in plan.PLAN["methods"]["regsl"] for noise in (0.0, 0.4)}
    rare = {(row["way"], row["imbalance"]) for row in record(out, "absgd")["rows"]}
    thinned, wrong = ("cross-entropy", "class-weights", "absgd"), ("cross-entropy", "fewer-epochs", "absgd")
    assert rare == {*((name, 10) for name in thinned), *((name, 1) for name in wrong)}
    linked = {row["encoder"] for row in record(out, "linking")["rows"] if row["kind"] == "linked"}
    assert linked == {"dot_product", "shared", "rescnn", "rescnn-dot_product", "tfidf"}


def test_what_the_trial_chose_is_what_is_run(out: Path) -> None:
    found = record(out, "absgd")
    for name in ("rare", "noisy"):
        (tried,) = found["tried"][name]
        reached = [each["mean_recall" if name == "rare" else "score"] for each in tried["candidates"]]
        assert tried["chosen"] == tried["candidates"][reached.index(max(reached))]["settings"]
        ways = [piece["ways"]["absgd"] for piece in found["pieces"] if "imbalance" in piece["path"]]
        assert any(set(tried["chosen"]) <= set(way) for way in ways)
    found = record(out, "linking")
    (linked,) = [piece["learning_rates"] for piece in found["pieces"] if piece["path"].startswith("linking/")]
    for kind, rate in linked.items():
        (tried,) = found["tried"][kind]
        reached = [each["accuracy@1"] for each in tried["candidates"]]
        assert tried["chosen"] == tried["candidates"][reached.index(max(reached))]["settings"]
        assert tried["chosen"] == [f"learning_rate={rate:g}"]


def test_a_task_is_fine_tuned_by_its_own_trial_and_rates_by_the_first_tasks(tmp_path: Path) -> None:
    where = {"out": tmp_path, "data": tmp_path, "task_data": "", "linking_data": tmp_path}
    tasks = {"studies": ("pst", "regsl"), "glue": ("sst2", "qqp"), "texts": ("trec", "ag_news"), "corpora": ("made",)}
    machine = {"seeds": 1, "jobs": 1, "threads": 1}
    p = RelatedMethods(**where, **tasks, **machine, settings=read_settings(None, []), sizes=plan.sizes())
    tried = [job.name for job in p.stage("trials")]
    assert {"trials/distance/trec", "trials/distance/ag_news", "trials/dense/sst2"} <= set(tried)
    assert "trials/dense/qqp" not in tried
    for path, best in (("trials/distance/trec", 2), ("trials/distance/ag_news", 0), ("trials/dense/sst2", 1)):
        name = path.split("/")[1]
        rows = [{"way": f"{name}-{i}", "score": 0.5 + 0.1 * (i == best)} for i in range(3)]
        (tmp_path / path).mkdir(parents=True)
        (tmp_path / path / "finetuning.json").write_text(json.dumps({"rows": rows}))
        (tmp_path / "finished").mkdir(exist_ok=True)
        plan.marker(tmp_path, path).write_text("{}")
    studies = {job.name.rpartition("/")[0]: job for job in p.stage("studies")}
    for study, way, name, best in (
        ("regsl/trec", "distance", "distance", 2),
        ("regsl/ag_news", "distance", "distance", 0),
        ("pst/sst2", "dense", "dense", 1),
        ("pst/qqp", "dense", "dense", 1),
    ):
        assert studies[study].row["ways"][way] == plan.PLAN["tried"][name]["candidates"][best].split(",")
        assert f"trials/{name}/{'sst2' if study == 'pst/qqp' else study.split('/')[1]}" in studies[study].needs


def test_mentions_are_paired(out: Path) -> None:
    rows = record(out, "linking")["rows"]
    right = {(row["encoder"], row["seed"]): row["accuracy@1"] * row["mentions"] for row in rows
             if row["kind"] == "linked"}  # fmt: skip
    pairs = [row for row in rows if row["kind"] == "paired"]
    assert pairs
    for row in pairs:
        other = right.get((row["other"], row["seed"]), right.get((row["other"], 1)))
        assert row["only"] - row["only_other"] == pytest.approx(right[row["encoder"], row["seed"]] - other)


def test_the_page_is_made_of_the_records_alone(out: Path, tmp_path: Path) -> None:
    assert main(["--out", str(out), "--report", str(tmp_path / "page.md")]) == 0
    page = (tmp_path / "page.md").read_text()
    assert page == (out / "related-methods.md").read_text() and page.count("\nVerdict: ") == 6
    assert "its numbers say nothing" in page and "None" not in page and "nan" not in page
    assert "faster than attention to all tokens from 256 tokens on" in page
    (tmp_path / "records").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no record: run the protocol first"):
        main(["--out", str(tmp_path), "--report", str(tmp_path / "page.md")])
    (tmp_path / "records" / "pst.json").write_text("{}")
    with pytest.raises(ValueError, match="is no record of this protocol"):
        main(["--out", str(tmp_path), "--report", str(tmp_path / "page.md")])


def test_the_committed_page_is_made_of_the_committed_records(tmp_path: Path) -> None:
    page.write_page(DOCS / "related-methods", tmp_path / "page.md")
    assert (tmp_path / "page.md").read_text() == (DOCS / "related-methods.md").read_text()


def test_a_failed_piece_is_named_and_costs_what_needs_it(arguments: list[str], tmp_path: Path) -> None:
    class Failing(Runner):
        def run(self, job: Any) -> None:
            raise SystemExit("no")

    told = [*arguments[:-1], str(tmp_path / "out"), "--studies", "pst,convbert"]
    assert main(told, Failing()) == 1
    missing = record(tmp_path / "out", "pst")["missing"]
    assert "base/dot_product" in missing and "pst/sst2/noise-0-imbalance-1" in missing
    assert "not measured yet" in (tmp_path / "out" / "related-methods.md").read_text()


def test_a_dry_run_tells_the_minutes_and_does_nothing(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments[:-1], str(tmp_path / "out"), "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum("core-minutes: " in line for line in lines) == 7 and "core-hours" in lines[-1]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("stopped", "verdict"), [(0.5, "worth using"), (0.8, "not worth using here")])
def test_a_remedy_against_wrong_labels_must_beat_stopping_early(stopped: float, verdict: str) -> None:
    scores = {"plain": 0.5, "fewer-epochs": stopped, "distance": 0.7}
    rows = [
        {"task": "trec", "way": way, "label_noise": 0.4, "imbalance": 1.0, "seed": seed, "right_labels": 0.6,
         "score": score + 0.001 * seed + 0.001 * (seed == 2) * (way == "distance")}
        for way, score in scores.items()
        for seed in (1, 2, 3)
    ]  # fmt: skip
    assert tuned.regsl({"rows": rows}).verdict.startswith(f"distance: {verdict} (against plain better, ")


def test_mistakes_are_refused(arguments: list[str], out: Path) -> None:
    with pytest.raises(ValueError, match="^--studies pts: known are convbert"):
        main([*arguments, "--studies", "pts"], Runner())
    with pytest.raises(ValueError, match="was begun with other settings, data, tasks or scale"):
        main([*arguments, "--scale", "1"], Runner())


def made(study: str, rows: list[dict[str, Any]]) -> str:
    document = page.document([HEAD | {"study": study, "rows": rows, "sizes": plan.sizes()}])
    return document.sections[0].blocks[0].rows[0][1]


def test_words_follow_from_the_numbers() -> None:
    words, how = statistics.words, {"higher_is_better": True, "margin": 0.01}
    assert words("better", 1.04) == "worth using"
    assert words("better", 1.3) == "worth using when 30% more time can be spared"
    assert words("not worse", 0.8, "parameters") == "worth using to save 20% of parameters"
    assert words("not worse", 0.97) == "no gain shown, nor a loss" and words("worse") == "not worth using here"
    assert words("undecided") == "no gain shown"
    assert words("worse", 0.5) == "worth using only if saving 50% of time matters more"
    assert statistics.together(["better", "undecided"]) == "better"
    assert statistics.together(["better", "worse"]) == "undecided" == statistics.together(["not worse", "undecided"])
    (better, not_worse, undecided, worse) = (
        statistics.quality(with_holm([paired_difference(values)])[0], **how)
        for values in ([0.3, 0.31, 0.32], [0.001, -0.001, 0.002], [0.1, -0.1, 0.2], [-0.3, -0.31, -0.32])
    )
    assert (better, not_worse, undecided, worse) == ("better", "not worse", "undecided", "worse")


def test_verdicts_of_made_up_records() -> None:
    runs = [{"kind": "compared", "floor": 6.0} | run for run in compared(list(plan.ARMS), 3)["runs"]]
    verdict = made("convbert", runs)
    grouped = "grouped feed-forward: worth using to save 10% of parameters"
    assert verdict.startswith(f"mixer: worth using; {grouped}") and "shared: worth using" in verdict
    scores = {"dense": 0.9, "magnitude": 0.5, "pst": 0.8, "magnitude-half": 0.8, "pst-half": 0.8}
    rows = [
        {"kind": "tuned", "task": task, "way": way, "label_noise": 0.0, "imbalance": 1.0, "seed": seed,
         "score": score + 0.001 * seed**2 * len(way), "collapsed": False,
         "sparse": None if way == "dense" else {"weights": 10, "zeros": 9, "trainable": 10 if "pst" in way else 100,
                                                "head": 1}}
        for task in ("a", "b") for way, score in scores.items() for seed in (1, 2, 3)
    ]  # fmt: skip
    assert made("pst", rows).startswith("at a sparsity of 0.9 worth using (+27.2 [")


def timed(arm: str, length: int, training: float, inference: float, peak: int | None) -> dict[str, Any]:
    speeds = {kind: {"seconds": {"median": 1.0}, "speed": dict.fromkeys(("median", "low", "high"), speed)}
              for kind, speed in (("training", training), ("inference", inference))}  # fmt: skip
    return {"kind": "timed", "attention": arm, "length": length, "peak_bytes": peak, **speeds}


@pytest.mark.parametrize(
    ("speeds", "told"),
    [
        ((0.9, 0.8, 0.7), "at no length up to 4,096,"),
        ((0.9, 1.1, 1.2), "from 2,048 tokens on,"),
        ((1.1, 1.2, 0.9), "at 1,024 and 2,048 tokens alone,"),
    ],
)
def test_lengths_where_clusters_train_faster_are_told_one_by_one(speeds: tuple[float, ...], told: str) -> None:
    rows = [
        timed(arm, length, speed, 0.5, peak)
        for length, own in zip((1024, 2048, 4096), speeds, strict=True)
        for arm, speed, peak in (("dot_product", 1.0, 10**9), (plan.CLUSTERS[0], own, 3 * 10**9))
    ]
    slower = "at 4,096 inference 0.50 times as fast and 3.0 times the memory"
    assert f"trains faster than attention to all tokens {told} {slower}" in made("clusters", rows)


@pytest.mark.parametrize(
    ("loss", "verdict"),
    [
        (2.5, "worth using only if saving 50% of training time matters more"),
        (3.5, "not worth using here, 75% of what dot_product learned from context is lost"),
    ],
)
def test_who_forgets_most_of_the_context_has_saved_nothing(loss: float, verdict: str) -> None:
    rows = [timed(arm, 64, speed, 1.0, None) for arm, speed in (("dot_product", 1.0), (plan.CLUSTERS[0], 2.0))]
    rows += [
        {"kind": "compared", "attention": arm, "seed": seed, "status": "finished", "parameters": 10, "seconds": 1.0,
         "final_loss": reached + 0.001 * seed * (arm != "dot_product"), "floor": 4.0, "learned_from_context": True}
        for arm, reached in (("dot_product", 2.0), (plan.CLUSTERS[0], loss - 0.002))
        for seed in (1, 2, 3)
    ]  # fmt: skip
    assert made("clusters", rows).startswith(f"dot_product[clusters, ratio=4]: {verdict} (trains faster")


def test_differences_are_of_means_over_tasks_and_of_seeds_that_have_all() -> None:
    rows = [{"task": task, "seed": seed, "score": 0.1 * seed + (task == "b")} for task in "ab" for seed in (1, 2, 3)]
    rows[-1]["score"] = None
    assert by_seed(rows, "score", "task") == pytest.approx({1: 0.6, 2: 0.7})
    one, other = {1: 2.0, 2: 3.5, 3: 4.0}, {1: 1.0, 2: 1.0, 3: 1.0}
    found = statistics.differences([(one, other), (other, one)])
    assert found == with_holm([paired_difference([1.0, 2.5, 3.0]), paired_difference([-1.0, -2.5, -3.0])])
