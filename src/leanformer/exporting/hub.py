"""An export for the Hugging Face hub: a flat folder that loads with trust_remote_code where leanformer is unknown.

    config.json         with `auto_map`: for each Auto class that suits the model, a class of modeling_leanformer.py
    model.safetensors   the weights, and nothing pickled beside them
    tokenizer*.json     if there is a tokenizer
    modules.json, ...   of a sentence-transformers model: its parts (`models/sentence_parts.py`)
    *.py                the models' code (see `flatten`), and LICENSE.leanformer, its licence
    README.md           the model card

transformers' register_for_auto_class would write the class that was saved into `auto_map`, and no other head could be
put on the encoder.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from leanformer.exporting import standalone_check
from leanformer.exporting.card import card
from leanformer.exporting.flatten import LICENCE, flat, flatten
from leanformer.exporting.source import Source, sample, save_beside
from leanformer.models import (
    LeanformerConfig,
    LeanformerDecoder,
    LeanformerForCausalLM,
    LeanformerForConditionalGeneration,
    LeanformerModel,
    LeanformerPreTrainedModel,
)
from leanformer.models.hub import CLASSES
from leanformer.models.saved import quiet

ENTRANCE = flat("leanformer.models")
TOLERANCE = 1e-6
"""Of every number of the output, absolute and relative: it is the same code on the same machine."""

SENTENCES = """```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("{name}", trust_remote_code=True)
vectors = model.encode(["A text.", "Another, longer text."])
```

gives one vector per text. The encoder and its tokenizer alone:

"""
USE = """```python
from transformers import {auto_class}, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{name}", trust_remote_code=False)
model = {auto_class}.from_pretrained("{name}", trust_remote_code=True)
```

`{name}` is this folder or its name on the hub. It needs torch and transformers 5.17 or newer, and not leanformer: the
code lies beside the weights, which is why transformers asks for `trust_remote_code=True`. The tokenizer has no code;
without `trust_remote_code=False` transformers asks all the same, since it reads config.json first. What the weights do
not hold starts at random when they are loaded as something else: {others}."""


def write(source: Source, folder: Path, name: str, licence: str | None = None) -> None:
    """All files into `folder`; `name` and `licence` are the card's."""
    source.config.auto_map = auto_map(source.model)
    files = flatten(source.plugins)
    # transformers copies equal code from folders of equal names once, and keeps one AutoModel a copy.
    files[f"{ENTRANCE}.py"] += f"\n# The model beside this file is a {type(source.model).__name__}.\n"
    for file, text in files.items():
        (folder / file).write_text(text, encoding="utf-8")
    shutil.copyfile(LICENCE, folder / "LICENSE.leanformer")
    with quiet():
        source.model.save_pretrained(folder)
    save_beside(source, folder)
    own = auto_class(source.model)
    others = ", ".join(f"`{other}`" for other in auto_classes(source.model) if other != own)
    use = (USE if source.parts is None else SENTENCES + USE).format(auto_class=own, name=name, others=others)
    (folder / "README.md").write_text(card(source, name, use, ["custom_code"], licence), encoding="utf-8")


def auto_classes(model: LeanformerPreTrainedModel) -> dict[str, type]:
    """Auto class -> ours. A decoder's and an encoder-decoder's weights fit no classifier; the latter's AutoModel is its
    encoder."""
    by_name = {auto.__name__: ours for auto, _, ours in CLASSES}
    if isinstance(model, LeanformerDecoder | LeanformerForCausalLM):
        return {"AutoModel": LeanformerDecoder, "AutoModelForCausalLM": LeanformerForCausalLM}
    if isinstance(model, LeanformerForConditionalGeneration):
        return {"AutoModel": LeanformerModel, "AutoModelForSeq2SeqLM": LeanformerForConditionalGeneration}
    writers = (LeanformerForCausalLM, LeanformerForConditionalGeneration)
    return {name: ours for name, ours in by_name.items() if ours not in writers}


def auto_class(model: LeanformerPreTrainedModel) -> str:
    """The Auto class that loads the model as what it is."""
    suitable = [name for name, ours in auto_classes(model).items() if ours is type(model)]
    return suitable[-1]  # AutoModelForPreTraining, which says less, comes before AutoModelForMaskedLM


def auto_map(model: LeanformerPreTrainedModel) -> dict[str, str]:
    """One file for all classes: transformers copies the code of each file named here to a place of its own."""
    named = {"AutoConfig": LeanformerConfig} | auto_classes(model)
    return {name: f"{ENTRANCE}.{ours.__name__}" for name, ours in named.items()}


def verify(source: Source, folder: Path) -> float:
    """The largest difference between what the model answers here and, read from `folder`, in a process that cannot
    import leanformer. ValueError if it exceeds the tolerance or the folder does not load there."""
    inputs = sample(source.config, source.model, 2, min(17, source.config.max_position_embeddings))
    expected = standalone_check.answers(source.model, inputs)
    found = _answers_of_export(source.model, folder, inputs)
    if source.tokenizer is not None:
        expected["tokens"] = torch.tensor(source.tokenizer(standalone_check.SENTENCE)["input_ids"])
    largest = 0.0
    for name, tensor in expected.items():
        if name not in found or found[name].shape != tensor.shape:
            raise ValueError(f"the export of {source.run} answers without {name}: nothing was written")
        largest = max(largest, float((found[name].double() - tensor.double()).abs().max()))
        if not torch.isclose(found[name], tensor, rtol=TOLERANCE, atol=TOLERANCE).all():
            raise ValueError(f"the export of {source.run} differs by {largest:.2g} in {name}: nothing was written")
    return largest


def _answers_of_export(
    model: LeanformerPreTrainedModel, folder: Path, inputs: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    with tempfile.TemporaryDirectory() as scratch:
        given, answered = Path(scratch) / "inputs.safetensors", Path(scratch) / "outputs.safetensors"
        save_file(inputs, given)
        threads = torch.get_num_threads()
        command = [sys.executable, "-I", standalone_check.__file__, folder, auto_class(model), threads, given, answered]
        own = {"HF_MODULES_CACHE": str(Path(scratch) / "modules"), "HF_HUB_OFFLINE": "1"}
        ran = subprocess.run([*map(str, command)], env=os.environ | own, capture_output=True, text=True)
        if ran.returncode:
            reason = (ran.stderr.strip().splitlines() or ["it was killed"])[-1]
            raise ValueError(f"the export does not load without leanformer ({reason}): nothing was written")
        return load_file(answered)
