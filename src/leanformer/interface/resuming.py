"""Whether a function goes on with what its directory holds."""

from pathlib import Path
from typing import Literal

Resume = bool | Literal["auto"]
"""True: go on, and there must be something; "auto": go on if there is something; False: there must be nothing."""


def resumes(resume: Resume, record: Path) -> bool:
    """Returns whether to go on, where `record` is the file that something to go on with has."""
    if resume not in (True, False, "auto"):
        raise ValueError(f'resume = {resume!r}: give True, False or "auto"')
    return record.exists() if resume == "auto" else bool(resume)
