"""Rows of a snapshot, counted through its segments.

Rows are counted in the order of the manifest, 'pictures' apart from 'other'. Removed rows keep
their number and are not live.
"""

from __future__ import annotations

import bisect
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from annidx.model import Record
from annidx.store.manifest import SegmentEntry
from annidx.store.segment import Segment, taken

Rows = npt.NDArray[np.intp]


class Rowset:
    """The rows of all segments of one kind, counted through.

    Parameters
    ----------
    segments : Sequence of (SegmentEntry, Segment)
    covered : Collection of str
        Segments (by their sha256) that some graph counts rows of.
    """

    def __init__(
        self, segments: Sequence[tuple[SegmentEntry, Segment]], covered: Collection[str] = ()
    ) -> None:
        self.covered = covered
        self.entries = [entry for entry, _ in segments]
        self.segments = [segment for _, segment in segments]
        self.starts = np.cumsum([0, *(entry.rows for entry in self.entries)])
        self._starts: list[int] = self.starts.tolist()
        self._columns: dict[str, list[pa.Array]] = {}

    def __len__(self) -> int:
        return int(self.starts[-1])

    @cached_property
    def live(self) -> npt.NDArray[np.bool_]:
        """True for rows that are not removed, (rows,)."""
        mask = np.ones(len(self), np.bool_)
        for begin, entry in zip(self.starts[:-1], self.entries, strict=True):
            for start, count in entry.removed:
                mask[begin + start : begin + start + count] = False
        return mask

    def numbers(self, name: str) -> npt.NDArray[Any]:
        """Return an integer column over all rows, (rows,)."""
        columns = [segment.numbers(name) for segment in self.segments]
        return np.concatenate(columns) if columns else np.zeros(0, np.int64)

    def values(self, name: str, rows: Rows) -> list[Any]:
        """Return a column at some rows as Python values."""
        return self.columns((name,), rows)[name]

    def columns(self, names: Sequence[str], rows: Rows) -> dict[str, list[Any]]:
        """Return several columns at some rows as Python values, by name."""
        result: dict[str, list[Any]] = {name: [None] * len(rows) for name in names}
        for segment, places, local in self._split(rows):
            for name in names:
                into = result[name]
                values = taken(segment.column(name), local)
                for place, value in zip(places.tolist(), values, strict=True):
                    into[place] = value
        return result

    def fixed(self, name: str) -> npt.NDArray[np.uint8]:
        """Return a column of fixed width, such as a hash, over all rows, (rows, width)."""
        blocks = [segment.fixed(name) for segment in self.segments]
        return np.concatenate(blocks) if blocks else np.zeros((0, 1), np.uint8)

    def filled(self, name: str) -> npt.NDArray[np.bool_]:
        """Tell for all rows whether a list is not empty, (rows,)."""
        parts = [segment.filled(name) for segment in self.segments]
        return np.concatenate(parts) if parts else np.zeros(0, np.bool_)

    def lists(self, *names: str) -> Iterator[list[list[Any]]]:
        """Yield for each segment some columns as Python values; none is kept."""
        for segment in self.segments:
            yield [column.to_pylist() for column in segment.facts(names)]

    def labels(self, name: str) -> tuple[npt.NDArray[np.int32], list[str]]:
        """Return a column of few different texts as numbers over all rows, and the texts."""
        texts: list[str] = []
        parts = [np.zeros(0, np.int32)]
        for segment in self.segments:
            encoded = segment.column(name).dictionary_encode()
            parts.append(encoded.indices.to_numpy() + np.int32(len(texts)))
            texts += encoded.dictionary.to_pylist()
        return np.concatenate(parts), texts

    def value(self, name: str, row: int) -> Any:
        """Return a column at one row; quick, for look-ups row by row."""
        if name not in self._columns:
            self._columns[name] = [segment.column(name) for segment in self.segments]
        owner = bisect.bisect_right(self._starts, row) - 1
        return self._columns[name][owner][row - self._starts[owner]].as_py()

    def table(self, rows: Rows, names: Iterable[str]) -> pa.Table:
        """Return ascending rows as a table that a writer takes; at least one."""
        wanted = list(names)
        parts = [segment.table(local, wanted) for segment, _, local in self._split(rows)]
        return pa.concat_tables(parts)

    def live_table(self, names: Iterable[str]) -> pa.Table:
        """Return all live rows, at least one, as a table that a writer takes."""
        return self.table(np.flatnonzero(self.live), names)

    def descriptors(self, name: str) -> list[npt.NDArray[np.uint8]]:
        """Return the stored bytes of a descriptor, one mapped block a segment."""
        return [segment.descriptor(name) for segment in self.segments]

    def holding(self, rows: Sequence[int]) -> list[Segment]:
        """Return the segments that hold some rows."""
        owners = np.unique(np.searchsorted(self.starts, np.array(rows), side="right") - 1)
        return [self.segments[owner] for owner in owners]

    def place(self, sha256: str) -> int:
        """Return the place of a segment among the segments."""
        return [entry.sha256 for entry in self.entries].index(sha256)

    def records(self, rows: Rows) -> Iterator[Record]:
        """Yield rows as records; `rows` must be ascending."""
        for segment, _, local in self._split(rows):
            yield from segment.records(local)

    def _split(self, rows: Rows) -> Iterator[tuple[Segment, Rows, Rows]]:
        """Yield (segment, places in `rows`, row numbers within the segment)."""
        owners = np.searchsorted(self.starts, rows, side="right") - 1
        for owner in sorted(set(owners.tolist())):  # np.unique takes longer for a few rows
            places = np.flatnonzero(owners == owner)
            yield self.segments[owner], places, np.asarray(rows)[places] - self.starts[owner]


def without(rowset: Rowset, gone: npt.NDArray[np.bool_]) -> list[SegmentEntry]:
    """Return the entries of a rowset with more rows removed.

    Segments without live rows go, unless a graph counts their rows.
    """
    kept = []
    live = rowset.live & ~gone
    for entry, start in zip(rowset.entries, rowset.starts[:-1], strict=True):
        mask = live[start : start + entry.rows]
        if mask.any() or entry.sha256 in rowset.covered:
            kept.append(replace(entry, removed=_runs(~mask)))
    return kept


def _runs(mask: npt.NDArray[np.bool_]) -> tuple[tuple[int, int], ...]:
    """Return the runs (start, count) of True."""
    edges = np.flatnonzero(np.diff(mask.astype(np.int8), prepend=0, append=0))
    pairs = edges.reshape(-1, 2).tolist()
    return tuple((start, stop - start) for start, stop in pairs)
