"""The real command line and real workers: killed, interrupted, out of space, and built again."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annidx import building, cli
from annidx.spool import Spool
from annidx.store import files, journal, snapshot
from tests.commands.running import complaint, entry_point, environment, json_lines, run
from tests.making import LONG_AGO_NS, aged, photo, save
from tests.test_resume import here

COUNT = 240
BATCH = 32
"""Rows that a kill may lose, of those that were booked."""

DYING = """
import os, sys
from annidx import cli
from annidx.commands import build

class Meter(build.Meter):
    def __call__(self, progress):
        super().__call__(progress)
        if progress.done == int(sys.argv[1]):
            os.kill(os.getpid(), int(sys.argv[2]))

build.Meter = Meter
sys.exit(cli.main(sys.argv[3:]))
"""


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for number in range(COUNT):
        save(tmp_path / "photos" / f"{number:03}.png", photo(number, (24, 16)))
    return tmp_path / "photos"


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return tmp_path / "index"


def die(index: Path, done: int, number: signal.Signals, *words: str | Path) -> str:
    """Run a build that gets a signal when so many files were looked at; return its stderr."""
    command = [sys.executable, "-c", DYING, str(done), str(int(number)), "build"]
    command += ["--index", str(index), "--workers", "2", *map(str, words)]
    ended = subprocess.run(
        command, capture_output=True, text=True, env=environment({}), timeout=100, check=False
    )
    expected = 130 if number == signal.SIGINT else -number
    assert ended.returncode == expected, ended.stderr
    return ended.stderr


def kill(index: Path, done: int, *words: str | Path) -> None:
    assert die(index, done, signal.SIGKILL, *words) == ""


def build(index: Path, *words: str | Path, code: int = 0) -> dict[str, Any]:
    """Build to the end; nothing is left, no path and no number is there twice."""
    _, summary = json_lines("build", "--workers", "2", *map(str, words), index=index, code=code)
    assert list((index / "tmp").iterdir()) == list((index / "staging").iterdir()) == []
    return summary


def ids(index: Path) -> dict[str, int]:
    opened = snapshot.current(index)
    rows = np.flatnonzero(opened.pictures.live)
    names = [Path(os.fsdecode(path)).name for path in opened.paths(rows)]
    found = dict(zip(names, opened.pictures.values("image_id", rows), strict=True))
    assert len(found) == len(names) == len(set(found.values()))
    return found


def names(photos: Path) -> set[str]:
    return {path.name for path in photos.iterdir()}


def test_a_first_build_that_is_killed_twice_and_interrupted(photos: Path, index: Path) -> None:
    """Each goes on where the one before ended; at most a batch of rows is lost to a kill."""
    kill(index, 80, photos)
    kill(index, 80, photos)
    errors = die(index, 30, signal.SIGINT, photos)
    assert errors.startswith("annidx: interrupted")
    assert errors.count("\n") == 1
    summary = build(index, photos)
    assert summary["added"] == summary["images"] == COUNT
    assert summary["adopted"] + summary["decoded"] == COUNT
    assert summary["adopted"] >= 2 * (80 - BATCH) + 30
    assert set(ids(index)) == names(photos)


def test_ctrl_c_loses_no_row(photos: Path, index: Path) -> None:
    """What was booked is noted on the way out, moved and copied files included."""
    build(index, photos)
    before = ids(index)
    for number in range(50):
        (photos / f"{number:03}.png").rename(photos / f"moved {number:03}.png")
        save(photos / f"new {number:03}.png", photo(1000 + number, (24, 16)))
    die(index, 75, signal.SIGINT)
    assert ids(index) == before
    summary = build(index)
    assert (summary["decoded"], summary["removed"]) == (25, 0)
    after = ids(index)
    assert {after[f"moved {number:03}.png"] for number in range(50)} == {
        before[f"{number:03}.png"] for number in range(50)
    }


def test_a_later_build_that_is_killed(photos: Path, index: Path) -> None:
    """Changed, moved, removed, copied, touched and new pictures."""
    build(index, photos)
    before = ids(index)
    for number in range(20):
        save(photos / f"{number:03}.png", photo(500 + number, (24, 16)), mtime_ns=LONG_AGO_NS + 1)
        (photos / f"{20 + number:03}.png").rename(photos / f"moved {number:03}.png")
        (photos / f"{40 + number:03}.png").unlink()
        shutil.copy2(photos / f"{60 + number:03}.png", photos / f"copy {number:03}.png")
        aged(photos / f"{80 + number:03}.png", LONG_AGO_NS + 2)
    for number in range(100):
        save(photos / f"new {number:03}.png", photo(600 + number, (24, 16)))
    kill(index, 120)  # 60 are only hashed
    assert ids(index) == before
    kill(index, 40)
    summary = build(index)
    assert summary["decoded"] <= 120 - (60 - BATCH)
    after = ids(index)
    assert set(after) == names(photos)
    for number in range(20):
        assert after[f"{number:03}.png"] not in before.values()
        assert after[f"moved {number:03}.png"] == before[f"{20 + number:03}.png"]
        assert after[f"copy {number:03}.png"] not in before.values()
        assert after[f"{80 + number:03}.png"] == before[f"{80 + number:03}.png"]


def test_what_extracts_everything_anew_is_killed(photos: Path, index: Path) -> None:
    """--rebuild begins again; another set of descriptors goes on when it is asked for again."""
    build(index, photos)
    before = ids(index)
    kill(index, 100, "--rebuild")
    assert ids(index) == before
    summary = build(index, "--rebuild")
    assert (summary["decoded"], summary["added"]) == (COUNT, 0)
    assert ids(index) == before
    words = ("--descriptors", "thumb,gray8")
    kill(index, 100, *words)
    kill(index, 60, *words)
    assert ids(index) == before
    summary = build(index, *words)
    assert COUNT - 160 <= summary["decoded"] <= COUNT - 160 + 2 * BATCH
    assert summary["removed"] == 0
    assert ids(index) == before


def test_killed_from_outside(photos: Path, index: Path) -> None:
    """As soon as there is a journal, whatever it is doing then, and its workers with it."""
    command = list(map(str, (entry_point(), "build", "--index", index, "--workers", "2", photos)))
    for _ in range(2):
        child = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, env=environment({}), start_new_session=True
        )
        deadline = time.monotonic() + 60
        before = size(index)
        while size(index) <= before and child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.001)
        child.kill()
        child.wait()
        if snapshot.current_manifest(index) is None:
            assert size(index) > before
    summary = build(index, photos)
    assert summary["images"] == COUNT
    assert set(ids(index)) == names(photos)
    run("verify", index=index)


def size(index: Path) -> int:
    try:
        return (index / "staging" / "pictures.journal").stat().st_size
    except FileNotFoundError:
        return 0


# --- no space left --------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, whose size can be set by resize()."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(place)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs to mount a tmpfs")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def resize(disk: Path, kilobytes: int) -> None:
    words = ["mount", "-o", f"remount,size={kilobytes}k", str(disk)]
    subprocess.run(words, check=True, capture_output=True)


def used(disk: Path) -> int:
    facts = os.statvfs(disk)
    return (facts.f_blocks - facts.f_bfree) * facts.f_frsize // 1024


def test_a_disk_that_is_full(photos: Path, disk: Path) -> None:
    """In the journal, in the segment, in the graph: wherever, the old snapshot stays."""
    index = disk / "index"
    few = photos.parent / "few"
    for number in range(5):
        save(few / f"few {number}.png", photo(2000 + number))
    build(index, few)
    before = ids(index)
    for more in (0, 100, 200, 400):
        resize(disk, used(disk) + more)
        line = complaint("build", "--workers", "2", photos, index=index, code=1)
        assert "No space left on device" in line, line
        assert "free some space and build again" in line
        assert ids(index) == before
        resize(disk, 20_000)
    summary = build(index, photos)
    assert summary["images"] == COUNT + 5
    assert summary["decoded"] < COUNT
    assert set(ids(index)) == names(photos) | names(few)


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("owner", "name"),
    [(journal, "_write_whole"), (snapshot, "add_table"), (Spool, "_write"), (files, "write_new")],
)
def test_no_space_for_one_thing(
    tmp_path: Path,
    index: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    owner: Any,
    name: str,
) -> None:
    """The same without a small disk: the one line on stderr, and the build after it."""
    for number in range(5):
        save(tmp_path / "few" / f"{number}.png", photo(number))
    command = ["build", "--index", str(index), "--workers", "1", str(tmp_path / "few")]
    monkeypatch.setattr(building, "map_items", here)
    assert cli.main(command) == 0
    for number in range(5):
        save(tmp_path / "few" / f"new {number}.png", photo(10 + number))
    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, full)
        assert cli.main(command) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    assert "No space left on device; the index stays at its last snapshot" in output.err
    assert len(ids(index)) == 5
    assert cli.main([*command, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["images"] == 10
    assert len(ids(index)) == 10
