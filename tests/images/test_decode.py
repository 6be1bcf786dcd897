"""annidx.images.decode: every trap of decoding, and which status a file gets that fails."""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pillow_heif
import pytest
from PIL import Image, ImageCms, ImageFile, ImageOps, PngImagePlugin, TiffImagePlugin

from annidx.descriptors import SIGNATURE
from annidx.errors import PictureUnreadable
from annidx.images import decode, pixels
from annidx.images.content import pixel_hash
from annidx.images.signature import pack, signature
from annidx.search.vectors import distances
from tests.images.pictures import (
    NEAR,
    ORIENTATION,
    SHIPPED,
    STORE,
    apart,
    encoded,
    noise,
    orientation_tag,
    photo,
    png_chunk,
    png_header,
    thumb_of,
)

RECOMPRESSED = 45.0
"""What lossy encoders other than JPEG may cost; 34 is the most that was measured here."""


def stored(image: Image.Image, orientation: int) -> Image.Image:
    """Return the picture as a camera stores it that writes this orientation."""
    return image.transpose(STORE[orientation]) if orientation in STORE else image


def unreadable(data: bytes, path: bytes = b"") -> PictureUnreadable:
    with pytest.raises(PictureUnreadable) as caught:
        decode.decode(data, path)
    message = str(caught.value)
    assert message
    assert len(message.splitlines()) == 1
    return caught.value


def first_pixel(data: bytes) -> list[int]:
    (pixel,) = decode.decode(data).rgb(1, 1)[0]
    return [int(value) for value in pixel]


# Orientation


@lru_cache
def reference(size: tuple[int, int]) -> tuple[Image.Image, npt.NDArray[Any], npt.NDArray[Any]]:
    """Return an upright photo, its thumb and its packed signature."""
    image = photo(*size)
    return image, thumb_of(image), pack(signature(whole(image).gray()))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(480, 360), (511, 301), (2051, 1401)])
def test_every_orientation_comes_upright(size: tuple[int, int], orientation: int) -> None:
    upright, thumb, packed = reference(size)
    sideways = stored(upright, orientation)
    data = encoded(sideways, "JPEG", quality=90, exif=orientation_tag(orientation))
    picture = decode.decode(data)
    assert np.linalg.norm(thumb_of(picture) - thumb) < NEAR
    assert (picture.orientation, picture.format) == (orientation, "JPEG")
    assert (picture.width, picture.height) == sideways.size
    assert picture.image.width > picture.image.height
    found = pack(signature(picture.gray()))
    assert distances(SIGNATURE, found[None], packed[None])[0] < 0.1


@pytest.mark.parametrize("orientation", range(2, 9))
def test_the_box_follows_the_picture(orientation: int) -> None:
    box = (1, 0, 7, 4)
    padding = np.full((5, 8), 255, np.uint8)
    padding[0:4, 1:7] = 0
    upright = np.asarray(Image.fromarray(padding).transpose(pixels._UPRIGHT[orientation]))
    left, top, right, bottom = map(int, pixels._upright_box(box, (8, 5), orientation))
    assert (upright[top:bottom, left:right] == 0).all()
    assert (bottom - top) * (right - left) == (upright == 0).sum()


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF", "AVIF", "MPO"])
def test_every_format_comes_upright(format: str, orientation: int) -> None:
    upright = photo(128, 96)
    options: dict[str, Any] = {"quality": 95, "exif": orientation_tag(orientation)}
    if format == "AVIF":
        options["speed"] = 10
    # Not turned, they are 2,000 and more apart.
    assert apart(encoded(stored(upright, orientation), format, **options), upright) < 60


@pytest.mark.parametrize("orientation", [3, 5, 6])
def test_heif_is_turned_once(orientation: int) -> None:
    upright = photo(128, 96)
    # Given as bytes, the orientation goes into HEIF's own turns and into EXIF.
    exif = orientation_tag(orientation).tobytes()
    data = encoded(stored(upright, orientation), "HEIF", quality=95, exif=exif)
    with Image.open(io.BytesIO(data)) as image:
        assert image.info["original_orientation"] == orientation
    picture = decode.decode(data)
    assert (picture.width, picture.height, picture.orientation) == (128, 96, 1)
    assert apart(picture, upright) < 60


def test_real_orientations(shared: Path) -> None:
    examples = shared / "data" / "torture" / "exif-orientation-examples"
    for name in ("Landscape", "Portrait"):
        paths = sorted(examples.glob(f"{name}_?.jpg"))
        assert len(paths) == 9
        first = without_middle((examples / f"{name}_1.jpg").read_bytes())
        for path in paths:
            # The lettering lies a few pixels apart; unturned, they are 1,000 and more apart.
            distance = np.linalg.norm(without_middle(path.read_bytes()) - first)
            assert distance < RECOMPRESSED, path.name


def without_middle(data: bytes) -> npt.NDArray[np.float64]:
    """Return a thumb without its middle, where each example has its own number written."""
    rows = thumb_of(data).reshape(20, 20, 3)
    rows[7:13, 7:13] = 0
    return rows


