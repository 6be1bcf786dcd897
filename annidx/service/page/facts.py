"""What is known of the pictures of a group, row by row, with the better value marked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from annidx.images.facts import Details
from annidx.service.page.board import Member
from annidx.service.page.shared import folder_of
from annidx.showing import bytes_text, shown


@dataclass(frozen=True, slots=True)
class Cell:
    """One value: better than the others, or one that is lost with its picture."""

    text: str
    better: bool = False
    only_here: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One fact of all pictures."""

    label: str
    cells: list[Cell]


def rows(members: Sequence[Member], base: bytes, details: Mapping[int, Details]) -> list[Row]:
    """Return the facts of some pictures, in their order.

    Parameters
    ----------
    members : Sequence of Member
    base : bytes
        The folder that all roots have in common.
    details : Mapping of int to Details
        What is known of the metadata of their files.
    """
    none = Details()
    made = [
        _ranked("Pixels", members, _pixels, lambda x: x.picture.width * x.picture.height),
        _ranked("Size", members, lambda x: bytes_text(x.picture.size), lambda x: x.picture.size),
        _plain("Format", members, lambda x: x.picture.format),
        _quality(members, details),
        _known("Taken", members, lambda x: x.picture.taken.replace("T", " ")),
        _known("Camera", members, lambda x: shown(x.picture.camera)),
        _known("Place (GPS)", members, lambda x: details.get(x.image_id, none).place),
        _known("Rating", members, lambda x: "★" * int(details.get(x.image_id, none).rating or 0)),
        _ranked("Modified", members, _modified, lambda x: -(x.picture.mtime_ns // 10**9)),
        _known("Beside it", members, lambda x: ", ".join(map(shown, x.picture.companions))),
        _plain("Folder", members, lambda x: folder_of(x.picture.path, base)),
    ]
    return [row for row in made if any(cell.text for cell in row.cells)]


def _pixels(member: Member) -> str:
    width, height = member.upright
    return f"{width:,} by {height:,}"


def _modified(member: Member) -> str:
    moment = datetime.fromtimestamp(member.picture.mtime_ns / 1e9)
    return moment.strftime("%Y-%m-%d %H:%M")


def _plain(label: str, members: Sequence[Member], text: Callable[[Member], str]) -> Row:
    return Row(label, [Cell(text(each)) for each in members])


def _ranked(
    label: str,
    members: Sequence[Member],
    text: Callable[[Member], str],
    key: Callable[[Member], Any],
) -> Row:
    """Return a row in which the largest key is the better one, unless all are the same."""
    keys = [key(each) for each in members]
    differ = min(keys) != max(keys)
    best = max(keys)
    pairs = zip(members, keys, strict=True)
    return Row(label, [Cell(text(each), better=differ and own == best) for each, own in pairs])


def _quality(members: Sequence[Member], details: Mapping[int, Details]) -> Row:
    """Return a row of what JPEGs were saved at: other formats have no such number."""
    known = [details.get(each.image_id, Details()).quality for each in members]
    said = {each for each in known if each}
    best = max(said) if len(said) > 1 else None
    return Row("Quality", [Cell(f"about {each}" if each else "", each == best) for each in known])


def _known(label: str, members: Sequence[Member], text: Callable[[Member], str]) -> Row:
    """Return a row of what some pictures do not say: it would be lost with those that do."""
    texts = [text(each) for each in members]
    some = any(texts) and not all(texts)
    lone = sum(map(bool, texts)) == 1
    return Row(label, [Cell(each, some and bool(each), lone and bool(each)) for each in texts])
