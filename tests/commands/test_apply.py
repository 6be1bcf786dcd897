"""``annidx plan``, ``apply`` and ``undo``, from the first look to the last: what they print."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.commands.running import PICTURES, closing, complaint, json_lines, run, usage_error

COFFEE = PICTURES / "2020-home" / "coffee.jpg"


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an archive of two identical files and another one, and its index."""
    place = tmp_path_factory.mktemp("clearing").resolve()
    for name in ("a/coffee.jpg", "b/copy.jpg"):
        (place / "photos" / name).parent.mkdir(parents=True)
        shutil.copy(COFFEE, place / "photos" / name)
    shutil.copy(PICTURES / "2020-home" / "coffee-edit.jpg", place / "photos" / "b" / "edit.jpg")
    run("build", place / "photos", index=place / "index")
    shutil.copytree(place, place.with_name("first"))
    return place


@pytest.fixture
def place(first: Path) -> Path:
    """Return the same folder as it was at first, with a plan in it."""
    shutil.rmtree(first)
    shutil.copytree(first.with_name("first"), first)
    done = run("plan", "--auto", "identical", "--output", first / "plan", index=first / "index")
    assert closing(done).startswith("1 file to be removed (")
    return first


def test_from_plan_to_undo(place: Path) -> None:
    index, plan, copy = place / "index", place / "plan", place / "photos" / "b" / "copy.jpg"
    looked = run("apply", plan, index=index)
    assert f"remove  {copy}\n  kept  {place}/photos/a/coffee.jpg" in looked.stdout
    assert closing(looked).startswith("1 file would be removed (")
    assert copy.exists()
    done = run("apply", plan, "--yes", index=index)
    assert closing(done).startswith("1 file removed (")
    assert not copy.exists()
    back = run("undo", "--last", index=index)
    assert back.stdout.splitlines()[0] == f"put back {copy}"
    assert closing(back).endswith("would be put back; --yes does it")
    assert not copy.exists()
    run("undo", "--last", "--yes", index=index)
    assert copy.read_bytes() == COFFEE.read_bytes()
    assert "nothing is to be undone" in complaint("undo", "--last", code=1, index=index)


def test_json(place: Path) -> None:
    index, copy = place / "index", str(place / "photos" / "b" / "copy.jpg")
    (head, row), summary = json_lines("plan", "--auto", "identical", index=index)
    assert (head["message_type"], row["action"], row["path"]) == ("plan", "remove", copy)
    assert row["kept"] == str(place / "photos" / "a" / "coffee.jpg")
    assert (summary["removals"], summary["refused"]) == (1, 0)
    told = [json.loads(line) for line in (place / "plan").read_text().splitlines()]
    digest = told[-1]["digest"]
    words = ("apply", place / "plan", "--digest", digest)
    (row,), summary = json_lines(*words, index=index)
    assert (row["result"], row["path"], summary["applied"]) == ("would", copy, False)
    (row,), summary = json_lines(*words, "--yes", index=index)
    assert (row["result"], summary["removed"], summary["refused"]) == ("done", 1, 0)
    assert Path(row["to"]).exists()
    (row,), _ = json_lines(*words, "--yes", index=index)
    assert row["result"] == "already"
    (row,), summary = json_lines("undo", summary["plan"], "--yes", index=index)
    assert (row["path"], row["result"], summary["returned"]) == (copy, "done", 1)


def test_exit_codes(place: Path) -> None:
    index, plan = place / "index", place / "plan"
    (place / "photos" / "b" / "copy.jpg").write_bytes(b"changed")
    refused = run("apply", plan, "--yes", code=1, index=index)
    assert "left    " in refused.stdout
    assert "has changed since the plan was made" in refused.stdout
    assert "not the one that was confirmed" in complaint(
        "apply", plan, "--digest", "0" * 64, code=1, index=index
    )
    assert "No such file" in complaint("apply", place / "none", code=1, index=index)
    assert "is no plan" in complaint("apply", COFFEE, code=1, index=index)
    assert "not allowed with" in usage_error("apply", plan, "--trash", "--hardlink", index=index)
    assert "no index here" in complaint("apply", plan, code=10, index=place / "nowhere")


