"""Simple methods beside a fine-tuned model, on the same training and evaluated examples, and the verdict between them.

    constant      the most frequent class; each label that most examples have, else the most frequent one; the mean;
                  the most frequent answer, which is none where most questions have none
    TF-IDF        frequencies of words and pairs of words, (1 + log tf) idf, each text of a pair on its own, and
                  a logistic regression (C = 10), one per label where there are several; for numbers a ridge regression
    words         the most frequent tag of each word in training, `O` (or the most frequent tag) for an unknown word

The verdict is about the model minus the best of them, with the interval of `intervals.difference`:

    better        the interval is above 0
    not better    it is below 0, or ends there
    undecided     it holds 0 and more
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge

from leanformer.data.examples import Examples
from leanformer.data.tasks import Task
from leanformer.evaluation import intervals, metrics
from leanformer.evaluation.metrics import Predicted

Predictions = dict[str, NDArray]
"""Name of a baseline -> its predictions."""
C = 10.0
WORD = r"(?u)\b\w+\b"


def predict(
    task: Task, train: Examples, evaluated: Mapping[str, Examples], *, balanced: bool
) -> dict[str, Predictions]:
    """Returns the predictions of every baseline for each split; `balanced` weighs the classes of the regression."""
    if task.kind == "token_classification":
        return {split: {"most frequent tag per word": _tags(train, part)} for split, part in evaluated.items()}
    found = {split: _constant(task, train, part) for split, part in evaluated.items()}
    if task.kind != "span":
        for split, predictions in _tf_idf(task, train, evaluated, balanced).items():
            found[split]["TF-IDF with " + ("ridge" if task.kind == "regression" else "logistic") + " regression"] = (
                predictions
            )
    return found


def beside(task: Task, ours: Predicted, baselines: Predictions) -> dict[str, Any]:
    """Returns the scores and intervals of the model and of its baselines, and the verdict on the best of these."""
    theirs = {name: ours._replace(predictions=predictions) for name, predictions in baselines.items()}
    systems = [_measured(task, name, predicted) for name, predicted in {"this model": ours, **theirs}.items()]
    mine, best = systems[0], max(systems[1:], key=lambda system: system["score"])
    low, high = intervals.difference(task, ours, theirs[best["system"]])
    verdict = "better" if low > 0 else "not better" if high <= 0 else "undecided"
    gain = mine["score"] - best["score"]
    return {
        "systems": systems,
        "best": best["system"],
        "difference": gain,
        "interval": [low, high],
        "verdict": verdict,
        "sentence": _sentence(task, best["system"], gain, low, high, verdict),
    }


def _sentence(task: Task, best: str, gain: float, low: float, high: float, verdict: str) -> str:
    score = " and ".join(task.metrics)
    by = f"{score} {gain:+.3f} [{low:+.3f}, {high:+.3f}]"
    if verdict == "better":
        return f"the model is better than {best}: {by}"
    if verdict == "not better":
        return f"the model is not better than {best}, which costs seconds: {by}; prefer it, or see docs/fine-tuning.md"
    return f"it is undecided whether the model is better than {best}: {by}; more validation rows would decide"


def _measured(task: Task, name: str, predicted: Predicted) -> dict[str, Any]:
    found = metrics.score(task, {task.validation[0]: predicted})
    low, high = intervals.interval(task, predicted)
    return {"system": name, "score": found["score"], "low": low, "high": high, **found["metrics"]}


def _constant(task: Task, train: Examples, evaluated: Examples) -> Predictions:
    size = len(evaluated.texts)
    if task.kind == "classification":
        answer = int(np.bincount(train.labels).argmax())
        return {f"always {task.labels[answer]!r}": np.full(size, answer)}
    if task.kind == "multi_label":
        shares = train.labels.mean(0)
        row = (shares > 0.5) if (shares > 0.5).any() else np.arange(len(shares)) == shares.argmax()
        return {"always the most frequent labels": np.tile(row.astype(np.int64), (size, 1))}
    if task.kind == "regression":
        return {"always the mean": np.full(size, train.labels.mean())}
    answers = Counter(text for label in train.labels for text in set(label["text"] or [""]))
    text = answers.most_common(1)[0][0]
    return {f"always {text!r}" if text else "never an answer": np.full(size, text, dtype=object)}


def _tf_idf(task: Task, train: Examples, evaluated: Mapping[str, Examples], balanced: bool) -> dict[str, NDArray]:
    """Returns the predictions of the regression, of no split if the training texts have no word."""
    columns = len(train.texts[0])
    counters = [TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=WORD) for _ in range(columns)]
    try:
        seen = hstack([counter.fit_transform(_column(train, i)) for i, counter in enumerate(counters)], format="csr")
    except ValueError:  # no text has a word
        return {}
    texts = {
        split: hstack([counter.transform(_column(part, i)) for i, counter in enumerate(counters)], format="csr")
        for split, part in evaluated.items()
    }
    if task.kind == "regression":
        ridge = Ridge().fit(seen, train.labels)
        return {split: ridge.predict(features) for split, features in texts.items()}
    tables = train.labels.reshape(len(train.texts), -1)
    fitted = [_logistic(seen, tables[:, c], balanced) for c in range(tables.shape[1])]
    answers = {split: np.stack([model.predict(features) for model in fitted], 1) for split, features in texts.items()}
    return answers if task.kind == "multi_label" else {split: table[:, 0] for split, table in answers.items()}


def _logistic(features: csr_matrix, labels: NDArray, balanced: bool) -> Any:
    if len(np.unique(labels)) == 1:  # a label that all training rows have, or none
        return DummyClassifier(strategy="most_frequent").fit(features, labels)
    weights = "balanced" if balanced else None
    return LogisticRegression(C=C, max_iter=1000, class_weight=weights).fit(features, labels)


def _column(examples: Examples, column: int) -> list[str]:
    return [texts[column] for texts in examples.texts]


def _words(text: str, label: Mapping[str, Any]) -> list[str]:
    return [text[begin:end] for begin, end in label["words"]]


def _tags(train: Examples, evaluated: Examples) -> NDArray:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    tags: Counter[str] = Counter()
    for (text,), label in zip(train.texts, train.labels, strict=True):
        tags.update(label["tags"])
        for word, tag in zip(_words(text, label), label["tags"], strict=True):
            counts[word][tag] += 1
    unknown = tags.most_common(1)[0][0]
    frequent = {word: of.most_common(1)[0][0] for word, of in counts.items()}
    found = np.empty(len(evaluated.texts), dtype=object)
    found[:] = [
        tuple(frequent.get(word, unknown) for word in _words(text, label))
        for (text,), label in zip(evaluated.texts, evaluated.labels, strict=True)
    ]
    return found


def notes(results: Mapping[str, Any]) -> Sequence[str]:
    """Returns the sentences of the verdicts, that of the test file first."""
    found = results.get("baselines") or {}
    return [f"{split}: {found[split]['sentence']}" for split in ("test", "validation") if split in found]
