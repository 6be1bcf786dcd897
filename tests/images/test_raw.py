"""annidx.images.raw, and which files annidx.images.content takes for camera RAW."""

from __future__ import annotations

import io
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps, TiffImagePlugin

from annidx.errors import PictureUnreadable
from annidx.images import content, decode, raw
from tests.images.pictures import NEAR, SHIPPED, STORE, encoded, orientation_tag, photo, thumb_of
from tests.images.raws import LINEAR, MOSAIC, Tiff, jpeg, raw_file

SENSOR = (300, 200)
DEVELOPED = 300.0
"""Thumbs of a picture and of what LibRaw develops: its brightness is a guess."""


def seen(width: int = SENSOR[0], height: int = SENSOR[1]) -> Image.Image:
    """Return what the camera saw."""
    return photo(width, height)


def stored(orientation: int, width: int = 1200, height: int = 800) -> Image.Image:
    """Return it as a camera held so stores it."""
    image = seen(width, height)
    return image.transpose(STORE[orientation]) if orientation in STORE else image


def brought_upright(preview: raw.Preview) -> Image.Image:
    """Return the picture of a preview, turned by its orientation alone."""
    with Image.open(io.BytesIO(preview.data)) as image:
        plain = image.convert("RGB")
    plain.getexif()[0x0112] = preview.orientation
    return ImageOps.exif_transpose(plain)


def distance(preview: raw.Preview) -> float:
    return float(np.linalg.norm(thumb_of(brought_upright(preview)) - thumb_of(seen())))


def refused(data: bytes, path: bytes = b"x.nef") -> PictureUnreadable:
    with pytest.raises(PictureUnreadable) as caught:
        raw.preview(data, path)
    return caught.value


# Recognition


def headers() -> dict[str, bytes]:
    """Return what RAW files begin like, by name."""
    return {
        "CR2": b"II*\0\x10\0\0\0CR\x02\0" + bytes(20),
        "CR3": b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom",
        "CRW": b"II\x1a\0\0\0HEAPCCDR\x02\0\x01\0" + bytes(20),
        "RW2": b"IIU\0\x18\0\0\0" + bytes(20),
        "ORF": b"IIRO\x08\0\0\0" + bytes(20),
        "ORF of 2003": b"IIRS\x08\0\0\0" + bytes(20),
        "ORF, big-endian": b"MMOR\0\0\0\x08" + bytes(20),
        "RAF": b"FUJIFILMCCD-RAW 0201FF383501",
        "MRW": b"\0MRM\0\0\x12\x34\0PRD" + bytes(20),
        "X3F": b"FOVb\0\0\x02\0" + bytes(24),
        "IIQ": b"IIII\x01waR\x08\0\0\0" + bytes(20),
        "IIQ in a TIFF": b"II*\0\x10\0\0\0IIII\x01waR" + bytes(20),
        "IIQ, big-endian": b"MMMMRaw\x01\0\0\0\x08" + bytes(20),
    }


def containers() -> dict[str, bytes]:
    """Return TIFF containers that no name gives away, by name."""
    small = seen(40, 30)
    makes = {
        "NEF": b"NIKON CORPORATION",
        "ARW": b"SONY",
        "PEF": b"PENTAX Corporation",
        "SRW": b"SAMSUNG",
        "3FR": b"Hasselblad",
        "ERF": b"SEIKO EPSON CORP.",
        "DCR": b"EASTMAN KODAK COMPANY",
        "MOS": b"Leaf",
    }
    files = {name: raw_file(small, kind=name, make=make) for name, make in makes.items()}
    files["NEF, big-endian"] = raw_file(small, kind="NEF", make=b"NIKON", order=">")
    files["PEF without thumbnail"] = raw_file(small, kind="PEF", make=b"PENTAX", thumbnail=False)
    files["DNG"] = raw_file(small)
    files["DNG of a phone"] = raw_file(small, photometric=LINEAR)
    files["DNG, big-endian"] = raw_file(small, order=">")
    one_tag: dict[str, dict[int, tuple[int, Any]]] = {
        "NEF, compressed": {259: (3, 34713)},
        "ARW, compressed": {259: (3, 32767)},
        "PEF, compressed": {259: (3, 65535)},
        "SRW, compressed": {259: (3, 32770)},
        "MOS of Leaf": {34310: (7, b"PKTS" + bytes(60))},
        "DNG, version only": {50706: (1, b"\1\4\0\0")},
        "mosaic in front": {262: (3, MOSAIC)},
    }
    for name, tags in one_tag.items():
        file = Tiff()
        files[name] = file.finished(file.directory({256: (4, 40), **tags}))
    return files


