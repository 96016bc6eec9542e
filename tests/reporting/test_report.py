import json
import re
from html import unescape
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from leanformer.reporting.write import write_report

TASKS = {"sst2": 0.8, "cola": 0.12}


def read(directory, name):
    return (directory / name).read_text(encoding="utf-8")


def words(directory):
    """What a reader of the page sees."""
    text = re.sub(r"<style>.*?</style>|<[^>]*>", " ", read(directory, "report.html"), flags=re.DOTALL)
    return " ".join(unescape(text).split())


@pytest.fixture(scope="module")
def reported(whole):
    """The directory of one full report, and its results."""
    return whole, write_report(whole)


def test_results_have_the_promised_schema(reported):
    directory, found = reported
    assert found == json.loads(read(directory, "results.json"), parse_constant=pytest.fail)
    assert found["baseline"] == "dot_product" and found["schema"] == 1
    assert len(found["runs"]) == 12
    run = found["runs"][0]
    keys = {"attention", "seed", "parameters", "flops_per_token", "tokens", "seconds", "tokens_per_second", "path"}
    assert keys | {"final_loss", "best_loss", "tasks", "status"} <= run.keys()
    assert {"seed", "score"} <= run["tasks"]["sst2"][0].keys()
    metrics = {c["metric"] for c in found["comparisons"]}
    assert metrics == {"final_loss", "sst2", "cola", "task_average"}
    for c in found["comparisons"]:
        assert {"attention", "metric", "n", "mean_difference", "ci95", "p_value", "p_value_holm", "verdict"} <= c.keys()
        assert c["verdict"] in ("better", "worse", "equivalent", "undecided", "not compared")
        assert c["ci95"] is None or (len(c["ci95"]) == 2 and c["ci95"][0] <= c["mean_difference"] <= c["ci95"][1])
    assert found["floor"] == {"context_free": 2.921, "unigram": 3.046}
    assert found["versions"]["torch"] == "2.13.0"
    assert found["command"].startswith("leanformer compare")


def test_the_page_needs_nothing_but_itself(reported):
    page = read(reported[0], "report.html")
    assert "http" not in page and "<script" not in page and "url(//" not in page and "@import" not in page
    sources = re.findall(r"(?:src|href)=\"([^\"]*)\"", page)
    assert all(source.startswith("#") for source in sources)


def test_the_page_follows_light_and_dark(reported):
    page = read(reported[0], "report.html")
    assert "prefers-color-scheme: dark" in page
    assert "var(--series-1)" in page and "#0072b2" not in page[page.index("<body>") :]


def test_the_markup_is_balanced(reported):
    class Balance(HTMLParser):
        def __init__(self):
            super().__init__()
            self.open = []

        def handle_starttag(self, tag, attrs):
            if tag not in ("meta", "wbr"):
                self.open.append(tag)

        def handle_endtag(self, tag):
            assert self.open.pop() == tag

    parser = Balance()
    parser.feed(read(reported[0], "report.html"))
    assert parser.open == []


def test_pictures_are_files_of_their_own_too(reported):
    directory = reported[0]
    names = {file.stem for file in (directory / "figures").iterdir()}
    assert names == {"curves", "parameters", "differences", "targets", "finetuning"}
    for name in names:
        ElementTree.fromstring(read(directory, f"figures/{name}.svg"))
        assert f"(figures/{name}.svg)" in read(directory, "report.md")
    for name in ("curves", "parameters"):
        assert "no-context baseline" in read(directory, f"figures/{name}.svg")


def test_of_many_arms_the_front_is_drawn(fabricate, edit):
    """Parameters and FLOPs are proportional here, but for an arm that is trained longer: it leaves that front."""
    arms = {"dot_product": 0.0, "symmetric": 0.1, "pairwise": 0.05, "shared": 0.3, "small": 0.2}
    directory = fabricate(effects=arms, noise=0.0, seeds=(1, 2))
    for seed in (1, 2):
        edit(directory / f"runs/small/seed-{seed}/run.json", lambda r: r["results"].update(tokens=9_000_000))
    edit(directory / "comparison.json", lambda plan: plan.update(controls={"small": "a smaller one: is it as good?"}))
    write_report(directory)
    report = read(directory, "report.md").replace("\\", "")
    assert {file.stem for file in (directory / "figures").iterdir()} == {"curves", "pareto", "differences", "targets"}
    assert "by parameters, shared, small, symmetric, pairwise and dot_product" in report
    assert "by training FLOPs, shared, symmetric, pairwise and dot_product" in report
    assert "- small: a smaller one: is it as good?" in report


