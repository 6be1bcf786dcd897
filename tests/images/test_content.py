"""annidx.images.content: what a file is by its first bytes, and which hashes agree when."""

from __future__ import annotations

import csv
import struct

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin

from annidx.images import content, decode
from tests.images.pictures import SHIPPED, encoded, orientation_tag, photo, png_chunk

JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF\0"
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
TIFF = b"II*\0\x08\0\0\0"


def segment(marker: int, payload: bytes) -> bytes:
    """Return a JPEG segment."""
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def behind(data: bytes, at: int, more: bytes) -> bytes:
    return data[:at] + more + data[at:]


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture(scope="module")
def jpeg() -> bytes:
    return encoded(photo(120, 90), "JPEG", quality=85)


@pytest.fixture(scope="module")
def png() -> bytes:
    return encoded(photo(60, 45), "PNG")


@pytest.fixture(scope="module")
def webp() -> bytes:
    return encoded(photo(60, 45), "WEBP", lossless=True)


def same_pixels(one: bytes, other: bytes) -> bool:
    return content.pixel_hash(one) == content.pixel_hash(other)


def decoded(data: bytes) -> bytes:
    return decode.decode(data).image.tobytes()


# Recognition


@pytest.mark.parametrize(
    ("path", "head", "may_be", "claims", "raw"),
    [
        # the first bytes promise a picture, whatever the name
        (b"x", JPEG, True, True, False),
        (b"x.txt", PNG, True, True, False),
        (b"x", b"GIF87a", True, True, False),
        (b"x", b"GIF89a", True, True, False),
        (b"x", b"RIFF\x0a\n\0\0WEBPVP8 ", True, True, False),
        (b"x", TIFF, True, True, False),
        (b"x", b"MM\0*\0\0\0\x08", True, True, False),
        (b"x", b"II+\0\x08\0\0\0", True, True, False),
        (b"x", b"\0\0\0\x0cjP  \r\n\x87\n", True, True, False),
        (b"x", b"\xff\x4f\xff\x51", True, True, False),
        (b"x", b"\0\0\0\x18ftypheic", True, True, False),
        (b"x", b"\0\0\0\nftypmif1", True, True, False),
        (b"x", b"\0\0\0\x18ftypavif", True, True, False),
        (b"x", b"\0\0\0\x18ftypavis", True, True, False),
        # so does the name, whatever the first bytes
        (b"x.jpg", b"hello", True, True, False),
        (b"x.JPEG", b"", True, True, False),
        (b"folder/x.y.HeIc", b"<html>", True, True, False),
        (b"x.png", b"", True, True, False),
        (b"x.tif", b"", True, True, False),
        # worth a look, but what many other files begin like is no promise
        (b"x", b"BMW 320d", True, False, False),
        (b"x.txt", b"P1 is first", True, False, False),
        (b"x", b"P6\n3 2", True, False, False),
        (b"x", b"P5#by me", True, False, False),
        (b"x", b"\0\0\x01\0\x01\0", True, False, False),
        # not a picture
        (b"x", b"", False, False, False),
        (b"x.txt", b"hello", False, False, False),
        (b"x.mp4", b"\0\0\0\x18ftypisom", False, False, False),
        (b"x.wav", b"RIFF....WAVE", False, False, False),
        (b"x.pdf", b"%PDF-1.7", False, False, False),
        (b"x", b"P9 3", False, False, False),
        (b"x", b"P65", False, False, False),
        (b"x", b"GIF88a", False, False, False),
        (b"x", b"\xff\xd8", False, False, False),
        (b"x.txt", b" \xff\xd8\xff", False, False, False),  # not at its beginning
        (b"x.jpg/x", b"", False, False, False),  # the suffix of a folder
        (b".jpg", b"", False, False, False),  # a name without a suffix
        # camera RAW: by its own first bytes, or a TIFF container with a name of RAW
        (b"x", b"II*\0\x10\0\0\0CR\x02\0", True, True, True),
        (b"x", b"IIU\0\x18\0\0\0", True, False, True),
        (b"x", b"IIRO\x08\0\0\0", True, False, True),
        (b"x", b"FUJIFILMCCD-RAW 0201", True, False, True),
        (b"x", b"\0\0\0\x18ftypcrx \0\0\0\x01", True, False, True),
        (b"x.NEF", TIFF, True, True, True),
        (b"x.dng", b"MM\0*\0\0\0\x08", True, True, True),
        (b"x.arw", b"hello", False, False, False),
        (b"x.tif", TIFF, True, True, False),
    ],
)
def test_recognition(path: bytes, head: bytes, may_be: bool, claims: bool, raw: bool) -> None:
    assert content.may_be_picture(path, head) is may_be
    assert content.claims_picture(path, head) is claims
    assert content.is_raw(path, head) is raw


