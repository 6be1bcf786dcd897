"""Products on white in several colours: drawings, and cut-outs of which the main hue changes.

Something always keeps its colour: the grayscale of a thing of one colour would be an edit of its
picture, whatever was meant by it. So only the main hue of a cut-out changes.
"""

from __future__ import annotations

import colorsys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from scripts.accuracy_picture import Picture, as_image, as_levels, fitted, generator
from scripts.accuracy_products import SHAPES, VARIANTS, Drawing, Point

SIZE = 512
Plane = npt.NDArray[np.floating]
Colour = npt.NDArray[np.float64]


def drawn(objects: int) -> Iterator[Picture]:
    """Yield that many drawn products, each in all variants."""
    for number in range(objects):
        make = SHAPES[number % len(SHAPES)]
        rng = generator("product", number)
        drawing = make(rng)
        hue, parts = float(rng.random()), layers(drawing, generator("light", number))
        for variant, colours in enumerate(body_and_part(hue, rng)):
            image = painted(drawing, parts, colours, generator("paint", number), number)
            yield _picture(f"{make.__name__}{number:03d}", variant, image, rng)


def cut_outs(paths: Sequence[Path], objects: int) -> Iterator[Picture]:
    """Yield up to that many cut-outs, each with its main colour in all variants but the last.

    Left out are those whose main colour is on less than 25 or more than 85 % of them.
    """
    done = 0
    for path in paths:
        if done == objects:
            return
        if path.stem.endswith("_mirror"):  # the same thing as the one without it
            continue
        with Image.open(path) as opened:
            if opened.mode not in ("RGBA", "LA", "P") or max(opened.size) < 150:
                continue
            whole = opened.convert("RGBA")
        cut = fitted(whole.crop(whole.getchannel("A").getbbox()), SIZE - 60)
        if min(cut.size) < 60 or max(cut.size) < 150:
            continue
        rng = generator("cut-out", path.stem)
        main = main_colour(cut)
        if main is None:
            continue
        for variant in range(len(VARIANTS) - 1):
            yield _picture(
                f"cut{done:03d}-{path.stem[:40]}", variant, recoloured(cut, main, variant), rng
            )
        done += 1


def _picture(group: str, variant: int, image: Image.Image, rng: np.random.Generator) -> Picture:
    """Return a variant as it was photographed: grain of its own, JPEG."""
    grainy = as_image(as_levels(image) + rng.normal(0, 0.8, (*image.size[::-1], 1)))
    return Picture(f"{group}-{variant}.jpg", group, f"variant-{variant}", grainy)


def body_and_part(hue: float, rng: np.random.Generator) -> Iterator[tuple[Colour, Colour]]:
    """Yield the colours, (3,) from 0 to 1, of body and part in each variant."""
    value, strong = rng.uniform(0.55, 0.9), rng.uniform(0.6, 0.95)

    def colour(turn: float, saturation: float = strong, light: float = value) -> Colour:
        return np.array(colorsys.hsv_to_rgb((hue + turn) % 1, saturation, light))

    tinted = bool(rng.integers(2))  # the part differs from the body already
    for body in (
        colour(0),
        colour(1 / 3),
        colour(2 / 3),
        colour(0.17, 0.9, 0.75),
        colour(0, 0.25, 0.16),
        colour(0, 0.08, 0.97),
        colour(0, 0.0, 0.55),
    ):
        yield body, colour(0.5, 0.3, 0.4) if tinted else 0.85 * body
    yield colour(0), colour(0.42, 0.85, 0.8)


Layer = tuple[str, Plane, Plane]
"""A part, how much of each pixel it covers, and the light on it, (SIZE, SIZE, 1)."""


def layers(drawing: Drawing, rng: np.random.Generator) -> list[Layer]:
    """Return the parts of a drawing with their light: the same in all colours."""
    light = _folds(rng)
    masks = [(part, _mask(outline)) for part, outline in drawing.parts]
    return [(part, mask[..., None], (light * _relief(mask))[..., None]) for part, mask in masks]


def painted(
    drawing: Drawing,
    parts: Sequence[Layer],
    colours: tuple[Colour, Colour],
    rng: np.random.Generator,
    number: int,
) -> Image.Image:
    """Return a drawing in colours, on white, with its shading, seams, print and shadow."""
    detail = np.array(
        colorsys.hsv_to_rgb(rng.random(), rng.uniform(0, 0.7), rng.uniform(0.25, 0.95))
    )
    paints = {"body": colours[0], "part": colours[1], "detail": detail, "dark": 0.25 * detail}
    canvas = np.ones((SIZE, SIZE, 3), np.float32) * _shadow(drawing)[..., None]
    for part, mask, light in parts:
        # Dark cloth shines a little: black is never all black.
        paint = 1.0 if part == "hole" else paints[part] * light + 0.04 * (1 - light)
        canvas = canvas * (1 - mask) + mask * paint
    image = as_image(255 * canvas)
    draw = ImageDraw.Draw(image, "RGBA")
    for seam in drawing.seams:
        draw.line([(x * SIZE, y * SIZE) for x, y in seam], (0, 0, 0, 110), 2)
    _print(draw, drawing.printed, rng, number)
    return image


