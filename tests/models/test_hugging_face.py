"""A leanformer lives in Hugging Face's house: Auto classes, files, pipelines, Trainer."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForMultipleChoice,
    AutoModelForPreTraining,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTextEncoding,
    AutoModelForTokenClassification,
    Trainer,
    TrainingArguments,
    pipeline,
)

import leanformer
from leanformer import LeanformerForMaskedLM, LeanformerForQuestionAnswering, LeanformerForSequenceClassification
from leanformer.attention import names
from leanformer.data import tokenizer_files

AUTO = {
    AutoModel: "LeanformerModel",
    AutoModelForPreTraining: "LeanformerForMaskedLM",
    AutoModelForMaskedLM: "LeanformerForMaskedLM",
    AutoModelForSequenceClassification: "LeanformerForSequenceClassification",
    AutoModelForTokenClassification: "LeanformerForTokenClassification",
    AutoModelForQuestionAnswering: "LeanformerForQuestionAnswering",
    AutoModelForMultipleChoice: "LeanformerForMultipleChoice",
    AutoModelForTextEncoding: "LeanformerModel",
}
# Transformers 5.17 knows no other name; later ones prefer activation checkpointing.
old_name_of_checkpointing = pytest.mark.filterwarnings("ignore:.gradient_checkpointing:FutureWarning")


@pytest.mark.parametrize("auto", AUTO, ids=lambda auto: auto.__name__)
@pytest.mark.parametrize("attention", names())
def test_saved_and_loaded_it_is_bit_equal(tiny, scattered, aligned, batch, posed, tmp_path, auto, attention):
    model = scattered(auto.from_config(tiny(attention=attention)))
    assert type(model).__name__ == AUTO[auto]
    model.save_pretrained(tmp_path)
    loaded, report = auto.from_pretrained(tmp_path, output_loading_info=True)
    assert type(loaded) is type(model)
    assert not any(report.values())
    for key, value in model.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[key]), key
    batch = posed(model, batch)
    for value, again in zip(model(**batch).values(), aligned(loaded)(**batch).values(), strict=True):
        assert torch.equal(value, again)


def test_an_encoder_moves_between_heads(tiny, scattered, tmp_path):
    pretrained = scattered(LeanformerForMaskedLM(tiny(attention="shared")))
    pretrained.save_pretrained(tmp_path)
    classifier, report = AutoModelForSequenceClassification.from_pretrained(
        tmp_path, num_labels=5, output_loading_info=True
    )
    own = ("classifier.", "encoder.pooler.")
    assert report["missing_keys"] and all(key.startswith(own) for key in report["missing_keys"])
    for key, value in classifier.encoder.layers.state_dict().items():
        assert torch.equal(value, pretrained.encoder.layers.state_dict()[key]), key


def test_an_untrained_pooler_is_the_same_in_every_load(tiny, tmp_path):
    LeanformerForMaskedLM(tiny()).save_pretrained(tmp_path / "run")
    loaded = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        loaded.append(AutoModelForSequenceClassification.from_pretrained(tmp_path / "run"))
    first, second = (model.encoder.pooler.dense.weight for model in loaded)
    assert torch.equal(first, second)
    assert not torch.equal(loaded[0].classifier.weight, loaded[1].classifier.weight)
    # numpy's old generator with seed 0 begins with these, whatever its version
    assert_close(first[0, :3].detach(), 0.02 * torch.tensor([1.764052, 0.400157, 0.978738]))
    assert_close(first.std().item(), 0.02, rtol=0.1, atol=0)
    with torch.no_grad():
        first.add_(1)
    loaded[0].save_pretrained(tmp_path / "tuned")
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "tuned")
    assert torch.equal(again.encoder.pooler.dense.weight, first)


def test_question_answering_reads_older_names(tiny, scattered, batch, tmp_path):
    model = scattered(LeanformerForQuestionAnswering(tiny()))
    model.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    older = {key.replace("qa_outputs", "span"): value for key, value in load_file(path).items()}
    save_file(older, path, {"format": "pt"})
    loaded, report = AutoModelForQuestionAnswering.from_pretrained(tmp_path, output_loading_info=True)
    assert "span.weight" in older and not any(report.values())
    assert_close(loaded(**batch).start_logits, model(**batch).start_logits)


STARTS = {"coefficients": 1.0, "left": (0.02 / 8**0.5) ** 0.5, "right": (0.02 / 8**0.5) ** 0.5, "second": 10**-0.5}
"""Standard deviations other than 0.02: of a rank of 8, and heads of 10."""


@pytest.mark.parametrize("attention", names())
def test_weights_missing_from_a_checkpoint_start_by_the_rule(tiny, scattered, tmp_path, attention):
    """Loading builds the model without values: what `__init__` wrote into a bare parameter is lost by then."""
    model = scattered(LeanformerForMaskedLM(tiny(attention=attention)))
    model.save_pretrained(tmp_path)
    kept = {k: v for k, v in load_file(tmp_path / "model.safetensors").items() if ".layers.1." not in k}
    save_file(kept, tmp_path / "model.safetensors", {"format": "pt"})
    loaded = AutoModelForMaskedLM.from_pretrained(tmp_path)
    for key, value in loaded.encoder.layers[0].state_dict().items():
        assert torch.equal(value, model.encoder.layers[0].state_dict()[key]), key
    for key, value in loaded.encoder.layers[1].state_dict().items():
        if key.endswith(("_scale", "gains", "norm.weight")):
            assert_close(value, torch.ones_like(value))
        elif key.endswith("bias"):
            assert not value.any()
        elif key.endswith("phases"):
            assert 0.4 < value.std().item() < 1.8  # N(0, 1), but few
        else:
            expected = STARTS.get(key.rpartition(".")[2], 0.02)
            if attention == "fixed_random" and key.endswith("table"):
                expected = 1.0
            if key.endswith("compatibility.weight"):  # of position_2d: N(0, init_std^2 4 / m), m = 64
                expected = 0.005
            assert value.std().item() == pytest.approx(expected, rel=0.2), key


def test_the_decoder_is_the_word_table(tiny, tmp_path):
    model = LeanformerForMaskedLM(tiny())
    table = model.get_input_embeddings().weight
    assert model.get_output_embeddings().weight is table
    model.save_pretrained(tmp_path)
    assert "head.decoder.weight" not in load_file(tmp_path / "model.safetensors")
    loaded = AutoModelForMaskedLM.from_pretrained(tmp_path)
    assert loaded.head.decoder.weight is loaded.encoder.embeddings.word_embeddings.weight
    untied = LeanformerForMaskedLM(tiny(tie_word_embeddings=False))
    assert untied.head.decoder.weight is not untied.get_input_embeddings().weight


@pytest.mark.parametrize("tied", [True, False])
def test_a_vocabulary_can_be_resized(tiny, scattered, batch, tied):
    model = scattered(LeanformerForMaskedLM(tiny(tie_word_embeddings=tied)))
    before = model(**batch).logits
    model.resize_token_embeddings(107, mean_resizing=False)
    after = model(**batch).logits
    assert (model.head.decoder.weight is model.get_input_embeddings().weight) == tied
    assert after.shape == (3, 11, 107) == (3, 11, model.config.vocab_size)
    assert model.head.decoder.bias.shape == (107,)
    assert_close(after[..., :101], before)


@old_name_of_checkpointing
@pytest.mark.parametrize("attention", names())
@pytest.mark.parametrize("reentrant", [True, False])
def test_gradient_checkpointing_changes_no_gradient(tiny, scattered, batch, attention, reentrant):
    settings = {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
    model = scattered(LeanformerForMaskedLM(tiny(attention=attention, positions="rotary", **settings))).train()
    gradients = []
    for checkpointed in (False, True):
        if checkpointed:
            model.gradient_checkpointing_enable({"use_reentrant": reentrant})
        model.zero_grad()
        torch.manual_seed(3)
        model(**batch, labels=batch["input_ids"]).loss.backward()
        gradients.append({key: parameter.grad.clone() for key, parameter in model.named_parameters()})
    for key, gradient in gradients[0].items():
        assert torch.equal(gradients[1][key], gradient), key


def test_a_mechanism_is_no_kernel(tiny):
    for kernel in ("pairwise", "flash_attention_2", "flex_attention"):
        with pytest.raises((ValueError, ImportError)):
            LeanformerForMaskedLM._from_config(tiny(), attn_implementation=kernel)
    model = LeanformerForMaskedLM._from_config(tiny(), attn_implementation="eager")
    kernels = [layer.attention.fused for layer in model.encoder.layers]
    model.set_attn_implementation("sdpa")
    assert (kernels, [layer.attention.fused for layer in model.encoder.layers]) == ([False] * 2, [True] * 2)


def test_fill_mask_pipeline(tiny, scattered, tokenizer, tmp_path):
    model = scattered(LeanformerForMaskedLM(tiny(vocab_size=len(tokenizer))))
    model.save_pretrained(tmp_path)
    tokenizer_files.save(tokenizer, tmp_path)
    tokenizer_files.match_model(tmp_path)
    fill = pipeline("fill-mask", model=str(tmp_path), device="cpu")
    ids = torch.tensor([fill.tokenizer("the [MASK] sat")["input_ids"]])
    expected = model(ids).logits[0, 2].softmax(-1)
    for answer in fill("the [MASK] sat", top_k=3):
        assert answer["score"] == pytest.approx(expected[answer["token"]].item(), abs=1e-5)
        assert answer["token_str"] == tokenizer.convert_ids_to_tokens(answer["token"])


def test_text_classification_pipeline(tiny, scattered, tokenizer, caplog):
    model = scattered(
        LeanformerForSequenceClassification(tiny(vocab_size=len(tokenizer), id2label={0: "bad", 1: "good"}))
    )
    classify = pipeline("text-classification", model=model, tokenizer=tokenizer, device="cpu")
    answers = classify([{"text": "the cat sat", "text_pair": "the dog saw the cat"}], top_k=None)[0]
    inputs = tokenizer("the cat sat", "the dog saw the cat", return_tensors="pt")
    expected = model(**inputs).logits[0].softmax(-1)
    assert {answer["label"]: pytest.approx(answer["score"], abs=1e-5) for answer in answers} == {
        "bad": expected[0].item(),
        "good": expected[1].item(),
    }
    assert "is not supported" not in caplog.text


@old_name_of_checkpointing
@pytest.mark.parametrize("head", ["sequence", "masked"])
def test_trainer_trains_evaluates_and_saves(tiny, tmp_path, head):
    ids = torch.randint(5, 101, (24, 11))
    if head == "sequence":
        model, labels = LeanformerForSequenceClassification(tiny(attention="pairwise")), (ids[:, 0] > 50).long()
    else:
        model, labels = LeanformerForMaskedLM(tiny(attention="shared")), ids
    examples = [{"input_ids": i, "labels": label} for i, label in zip(ids, labels, strict=True)]
    arguments = TrainingArguments(
        output_dir=str(tmp_path),
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        num_train_epochs=8,
        learning_rate=3e-3,
        gradient_checkpointing=True,
        eval_strategy="epoch",
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        logging_strategy="epoch",
        save_strategy="no",
    )
    trainer = Trainer(model, arguments, train_dataset=examples, eval_dataset=examples)
    trainer.train()
    losses = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
    assert losses[-1] < losses[0]
    assert trainer.evaluate()["eval_loss"] == pytest.approx(losses[-1])
    trainer.save_model(str(tmp_path / "model"))
    assert AutoConfig.from_pretrained(tmp_path / "model").attention == model.config.attention


def test_the_package_shows_its_models_and_version():
    assert leanformer.__version__
    assert {*AUTO.values(), "LeanformerConfig"} <= set(leanformer.__all__)
    for name in leanformer.__all__:
        assert getattr(leanformer, name) is not None
