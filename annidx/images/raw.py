"""The only module that imports rawpy: a camera RAW file in, a picture that decode can read out.

LibRaw sees nothing but what :func:`annidx.images.content.is_raw` recognises. On damaged files it
prints to file descriptor 2 and may crash: it belongs into the worker processes.
"""

from __future__ import annotations

import importlib.util
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from annidx.errors import PictureUnreadable
from annidx.images import content, tiff

if TYPE_CHECKING:
    import rawpy

LARGE_PREVIEW = 1000
"""Long side from which the camera's own preview is used. Cameras write thumbnails of 160 to 640
pixels, often with black bars that bring 3:2 to 4:3, and previews from 1,024 on, without bars."""

USABLE_PREVIEW = 256
"""Short side of a preview that is better than nothing: the gray that descriptors look at."""

NO_RAWPY = "camera RAW needs LibRaw: pip install rawpy (the extra annidx[raw])"

_MAGIC = {  # what begins so, is so
    "CR2": rb"II\*\0....CR",
    "CR3": rb"....ftypcrx ",
    "RW2": rb"IIU\0",
    "ORF": rb"IIR[OS]|MMOR",
    "RAF": rb"FUJIFILM",
    "MRW": rb"\0MRM",
    "X3F": rb"FOVb",
    "CRW": rb"II\x1a\0",
    "IIQ": rb"(?:II\*\0....)?IIII.waR|(?:MM\0\*....)?MMMMRaw",
}
_MAKES = {  # of TIFF containers; the first unless the file is named like another
    "nikon": ("NEF", "NRW"),
    "sony": ("ARW", "SR2", "SRF"),
    "pentax": ("PEF",),
    "ricoh": ("PEF",),
    "samsung": ("SRW",),
    "hasselblad": ("3FR", "FFF"),
    "imacon": ("FFF",),
    "phase one": ("IIQ",),
    "seiko epson": ("ERF",),
    "eastman kodak": ("DCR", "KDC"),
    "kodak": ("DCR", "KDC"),
    "leaf": ("MOS",),
    "mamiya": ("MEF",),
}

_FROM_FLIP = (1, 2, 4, 3, 5, 8, 6, 7)
"""EXIF orientation by LibRaw's flip: bit 0 mirrors left-right, bit 1 top-bottom, 2 transposes."""

_CR3_BOXES = (b"CMT1", b"CMT2")  # the main directory, the EXIF directory

_MOSAIC_BYTES, _LINEAR_BYTES = 5, 20
"""Peak of LibRaw a pixel of the sensor, at half size; linear data is not halved. Measured at 24
and 100 megapixels: 4.8, and 19.1 with three colours."""

_MOST_COMPRESSED = 32
"""Pixels of the sensor a byte; cameras write 0.5 to 5, lossless compression of nothing at all 8."""

_SRGB_GAMMA = (2.4, 12.92)
"""LibRaw's own is BT.709. Of 60 photos sent through a linear mosaic at three exposures, 38 % come
back within a thumb distance of 300 with that, 77 % with this; with this but without LibRaw's
automatic brightness 97 % of the full exposures, and none one stop below."""

_JPEG_FRAMES = {0xC0, 0xC1, 0xC2}  # baseline, extended, progressive; sensor data is lossless


@dataclass(frozen=True, slots=True)
class Preview:
    """What stands for a RAW file.

    Attributes
    ----------
    data : bytes
        A picture that :func:`annidx.images.decode.decode` reads: the camera's JPEG, or a PPM.
    orientation : int
        EXIF orientation 1-8 to apply to it, whatever its own EXIF says.
    format : str
        'NEF', 'DNG', 'CR2', ...
    width, height : int
        Pixels of the sensor's visible part, before the orientation is applied.
    taken, camera : str
        As in :class:`annidx.model.Record`.
    """

    data: bytes
    orientation: int
    format: str
    width: int
    height: int
    taken: str
    camera: str


@dataclass(frozen=True, slots=True)
class _Jpeg:
    data: bytes
    width: int
    height: int
    # Where a JPEG does not begin with EXIF, LibRaw puts some about the RAW file in front.
    exif: tiff.Directory | None  # the first
    orientation: int  # of the last EXIF that there is; 0 when it says nothing

    @property
    def is_large(self) -> bool:
        return max(self.width, self.height) >= LARGE_PREVIEW

    @property
    def is_usable(self) -> bool:
        return min(self.width, self.height) >= USABLE_PREVIEW


