"""Texts that a model writes: scores against the packages themselves, the suite from run to files, and perplexities."""

import json
import math
import re

import pytest
import sacrebleu
from rouge_score.rouge_scorer import RougeScorer

from leanformer.data import generation_tasks
from leanformer.evaluation import generation as suite
from leanformer.evaluation.evaluate import evaluate
from leanformer.evaluation.text_metrics import score
from leanformer.install import how_to_install
from leanformer.reporting.records.runs import read_run
from leanformer.settings import settings_from
from leanformer.training.pretrain import pretrain

MODEL = {"hidden_size": 14, "num_hidden_layers": 1, "num_attention_heads": 7, "intermediate_size": 29}
TRAINING = {"max_steps": 3, "batch_size": 8, "sequence_length": 13, "threads": 1, "learning_rate": 1e-2}


def trained(objective, data, out):
    settings = settings_from({"model": MODEL, "training": TRAINING | {"objective": objective}})
    pretrain(settings, data, out, quiet=True)
    return out


@pytest.fixture(scope="module")
def translator(pairs, tmp_path_factory):
    return trained("seq2seq", pairs, tmp_path_factory.mktemp("runs") / "run")


def test_translations_are_scored_as_sacrebleu_does():
    written, wanted = ["a b c d e", "the cat sat there"], ["a b c d e", "the cat sat here"]
    result = score("translation", written, [[text] for text in wanted])
    assert result["score"] == result["metrics"]["bleu"] == sacrebleu.corpus_bleu(written, [wanted]).score / 100
    assert result["metrics"]["chrf"] == sacrebleu.corpus_chrf(written, [wanted]).score / 100
    assert result["signatures"]["bleu"].startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")
    assert score("translation", wanted, [[text] for text in wanted])["score"] == pytest.approx(1)
    assert not result["collapsed"] and score("translation", ["a", "a"], [["b"], ["c"]])["collapsed"]


def test_the_best_reference_counts():
    references = [["a dog ran home", "the cat sat on the mat", "x"], ["one two three"]]
    result = score("summarization", ["the cat sat on a mat", "one three"], references)
    best = RougeScorer(["rougeL"], use_stemmer=True)
    by_hand = (
        best.score(references[0][1], "the cat sat on a mat")["rougeL"].fmeasure + 2 * (1.0 * 2 / 3) / (1 + 2 / 3)
    ) / 2
    assert result["score"] == result["metrics"]["rougeL"] == pytest.approx(by_hand)
    assert set(result["metrics"]) == {"rougeL", "rouge1", "rouge2"}
    with_bleu = score(
        "dialogue", ["the cat sat on the mat", "one two three four"], [references[0], ["one two three four"]]
    )
    assert with_bleu["metrics"]["bleu"] == pytest.approx(1) and with_bleu["score"] == pytest.approx(1)


def test_the_suite_writes_texts_beside_scores(translator, pairs):
    result = evaluate(translator, "generation", pairs, beams=2, limit=5)
    out = translator / "generation" / "test_2016-5"
    record = json.loads((out / "run.json").read_text())
    assert (record["kind"], record["status"], record["task"]) == ("generation", "finished", "multi30k_ende")
    assert record["settings"]["generation"] == {"beams": 2, "max_length": 13, "limit": 5}
    assert record["results"]["score"] == result["score"] == result["bleu"] and result["out"] == str(out)
    lines = [json.loads(line) for line in (out / "hypotheses.jsonl").read_text().splitlines()]
    assert [line["index"] for line in lines] == [0, 2, 4, 6, 8]
    texts = [line["hypothesis"] for line in lines]
    again = score("translation", texts, [line["references"] for line in lines])
    assert again["metrics"] == record["results"]["metrics"]
    assert evaluate(translator, "generation", pairs, beams=2, limit=5)["score"] == result["score"]


def test_hypotheses_keep_the_order_of_the_split(translator, pairs, monkeypatch):
    """Batches are by length; a text alone is written as among others."""
    together = evaluate(translator, "generation", pairs, split="valid", beams=1)
    monkeypatch.setattr(suite, "BATCH_SIZE", 1)
    alone = evaluate(translator, "generation", pairs, split="valid", beams=1, out=translator / "alone")
    first, second = ((translator / place / "hypotheses.jsonl").read_text() for place in ("generation/valid", "alone"))
    assert first == second and together["score"] == alone["score"]


def test_a_report_reads_it_as_a_task(translator, pairs):
    evaluate(translator, "generation", pairs, beams=1, limit=3, out=translator / "tasks/multi30k_ende/seed-1")
    (task,) = read_run(translator, ".").finetunings
    assert (task.task, task.seed, task.status) == ("multi30k_ende", 1, "finished") and task.score is not None


def test_perplexity_follows_the_objective(translator, pairs, data, tmp_path):
    result = evaluate(translator, "perplexity", pairs)
    assert result["objective"] == "seq2seq" and result["sequences"] == 15
    final = json.loads((translator / "run.json").read_text())["results"]["final_loss"]
    assert result["loss"] == pytest.approx(final, rel=2e-2) and result["perplexity"] == math.exp(result["loss"])
    run = trained("causal_lm", data, tmp_path / "run")
    result = evaluate(run, "perplexity", data)
    assert result["objective"] == "causal_lm" and result["targets"] == 12 * result["sequences"]
    assert result["no_context_baseline"] > 0
    (tmp_path / "text.txt").write_text("it was the best of times, it was the worst of times")
    assert evaluate(run, "perplexity", tmp_path / "text.txt")["targets"] % 12 == 0
    with pytest.raises(
        ValueError, match='holds no encoder-decoder model: give a run with training.objective = "seq2seq"'
    ):
        evaluate(run, "generation", pairs)


def test_mistakes_are_one_line(translator, pairs, monkeypatch):
    with pytest.raises(ValueError, match="has no split 'test_2017' to evaluate on: did you mean 'test_2016'"):
        evaluate(translator, "generation", pairs, split="test_2017")
    with pytest.raises(ValueError, match="--beams is no option of the suite perplexity, but of generation"):
        evaluate(translator, "perplexity", pairs, beams=3)
    with pytest.raises(ValueError, match="--beams 0: must be at least 1"):
        evaluate(translator, "generation", pairs, beams=0)
    with pytest.raises(ValueError, match="--max-length 600: .* reads at most 512 tokens"):
        evaluate(translator, "generation", pairs, max_length=600)
    monkeypatch.setattr(generation_tasks, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"^sacrebleu is not installed: " + re.escape(how_to_install("generation"))):
        evaluate(translator, "generation", pairs)
