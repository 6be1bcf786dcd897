"""What a piece of work costs: CPU and wall seconds, and memory, of a process of its own.

Memory that is mapped from files comes and goes as the system likes; what a program has to have is
its anonymous memory, which the kernel keeps no peak of, so a thread looks every 10 ms.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
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
