"""What the protocol does, in jobs: a command each, with what it reads and hence what it costs.

    base          the encoders that are fine-tuned: dot_product, and shared for entity linking
    comparisons   what pre-trains arms side by side, and clocks them: one job at a time, it has the machine
    trials        a seed of its own chooses what is left open of a method (`TRIED`)
    studies       fine-tuning by methods, and linking: all seeds

A stage needs what the stages before it made; its jobs need nothing of each other. Studies:

    convbert      ConvBERT's mixer and grouped feed-forward layers by `compare`, with four projections and a control
    clusters      ClusTR: time and memory of long sequences by `bench mechanisms`, and a short `compare` of quality
    pst           dense, pruned by magnitude, PST: GLUE
    regsl         plain, distance, self-labelling, both: shares of wrong labels
    absgd         rare classes: cross entropy, weighed by class, ABSGD; wrong labels: cross entropy, ABSGD
    linking       our encoders, the residual CNN on its own and on borrowed embeddings, trigrams
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.protocol import Experiment, sets, slug
from experiments.related_methods.methods import METHODS, TRIED
from experiments.related_methods.sizes import Sizes
from leanformer.linking.settings import KINDS
from leanformer.study.job import Job

STUDIES = ("convbert", "clusters", "pst", "regsl", "absgd", "linking")
STAGES = ("base", "comparisons", "trials", "studies")
BASES = ("dot_product", "shared")
CONV, GROUPS = "model.mixer=convolution", "model.feed_forward_groups=2"
ARMS = (
    "dot_product",
    f"dot_product[{CONV}]",
    f"dot_product[{GROUPS}]",
    f"dot_product[{CONV},{GROUPS}]",
    f"dot_product[parameters=dot_product[{CONV}]]",
    f"dot_product[parameters=dot_product[{CONV},{GROUPS}]]",
    *(f"{name}{bracket}" for name in ("symmetric", "pairwise", "shared") for bracket in ("", f"[{CONV}]")),
)
CLUSTERS = tuple(f"dot_product[model.mixer=clusters,model.mixer_options.ratio={ratio}]" for ratio in (4, 16))
TEXTS = ("trec", "ag_news")
"""More than two classes: with 60 % wrong labels, two would be turned round."""
NOISE, IMBALANCE = (0.0, 0.2, 0.4, 0.6), (10.0, 100.0)
TRIAL_NOISE, TRIAL_IMBALANCE, TRIAL_SEED = 0.4, 100.0, 101
LENGTHS = {"pst": 64, "regsl": 32, "absgd": 32}
"""Tokens that are read of a text, or a pair."""
LINKING_RATES = (3e-4, 1e-3, 3e-3, 1e-2)
"""Each kind of encoder has one of its own."""
GRID = (str(Path(__file__).parents[1] / "finetuning.py"),)


@dataclass(frozen=True, kw_only=True)
class MethodJob(Job):
    """Its name is its folder in OUT."""

    out: Path
    study: str
    needs: tuple[str, ...] = ()
    """Names of jobs."""
    row: dict[str, Any] = field(default_factory=dict, hash=False)
    """What it is, for the records."""
    work: dict[str, Any] = field(default_factory=dict, hash=False)
    """What it reads, for the estimate (`cost.py`)."""

    @property
    def ready(self) -> bool:
        return all(marker(self.out, name).is_file() for name in self.needs)

    @property
    def finished(self) -> bool:
        """By this very command: more seeds are another one, which does the rest."""
        file = marker(self.out, self.name)
        return file.is_file() and json.loads(file.read_text(encoding="utf-8"))["arguments"] == list(self.arguments)


@dataclass(frozen=True, kw_only=True)
class Protocol(Experiment):
    """The settings are those of the encoders: the recipe, with the budget of `sizes`."""

    linking_data: Path
    studies: tuple[str, ...]
    glue: tuple[str, ...]
    """Tasks of pst."""
    texts: tuple[str, ...]
    """Tasks of regsl and absgd."""
    corpora: tuple[str, ...]
    sizes: Sizes

    def job(self, path: str, study: str, arguments: tuple[str, ...], **more: Any) -> MethodJob:
        return MethodJob(**self.place(path), out=self.out, study=study, arguments=arguments, **more)

    def tasks(self, study: str) -> tuple[str, ...]:
        return self.glue if study == "pst" else self.texts

    def tried_on(self, name: str) -> tuple[str, ...]:
        tried = TRIED[name]
        return self.tasks(tried.study)[: None if tried.on_every_task else 1]

    def trial(self, name: str, task: str) -> str:
        """The job that chooses for the task."""
        on = self.tried_on(name)
        return trial_path(name, task if task in on else on[0])

    def chosen(self, name: str, task: str) -> tuple[str, ...]:
        """What the trial chose for a tried thing, or its middle candidate before there was a trial."""
        tried, path = TRIED[name], self.trial(name, task)
        file = self.out / path / "finetuning.json"
        scores: dict[str, float] = {}
        if marker(self.out, path).is_file():
            for row in json.loads(file.read_text(encoding="utf-8"))["rows"]:
                if row["score"] is not None:
                    scores[row["way"]] = row[tried.metric]
        if not scores:
            return tried.candidates[len(tried.candidates) // 2]
        best = max(scores, key=lambda way: scores[way])
        return tried.candidates[int(best.rpartition("-")[2])]

    def linking_tried(self) -> dict[str, dict[float, float]]:
        """accuracy@1 of the rates that were tried, of each kind of encoder."""
        scores: dict[str, dict[float, float]] = {kind: {} for kind in KINDS}
        for rate in LINKING_RATES:
            file = self.out / f"trials/linking-{rate:g}/results.json"
            if file.is_file():
                for row in json.loads(file.read_text(encoding="utf-8"))["encoders"]:
                    scores[row["kind"]][rate] = row["accuracy@1"]["mean"]
        return scores

    def linking_rates(self) -> dict[str, float]:
        """The best of those tried, or the second before there was a trial."""
        return {
            kind: max(scores, key=lambda rate: scores[rate]) if scores else LINKING_RATES[1]
            for kind, scores in self.linking_tried().items()
        }


def marker(out: Path, path: str) -> Path:
    """A file that says that a job is finished, by what command and in how many seconds."""
    return out / "finished" / f"{slug(path)}.json"


def stage(p: Protocol, name: str) -> list[MethodJob]:
    """Of the studies that are asked for, the first study's first."""
    return [job for job in MAKERS[name](p) if job.study == "base" or job.study in p.studies]


