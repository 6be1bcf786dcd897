"""annidx.store.files: whole or not at all, in the right order, one writer, private."""

from __future__ import annotations

import hashlib
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from annidx.errors import IndexLocked
from annidx.store import files

DATA = b"some bytes\n" * 1000


@pytest.fixture
def index(tmp_path: Path) -> Path:
    place = tmp_path / "new" / "index"
    files.make_folders(place)
    return place


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_an_index_is_private(tmp_path: Path) -> None:
    index = tmp_path / "index"
    before = os.umask(0)
    try:
        files.make_folders(index)
        files.write_new(index / "snapshots" / "1.json", DATA, index)
        staged = files.staging_path(index, ".parquet")
        staged.write_bytes(DATA)
        digest, _ = files.seal(staged, index / "segments", ".parquet")
        with files.writer_lock(index):
            assert mode(index / "locks" / "writer.lock") == 0o600
    finally:
        os.umask(before)
    assert {mode(index), *(mode(index / name) for name in files.FOLDERS)} == {0o700}
    assert mode(index / "snapshots" / "1.json") == 0o600
    assert mode(index / "segments" / f"{digest}.parquet") == 0o600


def test_folders_may_be_there_already(index: Path) -> None:
    files.make_folders(index)
    assert sorted(path.name for path in index.iterdir()) == sorted(files.FOLDERS)


def test_sha256_of(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    assert files.sha256_of(path) == hashlib.sha256(DATA).hexdigest()


def test_staging_paths_are_fresh(index: Path) -> None:
    paths = {files.staging_path(index, ".x") for _ in range(100)}
    assert len(paths) == 100
    assert {path.parent for path in paths} == {index / "tmp"}


def test_seal_moves_a_file_to_its_hash(index: Path) -> None:
    staged = files.staging_path(index, ".hnsw")
    staged.write_bytes(DATA)
    digest, size = files.seal(staged, index / "graphs", ".hnsw")
    assert (digest, size) == (hashlib.sha256(DATA).hexdigest(), len(DATA))
    assert (index / "graphs" / f"{digest}.hnsw").read_bytes() == DATA
    assert not staged.exists()


def test_seal_again_is_the_same_file(index: Path) -> None:
    for _ in range(2):
        staged = files.staging_path(index, "")
        staged.write_bytes(DATA)
        digest, _ = files.seal(staged, index / "graphs", "")
    assert [path.name for path in (index / "graphs").iterdir()] == [digest]


def no_hard_links(*_: object, **__: object) -> None:
    raise OSError(95, "Operation not supported")


@pytest.mark.parametrize("links", [True, False])
def test_write_new_writes_once(index: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    if not links:
        monkeypatch.setattr(os, "link", no_hard_links)
    path = index / "snapshots" / "00000001.json"
    files.write_new(path, DATA, index)
    assert path.read_bytes() == DATA
    with pytest.raises(FileExistsError):
        files.write_new(path, b"other", index)
    assert path.read_bytes() == DATA
    assert mode(path) == 0o600
    assert list((index / "tmp").iterdir()) == []


@pytest.mark.parametrize("links", [True, False])
def test_write_new_writes_nothing_when_the_disk_is_full(
    index: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    fsync, left = os.fsync, [0 if links else 1]  # without links the second sync is the file's own

    def full(descriptor: int) -> None:
        if not left[0]:
            raise OSError(28, "No space left on device")
        left[0] -= 1
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    if not links:
        monkeypatch.setattr(os, "link", no_hard_links)
    path = index / "snapshots" / "00000001.json"
    with pytest.raises(OSError, match="No space left"):
        files.write_new(path, DATA, index)
    assert not path.exists()
    assert list((index / "tmp").iterdir()) == []


@contextmanager
def logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str]]]:
    """Log what is synced, linked and renamed: ('sync', 'file of 11000'), ('link', '1.json')."""
    log: list[tuple[str, str]] = []
    fsync, link, rename = os.fsync, os.link, Path.rename

    def logged_fsync(descriptor: int) -> None:
        facts = os.fstat(descriptor)
        folder = stat.S_ISDIR(facts.st_mode)
        log.append(("sync", "folder" if folder else f"file of {facts.st_size}"))
        fsync(descriptor)

    def logged_link(source: Path, target: Path) -> None:
        log.append(("link", Path(target).name))
        link(source, target)

    def logged_rename(source: Path, target: Path) -> Path:
        log.append(("rename", Path(target).suffix))
        return rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", logged_fsync)
        patch.setattr(os, "link", logged_link)
        patch.setattr(Path, "rename", logged_rename)
        yield log


