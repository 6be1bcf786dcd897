"""annidx has: found or not, by exit code; the nearest one either way."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.commands.running import (
    ONE_MATCH,
    PICTURES,
    SEARCH_SUMMARY,
    complaint,
    json_lines,
    run,
)

PICOS = PICTURES / "2019-holiday" / "picos-trail.jpg"
ALONE = PICTURES / "scans" / "brick-wall.jpg"


def test_people_see_the_nearest_one_found_or_not(index: Path, tmp_path: Path) -> None:
    upload = Path(shutil.copy(PICOS, tmp_path / "upload.jpg"))
    lines = run("has", upload, ALONE, index=index, code=20).stdout.splitlines()
    assert lines[0] == f"found: {upload}"
    assert lines[1].split() == [
        *("0e+00", "identical", "2019-holiday/picos-trail.jpg", "(identical", "bytes)")
    ]
    assert lines[2] == f"not found: {ALONE}"
    assert float(lines[3].split()[0]) > 300  # of thumbs: beyond the limit there is no second look
    assert lines[4].startswith("1 of 2 pictures found within chance 1 (fingerprint, exact engine")
    assert "-k" not in lines[4], "has has no such option"
    assert len(lines) == 5


def test_people_see_the_nearest_thumb_found_or_not(thumb_index: Path, tmp_path: Path) -> None:
    upload = Path(shutil.copy(PICOS, tmp_path / "upload.jpg"))
    done = run("has", "--metric", "thumb", upload, ALONE, index=thumb_index, code=20)
    lines = done.stdout.splitlines()
    assert lines[0] == f"found: {upload}"
    assert lines[1].split() == ["0.000", "identical", "2019-holiday/picos-trail.jpg"]
    assert lines[2] == f"not found: {ALONE}"
    assert float(lines[3].split()[0]) > 300
    assert lines[4].startswith("1 of 2 pictures found within 300 (thumb, graph engine")
    assert len(lines) == 5


@pytest.mark.parametrize(
    ("metric", "engine"), [("fingerprint", ("exact", True)), ("thumb", ("graph", False))]
)
def test_json_has_every_key_of_the_contract_and_the_cutoff_decides(
    thumb_index: Path, metric: str, engine: tuple[str, bool]
) -> None:
    index, words = thumb_index, ("--metric", metric)
    rows, summary = json_lines("has", *words, PICOS, ALONE, index=index, code=20)
    assert {row["query"]: row["found"] for row in rows} == {str(PICOS): True, str(ALONE): False}
    for row in rows:
        assert row.keys() >= ONE_MATCH
    assert summary.keys() >= SEARCH_SUMMARY
    assert (summary["count"], summary["queries"], summary["failed"]) == (1, 2, 0)
    assert (summary["engine"], summary["exact"]) == engine
    assert [row["metric"] for row in rows] == [metric, "thumb"]
    run("has", "--cutoff", repr(rows[1]["distance"]), ALONE, index=index)


def test_exact_and_another_metric(index: Path) -> None:
    _, summary = json_lines("has", "--exact", "--metric", "signature", PICOS, index=index)
    assert (summary["engine"], summary["exact"], summary["metric"]) == ("exact", True, "signature")


def test_unreadable_files_count_more_than_missing_ones(index: Path) -> None:
    _, summary = json_lines("has", "missing.jpg", ALONE, index=index, code=3)
    assert (summary["count"], summary["queries"], summary["failed"]) == (0, 1, 1)
    run("has", "missing.jpg", index=index, code=1)


def test_a_list_on_stdin(index: Path) -> None:
    done = run("has", "-0", index=index, stdin=bytes(PICOS) + b"\0")
    assert done.stdout.startswith("found: ")


def test_no_file_is_a_usage_error_that_speaks_of_no_option_it_lacks(index: Path) -> None:
    assert "--all" not in complaint("has", index=index, code=2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([""], "the name of a FILE is empty"),
        (["--cutoff", "-1", ALONE], "cutoff is -1, expected a distance of 0 or more"),
    ],
)
def test_what_makes_no_sense_is_refused(index: Path, words: list[str], said: str) -> None:
    assert said in complaint("has", *words, index=index, code=2)
