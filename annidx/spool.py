"""A queue between two threads whose middle lies on disk: as long as it has to be, at no memory."""

from __future__ import annotations

import contextlib
import os
import pickle
import tempfile
import threading
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")

CHUNK = 256
"""So many items are written and read together."""


class Spool(Generic[T]):
    """Items in, the same items out, in order.

    Parameters
    ----------
    folder : Path
        Where the file is made; it has no name, and is gone with the process.
    """

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - see close
        self._changed = threading.Condition()
        self._chunk: list[T] = []  # of the thread that puts
        self._ends: list[int] = [0]
        self._finished = False
        self._error: BaseException | None = None

    def put(self, item: T) -> None:
        """Add an item; others see it when 256 are together, or at the end."""
        self._chunk.append(item)
        if len(self._chunk) >= CHUNK:
            self._write()

    def finish(self, error: BaseException | None = None) -> None:
        """Say that nothing more will come, or why not."""
        try:
            if error is None:
                self._write()
        except BaseException as failed:  # a full disk: for whoever takes
            error = failed
        with self._changed:
            self._error = error
            self._finished = True
            self._changed.notify_all()

    def take(self, wait_s: float) -> list[T] | None:
        """Return the next items, [] when none came within that time, None at the end.

        Raises
        ------
        BaseException
            What the other thread finished with, after the last items that it put.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._finished, wait_s)
            if not self._waiting:
                if self._error is not None:
                    raise self._error
                return None if self._finished else []
            start, stop = self._ends[0], self._ends[1]
            del self._ends[0]
        data = os.pread(self._file.fileno(), stop - start, start)
        return list(pickle.loads(data))

    def close(self) -> None:
        """Give the disk space back."""
        with contextlib.suppress(OSError):  # the disk is full, as somebody has been told already
            self._file.close()

    @property
    def _waiting(self) -> bool:
        return len(self._ends) > 1

    def _write(self) -> None:
        if self._chunk:
            data = pickle.dumps(self._chunk, pickle.HIGHEST_PROTOCOL)
            self._chunk = []
            start = self._ends[-1]
            self._file.write(data)
            self._file.flush()
            with self._changed:
                self._ends.append(start + len(data))
                self._changed.notify_all()
