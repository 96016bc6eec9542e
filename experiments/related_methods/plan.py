"""What the experiment does, in jobs: a command each, with what it reads and hence what it costs.

    base          the encoders that are fine-tuned: dot_product, and shared for entity linking
    comparisons   what pre-trains arms side by side, and clocks them: one job at a time, it has the machine
    trials        a seed of its own chooses what is left open of a method
    studies       fine-tuning by methods, and linking: all seeds

Studies, with the methods and sizes of `plan.toml`:

    convbert      ConvBERT's mixer and grouped feed-forward layers by `compare`, with four projections and a control
    clusters      ClusTR: time and memory of long sequences by `bench mechanisms`, and a short `compare` of quality
    pst           dense, pruned by magnitude, PST: GLUE
    regsl         plain, distance, self-labelling, both: shares of wrong labels
    absgd         rare classes: cross entropy, weighed by class, ABSGD; wrong labels: cross entropy, ABSGD
    linking       our encoders, the residual CNN on its own and on borrowed embeddings, trigrams
"""

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.protocol import Experiment, ExperimentJob, command, read_result, slug
from leanformer.linking.settings import KINDS

STUDIES = ("convbert", "clusters", "pst", "regsl", "absgd", "linking")
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
GRID = (str(Path(__file__).parents[2] / "benchmarks" / "finetuning.py"),)
PLAN = tomllib.loads(Path(__file__).with_name("plan.toml").read_text(encoding="utf-8"))


def sizes(scale: float = 1.0) -> dict[str, Any]:
    """What the budget is spent on; `scale` makes everything smaller for a trial of the whole."""
    least = PLAN["least"]
    scaled = {name: type(value)(value * scale) for name, value in PLAN["sizes"].items()}
    return {"scale": scale, **{name: max(least.get(name, 1), value) for name, value in scaled.items()}}


@dataclass(frozen=True, kw_only=True)
class MethodJob(ExperimentJob):
    study: str
    work: dict[str, Any] = field(default_factory=dict, hash=False)
    """What it reads, for the estimate."""

    @property
    def ready(self) -> bool:
        return all(marker(self.out, name).is_file() for name in self.needs)

    @property
    def finished(self) -> bool:
        """Whether this very command finished it; one with more seeds is another command, which does the rest."""
        file = marker(self.out, self.name)
        return file.is_file() and read_result(file)["arguments"] == list(self.arguments)


