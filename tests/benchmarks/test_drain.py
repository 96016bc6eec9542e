"""The queue for a machine with a GPU, on commands that take a moment."""

import fcntl
import importlib.util
import json
import shlex
import sys
import textwrap
import time
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks" / "gpu"


def load(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


pack = load("pack")
drain = load("drain")

COUNTS = """
    import pathlib, signal, sys, time
    folder, steps = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    file = folder / "steps"
    if file.exists() != ("--resume" in sys.argv):
        sys.exit("resumed without a run, or not resumed")
    folder.mkdir(exist_ok=True)
    asked = []
    signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
    done, first = int(file.read_text()) if file.exists() else 0, not file.exists()
    while done < steps and not asked:
        done += 1
        file.write_text(str(done))
        while first and not asked:
            time.sleep(0.01)
    print("step", done)
    sys.exit(143 if asked else 0)
"""
"""A run of so many steps that saves itself when it is asked to end, which the first part of it waits for."""


class Clock:
    """Time that stands still until a script has written one of the files; each look of the drain is then 0.05 s."""

    def __init__(self, *files):
        self.now, self.files = 0.0, files

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        time.sleep(seconds)
        self.now += seconds if any(file.exists() for file in self.files) else 0.0


@pytest.fixture
def queue(tmp_path, monkeypatch):
    """Drain some entries for so many seconds of a clock that `waits` for files; returns state.json."""
    monkeypatch.setattr(drain, "LEAST", 0.2)

    def run(*entries, seconds=20.0, missing=(), again=(), waits=()):
        runs = [drain.Run(**{"why": "", "minutes": 0.1, **entry}) for entry in entries]
        clock = Clock(*waits)
        monkeypatch.setattr(drain, "time", clock)
        one = drain.Drain(runs, tmp_path / "out", tmp_path / "work", clock.now + drain.GRACE + seconds, missing)
        one.forget(again)
        one.run()
        return json.loads((tmp_path / "out" / "state.json").read_text())

    return run


@pytest.fixture
def script(tmp_path):
    def write(code):
        file = tmp_path / f"script-{abs(hash(code))}.py"
        file.write_text(textwrap.dedent(code))
        return f"python {shlex.quote(str(file))}"

    return write


def test_runs_go_in_order_and_one_that_fails_does_not_stop_the_next(queue, script, tmp_path):
    bad = {"name": "bad", "command": script("import sys; print('to say'); sys.exit(3)")}
    good = {"name": "good", "command": script("import sys; open(sys.argv[1], 'w').write('{}')") + " {out}"}
    none = {"name": "none", "command": "no-such-program --here"}
    after = {"name": "after", "command": "no-such-program", "needs": "bad"}
    state = queue(bad, none, good, after)
    assert [state[name]["status"] for name in ("bad", "none", "good", "after")] == ["failed"] * 2 + [
        "finished",
        "waiting",
    ]
    assert state["bad"]["returncode"] == 3 and state["bad"]["log"] == ["to say"]
    assert (tmp_path / "out" / "good.json").read_text() == "{}"
    assert list(state) == ["bad", "none", "good", "after"]


def test_what_is_over_is_not_repeated_unless_asked_for(queue, script):
    entry = {"name": "one", "command": script("print('here')")}
    assert queue(entry)["one"]["slices"] == queue(entry)["one"]["slices"] == 1
    assert queue(entry, again=["one"])["one"]["log"] == ["here", "here"]
    with pytest.raises(ValueError, match="^--again two: the queue has no such run$"):
        queue(entry, again=["two"])


def test_a_run_that_takes_too_long_is_stopped_with_its_children(queue, script, tmp_path):
    """The child holds a lock as long as it lives, so the test goes on when it is gone."""
    held, alive = tmp_path / "held", tmp_path / "alive"
    child = (
        f"import fcntl, time; file = open({str(held)!r}, 'w'); fcntl.flock(file, fcntl.LOCK_EX)\n"
        f"file.write('x'); file.flush(); open({str(tmp_path / 'ready')!r}, 'w'); time.sleep(600)\n"
        f"open({str(alive)!r}, 'w')"
    )
    command = script(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])")
    state = queue({"name": "slow", "minutes": 0.01, "command": command}, waits=[tmp_path / "ready"])
    assert state["slow"]["status"] == "too long" and 0.6 <= state["slow"]["seconds"] < 46
    with held.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
    assert not alive.exists()


def test_what_does_not_fit_into_the_slice_waits_and_a_shorter_one_takes_its_place(queue, script):
    long = {"name": "long", "minutes": 5, "command": script("pass")}
    short = {"name": "short", "minutes": 0.05, "command": script("pass")}
    state = queue(long, short, seconds=10)
    assert (state["long"]["status"], state["short"]["status"]) == ("waiting", "finished")
    assert queue(long, short, seconds=301)["long"]["status"] == "finished"


def test_a_resumable_run_goes_on_from_slice_to_slice(queue, script, tmp_path):
    command = script(COUNTS) + " {run} 15"
    entry = {"name": "counts", "minutes": 1, "command": command, "resumable": True, "keep": ["st*"]}
    first = queue(entry, seconds=1.7, waits=[tmp_path / "work" / "runs" / "counts" / "steps"])["counts"]
    assert (first["status"], first["returncode"]) == ("interrupted", 143)
    assert (tmp_path / "out" / "counts" / "steps").read_text() == "1"
    last = queue(entry)["counts"]
    assert (last["status"], last["slices"]) == ("finished", 2) and last["seconds"] >= first["seconds"] > 1.6
    assert (tmp_path / "out" / "counts" / "steps").read_text() == "15"


