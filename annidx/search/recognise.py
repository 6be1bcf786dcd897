"""Finding pictures by fingerprint: a wide net, then a second look at what it caught."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import chain, count

import numpy as np
import numpy.typing as npt

from annidx import fingerprints
from annidx.asking import Views
from annidx.fingerprints import Floats
from annidx.search import net, refine
from annidx.search.alignment import composed, inverse
from annidx.search.classes import classes
from annidx.search.copies import Copies, Keys
from annidx.search.net import Caught
from annidx.search.seen_before import SeenBefore
from annidx.search.sightings import Sightings, equal, none, together
from annidx.search.threads import ahead
from annidx.search.vectors import Flags, Rows, Stored, Vectors
from annidx.search.views import variants

RADIUS = 1.0
"""Distance of the unit vectors within which a picture is looked at."""
ROUNDS = (8, 24, 72, 256)
"""So many of the nearest are looked at; more, where one of the first or a third of those looked at
last matched well, and then four times as many each time. Of 700 edits among 100,000 pictures the
original is one of the nearest 8 for .976, of 24 for .977, of 256 for .986."""
CHEAP = 72
"""Beyond so many, what matches is judged by chance: receipts score well by the hundred."""
WELL, HOLDS = 0.75, 6.0
"""Score and independent values of what matches well before. Pieces of one photo reach FLOOR by the
hundred, drawings that hold less WELL; further looks would find no edits."""
FLOOR = 0.5
"""Scores below are no match of anything; 99 in 100 unrelated candidates have one."""

_TOGETHER = 512
_LOOKS = 2048


@dataclass(frozen=True)
class Archive:
    """What is stored of all rows of a snapshot, as far as the fingerprint needs it.

    Attributes
    ----------
    prints : Vectors
        The fingerprints, 256 bytes a row.
    views : Vectors
        The same as vectors of views, `fingerprints.SLOTS` a row.
    grays, thumbs : Vectors
    copies : Copies
        Rows that are the same picture: what stands for them is searched, they come along.
    """

    prints: Vectors
    views: Vectors
    grays: Vectors
    thumbs: Vectors
    copies: Copies

    def only(self, among: Flags) -> Archive:
        """Return the same with fewer rows to be found: those of `among`, (n,) bool."""
        prints = self.prints.only(among)
        views = self.views.only(np.repeat(among, fingerprints.SLOTS))
        return Archive(prints, views, self.grays, self.thumbs, self.copies.only(prints.live))

    @cached_property
    def _classes(self) -> npt.NDArray[np.int8]:
        return np.full(len(self.prints), -1, np.int8)

    def classes(self, rows: Rows) -> npt.NDArray[np.int8]:
        """Return the classes of some rows, (m,) int8; see :func:`search.classes.classes`."""
        told = self._classes
        new = np.unique(rows[told[rows] < 0])
        told[new] = classes(self.grays.take(new))
        return told[rows]

    @cached_property
    def searched(self) -> Vectors:
        """The views of what stands for all."""
        return self.views.only(np.repeat(self.copies.first, fingerprints.SLOTS))

    def take(self, rows: Rows) -> Pictures:
        """Return some rows."""
        return Pictures(self.prints.take(rows), self.grays.take(rows), self.thumbs.take(rows))


@dataclass(frozen=True, slots=True)
class Pictures:
    """What is stored of some pictures: fingerprints, grays and thumbs, (m, width) uint8 each."""

    prints: Stored
    grays: Stored
    thumbs: Stored

    def __len__(self) -> int:
        return len(self.prints)

    def at(self, places: Rows) -> Pictures:
        """Return some of them."""
        return Pictures(self.prints[places], self.grays[places], self.thumbs[places])

    def contents(self) -> Floats:
        """Return what of each picture is compared, (m, 2, 3) float32: its innermost view."""
        there = fingerprints.present(self.prints)[:, : fingerprints.VIEWS]
        last = fingerprints.VIEWS - 1 - there[:, ::-1].argmax(axis=1)
        every = fingerprints.regions_of(self.prints)
        return np.asarray(every[np.arange(len(there)), last], np.float32)


def matches_well(found: Sightings, asked: Pictures | None = None) -> Flags:
    """Judge by the scores alone, (m,) bool."""
    del asked
    if found.looks is None:
        return np.zeros(len(found), np.bool_)
    return (found.looks.scores >= WELL) & (found.looks.structures >= HOLDS)


@dataclass(frozen=True, slots=True)
class Cast:
    """What finds the pictures near to variants.

    Attributes
    ----------
    caught : callable
        Takes vectors of views, codes and owners as :func:`net.scan`, and how many rows an owner may
        have at most.
    first : int
        So many are asked for at first, where each more takes time.
    judge : callable
        Tells which sightings are matches, (m,) bool: a search looks on for as long as a third of
        the last are. Takes sightings and the pictures that their `one` counts, None for rows.
    """

    caught: Callable[[Vectors, Stored, Rows, int], Caught]
    first: int = ROUNDS[-1]
    judge: Callable[[Sightings, Pictures | None], Flags] = matches_well


def _scanned(vectors: Vectors, codes: Stored, owners: Rows, most: int) -> Caught:
    return net.scan(vectors, codes, owners, radius=RADIUS, most=most)


SCAN = Cast(_scanned)
"""Compares variants with all views."""


def of_pictures(
    archive: Archive,
    asked: Pictures,
    *,
    views: Views,
    keys: Keys | None = None,
    floor: float = FLOOR,
    cast: Cast = SCAN,
) -> Sightings:
    """Return the rows that match some pictures; `one` counts the pictures.

    Parameters
    ----------
    archive : Archive
    asked : Pictures
    views : {'fast', 'default', 'thorough'}
    keys : (m,) int64, optional
        Of the pictures, as those of the archive's copies: rows of a like key are the same picture.
    floor : float
        Least score.
    cast : Cast
        Finds what is to be looked at.
    """
    search = _Search(archive, asked, None, views, floor, cast, parts=True)
    found = search.found(search.begun())
    if keys is not None:
        holding = archive.copies.holding(keys)
        there = np.flatnonzero(holding >= 0)
        copies = found.other == holding[found.one]
        found = together([found.where(~copies), equal(there, holding[there])])
    at, rows = archive.copies.spread(found.other)
    return replace(found.where(at), other=rows)


def of_rows(
    archive: Archive,
    rows: Rows,
    *,
    views: Views,
    floor: float = FLOOR,
    cast: Cast = SCAN,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Sightings]:
    """Yield pairs of some rows with any live row, `one` and `other` rows, one < other.

    Copies are left out but for one of each. Some pairs come twice, if they look different from both
    sides: what fitted better then comes last.
    `progress` is told how many rows were asked, of how many.
    Crops need no looking for larger pictures: those are asked for their crops, if all are asked.
    """
    leaders = np.unique(archive.copies.stands[rows])
    parts = len(leaders) < int(archive.copies.first.sum())
    before = SeenBefore(len(archive.prints))

    def begun(start: int) -> tuple[Rows, _Search, tuple[Sightings, Rows]]:
        some = leaders[start : start + _TOGETHER]
        search = _Search(archive, archive.take(some), some, views, floor, cast, parts, before)
        return some, search, search.begun()

    asked = 0
    # The next net is cast while this one is looked through, which keeps a processor busy.
    for some, search, first in ahead(begun, range(0, len(leaders), _TOGETHER), threads=1):
        found = search.found(first)
        found = replace(found, one=some[found.one])
        asked += len(some)
        if progress is not None:
            progress(asked, len(leaders))
        yield found.swapped(found.one > found.other)


class _Search:
    """Looks for some pictures: at the nearest of each, and further where many of those match.

    Parameters
    ----------
    archive : Archive
    asked : Pictures
    rows : (m,) intp, optional
        Which rows they are, ascending, if they are any.
    views, floor, cast
        As :func:`of_pictures`.
    parts : bool
        Also as parts of larger pictures.
    before : SeenBefore, optional
        What was looked at in earlier searches for rows.
    """

    def __init__(
        self,
        archive: Archive,
        asked: Pictures,
        rows: Rows | None,
        views: Views,
        floor: float,
        cast: Cast,
        parts: bool,
        before: SeenBefore | None = None,
    ) -> None:
        self._archive, self._asked, self._rows = archive, asked, rows
        self._views, self._floor, self._cast, self._parts = views, floor, cast, parts
        self._before = before

    def begun(self) -> tuple[Sightings, Rows]:
        """Cast the first net, which depends on nothing that other searches found."""
        return self._caught(np.arange(len(self._asked)), self._cast.first)

    def found(self, first: tuple[Sightings, Rows]) -> Sightings:
        """Return what matches; `one` counts the pictures asked, `first` is what was begun."""
        (caught, ranks), held = first, self._cast.first
        found, looked, done = [none()], [none()], 0
        going = np.ones(len(self._asked), np.bool_)
        for most in chain(ROUNDS, (ROUNDS[-1] * 4**power for power in count(1))):
            if most > held:
                held = max(most, ROUNDS[-1])
                caught, ranks = self._caught(np.flatnonzero(going), held)
            place = self._places(caught.other)
            wanted = going[caught.one] | np.where(place >= 0, going[place], False)
            part = caught.where((ranks >= done) & (ranks < most) & wanted)
            part, known = self._unknown(part)
            matched = _looked(self._archive, self._asked, part, self._floor)
            looked.append(part)
            found.append(matched)
            if most < CHEAP:
                matched = matched.where(matches_well(matched))
            else:
                matched = self._matches(matched)
            going &= self._counts(matched, known) >= ((most - done) / 3 if done else 1)
            if not going.any():
                break
            done = most
        if self._before is not None and self._rows is not None:
            self._before.add(self._rows, together(looked), self._matches(together(found)))
        return together(found)

    def _matches(self, found: Sightings) -> Sightings:
        if self._rows is None:
            return found.where(self._cast.judge(found, self._asked))
        return found.where(self._cast.judge(replace(found, one=self._rows[found.one]), None))

    def _places(self, rows: Rows) -> Rows:
        """Return which of the pictures asked some rows are, -1 for none."""
        if self._rows is None:
            return np.full(len(rows), -1, np.intp)
        at = np.minimum(np.searchsorted(self._rows, rows), len(self._rows) - 1)
        return np.where(self._rows[at] == rows, at, -1)

    def _unknown(self, part: Sightings) -> tuple[Sightings, Sightings]:
        """Return what was not looked at before, and what was and matched."""
        if self._before is None or self._rows is None:
            return part, none()
        known, matched = self._before.knows(self._rows[part.one], part.other, part.distances)
        return part.where(~known), part.where(known & matched)

    def _counts(self, *matched: Sightings) -> Rows:
        """Return how many matches each picture has."""
        counts = np.zeros(len(self._asked), np.intp)
        for each in matched:
            place = self._places(each.other)
            every = np.concatenate([each.one, place[place >= 0]])
            counts += np.bincount(every, minlength=len(counts))
        return counts

    def _caught(self, which: Rows, most: int) -> tuple[Sightings, Rows]:
        """Return the nearest rows of some of the pictures, and the rank of each for its picture.

        Of two that found each other, only the nearer pair counts, with the better rank of both.
        """
        caught = self._cast_out(which, most)
        if self._rows is not None:
            caught = caught.where(self._rows[caught.one] != caught.other)
        order = np.lexsort((caught.distances, caught.one))
        caught = caught.where(order)
        ranks = np.arange(len(order)) - np.searchsorted(caught.one, caught.one)
        if self._rows is None:
            return caught, ranks
        own = self._rows[caught.one]
        low, high = np.minimum(own, caught.other), np.maximum(own, caught.other)
        order = np.lexsort((caught.distances, high, low))
        low, high = low[order], high[order]
        starts = np.ones(len(order), np.bool_)
        starts[1:] = (low[1:] != low[:-1]) | (high[1:] != high[:-1])
        begins = np.flatnonzero(starts)
        best = np.minimum.reduceat(ranks[order], begins) if len(begins) else ranks
        return caught.where(order[begins]), best

    def _cast_out(self, which: Rows, most: int) -> Sightings:
        asked, archive = self._asked.at(which), self._archive
        tried = variants(
            *(asked.prints, asked.grays, asked.thumbs), views=self._views, parts=self._parts
        )
        found = self._cast.caught(archive.searched, tried.codes, tried.owners, most)
        owners = tried.owners[found.variants]
        inner = fingerprints.regions_of(asked.prints)[owners, tried.views[found.variants]]
        outer = fingerprints.regions_of(archive.prints.take(found.rows))
        outer = outer[np.arange(len(outer)), found.views]
        # A point of the row's frame, in its view, in the picture's view, in the picture's frame.
        maps = composed(composed(inner, tried.maps[found.variants]), inverse(outer))
        return Sightings(which[owners], found.rows, found.distances, maps)


def _looked(archive: Archive, asked: Pictures, caught: Sightings, floor: float) -> Sightings:
    """Take a second look; keep what scores `floor` or more."""
    order = np.lexsort((caught.one, caught.other))
    parts = [order[start : start + _LOOKS] for start in range(0, len(order), _LOOKS)]

    def work(part: Rows) -> Sightings:
        return _looked_at(archive, asked, caught.where(part), floor)

    # One query has but one part: to start threads for it would take longer than the looks.
    return together([none(), *(map(work, parts) if len(parts) == 1 else ahead(work, parts))])


def _looked_at(archive: Archive, asked: Pictures, some: Sightings, floor: float) -> Sightings:
    rows, others = np.unique(some.other, return_inverse=True)
    owners, ones = np.unique(some.one, return_inverse=True)
    first, second = asked.at(owners), archive.take(rows)
    inner, outer = first.contents(), second.contents()
    maps = composed(composed(inverse(inner[ones]), some.maps), outer[others])
    contents = refine.Contents(
        np.concatenate([first.grays, second.grays]), np.concatenate([inner, outer])
    )
    # From the same side whoever asks, so that no score depends on the order of rows.
    swap = _numbers(first.prints)[ones] < _numbers(second.prints)[others]
    sides = ones, others + len(owners)
    maps[swap] = inverse(maps[swap])
    which, looks = refine.look(contents, np.where(swap, *sides), np.where(swap, *sides[::-1]), maps)
    keep = np.flatnonzero(looks.scores >= floor)
    which, looks = which[keep], looks.at(keep)
    back = looks.maps.copy()
    back[swap[which]] = inverse(back[swap[which]])
    looks = replace(looks, maps=back)
    found = some.where(which)
    maps = composed(composed(inner[ones[which]], looks.maps), inverse(outer[others[which]]))
    return Sightings(found.one, found.other, found.distances, maps, looks)


def _numbers(prints: Stored) -> npt.NDArray[np.uint64]:
    """Return one number for each of some fingerprints, (m,), equal where they are."""
    words = np.ascontiguousarray(prints).view("<u8")
    return np.asarray((words * _factors(words.shape[1])).sum(axis=1, dtype=np.uint64))


@cache
def _factors(count: int) -> npt.NDArray[np.uint64]:
    return np.random.default_rng(0).integers(1, 2**63, count, np.uint64) * 2 + 1
