"""A saved model in a folder, that of a run (RUN/model) or one of save_pretrained: found, checked and read.

    config.json          what the model is, and the class it was saved as
    model.safetensors    its weights, or several files that model.safetensors.index.json lists; a pickle is never read
    SHA256SUMS           where leanformer wrote the folder, the sums of its files
    ../run.json          of a run's model, the record of the run, which says what was trained

Its tokenizer is `data.tokenizer_files`' to read.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from transformers.configuration_utils import PreTrainedConfig
from transformers.utils import logging

import leanformer.models as models
from leanformer import files
from leanformer.models import LeanformerPreTrainedModel
from leanformer.models.config import LeanformerConfig
from leanformer.models.layer_sharing import layer_sharing
from leanformer.records import reading
from leanformer.records.models import Config, WeightIndex
from leanformer.records.run import RECORD, Run
from leanformer.spelling import suggest

M = TypeVar("M", bound=LeanformerPreTrainedModel)
C = TypeVar("C", bound=PreTrainedConfig)

MODEL = "model"
"""The folder of a run's model, beside its record."""
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
BLOCK = ".layers."
CONVERSION = "conversion.json"
"""The file in a converted model's folder that records its source and what the conversion cost."""
CODE = ("auto_map", "_attn_implementation", "attn_implementation")
"""Keys of config.json that may name code: an export's, which would not be copied with the model, and kernels of the
hub, which are never fetched."""
CONVERTED = (
    *("bert", "roberta", "xlm-roberta", "camembert", "distilbert", "electra", "convbert", "albert", "mpnet"),
    "modernbert",
)
"""The `model_type` of the families that `leanformer convert` reads."""
LAYERS = ("num_hidden_layers", "num_decoder_layers", "n_layers")
SAVE_AGAIN = "save the model again"


def locate(run: Path) -> Path:
    """The folder with the model's config.json, whose files are as they were saved; FileNotFoundError says what is there
    instead."""
    for folder in (run / MODEL, run):
        if (folder / "config.json").is_file():
            require_intact(folder)
            return folder
    if (record := record_of(run / MODEL)) is not None:
        if record.get("model_discarded"):
            raise FileNotFoundError(f"the model of {run} was discarded (--discard-models): train it again elsewhere")
        raise FileNotFoundError(f"{run / MODEL} is missing, its run is not finished: run leanformer pretrain --resume")
    raise FileNotFoundError(f"{run} is neither a run directory nor a model saved by save_pretrained: check the path")


def record_of(folder: Path) -> dict[str, Any] | None:
    """Returns run.json of the run whose model belongs in `folder`; None for a folder of another kind."""
    path = folder.parent / RECORD
    of_run = folder.name == MODEL and path.is_file()
    return reading.read(path, Run, "restore it, or choose another --out") if of_run else None


def require_intact(folder: Path) -> None:
    """Raises ValueError if a file of a saved model is not what its SHA256SUMS, or the record of its run, says. A model
    without either, such as one that transformers saved, is taken as it is."""
    record, recorded = folder.parent / RECORD, (record_of(folder) or {}).get("model") or {}
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
        raise ValueError(f"{weights} is not the model that {record} says was trained: {remedy}")
    if (expected := recorded.get("sums_sha256")) and (not sums.is_file() or files.sha256(sums) != expected):
        raise ValueError(f"{sums} is not what {record} says was written: {remedy}")


def name_of(place: str | Path) -> str:
    """Returns the part of a run's or folder's path that names the model, and nothing of the machine."""
    whole = Path(place).resolve()
    return whole.parent.name if whole.name == MODEL else whole.name


def weights_hash(folder: Path) -> str:
    """Returns the sha256 of the weights: which model this is, wherever it lies."""
    require_safetensors(folder)
    if (folder / files.SUMS).is_file() and WEIGHTS in (sums := files.read_sums(folder, SAVE_AGAIN)):
        require_intact(folder)  # reads it, unless this process has
        return sums[WEIGHTS]
    path = folder / WEIGHTS
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: save the model again, in one file (max_shard_size)")
    return files.sha256(path)


