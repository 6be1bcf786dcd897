"""Links and clones in the place of identical files, and the desktop's trash."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
from pathlib import Path

import pytest

from annidx.review import deciding, moving, trash
from annidx.review.journal import Journal
from tests.review.archives import (
    COFFEE,
    COFFEE_EDIT,
    Archive,
    nothing_is_lost,
    reasons,
)

XMP = b"<x:xmpmeta/>"


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Return an archive of a photo, a copy with a sidecar, and an edit."""
    archive = Archive(tmp_path_factory.mktemp("replacing"))
    archive.add("a/coffee.jpg", COFFEE)
    archive.add("b/copy.jpg", COFFEE).chmod(0o640)
    archive.add("b/copy.xmp", XMP)
    archive.add("c/edit.jpg", COFFEE_EDIT)
    archive.build()
    archive.remember()
    return archive


@pytest.fixture
def copies(first: Archive) -> Archive:
    """Return the same archive as it was at first."""
    first.restore()
    return first


def clone_by_copying(source: moving.Held, target: bytes, facts: os.stat_result) -> None:
    """Stand in for FICLONE, which few file systems of test machines have."""
    source.handle.seek(0)
    path = Path(os.fsdecode(target))
    with path.open("xb") as handle:
        handle.write(source.handle.read())
    path.chmod(stat.S_IMODE(facts.st_mode))
    os.utime(target, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def test_a_hard_link_takes_the_place_of_a_copy_and_undo_brings_it_back(copies: Archive) -> None:
    before = copies.tree()
    copy, kept = copies.root / "b" / "copy.jpg", copies.root / "a" / "coffee.jpg"
    inode = copy.stat().st_ino
    plan = copies.plan()
    report = copies.apply(plan, how="hardlink")
    assert [(each.result, each.companions) for each in report.outcomes] == [("done", ())]
    assert copy.stat().st_ino == kept.stat().st_ino
    assert (copies.root / "b" / "copy.xmp").exists()  # its picture is still there
    assert copies.removed() == {"b/copy.jpg"}
    assert not list((copies.root / "b").glob(".annidx-*"))
    assert [e.result for e in copies.apply(plan, how="hardlink").outcomes] == ["already"]
    copies.undo()
    assert copies.tree() == before
    assert copy.stat().st_ino == inode


def test_only_byte_identical_files_are_linked(copies: Archive) -> None:
    edit, kept = copies.root / "c" / "edit.jpg", copies.root / "a" / "coffee.jpg"
    deciding.remove(copies.open(), edit, kept)
    before = copies.tree()
    for how in ("hardlink", "reflink"):
        report = copies.apply(copies.plan(auto="none"), how=how)
        assert "not byte-identical" in reasons(report)[0]
    assert copies.tree() == before


def test_no_clone_where_the_file_system_makes_none(
    copies: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(fcntl, "ioctl", refusing)
    before = copies.tree()
    assert "no reflink can be made" in reasons(copies.apply(copies.plan(), how="reflink"))[0]
    assert copies.tree() == before
    assert not list(copies.root.rglob(".annidx*"))


def test_a_clone_has_the_mode_and_times_of_what_it_replaces(
    copies: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "clone", clone_by_copying)
    before = copies.tree()
    copy = copies.root / "b" / "copy.jpg"
    facts = copy.stat()
    copies.apply(copies.plan(), how="reflink")
    now = copy.stat()
    assert now.st_ino != facts.st_ino
    assert (now.st_mtime_ns, now.st_mode) == (facts.st_mtime_ns, facts.st_mode)
    copies.undo()
    assert copies.tree() == before


def test_a_clone_that_was_changed_since_is_not_taken_away(
    copies: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "clone", clone_by_copying)
    copies.apply(copies.plan(), how="reflink")
    copy = copies.root / "b" / "copy.jpg"
    copy.write_bytes(b"edited in place")
    before = copies.tree()
    (back,) = copies.undo().returns
    assert "was changed" in back.reason
    assert copies.tree() == before
    copy.unlink()
    assert copies.undo().count("done") == 1


def test_one_way_at_a_time(copies: Archive) -> None:
    plan = copies.plan()
    copies.apply(plan, how="hardlink")
    with pytest.raises(Exception, match="was begun by hardlink: undo that first"):
        copies.apply(plan)


def test_the_trash_gives_back_what_it_still_has(
    copies: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("send2trash")
    monkeypatch.setenv("XDG_DATA_HOME", str(copies.root.parent / "data"))
    before, plan = copies.tree(), copies.plan()
    plugin = pytest.importorskip("send2trash.plat_other", reason="needs the XDG trash")
    home = os.fsencode(copies.root.parent / "data" / "Trash")
    for name in ("HOMETRASH", "HOMETRASH_B"):
        if hasattr(plugin, name):
            monkeypatch.setattr(plugin, name, home if name.endswith("B") else os.fsdecode(home))
    report = copies.apply(plan, how="trash")
    (outcome,) = report.outcomes
    assert outcome.to.startswith(home + b"/files/")
    assert outcome.companions == (b"copy.xmp",)
    assert not list((copies.root / "b").iterdir())
    assert copies.undo().count("done") == 2
    assert copies.tree() == before
    assert not list(Path(os.fsdecode(home), "info").iterdir())


def test_what_the_trash_no_longer_has_is_said_to_be_gone(
    copies: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trash, "put", os.unlink)
    copies.apply(copies.plan(), how="trash")
    (first, _) = copies.undo().returns
    assert "not at a known place" in first.reason


def test_a_trash_that_refuses_changes_nothing(
    copies: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    send2trash = pytest.importorskip("send2trash")

    def refusing(_: object) -> None:
        raise PermissionError(errno.EACCES, "no trash here")

    monkeypatch.setattr(send2trash, "send2trash", refusing)
    before, plan = copies.tree(), copies.plan()
    assert "the trash does not take it" in reasons(copies.apply(plan, how="trash"))[0]
    assert copies.tree() == before
    assert Journal(copies.place, plan.plan_id).pending == []


def test_notes_of_a_trash_are_read_as_they_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    where = tmp_path / "Trash"
    for name in ("files", "info"):
        (where / name).mkdir(parents=True)
    shutil.copy(COFFEE, where / "files" / "x.2.jpg")
    (where / "info" / "x.2.jpg.trashinfo").write_text("[Trash Info]\nPath=/p/a%20%FF/x.jpg\n")
    found = trash.found(b"/p/a \xff/x.jpg", None)
    assert found == os.fsencode(where / "files" / "x.2.jpg")
    assert trash.found(b"/p/x.jpg", None) == b""
    assert trash.found(b"/p/a \xff/x.jpg", moving.Identity(1, 2)) == b""


def test_nothing_is_lost_when_the_link_cannot_take_its_place(
    copies: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, move = copies.tree(), moving.move

    def failing(source: bytes, target: bytes) -> None:
        if b"/.annidx-2" in source:
            raise OSError(errno.EIO, os.strerror(errno.EIO), source)
        move(source, target)

    monkeypatch.setattr(moving, "move", failing)
    assert "Input/output" in reasons(copies.apply(copies.plan(), how="hardlink"))[0]
    assert nothing_is_lost(before, copies.tree())
    assert copies.tree() == before
