"""BERT in, BERT out, with equal outputs; whatever cannot be converted is refused in one line."""

import json
import re
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch.testing import assert_close
from transformers import AutoTokenizer, BertConfig, BertForMaskedLM, BertForPreTraining, BertTokenizer

from leanformer import LeanformerForMaskedLM, models
from leanformer.conversion.checkpoints.families import FAMILIES
from leanformer.conversion.convert import convert

BERT = FAMILIES["bert"]


@pytest.fixture
def bert_config(tiny):
    own = BertConfig().to_dict()
    shared = {key: value for key, value in tiny().to_dict().items() if key in own and key != "model_type"}
    return BertConfig(**shared)


@pytest.fixture
def bert(bert_config, scattered, tmp_path):
    """A saved masked-LM BERT."""
    model = scattered(BertForMaskedLM(bert_config))
    model.save_pretrained(tmp_path / "bert")
    return model


def edit(path: Path, **changes) -> None:
    settings = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in (settings | changes).items() if v is not None}))


def rename(path: Path, *pairs: tuple[str, str]) -> None:
    """Rewrite a safetensors file with regular expressions over its keys."""
    tensors = {}
    for key, tensor in load_file(path).items():
        for pattern, new in pairs:
            key = re.sub(pattern, new, key)
        tensors[key] = tensor
    save_file(tensors, path, {"format": "pt"})


def outputs(model, batch):
    attended = batch["attention_mask"].bool()
    if type(model).__name__.endswith("MultipleChoice"):
        batch = {name: torch.stack((x, x.roll(1, dims=0)), dim=1) for name, x in batch.items()}
    values = model.eval()(**batch).values()
    return [value[attended] if value.shape[:2] == attended.shape else value for value in values]


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("bert_class", BERT.classes)
def test_there_and_back_again(bert_config, scattered, batch, tmp_path, bert_class, tied):
    bert_config.tie_word_embeddings = tied
    if bert_class not in ("BertForQuestionAnswering", "BertForMultipleChoice"):
        bert_config.num_labels = 5
    original = scattered(getattr(transformers, bert_class)(bert_config))
    original.save_pretrained(tmp_path / "bert")
    assert convert(tmp_path / "bert", tmp_path / "ours")["notes"] == []
    assert convert(tmp_path / "ours", tmp_path / "back", to="bert")["notes"] == []
    expected = outputs(original, batch)
    ours_class = BERT.classes[bert_class]
    for directory, library, class_name in (("ours", models, ours_class), ("back", transformers, bert_class)):
        model, report = getattr(library, class_name).from_pretrained(tmp_path / directory, output_loading_info=True)
        assert not any(report.values())
        assert model.config.architectures == [class_name]
        assert_close(outputs(model, batch), expected, rtol=0, atol=1e-5)
    for key, value in original.state_dict().items():
        if tied or key != "cls.predictions.bias":  # which BERT itself does not use if untied
            assert torch.equal(model.state_dict()[key], value), key


def test_settings_go_along(bert_config, scattered, tmp_path):
    bert_config.update({"id2label": {0: "bad", 1: "good", 2: "none"}, "label2id": {"bad": 0, "good": 1, "none": 2}})
    bert_config.update({"layer_norm_eps": 1e-5, "hidden_act": "relu", "problem_type": "single_label_classification"})
    bert = scattered(transformers.BertForSequenceClassification(bert_config)).bfloat16()
    bert.save_pretrained(tmp_path / "bert")
    convert(tmp_path / "bert", tmp_path / "ours")
    convert(tmp_path / "ours", tmp_path / "back", to="bert")
    ours = models.LeanformerConfig.from_pretrained(tmp_path / "ours")
    assert (ours.attention, ours.positions, ours.dtype) == ("dot_product", "learned", torch.bfloat16)
    back = BertConfig.from_pretrained(tmp_path / "back")
    assert back.to_diff_dict() == bert.config.to_diff_dict()


def test_the_next_sentence_head_and_pooler_are_left_behind_with_a_note(bert_config, scattered, batch, tmp_path):
    bert = scattered(BertForPreTraining(bert_config))
    bert.save_pretrained(tmp_path / "bert")
    notes = convert(tmp_path / "bert", tmp_path / "ours")["notes"]
    assert [note.startswith("left behind: the ") for note in notes] == [True, True]
    assert "pooler" in notes[0] and "next-sentence head (cls.seq_relationship)" in notes[1]
    ours = LeanformerForMaskedLM.from_pretrained(tmp_path / "ours")
    assert_close(outputs(ours, batch)[0], bert(**batch).prediction_logits[batch["attention_mask"].bool()])


