"""annidx.building: real little pictures, built once and again after whatever may happen to them.

Most builds here run in this process, which is quicker; some start real workers.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import annidx
from annidx import building, graphs, layout, roots
from annidx.errors import (
    FolderNotFound,
    IndexDamaged,
    IndexLocked,
    IndexNotFound,
    PublishRefused,
    UsageError,
)
from annidx.model import BuildReport, Progress, Record
from annidx.options import Options
from annidx.search.recall import Certificate
from annidx.store import files, history, snapshot
from annidx.store import writer as store_writer
from annidx.store.manifest import Manifest
from annidx.store.snapshot import Snapshot
from tests.making import LONG_AGO_NS, aged, grainy, photo, save

Build = Callable[..., BuildReport]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Six pictures: 0.png ... 3.png, and two in sub/ of which one is a near-copy of 0.png."""
    folder = tmp_path / "photos"
    for number in range(4):
        save(folder / f"{number}.png", photo(number))
    save(folder / "sub" / "4.png", photo(4))
    save(folder / "sub" / "near.png", grainy(photo(0), 1))
    return folder


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return tmp_path / "index"


def here(
    function: Callable[[Any], Any], batches: Iterable[Sequence[Any]], **_: object
) -> Iterator[Any]:
    """Do the work of map_items in this process."""
    for batch in batches:
        yield from map(function, batch)


