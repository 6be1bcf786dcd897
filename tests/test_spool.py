"""annidx.spool: a queue between two threads, of which the middle lies on disk."""

from __future__ import annotations

import errno
import os
import resource
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from annidx.spool import CHUNK, Spool

SHORT_S = 0.01
LONG_S = 60.0
"""As long as nothing is broken, nobody waits for so long."""


def put_all(spool: Spool[Any], items: Iterable[Any]) -> None:
    for item in items:
        spool.put(item)
    spool.finish()


def take_all(spool: Spool[Any]) -> list[Any]:
    taken = []
    while (chunk := spool.take(LONG_S)) is not None:
        taken += chunk
    return taken


@pytest.mark.parametrize("count", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 10 * CHUNK + 7])
def test_items_come_out_in_order(tmp_path: Path, count: int) -> None:
    spool: Spool[int] = Spool(tmp_path)
    put_all(spool, range(count))
    assert take_all(spool) == list(range(count))
    assert spool.take(SHORT_S) is None  # the end stays the end
    spool.close()


def test_between_threads(tmp_path: Path) -> None:
    """A thread that puts while another one takes."""
    spool: Spool[tuple[int, bytes]] = Spool(tmp_path)
    items = [(number, b"x" * (number % 700)) for number in range(20 * CHUNK + 3)]
    thread = threading.Thread(target=put_all, args=(spool, items))
    thread.start()
    assert take_all(spool) == items
    thread.join()
    spool.close()


def test_items_are_seen_in_chunks(tmp_path: Path) -> None:
    """A chunk costs two system calls; an item of its own would cost as much."""
    spool: Spool[int] = Spool(tmp_path)
    for number in range(CHUNK - 1):
        spool.put(number)
    assert spool.take(SHORT_S) == []
    spool.put(CHUNK - 1)
    assert spool.take(LONG_S) == list(range(CHUNK))
    assert spool.take(SHORT_S) == []
    spool.put(CHUNK)
    spool.finish()
    assert spool.take(LONG_S) == [CHUNK]
    assert spool.take(LONG_S) is None
    spool.close()


def test_whoever_takes_is_woken(tmp_path: Path) -> None:
    """By items and by the end, long before the time is over."""
    spool: Spool[int] = Spool(tmp_path)
    taken: list[list[int] | None] = []
    thread = threading.Thread(target=lambda: taken.extend([spool.take(LONG_S), spool.take(LONG_S)]))
    thread.start()
    time.sleep(SHORT_S)
    put_all(spool, range(CHUNK))
    thread.join(LONG_S / 2)
    assert taken == [list(range(CHUNK)), None]
    spool.close()


def test_an_error_comes_after_the_last_items(tmp_path: Path) -> None:
    spool: Spool[int] = Spool(tmp_path)
    for number in range(CHUNK):
        spool.put(number)
    spool.finish(PermissionError("the walk failed"))
    assert spool.take(LONG_S) == list(range(CHUNK))
    for _ in range(2):
        with pytest.raises(PermissionError, match="the walk failed"):
            spool.take(LONG_S)
    spool.close()


def full(*_: object) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class FullDisk:
    """A file on a disk that has no space left."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.write = full

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def test_a_full_disk_is_told_to_both(tmp_path: Path) -> None:
    """Whoever puts has it at once; so has whoever takes, once it is passed on."""
    spool: Spool[int] = Spool(tmp_path)
    for number in range(CHUNK):
        spool.put(number)
    spool._file = FullDisk(spool._file)  # type: ignore[assignment]
    for number in range(CHUNK - 1):
        spool.put(number)
    with pytest.raises(OSError, match="No space left") as caught:
        spool.put(CHUNK)
    spool.finish(caught.value)
    assert spool.take(LONG_S) == list(range(CHUNK))
    with pytest.raises(OSError, match="No space left"):
        spool.take(LONG_S)
    spool.close()


def test_a_disk_that_is_full_at_the_end(tmp_path: Path) -> None:
    """The last items are written by finish(): it does not raise, take() does."""
    spool: Spool[int] = Spool(tmp_path)
    spool.put(1)
    spool._file = FullDisk(spool._file)  # type: ignore[assignment]
    spool.finish()
    with pytest.raises(OSError, match="No space left"):
        spool.take(LONG_S)
    spool.close()


def test_a_file_that_cannot_grow(tmp_path: Path) -> None:
    """A real one: what could not be written is not tried again when the spool is closed."""
    spool: Spool[bytes] = Spool(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        spool.put(bytes(1000))
        spool.finish()
        with pytest.raises(OSError, match="File too large"):
            spool.take(LONG_S)
        spool.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_is_waiting_lies_on_disk_under_no_name(tmp_path: Path) -> None:
    """A process that is killed leaves nothing behind."""
    spool: Spool[bytes] = Spool(tmp_path)
    put_all(spool, [os.urandom(1000) for _ in range(4 * CHUNK)])
    assert list(tmp_path.iterdir()) == []
    assert os.fstat(spool._file.fileno()).st_size > 4 * CHUNK * 1000
    assert len(take_all(spool)) == 4 * CHUNK
    spool.close()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Spool(tmp_path / "missing")
