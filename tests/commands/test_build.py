"""annidx build: what it says, what it leaves alone, and what happens when it is disturbed."""

from __future__ import annotations

import base64
import errno
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from annidx import cli
from annidx.store import files
from tests.commands.running import (
    PICTURES,
    Done,
    closing,
    complaint,
    entry_point,
    environment,
    json_lines,
    run,
    usage_error,
)

SUMMARY = {"images", "added", "removed", "failed", "segments", "snapshot", "seconds"}

# root reads everything: two capabilities of it are dropped before the command starts
DROP_POWERS = """
import ctypes, os, sys
if os.geteuid() == 0 and any(ctypes.CDLL(None).prctl(24, number, 0, 0, 0) for number in (1, 2)):
    sys.exit("cannot drop capabilities")
os.execv(sys.argv[1], sys.argv[1:])
"""
AS_ANYBODY = [sys.executable, "-c", DROP_POWERS]


def test_the_first_build_counts_what_it_found(built: Done) -> None:
    first, *others = built.stdout.splitlines()
    counts = "63 pictures in the index: 63 added, 0 removed, 2 unreadable; snapshot 1"
    assert re.fullmatch(rf"{counts} \([\d.]+ s\)", first)
    assert "annidx status --failed names the unreadable ones" in others
    assert "left out: 1 not-a-picture" in others
    assert built.stderr == ""


def test_json_has_every_key_and_later_builds_see_changes(tmp_path: Path, album: Path) -> None:
    index = tmp_path / "index"
    done = run("build", "--json", album, index=index, workers=True)
    *status, summary = [json.loads(line) for line in done.stdout[:-1].split("\n")]
    assert summary["message_type"] == "summary"
    assert summary.keys() >= SUMMARY
    assert (summary["images"], summary["added"], summary["removed"]) == (3, 3, 0)
    assert (summary["failed"], summary["segments"], summary["snapshot"]) == (0, 1, 1)
    assert {each["message_type"] for each in status} <= {"status"}
    for each in status:
        assert {"percent_done", "seconds_remaining", "files_done", "total_files"} <= each.keys()

    before = sorted(index.rglob("*.*"))
    done = run("build", index=index)
    counts = "3 pictures in the index: 0 added, 0 removed, 0 unreadable; nothing changed"
    assert done.stdout.startswith(counts)
    assert sorted(index.rglob("*.*")) == before

    (album / "cameraman.jpg").unlink()
    (album / "broken.jpg").write_bytes(b"\xff\xd8\xff no more")
    (album / "zero.jpg").touch()
    (album / "denied.jpg").touch(0)
    shutil.copy(album / "coffee.jpg", album / "a later copy.jpg")
    _, summary = json_lines("build", index=index, prefix=AS_ANYBODY, code=3)
    assert (summary["images"], summary["added"], summary["removed"]) == (3, 1, 1)
    assert (summary["failed"], summary["snapshot"], summary["published"]) == (3, 2, True)
    rows, _ = json_lines("status", "--failed", index=index)
    assert {Path(row["path"]).name: row["status"] for row in rows} == {
        "broken.jpg": "unreadable",
        "denied.jpg": "denied",
        "zero.jpg": "empty",
    }
    rows, _ = json_lines("pairs", index=index)
    assert [(Path(row["a"]).name, Path(row["b"]).name) for row in rows] == [
        ("a later copy.jpg", "coffee.jpg"),
        ("a later copy.jpg", "coffee_small.jpg"),
        ("coffee.jpg", "coffee_small.jpg"),
    ]


def test_quiet_is_for_cron(small_index: Path) -> None:
    done = run("build", "--quiet", index=small_index)
    assert (done.stdout, done.stderr) == ("", "")


def test_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    index = tmp_path / "index"
    done = run("build", tmp_path / "folder", index=index)
    assert done.stdout.startswith("no pictures found: 0 added, 0 removed, 0 unreadable")
    assert run("pairs", index=index).stdout.startswith("0 pairs of 0 pictures")
    rows, _ = json_lines("has", PICTURES / "scans" / "brick-wall.jpg", index=index, code=20)
    assert [(row["found"], row["path"], row["distance"]) for row in rows] == [(False, None, None)]


