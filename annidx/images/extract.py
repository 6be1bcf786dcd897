"""Files to records: one read, one decode, all descriptors. What runs in the worker processes."""

from __future__ import annotations

import errno
import gc
import os
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from annidx.descriptors import DEFAULT_DESCRIPTORS
from annidx.errors import PictureUnreadable
from annidx.images import compute, content, decode, raw
from annidx.images.pixels import Picture
from annidx.model import READABLE, STATUSES, File, Record
from annidx.native import at_most, give_back_large_blocks
from annidx.workers import Again

MAX_BYTES = 2 * 1024**3 - 1
"""A file with more is 'too-large'; no picture under the pixel limit comes near it."""

PRELOAD = ("annidx.images.extract",)
"""What worker processes import before they start."""

ORDINARY_BYTES = 150_000_000
"""What each worker but one may take at any time: a 24-megapixel PNG. Larger ones go alone."""

SPARE_BYTES = 64_000_000
"""What a worker may take beyond what is predicted: stacks of a decoder's threads, buffers."""

QUERY_LIMITS = decode.Limits(pixels=2_000_000_000, memory=4_000_000_000)
"""What a picture that is asked about may have and take: whatever a build may have been allowed."""

_GONE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.ESTALE}
"""Errors of open() that mean: no regular file there any more (a link, a socket, nothing)."""


