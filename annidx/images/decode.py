"""The only module that imports Pillow: bytes in, an upright RGB picture out.

Here live the formats, the limits and every trap of decoding: draft sizes, orientation, alpha,
16-bit samples, palettes, colour profiles, truncated files. Nothing of it leaks to the descriptors.
"""

from __future__ import annotations

import io
import threading
import warnings
from dataclasses import dataclass
from datetime import datetime
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
from annidx.images import content

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
"""A picture with more is 'too-large': the first user's own limit for scans."""

GRAY_SIDE = 256
"""Short side of the gray picture that the signature is computed on; never enlarged."""

pillow_heif.register_heif_opener(thumbnails=False)
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
PngImagePlugin.MAX_TEXT_CHUNK = 16 * 1024**2  # editors write histories beyond Pillow's one megabyte
_lenient = threading.Lock()  # LOAD_TRUNCATED_IMAGES is one flag for the whole process

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
    """A decoded picture: upright, RGB, alpha over white; sRGB once it is read out.

    Attributes
    ----------
    image : PIL.Image.Image
        Mode RGB, upright, perhaps at a reduced size.
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
        """Return ITU-R 601 luma, (h, w) uint8, with a short side of at most 256 pixels."""
        width, height = self.box[2] - self.box[0], self.box[3] - self.box[1]
        scale = min(1.0, GRAY_SIDE / min(width, height))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        return np.asarray(Image.fromarray(self.rgb(*size)).convert("L"))


def decode(data: bytes, path: bytes = b"") -> Picture:
    """Decode a picture.

    Parameters
    ----------
    data : bytes
        The whole file.
    path : bytes
        Its name, to tell a broken picture from a file that never was one.

    Raises
    ------
    PictureUnreadable
        With the status that says why; see :data:`annidx.model.STATUSES`.
    """
    head = data[: content.HEAD_BYTES]
    if not data:
        message = "the file is empty (0 bytes)"
        raise PictureUnreadable(message, "empty")
    if content.is_raw(path, head):
        message = "camera RAW files are not read yet"
        raise PictureUnreadable(message, "raw-unsupported")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _decode(data)
    except PictureUnreadable:
        raise
    except Image.DecompressionBombError:
        message = f"its header says more than {2 * MAX_PIXELS:,} pixels"
        raise PictureUnreadable(message, "too-large") from None
    except MemoryError:
        message = "not enough memory to decode it"
        raise PictureUnreadable(message, "too-large") from None
    except Exception as error:  # one picture: whatever a decoder throws costs that picture alone
        if not content.claims_picture(path, head):  # "BMW.txt" begins like a BMP, and is none
            message = "not a picture in a known format"
            raise PictureUnreadable(message, "not-a-picture") from None
        raise _unreadable(error) from None


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


def _unreadable(error: Exception) -> PictureUnreadable:
    if isinstance(error, PictureUnreadable):
        return error
    if isinstance(error, UnidentifiedImageError):
        message = "begins like or is named like a picture, but no decoder recognises it"
        return PictureUnreadable(message, "unreadable")
    what = " ".join(str(error).split()) or type(error).__name__
    return PictureUnreadable(f"cannot be decoded: {what[:200]}", "unreadable")


def _decode(data: bytes) -> Picture:
    try:
        image, box, stored_size = _load(data)
        truncated = False
    except OSError as error:
        if isinstance(error, UnidentifiedImageError):
            raise
        with _lenient:
            ImageFile.LOAD_TRUNCATED_IMAGES = True
            try:
                image, box, stored_size = _load(data)
            finally:
                ImageFile.LOAD_TRUNCATED_IMAGES = False
        truncated = True
    return _picture(image, box, truncated=truncated, stored_size=stored_size)


def _load(data: bytes) -> tuple[Image.Image, Box, tuple[int, int]]:
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    width, height = stored_size = image.size
    if width * height > MAX_PIXELS:
        message = f"{width} x {height} pixels, the limit is {MAX_PIXELS:,} in all"
        raise PictureUnreadable(message, "too-large")
    _refuse_raw(image)
    # libjpeg decodes at 1/2, 1/4 or 1/8 for next to nothing; both sides stay >= the gray's.
    drafted = image.draft("RGB", (GRAY_SIDE, GRAY_SIDE))
    image.load()
    box: Box = drafted[1] if drafted else (0, 0, *image.size)
    return image, box, stored_size


def _refuse_raw(image: Image.Image) -> None:
    """Camera RAW in a TIFF container: the first directory is a preview of the sensor's data."""
    tags = getattr(image, "tag_v2", None)
    if tags is None:
        return
    dng_version, new_subfile_type, sub_ifds = 50706, 254, 330
    if dng_version in tags or (tags.get(new_subfile_type) == 1 and sub_ifds in tags):
        message = "camera RAW files are not read yet"
        raise PictureUnreadable(message, "raw-unsupported")


