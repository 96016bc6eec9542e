"""leanformer: train BERT-like language models with parameter-saving attention, and measure what each saving costs."""

from importlib.util import find_spec

from leanformer.version import __version__

__all__ = ["__version__"]

if find_spec("torch") is not None:  # `leanformer.reporting` reads records on machines without it
    from leanformer.models import (
        LeanformerConfig,
        LeanformerForCausalLM,
        LeanformerForConditionalGeneration,
        LeanformerForMaskedLM,
        LeanformerForMultipleChoice,
        LeanformerForQuestionAnswering,
        LeanformerForSequenceClassification,
        LeanformerForTokenClassification,
        LeanformerModel,
        hub,
    )
    from leanformer.models.lora import lora_targets

    hub.register()
    __all__ += [
        "LeanformerConfig",
        "LeanformerForCausalLM",
        "LeanformerForConditionalGeneration",
        "LeanformerForMaskedLM",
        "LeanformerForMultipleChoice",
        "LeanformerForQuestionAnswering",
        "LeanformerForSequenceClassification",
        "LeanformerForTokenClassification",
        "LeanformerModel",
        "lora_targets",
    ]
