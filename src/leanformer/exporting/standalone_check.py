"""A machine without leanformer: it loads an export as anyone would, and writes down what the model answers.

    python -I standalone_check.py EXPORT AUTO_CLASS THREADS INPUTS OUTPUTS

INPUTS and OUTPUTS are safetensors files; `tokens` among the outputs are the tokenizer's ids of `SENTENCE`. In that
process leanformer cannot be imported. `answers` is also what the answers are compared with.
"""

import sys
from typing import Any

import torch
from torch import Tensor

SENTENCE = "The old house by the river, where nobody had lived for years."


@torch.inference_mode()
def answers(model: Any, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Every tensor of the model's output by name, in float32; copies, as a model may give one tensor two names."""
    return {name: x.float().clone() for name, x in model(**inputs).items() if isinstance(x, Tensor)}


class Absent:
    """An entry of sys.meta_path for which leanformer is not installed."""

    @staticmethod
    def find_spec(name: str, *_: Any) -> None:
        if name.partition(".")[0] in ("leanformer", "leanformer_cli"):
            raise ModuleNotFoundError(f"No module named {name!r}: the export needs leanformer", name=name)


def main(export: str, auto_class: str, threads: str, inputs: str, outputs: str) -> None:
    sys.meta_path.insert(0, Absent)  # type: ignore[arg-type]
    from pathlib import Path

    import transformers
    from safetensors.torch import load_file, save_file
    from transformers.dynamic_module_utils import get_class_from_dynamic_module

    torch.set_num_threads(int(threads))
    config = transformers.AutoConfig.from_pretrained(export, trust_remote_code=True)
    for name, reference in config.auto_map.items():
        if not hasattr(transformers, name):
            raise ValueError(f"transformers has no {name}")
        get_class_from_dynamic_module(reference, export)
    model = getattr(transformers, auto_class).from_pretrained(export, trust_remote_code=True, dtype="auto")
    found = answers(model, load_file(inputs))
    if (Path(export) / "tokenizer.json").exists():
        tokenizer = transformers.AutoTokenizer.from_pretrained(export, trust_remote_code=False)
        found["tokens"] = torch.tensor(tokenizer(SENTENCE)["input_ids"])
    save_file(found, outputs)


if __name__ == "__main__":
    main(*sys.argv[1:])
