"""annidx.images.scan: what comes out of a walk, in which order, and what is left out."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import stat
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from annidx.images import mounts
from annidx.images.scan import Walk, is_inside, merge_nested


def make(folder: Path, *names: str | bytes) -> bytes:
    """Make small files under a folder, with the folders they need; return the folder as bytes."""
    for name in names:
        path = folder / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(path))
    return bytes(folder)


def paths(walk: Walk) -> list[bytes]:
    return [file.path for file in walk.files()]


@contextlib.contextmanager
def nested(folder: Path, name: str, levels: int) -> Iterator[None]:
    """Nest folders of one name, with a file a.jpg in the innermost; take them down again.

    Step by step, since the whole path may be longer than the system takes, and so may what
    shutil.rmtree can recurse into.
    """
    handle = os.open(folder, os.O_RDONLY)
    steps = 0
    try:
        for _ in range(levels):
            os.mkdir(name, dir_fd=handle)
            steps += 1
            handle = step(handle, name)
        os.close(os.open("a.jpg", os.O_CREAT | os.O_WRONLY, dir_fd=handle))
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink("a.jpg", dir_fd=handle)
        for _ in range(steps):
            handle = step(handle, "..")
            os.rmdir(name, dir_fd=handle)
        os.close(handle)


def step(handle: int, name: str) -> int:
    """Go from an open folder to another one, and close the first."""
    there = os.open(name, os.O_RDONLY, dir_fd=handle)
    os.close(handle)
    return there


def test_files_come_in_the_order_of_their_path_bytes(tmp_path: Path) -> None:
    names = [
        "a b",
        "a-b",
        "a-b.jpg",
        "a.jpg",
        "a/b",
        "a/b-",
        "a/c/d",
        "a0",
        "A/z",
        "é/1",
        "z",
        "a~",
    ]
    root = make(tmp_path, *names)
    assert paths(Walk([(1, root)])) == sorted(map(os.fsencode, names))
    assert paths(Walk([(1, root)]))[:4] == [b"A/z", b"a b", b"a-b", b"a-b.jpg"]


def test_any_tree_comes_in_the_order_of_its_path_bytes(tmp_path: Path) -> None:
    rng = random.Random(1)
    names: set[bytes] = set()
    for _ in range(400):
        parts = [bytes(rng.choices(b"a-0 ~\xff", k=rng.randint(1, 2))) for _ in range(4)]
        name = b"/".join(parts[: rng.randint(1, 4)])
        if not any(is_inside(name, other) or is_inside(other, name) for other in names):
            names.add(name)
    assert len(names) > 100
    assert paths(Walk([(1, make(tmp_path, *names))])) == sorted(names)


def test_roots_come_one_after_the_other(tmp_path: Path) -> None:
    first, second = make(tmp_path / "b", "x.jpg"), make(tmp_path / "a", "y.jpg", "z.jpg")
    found = [(file.root_id, file.path) for file in Walk([(7, first), (3, second)]).files()]
    assert found == [(7, b"x.jpg"), (3, b"y.jpg"), (3, b"z.jpg")]


def test_a_file_carries_the_facts_of_its_directory_entry(tmp_path: Path) -> None:
    root = make(tmp_path, "folder/a.jpg")
    path = tmp_path / "folder" / "a.jpg"
    os.utime(path, ns=(0, 1_234_567_890_123_456_789))
    (file,) = Walk([(5, root)]).files()
    facts = path.stat()
    assert (file.root_id, file.path, file.size) == (5, b"folder/a.jpg", len(bytes(path)))
    assert file.mtime_ns == facts.st_mtime_ns == 1_234_567_890_123_456_789
    assert (file.device, file.inode) == (facts.st_dev, facts.st_ino)


def test_a_picture_carries_its_companions(tmp_path: Path) -> None:
    names = ["a.jpg", "a.NEF", "a.xmp", "b/a.mov", "b/a.xmp", "b/c.heic", "b/c.mov", "b/c.jpg.xmp"]
    walk = Walk([(1, make(tmp_path, *names, "d.jpg", ".d.xmp", "e.jpg", "e.xmp/f"))])
    found = {file.path: file.companions for file in walk.files()}
    assert {path: names for path, names in found.items() if names} == {
        b"a.NEF": (b"a.jpg", b"a.xmp"),
        b"a.jpg": (b"a.NEF", b"a.xmp"),
        b"b/c.heic": (b"c.mov",),
    }
    assert len(found) == len(names) + 3  # companions are files like others


def test_an_excluded_companion_is_still_one(tmp_path: Path) -> None:
    walk = Walk([(1, make(tmp_path, "a.heic", "a.mov"))], exclude=[b"*.mov"])
    assert [(file.path, file.companions) for file in walk.files()] == [(b"a.heic", (b"a.mov",))]


def mounted_as(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a folder's file system pass for one of another type."""
    device = folder.stat().st_dev
    table = folder / ".mountinfo"
    numbers = f"{os.major(device)}:{os.minor(device)}"
    table.write_text(f"30 27 {numbers} / {folder} rw - {kind} source rw\n")
    monkeypatch.setattr(mounts, "_MOUNTINFO", table)