def test_a_new_file_is_synced_before_it_is_linked(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with logged(monkeypatch) as log:
        files.write_new(index / "1.json", DATA, index)
    assert log == [("sync", f"file of {len(DATA)}"), ("link", "1.json"), ("sync", "folder")]


def test_a_sealed_file_is_synced_before_it_is_renamed(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged = files.staging_path(index, ".parquet")
    staged.write_bytes(DATA)
    with logged(monkeypatch) as log:
        files.seal(staged, index / "segments", ".parquet")
    assert log == [("sync", f"file of {len(DATA)}"), ("rename", ".parquet"), ("sync", "folder")]


def test_without_hard_links_the_file_itself_is_synced(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The inner patch must end before the outer one, or the outer one's function stays for good.
    with logged(monkeypatch) as log, pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "link", no_hard_links)
        files.write_new(index / "1.json", DATA, index)
    whole = ("sync", f"file of {len(DATA)}")
    assert log == [whole, whole, ("sync", "folder")]


@pytest.mark.parametrize(("error", "raises"), [(22, False), (95, False), (5, True)])
def test_folders_that_cannot_be_synced(
    index: Path, monkeypatch: pytest.MonkeyPatch, error: int, raises: bool
) -> None:
    def failing(_: int) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "fsync", failing)
    if raises:
        with pytest.raises(OSError, match=os.strerror(error)):
            files.sync_folder(index)
    else:
        files.sync_folder(index)


def test_discard(index: Path) -> None:
    (index / "tmp" / "a").write_bytes(DATA)
    (index / "tmp" / "folder" / "inside").mkdir(parents=True)
    (index / "tmp" / "link").symlink_to(index)
    for path in (index / "tmp").iterdir():
        files.discard(path)
    files.discard(index / "tmp" / "a")  # gone already
    assert list((index / "tmp").iterdir()) == []
    assert (index / "segments").is_dir()


HOLDER = """
import sys, time
from pathlib import Path
from annidx.store import files
with files.writer_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""

Hold = Callable[[float], "subprocess.Popen[str]"]


@pytest.fixture
def hold(index: Path) -> Iterator[Hold]:
    """Start other processes that hold the lock for some seconds."""
    started: list[subprocess.Popen[str]] = []

    def start(seconds: float) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", HOLDER, str(index), str(seconds)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_the_second_writer_is_told_who_is_first(index: Path, hold: Hold) -> None:
    process = hold(60)
    with (
        pytest.raises(IndexLocked, match=rf"{index}: .*process {process.pid}, for \d+ s"),
        files.writer_lock(index),
    ):
        pytest.fail("two writers")
    assert IndexLocked.exit_code == 11


def test_the_lock_of_a_killed_process_is_free(index: Path, hold: Hold) -> None:
    process = hold(60)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with files.writer_lock(index):
        assert (index / "locks" / "writer.json").exists()
    assert not (index / "locks" / "writer.json").exists()


def test_waiting_for_the_lock(index: Path, hold: Hold) -> None:
    hold(0.4)
    began = time.monotonic()
    with files.writer_lock(index, wait_s=20):
        assert time.monotonic() - began < 10
    hold(60)
    began = time.monotonic()
    with pytest.raises(IndexLocked), files.writer_lock(index, wait_s=0.3):
        pytest.fail("two writers")
    assert 0.3 <= time.monotonic() - began < 5


def test_the_message_does_without_the_holders_note(index: Path, hold: Hold) -> None:
    hold(60)
    (index / "locks" / "writer.json").write_text("{")
    with pytest.raises(IndexLocked, match="another process"), files.writer_lock(index):
        pytest.fail("two writers")


def test_two_threads_are_two_writers(index: Path) -> None:
    refused: list[IndexLocked] = []

    def second() -> None:
        try:
            with files.writer_lock(index):
                pass
        except IndexLocked as error:
            refused.append(error)

    with files.writer_lock(index):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert len(refused) == 1
    assert str(os.getpid()) in str(refused[0])


def test_the_lock_is_freed_after_an_error(index: Path) -> None:
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), files.writer_lock(index):
            raise ZeroDivisionError


def test_children_do_not_keep_the_lock(index: Path, hold: Hold) -> None:
    """Worker processes may outlive a killed builder for a moment."""
    child = None
    with files.writer_lock(index):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        assert hold(0.0).wait(20) == 0
    finally:
        child.kill()
        child.wait()


def test_a_mode_may_be_asked_for(tmp_path: Path) -> None:
    """Whatever the umask is, and whatever it was before: another user reads metrics."""
    path = tmp_path / "m.prom"
    old = os.umask(0o077)
    try:
        for data in (b"first", b"second"):
            with files.replacing(path, 0o644) as handle:
                handle.write(data)
            assert path.read_bytes() == data
            assert path.stat().st_mode & 0o777 == 0o644
            path.chmod(0o600)
    finally:
        os.umask(old)
    assert list(tmp_path.iterdir()) == [path]
