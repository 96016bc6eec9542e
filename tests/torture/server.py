"""The command line in forked processes, which share the cost of the imports: a kill then hits work, not imports.

A request is a line of JSON, {"arguments", "folder", "limit"}, answered with the child's pid; {"wait": pid} is answered
with its exit status, negative for a signal. A child works in its folder; its output goes to `log` there.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self


class Child:
    def __init__(self, server: "Server", pid: int) -> None:
        self.server, self.pid = server, pid

    def running(self) -> bool:
        state = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z"  # the server has not asked for its status yet, so its pid is nobody else's

    def kill(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self) -> int:
        return self.server.ask({"wait": self.pid})


class Server:
    def __enter__(self) -> Self:
        environment = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.torture.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | environment | {"TOKENIZERS_PARALLELISM": "false"},
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()

    def start(self, arguments: Sequence[str], folder: Path, limit: int = 0) -> Child:
        return Child(self, self.ask({"arguments": list(arguments), "folder": str(folder), "limit": limit}))

    def ask(self, request: dict[str, object]) -> int:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


def _run(request: dict) -> None:
    """In the child: as the console script does."""
    import resource

    import leanformer_cli

    os.setsid()
    os.chdir(request["folder"])
    log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    if request["limit"]:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as Python does: an error instead of death
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["limit"], request["limit"]))
    sys.argv = ["leanformer", *request["arguments"]]
    leanformer_cli.main()


def _fork(request: dict) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        _run(request)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


def _serve() -> None:
    import leanformer.comparison.compare  # noqa: F401
    import leanformer.conversion.convert  # noqa: F401
    import leanformer.distillation.distill  # noqa: F401
    import leanformer.exporting.export  # noqa: F401
    import leanformer.finetuning.finetune  # noqa: F401
    import leanformer.inference  # noqa: F401
    import leanformer.linking.link  # noqa: F401
    import leanformer.robustness.study  # noqa: F401
    import leanformer_cli  # noqa: F401  (every child needs these, and they take seconds)

    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            print(os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1]), flush=True)
        else:
            print(_fork(request), flush=True)


if __name__ == "__main__":
    _serve()
