"""Snapshots that were replaced: freed when their last request is done, and their memory as well.

Engines and what they lend out refer to each other, so the collector must free a snapshot; and
malloc keeps what is freed in the middle of its heap until it is told to give it back.
"""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable

from annidx.index import Index
from annidx.native import give_back_free_memory


class Replaced:
    """What requests may still have of an index that was replaced.

    Parameters
    ----------
    clock : callable
        Tells seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._left: list[weakref.ref[Index]] = []
        self._since = self._due = 0.0

    def add(self, index: Index) -> None:
        """Note an index that is to be freed."""
        with self._lock:
            self._left.append(weakref.ref(index))
            self._since = self._due = self._clock()

    def free(self) -> None:
        """Free those that nobody has any more.

        To look takes the collector a tenth of a second, in which nobody is answered: while a search
        of all pairs holds an index for minutes, it is looked for half as often each time.
        """
        with self._lock:
            now = self._clock()
            if not self._left or now < self._due:
                return
            self._due = now + (now - self._since)
            gc.collect()
            left = [each for each in self._left if each() is not None]
            if len(left) < len(self._left):
                give_back_free_memory()
            self._left = left
