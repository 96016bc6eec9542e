"""A run and a comparison as objects: what they say is what their records and reports say."""

import json
import math

import pytest

import leanformer as lf
from leanformer.settings import read_settings
from leanformer.training.pretrain import pretrain

pandas = pytest.importorskip("pandas")


def test_the_function_trains_as_the_command_does(run, data, tiny, tmp_path):
    settings = read_settings(None, [*tiny[1::2], "model.attention=pairwise"])
    other = pretrain(settings, data, tmp_path / "run", quiet=True)
    assert run.record["settings"] == other["settings"]
    assert run.record["model"]["sha256"] == other["model"]["sha256"]


def test_a_run_gives_its_record_curve_model_and_picture(run):
    record = json.loads((run.path / "run.json").read_text())
    assert isinstance(run, lf.Run) and run.record == {key: record[key] for key in record if key != "checksum"}
    assert list(run.curve["step"]) == [1, 2, 3, 4]
    assert run.curve["validation_loss"].iloc[-1] == run.record["results"]["final_loss"]
    assert math.isnan(run.curve["validation_loss"].iloc[0])
    assert type(run.model()).__name__ == "LeanformerForMaskedLM" and run.tokenizer().mask_token == "[MASK]"
    assert (
        repr(run) == f"Run({str(run.path)!r}): pairwise, finished, loss {run.record['results']['final_loss']:.4g} nats"
    )
    figure = run.plot()
    assert figure.axes[0].get_title(loc="left") == "Validation loss (nats)" and "<svg" in figure._repr_svg_()


def test_a_run_goes_on_only_when_asked(run, data, small):
    with pytest.raises(FileExistsError, match="already holds a run"):
        lf.pretrain(data, out=run, attention="pairwise", quiet=True, **small)
    before = run.record
    assert lf.pretrain(data, out=run, resume="auto", quiet=True).record == before
    assert lf.pretrain(out=run, resume=True, quiet=True, attention="pairwise", **small).record == before
    with pytest.raises(ValueError, match="was made with model.attention"):
        lf.pretrain(data, out=run, resume=True, quiet=True, attention="symmetric", **small)
    with pytest.raises(ValueError, match="resume = 'yes'"):
        lf.pretrain(data, out=run, resume="yes")


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"attention": "pairwis"}, "did you mean 'pairwise'"),
        ({"attention": ["pairwise", "shared"]}, "name one mechanism"),
        ({"attention": "pairwise[rank=3]"}, "rank"),
        ({"attention": "dot_product[parameters=shared]"}, "is for leanformer compare"),
        ({"hidden_siz": 3}, "did you mean 'hidden_size'"),
        ({"minutes": 1}, "say what to train"),
        ({"recipe": "fast", "minutes": 1, "init": "somewhere"}, "without a plan"),
        ({"plugin": "missing.py", "attention": "pairwise"}, "plug-in missing.py does not exist"),
    ],
)
def test_mistakes_are_refused_before_anything_is_written(arguments, message, data, small, tmp_path):
    with pytest.raises((ValueError, OSError), match=message):
        lf.pretrain(data, out=tmp_path / "run", quiet=True, **(small if "recipe" not in arguments else {}) | arguments)
    assert not (tmp_path / "run").exists()


def test_a_comparison_gives_runs_verdicts_curves_and_pictures(comparison):
    record = json.loads((comparison.path / "results.json").read_text())
    assert list(comparison.runs["final_loss"]) == [run["final_loss"] for run in record["runs"]]
    (verdict,) = comparison.verdicts.to_dict("records")
    (found,) = record["comparisons"]
    assert (verdict["attention"], verdict["verdict"]) == ("symmetric", found["verdict"])
    curves = comparison.curves
    assert (
        len(curves) == 16 and set(curves["attention"]) == {"dot_product", "symmetric"} and set(curves["seed"]) == {1, 2}
    )
    assert "nats" in comparison.plot().axes[0].get_title(loc="left")
    assert comparison.plot("parameters").axes
    with pytest.raises(ValueError, match="no picture 'curve': did you mean 'curves'"):
        comparison.plot("curve")
    page = comparison._repr_html_()
    assert page.count("<tr>") == 3 and "<svg" in page and "<style" not in page.partition("<svg")[0]
    assert found["verdict"] in page and record["headline"] in repr(comparison)


def test_the_report_says_how_to_repeat_the_call(comparison, data):
    command = json.loads((comparison.path / "results.json").read_text())["command"]
    assert command == (
        f"leanformer.compare({str(data)!r}, out={str(comparison.path)!r}, attention=['dot_product', 'symmetric'], "
        f"seeds=[1, 2], settings={str(comparison.path / 'settings.json')!r})"
    )
    again = eval(command.replace("leanformer.", "lf.")[:-1] + ", resume=True, quiet=True, jobs=1)")
    assert again.results["runs"] == comparison.results["runs"]
    assert lf.report(comparison) == comparison.path / "report.html"
    assert list(lf.Comparison(comparison).runs["seed"]) == list(comparison.runs["seed"])


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"attention": []}, "names no mechanism"),
        ({"attention": ["dot_product", 3]}, "give names"),
        ({"attention": ["dot_product", "dot_product"]}, "names dot_product twice"),
        ({"seeds": 0}, "seeds = 0: give how many"),
        ({"seeds": [1, 1]}, "a list of different whole numbers"),
        ({"seeds": [1.5]}, "a list of different whole numbers"),
        ({"seeds": True}, "seeds = True"),
        ({"seeds": 1.5}, "seeds = 1.5"),
        ({"learning_rates": ["x"]}, "learning_rates = .*give a list of numbers above 0"),
        ({"seed": 3}, r"seed = 3: in a comparison this is given by seeds"),
        ({"margin": 0}, "--margin 0: write a number above 0"),
        ({"main": "pairwise"}, "--main pairwise: no such arm"),
        ({"task": "cola"}, "--task needs --task-data"),
    ],
)
def test_a_comparison_that_cannot_be_is_refused(arguments, message, data, small, tmp_path):
    given = {"attention": ["dot_product", "symmetric"]} | small | arguments
    with pytest.raises(ValueError, match=message):
        lf.compare(data, out=tmp_path / "comparison", quiet=True, **given)
    assert not (tmp_path / "comparison" / "runs").exists()


def test_what_is_no_run_and_no_comparison_is_refused(tmp_path, run):
    with pytest.raises(FileNotFoundError, match="no such directory"):
        lf.Run(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="holds no run"):
        lf.Run(tmp_path).record  # noqa: B018
    with pytest.raises(FileNotFoundError, match="holds no comparison"):
        lf.Comparison(run)
    with pytest.raises(FileNotFoundError, match="neither a comparison"):
        lf.report(tmp_path)


def test_a_mechanism_of_this_session_alone_cannot_be_compared(data, small, tmp_path, own_registry):
    from leanformer.attention import Mechanism, mechanism, register

    known = mechanism("dot_product")
    kind = type("Local", (known.compatibility,), {"__module__": "__main__"})
    register(Mechanism("local", known.projection, kind, paper="none"))
    with pytest.raises(ValueError, match="local is registered in this session, .* give plugin=FILE"):
        lf.compare(data, out=tmp_path / "c", attention=["dot_product", "local"], **small)
