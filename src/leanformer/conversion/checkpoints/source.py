"""Where a checkpoint lies: a directory, or a name on the Hugging Face hub, of which safetensors alone are fetched."""

import re
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

from leanformer.conversion.checkpoints.tokenizer import TOKENIZER
from leanformer.models.saved import INDEX, require_intact
from leanformer.models.sentence_parts import FILES as PARTS

FILES = ["config.json", "model*.safetensors", INDEX, *TOKENIZER, *PARTS]
"""Never a pickle, and never code."""


def fetch(source: str | Path) -> Path:
    """The directory of the checkpoint, whose files are as they were saved: `source` itself, its folder `model` if it is
    a run, or the copy of `hf:NAME`, or of NAME where no such directory exists. OSError if the hub cannot be reached,
    ValueError if it has no such model."""
    folder = _folder(source)
    require_intact(folder)
    return folder


def _folder(source: str | Path) -> Path:
    path, name = Path(source), str(source).removeprefix("hf:")
    if path.exists():
        return path / "model" if (path / "model" / "config.json").is_file() else path
    if not str(source).startswith("hf:") and not re.fullmatch(r"\w[\w.-]*(/[\w.-]+)?", name):
        raise FileNotFoundError(f"{path / 'config.json'} is missing: give the directory of a saved model, or hf:NAME")
    try:
        return Path(snapshot_download(name, allow_patterns=FILES))
    except GatedRepoError:
        raise ValueError(f"{name} on the hub is gated: accept its terms there, and log in with hf auth login") from None
    except (RepositoryNotFoundError, HFValidationError):
        raise ValueError(f"{source}: no such directory here, and no such model on the hub: check the name") from None
    except Exception as error:  # httpx, huggingface_hub and the operating system each have their own
        raise OSError(
            f"{source}: no such directory, and the hub does not answer: convert a local copy "
            f"(hf download {name} --local-dir DIR), or one in its cache (HF_HUB_OFFLINE=1)"
        ) from error