def test_page_and_markdown_tell_the_same_facts(reported):
    directory, found = reported
    plain = read(directory, "report.md").replace("\\", "")
    seen = words(directory)
    for sentence in (found["headline"], *found["caveats"]):
        assert sentence in plain
        assert sentence in seen
    for c in found["comparisons"]:
        if c["metric"] == "final_loss":
            amount = f"{abs(c['mean_difference']):.3f}"
            assert amount in plain and amount in seen
    for text in (plain, seen):
        assert "batch_size" in text and "5d1f0a7c" in text and "2.13.0" in text and "leanformer compare --data" in text


def test_the_sentence_carries_interval_seeds_and_corrected_p_value(fabricate):
    directory = fabricate(noise=0.002)
    write_report(directory)
    pattern = (
        r"pairwise is 0\.0\d+ nats better than dot_product after 8\.02 M tokens, "
        r"95 % CI 0\.0\d+ to 0\.0\d+, 5 seeds \(Holm p (= 0\.0\d\d|< 0\.001)\)"
    )
    assert re.search(pattern, words(directory))
    assert "a true difference below" in words(directory)


def test_two_reports_of_the_same_records_are_the_same(fabricate):
    directory = fabricate(seeds=(1, 2), tasks=TASKS)
    write_report(directory)
    first = read(directory, "report.html")
    write_report(directory)
    assert read(directory, "report.html") == first


def test_runs_that_did_not_finish_are_listed(fabricate, edit):
    directory = fabricate(seeds=(1, 2, 3))
    (directory / "runs/shared/seed-1/run.json").unlink()
    edit(directory / "runs/shared/seed-2/run.json", lambda r: r.update(status="failed", error="no space left"))
    edit(directory / "runs/symmetric/seed-3/run.json", lambda r: r["results"].update(final_loss=float("nan")))
    edit(directory / "runs/pairwise/seed-1/run.json", lambda r: r.update(status="stopped"))
    found = write_report(directory)
    statuses = {(r["attention"], r["seed"]): r["status"] for r in found["runs"] if r["status"] != "finished"}
    assert statuses == {
        ("shared", 1): "missing",
        ("shared", 2): "failed",
        ("symmetric", 3): "diverged",
        ("pairwise", 1): "unfinished",
    }
    for text in (words(directory), read(directory, "report.md")):
        assert "8 of 12" in text
        assert "1 missing run of shared (seed 1) is in no mean" in text.replace("\\", "")
        assert "failed: no space left" in text
        assert "1 diverged run of symmetric (seed 3) is in no mean, which flatters it" in text.replace("\\", "")


def test_a_collapsed_fine_tuning_is_marked_and_kept(fabricate, edit):
    directory = fabricate(seeds=(1, 2), tasks={"cola": 0.12})
    file = directory / "runs/shared/seed-2/tasks/cola/seed-1/run.json"
    edit(file, lambda r: r["results"].update(score=0.0, collapsed=True, metrics={"matthews": 0.0}))
    found = write_report(directory)
    (run,) = [r for r in found["runs"] if (r["attention"], r["seed"]) == ("shared", 2)]
    assert (run["tasks"]["cola"][0]["score"], run["tasks"]["cola"][0]["collapsed"]) == (0.0, True)
    assert "(6, 1 collapsed)" in words(directory)
    assert "1 fine-tuning of 6 of shared on cola collapsed" in words(directory)


def test_means_and_verdicts_are_shown_with_and_without_collapsed_runs(fabricate, edit):
    directory = fabricate(effects={"dot_product": 0.0, "other": 0.0}, seeds=(1, 2, 3), tasks={"cola": 0.5}, noise=0.002)
    for seed in (1, 2, 3):
        for k, score in ((1, 0.0), (2, 0.6 + seed / 1000), (3, 0.6)):
            file = directory / f"runs/other/seed-{seed}/tasks/cola/seed-{k}/run.json"
            edit(file, lambda r, v=score: r["results"].update(score=v, metrics={"matthews": v}))
    found = write_report(directory)
    whole = next(c for c in found["comparisons"] if c["metric"] == "cola")
    (sound,) = found["without_collapsed"]
    assert whole["mean_difference"] < 0 and whole["verdict"] == "worse"
    assert sound["mean_difference"] == pytest.approx(0.1, abs=0.03) and sound["verdict"] == "better"
    assert "3 of 18 fine-tunings have collapsed" in words(directory)
    assert "| cola | other | 3 of 9 | 40.1 ± 30.1 (9) | 60.1 ± 0.1 (6) |" in read(directory, "report.md")
    assert "worse, without: better" in words(directory)


