"""Every family with equal outputs, padding included; heads that cannot be expressed are refused by name."""

import json
import shutil

import pytest
import torch
import transformers
from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError
from safetensors.torch import load_file, save_file
from torch.testing import assert_close
from transformers import (
    AlbertConfig,
    AutoTokenizer,
    CamembertConfig,
    ConvBertConfig,
    DistilBertConfig,
    ElectraConfig,
    ModernBertConfig,
    MPNetConfig,
    RobertaConfig,
    XLMRobertaConfig,
    XLMRobertaTokenizer,
)
from transformers.models.modernbert import modeling_modernbert

from leanformer import LeanformerConfig, models
from leanformer.conversion.checkpoints import source
from leanformer.conversion.checkpoints.families import FAMILIES
from leanformer.conversion.convert import convert
from leanformer.models import saved

SIZES = {
    "vocab_size": 101,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "hidden_size": 30,
    "intermediate_size": 37,
}
SPECIAL = {"pad_token_id": 1, "bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3}
CONFIGS = {
    "roberta": RobertaConfig(**SIZES, max_position_embeddings=31, type_vocab_size=1),
    "xlm-roberta": XLMRobertaConfig(**SIZES, max_position_embeddings=31, type_vocab_size=1),
    "camembert": CamembertConfig(**SIZES, max_position_embeddings=31, type_vocab_size=1),
    "distilbert": DistilBertConfig(
        vocab_size=101, dim=30, hidden_dim=37, n_layers=2, n_heads=3, max_position_embeddings=29, activation="relu"
    ),
    "electra": ElectraConfig(**SIZES, embedding_size=13, max_position_embeddings=29, type_vocab_size=3),
    "electra of one width": ElectraConfig(**SIZES, embedding_size=30, max_position_embeddings=29, type_vocab_size=3),
    "convbert": ConvBertConfig(**SIZES, embedding_size=13, max_position_embeddings=29, type_vocab_size=3),
    "convbert of one width": ConvBertConfig(
        **SIZES, embedding_size=30, conv_kernel_size=3, head_ratio=3, max_position_embeddings=29, type_vocab_size=3
    ),
    "convbert in groups": ConvBertConfig(
        **SIZES | {"intermediate_size": 33, "num_attention_heads": 4, "hidden_size": 24},
        embedding_size=17,
        num_groups=3,
        conv_kernel_size=5,
        max_position_embeddings=29,
        type_vocab_size=3,
    ),
    "albert": AlbertConfig(**SIZES, embedding_size=13, max_position_embeddings=29, type_vocab_size=3),
    "albert in groups": AlbertConfig(
        **SIZES | {"num_hidden_layers": 3},
        num_hidden_groups=2,
        inner_group_num=2,
        embedding_size=13,
        max_position_embeddings=29,
        type_vocab_size=3,
    ),
    "mpnet": MPNetConfig(**SIZES, max_position_embeddings=31),
    "modernbert": ModernBertConfig(
        **SIZES | {"num_hidden_layers": 5}, max_position_embeddings=29, local_attention=6, **SPECIAL
    ),
}
HEADS = [
    (name, theirs, ours)
    for name, config in CONFIGS.items()
    for theirs, ours in FAMILIES[config.model_type].classes.items()
]


def made(name, class_name, sharp, path, **settings):
    config = CONFIGS[name].__class__.from_dict(CONFIGS[name].to_dict() | settings)
    model = sharp(getattr(transformers, class_name)(config))
    if config.model_type in ("roberta", "xlm-roberta", "camembert", "mpnet"):  # whose tables keep a row of zeros
        with torch.no_grad():
            model.base_model.embeddings.position_embeddings.weight[config.pad_token_id] = 0
    model.save_pretrained(path)
    return model


def read_by(model, batch):
    """What a family's model takes of a batch, with the padding token where padding is on the right."""
    ids = batch["input_ids"].clone().clamp(min=5)
    ids[1, 7:] = model.config.pad_token_id
    types = getattr(model.config, "type_vocab_size", 0)
    known = {"input_ids": ids, "attention_mask": batch["attention_mask"]}
    return known | ({"token_type_ids": batch["token_type_ids"]} if types == 3 else {})


@pytest.mark.parametrize(("name", "theirs", "ours"), HEADS)
def test_outputs_are_equal(name, theirs, ours, sharp, batch, posed, tmp_path):
    five = {} if theirs.endswith(("QuestionAnswering", "MultipleChoice")) else {"num_labels": 5}
    original = made(name, theirs, sharp, tmp_path / "theirs", **five)
    assert convert(tmp_path / "theirs", tmp_path / "ours")["notes"] == []
    options = {"add_pooling_layer": hasattr(original, "pooler")} if ours == "LeanformerModel" else {}
    kind = getattr(models, ours)
    model, report = kind.from_pretrained(tmp_path / "ours", output_loading_info=True, **options)
    assert not any(report.values())
    given = read_by(original, batch)
    given = posed(original, given)
    attended = given["attention_mask"].bool().flatten(0, -2)
    expected = original(**given, output_hidden_states=True)
    actual = model.eval()(**given, output_hidden_states=True)
    keys = {"logits", "last_hidden_state", "pooler_output", "start_logits", "end_logits"}
    for key in keys & {key for key, value in expected.items() if value is not None}:
        theirs_value, ours_value = expected[key], actual[key]
        if theirs_value.shape[:2] == attended.shape:
            theirs_value, ours_value = theirs_value[attended], ours_value[attended]
        assert_close(ours_value, theirs_value, rtol=0, atol=1e-5, msg=lambda text, key=key: f"{key}: {text}")
    assert len(actual.hidden_states) == len(expected.hidden_states)
    for states in list(zip(actual.hidden_states, expected.hidden_states, strict=True))[1:]:
        assert_close(*(state[attended] for state in states), rtol=0, atol=1e-5)


MASKED = [(name, theirs) for name, theirs, ours in HEADS if ours == "LeanformerForMaskedLM"]


@pytest.fixture
def double(monkeypatch):
    """Everything in float64, rotations of ModernBERT too, which transformers makes in float32."""

    def rotated(x, angle):
        first, second = x.chunk(2, dim=-1)
        return torch.cat((first * angle.cos() - second * angle.sin(), second * angle.cos() + first * angle.sin()), -1)

    def both(q, k, angle, *_, **__):
        return rotated(q, angle), rotated(k, angle)

    def angles(rotary, x, position_ids, layer_type):
        base, size = rotary.config.rope_parameters[layer_type]["rope_theta"], 5
        angle = position_ids[:, None, :, None].double() * base ** (-torch.arange(size).double() / size)
        return angle, angle

    monkeypatch.setattr(modeling_modernbert.ModernBertRotaryEmbedding, "forward", angles)
    monkeypatch.setattr(modeling_modernbert, "apply_rotary_pos_emb", both)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(("name", "theirs"), MASKED)
def test_scores_are_equal_in_float64(name, theirs, sharp, batch, double, tmp_path):
    original = made(name, theirs, sharp, tmp_path / "theirs")
    assert convert(tmp_path / "theirs", tmp_path / "ours")["notes"] == []
    model = models.LeanformerForMaskedLM.from_pretrained(tmp_path / "ours", dtype=torch.float64).eval()
    given = read_by(original, batch)
    attended = given["attention_mask"].bool()
    assert_close(model(**given).logits[attended], original(**given).logits[attended], rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["modernbert", "mpnet"])
def test_gradients_are_equal(name, sharp, batch, double, tmp_path):
    """Of all parameters, as the family's own table reads them; a table that layers share has the sum of theirs."""
    theirs = FAMILIES[name].base.replace("Model", "ForMaskedLM")
    original = made(name, theirs, sharp, tmp_path / "theirs")
    convert(tmp_path / "theirs", tmp_path / "ours")
    model = models.LeanformerForMaskedLM.from_pretrained(tmp_path / "ours", dtype=torch.float64).eval()
    given = read_by(original, batch)
    weights = torch.randn(3, 11, 101) * given["attention_mask"][..., None]
    for each in (original, model):
        (each(**given).logits * weights).sum().backward()
    family = FAMILIES[name]
    gradients = {key: parameter.grad for key, parameter in original.named_parameters()}
    if name == "mpnet":
        shared = gradients.pop("mpnet.encoder.relative_attention_bias.weight")
        tables = [layer.attention.compatibility.relative_bias.table for layer in model.encoder.layers]
        assert_close(sum(table.grad for table in tables), shared.T)
    found = dict(model.named_parameters())
    for key, expected in family.unpacked(original.config, gradients).items():
        ours = family.to_leanformer(key)
        if ours == "encoder.embeddings.position_embeddings.weight":
            expected = expected[family.offset(original.config) :]
        assert_close(found[ours].grad, expected, msg=lambda text, key=key: f"{key}: {text}")
    assert len(found) >= len(gradients) > 20


def test_a_family_that_converts_is_known_where_a_leanformer_model_is_expected():
    assert set(saved.CONVERTED) == set(FAMILIES)


@pytest.mark.parametrize("kind", ["deberta", "deberta-v2"])
def test_a_deberta_is_refused_with_what_would_be_lost(kind, tmp_path, command):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    status, out, err = command("convert", tmp_path, tmp_path / "ours")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "products of tokens with relative positions" in err and "Convert a model of another family" in err
    assert not (tmp_path / "ours").exists()


UNLIKE = {
    "biases": ("modernbert", {"attention_bias": True}, "cannot express attention_bias = True, only False"),
    "head": ("modernbert", {"classifier_activation": "silu"}, "cannot express classifier_activation = 'silu'"),
    "rotations": (
        "modernbert",
        {"rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}}},
        "config.json: leanformer cannot express rope_type = 'linear', only 'default'",
    ),
    "layers": (
        "modernbert",
        {"layer_types": ["sliding_attention", *["full_attention"] * 4]},
        "config.json: layer_types = .* full attention in the first and every n-th layer only",
    ),
    "buckets": ("mpnet", {"relative_attention_num_buckets": 64}, "relative_attention_num_buckets = 64, only 32"),
    "width": ("albert", {"embedding_size": 30}, "config.json: embedding_size = hidden_size = 30: ALBERT maps"),
    "layers of a group": (
        "albert",
        {"inner_group_num": 10**6},
        "config.json: num_hidden_groups x inner_group_num = 1 x",
    ),
    "groups": ("albert", {"num_hidden_groups": 0}, "config.json: num_hidden_groups = 0 must be positive"),
}


@pytest.mark.parametrize("case", UNLIKE)
def test_a_setting_that_cannot_be_expressed_is_named(case, sharp, tmp_path):
    name, settings, message = UNLIKE[case]
    made(name, FAMILIES[name].base, sharp, tmp_path / "theirs")
    path = tmp_path / "theirs" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    with pytest.raises(ValueError, match=message):
        convert(tmp_path / "theirs", tmp_path / "ours")


def test_modernberts_layers_are_read_from_old_and_new_configs(sharp, tmp_path):
    """The checkpoints of the authors give the period and both bases by other names than transformers writes now."""
    made("modernbert", "ModernBertModel", sharp, tmp_path / "theirs")
    path = tmp_path / "theirs" / "config.json"
    settings = json.loads(path.read_text())
    del settings["layer_types"], settings["rope_parameters"]
    old = {"global_attn_every_n_layers": 2, "global_rope_theta": 5000.0, "local_rope_theta": 70.0, "local_attention": 8}
    cases = [
        ({}, (3, 3, 10_000.0, 160_000.0)),
        (old, (4, 2, 70.0, 5000.0)),
        ({"layer_types": ["full_attention"] * 5}, (None, 3, None, 160_000.0)),
        ({"layer_types": ["full_attention", *["sliding_attention"] * 4]}, (3, 5, 10_000.0, 160_000.0)),
    ]
    for number, (given, expected) in enumerate(cases):
        path.write_text(json.dumps(settings | given))
        convert(tmp_path / "theirs", tmp_path / str(number))
        config = LeanformerConfig.from_pretrained(tmp_path / str(number))
        found = (config.sliding_window, config.global_attn_every_n_layers, config.local_rotary_base, config.rotary_base)
        assert found == expected


@pytest.mark.parametrize(
    ("name", "class_name"), [("xlm-roberta", "XLMRobertaForMaskedLM"), ("camembert", "CamembertForMaskedLM")]
)
def test_robertas_relatives_go_on_to_bert(name, class_name, sharp, batch, tmp_path):
    original = made(name, class_name, sharp, tmp_path / "theirs")
    convert(tmp_path / "theirs", tmp_path / "ours")
    convert(tmp_path / "ours", tmp_path / "bert", to="bert")
    bert = transformers.BertForMaskedLM.from_pretrained(tmp_path / "bert").eval()
    given = read_by(original, batch)
    attended = given["attention_mask"].bool()
    assert_close(bert(**given).logits[attended], original(**given).logits[attended], rtol=0, atol=1e-5)


def test_an_albert_leaves_its_sentence_order_head_behind_and_stays_ours(sharp, batch, tmp_path):
    original = made("albert", "AlbertForPreTraining", sharp, tmp_path / "theirs")
    notes = convert(tmp_path / "theirs", tmp_path / "ours")["notes"]
    assert "left behind: the pooler, which this class has no use for (albert.pooler)" in notes
    assert any("sop_classifier.classifier" in note for note in notes)
    model = models.LeanformerForMaskedLM.from_pretrained(tmp_path / "ours").eval()
    given = read_by(original, batch)
    attended = given["attention_mask"].bool()
    expected = original(**given).prediction_logits[attended]
    assert_close(model(**given).logits[attended], expected, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="BERT cannot express layer_sharing = 'all', only 'none'"):
        convert(tmp_path / "ours", tmp_path / "bert", to="bert")


ALBERTS = {
    "one layer": ({}, "all"),
    "groups": ({"num_hidden_layers": 5, "num_hidden_groups": 2}, "blocks:2"),
    "layers of one group": ({"num_hidden_layers": 3, "inner_group_num": 2}, "cycle:2"),
    "groups of several layers": ({"num_hidden_layers": 3, "num_hidden_groups": 2, "inner_group_num": 2}, "none"),
    "a group per layer": ({"num_hidden_groups": 2}, "none"),
}


@pytest.mark.parametrize("case", ALBERTS)
def test_an_albert_is_stored_as_small_as_it_was(case, sharp, batch, tmp_path):
    """Where layer_sharing can say what its layers share; then with the same gradients, too."""
    settings, sharing = ALBERTS[case]
    original = made("albert", "AlbertModel", sharp, tmp_path / "theirs", **settings).eval()
    convert(tmp_path / "theirs", tmp_path / "ours")
    model = models.LeanformerModel.from_pretrained(tmp_path / "ours").eval()
    assert model.config.layer_sharing == sharing
    given = read_by(original, batch)
    attended = given["attention_mask"].bool()
    found, expected = (each(**given).last_hidden_state[attended] for each in (model, original))
    assert_close(found, expected, rtol=0, atol=1e-5)
    size = original.num_parameters()
    if case == "groups of several layers":
        assert model.num_parameters() > size
        return
    assert model.num_parameters() == size
    weights = torch.randn_like(expected)
    for states in (found, expected):
        (states * weights).sum().backward()
    ours = model.layers[-1].get_parameter("feed_forward.up.weight")
    theirs = original.encoder.albert_layer_groups[-1].albert_layers[-1].ffn.weight
    assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-5)


def test_modernberts_classifiers_are_refused_unless_the_encoder_alone_is_asked_for(sharp, tmp_path):
    """Theirs have a norm behind the dense map."""
    made("modernbert", "ModernBertForSequenceClassification", sharp, tmp_path / "theirs")
    with pytest.raises(ValueError, match="no counterpart of ModernBertForSequenceClassification"):
        convert(tmp_path / "theirs", tmp_path / "ours")
    (note,) = convert(tmp_path / "theirs", tmp_path / "ours", encoder_only=True)["notes"]
    assert note == "left behind: the head (classifier, head.dense, head.norm)"


@pytest.mark.parametrize(("name", "to"), [("mpnet", "pairwise+relative_bias"), ("modernbert", "pairwise")])
def test_the_attention_of_the_new_families_converts(name, to, sharp, batch, tmp_path):
    """With separate projections every mechanism starts as the dot product; what stands beside the product stays."""
    theirs = FAMILIES[name].base
    original = made(name, theirs, sharp, tmp_path / "theirs")
    convert(tmp_path / "theirs", tmp_path / "ours", attention=to, options={"projection": "separate"})
    model = models.LeanformerModel.from_pretrained(tmp_path / "ours", add_pooling_layer=False).eval()
    given = read_by(original, batch)
    attended = given["attention_mask"].bool()
    expected = original(**given).last_hidden_state[attended]
    assert_close(model(**given).last_hidden_state[attended], expected, rtol=0, atol=1e-5)


def test_a_sentencepiece_tokenizer_goes_along_as_tokenizer_json(sharp, tmp_path):
    """The file of sentencepiece alone is refused: it needs another library."""
    made("xlm-roberta", "XLMRobertaForMaskedLM", sharp, tmp_path / "theirs")
    (tmp_path / "theirs" / "sentencepiece.bpe.model").write_bytes(b"pieces")
    with pytest.raises(ValueError, match="sentencepiece.bpe.model is of a tokenizer without tokenizer.json"):
        convert(tmp_path / "theirs", tmp_path / "ours")
    words = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581cat", -1.0), ("s", -2.0)]
    XLMRobertaTokenizer(vocab=words).save_pretrained(tmp_path / "theirs")
    convert(tmp_path / "theirs", tmp_path / "ours")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "ours")
    assert tokenizer("cats")["input_ids"] == AutoTokenizer.from_pretrained(tmp_path / "theirs")("cats")["input_ids"]
    assert tokenizer.convert_tokens_to_ids("\u2581cat") == 4