def available() -> bool:
    """Tell whether rawpy is installed."""
    return importlib.util.find_spec("rawpy") is not None


def preview(data: bytes, path: bytes) -> Preview:
    """Return the picture that stands for a RAW file, and its facts.

    That is the largest embedded JPEG if its long side has 1,000 pixels or more; else the sensor's
    data at half size, in the camera's white balance; else a smaller JPEG.

    Parameters
    ----------
    data : bytes
        The whole file.
    path : bytes
        Its name.

    Raises
    ------
    PictureUnreadable
        raw-unsupported without rawpy, too-large where memory or LibRaw's limit of 2 GB is not
        enough, unreadable for what is damaged, no RAW or of a camera that LibRaw does not know.
    """
    sizes, embedded = _look(data, path)
    upright = _FROM_FLIP[sizes.flip & 7]
    if embedded is not None and embedded.is_large:
        shown, orientation = embedded.data, _orientation(upright, sizes, embedded)
    else:
        try:
            shown, orientation = _develop(data, path, sizes), upright
        except PictureUnreadable:
            if embedded is None or not embedded.is_usable:
                raise
            shown, orientation = embedded.data, _orientation(upright, sizes, embedded)
    taken, camera = _facts(data, embedded)
    kind = _kind(data, path)
    return Preview(shown, orientation, kind, sizes.width, sizes.height, taken, camera)


def predicted_memory(data: bytes, path: bytes = b"") -> int:
    """Return about how many bytes :func:`preview` takes at its peak, the file itself not counted.

    0 for what it refuses before anything is allocated: without rawpy, no RAW, damaged in front.
    """
    try:
        sizes, embedded = _look(data, path)
    except PictureUnreadable:
        return 0
    if embedded is not None and embedded.is_large:
        return 2 * len(embedded.data)
    each = _LINEAR_BYTES if _is_linear(data) else _MOSAIC_BYTES
    return sizes.raw_width * sizes.raw_height * each


def _look(data: bytes, path: bytes) -> tuple[rawpy.ImageSizes, _Jpeg | None]:
    """Read the header and copy the largest preview, if it is a JPEG, without decoding anything."""
    with _opened(data, path) as raw:
        return raw.sizes, _embedded(raw)


def _develop(data: bytes, path: bytes, sizes: rawpy.ImageSizes) -> bytes:
    """Return the sensor's data at half size as a PPM or PGM in sRGB, as the sensor lay."""
    pixels_said = sizes.raw_width * sizes.raw_height
    if len(data) * _MOST_COMPRESSED < pixels_said:  # LibRaw takes missing data for zeros
        message = f"ends too early: {len(data):,} bytes cannot hold {pixels_said:,} pixels"
        raise PictureUnreadable(message, "unreadable")
    # Opened anew: LibRaw forgets the file when it meets a damaged preview.
    with _opened(data, path) as raw:
        pixels = raw.postprocess(half_size=True, use_camera_wb=True, user_flip=0, gamma=_SRGB_GAMMA)
    height, width, channels = pixels.shape
    if channels not in (1, 3):
        message = f"LibRaw made a picture of {channels} channels, expected 1 or 3"
        raise PictureUnreadable(message, "unreadable")
    if pixels.min() == pixels.max():  # the same; real darkness has noise
        message = "its sensor data is missing: it developed to one flat colour"
        raise PictureUnreadable(message, "unreadable")
    magic = b"P5" if channels == 1 else b"P6"
    return b"%s %d %d 255\n" % (magic, width, height) + pixels.tobytes()


@contextmanager
def _opened(data: bytes, path: bytes) -> Iterator[rawpy.RawPy]:
    """Open a RAW file, and say in our own words what LibRaw throws, also while it is open."""
    if not content.is_raw(path, data):
        message = "is no camera RAW file"
        raise PictureUnreadable(message, "unreadable")
    try:
        import rawpy  # noqa: PLC0415  (an extra, and 10 ms that other pictures need not pay)
    except ImportError:
        raise PictureUnreadable(NO_RAWPY, "raw-unsupported") from None
    try:
        with rawpy.RawPy() as raw:
            raw.open_buffer(io.BytesIO(data))
            yield raw
    except (MemoryError, rawpy.LibRawUnsufficientMemoryError, rawpy.LibRawTooBigError):
        message = "not enough memory to develop it, or more than LibRaw's limit of 2 GB"
        raise PictureUnreadable(message, "too-large") from None
    except (rawpy.LibRawError, OSError, ValueError) as error:
        what = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else error
        message = f"LibRaw cannot read it: {what}. Damaged, or of a camera that it does not know"
        raise PictureUnreadable(message, "unreadable") from None