def test_real_photos_from_a_turned_phone(shared: Path) -> None:
    paths = sorted((shared / "data" / "pdq" / "reg-test-input" / "exif-rotn").glob("*.jpg"))
    assert len(paths) == 4  # four photos of one desk
    for path in paths:
        picture = decode.decode(path.read_bytes())
        assert f"exif-rotn-{picture.orientation}.jpg" == path.name
        assert picture.image.size == (504, 378) if picture.orientation < 5 else (378, 504)


@pytest.mark.parametrize("value", [0, 9, 300, 65535])
def test_an_orientation_out_of_range_is_none(value: int) -> None:
    picture = decode.decode(encoded(photo(60, 45), "JPEG", exif=orientation_tag(value)))
    assert picture.orientation == 1


# Drafted decoding


def whole(source: bytes | Image.Image) -> pixels.Picture:
    """Return a picture that was decoded in full: Pillow's pixels, upright, in RGB."""
    if isinstance(source, Image.Image):
        return decode.from_array(np.asarray(source))
    with Image.open(io.BytesIO(source)) as image:
        return decode.from_array(np.asarray(ImageOps.exif_transpose(image).convert("RGB")))


def test_drafted_shipped_pictures_stay_where_they_were() -> None:
    checked = 0
    for path in sorted(SHIPPED.rglob("*.jp*g")):
        data = path.read_bytes()
        if path.name not in {"mountains-4k.jpg", "IMG_20200602_081409.jpg"}:  # no pictures
            assert apart(data, whole(data)) < NEAR, path.name
            checked += 1
    assert checked > 40


@pytest.mark.parametrize(
    ("name", "size", "reduced", "options"),
    [
        ("2019-holiday/picos-trail.jpg", (3001, 2003), (751, 501), {"quality": 90}),
        ("2020-home/fig-bowl.jpg", (3001, 2565), (376, 321), {"quality": 90}),
        ("2020-home/fig-bowl.jpg", (1031, 1117), (516, 559), {"quality": 75}),
        ("exports/prints/summit-sunset-framed.jpg", (901, 1203), (451, 602), {"subsampling": 0}),
        ("scans/brick-wall.jpg", (1043, 2087), (522, 1044), {"quality": 80}),
        ("phone/IMG_20200602_081402.jpg", (2595, 2593), (325, 325), {"progressive": True}),
        ("2020-home/coffee.jpg", (1000, 1000), (500, 500), {}),
        ("2020-home/coffee.jpg", (1000, 999), (1000, 999), {}),
        ("2020-home/coffee.jpg", (639, 2000), (639, 2000), {}),
    ],
)
def test_drafted_large_pictures_stay_where_they_were(
    name: str, size: tuple[int, int], reduced: tuple[int, int], options: dict[str, Any]
) -> None:
    with Image.open(SHIPPED / name) as image:
        data = encoded(image.resize(size, Image.Resampling.BICUBIC), "JPEG", **options)
    picture = decode.decode(data)
    assert picture.image.size == reduced
    assert (picture.width, picture.height) == size
    assert min(picture.image.size) >= 320
    assert apart(picture, whole(data)) < NEAR


def test_drafted_real_pictures_stay_where_they_were(shared: Path) -> None:
    caltech = shared / "data" / "caltech"
    paths = [*sorted(caltech.rglob("*.jpg"))[::20], *(caltech / "BACKGROUND_Google").iterdir()]
    drafted = 0
    for path in paths:
        data = path.read_bytes()
        picture = decode.decode(data)
        drafted += picture.image.size != (picture.width, picture.height)
        assert apart(picture, whole(data)) < NEAR, path.name
    assert drafted == 1  # the others have less than a megapixel


# Formats and modes


@pytest.mark.parametrize(
    ("format", "options", "limit"),
    [
        ("JPEG", {"quality": 90}, NEAR),
        ("JPEG", {"quality": 90, "progressive": True}, NEAR),
        ("PNG", {}, 0),
        ("PNG", {"interlace": 1}, 0),
        ("GIF", {}, RECOMPRESSED),
        ("WEBP", {"lossless": True}, 0),
        ("WEBP", {"quality": 90}, RECOMPRESSED),
        ("AVIF", {"quality": 90}, RECOMPRESSED),
        ("HEIF", {"quality": 90}, RECOMPRESSED),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("BMP", {}, 0),
        ("PPM", {}, 0),
        ("ICO", {"sizes": [(256, 192)]}, 0),
        ("JPEG2000", {}, 0),
        ("MPO", {"quality": 90}, NEAR),
    ],
)
def test_every_format_is_read(format: str, options: dict[str, Any], limit: float) -> None:
    image = photo(256, 192)
    picture = decode.decode(encoded(image, format, **options))
    assert apart(picture, image) <= limit
    assert picture.format == ("JPEG" if format == "MPO" else format)  # one frame is no MPO
    assert not picture.truncated
    assert (picture.width, picture.height) == (256, 192)


@pytest.mark.parametrize(
    ("mode", "format"),
    [
        ("1", "PNG"),
        ("1", "TIFF"),
        ("L", "PNG"),
        ("P", "PNG"),
        ("P", "GIF"),
        ("RGBA", "PNG"),
        ("CMYK", "TIFF"),
        ("YCbCr", "TIFF"),
    ],
)
def test_every_mode_is_read_before_it_is_resized(mode: str, format: str) -> None:
    image = photo(300, 200).convert(mode)
    picture = decode.decode(encoded(image, format))
    assert apart(picture, image.convert("RGB")) < (60 if mode == "YCbCr" else 1)
    assert picture.image.mode == ("L" if mode in ("1", "L") else "RGB")


