"""Files of an index: staged, hashed, synced, renamed, locked.

Nothing else in annidx renames, links or fsyncs. The order is always the same: write into ``tmp/``,
hash, fsync, rename into place, fsync the folder; the manifest comes last. A crash at any point
leaves unreferenced files and the old snapshot whole.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import resource
import shutil
import stat
import time
from collections.abc import Iterable, Iterator
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from annidx.errors import IndexLocked

_MANIFEST = re.compile(r"[0-9]+\.json")
FOLDERS = ("segments", "graphs", "snapshots", "decisions", "locks", "staging", "tmp")
BESIDE = ("uploads",)
"""What may lie in an index and is no part of it: an index of its own."""
_OPEN_FILES = 65_536
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL
_BLOCK = 65_536


def make_folders(index: Path) -> None:
    """Make the folders of an index, readable by their owner only: thumbnails are private data."""
    made = not index.exists()
    index.mkdir(mode=0o700, parents=True, exist_ok=True)
    if stat.S_IMODE(index.stat().st_mode) != 0o700:  # an empty folder that somebody else made
        index.chmod(0o700)
    missing = [index / name for name in FOLDERS if not (index / name).exists()]
    for folder in missing:
        folder.mkdir(mode=0o700, exist_ok=True)
    if missing:
        sync_folder(index)
    if made:
        sync_folder(index.parent)


def manifest_paths(index: Path) -> list[Path]:
    """Return the manifests of an index, lowest number first.

    Raises
    ------
    OSError
        When the folder is there and cannot be listed: nobody is to take it for an empty one.
    """
    folder = index / "snapshots"
    try:
        paths = list(folder.iterdir())  # which, unlike glob(), says what went wrong
    except (FileNotFoundError, NotADirectoryError):
        return []
    # By name: comparing paths takes ten times as long, and a service looks all the time.
    named = (path for path in paths if _MANIFEST.fullmatch(path.name))
    return sorted(named, key=lambda path: path.name)


def listed(folder: Path) -> list[Path]:
    """Return what is in a folder of the index; nothing when it is not there."""
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hex."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def staging_path(index: Path, suffix: str) -> Path:
    """Return a fresh path in ``tmp/``, on the same file system as the rest of the index."""
    return index / "tmp" / f"{os.getpid()}-{time.monotonic_ns()}{suffix}"


def seal(staged: Path, folder: Path, suffix: str) -> tuple[str, int]:
    """Move a staged file to ``folder/<sha256><suffix>`` for good.

    Returns
    -------
    tuple of (str, int)
        Its SHA-256 in hex, and its size in bytes.
    """
    staged.chmod(0o600)
    digest = sha256_of(staged)
    size = staged.stat().st_size
    _sync_file(staged)
    staged.rename(folder / f"{digest}{suffix}")
    sync_folder(folder)
    return digest, size


def write_new(path: Path, data: bytes, index: Path) -> None:
    """Write a file that must not exist yet, whole or not at all.

    Raises
    ------
    FileExistsError
        When `path` exists; it is left as it is.
    """
    staged = staging_path(index, path.suffix)
    try:
        with create_file(staged) as handle:
            handle.write(data)
        _sync_file(staged)
        _link_if_absent(staged, path, data)
    finally:
        staged.unlink(missing_ok=True)
    sync_folder(path.parent)


def open_file(path: Path) -> BinaryIO:
    """Open a file of the index for reading.

    Raises
    ------
    FileNotFoundError
    OSError
        Also when it is no regular file: a FIFO in its place would block for ever.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "no regular file", os.fspath(path))
    return os.fdopen(descriptor, "rb")


def read_file(path: Path) -> bytes:
    """Return what is in a file of the index; see :func:`open_file`."""
    with open_file(path) as handle:
        return handle.read()


def create_file(path: Path) -> BinaryIO:
    """Open a file for writing that must not exist yet and that only its owner may read."""
    return open(path, "xb", opener=private)


def private(path: str | os.PathLike[str], flags: int) -> int:
    """Open a file for the builtin open(); one that is made then is its owner's only."""
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def append(path: Path, data: bytes) -> None:
    """Append whole lines to a log, durably; only the holder of its lock may call it.

    What a torn write left behind the last line goes first: nobody was told that it is there.
    """
    made = not path.exists()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "r+b", buffering=0) as handle:
        whole = _end_of_last_line(handle)
        if whole < os.fstat(descriptor).st_size:
            handle.truncate(whole)
        try:
            left = memoryview(data)
            while left:
                left = left[handle.write(left) :]
            _sync(descriptor, path)
        except BaseException:  # a full disk, Ctrl-C: half a line is none
            handle.truncate(whole)
            raise
    if made:
        sync_folder(path.parent)


