"""Records of many long runs: what is done once per point is done by a library, and pictures do not grow with them."""

from leanformer.reporting.analysis import ratios
from leanformer.reporting.figures.curves import POINTS, on_one_grid
from leanformer.reporting.numbers.statistics import paired_difference
from leanformer.reporting.records import runs
from leanformer.reporting.records.study import read_study
from leanformer.reporting.write import write_report


def test_long_curves_are_read_whole_and_drawn_thin(fabricate):
    directory = fabricate(effects={"dot_product": 0.0, "pairwise": -0.03}, seeds=(1, 2), points=2_000)
    study = read_study(directory)
    assert all(len(run.curve) == len(run.clock) == 2_000 and run.columns.shape == (3, 2_001) for run in study.runs)
    tokens, losses = on_one_grid([run.curve for run in study.runs])
    assert len(tokens) == POINTS == losses.shape[1]
    assert (tokens[0], tokens[-1]) == (study.runs[0].curve[0][0], study.runs[0].curve[-1][0])
    write_report(directory)
    assert (directory / "figures/curves.svg").stat().st_size < 300_000


def test_a_curve_is_prepared_once_whatever_is_asked_of_it(fabricate, monkeypatch):
    made = []

    class Counted(runs.Descent):
        def __init__(self, curve):
            made.append(len(curve))
            super().__init__(curve)

    drawn = []
    monkeypatch.setattr(runs, "Descent", Counted)
    monkeypatch.setattr(ratios, "paired_difference", lambda d, **how: drawn.append(how) or paired_difference(d, **how))
    directory = fabricate(seeds=range(1, 4), points=50)
    write_report(directory)
    assert made == [50] * 12
    assert drawn and all(how == {"bootstrap": False} for how in drawn)


def test_lines_of_a_log_are_read_alike_at_once_and_one_by_one(tmp_path):
    file = tmp_path / "curve.jsonl"
    whole = '{"step": 1, "text": "a\u2028b\x85c"}\n{"step": 2}\n'
    for text in (whole, whole + '{"step": 3, "tok', whole.removesuffix("\n")):
        file.write_text(text, encoding="utf-8")
        assert [line["step"] for line in runs.read_lines(file)] == [1, 2]
