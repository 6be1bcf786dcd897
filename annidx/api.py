"""The functions of the public API: build an index, open an index, know where it lies by default."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from annidx import building
from annidx.index import Index
from annidx.model import BuildReport
from annidx.place import default_index
from annidx.roots import PathLike
from annidx.store import snapshot

__all__ = ["build", "default_index", "open"]


def build(
    roots: Sequence[PathLike] | PathLike = (),
    *,
    index: str | os.PathLike[str] | None = None,
    options: building.Options | None = None,
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
    folders = [roots] if isinstance(roots, str | bytes | os.PathLike) else list(roots)
    return building.build(folders, place(index), options, progress=progress)


def open(index: str | os.PathLike[str] | None = None) -> Index:
    """Open the newest snapshot of an index, read-only.

    Parameters
    ----------
    index : path, optional
        The index directory; by default :func:`default_index`.

    Raises
    ------
    IndexNotFound, IndexDamaged, IndexTooNew
    """
    return Index(snapshot.current(place(index)))


def place(index: str | os.PathLike[str] | None) -> Path:
    """Return the index directory that was named, or the default one."""
    return default_index() if index is None else Path(index).expanduser()
