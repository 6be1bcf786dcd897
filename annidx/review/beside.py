"""What goes with a picture that is removed: its sidecars, and halves whose copy stays.

A sidecar follows its picture, unless it also belongs to one that stays. The other half of a RAW
and JPEG, or the video of a Live Photo, is a picture of its own: it goes only where a byte-identical
one lies beside the kept file, and else it stays where it is.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

from annidx.images.companions import SIDECARS, Companions
from annidx.images.content import suffix
from annidx.review.moving import Held, opened
from annidx.review.pictures import is_protected
from annidx.review.planned import Companion, Removal

_TAKEOUT = b".json"


def is_sidecar(name: bytes) -> bool:
    """Tell whether a companion is about a picture, and none itself."""
    return suffix(name) in SIDECARS or suffix(name) == _TAKEOUT


class Folders:
    """The companions of files, with each folder listed once: for one plan, or one apply of it."""

    def __init__(self) -> None:
        self._known: dict[bytes, Companions] = {}
        self._owners: dict[bytes, dict[bytes, list[bytes]]] = {}

    def of(self, path: bytes) -> tuple[bytes, ...]:
        """Return the names of the companions of a file; none when its folder cannot be listed."""
        folder, name = os.path.split(path)
        if folder not in self._known:
            self._list(folder)
        return self._known[folder].of(name)

    def owners_left(self, path: bytes, companion: bytes) -> list[bytes]:
        """Return the other pictures beside a file that have a companion and are there now."""
        folder, own = os.path.split(path)
        if folder not in self._known:
            self._list(folder)
        owners = self._owners[folder].get(companion, [])
        return [name for name in owners if name != own and os.path.lexists(folder + b"/" + name)]

    def _list(self, folder: bytes) -> None:
        names = _names(folder)
        beside = self._known[folder] = Companions(names)
        owners = self._owners[folder] = {}
        for name in names if beside else ():
            for companion in beside.of(name):
                owners.setdefault(companion, []).append(name)


def sidecars_and_halves(
    wishes: Sequence[Any], kept: Collection[bytes], protected: Sequence[bytes]
) -> Iterator[Removal]:
    """Yield removals with their companions, each followed by the halves that go with it.

    Parameters
    ----------
    wishes : Sequence
        With `one`, `kept` (pictures), `kind`, `reason` and `source`.
    kept : collection of bytes
        Paths that are kept for something.
    protected : sequence of bytes
    """
    planned, staying = {each.one.path for each in wishes}, set(kept)
    beside = Folders()
    for wish in wishes:
        main = Removal(
            path=wish.one.path,
            kept=wish.kept.path,
            root=wish.one.root,
            size=wish.one.size,
            content_hash=wish.one.content_hash,
            kept_hash=wish.kept.content_hash,
            kept_pixels=wish.kept.pixel_hash,
            pixels=wish.one.pixel_hash,
            kind=wish.kind,
            reason=wish.reason,
            source=wish.source,
        )
        folder = os.path.dirname(main.path)
        names = [
            name
            for name in beside.of(main.path)
            if os.path.join(folder, name) not in staying
            and not is_protected(os.path.join(folder, name), protected)
        ]
        yield replace(main, companions=tuple(_sidecars(folder, filter(is_sidecar, names))))
        for name in names:
            path = os.path.join(folder, name)
            if is_sidecar(name) or path in planned:
                continue
            half = _half(main, path, beside)
            if half is not None and half.kept not in planned:
                planned.add(path)
                staying.add(half.kept)
                own = filter(is_sidecar, beside.of(path))
                yield replace(half, companions=tuple(_sidecars(folder, own)))


def _sidecars(folder: bytes, names: Any) -> Iterator[Companion]:
    for name in names:
        try:
            with opened(os.path.join(folder, name)) as held:
                yield Companion(name, held.facts.st_size, held.content_hash())
        except OSError:  # no regular file, or not to be read: it stays
            continue


def _half(main: Removal, path: bytes, beside: Folders) -> Removal | None:
    """Return the removal of a picture's other half, None when no copy of it lies with the kept."""
    where = os.path.dirname(main.kept)
    for name in beside.of(main.kept):
        other = os.path.join(where, name)
        if other == path or suffix(name) != suffix(path):
            continue
        try:
            with opened(path) as half, opened(other) as copy:
                found = _same_content(half, copy)
        except OSError:
            continue
        if found is not None:
            return replace(
                main,
                path=path,
                kept=other,
                size=half.facts.st_size,
                content_hash=found,
                kept_hash=found,
                kept_pixels=bytes(32),
                pixels=bytes(32),
                kind="identical",
                reason=f"identical bytes; goes with {os.fsdecode(os.path.basename(main.path))}",
                goes_with=main.path,
            )
    return None


def _same_content(one: Held, other: Held) -> bytes | None:
    """Return the hash of two different files of equal bytes, None when they are not."""
    if one.identity == other.identity or one.facts.st_size != other.facts.st_size:
        return None
    found = one.content_hash()
    return found if found == other.content_hash() else None


def _names(folder: bytes) -> list[bytes]:
    try:
        with os.scandir(folder) as listing:
            return [each.name for each in listing if not each.is_dir(follow_symlinks=False)]
    except OSError:
        return []
