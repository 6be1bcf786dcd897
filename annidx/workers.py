# ruff: noqa: PLC0415 - multiprocess is imported where it is used: importing this module is cheap
"""Map a function over items in worker processes, surviving dead and stuck workers.

The only module that imports multiprocess. It knows neither pictures nor the index.

Each worker has a pipe and says "ready" once, "begun" for each batch and "result" for each item, in
order: the parent always knows which item a dead worker was busy with. What it had written lies in
the pipe in front of the end of file, which is therefore the only sign of death that is looked for.

Heavy items go one at a time: a function that finds one answers Again instead of working on it.
"""

import contextlib
import logging
import os
import pickle
import signal
import sys
import threading
import time
import traceback
import types
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from annidx.errors import WorkerError
from annidx.native import processors, silence_stderr

T = TypeVar("T")
R = TypeVar("R")

logger = logging.getLogger(__name__)

_START_LIMIT_S = 60.0  # until a worker is ready, and until it takes a batch; imports may be slow
_MAX_STILLBORN = 3  # so many workers in a row that die before they are ready: none ever will be
_SLICE_S = 1.0
_NAP_S = 0.02  # until an input that had nothing is asked again: 0.7 % of a CPU
_GRACE_S = 1.0
_NO_MEMORY = 112  # exit code of a worker whose function raised MemoryError
_START_LOCK = threading.Lock()


@dataclass(frozen=True, slots=True)
class Lost:
    """Why an item has no result."""

    reason: Literal["crashed", "timeout"]
    detail: str  # one line: "worker killed by signal 11 (SIGSEGV)", "no answer within 60 s"


@dataclass(frozen=True, slots=True)
class Again(Generic[T]):
    """Answer of a function that has not done its item: call it with this one when it can be alone.

    No other item that came back like this is then in flight; ordinary ones are.
    """

    item: T


def worker_count(requested: int | None) -> int:
    """Return `requested`, or for None the number of CPUs this process may use; at least 1."""
    return processors() if requested is None else max(1, requested)


def warm_up(preload: Sequence[str] = ()) -> None:
    """Start the process that workers are forked from, and do not wait for what it imports.

    The first worker of a process waits for these imports (0.4 s for numpy and Pillow), which can go
    on beside other work of this process if it calls this first. A second call does nothing.

    Parameters
    ----------
    preload : sequence of str
        As for :func:`map_items`.
    """
    from multiprocess import forkserver

    with contextlib.suppress(OSError), _clean_start(preload):  # map_items tells what is wrong
        forkserver.ensure_running()


def map_items(
    function: Callable[[T], R | Again[T]],
    batches: Iterable[Sequence[T]],
    *,
    workers: int,
    timeout_s: float | Callable[[T], float],
    on_lost: Callable[[T, Lost], R | Again[T]],
    preload: Sequence[str] = (),
    window: int = 256,
) -> Generator[R, None, None]:
    """Yield function(item) for every item, in the order of the input for any number of workers.

    Closing the generator, or an exception in its consumer, ends the workers.

    Parameters
    ----------
    function : callable
        Runs in the workers. Importable there, or picklable by value; items and results are of
        types that can be imported there. What it returns is yielded,
        but for an Again: its item takes the place of the one that was given, and goes alone in a
        batch, before all new ones, to the first free worker when no other such item is in flight.
    batches : iterable of sequences
        Read lazily, so it may be endless. A batch goes to one worker. An empty one means "nothing
        for now": results are taken up, and 0.02 s later, or when the next one
        comes, it is asked again. While the input blocks, no result is taken up.
    workers : int
        At most this many processes, at least 1; they are started when there is work for them.
    timeout_s : float or callable
        Seconds that one item may take; a worker that takes longer is killed. A callable is asked
        in this process for each item, when a worker begins with it.
    on_lost : callable
        Called in this process with an item that killed its worker or took too long, and why; what
        it returns stands in for the result. It, too, may return Again, of an item that was not
        alone. No other item is lost, and none is done twice.
    preload : sequence of str
        Modules that the first call of a process imports for all workers; they start no threads.
    window : int
        Batches that may be in flight or wait for their turn; with fewer than `workers`, some idle.
        The others go on this far while one item takes long.

    Raises
    ------
    ValueError
        At the call, if `workers`, `timeout_s` or `window` is not positive; later, if what
        `timeout_s` returns is not.
    WorkerError
        If `function` raises an exception other than MemoryError (which loses the item), if an item
        that is alone comes back as Again, or if workers cannot be started.
    """
    fixed_s = 1.0 if callable(timeout_s) else timeout_s
    if workers < 1 or window < 1 or not fixed_s > 0:
        message = f"{workers=}, {window=} and {timeout_s=} must be positive"
        raise ValueError(message)
    supervisor: _Supervisor[T, R] = _Supervisor(
        iter(batches), workers, timeout_s, on_lost, preload, window
    )
    return supervisor.run(function)


