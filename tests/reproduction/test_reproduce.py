"""A small paper rebuilt from the command line: its studies, its verdicts, that it goes on, and what it refuses."""

import json

import numpy as np
import pytest

from leanformer.reproduction import published, studies
from leanformer.settings import read_settings
from leanformer.training.pretrain import pretrain

PUBLISHED = """
title = "A Small Paper"
reference = "Nobody (2024)"
claim = "Sharing costs nothing."
notes = ["It is made up."]

[[tables]]
title = "Parameters"
measure = "parameters"
effect = "percent"
better = "lower"
unit = "parameters"
source = "counted"
[[tables.rows]]
name = "projections"
part = "attention_qkv"
effects = { shared = -66.5 }
digits = 1

[[tables]]
title = "Loss"
study = "pretraining"
measure = "final_loss"
better = "lower"
unit = "nats"
source = "one run"
[[tables.rows]]
name = "loss"
values = { dot_product = [2.0], shared = [1.5], pairwise = [1.4] }

[[tables]]
title = "Noise"
study = "robustness"
measure = "robustness"
better = "higher"
unit = "score x 100"
source = "abstract"
[[tables.rows]]
name = "typing errors"
axis = "typos"
effects = { shared = "better" }

[[tables]]
title = "Time"
study = "speed"
measure = "speed"
effect = "ratio"
better = "lower"
unit = "s"
source = "abstract"
[[tables.rows]]
name = "a step"
values = { dot_product = [1.0], shared = [0.9] }

[[tables]]
title = "Translation"
study = "translation"
measure = "score"
better = "higher"
unit = "BLEU"
source = "one run"
[[tables.rows]]
name = "BLEU"
task = "multi30k_ende"
values = { dot_product = [27.0], shared = [28.0] }

[[curves]]
title = "Loss"
study = "pretraining"
steps = [1, 2]
dot_product = [3.0, 2.0]
shared = [3.0, 1.5]
"""
TRAINING = """
[model]
hidden_size = 16
num_hidden_layers = 1
num_attention_heads = 2
intermediate_size = 32
max_position_embeddings = 32

[training]
max_steps = 4
batch_size = 4
sequence_length = 32
validate_every = 2
validation_sequences = 8
log_every = 1
threads = 1
"""
STUDIES = {
    "pretraining": """
[study]
kind = "comparison"
text = { algorithm = "characters" }
attention = "dot_product,shared"
seeds = 2
"""
    + TRAINING,
    "robustness": """
[study]
kind = "robustness"
of = "pretraining"
tasks = ["sst2"]
noises = ["typos"]
levels = [0.5]

[finetuning]
epochs = 1
batch_size = 8
max_length = 32
threads = 1
""",
    "speed": """
[study]
kind = "speed"
attention = "shared"
sizes = ["tiny"]
lengths = [32]
tokens = 64
rounds = 1
vocab_size = 50
""",
    "translation": """
[study]
kind = "comparison"
pairs = { task = "multi30k_ende", vocab_size = 300 }
attention = "dot_product,shared"
seeds = 1
"""
    + TRAINING.replace("[training]", '[training]\nobjective = "seq2seq"'),
}


@pytest.fixture
def papers(tmp_path, monkeypatch):
    folder = tmp_path / "papers"
    (folder / "small" / "cpu-minutes").mkdir(parents=True)
    (folder / "small" / "published.toml").write_text(PUBLISHED)
    for name, text in STUDIES.items():
        (folder / "small" / "cpu-minutes" / f"{name}.toml").write_text(text)
    monkeypatch.setattr(published, "FOLDER", folder)
    monkeypatch.setattr(studies, "FOLDER", folder)
    monkeypatch.setattr(published, "PAPERS", ("small",))
    return folder