def test_an_electra_discriminator_gives_its_encoder(sharp, batch, tmp_path):
    original = made("electra", "ElectraForPreTraining", sharp, tmp_path / "theirs")
    (note,) = convert(tmp_path / "theirs", tmp_path / "ours")["notes"]
    assert note.startswith("left behind: the head that tells replaced tokens (discriminator_predictions.dense, ")
    model = models.LeanformerModel.from_pretrained(tmp_path / "ours", add_pooling_layer=False)
    given = read_by(original, batch)
    attended = given["attention_mask"].bool()
    expected = original.electra(**given).last_hidden_state[attended]
    assert_close(model(**given).last_hidden_state[attended], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["electra", "convbert"])
def test_a_head_that_cannot_be_expressed_is_refused_unless_the_encoder_alone_is_asked_for(name, sharp, batch, tmp_path):
    class_name = {"electra": "Electra", "convbert": "ConvBert"}[name] + "ForMultipleChoice"
    original = made(name, class_name, sharp, tmp_path / "theirs")
    with pytest.raises(ValueError, match=f"no counterpart of {class_name}; .* With --encoder-only the head is left"):
        convert(tmp_path / "theirs", tmp_path / "ours")
    (note,) = convert(tmp_path / "theirs", tmp_path / "ours", encoder_only=True)["notes"]
    assert note.startswith("left behind: the head (") and "classifier" in note
    model = models.LeanformerModel.from_pretrained(tmp_path / "ours", add_pooling_layer=False)
    assert model.config.pooler_act == "tanh"  # of a classifier that is fine-tuned on it
    given = read_by(original, batch)
    expected = original.base_model(**given).last_hidden_state
    attended = given["attention_mask"].bool()
    assert_close(model(**given).last_hidden_state[attended], expected[attended], rtol=0, atol=1e-5)