@pytest.mark.parametrize("mode", ["L", "CMYK", "YCbCr"])
@pytest.mark.parametrize("size", [(300, 200), (1203, 801)])
def test_jpegs_of_other_modes_are_read(mode: str, size: tuple[int, int]) -> None:
    image = photo(*size).convert(mode)
    limit = NEAR if mode != "YCbCr" else RECOMPRESSED
    assert apart(encoded(image, "JPEG", quality=92), image.convert("RGB")) < limit


def test_lab_is_read() -> None:
    image = photo(120, 90)
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    converted = ImageCms.profileToProfile(image, srgb, lab, outputMode="LAB")
    assert converted is not None
    assert apart(encoded(converted, "TIFF"), image) < NEAR


def sixteen_bits() -> npt.NDArray[np.uint16]:
    return np.asarray(photo(90, 60).convert("L")).astype(np.uint16) * 257


@pytest.mark.parametrize(
    ("array", "format"),
    [
        (lambda gray: gray, "PNG"),
        (lambda gray: gray, "TIFF"),
        (lambda gray: gray.astype(">u2"), "TIFF"),
        (lambda gray: gray.astype(np.int32), "TIFF"),
        (lambda gray: gray, "PPM"),
        (lambda gray: gray.astype(np.float32), "TIFF"),
        (lambda gray: (gray / 257).astype(np.float32), "TIFF"),
        (lambda gray: (gray / 65535).astype(np.float32), "TIFF"),
        (lambda gray: (gray // 257).astype(np.int32), "TIFF"),
    ],
    ids=["png", "tiff", "big-endian", "int32", "pgm", "float", "float-255", "float-1", "int-255"],
)
def test_deep_gray_is_scaled_and_not_clipped(
    array: Callable[[npt.NDArray[np.uint16]], npt.NDArray[Any]], format: str
) -> None:
    deep = Image.fromarray(array(sixteen_bits()))
    assert deep.mode not in {"L", "RGB"}
    assert apart(encoded(deep, format), photo(90, 60).convert("L")) < 1


def test_deep_gray_without_numbers_is_read() -> None:
    strange = np.array([[np.nan, np.inf], [-np.inf, -5.0]], np.float32)
    assert (decode.decode(encoded(Image.fromarray(strange), "TIFF")).rgb(2, 2) == 0).all()


def test_of_several_frames_the_first_counts() -> None:
    red, blue = (Image.new("RGB", (40, 30), colour) for colour in ((255, 0, 0), (0, 0, 255)))
    for format in ("GIF", "PNG", "WEBP", "TIFF", "MPO", "AVIF"):
        options: dict[str, Any] = {"lossless": True} if format == "WEBP" else {}
        data = encoded(red, format, save_all=True, append_images=[blue], **options)
        with Image.open(io.BytesIO(data)) as image:
            assert getattr(image, "n_frames", 1) == 2, format
        red_part, green_part, blue_part = first_pixel(data)
        assert red_part > 245, format
        assert max(green_part, blue_part) < 10, format


def test_thumbnails_inside_heif_pictures_are_not_taken() -> None:
    assert pillow_heif.options.THUMBNAILS is False  # or draft() would decode one of them


# Alpha


def over_white(colours: npt.NDArray[np.uint8], alpha: npt.NDArray[np.uint8]) -> Any:
    share = alpha[..., None] / 255
    return colours * share + 255 * (1 - share)


@pytest.mark.parametrize(
    ("format", "options"), [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True, "exact": True})]
)
def test_colours_with_alpha_lie_over_white(format: str, options: dict[str, Any]) -> None:
    colours = noise(30, 40, seed=2)
    alpha = np.tile(np.linspace(0, 255, 40).astype(np.uint8), (30, 1))
    image = Image.fromarray(np.dstack([colours, alpha]))
    assert image.mode == "RGBA"
    picture = decode.decode(encoded(image, format, **options))
    np.testing.assert_allclose(picture.rgb(40, 30), over_white(colours, alpha), atol=1)
    assert np.array_equal(decode.from_array(np.asarray(image)).rgb(40, 30), picture.rgb(40, 30))


def test_gray_with_alpha_lies_over_white() -> None:
    gray, alpha = noise(20, 25, seed=3)[:, :, 0], noise(20, 25, seed=4)[:, :, 0]
    image = Image.merge("LA", (Image.fromarray(gray), Image.fromarray(alpha)))
    for format in ("PNG", "TIFF"):
        picture = decode.decode(encoded(image, format))
        expected = over_white(np.dstack([gray] * 3), alpha)
        np.testing.assert_allclose(picture.rgb(25, 20), expected, atol=1)


@pytest.mark.parametrize(
    ("format", "transparency"), [("PNG", 1), ("PNG", bytes([255, 0, 255])), ("GIF", 1)]
)
def test_transparent_entries_of_a_palette_are_white(format: str, transparency: int | bytes) -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8)).convert("P")
    image.putpalette([10, 20, 30, 200, 0, 0, 0, 200, 0])
    data = encoded(image, format, transparency=transparency)
    assert decode.decode(data).rgb(3, 1).tolist() == [[[10, 20, 30], [255] * 3, [0, 200, 0]]]