@dataclass(frozen=True, slots=True)
class Task:
    """One file to look at.

    Attributes
    ----------
    file : File
    root : bytes
        Absolute path of its root.
    known_contents : tuple of bytes
        Content hashes that the index has for files that may be this one; when the file has one of
        them, nothing is decoded.
    keeps_inodes : bool
        False where the file system makes inodes up; they stay 0 then.
    alone : bool
        True when no other large file is being worked on.
    megapixels : float
        What its header says, where that is known already.
    """

    file: File
    root: bytes
    known_contents: tuple[bytes, ...] = ()
    keeps_inodes: bool = True
    alone: bool = False
    megapixels: float = 0.0

    @property
    def path(self) -> bytes:
        """Absolute path of the file."""
        return os.path.join(self.root, self.file.path)


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The file has a content that the index knows."""

    file: File
    read_ns: int
    content_hash: bytes


@dataclass(frozen=True, slots=True)
class Vanished:
    """The file was there during the walk and is gone, or is no regular file any more."""

    file: File


Outcome = Record | Unchanged | Vanished


@dataclass(frozen=True, slots=True)
class Extractor:
    """Reads files and describes pictures; the function that runs in the workers.

    Attributes
    ----------
    names : Sequence of str
        The descriptors to compute.
    limits : decode.Limits
        What one picture may have and take.
    ordinary_bytes : int
        A file that takes more is answered by :class:`Again`, unless it goes alone.
    """

    names: Sequence[str] = DEFAULT_DESCRIPTORS
    limits: decode.Limits = decode.DEFAULT_LIMITS
    ordinary_bytes: int = MAX_BYTES

    def __call__(self, task: Task) -> Outcome | Again[Task]:
        """Read a file once and return what became of it. Never raises for what a file holds."""
        read_ns = time.time_ns()
        try:
            opened = self._read(task)
        except OSError as error:
            if error.errno in _GONE:
                return Vanished(task.file)
            denied = isinstance(error, PermissionError)
            reason = f"cannot be read: {error.strerror}"
            return Record(task.file, read_ns, "denied" if denied else "unreadable", reason)
        if isinstance(opened, Vanished | Again):
            return opened
        data, file, failure = opened
        if failure is not None:
            return Record(file, read_ns, failure.status, str(failure))
        digest = content.content_hash(data)
        if digest in task.known_contents:
            return Unchanged(file, read_ns, digest)
        return self.describe(replace(task, file=file), read_ns, data, digest)

    def describe(
        self, task: Task, read_ns: int, data: bytes, digest: bytes
    ) -> Record | Again[Task]:
        """Decode what was read and compute its descriptors."""
        file = task.file
        try:
            picture = self._decode(task, data)
            if isinstance(picture, Again):
                return picture
            descriptors = compute.describe(picture, self.names)
        except PictureUnreadable as error:
            return Record(file, read_ns, error.status, str(error), content_hash=digest)
        except MemoryError:  # resizing and comparing take some, too
            return Record(file, read_ns, "too-large", decode.NO_MEMORY, content_hash=digest)
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
            subsecond=picture.subsecond,
            exposure=picture.exposure,
            descriptors=descriptors,
        )

    def _decode(self, task: Task, data: bytes) -> Picture | Again[Task]:
        """Decode a file, or ask to be called again for it if it would take much memory."""
        path = task.file.path
        if content.is_raw(path, data):
            return self._develop(task, data)
        header = decode.look(data, path, self.limits)
        if header.memory > self.ordinary_bytes and not task.alone:
            return Again(replace(task, alone=True, megapixels=header.width * header.height / 1e6))
        return header.decode()

    def _develop(self, task: Task, data: bytes) -> Picture | Again[Task]:
        """Decode what stands for a camera RAW file; its facts are those of the sensor."""
        needed = len(data) + raw.predicted_memory(data, task.file.path)
        if needed > self.limits.memory:
            raise PictureUnreadable(self.limits.too_much(needed), "too-large")
        if needed > self.ordinary_bytes and not task.alone:
            return Again(replace(task, alone=True, megapixels=len(data) / 1e6))
        preview = raw.preview(data, task.file.path)
        shown = decode.look(preview.data, b"", self.limits).decode(orientation=preview.orientation)
        return replace(
            shown,
            format=preview.format,
            width=preview.width,
            height=preview.height,
            taken=preview.taken or shown.taken,
            camera=preview.camera or shown.camera,
        )

    def _read(
        self, task: Task
    ) -> tuple[bytes, File, PictureUnreadable | None] | Vanished | Again[Task]:
        """Return the bytes and the facts, and for what need not be read whole, the reason.

        A FIFO that took the place of a file would block open() for ever, so it is opened without
        blocking and looked at again.
        """
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(task.path, flags)
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            os.close(descriptor)
            return Vanished(task.file)
        with open(descriptor, "rb", buffering=0) as handle:
            file = _found(task, facts)
            head = handle.read(content.HEAD_BYTES)
            failure = self._reason_not_to_read(file, head)
            if failure is not None:
                return b"", file, failure
            if file.size > self.ordinary_bytes and not task.alone:
                return Again(replace(task, alone=True))
            handle.seek(0)  # once more, or the file would be held twice for a moment
            return handle.read(), file, None

    def _reason_not_to_read(self, file: File, head: bytes) -> PictureUnreadable | None:
        if content.is_video(file.path, head):
            return PictureUnreadable("", "video")
        if not content.may_be_picture(file.path, head):
            return PictureUnreadable("", "not-a-picture")
        if file.size > min(MAX_BYTES, self.limits.memory):
            message = self.limits.too_much(file.size)
            return PictureUnreadable(message, "too-large")
        return None


@dataclass(frozen=True, slots=True)
class Bounded:
    """An extractor whose process cannot take more than a picture may; what runs in the workers.

    Predictions trust headers, which may lie: an icon of 16 pixels that holds a PNG of 400 million,
    a TIFF whose one tile is larger than the picture, ten million empty segments.

    Attributes
    ----------
    extractor : Extractor
    """

    extractor: Extractor

    def __call__(self, task: Task) -> Outcome | Again[Task]:
        """Call the extractor; what asks for too much is answered by Again, alone by 'too-large'."""
        limits, ordinary = self.extractor.limits, self.extractor.ordinary_bytes
        allowed = limits.memory if task.alone else ordinary
        if task.alone:
            give_back_large_blocks()
            gc.collect()  # what an error's traceback still holds of a large picture
        read_ns = time.time_ns()
        try:
            with at_most(allowed + SPARE_BYTES):
                outcome = self.extractor(task)
        except MemoryError:
            outcome = Record(task.file, read_ns, "too-large", decode.NO_MEMORY)
        if not task.alone and isinstance(outcome, Record) and _lacked_memory(outcome):
            return Again(replace(task, alone=True))
        return outcome


def _lacked_memory(record: Record) -> bool:
    """Tell whether more memory may help; Pillow's WebP does not say what was wrong."""
    unsaid = "could not create decoder object"
    return record.error == decode.NO_MEMORY or record.error.endswith(unsaid)


