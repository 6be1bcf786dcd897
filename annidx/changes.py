"""What an index knows of its files, and what the walk makes of it: keep, carry, hash or extract."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
_MORE = ("read_ns", "content_hash", "status", "image_id", "first_seen_ns")


class Known(NamedTuple):
    """A row of the current snapshot, as far as a build needs it."""

    kind: Kind
    row: int
    file: File
    read_ns: int
    content_hash: bytes
    status: str
    image_id: int = -1
    first_seen_ns: int = 0

    @property
    def was_never_read(self) -> bool:
        """True when permissions or the disk stood in the way, not the file's content."""
        unread = self.content_hash == bytes(32)
        return self.status == "denied" or (self.status == "unreadable" and unread)


def decide(file: File, known: Known | None, *, moved: bool, anew: bool = False) -> Decision:
    """Decide what to do with a file that the walk has found.

    Parameters
    ----------
    file : File
        As found now.
    known : Known or None
        What the snapshot has for its path.
    moved : bool
        True when its root was moved, so that inodes say nothing.
    anew : bool
        True when it is to be extracted whatever is known.

    Returns
    -------
    {'keep', 'carry', 'hash', 'extract'}
        'keep' the row; 'carry' it over under another root; 'hash' the file again since it was very
        young when it was read; 'extract' it.
    """
    if known is None or anew or known.was_never_read:
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
        self._pending: dict[Kind, npt.NDArray[np.bool_]] = {}
        self._rewritten: dict[Kind, set[int]] = {"pictures": set(), "other": set()}
        for kind, rowset in self._rowsets.items():
            self._read(opened, kind, rowset)

    def _read(self, opened: Snapshot, kind: Kind, rowset: Rowset) -> None:
        self._kept[kind] = np.zeros(len(rowset), np.bool_)
        self._pending[kind] = np.zeros(len(rowset), np.bool_)
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

    def inside(
        self, folders: Sequence[bytes], *, waiting: bool = True
    ) -> Iterator[tuple[bytes, Known]]:
        """Yield (absolute path, row) of the rows below some folders that do not live on already.

        Those that wait to be looked at again only with `waiting`.
        """
        for path, known in self._by_path.items():
            if not waiting and self._pending[known.kind][known.row]:
                continue
            if not self.lives_on(known) and any(is_inside(path, folder) for folder in folders):
                yield path, known

    def keep(self, known: Known) -> None:
        """Keep a row as it is."""
        self._kept[known.kind][known.row] = True

    def wait(self, known: Known) -> None:
        """Note that a row is to be looked at again; until then it counts in interim snapshots."""
        self._pending[known.kind][known.row] = True

    def rewrite(self, known: Known) -> None:
        """Note that a new row takes the place of this one."""
        self._rewritten[known.kind].add(known.row)

    def lives_on(self, known: Known) -> bool:
        """Tell whether a row is kept, or a new row has taken its place."""
        kept = bool(self._kept[known.kind][known.row])
        return kept or known.row in self._rewritten[known.kind]

    def record(self, known: Known) -> Record:
        """Return a row as a record, with its descriptors."""
        return next(self._rowsets[known.kind].records(np.array([known.row])))

    def removed_pictures(self) -> int:
        """Count the pictures that are neither kept nor rewritten."""
        gone = self._rowsets["pictures"].live & ~self._kept["pictures"]
        gone[list(self._rewritten["pictures"])] = False
        return int(gone.sum())

    def entries(self, kind: Kind, *, interim: bool = False) -> tuple[Rowset, list[SegmentEntry]]:
        """Return the rows of a kind, and its segments with all that is not kept removed.

        With `interim`, rows that wait to be looked at again are still there.
        """
        rowset = self._rowsets[kind]
        keep = self._kept[kind].copy()
        if interim:
            keep |= self._pending[kind]
            keep[list(self._rewritten[kind])] = False
        return rowset, snapshot.without(rowset, ~keep)
