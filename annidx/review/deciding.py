"""Decisions about files of the archive, checked against the index before they are recorded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime

from annidx import decisions
from annidx.decisions import Decision, Decisions, Subject
from annidx.descriptors import FINGERPRINT
from annidx.errors import ActionRefused, UsageError
from annidx.index import Index
from annidx.review.pictures import Picture, at_paths
from annidx.roots import PathLike, expand

_WORDS = {"identical": "identical bytes", "same-pixels": "same pixels"}


def keep(index: Index, paths: Sequence[PathLike]) -> Decisions:
    """Decide to keep files, whatever else is planned.

    Raises
    ------
    UsageError
        When one is no picture of the index.
    """
    return _record(index, [Decision("keep", _subject(each)) for each in at_paths(index, paths)])


def remove(index: Index, path: PathLike, kept: PathLike) -> Decisions:
    """Decide to remove a file for another one that it matches directly.

    Raises
    ------
    UsageError
        When one is no picture of the index, or both are the same one.
    ActionRefused
        When the two do not match.
    """
    one, other = at_paths(index, [path, kept])
    if one.path == other.path:
        message = f"{os.fsdecode(path)}: a picture cannot be removed for itself; name another one"
        raise UsageError(message)
    kind, words = direct_match(index, one, other)
    return _record(index, [Decision("remove", _subject(one), _subject(other), kind, words)])


def not_duplicates(index: Index, one: PathLike, other: PathLike) -> Decisions:
    """Decide that two files are no duplicates: searches leave the pair out from now on.

    Raises
    ------
    UsageError
        When one is no picture of the index, or both are the same one.
    """
    a, b = at_paths(index, [one, other])
    if a.path == b.path:
        message = f"{os.fsdecode(one)}: name two pictures, this is one"
        raise UsageError(message)
    return _record(index, [Decision("not-duplicate", _subject(a), _subject(b))])


def protect(index: Index, folders: Sequence[PathLike], *, protected: bool = True) -> Decisions:
    """Decide that no file in some folders is ever removed, or that it may be again.

    Raises
    ------
    UsageError
        When a folder is not there; or, to be given free, not protected.
    """
    known = decisions.read(index.snapshot.index).protected
    made = []
    for folder in folders:
        path = expand(folder)
        if not (os.path.isdir(path) if protected else path in known):
            now = ", ".join(map(os.fsdecode, known)) or "none"
            message = f"{os.fsdecode(folder)}: " + (
                "no such folder" if protected else f"is not protected; folders that are: {now}"
            )
            raise UsageError(message)
        made.append(Decision("protect" if protected else "unprotect", Subject(b"", path)))
    return _record(index, made)


def take_back(index: Index, number: int | None = None) -> Decision:
    """Take back a decision, by default the last one; return it.

    Raises
    ------
    UsageError
        When there is none.
    """
    return decisions.take_back(index.snapshot.index, number, _now())


def direct_match(index: Index, one: Picture, other: Picture) -> tuple[str, str]:
    """Return what one picture is to another that it matches directly, and in words.

    Raises
    ------
    ActionRefused
        When the two do not match, even loosely.
    """
    if one.content_hash == other.content_hash:
        return "identical", _WORDS["identical"]
    if one.pixel_hash == other.pixel_hash:
        return "same-pixels", _WORDS["same-pixels"]
    found = index.find_pairs(
        between=(other.path, one.path), match="loose", companions=True, decided=True
    )
    for pair in found:
        words = "" if pair.explanation is None else pair.explanation.words
        if pair.metric != FINGERPRINT.name:
            words = f"{pair.metric} at {pair.distance:g}"
        return pair.kind, words or pair.kind
    message = (
        f"{os.fsdecode(one.path)} does not match {os.fsdecode(other.path)}, even loosely: "
        "a picture is removed only for one that it matches directly. Nothing was decided."
    )
    raise ActionRefused(message)


def _record(index: Index, made: Sequence[Decision]) -> Decisions:
    return decisions.record(index.snapshot.index, made, _now())


def _subject(picture: Picture) -> Subject:
    return Subject(picture.pixel_hash, picture.path)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