def config_of(folder: Path) -> LeanformerConfig:
    path = folder / "config.json"
    values = reading.read(path, Config, SAVE_AGAIN)
    kind = values.get("model_type")
    if kind != LeanformerConfig.model_type:
        remedy = "turn it into one with leanformer convert" if kind in CONVERTED else "give a leanformer model"
        raise ValueError(f"{path} describes a model of type {kind!r}, not leanformer: {remedy}")
    for key in CODE:
        values.pop(key, None)
    return read_as(LeanformerConfig, values, folder)


def read_as(of: type[C], settings: Mapping[str, Any], folder: Path) -> C:
    """The config that the settings of a config.json are; ValueError that names the wrong key."""
    try:
        return of.from_dict(dict(settings))
    except Exception as error:  # ValueError from us, others of its own from huggingface_hub and every family
        raise ValueError(f"{folder / 'config.json'}: {' '.join(str(error.__cause__ or error).split())}") from None


def class_of(folder: Path, config: LeanformerConfig) -> type[LeanformerPreTrainedModel]:
    """The class that the model was saved as."""
    name = (config.architectures or ["no class"])[0]
    known = [each for each in models.__all__ if each not in ("LeanformerConfig", "LeanformerPreTrainedModel")]
    if name not in known:
        raise ValueError(f"{folder / 'config.json'}: architectures names {name!r}; {suggest(name, known)}")
    return getattr(models, name)


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
        raise ValueError(f"the weights in {folder} cannot be read ({reason}): {SAVE_AGAIN}") from None
    model, info = loaded
    mismatched = [key for key, *_ in info["mismatched_keys"]]
    return model, sorted([*info["missing_keys"], *mismatched])


def _require_shapes(kind: type[M], folder: Path, config: LeanformerConfig, new: tuple[str, ...]) -> None:
    """Raises ValueError if config.json says other layers or shapes than the weights have. This is checked
    before anything is built, which would allocate what a damaged config.json says."""
    damaged = f"{folder}: {{}} does not have the shape config.json says: save the model again"
    shapes = weight_shapes(folder)
    require_layers(folder, config.to_dict(), len(shapes))
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


def require_layers(folder: Path, settings: Mapping[str, Any], weights: int) -> None:
    """Raises ValueError if config.json, the `settings`, says more layers than there are `weights`."""
    for key in LAYERS:
        layers = settings.get(key) or 0
        if layers > weights and isinstance(sharing := settings.get("layer_sharing"), str):
            layers = layer_sharing(sharing, layers).stored
        if layers > weights:
            raise ValueError(f"{folder}: config.json says {key} = {settings[key]}, more than there are weights")


def weight_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Returns {name: shape} of the weights, read from the heads of the files."""
    shapes: dict[str, tuple[int, ...]] = {}
    for path in weight_files(folder):
        try:
            with safe_open(path, "pt") as file:
                shapes |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{path} is damaged ({error}): {SAVE_AGAIN}") from None
    return shapes


def weight_files(folder: Path, remedy: str = SAVE_AGAIN) -> list[Path]:
    """The one that holds all weights, or the several that the index lists. ValueError or FileNotFoundError if there are
    no safetensors."""
    if not (folder / INDEX).is_file():
        require_safetensors(folder)
        return [folder / WEIGHTS]
    index = reading.read(folder / INDEX, WeightIndex, remedy)
    return [files.within(folder, name) for name in sorted(set(index["weight_map"].values()))]


def require_safetensors(folder: Path) -> None:
    """Raises ValueError or FileNotFoundError that says what is there instead."""
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
    """A context in which transformers prints nothing: neither bars nor what a new head lacks, which is expected here,
    and checked."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
