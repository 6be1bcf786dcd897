"""Crops, slants and turns that ../shared/bench/attacks.py does not have.

For judging only: nothing may be trained on these. Each is ``edit(image, rng) -> image``, in RGB.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageOps

from scripts.accuracy_picture import Edit, as_image, as_levels

WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def one_side(share: float) -> Edit:
    """Cut one of the four sides."""

    def edit(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        box = [0, 0, image.width, image.height]
        side = int(rng.integers(4))
        length = image.width if side % 2 == 0 else image.height
        box[side] += round(share * length) * (1 if side < 2 else -1)
        return image.crop((box[0], box[1], box[2], box[3]))

    return edit


def aspect(across: int, down: int) -> Edit:
    """Cut to an aspect ratio, about the centre."""

    def edit(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        width = min(image.width, image.height * across / down)
        height = min(image.height, image.width * down / across)
        left = (image.width - width) * rng.uniform(0.35, 0.65)
        top = (image.height - height) * rng.uniform(0.35, 0.65)
        return image.crop((round(left), round(top), round(left + width), round(top + height)))

    return edit


def crop15(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Leave 70 % of each axis, near the centre."""
    left, top = rng.uniform(0.10, 0.20) * image.width, rng.uniform(0.10, 0.20) * image.height
    width, height = 0.7 * image.width, 0.7 * image.height
    return image.crop((round(left), round(top), round(left + width), round(top + height)))


def crop_resize(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Cut 4 to 10 % of each side and reduce to 60 %, as an upload does."""
    a, b, c, d = rng.uniform(0.04, 0.10, 4)
    box = (a * image.width, b * image.height, (1 - c) * image.width, (1 - d) * image.height)
    size = round(0.6 * (box[2] - box[0])), round(0.6 * (box[3] - box[1]))
    return image.resize(size, Image.Resampling.LANCZOS, box=box)


def perspective(share: float, *, table: bool) -> Edit:
    """Photograph a print at a slant: corners move inwards by up to a share of the side.

    With a table the print lies on wood, else what lies outside is cut off.
    """

    def edit(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        w, h = image.size
        move = rng.uniform(0.3, 1, (4, 2)) * share * np.array([w, h])
        corners = np.array([[0, 0], [0, h], [w, h], [w, 0]], float)
        inward = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]])
        sign = inward if table else -inward
        matrix = _homography(corners + sign * move, corners)
        if not table:
            return image.transform(
                (w, h), Image.Transform.PERSPECTIVE, matrix, Image.Resampling.BICUBIC
            )
        wood = as_image(rng.normal(128, 40, (h, max(2, w // 40)))).resize(
            (w, h), Image.Resampling.BICUBIC
        )
        back = ImageOps.colorize(wood, (58, 34, 18), (170, 120, 76))
        front = image.convert("RGBA").transform(
            (w, h), Image.Transform.PERSPECTIVE, matrix, Image.Resampling.BICUBIC
        )
        back.paste(front, (0, 0), front.getchannel("A"))
        return back

    return edit


def _homography(seen: np.ndarray, source: np.ndarray) -> list[float]:
    """Return the eight coefficients that lead from four seen points, (4, 2), to source points."""
    rows, right = [], []
    for (x, y), (u, v) in zip(seen, source, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        right += [u, v]
    return [float(each) for each in np.linalg.solve(np.array(rows), np.array(right))]


def turned_filled(degrees: float) -> Edit:
    """Turn either way; the corners show white, black, or the mean colour."""

    def edit(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        mean = tuple(int(each) for each in as_levels(image).mean(axis=(0, 1)))
        fill = [WHITE, BLACK, mean][int(rng.integers(3))]
        angle = degrees * (1 if rng.integers(2) else -1)
        return image.rotate(angle, Image.Resampling.BICUBIC, expand=True, fillcolor=fill)

    return edit


def turned_cut(degrees: float) -> Edit:
    """Turn either way and leave the largest upright part without corners, as editors do."""

    def edit(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        angle = degrees * (1 if rng.integers(2) else -1)
        s, c = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
        share = 1 / (c + s * max(image.size) / min(image.size))
        w, h = image.width * share, image.height * share
        left, top = (image.width - w) / 2, (image.height - h) / 2
        turned = image.rotate(angle, Image.Resampling.BICUBIC)
        return turned.crop((round(left), round(top), round(left + w), round(top + h)))

    return edit


def mirror_crop(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Mirror, and cut 4 to 8 % of each side."""
    a, b, c, d = rng.uniform(0.04, 0.08, 4)
    box = (a * image.width, b * image.height, (1 - c) * image.width, (1 - d) * image.height)
    return ImageOps.mirror(image).crop((round(box[0]), round(box[1]), round(box[2]), round(box[3])))


def rot270_border(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Turn by 270 degrees, with a border of one colour."""
    colour = tuple(int(each) for each in rng.integers(0, 256, 3))
    return ImageOps.expand(
        image.transpose(Image.Transpose.ROTATE_270), round(0.06 * min(image.size)), colour
    )


EDITS: dict[str, Edit] = {
    "side10": one_side(0.10),
    "side20": one_side(0.20),
    "aspect1:1": aspect(1, 1),
    "aspect16:9": aspect(16, 9),
    "aspect4:5": aspect(4, 5),
    "crop15": crop15,
    "crop-resize": crop_resize,
    "print-on-table": perspective(0.09, table=True),
    "slanted": perspective(0.05, table=False),
    "turn2fill": turned_filled(2),
    "turn4fill": turned_filled(4),
    "turn7fill": turned_filled(7),
    "turn2cut": turned_cut(2),
    "turn4cut": turned_cut(4),
    "turn7cut": turned_cut(7),
    "turn25": turned_filled(25),
    "mirror-crop": mirror_crop,
    "turn270-border": rot270_border,
}
"""Edits of what is seen and how it lies, by role."""
