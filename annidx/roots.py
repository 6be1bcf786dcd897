"""The folders that an index covers: listed, added, removed, moved, without reading a picture."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from annidx.errors import FolderNotFound, UsageError
from annidx.images.scan import is_inside, merge_nested
from annidx.store import files, identity, snapshot
from annidx.store.manifest import Manifest, Root
from annidx.store.rowset import Rowset, without
from annidx.store.snapshot import Snapshot

PathLike = str | bytes | os.PathLike[str]


def resolve(path: PathLike) -> bytes:
    """Return the real absolute path of a folder, ``~`` expanded.

    Raises
    ------
    FolderNotFound
        When it does not exist or is not a folder.
    """
    real = expand(path)
    if not os.path.exists(real):
        message = f"no such folder: {os.fsdecode(path)}"
        raise FolderNotFound(message)
    if not os.path.isdir(real):
        message = f"not a folder: {os.fsdecode(path)}"
        raise FolderNotFound(message)
    return real


def expand(path: PathLike) -> bytes:
    """Return the real absolute path of something that need not exist."""
    return os.path.realpath(os.path.expanduser(os.fsencode(path)))


def merged(known: Sequence[Root], added: Sequence[bytes], next_id: int) -> tuple[list[Root], int]:
    """Return the roots with new ones among them, nested ones merged, and the next free id."""
    by_path = {root.path: root for root in known}
    roots = []
    for path in merge_nested([*by_path, *added]):
        if path in by_path:
            roots.append(by_path[path])
        else:
            roots.append(Root(next_id, path))
            next_id += 1
    return roots, next_id


def add(index: Path, folders: Sequence[PathLike], *, lock_wait_s: float = 0.0) -> Manifest:
    """Add folders to the roots; their pictures come with the next build."""
    resolved = [resolve(folder) for folder in folders]
    identity.create(index)
    with files.writer_lock(index, lock_wait_s):
        base = snapshot.current_manifest(index) or Manifest(0, "")
        keep, next_id = merged(base.roots, resolved, base.next_root_id)
        # A root that lies inside a new one keeps its pictures until the next build hands them over.
        inside = [root for root in base.roots if root not in keep]
        roots = tuple(sorted([*keep, *inside], key=lambda root: root.path))
        return _published(index, replace(base, roots=roots, next_root_id=next_id))


def remove(index: Path, folder: PathLike, *, lock_wait_s: float = 0.0) -> tuple[Manifest, int]:
    """Remove a root and its pictures from the index; returns how many pictures went.

    No file of the folder is touched.
    """
    identity.index_id(index)
    with files.writer_lock(index, lock_wait_s):
        current = snapshot.current(index)
        root = _known(current.manifest, folder)
        pictures = _gone(current.pictures, root.root_id)
        entries = [
            *without(current.pictures, pictures),
            *without(current.other, _gone(current.other, root.root_id)),
        ]
        manifest = replace(
            current.manifest,
            roots=tuple(each for each in current.manifest.roots if each is not root),
            segments=tuple(entries),
        )
        manifest = replace(manifest, counts=counts(Snapshot(index, manifest)))
        removed = int((pictures & current.pictures.live).sum())
        return _published(index, manifest), removed


def move(index: Path, old: PathLike, new: PathLike, *, lock_wait_s: float = 0.0) -> Manifest:
    """Tell the index that a root lies elsewhere now; nothing is read again.

    Raises
    ------
    FolderNotFound
        When `new` is no folder, or `old` is not a root.
    UsageError
        When `new` overlaps with another root.
    """
    path = resolve(new)
    identity.index_id(index)
    with files.writer_lock(index, lock_wait_s):
        base = snapshot.current(index).manifest
        root = _known(base, old)
        for other in base.roots:
            if other is not root and (is_inside(path, other.path) or is_inside(other.path, path)):
                message = f"{os.fsdecode(path)} overlaps with the root {os.fsdecode(other.path)}"
                raise UsageError(message)
        moved = replace(root, path=path, moved=True, status="online")
        roots = tuple(moved if each is root else each for each in base.roots)
        return _published(index, replace(base, roots=roots))


def counts(opened: Snapshot) -> dict[str, int]:
    """Return the live rows of a snapshot by status."""
    result: dict[str, int] = {}
    for rowset in (opened.pictures, opened.other):
        for status in rowset.values("status", np.flatnonzero(rowset.live)):
            result[status] = result.get(status, 0) + 1
    return dict(sorted(result.items()))


def _published(index: Path, manifest: Manifest) -> Manifest:
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return snapshot.publish(index, replace(manifest, created=created))


def _known(manifest: Manifest, folder: PathLike) -> Root:
    wanted = {expand(folder), os.fsencode(folder)}
    for root in manifest.roots:
        if root.path in wanted:
            return root
    known = ", ".join(os.fsdecode(root.path) for root in manifest.roots) or "none"
    message = f"{os.fsdecode(folder)} is not a root of this index; its roots: {known}"
    raise FolderNotFound(message)


def _gone(rowset: Rowset, root_id: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.asarray(rowset.numbers("root_id") == root_id)
