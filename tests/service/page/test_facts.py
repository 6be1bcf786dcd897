"""annidx.service.page.facts: which value is better."""

from __future__ import annotations

from annidx.images.facts import Details
from annidx.review.pictures import Picture
from annidx.service.page import facts
from annidx.service.page.board import Member


def member(number: int) -> Member:
    hashes = bytes(32), bytes(32)
    path = b"/p/%d.jpg" % number
    return Member(number, Picture(path, b"/p", *hashes, 9, 0, 4, 3, "JPEG", "", "", ()), 1)


def quality(*found: int) -> list[tuple[str, bool]]:
    """Return the row of some pictures' qualities; of 0 nothing is known."""
    members = [member(at) for at in range(len(found))]
    details = {at: Details(quality=each) for at, each in enumerate(found) if each}
    rows = [each for each in facts.rows(members, b"/p", details) if each.label == "Quality"]
    return [(cell.text, cell.better) for row in rows for cell in row.cells]


def test_the_better_quality_is_marked_and_other_formats_have_none() -> None:
    assert quality(92, 75, 0) == [("about 92", True), ("about 75", False), ("", False)]
    assert quality(80, 80) == [("about 80", False)] * 2
    assert quality(80, 0) == [("about 80", False), ("", False)]
    assert quality(0, 0) == []
