"""Searches of an index and of what clients have added beside it, as if they were one.

Both are asked for the same, what they find is put together. What is added is searched exactly until
the next build makes a graph of it, too; chances are those of the index.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from annidx.asking import K, QueryOptions, Search, VectorOptions, metric_of
from annidx.descriptors import FINGERPRINT, Descriptor
from annidx.engines import Engines
from annidx.found import Match, Matches
from annidx.index import Index
from annidx.model import Choice, Engine, File, Record
from annidx.recognition import Limits, Recognition
from annidx.search.exact import Hits
from annidx.search.query import Tail
from annidx.search.vectors import Stored
from annidx.selection import Flags
from annidx.store.snapshot import Snapshot
from annidx.thresholds import Thresholds
from annidx.uploads import Upload, upload_of

Verdict = Literal["reject", "review", "accept"]


class _Recognition(Recognition):
    """Tells chances as those of another index."""

    def __init__(self, own: Engines, other: Engines) -> None:
        views = own.vectors(FINGERPRINT.name)
        nodes = sum(each.nodes for each in own.usable_graphs(FINGERPRINT.name))
        super().__init__(own.snapshot, views, nodes, lambda: own._loaded(FINGERPRINT))
        self._other = other

    def limits(self, distance: float, wanted: Search) -> Limits:
        """Return what matches of a search must keep to in the other index."""
        return self._other.recognition.limits(distance, wanted)


class _Engines(Engines):
    """Engines over what was added to an index: everything is compared."""

    def __init__(self, opened: Snapshot, other: Engines) -> None:
        super().__init__(opened)
        self._other = other
        self._tails: dict[str, Tail] = {}

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
        """Answer stored vectors; see :meth:`annidx.engines.Engines.search`.

        Kept projected as for a graph of the other index, 2,000 thumbs take a tenth of the time.
        """
        tail, vectors = self._tail(measure), self.vectors(measure.name)
        if tail is None:
            return super().search(measure, stored, limit, k, engine=engine, among=among)
        among_these = vectors if among is None else vectors.only(among)
        found = tail.search(among_these, stored, cutoff=limit, k=k)
        return [(hits, "exact") for hits in found]

    def _tail(self, measure: Descriptor) -> Tail | None:
        if not self._other.usable_graphs(measure.name):
            return None
        (placed, *_), _ = self._other._loaded(measure)
        vectors = self.vectors(measure.name)
        with self._lock:
            if measure.name not in self._tails:
                rows = np.flatnonzero(vectors.live)
                self._tails[measure.name] = Tail.of(vectors, rows, placed.graph.projection)
            return self._tails[measure.name]

    @cached_property
    def recognition(self) -> Recognition:
        """What finds pictures by fingerprint."""
        return _Recognition(self, self._other)


class Both:
    """An index and what was added to it; safe to share between threads.

    Parameters
    ----------
    index : Index
    added : Snapshot, optional
        See :class:`annidx.uploads.Uploads`.
    """

    def __init__(self, index: Index, added: Snapshot | None) -> None:
        self.index, self.snapshot = index, added
        self._added: Index | None = None
        if added is not None and added.pictures.live.any():
            self._added = Index(added)
            self._added.engines = _Engines(added, index.engines)

    def left_out(self, metric: str) -> int:
        """Return how many uploads a search by a metric cannot see: it was not kept of them."""
        if self._added is None or metric in self._added.manifest.descriptors:
            return 0
        return len(self._added)

    def query(
        self, records: Sequence[Record], *, payload: Mapping[str, Any], **options: Any
    ) -> list[Matches]:
        """Return what is near to some pictures, in both.

        Parameters
        ----------
        records : Sequence of Record
        payload : Mapping of str to Any
            Only pictures that clients have added with these members in their payload; empty: all.
        **options
            See :meth:`annidx.Index.query`.
        """
        metric = metric_of(QueryOptions, options, self.index.manifest.descriptors)
        found = self.index.query_many(records, **{**options, "metric": metric})

        def ask(added: Index, wanted: dict[str, Any]) -> list[Matches]:
            asked = [replace(each, file=_nowhere(each.file)) for each in records]
            return added.query_many(asked, **wanted)

        own = [each.file.path for each in records]
        return self._beside(found, ask, own, payload, {**options, "metric": metric})

    def query_vectors(
        self, vectors: npt.ArrayLike, *, payload: Mapping[str, Any], **options: Any
    ) -> list[Matches]:
        """Return what is near to descriptors, in both; see :meth:`query`."""
        metric = metric_of(VectorOptions, options, self.index.manifest.descriptors)
        found = self.index.query_vectors(vectors, **{**options, "metric": metric})

        def ask(added: Index, wanted: dict[str, Any]) -> list[Matches]:
            return added.query_vectors(vectors, **wanted)

        own = [b""] * len(found)
        return self._beside(found, ask, own, payload, {**options, "metric": metric})

    def _beside(
        self,
        found: list[Matches],
        ask: Callable[[Index, dict[str, Any]], list[Matches]],
        own: Sequence[bytes],
        payload: Mapping[str, Any],
        options: dict[str, Any],
    ) -> list[Matches]:
        """Put what was added to what was found in the index; `own` are the paths of the queries."""
        if payload:
            found = [replace(each, matches=()) for each in found]
        if self._added is None:
            return found
        if self.left_out(options["metric"]):
            return [_incomplete(each) for each in found]
        k = options.get("k", K)
        # Payloads are looked at afterwards, so k must not cut off what they would keep; one more,
        # since the picture that was asked with is left out here.
        wide = {**options, "k": None if payload or k is None else k + 1, "engine": "auto"}
        added = ask(self._added, wide)
        return [
            _together(one, _of(other, payload, path), k)
            for one, other, path in zip(found, added, own, strict=True)
        ]


def _nowhere(file: File) -> File:
    """Return a file without its path: nothing that was added is a file."""
    return replace(file, path=b"", inode=0, companions=())


def _of(found: Matches, payload: Mapping[str, Any], own: bytes) -> Matches:
    """Return the matches with a payload, without the picture that was asked with."""
    kept = tuple(
        match
        for match in found
        if match.raw_path != own and has_payload(upload_of(match.raw_path), payload)
    )
    return replace(found, matches=kept)


def has_payload(upload: Upload | None, payload: Mapping[str, Any]) -> bool:
    """Tell whether an upload's payload has these members."""
    if upload is None:
        return not payload
    missing = object()
    return all(upload.payload.get(name, missing) == value for name, value in payload.items())


def _incomplete(one: Matches) -> Matches:
    return replace(one, answer=replace(one.answer, complete=False))


def _together(one: Matches, other: Matches, k: int | None) -> Matches:
    every = sorted((*one, *other), key=_order)
    cut = k is not None and len(every) > k
    complete = one.answer.complete and other.answer.complete and not cut
    left_out = one.answer.companions_left_out
    answer = replace(one.answer, complete=complete, companions_left_out=left_out)
    return replace(one, matches=tuple(every[:k]), answer=answer)


def _order(match: Match) -> tuple[float, bytes]:
    return match.distance if match.chance is None else match.chance, match.raw_path


def verdict(found: Matches, thresholds: Thresholds) -> Verdict:
    """Return what is to become of a picture, by its nearest match.

    Parameters
    ----------
    found : Matches
    thresholds : Thresholds
    """
    nearest = min((_order(match)[0] for match in found), default=None)
    if nearest is None or nearest > thresholds.review:
        return "accept"
    return "reject" if nearest <= thresholds.reject else "review"
