"""annidx many times over, quickly: forked children of one process that has imported it already.

A crash, a hang or a process that is left behind costs the child, not the test. What the command
line does is the same as in a process of its own, but for the 0.5 s that importing takes.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

TIMEOUT_S = 60.0
LINGER_S = 10.0
"""Workers may take so long to notice that their parent has gone."""


_SINGLE = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
"""What keeps importing from starting threads."""

_PR_SET_PTRACER = 0x59616D61  # where only parents may trace: let anyone

_LAZY = ("multiprocess.forkserver", "nmslib", "numpy.ma", "pyarrow.compute", "pyarrow.parquet")
"""What the parts of annidx import when they need it, or their libraries do."""


@dataclass(frozen=True, slots=True)
class Done:
    """What became of one call of annidx.

    Attributes
    ----------
    words : tuple of str
    code : int
        Exit code; negative for a signal.
    out, err : str
    seconds : float
    hung : bool
        True when it was killed because it took too long.
    left : tuple of int
        Processes of it that were still there LINGER_S after its end; they were killed.
    """

    words: tuple[str, ...]
    code: int
    out: str
    err: str
    seconds: float
    hung: bool = False
    left: tuple[int, ...] = ()

    @property
    def rows(self) -> list[dict[str, Any]]:
        """What --json printed, without status lines and the summary."""
        lines = [json.loads(line) for line in self.out.splitlines()]
        return [line for line in lines if "message_type" not in line]

    @property
    def summary(self) -> dict[str, Any]:
        """The last line of --json."""
        found: dict[str, Any] = json.loads(self.out.splitlines()[-1])
        assert found.pop("message_type") == "summary"
        return found

    def __str__(self) -> str:
        end = "hung" if self.hung else f"exit {self.code}"
        return f"annidx {' '.join(self.words)}: {end}\n{self.out[-2000:]}{self.err[-2000:]}"


def environment(**changes: str) -> dict[str, str]:
    """Return an environment that leads to no index and no cache of the user's."""
    names = ("ANNIDX_INDEX", "XDG_DATA_HOME", "XDG_CACHE_HOME", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in os.environ.items() if name not in names}
    return {**kept, "HOME": os.devnull, **changes}


def session(leader: int) -> list[int]:
    """Return the living processes of a session, threads of their own leader left out."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            if fields[0] not in "ZX" and int(fields[3]) == leader:
                found.append(int(path.parent.name))
    return found


def reap(leader: int, linger_s: float = LINGER_S) -> tuple[int, ...]:
    """Wait for a session to end; kill and return what does not."""
    deadline = time.monotonic() + linger_s
    while (left := session(leader)) and time.monotonic() < deadline:
        time.sleep(0.005)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return tuple(left)


def cli(
    *words: str | Path,
    prefix: Sequence[str] = (),
    timeout_s: float = TIMEOUT_S,
    meanwhile: Callable[[subprocess.Popen[bytes]], None] | None = None,
) -> Done:
    """Run ``python -m annidx WORDS`` in a session of its own; `meanwhile` gets the process."""
    command = [*prefix, sys.executable, "-m", "annidx", *map(str, words)]
    began = time.monotonic()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=environment(),
            start_new_session=True,
        )
        hung = False
        try:
            if meanwhile is not None:
                meanwhile(process)
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            hung = True
        finally:
            left = reap(process.pid, LINGER_S if process.poll() is not None else 0.0)
            code = process.wait()
        seconds = time.monotonic() - began
        printed, said = (_text(stream.fileno()) for stream in (out, err))
    return Done(tuple(map(str, words)), code, printed, said, seconds, hung, left)


class Runner:
    """Runs annidx in forked children of a server process.

    Use it as a context manager, or close() it. `calls` counts what it ran.
    """

    def __init__(self) -> None:
        self.calls = 0
        self._cache = tempfile.TemporaryDirectory(prefix="cache")
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.forking"],
            cwd=Path(__file__).parents[1],
            env=environment(**_SINGLE, XDG_CACHE_HOME=self._cache.name),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the server."""
        self._server.communicate()
        self._cache.cleanup()

    def __call__(
        self,
        *words: str | Path,
        timeout_s: float = TIMEOUT_S,
        user: int | None = None,
        inline: bool = True,
        remember: bool = False,
        strace: Sequence[str] = (),
        stdin: bytes = b"",
        cwd: Path | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> Done:
        """Run annidx.

        Parameters
        ----------
        words : str or Path
        timeout_s : float
            After so many seconds it is killed, and has hung.
        user : int, optional
            Become this user first; needs root.
        inline : bool
            A build extracts in its own process instead of in workers: quicker.
        remember : bool
            Also of small files it is remembered in the cache that they were whole.
        strace : sequence of str
            The main thread runs under strace with these options from the start of the verb.
        stdin : bytes
        cwd : Path, optional
        variables : mapping, optional
            The whole environment of the child; by default that of the server.
        """
        self.calls += 1
        asked = {"words": list(map(str, words)), "timeout_s": timeout_s, "user": user}
        asked |= {"inline": inline, "remember": remember, "strace": list(strace)}
        place = {"cwd": cwd and str(cwd), "variables": variables and dict(variables)}
        asked |= {"stdin": stdin.decode("latin-1"), "place": place}
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(asked).encode() + b"\n")
        self._server.stdin.flush()
        answer = json.loads(self._server.stdout.readline())
        return Done(**{**answer, "words": tuple(answer["words"]), "left": tuple(answer["left"])})


