"""What became of each file of a plan: a log beside the decisions, written before and after a step.

Every record holds the whole of what is known of its file, so that any one of them is enough to put
the file back.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from annidx.decisions import path_of
from annidx.errors import ActionRefused
from annidx.fields import path_fields
from annidx.review.moving import Identity
from annidx.review.planned import checked_id
from annidx.store import files, log

How = Literal["remove", "trash", "hardlink", "reflink"]
State = Literal["moving", "moved", "returning", "returned", "purging", "purged"]
"""Each step has a beginning and an end: '-ing' says that it was begun."""

_SUFFIX = ".plan.log"


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

    Attributes
    ----------
    entries : dict of bytes to Entry
        What became of each file, by where it lay, in the order in which they were begun.
    """

    def __init__(self, index: Path, plan_id: str) -> None:
        self.plan_id = checked_id(plan_id)
        self.path = index / "decisions" / f"{plan_id}{_SUFFIX}"
        self.entries: dict[bytes, Entry] = {}
        for record in log.read(self.path):
            entry = _entry(record)
            self.entries[entry.path] = entry

    def note(self, entry: Entry, state: State | None = None) -> Entry:
        """Write down what becomes of a file, durably; return it with the time."""
        time = datetime.now(UTC).isoformat(timespec="microseconds")
        noted = replace(entry, state=state or entry.state, time=time)
        log.append(self.path, [_fields(noted)])
        self.entries[noted.path] = noted
        return noted

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
    plans = sorted(name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX))
    return [Journal(index, plan_id) for plan_id in plans]


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
    paths = {
        name: getattr(entry, name)
        for name in ("path", "to", "base", "root", "kept", "of", "staged")
        if getattr(entry, name)
    }
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
    paths = {
        name: path_of(fields, name) if name in fields else b""
        for name in ("path", "to", "base", "root", "kept", "of", "staged")
    }
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


def shown(path: bytes) -> str:
    """Return a path as messages have it."""
    return os.fsdecode(path)