@pytest.fixture
def build(archive: Path, index: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Build the archive, or other roots, without worker processes."""
    monkeypatch.setattr(building, "map_items", here)

    def run(*folders: Path, known: bool = False, **options: Any) -> BuildReport:
        named = [] if known else list(folders) or [archive]
        return building.build(named, index, Options(workers=1, **options))

    return run


def table(index: Path) -> dict[str, Record]:
    """Return the live pictures by their names below the archive."""
    opened = snapshot.current(index)
    rows = np.flatnonzero(opened.pictures.live)
    names = [os.fsdecode(path).partition("photos/")[2] for path in opened.paths(rows)]
    assert len(set(names)) == len(names)
    records = dict(zip(names, opened.pictures.records(rows), strict=True))
    ids = [each.image_id for each in records.values()]
    assert len(set(ids)) == len(ids)  # one number for one picture
    return records


def pairs(index: Path) -> set[tuple[str, str]]:
    found = annidx.open(index).find_pairs(cutoff=300)
    return {(Path(pair.a).name, Path(pair.b).name) for pair in found}


ALL = {"0.png", "1.png", "2.png", "3.png", "sub/4.png", "sub/near.png"}


def counted(report: BuildReport) -> dict[str, int]:
    """Return what a build did, as far as it did anything."""
    names = ("added", "adopted", "removed", "decoded", "hashed", "failed")
    return {name: getattr(report, name) for name in names if getattr(report, name)}


# --- the first build, and one where nothing has changed -------------------------------------------


def test_first_and_second_build(archive: Path, index: Path) -> None:
    first = annidx.build(archive, index=index, options=Options(workers=2))
    assert counted(first) == {"added": 6, "decoded": 6}
    assert (first.images, first.segments, first.snapshot, first.published) == (6, 1, 1, True)
    assert first.warnings == []
    assert set(table(index)) == ALL
    assert pairs(index) == {("0.png", "near.png")}
    before = sorted(path.name for path in index.rglob("*"))
    second = annidx.build(archive, index=index, options=Options(workers=2))
    assert counted(second) == {}
    assert (second.images, second.snapshot, second.published) == (6, 1, False)
    assert sorted(path.name for path in index.rglob("*")) == before


def test_the_record_of_a_picture(build: Build, archive: Path, index: Path) -> None:
    before = (archive / "sub" / "4.png").stat()
    build()
    found = table(index)["sub/4.png"]
    assert (found.status, found.format, found.width, found.height) == ("ok", "PNG", 64, 48)
    assert (found.file.size, found.file.mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert (found.file.device, found.file.inode) == (before.st_dev, before.st_ino)
    assert found.file.path == b"sub/4.png"
    assert found.read_ns > LONG_AGO_NS


def test_the_clock_is_passed_in(archive: Path, index: Path, build: Build) -> None:
    building.build([archive], index, Options(workers=1), clock=lambda: 1_700_000_000 * 10**9)
    assert snapshot.current(index).manifest.created == "2023-11-14T22:13:20+00:00"
    assert table(index)["0.png"].first_seen_ns == 1_700_000_000 * 10**9


def test_young_files_are_hashed_again_but_not_decoded(
    build: Build, archive: Path, index: Path
) -> None:
    """They may have been changed since without a newer time."""
    for path in archive.rglob("*.png"):
        os.utime(path)
    build()
    again = build()
    assert counted(again) == {"hashed": 6}
    assert not again.published


def test_a_young_file_that_changed_within_its_second(
    build: Build, archive: Path, index: Path
) -> None:
    """The same size and the same time, other pixels."""
    now = save(archive / "5.bmp", photo(5)).stat()
    os.utime(archive / "5.bmp")
    time_ns = (archive / "5.bmp").stat().st_mtime_ns
    build()
    before = table(index)["5.bmp"]
    save(archive / "5.bmp", photo(6), mtime_ns=time_ns)
    assert (archive / "5.bmp").stat().st_size == now.st_size
    assert counted(build()) == {"added": 1, "decoded": 1}
    after = table(index)["5.bmp"]
    assert after.content_hash != before.content_hash
    assert after.image_id != before.image_id


def test_progress(archive: Path, index: Path, build: Build) -> None:
    told: list[Progress] = []
    building.build([archive], index, Options(workers=1), progress=told.append)
    assert [stage for stage, _ in groupby(each.stage for each in told)] == [
        *("extract", "graph", "chance", "publish"),
    ]
    assert [done for done, _ in groupby(each.done for each in told)] == [0, 1, 2, 3, 4, 5, 6]
    assert (told[-1].found, told[-1].walking) == (6, False)
    assert told[-1].bytes_done == told[-1].bytes_found
    assert told[-1].bytes_found == sum(path.stat().st_size for path in archive.rglob("*.png"))


def test_the_result_does_not_depend_on_the_number_of_workers(archive: Path, tmp_path: Path) -> None:
    (archive / "broken.jpg").write_bytes(b"\xff\xd8\xff garbage")
    results = []
    for workers in (1, 3):
        index = tmp_path / f"index {workers}"
        annidx.build(archive, index=index, options=Options(workers=workers))
        facts = {
            name: replace(each, read_ns=0, first_seen_ns=0) for name, each in table(index).items()
        }
        found = annidx.open(index).pairs(cutoff=3000)
        results.append((snapshot.current(index).manifest.counts, facts, found.to_pylist()))
    assert results[0] == results[1]
    assert list(results[0][1]) == list(results[1][1])  # the order of the rows as well


# --- what may happen to files -------------------------------------------------------------------


def test_a_changed_picture_is_a_new_one(build: Build, archive: Path, index: Path) -> None:
    build()
    before = table(index)
    save(archive / "0.png", photo(50), mtime_ns=LONG_AGO_NS + 1)
    report = build(known=True)
    assert counted(report) == {"added": 1, "decoded": 1}
    assert report.published
    after = table(index)
    assert after["0.png"].image_id > max(each.image_id for each in before.values())
    assert {name: each for name, each in after.items() if name != "0.png"} == {
        name: each for name, each in before.items() if name != "0.png"
    }
    assert pairs(index) == set()


def test_a_touched_picture_is_not_decoded(build: Build, archive: Path, index: Path) -> None:
    build()
    before = table(index)["0.png"]
    aged(archive / "0.png", LONG_AGO_NS + 5)
    report = build()
    assert counted(report) == {"hashed": 1}
    after = table(index)["0.png"]
    assert after.file.mtime_ns == LONG_AGO_NS + 5
    assert replace(after, file=before.file, read_ns=before.read_ns) == before
    assert counted(build()) == {}


def test_a_renamed_picture_keeps_its_number(build: Build, archive: Path, index: Path) -> None:
    build()
    before = table(index)["0.png"]
    (archive / "0.png").rename(archive / "sub" / "renamed.png")
    assert counted(build()) == {"hashed": 1}
    after = table(index)
    assert set(after) == ALL - {"0.png"} | {"sub/renamed.png"}
    again = after["sub/renamed.png"]
    assert (again.image_id, again.first_seen_ns) == (before.image_id, before.first_seen_ns)
    assert again.descriptors == before.descriptors
    assert pairs(index) == {("near.png", "renamed.png")}


def test_a_renamed_folder_keeps_its_numbers(build: Build, archive: Path, index: Path) -> None:
    build()
    before = table(index)
    (archive / "sub").rename(archive / "other")
    assert counted(build()) == {"hashed": 2}
    assert table(index)["other/4.png"].image_id == before["sub/4.png"].image_id


def test_two_pictures_that_change_places(build: Build, archive: Path, index: Path) -> None:
    build()
    before = table(index)
    (archive / "0.png").rename(archive / "x")
    (archive / "1.png").rename(archive / "0.png")
    (archive / "x").rename(archive / "1.png")
    build()
    after = table(index)
    assert set(after) == ALL
    assert after["0.png"].content_hash == before["1.png"].content_hash
    assert after["1.png"].content_hash == before["0.png"].content_hash


def test_a_copy_is_a_picture_of_its_own(build: Build, archive: Path, index: Path) -> None:
    build()
    shutil.copy2(archive / "0.png", archive / "copy.png")
    assert counted(build()) == {"added": 1, "hashed": 1}  # its content is known
    copy, original = table(index)["copy.png"], table(index)["0.png"]
    assert copy.content_hash == original.content_hash
    assert copy.descriptors == original.descriptors
    assert copy.image_id != original.image_id
    assert copy.first_seen_ns > original.first_seen_ns


def test_a_removed_picture_and_numbers_that_are_not_used_again(
    build: Build, archive: Path, index: Path
) -> None:
    build()
    ids = {each.image_id for each in table(index).values()}
    for name in ("0.png", "sub/4.png"):
        (archive / name).unlink()
    report = build()
    assert counted(report) == {"removed": 2}
    assert report.images == 4
    assert pairs(index) == set()
    for number in range(3):
        save(archive / "0.png", photo(60 + number), mtime_ns=LONG_AGO_NS + number)
        build()
        new = table(index)["0.png"].image_id
        assert new not in ids
        ids.add(new)


def test_new_pictures_are_searched_at_once(build: Build, archive: Path, index: Path) -> None:
    """The graph is not made anew for them: their segment is scanned."""
    build(graph_metrics=["thumb"])
    made = snapshot.current(index).manifest.graphs
    save(archive / "1 new.png", grainy(photo(2), 5))
    report = build()
    assert counted(report) == {"added": 1, "decoded": 1}
    assert report.segments == 2
    opened = annidx.open(index)
    assert opened.manifest.graphs == made
    for metric in ("thumb", "fingerprint"):
        by_graph = partial(opened.query, metric=metric, engine="graph")
        found = by_graph(archive / "2.png")
        assert [Path(match.path).name for match in found] == ["1 new.png"]
        assert found.answer.engine == "graph"
        assert [Path(match.path).name for match in by_graph(archive / "1 new.png")] == ["2.png"]
    assert ("1 new.png", "2.png") in pairs(index)  # by path, though its row is later
    shutil.copy2(archive / "2.png", archive / "1 copy.png")
    build()
    found = annidx.open(index).query((archive / "2.png").read_bytes())
    assert [Path(match.path).name for match in found] == ["1 copy.png", "2.png", "1 new.png"]


def test_segments_merge_and_graphs_follow(
    build: Build, archive: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tail of more than three rows gets a graph, with the older ones that are no larger."""
    monkeypatch.setattr(layout, "TAIL_ROWS", 3)

    def after(*numbers: int) -> tuple[list[int], list[list[int]]]:
        """Return rows of segments and, of each graph, of its segments."""
        for number in numbers:
            save(archive / f"new {number}.png", photo(20 + number))
        build()
        opened = annidx.open(index)
        rows = {entry.sha256: entry.rows for entry in opened.manifest.segments}
        for number in numbers:
            found = opened.query(photo(20 + number), cutoff=0)
            assert [Path(match.path).name for match in found] == [f"new {number}.png"]
        assert pairs(index) == {("0.png", "near.png")}
        made = [[rows[name] for name in graph.segments] for graph in opened.manifest.graphs]
        return list(rows.values()), made

    assert after() == ([6], [[6]])
    assert after(0) == ([6, 1], [[6]])
    assert after(1) == ([6, 2], [[6]])  # one row is fewer than twice one
    assert after(2) == ([6, 2, 1], [[6]])
    assert after(3) == ([10], [[10]])  # 6 rows are fewer than twice 4
    assert after(*range(4, 8)) == ([10, 4], [[10], [4]])
    (archive / "new 0.png").unlink()
    (archive / "new 1.png").unlink()
    assert after() == ([10, 4], [[10], [4]])  # a fifth of the first graph is filtered out
    (archive / "new 2.png").unlink()
    assert after() == ([11], [[11]])  # more than a quarter: written anew, together with the other


def test_a_segment_without_live_rows_stays_while_its_graph_counts_them(
    build: Build, archive: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_writer, "ROWS", 2)
    monkeypatch.setattr(layout, "ROWS", 2)
    for number in range(6, 20):
        save(archive / f"z{number}.png", photo(20 + number))
    build(graph_metrics=["thumb"])
    for name in ("z18.png", "z19.png"):
        (archive / name).unlink()
    report = build()
    opened = annidx.open(index)
    assert sorted(each.live for each in opened.manifest.segments) == [0] + [2] * 9
    assert len(opened.engines.usable_graphs("thumb")) == 1
    assert len(opened.engines.usable_graphs("fingerprint")) == 1
    assert report.images == 18
    for options in ({"cutoff": 0}, {"engine": "graph"}):
        assert len(opened.query(photo(39), **options)) == 0
        assert len(opened.query(photo(37), **options)) == 1


# --- files that are no pictures, or broken ones ---------------------------------------------------


def test_a_broken_picture_costs_only_itself(archive: Path, index: Path) -> None:
    (archive / "broken.jpg").write_bytes(b"\xff\xd8\xff garbage")
    (archive / "empty.png").write_bytes(b"")
    (archive / "notes.txt").write_bytes(b"just text")
    for name in ("broken.jpg", "empty.png", "notes.txt"):
        aged(archive / name)
    report = annidx.build(archive, index=index, options=Options(workers=2))
    assert counted(report) == {"added": 6, "decoded": 6, "failed": 2}
    assert report.left_out == {"not-a-picture": 1}
    assert set(table(index)) == ALL
    failures = annidx.open(index).failures()
    assert [(Path(os.fsdecode(path)).name, status) for path, status, _ in failures] == [
        ("broken.jpg", "unreadable"),
        ("empty.png", "empty"),
    ]
    assert all(reason for _, status, reason in failures if status == "unreadable")
    again = annidx.build(archive, index=index, options=Options(workers=2))
    assert counted(again) == {"failed": 2}  # still told, not tried again
    assert not again.published
    assert again.left_out == {"not-a-picture": 1}


def test_a_young_broken_picture_publishes_nothing(build: Build, archive: Path, index: Path) -> None:
    (archive / "broken.jpg").write_bytes(b"\xff\xd8\xff garbage")
    (archive / "notes.txt").write_bytes(b"just text")
    build()
    again = build()
    assert not again.published
    assert counted(again)["failed"] == 1
    assert "decoded" not in counted(again)


def test_a_repaired_picture(build: Build, archive: Path, index: Path) -> None:
    aged((archive / "0.png").rename(archive / "saved"))
    (archive / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert counted(build(exclude=["saved"])) == {"added": 5, "decoded": 5, "failed": 1}
    (archive / "saved").replace(archive / "0.png")
    assert counted(build()) == {"added": 1, "decoded": 1}
    assert annidx.open(index).failures() == []


def test_a_picture_that_breaks(build: Build, archive: Path, index: Path) -> None:
    build()
    (archive / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    report = build()
    assert (report.images, report.failed) == (5, 1)
    assert set(table(index)) == ALL - {"0.png"}


def test_a_file_that_vanishes_under_the_build(
    build: Build, archive: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(function: Callable[[Any], Any], batches: Iterable[Any], **_: object) -> Iterator[Any]:
        found = list(batches)
        (archive / "3.png").unlink()
        yield from here(function, found)

    monkeypatch.setattr(building, "map_items", late)
    report = build()
    assert report.left_out == {"vanished": 1}
    assert set(table(index)) == ALL - {"3.png"}


def test_what_is_excluded_is_remembered_until_told_otherwise(
    build: Build, archive: Path, index: Path
) -> None:
    report = build(exclude=["sub/near*"])
    assert report.left_out == {"excluded": 1}
    assert counted(build()) == {}
    assert set(table(index)) == ALL - {"sub/near.png"}
    assert counted(build(exclude=["sub"])) == {"removed": 1}
    assert set(table(index)) == {"0.png", "1.png", "2.png", "3.png"}
    assert counted(build(exclude=[])) == {"added": 2, "decoded": 2}
    assert set(table(index)) == ALL
    assert snapshot.current(index).manifest.exclude == ()


# --- roots --------------------------------------------------------------------------------------


def test_a_moved_root_is_not_read_again(
    build: Build, archive: Path, index: Path, tmp_path: Path
) -> None:
    build()
    before = {name: each.image_id for name, each in table(index).items()}
    moved = tmp_path / "disk" / "photos"
    shutil.copytree(archive, moved)  # other inodes, the same times
    shutil.rmtree(archive)
    roots.move(index, archive, moved)
    assert counted(build(known=True)) == {}
    assert {name: each.image_id for name, each in table(index).items()} == before
    (match,) = annidx.open(index).query(moved / "0.png")
    assert match.path == str(moved / "sub" / "near.png")


def test_a_root_around_a_known_one(build: Build, archive: Path, index: Path) -> None:
    build(archive / "sub")
    before = {each.content_hash: each.image_id for each in table(index).values()}
    assert len(before) == 2
    report = build()
    assert counted(report) == {"added": 4, "decoded": 4}
    manifest = snapshot.current(index).manifest
    assert [root.path for root in manifest.roots] == [os.fsencode(archive.resolve())]
    after = {each.content_hash: each.image_id for each in table(index).values()}
    assert after.items() >= before.items()
    assert set(table(index)) == ALL
    assert counted(build(known=True)) == {}


def test_roots_add_then_build(build: Build, archive: Path, index: Path) -> None:
    build(archive / "sub")
    roots.add(index, [archive])
    report = build(known=True)
    assert counted(report) == {"added": 4, "decoded": 4}
    assert set(table(index)) == ALL
    assert len(snapshot.current(index).manifest.roots) == 1


def test_a_root_inside_a_known_one_changes_nothing(build: Build, archive: Path) -> None:
    build()
    report = build(archive / "sub")
    assert counted(report) == {}
    assert not report.published


def test_a_removed_root(build: Build, archive: Path, index: Path) -> None:
    (archive.parent / "photos 2").mkdir()
    build(archive / "sub", archive.parent / "photos 2")
    roots.remove(index, archive / "sub")
    report = build(known=True)
    assert (report.images, counted(report)) == (0, {})
    assert annidx.open(index).pictures == 0
    assert pairs(index) == set()


@pytest.mark.parametrize("how", ["missing", "suddenly empty"])
def test_an_offline_root_keeps_its_pictures(
    build: Build, archive: Path, index: Path, how: str
) -> None:
    build()
    away = archive.parent / "away"
    archive.rename(away)
    if how == "suddenly empty":
        archive.mkdir()
    report = build(known=True)
    assert counted(report) == {}
    (warning,) = report.warnings
    assert f"{archive} is {how}: its pictures are kept" in warning
    assert set(table(index)) == ALL
    assert snapshot.current(index).manifest.roots[0].status == "offline"
    assert not build(known=True).published  # the second night says it again, and changes nothing
    if how == "suddenly empty":
        archive.rmdir()
    away.rename(archive)
    back = build(known=True)
    assert (counted(back), back.warnings) == ({}, [])
    assert snapshot.current(index).manifest.roots[0].status == "online"


def test_an_empty_root_without_pictures_is_nothing_to_warn_of(
    build: Build, tmp_path: Path, index: Path
) -> None:
    (tmp_path / "empty").mkdir()
    report = build(tmp_path / "empty")
    assert (report.images, report.warnings, report.published) == (0, [], True)
    assert counted(build(known=True)) == {}
    with pytest.raises(IndexNotFound):
        annidx.open(tmp_path / "nowhere")
    assert len(annidx.open(index)) == 0


def test_a_missing_root_inside_a_new_one_keeps_its_pictures(
    build: Build, archive: Path, index: Path
) -> None:
    """Not only for one night: until it is back, or removed."""
    build(archive / "sub")
    (archive / "sub").rename(archive.parent / "away")
    for report in (build(), build(known=True), build(known=True)):
        assert (report.images, len(report.warnings)) == (6, 1)
    (archive.parent / "away").rename(archive / "sub")
    report = build(known=True)
    assert (counted(report), report.images, report.warnings) == ({}, 6, [])
    assert len(snapshot.current(index).manifest.roots) == 1
    assert set(table(index)) == ALL


def test_pictures_that_moved_from_an_offline_root_to_another(
    build: Build, archive: Path, index: Path
) -> None:
    """``mv photos other/``, both of them roots: one picture stays one picture."""
    other = archive.parent / "other"
    save(other / "5.png", photo(5))
    build(archive, other)
    before = {each.content_hash: each.image_id for each in table(index).values()}
    archive.rename(other / "photos")
    report = build(known=True)
    assert (report.images, report.removed) == (7, 0)
    assert len(report.warnings) == 1
    after = {each.content_hash: each.image_id for each in table(index).values()}
    assert after == before


def test_another_picture_in_the_same_inode_is_not_the_one_that_is_offline(
    build: Build, archive: Path, index: Path
) -> None:
    """Moved and then overwritten: the same size and time, other pixels."""
    other = archive.parent / "other" / "photos"
    save(archive / "5.bmp", photo(5))
    save(other / "6.bmp", photo(6))
    build(archive, other)
    (archive / "5.bmp").rename(other / "7.bmp")
    save(other / "7.bmp", photo(7))
    archive.rename(archive.parent / "away")
    report = build(known=True)
    assert (report.images, counted(report)) == (9, {"added": 1, "decoded": 1})
    assert set(table(index)) == ALL | {"5.bmp", "6.bmp", "7.bmp"}


def test_a_folder_that_cannot_be_listed_keeps_its_rows(
    build: Build, archive: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build()
    scandir = os.scandir

    def refusing(path: bytes) -> Any:
        if os.fsdecode(path).rstrip("/").endswith("sub"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    (archive / "0.png").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", refusing)
        report = build()
    assert counted(report) == {"removed": 1}
    assert report.left_out == {"unreadable folder": 1}
    assert len(report.warnings) == 1
    assert "sub" in report.warnings[0]
    assert "Permission denied" in report.warnings[0]
    assert set(table(index)) == ALL - {"0.png"}


def test_what_cannot_be_built(build: Build, archive: Path, index: Path, tmp_path: Path) -> None:
    with pytest.raises(IndexNotFound):
        build(known=True)  # no roots, no index
    with pytest.raises(FolderNotFound, match="no such folder"):
        build(archive, tmp_path / "missing")
    with pytest.raises(UsageError, match="unknown metric 'nonsense'"):
        build(graph_metrics=["nonsense"])
    assert not index.exists()
    with pytest.raises(IndexNotFound, match="exists and is no index"):
        building.build([archive], archive)
    assert sorted(path.name for path in archive.iterdir()) == [
        *("0.png", "1.png", "2.png", "3.png", "sub")
    ]


# --- graphs -------------------------------------------------------------------------------------


def test_graphs_for_more_metrics_are_remembered(build: Build, archive: Path, index: Path) -> None:
    build(graph_metrics=["signature"])
    assert [each.metric for each in snapshot.current(index).manifest.graphs] == [
        *("fingerprint", "signature")
    ]
    assert annidx.open(index).query(archive / "0.png", metric="signature").answer.engine == "graph"
    assert counted(build()) == {}
    report = build(graph_metrics=[])
    assert report.published
    assert [each.metric for each in snapshot.current(index).manifest.graphs] == ["fingerprint"]
    assert annidx.open(index).query(archive / "0.png", metric="signature").answer.engine == "exact"


def test_graphs_made_anew(build: Build, archive: Path, index: Path) -> None:
    build()
    report = build(rebuild_graphs=True)
    assert counted(report) == {}
    assert len(snapshot.current(index).manifest.graphs) == 1
    assert pairs(index) == {("0.png", "near.png")}


@pytest.mark.parametrize(
    ("metric", "held"), [("fingerprint", None), ("thumb", ("thumb", "signature"))]
)
def test_a_damaged_graph_is_repaired(
    build: Build, archive: Path, index: Path, metric: str, held: tuple[str, ...] | None
) -> None:
    build(descriptors=held)
    (path,) = (index / "graphs").glob("*.hnsw")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(IndexDamaged, match="annidx build"):
        annidx.open(index).query(archive / "0.png", engine="graph")
    report = build()
    assert counted(report) == {}
    warning = report.warnings[0]
    assert f"{path}: damaged (expected " in warning
    assert f"the graph for {metric} is made anew" in warning
    assert len(annidx.open(index).query(archive / "0.png", engine="graph")) == 1
    assert not any(history.verify(index))


def test_a_graph_that_misses_its_target_is_not_used(
    build: Build, archive: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphs, "certify", lambda *_: Certificate(100, 50, 0.5, 0.4, 0.6))
    report = build()
    (warning,) = report.warnings
    assert "a graph for fingerprint missed its target (recall 0.5" in warning
    assert "searched by the exact engine. annidx build --rebuild-graphs tries again." in warning
    found = annidx.open(index).query(archive / "0.png")
    assert (found.answer.engine, found.answer.exact, found.answer.recall) == ("exact", True, None)
    assert len(found) == 1
    with pytest.raises(UsageError, match="no usable graph"):
        annidx.open(index).query(archive / "0.png", engine="graph")
    assert build().warnings == []  # once is enough
    assert build(min_recall=0.6).warnings == []
    found = annidx.open(index).query(archive / "0.png", engine="graph")
    assert (found.answer.engine, found.answer.recall, len(found)) == ("graph", 0.5, 1)


# --- crashes, locks, damage -----------------------------------------------------------------------


def test_a_build_that_dies_leaves_the_old_snapshot(
    build: Build, archive: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build()
    for number in range(6):
        save(archive / f"new {number}.png", photo(20 + number))

    def dying(*_: object, **__: object) -> None:
        (index / "tmp" / "half a graph.hnsw").write_bytes(b"")
        raise KeyboardInterrupt

    monkeypatch.setattr(layout, "TAIL_ROWS", 3)
    with monkeypatch.context() as patch:
        patch.setattr(graphs, "make", dying)
        with pytest.raises(KeyboardInterrupt):
            build()
    assert set(table(index)) == ALL
    assert snapshot.current(index).manifest.number == 1
    assert list((index / "tmp").iterdir()) != []
    report = build()
    assert counted(report) == {"added": 6, "adopted": 6}
    assert report.snapshot == 2
    assert len(table(index)) == 12
    assert list((index / "tmp").iterdir()) == []
    written = {path.name for name in ("segments", "graphs") for path in (index / name).iterdir()}
    manifests = [each.manifest for each in history.listing(index) if each.manifest]
    assert written == {path.name for each in manifests for path in history.named(index, each)}


def test_a_build_that_dies_after_its_graph_can_be_done_again(
    build: Build, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dying(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(snapshot, "publish", dying)
        with pytest.raises(KeyboardInterrupt):
            build()
    assert build().images == 6


def test_two_builds_at_once(build: Build, index: Path) -> None:
    build()
    with files.writer_lock(index), pytest.raises(IndexLocked):
        build()
    assert counted(build()) == {}


def test_a_damaged_newest_snapshot_is_built_again(
    build: Build, archive: Path, index: Path, caplog: pytest.LogCaptureFixture
) -> None:
    build()
    save(archive / "new.png", photo(20))
    build()
    (index / "snapshots" / "00000002.json").write_bytes(b"torn")
    with caplog.at_level(logging.WARNING):
        report = build()
    assert "00000002.json: not a whole manifest" in report.warnings[0]
    assert caplog.text == ""  # once is enough
    assert counted(report) == {"added": 1, "decoded": 1}
    assert report.snapshot == 3
    assert set(table(index)) == ALL | {"new.png"}


def test_rebuild_extracts_everything_anew(build: Build, archive: Path, index: Path) -> None:
    (archive / "broken.jpg").write_bytes(b"\xff\xd8\xff garbage")
    aged(archive / "broken.jpg")
    build()
    before = table(index)
    report = build(known=True, rebuild=True)
    assert counted(report) == {"decoded": 6, "failed": 1}
    assert report.published
    after = table(index)
    for name, each in before.items():  # read again, and the same
        assert after[name].read_ns > each.read_ns
        assert replace(after[name], read_ns=each.read_ns) == each
    assert pairs(index) == {("0.png", "near.png")}


def test_a_rebuild_knows_a_renamed_picture(build: Build, archive: Path, index: Path) -> None:
    build()
    before = table(index)["0.png"]
    (archive / "0.png").rename(archive / "renamed.png")
    assert counted(build(rebuild=True)) == {"decoded": 6}
    assert table(index)["renamed.png"].image_id == before.image_id


def test_rebuild_keeps_what_is_offline(build: Build, archive: Path, index: Path) -> None:
    other = archive.parent / "photos of others"
    save(other / "5.png", photo(5))
    build(archive, other)
    archive.rename(archive.parent / "away")
    report = build(known=True, rebuild=True)
    assert counted(report) == {"decoded": 1}
    assert report.images == 7


def test_failures_are_tried_again_when_asked_to(
    build: Build, archive: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (archive / "broken.jpg").write_bytes(b"\xff\xd8\xff garbage")
    aged(archive / "broken.jpg")
    build()
    tried: list[bytes] = []

    def noting(
        function: Callable[[Any], Any], batches: Iterable[Any], **_: object
    ) -> Iterator[Any]:
        chosen = list(batches)
        tried.extend(task.path for batch in chosen for task in batch)
        return here(function, chosen)

    monkeypatch.setattr(building, "map_items", noting)
    build()
    assert tried == []
    report = build(retry_failed=True)
    assert tried == [os.fsencode(archive / "broken.jpg")]
    assert counted(report) == {"failed": 1}
    assert not report.published


@pytest.mark.parametrize("name", ["thumb", "fingerprint"])
def test_new_versions_of_descriptors_extract_everything_anew(
    build: Build, archive: Path, index: Path, name: str
) -> None:
    build()
    before = snapshot.current(index).manifest
    snapshot.publish(index, replace(before, descriptors={**before.descriptors, name: 0}))
    report = build()
    assert counted(report)["decoded"] == 6
    assert snapshot.current(index).manifest.descriptors == before.descriptors
    assert set(table(index)) == ALL


@pytest.mark.parametrize("rebuild", [False, True])
def test_a_damaged_segment_is_extracted_again(
    build: Build, archive: Path, index: Path, rebuild: bool
) -> None:
    (archive / "notes.txt").write_bytes(b"")
    aged(archive / "notes.txt")
    build()
    first = max(each.image_id for each in table(index).values()) + 1
    (path,) = (index / "segments" / f"{each}.parquet" for each in segments_of(index, "pictures"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(IndexDamaged, match="annidx build"):
        annidx.open(index).find_pairs()
    report = build(rebuild=rebuild)
    assert report.images == report.decoded == 6
    assert report.removed == 0
    assert f"{path}: damaged (expected " in report.warnings[0]
    assert "what is in it is looked at anew: 6 pictures" in report.warnings[0]
    assert set(table(index)) == ALL
    assert min(each.image_id for each in table(index).values()) >= first  # no number twice
    assert not any(history.verify(index))
    assert counted(build()) == {}


@pytest.mark.parametrize("empty", [False, True])
def test_what_was_damaged_and_cannot_be_found_again_is_no_reason_to_publish(
    build: Build, archive: Path, index: Path, monkeypatch: pytest.MonkeyPatch, empty: bool
) -> None:
    build()
    (path,) = (index / "segments" / f"{each}.parquet" for each in segments_of(index, "pictures"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    archive.rename(archive.with_name("away"))
    if empty:
        archive.mkdir()
    monkeypatch.setattr(building, "INTERIM_S", 0.0)
    with pytest.raises(PublishRefused, match="damaged segments held 6 pictures, of which 0 were"):
        build(known=True, max_removed=5)
    assert len(files.manifest_paths(index)) == 1
    report = build(known=True, force=True)
    assert report.images == 0
    assert "but for those in damaged segments" in report.warnings[1]
    if empty:
        archive.rmdir()
    archive.with_name("away").rename(archive)
    assert build().images == 6


def test_what_was_damaged_is_found_by_two_builds(
    build: Build, archive: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build()
    (path,) = (index / "segments" / f"{each}.parquet" for each in segments_of(index, "pictures"))
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    (archive / "0.png").rename(archive.with_name("0.png"))
    with pytest.raises(PublishRefused, match="of which 5 were found"):
        build(max_removed=0)
    archive.with_name("0.png").rename(archive / "0.png")
    report = build(max_removed=0)
    assert (report.images, report.adopted, report.decoded) == (6, 5, 1)


def test_a_refusal_after_interim_snapshots_names_the_one_that_stays(
    build: Build, archive: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build()
    (archive / "0.png").unlink()
    save(archive / "new.png", photo(7))
    monkeypatch.setattr(building, "INTERIM_S", 0.0)
    with pytest.raises(PublishRefused, match=r"not published, snapshot ([2-9]) stays"):
        build(max_removed=0)
    assert snapshot.current(index).manifest.number > 1


def segments_of(index: Path, kind: str) -> list[str]:
    entries = snapshot.current(index).manifest.segments
    return [each.sha256 for each in entries if each.kind == kind]


def test_rebuild_repairs_an_index_without_a_whole_manifest(
    build: Build, archive: Path, index: Path
) -> None:
    build()
    (index / "snapshots" / "00000001.json").write_bytes(b"")
    with pytest.raises(IndexDamaged, match="annidx build"):
        annidx.open(index)
    assert build(rebuild=True).images == 6
    assert snapshot.current(index).manifest.number == 2


def test_a_long_first_build_publishes_what_it_has(
    build: Build, archive: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "INTERIM_S", 0.0)
    report = build()
    assert report.images == 6
    seen = Counter[int]()
    for path in files.manifest_paths(index):
        manifest = Manifest.from_json(path.read_bytes(), "")
        seen[int(Snapshot(index, manifest).pictures.live.sum())] += 1
        assert manifest.counts == {"ok": max(seen)}
    assert seen == {1: 1, 2: 1, 3: 1, 4: 1, 5: 1, 6: 2}
    assert set(table(index)) == ALL
    assert [each.rows for each in snapshot.current(index).manifest.segments] == [6]
    assert counted(build()) == {}


def test_failures_that_a_killed_build_published_are_news_all_the_same(
    build: Build, archive: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build()
    (archive / "broken.jpg").write_bytes(b"\xff\xd8\xff garbage")
    aged(archive / "broken.jpg")
    save(archive / "z.png", photo(30))

    def dying(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(building, "INTERIM_S", 0.0)
        patch.setattr(building, "arrange", dying)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                build()
            assert snapshot.current(index).manifest.interim_of == 1
            save(archive / "zz.png", photo(31))
    report = build()
    assert report.new_failures == [os.fsencode(archive / "broken.jpg")]
    assert snapshot.current(index).manifest.interim_of is None
    assert build().new_failures == []


def test_a_long_later_build_publishes_what_it_has(
    build: Build, archive: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pictures that are still to be looked at again are there all the time, as they were."""
    build()
    monkeypatch.setattr(building, "INTERIM_S", 0.0)
    for number in range(3):
        save(archive / f"{number}.png", photo(50 + number), mtime_ns=LONG_AGO_NS + 1)
    (archive / "3.png").rename(archive / "renamed.png")
    build()
    for path in files.manifest_paths(index):
        manifest = Manifest.from_json(path.read_bytes(), "")
        opened = Snapshot(index, manifest)
        rows = np.flatnonzero(opened.pictures.live)
        assert len(set(opened.paths(rows))) == len(rows) == manifest.counts["ok"] == 6
        assert graphs.usable(opened, "fingerprint")
    assert set(table(index)) == ALL - {"3.png"} | {"renamed.png"}


def test_a_first_build_that_dies_goes_on_where_it_was(
    build: Build, archive: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dying(function: Callable[[Any], Any], batches: Iterable[Any], **_: object) -> Iterator[Any]:
        for at, result in enumerate(here(function, batches)):
            if at == 4:
                raise KeyboardInterrupt
            yield result

    with monkeypatch.context() as patch:
        patch.setattr(building, "INTERIM_S", 0.0)
        patch.setattr(building, "map_items", dying)
        with pytest.raises(KeyboardInterrupt):
            build()
    before = {name: each.image_id for name, each in table(index).items()}
    assert len(before) == 4
    assert counted(build()) == {"added": 2, "decoded": 2}
    after = {name: each.image_id for name, each in table(index).items()}
    assert after.items() >= before.items()
    assert set(after) == ALL


def test_what_an_interrupted_build_was_asked_for_is_remembered(
    archive: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Roots, descriptors and what to exclude: the next build needs no options."""
    options = Options(workers=1, descriptors=["thumb", "gray8"], exclude=["3.png"])
    with monkeypatch.context() as patch:
        patch.setattr(graphs, "make", interrupted)
        with pytest.raises(KeyboardInterrupt):
            building.build([archive], index, options)
    report = building.build([], index, Options(workers=1))
    assert (report.decoded, report.adopted, report.added) == (0, report.images, report.images)
    manifest = snapshot.current(index).manifest
    assert set(manifest.descriptors) == {"thumb", "gray8"}
    assert manifest.exclude == ("3.png",)
    assert [root.path for root in manifest.roots] == [bytes(archive)]


def interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_other_descriptors_wait_for_an_offline_root(archive: Path, index: Path) -> None:
    building.build([archive], index, Options(workers=1))
    archive.rename(archive.with_name("away"))
    with pytest.raises(UsageError, match="is offline"):
        building.build([], index, Options(workers=1, descriptors=["thumb", "gray8"]))
    assert snapshot.current(index).manifest.number == 1
    archive.with_name("away").rename(archive)
    report = building.build([], index, Options(workers=1, descriptors=["thumb", "gray8"]))
    assert report.added == 0
    assert report.decoded == report.images > 0


def test_what_was_too_large_is_looked_at_again_once_the_limit_is_raised(
    archive: Path, index: Path
) -> None:
    save(archive / "large.png", photo(50, (1200, 1000)))
    first = building.build([archive], index, Options(workers=1, max_megapixels=1))
    assert first.failed == 1
    (failure,) = annidx.open(index).failures()
    assert failure[2].endswith("give --max-megapixels 2")
    again = building.build([], index, Options(workers=1, max_megapixels=1))
    assert (again.decoded, again.published) == (0, False)
    raised = building.build([], index, Options(workers=1, max_megapixels=2))
    assert (raised.decoded, raised.failed) == (1, 0)


def test_a_young_file_that_takes_too_long_costs_that_once(
    archive: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at every build: the second one notes that it is not young any more."""
    asked: list[bytes] = []

    def slow(
        function: Callable[[Any], Any], batches: Iterable[Sequence[Any]], **_: object
    ) -> Iterator[Any]:
        for task in (task for batch in batches for task in batch):
            asked.append(task.file.path)
            late = Record(task.file, time.time_ns(), "timeout", "no answer within 60 s")
            yield late if task.file.path == b"0.png" else function(task)

    monkeypatch.setattr(building, "map_items", slow)
    os.utime(archive / "0.png")
    first = building.build([archive], index, Options(workers=1))
    assert (first.failed, len(asked)) == (1, 6)
    time.sleep(2.1)
    building.build([], index, Options(workers=1))
    assert asked[6:] == [b"0.png"]
    third = building.build([], index, Options(workers=1))
    assert (len(asked), third.published) == (7, False)
