"""What searches a snapshot: its vectors, its graphs, and the choice between the engines."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from annidx import graphs
from annidx.descriptors import Descriptor
from annidx.errors import UsageError
from annidx.model import Choice, Engine
from annidx.search import exact as scan
from annidx.search import planner, selfjoin
from annidx.search import recall as recalls
from annidx.search.exact import Hits
from annidx.search.query import Placed, graph_search
from annidx.search.recall import Certificate
from annidx.search.selfjoin import RowPairs, Sides
from annidx.search.vectors import Stored, Vectors
from annidx.store.manifest import GraphEntry
from annidx.store.snapshot import Snapshot

Flags = npt.NDArray[np.bool_]

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


class Engines:
    """The engines over one snapshot, safe to share between threads.

    Parameters
    ----------
    snapshot : Snapshot
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._lock = threading.Lock()
        self._vectors: dict[str, Vectors] = {}
        self._graphs: dict[str, list[Placed]] = {}

    @cached_property
    def pictures(self) -> int:
        """Number of readable pictures."""
        return int(self.snapshot.pictures.live.sum())

    def usable_graphs(self, metric: str) -> list[GraphEntry]:
        """Return the graphs that answer queries of a metric, none when the exact engine does."""
        return [each.entry for each in graphs.usable(self.snapshot, metric)]

    def uncovered(self, metric: str) -> int:
        """Return how many pictures no usable graph covers: they are searched exactly."""
        found = graphs.usable(self.snapshot, metric)
        return len(graphs.uncovered_rows(self.snapshot.pictures.live, found))

    def vectors(self, metric: str) -> Vectors:
        """Return the stored descriptors of a metric."""
        with self._lock:
            if metric not in self._vectors:
                self._vectors[metric] = graphs.vectors_of(self.snapshot, metric)
            return self._vectors[metric]

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
        usable = graphs.usable(self.snapshot, measure.name)
        plan = planner.plan(
            measure,
            pictures=self.pictures,
            request="query",
            queries=len(stored),
            graph=bool(usable),
            exact=engine == "exact",
        )
        log.info("%s engine: %s, about %.4f CPU s", plan.engine, plan.reason, plan.cost_s)
        if plan.engine == "exact":
            return [(hits, "exact") for hits in scan.search(vectors, stored, cutoff=limit, k=k)]
        uncovered = graphs.uncovered_rows(vectors.live, usable)
        loaded = self._loaded(measure.name)
        answer = graph_search(vectors, loaded, uncovered, stored, cutoff=limit, k=k)
        sure = answer.fell_through
        return [(hits, "exact" if at in sure else "graph") for at, hits in enumerate(answer.hits)]

    def join(
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
    ) -> RowPairs:
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

        Raises
        ------
        UsageError
            When an estimate says that there are more than `max_pairs`.
        """
        if max_pairs < 0:
            message = f"max_pairs is {max_pairs}, expected 0 or more"
            raise UsageError(message)
        plan = planner.plan(measure, pictures=self.pictures, request="whole set", graph=False)
        log.info("%s engine: %s, about %.2f CPU s", plan.engine, plan.reason, plan.cost_s)
        vectors = self.vectors(measure.name)
        if among is not None:
            vectors = vectors.only(among)
        expected = selfjoin.estimate_pairs(vectors, limit)
        if expected > max_pairs:
            message = (
                f"about {expected:,} pairs lie within {limit:g} ({measure.name}), more than "
                f"the limit of {max_pairs:,}: lower the cutoff, or raise the limit (--max-pairs)"
            )
            raise UsageError(message)
        found = (selfjoin.exhaustive_pairs if exhaustive else selfjoin.pairs)(vectors, limit)
        for each in sides:
            found = found.where(each.of(found))
        return found if keep is None else found.where(keep(found))

    def recall(self, measure: Descriptor, limit: float, sample: int) -> Measured:
        """Compare what queries find with an exact scan; see :meth:`annidx.Index.recall`."""
        if sample < 1:
            message = f"sample is {sample}, expected 1 or more"
            raise UsageError(message)
        vectors = self.vectors(measure.name)
        stored = vectors.take(recalls.sampled(np.flatnonzero(vectors.live), sample))
        answered = self.search(measure, stored, limit, None)
        truth = scan.search(vectors, stored, cutoff=limit, k=None)
        certificate = recalls.compare(truth, [hits for hits, _ in answered])
        engines = tuple(sorted({engine for _, engine in answered}))
        return Measured(measure.name, limit, len(stored), engines, certificate)

    def _loaded(self, metric: str) -> list[Placed]:
        """Return the usable graphs of a metric, loaded once."""
        with self._lock:
            if metric not in self._graphs:
                usable = graphs.usable(self.snapshot, metric)
                self._graphs[metric] = [graphs.load(self.snapshot, each) for each in usable]
            return self._graphs[metric]
