"""The books of a build: which known rows live on, what is written anew, and the counts."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace

from annidx.changes import Known, KnownFiles, is_young
from annidx.images.extract import Outcome, Task, Unchanged, Vanished
from annidx.model import IGNORED, READABLE, File, Record
from annidx.store.manifest import Kind, Root
from annidx.store.writer import Carried, SegmentWriter

_COSTLY = frozenset({"timeout", "crashed", "too-large"})
_CARRY_ROWS = 250  # what a kill may lose of them; 18 us a row, with 1000 it is 11, with 32 75


class Ledger:
    """Books what became of each file: its row is kept, carried under new facts, or added.

    Parameters
    ----------
    known : KnownFiles
    writer : SegmentWriter
    roots : Mapping of int to Root
    names : Sequence of str
        The descriptors that the index holds.

    Attributes
    ----------
    done, done_bytes : int
        Files that were looked at, and their sizes.
    added, decoded, hashed, failed, vanished : int
        See :class:`annidx.model.BuildReport`.
    """

    def __init__(
        self,
        known: KnownFiles,
        writer: SegmentWriter,
        roots: Mapping[int, Root],
        names: Sequence[str],
    ) -> None:
        self.known, self.writer, self._roots, self.names = known, writer, roots, names
        self._carried: dict[Kind, list[Carried]] = {"pictures": [], "other": []}
        self._refreshed: list[Known] = []
        self.done = self.done_bytes = 0
        self.added = self.decoded = self.hashed = self.failed = self.vanished = 0

    def book(self, task: Task, outcome: Outcome) -> None:
        """Book what became of a file that a worker looked at."""
        self.done += 1
        self.done_bytes += task.file.size
        if isinstance(outcome, Vanished):
            self.vanished += 1
        elif isinstance(outcome, Unchanged):
            self.hashed += 1
            self._unchanged(task, outcome)
        else:
            self._read(task.path, outcome)

    def _read(self, path: bytes, record: Record) -> None:
        """Book a file that was read: added, unless it is as broken, or no picture, as before."""
        known = self.known.at(path)
        facts = (record.status, record.file, record.content_hash)
        broken = record.status not in READABLE
        same = known and broken and (known.status, known.file, known.content_hash) == facts
        if known and same and self.known.reason(known) == record.error:
            if record.status in _COSTLY and is_young(known):
                self.carry(known, record.file, record.read_ns)  # or it would cost that again
            else:
                self.known.keep(known)
        else:
            self._add(path, record, known)

    def _unchanged(self, task: Task, outcome: Unchanged) -> None:
        """Keep or carry the row whose content a file still has, or has now."""
        digest = outcome.content_hash
        alike = self.known.alike(task.file, task.path)
        same = [known for known in alike if known.content_hash == digest]
        here = next((known for known in same if self.known.path(known) == task.path), None)
        if here and outcome.file == here.file:
            self.known.keep(here)
            self._refreshed.append(here._replace(read_ns=outcome.read_ns))
            return
        moved = next((known for known in same if self._has_moved(known, outcome.file)), None)
        is_copy = not (here or moved)
        if not here:
            self.known.displace(task.path)
        self.carry(here or moved or same[0], outcome.file, outcome.read_ns, is_copy=is_copy)
        self.added += is_copy

    def _has_moved(self, known: Known, file: File) -> bool:
        """Tell whether a file is the one that was known under another path, not a copy of it."""
        before, root = known.file, self._roots.get(known.file.root_id)
        if self.known.lives_on(known):
            return False
        is_same = bool(file.inode) and (file.device, file.inode) == (before.device, before.inode)
        try:
            there = os.lstat(self.known.path(known))
        except OSError:
            return is_same or (root is not None and root.status == "online")  # or out of sight
        # Another file lies there now: pictures may have changed places.
        another = there.st_dev == before.device and there.st_ino != before.inode
        return is_same and another and root is not None and not root.moved

    def _add(self, path: bytes, record: Record, known: Known | None) -> None:
        """Write what a file holds now; the same content keeps its number."""
        if known is None:
            alike = self.known.alike(record.file, path)  # moved, and extracted anew nevertheless
            same = [each for each in alike if each.content_hash == record.content_hash]
            known = next((each for each in same if self._has_moved(each, record.file)), None)
        is_same = known is not None and record.content_hash == known.content_hash != bytes(32)
        if known is not None:
            if is_same:
                number, first_seen_ns = known.image_id, known.first_seen_ns
                record = replace(record, image_id=number, first_seen_ns=first_seen_ns)
            self.known.rewrite(known, same=is_same)
            if known.kind == "pictures" and record.status not in READABLE:
                self.known.spoil(known)
        if record.status in READABLE:
            self.added += not is_same
            self.decoded += 1
        elif record.status not in IGNORED:
            self.failed += 1
        self.writer.add(record)

    def carry(self, known: Known, file: File, read_ns: int, *, is_copy: bool = False) -> None:
        """Write a known row anew under new facts, without decoding the picture."""
        if not is_copy:
            self.known.rewrite(known)
        self._carried[known.kind].append(Carried(known.row, file, read_ns, is_copy))
        if len(self._carried[known.kind]) >= _CARRY_ROWS:
            self.settle()

    def settle(self) -> None:
        """Write the rows that are to be carried."""
        for kind, carried in self._carried.items():
            if carried:
                self.writer.carry(self.known.entries(kind)[0], carried, self.names)
            carried.clear()

    def refresh(self) -> None:
        """Note of young files that they were hashed: worth a row when rows are written anyway."""
        for known in self._refreshed:
            self.carry(known, known.file, known.read_ns)
        self.settle()
