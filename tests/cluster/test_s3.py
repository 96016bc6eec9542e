"""Texts in a bucket, on an S3 server of this machine."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import leanformer as lf

pytestmark = pytest.mark.cluster
pytest.importorskip("s3fs", reason="needs s3fs")
pytest.importorskip("moto", reason="needs moto[server]")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    import s3fs

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for key, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
    }.items():
        monkeypatch.setenv(key, value)
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-p", str(port)], stderr=subprocess.DEVNULL, env=os.environ
    )
    try:
        for _ in range(600):
            with socket.socket() as asked:
                if not asked.connect_ex(("127.0.0.1", port)):
                    break
            time.sleep(0.1)
        system = s3fs.S3FileSystem()
        system.mkdir("corpus")
        yield system
    finally:
        server.kill()
        server.wait()


def test_a_bucket_is_prepared_as_the_same_files_here(bucket, text: str, tmp_path: Path):
    half = len(text) // 2
    for name, part in (("a.txt", text[:half]), ("b.txt", text[half:])):
        bucket.pipe(f"corpus/{name}", part.encode())
        (tmp_path / name).write_text(part, encoding="utf-8")
    here = lf.prepare([tmp_path / "a.txt", tmp_path / "b.txt"], out=tmp_path / "here", vocab_size=300, quiet=True)
    there = lf.prepare("s3://corpus/*.txt", out=tmp_path / "there", vocab_size=300, quiet=True)
    assert there.record["hash"] == here.record["hash"]
    with pytest.raises(FileNotFoundError, match="s3://corpus/none.txt: there is no such file"):
        lf.prepare("s3://corpus/none.txt", out=tmp_path / "none")
