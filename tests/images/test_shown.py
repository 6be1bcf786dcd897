"""annidx.images.shown: small, upright, without metadata, and only what was indexed."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from annidx.errors import PictureUnreadable
from annidx.images.decode import Limits
from annidx.images.shown import thumbnail
from annidx.model import File

LIMITS = Limits()


def indexed(path: Path) -> File:
    facts = path.stat()
    return File(1, os.fsencode(path), facts.st_size, facts.st_mtime_ns, 0, 0)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """Return a picture of two colours, stored lying on its side, that says where it was taken."""
    pixels = np.zeros((900, 1200, 3), np.uint8)
    pixels[:, :600, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    exif[0x010E] = "my home address"
    path = tmp_path / "a.jpg"
    Image.fromarray(pixels).save(path, exif=exif, quality=95, comment=b"secret")
    return path


@pytest.mark.parametrize("side", [1, 64, 400, 1024])
def test_it_is_upright_small_and_says_nothing(photo: Path, side: int) -> None:
    data = thumbnail(indexed(photo), side, LIMITS)
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, max(image.size)) == ("JPEG", side)
        assert image.width <= image.height
        assert dict(image.getexif()) == {}
        if side > 1:
            top, bottom = (image.getpixel((image.width // 2, at)) for at in (1, image.height - 2))
            assert isinstance(top, tuple)
            assert isinstance(bottom, tuple)
            assert (top[0] > 200, bottom[0] < 50) == (True, True)
    assert b"secret" not in data
    assert b"home" not in data


def test_it_is_never_enlarged(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (30, 20)).save(path)
    with Image.open(io.BytesIO(thumbnail(indexed(path), 500, LIMITS))) as image:
        assert image.size == (30, 20)


def test_what_is_not_what_was_indexed_is_not_shown(photo: Path, tmp_path: Path) -> None:
    known = indexed(photo)
    os.utime(photo, ns=(1, 1))
    with pytest.raises(PictureUnreadable, match="not what was indexed"):
        thumbnail(known, 64, LIMITS)
    photo.rename(tmp_path / "b.jpg")
    with pytest.raises(PictureUnreadable, match="cannot be opened"):
        thumbnail(known, 64, LIMITS)
    photo.symlink_to(tmp_path / "b.jpg")
    with pytest.raises(PictureUnreadable, match="cannot be opened"):
        thumbnail(known, 64, LIMITS)
    photo.unlink()
    os.mkfifo(photo)
    with pytest.raises(PictureUnreadable, match="not what was indexed"):
        thumbnail(known, 64, LIMITS)


def test_limits_hold(photo: Path) -> None:
    for limits in (Limits(pixels=1000), Limits(memory=10_000)):
        with pytest.raises(PictureUnreadable) as caught:
            thumbnail(indexed(photo), 64, limits)
        assert caught.value.status == "too-large"
