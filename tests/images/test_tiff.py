"""annidx.images.tiff: directories of real and of damaged files."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from annidx.images import tiff
from tests.images.pictures import encoded
from tests.images.raws import Tiff


def one(data: bytes) -> tiff.Directory:
    (directory,) = tiff.directories(data)
    return directory


@pytest.mark.parametrize("order", ["<", ">"])
def test_values_of_both_byte_orders(order: str) -> None:
    file = Tiff(order)
    details = file.directory({36867: (2, b"2019:07:14 18:30:05\0")})
    tags = {
        256: (4, 70_000),
        258: (3, (8, 8, 8)),
        271: (2, b"Maker \0left over"),
        274: (3, 6),
        34665: (4, details),
        50706: (1, b"\1\4\0\0"),
    }
    directory = one(file.finished(file.directory(tags)))
    assert directory.number(256) == 70_000
    assert directory.numbers(258) == (8, 8, 8)
    assert directory.text(tiff.MAKE) == "Maker"
    assert directory.number(tiff.ORIENTATION) == 6
    assert directory.numbers(tiff.DNG_VERSION) == (1, 4, 0, 0)
    assert (directory.numbers(999), directory.number(999), directory.text(999)) == ((), 0, "")
    found = tiff.exif(directory)
    assert found is not None
    assert found.text(tiff.DATE_TIME_ORIGINAL) == "2019:07:14 18:30:05"


def test_what_pillow_writes() -> None:
    pages = [Image.new("RGB", (width, 20)) for width in (30, 40, 50)]
    data = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    assert [each.number(256) for each in tiff.directories(data)] == [30, 40, 50]


def test_a_structure_inside_a_file() -> None:
    file = Tiff()
    data = b"in front" + file.finished(file.directory({272: (2, b"Model 12\0")}))
    (directory,) = tiff.directories(data, base=8)
    assert directory.text(tiff.MODEL) == "Model 12"
    assert list(tiff.directories(data)) == []


def test_chains_and_sub_directories_that_go_in_circles() -> None:
    file = Tiff()
    first = len(file.data)
    file.directory({256: (4, 1), 330: (4, first)}, following=first)
    assert one(file.finished(first)).number(256) == 1


def test_the_number_of_directories_is_bounded() -> None:
    file = Tiff()
    subs = [file.directory({256: (4, number)}) for number in range(60)]
    data = file.finished(file.directory({330: (4, subs)}))
    assert len(list(tiff.directories(data))) == tiff.MOST_DIRECTORIES


@pytest.mark.parametrize(
    "entry",
    [
        struct.pack("<HHII", 271, 2, 0xFFFFFFFF, 8),  # longer than the file
        struct.pack("<HHII", 271, 2, 50, 0xFFFFFF00),  # lies behind its end
        struct.pack("<HHII", 271, 99, 1, 8),  # a type that there is not
        struct.pack("<HHII", 271, 2, 0, 8),
    ],
)
def test_damaged_entries_are_not_there(entry: bytes) -> None:
    data = b"II*\0\x08\0\0\0" + struct.pack("<H", 2) + entry
    data += struct.pack("<HHII", 274, 3, 1, 6) + bytes(4)
    directory = one(data)
    assert directory.text(tiff.MAKE) == ""
    assert directory.number(tiff.ORIENTATION) == 6


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"II",
        b"II*\0",
        b"II*\0\x08\0\0\0",
        b"II*\0\0\0\0\0" + bytes(90),
        b"II*\0\x08\0\0\0\0\0" + bytes(90),
        b"II*\0\x08\0\0\0\xff\xff" + bytes(90),
        b"II*\0\xff\xff\xff\xff" + bytes(90),
        b"XX*\0\x08\0\0\0\1\0" + bytes(90),
    ],
)
def test_what_has_no_directory(data: bytes) -> None:
    assert list(tiff.directories(data)) == []


@settings(derandomize=True, database=None, deadline=None, max_examples=300)
@given(start=st.sampled_from([b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"]), rest=st.binary(max_size=90))
def test_nothing_is_too_damaged(start: bytes, rest: bytes) -> None:
    for directory in tiff.directories(start + rest):
        tiff.exif(directory)
        for tag in directory.entries:
            directory.numbers(tag)
            directory.text(tag)


@pytest.mark.parametrize(
    ("make", "model", "name"),
    [
        ("NIKON CORPORATION", "NIKON D70", "NIKON CORPORATION NIKON D70"),
        ("Canon", "Canon EOS 350D", "Canon EOS 350D"),
        ("", "EOS", "EOS"),
        ("Leica", "", "Leica"),
        ("", "", ""),
    ],
)
def test_names_of_cameras(make: str, model: str, name: str) -> None:
    assert tiff.camera_name(make, model) == name
