"""What is decided about the pictures of a group, and what is suggested."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from annidx import cleared, decisions
from annidx.decisions import Decision, Decisions
from annidx.review import suggest
from annidx.review.pictures import Picture
from annidx.review.suggest import Rules
from annidx.service.page.board import Found, Member


@dataclass(frozen=True, slots=True)
class Mark:
    """What is decided about one picture.

    Attributes
    ----------
    verdict : str
        'keep', 'remove', 'gone' (a plan has moved it away) or empty.
    why : str
        In words.
    """

    verdict: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Which picture of a group to keep: its number, and why it rather than each of the others."""

    kept: int
    reasons: dict[int, str]


class Marks:
    """What is decided about all pictures, as of now.

    Parameters
    ----------
    decided : Decisions
    gone : collection of bytes
        Paths that plans have moved away.
    """

    def __init__(self, decided: Decisions, gone: frozenset[bytes]) -> None:
        self.decided, self.gone = decided, gone
        self._about: dict[bytes, list[Decision]] = {}
        self._away: dict[bytes, bool] = {}
        self._kept_for: set[tuple[bytes, bytes]] = set()
        subjects = [x for each in decided.standing for x in (each.one, each.other) if x]
        self._touched = {each.pixel_hash for each in subjects}
        for each in decided.standing:
            if each.verdict in ("keep", "remove"):
                self._about.setdefault(each.one.pixel_hash, []).append(each)
            if each.verdict == "remove" and each.other is not None:
                self._kept_for.add((each.other.pixel_hash, each.other.path))

    def counts(self) -> dict[str, int]:
        """Return how many decisions of each sort stand."""
        verdicts = [each.verdict for each in self.decided.standing]
        return {each: verdicts.count(each) for each in ("keep", "remove", "not-duplicate")}

    def of(self, group: Found) -> dict[int, Mark]:
        """Return what is decided about each picture of a group, by number."""
        return {each.image_id: self._mark(each, group) for each in group.members}

    def _mark(self, member: Member, group: Found) -> Mark:
        picture = member.picture
        if picture.path in self.gone:
            return Mark("gone", "moved away by a plan")
        about = self._about.get(picture.pixel_hash, [])
        own = [each for each in about if each.one.path == picture.path]
        if not own:  # it was moved since, and is the only one of its pixels here
            alike = [x for x in group.members if x.picture.pixel_hash == picture.pixel_hash]
            own = [each for each in about if len(alike) == 1 and self._is_away(each.one.path)]
        if own:
            return Mark(own[-1].verdict, own[-1].words or "decided")
        if (picture.pixel_hash, picture.path) in self._kept_for:
            return Mark("keep", "another one is removed for it")
        return Mark()

    def _is_away(self, path: bytes) -> bool:
        """Tell whether a file was moved by others: no decision about it is one about a copy."""
        if path not in self._away:
            self._away[path] = path not in self.gone and not os.path.lexists(path)
        return self._away[path]

    def is_settled(self, group: Found) -> bool:
        """Tell whether nothing is left to decide about a group."""
        pictures = [each.picture for each in group.members]
        if not any(x.pixel_hash in self._touched or x.path in self.gone for x in pictures):
            return False  # as most: there may be ten thousand
        marks = self.of(group)
        open_ones = [each for each in group.members if not marks[each.image_id].verdict]
        staying = [
            each for each in group.members if marks[each.image_id].verdict not in ("remove", "gone")
        ]
        if not open_ones or len(staying) < 2:
            return True
        # What is no duplicate of anything that stays beside it needs no verdict.
        return all(
            self.are_apart(one, other)
            for one, other in combinations(staying, 2)
            if one in open_ones or other in open_ones
        )

    def are_apart(self, one: Member, other: Member) -> bool:
        """Tell whether two pictures were decided to be no duplicates."""
        return self.decided.are_apart(one.picture.pixel_hash, other.picture.pixel_hash)

    def suggestion(
        self, group: Found, rules: Rules, pictures: Sequence[Picture] = ()
    ) -> Suggestion | None:
        """Return what the rules say of a group of duplicates; None for others.

        Parameters
        ----------
        group : Found
        rules : Rules
        pictures : Sequence of Picture
            Those of the group with more facts than it has, where they were looked at.
        """
        marks = self.of(group)
        there = [
            each for each in group.members if marks[each.image_id].verdict not in ("remove", "gone")
        ]
        if len(there) < 2 or group.kind in ("same-scene", "similar"):
            return None
        numbers = {each.picture.path: each.image_id for each in there}
        known = {each.path: each for each in pictures}
        kept = [x.picture.path for x in there if marks[x.image_id].verdict == "keep"]
        choice = suggest.choose(
            [known.get(each.picture.path, each.picture) for each in there],
            rules,
            kept=kept,
            protected=self.decided.protected,
        )
        reasons = {numbers[other.path]: why for other, why in choice.others}
        return Suggestion(numbers[choice.kept.path], reasons)


class Latest:
    """The marks of an index, read again when something was decided.

    Parameters
    ----------
    place : Path
    """

    def __init__(self, place: Path) -> None:
        self._place = place
        self._lock = threading.Lock()
        self._read: tuple[object, Marks] | None = None

    def __call__(self) -> Marks:
        """Return them."""
        now = decisions.stamp(self._place)
        with self._lock:
            if self._read is None or self._read[0] != now:
                marks = Marks(decisions.read(self._place), cleared.paths(self._place))
                self._read = now, marks
            return self._read[1]
