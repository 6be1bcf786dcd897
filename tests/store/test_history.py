"""annidx.store.history: snapshots listed, restored, pruned, verified, swept."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from annidx.errors import FileDamaged, IndexDamaged, IndexNotFound, UsageError
from annidx.store import files, history, identity, snapshot
from annidx.store.manifest import GraphEntry, Manifest, SegmentEntry
from tests.making import add_segment, record

NOW_S = 1_800_000_000.0
DAY_S = 86_400


def created(age_s: float) -> str:
    from datetime import UTC, datetime  # noqa: PLC0415 - here only

    return datetime.fromtimestamp(NOW_S - age_s, UTC).isoformat(timespec="seconds")


@pytest.fixture
def index(tmp_path: Path) -> Path:
    identity.create(tmp_path / "index")
    return tmp_path / "index"


def graph(index: Path, content: bytes) -> GraphEntry:
    """Write two files that could be a graph's."""
    digests = []
    for end in (".hnsw", ".json"):
        staged = files.staging_path(index, end)
        staged.write_bytes(content + end.encode())
        digests.append(files.seal(staged, index / "graphs", end))
    (hnsw, size), (sidecar, _) = digests
    return GraphEntry("thumb", hnsw, size, sidecar, (), 1, None, None, None, 0, 1.0, True)


def published(
    index: Path, numbers: Sequence[int], *, age_s: float = 0.0, graphs: tuple[GraphEntry, ...] = ()
) -> Manifest:
    """Publish a snapshot with a segment for each of some pictures."""
    entries = tuple(add_segment(index, [record(n)], "pictures") for n in numbers)
    next_id = max(numbers, default=0) + 1
    made = Manifest(0, created(age_s), segments=entries, graphs=graphs, next_image_id=next_id)
    return snapshot.publish(index, replace(made, counts={"ok": len(entries)}))


def there(index: Path) -> set[str]:
    return {path.name for name in ("segments", "graphs") for path in (index / name).iterdir()}


def path_of(index: Path, entry: SegmentEntry) -> Path:
    return index / "segments" / f"{entry.sha256}.parquet"


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


# --- listing ------------------------------------------------------------------------------------


def test_listing(index: Path) -> None:
    first, second = published(index, [1]), published(index, [1, 2])
    (index / "snapshots" / "00000003.json").write_bytes(b"torn")
    listed = history.listing(index)
    assert [each.number for each in listed] == [1, 2, 3]
    assert [each.manifest for each in listed] == [first, second, None]
    assert "00000003.json: not a whole manifest" in listed[2].damage


def test_manifests_that_are_not_where_they_belong(index: Path, tmp_path: Path) -> None:
    """One that was renamed, and one of another index."""
    published(index, [1])
    identity.create(tmp_path / "other")
    published(tmp_path / "other", [7])
    path = index / "snapshots" / "00000001.json"
    (index / "snapshots" / "00000002.json").write_bytes(path.read_bytes())
    foreign = replace(snapshot.current(tmp_path / "other").manifest, number=3)
    (index / "snapshots" / "00000003.json").write_bytes(foreign.to_json())
    _, second, third = history.listing(index)
    assert second.damage.endswith("it is the manifest of snapshot 1")
    assert "it belongs to the index" in third.damage
    assert snapshot.current(index).manifest.number == 1


def test_there_is_no_index(tmp_path: Path) -> None:
    for act in (history.listing, lambda index: list(history.verify(index))):
        with pytest.raises(IndexNotFound):
            act(tmp_path)


# --- roll back ----------------------------------------------------------------------------------


def test_roll_back(index: Path) -> None:
    first = published(index, [1], age_s=DAY_S, graphs=(graph(index, b"x"),))
    published(index, [1, 2, 3])
    restored = history.roll_back(index, created(0))
    assert (restored.number, restored.restores) == (3, 1)
    assert restored == replace(
        first, number=3, restores=1, created=created(0), next_image_id=4
    )  # 2 and 3 were given to pictures: they are not given again
    assert snapshot.current(index).manifest == restored