def test_a_classifiers_activation_is_the_layers_in_convbert_and_not_berts(sharp, batch, tmp_path):
    class_name = "ConvBertForSequenceClassification"
    original = made("convbert", class_name, sharp, tmp_path / "theirs", hidden_act="silu")
    convert(tmp_path / "theirs", tmp_path / "ours")
    model = models.LeanformerForSequenceClassification.from_pretrained(tmp_path / "ours").eval()
    batch["attention_mask"][:] = 1  # their convolution reads padding
    given = read_by(original, batch)
    assert_close(model(**given).logits, original(**given).logits, rtol=0, atol=1e-5)
    made("distilbert", "DistilBertForSequenceClassification", sharp, tmp_path / "relu", seq_classif_dropout=0.3)
    convert(tmp_path / "relu", tmp_path / "ours of it")
    assert LeanformerConfig.from_pretrained(tmp_path / "ours of it").classifier_dropout == 0.3
    with pytest.raises(ValueError, match="BERT cannot express pooler_act = 'relu', only 'tanh'"):
        convert(tmp_path / "ours of it", tmp_path / "bert", to="bert")


@pytest.mark.parametrize("architecture", ["Antibodies", "RobertaForMaskedLM", None])
def test_heads_beside_a_masked_lm_head_are_left_behind_or_kept(architecture, sharp, batch, tmp_path, command):
    original = made("roberta", "RobertaForMaskedLM", sharp, tmp_path / "theirs")
    path, config = tmp_path / "theirs" / "model.safetensors", tmp_path / "theirs" / "config.json"
    heads = {"lm_head.species.weight": torch.rand(6, 30), "classifier.weight": torch.rand(2, 30)}
    save_file(load_file(path) | heads, path, {"format": "pt"})
    named = {"architectures": None if architecture is None else [architecture]}
    config.write_text(json.dumps(json.loads(config.read_text()) | named))
    *first, note = convert(tmp_path / "theirs", tmp_path / "ours")["notes"]
    unknown = ["Antibodies, a class that roberta does not have, is read by its masked-LM head"]
    assert first == (unknown if architecture == "Antibodies" else [])
    assert note.startswith("left behind: heads that leanformer does not have, and that --keep-heads writes to a file (")
    assert "classifier" in note and "lm_head.species" in note
    assert not (tmp_path / "ours" / "other_heads.safetensors").exists()
    status, _, err = command("convert", tmp_path / "theirs", tmp_path / "kept", "--keep-heads")
    assert status == 0 and "other_heads.safetensors holds what was left behind, under its old names" in err
    kept = load_file(tmp_path / "kept" / "other_heads.safetensors")
    assert kept.keys() == heads.keys()
    for key, tensor in heads.items():
        assert_close(kept[key], tensor, rtol=0, atol=0)
    model = models.LeanformerForMaskedLM.from_pretrained(tmp_path / "kept").eval()
    given = read_by(original, batch)
    attended = given["attention_mask"].bool()
    assert_close(model(**given).logits[attended], original(**given).logits[attended], rtol=0, atol=1e-5)


