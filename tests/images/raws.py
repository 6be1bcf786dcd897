"""Camera RAW files for tests, written by hand: real enough for LibRaw, small enough for memory."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from tests.images.pictures import STORE, encoded

JPEG, NONE = 7, 1  # of tag Compression
RGB, YCBCR, MOSAIC, LINEAR = 2, 6, 32803, 34892  # of tag PhotometricInterpretation

# Linear sRGB of D65, as XYZ to camera: the "camera" sees what the picture says.
_MATRIX = (3.2406, -1.5372, -0.4986, -0.9689, 1.8758, 0.0415, 0.0557, -0.2040, 1.0570)

_FORMATS = {1: "B", 2: "B", 3: "H", 4: "I", 7: "B"}


class Tiff:
    """A TIFF file in the making: directories in front, as cameras write them, then pixels."""

    PIXELS_AT = 4096

    def __init__(self, order: str = "<", magic: int = 42) -> None:
        self.order = order
        self.data = bytearray({"<": b"II", ">": b"MM"}[order] + self.pack("HI", magic, 0))
        self.behind = bytearray()

    def pack(self, format: str, *values: Any) -> bytes:
        return struct.pack(self.order + format, *values)

    def block(self, content: bytes) -> int:
        """Append data, return where it lies."""
        self.data += bytes(-len(self.data) % 4)
        at = len(self.data)
        self.data += content
        return at

    def pixels(self, content: bytes) -> int:
        """Append data behind all directories, return where it will lie."""
        at = self.PIXELS_AT + len(self.behind)
        self.behind += content + bytes(-len(content) % 4)
        return at

    def directory(self, tags: Mapping[int, tuple[int, Any]], following: int = 0) -> int:
        """Append a directory of (type, values) by tag, return where it lies."""
        entries = []
        for tag, (kind, values) in sorted(tags.items()):
            packed, count = self._packed(kind, values)
            if len(packed) > 4:
                packed = self.pack("I", self.block(packed))
            entries.append(self.pack("HHI", tag, kind, count) + packed.ljust(4, b"\0"))
        return self.block(
            self.pack("H", len(entries)) + b"".join(entries) + self.pack("I", following)
        )

    def _packed(self, kind: int, values: Any) -> tuple[bytes, int]:
        if isinstance(values, bytes | bytearray):
            return bytes(values), len(values)
        sequence = values if isinstance(values, Sequence) else [values]
        if kind in (5, 10):
            pairs = [number for value in sequence for number in (round(value * 10000), 10000)]
            return self.pack(f"{len(pairs)}{'I' if kind == 5 else 'i'}", *pairs), len(sequence)
        return self.pack(f"{len(sequence)}{_FORMATS[kind]}", *sequence), len(sequence)

    def finished(self, first: int) -> bytes:
        """Return the file, whose first directory lies there."""
        assert len(self.data) <= self.PIXELS_AT
        self.data[4:8] = self.pack("I", first)
        return bytes(self.data.ljust(self.PIXELS_AT, b"\0") + self.behind)


def linear(image: Image.Image) -> npt.NDArray[np.uint16]:
    """Return what a sensor would measure, (h, w, 3) uint16."""
    values = np.asarray(image.convert("RGB")) / 255.0
    bright = ((values + 0.055) / 1.055) ** 2.4
    light: npt.NDArray[np.float64] = np.where(values <= 0.04045, values / 12.92, bright)
    return np.rint(light * 65535).astype(np.uint16)


def mosaic(image: Image.Image) -> npt.NDArray[np.uint16]:
    """Return what a sensor behind a Bayer filter (RGGB) would measure, (h, w) uint16."""
    light = linear(image)
    sensor = light[:, :, 1].copy()
    sensor[::2, ::2] = light[::2, ::2, 0]
    sensor[1::2, 1::2] = light[1::2, 1::2, 2]
    return sensor


def raw_file(
    upright: Image.Image,
    *,
    orientation: int = 1,
    preview: bytes | None = None,
    kind: str = "DNG",
    make: bytes = b"Maker",
    photometric: int = MOSAIC,
    order: str = "<",
    samples: int = 3,
    thumbnail: bool = True,
    size_said: tuple[int, int] | None = None,
) -> bytes:
    """Return a RAW file of a picture, laid out as cameras do.

    In front a thumbnail of 160 x 120 with black bars and the EXIF, in its sub-directories the
    sensor's data and the preview.

    Parameters
    ----------
    upright : PIL.Image.Image
        What the camera saw.
    orientation : int
        How the camera was held: the sensor's data is stored accordingly.
    preview : bytes, optional
        A JPEG.
    kind : str
        'DNG', or another for a container that only its tags and its make give away.
    photometric : int
        MOSAIC or LINEAR.
    samples : int
        Colours of linear data; 1 for gray.
    size_said : tuple of int, optional
        Width and height of the sensor in a header that is wrong.
    """
    file = Tiff(order)
    stored = upright.transpose(STORE[orientation]) if orientation in STORE else upright
    in_front = _thumbnail(file, stored) if thumbnail else {}
    subs = [] if preview is None else [file.directory(_preview(file, preview, kind))]
    sensor = _sensor(file, stored, photometric, samples)
    if size_said is not None:
        sensor |= {256: (4, size_said[0]), 257: (4, size_said[1]), 278: (4, size_said[1])}
    if kind == "DNG":
        sensor[50717] = (4, [65535] * (samples if photometric == LINEAR else 1))
    subs.append(file.directory(sensor))
    taken = {36867: (2, b"2021:06:05 14:03:02\0")}
    tags = in_front | {
        271: (2, make + b"\0"),
        272: (2, b"Model 1\0"),
        274: (3, orientation),
        330: (4, subs),
        34665: (4, file.directory(taken)),
    }
    if kind == "DNG":
        tags |= {
            50706: (1, b"\1\4\0\0"),
            50708: (2, make + b" Model 1\0"),
            50721: (10, _MATRIX),
            50728: (5, (1.0, 1.0, 1.0)),
            50778: (3, 21),
        }
    return file.finished(file.directory(tags))


def _sensor(
    file: Tiff, stored: Image.Image, photometric: int, samples: int
) -> dict[int, tuple[int, Any]]:
    pixels = mosaic(stored) if photometric == MOSAIC else linear(stored)[:, :, :samples]
    content = pixels.astype(file.order + "u2").tobytes()
    samples = 1 if photometric == MOSAIC else samples
    tags: dict[int, tuple[int, Any]] = {
        254: (4, 0),
        256: (4, stored.width),
        257: (4, stored.height),
        258: (3, [16] * samples),
        259: (3, NONE),
        262: (3, photometric),
        273: (4, file.pixels(content)),
        277: (3, samples),
        278: (4, stored.height),
        279: (4, len(content)),
    }
    if photometric == MOSAIC:
        tags |= {33421: (3, (2, 2)), 33422: (1, b"\0\1\1\2")}
    return tags


def _preview(file: Tiff, jpeg: bytes, kind: str) -> dict[int, tuple[int, Any]]:
    at = file.pixels(jpeg)
    if kind != "DNG":  # as the thumbnail of EXIF
        return {254: (4, 1), 259: (3, 6), 513: (4, at), 514: (4, len(jpeg))}
    with Image.open(io.BytesIO(jpeg)) as image:
        width, height = image.size
    return {
        254: (4, 1),
        256: (4, width),
        257: (4, height),
        258: (3, (8, 8, 8)),
        259: (3, JPEG),
        262: (3, YCBCR),
        273: (4, at),
        277: (3, 3),
        278: (4, height),
        279: (4, len(jpeg)),
    }


def _thumbnail(file: Tiff, stored: Image.Image) -> dict[int, tuple[int, Any]]:
    small = Image.new("RGB", (160, 120))
    small.paste(stored.resize((160, 90)), (0, 15))
    return {
        254: (4, 1),
        256: (4, 160),
        257: (4, 120),
        258: (3, (8, 8, 8)),
        259: (3, NONE),
        262: (3, RGB),
        273: (4, file.pixels(small.tobytes())),
        277: (3, 3),
        278: (4, 120),
        279: (4, 160 * 120 * 3),
    }


def jpeg(image: Image.Image, **options: Any) -> bytes:
    """Return a preview as cameras write it: EXIF, if there is any, in front and without JFIF."""
    data = encoded(image, "JPEG", quality=90, **options)
    return data[:2] + data[20:] if "exif" in options else data
