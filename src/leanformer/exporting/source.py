"""What is taken along: a model as it was saved, its tokenizer, the record of the run it comes from, and the parts that
make a sentence-transformers model of it."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

import leanformer.models as models
from leanformer.attention import plugins_of
from leanformer.data import tokenizer_files
from leanformer.evaluation import pretrained
from leanformer.evaluation.sentence_reading import follow_parts
from leanformer.models import LeanformerConfig, LeanformerPreTrainedModel, saved
from leanformer.models.sentence_parts import SentenceParts, sentence_parts
from leanformer.records import reading
from leanformer.records.models import Conversion


class Source(NamedTuple):
    run: Path
    model: LeanformerPreTrainedModel
    tokenizer: PreTrainedTokenizerBase | None
    record: dict[str, Any] | None
    """run.json, where the model is a run's."""
    conversion: dict[str, Any] | None = None
    """conversion.json, where `leanformer convert` made the model."""
    parts: SentenceParts | None = None
    """What makes a sentence-transformers model of it."""

    @property
    def config(self) -> LeanformerConfig:
        return self.model.config

    @property
    def mechanisms(self) -> list[str]:
        """Of the attention slots that the model has."""
        config = self.config
        encodes = not isinstance(self.model, models.LeanformerDecoder | models.LeanformerForCausalLM)
        slots = [config.attention] if encodes else []
        slots += [config.decoder_self_attention()[0]] if config.is_encoder_decoder or not encodes else []
        slots += [config.cross_attention] if config.is_encoder_decoder else []
        return list(dict.fromkeys(slots))

    @property
    def plugins(self) -> list[Path]:
        """Those that any name in the config comes from: it is checked whole, whatever the model needs."""
        config = self.config
        names = (config.attention, config.decoder_attention, config.cross_attention, config.mixer, config.block)
        return list(dict.fromkeys(file for name in names if name for file in plugins_of(name)))


def open_source(run: Path) -> Source:
    """Of a run directory, or of a folder that save_pretrained wrote. ValueError for a class that is not leanformer's,
    and for weights that are missing or no safetensors."""
    folder = saved.locate(run)
    config = saved.config_of(folder)
    tokenizer = pretrained.load_tokenizer(folder) if (folder / tokenizer_files.FILE).is_file() else None
    model, record, parts = _load(folder, config), saved.record_of(folder), sentence_parts(folder)
    if parts is not None and tokenizer is not None:  # what loads the tokenizer alone then reads texts alike
        follow_parts(parts, tokenizer)
    return Source(run, model, tokenizer, record, _conversion(folder), parts)


def save_beside(source: Source, folder: Path) -> None:
    """Write the parts and the tokenizer into the folder of the exported model, which has its config.json."""
    if source.parts is not None:
        source.parts.copy(folder, source.config.max_position_embeddings)
    if source.tokenizer is not None:
        tokenizer_files.save(source.tokenizer, folder)
        if source.parts is not None and source.parts.lower_case:
            tokenizer_files.keep_pipeline(source.tokenizer, folder)
        tokenizer_files.match_model(folder)


def _conversion(folder: Path) -> dict[str, Any] | None:
    path = folder / saved.CONVERSION
    if not path.is_file():
        return None
    return reading.read(path, Conversion, "convert the model again, or take the file away")


def sample(config: LeanformerConfig, model: LeanformerPreTrainedModel, size: int, length: int) -> dict[str, Tensor]:
    """Random inputs (size, length), the same ones every time; the last third of every second row is padding. Where the
    model chooses, each is read with two choices: (size, 2, length)."""
    if isinstance(model, models.LeanformerForMultipleChoice):
        size *= 2
    draw = torch.Generator().manual_seed(size * 10_007 + length)
    mask = torch.ones(size, length, dtype=torch.long)
    mask[1::2, length - length // 3 :] = 0
    inputs = {
        "input_ids": torch.randint(config.vocab_size, (size, length), generator=draw),
        "attention_mask": mask,
    }
    decodes = isinstance(model, models.LeanformerDecoder | models.LeanformerForCausalLM)
    if config.type_vocab_size > 1 and not decodes:
        inputs["token_type_ids"] = torch.randint(config.type_vocab_size, (size, length), generator=draw)
    if isinstance(model, models.LeanformerForConditionalGeneration):
        inputs["decoder_input_ids"] = torch.randint(config.vocab_size, (size, max(1, length // 2)), generator=draw)
    if isinstance(model, models.LeanformerForMultipleChoice):
        return {name: x.unflatten(0, (-1, 2)) for name, x in inputs.items()}
    return inputs


def _load(folder: Path, config: LeanformerConfig) -> LeanformerPreTrainedModel:
    model: Any
    model, missing = saved.load_weights(saved.class_of(folder, config), folder, config, dtype="auto")
    if missing and all(key.startswith("pooler.") for key in missing):
        model.pooler, missing = None, []
    if missing:
        raise ValueError(f"{folder} holds no values for {missing[0]}: save the whole model again")
    return model.eval()
