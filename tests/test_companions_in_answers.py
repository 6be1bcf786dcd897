"""RAW and JPEG of one stem are no duplicates of each other, in every question, unless asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annidx import Index, graphs
from annidx.answers import with_companions
from annidx.descriptors import THUMB
from annidx.found import Match
from annidx.images.companions import DEVELOPED, Companions
from annidx.model import File, Record
from annidx.store import identity
from annidx.store.manifest import Manifest, Root
from annidx.store.rowset import Rowset
from annidx.store.snapshot import Snapshot
from tests.commands.running import json_lines, run
from tests.images.pictures import encoded
from tests.images.raws import raw_file
from tests.making import add_segment, copies, photo, record, thumbs

PICTURES = thumbs(8, seed=1)
FORMATS = {b".nef": "NEF", b".heic": "HEIF"}


def companions(names: Iterable[bytes]) -> dict[bytes, tuple[bytes, ...]]:
    """Return what the walk would find beside each of the files."""
    folders: dict[bytes, list[bytes]] = {}
    for name in names:
        folder, _, last = name.rpartition(b"/")
        folders.setdefault(folder, []).append(last)
    beside = {folder: Companions(inside) for folder, inside in folders.items()}
    return {name: beside[name.rpartition(b"/")[0]].of(name.rpartition(b"/")[2]) for name in names}


def rows_of(pictures: dict[bytes, int], *, inode: int | None = None) -> list[Record]:
    """Return a row for each file; those of one picture are near copies, no two are equal."""
    beside = companions(pictures)
    rows = []
    for number, (path, picture) in enumerate(pictures.items()):
        row = record(number, format=FORMATS.get(path[-4:].lower(), "JPEG"))
        thumb = copies(THUMB, PICTURES[picture : picture + 1], number)
        known = row.file.inode if inode is None else inode
        file = replace(row.file, path=path, companions=beside[path], inode=known)
        stored = {**row.descriptors, "thumb": thumb.tobytes()}
        rows.append(replace(row, file=file, descriptors=stored))
    return rows


def made(folder: Path, rows: list[Record], *, graph: bool = False) -> Index:
    """Return an index of rows, in two segments, of a root that need not exist."""
    place = folder / "index"
    identity.create(place)
    halves = [rows[: len(rows) // 2], rows[len(rows) // 2 :]]
    entries = tuple(add_segment(place, half, "pictures") for half in halves if half)
    manifest = Manifest(1, "", (Root(1, os.fsencode(folder / "photos")),), entries)
    if graph:
        names = [each.sha256 for each in entries]
        entry = graphs.make(Snapshot(place, manifest), "thumb", names, threads=1)
        assert entry is not None
        manifest = replace(manifest, graphs=(entry,))
    return Index(Snapshot(place, manifest))


def in_place(folder: Path, row: Record) -> Record:
    """Return a row as a query: the same file, by its absolute path."""
    path = os.fsencode(folder / "photos") + b"/" + row.file.path
    return replace(row, file=replace(row.file, path=path, companions=()))


def names(matches: Iterable[Match]) -> list[str]:
    return [Path(match.path).name for match in matches]


def ends(found: Iterable[Any]) -> set[frozenset[str]]:
    return {
        frozenset(path.rpartition("/photos/")[2] for path in (each.a, each.b)) for each in found
    }


# --- all pairs ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "is_left_out"),
    [
        (b"a.NEF", b"a.jpg", True),
        (b"2020/a.NEF", b"2020/A.JPG", True),
        (b"2020/a.heic", b"2020/a.dng", True),
        (b"2020/a.crw", b"2020/a.thm", True),  # which is a JPEG, and has no companions of its own
        (b"2020/a.jpg", b"2020/a.heic", False),
        (b"2020/a.NEF", b"2020/b.jpg", False),
        (b"2020/a.NEF", b"exports/a.jpg", False),
        (b"2020/a.NEF", b"2020/a.NEF.jpg", False),
        (b"2020/a.NEF", b"2020/a.dng", False),
    ],
    ids=str,
)
def test_which_pairs_are_left_out(
    tmp_path: Path, one: bytes, other: bytes, is_left_out: bool
) -> None:
    index = made(tmp_path, rows_of({one: 0, other: 0, b"else.jpg": 1, b"2020/else.NEF": 2}))
    found = index.find_pairs()
    assert (len(found), found.answer.companions_left_out) == ((0, 1) if is_left_out else (1, 0))
    everything = index.find_pairs(companions=True)
    assert ends(everything) == {frozenset(map(os.fsdecode, (one, other)))}
    assert everything.answer.companions_left_out == 0
    assert found.answer.complete


def test_a_picture_that_is_no_companion_of_both_keeps_its_pairs(tmp_path: Path) -> None:
    """And its group holds RAW and JPEG, since it is near to either."""
    files = {b"b.NEF": 1, b"b.jpg": 1, b"b.heic": 1, b"a.NEF": 0, b"a.jpg": 0, b"web/a.jpg": 0}
    index = made(tmp_path, rows_of(files))
    found = index.find_pairs()
    assert ends(found) == {
        frozenset({"a.NEF", "web/a.jpg"}),
        frozenset({"a.jpg", "web/a.jpg"}),
        frozenset({"b.jpg", "b.heic"}),
    }
    assert found.answer.companions_left_out == 3
    assert list(found) == [
        pair for pair in index.find_pairs(companions=True) if pair in list(found)
    ]
    assert index.pairs().num_rows == 3
    assert index.pairs(companions=True).num_rows == 6
    groups = index.groups()
    assert [sorted(Path(path).name for path in group.paths) for group in groups] == [
        ["a.NEF", "a.jpg", "a.jpg"],
        ["b.heic", "b.jpg"],
    ]
    assert [group.number for group in groups] == [1, 2]
    assert groups.answer.companions_left_out == 3
    everything = index.find_pairs(companions=True)
    for group in index.groups(companions=True):
        assert len(group.paths) == 3
        apart = [pair.distance for pair in everything if pair.a in group.paths]
        assert (group.diameter, group.weakest) == (max(apart), sorted(apart)[1])
    assert list(index.find_pairs(exact=True)) == list(found)


def test_raw_and_jpeg_alone_make_no_group(tmp_path: Path) -> None:
    index = made(tmp_path, rows_of({b"a.NEF": 0, b"a.jpg": 0}))
    assert list(index.groups()) == []
    (group,) = index.groups(companions=True)
    (pair,) = index.find_pairs(companions=True)
    assert group.diameter == group.weakest == pair.distance
    assert group.freed_bytes == 1000
    assert list(index.neighbours()) == []
    assert index.neighbours().answer.companions_left_out == 1


def test_neighbours_and_pairs_agree(tmp_path: Path) -> None:
    files = {b"a.NEF": 0, b"a.jpg": 0, b"web/a.jpg": 0, b"c.jpg": 0, b"b.NEF": 1, b"b.jpg": 1}
    rows = rows_of(files)
    index = made(tmp_path, rows)
    for option in (False, True):
        near = index.neighbours(k=None, companions=option)
        listed = {(match.path, each.query) for each in near for match in each}
        pairs = index.find_pairs(companions=option)
        assert listed == {(pair.a, pair.b) for pair in pairs} | {(p.b, p.a) for p in pairs}
        for row in rows:
            own = index.query(in_place(tmp_path, row), k=None, companions=option)
            assert list(own) == [
                match for each in near if each.query == own.query for match in each
            ]


def test_only_rows_near_companions_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An archive has millions of rows, and few of its pairs have to do with companions."""
    files = {b"a.NEF": 0, b"a.jpg": 0, b"sidecar alone.jpg": 1, b"far.NEF": 2}
    files |= {b"copies/%d.jpg" % number: 3 for number in range(20)}
    rows = rows_of(files)
    rows[2] = replace(rows[2], file=replace(rows[2].file, companions=(b"sidecar alone.xmp",)))
    index = made(tmp_path, rows)
    asked: list[int] = []
    original = Rowset.values

    def values(self: Rowset, name: str, rows: Any) -> list[Any]:
        if name == "companions":
            asked.extend(rows)
        return original(self, name, rows)

    monkeypatch.setattr(Rowset, "values", values)
    assert len(index.find_pairs()) == 20 * 19 // 2
    assert set(asked) == {0, 1}
    assert len(asked) == 4  # once for the estimate