def test_inodes_that_do_not_last_are_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make(tmp_path, "a.jpg", "b/c.jpg", "d.jpg")
    (tmp_path / "b" / "link.jpg").hardlink_to(tmp_path / "a.jpg")
    mounted_as("fuse.sshfs", tmp_path, monkeypatch)
    walk = Walk([(1, root)])
    found = [(file.path, file.device, file.inode) for file in walk.files()]
    names = [b"a.jpg", b"b/c.jpg", b"b/link.jpg", b"d.jpg"]
    assert found == [(name, 0, 0) for name in names]
    assert walk.left_out == {"hidden": 1}
    mounted_as("nfs4", tmp_path, monkeypatch)
    walk = Walk([(1, root)])
    assert all(file.device and file.inode for file in walk.files())
    assert walk.left_out == {"hidden": 1, "hard link": 1}


def test_a_folder_with_a_made_up_inode_is_no_other_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make(tmp_path, "a/1.jpg", "b/2.jpg")
    mounted_as("cifs", tmp_path, monkeypatch)
    first, real = os.lstat(tmp_path / "a"), os.lstat
    as_first = {bytes(tmp_path / "b"): first}
    monkeypatch.setattr(os, "lstat", lambda path: as_first.get(path) or real(path))
    assert paths(Walk([(1, root)])) == [b"a/1.jpg", b"b/2.jpg"]


def test_only_the_names_of_a_folder_are_held(tmp_path: Path) -> None:
    number = 4000
    for at in range(number):
        (tmp_path / f"IMG_{at:08d}.jpg").touch()
    files = Walk([(1, bytes(tmp_path))]).files()
    tracemalloc.start()
    try:
        assert sum(1 for _ in files) == number
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 120 * number  # 60 measured; with directory entries and facts 700


def test_no_file_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make(tmp_path, "a.jpg", "b/c.jpg")

    def refuse(*_: object, **__: object) -> NoReturn:
        pytest.fail("the walk opened something")

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        patch.setattr("builtins.open", refuse)
        found = paths(Walk([(1, root)]))
    assert found == [b"a.jpg", b"b/c.jpg"]


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    walk = Walk([(1, make(tmp_path, ".a.jpg", ".thumbnails/b.jpg", "c/.d/e.jpg", "c/f.jpg"))])
    assert paths(walk) == [b"c/f.jpg"]
    assert walk.left_out == {"hidden": 3}


@pytest.mark.parametrize(
    "folder",
    [
        "@eaDir",
        "#recycle",
        "@Recycle",
        "$RECYCLE.BIN",
        "lost+found",
        "Photos Library.photoslibrary",
        "iPhoto.photolibrary",
        "Aperture.aplibrary",
        "old.migratedphotolibrary",
        "Catalogue Previews.lrdata",
        "Catalogue.lrcat-data",
        "Session.cocatalog",
        "Media.dtMedia",
    ],
)
def test_derivatives_are_left_out(tmp_path: Path, folder: str) -> None:
    walk = Walk([(1, make(tmp_path, f"x/{folder}/masters/a.jpg", "x/b.jpg", "c.jpg"))])
    assert paths(walk) == [b"c.jpg", b"x/b.jpg"]
    assert walk.left_out == {"derivatives": 1}


