"""An open snapshot that answers questions: what the public API and the service hold."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from annidx import answers, graphs, queries
from annidx.descriptors import DEFAULT_METRIC, Descriptor
from annidx.errors import UsageError
from annidx.model import IGNORED, Answer, Engine, Groups, Matches, Neighbours, Pairs, Record
from annidx.search import exact as scan
from annidx.search import groups as grouping
from annidx.search import planner, selfjoin
from annidx.search.exact import Hits
from annidx.search.graph import Graph
from annidx.search.query import graph_search, rows_beyond
from annidx.search.selfjoin import RowPairs
from annidx.search.vectors import Stored, Vectors
from annidx.store.manifest import GraphEntry, Manifest
from annidx.store.snapshot import Snapshot
from annidx.store.tables import pairs_table

log = logging.getLogger(__name__)

K = 10
"""Default k of a query."""
MAX_PAIRS = 10_000_000
"""A search that would find more pairs is refused beforehand, from an estimate."""


class Index:
    """One snapshot of an index, read-only and safe to share between threads.

    Parameters
    ----------
    snapshot : Snapshot
        An open one; :func:`annidx.open` gives the newest.

    Attributes
    ----------
    snapshot : Snapshot
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._lock = threading.Lock()
        self._vectors: dict[str, Vectors] = {}
        self._graphs: dict[str, Graph] = {}
        self._held = graphs.hold(snapshot)

    @property
    def manifest(self) -> Manifest:
        """What the snapshot consists of."""
        return self.snapshot.manifest

    @cached_property
    def pictures(self) -> int:
        """Number of readable pictures."""
        return int(self.snapshot.pictures.live.sum())

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

        Returns
        -------
        Matches
            By (distance, path bytes).

        Raises
        ------
        PictureUnreadable, UsageError, IndexDamaged
        """
        return self.query_many([source], k=k, cutoff=cutoff, metric=metric, exact=exact)[0]

    def query_many(
        self,
        sources: Sequence[Any],
        *,
        k: int | None = K,
        cutoff: float | None = None,
        metric: str = DEFAULT_METRIC,
        exact: bool = False,
    ) -> list[Matches]:
        """Return the nearest pictures of several pictures, in one pass; see :meth:`query`.

        A source may also be a record that :func:`annidx.queries.read_query` made for this metric.
        """
        measure, limit = self._checked(metric, cutoff, k)
        records = [queries.read_query(source, metric) for source in sources]
        stored = queries.joined(measure, records, self.manifest.descriptors)
        # One more, since a picture of the archive finds itself and is left out.
        fetch = None if k is None else k + 1
        return [
            self._matches(queries.label(record), record, hits, answer, k)
            for record, (hits, answer) in zip(
                records, self._search(measure, stored, limit, fetch, exact=exact), strict=True
            )
        ]

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
        found = self._search(measure, queries.encoded(measure, vectors), limit, k, exact=exact)
        return [
            self._matches(f"<vector {at}>", None, hits, answer, k)
            for at, (hits, answer) in enumerate(found)
        ]

    def has(
        self,
        source: Any,
        *,
        cutoff: float | None = None,
        metric: str = DEFAULT_METRIC,
        exact: bool = False,
    ) -> Matches:
        """Tell whether the archive has a picture.

        Returns
        -------
        Matches
            The nearest match within the cutoff, or none; `nearest` is set either way, unless the
            archive is empty.
        """
        measure, limit = self._checked(metric, cutoff, 1)
        record = queries.read_query(source, metric)
        found = self.query(record, k=1, cutoff=limit, metric=metric, exact=exact)
        nearest = found.matches
        if not nearest:
            everywhere = measure.largest
            nearest = self.query(record, k=1, cutoff=everywhere, metric=metric, exact=exact).matches
        return replace(found, nearest=nearest[0] if nearest else None)

    def neighbours(
        self,
        *,
        k: int | None = K,
        cutoff: float | None = None,
        metric: str = DEFAULT_METRIC,
        exact: bool = False,
        max_pairs: int = MAX_PAIRS,
    ) -> Neighbours:
        """Return the k nearest neighbours under the cutoff of every picture, by path.

        Pictures without neighbours are left out. See :meth:`query` for the options.
        """
        measure, limit = self._checked(metric, cutoff, k)
        started = time.monotonic()
        found = self._join(measure, limit, max_pairs, exhaustive=exact)
        result = []
        for row, others, apart in selfjoin.by_row(found):
            hits = scan.nearest(others, apart, cutoff=limit, k=k)
            answer = self._answer(measure, limit, k, "exact", started, complete=hits.complete)
            record = answers.row_record(self.snapshot, row)
            result.append(self._matches(queries.label(record), record, hits, answer, k))
        result.sort(key=lambda matches: os.fsencode(matches.query))
        complete = all(matches.answer.complete for matches in result)
        answer = self._answer(measure, limit, k, "exact", started, complete=complete)
        return Neighbours(tuple(result), answer)

    def find_pairs(
        self,
        *,
        cutoff: float | None = None,
        metric: str = DEFAULT_METRIC,
        exact: bool = False,
        max_pairs: int = MAX_PAIRS,
    ) -> Pairs:
        """Return all pairs within the cutoff as objects; see :meth:`pairs`."""
        measure, limit = self._checked(metric, cutoff, None)
        started = time.monotonic()
        found = self._join(measure, limit, max_pairs, exhaustive=exact)
        ordered = tuple(answers.pairs(self.snapshot, found, metric))
        return Pairs(ordered, self._answer(measure, limit, None, "exact", started))

    def pairs(
        self,
        *,
        cutoff: float | None = None,
        metric: str = DEFAULT_METRIC,
        exact: bool = False,
        max_pairs: int = MAX_PAIRS,
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
        found = self.find_pairs(cutoff=cutoff, metric=metric, exact=exact, max_pairs=max_pairs)
        facts = {"metric": metric, "cutoff": str(found.answer.cutoff), "complete": "true"}
        return pairs_table(found, {**facts, "snapshot": str(found.answer.snapshot)})

    def groups(
        self,
        *,
        cutoff: float | None = None,
        metric: str = DEFAULT_METRIC,
        exact: bool = False,
        max_pairs: int = MAX_PAIRS,
    ) -> Groups:
        """Return groups of near-duplicates: whatever chains of pairs within the cutoff connect.

        Pictures with next to no information (one flat colour, blank pages) join a group only with
        byte-identical ones.
        """
        measure, limit = self._checked(metric, cutoff, None)
        started = time.monotonic()
        found = self._join(measure, limit, max_pairs, exhaustive=exact)
        found, aside = answers.without_low_information(self.snapshot, found)
        vectors = self.vectors(metric)
        made = [
            answers.group(self.snapshot, vectors, 0, each) for each in grouping.connected(found)
        ]
        made.sort(key=lambda group: (-len(group.raw_paths), group.raw_paths))
        numbered = tuple(replace(group, number=at) for at, group in enumerate(made, start=1))
        return Groups(numbered, aside, self._answer(measure, limit, None, "exact", started))

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

    def usable_graph(self, metric: str) -> GraphEntry | None:
        """Return the graph that answers queries of a metric, None when the exact engine does."""
        return graphs.usable(self.snapshot, metric)

    def vectors(self, metric: str) -> Vectors:
        """Return the stored descriptors of a metric."""
        with self._lock:
            if metric not in self._vectors:
                self._vectors[metric] = graphs.vectors_of(self.snapshot, metric)
            return self._vectors[metric]

    def _checked(
        self, metric: str, cutoff: float | None, k: int | None
    ) -> tuple[Descriptor, float]:
        return queries.checked(metric, cutoff, k, self.manifest.descriptors)

    def _search(
        self, measure: Descriptor, stored: Stored, limit: float, k: int | None, *, exact: bool
    ) -> list[tuple[Hits, Answer]]:
        """Answer stored vectors with the engine that the planner chooses."""
        started = time.monotonic()
        vectors = self.vectors(measure.name)
        entry = graphs.usable(self.snapshot, measure.name)
        plan = planner.plan(
            measure,
            pictures=self.pictures,
            request="query",
            queries=len(stored),
            graph=entry is not None,
            exact=exact,
        )
        log.info("%s engine: %s, about %.4f CPU s", plan.engine, plan.reason, plan.cost_s)
        if plan.engine == "exact" or entry is None:
            found = scan.search(vectors, stored, cutoff=limit, k=k)
            sure = frozenset(range(len(found)))
        else:
            uncovered = rows_beyond(graphs.covered_rows(self.snapshot, entry), vectors)
            graph = self._graph(measure.name)
            answer = graph_search(vectors, graph, uncovered, stored, cutoff=limit, k=k)
            found, sure = answer.hits, answer.fell_through
        return [
            (
                hits,
                self._answer(
                    measure,
                    limit,
                    k,
                    "exact" if at in sure else "graph",
                    started,
                    complete=hits.complete,
                ),
            )
            for at, hits in enumerate(found)
        ]

    def _matches(
        self, label: str, record: Record | None, hits: Hits, answer: Answer, k: int | None
    ) -> Matches:
        """Name the hits, leave the query itself out, break ties at k by path."""
        ordered = answers.matches(self.snapshot, record, hits, answer.metric)
        cut = k is not None and len(ordered) > k
        answer = replace(answer, k=k, complete=hits.complete and not cut)
        return Matches(label, tuple(ordered[:k]), answer)

    def _join(
        self, measure: Descriptor, limit: float, max_pairs: int, *, exhaustive: bool
    ) -> RowPairs:
        plan = planner.plan(measure, pictures=self.pictures, request="whole set", graph=False)
        log.info("%s engine: %s, about %.2f CPU s", plan.engine, plan.reason, plan.cost_s)
        vectors = self.vectors(measure.name)
        expected = selfjoin.estimate_pairs(vectors, limit)
        if expected > max_pairs:
            message = (
                f"about {expected:,} pairs lie within {limit:g} ({measure.name}), more than "
                f"the limit of {max_pairs:,}: lower the cutoff, or raise the limit (--max-pairs)"
            )
            raise UsageError(message)
        join = selfjoin.exhaustive_pairs if exhaustive else selfjoin.pairs
        return join(vectors, limit)

    def _graph(self, metric: str) -> Graph:
        with self._lock:
            if metric not in self._graphs:
                entry = graphs.usable(self.snapshot, metric)
                if entry is None:
                    message = f"there is no usable graph for {metric}"
                    raise UsageError(message)
                self._graphs[metric] = graphs.load(self.snapshot, entry, self._held)
            return self._graphs[metric]

    def _answer(
        self,
        measure: Descriptor,
        limit: float,
        k: int | None,
        engine: Engine,
        started: float,
        *,
        complete: bool = True,
    ) -> Answer:
        entry = graphs.usable(self.snapshot, measure.name)
        return Answer(
            metric=measure.name,
            cutoff=limit,
            k=k,
            complete=complete,
            exact=engine == "exact",
            engine=engine,
            recall=entry.recall if entry and engine == "graph" else None,
            snapshot=self.manifest.number,
            seconds=time.monotonic() - started,
        )