def test_a_folder_without_pictures(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("no picture")
    done = run("build", tmp_path / "folder", index=tmp_path / "index")
    assert done.stdout.startswith("no pictures found: 0 added, 0 removed, 0 unreadable")
    assert "left out: 1 not-a-picture" in done.stdout


@pytest.mark.parametrize(
    ("root", "said"), [("missing", "no such folder: "), ("a.txt", "not a folder: ")]
)
def test_a_root_that_is_no_folder(tmp_path: Path, root: str, said: str) -> None:
    (tmp_path / "a.txt").touch()
    line = complaint("build", tmp_path / root, index=tmp_path / "index", code=1)
    assert said + str(tmp_path / root) in line
    assert not (tmp_path / "index").exists()


def test_no_index_and_no_root(tmp_path: Path) -> None:
    line = complaint("build", index=tmp_path / "index", code=10)
    assert f'{tmp_path / "index"}: there is no index here. Run "annidx build FOLDER" first.' in line
    assert not (tmp_path / "index").exists()


def test_a_place_that_is_taken_is_left_alone(tmp_path: Path, album: Path) -> None:
    a_file = tmp_path / "file"
    a_file.write_text("mine")
    for place in (a_file, album):
        line = complaint("build", album, index=place, code=10)
        assert f"{place}: exists and is no index" in line
        assert "--index" in line
    assert a_file.read_text() == "mine"
    assert len(list(album.iterdir())) == 3


def test_what_is_no_picture_neither_blocks_nor_loops(tmp_path: Path, album: Path) -> None:
    os.mkfifo(album / "fifo.jpg")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(album / "socket.jpg"))
    (album / "loop").symlink_to(album)
    (album / "dangling.jpg").symlink_to("nowhere")
    (album / "twice.jpg").hardlink_to(album / "coffee.jpg")
    (album / ".hidden.jpg").touch()
    _, summary = json_lines("build", album, index=album / "index inside")
    assert summary["images"] == 3
    assert summary["left_out"] == {
        "special": 2,
        "symlink": 2,
        "hard link": 1,
        "hidden": 1,
        "index": 1,
    }


def test_names_that_are_not_utf8_or_not_printable(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/names"
    names = [b"a\xff.jpg", b"b\n\x1b[31m.jpg", "c é日.jpg".encode()]
    os.mkdir(folder)  # noqa: PTH102 - bytes
    for name in names:
        shutil.copy(bytes(PICTURES / "scans" / "cameraman.jpg"), os.path.join(folder, name))  # noqa: PTH118
    (tmp_path / "names" / "cut.jpg").touch()
    index = tmp_path / "index"
    run("build", folder, index=index, code=3)
    rows, _ = json_lines("pairs", index=index)
    first = os.path.join(folder, names[0])  # noqa: PTH118 - bytes
    assert rows[0]["a"] == first.decode(errors="replace")
    assert base64.b64decode(rows[0]["a_base64"]) == first
    assert rows[0]["b"].endswith("/b\n\x1b[31m.jpg")
    assert "b_base64" not in rows[0]
    groups, _ = json_lines("groups", index=index)
    assert base64.b64decode(groups[0]["paths_base64"][0]) == first
    assert groups[0]["paths_base64"][1:] == [None, None]
    human = run("pairs", index=index).stdout
    assert r"b\n\x1b[31m.jpg" in human
    assert "c é日.jpg" in human
    assert len(human.splitlines()) == 4
    assert r"a\xff.jpg" in human


def test_a_folder_that_may_not_be_read(tmp_path: Path, album: Path) -> None:
    closed = album / "closed"
    closed.mkdir()
    shutil.copy(PICTURES / "scans" / "brick-wall.jpg", closed)
    index = tmp_path / "index"
    run("build", album, index=index)
    closed.chmod(0)
    try:
        done = run("build", index=index, prefix=AS_ANYBODY, code=3)
    finally:
        closed.chmod(0o700)
    assert done.stderr.count("\n") == 1
    assert str(closed) in done.stderr
    assert "Permission denied" in done.stderr
    assert done.stdout.startswith("4 pictures in the index: 0 added, 0 removed")


def test_a_root_that_is_gone_keeps_its_pictures(tmp_path: Path, album: Path) -> None:
    index = tmp_path / "index"
    run("build", album, index=index)
    album.rename(tmp_path / "hidden")
    done = run("build", index=index)
    assert done.stderr.startswith(f"annidx: warning: {album} is missing")
    assert "annidx roots move" in done.stderr
    assert done.stdout.startswith("3 pictures in the index: 0 added, 0 removed")


def test_exclude_is_remembered_and_graphs_are_used(tmp_path: Path, album: Path) -> None:
    index = tmp_path / "index"
    run("build", "--exclude", "cam*", "--graphs", "signature", album, index=index)
    _, summary = json_lines("build", index=index)
    assert (summary["images"], summary["left_out"]) == (2, {"excluded": 1})
    words = ("--metric", "signature", album / "coffee.jpg")
    _, answer = json_lines("query", *words, index=index)
    assert (answer["engine"], answer["count"]) == ("graph", 1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--workers", "0"], "argument --workers: 0: expected"),
        (["--timeout", "-1"], "argument --timeout: -1: expected"),
        (["--timeout", "0"], "argument --timeout: 0: expected"),
        (["--lock-wait", "nan"], "argument --lock-wait: nan: expected"),
        (["--workers", "two"], "argument --workers: two: expected"),
        (["--timeout", "soon"], "argument --timeout: soon: expected"),
        (["--graphs", "pdq"], "unknown metric 'pdq': expected one of thumb, signature"),
    ],
)
def test_options_without_a_meaning(tmp_path: Path, words: list[str], said: str) -> None:
    assert said in usage_error("build", *words, index=tmp_path / "index")


