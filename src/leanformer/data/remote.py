"""Files behind a URL that fsspec reaches: s3://, gs://, https://, memory:// and others.

A file is copied to a temporary folder, read there and removed, since parquet is read from its end and a download may
break. A URL with * names all files that match, in the order of their names.
"""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from leanformer.errors import reason
from leanformer.install import how_to_install

URL = re.compile(r"[a-z][a-z0-9+.-]*://")


def is_url(name: str) -> bool:
    return URL.match(name) is not None


def urls(name: str) -> list[str]:
    """Returns the URLs of the files that `name` stands for; FileNotFoundError if there are none."""
    system, path = _opened(name)
    try:
        found = [each for each in sorted(system.glob(path)) if system.isfile(each)] if "*" in path else [path]
        if not found or not system.exists(found[0]):
            raise FileNotFoundError(f"{name}: there is no such file")
    except FileNotFoundError:
        raise FileNotFoundError(f"{name}: there is no such file") from None
    except Exception as error:  # of many libraries: credentials, network, name
        raise ValueError(f"{name}: cannot be reached ({reason(error)})") from error
    return [system.unstrip_protocol(each) for each in found]


@contextmanager
def copied(url: str) -> Iterator[Path]:
    """A copy of the file on this machine; errors in the block name the URL instead of it."""
    system, path = _opened(url)
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder) / path.rstrip("/").rpartition("/")[2]
        try:
            system.get_file(path, str(local))
        except Exception as error:
            raise ValueError(f"{url}: cannot be read ({reason(error)})") from error
        try:
            yield local
        except ValueError as error:
            raise ValueError(str(error).replace(str(local), url)) from None


def _opened(url: str) -> tuple[Any, str]:
    """Returns the file system and the path in it."""
    import fsspec

    try:
        system, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        remedy = how_to_install("cloud") if url.startswith("s3://") else reason(error)
        raise ValueError(f"{url}: a package is missing: {remedy}") from None
    except ValueError as error:
        raise ValueError(f"{url}: {reason(error)}") from None
    return system, str(path)
