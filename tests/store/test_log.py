"""Logs: what is appended stays, torn and damaged lines cost themselves alone."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from annidx.store import files, log

RECORDS: list[dict[str, Any]] = [{"number": 1}, {"text": "a\nb \u00e9"}, {"nested": {"a": [1, 2]}}]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of a log with three records."""
    path = tmp_path / "some.log"
    log.append(path, RECORDS[:1])
    log.append(path, RECORDS[1:])
    return path


def test_what_was_appended_is_read_in_order(path: Path) -> None:
    assert log.read(path) == RECORDS
    assert path.stat().st_mode & 0o777 == 0o600


def test_no_log_has_no_records(tmp_path: Path) -> None:
    assert log.read(tmp_path / "none.log") == []


def test_wherever_it_is_torn_the_lines_before_are_read_and_it_goes_on(path: Path) -> None:
    whole = path.read_bytes()
    ends = [at + 1 for at, byte in enumerate(whole) if byte == ord("\n")]
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        left = RECORDS[: sum(end <= length for end in ends)]
        assert log.read(path) == left
        log.append(path, [{"next": 1}])
        assert log.read(path) == [*left, {"next": 1}]


def test_zeros_at_the_end_are_torn_as_well(path: Path) -> None:
    """What some file systems leave of a file that was growing when the power failed."""
    with path.open("ab") as handle:
        handle.write(bytes(200_000))
    assert log.read(path) == RECORDS
    log.append(path, RECORDS[:1])
    assert log.read(path) == [*RECORDS, RECORDS[0]]


def test_a_damaged_line_is_passed_over_with_a_warning(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = bytearray(path.read_bytes())
    data[data.index(b"number")] ^= 1
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        assert log.read(path) == RECORDS[1:]
    assert "line 1 is damaged" in caplog.text


def test_an_append_that_fails_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def failing(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(OSError, match="Input/output error"):
        log.append(path, [{"next": 1}])
    assert path.read_bytes() == before


def test_every_append_is_synced(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    monkeypatch.setattr(files, "_sync", lambda _, path: synced.append(path))
    log.append(path, RECORDS)
    log.append(path.with_name("new.log"), RECORDS)
    assert synced == [path, path.with_name("new.log"), path.parent]
