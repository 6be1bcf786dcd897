"""What searches a snapshot: its vectors, its graphs, and the choice between the engines."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np

from annidx import graphs
from annidx.asking import Views
from annidx.descriptors import FINGERPRINT, Descriptor, descriptor
from annidx.errors import UsageError
from annidx.model import Choice, Engine, Plan
from annidx.recognition import Limits, Recognition
from annidx.search import exact as scan
from annidx.search import planner, selfjoin
from annidx.search import recall as recalls
from annidx.search.estimate import estimate_pairs
from annidx.search.exact import Hits
from annidx.search.query import GraphAnswer, Placed, Tail, graph_search
from annidx.search.recall import Certificate
from annidx.search.selfjoin import RowPairs, Sides
from annidx.search.vectors import Flags, Rows, Stored, Vectors
from annidx.store.manifest import GraphEntry
from annidx.store.snapshot import Snapshot

SAMPLES = (1500, 6000)
"""Rows from which the number of pairs is estimated; the second where the first leaves doubt."""

log = logging.getLogger(__name__)


class Measured(NamedTuple):
    """A measured recall, and of what.

    Attributes
    ----------
    metric : str
    cutoff : float
        Inclusive.
    pictures : int
        That were asked.
    engines : tuple of {'exact', 'graph'}
        That answered; a query that the graph cannot answer completely is answered by a scan.
    certificate : Certificate
        Pairs, how many of them were found, and the recall with its 95 % interval.
    """

    metric: str
    cutoff: float
    pictures: int
    engines: tuple[Engine, ...]
    certificate: Certificate


class Joined(NamedTuple):
    """The pairs of a join, which engine found them, and how many of which these are the nearest."""

    pairs: RowPairs
    engine: Engine
    found: int


class Engines:
    """The engines over one snapshot, safe to share between threads.

    Parameters
    ----------
    snapshot : Snapshot
    progress : callable, optional
        See :func:`annidx.open`.
    """

    def __init__(
        self, snapshot: Snapshot, progress: Callable[[int, int], None] | None = None
    ) -> None:
        self.snapshot, self._progress = snapshot, progress
        self._lock = threading.Lock()
        self._vectors: dict[str, Vectors] = {}
        self._covers: dict[str, list[graphs.Usable]] = {}
        self._graphs: dict[str, tuple[list[Placed], Tail]] = {}

    @cached_property
    def recognition(self) -> Recognition:
        """What finds pictures by fingerprint."""
        nodes = sum(each.nodes for each in self.usable_graphs(FINGERPRINT.name))
        views = self.vectors(FINGERPRINT.name)
        return Recognition(self.snapshot, views, nodes, lambda: self._loaded(FINGERPRINT))

    @cached_property
    def pictures(self) -> int:
        """Number of readable pictures."""
        return int(self.snapshot.pictures.live.sum())

    def usable_graphs(self, metric: str) -> list[GraphEntry]:
        """Return the graphs that answer queries of a metric, none when the exact engine does."""
        return [each.entry for each in self._usable(metric)]

    def uncovered(self, metric: str) -> int:
        """Return how many pictures no usable graph covers: they are searched exactly."""
        rows = graphs.uncovered_rows(self.vectors(metric).live, self._usable(metric))
        return len(np.unique(rows // descriptor(metric).slots))

    def vectors(self, metric: str) -> Vectors:
        """Return the stored descriptors of a metric."""
        with self._lock:
            if metric not in self._vectors:
                self._vectors[metric] = graphs.vectors_of(self.snapshot, metric)
            return self._vectors[metric]

    def comparable(self, metric: str) -> Vectors:
        """Return what tells how far any two pictures lie apart: of the fingerprint, the wholes."""
        return self.recognition.wholes if descriptor(metric).needs else self.vectors(metric)

    def search(
        self,
        measure: Descriptor,
        stored: Stored,
        limit: float,
        k: int | None,
        *,
        engine: Choice = "auto",
        among: Flags | None = None,
    ) -> list[tuple[Hits, Engine]]:
        """Answer stored vectors with the engine that the planner chooses.

        Parameters
        ----------
        measure : Descriptor
            Of the metric.
        stored : (m, width) uint8
        limit : float
            Inclusive.
        k : int or None
            At most so many rows a query, and their ties; None: all within the limit.
        engine : {'auto', 'graph', 'exact'}
        among : (n,) bool, optional
            Only these rows are to be found.

        Returns
        -------
        list of (Hits, {'exact', 'graph'})
            One for each query, with the engine that answered it.
        """
        vectors = self.vectors(measure.name)
        if among is not None:
            vectors = vectors.only(among)
        request = self._request("query", measure, vectors, len(stored), limit, k, among)
        if self._plan(measure, request, engine).engine == "exact":
            return [(hits, "exact") for hits in scan.search(vectors, stored, cutoff=limit, k=k)]
        answer = self._graph_search(vectors, stored, limit, k)
        sure = answer.fell_through
        return [(hits, "exact" if at in sure else "graph") for at, hits in enumerate(answer.hits)]

    def join(  # noqa: PLR0913 - each says something else of the pairs that are wanted
        self,
        measure: Descriptor,
        limit: float,
        max_pairs: int,
        *,
        engine: Choice = "auto",
        exhaustive: bool = False,
        among: Flags | None = None,
        sides: Sequence[Sides] = (),
        keep: Callable[[RowPairs], Flags] | None = None,
        nearest: int | None = None,
    ) -> Joined:
        """Return all pairs within the limit.

        Parameters
        ----------
        measure : Descriptor
            Of the metric.
        limit : float
            Inclusive.
        max_pairs : int
        engine : {'auto', 'graph', 'exact'}
        exhaustive : bool
            Compare every pair, without boxes or projection: the ground truth.
        among : (n,) bool, optional
            Only these rows are to be found.
        sides : Sequence of Sides
            Only pairs that have a row on either side of each.
        keep : callable, optional
            Tells of some of the pairs found which are to be kept, (m,) bool.
        nearest : int, optional
            Only so many pairs, the nearest, and the ties of the last: then there may be more than
            `max_pairs`, and they take no memory, unless more than that are ties.

        Raises
        ------
        UsageError
            When there are more than `max_pairs`: beforehand, when an estimate leaves no doubt.
        """
        _check(max_pairs)
        vectors = self.vectors(measure.name)
        if among is not None:
            vectors = vectors.only(among)
        # The sides that leave the least to compare are joined, the others asked afterwards.
        first = min(sides, key=Sides.possible) if sides else None
        if nearest is None:
            # A copy: what is left out of the sample is not left out of the answer.
            estimated = partial(_wanted, sides=sides, keep=copy(keep))
            for sample in SAMPLES:
                estimate = estimate_pairs(vectors, limit, first, wanted=estimated, sample=sample)
                if estimate.at_least > max_pairs or estimate.expected < max_pairs:
                    break  # beyond doubt, or rather not
            if estimate.at_least > max_pairs:
                message = f"about {estimate.expected:,} pairs lie within {limit:g} ({measure.name})"
                raise _too_many(message, max_pairs)
        asked = vectors.live if first is None else vectors.live & first.smaller
        request = self._request("pairs", measure, vectors, int(asked.sum()), limit, None, among)
        plan = self._plan(measure, request, "exact" if exhaustive else engine)
        if exhaustive:
            parts = selfjoin.exhaustive_parts(vectors, limit)
        elif plan.engine == "exact":
            parts = selfjoin.parts(vectors, limit, first)
        else:
            parts = self._graph_parts(vectors, limit, np.flatnonzero(asked))
        wanted = _wanted(parts, sides, keep)
        if nearest is not None:
            found, count = selfjoin.nearest_of(wanted, nearest, max_pairs)
            return Joined(found, plan.engine, count)
        found = _gathered(wanted, max_pairs)
        return Joined(found, plan.engine, len(found))

    def recognised(
        self,
        limits: Limits,
        max_pairs: int,
        *,
        views: Views,
        engine: Choice = "auto",
        among: Flags | None = None,
        sides: Sequence[Sides] = (),
        keep: Callable[[RowPairs], Flags] | None = None,
        nearest: int | None = None,
    ) -> Joined:
        """Return all pairs that match by fingerprint, by chance; see :meth:`join`."""
        _check(max_pairs)
        live = self.snapshot.pictures.live if among is None else self.snapshot.pictures.live & among
        first = min(sides, key=Sides.possible) if sides else None
        asked = np.flatnonzero(live if first is None else live & first.smaller)
        used = self.recognition.engine(len(asked), views, engine, among)
        parts = self.recognition.parts(
            *(limits, asked), views=views, engine=used, among=among, progress=self._progress
        )
        wanted = _wanted(parts, sides, keep)
        if nearest is not None:
            found, count = selfjoin.nearest_of(wanted, nearest, max_pairs)
            return Joined(found, used, count)
        found = _gathered(wanted, max_pairs)
        return Joined(found, used, len(found))

    def _request(
        self,
        kind: planner.Kind,
        measure: Descriptor,
        vectors: Vectors,
        queries: int,
        limit: float,
        k: int | None,
        among: Flags | None,
    ) -> planner.Request:
        pictures = self.pictures if among is None else int(vectors.live.sum())
        nodes = sum(each.entry.nodes for each in self._usable(measure.name))
        loaded = measure.name in self._graphs
        return planner.Request(kind, pictures, queries, limit, k, nodes, loaded)

    def _plan(self, measure: Descriptor, request: planner.Request, engine: Choice) -> Plan:
        if engine == "graph" and not request.graph:
            message = (
                f"there is no usable graph for {measure.name}: "
                f'"annidx build --graphs {measure.name}" makes one, or ask engine auto'
            )
            raise UsageError(message)
        plan = planner.plan(measure, request, engine)
        log.info("%s engine, about %.4f CPU s: %s", plan.engine, plan.cost_s, plan.reason)
        return plan

    def _graph_search(
        self, vectors: Vectors, stored: Stored, limit: float, k: int | None
    ) -> GraphAnswer:
        placed, tail = self._loaded(vectors.descriptor)
        return graph_search(vectors, placed, tail, stored, cutoff=limit, k=k)

    def _graph_parts(self, vectors: Vectors, limit: float, asked: Rows) -> Iterator[RowPairs]:
        """Yield the pairs of some rows that the graph finds; each once, the first row asked."""
        is_asked = np.zeros(len(vectors), np.bool_)
        is_asked[asked] = True
        for rows, stored in vectors.blocks(asked):
            answer = self._graph_search(vectors, stored, limit, None)
            sizes = [len(hits.rows) for hits in answer.hits]
            one = np.repeat(rows, sizes)
            other = np.concatenate([hits.rows for hits in answer.hits])
            apart = np.concatenate([hits.distances for hits in answer.hits])
            once = (one < other) | ((one != other) & ~is_asked[other])
            yield RowPairs(np.minimum(one, other), np.maximum(one, other), apart).where(once)

    def recall(self, measure: Descriptor, limit: float, sample: int) -> Measured:
        """Compare what queries find with an exact scan; see :meth:`annidx.Index.recall`."""
        if sample < 1:
            message = f"sample is {sample}, expected 1 or more"
            raise UsageError(message)
        if measure.needs:
            engine, certificate, pictures = self.recognition.recall(sample)
            return Measured(measure.name, limit, pictures, (engine,), certificate)
        vectors = self.vectors(measure.name)
        rows = recalls.sampled(np.flatnonzero(vectors.live), sample)
        stored = vectors.take(rows)
        # As one query would be answered: for all of the sample together a scan may be cheaper.
        one = self._request("query", measure, vectors, 1, limit, None, None)
        engine = self._plan(measure, one, "auto").engine
        answered = self.search(measure, stored, limit, None, engine=engine)
        truth = scan.search(vectors, stored, cutoff=limit, k=None)
        certificate = recalls.compare(truth, [hits.rows for hits, _ in answered])
        engines = tuple(sorted({engine for _, engine in answered}))
        return Measured(measure.name, limit, len(rows), engines, certificate)

    def _usable(self, metric: str) -> list[graphs.Usable]:
        with self._lock:
            if metric not in self._covers:
                self._covers[metric] = graphs.usable(self.snapshot, metric)
            return self._covers[metric]

    def _loaded(self, measure: Descriptor) -> tuple[list[Placed], Tail]:
        """Return the usable graphs of a metric and what they leave out, loaded once."""
        usable, vectors = self._usable(measure.name), self.vectors(measure.name)
        with self._lock:
            if measure.name not in self._graphs:
                placed = [graphs.load(self.snapshot, each) for each in usable]
                rows = graphs.uncovered_rows(vectors.live, usable)
                tail = Tail.of(vectors, rows, placed[0].graph.projection)
                self._graphs[measure.name] = placed, tail
            return self._graphs[measure.name]


def _wanted(
    parts: Iterable[RowPairs],
    sides: Sequence[Sides],
    keep: Callable[[RowPairs], Flags] | None,
) -> Iterator[RowPairs]:
    """Yield what is wanted of the pairs found."""
    for part in parts:
        wanted = part
        for each in sides:
            wanted = wanted.where(each.of(wanted))
        yield wanted if keep is None else wanted.where(keep(wanted))


def _gathered(parts: Iterable[RowPairs], max_pairs: int) -> RowPairs:
    """Return all of some pairs, so long as they are not too many."""
    found, count = [], 0
    for part in parts:
        found.append(part)
        count += len(part)
        if count > max_pairs:
            message = f"{count:,} pairs were found, and there may be more"
            raise _too_many(message, max_pairs)
    return selfjoin.concatenated(found)


def _check(max_pairs: int) -> None:
    if max_pairs < 0:
        message = f"max_pairs is {max_pairs}, expected 0 or more"
        raise UsageError(message)


def _too_many(found: str, max_pairs: int) -> UsageError:
    return UsageError(
        f"{found}, more than the limit of {max_pairs:,}: lower the cutoff, or raise the limit "
        "(--max-pairs)"
    )
