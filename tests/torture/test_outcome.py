"""The campaign's judge: what it must see, and what it must not."""

import json

from leanformer.records.reading import sealed
from tests.torture.outcome import differences, hidden


def test_a_bit_is_a_difference_and_time_is_none(tmp_path):
    for name, loss, seconds in (("a", 1.0, 2.0), ("b", 1.0, 3.0), ("c", 1.5, 2.0)):
        (tmp_path / name).mkdir()
        record = {"results": {"loss": loss, "seconds": seconds, "tokens_per_second": seconds}, "runs": [{"x": loss}]}
        (tmp_path / name / "run.json").write_text(json.dumps(record))
        (tmp_path / name / "weights").write_bytes(b"\0\1")
        (tmp_path / name / "log").write_text(name)
    a, b, c = (tmp_path / name for name in "abc")
    assert differences(a, b) == []
    assert differences(c, a) == ["run.json differs in .results.loss: 1.5, not 1.0"]
    (b / "weights").write_bytes(b"\0\0")
    (b / "more").touch()
    (c / "weights").unlink()
    assert differences(b, a) == ["more is too much", "weights differs"]
    assert differences(c, a)[0] == "weights is missing"


def test_a_checksum_covers_times_so_it_may_differ_but_not_be_wrong(tmp_path):
    for name, seconds in (("a", 2.0), ("b", 3.0)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(
            json.dumps(sealed({"loss": 1.0, "seconds": seconds, "time": str(seconds)}))
        )
    a, b = tmp_path / "a", tmp_path / "b"
    assert differences(a, b) == []
    record = json.loads((a / "run.json").read_text())
    (a / "run.json").write_text(json.dumps(record | {"seconds": 2.5}))
    assert differences(a, b) == ["run.json has a checksum of other content"]


def test_what_is_hidden_is_found(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".lock").touch()
    (tmp_path / "out" / "x").touch()
    assert [str(path) for path in hidden(tmp_path)] == ["out/.lock"]
