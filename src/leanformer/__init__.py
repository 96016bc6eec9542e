"""leanformer: train BERT-like language models with parameter-saving attention, and measure what each saving costs.

    import leanformer as lf
    data = lf.prepare("corpus.txt", out="data")
    comparison = lf.compare(data, out="comparison", attention=["dot_product", "pairwise"], seeds=3, max_steps=2000)

The import is light: a function is loaded with what it needs when it is first named. Hugging Face's Auto classes know
the models as soon as transformers is imported, before or after this package.
"""

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any

from leanformer.at_import import when_imported
from leanformer.version import __version__

if TYPE_CHECKING:
    from leanformer.interface.compare import compare
    from leanformer.interface.comparison import Comparison
    from leanformer.interface.convert import convert
    from leanformer.interface.data import Data
    from leanformer.interface.distill import distill
    from leanformer.interface.embed import embed
    from leanformer.interface.export import export
    from leanformer.interface.finetune import finetune
    from leanformer.interface.model import Model
    from leanformer.interface.predict import predict
    from leanformer.interface.predictions import Predictions
    from leanformer.interface.prepare import prepare
    from leanformer.interface.pretrain import pretrain
    from leanformer.interface.report import report
    from leanformer.interface.run import Run
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
    )
    from leanformer.models.lora import lora_targets

__all__ = [
    "Comparison",
    "Data",
    "LeanformerConfig",
    "LeanformerForCausalLM",
    "LeanformerForConditionalGeneration",
    "LeanformerForMaskedLM",
    "LeanformerForMultipleChoice",
    "LeanformerForQuestionAnswering",
    "LeanformerForSequenceClassification",
    "LeanformerForTokenClassification",
    "LeanformerModel",
    "Model",
    "Predictions",
    "Run",
    "__version__",
    "compare",
    "convert",
    "distill",
    "embed",
    "export",
    "finetune",
    "lora_targets",
    "predict",
    "prepare",
    "pretrain",
    "report",
]


def __getattr__(name: str) -> Any:
    """Returns a public name from the module that defines it, which is imported now."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name.startswith("Leanformer"):
        home = "leanformer.models"
    elif name == "lora_targets":
        home = "leanformer.models.lora"
    else:
        home = f"leanformer.interface.{name.lower()}"
    found = globals()[name] = getattr(import_module(home), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _import_models(transformers: ModuleType) -> None:
    """Import the models, unless there is no PyTorch: reports are written on such machines, too."""
    if find_spec("torch") is not None:
        import_module("leanformer.models")


def _register(models: ModuleType) -> None:
    import_module("leanformer.models.hub").register()


when_imported("leanformer.models", _register)
when_imported("transformers", _import_models)
