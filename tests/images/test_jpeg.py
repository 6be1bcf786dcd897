"""annidx.images.jpeg: frame headers, DC scans and EXIF, against what Pillow makes of the files."""

from __future__ import annotations

import io
import itertools
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from annidx.images import decode, facts, jpeg
from tests.images.pictures import NEAR, apart, encoded, orientation_tag, photo, thumb_of

SOS, DQT, DHT = 0xDA, 0xDB, 0xC4


def progressive(width: int = 1400, height: int = 1000, **options: Any) -> bytes:
    return encoded(photo(width, height), "JPEG", quality=88, progressive=True, **options)


def eighth(data: bytes) -> npt.NDArray[np.int16]:
    """Return what Pillow decodes at 1/8."""
    with Image.open(io.BytesIO(data)) as image:
        assert image.draft("RGB", (image.width // 8, image.height // 8)) is not None
        return np.asarray(image).astype(np.int16)


def scans(data: bytes) -> list[int]:
    """Return where the spectrum of each scan begins."""
    starts = [start for marker, start, _ in jpeg.segments(data) if marker == SOS]
    return [data[start + 5 + 2 * data[start + 4]] for start in starts]


def test_segments_cover_the_file() -> None:
    data = progressive(exif=orientation_tag(3))
    parts = list(jpeg.segments(data + b"what a phone appends"))
    assert parts[0][1] == 2
    assert parts[-1] == (0xD9, len(data) - 2, len(data))
    assert all(before[2] == after[1] for before, after in itertools.pairwise(parts))
    assert {SOS, DQT, DHT, 0xC2, 0xE1} <= {marker for marker, _, _ in parts}


@pytest.mark.parametrize("damage", ["no start", "cut", "stray", "empty"])
def test_damaged_segments_are_told(damage: str) -> None:
    data = progressive(64, 48)
    header = next(start for marker, start, _ in jpeg.segments(data) if marker == 0xC2)
    damaged = {
        "no start": data[1:],
        "cut": data[:-2],
        "stray": data[:header] + b"xy" + data[header:],
        "empty": b"",
    }[damage]
    with pytest.raises(ValueError, match=r"marker|begins"):
        list(jpeg.segments(damaged))
    assert jpeg.dc_only(damaged, 1) is None


@pytest.mark.parametrize(
    ("mode", "options", "marker", "buffered", "sampling", "coefficients"),
    [
        ("RGB", {}, 0xC0, False, [(2, 2), (1, 1), (1, 1)], 6 * 63 * 47),
        ("RGB", {"subsampling": 0}, 0xC0, False, [(1, 1)] * 3, 3 * 125 * 94),
        ("RGB", {"subsampling": 1}, 0xC0, False, [(2, 1), (1, 1), (1, 1)], 4 * 63 * 94),
        ("RGB", {"progressive": True}, 0xC2, True, [(2, 2), (1, 1), (1, 1)], 6 * 63 * 47),
        ("L", {"progressive": True}, 0xC2, True, [(1, 1)], 125 * 94),
        ("CMYK", {}, 0xC0, False, [(1, 1)] * 4, 4 * 125 * 94),
    ],
)
def test_the_frame(
    mode: str,
    options: dict[str, Any],
    marker: int,
    buffered: bool,
    sampling: list[tuple[int, int]],
    coefficients: int,
) -> None:
    frame = jpeg.frame(encoded(photo(1000, 750).convert(mode), "JPEG", **options))
    assert frame is not None
    assert (frame.marker, frame.precision, frame.width, frame.height) == (marker, 8, 1000, 750)
    assert [(each.across, each.down) for each in frame.components] == sampling
    assert frame.is_buffered == buffered
    assert frame.coefficient_bytes == 128 * coefficients


def test_a_picture_in_scans_of_one_colour_each_is_buffered() -> None:
    data = bytearray(encoded(photo(64, 48), "JPEG"))
    scan = next(start for marker, start, _ in jpeg.segments(bytes(data)) if marker == SOS)
    data[scan + 4] = 1  # the first scan now says that it holds one component of three
    frame = jpeg.frame(bytes(data))
    assert frame is not None
    assert frame.is_buffered


def test_a_file_without_a_frame_has_none() -> None:
    assert jpeg.frame(b"\xff\xd8\xff\xd9") is None
    assert jpeg.frame(b"\xff\xd8\xff") is None
    assert jpeg.frame(b"GIF89a") is None


@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"subsampling": 1}])
def test_the_eighth_is_that_of_the_whole_file(options: dict[str, Any]) -> None:
    data = progressive(**options)
    short = jpeg.dc_only(data, 10_000)  # so many that subsampled components are kept whole
    assert short is not None
    assert len(short) < len(data) * 0.9
    assert np.array_equal(eighth(short), eighth(data))


