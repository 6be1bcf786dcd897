"""Pictures that are sent to a service, decoded in worker processes that may be lost.

What a stranger sends may crash a decoder, never end, or take all memory: so it is decoded in a
process with a limit of memory and of time, and costs itself alone. Each decoder is one worker of
:func:`annidx.workers.map_items`, so that a stuck one holds up nobody else.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from annidx.errors import PictureUnreadable, WorkerError
from annidx.images import extract, shown
from annidx.images.decode import NO_MEMORY, Limits
from annidx.images.facts import Details
from annidx.model import File, Record
from annidx.native import at_most
from annidx.workers import Lost, map_items, warm_up


@dataclass(frozen=True, slots=True)
class Sent:
    """A picture to describe.

    Attributes
    ----------
    data : bytes
        Of the file.
    names : sequence of str
        Descriptors to compute.
    limits : Limits
    """

    data: bytes
    names: Sequence[str]
    limits: Limits


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a picture could not be read: a status of :data:`annidx.model.STATUSES`, and a line."""

    status: str
    reason: str


@dataclass(frozen=True, slots=True)
class Shown:
    """A file of the index to make a small JPEG of: see :func:`annidx.images.shown.thumbnail`."""

    file: File
    side: int
    limits: Limits


@dataclass(frozen=True, slots=True)
class Told:
    """A file of the index to read the metadata of: see :func:`annidx.images.shown.details`."""

    file: File
    limits: Limits


Outcome = Any


def decode(item: Sent | Shown | Told) -> Record | bytes | Details | Refused:
    """Describe a picture, or make a small one of it; what runs in the workers."""
    try:
        with at_most(item.limits.memory + extract.SPARE_BYTES):
            if isinstance(item, Shown):
                return shown.thumbnail(item.file, item.side, item.limits)
            if isinstance(item, Told):
                return shown.details(item.file, item.limits)
            return extract.bytes_record(item.data, item.names, item.limits)
    except PictureUnreadable as error:
        return Refused(error.status, str(error))
    except MemoryError:
        return Refused("too-large", NO_MEMORY)


class Decoder:
    """One worker process, started anew when it is lost; for one thread at a time.

    Parameters
    ----------
    function : callable
        What it does with each item: importable there, `decode` or another.
    timeout_s : float
    """

    def __init__(self, function: Callable[[Any], Outcome], timeout_s: float) -> None:
        self._function, self._timeout_s = function, timeout_s
        self._next: list[Any] = []
        self._results: Generator[Outcome, None, None] | None = None

    def __call__(self, item: Any) -> Outcome:
        """Return what the worker makes of an item; Refused when it is lost over it."""
        if self._results is None:
            self._results = map_items(
                self._function,
                self._items(),
                workers=1,
                timeout_s=self._timeout_s,
                on_lost=_lost,
                preload=extract.PRELOAD,
            )
        self._next = [item]
        try:
            return next(self._results)
        except (WorkerError, StopIteration):
            self.close()
            raise

    def _items(self) -> Iterator[list[Any]]:
        while True:
            items, self._next = self._next, []
            yield items

    def close(self) -> None:
        """End the worker."""
        if self._results is not None:
            self._results.close()
            self._results = None


def _lost(_: Any, lost: Lost) -> Refused:
    return Refused(lost.reason, f"its decoder was lost: {lost.detail}")


class Decoders:
    """Decoders that threads share.

    Parameters
    ----------
    count : int
    limits : Limits
        What a picture may have and take.
    timeout_s : float
        What decoding one may take.
    function : callable
        See :class:`Decoder`.
    """

    def __init__(
        self,
        count: int,
        limits: Limits,
        timeout_s: float,
        function: Callable[[Any], Outcome] = decode,
    ) -> None:
        self._limits = limits
        self._all = [Decoder(function, timeout_s) for _ in range(count)]
        self._free: queue.LifoQueue[Decoder] = queue.LifoQueue()
        self._closing = threading.Event()
        for decoder in self._all:
            self._free.put(decoder)

    def start(self) -> None:
        """Begin to import what decoders need; returns at once."""
        warm_up(extract.PRELOAD)

    def record(self, data: bytes, names: Sequence[str]) -> Record:
        """Describe a picture.

        Parameters
        ----------
        data : bytes
            Of its file.
        names : sequence of str
            Descriptors to compute.

        Raises
        ------
        PictureUnreadable
            Also when it has killed its decoder or took too long.
        """
        record: Record = self._decoded(Sent(data, names, self._limits))
        return record

    def thumbnail(self, file: File, side: int) -> bytes:
        """Return a file of the index as a small JPEG; see :func:`annidx.images.shown.thumbnail`."""
        written: bytes = self._decoded(Shown(file, side, self._limits))
        return written

    def details(self, file: File) -> Details:
        """Return what the metadata of a file says; see :func:`annidx.images.shown.details`."""
        found: Details = self._decoded(Told(file, self._limits))
        return found

    def _decoded(self, item: Sent | Shown | Told) -> Any:
        decoder = self._free.get()
        try:
            outcome = decoder(item)
        finally:
            self._free.put(decoder)
        if isinstance(outcome, Refused):
            raise PictureUnreadable(outcome.reason, outcome.status)
        return outcome

    def close(self) -> None:
        """End all workers, those that are busy as soon as they are done."""
        for _ in self._all:
            self._free.get().close()
