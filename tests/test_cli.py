"""The command line: every verb does its job, and every mistake is one line with a remedy and status 2."""

import errno
import json
import lzma
import os
import random
import re
import subprocess
import sys

import pytest

from leanformer.attention import names
from leanformer.training.run.record import RunDirectory


def refused(outcome, *words):
    """The command ended with 2 and one line that holds these words."""
    status, out, err = outcome
    assert status == 2, f"status {status}: {out}{err}"
    lines = [line for line in err.splitlines() if line.strip()]
    assert len(lines) == 1 and lines[0].startswith("leanformer: "), err
    for word in words:
        assert str(word) in lines[0], f"{word!r} is not in: {lines[0]}"


# --- what works


def test_rows_of_a_table_may_lack_what_others_have(capsys):
    from leanformer_cli.options import show

    show({"domains": [{"data": "a", "loss": 1.5}, {"data": "b", "loss": 2.5, "note": "few"}]}, False, False)
    assert capsys.readouterr().out == "\ndata  loss  note\na      1.5\nb      2.5  few\n"


def test_the_help_lists_every_verb_under_its_job_in_a_line_of_80_columns(command, monkeypatch):
    from leanformer_cli import app
    from leanformer_cli.application import JOBS, WIDEST

    monkeypatch.setenv("COLUMNS", "80")
    status, out, _ = command("--help")
    lines = {line.split()[0]: line for line in out.splitlines() if line.startswith("  ") and line.strip()}
    verbs = {name for names in JOBS.values() for name in names}
    known = {each.name or each.callback.__name__ for each in app.registered_commands}
    assert status == 0 and verbs == known | {each.name for each in app.registered_groups}
    assert all(f"{job}:" in out for job in JOBS)
    for verb in verbs:
        assert lines[verb].endswith(".") and not lines[verb].endswith("..."), lines[verb]
        assert len(lines[verb].strip().removeprefix(verb).strip()) <= WIDEST
    assert max(map(len, out.splitlines())) <= 80


def test_mechanisms_prints_the_published_counts(command):
    status, out, _ = command("mechanisms", "--json")
    assert status == 0
    assert {row["name"]: row["parameters"] for row in json.loads(out) if row["name"] in names()[:4]} == {
        "dot_product": 109_514_298,
        "symmetric": 102_427_194,
        "pairwise": 103_017_018,
        "shared": 95_367_738,
    }
    status, out, _ = command("mechanisms", "--hidden-size", 64, "--heads", 4, "--layers", 2)
    assert status == 0 and "Courtois et al. 2024" in out


def test_mixers_stand_in_the_groups_of_mechanisms(command):
    rows = [row for row in json.loads(command("mechanisms", "--json")[1]) if "mixer" in row]
    assert [(row["mixer"], row["shares"], row["parameters"]) for row in rows] == [
        ("shaped", "projection", 95_340_522),
        ("linear", "positions", 91_389_498),
        ("gmlp", "positions", 102_464_046),
        ("fourier", "nothing", 81_165_882),
    ]
    out = command("mechanisms", "--hidden-size", 64, "--heads", 4, "--layers", 2, "--memory")[1]
    assert "nothing of the mixing is learned\ndot_product[model.mixer=fourier]" in "\n".join(
        line.rstrip().partition("  ")[0] for line in out.splitlines()
    )
    assert "…" not in out


