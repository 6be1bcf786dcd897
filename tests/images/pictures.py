"""What the tests of images make and measure: files held in memory, distances of thumbs."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from annidx.images import decode, pixels
from annidx.images.thumb import thumb

SHIPPED = Path(__file__).parents[2] / "data" / "pictures"
PHOTO = SHIPPED / "2019-holiday" / "picos-trail.jpg"

NEAR = 25.0
"""Distance of thumbs that recompression and drafted decoding stay under; a match is under 100."""

STORE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""What a camera that writes this EXIF orientation did to the upright picture."""

ORIENTATION = 0x0112


def photo(width: int = 480, height: int = 360) -> Image.Image:
    """Return a real photo at that size."""
    with Image.open(PHOTO) as image:
        return image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)


def noise(height: int, width: int, *, seed: int = 1) -> npt.NDArray[np.uint8]:
    """Return a picture without structure, (height, width, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    """Return the picture as the bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, payload: bytes) -> bytes:
    """Return a chunk of a PNG file."""
    checksum = zlib.crc32(kind + payload)
    return struct.pack(">I4s", len(payload), kind) + payload + struct.pack(">I", checksum)


def png_header(width: int, height: int) -> bytes:
    """Return a PNG file that says it is so large, and holds nothing."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", b"")


def orientation_tag(orientation: int) -> Image.Exif:
    """Return EXIF that holds an orientation and nothing else."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def thumb_of(source: bytes | Image.Image | pixels.Picture) -> npt.NDArray[np.float64]:
    """Return the thumb of a file's bytes, of an upright image or of a decoded picture."""
    if isinstance(source, bytes):
        source = decode.decode(source)
    elif isinstance(source, Image.Image):
        source = decode.from_array(np.asarray(source.convert("RGB")))
    return thumb(source).astype(np.float64)


def apart(
    one: bytes | Image.Image | pixels.Picture, other: bytes | Image.Image | pixels.Picture
) -> float:
    """Return the distance of two thumbs."""
    return float(np.linalg.norm(thumb_of(one) - thumb_of(other)))