@pytest.mark.parametrize(
    ("image", "key", "expected"),
    [
        (Image.fromarray(np.array([[0, 9, 200]], np.uint8)), 9, [0, 255, 200]),
        (Image.fromarray(np.array([[False, True]])), 0, [255, 255]),
        (Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)), (4, 5, 6), [1, 255]),
    ],
    ids=["L", "1", "RGB"],
)
def test_a_transparent_colour_is_white(image: Image.Image, key: Any, expected: list[int]) -> None:
    data = encoded(image, "PNG", transparency=key)
    assert decode.decode(data).rgb(*image.size)[0, :, 0].tolist() == expected


# Colour profiles


def adobe_rgb() -> bytes:
    """Return an ICC profile like Adobe RGB (1998): its primaries, gamma 563/256."""

    def xyz(*values: float) -> bytes:
        return struct.pack(">4s4x3i", b"XYZ ", *(round(value * 65536) for value in values))

    name = b"wide colours\0"
    curve = struct.pack(">4s4xIHxx", b"curv", 1, 563)
    tags = {
        b"desc": struct.pack(">4s4xI", b"desc", len(name)) + name + bytes(78),
        b"cprt": b"text\0\0\0\0none\0",
        b"wtpt": xyz(0.9505, 1.0, 1.0891),
        b"rXYZ": xyz(0.60974, 0.31111, 0.01947),
        b"gXYZ": xyz(0.20528, 0.62567, 0.06087),
        b"bXYZ": xyz(0.14919, 0.06322, 0.74457),
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
    }
    return icc_profile(b"RGB ", tags)


def icc_profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    """Return an ICC profile of a display."""
    body = b""
    table = struct.pack(">I", len(tags))
    for tag, content in tags.items():
        table += struct.pack(">4sII", tag, 132 + 12 * len(tags) + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    size = 128 + len(table) + len(body)
    header = struct.pack(">I4xI4s4s4s12x4s28x", size, 0x02100000, b"mntr", space, b"XYZ ", b"acsp")
    header += struct.pack(">3i", 63190, 65536, 54061)  # D50
    return header.ljust(128, b"\0") + table + body


def in_adobe_rgb(image: Image.Image) -> Image.Image:
    profile = ImageCms.ImageCmsProfile(io.BytesIO(adobe_rgb()))
    converted = ImageCms.profileToProfile(image, ImageCms.createProfile("sRGB"), profile)
    assert converted is not None
    return converted


def colourful(size: tuple[int, int]) -> Image.Image:
    """Return a photo with strong colours."""
    with Image.open(SHIPPED / "2020-home" / "fig-bowl.jpg") as image:
        return image.resize(size, Image.Resampling.BICUBIC)


@pytest.mark.parametrize(
    ("format", "mode", "options"),
    [
        ("JPEG", "RGB", {"quality": 95}),
        ("PNG", "RGB", {}),
        ("PNG", "RGBA", {}),
        ("PNG", "P", {}),
        ("WEBP", "RGB", {"lossless": True}),
        ("TIFF", "RGB", {}),
        ("AVIF", "RGB", {"quality": 95, "speed": 10}),
        ("HEIF", "RGB", {"quality": 95}),
    ],
)
def test_another_colour_space_is_brought_to_srgb(
    format: str, mode: str, options: dict[str, Any]
) -> None:
    original = colourful((640, 560) if format == "JPEG" else (120, 100))  # JPEG: drafted
    wide = in_adobe_rgb(original)
    wide = wide.quantize(256) if mode == "P" else wide.convert(mode)
    with_profile = encoded(wide, format, icc_profile=adobe_rgb(), **options)
    without = encoded(wide, format, icc_profile=b"", **options)
    # Measured: 43 in large PNGs, out of rounding twice; small lossy ones and palettes: 62.
    assert apart(with_profile, original) < 75
    assert apart(without, original) > 150
    gray = decode.decode(with_profile).gray().astype(int)
    assert np.abs(gray - whole(original).gray()).mean() < 4


def test_an_srgb_profile_changes_nothing() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = photo(60, 45)
    assert apart(encoded(image, "PNG", icc_profile=profile), image) == 0


@pytest.mark.parametrize("profile", [b"nonsense", adobe_rgb()[:200], bytes(3000)])
def test_a_broken_profile_is_ignored(profile: bytes) -> None:
    image = photo(60, 45)
    for mode in ("RGB", "RGBA", "L", "CMYK"):
        data = encoded(image.convert(mode), "TIFF", icc_profile=profile)
        assert apart(data, image.convert(mode).convert("RGB")) < 1


def test_a_profile_of_another_mode_is_ignored() -> None:
    for mode in ("L", "1", "CMYK"):
        image = photo(60, 45).convert(mode)
        assert apart(encoded(image, "TIFF", icc_profile=adobe_rgb()), image.convert("RGB")) < 1


# Sizes


@pytest.mark.parametrize(
    ("size", "gray"),
    [
        ((1, 1), (1, 1)),
        ((3, 1000), (3, 1000)),
        ((160, 160), (160, 160)),
        ((200, 150), (200, 150)),
        ((600, 300), (320, 160)),
        ((161, 10_000), (160, 2560)),  # strips are pressed together
        ((5000, 4000), (200, 160)),
    ],
)
def test_the_gray_is_never_enlarged(size: tuple[int, int], gray: tuple[int, int]) -> None:
    picture = decode.from_array(np.zeros((size[1], size[0], 3), np.uint8))
    assert picture.gray().shape == gray[::-1]


def test_the_gray_of_a_drafted_picture_has_its_shape() -> None:
    data = encoded(photo(1601, 1203), "JPEG")
    assert decode.decode(data).gray().shape == whole(data).gray().shape == (160, 213)


def test_gray_is_luma() -> None:
    colours = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [100, 100, 100]]
    gray = decode.from_array(np.array([colours], np.uint8)).gray()
    assert gray.tolist() == [[76, 150, 29, 255, 100]]
    assert gray.dtype == np.uint8


