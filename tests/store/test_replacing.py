"""annidx.store.files.replacing: a file outside of an index, written whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
import threading
from pathlib import Path

import pytest

from annidx.errors import IndexDamaged, IndexNotFound
from annidx.store.files import replacing


def write(path: Path, data: bytes = b"new") -> None:
    with replacing(path) as handle:
        handle.write(data)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_file_has_the_mode_of_any_new_file(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write(tmp_path / "file")
    finally:
        os.umask(before)
    assert contents(tmp_path) == {"file": b"new"}
    assert mode(tmp_path / "file") == 0o640


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o604)
    with replacing(path) as handle:
        handle.write(b"new")
        handle.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert mode(path) == 0o604


def fail(path: Path, error: BaseException) -> None:
    with replacing(path) as handle:
        handle.write(b"half")
        raise error


@pytest.mark.parametrize("kind", [IndexDamaged, IndexNotFound, KeyboardInterrupt, OSError])
@pytest.mark.parametrize("old", [None, b"old"])
def test_after_an_error_all_is_as_it_was(
    tmp_path: Path, kind: type[BaseException], old: bytes | None
) -> None:
    path = tmp_path / "file"
    if old is not None:
        path.write_bytes(old)
    error = kind(errno.ENOSPC, "full") if kind is OSError else kind("why")
    with pytest.raises(kind) as raised:
        fail(path, error)
    assert contents(tmp_path) == ({} if old is None else {"file": old})
    assert str(raised.value) == (f"[Errno 28] full: '{path}'" if kind is OSError else "why")


def test_it_is_synced_before_it_is_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []

    def note(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_size)
        assert not (tmp_path / "file").exists()

    monkeypatch.setattr(os, "fsync", note)
    write(tmp_path / "file")
    assert synced == [3]


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    target = tmp_path / "folder" / "target"
    target.write_bytes(b"old")
    (tmp_path / "link").symlink_to(target)
    (tmp_path / "dangling").symlink_to(tmp_path / "folder" / "made")
    write(tmp_path / "link")
    write(tmp_path / "dangling")
    assert (tmp_path / "link").is_symlink()
    assert target.read_bytes() == (tmp_path / "folder" / "made").read_bytes() == b"new"


def test_a_pipe_is_written_into(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(path.read_bytes()))
    reader.start()
    write(path)
    reader.join(10)
    assert got == [b"new"]
    assert path.is_fifo()


def test_what_is_refused_is_named_and_left_alone(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError) as raised:
        write(tmp_path)
    assert raised.value.filename == str(tmp_path)
    with pytest.raises(FileNotFoundError) as missing:
        write(tmp_path / "no" / "file")
    assert missing.value.filename == str(tmp_path / "no" / "file")
    assert contents(tmp_path) == {}
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError) as below:
        write(tmp_path / "file" / "file")
    assert below.value.filename == str(tmp_path / "file" / "file")
    assert contents(tmp_path) == {"file": b""}


def test_a_protected_file_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o400)
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everything
    with pytest.raises(PermissionError) as raised:
        write(path)
    assert raised.value.filename == str(path)
    assert path.read_bytes() == b"old"


def test_a_name_of_255_bytes(tmp_path: Path) -> None:
    write(tmp_path / ("x" * 255))
    assert contents(tmp_path) == {"x" * 255: b"new"}