def test_checkpoints_of_old_read_too(bert, batch, tmp_path):
    """TensorFlow's names of a norm's parameters, a stored buffer, no architecture, no tied weights."""
    path = tmp_path / "bert" / "model.safetensors"
    rename(path, (r"LayerNorm\.weight", "LayerNorm.gamma"), (r"LayerNorm\.bias", "LayerNorm.beta"))
    buffer = {"bert.embeddings.position_ids": torch.arange(29)[None]}
    save_file(load_file(path) | buffer, path, {"format": "pt"})
    edit(tmp_path / "bert" / "config.json", architectures=None, position_embedding_type="absolute")
    assert convert(tmp_path / "bert", tmp_path / "ours")["notes"] == []
    assert_close(outputs(LeanformerForMaskedLM.from_pretrained(tmp_path / "ours"), batch), outputs(bert, batch))


def test_an_encoder_without_pooler_stays_without(bert_config, scattered, batch, tmp_path):
    bert = scattered(transformers.BertModel(bert_config, add_pooling_layer=False))
    bert.save_pretrained(tmp_path / "bert")
    convert(tmp_path / "bert", tmp_path / "ours")
    ours = models.LeanformerModel.from_pretrained(tmp_path / "ours", add_pooling_layer=False)
    assert_close(outputs(ours, batch)[0], outputs(bert, batch)[0])


def test_shards_are_read(bert, batch, tmp_path):
    bert.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    shards = sorted((tmp_path / "shards").glob("*.safetensors"))
    assert len(shards) > 1
    convert(tmp_path / "shards", tmp_path / "ours")
    assert_close(outputs(LeanformerForMaskedLM.from_pretrained(tmp_path / "ours"), batch), outputs(bert, batch))
    shards[1].unlink()
    with pytest.raises(FileNotFoundError, match=f"{shards[1].name} is missing, which .*index.json lists"):
        convert(tmp_path / "shards", tmp_path / "again")


WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "##s"]
ADDED = {"special": True, "lstrip": False, "rstrip": False, "normalized": False, "single_word": False}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"added_tokens.json": {"<e>": 8, "<f>": 9}}, None),
        (
            {"added_tokens.json": {"<e>": 12}},
            r"added_tokens.json gives '<e>' the number 12, but .* reads it as 8: load",
        ),
        ({"added_tokens.json": {"<e>": 101}}, "added_tokens.json numbers 102 tokens, but the model embeds 101: copy"),
        ({"tokenizer_config.json": {"added_tokens_decoder": {"8": ADDED | {"content": "<e>"}}}}, None),
        ({"tokenizer_config.json": {"added_tokens_decoder": {"9": ADDED | {"content": "<e>"}}}}, "'<e>' the number 9,"),
        ({"special_tokens_map.json": {"mask_token": "<m>"}}, None),
        (
            {"vocab.txt": None, "tokenizer_config.json": {}},
            "tokenizer_config.json is of a tokenizer without tokenizer.j",
        ),
        ({"vocab.txt": None, "spiece.model": "x"}, "spiece.model is of a tokenizer without .*, or take its files away"),
        ({"vocab.txt": None, "vocab.json": {"word": 50}}, "vocab.json numbers 51 tokens, of which 5 are read: load"),
        ({"vocab.txt": "\n".join(map(str, range(99))), "special_tokens_map.json": {}}, "numbers 104 tokens"),
    ],
)
def test_a_tokenizer_means_what_its_files_say_or_is_refused(bert, tmp_path, files, message):
    for name, content in ({"vocab.txt": "\n".join(WORDS)} | files).items():
        if content is not None:
            text = content if isinstance(content, str) else json.dumps(content)
            (tmp_path / "bert" / name).write_text(text)
    if message is None:
        convert(tmp_path / "bert", tmp_path / "ours")
        assert AutoTokenizer.from_pretrained(tmp_path / "ours").get_vocab().keys() > set(WORDS)
    else:
        with pytest.raises(ValueError, match=message):
            convert(tmp_path / "bert", tmp_path / "ours")
        assert not (tmp_path / "ours").exists()


@pytest.mark.parametrize("modern", [True, False])
def test_a_tokenizer_goes_along(bert, tmp_path, modern):
    directory = tmp_path / "bert"
    words = WORDS
    (directory / "vocab.txt").write_text("\n".join(words))
    if modern:
        BertTokenizer(vocab={word: i for i, word in enumerate(words)}).save_pretrained(directory)
    convert(directory, tmp_path / "ours")
    convert(tmp_path / "ours", tmp_path / "back", to="bert")
    for name in ("ours", "back"):
        assert AutoTokenizer.from_pretrained(tmp_path / name)("the cats")["input_ids"] == [2, 5, 6, 7, 3]


