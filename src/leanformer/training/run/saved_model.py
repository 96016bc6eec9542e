"""A model in a folder, of a run (RUN/model) or of save_pretrained: found, told by its hash, and read.

What a run starts from, and who teaches it, are such models.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from transformers.utils import logging

import leanformer.models as models
from leanformer import files
from leanformer.data import tokenizer_files
from leanformer.data.corpus import Prepared
from leanformer.models import LeanformerPreTrainedModel
from leanformer.models.config import LeanformerConfig
from leanformer.models.initialisation import initialise
from leanformer.records import reading
from leanformer.records.models import Config, WeightIndex
from leanformer.spelling import suggest
from leanformer.training.run.record import RunDirectory

M = TypeVar("M", bound=LeanformerPreTrainedModel)

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
BLOCK = ".layers."
CONVERSION = "conversion.json"
"""In the folder of a model that was converted: from what, and what that cost."""
CODE = ("auto_map", "_attn_implementation", "attn_implementation")
"""Keys of config.json that may name code: an export's, which would not be copied with the model, and kernels of the
hub, which are never fetched."""
CHANGEABLE = ("hidden_dropout_prob", "attention_probs_dropout_prob", "residual_in_fp32")
"""Settings of a saved model that its weights do not depend on."""


@dataclass(frozen=True)
class SavedModel:
    folder: Path
    config: LeanformerConfig
    sha256: str
    """Of the weights."""

    @classmethod
    def open(cls, place: str | Path, data: Prepared) -> Self:
        """The model of this run or folder; ValueError unless `data` are in its tokens."""
        folder = locate(Path(place))
        config, sha256 = config_of(folder), weights_hash(folder)
        _require_tokenizer(folder, data)
        return cls(folder, config, sha256)

    def changed(self, settings: Mapping[str, Any]) -> LeanformerConfig:
        """Its config with what [model] of the settings changes: ValueError for what the weights depend on."""
        fixed = {f.name for f in fields(LeanformerConfig)} - set(CHANGEABLE)
        for key in settings.keys() & fixed:
            if settings[key] != getattr(self.config, key):
                raise ValueError(
                    f"model.{key} = {settings[key]!r}: the model in {self.folder} has {getattr(self.config, key)!r}; "
                    f"leave it out, only {', '.join(CHANGEABLE)} may change"
                )
        LeanformerConfig.from_settings({key: value for key, value in settings.items() if key not in fixed})  # checked
        return LeanformerConfig.from_dict(self.config.to_dict() | dict(settings))

    def load(self, kind: type[M], config: LeanformerConfig | None = None, head: int | None = None) -> M:
        """ValueError for a saved model of other stacks than this class has, and if the file lacks a weight of it; a
        head that is missing whole starts from the seed `head`, if one is given."""
        saved = class_of(self.folder, self.config) if self.config.architectures else kind
        if _stacks(saved) != _stacks(kind):
            raise ValueError(
                f"{self.folder} holds a {saved.__name__}, which cannot become a {kind.__name__}: give another model, "
                "or the training.objective it was made for"
            )
        model, missing = load_weights(kind, self.folder, config or self.config)
        if head is not None and all(key.startswith("head.") for key in missing):
            if missing:
                initialise(model, head, only="head.")
        elif missing:
            raise ValueError(f"{self.folder} holds no {kind.__name__}, {missing[0]} is missing: give another model")
        return model

    @property
    def record(self) -> dict[str, str]:
        return {"path": str(self.folder.resolve()), "sha256": self.sha256}


def locate(run: Path) -> Path:
    """The folder with the model's config.json, whose files are as they were saved; FileNotFoundError says what is there
    instead."""
    for folder in (run / "model", run):
        if (folder / "config.json").is_file():
            require_intact(folder)
            return folder
    if (run / "run.json").is_file():
        if RunDirectory(run).read().get("model_discarded"):
            raise FileNotFoundError(f"the model of {run} was discarded (--discard-models): train it again elsewhere")
        raise FileNotFoundError(
            f"{run / 'model'} is missing, its run is not finished: run leanformer pretrain --resume"
        )
    raise FileNotFoundError(f"{run} is neither a run directory nor a model saved by save_pretrained: check the path")


def require_intact(folder: Path) -> None:
    """ValueError if a file of a saved model is not what its SHA256SUMS, or the record of its run, says. A model without
    either, such as one that transformers saved, is taken as it is."""
    directory = RunDirectory(folder.parent)
    of_run = folder == directory.model and directory.record.is_file()
    recorded = (directory.read().get("model") or {}) if of_run else {}
    own = f"restore it; a model that was changed on purpose belongs elsewhere: copy {folder}, without {files.SUMS}"
    remedy = own if recorded else f"restore it; if it was changed on purpose, remove {files.SUMS}"
    sums = folder / files.SUMS
    if sums.is_file():
        files.check_sums(folder, remedy, whole=False)
    if not recorded:
        return
    weights = folder / WEIGHTS
    found = files.read_sums(folder, remedy).get(WEIGHTS) if sums.is_file() else None
    if weights.is_file() and (found or files.sha256(weights)) != recorded["sha256"]:
        raise ValueError(f"{weights} is not the model that {directory.record} says was trained: {remedy}")
    if (told := recorded.get("sums_sha256")) and (not sums.is_file() or files.sha256(sums) != told):
        raise ValueError(f"{sums} is not what {directory.record} says was written: {remedy}")


def name_of(place: str | Path) -> str:
    """Of a run or a folder: what its path says of a model, and nothing of a machine."""
    whole = Path(place).resolve()
    return whole.parent.name if whole.name == "model" else whole.name


def weights_hash(folder: Path) -> str:
    """sha256 of the weights: which model this is, wherever it lies."""
    require_safetensors(folder)
    if (folder / files.SUMS).is_file() and WEIGHTS in (sums := files.read_sums(folder, "save the model again")):
        require_intact(folder)  # reads it, unless this process has
        return sums[WEIGHTS]
    path = folder / WEIGHTS
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: save the model again, in one file (max_shard_size)")
    return files.sha256(path)


def config_of(folder: Path) -> LeanformerConfig:
    path = folder / "config.json"
    values = reading.read(path, Config, "save the model again")
    kind = values.get("model_type")
    if kind != LeanformerConfig.model_type:
        families = ("bert", "roberta", "distilbert", "electra", "convbert")
        remedy = "turn it into one with leanformer convert" if kind in families else "give a leanformer model"
        raise ValueError(f"{path} describes a model of type {kind!r}, not leanformer: {remedy}")
    for key in CODE:
        values.pop(key, None)
    try:
        return LeanformerConfig.from_dict(values)
    except Exception as error:  # ValueError from us, others of its own from huggingface_hub
        raise ValueError(f"{path}: {' '.join(str(error.__cause__ or error).split())}") from None


def class_of(folder: Path, config: LeanformerConfig) -> type[LeanformerPreTrainedModel]:
    """The class that the model was saved as."""
    name = (config.architectures or ["no class"])[0]
    known = [each for each in models.__all__ if each not in ("LeanformerConfig", "LeanformerPreTrainedModel")]
    if name not in known:
        raise ValueError(f"{folder / 'config.json'}: architectures names {name!r}; {suggest(name, known)}")
    return getattr(models, name)


def _stacks(kind: type[LeanformerPreTrainedModel]) -> str:
    """encoder, decoder or both"""
    return "both" if issubclass(kind, models.LeanformerForConditionalGeneration) else kind.base_model_prefix


def load_weights(
    kind: type[M], folder: Path, config: LeanformerConfig, new: tuple[str, ...] = (), dtype: Any = torch.float32
) -> tuple[M, list[str]]:
    """The model in `dtype` ("auto": that of the file), and the weights that it has and the file has not: those that
    start with `new` may also differ in shape. Only safetensors are read, never a pickle."""
    require_safetensors(folder)
    _require_shapes(kind, folder, config, new)
    try:
        with quiet():
            loaded: Any = kind.from_pretrained(
                folder,
                config=config,
                dtype=dtype,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                use_safetensors=True,
                trust_remote_code=False,
            )
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(f"the weights in {folder} cannot be read ({reason}): save the model again") from None
    model, info = loaded
    mismatched = [key for key, *_ in info["mismatched_keys"]]
    return model, sorted([*info["missing_keys"], *mismatched])


def _require_shapes(kind: type[M], folder: Path, config: LeanformerConfig, new: tuple[str, ...]) -> None:
    """ValueError if config.json says other layers or shapes than the weights have. Before anything is made: whoever
    reads a damaged config.json would allocate what it says."""
    damaged = f"{folder}: {{}} does not have the shape config.json says: save the model again"
    shapes = weight_shapes(folder)
    for key in ("num_hidden_layers", "num_decoder_layers"):
        if (getattr(config, key) or 0) > len(shapes):
            raise ValueError(f"{folder}: config.json says {key} = {getattr(config, key)}, more than there are weights")
    with torch.device("meta"):
        model = kind(config)
    prefix = f"{model.base_model_prefix}."
    for key, tensor in model.state_dict().items():
        names = (key, prefix + key, key.removeprefix(prefix))
        found = next((shapes[name] for name in names if name in shapes), None)
        if found is None:
            if BLOCK in key and key not in model.all_tied_weights_keys:
                raise ValueError(f"{folder} lacks weights of its encoder, {key} is missing: save the model again")
        elif found != tuple(tensor.shape) and not key.startswith(new):
            raise ValueError(damaged.format(key))


def weight_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """{name: shape} of the weights, read from the heads of the files."""
    shapes: dict[str, tuple[int, ...]] = {}
    for path in weight_files(folder):
        try:
            with safe_open(path, "pt") as file:
                shapes |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{path} is damaged ({error}): save the model again") from None
    return shapes


def weight_files(folder: Path) -> list[Path]:
    """The one that holds all weights, or the several that the index lists."""
    if not (folder / INDEX).is_file():
        return [folder / WEIGHTS]
    index = reading.read(folder / INDEX, WeightIndex, "save the model again")
    return [files.within(folder, name) for name in sorted(set(index["weight_map"].values()))]


def require_safetensors(folder: Path) -> None:
    """ValueError or FileNotFoundError that says what is there instead."""
    if any(folder.glob("*.safetensors")):
        return
    if pickles := sorted(folder.glob("*.bin")):
        raise ValueError(
            f"{pickles[0]} is a pickle, which may run code when read: if you trust it, load it with transformers "
            "and save_pretrained it, which writes safetensors"
        )
    if (folder / "model.onnx").is_file():
        raise ValueError(
            f"{folder} holds a graph for onnxruntime: run that as its README.md shows, or give the model "
            "it was made of, or its export of --format hub"
        )
    raise FileNotFoundError(f"{folder / WEIGHTS} is missing: the directory holds no weights that can be read")


@contextmanager
def quiet() -> Iterator[None]:
    """transformers prints nothing: neither bars nor what a new head lacks, which is expected here, and checked."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _require_tokenizer(folder: Path, data: Prepared) -> None:
    own, given = folder / tokenizer_files.FILE, data.path / tokenizer_files.FILE
    if not own.is_file():
        raise FileNotFoundError(f"{own} is missing, so {data.path} may be in other tokens: copy the model's there")
    if files.sha256(own) == files.sha256(given):
        return
    vocabularies = [tokenizer_files.load(place).get_vocab() for place in (folder, data.path)]
    if vocabularies[0] != vocabularies[1]:
        raise ValueError(
            f"{data.path} was prepared with another tokenizer than {folder}: leanformer prepare --tokenizer {own}"
        )
