"""What an index knows of its files, and what the walk makes of it: keep, carry, hash or extract."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from annidx.images.scan import is_inside
from annidx.model import File
from annidx.store import snapshot
from annidx.store.manifest import Kind, SegmentEntry
from annidx.store.snapshot import Rows, Rowset, Snapshot

YOUNG_NS = 2_000_000_000
"""A file modified so shortly before it was read may have changed since without a newer mtime
(file systems count in steps of up to two seconds)."""

CANDIDATES = 8
"""A file at a new path is compared with at most so many known pictures of its size."""

Decision = Literal["keep", "carry", "hash", "extract"]

_CHUNK = 65_536


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
        'keep' the row; 'carry' it over under another root or with other companions; 'hash' the file
        again since it was very young when it was read; 'extract' it.
    """
    if known is None or anew or known.was_never_read:
        return "extract"
    before = known.file
    if (file.size, file.mtime_ns) != (before.size, before.mtime_ns):
        return "extract"
    # 0: the file system does not keep inodes. Another device: it is mounted elsewhere today.
    comparable = not moved and file.inode and before.inode and file.device == before.device
    if comparable and file.inode != before.inode:
        return "extract"
    if before.mtime_ns > known.read_ns - YOUNG_NS:
        return "hash"
    same_place = (file.root_id, file.path) == (before.root_id, before.path)
    return "keep" if same_place and file.companions == before.companions else "carry"


class _Rows:
    """The live rows of one kind, as columns: about 100 bytes a row, and not one object."""

    def __init__(self, opened: Snapshot, kind: Kind) -> None:
        self.kind = kind
        self.rowset: Rowset = opened.pictures if kind == "pictures" else opened.other
        self.live = np.flatnonzero(self.rowset.live)
        self.kept = np.zeros(len(self.rowset), np.bool_)
        self.rewritten = np.zeros(len(self.rowset), np.bool_)
        columns = ("root_id", "size", "mtime_ns", "device", "inode", "read_ns", "image_id")
        self._numbers = {name: self.rowset.numbers(name) for name in columns}
        # Python's own hash: 64 bits, salted; what it finds is compared with the path.
        hashes = [
            hash(path) for chunk in self.chunks() for path in opened.paths(chunk, self.rowset)
        ]
        keys = np.array(hashes, np.int64)
        order = np.argsort(keys, kind="stable")
        self._keys, self._key_rows = keys[order], self.live[order]
        by_size = np.argsort(self._numbers["size"][self.live], kind="stable")
        self._size_rows = self.live[by_size]
        self._sizes = self._numbers["size"][self._size_rows]

    def chunks(self) -> Iterator[Rows]:
        """Yield the live rows in pieces."""
        for start in range(0, len(self.live), _CHUNK):
            yield self.live[start : start + _CHUNK]

    def with_key(self, key: int) -> Iterator[int]:
        """Yield the live rows whose path has that hash, the newest first."""
        start, stop = np.searchsorted(self._keys, key), np.searchsorted(self._keys, key, "right")
        yield from reversed(self._key_rows[start:stop].tolist())

    def of_size(self, file: File) -> list[int]:
        """Return some rows of a file's size, those with its inode or time first."""
        start, stop = np.searchsorted(self._sizes, [file.size, file.size + 1])
        rows = self._size_rows[start:stop]
        same = self._numbers["mtime_ns"][rows] == file.mtime_ns
        if file.inode:
            same = same + 2 * (self._numbers["inode"][rows] == np.uint64(file.inode))
        return [int(row) for row in rows[np.argsort(-same.astype(int), kind="stable")][:CANDIDATES]]

    def supersede(self, first: int) -> None:
        """Mark live rows before `first` as rewritten whose path or number occurs again after it."""
        later = self._key_rows >= first
        doubled = self._key_rows[~later & np.isin(self._keys, self._keys[later])]
        numbers = self._numbers["image_id"]
        before = self.live[self.live < first]
        renamed = before[np.isin(numbers[before], numbers[first:])]
        self.rewritten[doubled] = self.rewritten[renamed] = True

    def known(self, row: int) -> Known:
        """Return a row."""
        number, value = self._numbers, self.rowset.value
        file = File(
            root_id=int(number["root_id"][row]),
            path=value("path", row),
            size=int(number["size"][row]),
            mtime_ns=int(number["mtime_ns"][row]),
            device=int(number["device"][row]),
            inode=int(number["inode"][row]),
            companions=tuple(value("companions", row)),
        )
        return Known(
            self.kind,
            row,
            file,
            int(number["read_ns"][row]),
            value("content_hash", row),
            value("status", row),
            int(number["image_id"][row]),
            value("first_seen_ns", row),
        )


