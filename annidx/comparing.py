"""What matching pictures of a snapshot are to each other: their facts, and what a look at both saw.

Joins store and search: search/differences.py measures, explaining.py judges and words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import starmap
from typing import Any

import numpy as np

from annidx import explaining
from annidx.fingerprints import Floats
from annidx.kinds import Explanation, Facts, Kind, Seen
from annidx.model import Record
from annidx.search import differences, overlaying
from annidx.search.alignment import inverse
from annidx.search.recognise import Pictures
from annidx.search.sightings import Sightings
from annidx.search.threads import ahead
from annidx.search.vectors import Rows
from annidx.store.snapshot import Snapshot

AT_ONCE = 512
"""So many pairs are compared at once."""

_COLUMNS = (
    *("width", "height", "orientation", "size", "format", "content_hash", "pixel_hash"),
    *("taken", "subsecond", "camera", "exposure"),
)

Judged = tuple[Facts, Facts, Seen | None]


class Comparer:
    """Compares pictures that match by fingerprint; safe to share between threads.

    Parameters
    ----------
    opened : Snapshot
    take : callable
        Returns what is stored of some rows.
    """

    def __init__(self, opened: Snapshot, take: Callable[[Rows], Pictures]) -> None:
        self._opened, self._take = opened, take

    def kinds(self, found: Sightings) -> list[Kind]:
        """Return what the pictures of some pairs of rows are to each other."""
        return list(starmap(explaining.kind, self._judged(found)))

    def explanations(self, found: Sightings) -> list[Explanation]:
        """Return what each `other` is to its `one`, both rows."""
        return list(starmap(explaining.explain, self._judged(found)))

    def of_query(self, own: Facts, asked: Pictures, found: Sightings) -> list[Explanation]:
        """Return what each `other` is to one picture that need not be in the archive."""
        ones = np.zeros(len(found), np.intp)
        theirs = facts(self._opened, found.other)
        every = ((own, each) for each in theirs)
        part = _judged(every, asked, ones, self._take(found.other), np.arange(len(found)), found)
        return list(starmap(explaining.explain, part))

    def _judged(self, found: Sightings) -> Iterator[Judged]:
        every = np.arange(len(found))
        parts = (every[start : start + AT_ONCE] for start in range(0, len(found), AT_ONCE))
        for part in ahead(self._compared, map(found.where, parts)):
            yield from part

    def _compared(self, found: Sightings) -> list[Judged]:
        rows, at = np.unique(np.concatenate([found.one, found.other]), return_inverse=True)
        every, stored = facts(self._opened, rows), self._take(rows)
        ones, others = np.split(at, 2)
        pairs = ((every[one], every[other]) for one, other in zip(ones, others, strict=True))
        return list(_judged(pairs, stored, ones, stored, others, found))


def _judged(
    facts_of: Iterable[tuple[Facts, Facts]],
    first: Pictures,
    ones: Rows,
    second: Pictures,
    others: Rows,
    found: Sightings,
) -> Iterator[Judged]:
    """Yield what is to be judged of some pairs; copies need no look."""
    pairs = list(facts_of)
    seen: list[Seen | None] = [None] * len(pairs)
    left = np.array([at for at, pair in enumerate(pairs) if not explaining.is_copy(*pair)], np.intp)
    if len(left) and found.looks is not None:
        maps = inverse(found.looks.maps[left])
        looked = _seen(first, ones[left], second, others[left], maps)
        for at, each in zip(left.tolist(), looked, strict=True):
            seen[at] = each
    for (one, other), look in zip(pairs, seen, strict=True):
        yield one, other, look


def _seen(first: Pictures, ones: Rows, second: Pictures, others: Rows, maps: Floats) -> list[Seen]:
    """Compare some pairs, and from the other side, too, where that may change the verdict."""
    same = first is second
    parts = [first] if same else [first, second]
    pictures = overlaying.Pictures(
        np.concatenate([each.grays for each in parts]),
        np.concatenate([each.thumbs for each in parts]),
    )
    contents = np.concatenate([each.contents() for each in parts])
    places = others if same else others + len(first)
    seen = list(differences.rows(differences.differences(pictures, ones, places, maps, contents)))
    doubtful = np.array([at for at, each in enumerate(seen) if explaining.doubtful(each)], np.intp)
    if len(doubtful):
        sides = places[doubtful], ones[doubtful], inverse(maps[doubtful])
        backs = differences.rows(differences.differences(pictures, *sides, contents))
        for at, back in zip(doubtful.tolist(), backs, strict=True):
            seen[at] = replace(seen[at], back=back)
    return seen


def facts(opened: Snapshot, rows: Rows) -> list[Facts]:
    """Return what is known of some rows beside their pixels."""
    columns = opened.pictures.columns(_COLUMNS, rows)
    paths = opened.paths(rows)
    return [Facts(*values) for values in zip(*columns.values(), paths, strict=True)]


def record_facts(record: Record) -> Facts:
    """Return what is known of a query picture beside its pixels."""
    file = record.file
    known: dict[str, Any] = {name: getattr(record, name) for name in _COLUMNS if name != "size"}
    return Facts(**known, size=file.size, path=file.path)