# Metadata


def dated(text: object, camera: tuple[str, str] = ("", "")) -> bytes:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = camera
    exif.get_ifd(0x8769)[0x9003] = text
    return encoded(Image.new("RGB", (8, 8)), "JPEG", exif=exif)


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("2019:07:14 18:30:05", "2019-07-14T18:30:05"),
        ("2019:07:14 18:30:05\0", "2019-07-14T18:30:05"),
        ("2019:07:14 18:30:05.25", "2019-07-14T18:30:05"),
        ("2019:07:14 18:30:05+02:00", "2019-07-14T18:30:05"),
        ("", ""),
        ("0000:00:00 00:00:00", ""),
        ("    :  :     :  :  ", ""),
        ("2019:07:14", ""),
        ("2019:07:14 18:30", ""),
        ("yesterday at noon!!", ""),
        ("2019071412 1830", ""),
        ("20:19:0714 18:30:05", ""),
    ],
)
def test_the_time_of_the_exposure(text: str, taken: str) -> None:
    assert decode.decode(dated(text)).taken == taken


@pytest.mark.parametrize(
    ("make", "model", "camera"),
    [
        ("", "", ""),
        ("Canon", "Canon EOS 5D", "Canon EOS 5D"),
        ("NIKON CORPORATION", "NIKON D90", "NIKON CORPORATION NIKON D90"),
        ("samsung", "", "samsung"),
        ("", "Pixel 9", "Pixel 9"),
        ("SONY  ", "DSC-W1 ", "SONY DSC-W1"),
        ("x" * 100, "y", "x" * 80),
    ],
)
def test_the_camera(make: str, model: str, camera: str) -> None:
    assert decode.decode(dated("", (make, model))).camera == camera


def odd_orientation(kind: int, count: int, value: bytes, more: bytes = b"") -> bytes:
    """Return EXIF that holds an orientation of any type, and a camera, "Pix"."""
    entries = struct.pack("<HHI", 0x0110, 2, 4) + b"Pix\0"
    entries += struct.pack("<HHI", ORIENTATION, kind, count) + value.ljust(4, b"\0")
    return b"Exif\0\0II*\0\x08\0\0\0\x02\0" + entries + bytes(4) + more


BEHIND = struct.pack("<I", 38)
"""Where what does not fit into the entry lies."""


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0garbage that is no TIFF at all",
        b"Exif\0\0II*\0\xff\xff\xff\x7f",
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff",
        b"garbage",
    ],
)
def test_broken_exif_costs_nothing_but_itself(exif: bytes) -> None:
    image = photo(240, 180)
    picture = decode.decode(encoded(image, "JPEG", quality=95, exif=exif))
    assert (picture.orientation, picture.taken, picture.camera) == (1, "", "")
    assert apart(picture, image) < NEAR


@pytest.mark.parametrize(
    "exif",
    [
        odd_orientation(2, 2, b"6\0"),
        odd_orientation(2, 4, b"six\0"),
        odd_orientation(3, 0, b""),
        odd_orientation(3, 0xFFFFFFFF, b"\xff\xff\xff\x7f"),
        odd_orientation(5, 1, BEHIND, bytes(8)),
        odd_orientation(7, 1, b"\6"),
        odd_orientation(200, 1, b"\6"),
        odd_orientation(11, 1, struct.pack("<f", float("nan"))),
        odd_orientation(11, 1, struct.pack("<f", 2.5)),
    ],
    ids=["6", "six", "none", "far", "0/0", "undefined", "unknown", "nan", "2.5"],
)
def test_an_orientation_that_is_none_costs_nothing_else(exif: bytes) -> None:
    picture = decode.decode(encoded(photo(60, 45), "JPEG", exif=exif))
    assert (picture.orientation, picture.camera) == (1, "Pix")


@pytest.mark.parametrize(
    "exif",
    [
        odd_orientation(11, 1, struct.pack("<f", 6.0)),
        odd_orientation(12, 1, BEHIND, struct.pack("<d", 6.0)),
        odd_orientation(5, 1, BEHIND, struct.pack("<II", 6, 1)),
        odd_orientation(4, 1, struct.pack("<I", 6)),
    ],
    ids=["float", "double", "ratio", "long"],
)
def test_the_orientation_is_a_whole_number_whatever_its_type(exif: bytes) -> None:
    data = encoded(photo(60, 45), "JPEG", exif=exif)
    picture = decode.decode(data)
    assert (picture.orientation, picture.camera) == (6, "Pix")
    assert type(picture.orientation) is int
    assert pixel_hash(data, picture.orientation) == pixel_hash(data, 6)


