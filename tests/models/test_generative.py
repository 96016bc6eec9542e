"""The generative models live in Hugging Face's house too: files, losses, outputs, checkpointing, Trainer."""

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch.testing import assert_close
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
)

from leanformer import LeanformerForCausalLM, LeanformerForConditionalGeneration, LeanformerForMaskedLM
from leanformer.attention import names

SPECIAL = {"pad_token_id": 0, "bos_token_id": 3, "eos_token_id": 2, "decoder_start_token_id": 3}
CLASSES = {AutoModelForCausalLM: LeanformerForCausalLM, AutoModelForSeq2SeqLM: LeanformerForConditionalGeneration}
# Transformers 5.17 knows no other name; later ones prefer activation checkpointing.
old_name_of_checkpointing = pytest.mark.filterwarnings("ignore:.gradient_checkpointing:FutureWarning")


@pytest.fixture(params=CLASSES, ids=lambda auto: auto.__name__)
def auto(request):
    return request.param


@pytest.fixture
def inputs(batch):
    """The source of one model is the text of the other."""
    del batch["token_type_ids"]
    return batch


def asked(model, inputs, labels=None):
    """The inputs with what else this model needs for scores."""
    if not model.config.is_encoder_decoder or labels is not None:
        return inputs | ({} if labels is None else {"labels": labels})
    return inputs | {"decoder_input_ids": inputs["input_ids"].flip(1)[:, :7]}


@pytest.mark.parametrize("attention", names())
def test_saved_and_loaded_it_is_bit_equal(tiny, scattered, aligned, inputs, tmp_path, auto, attention):
    model = scattered(auto.from_config(tiny(attention=attention, num_decoder_layers=3, **SPECIAL)))
    assert type(model) is CLASSES[auto]
    model.save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    assert sum(value.shape[0] == 101 for value in stored.values()) == 1
    loaded, report = auto.from_pretrained(tmp_path, output_loading_info=True)
    assert type(loaded) is type(model) and not any(report.values())
    assert loaded.get_output_embeddings().weight is loaded.get_input_embeddings().weight
    for key, value in model.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[key]), key
    assert torch.equal(model(**asked(model, inputs)).logits, aligned(loaded)(**asked(model, inputs)).logits)
    written = {key: getattr(loaded.generation_config, key) for key in SPECIAL}
    assert written == SPECIAL and loaded.can_generate()


def test_untied_words_are_three_tables(tiny, auto):
    model = auto.from_config(tiny(tie_word_embeddings=False, **SPECIAL))
    tables = {id(p) for p in model.parameters() if p.shape == (101, 30)}
    assert len(tables) == (3 if model.config.is_encoder_decoder else 2)


@pytest.mark.parametrize("tied", [True, False])
def test_a_vocabulary_can_be_resized(tiny, scattered, inputs, auto, tied):
    model = scattered(auto.from_config(tiny(tie_word_embeddings=tied, **SPECIAL)))
    before = model(**asked(model, inputs)).logits
    model.resize_token_embeddings(107, mean_resizing=False)
    after = model(**asked(model, inputs)).logits
    assert after.shape[-1] == 107 == model.config.vocab_size
    assert_close(after[..., :101], before)


def test_a_pretrained_encoder_becomes_that_of_an_encoder_decoder(tiny, scattered, tmp_path):
    pretrained = scattered(LeanformerForMaskedLM(tiny(attention="shared", **SPECIAL)))
    pretrained.save_pretrained(tmp_path)
    model, report = AutoModelForSeq2SeqLM.from_pretrained(tmp_path, output_loading_info=True)
    assert all(key.startswith("decoder.") for key in report["missing_keys"])
    for key, value in pretrained.encoder.state_dict().items():
        assert torch.equal(value, model.encoder.state_dict()[key]), key


