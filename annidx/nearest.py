"""Queries against an open snapshot: filtered, turned, and asked again when too little is left."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from annidx import answers
from annidx.answers import Asked, Found, Named
from annidx.asking import Search
from annidx.descriptors import Descriptor
from annidx.engines import Engines
from annidx.errors import UsageError
from annidx.found import Matches
from annidx.kinds import KINDS, Explanation
from annidx.model import Choice, Engine
from annidx.search import transforms
from annidx.search.exact import Hits
from annidx.search.vectors import Stored
from annidx.selection import Flags, Selection, size_code

SPARE = 3
"""Fetched beyond k: the query itself, a companion, and one more that tells whether k cut short."""
SAME_BYTES = ("identical", "same-pixels")


class Variants(NamedTuple):
    """What the variants of one query have found together."""

    hits: Hits
    turns: Mapping[int, str]
    engine: Engine
    explained: Sequence[Explanation] | None = None


class Nearest:
    """Searches a snapshot for what is near to queries.

    Parameters
    ----------
    engines : Engines
    selection : Selection
    measure : Descriptor
        Of the metric.
    limit : float
        The cutoff, inclusive.
    wanted : Search
    """

    def __init__(
        self,
        engines: Engines,
        selection: Selection,
        measure: Descriptor,
        limit: float,
        wanted: Search,
    ) -> None:
        self._engines, self._selection = engines, selection
        self._measure, self._limit, self._wanted = measure, limit, wanted
        self._engine: Choice = "exact" if wanted.exact else wanted.engine

    def matches(self, stored: Stored, asked: Sequence[Asked]) -> list[tuple[Found, Engine]]:
        """Search, name the hits, leave out the queries themselves and their companions.

        Parameters
        ----------
        stored : (m, width) uint8
        asked : Sequence of Asked
            One for each.

        Raises
        ------
        UsageError
            When the bytes or the pixel size of a query are to be compared and it has none.
        """
        self._check(asked)
        wanted = self._wanted
        kinds = SAME_BYTES if wanted.match == "exact" else wanted.only_kinds or KINDS
        apart = () if wanted.decided else self._selection.apart()
        done: dict[int, tuple[Found, Engine]] = {}
        fetch = None if wanted.k is None else wanted.k + SPARE
        while todo := [at for at in range(len(asked)) if at not in done]:
            found = self._found(stored[todo], [asked[at] for at in todo], fetch)
            rows = np.concatenate([each.hits.rows for each in found])
            named = Named(self._engines.snapshot, rows, apart)
            for at, (hits, turns, engine, explained) in zip(todo, found, strict=True):
                part = answers.matches(
                    *(named, asked[at], hits, self._measure.name),
                    k=wanted.k,
                    companions=wanted.companions,
                    kinds=kinds,
                    told=answers.told(hits, turns, explained),
                )
                if hits.complete or part.cut:
                    done[at] = part, engine
            # Of the others so much was left out that k is not exceeded: more may lie behind.
            fetch = None if fetch is None else 2 * fetch
        return [done[at] for at in range(len(asked))]

    def _found(self, stored: Stored, asked: Sequence[Asked], fetch: int | None) -> list[Variants]:
        """Search all variants of some queries, in one pass for each size that is asked for."""
        if self._measure.needs:
            return self._recognised(stored, asked, fetch)
        names = transforms.SETS[self._wanted.transforms]
        batches: dict[int | None, list[tuple[int, str]]] = {}
        for at, query in enumerate(asked):
            for name in names:
                batches.setdefault(self._size(query, name), []).append((at, name))
        parts: list[list[tuple[str, Hits]]] = [[] for _ in asked]
        engines: list[set[Engine]] = [set() for _ in asked]
        for size, batch in batches.items():
            searched = self._engines.search(
                self._measure,
                self._turned(stored, batch),
                self._limit,
                fetch,
                engine=self._engine,
                among=self._among(size),
            )
            for (at, name), (hits, engine) in zip(batch, searched, strict=True):
                parts[at].append((name, hits))
                engines[at].add(engine)
        return [
            _together(variants, used, fetch) for variants, used in zip(parts, engines, strict=True)
        ]

    def _recognised(
        self, stored: Stored, asked: Sequence[Asked], fetch: int | None
    ) -> list[Variants]:
        """Search by fingerprint, in one pass for each size that is asked for."""
        sizes = [self._size(query, "none") for query in asked]
        found: dict[int, Variants] = {}
        recognition = self._engines.recognition
        limits = recognition.limits(self._limit, self._wanted)
        for size in set(sizes):
            places, among = [at for at, each in enumerate(sizes) if each == size], self._among(size)
            engine = recognition.engine(len(places), self._wanted.views, self._engine, among)
            pixels = [asked[at].pixel_hash for at in places]
            hits = recognition.search(
                *(stored[places], pixels, limits, fetch),
                views=self._wanted.views,
                engine=engine,
                among=among,
            )
            for at, each in zip(places, hits, strict=True):
                explained = recognition.explained(asked[at].facts, stored[[at]], each)
                found[at] = Variants(each, {}, engine, explained)
        return [found[at] for at in range(len(asked))]

    def _turned(self, stored: Stored, batch: Sequence[tuple[int, str]]) -> Stored:
        """Return the stored bytes of variants, (m, width) uint8."""
        turned = np.empty((len(batch), stored.shape[1]), np.uint8)
        for name in {name for _, name in batch}:
            places = [place for place, (_, each) in enumerate(batch) if each == name]
            rows = [batch[place][0] for place in places]
            turned[places] = transforms.turned(self._measure, stored[rows], name)
        return turned

    def _size(self, query: Asked, name: str) -> int | None:
        """Return the pixel size of a variant, None when it does not matter."""
        if self._wanted.where is None or self._wanted.where.pixel_size is None:
            return None
        width, height = query.size
        return size_code(*((height, width) if name in transforms.TRANSPOSING else (width, height)))

    def _among(self, size: int | None) -> Flags | None:
        where = self._wanted.where
        mask = self._selection.among(where)
        if where is None or size is None:
            return mask
        sized = self._selection.of_size(where, size)
        return sized if mask is None else mask & sized

    def _check(self, asked: Sequence[Asked]) -> None:
        for query in asked:
            if self._wanted.match == "exact" and query.content_hash == bytes(32):
                message = (
                    f"match 'exact' compares the bytes of files, and {query.label} has none: "
                    "ask by a path or by bytes, or give match='strict'"
                )
                raise UsageError(message)
            if self._size(query, "none") == 0:
                message = f"pixel_size compares width and height, and {query.label} has none"
                raise UsageError(message)


def limited(found: Sequence[Matches], limit: int | None) -> list[Matches]:
    """Return the nearest matches over all queries, at most `limit` of them.

    Equal distances count in the order of the queries, then of the paths. A query that loses some
    is not complete.
    """
    if limit is None or sum(map(len, found)) <= limit:
        return list(found)
    every = (
        (match.distance, at, i) for at, each in enumerate(found) for i, match in enumerate(each)
    )
    nearest_of_all = heapq.nsmallest(limit, every)
    kept = Counter(at for _, at, _ in nearest_of_all)
    return [
        each
        if kept[at] == len(each)
        else replace(
            each, matches=each.matches[: kept[at]], answer=replace(each.answer, complete=False)
        )
        for at, each in enumerate(found)
    ]


def _together(
    variants: Sequence[tuple[str, Hits]], used: set[Engine], fetch: int | None
) -> Variants:
    if len(variants) == 1:
        ((name, hits),) = variants
        (engine,) = used
        return Variants(hits, dict.fromkeys(hits.rows.tolist(), name), engine)
    hits, turns = transforms.nearest_of(variants, fetch)
    # One variant that the graph answered is enough for its recall to be that of the whole.
    return Variants(hits, turns, "graph" if "graph" in used else "exact")
