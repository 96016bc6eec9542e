"""The title of a report and its headline: the answer in one sentence, and what forbids an answer."""

from leanformer.reporting.analysis.comparison import LOSS, Comparison, Findings
from leanformer.reporting.comparison.loss_text import NOTHING, REMEDY, budget, named, names_without_context, places
from leanformer.reporting.numbers.margins import margin_of
from leanformer.reporting.numbers.quantities import fixed, listed, percent, several
from leanformer.reporting.records.study import Study

FEW = 3
"""The largest number of mechanisms that a headline names one by one; of more it counts the verdicts."""
UNTESTED = ("not tested", "not compared")


def title(study: Study) -> str:
    if study.challengers:
        few = len(study.challengers) <= 4
        return (
            f"{listed(study.challengers) if few else f'{len(study.challengers)} mechanisms'} against {study.baseline}"
        )
    return f"{study.attention[0]}: {several(len(study.runs), 'run')}, nothing to compare"


def headline(findings: Findings) -> str:
    """Returns the answer in one or two sentences."""
    study = findings.study
    if not study.challengers:
        return " ".join([_alone(study), "Nothing is compared."])
    if not study.at(study.baseline or ""):
        return f"Nothing can be compared: no run of the baseline, {study.baseline}, has finished."
    if nothing := names_without_context(study):
        rest = [c for c in findings.of(LOSS) if c.informative]
        return f"{_refusal(study, nothing, any_left=bool(rest))} {_standings(study, rest)}".strip()
    return _standings(study, findings.of(LOSS))


def _refusal(study: Study, nothing: list[str], *, any_left: bool) -> str:
    """Returns the sentence about arms with runs that learned nothing, `nothing`; the table names them, if many."""
    arms = several(len(study.attention), "arm")
    among = f" ({study.baseline} among them)" if study.baseline in nothing else ""
    whose = listed(nothing) if len(nothing) <= FEW else f"{len(nothing)} of {arms}{among}"
    who = "every mechanism" if set(nothing) == set(study.attention) else whose
    scope = "This comparison"
    if any_left:
        scope = f"Comparing {whose}"
        who = who if len(nothing) <= FEW else "each of them"
    return (
        f"{scope} {NOTHING}: runs of {who} did not get below the no-context baseline, so they learned nothing from "
        "context."
    )


def _standings(study: Study, family: list[Comparison]) -> str:
    """Returns the verdicts, one by one or counted; of many, the main contrasts apart from the exploratory ones."""
    if len(family) <= FEW:
        return _each(study, family)
    groups = [[c for c in family if c.exploratory == explored] for explored in (False, True)]
    return " ".join(_each(study, of) if len(of) <= FEW else _counted(study, of) for of in groups if of)


def _counted(study: Study, family: list[Comparison]) -> str:
    """ "2 of 6 arms are better than dot_product, 3 worse and 1 undecided; the best is pairwise, by 0.031 nats." """
    judged = [c for c in family if c.verdict not in UNTESTED]
    counts = {verdict: [c for c in judged if c.verdict == verdict] for verdict in ("worse", "equivalent", "undecided")}
    better = sorted((c for c in judged if c.verdict == "better"), key=lambda c: c.difference.mean or 0.0)
    arms = several(len(judged), "exploratory arm" if family[0].exploratory else "arm")
    rest = [f"{len(of)} {_worded(verdict, of, study)}" for verdict, of in counts.items() if of]
    said = []
    if better:
        first = f"{len(better)} of {arms} {_be(better)} better than {study.baseline}"
        best = f"the best is {better[0].attention}, by {_amount(better[0])} nats"
        said = [f"After {budget(study)}, {listed([first, *rest])}; {best}."]
    elif judged:
        said = [f"After {budget(study)}, none of {arms} is shown to be better than {study.baseline}: {listed(rest)}."]
    return " ".join([*said, *_untested(study, family)])


def _worded(verdict: str, family: list[Comparison], study: Study) -> str:
    """ "equivalent within 0.03 nats (of these, 1 measurably better)"; other verdicts stand alone."""
    if verdict != "equivalent":
        return verdict
    real = [c.direction for c in family if c.difference.differs]
    counted = [f"{real.count(way)} measurably {way}" for way in ("better", "worse") if way in real]
    though = f" (of these, {listed(counted)})" if counted else ""
    return f"equivalent within {margin_of(study.plan):g} nats{though}"


def _each(study: Study, family: list[Comparison]) -> str:
    """ "pairwise is better than dot_product by 0.022 nats, shared is worse by 0.109 nats and ..." """
    parts, mentioned = [], False

    def baseline(word: str) -> str:
        nonlocal mentioned
        other, mentioned = ("it" if word in ("to", "against") else "") if mentioned else study.baseline, True
        return f" {word} {other}" if other else ""

    for verdict in ("better", "worse"):
        for c in sorted((c for c in family if c.verdict == verdict), key=lambda c: c.difference.mean or 0.0):
            parts.append(f"{named(c)} is {verdict}{baseline('than')} by {_amount(c)} nats")
    equivalent = [c for c in family if c.verdict == "equivalent"]
    for real in ("", "better", "worse"):
        same = [c for c in equivalent if (c.direction if c.difference.differs else "") == real]
        if same:
            within = f"{baseline('to')} within {margin_of(study.plan):g} nats"
            though = f" (though measurably {real})" if real else ""
            parts.append(f"{listed([named(c) for c in same])} {_be(same)} equivalent{within}{though}")
    if undecided := [c for c in family if c.verdict == "undecided"]:
        parts.append(f"{listed([named(c) for c in undecided])} {_be(undecided)} undecided{baseline('against')}")
    said = [f"After {budget(study)}, {listed(parts)}."] if parts else []
    return " ".join([*said, *_untested(study, family)])


def _untested(study: Study, family: list[Comparison]) -> list[str]:
    untested = [c for c in family if c.verdict in UNTESTED]
    if not untested:
        return []
    why = "; ".join(dict.fromkeys(c.note for c in untested))
    who = listed([c.attention for c in untested]) if len(untested) <= FEW else several(len(untested), "arm")
    return [f"{who} cannot be judged against {study.baseline}: {why}."]


def _amount(c: Comparison) -> str:
    return fixed(abs(c.difference.mean or 0.0), places(c))


def _be(several_of: list[Comparison]) -> str:
    return "are" if len(several_of) > 1 else "is"


def _alone(study: Study) -> str:
    loss = study.spread(study.attention[0], "final_loss").mean
    if loss is None:
        return f"{study.runs[0].attention} has no finished run ({study.runs[0].status}: {study.runs[0].problem})."
    below = study.below_floor(study.attention[0])
    floor = f"the no-context baseline ({fixed(study.floor or 0, 3)} nats)"
    said = f"{study.attention[0]} ends at {fixed(loss, 3)} nats after {budget(study)}"
    if below is None:
        return f"{said}."
    if study.without_context(study.attention[0]):
        return f"{said}: not below {floor}, so it learned nothing from context. {REMEDY}"
    return f"{said}, {percent(below)} below {floor}."