def _end_of_last_line(handle: FileIO) -> int:
    """Return how many bytes of a log are whole lines."""
    at = handle.seek(0, os.SEEK_END)
    while at > 0:
        start = max(0, at - _BLOCK)
        handle.seek(start)
        found = handle.read(at - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        at = start
    return 0


@contextlib.contextmanager
def locked(index: Path, name: str, what: str, wait_s: float = 0.0) -> Iterator[None]:
    """Hold a lock of an index that is not the writer's; the kernel frees it, however it ends.

    Parameters
    ----------
    index : Path
    name : str
        What the lock is called in ``locks/``.
    what : str
        Said of whoever holds it: 'another apply or undo is at work on'.
    wait_s : float

    Raises
    ------
    IndexLocked
        When another process holds it for longer than `wait_s` seconds.
    """
    make_folders(index)
    lock = FileLock(index / "locks" / f"{name}.lock", mode=0o600)
    try:
        lock.acquire(timeout=wait_s)
    except Timeout:
        message = f"{index}: {what} this index. Try again when it has ended."
        raise IndexLocked(message) from None
    try:
        yield
    finally:
        lock.release()


def put(staged: Path, path: Path) -> None:
    """Put a staged file in the place of another one, durably."""
    _sync_file(staged)
    staged.replace(path)
    sync_folder(path.parent)


def remove(paths: Iterable[Path], folder: Path) -> None:
    """Remove files of one folder, durably: what they name may be removed after that."""
    for path in paths:
        path.unlink(missing_ok=True)
    sync_folder(folder)


def replace(staged: Path, path: Path) -> None:
    """Put a file in the place of another one, at once but not durably: for what may be lost."""
    staged.replace(path)


@contextlib.contextmanager
def replacing(path: Path, mode: int | None = None) -> Iterator[BinaryIO]:
    """Give a handle whose bytes take the place of a file in the end, whole or not at all.

    For files outside of an index. As with ``cp``, a link is followed, a file that is replaced
    keeps its mode, and what is no regular file (a pipe, ``/dev/null``) is written into.

    Parameters
    ----------
    path : Path
    mode : int, optional
        The permissions to give it; None: as ``cp`` does.

    Raises
    ------
    OSError
        Also when the file, though it could be replaced, is write-protected; nothing is left then.
    """
    place = Path(os.path.realpath(path))
    staged = place.with_name(f".annidx-{os.getpid()}-{time.monotonic_ns()}")
    try:
        known = place.stat() if place.exists() else None
        if known and not stat.S_ISREG(known.st_mode):
            with place.open("wb") as handle:
                yield handle
            return
        if known and not os.access(place, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        kept = stat.S_IMODE(known.st_mode) if known else None
        with _in_place_of(place, staged, kept if mode is None else mode) as handle:
            yield handle
    except OSError as error:
        if error.errno is not None and error.filename in (None, os.fspath(staged)):
            error.filename = os.fspath(path)
        raise


@contextlib.contextmanager
def _in_place_of(place: Path, staged: Path, mode: int | None) -> Iterator[BinaryIO]:
    handle = os.fdopen(os.open(staged, _NEW, 0o666), "wb")
    try:
        with handle:
            if mode is not None:
                os.fchmod(handle.fileno(), mode)
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        staged.replace(place)
    finally:
        staged.unlink(missing_ok=True)


def open_many() -> None:
    """Let this process open as many files as it may: a snapshot holds all of its own open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable; file systems that cannot (some network ones) are let be."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _sync(descriptor, folder)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def writer_lock(index: Path, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the writer's lock of an index; the kernel frees it when the process ends, however.

    Raises
    ------
    IndexLocked
        When another process holds it for longer than `wait_s` seconds.
    """
    make_folders(index)  # a backup or an archive may have left out the empty ones
    lock = FileLock(index / "locks" / "writer.lock", mode=0o600)
    holder = index / "locks" / "writer.json"  # beside the lock: taking it empties the lock file
    try:
        lock.acquire(timeout=wait_s)
    except Timeout:
        raise IndexLocked(_locked_message(index, holder)) from None
    try:
        # Only for the message of whoever comes second: neither atomic nor synced on purpose.
        discard(holder)  # whatever it is: to write into a FIFO would block for ever
        with create_file(holder) as handle:
            handle.write(json.dumps({"pid": os.getpid(), "since": time.time()}).encode())
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def discard(path: Path) -> None:
    """Remove what nobody needs; a folder, which nothing here makes, with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _locked_message(index: Path, holder: Path) -> str:
    who = "another process"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads(read_file(holder))
        who = f"process {found['pid']}, for {time.time() - found['since']:.0f} s now"
    return f"{index}: another build is writing to this index ({who}). Try again when it has ended."


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        _sync(descriptor, path)
    finally:
        os.close(descriptor)


def _sync(descriptor: int, path: Path) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        error.filename = os.fspath(path)  # the system names what was opened, and not here
        raise


def _link_if_absent(staged: Path, path: Path, data: bytes) -> None:
    try:
        os.link(staged, path)
    except FileExistsError:
        raise
    except OSError:
        # No hard links here (FAT, some network file systems): O_EXCL claims the name. A crash in
        # between leaves a short manifest, whose checksum fails, so that the one before it counts.
        with create_file(path) as handle:
            try:
                handle.write(data)
                handle.flush()
                os.fsync(handle.fileno())
            except BaseException:
                path.unlink(missing_ok=True)
                raise