def test_mechanisms_are_grouped_by_what_is_shared_or_sorted_by_saving(command):
    status, out, _ = command("mechanisms", "--json")
    rows = json.loads(out)
    groups = [row["shares"] for row in rows]
    assert list(dict.fromkeys(groups)) == ["none", "projection", "heads", "layers", "positions", "nothing"]
    shares = {row["name"]: row["shares"] for row in rows}
    assert {
        name: shares[name] for name in ("dot_product", "dense", "symmetric", "shared", "latent", "multi_query")
    } == {
        "dot_product": "none",
        "dense": "none",
        "symmetric": "projection",
        "shared": "projection",
        "latent": "projection",
        "multi_query": "heads",
    }
    assert shares["random"] == shares["position_2d"] == "positions"
    assert shares["dot_product[model.layer_sharing=all]"] == "layers"
    counts = {row["name"]: row["parameters"] for row in rows}
    assert counts["dot_product[model.layer_sharing=all]"] == 31_547_706
    assert counts["dot_product[model.layer_sharing=atoms:4]"] == 95_358_666
    status, out, _ = command("mechanisms", "--sort", "saving", "--json")
    saving = [row["parameters"] for row in json.loads(out)]
    assert saving == sorted(counts.values())
    status, out, _ = command("mechanisms")
    lines = out.splitlines()
    assert lines.index(next(line for line in lines if line.startswith("layers share"))) < lines.index(
        next(line for line in lines if line.startswith("dot_product[model.layer_sharing=all]"))
    )
    status, _, err = command("mechanisms", "--sort", "size")
    assert status and "--sort 'size'" in err


@pytest.fixture(scope="module")
def run(data, tiny, tmp_path_factory):
    """A finished pre-training run, made through the command line's own function."""
    from leanformer.settings import read_settings
    from leanformer.training.pretrain import pretrain

    out = tmp_path_factory.mktemp("runs") / "run"
    pretrain(read_settings(None, tiny[1::2]), data, out, quiet=True)
    return out


def test_pretrain_evaluate_report_and_finetune_work_on_a_run(command, run, data, tmp_path):
    status, out, err = command("evaluate", run, "--data", data, "--json")
    assert status == 0, err
    record = json.loads((run / "run.json").read_text())
    assert json.loads(out)["loss"] > 0 and record["results"]["final_loss"] > 0
    assert command("report", run)[0] == 0
    assert (run / "report.html").exists()
    write_task(tmp_path / "tasks", rows=[("good day", 1), ("bad day", 0)] * 8)
    tuned = command(
        "finetune", run, "--task", "sst2", "--task-data", tmp_path / "tasks", "--out", tmp_path / "tuned",
        "--set", "finetuning.max_length=16", "--set", "finetuning.epochs=1", "--json",
    )  # fmt: skip
    assert tuned[0] == 0, tuned[2]
    assert 0 <= json.loads(tuned[1])["results"]["score"] <= 1


def test_probes_print_tables_and_draw_a_page(command, run, data, tmp_path):
    status, out, err = command("evaluate", run, "--suite", "attention", "--data", data, "--limit", "2")
    assert status == 0, err
    assert re.search(r"^layer +head +entropy +distance +itself +before +after +special +symmetry$", out, re.MULTILINE)
    status, out, err = command("evaluate", run, "--suite", "induction", "--limit", "4", "--gaps", "0,3", "--json")
    assert status == 0, err
    assert [row["gap"] for row in json.loads(out)["gains"]] == [0, 3]
    refused(command("evaluate", run, "--suite", "induction", "--gaps", "a"), "--gaps 'a': write whole numbers")
    assert command("attention", run, run, "--text", "a good day", "--out", tmp_path / "page.html")[:2] == (
        0,
        f"{tmp_path / 'page.html'}\n",
    )


def test_a_model_that_is_kept_during_training_is_a_model_to_every_command(command, data, tiny, tmp_path):
    out, lines = tmp_path / "run", tmp_path / "lines.txt"
    status, _, err = command("pretrain", "--data", data, "--out", out, *tiny, "--keep-every", 2, "--quiet")
    assert status == 0, err
    assert sorted(path.name for path in (out / "kept").iterdir()) == ["step-2", "step-4"]
    status, printed, err = command("evaluate", out / "kept" / "step-2", "--data", data, "--json")
    assert status == 0, err
    assert json.loads(printed)
    lines.write_text("a line\nanother line\n")
    status, _, err = command("embed", out / "kept" / "step-2", lines, "--out", tmp_path / "vectors.npy")
    assert status == 0 and (tmp_path / "vectors.npy").is_file(), err
    assert command("verify", out, "--json")[0] == 0
    refused(command("pretrain", "--data", data, "--out", tmp_path / "no", "--keep-every", 0), "training.keep_every = 0")


