"""Metrics of texts against references, as fractions (1 is perfect), by the field's own implementations.

    bleu, chrf                of the whole corpus, by sacrebleu (Post, 2018), with its signature
    rouge1, rouge2, rougeL    F1, stemmed, by rouge-score (Lin, 2004): the mean over texts of the best reference's

A model that always writes the same text has failed; then `collapsed` is true.
"""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from leanformer.data.generation_tasks import KINDS, PACKAGES


def score(kind: str, hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Returns {"score", "metrics", "signatures", "collapsed"} with the metrics of this kind of task.

    The score is the first metric. `references[i]` are those of `hypotheses[i]`, one or more.
    """
    values: dict[str, float] = {}
    signatures: dict[str, str] = {}
    if bleus := [metric for metric in KINDS[kind] if PACKAGES[metric] == "sacrebleu"]:
        scored, signatures = _sacrebleu(bleus, hypotheses, references)
        values |= scored
    if rouges := [metric for metric in KINDS[kind] if PACKAGES[metric] == "rouge_score"]:
        values |= _rouge(rouges, hypotheses, references)
        signatures["rouge"] = f"rouge-score {version('rouge-score')}, stemmed, best of the references"
    return {
        "score": values[KINDS[kind][0]],
        "metrics": {metric: values[metric] for metric in KINDS[kind]},
        "signatures": signatures,
        "collapsed": len(hypotheses) > 1 and len(set(hypotheses)) == 1,
    }


def _sacrebleu(
    metrics: Sequence[str], hypotheses: Sequence[str], references: Sequence[Sequence[str]]
) -> tuple[dict[str, float], dict[str, str]]:
    import sacrebleu

    most = max(map(len, references))
    streams = [[texts[i] if i < len(texts) else None for texts in references] for i in range(most)]
    values, signatures = {}, {}
    for name in metrics:
        metric: Any = {"bleu": sacrebleu.BLEU, "chrf": sacrebleu.CHRF}[name]()
        values[name] = metric.corpus_score(list(hypotheses), streams).score / 100
        signatures[name] = str(metric.get_signature())
    return values, signatures


def _rouge(metrics: Sequence[str], hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(list(metrics), use_stemmer=True)
    scored = [scorer.score_multi(list(of), text) for text, of in zip(hypotheses, references, strict=True)]
    return {metric: float(np.mean([scores[metric].fmeasure for scores in scored])) for metric in metrics}
