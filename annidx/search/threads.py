"""Work shared out between threads: numpy and nmslib let others run while they compute."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from annidx.native import processors

T = TypeVar("T")
R = TypeVar("R")


def ahead(work: Callable[[T], R], tasks: Iterable[T], threads: int | None = None) -> Iterator[R]:
    """Yield the results of some tasks, in order; a few are worked on ahead, so memory is bounded.

    Parameters
    ----------
    work : callable
    tasks : Iterable
        Read as needed, in the caller's thread.
    threads : int, optional
        By default one for each processor that this process may use.
    """
    count = threads or processors()
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(count) as pool:
        try:
            for task in tasks:
                waiting.append(pool.submit(work, task))
                if len(waiting) > 2 * count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
