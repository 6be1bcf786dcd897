"""Pairs of rows to pairs of paths, nearest first, however many there are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from annidx.answers import KINDS, flat_rows, numbered
from annidx.model import Pair
from annidx.search.selfjoin import RowPairs
from annidx.store.snapshot import Snapshot


class OrderedPairs(Sequence[Pair]):
    """Pairs of rows as pairs of paths, ordered by (distance, path a, path b).

    A pair is made when it is looked at: ten million of them as objects would take gigabytes.

    Parameters
    ----------
    opened : Snapshot
    found : RowPairs
    metric : str
    limit : int or None
        At most so many, the first ones.
    """

    def __init__(self, opened: Snapshot, found: RowPairs, metric: str, limit: int | None) -> None:
        self._metric = metric
        rows, flat = np.unique(np.concatenate([found.one, found.other]), return_inverse=True)
        self._paths = opened.paths(rows)
        rank = np.empty(len(rows), np.intp)
        rank[sorted(range(len(rows)), key=self._paths.__getitem__)] = np.arange(len(rows))
        one, other = flat[: len(found)], flat[len(found) :]
        swap = rank[one] > rank[other]
        a, b = np.where(swap, other, one), np.where(swap, one, other)
        order = np.lexsort((rank[b], rank[a], found.distances))[:limit]
        self._a, self._b = a[order].astype(np.int32), b[order].astype(np.int32)
        self._keys = found.distances[order]
        self._seen = None if found.seen is None else found.seen.where(order)
        self._flat = flat_rows(opened, rows)
        self._content = numbered(opened, "content_hash", rows)
        self._pixels = numbered(opened, "pixel_hash", rows)

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, item: Any) -> Any:
        if isinstance(item, slice):
            return [self._pair(at) for at in range(*item.indices(len(self)))]
        return self._pair(range(len(self))[item])

    def __iter__(self) -> Iterator[Pair]:
        return map(self._pair, range(len(self)))

    def _pair(self, at: int) -> Pair:
        a, b, seen = int(self._a[at]), int(self._b[at]), self._seen
        same_content = self._content[a] == self._content[b]
        same_pixels = self._pixels[a] == self._pixels[b]
        return Pair(
            raw_a=self._paths[a],
            raw_b=self._paths[b],
            distance=float(self._keys[at] if seen is None else seen.distances[at]),
            metric=self._metric,
            kind=KINDS[0 if same_content else 1 if same_pixels else 2],
            low_information=bool(self._flat[a] and self._flat[b]),
            score=None if seen is None else float(seen.scores[at]),
            chance=None if seen is None else float(self._keys[at]),
        )
