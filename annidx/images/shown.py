"""What a picture looks like, small: a new JPEG, never a byte of the file."""

from __future__ import annotations

import os
import stat
from dataclasses import replace

from annidx.errors import PictureUnreadable
from annidx.images import content, decode, raw
from annidx.images.decode import Limits
from annidx.images.facts import Details
from annidx.model import File


def thumbnail(file: File, side: int, limits: Limits) -> bytes:
    """Return a file of the index as a small JPEG, upright and in sRGB.

    Parameters
    ----------
    file : File
        With its absolute path, and its size and time as the index has them.
    side : int
        Of the longer side, pixels, at most; never enlarged.
    limits : Limits

    Raises
    ------
    PictureUnreadable
        Also when the file is gone, or is not what was indexed.
    """
    data = _read(file, limits)
    wanted = replace(limits, side=side)
    if not content.is_raw(file.path, data):
        return decode.look(data, file.path, wanted).decode().jpeg(side)
    preview = raw.preview(data, file.path)
    shown = decode.look(preview.data, b"", wanted).decode(orientation=preview.orientation)
    return shown.jpeg(side)


def details(file: File, limits: Limits) -> Details:
    """Return what the metadata of a file of the index says beside what the index holds.

    Raises
    ------
    PictureUnreadable
        As :func:`thumbnail`.
    """
    data = _read(file, limits)
    if content.is_raw(file.path, data):
        return Details()  # of which nothing reads the metadata
    return decode.look(data, file.path, limits).details()


def _read(file: File, limits: Limits) -> bytes:
    # As in a build: a FIFO would block, and a link may lead anywhere.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(file.path, flags)
    except OSError as error:
        message = f"the file cannot be opened any more: {error.strerror}"
        raise PictureUnreadable(message, "unreadable") from None
    with open(descriptor, "rb", buffering=0) as handle:
        facts = os.fstat(descriptor)
        known = facts.st_size, facts.st_mtime_ns
        if not stat.S_ISREG(facts.st_mode) or known != (file.size, file.mtime_ns):
            message = "the file is not what was indexed any more"
            raise PictureUnreadable(message, "unreadable")
        if file.size > limits.memory:
            raise PictureUnreadable(limits.too_much(file.size), "too-large")
        return handle.readall()
