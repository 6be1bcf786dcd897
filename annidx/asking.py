"""What a search may be asked for: how near, which pictures, which pairs, how many, by what.

One line in :class:`Search` and one in the options of those who take it make a new option.
"""

from __future__ import annotations

import os
import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime, time, timedelta
from typing import Any, Literal, TypedDict, get_args

from annidx.descriptors import FINGERPRINT, THUMB, Descriptor, default_metric
from annidx.errors import UsageError
from annidx.kinds import KINDS, Kind
from annidx.model import Choice, Linkage

PathLike = str | bytes | os.PathLike[str]
Near = Literal["exact", "strict", "normal", "loose"]
PixelSize = Literal["same", "different"]
Turns = Literal["none", "flips", "rotations", "all"]
Views = Literal["fast", "default", "thorough"]

_NEAR, _PIXEL_SIZES = get_args(Near), get_args(PixelSize)
_TURNS, _VIEWS = get_args(Turns), get_args(Views)
_ENGINES, _LINKAGES = get_args(Choice), get_args(Linkage)

K = 10
"""Default k of a query."""
CHANCES = {"strict": 0.01, "normal": 1.0, "loose": 100.0}
"""How many false pairs an archive may be expected to have, by `match`, for the fingerprint."""
MAX_PAIRS = 10_000_000
"""A search of more pairs is refused, beforehand when an estimate leaves no doubt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which pictures of the archive count: the answer is as if there were no others.

    All that is given must hold. Of a query it is asked of the matches, of a pair of both pictures.

    Attributes
    ----------
    paths : str or sequence of str
        Globs on the absolute path, of which one must match; see :func:`annidx.globs.matcher`.
    min_bytes : int
        Smallest size of the file, bytes.
    min_pixels : int or (int, int)
        Smallest number of pixels; or smallest sides, either way up: (640, 480) takes 480 x 640.
    pixel_size : {'same', 'different'}, optional
        Only pictures whose width and height, upright, are the query's, or are not; of a pair, the
        other picture's. A query that is turned (see `transforms`) is compared as it is then.
    formats : str or sequence of str
        As the index knows them, in any case ('JPEG', 'HEIF', 'NEF'), or 'RAW' for all camera RAW;
        common names of files ('jpg', 'tif', 'heic', 'jp2') will do.
    taken_from, taken_until : str, optional
        Time of the exposure, in the camera's own time, both inclusive: '2019', '2019-08',
        '2019-08-22' or '2019-08-22T18:30:00'; until '2019-08' takes all of August. A date or
        datetime will do. Pictures that do not say when they were taken have no such time.
    """

    paths: PathLike | Sequence[PathLike] = ()
    min_bytes: int = 0
    min_pixels: int | tuple[int, int] = 0
    pixel_size: PixelSize | None = None
    formats: str | Sequence[str] = ()
    taken_from: str | date | None = None
    taken_until: str | date | None = None

    def __post_init__(self) -> None:
        """Bring what is given to one form, so that equal filters are equal."""
        for name in ("paths", "formats"):
            several = tuple(map(os.fsdecode, _several(getattr(self, name))))
            object.__setattr__(self, name, several)
        for name in ("taken_from", "taken_until"):
            object.__setattr__(self, name, _taken(name, getattr(self, name)))
        _one_of("pixel_size", self.pixel_size, (None, *_PIXEL_SIZES))
        _not_negative("min_bytes", self.min_bytes)
        if isinstance(self.min_pixels, int):
            _not_negative("min_pixels", self.min_pixels)
        else:
            object.__setattr__(self, "min_pixels", _sides(self.min_pixels))


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """All options of a search, with their defaults; :class:`annidx.Index` says what each means."""

    cutoff: float | None = None
    match: Near | None = None
    metric: str = FINGERPRINT.name
    exact: bool = False
    engine: Choice = "auto"
    where: Filter | None = None
    companions: bool = False
    decided: bool = False
    k: int | None = K
    limit: int | None = None
    kinds: Kind | Sequence[Kind] = ()
    transforms: Turns = "none"
    views: Views = "default"
    fpr: float | None = None
    false_pairs: float | None = None
    cutoff_from: int | Mapping[str, Any] | None = None
    max_pairs: int = MAX_PAIRS
    between: tuple[PathLike, PathLike] | None = None
    reference: PathLike | Sequence[PathLike] = ()
    since: str | date | None = None
    linkage: Linkage = "connected"
    unconfirmed: bool = False

    def __post_init__(self) -> None:
        """Refuse what means nothing whatever the index holds."""
        _one_of("match", self.match, (None, *_NEAR))
        _one_of("engine", self.engine, _ENGINES)
        _one_of("transforms", self.transforms, _TURNS)
        _one_of("views", self.views, _VIEWS)
        self._check_kinds()
        self._check_chance()
        _one_of("linkage", self.linkage, _LINKAGES)
        if self.match is not None and self.cutoff is not None:
            message = f"match {self.match!r} is a cutoff already: give one of the two"
            raise UsageError(message)
        if self.exact and self.engine == "graph":
            message = "exact compares with every picture, engine 'graph' does not: give one"
            raise UsageError(message)
        if self.limit is not None and self.limit < 1:
            message = f"limit is {self.limit}, expected 1 or more"
            raise UsageError(message)
        if self.where is not None and not isinstance(self.where, Filter):
            message = f"where is {self.where!r}, expected an annidx.Filter"
            raise UsageError(message)
        pair = isinstance(self.between, tuple | list) and len(self.between) == 2
        if self.between is not None and not pair:
            message = f"between is {self.between!r}, expected two folders"
            raise UsageError(message)

    def cutoff_of(self, measure: Descriptor) -> float | None:
        """Return the cutoff that is asked for, None for the metric's own."""
        if self.match is None:
            return self.cutoff
        return {**measure.presets, "exact": 0.0}[self.match]

    def _check_kinds(self) -> None:
        """Bring kinds to one form, and refuse those that nothing can have."""
        object.__setattr__(self, "kinds", tuple(map(str, _several(self.kinds))))
        for kind in self.kinds:
            _one_of("kind", kind, KINDS)
            if kind in ("edited", "same-scene") and self.metric != FINGERPRINT.name:
                message = (
                    f"kind {kind} goes with metric {FINGERPRINT.name}: by {self.metric}, what is "
                    "no copy is called similar"
                )
                raise UsageError(message)

    def _check_chance(self) -> None:
        """Refuse options of the fingerprint where there is none, and two limits at once."""
        limits = {"fpr": self.fpr, "false_pairs": self.false_pairs}
        given = [name for name, value in limits.items() if value is not None]
        for name in given:
            if not (limits[name] or 0) > 0:
                message = f"{name} is {limits[name]}, expected a number above 0"
                raise UsageError(message)
        if self.metric != FINGERPRINT.name:
            given += ["cutoff_from"] if self.cutoff_from is not None else []
            for name in [*given, *(["views"] if self.views != "default" else [])]:
                message = f"{name} goes with metric {FINGERPRINT.name}, not with {self.metric}"
                raise UsageError(message)
        elif self.transforms != "none":
            message = "the fingerprint tries flips and turns by itself: give views, not transforms"
            raise UsageError(message)
        if len(given) + (self.match in CHANCES and self.metric == FINGERPRINT.name) > 1:
            message = "fpr, false_pairs and match each limit chance: give one of them"
            raise UsageError(message)

    def chance_of(self, pictures: int) -> float:
        """Return the most chance that a match may have in an archive of so many pictures."""
        if self.fpr is not None:
            return self.fpr * pictures * (pictures - 1) / 2
        if self.false_pairs is not None:
            return self.false_pairs
        return CHANCES.get(self.match or "normal", CHANCES["normal"])

    @property
    def only_kinds(self) -> tuple[Kind, ...]:
        """The kinds that are asked for; none for those that the search has by default."""
        return tuple(kind for kind in KINDS if kind in self.kinds)

    @property
    def folders(self) -> tuple[PathLike, ...]:
        """The reference folders."""
        return _several(self.reference)


