"""Files to records: one read, one decode, all descriptors. What runs in the worker processes."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from annidx.errors import PictureUnreadable
from annidx.images import content, decode
from annidx.images.signature import pack, signature
from annidx.images.thumb import thumb
from annidx.model import READABLE, STATUSES, File, Record

MAX_BYTES = 2 * 1024**3 - 1
"""A file with more is 'too-large'; no picture under the pixel limit comes near it."""

_GONE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.ESTALE}
"""Errors of open() that mean: no regular file there any more (a link, a socket, nothing)."""

COMPUTE: Mapping[str, Callable[[decode.Picture], bytes]] = {
    "thumb": lambda picture: thumb(picture).tobytes(),
    "signature": lambda picture: pack(signature(picture.gray())).tobytes(),
}
"""How each descriptor of the registry is computed, as stored bytes."""


@dataclass(frozen=True, slots=True)
class Task:
    """One file to look at.

    Attributes
    ----------
    file : File
    root : bytes
        Absolute path of its root.
    known_content : bytes
        Content hash that the index has for it; when the file still has it, nothing is decoded.
        Empty when nothing is known.
    """

    file: File
    root: bytes
    known_content: bytes = b""

    @property
    def path(self) -> bytes:
        """Absolute path of the file."""
        return os.path.join(self.root, self.file.path)


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The file still has the content that the index knows."""

    file: File
    read_ns: int


@dataclass(frozen=True, slots=True)
class Vanished:
    """The file was there during the walk and is gone, or is no regular file any more."""

    file: File


Outcome = Record | Unchanged | Vanished


def extract(task: Task) -> Outcome:
    """Read a file once and return what became of it. Never raises for what a file holds."""
    read_ns = time.time_ns()
    try:
        opened = _read(task.path)
    except OSError as error:
        if error.errno in _GONE:
            return Vanished(task.file)
        denied = isinstance(error, PermissionError)
        reason = f"cannot be read: {error.strerror}"
        return Record(task.file, read_ns, "denied" if denied else "unreadable", reason)
    if opened is None:
        return Vanished(task.file)
    data, facts, status = opened
    file = replace(
        task.file,
        size=facts.st_size,
        mtime_ns=facts.st_mtime_ns,
        device=facts.st_dev,
        inode=facts.st_ino,
    )
    if status:
        reason = f"{facts.st_size:,} bytes" if status == "too-large" else ""
        return Record(file, read_ns, status, reason)
    digest = content.content_hash(data)
    if digest == task.known_content:
        return Unchanged(file, read_ns)
    return _record(file, read_ns, data, digest)


def describe(picture: decode.Picture, names: Iterable[str]) -> dict[str, bytes]:
    """Return the stored bytes of the named descriptors of a picture."""
    return {name: COMPUTE[name](picture) for name in names}


def query_record(path: bytes) -> Record:
    """Read a query picture: what :func:`extract` makes of it, of its real path.

    Raises
    ------
    PictureUnreadable
        When it is missing, no regular file, no picture or damaged; the path is in the message.
    """
    shown = os.fsdecode(path)
    if b"\0" in path:
        message = f"{shown}: no file name has a NUL byte; a list with them wants -0"
        raise PictureUnreadable(message, "unreadable")
    real = os.path.realpath(path)
    outcome = extract(Task(File(0, real, 0, 0, 0, 0), b""))
    if isinstance(outcome, Record) and outcome.status in READABLE:
        return outcome
    if isinstance(outcome, Record):
        reason = outcome.error or STATUSES[outcome.status]
        message = f"{shown}: {reason}"
        raise PictureUnreadable(message, outcome.status)
    if os.path.lexists(path) and not os.path.exists(real):
        message = f"{shown}: a symbolic link that leads nowhere"
        raise PictureUnreadable(message, "unreadable")
    if os.path.exists(real):
        message = f"{shown}: not a regular file"
        raise PictureUnreadable(message, "unreadable")
    message = f"{shown}: no such file"
    raise PictureUnreadable(message, "unreadable")


def picture_record(picture: decode.Picture) -> Record:
    """Describe a picture that has no file."""
    descriptors = describe(picture, COMPUTE)
    return Record(File(0, b"", 0, 0, 0, 0), time.time_ns(), "ok", descriptors=descriptors)


def bytes_record(data: bytes) -> Record:
    """Describe a picture that is held in memory as the bytes of a file.

    Raises
    ------
    PictureUnreadable
    """
    file = File(0, b"", len(data), 0, 0, 0)
    record = _record(file, time.time_ns(), data, content.content_hash(data))
    if record.status not in READABLE:
        reason = record.error or STATUSES[record.status]
        message = f"<bytes>: {reason}"
        raise PictureUnreadable(message, record.status)
    return record


def batches(
    tasks: Iterable[Task], *, files: int = 32, batch_bytes: int = 32_000_000
) -> Iterator[Sequence[Task]]:
    """Cut a stream of tasks into batches: about 32 small files, a large one alone."""
    batch: list[Task] = []
    size = 0
    for task in tasks:
        if batch and (len(batch) >= files or size + task.file.size > batch_bytes):
            yield batch
            batch, size = [], 0
        batch.append(task)
        size += task.file.size
    if batch:
        yield batch


def _read(path: bytes) -> tuple[bytes, os.stat_result, str] | None:
    """Return the bytes, the facts and, for what need not be read whole, its status.

    None when there is no regular file any more: a FIFO that took its place would block open() for
    ever, so it is opened without blocking and looked at again.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags)
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode):
        os.close(descriptor)
        return None
    with open(descriptor, "rb", buffering=0) as handle:
        head = handle.read(content.HEAD_BYTES)
        if not content.may_be_picture(path, head):
            return b"", facts, "not-a-picture"
        if facts.st_size > MAX_BYTES:
            return b"", facts, "too-large"
        handle.seek(0)
        return handle.read(), facts, ""


def _record(file: File, read_ns: int, data: bytes, digest: bytes) -> Record:
    try:
        picture = decode.decode(data, file.path)
        descriptors = describe(picture, COMPUTE)
    except PictureUnreadable as error:
        return Record(file, read_ns, error.status, str(error), content_hash=digest)
    except MemoryError:  # resizing and comparing take some, too
        message = "not enough memory to decode it"
        return Record(file, read_ns, "too-large", message, content_hash=digest)
    return Record(
        file=file,
        read_ns=read_ns,
        status="truncated" if picture.truncated else "ok",
        content_hash=digest,
        pixel_hash=content.pixel_hash(data, picture.orientation),
        format=picture.format,
        width=picture.width,
        height=picture.height,
        orientation=picture.orientation,
        taken=picture.taken,
        camera=picture.camera,
        descriptors=descriptors,
    )