def test_some_done_and_some_left(place: Path) -> None:
    index = place / "index"
    edit, coffee = place / "photos" / "b" / "edit.jpg", place / "photos" / "a" / "coffee.jpg"
    run("decide", "--remove", edit, "--for", coffee, index=index)
    run("plan", "--auto", "identical", "--output", place / "both", index=index)
    edit.write_bytes(b"changed")
    done = run("apply", place / "both", "--yes", code=3, index=index)
    assert "1 file removed" in closing(done)
    assert "1 left where they are" in closing(done)


def test_links(place: Path) -> None:
    run("apply", place / "plan", "--yes", "--hardlink", index=place / "index")
    one, other = place / "photos" / "a" / "coffee.jpg", place / "photos" / "b" / "copy.jpg"
    assert one.samefile(other)
    run("undo", "--last", "--yes", index=place / "index")
    assert not one.samefile(other)


def test_undo_wants_one_plan(place: Path) -> None:
    index = place / "index"
    assert "name one plan" in complaint("undo", code=2, index=index)
    assert "name one plan" in complaint("undo", "x", "--last", code=2, index=index)
    assert "is no plan's name" in complaint("undo", "../../etc", code=1, index=index)
    assert "was never applied here" in complaint(
        "undo", "20260101-000000-00000000", code=1, index=index
    )


def test_a_plan_says_why_and_what_it_leaves(place: Path) -> None:
    index = place / "index"
    one, other = place / "photos" / "a" / "coffee.jpg", place / "photos" / "b" / "copy.jpg"
    run("decide", "--remove", one, "--for", other, index=index)
    run("decide", "--remove", other, "--for", one, index=index)
    done = run("plan", index=index)
    assert f"leave   {one}\n        is kept for {other}" in done.stdout
    assert closing(done) == "0 files to be removed (0 B), 2 decided about and left"
    kept = run("plan", "--auto", "identical", "--keep", "colour", code=2, index=index)
    assert "unknown rule 'colour'" in kept.stderr


def test_purge(place: Path) -> None:
    index = place / "index"
    run("apply", place / "plan", "--yes", index=index)
    assert closing(run("purge", "--older-than", "1h", index=index)).startswith("0 files would")
    looked = run("purge", "--older-than", "0h", index=index)
    assert looked.stdout.startswith(f"purge  {place}/photos/.annidx-removed/")
    (place / "photos" / "a" / "coffee.jpg").rename(place / "aside.jpg")
    stays = run("purge", "--older-than", "0h", "--yes", code=1, index=index)
    assert "is gone or has changed" in stays.stdout
    (place / "aside.jpg").rename(place / "photos" / "a" / "coffee.jpg")
    (row,), summary = json_lines("purge", "--older-than", "0d", "--yes", index=index)
    assert (row["result"], summary["purged"], summary["bytes"]) == ("done", 1, row["size"])
    assert not (place / "photos" / ".annidx-removed").exists()
    assert "expected an age" in usage_error("purge", "--older-than", "soon", index=index)


def test_names_that_are_no_text(place: Path) -> None:
    index, odd = place / "index", os.fsdecode(b"\xff\n.jpg")
    (place / "photos" / "b" / "copy.jpg").rename(place / "photos" / "b" / odd)
    run("build", index=index)
    run("plan", "--auto", "identical", "--output", place / "odd", index=index)
    done = run("apply", place / "odd", "--yes", index=index)
    assert r"b/\xff\n.jpg" in done.stdout
    (row,), _ = json_lines("undo", "--last", "--yes", index=index)
    assert row["path_base64"]
    assert (place / "photos" / "b" / odd).exists()