@dataclass(frozen=True, kw_only=True)
class Plan(Experiment):
    """The settings are those of the encoders: the recipe, with the budget of `sizes`."""

    linking_data: Path
    studies: tuple[str, ...]
    glue: tuple[str, ...]
    """Tasks of pst."""
    texts: tuple[str, ...]
    """Tasks of regsl and absgd: more than two classes, for with 60 % wrong labels two would be turned round."""
    corpora: tuple[str, ...]
    sizes: dict[str, Any]

    def stage(self, name: str) -> list[MethodJob]:
        """Returns the jobs of the studies that are asked for, the first study's first."""
        return [job for job in super().stage(name) if job.study == "base" or job.study in self.studies]

    def job(self, path: str, study: str, arguments: tuple[str, ...], **more: Any) -> MethodJob:
        return MethodJob(**self.place(path), study=study, arguments=arguments, **more)

    def tasks(self, group: str) -> tuple[str, ...]:
        return getattr(self, PLAN["groups"][group]["tasks"])

    def tried_on(self, name: str) -> tuple[str, ...]:
        group = PLAN["tried"][name]["group"]
        return self.tasks(group)[: 1 if PLAN["groups"][group].get("tried_on_first") else None]

    def trial(self, name: str, task: str) -> str:
        """The job that chooses for the task."""
        on = self.tried_on(name)
        return f"trials/{name}/{task if task in on else on[0]}"

    def tried(self, name: str, task: str) -> dict[str, Any]:
        """The candidates of a trial with what they reached, and the chosen one: before there was a trial the middle."""
        tried, path = PLAN["tried"][name], self.trial(name, task)
        metric, scores = PLAN["groups"][tried["group"]].get("metric", "score"), {}
        if marker(self.out, path).is_file():
            rows = read_result(self.out / path / "finetuning.json")["rows"]
            scores = {row["way"]: row[metric] for row in rows if row["score"] is not None}
        candidates = [each.split(",") for each in tried["candidates"]]
        reached = [scores.get(f"{name}-{number}") for number in range(len(candidates))]
        return _choice(path.rpartition("/")[2], metric, candidates, reached, len(candidates) // 2)

    def tried_rates(self, kind: str) -> dict[str, Any]:
        """The same of the rates of a kind of encoder; before there was a trial the second."""
        reached = []
        for rate in PLAN["linking_rates"]:
            file = self.out / f"trials/linking-{rate:g}/results.json"
            rows = read_result(file)["encoders"] if file.is_file() else []
            reached.append(next((row["accuracy@1"]["mean"] for row in rows if row["kind"] == kind), None))
        candidates = [[f"learning_rate={rate:g}"] for rate in PLAN["linking_rates"]]
        return _choice(self.corpora[0], "accuracy@1", candidates, reached, 1)

    def methods(self, group: str, task: str) -> dict[str, list[str]]:
        """The settings of every method of a group, with what trials have chosen for the task."""
        chosen = {name: ",".join(self.tried(name, task)["chosen"]) for name in _trials_of(group)}
        return {
            name: [each for each in settings.format(**chosen).split(",") if each]
            for name, settings in PLAN["methods"][group].items()
        }

    def encoders(self) -> Iterator[MethodJob]:
        for name in BASES:
            wanted = {"linking"} if name != BASES[0] else {"pst", "regsl", "absgd", "linking"}
            if wanted & set(self.studies):
                tokens = self.sizes["base_tokens"]
                settings = [f"model.attention={name}", *self._training(tokens)]
                where = {"data": self.data, "out": self.out / f"base/{name}"}
                arguments = command("pretrain", self.out / "settings.json", **where, set=settings)
                yield self.job(f"base/{name}", "base", arguments, row={"attention": name}, work={"tokens": tokens})

    def comparisons(self) -> Iterator[MethodJob]:
        yield self._comparison("convbert", "convbert", ARMS, "compared_tokens")
        learned, threads = ["model.positions=learned"], self.threads * self.jobs
        yield self._comparison("clusters/quality", "clusters", (BASES[0], *CLUSTERS), "cluster_tokens", *learned)
        rounds, longest = self.sizes["rounds"], self.sizes["longest"]
        lengths = ",".join(str(longest // part) for part in (8, 4, 2, 1))
        arguments = command(
            "bench", "mechanisms", attention=",".join(CLUSTERS), sizes="mini", lengths=lengths, tokens=longest,
            dropout=0, device="cpu", rounds=rounds, threads=threads, set=learned, out=self.out / "clusters/speed",
            quiet=True,
        )  # fmt: skip
        yield self.job("clusters/speed", "clusters", arguments, work={"rounds": rounds})

    def trials(self) -> Iterator[MethodJob]:
        for name, tried in PLAN["tried"].items():
            settings = [f"{tried.get('settings', '')},{candidate}".strip(",") for candidate in tried["candidates"]]
            methods = {f"{name}-{number}": each.split(",") for number, each in enumerate(settings)}
            group = tried["group"]
            for task in self.tried_on(name):
                condition = PLAN["groups"][group]["tried_in"]
                yield self._grid(self.trial(name, task), group, task, methods, condition, trial=True)
        for rate in PLAN["linking_rates"]:
            yield self._link(f"trials/linking-{rate:g}", self.corpora[0], dict.fromkeys(KINDS, rate), trial=True)

    def measurements(self) -> Iterator[MethodJob]:
        for group, of in PLAN["groups"].items():
            for task in self.tasks(group):
                methods = self.methods(group, task)
                needs = [self.trial(name, task) for name in _trials_of(group)]
                for condition in of["conditions"]:
                    path = f"{of['study']}/{task}/noise-{condition[0]:g}-imbalance-{condition[1]:g}"
                    yield self._grid(path, group, task, methods, condition, needs)
        rates = {kind: float(self.tried_rates(kind)["chosen"][0].partition("=")[2]) for kind in KINDS}
        needs = [f"base/{BASES[1]}", *(f"trials/linking-{rate:g}" for rate in PLAN["linking_rates"])]
        for corpus in self.corpora:
            yield self._link(f"linking/{corpus}", corpus, rates, needs)

    def _training(self, tokens: int) -> list[str]:
        return [f"training.max_tokens={tokens}", f"training.threads={self.threads}"]

    def _comparison(self, path: str, study: str, arms: tuple[str, ...], size: str, *more: str) -> MethodJob:
        tokens = self.sizes[size]
        arguments = command(
            "compare", self.out / "settings.json", data=self.data, out=self.out / path, attention=",".join(arms),
            seeds=self.seeds, jobs=self.jobs, set=[*self._training(tokens), *more], quiet=True,
        )  # fmt: skip
        runs = len(arms) * self.seeds
        return self.job(path, study, arguments, work={"tokens": runs * tokens, "runs": runs})

    def _grid(
        self, path: str, group: str, task: str, methods: dict[str, list[str]], condition: Sequence[float],
        needs: Sequence[str] = (), trial: bool = False,
    ) -> MethodJob:  # fmt: skip
        """All seeds of all methods in one process of `finetuning.py`."""
        study, length = PLAN["groups"][group]["study"], PLAN["groups"][group]["length"]
        noise, imbalance = condition
        prefix = "noisy_" if noise > 0 or study == "regsl" else ""
        examples, epochs = (self.sizes[f"{prefix}{size}"] for size in ("examples", "epochs"))
        settings = [f"max_train_examples={examples}", f"max_eval_examples={self.sizes['judged']}"]
        settings += [f"epochs={epochs}", f"max_length={length}", "learning_rate=1e-3", f"threads={self.threads}"]
        seeds = 1 if trial else self.seeds
        arguments = command(
            self.out / f"base/{BASES[0]}", task_data=self.task_data, out=self.out / path, tasks=task,
            methods=",".join(methods), method=[f"{name}={','.join(own)}" for name, own in methods.items()],
            label_noise=f"{noise:g}", imbalance=f"{imbalance:g}", seeds=seeds,
            first_seed=PLAN["trial_seed"] if trial else 1, set=[f"finetuning.{each}" for each in settings],
        )  # fmt: skip
        row = {"task": task, "examples": examples, "epochs": epochs, "ways": methods}
        work = {"length": length, "imbalance": imbalance, "seeds": seeds}
        needs = (f"base/{BASES[0]}", *needs)
        return self.job(path, study, arguments, program=GRID, needs=needs, row=row, work=work)

    def _link(
        self, path: str, corpus: str, rates: dict[str, float], needs: Sequence[str] = (), trial: bool = False
    ) -> MethodJob:
        """Returns a linking job; a trial takes one encoder per kind."""
        bases = [str(self.out / f"base/{name}") for name in (BASES[:1] if trial else BASES)]
        others = ["rescnn"] if trial else ["rescnn", f"rescnn:{bases[0]}", "tfidf"]
        epochs = {"transformer": self.sizes["linking_epochs"], "rescnn": self.sizes["rescnn_epochs"]}
        settings = [f"threads={self.threads}"]
        for kind in KINDS:
            settings += [f"{kind}.epochs={epochs[kind]}", f"{kind}.learning_rate={rates[kind]}"]
        seeds = 1 if trial else self.seeds
        arguments = command(
            "link", *bases, *others, data=self.linking_data / corpus, split="validation" if trial else "test",
            out=self.out / path, seeds=seeds, discard_model=True, set=[f"linking.{each}" for each in settings],
        )  # fmt: skip
        row = {"corpus": corpus, "learning_rates": rates, "epochs": epochs}
        work = {"seeds": seeds, "transformer": len(bases), "rescnn": len(others) - (not trial), "others": not trial}
        needs = (f"base/{BASES[0]}", *needs)
        return self.job(path, "linking", arguments, needs=needs, work=work, row=row)

    stages = {"base": encoders, "comparisons": comparisons, "trials": trials, "studies": measurements}
    alone = "comparisons"
    page = "related-methods.md"


def marker(out: Path, path: str) -> Path:
    """A file that says that a job is finished, by what command and in how many seconds."""
    return out / "finished" / f"{slug(path)}.json"


def _trials_of(group: str) -> list[str]:
    named = " ".join(PLAN["methods"][group].values())
    return [name for name in PLAN["tried"] if f"{{{name}}}" in named]


def _choice(
    task: str, metric: str, candidates: list[list[str]], reached: list[float | None], middle: int
) -> dict[str, Any]:
    """The best of the candidates, the first of equals."""
    known = {number: score for number, score in enumerate(reached) if score is not None}
    best = max(known, key=lambda number: known[number]) if known else middle
    rows = [{"settings": own, metric: score} for own, score in zip(candidates, reached, strict=True)]
    return {"task": task, "candidates": rows, "chosen": candidates[best]}
