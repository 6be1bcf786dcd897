"""Edits of tone, grain and codec that ../shared/bench/attacks.py does not have.

For judging only: nothing may be trained on these. Each is ``edit(image, rng) -> image``, in RGB.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter, ImageOps

from scripts.accuracy_picture import Edit, Pixels, as_image, as_levels

LEVELS = np.arange(256)


def through(*curves: Sequence[tuple[int, int]], saturation: float = 1.0) -> Edit:
    """Put red, green and blue through curves of (level, new level), as photo apps' filters do."""
    points = [np.array(curve, np.float64).T for curve in curves]
    tables = [np.interp(LEVELS, before, after) for before, after in points]

    def edit(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        levels = np.asarray(image)
        new = np.stack([tables[c][levels[..., c]] for c in range(3)], axis=-1)
        gray = new @ np.array([0.299, 0.587, 0.114])
        return as_image(gray[..., None] + saturation * (new - gray[..., None]))

    return edit


FADED = through(
    [(0, 45), (90, 110), (200, 205), (255, 235)],
    [(0, 38), (90, 92), (200, 205), (255, 238)],
    [(0, 60), (90, 95), (200, 185), (255, 215)],
    saturation=0.75,
)
COLD = through(
    [(0, 0), (70, 45), (180, 170), (255, 240)],
    [(0, 8), (70, 62), (180, 186), (255, 250)],
    [(0, 40), (70, 95), (180, 210), (255, 255)],
    saturation=0.9,
)
VIVID = through(
    [(0, 0), (60, 35), (190, 225), (255, 255)],
    [(0, 0), (60, 42), (190, 215), (255, 255)],
    [(0, 0), (60, 30), (190, 200), (255, 240)],
    saturation=1.5,
)


def vignette_fade(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Darken the corners by 75 %, and lift the blacks."""
    levels = as_levels(image)
    y, x = np.ogrid[-1 : 1 : image.height * 1j, -1 : 1 : image.width * 1j]
    dark = 1 - 0.75 * np.clip((x * x + y * y) / 1.7, 0, 1) ** 1.2
    return as_image((levels * 0.82 + 34) * dark[..., None])


def split_toning(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Tint shadows teal and lights orange."""
    levels = as_levels(image)
    light = levels @ np.array([0.299, 0.587, 0.114], np.float32) / 255
    teal, orange = np.array([-38, 8, 30]), np.array([32, 8, -34])
    return as_image(levels + (1 - light)[..., None] * teal + light[..., None] * orange)


def hard_gray(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Make black and white with a steep curve, of the red channel mostly."""
    gray = as_levels(image) @ np.array([0.55, 0.35, 0.10], np.float32) / 255
    return as_image(255 / (1 + np.exp(-9 * (gray - np.median(gray) * 0.5 - 0.25)))).convert("RGB")


def dithered(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Dither to 16 colours."""
    return image.quantize(16, dither=Image.Dither.FLOYDSTEINBERG).convert("RGB")


def dithered_fixed(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Dither to the 16 colours of an old screen."""
    full, half = (0, 255), (0, 128)
    colours = [(r, g, b) for part in (half, full) for r in part for g in part for b in part]
    palette = Image.new("P", (1, 1))
    palette.putpalette([level for colour in colours for level in colour])
    return image.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG).convert("RGB")


def pixelated(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Show in 48 squares on the long side."""
    share = 48 / max(image.size)
    small = image.resize(
        (max(1, round(image.width * share)), max(1, round(image.height * share))),
        Image.Resampling.BOX,
    )
    return small.resize(image.size, Image.Resampling.NEAREST)


def motion(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Blur along a line of 3 % of the width, in one of four directions."""
    length = max(5, round(0.03 * image.width))
    step = [(1, 0), (0, 1), (1, 1), (1, -1)][int(rng.integers(4))]
    edge = np.pad(as_levels(image), ((length,) * 2, (length,) * 2, (0, 0)), mode="edge")
    h, w = image.height, image.width
    total: Pixels = np.zeros((h, w, 3), np.float32)
    for k in range(length):
        top = length + step[1] * (k - length // 2)
        left = length + step[0] * (k - length // 2)
        total += edge[top : top + h, left : left + w]
    return as_image(total / length)


def salt_pepper(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Make 4 % of the pixels white or black."""
    levels = np.array(image)
    chance = rng.random(levels.shape[:2])
    levels[chance < 0.02] = 0
    levels[chance > 0.98] = 255
    return Image.fromarray(levels)


def chroma_noise(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Add coarse noise of colour and fine noise of light, as a phone does in the dark."""
    luma, *chroma = (np.asarray(each, np.float32) for each in image.convert("YCbCr").split())
    coarse = (image.width // 3 + 1, image.height // 3 + 1)
    noisy: list[npt.NDArray[np.floating]] = [luma + rng.normal(0, 8, luma.shape)]
    for each in chroma:
        grain = as_image(128 + rng.normal(0, 34, coarse[::-1])).resize(image.size)
        noisy.append(each + np.asarray(grain, np.float32) - 128)
    bands = [as_image(each) for each in noisy]
    return Image.merge("YCbCr", bands).convert("RGB")


EDITS: dict[str, Edit] = {
    "posterize": lambda image, rng: ImageOps.posterize(image, 2),
    "filter-faded": FADED,
    "filter-cold": COLD,
    "filter-vivid": VIVID,
    "vignette-fade": vignette_fade,
    "split-toning": split_toning,
    "hard-gray": hard_gray,
    "dither16": dithered,
    "dither16fixed": dithered_fixed,
    "pixelated": pixelated,
    "median": lambda image, rng: image.filter(ImageFilter.MedianFilter(7)),
    "motion-blur": motion,
    "unsharp": lambda image, rng: image.filter(ImageFilter.UnsharpMask(6, 260, 2)),
    "salt-pepper": salt_pepper,
    "chroma-noise": chroma_noise,
    "negative": lambda image, rng: ImageOps.invert(image),
}
"""Edits of tone and grain, by role."""

FILES: dict[str, tuple[str, dict[str, Any]]] = {
    "avif": (".avif", {"quality": 45, "speed": 8}),
    "jpeg2000": (".jp2", {"quality_mode": "rates", "quality_layers": [45]}),
    "webp20": (".webp", {"quality": 20}),
}
"""Codecs, by role: the suffix of a file, and how it is saved."""

EXACT = {"dither16", "dither16fixed", "pixelated"}
"""Edits that are saved as PNG: JPEG would smooth what they are about."""
