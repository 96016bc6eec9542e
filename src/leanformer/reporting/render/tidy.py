"""`results.json` of any study as tidy tables, with one row per observation and one column per variable.

    final_loss_mean [nats], final_loss_sd [nats], n, ...        the unit in the header; counts and fractions have none
    ..._low, ..._high                                           the ends of a 95 % interval, or of a range over rounds

Nothing is rounded, and unknown values are left empty.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from leanformer.reporting.numbers.statistics import spread
from leanformer.reporting.records.runs import flat

Row = dict[str, Any]
Tables = dict[str, list[Row]]

UNITS = {
    "seconds": "s",
    "tokens_per_second": "tokens/s",
    "names_per_second": "names/s",
    "searches_per_second": "searches/s",
    "energy_joules": "J",
    "joules_per_million_tokens": "J",
    "final_loss": "nats",
    "best_loss": "nats",
    "mean_final_loss": "nats",
    "sd_final_loss": "nats",
    "target": "nats",
    "bytes": "B",
    "index_bytes": "B",
    "peak_bytes": "B",
    "training_seconds": "s",
}
OF_A_DIFFERENCE = (
    *("mean_difference", "sd_difference", "ci95_low", "ci95_high", "ci90_low", "ci90_high"),
    *("bootstrap95_low", "bootstrap95_high", "standard_error", "margin", "detectable", "detectable_holm"),
)
QUANTITIES = (
    *("parameters", "flops_per_token", "tokens", "seconds", "tokens_per_second", "mfu"),
    *("joules_per_million_tokens", "final_loss", "best_loss"),
)
ENDINGS = re.compile(r"_(mean|sd|least|greatest|low|high|median|exact|more_than|at_most)$")


def tidy(found: dict[str, Any]) -> Tables:
    """Returns name -> rows, from the content of results.json, without empty tables; ValueError for another file."""
    kind = found.get("kind", "comparison")
    if kind not in KINDS:
        raise ValueError(f"results.json is of the kind {kind!r}, of which no tables are known: {', '.join(KINDS)}")
    try:
        return {name: rows for name, rows in KINDS[kind](found) if rows}
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"results.json is damaged or of another version ({error!r}): make the report again") from None


def _comparison(found: dict[str, Any]) -> Iterator[tuple[str, list[Row]]]:
    found = found | {"runs": [_renamed(run, share_of_peak="mfu") for run in found["runs"]]}  # version 0.1's name
    runs = [{key: value for key, value in run.items() if key != "tasks"} for run in found["runs"]]
    yield "mechanisms", _mechanisms(found)
    yield "arms", _rows({"attention": name, "definition": of} for name, of in (found.get("aliases") or {}).items())
    yield "runs", _rows(runs)
    yield (
        "finetunings",
        _rows(
            {"task": task, "attention": run["attention"], "seed": run["seed"], **_renamed(one, seed="task_seed")}
            for run in found["runs"]
            for task, of in run["tasks"].items()
            for one in of
        ),
    )
    losses = [c for c in found["comparisons"] if c["metric"] == "final_loss"]
    # Older records hold tokens_to_target as a metric, too.
    tasks = [c for c in found["comparisons"] if c["metric"] not in ("final_loss", "tokens_to_target")]
    yield "loss_differences", _rows(losses, dict.fromkeys(OF_A_DIFFERENCE, "nats"))
    yield "task_differences", _rows(tasks)
    yield "task_differences_without_collapsed", _rows(found["without_collapsed"])
    for name in ("to_target", "to_target_curve"):
        yield f"cost_{name}", _rows({k: v for k, v in r.items() if not k.endswith("costs")} for r in found[name])
    yield "example_tests", _rows({k: v for k, v in t.items() if k != "pairs"} for t in found["example_tests"])
    pairs = ({"task": t["task"], "attention": t["attention"], **p} for t in found["example_tests"] for p in t["pairs"])
    yield "example_pairs", _rows(pairs)
    if found["learning_rates"]:
        yield "sweep", _rows({"attention": name, **rate} for name, of in found["sweep"].items() for rate in of)
    yield "settings", [{"setting": k, "value": str(v)} for k, v in flat(found["settings"] or {}).items()]


def _mechanisms(found: dict[str, Any]) -> list[Row]:
    rows = []
    for name in found["attention"]:
        runs = [r for r in found["runs"] if r["attention"] == name and r["chosen"] and r["status"] == "finished"]
        row: Row = {"attention": name, "baseline": name == found["baseline"], "n": len(runs)}
        for quantity in QUANTITIES:
            result = spread([run[quantity] for run in runs if run[quantity] is not None])
            low, high = result.ci95 or (None, None)
            row[quantity] = {"mean": result.mean, "sd": result.sd, "low": low, "high": high}
        rows.append(row)
    return _rows(rows)


def _robustness(found: dict[str, Any]) -> Iterator[tuple[str, list[Row]]]:
    each = []
    for of in found["scores"]:
        places = [{"axis": "clean", "at": None, "scores": of["clean"]}, *of["points"]]
        who = {key: of[key] for key in ("task", "attention", "seed")}
        for place in places:
            where = who | {"axis": place["axis"], "at": place["at"]}
            each += [where | {"task_seed": int(seed), "score": score} for seed, score in place["scores"].items()]
    yield "scores", _rows(each)
    yield (
        "means",
        _rows(
            {"task": of["task"], "attention": of["attention"], **place}
            for of in found["means"]
            for place in [{"axis": "clean", "at": None, **of["clean"]}, *of["points"]]
        ),
    )
    yield "differences", _rows(found["comparisons"])
    yield "changed_words", _rows(found["changed_words"])


def _reproduction(found: dict[str, Any]) -> Iterator[tuple[str, list[Row]]]:
    """Yields one table per published table, each with its unit."""
    for number, title in enumerate(dict.fromkeys(row["table"] for row in found["rows"]), 1):
        own = [row for row in found["rows"] if row["table"] == title]
        unit = own[0]["unit"]
        effect = {"difference": unit, "percent": "%"}.get(own[0]["effect"], "")
        units = {f"{side}_{of}_{k}": unit for side in ("published", "measured") for of in ("attention", "baseline")
                 for k in ("mean", "sd", "least", "greatest", "ci95_low", "ci95_high")}  # fmt: skip
        units |= dict.fromkeys(
            ("published_effect", "measured_effect", "measured_ci95_low", "measured_ci95_high"), effect
        )
        slug = re.sub(r"\W+", "-", title.lower()).strip("-")
        yield f"{number}-{slug}"[:80], _rows([_renamed(row, attention="mechanism") for row in own], units)


def _link(found: dict[str, Any]) -> Iterator[tuple[str, list[Row]]]:
    yield "encoders", _rows({k: v for k, v in row.items() if k != "settings"} for row in found["encoders"])


def _bench(found: dict[str, Any]) -> Iterator[tuple[str, list[Row]]]:
    yield "rows", _rows(found["rows"])


def _peers(found: dict[str, Any]) -> Iterator[tuple[str, list[Row]]]:
    candidates = found.get("candidates") or found["contestants"]
    yield (
        "rounds",
        [
            {
                "candidate": one["name"],
                "precision": one["precision"],
                "round": number,
                "tokens_per_second [tokens/s]": speed,
            }
            for one in candidates
            for number, speed in enumerate(one["tokens_per_second"], 1)
        ],
    )
    yield (
        "ratios",
        _rows(
            {"candidate": one["name"], "against": other, **ratio}
            for one in candidates
            for other, ratio in one["speed"].items()
        ),
    )
    left = ("tokens_per_second", "speed")
    yield "candidates", _rows({k: v for k, v in one.items() if k not in left} for one in candidates)


KINDS = {
    "comparison": _comparison,
    "robustness": _robustness,
    "reproduction": _reproduction,
    "link": _link,
    "mechanisms": _bench,
    "inference": _bench,
    "peers": _peers,
}


def _renamed(row: Row, **names: str) -> Row:
    return {names.get(key, key): value for key, value in row.items()}


def _rows(records: Iterable[Row], units: dict[str, str] | None = None) -> list[Row]:
    """Returns rows with nested tables as columns (`training_speed_low`); `units` of columns override `UNITS`."""
    out = []
    for record in records:
        row = dict(_columns("", record))
        out.append({_with_unit(key, units or {}): value for key, value in row.items()})
    return out


def _columns(prefix: str, record: Row) -> Iterator[tuple[str, Any]]:
    for key, value in record.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _columns(f"{name}_", value)
        elif key in ("ci95", "ci90", "bootstrap95"):
            low, high = value or (None, None)
            yield from ((f"{name}_low", low), (f"{name}_high", high))
        elif isinstance(value, list | tuple):
            if not any(isinstance(item, dict | list) for item in value):
                yield name, " ".join(map(str, value))
        else:
            yield name, value


def _with_unit(column: str, units: dict[str, str]) -> str:
    """Returns the column with its unit, or that of the variable whose mean, sd or interval end it is."""
    unit = units.get(column, "")
    bare = column
    while not unit and bare:
        unit = UNITS.get(bare) or UNITS.get(bare.rpartition("_")[2] if bare.endswith("_seconds") else "", "")
        shorter = ENDINGS.sub("", bare).removesuffix("_ci95")
        bare = "" if shorter == bare else shorter
    return f"{column} [{unit}]" if unit else column
