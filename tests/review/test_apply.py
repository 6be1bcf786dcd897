"""Applying a plan and undoing it: what moves, what is refused, and that nothing is ever lost."""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from annidx.errors import ActionRefused, IndexLocked
from annidx.images import content
from annidx.review import checking, deciding, moving, planned
from annidx.review.journal import Journal, acting, journals
from annidx.store import files
from tests.commands.running import run
from tests.review.archives import (
    COFFEE,
    COFFEE_EDIT,
    COFFEE_SMALL,
    FOREST,
    Archive,
    nothing_is_lost,
    paths_of,
    reasons,
    tree_of,
)

XMP = b"<x:xmpmeta>5 stars</x:xmpmeta>"


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Return an archive with a photo, its copy in another folder, and another photo."""
    archive = Archive(tmp_path_factory.mktemp("copies"))
    archive.add("a/coffee.jpg", COFFEE)
    archive.add("b/copy.jpg", COFFEE)
    archive.add("b/forest.jpg", FOREST)
    archive.build()
    archive.remember()
    return archive


@pytest.fixture
def copies(first: Archive) -> Archive:
    """Return the same archive as it was at first, built once for all tests."""
    first.restore()
    return first


def test_a_copy_is_moved_aside_and_put_back(copies: Archive) -> None:
    before, plan = copies.tree(), copies.plan()
    assert paths_of(plan, copies) == [("b/copy.jpg", "a/coffee.jpg")]
    report = copies.apply(plan)
    (outcome,) = report.outcomes
    moved = copies.root / ".annidx-removed" / plan.plan_id / "b" / "copy.jpg"
    assert (outcome.result, outcome.to) == ("done", os.fsencode(moved))
    assert not (copies.root / "b" / "copy.jpg").exists()
    assert nothing_is_lost(before, copies.tree())
    assert (copies.root / ".annidx-removed").stat().st_mode & 0o777 == 0o700
    undone = copies.undo()
    assert [each.result for each in undone.returns] == ["done"]
    assert copies.tree() == before
    assert not (copies.root / ".annidx-removed").exists()


def test_the_same_inode_comes_back(copies: Archive) -> None:
    path = copies.root / "b" / "copy.jpg"
    facts = path.stat()
    copies.apply(copies.plan())
    copies.undo()
    now = path.stat()
    assert (now.st_ino, now.st_mtime_ns, now.st_mode) == (
        facts.st_ino,
        facts.st_mtime_ns,
        facts.st_mode,
    )


def test_without_yes_nothing_is_changed(copies: Archive) -> None:
    before = copies.tree()
    report = copies.apply(copies.plan(), act=False)
    assert [each.result for each in report.outcomes] == ["would"]
    assert copies.tree() == before
    assert not list((copies.place / "decisions").iterdir())


def test_what_is_removed_is_not_indexed_again(copies: Archive) -> None:
    copies.apply(copies.plan())
    index = copies.build()
    assert len(index) == 2
    assert not copies.plan().removals


def test_applying_twice_does_nothing_more(copies: Archive) -> None:
    plan = copies.plan()
    copies.apply(plan)
    after = copies.tree()
    assert [each.result for each in copies.apply(plan).outcomes] == ["already"]
    assert copies.tree() == after
    copies.undo()
    assert [each.result for each in copies.apply(plan).outcomes] == ["done"]
    assert copies.tree() == after


def change(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    facts = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))  # so that only the content tells


@pytest.mark.parametrize("act", [True, False])
@pytest.mark.parametrize(
    ("name", "reason"), [("b/copy.jpg", "it has changed"), ("a/coffee.jpg", "the kept file has")]
)
def test_a_file_that_has_changed_since_the_plan_stays(
    copies: Archive, name: str, reason: str, act: bool
) -> None:
    plan = copies.plan()
    change(copies.root / name)
    before = copies.tree()
    report = copies.apply(plan, act=act)
    assert len(reasons(report)) == 1
    assert reason in reasons(report)[0]
    assert copies.tree() == before


@pytest.mark.parametrize("name", ["b/copy.jpg", "a/coffee.jpg"])
@pytest.mark.parametrize("what", ["gone", "link", "fifo", "folder"])
def test_what_is_no_file_any_more_is_refused(copies: Archive, name: str, what: str) -> None:
    plan = copies.plan()
    path = copies.root / name
    path.rename(copies.root / "elsewhere.jpg")
    if what == "link":
        path.symlink_to(copies.root / "elsewhere.jpg")
    elif what == "fifo":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    before = copies.tree()
    assert len(reasons(copies.apply(plan))) == 1
    assert copies.tree() == before


def test_a_link_in_the_place_of_a_folder_leads_nowhere(copies: Archive) -> None:
    """Else the file that is removed would be the one that is kept."""
    plan = copies.plan()
    shutil.rmtree(copies.root / "b")
    shutil.copy(COFFEE, copies.root / "a" / "copy.jpg")
    (copies.root / "b").symlink_to(copies.root / "a")
    before = copies.tree()
    assert len(reasons(copies.apply(plan))) == 1
    assert copies.tree() == before


def test_a_hard_link_is_no_second_copy(copies: Archive) -> None:
    plan = copies.plan()
    path = copies.root / "b" / "copy.jpg"
    path.unlink()
    path.hardlink_to(copies.root / "a" / "coffee.jpg")
    assert "is the same file" in reasons(copies.apply(plan))[0]
    assert path.exists()


def test_hard_links_are_not_planned_for(archive: Archive) -> None:
    """Of two roots, so that the walk takes both names."""
    (archive.root / "one").mkdir()
    (archive.root / "two").mkdir()
    first = archive.add("one/coffee.jpg", COFFEE)
    archive.build(archive.root / "one", archive.root / "two")
    second = archive.root / "two" / "coffee.jpg"
    shutil.copy(COFFEE, second)
    archive.build()
    second.unlink()
    second.hardlink_to(first)
    assert not archive.plan().removals


def test_a_kept_file_that_goes_with_the_removed_one_brings_it_back(
    copies: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when both were one file, seen through two mounts that give it different numbers."""
    plan, before = copies.plan(), copies.tree()
    kept, aside = copies.root / "a" / "coffee.jpg", copies.root / "aside"
    move, moves = moving.move, []

    def moved(source: bytes, target: bytes) -> None:
        move(source, target)
        moves.append(source)
        if len(moves) == 1:
            kept.rename(aside)

    monkeypatch.setattr(moving, "move", moved)
    (reason,) = reasons(copies.apply(plan))
    assert "the kept file was gone with it" in reason
    aside.rename(kept)
    assert copies.tree() == before
    assert Journal(copies.place, plan.plan_id).pending == []