@dataclass(slots=True, eq=False)
class _Worker:
    """One process, its pipe, and the numbered items that it has yet to answer."""

    process: Any
    pipe: Any
    todo: deque[tuple[int, Any]]
    ready: bool = False
    begun: bool = False
    limit_s: float = _START_LIMIT_S
    left_s: float = _START_LIMIT_S

    def send_todo(self) -> None:
        self.limit_s = self.left_s = _START_LIMIT_S
        # A worker that died while idle is noticed at its end of file; it has not begun the batch.
        with contextlib.suppress(OSError):
            _send(self.pipe, [item for _, item in self.todo])

    def end(self, grace_s: float) -> str:
        """End the process, by force if it has not ended within grace_s, and say how it ended."""
        self.pipe.close()
        self.process.join(grace_s)
        by_force = self.process.is_alive()
        if by_force:
            self.process.kill()
            # Bounded: not even SIGKILL ends a process that waits for a dead network share.
            self.process.join(_GRACE_S)
        code = self.process.exitcode
        if code is None:
            return "worker does not end, not even when killed"
        # Closes the pipe that end_with_parent watches: multiprocess takes the workers of a fork
        # server that was killed for ended, and cannot kill them.
        self.process.close()
        return "worker left its pipe and did not end" if by_force else _how_it_ended(code)


def _how_it_ended(code: int) -> str:
    if code == _NO_MEMORY:
        return "worker had not enough memory"
    if code >= 0:
        return f"worker ended with exit code {code}"
    names = {number.value: number.name for number in signal.Signals}
    perhaps = ", perhaps for lack of memory" if -code == signal.SIGKILL else ""
    return f"worker killed by signal {-code} ({names.get(-code, 'unknown')}){perhaps}"