def test_a_class_of_somebodys_own_without_a_masked_lm_head_is_refused(sharp, tmp_path):
    made("electra", "ElectraModel", sharp, tmp_path / "theirs")
    config = tmp_path / "theirs" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"architectures": ["Mine"]}))
    with pytest.raises(
        ValueError, match=r"no counterpart of Mine; known: .*Answering\. With --encoder-only the head is"
    ):
        convert(tmp_path / "theirs", tmp_path / "ours")
    with pytest.raises(ValueError, match="--keep-heads is for a conversion to leanformer: leave it out"):
        convert(tmp_path / "theirs", tmp_path / "ours", "bert", keep_heads=True)


def test_a_masked_lm_head_with_an_activation_of_its_own_is_refused(sharp, tmp_path):
    made("roberta", "RobertaForMaskedLM", sharp, tmp_path / "theirs", hidden_act="relu")
    with pytest.raises(ValueError, match="masked-LM head computes gelu, its layers hidden_act = 'relu'"):
        convert(tmp_path / "theirs", tmp_path / "ours")
    convert(tmp_path / "theirs", tmp_path / "ours", encoder_only=True)


@pytest.mark.parametrize("settings", [{"head_ratio": 1}, {"head_ratio": 2}, {"head_ratio": 9}])
def test_convberts_other_ratios_have_hugging_faces_layout(settings, sharp, batch, tmp_path):
    """Half of the width attends, whatever the ratio; one of more than all heads leaves one."""
    original = made("convbert", "ConvBertModel", sharp, tmp_path / "theirs", **settings)
    convert(tmp_path / "theirs", tmp_path / "ours")
    model = models.LeanformerModel.from_pretrained(tmp_path / "ours", add_pooling_layer=False).eval()
    given = read_by(original, batch)
    attended = given["attention_mask"].bool()
    expected = original(**given).last_hidden_state[attended]
    assert_close(model(**given).last_hidden_state[attended], expected, rtol=0, atol=1e-5)