def test_compare_runs_resumes_and_reports(command, data, tiny, tmp_path):
    out = tmp_path / "comparison"
    arguments = ["--data", data, "--out", out, "--attention", "dot_product,shared", "--jobs", "2", *tiny]
    status, told, err = command("compare", *arguments, "--seeds", "1", "--dry-run")
    assert status == 0, err
    assert re.search(r"2 runs to go: about \d+ seconds and \d+ MB of disk", told)
    assert not out.exists()
    assert command("compare", *arguments, "--seeds", "1")[0] == 0
    first = (out / "runs" / "shared" / "seed-1" / "run.json").read_bytes()
    refused(command("compare", *arguments, "--seeds", "2"), "--resume")
    status, told, err = command("compare", *arguments, "--seeds", "2", "--resume")
    assert status == 0, err
    assert (out / "runs" / "shared" / "seed-1" / "run.json").read_bytes() == first, "a finished run was run again"
    results = json.loads((out / "results.json").read_text())
    assert len(results["runs"]) == 4
    assert [row["n"] for row in results["comparisons"] if row["metric"] == "final_loss"] == [2]
    record = json.loads((out / "comparison.json").read_text())
    assert record["jobs"] == 2
    assert record["command"].endswith("--seeds 2"), "the way to repeat all of it does not begin with --resume"
    assert "shared" in (out / "report.md").read_text() and (out / "report.html").stat().st_size > 10_000


def test_the_score_and_what_must_be_known_of_it_are_told(command, run, data, tiny, tmp_path):
    rows = [json.dumps({"question": "is it", "passage": "Yes.", "label": i % 2}) for i in range(10)]
    (tmp_path / "tasks" / "boolq").mkdir(parents=True)
    (tmp_path / "tasks" / "boolq" / "validation.jsonl").write_text("\n".join(rows))
    tasks = ("--task", "boolq", "--task-data", tmp_path / "tasks", "--set", "finetuning.max_length=16")
    for seeds in ((), ("--seeds", "2")):
        status, told, err = command("finetune", run, *tasks, "--out", tmp_path / f"tuned{len(seeds)}", *seeds)
        assert status == 0, err
        assert "note: boolq has no training split here: 8 of the 10 validation examples" in told
        assert re.search(r"^accuracy: [\d.]+\nscore: [\d.]+$", told, re.MULTILINE)
    status, told, err = command("compare", "--data", data, "--out", tmp_path / "out", *tasks, *tiny, "--dry-run")
    assert status == 0, err
    assert told.count("note: boolq has no training split here: 8 of the 10 validation examples") == 1


# --- bad input: text


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("absent.txt", None, []),
        ("empty.txt", b"", ["empty"]),
        ("binary.txt", b"text\x00\x01\x02" * 1000, ["binary"]),
        ("latin.txt", "caf\u00e9 ".encode("latin-1") * 1000, ["UTF-8"]),
        ("cut.txt.xz", lzma.compress(random.Random(0).randbytes(30_000))[:-3000], ["truncated"]),
        ("broken.jsonl", b'{"text": "a"}\n{"text": \n', ["line 2"]),
        ("other.jsonl", b'{"body": "a"}\n', ["text", "body"]),
        ("short.txt", b"Too short.", []),
    ],
)
def test_prepare_refuses_bad_text(command, tmp_path, name, content, words):
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    out = tmp_path / "data"
    refused(command("prepare", file, "--out", out, "--vocab-size", "300", "--quiet"), name, *words)
    assert not out.exists(), "something half-made was left"
    assert sorted(path.name for path in tmp_path.iterdir()) == ([] if content is None else [name])


def test_prepare_refuses_a_corrupt_tokenizer(command, tmp_path, text):
    (tmp_path / "text.txt").write_text(text)
    (tmp_path / "tokenizer.json").write_text('{"version": "1.0", ')
    outcome = command(
        "prepare", tmp_path / "text.txt", "--out", tmp_path / "d", "--tokenizer", tmp_path / "tokenizer.json"
    )
    refused(outcome, "tokenizer.json")


def test_prepare_refuses_a_directory_of_something_else(command, tmp_path, text):
    (tmp_path / "text.txt").write_text(text)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("x")
    refused(command("prepare", tmp_path / "text.txt", "--out", tmp_path / "thesis"), "thesis")
    assert (tmp_path / "thesis" / "chapter.tex").exists()


