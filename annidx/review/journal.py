"""What became of each file of a plan: a log beside the decisions, written before and after a step.

Every record holds the whole of what is known of its file, so that any one of them is enough to put
the file back.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from annidx.cleared import SUFFIX
from annidx.decisions import path_of
from annidx.errors import ActionRefused, AnnidxError
from annidx.fields import path_fields
from annidx.images.scan import is_inside
from annidx.review.moving import Identity
from annidx.review.planned import checked_id
from annidx.store import files, log
from annidx.store.manifest import Manifest

How = Literal["remove", "trash", "hardlink", "reflink"]
State = Literal["moving", "moved", "returning", "returned", "purging", "purged"]
"""Each step has a beginning and an end: '-ing' says that it was begun."""

Roots = Mapping[int, bytes]
"""Absolute path of each root by its id."""

_PATHS = ("path", "to", "base", "root", "kept", "of", "staged")


@dataclass(frozen=True, slots=True)
class Entry:
    """What became of one file.

    Attributes
    ----------
    path : bytes
        Where it lay; absolute, as all paths here.
    to : bytes
        Where it was moved to; empty while the trash has not told.
    base, root : bytes
        The folder below which `to` was made; the root that `path` lies in.
    how : How
    size : int
        Bytes.
    content_hash : bytes
    kept, kept_hash, kept_pixels : bytes
        The file that is kept for it, and what that held.
    kind : str
        What it is to the kept one; 'companion' of a companion.
    of : bytes
        The picture that it is a companion of; empty for a picture.
    state : State
    time : str
        Since when, UTC, ISO 8601.
    staged : bytes
        Where the link or clone was made that is to take its place; empty for none.
    put : Identity or None
        Which file that is.
    """

    path: bytes
    to: bytes
    base: bytes
    root: bytes
    how: How
    size: int
    content_hash: bytes
    kept: bytes
    kept_hash: bytes
    kept_pixels: bytes
    kind: str
    of: bytes
    state: State
    time: str = ""
    staged: bytes = b""
    put: Identity | None = None

    @property
    def is_moved(self) -> bool:
        """True when it lies at `to`, as far as the log knows."""
        return self.state == "moved"

    @property
    def is_settled(self) -> bool:
        """True when no step of it was begun that has no end."""
        return self.state in ("moved", "returned", "purged")


class Journal:
    """The log of one plan; only the holder of :func:`acting` may write to it.

    Parameters
    ----------
    index : Path
    plan_id : str
    roots : mapping of int to bytes, optional
        Where the roots are now; by default as the index says. What was noted when they were
        elsewhere ("annidx roots move") is read as if they had been here.

    Attributes
    ----------
    entries : dict of bytes to Entry
        What became of each file, by where it lay, in the order in which they were begun.
    """

    def __init__(self, index: Path, plan_id: str, roots: Roots | None = None) -> None:
        self.plan_id = checked_id(plan_id)
        self.path = index / "decisions" / f"{plan_id}{SUFFIX}"
        self.entries: dict[bytes, Entry] = {}
        self._roots = _roots_of(index) if roots is None else roots
        self._told_roots = False
        moved: dict[bytes, bytes] = {}
        for record in log.read(self.path):
            if "roots" in record:
                moved = _moved(record["roots"], self._roots)
            else:
                entry = _relocated(_entry(record), moved)
                self.entries[entry.path] = entry

    def note(self, entry: Entry, state: State | None = None) -> Entry:
        """Write down what becomes of a file, durably; return it with the time."""
        time = datetime.now(UTC).isoformat(timespec="microseconds")
        noted = replace(entry, state=state or entry.state, time=time)
        log.append(self.path, [*self._head(), _fields(noted)])
        self._told_roots = True
        self.entries[noted.path] = noted
        return noted

    def _head(self) -> list[dict[str, Any]]:
        """Return the record that says where the roots are, unless it is written already."""
        roots = [{"id": key, **path_fields("path", path)} for key, path in self._roots.items()]
        return [] if self._told_roots else [{"roots": roots}]

    @property
    def moved(self) -> list[Entry]:
        """What lies elsewhere now."""
        return [each for each in self.entries.values() if each.is_moved]

    @property
    def pending(self) -> list[Entry]:
        """What may lie elsewhere: moved, or a step was begun that has no end."""
        return [each for each in self.entries.values() if not each.is_settled or each.is_moved]


def journals(index: Path) -> list[Journal]:
    """Return the logs of all plans that were ever applied, oldest first."""
    names = [path.name for path in files.listed(index / "decisions")]
    plans = sorted(name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX))
    roots = _roots_of(index) if plans else {}
    return [Journal(index, plan_id, roots) for plan_id in plans]


def journal_of(index: Path, plan_id: str | None) -> Journal:
    """Return the log of a plan, by default of the one that was applied last and not undone.

    Raises
    ------
    ActionRefused
        When there is none.
    """
    known = journals(index)
    if plan_id is None:
        pending = [each for each in known if each.pending]
        if not pending:
            message = "nothing is to be undone: no plan was applied, or all was undone or purged"
            raise ActionRefused(message)
        return max(pending, key=lambda each: max(entry.time for entry in each.pending))
    checked_id(plan_id)
    found = [each for each in known if each.plan_id == plan_id]
    if not found:
        names = ", ".join(each.plan_id for each in known) or "none"
        message = f"plan {plan_id} was never applied here; plans that were: {names}"
        raise ActionRefused(message)
    return found[0]


def acting(index: Path, wait_s: float = 0.0) -> Any:
    """Hold the lock of whoever moves files for an index, a context manager; builds go on."""
    return files.locked(index, "acting", "another apply, undo or purge is at work for", wait_s)


def _fields(entry: Entry) -> dict[str, Any]:
    paths = {name: getattr(entry, name) for name in _PATHS if getattr(entry, name)}
    fields: dict[str, Any] = {
        "state": entry.state,
        "time": entry.time,
        "how": entry.how,
        "size": entry.size,
        "kind": entry.kind,
        "content_hash": entry.content_hash.hex(),
        "kept_hash": entry.kept_hash.hex(),
        "kept_pixels": entry.kept_pixels.hex(),
    }
    for name, path in paths.items():
        fields |= path_fields(name, path)
    if entry.put is not None:
        fields["put"] = [entry.put.device, entry.put.inode]
    return fields


def _entry(fields: Mapping[str, Any]) -> Entry:
    paths = {name: path_of(fields, name) if name in fields else b"" for name in _PATHS}
    hashes = {
        name: bytes.fromhex(fields[name]) for name in ("content_hash", "kept_hash", "kept_pixels")
    }
    return Entry(
        **paths,
        **hashes,
        how=fields["how"],
        size=fields["size"],
        kind=fields["kind"],
        state=fields["state"],
        time=fields["time"],
        put=Identity(*fields["put"]) if "put" in fields else None,
    )


def _roots_of(index: Path) -> dict[int, bytes]:
    """Return where the roots are, by the newest manifest that is whole; none without one."""
    for path in reversed(files.manifest_paths(index)):
        with contextlib.suppress(AnnidxError, OSError):
            roots = Manifest.from_json(files.read_file(path), str(path)).roots
            return {root.root_id: root.path for root in roots}
    return {}


def _moved(then: Sequence[Mapping[str, Any]], now: Roots) -> dict[bytes, bytes]:
    """Return which roots lie elsewhere now, by where they were."""
    known = {each["id"]: path_of(each, "path") for each in then}
    return {path: now[key] for key, path in known.items() if now.get(key, path) != path}


def _relocated(entry: Entry, moved: Mapping[bytes, bytes]) -> Entry:
    """Return an entry with its paths in the roots as they are now."""
    changed: dict[str, Any] = {}
    for name in _PATHS:
        path = getattr(entry, name)
        for old, new in moved.items():
            if path and is_inside(path, old):
                changed[name] = os.path.join(new, path[len(old) :].lstrip(b"/")).rstrip(b"/")
    return replace(entry, **changed) if changed else entry
