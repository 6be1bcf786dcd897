"""A plan, carried out: each file checked again, moved, its kept file looked at once more.

What is moved is noted before and after; a crash at any point loses nothing, and applying the same
plan again goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from annidx import decisions
from annidx.errors import ActionRefused, AnnidxError
from annidx.review import checking, moving, replacing, settling, trash
from annidx.review.checking import FOLDER, Protected, reason_of
from annidx.review.journal import Entry, How, Journal, acting, journals, shown
from annidx.review.moving import Held, Identity
from annidx.review.planned import Plan, Removal
from annidx.store import identity

Result = Literal["would", "done", "already", "refused"]

_REPLACING = frozenset({"hardlink", "reflink"})
_ELSEWHERE = {errno.EXDEV, errno.EACCES, errno.EPERM, errno.EROFS}
"""A folder is no place for what is removed: try one further down, on the file's own mount."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one removal.

    Attributes
    ----------
    path, kept : bytes
    result : Result
        'would': it would be done; 'already': by an earlier call; 'refused': it stays where it is.
    reason : str
        Why it was refused, else what it is to the kept one.
    to : bytes
        Where it lies now; empty when it does not, or nobody knows.
    companions : tuple of bytes
        Names of those that went along, or would.
    size : int
        Bytes of the file.
    """

    path: bytes
    kept: bytes
    result: Result
    reason: str
    to: bytes = b""
    companions: tuple[bytes, ...] = ()
    size: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a plan.

    Attributes
    ----------
    plan_id : str
    how : How
    outcomes : tuple of Outcome
        In the plan's order.
    """

    plan_id: str
    how: How
    outcomes: tuple[Outcome, ...]

    def count(self, *results: Result) -> int:
        """Return how many removals came out so."""
        return sum(each.result in results for each in self.outcomes)

    @property
    def size(self) -> int:
        """Bytes of what was moved, or would be."""
        return sum(each.size for each in self.outcomes if each.result in ("would", "done"))


OnOutcome = Callable[[Outcome], None]


def apply(
    index: Path,
    plan: Plan,
    *,
    act: bool,
    digest: str | None = None,
    how: How = "remove",
    lock_wait_s: float = 0.0,
    on_outcome: OnOutcome | None = None,
) -> Report:
    """Carry out a plan, or look what it would do.

    Parameters
    ----------
    index : Path
    plan : Plan
    act : bool
        False: check everything and change nothing.
    digest : str, optional
        What somebody has looked at; must be the plan's own.
    how : {'remove', 'trash', 'hardlink', 'reflink'}
        Move into ROOT/.annidx-removed/PLAN; hand to the desktop's trash; or put a hard link to, or
        a clone of, the kept file in its place, for byte-identical files only.
    lock_wait_s : float
        How long to wait for another apply or undo to end.
    on_outcome : callable, optional
        Called after each removal.

    Raises
    ------
    ActionRefused
        When the plan as a whole cannot be carried out. What is wrong with one file is its outcome.
    IndexLocked, IndexNotFound
    OSError
        When the journal cannot be written: nothing more is moved then.
    """
    _check_plan(index, plan, digest)
    with acting(index, lock_wait_s):
        actor = _Actor(index, plan, how)
        if act:
            actor.settle()
        outcomes = []
        for removal in plan.removals:
            outcomes.append(actor.outcome(removal, act=act))
            if on_outcome is not None:
                on_outcome(outcomes[-1])
    return Report(plan.plan_id, how, tuple(outcomes))


def _check_plan(index: Path, plan: Plan, digest: str | None) -> None:
    known = identity.index_id(index)
    if plan.index_id != known:
        message = f"plan {plan.plan_id} was made for the index {plan.index_id}, this is {known}"
        raise ActionRefused(message)
    if digest is not None and digest != plan.digest:
        message = (
            f"plan {plan.plan_id} is not the one that was confirmed: its digest is "
            f"{plan.digest}, expected {digest}"
        )
        raise ActionRefused(message)
    paths = [each.path for each in plan.removals]
    both = set(paths) & {each.kept for each in plan.removals}
    if both or len(set(paths)) != len(paths):
        message = f"plan {plan.plan_id} would remove a file twice, or one that it keeps"
        raise ActionRefused(message)