def _embedded(raw: rawpy.RawPy) -> _Jpeg | None:
    """Return the largest embedded preview if it is a JPEG.

    Bitmaps are left alone: rawpy takes three bytes a pixel for granted, gray ones have one.
    """
    import rawpy  # noqa: PLC0415

    try:
        found = raw.extract_thumb()
    except (rawpy.LibRawError, OSError, ValueError, NotImplementedError):
        return None
    return _jpeg(found.data) if isinstance(found.data, bytes) else None


def _jpeg(data: bytes) -> _Jpeg | None:
    """Read size and EXIF from the segments in front of the pixels; None for lossless JPEG."""
    about: tiff.Directory | None = None
    own = 0
    at = 2
    while data[:2] == b"\xff\xd8" and at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if marker in _JPEG_FRAMES:
            height, width = (int.from_bytes(data[at + i : at + i + 2], "big") for i in (5, 7))
            return _Jpeg(data, width, height, about, own)
        if marker == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0":
            directory = next(tiff.directories(data[at + 10 : at + 2 + length]), None)
            about = about or directory
            own = directory.number(tiff.ORIENTATION) if directory is not None else own
        at += 1 if marker == 0xFF else 2 + length
    return None


def _orientation(upright: int, sizes: rawpy.ImageSizes, embedded: _Jpeg) -> int:
    """Return what brings a preview upright, given what brings the sensor's data upright.

    Most cameras store the preview as the sensor lies. Some turn it, and then its EXIF says so or
    there is none: whether what comes out is as tall as it should be tells them apart.
    """
    is_tall = embedded.height > embedded.width
    should_be_tall = (sizes.height > sizes.width) != (upright >= 5)
    for orientation in (upright, embedded.orientation, 1):
        if 1 <= orientation <= 8 and (is_tall != (orientation >= 5)) == should_be_tall:
            return orientation
    return upright


def _facts(data: bytes, embedded: _Jpeg | None) -> tuple[str, str]:
    """Return time and camera, from the EXIF of the RAW file, else of its preview."""
    first, details = _exif_of(data, 0)
    if first is None:  # a CR3 has two TIFF structures in boxes of its first kilobytes
        first, details = (_exif_of(data, data.find(box, 0, 65536) + 4)[0] for box in _CR3_BOXES)
    if first is None and embedded is not None and embedded.exif is not None:
        first, details = embedded.exif, tiff.exif(embedded.exif)
    if first is None:
        return "", ""
    times = [each.text(tiff.DATE_TIME_ORIGINAL) for each in (details, first) if each is not None]
    taken = next(filter(None, map(tiff.iso_time, times)), "")
    return taken, tiff.camera_name(first.text(tiff.MAKE), first.text(tiff.MODEL))


def _exif_of(data: bytes, at: int) -> tuple[tiff.Directory | None, tiff.Directory | None]:
    """Return the first directory of the TIFF structure at a place, and its EXIF directory."""
    first = next(tiff.directories(data, at), None)
    return first, tiff.exif(first) if first is not None else None


def _is_linear(data: bytes) -> bool:
    """Tell whether the pixels have three colours each, as far as a TIFF container says."""
    return any(34892 in each.numbers(tiff.PHOTOMETRIC) for each in tiff.directories(data))


def _kind(data: bytes, path: bytes) -> str:
    """Return the RAW format: by first bytes, by DNG's tag, by the make, by the name."""
    named = content.suffix(path)[1:].decode("latin-1").upper()
    for kind, magic in _MAGIC.items():
        if re.match(magic, data, re.DOTALL):
            return "RWL" if (kind, named) == ("RW2", "RWL") else kind
    first = next(tiff.directories(data), None)
    if first is not None and tiff.DNG_VERSION in first.entries:
        return "DNG"
    make = first.text(tiff.MAKE).lower() if first is not None else ""
    kinds = next((kinds for start, kinds in _MAKES.items() if make.startswith(start)), ())
    return named if named in kinds else next(iter(kinds), named or "RAW")