def test_where_means_suffice_only_dc_scans_stay() -> None:
    data = progressive(2600, 2600)
    short = jpeg.dc_only(data, 160)
    assert short is not None
    assert scans(short)
    assert not any(scans(short))
    assert any(scans(data))
    assert np.abs(eighth(short) - eighth(data)).mean() < 2
    kept = jpeg.dc_only(data, 163)  # 2600 / 16 = 162.5
    assert kept is not None
    assert any(scans(kept))


def test_gray_and_restarts() -> None:
    gray = encoded(photo(1400, 1000).convert("L"), "JPEG", progressive=True)
    restarted = progressive(restart_marker_blocks=7)
    assert b"\xff\xdd\x00\x04\x00\x07" in restarted
    for data in (gray, restarted):
        short = jpeg.dc_only(data, 10_000)
        assert short is not None
        assert np.array_equal(eighth(short), eighth(data))
    short = jpeg.dc_only(restarted, 1)
    assert short is not None
    assert b"\xff\xdd\x00\x04\x00\x07" in short


def test_metadata_stays() -> None:
    short = jpeg.dc_only(progressive(exif=orientation_tag(6), icc_profile=b"a profile"), 1)
    assert short is not None
    with Image.open(io.BytesIO(short)) as image:
        assert image.getexif()[0x0112] == 6
        assert image.info["icc_profile"] == b"a profile"


def test_a_real_progressive_photo_at_its_full_size() -> None:
    image = photo(3000, 2600)
    data = encoded(image, "JPEG", quality=90, progressive=True)
    assert apart(data, image) < NEAR
    assert decode.decode(data).image.size == (375, 325)


@pytest.mark.parametrize("marker", [0xC0, 0xC1, 0xC9, 0xCA, 0xC6])
def test_other_frames_are_left_alone(marker: int) -> None:
    data = bytearray(progressive(64, 48))
    data[data.index(b"\xff\xc2") + 1] = marker
    assert jpeg.dc_only(bytes(data), 1) is None


@pytest.mark.parametrize("change", ["twelve bits", "height behind", "two frames", "tables cut"])
def test_odd_files_are_left_alone(change: str) -> None:
    data = bytearray(progressive(64, 48))
    frame = data.index(b"\xff\xc2")
    if change == "twelve bits":
        data[frame + 4] = 12
    elif change == "height behind":
        data[frame + 5 : frame + 7] = b"\0\0"
    elif change == "two frames":
        stop = frame + 2 + int.from_bytes(data[frame + 2 : frame + 4], "big")
        data[stop:stop] = data[frame:stop]
    else:
        tables = data.index(b"\xff\xdb")
        size = int.from_bytes(data[tables + 2 : tables + 4], "big")
        data[tables + 4 : tables + 2 + size] = b"\x10" + data[tables + 5 : tables + 2 + size]
    assert jpeg.dc_only(bytes(data), 1) is None


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_progressive_file_that_ends_too_early_is_truncated(share: float) -> None:
    data = progressive(2600, 2600)
    picture = decode.decode(data[: int(len(data) * share)])
    assert picture.truncated
    assert np.linalg.norm(thumb_of(picture) - thumb_of(data)) < 200