def test_roll_back_step_by_step(index: Path) -> None:
    for number in (1, 2, 3):
        published(index, [number])
    assert history.roll_back(index, created(0)).restores == 2
    assert history.roll_back(index, created(0)).restores == 1
    with pytest.raises(UsageError, match="no snapshot before the current one; there are: 1, 2, 3"):
        history.roll_back(index, created(0))
    again = history.roll_back(index, created(0), 3)
    assert (again.number, again.restores) == (6, 3)
    # A copy of a copy says where it really comes from.
    assert history.roll_back(index, created(0), 5).restores == 1


def test_roll_back_to_what_is_not_there(index: Path) -> None:
    published(index, [1])
    with pytest.raises(UsageError, match="there is no snapshot 7; there are: 1"):
        history.roll_back(index, created(0), 7)


def test_roll_back_to_what_is_damaged(index: Path) -> None:
    first = published(index, [1])
    published(index, [2])
    flip(path_of(index, first.segments[0]))
    with pytest.raises(FileDamaged, match="Choose another snapshot"):
        history.roll_back(index, created(0))
    assert snapshot.current(index).manifest.number == 2


# --- prune --------------------------------------------------------------------------------------


def test_the_newest_and_the_young_stay(index: Path) -> None:
    ages = [9 * DAY_S, 8 * DAY_S, DAY_S + 1, DAY_S - 1, 3 * DAY_S, 2 * DAY_S, 2 * DAY_S]
    for number, age_s in enumerate(ages, start=1):  # a clock that was wrong for a while
        published(index, [number], age_s=age_s)
    pruned = history.prune(index, NOW_S)
    assert (pruned.kept, pruned.removed, pruned.broken) == ([4, 5, 6, 7], [1, 2, 3], [])
    assert [each.number for each in history.listing(index)] == [4, 5, 6, 7]
    assert len(there(index)) == 4
    assert pruned.bytes_freed > 3 * 1000
    assert history.prune(index, NOW_S).removed == []


def test_what_another_snapshot_needs_stays(index: Path) -> None:
    shared = graph(index, b"shared")
    for numbers in ([1, 2], [2, 3], [3, 4]):
        published(index, numbers, age_s=5 * DAY_S, graphs=(shared,))
    history.prune(index, NOW_S, keep=1)
    assert len(there(index)) == 2 + 2
    assert not any(history.verify(index))


def test_the_current_one_always_stays(index: Path) -> None:
    for number in (1, 2):
        published(index, [number], age_s=5 * DAY_S)
    assert history.prune(index, NOW_S, keep=0, keep_s=0).kept == [2]
    assert snapshot.current(index).manifest.number == 2


def test_a_dry_run_removes_nothing(index: Path) -> None:
    for number in (1, 2, 3):
        published(index, [number], age_s=5 * DAY_S)
    staged = index / "tmp" / "left"
    staged.write_bytes(b"")
    planned = history.prune(index, NOW_S, keep=1, dry_run=True)
    assert [each.number for each in history.listing(index)] == [1, 2, 3]
    assert len(there(index)) == 3
    assert staged.exists()
    assert history.prune(index, NOW_S, keep=1) == planned


def test_snapshots_that_are_not_whole_go(index: Path) -> None:
    first = published(index, [1, 9])
    published(index, [2, 9])
    published(index, [3, 9])
    (index / "snapshots" / "00000002.json").write_bytes(b"torn")
    flip(path_of(index, first.segments[0]))
    pruned = history.prune(index, NOW_S)
    assert (pruned.kept, pruned.removed, pruned.broken) == ([3], [1, 2], [1, 2])
    assert len(there(index)) == 2
    assert not any(history.verify(index))


def test_the_current_one_stays_though_it_is_not_whole(index: Path) -> None:
    """It is for a build to mend."""
    entry = published(index, [1]).segments[0]
    flip(path_of(index, entry))
    assert history.prune(index, NOW_S, keep=0, keep_s=0).removed == []


def test_when_no_manifest_is_whole_nothing_goes(index: Path) -> None:
    published(index, [1])
    (index / "snapshots" / "00000001.json").write_bytes(b"torn")
    assert history.prune(index, NOW_S, keep=0, keep_s=0).removed == []
    assert len(there(index)) == 1


# --- sweep --------------------------------------------------------------------------------------


