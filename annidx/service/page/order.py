"""Which groups of a board are shown, in which order, and which comes before and after which."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from annidx.images.scan import is_inside
from annidx.review.pictures import Picture
from annidx.service.page.board import Board, Found

SORTS = {"bytes": "Bytes freed", "distance": "Nearest", "size": "Most pictures", "date": "Date"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which groups are shown, and in which order; everything may be missing.

    Attributes
    ----------
    sort : str
        One of :data:`SORTS`.
    folder : str
        One picture at least lies in it.
    kind, format : str
    since, until : str
        Dates, inclusive: one picture at least was taken then.
    state : str
        'open' (not decided), 'decided' or empty.
    """

    sort: str = "bytes"
    folder: str = ""
    kind: str = ""
    format: str = ""
    since: str = ""
    until: str = ""
    state: str = ""


def chosen(board: Board, wanted: Wanted, is_settled: Callable[[Found], bool]) -> list[Found]:
    """Return the groups of a board that are wanted, in the order that is wanted."""
    some = [each for each in board.groups if _fits(each, wanted)]
    if wanted.state:
        some = [each for each in some if is_settled(each) == (wanted.state == "decided")]
    orders: dict[str, Callable[[Found], Any]] = {
        "bytes": lambda each: (-each.freed, each.key),
        "distance": lambda each: (each.weakest, each.key),
        "size": lambda each: (-len(each.members), each.key),
        "date": lambda each: (each.taken or "~", each.key),
    }
    return sorted(some, key=orders.get(wanted.sort, orders["bytes"]))


def _fits(group: Found, wanted: Wanted) -> bool:
    pictures = [each.picture for each in group.members]
    folder = wanted.folder.rstrip("/").encode(errors="surrogateescape")
    return (
        (not wanted.kind or group.kind == wanted.kind)
        and (not wanted.format or any(each.format == wanted.format for each in pictures))
        and (not folder or any(is_inside(each.path, folder) for each in pictures))
        and (not (wanted.since or wanted.until) or any(_taken(each, wanted) for each in pictures))
    )


def _taken(picture: Picture, wanted: Wanted) -> bool:
    day = picture.taken[:10]
    return bool(day) and wanted.since <= day <= (wanted.until or "9999")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a group stands among those that are wanted.

    Attributes
    ----------
    before, after : Found or None
    number : int
        From 1; 0 when it is not among them.
    count : int
    """

    before: Found | None
    after: Found | None
    number: int
    count: int


def place_of(board: Board, wanted: Wanted, group: Found) -> Place:
    """Return where a group stands; a filter of what is decided would have it vanish at once."""
    some = chosen(board, replace(wanted, state=""), lambda _: False)
    keys = [each.key for each in some]
    if group.key not in keys:
        return Place(None, None, 0, len(some))
    at = keys.index(group.key)
    after = some[at + 1] if at + 1 < len(some) else None
    return Place(some[at - 1] if at else None, after, at + 1, len(some))


def next_open(
    board: Board, wanted: Wanted, key: int, is_settled: Callable[[Found], bool]
) -> Found | None:
    """Return the first group behind one about which something is left to decide."""
    some = chosen(board, replace(wanted, state=""), lambda _: False)
    keys = [each.key for each in some]
    behind = some[keys.index(key) + 1 :] if key in keys else []
    return next((each for each in behind if not is_settled(each)), None)
