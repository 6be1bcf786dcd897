"""annidx.changes: what a build does with each file that it finds, and what it knows of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annidx.changes import CANDIDATES, YOUNG_NS, Decision, Known, KnownFiles, decide
from annidx.model import File, Record
from annidx.store import identity
from annidx.store.manifest import Kind, Manifest, Root
from annidx.store.snapshot import Snapshot
from tests.making import LONG_AGO_NS, add_segment, failure, record

MTIME_NS = 1_600_000_000_000_000_000
FILE = File(1, b"a.jpg", 100, MTIME_NS, 64, 5000)
KNOWN = Known("pictures", 0, FILE, MTIME_NS + YOUNG_NS, b"h" * 32, "ok")
JUST_READ = KNOWN._replace(read_ns=MTIME_NS + YOUNG_NS - 1)


@pytest.mark.parametrize(
    ("file", "known", "moved", "decision"),
    [
        (FILE, None, False, "extract"),
        (FILE, KNOWN, False, "keep"),
        (replace(FILE, size=101), KNOWN, False, "extract"),
        (replace(FILE, mtime_ns=MTIME_NS + 1), KNOWN, False, "extract"),
        (replace(FILE, mtime_ns=MTIME_NS - 1), KNOWN, False, "extract"),  # an older one put there
        (replace(FILE, inode=5001), KNOWN, False, "extract"),
        (replace(FILE, inode=5001), KNOWN, True, "keep"),
        (replace(FILE, size=101, inode=5001), KNOWN, True, "extract"),
        (replace(FILE, device=65, inode=5001), KNOWN, False, "keep"),  # mounted elsewhere
        (replace(FILE, device=0, inode=0), KNOWN, False, "keep"),  # inodes are made up there
        (FILE, KNOWN._replace(file=replace(FILE, device=64, inode=0)), False, "keep"),
        (replace(FILE, companions=(b"a.xmp",)), KNOWN, False, "carry"),
        (replace(FILE, root_id=2, path=b"x/a.jpg"), KNOWN, False, "carry"),
        (replace(FILE, root_id=2), KNOWN, False, "carry"),
        (FILE, JUST_READ, False, "hash"),
        (replace(FILE, root_id=2), JUST_READ, False, "hash"),
        (replace(FILE, size=101), JUST_READ, False, "extract"),
        (FILE, KNOWN._replace(read_ns=0), False, "hash"),  # its time lies in the future
        (FILE, KNOWN._replace(kind="other", status="unreadable"), False, "keep"),
        (FILE, KNOWN._replace(kind="other", status="crashed"), False, "keep"),
        (FILE, KNOWN._replace(kind="other", status="not-a-picture"), False, "keep"),
    ],
)
def test_decide(file: File, known: Known | None, moved: bool, decision: Decision) -> None:
    assert decide(file, known, moved=moved) == decision


def test_whatever_is_known_may_be_extracted_anew() -> None:
    for known in (KNOWN, JUST_READ, KNOWN._replace(kind="other", status="crashed")):
        assert decide(FILE, known, moved=False, anew=True) == "extract"


@pytest.mark.parametrize(
    ("status", "content_hash", "again"),
    [
        ("denied", bytes(32), True),
        ("unreadable", bytes(32), True),
        ("unreadable", b"h" * 32, False),  # it was read, and is broken
        *((status, bytes(32), False) for status in ("crashed", "timeout", "not-a-picture")),
        ("ok", b"h" * 32, False),
    ],
)
def test_a_file_that_could_not_be_read_at_all_is_tried_again(
    status: str, content_hash: bytes, again: bool
) -> None:
    """``chmod +r`` changes neither size nor time; nor does a disk that reads again."""
    known = KNOWN._replace(kind="other", status=status, content_hash=content_hash)
    assert decide(FILE, known, moved=False) == ("extract" if again else "keep")


# --- what is known ------------------------------------------------------------------------------

ROOTS = (Root(1, b"/one"), Root(2, b"/two"))


@pytest.fixture
def opened(tmp_path: Path) -> Snapshot:
    """Six pictures of two roots, the third removed, and a failure."""
    index = tmp_path / "index"
    identity.create(index)
    rows = [record(number, path=b"folder/%d.jpg" % number) for number in range(6)]
    rows[4:] = [replace(row, file=replace(row.file, root_id=2)) for row in rows[4:]]
    pictures = add_segment(index, rows, "pictures")
    pictures = replace(pictures, removed=((2, 1),))
    other = add_segment(index, [failure(9, path=b"broken.jpg")], "other")
    return Snapshot(index, Manifest(1, "", ROOTS, (pictures, other)))


@pytest.fixture
def files(opened: Snapshot) -> KnownFiles:
    return KnownFiles(opened)


def at(files: KnownFiles, path: bytes) -> Known:
    known = files.at(path)
    assert known is not None
    return known


def removed_rows(files: KnownFiles) -> list[tuple[tuple[int, int], ...]]:
    return [entry.removed for entry in files.entries("pictures")[1]]


def test_known_by_path(files: KnownFiles) -> None:
    known = at(files, b"/one/folder/1.jpg")
    assert (known.kind, known.row, known.status) == ("pictures", 1, "ok")
    assert known.file == record(1, path=b"folder/1.jpg").file
    assert known.content_hash == record(1).content_hash
    assert at(files, b"/two/folder/4.jpg").file.root_id == 2
    assert at(files, b"/one/broken.jpg").kind == "other"
    assert files.at(b"/one/folder/2.jpg") is None  # removed
    assert files.at(b"/one/folder/4.jpg") is None


def test_what_is_as_it_was_is_kept_at_once(files: KnownFiles) -> None:
    known = at(files, b"/one/folder/1.jpg")
    assert files.keep_unchanged(known.file, b"/one/folder/1.jpg")
    assert files.lives_on(known)
    assert not files.lives_on(at(files, b"/one/folder/0.jpg"))
    assert not files.keep_unchanged(record(2, path=b"folder/2.jpg").file, b"/one/folder/2.jpg")


@pytest.mark.parametrize(
    "changed",
    [
        *({name: 1} for name in ("size", "mtime_ns", "device", "inode")),
        {"root_id": 2},
        {"inode": 0},
        {"companions": (b"1.xmp",)},
    ],
)
def test_anything_else_takes_a_closer_look(files: KnownFiles, changed: dict[str, Any]) -> None:
    known = at(files, b"/one/folder/1.jpg")
    assert not files.keep_unchanged(replace(known.file, **changed), b"/one/folder/1.jpg")
    assert not files.keep_unchanged(known.file, b"/one/folder/x.jpg")
    assert not files.lives_on(known)


@pytest.mark.parametrize(
    ("row", "is_plain"),
    [
        (record(1), True),
        (record(1, status="truncated"), True),
        (failure(1, status="not-a-picture"), True),
        (failure(1, status="video"), True),
        *((failure(1, status=each), False) for each in ("unreadable", "denied", "too-large")),
        (failure(1, status="raw-unsupported"), False),  # readable when rawpy was installed since
        (record(1, read_ns=LONG_AGO_NS + 1 + YOUNG_NS), True),
        (record(1, read_ns=LONG_AGO_NS + YOUNG_NS), False),  # it was young when it was read
        (replace(record(1), file=replace(record(1).file, companions=(b"1.xmp",))), False),
        (replace(record(1), file=replace(record(1).file, inode=0)), False),
    ],
)
def test_only_plain_rows_are_kept_at_once(tmp_path: Path, row: Record, is_plain: bool) -> None:
    index = tmp_path / "index"
    identity.create(index)
    kind: Kind = "pictures" if row.descriptors else "other"
    entry = add_segment(index, [row], kind)
    files = KnownFiles(Snapshot(index, Manifest(1, "", ROOTS, (entry,))))
    assert files.keep_unchanged(row.file, b"/one/" + row.file.path) == is_plain


def test_known_by_size(files: KnownFiles) -> None:
    """What a new file may be a copy of, or what moved there: its own path first."""
    file = replace(record(1).file, path=b"new name.jpg", root_id=2)
    assert [known.row for known in files.alike(file, b"/two/new name.jpg")] == [1]
    here = [known.row for known in files.alike(file, b"/two/folder/4.jpg")]
    assert here == [4, 1]
    assert files.alike(replace(file, size=1), b"/two/new name.jpg") == []
    assert files.alike(record(2).file, b"/two/new name.jpg") == []  # removed
    assert [known.kind for known in files.alike(file, b"/one/broken.jpg")] == ["other", "pictures"]


def test_the_likeliest_of_many_of_one_size(tmp_path: Path) -> None:
    """The same inode, then the same time; and no more than eight."""
    index = tmp_path / "index"
    identity.create(index)
    rows = [record(number) for number in range(20)]
    rows = [replace(row, file=replace(row.file, size=7)) for row in rows]
    entry = add_segment(index, rows, "pictures")
    files = KnownFiles(Snapshot(index, Manifest(1, "", (Root(1, b"/one"),), (entry,))))
    file = replace(rows[15].file, path=b"new.jpg", mtime_ns=rows[18].file.mtime_ns)
    found = [known.row for known in files.alike(file, b"/one/new.jpg")]
    assert found[:2] == [15, 18]
    assert len(found) == CANDIDATES
    unknown = [known.row for known in files.alike(replace(file, inode=0), b"/one/new.jpg")]
    assert unknown[0] == 18


def test_known_below_a_folder(files: KnownFiles) -> None:
    assert files.any_inside(b"/one")
    assert files.any_inside(b"/one/folder")
    assert not files.any_inside(b"/one/fold")
    assert not files.any_inside(b"/three")


def test_what_is_not_kept_is_removed(files: KnownFiles) -> None:
    assert files.removed_pictures() == 5
    for number in (0, 3):
        files.keep(at(files, b"/one/folder/%d.jpg" % number))
    files.rewrite(at(files, b"/one/folder/1.jpg"))
    assert files.removed_pictures() == 2  # 4 and 5
    assert removed_rows(files) == [((1, 2), (4, 2))]
    assert files.entries("other")[1] == []


def test_failures_are_no_pictures_that_were_removed(files: KnownFiles) -> None:
    for _, known in list(files.unsettled([b"/one/folder", b"/two"])):
        files.keep(known)
    files.rewrite(at(files, b"/one/broken.jpg"))
    assert files.removed_pictures() == 0


def inside(files: KnownFiles, *folders: bytes) -> list[bytes]:
    return sorted(path for path, _ in files.unsettled(folders))


def test_inside(files: KnownFiles) -> None:
    one = [b"/one/folder/0.jpg", b"/one/folder/1.jpg", b"/one/folder/3.jpg"]
    assert inside(files) == inside(files, b"/three", b"/on") == []
    assert inside(files, b"/one/folder/", b"/three") == one  # a folder may end in a slash
    assert inside(files, b"/one") == [b"/one/broken.jpg", *one]
    assert len(inside(files, b"/one", b"/one/folder", b"/two")) == 6
    files.keep(at(files, one[0]))
    files.rewrite(at(files, one[1]))
    assert inside(files, b"/one/folder") == one[2:]


def test_lives_on(files: KnownFiles) -> None:
    kept, rewritten, gone = (at(files, b"/one/folder/%d.jpg" % number) for number in (0, 1, 3))
    files.keep(kept)
    files.rewrite(rewritten)
    assert [files.lives_on(known) for known in (kept, rewritten, gone)] == [True, True, False]


def test_what_has_no_new_row_counts_for_a_while(files: KnownFiles) -> None:
    """Until the walk is over, it is in the snapshots that a long build publishes."""
    files.keep(at(files, b"/one/folder/0.jpg"))
    files.rewrite(at(files, b"/one/folder/3.jpg"))
    (interim,) = files.entries("pictures", interim=True)[1]
    assert interim.removed == ((2, 2),)
    assert removed_rows(files) == [((1, 5),)]


def test_what_an_interrupted_build_left_comes_first(tmp_path: Path) -> None:
    """Row 3 is row 0 again, row 4 has the number of row 1."""
    index = tmp_path / "index"
    identity.create(index)
    rows = [record(number) for number in range(3)]
    late = [record(3, path=rows[0].file.path), record(4, image_id=1)]
    entries = [add_segment(index, each, "pictures") for each in (rows, late)]
    files = KnownFiles(Snapshot(index, Manifest(1, "", (Root(1, b"/one"),), tuple(entries))))
    assert at(files, b"/one/" + rows[0].file.path).row == 3
    files.supersede({"pictures": 3, "other": 0})
    assert files.removed_pictures() == 3  # of five, two have a later row
    for name in (rows[2].file.path, late[0].file.path):
        files.keep(at(files, b"/one/" + name))
    assert removed_rows(files) == [((0, 2),), ((1, 1),)]
    assert (files.kept_from(3), files.kept_from(0)) == (1, 2)
    assert files.count("pictures") == 5


def test_nothing_is_known_of_an_empty_snapshot(tmp_path: Path) -> None:
    files = KnownFiles(Snapshot(tmp_path, Manifest(0, "")))
    assert files.at(b"/one/folder/1.jpg") is None
    assert not files.any_inside(b"/")
    assert files.removed_pictures() == 0
    rowset, entries = files.entries("pictures")
    assert (len(rowset), entries) == (0, [])
    assert np.array_equal(rowset.live, np.zeros(0, np.bool_))