# --- one picture ----------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["graph", "exact"])
def test_k_counts_what_is_left(tmp_path: Path, engine: str) -> None:
    """However many companions there are: a RAW has one of every kind here, nearer and farther."""
    files = {b"web/%d.jpg" % number: 0 for number in range(5)}
    files |= {b"a.NEF": 0} | {b"a" + suffix: 0 for suffix in sorted(DEVELOPED)}
    rows = rows_of(files)
    index = made(tmp_path, rows, graph=engine == "graph")
    query = in_place(tmp_path, rows[5])
    whole = index.query(query, k=None)
    assert whole.answer.engine == engine
    assert sorted(names(whole)) == [f"{number}.jpg" for number in range(5)]
    assert whole.answer.companions_left_out == len(DEVELOPED)
    everything = index.query(query, k=None, companions=True)
    assert len(everything) == 5 + len(DEVELOPED)
    order = [match.path for match in everything]
    for k in range(1, 8):
        found = index.query(query, k=k)
        assert list(found) == list(whole)[:k]
        assert found.answer.complete == (k >= 5)
        next_one = order.index(whole[k].path) if k < 5 else len(order)
        assert found.answer.companions_left_out == next_one - min(k, 5)
        assert list(index.query(query, k=k, companions=True)) == list(everything)[:k]


