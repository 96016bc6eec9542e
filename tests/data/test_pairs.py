"""Pairs on disk: the splits, the tokens, the texts, and what is refused."""

import json
import lzma

import numpy as np
import pytest
from transformers import AutoTokenizer

from leanformer.data.corpus import Corpus
from leanformer.data.generation_tasks import GenerationTask, columns, generation_task, register_generation_task
from leanformer.data.order import permutation
from leanformer.data.pair_texts import read_pairs
from leanformer.data.pairs import PairCorpus
from leanformer.data.prepare_pairs import prepare_pairs


def dialogues(folder, split, numbers, turns=5):
    (folder / "persona_chat").mkdir(exist_ok=True)
    rows = [
        {
            "user 1 personas": f"I am {n}.\nI like {n}s.",
            "user 2 personas": f"I was {n}.",
            "Best Generated Conversation": "\n".join(f"User {1 + t % 2}: turn {t} of {n}" for t in range(turns)),
        }
        for n in numbers
    ]
    with lzma.open(folder / "persona_chat" / f"{split}.jsonl.xz", "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def test_published_splits_are_kept_and_every_text_decodes_to_itself(pairs, translations):
    data, tokenizer = PairCorpus.open(pairs, verify=True), AutoTokenizer.from_pretrained(pairs)
    assert {name: len(store) for name, store in data.splits.items()} == {"train": 449, "valid": 15, "test_2016": 10}
    assert data.test == "test_2016" and data.record["split"] == "as published"
    for ours, published in {"valid": "validation", "test_2016": "test_2016"}.items():
        lines = (translations / "multi30k_ende" / f"{published}.jsonl").read_text().splitlines()
        for i, (line, texts) in enumerate(zip(lines, data.texts(ours), strict=True)):
            row = json.loads(line)["translation"]
            assert texts == {"source": row["en"], "references": [row["de"]]}
            sources, mask, targets = data.splits[ours].batch(np.array([i]), 99, data.pad_id)
            assert tokenizer(row["en"])["input_ids"] == sources[0].tolist() and mask.all()
            assert tokenizer.decode(targets[0], skip_special_tokens=True) == row["de"]
            assert targets[0, -1] == data.sep_id and data.cls_id not in targets[0]


def test_a_batch_is_padded_and_cut_and_keeps_its_ends(pairs):
    store, pad = PairCorpus.open(pairs).train, 0
    sources, targets = store.lengths(99)
    shortest, longest = int(targets.argmin()), int(targets.argmax())
    batch = store.batch(np.array([shortest, longest]), 99, pad)
    assert batch.targets.shape[1] == targets.max() and (batch.targets[0] == -100).sum() == targets.max() - targets.min()
    assert (batch.mask == (batch.sources != pad)).all()
    cut = store.batch(np.array([longest]), 4, pad)
    assert cut.sources.shape == cut.targets.shape == (1, 4)
    assert cut.sources[0, -1] == cut.targets[0, -1] == 3
    assert (cut.targets[0, :3] == batch.targets[1, :3]).all()
    assert store.truncated(4) == {"source": int((sources > 4).sum()), "target": int((targets > 4).sum())}


def test_what_is_published_without_training_split_is_split_once_by_dialogue(tmp_path):
    dialogues(tmp_path, "validation", range(13))
    dialogues(tmp_path, "test", range(13, 23))
    texts = read_pairs(generation_task("persona_chat"), tmp_path)
    of = {split: {int(e.group.split()[-1]) for e in examples} for split, examples in texts.splits.items()}
    order = permutation(np.arange(23), 23, seed=0, epoch=0).tolist()
    assert (of["valid"], of["test"]) == (set(order[:2]), set(order[2:4]))
    assert of["train"] == set(range(23)) - of["valid"] - of["test"]
    assert all(len(examples) == 4 * len(of[split]) for split, examples in texts.splits.items())
    assert "no training split is published: the 23 dialogues of validation and test" in texts.made
    out = prepare_pairs("persona_chat", tmp_path, tmp_path / "out", vocab_size=300)
    assert out["split"] == texts.made


def test_a_turn_is_answered_from_its_speakers_persona_and_the_turns_before(tmp_path):
    dialogues(tmp_path, "validation", range(30), turns=7)
    first, *_, last = read_pairs(generation_task("persona_chat"), tmp_path).splits["valid"][:6]
    n = first.group.split()[-1]
    assert first.source == f"User 2: I was {n}.\nUser 1: turn 0 of {n}" and first.references == (f"turn 1 of {n}",)
    shown = [f"User {1 + t % 2}: turn {t} of {n}" for t in range(2, 6)]
    assert last.source == "\n".join([f"User 1: I am {n}. I like {n}s.", *shown])


def test_references_of_one_dialogue_meet(tmp_path):
    (tmp_path / "dialogsum").mkdir()
    rows = [{"dialogue": f"said {i}", "summary": f"{k} of {i}"} for i in range(20) for k in (1, 2, 3)]
    for split, part in (("validation", rows[:30]), ("test", rows[30:])):
        (tmp_path / "dialogsum" / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    prepare_pairs("dialogsum", tmp_path, tmp_path / "out", vocab_size=300)
    data = PairCorpus.open(tmp_path / "out")
    assert {name: len(store) for name, store in data.splits.items()} == {"train": 48, "valid": 2, "test": 2}
    assert all(len(text["references"]) == 3 for text in data.texts("test"))


def test_the_same_texts_give_the_same_bytes(pairs, translations, tmp_path):
    again = prepare_pairs("multi30k_ende", translations, tmp_path / "again", vocab_size=300)
    assert again["hash"] == PairCorpus.open(pairs).hash and again["files"] == PairCorpus.open(pairs).record["files"]
    (tmp_path / "again" / "valid.jsonl").write_text("{}")
    with pytest.raises(ValueError, match=r"valid\.jsonl: 2 bytes where data\.json says"):
        PairCorpus.open(tmp_path / "again")


def test_a_task_is_an_entry(tmp_path):
    register_generation_task(GenerationTask("titles", "summarization", columns("body", "title")))
    (tmp_path / "titles").mkdir()
    for split in ("train", "validation"):
        (tmp_path / "titles" / f"{split}.jsonl").write_text('{"body": "a long text", "title": "text"}\n')
    record = prepare_pairs("titles", tmp_path, tmp_path / "out", vocab_size=261)
    assert (record["task"], record["task_kind"]) == ("titles", "summarization")
    assert PairCorpus.open(tmp_path / "out").test == "valid"
    with pytest.raises(ValueError, match="'titles' is registered already"):
        register_generation_task(GenerationTask("titles", "dialogue", columns("a", "b")))
    with pytest.raises(ValueError, match="unknown kind 'sumarization': did you mean 'summarization'"):
        GenerationTask("x", "sumarization", columns("a", "b"))


def test_mistakes_are_one_line(pairs, data, tmp_path):
    with pytest.raises(ValueError, match="unknown generation task 'multi30k_deen': did you mean 'multi30k_ende'"):
        prepare_pairs("multi30k_deen", tmp_path, tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="no such folder; the task data"):
        prepare_pairs("multi30k_ende", tmp_path, tmp_path / "out")
    folder = tmp_path / "multi30k_ende"
    folder.mkdir()
    (folder / "train.jsonl").write_text('{"translation": {"en": "a", "de": "b"}}\n')
    with pytest.raises(FileNotFoundError, match="fetch the validation split"):
        prepare_pairs("multi30k_ende", tmp_path, tmp_path / "out")
    (folder / "validation.jsonl").write_text('{"translation": {"en": "a"}}\n')
    with pytest.raises(ValueError, match=r"validation\.jsonl, line 1: its columns are not those of multi30k_ende"):
        prepare_pairs("multi30k_ende", tmp_path, tmp_path / "out")
    with pytest.raises(ValueError, match='holds pairs, not text: they are for training.objective = "seq2seq"'):
        Corpus.open(pairs)
    with pytest.raises(ValueError, match="holds text, not pairs: give a directory made with"):
        PairCorpus.open(data)
    assert not (tmp_path / "out").exists()
