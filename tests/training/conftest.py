import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from leanformer.data.store import describe, write_record
from leanformer.data.vocabulary import Vocabulary
from leanformer.training.run.record import RunDirectory

SPECIAL = {"pad_id": 0, "unk_id": 1, "cls_id": 2, "sep_id": 3, "mask_id": 4}
MODEL = {
    "hidden_size": 14,
    "num_hidden_layers": 2,
    "num_attention_heads": 7,
    "intermediate_size": 29,
    "max_position_embeddings": 13,
    "positions": "rotary",
}


@pytest.fixture(scope="session")
def make_corpus() -> Callable[..., Path]:
    """A data directory made by hand: a Markov chain over a few letters, so there is something to learn."""

    def make(path: Path, *, train: int = 3001, valid: int = 401, vocab_size: int = 23, seed: int = 0) -> Path:
        path.mkdir(parents=True)
        random = np.random.default_rng(seed)
        follower = random.permutation(vocab_size - 5)
        for split, length in (("train", train), ("valid", valid)):
            tokens = np.zeros(length, np.uint16)
            state = 0
            for i in range(length):
                state = follower[state] if random.random() < 0.8 else random.integers(vocab_size - 5)
                tokens[i] = state + 5
            tokens[::97] = SPECIAL["cls_id"]
            tokens.tofile(path / f"{split}.bin")
            np.arange(0, length, 97, dtype="<i8").tofile(path / f"{split}.documents.bin")
        (path / "tokenizer.json").write_text("{}")
        vocabulary = Vocabulary(size=vocab_size, special_ids=tuple(SPECIAL.values()), **SPECIAL)
        write_record(path, describe(path, np.dtype(np.uint16), vocabulary))
        return path

    return make


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory, make_corpus: Callable[..., Path]) -> Path:
    return make_corpus(tmp_path_factory.mktemp("corpus") / "data")


@dataclass
class ForkServer:
    """Runs of the real `pretrain` in child processes, see fork_server.py."""

    server: subprocess.Popen[str]
    data: Path

    def start(
        self,
        out: Path,
        settings: dict[str, Any] | None,
        *,
        resume: bool = False,
        file_limit: int = 0,
        fatal: bool = True,
        environment: dict[str, str] | None = None,
        distill: dict[str, str] | None = None,
    ) -> int:
        job = {"settings": settings, "data": str(self.data), "out": str(out), "resume": resume, "distill": distill}
        return self._ask(job | {"file_limit": file_limit, "fatal": fatal, "environment": environment or {}})

    def wait(self, pid: int) -> int:
        return self._ask({"wait": pid})

    def until(self, condition: Callable[[], Any], pid: int) -> None:
        """Waits as long as it takes; a process that ends before the condition holds is an error."""
        while not condition():
            running = self._ask({"running": pid})
            assert running or condition(), f"process {pid} ended before"
            time.sleep(0.0005)

    def run(self, out: Path, settings: dict[str, Any] | None, **options: Any) -> int:
        return self.wait(self.start(out, settings, **options))

    def start_many(self, number: int, out: Path, settings: dict[str, Any] | None, **options: Any) -> list[int]:
        """Several processes over gloo, with the environment that `accelerate launch` gives them."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true"}
        common["WORLD_SIZE"] = str(number)
        return [
            self.start(out, settings, environment=common | {"RANK": rank, "LOCAL_RANK": rank}, **options)
            for rank in map(str, range(number))
        ]

    def start_two(self, out: Path, settings: dict[str, Any] | None, **options: Any) -> list[int]:
        return self.start_many(2, out, settings, **options)

    def run_many(self, number: int, out: Path, settings: dict[str, Any] | None, **options: Any) -> list[int]:
        return [self.wait(pid) for pid in self.start_many(number, out, settings, **options)]

    def run_two(self, out: Path, settings: dict[str, Any] | None, **options: Any) -> list[int]:
        return [self.wait(pid) for pid in self.start_two(out, settings, **options)]

    def _ask(self, job: dict[str, Any]) -> int:
        assert self.server.stdin and self.server.stdout
        self.server.stdin.write(json.dumps(job) + "\n")
        self.server.stdin.flush()
        return int(self.server.stdout.readline())


@pytest.fixture(scope="session")
def fork_server(corpus: Path) -> Iterator[ForkServer]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    script = [sys.executable, "-W", "error", str(Path(__file__).parent / "fork_server.py")]
    with subprocess.Popen(script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as server:
        yield ForkServer(server, corpus)
        assert server.stdin
        server.stdin.close()


@pytest.fixture(scope="session")
def settings() -> Callable[..., dict[str, Any]]:
    """Tables of a tiny run, dropout on, in odd sizes: a batch crosses epochs, a checkpoint cuts the logging window."""

    def make(model: dict[str, Any] | None = None, **training: Any) -> dict[str, Any]:
        small = {
            "max_steps": 37,
            "batch_size": 22,
            "micro_batch_size": 9,
            "sequence_length": 13,
            "learning_rate": 3e-3,
            "log_every": 3,
            "validate_every": 10,
            "validation_sequences": 17,
            "checkpoint_every": 7,
            "precision": "fp32",
        }
        return {"model": MODEL | (model or {}), "training": small | training}

    return make


@pytest.fixture(scope="session")
def curve() -> Callable[[Path], list[dict[str, Any]]]:
    """The curve without the only column that may differ between two equal runs."""

    def read(run: Path) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in (run / "curve.jsonl").read_text().splitlines()]
        return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]

    return read


@pytest.fixture(scope="session")
def interrupted() -> Callable[[Path, Path], Path]:
    """A copy of a finished run, as if killed after its last checkpoint."""

    def copy(finished: Path, out: Path) -> Path:
        shutil.copytree(finished, out)
        shutil.rmtree(out / "model")
        RunDirectory(out).update(status="running", results=None)
        return out

    return copy