class CommonOptions(TypedDict, total=False):
    """Options of every search."""

    cutoff: float | None
    match: Near | None
    metric: str
    exact: bool
    engine: Choice
    where: Filter | None
    views: Views
    fpr: float | None
    false_pairs: float | None
    cutoff_from: int | Mapping[str, Any] | None


class HasOptions(CommonOptions, total=False):
    """Options of :meth:`annidx.Index.has`."""

    companions: bool
    decided: bool
    transforms: Turns


class VectorOptions(CommonOptions, total=False):
    """Options of :meth:`annidx.Index.query_vectors`."""

    k: int | None
    limit: int | None
    transforms: Turns


class QueryOptions(VectorOptions, total=False):
    """Options of :meth:`annidx.Index.query` and :meth:`annidx.Index.query_many`."""

    companions: bool
    decided: bool
    kinds: Kind | Sequence[Kind]


class JoinOptions(CommonOptions, total=False):
    """Options of all searches of pairs."""

    companions: bool
    decided: bool
    kinds: Kind | Sequence[Kind]
    max_pairs: int
    between: tuple[PathLike, PathLike] | None
    reference: PathLike | Sequence[PathLike]
    since: str | date | None


class GroupOptions(JoinOptions, total=False):
    """Options of :meth:`annidx.Index.groups`."""

    linkage: Linkage
    unconfirmed: bool