# Pillow by itself refuses compressed text and profiles of more than a megabyte.
def test_much_text_costs_no_png() -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("history", "a long edit, " * 200_000, zip=True)
    image = photo(60, 45)
    picture = decode.decode(encoded(image, "PNG", pnginfo=text))
    assert apart(picture, image) == 0
    assert not picture.truncated


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt"])
@pytest.mark.parametrize("where", ["in front", "behind"])
def test_text_that_would_fill_the_memory_is_left_out(kind: bytes, where: str) -> None:
    image = photo(60, 45)
    data = encoded(image, "PNG")
    bomb = zlib.compress(bytes(50_000_000), 9)
    payload = b"bomb\0\0" + bomb if kind == b"zTXt" else b"bomb\0\1\0\0\0" + bomb
    at = 33 if where == "in front" else data.index(b"IEND") - 4
    data = data[:at] + png_chunk(kind, payload) + data[at:]
    picture = decode.decode(data)
    assert apart(picture, image) == 0
    assert not picture.truncated


# Frames and pages


def test_the_first_frame_of_a_gif_lies_on_white() -> None:
    frame = Image.new("RGB", (30, 20), (0, 0, 200)).quantize(4)
    data = bytearray(encoded(frame, "GIF"))
    data[6:10] = struct.pack("<HH", 60, 40)  # the canvas is larger than its only frame
    rgb = decode.decode(bytes(data)).rgb(60, 40)
    assert rgb.shape == (40, 60, 3)
    assert (rgb[:20, :30] == (0, 0, 200)).all()
    assert (rgb[20:] == 255).all()
    assert (rgb[:, 30:] == 255).all()


@pytest.mark.parametrize(("tag", "kind", "value"), [(254, 4, 1), (255, 3, 2)])
def test_the_first_page_that_is_no_thumbnail_counts(tag: int, kind: int, value: int) -> None:
    small, large = photo(40, 30), photo(160, 120)
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    directory[tag] = value
    data = encoded(small, "TIFF", save_all=True, append_images=[large], tiffinfo=directory)
    assert decode.decode(data).width == 40  # both pages say that they are reduced
    entry = struct.pack("<HHII", tag, kind, 1, value)
    assert data.count(entry) == 2
    front, middle, behind = data.split(entry)
    data = front + entry + middle + struct.pack("<HHII", tag, kind, 1, 0) + behind
    picture = decode.decode(data)
    assert (picture.width, picture.height) == (160, 120)
    assert apart(picture, large) == 0


def test_the_largest_icon_counts() -> None:
    data = encoded(photo(256, 256), "ICO", sizes=[(16, 16), (64, 64), (32, 32)])
    picture = decode.decode(data)
    assert (picture.width, picture.height) == (64, 64)


def test_all_turns_of_an_avif_show_the_same(shared: Path) -> None:
    paths = sorted((shared / "data" / "torture" / "pillow").glob("*avif__rot?mir?.avif"))
    assert len(paths) >= 8
    first = paths[0].read_bytes()
    for path in paths[1:]:  # each was compressed for itself; unturned, they are 1,000 apart
        assert apart(path.read_bytes(), first) < 120, path.name


def test_all_modes_of_a_real_picture_show_the_same(shared: Path) -> None:
    paths = sorted((shared / "data" / "pdq" / "misc-images" / "modes").iterdir())
    thumbs = {path.name: thumb_of(path.read_bytes()) for path in paths}
    assert len(thumbs) >= 3
    colours = {name: thumb for name, thumb in thumbs.items() if not is_gray(thumb)}
    grays = {name: thumb for name, thumb in thumbs.items() if is_gray(thumb)}
    for alike in (colours, grays):
        for name, thumb in alike.items():
            assert np.linalg.norm(thumb - next(iter(alike.values()))) < 60, name


def is_gray(thumb: npt.NDArray[np.float64]) -> bool:
    return bool(np.ptp(thumb.reshape(-1, 3), axis=1).max() < 3)


def test_a_profile_of_gray_is_applied() -> None:
    curve = struct.pack(">4s4xIHxx", b"curv", 1, 256)  # linear light
    white = struct.pack(">4s4x3i", b"XYZ ", 63190, 65536, 54061)
    text = struct.pack(">4s4xI", b"desc", 7) + b"linear\0" + bytes(79)
    tags = {b"desc": text, b"cprt": b"text\0\0\0\0none\0\0\0\0", b"wtpt": white, b"kTRC": curve}
    profile = icc_profile(b"GRAY", tags)
    gray = Image.new("L", (30, 20), 55)
    for mode, format in (("L", "PNG"), ("L", "TIFF"), ("L", "JPEG"), ("LA", "PNG")):
        data = encoded(gray.convert(mode), format, icc_profile=profile)
        picture = decode.decode(data)
        assert abs(int(picture.rgb(1, 1)[0, 0, 0]) - 128) <= 2, (mode, format)
        assert abs(int(picture.gray()[0, 0]) - 128) <= 2, (mode, format)


# What cannot be read


