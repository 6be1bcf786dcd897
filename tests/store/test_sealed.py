"""annidx.store.sealed: nothing is read before its hash was right, and that is remembered."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from annidx.errors import FileDamaged, IndexDamaged
from annidx.store import sealed
from annidx.store.files import sha256_of
from annidx.store.sealed import Sealed

DATA = b"descriptors" * 100


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sealed, "REMEMBERED_BYTES", 1000)
    return tmp_path / "cache" / "annidx" / "whole"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "file").write_bytes(DATA)
    return tmp_path / "file"


def opened(path: Path, sha256: str | None = None, size: int | None = len(DATA)) -> Sealed:
    return Sealed(path, sha256 or sha256_of(path), size, "Do something.")


def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return a list that each hashing of a file is noted in."""
    noted: list[Path] = []
    hashing = Sealed._hash

    def noting(self: Sealed) -> str:
        noted.append(self.path)
        return hashing(self)

    monkeypatch.setattr(Sealed, "_hash", noting)
    return noted


def test_a_whole_file(path: Path) -> None:
    file = opened(path)
    path.unlink()
    assert file.open().read() == DATA
    assert file.open().read() == DATA
    assert bytes(file.map()) == DATA


def test_what_was_whole_is_not_hashed_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noted = hashed(monkeypatch)
    opened(path).check()
    for _ in range(3):
        file = opened(path)
        file.check()
        file.open()
    assert noted == [path]
    file.check(anew=True)
    assert noted == [path] * 2


def test_small_files_are_hashed_and_leave_no_trace(
    path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealed, "REMEMBERED_BYTES", len(DATA) + 1)
    noted = hashed(monkeypatch)
    for _ in range(2):
        opened(path).check()
    assert noted == [path] * 2
    assert not cache.exists()


def test_a_changed_file_is_noticed(path: Path) -> None:
    """Also when somebody set its size and times back."""
    before, digest = path.stat(), sha256_of(path)
    opened(path).check()
    with path.open("r+b") as handle:
        handle.write(b"D")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    file = opened(path, digest)
    for act in (file.check, file.open, file.map):
        with pytest.raises(FileDamaged, match=rf"{path}: sha256 is .*\. Do something\.") as caught:
            act()
        assert (caught.value.expected, caught.value.found) == (digest, sha256_of(path))
    with pytest.raises(IndexDamaged):
        opened(path, digest).check()


def test_what_was_found_damaged_is_remembered_no_more(
    path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bits that went without the file system's knowing: hashing anew finds them, and says so."""
    opened(path).check()
    assert len(list(cache.iterdir())) == 1
    with monkeypatch.context() as patch:
        patch.setattr(Sealed, "_hash", lambda _: "another")
        with pytest.raises(FileDamaged):
            opened(path).check(anew=True)
    assert list(cache.iterdir()) == []


def test_memory_fades(path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(path).check()
    (mark,) = cache.iterdir()
    old = time.time() - 31 * 86400
    os.utime(mark, (old, old))
    (cache / "of another index").touch()
    os.utime(cache / "of another index", (old, old))
    noted = hashed(monkeypatch)
    opened(path).check()
    assert noted == [path]
    assert [each.name for each in cache.iterdir()] == [mark.name]
    assert mark.stat().st_mtime > old


def test_without_a_cache(path: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"")
    for _ in range(2):
        opened(path).check()


def test_without_a_home(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless(_: Path) -> Path:
        message = "Could not determine home directory."
        raise RuntimeError(message)

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "expanduser", homeless)
    opened(path).check()


def test_another_size(path: Path) -> None:
    with pytest.raises(FileDamaged, match=r"has 1100 bytes, the manifest says 1101\.") as caught:
        opened(path, size=1101)
    assert (caught.value.expected, caught.value.found) == ("1101 bytes", "1100 bytes")
    opened(path, size=None).check()


def test_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    for name, what in (
        ("folder", "no regular file"),
        ("fifo", "no regular file"),
        ("-", "missing"),
    ):
        with pytest.raises(FileDamaged, match=rf"{name}: is {what}\.") as caught:
            opened(tmp_path / name, "aa")
        assert caught.value.found == what


def test_a_disk_that_cannot_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> bytes:
        raise OSError(5, os.strerror(5))

    file = opened(path)
    monkeypatch.setattr(os, "pread", failing)
    with pytest.raises(FileDamaged, match="cannot be read"):
        file.check()
