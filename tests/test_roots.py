"""annidx.roots: which folders an index covers, changed without reading a picture."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from annidx import roots
from annidx.errors import FolderNotFound, IndexNotFound, UsageError
from annidx.model import Record
from annidx.store import history, identity, snapshot
from annidx.store.manifest import Manifest, Root
from annidx.store.snapshot import Snapshot
from tests.making import add_segment, failure, record


def in_root(root_id: int, each: Record) -> Record:
    return replace(each, file=replace(each.file, root_id=root_id))


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    made = {name: tmp_path / name for name in ("one", "two", "three")}
    for folder in made.values():
        (folder / "sub").mkdir(parents=True)
    return made


@pytest.fixture
def index(tmp_path: Path, folders: dict[str, Path]) -> Path:
    """Two roots with three pictures and a failure, two pictures and a failure."""
    place = tmp_path / "index"
    identity.create(place)
    pictures = [in_root(1 + number // 3, record(number)) for number in range(5)]
    others = [in_root(1, failure(8)), in_root(2, failure(9))]
    entries = (
        add_segment(place, pictures, "pictures"),
        add_segment(place, others, "other"),
    )
    known = [Root(n, os.fsencode(folders[name])) for n, name in ((1, "one"), (2, "two"))]
    manifest = Manifest(0, "", tuple(known), entries, next_root_id=3, next_image_id=10)
    manifest = replace(manifest, counts=roots.counts(Snapshot(place, manifest)))
    snapshot.publish(place, manifest)
    return place


def paths(manifest: Manifest) -> list[bytes]:
    return [root.path for root in manifest.roots]


def test_resolve(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    one = folders["one"]
    (one.parent / "link").symlink_to(one)
    expected = os.fsencode(one.resolve())
    monkeypatch.chdir(one.parent)
    monkeypatch.setenv("HOME", str(one.parent))
    spellings: list[roots.PathLike] = [
        one,
        str(one),
        os.fsencode(one),
        "one",
        f"{one}/",
        "./one/sub/..",
        "link",
        "~/one",
    ]
    assert {roots.resolve(each) for each in spellings} == {expected}


def test_resolve_refuses(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FolderNotFound, match=r"no such folder: .*missing"):
        roots.resolve(tmp_path / "missing")
    with pytest.raises(FolderNotFound, match=r"not a folder: .*file"):
        roots.resolve(tmp_path / "file")


@pytest.mark.parametrize(
    ("known", "added", "expected"),
    [
        ([], [b"/b", b"/a"], [(7, b"/a"), (8, b"/b")]),
        ([b"/a"], [], [(1, b"/a")]),
        ([b"/a"], [b"/a"], [(1, b"/a")]),
        ([b"/a"], [b"/a/b"], [(1, b"/a")]),  # inside a known one
        ([b"/a/b", b"/c"], [b"/a"], [(7, b"/a"), (2, b"/c")]),  # around a known one
        ([b"/a"], [b"/ab", b"/a b"], [(1, b"/a"), (7, b"/a b"), (8, b"/ab")]),
        ([b"/a/b", b"/a/c"], [b"/"], [(7, b"/")]),
        ([], [b"/a/b", b"/a"], [(7, b"/a")]),
    ],
)
def test_merged(known: list[bytes], added: list[bytes], expected: list[tuple[int, bytes]]) -> None:
    before = [Root(number, path) for number, path in enumerate(known, start=1)]
    made, next_id = roots.merged(before, added, 7)
    assert sorted((root.root_id, root.path) for root in made) == sorted(expected)
    assert next_id == 7 + sum(number >= 7 for number, _ in expected)


def test_merged_roots_keep_their_state() -> None:
    known = [Root(1, b"/a", "offline", moved=True)]
    assert roots.merged(known, [b"/b"], 2)[0][0] == known[0]


def test_add(index: Path, folders: dict[str, Path]) -> None:
    manifest = roots.add(index, [folders["three"], folders["one"] / "sub"])
    names = [Path(os.fsdecode(path)).name for path in paths(manifest)]
    assert names == ["one", "three", "two"]
    assert manifest.next_root_id == 4
    assert manifest == snapshot.current(index).manifest
    assert manifest.number == 2


def test_add_to_a_new_index(tmp_path: Path, folders: dict[str, Path]) -> None:
    manifest = roots.add(tmp_path / "new", [folders["one"]])
    assert paths(manifest) == [os.fsencode(folders["one"])]
    assert snapshot.current(tmp_path / "new").manifest == manifest


def test_add_around_a_known_root_keeps_its_pictures(index: Path, tmp_path: Path) -> None:
    """Until the next build hands them over, both are there."""
    roots.add(index, [tmp_path])
    current = snapshot.current(index)
    assert len(current.manifest.roots) == 3
    assert current.manifest.counts == {"ok": 5, "unreadable": 2}
    assert current.pictures.live.all()


def test_add_nothing_that_is_missing(index: Path, tmp_path: Path) -> None:
    with pytest.raises(FolderNotFound):
        roots.add(index, [tmp_path / "missing"])
    assert snapshot.current(index).manifest.number == 1


def test_remove(index: Path, folders: dict[str, Path]) -> None:
    manifest, removed = roots.remove(index, folders["one"])
    assert removed == 3
    assert paths(manifest) == [os.fsencode(folders["two"])]
    assert manifest.counts == {"ok": 2, "unreadable": 1}
    current = snapshot.current(index)
    assert current.manifest == manifest
    assert current.pictures.numbers("image_id")[current.pictures.live].tolist() == [3, 4]
    assert current.other.numbers("image_id")[current.other.live].tolist() == [9]
    assert manifest.next_image_id == 10  # numbers are not used again
    assert folders["one"].is_dir()


def test_remove_a_root_that_is_gone(index: Path, folders: dict[str, Path]) -> None:
    (folders["one"] / "sub").rmdir()
    folders["one"].rmdir()
    assert roots.remove(index, str(folders["one"]))[1] == 3


def test_remove_counts_only_what_was_there(index: Path, folders: dict[str, Path]) -> None:
    current = snapshot.current(index)
    first = replace(current.manifest.segments[0], removed=((0, 2),))
    segments = (first, current.manifest.segments[1])
    snapshot.publish(index, replace(current.manifest, segments=segments))
    assert roots.remove(index, folders["one"])[1] == 1


def test_remove_an_unknown_root(index: Path, folders: dict[str, Path]) -> None:
    with pytest.raises(
        FolderNotFound, match=r"three is not a root of this index; its roots: .*one"
    ):
        roots.remove(index, folders["three"])
    with pytest.raises(FolderNotFound):
        roots.remove(index, folders["one"] / "sub")
    assert snapshot.current(index).manifest.number == 1


def test_move(index: Path, folders: dict[str, Path], tmp_path: Path) -> None:
    folders["one"].rename(tmp_path / "elsewhere")
    manifest = roots.move(index, folders["one"], tmp_path / "elsewhere")
    moved = manifest.roots[0]
    assert moved == Root(1, os.fsencode(tmp_path / "elsewhere"), "online", moved=True)
    assert manifest.roots[1] == Root(2, os.fsencode(folders["two"]))
    current = snapshot.current(index)
    assert current.paths(current.pictures.starts[:1]) == [
        os.fsencode(tmp_path / "elsewhere" / "folder" / "000000.jpg")
    ]


@pytest.mark.parametrize("target", ["two", "two/sub", "."])
def test_move_onto_another_root(
    index: Path, folders: dict[str, Path], tmp_path: Path, target: str
) -> None:
    with pytest.raises(UsageError, match="overlaps with the root"):
        roots.move(index, folders["one"], tmp_path / target)
    assert snapshot.current(index).manifest.number == 1


def test_move_below_itself(index: Path, folders: dict[str, Path]) -> None:
    manifest = roots.move(index, folders["one"], folders["one"] / "sub")
    assert manifest.roots[0].path == os.fsencode(folders["one"] / "sub")


def test_move_what_is_not_there(index: Path, folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(FolderNotFound, match="no such folder"):
        roots.move(index, folders["one"], tmp_path / "missing")
    with pytest.raises(FolderNotFound, match="is not a root"):
        roots.move(index, folders["three"], folders["one"])


def test_without_an_index_nothing_is_made(tmp_path: Path, folders: dict[str, Path]) -> None:
    """A mistyped ``--index`` must not leave a folder behind that is no index."""
    nowhere = tmp_path / "nowhere"
    with pytest.raises(IndexNotFound):
        roots.remove(nowhere, folders["one"])
    with pytest.raises(IndexNotFound):
        roots.move(nowhere, folders["one"], folders["two"])
    assert not nowhere.exists()


def test_a_snapshot_of_roots_has_an_age_of_its_own(tmp_path: Path) -> None:
    place = tmp_path / "index"
    (tmp_path / "photos").mkdir()
    (tmp_path / "scans").mkdir()
    made = [
        roots.add(place, [tmp_path / "photos"]),
        roots.move(place, tmp_path / "photos", tmp_path / "scans"),
        roots.remove(place, tmp_path / "scans")[0],
    ]
    for each in made:
        assert abs(datetime.fromisoformat(each.created).timestamp() - time.time()) < 60
    assert history.prune(place, time.time()).kept == [1, 2, 3]
