"""Finding pictures by fingerprint: a wide net, then a second look at what it caught."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from annidx import fingerprints
from annidx.asking import Views
from annidx.fingerprints import Floats
from annidx.search import net, refine
from annidx.search.alignment import composed, inverse
from annidx.search.net import Caught
from annidx.search.sightings import Sightings, none, once, together
from annidx.search.threads import ahead
from annidx.search.vectors import Flags, Rows, Stored, Vectors
from annidx.search.views import variants

RADIUS = 1.0
"""Distance of the unit vectors within which a picture is looked at."""
ROUNDS = (24, 72, 256)
"""So many of the nearest are looked at; more, where a third of those looked at last matched."""
FLOOR = 0.5
"""Scores below are no match of anything; 99 in 100 unrelated candidates have one."""

_TOGETHER = 128
_LOOKS = 4096


@dataclass(frozen=True, slots=True)
class Archive:
    """What is stored of all rows of a snapshot, as far as the fingerprint needs it.

    Attributes
    ----------
    prints : Vectors
        The fingerprints, 256 bytes a row.
    views : Vectors
        The same as vectors of views, `fingerprints.SLOTS` a row.
    grays, thumbs : Vectors
    """

    prints: Vectors
    views: Vectors
    grays: Vectors
    thumbs: Vectors

    def only(self, among: Flags) -> Archive:
        """Return the same with fewer rows to be found: those of `among`, (n,) bool."""
        views = self.views.only(np.repeat(among, fingerprints.SLOTS))
        return Archive(self.prints.only(among), views, self.grays, self.thumbs)

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


Cast = Callable[[Vectors, Stored, Rows], Caught]
"""Finds what is near to variants: vectors of views, codes and owners as :func:`net.scan` takes."""


def scanned(vectors: Vectors, codes: Stored, owners: Rows) -> Caught:
    """Compare variants with all views."""
    return net.scan(vectors, codes, owners, radius=RADIUS, most=ROUNDS[-1])


def of_pictures(
    archive: Archive,
    asked: Pictures,
    *,
    views: Views,
    floor: float = FLOOR,
    cast: Cast = scanned,
) -> Sightings:
    """Return the rows that match some pictures; `one` counts the pictures."""
    caught = _caught(archive, asked, views, cast, parts=True)
    return _looked_in_turns(archive, asked, caught, floor)


def of_rows(
    archive: Archive,
    rows: Rows,
    *,
    views: Views,
    floor: float = FLOOR,
    cast: Cast = scanned,
) -> Iterator[Sightings]:
    """Yield the pairs of some rows with any live row, each once, `one` and `other` rows.

    Crops need no looking for larger pictures: those are asked for their crops, if all are asked.
    """
    parts = len(rows) < int(archive.prints.live.sum())
    found = []
    for start in range(0, len(rows), _TOGETHER):
        some = rows[start : start + _TOGETHER]
        part = _caught(archive, archive.take(some), views, cast, parts=parts)
        part = Sightings(some[part.one], part.other, part.distances, part.maps)
        found.append(part.where(part.one != part.other))
    yield _looked_in_turns(archive, None, once(together(found)), floor)


def _caught(
    archive: Archive, asked: Pictures, views: Views, cast: Cast, *, parts: bool
) -> Sightings:
    """Return the nearest rows of some pictures, by distance for each; `one` counts the pictures."""
    tried = variants(asked.prints, asked.grays, asked.thumbs, views=views, parts=parts)
    found = cast(archive.views, tried.codes, tried.owners)
    owners = tried.owners[found.variants]
    inner = fingerprints.regions_of(asked.prints)[owners, tried.views[found.variants]]
    outer = fingerprints.regions_of(archive.prints.take(found.rows))
    outer = outer[np.arange(len(outer)), found.views]
    # A point of the row's frame, in its view, in the picture's view, in the picture's frame.
    maps = composed(composed(inner, tried.maps[found.variants]), inverse(outer))
    return Sightings(owners, found.rows, found.distances, maps)


def _looked_in_turns(
    archive: Archive, asked: Pictures | None, caught: Sightings, floor: float
) -> Sightings:
    """Look at the nearest of each, and further where many of those match."""
    both = asked is None
    rank = _ranks(caught, symmetric=both)
    found, before = [none()], 0
    going = np.ones(len(archive.prints if asked is None else asked), np.bool_)
    for most in ROUNDS:
        wanted = (rank >= before) & (rank < most)
        wanted &= going[caught.one] | going[caught.other] if both else going[caught.one]
        part = _looked(archive, asked, caught.where(wanted), floor)
        found.append(part)
        matched = np.concatenate([part.one, part.other]) if both else part.one
        going &= np.bincount(matched, minlength=len(going)) >= (most - before) / 3
        before = most
    return together(found)


def _ranks(caught: Sightings, *, symmetric: bool) -> Rows:
    """Return the place of each pair among those of its picture, by distance, from 0.

    Of two rows that were both asked, the better of both places.
    """
    result = np.full(len(caught), len(caught), np.intp)
    for owner in (caught.one, caught.other) if symmetric else (caught.one,):
        order = np.lexsort((caught.distances, owner))
        place = np.arange(len(order)) - np.searchsorted(owner[order], owner[order])
        np.minimum.at(result, order, place)
    return result


def _looked(archive: Archive, asked: Pictures | None, caught: Sightings, floor: float) -> Sightings:
    """Take a second look; keep what scores `floor` or more."""
    order = np.lexsort((caught.one, caught.other))
    parts = [order[start : start + _LOOKS] for start in range(0, len(order), _LOOKS)]

    def work(part: Rows) -> Sightings:
        return _looked_at(archive, asked, caught.where(part), floor)

    return together([none(), *ahead(work, parts)])


def _looked_at(
    archive: Archive, asked: Pictures | None, some: Sightings, floor: float
) -> Sightings:
    rows, others = np.unique(some.other, return_inverse=True)
    owners, ones = np.unique(some.one, return_inverse=True)
    first = archive.take(owners) if asked is None else asked.at(owners)
    second = archive.take(rows)
    inner, outer = first.contents(), second.contents()
    maps = composed(composed(inverse(inner[ones]), some.maps), outer[others])
    contents = refine.Contents(
        np.concatenate([first.grays, second.grays]), np.concatenate([inner, outer])
    )
    which, looks = refine.look(contents, others + len(owners), ones, maps)
    keep = np.flatnonzero(looks.scores >= floor)
    which, looks = which[keep], looks.at(keep)
    found = some.where(which)
    maps = composed(composed(inner[ones[which]], looks.maps), inverse(outer[others[which]]))
    return Sightings(found.one, found.other, found.distances, maps, looks)
