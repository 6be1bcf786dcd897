"""annidx snapshots, rollback, prune: going back, and not keeping everything."""

from __future__ import annotations

import json
import os
import shutil
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from annidx.store import files
from tests.commands.running import complaint, json_lines, run


@pytest.fixture
def index(album: Path, tmp_path: Path) -> Path:
    """Return an index with three snapshots: of 3, 2 and 4 pictures."""
    place = tmp_path / "index"
    run("build", album, index=place)
    (album / "cameraman.jpg").rename(tmp_path / "kept.jpg")
    run("build", index=place)
    shutil.copy(tmp_path / "kept.jpg", album / "back.jpg")
    shutil.copy(tmp_path / "kept.jpg", album / "again.jpg")
    run("build", index=place)
    return place


def test_snapshots(index: Path) -> None:
    rows, summary = json_lines("snapshots", index=index)
    assert summary == {"count": 3, "snapshot": 3}
    assert [(row["snapshot"], row["images"], row["current"]) for row in rows] == [
        (1, 3, False),
        (2, 2, False),
        (3, 4, True),
    ]
    assert {"created", "failed", "segments", "graphs", "bytes", "restores"} <= set(rows[0])
    lines = run("snapshots", index=index).stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["snapshot", "1", "2", "3*", "3"]
    assert lines[-1] == "3 snapshots, 3 is current"


def test_a_damaged_manifest_is_among_them(index: Path) -> None:
    (index / "snapshots" / "00000002.json").write_text("{")
    rows, summary = json_lines("snapshots", index=index)
    assert "not a whole manifest" in rows[1]["damaged"]
    assert summary["count"] == 3
    assert "00000002.json: not a whole manifest" in run("snapshots", index=index).stderr


def test_rollback(index: Path, album: Path) -> None:
    rows, summary = json_lines("rollback", index=index)
    assert (rows, summary) == ([], {"snapshot": 4, "restores": 2, "images": 2})
    assert json_lines("status", index=index)[1]["images"] == 2
    done = run("rollback", "1", index=index)
    assert done.stdout == "snapshot 5 restores snapshot 1: 3 pictures\n"
    found, _ = json_lines("query", album / "coffee.jpg", index=index)
    assert [Path(row["path"]).name for row in found] == ["coffee_small.jpg"]
    assert "restores 2" in run("snapshots", index=index).stdout
    run("verify", index=index)
    # The archive is what it is: the next build brings the index up to date again.
    _, summary = json_lines("build", index=index)
    assert (summary["images"], summary["snapshot"]) == (4, 6)


def test_rollback_to_what_is_not_there(index: Path) -> None:
    line = complaint("rollback", "9", index=index, code=2)
    assert "there is no snapshot 9; there are: 1, 2, 3" in line
    assert "a whole number, 1 or more" in run("rollback", "0", index=index, code=2).stderr
    for segment in (index / "segments").iterdir():
        segment.write_bytes(b"")
    assert "Choose another snapshot" in complaint("rollback", "1", index=index, code=12)


def test_prune(index: Path) -> None:
    assert json_lines("prune", index=index)[1]["removed"] == 0  # all of them are young
    before = sum(path.stat().st_size for path in index.rglob("*.*"))
    rows, planned = json_lines(
        "prune", "--keep", "1", "--keep-hours", "0", "--dry-run", index=index
    )
    assert [row["snapshot"] for row in rows] == [1, 2]
    assert planned["dry_run"]
    assert len(json_lines("snapshots", index=index)[0]) == 3
    rows, done = json_lines("prune", "--keep", "1", "--keep-hours", "0", index=index)
    assert done == planned | {"dry_run": False}
    after = sum(path.stat().st_size for path in index.rglob("*.*"))
    assert before - after == done["bytes_freed"] > 0
    assert [row["snapshot"] for row in json_lines("snapshots", index=index)[0]] == [3]
    text = run("prune", index=index).stdout
    assert text == "0 snapshots removed, 0 B; 1 kept\n"


