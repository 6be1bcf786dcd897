"""Other file systems below a root, full ones, one file seen through two mounts; as root only."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from annidx.review import moving
from tests.review.archives import COFFEE, FOREST, Archive, nothing_is_lost, paths_of, reasons


@contextmanager
def mounted(where: Path, *words: str) -> Iterator[Path]:
    """Mount something for a while, or skip the test."""
    where.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", *words, where], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount here: {done.stderr.decode().strip()}")
    try:
        yield where
    finally:
        subprocess.run(["umount", "--lazy", where], capture_output=True, check=False)


@pytest.fixture(autouse=True)
def _as_root() -> None:
    if os.getuid() != 0:
        pytest.skip("mounting takes root")


def test_each_file_system_has_its_own_place_for_what_is_removed(archive: Archive) -> None:
    archive.add("coffee.jpg", COFFEE)
    with mounted(archive.root / "card", "-t", "tmpfs", "-o", "size=8m", "tmpfs") as card:
        archive.add("card/dcim/copy.jpg", COFFEE)
        archive.build()
        before, plan = archive.tree(), archive.plan()
        (outcome,) = archive.apply(plan).outcomes
        place = card / ".annidx-removed" / plan.plan_id / "dcim" / "copy.jpg"
        assert os.fsdecode(outcome.to) == str(place)
        assert not (archive.root / ".annidx-removed").exists()
        assert "on another file system" not in outcome.reason
        archive.undo()
        assert archive.tree() == before
        report = archive.apply(archive.plan(), how="hardlink")
        assert "lies on another file system" in reasons(report)[0]
        assert archive.tree() == before


def test_a_bind_mount_of_the_same_file_system_is_no_way_for_a_rename(archive: Archive) -> None:
    archive.add("coffee.jpg", COFFEE)
    elsewhere = archive.root.parent / "elsewhere"
    elsewhere.mkdir()
    with mounted(archive.root / "bound", "--bind", str(elsewhere)) as bound:
        archive.add("bound/deep/copy.jpg", COFFEE)
        archive.build()
        before, plan = archive.tree(), archive.plan()
        archive.apply(plan)
        assert (bound / ".annidx-removed" / plan.plan_id / "deep" / "copy.jpg").exists()
        assert not (archive.root / ".annidx-removed").exists()
        archive.undo()
        assert archive.tree() == before


def test_one_file_through_two_mounts_is_one(archive: Archive) -> None:
    """The index holds it twice since the mount came between two builds."""
    archive.add("one/coffee.jpg", COFFEE)
    archive.add("one/forest.jpg", FOREST)
    second = archive.root.parent / "second"
    second.mkdir()
    (second / "coffee.jpg").write_bytes(COFFEE.read_bytes())
    archive.build(archive.root / "one", second)
    plan = archive.plan()
    assert len(plan.removals) == 1
    with mounted(second, "--bind", str(archive.root / "one")):
        before = archive.tree()
        assert archive.plan().removals == ()
        assert "is the same file" in reasons(archive.apply(plan))[0]
        assert archive.tree() == before


def test_one_file_that_two_mounts_give_different_numbers_is_one(archive: Archive) -> None:
    """An overlay has a device number of its own, and keeps names that are gone beneath it."""
    archive.add("lower/coffee.jpg", COFFEE)
    above = archive.root.parent
    options = f"lowerdir={archive.root / 'lower'}"
    (above / "empty").mkdir()
    options += f":{above / 'empty'}"
    with mounted(archive.root / "merged", "-t", "overlay", "-o", options, "overlay") as merged:
        one, other = archive.root / "lower" / "coffee.jpg", merged / "coffee.jpg"
        if one.stat().st_dev == other.stat().st_dev:
            pytest.skip("this overlay gives the numbers of what lies beneath")
        archive.build()
        before, plan = archive.tree(), archive.plan(reference=[merged])
        assert paths_of(plan, archive) == [("lower/coffee.jpg", "merged/coffee.jpg")]
        assert len(reasons(archive.apply(plan))) == 1
        assert archive.tree() == before


def test_a_full_file_system_keeps_its_files(archive: Archive) -> None:
    archive.add("coffee.jpg", COFFEE)
    with mounted(archive.root / "card", "-t", "tmpfs", "-o", "size=8m,nr_inodes=40", "tmpfs") as at:
        archive.add("card/copy.jpg", COFFEE)
        archive.build()
        plan = archive.plan(reference=[archive.root / "coffee.jpg"])
        try:
            for number in range(100):
                (at / f"{number}.txt").touch()
        except OSError:
            pass
        before = archive.tree()
        assert "No space left" in reasons(archive.apply(plan))[0]
        assert archive.tree() == before
        (at / "1.txt").unlink()
        (at / "2.txt").unlink()
        before = archive.tree()
        assert archive.apply(plan).count("done") == 1
        assert nothing_is_lost(before, archive.tree())
        archive.undo()
        assert archive.tree() == before


def test_a_full_index_moves_nothing(tmp_path: Path) -> None:
    with mounted(tmp_path.resolve() / "full", "-t", "tmpfs", "-o", "size=8m", "tmpfs") as full:
        archive = Archive(full)
        archive.add("coffee.jpg", COFFEE)
        archive.add("copy.jpg", COFFEE)
        archive.build()
        plan, before = archive.plan(), archive.tree()
        with (full / "rest").open("wb", buffering=0) as handle:
            try:
                while True:
                    handle.write(bytes(4096))
            except OSError:
                pass
        assert "No space left" in reasons(archive.apply(plan))[0]
        assert archive.tree() == before
        (full / "rest").unlink()
        assert archive.apply(plan).count("done") == 1


def test_a_read_only_file_system_is_left_alone(archive: Archive) -> None:
    archive.add("coffee.jpg", COFFEE)
    with mounted(archive.root / "card", "-t", "tmpfs", "-o", "size=8m", "tmpfs") as card:
        archive.add("card/copy.jpg", COFFEE)
        archive.build()
        before, plan = archive.tree(), archive.plan()
        subprocess.run(["mount", "-o", "remount,ro", card], check=True)
        assert "Read-only file system" in reasons(archive.apply(plan))[0]
        assert archive.tree() == before


@pytest.mark.parametrize("kind", ["vfat", "ext4", "btrfs", "xfs"])
def test_file_systems_of_their_own(archive: Archive, kind: str) -> None:
    image = archive.root.parent / "image"
    size = {"xfs": 320, "btrfs": 128}.get(kind, 16)
    with image.open("wb") as handle:
        handle.truncate(size << 20)
    maker = subprocess.run(["sh", "-c", f'mkfs.{kind} "{image}"'], capture_output=True, check=False)
    if maker.returncode:
        pytest.skip(f"needs mkfs.{kind}")
    with mounted(archive.root, "-o", "loop", str(image)):
        archive.add("a/coffee.jpg", COFFEE)
        archive.add("b/copy.jpg", COFFEE)
        archive.build()
        before = archive.tree()
        for how in ("remove", "hardlink", "reflink"):
            report = archive.apply(archive.plan(), how=how)
            if report.count("done"):
                archive.undo()
            else:
                assert (kind, how) in {
                    ("vfat", "hardlink"),
                    ("vfat", "reflink"),
                    ("ext4", "reflink"),
                }
            assert archive.tree() == before
        assert moving.facts_of(os.fsencode(archive.root / ".annidx-removed")) is None
