"""The predictions of a model, in the order of the texts."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    from pandas import DataFrame

SHOWN = 20
"""The rows that a notebook shows."""


class Predictions(Sequence[dict[str, Any]]):
    """One dictionary per text: its columns, and the answer of the model.

    Classification gives `label` (several labels: `labels`) and `probabilities`, regression `prediction`, tokens
    `entities` or `words` and `tags`, a question `answer` and `score`, a masked language model `masks` and `filled`.
    """

    def __init__(self, rows: Sequence[dict[str, Any]]) -> None:
        self._rows = list(rows)

    @property
    def frame(self) -> "DataFrame":
        """The predictions as a table; every probability has a column of its own, probability[LABEL]."""
        from pandas import DataFrame

        return DataFrame([_flat(row) for row in self._rows])

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, index: slice) -> "Predictions": ...

    def __getitem__(self, index: int | slice) -> "dict[str, Any] | Predictions":
        return Predictions(self._rows[index]) if isinstance(index, slice) else self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._rows)

    def __repr__(self) -> str:
        first = f", the first {self._rows[0]!r}" if self._rows else ""
        return f"Predictions: {len(self):,}{first}"

    def _repr_html_(self) -> str:
        more = f"<p>{len(self):,} in all</p>" if len(self) > SHOWN else ""
        return f"{self[:SHOWN].frame.to_html(index=False)}{more}"


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    flat = {key: value for key, value in row.items() if key != "probabilities"}
    probabilities = row.get("probabilities") or {}
    return flat | {f"probability[{label}]": value for label, value in probabilities.items()}