def test_what_is_left_out_may_be_all_that_k_would_have_cut(tmp_path: Path) -> None:
    """Then the answer is complete."""
    rows = rows_of({b"a.NEF": 0} | {b"a" + suffix: 0 for suffix in DEVELOPED} | {b"b.jpg": 0})
    index = made(tmp_path, rows)
    found = index.query(in_place(tmp_path, rows[0]), k=1)
    assert names(found) == ["b.jpg"]
    assert found.answer.complete
    assert not index.query(in_place(tmp_path, rows[-1]), k=1).answer.complete


def test_a_jpeg_does_not_find_its_raw(tmp_path: Path) -> None:
    rows = rows_of({b"a.NEF": 0, b"a.jpg": 0, b"web/a.NEF": 0})
    index = made(tmp_path, rows)
    found = index.query(in_place(tmp_path, rows[1]))
    assert [match.path for match in found] == [str(tmp_path / "photos/web/a.NEF")]
    assert found.answer.companions_left_out == 1
    both = index.query_many([in_place(tmp_path, row) for row in rows])
    assert [len(each) for each in both] == [1, 1, 2]
    assert [each.answer.companions_left_out for each in both] == [1, 1, 0]


def test_a_file_that_was_changed_since_still_has_its_companions(tmp_path: Path) -> None:
    """Its own row is not among the hits any more."""
    rows = rows_of({b"a.NEF": 0, b"a.jpg": 1, b"b.jpg": 1})
    index = made(tmp_path, rows)
    query = in_place(tmp_path, replace(rows[0], descriptors=rows[2].descriptors))
    assert names(index.query(query)) == ["b.jpg"]


def test_a_thumbnail_of_the_camera_has_no_companions_and_is_one(tmp_path: Path) -> None:
    rows = rows_of({b"a.crw": 0, b"a.thm": 0})
    assert [row.file.companions for row in rows] == [(b"a.thm",), ()]
    index = made(tmp_path, rows)
    for row in rows:
        assert list(index.query(in_place(tmp_path, row))) == []
        assert len(index.query(in_place(tmp_path, row), companions=True)) == 1


def test_a_picture_from_elsewhere_finds_both(tmp_path: Path) -> None:
    rows = rows_of({b"a.NEF": 0, b"a.jpg": 0})
    index = made(tmp_path, rows)
    card = replace(rows[1], file=File(0, b"/card/a.jpg", 5, 5, 7, 7))
    without_file = replace(rows[1], file=File(0, b"", 0, 0, 0, 0))
    for query in (card, without_file):
        found = index.query(query)
        assert sorted(names(found)) == ["a.NEF", "a.jpg"]
        assert found.answer.companions_left_out == 0
    (found,) = index.query_vectors(PICTURES[:1])
    assert len(found) == 2


def test_has_asks_for_another_one(tmp_path: Path) -> None:
    rows = rows_of({b"a.NEF": 0, b"a.jpg": 0, b"b.jpg": 1})
    index = made(tmp_path, rows)
    found = index.has(in_place(tmp_path, rows[0]))
    assert list(found) == []
    assert found.nearest is not None
    assert names([found.nearest]) == ["b.jpg"]
    assert found.answer.companions_left_out == 1
    assert names(index.has(in_place(tmp_path, rows[0]), companions=True)) == ["a.jpg"]


@pytest.fixture
def moved(tmp_path: Path) -> Path:
    """Return a folder; where it lay before, a link leads to it."""
    (tmp_path / "new").mkdir()
    (tmp_path / "photos").symlink_to("new")
    for name in ("a.NEF", "a.jpg", "b.jpg"):
        (tmp_path / "new" / name).write_text(name)
    return tmp_path / "new"


Stat = Callable[[os.stat_result], int]


