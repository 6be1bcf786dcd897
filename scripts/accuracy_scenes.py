"""Frames of one scene, made from large photos: bursts, and brackets of exposure.

Two frames of a burst are windows of one large photo that lie 1 to 3 % apart, turned, scaled and
exposed a little differently, each with its own noise; in most something has moved. No frame is made
from another one, so they are related (same-scene) and no edits of each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from scripts.accuracy_picture import Picture, as_image, as_levels, generator

LONGEST, SHORT = 960, 720
"""Sides of a frame, in pixels."""

FOLDERS = (Path("/usr/share/backgrounds"), Path("/usr/share/wallpapers"))
PACKAGES = ("gnome-backgrounds", "mate-backgrounds", "plasma-workspace-wallpapers")
UNPACKED = ("ukui-wallpapers", "lomiri-wallpapers-20.04")
"""Packages of the cache that hold large photos."""

DRAWN = {"gnome", "abstract", "desktop", "Altai", "Canopee", "Cascade", "Cluster", "Elarun", "Flow"}
DRAWN |= {"FlyingKonqui", "Honeywave", "IceCold", "Kay", "Kite", "Kokkini", "MilkyWay", "Opal"}
DRAWN |= {"PastelHills", "Patak", "SafeLanding", "Shell", "Volna", "summer_1am", "Grey"}
"""Folders of wallpapers that are no photos."""

CAMERAS = (("Canon", "Canon EOS 80D"), ("NIKON", "NIKON D750"), ("Apple", "iPhone 12"))
EXIF, OFFSET = 0x8769, 0x9011
MOST = 9
"""Windows of one large photo."""

MARGIN = 39
"""How far a frame may leave its window, in pixels: 3 % of its long side, turned and scaled."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A window of a large photo: its number, the photo, corner and size in pixels, randomness."""

    number: int
    photo: Image.Image
    corner: npt.NDArray[np.float64]
    size: tuple[int, int]
    rng: np.random.Generator


def large_photos(folders: Sequence[Path]) -> list[Path]:
    """Return the largest picture of each wallpaper of 1.3 times a frame and more, by path."""
    best: dict[str, tuple[int, Path]] = {}
    for path in sorted(each for folder in folders for each in folder.rglob("*")):
        if path.suffix.lower() not in {".jpg", ".jpeg", ".png", ".webp"} or not path.is_file():
            continue
        if DRAWN.intersection(path.parts) or path.stat().st_size < 200_000:
            continue
        with Image.open(path) as image:
            width, height = image.size
        if min(width, height) < SHORT + 2 * MARGIN or max(width, height) < LONGEST + 2 * MARGIN:
            continue
        theme = next((part for part in path.parents if part.name == "contents"), path)
        stem = theme.parent.name if theme is not path else path.stem
        key = stem.removesuffix("-d").removesuffix("-l")
        best[key] = max(best.get(key, (0, path)), (width * height, path))
    return sorted(path for _, path in best.values())


def frame(
    photo: Image.Image,
    corner: npt.NDArray[np.float64],
    size: tuple[int, int],
    turn: float,
    scale: float,
) -> Image.Image:
    """Return a window of a photo: its corner in pixels, turned by degrees about its centre."""
    c, s = np.cos(np.radians(turn)) * scale, np.sin(np.radians(turn)) * scale
    x, y = size[0] / 2, size[1] / 2
    left, top = corner[0] + x - c * x + s * y, corner[1] + y - s * x - c * y
    return photo.transform(
        size, Image.Transform.AFFINE, (c, -s, left, s, c, top), Image.Resampling.BICUBIC
    )