def test_that_none_collapsed_is_said_too(reported):
    assert "None of 72 fine-tunings collapsed" in words(reported[0])


def test_what_would_be_missed_is_a_table(reported):
    directory, found = reported
    row = next(c for c in found["comparisons"] if (c["attention"], c["metric"]) == ("shared", "final_loss"))
    assert row["detectable_holm"] > row["detectable"] > 0 and row["bootstrap95"] is None
    assert found["detectable_difference"] > found["detectable_difference_uncorrected"] > 0
    table = read(directory, "report.md").partition("## What would be missed")[2]
    assert f"| {row['detectable']:.3f} | {row['detectable_holm']:.3f} |" in table
    assert "A bootstrap interval over seeds is given from 8 pairs on" in table and "Bootstrap [95" not in table


def test_eight_seeds_have_a_bootstrap_interval(fabricate):
    directory = fabricate(seeds=range(1, 9), effects={"dot_product": 0.0, "other": 0.01})
    found = write_report(directory)
    low, high = next(c for c in found["comparisons"] if c["metric"] == "final_loss")["bootstrap95"]
    assert f"[{low:+.3f}, {high:+.3f}]".replace("-", "\N{MINUS SIGN}") in words(directory)
    assert "BCa interval of the mean over seeds" in words(directory)


def test_runs_on_the_plateau_tell_nothing_about_attention(fabricate):
    directory = fabricate(base=2.95, seeds=(1, 2, 3))
    found = write_report(directory)
    assert found["headline"].startswith("This comparison says nothing about attention")
    assert not any(run["learned_from_context"] for run in found["runs"])
    assert not any(c["informative"] for c in found["comparisons"] if c["metric"] == "final_loss")
    assert found["to_target"] == []
    assert {c["verdict"] for c in found["comparisons"]} == {"not testable"}
    said = "pairwise and dot_product learned nothing from context, so their losses say nothing about attention."
    assert said in words(directory) and "0.0000" not in words(directory)
    assert "learned nothing from context" in words(directory)
    assert "▲ better" not in words(directory)


@pytest.mark.parametrize("base", [1.8, 2.85, 2.95, 5.0])
def test_the_floor_is_a_line_in_every_loss_picture_wherever_the_runs_are(fabricate, base):
    directory = fabricate(base=base, seeds=(1, 2), learning_rates=(1e-3, 2e-3, 4e-3))
    write_report(directory)
    for name in ("curves", "parameters", "sweep"):
        assert re.search(r"no-context baseline,? 2\.92", read(directory, f"figures/{name}.svg"))


def test_one_mechanism_on_the_plateau_does_not_silence_the_others(fabricate):
    effects = {"dot_product": 0.0, "pairwise": -0.031, "stuck": 1.2}
    directory = fabricate(effects=effects, noise=0.002)
    headline = write_report(directory)["headline"]
    assert headline.startswith("Comparing stuck says nothing about attention")
    assert "pairwise is better than dot_product by" in headline


def test_one_seed_is_no_evidence_and_says_so(fabricate):
    directory = fabricate(seeds=(1,))
    found = write_report(directory)
    assert all(c["p_value"] is None and c["ci95"] is None for c in found["comparisons"])
    assert "cannot be judged against dot_product: a single pair has no spread" in found["headline"]
    assert "(n = 1)" in words(directory)


def test_identical_runs_are_called_identical(fabricate):
    directory = fabricate(effects={"dot_product": 0.0, "copy": 0.0}, noise=0.0, seeds=(1, 2, 3))
    found = write_report(directory)
    assert "copy cannot be judged against dot_product: all 3 pairs are identical" in found["headline"]
    assert "copy cannot be judged after 8.02 M tokens: all 3 pairs are identical" in words(directory)


def test_every_rate_of_the_sweep_is_reported(fabricate):
    directory = fabricate(learning_rates=(1e-3, 2e-3, 4e-3), seeds=(1, 2))
    found = write_report(directory)
    assert len(found["runs"]) == 24
    assert [r["learning_rate"] for r in found["runs"] if r["chosen"]] == [2e-3] * 8
    assert [r["learning_rate"] for r in found["sweep"]["shared"] if r["chosen"]] == [2e-3]
    assert "no-context baseline" in read(directory, "figures/sweep.svg")
    assert "chosen by the very losses that are compared" in words(directory)


