"""Leanformer in the shape the transformers project's own test-suite expects; copied into its tree by test_peer.py."""

import os
import unittest

from transformers.testing_utils import require_torch, torch_device

import leanformer
from leanformer import LeanformerConfig, LeanformerModel

from ...test_modeling_common import ModelTesterMixin, ids_tensor, random_attention_mask

SETTINGS = {"attention": os.environ["LEANFORMER_ATTENTION"], "positions": os.environ["LEANFORMER_POSITIONS"]}
MODELS = (
    leanformer.LeanformerForMaskedLM,
    leanformer.LeanformerForSequenceClassification,
    leanformer.LeanformerForTokenClassification,
    leanformer.LeanformerForQuestionAnswering,
)


class LeanformerModelTester:
    batch_size, seq_length, is_training = 13, 7, True
    vocab_size, hidden_size, num_hidden_layers, num_attention_heads = 99, 32, 2, 4

    def __init__(self, parent: unittest.TestCase) -> None:
        self.parent = parent

    def get_config(self) -> LeanformerConfig:
        return LeanformerConfig(
            vocab_size=self.vocab_size,
            hidden_size=self.hidden_size,
            num_hidden_layers=self.num_hidden_layers,
            num_attention_heads=self.num_attention_heads,
            intermediate_size=64,
            max_position_embeddings=64,
            bos_token_id=97,
            eos_token_id=98,
            **SETTINGS,
        )

    def prepare_config_and_inputs_for_common(self) -> tuple[LeanformerConfig, dict]:
        shape = [self.batch_size, self.seq_length]
        inputs = {
            "input_ids": ids_tensor(shape, self.vocab_size),
            "token_type_ids": ids_tensor(shape, 2),
            "attention_mask": random_attention_mask(shape),
        }
        return self.get_config(), {name: tensor.to(torch_device) for name, tensor in inputs.items()}


@require_torch
class LeanformerModelTest(ModelTesterMixin, unittest.TestCase):
    all_model_classes = (LeanformerModel, *MODELS)
    test_can_init_all_missing_weights_before_2023 = True

    def setUp(self) -> None:
        self.model_tester = LeanformerModelTester(self)


class WithoutWindow(LeanformerConfig):
    """A decoder has no sliding window; the comparison of kernels sets one wherever a config has the setting."""

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, None if name == "sliding_window" else value)


class LeanformerCausalLMTester(LeanformerModelTester):
    def prepare_config_and_inputs_for_common(self) -> tuple[LeanformerConfig, dict]:
        config, inputs = super().prepare_config_and_inputs_for_common()
        del inputs["token_type_ids"]
        if "eager_matches_sdpa" in self.parent._testMethodName:
            config.__class__ = WithoutWindow
        return config, inputs


@require_torch
class LeanformerCausalLMTest(ModelTesterMixin, unittest.TestCase):
    all_model_classes = (leanformer.LeanformerForCausalLM,)
    all_generative_model_classes = ()  # the distribution lacks their tests: tests/models compares text with BART's
    test_can_init_all_missing_weights_before_2023 = True

    def setUp(self) -> None:
        self.model_tester = LeanformerCausalLMTester(self)


class LeanformerSeq2SeqTester(LeanformerCausalLMTester):
    is_encoder_decoder = True

    def prepare_config_and_inputs_for_common(self) -> tuple[LeanformerConfig, dict]:
        config, inputs = super().prepare_config_and_inputs_for_common()
        config.is_encoder_decoder, config.decoder_start_token_id = True, 97
        inputs["decoder_input_ids"] = ids_tensor([self.batch_size, self.seq_length], self.vocab_size).to(torch_device)
        return config, inputs


@require_torch
class LeanformerSeq2SeqTest(ModelTesterMixin, unittest.TestCase):
    all_model_classes = (leanformer.LeanformerForConditionalGeneration,)
    all_generative_model_classes = ()
    is_encoder_decoder = True
    test_can_init_all_missing_weights_before_2023 = True

    def setUp(self) -> None:
        self.model_tester = LeanformerSeq2SeqTester(self)
