"""The functions of the public API: build an index, open an index, know where it lies by default."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from annidx.index import Index
from annidx.model import BuildReport
from annidx.options import Options
from annidx.place import default_index
from annidx.roots import PathLike
from annidx.store import files, history, identity, snapshot
from annidx.store.history import Pruned
from annidx.store.manifest import Manifest

if TYPE_CHECKING:
    from annidx import building

__all__ = ["build", "default_index", "open", "prune", "rollback"]


def build(
    roots: Sequence[PathLike] | PathLike = (),
    *,
    index: str | os.PathLike[str] | None = None,
    options: Options | None = None,
    progress: building.OnProgress | None = None,
) -> BuildReport:
    """Build an index over folders of pictures, or bring it up to date.

    Parameters
    ----------
    roots : path or sequence of paths
        Folders to add to those that the index knows. Empty: all known ones.
    index : path, optional
        The index directory; by default :func:`default_index`.
    options : Options, optional
    progress : callable, optional
        Called with an :class:`annidx.model.Progress` after every file.

    Returns
    -------
    BuildReport

    Raises
    ------
    FolderNotFound, IndexLocked, IndexNotFound, IndexDamaged, IndexTooNew
    """
    from annidx import building  # noqa: PLC0415 - who only asks needs none of it

    folders = [roots] if isinstance(roots, str | bytes | os.PathLike) else list(roots)
    return building.build(folders, place(index), options, progress=progress)


def open(
    index: str | os.PathLike[str] | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Index:
    """Open the newest snapshot of an index, read-only.

    Parameters
    ----------
    index : path, optional
        The index directory; by default :func:`default_index`.
    progress : callable, optional
        Told how many pictures were compared, and of how many, while all pairs by fingerprint are
        looked for: of 100,000 pictures that takes minutes.

    Raises
    ------
    IndexNotFound, IndexDamaged, IndexTooNew
    """
    return Index(snapshot.current(place(index)), progress)


def rollback(
    number: int | None = None,
    *,
    index: str | os.PathLike[str] | None = None,
    lock_wait_s: float = 0.0,
) -> Manifest:
    """Publish an earlier snapshot once more, as the next number.

    Parameters
    ----------
    number : int, optional
        By default the snapshot before the current one.
    index : path, optional
    lock_wait_s : float
        How long to wait for a build to end.

    Raises
    ------
    UsageError
        When there is no such snapshot.
    IndexLocked, IndexNotFound, IndexDamaged, IndexTooNew
    """
    where = place(index)
    identity.index_id(where)
    with files.writer_lock(where, lock_wait_s):
        created = datetime.now(UTC).isoformat(timespec="seconds")
        return history.roll_back(where, created, number)


def prune(
    *,
    keep: int = history.KEEP,
    keep_s: float = history.KEEP_S,
    dry_run: bool = False,
    index: str | os.PathLike[str] | None = None,
    lock_wait_s: float = 0.0,
) -> Pruned:
    """Remove old snapshots and the files that no other one needs. Every build does it by itself.

    Parameters
    ----------
    keep : int
        So many of the newest snapshots stay.
    keep_s : float
        Those younger than this stay as well, in seconds.
    dry_run : bool
        Only say what would go.
    index : path, optional
    lock_wait_s : float
        How long to wait for a build to end.

    Raises
    ------
    IndexLocked, IndexNotFound, IndexDamaged, IndexTooNew
    """
    where = place(index)
    identity.index_id(where)
    with files.writer_lock(where, lock_wait_s):
        return history.prune(where, time.time(), keep=keep, keep_s=keep_s, dry_run=dry_run)


def place(index: str | os.PathLike[str] | None) -> Path:
    """Return the index directory that was named, or the default one."""
    return default_index() if index is None else Path(index).expanduser()
