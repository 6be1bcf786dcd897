"""Whether a file may be removed right now: both files opened, told apart, hashed.

Every reason to leave a file alone is an :class:`ActionRefused` with the reason in words.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence

from annidx.errors import ActionRefused
from annidx.images.scan import is_inside
from annidx.review.beside import Folders
from annidx.review.moving import Held, Identity, facts_of, identity_of, opened
from annidx.review.pictures import is_protected
from annidx.review.planned import Companion, Removal

FOLDER = b".annidx-removed"
"""In a root, or on top of another file system below it: what was removed, by plan."""


class Protected:
    """Tells of files whether they lie in a protected folder, by its path or as the same folder.

    Parameters
    ----------
    folders : Sequence of bytes
        Absolute paths.
    """

    def __init__(self, folders: Sequence[bytes]) -> None:
        self._folders = folders
        self._known = {
            found: folder for folder in folders if (found := identity_at(folder)) is not None
        }
        self._above: dict[bytes, bytes] = {}

    def __call__(self, path: bytes) -> bytes:
        """Return the protected folder that a file lies in, empty when it lies in none."""
        return is_protected(path, self._folders) or self._same(os.path.dirname(path))

    def _same(self, folder: bytes) -> bytes:
        """Return the one that a folder lies in by another way, such as a bind mount."""
        if not self._known:
            return b""
        if folder not in self._above:
            here = identity_at(folder)
            found = self._known.get(here, b"") if here else b""
            if not found and os.path.dirname(folder) != folder:
                found = self._same(os.path.dirname(folder))
            self._above[folder] = found
        return self._above[folder]


@contextlib.contextmanager
def checked(removal: Removal, protected: Protected) -> Iterator[tuple[Held, Held]]:
    """Open the file that is to be removed and the one that is kept, and check both.

    Raises
    ------
    ActionRefused
        When either is not what the plan says, or removing one could cost a picture.
    """
    _check_paths(removal, protected)
    try:
        with opened(removal.path) as one, opened(removal.kept) as kept:
            if one.identity == kept.identity:
                message = "is the same file as the kept one, by another name"
                raise ActionRefused(message)
            _check_content(one, removal.content_hash, "it")
            _check_content(kept, removal.kept_hash, "the kept file")
            yield one, kept
    except OSError as error:
        raise ActionRefused(reason_of(error, removal.path)) from None


def check_companion(folder: bytes, companion: Companion) -> None:
    """Check that a companion is what the plan says.

    Raises
    ------
    ActionRefused
    """
    try:
        with opened(os.path.join(folder, companion.name)) as held:
            _check_content(held, companion.content_hash, _named(companion))
    except OSError as error:
        message = f"{_named(companion)}: {error.strerror or error}"
        raise ActionRefused(message) from None


def going(removal: Removal, beside: Folders) -> list[Companion]:
    """Return the companions that go with a picture as of now: no other picture there has them."""
    folder = os.path.dirname(removal.path)
    return [
        each
        for each in removal.companions
        if not beside.owners_left(removal.path, each.name)
        and is_there(os.path.join(folder, each.name))
    ]


def check_kept(removal: Removal, moved: Identity, to: bytes) -> None:
    """Check, once a file was moved, that the one kept for it is still there: another file.

    Where both were one file, seen through two mounts, it is gone from here now. Or it is not,
    since the other mount remembers names: but then a rename has changed the times of both.

    Parameters
    ----------
    removal : Removal
    moved : Identity
        Which file was moved.
    to : bytes
        Where it lies now; empty when nobody knows.

    Raises
    ------
    ActionRefused
    """
    try:
        with opened(removal.kept) as kept:
            there = facts_of(to) if to else None
            if kept.identity == moved or (there and _moves_alike(kept.facts, there)):
                message = "the kept file turned out to be the same file, seen through two mounts"
                raise ActionRefused(message)
            _check_content(kept, removal.kept_hash, "the kept file")
    except OSError as error:
        message = f"the kept file was gone with it: {error.strerror or error}"
        raise ActionRefused(message) from None


def _moves_alike(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_ino, one.st_ctime_ns) == (other.st_ino, other.st_ctime_ns)


def is_there(path: bytes) -> bool:
    """Tell whether there is anything at a path."""
    try:
        return facts_of(path) is not None
    except OSError:
        return True


def reason_of(error: OSError, path: bytes) -> str:
    """Return in words what went wrong with a file or its kept one."""
    named = error.filename2 or error.filename
    which = "it" if named in (None, path, os.path.basename(path)) else os.fsdecode(named)
    return f"{which}: {error.strerror or error}"


def _check_paths(removal: Removal, protected: Protected) -> None:
    """Refuse what no plan of annidx says, and what has become protected."""
    for path in (removal.path, removal.kept, removal.root):
        if (
            not path.startswith(b"/")
            or os.path.normpath(path) != path
            or FOLDER in path.split(b"/")
        ):
            message = f"{os.fsdecode(path)} is no path of an archive"
            raise ActionRefused(message)
    names = [each.name for each in removal.companions]
    if any(b"/" in name or name in (b"", b".", b"..") for name in names):
        message = "has a companion that is no name of a file"
        raise ActionRefused(message)
    if not is_inside(removal.path, removal.root) or removal.path == removal.root:
        message = f"does not lie in its root {os.fsdecode(removal.root)}"
        raise ActionRefused(message)
    folder = protected(removal.path)
    if folder:
        message = f"lies in the protected folder {os.fsdecode(folder)}"
        raise ActionRefused(message)


def _check_content(held: Held, expected: bytes, what: str) -> None:
    if held.content_hash() != expected:
        message = f"{what} has changed since the plan was made"
        raise ActionRefused(message)


def _named(companion: Companion) -> str:
    return f"its companion {os.fsdecode(companion.name)}"


def identity_at(path: bytes) -> Identity | None:
    """Return which file or folder is at a path, None when that cannot be told."""
    try:
        facts = facts_of(path)
    except OSError:
        return None
    return None if facts is None else identity_of(facts)
