"""The tables of a protocol's results.json; what is not there yet is left out, or shown as an en dash.

Of the distance between random values and the teacher on the mean of the tasks, a model regains

    share = mean(model - random) / mean(teacher - random),    means over seeds of fine-tuning, paired

with Fieller's 95 % interval (1954): the shares q for which a paired t test of (model - random) - q (teacher - random)
finds nothing. There is none where the distance may be zero. A target counts as reached when the one-sided 95 % lower
bound of the share, the lower end of Fieller's 90 % interval, is at or above it; below that, it is not shown.
"""

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import numpy as np
from scipy import stats

from benchmarks.cells import NONE, mean_sd
from experiments.rows import Row, by_seed, in_order, made_on, model_size, range_of, where
from leanformer.reporting.render.document import Document, Points, Section, Table

TARGETS = {"pairwise": 0.95, "shared": 0.85}
"""Shares aimed at, with at most a tenth of the teacher's tokens."""
STATES = {"converted": "converted", "healed": "recovered"}
"""The states of a converted model: a row's `kind` in the record, and its name in the tables."""
LEFT_OUT = (
    "One teacher, of one seed and size: intervals are over seeds of distillation and fine-tuning, not over teachers. "
    "Mechanisms that are not distilled with every seed have one recovered model, fine-tuned with every seed.",
    "MiniLM v1, other weights, temperatures, layers and lengths of the gradual path; methods are compared on few "
    "mechanisms, one budget and one seed.",
    "Tasks for models from scratch, of shared heads and of exports; a learning rate of distillation for each "
    "mechanism: all have the same.",
)
CAPTIONS = {
    "conversions": "Residuals and divergence (nats): means over heads and layers, on text of the training data. "
    "Loss: held-out.",
    "healing": "Held-out loss, nats; mean ± sd where there are several seeds. Tokens are a share of the teacher's. "
    "Recovered by distillation from its logits and from masked words alike, abruptly, each budget a run with its own "
    "decay of the rate.",
    "methods": "Held-out loss, nats, the largest budget, one seed.",
    "trial": "Held-out loss, nats, the middle budget, one seed. All are distilled at the rate whose runs "
    "had the least mean of their own validation.",
    "tasks": "Score x 100 at the end of fine-tuning, mean ± sd over seeds. Regained: of the distance between random "
    "values and the teacher on the mean of the tasks, with Fieller's interval; collapsed: runs with one answer to "
    "nearly all.",
    "heads": "Held-out loss, nats. Recovered, and drawn together, by the largest budget: the last row compares with "
    "the recovered one of its size.",
    "exports": "Speed: the teacher's float32 (hub) over this, processor time of one thread, 8 sequences with the "
    "scores of every position, median of rounds (lowest to highest). bf16 and int8 are made when the hub's file is "
    "loaded.",
}


def document(results: Row) -> Document:
    told = ConversionTables(results)
    return Document("Conversion and recovery by distillation", told.headline(), told.facts(), told.sections(), {})


