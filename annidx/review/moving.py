"""Files of the archive: opened without following a link, hashed, moved without overwriting.

The one place that renames and links files of the user's. Every folder on the way is opened by the
one above it, so that a link that was put in its place leads nowhere.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from annidx.images.content import streamed_hash

_RENAME_NOREPLACE = 1
_FICLONE = 0x40049409
_NO_FLAGS = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP}
_CANNOT_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP}
_PASSING = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: a FIFO in the place of a file would block for ever.
_READING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_libc: Any = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Identity:
    """Which file it is: two names with equal identities are one file."""

    device: int
    inode: int


@dataclass(frozen=True, slots=True)
class Held:
    """An open file: what it was when it was opened.

    Attributes
    ----------
    handle : BinaryIO
    facts : os.stat_result
    """

    handle: BinaryIO
    facts: os.stat_result

    @property
    def identity(self) -> Identity:
        """Which file it is."""
        return identity_of(self.facts)

    def content_hash(self) -> bytes:
        """Return the BLAKE3 hash of all bytes.

        Raises
        ------
        OSError
            Also when the file changes while it is read.
        """
        self.handle.seek(0)
        found = streamed_hash(self.handle)
        now = os.fstat(self.handle.fileno())
        if _state(now) != _state(self.facts):
            raise OSError(errno.EBUSY, "it changes while it is read")
        return found


def identity_of(facts: os.stat_result) -> Identity:
    """Return which file it is that some facts are of."""
    return Identity(facts.st_dev, facts.st_ino)


def _state(facts: os.stat_result) -> tuple[int, int]:
    return facts.st_size, facts.st_mtime_ns


@contextlib.contextmanager
def folder(path: bytes) -> Iterator[int]:
    """Give a descriptor of a folder by its absolute path, no part of which may be a link.

    Raises
    ------
    OSError
        When a part is missing, no folder, or a link.
    """
    descriptor = os.open(b"/", _PASSING)
    try:
        for name in path.split(b"/"):
            if name:
                descriptor = _stepped(descriptor, name, path)
        yield descriptor
    finally:
        os.close(descriptor)


def _stepped(descriptor: int, name: bytes, path: bytes) -> int:
    """Return the folder of that name in an open one, which is closed."""
    try:
        inside = os.open(name, _PASSING, dir_fd=descriptor)
    except OSError as error:
        error.filename = path
        raise
    os.close(descriptor)
    return inside


@contextlib.contextmanager
def opened(path: bytes) -> Iterator[Held]:
    """Open a regular file by its absolute path, no part of which may be a link.

    Raises
    ------
    OSError
        When it is missing, no regular file, or a link leads to it.
    """
    where, name = os.path.split(path)
    try:
        with folder(where) as above:
            descriptor = os.open(name, _READING, dir_fd=above)
    except OSError as error:
        error.filename = path
        raise
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "no regular file", path)
    with os.fdopen(descriptor, "rb", buffering=0) as handle:
        yield Held(handle, facts)


def facts_of(path: bytes) -> os.stat_result | None:
    """Return the facts of whatever is at a path, links not followed; None when nothing is."""
    where, name = os.path.split(path)
    try:
        with folder(where) as above:
            return os.stat(name, dir_fd=above, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None


def move(source: bytes, target: bytes) -> None:
    """Move a file to another name on its file system, durably; nothing is ever overwritten.

    Raises
    ------
    FileExistsError
        When there is something at `target`; both stay as they are.
    OSError
    """
    with folder(os.path.dirname(source)) as old, folder(os.path.dirname(target)) as new:
        rename(old, os.path.basename(source), new, os.path.basename(target))
        sync(new)
        sync(old)


def rename(old_folder: int, old: bytes, new_folder: int, new: bytes) -> None:
    """Rename a file unless the new name exists."""
    # Linux 3.15 and glibc 2.28 do both at once. Where the system has no such call (macOS, musl) or
    # the file system does not know the flag (NFS, some FUSE ones), a link, which fails when the
    # name exists, and then the removal of the old name: a crash in between leaves two names of one
    # file, which review/settling.py puts right. Where there are no links either nothing is moved.
    call = getattr(_libc, "renameat2", None)
    if call is not None:
        if call(old_folder, old, new_folder, new, _RENAME_NOREPLACE) == 0:
            return
        number = ctypes.get_errno()
        if number not in _NO_FLAGS:
            raise OSError(number, os.strerror(number), old, None, new)
    _link_and_unlink(old_folder, old, new_folder, new)


def _link_and_unlink(old_folder: int, old: bytes, new_folder: int, new: bytes) -> None:
    os.link(old, new, src_dir_fd=old_folder, dst_dir_fd=new_folder, follow_symlinks=False)
    linked = os.stat(new, dir_fd=new_folder, follow_symlinks=False)
    now = os.stat(old, dir_fd=old_folder, follow_symlinks=False)
    if identity_of(linked) != identity_of(now):  # another file has come to this name meanwhile
        os.unlink(new, dir_fd=new_folder)
        raise OSError(errno.EBUSY, "it was replaced while it was moved", old)
    os.unlink(old, dir_fd=old_folder)


def link(source: bytes, target: bytes) -> None:
    """Give a file a second name, durably; nothing is overwritten."""
    with folder(os.path.dirname(source)) as old, folder(os.path.dirname(target)) as new:
        os.link(
            *(os.path.basename(source), os.path.basename(target)),
            src_dir_fd=old,
            dst_dir_fd=new,
            follow_symlinks=False,
        )
        sync(new)


def clone(source: Held, target: bytes, facts: os.stat_result) -> None:
    """Make a file that shares the blocks of another one, with the mode and times of a third.

    Raises
    ------
    OSError
        Where the file system cannot (btrfs, XFS and others can); nothing is left then.
    """
    where, name = os.path.split(target)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with folder(where) as above:
        descriptor = os.open(name, flags, 0o600, dir_fd=above)
        try:
            fcntl.ioctl(descriptor, _FICLONE, source.handle.fileno())
            os.fchmod(descriptor, stat.S_IMODE(facts.st_mode))
            os.utime(descriptor, ns=(facts.st_atime_ns, facts.st_mtime_ns))
            os.fsync(descriptor)
        except OSError:
            os.unlink(name, dir_fd=above)
            raise
        finally:
            os.close(descriptor)
        sync(above)


def unlink(path: bytes) -> None:
    """Remove a name, durably."""
    where, name = os.path.split(path)
    with folder(where) as above:
        os.unlink(name, dir_fd=above)
        sync(above)


def make_folders(base: bytes, relative: bytes) -> None:
    """Make the folders of a path below one that exists, their owner's only, durably.

    Raises
    ------
    OSError
        Also when one of them is there and is no folder, or a link.
    """
    with folder(base) as start:
        above = os.dup(start)
    try:
        for name in relative.split(b"/"):
            if not name:
                continue
            try:
                os.mkdir(name, 0o700, dir_fd=above)
                sync(above)
            except FileExistsError:
                pass
            above = _stepped(above, name, os.path.join(base, relative))
    finally:
        os.close(above)


def remove_empty(path: bytes, stop: bytes) -> None:
    """Remove a folder and those above it, below `stop`, as far as they are empty."""
    while path != stop and path.startswith(stop):
        where, name = os.path.split(path)
        try:
            with folder(where) as above:
                os.rmdir(name, dir_fd=above)
        except OSError:
            return
        path = where


def sync(descriptor: int) -> None:
    """Make what happened in an open folder durable; file systems that cannot are let be."""
    readable = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=descriptor)
    try:
        os.fsync(readable)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise
    finally:
        os.close(readable)