class _Actor:
    """Carries out the removals of one plan, one after the other."""

    def __init__(self, index: Path, plan: Plan, how: How) -> None:
        decided = decisions.read(index)
        self._how = how
        self._journal = Journal(index, plan.plan_id)
        self._protected = Protected([*plan.protected, *decided.protected])
        others = [each for each in journals(index) if each.plan_id != plan.plan_id]
        self._kept_by_others = {
            entry.kept_hash
            for journal in others
            for entry in journal.entries.values()
            if entry.state in ("moved", "purged")
            and entry.kind not in ("identical", "same-pixels", "companion")
        }
        self._left: set[bytes] = set()
        self._beside: dict[bytes, list[bytes]] = {}
        for entry in self._journal.entries.values():
            if entry.of:
                self._beside.setdefault(entry.of, []).append(entry.path)
        begun = {each.how for each in self._journal.pending}
        if begun - {how}:
            message = f"plan {plan.plan_id} was begun by {', '.join(begun)}: undo that first"
            raise ActionRefused(message)

    def settle(self) -> None:
        """Take back what a crash left halfway, so that it can be done again."""
        for entry in reversed(list(self._journal.entries.values())):
            if not entry.is_settled:
                settling.settle(self._journal, entry)

    def outcome(self, removal: Removal, *, act: bool) -> Outcome:
        """Do one removal, or look whether it could be done."""
        known = self._journal.entries.get(removal.path)
        if known is not None and known.is_moved:
            if not checking.is_there(removal.path):
                return self._finish(removal, known, act=act)
            if known.how in _REPLACING:
                return self._told(removal, "already", to=known.to)
        try:
            self._check(removal)
            with checking.checked(removal, self._protected) as (one, kept):
                names = self._companions(removal)
                replacing.check(self._how, one, kept)
                if not act:
                    return self._told(removal, "would", companions=names)
                entry = self._moved(removal, one, kept)
            return self._told(removal, "done", to=entry.to, companions=self._along(removal))
        except ActionRefused as error:
            self._left.add(removal.path)
            return self._told(removal, "refused", str(error))

    def _told(
        self,
        removal: Removal,
        result: Result,
        reason: str = "",
        *,
        to: bytes = b"",
        companions: Sequence[bytes] = (),
    ) -> Outcome:
        return Outcome(
            path=removal.path,
            kept=removal.kept,
            result=result,
            reason=reason or removal.reason,
            to=to,
            companions=tuple(companions),
            size=removal.size,
        )

    def _check(self, removal: Removal) -> None:
        if removal.goes_with in self._left:
            message = f"stays with {shown(removal.goes_with)}, which stays"
            raise ActionRefused(message)
        copies = removal.kind in ("identical", "same-pixels")
        if not copies and removal.content_hash in self._kept_by_others:
            message = "was kept for a file that an earlier plan removed: undo that one first"
            raise ActionRefused(message)
        if self._how in _REPLACING and removal.content_hash != removal.kept_hash:
            message = f"is not byte-identical to the kept file: no {self._how} in its place"
            raise ActionRefused(message)

    def _companions(self, removal: Removal) -> list[bytes]:
        """Return the companions that go along, checked; a file that is replaced keeps its own."""
        if self._how in _REPLACING:
            return []
        companions = checking.going(removal)
        for each in companions:
            checking.check_companion(os.path.dirname(removal.path), each)
        return [each.name for each in companions]

    def _moved(self, removal: Removal, one: Held, kept: Held) -> Entry:
        """Move a checked file, look after its kept one, and have its companions follow."""
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
        if self._how in _REPLACING:
            entry = replacing.staged(self._journal, entry, one, kept)
        done: list[bytes] = []
        try:
            done.append(entry.path)
            entry = self._carried(entry, one.identity)
            checking.check_kept(removal, one.identity, entry.to)
            if entry.staged:
                replacing.put(entry)
            entry = self._journal.note(entry, "moved")
            self._follow(removal, entry, done)
        except (ActionRefused, OSError) as error:
            self._take_back(done, error, removal)
        return entry

    def _follow(self, removal: Removal, entry: Entry, done: list[bytes]) -> None:
        """Move the companions of a file that was moved."""
        if entry.how in _REPLACING:
            return
        folder = os.path.dirname(removal.path)
        for companion in checking.going(removal):
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
        message = f"no folder above it takes it on its own file system: {shown(entry.path)}"
        raise ActionRefused(message)

    def _trashed(self, entry: Entry) -> Entry:
        entry = self._journal.note(entry, "moving")
        trash.put(entry.path)
        return replace(entry, to=trash.found(entry.path, entry.put))

    def _take_back(
        self, done: Sequence[bytes], error: AnnidxError | OSError, what: Removal
    ) -> None:
        """Put back what was moved for a removal that cannot be completed; tell why it cannot."""
        reason = reason_of(error, what.path) if isinstance(error, OSError) else str(error)
        for path in reversed(done):
            entry = self._journal.entries.get(path)
            if entry is None or entry.state in ("returned", "purged"):
                continue
            try:
                settling.put_back(self._journal, entry, noted=False)
            except (ActionRefused, OSError) as worse:
                reason += f"; {shown(path)} could not be put back ({worse}): try undo"
        raise ActionRefused(reason) from None

    def _along(self, removal: Removal) -> list[bytes]:
        """Return the names of the companions that went along."""
        entries = self._journal.entries
        beside = dict.fromkeys(self._beside.get(removal.path, []))
        return [os.path.basename(path) for path in beside if entries[path].is_moved]

    def _finish(self, removal: Removal, known: Entry, *, act: bool) -> Outcome:
        """Tell of a file that was moved before; have companions follow that a crash left."""
        done: list[bytes] = []
        try:
            if act:
                self._follow(removal, known, done)
        except (ActionRefused, OSError) as error:
            with contextlib.suppress(ActionRefused):  # the picture itself is where it belongs
                self._take_back(done, error, removal)
        return self._told(removal, "already", to=known.to, companions=self._along(removal))


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