def test_a_file_with_the_name_of_a_catalogue_is_a_file(tmp_path: Path) -> None:
    names = ["@eaDir", "a.lrdata", "b.photoslibrary"]
    assert paths(Walk([(1, make(tmp_path, *names))])) == sorted(map(os.fsencode, names))


def test_an_index_is_left_out_wherever_it_lies(tmp_path: Path) -> None:
    root = make(tmp_path, "i/annidx.json", "i/a.jpg", "i/tmp/b.jpg", "j/annidx.jsons", "k.jpg")
    walk = Walk([(1, root)])
    assert paths(walk) == [b"j/annidx.jsons", b"k.jpg"]
    assert walk.left_out == {"index": 1}
    assert paths(Walk([(1, bytes(tmp_path / "i"))])) == []


@pytest.mark.parametrize(
    ("exclude", "left", "count"),
    [
        ([], "a.jpg a.png b/a.jpg b/c/a.png d/b/a.jpg", 0),
        ([b"*.png"], "a.jpg b/a.jpg d/b/a.jpg", 2),
        ([b"b"], "a.jpg a.png", 2),  # by name, at any depth
        ([b"d/b"], "a.jpg a.png b/a.jpg b/c/a.png", 1),  # by path
        ([b"b/*"], "a.jpg a.png d/b/a.jpg", 2),
        ([b"?.jpg", b"d"], "a.png b/c/a.png", 3),
        ([b"a"], "a.jpg a.png b/a.jpg b/c/a.png d/b/a.jpg", 0),  # a whole name, no part of it
        ([b"*.PNG"], "a.jpg a.png b/a.jpg b/c/a.png d/b/a.jpg", 0),
        ([b"*"], "", 4),
    ],
)
def test_exclude(tmp_path: Path, exclude: list[bytes], left: str, count: int) -> None:
    root = make(tmp_path / "b", "a.jpg", "a.png", "b/a.jpg", "b/c/a.png", "d/b/a.jpg")
    walk = Walk([(1, root)], exclude=exclude)
    assert paths(walk) == [os.fsencode(name) for name in left.split()]
    assert walk.left_out == Counter({"excluded": count} if count else {})


def test_symbolic_links_are_not_followed(tmp_path: Path) -> None:
    elsewhere = make(tmp_path / "elsewhere", "b.jpg")
    root = make(tmp_path / "root", "a.jpg", "folder/c.jpg")
    for name, target in {
        "file.jpg": "a.jpg",
        "folder-link": os.fsdecode(elsewhere),
        "folder/loop": "..",
        "itself.jpg": "itself.jpg",
        "nowhere.jpg": "nothing",
    }.items():
        (tmp_path / "root" / name).symlink_to(target)
    walk = Walk([(1, root)])
    assert paths(walk) == [b"a.jpg", b"folder/c.jpg"]
    assert walk.left_out == {"symlink": 5}


@pytest.mark.timeout(10)
def test_fifos_and_sockets_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make(tmp_path, "a.jpg")
    monkeypatch.chdir(tmp_path)  # the address of a socket has no room for a long path
    os.mkfifo("b.jpg")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("c.jpg")
        walk = Walk([(1, root)])
        assert paths(walk) == [b"a.jpg"]
    assert walk.left_out == {"special": 2}


