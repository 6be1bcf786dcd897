"""annidx.images.facts.details: place and rating, which the index does not hold."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import pytest
from PIL import Image

from annidx.errors import PictureUnreadable
from annidx.images import decode, shown
from annidx.images.decode import Limits
from annidx.images.facts import Details
from annidx.model import File
from tests.making import photo

GPS = {1: "N", 2: (43.0, 15.0, 46.8), 3: "W", 4: (2.0, 56.0, 6.0)}


def details(**options: object) -> Details:
    written = io.BytesIO()
    photo(0).save(written, "JPEG", **options)
    return decode.look(written.getvalue()).details()


def exif(gps: object = None, rating: object = None) -> Image.Exif:
    made = Image.Exif()
    if gps is not None:
        made[0x8825] = gps
    if rating is not None:
        made[0x4746] = rating
    return made


def test_a_picture_without_metadata_says_nothing() -> None:
    assert details(quality=80) == Details(quality=80)


def test_place_and_rating_are_read() -> None:
    assert details(exif=exif(GPS, 4)) == Details("43.2630, -2.9350", "4", 75)
    south = GPS | {1: "S", 3: "E"}
    assert details(exif=exif(south)).place == "-43.2630, 2.9350"


def test_a_rating_of_xmp_counts_first() -> None:
    for packet in (b'<x xmp:Rating="5"/>', b"<xmp:Rating>5</xmp:Rating>"):
        assert details(xmp=packet, exif=exif(rating=2)).rating == "5"
    assert details(xmp=b'<x xmp:Rating="50"/>').rating == ""


@pytest.mark.parametrize("gps", [{}, {1: "N"}, {**GPS, 2: Fraction(1, 3)}])
def test_what_is_broken_is_not_there(gps: object) -> None:
    assert details(exif=exif(gps, 9)) == Details(quality=75)


def test_a_file_that_changed_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    photo(0).save(path, exif=exif(GPS))
    facts = path.stat()
    file = File(0, str(path).encode(), facts.st_size, facts.st_mtime_ns, 0, 0)
    assert shown.details(file, Limits()).place
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(PictureUnreadable):
        shown.details(file, Limits())
