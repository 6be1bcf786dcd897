"""The desktop's trash, best effort: where it put a file is looked up at once, to find it again."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

from annidx.errors import ActionRefused
from annidx.review.moving import Identity, facts_of, identity_of

_INFO = b".trashinfo"


def put(path: bytes) -> None:
    """Hand a file to the trash.

    Raises
    ------
    ActionRefused
        When there is no trash for it, or send2trash is not installed; the file is where it was.
    """
    try:
        import send2trash  # noqa: PLC0415 - only who asks for it needs it
    except ImportError:
        message = 'the trash needs send2trash: "pip install send2trash", or apply without --trash'
        raise ActionRefused(message) from None
    try:
        send2trash.send2trash(path)
    except OSError as error:
        message = f"the trash does not take it: {error.strerror or error}"
        raise ActionRefused(message) from None


def found(path: bytes, identity: Identity | None) -> bytes:
    """Return where a file lies in the trash, empty when it cannot be told.

    Parameters
    ----------
    path : bytes
        Where it lay.
    identity : Identity or None
        Which file it is; None for any whose note names that path.
    """
    for folder in _folders(path):
        for note in _notes(folder):
            where = os.path.join(folder, b"files", os.path.basename(note)[: -len(_INFO)])
            try:
                facts = facts_of(where)
            except OSError:
                continue
            if facts is None or _origin(note, folder) != path:
                continue
            if identity is None or identity_of(facts) == identity:
                return where
    return b""


def forget(where: bytes) -> None:
    """Remove the note of a file that was taken out of the trash."""
    trash = os.path.dirname(os.path.dirname(where))
    with contextlib.suppress(OSError):
        os.unlink(os.path.join(trash, b"info", os.path.basename(where) + _INFO))


def _folders(path: bytes) -> Iterator[bytes]:
    """Yield the trash folders that may hold a file: the user's, and that of its file system."""
    data = os.environb.get(b"XDG_DATA_HOME", b"") or os.path.expanduser(b"~/.local/share")
    yield os.path.join(data, b"Trash")
    top = os.path.dirname(path)
    while top != b"/" and not os.path.ismount(top):
        top = os.path.dirname(top)
    user = str(os.getuid()).encode()
    yield os.path.join(top, b".Trash", user)
    yield os.path.join(top, b".Trash-" + user)


def _notes(folder: bytes) -> list[bytes]:
    try:
        names = os.listdir(os.path.join(folder, b"info"))
    except OSError:
        return []
    return [os.path.join(folder, b"info", name) for name in names if name.endswith(_INFO)]


def _origin(note: bytes, folder: bytes) -> bytes:
    """Return where a note says that its file lay, absolute; empty when it does not say."""
    try:
        with open(note, "rb") as handle:
            lines = handle.read(65_536).splitlines()
    except OSError:
        return b""
    named = [line[5:] for line in lines if line.startswith(b"Path=")]
    if not named:
        return b""
    path = unquote_to_bytes(named[0])
    if path.startswith(b"/"):
        return path
    top = os.path.dirname(folder)
    if os.path.basename(top) == b".Trash":
        top = os.path.dirname(top)
    return os.path.normpath(os.path.join(top, path))