def query_record(path: bytes, names: Sequence[str] = DEFAULT_DESCRIPTORS) -> Record:
    """Read a query picture: what :class:`Extractor` makes of it, of its real path.

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
    outcome = Extractor(names, QUERY_LIMITS)(Task(File(0, real, 0, 0, 0, 0), b"", alone=True))
    if isinstance(outcome, Record) and outcome.status in READABLE:
        return outcome
    if isinstance(outcome, Record):
        raise _refused(shown, outcome)
    if os.path.lexists(path) and not os.path.exists(real):
        message = f"{shown}: a symbolic link that leads nowhere"
        raise PictureUnreadable(message, "unreadable")
    if os.path.exists(real):
        message = f"{shown}: not a regular file"
        raise PictureUnreadable(message, "unreadable")
    message = f"{shown}: no such file"
    raise PictureUnreadable(message, "unreadable")


def picture_record(picture: Picture, names: Sequence[str] = DEFAULT_DESCRIPTORS) -> Record:
    """Describe a picture that has no file."""
    descriptors = compute.describe(picture, names)
    return Record(
        *(File(0, b"", 0, 0, 0, 0), time.time_ns(), "ok"),
        width=picture.width,
        height=picture.height,
        orientation=picture.orientation,
        descriptors=descriptors,
    )


def bytes_record(
    data: bytes,
    names: Sequence[str] = DEFAULT_DESCRIPTORS,
    limits: decode.Limits = QUERY_LIMITS,
) -> Record:
    """Describe a picture that is held in memory as the bytes of a file.

    Raises
    ------
    PictureUnreadable
    """
    task = Task(File(0, b"", len(data), 0, 0, 0), b"", alone=True)
    digest = content.content_hash(data)
    record = Extractor(names, limits).describe(task, time.time_ns(), data, digest)
    if isinstance(record, Again):  # pragma: no cover - only of what is not alone
        message = "a picture that is alone was sent back"
        raise TypeError(message)
    if record.status not in READABLE:
        shown = "<bytes>"
        raise _refused(shown, record)
    return record


def _refused(shown: str, record: Record) -> PictureUnreadable:
    """Say why a query picture cannot be read; a query has no options for a build's limits."""
    reason = (record.error or STATUSES[record.status]).partition(": give --")[0]
    return PictureUnreadable(f"{shown}: {reason}", record.status)


def budget(memory: int, workers: int) -> tuple[int, int]:
    """Divide the memory for pictures among workers.

    Parameters
    ----------
    memory : int
        Bytes that all pictures that are being decoded may take together.
    workers : int

    Returns
    -------
    tuple of (int, int)
        What one large picture may take, which goes alone, and what each picture beside it may.
    """
    ordinary = min(ORDINARY_BYTES, memory // (2 * max(1, workers - 1)))
    return memory - (workers - 1) * ordinary, ordinary


def limits(
    memory: int | None, max_megapixels: float | None, workers: int
) -> tuple[decode.Limits, int]:
    """Return the limits of a build, and what a picture beside a large one may take.

    Parameters
    ----------
    memory : int, optional
        Bytes that all pictures that are being decoded may take together; None: 700 MB and 150 MB
        for each worker but one.
    max_megapixels : float, optional
        None: 400.
    workers : int
    """
    beside = (workers - 1) * ORDINARY_BYTES
    large, ordinary = budget(decode.MAX_MEMORY + beside if memory is None else memory, workers)
    pixels = decode.MAX_PIXELS if max_megapixels is None else int(max_megapixels * 1e6)
    return decode.Limits(pixels=pixels, memory=large, beside=beside), ordinary


def time_limit(task: Task, seconds: float) -> float:
    """Return what a worker may take for a file: the limit, and as much again for each 100 MB and
    each 50 megapixels (of large ones, whose header is known before they are decoded)."""
    return seconds * (1 + task.file.size / 100e6 + task.megapixels / 50)


def batches(
    tasks: Iterable[Task | None], *, files: int = 32, batch_bytes: int = 32_000_000
) -> Iterator[Sequence[Task]]:
    """Cut a stream of tasks into batches: about 32 small files, a large one alone.

    None means that there is nothing for now: an empty batch is passed on.
    """
    batch: list[Task] = []
    size = 0
    for task in tasks:
        full = len(batch) >= files or (task and size + task.file.size > batch_bytes)
        if batch and (task is None or full):
            yield batch
            batch, size = [], 0
        if task is None:
            yield []
        else:
            batch.append(task)
            size += task.file.size
    if batch:
        yield batch


def _found(task: Task, facts: os.stat_result) -> File:
    """Return the file of a task as it is now."""
    was = task.file
    device, inode = (facts.st_dev, facts.st_ino) if task.keeps_inodes else (0, 0)
    size, mtime_ns = facts.st_size, facts.st_mtime_ns
    return File(was.root_id, was.path, size, mtime_ns, device, inode, was.companions)