@pytest.mark.parametrize(
    "format",
    ["JPEG", "PNG", "GIF", "WEBP", "AVIF", "TIFF", "BMP", "PPM", "ICO", "JPEG2000", "HEIF"],
)
def test_what_annidx_decodes_is_worth_a_look_under_any_name(format: str) -> None:
    head = encoded(photo(64, 48), format)[: content.HEAD_BYTES]
    assert content.may_be_picture(b"x", head)
    assert content.claims_picture(b"x", head) is (format not in {"BMP", "PPM", "ICO"})
    assert not content.is_raw(b"x", head)


@pytest.mark.parametrize(
    ("path", "suffix"),
    [
        (b"a.JPG", b".jpg"),
        (b"a.b.c", b".c"),
        (b"a", b""),
        (b"d.x/a", b""),
        (b".a", b""),
        (b"a.\xff", b".\xff"),
        (b"", b""),
    ],
)
def test_suffix(path: bytes, suffix: bytes) -> None:
    assert content.suffix(path) == suffix


# Hashes


def test_content_hash_is_blake3_of_all_bytes() -> None:
    assert content.content_hash(b"abc") == blake3(b"abc").digest()
    assert content.content_hash(b"").hex() == (
        "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"  # BLAKE3's own vector
    )


@pytest.mark.parametrize(
    "more",
    [
        segment(0xE1, b"Exif\0\0" + orientation_tag(1).tobytes()),
        segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta/>"),
        segment(0xED, b"Photoshop 3.0\08BIM"),
        segment(0xFE, b"a comment"),
        segment(0xFE, b"\xff\xda\xff\xd9"),  # markers inside a comment
        segment(0xE2, b"MPF\0"),
        segment(0xE1, bytes(65_000)) + segment(0xFE, b"x"),
    ],
    ids=["exif", "xmp", "iptc", "comment", "markers", "mpf", "two"],
)
def test_metadata_of_a_jpeg_makes_no_new_picture(jpeg: bytes, more: bytes) -> None:
    for at in (2, 20):  # in front of the JFIF segment, and behind it
        tagged = behind(jpeg, at, more)
        assert same_pixels(jpeg, tagged)
        assert content.content_hash(jpeg) != content.content_hash(tagged)
        assert decoded(jpeg) == decoded(tagged)