def test_a_lock_keeps_writers_out_and_lets_readers_in(small_index: Path, tmp_path: Path) -> None:
    with (small_index / "locks" / "writer.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for words in (["build"], ["roots", "add", tmp_path]):
            line = complaint(str(words[0]), *words[1:], index=small_index, code=11)
            assert f"{small_index}: another build is writing to this index" in line
            assert "Try again" in line
        run("pairs", index=small_index)
        waiting = start_build(small_index, "--lock-wait", "100")
        time.sleep(1)
        assert waiting.poll() is None
        fcntl.flock(lock, fcntl.LOCK_UN)
        _, errors = waiting.communicate(timeout=60)
        assert (waiting.returncode, errors) == (0, b"")


def start_build(index: Path, *words: str) -> subprocess.Popen[bytes]:
    """Start a build as a terminal would: with a process group of its own."""
    command = [str(entry_point()), "build", "--index", str(index), "--json", *words]
    pipe: Any = subprocess.PIPE
    return subprocess.Popen(
        command, stdout=pipe, stderr=pipe, env=environment({}), start_new_session=True
    )


def running_in_session(session: int) -> list[str]:
    """Return the processes of a session that have not ended."""
    command = ["ps", "-s", str(session), "-o", "stat=,args="]
    listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return [line for line in listed.splitlines() if not line.startswith("Z")]


def test_interrupted_in_the_middle(own_index: Path) -> None:
    snapshots = {path: path.read_bytes() for path in (own_index / "snapshots").iterdir()}
    building = start_build(own_index, "--rebuild", "--workers", "1")
    assert building.stdout is not None
    assert json.loads(building.stdout.readline())["stage"] == "extract"
    os.killpg(building.pid, signal.SIGINT)
    _, errors = building.communicate(timeout=60)
    assert building.returncode == 130, errors
    assert errors.startswith(b"annidx: interrupted")
    assert errors.count(b"\n") == 1
    deadline = time.monotonic() + 20
    while running_in_session(building.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert running_in_session(building.pid) == []
    assert {path: path.read_bytes() for path in (own_index / "snapshots").iterdir()} == snapshots
    assert closing(run("verify", index=own_index)) == "6 files checked, 0 damaged"
    done = run("build", "--rebuild-graphs", index=own_index, code=3)
    assert done.stdout.startswith("63 pictures in the index: 0 added, 0 removed, ")
    assert "2 unreadable; snapshot 2" in done.stdout
    assert list((own_index / "tmp").iterdir()) == []
    run("verify", index=own_index)


# From cron


def test_an_old_broken_picture_is_no_news(small_index: Path, album: Path) -> None:
    (album / "broken.jpg").write_bytes(b"\xff\xd8\xff no more")
    done = run("build", "--quiet", album, index=small_index, code=3)
    assert done.stdout == ""
    assert done.stderr == (
        f"annidx: warning: {small_index}: 1 file could not be read, 1 of them new: "
        f"{album}/broken.jpg; annidx status --failed names them all\n"
    )
    for policy in ("none", "new"):
        done = run("build", "--quiet", "--fail-on", policy, index=small_index, code=3)
        assert (done.stdout, done.stderr) == ("", "")
    line = complaint("build", "--quiet", "--fail-on", "any", index=small_index, code=1)
    assert "1 file could not be read; annidx status" in line


def test_fail_on_new_alarms_once_and_publishes(small_index: Path, album: Path) -> None:
    for name in ("one.jpg", "two.jpg"):
        (album / name).write_bytes(b"\xff\xd8\xff no more " + name.encode())
    line = complaint("build", "--quiet", "--fail-on", "new", album, index=small_index, code=1)
    assert f"2 files could not be read, 2 of them new: {album}/one.jpg and 1 more; " in line
    _, summary = json_lines("build", "--fail-on", "new", index=small_index, code=3)
    assert (summary["failed"], summary["failed_new"], summary["snapshot"]) == (2, 0, 2)
    assert "new_failures" not in summary
    (album / "three.jpg").touch()
    done = run("build", "--json", "--fail-on", "new", index=small_index, code=1)
    summary = json.loads(done.stdout.splitlines()[-1])
    assert (summary["failed"], summary["failed_new"], summary["snapshot"]) == (3, 1, 3)
    assert done.stderr.count("\n") == 1


def test_quiet_says_all_troubles_in_one_line(tmp_path: Path, album: Path) -> None:
    roots = [tmp_path / f"root {number}" for number in range(4)]
    for root in roots:
        shutil.copytree(album, root)
    index = tmp_path / "index"
    run("build", album, *roots, index=index)
    for root in roots:
        root.rename(tmp_path / f"away with {root.name}")
    (album / "zero.jpg").touch()
    line = complaint("build", "--quiet", index=index, code=3)
    assert "1 file could not be read, 1 of them new: " in line
    assert f" | {roots[0]} is missing: " in line
    assert line.endswith(" | and 2 more\n")
    line = complaint(
        "build", "--quiet", index=index, code=3
    )  # again: the roots are news each night
    assert line.startswith(f"annidx: warning: {roots[0]} is missing: ")
    assert "zero.jpg" not in line


def test_metrics_are_written_when_a_build_goes_through(tmp_path: Path, album: Path) -> None:
    index, metrics = tmp_path / "index", tmp_path / "collected" / "annidx.prom"
    metrics.parent.mkdir()
    words = ("--metrics-file", metrics, "--fail-on", "new")
    run("build", *words, album, index=index)
    first = metrics.read_text()
    assert f'annidx_pictures{{index="{index}"}} 3\n' in first
    assert f'annidx_recall{{index="{index}",metric="fingerprint"}} 1\n' in first
    assert f'annidx_failures_new{{index="{index}"}} 0\n' in first
    assert metrics.stat().st_mode & 0o777 == 0o644
    assert list(metrics.parent.iterdir()) == [metrics]
    (album / "zero.jpg").touch()
    run("build", *words, index=index, code=1)
    assert f'annidx_failures_new{{index="{index}"}} 1\n' in metrics.read_text()
    metrics.write_text(first)
    with (index / "locks" / "writer.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        complaint("build", *words, index=index, code=11)
    assert metrics.read_text() == first


def test_a_place_for_metrics_is_checked_before_the_build(tmp_path: Path, album: Path) -> None:
    index = tmp_path / "index"

    def refused(file: str | Path, code: int) -> str:
        prefix = AS_ANYBODY if tmp_path in Path(file).parents else ()
        return complaint(
            "build", "--metrics-file", file, album, index=index, code=code, prefix=prefix
        )

    assert f"there is no folder {tmp_path}/none: make it" in refused(tmp_path / "none" / "m", 1)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    assert f"no permission to write in {closed}" in refused(closed / "m.prom", 1)
    for wrong in ("", "/dev/null", str(album)):
        assert f"--metrics-file '{wrong}': expected the name of a file" in refused(wrong, 2)
    assert not index.exists()


def test_metrics_that_cannot_be_written_are_trouble(
    tmp_path: Path,
    album: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The folder was there when the build began."""

    def full(path: Path, _: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(files, "replacing", full)
    words = ["build", "--index", str(tmp_path / "index"), "--metrics-file", str(tmp_path / "m")]
    assert cli.main([*words, str(album)]) == 1
    printed = capsys.readouterr()
    assert printed.out.startswith("3 pictures in the index: 3 added")
    assert f"{tmp_path}/m: the metrics were not written: No space left" in printed.err
    assert printed.err.count("\n") == 1