@dataclass(slots=True, eq=False)
class _Supervisor(Generic[T, R]):
    """Hands out batches, collects answers, replaces workers; one object per call of map_items."""

    batches: Iterator[Sequence[T]]
    limit: int
    timeout_s: float | Callable[[T], float]
    on_lost: Callable[[T, Lost], R | Again[T]]
    preload: Sequence[str]
    window: int
    pickled: bytes = b""
    workers: list[_Worker] = field(default_factory=list)
    returned: deque[deque[tuple[int, T]]] = field(default_factory=deque)  # left by dead workers
    heavy: deque[tuple[int, T]] = field(default_factory=deque)  # came back as Again
    alone: int | None = None  # the number of the heavy item that has been handed out
    results: dict[int, R] = field(default_factory=dict)  # answered, not yet in their turn
    ends: deque[int] = field(default_factory=deque)  # of each open batch: its last number + 1
    taken: int = 0  # items taken from the input
    exhausted: bool = False
    napping: bool = False  # the input had nothing and is not asked before the next listen()
    next: int = 0  # the number of the item to be yielded next
    stillborn: int = 0

    def run(self, function: Callable[[T], R | Again[T]]) -> Generator[R, None, None]:
        from multiprocess.reduction import ForkingPickler

        # Pickled while __main__ is still what it is: dill takes a function of __main__ by value,
        # and with recurse only those globals that it uses.
        self.pickled = bytes(ForkingPickler.dumps(function, recurse=True))
        try:
            self.hand_out()
            while self.ends or not self.exhausted:
                self.listen()
                self.hand_out()  # also before yielding: the consumer may be slow
                while self.next in self.results:
                    result = self.results.pop(self.next)
                    self.next += 1
                    if self.next == self.ends[0]:
                        self.ends.popleft()
                    yield result
                    self.napping = False  # the consumer may have taken its time, and brought more
                self.hand_out()
        finally:
            for worker in self.workers:
                if worker.process.is_alive():
                    worker.process.terminate()
            for worker in self.workers:
                worker.end(_GRACE_S)

    def hand_out(self) -> None:
        for worker in self.workers:
            if worker.ready and not worker.todo and (todo := self.next_todo()):
                worker.todo = todo
                worker.send_todo()
        while len(self.workers) < self.limit and (todo := self.next_todo()):
            self.workers.append(_start(self.pickled, self.preload, todo))

    def next_todo(self) -> deque[tuple[int, T]]:
        """Return what a dead worker left, a heavy item, or new ones; nothing when there are none.

        Only new items are held back by the window, or the heavy one that it waits for might wait
        for the window.
        """
        if self.returned:
            return self.returned.popleft()
        if self.heavy and self.alone is None:
            todo = deque([self.heavy.popleft()])
            self.alone = todo[0][0]
            return todo
        return self.next_batch()

    def next_batch(self) -> deque[tuple[int, T]]:
        """Return new items; nothing when the window is full or the input has nothing for now."""
        if self.exhausted or self.napping or len(self.ends) >= self.window:
            return deque()
        batch: Sequence[T] = ()
        try:
            batch = next(self.batches)
        except StopIteration:
            self.exhausted = True
        numbered = deque(enumerate(batch, self.taken))
        self.napping = not (numbered or self.exhausted)
        if numbered:
            self.taken += len(numbered)
            self.ends.append(self.taken)
        return numbered

    def listen(self) -> None:
        """Wait until a worker says something or has taken too long, and act on it."""
        from multiprocess.connection import wait

        left_s = [worker.left_s for worker in self.workers if worker.todo]
        if self.napping:
            left_s.append(_NAP_S)
        self.napping = False
        began = time.monotonic()
        heard = wait([worker.pipe for worker in self.workers], max(0.0, min([_SLICE_S, *left_s])))
        # Only time spent waiting here counts, in slices: the consumer may take long between two
        # results, and Ctrl-Z or a closed lid must not make a picture a slow one.
        waited_s = min(_SLICE_S, time.monotonic() - began)
        for worker in self.workers.copy():
            if worker.pipe in heard:
                self.hear(worker)
            elif worker.todo:
                worker.left_s -= waited_s
                if worker.left_s <= 0:
                    self.bury(worker, "timeout")

    def hear(self, worker: _Worker) -> None:
        try:
            said = worker.pipe.recv_bytes()
        except (EOFError, OSError):
            self.bury(worker, "crashed")
            return
        kind, value = pickle.loads(said)
        if kind == "ready":
            worker.ready = True
            self.stillborn = 0
            worker.send_todo()
        elif kind == "error":
            what = f"item {worker.todo[0][1]!r:.200}" if worker.begun else "its start"
            message = f"a worker process failed at {what}:\n{value}"
            raise WorkerError(message)
        else:
            if kind == "result":
                self.book(*worker.todo.popleft(), value)
            worker.begun = bool(worker.todo)
            if worker.todo:
                worker.limit_s = worker.left_s = self.limit_of(worker.todo[0][1])

    def book(self, number: int, item: T, answer: R | Again[T]) -> None:
        """Keep a result until its turn, or an item until it can be alone."""
        was_alone = number == self.alone
        if was_alone:
            self.alone = None
        if not isinstance(answer, Again):
            self.results[number] = answer
        elif was_alone:
            message = f"item {item!r:.200} is alone and came back as Again: it would for ever"
            raise WorkerError(message)
        else:
            self.heavy.append((number, answer.item))

    def limit_of(self, item: T) -> float:
        if not callable(self.timeout_s):
            return self.timeout_s
        limit_s = self.timeout_s(item)
        if not limit_s > 0:
            message = f"timeout_s must be positive, not {limit_s!r}, for item {item!r:.200}"
            raise ValueError(message)
        return limit_s

    def bury(self, worker: _Worker, reason: Literal["crashed", "timeout"]) -> None:
        """End a worker; replace its item in progress; keep its other items for another worker."""
        self.workers.remove(worker)
        detail = worker.end(_GRACE_S if reason == "crashed" else 0.0)
        if reason == "timeout":
            detail = f"no answer within {worker.limit_s:g} s"
        logger.info("lost a worker: %s", detail)
        self.stillborn += not worker.ready
        if self.stillborn >= _MAX_STILLBORN:
            message = f"{self.stillborn} worker processes in a row never got ready: {detail}"
            raise WorkerError(message)
        if worker.begun:
            number, item = worker.todo.popleft()
            self.book(number, item, self.on_lost(item, Lost(reason, detail)))
        if worker.todo:
            self.returned.append(worker.todo)


