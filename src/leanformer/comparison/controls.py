"""What an arm tells by differing from its mechanism as published: one line an arm, for the plan and the report.

A control changes one thing that came along with a mechanism, so that a difference can be laid to the other.
"""

from leanformer.attention import PROJECTIONS
from leanformer.comparison.variants import Variant

OPTIONS = {
    "logits_init=unscaled": "logits start sqrt(head size) times as large, as N(0, 1) coefficients start them: is a "
    "lead the initial scale's?",
    "scaled=false": "logits are not divided by sqrt(head size), at the start or later: is a lead that of larger "
    "logits?",
    "key_init=query": "the key's matrix starts equal to the query's and then parts from it: does tying help as a "
    "start, or as a constraint?",
    "coefficients_init=normal": "coefficients start from N(0, 1), as published: logits sqrt(head size) times as large",
    "coefficients_init=scaled_normal": "coefficients start from N(0, 1/head size): the published ones without their "
    "larger logits",
    "coefficients_init=identity": "coefficients start at the identity, and the arm as its symmetric form: what do "
    "random ones add?",
    "kv_heads": "fewer heads of keys and values than of queries: what do keys and values of each head's own add?",
    "scale_init=normal": "the diagonals start from N(0, 1), not at 1: does a sign a channel matter at the start?",
    "model.positions=rotary": "rotary positions: is an early lead the escape from the plateau that they give to all?",
    "model.positions=learned": "learned positions: does the result hold with BERT's own?",
}
"""What an option, or a value of it, controls for; of `projection` the class says so."""
MATCHES = {
    "parameters": "feed-forward layers of {inner}, so as many parameters as {other}: is a plain smaller model as good?",
    "width": "width {width}, feed-forward layers of {inner}, so as many parameters as {other}: is a plain narrower "
    "model as good?",
    "flops": "trained for as many FLOPs as {other}, not as many steps: what is the cheaper step worth?",
}


def control(variant: Variant) -> str | None:
    """What the arm's brackets control for, None where they hold no control; of an arm whose sizes are found already."""
    if "config=" in variant.definition:  # another recipe changes many things
        return None
    settings = variant.options | {f"model.{key}": value for key, value in variant.model.items()}
    known = OPTIONS | {f"projection={name}": made.control for name, made in PROJECTIONS.items() if made.control}
    written = ((key, f"{key}={str(value).lower()}") for key, value in settings.items())
    said = [known[name] for names in written for name in names if name in known]
    width, inner = (variant.model.get(key, "its own") for key in ("hidden_size", "intermediate_size"))
    said += [MATCHES[key].format(width=width, inner=inner, other=arm.label) for key, arm in variant.match.items()]
    return "; ".join(said) or None
