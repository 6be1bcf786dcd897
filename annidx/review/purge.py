"""What was removed long enough ago, given up for good: the only place that frees its bytes.

Before a file goes, the one that was kept for it is looked at once more: it must still be there.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from annidx.errors import ActionRefused, AnnidxError, PictureUnreadable
from annidx.images import extract
from annidx.review import moving
from annidx.review.checking import reason_of
from annidx.review.journal import Entry, Journal, acting, journals
from annidx.store import identity

_COPIES = frozenset({"identical", "same-pixels"})


@dataclass(frozen=True, slots=True)
class Purge:
    """What became of one removed file.

    Attributes
    ----------
    path, source : bytes
        Where it lay; where it lies, or lay until now.
    plan_id : str
    result : {'would', 'done', 'refused'}
    reason : str
        Why it was refused; empty otherwise.
    size : int
        Bytes.
    """

    path: bytes
    source: bytes
    plan_id: str
    result: Literal["would", "done", "refused"]
    reason: str
    size: int


@dataclass(frozen=True, slots=True)
class Purged:
    """What became of a purge."""

    files: tuple[Purge, ...]

    def count(self, *results: str) -> int:
        """Return how many files came out so."""
        return sum(each.result in results for each in self.files)

    @property
    def size(self) -> int:
        """Bytes that were freed, or would be."""
        return sum(each.size for each in self.files if each.result != "refused")


def purge(
    index: Path,
    older_than: timedelta,
    *,
    act: bool,
    now: datetime,
    force: bool = False,
    lock_wait_s: float = 0.0,
) -> Purged:
    """Remove for good what was moved away at least so long ago, or look what would be removed.

    What went to the desktop's trash is not touched.

    Parameters
    ----------
    index : Path
    older_than : timedelta
    act : bool
        False: change nothing.
    now : datetime
        With its time zone.
    force : bool
        Also files whose kept one is gone.
    lock_wait_s : float
        How long to wait for another apply or undo to end.

    Raises
    ------
    IndexLocked, IndexNotFound
    """
    identity.index_id(index)
    with acting(index, lock_wait_s):
        known = journals(index)
        moved_on = _moved_on(known)
        made = []
        for journal in known:
            for entry in journal.moved:
                old = now - datetime.fromisoformat(entry.time) >= older_than
                if old and entry.how != "trash":
                    kept = {} if force else moved_on
                    made.append(_purged(journal, entry, kept, act=act, force=force))
    return Purged(tuple(made))


def _purged(
    journal: Journal,
    entry: Entry,
    moved_on: Mapping[tuple[bytes, bytes], Entry],
    *,
    act: bool,
    force: bool,
) -> Purge:
    reason = ""
    try:
        if not force:
            _check_kept(_main(journal, entry), moved_on)
        _check_removed(entry)
        if act:
            _remove(journal, entry)
    except AnnidxError as error:
        reason = str(error)
    except OSError as error:
        reason = reason_of(error, entry.to)
    result: Literal["would", "done", "refused"] = "done" if act else "would"
    return Purge(
        entry.path,
        entry.to,
        journal.plan_id,
        "refused" if reason else result,
        reason,
        entry.size,
    )


def _main(journal: Journal, entry: Entry) -> Entry:
    """Return the picture that an entry is about: a companion goes when its picture may go."""
    return journal.entries.get(entry.of, entry) if entry.of else entry


def _remove(journal: Journal, entry: Entry) -> None:
    noted = journal.note(entry, "purging")
    moving.unlink(entry.to)
    journal.note(noted, "purged")
    moving.remove_empty(os.path.dirname(entry.to), entry.base)


def _check_removed(entry: Entry) -> None:
    """Refuse what is not the file that was moved there."""
    with moving.opened(entry.to) as held:
        if held.content_hash() != entry.content_hash:
            message = (
                f"{os.fsdecode(entry.to)} has changed since it was removed: look at it, or undo"
            )
            raise ActionRefused(message)


def _check_kept(entry: Entry, moved_on: Mapping[tuple[bytes, bytes], Entry]) -> None:
    """Refuse a picture whose kept one is gone, unless that was itself removed for one it is like.

    Of a kept one whose bytes have changed, the pixels must be the same: a rating was written.
    """
    seen = set()
    kept, content, pixels = entry.kept, entry.kept_hash, entry.kept_pixels
    while kept not in seen:
        seen.add(kept)
        if _is_there(kept, content, pixels, entry):
            return
        follow = moved_on.get((kept, content))
        if follow is None or entry.kind not in _COPIES:
            break
        kept, content, pixels = follow.kept, follow.kept_hash, follow.kept_pixels
        entry = follow
    message = (
        f"the file that was kept for it, {os.fsdecode(kept)}, is gone or has changed: "
        "undo puts the removed one back, --force frees its bytes all the same"
    )
    raise ActionRefused(message)


def _is_there(kept: bytes, content: bytes, pixels: bytes, entry: Entry) -> bool:
    try:
        with moving.opened(kept) as held:
            if held.identity == _identity(entry.to):
                return False
            if held.content_hash() == content:
                return True
        return any(pixels) and extract.query_record(kept, ("thumb",)).pixel_hash == pixels
    except (OSError, PictureUnreadable):
        return False


def _identity(path: bytes) -> moving.Identity | None:
    facts = moving.facts_of(path)
    return None if facts is None else moving.identity_of(facts)


def _moved_on(known: Sequence[Journal]) -> dict[tuple[bytes, bytes], Entry]:
    """Return what became of files that were removed themselves, by path and content."""
    return {
        (entry.path, entry.content_hash): entry
        for journal in known
        for entry in journal.entries.values()
        if entry.state in ("moved", "purged") and entry.kind != "companion"
    }
