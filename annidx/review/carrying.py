"""One removal, carried out: the file and its companions, there and, when it cannot be, back."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace

from annidx.errors import ActionRefused, AnnidxError
from annidx.review import checking, moving, replacing, settling, trash
from annidx.review.beside import Folders
from annidx.review.checking import FOLDER, reason_of
from annidx.review.journal import Entry, How, Journal
from annidx.review.moving import Held, Identity
from annidx.review.planned import Removal

REPLACING = frozenset({"hardlink", "reflink"})
"""Ways after which a file still lies where it was."""

_ELSEWHERE = {errno.EXDEV, errno.EACCES, errno.EPERM, errno.EROFS}
"""A folder is no place for what is removed: try one further down, on the file's own mount."""


class Carrier:
    """Moves files of one plan, with every step in its journal.

    Parameters
    ----------
    journal : Journal
    how : How

    Attributes
    ----------
    folders : Folders
        What lies beside what.
    """

    def __init__(self, journal: Journal, how: How) -> None:
        self._journal, self._how = journal, how
        self.folders = Folders()
        self._beside: dict[bytes, list[bytes]] = {}
        for entry in journal.entries.values():
            if entry.of:
                self._beside.setdefault(entry.of, []).append(entry.path)

    def carry(self, removal: Removal, one: Held, kept: Held) -> Entry:
        """Move a checked file, look after its kept one, and have its companions follow.

        Raises
        ------
        ActionRefused
            When something is wrong; what was moved is put back then.
        """
        entry = Entry(
            path=removal.path,
            to=b"",
            base=b"",
            root=removal.root,
            how=self._how,
            size=removal.size,
            content_hash=removal.content_hash,
            kept=removal.kept,
            kept_hash=removal.kept_hash,
            kept_pixels=removal.kept_pixels,
            kind=removal.kind,
            of=b"",
            state="moving",
        )
        if self._how in REPLACING:
            entry = replacing.staged(self._journal, entry, one, kept)
        done: list[bytes] = []
        try:
            done.append(entry.path)
            entry = self._carried(entry, one.identity)
            checking.check_kept(removal, one.identity, entry.to)
            if entry.staged:
                replacing.put(entry)
            entry = self._journal.note(entry, "moved")
            self.follow(removal, entry, done)
        except (ActionRefused, OSError) as error:
            self.take_back(done, error, removal)
        return entry

    def follow(self, removal: Removal, entry: Entry, done: list[bytes]) -> None:
        """Move the companions of a file that was moved; `done` gets what was begun."""
        if entry.how in REPLACING:
            return
        folder = os.path.dirname(removal.path)
        for companion in checking.going(removal, self.folders):
            checking.check_companion(folder, companion)
            beside = replace(
                entry,
                path=os.path.join(folder, companion.name),
                to=b"",
                put=None,
                size=companion.size,
                content_hash=companion.content_hash,
                kind="companion",
                of=removal.path,
            )
            with moving.opened(beside.path) as held:
                done.append(beside.path)
                self._beside.setdefault(removal.path, []).append(beside.path)
                self._journal.note(self._carried(beside, held.identity), "moved")

    def along(self, removal: Removal) -> list[bytes]:
        """Return the names of the companions that went along."""
        entries = self._journal.entries
        beside = dict.fromkeys(self._beside.get(removal.path, []))
        return [os.path.basename(path) for path in beside if entries[path].is_moved]

    def _carried(self, entry: Entry, moved: Identity) -> Entry:
        """Move one file to where removed files go; its entry is in the journal before."""
        if entry.how == "trash":
            return self._trashed(replace(entry, put=moved))
        for base in _bases(entry, moved.device):
            below = entry.path[len(base.rstrip(b"/")) + 1 :]
            place = b"/".join([FOLDER, os.fsencode(self._journal.plan_id), below])
            to = os.path.join(base, place)
            entry = self._journal.note(replace(entry, base=base, to=to), "moving")
            try:
                moving.make_folders(base, os.path.dirname(place))
                moving.move(entry.path, to)
            except OSError as error:
                moving.remove_empty(os.path.dirname(to), base)
                if error.errno in _ELSEWHERE and base != os.path.dirname(entry.path):
                    continue
                raise
            _check_moved(to, moved)
            return entry
        message = f"no folder above it takes it on its own file system: {os.fsdecode(entry.path)}"
        raise ActionRefused(message)

    def _trashed(self, entry: Entry) -> Entry:
        entry = self._journal.note(entry, "moving")
        trash.put(entry.path)
        return replace(entry, to=trash.found(entry.path, entry.put))

    def take_back(self, done: Sequence[bytes], error: AnnidxError | OSError, what: Removal) -> None:
        """Put back what was moved for a removal that cannot be completed; tell why it cannot."""
        reason = reason_of(error, what.path) if isinstance(error, OSError) else str(error)
        for path in reversed(done):
            entry = self._journal.entries.get(path)
            if entry is None or entry.state in ("returned", "purged"):
                continue
            try:
                settling.put_back(self._journal, entry, noted=False)
            except (ActionRefused, OSError) as worse:
                reason += f"; {os.fsdecode(path)} could not be put back ({worse}): try undo"
        raise ActionRefused(reason) from None


def _bases(entry: Entry, device: int) -> Iterator[bytes]:
    """Yield the folders from the root down to the file's own that are on its file system."""
    folder = os.path.dirname(entry.path)
    ways = [folder]
    while folder not in (entry.root, b"/"):
        folder = os.path.dirname(folder)
        ways.append(folder)
    for base in reversed(ways):
        facts = moving.facts_of(base)
        if facts is not None and facts.st_dev == device:
            yield base


def _check_moved(to: bytes, moved: Identity) -> None:
    facts = moving.facts_of(to)
    if facts is None or moving.identity_of(facts) != moved:
        message = "another file took its place while it was moved"
        raise ActionRefused(message)