@pytest.mark.parametrize("resume", ["--again --please", ""])
def test_a_resumable_run_is_told_in_its_own_words(queue, script, tmp_path, resume):
    command = script("""
        import pathlib, sys, time
        file = pathlib.Path(sys.argv[1]) / "said"
        first = not file.exists()
        file.parent.mkdir(exist_ok=True)
        file.write_text(" ".join(sys.argv[2:]))
        time.sleep(600 * first)
    """)
    entry = {"name": "says", "minutes": 1, "command": command + " {run}", "resumable": True, "keep": ["said"]}
    said = tmp_path / "work" / "runs" / "says" / "said"
    assert queue(entry | {"resume": resume}, seconds=1.7, waits=[said])["says"]["status"] == "interrupted"
    assert queue(entry | {"resume": resume})["says"]["status"] == "finished"
    assert (tmp_path / "out" / "says" / "said").read_text() == resume


def test_a_resumable_run_has_a_limit_over_all_slices(queue, script, tmp_path):
    entry = {"name": "counts", "minutes": 0.02, "command": script(COUNTS) + " {run} 900", "resumable": True}
    steps = tmp_path / "work" / "runs" / "counts" / "steps"
    assert queue(entry, waits=[steps])["counts"]["status"] == "too long"


def test_a_slice_that_was_killed_with_a_run(queue, script, tmp_path):
    entry = {"name": "one", "command": script("pass")}
    queue(entry)
    file = tmp_path / "out" / "state.json"
    for slices, status in ((1, "finished"), (2, "failed")):
        state = json.loads(file.read_text())
        state["one"] |= {"status": "running", "slices": slices}
        file.write_text(json.dumps(state))
        assert queue(entry)["one"]["status"] == status


def test_what_reads_the_data_waits_for_them(queue, script):
    reads = {"name": "reads", "command": script("pass") + " {data}"}
    other = {"name": "other", "command": script("pass")}
    state = queue(reads, other, missing=["piece-001"])
    assert (state["reads"]["status"], state["other"]["status"]) == ("waiting", "finished")
    assert queue(reads, other)["reads"]["status"] == "finished"


def test_the_queue_is_whole():
    runs = drain.read_queue(FOLDER / "queue.toml")
    assert len(runs) > 5
    for run in runs:
        assert run.resumable or run.minutes <= 9, run.name
        assert not run.resumable or "{run}" in run.command, run.name
        assert shlex.split(run.command)[0] in drain.PROGRAMS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name = "a"', r"run a: lacks \['command', 'minutes', 'why'\], unknown \[\]$"),
        ('name = "a"\nwhy = ""\nminutes = 1\ncommand = "x"\nneeds = "b"', "run a: there twice, or before b"),
    ],
)
def test_an_entry_that_is_none_is_refused(text, message, tmp_path):
    (tmp_path / "queue.toml").write_text(f"[[run]]\n{text}\n")
    with pytest.raises(ValueError, match=message):
        drain.read_queue(tmp_path / "queue.toml")


def test_data_arrive_whole_piece_by_piece(tmp_path, monkeypatch, capsys):
    data, tasks, work = tmp_path / "data", tmp_path / "tasks", tmp_path / "work"
    for name in ("sst2", "rte"):
        (tasks / name).mkdir(parents=True)
        (tasks / name / "train.jsonl.xz").write_bytes(name.encode())
    data.mkdir()
    (data / "train.bin").write_bytes(bytes(i * i % 251 for i in range(10_007)))
    (data / "data.json").write_text("{}")
    count = pack.pack(data, tmp_path / "shards", tasks, ["rte"], size=5_000)
    pieces = sorted((tmp_path / "shards").glob("piece-*"))
    assert len(pieces) == count > 1 and all(piece.stat().st_size <= 5_000 for piece in pieces)
    later = [piece.rename(tmp_path / piece.name) for piece in pieces[1:]]
    assert pack.unpack(tmp_path / "shards", work) == [piece.name for piece in later]
    pieces[0].unlink()  # the next call brings other pieces
    for piece in later:
        piece.rename(tmp_path / "shards" / piece.name)
    assert pack.unpack(tmp_path / "shards", work) == []
    for name in ("train.bin", "data.json"):
        assert (work / "data" / name).read_bytes() == (data / name).read_bytes()
    assert [path.name for path in (work / "data").iterdir()] and not (work / "pieces").exists()
    assert (work / "tasks" / "rte" / "train.jsonl.xz").read_bytes() == b"rte" and not (work / "tasks" / "sst2").exists()
    assert pack.unpack(tmp_path / "shards", work) == []

    pack.pack(data, tmp_path / "others", size=4_000)
    with pytest.raises(ValueError, match="holds other data than .*: choose another --work, or remove it$"):
        pack.unpack(tmp_path / "others", work)
    (tmp_path / "others" / "piece-000").write_bytes(b"damaged")
    with pytest.raises(ValueError, match="piece-000 is damaged: pack the data again$"):
        pack.unpack(tmp_path / "others", tmp_path / "new")


def test_the_command_itself(tmp_path, capsys):
    (tmp_path / "queue.toml").write_text(
        '[[run]]\nname = "version"\nwhy = ""\nminutes = 1\ncommand = "python --version"\n'
        '[[run]]\nname = "reads"\nwhy = ""\nminutes = 1\ncommand = "python {data}"\n'
    )
    places = ["--queue", tmp_path / "queue.toml", "--out", tmp_path / "out", "--work", tmp_path / "work"]
    drain.main([str(word) for word in places])
    out = capsys.readouterr().out
    assert "waiting for --data of the data" in out and "version: finished" in out
    assert "waiting        0       0 s  reads" in out