def test_where_the_short_file_fails_the_whole_one_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    data = progressive(2600, 2600)
    expected = eighth(data)
    for short in (b"\xff\xd8\xff\xd9", data[:4000], progressive(2608, 2600)):
        monkeypatch.setattr(jpeg, "dc_only", lambda *_, short=short: short)
        picture = decode.decode(data)
        assert not picture.truncated
        assert np.array_equal(np.asarray(picture.image).astype(np.int16), expected)


def test_damaged_scans_never_raise() -> None:
    data = progressive(200, 160)
    rng = np.random.default_rng(1)
    for _ in range(300):
        damaged = bytearray(data)
        for at in rng.integers(2, len(data), 5):
            damaged[at] = rng.integers(0, 256)
        short = jpeg.dc_only(bytes(damaged[: rng.integers(2, len(data))]), 1)
        assert short is None or short.startswith(b"\xff\xd8")
        jpeg.frame(bytes(damaged))


# EXIF


def camera_exif(order: str, orientation: int = 6) -> bytes:
    exif = Image.Exif()
    exif.endian = order
    exif[0x010F], exif[0x0110], exif[0x0112] = "Maker", "M1", orientation
    exif.get_ifd(0x8769)[0x9003] = "2019:07:14 18:30:05"
    return exif.tobytes()


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_is_read(order: str) -> None:
    assert jpeg.exif(camera_exif(order)) == (6, "Maker", "M1", "2019:07:14 18:30:05", "", "")


def exposed(order: str, seconds: IFDRational | float, bias: IFDRational | float) -> bytes:
    exif = Image.Exif()
    exif.endian = order
    exif[0x0112] = 1
    details = exif.get_ifd(0x8769)
    details[0x9003], details[0x9291] = "2019:07:14 18:30:05", "310"
    details[0x829A], details[0x9204] = seconds, bias
    return exif.tobytes()


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_exposure_is_read(order: str) -> None:
    block = exposed(order, IFDRational(1, 250), IFDRational(2, 3))
    found = (1, "", "", "2019:07:14 18:30:05", "310", "1/250 s, +0.67 EV")
    assert jpeg.exif(block) == found


@pytest.mark.parametrize("order", ["<", ">"])
def test_an_exposure_that_is_no_ratio_is_left_to_pillow(order: str) -> None:
    block = exposed(order, 1 / 250, -2.0)
    assert jpeg.exif(block) is None
    written = io.BytesIO()
    Image.new("RGB", (8, 8)).save(written, "JPEG", exif=block)
    with Image.open(written) as image:
        found = facts.read(image)
    assert (found.subsecond, found.exposure) == ("31", "1/250 s, -2 EV")


def test_odd_exif_is_left_to_pillow() -> None:
    block = camera_exif("<")
    for odd in (b"", b"Exif\0\0", block[4:], block[:9], block[:30], b"Exif\0\0II+\0" + block[10:]):
        assert jpeg.exif(odd) is None
    assert (
        jpeg.exif(block.replace(struct.pack("<HH", 0x0112, 3), struct.pack("<HH", 0x0112, 4)))
        is None
    )
    assert (
        jpeg.exif(block.replace(struct.pack("<HH", 0x0110, 2), struct.pack("<HH", 0x0110, 7)))
        is None
    )


def test_exif_is_what_pillow_says(shared: Path) -> None:
    checked = 0
    for path in sorted((shared / "data").rglob("*.jpg")):
        try:
            with Image.open(path) as image:
                block, found, own = image.info.get("exif", b""), facts.odd(image), facts.read(image)
        except (OSError, SyntaxError, ValueError):
            continue
        if jpeg.exif(block) is not None:
            assert own == found, path
            checked += 1
    assert checked >= 20
