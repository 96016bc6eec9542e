"""run.json, curve.jsonl and predictions.jsonl.

`Run` is what any reader may rely on, `Pretraining` what continues a run needs.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from leanformer.records.data import FileName
from leanformer.records.reading import Count, Number, Record

RECORD, CURVE = "run.json", "curve.jsonl"
SUMMARY = "summary.json"
"""The record of fine-tunings with several seeds, which lie in folders beside it."""
Status = Literal["running", "stopped", "failed", "finished"]


class Weights(Record):
    """A model, a plug-in or a teacher by the sha256 of its file."""

    path: str
    sha256: str


class Flops(Record):
    forward: Number | None = None
    training: Number | None = None


class Parameters(Record):
    total: Number | None = None


class Ledger(Record):
    parameters: Parameters | None = None
    flops_per_token: Flops | None = None


class Floor(Record):
    context_free: Number | None = None
    unigram: Number | None = None


class HeldOutScore(Record):
    """The loss of a finished run on a held-out part; `sha256` is of its losses, sequence by sequence."""

    loss: Number
    targets: Count
    sequences: Count
    draws: Count
    whole: bool
    context_free: Number | None = None
    unigram: Number | None = None
    sha256: str


class Results(Record):
    final_loss: Number | None = None
    best_loss: Number | None = None
    tokens: Number | None = None
    steps: Number | None = None
    seconds: Number | None = None
    tokens_per_second: Number | None = None
    mfu: Number | None = None
    share_of_peak: Number | None = None  # the name of `mfu` in records of version 0.1
    energy_joules: Number | None = None
    score: Number | None = None
    chance: Number | None = None
    scores: dict[FileName, HeldOutScore] | None = None
    validations: list[Annotated[list[Number], Field(min_length=2, max_length=2)]] | None = None
    metrics: dict[str, Any] | None = None


class ScorePoint(Record):
    """The scores of a run at the first step that reached `score_at` tokens; `folder`, in the run's, holds the files."""

    score_at: Count
    step: Count
    tokens: Count
    folder: Annotated[str, Field(pattern=r"^scores(/step-\d{8,})?$")]
    scores: dict[FileName, HeldOutScore]


class Data(Record):
    notes: list[str] = []
    examples: dict[str, Count] | Count | None = None


class Hardware(Record):
    """The machine that a run was on."""


class Run(Record):
    kind: str | None = None
    status: str | None = None
    attention: str | None = None
    attention_options: dict[str, Any] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**64)] | None = None
    task: str | None = None
    settings: dict[str, Any] | None = None
    versions: dict[str, Any] | None = None
    hardware: Hardware | None = None
    ledger: Ledger | None = None
    floor: Floor | None = None
    data: Data | None = None
    results: Results | None = None
    scores_at: list[ScorePoint] | None = None
    model: Weights | None = None
    model_discarded: bool = False


class Score(Results):
    score: Number
    collapsed: bool


class Scored(Run):
    """The record of a fine-tuning: a finished one has a score."""

    results: Score | None = None


class WholeFlops(Flops):
    training: Number


class WholeParameters(Parameters):
    total: Count


class WholeLedger(Ledger):
    parameters: WholeParameters
    flops_per_token: WholeFlops


class KnownHardware(Hardware):
    precision: str


class Leg(Record):
    """A part of a run: where a resume went on."""

    versions: dict[str, Any]
    hardware: Hardware


class Source(Data):
    path: str
    hash: str
    tokenizer_hash: str


class Pretraining(Run):
    schema_: Literal[1] = Field(alias="schema")
    status: Status
    settings: dict[str, dict[str, Any]]
    start: Weights | None = None
    teacher: Weights | None = None
    plugin: Weights | None
    versions: dict[str, Any]
    attention: str
    hardware: KnownHardware
    ledger: WholeLedger
    data: Source
    resumed: list[Leg] = []
    extended: list[dict[str, Any]] = []


class CurveLine(Record):
    step: Count | None = None
    tokens: Number | None = None
    seconds: Number | None = None
    loss: Number | None = None
    validation_loss: Number | None = None


class Line(Record):
    """A line of a file without fixed fields, such as predictions.jsonl."""