def base(name: str) -> str:
    return f"base/{name}"


def trial_path(name: str, task: str) -> str:
    return f"trials/{name}/{task}"


def _base(p: Protocol) -> Iterator[MethodJob]:
    for name in BASES:
        wanted = {"linking"} if name != BASES[0] else {"pst", "regsl", "absgd", "linking"}
        if wanted & set(p.studies):
            tokens = p.sizes.of("base_tokens")
            settings = [f"model.attention={name}", f"training.max_tokens={tokens}", f"training.threads={p.threads}"]
            arguments = ("pretrain", str(p.out / "settings.json"), "--data", str(p.data))
            arguments += ("--out", str(p.out / base(name)), *sets(settings))
            yield p.job(base(name), "base", arguments, row={"attention": name}, work={"tokens": tokens})


def _comparisons(p: Protocol) -> Iterator[MethodJob]:
    tokens = p.sizes.of("compared_tokens")
    yield _comparison(p, "convbert", "convbert", ARMS, tokens)
    tokens = p.sizes.of("cluster_tokens")
    learned = ["model.positions=learned"]
    yield _comparison(p, "clusters/quality", "clusters", (BASES[0], *CLUSTERS), tokens, *learned)
    threads, longest = p.threads * p.jobs, p.sizes.of("longest")
    lengths = ",".join(str(longest // part) for part in (8, 4, 2, 1))
    arguments = ("bench", "mechanisms", "--attention", ",".join(CLUSTERS), "--sizes", "mini")
    arguments += ("--lengths", lengths, "--tokens", str(longest), "--dropout", "0", "--device", "cpu")
    arguments += ("--rounds", str(p.sizes.of("rounds")), "--threads", str(threads))
    arguments += ("--set", "model.positions=learned", "--out", str(p.out / "clusters/speed"), "--quiet")
    yield p.job("clusters/speed", "clusters", arguments, work={"rounds": p.sizes.of("rounds")})


def _comparison(p: Protocol, path: str, study: str, arms: tuple[str, ...], tokens: int, *more: str) -> MethodJob:
    settings = [f"training.max_tokens={tokens}", f"training.threads={p.threads}", *more]
    arguments = ("compare", str(p.out / "settings.json"), "--data", str(p.data), "--out", str(p.out / path))
    arguments += ("--attention", ",".join(arms), "--seeds", str(p.seeds), "--jobs", str(p.jobs), *sets(settings))
    work = {"tokens": len(arms) * p.seeds * tokens, "runs": len(arms) * p.seeds}
    return p.job(path, study, (*arguments, "--quiet"), work=work)


def _trials(p: Protocol) -> Iterator[MethodJob]:
    for name, tried in TRIED.items():
        ways = {f"{name}-{i}": (*tried.settings, *candidate) for i, candidate in enumerate(tried.candidates)}
        noise, imbalance = {"noise": (TRIAL_NOISE, 1.0), "rare": (0.0, TRIAL_IMBALANCE)}.get(tried.spoilt, (0.0, 1.0))
        for task in p.tried_on(name):
            yield _grid(p, trial_path(name, task), tried.study, task, ways, noise, imbalance, 1, TRIAL_SEED)
    for rate in LINKING_RATES:
        yield _link(p, f"trials/linking-{rate:g}", p.corpora[0], dict.fromkeys(KINDS, rate), 1, "validation")


def _studies(p: Protocol) -> Iterator[MethodJob]:
    for study, conditions in (
        ("pst", {"": [(0.0, 1.0)]}),
        ("regsl", {"": [(noise, 1.0) for noise in NOISE]}),
        ("absgd", {"rare": [(0.0, ratio) for ratio in IMBALANCE], "noise": [(noise, 1.0) for noise in NOISE[1:]]}),
    ):
        for task in p.tasks(study):
            for kind, cells in conditions.items():
                ways = {
                    method.name: (
                        *method.settings,
                        *(setting for name in method.tried for setting in p.chosen(name, task)),
                    )
                    for method in METHODS[study]
                    if kind in ("", method.spoilt)
                }
                tried = {name: p.trial(name, task) for method in METHODS[study] for name in method.tried}
                for noise, imbalance in cells:
                    path = f"{study}/{task}/noise-{noise:g}-imbalance-{imbalance:g}"
                    yield _grid(p, path, study, task, ways, noise, imbalance, p.seeds, 1, tuple(tried.values()))
    for corpus in p.corpora:
        yield _link(p, f"linking/{corpus}", corpus, p.linking_rates(), p.seeds, "test")


MAKERS = dict(zip(STAGES, (_base, _comparisons, _trials, _studies), strict=True))


def _grid(
    p: Protocol, path: str, study: str, task: str, ways: dict[str, tuple[str, ...]], noise: float, imbalance: float,
    seeds: int, first_seed: int, tried: tuple[str, ...] = (),
) -> MethodJob:  # fmt: skip
    """All seeds of all methods in one process of `finetuning.py`."""
    spoilt = noise > 0 or study == "regsl"
    examples = p.sizes.of("noisy_examples" if spoilt else "examples")
    epochs = p.sizes.of("noisy_epochs" if spoilt else "epochs")
    settings = [f"max_train_examples={examples}", f"max_eval_examples={p.sizes.of('judged')}", f"epochs={epochs}"]
    settings += [f"max_length={LENGTHS[study]}", "learning_rate=1e-3", f"threads={p.threads}"]
    arguments = (str(p.out / base(BASES[0])), "--task-data", p.task_data, "--out", str(p.out / path), "--tasks", task)
    arguments += ("--ways", ",".join(ways))
    for name, own in ways.items():
        arguments += ("--way", f"{name}={','.join(own)}")
    arguments += ("--label-noise", f"{noise:g}", "--imbalance", f"{imbalance:g}", "--seeds", str(seeds))
    arguments += ("--first-seed", str(first_seed), *sets([f"finetuning.{each}" for each in settings]))
    work = {
        "task": task,
        "length": LENGTHS[study],
        "examples": examples,
        "epochs": epochs,
        "imbalance": imbalance,
        "seeds": seeds,
    }
    needs = (base(BASES[0]), *tried)
    row = {"task": task, "examples": examples, "epochs": epochs}
    row |= {"ways": {name: list(own) for name, own in ways.items()}}
    return p.job(path, study, arguments, program=GRID, needs=needs, row=row, work=work)


def _link(p: Protocol, path: str, corpus: str, rates: dict[str, float], seeds: int, split: str) -> MethodJob:
    """Of a trial one encoder a kind."""
    trial = split == "validation"
    bases = tuple(base(name) for name in (BASES[:1] if trial else BASES))
    kinds = {"transformer": [str(p.out / each) for each in bases], "rescnn": ["rescnn"]}
    if not trial:
        kinds["rescnn"].append(f"rescnn:{p.out / bases[0]}")
        kinds["tfidf"] = ["tfidf"]
    needs = bases if trial else (*bases, *(f"trials/linking-{rate:g}" for rate in LINKING_RATES))
    epochs = {"transformer": p.sizes.of("linking_epochs"), "rescnn": p.sizes.of("rescnn_epochs")}
    settings = [f"threads={p.threads}"]
    for kind in KINDS:
        settings += [f"{kind}.epochs={epochs[kind]}", f"{kind}.learning_rate={rates[kind]}"]
    arguments = ("link", *(encoder for own in kinds.values() for encoder in own))
    arguments += ("--data", str(p.linking_data / corpus), "--split", split)
    arguments += ("--out", str(p.out / path), "--seeds", str(seeds), "--discard-model")
    arguments += sets([f"linking.{each}" for each in settings])
    work = {
        "corpus": corpus,
        "epochs": epochs,
        "seeds": seeds,
        "encoders": {kind: len(own) for kind, own in kinds.items()},
    }
    row = {"corpus": corpus, "learning_rates": rates, "epochs": epochs}
    return p.job(path, "linking", arguments, needs=needs, work=work, row=row)
