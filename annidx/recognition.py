"""Searches by fingerprint over one snapshot: net, second look, chance. Joins store and search."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from annidx.asking import Search, Views
from annidx.comparing import Comparer
from annidx.descriptors import FINGERPRINT, GRAY64, THUMB, VIEW, descriptor
from annidx.errors import UsageError
from annidx.graphs import vectors_of
from annidx.kinds import Explanation, Facts
from annidx.model import Choice, Engine
from annidx.search import net, recognise, sampling
from annidx.search import recall as recalls
from annidx.search.chance import Chance, classes
from annidx.search.copies import NO_KEY, Copies, Keys
from annidx.search.exact import Hits
from annidx.search.query import Placed, Tail
from annidx.search.recall import Certificate
from annidx.search.recognise import Archive, Pictures
from annidx.search.selfjoin import RowPairs
from annidx.search.sightings import Sightings, equal
from annidx.search.vectors import Flags, Rows, Stored, Vectors
from annidx.store import history
from annidx.store.snapshot import Snapshot

Chances = npt.NDArray[np.float64]

VARIANTS: dict[Views, int] = {"fast": 2, "default": 40, "thorough": 210}
"""About so many variants of a picture are tried."""
CLASSED = 1000
"""So many pictures tell what classes the archive consists of."""
NODES = recalls.nodes_for(FINGERPRINT.nearest or 0)
"""So many nodes of a graph are taken for each variant at first."""
FIRST = 24
"""So many pictures are taken of what a graph finds at first."""
FURTHER = 100.0
"""A match within so many times the chance that is asked for may have others behind it."""
MOST_FILTERED = 0.5
"""Of what a graph finds, so much must be wanted at least."""
SCAN_S, GRAPH_S, LOAD_S = 1.1e-8, 1.5e-4, 5e-7
"""CPU seconds: to compare a variant with a slot, to ask a graph for one, to load a node."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a match must keep to.

    Attributes
    ----------
    distance, chance : float
        Largest ones, inclusive.
    model : Chance
        What scores mean.
    pictures : int
        Of the archive that chance is told for.
    """

    distance: float
    chance: float
    model: Chance
    pictures: int


class Recognition:
    """Finds pictures by fingerprint; safe to share between threads.

    Parameters
    ----------
    snapshot : Snapshot
        Its index holds fingerprints.
    views : Vectors
        Its views.
    nodes : int
        Of the graphs that cover views, 0 when there are none.
    loaded : callable
        Returns these graphs and what they leave out, loading them at the first call.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        views: Vectors,
        nodes: int,
        loaded: Callable[[], tuple[list[Placed], Tail]],
    ) -> None:
        self._snapshot, self._views = snapshot, views
        self._nodes, self._load = nodes, loaded
        self._is_loaded = False

    @cached_property
    def archive(self) -> Archive:
        """What is stored of all rows."""
        return archive_of(self._snapshot, self._views)

    def engine(
        self, pictures: int, views: Views, choice: Choice, among: Flags | None = None
    ) -> Engine:
        """Return which engine finds what is near to the variants of so many pictures.

        Where only a part of the archive is to be found, `among`, the graph would return the rest.

        Raises
        ------
        UsageError
            When the graph is asked for and there is none.
        """
        if self._nodes == 0 or choice == "exact":
            if choice == "graph":
                message = (
                    "there is no usable graph for fingerprint: "
                    '"annidx build --graphs fingerprint" makes one, or ask engine auto'
                )
                raise UsageError(message)
            return "exact"
        variants = pictures * VARIANTS[views]
        slots = int(np.count_nonzero(self._views.live))
        if among is not None:
            share = np.count_nonzero(among) / max(len(among), 1)
            if share < MOST_FILTERED and choice == "auto":
                return "exact"
            slots = int(slots * share)
        scan_s = variants * slots * SCAN_S
        graph_s = variants * GRAPH_S + (0 if self._is_loaded else self._nodes * LOAD_S)
        return "graph" if choice == "graph" or graph_s < scan_s else "exact"

    def _cast(self, engine: Engine, limits: Limits) -> recognise.Cast:
        """Return what finds candidates, and tells whether to look on."""

        def judge(found: Sightings, asked: Pictures | None) -> Flags:
            return self.chances(found, limits, asked)[0] <= FURTHER * limits.chance

        if engine == "exact":
            return replace(recognise.SCAN, judge=judge)
        placed, tail = self._load()
        self._is_loaded = True

        def caught(vectors: Vectors, codes: Stored, owners: Rows, most: int) -> net.Caught:
            return net.in_graphs(
                *(vectors, placed, tail, codes, owners),
                radius=recognise.RADIUS,
                most=most,
                count=NODES if most <= FIRST else most,
            )

        return recognise.Cast(caught, FIRST, judge)

    @cached_property
    def wholes(self) -> Vectors:
        """The vectors of whole pictures."""
        archive = self.archive
        wholes = [block[:, : VIEW.width] for block in archive.prints.parts]
        return Vectors(VIEW, wholes, archive.prints.live)

    def search(
        self,
        stored: Stored,
        pixels: Sequence[bytes],
        limits: Limits,
        k: int | None,
        *,
        views: Views,
        engine: Engine,
        among: Flags | None,
    ) -> list[Hits]:
        """Return the rows that match some pictures, by chance.

        Parameters
        ----------
        stored : (m, 5552) uint8
            Fingerprints, and beside each its picture's other descriptors; see `queries.joined`.
        pixels : Sequence of bytes
            The `pixel_hash` of each, zeros when there is none.
        limits : Limits
        k : int or None
            At most so many, and the ties of the last.
        views : {'fast', 'default', 'thorough'}
        engine : {'graph', 'exact'}
        among : (n,) bool, optional
            Only these rows are to be found.
        """
        archive = self.archive if among is None else self.archive.only(among)
        cast, asked = self._cast(engine, limits), _pictures(stored)
        own = keys(np.frombuffer(b"".join(pixels), np.uint8).reshape(len(stored), -1))
        found = recognise.of_pictures(archive, asked, views=views, keys=own, cast=cast)
        chances, found = self.chances(found, limits, asked)
        sure = (archive.copies.keys[found.other] == own[found.one]) & (own != NO_KEY)[found.one]
        chances[sure] = 0
        if found.extrapolated is not None:
            found = replace(found, extrapolated=found.extrapolated & ~sure)
        order = np.lexsort((found.other, chances, found.one))
        near = (chances <= limits.chance) & (found.distances <= limits.distance)
        order = order[near[order]]
        starts = np.searchsorted(found.one[order], np.arange(len(stored) + 1))
        return [
            _hits(found.where(order[start:stop]), chances[order[start:stop]], k)
            for start, stop in pairwise(starts)
        ]

    def parts(
        self,
        limits: Limits,
        asked: Rows,
        *,
        views: Views,
        engine: Engine,
        among: Flags | None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Iterator[RowPairs]:
        """Yield the pairs of some rows with any, each once; their `distances` are chances.

        `progress` is told how many rows were asked, of how many.
        """
        archive = self.archive if among is None else self.archive.only(among)
        copies = archive.copies
        for one, other in copies.pairs():
            sure = replace(equal(one, other), extrapolated=np.zeros(len(one), np.bool_))
            yield RowPairs(one, other, np.zeros(len(one)), sure)
        known: set[int] = set()
        cast = self._cast(engine, limits)
        for found in recognise.of_rows(archive, asked, views=views, cast=cast, progress=progress):
            chances, part = self.chances(found, limits)
            kept = (chances <= limits.chance) & (part.distances <= limits.distance)
            near = np.flatnonzero(kept)
            near = near[_new(part.one[near] * len(copies.keys) + part.other[near], known)]
            at, one = copies.spread(part.one[near])
            both, other = copies.spread(part.other[near[at]])
            at, one = near[at[both]], one[both]
            seen = replace(part.where(at), one=one, other=other)
            seen = seen.swapped(one > other)
            yield RowPairs(seen.one, seen.other, chances[at], seen)

    def recall(self, sample: int) -> tuple[Engine, Certificate, int]:
        """Measure how many of the matches of some pictures queries find.

        Parameters
        ----------
        sample : int
            At most so many pictures are asked for all of their matches.

        Returns
        -------
        {'graph', 'exact'}
            What was measured: the graph, if there is a usable one.
        Certificate
            Of matches within the chance that is the default; copies do not count.
        int
            How many pictures were asked.
        """
        engine: Engine = "graph" if self._nodes else "exact"
        rows = recalls.sampled(np.flatnonzero(self.archive.copies.first), sample)
        asked, limits = self.archive.take(rows), self.limits(FINGERPRINT.cutoff, Search())
        truth, found = (self._matched(rows, asked, limits, each) for each in ("exact", engine))
        return engine, recalls.compare(truth, [hits.rows for hits in found]), len(rows)

    def _matched(self, rows: Rows, asked: Pictures, limits: Limits, engine: Engine) -> list[Hits]:
        """Return what matches some rows, but for their copies."""
        cast = self._cast(engine, limits)
        found = recognise.of_pictures(self.archive, asked, views="default", cast=cast)
        chances, found = self.chances(found, limits, asked)
        stands = self.archive.copies.stands
        keep = (chances <= limits.chance) & (stands[found.other] == found.other)
        found = found.where(keep & (rows[found.one] != found.other))
        return [
            Hits(found.other[found.one == at], found.distances[found.one == at], complete=True)
            for at in range(len(rows))
        ]

    @cached_property
    def comparer(self) -> Comparer:
        """What tells what matching pictures are to each other."""
        return Comparer(self._snapshot, self.archive.take)

    def explained(self, own: Facts, stored: Stored, hits: Hits) -> list[Explanation]:
        """Return what each hit is to a query; stored bytes as for :meth:`search`, (1, width)."""
        if hits.seen is None:
            return []
        return self.comparer.of_query(own, _pictures(stored), hits.seen)

    def limits(self, distance: float, wanted: Search) -> Limits:
        """Return what matches of a search must keep to.

        Raises
        ------
        UsageError
            When there is no such snapshot as it names, or it says nothing of chance.
        """
        pictures = int(self._snapshot.pictures.live.sum())
        model = self.chance
        if wanted.cutoff_from is not None:
            model = pinned(self._snapshot, wanted.cutoff_from)
            pictures = model.pictures
        return Limits(distance, wanted.chance_of(pictures), model, pictures)

    @cached_property
    def chance(self) -> Chance:
        """What a score means in this archive: as the build measured it, or as known beforehand."""
        measured = Chance.of_dict(self._snapshot.manifest.chance)
        if measured is not None:
            return measured
        live = np.flatnonzero(self._snapshot.pictures.live)
        sample = recalls.sampled(live, CLASSED)
        return Chance.beforehand(self.archive.classes(sample), len(live))

    def chances(
        self, found: Sightings, limits: Limits, asked: Pictures | None = None
    ) -> tuple[Chances, Sightings]:
        """Return how many unrelated pairs of this archive would be expected to match as well.

        Beside it, the same sightings, which tell where that is extrapolated.

        Parameters
        ----------
        found : Sightings
            With looks.
        limits : Limits
        asked : Pictures, optional
            Which `one` counts; by default rows.
        """
        if found.looks is None:
            return np.full(len(found), np.inf), found
        if asked is None:
            own = self.archive.classes(found.one)
        else:
            owners, ones = np.unique(found.one, return_inverse=True)
            own = classes(asked.grays[owners])[ones]
        looks = found.looks
        seen = (
            *(looks.scores, looks.structures, found.distances),
            own,
            self.archive.classes(found.other),
        )
        chances = limits.model.chance(*seen, pictures=limits.pictures)
        return chances, replace(found, extrapolated=limits.model.extrapolated(*seen))


def archive_of(opened: Snapshot, views: Vectors) -> Archive:
    """Return what is stored of all rows of a snapshot."""
    pictures = opened.pictures
    prints = Vectors(FINGERPRINT, pictures.descriptors(FINGERPRINT.name), pictures.live)
    grays, thumbs = (vectors_of(opened, each.name) for each in (GRAY64, THUMB))
    copies = Copies(keys(pictures.fixed("pixel_hash")), pictures.live)
    return Archive(prints, views, grays, thumbs, copies)


def measured(opened: Snapshot) -> dict[str, Any]:
    """Return what scores mean in a snapshot, for its manifest: what a sample of it shows."""
    views = vectors_of(opened, FINGERPRINT.name)
    return sampling.of_archive(archive_of(opened, views)).as_dict()


def pinned(opened: Snapshot, number: int | Mapping[str, Any]) -> Chance:
    """Return what a score meant in an earlier snapshot of the index, or as its manifest told."""
    if not isinstance(number, int):
        told = Chance.of_dict(number)
        if told is None:
            message = "cutoff_from was measured by another version of annidx: pin another snapshot"
            raise UsageError(message)
        return told
    known = {each.number: each.manifest for each in history.listing(opened.index)}
    manifest = known.get(number)
    chance = None if manifest is None else Chance.of_dict(manifest.chance)
    if chance is None:
        measured = [str(at) for at, each in known.items() if each and Chance.of_dict(each.chance)]
        what = "is not there" if manifest is None else "measured no chances"
        message = (
            f"snapshot {number} {what}, cutoff_from needs one of {', '.join(measured)}"
            if measured
            else f"snapshot {number} {what}, and none did: run annidx build"
        )
        raise UsageError(message)
    return chance


def keys(hashes: Stored) -> Keys:
    """Return the beginnings of hashes, (m, 32) uint8, as keys: 0 for none."""
    if len(hashes) == 0:  # of an empty archive, which knows no width
        return np.zeros(0, np.int64)
    return np.ascontiguousarray(hashes[:, :8]).view(np.int64).reshape(-1)


def _new(pairs: npt.NDArray[np.int64], known: set[int]) -> Flags:
    """Tell which pairs are not known, and make them known; each counts once, the last time."""
    found = pairs.tolist()
    last = {pair: at for at, pair in enumerate(found)}
    result = np.zeros(len(found), np.bool_)
    result[[at for pair, at in last.items() if pair not in known]] = True
    known.update(last)
    return result


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
