"""The tables of tasks: scores, their differences over seeds and over examples, and the effect of collapsed runs."""

from leanformer.reporting.analysis.chance import NO_BETTER, above_chance, chance
from leanformer.reporting.analysis.comparison import AVERAGE, Comparison, Findings
from leanformer.reporting.comparison.tables import DAGGER, judged, signed_points
from leanformer.reporting.numbers.margins import task_margin_of
from leanformer.reporting.numbers.quantities import NONE, fixed, p_value, signed
from leanformer.reporting.numbers.statistics import spread
from leanformer.reporting.records.runs import FineTuning
from leanformer.reporting.records.study import Study
from leanformer.reporting.render.document import Table


def task_scores(study: Study) -> Table:
    rows = [
        [task, _chance(study, task), *(_score(study, name, task) for name in study.attention)] for task in study.tasks
    ]
    caption = (
        f"Score x 100 {study.wording.scored}, mean ± sd over all {study.wording.tasks} (in brackets: how many, "
        f"pre-training seeds times {study.wording.task} seeds). Collapsed runs are counted and kept. Chance: "
        f"the best answer that does not look at the input. {DAGGER} {NO_BETTER.capitalize()}: the one-sided 95 % "
        "lower bound of the score, over pre-training seeds (over examples for one), does not lie above it."
    )
    return Table(["Task", "Chance", *study.attention], rows, "lr" + "r" * len(study.attention), caption)


def task_differences(findings: Findings) -> Table:
    tested, rows = any(test.p_value is not None for test in findings.examples), []
    for task in [*findings.study.tasks, AVERAGE]:
        for c in findings.of(task):
            name = "all tasks, average" if task == AVERAGE else task
            by_seed = ", ".join(
                f"{seed}: {signed(100 * (a - b), 1)}" for seed, (a, b) in zip(c.seeds, c.values, strict=True)
            )
            row = [name, c.attention, *judged(c, signed_points), *(_over_examples(findings, c) if tested else [])]
            rows.append([*row, by_seed or NONE])
    header = ["Task", "Attention", "Difference [95 % CI]", "Holm p", "of equivalence", "Verdict", "By seed"]
    caption = (
        "Points (score x 100), mechanism minus baseline; positive is better. Each pre-training seed counts once, with "
        f"the mean of its {findings.study.wording.tasks}. Holm p: of no difference, and of one of "
        f"{100 * task_margin_of(findings.study.plan):g} points or more, over all mechanisms and tasks of this table "
        "that can be tested."
    )
    if not tested:
        return Table(header, rows, "llrrrll", caption)
    header[6:6] = ["Over examples", "Holm p"]
    caption += (
        " Over examples: the same trained models, and chance only in which examples the task has; the difference's "
        "95 % interval by the paired bootstrap, and p of McNemar's or the randomisation test, Holm's correction over "
        "all mechanisms and tasks. The verdict is that of the seeds."
    )
    return Table(header, rows, "llrrrlrrl", caption)


def _over_examples(findings: Findings, c: Comparison) -> list[str]:
    test = next((t for t in findings.examples if (t.attention, t.task) == (c.attention, c.metric)), None)
    if test is None or test.ci95 is None or test.p_value_holm is None:
        return [NONE, NONE]
    low, high = (signed(100 * end, 1) for end in test.ci95)
    return [f"[{low}, {high}]", p_value(test.p_value_holm).removeprefix("= ")]


def collapsed(findings: Findings) -> Table:
    """Returns the table, with and without collapsed runs, of every mechanism that they affect."""
    study, rows = findings.study, []
    for task in dict.fromkeys(c.metric for c in findings.without_collapsed):
        collapses = {name: sum(t.collapsed for t in study.finetunings(task, name)) for name in study.attention}
        for name in study.attention:
            if not collapses[name] and not collapses[study.baseline or ""]:
                continue
            done = [t for t in study.finetunings(task, name) if t.score is not None]
            row = [
                task,
                name,
                f"{collapses[name]} of {len(done)}",
                _mean(done),
                _mean([t for t in done if not t.collapsed]),
            ]
            found = [
                judged(c, signed_points)
                for family in (findings.of(task), findings.without_collapsed)
                for c in family
                if (c.attention, c.metric) == (name, task)
            ]
            verdicts = list(dict.fromkeys(verdict for *_, verdict in found))
            rows.append([*row, *([found[0][0], found[1][0]] if found else ["", ""]), ", without: ".join(verdicts)])
    header = [
        "Task",
        "Attention",
        "Collapsed",
        "Mean",
        "Without",
        "Difference [95 % CI]",
        "Without [95 % CI]",
        "Verdict",
    ]
    caption = (
        "Score x 100, mean ± sd, with the collapsed runs and without them. Differences to the baseline are paired by "
        "pre-training seed; without: of the task's seeds at which neither collapsed. A run has collapsed if it "
        "answers the same whatever it reads (a regression: variance 0), or if its Matthews correlation is 0."
    )
    return Table(header, rows, "llrrrrrl", caption)


def example_tests(findings: Findings) -> Table:
    """Returns the table of tests over examples, for every pair of fine-tuned models."""
    rows = []
    for test in findings.examples:
        for one in test.each:
            pair = [str(one.seed), str(one.task_seed), str(test.examples)]
            alone = [str(one.only), str(one.only_baseline)]
            rows.append([test.task, test.attention, *pair, *alone, p_value(one.p_value).removeprefix("= ")])
    noun = findings.study.wording.task.capitalize()
    header = ["Task", "Attention", "Pre-training seed", f"{noun} seed", "Examples", "It alone right"]
    caption = (
        "McNemar's exact test for every pair of models: of the examples that one alone gets right, how many are the "
        "mechanism's and the baseline's; p is not corrected."
    )
    return Table([*header, "Baseline alone right", "p"], rows, "llrrrrrr", caption)


def _mean(done: list[FineTuning]) -> str:
    result = spread([100 * t.score for t in done if t.score is not None])
    if result.mean is None:
        return NONE
    return f"{fixed(result.mean, 1)}" + ("" if result.sd is None else f" ± {result.sd:.1f}") + f" ({result.n})"


def finetunings(study: Study) -> Table:
    rows = [
        [
            t.task,
            run.attention,
            str(run.seed),
            str(t.seed),
            NONE if t.score is None else fixed(100 * t.score, 1),
            (f"{t.status}: {t.problem}" if t.problem else t.status) + (", collapsed" if t.collapsed else ""),
        ]
        for task in study.tasks
        for run in study.runs
        for t in run.finetunings
        if t.task == task
    ]
    header = [
        "Task",
        "Attention",
        "Pre-training seed",
        f"{study.wording.task.capitalize()} seed",
        "Score x 100",
        "Status",
    ]
    return Table(header, rows, "llrrrw")


def _score(study: Study, name: str, task: str) -> str:
    done = [t for run in study.at(name) for t in run.finetunings if t.task == task and t.score is not None]
    result = spread([100 * t.score for t in done if t.score is not None])
    if result.mean is None:
        return NONE
    collapsed = sum(t.collapsed for t in done)
    marked = f", {collapsed} collapsed" if collapsed else ""
    deviation = "" if result.sd is None else f" ± {result.sd:.1f}"
    blind = DAGGER if above_chance(study, task, name) is False else ""
    return f"{fixed(result.mean, 1)}{deviation} ({result.n}{marked}){blind}"


def _chance(study: Study, task: str) -> str:
    level = chance(study, task)
    return NONE if level is None else fixed(100 * level, 1)