def moved(seen: Image.Image, photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return a frame in which something has moved: 2 to 6 % of its area show another content.

    Half of the time what is near by has shifted into it, else something else has come.
    """
    for _ in range(12):
        changed = _moved_once(seen, photo, rng)
        if np.abs(as_levels(changed) - as_levels(seen)).mean() > 0.4:  # 10 levels on 4 % of it
            break
    return changed


def _moved_once(seen: Image.Image, photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    w, h = seen.size
    area, ratio = rng.uniform(0.02, 0.06) * w * h, rng.uniform(0.5, 2)
    rx, ry = np.sqrt(area / np.pi * ratio), np.sqrt(area / np.pi / ratio)
    x, y = rng.uniform(rx, w - rx), rng.uniform(ry, h - ry)
    if rng.integers(2):
        shift = (int(rng.uniform(0.5, 1) * rx * rng.choice([-1, 1])), int(0.3 * ry))
        new = Image.new("RGB", seen.size)
        new.paste(seen, (0, 0))
        new.paste(seen, shift)
    else:
        left = rng.uniform(0, max(1, photo.width - w))
        top = rng.uniform(0, max(1, photo.height - h))
        new = photo.crop((int(left), int(top), int(left) + w, int(top) + h))
    mask = Image.new("L", seen.size)
    ImageDraw.Draw(mask).ellipse((x - rx, y - ry, x + rx, y + ry), fill=255)
    return Image.composite(new, seen, mask.filter(ImageFilter.GaussianBlur(3)))


def taken(seen: Image.Image, rng: np.random.Generator, *, gain: float, grain: float) -> Image.Image:
    """Return a frame as a sensor takes it: exposure in linear light, clipping, and noise."""
    linear = (as_levels(seen) / 255) ** 2.2 * gain
    levels = 255 * np.clip(linear, 0, 1) ** (1 / 2.2)
    return as_image(levels + rng.normal(0, grain, levels.shape))


def stamp(camera: tuple[str, str], when: datetime, seconds: float, bias: int = 0) -> Image.Exif:
    """Return the EXIF of a frame: camera, time with its hundredths, exposure."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = camera
    exif[0x0132] = f"{when:%Y:%m:%d %H:%M:%S}"
    part: dict[int, Any] = exif.get_ifd(EXIF)
    part[0x9003] = part[0x9004] = f"{when:%Y:%m:%d %H:%M:%S}"
    part[0x9291] = part[0x9292] = f"{when.microsecond // 10_000:02}"
    part[OFFSET] = "+01:00"
    part[0x829A] = seconds
    part[0x829D], part[0x8827] = 5.6, 200
    part[0x9204] = float(bias)
    return exif


def bursts(folders: Sequence[Path], count: int) -> Iterator[Picture]:
    """Yield that many pairs of frames; every second pair has EXIF."""
    for scene in _scenes("burst", folders, count):
        number, rng = scene.number, scene.rng
        with_exif, steady = number % 2 == 0, number % 3 == 0
        when = datetime(2021, 5, 3, 10, 0) + timedelta(minutes=7 * number, milliseconds=310)
        camera, first = CAMERAS[number % len(CAMERAS)], int(rng.integers(100, 9000))
        group = f"burst{number:04d}"
        for k in range(2):
            move = k * rng.uniform(0.01, 0.03, 2) * scene.size * rng.choice([-1, 1], 2)
            turn, scale = k * rng.uniform(-0.5, 0.5), 1 + k * rng.uniform(-0.01, 0.01)
            seen = frame(scene.photo, scene.corner + move, scene.size, turn, scale)
            if k and not steady:
                seen = moved(seen, scene.photo, rng)
            seen = taken(seen, rng, gain=1 + k * rng.uniform(-0.03, 0.03), grain=2.5)
            when += timedelta(seconds=float(k * rng.uniform(0.1, 1.9)))
            options = {"exif": stamp(camera, when, 1 / 250)} if with_exif else {}
            name = f"{group}-IMG_{first + k:04d}.jpg" if with_exif else f"{group}-{'ab'[k]}.jpg"
            role = "burst" + ("" if steady else "-moved") + ("-exif" if with_exif else "")
            yield Picture(name, group, role, seen, {"quality": 92, **options})


def brackets(folders: Sequence[Path], count: int) -> Iterator[Picture]:
    """Yield that many brackets: one framing at -2, 0 and +2 EV, with EXIF."""
    for scene in _scenes("bracket", folders, count):
        number, rng = scene.number, scene.rng
        when = datetime(2022, 8, 9, 18, 0) + timedelta(minutes=3 * number, milliseconds=120)
        camera, first = CAMERAS[number % 2], int(rng.integers(100, 9000))
        group = f"bracket{number:04d}"
        for k, bias in enumerate((0, -2, 2)):
            # A tripod is still, hands are not.
            shake = rng.uniform(-1, 1, 2) * (0.4 if number % 2 else 4.0)
            seen = frame(scene.photo, scene.corner + shake, scene.size, 0, 1)
            seen = taken(seen, rng, gain=2.0**bias, grain=2.0 + (bias < 0))
            exif = stamp(camera, when + timedelta(seconds=0.4 * k), 2.0**bias / 250, bias)
            name = f"{group}-IMG_{first + k:04d}.jpg"
            yield Picture(name, group, "bracket", seen, {"quality": 92, "exif": exif})


def _scenes(kind: str, folders: Sequence[Path], count: int) -> Iterator[Scene]:
    """Yield up to that many scenes. No two windows overlap: they would be related by themselves.

    Windows with next to nothing in them are left out.
    """
    paths = large_photos(folders)
    number = 0
    for at, path in enumerate(paths):
        photo = _reduced(path)
        for turn in range(MOST):
            if number == count:
                return
            portrait = at % 4 == 3
            size = (SHORT, LONGEST) if portrait else (LONGEST, SHORT)
            across, down = (
                photo.width // (size[0] + 2 * MARGIN),
                photo.height // (size[1] + 2 * MARGIN),
            )
            if turn >= across * down:
                break
            column, row = turn % across, turn // across
            cell = np.array([photo.width / across, photo.height / down])
            corner = cell * [column, row] + (cell - size) / 2
            if photographic(frame(photo, corner, size, 0, 1)):
                yield Scene(number, photo, corner, size, generator(kind, number))
                number += 1


def photographic(image: Image.Image) -> bool:
    """Say whether most of a picture has detail: drawings and gradients have flat cells."""
    gray = np.asarray(image.convert("L").resize((600, 448)), np.float32)
    cells = gray.reshape(28, 16, -1, 8)[..., :75, :].reshape(28, 16, 75, 8).std(axis=(1, 3))
    return bool((cells > 1.5).mean() > 0.5 and gray.std() > 15)


def _reduced(path: Path) -> Image.Image:
    """Return a photo with a short side of at most 3,000 pixels, so that frames show enough."""
    with Image.open(path) as opened:
        opened.draft("RGB", (3000, 3000))
        photo = opened.convert("RGB")
    share = min(photo.size) / 3000
    if share <= 1:
        return photo
    return photo.resize((round(photo.width / share), round(photo.height / share)))