@pytest.mark.parametrize(
    ("data", "path", "status"),
    [
        (b"", b"", "empty"),
        (b"", b"x.jpg", "empty"),
        (b"hello, world", b"", "not-a-picture"),
        (b"hello, world", b"notes.txt", "not-a-picture"),
        (b"hello, world", b"hello.JPG", "unreadable"),
        (b"<html>not found</html>", b"a.png", "unreadable"),
        (b"\xff\xd8\xff", b"", "unreadable"),
        (b"\x89PNG\r\n\x1a\n", b"", "unreadable"),
        (b"GIF89a", b"x.txt", "unreadable"),
        (b"II*\0", b"", "unreadable"),
        (b"RIFF\0\0\0\0WEBPVP8 ", b"", "unreadable"),
        (b"\0\0\0\x18ftypheic", b"", "unreadable"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"x.eps", "not-a-picture"),
        (b"%PDF-1.7", b"x.pdf", "not-a-picture"),
        (b"II*\0\x10\0\0\0CR\x02\0" + bytes(64), b"", "raw-unsupported"),
        (b"FUJIFILMCCD-RAW 0201", b"x.raf", "raw-unsupported"),
        (b"MM\0*\0\0\0\x08" + bytes(64), b"x.NEF", "raw-unsupported"),
        # neither the name nor the first bytes promise a BMP or PNM
        (b"BMW 320d, 2004, 210000 km, one careful owner", b"cars.txt", "not-a-picture"),
        (b"P1 is the first thing to do", b"todo.txt", "not-a-picture"),
        (b"P5\nis the fifth chapter", b"", "not-a-picture"),
        (b"BMW 320d, 2004, 210000 km, one careful owner", b"cars.bmp", "unreadable"),
        (b"P1 is the first thing to do", b"todo.pbm", "unreadable"),
    ],
)
def test_the_status_of_what_cannot_be_read(data: bytes, path: bytes, status: str) -> None:
    assert unreadable(data, path).status == status


def test_the_status_of_shipped_files() -> None:
    for name, status in {
        "notes.txt": "not-a-picture",
        "downloads/mountains-4k.jpg": "unreadable",
        "phone/IMG_20200602_081409.jpg": "unreadable",
    }.items():
        assert unreadable((SHIPPED / name).read_bytes(), name.encode()).status == status


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 1.0])
def test_a_jpeg_of_headers_alone_is_unreadable(share: float) -> None:
    data = encoded(photo(120, 90), "JPEG")
    headers = data.index(b"\xff\xda")
    assert unreadable(data[: int(headers * share)], b"x.jpg").status == "unreadable"


