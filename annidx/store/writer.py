"""Records in, segments out; old segments are taken in on the way when they are told to be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from annidx.model import READABLE, File, Record
from annidx.store import snapshot
from annidx.store.journal import Journal
from annidx.store.manifest import Kind, SegmentEntry
from annidx.store.rowset import Rowset
from annidx.store.segment import OF_FILE, ROWS, Segment, table_of, with_columns

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
        self._checked: set[Path] = set()
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
        self._keep(table, kind)

    def carry(self, rowset: Rowset, carried: Sequence[Carried], names: Iterable[str]) -> None:
        """Take old rows over under new facts, with the named descriptors; at least one."""
        in_order = sorted(carried, key=lambda each: each.row)
        for segment in rowset.holding([each.row for each in in_order]):
            if segment.path not in self._checked:
                segment.sealed.check(anew=True)  # never launder damage
                self._checked.add(segment.path)
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

    def waiting(self, kind: Kind) -> int:
        """Return how many rows of a kind wait to be written."""
        self._gather(kind)
        return sum(len(table) for table in self._tables[kind])

    @property
    def written(self) -> int:
        """Rows of pictures in the segments that have been written."""
        return sum(entry.rows for entry in self.entries if entry.kind == "pictures")

    def absorb(self, rowset: Rowset, entries: Sequence[SegmentEntry], names: Iterable[str]) -> None:
        """Take in what is still live of old segments, to be written anew with what waits.

        Parameters
        ----------
        rowset : Rowset
            The old rows of one kind.
        entries : Sequence of SegmentEntry
            The segments, in the order of the rowset, with what is live of them.
        names : iterable of str
            The descriptors to take over.
        """
        if not entries:
            return
        kind = entries[0].kind
        self._gather(kind)
        waiting, self._tables[kind] = self._tables[kind], []
        for entry in entries:
            segment = rowset.segments[rowset.place(entry.sha256)]
            segment.sealed.check(anew=True)  # never launder damage
            live = np.ones(entry.rows, np.bool_)
            for start, count in entry.removed:
                live[start : start + count] = False
            if live.any():
                self._keep(segment.table(np.flatnonzero(live), names), kind)
        for table in waiting:
            self._keep(table, kind)

    def take_back(self, kind: Kind, names: Iterable[str]) -> None:
        """Take back small segments that were written for interim snapshots: they become one."""
        small = [each for each in self.entries if each.kind == kind and each.rows < ROWS // 2]
        if len(small) + bool(self.waiting(kind)) < 2:
            return
        self.entries = [each for each in self.entries if each not in small]
        opened = [(each, Segment(snapshot.segment_path(self.index, each), each)) for each in small]
        self.absorb(Rowset(opened), small, names)

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

    def _keep(self, table: pa.Table, kind: Kind) -> None:
        self._tables[kind].append(table)
        if sum(len(each) for each in self._tables[kind]) >= ROWS:
            self._write(kind)

    def _write(self, kind: Kind) -> None:
        table = pa.concat_tables(self._tables[kind])
        rest = table.slice(ROWS)
        self._tables[kind] = [rest] if len(rest) else []
        self.entries.append(snapshot.add_table(self.index, table.slice(0, ROWS), kind))
