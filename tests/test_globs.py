"""annidx.globs: what a glob on absolute paths matches."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from annidx.errors import UsageError
from annidx.globs import matcher


@pytest.mark.parametrize(
    ("glob", "path", "expected"),
    [
        ("*.jpg", b"/p/2019/a.jpg", True),  # without a slash: the name of the file alone
        ("a.jpg", b"/p/2019/a.jpg", True),
        ("2019", b"/p/2019/a.jpg", False),
        ("*", b"/p/a.jpg", True),
        ("*.jpg", b"/p/a.JPG", False),
        ("a?c.jpg", b"/p/a\xff" + b"c.jpg", True),
        ("a?c.jpg", "/p/aéc.jpg".encode(), True),  # one character, whatever its bytes
        ("[ab]?.jpg", b"/p/bx.jpg", True),
        ("[!ab]?.jpg", b"/p/bx.jpg", False),
        ("[a-c][0-9].jpg", b"/p/b7.jpg", True),
        ("[]x].jpg", b"/p/].jpg", True),
        ("[*].jpg", b"/p/*.jpg", True),
        ("[*].jpg", b"/p/a.jpg", False),
        ("[a.jpg", b"/p/[a.jpg", True),  # no set
        ("a+(1).jpg", b"/p/a+(1).jpg", True),
        ("x\ny.jpg", b"/p/x\ny.jpg", True),
        ("*.jpg", b"/p/x\ny.jpg", True),
        ("2019/", b"/p/2019/trip/a.jpg", True),  # a folder and all beneath it, anywhere
        ("2019/", b"/p/x2019/a.jpg", False),
        ("2019/*.jpg", b"/p/2019/a.jpg", True),
        ("2019/*.jpg", b"/p/2019/trip/a.jpg", False),
        ("2019/*", b"/p/2019/trip/a.jpg", True),  # the star is the folder
        ("2019/**/*.jpg", b"/p/2019/a.jpg", True),
        ("2019/**/*.jpg", b"/p/2019/trip/1/a.jpg", True),
        ("2019/**.jpg", b"/p/2019/trip/1/a.jpg", True),
        ("**/a.jpg", b"/p/2019/a.jpg", True),
        ("/p/2019", b"/p/2019/trip/a.jpg", True),  # from the top
        ("/p/*/trip", b"/p/2019/trip/a.jpg", True),
        ("/2019", b"/p/2019/a.jpg", False),
        ("/p/20[12]9/*", b"/p/2019/a.jpg", True),
        ("/*/a.jpg", b"/p/2019/a.jpg", False),
        ("/", b"/p/a.jpg", True),
        ("/**", b"/p/a.jpg", True),
    ],
)
def test_what_a_glob_matches(glob: str, path: bytes, expected: bool) -> None:
    assert matcher([glob])(path) is expected
    assert matcher(["nothing at all", glob])(path) is expected


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    assert matcher([os.fsdecode(b"\xff*.jpg")])(b"/p/\xffx.jpg")
    assert not matcher([os.fsdecode(b"\xff*.jpg")])(b"/p/\xfex.jpg")


def test_home_here_and_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths in an index are real ones."""
    real = tmp_path.resolve() / "real [1]"
    real.mkdir()
    (tmp_path / "link").symlink_to(real)
    path = os.fsencode(real) + b"/2019/a.jpg"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(real)
    for glob in ("~/link", "~/link/2019/*.jpg", f"{tmp_path}/link/*/a.jpg", "./2019/", "./20*"):
        assert matcher([glob])(path), glob
    assert matcher([".."])(path) is False  # a name
    assert matcher(["../"])(path)
    assert not matcher(["./2020/"])(path)


@pytest.mark.parametrize(("glob", "said"), [("", "a glob is empty"), ("[z-a]", "makes no sense")])
def test_what_is_no_glob(glob: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        matcher(["*.jpg", glob])
