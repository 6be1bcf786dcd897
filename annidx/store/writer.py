"""Records in, segments out; small old segments are taken in on the way.

The merge rule is one line: going back from the newest segment, each is written anew together with
the new rows as long as it has fewer than twice the rows gathered so far. So segments double in
size, their number grows with the logarithm of the number of builds, and a row is rewritten about
that often. Apart from that, a segment is rewritten when a quarter of its rows are removed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from annidx.errors import IndexDamaged
from annidx.model import READABLE, File, Record
from annidx.store import files, snapshot
from annidx.store.journal import Journal
from annidx.store.manifest import Kind, SegmentEntry
from annidx.store.segment import OF_FILE, ROWS, table_of, with_columns
from annidx.store.snapshot import Rowset

COMPACT_SHARE = 0.25
_BATCH = 32  # rows that a kill may lose


class Carried(NamedTuple):
    """An old row that goes on under new facts.

    Attributes
    ----------
    row : int
        Where it is in the old rows.
    file : File
    read_ns : int
    is_copy : bool
        True when the old row's picture lives on: this is another one, with a number of its own.
    """

    row: int
    file: File
    read_ns: int
    is_copy: bool


class SegmentWriter:
    """Collects rows and writes them as segments of at most 65,536 rows.

    Parameters
    ----------
    index : Path
    next_image_id : int
        The number that the next new picture gets.
    now_ns : int
        What new pictures get as `first_seen_ns`.
    journal : Journal, optional
        Gets all new rows in small batches, long before they are a segment.

    Attributes
    ----------
    entries : list of SegmentEntry
        What has been written, in order.
    """

    def __init__(
        self, index: Path, next_image_id: int, now_ns: int, journal: Journal | None = None
    ) -> None:
        self.index = index
        self.next_image_id = next_image_id
        self.now_ns = now_ns
        self.entries: list[SegmentEntry] = []
        self._journal = journal
        self._records: dict[Kind, list[Record]] = {"pictures": [], "other": []}
        self._numbers: dict[Kind, list[tuple[int, int]]] = {"pictures": [], "other": []}
        self._tables: dict[Kind, list[pa.Table]] = {"pictures": [], "other": []}

    def add(self, record: Record) -> None:
        """Take one record; new ones get their number."""
        is_new = record.image_id < 0
        number = self._new_id() if is_new else record.image_id
        kind: Kind = "pictures" if record.status in READABLE else "other"
        # Beside the record: to replace two of its fields would take longer than all the rest.
        self._numbers[kind].append((number, self.now_ns if is_new else record.first_seen_ns))
        self._records[kind].append(record)
        if len(self._records[kind]) >= _BATCH:
            self._gather(kind)

    def take(self, table: pa.Table, kind: Kind) -> None:
        """Take rows that have their numbers."""
        if self._journal is not None:
            self._journal.append(table, kind)
        self._tables[kind].append(table)
        if sum(len(each) for each in self._tables[kind]) >= ROWS:
            self._write(kind)

    def carry(self, rowset: Rowset, carried: Sequence[Carried], names: Iterable[str]) -> None:
        """Take old rows over under new facts, with the named descriptors; at least one."""
        in_order = sorted(carried, key=lambda each: each.row)
        kind = rowset.entries[0].kind
        table = rowset.table(np.array([each.row for each in in_order]), names)
        ids, seen = table["image_id"].to_pylist(), table["first_seen_ns"].to_pylist()
        for at, each in enumerate(in_order):
            if each.is_copy:
                ids[at], seen[at] = self._new_id(), self.now_ns
        changed = {name: [getattr(each.file, name) for each in in_order] for name in OF_FILE}
        changed |= {"read_ns": [each.read_ns for each in in_order]}
        changed |= {"image_id": ids, "first_seen_ns": seen}
        self.take(with_columns(table, changed), kind)

    def absorb(
        self, rowset: Rowset, entries: Sequence[SegmentEntry], names: Iterable[str]
    ) -> list[SegmentEntry]:
        """Take in old segments that should be written anew; return the entries that stay.

        Parameters
        ----------
        rowset : Rowset
            The old rows of one kind.
        entries : Sequence of SegmentEntry
            What is still live of them, in the same order; empty segments are left out already.
        names : iterable of str
            The descriptors to take over.
        """
        if not entries:
            return []
        kind = entries[0].kind
        self._gather(kind)
        waiting = sum(len(table) for table in self._tables[kind])
        chosen = plan_absorb([(each.live, each.rows) for each in entries], waiting)
        taken = []
        for at in chosen:
            segment = rowset.segments[rowset.place(entries[at].sha256)]
            if files.sha256_of(segment.path) != entries[at].sha256:  # never launder damage
                message = f"{segment.path}: its sha256 is not what the manifest says. "
                message += 'Run "annidx build --rebuild" to extract everything anew.'
                raise IndexDamaged(message)
            live = np.ones(entries[at].rows, np.bool_)
            for start, count in entries[at].removed:
                live[start : start + count] = False
            taken.append(segment.table(np.flatnonzero(live), names))
        self._tables[kind][:0] = taken
        return [entry for at, entry in enumerate(entries) if at not in chosen]

    def flush(self) -> None:
        """Write what is waiting."""
        for kind in self._tables:
            self._gather(kind)
            while self._tables[kind]:
                self._write(kind)

    @property
    def has_rows(self) -> bool:
        """True when any row was taken."""
        return bool(self.entries) or any(self._records.values()) or any(self._tables.values())

    def checkpoint(self) -> None:
        """Bring all rows into the journal."""
        for kind in self._tables:
            self._gather(kind)

    def _new_id(self) -> int:
        self.next_image_id += 1
        return self.next_image_id - 1

    def _gather(self, kind: Kind) -> None:
        """Turn the records that are waiting into a table: smaller, and in the journal."""
        records, self._records[kind] = self._records[kind], []
        if records:
            numbers, seen = zip(*self._numbers[kind], strict=True)
            self._numbers[kind].clear()
            changed = {"image_id": numbers, "first_seen_ns": seen}
            self.take(with_columns(table_of(records, kind), changed), kind)

    def _write(self, kind: Kind) -> None:
        table = pa.concat_tables(self._tables[kind])
        rest = table.slice(ROWS)
        self._tables[kind] = [rest] if len(rest) else []
        self.entries.append(snapshot.add_table(self.index, table.slice(0, ROWS), kind))


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
