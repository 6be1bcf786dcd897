"""Pixels that Pillow has decoded, to an upright picture that can be read out at any size.

Here live orientation, alpha, 16-bit samples, palettes and colour profiles; large pictures are
converted band by band. With decode.py the only module that imports Pillow.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

from annidx.images import facts

GRAY_SIDE = 160
"""Short side of the gray picture that the signature is computed on; never enlarged.

Over 1,280 photos, drafted at 160 instead of decoded in full, signatures move by .022 (median) and
.079 at most; with 256 it is .000 and .060, at twice the time. Copies at 30 to 90 % of the size lie
.024 to .072 apart (median) with 160, .024 to .076 with 256.
"""


LONG_SIDE = 2560
"""Strips are pressed together: a file of some kilobytes may be 10 x 8 million pixels."""

REDUCED_SIDE = 1024
"""Large pictures are averaged over whole blocks of pixels while both sides stay above this."""

BAND_PIXELS = 500_000
"""So many pixels of a large picture are converted at a time."""


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


Box = tuple[float, float, float, float]


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
    subsecond, exposure : str
        From EXIF, likewise; see :class:`annidx.images.facts.Facts`.
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
    subsecond: str = ""
    exposure: str = ""

    def rgb(self, width: int, height: int) -> npt.NDArray[np.uint8]:
        """Return it resized by bicubic with antialiasing, (height, width, 3) uint8 sRGB."""
        small = self.image
        if self.box != (0, 0, *small.size) or (width, height) != small.size:
            small = small.resize((width, height), Image.Resampling.BICUBIC, box=self.box)
        return np.asarray(_to_srgb(small, self.profile))

    def jpeg(self, side: int) -> bytes:
        """Return it as a JPEG file without metadata; never enlarged.

        Parameters
        ----------
        side : int
            Of the longer side, pixels, at most.
        """
        width, height = self.box[2] - self.box[0], self.box[3] - self.box[1]
        scale = min(1.0, side / max(width, height))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        return jpeg(self.rgb(*size))

    def gray(self) -> npt.NDArray[np.uint8]:
        """Return ITU-R 601 luma, (h, w) uint8, with a short side of at most 160 pixels."""
        is_srgb = _transform(self.profile, self.image.mode) is None
        image = self.image.convert("L") if is_srgb else self.image
        width, height = self.box[2] - self.box[0], self.box[3] - self.box[1]
        scale = min(1.0, GRAY_SIDE / min(width, height))
        size = _at_most_long(width * scale), _at_most_long(height * scale)
        # Means of whole blocks first, then at most a halving: against bicubic from all pixels this
        # moves signatures by .038 (median) and takes a quarter of the time.
        small, box = _reduced(image, self.box, int(min(width, height) // GRAY_SIDE))
        if box != (0, 0, *size):
            small = small.resize(size, Image.Resampling.BILINEAR, box=box)
        return np.asarray(small if is_srgb else _to_srgb(small, self.profile).convert("L"))


def jpeg(rgb: npt.NDArray[np.uint8]) -> bytes:
    """Return (h, w, 3) pixels in sRGB as a JPEG file."""
    written = io.BytesIO()
    Image.fromarray(rgb).save(written, "JPEG", quality=85)
    return written.getvalue()


def upright(
    image: Image.Image,
    box: Box,
    *,
    truncated: bool,
    stored_size: tuple[int, int],
    orientation: int = 0,
) -> Picture:
    """Bring a loaded image upright and to RGB or L.

    Parameters
    ----------
    image : PIL.Image.Image
    box : tuple of float
        The part of it that is the picture.
    truncated : bool
    stored_size : tuple of int
        Width and height before any reduction.
    orientation : int
        EXIF orientation 1-8 to apply instead of its own; 0 for its own.
    """
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
        subsecond=exif.subsecond,
        exposure=exif.exposure,
        truncated=truncated,
    )


def _at_most_long(side: float) -> int:
    return min(LONG_SIDE, max(1, round(side)))


def _upright_box(box: Box, size: tuple[int, int], orientation: int) -> Box:
    """Follow a box through the transpose of its orientation (size before it)."""
    left, top, right, bottom = box
    width, height = size
    if orientation in (2, 3, 7, 8):  # these mirror the stored x axis
        left, right = width - right, width - left
    if orientation in (3, 4, 6, 7):  # these mirror the stored y axis
        top, bottom = height - bottom, height - top
    return (top, left, bottom, right) if orientation >= 5 else (left, top, right, bottom)


def factor_of(size: tuple[int, int]) -> int:
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
    factor = factor_of(image.size)
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
        return lambda band: over_white(band).convert("L")
    if mode in ("PA", "RGBA", "RGBa") or "transparency" in image.info:
        return over_white
    if mode in ("RGB", "L", "CMYK"):
        return None
    if mode.startswith("I;16") or mode in ("I", "F"):
        scale = _scale_to_eight_bits(image)
        return lambda band: _eight_bits(band, scale)
    if mode == "LAB":  # its colours are signed numbers, which reduce() would not average
        return lambda band: _profile_to_srgb(band, b"")
    return lambda band: band.convert("L" if mode == "1" else "RGB")


def over_white(image: Image.Image) -> Image.Image:
    """Lay a picture with alpha over white; RGB."""
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
