"""Which of several pictures to keep: rules one after the other, and the reason in words.

Pure: looks at what is known of the pictures and at no file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from annidx.errors import UsageError
from annidx.images.content import RAW_SUFFIXES
from annidx.images.scan import is_inside
from annidx.review.pictures import Picture, is_protected
from annidx.roots import expand

DEFAULT = "format,clean,resolution,size,oldest"

_RAW = frozenset(suffix[1:].decode().upper() for suffix in RAW_SUFFIXES) | {"RAW"}
_OF_CAMERAS = frozenset({"JPEG", "MPO", "HEIF"})
_SORTS = ("camera RAW", "a file of the camera", "an export")


class Rule(NamedTuple):
    """One rule.

    Attributes
    ----------
    key : callable
        What it goes by: the smallest is kept.
    words : callable
        Says it of the kept picture and another one that the rule tells apart.
    """

    key: Callable[[Picture], Any]
    words: Callable[[Picture, Picture], str]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which picture to keep.

    Attributes
    ----------
    kept : Picture
    others : tuple of (Picture, str)
        Each of the others, by path, with the reason why the kept one is kept rather than it.
    """

    kept: Picture
    others: tuple[tuple[Picture, str], ...]


@dataclass(frozen=True, slots=True)
class Rules:
    """Rules in the order in which they count; see :func:`rules`."""

    rules: tuple[Rule, ...]
    text: str


def rules(text: str = DEFAULT) -> Rules:
    """Read rules as ``--keep`` takes them.

    Parameters
    ----------
    text : str
        Names with commas between them, the first counts most: 'format' (camera RAW, then what
        names its camera, then the rest), 'clean' (nothing laid over it that matches show, no frame
        around it), 'resolution' (more pixels), 'size' (more bytes), 'oldest'
        (the exposure, else the file), 'path:DIR' (what lies in that folder, however deep).

    Raises
    ------
    UsageError
        For an unknown rule, or none.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        message = f"keep is empty, expected rules such as {DEFAULT}"
        raise UsageError(message)
    made = tuple(_rule(name) for name in names)
    return Rules((*made, _BY_PATH), ",".join(names))


def choose(
    pictures: Sequence[Picture],
    wanted: Rules,
    *,
    kept: Collection[bytes] = (),
    protected: Sequence[bytes] = (),
) -> Choice:
    """Return which of some pictures, at least one, the rules keep.

    Parameters
    ----------
    pictures : Sequence of Picture
    wanted : Rules
    kept : collection of bytes
        Paths that are kept already: they go before all others.
    protected : sequence of bytes
        Folders whose files go before what the rules say.
    """
    first = (_kept(kept), _protected(protected), *wanted.rules)
    ordered = sorted(pictures, key=lambda each: tuple(rule.key(each) for rule in first))
    best = ordered[0]
    others = sorted(ordered[1:], key=lambda each: each.path)
    return Choice(best, tuple((each, _reason(first, best, each)) for each in others))


def _reason(ordered: Sequence[Rule], best: Picture, other: Picture) -> str:
    return next(rule.words(best, other) for rule in ordered if rule.key(best) != rule.key(other))


def _rule(name: str) -> Rule:
    option, colon, folder = name.partition(":")
    if option == "path" and folder:
        return _inside(expand(folder))
    if colon or name not in _RULES:
        message = f"unknown rule {name!r}: expected some of {', '.join(_RULES)}, path:DIR"
        raise UsageError(message)
    return _RULES[name]


def _inside(folder: bytes) -> Rule:
    shown = os.fsdecode(folder)
    return Rule(
        lambda each: not is_inside(each.path, folder), lambda _best, _other: f"lies in {shown}"
    )


def _kept(paths: Collection[bytes]) -> Rule:
    return Rule(lambda each: each.path not in paths, lambda _best, _other: "is kept already")


def _protected(folders: Sequence[bytes]) -> Rule:
    def words(best: Picture, _other: Picture) -> str:
        return f"lies in the protected folder {os.fsdecode(is_protected(best.path, folders))}"

    return Rule(lambda each: not is_protected(each.path, folders), words)


def _sort(picture: Picture) -> int:
    """Return what a picture is: camera RAW, a file of the camera, an export."""
    if picture.format.upper() in _RAW:
        return 0
    return 1 if picture.camera and picture.format in _OF_CAMERAS else 2


def _age(picture: Picture) -> tuple[str, int]:
    # Letters come after digits. Copies made within one second have no age.
    return picture.taken or "unknown", picture.mtime_ns // 10**9


def _age_words(best: Picture, other: Picture) -> str:
    if best.taken != other.taken:
        return f"taken {best.taken} rather than {other.taken or 'at an unknown time'}"
    days = [
        datetime.fromtimestamp(each.mtime_ns / 1e9, UTC).isoformat(" ", "seconds")[:19]
        for each in (best, other)
    ]
    return f"the older file, of {days[0]} rather than {days[1]}"


_RULES = {
    "format": Rule(_sort, lambda best, other: f"{_SORTS[_sort(best)]}, not {_SORTS[_sort(other)]}"),
    "clean": Rule(lambda each: bool(each.added), lambda _best, other: other.added),
    "resolution": Rule(
        lambda each: -each.width * each.height,
        lambda best, other: f"{best.width}x{best.height} rather than {other.width}x{other.height}",
    ),
    "size": Rule(
        lambda each: -each.size,
        lambda best, other: f"{best.size:,} bytes rather than {other.size:,}",
    ),
    "oldest": Rule(_age, _age_words),
}
_BY_PATH = Rule(
    lambda each: (each.path.count(b"/"), each.path), lambda _best, _other: "all else being equal"
)
