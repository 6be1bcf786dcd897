"""Plans: what goes in, which file is kept and why, what is refused; and the plan file."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from annidx.errors import ActionRefused, UsageError
from annidx.review import deciding, planned, suggest
from annidx.review.pictures import Picture
from annidx.review.planned import Plan
from tests.commands.running import run
from tests.review.archives import (
    COFFEE,
    COFFEE_EDIT,
    COFFEE_SMALL,
    FOREST,
    SUMMIT,
    Archive,
    paths_of,
)

NAMES = {
    "coffee.jpg": COFFEE,
    "copy.jpg": COFFEE,
    "other/copy.jpg": COFFEE,
    "edit.jpg": COFFEE_EDIT,
    "small.jpg": COFFEE_SMALL,
    "forest.jpg": FOREST,
    "summit.jpg": SUMMIT,
}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Return an archive of one photo in five files, and of two others."""
    archive = Archive(tmp_path_factory.mktemp("plan"))
    for name, source in NAMES.items():
        archive.add(name, source)
    archive.build()
    archive.remember()
    return archive


@pytest.fixture
def coffee(first: Archive) -> Archive:
    """Return the same archive as it was at first."""
    first.restore()
    return first


def remove(archive: Archive, name: str, kept: str) -> None:
    deciding.remove(archive.open(), archive.root / name, archive.root / kept)


def refused(archive: Archive, plan: Plan) -> dict[str, str]:
    base = os.fsencode(archive.root) + b"/"
    return {os.fsdecode(each.path.removeprefix(base)): each.reason for each in plan.refusals}


def test_without_decisions_only_identical_files_go(coffee: Archive) -> None:
    assert coffee.plan(auto="none").removals == ()
    plan = coffee.plan()
    assert paths_of(plan, coffee) == [("copy.jpg", "coffee.jpg"), ("other/copy.jpg", "coffee.jpg")]
    assert {each.kind for each in plan.removals} == {"identical"}
    assert plan.size == 2 * COFFEE.stat().st_size
    assert plan.snapshot == 1


def test_an_explicit_decision_goes_in_with_what_was_seen(coffee: Archive) -> None:
    remove(coffee, "edit.jpg", "coffee.jpg")
    plan = coffee.plan(auto="none")
    assert paths_of(plan, coffee) == [("edit.jpg", "coffee.jpg")]
    (one,) = plan.removals
    assert (one.kind, one.source) == ("edited", "decision")
    assert "decided on" in one.reason


def test_a_file_that_does_not_match_is_not_removed_for_another(coffee: Archive) -> None:
    with pytest.raises(ActionRefused, match="does not match"):
        remove(coffee, "forest.jpg", "coffee.jpg")
    with pytest.raises(UsageError, match="for itself"):
        remove(coffee, "forest.jpg", "forest.jpg")
    with pytest.raises(UsageError, match="no picture of the index lies there"):
        remove(coffee, "missing.jpg", "coffee.jpg")
    assert coffee.plan(auto="none").removals == ()


def test_a_chain_costs_no_picture(coffee: Archive) -> None:
    """Removing A for B and B for C: A may go, B is kept for it, and C stays in any case."""
    remove(coffee, "small.jpg", "edit.jpg")
    remove(coffee, "edit.jpg", "coffee.jpg")
    plan = coffee.plan(auto="none")
    assert paths_of(plan, coffee) == [("small.jpg", "edit.jpg")]
    assert "is kept for" in refused(coffee, plan)["edit.jpg"]


def test_removing_each_for_the_other_removes_none(coffee: Archive) -> None:
    remove(coffee, "small.jpg", "coffee.jpg")
    remove(coffee, "coffee.jpg", "small.jpg")
    plan = coffee.plan(auto="none")
    assert plan.removals == ()
    assert refused(coffee, plan).keys() == {"small.jpg", "coffee.jpg"}


def test_all_of_a_group_cannot_go(coffee: Archive) -> None:
    for name, kept in (("coffee.jpg", "copy.jpg"), ("copy.jpg", "other/copy.jpg")):
        remove(coffee, name, kept)
    remove(coffee, "other/copy.jpg", "coffee.jpg")
    plan = coffee.plan()
    assert plan.removals == ()
    assert len(plan.refusals) == 3


def test_what_is_kept_for_an_edit_is_the_copy_that_stays(coffee: Archive) -> None:
    remove(coffee, "edit.jpg", "other/copy.jpg")
    assert paths_of(coffee.plan(), coffee) == [
        ("coffee.jpg", "other/copy.jpg"),
        ("copy.jpg", "other/copy.jpg"),
        ("edit.jpg", "other/copy.jpg"),
    ]


