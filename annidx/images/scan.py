"""Roots in, a sorted stream of files out. Never decodes, never opens a file.

Only regular files by ``lstat`` come out: symbolic links, FIFOs, sockets and devices are counted and
left alone, so that nothing here can block or loop. Of a folder with a million files only the names
are held in memory.
"""

from __future__ import annotations

import errno
import fnmatch
import os
import re
import stat
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from annidx.images.companions import Companions
from annidx.images.mounts import keeps_inodes, mounted_types
from annidx.model import File

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


def _any_of(globs: Sequence[bytes]) -> re.Pattern[bytes]:
    """Return a pattern for what matches one of the globs as a whole, case included."""
    texts = (fnmatch.translate(glob.decode("latin-1")).encode("latin-1") for glob in globs)
    return re.compile(b"|".join(texts))


_DERIVATIVE = _any_of(DERIVATIVES)

_SLASH = ord("/")
_GONE = {errno.ENOENT, errno.ENOTDIR, errno.ESTALE}

# What else a name may turn out to be; a folder has taken the place of a file.
_KINDS = {stat.S_IFLNK: "symlink", stat.S_IFDIR: "vanished"}


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder on the way.

    Attributes
    ----------
    path, above : bytes
        Absolute; `above` with a "/" behind it.
    prefix : bytes
        The same relative to the root; empty for the root itself.
    names : Iterator of bytes
        Names that are still to come, sorted; those of folders end in "/".
    beside : function, optional
        Tells the companions of a file; None when no file has any.
    keeps_inodes : bool
    """

    path: bytes
    above: bytes
    prefix: bytes
    names: Iterator[bytes]
    beside: Callable[[bytes], tuple[bytes, ...]] | None = None
    keeps_inodes: bool = True


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
        'special' (FIFO, socket, device), 'hard link', 'unreadable folder', 'seen folder',
        'vanished'.
    unlisted : list of bytes
        Absolute paths of folders of which not all could be seen: what else they hold is unknown.
    problems : list of str
        One line for each of them.
    """

    roots: Sequence[tuple[int, bytes]]
    exclude: Sequence[bytes] = ()
    left_out: Counter[str] = field(default_factory=Counter)
    unlisted: list[bytes] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    _folders: set[tuple[int, int]] = field(default_factory=set)
    _linked: defaultdict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    _types: dict[int, str] = field(default_factory=mounted_types)
    _excluded: re.Pattern[bytes] | None = None

    def __post_init__(self) -> None:
        self._excluded = _any_of(self.exclude) if self.exclude else None

    def files(self) -> Iterator[File]:
        """Yield the files of all roots, of each root in the order of its path bytes."""
        for root_id, root in self.roots:
            # A stack of folders and no recursion: they may nest deeper than Python's limit.
            stack = [self._folder(root, b"")]
            while stack:
                folder = stack[-1]
                # A million times, so with names at hand and without calls that can be spared.
                above, prefix, beside = folder.above, folder.prefix, folder.beside
                lasting, excluding = folder.keeps_inodes, self._excluded is not None
                for name in folder.names:
                    if name[-1] == _SLASH:
                        if self._is_entered(name[:-1], prefix):
                            stack.append(self._folder(root, prefix + name[:-1]))
                            break
                        continue
                    if excluding and self._is_excluded(name, prefix):
                        continue
                    try:
                        facts = os.lstat(above + name)
                    except OSError as error:
                        self._note_unseen(folder, error)
                        continue
                    plain = facts.st_nlink == 1 and stat.S_ISREG(facts.st_mode)
                    if not plain and self._is_left_out(facts, folder):
                        continue
                    yield File(
                        root_id,
                        prefix + name,
                        facts.st_size,
                        facts.st_mtime_ns,
                        facts.st_dev if lasting else 0,
                        facts.st_ino if lasting else 0,
                        beside(name) if beside else (),
                    )
                else:
                    stack.pop()

    def _folder(self, root: bytes, relative: bytes) -> _Folder:
        """List a folder; it seems empty when it is left out or cannot be listed."""
        path = os.path.join(root, relative)
        above, prefix = os.path.join(path, b""), os.path.join(relative, b"")
        try:
            here = os.lstat(path)
            if not stat.S_ISDIR(here.st_mode):  # a link put in its place would lead elsewhere
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
            lasting = keeps_inodes(here.st_dev, self._types)
            names = [] if lasting and self._was_seen(here) else self._names(path)
        except OSError as error:
            self._note_unlisted(path, "cannot be listed", error)
            return _Folder(path, above, prefix, iter(()))
        companions = Companions(names)
        beside = companions.of if companions else None
        return _Folder(path, above, prefix, iter(names), beside, lasting)

    def _names(self, path: bytes) -> list[bytes]:
        """Return the names in a folder, sorted, without hidden ones; none if it is left out.

        A folder's name ends in "/": then whole paths come in byte order.
        """
        with os.scandir(path) as listing:
            names = [
                entry.name + b"/" if entry.is_dir(follow_symlinks=False) else entry.name
                for entry in listing
            ]
        if b"annidx.json" in names:
            self.left_out["index"] += 1
            return []
        names.sort()
        hidden = slice(bisect_left(names, b"."), bisect_left(names, b"/"))
        if hidden.start < hidden.stop:
            self.left_out["hidden"] += hidden.stop - hidden.start
            del names[hidden]
        return names

    def _was_seen(self, folder: os.stat_result) -> bool:
        """Tell whether the walk comes by again: bind mounts, roots reached twice."""
        if (folder.st_dev, folder.st_ino) in self._folders:
            self.left_out["seen folder"] += 1
            return True
        self._folders.add((folder.st_dev, folder.st_ino))
        return False

    def _is_entered(self, name: bytes, prefix: bytes) -> bool:
        if _DERIVATIVE.match(name):
            self.left_out["derivatives"] += 1
            return False
        return not self._is_excluded(name, prefix)

    def _is_excluded(self, name: bytes, prefix: bytes) -> bool:
        globs = self._excluded
        if globs and (globs.match(name) or globs.match(prefix + name)):
            self.left_out["excluded"] += 1
            return True
        return False

    def excludes(self, path: bytes) -> bool:
        """Tell whether the globs leave out a path below a root, or a folder that it lies in."""
        globs = self._excluded
        ends = [at for at, byte in enumerate(path) if byte == _SLASH] + [len(path)]
        heads = [path[:end] for end in ends] if globs else []
        return any(globs.match(h) or globs.match(os.path.basename(h)) for h in heads if globs)

    def _is_left_out(self, facts: os.stat_result, folder: _Folder) -> bool:
        """Count what is no regular file, and the second name of one."""
        if not stat.S_ISREG(facts.st_mode):
            self.left_out[_KINDS.get(stat.S_IFMT(facts.st_mode), "special")] += 1
            return True
        if not folder.keeps_inodes:
            return False
        inodes = self._linked[facts.st_dev]
        if facts.st_ino in inodes:
            self.left_out["hard link"] += 1
            return True
        inodes.add(facts.st_ino)
        return False

    def _note_unseen(self, folder: _Folder, error: OSError) -> None:
        if error.errno in _GONE:
            self.left_out["vanished"] += 1
        else:  # it may well be there: nobody is to take it for deleted
            self._note_unlisted(folder.path, "has files that cannot be examined", error)

    def _note_unlisted(self, path: bytes, what: str, error: OSError) -> None:
        if path in self.unlisted:  # one line, however many of its files it is about
            return
        self.left_out["unreadable folder"] += 1
        self.unlisted.append(path)
        self.problems.append(f"{os.fsdecode(path)!a}: folder {what}: {error.strerror}")


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
