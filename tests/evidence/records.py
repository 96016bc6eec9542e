"""The value that a reference names: a field of a committed record, with its interval or spread.

A reference is written in the comment beside a number (`pages.py`). It is one of

    direction symmetric                 the comparison docs/results/direction, an arm, a quantity (`QUANTITIES`;
    direction symmetric loss            the difference in final loss to the baseline where none is given)
    shared-weights shared mrpc          a task instead of a quantity: the difference of scores, in points
    muon/results.json floor.unigram     a path within a JSON or TOML file; [key=value,...] selects from a list
    mean of X.json rows[kind=a].loss    mean, sd, median, min, max or count of the numbers that a path selects
    conversion.md Tasks / teacher / mean     the cell of a table that is made from a record: section / row / column
    regained pairwise without stsb      of the distance between random values and the longer teacher, in percent
    catalogue shared                    parameters of a BERT-base with this mechanism
    {A} - {B}                           arithmetic with references, for a number that is computed from several
"""

import ast
import json
import math
import operator
import re
import statistics
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from scipy import stats

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "results"


@dataclass(frozen=True)
class Value:
    point: float
    low: float | None = None
    high: float | None = None
    sd: float | None = None


def value(reference: str) -> Value:
    """What the reference names. Raises LookupError where there is no such field."""
    if re.match(r"[({\d]|exp\(", reference):
        numbers = re.sub(r"\{(.*?)\}", lambda found: repr(value(found[1]).point), reference)
        return Value(_calculated(ast.parse(numbers, mode="eval").body))
    first, _, rest = reference.partition(" ")
    if first in SUMMARIES:
        return Value(SUMMARIES[first](_path(*rest.removeprefix("of ").split(" ", 1))))
    if first in COMPUTED:
        return COMPUTED[first](rest)
    if first.endswith((".json", ".toml")):
        return _value(_path(first, rest))
    if first.endswith(".md"):
        return _cell(first, *rest.split(" / "))
    arm, _, quantity = rest.partition(" ")
    quantity, _, other = (quantity or "difference").partition(" against ")
    return _against(first, arm, other, quantity) if other else _compared(first, arm, quantity)


SUMMARIES: dict[str, Callable[[list[float]], float]] = {
    "mean": statistics.mean, "sd": statistics.stdev, "median": statistics.median, "min": min, "max": max, "count": len,
}  # fmt: skip
OPERATORS: dict[type, Callable[[float, float], float]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
}  # fmt: skip


