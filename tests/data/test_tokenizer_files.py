import json

import numpy as np
import pytest
from tokenizers import Tokenizer, models
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from leanformer.data import tokenizer_files
from leanformer.data.corpus import Corpus
from leanformer.data.prepare import prepare
from leanformer.data.tokenizer import train


@pytest.fixture
def source(text, tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_given_tokenizer_is_taken(source, tmp_path):
    """As a file, as a directory, and as an earlier data directory."""
    record = prepare(source, tmp_path / "a", vocab_size=503, quiet=True)
    for name in ("a", "a/tokenizer.json"):
        other = prepare(source, tmp_path / "b", tokenizer=tmp_path / name, quiet=True)
        assert other["files"]["train.bin"] == record["files"]["train.bin"] and other["hash"] == record["hash"]
        for file in (tmp_path / "b").iterdir():
            file.unlink()


def test_a_tokenizer_with_other_names_for_its_special_tokens(source, tmp_path):
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *"abcdefghijklmnopqrstuvwxyz", "<mask>", "<extra>"]
    bare = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, [], unk_token="<unk>"))
    bare.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", "<mask>", "<extra>"])
    bare.save(str(tmp_path / "roberta.json"))
    prepare(source, tmp_path / "data", tokenizer=tmp_path / "roberta.json", quiet=True)
    corpus = Corpus.open(tmp_path / "data")
    assert (corpus.cls_id, corpus.pad_id, corpus.sep_id, corpus.mask_id) == (0, 1, 2, 30)
    np.testing.assert_array_equal(corpus.ordinary_ids, np.arange(4, 30))
    assert corpus.train.tokens[0] == 0


def tokenizer_file(tmp_path, kind):
    path = tmp_path / "tokenizer.json"
    if kind == "corrupt":
        path.write_text('{"version": "1.0", "model": {"ty')
    elif kind == "not one":
        path.write_text("{}")
    elif kind == "no mask":
        Tokenizer(models.BPE({"[PAD]": 0, "[CLS]": 1, "[SEP]": 2}, [])).save(str(path))
    elif kind == "directory":
        return tmp_path
    return path


@pytest.mark.parametrize(
    "kind, error, message",
    [
        ("missing", FileNotFoundError, "tokenizer.json: no such tokenizer"),
        ("corrupt", ValueError, "tokenizer.json: cannot be read as a tokenizer"),
        ("not one", ValueError, "tokenizer.json: cannot be read as a tokenizer"),
        ("directory", ValueError, "cannot be read as a tokenizer"),
        ("no mask", ValueError, "tokenizer.json: this tokenizer has no mask_token, which"),
    ],
)
def test_a_bad_tokenizer_is_refused(source, tmp_path, kind, error, message):
    path = tokenizer_file(tmp_path, kind)
    with pytest.raises(error, match=message) as caught:
        prepare(source, tmp_path / "data", tokenizer=path, quiet=True)
    assert "\n" not in str(caught.value) and not (tmp_path / "data").exists()


def test_a_saved_tokenizer_keeps_its_class_and_length(source, tmp_path):
    prepare(source, tmp_path / "a", vocab_size=503, quiet=True)
    tokenizer = tokenizer_files.load(tmp_path / "a")
    tokenizer.model_max_length = 64
    tokenizer.save_pretrained(tmp_path / "b")
    prepare(source, tmp_path / "c", tokenizer=tmp_path / "b", quiet=True)
    again = AutoTokenizer.from_pretrained(tmp_path / "c")
    assert isinstance(again, PreTrainedTokenizerFast) and again.model_max_length == 64


@pytest.mark.parametrize(
    ("key", "value"),
    [("model_input_names", 2147483648), ("model_input_names", ["input_ids", 3]), ("model_max_length", "long")],
)
def test_a_damaged_tokenizer_config_is_named_with_its_key(source, tmp_path, key, value):
    prepare(source, tmp_path / "data", vocab_size=503, quiet=True)
    config = tmp_path / "data" / "tokenizer_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {key: value}))
    with pytest.raises(ValueError, match=f"{key} = .*: mend|cannot be read as a tokenizer"):
        tokenizer_files.load(tmp_path / "data")


def beside(config, folder):
    folder.mkdir()
    tokenizer_files.save(tokenizer_files.wrap(train(["a tea [SEP] b"] * 9, "wordpiece", 60)), folder)
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 64, **config}))
    tokenizer_files.match_model(folder)
    return AutoTokenizer.from_pretrained(folder)


def test_beside_a_model_a_tokenizer_says_what_the_model_reads(tmp_path):
    fills = {"architectures": ["LeanformerForMaskedLM"], "type_vocab_size": 2}
    tokenizer = beside(fills, tmp_path / "masked")
    assert tokenizer.model_max_length == 64 and "token_type_ids" in tokenizer("a", "b")
    assert tokenizer.mask_token_id in tokenizer("a [MASK]")["input_ids"]
    judges = {"architectures": ["LeanformerForSequenceClassification"], "type_vocab_size": 1}
    tokenizer = beside(judges, tmp_path / "classifier")
    assert "token_type_ids" not in tokenizer("a", "b") and len(tokenizer("a " * 99, truncation=True)["input_ids"]) == 64
    assert tokenizer("a [SEP] b")["input_ids"].count(tokenizer.sep_token_id) == 1


def test_special_tokens_spelt_out_in_a_text_are_text(tmp_path):
    tokenizer = tokenizer_files.wrap(train(["a [SEP] [MASK] b"] * 9, "wordpiece", 60))
    tokenizer_files.save(tokenizer, tmp_path)
    for one in (tokenizer, tokenizer_files.load(tmp_path), tokenizer_files.load(tmp_path / "tokenizer.json")):
        assert not {0, 2, 3, 4} & set(one("a [SEP] [PAD] [CLS] [MASK] b")["input_ids"][1:-1])
