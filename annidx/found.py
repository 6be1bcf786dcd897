"""What answers consist of: matches, pairs and groups, each with what the search says of itself.

Frozen, slotted dataclasses and nothing that acts, as in :mod:`annidx.model`; no numpy either.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from annidx.kinds import Explanation
from annidx.model import Engine, Linkage

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """What every search says about itself.

    Attributes
    ----------
    metric : str
    cutoff : float
        Inclusive.
    k, limit : int or None
        At most this many pictures a query; matches or pairs in all. None: no limit.
    complete : bool
        True when nothing was cut off by k or a limit and the stop rule of the search was met.
    exact : bool
        True when the exact engine gave the answer.
    engine : {'graph', 'exact'}
    recall : float or None
        Certified recall of the graph that answered; None when `exact`, or where the certificate's
        sample held no pairs.
    snapshot : int
        Number of the snapshot that answered.
    seconds : float
        Wall time of the search.
    companions_left_out : int
        Near pairs (of a query: pictures) left out since one is the companion of the other.
    chance : float or None
        The most chance of a match, inclusive; None by metrics that tell none.
    """

    metric: str
    cutoff: float
    k: int | None
    complete: bool
    exact: bool
    engine: Engine
    recall: float | None
    snapshot: int
    seconds: float
    companions_left_out: int = 0
    limit: int | None = None
    chance: float | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """A picture of the archive near a query.

    Attributes
    ----------
    raw_path : bytes
        Absolute path of the picture as bytes.
    distance : float
        Exact distance in the metric's own unit.
    metric : str
    kind : str
        One of :data:`annidx.kinds.KINDS`: 'identical' (all bytes), 'same-pixels' (only metadata
        differs), 'similar'; by metric 'fingerprint' also 'edited' (one exposure) and 'same-scene'.
    transform : str
        Transform of the query that matched; 'none' unless transforms were asked for.
    image_id : int
    width, height, size : int
        Pixels and bytes of the picture.
    format : str
    low_information : bool
        True when query and picture are both almost one flat colour, so that being near says little.
    score, chance, explanation, extrapolated
        Of metric 'fingerprint': see :class:`Pair`; what the picture is to the query.
    """

    raw_path: bytes
    distance: float
    metric: str
    kind: str
    transform: str
    image_id: int
    width: int
    height: int
    size: int
    format: str
    low_information: bool
    score: float | None = None
    chance: float | None = None
    explanation: Explanation | None = None
    extrapolated: bool | None = None

    @property
    def path(self) -> str:
        """The path as str; bytes that are not UTF-8 become lone surrogates (``os.fsdecode``)."""
        return os.fsdecode(self.raw_path)


class Listed(Sequence[T]):
    """A sequence of what one of its fields holds."""

    __slots__ = ()
    _listed: ClassVar[str]

    def __len__(self) -> int:
        return len(getattr(self, self._listed))

    def __iter__(self) -> Iterator[T]:
        return iter(getattr(self, self._listed))

    def __getitem__(self, item: Any) -> Any:
        return getattr(self, self._listed)[item]


@dataclass(frozen=True, slots=True)
class Matches(Listed[Match]):
    """The neighbours of one query, by (distance, path bytes); by fingerprint (chance, path bytes).

    Attributes
    ----------
    query : str
        The path that was asked, or a description such as '<image>'.
    matches, answer : tuple of Match, Answer
    nearest : Match or None
        The nearest picture found, even beyond the cutoff; set by ``has`` only.
    """

    query: str
    matches: tuple[Match, ...]
    answer: Answer
    nearest: Match | None = None

    _listed: ClassVar = "matches"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two pictures within the cutoff, a before b by path bytes.

    `score`, `chance`, `explanation` and `extrapolated` are of metric 'fingerprint', else None: how
    well the details of the two agree once they are aligned, 0..1; how many unrelated pairs of this
    archive would be expected to agree as well; what b is to a; whether chance goes beyond what was
    measured, because no sample holds that many pairs.
    """

    raw_a: bytes
    raw_b: bytes
    distance: float
    metric: str
    kind: str
    low_information: bool
    score: float | None = None
    chance: float | None = None
    explanation: Explanation | None = None
    extrapolated: bool | None = None

    @property
    def a(self) -> str:
        """Path of the first picture."""
        return os.fsdecode(self.raw_a)

    @property
    def b(self) -> str:
        """Path of the second picture."""
        return os.fsdecode(self.raw_b)


@dataclass(frozen=True, slots=True)
class Pairs(Listed[Pair]):
    """All pairs of an index within its limits, by (distance, path a, path b).

    By fingerprint chance comes first, in the place of distance.

    Attributes
    ----------
    pairs, answer : Sequence of Pair, Answer
    """

    pairs: Sequence[Pair]
    answer: Answer

    _listed: ClassVar = "pairs"


@dataclass(frozen=True, slots=True)
class Neighbours(Listed[Matches]):
    """The neighbours of every picture that has any, by path.

    Attributes
    ----------
    matches : tuple of Matches
    answer : Answer
        `complete` is False when k cut any of them short.
    """

    matches: tuple[Matches, ...]
    answer: Answer

    _listed: ClassVar = "matches"


@dataclass(frozen=True, slots=True)
class Group:
    """Pictures put together by a stated rule.

    Attributes
    ----------
    number : int
        1 for the largest; groups are ordered by (size descending, first path).
    linkage : {'connected', 'complete', 'star'}
        The rule that made it.
    raw_paths : tuple of bytes
        Absolute paths, sorted.
    sizes : tuple of int
        Bytes of each of these files.
    diameter : float
        Largest exact distance of two members, in the metric's unit: within the cutoff if
        'complete', within twice the cutoff if 'star' (and Euclidean), any if 'connected'.
    weakest : float
        Largest distance among the pairs that hold the group together (its minimum spanning tree).
    freed_bytes : int
        Bytes of all members but the largest file; of all that are not protected, if any is.
    metric : str
    protected : tuple of bytes
        Those of the paths that lie in a reference folder.
    """

    number: int
    linkage: Linkage
    raw_paths: tuple[bytes, ...]
    sizes: tuple[int, ...]
    diameter: float
    weakest: float
    freed_bytes: int
    metric: str
    protected: tuple[bytes, ...] = ()

    @property
    def paths(self) -> list[str]:
        """Absolute paths of the members, sorted."""
        return [os.fsdecode(path) for path in self.raw_paths]


@dataclass(frozen=True, slots=True)
class Groups(Listed[Group]):
    """The groups of an index, and what was set aside.

    Attributes
    ----------
    groups : tuple of Group
    low_information : int
        Pictures of almost one flat colour near others of that class, and in no group with them.
    answer : Answer
    unconfirmed : int
        Pairs within the cutoff that joined nothing, since the signatures of the two differ.
    """

    groups: tuple[Group, ...]
    low_information: int
    answer: Answer
    unconfirmed: int = 0

    _listed: ClassVar = "groups"