class PairOptions(JoinOptions, total=False):
    """Options of :meth:`annidx.Index.pairs` and :meth:`annidx.Index.find_pairs`."""

    limit: int | None


class NeighbourOptions(PairOptions, total=False):
    """Options of :meth:`annidx.Index.neighbours`."""

    k: int | None


OF_THUMBS = ("cutoff", "transforms")
"""Options that mean the thumb where no metric is named, as they did before there were others."""


def metric_of(kind: Any, options: Mapping[str, Any], held: Container[str]) -> str:
    """Return the metric that is asked for, or the default one.

    Parameters
    ----------
    kind : a TypedDict of this module
    options : mapping
    held : container of str
        Descriptors that the index holds.
    """
    if "metric" in options:
        return str(options["metric"])
    asked = (options.get(name) for name in OF_THUMBS)
    if kind is VectorOptions or any(each not in (None, "none") for each in asked):
        return THUMB.name
    return default_metric(held)


def search(kind: Any, options: Mapping[str, Any], held: Container[str] = ()) -> Search:
    """Return options with their defaults.

    Parameters
    ----------
    kind : a TypedDict of this module
    options : mapping
    held : container of str
        Descriptors that the index holds.

    Raises
    ------
    TypeError
        For one that is not of this kind: no option is accepted and ignored.
    UsageError
    """
    for name in options:
        if name not in kind.__annotations__:
            taken = [each.name for each in fields(Search) if each.name in kind.__annotations__]
            message = f"unexpected option {name!r}: expected some of {', '.join(taken)}"
            raise TypeError(message)
    return Search(**{**options, "metric": metric_of(kind, options, held)})


def moment_ns(since: str | date, now: datetime) -> int:
    """Return a moment as nanoseconds since 1970.

    Parameters
    ----------
    since : str, date or datetime
        'YYYY-MM-DD' (its beginning), 'YYYY-MM-DDTHH:MM[:SS]' with or without an offset from UTC, or
        how long ago: '12h', '7d', '2w'. Without an offset it is local time.
    now : datetime
        With its time zone.

    Raises
    ------
    UsageError
        When it is none of these.
    """
    if isinstance(since, date):
        whole = since if isinstance(since, datetime) else datetime.combine(since, time())
        return _nanoseconds(whole)
    try:
        ago = re.fullmatch(r"(\d{1,6})([hdw])", since.strip())
        if ago:
            unit = {"h": "hours", "d": "days", "w": "weeks"}[ago[2]]
            return _nanoseconds(now - timedelta(**{unit: int(ago[1])}))
        return _nanoseconds(datetime.fromisoformat(since.strip()))
    except (AttributeError, ValueError, OverflowError):
        message = (
            f"since is {since!r}, expected a date such as 2026-11-01 or 2026-11-01T18:30, "
            "or how long ago: 12h, 7d, 2w"
        )
        raise UsageError(message) from None


def _nanoseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1e6) * 1000


def _taken(name: str, value: str | date | None) -> str | None:
    """Return a time of exposure as the index has it, or the beginning of one."""
    if value is None:
        return None
    text = value.isoformat()[:19] if isinstance(value, date) else str(value)
    text = text.strip().replace(" ", "T", 1)
    given = re.fullmatch(r"(\d{4})(-\d\d(-\d\d(T\d\d:\d\d(:\d\d)?)?)?)?", text)
    try:
        if given is None:
            raise ValueError
        datetime.fromisoformat(text + "0001-01-01T00:00:00"[len(text) :])
    except ValueError:
        message = (
            f"{name} is {value!r}, expected a time such as 2019, 2019-08, 2019-08-22 "
            "or 2019-08-22T18:30:00"
        )
        raise UsageError(message) from None
    return text


def _one_of(name: str, value: Any, allowed: Sequence[Any]) -> None:
    if value not in allowed:
        expected = ", ".join(repr(each) for each in allowed if each is not None)
        message = f"{name} is {value!r}, expected one of {expected}"
        raise UsageError(message)


def _several(given: PathLike | Sequence[PathLike]) -> tuple[PathLike, ...]:
    return (given,) if isinstance(given, str | bytes | os.PathLike) else tuple(given)


def _sides(given: Any) -> tuple[int, int]:
    """Return two sides of a picture, checked."""
    if not isinstance(given, tuple | list) or len(given) != 2:
        message = f"min_pixels is {given!r}, expected a number or two sides such as (640, 480)"
        raise UsageError(message)
    for side in given:
        _not_negative("min_pixels", side)
    return given[0], given[1]


def _not_negative(name: str, value: int) -> None:
    if value < 0:
        message = f"{name} is {value}, expected 0 or more"
        raise UsageError(message)
