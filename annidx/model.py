"""What travels between the packages: frozen, slotted dataclasses and nothing that acts.

No numpy and no pyarrow at import time, so that ``annidx --help`` stays quick.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

STATUSES: Mapping[str, str] = {
    "ok": "decoded in full",
    "truncated": "ends too early; decoded as far as it goes and indexed",
    "empty": "zero bytes",
    "unreadable": "is or claims to be a picture, but cannot be decoded",
    "too-large": "needs more than --memory, or has more pixels than --max-megapixels",
    "denied": "no permission to read the file",
    "crashed": "the decoder died on this file",
    "timeout": "the decoder took longer than --timeout allows",
    "raw-unsupported": "camera RAW, not read without the extra raw (pip install rawpy)",
    "video": "a video, not searched",
    "not-a-picture": "neither is nor claims to be a picture",
}
"""The closed set of what can become of a file, each with its meaning."""

READABLE = frozenset({"ok", "truncated"})
"""Statuses of pictures that have descriptors and are searched."""

IGNORED = frozenset({"not-a-picture", "raw-unsupported", "video"})
"""Statuses that are not failures: the file is no picture, or none that annidx reads."""

Engine = Literal["graph", "exact"]
Choice = Literal["auto", "graph", "exact"]
"""What a user may ask for; with 'auto' the planner chooses."""

Linkage = Literal["connected", "complete", "star"]
"""The rules that make groups of pairs; :mod:`annidx.search.groups` defines them."""


@dataclass(slots=True, unsafe_hash=True)
class File:
    """A regular file that the walk has found. (Not frozen: millions are made, at 8 times the cost.)

    Attributes
    ----------
    root_id : int
        The root it was found under.
    path : bytes
        Relative to the root, as the file system gives it (often UTF-8, not always).
    size : int
        Bytes.
    mtime_ns : int
        Modification time, nanoseconds since 1970.
    device, inode : int
        ``st_dev`` and ``st_ino``: two names with the same pair are one file. Both 0 when unknown:
        the file system makes inodes up (SMB, FUSE, FAT).
    companions : tuple of bytes
        Names in the same folder of its RAW or JPEG half, Live Photo video and sidecars, sorted.
    """

    root_id: int
    path: bytes
    size: int
    mtime_ns: int
    device: int
    inode: int
    companions: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """One row of a segment: a file, what is known of it, and its descriptors.

    Attributes
    ----------
    file : File
        Where it is and what its directory entry said when it was read.
    read_ns : int
        When it was read; a file modified less than two seconds before that is hashed again.
    status : str
        A key of :data:`STATUSES`.
    error : str
        Why it could not be read; empty when it could.
    content_hash : bytes
        BLAKE3 of all bytes (32 bytes; zeros when the file could not be read at all).
    pixel_hash : bytes
        BLAKE3 of the compressed image data without metadata (32 bytes).
    format : str
        'JPEG', 'PNG', ... as recognised by content; empty when it was not.
    width, height : int
        Pixels of the picture as stored, before its orientation is applied.
    orientation : int
        EXIF orientation 1-8 that was applied; 1 when there is none.
    taken : str
        Local time of the exposure, 'YYYY-MM-DDTHH:MM:SS', or empty.
    camera : str
        Make and model, or empty.
    subsecond, exposure : str
        Digits behind the second of `taken`; '1/250 s, -2 EV'. Or empty.
    descriptors : Mapping[str, bytes]
        Stored bytes by descriptor name; empty for pictures that could not be read.
    image_id : int
        Number of the picture in this index; never reused. -1 until the index gives it one.
    first_seen_ns : int
        Start of the build that first saw it, nanoseconds since 1970.
    """

    file: File
    read_ns: int
    status: str
    error: str = ""
    content_hash: bytes = bytes(32)
    pixel_hash: bytes = bytes(32)
    format: str = ""
    width: int = 0
    height: int = 0
    orientation: int = 1
    taken: str = ""
    camera: str = ""
    subsecond: str = ""
    exposure: str = ""
    descriptors: Mapping[str, bytes] = field(default_factory=dict)
    image_id: int = -1
    first_seen_ns: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a build is.

    Attributes
    ----------
    stage : str
        'extract', 'graph' or 'publish'.
    done, found : int
        Files that were looked at; files that are to be looked at, unchanged ones left out.
    bytes_done, bytes_found : int
        Their sizes.
    failed : int
        Pictures that could not be read so far.
    walking : bool
        True while the walk goes on: more files and bytes may be found.
    """

    stage: str
    done: int
    found: int
    bytes_done: int
    bytes_found: int
    failed: int
    walking: bool = False


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What a build did.

    Attributes
    ----------
    images : int
        Readable pictures in the index.
    added, removed, failed : int
        Pictures new or changed; gone; that are or claim to be pictures and cannot be read.
    adopted : int
        Pictures that an interrupted build had extracted; those that are new are among the added.
    new_failures : Sequence[bytes]
        Absolute paths of those among the failed that the snapshot before did not have as such.
    decoded, hashed : int
        Files that were decoded; that were only hashed, since the index knew their content.
    segments : int
        Segments in the snapshot.
    snapshot : int
        Number of the current snapshot, 0 when there is none.
    published : bool
        False when nothing had changed.
    left_out : Mapping[str, int]
        Files and folders that were passed over, counted by reason.
    warnings : Sequence[str]
        One line each.
    seconds : float
        Wall time.
    """

    images: int
    added: int
    removed: int
    failed: int
    adopted: int
    new_failures: Sequence[bytes]
    decoded: int
    hashed: int
    segments: int
    snapshot: int
    published: bool
    left_out: Mapping[str, int]
    warnings: Sequence[str]
    seconds: float

    @property
    def failed_new(self) -> int:
        """How many of the failed are news."""
        return len(self.new_failures)


@dataclass(frozen=True, slots=True)
class Plan:
    """Which engine answers a request, and why.

    Attributes
    ----------
    engine : {'graph', 'exact'}
    cost_s : float
        Predicted CPU seconds.
    reason : str
        One line for ``--verbose``.
    """

    engine: Engine
    cost_s: float
    reason: str
