"""From a student, a teacher and data to a run directory: the function behind `leanformer distill`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leanformer.attention import mechanism, mixer
from leanformer.conversion.attention.head_sharing import Pair, match_heads, tied_heads
from leanformer.data.corpus import Corpus, Prepared
from leanformer.distillation.gradual import require_alike
from leanformer.distillation.objective import Distillation
from leanformer.models import LeanformerConfig, LeanformerForMaskedLM
from leanformer.models.cost import ledger
from leanformer.models.layer_sharing import NONE
from leanformer.settings import DistillationSettings, Settings
from leanformer.training.objectives.table import require_length
from leanformer.training.pretrain import pretrain
from leanformer.training.run.saved_model import SavedModel

WORDS = LeanformerForMaskedLM.__name__


def distill(
    settings: Settings | None,
    data: str | Path | None,
    out: str | Path,
    *,
    teacher: str | Path,
    student: str | Path | None = None,
    resume: bool = False,
    quiet: bool = False,
    plugin: str | Path | None = None,
) -> dict[str, Any]:
    """Train `student`, a run or saved model, by `teacher` into the run directory `out`; returns its run.json.

    Without a student [model] of the settings describes a fresh one. All else is `pretrain`'s, validation included.
    """
    teaches = Distilling(Path(teacher), None if student is None else Path(student))
    return pretrain(settings, data, out, init=student, teacher=teaches, resume=resume, quiet=quiet, plugin=plugin)


@dataclass(frozen=True)
class Distilling:
    """A teacher for `pretrain`."""

    place: Path
    student: Path | None

    @property
    def command(self) -> list[str]:
        return ["distill", str(self.student or "CONFIG.toml"), "--teacher", str(self.place)]

    def build_objective(
        self, data: Prepared, settings: Settings, student: LeanformerConfig, world: int
    ) -> tuple[Distillation, dict[str, Any]]:
        training, saved = settings.training, SavedModel.open(self.place, data)
        if not isinstance(data, Corpus) or training.objective != "masked_lm":
            raise ValueError(f"training.objective = {training.objective!r}: a teacher teaches masked_lm")
        if training.compile:
            raise ValueError("training.compile: what a teacher watches by hooks is not compiled; leave it out")
        require_length(saved.config, training.sequence_length)
        require_fit(saved.config, student, settings.distillation)
        if training.document_mask and not mechanism(saved.config.attention).cross:
            raise ValueError(f"training.document_mask: the teacher's {saved.config.attention} cannot keep to it")
        if training.document_mask and not mixer(saved.config.mixer).any_mask:
            raise ValueError(f"training.document_mask: the teacher's mixer {saved.config.mixer} cannot keep to it")
        # Relations are the encoder's alone: a head that was left behind is not asked.
        head = None if asks_words(settings.distillation) else training.seed
        model = saved.load(LeanformerForMaskedLM, head=head)
        pairs = self.pairs(data, settings.distillation.share_heads)
        objective = Distillation(data, training, settings.distillation, model, world, pairs)
        cost = ledger(saved.config, training.sequence_length, objective.scored)
        return objective, saved.record | {
            "attention": saved.config.attention,
            "attention_options": saved.config.attention_options,
            "parameters": cost["parameters"]["total"],
            "forward_flops_per_token": cost["flops_per_token"]["forward"],
        }

    def pairs(self, data: Corpus, rho: float) -> list[Pair]:
        """Heads to be drawn together: those that are most alike in what the student starts from."""
        if not rho:
            return []
        if self.student is None:
            raise ValueError(
                f"distillation.share_heads = {rho}: heads of a fresh student are like nothing; leave it out"
            )
        start = SavedModel.open(self.student, data)
        if start.config.layer_sharing != NONE:
            raise ValueError(
                f"distillation.share_heads = {rho}: the student's layers share (layer_sharing = "
                f"{start.config.layer_sharing!r}); leave it out"
            )
        number = tied_heads(start.config, rho)
        if not number:
            raise ValueError(f"distillation.share_heads = {rho} is less than one head: raise it, or leave it out")
        model = start.load(LeanformerForMaskedLM, head=0)  # its words are not asked: any seed
        return match_heads(model)[:number]


def asks_words(settings: DistillationSettings) -> bool:
    """Whether the teacher's masked-LM head is asked."""
    return settings.method == "logits" and settings.masked_lm_weight < 1


def require_fit(teacher: LeanformerConfig, student: LeanformerConfig, settings: DistillationSettings) -> None:
    """ValueError that names the setting in which one is not made for the other."""
    for whose, config in (("teacher", teacher), ("student", student)):
        number, depth = getattr(settings, f"{whose}_layer"), config.num_hidden_layers
        if number is not None and number > depth:
            raise ValueError(f"distillation.{whose}_layer = {number}: the {whose} has {depth} layers")
        if number is not None and config.layer_sharing != "none":
            raise ValueError(
                f"distillation.{whose}_layer = {number}: the {whose}'s layers share (layer_sharing = "
                f"{config.layer_sharing!r}), and one cannot be watched by itself: leave it out, which takes the last"
            )
    if settings.anneal:
        require_alike(teacher, student)
    if settings.masked_lm_weight == 1:
        return
    if settings.method == "logits" and (found := (teacher.architectures or [WORDS])[0]) != WORDS:
        raise ValueError(
            f"distillation.method = 'logits': the teacher is a {found}, which scores no words; choose minilm2"
        )
    if settings.method == "logits" and teacher.vocab_size != student.vocab_size:
        raise ValueError(
            f"distillation.method = 'logits': the teacher scores {teacher.vocab_size} words, the student "
            f"{student.vocab_size}; give both one vocabulary, or choose minilm2"
        )
    for whose, config in (("teacher", teacher), ("student", student)):
        if settings.method != "logits" and not mixer(config.mixer).keeps_places:
            raise ValueError(
                f"distillation.method = {settings.method!r}: the {whose}'s mixer {config.mixer!r} has no heads that "
                "compare tokens, and so no relations of tokens; choose logits"
            )
        if settings.method != "logits" and config.layer_sharing.startswith("kv:"):
            raise ValueError(
                f"distillation.method = {settings.method!r}: the {whose}'s last layer may read the keys and values of "
                f"another (layer_sharing = {config.layer_sharing!r}); choose logits"
            )
    heads, own = (config.attention_shape().num_heads for config in (teacher, student))
    if settings.method == "minilm" and heads != own:
        raise ValueError(
            f"distillation.method = 'minilm' compares head with head: the teacher has {heads}, the student {own}; "
            "choose minilm2"
        )
    if settings.method == "minilm2":
        heads = settings.relation_heads or heads
        for whose, config in (("teacher", teacher), ("student", student)):
            if (width := config.attention_shape().inner_size) % heads:
                raise ValueError(
                    f"distillation.relation_heads = {heads} does not divide the {whose}'s width of {width}: give a "
                    "number that divides both models' widths"
                )