def _start(pickled: bytes, preload: Sequence[str], todo: deque[tuple[int, Any]]) -> _Worker:
    import multiprocess

    context = multiprocess.get_context("forkserver")
    ours, theirs = context.Pipe(duplex=True)
    # daemon: also ended when the interpreter exits while a generator was never closed.
    process = context.Process(target=_serve, args=(theirs, pickled), daemon=True)
    try:
        with _clean_start(preload):
            process.start()
    except (OSError, EOFError) as error:
        ours.close()
        message = f"cannot start a worker process: {error!r}"
        raise WorkerError(message) from error
    finally:
        theirs.close()
    return _Worker(process, ours, todo)


@contextlib.contextmanager
def _clean_start(preload: Sequence[str]) -> Iterator[None]:
    """Keep the caller's __main__ and Ctrl-C away from the fork server and its workers.

    They would run __main__ again, and a script need not have a guard; loky has
    init_main_module=False for this. They inherit the mask: Ctrl-C is for the parent alone.
    """
    from multiprocess import forkserver, resource_tracker

    with _START_LOCK, _safe_path():  # the lock, or two threads restore each other's dummy
        resource_tracker.ensure_running()  # first, since its start unblocks SIGINT
        forkserver.set_forkserver_preload(list(preload))
        main = sys.modules["__main__"]
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            sys.modules["__main__"] = types.ModuleType("__main__")
            yield
        finally:
            sys.modules["__main__"] = main
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _send(pipe: Any, value: Any) -> None:
    """Send by plain pickle: dill, which multiprocess sends by, takes ten times as long."""
    pipe.send_bytes(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))


@contextlib.contextmanager
def _safe_path() -> Iterator[None]:
    """Keep the current folder out of the import path of the processes that are started.

    They are started with -c, which puts it in front: a folder of pictures that holds a struct.py
    would have it run.
    """
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = before


def _serve(pipe: Any, pickled: bytes) -> None:
    """Be a worker: answer batches until the parent has gone."""
    from multiprocess import parent_process
    from multiprocess.reduction import ForkingPickler

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    silence_stderr()  # decoders chatter there; what matters goes through the pipe
    parent = parent_process()

    def end_with_parent() -> None:  # even in the middle of a stuck item
        parent.join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    # When memory runs out, the kernel shall end a worker, not the parent or the user's desktop.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")
    with contextlib.suppress(OSError):  # nobody there to hear it
        try:
            function = ForkingPickler.loads(pickled)
            _send(pipe, ("ready", None))
            pipe.poll(None)  # until the parent has done all that it does with the sentinel
            _end_at_hang_up(parent.sentinel)
            while True:
                batch = pipe.recv_bytes()
                # Before unpickling: a batch that kills the worker there must cost an item, too.
                _send(pipe, ("begun", None))
                for item in pickle.loads(batch):
                    _send(pipe, ("result", function(item)))
        except MemoryError:  # the item's fault, not a bug; ending gives back what there is
            os._exit(_NO_MEMORY)
        except BaseException:
            _send(pipe, ("error", traceback.format_exc()))


def _end_at_hang_up(sentinel: int) -> None:
    """Let the kernel end this process when the other end of a pipe is closed.

    A decoder that is stuck and holds the GIL would never let a thread do it.
    """
    if sys.platform == "linux":
        import fcntl

        fcntl.fcntl(sentinel, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(sentinel, fcntl.F_SETSIG, signal.SIGKILL)
        flags = fcntl.fcntl(sentinel, fcntl.F_GETFL)
        fcntl.fcntl(sentinel, fcntl.F_SETFL, flags | os.O_ASYNC)