def test_the_config_of_the_caller_is_left_alone(tiny, auto):
    config = tiny(is_encoder_decoder=auto is AutoModelForCausalLM, **SPECIAL)
    before = config.to_dict()
    assert auto.from_config(config).config.is_encoder_decoder != config.is_encoder_decoder
    assert config.to_dict() == before


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_losses_follow_their_formula(tiny, scattered, inputs, auto, smoothing):
    """-(1 - s) log p(label) - s / V sum_v log p(v); in evaluation s = 0. Parts of a step add up to its mean."""
    model = scattered(auto.from_config(tiny(label_smoothing=smoothing, **SPECIAL)))
    labels = inputs["input_ids"].clone()
    labels[:, 4:6] = -100
    for training in (True, False):
        outputs = model.train(training)(**asked(model, inputs, labels))
        logits, targets = outputs.logits, labels
        if not model.config.is_encoder_decoder:
            logits, targets = logits[:, :-1], labels[:, 1:]
        scores, kept = logits.log_softmax(-1), targets >= 0
        s = smoothing if training else 0.0
        label = scores.gather(-1, targets.clamp(min=0)[..., None])[..., 0]
        expected = -((1 - s) * label + s * scores.mean(-1))[kept].mean()
        assert_close(outputs.loss, expected)
        if not model.config.is_encoder_decoder:
            shifted = F.pad(labels[:, 1:], (0, 1), value=-100)
            assert_close(model(**inputs, shift_labels=shifted).loss, expected)
        parts = [
            model(**{k: v[rows] for k, v in asked(model, inputs, labels).items()}, num_items_in_batch=kept.sum()).loss
            for rows in ([0], [1, 2])
        ]
        assert_close(sum(parts), expected)


def test_targets_are_fed_one_place_to_the_right(tiny, scattered, inputs):
    model = scattered(LeanformerForConditionalGeneration(tiny(**SPECIAL)))
    labels = torch.tensor([[7, 8, 9, 2], [7, 2, -100, -100], [2, -100, -100, -100]])
    shifted = torch.tensor([[3, 7, 8, 9], [3, 7, 2, 0], [3, 2, 0, 0]])
    assert torch.equal(model.prepare_decoder_input_ids_from_labels(labels), shifted)
    by_hand = model(**inputs, decoder_input_ids=shifted)
    outputs = model(**inputs, labels=labels)
    assert torch.equal(outputs.logits, by_hand.logits)
    assert_close(outputs.loss, F.cross_entropy(by_hand.logits.flatten(0, 1), labels.flatten()))


def test_states_and_weights_come_on_request(tiny, scattered, inputs):
    lm = scattered(LeanformerForCausalLM(tiny(attention="random", num_decoder_layers=3, **SPECIAL)))
    outputs = lm(**inputs, output_attentions=True, output_hidden_states=True)
    assert [tuple(weights.shape) for weights in outputs.attentions] == [(3, 3, 11, 11)] * 3
    assert all(not weights.triu(1).any() for weights in outputs.attentions)
    assert len(outputs.hidden_states) == 4
    model = scattered(LeanformerForConditionalGeneration(tiny(num_decoder_layers=3, **SPECIAL)))
    silent = model(**asked(model, inputs))
    outputs = model(**asked(model, inputs), output_attentions=True, output_hidden_states=True)
    assert_close(outputs.logits, silent.logits, rtol=0, atol=1e-5)
    assert silent.cross_attentions is None
    shapes = {key: [tuple(weights.shape) for weights in outputs[key]] for key in outputs if key.endswith("attentions")}
    assert shapes == {
        "encoder_attentions": [(3, 3, 11, 11)] * 2,
        "decoder_attentions": [(3, 3, 7, 7)] * 3,
        "cross_attentions": [(3, 3, 7, 11)] * 3,
    }
    hidden = ~inputs["attention_mask"].bool()[:, None, None]
    for weights in outputs.cross_attentions:
        assert not weights.masked_select(hidden).any()
        assert_close(weights.sum(-1), torch.ones(3, 3, 7))
    assert (len(outputs.encoder_hidden_states), len(outputs.decoder_hidden_states)) == (3, 4)


@pytest.mark.parametrize("attention", names())
def test_the_plain_kernel_equals_the_fused_one(tiny, scattered, inputs, auto, attention):
    model = scattered(auto.from_config(tiny(attention=attention, **SPECIAL)))
    attended = inputs["attention_mask"].bool() if not model.config.is_encoder_decoder else slice(None)
    fused = model(**asked(model, inputs)).logits[attended]
    model.set_attn_implementation("eager")
    kernels = [m.fused for m in model.modules() if hasattr(m, "fused")]
    assert kernels and not any(kernels)
    assert_close(model(**asked(model, inputs)).logits[attended], fused, rtol=0, atol=1e-5)


