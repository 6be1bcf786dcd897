"""What a search is asked for, as masks over the rows of a snapshot, and over pairs of rows.

Columns of facts are read when something asks for them, and only those; a million rows take
milliseconds by size, pixels or time, half a second by folder, a second or two by glob.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from annidx import globs
from annidx.answers import companion_pairs
from annidx.asking import Filter, PathLike, Search, moment_ns
from annidx.decisions import Apart
from annidx.errors import UsageError
from annidx.found import Group
from annidx.images.content import RAW_SUFFIXES
from annidx.images.decode import FORMATS
from annidx.images.scan import is_inside
from annidx.kinds import KINDS
from annidx.roots import expand
from annidx.search.selfjoin import RowPairs, Sides
from annidx.search.sightings import Sightings
from annidx.store.snapshot import Snapshot

Flags = npt.NDArray[np.bool_]

_RAW = frozenset(suffix[1:].decode().upper() for suffix in RAW_SUFFIXES)
_OTHER_NAMES = {
    "JPG": {"JPEG", "MPO"},
    "JPEG": {"JPEG", "MPO"},  # MPO: a JPEG that holds a second picture, for 3D or as a preview
    "TIF": {"TIFF"},
    "HEIC": {"HEIF"},
    "JP2": {"JPEG2000"},
    "RAW": _RAW | {"RAW"},
}


class Selection:
    """Masks over the pictures of a snapshot, safe to share between threads.

    Parameters
    ----------
    opened : Snapshot

    Attributes
    ----------
    apart : Apart
        Tells which pairs of pictures were decided to be no duplicates.
    """

    def __init__(self, opened: Snapshot) -> None:
        self._opened, self._rows = opened, opened.pictures
        self._last: tuple[Filter | None, Flags | None] = (None, None)
        self.apart = Apart(opened.index)

    def among(self, where: Filter | None) -> Flags | None:
        """Return which rows a filter leaves, (n,) bool; None when it leaves all.

        Its `pixel_size` is not looked at: that takes a query, or a pair.
        """
        if where is None:
            return None
        wanted = replace(where, pixel_size=None)
        filtered, mask = self._last
        if filtered != wanted:
            mask = self._mask(wanted)
            self._last = wanted, mask
        return mask

    def _mask(self, where: Filter) -> Flags | None:
        parts: list[Flags] = []
        if where.min_bytes:
            parts.append(self._rows.numbers("size") >= where.min_bytes)
        if where.min_pixels:
            parts.append(self._large(where.min_pixels))
        if where.formats:
            wanted = self._formats(_texts(where.formats))
            parts.append(self._by_text("format", wanted.__contains__))
        if where.taken_from or where.taken_until:
            parts.append(self._by_text("taken", _within(where.taken_from, where.taken_until)))
        if where.paths:
            parts.append(self._by_path(globs.matcher(_texts(where.paths))))
        return np.asarray(np.logical_and.reduce(parts)) if parts else None

    @cached_property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Width and height of each row as one number, upright; see :func:`size_code`, (n,)."""
        width, height = self._sides
        turned = self._rows.numbers("orientation") >= 5
        return np.asarray(np.where(turned, height << 32 | width, width << 32 | height))

    @property
    def _sides(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        return (
            self._rows.numbers("width").astype(np.int64),
            self._rows.numbers("height").astype(np.int64),
        )

    def of_size(self, where: Filter, code: int) -> Flags:
        """Return which rows have the pixel size of a query, or have not, as a filter asks."""
        return np.asarray((self.sizes == code) == (where.pixel_size == "same"))

    def sides(self, wanted: Search, now: datetime) -> list[Sides]:
        """Return what `between`, `reference` and `since` ask of the two pictures of a pair.

        Raises
        ------
        UsageError
            When a folder holds no picture of the index, or a date is none.
        """
        everything = np.ones(len(self._rows), np.bool_)
        found = []
        if wanted.between is not None:
            one, other = (self.under(folder, "between") for folder in wanted.between)
            found.append(Sides(one, other))
        if wanted.folders:
            found.append(Sides(~self.protected(wanted), everything))
        if wanted.since is not None:
            new = self._rows.numbers("first_seen_ns") >= moment_ns(wanted.since, now)
            found.append(Sides(new, everything))
        return found

    def protected(self, wanted: Search) -> Flags:
        """Return which rows lie in the reference folders, (n,) bool."""
        parts = [self.under(folder, "reference") for folder in wanted.folders]
        return np.asarray(np.logical_or.reduce(parts))

    def under(self, place: PathLike, option: str) -> Flags:
        """Return which rows lie in a folder, however deep, or are that file, (n,) bool.

        Raises
        ------
        UsageError
            When no picture does; `option` is what asked.
        """
        roots = self._rows.numbers("root_id")
        mask = np.zeros(len(self._rows), np.bool_)
        for path in _spellings(place):
            for root_id, root in self._opened.root_paths.items():
                if is_inside(root, path):
                    mask |= roots == root_id
                elif is_inside(path, root):
                    inside = path[len(root.rstrip(b"/")) + 1 :]
                    mask |= (roots == root_id) & self._below(inside)
        if not (mask & self._rows.live).any():
            known = ", ".join(map(os.fsdecode, self._opened.root_paths.values())) or "none"
            message = (
                f"{option}: no picture of the index lies in {os.fsdecode(place) or repr('')}; "
                f"its roots: {known}"
            )
            raise UsageError(message)
        return mask

    def _large(self, least: int | tuple[int, int]) -> Flags:
        width, height = self._sides
        if isinstance(least, int):
            return width * height >= least
        short, long = np.minimum(width, height), np.maximum(width, height)
        return np.asarray((short >= min(least)) & (long >= max(least)))

    def _formats(self, names: Sequence[str]) -> set[str]:
        held = set(self._rows.labels("format")[1])
        wanted: set[str] = set()
        for name in names:
            kinds = _OTHER_NAMES.get(name.upper(), {name.upper()})
            if not kinds & (held | set(FORMATS) | _RAW):
                known = ", ".join(sorted(held | set(FORMATS)))
                message = f"unknown format {name!r}: expected some of {known}, RAW"
                raise UsageError(message)
            wanted |= kinds
        return wanted

    def _by_text(self, column: str, matches: Callable[[str], bool]) -> Flags:
        numbers, texts = self._rows.labels(column)
        return np.array([*map(matches, texts)], np.bool_)[numbers]

    def _by_path(self, matches: Callable[[bytes], bool]) -> Flags:
        folders = self._opened.folders
        flags = (
            matches(folders[root] + path)
            for part in self._rows.lists("root_id", "path")
            for root, path in zip(*part, strict=True)
        )
        return np.fromiter(flags, np.bool_, len(self._rows))

    def _below(self, folder: bytes) -> Flags:
        inside = folder + b"/"
        flags = (
            path.startswith(inside) or path == folder
            for (part,) in self._rows.lists("path")
            for path in part
        )
        return np.fromiter(flags, np.bool_, len(self._rows))


Judge = Callable[[Sightings], Sequence[str]]
"""Tells what the pictures of some pairs are to each other."""


class PairFilter:
    """Tells of any pairs of rows which are to be kept: what a mask over rows cannot say.

    Parameters
    ----------
    opened : Snapshot
    selection : Selection
    wanted : Search
    kinds : container of str, optional
        Only pairs of these kinds.
    judge : callable, optional
        Tells them apart where neither bytes nor pixels are the same.

    Attributes
    ----------
    companions_left_out : int
        How many of the pairs seen so far were left out only since one picture is the companion of
        the other.
    """

    def __init__(
        self,
        opened: Snapshot,
        selection: Selection,
        wanted: Search,
        kinds: Container[str] = KINDS,
        judge: Judge | None = None,
    ) -> None:
        self._opened, self._selection, self._wanted = opened, selection, wanted
        self._kinds, self._judge = kinds, judge
        self.companions_left_out = 0

    def __call__(self, found: RowPairs) -> Flags:
        """Return which pairs are to be kept, (m,) bool."""
        kept = np.ones(len(found), np.bool_)
        where = self._wanted.where
        if where is not None and where.pixel_size is not None:
            sizes = self._selection.sizes
            kept &= (sizes[found.one] == sizes[found.other]) == (where.pixel_size == "same")
        if self._wanted.match == "exact":
            kept &= _equal(self._pixels, found) | _equal(self._contents, found)
        if not all(kind in self._kinds for kind in KINDS):
            kept[kept] = self._of_kinds(found.where(kept))
        if not self._wanted.companions:
            beside = companion_pairs(self._opened, self._has_companions, found)
            self.companions_left_out += int((kept & beside).sum())
            kept &= ~beside
        if not self._wanted.decided and (apart := self._selection.apart()):
            kept[kept] = ~self._apart(found.where(kept), apart)
        return kept

    def _apart(self, found: RowPairs, apart: frozenset[frozenset[bytes]]) -> Flags:
        """Tell which pairs were decided to be no duplicates."""
        decided = [each[:8] for pair in apart for each in pair]
        near = np.isin(self._pixels, np.frombuffer(b"".join(decided), np.int64))
        told = np.zeros(len(found), np.bool_)
        hashes = self._opened.pictures.fixed("pixel_hash")
        for at in np.flatnonzero(near[found.one] & near[found.other]).tolist():
            both = (hashes[found.one[at]].tobytes(), hashes[found.other[at]].tobytes())
            told[at] = frozenset(both) in apart
        return told

    def _of_kinds(self, found: RowPairs) -> Flags:
        same = _equal(self._contents, found)
        copies = ~same & _equal(self._pixels, found)
        kept = np.where(same, "identical" in self._kinds, "same-pixels" in self._kinds)
        rest = np.flatnonzero(~same & ~copies)
        if self._judge is None or found.seen is None:
            kept[rest] = "similar" in self._kinds
        else:
            kept[rest] = [kind in self._kinds for kind in self._judge(found.seen.where(rest))]
        return kept

    @cached_property
    def _has_companions(self) -> Flags:
        return self._opened.pictures.filled("companions")

    # Eight bytes of a hash: that two pictures at distance 0 agree in them by chance is as likely
    # as a broken processor, and `kind` is told by whole hashes afterwards.
    @cached_property
    def _pixels(self) -> npt.NDArray[np.int64]:
        return _beginnings(self._opened.pictures.fixed("pixel_hash"))

    @cached_property
    def _contents(self) -> npt.NDArray[np.int64]:
        return _beginnings(self._opened.pictures.fixed("content_hash"))


def with_protected(groups: Sequence[Group], wanted: Search) -> list[Group]:
    """Mark the members of groups that lie in the reference folders: they free no bytes."""
    folders = [path for folder in wanted.folders for path in _spellings(folder)]
    if not folders:
        return list(groups)
    marked = []
    for group in groups:
        inside = tuple(
            path for path in group.raw_paths if any(is_inside(path, each) for each in folders)
        )
        freed = sum(
            size
            for path, size in zip(group.raw_paths, group.sizes, strict=True)
            if path not in set(inside)
        )
        freed = freed if inside else group.freed_bytes
        marked.append(replace(group, protected=inside, freed_bytes=freed))
    return marked


def _texts(given: Any) -> tuple[str, ...]:
    """Return what a filter has brought to this form."""
    return tuple(given)


def size_code(width: int, height: int) -> int:
    """Return a pixel size as one number."""
    return width << 32 | height


def _spellings(place: PathLike) -> set[bytes]:
    """Return the absolute paths that a name may stand for: as it is written, and the real one."""
    if not os.fsencode(place):
        return set()
    return {expand(place), os.fsencode(Path(os.fsdecode(place)).absolute())}


def _within(first: Any, last: Any) -> Callable[[str], bool]:
    """Return what tells whether a time of exposure lies between two, of which either may be short.

    As text they are ordered as in time, and a shorter one is the beginning of all that it covers.
    """

    def matches(taken: str) -> bool:
        after = first is None or taken >= first
        return bool(taken and after and (last is None or taken[: len(last)] <= last))

    return matches


def _equal(values: npt.NDArray[np.int64], found: RowPairs) -> Flags:
    return np.asarray(values[found.one] == values[found.other])


def _beginnings(hashes: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    return np.ascontiguousarray(hashes[:, :8]).view(np.int64).reshape(-1)
