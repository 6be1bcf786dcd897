"""Rows to answers: paths, kinds and flags of what a search has found. Joins store and search."""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from annidx.comparing import record_facts
from annidx.found import Answer, Group, Match, Matches
from annidx.graphs import vectors_of
from annidx.kinds import KINDS, NOTHING, Explanation, Facts, Kind
from annidx.model import File, Linkage, Record
from annidx.search import groups as grouping
from annidx.search.exact import Hits, nearest
from annidx.search.groups import RowGroup
from annidx.search.selfjoin import RowPairs, by_row
from annidx.search.sightings import Sightings
from annidx.search.vectors import Rows, Vectors, is_flat
from annidx.store.snapshot import Snapshot

Flags = npt.NDArray[np.bool_]

_SHOWN = ("image_id", "width", "height", "size", "format")
_NAMED = (*_SHOWN, "root_id", "path", "content_hash", "pixel_hash")
_NO_HASH = bytes(32)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is known of a query, as far as its matches depend on it.

    Attributes
    ----------
    label : str
        What to call it.
    file : File or None
        Where it lies (its path absolute and real), so that itself and its companions can be left
        out; None when there is nothing to leave out.
    content_hash, pixel_hash : bytes
        Zeros when there are no bytes to compare.
    is_flat : bool
        True when it has next to no information.
    size : (int, int)
        Width and height, upright; zeros when unknown.
    facts : Facts
        What else is known of it.
    """

    label: str
    file: File | None = None
    content_hash: bytes = _NO_HASH
    pixel_hash: bytes = _NO_HASH
    is_flat: bool = False
    size: tuple[int, int] = (0, 0)
    facts: Facts = NOTHING


def asked(label: str, record: Record) -> Asked:
    """Return what a query picture is asked with."""
    thumb = record.descriptors["thumb"]
    red = thumb[::3]  # two of 400 values that are 128 apart make a deviation of 4.5 at least
    flat = max(red) - min(red) < 128 and bool(is_flat(np.frombuffer(thumb, np.uint8)[None])[0])
    file = record.file if record.file.path else None
    size = record.width, record.height
    return Asked(
        *(label, file, record.content_hash, record.pixel_hash, flat),
        size=size[::-1] if record.orientation >= 5 else size,
        facts=record_facts(record),
    )


Explain = Callable[[Sightings], list[Explanation]]
"""Says what each `other` is to its `one`, both rows."""


class Named:
    """Rows with what answers say of them; each column is read once for all of them.

    Row by row the same takes milliseconds each.

    Parameters
    ----------
    opened : Snapshot
    rows : (m,) intp
        In any order, also repeatedly.
    apart : container of frozenset of bytes
        Pairs of `pixel_hash` that were decided to be no duplicates.

    Attributes
    ----------
    rows : (n,) intp
        Ascending, each once. A *place* is a number into them and into what follows.
    paths : list of bytes
        Absolute.
    """

    def __init__(
        self, opened: Snapshot, rows: Rows, apart: Container[frozenset[bytes]] = ()
    ) -> None:
        self._opened, self._apart = opened, apart
        self.rows: Rows = np.unique(rows)
        columns = opened.pictures.columns(_NAMED, self.rows)
        self.paths = opened.joined(columns["root_id"], columns["path"])
        self._shown = list(zip(*(columns[name] for name in _SHOWN), strict=True))
        self._contents, self._pixels = columns["content_hash"], columns["pixel_hash"]

    def _values(self, name: str) -> list[Any]:
        return self._opened.pictures.values(name, self.rows)

    @cached_property
    def flat(self) -> Flags:
        """Which rows have next to no information, (n,)."""
        return flat_rows(self._opened, self.rows)

    @cached_property
    def inodes(self) -> list[int]:
        """Inode of each row, 0 when unknown."""
        return self._values("inode")

    @cached_property
    def companions(self) -> list[list[bytes]]:
        """Names of the companions of each row."""
        return self._values("companions")

    def places(self, rows: Rows) -> list[int]:
        """Return the places of some of the rows."""
        places: list[int] = np.searchsorted(self.rows, rows).tolist()
        return places

    def asked(self, place: int) -> Asked:
        """Return a row as a query for which nothing is to be left out."""
        label, flat = os.fsdecode(self.paths[place]), bool(self.flat[place])
        return Asked(label, None, self._contents[place], self._pixels[place], is_flat=flat)

    def match(self, place: int, metric: str, query: Asked, told: Told) -> Match:
        """Return a row as a match of a query."""
        image_id, width, height, size, picture_format = self._shown[place]
        return Match(
            raw_path=self.paths[place],
            distance=told.distance,
            metric=metric,
            kind=told.kind or self.kind(place, query),
            transform=told.transform,
            image_id=image_id,
            width=width,
            height=height,
            size=size,
            format=picture_format,
            low_information=query.is_flat and bool(self.flat[place]),
            score=told.score,
            chance=told.chance,
            explanation=told.explanation,
            extrapolated=told.extrapolated,
        )

    def are_apart(self, place: int, query: Asked) -> bool:
        """Tell whether a row and a query were decided to be no duplicates."""
        return frozenset((self._pixels[place], query.pixel_hash)) in self._apart

    def kind(self, place: int, query: Asked) -> Kind:
        """Return what a row that nobody looked at is to a query."""
        if query.content_hash == _NO_HASH:  # no file: no bytes to compare
            return "similar"
        if self._contents[place] == query.content_hash:
            return "identical"
        return "same-pixels" if self._pixels[place] == query.pixel_hash else "similar"


def flat_rows(opened: Snapshot, rows: Rows) -> Flags:
    """Tell which pictures have next to no information, (m,) bool."""
    # In blocks: as floats, a million thumbs are 5 GB.
    flags = [is_flat(stored) for _, stored in vectors_of(opened, "thumb").blocks(rows)]
    return np.concatenate(flags) if flags else np.zeros(0, np.bool_)


@dataclass(frozen=True, slots=True)
class Found:
    """The matches of one query, and what became of the rest of its hits.

    Attributes
    ----------
    query : str
    matches : tuple of Match
        By (distance, path bytes), at most k.
    cut : bool
        True when k left some out.
    companions_left_out : int
        Companions of the query nearer than the first picture that k left out.
    """

    query: str
    matches: tuple[Match, ...]
    cut: bool
    companions_left_out: int

    def under(self, answer: Answer, k: int | None) -> Matches:
        """Return them with the answer that is true of them."""
        left_out = self.companions_left_out
        told = replace(answer, k=k, complete=not self.cut, companions_left_out=left_out)
        return Matches(self.query, self.matches, told)


class Told(NamedTuple):
    """What a search tells of one hit."""

    distance: float
    transform: str = "none"
    score: float | None = None
    chance: float | None = None
    explanation: Explanation | None = None
    extrapolated: bool | None = None

    @property
    def kind(self) -> Kind | None:
        """What was seen, None where nobody looked."""
        return None if self.explanation is None else self.explanation.kind


def told(
    hits: Hits,
    transforms: Mapping[int, str] | None = None,
    explained: Sequence[Explanation] | None = None,
) -> list[Told]:
    """Return what a search tells of each hit.

    Parameters
    ----------
    hits : Hits
    transforms : mapping of int to str, optional
        By row the transform of the query that was found near to it; None: 'none' for all.
    explained : sequence of Explanation, optional
        What each hit is to the query; None where nobody looked.
    """
    keys = hits.distances.tolist()
    if hits.seen is not None:
        scores = hits.seen.scores.astype(float).tolist()
        said = [None] * len(keys) if explained is None else explained
        apart, turns = hits.seen.distances.tolist(), hits.seen.transforms()
        beyond = hits.seen.extrapolated
        unsure = [None] * len(keys) if beyond is None else beyond.tolist()
        return list(map(Told, apart, turns, scores, keys, said, unsure))
    if transforms is None:
        return list(map(Told, keys))
    return [Told(key, transforms[row]) for key, row in zip(keys, hits.rows.tolist(), strict=True)]


def matches(
    named: Named,
    query: Asked,
    hits: Hits,
    metric: str,
    *,
    k: int | None,
    companions: bool,
    kinds: Container[str] = KINDS,
    told: Sequence[Told],
) -> Found:
    """Name the hits of one query; leave itself out and, unless `companions`, its companions.

    Parameters
    ----------
    named : Named
        It holds the hits' rows.
    query : Asked
    hits : Hits
    metric : str
    k : int or None
        At most so many matches.
    companions : bool
    kinds : container of str
        Only matches of these kinds.
    told : sequence of Told
        What the search tells of each hit.
    """
    places = named.places(hits.rows)
    itself = _itself(named, query.file, places)
    beside = set() if companions else _beside(named, query.file, itself, places)
    found: list[Match] = []
    left_out, cut = 0, False
    for _, _, at, place in sorted(
        (key, named.paths[place], at, place)
        for at, (key, place) in enumerate(zip(hits.distances.tolist(), places, strict=True))
        if place not in itself
    ):
        if (told[at].kind or named.kind(place, query)) not in kinds:
            continue
        if named.are_apart(place, query):
            continue
        if place in beside:
            left_out += 1
        elif len(found) == k:
            cut = True
            break
        else:
            found.append(named.match(place, metric, query, told[at]))
    return Found(query.label, tuple(found), cut, left_out)


def neighbours(
    opened: Snapshot, found: RowPairs, metric: str, *, k: int | None, explain: Explain
) -> list[Found]:
    """Return the neighbours of every row that is in a pair, by path bytes."""
    named = Named(opened, np.concatenate([found.one, found.other]))
    fetch = None if k is None else k + 1  # one more tells whether k cut short
    made = []
    for row, others, apart, at in by_row(found):
        hits = nearest(others, apart, cutoff=np.inf, k=fetch)
        if found.seen is not None:
            hits = replace(hits, seen=found.seen.where(at[: len(hits.rows)]).asked_as(row))
        explained = None if hits.seen is None else explain(hits.seen)
        (place,) = named.places(np.array([row]))
        asked = named.asked(place)
        every = told(hits, None, explained)
        part = matches(named, asked, hits, metric, k=k, companions=True, told=every)
        made.append((named.paths[place], part))
    return [part for _, part in sorted(made, key=itemgetter(0))]


def without_low_information(opened: Snapshot, found: RowPairs) -> tuple[RowPairs, int]:
    """Drop pairs with a picture without information unless their bytes are equal.

    One faint picture that is near to many flat ones would else make one giant group of them.

    Returns
    -------
    RowPairs
    int
        How many pictures are of that class and had such a pair.
    """
    rows, flat = np.unique(np.concatenate([found.one, found.other]), return_inverse=True)
    one, other = flat[: len(found)], flat[len(found) :]
    low = flat_rows(opened, rows)
    idle = (low[one] | low[other]) & ~_equal(opened, "content_hash", rows, one, other)
    aside = [at for at in np.union1d(one[idle], other[idle]) if low[at]]
    return found.where(~idle), len(aside)


def companion_counts(opened: Snapshot) -> npt.NDArray[np.int64]:
    """Return how many companions each picture has, (rows,)."""
    columns = [segment.column("companions") for segment in opened.pictures.segments]
    counts = [np.asarray(column.value_lengths(), np.int64) for column in columns]
    return np.concatenate(counts) if counts else np.zeros(0, np.int64)


def with_companions(opened: Snapshot) -> int:
    """Count the pictures beside which lies a RAW or JPEG half, a Live Photo video or a sidecar."""
    return int(((companion_counts(opened) > 0) & opened.pictures.live).sum())


def companion_pairs(opened: Snapshot, has: Flags, found: RowPairs) -> Flags:
    """Tell of which pairs one picture is a companion of the other: RAW and JPEG of one stem.

    Parameters
    ----------
    opened : Snapshot
    has : (rows,) bool
        Which rows have companions at all.
    found : RowPairs

    Returns
    -------
    (pairs,) bool
    """
    beside = np.zeros(len(found), np.bool_)
    near = np.flatnonzero(has[found.one] | has[found.other])
    one, other = found.one[near], found.other[near]
    belong = _belong_together(opened, np.unique(np.concatenate([one, other])))
    beside[near[np.isin(one * len(has) + other, belong)]] = True
    return beside


def _belong_together(opened: Snapshot, rows: Rows) -> npt.NDArray[np.int64]:
    """Return the pairs of rows of which one is a companion of the other, each as one number.

    The number is ``one * all rows + other``, with one < other.
    """
    paths = opened.paths(rows)
    row_of = dict(zip(paths, rows.tolist(), strict=True))
    names = opened.pictures.values("companions", rows)
    found = set()
    for path, row, beside in zip(paths, rows.tolist(), names, strict=True):
        for name in beside:
            other = row_of.get(_sibling(path, name))
            if other is not None:
                found.add(min(row, other) * len(opened.pictures) + max(row, other))
    return np.array(sorted(found), np.int64)


def groups(
    opened: Snapshot, vectors: Vectors, found: Sequence[RowGroup], linkage: Linkage
) -> list[Group]:
    """Return groups of rows with their paths and figures, numbered by (size, first path)."""
    rows = np.concatenate([np.zeros(0, np.intp), *(each.rows for each in found)])
    paths = iter(opened.paths(rows))
    sizes = iter(opened.pictures.values("size", rows))
    made = []
    for each in found:
        members = sorted((next(paths), next(sizes)) for _ in each.rows)
        names, numbers = zip(*members, strict=True)
        # Of two pictures, the distance that holds them together is the only one.
        pair = len(each.rows) == 2
        diameter = each.weakest if pair else grouping.diameter(vectors, each.rows)
        made.append((names, numbers, diameter, each.weakest, sum(numbers) - max(numbers)))
    made.sort(key=lambda group: (-len(group[0]), group[0]))
    return [
        Group(number, linkage, *facts, metric=vectors.descriptor.name)
        for number, facts in enumerate(made, start=1)
    ]


def _equal(opened: Snapshot, name: str, rows: Rows, one: Rows, other: Rows) -> Flags:
    number = numbered(opened, name, rows)
    return np.asarray(number[one] == number[other])


def numbered(opened: Snapshot, name: str, rows: Rows) -> Rows:
    """Return the values of a column as numbers that are equal where the values are, (m,)."""
    numbers: dict[bytes, int] = {}
    values = opened.pictures.values(name, rows)
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], np.intp)


def _itself(named: Named, asked: File | None, places: Sequence[int]) -> set[int]:
    """Return the places of the query's own file."""
    if asked is None:
        return set()
    return {place for place in places if _is_file(named, place, asked)}


