"""Roots in, a sorted stream of files out. Never decodes, never opens a file.

Only regular files by ``lstat`` come out: symbolic links, FIFOs, sockets and devices are counted and
left alone, so that nothing here can block or loop.
"""

from __future__ import annotations

import fnmatch
import logging
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from annidx.model import File

log = logging.getLogger(__name__)

DERIVATIVES = (
    b"@eaDir",  # Synology's thumbnails
    b"#recycle",
    b"@Recycle",
    b"$RECYCLE.BIN",
    b"lost+found",
    b"*.photoslibrary",
    b"*.photolibrary",
    b"*.aplibrary",
    b"*.migratedphotolibrary",
    b"*.lrdata",  # Lightroom's previews
    b"*.lrcat-data",
    b"*.cocatalog",  # Capture One
    b"*.dtMedia",
)
"""Folders of catalogues, thumbnails and bins: what they hold is derived or thrown away."""


@dataclass(slots=True)
class Walk:
    """A walk over roots, with the count of what it left out.

    Attributes
    ----------
    roots : Sequence of (int, bytes)
        Root id and absolute path, none inside another.
    exclude : Sequence of bytes
        Globs; matched against the name and against the path relative to the root.
    left_out : Counter
        Filled while the walk goes on: 'hidden', 'derivatives', 'index', 'excluded', 'symlink',
        'special' (FIFO, socket, device), 'hard link', 'unreadable folder', 'vanished'.
    unlisted : list of bytes
        Absolute paths of folders that could not be listed: nothing is known of what they hold.
    problems : list of str
        One line for each of them.
    """

    roots: Sequence[tuple[int, bytes]]
    exclude: Sequence[bytes] = ()
    left_out: Counter[str] = field(default_factory=Counter)
    unlisted: list[bytes] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    _folders: set[tuple[int, int]] = field(default_factory=set)
    _linked: set[tuple[int, int]] = field(default_factory=set)

    def files(self) -> Iterator[File]:
        """Yield the files of all roots, of each root in the order of its path bytes."""
        for root_id, root in self.roots:
            # A stack of listings and no recursion: folders may nest deeper than Python's limit.
            stack = [(b"", self._listing(root, b""))]
            while stack:
                folder, entries = stack[-1]
                is_folder, entry = next(entries, (False, None))
                if entry is None:
                    stack.pop()
                    continue
                path = os.path.join(folder, entry.name)
                reason = self._reason_to_leave_out(entry.name, path, is_folder=is_folder)
                if reason:
                    self.left_out[reason] += 1
                elif is_folder:
                    stack.append((path, self._listing(root, path)))
                else:
                    yield from self._file(root_id, path, entry)

    def _listing(self, root: bytes, relative: bytes) -> Iterator[tuple[bool, os.DirEntry[bytes]]]:
        folder = os.path.join(root, relative)
        try:
            return iter(self._entries(folder))
        except OSError as error:
            self.left_out["unreadable folder"] += 1
            self.unlisted.append(folder)
            shown = ascii(os.fsdecode(folder))
            self.problems.append(f"{shown}: folder cannot be listed: {error.strerror}")
            return iter(())

    def _entries(self, folder: bytes) -> list[tuple[bool, os.DirEntry[bytes]]]:
        """List a folder so that the walk is in path order; empty when it must not be entered."""
        here = os.lstat(folder)
        if (here.st_dev, here.st_ino) in self._folders:  # bind mounts, roots reached twice
            self.left_out["seen folder"] += 1
            return []
        self._folders.add((here.st_dev, here.st_ino))
        with os.scandir(folder) as listing:
            entries = [(entry.is_dir(follow_symlinks=False), entry) for entry in listing]
        if any(entry.name == b"annidx.json" for _, entry in entries):
            self.left_out["index"] += 1
            return []
        # A folder sorts as if its name ended in "/": then whole paths come in byte order.
        entries.sort(key=lambda item: item[1].name + b"/" if item[0] else item[1].name)
        return entries

    def _reason_to_leave_out(self, name: bytes, path: bytes, *, is_folder: bool) -> str:
        if name.startswith(b"."):
            return "hidden"
        if is_folder and any(fnmatch.fnmatchcase(name, glob) for glob in DERIVATIVES):
            return "derivatives"
        if any(fnmatch.fnmatchcase(part, glob) for glob in self.exclude for part in (name, path)):
            return "excluded"
        return ""

    def _file(self, root_id: int, path: bytes, entry: os.DirEntry[bytes]) -> Iterator[File]:
        try:
            facts = entry.stat(follow_symlinks=False)
        except OSError:
            self.left_out["vanished"] += 1
            return
        if stat.S_ISLNK(facts.st_mode):
            self.left_out["symlink"] += 1
        elif not stat.S_ISREG(facts.st_mode):
            self.left_out["special"] += 1
        elif facts.st_nlink > 1 and (facts.st_dev, facts.st_ino) in self._linked:
            self.left_out["hard link"] += 1
        else:
            if facts.st_nlink > 1:
                self._linked.add((facts.st_dev, facts.st_ino))
            yield File(
                root_id=root_id,
                path=path,
                size=facts.st_size,
                mtime_ns=facts.st_mtime_ns,
                device=facts.st_dev,
                inode=facts.st_ino,
            )


def merge_nested(paths: Sequence[bytes]) -> list[bytes]:
    """Return the absolute paths without those inside another, sorted.

    Examples
    --------
    >>> merge_nested([b"/a/b", b"/a", b"/ab"])
    [b'/a', b'/ab']
    """
    merged: list[bytes] = []
    for path in sorted(set(paths), key=lambda path: path.rstrip(b"/") + b"/"):
        if not merged or not is_inside(path, merged[-1]):
            merged.append(path)
    return merged


def is_inside(path: bytes, folder: bytes) -> bool:
    """Tell whether `path` is `folder` or lies below it; both absolute."""
    return path == folder or path.startswith(folder.rstrip(b"/") + b"/")
