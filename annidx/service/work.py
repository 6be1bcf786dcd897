"""Where requests are worked on: a few threads, a short queue before them, and a word to the rest.

A place is freed when the work ends, not when whoever waited for it has gone: else a client that
gives up and asks again would have the machine work for both.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from annidx.errors import AnnidxError

P = ParamSpec("P")
R = TypeVar("R")


class Busy(AnnidxError):
    """All places are taken."""

    http_status = 503


class TooMany(Busy):
    """More requests of this costly kind than the service takes at a time."""

    http_status = 429


class Pool:
    """Threads that do the work of requests.

    Parameters
    ----------
    workers : int
        Requests that are worked on at a time.
    waiting : int
        Requests that may wait for that.
    refusal : type of Busy
        What is raised when there is no place.
    """

    def __init__(self, workers: int, waiting: int, refusal: type[Busy] = Busy) -> None:
        self.workers, self.places = workers, workers + waiting
        self.taken = self.refused = 0
        self._refusal = refusal
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="work")

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a function in one of the threads.

        Raises
        ------
        Busy
            When all places are taken.
        """
        future = self._submit(function, *args, **kwargs)
        try:
            return await asyncio.shield(asyncio.wrap_future(future))
        except asyncio.CancelledError:
            future.cancel()  # as long as it waits; what is being done is done to its end
            raise

    def _submit(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        self.take_place()
        future = self.submit(function, *args, **kwargs)
        future.add_done_callback(lambda _: self.free_places(1))
        return future

    def take_place(self) -> None:
        """Take a place, to be freed when the work has ended.

        Raises
        ------
        Busy
        """
        with self._lock:
            if self.taken >= self.places:
                self.refused += 1
                message = f"all {self.places} places are taken: try again in a second"
                raise self._refusal(message)
            self.taken += 1

    def free_places(self, count: int) -> None:
        """Free places that were taken."""
        with self._lock:
            self.taken -= count

    def submit(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Call a function in one of the threads, for which places were taken."""
        return self._threads.submit(function, *args, **kwargs)

    def close(self) -> None:
        """Let go of the threads, once they have done what they are at."""
        self._threads.shutdown(wait=False, cancel_futures=True)
