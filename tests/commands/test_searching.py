"""The options that all searches share: they come to the API, and what is wrong is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import annidx
from annidx import Filter, Index
from annidx.cli import main
from tests.commands.running import PICTURES, Row, edits

PICOS = PICTURES / "2019-holiday" / "picos-trail.jpg"
HOLIDAY, BACKUP = PICTURES / "2019-holiday", PICTURES / "backup"

Ask = Callable[..., tuple[list[Row], Row]]


@pytest.fixture(scope="module")
def opened(index: Path) -> Index:
    return annidx.open(index)


@pytest.fixture
def ask(index: Path, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Return what runs a verb in this process; it returns the rows and the summary."""

    def asked(*words: Any, code: int = 0) -> tuple[list[Row], Row]:
        assert main([*map(str, words), "--index", str(index), "--json"]) == code
        *rows, summary = map(json.loads, capsys.readouterr().out.splitlines())
        return rows, summary

    return asked


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (["--cutoff", "90"], {"cutoff": 90}),
        (["--match", "strict"], {"match": "strict"}),
        (["--match", "exact"], {"match": "exact"}),
        (["--limit", "7"], {"limit": 7}),
        (["--path", "*.jpg"], {"where": Filter(paths="*.jpg")}),
        (
            ["--path", "exports/", "--path", f"{PICTURES}/2020-home"],
            {"where": Filter(paths=["exports/", f"{PICTURES}/2020-home"])},
        ),
        (["--min-size", "20kB"], {"where": Filter(min_bytes=20_000)}),
        (["--min-pixels", "320x240"], {"where": Filter(min_pixels=(320, 240))}),
        (["--min-pixels", "0.1MP"], {"where": Filter(min_pixels=100_000)}),
        (["--pixel-size", "different"], {"where": Filter(pixel_size="different")}),
        (["--picture-format", "jpg, PNG"], {"where": Filter(formats=["jpg", "PNG"])}),
        (
            ["--taken-from", "2019", "--taken-until", "2019-12"],
            {"where": Filter(taken_from="2019", taken_until="2019-12")},
        ),
        (["--between", HOLIDAY, BACKUP], {"between": (HOLIDAY, BACKUP)}),
        (
            ["--reference", HOLIDAY, "--reference", BACKUP],
            {"reference": [HOLIDAY, BACKUP]},
        ),
        (["--since", "1d"], {"since": "1d"}),
        (["--since", "2038-01-01"], {"since": "2038-01-01"}),
        (["--engine", "exact"], {"engine": "exact"}),
    ],
    ids=lambda value: " ".join(map(str, value))[:40] if isinstance(value, list) else "",
)
def test_what_is_written_comes_to_the_api(
    ask: Ask, opened: Index, words: list[Any], options: dict[str, Any]
) -> None:
    rows, summary = ask("pairs", *words)
    found = opened.find_pairs(**options)
    assert [(row["a"], row["b"]) for row in rows] == [(pair.a, pair.b) for pair in found]
    assert summary["complete"] == found.answer.complete
    assert summary.get("limit") == found.answer.limit
    if "limit" not in options:
        groups, _ = ask("groups", *words)
        assert [row["paths"] for row in groups] == [each.paths for each in opened.groups(**options)]
    neighbours, _ = ask("query", "--all", *words)
    assert {row["query"] for row in neighbours} == {
        each.query for each in opened.neighbours(**options)
    }
    if not {"between", "reference", "since"} & options.keys():
        matches, _ = ask("query", PICOS, *words)
        assert [row["path"] for row in matches] == [
            match.path for match in opened.query(PICOS, **options)
        ]


def test_a_turned_picture_is_found_and_named(ask: Ask) -> None:
    turns = {}
    for picture, other in map(sorted, edits("flipped")):
        for query, wanted in ((picture, other), (other, picture)):
            rows, _ = ask("query", query)
            assert {row["path"]: row["transform"] for row in rows}[wanted] == "flip-horizontal"
            (row,), _ = ask("has", query, "--path", wanted)
            assert (row["path"], row["transform"]) == (wanted, "flip-horizontal")
            by_thumb, _ = ask("query", query, "--metric", "thumb")
            assert wanted not in [row["path"] for row in by_thumb]
            rows, _ = ask("query", query, "--transforms", "all")
            turns[query] = {row["path"]: row["transform"] for row in rows}[wanted]
            (row,), _ = ask("has", query, "--transforms", "flips", "--path", wanted)
            assert (row["path"], row["transform"]) == (wanted, turns[query])
    assert turns
    assert set(turns.values()) == {"flip-horizontal"}


