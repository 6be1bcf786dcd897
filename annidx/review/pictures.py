"""Rows of an index as clearing up sees them: where a picture lies, what it holds, what it says."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from annidx.errors import UsageError
from annidx.images.scan import is_inside
from annidx.index import Index
from annidx.roots import PathLike, expand

_COLUMNS = (
    *("root_id", "path", "size", "mtime_ns", "content_hash", "pixel_hash", "width", "height"),
    *("format", "camera", "taken", "companions"),
)


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of the index.

    Attributes
    ----------
    path, root : bytes
        Absolute; the root is the one that it was found under.
    content_hash, pixel_hash : bytes
        32 bytes each.
    size : int
        Bytes.
    mtime_ns : int
        Modification time, nanoseconds since 1970.
    width, height : int
        Pixels as stored.
    format, camera, taken : str
        As the index has them; empty when unknown.
    companions : tuple of bytes
        Names in the same folder, as of the build.
    added : str
        What those have to themselves that lack what was added to this one: see
        :mod:`annidx.review.clean`. Empty when nothing was, or nobody looked.
    """

    path: bytes
    root: bytes
    content_hash: bytes
    pixel_hash: bytes
    size: int
    mtime_ns: int
    width: int
    height: int
    format: str
    camera: str
    taken: str
    companions: tuple[bytes, ...]
    added: str = ""


def pictures_of(index: Index, rows: Collection[int]) -> list[Picture]:
    """Return some rows, in their order."""
    chosen = np.array(list(rows), np.intp)
    columns = index.snapshot.pictures.columns(_COLUMNS, chosen)
    roots, paths = columns.pop("root_id"), columns.pop("path")
    absolute = index.snapshot.joined(roots, paths)
    facts = [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]
    root_paths = index.snapshot.root_paths
    return [
        Picture(
            path=path,
            root=root_paths[root],
            **{**each, "companions": tuple(each["companions"] or ())},
        )
        for path, root, each in zip(absolute, roots, facts, strict=True)
    ]


def with_pixels(index: Index, hashes: Collection[bytes]) -> dict[bytes, list[Picture]]:
    """Return the pictures of some pixel hashes, by hash, each list by path."""
    found: dict[bytes, list[Picture]] = {each: [] for each in hashes}
    for picture in pictures_of(index, _rows_with(index, "pixel_hash", set(hashes))):
        found[picture.pixel_hash].append(picture)
    return {each: sorted(some, key=lambda one: one.path) for each, some in found.items()}


def same_bytes(index: Index) -> list[list[Picture]]:
    """Return the pictures that there are several of with equal bytes, by content, then by path."""
    rows = index.snapshot.pictures
    hashes = np.ascontiguousarray(rows.fixed("content_hash"))
    keys = hashes[:, :8].copy().view(np.int64).reshape(-1)  # a first sieve; whole hashes decide
    keys, live = keys[rows.live], np.flatnonzero(rows.live)
    _, which, counts = np.unique(keys, return_inverse=True, return_counts=True)
    groups: dict[bytes, list[Picture]] = {}
    for picture in pictures_of(index, live[counts[which] > 1]):
        if picture.content_hash != bytes(32):
            groups.setdefault(picture.content_hash, []).append(picture)
    several = [sorted(some, key=lambda one: one.path) for some in groups.values() if len(some) > 1]
    return sorted(several, key=lambda some: some[0].path)


def at_paths(index: Index, paths: Sequence[PathLike]) -> list[Picture]:
    """Return the pictures that files of the archive are.

    Raises
    ------
    UsageError
        For one that is no picture of the index.
    """
    wanted = [_spellings(path) for path in paths]
    rows = rows_at(index, {spelling for each in wanted for spelling in each})
    found = []
    for path, spellings in zip(paths, wanted, strict=True):
        row = next((rows[each] for each in spellings if each in rows), None)
        if row is None:
            message = (
                f"{os.fsdecode(path)}: no picture of the index lies there; "
                '"annidx export pictures" lists those that it holds'
            )
            raise UsageError(message)
        found.append(row)
    return pictures_of(index, found)


def is_protected(path: bytes, folders: Iterable[bytes]) -> bytes:
    """Return the protected folder that a file lies in, empty when it lies in none."""
    return next((each for each in folders if is_inside(path, each)), b"")


def _spellings(path: PathLike) -> tuple[bytes, ...]:
    """Return the absolute paths that a name may stand for; a link in the last place is kept."""
    plain = os.path.abspath(os.path.expanduser(os.fsencode(path)))
    beside = os.path.join(os.path.realpath(os.path.dirname(plain)), os.path.basename(plain))
    return plain, beside, expand(path)


def rows_at(index: Index, paths: Collection[bytes]) -> Mapping[bytes, int]:
    """Return the live row of each absolute path that is a picture of the index."""
    rows, folders = index.snapshot.pictures, index.snapshot.folders
    found, start = {}, 0
    for roots, names in rows.lists("root_id", "path"):
        for at, (root, name) in enumerate(zip(roots, names, strict=True), start=start):
            if folders[root] + name in paths and rows.live[at]:
                found[folders[root] + name] = at
        start += len(names)
    return found


def _rows_with(index: Index, column: str, hashes: Collection[bytes]) -> list[int]:
    """Return the live rows that have one of some hashes."""
    rows = index.snapshot.pictures
    if not hashes or not len(rows):
        return []
    stored = np.ascontiguousarray(rows.fixed(column))
    beginnings = stored[:, :8].copy().view(np.int64).reshape(-1)
    wanted = np.array([int.from_bytes(each[:8], "little", signed=True) for each in hashes])
    near = np.flatnonzero(np.isin(beginnings, wanted) & rows.live)
    return [at for at in near.tolist() if stored[at].tobytes() in hashes]
