"""What the owner of an archive has decided about pictures: kept in ``decisions/``, by content.

A decision names pictures by `pixel_hash`, and where they lay when it was made, which only tells
copies of equal pixels apart. So decisions outlive moves, new metadata, rebuilds and roll-backs.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from annidx.errors import UsageError
from annidx.fields import path_fields
from annidx.store import files, log

Verdict = Literal["keep", "remove", "not-duplicate", "protect", "unprotect"]

_LOG = "decisions.log"


@dataclass(frozen=True, slots=True)
class Subject:
    """A picture that is decided about.

    Attributes
    ----------
    pixel_hash : bytes
        32 bytes; empty for a folder.
    path : bytes
        Absolute, as it was then.
    """

    pixel_hash: bytes
    path: bytes


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision.

    Attributes
    ----------
    verdict : Verdict
    one : Subject
        The picture (of 'protect' and 'unprotect', the folder) that it is about.
    other : Subject or None
        Of 'remove' the picture that is kept for it, of 'not-duplicate' the other one.
    kind, words : str
        Of 'remove': what `one` is to `other`, as the index saw it when this was decided.
    number : int
        Counts up from 1; 0 before it is recorded.
    time : str
        UTC, ISO 8601.
    """

    verdict: Verdict
    one: Subject
    other: Subject | None = None
    kind: str = ""
    words: str = ""
    number: int = 0
    time: str = ""

    @property
    def pair(self) -> frozenset[bytes]:
        """The hashes of both pictures; one hash when their pixels are the same."""
        return frozenset(each.pixel_hash for each in (self.one, self.other) if each)


@dataclass(frozen=True, slots=True)
class Decisions:
    """What is decided as of now.

    Attributes
    ----------
    standing : tuple of Decision
        In the order in which they were made, without those that were taken back, and without
        removals and 'not-duplicate' that a later one about the same two has replaced.
    apart : frozenset of frozenset of bytes
        The pairs of `pixel_hash` that are no duplicates.
    protected : tuple of bytes
        Folders of which no file may be removed.
    last : int
        The highest number so far.
    """

    standing: tuple[Decision, ...] = ()
    apart: frozenset[frozenset[bytes]] = frozenset()
    protected: tuple[bytes, ...] = ()
    last: int = 0

    def are_apart(self, one: bytes, other: bytes) -> bool:
        """Tell whether two pictures, by `pixel_hash`, were decided to be no duplicates."""
        return frozenset((one, other)) in self.apart


def read(index: Path) -> Decisions:
    """Return what is decided about the pictures of an index."""
    return _folded(log.read(_path(index)))


def stamp(index: Path) -> tuple[tuple[str, int, int], ...]:
    """Return what changes whenever something is decided, or a plan moves something.

    Name, size and time (ns) of each file in ``decisions/``.
    """
    facts = [(path.name, path.stat()) for path in files.listed(index / "decisions")]
    return tuple((name, each.st_size, each.st_mtime_ns) for name, each in facts)


def record(index: Path, made: Sequence[Decision], time: str) -> Decisions:
    """Record decisions, durably; return what is decided then.

    Parameters
    ----------
    index : Path
    made : Sequence of Decision
    time : str
        UTC, ISO 8601.

    Raises
    ------
    IndexLocked, OSError
    """

    def numbered(now: Decisions) -> list[dict[str, Any]]:
        return [_fields(each, now.last + at, time) for at, each in enumerate(made, start=1)]

    return _append(index, numbered)


def take_back(index: Path, number: int | None, time: str) -> Decision:
    """Take back one decision, by default the last that stands; return it.

    Raises
    ------
    UsageError
        When there is none of that number, or none at all.
    """
    found: list[Decision] = []

    def forgotten(now: Decisions) -> list[dict[str, Any]]:
        found.extend(each for each in now.standing if number in (None, each.number))
        if not found:
            which = "there is no decision" if number is None else f"no decision {number} stands"
            message = f'{which}: "annidx decide --list" shows those that do'
            raise UsageError(message)
        return [{"take_back": found[-1].number, "number": now.last + 1, "time": time}]

    _append(index, forgotten)
    return found[-1]


