"""The only module that imports Pillow: bytes in, an upright RGB picture out.

Here live the formats, the limits and every trap of decoding: draft sizes, orientation, alpha,
16-bit samples, palettes, colour profiles, truncated files. Nothing of it leaks to the descriptors.
"""

from __future__ import annotations

import io
import re
import sys
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pillow_heif
from PIL import (  # the plugins are named, or open() would import every plugin that there is
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    IcoImagePlugin,
    Image,
    ImageCms,
    ImageFile,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from annidx.errors import PictureUnreadable
from annidx.images import content, facts, jpeg

FORMATS = (
    JpegImagePlugin.JpegImageFile.format,  # opens MPO, too
    *(PngImagePlugin.PngImageFile.format, GifImagePlugin.GifImageFile.format),
    *(WebPImagePlugin.WebPImageFile.format, AvifImagePlugin.AvifImageFile.format),
    *(TiffImagePlugin.TiffImageFile.format, BmpImagePlugin.BmpImageFile.format),
    *(PpmImagePlugin.PpmImageFile.format, IcoImagePlugin.IcoImageFile.format),
    *(Jpeg2KImagePlugin.Jpeg2KImageFile.format, pillow_heif.HeifImageFile.format),
)
"""What Pillow may try. EPS and WMF would run other programs and are never reached."""

MAX_PIXELS = 400_000_000
"""By default, a picture with more is 'too-large': the first user's own limit for scans."""

GRAY_SIDE = 160
"""Short side of the gray picture that the signature is computed on; never enlarged.

Over 1,280 photos, drafted at 160 instead of decoded in full, signatures move by .022 (median) and
.079 at most; with 256 it is .000 and .060, at twice the time. Copies at 30 to 90 % of the size lie
.024 to .072 apart (median) with 160, .024 to .076 with 256.
"""

DRAFT_SIDE = 320
"""A JPEG may be decoded at 1/2, 1/4 or 1/8 as long as its sides stay above this."""

DRAFT_PIXELS = 1_000_000
"""A smaller JPEG is decoded in full: it takes 5 ms, and line art would drift by up to 48."""

REDUCED_SIDE = 1024
"""Large pictures are averaged over whole blocks of pixels while both sides stay above this."""

BAND_PIXELS = 500_000
"""So many pixels of a large picture are converted at a time."""

WORKING_BYTES = 16_000_000
"""What decoding takes whatever the size: a band of pixels, a decoder's buffers, the descriptors."""

pillow_heif.register_heif_opener(thumbnails=False)
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
PngImagePlugin.MAX_TEXT_CHUNK = 4 * 1024**2  # what is larger is left out, see _without_text
_lenient = threading.Lock()  # LOAD_TRUNCATED_IMAGES is one flag for the whole process
_QUIET = ("ignore", None, Warning, re.compile(r"PIL\."), 0)

# Pillow's transpose that brings a stored picture of that EXIF orientation upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_PNG = b"\x89PNG\r\n\x1a\n"

_PIXEL_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
"""Bytes a pixel of a picture in Pillow's memory; 4 in all other modes."""

_DECODER_BYTES = {"WEBP": 13.0, "AVIF": 6.0, "HEIF": 5.0, "GIF": 0.5, "PNG": 0.1}
"""Bytes a pixel that the decoder of a format takes beside Pillow's picture.

Measured at 25 to 100 megapixels, with what describing takes: WebP 16 to 17 in all, AVIF 9.2,
HEIC 7.6, GIF 1.5, PNG as :data:`_PIXEL_BYTES` and up to 0.3, TIFF, BMP and PPM up to 0.5.
"""

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a picture may cost; one that needs more is 'too-large'.

    Attributes
    ----------
    pixels : int
        Width times height.
    memory : int
        Predicted peak bytes of decoding and describing it, with the bytes of its file.
    """

    pixels: int = MAX_PIXELS
    memory: int = 800_000_000


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture: upright, without alpha; sRGB once it is read out.

    Attributes
    ----------
    image : PIL.Image.Image
        Mode RGB or L, upright, perhaps at a reduced size.
    box : tuple of float
        The part of `image` that is the picture: a JPEG decoded at 1/8 is padded to whole pixels,
        and without the box a thumbnail drifts by 97 to 683.
    profile : bytes
        ICC profile of `image`, applied to what is read out; empty for sRGB.
    format : str
    width, height : int
        Pixels as stored, before the orientation was applied and before any reduction.
    orientation : int
        EXIF orientation 1-8 that was applied.
    taken, camera : str
        From EXIF; empty when not there.
    truncated : bool
        True when the file ends too early and the rest was filled in.
    """

    image: Image.Image
    box: Box
    profile: bytes
    format: str
    width: int
    height: int
    orientation: int
    taken: str
    camera: str
    truncated: bool

    def rgb(self, width: int, height: int) -> npt.NDArray[np.uint8]:
        """Return it resized by bicubic with antialiasing, (height, width, 3) uint8 sRGB."""
        small = self.image
        if self.box != (0, 0, *small.size) or (width, height) != small.size:
            small = small.resize((width, height), Image.Resampling.BICUBIC, box=self.box)
        return np.asarray(_to_srgb(small, self.profile))

    def gray(self) -> npt.NDArray[np.uint8]:
        """Return ITU-R 601 luma, (h, w) uint8, with a short side of at most 160 pixels."""
        is_srgb = _transform(self.profile, self.image.mode) is None
        image = self.image.convert("L") if is_srgb else self.image
        width, height = self.box[2] - self.box[0], self.box[3] - self.box[1]
        scale = min(1.0, GRAY_SIDE / min(width, height))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        # Means of whole blocks first, then at most a halving: against bicubic from all pixels this
        # moves signatures by .038 (median) and takes a quarter of the time.
        small, box = _reduced(image, self.box, int(min(width, height) // GRAY_SIDE))
        if box != (0, 0, *size):
            small = small.resize(size, Image.Resampling.BILINEAR, box=box)
        return np.asarray(small if is_srgb else _to_srgb(small, self.profile).convert("L"))


@dataclass(slots=True)
class Header:
    """A picture whose header was read, and nothing else yet.

    Attributes
    ----------
    format : str
    width, height : int
        Pixels as stored.
    memory : int
        Predicted peak bytes of decoding and describing it, with the bytes of its file.
    """

    format: str
    width: int
    height: int
    memory: int
    _data: bytes = field(repr=False)
    _path: bytes = field(repr=False)
    _opened: _Opened | None = field(repr=False)

    def decode(self, *, orientation: int = 0) -> Picture:
        """Decode the picture. To be called once: it lets go of the file's bytes.

        Parameters
        ----------
        orientation : int
            EXIF orientation 1-8 to apply instead of its own; 0 for its own.

        Raises
        ------
        PictureUnreadable
            With the status that says why; see :data:`annidx.model.STATUSES`.
        """
        opened, self._opened = self._opened, None
        data, self._data = self._data, b""
        if opened is None:
            message = "decode() was called before: look at the picture again"
            raise RuntimeError(message)
        _silence_pillow()
        try:
            return _decode(data, opened, orientation)
        except Exception as error:  # one picture: whatever a decoder throws costs that one alone
            raise _failure(error, data, self._path) from None


@dataclass(slots=True)
class _Opened:
    """An image that is not loaded yet, what of it is the picture, and the scale of its draft."""

    image: Image.Image
    box: Box
    size: tuple[int, int]
    scale: int


def look(data: bytes, path: bytes = b"", limits: Limits = DEFAULT_LIMITS) -> Header:
    """Read the header of a picture, and tell what decoding it would cost.

    Parameters
    ----------
    data : bytes
        The whole file.
    path : bytes
        Its name, to tell a broken picture from a file that never was one.
    limits : Limits

    Raises
    ------
    PictureUnreadable
        With the status that says why; see :data:`annidx.model.STATUSES`.
    """
    if not data:
        message = "the file is empty (0 bytes)"
        raise PictureUnreadable(message, "empty")
    if content.is_raw(path, data):
        message = "camera RAW files are not read yet"
        raise PictureUnreadable(message, "raw-unsupported")
    _silence_pillow()
    Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, limits.pixels)  # raises at twice it
    try:
        opened = _open(data, limits)
        memory = _predicted_memory(data, opened)
    except Exception as error:  # one picture: whatever a decoder throws costs that picture alone
        raise _failure(error, data, path) from None
    if memory > limits.memory:
        message = (
            f"decoding needs about {memory / 1e6:,.0f} MB, the limit is "
            f"{limits.memory / 1e6:,.0f} MB: raise it with --memory"
        )
        raise PictureUnreadable(message, "too-large")
    return Header(opened.image.format or "", *opened.size, memory, data, path, opened)


def decode(data: bytes, path: bytes = b"", limits: Limits = DEFAULT_LIMITS) -> Picture:
    """Decode a picture: :func:`look` at it, then :meth:`Header.decode`.

    Raises
    ------
    PictureUnreadable
        With the status that says why; see :data:`annidx.model.STATUSES`.
    """
    return look(data, path, limits).decode()


def from_array(array: npt.NDArray[Any]) -> Picture:
    """Wrap an (h, w, 3) or (h, w) uint8 array as an upright sRGB picture.

    Raises
    ------
    PictureUnreadable
        For another shape or dtype.
    """
    values = np.asarray(array)
    if values.dtype != np.uint8 or values.ndim not in (2, 3) or values.size == 0:
        message = f"expected an (h, w, 3) or (h, w) uint8 array, got {values.shape} {values.dtype}"
        raise PictureUnreadable(message, "unreadable")
    if values.ndim == 3 and values.shape[2] not in (3, 4):
        message = f"expected 3 or 4 channels in an (h, w, channels) array, got {values.shape}"
        raise PictureUnreadable(message, "unreadable")
    return from_image(Image.fromarray(values))


def from_image(image: Any) -> Picture:
    """Bring a PIL image upright and to RGB, as if it had been read from a file."""
    if not isinstance(image, Image.Image):
        message = f"expected a PIL image, an array, bytes or a path, got {type(image).__name__}"
        raise PictureUnreadable(message, "unreadable")
    try:
        box = (0, 0, *image.size)
        return _picture(image.copy(), box, truncated=False, stored_size=image.size)
    except Exception as error:  # a lazily opened image is decoded here
        raise _unreadable(error) from None


def _failure(error: Exception, data: bytes, path: bytes) -> PictureUnreadable:
    """Tell which status an error of a decoder means."""
    if isinstance(error, PictureUnreadable):
        return error
    if isinstance(error, Image.DecompressionBombError):
        limit = Image.MAX_IMAGE_PIXELS or 0
        message = f"its header says more than {2 * limit:,} pixels: --max-megapixels sets the limit"
        return PictureUnreadable(message, "too-large")
    if isinstance(error, MemoryError):
        return PictureUnreadable("not enough memory to decode it", "too-large")
    if not content.claims_picture(path, data[: content.HEAD_BYTES]):
        # "BMW.txt" begins like a BMP, and is none.
        return PictureUnreadable("not a picture in a known format", "not-a-picture")
    return _unreadable(error)


def _unreadable(error: Exception) -> PictureUnreadable:
    if isinstance(error, PictureUnreadable):
        return error
    if isinstance(error, UnidentifiedImageError):
        message = "begins like or is named like a picture, but no decoder recognises it"
        return PictureUnreadable(message, "unreadable")
    what = " ".join(str(error).split()) or type(error).__name__
    return PictureUnreadable(f"cannot be decoded: {what[:200]}", "unreadable")


def _silence_pillow() -> None:
    """Ignore Pillow's warnings: what they say of one picture's metadata helps nobody.

    Not by warnings.catch_warnings, which must not be used by several threads.
    """
    if _QUIET not in warnings.filters:
        warnings.filterwarnings("ignore", module=r"PIL\.")


def _open(data: bytes, limits: Limits) -> _Opened:
    """Read the header, check it, and set how far a JPEG is scaled down while it is decoded."""
    image = _image(data)
    size = width, height = image.size
    if width * height > limits.pixels:
        message = (
            f"{width} x {height} pixels, the limit is {limits.pixels:,} in all: "
            "raise it with --max-megapixels"
        )
        raise PictureUnreadable(message, "too-large")
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        _refuse_raw(image)
        _seek_full_page(image)
        size = image.size
    opened = _Opened(image, (0, 0, *image.size), size, 1)
    # Pillow's other plugins have no drafts, or take a thumbnail for one.
    if image.format in ("JPEG", "MPO") and width * height >= DRAFT_PIXELS:
        drafted = image.draft("RGB", (DRAFT_SIDE, DRAFT_SIDE))
        if drafted is not None:
            opened.box = drafted[1]
            opened.scale = round(width / drafted[1][2])
    return opened


def _image(data: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except ValueError:  # how Pillow refuses to unpack text
        if not data.startswith(_PNG):
            raise
        return Image.open(io.BytesIO(_without_text(data)), formats=FORMATS)


def _without_text(data: bytes) -> bytes:
    """Return a PNG file without text and profile: unpacked, they may fill the memory."""
    kept, at = [_PNG], len(_PNG)
    while at + 8 <= len(data):
        stop = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] not in (b"tEXt", b"zTXt", b"iTXt", b"iCCP"):
            kept.append(data[at:stop])
        at = stop
    return b"".join(kept)


def _refuse_raw(image: TiffImagePlugin.TiffImageFile) -> None:
    """Camera RAW in a TIFF container: the first directory is a preview of the sensor's data."""
    tags = image.tag_v2
    dng_version, new_subfile_type, sub_ifds = 50706, 254, 330
    if dng_version in tags or (tags.get(new_subfile_type) == 1 and sub_ifds in tags):
        message = "camera RAW files are not read yet"
        raise PictureUnreadable(message, "raw-unsupported")


def _seek_full_page(image: TiffImagePlugin.TiffImageFile) -> None:
    """Go to the first page that is no reduced copy of another, if there is one."""
    new_subfile_type, subfile_type, page = 254, 255, 0
    while image.tag_v2.get(new_subfile_type, 0) & 1 or image.tag_v2.get(subfile_type) == 2:
        page += 1
        try:
            image.seek(page)
        except EOFError:
            image.seek(0)
            return


def _predicted_memory(data: bytes, opened: _Opened) -> int:
    """Return the peak of decoding and describing a picture, in bytes, with its file.

    Measured as the growth of a process over pictures of 25 to 100 megapixels.
    """
    image = opened.image
    width, height = image.size  # of the draft
    pixels = width * height
    factor = _factor(image.size)
    bytes_per_pixel = _PIXEL_BYTES.get(image.mode, 4)
    small = 8 * pixels // factor**2  # averaged or converted, turned, resized
    decoder = int(_DECODER_BYTES.get(image.format or "", 0.0) * pixels)
    if image.format in ("JPEG", "MPO") and opened.size[0] * opened.size[1] >= DRAFT_PIXELS:
        frame = jpeg.frame(data)
        if frame is not None and frame.is_buffered:
            decoder += frame.coefficient_bytes
    if image.format == "JPEG2000":
        decoder += _jpeg2000_bytes(data, image)
    return len(data) + bytes_per_pixel * pixels + decoder + small + WORKING_BYTES


def _jpeg2000_bytes(data: bytes, image: Image.Image) -> int:
    """Return what OpenJPEG takes: four bytes a sample of a tile, and as much to transform it.

    Measured: 19.4 bytes a pixel of one tile in all, 5 with tiles of 512 x 512.
    """
    size = data.find(b"\xff\x4f\xff\x51")  # the SIZ segment
    across, down = (int.from_bytes(data[size + at : size + at + 4], "big") for at in (24, 28))
    pixels = image.width * image.height
    tile = min(pixels, across * down) if size >= 0 and across and down else pixels
    return (6 * tile * len(image.getbands())) + pixels


def _decode(data: bytes, opened: _Opened, orientation: int) -> Picture:
    truncated = False
    try:
        image = _load(data, opened)
    except OSError as error:
        if isinstance(error, UnidentifiedImageError):
            raise
        image, truncated = _load_leniently(data), True
    return _picture(
        image, opened.box, truncated=truncated, stored_size=opened.size, orientation=orientation
    )


def _load(data: bytes, opened: _Opened) -> Image.Image:
    if opened.scale == 8:
        short = _load_dc_only(data, opened.image.size)
        if short is not None:
            return short
    image = opened.image
    frame = image.tile[0].extents if isinstance(image, GifImagePlugin.GifImageFile) else None
    try:
        image.load()
    except ValueError:  # text behind the pixels
        if not data.startswith(_PNG):
            raise
        again = Image.open(io.BytesIO(_without_text(data)), formats=FORMATS)
        again.load()
        return again
    return image if frame in (None, (0, 0, *image.size)) else _on_white_canvas(image, frame)


def _on_white_canvas(image: Image.Image, frame: tuple[int, int, int, int]) -> Image.Image:
    """Show nothing where the first frame of a GIF leaves the canvas free; Pillow has it black."""
    canvas = Image.new("RGB", image.size, "white")
    canvas.paste(_over_white(image.crop(frame)), frame)
    canvas.format = image.format
    return canvas


def _load_dc_only(data: bytes, size: tuple[int, int]) -> Image.Image | None:
    """Decode a progressive JPEG from its DC scans; None when that cannot be done."""
    short = jpeg.dc_only(data, GRAY_SIDE)
    if short is None:
        return None
    try:
        image = Image.open(io.BytesIO(short), formats=FORMATS)
        image.draft("RGB", (DRAFT_SIDE, DRAFT_SIDE))
        image.load()
    except (OSError, SyntaxError, ValueError):  # damaged: the whole file tells how badly
        return None
    return image if image.size == size else None


def _load_leniently(data: bytes) -> Image.Image:
    """Decode what there is of a file that ends too early."""
    with _lenient:
        ImageFile.LOAD_TRUNCATED_IMAGES = True
        try:
            opened = _open(data, Limits(pixels=sys.maxsize))
            opened.image.load()
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = False
    return opened.image


def _picture(
    image: Image.Image,
    box: Box,
    *,
    truncated: bool,
    stored_size: tuple[int, int],
    orientation: int = 0,
) -> Picture:
    exif = facts.read(image)
    orientation = orientation or exif.orientation
    name = image.format or ""
    profile = image.info.get("icc_profile") or b""
    small, box, profile = _plain(image, box, profile)
    if orientation in _UPRIGHT:
        box = _upright_box(box, small.size, orientation)
        small = small.transpose(_UPRIGHT[orientation])
    return Picture(
        image=small,
        box=box,
        profile=profile,
        format=name,
        width=stored_size[0],
        height=stored_size[1],
        orientation=orientation,
        taken=exif.taken,
        camera=exif.camera,
        truncated=truncated,
    )


def _upright_box(box: Box, size: tuple[int, int], orientation: int) -> Box:
    """Follow a box through the transpose of its orientation (size before it)."""
    left, top, right, bottom = box
    width, height = size
    if orientation in (2, 3, 7, 8):  # these mirror the stored x axis
        left, right = width - right, width - left
    if orientation in (3, 4, 6, 7):  # these mirror the stored y axis
        top, bottom = height - bottom, height - top
    return (top, left, bottom, right) if orientation >= 5 else (left, top, right, bottom)


def _factor(size: tuple[int, int]) -> int:
    """Return how many pixels across and down become one of a large picture."""
    return max(1, min(size) // REDUCED_SIDE)


def _reduced(image: Image.Image, box: Box, factor: int) -> tuple[Image.Image, Box]:
    """Average whole blocks of pixels; the box follows."""
    if factor <= 1:
        return image, box
    left, top, right, bottom = (value / factor for value in box)
    return image.reduce(factor), (left, top, right, bottom)


def _plain(image: Image.Image, box: Box, profile: bytes) -> tuple[Image.Image, Box, bytes]:
    """Bring any mode to RGB or L, alpha over white, large pictures reduced.

    Returns
    -------
    image : PIL.Image.Image
    box : tuple of float
    profile : bytes
        What is still to apply.
    """
    factor = _factor(image.size)
    convert = _conversion(image)
    if convert is None:
        small, box = _reduced(image, box, factor)
    elif factor == 1 and image.width * image.height <= BAND_PIXELS:
        small = convert(image)
    else:
        small = _by_bands(image, convert, factor)
        box = (box[0] / factor, box[1] / factor, box[2] / factor, box[3] / factor)
    if small.mode == "CMYK":
        return _profile_to_srgb(small, profile), box, b""
    return small, box, b"" if image.mode == "LAB" else profile


Conversion = Callable[[Image.Image], Image.Image]


def _by_bands(image: Image.Image, convert: Conversion, factor: int) -> Image.Image:
    """Convert and reduce a picture band by band, so that it is never held twice."""
    width, height = image.size
    rows = max(1, BAND_PIXELS // (width * factor)) * factor
    small: Image.Image | None = None
    for top in range(0, height, rows):
        band = convert(image.crop((0, top, width, min(height, top + rows)))).reduce(factor)
        if small is None:
            small = Image.new(band.mode, (band.width, -(-height // factor)))
        small.paste(band, (0, top // factor))
    return small or image


def _conversion(image: Image.Image) -> Conversion | None:
    """Return what brings a picture, or a part of it, to RGB, L or CMYK; None when it is there."""
    mode = image.mode
    if mode in ("LA", "La"):
        return lambda band: _over_white(band).convert("L")
    if mode in ("PA", "RGBA", "RGBa") or "transparency" in image.info:
        return _over_white
    if mode in ("RGB", "L", "CMYK"):
        return None
    if mode.startswith("I;16") or mode in ("I", "F"):
        scale = _scale_to_eight_bits(image)
        return lambda band: _eight_bits(band, scale)
    if mode == "LAB":  # its colours are signed numbers, which reduce() would not average
        return lambda band: _profile_to_srgb(band, b"")
    return lambda band: band.convert("L" if mode == "1" else "RGB")


def _over_white(image: Image.Image) -> Image.Image:
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(white, rgba).convert("RGB")


def _scale_to_eight_bits(image: Image.Image) -> float:
    """Return what 16-bit, 32-bit and float gray is to be multiplied by."""
    if image.mode.startswith("I;16"):
        return 255.0 / 65535.0
    largest = 0.0
    rows = max(1, BAND_PIXELS // image.width)
    for top in range(0, image.height, rows):
        band = image.crop((0, top, image.width, min(image.height, top + rows)))
        largest = max(largest, float(_numbers(band).max(initial=0.0)))
    if largest > 255:
        return 255.0 / max(65535.0, largest)
    return 255.0 if image.mode == "F" and largest <= 1.0 else 1.0


def _eight_bits(band: Image.Image, scale: float) -> Image.Image:
    """Scale deep gray to 8 bits; Pillow's own convert() clips to white."""
    return Image.fromarray(np.clip(np.rint(_numbers(band) * scale), 0, 255).astype(np.uint8))


def _numbers(band: Image.Image) -> npt.NDArray[np.float64]:
    return np.nan_to_num(np.asarray(band).astype(np.float64), posinf=0.0, neginf=0.0)


def _profile_to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert CMYK or LAB pixels, by the embedded profile where it works."""
    transform = _transform(profile, image.mode)
    if transform is not None:
        converted = ImageCms.applyTransform(image, transform)
        if converted is not None:
            return converted
    return image.convert("RGB")


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Return an RGB or L picture in sRGB."""
    transform = _transform(profile, image.mode)
    if transform is not None:
        image = ImageCms.applyTransform(image, transform) or image
    return image if image.mode == "RGB" else image.convert("RGB")


@lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Build the transform to sRGB once a profile; None when it is sRGB already or unusable."""
    if not profile and mode != "LAB":
        return None
    try:
        if mode == "LAB":
            source = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        else:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if "srgb" in ImageCms.getProfileDescription(source).lower():
                return None
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