@pytest.mark.parametrize("stored", [lambda _: 0, lambda facts: facts.st_ino], ids=["0", "inode"])
@pytest.mark.parametrize("now", [lambda _: 0, lambda facts: facts.st_ino], ids=["0", "inode"])
def test_the_real_path_decides_where_inodes_are_unknown(
    tmp_path: Path, moved: Path, stored: Stat, now: Stat
) -> None:
    """0 is no inode: it is not equal to another 0."""
    rows = rows_of({b"a.NEF": 0, b"a.jpg": 0, b"b.jpg": 0})
    known = [
        replace(row, file=replace(row.file, inode=stored((moved / name).stat())))
        for row, name in zip(rows, ("a.NEF", "a.jpg", "b.jpg"), strict=True)
    ]
    index = made(tmp_path, known)
    path = moved / "a.NEF"
    facts = path.stat()
    file = File(0, os.fsencode(path.resolve()), facts.st_size, 1, facts.st_dev, now(facts))
    found = index.query(replace(rows[0], file=file))
    assert names(found) == ["b.jpg"]
    assert found.answer.companions_left_out == 1


def test_one_inode_of_nought_for_all(tmp_path: Path) -> None:
    rows = rows_of({b"a.jpg": 0, b"b/a.jpg": 0, b"c.jpg": 0}, inode=0)
    index = made(tmp_path, rows)
    assert len(index.query(in_place(tmp_path, rows[0]))) == 2
    assert len(index.find_pairs()) == 3


# --- the command line -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shoot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with RAW+JPEG of one photo, and the JPEG of another."""
    pytest.importorskip("rawpy")
    folder = tmp_path_factory.mktemp("shoot") / "card"
    folder.mkdir()
    picture = photo(5, (640, 480))
    shot = encoded(picture, "JPEG", quality=90)
    (folder / "IMG_1.DNG").write_bytes(raw_file(picture, preview=shot))
    (folder / "IMG_1.JPG").write_bytes(shot)
    (folder / "IMG_2.JPG").write_bytes(encoded(photo(6, (640, 480)), "JPEG"))
    run("build", folder, index=folder.parent / "index")
    return folder


NOTE = "1 RAW+JPEG companion left out (--with-companions)"


def test_on_the_command_line(shoot: Path) -> None:
    index = shoot.parent / "index"
    first, note = run("pairs", index=index).stdout.splitlines()
    assert first.startswith("0 pairs of 3 pictures within chance 1 (fingerprint, ")
    assert note == NOTE
    for verb, words in (("pairs", []), ("groups", []), ("query", ["--all"])):
        rows, summary = json_lines(verb, *words, index=index)
        assert (rows, summary["companions_left_out"], summary["complete"]) == ([], 1, True)
        rows, summary = json_lines(verb, *words, "--with-companions", index=index)
        assert len(rows) == (2 if words else 1)
        assert "companions_left_out" not in summary
        assert not any("companion" in key for key in rows[0])
        with_them = run(verb, *words, "--with-companions", index=index).stdout
        assert NOTE in run(verb, *words, index=index).stdout
        assert "companion" not in with_them


def test_files_on_the_command_line(shoot: Path) -> None:
    index = shoot.parent / "index"
    for name, other in (("IMG_1.DNG", "IMG_1.JPG"), ("IMG_1.JPG", "IMG_1.DNG")):
        rows, summary = json_lines("query", shoot / name, index=index)
        assert (rows, summary["companions_left_out"]) == ([], 1)
        rows, _ = json_lines("query", "--with-companions", shoot / name, index=index)
        assert [row["path"] for row in rows] == [str(shoot / other)]
    both = [shoot / "IMG_1.DNG", shoot / "IMG_1.JPG"]
    rows, summary = json_lines("has", *both, index=index, code=20)
    assert [row["found"] for row in rows] == [False, False]
    assert summary["companions_left_out"] == 2
    assert "2 RAW+JPEG companions left out" in run("has", *both, index=index, code=20).stdout
    run("has", "--with-companions", *both, index=index)


def test_status_counts_pictures_with_companions(shoot: Path, tmp_path: Path) -> None:
    _, summary = json_lines("status", index=shoot.parent / "index")
    assert summary["with_companions"] == 2
    lines = run("status", index=shoot.parent / "index").stdout.splitlines()
    assert [line for line in lines if line.startswith("companions ")] == [
        "companions 2 pictures with a RAW or JPEG half, a Live Photo video or a sidecar"
    ]
    gone = made(tmp_path, rows_of({b"a.NEF": 0, b"a.jpg": 0}))
    empty = replace(gone.manifest.segments[0], removed=((0, 1),))
    half = replace(gone.manifest, segments=(empty, *gone.manifest.segments[1:]))
    left = Index(Snapshot(tmp_path / "index", half))
    assert len(left.find_pairs(companions=True)) == 0
    assert with_companions(left.snapshot) == 1
    assert np.count_nonzero(left.snapshot.pictures.live) == 1