def _calculated(node: ast.expr) -> float:
    match node:
        case ast.Constant(value=float() | int() as number):
            return number
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_calculated(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            return OPERATORS[type(op)](_calculated(left), _calculated(right))
        case ast.Call(func=ast.Name(id="exp"), args=[argument]):
            return math.exp(_calculated(argument))
    raise LookupError(f"{ast.unparse(node)} is no arithmetic with + - * / and exp()")


@cache
def _read(name: str) -> Any:
    file = next((file for file in (RESULTS / name, ROOT / name) if file.exists()), None)
    if file is None:
        raise LookupError(f"there is no record {name}")
    return tomllib.loads(file.read_text()) if name.endswith(".toml") else json.loads(file.read_text())


def _path(name: str, path: str) -> Any:
    """Keys with dots between them, [3] of a list, or [key=value,...] of a list of tables: one, or several as a list."""
    found = _read(name)
    for key, chosen in re.findall(r"([^.\[\]]+)|\[((?:[^\[\]]|\[[^\]]*\])*)\]", path):
        if key:
            found = [each[key] for each in _flat(found)] if isinstance(found, list) else found[key]
        elif chosen.isdigit():
            found = found[int(chosen)]
        else:
            asked = [condition.partition("=")[::2] for condition in re.split(r",(?=\w+=)(?![^\[]*\])", chosen)]
            found = [each for each in found if all(str(each.get(key)) == wanted for key, wanted in asked)]
            if not found:
                raise LookupError(f"nothing in {name} is {chosen}")
            found = found[0] if len(found) == 1 else found
    return found


def _flat(found: list[Any]) -> list[Any]:
    return [one for each in found for one in (_flat(each) if isinstance(each, list) else [each])]


def _value(found: Any) -> Value:
    match found:
        case bool():
            pass
        case int() | float():
            return Value(found)
        case {"median": point, "low": low, "high": high} | {"mean": point, "ci95": [low, high]}:
            return Value(point, low, high, found.get("sd"))
        case {"ratio": point, "ratio_range": [low, high]} | {"effect": point, "ci95": [low, high]}:
            return Value(point, low, high)
        case (
            {"mean_difference": point, "ci95": [low, high]}
            | {"difference": point, "ci95": [low, high]}
            | {"ratio": point, "ci95": [low, high]}
        ):
            return Value(point, low, high)
    raise LookupError(f"{str(found)[:60]} is no number")


def _compared(name: str, arm: str, quantity: str) -> Value:
    record = _read(name if name.endswith(".json") else f"{name}/results.json")
    if arm not in record["attention"]:
        raise LookupError(f"{name} has no arm {arm!r}, it has {', '.join(record['attention'])}")
    runs, bases = (
        [run for run in record["runs"] if run["attention"] == of and run["chosen"]] for of in (arm, record["baseline"])
    )
    quantity, _, part = quantity.partition(".")
    name, _, at = quantity.partition("@")
    match name, part:
        case ("loss", _):
            return _spread([run["final_loss"] for run in runs], 1)
        case ("parameters" | "flops_per_token", _):
            return Value(runs[0][name])
        case ("smaller" | "cheaper", _):
            key = {"smaller": "parameters", "cheaper": "flops_per_token"}[name]
            return Value(100 * (runs[0][key] / bases[0][key] - 1))
        case ("difference" | "p", _):
            return _difference(record, arm, "final_loss", 1, holm=name == "p")
        case ("least" | "greatest", _):
            pairs = [run["final_loss"] - base["final_loss"] for run, base in zip(runs, bases, strict=True)]
            return Value((min if name == "least" else max)(pairs))
        case ("tokens" | "steps" | "seconds" | "flops", _):
            found = _to_target(record, arm, name, at)
            return Value(found["p_value_holm"]) if part == "p" else _value(found)
        case (task, "score"):
            return _spread([statistics.mean(_scores(run, task)) for run in runs], 100)
        case (task, _):
            return _difference(record, arm, task, 100, holm=part == "p")


def _difference(record: Any, arm: str, metric: str, scale: float, holm: bool) -> Value:
    rows = [row for row in record["comparisons"] if row["attention"] == arm and row["metric"] == metric]
    if not rows:
        raise LookupError(f"{arm} has no difference in {metric}")
    if holm:
        return Value(rows[0]["p_value_holm"])
    return Value(*(scale * number for number in (rows[0]["mean_difference"], *rows[0]["ci95"])))


def _scores(run: Any, task: str) -> list[float]:
    tasks = run["tasks"].values() if task == "task_average" else [run["tasks"][task]]
    return [statistics.mean(each["score"] for each in of) for of in tasks]


def _against(name: str, arm: str, other: str, quantity: str) -> Value:
    """Two arms of a comparison, neither of them its baseline: paired by seed, uncorrected."""
    record = _read(f"{name}/results.json")
    if quantity == "difference":
        losses = {(run["attention"], run["seed"]): run["final_loss"] for run in record["runs"] if run["chosen"]}
        return _interval([losses[arm, seed] - losses[other, seed] for of, seed in losses if of == arm])
    kind, _, at = quantity.partition("@")
    own, others = ([cost["exact"] for cost in _to_target(record, of, kind, at)["costs"]] for of in (arm, other))
    logs = _interval([math.log(a / b) for a, b in zip(own, others, strict=True)])
    return Value(*(math.exp(number) for number in (logs.point, logs.low, logs.high) if number is not None))


def _interval(pairs: list[float]) -> Value:
    """mean +- t sd / sqrt(n), t of n - 1 degrees of freedom at 97.5 %."""
    mean, half = (
        statistics.mean(pairs),
        stats.t.isf(0.025, len(pairs) - 1) * statistics.stdev(pairs) / len(pairs) ** 0.5,
    )
    return Value(mean, mean - half, mean + half)


def _to_target(record: Any, arm: str, resource: str, at: str) -> Any:
    (found,) = [
        row
        for row in [*record["to_target"], *(record["to_target_curve"] if at == "50" else ())]
        if row["attention"] == arm and row["resource"] == resource and f"{row['target_fraction']:.0%}" == f"{at}%"
    ]
    return found


def _spread(numbers: list[float], scale: float) -> Value:
    sd = statistics.stdev(numbers) if len(numbers) > 1 else None
    return Value(scale * statistics.mean(numbers), sd=sd and scale * sd)


def _cell(page: str, section: str, row: str, column: str) -> Value:
    from tests.evidence.pages import quotes

    heads: list[str] = []
    inside, found = False, []
    for line in (RESULTS / page).read_text().replace("\\", "").splitlines():
        if line.startswith("#"):
            inside = line.strip("# ") == section
        cells = [cell.strip(" `") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] if line.startswith("|") else []
        if not cells:
            heads = []
        elif not heads:
            heads = cells
        elif inside and row in (cells[0], " ".join(cells[:2]), " ".join(cells[:3])) and column in heads:
            found.append(cells[heads.index(column)])
    if len(found) != 1:
        raise LookupError(f"{len(found)} cells of {page} are {section} / {row} / {column}")
    (quote,) = quotes(found[0].replace("%", " %"))
    return Value(
        *(number and float(number.replace(",", "")) for number in (quote.point, quote.low, quote.high, quote.sd))
    )


def _regained(asked: str) -> Value:
    """With Fieller's interval; `bound`: the lower bound alone, which 95 % lie above."""
    from experiments.conversion.tables import ConversionTables

    record = dict(_read("conversion/longer-teacher.json"))
    name, *options = asked.split()
    if "without" in options:
        record["tasks"] = [task for task in record["tasks"] if task not in options]
    told = ConversionTables(record)
    if "bound" in options:
        bound = told.lower_bound("healed", name)
        assert bound is not None
        return Value(100 * bound)
    share = told.share("healed", name)
    assert share is not None and share[1] is not None
    return Value(*(100 * number for number in (share[0], *share[1])))


def _catalogue(name: str) -> Value:
    from leanformer.comparison.catalogue import catalogue

    sizes = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
    rows = catalogue(**sizes, vocab_size=30522, max_position_embeddings=512)
    return Value(next(row["parameters"] for row in rows if row["name"] == name))


COMPUTED: dict[str, Callable[[str], Value]] = {"regained": _regained, "catalogue": _catalogue}
