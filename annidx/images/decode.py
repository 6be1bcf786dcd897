"""Bytes in, a picture out: the formats, the limits and the decoders, all of them Pillow's.

Here live draft sizes, what decoding costs, and truncated and damaged files. What comes out of a
decoder is made plain in pixels.py, the other module that imports Pillow.
"""

from __future__ import annotations

import io
import re
import sys
import threading
import warnings
from dataclasses import dataclass, field
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
from annidx.images.pixels import GRAY_SIDE, Box, Picture, factor_of, over_white, upright

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

MAX_MEMORY = 700_000_000
"""By default, a picture whose decoding takes more is 'too-large': 100 megapixels of PNG fit."""

DRAFT_SIDE = 320
"""A JPEG may be decoded at 1/2, 1/4 or 1/8 as long as its sides stay above this."""

DRAFT_PIXELS = 1_000_000
"""A smaller JPEG is decoded in full: it takes 5 ms, and line art would drift by up to 48."""

WORKING_BYTES = 16_000_000
"""What decoding takes whatever the size: a band of pixels, a decoder's buffers, the descriptors."""

NO_MEMORY = "takes more memory than one picture may: give --memory a higher limit"

MOST_SCANS = 1000
"""Of a JPEG in several scans; cameras and optimisers write up to some dozens. Each may be ten bytes
that take as long as the whole picture."""

pillow_heif.register_heif_opener(thumbnails=False)
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # the workers use all processors, and each takes a stack
PngImagePlugin.MAX_TEXT_CHUNK = 4 * 1024**2  # what is larger is left out, see _without_text
_lenient = threading.Lock()  # LOAD_TRUNCATED_IMAGES is one flag for the whole process
_QUIET = ("ignore", None, Warning, re.compile(r"PIL\."), 0)

_OUT_OF_MEMORY = re.compile(r"out of memory|decoder error -9\b", re.IGNORECASE)
_PNG = b"\x89PNG\r\n\x1a\n"

_PIXEL_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
"""Bytes a pixel of a picture in Pillow's memory; 4 in all other modes."""

_DECODER_BYTES = {"WEBP": 13.0, "AVIF": 6.0, "HEIF": 5.0, "GIF": 0.5, "PNG": 0.1}
"""Bytes a pixel that the decoder of a format takes beside Pillow's picture.

Measured at 25 to 100 megapixels, with what describing takes: WebP 16 to 17 in all, AVIF 9.2,
HEIC 7.6, GIF 1.5, PNG as :data:`_PIXEL_BYTES` and up to 0.3, TIFF, BMP and PPM up to 0.5.
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a picture may cost; one that needs more is 'too-large'.

    Attributes
    ----------
    pixels : int
        Width times height.
    memory : int
        Predicted peak bytes of decoding and describing it, with the bytes of its file.
    beside : int
        Bytes that others may take at the same time, to say what limit for all would do.
    side : int
        JPEGs are decoded at 1/2 to 1/8 as long as both sides keep so many pixels.
    """

    pixels: int = MAX_PIXELS
    memory: int = MAX_MEMORY
    beside: int = 0
    side: int = DRAFT_SIDE

    def too_much(self, needed: int) -> str:
        """Say that a picture needs more memory than it may take, and which --memory would do."""
        enough = -(-(needed + self.beside) // 50_000_000) * 50
        return (
            f"decoding needs about {needed / 1e6:,.0f} MB, one picture may take "
            f"{self.memory / 1e6:,.0f} MB: give --memory {enough}M"
        )


DEFAULT_LIMITS = Limits()


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

    def details(self) -> facts.Details:
        """Return what its metadata says beside what the index holds."""
        return facts.Details() if self._opened is None else facts.details(self._opened.image)

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
        message = "camera RAW, of which Pillow would read the 160-pixel preview"
        raise PictureUnreadable(message, "raw-unsupported")
    _silence_pillow()
    Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, limits.pixels)  # raises at twice it
    try:
        opened = _open(data, limits)
        memory = _predicted_memory(data, opened)
    except Exception as error:  # one picture: whatever a decoder throws costs that picture alone
        raise _failure(error, data, path) from None
    if memory > limits.memory:
        raise PictureUnreadable(limits.too_much(memory), "too-large")
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
        return upright(image.copy(), box, truncated=False, stored_size=image.size)
    except Exception as error:  # a lazily opened image is decoded here
        raise _unreadable(error) from None


def _failure(error: Exception, data: bytes, path: bytes) -> PictureUnreadable:
    """Tell which status an error of a decoder means."""
    if isinstance(error, PictureUnreadable):
        return error
    if isinstance(error, Image.DecompressionBombError):
        limit = Image.MAX_IMAGE_PIXELS or 0
        message = (
            f"its header says more than {2 * limit:,} pixels: give --max-megapixels a higher number"
        )
        return PictureUnreadable(message, "too-large")
    if isinstance(error, MemoryError):
        return PictureUnreadable(NO_MEMORY, "too-large")
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
    if _OUT_OF_MEMORY.search(what):
        return PictureUnreadable(NO_MEMORY, "too-large")
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
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        _seek_full_page(image)
        _refuse_raw(image)
    size = width, height = image.size
    if width * height > limits.pixels:
        message = (
            f"{width} x {height} pixels, the limit is {limits.pixels:,} in all: "
            f"give --max-megapixels {-(-width * height // 1_000_000)}"
        )
        raise PictureUnreadable(message, "too-large")
    opened = _Opened(image, (0, 0, *image.size), size, 1)
    # Pillow's other plugins have no drafts, or take a thumbnail for one.
    if image.format in ("JPEG", "MPO") and width * height >= DRAFT_PIXELS:
        drafted = image.draft("RGB", (limits.side, limits.side))
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
    if dng_version in tags or (tags.get(new_subfile_type, 0) & 1 and sub_ifds in tags):
        message = "a TIFF that shows only a reduced copy of what lies in its sub-directories"
        raise PictureUnreadable(message, "unreadable")


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
    factor = factor_of(image.size)
    bytes_per_pixel = _PIXEL_BYTES.get(image.mode, 4)
    small = 8 * pixels // factor**2  # averaged or converted, turned, resized
    decoder = int(_DECODER_BYTES.get(image.format or "", 0.0) * pixels)
    if image.format in ("JPEG", "MPO") and opened.size[0] * opened.size[1] >= DRAFT_PIXELS:
        frame = jpeg.frame(data)
        if frame is not None and frame.is_buffered:
            decoder += frame.coefficient_bytes
            _refuse_many_scans(data)
    if image.format == "JPEG2000":
        decoder += _jpeg2000_bytes(data, image)
    return len(data) + bytes_per_pixel * pixels + decoder + small + WORKING_BYTES


def _refuse_many_scans(data: bytes) -> None:
    scans = data.count(b"\xff\xda")  # compressed data has no such bytes
    if scans > MOST_SCANS:
        message = f"{scans:,} scans; no camera writes more than {MOST_SCANS:,}"
        raise PictureUnreadable(message, "unreadable")


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
        if isinstance(error, UnidentifiedImageError) or _OUT_OF_MEMORY.search(str(error)):
            raise  # leniently, what there was no memory for would be black
        image, truncated = _load_leniently(data), True
    return upright(
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
    canvas.paste(over_white(image.crop(frame)), frame)
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
