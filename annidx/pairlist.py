"""Pairs of rows to pairs of paths, nearest first, however many there are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from annidx.answers import Explain, flat_rows, numbered
from annidx.found import Pair
from annidx.kinds import Explanation, Kind
from annidx.search.selfjoin import RowPairs
from annidx.store.snapshot import Snapshot

_AT_ONCE = 4096


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
    explain : callable
        Says of pairs that were seen what b is to a.
    """

    def __init__(
        self,
        opened: Snapshot,
        found: RowPairs,
        metric: str,
        limit: int | None,
        explain: Explain,
    ) -> None:
        self._metric, self._explain = metric, explain
        self._explained: tuple[int, list[Explanation]] = -1, []
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
        self._seen = None
        if found.seen is not None:
            self._seen = found.seen.where(order).swapped(swap[order])
        self._flat = flat_rows(opened, rows)
        self._content = numbered(opened, "content_hash", rows)
        self._pixels = numbered(opened, "pixel_hash", rows)

    @property
    def keys(self) -> npt.NDArray[np.float64]:
        """What orders the pairs: chance, or distance where a metric tells none; ascending."""
        return self._keys

    def sides(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield both paths of each pair, in order, and look at no picture for it."""
        for a, b in zip(self._a.tolist(), self._b.tolist(), strict=True):
            yield self._paths[a], self._paths[b]

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
        said = None if seen is None else self._explanation(at)
        beyond = None if seen is None else seen.extrapolated
        return Pair(
            raw_a=self._paths[a],
            raw_b=self._paths[b],
            distance=float(self._keys[at] if seen is None else seen.distances[at]),
            metric=self._metric,
            kind=said.kind if said else _kind(same_content, same_pixels),
            low_information=bool(self._flat[a] and self._flat[b]),
            score=None if seen is None else float(seen.scores[at]),
            chance=None if seen is None else float(self._keys[at]),
            explanation=said,
            extrapolated=None if beyond is None else bool(beyond[at]),
        )

    def _explanation(self, at: int) -> Explanation:
        """Return what b is to a, some thousands of pairs at a time: most are read in order."""
        block, place = divmod(at, _AT_ONCE)
        known, explained = self._explained
        if known != block:
            part = np.arange(block * _AT_ONCE, min((block + 1) * _AT_ONCE, len(self)))
            explained = self._explain(self._seen.where(part)) if self._seen else []
            self._explained = block, explained
        return explained[place]


def _kind(same_content: bool, same_pixels: bool) -> Kind:
    return "identical" if same_content else "same-pixels" if same_pixels else "similar"