def test_a_convbert_that_cannot_be_expressed_is_named(sharp, tmp_path):
    made("convbert", "ConvBertModel", sharp, tmp_path / "theirs")
    path = tmp_path / "theirs" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"conv_kernel_size": 8}))
    with pytest.raises(ValueError, match=r"theirs/config.json: kernel = 8: an odd number"):
        convert(tmp_path / "theirs", tmp_path / "ours")


def test_a_convbert_stays_ours_and_keeps_its_attention(sharp, tmp_path):
    made("convbert", "ConvBertForMaskedLM", sharp, tmp_path / "theirs")
    convert(tmp_path / "theirs", tmp_path / "ours")
    with pytest.raises(ValueError, match="BERT cannot express mixer = 'convolution', only 'attention'"):
        convert(tmp_path / "ours", tmp_path / "bert", to="bert")
    with pytest.raises(ValueError, match="model.mixer = 'convolution': no closed form is known"):
        convert(tmp_path / "ours", tmp_path / "pairwise", attention="pairwise")
    with pytest.raises(ValueError, match="heads of attention alone can be shared"):
        convert(tmp_path / "ours", tmp_path / "shared", share=0.4)


def test_a_convberts_padding_is_masked_if_that_is_asked_for(sharp, batch, tmp_path, command):
    original = made("convbert", "ConvBertModel", sharp, tmp_path / "theirs")
    asked = ("--set", "mixer_options.mask_conv=true")
    assert command("convert", tmp_path / "theirs", tmp_path / "ours", *asked)[0] == 0
    assert json.loads((tmp_path / "ours" / "conversion.json").read_text())["mixer_options"] == {"mask_conv": True}
    model = models.LeanformerModel.from_pretrained(tmp_path / "ours", add_pooling_layer=False).eval()
    assert model.config.mixer_options == {"head_ratio": 2, "kernel": 9, "mask_conv": True}
    given = read_by(original, batch)
    alone = {key: value[1:2, :7] for key, value in given.items()}
    assert alone["attention_mask"].all() and not given["attention_mask"][1, 7:].any()
    padded = model(**given).last_hidden_state[1:2, :7]
    assert_close(padded, original(**alone).last_hidden_state, rtol=0, atol=1e-5)
    for option, message in (
        ("mixer_options.kernel=5", "mixer_options.kernel = 5: leave it out, a conversion changes mask_conv alone"),
        ("model.mask_conv=true", "takes attention_options.NAME=VALUE and mixer_options.mask_conv only"),
    ):
        status, _, err = command("convert", tmp_path / "theirs", tmp_path / "no", "--set", option)
        assert status == 2 and message in err
    made("distilbert", "DistilBertModel", sharp, tmp_path / "bert")
    with pytest.raises(ValueError, match="mixer 'attention' has no option 'mask_conv'; it has none"):
        convert(tmp_path / "bert", tmp_path / "no", mixer_options={"mask_conv": True})
    assert not (tmp_path / "no").exists()


