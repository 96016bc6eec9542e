"""A saved model on disk, with its tokenizer."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from leanformer.records.reading import Record
from leanformer.reporting.records.record_files import read_record

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Model:
    """The model in the folder `path`, such as one that `convert` has made.

    `record` is the content of its conversion.json, which says what the conversion changed; empty for other models.
    """

    def __init__(self, path: str | Path, record: dict[str, Any] | None = None) -> None:
        self.path, self._record = Path(path), record
        if not self.path.is_dir():
            raise FileNotFoundError(f"{self.path}: no such directory: check the path")

    @property
    def record(self) -> dict[str, Any]:
        file = self.path / "conversion.json"
        if self._record is not None:
            return self._record
        return read_record(file, Record) if file.is_file() else {}

    def model(self) -> "PreTrainedModel":
        """Returns the model with the head it was saved with, in evaluation mode, on a GPU if there is one."""
        from leanformer.evaluation.pretrained import load_as_saved
        from leanformer.models.saved import locate

        return load_as_saved(locate(self.path))

    def tokenizer(self) -> "PreTrainedTokenizerBase":
        from leanformer.evaluation.pretrained import load_tokenizer
        from leanformer.models.saved import locate

        return load_tokenizer(locate(self.path))

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"
