"""annidx pairs: every pair within the cutoff, nearest first, for people and as JSON."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.commands.running import (
    OF_FINGERPRINTS,
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
THUMB = ("--metric", "thumb")


@pytest.fixture(scope="module")
def by_thumb(index: Path) -> Answered:
    return json_lines("pairs", *THUMB, index=index)


@pytest.mark.parametrize(
    ("answered", "metric", "kinds"),
    [
        ("all_pairs", "fingerprint", {"identical", "same-pixels", "edited"}),
        ("by_thumb", "thumb", {"identical", "same-pixels", "similar"}),
    ],
)
def test_json_has_every_key_of_the_contract(
    request: pytest.FixtureRequest, answered: str, metric: str, kinds: set[str]
) -> None:
    rows, summary = request.getfixturevalue(answered)
    told = OF_FINGERPRINTS if metric == "fingerprint" else set()
    for row in rows:
        assert {"a", "b", "distance", "metric", "kind"} <= row.keys()
        assert row.keys() & OF_FINGERPRINTS == told
        assert os.path.isabs(row["a"])  # noqa: PTH117 - it is text from outside
        assert row["metric"] == metric
    assert {row["kind"] for row in rows} == kinds
    assert summary.keys() >= SEARCH_SUMMARY
    assert ("chance" in summary) == (metric == "fingerprint")
    assert summary["count"] == len(rows)
    assert (summary["engine"], summary["exact"], summary["recall"]) == ("exact", True, None)
    assert summary["complete"] is True
    assert summary["snapshot"] == 1


@pytest.mark.parametrize(
    ("answered", "first", "most"), [("all_pairs", "chance", 1), ("by_thumb", "distance", 300)]
)
def test_a_comes_before_b_and_each_pair_once_nearest_first(
    request: pytest.FixtureRequest, answered: str, first: str, most: float
) -> None:
    rows, _ = request.getfixturevalue(answered)
    order = [(row[first], row["a"].encode(), row["b"].encode()) for row in rows]
    assert order == sorted(order)
    assert all(row["a"].encode() < row["b"].encode() for row in rows)
    assert len({ends(row) for row in rows}) == len(rows)
    assert all(0 <= row[first] <= most for row in rows)


def test_kinds_follow_the_ground_truth(all_pairs: Answered) -> None:
    by_ends = {ends(row): row for row in all_pairs[0]}
    assert {by_ends[each]["kind"] for each in edits("copy")} == {"identical"}
    assert {by_ends[each]["kind"] for each in edits("metadata")} == {"same-pixels"}
    edited = edits("resized", "webp", "png", "recompressed", "orientation")
    edited |= edits("flipped", "brightened", "grayscaled")
    assert {by_ends[each]["kind"] for each in edited} == {"edited"}
    assert {by_ends[each]["chance"] for each in edits("copy", "metadata")} == {0.0}


def test_kinds_and_distances_of_thumbs_follow_the_ground_truth(by_thumb: Answered) -> None:
    by_ends = {ends(row): row for row in by_thumb[0]}
    assert {by_ends[each]["kind"] for each in edits("copy")} == {"identical"}
    assert {by_ends[each]["kind"] for each in edits("metadata")} == {"same-pixels"}
    assert {by_ends[each]["kind"] for each in edits("resized", "webp")} == {"similar"}
    assert {by_ends[each]["distance"] for each in edits("copy", "metadata", "png")} == {0.0}
    assert all(by_ends[each]["distance"] < 100 for each in edits("recompressed", "orientation"))
    assert not edits("flipped") & by_ends.keys()


def test_exact_says_the_same(index: Path, all_pairs: Answered, by_thumb: Answered) -> None:
    for words, (rows, summed) in (((), all_pairs), (THUMB, by_thumb)):
        scanned, summary = json_lines("pairs", "--exact", *words, index=index)
        assert scanned == rows
        assert without_seconds(summary) == without_seconds(summed)


def test_signature_sees_through_brightness_and_colour(index: Path) -> None:
    rows, summary = json_lines("pairs", "--metric", "signature", index=index)
    assert {row["metric"] for row in rows} == {summary["metric"]} == {"signature"}
    assert edits("brightened", "grayscaled") <= {ends(row) for row in rows}
    assert rows == json_lines("pairs", "--metric", "signature", "--exact", index=index)[0]


def test_cutoff_is_inclusive(index: Path, by_thumb: Answered) -> None:
    """Without a metric it is that of thumbs, as it always was."""
    distances = [row["distance"] for row in by_thumb[0]]
    limit = distances[len(distances) // 2]
    rows, summary = json_lines("pairs", "--cutoff", repr(limit), index=index)
    assert rows == [row for row in by_thumb[0] if row["distance"] <= limit]
    assert rows[-1]["distance"] == limit
    assert (summary["metric"], summary["cutoff"]) == ("thumb", limit)


def test_a_cutoff_of_fingerprints_is_inclusive(index: Path, all_pairs: Answered) -> None:
    distances = sorted(row["distance"] for row in all_pairs[0])
    limit = distances[len(distances) // 2]
    words = ("--metric", "fingerprint", "--cutoff", repr(limit))
    rows, summary = json_lines("pairs", *words, index=index)
    assert rows == [row for row in all_pairs[0] if row["distance"] <= limit]
    assert max(row["distance"] for row in rows) == limit
    assert (summary["metric"], summary["cutoff"]) == ("fingerprint", limit)


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
        said = rf"{re.escape(a)}  +{re.escape(b)}  \({re.escape(row['explanation'])}\)"
        assert re.fullmatch(rf" *\de[+-]\d\d  {row['kind']} +{said}", line)
        columns.add((line.index(row["kind"]), line.index(a), line.index(f"  {b}  (")))
    assert len(columns) == 1
    counts = f"{len(lines)} pairs of 63 pictures within chance 1"
    assert re.fullmatch(rf"{counts} \(fingerprint, exact engine, complete, [\d.]+ s\)", last)
    assert run("pairs", "--quiet", index=index).stdout.splitlines() == lines


def test_people_get_distances_of_thumbs(index: Path, by_thumb: Answered) -> None:
    *lines, last = run("pairs", *THUMB, index=index).stdout.splitlines()
    columns = set()
    for line, row in zip(lines, by_thumb[0], strict=True):
        a, b = (str(Path(row[key]).relative_to(PICTURES)) for key in "ab")
        assert re.fullmatch(rf" *[\d.]+  {row['kind']} +{re.escape(a)}  +{re.escape(b)}", line)
        columns.add((line.index(row["kind"]), line.index(a), len(line) - len(b)))
    assert len(columns) == 1
    counts = f"{len(lines)} pairs of 63 pictures within 300"
    assert re.fullmatch(rf"{counts} \(thumb, exact engine, complete, [\d.]+ s\)", last)


@pytest.mark.parametrize("how", [[], ["--exact"]])
@pytest.mark.parametrize(
    ("metric", "within"), [([], "chance 1 (fingerprint"), (THUMB, "300 (thumb")]
)
def test_no_pair_at_all(unlike: Path, how: list[str], metric: list[str], within: str) -> None:
    done = run("pairs", *how, *metric, index=unlike)
    said = f"0 pairs of 2 pictures within {within}, exact engine, complete"
    assert done.stdout.startswith(said)


@pytest.mark.parametrize(
    ("metric", "counted"), [([], r"\d+ pairs were found, "), (THUMB, r"about \d\d pairs")]
)
def test_too_many_pairs_are_refused_with_both_numbers(
    index: Path, metric: list[str], counted: str
) -> None:
    line = complaint("pairs", "--max-pairs", "3", *metric, index=index, code=2)
    assert re.search(counted, line)
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