@pytest.mark.parametrize("name", headers())
def test_raw_is_recognised_by_its_first_bytes(name: str) -> None:
    head = headers()[name][: content.HEAD_BYTES]
    for path in (b"", b"x", b"x.jpg", b"x.NEF"):
        assert content.is_raw(path, head)
        assert content.may_be_picture(path, head)


@pytest.mark.parametrize("name", containers())
def test_raw_is_recognised_by_its_directories(name: str) -> None:
    data = containers()[name]
    for path in (b"", b"x", b"x.tif", b"x.raw", b"x.jpg"):
        assert content.is_raw(path, data)
        assert content.may_be_picture(path, data[: content.HEAD_BYTES])


def scan_with_thumbnail() -> bytes:
    """Return a TIFF as scanners write it: make, model, and the picture in a sub-directory."""
    file = Tiff()
    gray = {258: (3, 8), 259: (3, 1), 262: (3, 1), 277: (3, 1)}
    page = file.directory(
        {254: (4, 0), 256: (4, 80), 257: (4, 60), 273: (4, file.pixels(bytes(4800)))} | gray
    )
    thumbnail = {254: (4, 1), 256: (4, 40), 257: (4, 30), 273: (4, file.pixels(bytes(1200)))}
    facts = {271: (2, b"SEIKO EPSON CORP.\0"), 272: (2, b"Perfection V700\0"), 330: (4, [page])}
    return file.finished(file.directory(thumbnail | gray | facts))


def ordinary() -> dict[str, tuple[bytes, bytes]]:
    """Return names and contents of files that are no RAW."""
    image = seen(40, 30)
    made = {
        "scan with a thumbnail": (b"scan.tif", scan_with_thumbnail()),
        "TIFF named .raw": (b"scan.raw", encoded(image, "TIFF")),
        "JPEG named .nef": (b"x.nef", encoded(image, "JPEG")),
        "PNG named .dng": (b"x.dng", encoded(image, "PNG")),
        "nothing named .arw": (b"x.arw", b""),
        "text": (b"x.cr2", b"MMMM, that was good. IIII say so."),
        "HEIF": (b"x", encoded(image, "HEIF")),
        "pages": (b"x", encoded(image, "TIFF", save_all=True, append_images=[image] * 5)),
    }
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        made[compression] = (b"x.tif", encoded(image, "TIFF", compression=compression))
    for mode in ("1", "L", "P", "CMYK", "RGBA", "LAB", "I;16", "F"):
        plain = Image.new(mode, (40, 30))
        made[f"TIFF {mode}"] = (b"x.tif", encoded(plain, "TIFF"))
    return made


@pytest.mark.parametrize("name", ordinary())
def test_ordinary_files_are_no_raw(name: str) -> None:
    path, data = ordinary()[name]
    assert not content.is_raw(path, data)


@pytest.mark.parametrize("big", [False, True])
def test_a_tiff_container_with_a_name_of_raw_is_raw(big: bool) -> None:
    data = encoded(seen(40, 30), "TIFF", big_tiff=big)
    assert data[2] == (43 if big else 42)
    assert not content.is_raw(b"x.tif", data)
    for name in (b"x.nef", b"x.DNG", b"x.mos", b"folder/x.arw"):
        assert content.is_raw(name, data)


def test_no_shipped_picture_is_raw() -> None:
    paths = [path for path in SHIPPED.rglob("*") if path.is_file()]
    assert paths
    assert [p for p in paths if content.is_raw(bytes(p), p.read_bytes())] == []


def test_no_picture_of_the_collections_is_raw(shared: Path) -> None:
    paths = [path for path in (shared / "data").rglob("*") if path.is_file()]
    assert len(paths) > 1000
    assert [p for p in paths if content.is_raw(bytes(p), p.read_bytes())] == []