class ConversionTables:
    def __init__(self, results: Row) -> None:
        self.results, self.rows = results, results["rows"]
        self.every: list[str] = results["mechanisms"]["every"]

    def find(self, kind: str, **wanted: Any) -> list[Row]:
        """Rows of a kind with these values; those of tasks only if a task is asked for."""
        return where(self.rows, kind=kind, **{"task": None} | wanted)

    def losses(self, kind: str, **wanted: Any) -> str:
        return _loss([row["loss"] for row in self.find(kind, **wanted)])

    @property
    def teacher(self) -> dict[str, Any]:
        return next(iter(self.find("teacher")), {})

    def headline(self) -> str:
        """A verdict on the targets, where the teacher is known to be better than random values."""
        told = []
        for name, target in TARGETS.items():
            share = self.share("healed", name)
            if (share is None or share[1] is None) and self.scores("healed", attention=name):
                return "the teacher is not known to be better than random values: no share of that distance is known"
            if share is not None:
                bound = self.lower_bound("healed", name)
                verdict = "reached" if bound is not None and bound >= target else "not shown"
                beyond = "" if bound is None else f" (one-sided 95 % lower bound {bound:.0%})"
                told.append(
                    f"{name} regains {_share(share)} of the distance, {target:.0%} are aimed at: {verdict}{beyond}"
                )
        return "; ".join(told) or "no mechanism is recovered by distillation and fine-tuned yet"

    def facts(self) -> list[tuple[str, str]]:
        floor = self.results["floor"] or {}
        size, tokens = model_size(self.results), _whole(self.results["teacher_tokens"])
        return [
            ("teacher", f"{size}, {_whole(self.teacher.get('parameters'))} parameters, {tokens} tokens"),
            ("its loss", self.losses("teacher")),
            ("without context", _loss([floor["context_free"]] if floor else [])),
            ("seeds", str(self.results["seeds"])),
            ("vocabulary", _whole(self.results["data"]["vocab_size"])),
            *made_on(self.results),
        ]

    def sections(self) -> list[Section]:
        parts = {
            "Right after conversion": self.conversions(),
            "Recovery by distillation": self.healing(),
            "Methods of recovery": self.methods(),
            "Learning rate of recovery": self.trial(),
            "Tasks": self.tasks(),
            "Shared heads": self.heads(),
            "Exports": self.exports(),
        }
        missing, rate = self.results["missing"], self.results["healing_rate"]
        said = [f"Learning rate of recovery {rate:g}."] if rate else []
        said += [f"{len(missing)} pieces failed or are missing: {', '.join(missing)}."] if missing else []
        shown = [Section(title, [table]) for title, table in parts.items() if table.rows]
        return [*shown, Section("What was left out", [Points([*said, *LEFT_OUT])])]

    def conversions(self) -> Table:
        rows = []
        for row in self.find("converted"):
            added = row["loss"] - self.teacher["loss"] if self.teacher else None
            numbers = [_number(row[key]) for key in ("logits_residual", "value_residual", "divergence", "loss")]
            rows.append([row["attention"], self.size(row["parameters_after"]), *numbers, _number(added, "+.3f")])
        header = ["attention", "parameters", "logits' residual", "values' residual", "divergence", "loss"]
        return _table([*header, "to the teacher"], rows, "conversions")

    def healing(self) -> Table:
        budgets, rows = self.results["budgets"], []
        scratch = [times * budgets[-1] for times in (1, 4)]
        for name in self.every:
            cells = [self.losses("converted", attention=name)]
            cells += [self.losses("healed", attention=name, method="logits", budget=each) for each in budgets]
            rows.append([name, *cells, *(self.losses("scratch", attention=name, budget=each) for each in scratch)])
        untold = [NONE] * (len(budgets) - 1)
        going_on = [self.losses("teacher"), *untold, self.losses("teacher, trained on"), NONE, NONE]
        rows.append(["the teacher, trained on", *going_on])
        header = [f"recovered, {each:.0%}" for each in budgets] + [f"from scratch, {each:.0%}" for each in scratch]
        return _table(["attention", "converted", *header], rows, "healing")

    def methods(self) -> Table:
        few, budget = self.results["mechanisms"]["few"], self.results["budgets"][-1]
        how = {"budget": budget, "seed": 1}
        rows = [
            [method, *(self.losses("healed", attention=name, method=method, **how) for name in few)]
            for method in (self.results["methods"] if few else [])
        ]
        return _table(["recovered by", *few], rows, "methods")

    def scores(self, kind: str, **wanted: Any) -> dict[int, float]:
        """Returns, for every seed that has all tasks, their mean score."""
        tasks = self.results["tasks"]
        rows = [row for row in where(self.rows, kind=kind, **wanted) if row.get("task") in tasks]
        return by_seed(rows, "score", "task", tasks)

    def above_random(self, kind: str, name: str) -> tuple[list[float], list[float]]:
        """Returns model - random and teacher - random for every seed that all three have."""
        model, teacher, random = (self.scores(kind, attention=name), self.scores("teacher"), self.scores("random"))
        seeds = sorted(model.keys() & teacher.keys() & random.keys())
        gained, distance = ([each[seed] - random[seed] for seed in seeds] for each in (model, teacher))
        return gained, distance

    def share(self, kind: str, name: str) -> tuple[float, tuple[float, float] | None] | None:
        gained, distance = self.above_random(kind, name)
        if not gained or fmean(distance) <= 0:
            return None
        return fmean(gained) / fmean(distance), fieller(gained, distance)

    def lower_bound(self, kind: str, name: str) -> float | None:
        """The one-sided 95 % lower bound of the share."""
        interval = fieller(*self.above_random(kind, name), alpha=0.1)
        return interval and interval[0]

    def tasks(self) -> Table:
        rows, tasks = [], self.results["tasks"]
        arms: list[tuple[str, str, Row]] = [("random values", "random", {}), ("teacher", "teacher", {})]
        for name in self.every:
            arms += [(f"{name}, {called}", kind, {"attention": name}) for kind, called in STATES.items()]
        for title, kind, wanted in arms:
            found = [self.find(kind, task=task, **wanted) for task in tasks]
            if not any(found):
                continue
            mean = list(self.scores(kind, **wanted).values())
            share = self.share(kind, wanted["attention"]) if wanted else None
            collapsed = sum(bool(row["collapsed"]) for each in found for row in each)
            cells = [mean_sd([row["score"] for row in each], 100) for each in found]
            rows.append(
                [title, *cells, mean_sd(mean, 100), NONE if share is None else _share(share), str(collapsed or "")]
            )
        return _table(["model", *tasks, "mean", "regained [95 % CI]", "collapsed"], rows, "tasks")

    def heads(self) -> Table:
        rows = []
        for row in self.find("shared heads"):
            healed = self.losses("shared heads, healed", tie=row["tie"], share=row["share"])
            rows.append([f"{row['tie']}, {row['share']:g}", *self.stored(row), healed])
        for row in self.find("drawn together, then shared"):
            before = self.losses("heads drawn together")
            title = f"{row['tie']}, {row['share']:g}, drawn together first ({before} before)"
            rows.append([title, *self.stored(row), NONE])
        return _table(["heads shared", "blocks stored", "parameters", "loss", "recovered"], rows, "heads")

    def exports(self) -> Table:
        rows = []
        for row in self.results["exports"]:
            size = NONE if row["bytes"] is None else f"{row['bytes'] / 1e6:.1f} MB"
            rows.append([row["model"], row["form"], size, range_of(row["speed"]), f"{row['loss']:.4f}"])
        return _table(["model", "form", "size", "speed", "loss"], rows, "exports")

    def trial(self) -> Table:
        few, rows = self.results["mechanisms"]["few"], []
        trials = self.find("trial")
        for rate in in_order(trials, "learning_rate"):
            own = where(trials, learning_rate=rate)
            cells = [self.losses("trial", attention=name, learning_rate=rate) for name in few]
            rows.append([f"{rate:g}", *cells, _loss([fmean(row["loss"] for row in own)])])
        return _table(["rate", *few, "mean"], rows, "trial")

    def size(self, parameters: int) -> str:
        own = self.teacher.get("parameters")
        return _whole(parameters) + (f" ({parameters / own - 1:+.1%})" if own else "")

    def stored(self, row: Row) -> list[str]:
        size = self.size(row["parameters_after"])
        return [f"{row['stored_blocks']} of {row['head_blocks']}", size, _loss([row["loss"]])]


