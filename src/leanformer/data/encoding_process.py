"""A process that encodes shards: `python -m leanformer.data.encoding_process`.

It imports nothing of its parent's, so a script that prepares data needs no `if __name__ == "__main__"`. The parent
sends pickles to its standard input, first the encoding and then a path and texts a shard, and reads None or an error of
one line for each.
"""

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from leanformer.data.encoding import Encoding, encoded


class EncodingProcess:
    def __init__(self, encoding: Encoding) -> None:
        own = {"TOKENIZERS_PARALLELISM": "false"}  # the processes together use all cores
        path = os.pathsep.join(filter(None, sys.path))
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | own | {"PYTHONPATH": path},
        )
        self._send(replace(encoding))  # without the encoder that this process may have made

    def begin(self, path: Path, texts: Sequence[str]) -> None:
        """Sends a shard; the process must have finished the one before."""
        self._send((path, list(texts)))

    def wait(self) -> None:
        """Waits until the shard is written. Raises its OSError or ValueError, and ChildProcessError if it died."""
        assert self._process.stdout
        try:
            answer = pickle.load(self._process.stdout)
        except (EOFError, pickle.UnpicklingError):
            raise self._died() from None
        if answer is not None:
            raise answer

    def close(self) -> None:
        """Ends the process at once; a shard that it is writing is lost."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            try:
                if pipe:
                    pipe.close()
            except BrokenPipeError:  # what was not sent
                pass

    def _send(self, message: object) -> None:
        assert self._process.stdin
        try:
            pickle.dump(message, self._process.stdin, protocol=5)
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._died() from None

    def _died(self) -> ChildProcessError:
        status = self._process.wait()
        return ChildProcessError(
            f"a process that encodes text ended with status {status}: give the same command again to go on, and "
            "--workers 1 if memory is short"
        )


def main() -> None:
    from leanformer.data.shards import write

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent, which is interrupted too, ends this process
    sent, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not come between the answers
    encoding = pickle.load(sent)
    while True:
        try:
            path, texts = pickle.load(sent)
        except EOFError:
            return
        try:
            write(path, list(encoded(texts, encoding)))
            answer: Exception | None = None
        except OSError as error:  # such as a full disk
            answer = OSError(str(error))
        except Exception as error:
            answer = ValueError(" ".join(f"{type(error).__name__}: {error}".split()))
        pickle.dump(answer, answers)
        answers.flush()


if __name__ == "__main__":
    main()