def test_robertas_old_names_and_pooler(sharp, batch, tmp_path):
    original = made("roberta", "RobertaForMaskedLM", sharp, tmp_path / "theirs")
    path = tmp_path / "theirs" / "model.safetensors"
    extra = {"roberta.pooler.dense.weight": torch.ones(30, 30), "roberta.pooler.dense.bias": torch.ones(30)}
    save_file(load_file(path) | extra, path, {"format": "pt"})
    assert convert(tmp_path / "theirs", tmp_path / "ours")["notes"] == [
        "left behind: the pooler, which this class has no use for (roberta.pooler.dense)"
    ]
    model = models.LeanformerForMaskedLM.from_pretrained(tmp_path / "ours").eval()
    assert model.config.max_position_embeddings == 29
    assert model.config.pad_token_id == 1
    given = read_by(original, batch)
    attended = given["attention_mask"].bool()
    assert_close(model(**given).logits[attended], original(**given).logits[attended], rtol=0, atol=1e-5)


def test_a_bert_of_ours_without_token_types_goes_back_with_one_of_zeros(sharp, batch, tmp_path):
    original = made("distilbert", "DistilBertForMaskedLM", sharp, tmp_path / "theirs")
    convert(tmp_path / "theirs", tmp_path / "ours")
    convert(tmp_path / "ours", tmp_path / "bert", to="bert")
    bert = transformers.BertForMaskedLM.from_pretrained(tmp_path / "bert").eval()
    given = read_by(original, batch)
    attended = given["attention_mask"].bool()
    assert_close(bert(**given).logits[attended], original(**given).logits[attended], rtol=0, atol=1e-5)


