"""A browser on the review page of a small archive, for tests."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from annidx.service.page.session import Session
from tests.service.serving import Served, serving

TOKEN = "f00dfacef00dfacef00dfacef00dface"
NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium() -> str:
    """Return the browser; without one the test is skipped, in CI it fails."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no chromium: scripts/ci-setup installs it")
        pytest.skip("no chromium: scripts/ci-setup installs it")
    return found


@contextlib.contextmanager
def browsing() -> Iterator[Browser]:
    """Start a browser; its sandbox needs what containers do not have."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def press(page: Page, key: str) -> None:
    """Press a key that leads to another page, once the script listens to this one's."""
    page.wait_for_load_state()
    with page.expect_navigation():
        page.keyboard.press(key)


@dataclass(frozen=True, slots=True)
class Review:
    """A review page that is served, what its pages said to the console, and its cookie."""

    served: Served
    session: Session
    complaints: list[str]
    cookies: list[Any]

    @property
    def base(self) -> str:
        return str(self.served.client.base_url)

    def enter(self, context: BrowserContext) -> Page:
        """Open the page by its link, later by the cookie; return it once groups are there."""
        context.set_default_timeout(20_000)
        page = context.new_page()
        page.on("console", lambda each: self.complaints.append(each.text))
        page.on("pageerror", lambda each: self.complaints.append(str(each)))
        page.on("dialog", lambda each: self.complaints.append(each.message))
        context.add_cookies(self.cookies)
        page.goto(self.base + (self.session.link or "/review"))
        page.wait_for_selector(".cards")
        self.cookies[:] = context.cookies()
        return page


@contextlib.contextmanager
def reviewing(index: Path) -> Iterator[Review]:
    """Serve the review page of an index until the block ends."""
    session = Session()
    with serving(index, session=session, token=TOKEN, waiting=64) as served:
        yield Review(served, session, [], [])