def test_a_label_cannot_break_the_page(fabricate):
    label = "<b onload='x'>&\"$a_b$|`*"
    directory = fabricate(effects={"dot_product": 0.0, label: 0.05}, seeds=(1, 2), tasks={"rte": 0.5})
    write_report(directory)
    page = read(directory, "report.html")
    assert "<b onload" not in page
    assert "&lt;b onload=" in page
    for file in (directory / "figures").iterdir():
        ElementTree.fromstring(file.read_text(encoding="utf-8"))
    row = next(line for line in read(directory, "report.md").splitlines() if line.startswith("| \\<b onload"))
    assert "\\|\\`\\*" in row


def test_long_labels_with_options_are_opaque(fabricate):
    names = ["pairwise[coefficients_init=identity]", "pairwise[coefficients_init=scaled_normal,projection=shared]"]
    directory = fabricate(effects={"dot_product": 0.0, names[0]: 0.01, names[1]: 0.02}, seeds=(1, 2))
    found = write_report(directory)
    assert found["attention"] == ["dot_product", *names]
    assert all(name in words(directory).replace("[ ", "[").replace("= ", "=").replace(", ", ",") for name in names)


def test_a_single_run_has_a_report_without_comparison(fabricate_run):
    directory = fabricate_run("pairwise", seed=3)
    found = write_report(directory)
    assert (found["baseline"], found["comparisons"], len(found["runs"])) == (None, [], 1)
    assert "Nothing is compared" in words(directory)
    assert (directory / "figures/curves.svg").is_file()


def test_a_comparison_that_has_only_just_begun_has_a_report(fabricate):
    directory = fabricate(seeds=(1, 2), tasks=TASKS)
    for file in directory.glob("runs/*/*/run.json"):
        file.unlink()
    found = write_report(directory)
    assert found["headline"].startswith("Nothing can be compared")
    assert {run["status"] for run in found["runs"]} == {"missing"}


def test_a_decaying_schedule_and_a_budget_in_seconds_are_told(fabricate):
    directory = fabricate(seeds=(1, 2), settings={"max_seconds": 50.0, "max_tokens": None})
    write_report(directory)
    assert "decays over this very budget (linear)" in words(directory)
    assert "Budgets in seconds are neither paired nor repeatable" in words(directory)
    assert "50 s (8.02 M tokens)" in words(directory)


def test_the_model_and_its_training_are_one_sentence(fabricate):
    directory = fabricate(seeds=(1, 2), settings={"optimizer": "muon"})
    write_report(directory)
    assert (
        "Model and training: 4 layers of width 128, 4 heads, rotary positions, a vocabulary of 96, "
        "sequences of 64 tokens, 32 sequences a batch, optimizer muon, learning rate 0.002, linear schedule. "
        "Data: runs/quickstart/data."
    ) in words(directory)


def test_a_damaged_record_leaves_an_earlier_report_untouched(fabricate):
    directory = fabricate(seeds=(1, 2))
    write_report(directory)
    before = read(directory, "report.html")
    (directory / "runs/shared/seed-1/run.json").write_text("{")
    with pytest.raises(ValueError, match="run.json is damaged"):
        write_report(directory)
    assert read(directory, "report.html") == before
    assert not list(directory.glob(".report*"))


def test_notes_on_a_tasks_data_are_caveats_said_once(fabricate, edit):
    directory = fabricate(tasks={"boolq": 0.6}, seeds=(1, 2))
    note = "boolq has no training split here"
    for file in directory.rglob("tasks/*/seed-*/run.json"):
        edit(file, lambda record: record.update(data={"notes": [note]}))
    assert write_report(directory)["caveats"].count(f"{note}.") == 1


WRITERS = [("causal_lm", "a causal language model", True), ("seq2seq", "an encoder-decoder model", False)]


@pytest.mark.parametrize(("objective", "model", "tuned"), WRITERS)
def test_no_report_says_masked_of_another_model(fabricate, objective, model, tuned):
    directory = fabricate(settings={"objective": objective}, tasks={"multi30k_ende": 0.3}, task_seeds=1)
    write_report(directory)
    text = read(directory, "report.md")
    assert model in text and "mask" not in text.lower() and "| Perplexity |" in text
    assert ("fine-tun" in text.lower().partition("## to repeat it")[0]) == tuned


def test_a_masked_models_report_has_no_perplexity(reported):
    text = read(reported[0], "report.md")
    assert "Perplexity" not in text and "a masked language model" in text


