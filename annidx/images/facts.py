"""EXIF facts of a picture: orientation, time, camera. No Pillow; its images are only asked."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from annidx.images import jpeg, quality

_ORIENTATION, _MAKE, _MODEL, _DETAILS, _TAKEN = 0x0112, 0x010F, 0x0110, 0x8769, 0x9003
_SUBSECOND, _SECONDS, _BIAS = 0x9291, 0x829A, 0x9204
_RATING, _GPS = 0x4746, 0x8825
_XMP_RATING = re.compile(rb"xmp:Rating(?:=[\"']|>)([1-5])\b")
_TIME = re.compile(r"(\d{4}):(\d\d):(\d\d) (\d\d):(\d\d):(\d\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Facts:
    """What EXIF says; orientation 1-8, texts empty when not there."""

    orientation: int = 1
    taken: str = ""
    camera: str = ""
    subsecond: str = ""
    exposure: str = ""


@dataclass(frozen=True, slots=True)
class Details:
    """What the index does not hold, and would be lost with a file; empty when not there.

    Attributes
    ----------
    place : str
        Latitude and longitude, degrees: '43.2630, -2.9350'.
    rating : str
        Stars, '1' to '5'.
    quality : int
        Of a JPEG: see :func:`annidx.images.quality.estimate`; 0 of other formats.
    """

    place: str = ""
    rating: str = ""
    quality: int = 0


def details(image: Any) -> Details:
    """Read the details of a PIL image; what is broken is as if it were not there."""
    tables = getattr(image, "quantization", None)  # of Pillow's JPEG and MPO only
    found = Details(quality=quality.estimate(tables) if tables else 0)
    try:
        exif = image.getexif()
        rating = str(exif.get(_RATING, ""))
        said = _XMP_RATING.search(_xmp(image))
        if said is not None:
            rating = said[1].decode()
        found = replace(found, rating=rating if rating in {"1", "2", "3", "4", "5"} else "")
        gps = exif.get_ifd(_GPS)
        return replace(found, place=_place(gps)) if gps else found
    except Exception:  # one picture's metadata, as in `odd`
        return found


def _xmp(image: Any) -> bytes:
    packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    return packet.encode() if isinstance(packet, str) else bytes(packet)


def _place(gps: Any) -> str:
    """Return latitude and longitude of the GPS directory in degrees."""
    degrees = []
    for reference, at, negative in ((1, 2, "S"), (3, 4, "W")):
        parts = [float(each) for each in gps[at]]
        size = sum(part / 60**power for power, part in enumerate(parts))
        degrees.append(-size if str(gps.get(reference, "")).startswith(negative) else size)
    return f"{degrees[0]:.4f}, {degrees[1]:.4f}" if any(degrees) else ""


def read(image: Any) -> Facts:
    """Read the facts of a PIL image; EXIF is often broken and never worth a picture."""
    if image.format in ("JPEG", "MPO") and not {"exif", "xmp"} & image.info.keys():
        return Facts()
    ordinary = jpeg.exif(image.info.get("exif") or b"")
    if ordinary is None:
        return odd(image)
    orientation, make, model, taken, subsecond, exposure = ordinary
    return Facts(
        *(_orientation(orientation), _iso_time(taken), _camera(make, model)),
        *(_digits(subsecond), exposure),
    )


def odd(image: Any) -> Facts:
    """Read the facts by Pillow, which takes ten times the time and knows every oddity."""
    facts = Facts()
    try:
        exif = image.getexif()
        facts = replace(facts, orientation=_orientation(exif.get(_ORIENTATION, 1)))
        make, model = (str(exif.get(tag, "")).strip("\0 ") for tag in (_MAKE, _MODEL))
        facts = replace(facts, camera=_camera(make, model))
        details = exif.get_ifd(_DETAILS)
        facts = replace(facts, taken=_iso_time(str(details.get(_TAKEN, ""))))
        facts = replace(facts, subsecond=_digits(str(details.get(_SUBSECOND, ""))))
        seconds, bias = (_number(details.get(tag)) for tag in (_SECONDS, _BIAS))
        return replace(facts, exposure=jpeg.exposure(seconds, bias))
    except Exception:  # one picture's metadata; Pillow raises SyntaxError, struct.error and more
        return facts


def _camera(make: str, model: str) -> str:
    return (model if model.startswith(make) else f"{make} {model}").strip()[:80]


def _digits(text: str) -> str:
    """Return the digits behind the second, without zeros at the end; anything else is ''."""
    digits = text.strip("\0 ")
    return digits[:9].rstrip("0") if digits.isdecimal() and digits.isascii() else ""


def _number(value: Any) -> float | None:
    """Return a ratio as a number; by the ordinary way it may have no denominator."""
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None


def _orientation(value: Any) -> int:
    """Return 1-8; some writers make it a float or a ratio, some leave nonsense."""
    try:
        number = 1.0 if isinstance(value, str | bytes) else float(value)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return 1
    return int(number) if number in range(1, 9) else 1


def _iso_time(text: str) -> str:
    """Turn EXIF's '2019:07:14 18:30:05' into '2019-07-14T18:30:05'; anything else into ''."""
    found = _TIME.match(text.strip("\0 "))
    if found is None:
        return ""
    try:
        year, month, day, hour, minute, second = map(int, found.groups())
        return datetime(year, month, day, hour, minute, second).isoformat()
    except ValueError:
        return ""