class KnownFiles:
    """The live rows of a snapshot by path and by size, and which of them a build keeps.

    Parameters
    ----------
    opened : Snapshot
        Where a path occurs twice, the later row counts: it was left by an interrupted build.
    """

    def __init__(self, opened: Snapshot) -> None:
        self._opened = opened
        self._rows = {"pictures": _Rows(opened, "pictures"), "other": _Rows(opened, "other")}

    def at(self, path: bytes) -> Known | None:
        """Return what is known of an absolute path."""
        key = hash(path)
        for rows in self._rows.values():
            for row in rows.with_key(key):
                known = rows.known(row)
                if self.path(known) == path:
                    return known
        return None

    def count(self, kind: Kind) -> int:
        """Return the number of rows of a kind, removed ones included."""
        return len(self._rows[kind].rowset)

    def path(self, known: Known) -> bytes:
        """Return the absolute path of a row."""
        return os.path.join(self._opened.root_paths[known.file.root_id], known.file.path)

    def alike(self, file: File, path: bytes) -> list[Known]:
        """Return the rows whose content a new or changed file may have: of its path, of its size.

        Pictures only but for the path itself: what could not be read is cheap to look at again.
        """
        here = self.at(path)
        pictures = self._rows["pictures"]
        found = [pictures.known(row) for row in pictures.of_size(file)]
        return [here, *(each for each in found if each != here)] if here else found

    def any_inside(self, folder: bytes) -> bool:
        """Tell whether anything is known below a folder."""
        return any(True for _ in self._inside([folder]))

    def unsettled(self, folders: Sequence[bytes]) -> Iterator[tuple[bytes, Known]]:
        """Yield (absolute path, row) of the rows below some folders that do not live on already."""
        for path, rows, row in self._inside(folders):
            if not (rows.kept[row] or rows.rewritten[row]):
                yield path, rows.known(row)

    def _inside(self, folders: Sequence[bytes]) -> Iterator[tuple[bytes, _Rows, int]]:
        if not folders:
            return
        for rows in self._rows.values():
            for chunk in rows.chunks():
                paths = self._opened.paths(chunk, rows.rowset)
                for path, row in zip(paths, chunk.tolist(), strict=True):
                    if any(is_inside(path, folder) for folder in folders):
                        yield path, rows, row

    def keep(self, known: Known) -> None:
        """Keep a row as it is."""
        self._rows[known.kind].kept[known.row] = True

    def rewrite(self, known: Known) -> None:
        """Note that a new row takes the place of this one."""
        self._rows[known.kind].rewritten[known.row] = True
        self._rows[known.kind].kept[known.row] = False

    def lives_on(self, known: Known) -> bool:
        """Tell whether a row is kept, or a new row has taken its place."""
        rows = self._rows[known.kind]
        return bool(rows.kept[known.row] or rows.rewritten[known.row])

    def removed_pictures(self) -> int:
        """Count the pictures that are neither kept nor rewritten."""
        rows = self._rows["pictures"]
        return int((rows.rowset.live & ~rows.kept & ~rows.rewritten).sum())

    def supersede(self, first: Mapping[Kind, int]) -> None:
        """Note that rows from `first` on replace those of their path or number before them."""
        for rows in self._rows.values():
            rows.supersede(first[rows.kind])

    def entries(self, kind: Kind, *, interim: bool = False) -> tuple[Rowset, list[SegmentEntry]]:
        """Return the rows of a kind, and its segments with all that is not kept removed.

        With `interim`, whatever has no new row yet is still there.
        """
        rows = self._rows[kind]
        keep = rows.kept | ~rows.rewritten if interim else rows.kept
        return rows.rowset, snapshot.without(rows.rowset, ~keep)

    def kept_from(self, row: int) -> int:
        """Count the pictures from a row on that are kept."""
        return int(self._rows["pictures"].kept[row:].sum())
