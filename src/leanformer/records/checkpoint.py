"""state.json of a checkpoint."""

from typing import Annotated, Any

from pydantic import Field

from leanformer.records.reading import Count, Record

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class State(Record):
    step: Count
    seconds: Seconds
    idle_seconds: Seconds
    loss: Annotated[float, Field(allow_inf_nan=False)]
    targets: Count
    curve_bytes: Count
    curve_sha256: str | None = None
    joules: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    energy_source: str = ""
    identity: dict[str, Any] | None = None
