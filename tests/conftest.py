"""What several folders of tests share: the command line run in this process, and a small prepared corpus."""

import json
import lzma
import sys
from importlib import resources

import pytest

TINY = [
    "model.hidden_size=16",
    "model.num_hidden_layers=1",
    "model.num_attention_heads=2",
    "model.intermediate_size=32",
    "model.max_position_embeddings=32",
    "model.positions=rotary",
    "training.max_steps=4",
    "training.batch_size=4",
    "training.sequence_length=32",
    "training.validate_every=2",
    "training.validation_sequences=8",
    "training.log_every=1",
    "training.threads=1",
]
"""Settings of a run that takes a second."""
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("gpu"):
            import torch

            item.add_marker(pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))


@pytest.fixture
def own_registry():
    """Mechanisms, mixers and plug-ins that the test registers are unknown to the next one."""
    from leanformer.attention.plugins import forgotten

    with forgotten():
        yield


@pytest.fixture(scope="session")
def text() -> str:
    """The first 60,000 characters of the novels that ship with the package."""
    path = resources.files("leanformer.data") / "texts" / "novels.txt.xz"
    with path.open("rb") as packed, lzma.open(packed, "rt", encoding="utf-8") as file:
        return file.read(60_000)


@pytest.fixture(scope="session")
def data(text, tmp_path_factory):
    """A data directory of characters, prepared once."""
    from leanformer.data.prepare import prepare

    folder = tmp_path_factory.mktemp("corpus")
    source = folder / "novels.txt"
    source.write_text(text, encoding="utf-8")
    prepare([str(source)], folder / "data", algorithm="characters", vocab_size=100, quiet=True)
    return folder / "data"


@pytest.fixture(scope="session")
def translations(tmp_path_factory):
    """A folder of task data: numbers in English and German, of one to six digits."""
    english = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "Nine"]
    german = ["null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "Neun"]
    folder = tmp_path_factory.mktemp("tasks")
    (folder / "multi30k_ende").mkdir()
    splits = {"train": range(3, 900, 2), "validation": range(2, 62, 4), "test_2016": range(4, 44, 4)}
    for split, numbers in splits.items():
        rows = [[int(digit) for digit in str(number**2)] for number in numbers]
        pairs = [{"en": " ".join(english[i] for i in row), "de": " ".join(german[i] for i in row)} for row in rows]
        lines = [json.dumps({"translation": pair}, ensure_ascii=False) + "\n" for pair in pairs]
        (folder / "multi30k_ende" / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def pairs(translations, tmp_path_factory):
    """A data directory of them."""
    from leanformer.data.prepare_pairs import prepare_pairs

    out = tmp_path_factory.mktemp("pairs") / "data"
    prepare_pairs("multi30k_ende", translations, out, vocab_size=300)
    return out


@pytest.fixture(scope="session")
def tokenizer_of():
    """A word or a mark a token: the ids of `words`, which are apart by spaces, follow the five special ones."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    from leanformer.data import tokenizer_files

    def make(words: str):
        table = {word: i for i, word in enumerate([*SPECIAL, *words.split()])}
        tokenizer = Tokenizer(models.WordLevel(table, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        tokenizer.add_special_tokens(SPECIAL)
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
        return tokenizer_files.wrap(tokenizer)

    return make


@pytest.fixture
def command(monkeypatch, capsys):
    """Run `leanformer ARGUMENTS` in this process: (exit status, stdout, stderr)."""
    import leanformer_cli

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["leanformer", *map(str, arguments)])
        capsys.readouterr()
        try:
            leanformer_cli.main()
            status = 0
        except SystemExit as end:
            status = end.code or 0
        out, err = capsys.readouterr()
        return int(status), out, err

    return run


@pytest.fixture(scope="session")
def tiny() -> list[str]:
    """The settings above as arguments."""
    return [argument for setting in TINY for argument in ("--set", setting)]


@pytest.fixture(scope="session")
def sentence_model(tmp_path_factory):
    """A folder as sentence-transformers saves one: a tiny BERT with random weights, and the parts that are given."""
    pytest.importorskip("sentence_transformers")
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Transformer
    from transformers import BertConfig, BertModel, BertTokenizer

    words = [*SPECIAL, *["The", "the", "old", "house", "by", "river", "where", "nobody", "had", "lived", "for", "years", "query", ":", ".", ","]]

    def make(*parts, lower_case=False, max_length=None, **settings):
        folder = tmp_path_factory.mktemp("sentence")
        sizes = {"num_hidden_layers": 2, "num_attention_heads": 3, "hidden_size": 30, "intermediate_size": 37}
        torch.manual_seed(3)
        model = BertModel(BertConfig(**sizes, vocab_size=len(words), max_position_embeddings=29))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.2)
        model.save_pretrained(folder / "bert")
        vocabulary = {word: number for number, word in enumerate(words)}
        BertTokenizer(vocabulary, do_lower_case=False, model_max_length=23).save_pretrained(folder / "bert")
        how = {} if max_length is None else {"max_seq_length": max_length}
        first = Transformer(str(folder / "bert"), do_lower_case=lower_case, **how)
        SentenceTransformer(modules=[first, *parts], device="cpu", **settings).save(str(folder / "model"))
        if lower_case:  # which sentence-transformers 6 no longer writes
            path = folder / "model" / "sentence_bert_config.json"
            path.write_text(json.dumps(json.loads(path.read_text()) | {"do_lower_case": True}))
        return folder / "model"

    return make
