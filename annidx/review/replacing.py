"""A hard link or a clone of the kept file in the place of a byte-identical one."""

from __future__ import annotations

import os
from dataclasses import replace

from annidx.errors import ActionRefused
from annidx.review import moving
from annidx.review.checking import reason_of
from annidx.review.journal import Entry, How, Journal
from annidx.review.moving import Held


def check(how: How, one: Held, kept: Held) -> None:
    """Refuse what can be told beforehand.

    Raises
    ------
    ActionRefused
    """
    if how in ("hardlink", "reflink") and one.identity.device != kept.identity.device:
        message = f"lies on another file system than the kept file: no {how} can lead there"
        raise ActionRefused(message)


def staged(journal: Journal, entry: Entry, one: Held, kept: Held) -> Entry:
    """Make what is to take the place of a file, under another name in its folder.

    Raises
    ------
    ActionRefused
        When the file system makes no such link or clone; nothing was changed then.
    """
    name = b".annidx-%s-%s" % (os.fsencode(journal.plan_id), entry.content_hash.hex()[:16].encode())
    entry = journal.note(replace(entry, staged=os.path.join(os.path.dirname(entry.path), name)))
    try:
        if entry.how == "hardlink":
            moving.link(entry.kept, entry.staged)
        else:
            moving.clone(kept, entry.staged, one.facts)
        with moving.opened(entry.staged) as made:
            if made.content_hash() != entry.content_hash:
                message = "the kept file was replaced meanwhile"
                raise ActionRefused(message)
            return replace(entry, put=made.identity)
    except (ActionRefused, OSError) as error:
        _discard(entry)
        journal.note(entry, "returned")
        if isinstance(error, OSError):
            message = f"no {entry.how} can be made: {reason_of(error, entry.path)}"
            raise ActionRefused(message) from None
        raise


def put(entry: Entry) -> None:
    """Put what was made in the place of the file that was moved away."""
    moving.move(entry.staged, entry.path)


def _discard(entry: Entry) -> None:
    if moving.facts_of(entry.staged) is not None:
        moving.unlink(entry.staged)