# --- bad input: settings and runs


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("model.attention=pairwse", ["did you mean 'pairwise'"]),
        ("model.attention_options={coefficient_init='identity'}", ["coefficient_init"]),
        ("model.hiden_size=32", ["model.hiden_size", "hidden_size"]),
        ("model.hidden_size=15", ["hidden_size", "num_attention_heads"]),
        ("training.lerning_rate=1", ["learning_rate"]),
        ("training.sequence_length=64", ["64", "max_position_embeddings"]),
        ("training.batch_size=100000", ["batch_size"]),
        ("training", ["table.key=value"]),
    ],
)
def test_pretrain_refuses_bad_settings(command, data, tiny, tmp_path, setting, words):
    refused(command("pretrain", "--data", data, "--out", tmp_path / "run", *tiny, "--set", setting), *words)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("mixing", "words"),
    [
        (["mixer=convolution", "mixer_options.kernel=8"], ["kernel = 8", "odd"]),
        (["mixer=convolution", "mixer_options.head_ratio=99"], ["head_ratio = 99"]),
        (["mixer=clusters", "mixer_options.clusters=999"], ["clusters = 999", "tokens"]),
        (["feed_forward_groups=5"], ["feed_forward_groups = 5", "hidden_size"]),
    ],
)
def test_pretrain_refuses_impossible_mixers(command, data, tiny, tmp_path, mixing, words):
    settings = [argument for each in mixing for argument in ("--set", f"model.{each}")]
    refused(command("pretrain", "--data", data, "--out", tmp_path / "run", *tiny, *settings), *words)
    assert not (tmp_path / "run").exists()


def test_pretrain_refuses_the_wrong_directory(command, data, run, tiny, tmp_path):
    refused(command("pretrain", "--data", data, "--out", run, *tiny), run, "--out")
    refused(command("pretrain", "--data", data, "--out", tmp_path / "none", *tiny, "--resume"), "none", "--resume")
    refused(command("pretrain", "--data", tmp_path / "nodata", "--out", tmp_path / "run", *tiny), "nodata")
    blocked = tmp_path / "file"
    blocked.write_text("")
    refused(command("pretrain", "--data", data, "--out", blocked / "run", *tiny), "file")


def test_pretrain_names_a_damaged_corpus(command, data, tiny, tmp_path):
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(data, broken)
    with (broken / "train.bin").open("r+b") as file:
        file.truncate(100)
    refused(command("pretrain", "--data", broken, "--out", tmp_path / "run", *tiny), "train.bin")


def test_a_diverging_run_ends_in_one_line(command, data, tiny, tmp_path):
    wild = ["--set", "training.learning_rate=1e30", "--set", "training.clip_norm=none", "--set", "training.warmup=0"]
    refused(command("pretrain", "--data", data, "--out", tmp_path / "run", *tiny, *wild, "-q"), "learning_rate")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "failed"


def test_a_full_disk_is_one_line(command, data, tiny, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / "train.bin"))

    monkeypatch.setattr("leanformer.interface.prepare.prepare_texts", full)
    refused(command("prepare", "text.txt", "--out", tmp_path / "data"), "train.bin", "no space left", "free some space")


@pytest.mark.parametrize("option", ["--cased", "--keep-accents"])
def test_an_option_that_would_change_nothing_is_refused(command, data, tmp_path, option):
    given = command("prepare", "shipped:novels", "--tokenizer", data, option, "--out", tmp_path / "out")
    refused(given, option, "is as it was trained; leave it out")
    refused(command("prepare", "--task", "dialogsum", option, "--out", tmp_path / "out"), "always cased; leave it out")


def test_a_damaged_checkpoint_is_named_and_the_one_before_offered(command, data, tiny, tmp_path):
    out = tmp_path / "run"
    settings = [*tiny, "--set", "training.checkpoint_every=1"]
    assert command("pretrain", "--data", data, "--out", out, *settings, "-q")[0] == 0
    newest = sorted((out / "checkpoint").iterdir())[-1]
    with (newest / "model.safetensors").open("r+b") as file:
        file.truncate(50)
    RunDirectory(out).update(status="running")
    refused(command("pretrain", "--data", data, "--out", out, *settings, "--resume"), newest.name, "step-")


