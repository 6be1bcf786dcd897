"""Decisions: the last word counts, what was taken back does not, and nothing is ever rewritten."""

from __future__ import annotations

from pathlib import Path

import pytest

from annidx import decisions
from annidx.decisions import Apart, Decision, Subject, Verdict
from annidx.errors import UsageError
from annidx.store import identity

TIME = "2026-11-22T03:15:00+00:00"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return an index without pictures."""
    identity.create(tmp_path / "index")
    return tmp_path / "index"


def subject(name: str, pixels: str = "") -> Subject:
    return Subject((pixels or name).encode().ljust(32, b"."), b"/photos/" + name.encode())


def about(verdict: Verdict, one: str, other: str = "") -> Decision:
    return Decision(verdict, subject(one), subject(other) if other else None)


def standing(place: Path) -> list[str]:
    return [
        " ".join(
            [each.verdict, *(some.path.decode()[8:] for some in (each.one, each.other) if some)]
        )
        for each in decisions.read(place).standing
    ]


def test_decisions_are_read_as_they_were_recorded(place: Path) -> None:
    odd = Subject(b"\xff" * 32, b"/photos/\xff\n.jpg")
    made = [Decision("remove", odd, subject("b"), "edited", "brighter"), about("keep", "c")]
    told = decisions.record(place, made, TIME)
    assert told == decisions.read(place)
    assert [(each.one, each.other, each.kind, each.words) for each in told.standing] == [
        (odd, subject("b"), "edited", "brighter"),
        (subject("c"), None, "", ""),
    ]
    assert [(each.number, each.time) for each in told.standing] == [(1, TIME), (2, TIME)]


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        ([("keep", "a", ""), ("remove", "a", "b")], ["remove a b"]),
        ([("remove", "a", "b"), ("keep", "a", "")], ["keep a"]),
        ([("remove", "a", "b"), ("remove", "a", "c")], ["remove a c"]),
        ([("remove", "a", "b"), ("not-duplicate", "b", "a")], ["not-duplicate b a"]),
        ([("not-duplicate", "a", "b"), ("remove", "b", "a")], ["remove b a"]),
        ([("not-duplicate", "a", "b"), ("remove", "b", "c")], ["not-duplicate a b", "remove b c"]),
        ([("remove", "a", "b"), ("remove", "b", "c")], ["remove a b", "remove b c"]),
        ([("not-duplicate", "a", "b"), ("not-duplicate", "b", "a")], ["not-duplicate b a"]),
    ],
)
def test_the_last_word_counts(
    place: Path, made: list[tuple[Verdict, str, str]], expected: list[str]
) -> None:
    for each in made:
        decisions.record(place, [about(*each)], TIME)
    assert standing(place) == expected


def test_copies_of_equal_pixels_are_told_apart_by_their_path(place: Path) -> None:
    one, other = subject("a", "p"), subject("b", "p")
    decisions.record(place, [Decision("remove", one, other)], TIME)
    decisions.record(place, [Decision("keep", other)], TIME)
    assert standing(place) == ["remove a b", "keep b"]
    told = decisions.record(place, [Decision("not-duplicate", one, other)], TIME)
    assert told.are_apart(one.pixel_hash, other.pixel_hash)
    assert standing(place) == ["keep b", "not-duplicate a b"]


def test_what_is_taken_back_no_longer_counts_and_what_it_replaced_does(place: Path) -> None:
    decisions.record(place, [about("keep", "a")], TIME)
    decisions.record(place, [about("remove", "a", "b"), about("not-duplicate", "c", "d")], TIME)
    assert decisions.take_back(place, 2, TIME).verdict == "remove"
    assert standing(place) == ["keep a", "not-duplicate c d"]
    assert decisions.take_back(place, None, TIME).verdict == "not-duplicate"
    assert standing(place) == ["keep a"]
    assert not decisions.read(place).apart
    with pytest.raises(UsageError, match="no decision 2 stands"):
        decisions.take_back(place, 2, TIME)
    assert decisions.record(place, [about("keep", "z")], TIME).last == 6
    decisions.take_back(place, None, TIME)
    decisions.take_back(place, None, TIME)
    with pytest.raises(UsageError, match="there is no decision"):
        decisions.take_back(place, None, TIME)


def test_folders_are_protected_until_they_are_not(place: Path) -> None:
    folder = Subject(b"", b"/photos/albums")
    assert decisions.record(place, [Decision("protect", folder)], TIME).protected == (folder.path,)
    decisions.record(place, [Decision("unprotect", folder)], TIME)
    assert decisions.read(place).protected == ()
    decisions.record(place, [Decision("protect", folder)], TIME)
    decisions.take_back(place, None, TIME)
    assert decisions.read(place).protected == ()


def test_searches_see_new_decisions_at_once(place: Path) -> None:
    apart = Apart(place)
    assert apart() == frozenset()
    decisions.record(place, [about("not-duplicate", "a", "b")], TIME)
    pair = frozenset((subject("a").pixel_hash, subject("b").pixel_hash))
    assert apart() == frozenset([pair])
    assert apart() is apart()  # not read again
    decisions.take_back(place, None, TIME)
    assert apart() == frozenset()


def test_an_index_that_is_nowhere_has_no_decisions(tmp_path: Path) -> None:
    assert Apart(tmp_path / "nowhere")() == frozenset()
    assert decisions.read(tmp_path / "nowhere").standing == ()
