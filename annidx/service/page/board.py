"""What the page shows of a snapshot: its groups, in an order and through a filter.

Groups are made once for each question and snapshot, in a thread of their own, and kept.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from annidx.descriptors import default_metric, descriptor
from annidx.errors import AnnidxError, UsageError
from annidx.found import Answer, Group
from annidx.index import Index
from annidx.kinds import DUPLICATES
from annidx.pairlist import OrderedPairs
from annidx.review.pictures import Picture, pictures_of, rows_at

VIEWS = {"duplicates": "Duplicates", "bursts": "Bursts", "similar": "Similar"}
_KINDS = {"bursts": ["same-scene"], "similar": ["similar"]}
KINDS = {
    "identical": "Identical bytes",
    "same-pixels": "Same pixels",
    "edited": "Edited",
    "same-scene": "Same scene",
    "similar": "Similar",
}
LEAST_CHANCE = 1e-12
"""Nothing is told apart below that."""
BY = ("groups", "pairs")
MOST_PAIRS = 20_000
"""Pairs that are shown one after the other, the nearest."""
MOST_KEPT = 6
"""Questions whose groups are kept."""


@dataclass(frozen=True, slots=True)
class Member:
    """A picture of a group, by its number in the index, and how it is turned (EXIF)."""

    image_id: int
    picture: Picture
    orientation: int

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height as shown."""
        width, height = self.picture.width, self.picture.height
        return (height, width) if self.orientation >= 5 else (width, height)


@dataclass(frozen=True, slots=True)
class Found:
    """A group to be looked at, or a pair: a group of two that may be of other groups, too.

    Attributes
    ----------
    key : int
        The least number of its pictures, which names it; of a pair see :func:`key_of_pair`.
    members : tuple of Member
        By path.
    kind : str
        What all of them are to each other at least.
    freed : int
        Bytes of all but the largest; 0 of bursts and what is similar, which are no duplicates.
    weakest : float
        See :attr:`annidx.found.Group.weakest`.
    """

    key: int
    members: tuple[Member, ...]
    kind: str
    freed: int
    weakest: float

    @property
    def taken(self) -> str:
        """The earliest time of exposure; empty when none is known."""
        return min((each.picture.taken for each in self.members if each.picture.taken), default="")


@dataclass(frozen=True, slots=True)
class Board:
    """The groups of one question.

    Attributes
    ----------
    index : Index
    groups : tuple of Found
    by_key : dict of int to Found
    answer : Answer
    keys : (m,) float64
        Chance, or distance, of pairs up to well beyond the cutoff, ascending; empty when there
        are too many.
    limit : float
        The cutoff in their unit.
    by_chance : bool
    left : int
        Pictures that are in no group any more: see :mod:`annidx.service.page.parting`.
    """

    index: Index
    groups: tuple[Found, ...]
    by_key: dict[int, Found]
    answer: Answer
    keys: npt.NDArray[np.float64]
    limit: float
    by_chance: bool
    left: int = 0


@dataclass(frozen=True, slots=True)
class Question:
    """What groups are made by: a view, and a cutoff unless it is the metric's own.

    By 'pairs' there are no groups, and each pair is one.
    """

    view: str = "duplicates"
    cutoff: float | None = None
    by: str = "groups"

    def options(self, by_chance: bool) -> dict[str, Any]:
        """Return the options of the search."""
        made: dict[str, Any] = {}
        if self.view in _KINDS:
            made["kinds"] = _KINDS[self.view]
        if self.cutoff is not None:
            made["false_pairs" if by_chance else "cutoff"] = self.cutoff
        return made


def make(index: Index, asked: Question) -> Board:
    """Return the groups of a question; takes as long as a search of all pairs."""
    metric = default_metric(index.manifest.descriptors)
    by_chance = bool(descriptor(metric).needs)
    if asked.by == "pairs":
        groups, answer = _pairs(index, asked, by_chance)
    else:
        found = index.groups(**asked.options(by_chance))
        groups, answer = tuple(of_groups(index, found.groups, asked.view)), found.answer
    limit = answer.cutoff if answer.chance is None else answer.chance
    by_key = {each.key: each for each in groups}
    return Board(index, groups, by_key, answer, _keys(index, by_chance), limit, by_chance)