def test_a_decision_to_keep_holds(coffee: Archive) -> None:
    deciding.keep(coffee.open(), [coffee.root / "copy.jpg", coffee.root / "other" / "copy.jpg"])
    assert paths_of(coffee.plan(), coffee) == [("coffee.jpg", "copy.jpg")]


def test_what_is_no_duplicate_is_left_alone_though_it_is_identical(coffee: Archive) -> None:
    index = coffee.open()
    deciding.not_duplicates(index, coffee.root / "copy.jpg", coffee.root / "coffee.jpg")
    assert coffee.plan().removals == ()


def test_protected_folders_keep_their_files_and_are_kept_first(coffee: Archive) -> None:
    plan = coffee.plan(reference=[coffee.root / "other"])
    kept = "other/copy.jpg"
    assert paths_of(plan, coffee) == [("coffee.jpg", kept), ("copy.jpg", kept)]
    assert "lies in the protected folder" in plan.removals[0].reason
    remove(coffee, "other/copy.jpg", "coffee.jpg")
    plan = coffee.plan(auto="none", reference=[coffee.root / "other"])
    assert plan.removals == ()
    assert "protected folder" in refused(coffee, plan)["other/copy.jpg"]
    deciding.protect(coffee.open(), [coffee.root / "other"])
    assert coffee.plan(auto="none").removals == ()
    deciding.protect(coffee.open(), [coffee.root / "other"], protected=False)
    assert len(coffee.plan(auto="none").removals) == 1


def test_decisions_follow_moved_files_and_outlive_rebuilds(coffee: Archive) -> None:
    remove(coffee, "small.jpg", "edit.jpg")
    (coffee.root / "small.jpg").rename(coffee.root / "other" / "tiny.jpg")
    (coffee.root / "edit.jpg").rename(coffee.root / "bright.jpg")
    run("build", "--rebuild", coffee.root, index=coffee.place)
    run("rollback", index=coffee.place)
    run("build", index=coffee.place)
    assert paths_of(coffee.plan(auto="none"), coffee) == [("other/tiny.jpg", "bright.jpg")]


def test_a_moved_copy_is_not_guessed(coffee: Archive) -> None:
    remove(coffee, "copy.jpg", "coffee.jpg")
    (coffee.root / "copy.jpg").rename(coffee.root / "moved.jpg")
    coffee.build()
    plan = coffee.plan(auto="none")
    assert plan.removals == ()
    assert "decide again" in refused(coffee, plan)["copy.jpg"]


def test_a_kept_file_that_is_gone_is_no_reason_to_remove(coffee: Archive) -> None:
    remove(coffee, "small.jpg", "edit.jpg")
    (coffee.root / "edit.jpg").unlink()
    plan = coffee.plan(auto="none")
    assert plan.removals == ()
    assert "not there any more" in refused(coffee, plan)["small.jpg"]
    coffee.build()
    assert "not in the index any more" in refused(coffee, coffee.plan(auto="none"))["small.jpg"]


def test_what_was_removed_is_not_spoken_of_again(coffee: Archive) -> None:
    remove(coffee, "small.jpg", "coffee.jpg")
    coffee.apply(coffee.plan(auto="none"))
    for _ in range(2):
        plan = coffee.plan(auto="none")
        assert (plan.removals, plan.refusals) == ((), ())
        coffee.build()
    coffee.undo()
    coffee.build()
    assert paths_of(coffee.plan(auto="none"), coffee) == [("small.jpg", "coffee.jpg")]


def test_nested_roots_are_one(coffee: Archive) -> None:
    coffee.build(coffee.root / "other")
    assert paths_of(coffee.plan(), coffee) == [
        ("copy.jpg", "coffee.jpg"),
        ("other/copy.jpg", "coffee.jpg"),
    ]


def test_a_plan_file_says_what_the_plan_says(coffee: Archive, tmp_path: Path) -> None:
    remove(coffee, "edit.jpg", "coffee.jpg")
    remove(coffee, "coffee.jpg", "edit.jpg")
    plan = coffee.plan(reference=[coffee.root / "other"], now=datetime(2026, 11, 22, tzinfo=UTC))
    assert plan.plan_id.startswith("20261122-000000-")
    path = tmp_path / "plan"
    path.write_bytes(planned.to_bytes(plan))
    assert planned.load(path) == plan
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[-1]["digest"] == plan.digest
    assert {each.get("action") for each in lines[1:-1]} == {"remove", "none"}


