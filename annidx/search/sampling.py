"""Fitting what a score means to an archive: a sample of its pictures, each compared with all."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from annidx.search import recognise
from annidx.search.calibration import Sample, fit
from annidx.search.chance import Chance
from annidx.search.recognise import Archive
from annidx.search.sightings import Sightings, none, together
from annidx.search.vectors import Rows

ROWS = 1000
"""So many pictures are compared with all."""
COMPARED = 50_000_000
"""Fewer are, where that makes so many pairs: they are enough to fit tails to,"""
FEWEST = 250
"""but no fewer: they have to tell of all kinds of pictures."""
MATCHES = 20_000
"""Fewer are, once so many matches were seen: slides of one template match by the hundred."""
SEED = 6

_TOGETHER = 64


def of_archive(archive: Archive, *, cast: recognise.Cast = recognise.SCAN) -> Chance:
    """Fit the chance of matches to an archive.

    Its pictures are compared as a search with default views does, so that what such a search would
    not find does not count; of pairs that matter, one in ten is missed that is found from its other
    picture only. The same archive gives the same. In CPU time it costs 5 to 20 s for the second
    looks, and for all views to be compared 1 s for each 1,000 pictures, 54 s for 50,000 to 200,000;
    above, a `cast` by graph is cheaper.

    Parameters
    ----------
    archive : Archive
    cast : Cast, optional
        What finds candidates; by default all views are compared.
    """
    sample = drawn(archive, cast=cast)
    return fit(sample, int(archive.prints.live.sum()))


def drawn(archive: Archive, *, cast: recognise.Cast = recognise.SCAN) -> Sample:
    """Return the matches of some pictures of an archive, at random, but each time the same ones."""
    live = np.flatnonzero(archive.prints.live)
    count = min(ROWS, max(FEWEST, COMPARED // max(len(live), 1)))
    order = np.random.default_rng(SEED).permutation(live)[:count]
    rows, parts = [order[:0]], [none()]
    for some, found in _compared(archive, order, cast):
        rows.append(some)
        parts.append(found)
        if sum(map(len, parts)) >= MATCHES:
            break
    return _sample(archive, np.concatenate(rows), together(parts))


def _compared(
    archive: Archive, order: Rows, cast: recognise.Cast
) -> Iterator[tuple[Rows, Sightings]]:
    for start in range(0, len(order), _TOGETHER):
        some = order[start : start + _TOGETHER]
        asked = archive.take(some)
        found = recognise.of_pictures(archive, asked, views="default", cast=cast)
        apart = found.where(some[found.one] != found.other)
        ones = some[apart.one]
        yield some, Sightings(ones, apart.other, apart.distances, apart.maps, apart.looks)


def _sample(archive: Archive, rows: Rows, found: Sightings) -> Sample:
    every, at = np.unique(np.concatenate([rows, found.one, found.other]), return_inverse=True)
    told = archive.classes(every)[at]
    own, one, other = np.split(told, [len(rows), len(rows) + len(found)])
    looks = found.looks
    nothing = np.zeros(0, np.float32)
    seen = (nothing, nothing) if looks is None else (looks.scores, looks.structures)
    return Sample(rows, own, found.one, found.other, *seen, found.distances, one, other)