def _keys(index: Index, by_chance: bool) -> npt.NDArray[np.float64]:
    wider: dict[str, Any] = {"match": "loose"} if by_chance else {}
    try:
        pairs = index.find_pairs(**wider).pairs
    except UsageError:  # more pairs than can be held
        return np.zeros(0)
    return cast("OrderedPairs", pairs).keys


def _pairs(index: Index, asked: Question, by_chance: bool) -> tuple[tuple[Found, ...], Answer]:
    """Return the pairs of a question, nearest first, each as a group of two."""
    options = asked.options(by_chance)
    if by_chance:
        options.setdefault("kinds", list(DUPLICATES))  # as groups have them
    found = index.find_pairs(limit=MOST_PAIRS, **options)
    ordered = cast("OrderedPairs", found.pairs)
    sides = list(ordered.sides())
    members = _members(index, {path for both in sides for path in both})
    made = []
    for (a, b), nearness in zip(sides, ordered.keys.tolist(), strict=True):
        both = members[a], members[b]
        kind = _kind(both, asked.view, found.answer.metric)
        freed = 0 if asked.view in _KINDS else min(each.picture.size for each in both)
        made.append(Found(key_of_pair(both[0], both[1]), both, kind, freed, nearness))
    return tuple(made), found.answer


def key_of_pair(one: Member, other: Member) -> int:
    """Return what names a pair: the numbers of both pictures in one."""
    low, high = sorted((one.image_id, other.image_id))
    return low << 32 | high


def of_groups(index: Index, groups: Sequence[Group], view: str = "duplicates") -> list[Found]:
    """Return the groups of an answer with what is known of their pictures."""
    members = _members(index, {path for group in groups for path in group.raw_paths})
    return [_one(group, [members[path] for path in group.raw_paths], view) for group in groups]


def _members(index: Index, paths: Collection[bytes]) -> dict[bytes, Member]:
    rows = rows_at(index, paths)
    order = list(rows)
    chosen = [rows[path] for path in order]
    stored = index.snapshot.pictures
    numbers = stored.numbers("image_id")[chosen].tolist()
    turned = stored.numbers("orientation")[chosen].tolist()
    made = zip(order, numbers, pictures_of(index, chosen), turned, strict=True)
    return {path: Member(number, one, turn) for path, number, one, turn in made}


def _one(group: Group, members: Sequence[Member], view: str) -> Found:
    key = min(each.image_id for each in members)
    freed = 0 if view in _KINDS else group.freed_bytes
    kind = _kind(members, view, group.metric)
    return Found(key, tuple(members), kind, freed, group.weakest)


def _kind(members: Sequence[Member], view: str, metric: str) -> str:
    if len({each.picture.content_hash for each in members}) == 1:
        return "identical"
    if len({each.picture.pixel_hash for each in members}) == 1:
        return "same-pixels"
    usual = "similar" if metric == "thumb" else "edited"
    return {"bursts": "same-scene", "similar": "similar"}.get(view, usual)


class Boards:
    """The boards that were made last, and the one that is being made."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: dict[tuple[int, Question], Future[Board]] = {}
        # Searches of all pairs take all cores: one after the other.
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="board")

    def of(self, index: Index, asked: Question, wait_s: float) -> Board | None:
        """Return a board; None when it is not made within some seconds: ask again.

        Raises
        ------
        AnnidxError
            When it could not be made; tried again then.
        """
        key = index.manifest.number, asked
        with self._lock:
            future = self._made.get(key)
            if future is None:
                self._drop(index.manifest.number)
                future = self._made[key] = self._threads.submit(make, index, asked)
        try:
            return future.result(wait_s)
        except TimeoutError:
            return None
        except AnnidxError:
            with self._lock:
                self._made.pop(key, None)
            raise

    def _drop(self, snapshot: int) -> None:
        """Let go of what belongs to other snapshots, and of the oldest."""
        for key in [key for key in self._made if key[0] != snapshot]:
            self._made.pop(key).cancel()
        while len(self._made) >= MOST_KEPT:
            self._made.pop(next(iter(self._made))).cancel()
