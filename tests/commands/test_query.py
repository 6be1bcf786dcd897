"""annidx query: the neighbours of one file, of many, of a list, of the whole archive."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import socket
from pathlib import Path

import pytest

from tests.commands.running import (
    OF_FINGERPRINTS,
    ONE_MATCH,
    PICTURES,
    SEARCH_SUMMARY,
    Row,
    Word,
    closing,
    complaint,
    json_lines,
    run,
)

PICOS = PICTURES / "2019-holiday" / "picos-trail.jpg"
COPY_OF_PICOS = PICTURES / "backup" / "2019" / "picos-trail.jpg"
ALONE = PICTURES / "scans" / "brick-wall.jpg"


Answered = tuple[list[Row], Row]


@pytest.fixture(scope="module")
def found(index: Path) -> Answered:
    return json_lines("query", PICOS, index=index)


THUMB = ("--metric", "thumb")


@pytest.fixture(scope="module")
def by_thumb(thumb_index: Path) -> Answered:
    return json_lines("query", *THUMB, PICOS, index=thumb_index)


def test_people_see_the_nearest_first(index: Path) -> None:
    done = run("query", PICOS, index=index)
    first, *lines, last = done.stdout.splitlines()
    assert first == str(PICOS)
    shape = re.compile(
        r" *(\de[+-]\d\d)  (identical|same-pixels|edited) +(\d+x\d+)  (\S.*)  \((.*)\)"
    )
    matches = [shape.fullmatch(line) for line in lines]
    chances = [float(match[1]) for match in matches if match]
    assert len(chances) == len(lines) >= 5
    assert chances == sorted(chances)
    assert lines[0].split(maxsplit=4) == [
        *("0e+00", "identical", "480x360", "backup/2019/picos-trail.jpg", "(identical bytes)")
    ]
    assert len({match.start(4) for match in matches if match}) == 1
    counts = f"{len(lines)} neighbours of 1 picture within chance 1"
    assert last.startswith(f"{counts} (fingerprint, exact engine, complete, ")


def test_people_see_the_nearest_thumb_first(thumb_index: Path) -> None:
    done = run("query", *THUMB, PICOS, index=thumb_index)
    first, *lines, last = done.stdout.splitlines()
    assert first == str(PICOS)
    shape = re.compile(r" *([\d.]+)  (identical|same-pixels|similar) +(\d+x\d+)  (\S.*)")
    matches = [shape.fullmatch(line) for line in lines]
    distances = [float(match[1]) for match in matches if match]
    assert len(distances) == len(lines) >= 4
    assert distances == sorted(distances)
    assert lines[0].split() == ["0.000", "identical", "480x360", "backup/2019/picos-trail.jpg"]
    assert len({match.start(4) for match in matches if match}) == 1
    counts = f"{len(lines)} neighbours of 1 picture within 300"
    assert last.startswith(f"{counts} (thumb, graph engine, recall 1.0000, complete, ")


def test_json_has_every_key_of_the_contract(found: Answered) -> None:
    rows, summary = found
    for row in rows:
        assert row.keys() >= ONE_MATCH | OF_FINGERPRINTS
        assert (row["query"], row["metric"]) == (str(PICOS), "fingerprint")
        assert row["path"] != str(PICOS)
    assert (rows[0]["path"], rows[0]["kind"]) == (str(COPY_OF_PICOS), "identical")
    assert rows[0]["transform"] == "none"
    order = [(row["chance"], row["path"].encode()) for row in rows]
    assert order == sorted(order)
    assert summary.keys() >= SEARCH_SUMMARY | {"queries", "failed", "chance"}
    assert (summary["metric"], summary["chance"]) == ("fingerprint", 1.0)
    assert (summary["engine"], summary["exact"], summary["recall"]) == ("exact", True, None)
    assert (summary["complete"], summary["count"]) == (True, len(rows))
    assert (summary["queries"], summary["failed"]) == (1, 0)


def test_rows_of_thumbs_have_the_keys_of_the_contract(by_thumb: Answered) -> None:
    rows, summary = by_thumb
    for row in rows:
        assert row.keys() >= ONE_MATCH
        assert not row.keys() & OF_FINGERPRINTS
        assert (row["query"], row["metric"], row["transform"]) == (str(PICOS), "thumb", "none")
        assert row["path"] != str(PICOS)
    assert (rows[0]["path"], rows[0]["kind"]) == (str(COPY_OF_PICOS), "identical")
    assert [row["distance"] for row in rows] == sorted(row["distance"] for row in rows)
    assert summary.keys() >= SEARCH_SUMMARY | {"queries", "failed"}
    assert "chance" not in summary
    assert (summary["engine"], summary["exact"], summary["recall"]) == ("graph", False, 1.0)
    assert (summary["complete"], summary["count"]) == (True, len(rows))


def test_exact_gives_the_same_rows_by_another_engine(
    thumb_index: Path, found: Answered, by_thumb: Answered
) -> None:
    for words, rows in (((), found[0]), (THUMB, by_thumb[0])):
        scanned, summary = json_lines("query", "--exact", *words, PICOS, index=thumb_index)
        assert scanned == rows
        assert (summary["engine"], summary["exact"], summary["recall"]) == ("exact", True, None)
        graphed, summary = json_lines(
            "query", "--engine", "graph", *words, PICOS, index=thumb_index
        )
        assert graphed == rows
        assert (summary["engine"], summary["exact"], summary["recall"]) == ("graph", False, 1.0)


def test_a_metric_without_a_graph_is_answered_exactly(index: Path) -> None:
    rows, summary = json_lines("query", "--metric", "signature", PICOS, index=index)
    assert summary["engine"] == "exact"
    assert {row["metric"] for row in rows} == {"signature"}
    assert all(row["distance"] <= 0.3 for row in rows)


def test_k_cuts_short_and_says_so(index: Path) -> None:
    rows, summary = json_lines("query", "-k", "1", PICOS, index=index)
    assert [row["path"] for row in rows] == [str(COPY_OF_PICOS)]
    assert summary["complete"] is False


def test_k_that_is_just_enough_leaves_the_answer_complete(index: Path, found: Answered) -> None:
    rows, summary = json_lines("query", "-k", str(len(found[0])), PICOS, index=index)
    assert (rows, summary["complete"]) == (found[0], True)


def test_a_file_is_not_its_own_neighbour_but_its_copy_is(index: Path, tmp_path: Path) -> None:
    """However it is called; the names come as a list on stdin."""
    link = tmp_path / "link.jpg"
    link.symlink_to(PICOS)
    roundabout = os.path.relpath(PICOS, tmp_path)
    copy = Path(shutil.copy(PICOS, tmp_path / "copy.jpg"))
    listed = f"{link}\n{roundabout}\n".encode()
    rows, summary = json_lines("query", copy, "-", index=index, cwd=tmp_path, stdin=listed)
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(row["query"], set()).add(row["path"])
    assert found.keys() == {str(PICOS), str(copy)}
    assert str(PICOS) not in found[str(PICOS)]
    assert {str(PICOS), str(COPY_OF_PICOS)} <= found[str(copy)]
    assert summary["queries"] == 3


def test_nothing_near_is_no_failure(unlike: Path) -> None:
    done = run("query", ALONE, index=unlike)
    assert done.stdout.splitlines()[1] == "  no neighbour within the cutoff"
    said = "0 neighbours of 1 picture within chance 1 (fingerprint, exact engine, complete, "
    assert closing(done).startswith(said)
    done = run("query", *THUMB, ALONE, index=unlike)
    assert done.stdout.splitlines()[1] == "  no neighbour within the cutoff"
    assert closing(done).startswith("0 neighbours of 1 picture within 300 (thumb, exact engine")


def test_files_that_cannot_be_read_are_named_one_line_each(index: Path, tmp_path: Path) -> None:
    (tmp_path / "zero.jpg").touch()
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling.jpg").symlink_to("nowhere")
    os.mkfifo(tmp_path / "fifo.jpg")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(tmp_path / "socket.jpg"))  # the whole path may be too long
    names = [*sorted(path.name for path in tmp_path.iterdir()), "missing.jpg", "été.jpg"]
    done = run("query", "--json", *names, index=index, cwd=tmp_path, code=1)
    said = [line.removeprefix("annidx: warning: ") for line in done.stderr.splitlines()]
    assert [line.split(": ")[0] for line in said] == names
    for line in ("missing.jpg: no such file", "zero.jpg: the file is empty (0 bytes)"):
        assert line in said
    for name in ("socket.jpg", "fifo.jpg"):
        assert f"{name}: not a regular file" in said
    summary = json.loads(done.stdout)
    assert summary.keys() >= SEARCH_SUMMARY | {"message_type"}
    assert (summary["count"], summary["queries"], summary["failed"]) == (0, 0, 8)


def test_one_unreadable_file_of_two_costs_itself(index: Path) -> None:
    rows, summary = json_lines("query", "missing.jpg", PICOS, index=index, code=3)
    assert {row["query"] for row in rows} == {str(PICOS)}
    assert (summary["queries"], summary["failed"]) == (1, 1)


def test_names_that_are_odd(index: Path, tmp_path: Path) -> None:
    """One begins like an option; those on stdin end with NUL and hold what a line cannot."""
    shutil.copy(PICOS, tmp_path / "-k.jpg")
    name = os.fsencode(tmp_path) + b"/red\x1b[31m\nline\xff.jpg"
    Path(os.fsdecode(name)).write_bytes(PICOS.read_bytes())
    words: list[Word] = ["-0", "--", "-k.jpg"]
    rows, summary = json_lines("query", *words, index=index, cwd=tmp_path, stdin=name + b"\0")
    assert summary["queries"] == 2
    assert rows[0]["query"] == str(tmp_path / "-k.jpg")
    assert rows[-1]["query"] == name.decode(errors="replace")
    assert base64.b64decode(rows[-1]["query_base64"]) == name
    first = run("query", name, index=index).stdout.splitlines()[0]
    assert first.endswith(r"/red\x1b[31m\nline\xff.jpg")


def test_an_empty_list_is_no_failure(index: Path) -> None:
    rows, summary = json_lines("query", "-", index=index)
    assert (rows, summary["queries"], summary["failed"]) == ([], 0, 0)
    assert summary.keys() >= SEARCH_SUMMARY


@pytest.mark.parametrize(("metric", "first"), [("fingerprint", "chance"), ("thumb", "distance")])
def test_all_pictures_agree_with_pairs(index: Path, metric: str, first: str) -> None:
    rows, summary = json_lines("query", "--all", "-k", "63", "--metric", metric, index=index)
    pairs, _ = json_lines("pairs", "--metric", metric, index=index)
    both_ways = {(row["a"], row["b"], row["distance"]) for row in pairs}
    both_ways |= {(row["b"], row["a"], row["distance"]) for row in pairs}
    assert {(row["query"], row["path"], row["distance"]) for row in rows} == both_ways
    assert all(row.keys() >= ONE_MATCH for row in rows)
    order = [(row["query"].encode(), row[first], row["path"].encode()) for row in rows]
    assert order == sorted(order)
    assert (summary["engine"], summary["exact"], summary["complete"]) == ("exact", True, True)
    assert summary["queries"] == 63


def test_all_with_a_small_k_is_cut_short(index: Path) -> None:
    done = run("query", "--all", "-k", "1", index=index)
    *lines, last = done.stdout.splitlines()
    asked = [line for line in lines if not line.startswith("  ")]
    assert len(lines) == 2 * len(asked)
    said = f"{len(asked)} neighbours of 63 pictures within chance 1 (fingerprint, exact engine"
    assert last.startswith(said)
    assert "cut short by -k 1" in last


def test_all_where_nothing_is_near(unlike: Path) -> None:
    rows, summary = json_lines("query", "--all", index=unlike)
    assert rows == []
    assert summary.keys() >= SEARCH_SUMMARY
    assert (summary["queries"], summary["count"]) == (2, 0)
    assert (summary["metric"], summary["cutoff"], summary["chance"]) == ("fingerprint", 1, 1)
    _, summary = json_lines("query", "--all", *THUMB, index=unlike)
    assert (summary["queries"], summary["count"], summary["cutoff"]) == (2, 0, 300)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "name at least one FILE"),
        (["--all", "a.jpg"], "either --all or FILE"),
        ([""], "the name of a FILE is empty"),
        ([ALONE, ""], "the name of a FILE is empty"),
        (["-k", "0", ALONE], "k is 0, expected 1 or more"),
        (["-k", "-3", ALONE], "k is -3, expected 1 or more"),
        (["-0", "-k", "-3", ALONE], "k is -3, expected 1 or more"),
        (["--cutoff=-0.5", ALONE], "cutoff is -0.5, expected a distance of 0 or more"),
        (["--cutoff", "-1", ALONE], "cutoff is -1, expected a distance of 0 or more"),
        (["--metric", "PDQ", ALONE], "unknown metric 'PDQ': expected one of thumb, signature"),
    ],
)
def test_what_makes_no_sense_is_refused(index: Path, words: list[str], said: str) -> None:
    assert said in complaint("query", *words, index=index, code=2)
