"""Questions that wait together and are answered in one pass.

A search of several pictures at once takes half the time for each: columns are read and graphs are
entered for all of them. So what waits while all threads are busy, and is asked of one snapshot with
equal options, is asked together. Nothing waits for company: a thread that is free takes what there
is.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from annidx.service.work import Pool

T = TypeVar("T")
R = TypeVar("R")

MOST = 8
"""Asked in one pass: beyond, each takes as long, and the last one waits for all others."""


class _Waiting(NamedTuple):
    item: Any
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop


class Gathered(Generic[T, R]):
    """Answers questions in threads of a pool, in which each takes a place.

    Parameters
    ----------
    pool : Pool
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._lock = threading.Lock()
        self._waiting: dict[Hashable, list[_Waiting]] = {}

    async def run(self, key: Hashable, function: Callable[[Sequence[T]], list[R]], item: T) -> R:
        """Return what a function makes of an item, perhaps together with others.

        Parameters
        ----------
        key : Hashable
            What functions of equal keys have in common: each may do the work of the others.
        function : callable
            Returns one result for each of some items; when it raises, each is tried alone.
        item : T

        Raises
        ------
        Busy
            When all places are taken.
        """
        self._pool.take_place()
        loop = asyncio.get_running_loop()
        waiting = _Waiting(item, loop.create_future(), loop)
        with self._lock:
            self._waiting.setdefault(key, []).append(waiting)
        # As many calls as items: one that finds nothing left is over at once.
        self._pool.submit(self._work, key, function)
        result: R = await waiting.future
        return result

    def _work(self, key: Hashable, function: Callable[[Sequence[T]], list[R]]) -> None:
        taken = self._taken(key)
        if not taken:
            return
        told = _tried(function, [each.item for each in taken])
        self._pool.free_places(len(taken))
        taken[0].loop.call_soon_threadsafe(_tell, taken, told)

    def _taken(self, key: Hashable) -> list[_Waiting]:
        """Take a fair share of what waits, so that another thread that comes free has some, too."""
        with self._lock:
            waiting = self._waiting.get(key, [])
            share = min(MOST, -(-len(waiting) // self._pool.workers))
            taken, left = waiting[:share], waiting[share:]
            if left:
                self._waiting[key] = left
            else:
                self._waiting.pop(key, None)
        gone = sum(each.future.cancelled() for each in taken)
        self._pool.free_places(gone)
        return [each for each in taken if not each.future.cancelled()]


def _tried(function: Callable[[Sequence[Any]], list[Any]], items: Sequence[Any]) -> list[Any]:
    """Return a result or an exception for each item."""
    try:
        return function(items)
    except Exception as error:  # goes to whoever asked
        if len(items) == 1:
            return [error]
    return [_tried(function, [item])[0] for item in items]


def _tell(taken: Sequence[_Waiting], told: Sequence[Any]) -> None:
    for each, result in zip(taken, told, strict=True):
        if each.future.done():  # whoever asked has gone
            continue
        if isinstance(result, Exception):
            each.future.set_exception(result)
        else:
            each.future.set_result(result)
