"""A comparison on a Ray of two machines ends as on one, though one of them is removed on the way."""

import os
import subprocess

import pytest

from tests.cluster.conftest import comparison, wait_for
from tests.cluster.test_slurm import begun, require_equal

pytestmark = pytest.mark.cluster


def test_a_machine_that_is_removed_changes_nothing(data, local, tmp_path):
    pytest.importorskip("ray", reason='no Ray here: pip install -e ".[ray]"')
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        out, log = tmp_path / "out", tmp_path / "log"
        environment = os.environ | {"RAY_ADDRESS": cluster.address}
        with log.open("wb") as file:
            process = subprocess.Popen(
                comparison(data, out, "--executor", "ray"), env=environment, stdout=file, stderr=subprocess.STDOUT
            )
        wait_for(lambda: len(begun(out)) == 2)
        cluster.remove_node(nodes[1], allow_graceful=False)
        assert process.wait(600) == 0, log.read_text()
    finally:
        cluster.shutdown()
    require_equal(out, local)
    starts = sum(file.read_text().count("--- ") for file in out.glob("logs/*"))
    assert starts == 5, "one of the four runs was begun again"