def fieller(over: Sequence[float], under: Sequence[float], alpha: float = 0.05) -> tuple[float, float] | None:
    """The interval of mean(over) / mean(under), paired; None for one pair, and where `under` may be zero.

    (a - q b)^2 <= t^2 (s_aa - 2 q s_ab + q^2 s_bb) / n, a quadratic in q, with t of n - 1 degrees of freedom
    """
    n = len(over)
    if n < 2:
        return None
    a, b = fmean(over), fmean(under)
    t = float(stats.t.isf(alpha / 2, n - 1))
    (s_aa, s_ab), (_, s_bb) = (np.cov(over, under) * t**2 / n).tolist()
    square, middle = b**2 - s_bb, a * b - s_ab
    if square <= 0:
        return None
    root = math.sqrt(max(0.0, middle**2 - square * (a**2 - s_aa)))
    return (middle - root) / square, (middle + root) / square


def _table(header: list[str], rows: list[list[str]], name: str) -> Table:
    return Table(header, rows, "l" + "r" * (len(header) - 1), CAPTIONS[name])


def _share(share: tuple[float, tuple[float, float] | None]) -> str:
    value, interval = share
    return f"{value:.0%} [{interval[0]:.0%}, {interval[1]:.0%}]" if interval else f"{value:.0%} [no bounds]"


def _loss(values: Sequence[float]) -> str:
    return mean_sd(values, 1.0, 3)


def _number(value: float | None, form: str = ".3f") -> str:
    return NONE if value is None else format(value, form)


def _whole(value: float | None) -> str:
    return _number(value, ",.0f")
