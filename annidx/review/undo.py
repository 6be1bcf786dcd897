"""What a plan has moved, put back where it lay."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from annidx.errors import ActionRefused
from annidx.review import settling
from annidx.review.checking import reason_of
from annidx.review.journal import Entry, Journal, acting, journal_of
from annidx.store import identity


@dataclass(frozen=True, slots=True)
class Return:
    """What became of one file that was to be put back.

    Attributes
    ----------
    path : bytes
        Where it lay.
    source : bytes
        Where it was moved to.
    result : {'would', 'done', 'refused'}
    reason : str
        Why it was refused; empty otherwise.
    size : int
        Bytes.
    is_companion : bool
    """

    path: bytes
    source: bytes
    result: Literal["would", "done", "refused"]
    reason: str
    size: int
    is_companion: bool


@dataclass(frozen=True, slots=True)
class Undone:
    """What became of an undo: `returns` in the order in which they were done."""

    plan_id: str
    returns: tuple[Return, ...]

    def count(self, *results: str) -> int:
        """Return how many files came out so."""
        return sum(each.result in results for each in self.returns)


def undo(index: Path, plan_id: str | None = None, *, act: bool, lock_wait_s: float = 0.0) -> Undone:
    """Put back what a plan has moved, the last first, or look what would be put back.

    Parameters
    ----------
    index : Path
    plan_id : str, optional
        By default that of the plan that was applied last and is not undone.
    act : bool
        False: change nothing.
    lock_wait_s : float
        How long to wait for another apply or undo to end.

    Raises
    ------
    ActionRefused
        When there is no such plan. What is wrong with one file is told of that file.
    IndexLocked, IndexNotFound
    """
    identity.index_id(index)
    with acting(index, lock_wait_s):
        journal = journal_of(index, plan_id)
        entries = list(reversed(journal.pending))
        returns = tuple(_returned(journal, entry, act=act) for entry in entries)
    return Undone(journal.plan_id, returns)


def _returned(journal: Journal, entry: Entry, *, act: bool) -> Return:
    reason = ""
    try:
        if act:
            entry = settling.settle(journal, entry)
            if entry.is_moved:
                entry = settling.put_back(journal, entry)
        elif entry.is_moved:
            reason = settling.problem(entry)
    except ActionRefused as error:
        reason = str(error)
    except OSError as error:
        reason = reason_of(error, entry.path)
    if reason:
        result: Literal["would", "done", "refused"] = "refused"
    else:
        result = "done" if act else "would"
    companion = entry.kind == "companion"
    return Return(entry.path, entry.to, result, reason, entry.size, companion)