class Apart:
    """The pairs that are no duplicates, read again when the file has changed; for searches.

    Parameters
    ----------
    index : Path
    """

    def __init__(self, index: Path) -> None:
        self._index, self._path = index, _path(index)
        self._read: tuple[tuple[int, int], frozenset[frozenset[bytes]]] = (0, 0), frozenset()

    def __call__(self) -> frozenset[frozenset[bytes]]:
        """Return the pairs of `pixel_hash`."""
        try:
            facts = self._path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return frozenset()
        state = facts.st_size, facts.st_mtime_ns
        if self._read[0] != state:
            told = b"not-duplicate" in files.read_file(self._path)  # 40 us a decision
            self._read = state, read(self._index).apart if told else frozenset()
        return self._read[1]


def _append(index: Path, make: Callable[[Decisions], list[dict[str, Any]]]) -> Decisions:
    with files.locked(index, "decisions", "another process is recording decisions of", 10.0):
        known = log.read(_path(index))
        new = make(_folded(known))
        log.append(_path(index), new)
    return _folded([*known, *new])


def _path(index: Path) -> Path:
    return index / "decisions" / _LOG


def _folded(records: Sequence[Mapping[str, Any]]) -> Decisions:
    """Return what a log comes to."""
    gone = {each["take_back"] for each in records if "take_back" in each}
    made = [_decision(each) for each in records if "verdict" in each]
    standing: dict[Any, Decision] = {}
    about: dict[frozenset[bytes], set[Any]] = {}  # keys of what stands, by the two pictures
    protected: dict[bytes, Decision] = {}
    for each in made:
        if each.number in gone:
            continue
        if each.other is None and each.verdict != "keep":
            protected.pop(each.one.path, None)
            if each.verdict == "protect":
                protected[each.one.path] = each
            continue
        key = each.pair if each.verdict == "not-duplicate" else each.one
        if each.other is not None:  # the last word about two pictures counts
            for old in about.get(each.pair, set()) - {key}:
                if old in standing and _contradicts(each, standing[old]):
                    del standing[old]
            about.setdefault(each.pair, set()).add(key)
        standing.pop(key, None)
        standing[key] = each
    every = sorted([*standing.values(), *protected.values()], key=lambda each: each.number)
    pairs = (each.pair for each in every if each.verdict == "not-duplicate")
    last = max((each["number"] for each in records), default=0)
    return Decisions(tuple(every), frozenset(pairs), tuple(protected), last)


def _contradicts(new: Decision, known: Decision) -> bool:
    """Tell whether a decision about two pictures replaces an earlier one about the same two."""
    return known.other is not None and known.verdict != new.verdict and known.pair == new.pair


def _fields(decision: Decision, number: int, time: str) -> dict[str, Any]:
    fields: dict[str, Any] = {"number": number, "time": time, "verdict": decision.verdict}
    for name, subject in (("one", decision.one), ("other", decision.other)):
        if subject is not None:
            pixels = subject.pixel_hash.hex()
            fields[name] = {"pixel_hash": pixels, **path_fields("path", subject.path)}
    return fields | {"kind": decision.kind, "words": decision.words}


def _decision(fields: Mapping[str, Any]) -> Decision:
    other = _subject(fields["other"]) if "other" in fields else None
    return Decision(
        fields["verdict"],
        _subject(fields["one"]),
        other,
        fields["kind"],
        fields["words"],
        fields["number"],
        fields["time"],
    )


def _subject(fields: Mapping[str, Any]) -> Subject:
    return Subject(bytes.fromhex(fields["pixel_hash"]), path_of(fields, "path"))


def path_of(fields: Mapping[str, Any], key: str) -> bytes:
    """Return the path that :func:`annidx.fields.path_fields` wrote."""
    exact = fields.get(f"{key}_base64")
    return fields[key].encode() if exact is None else base64.b64decode(exact)