def test_sidecars_go_and_return_with_their_picture(archive: Archive) -> None:
    archive.add("a/coffee.jpg", COFFEE)
    archive.add("b/copy.jpg", COFFEE)
    archive.add("b/copy.xmp", XMP)
    archive.add("b/copy.jpg.xmp", XMP + b"2")
    archive.add("b/copy.AAE", XMP + b"3")
    archive.build()
    before, plan = archive.tree(), archive.plan(reference=[archive.root / "a"])
    report = archive.apply(plan)
    assert sorted(report.outcomes[0].companions) == [b"copy.AAE", b"copy.jpg.xmp", b"copy.xmp"]
    names = {"b/copy.jpg", "b/copy.xmp", "b/copy.jpg.xmp", "b/copy.AAE"}
    assert archive.removed() == names
    assert not list((archive.root / "b").iterdir())
    archive.undo()
    assert archive.tree() == before


def test_a_sidecar_of_two_pictures_goes_with_the_last_of_them(archive: Archive) -> None:
    for folder in ("a", "b"):
        archive.add(f"{folder}/IMG.jpg", COFFEE)
        archive.add(f"{folder}/IMG.png", FOREST)
    archive.add("b/IMG.xmp", XMP)
    archive.build()
    plan = archive.plan(reference=[archive.root / "a"])
    assert len(plan.removals) == 2
    one = replace(plan, removals=plan.removals[:1])
    archive.apply(one)
    assert (archive.root / "b" / "IMG.xmp").exists()
    archive.undo()
    report = archive.apply(plan)
    assert [each.companions for each in report.outcomes] == [(), (b"IMG.xmp",)]
    assert archive.removed() == {"b/IMG.jpg", "b/IMG.png", "b/IMG.xmp"}


def test_a_companion_that_has_changed_keeps_its_picture(archive: Archive) -> None:
    archive.add("a/coffee.jpg", COFFEE)
    archive.add("b/copy.jpg", COFFEE)
    sidecar = archive.add("b/copy.xmp", XMP)
    archive.build()
    plan = archive.plan(reference=[archive.root / "a"])
    sidecar.write_bytes(XMP + b"more")
    before = archive.tree()
    assert "its companion copy.xmp has changed" in reasons(archive.apply(plan))[0]
    assert archive.tree() == before


