"""What was decided to be no duplicate leaves its group at once, and comes back when taken back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, expect

import annidx
from annidx.decisions import Decisions
from annidx.found import Answer
from annidx.review import deciding
from annidx.review.pictures import Picture
from annidx.service.page.board import Board, Found, Member
from annidx.service.page.marks import Marks
from annidx.service.page.parting import parted
from tests.making import photo, save
from tests.service.page.browsing import press, reviewing
from tests.service.page.conftest import built

ANSWER = Answer("fingerprint", 1, None, True, True, "exact", None, 1, 0)


def pixels(name: str) -> bytes:
    return name.encode() * 32


def member(name: str) -> Member:
    path = b"/p/" + name.encode()
    hashes = pixels(name), pixels(name)
    size = ord(name)
    return Member(ord(name), Picture(path, b"/p", *hashes, size, 0, 4, 3, "PNG", "", "", ()), 1)


def parts(names: str, *apart: str) -> dict[int, str]:
    """Return what becomes of a group, by key, after some pairs were told apart."""
    members = tuple(map(member, names))
    group = Found(min(map(ord, names)), members, "edited", 1, 0.5)
    index = object.__new__(annidx.Index)  # nothing is asked of it
    board = Board(index, (group,), {group.key: group}, ANSWER, np.zeros(0), 1.0, True)
    decided = Decisions(apart=frozenset(frozenset(map(pixels, pair)) for pair in apart))
    now = parted(board, Marks(decided, frozenset()))
    assert now.left == len(names) - sum(len(each.members) for each in now.groups)
    assert now.by_key == {each.key: each for each in now.groups}
    for each in now.groups:
        sizes = [one.picture.size for one in each.members]
        assert each.freed == (sum(sizes) - max(sizes) if len(sizes) < len(names) else 1)
    return {key: "".join(chr(x.image_id) for x in each.members) for key, each in now.by_key.items()}


@pytest.mark.parametrize(
    ("names", "apart", "left"),
    [
        ("abc", [], {97: "abc"}),
        ("abc", ["ab"], {97: "abc"}),
        ("abc", ["xy", "ax"], {97: "abc"}),
        ("abc", ["ac", "bc"], {97: "ab"}),
        ("abc", ["ab", "ac"], {97: "bc"}),
        ("abcd", ["ac", "ad", "bc", "bd"], {97: "ab", 99: "cd"}),
        ("abcde", ["ab", "ac", "ad", "ae", "bd", "be", "cd", "ce"], {97: "bc", 100: "de"}),
        ("ab", ["ab"], {}),
        ("abc", ["ab", "ac", "bc"], {}),
    ],
)
def test_what_hangs_together_stays_together(
    names: str, apart: list[str], left: dict[int, str]
) -> None:
    assert parts(names, *apart) == left


def test_a_picture_told_apart_from_all_others_leaves(browser: Browser, archive: Path) -> None:
    place = archive.parent / "index"
    with reviewing(place) as review:
        page = review.enter(browser.new_context())
        expect(page.locator(".left")).to_have_count(0)
        sizes = page.locator(".what b")
        expect(sizes).to_have_text(["3 pictures"] * 2)
        # The copy has the pixels of this one: the small one is told apart from both.
        large = archive / "camera" / "0.png"
        deciding.not_duplicates(annidx.open(place), archive / "web" / "0 small.jpg", large)
        page.reload()
        expect(page.locator(".left")).to_contain_text("1 picture left its group")
        assert sorted(sizes.all_inner_texts()) == ["2 pictures", "3 pictures"]
        assert "identical bytes" in page.locator(".tag.identical").inner_text().lower()
        press(page, "t")  # pair after pair
        page.wait_for_selector(".pane")
        expect(page.locator(".bar nav")).to_contain_text("1 of 4")
        assert review.complaints == []


def test_a_pair_told_apart_goes_and_comes_back(browser: Browser, tmp_path: Path) -> None:
    for name, size in (("a.png", (320, 240)), ("b.png", (160, 120))):
        save(tmp_path / "photos" / name, photo(0, (320, 240)).resize(size))
    with reviewing(built(tmp_path / "photos")) as review:
        page = review.enter(browser.new_context())
        with page.expect_navigation():
            page.click(".card")
        press(page, "n")
        expect(page.locator(".said")).to_contain_text("no duplicates")
        expect(page.locator(".figures")).to_contain_text("0 groups")
        expect(page.locator(".left")).to_contain_text("2 pictures left their groups")
        expect(page.locator(".empty")).to_have_text("Nothing is left here.")
        press(page, "u")
        expect(page.locator(".figures")).to_contain_text("1 group")
        expect(page.locator(".left")).to_have_count(0)
        assert review.complaints == []