@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("GIF", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("PPM", {}),
    ],
)
def test_what_ends_too_early_is_read_as_far_as_it_goes(
    format: str, options: dict[str, Any]
) -> None:
    image = photo(300, 300)
    data = encoded(image, format, **options)
    picture = decode.decode(data[: len(data) * 7 // 10])
    assert picture.truncated
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
    assert (picture.width, picture.height, picture.format) == (300, 300, format)
    if not options and format != "BMP":  # progressive ones lose detail, BMP begins at the bottom
        rows = 20 * 60  # of 20
        before, after = thumb_of(image)[: rows // 3], thumb_of(picture)[: rows // 3]
        assert np.linalg.norm(before - after) < RECOMPRESSED
    assert not decode.decode(data).truncated


@pytest.mark.parametrize("format", ["WEBP", "AVIF", "HEIF"])
def test_formats_that_cannot_be_read_in_part_are_unreadable(format: str) -> None:
    data = encoded(photo(120, 90), format)
    assert unreadable(data[: len(data) // 2]).status == "unreadable"


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "TIFF", "HEIF"])
def test_the_limit_of_pixels(format: str) -> None:
    data = encoded(Image.new("RGB", (30, 20)), format)
    assert decode.decode(data, limits=decode.Limits(pixels=600)).width == 30
    with pytest.raises(PictureUnreadable) as caught:
        decode.look(data, limits=decode.Limits(pixels=599))
    assert caught.value.status == "too-large"
    message = "30 x 20 pixels, the limit is 599 in all: give --max-megapixels 1"
    assert str(caught.value) == message


def test_the_limit_of_memory() -> None:
    data = encoded(photo(600, 400), "PNG")
    memory = decode.look(data).memory
    assert decode.decode(data, limits=decode.Limits(memory=memory)).width == 600
    with pytest.raises(PictureUnreadable) as caught:
        decode.look(data, limits=decode.Limits(memory=memory - 1))
    assert caught.value.status == "too-large"
    found = re.fullmatch(
        r"decoding needs about (\d+) MB, one picture may take (\d+) MB: give --memory 50M",
        str(caught.value),
    )
    assert found
    assert int(found[1]) == round(memory / 1e6)


def test_a_header_tells_what_is_stored_and_decodes_once() -> None:
    data = encoded(photo(1601, 1203), "JPEG", exif=orientation_tag(6))
    header = decode.look(data)
    assert (header.format, header.width, header.height) == ("JPEG", 1601, 1203)
    picture = header.decode()
    assert (picture.width, picture.height, picture.orientation) == (1601, 1203, 6)
    with pytest.raises(RuntimeError, match="called before"):
        header.decode()


def test_another_orientation_can_be_applied() -> None:
    upright = photo(240, 180)
    data = encoded(stored(upright, 8), "JPEG", quality=92, exif=orientation_tag(3))
    picture = decode.look(data).decode(orientation=8)
    assert picture.orientation == 8
    assert apart(picture, upright) < NEAR


@pytest.mark.parametrize(
    ("width", "height"), [(20_001, 20_000), (28_000, 28_500), (60_000, 60_000), (2**31 - 1, 9)]
)
def test_a_header_of_too_many_pixels(width: int, height: int) -> None:
    assert unreadable(png_header(width, height)).status == "too-large"


def test_a_jpeg_header_of_too_many_pixels() -> None:
    data = bytearray(encoded(Image.new("RGB", (16, 16)), "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 30_000, 30_000)
    assert unreadable(bytes(data)).status == "too-large"


@pytest.mark.parametrize(
    "tags",
    [{50706: b"\1\4\0\0"}, {254: 1, 330: 8}],
    ids=["dng-version", "preview"],
)
@pytest.mark.parametrize("path", [b"", b"x.tif", b"x.dng"])
def test_raw_in_a_tiff_container_is_not_taken_for_its_preview(
    tags: dict[int, Any], path: bytes
) -> None:
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in tags.items():
        directory[tag] = value
    data = encoded(Image.new("RGB", (16, 12)), "TIFF", tiffinfo=directory)
    assert unreadable(data, path).status in {"raw-unsupported", "unreadable"}


def test_the_limit_counts_the_page_that_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = Image.new("L", (10, 10)), Image.new("L", (300, 200))
    data = encoded(small, "TIFF", save_all=True, append_images=[large])
    monkeypatch.setattr(decode, "_seek_full_page", lambda image: image.seek(1))
    with pytest.raises(PictureUnreadable, match="300 x 200 pixels"):
        decode.look(data, limits=decode.Limits(pixels=1000))


def test_a_tiff_with_a_name_of_raw_is_raw() -> None:
    data = encoded(Image.new("RGB", (16, 12)), "TIFF")
    assert decode.decode(data, b"x.tif").format == "TIFF"
    assert unreadable(data, b"x.nef").status == "raw-unsupported"


def test_lack_of_memory_is_no_broken_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(decode, "_load", exhausted)
    assert unreadable(encoded(Image.new("RGB", (16, 12)), "PNG")).status == "too-large"


@pytest.mark.parametrize("kind", [ValueError, TypeError, KeyError, RecursionError, struct.error])
def test_whatever_a_decoder_throws_costs_one_picture(
    monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    def broken(*_: object) -> None:
        raise kind("two\nlines " + "x" * 500)

    monkeypatch.setattr(decode, "_load", broken)
    error = unreadable(encoded(Image.new("RGB", (16, 12)), "PNG"))
    assert error.status == "unreadable"
    assert "two" in str(error)
    assert len(str(error)) < 250


# Pictures that are no files


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 3), (5, 4, 4)])
def test_arrays_are_pictures(shape: tuple[int, ...]) -> None:
    picture = decode.from_array(np.full(shape, 255, np.uint8))
    assert (picture.width, picture.height, picture.format) == (4, 5, "")
    assert (picture.orientation, picture.truncated) == (1, False)
    assert (picture.rgb(4, 5) == 255).all()


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((5, 4, 3)),
        np.zeros((5, 4, 3), np.int8),
        np.zeros((5, 4), np.uint16),
        np.zeros((5, 4), bool),
        np.zeros(5, np.uint8),
        np.zeros((1, 5, 4, 3), np.uint8),
        np.zeros((5, 4, 2), np.uint8),
        np.zeros((5, 4, 1), np.uint8),
        np.zeros((5, 4, 5), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((5, 0), np.uint8),
        np.array("text"),
    ],
)
def test_other_arrays_are_refused(array: npt.NDArray[Any]) -> None:
    with pytest.raises(PictureUnreadable, match="expected") as caught:
        decode.from_array(array)
    assert caught.value.status == "unreadable"
    assert str(array.shape) in str(caught.value)


def test_images_are_pictures() -> None:
    upright = photo(240, 180)
    data = encoded(stored(upright, 6), "JPEG", quality=92, exif=orientation_tag(6))
    with Image.open(io.BytesIO(data)) as image:
        picture = decode.from_image(image)
        assert image.size == (180, 240)  # left alone
    assert picture.orientation == 6
    assert (picture.width, picture.height) == (180, 240)
    assert apart(picture, upright) < NEAR


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "PA", "RGBA", "RGBa", "CMYK", "HSV", "I", "F"]
)
def test_images_of_any_mode_are_pictures(mode: str) -> None:
    picture = decode.from_image(Image.new(mode, (4, 3)))
    assert picture.image.mode in {"RGB", "L"}
    assert picture.rgb(2, 2).shape == (2, 2, 3)
    assert picture.gray().shape == (3, 4)


@pytest.mark.parametrize("value", ["x.jpg", b"x", None, 3, np.zeros((2, 2), np.uint8)])
def test_what_is_no_image_is_refused(value: object) -> None:
    with pytest.raises(PictureUnreadable, match=f"got {type(value).__name__}"):
        decode.from_image(value)


def test_an_image_that_cannot_be_loaded_is_unreadable() -> None:
    data = encoded(photo(120, 90), "JPEG")
    with (
        Image.open(io.BytesIO(data[: len(data) // 2])) as image,
        pytest.raises(PictureUnreadable, match="truncated") as caught,
    ):
        decode.from_image(image)
    assert caught.value.status == "unreadable"