@pytest.fixture(scope="module")
def novels(text, tmp_path_factory):
    file = tmp_path_factory.mktemp("text") / "novels.txt"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tasks")
    (folder / "sst2").mkdir()
    random = np.random.default_rng(3)
    for split, size in (("train", 40), ("validation", 20)):
        rows = [
            {"sentence": f"a {('bad', 'good')[label]} film", "label": label}
            for label in random.integers(0, 2, size).tolist()
        ]
        (folder / "sst2" / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def by_table(out):
    found = json.loads((out / "results.json").read_text())
    return {(r["table"], r["attention"]): r for r in found["rows"]}, found


def test_a_paper_is_rebuilt(command, papers, novels, tasks, tmp_path):
    out = tmp_path / "out"
    arguments = ["reproduce", "small", "--out", out, "--text", novels, "--jobs", 1, "--quiet"]
    command(*arguments)
    rows, found = by_table(out)
    assert set(found["not_made"]) == {"robustness", "translation"}
    assert rows["Noise", "shared"]["note"].startswith("needs --task-data")
    assert rows["Parameters", "shared"]["verdict"] == "reproduced"
    loss = rows["Loss", "shared"]
    assert loss["measured"]["seeds"] == [1, 2] and loss["verdict"] == "not testable here"
    runs = {
        (r["attention"], r["seed"]): r["final_loss"]
        for r in json.loads((out / "studies/pretraining/results.json").read_text())["runs"]
    }
    assert loss["measured"]["effect"] == pytest.approx(
        np.mean([runs["shared", seed] - runs["dot_product", seed] for seed in (1, 2)])
    )
    assert rows["Loss", "pairwise"]["note"] == "pairwise is not in the study at this scale"
    raced = rows["Time", "shared"]["measured"]
    assert raced["effect"] > 0 and raced["attention"]["mean"] > 0
    assert sum(found["verdicts"].values()) == len(rows) == 6
    for name in ("report.html", "report.md", "figures/curves.svg", "studies/pretraining/report.html"):
        assert (out / name).is_file()

    before = {file: file.stat().st_mtime_ns for file in (out / "studies" / "pretraining" / "runs").rglob("run.json")}
    command(*arguments, "--task-data", tasks, "--studies", "pretraining,robustness,speed")
    rows, found = by_table(out)
    assert set(found["not_made"]) == {"translation"}
    assert rows["Noise", "shared"]["measured"]["attention"]["n"] == 2
    assert all(file.stat().st_mtime_ns == then for file, then in before.items())


def test_pairs_are_prepared_and_scored(command, papers, translations, tmp_path):
    out = tmp_path / "out"
    arguments = ("--task-data", translations, "--studies", "translation", "--jobs", 1)
    status, _, error = command("reproduce", "small", "--out", out, *arguments)
    assert status == 0, error
    rows, found = by_table(out)
    assert (out / "data" / "multi30k_ende" / "data.json").is_file()
    assert rows["Translation", "shared"]["measured"]["attention"]["n"] == 1
    assert found["not_made"]["speed"] == "left out by --studies"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["smal"], "'smal' is no paper that leanformer can rebuild: did you mean 'small'?"),
        (["small", "--scale", "cpu-minute"], "--scale cpu-minute: did you mean 'cpu-minutes'?"),
        (["small", "--scale", "paper"], "--scale paper: small has no studies at this scale"),
        (
            ["small", "--studies", "sped"],
            "--studies sped: small at cpu-minutes has pretraining, speed, translation, robustness",
        ),
        (["small", "--set", "training.max_step=1"], "unknown setting training.max_step"),
    ],
)
def test_mistakes(command, papers, tmp_path, arguments, said):
    status, _, err = command("reproduce", *arguments, "--out", tmp_path / "out")
    assert status == 2 and said in err
    assert not (tmp_path / "out").exists()


def test_another_scale_does_not_go_on(command, papers, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("")
    status, _, err = command("reproduce", "small", "--out", tmp_path / "out")
    assert status == 2 and "is not empty and holds no reproduction" in err
    asked = {"paper": "small", "scale": "cpu-hours", "set": [], "text": None}
    (tmp_path / "out" / "reproduction.json").write_text(json.dumps(asked))
    status, _, err = command("reproduce", "small", "--out", tmp_path / "out")
    assert status == 2 and "was started with scale = 'cpu-hours', this command says 'cpu-minutes'" in err
    (tmp_path / "out" / "reproduction.json").write_text('{"paper": "sm')
    status, _, err = command("reproduce", "small", "--out", tmp_path / "out")
    assert status == 2 and "reproduction.json is damaged (" in err and "restore it, or give another --out" in err


def test_the_paper_scale_asks_for_its_text(command, tmp_path):
    status, out, _ = command("reproduce", "symmetric", "--scale", "paper", "--out", tmp_path / "out")
    assert (
        status == 0 and "pretraining: needs --text (OSCAR-2301, English: 30 million documents) and --task-data" in out
    )
    rows, found = by_table(tmp_path / "out")
    assert found["verdicts"]["reproduced"] == 1  # the counts


def test_the_paper_scale_trains(data, tmp_path):
    """Its own schedule, optimizer and dropout, for two steps of a narrow model."""
    (study,) = [of for of in studies.read_studies("symmetric", "paper") if of.name == "pretraining"]
    tables = study.settings.to_dict()
    tables["model"] |= {"hidden_size": 24, "num_attention_heads": 2, "intermediate_size": 48, "attention": "pairwise"}
    small = {"max_steps": 2, "batch_size": 4, "micro_batch_size": 2, "sequence_length": 64, "validation_sequences": 4}
    tables["training"] |= small | {"threads": 1}
    file = tmp_path / "settings.json"
    file.write_text(json.dumps(tables))
    record = pretrain(read_settings(file), data, tmp_path / "run", quiet=True)
    assert record["results"]["steps"] == 2 and np.isfinite(record["results"]["final_loss"])