# What Pillow would make of them


@pytest.mark.parametrize("name", [*headers(), *containers()])
@pytest.mark.parametrize("path", [b"", b"x.nef", b"x.tif"])
def test_raw_is_never_decoded_as_an_ordinary_picture(name: str, path: bytes) -> None:
    data = (headers() | containers())[name]
    with pytest.raises(PictureUnreadable) as caught:
        decode.decode(data, path)
    assert caught.value.status == "raw-unsupported"


def test_pillow_alone_would_read_the_thumbnail() -> None:
    """Or the test above would show nothing."""
    with Image.open(io.BytesIO(containers()["NEF"])) as image:
        assert isinstance(image, TiffImagePlugin.TiffImageFile)
        assert image.size == (160, 120)


# Previews


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["DNG", "NEF"])
def test_the_large_preview_is_turned_as_the_camera_was_held(orientation: int, kind: str) -> None:
    shown = jpeg(stored(orientation))
    data = raw_file(seen(), orientation=orientation, preview=shown, kind=kind, make=b"NIKON")
    preview = raw.preview(data, b"x")
    assert preview.data.endswith(shown[2:])  # LibRaw puts EXIF in front
    assert preview.orientation == orientation
    assert distance(preview) < NEAR


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("own", [0, 1])
def test_a_preview_that_the_camera_turned_is_not_turned_again(orientation: int, own: int) -> None:
    """Seen where it can be seen: where the sides are swapped."""
    extra = {"exif": orientation_tag(own)} if own else {}
    data = raw_file(seen(), orientation=orientation, preview=jpeg(stored(1), **extra))
    preview = raw.preview(data, b"x.dng")
    assert preview.orientation == (1 if orientation >= 5 else orientation)
    if orientation in {1, 5, 6, 7, 8}:
        assert distance(preview) < NEAR


@pytest.mark.parametrize("orientation", [3, 5, 6, 7, 8])
def test_exif_of_the_preview_counts_once(orientation: int) -> None:
    shown = jpeg(stored(orientation), exif=orientation_tag(orientation))
    preview = raw.preview(raw_file(seen(), orientation=orientation, preview=shown), b"x.dng")
    assert preview.data == shown
    assert preview.orientation == orientation
    assert distance(preview) < NEAR


def test_exif_of_the_preview_is_older_than_that_of_the_file() -> None:
    """Who turns a RAW file changes its own tag, and not that of the preview."""
    shown = jpeg(stored(6), exif=orientation_tag(1))
    preview = raw.preview(raw_file(seen(), orientation=6, preview=shown), b"x.dng")
    assert preview.orientation == 6
    assert distance(preview) < NEAR


def test_a_preview_turned_otherwise_follows_its_own_exif() -> None:
    shown = jpeg(stored(8), exif=orientation_tag(8))  # the sensor's data needs none
    preview = raw.preview(raw_file(seen(), preview=shown), b"x.dng")
    assert preview.orientation == 8
    assert distance(preview) < NEAR


def test_a_preview_of_another_shape_follows_the_sensor() -> None:
    data = raw_file(seen(), orientation=3, preview=jpeg(stored(6)))
    assert raw.preview(data, b"x.dng").orientation == 3


def test_exif_behind_jfif_is_read() -> None:
    """LibRaw then puts EXIF of its own in front, which says something else."""
    shown = encoded(stored(8), "JPEG", exif=orientation_tag(8))
    assert shown[6:10] == b"JFIF"
    preview = raw.preview(raw_file(seen(), preview=shown), b"x.dng")
    assert preview.orientation == 8
    assert distance(preview) < NEAR


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("photometric", [MOSAIC, LINEAR])
@pytest.mark.parametrize("order", ["<", ">"])
def test_without_a_preview_the_sensor_is_developed(
    orientation: int, photometric: int, order: str
) -> None:
    data = raw_file(seen(), orientation=orientation, photometric=photometric, order=order)
    preview = raw.preview(data, b"x.dng")
    assert preview.data[:2] == b"P6"
    assert preview.orientation == orientation
    assert distance(preview) < DEVELOPED
    other = raw.Preview(preview.data, orientation % 4 + 1, "", 0, 0, "", "")
    assert distance(other) > 1000


