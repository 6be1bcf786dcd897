"""An open snapshot that answers questions: what the public API and the service hold."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from annidx import answers, queries
from annidx.answers import Asked, Named
from annidx.descriptors import DEFAULT_METRIC, SIGNATURE, THUMB, Descriptor
from annidx.engines import Engines, Measured
from annidx.errors import UsageError
from annidx.model import (
    IGNORED,
    Answer,
    Engine,
    Groups,
    Linkage,
    Matches,
    Neighbours,
    Pairs,
)
from annidx.search import confirm
from annidx.search import groups as grouping
from annidx.search.recall import SAMPLE
from annidx.search.selfjoin import RowPairs
from annidx.search.vectors import Stored
from annidx.store.manifest import Manifest
from annidx.store.snapshot import Snapshot
from annidx.store.tables import pairs_table

K = 10
"""Default k of a query."""
MAX_PAIRS = 10_000_000
"""A search that would find more pairs is refused beforehand, from an estimate."""
SPARE = 3
"""Fetched beyond k: the query itself, a companion, and one more that tells whether k cut short."""


class Index:
    """One snapshot of an index, read-only and safe to share between threads.

    Parameters
    ----------
    snapshot : Snapshot
        An open one; :func:`annidx.open` gives the newest.

    Attributes
    ----------
    snapshot : Snapshot
    engines : Engines
        What searches it.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.engines = Engines(snapshot)

    @property
    def manifest(self) -> Manifest:
        """What the snapshot consists of."""
        return self.snapshot.manifest

    @property
    def pictures(self) -> int:
        """Number of readable pictures."""
        return self.engines.pictures

    def __len__(self) -> int:
        return self.pictures

    def __repr__(self) -> str:
        where, number = str(self.snapshot.index), self.manifest.number
        return f"<annidx.Index {where!r}: {self.pictures} pictures, snapshot {number}>"

    def query(
        self,
        source: Any,
        *,
        k: int | None = K,
        cutoff: float | None = None,
        metric: str = DEFAULT_METRIC,
        exact: bool = False,
        companions: bool = False,
    ) -> Matches:
        """Return the nearest pictures of one picture.

        Parameters
        ----------
        source : path, bytes, PIL image or array
            A path (str or os.PathLike), the bytes of a picture file, a PIL image, or an
            (h, w, 3) or (h, w) uint8 array. It need not be in the archive; when it is, it is not
            its own neighbour.
        k : int or None
            At most so many pictures; None for all within the cutoff.
        cutoff : float, optional
            Inclusive distance limit in the metric's unit; by default the metric's own.
        metric : str
            'thumb', 'signature', or another descriptor that the index holds.
        exact : bool
            Scan everything instead of asking the graph.
        companions : bool
            Also its companions, when it is a file of the archive: the JPEG or HEIC that a camera
            wrote beside its RAW under the same stem, or that RAW. By default they are left out,
            and counted in the answer's `companions_left_out`.

        Returns
        -------
        Matches
            By (distance, path bytes).

        Raises
        ------
        PictureUnreadable, UsageError, IndexDamaged
        """
        return self.query_many(
            [source], k=k, cutoff=cutoff, metric=metric, exact=exact, companions=companions
        )[0]

    def query_many(
        self,
        sources: Sequence[Any],
        *,
        k: int | None = K,
        cutoff: float | None = None,
        metric: str = DEFAULT_METRIC,
        exact: bool = False,
        companions: bool = False,
    ) -> list[Matches]:
        """Return the nearest pictures of several pictures, in one pass; see :meth:`query`.

        A source may also be a record that :func:`annidx.queries.read_query` made for this metric.
        """
        measure, limit = self._checked(metric, cutoff, k)
        records = [queries.read_query(source, metric) for source in sources]
        stored = queries.joined(measure, records, self.manifest.descriptors)
        asked = [answers.asked(queries.label(record), record) for record in records]
        return self._nearest(
            measure, stored, asked, limit=limit, k=k, exact=exact, companions=companions
        )

    def query_vectors(
        self,
        vectors: npt.ArrayLike,
        *,
        k: int | None = K,
        cutoff: float | None = None,
        metric: str = DEFAULT_METRIC,
        exact: bool = False,
    ) -> list[Matches]:
        """Return the nearest pictures of descriptors that were computed elsewhere.

        Parameters
        ----------
        vectors : (n, d) array
            'thumb': (n, 1200) uint8. 'signature': (n, 272) int8 in -2..2. 'gray8', 'gray16',
            'gray20': (n, 64), (n, 256), (n, 400) uint8.
        k, cutoff, metric, exact
            See :meth:`query`.

        Raises
        ------
        UsageError
            For another shape or dtype, or values out of range.
        """
        measure, limit = self._checked(metric, cutoff, k)
        stored = queries.encoded(measure, vectors)
        asked = [Asked(f"<vector {at}>") for at in range(len(stored))]
        return self._nearest(measure, stored, asked, limit=limit, k=k, exact=exact, companions=True)

    def has(
        self,
        source: Any,
        *,
        cutoff: float | None = None,
        metric: str = DEFAULT_METRIC,
        exact: bool = False,
        companions: bool = False,
    ) -> Matches:
        """Tell whether the archive has a picture; see :meth:`query` for the options.

        Returns
        -------
        Matches
            The nearest match within the cutoff, or none; `nearest` is set either way, unless the
            archive is empty.
        """
        measure, limit = self._checked(metric, cutoff, 1)
        record = queries.read_query(source, metric)
        options: Any = {"k": 1, "metric": metric, "exact": exact, "companions": companions}
        found = self.query(record, cutoff=limit, **options)
        nearest = found.matches or self.query(record, cutoff=measure.largest, **options).matches
        return replace(found, nearest=nearest[0] if nearest else None)

    def neighbours(
        self,
        *,
        k: int | None = K,
        cutoff: float | None = None,
        metric: str = DEFAULT_METRIC,
        exact: bool = False,
        max_pairs: int = MAX_PAIRS,
        companions: bool = False,
    ) -> Neighbours:
        """Return the k nearest neighbours under the cutoff of every picture, by path.

        Pictures without neighbours are left out. See :meth:`query` for the options.
        """
        measure, limit = self._checked(metric, cutoff, k)
        started = time.monotonic()
        found, left_out = self._join(measure, limit, max_pairs, exact, companions)
        parts = answers.neighbours(self.snapshot, found, metric, k=k)
        complete = not any(part.cut for part in parts)
        answer = self._answer(measure, limit, k, "exact", started, complete, left_out)
        return Neighbours(tuple(part.under(answer, k) for part in parts), answer)

    def find_pairs(
        self,
        *,
        cutoff: float | None = None,
        metric: str = DEFAULT_METRIC,
        exact: bool = False,
        max_pairs: int = MAX_PAIRS,
        companions: bool = False,
    ) -> Pairs:
        """Return all pairs within the cutoff as objects; see :meth:`pairs`."""
        measure, limit = self._checked(metric, cutoff, None)
        started = time.monotonic()
        found, left_out = self._join(measure, limit, max_pairs, exact, companions)
        ordered = tuple(answers.pairs(self.snapshot, found, metric))
        answer = self._answer(measure, limit, None, "exact", started, left_out=left_out)
        return Pairs(ordered, answer)

    def pairs(
        self,
        *,
        cutoff: float | None = None,
        metric: str = DEFAULT_METRIC,
        exact: bool = False,
        max_pairs: int = MAX_PAIRS,
        companions: bool = False,
    ) -> Any:
        """Return all pairs of pictures within the cutoff, nearest first.

        Parameters
        ----------
        cutoff : float, optional
            Inclusive; by default the metric's own.
        metric : str
        exact : bool
            Compare every pair, without boxes or projection: slow, and the same pairs.
        max_pairs : int
            Refuse when an estimate says that there are more.
        companions : bool
            Also pairs of a RAW file and the JPEG or HEIC of its stem in its folder.

        Returns
        -------
        pyarrow.Table
            a, b (absolute paths, a before b by path bytes), distance, kind; ordered by
            (distance, a, b).

        Raises
        ------
        UsageError
            Also when the estimate exceeds `max_pairs`.
        """
        found = self.find_pairs(
            cutoff=cutoff, metric=metric, exact=exact, max_pairs=max_pairs, companions=companions
        )
        facts = {"metric": metric, "cutoff": str(found.answer.cutoff), "complete": "true"}
        return pairs_table(found, {**facts, "snapshot": str(found.answer.snapshot)})

    def groups(
        self,
        *,
        cutoff: float | None = None,
        metric: str = DEFAULT_METRIC,
        linkage: Linkage = "connected",
        exact: bool = False,
        max_pairs: int = MAX_PAIRS,
        companions: bool = False,
        unconfirmed: bool = False,
    ) -> Groups:
        """Return groups of near-duplicates, made of pairs within the cutoff.

        Pictures with next to no information (one flat colour, blank pages) join a group only with
        byte-identical ones. A RAW file and its JPEG are no duplicates unless `companions`.

        Parameters
        ----------
        cutoff, metric, exact, max_pairs, companions
            See :meth:`pairs`.
        linkage : {'connected', 'complete', 'star'}
            The rule by which pairs make groups: whatever a chain of them joins; every two members
            within the cutoff; every member within the cutoff of one of them, the centre.
        unconfirmed : bool
            Also by pairs whose signatures object, as those of different pages of writing do:
            :mod:`annidx.search.confirm`. In an index without signatures no pair is asked.

        Raises
        ------
        UsageError
            Also for an unknown linkage, and when the estimate exceeds `max_pairs`.
        """
        measure, limit = self._checked(metric, cutoff, None)
        if linkage not in grouping.RULES:
            message = f"unknown linkage {linkage!r}: expected one of {', '.join(grouping.RULES)}"
            raise UsageError(message)
        started = time.monotonic()
        found, left_out = self._join(measure, limit, max_pairs, exact, companions)
        found, aside = answers.without_low_information(self.snapshot, found)
        kept = found if unconfirmed else self._confirmed(found, measure)
        rows = grouping.RULES[linkage](kept)
        made = answers.groups(self.snapshot, self.engines.vectors(metric), rows, linkage)
        answer = self._answer(measure, limit, None, "exact", started, left_out=left_out)
        return Groups(tuple(made), aside, answer, len(found) - len(kept))

    def failures(self) -> list[tuple[bytes, str, str]]:
        """Return (absolute path, status, reason) of the files that could not be read, by path."""
        other = self.snapshot.other
        rows = np.flatnonzero(other.live)
        facts = zip(
            self.snapshot.paths(rows, other),
            other.values("status", rows),
            other.values("error", rows),
            strict=True,
        )
        return sorted(each for each in facts if each[1] not in IGNORED)

    def recall(self, metric: str = DEFAULT_METRIC, *, sample: int = SAMPLE) -> Measured:
        """Measure how many of the pairs within the metric's cutoff queries find.

        Parameters
        ----------
        metric : str
        sample : int
            At most so many pictures, evenly spaced, are asked, and compared with an exact scan.

        Returns
        -------
        Measured
            What queries find by whatever engine the planner chooses. Pairs of equal vectors, which
            cannot be missed, do not count.

        Raises
        ------
        UsageError, IndexDamaged
        """
        measure, limit = self._checked(metric, None, None)
        return self.engines.recall(measure, limit, sample)

    def _checked(
        self, metric: str, cutoff: float | None, k: int | None
    ) -> tuple[Descriptor, float]:
        return queries.checked(metric, cutoff, k, self.manifest.descriptors)

    def _nearest(
        self,
        measure: Descriptor,
        stored: Stored,
        asked: Sequence[Asked],
        *,
        limit: float,
        k: int | None,
        exact: bool,
        companions: bool,
    ) -> list[Matches]:
        """Search, name the hits, leave out the queries themselves and their companions."""
        done: dict[int, Matches] = {}
        fetch = None if k is None else k + SPARE
        while todo := [at for at in range(len(asked)) if at not in done]:
            started = time.monotonic()
            found = self.engines.search(
                measure, stored[todo], limit, fetch, engine="exact" if exact else "auto"
            )
            rows = [hits.rows for hits, _ in found]
            named = Named(self.snapshot, np.concatenate(rows))
            for at, (hits, engine) in zip(todo, found, strict=True):
                part = answers.matches(
                    named, asked[at], hits, measure.name, k=k, companions=companions
                )
                if hits.complete or part.cut:
                    done[at] = part.under(self._answer(measure, limit, k, engine, started), k)
            # Of the others so much was left out that k is not exceeded: more may lie behind.
            fetch = None if fetch is None else 2 * fetch
        return [done[at] for at in range(len(asked))]

    def _join(
        self, measure: Descriptor, limit: float, max_pairs: int, exact: bool, companions: bool
    ) -> tuple[RowPairs, int]:
        """Return the pairs within the limit, and how many pairs of companions were left out."""
        found = self.engines.join(measure, limit, max_pairs, exhaustive=exact)
        return (found, 0) if companions else answers.without_companions(self.snapshot, found)

    def _confirmed(self, found: RowPairs, measure: Descriptor) -> RowPairs:
        """Return the pairs that signatures confirm, where the index holds them."""
        if SIGNATURE.name not in self.manifest.descriptors:
            return found
        thumbs, signatures = (self.engines.vectors(each.name) for each in (THUMB, SIGNATURE))
        return confirm.confirmed(found, measure, thumbs, signatures)

    def _answer(
        self,
        measure: Descriptor,
        limit: float,
        k: int | None,
        engine: Engine,
        started: float,
        complete: bool = True,
        left_out: int = 0,
    ) -> Answer:
        recalls = [each.recall for each in self.engines.usable_graphs(measure.name)]
        measured = [each for each in recalls if each is not None]
        return Answer(
            metric=measure.name,
            cutoff=limit,
            k=k,
            complete=complete,
            exact=engine == "exact",
            engine=engine,
            recall=min(measured, default=None) if engine == "graph" else None,
            snapshot=self.manifest.number,
            seconds=time.monotonic() - started,
            companions_left_out=left_out,
        )