def test_sweep(index: Path) -> None:
    """What no manifest names goes, from where builds write; nothing else does."""
    published(index, [1], graphs=(graph(index, b"x"),))
    named = there(index)
    for place in ("tmp/a", "segments/a", "graphs/a.hnsw", "snapshots/a", "locks/a", "staging/a"):
        (index / place).write_bytes(b"x")
    history.sweep(index)
    assert there(index) == named
    assert list((index / "tmp").iterdir()) == []
    assert all((index / place).exists() for place in ("snapshots/a", "locks/a", "staging/a"))


def test_while_nobody_knows_what_a_manifest_named_it_all_stays(index: Path) -> None:
    published(index, [1])
    published(index, [2])
    (index / "snapshots" / "00000002.json").write_bytes(b"torn")
    (index / "tmp" / "a").write_bytes(b"")
    history.sweep(index)
    assert len(there(index)) == 2
    assert list((index / "tmp").iterdir()) == []


# --- verify -------------------------------------------------------------------------------------


def test_verify(index: Path) -> None:
    made = published(index, [1, 2], graphs=(graph(index, b"x"),))
    published(index, [2, 3])
    found = list(history.verify(index))
    assert found == [None] * (1 + 2 + 3 + 2)  # annidx.json, manifests, segments, graph
    first, second = (path_of(index, entry) for entry in made.segments)
    sidecar = index / "graphs" / f"{made.graphs[0].sidecar_sha256}.json"
    flip(first)
    second.unlink()
    sidecar.write_bytes(b"other")
    damage = {each.path: each for each in history.verify(index) if each}
    assert set(damage) == {str(first), str(second), str(sidecar)}
    assert damage[str(first)].expected == first.stem
    assert damage[str(first)].found == files.sha256_of(first)
    assert damage[str(second)].found == "missing"
    assert "annidx build" in str(damage[str(sidecar)])


def test_verify_names_damaged_manifests_and_the_marker(index: Path) -> None:
    published(index, [1])
    published(index, [1])
    (index / "snapshots" / "00000002.json").write_bytes(b"{")
    (index / "annidx.json").write_bytes(b"{")
    found = [each for each in history.verify(index) if each]
    assert [Path(each.path).name for each in found] == ["annidx.json", "00000002.json"]