def _mask(outline: Sequence[Point]) -> Plane:
    """Return how much of each pixel a polygon covers, (SIZE, SIZE)."""
    plane = Image.new("L", (2 * SIZE, 2 * SIZE))
    ImageDraw.Draw(plane).polygon([(2 * SIZE * x, 2 * SIZE * y) for x, y in outline], fill=255)
    return np.asarray(plane.resize((SIZE, SIZE), Image.Resampling.BOX), np.float32) / 255


def _relief(mask: Plane) -> Plane:
    """Return the light on something round: darker towards its edges, and to the right."""
    inner = np.asarray(as_image(255 * mask).filter(ImageFilter.GaussianBlur(22)), np.float32) / 255
    across = np.linspace(0.08, -0.08, SIZE, dtype=np.float32)[None, :]
    return 0.5 + 0.55 * np.clip(2 * inner - 1, 0, 1) + across


def _folds(rng: np.random.Generator) -> Plane:
    """Return soft folds and the grain of a surface, about 1."""
    coarse = as_image(128 + rng.normal(0, 26, (7, 9))).resize(
        (SIZE, SIZE), Image.Resampling.BICUBIC
    )
    weave = rng.normal(0, 0.02, (SIZE, SIZE))
    return (0.9 + (np.asarray(coarse, np.float32) - 128) / 400 + weave).astype(np.float32)


def _shadow(drawing: Drawing) -> Plane:
    """Return the white ground with a soft shadow below a drawing."""
    points = np.array([point for _, outline in drawing.parts for point in outline])
    (left, _), (right, low) = points.min(axis=0), points.max(axis=0)
    ground = Image.new("L", (SIZE, SIZE), 255)
    box = (left * SIZE, (low - 0.03) * SIZE, right * SIZE, (low + 0.03) * SIZE)
    ImageDraw.Draw(ground).ellipse(box, fill=150)
    return np.asarray(ground.filter(ImageFilter.GaussianBlur(9)), np.float32) / 255


def _print(draw: ImageDraw.ImageDraw, place: Point, rng: np.random.Generator, number: int) -> None:
    """Print a small emblem: a disc, a star, or a word; it keeps its colour."""
    x, y = SIZE * place[0], SIZE * place[1]
    r = SIZE * rng.uniform(0.03, 0.06)
    ink = tuple(int(each) for each in rng.integers(0, 256, 3))
    kind = number // 8 % 3
    if kind == 0:
        draw.ellipse((x - r, y - r, x + r, y + r), fill=ink, outline=(255, 255, 255))
    elif kind == 1:
        angles = np.arange(10) * np.pi / 5 - np.pi / 2
        sizes = np.where(np.arange(10) % 2, 0.45 * r, r)
        star = [
            (x + s * float(np.cos(a)), y + s * float(np.sin(a)))
            for s, a in zip(sizes, angles, strict=True)
        ]
        draw.polygon(star, fill=ink, outline=(255, 255, 255))
    else:
        word = ["north", "ACME", "1987", "oak"][number % 4]
        draw.text(
            (x, y),
            word,
            ink,
            ImageFont.load_default(round(r)),
            anchor="mm",
            stroke_width=1,
            stroke_fill=(255, 255, 255),
        )


def main_colour(cut: Image.Image) -> Plane | None:
    """Return how much each pixel has of a cut-out's main hue, (height, width), or None.

    None where there is none on 25 to 85 % of what is opaque.
    """
    hue, saturation, value = (
        np.asarray(each, np.float64) for each in cut.convert("RGB").convert("HSV").split()
    )
    opaque = np.asarray(cut.getchannel("A")) > 128
    vivid = opaque & (saturation > 70) & (value > 50)
    if vivid.sum() < 0.25 * opaque.sum() or opaque.sum() < 4000:
        return None
    counts = np.bincount(hue[vivid].astype(int), minlength=256)
    smooth = sum(np.roll(counts, k) for k in range(-12, 13))
    away = np.abs((hue - int(np.argmax(smooth)) + 128) % 256 - 128)
    share = np.clip((30 - away) / 8, 0, 1) * np.clip((saturation - 40) / 30, 0, 1) * opaque
    if not 0.25 <= share.sum() / opaque.sum() <= 0.85:
        return None
    return share.astype(np.float32)


def recoloured(cut: Image.Image, main: Plane, variant: int) -> Image.Image:
    """Return a cut-out on white with its main colour changed, and its shading kept."""
    side = round(1.12 * max(cut.size))
    sheet = Image.new("RGB", (side, side), (255, 255, 255))
    levels = as_levels(cut)
    hue, saturation, value = (
        np.asarray(each, np.float64) for each in cut.convert("RGB").convert("HSV").split()
    )
    turn = (0, 85, 170, 43, 0, 0, 0)[variant]
    if variant == 4:
        saturation, value = 0.5 * saturation, 0.28 * value
    elif variant == 5:
        saturation, value = 0.15 * saturation, 150 + 105 * value / 255
    elif variant == 6:
        saturation = 0 * saturation
    bands = [as_image((hue + turn) % 256), as_image(saturation), as_image(value)]
    new = as_levels(Image.merge("HSV", bands).convert("RGB"))
    mixed = as_image(levels + main[..., None] * (new - levels))
    place = (side - cut.width) // 2, (side - cut.height) // 2
    sheet.paste(mixed, place, cut.getchannel("A"))
    return sheet
