"""Purging: only what is old enough goes, and only while the file that was kept for it is there."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from annidx.errors import ActionRefused
from annidx.review import deciding, moving
from annidx.review import purge as purging
from annidx.review.journal import journals
from annidx.review.purge import Purged
from tests.review.archives import COFFEE, COFFEE_EDIT, COFFEE_SMALL, Archive

XMP = b"<x:xmpmeta/>"
LATER = timedelta(days=31)
MONTH = timedelta(days=30)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Return an archive of a photo, two copies, a small one and an edit."""
    archive = Archive(tmp_path_factory.mktemp("purge"))
    archive.add("a/coffee.jpg", COFFEE)
    archive.add("b/copy.jpg", COFFEE)
    archive.add("b/copy.xmp", XMP)
    archive.add("c/small.jpg", COFFEE_SMALL)
    archive.add("c/edit.jpg", COFFEE_EDIT)
    archive.build()
    archive.remember()
    return archive


@pytest.fixture
def cleared(first: Archive) -> Archive:
    """Return that archive after its copy was removed."""
    first.restore()
    first.apply(first.plan())
    return first


def purge(archive: Archive, age: timedelta = LATER, *, act: bool = True, **options: Any) -> Purged:
    now = datetime.now(UTC) + age
    return purging.purge(archive.place, MONTH, act=act, now=now, **options)


def test_what_is_old_enough_goes_for_good(cleared: Archive) -> None:
    purged = purge(cleared)
    assert purged.count("done") == 2
    assert purged.size == COFFEE.stat().st_size + len(XMP)
    assert not (cleared.root / ".annidx-removed").exists()
    assert not (cleared.root / "b" / "copy.jpg").exists()
    assert (cleared.root / "a" / "coffee.jpg").exists()
    assert purge(cleared).files == ()
    with pytest.raises(ActionRefused, match="nothing is to be undone"):
        cleared.undo()


def test_what_is_younger_stays(cleared: Archive) -> None:
    before = cleared.tree()
    assert purge(cleared, MONTH - timedelta(minutes=5)).files == ()
    assert cleared.tree() == before


def test_without_yes_nothing_goes(cleared: Archive) -> None:
    before = cleared.tree()
    assert purge(cleared, act=False).count("would") == 2
    assert cleared.tree() == before
    assert cleared.undo().count("done") == 2


@pytest.mark.parametrize("what", ["gone", "another picture", "a link to the removed one"])
def test_what_has_no_kept_file_any_more_stays(cleared: Archive, what: str) -> None:
    kept = cleared.root / "a" / "coffee.jpg"
    kept.unlink()
    if what == "another picture":
        shutil.copy(COFFEE_EDIT, kept)
    elif what == "a link to the removed one":
        (removed,) = (cleared.root / ".annidx-removed").rglob("copy.jpg")
        kept.hardlink_to(removed)
    before = cleared.tree()
    purged = purge(cleared)
    assert purged.count("refused") == 2
    assert "is gone or has changed" in purged.files[0].reason
    assert cleared.tree() == before
    assert purge(cleared, force=True).count("done") == 2


def test_a_rating_in_the_kept_file_is_no_change(cleared: Archive) -> None:
    data = COFFEE.read_bytes()
    comment = b"five stars"
    rated = data[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + data[2:]
    (cleared.root / "a" / "coffee.jpg").write_bytes(rated)
    assert purge(cleared).count("done") == 2


def test_a_removed_file_that_has_changed_stays(cleared: Archive) -> None:
    (removed,) = (cleared.root / ".annidx-removed").rglob("copy.jpg")
    removed.write_bytes(b"something else")
    purged = purge(cleared)
    assert [each.reason != "" for each in purged.files] == [True, False]
    assert removed.read_bytes() == b"something else"


def test_a_kept_copy_may_itself_have_been_removed_for_another(cleared: Archive) -> None:
    """Of copies, that is: what the kept one is like, the removed one was like."""
    coffee, edit = cleared.root / "a" / "coffee.jpg", cleared.root / "c" / "edit.jpg"
    deciding.remove(cleared.open(), coffee, edit)
    second = cleared.plan()
    assert len(second.removals) == 1
    cleared.apply(second)
    edit.rename(edit.with_name("moved.jpg"))
    assert purge(cleared, act=False).count("refused") == 3
    edit.with_name("moved.jpg").rename(edit)
    assert purge(cleared).count("done") == 3


def test_a_crash_in_the_middle_of_a_purge(
    cleared: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dying(path: bytes) -> None:
        Path(os.fsdecode(path)).unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr(moving, "unlink", dying)
    with pytest.raises(KeyboardInterrupt):
        purge(cleared)
    monkeypatch.undo()
    (journal,) = journals(cleared.place)
    assert sorted(each.state for each in journal.entries.values()) == ["moved", "purging"]
    undone = cleared.undo()
    assert undone.count("done") >= 1
    assert not journals(cleared.place)[0].pending