def test_what_bert_has_no_place_for_stays_ours(sharp, tmp_path):
    made("electra", "ElectraForMaskedLM", sharp, tmp_path / "theirs")
    convert(tmp_path / "theirs", tmp_path / "ours")
    with pytest.raises(ValueError, match="BERT cannot express embedding_size = 13, only 30"):
        convert(tmp_path / "ours", tmp_path / "bert", to="bert")


def test_robertas_tokenizer_goes_along(sharp, tmp_path):
    made("roberta", "RobertaForMaskedLM", sharp, tmp_path / "theirs")
    words = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "c", "a", "t", "ca", "cat"]
    numbers = {word: number for number, word in enumerate(words)}
    (tmp_path / "theirs" / "vocab.json").write_text(json.dumps(numbers))
    (tmp_path / "theirs" / "merges.txt").write_text("#version: 0.2\nc a\nca t\n")
    convert(tmp_path / "theirs", tmp_path / "ours")
    assert AutoTokenizer.from_pretrained(tmp_path / "ours")("cat")["input_ids"] == [0, 9, 2]
    (tmp_path / "theirs" / "vocab.json").write_text(json.dumps(numbers | {"dog": 101}))
    with pytest.raises(ValueError, match="vocab.json numbers 102 tokens, but the model embeds 101"):
        convert(tmp_path / "theirs", tmp_path / "again")


