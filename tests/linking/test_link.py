"""Encoders side by side: they learn, repeat and resume bit by bit, and the command refuses nonsense."""

import json
import os
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from leanformer.data import tokenizer, tokenizer_files
from leanformer.inference import embed
from leanformer.linking.dictionary import read_dictionary
from leanformer.linking.encoders import Trigrams, build, specs
from leanformer.linking.link import link
from leanformer.linking.objective import LinkingObjective
from leanformer.linking.settings import LinkingSettings, read_linking
from leanformer.models import LeanformerConfig, LeanformerForMaskedLM, saved
from leanformer.models.initialisation import initialise
from leanformer.training import loop
from leanformer.training.run.interrupts import Stopped

CPU = torch.device("cpu")
QUICK = ["linking.batch_size=48", "linking.width=32", "linking.threads=1", "linking.max_length=11"]


def settings(*more: str):
    return read_linking(None, [*QUICK, *more])


@pytest.fixture(scope="module")
def model(made, tmp_path_factory) -> Path:
    """A tiny encoder with initial values, whose word pieces are of the dictionary."""
    run = tmp_path_factory.mktemp("models") / "tiny"
    names = [name for each in read_dictionary(made.parent / "dictionary.jsonl").names for name in each]
    words: Tokenizer = tokenizer.train(names, "wordpiece", 150)
    sizes = dict(hidden_size=22, num_hidden_layers=1, num_attention_heads=2, intermediate_size=37)
    config = LeanformerConfig(vocab_size=150, max_position_embeddings=19, **sizes)
    encoder = LeanformerForMaskedLM(config)
    initialise(encoder, 3)
    with saved.quiet():
        encoder.save_pretrained(run / "model")
        tokenizer_files.wrap(words).save_pretrained(run / "model")
    return run


def rows(out: Path, encoder: str, seed: int = 1) -> list[dict]:
    path = out / "runs" / encoder / f"seed-{seed}" / "predictions.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def curve(out: Path, encoder: str) -> list[tuple[int, float]]:
    lines = (out / "runs" / encoder / "seed-1" / "curve.jsonl").read_text().splitlines()
    return [(line["step"], line["loss"]) for line in map(json.loads, lines)]


# --- encoders


