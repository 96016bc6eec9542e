"""The tokenizer of a checkpoint that has a vocabulary alone, and texts that a tokenizer does not know."""

import json
import shutil

import pytest
from transformers import AutoTokenizer, BertConfig, BertForMaskedLM

from leanformer.conversion.convert import convert
from leanformer.data.prepare import prepare
from leanformer.data.tokenizer_files import load

RESIDUES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"ACDEFGHIKLMNPQRSTVWY"]
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused1]", *["the", "a", "c", "d", "e", "##t"]]


@pytest.fixture
def checkpoint(tmp_path):
    """A BERT beside a vocab.txt with these words."""

    def make(words, **files):
        folder = tmp_path / "theirs"
        sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 8, "intermediate_size": 7}
        BertForMaskedLM(BertConfig(**sizes, vocab_size=25, max_position_embeddings=32)).save_pretrained(folder)
        (folder / "vocab.txt").write_text("\n".join(words) + "\n")
        for name, content in files.items():
            (folder / f"{name}.json").write_text(json.dumps(content))
        return folder

    return make


def test_a_vocabulary_alone_becomes_a_tokenizer_that_prepare_reads(checkpoint, tmp_path):
    (note,) = convert(checkpoint(RESIDUES), tmp_path / "ours")["notes"]
    assert note.startswith("texts keep their capital letters, because the vocabulary in ")
    assert AutoTokenizer.from_pretrained(tmp_path / "ours")("A C W")["input_ids"] == [2, 5, 6, 23, 3]
    (tmp_path / "text.txt").write_text("\n\n".join(["E V Q L V", "D I Q M T"] * 40))
    prepare(tmp_path / "text.txt", tmp_path / "data", tokenizer=tmp_path / "ours" / "tokenizer.json", quiet=True)
    assert load(tmp_path / "data")("E V")["input_ids"] == [2, 8, 22, 3]


@pytest.mark.parametrize(
    ("words", "settings", "ids"),
    [
        (PIECES, {}, [2, 6, 7, 3]),  # [UNK] is no word
        (RESIDUES, {"tokenizer_config": {"do_lower_case": True}}, [2, 1, 1, 3]),
        (RESIDUES, {"tokenizer_config": {"do_lower_case": False}}, [2, 1, 5, 3]),
    ],
)
def test_texts_are_lower_cased_where_a_setting_or_the_vocabulary_says_so(checkpoint, tmp_path, words, settings, ids):
    words = words + [f"w{number}" for number in range(25 - len(words))]
    assert convert(checkpoint(words, **settings), tmp_path / "ours")["notes"] == []
    assert AutoTokenizer.from_pretrained(tmp_path / "ours")("The A")["input_ids"] == ids


def test_the_casing_of_a_whole_tokenizer_is_its_own(checkpoint, tmp_path):
    """transformers lower-cases for a BertTokenizer without settings, whatever its tokenizer.json says."""
    convert(checkpoint(RESIDUES), tmp_path / "first")
    shutil.copy(tmp_path / "first" / "tokenizer.json", tmp_path / "theirs")
    assert convert(tmp_path / "theirs", tmp_path / "ours")["notes"] == []
    assert AutoTokenizer.from_pretrained(tmp_path / "ours")("A C")["input_ids"] == [2, 5, 6, 3]


@pytest.mark.parametrize(("known", "notes"), [(200, 0), (90, 1)])
def test_unknown_tokens_in_a_sample_are_reported(checkpoint, tmp_path, known, notes):
    """200 residues and 2 small letters are 1 %, 90 residues and 2 are 2.2 %."""
    source = checkpoint(RESIDUES, tokenizer_config={"do_lower_case": False})
    (tmp_path / "text.txt").write_text("A " * known + "x y")
    found = convert(source, tmp_path / "ours", text=tmp_path / "text.txt")["notes"]
    assert len(found) == notes
    if notes:
        assert "does not know 2.2% of the tokens of" in found[0] and "[UNK]" in found[0]