def test_a_companion_that_cannot_be_moved_brings_its_picture_back(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.add("a/coffee.jpg", COFFEE)
    archive.add("b/copy.jpg", COFFEE)
    archive.add("b/copy.xmp", XMP)
    archive.build()
    before, plan = archive.tree(), archive.plan(reference=[archive.root / "a"])
    move = moving.move

    def moved(source: bytes, target: bytes) -> None:
        if source.endswith(b"b/copy.xmp"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), source)
        move(source, target)

    monkeypatch.setattr(moving, "move", moved)
    assert "Input/output error" in reasons(archive.apply(plan))[0]
    assert archive.tree() == before


def test_halves_of_raw_and_jpeg_go_where_their_copy_stays(archive: Archive) -> None:
    for folder in ("a", "b"):
        archive.add(f"{folder}/IMG.jpg", COFFEE)
        archive.add(f"{folder}/IMG.NEF", b"the same RAW in both")
        archive.add(f"{folder}/IMG.xmp", XMP + folder.encode())
    archive.build()
    before, plan = archive.tree(), archive.plan(reference=[archive.root / "a"])
    assert paths_of(plan, archive) == [("b/IMG.jpg", "a/IMG.jpg"), ("b/IMG.NEF", "a/IMG.NEF")]
    archive.apply(plan)
    assert archive.removed() == {"b/IMG.jpg", "b/IMG.NEF", "b/IMG.xmp"}
    archive.undo()
    assert archive.tree() == before


def test_a_half_without_a_copy_stays_and_keeps_the_sidecar(archive: Archive) -> None:
    for folder in ("a", "b"):
        archive.add(f"{folder}/IMG.jpg", COFFEE)
    archive.add("a/IMG.NEF", b"another RAW")
    archive.add("b/IMG.NEF", b"a RAW of its own")
    archive.add("b/IMG.xmp", XMP)
    archive.build()
    archive.apply(archive.plan(reference=[archive.root / "a"]))
    assert archive.removed() == {"b/IMG.jpg"}
    assert (archive.root / "b" / "IMG.NEF").exists()
    assert (archive.root / "b" / "IMG.xmp").exists()


def test_a_half_stays_when_its_picture_does(archive: Archive) -> None:
    for folder in ("a", "b"):
        archive.add(f"{folder}/IMG.jpg", COFFEE)
        archive.add(f"{folder}/IMG.NEF", b"the same RAW in both")
    archive.build()
    plan = archive.plan(reference=[archive.root / "a"])
    change(archive.root / "b" / "IMG.jpg")
    before = archive.tree()
    assert "stays with" in reasons(archive.apply(plan))[1]
    assert archive.tree() == before


def test_protected_folders_are_looked_at_again(copies: Archive) -> None:
    plan = copies.plan()
    deciding.protect(copies.build(), [copies.root / "b"])
    before = copies.tree()
    assert "lies in the protected folder" in reasons(copies.apply(plan))[0]
    assert copies.tree() == before


def test_a_chain_over_two_plans_does_not_cost_the_picture_between(archive: Archive) -> None:
    for name, source in (("a.jpg", COFFEE_SMALL), ("b.jpg", COFFEE), ("c.jpg", COFFEE_EDIT)):
        archive.add(name, source)
    index = archive.build()
    deciding.remove(index, archive.root / "a.jpg", archive.root / "b.jpg")
    first = archive.plan()
    archive.apply(first)
    deciding.remove(index, archive.root / "b.jpg", archive.root / "c.jpg")
    second = archive.plan()
    assert not second.removals
    assert "earlier plan" in next(each.reason for each in second.refusals if b"b.jpg" in each.path)
    archive.undo()
    deciding.take_back(index, 1)
    late = archive.plan()
    assert paths_of(late, archive) == [("b.jpg", "c.jpg")]
    archive.apply(first)  # and the same between two plans that were made before either was applied
    assert "earlier plan" in reasons(archive.apply(late))[0]


