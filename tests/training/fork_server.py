"""Bears the real thing as child processes that share the cost of the imports: a script that forks one for each job.

A job is a line of JSON, {"settings", "data", "out", "resume", "distill", "environment", "file_limit", "fatal"};
the answer is the child's pid, its output goes to OUT.log beside the run. {"wait": pid} answers with its exit status,
negative for a signal, as `subprocess` does; {"running": pid} with 1 or 0, and leaves it to be waited for. A child ends
as the command line would.
"""

import json
import os
import resource
import signal
import sys
from functools import partial

from leanformer.distillation.distill import distill
from leanformer.settings import settings_from
from leanformer.training.pretrain import pretrain


def run(job: dict) -> None:
    log = os.open(job["out"] + ".log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.update(job["environment"])
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup, whose children ignore it, as anywhere else
    if job["file_limit"]:  # who writes a longer file is killed by the kernel in the middle of it, or gets an error
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL if job["fatal"] else signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["file_limit"], job["file_limit"]))
    settings = job["settings"] and settings_from(job["settings"])
    train = partial(distill, **job["distill"]) if job["distill"] else pretrain
    train(settings, job["data"], job["out"], resume=job["resume"])


def bear(job: dict) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        run(job)
        status = 0
    except (ValueError, OSError, ArithmeticError) as error:
        print(f"error: {error}", file=sys.stderr)
        status = 2
    except SystemExit as stop:
        status = stop.code
    finally:
        sys.stdout.flush()
        os._exit(status)


for line in sys.stdin:
    job = json.loads(line)
    if "wait" in job:
        print(os.waitstatus_to_exitcode(os.waitpid(job["wait"], 0)[1]), flush=True)
    elif "running" in job:
        print(int(os.waitid(os.P_PID, job["running"], os.WEXITED | os.WNOHANG | os.WNOWAIT) is None), flush=True)
    else:
        print(bear(job), flush=True)