def test_trigrams_do_not_see_the_order_of_words():
    vectors = Trigrams(["acute renal failure", "benign tumor"]).vectors(["renal failure acute", "failure acute renal"])
    np.testing.assert_allclose(vectors[[0]].toarray(), vectors[[1]].toarray())
    np.testing.assert_allclose(np.linalg.norm(vectors.toarray(), axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("name", ["rescnn", "rescnn:MODEL", "MODEL"])
def test_a_vector_does_not_depend_on_its_batch(model, ontology, name):
    (spec,) = specs([name.replace("MODEL", str(model))])
    encoder = build(spec, ontology.CONCEPTS, LinkingSettings(width=32, max_length=11), 1, CPU)
    texts = [*ontology.CONCEPTS[:3], "a much longer name that fills the batch with padding", "!?"]
    together = encoder.vectors(texts)
    alone = np.concatenate([encoder.vectors([text]) for text in texts])
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_model_is_pooled_as_embed_pools_it(model, ontology, tmp_path, pooling):
    texts = ontology.CONCEPTS[:5]
    (tmp_path / "texts.txt").write_text("\n".join(texts) + "\n")
    embed(model, [tmp_path / "texts.txt"], tmp_path / "vectors.npy", pooling=pooling)
    wanted = np.load(tmp_path / "vectors.npy")
    (spec,) = specs([str(model)])
    found = build(spec, [], LinkingSettings(max_length=19, pooling=pooling), 1, CPU).vectors(texts)
    np.testing.assert_allclose(found, wanted / np.linalg.norm(wanted, axis=1, keepdims=True), rtol=0, atol=1e-6)


def test_what_is_drawn_is_a_function_of_the_seed(ontology):
    (spec,) = specs(["rescnn"])
    one, same, other = (
        build(spec, ontology.CONCEPTS, LinkingSettings(width=32), seed, CPU).vectors(["benign"]) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert abs(one - other).max() > 0.01


def test_lent_embeddings_stay_as_they_are(model, ontology):
    (spec,) = specs([f"rescnn:{model}"])
    encoder = build(spec, ontology.CONCEPTS, LinkingSettings(max_length=11), 1, CPU)
    assert not [name for name, p in encoder.model.named_parameters() if "embeddings." in name and p.requires_grad]
    assert encoder.size["without_embeddings"] == 1_740_072 - (768 - 22) * 256


# --- the objective


@pytest.fixture(scope="module")
def objective(made, ontology) -> LinkingObjective:
    dictionary = read_dictionary(made.parent / "dictionary.jsonl")
    (spec,) = specs(["rescnn"])
    encoder = build(spec, ontology.CONCEPTS, LinkingSettings(width=32), 1, CPU)
    names = [*ontology.CONCEPTS, *map(ontology.plural, ontology.CONCEPTS), ontology.CONCEPTS[0]]
    mentions = [(name, ontology.identifier(i % 48)) for i, name in enumerate(names[:-1])]
    return LinkingObjective(
        encoder, [*mentions, (names[-1], "M000")], dictionary, LinkingSettings(batch_size=31, epochs=3), 1
    )


def test_a_batch_is_mentions_and_another_name_of_each(objective):
    assert len(objective.mentions) == 96  # what is annotated twice counts once
    texts = [text for (text,) in objective.encoded.examples.texts]
    read = []
    for step in range(4):
        chosen, epochs = objective.chosen(step)
        drawn = objective.drawn(chosen, epochs)
        for mention, name in zip(chosen, drawn, strict=True):
            own = texts[objective.mentions[mention]]
            assert texts[name] != own
            assert name in objective.names[mention]
        (batch,) = objective.micro_batches(step, 0, 1)
        assert len(batch["input_ids"]) == objective.num_targets(batch) == 62
        assert torch.equal(batch["labels"][:31], batch["labels"][31:])
        read += [int(m) for m, epoch in zip(chosen, epochs, strict=True) if epoch == 0]
    assert sorted(read) == list(range(96))  # an epoch reads each once
    assert objective.total_steps == 10


def test_names_are_drawn_anew_every_epoch(objective):
    chosen = np.arange(96)
    first, second = (objective.drawn(chosen, np.full(96, epoch)) for epoch in (0, 1))
    assert 0.3 < (first != second).mean() < 0.9


# --- the whole


def test_it_learns_and_reports(made, model, tmp_path):
    """Twenty points above its own start; the trigrams, which typing errors hardly touch, as a mark."""
    out = tmp_path / "out"
    found = link(["tfidf", "rescnn", str(model)], made, out, settings("linking.epochs=10"), quiet=True)
    start = link(["rescnn"], made, tmp_path / "start", settings("linking.epochs=0"), quiet=True)
    trigrams, trained, transformer = found["encoders"]
    assert trigrams["accuracy@1"]["mean"] > 0.9
    assert trained["accuracy@1"]["mean"] > start["encoders"][0]["accuracy@1"]["mean"] + 0.2
    assert trained["accuracy@5"]["mean"] >= trained["accuracy@1"]["mean"]
    assert found["data"]["mentions"] == 97
    assert found["data"]["composite"] == 1
    assert found["data"]["learned"] == 4 * 48
    assert transformer["steps"] > 0
    report = (out / "report.md").read_text()
    assert all(name in report for name in ("tfidf", "rescnn", "tiny", "Searches/s", "Without embeddings"))
    assert json.loads((out / "results.json").read_text()) == found
    scored = rows(out, "rescnn")
    assert np.mean([row["right@1"] for row in scored]) == trained["accuracy@1"]["mean"]
    assert {len(row["found"][0]) for row in scored} == {5}
    assert not (out / "runs" / "rescnn" / "seed-1" / "checkpoint").exists()
    assert (out / "runs" / "tiny" / "seed-1" / "model" / "model.safetensors").is_file()


def test_a_stopped_run_goes_on_to_the_same_end(made, tmp_path, monkeypatch):
    short = settings("linking.epochs=2")
    link(["rescnn"], made, tmp_path / "whole", short, quiet=True)

    original = loop.Loop.update

    def interrupted(self, *arguments):
        if self.at.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, *arguments)

    monkeypatch.setattr(loop.Loop, "update", interrupted)
    with pytest.raises(Stopped):
        link(["rescnn"], made, tmp_path / "parts", short, quiet=True)
    monkeypatch.setattr(loop.Loop, "update", original)
    record = tmp_path / "parts" / "runs" / "rescnn" / "seed-1" / "run.json"
    assert json.loads(record.read_text())["status"] == "stopped"
    link(["rescnn"], made, tmp_path / "parts", short, quiet=True)
    assert curve(tmp_path / "parts", "rescnn") == curve(tmp_path / "whole", "rescnn")
    assert rows(tmp_path / "parts", "rescnn") == rows(tmp_path / "whole", "rescnn")


def test_what_is_finished_stays_and_another_experiment_is_refused(made, tmp_path):
    none = settings("linking.epochs=0")
    link(["tfidf"], made, tmp_path, none, quiet=True)
    before = (tmp_path / "runs" / "tfidf" / "seed-1" / "run.json").read_bytes()
    found = link(["rescnn", "tfidf"], made, tmp_path, none, seeds=2, quiet=True)
    assert (tmp_path / "runs" / "tfidf" / "seed-1" / "run.json").read_bytes() == before
    assert [row["seeds"] for row in found["encoders"]] == [[1, 2], [1]]
    with pytest.raises(FileExistsError, match="holds a run with another linking.composites: choose another --out"):
        link(["tfidf"], made, tmp_path, settings("linking.composites=each"), quiet=True)
    with pytest.raises(FileExistsError, match="another split"):
        link(["tfidf"], made, tmp_path, none, split="validation", quiet=True)


def test_joined_mentions_are_names(made, tmp_path):
    with_, without = (
        link(["tfidf"], made, tmp_path / str(join), settings(f"linking.join={str(join).lower()}"), quiet=True)
        for join in (True, False)
    )
    assert with_["data"]["names"] > without["data"]["names"]
    assert without["data"]["concepts"] == with_["data"]["concepts"] == 48


def test_the_command(command, made, tmp_path):
    arguments = ["link", "tfidf", "--data", made, "--out", tmp_path / "out"]
    assert command(*arguments, "--dry-run") == (0, command(*arguments, "--dry-run")[1], "")
    assert not (tmp_path / "out").exists()
    status, out, _ = command(*arguments)
    assert status == 0
    assert "tfidf, seed 1: accuracy@1" in out
    status, out, _ = command(*arguments, "--json")
    assert json.loads(out)["kind"] == "link"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tfdif"], "tfdif is neither a run nor a saved model nor a kind of encoder: did you mean 'tfidf'"),
        (["rescnn:nowhere"], "nowhere is neither a run directory nor a model"),
        (["tfidf", "tfidf"], "encoder tfidf is given twice"),
        (["tfidf", "--seeds", "0"], "--seeds 0: at least one is needed"),
        (["tfidf", "--split", "train"], "--split train"),
        (["tfidf", "--dictionary", "nowhere.jsonl"], "nowhere.jsonl: no such file"),
        (["tfidf", "--set", "linking.missing=never"], "linking.missing = 'never'"),
    ],
)
def test_mistakes_end_in_one_line_and_status_2(command, made, tmp_path, arguments, message):
    status, _, err = command("link", *arguments, "--data", made, "--out", tmp_path / "out")
    assert status == 2
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_an_empty_mention_ends_in_one_line_and_status_2(command, made, tmp_path, split):
    folder = shutil.copytree(made, tmp_path / "data")
    with (folder / f"{split}.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"mention": " ", "gold": ["M000"]}) + "\n")
    dictionary = ("--dictionary", made.parent / "dictionary.jsonl")
    status, out, err = command("link", "tfidf", "--data", folder, "--out", tmp_path / "out", *dictionary)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert re.search(rf"{split}.jsonl, line \d+: mention is empty", err), err
    assert not (tmp_path / "out").exists()


def test_a_model_that_reads_too_little_and_a_foreign_dictionary(command, made, model, tmp_path):
    status, _, err = command("link", model, "--data", made, "--out", tmp_path / "out")
    assert status == 2
    assert "linking.max_length = 25: the model in" in err
    poor = tmp_path / "dictionary.jsonl"
    poor.write_text(json.dumps({"id": "M001", "names": ["acute renal tumor"]}) + "\n")
    status, _, err = command("link", "tfidf", "--data", made, "--dictionary", poor, "--out", tmp_path / "out")
    assert status == 2
    assert "line 1: M000 is not in the dictionary" in err
    assert not (tmp_path / "out").exists()