@pytest.mark.parametrize(("size", "developed"), [((600, 400), True), ((1000, 667), False)])
def test_small_previews_are_passed_over(size: tuple[int, int], developed: bool) -> None:
    data = raw_file(seen(), preview=jpeg(seen(*size)))
    assert (raw.preview(data, b"x.dng").data[:2] == b"P6") is developed


@pytest.mark.parametrize(("size", "used"), [((384, 256), True), ((240, 160), False)])
def test_a_small_preview_is_better_than_damaged_pixels(size: tuple[int, int], used: bool) -> None:
    shown = jpeg(seen(*size).transpose(STORE[6]))
    data = raw_file(seen(), orientation=6, preview=shown)[:-50_000]
    if not used:
        assert refused(data).status == "unreadable"
        return
    preview = raw.preview(data, b"x.dng")
    assert preview.data.endswith(shown[2:])
    assert preview.orientation == 6
    assert distance(preview) < NEAR


def test_a_damaged_preview_is_passed_over() -> None:
    shown = bytearray(jpeg(stored(1)))
    shown[:200] = bytes(200)
    data = raw_file(seen(), preview=jpeg(stored(1))).replace(jpeg(stored(1)), bytes(shown))
    assert raw.preview(data, b"x.dng").data[:2] == b"P6"


def test_a_gray_sensor() -> None:
    gray = seen().convert("L").convert("RGB")
    data = raw_file(gray, photometric=LINEAR, samples=1)
    preview = raw.preview(data, b"x.dng")
    assert preview.data[:2] in {b"P5", b"P6"}
    brought = brought_upright(preview)
    assert np.linalg.norm(thumb_of(brought) - thumb_of(gray)) < DEVELOPED


@pytest.mark.parametrize("orientation", [1, 6])
def test_decode_reads_what_comes_out(orientation: int) -> None:
    for shown in (None, jpeg(stored(orientation))):
        preview = raw.preview(raw_file(seen(), orientation=orientation, preview=shown), b"")
        assert decode.decode(preview.data).format in {"JPEG", "PPM"}


# Facts


@pytest.mark.parametrize("shown", [None, (1200, 800)])
def test_the_size_is_that_of_the_sensor(shown: tuple[int, int] | None) -> None:
    large = jpeg(seen(*shown)) if shown else None
    preview = raw.preview(raw_file(seen(), preview=large), b"x.dng")
    assert (preview.width, preview.height) == SENSOR
    turned = raw.preview(raw_file(seen(), orientation=6), b"x.dng")
    assert (turned.width, turned.height) == SENSOR[::-1]  # as it lies in the file


@pytest.mark.parametrize(
    ("make", "path", "format"),
    [
        (b"NIKON CORPORATION", b"x.nef", "NEF"),
        (b"NIKON", b"x.NRW", "NRW"),
        (b"NIKON", b"x", "NEF"),
        (b"NIKON", b"x.tif", "NEF"),
        (b"SONY", b"x.arw", "ARW"),
        (b"SONY", b"x.sr2", "SR2"),
        (b"PENTAX", b"x", "PEF"),
        (b"SAMSUNG", b"x", "SRW"),
        (b"EASTMAN KODAK COMPANY", b"x.kdc", "KDC"),
        (b"Nobody", b"x.mef", "MEF"),
        (b"Nobody", b"x", "RAW"),
    ],
)
def test_the_format_goes_by_make_and_name(make: bytes, path: bytes, format: str) -> None:
    data = raw_file(seen(), preview=jpeg(stored(1)), kind="x", make=make)
    preview = raw.preview(data, path)
    assert preview.format == format
    assert preview.camera == f"{make.decode()} Model 1"
    assert preview.taken == "2021-06-05T14:03:02"


def test_a_dng_is_a_dng_whatever_its_name() -> None:
    assert raw.preview(raw_file(seen(), make=b"NIKON"), b"x.nef").format == "DNG"


@pytest.mark.parametrize("name", headers())
def test_the_format_goes_by_the_first_bytes(name: str) -> None:
    assert raw._kind(headers()[name], b"x") == name[:3]


