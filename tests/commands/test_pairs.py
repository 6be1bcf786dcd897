"""annidx pairs: every pair within the cutoff, nearest first, for people and as JSON."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.commands.running import (
    PICTURES,
    SEARCH_SUMMARY,
    Row,
    closing,
    complaint,
    edits,
    ends,
    json_lines,
    run,
    without_seconds,
)

Answered = tuple[list[Row], Row]


def test_json_has_every_key_of_the_contract(all_pairs: Answered) -> None:
    rows, summary = all_pairs
    for row in rows:
        assert {"a", "b", "distance", "metric", "kind"} <= row.keys()
        assert os.path.isabs(row["a"])  # noqa: PTH117 - it is text from outside
        assert row["metric"] == "thumb"
        assert row["kind"] in {"identical", "same-pixels", "similar"}
    assert summary.keys() >= SEARCH_SUMMARY
    assert summary["count"] == len(rows)
    assert (summary["engine"], summary["exact"], summary["recall"]) == ("exact", True, None)
    assert summary["complete"] is True
    assert summary["snapshot"] == 1


def test_a_comes_before_b_and_each_pair_once_nearest_first(all_pairs: Answered) -> None:
    rows, _ = all_pairs
    order = [(row["distance"], row["a"].encode(), row["b"].encode()) for row in rows]
    assert order == sorted(order)
    assert all(row["a"].encode() < row["b"].encode() for row in rows)
    assert len({ends(row) for row in rows}) == len(rows)
    assert all(0 <= row["distance"] <= 300 for row in rows)


def test_kinds_and_distances_follow_the_ground_truth(all_pairs: Answered) -> None:
    by_ends = {ends(row): row for row in all_pairs[0]}
    assert {by_ends[each]["kind"] for each in edits("copy")} == {"identical"}
    assert {by_ends[each]["kind"] for each in edits("metadata")} == {"same-pixels"}
    assert {by_ends[each]["kind"] for each in edits("resized", "webp")} == {"similar"}
    assert {by_ends[each]["distance"] for each in edits("copy", "metadata", "png")} == {0.0}
    assert all(by_ends[each]["distance"] < 100 for each in edits("recompressed", "orientation"))
    assert not edits("flipped") & by_ends.keys()


def test_exact_says_the_same(index: Path, all_pairs: Answered) -> None:
    scanned, summary = json_lines("pairs", "--exact", index=index)
    assert scanned == all_pairs[0]
    assert without_seconds(summary) == without_seconds(all_pairs[1])


def test_signature_sees_through_brightness_and_colour(index: Path) -> None:
    rows, summary = json_lines("pairs", "--metric", "signature", index=index)
    assert {row["metric"] for row in rows} == {summary["metric"]} == {"signature"}
    assert edits("brightened", "grayscaled") <= {ends(row) for row in rows}
    assert rows == json_lines("pairs", "--metric", "signature", "--exact", index=index)[0]


def test_cutoff_is_inclusive(index: Path, all_pairs: Answered) -> None:
    distances = [row["distance"] for row in all_pairs[0]]
    limit = distances[len(distances) // 2]
    rows, summary = json_lines("pairs", "--cutoff", repr(limit), index=index)
    assert rows == [row for row in all_pairs[0] if row["distance"] <= limit]
    assert rows[-1]["distance"] == limit
    assert summary["cutoff"] == limit


def test_people_get_aligned_columns_below_the_root_and_the_counts(
    index: Path, all_pairs: Answered
) -> None:
    done = run("pairs", index=index)
    *lines, last = done.stdout.splitlines()
    assert done.stderr == ""
    assert len(lines) == len(all_pairs[0])
    columns = set()
    for line, row in zip(lines, all_pairs[0], strict=True):
        a, b = (str(Path(row[key]).relative_to(PICTURES)) for key in "ab")
        assert re.fullmatch(rf" *[\d.]+  {row['kind']} +{re.escape(a)}  +{re.escape(b)}", line)
        columns.add((line.index(row["kind"]), line.index(a), len(line) - len(b)))
    assert len(columns) == 1
    counts = f"{len(lines)} pairs of 63 pictures within 300"
    assert re.fullmatch(rf"{counts} \(thumb, exact engine, complete, [\d.]+ s\)", last)
    assert run("pairs", "--quiet", index=index).stdout.splitlines() == lines


@pytest.mark.parametrize("how", [[], ["--exact"]])
def test_no_pair_at_all(unlike: Path, how: list[str]) -> None:
    done = run("pairs", *how, index=unlike)
    assert done.stdout.startswith("0 pairs of 2 pictures within 300 (thumb, exact engine, complete")


def test_too_many_pairs_are_refused_with_both_numbers(index: Path) -> None:
    line = complaint("pairs", "--max-pairs", "3", index=index, code=2)
    assert re.search(r"about \d\d pairs", line)
    assert re.search(r"more than .*\b3\b.*--max-pairs", line)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--metric", "phash"], "unknown metric 'phash': expected one of thumb, signature"),
        (["--cutoff", "-1"], "cutoff is -1, expected a distance of 0 or more"),
        (["--max-pairs", "-1"], "max_pairs is -1, expected 0 or more"),
        (["--cutoff", "nan"], "cutoff is nan, expected a distance of 0 or more"),
    ],
)
def test_options_without_a_meaning(index: Path, words: list[str], said: str) -> None:
    assert said in complaint("pairs", *words, index=index, code=2)


def test_a_cutoff_beyond_everything_gives_all_pairs(unlike: Path) -> None:
    done = run("pairs", "--cutoff", "inf", index=unlike)
    assert closing(done).startswith("1 pair of 2 pictures")