def test_people_see_the_transform(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = str(PICTURES / "2020-home" / "coffee-mirrored.jpg")
    for verb in ("query", "has"):
        main([verb, picture, "--transforms", "flips", "--index", str(index)])
        assert "  (flip-horizontal)\n" in capsys.readouterr().out


def test_groups_mark_what_is_protected(ask: Ask, capsys: pytest.CaptureFixture[str]) -> None:
    rows, _ = ask("groups", "--reference", BACKUP)
    flags = 0
    for row in rows:
        protected = [path.startswith(f"{BACKUP}/") for path in row["paths"]]
        flags += sum(protected)
        assert row.get("protected", [False] * len(protected)) == protected
        assert not all(protected)
    assert flags


def test_a_limit_says_that_it_cut(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pairs", "--limit", "3", "--index", str(index)]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert "cut short by --limit 3, " in last
    assert main(["query", str(PICOS), "--limit", "3", "--index", str(index)]) == 0
    assert "cut short by -k 10 or --limit 3, " in capsys.readouterr().out


def test_many_files_are_answered_together(ask: Ask, opened: Index) -> None:
    files = [*sorted(HOLIDAY.glob("*.jpg")), PICTURES / "scans" / "brick-wall.jpg"]
    rows, summary = ask("has", *files, "--match", "loose", code=20)
    found = [opened.has(path, match="loose") for path in files]
    assert [row["found"] for row in rows] == [bool(each) for each in found]
    assert [row["path"] for row in rows] == [each.nearest.path for each in found if each.nearest]
    assert summary["queries"] == len(files)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["pairs", "--match", "strict", "--cutoff", "3"], "match 'strict' is a cutoff already"),
        (["pairs", "--exact", "--engine", "graph"], "engine 'graph' does not: give one"),
        (["pairs", "--limit", "0"], "limit is 0, expected 1 or more"),
        (["pairs", "--limit", "-3"], "limit is -3, expected 1 or more"),
        (["pairs", "--cutoff", "-inf"], "cutoff is -inf, expected a distance of 0 or more"),
        (["groups", "--cutoff", "-1e9"], "cutoff is -1e+09, expected a distance of 0 or more"),
        (
            ["pairs", "--between", "nowhere", "."],
            "between: no picture of the index lies in nowhere",
        ),
        (["groups", "--reference", ""], "reference: no picture of the index lies in '';"),
        (
            ["pairs", "--since", "tomorrow"],
            "since is 'tomorrow', expected a date such as 2026-11-01",
        ),
        (["pairs", "--path", ""], "a glob is empty: expected one such as '*.jpg'"),
        (["pairs", "--picture-format", "JPGE"], "unknown format 'JPGE': expected some of AVIF"),
        (["pairs", "--taken-from", "May"], "taken_from is 'May', expected a time such as 2019"),
        (["query", "a.jpg", "--since", "7d"], "--since is for pairs: give --all"),
        (["query", "a.jpg", "--between", "a", "b"], "--between is for pairs: give --all"),
        (["query", "a.jpg", "--max-pairs", "3"], "--max-pairs is for pairs: give --all"),
        (["query", "--all", "--transforms", "all"], "--transforms goes with FILEs, not --all"),
    ],
)
def test_what_makes_no_sense_is_refused(
    index: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main([*words, "--index", str(index)]) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err.startswith("annidx: ")
    assert said in streams.err
    assert streams.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["pairs", "--match", "near"], "argument --match: invalid choice: 'near'"),
        (
            ["query", "a.jpg", "--transforms", "flip"],
            "argument --transforms: invalid choice: 'flip'",
        ),
        (["pairs", "--engine", "faiss"], "argument --engine: invalid choice: 'faiss'"),
        (["pairs", "--min-size", "big"], "argument --min-size: big: expected bytes, such as 800M"),
        (["pairs", "--min-pixels", "640*480"], "expected pixels, such as 640x480, 300000 or 2M"),
        (["pairs", "--between", "a"], "argument --between: expected 2 arguments"),
        (["has", "a.jpg", "--limit", "3"], "unrecognized arguments: --limit 3"),
        (["groups", "--limit", "3"], "unrecognized arguments: --limit 3"),
        (["pairs", "--transforms", "all"], "unrecognized arguments: --transforms all"),
        (["pairs", "-k", "3"], "unrecognized arguments: -k 3"),
    ],
)
def test_what_the_parser_refuses(
    capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    with pytest.raises(SystemExit):
        main(words)
    assert said in capsys.readouterr().err.splitlines()[-1]
