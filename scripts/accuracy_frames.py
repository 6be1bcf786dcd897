"""Frames, screenshots and things on the picture that ../shared/bench/attacks.py does not have.

For judging only: nothing may be trained on these. Each is ``edit(image, rng) -> image``, in RGB.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

from scripts.accuracy_picture import Edit, as_image, as_levels

WHITE, BLACK = (255, 255, 255), (0, 0, 0)
SAID = ["nice", "one!", "where", "is", "that?", "so", "good", "<3", "saved", "it"]


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return Pillow's own font."""
    return ImageFont.load_default(max(8, size))


def on_own_blur(across: int, down: int) -> Edit:
    """Set on its own blurred enlargement, as stories and vertical videos do."""

    def edit(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        long = round(1.1 * max(image.size))
        size = (
            (round(long * across / down), long)
            if across < down
            else (
                long,
                round(long * down / across),
            )
        )
        back = ImageOps.fit(image, size).filter(ImageFilter.GaussianBlur(long / 25))
        back = back.point([round(0.8 * level) for level in range(256)] * 3)
        front = ImageOps.contain(image, size, Image.Resampling.LANCZOS)
        back.paste(front, ((size[0] - front.width) // 2, (size[1] - front.height) // 2))
        return back

    return edit


def polaroid(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Put into a white frame with a wide lower edge and a word by hand."""
    edge = round(0.06 * max(image.size))
    low = round(0.22 * max(image.size))
    card = Image.new("RGB", (image.width + 2 * edge, image.height + edge + low), (250, 249, 245))
    card.paste(image, (edge, edge))
    word = ["summer", "us two", "May 1988", "at the lake"][int(rng.integers(4))]
    place = (card.width * 0.3, image.height + edge + low * 0.25)
    ImageDraw.Draw(card).text(place, word, fill=(60, 60, 90), font=font(low // 2))
    return card


def rounded_corners(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Round the corners off, on white."""
    mask = Image.new("L", image.size)
    box = (0, 0, image.width - 1, image.height - 1)
    ImageDraw.Draw(mask).rounded_rectangle(box, round(0.12 * min(image.size)), fill=255)
    return Image.composite(image, Image.new("RGB", image.size, WHITE), mask)


def mat_frame(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Put into a thick coloured mat with an inner bevel and a thin outer frame."""
    colour = [(122, 30, 40), (30, 60, 52), (214, 196, 150), (40, 44, 80)][int(rng.integers(4))]
    short = min(image.size)
    card = ImageOps.expand(image, max(1, round(0.012 * short)), (238, 232, 214))
    card = ImageOps.expand(card, round(0.17 * short), colour)
    return ImageOps.expand(card, round(0.03 * short), (58, 40, 24))


def phone(*, dark: bool) -> Edit:
    """Take a screenshot of the picture in a phone's app: status bar, a name, buttons, comments."""
    paper, ink = ((18, 18, 18), (235, 235, 235)) if dark else (WHITE, (25, 25, 25))

    def edit(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        w = max(image.width, 240)
        shown = image.resize((w, round(image.height * w / image.width)), Image.Resampling.BICUBIC)
        unit = w // 24
        top, bottom = 5 * unit, max(9 * unit, 2 * w - shown.height - 5 * unit)
        shot = Image.new("RGB", (w, top + shown.height + bottom), paper)
        shot.paste(shown, (0, top))
        draw = ImageDraw.Draw(shot)
        draw.text(
            (unit, unit // 3), f"{rng.integers(1, 24)}:{rng.integers(10, 60)}", ink, font(unit)
        )
        draw.rectangle((w - 3 * unit, unit // 2, w - unit, unit * 4 // 3), outline=ink)
        draw.rectangle((w - 3 * unit, unit // 2, w - 2 * unit, unit * 4 // 3), fill=ink)
        draw.ellipse((unit, 2 * unit, 3.4 * unit, 4.4 * unit), fill=tuple(rng.integers(60, 220, 3)))
        draw.text((4 * unit, 2.5 * unit), "some_user  ...", ink, font(round(1.2 * unit)))
        y = top + shown.height + unit
        for k in range(3):
            draw.ellipse(
                (unit + 3 * k * unit, y, 2.6 * unit + 3 * k * unit, y + 1.6 * unit),
                outline=ink,
                width=2,
            )
        for k in range(1, (shot.height - y) // (2 * unit)):
            words = SAID[: 2 + (3 * k) % 7]
            draw.text((unit, y + 2 * k * unit), " ".join(words), ink, font(unit))
        return shot

    return edit


def browser(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Take a screenshot of a browser that shows the picture on a page with text beside it."""
    unit = max(8, image.width // 30)
    left, top = 2 * unit, 8 * unit
    shot = Image.new("RGB", (image.width + 14 * unit, image.height + top + 5 * unit), WHITE)
    draw = ImageDraw.Draw(shot)
    draw.rectangle((0, 0, shot.width, 2 * unit), fill=(222, 225, 230))
    draw.rectangle((unit, unit // 2, 9 * unit, 2 * unit), fill=WHITE)
    draw.text((1.5 * unit, 0.7 * unit), "My trip", (60, 60, 60), font(unit))
    draw.rounded_rectangle(
        (5 * unit, 2.4 * unit, shot.width - unit, 4 * unit), unit, (238, 240, 243)
    )
    draw.text((6 * unit, 2.6 * unit), "example.org/trip/day-3", (90, 90, 90), font(unit))
    draw.text((left, 5 * unit), "Day three: the long way round", (20, 20, 20), font(2 * unit))
    shot.paste(image, (left, top))
    lines = rng.integers(4, 11, size=shot.height)
    for k, y in enumerate(range(top, shot.height - 2 * unit, round(1.6 * unit))):
        draw.rectangle(
            (image.width + 3 * unit, y, image.width + (3 + int(lines[k])) * unit, y + unit // 2),
            fill=(130, 130, 135),
        )
    return shot


def stickers(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Stick three smileys on."""
    out = image.copy()
    draw = ImageDraw.Draw(out)
    for _ in range(3):
        r = min(image.size) * rng.uniform(0.07, 0.11)
        x, y = rng.uniform(r, image.width - r), rng.uniform(r, image.height - r)
        draw.ellipse((x - r, y - r, x + r, y + r), fill=(255, 214, 50), outline=(190, 140, 20))
        for eye in (-0.35, 0.35):
            draw.ellipse(
                (x + (eye - 0.12) * r, y - 0.4 * r, x + (eye + 0.12) * r, y - 0.1 * r),
                fill=(70, 45, 10),
            )
        draw.chord((x - 0.55 * r, y - 0.4 * r, x + 0.55 * r, y + 0.6 * r), 10, 170, (120, 40, 20))
    return out


def price(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Put a big price label into a corner."""
    out = image.copy()
    draw = ImageDraw.Draw(out)
    w, h = 0.36 * image.width, 0.2 * image.height
    x = (image.width - w) * int(rng.integers(2))
    y = (image.height - h) * int(rng.integers(2))
    draw.rectangle((x, y, x + w, y + h), fill=(228, 20, 32))
    text = f"{rng.integers(5, 99)},99 $"
    size = round(h * 0.62)
    while draw.textlength(text, font(size)) > 0.92 * w and size > 8:
        size -= 1
    draw.text((x + 0.05 * w, y + 0.18 * h), text, (255, 240, 60), font(size))
    return out


def date_stamp(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Print the date in orange, as compact cameras did."""
    out = image.copy()
    size = max(10, round(0.055 * image.height))
    text = f"'{rng.integers(94, 99)} {rng.integers(1, 12):2} {rng.integers(1, 28):2}"
    draw = ImageDraw.Draw(out)
    x = image.width - draw.textlength(text, font(size)) - size
    draw.text(
        (x, image.height - 2 * size),
        text,
        (255, 150, 40),
        font(size),
        stroke_width=1,
        stroke_fill=(150, 50, 0),
    )
    return out


def retouch(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Blur, darken or paint over three spots of 2 to 5 % of the width, as against red eyes."""
    out = image.copy()
    for kind in range(3):
        r = max(3, round(image.width * rng.uniform(0.02, 0.05)))
        x = int(rng.integers(r, max(r + 1, image.width - r)))
        y = int(rng.integers(r, max(r + 1, image.height - r)))
        spot = out.crop((x - r, y - r, x + r, y + r))
        tone = [0.4, 1.0, 1.25][kind]
        new = spot.filter(ImageFilter.GaussianBlur(r / 2)).point(
            [min(255, round(tone * level)) for level in range(256)] * 3
        )
        mask = Image.new("L", spot.size)
        ImageDraw.Draw(mask).ellipse((1, 1, 2 * r - 2, 2 * r - 2), fill=230)
        out.paste(new, (x - r, y - r), mask.filter(ImageFilter.GaussianBlur(r / 6)))
    return out


def scan(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Scan a print: paper texture, faded tones, slightly askew on the white of the scanner."""
    h, w = image.height, image.width
    levels = 255 * ((as_levels(image) / 255) * 0.84 + 0.10) * np.array([1.0, 0.985, 0.95])
    paper = as_image(rng.normal(128, 22, (h // 2 + 1, w // 2 + 1))).resize(
        (w, h), Image.Resampling.BICUBIC
    )
    levels += (np.asarray(paper, np.float32)[..., None] - 128) * 0.14 + rng.normal(0, 2, (h, w, 1))
    sheet = ImageOps.expand(as_image(levels), max(2, w // 40), (244, 242, 236))
    angle = rng.uniform(0.6, 1.4) * (1 if rng.integers(2) else -1)
    return sheet.rotate(angle, Image.Resampling.BICUBIC, expand=True, fillcolor=(252, 252, 252))


def collage(image: Image.Image, other: Image.Image) -> Image.Image:
    """Return two photos side by side at one height."""
    height = min(image.height, other.height)
    sides = [
        each.resize((round(each.width * height / each.height), height)) for each in (image, other)
    ]
    both = Image.new("RGB", (sides[0].width + sides[1].width + 6, height), WHITE)
    both.paste(sides[0], (0, 0))
    both.paste(sides[1], (sides[0].width + 6, 0))
    return both


EDITS: dict[str, Edit] = {
    "story": on_own_blur(9, 16),
    "wide-blur": on_own_blur(16, 9),
    "polaroid": polaroid,
    "rounded": rounded_corners,
    "mat": mat_frame,
    "phone-dark": phone(dark=True),
    "phone-light": phone(dark=False),
    "browser": browser,
    "stickers": stickers,
    "price": price,
    "date-stamp": date_stamp,
    "retouch": retouch,
    "scan": scan,
}
"""Edits of what is around and on a picture, by role."""
