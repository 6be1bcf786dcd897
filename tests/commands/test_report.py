"""annidx report: one page that needs nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.commands.running import demo_build, json_lines, run, usage_error


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return demo_build(tmp_path_factory)[0]


def test_the_page_has_the_groups_and_needs_nothing_else(index: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    rows, summary = json_lines("report", "--html", page, index=index)
    assert rows == []
    text = page.read_text(encoding="utf-8")
    assert summary["bytes"] == len(text.encode())
    groups, told = json_lines("groups", index=index)
    assert text.count('<section class="group">') == summary["count"] == told["count"]
    shown = re.findall(r'<img src="([^"]*)" alt="([^"]*)"', text)
    assert len(shown) == summary["pictures"] == sum(len(each["paths"]) for each in groups)
    assert {source.partition(",")[0] for source, _ in shown} == {"data:image/jpeg;base64"}
    forms = re.findall(
        r" by \d+, [\d.]+ \w+, (\w+(?:, quality about \d+)?)(?:<br>[^<]*)?</span>", text
    )
    assert len(forms) == len(shown)
    assert {each.rpartition(" ")[0] for each in forms} == {"JPEG, quality about", ""}
    names = {Path(path).name for each in groups for path in each["paths"]}
    assert {alt.replace("&#39;", "'").replace("&amp;", "&") for _, alt in shown} == names
    assert re.findall(r"<script|<link|url\(|https?://", text) == []


def test_those_that_free_most_come_first(index: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    done = run("report", "--html", page, "--groups", "2", index=index)
    assert re.match(r"2 groups, of \d+ in ", done.stdout)
    text = page.read_text(encoding="utf-8")
    assert text.count('<section class="group">') == 2
    freed = sorted(each["freed_bytes"] for each in json_lines("groups", index=index)[0])
    said = re.findall(r'</span> <span class="quiet">([\d.]+) kB could be freed', text)
    assert said == [f"{size / 1000:.1f}" for size in freed[:-3:-1]]


def test_options_are_those_of_groups(index: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    _, summary = json_lines("report", "--html", page, "--match", "exact", index=index)
    assert summary["groups"] == json_lines("groups", "--match", "exact", index=index)[1]["count"]
    assert "--html" in usage_error("report", index=index)
    assert "1 or more" in usage_error("report", "--html", page, "--groups", "0", index=index)
