"""Records in, segments out; small old segments are taken in on the way.

The merge rule is one line: going back from the newest segment, each is written anew together with
the new rows as long as it has fewer than twice the rows gathered so far. So segments double in
size, their number grows with the logarithm of the number of builds, and a row is rewritten about
that often. Apart from that, a segment is rewritten when a quarter of its rows are removed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from annidx.errors import IndexDamaged
from annidx.model import READABLE, Record
from annidx.store import files, snapshot
from annidx.store.manifest import Kind, SegmentEntry
from annidx.store.segment import ROWS
from annidx.store.snapshot import Rowset

COMPACT_SHARE = 0.25


class SegmentWriter:
    """Collects records and writes them as segments of at most 65,536 rows.

    Parameters
    ----------
    index : Path
    next_image_id : int
        The number that the next new picture gets.
    now_ns : int
        What new pictures get as `first_seen_ns`.

    Attributes
    ----------
    entries : list of SegmentEntry
        What has been written, in order.
    """

    def __init__(self, index: Path, next_image_id: int, now_ns: int) -> None:
        self.index = index
        self.next_image_id = next_image_id
        self.now_ns = now_ns
        self.entries: list[SegmentEntry] = []
        self._waiting: dict[Kind, list[Record]] = {"pictures": [], "other": []}

    def add(self, record: Record) -> None:
        """Take one record; new ones get their number."""
        if record.image_id < 0:
            record = replace(record, image_id=self.next_image_id, first_seen_ns=self.now_ns)
            self.next_image_id += 1
        kind: Kind = "pictures" if record.status in READABLE else "other"
        self._waiting[kind].append(record)
        if len(self._waiting[kind]) >= ROWS:
            self._write(kind)

    def absorb(self, rowset: Rowset, entries: Sequence[SegmentEntry]) -> list[SegmentEntry]:
        """Take in old segments that should be written anew; return the entries that stay.

        Parameters
        ----------
        rowset : Rowset
            The old rows of one kind.
        entries : Sequence of SegmentEntry
            What is still live of them, in the same order; empty segments are left out already.
        """
        if not entries:
            return []
        waiting = self._waiting[entries[0].kind]
        chosen = plan_absorb([(each.live, each.rows) for each in entries], len(waiting))
        taken = []
        for at in chosen:
            place = rowset.place(entries[at].sha256)
            path = rowset.segments[place].path
            if files.sha256_of(path) != entries[at].sha256:  # never launder damage into a new file
                message = f"{path}: its sha256 is not what the manifest says. "
                message += 'Run "annidx build --rebuild" to extract everything anew.'
                raise IndexDamaged(message)
            live = np.ones(entries[at].rows, np.bool_)
            for start, count in entries[at].removed:
                live[start : start + count] = False
            taken += list(rowset.segments[place].records(np.flatnonzero(live)))
        waiting[:0] = taken
        return [entry for at, entry in enumerate(entries) if at not in chosen]

    def flush(self) -> None:
        """Write what is waiting."""
        for kind in self._waiting:
            while self._waiting[kind]:
                self._write(kind)

    def _write(self, kind: Kind) -> None:
        records = self._waiting[kind][:ROWS]
        self._waiting[kind] = self._waiting[kind][ROWS:]
        self.entries.append(snapshot.add_segment(self.index, records, kind))


def plan_absorb(sizes: Sequence[tuple[int, int]], new_rows: int) -> list[int]:
    """Decide which segments are written anew together with `new_rows` rows.

    Parameters
    ----------
    sizes : Sequence of (int, int)
        Live rows and all rows of each segment, oldest first.
    new_rows : int

    Returns
    -------
    list of int
        Places in `sizes`, ascending.

    Examples
    --------
    >>> plan_absorb([(50_000, 50_000), (300, 300), (150, 150)], 100)
    [1, 2]
    >>> plan_absorb([(50_000, 50_000), (300, 300)], 0)
    []
    >>> plan_absorb([(700, 1000), (5000, 5000)], 0)
    [0]
    """
    chosen = {at for at, (live, rows) in enumerate(sizes) if rows - live > COMPACT_SHARE * rows}
    gathered = new_rows + sum(sizes[at][0] for at in chosen)
    for at in reversed(range(len(sizes))):
        if at in chosen:
            continue
        live = sizes[at][0]
        if live >= 2 * gathered or gathered + live > ROWS:
            break
        chosen.add(at)
        gathered += live
    return sorted(chosen)