@old_name_of_checkpointing
@pytest.mark.parametrize("attention", ["dot_product", "random", "dense+pairwise"])
@pytest.mark.parametrize("reentrant", [True, False])
def test_gradient_checkpointing_changes_no_gradient(tiny, scattered, inputs, auto, attention, reentrant):
    settings = SPECIAL | {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1, "label_smoothing": 0.1}
    model, gradients = scattered(auto.from_config(tiny(attention=attention, **settings))).train(), []
    for checkpointed in (False, True):
        if checkpointed:
            model.gradient_checkpointing_enable({"use_reentrant": reentrant})
        model.zero_grad()
        torch.manual_seed(3)
        model(**asked(model, inputs, inputs["input_ids"])).loss.backward()
        gradients.append({key: parameter.grad.clone() for key, parameter in model.named_parameters()})
    for key, gradient in gradients[0].items():  # sums in another order where a weight serves twice
        assert_close(gradients[1][key], gradient, msg=lambda message, key=key: f"{key}: {message}")


@pytest.mark.parametrize("attention", ["random+dot_product"])
def test_a_training_step_compiles_whole(tiny, inputs, auto, attention):
    torch.compiler.reset()
    model = auto.from_config(tiny(attention=attention, label_smoothing=0.1, **SPECIAL))
    whole = torch.compile(model, backend="eager", fullgraph=True)
    loss = whole(**asked(model, inputs, inputs["input_ids"])).loss
    loss.backward()
    assert_close(loss, model(**asked(model, inputs, inputs["input_ids"])).loss)


def test_sampling_and_lengths(tiny, scattered, inputs, auto):
    model = scattered(auto.from_config(tiny(**SPECIAL)))
    texts = []
    for _ in range(2):
        torch.manual_seed(5)
        texts.append(model.generate(**inputs, do_sample=True, top_k=50, max_new_tokens=6, suppress_tokens=[2]))
    assert torch.equal(*texts)
    assert texts[0].shape == (3, 7 if model.config.is_encoder_decoder else 17)
    with pytest.raises(
        ValueError, match=r"30 tokens( \(\d+ of them cached\))? are more than max_position_embeddings = 29"
    ):
        model.generate(**inputs, max_new_tokens=60, suppress_tokens=[2])


def test_wrong_input_is_named(tiny, inputs):
    ids = inputs["input_ids"]
    lm, model = LeanformerForCausalLM(tiny(**SPECIAL)), LeanformerForConditionalGeneration(tiny(**SPECIAL))
    with pytest.raises(ValueError, match="exactly one of input_ids and inputs_embeds"):
        lm()
    with pytest.raises(ValueError, match="30 tokens are more than max_position_embeddings = 29: cut the sequence"):
        lm(torch.ones(1, 30, dtype=torch.long))
    cache = lm(ids, use_cache=True).past_key_values
    with pytest.raises(ValueError, match="attention_mask is of 1 tokens, and 12 are attended"):
        lm(ids[:, :1], torch.ones(3, 1), past_key_values=cache)
    with pytest.raises(ValueError, match="labels or decoder_input_ids"):
        model(ids)
    with pytest.raises(ValueError, match="encoder_hidden_states is missing, .* is_encoder_decoder = True"):
        model.decoder(ids)
    with pytest.raises(ValueError, match="decoder_start_token_id is None, and labels need it"):
        LeanformerForConditionalGeneration(tiny())(ids, labels=ids)


@old_name_of_checkpointing
def test_trainer_trains_and_generates(tiny, tmp_path):
    """A cipher: the target is the source with every word three higher."""
    torch.manual_seed(2)
    model = LeanformerForConditionalGeneration(tiny(attention="shared", label_smoothing=0.1, **SPECIAL))
    words = torch.randint(5, 60, (24, 5))
    examples = [{"input_ids": w.tolist(), "labels": [*(w + 3).tolist(), 2]} for w in words]
    arguments = Seq2SeqTrainingArguments(
        output_dir=str(tmp_path),
        per_device_train_batch_size=8,
        num_train_epochs=4,
        learning_rate=3e-3,
        gradient_checkpointing=True,
        predict_with_generate=True,
        generation_max_length=8,
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        save_strategy="no",
        logging_strategy="no",
    )
    trainer = Seq2SeqTrainer(model, arguments, train_dataset=examples, eval_dataset=examples[:4], data_collator=collate)
    before = trainer.evaluate()["eval_loss"]
    trainer.train()
    assert trainer.evaluate()["eval_loss"] < before
    assert trainer.predict(examples[:4]).predictions.shape[0] == 4


def collate(examples):
    columns = {key: [torch.tensor(e[key]) for e in examples] for key in ("input_ids", "labels")}
    return {key: torch.stack(rows) for key, rows in columns.items()}
