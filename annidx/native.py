"""Keeps what C and C++ libraries print out of the user's terminal."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path


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