def test_a_build_prunes(index: Path, album: Path) -> None:
    for path in (index / "snapshots").iterdir():
        manifest = json.loads(path.read_bytes())
        old = json.dumps(manifest).replace(manifest["created"], "2026-01-01T00:00:00+00:00")
        fields = json.loads(old)
        del fields["checksum"]
        path.write_text(checked(fields))
    (album / "back.jpg").unlink()
    run("build", index=index)
    assert [row["snapshot"] for row in json_lines("snapshots", index=index)[0]] == [2, 3, 4]


def checked(fields: dict[str, object]) -> str:
    """Return a manifest with its checksum, as another writer of the format would make it."""
    import hashlib  # noqa: PLC0415 - here only

    def canonical(some: dict[str, object]) -> str:
        return json.dumps(some, sort_keys=True, separators=(",", ":"))

    return canonical({**fields, "checksum": hashlib.sha256(canonical(fields).encode()).hexdigest()})


@pytest.mark.parametrize("verb", ["rollback", "prune", "build"])
def test_one_writer_at_a_time(index: Path, verb: str) -> None:
    with files.writer_lock(index):
        line = complaint(verb, index=index, code=11)
        assert f"process {os.getpid()}, for " in line
        started = time.monotonic()
        complaint(verb, "--lock-wait", "0.5", index=index, code=11)
        assert time.monotonic() - started > 0.5
    run(verb, index=index)


@pytest.mark.parametrize("verb", ["snapshots", "rollback", "prune"])
def test_without_an_index(tmp_path: Path, verb: str) -> None:
    assert "there is no index here" in complaint(verb, index=tmp_path, code=10)
    assert list(tmp_path.iterdir()) == []


def test_all_of_it_is_private(index: Path) -> None:
    assert stat.S_IMODE(index.stat().st_mode) == 0o700
    for path in index.rglob("*"):
        expected = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == expected, path


# --- what is refused ----------------------------------------------------------------------------


def remove(album: Path) -> None:
    (album / "coffee.jpg").unlink()


def spoil(album: Path) -> None:
    (album / "coffee.jpg").write_bytes(b"\xff\xd8\xff garbage")


@pytest.mark.parametrize(
    ("change", "words"),
    [(remove, "of 4 pictures 1 are gone and 0 cannot"), (spoil, "0 are gone and 1 cannot be read")],
)
def test_a_build_that_lost_too_much_is_refused(
    index: Path, album: Path, change: Callable[[Path], None], words: str
) -> None:
    change(album)
    shutil.copy(album / "back.jpg", album / "new.jpg")
    before = run("pairs", "--json", index=index).stdout.splitlines()[:-1]
    for _ in range(2):
        line = complaint("build", "--max-removed", "0", index=index, code=14)
        assert f"{album}: " in line
        assert words in line
        assert "snapshot 3 stays" in line
        assert "annidx build --force" in line
        assert run("pairs", "--json", index=index).stdout.splitlines()[:-1] == before
    assert "14" in run("build", "--help").stdout
    code = 3 if change is spoil else 0
    _, summary = json_lines("build", "--max-removed", "0", "--force", index=index, code=code)
    assert (summary["snapshot"], summary["images"]) == (4, 4)
    run("verify", index=index)


def test_what_is_excluded_on_purpose_is_not_lost(index: Path) -> None:
    _, summary = json_lines("build", "--max-removed", "0", "--exclude", "coffee*", index=index)
    assert (summary["removed"], summary["images"]) == (2, 2)


def test_a_share_may_be_lost(index: Path, album: Path) -> None:
    (album / "coffee.jpg").unlink()
    complaint("build", "--max-removed", "24%", index=index, code=14)
    run("build", "--max-removed", "25%", index=index)
    assert "max_removed is 'many'" in complaint(
        "build", "--max-removed", "many", index=index, code=2
    )
