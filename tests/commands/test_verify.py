"""annidx verify, and what every verb says of an index that is damaged, or newer than annidx."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from annidx.commands.common import share
from tests.commands.running import PICTURES, complaint, json_lines, run

COFFEE = PICTURES / "2020-home" / "coffee.jpg"


def flip(path: Path) -> Path:
    """Flip one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    return path


def cut(path: Path) -> Path:
    """Leave a file's first half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def drop(path: Path) -> Path:
    """Remove a file."""
    path.unlink()
    return path


def largest(index: Path, pattern: str) -> Path:
    """Return the largest file of an index that matches a pattern."""
    return max(index.glob(pattern), key=lambda path: path.stat().st_size)


def test_a_whole_index(index: Path) -> None:
    rows, summary = json_lines("verify", index=index)
    assert (rows, summary) == ([], {"files": 6, "damaged": 0})


@pytest.mark.parametrize(
    ("pattern", "damage"),
    [
        ("graphs/*.json", drop),
        ("graphs/*.hnsw", cut),
        ("segments/*.parquet", flip),
    ],
)
def test_a_damaged_file_is_named_with_its_cure(
    small_index: Path, pattern: str, damage: Callable[[Path], Path]
) -> None:
    path = damage(largest(small_index, pattern))
    line, last = run("verify", index=small_index, code=12).stdout.splitlines()
    assert line.startswith(f"{path}: ")
    assert last == "5 files checked, 1 damaged"
    assert '"annidx build"' in line
    (row,), _ = json_lines("verify", index=small_index, code=12)
    assert row["path"] == str(path)
    assert row["expected"] != row["found"]


def test_a_damaged_graph_is_never_searched_and_is_mended(small_index: Path) -> None:
    path = flip(largest(small_index, "graphs/*.hnsw"))
    words = ("--engine", "graph", COFFEE)  # of so few, a scan would be quicker
    line = complaint("query", *words, index=small_index, code=12)
    assert str(path) in line
    assert '"annidx build"' in line
    rows, summary = json_lines("verify", index=small_index, code=12)
    assert len(rows) == summary["damaged"] == 1
    assert str(path) in rows[0]["damaged"]
    run("query", "--exact", COFFEE, index=small_index)
    done = run("build", index=small_index)
    assert f"annidx: warning: {path}: damaged (expected " in done.stderr
    assert "the graph for fingerprint is made anew" in done.stderr
    run("query", *words, index=small_index)
    run("verify", index=small_index)


@pytest.mark.parametrize("damage", [cut, flip, drop])
def test_a_damaged_segment_is_noticed_and_mended(
    small_index: Path, damage: Callable[[Path], Path]
) -> None:
    before = run("pairs", "--json", index=small_index).stdout.splitlines()[:-1]
    path = damage(largest(small_index, "segments/*.parquet"))
    line = complaint("pairs", index=small_index, code=12)
    assert str(path) in line
    assert '"annidx build"' in line
    done = run("build", index=small_index)
    assert f"annidx: warning: {path}: damaged (expected " in done.stderr
    assert "what is in it is looked at anew: 2 pictures" in done.stderr
    run("verify", index=small_index)
    assert run("pairs", "--json", index=small_index).stdout.splitlines()[:-1] == before


def test_a_damaged_newest_manifest_leaves_the_one_before(small_index: Path, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    run("roots", "add", tmp_path / "more", index=small_index)
    newest = flip(small_index / "snapshots" / "00000002.json")
    done = run("status", "--json", index=small_index)
    assert json.loads(done.stdout)["snapshot"] == 1
    assert done.stderr.count("\n") == 1
    assert str(newest) in done.stderr
    done = run("verify", index=small_index, code=12)
    assert str(newest) in done.stdout


def test_the_only_manifest_is_damaged(small_index: Path) -> None:
    flip(small_index / "snapshots" / "00000001.json")
    for verb in ("pairs", "build"):
        done = run(verb, index=small_index, code=12)
        assert done.stdout == ""
        assert str(small_index) in done.stderr
        assert "the snapshot before it is used" not in done.stderr
    assert "annidx build --rebuild" in done.stderr, "it says how to go on"
    run("build", "--rebuild", PICTURES / "scans", index=small_index)
    run("query", COFFEE, index=small_index)


@pytest.mark.parametrize(
    ("name", "verbs"),
    [
        ("annidx.json", ["pairs", "build"]),
        ("snapshots/00000001.json", ["verify"]),
    ],
)
def test_a_newer_format_is_left_alone(small_index: Path, name: str, verbs: list[str]) -> None:
    path = small_index / name
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"format": 99}))
    before = {each: each.read_bytes() for each in small_index.rglob("*.*") if each.is_file()}
    for verb in verbs:
        line = complaint(verb, index=small_index, code=13)
        assert str(path) in line
        assert "index format 99" in line
        assert "Upgrade annidx" in line
    assert {each: each.read_bytes() for each in before} == before


@pytest.mark.parametrize("content", [None, "", "{", '{"format": 1, "index_id": "of another"}'])
def test_the_marker_is_damaged(small_index: Path, content: str | None) -> None:
    marker = small_index / "annidx.json"
    marker.unlink() if content is None else marker.write_text(content)
    assert str(marker) in complaint("status", index=small_index, code=12)
    assert str(marker) in run("verify", index=small_index, code=12).stdout
    done = run("build", index=small_index)
    assert str(marker) in done.stderr
    assert "it was written anew" in done.stderr
    run("verify", index=small_index)
    run("query", COFFEE, index=small_index)


# --- recall -------------------------------------------------------------------------------------


def test_recall_of_each_metric(thumb_index: Path) -> None:
    index = thumb_index
    rows, summary = json_lines("verify", "--recall", index=index)
    assert [row["metric"] for row in rows] == ["fingerprint", "gray64", "signature", "thumb"]
    assert [row["engines"] for row in rows] == [["graph"], ["exact"], ["exact"], ["graph"]]
    for row in rows:
        assert row["pictures"] == (58 if row["metric"] == "fingerprint" else 63)  # no copies
        assert row["recall"] == 1.0
        assert row["found"] == row["pairs"] > 50
        assert 0.9 < row["low"] < row["high"] <= 1.0
    assert summary["recall_missed"] == 0
    text = run("verify", "--recall", "--metric", "thumb", "--sample", "9", index=index).stdout
    assert text.startswith("thumb: recall 1.00000 (")
    assert "within 300, of 9 pictures (graph engine)" in text


def test_recall_without_pairs(small_index: Path) -> None:
    (row,), _ = json_lines("verify", "--recall", "--metric", "thumb", index=small_index)
    assert (row["pairs"], row["recall"], row["low"]) == (0, None, None)
    text = run("verify", "--recall", index=small_index).stdout
    assert "thumb: no pairs within 300 of 2 pictures" in text


def test_recall_of_what_is_damaged_is_not_measured(small_index: Path) -> None:
    flip(largest(small_index, "graphs/*.hnsw"))
    rows, summary = json_lines("verify", "--recall", index=small_index, code=12)
    assert len(rows) == summary["damaged"] == 1


def test_options_of_recall_alone(index: Path) -> None:
    for option, value in {"--sample": "9", "--metric": "thumb", "--min-recall": "0.9"}.items():
        assert "--sample, --metric and --min-recall go with --recall" in complaint(
            "verify", option, value, index=index, code=2
        )
    assert "unknown metric" in complaint("verify", "--recall", "--metric", "x", index=index, code=2)


@pytest.mark.parametrize("text", ["1.1", "-0.1", "nan", "x", ""])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected a share from 0 to 1"):
        share(text)
    assert (share("0"), share("0.5"), share("1")) == (0.0, 0.5, 1.0)
