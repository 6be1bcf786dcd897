"""What the machine gives, and C and C++ libraries in bounds: what they print and take."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path


def processors() -> int:
    """Return the number of CPUs that this process may use, at least 1."""
    if sys.version_info >= (3, 13):
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Point file descriptor 2 at nothing for a while.

    nmslib prints while it is imported, libtiff and others while they decode, past Python's
    ``sys.stderr``. The descriptor belongs to the whole process: not for a server's threads.
    """
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        silence_stderr()
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def silence_stderr() -> None:
    """Point file descriptor 2 at nothing for good: for worker processes."""
    with Path(os.devnull).open("wb") as null:
        os.dup2(null.fileno(), 2)


@contextlib.contextmanager
def at_most(more_bytes: int) -> Iterator[None]:
    """Let this process take so much more memory for a while, and no byte beyond.

    What asks for more gets none: a MemoryError, or whatever a library makes of it. Counts what is
    asked for, used or not. The limit belongs to the whole process: for workers. Linux only;
    elsewhere nothing happens.
    """
    if sys.platform != "linux":
        yield
        return
    pages = int(Path("/proc/self/statm").read_text().split()[5])
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = pages * resource.getpagesize() + more_bytes
    if soft != resource.RLIM_INFINITY:
        limit = min(limit, soft)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


@cache
def give_back_large_blocks() -> None:
    """Have glibc give back what is freed: else it raises, after the first large picture, the size
    from which it does, and a worker keeps hundreds of megabytes of free blocks. Not before that
    picture: small ones take a sixth more time afterwards."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        m_mmap_threshold = -3
        mallopt(m_mmap_threshold, 8 * 1024**2)


def give_back_free_memory() -> None:
    """Have glibc give back what is free in the middle of its heap, too: after much was dropped."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
