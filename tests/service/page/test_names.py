"""Names of files are text on every page, whatever a browser would make of them."""

from __future__ import annotations

import re
from pathlib import Path

import httpx

from tests.commands.running import run
from tests.service.page.browsing import reviewing
from tests.service.serving import until


def check(text: str) -> None:
    """Look at what is HTML in a page, and what is text."""
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert "{{ 7 * 7 }}<b>" not in text


def test_names_are_escaped_on_every_page(hostile: Path) -> None:
    with reviewing(hostile) as review, httpx.Client(base_url=review.base, timeout=60) as own:
        own.get(review.session.link)
        until(lambda: "cards" in own.get("/review").text)
        first = own.get("/review").text
        groups = dict.fromkeys(re.findall(r'href="(/review/group/[^"]+)"', first))
        assert len(groups) >= 5
        pages = [first, *(own.get(link.replace("&amp;", "&")).text for link in groups)]
    for text in pages:
        check(text)
    together = "".join(pages)
    assert "&lt;script&gt;alert(1)" in together
    assert "&#34;&#39;&gt;&lt;img src=x onerror=alert(1)&gt;" in together
    assert "{{ 7 * 7 }}&lt;b&gt;" in together


def test_names_are_escaped_in_a_report(hostile: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    run("report", "--html", page, index=hostile)
    text = page.read_text(encoding="utf-8")
    check(text)
    assert "&lt;script&gt;alert(1)" in text
