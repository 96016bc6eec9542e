"""leanformer in the tools people use: PEFT, sentence-transformers, pipelines."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.testing import assert_close
from transformers import pipeline

from leanformer import (
    LeanformerForCausalLM,
    LeanformerForMaskedLM,
    LeanformerForMultipleChoice,
    LeanformerForQuestionAnswering,
    LeanformerForSequenceClassification,
    LeanformerForTokenClassification,
    LeanformerModel,
    lora_targets,
)
from leanformer.attention import names
from leanformer.inference import embed

# PEFT asks for the old name.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")
TARGETS = {
    "dot_product": ["query", "value"],
    "symmetric": ["token", "value"],
    "pairwise": ["token", "value"],
    "shared": ["shared"],
    "random": ["value"],
}


@pytest.mark.parametrize("attention", TARGETS)
def test_lora_adapts_the_mechanisms_own_maps_by_default(tiny, scattered, batch, attention):
    peft = pytest.importorskip("peft")
    config = tiny(attention=attention)
    assert lora_targets(config) == TARGETS[attention]
    model = scattered(LeanformerForSequenceClassification(config))
    before = model(**batch).logits
    frozen = {key: value.clone() for key, value in model.state_dict().items()}
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=3, lora_dropout=0.0, task_type="SEQ_CLS"))
    adapting = {key.split(".lora_A")[0].rpartition(".")[2] for key in adapted.state_dict() if ".lora_A" in key}
    assert adapting == set(TARGETS[attention])
    assert_close(adapted(**batch).logits, before)  # B starts at zero

    labels = torch.tensor([0, 1, 1])
    optimizer = torch.optim.SGD([p for p in adapted.parameters() if p.requires_grad], 0.1)
    for _ in range(2):  # the first step moves B, the second A
        optimizer.zero_grad()
        adapted(**batch, labels=labels).loss.backward()
        optimizer.step()
    trained = adapted.eval()(**batch).logits
    assert (trained - before).abs().max() > 1e-3
    merged = adapted.merge_and_unload()
    assert type(merged) is LeanformerForSequenceClassification
    assert_close(merged(**batch).logits, trained)
    changed = {key for key, value in merged.state_dict().items() if not torch.equal(value, frozen[key])}
    own = tuple(f".projection.{name}.weight" for name in TARGETS[attention])
    assert changed and all(key.endswith(own) or key.startswith("classifier.") for key in changed)


@pytest.mark.parametrize(("attention", "own"), [("pairwise", "coefficients"), ("random", "table")])
def test_parameters_that_are_no_maps_can_be_trained_whole(tiny, scattered, batch, attention, own):
    peft = pytest.importorskip("peft")
    model = scattered(LeanformerModel(tiny(attention=attention)))
    before = model(**batch).last_hidden_state
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=3, modules_to_save=["compatibility"]))
    after = adapted(**batch).last_hidden_state
    assert_close(after, before)
    after.pow(2).sum().backward()
    trained = [key for key, parameter in adapted.named_parameters() if parameter.grad is not None]
    assert any(key.endswith(own) for key in trained)


@pytest.mark.parametrize("attention", names())
def test_every_mechanism_has_something_to_adapt(tiny, attention):
    targets = lora_targets(tiny(attention=attention))
    assert targets and "key" not in targets


@pytest.mark.parametrize(
    ("settings", "targets"),
    [
        ({"mixer": "shaped"}, ["query"]),
        ({"mixer": "shaped", "attention": "pairwise"}, ["token"]),
        ({"mixer": "linear"}, ["output"]),
        ({"mixer": "gmlp", "mixer_options": {"tiny_attention": 8}}, ["output", "up"]),
    ],
)
def test_lora_adapts_the_maps_of_other_mixers(tiny, scattered, batch, settings, targets):
    peft = pytest.importorskip("peft")
    config = tiny(**settings)
    assert lora_targets(config) == targets
    model = scattered(LeanformerModel(config))
    adapted = peft.get_peft_model(model, peft.LoraConfig(target_modules=lora_targets(config))).eval()
    assert {key.split(".lora_A")[0].rpartition(".")[2] for key in adapted.state_dict() if ".lora_A" in key} == set(
        targets
    )
    assert adapted(**batch).last_hidden_state.isfinite().all()
    with pytest.raises(ValueError, match="mixer 'fourier' has no maps for LoRA to adapt: name others, such as up"):
        lora_targets(tiny(mixer="fourier"))


def test_the_default_of_lora_finds_what_a_shaped_mixer_has(tiny):
    peft = pytest.importorskip("peft")
    adapted = peft.get_peft_model(LeanformerModel(tiny(mixer="shaped")), peft.LoraConfig())
    assert {key.split(".lora_A")[0].rpartition(".")[2] for key in adapted.state_dict() if ".lora_A" in key} == {"query"}


def test_lora_leaves_shared_maps_alone(tiny):
    peft = pytest.importorskip("peft")
    heads = tiny().num_attention_heads
    blocks = [list(range(heads))] * tiny().num_hidden_layers
    config = tiny(shared_heads={"tie": "qk", "blocks": blocks})
    assert lora_targets(config) == ["value"]
    adapted = peft.get_peft_model(LeanformerModel(config), peft.LoraConfig(target_modules=lora_targets(config)))
    assert any("value.lora_A" in key for key in adapted.state_dict())
    with pytest.raises(ValueError, match="all maps of the heads are shared, .* such as up and down"):
        lora_targets(tiny(shared_heads={"tie": "qkv", "blocks": blocks}))


def test_lora_knows_the_other_attentions_of_an_encoder_decoder(tiny):
    assert lora_targets(tiny(attention="random", decoder_attention="shared", is_encoder_decoder=True)) == [
        "query",
        "shared",
        "value",
    ]


@pytest.mark.parametrize(
    ("kind", "task_type"),
    [
        (LeanformerForSequenceClassification, "SEQ_CLS"),
        (LeanformerForTokenClassification, "TOKEN_CLS"),
        (LeanformerForQuestionAnswering, "QUESTION_ANS"),
        (LeanformerForMultipleChoice, None),
        (LeanformerModel, "FEATURE_EXTRACTION"),
    ],
    ids=["sequences", "tokens", "answers", "choices", "states"],
)
def test_an_adapter_meets_the_model_it_was_trained_with(tiny, scattered, batch, posed, tmp_path, kind, task_type):
    """A pre-trained model has no pooler and no head: the one is always drawn alike, the other is in the adapter."""
    peft = pytest.importorskip("peft")
    scattered(LeanformerForMaskedLM(tiny())).save_pretrained(tmp_path / "run")
    whole = {"modules_to_save": ["classifier"]} if task_type is None else {}
    torch.manual_seed(5)
    adapted = peft.get_peft_model(
        kind.from_pretrained(tmp_path / "run"), peft.LoraConfig(task_type=task_type, r=3, **whole)
    )
    head = [name for name, parameter in adapted.named_parameters() if parameter.requires_grad and "lora" not in name]
    assert kind is LeanformerModel or head
    scattered(torch.nn.ParameterList(parameter for parameter in adapted.parameters() if parameter.requires_grad))
    batch = posed(adapted.base_model.model, batch)
    before = adapted.eval()(**batch)
    adapted.save_pretrained(tmp_path / "adapter")
    torch.manual_seed(6)
    again = peft.PeftModel.from_pretrained(kind.from_pretrained(tmp_path / "run"), tmp_path / "adapter").eval()(**batch)
    for key, value in before.items():
        assert_close(again[key], value, rtol=0, atol=1e-6, msg=lambda message, key=key: f"{key}: {message}")


@pytest.mark.parametrize("order", ["import leanformer, peft", "import peft, leanformer"])
def test_peft_knows_whichever_is_imported_first(order):
    pytest.importorskip("peft")
    code = (
        f"{order}\n"
        "from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as table\n"
        "print(table['leanformer'])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert {"query", "token", "shared", "value"} <= set(eval(out))


@pytest.fixture
def saved(tiny, scattered, tokenizer, tmp_path):
    """A masked language model with its tokenizer."""
    scattered(LeanformerForMaskedLM(tiny(vocab_size=len(tokenizer), attention="pairwise"))).save_pretrained(
        tmp_path / "m"
    )
    tokenizer.save_pretrained(tmp_path / "m")
    return tmp_path / "m"


TEXTS = ["the cat sat", "the dog saw the cat on the mat", "mat"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_sentence_transformers_trains_saves_and_encodes_as_embed_does(saved, tmp_path):
    library = pytest.importorskip("sentence_transformers")
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.losses import CosineSimilarityLoss

    (tmp_path / "lines.txt").write_text("\n".join(TEXTS))
    embed(saved, [tmp_path / "lines.txt"], tmp_path / "lines.npy")
    model = library.SentenceTransformer(str(saved), device="cpu")  # mean pooling of its own accord
    before = model.encode(TEXTS, show_progress_bar=False)
    np.testing.assert_allclose(before, np.load(tmp_path / "lines.npy"), atol=2e-6)
    rows = {"sentence1": TEXTS, "sentence2": TEXTS[::-1], "score": [0.1, 0.9, 0.1]}
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(tmp_path / "trainer"),
        max_steps=1,
        learning_rate=1e-2,
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        save_strategy="no",
        per_device_train_batch_size=3,
    )
    loss = CosineSimilarityLoss(model)
    SentenceTransformerTrainer(model, arguments, train_dataset=Dataset.from_dict(rows), loss=loss).train()
    after = model.encode(TEXTS, show_progress_bar=False)
    assert np.abs(after - before).max() > 1e-3
    model.save(str(tmp_path / "st"))
    again = library.SentenceTransformer(str(tmp_path / "st"), device="cpu").encode(TEXTS, show_progress_bar=False)
    np.testing.assert_array_equal(again, after)


def test_feature_extraction_pipeline(saved, tokenizer):
    states = pipeline("feature-extraction", model=str(saved), device="cpu")(TEXTS[0])
    expected = LeanformerModel.from_pretrained(saved).eval()(**tokenizer(TEXTS[0], return_tensors="pt"))
    assert_close(torch.tensor(states), expected.last_hidden_state)


def test_token_classification_pipeline(tiny, scattered, tokenizer, caplog):
    labels = {0: "O", 1: "B-ANIMAL"}
    model = scattered(LeanformerForTokenClassification(tiny(vocab_size=len(tokenizer), id2label=labels)))
    tag = pipeline("token-classification", model=model, tokenizer=tokenizer, device="cpu", ignore_labels=[])
    found = tag(TEXTS[1])
    expected = model(**tokenizer(TEXTS[1], return_tensors="pt")).logits[0, 1:-1].softmax(-1)
    assert [answer["entity"] for answer in found] == [labels[i] for i in expected.argmax(-1).tolist()]
    assert [answer["word"] for answer in found] == TEXTS[1].split()
    assert "is not supported" not in caplog.text


def test_zero_shot_classification_pipeline(tiny, scattered, tokenizer):
    labels = {0: "contradiction", 1: "entailment"}
    ids = {name: i for i, name in labels.items()}
    model = scattered(
        LeanformerForSequenceClassification(tiny(vocab_size=len(tokenizer), id2label=labels, label2id=ids))
    )
    ask = pipeline("zero-shot-classification", model=model, tokenizer=tokenizer, device="cpu")
    answer = ask("the cat sat", ["cat", "dog"], hypothesis_template="the {} sat")
    assert sorted(answer["labels"]) == ["cat", "dog"] and sum(answer["scores"]) == pytest.approx(1, abs=1e-5)


def test_text_generation_pipeline(tiny, scattered, tokenizer, caplog):
    model = scattered(LeanformerForCausalLM(tiny(vocab_size=len(tokenizer), attention="shared", pad_token_id=0)))
    write = pipeline("text-generation", model=model, tokenizer=tokenizer, device="cpu")
    (answer,) = write("the cat", max_new_tokens=3, do_sample=False, add_special_tokens=False)
    ids = model.generate(torch.tensor([[5, 6]]), max_new_tokens=3, do_sample=False)
    assert answer["generated_text"] == tokenizer.decode(ids[0], skip_special_tokens=True)
    assert "is not supported" not in caplog.text