def _is_file(named: Named, place: int, asked: File) -> bool:
    """Tell whether a row is a file: the same real path, or the same inode as of now.

    The stored inode may be old, and where the file system makes them up it says nothing.
    """
    path, inode = named.paths[place], named.inodes[place]
    if path == asked.path:
        return True
    if inode and asked.inode:
        return inode == asked.inode and _is_same(path, asked.path)
    alike = os.path.basename(path) == os.path.basename(asked.path)
    return alike and os.path.realpath(path) == asked.path


def _beside(named: Named, asked: File | None, itself: set[int], places: Sequence[int]) -> set[int]:
    """Return the places of what is a companion of the query's file, or has it as one."""
    if asked is None:
        return set()
    folder, name = os.path.split(asked.path)
    listed = {
        _sibling(named.paths[place], each) for place in itself for each in named.companions[place]
    }
    return {
        place
        for place in places
        if named.paths[place] in listed
        or (
            name in named.companions[place]
            and _is_same(os.path.dirname(named.paths[place]), folder)
        )
    }


def _sibling(path: bytes, name: bytes) -> bytes:
    return os.path.join(os.path.dirname(path), name)


def _is_same(path: bytes, asked: bytes) -> bool:
    """Tell whether two paths lead to the same file or folder now."""
    try:
        return path == asked or os.path.samefile(path, asked)
    except OSError:
        return False