def test_a_plan_file_that_was_changed_or_torn_is_refused(coffee: Archive, tmp_path: Path) -> None:
    path = tmp_path / "plan"
    data = planned.to_bytes(coffee.plan())
    lines = data.splitlines(keepends=True)
    for wrong in (
        data.replace(b"coffee.jpg", b"forest.jpg"),
        b"".join([lines[0], *lines[2:]]),
        b"".join(lines[:-1]),
        data[:-20],
        b"",
        b"[]\n",
        b"\xff",
    ):
        path.write_bytes(wrong)
        with pytest.raises(ActionRefused, match=r"was changed|is no plan"):
            planned.load(path)


def test_a_plan_of_another_version_or_with_a_path_for_a_name_is_refused(
    coffee: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "plan"
    path.write_bytes(planned.to_bytes(replace(coffee.plan(), plan_id="../../x")))
    with pytest.raises(ActionRefused, match="no plan's name"):
        planned.load(path)
    monkeypatch.setattr(planned, "VERSION", 2)
    path.write_bytes(planned.to_bytes(coffee.plan()))
    monkeypatch.undo()
    with pytest.raises(ActionRefused, match="version 2"):
        planned.load(path)


def test_a_file_seen_twice_by_hard_links_is_one(coffee: Archive) -> None:
    shutil.rmtree(coffee.root / "other")
    (coffee.root / "copy.jpg").unlink()
    (coffee.root / "copy.jpg").hardlink_to(coffee.root / "coffee.jpg")
    assert coffee.plan().removals == ()  # though the index still knows three files


def picture(path: str, **facts: object) -> Picture:
    known: dict[str, object] = {
        "path": path.encode(),
        "root": b"/p",
        "content_hash": bytes(32),
        "pixel_hash": bytes(32),
        "size": 1000,
        "mtime_ns": 10**18,
        "width": 640,
        "height": 480,
        "format": "JPEG",
        "camera": "",
        "taken": "",
        "companions": (),
    }
    return Picture(**{**known, **facts})  # type: ignore[arg-type]


RAW = picture("/p/raw.nef", format="NEF", camera="Nikon", width=160, height=120)
CAMERA = picture("/p/camera.jpg", camera="Nikon")
LARGE = picture("/p/large.png", format="PNG", width=2000, height=1000, size=9000)
EARLY = picture("/p/early.jpg", taken="2019-08-22T18:30:00")
LATE = picture("/p/late.jpg", taken="2020-01-01T00:00:00")
OLD = picture("/p/old.jpg", mtime_ns=9 * 10**17)
PLAIN = picture("/p/plain.jpg")
DEEP = picture("/p/2019/deep.jpg")


@pytest.mark.parametrize(
    ("rules", "pictures", "kept", "words"),
    [
        ("format", [PLAIN, CAMERA, RAW], RAW, "camera RAW, not an export"),
        ("format", [PLAIN, CAMERA], CAMERA, "a file of the camera, not an export"),
        ("resolution", [RAW, LARGE], LARGE, "2000x1000 rather than 160x120"),
        ("format,resolution", [RAW, LARGE], RAW, "camera RAW, not an export"),
        ("size", [PLAIN, LARGE], LARGE, "9,000 bytes rather than 1,000"),
        ("oldest", [LATE, EARLY], EARLY, "taken 2019-08-22T18:30:00 rather than 2020"),
        ("oldest", [PLAIN, EARLY], EARLY, "rather than at an unknown time"),
        ("oldest", [PLAIN, OLD], OLD, "the older file, of 1998-07-09 16:00:00 rather than 2001"),
        ("path:/p/2019,size", [LARGE, DEEP], DEEP, "lies in /p/2019"),
        ("size,path:/p/2019", [LARGE, DEEP], LARGE, "9,000 bytes"),
        ("size", [DEEP, PLAIN], PLAIN, "all else being equal"),
    ],
)
def test_rules_count_in_their_order(
    rules: str, pictures: Sequence[Picture], kept: Picture, words: str
) -> None:
    for order in (pictures, pictures[::-1]):
        choice = suggest.choose(order, suggest.rules(rules))
        assert choice.kept == kept
        assert any(words in why for _, why in choice.others)


@pytest.mark.parametrize("text", ["", "colour", "path:", "size:large", "format,,x"])
def test_rules_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"unknown rule|keep is empty"):
        suggest.rules(text)
