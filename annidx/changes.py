"""What an index knows of its files, and what the walk makes of it: keep, carry, hash or extract."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from annidx.images.scan import is_inside
from annidx.model import READABLE, File
from annidx.sanity import Loss
from annidx.store.manifest import Kind, SegmentEntry
from annidx.store.rowset import Rows, Rowset, without
from annidx.store.snapshot import Snapshot

YOUNG_NS = 2_000_000_000
"""A file modified so shortly before it was read may have changed since without a newer mtime
(file systems count in steps of up to two seconds)."""

CANDIDATES = 8
"""A file at a new path is compared with at most so many known pictures of its size."""

Decision = Literal["keep", "carry", "hash", "extract"]

_CHUNK = 65_536
_NO_PICTURES = frozenset({"not-a-picture", "video"})
_SAME = ("root_id", "size", "mtime_ns", "device", "inode")
_NUMBERS = (
    *("root_id", "size", "mtime_ns", "device", "inode"),
    *("read_ns", "image_id", "first_seen_ns"),
)


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
    if is_young(known):
        return "hash"
    same_place = (file.root_id, file.path) == (before.root_id, before.path)
    return "keep" if same_place and file.companions == before.companions else "carry"


def is_young(known: Known) -> bool:
    """Tell whether a file was very young when it was read; see :data:`YOUNG_NS`."""
    return known.file.mtime_ns > known.read_ns - YOUNG_NS


class _Rows:
    """The live rows of one kind, as columns: about 100 bytes a row, and not one object."""

    def __init__(self, opened: Snapshot, kind: Kind) -> None:
        self.kind = kind
        self.rowset: Rowset = opened.pictures if kind == "pictures" else opened.other
        self.live = np.flatnonzero(self.rowset.live)
        self.kept = np.zeros(len(self.rowset), np.bool_)
        self.rewritten = np.zeros(len(self.rowset), np.bool_)
        self.forgotten = np.zeros(len(self.rowset), np.bool_)
        self.carried = np.zeros(len(self.rowset), np.bool_)  # rewritten, with the same picture
        self.displaced = np.zeros(len(self.rowset), np.bool_)
        self.spoiled = np.zeros(len(self.rowset), np.bool_)  # rewritten, and unreadable now
        self._numbers = {name: self.rowset.numbers(name) for name in _NUMBERS}
        self._hashes = self.rowset.fixed("content_hash")
        self._statuses, self._names = self.rowset.labels("status")
        self._has_companions = self.rowset.filled("companions")
        # Python's own hash: 64 bits, salted; what it finds is compared with the path.
        hashes: list[int] = []
        same: list[int] = []
        for chunk in self.chunks():
            paths = opened.paths(chunk, self.rowset)
            hashes += map(hash, paths)
            facts = (self._numbers[name][chunk].tolist() for name in _SAME)
            same += map(hash, zip(paths, *facts, strict=True))
        keys = np.array(hashes, np.int64)
        order = np.argsort(keys, kind="stable")
        self._set_keys(keys[order], self.live[order])
        plain = self._is_plain()[self.live]
        keys = np.array(same, np.int64)[plain]
        order = np.argsort(keys, kind="stable")
        self._set_same(keys[order], self.live[plain][order])
        by_size = np.argsort(self._numbers["size"][self.live], kind="stable")
        self._size_rows = self.live[by_size]
        self._sizes = self._numbers["size"][self._size_rows]

    @property
    def numbers(self) -> npt.NDArray[np.int64]:
        """The number of each row's picture, (rows,)."""
        return self._numbers["image_id"]

    def chunks(self) -> Iterator[Rows]:
        """Yield the live rows in pieces."""
        for start in range(0, len(self.live), _CHUNK):
            yield self.live[start : start + _CHUNK]

    def _is_plain(self) -> npt.NDArray[np.bool_]:
        """Tell of which rows it is enough to know that their files are as they were, (rows,)."""
        quiet = [at for at, name in enumerate(self._names) if name in READABLE | _NO_PICTURES]
        numbers = self._numbers
        old = numbers["mtime_ns"] <= numbers["read_ns"] - YOUNG_NS
        return np.asarray(
            old
            & (numbers["inode"] != 0)
            & ~self._has_companions
            & np.isin(self._statuses, np.array(quiet, np.int32))
        )

    def _set_same(self, keys: npt.NDArray[np.int64], rows: Rows) -> None:
        self._same, self._same_rows = array("q", keys.tobytes()), rows

    def unchanged(self, key: int) -> int:
        """Return the plain row whose path and facts have that hash, -1 when there is none."""
        at = bisect_left(self._same, key)
        if at < len(self._same) and self._same[at] == key:
            return int(self._same_rows[at])
        return -1

    def _set_keys(self, keys: npt.NDArray[np.int64], rows: Rows) -> None:
        self._keys, self._key_rows = keys, rows
        self._bisected = array("q", keys.tobytes())  # one look-up takes a tenth of numpy's time

    def with_key(self, key: int) -> list[int]:
        """Return the live rows whose path has that hash, the newest first."""
        start = stop = bisect_left(self._bisected, key)
        while stop < len(self._bisected) and self._bisected[stop] == key:
            stop += 1
        return [int(self._key_rows[at]) for at in range(stop - 1, start - 1, -1)]

    def of_size(self, file: File) -> list[int]:
        """Return some rows of a file's size, those with its inode or time first."""
        start, stop = np.searchsorted(self._sizes, [file.size, file.size + 1])
        if start == stop:
            return []
        rows = self._size_rows[start:stop]
        same = self._numbers["mtime_ns"][rows] == file.mtime_ns
        if file.inode:
            same = same + 2 * (self._numbers["inode"][rows] == np.uint64(file.inode))
        return [int(row) for row in rows[np.argsort(-same.astype(int), kind="stable")][:CANDIDATES]]

    def earlier_ones(self) -> Rows:
        """Return the live rows whose path or number occurs again in a later row."""
        numbers = self._numbers["image_id"][self.live]
        order = np.argsort(numbers, kind="stable")
        found = [
            rows[:-1][keys[:-1] == keys[1:]]
            for keys, rows in (
                (self._keys, self._key_rows),
                (numbers[order], self.live[order]),
            )
        ]
        return np.unique(np.concatenate(found))

    def in_both(self, other: _Rows) -> list[tuple[int, int]]:
        """Return (row here, row there) of the paths that occur in both."""
        common = np.intersect1d(self._keys, other._keys)
        return [
            (int(self._key_rows[here]), int(other._key_rows[there]))
            for here, there in zip(
                np.searchsorted(self._keys, common),
                np.searchsorted(other._keys, common),
                strict=True,
            )
        ]

    def forget(self, rows: Sequence[int] | Rows) -> None:
        """Take rows for rewritten, so that nothing finds them any more."""
        self.rewritten[rows] = self.forgotten[rows] = True
        left = ~self.rewritten[self._key_rows]
        self._set_keys(self._keys[left], self._key_rows[left])
        left = ~self.rewritten[self._same_rows]
        self._set_same(np.array(self._same, np.int64)[left], self._same_rows[left])
        left = ~self.rewritten[self._size_rows]
        self._sizes, self._size_rows = self._sizes[left], self._size_rows[left]
        self.live = self.live[~self.rewritten[self.live]]

    def age(self, row: int, first: int) -> tuple[bool, int]:
        """Return what orders rows of one path: whether it was left, and when it was read."""
        return row >= first, int(self._numbers["read_ns"][row])

    def known(self, row: int) -> Known:
        """Return a row."""
        number, value = self._numbers, self.rowset.value
        companions = value("companions", row) if self._has_companions[row] else ()
        file = File(
            int(number["root_id"][row]),
            value("path", row),
            int(number["size"][row]),
            int(number["mtime_ns"][row]),
            int(number["device"][row]),
            int(number["inode"][row]),
            tuple(companions),
        )
        return Known(
            self.kind,
            row,
            file,
            int(number["read_ns"][row]),
            self._hashes[row].tobytes(),
            self._names[self._statuses[row]],
            int(number["image_id"][row]),
            int(number["first_seen_ns"][row]),
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

    def keep_unchanged(self, file: File, path: bytes) -> bool:
        """Keep the row of a file that is just as it was; False when that takes a closer look.

        Nearly all files of nearly all builds, so without making a :class:`Known` of the row: a
        hash of 64 bits over the path and all facts decides, which is wrong once in 2^64 / rows.
        """
        if file.companions or not file.inode:
            return False
        key = hash((path, *(getattr(file, name) for name in _SAME)))
        for rows in self._rows.values():
            row = rows.unchanged(key)
            if row >= 0:
                rows.kept[row] = True
                return True
        return False

    def reason(self, known: Known) -> str:
        """Return why a file could not be read, as it was said then."""
        return str(self._rows[known.kind].rowset.value("error", known.row))

    def count(self, kind: Kind) -> int:
        """Return the number of rows of a kind, removed ones included."""
        return len(self._rows[kind].rowset)

    def path(self, known: Known) -> bytes:
        """Return the absolute path of a row."""
        return self._opened.folders[known.file.root_id] + known.file.path

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

    def rewrite(self, known: Known, *, same: bool = True) -> None:
        """Note that a new row takes the place of this one, with the same picture or another."""
        rows = self._rows[known.kind]
        rows.rewritten[known.row], rows.carried[known.row] = True, same
        rows.kept[known.row] = False

    def spoil(self, known: Known) -> None:
        """Note that a picture that could be read cannot be read any more."""
        self._rows[known.kind].spoiled[known.row] = True

    def displace(self, path: bytes) -> None:
        """Note that another picture lies at a path now; what lay there may be found elsewhere."""
        known = self.at(path)
        if known is not None:
            self._rows[known.kind].displaced[known.row] = True

    def lives_on(self, known: Known) -> bool:
        """Tell whether a row is kept, or a new row has taken its place."""
        rows = self._rows[known.kind]
        return bool(rows.kept[known.row] or rows.rewritten[known.row])

    def removed_pictures(self) -> int:
        """Count the pictures that are neither kept nor rewritten."""
        rows = self._rows["pictures"]
        return int((rows.rowset.live & ~rows.kept & ~rows.rewritten).sum())

    def losses(
        self,
        next_image_id: int,
        leaves_out: Callable[[bytes], bool],
        *,
        interim: bool = False,
        cleared: Callable[[], Collection[bytes]] = frozenset,
    ) -> list[Loss]:
        """Return for each root how many of its pictures are gone or spoiled so far.

        Parameters
        ----------
        next_image_id : int
            Pictures from this number on were not in the snapshot.
        leaves_out : callable
            Told a path relative to its root; True for what is left out on purpose.
        interim : bool
            While the walk goes on nobody knows what is gone.
        cleared : callable
            Gives the absolute paths of what is gone since somebody cleared up.
        """
        rows = self._rows["pictures"]
        whose = rows.rowset.numbers("root_id")
        live = rows.rowset.live & ~rows.forgotten & (rows.numbers < next_image_id)
        gone = live & ~rows.kept & ~rows.rewritten & (not interim)
        at = np.flatnonzero(gone)
        paths = rows.rowset.values("path", at)
        on_purpose = np.fromiter(map(leaves_out, paths), np.bool_, len(paths))
        if len(at):
            known = cleared()
            on_purpose |= [path in known for path in self._opened.paths(at)]
        gone[at[on_purpose]] = False
        return [
            Loss(
                folder,
                int((live & (whose == root_id)).sum()),
                int((gone & (whose == root_id)).sum()),
                int((rows.spoiled & (whose == root_id)).sum()),
            )
            for root_id, folder in self._opened.root_paths.items()
        ]

    def supersede(self, first: Mapping[Kind, int]) -> None:
        """Forget the rows that interrupted builds have replaced.

        Rows from `first` on are what they left: a path or a number may occur in the snapshot and
        there, or there twice.
        """
        for rows in self._rows.values():
            rows.forget(rows.earlier_ones())
        pictures, other = self._rows["pictures"], self._rows["other"]
        for row, there in pictures.in_both(other):
            age = pictures.age(row, first["pictures"])
            if row < first["pictures"] and there >= first["other"]:
                other.forget([there])  # looked at again, and counted as lost if it still is
            elif age < other.age(there, first["other"]):
                pictures.forget([row])
            else:
                other.forget([there])

    def entries(self, kind: Kind, *, interim: bool = False) -> tuple[Rowset, list[SegmentEntry]]:
        """Return the rows of a kind, and its segments with all that is not kept removed.

        With `interim`, whatever has no new row yet is still there, unless its path has one.
        """
        rows = self._rows[kind]
        keep = rows.kept | ~(rows.rewritten | rows.displaced) if interim else rows.kept
        return rows.rowset, without(rows.rowset, ~keep)

    def kept_from(self, row: int, image_id: int = 0) -> int:
        """Count the pictures from a row and a number on that are kept, or carried over."""
        rows = self._rows["pictures"]
        return int(((rows.kept | rows.carried) & (rows.numbers >= image_id))[row:].sum())
