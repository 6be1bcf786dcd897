"""A plan, carried out: each file checked again, moved, its kept file looked at once more.

What is moved is noted before and after; a crash at any point loses nothing, and applying the same
plan again goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from annidx import decisions
from annidx.errors import ActionRefused
from annidx.review import checking, replacing, settling
from annidx.review.carrying import REPLACING, Carrier
from annidx.review.checking import Protected, identity_at
from annidx.review.journal import Entry, How, Journal, acting, journals
from annidx.review.planned import Plan, Removal
from annidx.store import identity

Result = Literal["would", "done", "already", "refused"]


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
        decided = self._decided = decisions.read(index)
        self._keeps = {each.one.path for each in decided.standing if each.verdict == "keep"}
        self._kept = {identity_at(each.kept) for each in plan.removals}
        self._how = how
        self._journal = Journal(index, plan.plan_id)
        self._carrier = Carrier(self._journal, how)
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
            if known.how in REPLACING:
                return self._told(removal, "already", to=known.to)
        try:
            self._check(removal)
            with checking.checked(removal, self._protected) as (one, kept):
                if one.identity in self._kept:
                    message = "is a file that this plan keeps, by another name"
                    raise ActionRefused(message)
                names = self._companions(removal)
                replacing.check(self._how, one, kept)
                if not act:
                    return self._told(removal, "would", companions=names)
                entry = self._carrier.carry(removal, one, kept)
            return self._told(removal, "done", to=entry.to, companions=self._carrier.along(removal))
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
            message = f"stays with {os.fsdecode(removal.goes_with)}, which stays"
            raise ActionRefused(message)
        apart = self._decided.are_apart(removal.pixels, removal.kept_pixels)
        if removal.path in self._keeps or (apart and any(removal.pixels)):
            message = "was decided to stay since the plan was made"
            raise ActionRefused(message)
        copies = removal.kind in ("identical", "same-pixels")
        if not copies and removal.content_hash in self._kept_by_others:
            message = "was kept for a file that an earlier plan removed: undo that one first"
            raise ActionRefused(message)
        if self._how in REPLACING and removal.content_hash != removal.kept_hash:
            message = f"is not byte-identical to the kept file: no {self._how} in its place"
            raise ActionRefused(message)

    def _companions(self, removal: Removal) -> list[bytes]:
        """Return the companions that go along, checked; a file that is replaced keeps its own."""
        if self._how in REPLACING:
            return []
        companions = checking.going(removal, self._carrier.folders)
        for each in companions:
            checking.check_companion(os.path.dirname(removal.path), each)
        return [each.name for each in companions]

    def _finish(self, removal: Removal, known: Entry, *, act: bool) -> Outcome:
        """Tell of a file that was moved before; have companions follow that a crash left."""
        done: list[bytes] = []
        try:
            if act:
                self._carrier.follow(removal, known, done)
        except (ActionRefused, OSError) as error:
            with contextlib.suppress(ActionRefused):  # the picture itself is where it belongs
                self._carrier.take_back(done, error, removal)
        return self._told(removal, "already", to=known.to, companions=self._carrier.along(removal))