def _picture(
    image: Image.Image, box: Box, *, truncated: bool, stored_size: tuple[int, int]
) -> Picture:
    exif = _exif(image)
    orientation = exif["orientation"]
    profile = image.info.get("icc_profile") or b""
    name = image.format or ""
    rgb, profile = _to_rgb(image, profile)
    if orientation in _UPRIGHT:
        box = _upright_box(box, rgb.size, orientation)
        rgb = rgb.transpose(_UPRIGHT[orientation])
    return Picture(
        image=rgb,
        box=box,
        profile=profile,
        format=name,
        width=stored_size[0],
        height=stored_size[1],
        orientation=orientation,
        taken=exif["taken"],
        camera=exif["camera"],
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


def _exif(image: Image.Image) -> dict[str, Any]:
    """Read orientation, time and camera; EXIF is often broken and never worth a picture."""
    facts: dict[str, Any] = {"orientation": 1, "taken": "", "camera": ""}
    try:
        exif = image.getexif()
        facts["orientation"] = _orientation(exif.get(0x0112, 1))
        make, model = (str(exif.get(tag, "")).strip("\0 ") for tag in (0x010F, 0x0110))
        facts["camera"] = (model if model.startswith(make) else f"{make} {model}").strip()[:80]
        facts["taken"] = _iso_time(str(exif.get_ifd(0x8769).get(0x9003, "")))
    except Exception:  # one picture's metadata; Pillow raises SyntaxError, struct.error and more
        return facts
    return facts


def _orientation(value: Any) -> int:
    """Return 1-8; some writers make it a float or a ratio, some leave nonsense."""
    try:
        number = 1.0 if isinstance(value, str | bytes) else float(value)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return 1
    return int(number) if number in range(1, 9) else 1


def _iso_time(text: str) -> str:
    """Turn EXIF's '2019:07:14 18:30:05' into '2019-07-14T18:30:05'; anything else into ''."""
    try:
        return datetime.strptime(text.strip("\0 ")[:19], "%Y:%m:%d %H:%M:%S").isoformat()
    except ValueError:
        return ""


def _to_rgb(image: Image.Image, profile: bytes) -> tuple[Image.Image, bytes]:
    """Convert any mode to RGB with alpha over white; return the profile that is still to apply."""
    mode = image.mode
    if mode == "RGB" and "transparency" not in image.info:
        return image, profile
    if mode.startswith("I;16") or mode in ("I", "F"):
        return _eight_bits(image).convert("RGB"), b""
    if mode in ("CMYK", "LAB"):
        return _profile_to_srgb(image, profile), b""
    if mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB"), profile
    # A profile of a one-channel picture describes gray and cannot be applied to RGB.
    return image.convert("RGB"), b"" if mode in ("L", "1") else profile


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale 16-bit, 32-bit and float gray to 8 bits; Pillow's own convert() clips to white."""
    values = np.nan_to_num(np.asarray(image).astype(np.float64), posinf=0.0, neginf=0.0)
    largest = values.max(initial=0.0)
    if image.mode.startswith("I;16") or largest > 255:
        values = values * (255.0 / max(65535.0, largest))
    elif image.mode == "F" and largest <= 1.0:
        values = values * 255.0
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))


def _profile_to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert CMYK or LAB pixels, by the embedded profile where it works."""
    transform = _transform(profile, image.mode) if profile or image.mode == "LAB" else None
    if transform is not None:
        converted = ImageCms.applyTransform(image, transform)
        if converted is not None:
            return converted
    return image.convert("RGB")


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    transform = _transform(profile, "RGB") if profile else None
    if transform is None:
        return image
    return ImageCms.applyTransform(image, transform) or image


@lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Build the transform to sRGB once a profile; None when it is sRGB already or unusable."""
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