def test_an_index_without_a_map_is_refused(bert, tmp_path):
    (tmp_path / "bert" / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(ValueError, match=r"index.json is damaged \(weight_map: field required\)"):
        convert(tmp_path / "bert", tmp_path / "ours")


def pickled(directory):
    torch.save(load_file(directory / "model.safetensors"), directory / "pytorch_model.bin")
    (directory / "model.safetensors").unlink()


def truncated(directory):
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def unsaved(name):
    return lambda directory: (directory / name).unlink()


def config(**changes):
    return lambda directory: edit(directory / "config.json", **changes)


def renamed(pattern, new):
    return lambda directory: rename(directory / "model.safetensors", (pattern, new))


def both(*damages):
    return lambda directory: [damage(directory) for damage in damages]


def vocabulary(size):
    return lambda directory: (directory / "vocab.txt").write_text("\n".join(map(str, range(size))))


BROKEN = {
    "pickle": (pickled, ValueError, "pytorch_model.bin is a pickle, which may run code .* save_pretrained"),
    "truncated": (truncated, ValueError, "model.safetensors is damaged .* again"),
    "no weights": (unsaved("model.safetensors"), FileNotFoundError, "model.safetensors is missing"),
    "no config": (unsaved("config.json"), FileNotFoundError, "config.json is missing: give the directory"),
    "no json": (lambda d: (d / "config.json").write_text("{"), ValueError, "config.json is damaged"),
    "a list": (lambda d: (d / "config.json").write_text("[]"), ValueError, "config.json is damaged"),
    "another family": (config(model_type="gpt2"), ValueError, "model_type is 'gpt2', and no such family .* roberta"),
    "own code": (config(auto_map={"AutoModel": "m.M"}), ValueError, "code of its own .* add --ignore-remote-code"),
    "words to spare": (vocabulary(102), ValueError, "vocab.txt numbers 102 tokens, but the model embeds 101: copy"),
    "no tokenizer": (lambda d: (d / "tokenizer.json").write_text("{"), ValueError, "tokenizer.json is damaged"),
    "a decoder": (config(is_decoder=True), ValueError, "leanformer cannot express is_decoder = True, only False"),
    "relative": (config(position_embedding_type="relative_key"), ValueError, "= 'relative_key', only 'absolute'"),
    "wrong type": (
        config(hidden_size="30"),
        ValueError,
        "config.json is damaged .hidden_size = '30': ",
    ),
    "other head": (
        both(config(architectures=["BertForNextSentencePrediction"]), renamed("cls.predictions", "cls.sentences")),
        ValueError,
        "counterpart of BertForNextSentence",
    ),
    "other layer": (renamed("layer.1.", "layer.7."), ValueError, "no place for bert.encoder.layer.7"),
    "adapter": (renamed("layer.1.output", "layer.1.lora"), ValueError, "no place for bert.encoder.layer.1.lora"),
    "layer lost": (config(num_hidden_layers=3), ValueError, "no values for encoder.layers.2.attention.* and 15 more"),
    "other sizes": (config(intermediate_size=41), ValueError, r"shape \[37\], but its config.json says \[41\]"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_cannot_be_converted_is_refused_and_nothing_is_left(bert, tmp_path, case):
    damage, error, message = BROKEN[case]
    damage(tmp_path / "bert")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(error, match=message) as caught:
        convert(tmp_path / "bert", tmp_path / "ours")
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "bert") in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before


def test_what_bert_cannot_express_is_refused_by_name(tiny, tmp_path):
    for settings, message in (
        ({"attention": "pairwise"}, "BERT cannot express attention = 'pairwise', only 'dot_product'"),
        ({"biases": False}, "BERT cannot express biases = False, only True"),
        ({"sliding_window": 4}, "BERT cannot express sliding_window = 4, only None"),
        ({"feed_forward": "gated"}, "BERT cannot express feed_forward = 'gated', only 'plain'"),
        ({"qk_norm": True}, "BERT cannot express qk_norm = True, only False"),
        ({"positions": "rotary"}, "BERT cannot express positions = 'rotary', only 'learned'"),
        (
            {"attention_options": {"projection": "shared_key_value"}},
            "BERT cannot express attention_options.projection = 'shared_key_value', only 'separate'",
        ),
    ):
        LeanformerForMaskedLM(tiny(**settings)).save_pretrained(tmp_path / "ours")
        with pytest.raises(ValueError, match=message):
            convert(tmp_path / "ours", tmp_path / "bert", to="bert")
    assert not (tmp_path / "bert").exists()


def test_a_wrong_target_is_refused(bert, tmp_path):
    source = tmp_path / "bert"
    with pytest.raises(ValueError, match="cannot convert to 'gpt2'"):
        convert(source, tmp_path / "ours", to="gpt2")
    with pytest.raises(FileExistsError, match="bert exists already: name a new directory"):
        convert(source, source)
    with pytest.raises(ValueError, match="model_type is 'bert', expected 'leanformer'"):
        convert(source, tmp_path / "ours", to="bert")
    assert not (tmp_path / "ours").exists()


def test_the_tables_are_one_to_one():
    for family in FAMILIES.values():
        for theirs, ours in family.modules.items():
            key = f"{theirs.replace('#', '11')}.weight"
            assert family.to_leanformer(key) == f"{ours.replace('#', '11')}.weight"
            assert family.to_leanformer(family.from_leanformer(family.to_leanformer(key))) == family.to_leanformer(key)