def test_facts_of_a_cr3_lie_in_boxes() -> None:
    main, details = Tiff(), Tiff()
    camera = {271: (2, b"Canon\0"), 272: (2, b"Canon EOS R\0")}
    time = {36867: (2, b"2020:01:02 03:04:05\0")}
    boxes = [
        struct.pack(">I4s", len(each) + 8, name) + each
        for name, each in (
            (b"CMT1", main.finished(main.directory(camera))),
            (b"CMT2", details.finished(details.directory(time))),
        )
    ]
    data = b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom" + bytes(60) + b"".join(boxes)
    assert raw._facts(data, None) == ("2020-01-02T03:04:05", "Canon EOS R")


def test_facts_of_the_preview_do_for_a_file_without() -> None:
    exif = Image.Exif()
    exif[271], exif[272] = "FUJIFILM", "X-T1"
    exif.get_ifd(0x8769)[36867] = "2018:03:04 05:06:07"
    embedded = raw._jpeg(jpeg(seen(), exif=exif))
    assert raw._facts(headers()["RAF"], embedded) == ("2018-03-04T05:06:07", "FUJIFILM X-T1")
    assert raw._facts(headers()["RAF"], None) == ("", "")


# Refusals


@pytest.mark.parametrize("name", ["DNG", "NEF"])
def test_without_rawpy_nothing_is_read(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(sys.modules, "rawpy", None)
    assert not raw.available()
    error = refused(containers()[name])
    assert error.status == "raw-unsupported"
    assert "pip install rawpy" in str(error)
    assert raw.predicted_memory(containers()[name]) == 0


@pytest.mark.parametrize("name", ordinary())
def test_libraw_never_sees_what_is_no_raw(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    import rawpy  # noqa: PLC0415

    def forbidden(*_: Any) -> None:
        pytest.fail("LibRaw was called")

    monkeypatch.setattr(rawpy, "RawPy", forbidden)
    path, data = ordinary()[name]
    assert refused(data, path).status == "unreadable"
    assert raw.predicted_memory(data, path) == 0


@pytest.mark.parametrize("preview", [None, (400, 300), (1200, 800)])
@pytest.mark.parametrize("kind", ["DNG", "NEF"])
def test_a_file_cut_anywhere_is_read_or_refused(preview: tuple[int, int] | None, kind: str) -> None:
    shown = jpeg(seen(*preview)) if preview else None
    data = raw_file(seen(), preview=shown, kind=kind, make=b"NIKON")
    reached = Tiff.PIXELS_AT + (160 * 120 * 3) + (len(shown) if shown else len(data))
    for share in (0.00005, 0.001, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99):
        size = int(len(data) * share)
        if size <= reached:
            assert refused(data[:size]).status == "unreadable"
        else:
            found = raw.preview(data[:size], b"x.nef")
            assert (found.width, found.height) == SENSOR


@pytest.mark.parametrize("name", headers())
def test_a_header_alone_is_unreadable(name: str) -> None:
    for more in (b"", bytes(1000), bytes(100_000)):
        assert refused(headers()[name] + more).status == "unreadable"


def test_missing_pixels_are_not_a_black_picture() -> None:
    data = raw_file(seen(), thumbnail=False)
    blank = data[: Tiff.PIXELS_AT] + bytes(len(data) - Tiff.PIXELS_AT)
    assert "flat colour" in str(refused(blank))
    large = raw_file(seen(), size_said=(6000, 4000))
    assert "cannot hold 24,000,000 pixels" in str(refused(large))


def test_more_than_libraw_takes_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw, "_MOST_COMPRESSED", 2**40)
    data = raw_file(seen(), size_said=(60_000, 60_000))
    assert refused(data).status == "too-large"


def test_memory_is_predicted() -> None:
    pixels = SENSOR[0] * SENSOR[1]
    shown = jpeg(stored(1))
    with_preview = raw.predicted_memory(raw_file(seen(), preview=shown))
    assert 2 * len(shown) <= with_preview < 2 * len(shown) + 5000
    assert raw.predicted_memory(raw_file(seen())) == 5 * pixels
    assert raw.predicted_memory(raw_file(seen(), photometric=LINEAR)) == 20 * pixels
    assert raw.predicted_memory(headers()["CR2"]) == 0
