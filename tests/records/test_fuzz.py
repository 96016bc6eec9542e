"""Six hundred damaged files, each refused in one line or read, in bounded memory: see fuzz.py."""

import os
import subprocess
import sys
from pathlib import Path

NUMBER = 600


def test_damaged_files_are_refused_in_one_line_or_read():
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, str(Path(__file__).parent / "fuzz.py"), "--number", str(NUMBER), "--seed", "1"]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert ended.returncode == 0, ended.stdout[-5000:] + ended.stderr[-2000:]
    assert f"{NUMBER} damaged files, 0 faults" in ended.stdout
