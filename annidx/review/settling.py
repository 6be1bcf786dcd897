"""Steps that were begun and have no end, after a crash: found out from the disk, and taken back.

Knows nothing of plans: an entry of the journal holds all that is needed.
"""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import replace

from annidx.errors import ActionRefused
from annidx.review import moving, trash
from annidx.review.journal import Entry, Journal
from annidx.review.moving import Identity, facts_of, identity_of


def settle(journal: Journal, entry: Entry) -> Entry:
    """End a step that was begun and has no end: what was moved halfway is put back.

    Raises
    ------
    ActionRefused
        When the file cannot be put back; it then lies at `to`, and the journal says so.
    OSError
    """
    if entry.is_settled:
        return entry
    if entry.state == "purging":
        return journal.note(entry, "moved" if _at(entry.to) else "purged")
    return put_back(journal, entry)


def put_back(journal: Journal, entry: Entry, *, noted: bool = True) -> Entry:
    """Move a file back to where it lay, if it was moved; nothing is overwritten.

    Parameters
    ----------
    journal : Journal
    entry : Entry
    noted : bool
        False: do so even if the journal cannot be written, on a full disk. What it says then
        still holds: that a step was begun, of which the disk tells how far it came.

    Raises
    ------
    ActionRefused
        When something else lies there, or the file is not where it was moved to; the journal then
        says that it is still moved.
    OSError
    """
    excused = contextlib.nullcontext() if noted else contextlib.suppress(OSError)
    if entry.state == "moving" and entry.how == "trash" and not entry.to:
        entry = replace(entry, to=trash.found(entry.path, entry.put))
    begun = entry.state == "moving"
    with excused:
        entry = journal.note(entry, "returning")
    try:
        _take_away(entry)
        if not begun or (entry.to and _at(entry.to)):
            _return(entry)
    except (ActionRefused, OSError):
        with excused:
            journal.note(entry, "moved")  # as far as it can be told: undo may be tried again
        raise
    _unstage(entry)
    if entry.how == "trash":
        if entry.to:
            trash.forget(entry.to)
    else:
        moving.remove_empty(os.path.dirname(entry.to), entry.base or entry.to)
    with excused:
        journal.note(entry, "returned")
    return replace(entry, state="returned")


def problem(entry: Entry) -> str:
    """Return why a file could not be put back, empty when it could."""
    here, there = _at(entry.path), _at(entry.to) if entry.to else None
    if there is None:
        return "" if here else f"it is not at {os.fsdecode(entry.to) or 'a known place'} any more"
    if here in (None, there) or here == entry.put:
        return ""
    return f"another file lies there now; the removed one stays at {os.fsdecode(entry.to)}"


def _return(entry: Entry) -> None:
    here, there = _at(entry.path), _at(entry.to) if entry.to else None
    if there is None and here is not None:
        return  # a crash came after the move and before the journal's word of it
    if there is not None and here == there:
        moving.unlink(entry.to)  # a link was made, the other name not yet removed: see moving.py
        return
    if reason := problem(entry):
        raise ActionRefused(reason)
    folder = os.path.dirname(entry.path)
    if entry.root and not os.path.isdir(folder) and os.path.isdir(entry.root):
        moving.make_folders(entry.root, folder[len(entry.root.rstrip(b"/")) + 1 :])
    moving.move(entry.to, entry.path)


def _take_away(entry: Entry) -> None:
    """Remove the link or clone that took the place of a file, if it is still what was put there."""
    if entry.put is None or entry.how not in ("hardlink", "reflink"):
        return
    if _at(entry.path) != entry.put or not _at(entry.to):
        return
    try:
        with moving.opened(entry.path) as held:
            shared = entry.how == "hardlink" and held.facts.st_nlink > 1
            same = shared or held.content_hash() == entry.content_hash
    except OSError:
        same = False
    if not same:
        message = (
            f"what took its place was changed; the removed one stays at {os.fsdecode(entry.to)}"
        )
        raise ActionRefused(message)
    moving.unlink(entry.path)


def _unstage(entry: Entry) -> None:
    """Remove a link or clone that has not come to its place."""
    if entry.staged and _at(entry.staged):
        moving.unlink(entry.staged)


def _at(path: bytes) -> Identity | None:
    """Return which regular file is at a path, None when there is none.

    Raises
    ------
    ActionRefused
        When that cannot be told: nobody is to take a file for gone that is there.
    """
    try:
        facts = facts_of(path)
    except OSError as error:
        message = f"{os.fsdecode(path)}: {error.strerror}; nothing was done about it"
        raise ActionRefused(message) from None
    if facts is None:
        return None
    if not stat.S_ISREG(facts.st_mode):
        return Identity(-1, -1)  # something is there, and it is no file of ours
    return identity_of(facts)