def test_a_full_journal_moves_nothing(copies: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, before = copies.plan(), copies.tree()

    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(files, "append", full)
    assert "No space left" in reasons(copies.apply(plan))[0]
    assert copies.tree() == before


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_journal_that_fills_up_leaves_nothing_moved(
    copies: Archive, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    plan, before = copies.plan(), copies.tree()
    append, calls = files.append, []

    def filling(path: Path, data: bytes) -> None:
        calls.append(path)
        if len(calls) > after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        append(path, data)

    monkeypatch.setattr(files, "append", filling)
    report = copies.apply(plan)
    monkeypatch.undo()
    if after == 1:
        assert "No space left" in reasons(report)[0]
        assert copies.tree() == before
    assert nothing_is_lost(before, copies.tree())
    if copies.tree() != before:
        copies.undo()
    assert copies.tree() == before


def test_nothing_is_overwritten_by_apply_or_undo(copies: Archive) -> None:
    plan = copies.plan()
    path = copies.root / "b" / "copy.jpg"
    copies.apply(plan)
    shutil.copy(FOREST, path)
    before = copies.tree()
    (back,) = copies.undo().returns
    assert back.result == "refused"
    assert "another file lies there now" in back.reason
    assert copies.tree() == before
    path.unlink()
    assert copies.undo().count("done") == 1


def test_undo_makes_the_folder_again(copies: Archive) -> None:
    archive_before = copies.tree()
    copies.apply(copies.plan())
    (copies.root / "b" / "forest.jpg").rename(copies.root / "forest.jpg")
    (copies.root / "b").rmdir()
    copies.undo()
    (copies.root / "forest.jpg").rename(copies.root / "b" / "forest.jpg")
    assert copies.tree() == archive_before


def test_undo_finds_a_root_that_lies_elsewhere_now(copies: Archive) -> None:
    before = copies.tree()
    copies.apply(copies.plan())
    moved = copies.root.with_name("moved")
    for old, new in ((copies.root, moved), (moved, copies.root), (copies.root, moved)):
        old.rename(new)
        run("roots", "move", old, new, index=copies.place)
    undone = copies.undo()
    assert [each.path for each in undone.returns] == [os.fsencode(moved / "b" / "copy.jpg")]
    assert tree_of(moved) == before
    moved.rename(copies.root)
    run("roots", "move", moved, copies.root, index=copies.place)
    (journal,) = journals(copies.place)
    assert list(journal.entries) == [os.fsencode(copies.root / "b" / "copy.jpg")]
    assert journal.pending == []


def test_a_plan_of_another_index_or_digest_is_refused(copies: Archive, tmp_path: Path) -> None:
    plan = copies.plan()
    with pytest.raises(ActionRefused, match="was made for the index"):
        copies.apply(replace(plan, index_id="f" * 32))
    with pytest.raises(ActionRefused, match="not the one that was confirmed"):
        copies.apply(plan, digest="0" * 64)
    assert copies.apply(plan, digest=plan.digest, act=False).count("would") == 1


def test_a_plan_that_removes_what_it_keeps_is_refused(copies: Archive) -> None:
    plan = copies.plan()
    (one,) = plan.removals
    turned = replace(one, path=one.kept, kept=one.path)
    for removals in ((one, turned), (one, one)):
        with pytest.raises(ActionRefused, match="remove a file twice, or one that it keeps"):
            copies.apply(replace(plan, removals=removals))


@pytest.mark.parametrize(
    "changes",
    [
        {"path": b"/nowhere/else.jpg"},
        {"path": b"relative.jpg"},
        {"companions": (planned.Companion(b"../a/coffee.jpg", 1, bytes(32)),)},
    ],
    ids=str,
)
def test_odd_paths_in_a_plan_are_refused(copies: Archive, changes: dict[str, Any]) -> None:
    plan, before = copies.plan(), copies.tree()
    changed = replace(plan, removals=(replace(plan.removals[0], **changes),))
    assert len(reasons(copies.apply(changed))) == 1
    assert copies.tree() == before


def test_what_was_decided_since_the_plan_counts(copies: Archive) -> None:
    plan, before = copies.plan(), copies.tree()
    one, other = copies.root / "b" / "copy.jpg", copies.root / "a" / "coffee.jpg"
    for decide in ("keep", "not-duplicate"):
        if decide == "keep":
            deciding.keep(copies.open(), [one])
        else:
            deciding.not_duplicates(copies.open(), one, other)
        assert "was decided to stay" in reasons(copies.apply(plan))[0]
        deciding.take_back(copies.open())
    assert copies.tree() == before
    assert copies.apply(plan).count("done") == 1


def test_a_kept_file_is_kept_by_all_its_names(archive: Archive) -> None:
    """C goes for B, and A for another one: A and B are one file, which must not go."""
    for name, source in (("a.jpg", COFFEE), ("other.jpg", COFFEE), ("c.jpg", COFFEE_EDIT)):
        archive.add(name, source)
    archive.add("b.jpg", COFFEE)
    index = archive.build()
    deciding.remove(index, archive.root / "c.jpg", archive.root / "b.jpg")
    deciding.remove(index, archive.root / "a.jpg", archive.root / "other.jpg")
    plan = archive.plan(auto="none")
    assert len(plan.removals) == 2
    (archive.root / "b.jpg").unlink()
    (archive.root / "b.jpg").hardlink_to(archive.root / "a.jpg")
    assert paths_of(archive.plan(auto="none"), archive) == [("c.jpg", "b.jpg")]
    assert reasons(archive.apply(plan)) == ["is a file that this plan keeps, by another name"]
    assert archive.removed() == {"c.jpg"}


def test_a_build_does_not_take_what_was_cleared_up_for_lost(archive: Archive) -> None:
    archive.add("coffee.jpg", COFFEE)
    for number in range(3):
        archive.add(f"{number}/copy.jpg", COFFEE)
    archive.build()
    plan = archive.plan(reference=[archive.root / "coffee.jpg"])
    for how in ("remove", "hardlink"):
        archive.apply(plan, how=how)
        run("build", "--max-removed", "0", index=archive.place)
        archive.undo()
        run("build", "--max-removed", "0", index=archive.place)
    (archive.root / "1" / "copy.jpg").unlink()
    run("build", "--max-removed", "0", index=archive.place, code=14)


def test_one_at_a_time(copies: Archive) -> None:
    plan = copies.plan()
    with acting(copies.place), pytest.raises(IndexLocked, match="another apply, undo or purge"):
        copies.apply(plan)


def test_without_renameat2(copies: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    before, plan = copies.tree(), copies.plan()
    monkeypatch.setattr(moving, "_libc", None)
    copies.apply(plan)
    assert copies.removed() == {"b/copy.jpg"}
    copies.undo()
    assert copies.tree() == before


@pytest.mark.parametrize("linking", [False, True])
def test_a_name_that_is_taken_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, linking: bool
) -> None:
    if linking:
        monkeypatch.setattr(moving, "_libc", None)
    one, other = tmp_path.resolve() / "one", tmp_path.resolve() / "other"
    one.write_text("one")
    other.write_text("other")
    with pytest.raises(FileExistsError):
        moving.move(os.fsencode(one), os.fsencode(other))
    assert (one.read_text(), other.read_text()) == ("one", "other")


def test_odd_names_go_and_return(archive: Archive) -> None:
    archive.add("a/coffee.jpg", COFFEE)
    archive.add(b"b/\xff new\nline.jpg", COFFEE)
    archive.add("b/-rf .jpg", COFFEE)
    archive.add("b/" + "x" * 200 + "/" + "y" * 240 + ".jpg", COFFEE)
    archive.build()
    before = archive.tree()
    plan = archive.plan(reference=[archive.root / "a"])
    data = planned.to_bytes(plan)
    (archive.root.parent / "plan").write_bytes(data)
    loaded = planned.load(archive.root.parent / "plan")
    assert loaded == plan
    assert archive.apply(loaded).count("done") == 3
    assert nothing_is_lost(before, archive.tree())
    archive.undo()
    assert archive.tree() == before


def test_each_step_is_noted_before_and_after(
    copies: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, steps = copies.plan(), []
    note, rename = Journal.note, moving.rename

    def noted(self: Journal, entry: Any, state: Any = None) -> Any:
        steps.append(state or entry.state)
        return note(self, entry, state)

    def renamed(*words: Any) -> None:
        steps.append("rename")
        rename(*words)

    monkeypatch.setattr(Journal, "note", noted)
    monkeypatch.setattr(moving, "rename", renamed)
    copies.apply(plan)
    copies.undo()
    assert steps == ["moving", "rename", "moved", "returning", "rename", "returned"]


def test_a_write_during_the_check_is_noticed(
    copies: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = copies.plan()
    streamed = content.streamed_hash

    def hashed(handle: Any) -> bytes:
        found = streamed(handle)
        with (copies.root / "b" / "copy.jpg").open("ab") as other:
            other.write(b"more")
        return found

    monkeypatch.setattr(moving, "streamed_hash", hashed)
    assert "changes while it is read" in reasons(copies.apply(plan))[0]
    assert (copies.root / "b" / "copy.jpg").exists()


def test_protected_by_another_way(tmp_path: Path) -> None:
    """The same folder under another name, as by a bind mount, is told by its inode."""
    folder = tmp_path.resolve() / "albums"
    (folder / "2019").mkdir(parents=True)
    protected = checking.Protected([os.fsencode(folder)])
    assert protected(os.fsencode(folder / "2019" / "x.jpg"))
    again = checking.Protected([b"/nowhere"])
    again._known = protected._known
    assert again(os.fsencode(folder / "2019" / "x.jpg")) == os.fsencode(folder)
    assert not again(os.fsencode(tmp_path / "x.jpg"))
