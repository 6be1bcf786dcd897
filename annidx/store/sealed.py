"""Sealed files: named by their SHA-256, opened once, and hashed before anything reads them.

A flipped bit in a graph crashes the process, and Parquet reads one without an error: so whatever
is in a file is looked at only when its hash is right. Hashing a million pictures takes seconds,
therefore what was found whole is remembered, by inode, size and times, in the user's cache folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import stat
import threading
import time
import weakref
from io import BufferedReader
from pathlib import Path
from typing import Any

from annidx.errors import FileDamaged
from annidx.place import cache_folder

REMEMBERED_BYTES = 1_000_000
"""Smaller files are hashed in a millisecond, quicker than one looks up whether that is needed."""

REMEMBERED_DAYS = 30
"""After that a file is hashed again: a disk may lose a bit without telling the file system."""

_PIECE = 1 << 20


class Sealed:
    """A file of the index that is open for reading; it stays readable when its name has gone.

    Parameters
    ----------
    path : Path
    sha256 : str
        What the manifest says, in hex.
    size : int, optional
        Bytes, likewise; None when the manifest does not say.
    cure : str
        What to do about damage, a sentence.

    Raises
    ------
    FileDamaged
        When the file is missing, is no regular file or has another size.
    """

    def __init__(self, path: Path, sha256: str, size: int | None, cure: str) -> None:
        self.path, self.sha256, self._cure = path, sha256, cure
        self._lock = threading.Lock()
        self._is_whole = False
        try:
            # A FIFO in the place of the file would block an ordinary open for ever.
            self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError):
            raise self._missing() from None
        weakref.finalize(self, os.close, self.descriptor)
        self._stat = os.fstat(self.descriptor)
        if not stat.S_ISREG(self._stat.st_mode):
            raise self._missing()
        found = self._stat.st_size
        if size is not None and found != size:
            what = f"has {found} bytes, the manifest says {size}"
            raise self._damaged(what, f"{size} bytes", f"{found} bytes")

    def check(self, *, anew: bool = False) -> None:
        """Compare the file's hash with the manifest's; once, unless `anew`.

        Raises
        ------
        FileDamaged
        """
        with self._lock:
            if anew or not (self._is_whole or self._is_remembered()):
                found = self._hash()
                if found != self.sha256:
                    self._forget()
                    what = f"sha256 is {found}, the manifest says {self.sha256}"
                    raise self._damaged(what, self.sha256, found)
                self._remember()
            self._is_whole = True

    def open(self) -> BufferedReader:
        """Read the file from its start, once it was checked."""
        self.check()
        os.lseek(self.descriptor, 0, os.SEEK_SET)
        return open(self.descriptor, "rb", closefd=False)

    def map(self) -> mmap.mmap:
        """Map the file, once it was checked."""
        self.check()
        if self._stat.st_size == 0:  # nobody seals such a file, and no system maps it
            what = "is empty"
            raise self._damaged(what, self.sha256, "empty")
        return mmap.mmap(self.descriptor, 0, prot=mmap.PROT_READ)

    def _hash(self) -> str:
        # Read and not mapped: a bad sector under a map ends the process.
        digest = hashlib.sha256()
        at = 0
        try:
            while piece := os.pread(self.descriptor, _PIECE, at):
                digest.update(piece)
                at += len(piece)
        except OSError as error:
            what = f"cannot be read ({error.strerror})"
            raise self._damaged(what, self.sha256, "unreadable") from None
        return digest.hexdigest()

    def _damaged(self, what: str, expected: str, found: str) -> FileDamaged:
        message = f"{self.path}: {what}. {self._cure}"
        return FileDamaged(message, os.fspath(self.path), expected, found)

    def _missing(self) -> FileDamaged:
        what = "is missing" if not os.path.lexists(self.path) else "is no regular file"
        return self._damaged(what, self.sha256, what.removeprefix("is "))

    def _mark(self) -> Path:
        """Return the empty file whose being there says that this one was found whole."""
        facts: Any = self._stat
        state = facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns
        text = f"{self.sha256} {state}"
        return cache_folder() / "whole" / hashlib.sha256(text.encode()).hexdigest()

    def _is_remembered(self) -> bool:
        if self._stat.st_size < REMEMBERED_BYTES:
            return False
        try:
            return self._mark().stat().st_mtime > time.time() - REMEMBERED_DAYS * 86400
        except (OSError, RuntimeError):  # a user without a home has no cache
            return False

    def _forget(self) -> None:
        with contextlib.suppress(OSError, RuntimeError):
            self._mark().unlink(missing_ok=True)

    def _remember(self) -> None:
        if self._stat.st_size < REMEMBERED_BYTES:
            return
        with contextlib.suppress(OSError, RuntimeError):  # no cache: it is hashed again
            mark = self._mark()
            mark.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            mark.unlink(missing_ok=True)
            mark.touch(mode=0o600)
            for other in mark.parent.iterdir():
                if other.stat().st_mtime < time.time() - REMEMBERED_DAYS * 86400:
                    other.unlink(missing_ok=True)
