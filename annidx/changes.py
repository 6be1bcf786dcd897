"""What an index knows of its files, and what the walk makes of it: keep, carry, hash or extract."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from annidx.images.scan import is_inside
from annidx.model import File, Record
from annidx.store import snapshot
from annidx.store.manifest import Kind, SegmentEntry
from annidx.store.snapshot import Rowset, Snapshot

YOUNG_NS = 2_000_000_000
"""A file modified so shortly before it was read may have changed since without a newer mtime
(file systems count in steps of up to two seconds)."""

Decision = Literal["keep", "carry", "hash", "extract"]

_FILE = ("root_id", "path", "size", "mtime_ns", "device", "inode")
_MORE = ("read_ns", "content_hash", "status")


class Known(NamedTuple):
    """A row of the current snapshot, as far as a build needs it."""

    kind: Kind
    row: int
    file: File
    read_ns: int
    content_hash: bytes
    status: str


def decide(file: File, known: Known | None, *, moved: bool) -> Decision:
    """Decide what to do with a file that the walk has found.

    Parameters
    ----------
    file : File
        As found now.
    known : Known or None
        What the snapshot has for its path.
    moved : bool
        True when its root was moved, so that inodes say nothing.

    Returns
    -------
    {'keep', 'carry', 'hash', 'extract'}
        'keep' the row; 'carry' it over under another root; 'hash' the file again since it was very
        young when it was read; 'extract' it.
    """
    if known is None:
        return "extract"
    before = known.file
    if (file.size, file.mtime_ns) != (before.size, before.mtime_ns):
        return "extract"
    if not moved and file.device == before.device and file.inode != before.inode:
        return "extract"
    if before.mtime_ns > known.read_ns - YOUNG_NS:
        return "hash"
    same_place = (file.root_id, file.path) == (before.root_id, before.path)
    return "keep" if same_place else "carry"


class KnownFiles:
    """The live rows of a snapshot by path and by inode, and which of them a build keeps.

    Parameters
    ----------
    opened : Snapshot
    """

    def __init__(self, opened: Snapshot) -> None:
        self._rowsets: dict[Kind, Rowset] = {"pictures": opened.pictures, "other": opened.other}
        self._kept: dict[Kind, npt.NDArray[np.bool_]] = {}
        self._by_path: dict[bytes, Known] = {}
        self._by_inode: dict[tuple[int, int], Known] = {}
        self._rewritten: set[int] = set()  # rows of pictures that live on in a new row
        for kind, rowset in self._rowsets.items():
            self._read(opened, kind, rowset)

    def _read(self, opened: Snapshot, kind: Kind, rowset: Rowset) -> None:
        self._kept[kind] = np.zeros(len(rowset), np.bool_)
        rows = np.flatnonzero(rowset.live)
        files = zip(*(rowset.values(name, rows) for name in _FILE), strict=True)
        more = zip(*(rowset.values(name, rows) for name in _MORE), strict=True)
        paths = opened.paths(rows, rowset)
        for path, row, file, rest in zip(paths, rows.tolist(), files, more, strict=True):
            known = Known(kind, row, File(*file), *rest)
            self._by_path[path] = known
            if kind == "pictures":
                self._by_inode[known.file.device, known.file.inode] = known

    def at(self, path: bytes) -> Known | None:
        """Return what is known of an absolute path."""
        return self._by_path.get(path)

    def renamed(self, file: File) -> Known | None:
        """Return the picture that a new path held under another one: same inode, size and time."""
        known = self._by_inode.get((file.device, file.inode))
        if known and (known.file.size, known.file.mtime_ns) == (file.size, file.mtime_ns):
            return known
        return None

    def any_inside(self, folder: bytes) -> bool:
        """Tell whether anything is known below a folder."""
        return any(is_inside(path, folder) for path in self._by_path)

    def keep(self, known: Known) -> None:
        """Keep a row as it is."""
        self._kept[known.kind][known.row] = True

    def keep_inside(self, folders: Iterable[bytes]) -> None:
        """Keep all rows below folders that could not be looked into."""
        hidden = list(folders)
        if not hidden:
            return
        for path, known in self._by_path.items():
            if any(is_inside(path, folder) for folder in hidden):
                self.keep(known)

    def rewrite(self, known: Known) -> None:
        """Note that a new row takes the place of this one."""
        if known.kind == "pictures":
            self._rewritten.add(known.row)

    def record(self, known: Known) -> Record:
        """Return a row as a record, with its descriptors."""
        return next(self._rowsets[known.kind].records(np.array([known.row])))

    def removed_pictures(self) -> int:
        """Count the pictures that are neither kept nor rewritten."""
        live = self._rowsets["pictures"].live
        return int((live & ~self._kept["pictures"]).sum()) - len(self._rewritten)

    def entries(self, kind: Kind) -> tuple[Rowset, list[SegmentEntry]]:
        """Return the rows of a kind, and its segments with all that is not kept removed."""
        rowset = self._rowsets[kind]
        return rowset, snapshot.without(rowset, ~self._kept[kind])