@pytest.mark.parametrize("options", [{"progressive": True}, {"restart_marker_rows": 1}])
def test_metadata_of_other_jpegs_makes_no_new_picture(options: dict[str, object]) -> None:
    plain = encoded(photo(120, 90), "JPEG", **options)
    assert same_pixels(plain, behind(plain, 2, segment(0xFE, b"a comment")))
    assert not same_pixels(plain, plain[: len(plain) * 9 // 10])


def test_what_lies_behind_a_jpeg_makes_no_new_picture(jpeg: bytes) -> None:
    assert jpeg.endswith(b"\xff\xd9")
    assert same_pixels(jpeg, jpeg + b"\0\0\0\x18ftypmp42 the video of a motion photo")


def test_fill_bytes_between_the_segments_of_a_jpeg_change_nothing(jpeg: bytes) -> None:
    assert same_pixels(jpeg, behind(jpeg, 2, b"\xff" * 5))


def test_another_jpeg_makes_a_new_picture(jpeg: bytes) -> None:
    others = {
        "quality": encoded(photo(120, 90), "JPEG", quality=84),
        "pixels": encoded(photo(120, 90).rotate(180), "JPEG", quality=85),
        "size": encoded(photo(120, 91), "JPEG", quality=85),
        "last byte": jpeg[:-3] + bytes([jpeg[-3] ^ 1]) + jpeg[-2:],
        "truncated": jpeg[:-200],
        "profile": behind(jpeg, 20, segment(0xE2, b"ICC_PROFILE\0\x01\x01" + srgb_profile())),
        "adobe": behind(jpeg, 20, segment(0xEE, b"Adobe\0\x64\0\0\0\0\0")),
        "quantisation": jpeg.replace(b"\xff\xdb\0C\0", b"\xff\xdb\0C\0\x10", 1),
    }
    hashes = {name: content.pixel_hash(data) for name, data in others.items()}
    hashes["original"] = content.pixel_hash(jpeg)
    assert len(set(hashes.values())) == len(hashes)


def test_the_orientation_is_part_of_the_picture(jpeg: bytes) -> None:
    hashes = {content.pixel_hash(jpeg, orientation) for orientation in range(1, 9)}
    assert len(hashes) == 8
    assert content.pixel_hash(jpeg) == content.pixel_hash(jpeg, 1)


@pytest.mark.parametrize(
    "more",
    [
        png_chunk(b"tEXt", b"Title\0a walk"),
        png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x/>"),
        png_chunk(b"tIME", b"\x07\xe3\x07\x0e\x12\x1e\x05"),
        png_chunk(b"eXIf", orientation_tag(1).tobytes()[6:]),
        png_chunk(b"pHYs", b"\0\0\x0b\x13\0\0\x0b\x13\x01"),
    ],
    ids=["text", "xmp", "time", "exif", "density"],
)
def test_metadata_of_a_png_makes_no_new_picture(png: bytes, more: bytes) -> None:
    for at in (33, len(png) - 12):  # behind the header, and in front of the end
        tagged = behind(png, at, more)
        assert same_pixels(png, tagged)
        assert content.content_hash(png) != content.content_hash(tagged)
        assert decoded(png) == decoded(tagged)


def test_pillow_text_makes_no_new_png(png: bytes) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "rated five stars")
    assert same_pixels(png, encoded(photo(60, 45), "PNG", pnginfo=text))


def test_another_png_makes_a_new_picture(png: bytes) -> None:
    gray = np.zeros((4, 4), np.uint8)
    reddish, bluish = (Image.fromarray(gray).convert("P") for _ in range(2))
    reddish.putpalette([255, 0, 0])
    bluish.putpalette([0, 0, 255])
    others = [
        png,
        encoded(photo(60, 45).rotate(180), "PNG"),
        behind(png, 33, png_chunk(b"gAMA", struct.pack(">I", 45455))),
        encoded(photo(60, 45), "PNG", icc_profile=srgb_profile()),
        encoded(Image.fromarray(gray), "PNG"),
        encoded(Image.fromarray(gray), "PNG", transparency=0),
        encoded(reddish, "PNG"),
        encoded(bluish, "PNG"),
        png[:-40],
    ]
    assert len({content.pixel_hash(each) for each in others}) == len(others)


@pytest.mark.parametrize("options", [{"lossless": True}, {"quality": 80}])
def test_metadata_of_a_webp_makes_no_new_picture(options: dict[str, object]) -> None:
    image = photo(60, 45)
    plain = encoded(image, "WEBP", **options)
    tagged = encoded(image, "WEBP", exif=orientation_tag(1), xmp=b"<x/>", **options)
    assert same_pixels(plain, tagged)
    assert content.content_hash(plain) != content.content_hash(tagged)
    assert not same_pixels(plain, encoded(image.rotate(180), "WEBP", **options))
    assert not same_pixels(plain, encoded(image, "WEBP", icc_profile=srgb_profile(), **options))


def test_a_webp_chunk_of_odd_length_hides_nothing() -> None:
    def webp(pixels: bytes, *, profile: bytes = b"odd") -> bytes:
        chunks = [(b"ICCP", profile), (b"EXIF", b"x"), (b"VP8L", pixels)]
        body = b"".join(
            name + struct.pack("<I", len(payload)) + payload + bytes(len(payload) % 2)
            for name, payload in chunks
        )
        return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body

    assert len({content.pixel_hash(webp(pixels)) for pixels in (b"1", b"2", b"12")}) == 3
    assert not same_pixels(webp(b"1"), webp(b"1", profile=b"old"))


@pytest.mark.parametrize("format", ["BMP", "GIF", "TIFF", "HEIF", "AVIF", "JPEG2000", "PPM"])
def test_other_containers_are_hashed_whole(format: str) -> None:
    data = encoded(photo(60, 45), format)
    assert content.pixel_hash(data) == blake3(b"\x01" + data).digest()
    assert not same_pixels(data, data + b"\0")


def test_shipped_files_agree_as_the_ground_truth_says() -> None:
    with (SHIPPED.parent / "ground_truth.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["file"] != row["original"]]
    checked = {"copy": 0, "metadata": 0, "orientation": 0, "recompressed": 0, "flipped": 0}
    for row in rows:
        if row["edit"] not in checked:
            continue
        one, other = ((SHIPPED / row[key]).read_bytes() for key in ("file", "original"))
        checked[row["edit"]] += 1
        assert same_pixels(one, other) is (row["edit"] in {"copy", "metadata"}), row
        same_content = content.content_hash(one) == content.content_hash(other)
        assert same_content is (row["edit"] == "copy"), row
    assert all(checked.values()), checked


@settings(derandomize=True, database=None, deadline=None, max_examples=150)
@given(
    start=st.sampled_from(
        [b"\xff\xd8\xff", b"\xff\xd8", PNG[:8], b"RIFF\xff\xff\xff\xffWEBP", b""]
    ),
    rest=st.binary(max_size=60),
)
def test_broken_containers_are_hashed_all_the_same(start: bytes, rest: bytes) -> None:
    assert len(content.pixel_hash(start + rest)) == 32


@settings(derandomize=True, database=None, deadline=None, max_examples=100)
@given(damage=st.lists(st.tuples(st.integers(0, 699), st.integers(0, 255)), max_size=8))
def test_damaged_files_are_hashed_all_the_same(damage: list[tuple[int, int]]) -> None:
    for format in ("JPEG", "PNG", "WEBP"):
        data = bytearray(encoded(Image.linear_gradient("L").resize((16, 16)), format))
        for at, value in damage:
            data[at % len(data)] = value
        assert len(content.pixel_hash(bytes(data))) == 32


def test_a_file_of_header_bytes_alone_is_hashed_whole() -> None:
    for data in (b"\xff\xd8\xff", PNG[:8], b"RIFF\0\0\0\0WEBP", b"", b"abc"):
        assert content.pixel_hash(data) == blake3(b"\x01" + data).digest()
