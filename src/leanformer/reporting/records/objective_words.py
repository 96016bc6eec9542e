"""The words of a report that differ between masked, causal and encoder-decoder models."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Wording:
    model: str
    """The model, with its article."""
    shared: str
    """What the runs of one seed share besides initial values."""
    validation: str
    """The data on which the loss is measured."""
    floor: str
    """What the predictor of the no-context baseline sees."""
    perplexity: bool
    """Whether the field uses exp(loss)."""
    task: str = "fine-tuning"
    """The name of one run of a task and of several."""
    tasks: str = "fine-tunings"
    section: str = "Fine-tuning"
    tuned: str = "fine-tuned"
    """The word for a model that a task scores."""
    scored: str = "on the validation data at the end of fine-tuning"


MASKED_LM = Wording(
    model="a masked language model",
    shared="the order of the data, the masks",
    validation="on frozen masks",
    floor="sees only the corrupted token itself",
    perplexity=False,
)
CAUSAL_LM = Wording(
    model="a causal language model",
    shared="the order of the data",
    validation="on held-out text",
    floor="uses the frequencies of tokens, and sees no earlier token",
    perplexity=True,
)
SEQ2SEQ = Wording(
    model="an encoder-decoder model",
    shared="the order of the data",
    validation="on the targets of held-out pairs",
    floor="uses the frequencies of target tokens, and sees neither the source nor the earlier target tokens",
    perplexity=True,
    task="scoring",
    tasks="scorings",
    section="Generation",
    tuned="by what it writes",
    scored="by what a model writes for the test split (beam search), against the references",
)
WORDINGS = {"masked_lm": MASKED_LM, "causal_lm": CAUSAL_LM, "seq2seq": SEQ2SEQ}
