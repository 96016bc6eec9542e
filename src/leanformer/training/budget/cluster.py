"""What a pre-training costs on many GPUs, on paper: memory, network, time and files.

With N parameters, G GPUs, T tokens per step, C training FLOPs per token, l layers of width D and b = 2 bytes of bf16,

    states       16 N bytes per replica: float32 weights, gradients and two moments of AdamW
                 ddp: all on every GPU, and 2 N more for the bf16 copy of the weights;
                 fsdp: 16 N / G on each, and the bf16 weights of two layers while they are gathered
    activations  34 l D bytes per token (Korthikanti et al., 2022, "Reducing activation recomputation", equation 2
                 without the scores, which fused attention does not keep); with checkpointing 2 l D, and 34 D of one
                 layer
    network      bytes that each GPU sends per step, by ring collectives:
                 ddp   2 (G - 1) / G  4 N                  one all-reduce of float32 gradients
                 fsdp  (G - 1) / G (2 N + 2 N + 4 N)       bf16 weights gathered twice, float32 gradients reduced
    compute      C T / (G  peak  mfu) seconds per step, with C a third more under checkpointing
    step         the longer of compute and network, since both overlap in all but the first and last layers
    checkpoint   12 N bytes: weights and moments

The MFU is what one GPU reaches by itself; it is measured or taken from the literature, never computed here.
"""

from dataclasses import dataclass
from math import ceil

from leanformer.models.config import LeanformerConfig
from leanformer.models.cost import ledger

STATES, WEIGHTS_COPY, CHECKPOINT = 16, 2, 12
"""Bytes per parameter."""
KEPT, KEPT_BY_CHECKPOINTS = 34, 2
"""Bytes of activations per token, layer and unit of width."""
DAY = 86_400.0


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """GPUs and what connects them; by default H100s of 80 GB, eight per node, 400 Gbit/s per GPU between nodes."""

    gpus: int
    per_node: int = 8
    memory: float = 80e9
    """Bytes per GPU."""
    peak: float = 990e12
    """FLOP/s of dense bf16 products per GPU."""
    mfu: float = 0.4
    inside: float = 450e9
    """Bytes per second that a GPU sends inside a node."""
    between: float = 50e9
    """Bytes per second that a GPU sends to other nodes."""
    disk: float = 2e9
    """Bytes per second that the shared file system writes."""

    @property
    def bandwidth(self) -> float:
        """Bytes per second that each GPU sends in a collective over all of them.

        Between nodes there is one ring per network adapter, each with its part of the data (NCCL does so), so a node
        sends by all of its adapters at once.
        """
        return self.inside if self.gpus <= self.per_node else min(self.inside, self.per_node * self.between)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a training costs with one sharding; bytes, seconds and days."""

    sharding: str
    checkpointing: bool
    parameters: int
    states: float
    activations: float
    sent: float
    """Bytes that a GPU sends per step."""
    compute: float
    network: float
    """Seconds per step."""
    checkpoint: float
    checkpoint_seconds: float
    days: float
    fits: bool

    @property
    def memory(self) -> float:
        """Bytes per GPU."""
        return self.states + self.activations

    @property
    def bound(self) -> str:
        """What a step waits for."""
        return "network" if self.network > self.compute else "compute"


def cost(
    config: LeanformerConfig,
    cluster: Cluster,
    *,
    tokens: float,
    batch_tokens: int,
    length: int = 512,
    sharding: str = "ddp",
    checkpointing: bool = False,
    head: str = "masked_lm",
) -> Cost:
    """Returns the cost of `tokens` in steps of `batch_tokens`, which the GPUs share equally.

    Raises ValueError for a sharding other than "ddp" and "fsdp", and for fewer sequences in a step than GPUs.
    """
    if sharding not in ("ddp", "fsdp"):
        raise ValueError(f"sharding = {sharding!r}: ddp and fsdp are known")
    gpus = cluster.gpus
    if batch_tokens < gpus * length:
        raise ValueError(f"batch_tokens = {batch_tokens:,}: {gpus} GPUs need at least one sequence of {length} each")
    counts = ledger(config, length, round(0.15 * length) if head == "masked_lm" else None, head)
    parameters, width, layers = counts["parameters"]["total"], config.hidden_size, config.num_hidden_layers
    per_layer = (parameters - counts["parameters"]["embeddings"]) / layers
    ring = (gpus - 1) / gpus
    if sharding == "ddp":
        states, sent = (STATES + WEIGHTS_COPY) * parameters, 2 * ring * 4 * parameters
    else:
        states, sent = STATES * parameters / gpus + 2 * WEIGHTS_COPY * per_layer, ring * 8 * parameters
    own = batch_tokens / gpus
    kept = KEPT_BY_CHECKPOINTS * layers + KEPT if checkpointing else KEPT * layers
    # Sequences are added one by one by gradient accumulation where a whole share does not fit.
    least = kept * width * length
    room = cluster.memory - states
    activations = min(kept * width * own, max(least, room // least * least)) if room > 0 else least
    flops = counts["flops_per_token"]["training"] * (4 / 3 if checkpointing else 1)
    compute = flops * batch_tokens / (gpus * cluster.peak * cluster.mfu)
    network = sent / cluster.bandwidth
    return Cost(
        sharding=sharding,
        checkpointing=checkpointing,
        parameters=parameters,
        states=states,
        activations=activations,
        sent=sent,
        compute=compute,
        network=network,
        checkpoint=CHECKPOINT * parameters,
        checkpoint_seconds=CHECKPOINT * parameters / cluster.disk,
        days=ceil(tokens / batch_tokens) * max(compute, network) / DAY,
        fits=states + activations <= cluster.memory,
    )


def cheapest(config: LeanformerConfig, cluster: Cluster, **job: float | int | str) -> Cost | None:
    """Returns the fastest sharding that fits, the simplest of equally fast ones; None if none fits."""
    shardings = [(sharding, checkpointing) for checkpointing in (False, True) for sharding in ("ddp", "fsdp")]
    costs = [cost(config, cluster, sharding=s, checkpointing=c, **job) for s, c in shardings]  # type: ignore[arg-type]
    return min((each for each in costs if each.fits), key=lambda each: each.days, default=None)


def shards(tokens: float, per_shard: float = 1e9, bytes_per_token: int = 2) -> tuple[int, float]:
    """Returns the number of files of a prepared text and its bytes."""
    return ceil(tokens / per_shard), tokens * bytes_per_token