def test_mfu_and_energy_have_columns_where_a_run_knows_them(fabricate, edit):
    directory = fabricate(seeds=(1, 2))
    found = write_report(directory)
    assert "MFU" not in words(directory) and "J / M tokens" not in words(directory)
    assert {run["mfu"] for run in found["runs"]} == {run["energy_joules"] for run in found["runs"]} == {None}

    told = {"mfu": 0.31, "energy_joules": 8_019_968 * 0.0025, "energy_source": "RAPL package-0"}
    for seed in (1, 2):
        file = directory / f"runs/symmetric/seed-{seed}/run.json"
        edit(file, lambda record: record["results"].update(told))
    edit(directory / "comparison.json", lambda plan: plan.update(jobs=3))
    found = write_report(directory)
    run = next(run for run in found["runs"] if run["attention"] == "symmetric")
    assert run["mfu"] == 0.31 and run["energy_joules"] == pytest.approx(20_049.92)
    assert run["joules_per_million_tokens"] == pytest.approx(2_500)
    page = read(directory, "report.md").partition("## What each attention costs")[2]
    header, *rows = [line for line in page.splitlines() if line.startswith("|")]
    assert header.rstrip("| ").endswith("MFU | J / M tokens")
    cells = {row.split("|")[1].strip(): [cell.strip() for cell in row.split("|")[-3:-1]] for row in rows[1:5]}
    assert cells["symmetric"] == ["31.0 ± 0.0 %", "2.5 ± 0.0 k"] and cells["shared"] == ["—", "—"]
    assert "as RAPL package-0 counted them" in words(directory)
    assert "3 runs at a time shared them, and each counts all." in words(directory)


@pytest.mark.parametrize("field", ["mfu", "energy_joules"])
def test_a_damaged_share_or_energy_is_named(fabricate, edit, field):
    directory = fabricate(seeds=(1, 2))
    edit(directory / "runs/shared/seed-1/run.json", lambda record: record["results"].update({field: "much"}))
    with pytest.raises(ValueError, match=f"{field} = 'much'"):
        write_report(directory)


def test_a_real_difference_within_the_margin_is_equivalent_and_the_sentence_says_both(fabricate, edit):
    directory = fabricate(effects={"dot_product": 0.0, "near": -0.010}, noise=0.001)
    edit(directory / "comparison.json", lambda plan: plan.update(margin=0.03))
    found = write_report(directory)
    (c,) = found["comparisons"]
    assert c["verdict"] == "equivalent" and max(c["p_value_holm"], c["p_equivalence_holm"]) < 0.05
    assert c["margin"] == found["margin"] == 0.03 and -0.03 < c["ci90"][0] < c["mean_difference"] < c["ci90"][1] < 0
    assert "near is equivalent to dot_product within 0.03 nats (though measurably better)." in found["headline"]
    sentence = (
        r"near is equivalent to dot_product within 0\.03 nats after 8\.02 M tokens, though measurably better: 0\.01"
    )
    assert re.search(sentence, words(directory))
    assert "| equivalent (though measurably better) |" in read(directory, "report.md").replace("\\", "")
    assert "the margin that was planned" in words(directory)


def test_a_margin_that_was_not_planned_is_said_to_be_the_default(reported):
    directory, found = reported
    assert (found["margin"], found["task_margin"]) == (0.03, 0.01)
    assert "within 0.03 nats of final loss, which is the default: no margin was planned" in words(directory)
    assert "within 1 point of a task's score, which is the default" in words(directory)


def test_families_are_stated(reported, fabricate, edit):
    directory, found = reported
    assert set(found["families"]) == {"final_loss", "cost_to_target", "tasks"}
    assert found["families"]["tasks"].startswith("Tasks: 9 tests, all mechanisms on all tasks and their average")
    for sentence in found["families"].values():
        assert sentence in words(directory)
    other = fabricate(seeds=(1, 2, 3))
    edit(other / "comparison.json", lambda plan: plan.update(main=["pairwise"]))
    families = write_report(other)["families"]
    assert families["final_loss"].startswith("Final loss: 1 test, the main contrasts that the plan names, pairwise")
    assert families["final_loss_exploratory"].startswith("Final loss, exploratory: 2 tests, of symmetric and shared")
    assert "shared (exploratory)" in words(other)


def test_nothing_is_called_not_distinguishable(reported):
    assert "distinguishable" not in words(reported[0]) + read(reported[0], "report.md") + read(
        reported[0], "results.json"
    )