@pytest.mark.timeout(10)
def test_devices_are_left_alone(tmp_path: Path) -> None:
    root = make(tmp_path, "a.jpg")
    try:
        os.mknod(tmp_path / "b.jpg", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only the superuser makes devices")
    walk = Walk([(1, root)])
    assert paths(walk) == [b"a.jpg"]
    assert walk.left_out == {"special": 1}


def test_marks_for_other_programs_change_nothing(tmp_path: Path) -> None:
    walk = Walk([(1, make(tmp_path, "a/.nomedia", "a/b.jpg", "Thumbs/c.jpg", "Thumbs.db"))])
    assert paths(walk) == [b"Thumbs.db", b"Thumbs/c.jpg", b"a/b.jpg"]
    assert walk.left_out == {"hidden": 1}


def test_of_hard_links_the_first_one_counts(tmp_path: Path) -> None:
    first, second = make(tmp_path / "1", "b.jpg"), make(tmp_path / "2", "d.jpg")
    for link in ("1/a.jpg", "1/c/e.jpg", "2/b.jpg"):
        (tmp_path / link).parent.mkdir(exist_ok=True)
        (tmp_path / link).hardlink_to(tmp_path / "1" / "b.jpg")
    walk = Walk([(1, first), (2, second)])
    assert paths(walk) == [b"a.jpg", b"d.jpg"]
    assert walk.left_out == {"hard link": 3}


def test_a_link_beyond_the_roots_hides_nothing(tmp_path: Path) -> None:
    root = make(tmp_path / "root", "a.jpg")
    (tmp_path / "other.jpg").hardlink_to(tmp_path / "root" / "a.jpg")
    walk = Walk([(1, root)])
    assert paths(walk) == [b"a.jpg"]
    assert not walk.left_out


@pytest.mark.parametrize("function", ["lstat", "scandir"])
def test_an_unreadable_folder_costs_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    root = make(tmp_path, "a/1.jpg", "b\n/2.jpg", "b\n/c/3.jpg", "d/4.jpg")
    locked = bytes(tmp_path / "b\n")
    real = getattr(os, function)

    def guarded(path: bytes, *args: Any, **options: Any) -> Any:
        if path == locked:
            raise PermissionError(13, "Permission denied", path)
        return real(path, *args, **options)

    monkeypatch.setattr(os, function, guarded)
    walk = Walk([(1, root)])
    assert paths(walk) == [b"a/1.jpg", b"d/4.jpg"]
    assert walk.left_out == {"unreadable folder": 1}
    assert walk.unlisted == [locked]
    (problem,) = walk.problems
    assert problem.endswith("folder cannot be listed: Permission denied")
    assert os.fsdecode(root) in problem
    assert len(problem.splitlines()) == 1


@pytest.mark.parametrize("name", ["missing", "file"])
def test_a_root_that_is_no_folder_is_reported(tmp_path: Path, name: str) -> None:
    make(tmp_path, "good/a.jpg", "file")
    bad = bytes(tmp_path / name)
    walk = Walk([(1, bad), (2, bytes(tmp_path / "good"))])
    assert paths(walk) == [b"a.jpg"]
    assert [path.rstrip(b"/") for path in walk.unlisted] == [bad]
    assert walk.left_out == {"unreadable folder": 1}


def test_what_vanishes_during_the_walk_is_counted(tmp_path: Path) -> None:
    walk = Walk([(1, make(tmp_path, "a.jpg", "b.jpg", "c.jpg"))])
    files = walk.files()
    assert next(files).path == b"a.jpg"
    (tmp_path / "b.jpg").unlink()
    assert [file.path for file in files] == [b"c.jpg"]
    assert walk.left_out == {"vanished": 1}


@pytest.mark.parametrize("instead", ["nothing", "file", "link", "loop"])
def test_a_folder_that_is_gone_when_it_is_entered_is_reported(tmp_path: Path, instead: str) -> None:
    root = make(tmp_path / "root", "a.jpg", "b/c.jpg", "d.jpg")
    elsewhere = tmp_path / "elsewhere"
    make(elsewhere, "e.jpg")
    walk = Walk([(1, root)])
    files = walk.files()
    assert next(files).path == b"a.jpg"
    folder = tmp_path / "root" / "b"
    (folder / "c.jpg").unlink()
    folder.rmdir()
    if instead == "file":
        folder.touch()
    elif instead != "nothing":
        folder.symlink_to(elsewhere if instead == "link" else folder)
    assert [file.path for file in files] == [b"d.jpg"]
    # Nothing is known of what it held: its pictures are kept until the next walk.
    assert walk.left_out == {"unreadable folder": 1}
    assert walk.unlisted == [bytes(folder)]


def test_a_folder_in_the_place_of_a_file_has_to_wait(tmp_path: Path) -> None:
    walk = Walk([(1, make(tmp_path, "a.jpg", "b.jpg", "c.jpg"))])
    files = walk.files()
    next(files)
    (tmp_path / "b.jpg").unlink()
    make(tmp_path, "b.jpg/d.jpg")
    assert [file.path for file in files] == [b"c.jpg"]
    assert walk.left_out == {"vanished": 1}


def test_files_that_cannot_be_examined_have_not_vanished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of mode 0444 can be listed, and nothing in it can be looked at."""
    root = make(tmp_path, "a.jpg", "b/1.jpg", "b/2.jpg", "c.jpg")
    locked, real = tmp_path / "b", os.lstat

    def guarded(path: bytes) -> os.stat_result:
        if path.startswith(bytes(locked) + b"/"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "lstat", guarded)
    walk = Walk([(1, root)])
    assert paths(walk) == [b"a.jpg", b"c.jpg"]
    assert walk.left_out == {"unreadable folder": 1}
    assert walk.unlisted == [bytes(locked)]
    (problem,) = walk.problems
    assert problem.endswith("folder has files that cannot be examined: Permission denied")


def test_a_folder_reached_twice_is_walked_once(tmp_path: Path) -> None:
    root = make(tmp_path / "root", "a.jpg", "inner/b.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "root")
    others = [(2, bytes(tmp_path / "link")), (3, bytes(tmp_path / "root" / "inner"))]
    walk = Walk([(1, root), *others])
    assert [(file.root_id, file.path) for file in walk.files()] == [
        (1, b"a.jpg"),
        (1, b"inner/b.jpg"),
    ]
    assert walk.left_out == {"seen folder": 2}


def test_names_are_bytes(tmp_path: Path) -> None:
    names = [b"caf\xe9.jpg", b"line\nbreak.jpg", b"line\n/b.jpg", b"\xff\xfe/\x80.jpg", b" ", b"\\"]
    walk = Walk([(1, make(tmp_path, *names))], exclude=[b"\x80*"])
    assert paths(walk) == sorted({*names} - {b"\xff\xfe/\x80.jpg"})


def test_names_may_be_as_long_as_the_system_takes(tmp_path: Path) -> None:
    names = [b"n" * 251 + b".jpg", b"d" * 255 + b"/" + b"\xff\n" * 125 + b".jpg"]
    assert paths(Walk([(1, make(tmp_path, *names))])) == sorted(names)


def test_folders_may_nest_deeper_than_python_recurses(tmp_path: Path) -> None:
    with nested(tmp_path, "d", 1200):
        walk = Walk([(1, os.fsencode(tmp_path))])
        assert paths(walk) == [b"d/" * 1200 + b"a.jpg"]
        assert not walk.left_out


def test_a_path_too_long_for_the_system_is_reported(tmp_path: Path) -> None:
    root = make(tmp_path, "a.jpg", "z/b.jpg")
    with nested(tmp_path, "f" * 200, 30):
        walk = Walk([(1, root)])
        assert paths(walk) == [b"a.jpg", b"z/b.jpg"]
        assert walk.left_out == {"unreadable folder": 1}
        (problem,) = walk.problems
        assert problem.endswith("File name too long")


@pytest.mark.parametrize(
    ("given", "merged"),
    [
        ([], []),
        ([b"/a"], [b"/a"]),
        ([b"/a", b"/a"], [b"/a"]),
        ([b"/a/b/c", b"/a", b"/a/b"], [b"/a"]),
        ([b"/b", b"/a"], [b"/a", b"/b"]),
        ([b"/a/b", b"/a-b", b"/a"], [b"/a-b", b"/a"]),
        ([b"/ab/c", b"/a", b"/ab"], [b"/a", b"/ab"]),
        ([b"/x", b"/"], [b"/"]),
        ([b"/a/\xff", b"/a/\xff/c"], [b"/a/\xff"]),
    ],
)
def test_merge_nested(given: list[bytes], merged: list[bytes]) -> None:
    assert sorted(merge_nested(given)) == sorted(merged)
    assert merge_nested(given) == merge_nested(given[::-1])


@pytest.mark.parametrize(
    ("path", "folder", "inside"),
    [
        (b"/a", b"/a", True),
        (b"/a/b", b"/a", True),
        (b"/a/b", b"/a/", True),
        (b"/a", b"/", True),
        (b"/ab", b"/a", False),
        (b"/a-b", b"/a", False),
        (b"/a", b"/a/b", False),
    ],
)
def test_is_inside(path: bytes, folder: bytes, inside: bool) -> None:
    assert is_inside(path, folder) is inside
