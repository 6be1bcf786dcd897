"""Pictures of writing that look alike and are different: pages, receipts, chats, slides.

Every picture is a group of its own; copies of it belong to its group. Receipts are made here, the
others by tests/pages.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from scripts.accuracy_picture import Edit, Picture, generator
from tests import pages

GOODS = (
    "milk bread apples butter cheese rice coffee tea eggs soap paper onions pasta beans salt oil"
)


def receipt(number: int) -> Image.Image:
    """Return a till receipt of one of four shops, on white; goods, prices and date are its own."""
    rng = generator("receipt", number)
    sheet = Image.new("RGB", (300, 620), (251, 251, 249))
    draw = ImageDraw.Draw(sheet)
    shop = ("CORNER SHOP", "GREEN MARKET", "STATION FOOD", "DAILY & SONS")[number % 4]
    draw.text((150, 30), shop, (30, 30, 30), pages.font(22), anchor="mm")
    draw.text((150, 56), "12 Mill Lane   VAT 204 881", (60, 60, 60), pages.font(12), anchor="mm")
    day = f"{rng.integers(1, 29):02}.{rng.integers(1, 13):02}.2023  {rng.integers(8, 20):02}:"
    draw.text((24, 80), f"{day}{rng.integers(60):02}  no {rng.integers(1000, 9999)}",
              (40, 40, 40), pages.font(13))  # fmt: skip
    top, total = 112, 0
    for good in rng.choice(GOODS.split(), int(rng.integers(6, 17))):
        cents = int(rng.integers(49, 1999))
        total += cents
        draw.text((24, top), f"{rng.integers(1, 4)} x {good}", (40, 40, 40), pages.font(14))
        draw.text((276, top), f"{cents / 100:.2f}", (40, 40, 40), pages.font(14), anchor="ra")
        top += 20
    draw.line((24, top + 6, 276, top + 6), (60, 60, 60))
    draw.text((24, top + 14), "TOTAL", (20, 20, 20), pages.font(19))
    draw.text((276, top + 14), f"{total / 100:.2f}", (20, 20, 20), pages.font(19), anchor="ra")
    x = 60
    while x < 240:  # a bar code
        wide = int(rng.integers(1, 5))
        draw.rectangle((x, 560, x + wide - 1, 596), fill=(30, 30, 30))
        x += wide + int(rng.integers(1, 4))
    return pages.scanned(sheet.filter(ImageFilter.GaussianBlur(0.4)), rng)


def _smaller(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)


def _cut(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    a, b, c, d = (float(each) for each in rng.uniform(0, 0.03, 4))
    box = (a * image.width, b * image.height, (1 - c) * image.width, (1 - d) * image.height)
    return image.crop((round(box[0]), round(box[1]), round(box[2]), round(box[3])))


def _gray(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return image.convert("L").convert("RGB")


def _same(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return image


COPIES: Mapping[str, tuple[Edit, int]] = {
    "recompressed": (_same, 40),
    "smaller": (_smaller, 85),
    "cut": (_cut, 90),
    "gray": (_gray, 90),
}
"""Copies, by role: how they are made, and the quality they are saved with."""

KINDS: Mapping[str, Mapping[str, Callable[[int], Image.Image]]] = {
    "pages": {"page": pages.typed_page, "letter": pages.letter},
    "receipts": {"receipt": receipt},
    "chats": {"chat": pages.chat},
    "slides": {"slide": pages.slide},
}
"""The roles of each set, and how they are made."""


def writing(kind: str, count: int, *, copies: bool = False) -> Iterator[Picture]:
    """Yield that many pictures of each role of a set, and copies of each if asked for."""
    for role, make in KINDS[kind].items():
        for number in range(count):
            group = f"{role}{number:04d}"
            image = make(number)
            yield Picture(f"{group}.png", group, role, image)
            for name, (edit, quality) in COPIES.items() if copies else ():
                copy = edit(image, generator("copy", name, group))
                yield Picture(f"{group}-{name}.jpg", group, name, copy, {"quality": quality})
