"""Rows to answers: paths, kinds and flags of what a search has found. Joins store and search."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from annidx.graphs import vectors_of
from annidx.model import File, Group, Match, Pair, Record
from annidx.search import groups as grouping
from annidx.search.exact import Hits
from annidx.search.groups import RowGroup
from annidx.search.selfjoin import RowPairs
from annidx.search.vectors import Rows, Vectors, is_flat
from annidx.store.snapshot import Snapshot

Flags = npt.NDArray[np.bool_]

_FACTS = (
    *("image_id", "width", "height", "size", "format"),
    *("content_hash", "pixel_hash"),
)


def kinds(same_content: Flags, same_pixels: Flags) -> list[str]:
    """Return the kind of each pair: 'identical', 'same-pixels' or 'similar'."""
    levels = np.where(same_content, 0, np.where(same_pixels, 1, 2))
    names = ("identical", "same-pixels", "similar")
    return [names[level] for level in levels]


def flat_rows(opened: Snapshot, rows: Rows) -> Flags:
    """Tell which pictures have next to no information, (m,) bool."""
    return is_flat(vectors_of(opened, "thumb").take(rows))


def matches(opened: Snapshot, query: Record | None, hits: Hits, metric: str) -> list[Match]:
    """Return the hits of one query as matches, by (distance, path bytes).

    Parameters
    ----------
    opened : Snapshot
    query : Record or None
        What was asked, so that its own file is left out and kinds can be told; its path is
        absolute, or empty when it has no file. None for a bare vector.
    hits : Hits
    metric : str
    """
    rows = hits.rows
    paths = opened.paths(rows)
    other = range(len(rows)) if query is None else _not_itself(opened, query.file, rows, paths)
    facts = {name: opened.pictures.values(name, rows) for name in _FACTS}
    kind = _kinds_of(query, facts)
    flat = flat_rows(opened, rows) & (query is not None and _is_flat(query))
    order = sorted(other, key=lambda at: (hits.distances[at], paths[at]))
    return [
        Match(
            raw_path=paths[at],
            distance=float(hits.distances[at]),
            metric=metric,
            kind=kind[at],
            transform="none",
            image_id=facts["image_id"][at],
            width=facts["width"][at],
            height=facts["height"][at],
            size=facts["size"][at],
            format=facts["format"][at],
            low_information=bool(flat[at]),
        )
        for at in order
    ]


def row_record(opened: Snapshot, row: int) -> Record:
    """Return a picture of the archive as a query; its path is absolute."""
    rows = np.array([row])
    record = next(opened.pictures.records(rows))
    return replace(record, file=replace(record.file, path=opened.paths(rows)[0]))


def pairs(opened: Snapshot, found: RowPairs, metric: str) -> Iterator[Pair]:
    """Yield pairs of rows as pairs of paths, ordered by (distance, path a, path b)."""
    rows, flat = np.unique(np.concatenate([found.one, found.other]), return_inverse=True)
    paths = opened.paths(rows)
    rank = np.empty(len(rows), np.intp)
    rank[sorted(range(len(rows)), key=paths.__getitem__)] = np.arange(len(rows))
    one, other = flat[: len(found)], flat[len(found) :]
    swap = rank[one] > rank[other]
    a, b = np.where(swap, other, one), np.where(swap, one, other)
    order = np.lexsort((rank[b], rank[a], found.distances))
    a, b, apart = a[order], b[order], found.distances[order]
    low = flat_rows(opened, rows)
    kind = kinds(
        _equal(opened, "content_hash", rows, a, b), _equal(opened, "pixel_hash", rows, a, b)
    )
    for at in range(len(order)):
        i, j = a[at], b[at]
        yield Pair(paths[i], paths[j], float(apart[at]), metric, kind[at], bool(low[i] and low[j]))


def without_low_information(opened: Snapshot, found: RowPairs) -> tuple[RowPairs, int]:
    """Drop pairs with a picture without information unless their bytes are equal.

    One faint picture that is near to many flat ones would else make one giant group of them.

    Returns
    -------
    RowPairs
    int
        How many pictures are of that class and had such a pair.
    """
    rows, flat = np.unique(np.concatenate([found.one, found.other]), return_inverse=True)
    one, other = flat[: len(found)], flat[len(found) :]
    low = flat_rows(opened, rows)
    idle = (low[one] | low[other]) & ~_equal(opened, "content_hash", rows, one, other)
    aside = [at for at in np.union1d(one[idle], other[idle]) if low[at]]
    kept = RowPairs(found.one[~idle], found.other[~idle], found.distances[~idle])
    return kept, len(aside)


def group(opened: Snapshot, vectors: Vectors, number: int, found: RowGroup) -> Group:
    """Return a group of rows with its paths and figures."""
    sizes = opened.pictures.values("size", found.rows)
    return Group(
        number=number,
        linkage="connected",
        raw_paths=tuple(sorted(opened.paths(found.rows))),
        diameter=grouping.diameter(vectors, found.rows),
        weakest=found.weakest,
        freed_bytes=sum(sizes) - max(sizes),
        metric=vectors.descriptor.name,
    )


def _equal(opened: Snapshot, name: str, rows: Rows, one: Rows, other: Rows) -> Flags:
    values = opened.pictures.values(name, rows)
    numbers: dict[bytes, int] = {}
    number = np.array([numbers.setdefault(value, len(numbers)) for value in values], np.intp)
    return np.asarray(number[one] == number[other])


def _kinds_of(query: Record | None, facts: Mapping[str, list[Any]]) -> list[str]:
    if query is None or query.content_hash == bytes(32):  # no file: no bytes to compare
        return ["similar"] * len(facts["content_hash"])
    content = [found == query.content_hash for found in facts["content_hash"]]
    pixels = [found == query.pixel_hash for found in facts["pixel_hash"]]
    return kinds(np.array(content, np.bool_), np.array(pixels, np.bool_))


def _is_flat(query: Record) -> bool:
    return bool(is_flat(np.frombuffer(query.descriptors["thumb"], np.uint8)[None])[0])


def _not_itself(opened: Snapshot, asked: File, rows: Rows, paths: list[bytes]) -> list[int]:
    """Return the places of the hits that are not the query's own file.

    Itself is the same real path, or the same (device, inode) as of now: the stored ones may be old.
    """
    if not asked.path:
        return list(range(len(rows)))
    inodes = opened.pictures.values("inode", rows)
    return [
        at
        for at, path in enumerate(paths)
        if path != asked.path and not (inodes[at] == asked.inode and _same_file(path, asked.path))
    ]


def _same_file(path: bytes, asked: bytes) -> bool:
    try:
        return os.path.samefile(path, asked)
    except OSError:
        return False
