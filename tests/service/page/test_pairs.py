"""Pairs one after the other, the nearest first, as a habit of review."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

import annidx
from annidx import decisions
from annidx.service.page import board
from annidx.service.page.board import Question
from tests.service.page.browsing import press, reviewing


def names(page: Page) -> set[str]:
    """Return the paths of the two pictures that are shown, as the page has them."""
    return {each.inner_text().split("\n")[0] for each in page.locator(".file").all()}


def test_pairs_are_those_of_the_search_nearest_first(shared: Path) -> None:
    index = annidx.open(shared)
    made = board.make(index, Question(by="pairs"))
    found = [(each.raw_a, each.raw_b) for each in index.find_pairs()]
    assert [tuple(x.picture.path for x in each.members) for each in made.groups] == found
    assert [each.kind for each in made.groups] == ["identical"] * 2 + ["edited"] * 4
    assert len(made.by_key) == len(found) == 6
    first = made.groups[0]
    assert first.freed == first.members[0].picture.size
    assert made.answer.complete


def test_only_the_nearest_of_very_many(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board, "MOST_PAIRS", 4)
    made = board.make(annidx.open(shared), Question(by="pairs"))
    assert len(made.groups) == 4
    assert not made.answer.complete


def test_pair_after_pair_by_keys(browser: Browser, archive: Path) -> None:
    index = archive.parent / "index"
    with reviewing(index) as review:
        page = review.enter(browser.new_context())
        press(page, "t")
        page.wait_for_selector(".pane")
        expect(page.locator(".bar nav")).to_contain_text("1 of 6")
        first = names(page)
        press(page, "ArrowRight")
        expect(page.locator(".bar nav")).to_contain_text("2 of 6")
        assert names(page) != first
        press(page, "ArrowLeft")
        assert names(page) == first
        press(page, "r")
        expect(page.locator(".said")).to_contain_text("to be removed")
        expect(page.locator(".bar nav")).to_contain_text("2 of 6")
        press(page, "a")
        expect(page.locator(".bar nav")).to_contain_text(re.compile("[3-6] of 6"))
        removed = [each for each in decisions.read(index).standing if each.verdict == "remove"]
        assert len(removed) == 2
        shown = page.locator(".stage").inner_text()
        assert "to be removed" not in shown, "pairs of what is removed are passed over"
        assert review.complaints == []


def test_pairs_without_javascript(browser: Browser, archive: Path) -> None:
    with reviewing(archive.parent / "index") as review:
        page = review.enter(browser.new_context(java_script_enabled=False))
        page.click("text=Pairs, nearest first")
        page.wait_for_selector(".pane")
        for place in (2, 3):
            page.click("text=Next")
            expect(page.locator(".bar nav")).to_contain_text(f"{place} of 6")
        page.click("[value=accept]")
        expect(page.locator(".said")).to_contain_text("1 to be removed")
        page.click("h1 a")
        expect(page.locator("h2").first).to_have_text("6 pairs")
        assert page.locator(".card").count() == 6
        assert page.locator(".settled").count() >= 1
        page.select_option("[name=state]", "open")
        page.click(".filters button")
        assert "by=pairs" in page.url
        assert page.locator(".settled").count() == 0
        page.click("text=Reset")
        assert page.locator(".card").count() == 6
        page.click(".heading a")
        expect(page.locator("h2").first).to_contain_text("2 groups")