# --- bad input: tasks


def write_task(folder, rows, columns=("sentence", "label")):
    for split in ("train", "validation"):
        (folder / "sst2").mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(dict(zip(columns, row, strict=True))) for row in rows]
        (folder / "sst2" / f"{split}.jsonl").write_text("\n".join(lines))
    return folder


@pytest.mark.parametrize(
    ("task", "rows", "columns", "words"),
    [
        ("sst2", [("fine", 7)], ("sentence", "label"), ["7"]),
        ("sst2", [("fine", 1)], ("text", "label"), ["sentence", "text"]),
        ("sst2", [], ("sentence", "label"), ["train.jsonl"]),
        ("sst", [("fine", 1)], ("sentence", "label"), ["sst2"]),
        ("rte", [("fine", 1)], ("sentence", "label"), ["rte"]),
    ],
)
def test_finetune_refuses_bad_tasks(command, run, tmp_path, task, rows, columns, words):
    folder = write_task(tmp_path / "tasks", rows, columns)
    out = tmp_path / "tuned"
    short = ("--set", "finetuning.max_length=16")
    refused(command("finetune", run, "--task", task, "--task-data", folder, "--out", out, *short), *words)
    assert not (out / "run.json").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--method", "pst", "--sparsity", 1), ["finetuning.sparse.sparsity = 1.0", "less than 1"]),
        (("--method", "pst", "--sparsity", -0.5), ["finetuning.sparse.sparsity = -0.5"]),
        (("--method", "prune"), ["finetuning.method = 'prune'", "pst"]),
        (("--sparsity", 0.9), ["--sparsity 0.9", "--method pst"]),
    ],
)
def test_finetune_refuses_an_impossible_sparsity(command, run, tmp_path, options, words):
    folder = write_task(tmp_path / "tasks", [("fine", 1)])
    refused(
        command("finetune", run, "--task", "sst2", "--task-data", folder, "--out", tmp_path / "o", *options), *words
    )
    assert not (tmp_path / "o").exists()


# --- bad input: everything else


def test_other_mistakes(command, data, tiny, tmp_path):
    out = tmp_path / "c"
    refused(command("compare", "--data", data, "--out", out, "--attention", "dot_prodct", *tiny), "dot_product")
    refused(command("compare", "--data", data, "--out", out, "--learning-rates", "fast", *tiny), "--learning-rates")
    refused(command("compare", "--data", data, "--out", out, "--task", "rte", *tiny), "--task-data")
    refused(command("compare", "--data", data, "--out", out, "--resume", *tiny), "--resume")
    refused(command("compare", "--data", data, "--out", out, "--plugin", tmp_path / "p.py", *tiny), "p.py")
    refused(command("report", tmp_path / "nothing"), "nothing")
    refused(command("evaluate", tmp_path / "nothing", "--data", data), "nothing")
    refused(command("convert", tmp_path / "nothing", tmp_path / "x"), "nothing")
    assert not out.exists()


def test_debug_shows_the_traceback(command, tmp_path):
    with pytest.raises(FileNotFoundError):
        command("report", tmp_path / "nothing", "--debug")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("finetune", "nowhere", "--out", "y"), "nowhere is neither a run directory nor a model"),
        (("finetune", ".", "--data", "no.csv", "--out", "y"), "no.csv: no such file"),
        (("pretrain", "--data", "nodata", "--out", "y"), "nodata: no such data directory"),
        (("pretrain", "no.toml", "--data", ".", "--out", "y"), "no.toml: no such file"),
        (("export", "nowhere", "y"), "nowhere is neither"),
    ],
)
def test_a_misspelt_path_is_refused_before_pytorch_is_imported(words, said, tmp_path):
    code = f"""
import sys, leanformer_cli
sys.argv = ["leanformer", *{words}]
try:
    leanformer_cli.main()
finally:
    print("torch" in sys.modules)
"""
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (2, "False\n") and said in ran.stderr
