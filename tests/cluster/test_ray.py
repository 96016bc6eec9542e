"""A comparison on a Ray of two machines ends as on one, though one of them is removed on the way."""

import pytest

from tests.cluster.comparisons import require_equal, starts, weights
from tests.cluster.three_executors import begun_again, on_ray

pytestmark = pytest.mark.cluster


def test_a_machine_that_is_removed_changes_nothing(data, local, tmp_path):
    pytest.importorskip("ray", reason='no Ray here: pip install -e ".[ray]"')
    out = tmp_path / "out"
    story = on_ray(data, out, tmp_path / "log")
    require_equal(out, local)
    assert len(weights(out)) == 24
    assert len(story.events[0]["runs"]) == 2
    assert len(begun_again(out)) == 1 and sum(starts(out).values()) == 25, "one of the runs was begun again"
