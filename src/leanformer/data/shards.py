"""The tokens of a large text in shards, so that several processes encode it and a killed `prepare` goes on.

The stream of documents is cut after every SHARD characters. A shard is encoded into a file of its own,

    PART-NUMBER-KEY.shard       sha256 of the rest (32 bytes), the number N of documents, N lengths in bytes (int64),
                                and the token ids of the documents, each [CLS] text [SEP]

where KEY is the hash of the tokenizer and of the shard's text. So the content of a file does not depend on which
process writes it, and a file that is there, and agrees with its sum, is not written again. The documents come back in
their order, whatever the number of processes. A text of one shard is encoded in this process, without a file. This
process alone reads the text, so more workers than about ten wait for it.
"""

import hashlib
import struct
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from leanformer.data.encoding import Encoding, batches, encoded
from leanformer.data.encoding_process import EncodingProcess
from leanformer.files import new_file

SHARD = 8_000_000
"""The characters of a shard; a process needs about 300 MB for one."""
COUNT = np.dtype(np.int64)


@dataclass
class Shards:
    """Encodes streams of documents with `workers` processes; files go to `folder`, which is made when one is needed."""

    encoding: Encoding
    folder: Path
    workers: int
    written: int = 0
    reused: int = 0

    def __call__(self, part: str, documents: Iterable[str]) -> Iterator[bytes]:
        """Yields what every document with any token encodes to, in order."""
        cut = batches(documents, SHARD)
        first, second = next(cut, []), next(cut, None)
        if second is None:
            yield from encoded(first, self.encoding)
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        processes = [EncodingProcess(self.encoding) for _ in range(self.workers if self.workers > 1 else 0)]
        try:
            pending: deque[tuple[Path, EncodingProcess | None]] = deque()
            for number, texts in enumerate(chain((first, second), cut)):
                finished = None
                if len(pending) == self.workers:
                    finished = self._finished(pending)
                pending.append(self._begun(self._path(part, number, texts), texts, processes))
                if finished is not None:
                    yield from whole(finished)
            while pending:
                yield from whole(self._finished(pending))
        finally:
            for process in processes:
                process.close()

    def _path(self, part: str, number: int, texts: Sequence[str]) -> Path:
        key = hashlib.sha256(self.encoding.key.encode())
        for text in texts:
            key.update(struct.pack("<q", len(text)))
            key.update(text.encode("utf-8", "surrogatepass"))
        return self.folder / f"{part}-{number:06d}-{key.hexdigest()[:32]}.shard"

    def _begun(
        self, path: Path, texts: Sequence[str], processes: Sequence[EncodingProcess]
    ) -> tuple[Path, EncodingProcess | None]:
        """Begins the encoding of a shard unless its file is there; the next process in turn is idle by now."""
        if read(path) is not None:
            self.reused += 1
            return path, None
        process = processes[self.written % len(processes)] if processes else None
        self.written += 1
        if process is None:
            write(path, list(encoded(texts, self.encoding)))
        else:
            process.begin(path, texts)
        return path, process

    @staticmethod
    def _finished(pending: deque[tuple[Path, EncodingProcess | None]]) -> Path:
        path, process = pending.popleft()
        if process is not None:
            process.wait()
        return path


def write(path: Path, documents: Sequence[bytes]) -> None:
    lengths = np.array([len(document) for document in documents], COUNT)
    content = b"".join((struct.pack("<q", len(documents)), lengths.tobytes(), *documents))
    with new_file(path) as temporary:
        temporary.write_bytes(hashlib.sha256(content).digest() + content)


def whole(path: Path) -> list[bytes]:
    """Returns the documents of a shard that has been written; OSError if it is damaged by now."""
    documents = read(path)
    if documents is None:
        raise OSError(f"{path}: damaged after it was written; give the same command again")
    return documents


def read(path: Path) -> list[bytes] | None:
    """Returns the documents of a shard, None if there is no such file or its content disagrees with its sum."""
    if not path.is_file():
        return None
    whole = path.read_bytes()
    content = memoryview(whole)[32:]
    if len(content) < 8 or hashlib.sha256(content).digest() != whole[:32]:
        return None
    (number,) = struct.unpack("<q", content[:8])
    begin = 8 + number * COUNT.itemsize
    lengths = np.frombuffer(content[8:begin], COUNT)
    ends = begin + np.cumsum(lengths)
    return [bytes(content[end - length : end]) for end, length in zip(ends.tolist(), lengths.tolist(), strict=True)]
