"""The review page in a browser: a whole review by keys, hostile names, phone, no JavaScript."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

import annidx
from annidx import decisions
from annidx.service.page import board
from tests.service.page.browsing import Review, press, reviewing


def tree(photos: Path) -> dict[str, str]:
    """Return the hash of each file below a folder, by path; without what was moved away."""
    return {
        str(path.relative_to(photos)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(photos.rglob("*"))
        if path.is_file() and ".annidx-removed" not in path.parts
    }


@pytest.fixture(scope="module")
def named(hostile: Path) -> Iterator[Review]:
    with reviewing(hostile) as review:
        yield review


@pytest.fixture(scope="module")
def plain(shared: Path) -> Iterator[Review]:
    with reviewing(shared) as review:
        yield review


def test_a_whole_review_by_keys(browser: Browser, archive: Path) -> None:
    index, before = archive.parent / "index", tree(archive)
    with reviewing(index) as review:
        page = review.enter(browser.new_context())
        page.keyboard.press("j")  # the first group
        expect(page.locator(".card").first).to_be_focused()
        press(page, "Enter")
        expect(page.locator(".pane")).to_have_count(2)
        decide_first_group(page)
        press(page, "a")  # the second one as suggested
        expect(page.locator(".said")).to_contain_text("2 to be removed for it")
        press(page, "p")
        press(page, "m")
        expect(page.locator(".removals li")).to_have_count(4)
        assert tree(archive) == before, "nothing is moved before the plan is confirmed"
        press(page, "y")
        expect(page.locator(".said")).to_contain_text("4 moved away, 0 left")
        left = tree(archive)
        assert len(left) == 2
        assert set(left.values()) == {before["camera/0.png"], before["camera/1.png"]}
        press(page, "z")
        expect(page.locator(".said")).to_contain_text("4 put back")
        assert tree(archive) == before
        assert review.complaints == []


def decide_first_group(page: Page) -> None:
    """Take back a wrong decision, and decide about both of the others, one by one."""
    press(page, "k")
    expect(page.locator(".pane.current .verdict.keep")).to_have_count(0)
    expect(page.locator(".said")).to_contain_text("is kept")
    press(page, "u")
    expect(page.locator(".said")).to_contain_text("Taken back")
    group = page.url
    for _ in range(2):
        press(page, "r")
        expect(page.locator(".said")).to_contain_text("to be removed")
    expect(page).not_to_have_url(group)  # settled: the next one


def test_no_duplicates(browser: Browser, archive: Path) -> None:
    index = archive.parent / "index"
    with reviewing(index) as review:
        page = review.enter(browser.new_context())
        page.goto(page.locator(".card").first.evaluate("each => each.href"))
        press(page, "n")
        expect(page.locator(".said")).to_contain_text("no duplicates")
        assert len(decisions.read(index).apart) == 1
        press(page, "u")
        expect(page.locator(".said")).to_contain_text("Taken back")
        assert decisions.read(index).apart == frozenset()


def test_looking_closely(browser: Browser, plain: Review) -> None:
    page = plain.enter(browser.new_context())
    page.goto(page.locator(".card").first.evaluate("each => each.href"))
    page.keyboard.press("ArrowDown")
    page.wait_for_url("**/group/*b=*")
    page.keyboard.press("+")
    turned = [each.get_attribute("style") for each in page.locator(".frame img").all()]
    assert turned[0] == turned[1]
    assert "scale(1.5)" in str(turned[0])
    first = page.locator(".pane.current").get_attribute("data-pane")
    page.keyboard.press("x")
    assert page.locator(".pane.current").get_attribute("data-pane") != first
    page.keyboard.press("f")
    expect(page.locator(".pane:visible")).to_have_count(1)
    press(page, "d")
    page.wait_for_url("**mode=difference*")
    drawn = page.locator(".pane[data-pane=b] img")
    expect(drawn).to_have_attribute("alt", re.compile("^Where .* differs"))
    page.wait_for_function("document.querySelectorAll('.frame img')[1].naturalWidth > 0")
    page.keyboard.press("?")
    expect(page.locator("#keys dl")).to_be_visible()
    assert plain.complaints == []


def dragged(page: Page, share: float) -> None:
    """Drag the cutoff to a share of the width of the histogram, and wait for its groups."""
    page.locator(".histogram .cut").scroll_into_view_if_needed()
    drawing, cut = (page.locator(f".histogram {each}") for each in ("svg", ".cut .grip"))
    whole, grip = drawing.bounding_box(), cut.bounding_box()
    assert whole is not None
    assert grip is not None
    y = grip["y"] + grip["height"] / 2
    page.mouse.move(grip["x"] + grip["width"] / 2, y)
    page.mouse.down()
    with page.expect_navigation():
        page.mouse.move(whole["x"] + share * whole["width"], y, steps=8)
        page.mouse.up()
    page.wait_for_selector(".cards")


def test_the_cutoff_is_dragged(browser: Browser, plain: Review) -> None:
    page = plain.enter(browser.new_context(viewport={"width": 1280, "height": 900}))
    usual = page.locator(".what").all_inner_texts()
    dragged(page, 0.02)  # only what is as near as the nearest
    assert float(page.input_value("[name=cutoff]")) < 1e-9
    expect(page.locator("h2").first).to_contain_text("2 groups")
    fewer = page.locator(".what").all_inner_texts()
    assert all(each.startswith("3 pictures") for each in usual)
    assert sum(each.startswith("2 pictures") for each in fewer) > 0
    dragged(page, 0.98)
    assert float(page.input_value("[name=cutoff]")) > 1
    assert page.locator(".what").all_inner_texts() == usual
    assert plain.complaints == []


def test_hostile_names_are_text(browser: Browser, named: Review) -> None:
    page = named.enter(browser.new_context())
    count = page.locator(".card").count()
    assert count >= 5
    links = [each.evaluate("each => each.href") for each in page.locator(".card").all()]
    for link in links:
        page.goto(link)
        assert page.locator("main script, main b b, main img[src=x]").count() == 0
        names = " ".join(page.locator(".file b").all_inner_texts())
        assert not set(names) & set("\n\r\x1b\u202e\x07")
    page.goto(named.base + "/review/plan")
    press(page, "m")
    expect(page.locator("h1")).to_have_text("Plan")
    assert "49" not in page.locator("main code").all_inner_texts()
    assert named.complaints == []


def is_within(page: Page) -> bool:
    """Tell whether nothing but what scrolls by itself is wider than the window."""
    fits: bool = page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    return fits


@pytest.mark.parametrize(("width", "height"), [(360, 740), (3840, 2160)])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_phones_and_walls(
    browser: Browser, plain: Review, width: int, height: int, scheme: Any
) -> None:
    size: Any = {"width": width, "height": height}
    page = plain.enter(browser.new_context(viewport=size, color_scheme=scheme))
    assert is_within(page)
    page.goto(page.locator(".card").first.evaluate("each => each.href"))
    assert is_within(page)
    expect(page.locator(".pane [value=remove]").first).to_be_visible()
    ground = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert (int(re.findall(r"\d+", ground)[0]) > 128) == (scheme == "light")


def test_it_works_without_javascript(browser: Browser, archive: Path) -> None:
    before = tree(archive)
    with reviewing(archive.parent / "index") as review:
        page = review.enter(browser.new_context(java_script_enabled=False))
        page.select_option("[name=sort]", "size")
        page.click(".filters button")
        assert "sort=size" in page.url
        page.click(".card >> nth=0")
        expect(page.locator("[data-act]:visible")).to_have_count(0)
        page.click("[value=accept]")
        expect(page.locator(".said")).to_contain_text("2 to be removed")
        page.click("text=Clear up")
        page.click("text=Make a plan")
        page.click("text=Move 2 files away")
        assert len(tree(archive)) == len(before) - 2
        page.click("text=Undo")
        assert tree(archive) == before


def test_ten_thousand_groups(
    browser: Browser, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = board.make

    def many(index: annidx.Index, asked: board.Question) -> board.Board:
        made = make(index, asked)
        groups = tuple(replace(made.groups[at % 2], key=at) for at in range(10_000))
        return replace(made, groups=groups, by_key={each.key: each for each in groups})

    monkeypatch.setattr(board, "make", many)
    with reviewing(shared) as review:
        page = review.enter(browser.new_context())
        expect(page.locator("h2").first).to_contain_text("10,000 groups")
        assert page.locator(".card").count() <= 60
        assert page.locator(".card img:not([loading=lazy])").count() == 0
        page.goto(review.base + "/review?page=9999999")
        expect(page.locator(".pages")).to_contain_text("Page 209 of 209")
        page.click(".card >> nth=-1")
        expect(page.locator(".bar nav")).to_contain_text("10,000 of 10,000")