def test_verify_looks_at_the_bytes_and_not_at_what_is_remembered(
    index: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("annidx.store.sealed.REMEMBERED_BYTES", 0)
    entry = published(index, [1]).segments[0]
    snapshot.current(index).pictures.numbers("size")
    assert len(list((tmp_path / "cache" / "annidx" / "whole").iterdir())) == 1
    monkeypatch.setattr("annidx.store.sealed.Sealed._hash", lambda _: "other")
    assert [each.path for each in history.verify(index) if each] == [str(path_of(index, entry))]


# --- manifests that are out of sight ------------------------------------------------------------


def unlistable(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Let the folders of that name fail when they are listed, as a bad sector does."""
    iterdir = Path.iterdir

    def failing(self: Path) -> Any:
        if self.name == name:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(self))
        return iterdir(self)

    monkeypatch.setattr(Path, "iterdir", failing)


def test_a_folder_that_cannot_be_listed_is_not_empty(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else all segments would be swept as unnamed, and the next number would be 1."""
    manifest = published(index, [1])
    with monkeypatch.context() as patch:
        unlistable(patch, "snapshots")
        acts: list[Callable[[], object]] = [
            lambda: snapshot.current(index),
            lambda: snapshot.publish(index, manifest),
            lambda: history.sweep(index),
            lambda: history.prune(index, NOW_S),
            lambda: list(history.verify(index)),
        ]
        for act in acts:
            with pytest.raises(OSError, match="snapshots"):
                act()
    assert len(there(index)) == 1
    assert not any(history.verify(index))


@pytest.mark.parametrize("whole_folder", [True, False])
def test_manifests_that_are_lost_are_damage(index: Path, whole_folder: bool) -> None:
    published(index, [1, 2])
    (index / "snapshots" / "00000001.json").unlink()
    if whole_folder:
        (index / "snapshots").rmdir()
    with pytest.raises(IndexDamaged, match="snapshots: holds no manifest, though 2 files"):
        snapshot.current(index)
    assert [Path(each.path).name for each in history.verify(index) if each] == ["snapshots"]
    history.sweep(index)
    assert len(there(index)) == 2


def test_what_a_first_build_left_is_no_damage(index: Path) -> None:
    """It was killed after its segments, before its manifest: its journal is there."""
    add_segment(index, [record(1)], "pictures")
    (index / "staging" / "pictures.journal").write_bytes(b"frames")
    with pytest.raises(IndexNotFound, match="nothing was built here yet"):
        snapshot.current(index)
    assert not any(history.verify(index))


def test_files_of_a_damaged_manifest_are_verified_by_their_names(index: Path) -> None:
    entry = published(index, [1]).segments[0]
    published(index, [2])
    (index / "snapshots" / "00000001.json").write_bytes(b"torn")
    flip(path_of(index, entry))
    found = [Path(each.path) for each in history.verify(index) if each]
    assert found == [index / "snapshots" / "00000001.json", path_of(index, entry)]


def test_a_clock_that_was_wrong(index: Path) -> None:
    """A snapshot of the year 2033 is as good as old, one of the next minutes is young."""
    for age_s in (-5 * DAY_S, -60, 5 * DAY_S, 5 * DAY_S):
        published(index, [1], age_s=age_s)
    assert history.prune(index, NOW_S, keep=1).removed == [1, 3]


# --- the marker ---------------------------------------------------------------------------------


def test_a_marker_that_is_not_what_was_written(index: Path) -> None:
    whole = (index / "annidx.json").read_bytes()
    for at in range(len(whole) - 2):
        (index / "annidx.json").write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        try:
            found = identity.index_id(index)
        except IndexDamaged:
            continue
        # A key of another name or a space: what is known of it is right all the same.
        assert found in ("", json.loads(whole)["index_id"])


def test_a_marker_that_is_gone(index: Path) -> None:
    published(index, [1])
    (index / "annidx.json").unlink()
    with pytest.raises(IndexDamaged, match="is missing, though there are manifests"):
        snapshot.current(index)


def test_an_older_marker_without_a_checksum(index: Path) -> None:
    (index / "annidx.json").write_bytes(b'{"format": 1, "index_id": "ab"}\n')
    assert identity.index_id(index) == "ab"


def test_what_may_not_be_read_is_not_taken_for_damaged(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a build by another user would go on from an older snapshot, and prune the newest."""
    published(index, [1])
    for name in ("annidx.json", "00000001.json"):
        reading = files.read_file

        def denied(path: Path, name: str = name, reading: Any = reading) -> bytes:
            if path.name == name:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return bytes(reading(path))

        with monkeypatch.context() as patch:
            patch.setattr(files, "read_file", denied)
            for act in (snapshot.current, history.sweep):
                if name == "annidx.json" and act is history.sweep:
                    continue  # it does not look at it
                with pytest.raises(PermissionError, match=name):
                    act(index)
    assert len(there(index)) == 1


def test_a_snapshot_that_does_not_say_when_it_was_made_is_old(index: Path) -> None:
    snapshot.publish(index, Manifest(0, ""))
    published(index, [1])
    assert history.prune(index, NOW_S, keep=1).removed == [1]


def test_what_is_pruned_while_it_is_verified_is_no_damage(index: Path) -> None:
    published(index, [1, 2], age_s=2 * DAY_S)
    kept = published(index, [2, 3])
    going_on = history.verify(index)
    next(going_on)
    next(going_on)  # the manifests are read now
    assert history.prune(index, NOW_S, keep=1, keep_s=0).removed == [1]
    path_of(index, kept.segments[1]).unlink()
    found = [damage.path for damage in going_on if damage]
    assert found == [str(path_of(index, kept.segments[1]))]


def test_empty_folders_may_be_missing(index: Path) -> None:
    """Backups and archives leave them out."""
    published(index, [1])
    for verb in (
        partial(history.prune, now_s=NOW_S),
        partial(history.roll_back, created="", number=1),
    ):
        for name in ("decisions", "locks", "staging", "tmp"):
            shutil.rmtree(index / name)
        with files.writer_lock(index):
            verb(index)
