"""A small reader of TIFF directories, the frame of EXIF and of most camera RAW files.

Knows tags and values, no pixels. Reads what it is given within fixed bounds and never raises:
what is damaged is not there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

MAKE, MODEL, ORIENTATION, DATE_TIME_ORIGINAL = 0x010F, 0x0110, 0x0112, 0x9003
COMPRESSION, PHOTOMETRIC, SUB_DIRECTORIES, EXIF = 0x0103, 0x0106, 0x014A, 0x8769
DNG_VERSION, LEAF_NAME, LEAF_DATA = 0xC612, 0x85FF, 0x8606

MOST_DIRECTORIES = 32
"""Directories looked at in one file; cameras write up to a dozen."""

_MOST_ENTRIES = 512  # what LibRaw takes, too
_MOST_VALUES = 64
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 6: 1, 7: 1, 8: 2, 9: 4, 13: 4}  # of the types that are read


@dataclass(frozen=True, slots=True)
class Directory:
    """One directory.

    Attributes
    ----------
    data : bytes
        What the offsets count in.
    order : str
        Byte order, 'little' or 'big'.
    base : int
        Where the TIFF header lies in `data`.
    entries : dict of int to (int, int, int)
        Type, count and place of the values in `data`, by tag; only whole ones.
    next : int
        Offset of the next directory from `base`; 0 for none.
    """

    data: bytes = field(repr=False)
    order: Literal["little", "big"]
    base: int
    entries: dict[int, tuple[int, int, int]]
    next: int

    def numbers(self, tag: int) -> tuple[int, ...]:
        """Return the whole numbers of a tag, unsigned and at most 64 of them; often none."""
        kind, count, at = self.entries.get(tag, (1, 0, 0))
        size = _SIZES[kind]
        stop = at + size * min(count, _MOST_VALUES)
        return tuple(self._number(place, size) for place in range(at, stop, size))

    def number(self, tag: int) -> int:
        """Return the first number of a tag, 0 when there is none."""
        return next(iter(self.numbers(tag)), 0)

    def text(self, tag: int) -> str:
        """Return the text of a tag up to its first NUL, at most 128 characters; often empty."""
        _, count, at = self.entries.get(tag, (2, 0, 0))
        return self.data[at : at + min(count, 128)].split(b"\0")[0].decode("latin-1").strip()

    def _number(self, at: int, size: int) -> int:
        return int.from_bytes(self.data[at : at + size], self.order)


def directories(data: bytes, base: int = 0) -> Iterator[Directory]:
    """Yield the directories of a file, of its chain and of their sub-directories, the first first.

    The EXIF directory is not among them; see :func:`exif`.

    Parameters
    ----------
    data : bytes
    base : int
        Where the header ('II' or 'MM', a magic number, an offset) begins. The magic number is not
        looked at, since cameras have several of their own.
    """
    order = _order(data, base)
    if order is None:
        return
    waiting = [int.from_bytes(data[base + 4 : base + 8], order)]
    seen: set[int] = set()
    while waiting and len(seen) < MOST_DIRECTORIES:
        offset = waiting.pop(0)
        if offset in seen:
            continue
        directory = _directory(data, base, offset, order)
        if directory is not None:
            seen.add(offset)
            yield directory
            waiting += [directory.next, *directory.numbers(SUB_DIRECTORIES)]


def exif(directory: Directory) -> Directory | None:
    """Return the EXIF directory that a directory points to, if there is one."""
    offset = directory.number(EXIF)
    return _directory(directory.data, directory.base, offset, directory.order)


def camera_name(make: str, model: str) -> str:
    """Put make and model together, without saying the make twice."""
    return (model if model.startswith(make) else f"{make} {model}").strip()[:80]


def iso_time(text: str) -> str:
    """Turn EXIF's '2019:07:14 18:30:05' into '2019-07-14T18:30:05'; anything else into ''.

    Examples
    --------
    >>> iso_time("2019:07:14 18:30:05"), iso_time("0000:00:00 00:00:00")
    ('2019-07-14T18:30:05', '')
    """
    try:
        return datetime.strptime(text.strip("\0 ")[:19], "%Y:%m:%d %H:%M:%S").isoformat()
    except ValueError:
        return ""


def _order(data: bytes, base: int) -> Literal["little", "big"] | None:
    start = data[base : base + 2]
    return "little" if start == b"II" else "big" if start == b"MM" else None


def _directory(
    data: bytes, base: int, offset: int, order: Literal["little", "big"]
) -> Directory | None:
    at = base + offset
    if offset < 8 or at + 6 > len(data):
        return None
    count = int.from_bytes(data[at : at + 2], order)
    if not 0 < count <= _MOST_ENTRIES:
        return None
    entries: dict[int, tuple[int, int, int]] = {}
    for place in range(at + 2, min(at + 2 + 12 * count, len(data) - 11), 12):
        tag, kind = (int.from_bytes(data[place + i : place + i + 2], order) for i in (0, 2))
        values = int.from_bytes(data[place + 4 : place + 8], order)
        size = _SIZES.get(kind, 0) * values
        start = place + 8
        if size > 4:
            start = base + int.from_bytes(data[start : start + 4], order)
        if 0 < size <= len(data) - start:
            entries.setdefault(tag, (kind, values, start))
    link = at + 2 + 12 * count
    return Directory(data, order, base, entries, int.from_bytes(data[link : link + 4], order))