def serve() -> None:
    """Be the server: a request a line on stdin, an answer a line on stdout."""
    _import_all()
    threads = len(list(Path("/proc/self/task").iterdir()))
    assert threads == 1, f"{threads} threads: forking is not safe"
    for line in sys.stdin:
        done = _fork(**json.loads(line))
        sys.stdout.write(json.dumps(asdict(done)) + "\n")
        sys.stdout.flush()


def _import_all() -> None:
    """Import all that annidx imports lazily, and whatever that imports."""
    import importlib.resources  # noqa: PLC0415 - only the server needs these
    import pkgutil  # noqa: PLC0415

    import annidx.native  # noqa: PLC0415

    for module in pkgutil.walk_packages(annidx.__path__, "annidx."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    with annidx.native.quiet_stderr():  # nmslib chatters
        for name in _LAZY:
            importlib.import_module(name)
    importlib.import_module("PIL.Image").init()
    importlib.resources.files("annidx")  # its reader is imported by the first call


def _fork(
    words: list[str],
    timeout_s: float,
    user: int | None,
    strace: list[str],
    stdin: str,
    place: dict[str, Any],
    **ways: bool,
) -> Done:
    began = time.monotonic()
    temporary = tempfile.TemporaryFile
    with temporary() as given, temporary() as out, temporary() as err:
        given.write(stdin.encode("latin-1"))
        given.seek(0)
        gate, opens = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(opens)
            streams = given.fileno(), out.fileno(), err.fileno()
            _child(words, gate, streams, user, place, **ways)
        os.close(gate)
        tracer = _attach(pid, strace) if strace else None
        os.close(opens)
        handle = os.pidfd_open(pid)
        hung = not select.select([handle], [], [], timeout_s)[0]
        os.close(handle)
        left = reap(pid, 0.0) if hung else ()
        _, status = os.waitpid(pid, 0)
        left = () if hung else reap(pid)
        if tracer is not None:
            tracer.wait()
        printed, said = (_text(stream.fileno()) for stream in (out, err))
    code = os.waitstatus_to_exitcode(status)
    return Done(tuple(words), code, printed, said, time.monotonic() - began, hung, left)


def _attach(pid: int, options: list[str]) -> subprocess.Popen[bytes]:
    """Trace a process that waits; return when every further call of it is seen."""
    tracer = subprocess.Popen(["strace", "-qq", *options, "-p", str(pid)])
    status = Path(f"/proc/{pid}/status")
    while "TracerPid:\t0\n" in status.read_text() and tracer.poll() is None:
        time.sleep(0.001)
    assert tracer.poll() is None, "strace may not trace here"
    return tracer


def _child(
    words: list[str],
    gate: int,
    streams: tuple[int, int, int],
    user: int | None,
    place: dict[str, Any],
    **ways: bool,
) -> None:
    """Be annidx; never returns."""
    code = 1
    try:
        os.setsid()
        ctypes.CDLL(None).prctl(_PR_SET_PTRACER, ctypes.c_ulong(-1), 0, 0, 0)
        os.read(gate, 1)
        for target, source in enumerate(streams):
            os.dup2(source, target)
        sys.stdin = os.fdopen(0, encoding="utf-8")
        sys.stdout = os.fdopen(1, "w", encoding="utf-8")
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace")
        _move(**place)
        if user is not None:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
        code = _main(words, **ways)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        import traceback  # noqa: PLC0415 - stderr has moved

        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _move(cwd: str | None, variables: dict[str, str] | None) -> None:
    """Go to where the command is called."""
    sys.argv[0] = str(Path(sys.executable).with_name("annidx"))
    if cwd is not None:
        os.chdir(cwd)
    if variables is not None:
        os.environ.clear()
        os.environ.update(variables)


def _main(words: list[str], *, inline: bool, remember: bool) -> int:
    from annidx import building, cli  # noqa: PLC0415 - the parent need not import it
    from annidx.store import sealed  # noqa: PLC0415

    if remember:
        vars(sealed).update(REMEMBERED_BYTES=0)
    if inline:
        vars(building).update(map_items=here, warm_up=lambda _: None)
    if words[0] == "listing":
        return listing(Path(words[1]))
    return cli.main(words)


def here(
    function: Callable[[Any], Any], batches: Iterable[Sequence[Any]], **_: object
) -> Iterator[Any]:
    """Do the work of map_items in this process."""
    for batch in batches:
        yield from map(function, batch)


def listing(index: Path) -> int:
    """Print the paths of all live pictures of the current snapshot, a JSON line each."""
    import numpy as np  # noqa: PLC0415 - only in the child

    from annidx.store import snapshot  # noqa: PLC0415

    opened = snapshot.current(index)
    for path in opened.paths(np.flatnonzero(opened.pictures.live)):
        sys.stdout.write(json.dumps({"path": os.fsdecode(path)}) + "\n")
    sys.stdout.write(json.dumps({"message_type": "summary", "snapshot": opened.manifest.number}))
    return 0


def _text(descriptor: int) -> str:
    os.lseek(descriptor, 0, os.SEEK_SET)
    with os.fdopen(os.dup(descriptor), "rb") as handle:
        return handle.read().decode("utf-8", "surrogateescape")


if __name__ == "__main__":
    serve()
