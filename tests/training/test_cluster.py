"""The arithmetic of large runs, against numbers computed by hand."""

import pytest

from leanformer import LeanformerConfig
from leanformer.models.cost import ledger
from leanformer.training.budget.cluster import Cluster, cheapest, cost, shards

SIZES = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
BASE = LeanformerConfig.from_settings({**SIZES, "vocab_size": 30_522})
N = 109_514_298
JOB = {"tokens": 1e9, "batch_tokens": 65_536}


def test_one_gpu_sends_nothing_and_holds_all() -> None:
    found = cost(BASE, Cluster(gpus=1), **JOB)
    assert found.parameters == N and found.sent == 0 and found.states == 18 * N
    assert found.activations == 34 * 12 * 768 * 65_536
    assert found.checkpoint == 12 * N and found.checkpoint_seconds == pytest.approx(12 * N / 2e9)
    flops = ledger(BASE, 512, 77)["flops_per_token"]["training"]
    assert found.compute == pytest.approx(flops * 65_536 / (990e12 * 0.4))
    assert found.days == pytest.approx(15_259 * found.compute / 86_400)  # 1e9 / 65,536, rounded up


def test_ddp_and_fsdp_by_hand() -> None:
    cluster = Cluster(gpus=64)
    ddp, fsdp = (cost(BASE, cluster, sharding=how, **JOB) for how in ("ddp", "fsdp"))
    assert ddp.sent == pytest.approx(63 / 64 * 8 * N) and fsdp.sent == pytest.approx(63 / 64 * 8 * N)
    assert ddp.network == pytest.approx(63 / 64 * 8 * N / 400e9)  # eight adapters of 50 GB/s
    embeddings = ledger(BASE, 512, 77)["parameters"]["embeddings"]
    assert fsdp.states == pytest.approx(16 * N / 64 + 4 * (N - embeddings) / 12)
    assert ddp.compute == fsdp.compute and ddp.activations == 34 * 12 * 768 * 1024


def test_inside_a_node_the_network_is_faster() -> None:
    inside, across = (cost(BASE, Cluster(gpus=gpus), **JOB) for gpus in (8, 16))
    assert inside.network * 450e9 == pytest.approx(inside.sent) and across.network * 400e9 == pytest.approx(across.sent)
    assert inside.bound == "compute"
    slow = Cluster(gpus=128, between=10e9)  # 512 tokens per GPU and step are too few for such a network
    assert cost(BASE, slow, **JOB).bound == "network"


def test_checkpointing_keeps_less_and_computes_a_third_more() -> None:
    plain, less = (cost(BASE, Cluster(gpus=1), checkpointing=how, **JOB) for how in (False, True))
    assert less.compute == pytest.approx(4 / 3 * plain.compute)
    assert less.activations == (2 * 12 + 34) * 768 * 65_536


def test_a_share_that_does_not_fit_is_accumulated() -> None:
    found = cost(BASE, Cluster(gpus=1, memory=10e9), **JOB)
    one = 34 * 12 * 768 * 512
    assert found.fits and found.activations % one == 0 and found.memory + one > 10e9
    assert not cost(BASE, Cluster(gpus=1, memory=1e9), **JOB).fits


def test_the_cheapest_way_is_the_simplest_that_fits() -> None:
    found = cheapest(BASE, Cluster(gpus=8), **JOB)
    assert found is not None and (found.sharding, found.checkpointing) == ("ddp", False)
    large = LeanformerConfig.from_settings(
        {"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 64, "intermediate_size": 16_384}
    )
    assert cheapest(large, Cluster(gpus=1), **JOB) is None
    found = cheapest(large, Cluster(gpus=64), **JOB)
    assert found is not None and found.sharding == "fsdp"


def test_text_as_files() -> None:
    assert shards(1e12) == (1000, 2e12) and shards(1.5e9) == (2, 3e9)


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="ddp and fsdp are known"):
        cost(BASE, Cluster(gpus=1), sharding="zero", **JOB)
    with pytest.raises(ValueError, match="256 GPUs need at least one sequence"):
        cost(BASE, Cluster(gpus=256), **JOB)
