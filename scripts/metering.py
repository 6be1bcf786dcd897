"""What a piece of work costs: CPU and wall seconds, and memory, of a process of its own.

Memory that is mapped from files comes and goes as the system likes; what a program has to have is
its anonymous memory, which the kernel keeps no peak of, so a thread looks every 10 ms.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
_EVERY_S = 0.01
_SINGLE = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Cost:
    """What something took.

    Attributes
    ----------
    cpu_s : float
        Of all threads of the process.
    wall_s : float
    rss_mb : float
        Most resident memory that the process ever had, files that are mapped included.
    anon_mb : float
        Most anonymous memory during the work, seen every 10 ms.
    """

    cpu_s: float
    wall_s: float
    rss_mb: float
    anon_mb: float

    @property
    def fields(self) -> dict[str, float]:
        """As in a row, rounded to what is more than noise."""
        return {name: float(f"{value:.4g}") for name, value in asdict(self).items()}


def memory_mb(name: str) -> float:
    """Return a line of /proc/self/status in megabytes: 'VmHWM', 'RssAnon'; 0 where there is none.

    Linux only: elsewhere there is no /proc.
    """
    try:
        text = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return 0.0
    found = [line.split()[1] for line in text.splitlines() if line.startswith(f"{name}:")]
    return int(found[0]) * 1024 / 1e6 if found else 0.0


def metered(work: Callable[[], T]) -> tuple[T, Cost]:
    """Run something; return its result and what it took."""
    most = [memory_mb("RssAnon")]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_EVERY_S):
            most[0] = max(most[0], memory_mb("RssAnon"))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        result = work()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    finally:
        done.set()
        watcher.join()
    most[0] = max(most[0], memory_mb("RssAnon"))
    return result, Cost(cpu, wall, memory_mb("VmHWM"), most[0])


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that has ended.

    Attributes
    ----------
    output, errors : str
    code : int
    cost : dict of str to float
        cpu_s and wall_s of it and its processes; rss_mb, of the largest of them.
    """

    output: str
    errors: str
    code: int
    cost: dict[str, float]


# A small process between: one that a large process starts counts as no smaller than that. On Linux
# it inherits what the command leaves behind, such as the server that workers are forked from: what
# nobody waits for is not counted.
_LAUNCHER = """
import ctypes, json, os, resource, sys, time
SUBREAPER = 36  # of linux/prctl.h
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
began = time.perf_counter()
status = os.waitpid(os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ), 0)[1]
wall_s = time.perf_counter() - began
try:
    while True:
        os.wait()
except ChildProcessError:
    pass
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
rss_mb = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
cost = {"cpu_s": usage.ru_utime + usage.ru_stime, "wall_s": wall_s, "rss_mb": rss_mb}
with open(sys.argv[1], "w") as file:
    json.dump([os.waitstatus_to_exitcode(status), cost], file)
"""


def in_command(
    words: Sequence[str], *, stdin: bytes = b"", variables: Mapping[str, str] | None = None
) -> Ran:
    """Run a command with some changes to the environment, whatever it ends with."""
    with tempfile.TemporaryDirectory() as folder:
        about, output = Path(folder, "about"), Path(folder, "output")
        with output.open("wb") as handle:
            done = subprocess.run(
                [sys.executable, "-I", "-S", "-c", _LAUNCHER, about, *words],
                input=stdin,
                stdout=handle,
                stderr=subprocess.PIPE,
                check=True,
                env={**os.environ, **(variables or {})},
            )
        code, cost = json.loads(about.read_text())
        text = output.read_text(encoding="utf-8")
    return Ran(text, done.stderr.decode(errors="replace"), code, cost)


def in_child(module: str, name: str, **options: Any) -> dict[str, Any]:
    """Call a function of a module of scripts in a new process; return the row that it makes.

    The module's ``main`` gets the name and the options as JSON and prints the row as its last line.
    BLAS has one thread there, since those that wait for each other spin.
    """
    words = [sys.executable, "-m", f"scripts.{module}", name, json.dumps(options)]
    single = {each: os.environ.get(each, "1") for each in _SINGLE}
    done = subprocess.run(
        words, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, **single}
    )
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row