def test_remote_code_is_never_run_and_named(sharp, tmp_path, command):
    made("roberta", "RobertaForMaskedLM", sharp, tmp_path / "theirs")
    path = tmp_path / "theirs" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"auto_map": {"AutoModel": "modeling.Other"}}))
    status, _, err = command("convert", tmp_path / "theirs", tmp_path / "ours")
    assert status == 2 and err.count("\n") == 1 and "add --ignore-remote-code" in err
    status, _, err = command("convert", tmp_path / "theirs", tmp_path / "ours", "--ignore-remote-code")
    assert status == 0
    assert "auto_map" not in json.loads((tmp_path / "ours" / "config.json").read_text())


def test_an_export_of_ours_is_read_like_any_model_of_ours(sharp, tmp_path):
    made("roberta", "RobertaForMaskedLM", sharp, tmp_path / "theirs")
    convert(tmp_path / "theirs", tmp_path / "ours")
    (tmp_path / "ours" / "SHA256SUMS").unlink()
    path = tmp_path / "ours" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"auto_map": {"AutoModel": "modeling_leanformer.M"}}))
    convert(tmp_path / "ours", tmp_path / "again")
    assert "auto_map" not in json.loads((tmp_path / "again" / "config.json").read_text())


def test_a_name_on_the_hub_is_fetched_without_pickles_and_code(sharp, batch, tmp_path, monkeypatch):
    made("distilbert", "DistilBertForMaskedLM", sharp, tmp_path / "mirror")
    asked = {}

    def download(name, allow_patterns):
        asked[name] = allow_patterns
        return str(shutil.copytree(tmp_path / "mirror", tmp_path / "cache"))

    monkeypatch.setattr(source, "snapshot_download", download)
    convert("someone/distilbert-tiny", tmp_path / "ours")
    patterns = asked["someone/distilbert-tiny"]
    assert not [pattern for pattern in patterns if pattern.endswith((".bin", ".py", ".pt", ".pkl", "*"))]
    assert LeanformerConfig.from_pretrained(tmp_path / "ours").type_vocab_size == 0


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            LocalEntryNotFoundError("no route"),
            r"the hub does not answer: .*\(hf download someone/model --local-dir DIR\)",
        ),
        (ConnectionError("refused " * 99), r"no such directory, and the hub does not answer: .*\(HF_HUB_OFFLINE=1\)"),
        (RepositoryNotFoundError.__new__(RepositoryNotFoundError), "no such model on the hub: check the name"),
    ],
)
def test_a_hub_that_does_not_answer_is_one_line(monkeypatch, tmp_path, command, error, message):
    def download(name, allow_patterns):
        raise error

    monkeypatch.setattr(source, "snapshot_download", download)
    for name in ("hf:someone/model", "someone/model"):
        with pytest.raises((OSError, ValueError), match=message):
            convert(name, tmp_path / "ours")
        status, out, err = command("convert", name, tmp_path / "ours")
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert len(err) < 200
