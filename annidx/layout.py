"""When segments are merged and graphs made: pure functions of sizes, one rule for both.

*The merge rule*: going back from the newest, each is taken into what is written now as long as it
has fewer than twice the rows gathered so far. So sizes double, the number of segments and of graphs
grows with the logarithm of the number of builds, and a row is written about that often.

Segments that graphs count rows of are *covered* and stay as they are, whatever is removed from
them: the others are the *tail*, which is searched exactly. The merge rule runs over the tail. When
the tail outgrows :data:`TAIL_ROWS`, a graph is made over it and over the newest graphs' segments,
by the same rule; that is when their small segments become one. A graph of which a quarter of the
rows are removed joins the tail. `scripts/simulate_layout.py` shows what this costs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from annidx.store.segment import ROWS

TAIL_ROWS = 2048
"""A tail of more rows gets a graph: one query scans that many thumbs in 8 ms."""

REMOVED_SHARE = 0.25
"""What has lost more of its rows is written anew without them."""


@dataclass(frozen=True, slots=True)
class Size:
    """Rows of a segment, and how many of them are live."""

    rows: int
    live: int

    @property
    def is_worn(self) -> bool:
        """True when so many rows are removed that it is written anew without them."""
        return self.rows - self.live > REMOVED_SHARE * self.rows


@dataclass(frozen=True, slots=True)
class Layout:
    """What becomes of segments and graphs.

    Attributes
    ----------
    kept : tuple of int
        Places of the groups that keep their graphs, ascending.
    rewritten : tuple of int
        Places of the segments that are written anew together with the new rows, ascending.
    cover : bool
        True when all segments outside the kept groups get graphs.
    """

    kept: tuple[int, ...]
    rewritten: tuple[int, ...]
    cover: bool


def plan(
    sizes: Sequence[Size],
    groups: Sequence[Sequence[int]],
    *,
    waiting: int,
    written: int = 0,
    anew: bool = False,
) -> Layout:
    """Decide what is merged and what gets a graph.

    Parameters
    ----------
    sizes : Sequence of Size
        Of the segments of pictures, oldest first.
    groups : Sequence of Sequence of int
        For each graph (of one metric) the places of its segments in `sizes`, oldest first.
    waiting : int
        New rows that are in no segment yet.
    written : int
        New rows that are in segments already.
    anew : bool
        True when no graph may stay.

    Examples
    --------
    A hundred new pictures join those of yesterday; 3,000 get a graph, and the smaller one goes:

    >>> big, small = Size(50_000, 50_000), Size(300, 300)
    >>> plan([big, small], [[0]], waiting=100)
    Layout(kept=(0,), rewritten=(), cover=False)
    >>> plan([big, small], [[0]], waiting=200)
    Layout(kept=(0,), rewritten=(1,), cover=False)
    >>> plan([big, Size(4000, 4000)], [[0], [1]], waiting=3000)
    Layout(kept=(0,), rewritten=(1,), cover=True)
    """
    live = [sum(sizes[place].live for place in group) for group in groups]
    rows = [sum(sizes[place].rows for place in group) for group in groups]
    worn = [Size(*each).is_worn for each in zip(rows, live, strict=True)]
    kept = [at for at in range(len(groups)) if not (anew or worn[at])]
    covered = {place for at in kept for place in groups[at]}
    tail = waiting + written + sum(s.live for at, s in enumerate(sizes) if at not in covered)
    cover = tail > TAIL_ROWS or (not kept and tail > 0)
    while cover and kept and live[kept[-1]] < 2 * tail:
        tail += live[kept[-1]]
        covered -= set(groups[kept.pop()])
    open_places = [at for at in range(len(sizes)) if at not in covered]
    rewritten = merged([sizes[at] for at in open_places], waiting, cover=cover)
    return Layout(tuple(kept), tuple(open_places[at] for at in rewritten), cover)


def merged(sizes: Sequence[Size], waiting: int, *, cover: bool = False) -> list[int]:
    """Return which segments (oldest first) are written anew together with `waiting` rows.

    Parameters
    ----------
    sizes : Sequence of Size
    waiting : int
    cover : bool
        True when they get a graph: then they will not be merged again for a long time.

    Examples
    --------
    >>> merged([Size(50_000, 50_000), Size(300, 300), Size(150, 150)], 100)
    [1, 2]
    >>> merged([Size(50_000, 50_000), Size(300, 300)], 0)
    []
    >>> merged([Size(1000, 700), Size(5000, 5000)], 0)
    [0]
    >>> merged([Size(50_000, 50_000), Size(2000, 2000), Size(500, 500)], 10, cover=True)
    [1, 2]
    """
    chosen = {at for at, size in enumerate(sizes) if size.is_worn}
    if cover:
        small = {at for at, size in enumerate(sizes) if size.live < ROWS // 2}
        return sorted(chosen | small) if len(small) > 1 or waiting else sorted(chosen)
    gathered = waiting + sum(sizes[at].live for at in chosen)
    for at in reversed(range(len(sizes))):
        if at in chosen:
            continue
        if sizes[at].live >= 2 * gathered or gathered + sizes[at].live > ROWS:
            break
        chosen.add(at)
        gathered += sizes[at].live
    return sorted(chosen)


def groups_of(segments: Sequence[str], graphs: Iterable[Sequence[str]]) -> list[list[int]]:
    """Return the groups of segments that have graphs, oldest first; none overlap.

    Parameters
    ----------
    segments : Sequence of str
        Names of the segments, in order.
    graphs : iterable of Sequence of str
        The segments of each graph. One of which a segment is not there, or not beside the others,
        counts for nothing.
    """
    places = {name: at for at, name in enumerate(segments)}
    found = {tuple(places.get(name, -1) for name in covered) for covered in graphs}
    groups: list[list[int]] = []
    for group in sorted(found, key=lambda each: (each[:1], -len(each))):
        first = groups[-1][-1] + 1 if groups else 0
        if group and group[0] >= first and group == tuple(range(group[0], group[0] + len(group))):
            groups.append(list(group))
    return groups
