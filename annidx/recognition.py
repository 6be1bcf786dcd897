"""Searches by fingerprint over one snapshot: net, second look, chance. Joins store and search."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from annidx import fingerprints
from annidx.asking import Views
from annidx.descriptors import FINGERPRINT, GRAY64, THUMB, VIEW, descriptor
from annidx.graphs import vectors_of
from annidx.search import recognise
from annidx.search.exact import Hits
from annidx.search.recognise import Archive, Pictures
from annidx.search.selfjoin import RowPairs
from annidx.search.sightings import Sightings
from annidx.search.vectors import Flags, Rows, Stored, Vectors
from annidx.store.snapshot import Snapshot

Chances = npt.NDArray[np.float64]


class Recognition:
    """Finds pictures by fingerprint; safe to share between threads.

    Parameters
    ----------
    snapshot : Snapshot
        Its index holds fingerprints.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    @cached_property
    def archive(self) -> Archive:
        """What is stored of all rows."""
        live = self._snapshot.pictures.live
        blocks = self._snapshot.pictures.descriptors(FINGERPRINT.name)
        present = [fingerprints.present(block).ravel() for block in blocks]
        there = np.concatenate([np.zeros(0, np.bool_), *present])
        views = [block.reshape(-1, VIEW.width) for block in blocks]
        return Archive(
            Vectors(FINGERPRINT, blocks, live),
            Vectors(VIEW, views, there & np.repeat(live, FINGERPRINT.slots)),
            vectors_of(self._snapshot, GRAY64.name),
            vectors_of(self._snapshot, THUMB.name),
        )

    @cached_property
    def wholes(self) -> Vectors:
        """The vectors of whole pictures."""
        archive = self.archive
        wholes = [block[:, : VIEW.width] for block in archive.prints.parts]
        return Vectors(VIEW, wholes, archive.prints.live)

    def search(
        self,
        stored: Stored,
        limit: float,
        chance: float,
        k: int | None,
        *,
        views: Views,
        among: Flags | None,
    ) -> list[Hits]:
        """Return the rows that match some pictures, by chance.

        Parameters
        ----------
        stored : (m, 5552) uint8
            Fingerprints, and beside each its picture's other descriptors; see `queries.joined`.
        limit, chance : float
            Largest distance and chance, inclusive.
        k : int or None
            At most so many, and the ties of the last.
        views : {'fast', 'default', 'thorough'}
        among : (n,) bool, optional
            Only these rows are to be found.
        """
        archive = self.archive if among is None else self.archive.only(among)
        found = recognise.of_pictures(archive, _pictures(stored), views=views)
        chances = self.chances(found)
        order = np.lexsort((found.other, chances, found.one))
        near = (chances <= chance) & (found.distances <= limit)
        order = order[near[order]]
        starts = np.searchsorted(found.one[order], np.arange(len(stored) + 1))
        return [
            _hits(found.where(order[start:stop]), chances[order[start:stop]], k)
            for start, stop in pairwise(starts)
        ]

    def parts(
        self, limit: float, chance: float, asked: Rows, *, views: Views, among: Flags | None
    ) -> Iterator[RowPairs]:
        """Yield the pairs of some rows with any; their `distances` are chances."""
        archive = self.archive if among is None else self.archive.only(among)
        for part in recognise.of_rows(archive, asked, views=views):
            chances = self.chances(part)
            near = (chances <= chance) & (part.distances <= limit)
            seen = part.where(near)
            yield RowPairs(seen.one, seen.other, chances[near], seen)

    def chances(self, found: Sightings) -> Chances:
        """Return how many unrelated pairs of this archive would be expected to match as well."""
        if found.looks is None:
            return np.full(len(found), np.inf)
        height = np.arctanh(np.minimum(found.looks.scores.astype(np.float64), 0.9999))
        rate = 10.0 ** -(4.85 + (height - 0.809) / 0.19)
        n = int(self._snapshot.pictures.live.sum())
        return np.asarray(rate * n * max(n - 1, 1) / 2)


def _pictures(stored: Stored) -> Pictures:
    """Take the stored bytes of queries apart, in the order of the registry's needs."""
    widths = [FINGERPRINT.width, *(descriptor(name).width for name in FINGERPRINT.needs)]
    prints, thumbs, grays = np.split(stored, np.cumsum(widths)[:-1], axis=1)
    return Pictures(prints, grays, thumbs)


def _hits(seen: Sightings, chances: Chances, k: int | None) -> Hits:
    complete = k is None or len(seen) <= k
    if k is not None and not complete:
        keep = chances <= chances[k - 1]
        seen, chances = seen.where(keep), chances[keep]
    return Hits(seen.other, chances, complete, seen)
