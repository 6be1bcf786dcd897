"""The fast ways of decoding against the full one: what a picture may drift by.

Full means every pixel decoded by Pillow, brought upright, resized by the same filter.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from annidx.descriptors import SIGNATURE
from annidx.images import decode, pixels
from annidx.images.signature import pack, signature
from annidx.search.vectors import distances
from tests.images.pictures import NEAR, SHIPPED, apart, encoded, thumb_of

SIGNATURES_NEAR = 0.12
"""The median of signatures must drift by less; a match is under 0.3."""

NO_PICTURES = {"mountains-4k.jpg", "IMG_20200602_081409.jpg"}


def full(data: bytes) -> pixels.Picture:
    with Image.open(io.BytesIO(data)) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    box = (0, 0, *upright.size)
    return pixels.Picture(upright, box, b"", "", *upright.size, 1, "", "", truncated=False)


def drifts(files: list[bytes]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return how far the thumbs and the signatures of files lie from those of a full decode."""
    thumbs, signatures = [], []
    for data in files:
        fast, slow = decode.decode(data), full(data)
        thumbs.append(np.linalg.norm(thumb_of(fast) - thumb_of(slow)))
        one, other = (pack(signature(picture.gray()))[None] for picture in (fast, slow))
        signatures.append(distances(SIGNATURE, one, other)[0])
    return np.array(thumbs), np.array(signatures)


def enlarged(path: Path, width: int, **options: Any) -> bytes:
    """Return a photo at another width, with the grain of a sensor, as a JPEG."""
    with Image.open(path) as image:
        size = width, round(image.height * width / image.width)
        large = np.asarray(image.convert("RGB").resize(size, Image.Resampling.BICUBIC), np.int16)
    grain = np.random.default_rng(width).normal(0, 5, (*large.shape[:2], 1)).astype(np.int16)
    return encoded(
        Image.fromarray(np.clip(large + grain, 0, 255).astype(np.uint8)), "JPEG", **options
    )


def test_shipped_photos_as_they_are() -> None:
    paths = sorted(path for path in SHIPPED.rglob("*.jp*g") if path.name not in NO_PICTURES)
    thumbs, signatures = drifts([path.read_bytes() for path in paths])
    assert len(thumbs) > 40
    assert thumbs.max() < NEAR
    assert np.median(signatures) < SIGNATURES_NEAR


@pytest.mark.parametrize(
    ("width", "count", "options"),
    [
        (1500, 4, {}),
        (2600, 4, {}),
        (4000, 2, {}),
        (1500, 4, {"progressive": True}),
        (4000, 2, {"progressive": True}),
    ],
)
def test_shipped_photos_enlarged(width: int, count: int, options: dict[str, Any]) -> None:
    paths = sorted((SHIPPED / "2019-holiday").glob("*.jpg"))[:count]
    files = [enlarged(path, width, quality=88, **options) for path in paths]
    thumbs, signatures = drifts(files)
    assert len(thumbs) == count
    assert thumbs.max() < NEAR
    assert np.median(signatures) < SIGNATURES_NEAR
    assert signatures.max() < 0.15


def test_a_thousand_real_photos(shared: Path) -> None:
    paths = sorted((shared / "data" / "caltech").rglob("*.jpg"))
    assert len(paths) >= 1000
    thumbs, signatures = drifts([path.read_bytes() for path in paths])
    assert thumbs.max() < NEAR
    assert np.median(signatures) < SIGNATURES_NEAR


def test_real_photos_enlarged(shared: Path) -> None:
    paths = sorted((shared / "data" / "caltech").rglob("*.jpg"))
    for width, step in ((1300, 50), (2700, 200)):
        some = paths[::step]
        thumbs, signatures = drifts([enlarged(path, width, quality=88) for path in some])
        assert len(thumbs) >= 7
        assert thumbs.max() < NEAR
        assert np.median(signatures) < SIGNATURES_NEAR


def large(mode: str) -> Image.Image:
    """Return a photo that is reduced to a third by bands; its sides are no multiples of three."""
    with Image.open(SHIPPED / "2019-holiday" / "picos-trail.jpg") as image:
        colours = image.convert("RGB").resize((3203, 3100), Image.Resampling.BICUBIC)
    gray = colours.convert("L")
    if mode == "I;16":
        return Image.fromarray(np.asarray(gray).astype(np.uint16) * 257)
    if mode in ("RGBA", "LA"):
        both = colours.convert("RGBA") if mode == "RGBA" else gray.convert("LA")
        both.putalpha(gray)
        return both
    quick = Image.Quantize.FASTOCTREE
    return colours.quantize(64, quick) if mode == "P" else colours.convert(mode)


@pytest.mark.parametrize(
    ("mode", "format"),
    [
        *((mode, "PNG") for mode in ("RGB", "L", "1", "P", "RGBA", "LA", "I;16")),
        *((mode, "TIFF") for mode in ("I", "F", "CMYK", "YCbCr")),
    ],
)
def test_large_pictures_are_reduced_by_bands(
    mode: str, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encoded(large(mode), format, **({"compress_level": 1} if format == "PNG" else {}))
    fast = decode.decode(data)
    assert fast.image.size == (1068, 1034)
    assert fast.box == pytest.approx((0, 0, 3203 / 3, 3100 / 3))
    monkeypatch.setattr(pixels, "REDUCED_SIDE", 10_000)
    whole = decode.decode(data)
    assert whole.image.size == (3203, 3100)
    # Measured: 7.7 to 11, which is the rounding of both: 0.3 a byte.
    assert apart(fast, whole) < 13
    one, other = (pack(signature(picture.gray()))[None] for picture in (fast, whole))
    assert distances(SIGNATURE, one, other)[0] < SIGNATURES_NEAR
